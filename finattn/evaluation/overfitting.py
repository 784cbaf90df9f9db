"""What a Sharpe ratio is worth after a search: against its own error, the number of trials, and held-out halves.

Sharpe ratios here are those of one row (mean over standard deviation with T - 1, of returns in excess of what they
should be held against), never annualised: divide an annual one by the root of the rows in a year.
"""

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from finattn.errors import InputError
from finattn.metrics import constant

__all__ = [
    "Overfitting",
    "SharpeProbability",
    "Trials",
    "deflated_sharpe",
    "expected_maximum_sharpe",
    "minimum_track_record_length",
    "probabilistic_sharpe",
    "probability_of_backtest_overfitting",
]

Floats = NDArray[np.float64]

_CHUNK = 1024
_MOST_BLOCKS = 20


class Trials(NamedTuple):
    """The search that a strategy comes from, where the Sharpe ratios of its trials are not all at hand.

    Examples
    --------
    >>> from finattn.evaluation import Trials, deflated_sharpe
    >>> returns = 0.001 + 0.01 * np.random.default_rng(0).standard_normal(500)
    >>> [round(deflated_sharpe(returns, Trials(number, 0.5 / 250)).probability, 3) for number in (1, 5, 50)]
    [0.945, 0.661, 0.255]
    """

    number: float
    """Of independent trials: of correlated ones count fewer."""
    variance: float
    """Of the trials' Sharpe ratios (of one row)."""


class SharpeProbability(NamedTuple):
    """How probable it is that the true Sharpe ratio exceeds a benchmark; NaN where returns do not vary.

    Examples
    --------
    >>> from finattn.evaluation import probabilistic_sharpe
    >>> found = probabilistic_sharpe(0.001 + 0.01 * np.random.default_rng(0).standard_normal(500))
    >>> f"{found.probability:.0%} that a Sharpe ratio of {found.sharpe * 252**0.5:.2f} a year is above 0"
    '94% that a Sharpe ratio of 1.14 a year is above 0'
    """

    probability: float
    sharpe: float
    benchmark: float
    skewness: float
    kurtosis: float
    """3 for normal returns; both moments with the small-sample correction."""
    dates: int
    undefined: int


class Overfitting(NamedTuple):
    """What became, in the other half of the sample, of the trial that was best in one half; one entry a split.

    Examples
    --------
    >>> from finattn.evaluation import probability_of_backtest_overfitting
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal((160, 10))
    >>> found = probability_of_backtest_overfitting(noise, blocks=8)
    >>> round(found.probability, 2), len(found.logits)
    (0.23, 70)
    >>> found.in_sample.mean().round(2).item(), found.out_of_sample.mean().round(2).item()
    (0.19, 0.02)
    """

    probability: float
    """Share of splits whose winner did not rank above the middle in the other half."""
    probability_of_loss: float
    """Share of splits whose winner had a negative Sharpe ratio in the other half."""
    logits: Floats
    """log(w / (1 - w)), with w the winner's rank in the other half over (number of trials + 1)."""
    in_sample: Floats
    out_of_sample: Floats
    """The winner's Sharpe ratio in the half that chose it, and in the other."""
    dates: int
    dropped: int
    """Dates left out: an undefined return, or the oldest ones where blocks would not be of one length."""


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> SharpeProbability:
    """Probability that the true Sharpe ratio exceeds a benchmark (Bailey and Lopez de Prado 2012).

    Phi((SR - SR*) sqrt(T - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2)), with g3 the skewness and g4 the kurtosis of the
    returns, which are taken as independent over time.

    Parameters
    ----------
    returns : array [t]
        Simple returns of one strategy per row, fractions; NaN = undefined: dropped and counted.
    benchmark : float
        SR*, of one row.

    Returns
    -------
    SharpeProbability
        With NaN for fewer than four returns and for returns that do not vary.

    Raises
    ------
    InputError
        The returns are not one-dimensional or not finite, or the benchmark is not finite.

    Examples
    --------
    >>> found = probabilistic_sharpe(0.001 + 0.01 * np.random.default_rng(0).standard_normal(500))
    >>> round(found.probability, 3), round(found.sharpe, 3)
    (0.945, 0.072)
    """
    if not math.isfinite(benchmark):
        raise InputError(f"benchmark must be a finite Sharpe ratio, found {benchmark}")
    values = _returns(returns, 1)
    defined = values[~np.isnan(values)]
    count, undefined = len(defined), len(values) - len(defined)
    if count < 4 or constant(defined[None])[0]:
        return SharpeProbability(math.nan, math.nan, benchmark, math.nan, math.nan, count, undefined)
    sharpe = float(defined.mean() / defined.std(ddof=1))
    skewness = float(stats.skew(defined, bias=False))
    kurtosis = float(stats.kurtosis(defined, bias=False)) + 3
    probability = _exceeds(sharpe, benchmark, skewness, kurtosis, count)
    return SharpeProbability(probability, sharpe, benchmark, skewness, kurtosis, count, undefined)


