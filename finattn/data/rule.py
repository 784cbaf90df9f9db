"""Rows of a table in time: which say what since when, which win, and why the others are not used."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from finattn.config.require import require_types
from finattn.data.columns import check_columns, firm_places, is_count, read_flags, read_numbers, read_stamps
from finattn.errors import InputError
from finattn.panel import Panel

NEVER = np.datetime64("9999-12-31", "D")
_LONGEST_DELAY = 100_000
_CHOICES = {
    "prefer": ("period", "available"),
    "look_back": ("none", "period", "any"),
    "stale_from": ("period", "available"),
    "unusable": ("refuse", "drop"),
}
# Why a row is not used, in the order in which it is asked; "newest" are the rows that are. They add up to "rows".
REASONS = (
    "of_unknown_firms", "without_availability", "without_period", "period_after_availability", "duplicates",
    "after_the_panel", "never_newest", "newest",
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """Which columns of a table say when, and which row wins where several are known.

    Parameters
    ----------
    firm, available : columns with the firm and with the day (or the day and time) since which a row is available. A row
        of a day is known at the close of the first date of the panel on or after that day.
    period : column with the last day of the fiscal period that a row is about; None where rows are about no period.
    amended : column that is true in amendments; None where the table does not say.
    prefer : "period": of the rows known, the one of the latest period wins, of these the latest available, then an
        amendment, then the last in the table. An old period that is amended late does not displace a newer one.
        "available": the latest available wins whatever its period; of these the latest period, an amendment, the last.
    look_back : where the winning row has no number in a column: "none" leaves it missing; "period" takes the best row
        of the same period that has one (an amendment that repeats only a few items); "any" the best row of any period.
    stale_from : day from which the age of a value is counted: its period's last day, or the day it became available.
    unusable : "refuse" or "drop" (and count) rows without a day of availability, without a period, or with a period
        that ends after the row is available, which cannot be.
    close : time at which dates of the panel close, "16:00": a row available then or later counts for the next day.
        Needed where `available` holds times of day, which are exchange time.
    delay_days, delay_rows : days of the calendar, then rows of the panel, that a row is known later than it says. Rows
        older than the panel are delayed from its first date.

    Raises
    ------
    InputError
        For a choice that does not exist, a delay below 0, or a time that is none.

    Examples
    --------
    >>> Rule(amended="amend", delay_rows=1).prefer
    'period'
    """

    firm: str = "firm"
    available: str = "available"
    period: str | None = "period_end"
    amended: str | None = None
    prefer: Literal["period", "available"] = "period"
    look_back: Literal["none", "period", "any"] = "none"
    stale_from: Literal["period", "available"] = "period"
    unusable: Literal["refuse", "drop"] = "refuse"
    close: str | None = None
    delay_days: int = 0
    delay_rows: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        require_types(self)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, found {getattr(self, name)!r}")
        for name in ("delay_days", "delay_rows"):
            if not (is_count(getattr(self, name)) and getattr(self, name) <= _LONGEST_DELAY):
                found = f"{getattr(self, name)!r} (at most {_LONGEST_DELAY})"
                raise InputError(f"{name} must be a whole number from 0, found {found}")
            object.__setattr__(self, name, int(getattr(self, name)))
        if self.close is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(self.close)):
            raise InputError(f"close must be a time such as '16:00', found {self.close!r}")
        if self.look_back == "period" and (self.period is None or self.prefer != "period"):
            raise InputError("look_back 'period' must go with a column of periods and prefer 'period'")


class Rows(NamedTuple):
    """The usable rows of a table, the least preferred first, so that of two known rows the later place wins."""

    place: np.ndarray  # (r,) row of the table
    column: np.ndarray  # (r,) firm of the panel
    known: np.ndarray  # (r,) first row of the panel at whose close it is known, len(panel) = after the panel
    period: np.ndarray  # (r,) datetime64[D]
    expiry: np.ndarray  # (r,) datetime64[D], the last day on which it is not stale
    values: np.ndarray  # (r, f)


class Columns(NamedTuple):
    """The columns of a table as arrays, a row each."""

    firm: np.ndarray  # place in the panel, -1 for a firm that it does not have
    stamp: np.ndarray  # datetime64[s] since which a row is available
    period: np.ndarray  # datetime64[D]
    amended: np.ndarray
    values: np.ndarray  # (r, f)
    row: np.ndarray  # what messages call it


def read_columns(panel: Panel, table: pd.DataFrame, columns: Sequence[str], rule: Rule) -> Columns:
    """Read the columns that a rule names."""
    check_columns(table, columns, [rule.firm, rule.available, rule.period, rule.amended])
    stamp = read_stamps(table, rule.available)
    return Columns(
        firm=firm_places(panel, table, rule.firm),
        stamp=stamp,
        # Without periods each row is about the day on which it is available: nothing below then needs a second form.
        period=stamp.astype("M8[D]") if rule.period is None else read_stamps(table, rule.period).astype("M8[D]"),
        amended=np.zeros(len(table), bool) if rule.amended is None else read_flags(table, rule.amended),
        values=np.column_stack([read_numbers(table, name) for name in columns]),
        row=table.index.to_numpy() if table.index.name == "row" else np.arange(len(table)),
    )


def unused_because(read: Columns, table: pd.DataFrame, rule: Rule) -> np.ndarray:
    """Return why each row is not used, "" for none; refuse what cannot be placed in time unless it is to be dropped."""
    reason = first_reason(
        {
            "of_unknown_firms": read.firm < 0,
            "without_availability": np.isnat(read.stamp),
            "without_period": np.isnat(read.period),
            "period_after_availability": read.period > read.stamp.astype("M8[D]"),
        }
    )
    expected = {
        "without_availability": f"{rule.available} must be given in every row, found none",
        "without_period": f"{rule.period} must be given in every row, found none",
        "period_after_availability": f"{rule.period} must not be after {rule.available}, found a later one",
    }
    for name, message in expected.items():
        rows = np.flatnonzero(reason == name)
        if len(rows) and rule.unusable == "refuse":
            raise InputError(
                f"{message} in {len(rows)} rows, the first of firm {table[rule.firm].iloc[rows[0]]!s} "
                f"(row {read.row[rows[0]]}); Rule(unusable='drop') leaves them out and counts them"
            )
    keys = {"firm": read.firm, "stamp": read.stamp, "period": read.period, "amended": read.amended}
    rows = np.flatnonzero(reason == "")
    usable = pd.DataFrame(keys | {str(f): column for f, column in enumerate(read.values.T)}).iloc[rows]
    reason[rows[usable.duplicated(keep="last").to_numpy()]] = "duplicates"
    return reason


def first_reason(bad: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the first reason that each row has, "" for none."""
    return np.select(list(bad.values()), list(bad), default="").astype(object)


