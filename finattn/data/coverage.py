"""What of a panel is there: by year, by field and by firm.

A large panel is looked at some firms at a time, see `parts`, so that nothing of its size is ever copied.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import LEVELS
from finattn.panel import Panel

_CELLS = 2**21  # numbers that are looked at together


class Coverage(NamedTuple):
    """What of a panel is there.

    years : columns year, dates, firms (listed on any date of the year), firm_dates (listed), with_return (share of
        these), entered and left (firms listed for the first and for the last time, where the panel begins before and
        ends after).
    fields : columns field, missing (listed firm-dates without it), share (of all listed ones), firms_without (firms
        listed at least once that never have it), first and last (dates on which any firm has it).
    fields_by_year : columns year, field, share (missing, of the year's listed firm-dates).
    """

    years: pd.DataFrame
    fields: pd.DataFrame
    fields_by_year: pd.DataFrame


def parts(panel: Panel, cells: int | None = None) -> Iterator[Panel]:
    """Cut a panel into views of some firms each, of about as many numbers.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B", "C"], [[0.0] * 3] * 2)
    >>> [part.firms.tolist() for part in parts(panel, cells=4)]
    [['A', 'B'], ['C']]
    """
    firms = max(1, (cells or _CELLS) // (len(panel) * max(1, len(panel.feature_names))))
    for start in range(0, len(panel.firms), firms):
        yield panel[:, start : start + firms]


def thin_dates(panel: Panel) -> pd.DataFrame:
    """Return dates on which less than half of the usual number of firms is listed: columns date, firms, usual.

    The usual number is the median over the date itself, the five before and the five after it. Such dates are often
    holidays of the exchange, for which a source has a few rows all the same.

    Examples
    --------
    >>> panel = Panel(["2020-07-02", "2020-07-03", "2020-07-06"], ["A", "B", "C"], [[0.0] * 3] * 3,
    ...               listed=[[True] * 3, [False, False, True], [True] * 3])
    >>> thin_dates(panel)[["firms", "usual"]].values.tolist()
    [[1.0, 3.0]]
    """
    firms = pd.Series(_listed(panel))
    usual = firms.rolling(11, center=True, min_periods=1).median()
    thin = np.flatnonzero(firms < usual / 2)
    return pd.DataFrame({"date": days(panel.dates[thin]), "firms": firms.iloc[thin], "usual": usual.iloc[thin]})


def fields(panel: Panel) -> tuple[str, ...]:
    """Return the fields that may be missing: return, industry, the levels that there are, features.

    Examples
    --------
    >>> fields(Panel(["2020-01-02"], ["A"], [[0.0]], price=[[1.0]]))
    ('return', 'industry', 'price')
    """
    levels = [name for name in LEVELS if getattr(panel, name) is not None]
    return ("return", "industry", *levels, *panel.feature_names)


def cover(panel: Panel, firms: pd.DataFrame) -> Coverage:
    """Count, by year and by field, what of the listed firm-dates is there.

    Parameters
    ----------
    panel : with at least one date.
    firms : of `listings`, of the same panel.

    Examples
    --------
    >>> panel = Panel(["2019-12-31", "2020-01-02"], ["A", "B"], [[0.0, 0.1], [np.nan, 0.2]])
    >>> found = cover(panel, listings(panel))
    >>> found.years["with_return"].tolist(), found.fields["missing"].tolist()
    ([1.0, 0.5], [1, 4])
    """
    years, starts = np.unique(panel.dates.astype("M8[Y]"), return_index=True)
    names = fields(panel)
    listed = np.zeros(len(panel), np.int64)
    known = np.zeros((len(panel), len(names)), np.int64)
    with_field, in_year, ever = np.zeros(len(names), np.int64), np.zeros(len(years), np.int64), 0
    for part in parts(panel):
        listed += part.listed.sum(axis=1)
        in_year += np.logical_or.reduceat(part.listed, starts, axis=0).sum(axis=1)
        ever += int(part.listed.any(axis=0).sum())
        by_date, by_field = zip(*map(_counts, _known(part)), strict=True)
        known += np.concatenate(by_date, axis=1)
        with_field += np.concatenate(by_field)
    by_year = np.add.reduceat(listed, starts), np.add.reduceat(known, starts, axis=0)
    shares = 1 - _share(by_year[1], by_year[0][:, None])
    numbers = years.astype(int) + 1970
    table = pd.DataFrame(
        {
            "year": numbers,
            "dates": np.diff([*starts, len(panel)]),
            "firms": in_year,
            "firm_dates": by_year[0],
            "with_return": 1 - shares[:, 0],
            "entered": _per_year(firms.loc[firms["entered"], "first"], numbers),
            "left": _per_year(firms.loc[firms["left"], "last"], numbers),
        }
    )
    long = {"year": np.repeat(numbers, len(names)), "field": names * len(years), "share": shares.ravel()}
    return Coverage(table, _missing(panel, names, listed, known, ever - with_field), pd.DataFrame(long))


def listings(panel: Panel, rows: np.ndarray | None = None) -> pd.DataFrame:
    """Return when each firm is listed, a row a firm.

    Parameters
    ----------
    panel : with at least one date.
    rows : positions of the dates by which spells, entered and left are told, in order; default all. Without
        `thin_dates` a firm does not leave for each holiday.

    Returns
    -------
    Columns firm, name (where the panel has names), first and last (listed dates, NaT where there is none), listed
    (rows), with_return and with_industry (of these), spells (stretches without an interruption), entered (after the
    first date), left (before the last), delisting_return (where it left: the return of the panel's row after its last
    listed one, a fraction; NaN where it is not known).

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.1], [0.0, -0.4]],
    ...               listed=[[True, True], [True, False]])
    >>> listings(panel)[["firm", "spells", "left", "delisting_return"]].values.tolist()
    [['A', 1, False, nan], ['B', 1, True, -0.4]]
    """
    rows = np.arange(len(panel)) if rows is None else rows
    table = pd.concat([_listings(part, rows) for part in parts(panel)], ignore_index=True)
    if panel.names is not None:
        table.insert(1, "name", panel.names)
    return table


def _listings(part: Panel, rows: np.ndarray) -> pd.DataFrame:
    listed, spells = part.listed, part.listed[rows]
    ever, last_row = listed.any(axis=0), len(part) - 1
    first, last = listed.argmax(axis=0), last_row - listed[::-1].argmax(axis=0)
    left = ever & (last < rows[-1])
    after = part.returns[np.minimum(last + 1, last_row), np.arange(len(part.firms))]
    return pd.DataFrame(
        {
            "firm": part.firms,
            "first": days(part.dates[first], ever),
            "last": days(part.dates[last], ever),
            "listed": listed.sum(axis=0),
            "with_return": (listed & ~np.isnan(part.returns)).sum(axis=0),
            "with_industry": (listed & (part.industry != 0)).sum(axis=0),
            "spells": spells[0] + (spells[1:] & ~spells[:-1]).sum(axis=0),
            "entered": ever & (first > rows[0]),
            "left": left,
            "delisting_return": np.where(left, after, np.nan),
        }
    )


def _listed(panel: Panel) -> np.ndarray:
    """Count listed firms by date."""
    return np.sum([part.listed.sum(axis=1) for part in parts(panel)], axis=0)


def _known(part: Panel) -> Iterator[np.ndarray]:
    """Yield where listed firms have each field, as (t, n, field) with one field or all features."""
    yield (part.listed & ~np.isnan(part.returns))[:, :, None]
    yield (part.listed & (part.industry != 0))[:, :, None]
    for name in LEVELS:
        if (level := getattr(part, name)) is not None:
            yield (part.listed & ~np.isnan(level))[:, :, None]
    yield part.listed[:, :, None] & ~np.isnan(part.features)


def _counts(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count firms by date and field (t, field), and firms that ever have the field (field,)."""
    return known.sum(axis=1), known.any(axis=0).sum(axis=0)


def _missing(
    panel: Panel, names: Iterable[str], listed: np.ndarray, known: np.ndarray, firms_without: np.ndarray
) -> pd.DataFrame:
    missing, there = listed.sum() - known.sum(axis=0), known > 0
    ever = there.any(axis=0)
    return pd.DataFrame(
        {
            "field": list(names),
            "missing": missing,
            "share": _share(missing, listed.sum()),
            "firms_without": firms_without,
            "first": days(panel.dates[there.argmax(axis=0)], ever),
            "last": days(panel.dates[len(panel) - 1 - there[::-1].argmax(axis=0)], ever),
        }
    )


def _per_year(dates: pd.Series, years: np.ndarray) -> np.ndarray:
    return dates.dt.year.value_counts().reindex(years, fill_value=0).to_numpy(np.int64)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, NaN where there is nothing to divide by."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def days(dates: np.ndarray, known: Any = True) -> np.ndarray:
    """Return dates as pandas holds them, NaT where they are not known."""
    return np.where(known, dates.astype("M8[s]"), np.datetime64("NaT", "s"))