def expected_maximum_sharpe(trials: Trials) -> float:
    """Sharpe ratio that the best of several trials without skill is expected to show.

    sqrt(V) ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e))), with g Euler's constant and V the variance of the trials'
    Sharpe ratios (Bailey and Lopez de Prado 2014); 0 for a single trial, out of which nothing was chosen.

    Parameters
    ----------
    trials : Trials
        N and V.

    Returns
    -------
    float
        Of one row, as the trials' are.

    Raises
    ------
    InputError
        Fewer than one trial, or a variance that is negative or not finite.

    Examples
    --------
    >>> round(expected_maximum_sharpe(Trials(100, 0.5 / 250)), 4)
    0.1132
    """
    if not (1 <= trials.number < math.inf and 0 <= trials.variance < math.inf):
        raise InputError(f"expected at least one trial and a variance of at least 0, found {trials}")
    if trials.number == 1:
        return 0.0
    ends = stats.norm.isf([1 / trials.number, 1 / (trials.number * math.e)])
    return math.sqrt(trials.variance) * float((1 - np.euler_gamma) * ends[0] + np.euler_gamma * ends[1])


def deflated_sharpe(returns: ArrayLike, trials: ArrayLike | Trials) -> SharpeProbability:
    """Probability that a Sharpe ratio chosen among trials is truly positive (Bailey and Lopez de Prado 2014).

    `probabilistic_sharpe` against `expected_maximum_sharpe` of the trials.

    Parameters
    ----------
    returns : array [t]
        Of the chosen strategy.
    trials : array [m] or Trials
        Sharpe ratios (of one row) of all trials, the chosen one among them, with their sample variance; or their count
        and variance. With a single trial nothing was chosen and the benchmark is 0.

    Returns
    -------
    SharpeProbability

    Raises
    ------
    InputError
        As `probabilistic_sharpe`; no trial, or one whose Sharpe ratio is not finite.

    Examples
    --------
    >>> returns = 0.001 + 0.01 * np.random.default_rng(0).standard_normal(500)
    >>> found = deflated_sharpe(returns, [0.0, 0.05, -0.02, 0.088])
    >>> round(found.probability, 3), round(found.benchmark, 3)
    (0.676, 0.051)
    """
    return probabilistic_sharpe(returns, expected_maximum_sharpe(_trials(trials)))


def minimum_track_record_length(returns: ArrayLike, benchmark: float = 0.0, level: float = 0.95) -> float:
    """Rows of returns like these that would be needed for `probabilistic_sharpe` to reach a level.

    1 + (1 - g3 SR + (g4 - 1) / 4 SR^2) (Phi^-1(level) / (SR - SR*))^2 (Bailey and Lopez de Prado 2012).

    Parameters
    ----------
    returns, benchmark : see `probabilistic_sharpe`.
    level : float
        In (0.5, 1).

    Returns
    -------
    float
        Infinite where the Sharpe ratio does not exceed the benchmark, NaN where `probabilistic_sharpe` is.

    Raises
    ------
    InputError
        As `probabilistic_sharpe`, or a level outside (0.5, 1).

    Examples
    --------
    >>> returns = 0.001 + 0.01 * np.random.default_rng(0).standard_normal(500)
    >>> round(minimum_track_record_length(returns))
    530
    """
    if not 0.5 < level < 1:
        raise InputError(f"level must lie between 0.5 and 1, found {level}")
    found = probabilistic_sharpe(returns, benchmark)
    if math.isnan(found.probability):
        return math.nan
    if found.sharpe <= benchmark:
        return math.inf
    spread = _spread(found.sharpe, found.skewness, found.kurtosis)
    return 1 + spread * (float(stats.norm.ppf(level)) / (found.sharpe - benchmark)) ** 2


