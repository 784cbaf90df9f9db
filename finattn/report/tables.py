"""From the run's tables of numbers to tables of text: sensible digits, errors as ±, a dash for what is undefined."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from finattn.looks import label
from finattn.report.sentences import MISSING, number, plus_minus


@dataclass(frozen=True)
class Table:
    """A table as it is shown: the first cell of each row is its heading; a row of another length is refused.

    Examples
    --------
    >>> Table("Rungs", ("Rung", "Rank IC"), [("Ridge", "0.107"), ("Zero", "0.000", "no")])
    Traceback (most recent call last):
    ValueError: a row of the table 'Rungs' must have 2 cells, found 3: ('Zero', '0.000', 'no')
    """

    caption: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    note: str = ""
    words: bool = False  # cells are words, aligned left, rather than numbers

    def __post_init__(self) -> None:
        """Refuse rows that do not stand under the header."""
        width = len(self.header)
        for row in self.rows:
            if len(row) != width:
                raise ValueError(
                    f"a row of the table {self.caption!r} must have {width} cells, found {len(row)}: {row}"
                )


# metric: heading, factor into the unit shown, digits
METRICS = {
    "rank_ic": ("Rank IC", 1.0, 3),
    "ic": ("IC", 1.0, 3),
    "icir": ("ICIR", 1.0, 2),
    "r2": ("R² oos, %", 100.0, 2),
    "hit_rate": ("Hit rate, %", 100.0, 1),
    "sign_hit_rate": ("Signs right, %", 100.0, 1),
    "sign_hit_excess": ("Signs right beyond base rates, %", 100.0, 2),
    "quantile_spread": ("Top minus bottom quantile, %", 100.0, 2),
    "precision_excess": ("Precision of the top beyond its base rate, %", 100.0, 2),
    "calibration_slope": ("Calibration slope", 1.0, 2),
    "icir_annual": ("ICIR a year", 1.0, 2),
}
_BESIDE_RANK_IC = ("ic", "icir", "r2", "hit_rate")  # columns of the table of models
BOOTSTRAP = ("bootstrap_lower", "bootstrap_upper")
UNDEFINED = "— is undefined: a correlation needs firms that do not all tie, an error needs more than a few dates."


def models(metrics: pd.DataFrame) -> Table:
    """Put every model in a row, by itself."""
    levels = metrics[metrics["against"].isna()]
    rows: list[tuple[str, ...]] = []
    for model in dict.fromkeys(levels["model"]):
        own = _by_metric(levels[levels["model"] == model])
        rank = own.get("rank_ic", {})
        values = (_value(own.get(metric, {}), metric) for metric in _BESIDE_RANK_IC)
        counts = _whole(rank.get("dates")), _whole(rank.get("undefined"))
        rows.append((label(model), _value(rank), number(_float(rank, "t"), 2), _interval(rank), *values, *counts))
    others = (f"{METRICS[metric][0]} ± SE" for metric in _BESIDE_RANK_IC)
    header = ("Model", "Rank IC ± SE", "t", "95% interval", *others)
    note = f"± is one HAC standard error, on which t and the interval rest. {UNDEFINED}"
    return Table("Every model over all test dates", (*header, "Dates", "Undefined"), rows, note)


def differences(metrics: pd.DataFrame, against: str) -> Table:
    """Set every model against one baseline, with what is needed to judge the difference in rank IC."""
    rows: list[tuple[str, ...]] = []
    for model in dict.fromkeys(metrics["model"]):
        pair = _by_metric(metrics[(metrics["model"] == model) & (metrics["against"] == against)])
        if not pair:
            continue
        rank = pair.get("rank_ic", {})
        tests = _p(_float(rank, "p_value")), _p(_float(rank, "p_holm"))
        rest = _value(pair.get("ic", {}), "ic"), _value(pair.get("r2", {}), "r2")
        t = number(_float(rank, "t"), 2)
        rows.append((label(model), _value(rank), t, _interval(rank), _interval(rank, BOOTSTRAP), *tests, *rest))
    header = ("Model", "Rank IC difference ± SE", "t", "95% HAC", "95% bootstrap", "p", "p, Holm",
              "IC difference ± SE", "R² oos difference, % ± SE")  # fmt: skip
    note = (
        "Paired by date; an undefined rank IC counts 0 in a pair. "
        f"p is two-sided, for the rank IC; Holm's corrects it for all rows of this table. {UNDEFINED}"
    )
    return Table(f"Differences to {label(against)}, date by date", header, rows, note)


def everything(metrics: pd.DataFrame) -> Table:
    """Put every row of the table of metrics, for those who want all of it."""
    header = ("Model", "Minus", "Metric", "Estimate ± SE", "t", "p", "p, Holm", "95% HAC", "95% bootstrap", "Dates",
              "Undefined")  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for row in metrics.to_dict("records"):
        metric, minus = str(row["metric"]), row["against"]
        names = label(str(row["model"])), MISSING if pd.isna(minus) else label(str(minus)), _unit(metric)[0]
        tests = number(_float(row, "t"), 2), _p(_float(row, "p_value")), _p(_float(row, "p_holm"))
        intervals = _interval(row, metric=metric), _interval(row, BOOTSTRAP, metric)
        rows.append((*names, _value(row, metric), *tests, *intervals, _whole(row["dates"]), _whole(row["undefined"])))
    return Table("Every metric, with both kinds of interval", header, rows, UNDEFINED)


def portfolio(summary: pd.DataFrame) -> Table:
    """Put every model's long-short portfolio at every delay in a row, before and after costs."""
    sides: dict[tuple[str, int], dict[str, Mapping[Any, Any]]] = {}
    for row in summary.to_dict("records"):
        sides.setdefault((str(row["model"]), int(row["delay"])), {})[str(row["side"])] = row
    rows: list[tuple[str, ...]] = []
    for (model, delay), side in sides.items():
        gross, net = side["gross"], side["net"]
        before = _percent(gross["annual_return"]), plus_minus(gross["sharpe"], gross["sharpe_se"], 2)
        after = _percent(net["annual_return"]), plus_minus(net["sharpe"], net["sharpe_se"], 2)
        rest = _percent(net["annual_volatility"]), number(net["turnover_per_year"], 1), _percent(net["max_drawdown"])
        rows.append((label(model), str(delay), *before, *after, _range(net["lower"], net["upper"], 2), *rest))
    header = ("Model", "Delay, days", "Gross return, % a year", "Gross Sharpe ± SE", "Net return, % a year",
              "Net Sharpe ± SE", "Net Sharpe, 95%", "Net volatility, % a year", "Turnover a year",
              "Net drawdown, %")  # fmt: skip
    note = (
        "Delay 0 trades at the close of the decision itself, which nobody quite can; delay 1 trades one day later. "
        "A turnover of 4 replaces the whole book. — is undefined: a portfolio that holds nothing has no Sharpe ratio."
    )
    return Table("Long-short portfolios before and after costs", header, rows, note)


