"""Ridge regression on the flat window of returns and today's characteristics."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np

from finattn.blocks import Block, Blocks, standardise
from finattn.errors import InputError
from finattn.metrics import mean_over_dates, rank_information_coefficient

_CELLS = 20_000_000  # of a window matrix held at once, 160 MB


class Ridge:
    """Linear forecast of standardised forward returns: min ‖y − Xb‖²/N + λ‖b‖², λ chosen on validation rank IC.

    Row (t, i) of X holds the firm's scaled returns and excess returns of the last `lookback` rows, 0 where missing, and
    its scaled characteristics of row t with their indicators.

    Parameters
    ----------
    strengths : values of λ to choose among. lookback : rows of the window, t's own included.
    """

    units: Literal["score"] = "score"

    def __init__(self, strengths: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0), lookback: int = 60) -> None:
        self.strengths, self.lookback = tuple(strengths), lookback
        self.chosen: dict[str, Any] = {}

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Solve for every strength from one eigendecomposition of XᵀX/N, and keep the best on validation."""
        gram, moment, count = 0.0, 0.0, 0
        for block, window in self._windows(train):
            mask = block.observed & block.target_observed & block.decision[:, None]
            target = standardise(block.target.double(), mask).numpy()
            known = mask.numpy()[block.warmup :]
            x, y = window[known], target[block.warmup :][known]
            gram, moment, count = gram + x.T @ x, moment + x.T @ y, count + len(x)
        if not count:
            raise InputError("ridge must have observed targets to fit on, found none in the training dates")
        values, vectors = np.linalg.eigh(gram / count)
        rotated = vectors.T @ moment / count
        shrunk = rotated[:, None] / (np.maximum(values, 0)[:, None] + np.asarray(self.strengths))
        coefficients = vectors @ shrunk  # [f λ]
        realised = valid.realised
        scores = self._scores(valid, coefficients)
        skill = [mean_over_dates(rank_information_coefficient(score, realised)) for score in np.moveaxis(scores, 2, 0)]
        best = int(np.argmax(skill))
        self.coefficients = coefficients[:, best]
        self.chosen = {"strength": self.strengths[best], "valid_rank_ic": skill[best]}
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return scores (p, n)."""
        return self._scores(blocks, self.coefficients[:, None])[:, :, 0]

    def _scores(self, blocks: Blocks, coefficients: np.ndarray) -> np.ndarray:
        parts = [
            (window @ coefficients)[block.decision.numpy()[block.warmup :]] for block, window in self._windows(blocks)
        ]
        return np.where(blocks.observed[:, :, None], np.concatenate(parts), np.nan)

    def _windows(self, blocks: Blocks) -> Iterator[tuple[Block, np.ndarray]]:
        """Yield each block with X [t n f] of its rows after the warm-up."""
        firms, width = blocks.panel.shape[1], 2 * self.lookback + blocks.scaling.width - 2
        length = max(1, min(500, _CELLS // (firms * width)))
        for block in blocks.cut(self.lookback - 1, length):
            x = block.x.double().numpy()
            short = self.lookback - 1 - block.warmup  # rows that the panel does not have before its first
            history = np.concatenate([np.zeros((short, *x.shape[1:2], 2)), x[:, :, :2]])
            lags = np.lib.stride_tricks.sliding_window_view(history, self.lookback, axis=0)
            flat = lags.reshape(*lags.shape[:2], -1)
            yield block, np.concatenate([flat, x[block.warmup :, :, 2:]], axis=2)
