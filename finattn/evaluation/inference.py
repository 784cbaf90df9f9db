"""How sure one may be of an average over dates whose targets overlap."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from arch.bootstrap import MovingBlockBootstrap, StationaryBootstrap
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.regression.linear_model import OLS

from finattn.errors import InputError
from finattn.metrics import constant

__all__ = ["Estimate", "hac_lag", "holm", "mean_block", "mean_inference"]

_LEVEL = 0.95
_RESAMPLES = 1000
_BOOTSTRAPS = {"stationary": StationaryBootstrap, "moving": MovingBlockBootstrap}


class Estimate(NamedTuple):
    """A mean over dates with two accounts of its error; what cannot be computed is NaN.

    Examples
    --------
    >>> from finattn.evaluation import mean_inference
    >>> found = mean_inference([0.02, 0.05, -0.01, 0.03, 0.01, 0.04], overlap=0)
    >>> f"{found.estimate:.3f} ± {found.standard_error:.3f} (95%: {found.lower:.3f} to {found.upper:.3f})"
    '0.023 ± 0.005 (95%: 0.009 to 0.037)'
    """

    estimate: float
    standard_error: float
    """Newey-West."""
    t: float
    p_value: float
    """Two-sided, against zero."""
    lower: float
    upper: float
    """Ends of the 95% interval from the standard error."""
    bootstrap_lower: float
    bootstrap_upper: float
    """Ends of the 95% percentile interval of the stationary block bootstrap."""
    dates: int
    """Dates that entered."""
    undefined: int
    """Dates on which the quantity was undefined."""


def hac_lag(dates: int, overlap: int) -> int:
    """Lag of the Newey-West estimator: max(2 overlap, floor(4 (T / 100)^(2/9))).

    The second is the rule of Newey and West (1994) for the Bartlett kernel; the first covers twice the moving average
    that overlapping targets induce. With long overlap tests reject too often: measured on independent data at a nominal
    5%, two-sided, 5.7% at T = 1150 and overlap 1, 8.8% at 250 and 4, 14% at 250 and 20, 43% at 60 and 20.

    Parameters
    ----------
    dates : int
        T, number of decision dates.
    overlap : int
        Later decision dates whose target overlaps that of a date.

    Returns
    -------
    int
        In decision dates.

    Examples
    --------
    >>> hac_lag(100, 0), hac_lag(100, 20)
    (4, 40)
    """
    return max(2 * overlap, math.floor(4 * (dates / 100) ** (2 / 9)))


def mean_block(dates: int, overlap: int) -> int:
    """Mean block of the bootstrap, in decision dates: max(overlap + 1, ceil(T^(1/3))).

    T^(1/3) is the rate at which the best block grows (Politis and White 2004); a block shorter than overlap + 1 would
    tear apart targets that share days.

    Parameters
    ----------
    dates, overlap : see `hac_lag`.

    Returns
    -------
    int

    Examples
    --------
    >>> mean_block(1000, 0), mean_block(1000, 20)
    (10, 21)
    """
    return max(overlap + 1, math.ceil(round(dates ** (1 / 3), 9)))


def mean_inference(series: ArrayLike, overlap: int, seed: int = 0) -> Estimate:
    """Mean of a series over dates, with HAC and block-bootstrap errors.

    HAC: ordinary least squares on a constant, Bartlett kernel (Newey and West 1987) with `hac_lag` (at most T - 1)
    lags, covariance times the small-sample correction T / (T - 1), and Student's t with T - 1 degrees of freedom for
    the p-value and the interval. Bootstrap: 1000 stationary resamples (Politis and Romano 1994) with `mean_block`.

    Parameters
    ----------
    series : array [t]
        One number per decision date in order; NaN = undefined: dropped and counted.
    overlap : int
        Later decision dates whose target overlaps that of a date.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Estimate
        With NaN errors for fewer than three defined dates and for a series that does not vary.

    Raises
    ------
    InputError
        The series is not one-dimensional or holds an infinite number.

    Examples
    --------
    >>> found = mean_inference([0.1, 0.3, 0.2, float("nan"), 0.2], overlap=0)
    >>> round(found.estimate, 3), found.dates, found.undefined
    (0.2, 4, 1)
    """
    values = np.asarray(series, np.float64)
    if values.ndim != 1 or np.isinf(values).any():
        raise InputError(f"expected a series [t] without infinite numbers, found shape {values.shape}: {values}")
    defined = values[~np.isnan(values)]
    count, undefined = len(defined), len(values) - len(defined)
    if count < 3 or constant(defined[None])[0]:
        nan = math.nan
        mean = float(defined.mean()) if count else nan
        return Estimate(mean, nan, nan, nan, nan, nan, nan, nan, count, undefined)
    error, t, p, lower, upper = _hac(defined, overlap)
    low, high = _bootstrap(defined, overlap, seed)
    return Estimate(float(defined.mean()), error, t, p, lower, upper, low, high, count, undefined)


def _hac(values: NDArray[np.float64], overlap: int) -> tuple[float, float, float, float, float]:
    """Return standard error, t, p and the ends of the interval."""
    lag = min(hac_lag(len(values), overlap), len(values) - 1)
    settings = {"maxlags": lag, "use_correction": True}
    fit = OLS(values, np.ones(len(values))).fit(cov_type="HAC", cov_kwds=settings, use_t=True)
    lower, upper = fit.conf_int(1 - _LEVEL)[0]
    return float(fit.bse[0]), float(fit.tvalues[0]), float(fit.pvalues[0]), float(lower), float(upper)


def _bootstrap(values: NDArray[np.float64], overlap: int, seed: int) -> tuple[float, float]:
    """Return the ends of the percentile interval."""
    means = values[resamples(len(values), mean_block(len(values), overlap), seed)].mean(axis=1)
    tail = (1 - _LEVEL) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(lower), float(upper)


@lru_cache(maxsize=2)
def resamples(count: int, block: int, seed: int, kind: str = "stationary") -> NDArray[np.int32]:
    """Positions [resample t]: drawn once for all series of one length, so that models share their resamples."""
    resampling = _BOOTSTRAPS[kind](block, np.arange(count, dtype=np.int32), seed=seed)
    return np.stack([sample for (sample,), _ in resampling.bootstrap(_RESAMPLES)])


def one_sided(estimate: Estimate) -> float:
    """P-value of the null that the mean is at most zero: P(t_{T-1} > t)."""
    return float(stats.t.sf(estimate.t, estimate.dates - 1)) if estimate.dates > 1 else math.nan


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's (1979) step-down adjustment: the chance of one false rejection or more in the family stays at the level.

    Parameters
    ----------
    p_values : array [k]
        NaN = no test: stays NaN and does not count.

    Returns
    -------
    array [k]

    Raises
    ------
    InputError
        A p-value lies outside [0, 1].

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, np.float64)
    if ((p < 0) | (p > 1)).any():
        raise InputError(f"expected p-values between 0 and 1, found {p}")
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
