"""What a panel's fields must be: conversion to their types, and refusal of what cannot be true.

Every message says what was expected, what was found, and where.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from finattn.errors import InputError

SCHEMES = ("sic", "gics", "custom")
LEVELS = ("market_cap", "dollar_volume", "price")
# The letters of each array's axes, for messages and for slicing: t date, n firm, f feature, k factor.
AXES = {
    "returns": "t n", "listed": "t n", "industry": "t n", "features": "t n f", "market_cap": "t n",
    "dollar_volume": "t n", "price": "t n", "risk_free": "t", "factors": "t k",
}  # fmt: skip
# Fields that hold no array.
SCALARS = (
    "feature_names", "factor_names", "names", "industry_scheme", "industry_widths", "industry_as_of",
    "periods_per_year", "source",
)  # fmt: skip
# Columns of a long frame that are not features.
RESERVED = ("date", "firm", "return", "listed", "industry", "name", "risk_free", *LEVELS)
_CODES = np.iinfo(np.int32)


# -- conversion ------------------------------------------------------------


def as_day(value: Any, last: bool) -> np.datetime64:
    """Read an edge of a slice: '2001' is the first or the last day of that year."""
    try:
        period = pd.Period(str(value)) if isinstance(value, str) else pd.Period(pd.Timestamp(value), freq="D")
    except (ValueError, TypeError):
        raise InputError(f"a day must read like '2001-05-31' (or '2001', '2001-05'), found {value!r}") from None
    return np.datetime64((period.end_time if last else period.start_time).date(), "D")


def as_dates(values: Any) -> np.ndarray:
    """Return whole days as datetime64[D]; times of day and time zones are refused."""
    if isinstance(values, np.ndarray) and values.dtype == "datetime64[D]":
        return values
    array = np.asarray(values)
    # 20010531 is a day; pandas would take it for nanoseconds since 1970.
    form = "%Y%m%d" if array.dtype.kind in "iu" else None
    try:
        stamps = pd.DatetimeIndex(pd.to_datetime(array.astype(str) if form else array, format=form))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"dates must read like '2001-05-31', found something else: {first_line(error)}") from None
    if stamps.tz is not None:
        raise InputError(f"dates must be exchange days without a time zone, found time zone {stamps.tz}")
    bad = stamps.isna() | (stamps != stamps.normalize())
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"dates must be whole days, found {stamps[row]} in row {row}")
    return stamps.to_numpy().astype("datetime64[D]")


def as_firms(values: Any) -> np.ndarray:
    """Return identifiers as a text array."""
    firms = np.asarray(list(values) if not isinstance(values, np.ndarray) else values)
    return firms if firms.dtype.kind == "U" else np.array([str(firm) for firm in firms.tolist()], dtype=str)


def as_bool(values: Any) -> np.ndarray:
    """Return truth values, also from 0 and 1."""
    array = np.asarray(values)
    if array.dtype != bool:
        numbers = pd.to_numeric(pd.Series(array.ravel()), errors="coerce").to_numpy(float)
        if not np.isin(numbers, (0.0, 1.0)).all():
            bad = array.ravel()[int(np.argmin(np.isin(numbers, (0.0, 1.0))))]
            raise InputError(f"listed must be true or false, found {bad!r}")
        array = numbers.reshape(array.shape).astype(bool)
    return array


def as_codes(values: Any) -> np.ndarray:
    """Return industry codes as int32; text, fractions and numbers too large for it are refused."""
    array = np.asarray(values)
    if array.dtype == np.int32:
        return array
    if array.dtype.kind not in "iuf":
        array = pd.to_numeric(pd.Series(array.ravel()), errors="coerce").to_numpy(float).reshape(array.shape)
        if np.isnan(array).any():
            raise InputError("industry must hold integer codes with 0 for unknown, found something else")
    bad = ~((array >= 0) & (array <= _CODES.max) & (array == np.floor(array)))
    if bad.any():
        raise InputError(
            f"industry must hold integer codes from 0 (unknown) to {_CODES.max}, found {array[bad][0]} at {where(bad)}"
        )
    return array.astype(np.int32)


def as_float(name: str, values: Any, keep_float32: bool = False) -> np.ndarray | None:
    """Return float64, or float32 where that is kept."""
    if values is None:
        return None
    try:
        array = np.asarray(values)
        return array if keep_float32 and array.dtype == np.float32 else array.astype(np.float64, copy=False)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name} must be an array of numbers, found something else: {first_line(error)}") from None


def as_json(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that JSON can hold."""
    try:
        return json.loads(json.dumps(dict(source), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"source must hold what JSON can hold, found something else: {first_line(error)}") from None


# -- checks ------------------------------------------------------------


def check_axes(dates: np.ndarray, firms: np.ndarray) -> None:
    """Refuse dates out of order and firms that are not unique."""
    if dates.ndim != 1 or firms.ndim != 1 or not len(dates) or not len(firms):
        raise InputError(f"a panel must have at least one date and one firm, found {dates.shape} and {firms.shape}")
    if np.isnat(dates).any():
        raise InputError(f"dates must be whole days, found NaT in row {int(np.argmax(np.isnat(dates)))}")
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
        if value is not None and value.shape != expected:
            raise InputError(f"{name} must have shape [{axes}] = {expected}, found {value.shape}")
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
    dates, firms, returns = values["dates"], values["firms"], values["returns"]
    for name in ("returns", "features", *LEVELS, "risk_free", "factors"):
        if values[name] is not None and np.isinf(values[name]).any():
            infinite = np.isinf(values[name])
            raise InputError(
                f"{name} must be finite or NaN, found {values[name][infinite][0]} at {where(infinite, dates, firms)}"
            )
    known = np.abs(returns[~np.isnan(returns)])
    if len(known) and np.median(known) > 0.5:
        raise InputError(
            f"returns must be fractions (0.01 is one percent), found a median absolute return of "
            f"{np.median(known):.3g}: these look like percent, divide them by 100"
        )
    below = returns < -1
    if below.any():
        raise InputError(
            f"returns must be at least -1, found {returns[below][0]:.6g} at {where(below, dates, firms)}"
            f"{f' and in {below.sum() - 1} more places' if below.sum() > 1 else ''}"
        )
    for name in LEVELS:
        if values[name] is not None and (values[name] < 0).any():
            negative = values[name] < 0
            raise InputError(
                f"{name} must not be negative, found {values[name][negative][0]} at {where(negative, dates, firms)}"
            )


def check_scheme(scheme: str, widths: Sequence[int], periods_per_year: int) -> None:
    """Refuse an unknown industry scheme and widths that do not belong to it."""
    if scheme not in SCHEMES:
        raise InputError(f"industry_scheme must be one of {', '.join(SCHEMES)}, found {scheme!r}")
    if (scheme == "custom") != bool(widths):
        raise InputError(f"industry_widths go with the custom scheme and only with it, found {scheme!r} and {widths}")
    if any(b >= a for a, b in zip(widths, widths[1:], strict=False)) or any(width < 1 for width in widths):
        raise InputError(f"industry_widths must fall from the finest level to the coarsest, found {widths}")
    if not (isinstance(periods_per_year, int) and periods_per_year > 0):
        raise InputError(f"periods_per_year must be a positive integer, found {periods_per_year!r}")


def where(bad: np.ndarray, dates: np.ndarray | None = None, firms: np.ndarray | None = None) -> str:
    """Name the first bad place: by date and firm where they are given, else by position."""
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    if dates is None or firms is None:
        return f"{place}"
    return f"{dates[place[0]]}" + (f", firm {firms[place[1]]!s}" if len(place) > 1 else "")


def some(items: Sequence[str]) -> str:
    """List the first five."""
    return ", ".join(repr(item) for item in items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def first_line(error: Exception) -> str:
    """Return the first line of another library's message."""
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
