"""What a search leaves of its best: trials on the same data, deflated Sharpe ratios, probability of overfitting."""

import json
import math
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finattn.evaluation import (
    Trials,
    deflated_sharpe,
    expected_maximum_sharpe,
    probabilistic_sharpe,
    probability_of_backtest_overfitting,
)
from finattn.ledger.chain import Setup, Trial, firms_of, head_of, net_returns, read_trials, source_of
from finattn.panel import Panel

OVERLAP = 0.5
"""Share of firms and of days in common, of the smaller of two panels, from which on their data count as the same."""
BLOCKS = 16
"""Of the cross-validation behind the probability of backtest overfitting."""


class Selection(NamedTuple):
    """What a ledger says of forecasters, and which ledger it was; both as JSON can hold them.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.config import TargetConfig
    >>> from finattn.ledger import Setup, record, selection
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> setup = Setup({"mean": "of all earlier rows"}, TargetConfig(horizon=1), splits)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = record(folder, panel, forecasts, setup)
    ...     found = selection(folder, panel, setup)
    >>> found.figures["trials"], found.ledger["overlapping"]
    (1, 1)
    """

    figures: dict[str, Any]
    ledger: dict[str, Any]
    """The head's hash, the number of all trials and of the overlapping ones."""


def overlapping(path: str | Path, panel: Panel) -> list[Trial]:
    """Return the trials on a panel's data, the oldest first.

    Those whose source has the same name (see `source_of`), and those whose panels share half of the firms (by
    identifier) and half of the days between first and last with it: of the fewer firms and the shorter span of the two.

    Parameters
    ----------
    path : the ledger's folder. panel : on whose data trials are looked for.

    Raises
    ------
    InputError
        As `read_trials`.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.ledger import overlapping
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     same, other = overlapping(folder, panel["2019":]), overlapping(folder, fa.simulate(60, 60).panel)
    >>> [trial.model for trial in same], [trial.model for trial in other]
    (['mean', 'ridge'], [])
    """
    return _overlapping(path, read_trials(path), panel)


def _overlapping(path: str | Path, trials: Sequence[Trial], panel: Panel) -> list[Trial]:
    source, firms, span = source_of(panel), set(panel.firms.tolist()), _span(panel.dates[0], panel.dates[-1])
    shares: dict[str, float] = {}

    def share(trial: Trial) -> float:
        if trial.firms not in shares:
            theirs = firms_of(path, trial)
            shares[trial.firms] = len(firms.intersection(theirs)) / min(len(firms), len(theirs))
        return shares[trial.firms]

    def same(trial: Trial) -> bool:
        days = _common(span, _span(trial.first, trial.last))
        return trial.source == source != "" or days >= OVERLAP and share(trial) >= OVERLAP

    return [trial for trial in trials if same(trial)]


def latest(trials: Sequence[Trial], panel: Panel, setup: Setup) -> list[Trial]:
    """Return the newest trial of each forecaster of a setup on this very panel.

    Parameters
    ----------
    trials : as `read_trials` gives them. panel : one with the same fingerprint. setup : as it was recorded, settings,
        target and splits alike.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.config import TargetConfig
    >>> from finattn.ledger import Setup, latest, read_trials
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "zero": fa.Zero()}, splits, ledger=folder)
    ...     trials = read_trials(folder)
    >>> setup = Setup({"mean": "HistoricalMean {}"}, TargetConfig(horizon=1), splits)
    >>> [trial.model for trial in latest(trials, panel, setup)], latest(trials, panel["2019":], setup)
    (['mean'], [])
    """
    shared = json.loads(json.dumps(setup.shared))
    found = {
        trial.model: trial
        for trial in trials
        if trial.panel == panel.fingerprint
        and setup.settings.get(trial.model) == trial.settings
        and all(getattr(trial, name) == value for name, value in shared.items())
    }
    return [found[model] for model in setup.settings if model in found]


