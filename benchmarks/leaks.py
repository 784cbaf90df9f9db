"""Leaks planted on purpose, and pipelines without one: whether the certificate of `finattn.leaks` tells them apart.

``python -m benchmarks.leaks`` runs each and prints a table. A planted leak is caught where the check that it belongs to
says LEAK (of the order of firms: suspect), or, in a ready-made panel, where the screen that it belongs to suspects it.

leaks_planted, leaks_caught : kinds of leak. clean : pipelines and panels without one. false_alarms : of these, those
without a certificate or suspected by a screen. suspected : of these, those with a certificate that names a suspect.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge as LeastSquares
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finattn import features
from finattn.baselines import Ridge, SICKernel
from finattn.blocks import forward_returns
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.data import asof
from finattn.experiment import walk_forward
from finattn.leaks import Remake, from_sklearn, look_ahead, screen
from finattn.panel import Panel
from finattn.splits import WalkForward
from finattn.training import AttentionForecaster

FIRMS, DAYS, FIRST, WINDOW = 20, 150, 80, 10
TARGET = TargetConfig(horizon=5)


class Case(NamedTuple):
    """A pipeline and what it starts from; without a pipeline the panel is screened."""

    name: str
    panel: Panel
    pipeline: Callable[[Panel], Any] | None = None
    remake: Remake | None = None
    check: str = ""  # that must find the leak


def raw_panel(seed: int = 0) -> Panel:
    """Simulate a panel with every field, gaps, firms that list late and firms that leave."""
    random, shape = np.random.default_rng(seed), (DAYS, FIRMS)
    dates = np.busday_offset("2001-01-01", np.arange(DAYS), roll="forward")
    market = 0.01 * random.standard_normal((DAYS, 1))
    returns = market + 0.02 * random.standard_normal(shape)
    listed = np.ones(shape, bool)
    listed[:90, 1], listed[100:, 2], listed[120:, 3] = False, False, False
    gone = listed.cumsum(axis=0) > listed.sum(axis=0) - 1
    returns[(random.random(shape) < 0.05) | (~listed & gone)] = np.nan
    price = 20 * np.cumprod(1 + np.nan_to_num(returns), axis=0)
    return Panel(
        dates=dates,
        firms=[f"F{i:02d}" for i in range(FIRMS)],
        returns=returns,  # firm 1's begin before it is listed
        listed=listed,
        industry=random.permuted(np.tile([2834, 2835, 6021, 3571], (DAYS, FIRMS // 4)), axis=1),
        industry_as_of=True,
        features=random.normal(0, 3, (*shape, 2)),
        feature_names=["quality", "value"],
        market_cap=1e9 * price,
        price=price,
        risk_free=np.full(DAYS, 1e-4) + 1e-5 * random.random(DAYS),
        factors=market,
        factor_names=["market"],
    )


# -- pipelines in a few lines of pandas ------------------------------------------------------------


def wide(panel: Panel, values: np.ndarray) -> pd.DataFrame:
    """Put values (t, n) in a frame, missing where a firm is not listed."""
    return pd.DataFrame(np.where(panel.listed, values, np.nan), panel.dates, panel.firms.tolist())


def tidy(panel: Panel, scores: Any) -> pd.DataFrame:
    """Return scores (t, n) of the listed firms from the first test date on, as a user's table."""
    scores = np.asarray(scores, float)
    rows, firms = np.nonzero(panel.listed & ~np.isnan(scores))
    table = pd.DataFrame({"date": panel.dates[rows], "firm": panel.firms[firms], "prediction": scores[rows, firms]})
    return table[rows >= FIRST].reset_index(drop=True)


def momentum(panel: Panel) -> pd.DataFrame:
    """Return mean returns of the last rows."""
    return wide(panel, panel.returns).rolling(WINDOW, min_periods=3).mean()


def levels(panel: Panel) -> pd.DataFrame:
    """Return prices made of returns."""
    return (1 + wide(panel, panel.returns).fillna(0.0)).cumprod()


def least_squares(x: np.ndarray, y: np.ndarray) -> float:
    """Return the slope of y on x where both are known."""
    known = ~np.isnan(x * y)
    return float((x[known] * y[known]).sum() / (x[known] ** 2).sum())


def fitted(panel: Panel, x: np.ndarray, stop: int) -> pd.DataFrame:
    """Fit a slope on decisions before row `stop`, and forecast with it."""
    y = forward_returns(panel, np.arange(len(panel)), TARGET)
    return tidy(panel, least_squares(x[:stop], y[:stop]) * x)


# -- planted leaks ------------------------------------------------------------


