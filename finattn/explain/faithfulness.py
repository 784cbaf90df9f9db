"""Whether a model loses what an explanation calls important: deletion, insertion and infidelity.

Keys are taken away by putting them at the baseline, which is stated and never silently zero; see `explain.gates`.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from finattn.blocks import Blocks
from finattn.config.require import require, require_types
from finattn.errors import InputError
from finattn.evaluation.comparisons import Interval, bootstrap_mean
from finattn.explain.agreement import over_dates
from finattn.explain.explanation import Explanation
from finattn.explain.gates import KINDS, Gates, forecasts, kinds
from finattn.explain.scene import Explained, Target
from finattn.metrics import constant, rank_information_coefficient
from finattn.splits import label_overlap

Floats = NDArray[np.float64]
RANDOM = "random"
_DIGITS = 5  # of scores, in cross-sectional standard deviations: what is below is floating-point noise
_SHUFFLES = 10


@dataclass(frozen=True)
class Removal:
    """How keys are taken away.

    Parameters
    ----------
    shares : of a forecast's keys, increasing from 0 to 1.
    baseline : what is put in their place, see `explain.scene.baseline`.
    draws : random orders to compare with. seed : of them, and of the order of keys that tie.

    Raises
    ------
    InputError
        For shares or draws out of their range.

    Examples
    --------
    >>> from finattn.explain import Removal
    >>> Removal(shares=(0, 0.5, 1), draws=10)
    Removal(shares=(0, 0.5, 1), baseline='median', draws=10, seed=0)
    >>> Removal(shares=(0.1, 0.5))
    Traceback (most recent call last):
    finattn.errors.InputError: shares must be increasing from 0 to 1, found (0.1, 0.5)
    """

    shares: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
    baseline: Any = "median"
    draws: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        require_types(self)
        shares = self.shares
        proper = len(shares) > 1 and list(shares) == sorted(set(shares)) and (shares[0], shares[-1]) == (0, 1)
        require("shares", shares, proper, "increasing from 0 to 1")
        require("draws", self.draws, self.draws >= 1, "at least 1")
        require("seed", self.seed, self.seed >= 0, "at least 0")


class Curves(NamedTuple):
    """What forecasts are worth as keys are taken away or put back.

    curve : method ("random" among them), share, rank_ic, lower and upper (95%, block bootstrap over dates).
    area : method, area, lower, upper: by how much rank IC the method beats random removal, averaged over shares, above
        0 where it finds what matters and 0 by chance; keys and firms of a date, on average, and dates.
    """

    curve: pd.DataFrame
    area: pd.DataFrame


def sample_targets(blocks: Blocks, dates: int, firms: int, seed: int = 0) -> list[Target]:
    """Draw forecasts to explain: dates evenly spaced over the positions, firms at random among those with an outcome.

    Parameters
    ----------
    blocks : the panel at the positions to draw from.
    dates, firms : how many dates, and how many firms on each; fewer where there are not so many. seed : of the firms.

    Returns
    -------
    Pairs of date and firm, the earliest first.

    Raises
    ------
    InputError
        For numbers out of their range.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import sample
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.arange(60, 200), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> len(sample_targets(blocks, 5, 4))
    20
    """
    for name, given, least in (("dates", dates, 1), ("firms", firms, 1), ("seed", seed, 0)):
        require(name, given, given >= least, f"at least {least}")
    random, positions = np.random.default_rng(seed), blocks.positions
    chosen = positions[np.unique(np.linspace(0, len(positions) - 1, dates).round().astype(int))]
    seen = blocks.at(chosen)
    known = seen.observed & np.isfinite(seen.realised)
    drawn = [random.permutation(np.flatnonzero(row))[:firms] for row in known]
    panel = blocks.panel
    return [
        (panel.dates[row], str(panel.firms[column]))
        for row, some in zip(chosen, drawn, strict=True)
        for column in np.sort(some)
    ]


# -- curves -----------------------------------------------------------------------------------------------------------


def deletion(
    model: Explained, blocks: Blocks, explanation: Explanation, kind: str, removal: Removal | None = None
) -> Curves:
    """Take away what a method calls most important first, and see what forecasts lose in rank IC.

    Every forecast has keys of its own taken away, the heaviest by absolute score first, while all else stays; the
    scores of a date's explained firms, each so changed, are then held against what followed. With all firms of a date
    explained that is the date's rank IC; with a sample of them the sample's, as good on average and noisier. A method
    that lists a group of keys, as Shapley values do, spreads its score evenly over them; keys that it does not list
    come last, in random order. The firm itself is no peer here: its own rows are the keys of kind "lag".

    The cost is a forward pass over one date's rows for each forecast, share, and method or random order, several of
    them stacked into one block; see `sample_targets`.

    Parameters
    ----------
    model : a network in evaluation mode; see `explain.network`.
    blocks : the panel and how it is scaled; its positions do not matter.
    explanation : of the forecasts to look at, by one method or several. kind : "lag", "peer" or "feature".
    removal : shares, baseline and random orders.

    Returns
    -------
    Curves. Where all scores of a date are equal up to 1e-5 of their usual standard deviation, its rank IC is 0.

    Raises
    ------
    InputError
        For a kind that the explanation does not have, and targets that the panel does not have.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.explain.gradients import gradients
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.arange(60, 200), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    >>> found = gradients(model, blocks, sample_targets(blocks, 4, 6), "saliency")
    >>> curve, area = deletion(model, blocks, found, "feature", Removal(shares=(0, 0.5, 1)))
    >>> curve["method"].tolist()
    ['saliency', 'saliency', 'saliency', 'random', 'random', 'random']
    """
    return _curves(model, blocks, explanation, kind, removal or Removal(), insert=False)


def insertion(
    model: Explained, blocks: Blocks, explanation: Explanation, kind: str, removal: Removal | None = None
) -> Curves:
    """Take all keys away and put back what a method calls most important first; see `deletion`.

    Parameters
    ----------
    model, blocks, explanation, kind, removal : as of `deletion`.

    Returns
    -------
    Curves. `share` is what has been put back, and the area that by which the method lies above random order.

    Raises
    ------
    InputError
        As `deletion`.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.explain import Removal, gradients, insertion, sample_targets
    >>> panel = fa.sample()["2020":"2020"]
    >>> blocks = fa.Blocks(panel, np.arange(60, 200), fa.Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = fa.PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    >>> found = gradients(model, blocks, sample_targets(blocks, 4, 6), "saliency")
    >>> curve, area = insertion(model, blocks, found, "feature", Removal(shares=(0, 0.5, 1)))
    >>> curve[curve["share"] == 0][["method", "share", "rank_ic"]]  # without any key no firm is told from another
         method  share  rank_ic
    0  saliency    0.0      0.0
    3    random    0.0      0.0
    """
    return _curves(model, blocks, explanation, kind, removal or Removal(), insert=True)


def _curves(
    model: Explained, blocks: Blocks, explanation: Explanation, kind: str, removal: Removal, insert: bool
) -> Curves:
    rows: list[int] = []
    orders: list[Floats] = []
    counts: list[tuple[float, int]] = []
    methods: tuple[str, ...] = ()
    for scene, some in forecasts(model, blocks, explanation, kind, removal.baseline):
        methods = tuple(some[0].given)
        scores = np.stack([_changed(one, scene.row, removal, insert) for one in some], axis=-1)
        orders.append(_skill(scores, blocks.at(np.array([scene.row])).realised[0, list(scene.columns)]))
        rows.append(scene.row)
        counts.append((float(np.mean([one.keys for one in some])), len(some)))
    skill = np.stack(orders)  # [t order share]
    skill = np.concatenate([skill[:, removal.draws :], skill[:, : removal.draws].mean(1, keepdims=True)], 1)
    gap = (skill[:, :-1] - skill[:, -1:]) * (1 if insert else -1)
    areas = np.asarray(np.trapezoid(gap, removal.shares, axis=2))
    overlap = label_overlap(np.array(rows), blocks.target.horizon)
    keys, firms = (float(np.mean(some)) for some in zip(*counts, strict=True))
    curve = [
        (method, share, *_ends(bootstrap_mean(skill[:, i, j], overlap)))
        for i, method in enumerate((*methods, RANDOM))
        for j, share in enumerate(removal.shares)
    ]
    means = [bootstrap_mean(area, overlap) for area in areas.T]
    area = [(method, *_ends(mean), keys, firms, mean.dates) for method, mean in zip(methods, means, strict=True)]
    return Curves(
        pd.DataFrame(curve, columns=["method", "share", "rank_ic", "lower", "upper"]),
        pd.DataFrame(area, columns=["method", "area", "lower", "upper", "keys", "firms", "dates"]),
    )


def _changed(one: Gates, row: int, removal: Removal, insert: bool) -> Floats:
    """Return a forecast's scores [order share] as keys go or come in random orders, then in that of each method."""
    random = np.random.default_rng([removal.seed, row, one.column])
    sizes = [*[np.zeros(one.keys)] * removal.draws, *map(np.abs, one.given.values())]
    order = np.stack([np.lexsort((random.random(one.keys), -size)) for size in sizes])
    first = order.argsort(1)[:, None] < np.round(np.array(removal.shares) * one.keys)[:, None]
    there = torch.from_numpy(first if insert else ~first)
    different, place = torch.unique(there.flatten(0, 1), dim=0, return_inverse=True)
    return one.scores(different)[place.numpy()].reshape(there.shape[:2])


def _skill(scores: Floats, realised: Floats) -> Floats:
    """Return the rank IC [order share] of scores [order share firm], 0 where they do not vary."""
    if constant(realised[None])[0]:
        return np.full(scores.shape[:2], np.nan)
    scale = scores[0, [0, -1]].std(axis=1).max()  # with all keys, at one end
    flat = (scores / (scale or 1.0)).round(_DIGITS).reshape(-1, len(realised))
    found = rank_information_coefficient(flat, np.broadcast_to(realised, flat.shape))
    return np.nan_to_num(found).reshape(scores.shape[:2])


def _ends(mean: Interval) -> tuple[float, float, float]:
    return mean.estimate, mean.lower, mean.upper


# -- infidelity -------------------------------------------------------------------------------------------------------


def infidelity(
    model: Explained,
    blocks: Blocks,
    explanation: Explanation,
    baseline: Any = "median",
    samples: int = 50,
    probability: float = 0.2,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how badly a map foretells what the score loses when random sets of keys are taken away.

    With I the random set and a the map, E(I·a β − Δ)² / E Δ², Δ = score(all) − score(all but I) and β the scale that
    fits best (Yeh et al. 2019), so that methods in different units compare: 0 is foretold to the last digit, 1 not at
    all. Each key is taken away with a probability of its own, independently. A map without signs, as attention, can
    only say how much, and pays for it.

    Parameters
    ----------
    model, blocks, explanation : as in `deletion`, all kinds of the explanation.
    baseline : what is put in a key's place. samples : random sets. probability : that a key is in one. seed : of them.

    Returns
    -------
    Table of method, kind, `infidelity`, `lower`, `upper`, `chance` (the same of the map's values, shuffled among its
    keys), forecasts and dates.

    Raises
    ------
    InputError
        For numbers out of their range, an explanation with no kind that can be taken away, and targets that the panel
        does not have.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.explain.gradients import gradients
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.arange(60, 200), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(width=8, heads=2)).eval()
    >>> found = gradients(model, blocks, sample_targets(blocks, 4, 6), "input_x_gradient")
    >>> infidelity(model, blocks, found).columns.tolist()
    ['method', 'kind', 'infidelity', 'lower', 'upper', 'chance', 'forecasts', 'dates']
    """
    require("samples", samples, samples >= 2, "at least 2")
    require("seed", seed, seed >= 0, "at least 0")
    require("probability", probability, 0 < probability < 1, "between 0 and 1")
    here = kinds(explanation)
    if not here:
        raise InputError(f"an explanation must have a kind of {', '.join(KINDS)}, found none")
    rows = []
    for kind in here:
        for scene, some in forecasts(model, blocks, explanation, kind, baseline):
            for one in some:
                random = np.random.default_rng([seed, scene.row, one.column])
                taken = random.random((samples, one.keys)) < probability
                scores = one.scores(torch.from_numpy(np.vstack([np.ones((1, one.keys), bool), ~taken])))
                for method, given in one.given.items():
                    rows.append((scene.row, method, kind, *_infidelities(given, taken, scores[0] - scores[1:], random)))
    table = pd.DataFrame(rows, columns=["row", "method", "kind", "infidelity", "chance"])
    found = []
    for names, part in table.groupby(["method", "kind"], sort=False):
        mean, chance = (over_dates(part["row"].to_numpy(), part[name].to_numpy()) for name in ("infidelity", "chance"))
        defined = int(part["infidelity"].notna().sum())
        found.append((*map(str, names), *_ends(mean), chance.estimate, defined, mean.dates))
    columns = ["method", "kind", "infidelity", "lower", "upper", "chance", "forecasts", "dates"]
    return pd.DataFrame(found, columns=columns)


def _infidelities(given: Floats, taken: NDArray[np.bool_], lost: Floats, random: np.random.Generator) -> Floats:
    """Return the share of E Δ² that a map leaves unexplained, and what it leaves when it is shuffled."""
    shuffled = random.permuted(np.tile(given, (_SHUFFLES, 1)), axis=1)
    foretold = np.vstack([given, shuffled]) @ taken.T
    size, total = (foretold**2).sum(1), (lost**2).sum()
    if total == 0:
        return np.full(2, np.nan)
    fitted = np.divide((foretold @ lost) ** 2, size, out=np.zeros_like(size), where=size > 0)
    left = 1 - fitted / total
    return np.array([left[0], left[1:].mean()])
