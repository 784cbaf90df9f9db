"""The figures of a portfolio's daily returns: return, volatility, Sharpe ratio with its error, turnover, drawdown."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

__all__ = ["portfolio_summary"]

Floats = NDArray[np.float64]


def portfolio_summary(daily: pd.DataFrame, periods_per_year: float) -> pd.DataFrame:
    """Summarise daily returns by model and delay, before and after costs.

    The Sharpe ratio is that of the portfolio's own return, annualised by the root of `periods_per_year`: a long-short
    book finances itself, so nothing is subtracted; nor is it of a long-only one, for which `exposures` is in excess of
    the risk-free rate. Its standard error is Mertens' (2002), which is Lo's (2002) for independent returns
    with skewness g3 and kurtosis g4 let in: with SR per row, sqrt((1 + SR^2 / 2 - g3 SR + (g4 - 3) SR^2 / 4) / T),
    annualised alike. It does not cover autocorrelation.

    Parameters
    ----------
    daily : DataFrame
        As `portfolio` returns it; several delays may be stacked.
    periods_per_year : float
        Rows of the panel in a year.

    Returns
    -------
    DataFrame
        model, delay, side (gross or net), annual_return (mean times rows a year, not compounded), annual_volatility,
        sharpe, sharpe_se, lower, upper (95%, normal), turnover_per_year, max_drawdown (largest fall of the compounded
        value from its highest, as a fraction >= 0), days. Sharpe ratios are NaN where nothing varied.

    Examples
    --------
    >>> daily = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=2), "model": "ridge", "delay": 0,
    ...                       "gross": [0.02, -0.01], "net": [0.01, -0.01], "turnover": [2.0, 0.0]})
    >>> portfolio_summary(daily, 252)[["side", "annual_return", "max_drawdown", "days"]]
        side  annual_return  max_drawdown  days
    0  gross           1.26          0.01     2
    1    net           0.00          0.01     2
    """
    rows = [
        {"model": model, "delay": delay, "side": side}
        | _performance(group[side].to_numpy(), group["turnover"].to_numpy(), periods_per_year)
        for (model, delay), group in daily.groupby(["model", "delay"], sort=False)
        for side in ("gross", "net")
    ]
    return pd.DataFrame(rows)


def _performance(returns: Floats, turnover: Floats, periods_per_year: float) -> dict[str, float]:
    """Return the figures of one column of daily returns."""
    deviation = returns.std(ddof=1) if len(returns) > 1 else 0.0
    sharpe, error = _sharpe(returns) if deviation > 0 else (math.nan, math.nan)
    value = np.concatenate([[1.0], np.cumprod(1 + returns)])
    year = math.sqrt(periods_per_year)
    return {
        "annual_return": returns.mean() * periods_per_year,
        "annual_volatility": deviation * year,
        "sharpe": sharpe * year,
        "sharpe_se": error * year,
        "lower": (sharpe + stats.norm.ppf(0.025) * error) * year,
        "upper": (sharpe + stats.norm.ppf(0.975) * error) * year,
        "turnover_per_year": turnover.mean() * periods_per_year,
        "max_drawdown": float((1 - value / np.maximum.accumulate(value)).max()),
        "days": len(returns),
    }


def _sharpe(returns: Floats) -> tuple[float, float]:
    """Sharpe ratio per row and its standard error (Mertens 2002)."""
    ratio = float(returns.mean() / returns.std(ddof=1))
    variance = 1 + ratio**2 / 2 - stats.skew(returns) * ratio + stats.kurtosis(returns) * ratio**2 / 4
    return ratio, math.sqrt(variance / len(returns))
