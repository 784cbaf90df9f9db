"""`look_ahead`: run a pipeline again on other futures, and see whether its past stays as it was."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import as_day
from finattn.config.require import require
from finattn.data.columns import is_count
from finattn.errors import InputError
from finattn.leaks.certificate import Certificate, Finding, certificate_of
from finattn.leaks.changes import KINDS, Given, change, check_reports, groups, mixed
from finattn.leaks.differences import Difference, difference, failure, in_words, reach
from finattn.leaks.firms import absent_firms, gaps, order_of_firms, realised_returns
from finattn.leaks.forecast_arrays import Made
from finattn.leaks.pipelines import Pipeline, pipeline_of
from finattn.panel import Panel
from finattn.splits import WalkForward

Outcome = Difference | str | None
"""Of a run on another future: what differs, why it failed, or nothing."""


class _Case(NamedTuple):
    """A change of the future: everything after a row, in one way; made anew from its seed each time it is asked for."""

    row: int
    kind: str
    seed: int


class Runs:
    """A pipeline, what it is given, what it makes of that, and how often it has run."""

    def __init__(self, pipeline: Pipeline, given: Given) -> None:
        self.pipeline, self.given, self.count = pipeline, given, 0
        self.base = self.run(given)

    def run(self, given: Given) -> Made:
        """Run the pipeline."""
        self.count += 1
        return self.pipeline(*given)

    def compare(self, given: Given, where: np.ndarray, tolerance: float = 0.0) -> Outcome:
        """Run the pipeline on something else and compare forecasts; a failure is told, not raised."""
        try:
            return difference(self.base, self.run(given), self.given.panel, where, tolerance)
        except Exception as error:  # a user's pipeline may fail on other data in any way
            return failure(error)


def look_ahead(
    pipeline: Any,
    panel: Panel,
    dates: int = 5,
    seed: int = 0,
    *,
    reports: pd.DataFrame | None = None,
    fitted_until: Any = None,
    splits: WalkForward | None = None,
) -> Certificate:
    """Certify that forecasts do not know what came after them, as far as running the pipeline again can tell.

    The pipeline is run anew, features and fitting included, on panels that are other after a date t: at the first date
    that is judged by every kind of `KINDS`, at further random dates by one each. Forecasts dated up to t must be equal
    to the last bit. Where they are not, what was changed is put back group by group (returns, listings, industry codes,
    each level, each feature, reports) until those are found that do it. Then: what stands on firm-days that are not
    listed must change nothing, and firms in another order must get the same forecasts, both to 1e-5 of a forecast or of
    the forecasts' standard deviation, since sums change order.

    It tests what the pipeline makes of the panel. Whether the panel's own features were known at their dates no run
    can tell: ask `screen`. A choice among few candidates (a penalty, an epoch) that is made on later dates shows only
    where another future makes another choice: more `dates` make that more likely. A pipeline whose training labels are
    those of `forward_returns` over the whole panel is caught by its listings: they know who comes back. `Blocks` and
    `forward_returns(…, until)` make labels that do not.

    Parameters
    ----------
    pipeline : a function of the panel, or of (panel, reports), that returns `Forecasts`, an array [t n] (NaN = no
        forecast), or a long or wide frame; or a `Forecaster` or scikit-learn regressor, walked forward by `splits`. It
        must keep nothing between calls: a folder of fits would be taken up again.
    panel : what it starts from. dates : on which the future becomes another one, at least 1. seed : of all changes.
    reports : a second input, a row a report, with columns firm, available (the day since which it is known) and
        numbers: those of rows available after t are changed.
    fitted_until : day of the last return in any label that is fitted on, where forecasts are given for earlier dates
        too. By default every fit ends before the first date it forecasts, and all forecasts are judged.
    splits : for a forecaster or estimator; default one fold, the last third of the dates.

    Returns
    -------
    `Certificate`. A pipeline that gives other forecasts of the same panel is "suspect": seed it. One whose forecasts
    depend on the order of firms by more than rounding is "caught" only where differences follow places; else it is
    "undecided", since dropout and long training amplify it too.

    Raises
    ------
    InputError
        For a pipeline or an output that cannot be read, and where no forecast date has later rows. What the pipeline
        raises on the panel as it is.

    Examples
    --------
    >>> days = np.arange("2020-01-01", "2020-02-10", dtype="M8[D]")
    >>> panel = Panel(days, list("ABCD"), np.random.default_rng(0).normal(0, 0.01, (40, 4)))
    >>> look_ahead(lambda panel: -panel.returns, panel).clean
    True
    >>> look_ahead(lambda panel: np.roll(panel.returns, -1, axis=0), panel).of("caught")  # the next day's
    ['future', 'future of returns']
    """
    require("dates", dates, is_count(dates) and dates >= 1, "a whole number of at least 1")
    require("seed", seed, is_count(seed), "a whole number from 0")
    if reports is not None:
        check_reports(reports)
    given, random = Given(panel, reports), np.random.default_rng(seed)
    runs = Runs(pipeline_of(pipeline, panel, reports is not None, splits), given)
    rows = _drawn(_candidates(runs.base, panel, fitted_until), dates, random)
    findings = [_repeatable(runs)]
    if findings[0].verdict == "passed":
        findings += _future(runs, _cases(rows, random))
        findings += [
            absent_firms(runs.compare, runs.run, given, random),
            order_of_firms(runs.run, runs.base, given, random),
        ]
    findings += [gaps(runs.base, panel), realised_returns(runs.base, panel)]
    made = {
        "dates": [str(panel.dates[row]) for row in rows],
        "kinds": list(KINDS),
        "seed": int(seed),
        "runs": runs.count,
    }
    return certificate_of(findings, made | {"panel": panel.fingerprint})


def _candidates(base: Made, panel: Panel, fitted_until: Any) -> np.ndarray:
    """Return the rows that are forecast, after the last label and before the panel's end."""
    first = 0
    if fitted_until is not None:
        first = int(np.searchsorted(panel.dates, as_day(fitted_until, last=True)))
    rows = np.flatnonzero(base.given.any(axis=1))
    rows = rows[(rows >= first) & (rows < len(panel) - 1)]
    if not len(rows):
        raise InputError(
            f"a pipeline must forecast dates before the panel's last, {panel.dates[-1]}"
            + (f", and not before fitted_until {fitted_until}" if fitted_until is not None else "")
            + ", found none"
        )
    return rows


