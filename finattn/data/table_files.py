"""CSV and Parquet files as tables that are read in batches, under the panel's names for their columns.

Both are streamed: a batch of rows of the columns asked for, never the whole file. What is wrong in them is told in one
line that names the file, the row and the column.
"""

import csv
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.lib import ArrowException

from finattn.checks import some
from finattn.data.archives import LARGEST_RATIO
from finattn.errors import InputError

CSV = (".csv", ".csv.gz")
PARQUET = (".parquet", ".pq")
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", ".")
BATCH = 2**18  # rows: large enough to be quick, small beside any panel for which memory matters
TEXT = ("firm", "name", "date")
SMALL = 2**26  # bytes that a file may unpack to whatever its own size
_LONGEST = 300  # characters of a message, after the file's name
_UNREADABLE = (OSError, ValueError, EOFError, OverflowError, MemoryError, zlib.error, csv.Error, ArrowException)


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
        raise InputError(one_line(f"{path}: ", str(error))) from None
    except _UNREADABLE as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(one_line(f"{path}: must be a readable CSV or Parquet file: ", said)) from None


@contextmanager
def in_column(table: "TableFile", name: str) -> Iterator[None]:
    """Put the file's name of a column, given by ours, behind what is wrong in it.

    Raises
    ------
    InputError
        For every error of the input that is raised inside, without the file's name, which `located` adds.
    """
    stored = table.names[name]
    try:
        yield
    except InputError as error:
        raise InputError(str(error) if stored == name else f"{error} (column {stored!r})") from None
    except _UNREADABLE as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"must be a readable CSV or Parquet file, found column {stored!r} not: {said}") from None


def one_line(*parts: str) -> str:
    r"""Return a message on one line, of which no part is long: of one that is, the beginning and the end.

    Examples
    --------
    >>> one_line("a.csv: ", "found 'x\ny'")
    "a.csv: found 'x y'"
    """
    short = [part if len(part) <= _LONGEST else f"{part[: _LONGEST - 100]} … {part[-97:]}" for part in parts]
    text = "".join(short)
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)


def existing(path: str | None, key: str) -> Path:
    """Return the path of a file that a key of the configuration names.

    Raises
    ------
    InputError
        Where there is none.
    """
    try:
        found = Path(str(path)).is_file()
    except (OSError, ValueError):  # a name that none can have
        found = False
    if not found:
        raise InputError(one_line(f"{key} must be a file, found none at ", str(path)))
    return Path(str(path))


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
        unnamed = stored[1:] if self.is_wide else stored  # an index that pandas wrote
        if "" in unnamed or len(set(stored)) < len(stored):
            raise InputError(f"every column must have a name of its own, found {', '.join(map(repr, stored))}")
        for key, wanted in (("columns", self.columns), ("use", self.use)):
            absent = [name for name in wanted if name not in stored]
            if absent:
                raise InputError(f"data.{key} must name columns of the file, found no {', '.join(absent)} in it")
        mapped = [self.columns.get(name, name) for name in stored if self._is_used(name)]
        twice = sorted(name for name, count in Counter(mapped).items() if count > 1)
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


def size_limit(path: Path) -> int:
    """Return the bytes that a file may unpack to."""
    return max(SMALL, LARGEST_RATIO * path.stat().st_size)


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
            values.validate(full=True)  # of a damaged file, codes may lead nowhere
            values = values.dictionary_decode()
        return values.to_pandas()
    return values
