"""Pipelines without a leak, which must pass, and ready-made panels that bear a leak's mark, which must be suspected."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge as Penalised
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.planted_leaks import (
    FIRST,
    HORIZON,
    START,
    STRENGTHS,
    TARGET,
    as_reported,
    best,
    by_date,
    columns_of,
    forecast,
    honest,
    labels_of,
    penalised,
    slopes,
    tested,
)
from finattn import features
from finattn.baselines import HistoricalMean, Ridge, SICKernel
from finattn.blocks import forward_returns, observed
from finattn.config import ModelConfig, TrainingConfig
from finattn.experiment import walk_forward
from finattn.forecasts import Forecasts
from finattn.panel import Panel
from finattn.splits import WalkForward


def as_long_frame(panel: Panel) -> pd.DataFrame:
    score = honest(panel)
    rows, firms = np.nonzero(np.isfinite(score))
    return pd.DataFrame({"date": panel.dates[rows], "firm": panel.firms[firms], "score": score[rows, firms]})


def as_wide_frame(panel: Panel) -> pd.DataFrame:
    return pd.DataFrame(honest(panel), index=panel.dates, columns=panel.firms)[FIRST:]


def refitted(panel: Panel) -> np.ndarray:
    """Fit anew every 20 rows, on all rows whose labels have ended."""
    there = observed(panel, slice(None))
    x = np.stack([by_date(c, there) for c in columns_of(panel)], axis=2)
    parts = [
        tested(panel, x @ slopes(panel, x, first - HORIZON, 10.0))[first : first + 20]
        for first in range(FIRST, len(x), 20)
    ]
    return np.concatenate([np.full((FIRST, panel.shape[1]), np.nan), *parts])


def tuned_beforehand(panel: Panel) -> np.ndarray:
    """Choose the penalty on validation rows whose labels end before the first forecast."""
    first = 140
    scores = [penalised(panel, strength, first - HORIZON) for strength in STRENGTHS]
    return tested(panel, best(panel, scores, slice(first, FIRST - HORIZON + 1)))


def scaled_by_the_past(panel: Panel) -> np.ndarray:
    """Divide prices by their maximum so far."""
    price = pd.DataFrame(np.where(panel.listed, panel.price, np.nan))
    return forecast(panel, [(price / price.cummax()).to_numpy()], scaled=False)


def filled_forwards(panel: Panel) -> np.ndarray:
    return forecast(panel, [pd.DataFrame(c).ffill(limit=5).to_numpy() for c in columns_of(panel)])


def splits_of(panel: Panel) -> WalkForward:
    return WalkForward(str(panel.dates[FIRST]), test=40, valid=40, horizon=HORIZON, decisions="weekly", start=START)


def walked(**forecasters: Any) -> Callable[[Panel], Forecasts]:
    return lambda panel: walk_forward(panel, forecasters, splits_of(panel))


def built(panel: Panel) -> Forecasts:
    panel = features.build(panel, ["maximum_return", "reversal", "idiosyncratic_volatility", "value"])
    return walk_forward(panel, {"ridge": Ridge(lookback=5), "mean": HistoricalMean()}, splits_of(panel))


def attention(dropout: float = 0.3) -> Callable[[Panel], Forecasts]:
    from finattn.training import AttentionForecaster

    model = ModelConfig(width=8, heads=2, feed_forward=16, lookback=5, dropout=dropout)
    training = TrainingConfig(epochs=1, minimum_epochs=1, block=60)
    return walked(attention=AttentionForecaster(("time", "firm"), model, training))


class Clean(NamedTuple):
    """A pipeline without a leak."""

    pipeline: Any
    reports: bool = False
    dates: int = 5


CLEAN = {
    "an array": Clean(honest),
    "a long frame": Clean(as_long_frame),
    "a wide frame": Clean(as_wide_frame),
    "refitted every 20 rows": Clean(refitted),
    "penalty chosen beforehand": Clean(tuned_beforehand),
    "prices over their maximum so far": Clean(scaled_by_the_past),
    "missing features filled forwards": Clean(filled_forwards),
    "fundamentals as they were known": Clean(as_reported, reports=True),
    "walk_forward, ridge and SIC kernel": Clean(walked(ridge=Ridge(lookback=5), sic=SICKernel((5,), (1.0,))), dates=2),
    "features.build, walk_forward": Clean(built, dates=2),
    "walk_forward, attention": Clean(attention(), dates=1),
    "a forecaster": Clean(Ridge(lookback=5), dates=2),
    "a scikit-learn pipeline": Clean(make_pipeline(StandardScaler(), Penalised()), dates=2),
}


# -- ready-made panels ------------------------------------------------------------


def ready_maximum(panel: Panel) -> Panel:
    columns = np.stack([panel.price / np.nanmax(panel.price, axis=0)], axis=2)
    return panel.replace(features=columns, feature_names=("close",), price=None)


def ready_scaled(panel: Panel) -> Panel:
    mean, deviation = (f(panel.features, axis=0) for f in (np.nanmean, np.nanstd))
    return panel.replace(features=(panel.features - mean) / deviation)


def ready_scaled_together(panel: Panel) -> Panel:
    mean, deviation = (f(panel.features, axis=(0, 1)) for f in (np.nanmean, np.nanstd))
    return panel.replace(features=(panel.features - mean) / deviation)


def ready_repeated(panel: Panel) -> Panel:
    """Leave out rows with an extreme label, and repeat the row before."""
    extreme = np.abs(np.nan_to_num(labels_of(panel))) > 1.6
    parts = [
        np.where(panel.listed, pd.DataFrame(np.where(extreme, np.nan, part)).ffill(limit=1).to_numpy(), np.nan)
        for part in (panel.returns, *np.moveaxis(panel.features, 2, 0))
    ]
    return panel.replace(returns=parts[0], features=np.stack(parts[1:], axis=2))


def ready_target(panel: Panel) -> Panel:
    label = np.nan_to_num(forward_returns(panel, np.arange(len(panel)), TARGET))
    noisy = label + np.random.default_rng(0).normal(0, 0.1, panel.shape)
    return panel.replace(
        features=np.concatenate([panel.features, noisy[:, :, None]], axis=2),
        feature_names=(*panel.feature_names, "new"),
    )


READY = {
    "price over the firm's maximum": (ready_maximum, "whole-sample maximum"),
    "features standardised in each firm": (ready_scaled, "whole-sample scaling"),
    "features standardised over all firm-days": (ready_scaled_together, "whole-sample scaling"),
    "gaps filled by repeating rows": (ready_repeated, "repeated rows"),
    "the target, noisy, among features": (ready_target, "implausible IC"),
}
"""Makers of ready-made panels, and the screen that must suspect each."""
