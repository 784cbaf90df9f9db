"""Walk-forward folds: the one splitter, purged by the target's horizon and embargoed."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finattn.errors import InputError

SCHEDULES = {"weekly": "W", "month-end": "M", "quarter-end": "Q"}


@dataclass(frozen=True)
class Fold:
    """Positions of one fold's rows, each array increasing.

    train holds every k-th row, k of `WalkForward.train_every`, valid every row, and test decision dates only.
    """

    number: int
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class WalkForward:
    """Walk-forward folds over the rows of a panel.

    Test windows follow one another from `first_test`; before each lie its validation window and, before that, its
    training window, which expands from the first row or rolls. From train to valid and from valid to test,
    last earlier position + delay + horizon + embargo <= first later position, so that every label used for
    fitting was known before the first forecast it serves.

    Parameters
    ----------
    first_test : first day of the first test window.
    test, valid, train : calendar lengths ("4Y", "6M", "2W", "10D") or counts of rows; train None expands.
    horizon, delay : of the target, in rows. embargo : further rows in each gap.
    decisions : "daily", "weekly", "month-end" or "quarter-end": the dates on which forecasts are made.
    start : rows before this position are context for features and are not trained on.
    train_every : k: every k-th row is trained on, counted back from the last; the others are context. Labels of many
        rows overlap, and say little more at k times the cost.

    Raises
    ------
    InputError
        From `split`, where a window would be empty.

    Examples
    --------
    >>> days = np.arange("2000-01-01", "2003-01-01", dtype="datetime64[D]")
    >>> folds = list(WalkForward("2002-01-01", test="6M", valid="3M", horizon=5, decisions="daily").split(days))
    >>> len(folds), days[folds[0].train[-1]].item().isoformat(), days[folds[0].valid[0]].item().isoformat()
    (2, '2001-09-26', '2001-10-01')
    """

    first_test: str
    test: str | int = "4Y"
    valid: str | int = "2Y"
    train: str | int | None = None
    horizon: int = 1
    delay: int = 0
    embargo: int = 0
    decisions: str = "daily"
    start: int = 0
    train_every: int = 1

    def __post_init__(self) -> None:
        """Refuse gaps that would let a label reach into what it serves."""
        for name, least in (("horizon", 1), ("delay", 0), ("embargo", 0), ("start", 0), ("train_every", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least} rows, found {getattr(self, name)}")

    def split(self, dates: np.ndarray) -> Iterator[Fold]:
        """Yield the folds over `dates` (t,), the last of which may have a shorter test window."""
        dates = dates.astype("datetime64[D]")
        gap = self.delay + self.horizon + self.embargo
        if gap >= len(dates):
            raise InputError(
                f"target.horizon must leave dates to train on, found horizon + delay + embargo = {gap} rows "
                f"on a panel of {len(dates)}"
            )
        decided = decision_mask(dates, self.decisions)
        edges = _test_edges(dates, self.first_test, self.test)
        number = 0
        for (day, first), (_, last) in itertools.pairwise(edges):
            valid_day, valid_first = _before(dates, day, first, self.valid)
            valid = np.arange(valid_first, first - gap + 1)
            _, train_first = (day, 0) if self.train is None else _before(dates, valid_day, valid_first, self.train)
            train = np.arange(max(train_first, self.start), valid_first - gap + 1)
            train = train[(len(train) - 1) % self.train_every :: self.train_every]
            test = np.arange(first, last)[decided[first:last]]
            self._check(dates, number, first, train, valid)
            if len(test):  # a stub at the end without a decision date is no fold
                yield Fold(number, train, valid, test)
                number += 1
        if not number:
            raise InputError(
                f"the test window must not be empty, found no {self.decisions} decision from {dates[edges[0][1]]} to "
                f"{dates[-1]}"
            )

    def _check(self, dates: np.ndarray, number: int, first: int, train: np.ndarray, valid: np.ndarray) -> None:
        for name, rows in (("train", train), ("valid", valid)):
            if not len(rows):
                raise InputError(
                    f"every fold must have {name} dates, found none for fold {number}, whose test begins "
                    f"{dates[first]}: {self.start} rows of warm-up, a panel from {dates[0]}, valid {self.valid}, "
                    f"gaps of {self.delay + self.horizon + self.embargo} rows"
                )


def decision_mask(dates: np.ndarray, schedule: str) -> np.ndarray:
    """Say on which dates (t,) a decision is made: every one, or the last of each week, month or quarter.

    Which day is the last is read from the dates themselves: an exchange's calendar is known beforehand, but an
    unscheduled closure (September 2001) counts as if it had been known too. Whether the panel's own last date closes a
    period is judged by the calendar: its next weekday lies in another one.

    Examples
    --------
    >>> days = np.array(["2021-12-30", "2021-12-31", "2022-01-03"], dtype="datetime64[D]")
    >>> decision_mask(days, "month-end").tolist()
    [False, True, False]
    """
    if schedule == "daily":
        return np.ones(len(dates), bool)
    if schedule not in SCHEDULES:
        raise InputError(f"splits.decisions must be daily, {', '.join(SCHEDULES)}, found {schedule!r}")
    following = np.append(dates[1:], np.busday_offset(dates[-1] + 1, 0, roll="forward"))
    periods = [pd.DatetimeIndex(days).to_period(SCHEDULES[schedule]) for days in (dates, following)]
    return np.asarray(periods[0] != periods[1])


def label_overlap(decision_rows: np.ndarray, horizon: int) -> int:
    """Count the later decision dates whose label begins before that of a decision ends: t < t' < t + horizon."""
    within = np.searchsorted(decision_rows, decision_rows + horizon) - np.arange(1, len(decision_rows) + 1)
    return int(within.max(initial=0))


