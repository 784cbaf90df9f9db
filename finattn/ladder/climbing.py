"""Tune every rung on the first fold with the same budget, fix it, and walk all of them forward."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd

from finattn.blocks import Blocks
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.experiment import Forecaster, Rung, Step, cut_fold, walk_forward
from finattn.forecasts import Forecasts
from finattn.ladder.rungs import LadderRung, Settings, check_order
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.panel import Panel
from finattn.splits import WalkForward
from finattn.storage import write_json

TRIALS = ("rung", "trial", "settings", "valid_rank_ic", "seconds", "chosen")


class Climbed(NamedTuple):
    """Forecasts of every rung, and a table of what each was tuned over, with columns `TRIALS`.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.ladder import standard
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="6M", decisions="weekly")
    >>> found = fa.climb(panel, standard()[:3], splits)
    >>> found.forecasts.models
    ('zero', 'historical_mean', 'momentum')
    >>> found.trials[found.trials["chosen"]][["rung", "settings", "valid_rank_ic"]].round(2)
                  rung         settings  valid_rank_ic
    0             zero               {}            NaN
    1  historical_mean               {}            NaN
    5         momentum  {"window": 252}           0.03
    """

    forecasts: Forecasts
    trials: pd.DataFrame


class Once:
    """A forecaster that is fitted once on the same dates of one panel, however many start from it.

    Parameters
    ----------
    forecaster : any that `walk_forward` takes. fitted : the training dates that it comes fitted on, if any.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.config import TargetConfig
    >>> from finattn.ladder import Once
    >>> panel = fa.sample()["2018":"2020"]
    >>> train = fa.Blocks(panel, np.arange(300), fa.Scaling.fit(panel, np.arange(300)), TargetConfig())
    >>> once = Once(fa.Ridge(strengths=(0.1, 10.0))).fit(train, train.at(np.arange(300, 400)))
    >>> once.fit(train, train.at(np.arange(500, 600))).chosen["strength"]  # fitted again it would be 10
    0.1
    """

    def __init__(self, forecaster: Any, fitted: Blocks | None = None) -> None:
        self.forecaster, self._fitted = forecaster, fitted

    @property
    def units(self) -> Literal["score", "return"]:
        """Say what the forecaster's are."""
        return self.forecaster.units

    @property
    def chosen(self) -> dict[str, Any]:
        """Say what the forecaster's tuning chose."""
        return getattr(self.forecaster, "chosen", {})

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit, unless it was on these very dates."""
        known = self._fitted
        if known is None or known.panel is not train.panel or not np.array_equal(known.positions, train.positions):
            self.forecaster.fit(train, valid)
            self._fitted = train
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return the forecaster's forecasts."""
        return self.forecaster.predict(blocks)

    def save(self, folder: str | Path) -> None:
        """Keep what was fitted, where the forecaster can."""
        if hasattr(self.forecaster, "save"):
            self.forecaster.save(folder)


