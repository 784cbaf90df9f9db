"""Pictures for papers: a table in, a matplotlib figure out, from the same tables as the plotly ones.

White ground, Okabe and Ito's colours with a dash or marker of their own, so that a print in grey still tells models
apart; units and dates on every axis; sizes of a page's width. Text from data is drawn as it is: nothing in it is read
as a formula. Matplotlib is loaded by the first picture, and comes with ``pip install 'finattn[notebooks]'``.

Examples
--------
>>> import pandas as pd
>>> from finattn.plots import paper
>>> figure = paper.weight_maps({"Head 1": pd.DataFrame([[1.0, 0.0], [0.4, 0.6]])})
>>> figure.axes[0].get_title()
'Head 1'

``figure.savefig("weights.pdf")`` writes it.
"""

from finattn.plots.paper.attention import (
    attention_history,
    attention_over_lags,
    peer_heat_map,
    position_encodings,
    weight_maps,
)
from finattn.plots.paper.costs import attention_costs
from finattn.plots.paper.explanations import audit_figures, deletion_curves
from finattn.plots.paper.lines import bars, lines
from finattn.plots.paper.network import peers
from finattn.plots.paper.results import (
    calibration,
    cumulated_rank_ic,
    fold_timeline,
    portfolio_value,
    rank_ic_intervals,
)

__all__ = [
    "attention_costs",
    "attention_history",
    "attention_over_lags",
    "audit_figures",
    "bars",
    "calibration",
    "cumulated_rank_ic",
    "deletion_curves",
    "fold_timeline",
    "lines",
    "peer_heat_map",
    "peers",
    "portfolio_value",
    "position_encodings",
    "rank_ic_intervals",
    "weight_maps",
]
