"""What a panel's fields must be: conversion to their types, and refusal of what cannot be true.

Every message says what was expected, what was found, and where.
"""

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pandas as pd

from finattn.errors import InputError

SCHEMA_VERSION = 1  # of a saved panel
SCHEMES = ("sic", "gics", "custom")
LEVELS = ("market_cap", "dollar_volume", "price")
# The letters of each array's axes, for messages and for slicing: t date, n firm, f feature, k factor.
AXES = {
    "returns": "t n", "listed": "t n", "industry": "t n", "features": "t n f", "market_cap": "t n",
    "dollar_volume": "t n", "price": "t n", "risk_free": "t", "factors": "t k",
}  # fmt: skip
# Arrays that every panel has.
REQUIRED = ("returns", "listed", "industry", "features")
# Fields that hold no array.
SCALARS = (
    "feature_names", "factor_names", "names", "industry_scheme", "industry_widths", "industry_as_of",
    "periods_per_year", "source",
)  # fmt: skip
# Columns of a long frame that are not features.
RESERVED = ("date", "firm", "return", "listed", "industry", "name", "risk_free", *LEVELS)
_CODES = np.iinfo(np.int32)
DAY = re.compile(r"\s*(?!0000)\d{4}(\d{4}|\D\d+\D\d)", re.ASCII)  # how text of a day begins, not of a month


class CellError(InputError):
    """A value of a panel's field that cannot be: who made the panel of files can say where in them it stands.

    Parameters
    ----------
    message : what was expected, what was found, and the date and firm. name : of the field.
    place : the value's position, an axis each as in `AXES`.
    """

    def __init__(self, message: str, name: str, place: Sequence[int]) -> None:
        super().__init__(message)
        self.name, self.place = name, tuple(place)


# -- conversion ------------------------------------------------------------


def as_day(value: Any, last: bool) -> np.datetime64:
    """Read an edge of a slice: '2001' is the first or the last day of that year."""
    text = isinstance(value, str)
    try:
        if isinstance(value, int | float | np.number) or text and not re.fullmatch(r"\d{4}(-\d\d){0,2}|\d{8}", value):
            raise ValueError
        period = pd.Period(value) if text else pd.Period(pd.Timestamp(value), freq="D")
        return np.datetime64((period.end_time if last else period.start_time).date(), "D")
    except (ValueError, TypeError, AttributeError):  # the last where pandas made NaT of it
        raise InputError(f"a day must read like '2001-05-31' (or '2001', '2001-05'), found {value!r}") from None


def as_dates(values: Any) -> np.ndarray:
    """Return whole days as datetime64[D]; times of day and time zones are refused."""
    if isinstance(values, np.ndarray) and values.dtype == "datetime64[D]":
        return values
    # 20010531 is a day; pandas would take it for nanoseconds since 1970. 01/02/2001 could be two days: it is refused.
    array = np.asarray(values)
    numbers = array.dtype.kind in "iuf" or array.dtype == object and "integer" in pd.api.types.infer_dtype(array)
    form = "%Y%m%d" if numbers else None if array.dtype.kind == "M" else "ISO8601"
    try:
        stamps = pd.DatetimeIndex(pd.to_datetime(array.astype(str) if numbers else array, format=form, errors="coerce"))
    except (ValueError, TypeError, OverflowError) as error:
        if (row := first_zoned(array)) is not None:
            raise InputError(f"dates must have no time zone, found {str(array[row])!r} in row {row}") from None
        raise InputError(f"dates must read like '2001-05-31', found something else: {first_line(error)}") from None
    if stamps.tz is not None:
        raise InputError(f"dates must be exchange days without a time zone, found time zone {stamps.tz}")
    # '2001-05' would be read as its first day, '2001011' as one of two, and 'now' as a day.
    vague = [not DAY.match(str(value)) for value in array] if array.dtype.kind != "M" else [False] * len(array)
    bad = stamps.isna() | (stamps != stamps.normalize()) | np.array(vague, bool)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"dates must be whole days like '2001-05-31', found {str(array[row])!r} in row {row}")
    return stamps.to_numpy().astype("datetime64[D]")