def in_order(read: Columns, reason: np.ndarray, panel: Panel, stale_after: int | str | None, rule: Rule) -> Rows:
    """Return the rows that have no reason against them, the least preferred first."""
    first, second = (read.period, read.stamp) if rule.prefer == "period" else (read.stamp, read.period)
    order = np.lexsort((read.amended, second, first))
    order = order[reason[order] == ""]
    basis = read.period if rule.stale_from == "period" else read.stamp.astype("M8[D]")
    known = np.searchsorted(panel.dates, _known_day(read, rule)[order]) + rule.delay_rows
    return Rows(
        place=order,
        column=read.firm[order],
        known=np.minimum(known, len(panel)),
        period=read.period[order],
        expiry=_expiry(basis[order], stale_after),
        values=read.values[order],
    )


def _known_day(read: Columns, rule: Rule) -> np.ndarray:
    """Return the day at whose close each row is known, before rows of delay."""
    day = read.stamp.astype("M8[D]")
    time = read.stamp - day
    if rule.close is None:
        timed = time > np.timedelta64(0)
        if timed.any():
            row = int(np.argmax(timed))
            raise InputError(
                f"{rule.available} must be whole days unless Rule(close='16:00') says when dates close, found "
                f"{pd.Timestamp(read.stamp[row])} in row {read.row[row]}"
            )
    else:
        hour, minute = rule.close.split(":")
        day = day + (time >= np.timedelta64(60 * int(hour) + int(minute), "m"))
    return day + np.timedelta64(rule.delay_days, "D")


def _expiry(basis: np.ndarray, stale_after: int | str | None) -> np.ndarray:
    """Return the last day on which a value of each basis is not stale."""
    if stale_after is None:
        return np.full(len(basis), NEVER)
    text = f"{stale_after}D" if is_count(stale_after) else str(stale_after)
    match = re.fullmatch(r"(\d{1,5})([DWMY])", text)
    if match is None:
        raise InputError(
            f"stale_after must be days, or text such as '90D', '6W', '15M' or '2Y', or None for never, "
            f"found {stale_after!r}"
        )
    number, unit = int(match[1]), match[2]
    if unit in "DW":
        return basis + np.timedelta64(number * (7 if unit == "W" else 1), "D")
    month = basis.astype("M8[M]") + np.timedelta64(number * (12 if unit == "Y" else 1), "M")
    end_of_month = (month + 1).astype("M8[D]") - np.timedelta64(1, "D")
    return np.minimum(month.astype("M8[D]") + (basis - basis.astype("M8[M]").astype("M8[D]")), end_of_month)
