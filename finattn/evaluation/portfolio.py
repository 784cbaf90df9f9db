"""Forecasts to the daily returns of a long-short portfolio, before and after the cost of its trades."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from finattn.blocks import last_listed
from finattn.errors import InputError
from finattn.forecasts import Forecasts
from finattn.metrics import constant
from finattn.panel import Panel

__all__ = ["portfolio", "portfolio_summary", "quantile_weights"]

Floats = NDArray[np.float64]

# Tranches that offset each other leave a net weight of rounding noise, which is no position.
_NOISE = 1e-12


class _Day(NamedTuple):
    """What one row of the panel brought."""

    gross: float
    turnover: float
    long_count: int
    short_count: int


def quantile_weights(score: ArrayLike, quantiles: int) -> Floats:
    """Weights of a portfolio long the top and short the bottom quantile, equal-weighted, date by date.

    Each side holds k = floor(firms / quantiles) places of weight 1/k. Firms that tie at the edge of a side share the
    places that are left equally, so the order of firms never decides; a firm that ties at both edges holds the
    difference. With fewer firms than `quantiles`, or a constant cross-section, there is no position.

    Parameters
    ----------
    score : array [t n]
        NaN = absent.
    quantiles : int
        At least 2.

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
    if quantiles < 2:
        raise InputError(f"quantiles: expected at least 2, found {quantiles}")
    score = np.asarray(score, np.float64)
    places = np.count_nonzero(~np.isnan(score), axis=1) // quantiles
    places[constant(score)] = 0
    return _side(score, places) - _side(-score, places)


def portfolio(
    forecasts: Forecasts,
    panel: Panel,
    quantiles: int = 5,
    cost: float = 0.001,
    delay: int = 0,
    missing_delisting_return: float = 0.0,
) -> pd.DataFrame:
    """Trade every model's forecasts and account for them row by row of the panel.

    - *Target.* At each decision date `quantile_weights` of the scores (seeds averaged): 100% of capital long and 100%
      short; the capital itself is cash that earns nothing.
    - *Timing.* The trade is done at the close of the decision's row + `delay`: the first return it earns is that of the
      next row. A firm that is no longer listed by then is not traded; its weight stays in cash.
    - *Tranches.* A horizon of h decision periods (horizon over the median number of rows between decisions, rounded, at
      least 1) is held as h tranches of 1/h of the book; each decision renews the oldest. The first h decisions
      build the book up.
    - *Between trades* positions drift: weights are shares of the book's value before costs. A missing return counts as
      0. In the first row in which a firm is not listed it earns that row's return, if there is one (else, if it never
      comes back, `missing_delisting_return`), and becomes cash without a trade.
    - *Costs.* `turnover` is the sum over firms and tranches of |traded weight|, both sides: setting up the whole
      book is 2, replacing it 4. net = gross - cost * turnover, in the row of the trade.
    - A book that loses all it has stays in cash from then on; that row's gross is -1, not less.
    - The table begins with the row of the first trade and ends one decision period after the last (or with the panel);
      nothing is sold at the end.

    Parameters
    ----------
    forecasts : Forecasts
    panel : Panel
        Holds all the forecasts' dates and firms; only its `returns` and `listed` are used.
    quantiles : int
        Number of quantiles of which the outer two are held.
    cost : float
        Cost of trading one unit of value, one way, as a fraction (0.001 = 10 basis points).
    delay : int
        Rows between decision and trade.
    missing_delisting_return : float
        Stands in where a firm leaves the list without a return, as in the target; 0 is the kindest there is.

    Returns
    -------
    DataFrame
        date, model, delay, gross, net (simple returns of the row, fractions of the book), turnover, long_count and
        short_count (firms held, net of tranches, while the row's return was earned).

    Raises
    ------
    InputError
        A date or firm is not in the panel, a cost or delay is negative, or `quantiles` is below 2.

    Examples
    --------
    >>> panel = Panel(dates=["2020-01-02", "2020-01-03"], firms=["A", "B"], returns=[[0.01, 0.0], [-0.02, 0.03]])
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[0, 0]].astype("datetime64[s]"), "firm": panel.firms.astype(object), "model": "ridge",
    ...     "fold": 0, "seed": 0, "score": [1.0, 2.0], "prediction": 0.0, "realised": [-0.02, 0.03]})
    >>> forecasts = Forecasts(table, horizon=1, delay=0, overlap=0, periods_per_year=252)
    >>> portfolio(forecasts, panel, quantiles=2)[["date", "gross", "net", "turnover"]]
            date  gross    net  turnover
    0 2020-01-02   0.00 -0.002       2.0
    1 2020-01-03   0.05  0.050       0.0
    """
    if not 0 <= cost < math.inf or delay < 0:
        raise InputError(f"expected a cost and a delay of at least 0, found cost {cost} and delay {delay}")
    tables = [_trade(forecasts, panel, model, quantiles, delay, missing_delisting_return) for model in forecasts.models]
    daily = pd.concat(tables, ignore_index=True)
    daily.insert(4, "net", daily["gross"] - cost * daily["turnover"])
    return daily


