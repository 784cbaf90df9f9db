"""Forecasts that need no fitting."""

from typing import Literal, Self

import numpy as np

from finattn.blocks import Blocks, observed


class Zero:
    """Forecast of zero for every firm."""

    units: Literal["return"] = "return"

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit nothing."""
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return zeros (p, n), NaN where a firm is not observed."""
        return np.where(blocks.observed, 0.0, np.nan)


class HistoricalMean:
    """A firm's own mean return over all its observed rows up to t, times the horizon (as in Welch and Goyal 2008)."""

    units: Literal["return"] = "return"

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit nothing: the mean is taken anew at each date."""
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return mean × horizon (p, n), a fraction; NaN where a firm is not observed."""
        rows = slice(0, int(blocks.positions[-1]) + 1)
        here = observed(blocks.panel, rows)
        total = np.where(here, blocks.panel.returns[rows], 0.0).cumsum(axis=0)
        mean = total / np.maximum(here.cumsum(axis=0), 1)
        return np.where(blocks.observed, mean[blocks.positions] * blocks.target.horizon, np.nan)
