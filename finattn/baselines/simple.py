"""Forecasts from a firm's own past returns, or from nothing."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np

from finattn.baselines.sic_kernel import slope_on, trailing_returns
from finattn.blocks import Blocks, observed
from finattn.errors import InputError
from finattn.metrics import mean_over_dates, rank_information_coefficient


class Zero:
    """Forecast of zero for every firm.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import sample
    >>> panel = sample()["2019":"2020"]
    >>> train = Blocks(panel, np.arange(300), Scaling.fit(panel, np.arange(300)), TargetConfig())
    >>> test = train.at(np.arange(420, 440))
    >>> Zero().fit(train, train).predict(test).sum().item()
    0.0
    """

    units: Literal["return"] = "return"

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit nothing."""
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return zeros (p, n), NaN where a firm is not observed."""
        return np.where(blocks.observed, 0.0, np.nan)


class HistoricalMean:
    """A firm's own mean return over all its observed rows up to t, times the horizon (as in Welch and Goyal 2008).

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import sample
    >>> panel = sample()["2019":"2020"]
    >>> train = Blocks(panel, np.arange(300), Scaling.fit(panel, np.arange(300)), TargetConfig())
    >>> test = train.at(np.arange(420, 440))
    >>> found = HistoricalMean().fit(train, train).predict(test)
    >>> bool(np.isclose(found[0, 0], 5 * np.nanmean(panel.returns[:421, 0])))
    True
    """

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


class Momentum:
    """Slope × the firm's own compounded return over (t − k, t − skip]: momentum; reversal with a slope below zero.

    The slope is fitted on training dates, both sides in excess of their date's mean; k and skip are chosen on
    validation rank IC. Days not observed are left out.

    Parameters
    ----------
    windows : values of k in rows, or pairs (skip, k) with 0 <= skip < k; (21, 252) leaves the last month out (Jegadeesh
        and Titman 1993).

    Raises
    ------
    InputError
        For windows that are empty or without a row.

    Examples
    --------
    >>> Momentum(windows=(5, (21, 252))).windows
    ((0, 5), (21, 252))
    """

    units: Literal["score"] = "score"

    def __init__(self, windows: Sequence[int | tuple[int, int]] = (1, 5, 21, 63, 252)) -> None:
        self.windows = tuple((0, given) if isinstance(given, int) else tuple(given) for given in windows)
        if not self.windows or any(len(pair) != 2 or not 0 <= pair[0] < pair[1] for pair in self.windows):
            raise InputError(f"windows must be rows or pairs (skip, rows), 0 <= skip < rows, found {tuple(windows)}")
        self.chosen: dict[str, Any] = {}

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit each window's slope on training dates, and keep the best on validation dates."""
        slopes = [slope_on(_own(train, *pair), train.realised) for pair in self.windows]
        scores = [slope * _own(valid, *pair) for slope, pair in zip(slopes, self.windows, strict=True)]
        skill = [mean_over_dates(rank_information_coefficient(score, valid.realised)) for score in scores]
        best = int(np.argmax(skill))
        self.choice, self.slope = self.windows[best], slopes[best]
        skip, window = self.choice
        self.chosen = {"window": window, "skip": skip, "slope": self.slope, "valid_rank_ic": skill[best]}
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return scores (p, n), NaN where a firm is not observed."""
        return np.where(blocks.observed, self.slope * _own(blocks, *self.choice), np.nan)


def _own(blocks: Blocks, skip: int, window: int) -> np.ndarray:
    return trailing_returns(blocks.panel, blocks.positions - skip, window - skip)
