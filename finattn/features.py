"""Characteristics that use the past only, ranked across firms at each date.

A characteristic at row t is computed from rows up to t. Windows are counted in months of 21 rows of daily data; a firm
needs two thirds of a window's returns, and a gap is left out, never filled. A rank across fewer than two firms is 0.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from finattn.errors import InputError
from finattn.panel import Panel

MONTH = 21
YEAR = 252
_SHARE = 2 / 3


def build(panel: Panel, names: Sequence[str]) -> Panel:
    """Return the panel with features `names` ranked across firms; features that are not named stay as they are.

    A name that the panel has is ranked in its place, whatever its unit and the length of a period: assets in dollars
    become a firm's place by size. Any other is a characteristic, built and put after those there are.

    Parameters
    ----------
    panel : daily where characteristics are built.
    names : among the panel's features and `CHARACTERISTICS`, each once; the panel's own go first.

    Returns
    -------
    Panel whose named features are ranks in [-1, 1] across the observed firms of each date (listed, with a return), NaN
    where missing.

    Raises
    ------
    InputError
        For an unknown or repeated name, and for characteristics of a panel that is not daily.

    Examples
    --------
    >>> returns, assets = [[0.1, 0.2, 0.0]], [[[5e9], [2e6], [3e7]]]
    >>> panel = Panel(["2020-01-02"], ["A", "B", "C"], returns, features=assets, feature_names=("assets",))
    >>> build(panel, ["assets"]).features[0].ravel().tolist()
    [1.0, -1.0, 0.0]
    >>> build(panel, ["maximum_return", "assets"]).feature_names
    ('assets', 'maximum_return')
    """
    if isinstance(names, str):
        raise InputError(f"features must be a list of names, found the text {names!r}")
    if repeated := sorted({name for name in names if list(names).count(name) > 1}):
        raise InputError(f"features must be named once, found {', '.join(repeated)} again")
    own = [name for name in names if name in panel.feature_names]
    new = [name for name in names if name not in own]
    if unknown := [name for name in new if name not in CHARACTERISTICS]:
        known = ", ".join(dict.fromkeys((*CHARACTERISTICS, *panel.feature_names)))
        raise InputError(f"features must be among {known}, found {', '.join(unknown)}")
    if new and not 240 <= panel.periods_per_year <= 366:
        raise InputError(
            f"characteristics count their windows in rows of daily data, found periods_per_year "
            f"{panel.periods_per_year}: leave {', '.join(new)} out of features, and give your own as columns"
        )
    observed = panel.listed & np.isfinite(panel.returns)
    built = [rank(raw(panel, name), observed).astype(np.float32) for name in new]
    features = np.concatenate([panel.features, *(r[:, :, None] for r in built)], axis=2)
    for place in map(panel.feature_names.index, own):
        features[:, :, place] = rank(panel.features[:, :, place], observed)
    return panel.replace(features=features, feature_names=(*panel.feature_names, *new))


def raw(panel: Panel, name: str) -> np.ndarray:
    """Return a characteristic (t, n) in its own units, NaN where its window holds too few returns of listed days."""
    return CHARACTERISTICS[name](pd.DataFrame(np.where(panel.listed, panel.returns, np.nan))).to_numpy()


def rank(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Rank values (t, n) across the firms of each date in the mask to [-1, 1], ties at their mean; missing stays so.

    Examples
    --------
    >>> rank(np.array([[3.0, 1.0, np.nan, 2.0]]), np.ones((1, 4), bool)).tolist()
    [[1.0, -1.0, nan, 0.0]]
    """
    ranks = pd.DataFrame(np.where(among, values, np.nan)).rank(axis=1).to_numpy()
    count = (~np.isnan(ranks)).sum(axis=1, keepdims=True)
    return np.where(count > 1, 2 * (ranks - 1) / np.maximum(count - 1, 1) - 1, ranks - ranks)


def momentum(returns: pd.DataFrame) -> pd.DataFrame:
    """Return over months t-12 to t-2, the last month left out (Jegadeesh and Titman 1993)."""
    return _compounded(returns, YEAR - MONTH).shift(MONTH)


def reversal(returns: pd.DataFrame) -> pd.DataFrame:
    """Return over the last month (Jegadeesh 1990)."""
    return _compounded(returns, MONTH)


def volatility(returns: pd.DataFrame) -> pd.DataFrame:
    """Realised volatility: root of the year's mean squared daily return, a year (Andersen et al. 2003)."""
    return (_mean(returns**2, YEAR) * YEAR) ** 0.5


def beta(returns: pd.DataFrame) -> pd.DataFrame:
    """Slope of a year's daily returns on the equal-weighted market (Fama and MacBeth 1973)."""
    return _market_model(returns, YEAR)[0]


def idiosyncratic_volatility(returns: pd.DataFrame) -> pd.DataFrame:
    """Return the daily standard deviation of a month's residuals from the market model.

    Ang, Hodrick, Xing and Zhang (2006) take the residuals from three factors; here the market alone.
    """
    return _market_model(returns, MONTH)[1]


def maximum_return(returns: pd.DataFrame) -> pd.DataFrame:
    """Largest daily return of the last month (Bali, Cakici and Whitelaw 2011)."""
    return returns.rolling(MONTH, min_periods=_least(MONTH)).max()


def drawdown(returns: pd.DataFrame) -> pd.DataFrame:
    """Return since the highest close of the last year, at most 0 (cf. George and Hwang 2004)."""
    level = _log(returns).fillna(0.0).cumsum().where(returns.notna())
    highest = level.rolling(YEAR, min_periods=_least(YEAR)).max()
    return _apply(np.expm1, level - highest).mask(_lost(returns, YEAR) & level.notna(), -1.0)


CHARACTERISTICS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    function.__name__: function
    for function in (momentum, reversal, volatility, beta, idiosyncratic_volatility, maximum_return, drawdown)
}


def _apply(function: np.ufunc, values: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(function(values.to_numpy()))


def _least(window: int) -> int:
    return int(np.ceil(window * _SHARE))


def _mean(values: pd.DataFrame, window: int) -> pd.DataFrame:
    return values.rolling(window, min_periods=_least(window)).mean()


def _log(returns: pd.DataFrame) -> pd.DataFrame:
    # A total loss has no logarithm; `_lost` says where a window holds one.
    return _apply(np.log1p, returns.where(returns > -1))


def _lost(returns: pd.DataFrame, window: int) -> pd.DataFrame:
    return returns.rolling(window, min_periods=_least(window)).min() == -1


def _compounded(returns: pd.DataFrame, window: int) -> pd.DataFrame:
    compounded = _apply(np.expm1, _log(returns).rolling(window, min_periods=_least(window)).sum())
    return compounded.mask(_lost(returns, window), -1.0)


def _market_model(returns: pd.DataFrame, window: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return slope and residual standard deviation of r_i = a + b m over a rolling window."""
    average = returns.mean(axis=1)
    market = returns.notna().mul(average, axis=0).where(returns.notna())
    mean_r, mean_m = _mean(returns, window), _mean(market, window)
    variance = _mean(market**2, window) - mean_m**2
    covariance = _mean(returns * market, window) - mean_r * mean_m
    slope = (covariance / variance).where(variance > 1e-14)
    residual = (_mean(returns**2, window) - mean_r**2 - slope * covariance).clip(lower=0)
    return slope, residual**0.5
