"""A table in, a plotly figure out.

Nothing is computed here beyond cumulating, averaging over the axis that is not shown, and pivoting; every number comes
from a table that another module wrote. Text from data is escaped, because plotly reads a subset of HTML in every label.
"""

from finattn.plots.explanations import deletion_curves, explained_forecast
from finattn.plots.runs import (
    attention_over_lags,
    cumulated_rank_ic,
    fold_timeline,
    peer_heat_map,
    portfolio_value,
    rank_ic_by_year,
    rank_ic_intervals,
)

__all__ = [
    "attention_over_lags",
    "cumulated_rank_ic",
    "deletion_curves",
    "explained_forecast",
    "fold_timeline",
    "peer_heat_map",
    "portfolio_value",
    "rank_ic_by_year",
    "rank_ic_intervals",
]
