"""Settings that fit a panel: how often it is forecast, how far ahead, and where its folds lie."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from finattn.errors import InputError
from finattn.panel import Panel

_YEAR = 252  # rows of daily data before which no characteristic is whole
_LEAST = 24  # rows that can be cut into training, validation and test
_MOST_VALID = 2 * _YEAR  # rows: more says little more, and is not trained on


@dataclass(frozen=True)
class Rhythm:
    """What goes with the usual step from one row to the next.

    Parameters
    ----------
    what : in words. days : from one date to the next, at most. per_year : rows. horizon : rows to forecast.
    decisions : of `SplitsConfig`. lookback, windows : of models and of peers' returns, in rows.
    """

    what: str
    days: float
    per_year: int
    horizon: int
    decisions: str
    lookback: int
    windows: tuple[int, ...]


RHYTHMS = (
    Rhythm("daily", 4, 252, 5, "weekly", 60, (1, 5, 21, 63)),
    Rhythm("weekly", 10, 52, 1, "weekly", 26, (1, 4, 13)),
    Rhythm("monthly", 45, 12, 1, "month-end", 12, (1, 3, 12)),
    Rhythm("quarterly", 150, 4, 1, "quarter-end", 8, (1, 4)),
    Rhythm("yearly", np.inf, 1, 1, "daily", 5, (1, 3)),
)


def rhythm(dates: np.ndarray) -> Rhythm:
    """Return what goes with the median step between dates (t,).

    Examples
    --------
    >>> rhythm(np.arange("2000-01", "2003-01", dtype="datetime64[M]").astype("M8[D]")).what
    'monthly'
    """
    if len(dates) < _LEAST:
        raise InputError(f"a panel must have at least {_LEAST} dates to be cut into folds, found {len(dates)}")
    step = float(np.median(np.diff(dates).astype(int)))
    return next(each for each in RHYTHMS if step <= each.days)


def has_characteristics(panel: Panel, each: Rhythm) -> bool:
    """Say whether a panel is daily and long enough for characteristics that look back a year."""
    return each.what == "daily" and len(panel) >= 3 * _YEAR


def folds(panel: Panel, each: Rhythm) -> dict[str, Any]:
    """Return `splits` of which the last two fifths are test windows, at most four, and a fifth before them validation.

    What lies before validation is trained on, from the first row that characteristics leave. Windows are whole years,
    months or rows, by how much there is; a panel of more than a million firm-dates has two test windows, since each
    costs a fit of every model.

    Examples
    --------
    >>> dates = np.arange("2000-01", "2020-01", dtype="datetime64[M]").astype("M8[D]")
    >>> folds(Panel(dates, ["A"], np.zeros((240, 1))), rhythm(dates))
    {'first_test': '2012-01-01', 'test': '2Y', 'valid': '4Y', 'decisions': 'month-end'}
    """
    first = _YEAR if has_characteristics(panel, each) else 1
    rows = len(panel) - first
    windows = 4 if panel.returns.size <= 10**6 else 2
    tested, valid = round(0.4 * rows), min(round(0.2 * rows), _MOST_VALID)
    start = panel.dates[len(panel) - tested]
    year = len(panel) / ((panel.dates[-1] - panel.dates[0]).astype(int) / 365.25)  # rows that it has a year
    unit, size = next(((u, s) for u, s in (("Y", year), ("M", year / 12)) if tested / windows >= s), ("", 1.0))
    if unit:
        start = start.astype(f"M8[{unit}]").astype("M8[D]")
        tested = int((panel.dates >= start).sum())
    return {
        "first_test": str(start),
        "test": _length(math.ceil(tested / windows / size), unit),
        "valid": _length(round(valid / size), unit),
        "decisions": each.decisions,
    }


def _length(count: int, unit: str) -> str | int:
    return f"{max(1, count)}{unit}" if unit else max(1, count)
