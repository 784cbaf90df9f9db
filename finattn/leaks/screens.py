"""Screens of a panel whose making cannot be run again: the marks that well-known leaks leave in numbers.

A mark is a reason to ask how a column was made, no proof; a leak that leaves none of these is not seen.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.blocks import forward_returns, observed
from finattn.checks import LEVELS
from finattn.config import TargetConfig
from finattn.config.require import require
from finattn.data.columns import check_columns, is_count, read_stamps
from finattn.leaks.certificate import Certificate, Finding, certificate_of
from finattn.leaks.changes import AVAILABLE, PERIOD
from finattn.metrics import rank_information_coefficient
from finattn.panel import Panel

_JUDGED = 20  # values of a firm, and of these more than half distinct, without which it is not judged
_SHARE = 0.9  # of the firms that must bear a mark
_PEAKS = 3  # times at which a level stands at its maximum, as is usual; a capped number does so more often
_LEVEL = 0.05  # deviation of the dates' means, in deviations of all, below which a column is scaled date by date
_SLOW = 0.05  # share of a firm's steps on which a feature that moves daily may stand still
_REPEATED, _FEWEST = 0.0005, 5  # share and number of firm-days from which repeated rows are no coincidence
_DATES = 500  # of which information coefficients are averaged
_STRONG = 5.0  # standard errors
_SOON = 5  # days from the end of a period within which nobody reports


class _Column(NamedTuple):
    """A feature or level [t n], NaN where a firm is not listed."""

    name: str
    values: NDArray[np.float64]


def screen(
    panel: Panel, horizon: int = 1, *, reports: pd.DataFrame | None = None, implausible_ic: float = 0.2
) -> Certificate:
    """Look for the marks of leaks in a panel that comes ready-made.

    - *whole-sample maximum*: a feature or level whose maximum is exactly 1 in nearly every firm, reached at most a few
      times, as where it was divided by the maximum over all dates: then today's level tells how far it will still rise.
    - *whole-sample scaling*: a feature with mean 0 and deviation 1 in nearly every firm, or over all firm-days while
      its dates' means move: standardised by dates to come.
    - *repeated rows*, where horizon > 1: all features that move daily, or a return that is not zero, are those of the
      firm's row before: gaps filled by repeating rows. Labels of several days overlap, so that a gap that was made by
      a label (an extreme one that was left out) tells of its neighbours'. It is said how extreme labels next to them
      are.
    - *implausible IC*: a feature whose mean rank IC with the next `horizon` rows' return is above `implausible_ic` and
      five standard errors.
    - *reports on time*: reports that are mostly available within five days of the end of their period.

    Parameters
    ----------
    panel : as it came. horizon : rows of the label that it is to be used with.
    reports : with columns available and period_end. implausible_ic : single characteristics are far below 0.2.

    Returns
    -------
    `Certificate`, whose verdicts are "passed", "suspect" and "not run".

    Raises
    ------
    InputError
        For a horizon that is no count, an IC outside (0, 1], and reports without their columns.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> prices = np.exp(random.normal(0, 0.02, (60, 5)).cumsum(axis=0))
    >>> days = np.arange("2020-01-01", "2020-03-01", dtype="M8[D]")
    >>> panel = Panel(days, list("ABCDE"), random.normal(0, 0.02, (60, 5)), price=prices / prices.max(axis=0))
    >>> screen(panel).of("suspect")
    ['whole-sample maximum']
    """
    require("horizon", horizon, is_count(horizon) and horizon >= 1, "a whole number of at least 1")
    require("implausible_ic", implausible_ic, 0 < implausible_ic <= 1, "above 0 and at most 1")
    findings = [
        _each("whole-sample maximum", panel, _maximum, LEVELS),
        _each("whole-sample scaling", panel, _scaling, ()),
        _repeated_rows(panel, horizon),
        _implausible(panel, horizon, implausible_ic) if panel.feature_names else _nothing("implausible IC", "features"),
        _nothing("reports on time", "reports") if reports is None else _on_time(reports),
    ]
    return certificate_of(findings, {"horizon": int(horizon), "panel": panel.fingerprint})


def _nothing(check: str, what: str) -> Finding:
    return Finding(check, "not run", f"there are no {what}")


def _columns(panel: Panel, levels: tuple[str, ...]) -> Iterator[_Column]:
    for f, name in enumerate(panel.feature_names):
        yield _Column(f"feature {name}", np.where(panel.listed, panel.features[:, :, f], np.nan).astype(np.float64))
    for name in levels:
        if (level := getattr(panel, name)) is not None:
            yield _Column(name, np.where(panel.listed, level, np.nan))


def _each(
    check: str, panel: Panel, mark: Callable[[NDArray[np.float64]], tuple[str, float] | None], levels: tuple[str, ...]
) -> Finding:
    """Look for a mark in one column after another."""
    seen, found = 0, []
    for column in _columns(panel, levels):
        seen += 1
        if bears := mark(column.values):
            found.append((column.name, *bears))
    if not seen:
        return _nothing(check, "features or levels")
    if not found:
        return Finding(check, "passed", f"none of {seen} columns bears its mark")
    said = "; ".join(f"{name}: {how}" for name, how, _ in found[:5])
    more = f"; and {len(found) - 5} more columns" if len(found) > 5 else ""
    return Finding(check, "suspect", said + more, max(size for *_, size in found))


def _judged(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the firms with enough values to be judged, most of them distinct: no flags, no steps."""
    firms = np.flatnonzero((~np.isnan(values)).sum(axis=0) >= _JUDGED)
    ordered = np.sort(values[:, firms], axis=0)
    distinct = (np.diff(ordered, axis=0) > 0).sum(axis=0) + 1
    return firms[distinct > 0.5 * (~np.isnan(ordered)).sum(axis=0)]


