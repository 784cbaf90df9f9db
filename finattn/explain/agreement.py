"""Whether maps agree: of two methods, of two seeds, of a day and the next.

A map is what a method gives the keys of one kind for one forecast. Two are compared over the keys that both list and
not both hold for exactly zero: what the architecture cannot see is zero in every map, and would pass for agreement.
Chance is a map that knows nothing of the other: 0 for rank correlations. Means are over the forecasts of a date first,
then over dates; `lower` and `upper` are the ends of the 95% interval of a block bootstrap over dates, NaN for fewer
than two blocks (four dates) and where nothing varies.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from finattn.config.require import require
from finattn.errors import InputError
from finattn.evaluation.comparisons import Interval, bootstrap_mean
from finattn.explain.explanation import OTHERS, Explanation
from finattn.metrics import precision_at_k, rank_information_coefficient

Floats = NDArray[np.float64]
Of = tuple[str, str, str]
"""Model, method and kind."""
_BY = ["model", "method", "kind"]
_LEAST = 3  # keys: an order of two agrees or does not


class Pair(NamedTuple):
    """Two maps of the same forecasts."""

    dates: NDArray[Any]
    """[p] of each forecast."""
    first: Floats
    """[p key] scores, NaN for what is not compared."""
    second: Floats


def over_dates(dates: NDArray[Any], values: Floats) -> Interval:
    """Average over the forecasts of a date, then over dates, with the interval of a block bootstrap."""
    return bootstrap_mean(pd.Series(values).groupby(dates).mean().to_numpy(), overlap=0)


def rank_correlations(pairs: Sequence[tuple[Of, Pair]]) -> pd.DataFrame:
    """Average Spearman's correlation of pairs of maps, signs included, by model, method and kind.

    Returns
    -------
    Table of model, method, kind, `rank_correlation`, `lower`, `upper`, `chance` (0), `keys` compared on average, the
    `forecasts` whose maps could be compared (once for each pair) and their `dates`.
    """
    by: dict[Of, list[Pair]] = {}
    for key, pair in pairs:
        by.setdefault(key, []).append(pair)
    rows = []
    for key, some in by.items():
        dates = np.concatenate([pair.dates for pair in some])
        values = np.concatenate([rank_information_coefficient(pair.first, pair.second) for pair in some])
        keys = np.concatenate([(~np.isnan(pair.first)).sum(1) for pair in some])[~np.isnan(values)]
        mean = over_dates(dates, values)
        figures = (mean.estimate, mean.lower, mean.upper, 0.0, _mean(keys), len(keys), mean.dates)
        rows.append((*key, *figures))
    names = ["rank_correlation", "lower", "upper", "chance", "keys", "forecasts", "dates"]
    return pd.DataFrame(rows, columns=[*_BY, *names])


def maps(explanation: Explanation) -> dict[Of, pd.DataFrame]:
    """Spread an explanation out by model, method and kind: rows (date, firm), a column a key, NaN where not listed.

    The rest of which single keys are not known ("others") is left out.
    """
    table = explanation.table[explanation.table["key"] != OTHERS]
    twice = table.duplicated([*_BY, "date", "firm", "key"])
    if twice.any():
        row = table[twice].iloc[0]
        raise InputError(f"an explanation must list each key once, found {row['key']!r} of {row['firm']} twice")
    groups = table.groupby(_BY, sort=False, observed=True)
    wide = {key: part.pivot(index=["date", "firm"], columns="key", values="score") for key, part in groups}
    return {tuple(map(str, key)): one for key, one in wide.items()}  # type: ignore[misc]


def paired(first: pd.DataFrame, second: pd.DataFrame) -> Pair:
    """Put two maps side by side, over what both list and not both hold for exactly zero."""
    rows, keys = first.index.intersection(second.index).sort_values(), first.columns.intersection(second.columns)
    a, b = (one.reindex(index=rows, columns=keys).to_numpy(np.float64) for one in (first, second))
    left = np.isnan(a) | np.isnan(b) | ((a == 0) & (b == 0))
    left |= (~left).sum(1, keepdims=True) < _LEAST
    return Pair(rows.get_level_values("date").to_numpy(), np.where(left, np.nan, a), np.where(left, np.nan, b))


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else np.nan


# -- two methods, seeds or days ---------------------------------------------------------------------------------------


def agreement(explanation: Explanation, of: str = "attention", k: int = 5) -> pd.DataFrame:
    """Measure how far each method agrees with one of them about what matters, signs aside.

    Parameters
    ----------
    explanation : of some forecasts by several methods. of : the method that the others are held against.
    k : of the heaviest keys that are compared, at most half of all.

    Returns
    -------
    A row for each model, method and kind that `of` has too: `kendall`, Kendall's τ-b of absolute scores, which chance
    gives as 0; `overlap`, the share of the k heaviest of one that are among the k heaviest of the other, which chance
    gives as `chance_overlap` = k / keys; both with `_lower` and `_upper`; `keys` compared, on average; `forecasts` and
    `dates` that could be compared.

    Raises
    ------
    InputError
        For a method that was not used, or a forecast that is listed twice.

    Examples
    --------
    >>> rows = [{"method": method, "key": key, "score": score} for method, scores in (("attention", [.1, .2, .3, .4]),
    ...         ("saliency", [0, 1, 3, -2])) for key, score in zip("0123", scores)]
    >>> table = pd.DataFrame(rows).assign(date=pd.Timestamp("2020-01-02"), firm="A", model="m", kind="lag")
    >>> columns = ["date", "firm", "model", "method", "kind", "key", "score"]
    >>> agreement(Explanation(table[columns]))[["method", "kendall", "overlap", "chance_overlap"]].round(3)
         method  kendall  overlap  chance_overlap
    0  saliency    0.667      1.0             0.5
    """
    if of not in explanation.methods:
        raise InputError(f"of must be one of {', '.join(explanation.methods) or 'the methods'}, found {of!r}")
    require("k", k, k >= 1, "at least 1")
    found, rows = maps(explanation), []
    for (model, method, kind), other in found.items():
        if method != of and (model, of, kind) in found:
            pair = paired(found[model, of, kind].abs(), other.abs())
            rows.append(dict(zip(_BY, (model, method, kind), strict=True)) | _agreement(pair, k))
    names = ["kendall", "kendall_lower", "kendall_upper", "overlap", "overlap_lower", "overlap_upper"]
    return pd.DataFrame(rows, columns=[*_BY, *names, "chance_overlap", "keys", "forecasts", "dates"])


def _agreement(pair: Pair, k: int) -> dict[str, Any]:
    keys = (~np.isnan(pair.first)).sum(1)
    tau = np.array([_kendall(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in zip(pair.first, pair.second, strict=True)])
    shared, chance = precision_at_k(pair.first, pair.second, np.minimum(k, keys // 2))
    ends = {"": "estimate", "_lower": "lower", "_upper": "upper"}
    means = {"kendall": over_dates(pair.dates, tau), "overlap": over_dates(pair.dates, shared)}
    figures = {name + end: getattr(mean, field) for name, mean in means.items() for end, field in ends.items()}
    defined = ~np.isnan(tau)
    return figures | {
        "chance_overlap": over_dates(pair.dates, chance).estimate, "keys": _mean(keys[defined]),
        "forecasts": int(defined.sum()), "dates": means["kendall"].dates,
    }  # fmt: skip


def _kendall(first: Floats, second: Floats) -> float:
    """Return τ-b; NaN where one orders nothing."""
    varies = len(first) and np.ptp(first) > 0 and np.ptp(second) > 0
    return float(kendalltau(first, second).statistic) if varies else np.nan


def stability_over_seeds(explanations: Sequence[Explanation]) -> pd.DataFrame:
    """Measure how far fits of one model that differ by their seed are explained alike.

    Parameters
    ----------
    explanations : of the same forecasts, one a seed.

    Returns
    -------
    As `rank_correlations`, averaged over pairs of seeds.

    Raises
    ------
    InputError
        For fewer than two seeds, or a forecast that is listed twice.

    Examples
    --------
    >>> row = {"date": pd.Timestamp("2020-01-02"), "firm": "A", "model": "m", "method": "saliency", "kind": "lag"}
    >>> table = pd.DataFrame([row | {"key": str(lag), "score": 1.0 / (1 + lag)} for lag in range(5)])
    >>> stability_over_seeds([Explanation(table), Explanation(table)])["rank_correlation"].tolist()
    [1.0]
    """
    require("explanations", len(explanations), len(explanations) >= 2, "those of at least two seeds")
    seeds = [maps(one) for one in explanations]
    return rank_correlations(
        [(key, paired(a[key], b[key])) for a, b in itertools.combinations(seeds, 2) for key in a if key in b]
    )


def stability_over_days(explanation: Explanation, decisions: ArrayLike) -> pd.DataFrame:
    """Measure how far the forecasts of one firm at a decision and at the next are explained alike.

    A lag is counted from each decision: lag 0 is another day then.

    Parameters
    ----------
    explanation : of firms at some decisions and at those that follow. decisions : the dates (p,) of all decisions.

    Returns
    -------
    As `rank_correlations`, dated by the first of the two.

    Raises
    ------
    InputError
        For a forecast that is listed twice.

    Examples
    --------
    >>> rows = {"firm": "A", "model": "m", "method": "saliency", "kind": "lag", "key": ["0", "1", "2"]}
    >>> days = pd.to_datetime(["2020-01-02", "2020-01-03"])
    >>> table = pd.concat([pd.DataFrame({"date": day, **rows, "score": [3.0, 2.0, 1.0]}) for day in days])
    >>> stability_over_days(Explanation(table.reset_index(drop=True)), days)[["forecasts", "dates"]].values.tolist()
    [[1, 1]]
    """
    dates = pd.DatetimeIndex(np.unique(np.asarray(decisions, "datetime64[ms]")))
    before = dict(zip(dates[1:], dates[:-1], strict=True))
    pairs = []
    for key, found in maps(explanation).items():
        earlier = found.index.get_level_values("date").map(lambda date: before.get(date, pd.NaT))
        moved = found.set_axis(pd.MultiIndex.from_arrays([earlier, found.index.get_level_values("firm")]), axis=0)
        pairs.append((key, paired(found, moved[earlier.notna()])))
    return rank_correlations(pairs)
