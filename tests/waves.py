"""A panel and forecasts without random numbers, on which other packages' figures were computed."""

import numpy as np
import pandas as pd

from finattn.blocks import forward_returns
from finattn.config import TargetConfig
from finattn.forecasts import Forecasts
from finattn.panel import Panel
from finattn.splits import label_overlap

ROWS, FIRMS = 60, 12


def panel(rows: int = ROWS, firms: int = FIRMS, leaves: int = 40, **fields) -> Panel:
    """Firm 3 leaves the list at row `leaves` and has a delisting return."""
    t, n = np.arange(rows)[:, None], np.arange(firms)
    listed = np.ones((rows, firms), bool)
    listed[leaves:, 3] = False
    days = pd.bdate_range("2020-01-01", periods=rows).to_numpy().astype("M8[D]")
    returns = 0.03 * np.sin(1.7 * t + 2.3 * n + t * n / 5)
    return Panel(days, [f"F{i:02d}" for i in range(firms)], returns, listed=listed, **fields)


def forecasts(
    on: Panel, horizon: int = 5, step: int = 1, delay: int = 0, first: int = 5, model: str = "m"
) -> Forecasts:
    """Forecast every `step` rows from `first`, until ten rows before the end."""
    rows = np.arange(first, len(on) - 10, step)
    score = np.cos(3.1 * rows[:, None] + np.arange(on.shape[1]) ** 1.5)
    row, firm = np.nonzero(on.listed[rows])
    realised = forward_returns(on, rows, TargetConfig(horizon, delay))
    table = pd.DataFrame(
        {
            "date": on.dates[rows[row]].astype("M8[s]"),
            "firm": on.firms[firm].astype(object),
            "model": model,
            "fold": 0,
            "seed": 0,
            "score": score[row, firm],
            "prediction": 0.01 * score[row, firm],
            "realised": realised[row, firm],
        }
    )
    return Forecasts(table, horizon, delay, label_overlap(rows, horizon), 252)