def first_zoned(values: Iterable[Any]) -> int | None:
    """Return the place of the first time with a time zone, None where none has one.

    Examples
    --------
    >>> first_zoned(["2001-05-31", "soon", "2001-05-31T16:00Z"])
    2
    """
    for place, value in enumerate(values):
        try:
            if pd.Timestamp(value).tz is not None:
                return place
        except (ValueError, TypeError, OverflowError):
            pass
    return None


def as_firms(values: Any) -> np.ndarray:
    """Return identifiers as a text array."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "U":
        return values
    if isinstance(values, str) or np.ndim(values) == 0:
        raise InputError(f"firms must be a sequence of identifiers, found {values!r}")
    for place, firm in enumerate(values):
        if not isinstance(firm, str | int | np.integer):
            raise InputError(f"firms must be text or integers, found {firm!r} (column {place})")
    return np.array([str(firm) for firm in values], dtype=str)


def as_names(field: str, values: Any) -> tuple[str, ...]:
    """Return names as a tuple of text."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InputError(f"{field} must be a sequence of names, found {values!r}")
    names = tuple(values)
    other = [name for name in names if not isinstance(name, str)]
    if other:
        raise InputError(f"{field} must be text, found {some(other)}")
    return tuple(str(name) for name in names)


def as_widths(values: Any) -> tuple[int, ...]:
    """Return the digits of industry levels as a tuple of integers."""
    widths = tuple(values) if isinstance(values, Iterable) else (values,)
    if not all(isinstance(width, int | np.integer) for width in widths):
        raise InputError(f"industry_widths must be integers, found {widths}")
    return tuple(int(width) for width in widths)


def as_bool(values: Any) -> np.ndarray:
    """Return truth values, also from 0 and 1."""
    array = _as_array("listed", values)
    if array.dtype == bool:
        return array
    numbers = pd.to_numeric(pd.Series(array.ravel()), errors="coerce").to_numpy(float, na_value=np.nan)
    bad = ~np.isin(numbers, (0.0, 1.0)).reshape(array.shape)
    if bad.any():
        raise InputError(f"listed must be true or false, found {str(array[bad][0])!r} at {where(bad)}")
    return numbers.reshape(array.shape).astype(bool)


def as_codes(values: Any) -> np.ndarray:
    """Return industry codes as int32; text, fractions and numbers too large for it are refused."""
    array = numbers = _as_array("industry", values)
    if array.dtype == np.int32 and array.min(initial=0) >= 0:
        return array
    if array.dtype.kind not in "iuf":
        flat = pd.to_numeric(pd.Series(array.ravel()), errors="coerce").to_numpy(float, na_value=np.nan)
        numbers = flat.reshape(array.shape)
    bad = ~((numbers >= 0) & (numbers <= _CODES.max) & (numbers == np.floor(numbers)))
    if bad.any():
        raise InputError(
            f"industry must hold integer codes from 0 (unknown) to {_CODES.max}, found {array[bad][0]} at {where(bad)}"
        )
    return numbers.astype(np.int32)


def as_float(name: str, values: Any, keep_float32: bool = False) -> np.ndarray | None:
    """Return float64, or float32 where that is kept."""
    if values is None:
        return None
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    array = _as_array(name, values)
    try:
        return array if keep_float32 and array.dtype == np.float32 else array.astype(np.float64, copy=False)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} must be an array of numbers, found something else: {first_line(error)}") from None