def _by_date(values: NDArray[np.float64]) -> bool:
    """Say whether a column is scaled date by date: its dates' means hardly move."""
    rows = values[~np.isnan(values).all(axis=1)]
    spread = float(np.nanstd(rows))
    return not spread > 0 or float(np.nanmean(rows, axis=1).std()) < _LEVEL * spread


def _maximum(values: NDArray[np.float64]) -> tuple[str, float] | None:
    firms = _judged(values)
    at = np.abs(values - 1) <= 1e-7
    dates = np.any(at, axis=1)[np.any(~np.isnan(values), axis=1)]
    # Scaled by the largest firm of each date: one firm at 1 on every date.
    if len(firms) < 2 or (dates.mean() > 0.99 and at.sum() <= 1.5 * len(dates)):
        return None
    marked = at[:, firms].any(axis=0) & (np.nanmax(values[:, firms], axis=0) <= 1 + 1e-7)
    if marked.mean() < _SHARE or np.median(at[:, firms].sum(axis=0)[marked]) > _PEAKS:
        return None
    return f"the maximum is exactly 1 in {marked.sum()} of {len(firms)} firms", float(marked.mean())


def _scaling(values: NDArray[np.float64]) -> tuple[str, float] | None:
    firms = _judged(values)
    if len(firms) < 2:
        return None
    known = values[:, firms]
    mean, deviation = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    marked = (np.abs(mean) < 1e-5) & (np.abs(deviation - 1) < 1 / (~np.isnan(known)).sum(axis=0))
    if marked.mean() >= _SHARE:
        return f"mean 0 and deviation 1 in {marked.sum()} of {len(firms)} firms", float(marked.mean())
    whole = abs(np.nanmean(values)) < 1e-5 and abs(np.nanstd(values) - 1) < 1e-4
    return ("mean 0 and deviation 1 over all firm-days", 1.0) if whole and not _by_date(values) else None


# -- repeated rows ------------------------------------------------------------


