"""Figures as they were known: quarters and years untangled from what had been filed by then, and by nothing later.

Filings give flows over 1, 2, 3 and 4 quarters, to date: a 10-Q of the second quarter has the half-year, a 10-K the
year, and cash flows come in no other form. With F(k, m) the flow over the k quarters that end in month m:

- a quarter is F(1, m), else F(k, m) - F(k-1, m-3) for k = 2, 3, 4: the fourth is the year less nine months;
- a trailing year is F(4, m), else F(4, m-3k) + F(k, m) - F(k, m-12) for k = 3, 2, 1.

One pass over a firm's filings, in the order of their acceptance, keeps of each figure the latest version by each tag.
What is computed after a filing is computed from that alone:

- a level, and a flow given for just these quarters, is that of the latest filing with one for that period, by any tag
  of the item; where that filing has several, by the first of them in the table;
- a difference or a sum takes all its terms by one tag, the first in the table by which all are known, since two tags
  may count different things. Where no tag has all, it is missing.

Earlier figures are found within a month of where they should be, since the SEC rounds the ends of fiscal periods of 52
or 53 weeks to the nearest end of a month.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from finattn.data.sec.tags import ITEMS, items_of

# (item, quarters, month), then the order of a tag, to the latest filing that gives it and the value
Known = dict[tuple[str, int, int], dict[int, tuple[int, float]]]
_LEVELS = (*items_of("instant"), *items_of("cover"))
_FLOWS = items_of("flow")
_LONGEST = 13  # months back to which figures of a period reach
COLUMNS = (
    *_LEVELS, "assets_year_before", *(f"{item}_q" for item in _FLOWS), *(f"{item}_ttm" for item in _FLOWS),
)  # fmt: skip


class Figures(NamedTuple):
    """Rows of figures: values (r, c) by `COLUMNS`, and of each row its filing (a row) and month (the period's end)."""

    filing: np.ndarray
    month: np.ndarray
    values: np.ndarray


def level(known: Known, item: str, month: int, quarters: int = 0) -> float | None:
    """Return a figure as the latest filing with one for that period gives it, by the first of its tags.

    Examples
    --------
    >>> level({("assets", 0, 552): {1: (3, 7.0), 2: (4, 8.0)}}, "assets", 552)
    8.0
    """
    versions = known.get((item, quarters, month))
    if versions is None:
        return None
    return min((-filing, order, value) for order, (filing, value) in versions.items())[2]


def quarter(known: Known, item: str, month: int) -> float | None:
    """Return a flow over the quarter that ends in a month.

    Examples
    --------
    >>> quarter({("rnd", 4, 551): {1: (2, 10.0)}, ("rnd", 3, 548): {1: (1, 7.0)}}, "rnd", 551)
    3.0
    """
    given = level(known, item, month, 1)
    if given is not None:
        return given
    for order, quarters, total in _by_tag(known, item, month, (2, 3, 4)):
        before = _beside(known, item, quarters - 1, month - 3, order)
        if before is not None:
            return total - before
    return None


def trailing_year(known: Known, item: str, month: int) -> float | None:
    """Return a flow over the four quarters that end in a month.

    Examples
    --------
    >>> known = {("rnd", 4, 551): {1: (2, 10.0)}, ("rnd", 1, 554): {1: (3, 4.0)}, ("rnd", 1, 542): {1: (1, 2.0)}}
    >>> trailing_year(known, "rnd", 554)
    12.0
    """
    given = level(known, item, month, 4)
    if given is not None:
        return given
    for order, quarters, now in _by_tag(known, item, month, (3, 2, 1)):
        then = _beside(known, item, quarters, month - 12, order)
        before = _beside(known, item, 4, month - 3 * quarters, order)
        if then is not None and before is not None:
            return before + now - then
    return None


def _by_tag(known: Known, item: str, month: int, lengths: Sequence[int]) -> list[tuple[int, int, float]]:
    """Return (order, quarters, value) of the flows that end in a month, tag by tag, of each by the order of lengths."""
    found = [
        (order, quarters, value)
        for quarters in lengths
        for order, (_, value) in known.get((item, quarters, month), {}).items()
    ]
    return sorted(found, key=lambda flow: flow[0])


def _beside(known: Known, item: str, quarters: int, month: int, order: int) -> float | None:
    """Return a figure by one tag that ends in a month, or in the month before or after it."""
    for near in (month, month - 1, month + 1):
        found = known.get((item, quarters, near), {}).get(order)
        if found is not None:
            return found[1]
    return None


def untangle(filings: pd.DataFrame, figures: pd.DataFrame) -> Figures:
    """Return what was known of a period when a filing was accepted.

    There is a row for each filing and the period that it is about and, for each earlier period whose figures the
    filing changes, one more: a restatement is new knowledge on its own date, be it by another tag.

    Parameters
    ----------
    filings : cik and month, the rows of a firm together, in the order of their acceptance.
    figures : filing (a row of `filings`, in order), item (its place in `ITEMS`), order, month, qtrs, value.
    """
    columns = [figures[name].to_numpy() for name in ("item", "qtrs", "month", "order", "value")]
    columns[0] = np.array(ITEMS, object)[columns[0]]
    edges = np.searchsorted(figures["filing"].to_numpy(), np.arange(len(filings) + 1))
    firm, month = filings["cik"].tolist(), filings["month"].tolist()
    rows: list[tuple[int, int]] = []
    values: list[tuple[float | None, ...]] = []
    known: Known = {}
    shown: dict[int, tuple[float | None, ...]] = {}
    for place in range(len(filings)):
        if place and firm[place] != firm[place - 1]:
            known, shown = {}, {}
        told = (column[edges[place] : edges[place + 1]].tolist() for column in columns)
        changed = _learn(known, place, zip(*told, strict=True))
        for end in _affected(month[place], changed, shown):
            now = _figures_at(known, end)
            if end == month[place] or now != shown[end]:
                rows.append((place, end))
                values.append(now)
                shown[end] = now
    where = np.array(rows, np.int64).reshape(-1, 2)
    return Figures(where[:, 0], where[:, 1], np.array(values, float).reshape(-1, len(COLUMNS)))


def _learn(known: Known, filing: int, told: Iterator[tuple]) -> list[int]:
    """Take in what a filing says; return the months of which it may say something new."""
    changed = []
    for item, quarters, month, order, value in told:
        versions = known.setdefault((item, quarters, month), {})
        old = versions.get(order)
        versions[order] = filing, value
        if old is None or value != old[1] or len(versions) > 1:  # what is said again may displace another tag's
            changed.append(month)
    return changed


def _affected(own: int, changed: list[int], shown: dict[int, tuple[float | None, ...]]) -> list[int]:
    """Return the periods of which figures may be new: the filing's own first, and earlier ones that were shown."""
    if not changed:
        return [own]
    first, last = min(changed), max(changed) + _LONGEST
    return [own, *(end for end in shown if first <= end <= last and end != own)]


def _near(known: Known, item: str, month: int) -> float | None:
    """Return a level that ends in a month, or in the month before or after it."""
    found = (level(known, item, near) for near in (month, month - 1, month + 1))
    return next((value for value in found if value is not None), None)


def _figures_at(known: Known, end: int) -> tuple[float | None, ...]:
    """Return what is known of the period that ends in a month, by `COLUMNS`."""
    levels = (level(known, item, end) for item in _LEVELS)
    quarters = (quarter(known, item, end) for item in _FLOWS)
    return (
        *levels, _near(known, "assets", end - 12), *quarters, *(trailing_year(known, item, end) for item in _FLOWS),
    )  # fmt: skip
