"""Extracts: a file for each table of WRDS, Parquet or CSV, with the columns that WRDS has, in any case and order."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset

from finattn.checks import as_day
from finattn.data.columns import read_stamps
from finattn.data.table_files import BATCH, CSV, MISSING, PARQUET, encode, is_table, located, series, stem
from finattn.data.wrds.tables import Kind, Table
from finattn.errors import InputError
from finattn.frames import read_numbers

_LETTERS = tuple("ABCDEPST")  # CRSP's reasons for a return that is missing, and the end of a link that is valid still
_LARGEST = 2**31 - 1  # of whole numbers
_CSV_TYPES = dict.fromkeys(("key", "whole", "number"), pa.float64()) | dict.fromkeys(("text", "date"), pa.string())


def find(folder: str | Path, table: Table) -> Path:
    """Return the extract of a table.

    Raises
    ------
    InputError
        Where there is none, or more than one.
    """
    if not Path(folder).is_dir():
        raise InputError(f"data.wrds.extracts must be a folder, found none at {folder}")
    paths = sorted(path for path in Path(folder).iterdir() if is_table(path) and stem(path).lower() == table.name)
    if len(paths) != 1:
        kinds = ", ".join((*PARQUET, *CSV))
        found = ", ".join(path.name for path in paths) or "none"
        raise InputError(
            f"data.wrds.extracts must have one file of {table.schema}.{table.name}, called {table.name} ({kinds}), "
            f"found {found} in {folder}"
        )
    return paths[0]


def batches(
    folder: str | Path, table: Table, start: str | None = None, end: str | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of rows of a table between two days, both inside, under our names for its columns.

    Whole numbers are int64, 0 where there is none; numbers float64; days datetime64[D], NaT where there is none; text
    is "" where there is none. A Parquet file whose days are dates is read only where it must be, and a message then
    counts rows among those that are read.

    Raises
    ------
    InputError
        Naming the file, for columns that are not there, and values that are not what they must be.
    """
    path = find(folder, table)
    with located(path):
        source = pa.dataset.dataset(path, format=_format(path, table))
        stored = {name.lower(): name for name in source.schema.names}
        missing = [name for name in table.columns if name not in stored]
        if missing:
            raise InputError(f"{table.schema}.{table.name} must have columns, found no {', '.join(missing)}")
        first, last = _edge(start, False), _edge(end, True)
        where = None
        if table.date is not None and (start is not None or end is not None):
            where = _expression(source.schema.field(stored[table.date]), first, last)
        columns, row = {name: stored[name] for name in table.columns}, 0
        for batch in source.to_batches(columns=list(columns.values()), filter=where, batch_size=BATCH):
            read = {
                ours: _READERS[kind](name, batch.column(columns[name]), row)
                for name, (ours, kind) in table.columns.items()
            }  # fmt: skip
            row += batch.num_rows
            if table.date is not None:
                day = read[table.columns[table.date][0]]
                if np.isnat(day).any():
                    raise InputError(f"{table.date} must be given in every row, found none in {np.isnat(day).sum()}")
                inside = (day >= first) & (day <= last)
                read = {name: values[inside] for name, values in read.items()}
            yield read


def frame(folder: str | Path, table: Table) -> pd.DataFrame:
    """Return a whole table, one that is small, as a frame."""
    read = [pd.DataFrame(batch) for batch in batches(folder, table)]
    columns = [ours for ours, _ in table.columns.values()]
    return pd.concat(read, ignore_index=True) if read else pd.DataFrame(columns=columns)


def check_spans(table: pd.DataFrame) -> None:
    """Refuse rows without a first day, or with a last one before it; the index has the rows of the file."""
    backward = table["end"] < table["start"]
    for bad, message in (
        (table["start"].isna(), "rows must have a first day, found none"),
        (backward, "rows must end on their first day or later, found an earlier end"),
    ):
        if bad.any():
            raise InputError(f"{message} in row {bad.idxmax()}")