def climb(
    panel: Panel,
    rungs: Sequence[LadderRung],
    splits: WalkForward,
    target: TargetConfig | None = None,
    folder: str | Path | None = None,
    *,
    seeds: Sequence[int] = (0,),
    on_step: Callable[[Step], None] | None = None,
    ledger: str | Path | None = None,
) -> Climbed:
    """Tune each rung on the first fold's validation dates, in the order given, then walk all of them forward.

    A rung's trials are fitted on the first fold's training dates with the first seed, and the one with the highest rank
    IC over its validation dates is fixed for all folds. No rung is refitted on its validation dates before the test.
    Where tuning ties, the earlier trial is taken.

    Parameters
    ----------
    panel : with its features built. rungs : see `finattn.ladder.standard`; those that others start from before them.
    splits, target, on_step, ledger : as of `walk_forward`.
    folder : where trials and fits are written, so that what is killed goes on; None writes nothing.
    seeds : one fit each of rungs with chance in them.

    Returns
    -------
    Climbed

    Raises
    ------
    InputError
        For rungs that are not unique, or that come before one that they need; and as `walk_forward`.

    Examples
    --------
    >>> from finattn.data import sample
    >>> from finattn.ladder import standard
    >>> splits = WalkForward("2020-01-01", test="1Y", valid="1Y", train="3Y", decisions="month-end")
    >>> found = climb(sample()["2014":"2020"], standard()[:3], splits)
    >>> found.forecasts.models, found.trials["chosen"].sum().item()
    (('zero', 'historical_mean', 'momentum'), 3)
    """
    check_order(rungs)
    target = target or TargetConfig(splits.horizon, splits.delay)
    folder = None if folder is None else Path(folder)
    fold = next(iter(splits.split(panel.dates)))
    cuts = cut_fold(panel, fold, target)
    fixed: dict[str, Settings] = {}
    shared: dict[tuple[str, int], Once] = {}

    def tuned(name: str, seed: int) -> Once:
        rung = next(rung for rung in rungs if rung.name == name)
        seed = seed if rung.seeded else 0
        if (name, seed) not in shared:
            shared[name, seed] = Once(rung.make(fixed[name], seed, tuned))
        return shared[name, seed]

    tables = []
    for rung in rungs:
        place = None if folder is None else folder / "trials" / f"{rung.name}.json"
        tried, fitted = _tune(rung, cuts, seeds[0], tuned, place)
        best = _best(tried)
        fixed[rung.name] = rung.trials[best]
        if best in fitted:  # the first fold's fit is there already
            shared[rung.name, seeds[0] if rung.seeded else 0] = Once(fitted[best], cuts[0])
        tables += [
            (rung.name, i, json.dumps(dict(settings)), *tried[i], i == best) for i, settings in enumerate(rung.trials)
        ]
    walked = [
        Rung(rung.name, _maker(rung.name, tuned), tuple(seeds) if rung.seeded else (0,), str(dict(fixed[rung.name])))
        for rung in rungs
    ]
    forecasts = walk_forward(panel, walked, splits, target, folder and folder / "folds", on_step, ledger=ledger)
    return Climbed(forecasts, pd.DataFrame(tables, columns=list(TRIALS)))


def _maker(name: str, tuned: Callable[[str, int], Once]) -> Callable[[int], Forecaster]:
    return lambda seed: tuned(name, seed)


class _Trial(NamedTuple):
    valid_rank_ic: float
    seconds: float


def _tune(
    rung: LadderRung,
    cuts: tuple[Blocks, Blocks, Blocks],
    seed: int,
    tuned: Callable[[str, int], Forecaster],
    place: Path | None,
) -> tuple[list[_Trial], dict[int, Forecaster]]:
    """Return what each trial was worth, those found before read, and the best forecaster where it was fitted."""
    if len(rung.trials) == 1:
        return [_Trial(np.nan, 0.0)], {}
    settings = [dict(trial) for trial in rung.trials]
    tried = _read(place, settings)
    train, valid, _ = cuts
    fitted: dict[int, Forecaster] = {}
    for trial in settings[len(tried) :]:
        began = time.perf_counter()
        forecaster = rung.make(trial, seed if rung.seeded else 0, tuned).fit(train, valid)
        skill = mean_over_dates(rank_information_coefficient(forecaster.predict(valid), valid.realised))
        tried.append(_Trial(skill, round(time.perf_counter() - began, 3)))
        if _best(tried) == len(tried) - 1:
            fitted = {len(tried) - 1: forecaster}
        if place is not None:
            write_json(place, {"settings": settings, "tried": tried})
    return tried, fitted


def _best(tried: Sequence[_Trial]) -> int:
    """Return the place of the highest; of the first where they tie."""
    return int(np.argmax(np.nan_to_num([trial.valid_rank_ic for trial in tried], nan=-1.0)))


def _read(place: Path | None, settings: list[dict[str, Any]]) -> list[_Trial]:
    """Read the trials of the same settings that an earlier call finished."""
    if place is None or not place.exists():
        return []
    content: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    if content["settings"] != json.loads(json.dumps(settings)):
        raise InputError(f"{place} must hold trials of {settings}, found those of {content['settings']}")
    return [_Trial(*trial) for trial in content["tried"]]
