"""Which of many models may be best: tests that allow for the search, from losses at each decision date.

Rows, columns and undefined dates are those of `comparisons`.
"""

from typing import NamedTuple

import numpy as np
from arch.bootstrap import MCS, SPA
from numpy.typing import ArrayLike, NDArray

from finattn.errors import InputError
from finattn.evaluation.comparisons import RESAMPLES, Floats, as_losses, complete, difference
from finattn.evaluation.inference import resamples
from finattn.metrics import constant

__all__ = ["ModelConfidenceSet", "SuperiorPredictiveAbility", "model_confidence_set", "superior_predictive_ability"]

_SIZE = 0.05


class SuperiorPredictiveAbility(NamedTuple):
    """Test that none of m models is better than a benchmark.

    Examples
    --------
    >>> from finattn.evaluation import superior_predictive_ability
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal((200, 3))
    >>> found = superior_predictive_ability(1 + noise + [0.0, -0.05, 0.02], np.ones(200), overlap=0)
    >>> found.p_value, found.p_values.round(2), found.better
    (0.0, array([0.13, 0.  , 0.98]), array([False,  True, False]))
    """

    p_value: float
    """Hansen's consistent one; NaN where no model differs from the benchmark."""
    lower: float
    upper: float
    """P-values that bound it: the upper is White's (2000) reality check, studentised."""
    statistics: Floats
    """[m] mean loss of the benchmark minus that of the model, over its bootstrap error; NaN without a difference."""
    p_values: Floats
    """[m] of each model alone against the benchmark, one-sided, not adjusted for the others; NaN alike."""
    better: NDArray[np.bool_]
    """[m] whether the model is better at 5% with all models taken together."""
    dates: int
    undefined: int


class ModelConfidenceSet(NamedTuple):
    """The models that are not told apart from the best.

    Examples
    --------
    >>> from finattn.evaluation import model_confidence_set
    >>> noise = 0.2 * np.random.default_rng(0).standard_normal((200, 3))
    >>> found = model_confidence_set(1 + noise + [0.0, 0.0, 0.1], overlap=0)
    >>> found.included, found.p_values.round(2)
    (array([ True,  True, False]), array([1.  , 0.22, 0.  ]))
    """

    included: NDArray[np.bool_]
    """[m]"""
    p_values: Floats
    """[m] smallest size at which the model is excluded; 1 for the last one left."""
    dates: int
    undefined: int


def superior_predictive_ability(
    losses: ArrayLike, benchmark: ArrayLike, overlap: int, seed: int = 0
) -> SuperiorPredictiveAbility:
    """Test whether the best of several models beats a benchmark, given that it is the best of several (Hansen 2005).

    The statistic is the largest of mean d_m / w_m, with d_m the benchmark's loss minus the model's and w_m the
    standard deviation of its mean over 1000 stationary resamples (`mean_block`); its distribution under the null is
    that of the recentred resampled means, through `arch.bootstrap.SPA`. (arch recentres but does not divide by w: the
    columns are scaled before they enter.) Where no model does better on average the statistic is 0 and every p-value 1.
    A model with the benchmark's losses is left out of the maximum.

    Parameters
    ----------
    losses : array [t m]
    benchmark : array [t]
    overlap : int
        Later decision dates whose target overlaps that of a date.
    seed : int
        Of the bootstrap.

    Returns
    -------
    SuperiorPredictiveAbility

    Raises
    ------
    InputError
        Shapes do not agree, a loss is infinite, a model's losses are the benchmark's plus a constant (the error of
        such a difference is zero), or fewer than two blocks of dates are left.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> benchmark = 1 + 0.1 * rng.standard_normal(200)
    >>> losses = benchmark[:, None] + [0.0, 0.01, -0.05] + 0.1 * rng.standard_normal((200, 3))
    >>> found = superior_predictive_ability(losses, benchmark, overlap=0)
    >>> found.p_value, found.better
    (0.0, array([False, False,  True]))
    """
    models, reference = as_losses(losses, "t m"), as_losses(benchmark, "t")
    if len(models) != len(reference):
        raise InputError(f"losses and benchmark must have one length, found {models.shape} and {reference.shape}")
    gain, block, undefined = complete(difference(reference[:, None], models), overlap)
    differs = gain.any(axis=0)
    _refuse_constant(gain[:, differs], np.flatnonzero(differs), "the benchmark's")
    width = gain.shape[1]
    statistics, alone, better = np.full(width, np.nan), np.full(width, np.nan), np.zeros(width, np.bool_)
    jointly = np.full(3, np.nan)
    if differs.any():
        jointly, statistics[differs], alone[differs], better[differs] = _hansen(gain[:, differs], block, seed)
    lower, p_value, upper = jointly.tolist()
    return SuperiorPredictiveAbility(p_value, lower, upper, statistics, alone, better, len(gain), undefined)


