"""What forecasts are worth: metrics with errors, paired comparisons of models, and portfolios after costs."""

from finattn.evaluation.groups import by_group, by_year, decay
from finattn.evaluation.inference import Estimate, hac_lag, holm, mean_block, mean_inference
from finattn.evaluation.portfolio import portfolio, portfolio_summary, quantile_weights
from finattn.evaluation.tables import COLUMNS, Comparison, differences, evaluate, per_date, primary, summary

__all__ = [
    "COLUMNS",
    "Comparison",
    "Estimate",
    "by_group",
    "by_year",
    "decay",
    "differences",
    "evaluate",
    "hac_lag",
    "holm",
    "mean_block",
    "mean_inference",
    "per_date",
    "portfolio",
    "portfolio_summary",
    "primary",
    "quantile_weights",
    "summary",
]
