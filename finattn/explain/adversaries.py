"""Copies of a model that are trained to look elsewhere and forecast the same."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from finattn.blocks import Blocks
from finattn.config.require import require, require_types
from finattn.explain.apart import compare, jensen_shannon, require_fits, summary
from finattn.explain.steered import Looked, Steered, generator

_LEAST = 1e-8  # of a divergence in a loss: the slope of its root at 0 is infinite


@dataclass(frozen=True)
class Adversary:
    """How copies of a model are trained to look elsewhere and forecast the same.

    The loss is the mean squared change of scores, in deviations over firms, less λ times the mean distance of weights.

    Parameters
    ----------
    strengths : λ, one copy each. dates : of training, evenly spaced, on which copies are trained.
    batch : dates of a step. steps, learning_rate : of Adam. noise : on each parameter at the start, as a share of the
        root mean square of its kind: where weights are the same, their distance has no slope. seed : of it and of the
        order of dates.

    Raises
    ------
    InputError
        For numbers out of their range.

    Examples
    --------
    >>> from finattn.explain import Adversary
    >>> Adversary(strengths=(0.1, 1.0), steps=300)
    Adversary(strengths=(0.1, 1.0), dates=64, batch=2, steps=300, learning_rate=0.005, noise=0.05, seed=0)
    >>> Adversary(strengths=(0.1, 0.1))
    Traceback (most recent call last):
    finattn.errors.InputError: strengths must be different ones above 0, found (0.1, 0.1)
    """

    strengths: tuple[float, ...] = (0.01, 0.1, 1.0)
    dates: int = 64
    batch: int = 2
    steps: int = 200
    learning_rate: float = 5e-3
    noise: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        require_types(self)
        proper = len(set(self.strengths)) == len(self.strengths) > 0 and all(0 < x < math.inf for x in self.strengths)
        require("strengths", self.strengths, proper, "different ones above 0")
        for name in ("dates", "batch", "steps"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("learning_rate", "noise"):
            require(name, getattr(self, name), 0 < getattr(self, name) < math.inf, "finite and above 0")
        require("seed", self.seed, self.seed >= 0, "at least 0")


def adversaries(
    fits: Sequence[Any], train: Blocks, test: Blocks, name: str = "model", how: Adversary | None = None
) -> pd.DataFrame:
    """Train copies of a model that look elsewhere and forecast the same, and see on later dates how well that goes.

    Where weights move far and forecasts hardly do, the weights are one explanation among many (Wiegreffe and Pinter
    2019). No copy sees an outcome, and none a date of the test. That these found no other weights does not mean that
    there are none. A distance is to be held against the one that `between_seeds` gives.

    Parameters
    ----------
    fits : as of `replaced`. train : the panel at training positions. test : at later ones, on which all is measured.
    name : of the model. how : the copies are trained.

    Returns
    -------
    Table as of `replaced`, with setting "adversary" and its `strength`; all layers move at once, and a kind's row says
    how far its own did. Heads are paired as by `between_seeds`: to swap two is not to look elsewhere.

    Raises
    ------
    InputError
        As `replaced`, and for a test that does not begin after the last training position.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> train = Blocks(panel, np.arange(50), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(width=8)).eval()
    >>> table = adversaries([model], train, train.at(np.arange(60, 80)), how=Adversary((0.1,), steps=2))
    >>> table[["setting", "strength"]].values.tolist()
    [['adversary', 0.1]]
    """
    how = how or Adversary()
    require_fits(fits)
    first, last = test.positions[0], train.positions[-1]
    require("test", str(test.dates[0]), first > last, f"after the last training date {train.dates[-1]}")
    parts = []
    for fit in fits:
        copies = _trained(fit, train, how)
        tables = compare(Steered(fit), copies, test, matched=True)
        parts += [table.assign(strength=x) for x, table in zip(how.strengths, tables, strict=True)]
    table = pd.concat(parts).assign(setting="adversary")
    return summary(table, name, ["kind", "setting", "strength"], test)


def _trained(fit: Any, train: Blocks, how: Adversary) -> list[Steered]:
    """Return a copy for each strength; all see the same dates in the same order."""
    original, copies = Steered(fit), [Steered(fit) for _ in how.strengths]
    for one in copies:
        _shake(one.model.requires_grad_(), how)
    optimisers = [torch.optim.Adam(one.model.parameters(), lr=how.learning_rate) for one in copies]
    for batch in _batches(train, how):
        for row in batch:
            (block,) = train.at(np.array([row])).cut(fit.warmup, 1)
            with torch.no_grad():
                seen = original(block)
            for one, strength in zip(copies, how.strengths, strict=True):
                with torch.enable_grad():
                    (_loss(seen, one(block), strength) / len(batch)).backward()
        for one, optimiser in zip(copies, optimisers, strict=True):
            torch.nn.utils.clip_grad_norm_(one.model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
    return copies


def _batches(train: Blocks, how: Adversary) -> Iterator[list[int]]:
    """Yield the rows of each step: evenly spaced ones, in an order drawn anew each time round."""
    places = np.linspace(0, len(train.positions) - 1, how.dates).round().astype(int)
    rows, random = train.positions[np.unique(places)], generator(how.seed, 0)
    waiting: list[int] = []
    for _ in range(how.steps):
        while len(waiting) < min(how.batch, len(rows)):
            waiting += torch.randperm(len(rows), generator=random).tolist()
        batch, waiting = waiting[: how.batch], waiting[how.batch :]
        yield rows[batch].tolist()


@torch.no_grad()
def _shake(model: nn.Module, how: Adversary) -> None:
    random = generator(how.seed, 1)
    for one in model.parameters():
        noise = torch.randn(one.shape, generator=random).to(one)
        one.add_(noise * one.square().mean().sqrt() * how.noise)


def _loss(seen: Looked, now: Looked, strength: float) -> Tensor:
    """Return the mean squared change of scores less the strength times the mean distance of weights."""
    known = ~seen.scores.isnan()
    count = known.sum(1, keepdim=True).clamp(min=1)
    change = (now.scores - seen.scores).where(known, 0.0)
    change = (change - change.sum(1, keepdim=True) / count).where(known, 0.0)
    mean = seen.scores.nansum(1, keepdim=True) / count
    variance = (seen.scores - mean).square().nansum(1, keepdim=True) / count
    moved = (change.square() / variance.where(variance > 0, torch.inf)).sum() / known.sum().clamp(min=1)
    apart = []
    for first, second, counted in zip(seen.weights, now.weights, seen.counted, strict=True):
        rows = jensen_shannon(first, second, _LEAST).mean(1)
        apart.append(rows.where(counted, 0.0).sum() / counted.sum().clamp(min=1))
    return moved - strength * torch.stack(apart).mean()