def whole_sample_maximum(panel: Panel) -> pd.DataFrame:
    return tidy(panel, levels(panel) / levels(panel).max())


def gaps_filled_backwards(panel: Panel) -> pd.DataFrame:
    return tidy(panel, wide(panel, panel.returns).bfill())


def gaps_filled_with_labels_that_overlap(panel: Panel) -> pd.DataFrame:
    """Repeat the rows that are not there, each with its label, and learn each day from labels up to the day before."""
    x = momentum(panel).where(np.isfinite(panel.returns)).ffill().bfill().to_numpy()
    y = pd.DataFrame(forward_returns(panel, np.arange(len(panel)), TARGET)).bfill().to_numpy()
    slopes = [least_squares(x[:row], y[:row]) if row >= FIRST else np.nan for row in range(len(panel))]
    return tidy(panel, np.array(slopes)[:, None] * x)


def scaled_over_the_whole_sample(panel: Panel) -> pd.DataFrame:
    values = wide(panel, panel.features[:, :, 0])
    return tidy(panel, (values - np.nanmean(values)) / np.nanstd(values))


def target_among_features(panel: Panel) -> pd.DataFrame:
    known = forward_returns(panel, np.arange(len(panel)), TARGET)
    return tidy(panel, momentum(panel) + 0.1 * np.nan_to_num(known))


def survivors_only(panel: Panel) -> pd.DataFrame:
    return tidy(panel, momentum(panel) + np.where(panel.listed[-1], 0.0, np.nan))


def shifted_by_one(panel: Panel) -> pd.DataFrame:
    return tidy(panel, wide(panel, panel.features[:, :, 1]).shift(-1))


def centred_average(panel: Panel) -> pd.DataFrame:
    return tidy(panel, wide(panel, panel.returns).rolling(WINDOW + 1, center=True, min_periods=3).mean())


def fitted_on_test_dates(panel: Panel) -> pd.DataFrame:
    return fitted(panel, momentum(panel).to_numpy(), len(panel))


def labels_not_purged(panel: Panel) -> pd.DataFrame:
    return fitted(panel, momentum(panel).to_numpy(), FIRST)


def industries_of_the_future(panel: Panel) -> pd.DataFrame:
    return tidy(panel, momentum(panel).T.groupby(panel.industry[-1]).transform("mean").T)


def ranked_among_firms_not_yet_listed(panel: Panel) -> pd.DataFrame:
    return tidy(panel, pd.DataFrame(panel.returns).rolling(WINDOW, min_periods=3).mean().rank(axis=1))


def components_of_the_whole_sample(panel: Panel) -> pd.DataFrame:
    filled = np.nan_to_num(wide(panel, panel.returns).to_numpy())
    direction = np.linalg.svd(filled - filled.mean(axis=0), full_matrices=False)[2][0]
    return tidy(panel, (filled @ direction)[:, None] * direction)


def largest_at_the_end(panel: Panel) -> pd.DataFrame:
    large = panel.market_cap[-1] >= np.nanmedian(panel.market_cap[-1])
    return tidy(panel, momentum(panel) + np.where(large, 0.0, np.nan))


def loadings_of_the_whole_sample(panel: Panel) -> pd.DataFrame:
    market = panel.factors[:, 0] - panel.risk_free
    loading = wide(panel, panel.returns).corrwith(pd.Series(market, panel.dates))
    return tidy(panel, -momentum(panel) * loading)


def firms_with_few_gaps(panel: Panel) -> pd.DataFrame:
    full = np.isfinite(panel.returns).mean(axis=0) > 0.8
    return tidy(panel, momentum(panel) + np.where(full, 0.0, np.nan))


def position_of_the_firm(panel: Panel) -> pd.DataFrame:
    return tidy(panel, momentum(panel) + 0.01 * np.arange(panel.shape[1]))


def sorted_by_what_they_earned(panel: Panel) -> Panel:
    return panel[:, np.argsort(np.nansum(panel.returns, axis=0))]


def reports(panel: Panel, seed: int = 1) -> pd.DataFrame:
    """Simulate quarterly reports, filed 20 to 60 days after their quarter ends."""
    random = np.random.default_rng(seed)
    quarters = pd.date_range("2000-12-31", panel.dates[-1], freq="QE")
    table = pd.MultiIndex.from_product([panel.firms.tolist(), quarters], names=["firm", "period_end"]).to_frame(False)
    filed = table["period_end"] + pd.to_timedelta(random.integers(20, 60, len(table)), "D")
    return table.assign(available=filed, assets=random.lognormal(size=len(table)))


