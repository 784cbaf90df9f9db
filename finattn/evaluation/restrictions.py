"""Portfolios under the restrictions that returns of machine learning often do not survive, side by side.

Avramov, Cheng and Metzker (2023, "Machine Learning vs. Economic Restrictions", Management Science 69) leave out
microcaps and firms in distress, and take off costs. They cut microcaps at the 20th percentile of the NYSE and know
distress by credit ratings. A panel has neither exchanges nor ratings: here stand in for them, all as known at the
decision date t,

- *microcaps*: the smallest fifth, by market capitalisation, of the panel's listed firms. The NYSE's 20th percentile
  lies higher wherever a panel has the small firms of other exchanges: there this is the milder cut.
- *penny stocks*: a price below 5 dollars (Jegadeesh and Titman 2001).
- *distressed*: the tenth with the lowest returns over the 252 rows up to t; firms fail after they have fallen
  (Campbell, Hilscher and Szilagyi 2008). A firm with fewer than 126 returns among them is not judged.

What cannot be judged (no market capitalisation, no price, too short a history) is left out as well: that it is sound is
not known. Portfolios are formed anew among the firms that are left.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.config.require import require
from finattn.evaluation.performance import portfolio_summary
from finattn.evaluation.portfolio import backtest
from finattn.evaluation.weights import DEFAULT, Scheme, places, target_weights
from finattn.forecasts import Forecasts
from finattn.panel import Panel

__all__ = ["RESTRICTIONS", "allowed", "restricted"]

Mask = NDArray[np.bool_]

MICROCAPS = 0.20
PENNY = 5.0
DISTRESSED = 0.10
YEAR = 252


class Rule(NamedTuple):
    """Which firms may be held [t n] at some rows of a panel, what it needs of it, and what it says in words."""

    keeps: Callable[[Panel, NDArray[np.intp]], Mask]
    needs: str
    words: str


def _not_micro(panel: Panel, rows: NDArray[np.intp]) -> Mask:
    assert panel.market_cap is not None
    return _ranked(panel.market_cap[rows], panel.listed[rows]) > MICROCAPS


def _not_penny(panel: Panel, rows: NDArray[np.intp]) -> Mask:
    assert panel.price is not None
    return panel.price[rows] >= PENNY


def _not_distressed(panel: Panel, rows: NDArray[np.intp]) -> Mask:
    """Growth over a window is a difference of cumulated logs; a total loss counts as one of all but 1e-12."""
    known = np.isfinite(panel.returns)
    growth = _cumulated(np.log1p(np.maximum(np.where(known, panel.returns, 0.0), 1e-12 - 1)))
    count = _cumulated(known)
    first = np.maximum(rows + 1 - YEAR, 0)
    judged = (count[rows + 1] - count[first] >= YEAR // 2) & (rows + 1 >= YEAR)[:, None] & panel.listed[rows]
    return _ranked(growth[rows + 1] - growth[first], judged) > DISTRESSED


_MICRO = Rule(_not_micro, "market_cap", f"market capitalisation not in the lowest {MICROCAPS:.0%} of the panel")
_PENNY = Rule(_not_penny, "price", f"price of at least {PENNY:g}")
_DISTRESS = Rule(_not_distressed, "returns", f"return over {YEAR} rows not in the lowest {DISTRESSED:.0%} of the panel")

RESTRICTIONS: dict[str, tuple[Rule, ...]] = {
    "all": (),
    "without microcaps": (_MICRO,),
    "without penny stocks": (_PENNY,),
    "without distressed": (_DISTRESS,),
    "without any of these": (_MICRO, _PENNY, _DISTRESS),
}


def restricted(
    forecasts: Forecasts,
    panel: Panel,
    scheme: Scheme = DEFAULT,
    delay: int = 0,
    missing_delisting_return: float = 0.0,
) -> pd.DataFrame:
    """Summarise every model's portfolio, before and after costs, with all firms and under each restriction.

    Parameters
    ----------
    forecasts, panel, scheme, delay, missing_delisting_return : see `backtest`.

    Returns
    -------
    DataFrame
        restriction, rule (in words; where the panel lacks what it needs, "not available: …" and no figures), model,
        kept (share of the model's forecasts of firms that may be held), and what `portfolio_summary` says of gross
        and net.

    Raises
    ------
    InputError
        As `backtest`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> dates, firms = np.arange("2020-01-01", "2020-03-01", dtype="M8[D]"), list("ABCDEFGHIJ")
    >>> returns = 0.02 * rng.standard_normal((60, 10))
    >>> cap = np.tile(np.arange(1.0, 11.0), (60, 1))
    >>> panel = Panel(dates, firms, returns, market_cap=cap)
    >>> score = np.where(cap < 3, np.roll(returns, -1, axis=0), 0.0)[:-1].ravel()  # it knows the two smallest firms
    >>> table = pd.DataFrame({
    ...     "date": np.repeat(dates[:-1].astype("M8[s]"), 10), "firm": firms * 59, "model": "ridge", "fold": 0,
    ...     "seed": 0, "score": score, "prediction": score, "realised": returns[1:].ravel()})
    >>> found = restricted(Forecasts(table, 1, 0, 0, 252), panel)
    >>> found[found["side"] == "net"].iloc[:3][["restriction", "kept", "annual_return"]].round(1)
                restriction  kept  annual_return
    1                   all   1.0            3.6
    3     without microcaps   0.8            0.0
    5  without penny stocks   NaN            NaN
    """
    forecast = {model: ~np.isnan(forecasts.wide(model).score) for model in forecasts.models}
    records: list[dict[str, Any]] = []
    for name, rules in RESTRICTIONS.items():
        head: dict[str, Any] = {"restriction": name}
        lacking = [f"panel.{rule.needs}" for rule in rules if getattr(panel, rule.needs) is None]
        if lacking:
            head |= {"rule": f"not available: needs {' and '.join(lacking)}", "delay": delay}
            records += [
                head | {"model": model, "side": side} for model in forecasts.models for side in ("gross", "net")
            ]
            continue
        mask = allowed(forecasts, panel, name)
        weights = {model: target_weights(forecasts, panel, model, scheme, mask) for model in forecasts.models}
        daily = backtest(forecasts, panel, scheme, delay, missing_delisting_return, weights)
        head["rule"] = ", ".join(rule.words for rule in rules) or "every firm with a forecast"
        for row in portfolio_summary(daily, panel.periods_per_year).to_dict("records"):
            kept = mask[forecast[row["model"]]].mean()
            records.append(head | {"model": row["model"], "kept": kept} | {str(key): row[key] for key in row})
    return pd.DataFrame(records)


def allowed(forecasts: Forecasts, panel: Panel, restriction: str) -> Mask:
    """Return which firms may be held [t n] under one of `RESTRICTIONS`, on the axes of `forecasts.wide`.

    Raises
    ------
    InputError
        There is no such restriction, or a date or firm is not in the panel.

    Examples
    --------
    >>> panel = Panel(["2020-01-02"], ["A", "B"], [[0.0, 0.0]], price=[[4.0, 5.0]])
    >>> table = pd.DataFrame({
    ...     "date": panel.dates[[0, 0]].astype("M8[s]"), "firm": panel.firms.astype(object), "model": "ridge",
    ...     "fold": 0, "seed": 0, "score": [1.0, 2.0], "prediction": 0.0, "realised": [0.0, 0.0]})
    >>> allowed(Forecasts(table, 1, 0, 0, 252), panel, "without penny stocks")
    array([[False,  True]])
    """
    require("restriction", restriction, restriction in RESTRICTIONS, f"one of {', '.join(RESTRICTIONS)}")
    rows, columns = places(forecasts.wide(forecasts.models[0]), panel)
    mask = np.ones((len(rows), len(columns)), bool)
    for rule in RESTRICTIONS[restriction]:
        mask &= rule.keeps(panel, rows)[:, columns]
    return mask


def _ranked(values: NDArray[np.float64], among: Mask) -> NDArray[np.float64]:
    """Rank from above 0 to 1 among the firms of each date; NaN where absent, which is above nothing."""
    return pd.DataFrame(np.where(among, values, np.nan)).rank(axis=1, pct=True).to_numpy()


def _cumulated(values: NDArray) -> NDArray:
    """Sum over rows [t + 1, n], from 0."""
    return np.concatenate([np.zeros((1, values.shape[1]), values.dtype), np.cumsum(values, axis=0)])
