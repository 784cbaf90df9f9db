"""As-of joins: at the close of each date, what a table had said by then, and nothing that it said later.

Three kinds of table, and one promise: row t of a result holds only what was known at the close of dates[t].

- **Reports** (fundamentals): a row a report, with the day since which it is available: `join`, `look_up`.
- **Daily values**: the same with ``Rule(available="date", period=None)`` and a short `stale_after`.
- **Industries**: a row for each stretch of days in which a code is valid: `spans`.

Nothing is lost in silence: every result comes with counts of the rows that it did not use, and why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import as_codes
from finattn.data.columns import check_columns, column_names, firm_places, read_stamps, row_of
from finattn.data.rule import NEVER, REASONS, Rows, Rule, first_reason, in_order, read_columns, unused_because
from finattn.errors import InputError
from finattn.panel import Panel

__all__ = ["Joined", "Rule", "Spans", "join", "look_up", "spans"]


class Joined(NamedTuple):
    """What `look_up` found.

    values (t, n, f) : numbers, NaN where there is none.
    row (t, n) : place in the table of the row that wins at each firm-date, also where it is stale; -1 for none.
    counts : rows of the table by what became of them (they add up to ``rows``), ``unknown_firms`` in the table,
        ``firms_without_rows`` in the panel, and listed ``stale_firm_dates``, at which the row that wins is too old.

    Examples
    --------
    A report that is known from the second date on, and too old on the third:

    >>> import finattn as fa
    >>> from finattn.data.asof import look_up
    >>> panel = fa.Panel(["2020-04-30", "2020-05-01", "2022-05-02"], ["A"], [[0.0]] * 3)
    >>> reports = pd.DataFrame({"firm": ["A"], "period_end": "2020-03-31", "available": "2020-05-01", "assets": 7.0})
    >>> found = look_up(panel, reports, ["assets"], stale_after="15M")
    >>> found.values[:, 0, 0].tolist(), found.row[:, 0].tolist(), found.counts["stale_firm_dates"]
    ([nan, 7.0, nan], [-1, 0, 0], 1)
    """

    values: np.ndarray
    row: np.ndarray
    counts: dict[str, int]


class Spans(NamedTuple):
    """What `spans` found: codes (t, n) int32, 0 = unknown, and counts of rows and firm-dates.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.data.asof import spans
    >>> panel = fa.Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.0]] * 2)
    >>> table = pd.DataFrame({"firm": ["A", "Z"], "sic": [2834, 6021], "start": "2020-01-03", "end": None})
    >>> found = spans(panel, table)
    >>> found.codes.tolist(), {reason: count for reason, count in found.counts.items() if count}
    ([[0, 0], [2834, 0]], {'rows': 2, 'of_unknown_firms': 1, 'used': 1, 'unknown_firms': 1, 'uncoded': 3})
    """

    codes: np.ndarray
    counts: dict[str, int]


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
    read = read_columns(panel, table, column_names(columns), rule)
    reason = unused_because(read, table, rule)
    rows = in_order(read, reason, panel, stale_after, rule)
    newest = _newest(rows, panel, slice(None))
    fresh = _fresh(rows, newest, panel)
    known = np.flatnonzero(rows.known < len(panel))
    reason[rows.place] = "after_the_panel"
    reason[rows.place[known]] = "never_newest"
    reason[rows.place[known[newest[rows.known[known], rows.column[known]] == known]]] = "newest"
    counts = {"rows": len(table)} | {name: int((reason == name).sum()) for name in REASONS}
    counts["unknown_firms"] = int(table[rule.firm][read.firm < 0].nunique())
    counts["firms_without_rows"] = len(panel.firms) - len(np.unique(rows.column))
    counts["stale_firm_dates"] = int((panel.listed & (newest >= 0) & ~fresh).sum())
    row = np.append(rows.place, -1)[newest].astype(np.int32)
    return Joined(_values(rows, newest, fresh, panel, rule), row, counts)


def _newest(rows: Rows, panel: Panel, among: slice | np.ndarray) -> np.ndarray:
    """Return the place in `rows` of the best row known at each firm-date, -1 for none: (t, n)."""
    place = np.arange(len(rows.place), dtype=np.int32)[among]
    place = place[rows.known[place] < len(panel)]
    newest = np.full(panel.shape, -1, np.int32)
    np.maximum.at(newest, (rows.known[place], rows.column[place]), place)
    return np.maximum.accumulate(newest, axis=0, out=newest)


def _fresh(rows: Rows, newest: np.ndarray, panel: Panel) -> np.ndarray:
    """Say where there is a row that is not stale: (t, n)."""
    return panel.dates[:, None] <= np.append(rows.expiry, np.datetime64("NaT"))[newest]


def _values(rows: Rows, newest: np.ndarray, fresh: np.ndarray, panel: Panel, rule: Rule) -> np.ndarray:
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
    reason = first_reason(
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
                f"{panel.firms[column[row]]!s} on {panel.dates[place[0]][clash][0]} (row {row_of(table, row)}); "
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
    table = table.assign(**{end: table[end].mask(table[end].astype(str).str.match(r"9999-?\d\d-?\d\d"))})
    stamps = {name: read_stamps(table, name) for name in (start, end)}
    first, last = (stamp.astype("M8[D]") for stamp in stamps.values())
    for name, stamp in stamps.items():
        timed = ~np.isnat(stamp) & (stamp != stamp.astype("M8[D]"))
        if timed.any():
            row = int(np.argmax(timed))
            raise InputError(f"{name} must be whole days, found {pd.Timestamp(stamp[row])} in row {row_of(table, row)}")
    last = np.where(np.isnat(last), NEVER, last)
    for bad, message in (
        (np.isnat(first), f"{start} must be given in every row, found none"),
        (last < first, f"{end} must not be before {start}, found an earlier day"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"{message} in {int(bad.sum())} rows, the first of firm {table[firm].iloc[row]!s} "
                f"(row {row_of(table, row)})"
            )
    return first, last