def joined(panel: Panel, available: str) -> Remake:
    """Join reports as of a column of days."""
    rule = asof.Rule(available=available)

    def make(tables: Any) -> Panel:
        return asof.join(panel, tables["reports"], ["assets"], stale_after="15M", rule=rule)

    return Remake({"reports": reports(panel)}, make)


def with_feature(panel: Panel, values: np.ndarray) -> Panel:
    """Return a panel that comes with one feature, nobody says how made."""
    return panel.replace(features=np.asarray(values, float)[:, :, None], feature_names=["given"])


def repeated_rows(panel: Panel) -> Panel:
    """Fill gaps by the row before, returns and features alike."""
    there = np.isfinite(panel.returns)
    row = np.maximum.accumulate(np.where(there, np.arange(len(panel))[:, None], 0), axis=0)
    returns, values = (np.take_along_axis(x, row, axis=0) for x in (panel.returns, panel.features[:, :, 0]))
    return with_feature(panel.replace(returns=returns), values)


# The check that must find each leak.
BY_PIPELINE = {
    whole_sample_maximum: "returns",
    gaps_filled_backwards: "returns",
    gaps_filled_with_labels_that_overlap: "returns",
    scaled_over_the_whole_sample: "features",
    target_among_features: "returns",
    survivors_only: "listed",
    shifted_by_one: "features",
    centred_average: "returns",
    fitted_on_test_dates: "returns",
    labels_not_purged: "returns",
    industries_of_the_future: "industry",
    ranked_among_firms_not_yet_listed: "not yet listed",
    components_of_the_whole_sample: "returns",
    largest_at_the_end: "market_cap",
    loadings_of_the_whole_sample: "factors",
    firms_with_few_gaps: "missing",
}


def planted() -> list[Case]:
    """Return a leak of each kind."""
    panel = raw_panel()
    early, order = joined(panel, "period_end"), sorted_by_what_they_earned(panel)
    early_panel = early.make(early.tables)
    scaled, values = levels(panel) / levels(panel).max(), wide(panel, panel.features[:, :, 0]).to_numpy()
    given = {
        "whole-sample maximum": with_feature(panel, scaled),
        "repeated rows": repeated_rows(panel),
        "implausible IC": with_feature(panel, np.append(panel.returns[1:], panel.returns[:1], axis=0)),
        "whole-sample standardisation": with_feature(panel, (values - np.nanmean(values)) / np.nanstd(values)),
    }
    return [
        *(Case(_words(pipeline), panel, pipeline, check=check) for pipeline, check in BY_PIPELINE.items()),
        Case("fundamentals before their availability", early_panel, clean_features, early, "table reports"),
        Case("order of firms", order, position_of_the_firm, check="order of firms"),
        *(Case(f"ready-made: {check}", one, check=check) for check, one in given.items()),
    ]


def _words(pipeline: Callable[[Panel], Any]) -> str:
    return pipeline.__name__.replace("_", " ")


# -- clean pipelines and panels ------------------------------------------------------------


def splits() -> WalkForward:
    return WalkForward(str(raw_panel().dates[FIRST]), test=35, valid=25, horizon=TARGET.horizon)


def clean_momentum(panel: Panel) -> pd.DataFrame:
    return tidy(panel, momentum(panel))


def clean_features(panel: Panel) -> pd.DataFrame:
    return tidy(panel, wide(panel, panel.features[:, :, -1]).rank(axis=1, pct=True))


def clean_maximum(panel: Panel) -> pd.DataFrame:
    return tidy(panel, levels(panel) / levels(panel).cummax())


def clean_fit(panel: Panel) -> pd.DataFrame:
    return fitted(panel, momentum(panel).to_numpy(), FIRST - TARGET.horizon)


def clean_refits(panel: Panel) -> pd.DataFrame:
    """Fit scikit-learn's ridge again on every tenth date, on the rows whose labels are known, stacked as users do."""
    x = np.stack([momentum(panel), panel.features[:, :, 0], np.log(panel.market_cap)], axis=2)
    x[~panel.listed | ~np.isfinite(panel.returns)] = np.nan
    y, whole = forward_returns(panel, np.arange(len(panel)), TARGET), ~np.isnan(x).any(axis=2)
    scores = np.full(panel.shape, np.nan)
    for row in range(FIRST, len(panel), 10):
        known = whole & ~np.isnan(y) & (np.arange(len(panel)) <= row - TARGET.horizon)[:, None]
        model = make_pipeline(StandardScaler(), LeastSquares(alpha=10.0)).fit(x[known], y[known])
        scores[row:][whole[row:]] = model.predict(x[row:][whole[row:]])
    return tidy(panel, scores)


