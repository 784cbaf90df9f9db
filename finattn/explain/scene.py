"""A decision as a model sees it: the rows that its forecasts draw on, and what can be put in their place."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from finattn.blocks import Block, Blocks, observed, standardise
from finattn.errors import InputError
from finattn.panel import Panel

Target = tuple[Any, str]
"""A forecast to explain: its date and the firm's identifier."""
BASELINES = ("median", "absent")
_ROWS = 250  # of a panel that are scored at once


class Explained(Protocol):
    """What can be explained: a network from a block to scores [t n], NaN where there is no forecast."""

    @property
    def warmup(self) -> int:
        """Rows of context."""

    def __call__(self, block: Block) -> Tensor:
        """Return the scores."""


class Corrected(nn.Module):
    """A model and the base that it corrects as one network: κ · z + correction, see `training.TrainedForecaster`."""

    def __init__(self, model: nn.Module, base: nn.Module, weight: float) -> None:
        super().__init__()
        self.model, self.base, self.weight = model, base, weight

    @property
    def warmup(self) -> int:
        """Rows of context that the longer of the two needs."""
        return max(int(self.model.warmup), int(self.base.warmup))  # type: ignore[arg-type]

    def forward(self, block: Block) -> Tensor:
        """Return scores [t n]."""
        scores = self.base(block)
        known = ~scores.isnan()
        return self.model(block) + self.weight * standardise(scores.nan_to_num(), known)


class Averaged(nn.Module):
    """The mean score of several networks, as the fits of one model that differ by their seed."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    @property
    def warmup(self) -> int:
        """Rows of context that the longest of them needs."""
        return max(int(one.warmup) for one in self.networks)  # type: ignore[arg-type]

    def forward(self, block: Block) -> Tensor:
        """Return scores [t n]."""
        return mean_score(self.networks, block)


def mean_score(networks: Iterable[Callable[[Block], Tensor]], block: Block) -> Tensor:
    """Return the mean of some networks' scores [t n]."""
    return torch.stack([one(block) for one in networks]).mean(0)


def network(forecaster: Any) -> Any:
    """Return what a fitted forecaster computes as one network, the base that it starts from included.

    Parameters
    ----------
    forecaster : a fitted one, one of the ladder's, or a network, which is returned itself.

    Returns
    -------
    torch.nn.Module from a `Block` to scores [t n], in evaluation mode, with `warmup`: what the explanations take.

    Raises
    ------
    InputError
        For a forecaster that is no network, or starts from one that is none, as ridge.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.config import ModelConfig
    >>> from finattn.explain import network
    >>> model = network(fa.PanelTransformer(2, ("firm", "time"), ModelConfig(lookback=20)))
    >>> model.training, model.warmup
    (False, 19)
    >>> network(fa.Ridge())
    Traceback (most recent call last):
    finattn.errors.InputError: only a fitted network can be explained, found Ridge without one
    """
    forecaster = getattr(forecaster, "forecaster", forecaster)  # the ladder's, fitted once for all that start from it
    if isinstance(forecaster, nn.Module):
        return forecaster.eval()
    model, base = getattr(forecaster, "model", None), getattr(forecaster, "base", None)
    if not isinstance(model, nn.Module):
        found = type(forecaster).__name__
        raise InputError(f"only a fitted network can be explained, found {found} without one")
    return model.eval() if base is None else Corrected(model, network(base), forecaster.base_weight).eval()


def scores(model: Explained, blocks: Blocks) -> np.ndarray:
    """Return a network's scores (p, n) at all positions, NaN where there is no forecast."""
    with torch.no_grad():
        parts = [model(block)[block.scored] for block in blocks.cut(model.warmup, _ROWS)]
    return torch.cat(parts).double().numpy()


class Scene(NamedTuple):
    """One date whose forecasts are explained."""

    block: Block
    """[w n] the date's row, which alone is scored, after the rows that it draws on."""
    row: int
    """Of the panel."""
    columns: tuple[int, ...]
    """Of the firms explained."""

    @property
    def seen(self) -> Tensor:
        """Firms [n] observed on any of the rows."""
        return self.block.observed.any(0)


def scenes(model: Explained, blocks: Blocks, targets: Sequence[Target]) -> Iterator[Scene]:
    """Yield the dates of some targets, the earliest first, with their firms in the order given.

    Raises
    ------
    InputError
        For no targets, and for a date or firm that the panel does not have or where there is no forecast.
    """
    for row, columns in asked(blocks, targets).items():
        (block,) = blocks.at(np.array([row])).cut(model.warmup, 1)
        yield Scene(block, row, columns)


def asked(blocks: Blocks, targets: Sequence[Target]) -> dict[int, tuple[int, ...]]:
    """Return the columns of some targets by the panel's row, rows increasing; InputError as `scenes`."""
    panel = blocks.panel
    if not len(targets):
        raise InputError("targets must be pairs of date and firm, found none")
    place = {str(firm): column for column, firm in enumerate(panel.firms)}
    wanted: dict[int, dict[int, None]] = {}
    for date, firm in targets:
        row = _row(panel, date, "a target's date must be one of the panel's")
        if str(firm) not in place:
            raise InputError(f"a target's firm must be one of the panel's, found {firm!r}")
        column = place[str(firm)]
        if not observed(panel, np.array([row]))[0, column]:
            raise InputError(f"a target must have a forecast, found {firm!r} not observed on {panel.dates[row]}")
        wanted.setdefault(row, {})[column] = None
    return {row: tuple(wanted[row]) for row in sorted(wanted)}