def portfolio_summary(daily: pd.DataFrame, periods_per_year: float) -> pd.DataFrame:
    """Summarise daily returns by model and delay, before and after costs.

    The Sharpe ratio is that of the portfolio's own return (it finances itself, so nothing is subtracted), annualised by
    the root of `periods_per_year`. Its standard error is Mertens' (2002), which is Lo's (2002) for independent returns
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


def _trade(
    forecasts: Forecasts, panel: Panel, model: str, quantiles: int, delay: int, missing_delisting_return: float
) -> pd.DataFrame:
    """Return one model's daily table, without costs."""
    wide = forecasts.wide(model)
    decided = ~np.isnan(wide.score).all(axis=1)
    rows = _positions(wide.dates[decided], panel.dates, "date")
    columns = _positions(wide.firms, panel.firms, "firm")
    period = _period(rows)
    tranches = max(1, round(forecasts.horizon / period))
    target = quantile_weights(wide.score[decided], quantiles) / tranches
    span = range(rows[0] + delay, min(rows[-1] + delay + period + 1, len(panel.dates)))
    trades = {int(row) + delay: weights for row, weights in zip(rows, target, strict=True)}
    days = list(_account(panel, columns, span, trades, tranches, missing_delisting_return))
    table = pd.DataFrame(days, columns=list(_Day._fields))
    table.insert(0, "date", panel.dates[span.start : span.stop].astype("datetime64[ms]"))
    table.insert(1, "model", model)
    table.insert(2, "delay", delay)
    return table


def _account(
    panel: Panel,
    columns: NDArray[np.intp],
    span: range,
    trades: dict[int, Floats],
    tranches: int,
    missing_delisting_return: float,
) -> Iterator[_Day]:
    """Go through the rows: earn, let delisted firms become cash, then trade. Sees a row's data when it gets there."""
    last = last_listed(panel)[columns]
    book = np.zeros((tranches, len(columns)))  # shares of the book's value [tranche n]
    done, ruined = 0, False
    for row in span:
        listed = panel.listed[row, columns]
        net = book.sum(axis=0)
        returns = panel.returns[row, columns]
        earned = np.where(np.isfinite(returns), returns, np.where(row == last + 1, missing_delisting_return, 0.0))
        gross = max(float(net @ earned), -1.0)
        ruined |= gross == -1.0
        book *= 0.0 if ruined else (1.0 + earned) / (1.0 + gross)
        book[:, ~listed] = 0.0
        turnover = 0.0
        if row in trades and not ruined:
            wanted = np.where(listed, trades[row], 0.0)
            turnover = float(np.abs(wanted - book[done % tranches]).sum())
            book[done % tranches] = wanted
            done += 1
        yield _Day(gross, turnover, int((net > _NOISE).sum()), int((net < -_NOISE).sum()))


def _side(score: Floats, places: NDArray[np.intp]) -> Floats:
    """Weights [t n] of the firms with the highest scores: `places` of equal weight, ties at the edge sharing."""
    present = ~np.isnan(score)
    last = present.sum(axis=1) - places
    edge = np.take_along_axis(np.sort(score, axis=1), np.minimum(last, score.shape[1] - 1)[:, None], axis=1)
    above, tied = score > edge, score == edge
    left = places - above.sum(axis=1)
    share = left / np.maximum(tied.sum(axis=1), 1)
    weights = above + tied * share[:, None]
    return np.where(places[:, None] > 0, weights / np.maximum(places, 1)[:, None], 0.0)


def _positions(wanted: NDArray, known: NDArray, what: str) -> NDArray[np.intp]:
    """Find labels among the panel's."""
    order = np.argsort(known)
    found = np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)
    positions = order[found]
    absent = known[positions] != wanted
    if absent.any():
        first, count = wanted[absent][0], absent.sum()
        raise InputError(f"expected every {what} of the forecasts in the panel, found {count} that are not: {first}")
    return positions


def _period(rows: NDArray[np.intp]) -> int:
    """Median number of panel rows between decisions; 1 for a single decision."""
    return max(1, round(float(np.median(np.diff(rows))))) if len(rows) > 1 else 1


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
