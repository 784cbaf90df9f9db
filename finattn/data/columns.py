"""Columns of a user's table: firms, days, truth values and numbers, read and checked, with the place of what is wrong.

Rows are counted from 0. What cannot be read is refused by an `InputError` that names the column and the row, never
guessed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from finattn.checks import DAY, first_line, first_zoned, some
from finattn.errors import InputError
from finattn.frames import as_numbers, as_whole
from finattn.panel import Panel

_LONGEST_FIRM = 256  # characters: all firms are stored as wide as the longest
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def is_count(value: object) -> bool:
    """Say whether a value is a whole number from 0.

    Examples
    --------
    >>> is_count(np.int64(3)), is_count(True), is_count(3.0)
    (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def column_names(columns: Sequence[str] | Mapping[str, str]) -> list[str]:
    """Return names of columns, at least one and each once.

    Examples
    --------
    >>> column_names({"at": "assets"})
    ['at']
    """
    names = [] if isinstance(columns, str) else list(columns)
    if not names or len(set(names)) < len(names):
        raise InputError(f"columns must be a sequence of at least one name, each once, found {columns!r}")
    return names


def check_columns(table: pd.DataFrame, columns: Sequence[str], others: Sequence[str | None]) -> None:
    """Refuse a table that lacks columns or rows; of the `others` those that are None are not wanted.

    Examples
    --------
    >>> check_columns(pd.DataFrame({"firm": ["A"], "sic": [2834]}), ["sic"], ["firm", None])
    """
    wanted = [name for name in (*others, *columns) if name is not None]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise InputError(f"the table must have columns {', '.join(wanted)}; found no {', '.join(missing)}")
    twice = [name for name in wanted if list(table.columns).count(name) > 1]
    if twice:
        raise InputError(f"columns of the table must be unique, found more than one {some(twice)}")
    if table.empty:
        raise InputError("the table must have at least one row, found none")


def row_of(table: pd.DataFrame, place: int) -> int:
    """Return what messages call a row: its place, or what an index called "row" says of a table cut from another.

    Examples
    --------
    >>> row_of(pd.DataFrame({"x": [7, 8, 9]}).rename_axis(index="row")[1:], 1)
    2
    """
    return int(table.index[place] if table.index.name == "row" else place)


def firm_fault(firm: Any, or_empty: bool = False) -> str:
    """Say what is wrong with an identifier, "" for nothing; where `or_empty`, one may be empty.

    Examples
    --------
    >>> firm_fault("AAPL"), firm_fault(" ")
    ('', 'firms must have an identifier, found an empty one')
    """
    if not isinstance(firm, str | int | np.integer) or isinstance(firm, bool):
        return f"firms must be text or integers, found {firm!r}"
    text = str(firm)
    if not (text.strip() or or_empty):
        return "firms must have an identifier, found an empty one"
    if len(text) > _LONGEST_FIRM:
        return f"firms must have an identifier of at most {_LONGEST_FIRM} characters, found {text[:20]!r} and more"
    return f"firms must have an identifier of printable characters, found {text!r}" if _CONTROL.search(text) else ""


def firm_places(panel: Panel, table: pd.DataFrame, name: str) -> np.ndarray:
    """Return the firm's place in the panel for each row of the table, -1 for a firm that the panel does not have.

    Examples
    --------
    >>> panel = Panel(["2020-01-02"], ["10107", "14593"], [[0.0, 0.1]])
    >>> firm_places(panel, pd.DataFrame({"permno": [14593.0, 1.0]}), "permno").tolist()
    [1, -1]
    """
    codes, unique = pd.factorize(table[name])
    if (codes < 0).any():
        row = row_of(table, int(np.argmax(codes < 0)))
        raise InputError(f"{name} must be given in every row, found none in row {row}")
    unique = as_whole(unique)
    for number, value in enumerate(unique):
        if fault := firm_fault(value, or_empty=True):
            raise InputError(f"column {name!r}: {fault} in row {row_of(table, int(np.argmax(codes == number)))}")
    place = {firm: i for i, firm in enumerate(panel.firms.tolist())}
    column = np.array([place.get(firm, -1) for firm in map(str, unique)], np.int64)
    if (column < 0).all():
        raise InputError(
            f"{name} must hold firms of the panel, such as {str(panel.firms[0])!r}, found only others: "
            f"{some(list(unique))}"
        )
    return column[codes]


def read_stamps(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column of days, or days and times, as datetime64[s]; NaT where nothing is given.

    Examples
    --------
    >>> read_stamps(pd.DataFrame({"end": [20160331, None]}), "end").tolist()
    [datetime.datetime(2016, 3, 31, 0, 0), None]
    """
    column = table[name]
    numbers, dates = column.dtype.kind in "iuf", column.dtype.kind == "M"
    given = (column.notna() if numbers or dates else column.notna() & (column.astype(object) != "")).to_numpy()
    text = as_whole(column[given]).astype(str) if numbers else column[given]
    try:
        stamps = pd.DatetimeIndex(
            pd.to_datetime(text, format="%Y%m%d" if numbers else None if dates else "ISO8601", errors="coerce")
        )
    except (ValueError, TypeError, OverflowError) as error:
        if (place := first_zoned(text)) is not None:
            row = row_of(table, int(np.flatnonzero(given)[place]))
            raise InputError(f"{name} must have no time zone, found {str(text.iloc[place])!r} in row {row}") from None
        raise InputError(f"{name} must hold days like '2001-05-31', found others: {first_line(error)}") from None
    if stamps.tz is not None:
        raise InputError(f"{name} must be in exchange time without a time zone, found time zone {stamps.tz}")
    # '2001-05' would be read as its first day, and a report be known a month too early.
    vague = [False] * len(text) if dates else [not DAY.match(str(value)) for value in text]
    bad = stamps.isna() | np.array(vague, bool)
    if bad.any():
        row = int(np.flatnonzero(given)[np.argmax(bad)])
        raise InputError(
            f"{name} must read like '2001-05-31', found {str(column.iloc[row])!r} in row {row_of(table, row)}"
        )
    result = np.full(len(column), np.datetime64("NaT", "s"))
    result[given] = stamps.to_numpy().astype("M8[s]")
    return result


def read_flags(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column of truth values, given as such, as 0 and 1, or as text; nothing is false.

    Examples
    --------
    >>> read_flags(pd.DataFrame({"amend": ["True", None, "0"]}), "amend").tolist()
    [True, False, False]
    """
    words = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "": False}
    text = table[name].astype(object).where(table[name].notna(), "").astype(str).str.lower()
    unknown = ~text.isin(words).to_numpy()
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(f"{name} must be true or false, found {table[name].iloc[row]!r} in row {row_of(table, row)}")
    return text.map(words).to_numpy(bool)


def read_numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """Return a column as floats, NaN where nothing is given; text and infinities are refused.

    Examples
    --------
    >>> read_numbers(pd.DataFrame({"assets": ["7", None]}), "assets").tolist()
    [7.0, nan]
    """
    column, numbers = table[name], as_numbers(name, table[name]).to_numpy(np.float64, na_value=np.nan)
    bad = np.isnan(numbers) & column.notna().to_numpy() | np.isinf(numbers)
    if bad.any():
        row = int(np.argmax(bad))
        found = f"{column.iloc[row]!r} in row {row_of(table, row)}"
        raise InputError(f"column {name!r} must hold finite numbers or none, found {found}")
    return numbers
