"""Forecasts and portfolios in the layouts that alphalens, quantstats and vectorbt read; none of them is needed here.

Prices are what compounding the panel's returns from 1 makes, the only series whose changes are the returns that were
forecast: they are in no currency.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.blocks import last_listed
from finattn.errors import InputError
from finattn.evaluation.portfolio import earned, holdings
from finattn.evaluation.weights import DEFAULT, Scheme, one_model, places
from finattn.forecasts import Forecasts
from finattn.panel import Panel

__all__ = ["VectorbtFrames", "price_index", "to_alphalens", "to_quantstats", "to_vectorbt"]


class VectorbtFrames(NamedTuple):
    """Frames with a row for each date that `backtest` accounts for, and a column for each firm.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import Scheme
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> frames = forecasts.to_vectorbt(panel, scheme=Scheme("top_k", k=3))
    >>> frames.weights.iloc[0].nlargest(3).round(3).to_dict()
    {'AAPL': 0.333, 'AMD': 0.333, 'MSFT': 0.333}
    """

    close: pd.DataFrame
    """Prices that compounded returns make."""
    weights: pd.DataFrame
    """Shares of the book after a trade; NaN in rows without one."""
    entries: pd.DataFrame
    """Where a long position begins, bool."""
    exits: pd.DataFrame
    """Where one ends."""
    short_entries: pd.DataFrame
    short_exits: pd.DataFrame


def price_index(panel: Panel, missing_delisting_return: float = 0.0) -> pd.DataFrame:
    """Compound each firm's returns from 1 at the close of its first listed row.

    A return that is missing counts as 0, as in `backtest`. A firm that leaves the list for good earns its delisting
    return and keeps that value, being cash. Before its first row it has none.

    Parameters
    ----------
    panel : Panel
    missing_delisting_return : float
        Stands in where a firm leaves the list without a return.

    Returns
    -------
    DataFrame
        [t n], indexed by date (datetime64[ns], which all three libraries take), a column for each firm.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.5, 0.0], [0.1, -0.2]])
    >>> price_index(panel).round(2).to_numpy().tolist()
    [[1.0, 1.0], [1.1, 0.8]]
    """
    rows, columns = np.arange(len(panel)), np.arange(panel.shape[1])
    first = np.where(panel.listed.any(axis=0), np.argmax(panel.listed, axis=0), len(panel))
    held = (rows[:, None] > first) & (rows[:, None] <= last_listed(panel) + 1)
    growth = np.where(held, earned(panel, rows, columns, missing_delisting_return), 0.0)
    level = np.where(rows[:, None] < first, np.nan, np.cumprod(1.0 + growth, axis=0))
    return pd.DataFrame(level, index=_days(panel.dates), columns=panel.firms.astype(object))


def to_alphalens(
    forecasts: Forecasts, panel: Panel, model: str | None = None, missing_delisting_return: float = 0.0
) -> tuple[pd.Series, pd.DataFrame]:
    """Return the factor and the prices that `alphalens.utils.get_clean_factor_and_forward_returns` takes.

    Alphalens takes the price at a factor's date for the one traded at. With a delay the price in row t is therefore
    that of row t + delay, so that its forward return over `horizon` rows is the forecasts' `realised`; a return that is
    missing inside, for which `realised` is NaN, counts as 0 there. Its `filter_zscore` looks ahead: leave it at None.

    Parameters
    ----------
    forecasts, panel : the panel holds the forecasts' dates and firms.
    model : may be left out where there is only one.
    missing_delisting_return : see `price_index`.

    Returns
    -------
    factor : Series
        Scores (seeds averaged), with a MultiIndex of date and asset, named factor.
    prices : DataFrame
        `price_index` of all dates of the panel and the forecasts' firms.

    Raises
    ------
    InputError
        There is no such model, several and none named, or a date or firm is not in the panel.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.0], [0.1, -0.2]])
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[0, 0]].astype("M8[s]"), "firm": panel.firms.astype(object), "model": "ridge",
    ...     "fold": 0, "seed": 0, "score": [1.0, 2.0], "prediction": 0.0, "realised": [0.1, -0.2]})
    >>> factor, prices = to_alphalens(Forecasts(table, 1, 0, 0, 252), panel)
    >>> factor.index.names, prices.shape
    (FrozenList(['date', 'asset']), (2, 2))
    """
    wide = forecasts.wide(one_model(forecasts, model))
    _, columns = places(wide, panel)
    date, firm = np.nonzero(~np.isnan(wide.score))
    index = pd.MultiIndex.from_arrays([_days(wide.dates)[date], wide.firms.astype(object)[firm]], names=_LEVELS)
    factor = pd.Series(wide.score[date, firm], index, name="factor")
    prices = price_index(panel, missing_delisting_return).iloc[:, columns].shift(-forecasts.delay)
    return factor, prices


_LEVELS = ["date", "asset"]


def to_quantstats(daily: pd.DataFrame, side: Literal["gross", "net"] = "net") -> dict[str, pd.Series]:
    """Return each model's daily returns as the series that quantstats (and pyfolio, empyrical, ffn) take.

    Parameters
    ----------
    daily : DataFrame
        As `backtest` or `portfolio` returns it, of one delay.
    side : "gross" or "net"

    Returns
    -------
    dict of Series
        Simple returns, fractions, indexed by date without time zone, by model.

    Raises
    ------
    InputError
        `side` is none, or `daily` has several delays.

    Examples
    --------
    >>> daily = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=2), "model": "ridge", "delay": 0,
    ...                       "net": [0.01, -0.02]})
    >>> to_quantstats(daily)["ridge"].tolist()
    [0.01, -0.02]
    """
    if side not in ("gross", "net") or side not in daily:
        raise InputError(f"side must be gross or net and a column of daily, found {side!r} and {list(daily.columns)}")
    delays = daily["delay"].unique().tolist()
    if len(delays) > 1:
        raise InputError(f"daily must be of one delay, found {', '.join(map(str, delays))}")
    return {
        str(model): pd.Series(part[side].to_numpy(), _days(part["date"].to_numpy()), name=str(model))
        for model, part in daily.groupby("model", sort=False)
    }


def to_vectorbt(
    forecasts: Forecasts,
    panel: Panel,
    model: str | None = None,
    scheme: Scheme = DEFAULT,
    delay: int = 0,
    missing_delisting_return: float = 0.0,
) -> VectorbtFrames:
    """Return a model's book of `backtest` as the frames that vectorbt's `Portfolio` takes.

    The weights go to ``from_orders(close, size=weights, size_type="targetpercent", group_by=True, cash_sharing=True,
    call_seq="auto", fees=cost)``, net of tranches and after limits; the signals to ``from_signals(close, entries,
    exits, short_entries, short_exits, …)``, which knows no sizes. Rows are those of the trade: decision + delay.

    Parameters
    ----------
    forecasts, panel, scheme, delay, missing_delisting_return : see `backtest`.
    model : may be left out where there is only one.

    Returns
    -------
    VectorbtFrames

    Raises
    ------
    InputError
        As `backtest`.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.0], [0.1, -0.2]])
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[0, 0]].astype("M8[s]"), "firm": panel.firms.astype(object), "model": "ridge",
    ...     "fold": 0, "seed": 0, "score": [1.0, 2.0], "prediction": 0.0, "realised": [0.1, -0.2]})
    >>> frames = to_vectorbt(Forecasts(table, 1, 0, 0, 252), panel, scheme=Scheme("rank"))
    >>> frames.weights.to_numpy().tolist(), frames.entries["B"].tolist()
    ([[-1.0, 1.0], [nan, nan]], [True, False])
    """
    held = holdings(forecasts, panel, model, scheme, delay, missing_delisting_return)
    if not len(held.rows):
        raise InputError("a trade must fall into the panel, found none: it ends too early for the delay")
    span = slice(held.span.start, held.span.stop)
    close = price_index(panel, missing_delisting_return).iloc[span, held.columns]
    weights = np.full(close.shape, np.nan)
    weights[held.rows - held.span.start] = held.weight
    after = pd.DataFrame(weights).ffill().to_numpy()
    signals: list[NDArray[np.bool_]] = []
    for side in (after > _NOISE, after < -_NOISE):
        before = np.vstack([np.zeros((1, side.shape[1]), bool), side[:-1]])
        signals += [side & ~before, ~side & before]
    return VectorbtFrames(close, *(pd.DataFrame(x, close.index, close.columns) for x in (weights, *signals)))


_NOISE = 1e-12


def _days(dates: NDArray[np.datetime64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(dates.astype("datetime64[ns]"), name="date")