def _repeated_rows(panel: Panel, horizon: int) -> Finding:
    check = "repeated rows"
    if horizon == 1:
        return Finding(check, "not run", "labels of one row do not overlap")
    both = panel.listed[1:] & panel.listed[:-1]
    returns = panel.returns
    repeated = (returns[1:] == returns[:-1]) & (returns[1:] != 0) & both
    moving = np.ones(both.shape, bool)
    names = 0
    for column in _columns(panel, ()):
        values = column.values
        known = both & ~np.isnan(values[1:]) & ~np.isnan(values[:-1])
        same = (values[1:] == values[:-1]) & known
        if known.any() and same.sum() <= _SLOW * known.sum():
            moving &= same
            names += 1
    if names:
        repeated |= moving
    count, total = int(repeated.sum()), int(both.sum())
    if count < max(_FEWEST, _REPEATED * total):
        return Finding(check, "passed", f"{count} of {total} firm-days repeat the firm's row before")
    row, column_of = np.argwhere(repeated)[0]
    said = f"{count} of {total} firm-days repeat the firm's row before, first {panel.firms[column_of]} on "
    said += f"{panel.dates[row + 1]}, while labels of {horizon} rows overlap"
    return Finding(check, "suspect", said + _extreme_beside(panel, repeated, horizon), count / total)


def _extreme_beside(panel: Panel, repeated: NDArray[np.bool_], horizon: int) -> str:
    """Say how large labels next to repeated rows are beside others."""
    labels = np.abs(forward_returns(panel, np.arange(len(panel)), TargetConfig(horizon)))[1:]
    known = ~np.isnan(labels)
    if not (known & repeated).any() or not (known & ~repeated).any():
        return ""
    ratio = float(labels[known & repeated].mean() / labels[known & ~repeated].mean())
    return f"; the absolute {horizon}-row return after them is {ratio:.2g} times that after others"


# -- information coefficients, and reports ------------------------------------------------------------


def _implausible(panel: Panel, horizon: int, most: float) -> Finding:
    check = "implausible IC"
    rows = np.unique(np.linspace(0, len(panel) - 1, min(_DATES, len(panel))).astype(int))
    realised = forward_returns(panel, rows, TargetConfig(horizon))
    there = observed(panel, rows)
    overlap = max(1.0, horizon * len(rows) / len(panel))  # labels that overlap count once
    found, largest = [], ("", 0.0)
    for f, name in enumerate(panel.feature_names):
        per_date = rank_information_coefficient(np.where(there, panel.features[rows][:, :, f], np.nan), realised)
        per_date = per_date[~np.isnan(per_date)]
        if len(per_date) < 2:
            continue
        mean, error = float(per_date.mean()), float(per_date.std(ddof=1) * np.sqrt(overlap / len(per_date)))
        largest = max(largest, (name, mean), key=lambda pair: abs(pair[1]))
        if abs(mean) > most and abs(mean) > _STRONG * error:
            found.append((name, mean))
    if not found:
        return Finding(
            check, "passed", f"the largest of {len(panel.feature_names)} is {largest[1]:.3f}", abs(largest[1])
        )
    said = ", ".join(f"{name} {mean:.2f}" for name, mean in found[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    said = f"mean rank IC with the next {horizon} rows' return, above {most:g}: {said}{more}"
    return Finding(check, "suspect", said, max(abs(mean) for _, mean in found))


def _on_time(reports: pd.DataFrame) -> Finding:
    check = "reports on time"
    check_columns(reports, [AVAILABLE, PERIOD], [])
    days = (read_stamps(reports, AVAILABLE) - read_stamps(reports, PERIOD)) / np.timedelta64(1, "D")
    days = days[~np.isnan(days)]
    if not len(days):
        return _nothing(check, "reports with both days")
    soon, typical = float((days < _SOON).mean()), float(np.median(days))
    if soon < 0.5:
        return Finding(check, "passed", f"the median report is available {typical:.0f} days after its period", typical)
    said = f"{soon:.0%} of reports are available within {_SOON} days of the end of their period: dated by the period?"
    return Finding(check, "suspect", said, soon)
