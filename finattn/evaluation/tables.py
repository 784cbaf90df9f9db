"""Forecasts to tables: metrics per date, their averages with errors, and paired differences between models.

Examples
--------
Two models, the second of which knows the outcome but for noise:

>>> rng = np.random.default_rng(0)
>>> realised = 0.02 * rng.standard_normal(600)
>>> table = pd.concat([
...     pd.DataFrame({
...         "date": np.repeat(pd.date_range("2020-01-01", periods=60), 10), "firm": list("ABCDEFGHIJ") * 60,
...         "model": model, "fold": 0, "seed": 0, "score": score, "prediction": score, "realised": realised})
...     for model, score in (("zero", 0.0), ("ridge", realised + 0.02 * rng.standard_normal(600)))])
>>> forecasts = Forecasts(table, horizon=1, delay=0, overlap=0, periods_per_year=252)
>>> summary(forecasts).round(2)[["model", "metric", "estimate", "standard_error", "dates", "undefined"]].iloc[10:13]
    model       metric  estimate  standard_error  dates  undefined
10   zero  icir_annual       NaN             NaN      0         60
11  ridge           ic      0.73            0.02     60          0
12  ridge      rank_ic      0.68            0.02     60          0
>>> differences(forecasts, against="zero").round(2)[["model", "against", "estimate", "p_holm", "undefined"]]
   model against  estimate  p_holm  undefined
0  ridge    zero      0.68     0.0         60
>>> primary(forecasts, "ridge", "zero").claim
True
>>> len(evaluate(forecasts, against=["zero"]))
26
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn import metrics
from finattn.errors import InputError
from finattn.evaluation.inference import Estimate, holm, mean_inference, one_sided
from finattn.forecasts import Forecasts, Wide

__all__ = ["COLUMNS", "Comparison", "differences", "evaluate", "per_date", "primary", "summary"]

COLUMNS = (
    "model", "against", "metric", "estimate", "standard_error", "t", "p_value", "p_holm", "lower", "upper",
    "bootstrap_lower", "bootstrap_upper", "dates", "undefined",
)  # fmt: skip

# What stands for an undefined date in a paired test: what a forecast without content is worth.
_CONTENTLESS = {"ic": 0.0, "rank_ic": 0.0, "hit_rate": 0.5, "r2": 0.0}
_CLAIM = 0.05
_NOISE = 1e-12
_PIECE = 2**19  # firm-dates at a time: their arrays fit a processor's cache and no temporary is as large as the table

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """The comparison that was declared before the run.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import primary
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits)
    >>> found = primary(forecasts, "ridge", "mean")
    >>> round(found.estimate.estimate, 2), round(found.p_one_sided, 2), found.claim
    (-0.11, 0.93, False)
    """

    model: str
    against: str
    metric: str
    estimate: Estimate
    """Of the mean paired difference, model minus against."""
    p_one_sided: float
    """Of the null that the model is no better."""
    claim: bool
    """Whether that p-value is below 0.05."""


def per_date(forecasts: Forecasts, quantiles: int = 5, k: int | None = None) -> pd.DataFrame:
    """Compute every metric of every model at each decision date, seeds averaged before.

    Parameters
    ----------
    forecasts : Forecasts
    quantiles : int
        Of which the outer two make quantile_spread.
    k : int, optional
        Of precision_excess; by default firms // quantiles, the places of one side of the spread.

    Returns
    -------
    DataFrame
        date, model; ic, rank_ic, hit_rate, sign_hit_rate, sign_hit_excess (over what the base rates give),
        quantile_spread and precision_excess (share of the k highest scores that are among the k highest returns, minus
        its base rate k / firms), NaN where undefined; what makes pooled metrics: cross and square
        (`metrics.calibration_sums`), loss_model and loss_zero (sums of squares over firms); firms and unknown (number
        with a forecast whose outcome is known, and is not). Dates without a known outcome are left out.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "date": pd.to_datetime(["2020-01-31"] * 3), "firm": ["A", "B", "C"], "model": "ridge", "fold": 0, "seed": 0,
    ...     "score": [1.0, 2.0, 3.0], "prediction": [0.0, 0.0, 0.0], "realised": [0.03, 0.04, 0.05]})
    >>> per_date(Forecasts(table, 21, 0, 0, 252))[["model", "rank_ic", "firms"]]
       model  rank_ic  firms
    0  ridge      1.0      3
    """
    parts = [measure(forecasts.wide(model), quantiles, k).assign(model=model) for model in forecasts.models]
    table = pd.concat(parts, ignore_index=True)
    table.insert(1, "model", table.pop("model"))
    return table[table["firms"] > 0].reset_index(drop=True)


def summary(forecasts: Forecasts, quantiles: int = 5, k: int | None = None) -> pd.DataFrame:
    """Average each model's metrics over dates, with errors from `mean_inference`.

    Undefined dates are dropped and counted. A model whose cross-sections are all constant has NaN in all that needs
    them to vary.

    - ic, rank_ic, quantile_spread, precision_excess, sign_hit_excess: mean over dates of `per_date`.
    - hit_rate, sign_hit_rate: likewise; t and p are against 0.5, the interval is around the rate.
    - icir: mean over standard deviation (of one date, not annualised) of the rank IC. Its errors are those of its
      linearisation (delta method): the mean of icir + z - icir (z^2 - mean z^2) / 2 with z the standardised rank IC.
    - icir_annual: icir times the root of the targets a year that share no row: decision dates a year, at most
      `periods_per_year` / horizon. It is the t value that a year of such targets has on average if their rank ICs are
      independent; it is no Sharpe ratio, since nobody earns a rank IC.
    - r2: pooled, 1 - sum (r - rhat)^2 / sum r^2 (Gu, Kelly and Xiu 2020), which is the mean over dates of
      (loss_zero - loss_model) / mean loss_zero; errors are of that mean, with the denominator taken as fixed.
    - calibration_slope: pooled, of returns on predictions, both in excess of their date's mean; t and p are against 1,
      which is calibrated. Errors are of the mean of its score per date: clustered by date and HAC between dates
      (Driscoll and Kraay 1998).

    Parameters
    ----------
    forecasts : Forecasts
    quantiles, k : see `per_date`.

    Returns
    -------
    DataFrame
        With `COLUMNS`; `against` is null and p_holm NaN, since levels are not a family of tests.

    Raises
    ------
    InputError
        `quantiles` is below 2, or `k` below 0.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import summary
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> summary(forecasts)[["metric", "estimate", "standard_error", "t", "dates"]].round(2).head(2)
        metric  estimate  standard_error     t  dates
    0       ic      0.09            0.07  1.28     52
    1  rank_ic      0.08            0.07  1.13     52
    """
    return _summary(per_date(forecasts, quantiles, k), forecasts)


def differences(forecasts: Forecasts, against: str, metric: str = "rank_ic") -> pd.DataFrame:
    """Test every other model's paired difference to one model, date by date.

    Where a metric is undefined it counts as that of a forecast without content (0; 0.5 for hit_rate), so that no date
    is lost from the pair, and such dates are counted in `undefined`. r2 differences are (loss_against - loss_model) /
    mean loss_zero. p-values are two-sided; p_holm adjusts them over all other models.

    Parameters
    ----------
    forecasts : Forecasts
    against : str
        The model that is subtracted.
    metric : str
        ic, rank_ic, hit_rate or r2.

    Returns
    -------
    DataFrame
        With `COLUMNS`, one row for each model but `against`.

    Raises
    ------
    InputError
        An unknown model or metric, or two models that do not forecast the same number of firms on every date.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import differences
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits)
    >>> differences(forecasts, against="mean")[["model", "against", "estimate", "standard_error", "p_holm"]].round(2)
       model against  estimate  standard_error  p_holm
    0  ridge    mean     -0.11            0.07    0.15
    """
    return _differences(per_date(forecasts), forecasts.overlap, against, metric)


def primary(forecasts: Forecasts, model: str, against: str, metric: str = "rank_ic") -> Comparison:
    """Test the one comparison that was declared beforehand, one-sided: that `model` is better than `against`.

    Parameters
    ----------
    forecasts : Forecasts
    model, against : str
    metric : str
        ic, rank_ic, hit_rate or r2; treated as in `differences`.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        As `differences`.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.evaluation import primary
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean(), "ridge": fa.Ridge()}, splits)
    >>> found = primary(forecasts, "mean", "ridge", metric="r2")
    >>> f"{found.estimate.estimate:.4f} ± {found.estimate.standard_error:.4f}, p = {found.p_one_sided:.2f}"
    '0.0007 ± 0.0036, p = 0.42'
    """
    return compare(per_date(forecasts), forecasts.overlap, model, against, metric)


def evaluate(
    forecasts: Forecasts, against: Sequence[str] | None = None, quantiles: int = 5, k: int | None = None
) -> pd.DataFrame:
    """Make the whole table of metrics: `summary`, then `differences` to each of `against` in every metric.

    Parameters
    ----------
    forecasts : Forecasts
    against : sequence of str
        Models to subtract; each must be among the forecasts. By default ridge and sic_kernel, as far as they are.
    quantiles, k : see `per_date`.

    Returns
    -------
    DataFrame
        With `COLUMNS`.

    Raises
    ------
    InputError
        As `differences`.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> days = pd.date_range("2020-01-01", periods=60).as_unit("ms")
    >>> table = pd.DataFrame({"date": days.repeat(9), "firm": list("ABCDEFGHI") * 60, "model": "ridge", "fold": 0,
    ...                       "seed": 0, "score": random.normal(size=540), "prediction": 0.0})
    >>> found = evaluate(Forecasts(table.assign(realised=table["score"] / 100), 1, 0, 0, 252))
    >>> found[found["metric"] == "rank_ic"][["model", "estimate", "dates"]]
       model  estimate  dates
    1  ridge       1.0     60
    """
    if against is None:
        against = [name for name in ("ridge", "sic_kernel") if name in forecasts.models]
    if isinstance(against, str):
        raise InputError(f"against must be a list of models, found the text {against!r}")
    table, overlap = per_date(forecasts, quantiles, k), forecasts.overlap
    pairs = [_differences(table, overlap, other, metric) for other in against for metric in _CONTENTLESS]
    return pd.concat([_summary(table, forecasts), *pairs], ignore_index=True)


def measure(wide: Wide, quantiles: int, k: int | None = None) -> pd.DataFrame:
    """Compute one model's metrics per date [t], without the column `model` and with dates that have no outcome yet.

    Goes through the dates in pieces, so that no temporary array is as large as the forecasts.
    """
    rows = max(1, _PIECE // max(1, len(wide.firms)))
    pieces = [slice(start, start + rows) for start in range(0, len(wide.dates), rows)]
    parts = [_measure(wide.score[at], wide.prediction[at], wide.realised[at], quantiles, k) for at in pieces]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return pd.DataFrame({"date": wide.dates.astype("datetime64[ms]"), **columns})


def _measure(
    score: Floats, prediction: Floats, realised: Floats, quantiles: int, k: int | None
) -> dict[str, NDArray[Any]]:
    """Compute the metrics of some dates."""
    given = ~np.isnan(score)
    firms = np.count_nonzero(given & ~np.isnan(realised), axis=1)
    spread = metrics.quantile_spread(score, realised, quantiles)
    agreed, expected = metrics.sign_hit_rate(prediction, realised)
    precision, base_rate = metrics.precision_at_k(score, realised, firms // quantiles if k is None else k)
    cross, square = metrics.calibration_sums(prediction, realised)
    loss_model, loss_zero = metrics.squared_losses(prediction, realised)
    return {
        "ic": metrics.information_coefficient(score, realised),
        "rank_ic": metrics.rank_information_coefficient(score, realised),
        "hit_rate": metrics.hit_rate(score, realised),
        "sign_hit_rate": agreed,
        "sign_hit_excess": agreed - expected,
        "quantile_spread": spread,
        "precision_excess": precision - base_rate,
        "cross": cross,
        "square": square,
        "loss_model": loss_model,
        "loss_zero": loss_zero,
        "firms": firms,
        "unknown": np.count_nonzero(given, axis=1) - firms,
    }


def levels(table: pd.DataFrame, overlap: int, targets_a_year: float) -> dict[str, Estimate]:
    """Summarise one model's rows of `per_date`, by the name of the metric."""
    found = {metric: level(table, overlap) for metric, level in _LEVELS.items()}
    found["icir_annual"] = _annual(found["icir"], math.sqrt(targets_a_year))
    return found


