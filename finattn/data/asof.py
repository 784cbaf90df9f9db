"""As-of joins: at the close of each date, what a table had said by then, and nothing that it said later.

Three kinds of table, and one promise: row t of a result holds only what was known at the close of dates[t].

- **Reports** (fundamentals): a row a report, with the day since which it is available: `join`, `look_up`.
- **Daily values**: the same with ``Rule(available="date", period=None)`` and a short `stale_after`.
- **Industries**: a row for each stretch of days in which a code is valid: `spans`.

Nothing is lost in silence: every result comes with counts of the rows that it did not use, and why.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import as_codes
from finattn.data.columns import (
    check_columns,
    column_names,
    firm_places,
    is_count,
    read_flags,
    read_numbers,
    read_stamps,
)
from finattn.errors import InputError
from finattn.panel import Panel

_NEVER = np.datetime64("9999-12-31", "D")
_CHOICES = {
    "prefer": ("period", "available"),
    "look_back": ("none", "period", "any"),
    "stale_from": ("period", "available"),
    "unusable": ("refuse", "drop"),
}
# Why a row is not used, in the order in which it is asked; "newest" are the rows that are. They add up to "rows".
_REASONS = (
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
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}, found {getattr(self, name)!r}")
        for name in ("delay_days", "delay_rows"):
            if not is_count(getattr(self, name)):
                raise InputError(f"{name} must be a whole number from 0, found {getattr(self, name)!r}")
            object.__setattr__(self, name, int(getattr(self, name)))
        if self.close is not None and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", str(self.close)):
            raise InputError(f"close must be a time such as '16:00', found {self.close!r}")
        if self.look_back == "period" and (self.period is None or self.prefer != "period"):
            raise InputError("look_back 'period' must go with a column of periods and prefer 'period'")


class Joined(NamedTuple):
    """What `look_up` found.

    values (t, n, f) : numbers, NaN where there is none.
    row (t, n) : place in the table of the row that wins at each firm-date, also where it is stale; -1 for none.
    counts : rows of the table by what became of them (they add up to ``rows``), ``unknown_firms`` in the table,
        ``firms_without_rows`` in the panel, and listed ``stale_firm_dates``, at which the row that wins is too old.
    """

    values: np.ndarray
    row: np.ndarray
    counts: dict[str, int]


class Spans(NamedTuple):
    """What `spans` found: codes (t, n) int32, 0 = unknown, and counts of rows and firm-dates."""

    codes: np.ndarray
    counts: dict[str, int]


class _Rows(NamedTuple):
    """The usable rows of a table, the least preferred first, so that of two known rows the later place wins."""

    place: np.ndarray  # (r,) row of the table
    column: np.ndarray  # (r,) firm of the panel
    known: np.ndarray  # (r,) first row of the panel at whose close it is known, len(panel) = after the panel
    period: np.ndarray  # (r,) datetime64[D]
    expiry: np.ndarray  # (r,) datetime64[D], the last day on which it is not stale
    values: np.ndarray  # (r, f)


# -- reports and daily values ------------------------------------------------------------


def join(
    panel: Panel,
    table: pd.DataFrame,
    columns: Sequence[str] | Mapping[str, str],
    *,
    stale_after: int | str | None,
    rule: Rule | None = None,
) -> Panel:
    """Return the panel with columns of a table as features after those it has; see `look_up`.

    Parameters
    ----------
    panel, table, stale_after, rule : see `look_up`.
    columns : columns of numbers, or ``{column: name of the feature}``. New features have the type of the panel's own,
        float64 where it has none.

    Returns
    -------
    Panel whose ``source["as_of_joins"]`` gains what was joined, by which rule, and the counts of `Joined`.

    Raises
    ------
    InputError
        See `look_up`; also for a name that the panel has already.

    Examples
    --------
    >>> panel = Panel(["2020-04-30", "2020-05-01"], ["A"], [[0.0], [0.1]])
    >>> reports = pd.DataFrame({"firm": ["A"], "period_end": "2020-03-31", "available": "2020-05-01", "assets": 7.0})
    >>> joined = join(panel, reports, {"assets": "total_assets"}, stale_after="15M")
    >>> joined.feature_names, joined.features[:, 0, 0].tolist(), joined.source["as_of_joins"][0]["counts"]["newest"]
    (('total_assets',), [nan, 7.0], 1)
    """
    rule = rule or Rule()
    found = look_up(panel, table, column_names(columns), stale_after=stale_after, rule=rule)
    names = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    kind = panel.features.dtype if panel.feature_names else np.dtype(np.float64)
    age = stale_after if stale_after is None or isinstance(stale_after, str) else int(stale_after)
    note = {"columns": names, "stale_after": age, "rule": asdict(rule), "counts": found.counts}
    return panel.replace(
        features=np.concatenate([panel.features.astype(kind, copy=False), found.values.astype(kind, copy=False)], 2),
        feature_names=(*panel.feature_names, *names.values()),
        source={**panel.source, "as_of_joins": [*panel.source.get("as_of_joins", []), note]},
    )


def look_up(
    panel: Panel,
    table: pd.DataFrame,
    columns: Sequence[str],
    *,
    stale_after: int | str | None,
    rule: Rule | None = None,
) -> Joined:
    """Return, for each firm-date, the numbers of the row that wins among those known at that close.

    The row that wins at (t, n) is the best, by `Rule.prefer`, of the firm's rows that are known at the close of
    dates[t]. Deleting every row that is available later changes nothing at or before t.

    Parameters
    ----------
    panel : gives the dates, the firms and where they are listed: where a firm is not listed, values are missing.
    table : a row a report, in any order. Where it mixes figures of different kinds, such as flows of a quarter and of
        a year in one column, cut it to one kind first.
    columns : columns of numbers.
    stale_after : age beyond which a value is missing: days of the calendar, or text such as "90D", "6W", "15M", "2Y"
        (months and years of the calendar); a value of exactly that age is kept. None for never, which keeps the last
        report of a firm that stopped reporting. The winning row alone is asked: no older row steps in for a stale one.
    rule : which columns say when, and which row wins; default `Rule`.

    Returns
    -------
    `Joined`: values, the rows that they come from, and what became of every row of the table.

    Raises
    ------
    InputError
        For missing columns, firms or dates that are not given or cannot be read, text among numbers, a table none of
        whose firms is in the panel, and rows that `Rule.unusable` refuses.

    Examples
    --------
    >>> panel = Panel(["2020-05-01", "2020-08-03"], ["A"], [[0.0], [0.1]])
    >>> reports = pd.DataFrame({"firm": "A", "period_end": ["2020-03-31", "2020-06-30"], "assets": [7.0, 8.0],
    ...                         "available": ["2020-05-01", "2020-08-01"]})
    >>> look_up(panel, reports, ["assets"], stale_after="15M").values[:, 0, 0].tolist()
    [7.0, 8.0]
    """
    rule = rule or Rule()
    read = _read(panel, table, column_names(columns), rule)
    reason = _reasons(read, table, rule)
    rows = _order(read, reason, panel, stale_after, rule)
    newest = _newest(rows, panel, slice(None))
    fresh = _fresh(rows, newest, panel)
    known = np.flatnonzero(rows.known < len(panel))
    reason[rows.place] = "after_the_panel"
    reason[rows.place[known]] = "never_newest"
    reason[rows.place[known[newest[rows.known[known], rows.column[known]] == known]]] = "newest"
    counts = {"rows": len(table)} | {name: int((reason == name).sum()) for name in _REASONS}
    counts["unknown_firms"] = int(table[rule.firm][read.firm < 0].nunique())
    counts["firms_without_rows"] = len(panel.firms) - len(np.unique(rows.column))
    counts["stale_firm_dates"] = int((panel.listed & (newest >= 0) & ~fresh).sum())
    row = np.append(rows.place, -1)[newest].astype(np.int32)
    return Joined(_values(rows, newest, fresh, panel, rule), row, counts)


def _newest(rows: _Rows, panel: Panel, among: slice | np.ndarray) -> np.ndarray:
    """Return the place in `rows` of the best row known at each firm-date, -1 for none: (t, n)."""
    place = np.arange(len(rows.place), dtype=np.int32)[among]
    place = place[rows.known[place] < len(panel)]
    newest = np.full(panel.shape, -1, np.int32)
    np.maximum.at(newest, (rows.known[place], rows.column[place]), place)
    return np.maximum.accumulate(newest, axis=0, out=newest)


def _fresh(rows: _Rows, newest: np.ndarray, panel: Panel) -> np.ndarray:
    """Say where there is a row that is not stale: (t, n)."""
    return panel.dates[:, None] <= np.append(rows.expiry, np.datetime64("NaT"))[newest]


def _values(rows: _Rows, newest: np.ndarray, fresh: np.ndarray, panel: Panel, rule: Rule) -> np.ndarray:
    """Return the numbers of the rows that win, one column after another: (t, n, f)."""
    values = np.full((*panel.shape, rows.values.shape[1]), np.nan)
    for f in range(values.shape[2]):
        best, shown = newest, fresh & panel.listed
        if rule.look_back != "none":
            best = _newest(rows, panel, ~np.isnan(rows.values[:, f]))
            shown = _fresh(rows, best, panel) & panel.listed
        if rule.look_back == "period":
            period = np.append(rows.period, np.datetime64("NaT"))
            shown &= period[best] == period[newest]
        values[shown, f] = rows.values[best[shown], f]
    return values


# -- the rows of a table ------------------------------------------------------------


class _Columns(NamedTuple):
    """The columns of a table as arrays, a row each."""

    firm: np.ndarray  # place in the panel, -1 for a firm that it does not have
    stamp: np.ndarray  # datetime64[s] since which a row is available
    period: np.ndarray  # datetime64[D]
    amended: np.ndarray
    values: np.ndarray  # (r, f)


def _read(panel: Panel, table: pd.DataFrame, columns: Sequence[str], rule: Rule) -> _Columns:
    """Read the columns that a rule names."""
    check_columns(table, columns, [rule.firm, rule.available, rule.period, rule.amended])
    stamp = read_stamps(table, rule.available)
    return _Columns(
        firm=firm_places(panel, table, rule.firm),
        stamp=stamp,
        # Without periods each row is about the day on which it is available: nothing below then needs a second form.
        period=stamp.astype("M8[D]") if rule.period is None else read_stamps(table, rule.period).astype("M8[D]"),
        amended=np.zeros(len(table), bool) if rule.amended is None else read_flags(table, rule.amended),
        values=np.column_stack([read_numbers(table, name) for name in columns]),
    )


def _reasons(read: _Columns, table: pd.DataFrame, rule: Rule) -> np.ndarray:
    """Return why each row is not used, "" for none; refuse what cannot be placed in time unless it is to be dropped."""
    reason = _first_reason(
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
                f"{message} in {len(rows)} rows, the first of firm {table[rule.firm].iloc[rows[0]]!s} (row {rows[0]}); "
                f"Rule(unusable='drop') leaves them out and counts them"
            )
    keys = {"firm": read.firm, "stamp": read.stamp, "period": read.period, "amended": read.amended}
    rows = np.flatnonzero(reason == "")
    usable = pd.DataFrame(keys | {str(f): column for f, column in enumerate(read.values.T)}).iloc[rows]
    reason[rows[usable.duplicated(keep="last").to_numpy()]] = "duplicates"
    return reason


def _first_reason(bad: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the first reason that each row has, "" for none."""
    return np.select(list(bad.values()), list(bad), default="").astype(object)


