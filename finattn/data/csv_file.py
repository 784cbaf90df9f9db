"""A CSV file, read in blocks: text of UTF-8, every row with as many fields as the header."""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pyarrow.lib import ArrowException

from finattn.checks import some
from finattn.data.archives import LARGEST_RATIO
from finattn.data.table_files import MISSING, SMALL, TableFile, size_limit
from finattn.errors import InputError

_BLOCK = 2**24  # bytes of text: more than a row of a wide file has


class CsvFile(TableFile):
    """A CSV file, optionally packed by gzip, of which no more than a block is in memory at a time."""

    @property
    def stored(self) -> list[str]:
        """The header."""
        return self._head[0]

    @cached_property
    def rows(self) -> int:
        """Lines after the header that are not empty."""
        return sum(batch.num_rows for batch in self._blocks([0]))

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield a block at a time of the columns asked for, as text or, where all of a block are numbers, as these."""
        place, start = {stored: i for i, stored in enumerate(self.stored)}, 0
        places = [place[self.names[name]] for name in names]
        for batch in self._blocks(places):
            yield {name: self._read(name, batch.column(i), start) for i, name in enumerate(names)}
            start += batch.num_rows

    def frame(self) -> pd.DataFrame:
        """Return the columns that are used, text as categories; a column is numbers where all of it are."""
        names = list(self.names)
        place = {stored: i for i, stored in enumerate(self.stored)}
        batches = list(self._blocks([place[name] for name in self.names.values()]))
        columns = {}
        for i, name in enumerate(names):
            whole = pa.chunked_array([batch.column(i) for batch in batches], pa.binary()).combine_chunks()
            columns[i] = _whole(self._read(name, whole, 0)).to_pandas()
        return pd.DataFrame(columns).set_axis(names, axis=1)

    @cached_property
    def _head(self) -> tuple[list[str], bool]:
        """Return the header as it stands, and whether anything follows it."""
        with self._open() as stream:
            block = stream.read(_BLOCK)
        if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError("a CSV file must be UTF-8 text, found UTF-16")
        lines = csv.reader(io.StringIO(block.decode("utf-8-sig", errors="replace"), newline=""))
        filled = (line for line in lines if line)
        header, second = next(filled, None), next(filled, None)
        if header is None:
            raise InputError("must be a readable CSV or Parquet file, found an empty one")
        if any("\ufffd" in name for name in header):
            raise InputError(f"names of columns must be UTF-8 text, found {some(header)}")
        return header, second is not None

    def _blocks(self, places: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Yield the bytes of some columns, in the order asked, without the header."""
        header, follows = self._head
        if not follows:
            return
        names = [f"f{i}" for i in range(len(header))]  # Arrow's, which need no name of their own
        block = _BLOCK if self.is_wide else _BLOCK // 16
        reading = pa_csv.ReadOptions(use_threads=False, block_size=block, autogenerate_column_names=True)
        parsing = pa_csv.ParseOptions(newlines_in_values=True)
        converting = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()),
            include_columns=[names[i] for i in places],
            null_values=[],
            strings_can_be_null=False,
        )
        try:
            with self._open() as stream, pa_csv.open_csv(stream, reading, parsing, converting) as reader:
                first = 1
                for batch in reader:
                    yield batch.slice(first)
                    first = 0
        except ArrowException as error:
            if "straddl" in str(error):
                raise InputError(f"a row must have at most {block} bytes, found a longer one") from None
            ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
            if ragged is None:
                raise
            line, expected, found = map(int, ragged.groups())
            raise InputError(
                f"rows must have as many fields as the header's {expected}, found {found} in row {line - 2}"
            ) from None

    def _open(self) -> Any:
        return _Unpacked(self.path) if self.path.name.lower().endswith(".gz") else pa.OSFile(str(self.path))

    def _read(self, name: str, values: pa.BinaryArray, start: int) -> pa.Array:
        """Return identifiers, names and dates as the text they are, and else numbers where all values are."""
        try:
            text = values.cast(pa.string())
        except ArrowException:
            row = next(i for i, value in enumerate(values) if not _is_utf8(value.as_py()))
            raise InputError(
                f"column {name!r} must be UTF-8 text, found {values[row].as_py()[:40]!r} in row {start + row}"
            ) from None
        missing = pc.is_in(text, pa.array([""] if name in self.text else MISSING))
        text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
        if name in self.text:
            return text.dictionary_encode()
        try:
            return pc.utf8_trim_whitespace(text).cast(pa.float64())
        except ArrowException:
            return text


class _Unpacked(gzip.GzipFile):
    """A file packed by gzip, read as it comes, and refused where it unpacks to far more than tables do."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.limit = size_limit(path)

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        block = super().read(size)
        if self.tell() > self.limit:
            raise InputError(
                f"a .gz file must unpack to at most {self.limit} bytes ({LARGEST_RATIO} times its size, or {SMALL}), "
                "found more"
            )
        return block


def _whole(values: pa.Array) -> pa.Array:
    """Return numbers as integers where all are."""
    try:
        return values.cast(pa.int64()) if pa.types.is_float64(values.type) else values
    except ArrowException:
        return values


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
