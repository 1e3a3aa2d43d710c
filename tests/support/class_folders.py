"""A dataset in class folders whose files change between rounds."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from cleaner.core.files import sha256_of
from cleaner.core.manifest import Manifest
from cleaner.core.records import Action, Decision, Sample
from cleaner.core.scan import Scan
from cleaner.core.standing import Standing
from cleaner.core.tasks import SINGLE_LABEL


class Place:
    """A dataset of two classes and the manifest of its scan."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "data"
        for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            self.write(name, name)
        scan = Scan(self.root, ("cat", "dog"), ("train",), 1, {"train": 0}, (), {"train": {}})
        self.manifest = scan.write(folder / "scan").manifest_path

    def write(self, name: str, content: str) -> None:
        (self.root / name).write_text(content)

    def decide(self, name: str, action: str, new_label: str = "", label: str = "", loss: float = 2.0) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        decision = Decision(
            name, Action(action), label or name[:3], new_label, loss=loss, predicted="dog",
            sha256=sha256_of(self.root / name), reviewer="anna", decided_at=now,
        )  # fmt: skip
        Manifest(self.manifest).append(decision)

    def standing(self, *names: str, loss: float = 1.0, label: str = "") -> Standing:
        samples = {n: Sample("train", label or n[:3], 1, n, loss, "dog", 0.9) for n in names}
        found = Standing(samples, SINGLE_LABEL, "", self.root, self.manifest.parent)
        found.update(Manifest(self.manifest).standing())
        return found
