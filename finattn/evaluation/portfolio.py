"""Forecasts to the daily returns of a portfolio, before and after what its trades and its short positions cost."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.blocks import last_listed
from finattn.config.require import require
from finattn.errors import InputError
from finattn.evaluation.performance import portfolio_summary
from finattn.evaluation.weights import (
    DEFAULT,
    Scheme,
    level_of,
    one_model,
    places,
    quantile_weights,
    target_weights,
)
from finattn.forecasts import Forecasts
from finattn.panel import Panel

__all__ = [
    "COLUMNS",
    "Holdings",
    "backtest",
    "earned",
    "holdings",
    "portfolio",
    "portfolio_summary",
    "quantile_weights",
]

Floats = NDArray[np.float64]

COLUMNS = (
    "date", "model", "delay", "gross", "net", "turnover", "long_count", "short_count", "net_weight", "short_weight",
    "cut", "cut_count",
)  # fmt: skip
_VOLUME_ROWS = 21
# Tranches that offset each other leave a net weight of rounding noise, which is no position.
_NOISE = 1e-12


class Holdings(NamedTuple):
    """What a book holds after each trade, net of its tranches.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import Scheme, holdings
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> held = holdings(forecasts, panel, scheme=Scheme("top_k", k=3))
    >>> str(panel.dates[held.rows[0]]), panel.firms[held.columns][held.weight[0] > 0].tolist()
    ('2020-01-03', ['AAPL', 'AMD', 'MSFT'])
    """

    rows: NDArray[np.intp]
    """[t] rows of the panel at which it was traded."""
    columns: NDArray[np.intp]
    """[n] columns of the panel."""
    weight: Floats
    """[t n] shares of the book's value."""
    span: range
    """Rows of the panel that `backtest` accounts for."""


class _Day(NamedTuple):
    """What one row of the panel brought; counts and weights are of what was held while its return was earned."""

    gross: float
    turnover: float
    long_count: int
    short_count: int
    net_weight: float
    short_weight: float
    cut: float
    cut_count: int


class _Plan(NamedTuple):
    """What will be traded where."""

    columns: NDArray[np.intp]
    span: range
    orders: dict[int, tuple[Floats, Floats | float]]
    """By row: the weights [n] that a tranche should have, and the largest trade [n]."""
    tranches: int


def backtest(
    forecasts: Forecasts,
    panel: Panel,
    scheme: Scheme = DEFAULT,
    delay: int = 0,
    missing_delisting_return: float = 0.0,
    weights: Mapping[str, Floats] | None = None,
) -> pd.DataFrame:
    """Trade every model's forecasts and account for them row by row of the panel.

    - *Target.* At each decision date the weights of the scheme (seeds averaged): for long-short kinds 100% of capital
      long and 100% short, the capital itself being cash that earns nothing; for "top_k" 100% long.
    - *Timing.* The trade is done at the close of the decision's row + `delay`: the first return it earns is that of the
      next row. A firm that is no longer listed by then is not traded; its weight stays in cash.
    - *Tranches.* A horizon of h decision periods (horizon over the median number of rows between decisions, rounded, at
      least 1) is held as h tranches of 1/h of the book; each decision renews the oldest. The first h decisions
      build the book up.
    - *Between trades* positions drift: weights are shares of the book's value before costs. A missing return counts as
      0. In the first row in which a firm is not listed it earns that row's return, if there is one (else, if it never
      comes back, `missing_delisting_return`), and becomes cash without a trade.
    - *Limits.* With `scheme.participation` a firm's trade of a day is at most that share of its mean dollar volume over
      the 21 rows up to the decision (a row without one counts as 0) over `scheme.book`. The rest is cut, not traded
      later, until the tranche is renewed; long and short sides may then differ.
    - *Costs.* `turnover` is the sum over firms and tranches of |traded weight|, both sides: setting up a long-short
      book is 2, replacing it 4. net = gross - cost * turnover - short_fee / periods_per_year * short_weight.
    - A book that loses all it has stays in cash from then on; that row's gross is -1, not less.
    - The table begins with the row of the first trade and ends one decision period after the last (or with the panel);
      nothing is sold at the end.

    Parameters
    ----------
    forecasts : Forecasts
    panel : Panel
        Holds all the forecasts' dates and firms. Its `returns` and `listed` are used, and what the scheme needs.
    scheme : Scheme
    delay : int
        Rows between decision and trade.
    missing_delisting_return : float
        Stands in where a firm leaves the list without a return, as in the target; 0 is the kindest there is.
    weights : mapping of arrays [t n], optional
        Weights of some models in place of the scheme's, on the axes of `forecasts.wide`, such as `target_weights` and
        `prior.optimised` return.

    Returns
    -------
    DataFrame
        With `COLUMNS`: date, model, delay, gross, net (simple returns of the row, fractions of the book), turnover,
        long_count, short_count, net_weight and short_weight (firms, sum of weights and of those below 0, as held
        net of tranches while the row's return was earned), cut and cut_count (traded weight that was cut, and
        the firms whose trade was).

    Raises
    ------
    InputError
        A date or firm is not in the panel, it lacks what the scheme needs, the delay is negative, or `weights` are of
        another shape, not finite or of an unknown model.

    Examples
    --------
    >>> panel = Panel(dates=["2020-01-02", "2020-01-03"], firms=["A", "B"], returns=[[0.01, 0.0], [-0.02, 0.03]])
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[0, 0]].astype("datetime64[s]"), "firm": panel.firms.astype(object), "model": "ridge",
    ...     "fold": 0, "seed": 0, "score": [1.0, 2.0], "prediction": 0.0, "realised": [-0.02, 0.03]})
    >>> forecasts = Forecasts(table, horizon=1, delay=0, overlap=0, periods_per_year=252)
    >>> backtest(forecasts, panel, Scheme("top_k", k=1))[["date", "gross", "net", "turnover", "net_weight"]]
            date  gross    net  turnover  net_weight
    0 2020-01-02   0.00 -0.001       1.0         0.0
    1 2020-01-03   0.03  0.030       0.0         1.0
    """
    given = dict(weights or {})
    if unknown := sorted(set(given) - set(forecasts.models)):
        raise InputError(f"weights must be of the models {', '.join(forecasts.models)}, found {', '.join(unknown)}")
    tables = []
    for model in forecasts.models:
        plan = _plan(forecasts, panel, model, scheme, delay, given.get(model))
        days = [day for day, _ in _account(panel, plan, missing_delisting_return)]
        table = pd.DataFrame(days, columns=list(_Day._fields))
        table.insert(0, "date", panel.dates[plan.span.start : plan.span.stop].astype("datetime64[ms]"))
        table.insert(1, "model", model)
        table.insert(2, "delay", delay)
        tables.append(table)
    daily = pd.concat(tables, ignore_index=True)
    net = daily["gross"] - scheme.cost * daily["turnover"]
    daily.insert(4, "net", net - scheme.short_fee / panel.periods_per_year * daily["short_weight"])
    return daily