_BY = {
    "horizon": ("Rank IC over other horizons", "Horizon"),
    "size": ("Rank IC within size groups", "Size, by market capitalisation"),
    "industry": ("Rank IC within industries", "Industry, coarsest level"),
}


def groups(found: pd.DataFrame) -> list[Table]:
    """Put groups of firms, or horizons, in rows and models beside each other: rank IC ± SE of the same forecasts."""
    return [_grouped(by, part) for by, part in found.groupby("by", sort=False)]


def _grouped(by: Any, part: pd.DataFrame) -> Table:
    caption, head = _BY[str(by)]
    models = list(part["model"].unique())
    cells = {(row["group"], row["model"]): _value(row) for row in part.to_dict("records")}
    rows = [(group, *(cells.get((group, model), MISSING) for model in models)) for group in part["group"].unique()]
    return Table(caption, (head, *map(label, models)), rows, f"± is one HAC standard error. {UNDEFINED}")


def tuning(records: Iterable[Mapping[str, Any]]) -> list[Table]:
    """List what each model chose on validation, a table a model; seeds that chose the same share a row."""
    tables: dict[str, dict[tuple[int, str], list[Mapping[str, Any]]]] = {}
    for record in records:
        key = int(record["fold"]), settings(record["chosen"])
        tables.setdefault(str(record["model"]), {}).setdefault(key, []).append(record)
    header = ("Fold", "Chosen on validation", "Seeds", "Validation rank IC", "Seconds")
    return [
        Table(label(model), header, [_tuned(key, found) for key, found in sorted(groups.items())], words=True)
        for model, groups in tables.items()
    ]