def _as_array(name: str, values: Any) -> np.ndarray:
    """Return an array of what can be numbers: not ragged, not of dates, not complex."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be an array of numbers, found something else: {first_line(error)}") from None
    if array.dtype.kind not in "biufOUT":
        raise InputError(f"{name} must be an array of numbers, found one of {array.dtype}")
    return array


def as_json(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that JSON can hold."""
    try:
        return json.loads(json.dumps(dict(source), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"source must hold what JSON can hold, found something else: {first_line(error)}") from None


# -- saved panels ------------------------------------------------------------


def read_header(file: Path) -> dict[str, Any]:
    """Read the fields of a saved panel that are not arrays."""
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"a saved panel must have a readable panel.json, found none in {file.parent}: {first_line(error)}"
        ) from None
    version = header.get("schema_version") if isinstance(header, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"{file}: schema_version must be {SCHEMA_VERSION}, found {version}")
    missing = [name for name in SCALARS if name not in header]
    if missing:
        raise InputError(f"{file}: must have {', '.join(SCALARS)}, found no {', '.join(missing)}")
    try:
        values = {name: header[name] for name in SCALARS}
        for name in ("feature_names", "factor_names", "names"):
            values[name] = None if name == "names" and values[name] is None else as_names(name, values[name])
        values["industry_widths"] = as_widths(values["industry_widths"])
        check_scheme(*(values[name] for name in SCALARS[3:7]))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return values


