"""Scores to the weights of a portfolio: by quantile, by rank or the best k, equal- or value-weighted, date by date."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from finattn.config.require import require
from finattn.errors import InputError
from finattn.forecasts import Forecasts, Wide
from finattn.metrics import constant, top_shares
from finattn.panel import Panel

__all__ = [
    "DEFAULT", "Scheme", "level_of", "one_model", "places", "positions", "quantile_weights", "rank_weights",
    "target_weights", "top_weights",
]  # fmt: skip

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Scheme:
    """How scores become a portfolio, and what it costs to trade and to hold.

    Parameters
    ----------
    kind : "quantile" is long the top and short the bottom one of `quantiles`, "rank" holds every firm by its rank from
        the middle, "top_k" is long the `k` highest scores and short nothing.
    quantiles, k : of the kinds that are called so.
    weighting : "equal", or "value" by the market capitalisation at the decision date: a firm without one is not held.
    cost : of trading one unit of value, one way, a fraction (0.001 is ten basis points).
    short_fee : a year, a fraction of the value held short; it is paid row by row.
    participation : largest share of a firm's dollar volume (mean of the last 21 rows up to the decision) that may be
        traded on a day; what a trade has beyond is cut. None: no limit.
    book : dollars in the book at every trade, which `participation` needs: gains are taken out, losses are filled up.

    Raises
    ------
    InputError
        Naming the setting that is none.

    Examples
    --------
    >>> Scheme("top_k", k=50, weighting="value", participation=0.05, book=1e8).kind
    'top_k'
    """

    kind: Literal["quantile", "rank", "top_k"] = "quantile"
    quantiles: int = 5
    k: int = 50
    weighting: Literal["equal", "value"] = "equal"
    cost: float = 0.001
    short_fee: float = 0.0
    participation: float | None = None
    book: float | None = None

    def __post_init__(self) -> None:
        """Refuse kinds that there are not and numbers that make no portfolio."""
        require("kind", self.kind, self.kind in _KINDS, f"one of {', '.join(_KINDS)}")
        require("weighting", self.weighting, self.weighting in ("equal", "value"), "equal or value")
        require("quantiles", self.quantiles, self.quantiles >= 2, "at least 2")
        require("k", self.k, self.k >= 1, "at least 1")
        for name in ("cost", "short_fee"):
            require(name, getattr(self, name), 0 <= getattr(self, name) < math.inf, "at least 0 and finite")
        given = self.participation is not None and self.book is not None
        require(
            "participation", self.participation, given or self.participation is self.book, "given together with book"
        )
        for name in ("participation", "book") if given else ():
            require(name, getattr(self, name), 0 < getattr(self, name) < math.inf, "above 0 and finite")

    def weights(self, score: ArrayLike, value: ArrayLike | None = None) -> Floats:
        """Return the weights [t n] of scores [t n]; `value` [t n] is used where weighting is "value".

        Examples
        --------
        >>> Scheme("top_k", k=2, weighting="value").weights([[3, 2, 1]], [[30, 10, 70]])
        array([[0.75, 0.25, 0.  ]])
        """
        return _KINDS[self.kind](score, value if self.weighting == "value" else None, self)


def quantile_weights(score: ArrayLike, quantiles: int, value: ArrayLike | None = None) -> Floats:
    """Weights of a portfolio long the top and short the bottom quantile, date by date.

    Each side holds k = floor(firms / quantiles) places, of weight 1/k or in proportion to `value`. Firms that tie at
    the edge of a side share the places that are left equally, so the order of firms never decides; a firm that ties at
    both edges holds the difference. With fewer firms than `quantiles`, or a constant cross-section, there is no
    position.

    Parameters
    ----------
    score : array [t n]
        NaN = absent.
    quantiles : int
        At least 2.
    value : array [t n], optional
        A firm without a positive one is absent.

    Returns
    -------
    array [t n]
        Long weights sum to at most 1, short ones to at least -1, all to 0.

    Raises
    ------
    InputError
        `quantiles` is below 2.

    Examples
    --------
    >>> quantile_weights([[1, 2, 3, 4], [1, 2, 4, 4]], 4)
    array([[-1. ,  0. ,  0. ,  1. ],
           [-1. ,  0. ,  0.5,  0.5]])
    """
    require("quantiles", quantiles, quantiles >= 2, "at least 2")
    score, value = _valued(score, value)
    places = np.count_nonzero(~np.isnan(score), axis=1) // quantiles
    places[constant(score)] = 0
    return _side(top_shares(score, places), places, value) - _side(top_shares(-score, places), places, value)


def rank_weights(score: ArrayLike, value: ArrayLike | None = None) -> Floats:
    """Weights in proportion to a firm's rank minus the middle rank (Asness, Moskowitz and Pedersen 2013), date by date.

    With `value`, in proportion to that times the value. Tied firms share their mean rank. In a constant cross-section
    there is no position.

    Parameters
    ----------
    score : array [t n]
        NaN = absent.
    value : array [t n], optional
        A firm without a positive one is absent.

    Returns
    -------
    array [t n]
        Long weights sum to 1 and short ones to -1, or all are 0.

    Examples
    --------
    >>> rank_weights([[1, 7, 20, float("nan")]])
    array([[-1.,  0.,  1.,  0.]])
    """
    score, value = _valued(score, value)
    absent = np.isnan(score)
    ranks = rankdata(np.where(absent, np.inf, score), axis=1)
    middle = (np.count_nonzero(~absent, axis=1)[:, None] + 1) / 2
    centred = np.where(absent | constant(score)[:, None], 0.0, ranks - middle)
    sides = (np.maximum(sign * centred, 0.0) for sign in (1, -1))
    long, short = (_side(side, side.sum(axis=1), value) for side in sides)
    return long - short


def top_weights(score: ArrayLike, k: int, value: ArrayLike | None = None) -> Floats:
    """Weights of a portfolio that holds the k highest scores and is short nothing, date by date.

    Firms that tie at the k-th place share the places that are left. With fewer firms than k, or a constant
    cross-section, nothing is held.

    Parameters
    ----------
    score : array [t n]
        NaN = absent.
    k : int
        At least 1.
    value : array [t n], optional
        A firm without a positive one is absent.

    Returns
    -------
    array [t n]
        At least 0, with the sum 1 or 0.

    Raises
    ------
    InputError
        `k` is below 1.

    Examples
    --------
    >>> top_weights([[1, 2, 3, 4]], 2)
    array([[0. , 0. , 0.5, 0.5]])
    """
    require("k", k, k >= 1, "at least 1")
    score, value = _valued(score, value)
    places = np.where((np.count_nonzero(~np.isnan(score), axis=1) < k) | constant(score), 0, k)
    return _side(top_shares(score, places), places, value)


_KINDS: dict[str, Callable[[ArrayLike, ArrayLike | None, Scheme], Floats]] = {
    "quantile": lambda score, value, scheme: quantile_weights(score, scheme.quantiles, value),
    "rank": lambda score, value, scheme: rank_weights(score, value),
    "top_k": lambda score, value, scheme: top_weights(score, scheme.k, value),
}
DEFAULT = Scheme()


def target_weights(
    forecasts: Forecasts,
    panel: Panel,
    model: str | None = None,
    scheme: Scheme = DEFAULT,
    allowed: NDArray[np.bool_] | None = None,
) -> Floats:
    """Weights that a model's scores (seeds averaged) ask for at the decision dates, before they are cut into tranches.

    Parameters
    ----------
    forecasts, panel : the panel holds the forecasts' dates and firms.
    model : may be left out where there is only one.
    scheme : kind and weighting are used.
    allowed : array of bool [t n], optional
        On the axes of `forecasts.wide`: firms that may be held; the others are absent.

    Returns
    -------
    array [t n]
        On the axes of `forecasts.wide`.

    Raises
    ------
    InputError
        A date or firm is not in the panel, it has no market capitalisation to weight by, or `allowed` is of another
        shape.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = Panel(["2020-01-02"], ["A", "B"], [[0.0, 0.0]])
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[0, 0]].astype("M8[s]"), "firm": panel.firms.astype(object), "model": "ridge",
    ...     "fold": 0, "seed": 0, "score": [1.0, 2.0], "prediction": 0.0, "realised": [0.0, 0.0]})
    >>> target_weights(Forecasts(table, 1, 0, 0, 252), panel, scheme=Scheme("rank"))
    array([[-1.,  1.]])
    """
    wide = forecasts.wide(one_model(forecasts, model))
    rows, columns = places(wide, panel)
    value = level_of(panel, "market_cap", "value weights")[rows][:, columns] if scheme.weighting == "value" else None
    if allowed is not None and allowed.shape != wide.score.shape:
        raise InputError(f"allowed must have the forecasts' shape {wide.score.shape}, found {allowed.shape}")
    return scheme.weights(wide.score if allowed is None else np.where(allowed, wide.score, np.nan), value)


def level_of(panel: Panel, name: str, what: str) -> Floats:
    """Return an optional level (t, n) of the panel that something needs.

    Examples
    --------
    >>> level_of(Panel(["2020-01-02"], ["A"], [[0.0]]), "market_cap", "value weights")
    Traceback (most recent call last):
    finattn.errors.InputError: value weights need panel.market_cap, found a panel without it
    """
    level = getattr(panel, name)
    if level is None:
        raise InputError(f"{what} need panel.{name}, found a panel without it")
    return level


def one_model(forecasts: Forecasts, model: str | None) -> str:
    """Return a model's name, which need not be given where there is only one.

    Parameters
    ----------
    forecasts : Forecasts
    model : given names are returned as they are, of the forecasts or not.

    Returns
    -------
    str

    Raises
    ------
    InputError
        None is given and there are several.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation.weights import one_model
    >>> panel, splits = fa.sample()["2019":"2020"], fa.WalkForward("2020-07-01", valid="6M")
    >>> one_model(fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits), None)
    'mean'
    >>> one_model(fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "zero": fa.Zero()}, splits), None)
    Traceback (most recent call last):
    finattn.errors.InputError: model must be given, found forecasts of mean, zero
    """
    if model is None and len(forecasts.models) > 1:
        raise InputError(f"model must be given, found forecasts of {', '.join(forecasts.models)}")
    return forecasts.models[0] if model is None else model


def places(wide: Wide, panel: Panel) -> tuple[Positions, Positions]:
    """Return the panel's rows of the forecasts' dates and columns of their firms.

    Parameters
    ----------
    wide : Wide
        Of any model: all have the same axes.
    panel : Panel

    Returns
    -------
    rows, columns : arrays of int [t] and [n]

    Raises
    ------
    InputError
        A date or firm of the forecasts is not in the panel.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation.weights import places
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> rows, columns = places(forecasts.wide("mean"), panel)
    >>> len(rows), panel.dates[rows[0]].item().isoformat(), panel.firms[columns[:3]].tolist()
    (52, '2020-01-03', ['AAPL', 'AMD', 'BAC'])
    """
    return positions(wide.dates, panel.dates, "date"), positions(wide.firms, panel.firms, "firm")


def positions(wanted: NDArray, known: NDArray, what: str) -> Positions:
    """Find labels among the panel's.

    Examples
    --------
    >>> positions(np.array(["B"]), np.array(["A", "B"]), "firm")
    array([1])
    """
    order = np.argsort(known)
    found = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    places = order[found]
    absent = known[places] != wanted
    if absent.any():
        first, count = wanted[absent][0], absent.sum()
        raise InputError(f"expected every {what} of the forecasts in the panel, found {count} that are not: {first}")
    return places


def _valued(score: ArrayLike, value: ArrayLike | None) -> tuple[Floats, Floats | None]:
    """Return both as floats, without the scores of firms that have no positive value."""
    score = np.asarray(score, np.float64)
    if value is None:
        return score, None
    value = np.asarray(value, np.float64)
    return np.where(value > 0, score, np.nan), value


def _side(shares: Floats, total: NDArray, value: Floats | None) -> Floats:
    """Scale the shares [t n] of one side, each date's sum `total`, to weights with the sum 1, or 0 without any."""
    if value is not None:
        shares = np.where(shares > 0, shares * value, 0.0)
        total = shares.sum(axis=1)
    held = (total > 0)[:, None]
    return np.divide(shares, total[:, None], out=np.zeros(shares.shape), where=held)