def clean_industry(panel: Panel) -> pd.DataFrame:
    sizes = pd.DataFrame(panel.industry, panel.dates, panel.firms.tolist())
    return tidy(panel, momentum(panel).where(sizes == 2834).mean(axis=1).to_numpy()[:, None] + 0 * momentum(panel))


def walked(forecaster: Callable[[], Any]) -> Callable[[Panel], Any]:
    """Return the walk-forward of one of finattn's forecasters."""

    def pipeline(panel: Panel) -> Any:
        built = features.build(panel, ["reversal", "maximum_return"])
        return walk_forward(built, {"forecaster": forecaster()}, splits(), TARGET)

    return pipeline


def tiny_attention(dropout: float) -> AttentionForecaster:
    model = ModelConfig(width=8, heads=2, feed_forward=16, lookback=5, dropout=dropout)
    return AttentionForecaster(("time", "firm"), model, TrainingConfig(epochs=1, minimum_epochs=1, block=60))


def clean() -> list[Case]:
    """Return pipelines that use the past alone, and panels whose features do."""
    panel, scaled = raw_panel(), make_pipeline(StandardScaler(), LeastSquares(alpha=10.0))
    forest = RandomForestRegressor(5, max_depth=3)
    by_hand = (clean_momentum, clean_features, clean_maximum, clean_fit, clean_refits, clean_industry)
    on_time = joined(panel, "available")
    high = levels(panel) / levels(panel).cummax()
    return [
        *(Case(_words(pipeline), panel, pipeline) for pipeline in by_hand),
        Case("fundamentals since their availability", on_time.make(on_time.tables), clean_features, on_time),
        Case("scikit-learn pipeline", panel, from_sklearn(scaled, ["reversal"], splits(), TARGET, lookback=5)),
        Case("scikit-learn forest", panel, from_sklearn(forest, ["reversal"], splits(), TARGET, lookback=5)),
        Case("ridge, walk-forward", panel, walked(lambda: Ridge(lookback=5))),
        Case("SIC kernel, walk-forward", panel, walked(lambda: SICKernel((1, 5)))),
        Case("attention, walk-forward", panel, walked(lambda: tiny_attention(0.0))),
        Case("attention with dropout, walk-forward", panel, walked(lambda: tiny_attention(0.3))),
        Case("ready-made: noise", panel),
        Case("ready-made: highest so far", with_feature(panel, high)),
        Case("ready-made: ranks", features.build(panel, ["reversal", "maximum_return"])),
        Case("ready-made: standardised across firms", with_feature(panel, _across(panel))),
        Case("ready-made: reports", on_time.make(on_time.tables)),
    ]


def _across(panel: Panel) -> np.ndarray:
    values = wide(panel, panel.features[:, :, 0]).T
    return ((values - values.mean()) / values.std()).T.to_numpy()


# -- the count ------------------------------------------------------------


def verdicts(case: Case, dates: int = 4) -> dict[str, str]:
    """Return the checks that say LEAK or suspect, and which, and whether there is no certificate for another reason."""
    if case.pipeline is None:
        return dict.fromkeys(screen(case.panel, TARGET)["screen"], "screen")
    found = look_ahead(case.pipeline, case.panel, dates, remake=case.remake)
    said = {row.check: row.status for row in found.table.itertuples() if row.status in ("LEAK", "suspect")}
    return said if found.clean or "LEAK" in said.values() else said | {"certificate": "none"}


def measure() -> dict[str, Any]:
    """Return the figures, and under "cases" which checks spoke up."""
    found = {kind: {case.name: verdicts(case) for case in cases()} for kind, cases in KINDS.items()}
    accused = [set(checks.values()) for checks in found["clean"].values()]
    return {
        "leaks_planted": len(found["planted"]),
        "leaks_caught": sum(case.check in found["planted"][case.name] for case in planted()),
        "clean": len(accused),
        "false_alarms": sum(bool(kinds - {"suspect"}) for kinds in accused),
        "suspected": sum("suspect" in kinds for kinds in accused),
        "cases": found,
    }


KINDS = {"planted": planted, "clean": clean}


def main() -> None:
    figures = measure()
    for kind, cases in figures.pop("cases").items():
        for name, checks in cases.items():
            print(f"{kind:<9}{name:<42}{', '.join(f'{check} ({what})' for check, what in checks.items()) or '-'}")
    for name, figure in figures.items():
        print(f"{name:<16}{figure}")


if __name__ == "__main__":
    main()
