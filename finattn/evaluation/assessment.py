"""All that a backtest of forecasts can tell on a panel, and what it cannot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from finattn.errors import InputError
from finattn.evaluation.exposures import alpha, industry_weights, market_returns
from finattn.evaluation.inference import holm, mean_inference
from finattn.evaluation.performance import portfolio_summary
from finattn.evaluation.portfolio import backtest, holdings
from finattn.evaluation.restrictions import restricted
from finattn.evaluation.weights import DEFAULT, Scheme, positions
from finattn.forecasts import Forecasts
from finattn.panel import Panel

__all__ = ["Assessment", "assess"]


@dataclass(frozen=True)
class Assessment:
    """Tables of a backtest; one that cannot be had is empty, and `lacking` says why.

    Examples
    --------
    >>> import finattn as fa
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> found = fa.assess(forecasts, panel)
    >>> found.summary[["model", "side", "sharpe", "p_holm"]].round(2)
      model   side  sharpe  p_holm
    0  mean  gross    0.64    0.49
    1  mean    net    0.60    0.51
    >>> found.lacking[-1]
    'factors: alpha needs factors, found none given and a panel without them'
    """

    daily: pd.DataFrame
    """As `portfolio.backtest` returns it."""
    summary: pd.DataFrame
    """As `performance.portfolio_summary`, with return_se, p_value (two-sided, of a mean return of zero) and p_holm."""
    restrictions: pd.DataFrame
    """As `restrictions.restricted`."""
    exposures: pd.DataFrame
    """As `exposures.alpha`, with against ("market" or "factors", those of the panel) and p_holm of the alphas."""
    industries: pd.DataFrame
    """model, industry, net, long, short: mean shares of the book after trades, at the coarsest level."""
    lacking: tuple[str, ...]


def assess(
    forecasts: Forecasts,
    panel: Panel,
    scheme: Scheme = DEFAULT,
    delay: int = 1,
    missing_delisting_return: float = 0.0,
) -> Assessment:
    """Trade every model's forecasts, and put beside what they earn what they hold and how sure one may be.

    Figures are of `portfolio.backtest`, before and after costs, with all firms and under each restriction. The error
    of a mean return and its p-value are `inference.mean_inference` of the rows' returns, the error times the rows of a
    year. Exposures are of returns after costs: to the panel's market, weighted as the scheme weights, to the panel's
    factors, and to industries. Holm's correction is over the models, of returns and of alphas apart. What the panel
    does not allow is named in `lacking`.

    Parameters
    ----------
    forecasts, panel, scheme, missing_delisting_return : see `portfolio.backtest`.
    delay : int
        Rows between decision and trade.

    Returns
    -------
    Assessment

    Raises
    ------
    InputError
        As `portfolio.backtest`, and where the panel ends before the first trade of every model.

    Examples
    --------
    >>> import numpy as np
    >>> days = np.datetime64("2020-01-01") + np.arange(40)
    >>> panel = Panel(days, ["A", "B", "C"], np.sin(np.arange(120.0)).reshape(40, 3) / 50)
    >>> table = pd.DataFrame({
    ...     "date": np.repeat(days[:30].astype("M8[s]"), 3), "firm": ["A", "B", "C"] * 30, "model": "mine", "fold": 0,
    ...     "seed": 0, "score": np.cos(np.arange(90.0)), "prediction": 0.0, "realised": 0.0})
    >>> found = assess(Forecasts(table, 1, 0, 0, 252), panel, Scheme(quantiles=3))
    >>> found.summary[["model", "side", "days"]]
      model   side  days
    0  mine  gross    31
    1  mine    net    31
    >>> found.lacking[-1]
    'industries: groups by industry need industry codes, found none on the dates of the forecasts'
    """
    forecasts, lacking = _traded(forecasts, panel, delay)
    terms = scheme, delay, missing_delisting_return
    daily = backtest(forecasts, panel, *terms)
    under = restricted(forecasts, panel, *terms)
    absent = under[under["rule"].str.startswith("not available")]
    lacking += [f"{row['restriction']}: {row['rule']}" for row in absent.to_dict("records")]
    market = market_returns(panel, scheme.weighting)
    exposed = [
        table.assign(against=against)
        for against, factors in (("market", market), ("factors", None))
        for _, own in daily.groupby("model", sort=False)
        for table in _possible(against, partial(alpha, own, panel, factors), lacking)
    ]
    held = list(_possible("industries", partial(_mean_industries, forecasts, panel, *terms), lacking))
    return Assessment(
        daily=daily,
        summary=_judged(portfolio_summary(daily, panel.periods_per_year), daily, panel.periods_per_year),
        restrictions=under,
        exposures=_corrected(pd.concat(exposed, ignore_index=True)) if exposed else pd.DataFrame(),
        industries=held[0] if held else pd.DataFrame(),
        lacking=tuple(dict.fromkeys(lacking)),
    )


def _traded(forecasts: Forecasts, panel: Panel, delay: int) -> tuple[Forecasts, list[str]]:
    """Leave out models whose first trade would come after the panel's end, and name them."""
    first = forecasts.table.groupby("model", sort=False)["date"].min()
    late = positions(first.to_numpy().astype("M8[D]"), panel.dates, "date") + delay >= len(panel.dates)
    if late.all():
        raise InputError(
            f"the panel must go on until the first trade, {delay} rows after the decision on {first.min():%Y-%m-%d}, "
            f"found its end on {panel.dates[-1]}"
        )
    kept = forecasts.table[~forecasts.table["model"].isin(first.index[late])].reset_index(drop=True)
    return replace(forecasts, table=kept), [
        f"{model}: the panel ends before its first trade" for model in first[late].index
    ]


def _possible(what: str, make: Callable[[], pd.DataFrame], lacking: list[str]) -> Iterator[pd.DataFrame]:
    """Yield a table, or none and say why."""
    try:
        yield make()
    except InputError as error:
        lacking.append(f"{what}: {error}")


def _judged(summary: pd.DataFrame, daily: pd.DataFrame, periods_per_year: float) -> pd.DataFrame:
    """Put beside each mean return its error and p-value; those of a side are one family."""
    series = {(model, side): own[side] for model, own in daily.groupby("model") for side in ("gross", "net")}
    found = [mean_inference(series[key], 0) for key in zip(summary["model"], summary["side"], strict=True)]
    error = [estimate.standard_error * periods_per_year for estimate in found]
    table = summary.assign(return_se=error, p_value=[estimate.p_value for estimate in found])
    return table.assign(p_holm=table.groupby("side")["p_value"].transform(holm))


def _corrected(exposed: pd.DataFrame) -> pd.DataFrame:
    """Adjust the p-values of the alphas against the same factors for how many there are."""
    alphas = exposed[exposed["name"] == "alpha"]
    return exposed.assign(p_holm=alphas.groupby("against")["p_value"].transform(holm))


def _mean_industries(
    forecasts: Forecasts, panel: Panel, scheme: Scheme, delay: int, missing_delisting_return: float
) -> pd.DataFrame:
    """Average what each model's book holds of each industry over its trades."""
    tables = []
    for model in forecasts.models:
        held = holdings(forecasts, panel, model, scheme, delay, missing_delisting_return)
        by_date = industry_weights(held, panel).groupby("industry", sort=False)[["net", "long", "short"]].sum()
        tables.append((by_date / len(held.rows)).reset_index().assign(model=model))
    return pd.concat(tables, ignore_index=True)[["model", "industry", "net", "long", "short"]]