def map_array(file: Path, types: str) -> np.ndarray:
    """Open an array memory-mapped; one of objects, which would have to be unpickled, is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a damaged header, which numpy would mend by guessing
            array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, MemoryError, OverflowError, SyntaxError, SystemError,
            TokenError, UserWarning) as error:  # fmt: skip
        raise InputError(f"{file}: must be a whole .npy file of {types}, found another: {first_line(error)}") from None
    found = getattr(array, "dtype", None)
    if not any(found == kind or found is not None and found.kind == kind for kind in types.split()):
        raise InputError(f"{file}: must hold {types}, found {found}")
    return array


# -- checks ------------------------------------------------------------


def check_axes(dates: np.ndarray, firms: np.ndarray) -> None:
    """Refuse dates out of order and firms that are not unique."""
    if dates.ndim != 1 or firms.ndim != 1 or not len(dates) or not len(firms):
        raise InputError(f"a panel must have at least one date and one firm, found {dates.shape} and {firms.shape}")
    if np.isnat(dates).any():
        raise InputError(f"dates must be whole days, found NaT in row {int(np.argmax(np.isnat(dates)))}")
    try:
        "".join(firms).encode()
    except (ValueError, SystemError) as error:  # the second of a code point that does not exist
        found = repr(error.object[error.start]) if isinstance(error, UnicodeEncodeError) else "another"
        raise InputError(f"firms must be valid Unicode, found {found}") from None
    steps = np.diff(dates).astype(np.int64)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0))
        found = "a duplicate" if steps[row] == 0 else "a step back"
        raise InputError(
            f"dates must be strictly increasing, found {found}: {dates[row]} then {dates[row + 1]} "
            f"(rows {row}, {row + 1})"
        )
    if (firms == "").any():
        raise InputError(f"firms must have an identifier, found an empty one (column {int(np.argmax(firms == ''))})")
    unique, first, counts = np.unique(firms, return_index=True, return_counts=True)
    if len(unique) < len(firms):
        twice = unique[np.argmax(counts > 1)]
        rows = ", ".join(str(i) for i in np.flatnonzero(firms == twice)[:5])
        raise InputError(
            f"firms must be unique, found {len(firms) - len(unique)} duplicates: {twice!s} (columns {rows})"
        )


def check_shapes(values: Mapping[str, Any]) -> None:
    """Refuse an array whose axes do not match dates, firms and names."""
    sizes = {"t": len(values["dates"]), "n": len(values["firms"])}
    sizes |= {"f": len(values["feature_names"]), "k": len(values["factor_names"])}
    for name, axes in AXES.items():
        value = values[name]
        expected = tuple(sizes[axis] for axis in axes.split())
        found = None if value is None else value.shape
        if found != expected and (value is not None or name in REQUIRED):
            raise InputError(f"{name} must have shape [{axes}] = {expected}, found {found}")
    if bool(sizes["k"]) != (values["factors"] is not None):
        raise InputError(f"factors and factor_names must be given together, found names {values['factor_names']}")
    if values["names"] is not None and len(values["names"]) != sizes["n"]:
        raise InputError(f"names must be one for each of the {sizes['n']} firms, found {len(values['names'])}")
    for name in ("feature_names", "factor_names"):
        if len(set(values[name])) < len(values[name]):
            raise InputError(f"{name} must be unique, found {list(values[name])}")
    reserved = [name for name in values["feature_names"] if name in RESERVED or name.startswith("factor:")]
    if reserved:
        raise InputError(f"feature_names must not be names of panel fields, found {some(reserved)}")


def check_values(values: Mapping[str, Any]) -> None:
    """Refuse infinities, returns below -1 or in percent, and negative levels."""
    returns = values["returns"]
    for name in ("returns", "features", *LEVELS, "risk_free", "factors"):
        if values[name] is not None and np.isinf(values[name]).any():
            raise bad_cell(f"{name} must be finite or NaN", np.isinf(values[name]), name, values)
    known = returns[~np.isnan(returns)]
    median = np.median(np.abs(known, out=known), overwrite_input=True) if len(known) else 0.0  # in one copy's memory
    del known
    if median > 0.5:
        raise InputError(
            f"returns must be fractions (0.01 is one percent), found a median absolute return of "
            f"{median:.3g}: these look like percent, divide them by 100"
        )
    below = returns < -1
    if below.any():
        raise bad_cell("returns must be at least -1", below, "returns", values)
    for name in LEVELS:
        if values[name] is not None and (values[name] < 0).any():
            raise bad_cell(f"{name} must not be negative", values[name] < 0, name, values)


def check_scheme(scheme: str, widths: Sequence[int], as_of: bool, periods_per_year: int) -> None:
    """Refuse an unknown industry scheme, widths that do not belong to it, and what is no flag or no count."""
    if scheme not in SCHEMES:
        raise InputError(f"industry_scheme must be one of {', '.join(SCHEMES)}, found {scheme!r}")
    if (scheme == "custom") != bool(widths):
        raise InputError(f"industry_widths go with the custom scheme and only with it, found {scheme!r} and {widths}")
    if any(b >= a for a, b in zip(widths, widths[1:], strict=False)) or any(width < 1 for width in widths):
        raise InputError(f"industry_widths must fall from the finest level to the coarsest, found {widths}")
    if not isinstance(as_of, bool | np.bool_):
        raise InputError(f"industry_as_of must be true or false, found {as_of!r}")
    if not (isinstance(periods_per_year, int | np.integer) and periods_per_year > 0):
        raise InputError(f"periods_per_year must be a positive integer, found {periods_per_year!r}")


def where(bad: np.ndarray) -> str:
    """Name the first bad place by its position."""
    place = tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))
    return f"row {place[0]}" if len(place) == 1 else f"{place}"


def bad_cell(expected: str, bad: np.ndarray, name: str, values: Mapping[str, Any]) -> CellError:
    """Return an error that names the first bad place of a field by its date, firm, feature or factor."""
    labels = {"t": ("", "dates"), "n": ("firm ", "firms"), "f": ("feature ", "feature_names")}
    labels["k"] = ("factor ", "factor_names")
    place = [int(i) for i in np.unravel_index(np.argmax(bad), bad.shape)]
    words = [(*labels[axis], i) for axis, i in zip(AXES.get(name, "t n").split(), place, strict=True)]
    at = ", ".join(f"{word}{values[field][i]}" for word, field, i in words)
    more = f" and in {bad.sum() - 1} more places" if bad.sum() > 1 else ""
    return CellError(f"{expected}, found {values[name][tuple(place)]} at {at}{more}", name, place)


def some(items: Sequence[Any]) -> str:
    """List the first five, of long ones the beginning."""
    shown = [text if len(text := repr(item)) <= 60 else f"{text[:57]}..." for item in items[:5]]
    return ", ".join(shown) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def first_line(error: Exception) -> str:
    """Return the first line of another library's message."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
