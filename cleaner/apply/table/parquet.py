"""Label tables in Parquet, read and written with pyarrow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from cleaner.apply.plan import Refusal
from cleaner.core.errors import CleanerError
from cleaner.core.label_table import check_parquet_types, import_pyarrow, is_parquet_text

__all__ = ["ParquetTable"]


class ParquetTable:
    """A table in one Parquet file.

    Args:
        data: the file's bytes.
        name: the file's name, for messages.

    Raises:
        CleanerError: pyarrow is not installed, or the bytes are no Parquet file.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._pa, self._parquet = import_pyarrow()
        self._name = name
        try:
            file = self._parquet.ParquetFile(io.BytesIO(data))
            self._table = file.read()
            self.columns: tuple[str, ...] = tuple(self._table.column_names)
            """The names of the columns."""
        except (self._pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise CleanerError(f"{name!r} is not a Parquet file that can be read: {error}") from error
        self._groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]

    def rows(self, path_column: str, label_column: str) -> Iterator[tuple[int, str, str]]:
        """Yield the position, path and label of each row; missing values are empty texts.

        Raises:
            CleanerError: the paths are not text, or the labels neither text nor whole numbers.
        """
        check_parquet_types(self._name, self._table.schema, path_column, label_column)
        try:
            columns = [self._table.column(name).to_pylist() for name in (path_column, label_column)]
        except UnicodeDecodeError as error:
            raise CleanerError(f"{self._name!r} is damaged: it has text that is not UTF-8: {error}") from error
        for position, (path, label) in enumerate(zip(*columns, strict=True)):
            yield position, path or "", "" if label is None else str(label)

    def check_label(self, label_column: str, label: str) -> None:
        """Check that the column can hold a label.

        Raises:
            Refusal: it cannot.
        """
        self._value(label_column, label)

    def changed(self, label_column: str, changes: Mapping[int, str | None]) -> bytes:
        """Return the file's bytes with other labels at some row positions; a row that gets None is dropped.

        Raises:
            CleanerError: Parquet cannot hold the labels.
        """
        table = self._table
        column = table.column_names.index(label_column)
        field = table.schema.field(column)
        values = table.column(column).to_pylist()
        for position, label in changes.items():
            values[position] = values[position] if label is None else self._value(label_column, label)
        kept = [changes.get(position, "") is not None for position in range(table.num_rows)]
        try:
            table = table.set_column(column, field, self._column(values, table.column(column), field.type))
            return self._written(table.filter(self._pa.array(kept)))
        except (self._pa.ArrowException, UnicodeDecodeError) as error:
            raise CleanerError(f"{self._name!r} cannot hold the new labels: {error}; nothing was changed") from error

    def _column(self, values: list[Any], before: Any, kind: Any) -> Any:
        pa = self._pa
        if not pa.types.is_dictionary(kind):
            return pa.array(values, kind)
        # Old categories keep their order, also unused ones.
        known = pa.concat_arrays(before.chunks).dictionary.to_pylist() if before.num_chunks else []
        codes = {value: code for code, value in enumerate(v for v in dict.fromkeys([*known, *values]) if v is not None)}
        indices = pa.array([None if value is None else codes[value] for value in values], kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, pa.array(list(codes), kind.value_type), ordered=kind.ordered)

    def _value(self, label_column: str, label: str) -> str | int:
        kind = self._table.schema.field(label_column).type
        if is_parquet_text(kind):
            return label
        try:
            value = int(label)
            self._pa.scalar(value, kind)
        except (ValueError, OverflowError, self._pa.ArrowException) as error:
            raise Refusal(f"the column {label_column!r} is of type {kind}, which cannot hold {label!r}") from error
        if str(value) != label:
            raise Refusal(f"the column {label_column!r} is of type {kind}, which holds {value}, not {label!r}")
        return value

    def _written(self, table: Any) -> bytes:
        out = io.BytesIO()
        sizes = [group.num_rows for group in self._groups]
        codecs = {
            group.column(n).path_in_schema: group.column(n).compression
            for group in self._groups[:1]
            for n in range(group.num_columns)
        }
        compression = {path: "NONE" if codec == "UNCOMPRESSED" else codec for path, codec in codecs.items()}
        self._parquet.write_table(
            table, out, row_group_size=max(sizes, default=1) or 1, compression=compression or "NONE"
        )
        return out.getvalue()
