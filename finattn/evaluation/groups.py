"""Where and when forecasts are worth something: by year, by size or industry, and as the horizon grows.

Every number is what `tables.summary` would say of the group's forecasts alone: ranks, medians, quantiles and means
are those of the group's own cross-section, and errors are of `mean_inference`.

Examples
--------
Eight firms, of which only the four small ones can be forecast:

>>> rng = np.random.default_rng(0)
>>> dates, firms = np.arange("2020-01-01", "2020-03-01", dtype="datetime64[D]"), list("ABCDEFGH")
>>> returns = 0.02 * rng.standard_normal((60, 8))
>>> cap = np.tile([1e6, 2e6, 3e6, 4e6, 1e9, 2e9, 3e9, 4e9], (60, 1))
>>> panel = Panel(dates, firms, returns, market_cap=cap)
>>> score = np.where(cap < 1e8, np.roll(returns, -1, axis=0), 0.02 * rng.standard_normal((60, 8)))[:-1].ravel()
>>> table = pd.DataFrame({
...     "date": np.repeat(dates[:-1].astype("datetime64[s]"), 8), "firm": firms * 59, "model": "ridge", "fold": 0,
...     "seed": 0, "score": score, "prediction": score, "realised": returns[1:].ravel()})
>>> forecasts = Forecasts(table, horizon=1, delay=0, overlap=0, periods_per_year=252)
>>> found = by_group(forecasts, panel, "size", size_groups=2)
>>> found[found["metric"] == "rank_ic"].round(2)[["group", "model", "estimate", "dates", "firms"]]
         group  model  estimate  dates  firms
1   1 smallest  ridge      1.00     59    4.0
12   2 largest  ridge     -0.05     59    4.0
>>> decay(forecasts, panel, horizons=(1, 5)).round(2)[["horizon", "model", "metric", "estimate", "overlap"]]
   horizon  model   metric  estimate  overlap
0        1  ridge  rank_ic      0.43        0
1        5  ridge  rank_ic      0.22        4
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.blocks import forward_returns
from finattn.config import TargetConfig
from finattn.config.require import require
from finattn.data.sic import industry_levels, sic_divisions
from finattn.errors import InputError
from finattn.evaluation.inference import Estimate, mean_inference
from finattn.evaluation.tables import levels, measure, targets_a_year
from finattn.evaluation.weights import positions
from finattn.forecasts import Forecasts, Wide
from finattn.panel import Panel
from finattn.splits import label_overlap

__all__ = ["COLUMNS", "by_group", "by_year", "decay"]

COLUMNS = ("group", "model", "metric", *Estimate._fields, "firms", "unknown")

Positions = NDArray[np.intp]

_UNKNOWN = "unknown"


def by_year(forecasts: Forecasts, quantiles: int = 5, k: int | None = None) -> pd.DataFrame:
    """Summarise each model's metrics within each calendar year of the decision dates.

    Parameters
    ----------
    forecasts : Forecasts
    quantiles, k : see `tables.per_date`.

    Returns
    -------
    DataFrame
        With `COLUMNS`, by year, then model, then metric: group (the year), the metric's `Estimate` as in
        `tables.summary`, firms (mean number judged on a date) and unknown (forecasts whose outcome is not known).
        A model without forecasts in a year has no row.

    Raises
    ------
    InputError
        `quantiles` is below 2, or `k` below 0.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import by_year
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> found = by_year(forecasts)
    >>> found[found["metric"] == "rank_ic"][["group", "model", "estimate", "standard_error", "dates"]].round(3)
      group model  estimate  standard_error  dates
    1  2020  mean     0.077           0.068     52
    """
    tables = [
        measure(forecasts.wide(model), quantiles, k).assign(model=model, group=lambda table: table["date"].dt.year)
        for model in forecasts.models
    ]
    years = sorted({year for table in tables for year in table["group"]})
    return _frame(pd.concat(tables), {year: str(year) for year in years}, forecasts)


def by_group(
    forecasts: Forecasts,
    panel: Panel,
    by: Literal["size", "industry"],
    size_groups: int = 3,
    level: int = -1,
    quantiles: int = 5,
    k: int | None = None,
) -> pd.DataFrame:
    """Summarise each model's metrics within groups of firms, as known at the close of each decision date.

    - *size*: on each date the listed firms of the panel with a market capitalisation are ranked by it and cut into
      `size_groups` of equal number; firms that tie share a group.
    - *industry*: the groups of one level of the panel's scheme. Where `panel.industry_as_of` is false, they are those
      of today, known afterwards.

    A firm-date without a market capitalisation or a code is in the group "unknown", the last.

    Parameters
    ----------
    forecasts : Forecasts
    panel : Panel
        Holds all the forecasts' dates and firms.
    by : "size" or "industry"
    size_groups : int
        At least 2: 3 are terciles, 5 quintiles.
    level : int
        Of the industry scheme: 0 the finest, -1 the coarsest.
    quantiles, k : see `tables.per_date`.

    Returns
    -------
    DataFrame
        As of `by_year`.

    Raises
    ------
    InputError
        `by`, `size_groups` or `level` is none that there is, the panel has no market capitalisation or no industry
        codes, or a date or firm of the forecasts is not in the panel.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import by_group
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> found = by_group(forecasts, panel, "industry")
    >>> found[(found["metric"] == "hit_rate") & (found["firms"] > 2)][["group", "estimate", "firms"]].round(3)
                                     group  estimate  firms
    15                       Manufacturing     0.529   12.0
    26                        Retail trade     0.558    3.0
    37  Finance, insurance and real estate     0.538    3.0
    """
    axes = forecasts.wide(forecasts.models[0])
    rows, columns = positions(axes.dates, panel.dates, "date"), positions(axes.firms, panel.firms, "firm")
    if by == "size":
        codes, names = _sizes(panel, rows, columns, size_groups)
    elif by == "industry":
        codes, names = industries(panel, rows, columns, level)
    else:
        raise InputError(f"by must be size or industry, found {by!r}")
    tables = [
        measure(part, quantiles, k).assign(model=model, group=code)
        for model in forecasts.models
        for code, part in _parts(forecasts.wide(model), codes)
    ]
    return _frame(pd.concat(tables), names, forecasts)


def decay(
    forecasts: Forecasts,
    panel: Panel,
    horizons: Sequence[int] = (1, 5, 21, 63),
    missing_delisting_return: float = 0.0,
) -> pd.DataFrame:
    """Rank IC of the same scores with the return over other horizons: how fast what they know is used up.

    The return is that of `blocks.forward_returns` over rows (t + delay, t + delay + horizon], with the delay of the
    forecasts. Each horizon is judged on all dates on which it is known, so that a longer one ends earlier. Errors
    take the overlap of the horizon's own windows.

    Parameters
    ----------
    forecasts : Forecasts
    panel : Panel
        Holds all the forecasts' dates and firms.
    horizons : sequence of int
        Rows of the panel, each at least 1.
    missing_delisting_return : float
        Stands in where a firm leaves the list without a return, as in the target.

    Returns
    -------
    DataFrame
        horizon, model, metric (rank_ic), the `Estimate`, firms and unknown as in `by_year`, and overlap (later decision
        dates whose window begins before that of a date ends).

    Raises
    ------
    InputError
        A horizon is below 1, `missing_delisting_return` is none, or a date or firm is not in the panel.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import decay
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> decay(forecasts, panel, horizons=(1, 5, 21))[["horizon", "estimate", "lower", "upper", "overlap"]].round(3)
       horizon  estimate  lower  upper  overlap
    0        1     0.077 -0.060  0.213        0
    1        5     0.046 -0.068  0.160        1
    2       21     0.104 -0.119  0.327        4
    """
    axes = forecasts.wide(forecasts.models[0])
    rows, columns = positions(axes.dates, panel.dates, "date"), positions(axes.firms, panel.firms, "firm")
    records = []
    for horizon in horizons:
        target = TargetConfig(horizon, forecasts.delay, missing_delisting_return)
        realised = forward_returns(panel, rows, target)[:, columns]
        overlap = label_overlap(rows, horizon)
        for model in forecasts.models:
            table = measure(forecasts.wide(model)._replace(realised=realised), quantiles=2)
            estimate = mean_inference(_judged(table)["rank_ic"], overlap)
            records.append({"horizon": horizon} | _record(model, "rank_ic", estimate, table) | {"overlap": overlap})
    return pd.DataFrame(records, columns=["horizon", *COLUMNS[1:], "overlap"])


def _sizes(panel: Panel, rows: Positions, columns: Positions, count: int) -> tuple[Positions, dict[int, str]]:
    """Return the size group [t n] of each firm-date from 1, 0 = unknown, and the groups' names."""
    if panel.market_cap is None:
        raise InputError("groups by size need panel.market_cap, found a panel without it")
    require("size_groups", count, count >= 2, "at least 2")
    cap = pd.DataFrame(np.where(panel.listed[rows], panel.market_cap[rows], np.nan))
    below = cap.rank(axis=1).to_numpy()[:, columns] - 0.5  # firms smaller than this one, and half of itself and ties
    codes = np.nan_to_num(below * count // cap.count(axis=1).to_numpy()[:, None] + 1).astype(np.int64)
    words = {1: " smallest", count: " largest"}
    return codes, {code: f"{code}{words.get(code, '')}" for code in range(1, count + 1)} | {0: _UNKNOWN}


def industries(panel: Panel, rows: Positions, columns: Positions, level: int) -> tuple[Positions, dict[int, str]]:
    """Return the industry group [t n] of each firm-date, 0 = unknown, and the groups' names."""
    known, place = np.unique(panel.industry[rows][:, columns], return_inverse=True)
    if not known.any():
        raise InputError("groups by industry need industry codes, found none on the dates of the forecasts")
    groups = industry_levels(known, panel.industry_scheme, panel.industry_widths)
    require("level", level, level in range(-len(groups), len(groups)), f"one of the {len(groups)} of the scheme")
    divisions = panel.industry_scheme == "sic" and level in (-1, len(groups) - 1)
    words = {code: row[3] for code, row in enumerate(sic_divisions(), 1)} if divisions else {}
    names = {code: words.get(code, str(code)) for code in np.unique(groups[level]).tolist() if code}
    return groups[level][place].reshape(len(rows), -1), names | {0: _UNKNOWN}


def _parts(wide: Wide, codes: Positions) -> Iterator[tuple[int, Wide]]:
    """Cut forecasts into groups; a group has only the columns of the firms that were ever in it."""
    for code in np.unique(codes).tolist():
        held = codes == code
        ever = held.any(axis=0)
        arrays = (np.where(held[:, ever], array[:, ever], np.nan) for array in wide[2:])
        yield code, Wide(wide.dates, wide.firms[ever], *arrays)


def _frame(table: pd.DataFrame, names: dict[int, str], forecasts: Forecasts) -> pd.DataFrame:
    """Summarise measured forecasts by the columns group and model; the groups come in the order of their names."""
    yearly = targets_a_year(forecasts, table.loc[table["firms"] > 0, "date"])
    own = dict(iter(table[table["firms"] + table["unknown"] > 0].groupby(["group", "model"])))
    records = [
        {"group": names[code]} | _record(model, metric, estimate, own[code, model])
        for code in names
        for model in forecasts.models
        if (code, model) in own
        for metric, estimate in levels(_judged(own[code, model]), forecasts.overlap, yearly).items()
    ]
    return pd.DataFrame(records, columns=list(COLUMNS))


def _record(model: str, metric: str, estimate: Estimate, table: pd.DataFrame) -> dict[str, Any]:
    """Lay out an estimate with the counts of the measured forecasts that it is of."""
    counts = {"firms": _judged(table)["firms"].mean(), "unknown": int(table["unknown"].sum())}
    return {"model": model, "metric": metric} | estimate._asdict() | counts


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the dates with an outcome."""
    return table[table["firms"] > 0]
