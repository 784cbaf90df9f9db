"""One CSV or Parquet file as a table that is read in batches, under the panel's names for its columns.

A Parquet file is streamed: a batch of rows of the columns asked for, never the whole file. A CSV file is read once.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.lib import ArrowException

from finattn.checks import some
from finattn.errors import InputError

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet", ".pq")
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", ".")
BATCH = 2**18  # rows: large enough to be quick, small beside any panel for which memory matters
TEXT = ("firm", "name", "date")
_SAVED_INDEX = re.compile(r"__index_level_\d+__")


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong in it, and make one line of what a library says.

    Raises
    ------
    InputError
        For every error of the input that is raised inside.

    Examples
    --------
    >>> with located(Path("a.csv")):
    ...     raise InputError("dates must be whole days")
    Traceback (most recent call last):
    finattn.errors.InputError: a.csv: dates must be whole days
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError, EOFError, OverflowError, zlib.error, ArrowException) as error:
        message = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: must be a readable CSV or Parquet file: {message}") from None


def origin(tables: Sequence["TableFile"]) -> Path:
    """Return what stands for several files in a message: the one file, or the folder of the first."""
    return tables[0].path if len(tables) == 1 else tables[0].path.parent


def is_table(path: Path) -> bool:
    """Say whether a file's name ends as one that can be read."""
    return path.name.lower().endswith((*CSV, *PARQUET))


def stem(path: Path) -> str:
    """Return a file's name without its ending: AAPL of AAPL.csv.gz."""
    ending = next(ending for ending in (".csv.gz", *CSV, *PARQUET) if path.name.lower().endswith(ending))
    return path.name[: -len(ending)]


@dataclass(frozen=True)
class TableFile:
    """A file and the names of its columns.

    Parameters
    ----------
    path : a file that ends in .csv, .csv.gz, .parquet or .pq.
    columns : our name of each column that is called otherwise in the file.
    use : columns of the file, by the file's names, that are read beside those called date and firm; all where empty.
    text : columns, by our names, that a CSV file holds as text: identifiers '0001' and 'NA' stay what they are.

    Raises
    ------
    InputError
        Without the file's name, which `located` adds.
    """

    path: Path
    columns: Mapping[str, str]
    use: Sequence[str] = ()
    text: Sequence[str] = TEXT

    def check(self) -> "TableFile":
        """Refuse columns that are named twice, or named and not there; return the file."""
        stored = self.stored
        for key, wanted in (("columns", self.columns), ("use", self.use)):
            absent = [name for name in wanted if name not in stored]
            if absent:
                raise InputError(f"data.{key} must name columns of the file, found no {', '.join(absent)} in it")
        mapped = [self.columns.get(name, name) for name in stored if self._is_used(name)]
        twice = sorted({name for name in mapped if mapped.count(name) > 1})
        if twice:
            raise InputError(f"columns of a long frame must be unique, found more than one {some(twice)}")
        return self

    @cached_property
    def names(self) -> dict[str, str]:
        """Our names of the columns that are used, in the file's order, with the file's."""
        return {self.columns.get(name, name): name for name in self.stored if self._is_used(name)}

    @property
    def stored(self) -> list[str]:
        """The file's own names of its columns."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Number of rows."""
        raise NotImplementedError

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield batches of rows of some columns, by our names, for `encode` and `series`."""
        raise NotImplementedError

    def frame(self) -> pd.DataFrame:
        """Return the columns that are used as a frame, for tables that are small or as wide as the panel."""
        raise NotImplementedError

    def is_float32(self, name: str) -> bool:
        """Say whether a column, by our name, holds single precision."""
        return False

    def is_categorical(self, name: str) -> bool:
        """Say whether a column, by our name, comes with an order of its values."""
        return False

    @property
    def index(self) -> str | None:
        """The file's name of a column that pandas wrote as the index; None where there is no such one."""
        return None

    @property
    def is_wide(self) -> bool:
        """Say whether columns are firms, so that one of dates need not have a name."""
        return "firm" not in self.text

    def _is_used(self, name: str) -> bool:
        return not self.use or name in self.use or self.columns.get(name, name) in ("date", "firm")


