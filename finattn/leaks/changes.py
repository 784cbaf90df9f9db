"""Other futures: panels and reports that are as they were up to a date, and different after it; shapes stay.

A change is made of everything at once, and then put together group by group (returns, listings, one feature, the
reports, …), so that what a pipeline reacts to can be found.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.checks import LEVELS
from finattn.data.columns import check_columns, read_stamps
from finattn.panel import Panel

Cells = NDArray[np.bool_]
FIRM, AVAILABLE, PERIOD = "firm", "available", "period_end"
"""Columns of a table of reports."""
_FEATURE = "feature "
_FIELDS = {"returns": "returns", "listings": "listed", "industry codes": "industry"}
_FIELDS |= {name: name for name in (*LEVELS, "risk_free", "factors")}
_SHARE = 0.4  # of the values after a date that become missing


class Given(NamedTuple):
    """What a pipeline is given."""

    panel: Panel
    reports: pd.DataFrame | None = None


def groups(given: Given) -> list[str]:
    """Name what can be changed by itself.

    Examples
    --------
    >>> groups(Given(Panel(["2020-01-02"], ["A"], [[0.0]], features=[[[1.0]]], feature_names=["size"])))
    ['returns', 'listings', 'feature size']
    """
    panel = given.panel
    names = [name for name, field in _FIELDS.items() if getattr(panel, field) is not None]
    if not panel.industry.any():
        names.remove("industry codes")
    names += [_FEATURE + name for name in panel.feature_names]
    return names + ["reports"] * (given.reports is not None)


def mixed(given: Given, changed: Given, names: Collection[str]) -> Given:
    """Return what is given with some groups as they are in `changed`.

    Examples
    --------
    >>> first, second = (Panel(["2020-01-02"], ["A"], [[r]], price=[[p]]) for r, p in ((0.1, 1.0), (0.2, 2.0)))
    >>> panel = mixed(Given(first), Given(second), ["price"]).panel
    >>> panel.returns.item(), panel.price.item()
    (0.1, 2.0)
    """
    fields = {field: getattr(changed.panel, field) for name, field in _FIELDS.items() if name in names}
    taken = np.array([_FEATURE + name in names for name in given.panel.feature_names], bool)
    fields["features"] = np.where(taken, changed.panel.features, given.panel.features)
    return Given(given.panel.replace(**fields), changed.reports if "reports" in names else given.reports)


def change(given: Given, row: int, kind: str, random: np.random.Generator) -> Given:
    """Change everything that is known only after dates[row].

    Parameters
    ----------
    given : as it is. row : the last that stays. kind : one of `KINDS`.

    Returns
    -------
    The panel, whose rows up to `row` are the same, and the reports, whose rows available by then are the same.
    """
    after = np.zeros(given.panel.shape, bool)
    after[row + 1 :] = True
    panel = KINDS[kind](given.panel, after, random)
    reports = given.reports
    if reports is not None:
        late = read_stamps(reports, AVAILABLE).astype("M8[D]") > given.panel.dates[row]
        reports = _other_reports(reports, np.flatnonzero(late), kind, random)
    return Given(panel, reports)


def wild(panel: Panel, cells: Cells, random: np.random.Generator) -> Panel:
    """Put wild numbers, and other industry codes, into cells [t n] of a panel, also where nothing stood.

    Returns are from -95% to 2000%, features ten standard deviations wide, levels multiplied by exp(2 z).
    """
    fields: dict[str, Any] = {"returns": panel.returns.copy(), "features": panel.features.copy()}
    fields["returns"][cells] = np.clip(0.3 * random.standard_t(2, cells.sum()), -0.95, 20)
    for values in np.moveaxis(fields["features"], 2, 0):
        values[cells] = _far(values, cells.sum(), random)
    for name, level in _levels(panel).items():
        usual = np.nanmedian(level) if not np.isnan(level).all() else 1.0
        fields[name] = level.copy()
        fields[name][cells] = np.where(np.isnan(level), usual, level)[cells] * np.exp(
            2 * random.normal(size=cells.sum())
        )
    if panel.industry.any():
        fields["industry"] = panel.industry.copy()
        fields["industry"][cells] = random.choice(np.append(np.unique(panel.industry), 0), cells.sum())
    return panel.replace(**fields)


def _far(values: NDArray[Any], count: int, random: np.random.Generator) -> NDArray[Any]:
    known = values[~np.isnan(values)].astype(np.float64)
    centre, spread = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
    return centre + 10 * spread * np.clip(random.standard_t(3, count), -50, 50)


def _levels(panel: Panel) -> dict[str, NDArray[np.float64]]:
    return {name: level for name in LEVELS if (level := getattr(panel, name)) is not None}


def _other_values(panel: Panel, after: Cells, random: np.random.Generator) -> Panel:
    changed = wild(panel, after & panel.listed, random)
    fields, rows = {}, after[:, 0]
    for name in ("risk_free", "factors"):
        if (values := getattr(panel, name)) is not None:
            fields[name] = values.copy()
            fields[name][rows] = 0.05 * random.standard_normal(values[rows].shape)
    return changed.replace(**fields)


def _missing(panel: Panel, after: Cells, random: np.random.Generator) -> Panel:
    return _without(panel, {name: after & (random.random(after.shape) < _SHARE) for name in ("returns", "others")})


def _without(panel: Panel, gone: dict[str, Cells]) -> Panel:
    """Take values away."""
    fields = {name: np.where(gone["others"], np.nan, level) for name, level in _levels(panel).items()}
    fields["returns"] = np.where(gone["returns"], np.nan, panel.returns)
    blank = panel.features.dtype.type(np.nan)
    return panel.replace(features=np.where(gone["others"][:, :, None], blank, panel.features), **fields)


def _delisted(panel: Panel, after: Cells, random: np.random.Generator) -> Panel:
    """Let half of the firms leave, or not come back; those listed still have their return on the row after."""
    row = _last(after)
    here = np.flatnonzero(panel.listed[row:].any(axis=0))
    leaving = random.permutation(here)[: (len(here) + 1) // 2]
    gone = np.zeros(after.shape, bool)
    gone[row + 1 :, leaving] = True
    later = gone.copy()
    later[row + 1] = False
    return _without(panel, {"returns": later, "others": gone}).replace(listed=panel.listed & ~gone)


def _exchanged(panel: Panel, after: Cells, random: np.random.Generator) -> Panel:
    """Give firms each other's future, listings and codes included: one that left may come back."""
    row, firms = _last(after), random.permutation(panel.shape[1])
    order = np.empty_like(firms)
    order[firms] = np.roll(firms, 1)
    fields = {}
    for name in ("returns", "listed", "industry", "features", *_levels(panel)):
        fields[name] = getattr(panel, name).copy()
        fields[name][row + 1 :] = fields[name][row + 1 :][:, order]
    return panel.replace(**fields)


