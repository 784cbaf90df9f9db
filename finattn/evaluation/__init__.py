"""What forecasts are worth: metrics with errors, paired comparisons of models, and portfolios after costs."""

from finattn.evaluation.comparisons import (
    ClarkWest,
    DieboldMariano,
    Interval,
    SeedVariance,
    bootstrap_mean,
    clark_west,
    diebold_mariano,
    seed_variance,
)
from finattn.evaluation.fama_macbeth import FamaMacBeth, fama_macbeth
from finattn.evaluation.groups import by_group, by_year, decay
from finattn.evaluation.inference import Estimate, hac_lag, holm, mean_block, mean_inference
from finattn.evaluation.overfitting import (
    Overfitting,
    SharpeProbability,
    Trials,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe,
    probability_of_backtest_overfitting,
)
from finattn.evaluation.portfolio import portfolio, portfolio_summary, quantile_weights
from finattn.evaluation.selection import (
    ModelConfidenceSet,
    SuperiorPredictiveAbility,
    model_confidence_set,
    superior_predictive_ability,
)
from finattn.evaluation.tables import COLUMNS, Comparison, differences, evaluate, per_date, primary, summary

__all__ = [
    "COLUMNS",
    "ClarkWest",
    "Comparison",
    "DieboldMariano",
    "Estimate",
    "FamaMacBeth",
    "Interval",
    "ModelConfidenceSet",
    "Overfitting",
    "SeedVariance",
    "SharpeProbability",
    "SuperiorPredictiveAbility",
    "Trials",
    "bootstrap_mean",
    "by_group",
    "by_year",
    "clark_west",
    "decay",
    "deflated_sharpe",
    "diebold_mariano",
    "differences",
    "evaluate",
    "expected_maximum_sharpe",
    "fama_macbeth",
    "hac_lag",
    "holm",
    "mean_block",
    "mean_inference",
    "minimum_track_record_length",
    "model_confidence_set",
    "per_date",
    "portfolio",
    "portfolio_summary",
    "primary",
    "probabilistic_sharpe",
    "probability_of_backtest_overfitting",
    "quantile_weights",
    "seed_variance",
    "summary",
    "superior_predictive_ability",
]