def targets_a_year(forecasts: Forecasts, dates: pd.Series) -> float:
    """Count the decision dates in a year of 365.25 days, at most the targets that a year holds without sharing a row.

    NaN for a single date.
    """
    days = (dates.max() - dates.min()).days if len(dates) else 0
    decisions = 365.25 * (dates.nunique() - 1) / days if days else math.nan
    return min(decisions, forecasts.periods_per_year / forecasts.horizon)


def _summary(table: pd.DataFrame, forecasts: Forecasts) -> pd.DataFrame:
    """Summarise a table made by `per_date`."""
    yearly = targets_a_year(forecasts, table["date"])
    return _frame(
        (str(model), None, metric, estimate, np.nan)
        for model, group in table.groupby("model", sort=False)
        for metric, estimate in levels(group, forecasts.overlap, yearly).items()
    )


def _mean(column: str, null: float = 0.0) -> Callable[[pd.DataFrame, int], Estimate]:
    return lambda group, overlap: _against(group[column].to_numpy(), null, overlap)


def _against(series: Floats, null: float, overlap: int) -> Estimate:
    """Infer on the excess over the null, around the mean itself."""
    return _mapped(mean_inference(series - null, overlap), lambda value: value + null)


def _mapped(estimate: Estimate, change: Callable[[float], float]) -> Estimate:
    """Change the estimate and the ends of its intervals."""
    names = ("estimate", "lower", "upper", "bootstrap_lower", "bootstrap_upper")
    moved: dict[str, Any] = {name: change(getattr(estimate, name)) for name in names}
    return estimate._replace(**moved)


