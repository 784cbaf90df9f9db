"""Whether maps change with what they are about: when a model forgets what it learnt, and when inputs are shaken.

Maps are compared, and means are over dates, as in `explain.agreement`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from finattn.blocks import Blocks, Scaling
from finattn.config.require import require
from finattn.errors import InputError
from finattn.explain.agreement import Pair, maps, over_dates, paired, rank_correlations
from finattn.explain.explanation import Explanation
from finattn.explain.gradients import METHODS, How, gradients
from finattn.explain.scene import Corrected, Target
from finattn.explain.weights import attention
from finattn.panel import Panel

Floats = NDArray[np.float64]
Explainer = Callable[[Any, Blocks, Sequence[Target]], Explanation]
"""An explanation of some targets of a model, by one method."""
_SHUFFLES = 10


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
    methods : by name, see `explainers`. seed : of the draws. draws : random networks that are averaged over at the last
        depth; those on the way there are of the first draw alone.

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
    last = sum(1 for _ in _layers(model))
    for draw in range(draws):
        for depth, (layer, forgotten) in enumerate(_cascade(model, seed, draw), 1):
            if draw and depth < last:
                continue
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
