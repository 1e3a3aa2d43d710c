"""The header of a scan: what `scan.json` says of its dataset, read without the scan's tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cleaner.core.scan_files import DESCRIPTION
from cleaner.core.scan_json import read_description

__all__ = ["ScanHeader", "read_scan_header"]


@dataclass(frozen=True)
class ScanHeader:
    """The dataset of a scan; the attributes are those of `cleaner.core.scan.Scan`."""

    root: Path
    vocab: tuple[str, ...]
    splits: tuple[str, ...]
    task: str
    label_delim: str
    address: str
    generation: str
    source: str = ""
    """The kind of the scan, such as `fastai` or `torch`; empty in early versions."""

    @property
    def location(self) -> str:
        """The folder or address of the images, for messages."""
        return self.address or str(self.root)


def read_scan_header(folder: Path) -> ScanHeader | None:
    """Read the header of the scan in a folder; None if there is no `scan.json`."""
    if not (folder / DESCRIPTION).is_file():
        return None
    description = read_description(folder)
    root = description["root"]
    return ScanHeader(
        root=Path(root),
        vocab=tuple(description["vocab"]),
        splits=tuple(description["splits"]),
        task=description["task"],
        label_delim=description["label_delim"],
        address=root if "://" in root else "",
        generation=description["generation"],
        source=str(description["settings"].get("source", "")),
    )