def _icir(group: pd.DataFrame, overlap: int) -> Estimate:
    """Ratio of mean to standard deviation, through its influence function."""
    series = group["rank_ic"].to_numpy()
    if metrics.constant(series[None])[0]:
        return mean_inference(np.full(len(series), np.nan), overlap)
    deviation = np.nanstd(series, ddof=1)
    ratio = np.nanmean(series) / deviation
    squares = ((series - np.nanmean(series)) / deviation) ** 2
    return mean_inference(series / deviation - ratio * (squares - np.nanmean(squares)) / 2, overlap)


def _annual(icir: Estimate, root: float) -> Estimate:
    """Multiply by the root of the number of targets in a year; t and p stay."""
    return _mapped(icir, lambda value: value * root)._replace(standard_error=icir.standard_error * root)


def _r2(group: pd.DataFrame, overlap: int) -> Estimate:
    return mean_inference(_scaled(group["loss_zero"] - group["loss_model"], group["loss_zero"]), overlap)


def _calibration(group: pd.DataFrame, overlap: int) -> Estimate:
    """Ratio of pooled sums, through its influence function."""
    cross, square = group["cross"], group["square"]
    slope = cross.sum() / square.sum() if square.sum() > 0 else np.nan
    return _against(slope + _scaled(cross - slope * square, square), 1.0, overlap)


