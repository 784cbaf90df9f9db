"""Linear forecasts from the flat window of returns and today's characteristics: ridge and elastic net."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np

from finattn.baselines.tabular import standardised_targets, windows
from finattn.blocks import Blocks
from finattn.errors import InputError
from finattn.metrics import mean_over_dates, rank_information_coefficient


class _Linear:
    """Coefficients on `flat_window`, found from XᵀX and Xᵀy alone for each choice; validation rank IC picks one."""

    units: Literal["score"] = "score"
    lookback: int
    chosen: dict[str, Any]

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Solve for every choice on training dates and keep the best on validation dates."""
        choices, coefficients = self._solutions(*_moments(train, self.lookback))
        scores, realised = self._scores(valid, coefficients), valid.realised
        skill = [mean_over_dates(rank_information_coefficient(score, realised)) for score in np.moveaxis(scores, 2, 0)]
        best = int(np.argmax(skill))
        self.coefficients = coefficients[:, best]
        self.chosen = choices[best] | {"valid_rank_ic": skill[best]}
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return scores (p, n), NaN where a firm is not observed."""
        return self._scores(blocks, self.coefficients[:, None])[:, :, 0]

    def _scores(self, blocks: Blocks, coefficients: np.ndarray) -> np.ndarray:
        parts = [window @ coefficients for _, window in windows(blocks, self.lookback)]
        return np.where(blocks.observed[:, :, None], np.concatenate(parts), np.nan)

    def _solutions(self, gram: np.ndarray, moment: np.ndarray) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Return the choices and their coefficients [f k], from XᵀX/N and Xᵀy/N."""
        raise NotImplementedError


class Ridge(_Linear):
    """Linear forecast of standardised forward returns: min ‖y − Xb‖²/N + λ‖b‖², λ chosen on validation rank IC.

    X and y are those of `flat_window`, which is never held whole.

    Parameters
    ----------
    strengths : values of λ to choose among. lookback : rows of the window, t's own included.

    Examples
    --------
    >>> Ridge(strengths=(0.1, 1.0), lookback=20).strengths
    (0.1, 1.0)
    """

    def __init__(self, strengths: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0), lookback: int = 60) -> None:
        self.strengths, self.lookback = tuple(strengths), lookback
        self.chosen = {}

    def _solutions(self, gram: np.ndarray, moment: np.ndarray) -> tuple[list[dict[str, Any]], np.ndarray]:
        values, vectors = np.linalg.eigh(gram)
        shrunk = (vectors.T @ moment)[:, None] / (np.maximum(values, 0)[:, None] + np.asarray(self.strengths))
        return [{"strength": strength} for strength in self.strengths], vectors @ shrunk


class ElasticNet(_Linear):
    """Linear forecast: min ‖y − Xb‖²/2N + α ρ ‖b‖₁ + α (1 − ρ) ‖b‖²/2 (Zou and Hastie 2005), scikit-learn's α and ρ.

    X and y are those of `flat_window`, which is never held whole: with the eigenvalues E and eigenvectors V of XᵀX/N,
    the rows √E Vᵀ and targets E^(−½) Vᵀ Xᵀy/N make the same problem of f rows. α is a share of max|Xᵀy/N| / ρ, the
    least at which every coefficient is zero, so that a share means the same for every panel.

    Parameters
    ----------
    strengths : shares of that α, between 0 and 1. l1_ratios : values of ρ, above 0 and at most 1, the lasso.
        Every pair is tried, and the choice is by validation rank IC.
    lookback : rows of the window, t's own included.

    Raises
    ------
    InputError
        For a strength or a ratio out of its range.

    Examples
    --------
    >>> ElasticNet(strengths=(0.1,), l1_ratios=(1.0,)).lookback
    60
    """

    def __init__(
        self, strengths: Sequence[float] = (0.03, 0.3), l1_ratios: Sequence[float] = (0.1, 0.9), lookback: int = 60
    ) -> None:
        for name, values, proper in (
            ("strengths", strengths, all(0 < value < 1 for value in strengths)),
            ("l1_ratios", l1_ratios, all(0 < value <= 1 for value in l1_ratios)),
        ):
            if not (len(values) and proper):
                raise InputError(f"{name} must be not empty, above 0 and up to 1, found {tuple(values)}")
        self.strengths, self.l1_ratios, self.lookback = tuple(strengths), tuple(l1_ratios), lookback
        self.chosen = {}

    def _solutions(self, gram: np.ndarray, moment: np.ndarray) -> tuple[list[dict[str, Any]], np.ndarray]:
        from sklearn import linear_model  # a second to import

        values, vectors = np.linalg.eigh(gram)
        kept = values > 1e-12 * values[-1]
        root, vectors = np.sqrt(kept.sum() * values[kept]), vectors[:, kept]  # scikit-learn divides by the rows
        x, y = root[:, None] * vectors.T, kept.sum() * (vectors.T @ moment) / root
        choices, columns = [], []
        for ratio, strength in itertools.product(self.l1_ratios, self.strengths):
            alpha = strength * max(np.abs(moment).max(), 1e-12) / ratio
            model = linear_model.ElasticNet(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-8, max_iter=20_000)
            columns.append(model.fit(x, y).coef_)
            choices.append({"strength": strength, "l1_ratio": ratio, "inputs": int((columns[-1] != 0).sum())})
        return choices, np.stack(columns, axis=1)


def _moments(blocks: Blocks, lookback: int) -> tuple[np.ndarray, np.ndarray]:
    """Return XᵀX/N and Xᵀy/N over the firm-dates with an observed target."""
    target, gram, moment = standardised_targets(blocks), 0.0, 0.0
    known = ~np.isnan(target)
    for part, window in windows(blocks, lookback):
        x, y = window[known[part]], target[part][known[part]]
        gram, moment = gram + x.T @ x, moment + x.T @ y
    return np.asarray(gram) / known.sum(), np.asarray(moment) / known.sum()