def _format(path: Path, table: Table) -> pa.dataset.FileFormat | str:
    """Return how a file is read; the columns of a CSV file have the types that the table says."""
    if not path.name.lower().endswith(CSV):
        return "parquet"
    with pa.csv.open_csv(path) as reader:
        header = reader.schema.names
    kinds = {name: table.columns[name.lower()][1] for name in header if name.lower() in table.columns}
    convert = pa.csv.ConvertOptions(
        column_types={name: _CSV_TYPES[kind] for name, kind in kinds.items()},
        null_values=[*MISSING, *_LETTERS],  # of numbers: text stays what it is
        strings_can_be_null=False,
    )
    return pa.dataset.CsvFileFormat(convert_options=convert)


def _edge(day: str | None, last: bool) -> np.datetime64:
    if day is None:
        return np.datetime64("9999-12-31" if last else "0001-01-01", "D")
    return as_day(str(day), last)


def _expression(field: pa.Field, first: np.datetime64, last: np.datetime64) -> pa.dataset.Expression | None:
    """Return a condition that lets a Parquet file skip rows; None where its days are no dates, or are refused."""
    if not pa.types.is_temporal(field.type) or getattr(field.type, "tz", None):
        return None
    low, high = max(first, np.datetime64("1700-01-01")), min(last, np.datetime64("2200-01-01"))  # in nanoseconds too
    edges = [pa.scalar(day.item(), pa.date32()).cast(field.type) for day in (low, high + 1)]
    column = pa.dataset.field(field.name)
    return (column >= edges[0]) & (column < edges[1]) | column.is_null()


# -- columns ------------------------------------------------------------


def _days(name: str, values: pa.Array, start: int) -> np.ndarray:
    if zone := getattr(values.type, "tz", None):
        raise InputError(f"{name} must be in exchange time without a time zone, found time zone {zone}")
    if pa.types.is_temporal(values.type):
        return values.cast(pa.date32(), safe=False).to_numpy(zero_copy_only=False).astype("M8[D]")
    labels, codes = encode(values)
    text = (labels.astype(np.int64) if labels.dtype.kind in "iuf" else labels).astype(str)
    until_now = text.str.startswith("9999") | text.isin([*MISSING, *_LETTERS])
    used, first = np.unique(codes[codes >= 0], return_index=True)  # a message names the first row of a distinct day
    rows = pd.Series(np.flatnonzero(codes >= 0)[first] + start, used).reindex(labels.index, fill_value=start)
    days = pd.DataFrame({name: text.astype(object).mask(until_now)}).set_index(pd.Index(rows, name="row"))
    return np.append(read_stamps(days, name).astype("M8[D]"), np.datetime64("NaT", "D"))[codes]


def _numbers(name: str, values: pa.Array, start: int) -> np.ndarray:
    if pa.types.is_boolean(values.type):
        raise InputError(f"column {name!r} must be numeric, found truth values")
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    numbers = read_numbers(name, series(values), start).astype(np.float64, copy=False)
    _refuse(np.isinf(numbers), f"{name} must hold finite numbers or none", numbers, start)
    return numbers


def _whole(name: str, values: pa.Array, start: int) -> np.ndarray:
    numbers = np.nan_to_num(_numbers(name, values, start))
    bad = (numbers % 1 != 0) | (np.abs(numbers) > _LARGEST)
    _refuse(bad, f"{name} must hold whole numbers of at most {_LARGEST}", numbers, start)
    return numbers.astype(np.int64)


def _key(name: str, values: pa.Array, start: int) -> np.ndarray:
    numbers = _numbers(name, values, start)
    _refuse(np.isnan(numbers), f"{name} must be given in every row", numbers, start)
    return _whole(name, values, start)


def _text(name: str, values: pa.Array, start: int) -> np.ndarray:
    labels, codes = encode(values)
    return np.append(labels.astype(str).str.strip().to_numpy(object), "")[codes]


def _refuse(bad: np.ndarray, message: str, numbers: np.ndarray, start: int) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"{message}, found {'none' if np.isnan(numbers[row]) else numbers[row]} in row {start + row}")


_READERS: dict[Kind, Callable[[str, pa.Array, int], np.ndarray]] = {
    "key": _key,
    "whole": _whole,
    "number": _numbers,
    "text": _text,
    "date": _days,
}