def _test_edges(dates: np.ndarray, first_test: str, length: str | int) -> list[tuple[np.datetime64, int]]:
    """Return the day and the row at which each test window begins, and the panel's end.

    Calendar windows are counted from `first_test` itself, so that yearly ones begin on the same day of every year.
    """
    try:
        origin = pd.Timestamp(first_test)
        day = np.datetime64(origin.date(), "D")
    except (ValueError, TypeError):
        raise InputError(f"splits.first_test must be a day such as '2000-01-01', found {first_test!r}") from None
    if day < dates[0]:
        raise InputError(f"splits.first_test must not lie before the first date {dates[0]}, found {first_test}")
    first, end = int(np.searchsorted(dates, day)), (dates[-1] + 1, len(dates))
    if first >= len(dates):
        raise InputError(
            f"the test window must not be empty, found splits.first_test {first_test} after the last date {dates[-1]}"
        )
    window = _length(length)
    if isinstance(window, int):
        return [(dates[row], row) for row in range(first, len(dates), window)] + [end]
    days: list[np.datetime64] = [day]
    count = 0
    while days[-1] <= dates[-1]:
        count += 1
        days.append(_shifted(origin, count * window))
    return [(day, int(np.searchsorted(dates, day))) for day in days[:-1]] + [end]


def _before(dates: np.ndarray, day: Any, row: int, length: str | int) -> tuple[Any, int]:
    """Return the day and the row that lie `length` before a day and its row; not before the first."""
    window = _length(length)
    if isinstance(window, int):
        row = max(row - window, 0)
        return dates[row], row
    earlier = _shifted(pd.Timestamp(day), -window)
    return earlier, int(np.searchsorted(dates, earlier))


def _shifted(day: pd.Timestamp, window: pd.DateOffset) -> np.datetime64:
    try:
        return np.datetime64((day + window).date(), "D")
    except (ValueError, OverflowError):
        raise InputError(f"a window must end in a year from 1 to 9999, found {window} from {day.date()}") from None


def _length(length: str | int) -> Any:
    """Read a window's length: a count of rows, or a calendar offset."""
    text = str(length)
    count, unit = (text, "") if text.isdecimal() else (text[:-1], text[-1:].upper())
    if not count.isdecimal() or unit not in ("", "Y", "M", "W", "D"):
        raise InputError(f"a window must be a count of rows or read like '4Y', '6M', '2W', '10D', found {length!r}")
    if int(count) < 1:
        raise InputError(f"a window must be at least one row long, found {length!r}")
    if len(count) > 5:
        raise InputError(f"a window must be at most 99999 long, found {length!r}")
    offsets = {"Y": pd.DateOffset(years=1), "M": pd.DateOffset(months=1), "W": pd.DateOffset(weeks=1)}
    return int(count) * offsets.get(unit, pd.DateOffset(days=1)) if unit else int(count)
