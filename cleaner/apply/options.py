"""The places of a dataset's labels and of its deleted files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cleaner.apply.file_moves import FileStore
from cleaner.apply.table.rewrite import TableStore
from cleaner.core.agreement import RULES
from cleaner.core.arguments import as_path, table_path
from cleaner.core.errors import CleanerError
from cleaner.core.fields import check_one_of
from cleaner.core.files import TRASH

__all__ = ["LabelOptions", "Store"]

Store = FileStore | TableStore


@dataclass(frozen=True)
class LabelOptions:
    """The location of a dataset's labels; the attributes are the arguments of `cleaner.apply`."""

    data: str | Path
    labels: str | Path | None = None
    path_column: str | None = None
    label_column: str | None = None
    name_pattern: str | None = None
    label_delim: str | None = None
    trash: str | Path | None = None
    rule: str = "last"

    def __post_init__(self) -> None:
        check_one_of("rule", self.rule, tuple(RULES))
        if self.labels is not None and self.name_pattern is not None:
            raise CleanerError("Expected a label table or a name pattern, got both; labels are in one of them")
        if self.labels is None and (self.path_column or self.label_column or self.label_delim is not None):
            raise CleanerError("got a column or delimiter, but no label table; give the table too: labels=FILE")
        if self.labels is not None and self.trash is not None:
            raise CleanerError("with a label table no file is moved, so there is no trash; leave out trash=")

    def store(self) -> Store:
        """Return the store of the labels; its paths have no links, so that a journal outlives a link."""
        root = Path(os.path.realpath(as_path("data", self.data, "the dataset's folder")))
        if not root.is_dir():
            raise CleanerError(
                f"{str(self.data)!r} is not a folder; give the dataset's folder, or a copy or mount of images at an "
                "address"
            )
        if self.labels is None:
            return FileStore(root, self.name_pattern, None if self.trash is None else _trash_folder(self.trash, root))
        table = table_path(self.labels)
        return TableStore(root, table, self.path_column, self.label_column, self.label_delim)


def _trash_folder(trash: str | Path, root: Path) -> Path | None:
    """Return the folder for deleted files, without links; None for the hidden one in the dataset."""
    folder = Path(os.path.realpath(as_path("trash", trash, "a folder")))
    if folder == root / TRASH:
        return None
    if folder.is_relative_to(root):
        raise CleanerError(
            f"the trash {str(trash)!r} lies in the dataset {str(root)!r}, whose images it would join; give a folder "
            "outside of it"
        )
    if not (folder.is_dir() or (folder.parent.is_dir() and not os.path.lexists(folder))):
        raise CleanerError(f"the trash {str(trash)!r} is no folder, and cannot be made; make it first")
    existing = folder if folder.is_dir() else folder.parent
    if os.stat(existing).st_dev != os.stat(root).st_dev:
        raise CleanerError(
            f"the trash {str(trash)!r} is on another file system than the dataset {str(root)!r}, and files are moved, "
            "never copied; give a folder on that of the dataset"
        )
    return folder
