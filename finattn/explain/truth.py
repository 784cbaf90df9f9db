"""Whether explanations find what was planted, on panels whose truth is known."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from finattn.blocks import observed
from finattn.config.require import require
from finattn.data.truth import Planted
from finattn.errors import InputError
from finattn.explain.agreement import maps, over_dates
from finattn.explain.explanation import Explanation
from finattn.metrics import top_shares
from finattn.panel import Panel

MEASURES = ("precision", "recall", "average_precision")
COLUMNS = ["model", "method", "kind", "measure", "value", "lower", "upper", "chance", "planted", "keys",
           "forecasts", "dates"]  # fmt: skip
_RETURNS = ("return", "excess_return")
Floats = NDArray[np.float64]


class Ranked(NamedTuple):
    """The keys of p forecasts: absolute scores [p key], NaN for what is no candidate, and which are planted."""

    scores: Floats
    planted: NDArray[np.bool_]


def score(explanation: Explanation, truth: Planted, panel: Panel, k: int | None = None) -> pd.DataFrame:
    """Score explanations by the planted lags, peers and characteristics that their heaviest keys are.

    Keys are ranked by absolute score: a planted key may raise or lower a forecast. What is planted, for firm i at t:

    - lag: the own rows that the oracle draws on, which are the planted lags, and 0 where characteristics matter. A
      group of lags ("5 to 9") is planted where one of them is.
    - peer: the firms in i's row of `truth.peers`, however light. Candidates are the other firms that are observed at
      t, and those that are not but have a score; i itself is none.
    - feature: the characteristics that the oracle depends on. The return and the excess return are no candidates:
      they are one thing seen twice, and a model may use either.

    Sums of several keys ("others") are no candidates. A planted key that is not listed ranks last. The score tells
    what a method finds in a model that may itself have missed the truth: a low one accuses either.

    Parameters
    ----------
    explanation : of forecasts of the panel's firms. truth : of `finattn.simulate`. panel : the one that came with it.
    k : how many keys count as found; by default as many as are planted, at which precision and recall are equal.

    Returns
    -------
    A row for each model, method, kind and measure: `precision` and `recall` at k, keys that tie at the k-th place
    sharing it, and `average_precision`, Σ_j (R_j − R_j−1) P_j, the area under the precision-recall curve
    (scikit-learn's). `value` is the mean over the forecasts of a date, then over dates; `lower` and `upper` end its 95%
    interval by block bootstrap over dates, NaN for few dates; `chance` is what a random order of the keys gives on
    average: the share of keys that are planted, k over keys, and for average precision
    (H_n + (n − H_n)(m − 1)/(n − 1)) / n with m of n keys planted and H_n = Σ_j≤n 1/j. `planted` and `keys` are m and n
    on average. `attrs["left_out"]` says which kinds are not scored, and why.

    Raises
    ------
    InputError
        For a truth that is not of `finattn.simulate` or not of this panel, a date or firm that the panel lacks, a
        forecast that is listed twice, and k below 1.

    Examples
    --------
    >>> from finattn.data import simulate
    >>> panel, truth = simulate(firms=60, days=60)
    >>> rows = [{"key": str(lag), "score": -1.0 if lag in (0, 4, 20) else 0.1} for lag in range(25)]
    >>> table = pd.DataFrame(rows).assign(date=panel.dates[40], firm="S00002", model="m", method="saliency", kind="lag")
    >>> columns = ["date", "firm", "model", "method", "kind", "key", "score"]
    >>> score(Explanation(table[columns]), truth, panel)[["measure", "value", "chance", "keys"]].round(3)
                 measure  value  chance  keys
    0          precision    1.0   0.120  25.0
    1             recall    1.0   0.120  25.0
    2  average_precision    1.0   0.223  25.0
    """
    _check(truth, panel, k)
    rows, left_out = [], {}
    for names, found in maps(explanation).items():
        ranked = _RANKED[names[2]](found.abs(), truth, panel) if names[2] in _RANKED else None
        if ranked is None:
            left_out[names[2]] = "nothing of this kind is planted"
        else:
            rows += [(*names, *row) for row in _rows(ranked, found.index.get_level_values("date").to_numpy(), k)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.attrs["left_out"] = left_out
    return table


def _check(truth: Planted, panel: Panel, k: int | None) -> None:
    if not isinstance(truth, Planted):
        raise InputError(f"truth must be that of finattn.simulate, found {type(truth).__name__}")
    if truth.oracle.shape != panel.shape:
        raise InputError(f"truth must be that of the panel, {panel.shape}, found one of {truth.oracle.shape}")
    require("k", k, k is None or k >= 1, "at least 1")


# -- what is planted ------------------------------------------------------------------------------------------------


def _acting(truth: Planted) -> set[str]:
    """Return the parts that are there."""
    return {name for name, part in truth.parts.items() if np.nan_to_num(part).any()}


def _peers(found: pd.DataFrame, truth: Planted, panel: Panel) -> Ranked | None:
    if "peers" not in _acting(truth):
        return None
    rows, columns = (_places(found, name, known) for name, known in (("date", panel.dates), ("firm", panel.firms)))
    scores = found.reindex(columns=panel.firms).to_numpy(np.float64)
    scores = np.where(observed(panel, rows), np.nan_to_num(scores, nan=-1.0), np.where(scores > 0, scores, np.nan))
    scores[np.arange(len(scores)), columns] = np.nan
    peers, planted = truth.peers[rows, columns], np.zeros(scores.shape, bool)
    forecast, place = np.nonzero(peers >= 0)
    planted[forecast, peers[forecast, place]] = True
    return Ranked(scores, planted)


def _lags(found: pd.DataFrame, truth: Planted, panel: Panel) -> Ranked | None:
    wanted = set(np.flatnonzero(truth.lag_weights).tolist())
    if not wanted:
        return None
    wanted |= {0} if _acting(truth) != {"lags"} else set()
    return _named(found, {key: set(_span(key)) for key in found.columns}, wanted)


def _span(key: str) -> range:
    """Return the lags of a key such as "5" or "5 to 9"."""
    first, _, last = key.partition(" to ")
    return range(int(first), int(last or first) + 1)


def _features(found: pd.DataFrame, truth: Planted, panel: Panel) -> Ranked | None:
    wanted = {name for part in _acting(truth) for name in truth.relevant[part]}
    return _named(found, {key: {key} for key in found.columns if key not in _RETURNS}, wanted) if wanted else None


def _named(found: pd.DataFrame, holds: dict[str, set[Any]], wanted: set[Any]) -> Ranked:
    """Rank keys that each hold something, and behind them what is wanted and that none holds."""
    missed = len(wanted.difference(*holds.values()))
    scores = np.full((len(found), len(holds) + missed), np.nan)
    scores[:, : len(holds)] = found[list(holds)]
    planted = np.array([bool(held & wanted) for held in holds.values()] + [True] * missed)
    return Ranked(np.where(np.isnan(scores) & planted, -1.0, scores), np.broadcast_to(planted, scores.shape))


def _places(found: pd.DataFrame, name: str, known: NDArray[Any]) -> NDArray[np.int64]:
    """Return where dates or firms stand in the panel."""
    labels = pd.Index(known if name == "firm" else known.astype("datetime64[ms]"))
    values = found.index.get_level_values(name)
    places = labels.get_indexer(values)
    if (places < 0).any():
        raise InputError(f"an explanation's {name} must be one of the panel's, found {values[places < 0][0]}")
    return places.astype(np.int64)


_RANKED: dict[str, Callable[[pd.DataFrame, Planted, Panel], Ranked | None]] = {
    "lag": _lags,
    "peer": _peers,
    "feature": _features,
}

# -- how much of it is found ----------------------------------------------------------------------------------------


def _rows(ranked: Ranked, dates: NDArray[Any], k: int | None) -> list[tuple[Any, ...]]:
    """Return a row for each measure, from `measure` on."""
    some = ranked.planted.any(1)
    scores, planted, dates = ranked.scores[some], ranked.planted[some], dates[some]
    degree, count = planted.sum(1), (~np.isnan(scores)).sum(1)
    places = np.minimum(degree if k is None else k, count)
    hits = (top_shares(scores, places) * planted).sum(1)
    values = {
        "precision": (hits / places, degree / count),
        "recall": (hits / degree, places / count),
        "average_precision": (_average_precision(scores, planted), _chance(degree, count)),
    }
    rows: list[tuple[Any, ...]] = []
    for measure, (value, chance) in values.items():
        mean = over_dates(dates, value)
        figures = (mean.estimate, mean.lower, mean.upper, over_dates(dates, chance).estimate)
        rows.append((measure, *figures, degree.mean(), count.mean(), len(dates), mean.dates))
    return rows


def _average_precision(scores: Floats, planted: NDArray[np.bool_]) -> Floats:
    known = ~np.isnan(scores)
    return np.array([average_precision_score(p[at], s[at]) for s, p, at in zip(scores, planted, known, strict=True)])


def _chance(degree: NDArray[np.int64], count: NDArray[np.int64]) -> Floats:
    """Return the average precision of a random order, on average."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, count.max(initial=1) + 1))])[count]
    return (harmonic + (count - harmonic) * (degree - 1) / np.maximum(count - 1, 1)) / count
