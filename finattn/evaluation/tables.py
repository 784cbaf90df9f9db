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
>>> summary(forecasts).round(2)[["model", "metric", "estimate", "standard_error", "dates", "undefined"]].iloc[4:7]
   model    metric  estimate  standard_error  dates  undefined
4   zero  hit_rate       NaN             NaN      0         60
5  ridge        ic      0.73            0.02     60          0
6  ridge   rank_ic      0.68            0.02     60          0
>>> differences(forecasts, against="zero").round(2)[["model", "against", "estimate", "p_holm", "undefined"]]
   model against  estimate  p_holm  undefined
0  ridge    zero      0.68     0.0         60
>>> primary(forecasts, "ridge", "zero").claim
True
>>> len(evaluate(forecasts, against=["zero"]))
14
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn import metrics
from finattn.errors import InputError
from finattn.evaluation.inference import Estimate, holm, mean_inference, one_sided
from finattn.forecasts import Forecasts

__all__ = ["COLUMNS", "Comparison", "differences", "evaluate", "per_date", "primary", "summary"]

COLUMNS = (
    "model", "against", "metric", "estimate", "standard_error", "t", "p_value", "p_holm", "lower", "upper",
    "bootstrap_lower", "bootstrap_upper", "dates", "undefined",
)  # fmt: skip

# What stands for an undefined date in a paired test: what a forecast without content is worth.
_CONTENTLESS = {"ic": 0.0, "rank_ic": 0.0, "hit_rate": 0.5, "r2": 0.0}
_CLAIM = 0.05
_NOISE = 1e-12


class Comparison(NamedTuple):
    """The comparison that was declared before the run."""

    model: str
    against: str
    metric: str
    estimate: Estimate
    """Of the mean paired difference, model minus against."""
    p_one_sided: float
    """Of the null that the model is no better."""
    claim: bool
    """Whether that p-value is below 0.05."""


def per_date(forecasts: Forecasts) -> pd.DataFrame:
    """Compute every metric of every model at each decision date, seeds averaged before.

    Parameters
    ----------
    forecasts : Forecasts

    Returns
    -------
    DataFrame
        date, model, ic, rank_ic, hit_rate (NaN where undefined), loss_model, loss_zero (sums of squares over firms) and
        firms (number with a forecast whose outcome is known). Dates without such a firm are left out.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "date": pd.to_datetime(["2020-01-31"] * 3), "firm": ["A", "B", "C"], "model": "ridge", "fold": 0, "seed": 0,
    ...     "score": [1.0, 2.0, 3.0], "prediction": [0.0, 0.0, 0.0], "realised": [0.03, 0.04, 0.05]})
    >>> per_date(Forecasts(table, 21, 0, 0, 252))[["model", "rank_ic", "firms"]]
       model  rank_ic  firms
    0  ridge      1.0      3
    """
    return pd.concat([_per_date(forecasts, model) for model in forecasts.models], ignore_index=True)


def summary(forecasts: Forecasts) -> pd.DataFrame:
    """Average each model's metrics over dates, with errors from `mean_inference`.

    Undefined dates are dropped and counted. A model whose cross-sections are all constant has NaN everywhere but in r2.

    - ic, rank_ic, hit_rate: mean over dates. The t and p of hit_rate are against 0.5, its interval is around it.
    - icir: mean over standard deviation (of one date, not annualised) of the rank IC. Its errors are those of its
      linearisation (delta method): the mean of icir + z - icir (z^2 - mean z^2) / 2 with z the standardised rank IC.
    - r2: pooled, 1 - sum (r - rhat)^2 / sum r^2 (Gu, Kelly and Xiu 2020), which is the mean over dates of
      (loss_zero - loss_model) / mean loss_zero; errors are of that mean, with the denominator taken as fixed.

    Parameters
    ----------
    forecasts : Forecasts

    Returns
    -------
    DataFrame
        With `COLUMNS`; `against` is null and p_holm NaN, since levels are not a family of tests.
    """
    return _summary(per_date(forecasts), forecasts.overlap)


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

    Raises
    ------
    InputError
        As `differences`.
    """
    estimate = _difference(per_date(forecasts), forecasts.overlap, model, against, metric)
    p_value = one_sided(estimate)
    return Comparison(model, against, metric, estimate, p_value, p_value < _CLAIM)


def evaluate(forecasts: Forecasts, against: Sequence[str] | None = None) -> pd.DataFrame:
    """Make the whole table of metrics: `summary`, then `differences` to each of `against` in every metric.

    Parameters
    ----------
    forecasts : Forecasts
    against : sequence of str
        Models to subtract; each must be among the forecasts. By default ridge and sic_kernel, as far as they are.

    Returns
    -------
    DataFrame
        With `COLUMNS`.

    Raises
    ------
    InputError
        As `differences`.
    """
    if against is None:
        against = [name for name in ("ridge", "sic_kernel") if name in forecasts.models]
    if isinstance(against, str):
        raise InputError(f"against must be a list of models, found the text {against!r}")
    table, overlap = per_date(forecasts), forecasts.overlap
    pairs = [_differences(table, overlap, other, metric) for other in against for metric in _CONTENTLESS]
    return pd.concat([_summary(table, overlap), *pairs], ignore_index=True)


def _per_date(forecasts: Forecasts, model: str) -> pd.DataFrame:
    """Compute one model's metrics per date."""
    wide = forecasts.wide(model)
    judged = np.count_nonzero(~np.isnan(wide.score) & ~np.isnan(wide.realised), axis=1)
    loss_model, loss_zero = metrics.squared_losses(wide.prediction, wide.realised)
    table = pd.DataFrame(
        {
            "date": wide.dates.astype("datetime64[ms]"),
            "model": model,
            "ic": metrics.information_coefficient(wide.score, wide.realised),
            "rank_ic": metrics.rank_information_coefficient(wide.score, wide.realised),
            "hit_rate": metrics.hit_rate(wide.score, wide.realised),
            "loss_model": loss_model,
            "loss_zero": loss_zero,
            "firms": judged,
        }
    )
    return table[judged > 0].reset_index(drop=True)


