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
        """Return zeros (p, n)."""
        return np.zeros((len(blocks.positions), blocks.panel.shape[1]))


class HistoricalMean:
    """A firm's own mean return over all its observed rows up to t, times the horizon (as in Welch and Goyal 2008)."""

    units: Literal["return"] = "return"

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit nothing: the mean is taken anew at each date."""
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return mean × horizon (p, n), a fraction; 0 for a firm without a return so far."""
        rows = slice(0, int(blocks.positions[-1]) + 1)
        here = observed(blocks.panel, rows)
        total = np.where(here, blocks.panel.returns[rows], 0.0).cumsum(axis=0)
        mean = total / np.maximum(here.cumsum(axis=0), 1)
        return mean[blocks.positions] * blocks.target.horizon
