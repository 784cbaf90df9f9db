"""Forecasts before and after a change: where they differ, by how much, how far back, and in words."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finattn.errors import InputError
from finattn.leaks.forecast_arrays import Made
from finattn.panel import Panel

TOLERANCE = 1e-5  # of a forecast, or of the forecasts' standard deviation, where sums may change order


class Difference(NamedTuple):
    """Where forecasts differ."""

    changed: int  # forecasts that changed, appeared or vanished
    total: int  # forecasts that were compared
    rows: NDArray[np.intp]  # rows on which any did, in order
    all_rows: NDArray[np.intp]  # rows on which there were any
    label: str  # of the one that changed most
    date: str
    firm: str
    largest: float  # absolute change, NaN where forecasts only appeared or vanished
    deviation: float  # of the forecasts
    appeared: int  # of `changed`, forecasts that appeared or vanished


def difference(
    before: Made, after: Made, panel: Panel, where: NDArray[np.bool_], tolerance: float
) -> Difference | None:
    """Compare two sets of forecasts on some firm-dates.

    Parameters
    ----------
    before, after : of one pipeline. panel : whose dates and firms they are of. where : [t n].
    tolerance : 0 asks for equality to the last bit; else of the larger of a forecast and their standard deviation.

    Returns
    -------
    The difference, None where there is none.

    Examples
    --------
    >>> panel = Panel(["2020-01-02"], ["A", "B"], [[0.0, 0.0]])
    >>> made = [Made(("score",), np.array([[[1.0, x]]])) for x in (2.0, 2.5)]
    >>> found = difference(*made, panel, np.ones((1, 2), bool), 0.0)
    >>> found.changed, found.firm, found.largest
    (1, 'B', 0.5)
    """
    if before.labels != after.labels:
        raise InputError(
            f"a pipeline must forecast the same things each time, found {list(before.labels)} and {list(after.labels)}"
        )
    old, new = (np.where(where, made.values, np.nan) for made in (before, after))
    there = ~np.isnan(old)
    appeared = there != ~np.isnan(new)
    change = np.abs(new - old)
    allowed = tolerance * np.maximum(np.nan_to_num(np.abs(old)), before.deviation)
    differs = appeared | (change > allowed)
    if not differs.any():
        return None
    size = np.where(differs, np.where(appeared, -1.0, change), -2.0)  # one that appeared stands out by no number
    k, row, column = np.unravel_index(int(np.argmax(size)), size.shape)
    largest = float(change[k, row, column])
    return Difference(
        changed=int(differs.sum()),
        total=int(there.sum()),
        rows=np.flatnonzero(differs.any(axis=(0, 2))),
        all_rows=np.flatnonzero(there.any(axis=(0, 2))),
        label=before.labels[k],
        date=str(panel.dates[row]),
        firm=str(panel.firms[column]),
        largest=largest,
        deviation=before.deviation,
        appeared=int(appeared.sum()),
    )


def in_words(found: Difference) -> str:
    """Say how many changed and which one most."""
    largest = f"most the {found.label} of {found.firm} on {found.date}"
    if not np.isnan(found.largest):
        largest += f", by {found.largest:.3g} ({_share(found.largest, found.deviation)} of the forecasts' deviation)"
    gone = f", {found.appeared} of these appeared or vanished" if found.appeared else ""
    return f"{found.changed} of {found.total} forecasts changed, {largest}{gone}"


def reach(found: Difference, panel: Panel, row: int) -> str:
    """Say how far before a change of the rows after `row` forecasts changed, and what that is the mark of."""
    first, back = int(found.rows[0]), row - int(found.rows[0])
    if len(found.all_rows) > 2 and np.array_equal(found.rows, found.all_rows):
        return (
            f"on all {len(found.rows)} dates from {panel.dates[first]} on: something is fitted, scaled or chosen by"
            " what came later (if the pipeline rightly fits on these dates, say so by fitted_until)"
        )
    if not back:
        return f"on {panel.dates[row]} itself"
    return f"from {panel.dates[first]} on, {back} rows before the change: a window, a fill or a label reaches ahead"


def _share(size: float, deviation: float) -> str:
    return f"{size / deviation:.2g}" if deviation > 0 else "none"


def failure(error: Exception) -> str:
    """Return an error as one line.

    Examples
    --------
    >>> failure(ValueError("no such date"))
    'ValueError: no such date'
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
