"""From a long frame, a row for each firm-date, to the fields of a panel."""

from typing import Any, TypeVar

import numpy as np
import pandas as pd

from finattn.checks import LEVELS, RESERVED, SCALARS, as_bool, as_codes, as_dates, as_firms, some
from finattn.errors import InputError

Numbers = TypeVar("Numbers", pd.Series, pd.Index)


def frame_fields(frame: pd.DataFrame) -> dict[str, Any]:
    """Turn a long frame into the panel's fields."""
    _check_columns(frame)
    missing = [name for name in ("date", "firm", "return") if name not in frame.columns]
    if missing:
        raise InputError(f"a long frame must have columns date, firm, return; found no {', '.join(missing)}")
    if frame.empty:
        raise InputError("a long frame must have at least one row, found none")
    dates, rows = np.unique(as_dates(frame["date"]), return_inverse=True)
    firms, columns = _firm_codes(frame["firm"])
    _check_unique_pairs(dates, firms, rows, columns)
    shape = (len(dates), len(firms))
    # Names of firms, features and factors come from the columns, some of which may have been dropped.
    fields: dict[str, Any] = {k: v for k, v in frame.attrs.items() if k in SCALARS and not k.endswith("names")}
    fields |= {"dates": dates, "firms": firms}
    listed = frame["listed"] if "listed" in frame.columns else np.ones(len(frame), bool)
    fields["listed"] = _scatter(as_bool(listed), rows, columns, shape, False)
    if "industry" in frame.columns:
        fields["industry"] = _scatter(as_codes(frame["industry"].fillna(0)), rows, columns, shape, 0)
    for column, name in {"return": "returns", **{level: level for level in LEVELS}}.items():
        if column in frame.columns:
            fields[name] = _scatter(read_numbers(column, frame[column]), rows, columns, shape, np.nan)
    if "name" in frame.columns:
        fields["names"] = _per_key(frame, "name", columns, firms, "firm")
    if "risk_free" in frame.columns:
        fields["risk_free"] = _per_key(frame, "risk_free", rows, dates, "date")
    factors = [name for name in frame.columns if name.startswith("factor:")]
    if factors:
        fields["factors"] = np.column_stack([_per_key(frame, name, rows, dates, "date") for name in factors])
        fields["factor_names"] = tuple(name.removeprefix("factor:") for name in factors)
    features = [name for name in frame.columns if name not in RESERVED and name not in factors]
    if features:
        values = {name: read_numbers(name, frame[name]) for name in features}
        wide = np.float32 if all(v.dtype == np.float32 for v in values.values()) else np.float64
        fields["features"] = np.full((*shape, len(features)), np.nan, wide)
        for f, name in enumerate(features):
            fields["features"][rows, columns, f] = values[name]
        fields["feature_names"] = tuple(features)
    return fields


def _check_columns(frame: pd.DataFrame) -> None:
    other = [name for name in frame.columns if not isinstance(name, str)]
    if other:
        raise InputError(f"columns of a long frame must be named by text, found {some(other)}")
    repeated = frame.columns[frame.columns.duplicated()].unique().tolist()
    if repeated:
        raise InputError(f"columns of a long frame must be unique, found more than one {some(repeated)}")


def _firm_codes(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the firms and, for each row, which of them it is."""
    bad = column.isna().to_numpy()
    if bad.any():
        raise InputError(f"firm must be given in every row, found none in row {int(np.argmax(bad))}")
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(_identifiers(column)).astype("category")
    column = column.cat.remove_unused_categories()
    return as_firms(column.cat.categories), column.cat.codes.to_numpy(np.int64)


def _identifiers(column: pd.Series) -> np.ndarray:
    """Return identifiers as text; whole numbers that a file holds as floats lose their '.0'."""
    firms = as_firms(as_whole(column).tolist())
    try:
        "".join(firms).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"firm must be valid Unicode, found {error.object[error.start]!r}") from None
    return firms


def as_whole(column: Numbers) -> Numbers:
    """Return numbers as integers where a file holds nothing but whole ones as floats, else as they are.

    Examples
    --------
    >>> as_whole(pd.Series([10107.0, 14593.0])).tolist(), as_whole(pd.Series(["007"])).tolist()
    ([10107, 14593], ['007'])
    """
    whole = column.dtype.kind == "f" and bool(((column % 1 == 0) & (np.abs(np.asarray(column, float)) < 2**63)).all())
    return column.astype(np.int64) if whole else column


def _check_unique_pairs(dates: np.ndarray, firms: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    pairs = rows * len(firms) + columns
    order = np.argsort(pairs, kind="stable")
    again = np.flatnonzero(pairs[order][1:] == pairs[order][:-1])
    if len(again):
        first, second = order[again[0]], order[again[0] + 1]
        raise InputError(
            f"firm-dates must be unique, found {len(again)} duplicates: {firms[columns[first]]!s} on "
            f"{dates[rows[first]]} (rows {first}, {second})"
        )


def _scatter(
    values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], empty: Any
) -> np.ndarray:
    result = np.full(shape, empty, dtype=values.dtype)
    result[rows, columns] = values
    return result


def read_numbers(name: str, column: pd.Series, start: int = 0) -> np.ndarray:
    """Return a column, or a batch of it, as floats, single ones as they are.

    Raises
    ------
    InputError
        For text and dates, naming the row of the file: `start` and the place in the batch.

    Examples
    --------
    >>> read_numbers("x", pd.Series(["1.5", None])).tolist()
    [1.5, nan]
    """
    if column.dtype in (np.float32, np.float64):
        return column.to_numpy()
    numbers = as_numbers(name, column)
    bad = (numbers.isna() & column.notna()).to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"column {name!r} must be numeric, found {column.iloc[row]!r} in row {start + row}")
    return numbers.to_numpy(np.float64, na_value=np.nan)


def as_numbers(name: str, column: pd.Series) -> pd.Series:
    """Return a column as numbers, missing where it holds something else; dates and durations are refused."""
    if column.dtype.kind in "cmM":
        raise InputError(f"column {name!r} must be numeric, found {column.dtype}")
    return pd.to_numeric(column, errors="coerce")


def _per_key(frame: pd.DataFrame, name: str, codes: np.ndarray, keys: np.ndarray, what: str) -> Any:
    """Return the one value that each date (or firm) has in a column that repeats it over rows."""
    if name == "name":  # a firm without a name is called by its identifier
        values = frame[name].astype(object).where(frame[name].notna(), keys[codes]).astype(str).to_numpy(object)
    else:
        values = read_numbers(name, frame[name])
    result = np.full(len(keys), "" if name == "name" else np.nan, dtype=values.dtype)
    result[codes] = values
    differs = pd.Series(values).ne(pd.Series(result[codes])) & ~(pd.isna(values) & pd.isna(result[codes]))
    if differs.any():
        row = int(np.argmax(differs.to_numpy()))
        raise InputError(
            f"{name} must be the same in all rows of a {what}, found {values[row]!s} and {result[codes[row]]!s} "
            f"for {keys[codes[row]]!s} (row {row})"
        )
    return result
