"""Gradient-boosted trees on a compact table of the firm's own past."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np

from finattn.baselines.sic_kernel import trailing_returns
from finattn.baselines.tabular import gather, windows
from finattn.blocks import Blocks
from finattn.errors import InputError
from finattn.features import rank
from finattn.metrics import mean_over_dates, rank_information_coefficient

TRAILING = (5, 21, 63, 252)  # rows of the compounded returns among the inputs
EVERY = 10  # trees between two looks at validation dates


class Boosting:
    """Sum of trees fitted to standardised forward returns by squared loss: scikit-learn's histogram gradient boosting.

    Inputs of (t, i) are those of `flat_window` with a short lookback, and the firm's compounded returns over (t − k, t]
    for k of `TRAILING`, ranked across the observed firms of t to [-1, 1]. The learning rate, the leaves and the number
    of trees, in tens, are chosen on validation rank IC; no training date is held out.

    Parameters
    ----------
    learning_rates, leaves : of each tree; every pair is tried. trees : at most. leaf_rows : firm-dates a leaf holds at
        least. lookback : rows whose single returns are inputs.
    most_rows : firm-dates of training held in memory; from more, so many are drawn by `seed`. Two fits with one seed
        are equal, whatever the number of threads.

    Raises
    ------
    InputError
        For no rates, leaves or trees, and where no target is observed.

    Examples
    --------
    >>> Boosting(learning_rates=(0.1,), leaves=(8,), trees=50).units
    'score'
    """

    units: Literal["score"] = "score"

    def __init__(
        self,
        learning_rates: Sequence[float] = (0.03, 0.1),
        leaves: Sequence[int] = (4, 16),
        trees: int = 200,
        leaf_rows: int = 100,
        lookback: int = 5,
        most_rows: int = 1_000_000,
        seed: int = 0,
    ) -> None:
        if not (learning_rates and leaves and trees >= 1):
            raise InputError(f"boosting needs rates, leaves and trees, found {learning_rates}, {leaves} and {trees}")
        self.learning_rates, self.leaves, self.trees = tuple(learning_rates), tuple(leaves), trees
        self.leaf_rows, self.lookback, self.most_rows, self.seed = leaf_rows, lookback, most_rows, seed
        self.chosen: dict[str, Any] = {}

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Grow every choice's trees on training dates; keep the choice and the number of trees best on validation."""
        from sklearn.ensemble import HistGradientBoostingRegressor  # a second to import

        table = gather(train, self._inputs(train), self.most_rows, self.seed)
        best = -np.inf
        for rate, leaves in itertools.product(self.learning_rates, self.leaves):
            model = HistGradientBoostingRegressor(
                learning_rate=rate, max_leaf_nodes=leaves, max_iter=self.trees, min_samples_leaf=self.leaf_rows,
                early_stopping=False, random_state=self.seed,
            )  # fmt: skip
            skill = self._skill(model.fit(table.x, table.y), valid)
            if max(skill) > best:
                best, count = max(skill), EVERY * (int(np.argmax(skill)) + 1)
                self.model, self.count = model, min(count, self.trees)
                self.chosen = {"learning_rate": rate, "leaves": leaves, "trees": self.count, "valid_rank_ic": best}
        self.chosen["rows"] = len(table.y)
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return scores (p, n), NaN where a firm is not observed."""
        parts = [next(itertools.islice(_stages(self.model, x), self.count - 1, None)) for _, x in self._inputs(blocks)]
        return np.where(blocks.observed, np.concatenate(parts), np.nan)

    def _skill(self, model: Any, valid: Blocks) -> list[float]:
        """Return the validation rank IC after each ten trees, and after all."""
        here, realised, parts = valid.observed, valid.realised, []
        looks = [*range(EVERY - 1, self.trees - 1, EVERY), self.trees - 1]
        for part, x in self._inputs(valid):
            scores = (score for tree, score in enumerate(_stages(model, x)) if tree in looks)
            kept = (np.where(here[part], score, np.nan) for score in scores)
            parts.append([rank_information_coefficient(score, realised[part]) for score in kept])
        return [mean_over_dates(np.concatenate(dates)) for dates in zip(*parts, strict=True)]

    def _inputs(self, blocks: Blocks) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield runs of positions with X [p n f]."""
        for part, window in windows(blocks, self.lookback):
            rows, here = blocks.positions[part], blocks.observed[part]
            past = [rank(trailing_returns(blocks.panel, rows, length), here) for length in TRAILING]
            yield part, np.concatenate([window, np.nan_to_num(np.stack(past, axis=2))], axis=2)


def _stages(model: Any, x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the scores (p, n) after each tree."""
    return (score.reshape(x.shape[:2]) for score in model.staged_predict(x.reshape(-1, x.shape[2])))