def _reversed(panel: Panel, after: Cells, random: np.random.Generator) -> Panel:
    """Turn the sign of returns in excess of their date's mean: whatever forecast best forecasts worst."""
    count = np.maximum((~np.isnan(panel.returns)).sum(axis=1, keepdims=True), 1)
    mean = np.nansum(panel.returns, axis=1, keepdims=True) / count
    return panel.replace(returns=np.where(after, np.maximum(2 * mean - panel.returns, -0.95), panel.returns))


KINDS: dict[str, Callable[[Panel, Cells, np.random.Generator], Panel]] = {
    "other values": _other_values,
    "delistings": _delisted,
    "missing values": _missing,
    "firms exchanged": _exchanged,
    "returns reversed": _reversed,
}
"""What can become of the future."""


def _last(after: Cells) -> int:
    """Return the last row that stays."""
    return int(np.argmax(after[:, 0])) - 1


# -- reports ------------------------------------------------------------


def check_reports(reports: pd.DataFrame) -> None:
    """Refuse reports without firms, days of availability or a column of numbers."""
    check_columns(reports, [FIRM, AVAILABLE], [])
    read_stamps(reports, AVAILABLE)


def _other_reports(
    reports: pd.DataFrame, late: NDArray[np.intp], kind: str, random: np.random.Generator
) -> pd.DataFrame:
    """Change the numbers of late reports; whole numbers, which may be codes or years, are exchanged among them."""
    changed = {}
    for name in reports.columns:
        values = reports[name]
        if name in (FIRM, AVAILABLE, PERIOD) or not pd.api.types.is_numeric_dtype(values) or values.dtype == bool:
            continue
        numbers = values.to_numpy().copy()
        if kind == "firms exchanged" or numbers.dtype.kind != "f":
            numbers[late] = numbers[random.permutation(late)]
        elif kind == "missing values":
            numbers[late[random.random(len(late)) < _SHARE]] = np.nan
        else:
            numbers[late] = _far(numbers, len(late), random)
        changed[name] = numbers
    return reports.assign(**changed)


# -- firms that are not listed ------------------------------------------------------------


def unlisted(panel: Panel) -> Cells:
    """Say which firm-days nothing may be made of: those off the list, but the first after a time on it.

    Its return is the delisting's, which holders earn; whether the firm comes back is not known then.

    Examples
    --------
    >>> listed = [[True], [False], [False]]
    >>> panel = Panel(["2020-01-02", "2020-01-03", "2020-01-06"], ["A"], [[0.0], [-0.4], [0.0]], listed)
    >>> unlisted(panel).ravel().tolist()
    [False, False, True]
    """
    off = ~panel.listed
    off[1:] &= ~panel.listed[:-1]
    return off
