"""The panel as a table, a row for each firm-date, and any scikit-learn regressor on it as a forecaster."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch

from finattn.blocks import Blocks, standardise
from finattn.errors import InputError

_CELLS = 20_000_000  # of a window matrix held at once, 160 MB


class FlatWindow(NamedTuple):
    """Rows r of firm-dates, by date and then by firm id.

    x : [r f] inputs, finite. y : [r] standardised forward returns. dates : [r]. firms : [r] ids.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.baselines import flat_window
    >>> from finattn.config import TargetConfig
    >>> panel, rows = fa.simulate(firms=60, days=30).panel, np.arange(10, 20)
    >>> table = flat_window(fa.Blocks(panel, rows, fa.Scaling.fit(panel, rows), TargetConfig(horizon=1)), lookback=5)
    >>> table.x.shape, table.y.shape, str(table.dates[0]), table.firms[:2].tolist()
    ((592, 50), (592,), '2000-01-17', ['S00000', 'S00001'])
    """

    x: np.ndarray
    y: np.ndarray
    dates: np.ndarray
    firms: np.ndarray


def flat_window(blocks: Blocks, lookback: int = 60, most_rows: int | None = None, seed: int = 0) -> FlatWindow:
    """Return the firm-dates with an observed target as X and y, for any scikit-learn regressor.

    Row (t, i) of X holds the firm's scaled returns of the rows (t − lookback, t], the oldest first, its scaled excess
    returns of the same rows, 0 where missing, and its scaled characteristics of row t with their indicators. y is its
    forward return in units of the standard deviation across the firms of its date, in excess of their mean.

    Parameters
    ----------
    blocks : the panel at some positions. lookback : rows of the window, t's own included.
    most_rows : if there are more, so many are drawn by `seed`, evenly over firm-dates. None takes them all: memory is
        8 bytes for each of rows × (2 lookback + 2 characteristics). The draw does not depend on the order of firms.

    Raises
    ------
    InputError
        Where no target is observed.

    Examples
    --------
    >>> from finattn.blocks import Scaling, TargetConfig
    >>> from finattn.panel import Panel
    >>> returns = np.random.default_rng(0).normal(0, 0.01, (10, 4))
    >>> panel = Panel(np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]"), list("ABCD"), returns)
    >>> rows = np.arange(4, 9)
    >>> table = flat_window(Blocks(panel, rows, Scaling.fit(panel, rows), TargetConfig(horizon=2)), lookback=3)
    >>> table.x.shape, table.firms[:5].tolist()
    ((16, 6), ['A', 'B', 'C', 'D', 'A'])
    """
    return gather(blocks, windows(blocks, lookback), most_rows, seed)


def windows(blocks: Blocks, lookback: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield runs of positions with X [p n f] of `flat_window`, for observed firms and others alike."""
    firms, width = blocks.panel.shape[1], 2 * lookback + blocks.scaling.width - 2
    length, done = max(1, min(500, _CELLS // (firms * width))), 0
    for block in blocks.cut(lookback - 1, length):
        x, rows = block.x.numpy(), block.scored.numpy()
        short = lookback - 1 - block.warmup  # rows that the panel does not have before its first
        history = np.concatenate([np.zeros((short, firms, 2), x.dtype), x[:, :, :2]])
        lags = np.lib.stride_tricks.sliding_window_view(history, lookback, axis=0)[rows - block.warmup]
        flat = lags.reshape(len(rows), firms, -1)
        yield slice(done, done + len(rows)), np.concatenate([flat, x[rows, :, 2:]], axis=2, dtype=np.float64)
        done += len(rows)


def standardised_targets(blocks: Blocks) -> np.ndarray:
    """Return forward returns (p, n) in standard deviations of their date's, NaN where they are not observed."""
    realised = blocks.realised
    known = ~np.isnan(realised)
    if not known.any():
        raise InputError("a forecaster must have observed targets to fit on, found none in the training dates")
    target = standardise(torch.from_numpy(np.nan_to_num(realised)), torch.from_numpy(known)).numpy()
    return np.where(known, target, np.nan)


def gather(
    blocks: Blocks, parts: Iterable[tuple[slice, np.ndarray]], most_rows: int | None = None, seed: int = 0
) -> FlatWindow:
    """Take the firm-dates with an observed target out of runs of positions with X [p n f]."""
    target, order = standardised_targets(blocks), np.argsort(blocks.panel.firms)
    row, place = np.nonzero(~np.isnan(target[:, order]))
    if most_rows is not None and len(row) > most_rows:
        drawn = np.sort(np.random.default_rng(seed).choice(len(row), most_rows, replace=False))
        row, place = row[drawn], place[drawn]
    column, pieces = order[place], []
    for part, x in parts:
        inside = slice(*np.searchsorted(row, [part.start, part.stop]))
        pieces.append(x[row[inside] - part.start, column[inside]])
    return FlatWindow(np.concatenate(pieces), target[row, column], blocks.dates[row], blocks.panel.firms[column])


class Tabular:
    """Any scikit-learn regressor, or a pipeline that ends in one, as a forecaster on `flat_window`.

    It is fitted on training dates alone; what it should be tuned on (a random split, which mixes dates) is its own
    affair. Of validation dates it sees nothing.

    Parameters
    ----------
    estimator : cloned for every fit. Its `random_state`, where it is None, becomes `seed`.
    lookback : rows of the window. most_rows : of training held in memory; from more, so many are drawn by `seed`.

    Raises
    ------
    InputError
        For an estimator without fit and predict, and where no target is observed.

    Examples
    --------
    >>> from sklearn.linear_model import Lasso
    >>> Tabular(Lasso(alpha=0.01), lookback=20).units
    'score'
    """

    units: Literal["score"] = "score"

    def __init__(self, estimator: Any, lookback: int = 60, most_rows: int = 500_000, seed: int = 0) -> None:
        if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "predict")):
            raise InputError(f"estimator must be a scikit-learn regressor, found {estimator!r}")
        self.estimator, self.lookback, self.most_rows, self.seed = estimator, lookback, most_rows, seed
        self.chosen: dict[str, Any] = {}

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit a clone of the estimator on training dates."""
        from sklearn.base import clone  # a second to import

        table = flat_window(train, self.lookback, self.most_rows, self.seed)
        self.fitted = clone(self.estimator)
        free = [name for name, value in self.fitted.get_params().items() if value is None]
        self.fitted.set_params(**{name: self.seed for name in free if name.split("__")[-1] == "random_state"})
        self.fitted.fit(table.x, table.y)
        self.chosen = {"rows": len(table.y)}
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return scores (p, n), NaN where a firm is not observed."""
        parts = [
            self.fitted.predict(x.reshape(-1, x.shape[2])).reshape(x.shape[:2])
            for _, x in windows(blocks, self.lookback)
        ]
        return np.where(blocks.observed, np.concatenate(parts), np.nan)
