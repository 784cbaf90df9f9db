"""Tests between forecasts from their losses at each decision date, and what seeds and dates each add to the error.

Everywhere a row is a decision date t in order, a column a model m, and a loss may be in any unit (lower is better).
Dates on which anything is undefined (NaN) are dropped and counted; those around them then count as neighbours. Losses
that differ by at most 1e-12 of the larger are equal: closer than that is floating-point noise.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from finattn.errors import InputError
from finattn.evaluation.inference import mean_block, mean_inference, one_sided, resamples
from finattn.metrics import constant

__all__ = [
    "ClarkWest",
    "DieboldMariano",
    "Interval",
    "SeedVariance",
    "bootstrap_mean",
    "clark_west",
    "diebold_mariano",
    "seed_variance",
]

Floats = NDArray[np.float64]

_NOISE = 1e-12
RESAMPLES = 1000
_SIZE = 0.05


class DieboldMariano(NamedTuple):
    """Test that two forecasts lose the same on average; NaN where nothing varies or too few dates are left.

    Examples
    --------
    >>> from finattn.evaluation import diebold_mariano
    >>> found = diebold_mariano([1, 3, 1, 3, 1, 3], [2, 1, 2, 1, 2, 1], overlap=1)
    >>> found.mean_difference, round(found.p_value, 3), found.kernel
    (0.5, 0.196, 'bartlett')
    """

    statistic: float
    p_value: float
    """Two-sided."""
    mean_difference: float
    """First minus second: positive where the second is better."""
    dates: int
    undefined: int
    kernel: str
    """rectangular, or bartlett where the rectangular kernel gave no positive variance."""


class ClarkWest(NamedTuple):
    """Test that the larger of two nested models is no better in the population; NaN where the forecasts are equal.

    Examples
    --------
    >>> from finattn.evaluation import clark_west
    >>> signal, noise = np.random.default_rng(0).standard_normal((2, 250))
    >>> found = clark_west(0.2 * signal + noise, np.zeros(250), 0.2 * signal, overlap=0)
    >>> round(found.mean_difference, 3), round(found.standard_error, 3), round(found.p_value, 3)
    (0.059, 0.023, 0.006)
    """

    statistic: float
    p_value: float
    """One-sided: small where the unrestricted model is better."""
    mean_difference: float
    """Of the squared errors, restricted minus unrestricted, adjusted."""
    standard_error: float
    dates: int
    undefined: int


class Interval(NamedTuple):
    """A mean over dates with its bootstrap error; NaN for fewer than two blocks and where nothing varies.

    Examples
    --------
    >>> from finattn.evaluation import bootstrap_mean
    >>> found = bootstrap_mean(np.arange(101) % 7 / 100, overlap=4)
    >>> f"{found.estimate:.3f} ({found.lower:.3f} to {found.upper:.3f}), blocks of {found.block} dates"
    '0.029 (0.026 to 0.032), blocks of 5 dates'
    """

    estimate: float
    standard_error: float
    """Standard deviation of the resampled means."""
    lower: float
    upper: float
    """Ends of the 95% percentile interval."""
    block: int
    dates: int
    undefined: int


class SeedVariance(NamedTuple):
    """A mean over seeds and dates whose error is split by where it comes from.

    Examples
    --------
    >>> from finattn.evaluation import seed_variance
    >>> found = seed_variance([[0.02, 0.06, 0.01, 0.05], [0.04, 0.05, 0.02, 0.07]], overlap=0)
    >>> round(found.sampling_error, 4), round(found.seed_error, 4), round(found.standard_error, 4)
    (0.0052, 0.005, 0.0072)
    """

    estimate: float
    sampling_error: float
    """Standard error over dates, of the mean over seeds (Newey-West)."""
    seed_deviation: float
    """Standard deviation between the means of single seeds: by how much another run would differ."""
    seed_error: float
    """Standard error that the choice of seeds leaves in the mean over seeds."""
    standard_error: float
    """Of both together."""
    seeds: int
    dates: int
    undefined: int


def diebold_mariano(losses_first: ArrayLike, losses_second: ArrayLike, overlap: int) -> DieboldMariano:
    """Test equal accuracy (Diebold and Mariano 1995) with the small-sample correction of Harvey et al. (1997).

    With d = first - second, h = overlap + 1 and gamma_j the j-th autocovariance of d (divided by T), the statistic is
    mean d / sqrt((gamma_0 + 2 sum_{j<h} gamma_j) / T) times sqrt((T + 1 - 2h + h(h - 1) / T) / T), against Student's t
    with T - 1 degrees of freedom. The rectangular kernel may give a variance that is not positive: then the weights
    1 - j/h (Bartlett) replace it, which cannot, and `kernel` says so. (R's `forecast::dm.test` goes back to h = 1
    there, which forgets the overlap.) Measured on equal forecasts at a nominal 5%: 4.7% at T = 250 and overlap 0, 6.5%
    at 250 and 4, 7.3% at 250 and 20, 20% at 60 and 20.

    Parameters
    ----------
    losses_first, losses_second : array [t]
    overlap : int
        Later decision dates whose target overlaps that of a date.

    Returns
    -------
    DieboldMariano

    Raises
    ------
    InputError
        The losses are not two series of one length, or one is infinite.

    Examples
    --------
    >>> found = diebold_mariano([0, 1, 4, 9, 16, 25], [0, 4, 9, 9, 25, 36], overlap=0)
    >>> round(found.statistic, 4), round(found.p_value, 4), found.mean_difference
    (-2.4905, 0.0551, -4.666666666666667)
    """
    first, second = (as_losses(losses, "t") for losses in (losses_first, losses_second))
    if first.shape != second.shape:
        raise InputError(f"losses must be two series of one length [t], found {first.shape} and {second.shape}")
    gap = difference(first, second)
    d = gap[~np.isnan(gap)]
    count, steps, undefined = len(d), overlap + 1, int(np.isnan(gap).sum())
    mean = float(d.mean()) if count else math.nan
    if count <= max(steps, 2) or constant(d[None])[0]:
        return DieboldMariano(math.nan, math.nan, mean, count, undefined, "rectangular")
    e = d - mean
    twice = 2 * np.array([e[j:] @ e[: count - j] for j in range(steps)]) / count
    twice[0] /= 2
    kernel, variance = "rectangular", twice.sum()
    if variance <= _NOISE * twice[0]:
        kernel, variance = "bartlett", twice @ (1 - np.arange(steps) / steps)
    correction = (count + 1 - 2 * steps + steps * (steps - 1) / count) / count
    statistic = mean / math.sqrt(variance / count) * math.sqrt(correction)
    p_value = 2 * float(stats.t.sf(abs(statistic), count - 1))
    return DieboldMariano(statistic, p_value, mean, count, undefined, kernel)


def clark_west(realised: ArrayLike, restricted: ArrayLike, unrestricted: ArrayLike, overlap: int) -> ClarkWest:
    """Compare the squared errors of two nested models (Clark and West 2007), adjusted for the larger one's noise.

    f_t is the mean over firms of (r - r0)^2 - [(r - r1)^2 - (r0 - r1)^2] = 2 (r - r0)(r1 - r0), with r0 the restricted
    and r1 the unrestricted forecast: under the null the larger model's extra parameters are noise, which costs it
    (r0 - r1)^2. The statistic is the mean of f over its Newey-West error (`mean_inference`), its p-value one-sided from
    Student's t with T - 1 degrees of freedom. Only for models of which one is a special case of the other, and for
    forecasts in the unit of returns.

    Parameters
    ----------
    realised, restricted, unrestricted : array [t n] or [t]
        Returns and their two forecasts (fractions); NaN = absent. A firm counts on a date only where all three have it.
    overlap : int
        Later decision dates whose target overlaps that of a date.

    Returns
    -------
    ClarkWest

    Raises
    ------
    InputError
        The arrays do not have one shape [t n] or [t], or a number is infinite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.standard_normal((100, 20))
    >>> realised = 0.2 * signal + rng.standard_normal((100, 20))
    >>> found = clark_west(realised, np.zeros((100, 20)), 0.2 * signal, overlap=0)
    >>> found.p_value < 0.01, found.dates
    (True, 100)
    """
    arrays = [np.asarray(values, np.float64) for values in (realised, restricted, unrestricted)]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim not in (1, 2) or any(np.isinf(array).any() for array in arrays):
        raise InputError(f"returns and forecasts must be finite and of one shape [t n] or [t], found {sorted(shapes)}")
    outcome, small, large = (array if array.ndim == 2 else array[:, None] for array in arrays)
    gain = 2 * (outcome - small) * difference(large, small)
    known = ~np.isnan(gain)
    firms = known.sum(axis=1)
    f = np.where(known, gain, 0.0).sum(axis=1) / np.where(firms, firms, np.nan)
    found = mean_inference(f, overlap)
    return ClarkWest(found.t, one_sided(found), found.estimate, found.standard_error, found.dates, found.undefined)


def bootstrap_mean(series: ArrayLike, overlap: int, kind: str = "stationary", seed: int = 0) -> Interval:
    """Bound a mean over dates by 1000 resamples of blocks of `mean_block` dates.

    Parameters
    ----------
    series : array [t]
        NaN = undefined: dropped and counted.
    overlap : int
        Later decision dates whose target overlaps that of a date.
    kind : str
        stationary (Politis and Romano 1994: blocks of random length, on a circle) or moving (Künsch 1989: blocks of one
        length, so that the ends of the sample weigh less).
    seed : int

    Returns
    -------
    Interval

    Raises
    ------
    InputError
        An unknown kind, or a series that is not one-dimensional or holds an infinite number.

    Examples
    --------
    >>> series = np.random.default_rng(0).standard_normal(500)
    >>> [round(bootstrap_mean(series, 4, kind).standard_error, 3) for kind in ("stationary", "moving")]
    [0.041, 0.043]
    """
    if kind not in ("stationary", "moving"):
        raise InputError(f"kind must be stationary or moving, found {kind!r}")
    values = as_losses(series, "t")
    defined = values[~np.isnan(values)]
    count, undefined = len(defined), len(values) - len(defined)
    block, nan = mean_block(count, overlap), math.nan
    mean = float(defined.mean()) if count else nan
    if count < 2 * block or constant(defined[None])[0]:
        return Interval(mean, nan, nan, nan, block, count, undefined)
    means = defined[resamples(count, block, seed, kind)].mean(axis=1)
    lower, upper = np.quantile(means, [0.025, 0.975])
    return Interval(mean, float(means.std()), float(lower), float(upper), block, count, undefined)


def seed_variance(values: ArrayLike, overlap: int) -> SeedVariance:
    """Split the error of a model's mean metric into what dates and what seeds bring.

    With x_st = mu + a_s + e_t + u_st (a seed's own level, the luck of a date, their interaction):

    - sampling_error: the Newey-West error over t of mean_s x_st (`mean_inference`);
    - seed_deviation: sqrt(sum_s (mean_t x_st - mean x)^2 / (S - 1)), and seed_error = seed_deviation / sqrt(S);
    - standard_error: sqrt(sampling_error^2 + seed_error^2). Both parts hold the interaction's share var(u) / (S T), so
      that the sum counts it twice: it errs on the careful side, by little where dates are many.

    The metric is that of single seeds, averaged: not the metric of a forecast that averages over seeds.

    Parameters
    ----------
    values : array [s t]
        A metric per seed and decision date; a date that any seed lacks is dropped and counted.
    overlap : int
        Later decision dates whose target overlaps that of a date.

    Returns
    -------
    SeedVariance
        With NaN for what seeds bring, and for the sum, where there is one seed only: it cannot be seen.

    Raises
    ------
    InputError
        The values are not [s t] with at least one seed, or one is infinite.

    Examples
    --------
    >>> found = seed_variance([[0.1, 0.3, 0.2, 0.2], [0.2, 0.4, 0.3, 0.3]], overlap=0)
    >>> round(found.estimate, 2), round(found.seed_deviation, 4), round(found.seed_error, 4)
    (0.25, 0.0707, 0.05)
    """
    metric = as_losses(values, "s t")
    seeds = len(metric)
    if not seeds:
        raise InputError(f"values must hold at least one seed [s t], found shape {metric.shape}")
    found = mean_inference(metric.mean(axis=0), overlap)
    levels = metric[:, ~np.isnan(metric).any(axis=0)].mean(axis=1) if found.dates else np.full(seeds, np.nan)
    deviation = float(levels.std(ddof=1)) if seeds > 1 else math.nan
    error = deviation / math.sqrt(seeds)
    return SeedVariance(
        found.estimate, found.standard_error, deviation, error, math.hypot(found.standard_error, error),
        seeds, found.dates, found.undefined,
    )  # fmt: skip


def as_losses(values: ArrayLike, axes: str) -> Floats:
    """Return float64 with these axes and without infinite numbers."""
    array = np.asarray(values, np.float64)
    if array.ndim != len(axes.split()) or np.isinf(array).any():
        raise InputError(f"expected an array [{axes}] without infinite numbers, found shape {array.shape}")
    return array


def difference(first: Floats, second: Floats) -> Floats:
    """First minus second; 0 where they differ by floating-point noise."""
    difference = first - second
    noise = np.abs(difference) <= _NOISE * np.maximum(np.abs(first), np.abs(second))
    return np.where(noise, 0.0, difference)


def complete(values: Floats, overlap: int) -> tuple[Floats, int, int]:
    """Return the dates on which all columns are defined, their mean block, and how many dates were dropped."""
    defined = values[~np.isnan(values).any(axis=1)]
    block = mean_block(len(defined), overlap)
    if len(defined) < 2 * block:
        raise InputError(
            f"expected at least two blocks of {block} dates with all losses defined, found {len(defined)} dates of "
            f"{len(values)}"
        )
    return defined, block, len(values) - len(defined)