_LEVELS: dict[str, Callable[[pd.DataFrame, int], Estimate]] = {
    "ic": _mean("ic"), "rank_ic": _mean("rank_ic"), "icir": _icir, "r2": _r2, "hit_rate": _mean("hit_rate", 0.5),
    "sign_hit_rate": _mean("sign_hit_rate", 0.5), "sign_hit_excess": _mean("sign_hit_excess"),
    "quantile_spread": _mean("quantile_spread"), "precision_excess": _mean("precision_excess"),
    "calibration_slope": _calibration,
}  # fmt: skip


def _scaled(sums: pd.Series, scale: pd.Series) -> Floats:
    """Divide by a mean over dates, such as the loss of the forecast zero; NaN where that is zero."""
    mean = scale.mean()
    return sums.to_numpy() / (mean if mean > 0 else np.nan)


def _differences(table: pd.DataFrame, overlap: int, against: str, metric: str) -> pd.DataFrame:
    """Compare all other models of a table made by `per_date` with one."""
    others = [model for model in table["model"].unique() if model != against]
    found = [paired_difference(table, overlap, model, against, metric) for model in others]
    adjusted = holm([estimate.p_value for estimate in found])
    return _frame(
        (model, against, metric, estimate, p) for model, estimate, p in zip(others, found, adjusted, strict=True)
    )


