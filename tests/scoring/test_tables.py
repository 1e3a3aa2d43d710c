"""A learner applied to a label table: the rows' files with the labels that stand there, whatever it was made from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.vision import all as fastai
from torch.nn import functional

import cleaner
from cleaner.cli import main
from cleaner.core.errors import CleanerError
from cleaner.core.label_table import label_rows
from cleaner.core.scan import load
from cleaner.scoring.data.fastai_table import from_table
from cleaner.scoring.model.targets import targets_of
from tests.support.learners import VOCAB, make_folder, make_learner, make_model

PER_CLASS = 5


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data", PER_CLASS)


def write_table(file: Path, labels: dict[str, str], header: str = "file,label") -> Path:
    file.write_text("\n".join([header, *(f"{path},{label}" for path, label in labels.items()), ""]))
    return file


def names_of(data: Path) -> list[str]:
    return sorted(path.relative_to(data).as_posix() for path in data.rglob("*.png"))


def wrong_labels(data: Path) -> dict[str, str]:
    """Labels that are those of no folder: each of the next class."""
    return {name: VOCAB[(VOCAB.index(name.split("/")[0]) + 1) % 3] for name in names_of(data)}


def numbered(path: Path) -> int:
    return VOCAB.index(path.parent.name)


def from_folder(data: Path) -> Any:
    return make_learner(data).dls


def from_rows(data: Path) -> Any:
    frame = pd.DataFrame({"fname": names_of(data), "kind": [name.split("/")[0] for name in names_of(data)]})
    return fastai.ImageDataLoaders.from_df(frame, data, bs=4, num_workers=0, item_tfms=fastai.Resize(16))


def from_functions_of_rows(data: Path) -> Any:
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_x=lambda row: data / row["fname"],
        get_y=fastai.ColReader("kind"),
        item_tfms=fastai.Resize(16),
    )
    frame = pd.DataFrame({"fname": names_of(data), "kind": [name.split("/")[0] for name in names_of(data)]})
    return block.dataloaders(frame, bs=4, num_workers=0)


def from_lists(data: Path) -> Any:
    labels = [name.split("/")[0] for name in names_of(data)]
    return fastai.ImageDataLoaders.from_lists(
        data, [data / name for name in names_of(data)], labels, bs=4, num_workers=0, item_tfms=fastai.Resize(16)
    )


MADE: list[Callable[[Path], Any]] = [from_folder, from_rows, from_functions_of_rows, from_lists]


def learner_of(loaders: Any) -> fastai.Learner:
    learn = fastai.Learner(loaders, make_model(), loss_func=fastai.CrossEntropyLossFlat())
    learn.remove_cb(fastai.ProgressCallback)
    return learn


def plain_losses(learn: fastai.Learner, data: Path, labels: dict[str, str]) -> dict[str, float]:
    """The loss of each image with its label in the table, without a loader: opened, resized, normalized, scored."""
    learn.model.eval()
    found = {}
    for name, label in labels.items():
        image = fastai.Resize(16)(fastai.PILImage.create(data / name), split_idx=1)
        x = fastai.ToTensor()(image)[None].float() / 255
        for step in learn.dls.valid.after_batch.fs:
            x = step(x, split_idx=1) if isinstance(step, fastai.Normalize) else x
        with torch.no_grad():
            target = torch.tensor([list(map(str, learn.dls.vocab)).index(label)])
            found[name] = float(functional.cross_entropy(learn.model(x.as_subclass(torch.Tensor)), target))
    return found


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("exported", [False, True])
def test_the_labels_are_those_of_the_table(
    made: Callable[[Path], Any], exported: bool, data: Path, tmp_path: Path
) -> None:
    learn = learner_of(made(data))
    if exported and made is not from_functions_of_rows:  # whose lambda cannot be written
        learn.export(tmp_path / "learner.pkl")
        learn = fastai.load_learner(tmp_path / "learner.pkl")
    labels = wrong_labels(data)
    table = write_table(tmp_path / "labels.csv", labels)
    scan = cleaner.scan_table(learn, data, table, tmp_path / "scan", workers=0, progress=False)
    assert {s.path: s.label for s in scan.samples} == labels
    assert {s.path: s.loss for s in scan.samples} == pytest.approx(plain_losses(learn, data, labels), abs=1e-5)
    assert (scan.root, scan.splits) == (data, ("all",))
    assert scan.settings["label_table"]["file"] == str(table)


def test_worker_processes_and_a_fast_scan_read_the_table_too(data: Path, tmp_path: Path) -> None:
    learn, labels = learner_of(from_rows(data)), wrong_labels(data)
    table = write_table(tmp_path / "labels.tsv", {}, "file\tlabel")
    table.write_text("".join(f"{path}\t{label}\n" for path, label in {"file": "label", **labels}.items()))
    expected = pytest.approx(plain_losses(learn, data, labels), abs=1e-5)
    for options in ({"workers": 2}, {"fast": True}):
        out = tmp_path / next(iter(options))
        scan = cleaner.scan_table(learn, data, table, out, progress=False, **{"workers": 0, **options})
        assert {s.path: s.loss for s in scan.samples} == expected


def test_labels_that_are_numbers_or_booleans_are_compared_as_text(data: Path, tmp_path: Path) -> None:
    for kind in (lambda name: VOCAB.index(name.split("/")[0]), lambda name: name.startswith("bear")):
        frame = pd.DataFrame({"fname": names_of(data), "y": list(map(kind, names_of(data)))})
        loaders = fastai.ImageDataLoaders.from_df(frame, data, bs=4, num_workers=0, item_tfms=fastai.Resize(16))
        learn = fastai.Learner(loaders, make_model(len(loaders.vocab)), loss_func=fastai.CrossEntropyLossFlat())
        table = tmp_path / "labels.csv"
        frame.to_csv(table, index=False)
        scan = cleaner.scan_table(learn, data, table, tmp_path / str(len(loaders.vocab)), workers=0, progress=False)
        assert {s.path: s.label for s in scan.samples} == {name: str(kind(name)) for name in names_of(data)}
        assert scan.vocab == tuple(map(str, loaders.vocab))


def test_splits_are_those_of_the_folders_and_paths_may_be_those_beside_the_table(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for split in ("train", "valid"):
        make_folder(root / split, 2)
    learn = learner_of(fastai.ImageDataLoaders.from_folder(root, bs=4, num_workers=0, item_tfms=fastai.Resize(16)))
    labels = {name.removeprefix("train/"): name.split("/")[1] for name in names_of(root)}
    table = write_table(root / "train" / "labels.csv", labels)
    scan = cleaner.scan_table(learn, root, table, tmp_path / "scan", workers=0, progress=False)
    assert scan.scored == {"train": 6, "valid": 6}
    assert all(s.path.startswith(f"{s.split}/{s.label}/") for s in scan.samples)


def test_a_row_whose_file_is_gone_or_broken_is_an_entry(data: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "labels.csv", wrong_labels(data))
    (data / "bear/bear_0.png").unlink()
    (data / "cat/cat_1.png").write_bytes(b"no image")
    scan = cleaner.scan_table(make_learner(data), data, table, tmp_path / "scan", workers=0, progress=False)
    assert {u.path: u.label for u in scan.unreadable} == {"bear/bear_0.png": "cat", "cat/cat_1.png": "dog"}
    assert "FileNotFoundError" in scan.unreadable[0].error
    assert scan.scored == {"all": 3 * PER_CLASS - 2}


def test_the_command_scans_a_table_and_refuses_columns_without_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = learner_of(from_rows(data))
    learn.export(tmp_path / "learner.pkl")
    table = write_table(tmp_path / "table.csv", wrong_labels(data), "where,what")
    command = ["scan", "--learner", tmp_path / "learner.pkl", "--data", data, "--out", tmp_path / "scan", "--trust"]
    columns = ["--path-column", "where", "--label-column", "what"]
    assert main([*map(str, [*command, *columns])]) == 2
    assert "--labels" in capsys.readouterr().err
    assert main([*map(str, [*command, "--labels", table])]) == 2
    assert "--path-column" in capsys.readouterr().err
    assert not (tmp_path / "scan").exists()
    assert main([*map(str, [*command, "--workers", "0", "--labels", table, *columns])]) == 0
    assert {s.path: s.label for s in load(tmp_path / "scan").samples} == wrong_labels(data)
    # Without the table, a learner that reads rows says what it needs.
    assert main([*map(str, [*command[:-2], tmp_path / "other", "--trust"])]) == 2
    assert "--labels" in capsys.readouterr().err


def test_a_scan_does_not_go_on_with_other_labels(data: Path, tmp_path: Path) -> None:
    learn = make_learner(data)
    table = write_table(tmp_path / "labels.csv", wrong_labels(data))
    rows = label_rows(table)

    def identity() -> Mapping[str, Any]:
        return from_table(learn, targets_of(learn), data, rows, None).identity

    before = identity()
    assert identity() == before
    write_table(table, {**wrong_labels(data), "cat/cat_1.png": "bear"})
    assert identity() != before


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("file,label\n", "has no rows"),
        ("", "is empty"),
        ("file,label\nbear/bear_0.png,lynx\ncat/cat_0.png,puma\n",
         r"'lynx' \(of .*bear_0.png'\), 'puma' .* It knows 'bear'"),
        ("file,label\nbear/bear_0.png,Bear\n", "does not know: 'Bear'"),
        ("file,label\nbear/bear_0.png,\n", "no label for .*bear_0.png"),
        ("file,label\n,bear\n", "a row with no path"),
        ("file,label\n../labels.csv,bear\n", "not inside"),
        ("file,label\n/etc/passwd,bear\n", "'/etc/passwd', which is not inside"),
        ("file,label\nnone/1.png,bear\nnone/2.png,cat\n", "none of the files .* exists, such as .*none/1.png"),
        ("file,label\nbear/bear_0.png,bear\ncat/../bear/bear_0.png,cat\n",
         "two rows for .*bear_0.png', with the label 'bear' and 'cat'"),
        ("file,label\nbear/bear_0.png,bear\ncat/cat_0.png,cat\nbear/bear_0.png,bear\n",
         "two rows for .* with the label 'bear';"),
        ("file,label\nbear/bear_0.png,bear,3\n", "line 2: 3 cells"),
        ("a,b\nbear/bear_0.png,bear\n", "path_column=NAME"),
    ],
)  # fmt: skip
def test_a_table_that_makes_no_sense_is_an_error_and_nothing_is_written(
    text: str, match: str, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(CleanerError, match=match):
        cleaner.scan_table(make_learner(data), data, tmp_path / "labels.csv", tmp_path / "scan", workers=0)
    assert not (tmp_path / "scan").exists()


def test_a_learner_that_cannot_be_applied_to_a_table_is_an_error(data: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "labels.csv", wrong_labels(data))
    pixels = fastai.DataBlock(
        blocks=(fastai.TransformBlock, fastai.CategoryBlock),
        get_x=lambda row: torch.tensor(row["x"]),
        get_y=lambda row: row["y"],
    )
    rows = [{"x": [0.0, 1.0], "y": label} for label in VOCAB for _ in range(4)]
    learn = fastai.Learner(pixels.dataloaders(rows, bs=4), make_model(), loss_func=fastai.CrossEntropyLossFlat())
    with pytest.raises(CleanerError, match="makes an image of the files"):
        cleaner.scan_table(learn, data, table, tmp_path / "scan")
    shutil.rmtree(data)
    with pytest.raises(CleanerError, match="not a folder"):
        cleaner.scan_table(learn, data, table, tmp_path / "scan")