def _row(panel: Panel, date: Any, expected: str) -> int:
    """Return a date's row, or refuse it as not what was expected."""
    try:
        day = np.datetime64(pd.Timestamp(date), "D")
    except (ValueError, TypeError):
        raise InputError(f"{expected}, found {date!r}") from None
    row = int(np.searchsorted(panel.dates, day))
    if row == len(panel) or panel.dates[row] != day:
        raise InputError(f"{expected}, found {day}")
    return row


def baseline(blocks: Blocks, scene: Scene, kind: Any = "median") -> Tensor:
    """Return what stands for "nothing to see" [w n f].

    Firms stay observed where they are: it is their inputs that are replaced, not their presence.

    Parameters
    ----------
    kind : "median", on each row and for each input the median (of two the lower) over the firms observed that have it,
        missing where most lack it; "absent", every characteristic missing, 0 with its indicator 1, and returns at their
        training mean; or a date: what the panel held in as many rows up to that one, and where a firm was not observed
        then, 0.

    Raises
    ------
    InputError
        For another kind, and for a date that the panel lacks or that has too few rows before it.
    """
    x, here = scene.block.x, scene.block.observed
    count = (x.shape[2] - 2) // 2
    if kind == "median":
        known = here[..., None].expand(x.shape).clone()
        known[..., 2 : 2 + count] &= x[..., 2 + count :] == 0
        middle = x.masked_fill(~known, torch.nan).nanmedian(dim=1, keepdim=True).values.nan_to_num()
        middle[..., 2 : 2 + count] *= 1 - middle[..., 2 + count :]
        return middle.expand_as(x).clone()
    if kind == "absent":
        absent = torch.zeros_like(x)
        absent[..., 2 + count :] = 1.0
        return absent
    row = _row(blocks.panel, kind, f"baseline must be {', '.join(BASELINES)} or a date of the panel")
    if row + 1 < len(x):
        day = blocks.panel.dates[row]
        raise InputError(f"baseline must be a date of the panel with {len(x) - 1} rows before it, found {day}")
    (block,) = blocks.at(np.array([row])).cut(len(x) - 1, 1)
    return block.x.masked_fill(~block.observed[..., None], 0.0)


def inputs(blocks: Blocks) -> tuple[list[str], np.ndarray]:
    """Return the names of what a model reads, and for each column of `Block.x` which of them it belongs to.

    An indicator of a missing characteristic belongs to the characteristic.
    """
    names = ["return", "excess_return", *blocks.panel.feature_names]
    count = len(names)
    return names, np.array([*range(count), *range(2, count)])


class View(NamedTuple):
    """A scene's scores as functions of z = x − baseline [w n f], 0 where nothing is observed."""

    model: Callable[[Block], Tensor]
    """See `held`."""
    scene: Scene
    start: Tensor
    """The baseline [w n f]."""
    z: Tensor
    """At which the forecasts were made."""
    firms: np.ndarray
    """Identifiers [n]."""
    names: list[str]
    group: Tensor
    """Which of the names each input [f] belongs to."""

    def scores(self, z: Tensor) -> Tensor:
        """Return the scores [i] of the firms explained."""
        return self.model(self.scene.block._replace(x=self.start + z))[-1, list(self.scene.columns)]

    def gradients(self, z: Tensor, share: float = 1.0, total: Tensor | None = None) -> Tensor:
        """Return a share of the scores' gradients [i w n f], added to a total in place where one is given.

        One pass forward, and one backward for each of the firms explained.
        """
        total = torch.zeros(len(self.scene.columns), *z.shape) if total is None else total
        with torch.enable_grad():
            point = z.detach().requires_grad_()
            scores = self.scores(point)
            for place, score in enumerate(scores):
                (found,) = torch.autograd.grad(score, point, retain_graph=place + 1 < len(scores))
                total[place].add_(found, alpha=share)
        return total

    def alone(self) -> Iterator[tuple[int, "View"]]:
        """Yield each firm explained as a column, and its view."""
        for column in self.scene.columns:
            yield column, self._replace(scene=self.scene._replace(columns=(column,)))


def view(model: Explained, blocks: Blocks, scene: Scene, kind: Any = "median") -> View:
    """Return a scene as a function of what distinguishes it from a baseline; InputError as `baseline`."""
    hidden = ~scene.block.observed[..., None]
    start = baseline(blocks, scene, kind).masked_fill(hidden, 0.0)
    z = (scene.block.x - start).masked_fill(hidden, 0.0)
    names, group = inputs(blocks)
    return View(held(model, scene.block), scene, start, z, blocks.panel.firms, names, torch.from_numpy(group))


def held(model: Callable[[Block], Tensor], block: Block) -> Callable[[Block], Tensor]:
    """Hold the mean and deviation over firms, by which a base's scores are standardised, at those of one date.

    It is the last of the block. Held or not, they move all firms alike and leave their order. Were they free, nothing
    could be taken away: with all firms at the baseline the deviation is that of rounding errors, which standardising
    would blow up to scores. Models without a base are returned as they are.
    """
    if isinstance(model, Averaged):
        several = [held(one, block) for one in model.networks]
        return lambda some: mean_score(several, some)
    if not isinstance(model, Corrected):
        return model
    base = held(model.base, block)
    with torch.no_grad():
        last = base(block)[-1]
    last = last[~last.isnan()]
    mean, deviation = last.mean(), last.std(correction=0)
    deviation = deviation.where(deviation > 1e-8, torch.inf)
    return lambda some: model.model(some) + model.weight * (base(some) - mean) / deviation
