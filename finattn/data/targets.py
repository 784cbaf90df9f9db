"""Where a column of a long file goes: its batches are checked, converted and put into the panel's cells at once.

Of several rows for one cell the last one stays.
"""

from typing import Any, Protocol

import numpy as np
import pandas as pd

from finattn.data.table_files import encode, series
from finattn.errors import InputError
from finattn.frames import read_numbers

_TRUTH = {"true": 1, "1": 1, "1.0": 1, "false": 0, "0": 0, "0.0": 0}
_LARGEST_CODE = np.iinfo(np.int32).max


class Target(Protocol):
    """Where a column goes."""

    def put(self, values: Any, cells: np.ndarray, start: int) -> None:
        """Put a batch of rows, the first of which is row `start` of its file, into cells t × n + n."""


class Numbers:
    """A column of numbers, into the cells of a flat array."""

    def __init__(self, name: str, flat: np.ndarray) -> None:
        self.name, self.flat = name, flat

    def put(self, values: Any, cells: np.ndarray, start: int) -> None:
        """Put numbers, missing ones too; text is refused."""
        self.flat[cells] = read_numbers(self.name, series(values), start)


class Codes(Numbers):
    """A column of industry codes; none is 0."""

    def put(self, values: Any, cells: np.ndarray, start: int) -> None:
        """Put codes; text, fractions and numbers that are too large are refused."""
        self.flat[cells] = read_codes(self.name, series(values), start)


class Flags(Numbers):
    """A column of truth values."""

    def put(self, values: Any, cells: np.ndarray, start: int) -> None:
        """Put truth values, also 0 and 1, and words; nothing is none of them."""
        labels, codes = encode(values)
        truth = np.array([*(_TRUTH.get(str(label).lower(), -1) for label in labels), -1])[codes]
        _refuse(truth < 0, series(values), f"{self.name} must be true or false", start)
        self.flat[cells] = truth == 1


class PerKey:
    """A column that says of each date (or of each firm) the same in all of its rows.

    Parameters
    ----------
    name : of the column; "name" holds text of firms, every other one numbers of dates.
    keys : dates or firms. firms : the number of firms, which tells them from a cell.
    """

    def __init__(self, name: str, keys: np.ndarray, firms: int) -> None:
        self.name, self.keys, self.firms = name, keys, firms
        self.values = np.full(len(keys), "" if name == "name" else np.nan, object if name == "name" else float)
        self.seen = np.zeros(len(keys), bool)

    def put(self, values: Any, cells: np.ndarray, start: int) -> None:
        """Take what is new, and refuse what differs from what was said before."""
        keys = cells % self.firms if self.name == "name" else cells // self.firms
        found = self._text(values, keys) if self.name == "name" else read_numbers(self.name, series(values), start)
        new = ~self.seen[keys]
        self.values[keys[new][::-1]] = found[new][::-1]  # of several rows the first
        self.seen[keys] = True
        known = self.values[keys]
        differs = (found != known) & ~(pd.isna(found) & pd.isna(known))
        if differs.any():
            row = int(np.argmax(differs))
            what = "firm" if self.name == "name" else "date"
            raise InputError(
                f"{self.name} must be the same in all rows of a {what}, found {known[row]!s} and {found[row]!s} "
                f"for {self.keys[keys[row]]!s} (row {start + row})"
            )

    def _text(self, values: Any, keys: np.ndarray) -> np.ndarray:
        """Return names; a firm without one is called by its identifier."""
        labels, codes = encode(values)
        text = np.array([*labels.astype(str), ""], object)[codes]
        return np.where(codes < 0, self.keys[keys].astype(object), text)

    def result(self) -> Any:
        """Return the values: a tuple of names, or an array over dates."""
        return tuple(str(value) for value in self.values) if self.name == "name" else self.values


# -- reading ------------------------------------------------------------


def read_codes(name: str, column: pd.Series, start: int = 0) -> np.ndarray:
    """Return a batch as int32 codes, 0 where there is none.

    Raises
    ------
    InputError
        For text, fractions, negative numbers and numbers that are too large, naming the row.

    Examples
    --------
    >>> read_codes("industry", pd.Series([2834.0, None])).tolist()
    [2834, 0]
    """
    missing = column.isna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    numbers = np.where(missing, 0.0, numbers)
    bad = ~((numbers >= 0) & (numbers <= _LARGEST_CODE) & (numbers == np.floor(numbers)))
    _refuse(bad, column, f"{name} must hold integer codes from 0 (unknown) to {_LARGEST_CODE}", start)
    return numbers.astype(np.int32)


def _refuse(bad: np.ndarray, column: pd.Series, expected: str, start: int) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        found = column.iloc[row]
        shown = repr(found) if isinstance(found, str) else str(found)
        raise InputError(f"{expected}, found {shown} at row {start + row}")
