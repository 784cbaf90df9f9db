"""What forecasts are worth: metrics with errors, paired comparisons of models, and portfolios after costs."""

from finattn.evaluation.assessment import Assessment, assess
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
from finattn.evaluation.exports import VectorbtFrames, price_index, to_alphalens, to_quantstats, to_vectorbt
from finattn.evaluation.exposures import alpha, exposures, industry_weights, market_returns
from finattn.evaluation.fama_macbeth import FamaMacBeth, fama_macbeth
from finattn.evaluation.forecast_file import ForecastFile, read_forecasts
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
from finattn.evaluation.performance import portfolio_summary
from finattn.evaluation.portfolio import Holdings, backtest, holdings, portfolio
from finattn.evaluation.restrictions import RESTRICTIONS, restricted
from finattn.evaluation.selection import (
    ModelConfidenceSet,
    SuperiorPredictiveAbility,
    model_confidence_set,
    superior_predictive_ability,
)
from finattn.evaluation.tables import COLUMNS, Comparison, differences, evaluate, per_date, primary, summary
from finattn.evaluation.weights import Scheme, quantile_weights, rank_weights, target_weights, top_weights

__all__ = [
    "Assessment",
    "COLUMNS",
    "ClarkWest",
    "Comparison",
    "DieboldMariano",
    "Estimate",
    "FamaMacBeth",
    "ForecastFile",
    "Holdings",
    "Interval",
    "ModelConfidenceSet",
    "Overfitting",
    "RESTRICTIONS",
    "Scheme",
    "SeedVariance",
    "SharpeProbability",
    "SuperiorPredictiveAbility",
    "Trials",
    "VectorbtFrames",
    "alpha",
    "assess",
    "backtest",
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
    "exposures",
    "fama_macbeth",
    "hac_lag",
    "holdings",
    "holm",
    "industry_weights",
    "market_returns",
    "mean_block",
    "mean_inference",
    "minimum_track_record_length",
    "model_confidence_set",
    "per_date",
    "portfolio",
    "portfolio_summary",
    "price_index",
    "primary",
    "probabilistic_sharpe",
    "probability_of_backtest_overfitting",
    "quantile_weights",
    "rank_weights",
    "read_forecasts",
    "restricted",
    "seed_variance",
    "summary",
    "superior_predictive_ability",
    "target_weights",
    "to_alphalens",
    "to_quantstats",
    "to_vectorbt",
    "top_weights",
]