class CsvFile(TableFile):
    """A CSV file, read whole when it is first needed."""

    @property
    def stored(self) -> list[str]:
        """The header."""
        return list(self._table.columns)

    @property
    def rows(self) -> int:
        """Lines after the header."""
        return len(self._table)

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield all rows at once: they are in memory."""
        yield {name: self._table[self.names[name]] for name in names}

    def frame(self) -> pd.DataFrame:
        """Return the columns that are used."""
        return self._table[list(self.names.values())].set_axis(list(self.names), axis=1)

    @cached_property
    def _table(self) -> pd.DataFrame:
        """Read identifiers, names and dates as the text they are."""
        # The header as it stands: pandas would call a second `return` "return.1", and one without a name "Unnamed: 0".
        header = pd.read_csv(self.path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
        unnamed = header[1:] if self.is_wide else header  # an index that pandas wrote
        if "" in unnamed or len(set(header)) < len(header):
            raise InputError(f"every column must have a name of its own, found {', '.join(map(repr, header))}")
        text: dict[Any, Any] = {name: "str" for name in header if self.columns.get(name, name) in self.text}
        missing = {name: [""] if name in text else list(MISSING) for name in header}
        # Names by position: pandas would not take "" for one.
        frame = pd.read_csv(
            self.path, dtype=text, keep_default_na=False, na_values=missing, low_memory=False, names=header, header=0
        )
        if not isinstance(frame.index, pd.RangeIndex):  # pandas took the first columns for an index
            raise InputError(f"rows must have as many fields as the header's {len(header)}, found more")
        return frame.astype(dict.fromkeys(text, "category"))  # asked of the reader, "0001" would become 1


class ParquetFile(TableFile):
    """A Parquet file, of which no more than a batch of rows is in memory at a time."""

    @property
    def stored(self) -> list[str]:
        """Names in the schema, without an index that pandas saved."""
        names = [name for name in self._schema.names if self.is_wide or not _SAVED_INDEX.fullmatch(name)]
        if len(set(names)) < len(names):
            raise InputError(f"every column must have a name of its own, found {', '.join(map(repr, names))}")
        return names

    @cached_property
    def rows(self) -> int:
        """Rows of all row groups."""
        return pq.read_metadata(self.path).num_rows

    def batches(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield a batch at a time of the columns asked for."""
        stored = [self.names[name] for name in names]
        text = [column for column in stored if _is_text(self._schema.field(column).type)]
        with pq.ParquetFile(self.path, read_dictionary=text, pre_buffer=False) as file:
            for batch in file.iter_batches(BATCH, columns=stored, use_threads=False):
                yield {name: batch.column(column) for name, column in zip(names, stored, strict=True)}

    def frame(self) -> pd.DataFrame:
        """Return the columns that are used; the index is not one of them unless it has a name."""
        table = pq.read_table(self.path, columns=list(self.names.values()))
        return table.to_pandas(ignore_metadata=True).set_axis(list(self.names), axis=1)

    @property
    def index(self) -> str | None:
        """The name of the one index in what pandas says of the file."""
        metadata = self._schema.pandas_metadata or {}
        names = [name for name in metadata.get("index_columns", []) if isinstance(name, str)]
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


def open_table(
    path: Path, columns: Mapping[str, str], use: Sequence[str] = (), text: Sequence[str] = TEXT
) -> TableFile:
    """Open a file by the ending of its name, and check its columns.

    Raises
    ------
    InputError
        Naming the file, for another ending, for what cannot be read, and for columns that are not there.
    """
    if not is_table(path):
        raise InputError(f"data.path must end in {', '.join((*CSV, *PARQUET))}, found {path}")
    kind: Callable[..., TableFile] = ParquetFile if path.name.lower().endswith(PARQUET) else CsvFile
    with located(path):
        return kind(path, columns, use, text).check()


# -- columns of a batch ------------------------------------------------------------


def encode(values: Any) -> tuple[pd.Series, np.ndarray]:
    """Return the distinct values of a batch, and for each row which of them it is, -1 where there is none.

    Examples
    --------
    >>> labels, codes = encode(pa.array(["B", None, "A", "B"]))
    >>> labels.tolist(), codes.tolist()
    (['B', 'A'], [0, -1, 1, 0])
    """
    if isinstance(values, pa.Array):
        coded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        coded.validate(full=True)  # of a damaged file, codes may lead nowhere
        labels, codes = coded.dictionary.to_pandas(), coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    elif isinstance(values.dtype, pd.CategoricalDtype):
        labels, codes = values.cat.categories.to_series(), values.cat.codes.to_numpy()
    else:
        codes, unique = pd.factorize(values)
        labels = pd.Series(unique)
    none = labels.isna().to_numpy()
    if none.any():
        codes = np.append(np.where(none, -1, np.arange(len(labels))), -1)[codes]
    return labels.reset_index(drop=True), codes


def series(values: Any) -> pd.Series:
    """Return a batch as a series of the numbers or text it holds."""
    if isinstance(values, pa.Array):
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        return values.to_pandas()
    return values


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
