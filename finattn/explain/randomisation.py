"""Whether maps agree: of two methods, seeds or days, and of a model that was trained and one that forgot.

A map is what a method gives the keys of one kind for one forecast. Two are compared over the keys that both list and
not both hold for exactly zero: what the architecture cannot see is zero in every map, and would pass for agreement.
Chance is a map that knows nothing of the other: 0 for rank correlations. Means are over the forecasts of a date first,
then over dates; `lower` and `upper` are the ends of the 95% interval of a block bootstrap over dates, NaN for fewer
than two blocks (four dates) and where nothing varies.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau
from torch import nn

from finattn.blocks import Blocks, Scaling
from finattn.config.require import require
from finattn.errors import InputError
from finattn.explain.explanation import OTHERS, Explanation
from finattn.explain.faithfulness import over_dates
from finattn.explain.gradients import METHODS, How, gradients
from finattn.explain.scene import Corrected, Target
from finattn.explain.weights import attention
from finattn.metrics import precision_at_k, rank_information_coefficient
from finattn.panel import Panel

Floats = NDArray[np.float64]
Explainer = Callable[[Any, Blocks, Sequence[Target]], Explanation]
"""An explanation of some targets of a model, by one method."""
Of = tuple[str, str, str]
"""Model, method and kind."""
_BY = ["model", "method", "kind"]
_LEAST = 3  # keys: an order of two agrees or does not
_SHUFFLES = 10


class Pair(NamedTuple):
    """Two maps of the same forecasts."""

    dates: NDArray[Any]
    """[p] of each forecast."""
    first: Floats
    """[p key] scores, NaN for what is not compared."""
    second: Floats


def explainers(methods: Sequence[str], how: How | None = None) -> dict[str, Explainer]:
    """Return the methods of `explain.gradients` and `explain.attention` of these names, each as one call.

    Raises
    ------
    InputError
        By the call, for a method that there is not.

    Examples
    --------
    >>> list(explainers(["saliency", "attention"]))
    ['saliency', 'attention']
    """
    return {method: partial(_explain, method, how or How()) for method in methods}


def _explain(method: str, how: How, model: Any, blocks: Blocks, targets: Sequence[Target]) -> Explanation:
    if method in METHODS:
        return gradients(model, blocks, targets, method, how)
    return attention([model], blocks, "model", method, targets)


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


# -- a model that forgot ----------------------------------------------------------------------------------------------


def randomisation(
    model: nn.Module,
    blocks: Blocks,
    targets: Sequence[Target],
    methods: Mapping[str, Explainer],
    seed: int = 0,
    draws: int = 3,
) -> pd.DataFrame:
    """Forget a model's parameters layer after layer, from its head down, and see whether maps change.

    The cascading randomisation of Adebayo et al. (2018). A parameter is drawn anew from a normal distribution of mean
    zero and its own root mean square, so that the scale stays and nothing that was learnt; layer norms are reset. Of a
    model that corrects a base, the correction is forgotten first. The caller's model is left as it is.

    Parameters
    ----------
    model : a network in evaluation mode; see `explain.network`. blocks, targets : as in `explain.gradients`.
    methods : by name, see `explainers`. seed : of the draws. draws : random networks that are averaged over.

    Returns
    -------
    Table of `depth` (1 the head alone, the last depth the whole model), `layer` (the last one forgotten), model,
    method, kind, `rank_correlation` with the original's map, `lower` and `upper`, the same of maps without their signs
    as `absolute`, `absolute_lower` and `absolute_upper`, `chance` (0), keys, forecasts and dates; see
    `rank_correlations`.

    Raises
    ------
    InputError
        For a model without parameters, fewer than one draw, and targets that the panel does not have.

    Examples
    --------
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([100]), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    >>> table = randomisation(model, blocks, [(panel.dates[100], "AAPL")], explainers(["saliency"]), draws=1)
    >>> table["layer"].unique().tolist()
    ['head', 'norm', 'layers.0', 'embedding']
    """
    require("draws", draws, draws >= 1, "at least 1")
    require("seed", seed, seed >= 0, "at least 0")
    original = {name: maps(explain(model, blocks, targets)) for name, explain in methods.items()}
    signed: dict[tuple[int, str], list[Any]] = {}
    for draw in range(draws):
        for depth, (layer, forgotten) in enumerate(_cascade(model, seed, draw), 1):
            pairs = signed.setdefault((depth, layer), [])
            for name, explain in methods.items():
                now = maps(explain(forgotten, blocks, targets))
                pairs += [(key, paired(one, now[key])) for key, one in original[name].items() if key in now]
    tables = []
    for (depth, layer), pairs in signed.items():
        table, unsigned = rank_correlations(pairs), rank_correlations([(key, _absolute(pair)) for key, pair in pairs])
        names = {"rank_correlation": "absolute", "lower": "absolute_lower", "upper": "absolute_upper"}
        table.insert(0, "depth", depth)
        table.insert(1, "layer", layer)
        tables.append(table.assign(**{new: unsigned[old] for old, new in names.items()}))
    return pd.concat(tables, ignore_index=True)


def insensitive(table: pd.DataFrame, bound: float = 0.5) -> tuple[str, ...]:
    """Name the methods, each with the kind, whose map stays much the same when all that was learnt is forgotten.

    Such a map shows the inputs or the architecture, as that a firm's own last row weighs most, not the model.

    Parameters
    ----------
    table : of `randomisation`.
    bound : of the rank correlation at the last depth, with or without signs; at least 0 and below 1.

    Examples
    --------
    >>> rows = {"depth": [1, 2, 1, 2], "method": ["saliency", "saliency", "edges", "edges"], "kind": "lag",
    ...         "rank_correlation": [0.9, 0.1, 1.0, -1.0], "absolute": [0.9, 0.2, 1.0, 1.0]}
    >>> insensitive(pd.DataFrame(rows))
    ('edges (lag)',)
    """
    require("bound", bound, 0 <= bound < 1, "at least 0 and below 1")
    last = table[table["depth"] == table["depth"].max()]
    stays = last[(last["rank_correlation"].abs() > bound) | (last["absolute"] > bound)]
    return tuple(dict.fromkeys(f"{row.method} ({row.kind})" for row in stays.itertuples()))


def _cascade(model: nn.Module, seed: int, draw: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield a copy of a model with one more layer forgotten each time, and that layer's name."""
    random = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, draw]).generate_state(1)[0]))
    forgotten = copy.deepcopy(model).eval()
    layers = list(_layers(forgotten))
    if not layers:
        raise InputError(f"only a model with parameters can forget them, found {type(model).__name__} without any")
    for name, part in layers:
        _forget(part, random)
        yield name, forgotten