def _order(read: _Columns, reason: np.ndarray, panel: Panel, stale_after: int | str | None, rule: Rule) -> _Rows:
    """Return the rows that have no reason against them, the least preferred first."""
    first, second = (read.period, read.stamp) if rule.prefer == "period" else (read.stamp, read.period)
    order = np.lexsort((read.amended, second, first))
    order = order[reason[order] == ""]
    basis = read.period if rule.stale_from == "period" else read.stamp.astype("M8[D]")
    known = np.searchsorted(panel.dates, _known_day(read.stamp, rule)[order]) + rule.delay_rows
    return _Rows(
        place=order,
        column=read.firm[order],
        known=np.minimum(known, len(panel)),
        period=read.period[order],
        expiry=_expiry(basis[order], stale_after),
        values=read.values[order],
    )


def _known_day(stamps: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the day at whose close each row is known, before rows of delay."""
    day = stamps.astype("M8[D]")
    time = stamps - day
    if rule.close is None:
        timed = time > np.timedelta64(0)
        if timed.any():
            row = int(np.argmax(timed))
            raise InputError(
                f"{rule.available} must be whole days unless Rule(close='16:00') says when dates close, found "
                f"{pd.Timestamp(stamps[row])} in row {row}"
            )
    else:
        hour, minute = rule.close.split(":")
        day = day + (time >= np.timedelta64(60 * int(hour) + int(minute), "m"))
    return day + np.timedelta64(rule.delay_days, "D")


def _expiry(basis: np.ndarray, stale_after: int | str | None) -> np.ndarray:
    """Return the last day on which a value of each basis is not stale."""
    if stale_after is None:
        return np.full(len(basis), _NEVER)
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


# -- industries ------------------------------------------------------------


def spans(
    panel: Panel,
    table: pd.DataFrame,
    code: str = "sic",
    *,
    firm: str = "firm",
    start: str = "start",
    end: str = "end",
    overlap: Literal["refuse", "latest"] = "refuse",
) -> Spans:
    """Return the code that is valid for each firm at each date, from a row for each stretch of days.

    A code is valid on the days from `start` to `end`, both inside; without an end, or with one in the year 9999, it is
    valid until today. `start` must be a day by which the code was known, or the future leaks in.

    Parameters
    ----------
    panel : gives the dates, the firms and where they are listed: where a firm is not listed, the code is 0.
    table : a row for each firm and stretch of days, in any order.
    code, firm, start, end : its columns; codes are whole numbers, none or 0 is unknown.
    overlap : where a firm has two codes on one date: "refuse", or the stretch that starts "latest" wins, of these the
        last in the table; such firm-dates are counted.

    Returns
    -------
    `Spans`: codes (t, n), and counts: rows ``of_unknown_firms``, ``without_code``, ``outside_the_panel`` and ``used``
    add up to ``rows``; ``unknown_firms`` in the table; ``overlaps`` and ``uncoded`` listed firm-dates.

    Raises
    ------
    InputError
        For missing columns, codes that are no whole numbers, a start that is not given, an end before its start, and
        two codes on one date.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03", "2020-01-06"], ["A"], [[0.0]] * 3)
    >>> table = pd.DataFrame({"firm": "A", "sic": [2834, 6021], "start": ["2019-01-01", "2020-01-06"],
    ...                       "end": ["2020-01-02", None]})
    >>> found = spans(panel, table)
    >>> found.codes[:, 0].tolist(), found.counts["uncoded"]
    ([2834, 0, 6021], 1)
    >>> panel = panel.replace(industry=found.codes, industry_scheme="sic", industry_as_of=True)
    """
    if overlap not in ("refuse", "latest"):
        raise InputError(f"overlap must be one of refuse, latest, found {overlap!r}")
    check_columns(table, [code], [firm, start, end])
    column = firm_places(panel, table, firm)
    value = as_codes(table[code].astype(object).where(table[code].notna(), 0))
    first, last = _edges(table, firm, start, end)
    inside = np.searchsorted(panel.dates, first), np.searchsorted(panel.dates, last, "right")
    reason = _first_reason(
        {"of_unknown_firms": column < 0, "without_code": value == 0, "outside_the_panel": inside[0] >= inside[1]}
    )
    order = np.argsort(first, kind="stable")
    order = order[reason[order] == ""]
    codes, overlaps = np.zeros(panel.shape, np.int32), 0
    for row in order:  # a row is a stretch, not a firm-date: some thousands
        place = slice(inside[0][row], inside[1][row]), column[row]
        clash = (codes[place] != 0) & (codes[place] != value[row]) & panel.listed[place]
        if clash.any() and overlap == "refuse":
            raise InputError(
                f"a firm must have one code at a time, found {codes[place][clash][0]} and {value[row]} for "
                f"{panel.firms[column[row]]!s} on {panel.dates[place[0]][clash][0]} (row {row}); "
                f"overlap='latest' takes the one that starts later"
            )
        overlaps += int(clash.sum())
        codes[place] = value[row]
    codes[~panel.listed] = 0
    reasons = ("of_unknown_firms", "without_code", "outside_the_panel")
    counts = {"rows": len(table)} | {name: int((reason == name).sum()) for name in reasons}
    counts |= {"used": len(order), "unknown_firms": int(table[firm][column < 0].nunique()), "overlaps": overlaps}
    return Spans(codes, counts | {"uncoded": int((panel.listed & (codes == 0)).sum())})


def _edges(table: pd.DataFrame, firm: str, start: str, end: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last day of each stretch; year 9999 is no end, and older pandas cannot hold it."""
    table = table.assign(**{end: table[end].mask(table[end].astype(str).str.startswith("9999"))})
    first, last = (read_stamps(table, name).astype("M8[D]") for name in (start, end))
    last = np.where(np.isnat(last), _NEVER, last)
    for bad, message in (
        (np.isnat(first), f"{start} must be given in every row, found none"),
        (last < first, f"{end} must not be before {start}, found an earlier day"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{message} in {int(bad.sum())} rows, the first of firm {table[firm].iloc[row]!s} (row {row})"
            )
    return first, last
