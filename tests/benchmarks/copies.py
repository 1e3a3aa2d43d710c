"""`python -m tests.benchmarks.copies`: recall and precision on copies that this benchmark makes, beside other tools.

Each transformation is a row: a folder of originals and one changed copy of each, saved as JPEG at quality 90. Recall is
the share of the originals that are in a group with their copy, precision the share of the pairs in groups that are of
one original. CIFAR's test images hold some near-copies of their own, which count as errors here, for all tools.

Then the groups among the originals alone, the time of `find_copies`, and that of many records.

Then `cleaner.check` on folders of which each second original has a copy: how many copies are in a group with their
original, and how many groups hold different originals. Sets and pairs of other tools are joined where they overlap.

`--photos`, `--cifar`, `--records`, `--folders` measure one of these; by default all. `--other-python PYTHON` (or
`--other`) names the interpreter of an environment that has CleanVision or imagededup; by default it is this one.
Columns of missing tools are left out.
`--sheet FILE` draws the groups among CIFAR's 10,000 images, each in a line.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

import cleaner
from cleaner.checks.measure import measure
from cleaner.checks.pool import run_over
from cleaner.checks.records import RECORD, CopyGroup
from cleaner.checks.similar import find_copies
from cleaner.core.images import read_image
from cleaner.core.issues import COPIES
from tests.benchmarks import datasets
from tests.benchmarks.memory import memory_now, reset_peak
from tests.support.images import SHARED_DATA

PHOTOS, CIFAR, CIFAR_COPIED, WORKERS = 250, 10_000, 2_000, 2
FOLDER_CIFAR = 1_000
RECORDS = 100_000

Transform = Callable[[Image.Image, np.random.Generator], Image.Image]


def reencoded(quality: int) -> Transform:
    def transform(image: Image.Image, _random: np.random.Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)

    return transform


def resized(share: float) -> Transform:
    return lambda image, _: image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))))


def cropped(share: float) -> Transform:
    """Leave out a share of each side, at random ends."""

    def transform(image: Image.Image, random: np.random.Generator) -> Image.Image:
        width, height = (round(side * (1 - share)) for side in image.size)
        left = int(random.integers(0, image.width - width + 1))
        top = int(random.integers(0, image.height - height + 1))
        return image.crop((left, top, left + width, top + height))

    return transform


def shifted(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Move the picture by 4 to 10 % of each side, which leaves two black strips."""
    right, down = (round(float(random.uniform(0.04, 0.1) * random.choice([-1, 1]) * side)) for side in image.size)
    moved = Image.new("RGB", image.size)
    moved.paste(image, (right, down))
    return moved


def bordered(image: Image.Image, random: np.random.Generator) -> Image.Image:
    colour = ("white", "black", "red")[int(random.integers(3))]
    return ImageOps.expand(image, max(1, round(min(image.size) * 0.06)), colour)


def other_hue(image: Image.Image, random: np.random.Generator) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    by = int(random.integers(20, 60)) * int(random.choice([-1, 1]))
    return Image.merge("HSV", (hue.point(lambda each: (each + by) % 256), saturation, value)).convert("RGB")


def other_light(image: Image.Image, random: np.random.Generator) -> Image.Image:
    lighter = ImageEnhance.Brightness(image).enhance(float(random.choice([0.7, 1.35])))
    return ImageEnhance.Contrast(lighter).enhance(float(random.choice([0.7, 1.3])))