def _layers(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """Yield a model's layers with parameters, the head first: as they were registered, backwards."""
    if isinstance(model, Corrected):
        yield from _layers(model.model, f"{prefix}correction.")
        yield from _layers(model.base, f"{prefix}base.")
        return
    for name, parameter in model.named_parameters(recurse=False):  # a look-up's slopes stand after all else
        yield prefix + name, parameter
    for name, child in reversed(list(model.named_children())):
        if isinstance(child, nn.ModuleList):
            yield from _layers(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield prefix + name, child


@torch.no_grad()
def _forget(part: nn.Module | nn.Parameter, random: torch.Generator) -> None:
    if isinstance(part, nn.Parameter):
        scale = part.square().mean().sqrt()
        part.copy_(torch.randn(part.shape, generator=random, dtype=part.dtype) * scale)
        return
    for module in part.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        else:
            for parameter in module.parameters(recurse=False):
                _forget(parameter, random)


def _absolute(pair: Pair) -> Pair:
    return Pair(pair.dates, np.abs(pair.first), np.abs(pair.second))


# -- inputs that are shaken -------------------------------------------------------------------------------------------


def sensitivity(
    model: Any,
    blocks: Blocks,
    targets: Sequence[Target],
    methods: Mapping[str, Explainer],
    radius: float = 0.1,
    draws: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Shake the inputs a little and see how far maps move: max over draws of ‖map(x + ε) − map(x)‖ / ‖map(x)‖.

    The max-sensitivity of Yeh et al. (2019), of sums by lag, peer and characteristic, ε uniform in [−radius, radius]
    for each input that is known, of all firms and rows at once. The baseline is that of the shaken inputs.

    Parameters
    ----------
    model, blocks, targets : as in `explain.gradients`. methods : by name, see `explainers`.
    radius : in units of scaled inputs, training standard deviations. draws, seed : of ε.

    Returns
    -------
    Table of model, method, kind, `sensitivity` (0 where nothing moves), `lower`, `upper`, `chance` (the same for the
    map's own values, shuffled among its keys: as far as if it were about something else), forecasts and dates.

    Raises
    ------
    InputError
        For a radius that is not above zero, and fewer than one draw.

    Examples
    --------
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([100]), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    >>> table = sensitivity(model, blocks, [(panel.dates[100], "AAPL")], explainers(["saliency"]))
    >>> table["kind"].tolist(), bool((table["sensitivity"] > 0).all())
    (['lag', 'peer', 'feature'], True)
    """
    require("radius", radius, 0 < radius < np.inf, "above 0")
    require("draws", draws, draws >= 1, "at least 1")
    require("seed", seed, seed >= 0, "at least 0")
    shaken = [_shaken(blocks, radius, [seed, draw]) for draw in range(draws)]
    random, rows = np.random.default_rng(seed), []
    for explain in methods.values():
        moved = [maps(explain(model, one, targets)) for one in shaken]
        for key, wide in maps(explain(model, blocks, targets)).items():
            plain = wide.fillna(0.0).to_numpy()
            others = [
                one[key].reindex(index=wide.index, columns=wide.columns, fill_value=0.0).fillna(0.0) for one in moved
            ]
            far = np.max([_distance(plain, other.to_numpy()) for other in others], axis=0)
            dates = wide.index.get_level_values("date").to_numpy()
            mean, chance = over_dates(dates, far), over_dates(dates, _by_chance(wide.to_numpy(), random))
            defined = int((~np.isnan(far)).sum())
            rows.append((*key, mean.estimate, mean.lower, mean.upper, chance.estimate, defined, mean.dates))
    names = ["sensitivity", "lower", "upper", "chance", "forecasts", "dates"]
    return pd.DataFrame(rows, columns=["model", "method", "kind", *names])


def _distance(plain: NDArray[Any], other: NDArray[Any]) -> Floats:
    """Return ‖other − plain‖ / ‖plain‖ of each row, NaN where there is nothing to move."""
    size = np.linalg.norm(plain, axis=1)
    return np.linalg.norm(other - plain, axis=1) / np.where(size > 0, size, np.nan)


def _by_chance(wide: NDArray[Any], random: np.random.Generator) -> Floats:
    """Return the mean distance of each row from its own values in another order."""
    found = []
    for row in wide:
        values = row[~np.isnan(row)][None]
        found.append(np.mean([_distance(values, random.permuted(values, axis=1)) for _ in range(_SHUFFLES)]))
    return np.array(found)


@dataclass(frozen=True)
class _Shaken(Scaling):
    """A scaling that adds noise to what is known."""

    radius: float
    seed: tuple[int, ...]

    def apply(self, panel: Panel, rows: slice) -> NDArray[Any]:
        x, count = super().apply(panel, rows), len(self.mean)
        random = np.random.default_rng([*self.seed, rows.start])
        noise = random.uniform(-self.radius, self.radius, x[..., :count].shape)
        noise[..., 2:][x[..., count:] > 0] = 0.0
        x[..., :count] += noise
        return x


def _shaken(blocks: Blocks, radius: float, seed: Sequence[int]) -> Blocks:
    scaling = _Shaken(blocks.scaling.mean, blocks.scaling.deviation, radius, tuple(seed))
    return Blocks(blocks.panel, blocks.positions, scaling, blocks.target, blocks.reference, blocks.neighbours)
