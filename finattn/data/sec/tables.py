"""One table of a quarterly zip: tab-separated text, read in blocks, each cell checked, with the place of a fault."""

import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc

from finattn.checks import some
from finattn.data.archives import BLOCK, Archive
from finattn.errors import InputError

WHOLE, NUMBER, TEXT, WORD = pa.int64(), pa.float64(), pa.string(), pa.dictionary(pa.int32(), pa.string())
_EXPECTED = {WHOLE: "a whole number", NUMBER: "a number"}


def read_table(
    archive: Archive, member: str, columns: Mapping[str, pa.DataType], optional: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """Yield blocks of rows of the columns asked for, found by name; an optional one that is not there is empty.

    Parameters
    ----------
    columns : type of each: WHOLE, NUMBER, TEXT, or WORD for text that recurs. Nothing between two tabs is no value: NaN
        in numbers, "" in text.
    optional : columns that may lack.

    Yields
    ------
    Frames, never less than one, whose index counts the member's rows from 0 after the header.

    Raises
    ------
    InputError
        Naming file, member, row and column.
    """
    place = f"{archive.path}: {member}"
    header: list[str] | None = None
    row = 0
    for block in _lines(archive.blocks(member), place):
        if header is None:
            first, _, block = block.partition(b"\n")
            header = _header(first, place, [name for name in columns if name not in optional])
        frame = _frame(block, header, columns, place, row)
        yield frame
        row += len(frame)
    if header is None:
        raise InputError(f"{place} must begin with a line of column names, found nothing")


def _lines(blocks: Iterator[bytes], place: str) -> Iterator[bytes]:
    """Yield blocks cut at the ends of lines."""
    rest = b""
    for block in blocks:
        cut = block.rfind(b"\n") + 1
        if cut:
            yield rest + block[:cut]
            rest = b""
        rest += block[cut:]
        if len(rest) > BLOCK:
            raise InputError(f"{place} must have lines, found none that ends within {len(rest)} bytes")
    if rest:
        yield rest


def _header(line: bytes, place: str, wanted: Sequence[str]) -> list[str]:
    """Return the names of the columns."""
    try:
        names = line.decode("utf-8-sig").rstrip("\r").split("\t")
    except UnicodeDecodeError:
        raise InputError(f"{place} must begin with a line of column names, found no text") from None
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(f"{place} must have columns {', '.join(wanted)}, found no {', '.join(missing)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{place}: columns must be unique, found more than one {some(twice)}")
    return names


def _frame(block: bytes, header: list[str], columns: Mapping[str, pa.DataType], place: str, first: int) -> pd.DataFrame:
    """Return a block as a frame."""
    there = {name: kind for name, kind in columns.items() if name in header}
    if block.strip(b"\r\n"):
        try:
            table = _parse(block, header, there, place, first)
        except pa.ArrowException as error:
            _complain(block, header, there, place, first)
            raise InputError(f"{place} must be UTF-8 text: {' '.join(str(error).split())[:200]}") from None
    else:
        table = pa.table({name: pa.array([], kind) for name, kind in there.items()})
    frame = table.to_pandas()
    for name in columns:
        if name not in there:
            frame[name] = ""
    frame.index = pd.RangeIndex(first, first + len(frame))
    return frame


def _parse(block: bytes, header: list[str], columns: Mapping[str, pa.DataType], place: str, first: int) -> pa.Table:
    """Return some columns of a block, of their types; refuse a row with too many cells or too few."""
    try:
        return pc.read_csv(
            BytesIO(block),
            pc.ReadOptions(use_threads=False, column_names=header, block_size=len(block) + 1),
            pc.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
            pc.ConvertOptions(
                column_types=dict(columns), include_columns=list(columns), null_values=[""], strings_can_be_null=False
            ),
        )
    except pa.ArrowException as error:
        ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if ragged is None:
            raise
        row, expected, found = map(int, ragged.groups())
        raise InputError(
            f"{place} must have {expected} columns in every row, found {found} in row {first + row - 1}"
        ) from None


def _complain(block: bytes, header: list[str], columns: Mapping[str, pa.DataType], place: str, first: int) -> None:
    """Raise for the first cell that is not of its column's type."""
    for name, kind in columns.items():
        if kind in _EXPECTED:
            try:
                cells = _parse(block, header, {name: TEXT}, place, first).column(0).to_pylist()
            except pa.ArrowException:
                raise InputError(f"{place}: {name} must be UTF-8 text, found other bytes") from None
            for row, cell in enumerate(cells):
                if cell and not _fits(cell, kind):
                    found = f"found {cell[:40]!r} in row {first + row}"
                    raise InputError(f"{place}: {name} must be {_EXPECTED[kind]}, {found}") from None


def _fits(cell: str, kind: pa.DataType) -> bool:
    try:
        pa.scalar(cell, pa.string()).cast(kind)
    except pa.ArrowException:
        return False
    return True