def with_text(image: Image.Image, random: np.random.Generator) -> Image.Image:
    copy = image.copy()
    size = max(6, round(image.height / 9))
    at = (round(image.width * 0.04), round(image.height * float(random.uniform(0.05, 0.8))))
    font = ImageFont.load_default(size)
    ImageDraw.Draw(copy).text(
        at, "Photo: J. Smith", "white", font, stroke_width=max(1, size // 12), stroke_fill="black"
    )
    return copy


TRANSFORMS: dict[str, Transform] = {
    "JPEG, quality 60": reencoded(60),
    "JPEG, quality 30": reencoded(30),
    "75 % of the size": resized(0.75),
    "50 % of the size": resized(0.5),
    "cropped by 5 %": cropped(0.05),
    "cropped by 10 %": cropped(0.1),
    "cropped by 15 %": cropped(0.15),
    "shifted": shifted,
    "mirrored": lambda image, _: ImageOps.mirror(image),
    "bordered": bordered,
    "other hue": other_hue,
    "brightness, contrast": other_light,
    "grey": lambda image, _: image.convert("L").convert("RGB"),
    "with text": with_text,
}


def shifted_by(share: float) -> Transform:
    """Move the picture by this share of each side, in random directions, which leaves two black strips."""

    def transform(image: Image.Image, random: np.random.Generator) -> Image.Image:
        right, down = (round(share * side) * int(random.choice([-1, 1])) for side in image.size)
        moved = Image.new("RGB", image.size)
        moved.paste(image, (right, down))
        return moved

    return transform


def recoloured(image: Image.Image, _random: np.random.Generator) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    other = Image.merge("HSV", (hue.point(lambda each: (each + 20) % 256), saturation, value)).convert("RGB")
    return ImageEnhance.Brightness(ImageEnhance.Contrast(other).enhance(1.3)).enhance(0.8)


def with_caption(image: Image.Image, _random: np.random.Generator) -> Image.Image:
    """Draw a line of white text with a black outline over the lower part."""
    copy, size = image.copy(), max(6, round(image.height / 9))
    at, font = (round(image.width * 0.04), round(image.height * 0.78)), ImageFont.load_default(size)
    outline = max(1, size // 12)
    ImageDraw.Draw(copy).text(at, "Photo: J. Smith", "white", font, stroke_width=outline, stroke_fill="black")
    return copy


FOLDER_TRANSFORMS: dict[str, Transform | None] = {
    "no copies": None,
    "JPEG, quality 30": reencoded(30),
    "50 % of the size": resized(0.5),
    "cropped by 5 %": cropped(0.05),
    "cropped by 10 %": cropped(0.1),
    "cropped by 15 %": cropped(0.15),
    "shifted by 5 %": shifted_by(0.05),
    "shifted by 10 %": shifted_by(0.1),
    "mirrored": lambda image, _: ImageOps.mirror(image),
    "bordered": lambda image, _: ImageOps.expand(image, max(1, round(min(image.size) / 15)), "white"),
    "recoloured": recoloured,
    "grey": lambda image, _: image.convert("L").convert("RGB"),
    "with text": with_caption,
}

# Each prints groups of file names as JSON. The methods and thresholds are the defaults of the tools.
_OTHERS = {
    "CleanVision": """
import json, os, sys
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1], verbose=False)
kinds = ("exact_duplicates", "near_duplicates")
lab.find_issues({kind: {} for kind in kinds}, n_jobs=2, verbose=False)
print(json.dumps([[os.path.basename(file) for file in group] for kind in kinds for group in lab.info[kind]["sets"]]))
""",
    "PHash": """
import json, sys
from imagededup.methods import PHash
found = PHash(verbose=False).find_duplicates(image_dir=sys.argv[1], num_enc_workers=2, num_dist_workers=2)
print(json.dumps([[file, other] for file, others in found.items() for other in others]))
""",
    "CNN": """
import json, sys, torch
def refuse(*_arguments, **_options):
    raise OSError("the weights of CNN are not on this machine")
torch.hub.download_url_to_file = refuse
from imagededup.methods import CNN
found = CNN(verbose=False).find_duplicates(image_dir=sys.argv[1], num_enc_workers=0)
print(json.dumps([[file, other] for file, others in found.items() for other in others]))
""",
}


class Quality(NamedTuple):
    """Recall and precision of a tool on one transformation, 0 to 1, and its time."""

    recall: float
    precision: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.recall:6.1%} {self.precision:6.1%} {self.seconds:5.1f} s"


def quality(groups: Iterable[Sequence[str]], originals: int, seconds: float) -> Quality:
    """Return how good groups of file names are; a copy has the name of its original behind `copy-`."""
    pairs = {pair for group in groups for pair in combinations(sorted(set(group)), 2)}
    of = {pair: tuple(name.removeprefix("copy-") for name in pair) for pair in pairs}
    right = sum(one == other for one, other in of.values())
    return Quality(right / originals, right / len(pairs) if pairs else 1.0, seconds)


class Measured(NamedTuple):
    """Records of files, and the times of measuring them and of `find_copies`, in seconds."""

    groups: list[CopyGroup]
    measuring: float
    finding: float


def find(files: Sequence[Path]) -> Measured:
    start = time.perf_counter()
    records = np.array([outcome.value for outcome in run_over(measure, map(str, files), WORKERS)], RECORD)
    measured = time.perf_counter()
    groups = find_copies(records, lambda at: read_image(files[at]))
    return Measured(groups, measured - start, time.perf_counter() - measured)


def ours(folder: Path) -> tuple[list[list[str]], float]:
    files = sorted(folder.iterdir())
    found = find(files)
    names = [[files[at].name for at in group.members] for group in found.groups]
    return names, found.measuring + found.finding


def other(python: str, script: str, folder: Path) -> tuple[list[list[str]], float]:
    """Run another tool.

    Raises:
        RuntimeError: it is not installed, or it failed.
    """
    start = time.perf_counter()
    done = subprocess.run([python, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it failed"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1]), time.perf_counter() - start


def write_row(folder: Path, originals: Sequence[Path], transform: Transform) -> None:
    """Write a folder of originals and one copy of each."""
    folder.mkdir()
    for number, original in enumerate(originals):
        os.link(original, folder / f"{number:05d}.jpg")
        changed = transform(read_image(original), np.random.default_rng(number))
        changed.convert("RGB").save(folder / f"copy-{number:05d}.jpg", quality=90)


def copies_section(folder: Path, originals: Sequence[Path], python: str) -> None:
    tools: dict[str, Callable[[Path], tuple[list[list[str]], float]]] = {"cleaner": ours}
    for name, script in _OTHERS.items():
        tools[name] = lambda row, script=script: other(python, script, row)
    print(f"{'recall, precision, time':22}" + "".join(f"{name:>24}" for name in tools), flush=True)
    missing: dict[str, str] = {}
    for number, (title, transform) in enumerate(TRANSFORMS.items()):
        row = folder / f"row-{number}"
        write_row(row, originals, transform)
        cells = []
        for name, tool in tools.items():
            try:
                result = None if name in missing else quality(*_swapped(tool(row), len(originals)))
            except RuntimeError as error:
                missing[name], result = str(error), None
            cells.append("-" if result is None else str(result))
        print(f"{title:22}" + "".join(f"{cell:>24}" for cell in cells), flush=True)
    for name, error in missing.items():
        print(f"  {name} is left out: {error}")


def _swapped(found: tuple[list[list[str]], float], originals: int) -> tuple[list[list[str]], int, float]:
    return found[0], originals, found[1]


def originals_section(files: Sequence[Path], sheet: Path | None) -> None:
    """Print the groups among originals, which are of different scenes."""
    found = find(files)
    sizes = Counter(len(group.members) for group in found.groups)
    print(f"Among the {len(files):,} originals: {len(found.groups)} groups, of sizes {dict(sorted(sizes.items()))}")
    print(f"  measuring took {found.measuring:.1f} s, find_copies {found.finding:.1f} s", flush=True)
    if sheet and found.groups:
        draw(found.groups, files, sheet)


def draw(groups: Sequence[CopyGroup], files: Sequence[Path], sheet: Path, side: int = 64, columns: int = 8) -> None:
    """Draw groups, worst first, each at most three images with the score of the second."""
    ordered = sorted(groups, key=lambda group: max(group.scores[1:]))
    width = 3 * side + 44
    canvas = Image.new("RGB", (columns * width, math.ceil(len(ordered) / columns) * (side + 4)), "white")
    for number, group in enumerate(ordered):
        left, top = number % columns * width, number // columns * (side + 4)
        for at, member in enumerate(group.members[:3]):
            canvas.paste(read_image(files[member]).resize((side, side)), (left + at * side, top))
        text = f"{max(group.scores[1:]):.2f}" + (" m" if "mirrored" in " ".join(group.details) else "")
        ImageDraw.Draw(canvas).text((left + 3 * side + 2, top), text, "black")
    canvas.save(sheet)


def checked(folder: Path) -> list[list[str]]:
    """Return the groups of copies that `cleaner.check` lists."""
    out = Path(tempfile.mkdtemp(dir=folder.parent)) / "scan"
    groups: dict[int, list[str]] = {}
    for row in cleaner.check(folder, out, workers=WORKERS, progress=False).issues:
        if row.issue in COPIES:
            groups.setdefault(row.group, []).append(Path(row.path).name)
    return list(groups.values())


def joined(groups: Iterable[Sequence[str]]) -> list[list[str]]:
    """Return groups without overlaps: those that share a file are one."""
    whole: dict[str, set[str]] = {}
    for group in groups:
        together = set(group).union(*(whole.get(name, set()) for name in group))
        whole.update(dict.fromkeys(together, together))
    return [sorted(group) for group in {id(group): group for group in whole.values()}.values()]


def recall_and_false(groups: Iterable[Sequence[str]], copies: int) -> str:
    """Return the share of copies in a group with their original, and the number of groups of different originals."""
    found, false = set(), 0
    for group in groups:
        names = set(group)
        found |= {name for name in names if name.startswith("copy-") and name.removeprefix("copy-") in names}
        false += len({name.removeprefix("copy-") for name in names}) > 1
    recall = f"{len(found) / copies:7.1%}" if copies else f"{'-':>7}"
    return f"{recall} {false:4}"


def write_folder(folder: Path, originals: Sequence[Path], transform: Transform | None) -> int:
    """Write a folder of originals and a copy of each second one; return the number of copies."""
    folder.mkdir()
    for number, original in enumerate(originals):
        os.link(original, folder / f"{number:05d}.jpg")
        if transform and number % 2:
            changed = transform(read_image(original), np.random.default_rng(number))
            changed.convert("RGB").save(folder / f"copy-{number:05d}.jpg", quality=90)
    return len(originals) // 2 if transform else 0


def folders_section(folder: Path, options: argparse.Namespace) -> None:
    photos = sorted(datasets.photos(folder / "photos", PHOTOS).rglob("*.jpg"))
    cifar = sorted(datasets.small_images(folder / "cifar", CIFAR, 10).rglob("*.jpg"))[:: CIFAR // FOLDER_CIFAR]
    missing: dict[str, str] = {}
    for title, originals in (("photos", photos), ("images of CIFAR", cifar)):
        print(f"\n{len(originals):,} {title}, a copy of each second: recall, false groups")
        print(f"{'':22}" + "".join(f"{name:>15}" for name in ("cleaner", *_OTHERS)), flush=True)
        for number, (change, transform) in enumerate(FOLDER_TRANSFORMS.items()):
            row = folder / f"{title} {number}"
            copies = write_folder(row, originals, transform)
            cells = [recall_and_false(checked(row), copies)]
            for name, script in _OTHERS.items():
                cells.append(_cell_of_other(name, script, row, copies, options.other_python, missing))
            print(f"{change:22}" + "".join(f"{cell:>15}" for cell in cells), flush=True)
    for name, error in missing.items():
        print(f"  {name}: {error}")


def _cell_of_other(name: str, script: str, row: Path, copies: int, python: str, missing: dict[str, str]) -> str:
    """Return a cell of another tool; note in `missing` why it cannot run, and do not try again."""
    if name not in missing:
        try:
            return recall_and_false(joined(other(python, script, row)[0]), copies)
        except RuntimeError as error:
            missing[name] = str(error)
    return "not installed"


def photos_section(folder: Path, options: argparse.Namespace) -> None:
    files = sorted(datasets.photos(folder, PHOTOS).rglob("*.jpg"))
    print(f"\n{len(files)} photos and a copy of each")
    originals_section(files, None)
    copies_section(folder, files, options.other_python)


def cifar_section(folder: Path, options: argparse.Namespace) -> None:
    files = sorted(datasets.small_images(folder, CIFAR, 10).rglob("*.jpg"))
    print(f"\n{CIFAR_COPIED:,} images of CIFAR and a copy of each")
    originals_section(files, options.sheet)
    copies_section(folder, files[:: CIFAR // CIFAR_COPIED], options.other_python)


def made_records(n: int, seed: int = 0) -> np.ndarray:
    """Return records of `n` made pictures, 1 in 100 of them a noisy copy of the one before."""
    random = np.random.default_rng(seed)
    records = np.zeros(n, RECORD)
    coarse = random.integers(0, 256, (n, 4, 4, 3)).astype(np.float32).repeat(2, axis=1).repeat(2, axis=2)
    pixels = coarse + random.normal(0, 12, coarse.shape).astype(np.float32)
    pixels[100::100] = pixels[99:-1:100] + random.normal(0, 3, pixels[100::100].shape)
    pixels = pixels.clip(0, 255)
    records["descriptor"] = pixels.reshape(n, -1).astype(np.uint8)
    records["grey"] = pixels.mean(axis=3).repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
    for name in ("bytes_sha256", "pixels_sha256"):
        records[name] = random.integers(0, 256, records[name].shape, np.uint8)
    records["hash"] = random.integers(0, 2**64, n, np.uint64)
    records["width"], records["height"] = 200, 150
    return records


def records_section(folder: Path, options: argparse.Namespace) -> None:
    """Time the search among many records, mapped from a file as those of a check."""
    file = folder / "records.npy"
    np.save(file, made_records(options.n))
    records = np.load(file, mmap_mode="r")
    before = reset_peak()
    start = time.perf_counter()
    groups = find_copies(records, lambda at: Image.new("RGB", (200, 150)))
    seconds, peak = time.perf_counter() - start, memory_now("VmHWM") - before
    print(f"\n{options.n:,} made records: find_copies took {seconds:.1f} s and {peak:.0f} MiB above the start")
    print(f"  {len(groups):,} groups of {len(range(100, options.n, 100)):,} made pairs")


SECTIONS: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "photos": photos_section,
    "cifar": cifar_section,
    "records": records_section,
    "folders": folders_section,
}


def main() -> None:
    """Run the sections that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SECTIONS:
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--other-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--sheet", type=Path, metavar="FILE")
    parser.add_argument("-n", type=int, default=RECORDS, help="number of made records")
    options = parser.parse_args()
    if not (SHARED_DATA / "photos.zip").is_file():
        print("The real images are absent; made-up ones take their place.")
    chosen = [name for name in SECTIONS if getattr(options, name)]
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen or SECTIONS:
            place = Path(folder) / name
            place.mkdir()
            SECTIONS[name](place, options)


if __name__ == "__main__":
    main()