def settings(chosen: Mapping[str, Any]) -> str:
    """Write chosen settings as words.

    Examples
    --------
    >>> settings({"strength": 0.1, "slope": -0.0125}), settings({})
    ('strength 0.1, slope −0.0125', 'nothing to choose')
    """
    parts = [f"{key.replace('_', ' ')} {_plain(value)}" for key, value in chosen.items()]
    return ", ".join(parts) or "nothing to choose"


def provenance(record: Mapping[str, Any], skip: Sequence[str] = ("folds", "sample", "tuning", "counts")) -> Table:
    """List where the numbers come from: versions, machine, seeds, hashes, then what was counted."""
    rows: list[tuple[str, ...]] = [(_words(key), _plain(value)) for key, value in record.items() if key not in skip]
    rows += [(_words(key), f"{value:,}") for key, value in record.get("counts", {}).items()]
    return Table("Versions, machine and counts", ("What", "Value"), rows, words=True)


def _tuned(key: tuple[int, str], found: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    fold, chosen = key
    scores = [float(v) for record in found if (v := record.get("valid_rank_ic")) is not None]
    seconds = sum(float(record.get("seconds") or 0.0) for record in found)
    seeds = ", ".join(str(record.get("seed", MISSING)) for record in found)
    return str(fold), chosen, seeds, number(sum(scores) / len(scores) if scores else None), number(seconds, 1)


def _by_metric(rows: pd.DataFrame) -> dict[str, Mapping[Any, Any]]:
    return {str(row["metric"]): row for row in rows.to_dict("records")}


def _unit(metric: str) -> tuple[str, float, int]:
    return METRICS.get(metric, (metric, 1.0, 3))


def _float(row: Mapping[Any, Any], name: str) -> float:
    return float(row.get(name, math.nan))


def _value(row: Mapping[Any, Any], metric: str = "rank_ic") -> str:
    _, factor, digits = _unit(metric)
    return plus_minus(_float(row, "estimate") * factor, _float(row, "standard_error") * factor, digits)


def _interval(row: Mapping[Any, Any], edges: tuple[str, str] = ("lower", "upper"), metric: str = "rank_ic") -> str:
    _, factor, digits = _unit(metric)
    return _range(_float(row, edges[0]) * factor, _float(row, edges[1]) * factor, digits)


def _range(low: float, high: float, digits: int) -> str:
    return MISSING if math.isnan(low) or math.isnan(high) else f"{number(low, digits)} to {number(high, digits)}"


def _percent(fraction: float) -> str:
    return number(100 * fraction, 1)


def _whole(count: int | None) -> str:
    return MISSING if count is None else f"{int(count):,}"


def _p(value: float) -> str:
    if not math.isfinite(value):
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _words(key: str) -> str:
    return key.replace("_", " ").replace("gib", "GiB")


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{'−' if value < 0 else ''}{abs(value):.4g}"
    if isinstance(value, Mapping):
        return settings(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(item) for item in value)
    return MISSING if value is None else str(value)