def _drawn(rows: np.ndarray, dates: int, random: np.random.Generator) -> np.ndarray:
    """Take the first row, where a label that was not purged shows, and others at random."""
    more = random.choice(rows[1:], min(dates - 1, len(rows) - 1), replace=False)
    return np.append(rows[0], np.sort(more)).astype(int)


def _cases(rows: np.ndarray, random: np.random.Generator) -> list[_Case]:
    """Change the future of the first row in every way, that of the others in one way each."""
    kinds = list(KINDS)
    pairs = [(rows[0], kind) for kind in kinds]
    pairs += [(row, kinds[place % len(kinds)]) for place, row in enumerate(rows[1:])]
    return [_Case(int(row), kind, int(random.integers(2**32))) for row, kind in pairs]


def _repeatable(runs: Runs) -> Finding:
    """Ask whether the pipeline gives the same forecasts twice: only then can another future be blamed."""
    everywhere = np.ones(runs.given.panel.shape, bool)
    found = runs.compare(runs.given, everywhere)
    if found is None:
        return Finding("repeatable", "passed", "two runs on the same panel are equal to the last bit")
    how = found if isinstance(found, str) else in_words(found)
    worst = np.nan if isinstance(found, str) else found.largest
    return Finding("repeatable", "suspect", f"not deterministic, so nothing else can be told: seed it; {how}", worst)


