"""A Parquet file, read in batches of rows."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from finattn.data.archives import LARGEST_RATIO
from finattn.data.table_files import BATCH, SMALL, TableFile, in_column, series, size_limit
from finattn.errors import InputError

_READABLE = tuple(getattr(pa.types, f"is_{kind}") for kind in (
    "integer", "floating", "decimal", "boolean", "string", "large_string", "string_view", "date", "timestamp", "null"
))  # fmt: skip
_SAVED_INDEX = re.compile(r"__index_level_\d+__")


class ParquetFile(TableFile):
    """A Parquet file, of which no more than a batch of rows is in memory at a time."""

    @property
    def stored(self) -> list[str]:
        """Names in the schema, without an index that pandas saved."""
        return [name for name in self._schema.names if self.is_wide or not _SAVED_INDEX.fullmatch(name)]

    @cached_property
    def rows(self) -> int:
        """Rows of all row groups."""
        return self._metadata.num_rows

    def check(self) -> "TableFile":
        """Refuse also columns of types that are neither numbers nor text nor days, and what unpacks to too much."""
        super().check()
        assert self._metadata is not None
        for stored in self.names.values():
            kind = self._schema.field(stored).type
            value = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not any(test(value) for test in _READABLE):
                raise InputError(f"column {stored!r} must be numeric, or hold text or days, found {kind}")
        return self

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield a batch at a time of the columns asked for."""
        stored = [self.names[name] for name in names]
        text = [column for column in stored if _is_text(self._schema.field(column).type)]
        with pq.ParquetFile(self.path, read_dictionary=text, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH, columns=stored, use_threads=False):
                yield {name: batch.column(column) for name, column in zip(names, stored, strict=True)}

    def frame(self) -> pd.DataFrame:
        """Return the columns that are used; the index is not one of them unless it has a name."""
        columns = {}
        with pq.ParquetFile(self.path, pre_buffer=False) as file:
            table = file.read(columns=list(self.names.values()), use_threads=False)
        for name, stored in self.names.items():
            with in_column(self, name):
                columns[name] = series(table[stored].combine_chunks())
        return pd.DataFrame(columns)

    @property
    def index(self) -> str | None:
        """The name of the one index in what pandas says of the file."""
        metadata: Any = self._schema.pandas_metadata
        columns = metadata.get("index_columns") if isinstance(metadata, dict) else None
        names = [name for name in columns if isinstance(name, str)] if isinstance(columns, list) else []
        return names[0] if len(names) == 1 else None

    def is_float32(self, name: str) -> bool:
        """Say whether a column, by our name, holds single precision."""
        return self._schema.field(self.names[name]).type == pa.float32()

    def is_categorical(self, name: str) -> bool:
        """Say whether a column, by our name, was written as categories, whose order is kept."""
        return pa.types.is_dictionary(self._schema.field(self.names[name]).type)

    @cached_property
    def _schema(self) -> pa.Schema:
        return pq.read_schema(self.path)

    @cached_property
    def _metadata(self) -> pq.FileMetaData:
        """Read what the file says of itself, and refuse one that claims to hold far more than tables of its size do."""
        metadata = pq.read_metadata(self.path)
        sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
        unpacked, limit = max(sum(sizes), 8 * metadata.num_rows), size_limit(self.path)
        if unpacked > limit or min(metadata.num_rows, *sizes, 0) < 0:
            raise InputError(
                f"a Parquet file must unpack to at most {limit} bytes ({LARGEST_RATIO} times its size, or {SMALL}), "
                f"found {metadata.num_rows} rows and {unpacked} bytes"
            )
        return metadata


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