def selection(path: str | Path, panel: Panel, setup: Setup) -> Selection:
    """Judge the recorded forecasters of a setup by how many trials there were on the same data.

    Trials without a Sharpe ratio, which never held anything, are counted apart; correlated ones count in full, so that
    the deflated Sharpe ratio is strict. Sharpe ratios are a year's.

    Parameters
    ----------
    path : the ledger's folder. panel : what was walked forward. setup : as it was recorded.

    Returns
    -------
    Selection, whose figures are (None where they are undefined)
        - trials, undefined: on overlapping data, with a Sharpe ratio and without;
        - benchmark: the Sharpe ratio that the best of as many trials without skill is expected to show;
        - portfolio: what was traded;
        - models: of each the net sharpe, the probability that the true one exceeds 0, and deflated, the probability
          that it exceeds the benchmark;
        - overfitting: the probability of backtest overfitting over the trials with the same dates, None for fewer than
          two of them or fewer than 32 dates.

    Raises
    ------
    InputError
        As `read_trials` and `net_returns`.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.config import TargetConfig
    >>> from finattn.ledger import Setup, selection
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> setup = Setup({"mean": "HistoricalMean {}"}, TargetConfig(horizon=1), splits)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     (row,) = selection(folder, panel, setup).figures["models"]
    >>> round(row["sharpe"], 2), round(row["probability"], 2), round(row["deflated"], 2)
    (0.6, 0.72, 0.71)
    """
    known = read_trials(path)
    trials = _overlapping(path, known, panel)
    net = {trial.hash: net_returns(path, trial).to_numpy() for trial in trials}
    ratio = {trial.hash: _sharpe(trial, net[trial.hash]) for trial in trials}
    defined = [trial for trial in trials if math.isfinite(ratio[trial.hash])]
    count = _count([ratio[trial.hash] for trial in defined], panel.periods_per_year)
    own = latest(trials, panel, setup)
    models = [
        {
            "model": trial.model,
            "sharpe": _plain(ratio[trial.hash]),
            "probability": _plain(probabilistic_sharpe(net[trial.hash]).probability),
            "deflated": _plain(deflated_sharpe(net[trial.hash], count).probability),
        }
        for trial in own
    ]
    figures = {
        "trials": len(defined),
        "undefined": len(trials) - len(defined),
        "benchmark": expected_maximum_sharpe(count) * math.sqrt(panel.periods_per_year),
        "portfolio": own[0].portfolio if own else None,
        "models": models,
        "overfitting": _overfitting(own, [(trial, net[trial.hash]) for trial in defined]),
    }
    return Selection(figures, {"head": head_of(known), "trials": len(known), "overlapping": len(trials)})


def searched(path: str | Path, panel: Panel) -> Trials:
    """Count the trials on a panel's data that have a Sharpe ratio, with the variance of these, a period of the panel.

    Parameters
    ----------
    path : the ledger's folder. panel : on whose data trials are looked for, see `overlapping`.

    Returns
    -------
    Trials, as `evaluation.deflated_sharpe` takes them; at least one.

    Raises
    ------
    InputError
        As `read_trials` and `net_returns`.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.ledger import searched
    >>> panel, splits = fa.sample()["2018":"2020"], fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits, ledger=folder)
    ...     found = searched(folder, panel)
    >>> found.number, round(found.variance * 252, 4)
    (2, 0.0027)
    """
    ratios = [_sharpe(trial, net_returns(path, trial).to_numpy()) for trial in overlapping(path, panel)]
    return _count([ratio for ratio in ratios if math.isfinite(ratio)], panel.periods_per_year)


def _sharpe(trial: Trial, net: np.ndarray) -> float:
    """Return the Sharpe ratio a year, NaN where a trial never held anything."""
    return probabilistic_sharpe(net).sharpe * math.sqrt(trial.periods_per_year)


def _count(ratios: Sequence[float], periods_per_year: int) -> Trials:
    spread = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    return Trials(max(1, len(ratios)), spread / periods_per_year)


def _overfitting(own: Sequence[Trial], defined: Sequence[tuple[Trial, np.ndarray]]) -> dict[str, float] | None:
    """Return the probability of backtest overfitting over the trials that have the dates of most of our own."""
    dates = statistics.mode([trial.dates for trial in own]) if own else ""
    columns = [net for trial, net in defined if trial.dates == dates]
    if len(columns) < 2 or len(columns[0]) < 2 * BLOCKS:
        return None
    found = probability_of_backtest_overfitting(np.stack(columns, axis=1), BLOCKS)
    return {"probability": found.probability, "trials": len(columns), "dates": found.dates}


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _span(first: object, last: object) -> tuple[date, date]:
    return date.fromisoformat(str(first)), date.fromisoformat(str(last))


def _common(one: tuple[date, date], other: tuple[date, date]) -> float:
    """Return the share of the shorter of two spans of days that lies in both."""
    common = (min(one[1], other[1]) - max(one[0], other[0])).days + 1
    return common / (min(one[1] - one[0], other[1] - other[0]).days + 1)