def probability_of_backtest_overfitting(returns: ArrayLike, blocks: int = 16) -> Overfitting:
    """How often the trial that was best in half of the sample is not even above the middle in the other half.

    Combinatorially symmetric cross-validation (Bailey, Borwein, Lopez de Prado and Zhu 2017): the dates are cut into
    an even number of blocks of one length; for each way of taking half of them, the trial with the highest Sharpe ratio
    there (the first of several) is ranked by its Sharpe ratio in the other half, ties sharing their mean rank. The
    probability is the share of splits with rank / (m + 1) of at most 1/2. A trial whose returns do not vary within a
    half has a Sharpe ratio of 0 there. Sums per block are added up: nothing is read again for a split.

    Parameters
    ----------
    returns : array [t m]
        Simple returns of all m trials per row, fractions; dates with an undefined one are dropped and counted.
    blocks : int
        Even, from 2 to 20; 16 give 12,870 splits.

    Returns
    -------
    Overfitting

    Raises
    ------
    InputError
        Fewer than two trials, fewer than two dates a block, an infinite return, or another number of blocks.

    Examples
    --------
    >>> noise = 0.01 * np.random.default_rng(0).standard_normal((480, 10))
    >>> found = probability_of_backtest_overfitting(noise + [0, 0, 0, 0.005, 0, 0, 0, 0, 0, 0])
    >>> found.probability, len(found.logits)
    (0.0, 12870)
    """
    if not isinstance(blocks, int) or blocks % 2 or not 2 <= blocks <= _MOST_BLOCKS:
        raise InputError(f"blocks must be an even number from 2 to {_MOST_BLOCKS}, found {blocks!r}")
    values = _returns(returns, 2)
    defined = values[~np.isnan(values).any(axis=1)]
    length = len(defined) // blocks
    if values.shape[1] < 2 or length < 2:
        raise InputError(
            f"expected at least two trials and {2 * blocks} dates, found {values.shape[1]} and {len(defined)}"
        )
    used = defined[len(defined) - length * blocks :]
    sums = _Sums.of(used.reshape(blocks, length, -1))
    halves = np.array(list(combinations(range(blocks), blocks // 2)))
    chosen = np.zeros((len(halves), blocks), np.bool_)
    np.put_along_axis(chosen, halves, True, axis=1)
    parts = [_judge(sums, chosen[start : start + _CHUNK]) for start in range(0, len(chosen), _CHUNK)]
    rank, inside, outside = (np.concatenate(part) for part in zip(*parts, strict=True))
    share = rank / (values.shape[1] + 1)
    return Overfitting(
        float((share <= 0.5).mean()), float((outside < 0).mean()), np.log(share / (1 - share)), inside, outside,
        len(used), len(values) - len(used),
    )  # fmt: skip


class _Sums(NamedTuple):
    """Sums of a block's returns [b m] about the trials' means, which keeps their digits, scaled to unit size."""

    centre: Floats
    first: Floats
    second: Floats
    rows: int

    @classmethod
    def of(cls, blocks: Floats) -> "_Sums":
        """Add up blocks [b t m]."""
        scale = np.abs(blocks).max(axis=(0, 1))
        unit = blocks / np.where(scale > 0, scale, 1.0)
        centre = unit.mean(axis=(0, 1))
        unit -= centre
        rows = blocks.shape[0] * blocks.shape[1] // 2
        return cls(centre, unit.sum(axis=1), np.square(unit).sum(axis=1), rows)

    def sharpe(self, chosen: NDArray[np.bool_]) -> Floats:
        """Sharpe ratio [split m] over the chosen blocks [split b]."""
        first, second = chosen @ self.first, chosen @ self.second
        mean = first / self.rows
        variance = (second - first * mean) / (self.rows - 1)
        # Returns are at most 1 here: the first is the noise of this difference, the second that of `unit`, squared.
        varies = variance > 1e-12 * second / self.rows + 1e-24
        return np.where(varies, (mean + self.centre) / np.sqrt(np.where(varies, variance, 1.0)), 0.0)


def _judge(sums: _Sums, chosen: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Return each split's winner's rank in the other half and its Sharpe ratio in both."""
    inside, outside = sums.sharpe(chosen), sums.sharpe(~chosen)
    winner = inside.argmax(axis=1)[:, None]
    best, there = (np.take_along_axis(part, winner, axis=1) for part in (inside, outside))
    rank = (outside < there).sum(axis=1) + ((outside == there).sum(axis=1) + 1) / 2
    return rank, best[:, 0], there[:, 0]


def _exceeds(sharpe: float, benchmark: float, skewness: float, kurtosis: float, count: int) -> float:
    """Probability that the true Sharpe ratio exceeds the benchmark, from the moments."""
    spread = _spread(sharpe, skewness, kurtosis)
    return float(stats.norm.cdf((sharpe - benchmark) * math.sqrt((count - 1) / spread))) if spread > 0 else math.nan


def _spread(sharpe: float, skewness: float, kurtosis: float) -> float:
    """Variance of a Sharpe ratio's estimate, times T - 1."""
    return 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2


def _trials(trials: ArrayLike | Trials) -> Trials:
    """Return the count and variance of the trials' Sharpe ratios."""
    if isinstance(trials, Trials):
        return trials
    ratios = np.asarray(trials, np.float64)
    if ratios.ndim != 1 or not len(ratios) or not np.isfinite(ratios).all():
        raise InputError(f"trials must be at least one finite Sharpe ratio [m], found {ratios}")
    return Trials(len(ratios), float(ratios.var(ddof=1)) if len(ratios) > 1 else 0.0)


def _returns(values: ArrayLike, axes: int) -> Floats:
    """Return float64 with this number of axes and without infinite numbers."""
    array = np.asarray(values, np.float64)
    if array.ndim != axes or np.isinf(array).any():
        raise InputError(f"returns must be {'[t]' if axes == 1 else '[t m]'} and finite, found shape {array.shape}")
    return array