def _future(runs: Runs, cases: list[_Case]) -> list[Finding]:
    """Change the future in each case, and find what is to blame where forecasts up to then change."""
    names = groups(runs.given)
    outcomes = [_outcome(runs, case, names) for case in cases]
    failed = [(case, found) for case, found in zip(cases, outcomes, strict=True) if isinstance(found, str)]
    differ = [(case, found) for case, found in zip(cases, outcomes, strict=True) if isinstance(found, Difference)]
    if len(failed) == len(cases):
        findings = []
    elif not differ:
        rows, ran = len({case.row for case in cases}), len(cases) - len(failed)
        said = f"forecasts up to {rows} dates are equal to the last bit in {ran} runs on other {', '.join(names)}"
        findings = [Finding("future", "passed", said)]
    else:
        # The one that reaches furthest back tells most.
        case, worst = max(differ, key=lambda pair: (pair[0].row - pair[1].rows[0], pair[1].largest))
        findings = [_caught("future", worst, case, runs.given.panel, f" ({len(differ)} of {len(cases)} runs)")]
        blamed = _blamed(runs, differ, names)
        findings += [
            _caught(f"future of {' and '.join(group)}", found, case, runs.given.panel)
            for group, (case, found) in blamed.items()
        ]
        innocent = [name for name in names if not any(name in group for group in blamed)]
        if innocent:
            said = f"changing {', '.join(innocent)} alone changes nothing in the cases that failed"
            findings.append(Finding("future of the rest", "passed", said))
    if failed:
        case, said = failed[0]
        fails = f"the pipeline fails in {len(failed)} of {len(cases)} runs, first with {case.kind} after"
        findings.append(Finding("runs", "suspect", f"{fails} {runs.given.panel.dates[case.row]}: {said}"))
    if runs.given.reports is None:
        findings.append(Finding("future of reports", "not run", "no reports were given"))
    return findings


def _outcome(runs: Runs, case: _Case, names: list[str]) -> Outcome:
    past = np.zeros(runs.given.panel.shape, bool)
    past[: case.row + 1] = True
    changed = change(runs.given, case.row, case.kind, np.random.default_rng(case.seed))
    return runs.compare(mixed(runs.given, changed, names), past)


def _caught(check: str, found: Difference, case: _Case, panel: Panel, more: str = "") -> Finding:
    said = f"{case.kind} after {panel.dates[case.row]}: {in_words(found)}; {reach(found, panel, case.row)}{more}"
    return Finding(check, "caught", said, found.largest)


def _blamed(
    runs: Runs, differ: list[tuple[_Case, Difference]], names: list[str]
) -> dict[tuple[str, ...], tuple[_Case, Difference]]:
    """Return the groups whose change does it, each alone where it can, from one case of each kind, the latest."""
    latest = {case.kind: (case, found) for case, found in sorted(differ, key=lambda pair: pair[0].row)}
    blamed: dict[tuple[str, ...], tuple[_Case, Difference]] = {}
    for case, found in latest.values():
        rest = [name for name in names if (name,) not in blamed]
        known = found if len(rest) == len(names) else _outcome(runs, case, rest)
        if isinstance(known, Difference):
            each = _halve(partial(_outcome, runs, case), rest, known)
            blamed |= {group: (case, one) for group, one in each.items()}
    return blamed


def _halve(
    try_out: Callable[[list[str]], Outcome], names: list[str], found: Difference
) -> dict[tuple[str, ...], Difference]:
    """Halve what is known to do it, until what is left does it by one group, or by none of its halves alone."""
    if len(names) == 1:
        return {(names[0],): found}
    guilty: dict[tuple[str, ...], Difference] = {}
    for half in (names[: len(names) // 2], names[len(names) // 2 :]):
        if isinstance(one := try_out(half), Difference):
            guilty |= _halve(try_out, half, one)
    return guilty or {tuple(names): found}