def portfolio(
    forecasts: Forecasts,
    panel: Panel,
    quantiles: int = 5,
    cost: float = 0.001,
    delay: int = 0,
    missing_delisting_return: float = 0.0,
) -> pd.DataFrame:
    """Trade the outer quantiles of every model's forecasts, equal-weighted: `backtest` of the plainest scheme.

    Parameters
    ----------
    forecasts, panel, delay, missing_delisting_return : see `backtest`.
    quantiles : int
        Number of quantiles of which the outer two are held.
    cost : float
        Cost of trading one unit of value, one way, as a fraction (0.001 = 10 basis points).

    Returns
    -------
    DataFrame
        The first eight of `COLUMNS`: date, model, delay, gross, net, turnover, long_count, short_count.

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
    scheme = Scheme(quantiles=quantiles, cost=cost)
    return backtest(forecasts, panel, scheme, delay, missing_delisting_return)[list(COLUMNS[:8])]


def holdings(
    forecasts: Forecasts,
    panel: Panel,
    model: str | None = None,
    scheme: Scheme = DEFAULT,
    delay: int = 0,
    missing_delisting_return: float = 0.0,
    weights: Floats | None = None,
) -> Holdings:
    """Return what a model's book of `backtest` holds after each of its trades.

    Parameters
    ----------
    model : may be left out where there is only one.
    weights : array [t n], optional
        In place of the scheme's, on the axes of `forecasts.wide`.
    forecasts, panel, scheme, delay, missing_delisting_return : see `backtest`.

    Returns
    -------
    Holdings

    Raises
    ------
    InputError
        As `backtest`.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import holdings
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> held = holdings(forecasts, panel, delay=1)
    >>> held.weight.shape, held.weight[0].clip(min=0).sum().round(3).item(), held.weight.min().round(3).item()
    ((52, 20), 1.0, -0.25)
    """
    plan = _plan(forecasts, panel, one_model(forecasts, model), scheme, delay, weights)
    days = zip(plan.span, _account(panel, plan, missing_delisting_return), strict=True)
    after = {row: held for row, (_, held) in days if row in plan.orders}
    weight = np.array(list(after.values())).reshape(len(after), len(plan.columns))
    return Holdings(np.array(list(after), np.intp), plan.columns, weight, plan.span)


def earned(panel: Panel, rows: NDArray[np.intp], columns: NDArray[np.intp], missing_delisting_return: float) -> Floats:
    """Return what a holder of each firm earns in each row [t n]: its return, 0 where there is none.

    A firm that leaves the list for good without a return earns `missing_delisting_return` in the first row in which it
    is not listed. What stands in later rows is no holder's: there it is cash.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A"], [[0.1], [float("nan")]], listed=[[True], [False]])
    >>> earned(panel, np.arange(2), np.arange(1), -0.3).ravel().tolist()
    [0.1, -0.3]
    """
    last = last_listed(panel)[columns]
    return np.concatenate([_earned(panel, int(row), columns, last, missing_delisting_return)[None] for row in rows])


def _earned(panel: Panel, row: int, columns: NDArray[np.intp], last: NDArray[np.intp], missing: float) -> Floats:
    returns = panel.returns[row, columns]
    return np.where(np.isfinite(returns), returns, np.where(row == last + 1, missing, 0.0))


def _plan(forecasts: Forecasts, panel: Panel, model: str, scheme: Scheme, delay: int, weights: Floats | None) -> _Plan:
    """Lay out a model's trades."""
    require("delay", delay, delay >= 0, "at least 0")
    wide = forecasts.wide(model)
    if weights is None:
        weights = target_weights(forecasts, panel, model, scheme)
    elif weights.shape != wide.score.shape or not np.isfinite(weights).all():
        raise InputError(
            f"weights must be finite and of the forecasts' shape {wide.score.shape}, found {weights.shape}"
            + f" and {np.count_nonzero(~np.isfinite(weights))} numbers that are not finite"
        )
    decided = ~np.isnan(wide.score).all(axis=1)
    rows, columns = places(wide, panel)
    rows = rows[decided]
    period = _period(rows)
    tranches = max(1, round(forecasts.horizon / period))
    span = range(rows[0] + delay, min(rows[-1] + delay + period + 1, len(panel.dates)))
    targets, limits = weights[decided] / tranches, _limits(panel, rows, columns, scheme)
    trades = zip(rows, targets, limits, strict=True)
    return _Plan(columns, span, {int(row) + delay: (target, limit) for row, target, limit in trades}, tranches)