def paired_difference(table: pd.DataFrame, overlap: int, model: str, against: str, metric: str) -> Estimate:
    """Mean paired difference, model minus against, in one metric of a table made by `per_date`; see `differences`."""
    pair = [_of(table, name) for name in (model, against)]
    _check_pair(pair[0], pair[1], model, against)
    filled = [contributions(one, metric) for one in pair]
    undefined = int(np.count_nonzero(np.isnan([_paired_values(one, metric) for one in pair]).any(axis=0)))
    gain = filled[0] - filled[1]
    gain[np.abs(gain) <= _NOISE] = 0.0  # forecasts that order firms alike are equal, not significantly different
    return mean_inference(gain, overlap)._replace(undefined=undefined)


def compare(table: pd.DataFrame, overlap: int, model: str, against: str, metric: str = "rank_ic") -> Comparison:
    """Do what `primary` does with a table made by `per_date`, which serves several comparisons."""
    estimate = paired_difference(table, overlap, model, against, metric)
    p_value = one_sided(estimate)
    return Comparison(model, against, metric, estimate, p_value, p_value < _CLAIM)


def contributions(group: pd.DataFrame, metric: str) -> Floats:
    """Return what each date contributes to a paired test: the larger, the better; an undefined one is worth nothing."""
    if metric not in _CONTENTLESS:
        raise InputError(f"expected one of the metrics {', '.join(_CONTENTLESS)}, found {metric!r}")
    return np.nan_to_num(_paired_values(group, metric), nan=_CONTENTLESS[metric])


def _paired_values(group: pd.DataFrame, metric: str) -> Floats:
    """Return what a date contributes: the larger, the better."""
    return _scaled(-group["loss_model"], group["loss_zero"]) if metric == "r2" else group[metric].to_numpy()


def _of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return one model's rows by date."""
    rows = table[table["model"] == model]
    if rows.empty:
        known = ", ".join(table["model"].unique())
        raise InputError(f"expected one of the models {known} with known outcomes, found {model!r}")
    return rows.set_index("date")


def _check_pair(first: pd.DataFrame, second: pd.DataFrame, model: str, against: str) -> None:
    """Refuse to compare models that were judged on different dates or numbers of firms."""
    counts = pd.concat([first["firms"], second["firms"]], axis=1).fillna(0).sort_index().astype(int)
    differs = counts[counts.iloc[:, 0] != counts.iloc[:, 1]]
    if len(differs):
        here, there = differs.iloc[0]
        raise InputError(
            f"a paired test needs both models on the same firm-dates, found {here} firms of {model!r} and "
            f"{there} of {against!r} on {differs.index[0]:%Y-%m-%d} and {len(differs) - 1} other dates that differ"
        )


def _frame(rows: Iterable[tuple[str, str | None, str, Estimate, float]]) -> pd.DataFrame:
    """Lay out (model, against, metric, estimate, p_holm) as a table with `COLUMNS`."""
    records = [
        {"model": model, "against": against, "metric": metric, "p_holm": p} | estimate._asdict()
        for model, against, metric, estimate, p in rows
    ]
    # Spelled out, since a table without rows would have no types and could not be stacked with others.
    types = dict.fromkeys(COLUMNS, "float64")
    types |= {"model": "str", "against": "object", "metric": "str", "dates": "int64", "undefined": "int64"}
    return pd.DataFrame(records, columns=list(COLUMNS)).astype(types)
