"""Figures as they were known: quarters and years untangled from what had been filed by then, and by nothing later.

Filings give flows over 1, 2, 3 and 4 quarters, to date: a 10-Q of the second quarter has the half-year, a 10-K the
year, and cash flows come in no other form. With F(k, m) the flow over the k quarters that end in month m:

- a quarter is F(1, m), else F(k, m) - F(k-1, m-3) for k = 2, 3, 4: the fourth is the year less nine months;
- a trailing year is F(4, m), else F(4, m-3k) + F(k, m) - F(k, m-12) for k = 3, 2, 1.

One pass over a firm's filings, in the order of their acceptance, keeps of each figure the latest version. What is
computed after a filing is computed from that alone. Earlier figures are found within a month of where they should be,
since the SEC rounds the ends of fiscal periods of 52 or 53 weeks to the nearest end of a month.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from finattn.data.sec.tags import ITEMS, items_of

Known = dict[tuple[str, int, int], tuple[int, float]]  # (item, quarters, month) to (order of the tag, value)
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
    """Return a figure that ends in a month, or in the month before or after it.

    Examples
    --------
    >>> level({("assets", 0, 551): (1, 7.0)}, "assets", 552)
    7.0
    """
    for near in (month, month - 1, month + 1):
        found = known.get((item, quarters, near))
        if found is not None:
            return found[1]
    return None


def quarter(known: Known, item: str, month: int) -> float | None:
    """Return a flow over the quarter that ends in a month.

    Examples
    --------
    >>> quarter({("rnd", 4, 551): (1, 10.0), ("rnd", 3, 548): (1, 7.0)}, "rnd", 551)
    3.0
    """
    for quarters in (1, 2, 3, 4):
        total = known.get((item, quarters, month))
        before = 0.0 if quarters == 1 else level(known, item, month - 3, quarters - 1)
        if total is not None and before is not None:
            return total[1] - before
    return None


def trailing_year(known: Known, item: str, month: int) -> float | None:
    """Return a flow over the four quarters that end in a month.

    Examples
    --------
    >>> known = {("rnd", 4, 551): (1, 10.0), ("rnd", 1, 554): (1, 4.0), ("rnd", 1, 542): (1, 2.0)}
    >>> trailing_year(known, "rnd", 554)
    12.0
    """
    year = known.get((item, 4, month))
    if year is not None:
        return year[1]
    for quarters in (3, 2, 1):
        now = known.get((item, quarters, month))
        then = None if now is None else level(known, item, month - 12, quarters)
        before = None if then is None else level(known, item, month - 3 * quarters, 4)
        if now is not None and then is not None and before is not None:
            return before + now[1] - then
    return None


def untangle(filings: pd.DataFrame, figures: pd.DataFrame) -> Figures:
    """Return what was known of a period when a filing was accepted.

    There is a row for each filing and the period that it is about and, for each earlier period whose figures the
    filing changes, one more: a restatement is new knowledge on its own date. A figure by a tag further down the table
    of fall-backs does not displace one by a tag higher up.

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
        changed = _learn(known, zip(*told, strict=True))
        for end in _affected(month[place], changed, shown):
            now = _figures_at(known, end)
            if end == month[place] or now != shown[end]:
                rows.append((place, end))
                values.append(now)
                shown[end] = now
    where = np.array(rows, np.int64).reshape(-1, 2)
    return Figures(where[:, 0], where[:, 1], np.array(values, float).reshape(-1, len(COLUMNS)))


def _learn(known: Known, told: Iterator[tuple]) -> list[int]:
    """Take in what a filing says; return the months of which it says something new."""
    changed = []
    for item, quarters, month, order, value in told:
        old = known.get((item, quarters, month))
        if old is None or (order <= old[0] and value != old[1]):
            known[item, quarters, month] = order, value
            changed.append(month)
    return changed


def _affected(own: int, changed: list[int], shown: dict[int, tuple[float | None, ...]]) -> list[int]:
    """Return the periods of which figures may be new: the filing's own first, and earlier ones that were shown."""
    if not changed:
        return [own]
    first, last = min(changed), max(changed) + _LONGEST
    return [own, *(end for end in shown if first <= end <= last and end != own)]


def _figures_at(known: Known, end: int) -> tuple[float | None, ...]:
    """Return what is known of the period that ends in a month, by `COLUMNS`."""
    levels = (known.get((item, 0, end), (0, None))[1] for item in _LEVELS)
    quarters = (quarter(known, item, end) for item in _FLOWS)
    return (
        *levels, level(known, "assets", end - 12), *quarters, *(trailing_year(known, item, end) for item in _FLOWS),
    )  # fmt: skip