def _limits(
    panel: Panel, rows: NDArray[np.intp], columns: NDArray[np.intp], scheme: Scheme
) -> Iterator[Floats | float]:
    """Yield the largest trade of each firm [n] at each decision, a share of the book."""
    if scheme.participation is None or scheme.book is None:
        yield from [math.inf] * len(rows)
        return
    volume = level_of(panel, "dollar_volume", "participation limits")
    for row in rows:
        recent = volume[max(0, row - _VOLUME_ROWS + 1) : row + 1, columns]
        yield scheme.participation * np.nansum(recent, axis=0) / len(recent) / scheme.book


def _account(panel: Panel, plan: _Plan, missing_delisting_return: float) -> Iterator[tuple[_Day, Floats]]:
    """Go through the rows: earn, let delisted firms become cash, then trade; yield also what is held after it [n].

    Sees a row's data when it gets there.
    """
    last = last_listed(panel)[plan.columns]
    book = np.zeros((plan.tranches, len(plan.columns)))  # shares of the book's value [tranche n]
    net, done, ruined = book.sum(axis=0), 0, False
    for row in plan.span:
        listed = panel.listed[row, plan.columns]
        growth = _earned(panel, row, plan.columns, last, missing_delisting_return)
        gross = max(float(net @ growth), -1.0)
        ruined |= gross == -1.0
        book *= 0.0 if ruined else (1.0 + growth) / (1.0 + gross)
        book[:, ~listed] = 0.0
        traded, cut = np.zeros(0), np.zeros(0)
        if row in plan.orders and not ruined:
            traded, cut = _renew(book[done % plan.tranches], listed, *plan.orders[row])
            done += 1
        before, net = net, book.sum(axis=0)
        yield _day(gross, before, traded, cut), net


def _renew(held: Floats, listed: NDArray[np.bool_], target: Floats, limit: Floats | float) -> tuple[Floats, Floats]:
    """Bring a tranche [n] to its target as far as the limits let it, in place; return what was traded and what cut."""
    wanted = np.where(listed, target, 0.0)
    trade = wanted - held
    possible = np.clip(trade, -limit, limit)
    held[:] = np.where(possible == trade, wanted, held + possible)
    return np.abs(possible), np.abs(trade - possible)


def _day(gross: float, held: Floats, traded: Floats, cut: Floats) -> _Day:
    """Sum up a row in which `held` [n] earned."""
    long, short = held > _NOISE, held < -_NOISE
    weights = float(held.sum()), float(np.abs(held[short]).sum())
    counts = int(long.sum()), int(short.sum())
    return _Day(gross, float(traded.sum()), *counts, *weights, float(cut.sum()), int((cut > _NOISE).sum()))


def _period(rows: NDArray[np.intp]) -> int:
    """Median number of panel rows between decisions; 1 for a single decision."""
    return max(1, round(float(np.median(np.diff(rows))))) if len(rows) > 1 else 1
