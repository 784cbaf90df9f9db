"""How well forecasts order and predict one cross-section after another: pure functions on arrays [t n].

Everywhere a row is a date t, a column a firm n, and NaN an absent firm-date; a firm counts on a date only where both
arrays have it. Infinite numbers are refused. The order of the firms does not matter. No function loops over dates.

A cross-section is *constant*, and what needs variation in it undefined (NaN), where it has fewer than two firms or its
largest and smallest value differ by at most 1e-12 of the larger magnitude: closer than that is floating-point noise.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from finattn.errors import InputError

__all__ = [
    "calibration_sums",
    "constant",
    "demeaned",
    "hit_rate",
    "information_coefficient",
    "mean_over_dates",
    "precision_at_k",
    "quantile_spread",
    "rank_information_coefficient",
    "sign_hit_rate",
    "squared_losses",
    "top_shares",
]

Floats = NDArray[np.float64]

_NOISE = 1e-12


def information_coefficient(score: ArrayLike, realised: ArrayLike) -> Floats:
    """Pearson correlation across firms of score and realised return, date by date.

    Parameters
    ----------
    score, realised : array [t n]
        Forecast score (any unit) and the return that followed it (a fraction); NaN = absent.

    Returns
    -------
    array [t]
        In [-1, 1]; NaN where either cross-section is constant.

    Raises
    ------
    InputError
        The shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> information_coefficient([[1, 2, 3], [1, 1, 1]], [[0.01, 0.02, 0.03], [0.01, 0.02, 0.03]])
    array([ 1., nan])
    """
    score, realised = _paired(score, realised)
    return _correlation(score, realised)


def rank_information_coefficient(score: ArrayLike, realised: ArrayLike) -> Floats:
    """Spearman correlation across firms of score and realised return, date by date; tied firms share their mean rank.

    Parameters
    ----------
    score, realised : array [t n]
        Forecast score (any unit) and the return that followed it (a fraction); NaN = absent.

    Returns
    -------
    array [t]
        In [-1, 1]; NaN where either cross-section is constant.

    Raises
    ------
    InputError
        The shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> rank_information_coefficient([[1, 2, 30]], [[0.01, 0.02, 0.03]])
    array([1.])
    """
    score, realised = _paired(score, realised)
    return _correlation(_ranks(score), _ranks(realised))


def hit_rate(score: ArrayLike, realised: ArrayLike) -> Floats:
    """Share of firms that lie on the same side of the date's median by score as by realised return.

    Medians are over the firms that have both. A firm that lies on either median is left out. 0.5 is chance.

    Parameters
    ----------
    score, realised : array [t n]
        Forecast score (any unit) and the return that followed it (a fraction); NaN = absent.

    Returns
    -------
    array [t]
        In [0, 1]; NaN where either cross-section is constant or no firm is left.

    Raises
    ------
    InputError
        The shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> hit_rate([[1, 2, 3, 4]], [[0.01, 0.04, 0.02, 0.03]])
    array([0.5])
    """
    score, realised = _paired(score, realised)
    sides = _sides(score) * _sides(realised)
    judged = np.count_nonzero(sides, axis=1)
    return _ratio(np.count_nonzero(sides > 0, axis=1), judged)


def squared_losses(prediction: ArrayLike, realised: ArrayLike) -> tuple[Floats, Floats]:
    """Sum of squared errors of the prediction and of the forecast zero, date by date.

    Pooled over dates they give the out-of-sample R2 of Gu, Kelly and Xiu (2020, "Empirical Asset Pricing via Machine
    Learning", eq. 19): 1 - sum (r - rhat)^2 / sum r^2. Its benchmark is zero, not the historical mean.

    Parameters
    ----------
    prediction, realised : array [t n]
        Predicted and realised returns (fractions over the same rows); NaN = absent.

    Returns
    -------
    model, zero : array [t]
        Sums over firms of (r - rhat)^2 and of r^2; NaN on dates without a firm that has both.

    Raises
    ------
    InputError
        The shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> model, zero = squared_losses([[0.5, 0.0]], [[1.0, 2.0]])
    >>> float(1 - model.sum() / zero.sum())
    0.15000000000000002
    """
    prediction, realised = _paired(prediction, realised)
    empty = np.isnan(realised).all(axis=1)
    error = prediction - realised
    losses = [np.nansum(np.square(part, out=part), axis=1) for part in (error, realised)]
    model, zero = (np.where(empty, np.nan, loss) for loss in losses)
    return model, zero


def sign_hit_rate(prediction: ArrayLike, realised: ArrayLike) -> tuple[Floats, Floats]:
    """Share of firms whose predicted and realised return have one sign, and the share that the base rates alone give.

    With p and q the shares of positive predictions and returns, independent signs agree in p q + (1 - p)(1 - q) of the
    firms (Pesaran and Timmermann 1992): where most returns are positive, calling every one positive is right mostly
    and knows nothing. A firm whose prediction or return is exactly zero has no sign and is left out.

    Parameters
    ----------
    prediction, realised : array [t n]
        Predicted and realised returns (fractions over the same rows); NaN = absent.

    Returns
    -------
    rate, expected : array [t]
        In [0, 1]; NaN where no firm is left. Their difference is zero where all predictions have one sign.

    Raises
    ------
    InputError
        The shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> sign_hit_rate([[0.01, 0.02, 0.01, -0.01]], [[0.03, 0.01, -0.02, -0.01]])
    (array([0.75]), array([0.5]))
    """
    prediction, realised = _paired(prediction, realised)
    judged = (prediction != 0) & (realised != 0) & ~np.isnan(realised)
    up, rose = judged & (prediction > 0), judged & (realised > 0)
    count = np.count_nonzero(judged, axis=1)
    p, q = (_ratio(np.count_nonzero(side, axis=1), count) for side in (up, rose))
    return _ratio(np.count_nonzero(judged & (up == rose), axis=1), count), p * q + (1 - p) * (1 - q)


def quantile_spread(score: ArrayLike, realised: ArrayLike, quantiles: int) -> Floats:
    """Mean realised return of the top quantile by score minus that of the bottom one, date by date, equal-weighted.

    Each side holds floor(firms / quantiles) places among the firms that have both; firms that tie at its edge share the
    places that are left, so that this is the return of the weights of `evaluation.quantile_weights`, without costs.

    Parameters
    ----------
    score, realised : array [t n]
        Forecast score (any unit) and the return that followed it (a fraction); NaN = absent.
    quantiles : int
        At least 2.

    Returns
    -------
    array [t]
        Fractions over the target's rows; NaN with fewer firms than `quantiles` or a constant cross-section of scores.

    Raises
    ------
    InputError
        `quantiles` is below 2, the shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> quantile_spread([[1, 2, 3, 4]], [[0.01, 0.02, 0.03, 0.06]], 2).round(3)
    array([0.03])
    """
    if quantiles < 2:
        raise InputError(f"quantiles must be at least 2, found {quantiles}")
    score, realised = _paired(score, realised)
    places = np.count_nonzero(~np.isnan(score), axis=1) // quantiles
    places[constant(score)] = 0
    net = top_shares(score, places) - top_shares(-score, places)
    return _ratio(np.nansum(net * realised, axis=1), places)


def precision_at_k(score: ArrayLike, realised: ArrayLike, k: ArrayLike) -> tuple[Floats, Floats]:
    """Share of the k highest scores that are among the date's k highest returns, and its base rate k / firms.

    The k highest returns, not the positive ones: how many are positive is the market's doing, which a score that ranks
    does not claim to know, and a base rate of k / firms needs no estimate. Ties at the k-th place share the
    places that are left: what breaking ties at random gives on average.

    Parameters
    ----------
    score, realised : array [t n]
        Forecast score (any unit) and the return that followed it (a fraction); NaN = absent.
    k : int or array [t] of int
        At least 0.

    Returns
    -------
    precision, base_rate : array [t]
        In [0, 1]; NaN where k is 0 or exceeds the firms that have both, or either cross-section is constant.

    Raises
    ------
    InputError
        k is no whole number of at least 0, the shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> precision_at_k([[1, 2, 3, 4]], [[0.01, 0.04, 0.02, 0.03]], 2)
    (array([0.5]), array([0.5]))
    """
    score, realised = _paired(score, realised)
    if np.asarray(k).dtype.kind not in "iu" or (np.asarray(k) < 0).any():
        raise InputError(f"k must be a whole number of at least 0, found {k!r}")
    firms = np.count_nonzero(~np.isnan(score), axis=1)
    places = np.where((k > firms) | constant(score) | constant(realised), 0, k)
    shared = np.einsum("tn,tn->t", top_shares(score, places), top_shares(realised, places))
    return _ratio(shared, places), np.where(places > 0, _ratio(places, firms), np.nan)


def calibration_sums(prediction: ArrayLike, realised: ArrayLike) -> tuple[Floats, Floats]:
    """Sum x y and x x over firms, with x and y prediction and return in excess of their mean on the date.

    Summed over dates, the first over the second is the slope of a pooled regression of returns on predictions with an
    intercept for every date: 1 where a predicted difference between firms is the one that follows on average (Mincer
    and Zarnowitz 1969), below 1 where predictions are too far apart, 0 where they say nothing.

    Parameters
    ----------
    prediction, realised : array [t n]
        Predicted and realised returns (fractions over the same rows); NaN = absent.

    Returns
    -------
    cross, square : array [t]
        NaN where the cross-section of predictions is constant.

    Raises
    ------
    InputError
        The shapes differ or are not [t n], or a number is infinite.

    Examples
    --------
    >>> cross, square = calibration_sums([[0.0, 2.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]])
    >>> cross / square
    array([0.5, nan])
    """
    prediction, realised = _paired(prediction, realised)
    undefined = constant(prediction)
    x, y = demeaned(prediction, ~np.isnan(prediction)), np.nan_to_num(realised)  # x sums to zero: so does mean(y) x
    cross, square = (np.where(undefined, np.nan, np.einsum("tn,tn->t", x, other)) for other in (y, x))
    return cross, square


def top_shares(values: Floats, places: NDArray[np.int64]) -> Floats:
    """Share of a place that each firm holds among the `places` highest of its date; firms tied at the edge share alike.

    Parameters
    ----------
    values : array [t n]
        NaN = absent.
    places : array of int [t]
        At most the date's firms.

    Returns
    -------
    array [t n]
        In [0, 1], each date's sum its `places`.

    Examples
    --------
    >>> top_shares(np.array([[1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]]), np.array([2, 0]))
    array([[0. , 0.5, 0.5, 1. ],
           [0. , 0. , 0. , 0. ]])
    """
    if not values.size:
        return np.zeros(values.shape)
    first = np.count_nonzero(~np.isnan(values), axis=1) - places
    edge = np.take_along_axis(np.sort(values, axis=1), np.minimum(first, values.shape[1] - 1)[:, None], axis=1)
    above, tied = values > edge, values == edge
    share = _ratio(places - np.count_nonzero(above, axis=1), np.count_nonzero(tied, axis=1))
    return np.where(tied, share[:, None], above)


def constant(values: ArrayLike) -> NDArray[np.bool_]:
    """Whether each date's cross-section is constant up to floating-point noise, or has fewer than two firms.

    Parameters
    ----------
    values : array [t n]
        NaN = absent.

    Returns
    -------
    array of bool [t]

    Examples
    --------
    >>> constant([[0.1 + 0.2, 0.3], [0.1, 0.3], [0.1, np.nan]])
    array([ True, False,  True])
    """
    low, high = _range(np.asarray(values, np.float64))
    return ~(high - low > _NOISE * np.maximum(np.abs(low), np.abs(high)))


def _paired(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    """Return fresh float64 copies in which a firm-date that either lacks is NaN in both."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise InputError(f"expected two arrays of one shape [t n], found {first.shape} and {second.shape}")
    for array in (first, second):
        if np.isinf(array).any():
            row, column = np.argwhere(np.isinf(array))[0]
            raise InputError(f"expected finite numbers or NaN, found {array[row, column]} at [{row}, {column}]")
    absent = np.isnan(first) | np.isnan(second)
    return np.where(absent, np.nan, first), np.where(absent, np.nan, second)


def _range(values: Floats) -> tuple[Floats, Floats]:
    """Return each date's smallest and largest value; NaN without firms."""
    return (
        np.fmin.reduce(values, axis=1, initial=np.nan),
        np.fmax.reduce(values, axis=1, initial=np.nan),
    )


def _correlation(first: Floats, second: Floats) -> Floats:
    """Pearson correlation per date [t]; both arrays are absent at the same firms, or wholly on constant dates."""
    first, second = _normalised(first), _normalised(second)
    first *= second
    undefined = np.isnan(first).all(axis=1)
    return np.where(undefined, np.nan, np.clip(np.nansum(first, axis=1), -1.0, 1.0))


def _normalised(values: Floats) -> Floats:
    """Centre each date and scale it to unit length; NaN where constant.

    The smallest value is taken off first: exact for values that lie close together, so that no digit is lost to a
    common level, and dividing by the range keeps squares from over- or underflowing.
    """
    low, high = _range(values)
    spread = np.where(constant(values), np.nan, high - low)
    unit = values - low[:, None]
    unit /= spread[:, None]
    unit -= _ratio(np.nansum(unit, axis=1), np.count_nonzero(~np.isnan(unit), axis=1))[:, None]
    unit /= np.sqrt(np.nansum(unit * unit, axis=1))[:, None] if unit.size else 1.0
    return unit


def _ranks(values: Floats) -> Floats:
    """Average ranks 1..n among each date's firms; NaN where absent or constant."""
    absent = np.isnan(values)
    ranks = rankdata(np.where(absent, np.inf, values), axis=1) if values.size else values.copy()
    ranks[absent | constant(values)[:, None]] = np.nan
    return ranks


def _sides(values: Floats) -> NDArray[np.int8]:
    """Return 1 above, -1 below and 0 on the date's median; 0 where absent or constant."""
    signs = np.sign(values - _median(values)[:, None])
    signs[constant(values)] = 0.0
    return np.nan_to_num(signs, copy=False).astype(np.int8)


def _median(values: Floats) -> Floats:
    """Median over each date's firms (numpy's nanmedian loops over dates); NaN without firms."""
    if not values.size:
        return np.full(len(values), np.nan)
    ordered = np.sort(values, axis=1)
    count = np.count_nonzero(~np.isnan(values), axis=1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)], axis=1)
    return np.take_along_axis(ordered, middle, axis=1).mean(axis=1)


def _ratio(numerator: NDArray, denominator: NDArray) -> Floats:
    """Divide; NaN where the denominator is zero."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator != 0)


def mean_over_dates(per_date: NDArray[np.float64]) -> float:
    """Average a metric (t,) over the dates on which it is defined; 0 where there is none, which is no skill.

    Examples
    --------
    >>> mean_over_dates(np.array([0.1, np.nan, 0.3]))
    0.2
    """
    return float(np.nanmean(per_date)) if (~np.isnan(per_date)).any() else 0.0


def demeaned(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Take each date's mean over the known firms off values [t n]; 0 elsewhere.

    Examples
    --------
    >>> demeaned(np.array([[1.0, 3.0, 9.0]]), np.array([[True, True, False]])).tolist()
    [[-1.0, 1.0, 0.0]]
    """
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count
    return np.where(known, values - mean, 0.0)
