"""Explanations as a stage: from a run's folder to what one forecast rests on, and how far that can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finattn.blocks import Blocks, Scaling
from finattn.config import RunConfig
from finattn.config.require import require
from finattn.config_file import read_yaml
from finattn.errors import InputError
from finattn.experiment import fit_folder
from finattn.explain import LOOKED, Explanation, How, attention, gradients, join, network
from finattn.panel import Panel
from finattn.pipeline import load_fits, walk_forward_splits
from finattn.splits import Fold

DEFAULT_METHODS = ("attention", "integrated_gradients")


@dataclass(frozen=True)
class Opened:
    """A finished run: its configuration, panel and folds."""

    folder: Path
    config: RunConfig
    panel: Panel
    folds: tuple[Fold, ...]

    def fold_of(self, row: int) -> Fold:
        """Return the fold whose models forecast on a row of the panel; InputError for one before the first test."""
        begun = [fold for fold in self.folds if fold.test[0] <= row]
        if not begun:
            first = self.panel.dates[self.folds[0].test[0]]
            raise InputError(f"date must lie in the test windows, from {first} on, found {self.panel.dates[row]}")
        return begun[-1]

    def blocks(self, fold: Fold, rows: np.ndarray) -> Blocks:
        """Return the panel at some rows, scaled as the fold's models were."""
        return Blocks(self.panel, rows, Scaling.fit(self.panel, fold.train), self.config.target)

    def networks(self, fold: Fold, model: str, inputs: int) -> list[Any]:
        """Return a fold's fits of a model, one a seed, for `inputs` columns of `Block.x`."""
        folder, seed = self.folder / "folds", self.config.training.seeds[0]
        places = {name: fit_folder(folder, fold.number, name, seed) for name in self.config.forecasters}
        learnt = [name for name, place in places.items() if (place / "model.safetensors").is_file()]
        known = ", ".join(learnt) or "a run with trained models"
        require("model", model, model in learnt, f"one of {known}")
        return [network(fit) for fit in load_fits(self.config, folder, fold.number, model, inputs)]


def open_run(folder: Path) -> Opened:
    """Open the folder of a run; InputError where it is none."""
    for name in ("config.yaml", "panel", "folds"):
        if not (folder / name).exists():
            raise InputError(f"a run's folder must hold {name}, found none in {folder}")
    config = RunConfig(**read_yaml(folder / "config.yaml"))
    panel = Panel.load(folder / "panel")
    return Opened(folder, config, panel, tuple(walk_forward_splits(config).split(panel.dates)))


def explain(
    run: Opened,
    date: Any,
    firm: str,
    model: str | None = None,
    methods: Sequence[str] = DEFAULT_METHODS,
    how: How | None = None,
) -> Explanation:
    """Explain one forecast of a run's model by some methods, seeds averaged.

    `made["forecast"]` says which it is, with its score, and its place among the firms of the date, 1 the highest.

    Parameters
    ----------
    date : a date of the panel from the first test window on; that of a forecast or any between. firm : its identifier.
    model : by default the one that the run's headline is about.
    methods : of `explain.attention` and `explain.gradients`.
    how : settings of the latter.

    Raises
    ------
    InputError
        For a date, firm, model or method that there is not.
    """
    model = model or run.config.headline[0]
    row = row_of(run.panel, date)
    fold = run.fold_of(row)
    blocks = run.blocks(fold, np.array([row]))
    nets = run.networks(fold, model, blocks.scaling.width)
    target = (run.panel.dates[row], firm)
    parts = [_by(method, nets, blocks, target, how or How(), model) for method in methods]
    scores = np.mean([_scores(net, blocks) for net in nets], axis=0)
    own = float(scores[int(np.flatnonzero(run.panel.firms == firm)[0])])
    found = join(parts)
    forecast = {
        "date": str(run.panel.dates[row]), "firm": firm, "model": model, "score": own,
        "place": int((scores > own).sum()) + 1, "firms": int(np.isfinite(scores).sum()),
    }  # fmt: skip
    return Explanation(found.table, {"forecast": forecast, **found.made})


def row_of(panel: Panel, date: Any) -> int:
    """Return a date's row; InputError for one that the panel does not have, naming the nearest before it."""
    try:
        day = np.datetime64(pd.Timestamp(date), "D")
    except (ValueError, TypeError):
        raise InputError(f"date must be a day such as 2020-03-16, found {date!r}") from None
    row = int(np.searchsorted(panel.dates, day, side="right")) - 1
    if row < 0 or panel.dates[row] != day:
        near = f"the nearest before it is {panel.dates[row]}" if row >= 0 else f"the first is {panel.dates[0]}"
        raise InputError(f"date must be one of the panel's, found {day}: {near}")
    return row


def _by(method: str, nets: Sequence[Any], blocks: Blocks, target: tuple[Any, str], how: How, name: str) -> Explanation:
    """Explain by one method, averaged over seeds."""
    if method in LOOKED:
        return attention(nets, blocks, name, method, [target])
    parts = [gradients(net, blocks, [target], method, how, name) for net in nets]
    joined = join(parts)
    keys = ["date", "firm", "model", "method", "kind", "key"]
    # A key that one seed lists and another has among its "others" counts as 0 there, so that kinds still add up.
    mean = (joined.table.groupby(keys, sort=False)["score"].sum() / len(nets)).reset_index()
    return Explanation(mean[list(joined.table.columns)], joined.made)


def _scores(net: Any, blocks: Blocks) -> np.ndarray:
    import torch

    (block,) = blocks.cut(net.warmup, 1)
    with torch.no_grad():
        return net(block)[-1].double().numpy()
