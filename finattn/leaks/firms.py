"""What must not matter across firms: those that are not listed, their order, and gaps that were filled."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finattn.blocks import forward_returns, observed
from finattn.config import TargetConfig
from finattn.leaks.certificate import Finding
from finattn.leaks.changes import Given, unlisted, wild
from finattn.leaks.differences import TOLERANCE, Difference, difference, failure, in_words
from finattn.leaks.forecast_arrays import Made
from finattn.panel import Panel

_MORE = 2.5  # times that forecasts of firms that swap places change, from which places are known
_SWAPS = 5


def absent_firms(
    compare: Callable[..., Any], run: Callable[[Given], Made], given: Given, random: np.random.Generator
) -> Finding:
    """Change what stands on firm-days that are not listed, and compare the forecasts of those that are.

    Where a panel has none, a tenth of its firms is taken off the list over its second half, values and all staying.
    """
    panel, check = given.panel, "absent firms"
    cells = unlisted(panel)
    where = "" if cells.any() else ", on a copy of the panel with firms taken off the list"
    try:
        if cells.any():
            changed = given._replace(panel=wild(panel, cells, random))
            found = compare(changed, panel.listed, TOLERANCE)
        else:
            first = _taken_off(panel, random)
            other = wild(first, unlisted(first), random)
            before, after = (run(given._replace(panel=one)) for one in (first, other))
            found = difference(before, after, panel, first.listed, TOLERANCE)
    except Exception as error:  # a user's pipeline may fail on other data in any way
        found = failure(error)
    if found is None:
        said = "what stands on firm-days that are not listed changes no forecast of others"
        return Finding(check, "passed", f"{said} (to {TOLERANCE:g})")
    if isinstance(found, Difference):
        said = (
            f"values on firm-days that are not listed count{where} (leave them out by panel.listed): {in_words(found)}"
        )
        return Finding(check, "caught", said, found.largest)
    return Finding(check, "suspect", f"the pipeline fails where firms are not listed: {found}")


def _taken_off(panel: Panel, random: np.random.Generator) -> Panel:
    listed = panel.listed.copy()
    off = random.permutation(panel.shape[1])[: max(1, panel.shape[1] // 10)]
    listed[len(panel) // 2 :, off] = False
    return panel.replace(listed=listed)


def order_of_firms(run: Callable[[Given], Made], base: Made, given: Given, random: np.random.Generator) -> Finding:
    """Put firms in another order, and compare each firm's forecasts.

    Where they differ by more than rounding, two firms swap places, then two others. If a firm's place is known, it is
    their forecasts that change; chance drawn by place, and rounding that training amplifies, change all alike.
    """
    drawn, order, check = random.permutation(given.panel.shape[1]), np.arange(given.panel.shape[1]), "order of firms"
    order[drawn] = np.roll(drawn, 1)  # so that no firm keeps its place
    try:
        found = _reordered(run, base, given, order)[0]
        if found is None:
            said = f"firms in another order get the same forecasts (to {TOLERANCE:g}: sums change order)"
            return Finding(check, "passed", said)
        if found.appeared:
            return Finding(check, "caught", f"which firms get a forecast depends on their order: {in_words(found)}")
        ratio = _moved_more(run, base, given)
    except Exception as error:  # a user's pipeline may fail on other data in any way
        return Finding(check, "suspect", f"the pipeline fails with firms in another order: {failure(error)}")
    if ratio >= _MORE:
        said = f"firms that swap places change {ratio:.3g} times as much as those that stay: {in_words(found)}"
        return Finding(check, "caught", said, found.largest)
    said = "firms in another order get other forecasts, those that swap places no more than others: a model that draws"
    said += f" by place (dropout), or training that amplifies rounding, does that; {in_words(found)}"
    return Finding(check, "undecided", said, found.largest)


def _reordered(
    run: Callable[[Given], Made], base: Made, given: Given, order: NDArray[np.intp]
) -> tuple[Difference | None, NDArray[np.float64]]:
    """Return what differs, and absolute changes [k t n] with firms back in their places."""
    panel = given.panel
    made = run(given._replace(panel=panel[:, order]))
    values = made.values[:, :, np.argsort(order)]
    found = difference(base, made._replace(values=values), panel, np.ones(panel.shape, bool), TOLERANCE)
    return found, np.abs(values - base.values)


def _moved_more(run: Callable[[Given], Made], base: Made, given: Given) -> float:
    """Swap two firms half the panel apart, several times; return the median of their mean change over the others'."""
    places, ratios = np.flatnonzero(base.given.any(axis=0)), []
    if len(places) < 4:
        return 0.0
    half = len(places) // 2
    for first in np.linspace(0, half, _SWAPS + 2).astype(int)[1:-1]:
        swapped = places[[first, first + half]]
        order = np.arange(given.panel.shape[1])
        order[swapped] = swapped[::-1]
        change = np.nan_to_num(_reordered(run, base, given, order)[1])
        moved, stayed = change[:, :, swapped].mean(), change[:, :, np.setdiff1d(places, swapped)].mean()
        ratios.append(float(moved / stayed) if stayed > 0 else np.inf if moved > 0 else 0.0)
    return float(np.median(ratios))


def gaps(base: Made, panel: Panel) -> Finding:
    """Count forecasts of firm-days on which nothing was observed: a gap was filled, or the list was not looked at."""
    there = base.given
    filled = there & ~observed(panel, slice(None))
    if not filled.any():
        return Finding("gaps", "passed", "no forecast is of a firm-day that is not listed or has no return")
    row, column = np.argwhere(filled)[0]
    said = (
        f"{filled.sum()} of {there.sum()} forecasts are of firm-days that are not listed or have no return, the first"
    )
    said += (
        f" of {panel.firms[column]} on {panel.dates[row]}: was a gap filled there? Rows that are repeated carry labels"
    )
    return Finding("gaps", "suspect", f"{said} that have begun", float(filled.sum()))


def realised_returns(base: Made, panel: Panel) -> Finding:
    """Compare the realised returns that a pipeline gives with those that the panel says followed."""
    check = "realised returns"
    if base.realised is None or base.target is None:
        return Finding(check, "not run", "the pipeline does not say what returns followed, or of which rows")
    said, sure = _followed(panel, base.target)
    known = ~np.isnan(base.realised) & sure
    wrong = known & ~(np.abs(base.realised - said) <= 1e-9 + 1e-6 * np.abs(said))
    if not wrong.any():
        return Finding(check, "passed", f"{known.sum()} are what the panel says followed")
    row, column = np.argwhere(wrong)[0]
    found = (
        f"{wrong.sum()} of {known.sum()} are not what the panel says followed, first that of {panel.firms[column]} on"
    )
    found += f" {panel.dates[row]}, {base.realised[row, column]:.4g} in place of {said[row, column]:.4g}"
    size = np.abs(base.realised - said)[wrong]
    return Finding(check, "caught", found, float(np.nanmax(size)) if not np.isnan(size).all() else np.nan)


def _followed(panel: Panel, target: TargetConfig) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return forward returns [t n], and where they do not hang on what stands in for a missing delisting return."""
    rows, both = np.arange(len(panel)), []
    for stand_in in (0.0, -1.0):
        both.append(forward_returns(panel, rows, TargetConfig(target.horizon, target.delay, stand_in)))
    return both[0], (both[0] == both[1]) | (np.isnan(both[0]) & np.isnan(both[1]))