def model_confidence_set(losses: ArrayLike, overlap: int, size: float = 0.10, seed: int = 0) -> ModelConfidenceSet:
    """Return the models among which the best one lies with probability 1 - size (Hansen, Lunde and Nason 2011).

    While the largest studentised difference between two models still in the set (T_R) is significant, the worse of the
    two is excluded: `arch.bootstrap.MCS` with method R, 1000 stationary resamples and `mean_block`. Models with equal
    losses enter as one and share its result.

    Parameters
    ----------
    losses : array [t m]
        Of at least two models.
    overlap : int
        Later decision dates whose target overlaps that of a date.
    size : float
        In (0, 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    ModelConfidenceSet

    Raises
    ------
    InputError
        There are fewer than two models, a loss is infinite, two models' losses differ by a constant (the error of such
        a difference is zero), `size` lies outside (0, 1), or fewer than two blocks of dates are left.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> losses = 1 + np.array([0.0, 0.0, 0.1]) + 0.2 * rng.standard_normal((200, 3))
    >>> model_confidence_set(losses, overlap=0).included
    array([ True,  True, False])
    """
    values = as_losses(losses, "t m")
    if values.shape[1] < 2 or not 0 < size < 1:
        raise InputError(f"expected at least two models and a size in (0, 1), found {values.shape[1]} and {size}")
    values, block, undefined = complete(values, overlap)
    first = np.array([_first_equal(values, column) for column in range(values.shape[1])])
    distinct = np.unique(first)
    for place, column in enumerate(distinct[:-1]):
        later = distinct[place + 1 :]
        _refuse_constant(values[:, [column]] - values[:, later], later, f"those of column {column}")
    p_values = np.ones(values.shape[1])
    if len(distinct) > 1:
        test = MCS(values[:, distinct], size, reps=RESAMPLES, block_size=block, method="R", seed=seed)
        test.compute()
        p_values[distinct] = test.pvalues["Pvalue"].sort_index().to_numpy()
    p_values = p_values[first]
    return ModelConfidenceSet(p_values > size, p_values, len(values), undefined)


def _refuse_constant(differences: Floats, columns: NDArray[np.intp], others: str) -> None:
    """Refuse differences [t m] that do not vary: they have no error to be held against."""
    still = constant(differences.T)
    if still.any():
        column = columns[int(np.argmax(still))]
        raise InputError(f"losses of column {column} must differ from {others} by more than a constant, found one")


def _first_equal(values: Floats, column: int) -> int:
    """First column that holds the same losses as this one."""
    return int(np.argmin(difference(values, values[:, [column]]).any(axis=0)))


def _hansen(gain: Floats, block: int, seed: int) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return the lower, consistent and upper p-value, then per model its statistic, own p-value and verdict."""
    positions = resamples(len(gain), block, seed)
    errors = np.array([column[positions].mean(axis=1).std() for column in gain.T])
    scaled = gain / errors
    statistics = scaled.mean(axis=0)
    test = SPA(np.zeros(len(gain)), -scaled, block_size=block, reps=RESAMPLES, studentize=False, seed=seed)
    test.compute()
    jointly = test.pvalues[["lower", "consistent", "upper"]].to_numpy() if statistics.max() > 0 else np.ones(3)
    better = np.zeros(len(statistics), np.bool_)
    better[test.better_models(_SIZE)] = True
    alone = np.empty(len(statistics))
    for place in range(len(statistics)):  # from the same resamples
        test.subset(np.arange(len(statistics)) == place)
        test.compute()
        alone[place] = test.pvalues["upper"]
    return jointly, statistics, alone, better
