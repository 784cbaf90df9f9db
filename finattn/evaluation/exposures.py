"""What a portfolio is exposed to: the market, given factors, industries; and what is left as alpha."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.linear_model import OLS

from finattn.errors import InputError
from finattn.evaluation.groups import industries
from finattn.evaluation.inference import hac_lag
from finattn.evaluation.portfolio import Holdings
from finattn.evaluation.weights import level_of
from finattn.panel import Panel

__all__ = ["alpha", "exposures", "industry_weights", "market_returns"]


def exposures(
    daily: pd.DataFrame,
    panel: Panel,
    weighting: Literal["equal", "value"] = "equal",
    side: Literal["gross", "net"] = "net",
) -> pd.DataFrame:
    """Regress each model's portfolio on the market of the panel: its beta, and what is left over.

    Parameters
    ----------
    daily, side : see `alpha`.
    panel, weighting : see `market_returns`.

    Returns
    -------
    DataFrame
        As `alpha`, the one factor being called market.

    Raises
    ------
    InputError
        As `alpha` and `market_returns`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> panel = Panel(np.datetime64("2020-01-01") + np.arange(300), list("ABC"), 0.01 * rng.standard_normal((300, 3)))
    >>> market = market_returns(panel)["market"].to_numpy()
    >>> daily = pd.DataFrame({"date": panel.dates.astype("M8[s]"), "model": "m", "delay": 0, "net": 0.5 * market})
    >>> exposures(daily.iloc[1:], panel)[["name", "estimate"]].round(3).iloc[1:]
         name  estimate
    1  market       0.5
    """
    return alpha(daily, panel, market_returns(panel, weighting), side)


def market_returns(panel: Panel, weighting: Literal["equal", "value"] = "equal") -> pd.DataFrame:
    """Return the return of the panel's market over each row, in excess of the risk-free rate where there is one.

    The mean return of the firms listed in the row before, equal-weighted or by their market capitalisation there; a
    firm without a return, or a capitalisation, is left out.

    Parameters
    ----------
    panel : Panel
    weighting : "equal" or "value"

    Returns
    -------
    DataFrame
        One column, market, indexed by date; NaN without firms, as in the first row.

    Raises
    ------
    InputError
        The panel has no market capitalisation to weight by.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0, 0], [0.01, 0.04]], market_cap=[[2, 1], [1, 1]])
    >>> market_returns(panel, "value")["market"].round(3).tolist()
    [nan, 0.02]
    """
    weight = panel.listed[:-1].astype(np.float64)
    if weighting == "value":
        weight *= np.nan_to_num(level_of(panel, "market_cap", "value weights")[:-1])
    weight[~np.isfinite(panel.returns[1:])] = 0.0
    total = weight.sum(axis=1)
    summed = np.einsum("tn,tn->t", weight, np.nan_to_num(panel.returns[1:]))
    mean = np.divide(summed, total, out=np.full(len(total), np.nan), where=total > 0)
    market = np.append(np.nan, mean) - (0.0 if panel.risk_free is None else panel.risk_free)
    return pd.DataFrame({"market": market}, index=_days(panel.dates))


def alpha(
    daily: pd.DataFrame,
    panel: Panel,
    factors: pd.DataFrame | None = None,
    side: Literal["gross", "net"] = "net",
    lag: int | None = None,
) -> pd.DataFrame:
    """Regress each model's daily returns on factor returns, with errors of Newey and West (1987).

    Ordinary least squares r_t = alpha + sum_k beta_k f_kt + u_t over the days on which all are known. Factors are
    returns of portfolios that finance themselves (a market in excess of the risk-free rate, long-short factors). A
    portfolio's return is taken in excess of what financing it would cost, net_weight times the risk-free rate, where
    the panel has that rate and `daily` the weights; a book long 100% is so in excess of the rate. Errors take the
    Bartlett kernel with `lag` lags (a portfolio's days do not overlap), the small-sample correction T / (T - k - 1) and
    Student's t with T - k - 1 degrees of freedom.

    Parameters
    ----------
    daily : DataFrame
        As `backtest` or `portfolio` returns it; several delays may be stacked.
    panel : Panel
        `periods_per_year`, `risk_free` and, without `factors`, `factors` are used.
    factors : DataFrame, optional
        Simple returns over a row, fractions, indexed by date, one column a factor.
    side : "gross" or "net"
    lag : int, optional
        Without it `hac_lag(T, 0)`.

    Returns
    -------
    DataFrame
        model, delay, side, name (alpha, then the factors), estimate (alpha: a year, not compounded; else beta),
        standard_error, t, p_value (two-sided), r2, days (that entered), dropped (days without a factor or a rate).
        All are NaN for a portfolio that never moves.

    Raises
    ------
    InputError
        There are no factors, one is not finite, `side` is not in `daily`, or the days are too few or the factors
        collinear on them.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> days, factor = pd.date_range("2020-01-01", periods=500), 0.01 * rng.standard_normal(500)
    >>> panel = Panel(days.to_numpy().astype("M8[D]"), ["A"], np.zeros((500, 1)), factors=factor[:, None],
    ...               factor_names=["size"])
    >>> net = 0.0004 + 0.3 * factor + 0.001 * rng.standard_normal(500)
    >>> alpha(pd.DataFrame({"date": days, "model": "m", "delay": 0, "net": net}), panel)[
    ...     ["name", "estimate", "standard_error", "days"]].round(3)
        name  estimate  standard_error  days
    0  alpha     0.083           0.011   500
    1   size     0.300           0.004   500
    """
    if side not in ("gross", "net") or side not in daily:
        raise InputError(f"side must be gross or net and a column of daily, found {side!r} and {list(daily.columns)}")
    given = _factors(panel, factors)
    records: list[dict[str, Any]] = []
    for (model, delay), part in daily.groupby(["model", "delay"], sort=False):
        found = _regress(_excess(part, panel, side), given, lag)
        records += [{"model": model, "delay": delay, "side": side} | row for row in found]
    table = pd.DataFrame(records)
    scale = np.where(table["name"] == "alpha", panel.periods_per_year, 1.0)
    return table.assign(estimate=table["estimate"] * scale, standard_error=table["standard_error"] * scale)


def industry_weights(held: Holdings, panel: Panel, level: int = -1) -> pd.DataFrame:
    """Sum the weights that a book holds after each trade over industries, as known at the close of that row.

    Where `panel.industry_as_of` is false, codes are those of today, known afterwards.

    Parameters
    ----------
    held : Holdings
        As `holdings` returns it.
    panel : Panel
    level : int
        Of the industry scheme: 0 the finest, -1 the coarsest.

    Returns
    -------
    DataFrame
        date, industry ("unknown" the last), net, long, short (shares of the book; short is at least 0): a row for every
        industry that is held at the date.

    Raises
    ------
    InputError
        The panel has no industry codes, or no such level.

    Examples
    --------
    >>> panel = Panel(["2020-01-02"], ["A", "B", "C"], [[0, 0, 0]], industry=[[2834, 2834, 6021]])
    >>> held = Holdings(np.array([0]), np.arange(3), np.array([[1.0, -0.25, -0.75]]), range(1))
    >>> industry_weights(held, panel)[["industry", "net", "long", "short"]]
                                 industry   net  long  short
    0                       Manufacturing  0.75   1.0   0.25
    1  Finance, insurance and real estate -0.75   0.0   0.75
    """
    codes, names = industries(panel, held.rows, held.columns, level)
    row, firm = np.nonzero(held.weight)
    weight = held.weight[row, firm]
    long, short = np.maximum(weight, 0.0), np.maximum(-weight, 0.0)
    place = {code: order for order, code in enumerate(names)}
    order = np.array([place[code] for code in codes[row, firm].tolist()], np.int64)
    table = pd.DataFrame({"row": row, "order": order, "net": weight, "long": long, "short": short})
    summed = table.groupby(["row", "order"], as_index=False).sum()
    summed.insert(0, "date", _days(panel.dates[held.rows])[summed.pop("row")])
    summed.insert(1, "industry", np.array(list(names.values()), object)[summed.pop("order")])
    return summed


def _days(dates: NDArray[np.datetime64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(dates.astype("datetime64[ms]"), name="date")


def _factors(panel: Panel, factors: pd.DataFrame | None) -> pd.DataFrame:
    """Return given factors, or those of the panel."""
    if factors is None and panel.factors is None:
        raise InputError("alpha needs factors, found none given and a panel without them")
    if factors is None:
        return pd.DataFrame(panel.factors, index=_days(panel.dates), columns=list(panel.factor_names))
    if not isinstance(factors.index, pd.DatetimeIndex) or not factors.index.is_unique or not len(factors.columns):
        raise InputError(f"factors must have columns and an index of unique dates, found {factors.index[:3].tolist()}")
    if np.isinf(factors.to_numpy(np.float64)).any():
        raise InputError("factors must be finite or NaN, found an infinite one")
    return factors


def _excess(part: pd.DataFrame, panel: Panel, side: str) -> pd.Series:
    """Return a portfolio's returns in excess of what financing them costs, by date."""
    returns = pd.Series(part[side].to_numpy(), pd.DatetimeIndex(part["date"]))
    if panel.risk_free is None or "net_weight" not in part:
        return returns
    rate = pd.Series(panel.risk_free, _days(panel.dates)).reindex(returns.index).to_numpy()
    return returns - part["net_weight"].to_numpy() * rate


def _regress(returns: pd.Series, factors: pd.DataFrame, lag: int | None) -> Iterator[dict[str, Any]]:
    """Yield the coefficients with their errors, the constant first."""
    values = factors.reindex(returns.index).to_numpy(np.float64)
    used = ~np.isnan(values).any(axis=1) & returns.notna().to_numpy()
    design = np.column_stack([np.ones(used.sum()), values[used]])
    count, width = design.shape
    if count < width + 2 or np.linalg.matrix_rank(design / np.maximum(np.abs(design).max(axis=0), 1e-300)) < width:
        raise InputError(
            f"factors must vary, not be collinear, and have at least {width + 2} days in common with the portfolio, "
            f"found {count} days of {', '.join(map(str, factors.columns))}"
        )
    moves = bool(np.ptp(returns.to_numpy()[used]) > 0)
    settings = {"maxlags": min(hac_lag(count, 0) if lag is None else lag, count - 1), "use_correction": True}
    fit = OLS(returns.to_numpy()[used], design).fit(cov_type="HAC", cov_kwds=settings, use_t=True)
    columns = {"estimate": fit.params, "standard_error": fit.bse, "t": fit.tvalues, "p_value": fit.pvalues}
    columns["r2"] = np.full(width, fit.rsquared) if moves else np.full(width, math.nan)
    for i, name in enumerate(["alpha", *factors.columns]):
        row = {key: float(column[i]) if moves else math.nan for key, column in columns.items()}
        yield {"name": str(name)} | row | {"days": count, "dropped": int((~used).sum())}
