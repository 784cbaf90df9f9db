"""Explanations as a stage: from a run's folder to what one forecast rests on, and how far that can be trusted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finattn.blocks import Blocks, Scaling
from finattn.config import RunConfig, standing
from finattn.config.require import nearest, require
from finattn.config_file import read_yaml
from finattn.errors import InputError
from finattn.evaluation import per_date
from finattn.experiment import cut_fold, fit_folder, rungs
from finattn.explain import (
    LOOKED,
    METHODS,
    Audit,
    Checks,
    Explanation,
    How,
    attention,
    gradients,
    join,
    network,
    uniform_twin,
)
from finattn.explain import audit as explain_audit
from finattn.explain.audit import skill, with_skill
from finattn.explain.scene import Averaged, scores
from finattn.forecasts import Forecasts
from finattn.look_up import LookUp
from finattn.panel import Panel
from finattn.pipeline import Watch, load_fits, walk_forward_splits
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
        self.require_trained(fold, model)
        return [network(fit) for fit in load_fits(self.config, self.folder / "folds", fold.number, model, inputs)]

    @property
    def whole_fold(self) -> Fold:
        """The last fold that has at least half as many test dates as the longest."""
        longest = max(len(fold.test) for fold in self.folds)
        return [fold for fold in self.folds if 2 * len(fold.test) >= longest][-1]

    def skill(self, model: str) -> pd.DataFrame:
        """Return what a model is worth on the test dates of all folds, as an audit has it; InputError as `skill`."""
        forecasts = Forecasts.load(self.folder / "forecasts.parquet")
        require("model", model, model in forecasts.models, f"one of {', '.join(forecasts.models)}")
        table = per_date(forecasts)
        return skill(table[table["model"] == model]["rank_ic"], forecasts.overlap)

    def require_trained(self, fold: Fold, model: str) -> None:
        """Refuse a model of which the fold keeps no fit."""
        learnt = self.trained(fold)
        if model not in learnt:
            known = ", ".join(learnt) or "a run with trained models"
            raise InputError(f"model must be one of {known}, found {model!r}{nearest(model, learnt)}")

    def trained(self, fold: Fold) -> list[str]:
        """Return the run's models of which a fold keeps fits."""
        folder, seed = self.folder / "folds", self.config.training.seeds[0]
        places = {name: fit_folder(folder, fold.number, name, seed) for name in self.config.forecasters}
        return [name for name, place in places.items() if (place / "model.safetensors").is_file()]

    def default_model(self, axes: Collection[str] = ()) -> str:
        """Return the run's model that stands for the headline's where it was trained, else the first one that was.

        Parameters
        ----------
        axes : a model that attends along one of them is taken before others.

        Raises
        ------
        InputError
            Where none was trained.
        """
        learnt = self.trained(self.folds[-1])
        if not learnt:
            raise InputError(f"a run must have a trained model, found none in {self.folder}")
        fitting = [name for name in learnt if set(axes) & set(self.axes(name))] or learnt
        model, _ = standing(self.config.headline, self.config.forecasters)
        return model if model in fitting else fitting[0]

    def axes(self, model: str) -> tuple[str, ...]:
        """Return the axes along which a model attends, none for one that does not."""
        return LookUp.axes if model == "look_up" else tuple(self.config.attention.get(model, ()))


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
    methods: Sequence[str] | None = None,
    how: How | None = None,
) -> Explanation:
    """Explain one forecast of a run's model by some methods, seeds averaged.

    `made["forecast"]` says which it is, with its score, and its place among the firms of the date, 1 the highest.

    Parameters
    ----------
    date : a date of the panel from the first test window on; that of a forecast or any between. firm : its identifier.
    model : by default `Opened.default_model`.
    methods : of `explain.attention` and `explain.gradients`; by default attention, of a model that attends, and
        integrated gradients.
    how : settings of the latter.

    Raises
    ------
    InputError
        For a date, firm, model or method that there is not.
    """
    model = model or run.default_model()
    methods = methods or [one for one in DEFAULT_METHODS if one not in LOOKED or run.axes(model)]
    for method in methods:
        require("method", method, method in (*LOOKED, *METHODS), f"one of {', '.join((*LOOKED, *METHODS))}")
    firms = run.panel.firms.tolist()
    if firm not in firms:
        raise InputError(f"firm must be one of the panel's, found {firm!r}{nearest(firm, firms)}")
    row = row_of(run.panel, date)
    fold = run.fold_of(row)
    blocks = run.blocks(fold, np.array([row]))
    nets = run.networks(fold, model, blocks.scaling.width)
    target = (run.panel.dates[row], firm)
    parts = [_by(method, nets, blocks, target, how or How(), model) for method in methods]
    given = np.mean([scores(net, blocks)[0] for net in nets], axis=0)
    own = float(given[int(np.flatnonzero(run.panel.firms == firm)[0])])
    found = join(parts)
    forecast = {
        "date": str(run.panel.dates[row]), "firm": firm, "model": model, "score": own,
        "place": int((given > own).sum()) + 1, "firms": int(np.isfinite(given).sum()),
    }  # fmt: skip
    return Explanation(found.table, {"forecast": forecast, **found.made})


def audit(
    run: Opened,
    model: str | None = None,
    fold: int | None = None,
    checks: Checks | None = None,
    refit: bool = True,
    watch: Watch | None = None,
) -> Audit:
    """Audit the explanations of a run's model on the test window of one fold.

    Parameters
    ----------
    model : by default the one that the run's headline is about. fold : its number; by default the last whose test
        window is no stub. Skill is judged on the test dates of all folds.
    checks : what is checked, and how thoroughly; methods that look at attention are left out for a model without.
    refit : fit the model anew with its attention frozen even, one fit a seed, on the fold's training dates.
    watch : told of progress.

    Raises
    ------
    InputError
        For a model or fold that there is not.
    """
    model, checks, watch = model or run.default_model(), checks or Checks(), watch or Watch()
    known = run.skill(model)
    numbers = {one.number: one for one in run.folds}
    asked = run.whole_fold.number if fold is None else fold
    require("fold", asked, asked in numbers, f"one of {', '.join(map(str, numbers))}")
    chosen = numbers[asked]
    train, valid, test = cut_fold(run.panel, chosen, run.config.target)
    nets, twins = run.networks(chosen, model, train.scaling.width), []
    if model not in run.config.attention and model != "look_up":
        checks = replace(checks, methods=tuple(one for one in checks.methods if one not in LOOKED))
    elif refit and model != "look_up":  # whose scores are 0 where its weights are even: it would always seem needed
        watch.on_stage("fitting with attention frozen even")
        (rung,) = rungs(replace(run.config, forecasters=(model,)))
        twins = [uniform_twin(rung.make(seed)).fit(train, valid) for seed in rung.seeds]
    found = explain_audit(nets, test, train, twins, checks, model, watch.on_part)
    found = with_skill(found, known)
    span = {"fold": asked, "first": str(test.dates[0]), "last": str(test.dates[-1]), "decisions": len(test.dates)}
    return replace(found, made={**found.made, **span})


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
    """Explain the mean score over seeds by one method."""
    if method in LOOKED:
        return attention(nets, blocks, name, method, [target])
    model = nets[0] if len(nets) == 1 else Averaged(nets).eval()
    return gradients(model, blocks, [target], method, how, name)
