"""Label tables in Parquet, read and written with pyarrow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from cleaner.apply.plan import Refusal
from cleaner.core.errors import CleanerError
from cleaner.core.label_table import check_parquet_types, is_parquet_text, parquet_rows, reading_parquet

__all__ = ["ParquetTable"]


class ParquetTable:
    """A table in one Parquet file, from the file's bytes; `name` is for messages."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        with reading_parquet(name) as (self._pa, self._parquet):
            file = self._parquet.ParquetFile(io.BytesIO(data))
            self._table = file.read()
            self.columns: tuple[str, ...] = tuple(self._table.column_names)
            """The names of the columns."""
        self._groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]

    def rows(self, path_column: str, label_column: str) -> Iterator[tuple[int, str, str]]:
        """Yield the position, path and label of each row; missing values are empty texts."""
        check_parquet_types(self._name, self._table.schema, path_column, label_column)
        with reading_parquet(self._name):
            for position, (path, label) in enumerate(parquet_rows(self._table, path_column, label_column)):
                yield position, path, label

    def changed(self, label_column: str, changes: Mapping[int, str | None]) -> bytes:
        """Return the file's bytes with other labels at some row positions; a row that gets None is dropped."""
        table = self._table
        column = table.column_names.index(label_column)
        field = table.schema.field(column)
        values = table.column(column).to_pylist()
        for position, label in changes.items():
            values[position] = values[position] if label is None else self.to_value(label_column, label)
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

    def to_value(self, label_column: str, label: str) -> str | int:
        """Return a label as the column holds it; refuse one that it cannot hold."""
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
        columns = [group.column(n) for group in self._groups[:1] for n in range(group.num_columns)]
        codecs = {column.path_in_schema: column.compression for column in columns}
        compression = {path: "NONE" if codec == "UNCOMPRESSED" else codec for path, codec in codecs.items()}
        self._parquet.write_table(
            table, out, row_group_size=max(sizes, default=1) or 1, compression=compression or "NONE"
        )
        return out.getvalue()