def _summary(table: pd.DataFrame, overlap: int) -> pd.DataFrame:
    """Summarise a table made by `per_date`."""
    rows = [
        (str(model), None, metric, level(group, overlap), np.nan)
        for model, group in table.groupby("model", sort=False)
        for metric, level in _LEVELS.items()
    ]
    return _frame(rows)


def _mean(column: str) -> Callable[[pd.DataFrame, int], Estimate]:
    return lambda group, overlap: mean_inference(group[column], overlap)


def _hit_rate(group: pd.DataFrame, overlap: int) -> Estimate:
    """Inference on the excess over chance, around the rate itself."""
    excess = mean_inference(group["hit_rate"] - 0.5, overlap)
    moved = ("estimate", "lower", "upper", "bootstrap_lower", "bootstrap_upper")
    return excess._replace(**{name: getattr(excess, name) + 0.5 for name in moved})


def _icir(group: pd.DataFrame, overlap: int) -> Estimate:
    """Ratio of mean to standard deviation, through its influence function."""
    series = group["rank_ic"].to_numpy()
    if metrics.constant(series[None])[0]:
        return mean_inference(np.full(len(series), np.nan), overlap)
    deviation = np.nanstd(series, ddof=1)
    ratio = np.nanmean(series) / deviation
    squares = ((series - np.nanmean(series)) / deviation) ** 2
    return mean_inference(series / deviation - ratio * (squares - np.nanmean(squares)) / 2, overlap)


def _r2(group: pd.DataFrame, overlap: int) -> Estimate:
    return mean_inference(_scaled(group["loss_zero"] - group["loss_model"], group["loss_zero"]), overlap)


_LEVELS: dict[str, Callable[[pd.DataFrame, int], Estimate]] = {
    "ic": _mean("ic"), "rank_ic": _mean("rank_ic"), "icir": _icir, "r2": _r2, "hit_rate": _hit_rate,
}  # fmt: skip


def _scaled(losses: pd.Series, zero: pd.Series) -> NDArray[np.float64]:
    """Divide by the mean loss of the forecast zero; NaN where all outcomes are zero."""
    mean = zero.mean()
    return losses.to_numpy() / (mean if mean > 0 else np.nan)


def _differences(table: pd.DataFrame, overlap: int, against: str, metric: str) -> pd.DataFrame:
    """Compare all other models of a table made by `per_date` with one."""
    others = [model for model in table["model"].unique() if model != against]
    found = [_difference(table, overlap, model, against, metric) for model in others]
    adjusted = holm([estimate.p_value for estimate in found])
    return _frame(
        (model, against, metric, estimate, p) for model, estimate, p in zip(others, found, adjusted, strict=True)
    )


def _difference(table: pd.DataFrame, overlap: int, model: str, against: str, metric: str) -> Estimate:
    """Mean paired difference of two models."""
    if metric not in _CONTENTLESS:
        raise InputError(f"expected one of the metrics {', '.join(_CONTENTLESS)}, found {metric!r}")
    pair = [_of(table, name) for name in (model, against)]
    _check_pair(pair[0], pair[1], model, against)
    values = [_paired_values(one, metric) for one in pair]
    undefined = int(np.count_nonzero(np.isnan(values[0]) | np.isnan(values[1])))
    filled = [np.nan_to_num(value, nan=_CONTENTLESS[metric]) for value in values]
    gain = filled[0] - filled[1]
    gain[np.abs(gain) <= _NOISE] = 0.0  # forecasts that order firms alike are equal, not significantly different
    return mean_inference(gain, overlap)._replace(undefined=undefined)


def _paired_values(group: pd.DataFrame, metric: str) -> NDArray[np.float64]:
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
