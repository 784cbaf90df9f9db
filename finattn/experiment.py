"""Walk-forward: fit every forecaster on every fold, write each as it ends, and go on where a killed run stopped."""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd

from finattn.baselines import (
    Boosting,
    ElasticNet,
    HistoricalMean,
    KernelRegression,
    Momentum,
    Ridge,
    SICKernel,
    Zero,
)
from finattn.blocks import Blocks, Reference, Scaling, forward_returns
from finattn.config import RunConfig, TargetConfig
from finattn.errors import InputError
from finattn.forecasts import Forecasts
from finattn.ledger import Setup, read_trials, record
from finattn.metrics import demeaned
from finattn.panel import Panel
from finattn.splits import Fold, WalkForward, label_overlap
from finattn.storage import atomic_folder, sweep, write_json


@runtime_checkable
class Forecaster(Protocol):
    """What `walk_forward` fits: two calls on `Blocks`.

    `units` says what `predict` returns: a "score", which ranks firms and is calibrated to returns afterwards, or a
    "return", taken as it is. An attribute `chosen`, where there is one, is what tuning chose; a method
    `save(folder)` keeps what was fitted.
    """

    @property
    def units(self) -> Literal["score", "return"]:
        """Say whether `predict` ranks firms or forecasts returns."""
        ...

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Fit on training dates and tune on validation dates."""
        ...

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return forecasts (p, n) of the blocks' positions, NaN where a firm is not observed."""
        ...


@dataclass(frozen=True)
class Rung:
    """A named forecaster: `make(seed)` gives a fresh one; one without chance in it has the seed 0 alone.

    `settings` tells two of one name apart, so that a folder of fits is not taken up with others.
    """

    name: str
    make: Callable[[int], Forecaster]
    seeds: tuple[int, ...] = (0,)
    settings: str = ""


class Step(NamedTuple):
    """Where a walk-forward stands, for progress: the fit that begins or was found done, out of how many."""

    number: int
    total: int
    fold: int
    model: str
    seed: int
    done: bool


def rungs(config: RunConfig, on_epoch: Callable[[int, int, float], None] | None = None) -> list[Rung]:
    """Return the forecasters that a configuration names, in its order."""
    plain, seeded = _plain(config), _seeded(config, on_epoch)
    # A rung's settings tell neither its seeds, which stand beside them, nor what changes no result.
    silent = _seeded(replace(config, training=replace(config.training, seeds=(0,), threads=0)), None)
    makers, described = plain | seeded, plain | silent
    return [
        Rung(name, makers[name], (0,) if name in plain else config.training.seeds, _settings(described[name](0)))
        for name in config.forecasters
    ]


def _plain(config: RunConfig) -> dict[str, Callable[[int], Any]]:
    """Return the makers of forecasters without chance in them."""
    chosen = config.baselines
    return {
        "zero": lambda seed: Zero(),
        "historical_mean": lambda seed: HistoricalMean(),
        "ridge": lambda seed: Ridge(chosen.ridge_strengths, chosen.ridge_lookback),
        "sic_average": lambda seed: SICKernel(chosen.peer_windows, (), chosen.minimum_peers),
        "sic_kernel": lambda seed: SICKernel(chosen.peer_windows, chosen.bandwidths, chosen.minimum_peers),
        "momentum": lambda seed: Momentum(chosen.momentum_windows),
        "elastic_net": lambda seed: ElasticNet(
            chosen.elastic_net_strengths, chosen.elastic_net_ratios, chosen.ridge_lookback
        ),
    }


def _seeded(config: RunConfig, on_epoch: Callable[[int, int, float], None] | None) -> dict[str, Callable[[int], Any]]:
    """Return the makers of forecasters with chance in them."""
    chosen = config.baselines
    seeded: dict[str, Callable[[int], Any]] = {
        "boosting": lambda seed: Boosting(chosen.boosting_rates, chosen.boosting_leaves, seed=seed),
        "kernel_regression": lambda seed: KernelRegression(chosen.peer_windows, seed=seed),
        "look_up": _look_up(config, on_epoch),
        "lstm": _lstm(config, on_epoch),
    }
    return seeded | {name: _attention(config, name, on_epoch) for name in config.attention}


def _look_up(config: RunConfig, on_epoch: Callable[[int, int, float], None] | None) -> Callable[[int], Forecaster]:
    def make(seed: int) -> Forecaster:
        from finattn.look_up import LookUpConfig
        from finattn.training import LookUpForecaster, look_up_training

        look_up = LookUpConfig(windows=config.baselines.look_up_windows)
        return LookUpForecaster(look_up, look_up_training(config.training), seed, on_epoch)

    return make


def _lstm(config: RunConfig, on_epoch: Callable[[int, int, float], None] | None) -> Callable[[int], Forecaster]:
    def make(seed: int) -> Forecaster:
        from finattn.recurrent import RecurrentForecaster

        return RecurrentForecaster(config.model, config.training, seed, on_epoch)

    return make


def _attention(
    config: RunConfig, name: str, on_epoch: Callable[[int, int, float], None] | None
) -> Callable[[int], Forecaster]:
    def make(seed: int) -> Forecaster:
        from finattn.training import AttentionForecaster  # Lightning takes two seconds to import

        return AttentionForecaster(config.attention[name], config.model, config.training, seed, on_epoch)

    return make


def walk_forward(
    panel: Panel,
    forecasters: Sequence[Rung] | Mapping[str, Forecaster],
    splits: WalkForward,
    target: TargetConfig | None = None,
    folder: str | Path | None = None,
    on_step: Callable[[Step], None] | None = None,
    *,
    reference: Panel | None = None,
    neighbours: np.ndarray | None = None,
    ledger: str | Path | None = None,
) -> Forecasts:
    """Fit and forecast fold by fold.

    Parameters
    ----------
    panel : with its features built.
    forecasters : rungs, or fitted-anew forecasters by name (deep-copied for every fold).
    splits : folds; its horizon and delay must be the target's.
    target : what is forecast; by default the splits' horizon and delay.
    folder : where each fit's forecasts are written as it ends, in `K/MODEL-SEED/`; those found there are not made
        again, so a killed run goes on. It belongs to one panel, target, splits and set of forecasters. None writes
        nothing.
    on_step : called before each fit and for each that was found.
    reference : a universe on the same dates that models along "reference" query, such as `blocks.factor_panel(panel)`.
    neighbours : (n, n) or (t, n, n) bool, whom each firm can attend to along "neighbours", such as ``codes[:, None] ==
        codes`` or an edge list of your own; row t must be known at the close of dates[t], and (n, n) before the panel.
    ledger : folder of the ledger to which each forecaster is appended with its net returns at the end, so that a later
        search is counted, see `finattn.ledger`; None appends nothing.

    Returns
    -------
    Forecasts of every observed firm on every test decision date.

    Raises
    ------
    InputError
        Where splits and target differ, a fold is empty or without observed targets, the folder belongs to something
        else, the ledger is broken, or a forecaster refuses the panel.

    Examples
    --------
    >>> from finattn.data import sample
    >>> splits = WalkForward("2020-01-01", test="1Y", valid="1Y", train="5Y", decisions="month-end")
    >>> forecasts = walk_forward(sample()["2010":"2020"], {"zero": Zero(), "mean": HistoricalMean()}, splits)
    >>> forecasts.models, len(forecasts.table)
    (('zero', 'mean'), 480)
    """
    target = target or TargetConfig(splits.horizon, splits.delay)
    if (splits.horizon, splits.delay) != (target.horizon, target.delay):
        raise InputError(
            f"splits must purge by the target's horizon {target.horizon} and delay {target.delay}, found "
            f"{splits.horizon} and {splits.delay}"
        )
    if isinstance(forecasters, Mapping):
        forecasters = [Rung(name, _copies(f), settings=_settings(f)) for name, f in forecasters.items()]
    if not forecasters:
        raise InputError("walk_forward needs at least one forecaster, found none")
    if ledger:
        read_trials(ledger)  # so that a broken one is found before anything is fitted
    settings = {rung.name: rung.settings for rung in forecasters}
    folds = list(splits.split(panel.dates))
    total = len(folds) * sum(len(rung.seeds) for rung in forecasters)
    folder = None if folder is None else Path(folder)
    tables, number = [], 0
    for fold in folds:
        cuts = cut_fold(panel, fold, target, reference, neighbours)
        if (folder or ledger) and fold is folds[0]:  # only now, so that what is refused leaves nothing behind
            setup = Setup(settings, target, splits, _prints(reference, neighbours))
            if folder:
                _open(folder, panel, setup)
        for rung in forecasters:
            for seed in rung.seeds:
                place = fit_folder(folder, fold.number, rung.name, seed) if folder else None
                found = place is not None and (place / "fit.json").exists()
                if on_step:
                    on_step(Step(number, total, fold.number, rung.name, seed, found))
                number += 1
                if found:
                    tables.append(pd.read_parquet(f"{place}/forecasts.parquet"))
                else:
                    tables.append(_fit(fold, cuts, rung, seed, place))
    table = pd.concat(tables, ignore_index=True)
    positions = np.concatenate([fold.test for fold in folds])
    overlap = label_overlap(positions, target.horizon)
    forecasts = Forecasts(table, target.horizon, target.delay, overlap, panel.periods_per_year)
    if ledger:
        record(ledger, panel, forecasts, setup)
    return forecasts


def _open(folder: Path, panel: Panel, setup: Setup) -> None:
    """Open a folder of fits, and refuse one that belongs to another panel, target, splits or forecasters."""
    key: dict[str, Any] = {"panel": panel.fingerprint, "target": asdict(setup.target), "splits": asdict(setup.splits)}
    key |= {"forecasters": dict(setup.settings), **setup.beside}
    file = folder / "key.json"
    fitted = next(folder.glob("*/*/fit.json"), None)
    if fitted and file.exists() and (earlier := json.loads(file.read_text(encoding="utf-8"))) != key:
        differs = [name for name in {**key, **earlier} if earlier.get(name) != key.get(name)]
        raise InputError(
            f"{folder} must hold fits of one panel, target, splits and forecasters, found another {', '.join(differs)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    write_json(file, key)


def _prints(reference: Panel | None, neighbours: np.ndarray | None) -> dict[str, str]:
    """Return what identifies that which is given beside the panel."""
    prints = {} if reference is None else {"reference": reference.fingerprint}
    if neighbours is not None:
        given = np.asarray(neighbours)
        digest = hashlib.sha256(f"{given.dtype} {given.shape}".encode())
        for row in given:  # never a copy of all dates
            digest.update(np.ascontiguousarray(row).data)
        prints["neighbours"] = digest.hexdigest()
    return prints


def check_folds(panel: Panel, splits: WalkForward, target: TargetConfig) -> None:
    """Refuse what `walk_forward` would refuse of the panel and the folds, before anything is fitted."""
    for fold in splits.split(panel.dates):
        cut_fold(panel, fold, target)


def cut_fold(
    panel: Panel,
    fold: Fold,
    target: TargetConfig,
    reference: Panel | None = None,
    neighbours: np.ndarray | None = None,
) -> tuple[Blocks, Blocks, Blocks]:
    """Cut a panel into a fold's training, validation and test blocks, scaled by its training rows.

    Raises
    ------
    InputError
        Where training or validation dates have no observed target.
    """
    scaling = Scaling.fit(panel, fold.train)
    universe = None if reference is None else Reference(reference, Scaling.fit(reference, fold.train))
    train, valid, test = (
        Blocks(panel, rows, scaling, target, universe, neighbours) for rows in (fold.train, fold.valid, fold.test)
    )
    for name, part in (("train", train), ("valid", valid)):
        if np.isnan(part.realised).all():
            raise InputError(
                f"every fold must have observed targets, found none in the {name} dates of fold {fold.number}, "
                f"{part.dates[0]} to {part.dates[-1]}"
            )
    return train, valid, test


def _fit(fold: Fold, cuts: tuple[Blocks, Blocks, Blocks], rung: Rung, seed: int, place: Path | None) -> pd.DataFrame:
    """Fit one forecaster on one fold and return its forecasts, written to `place` together with how it was tuned."""
    train, valid, test = cuts
    began = time.perf_counter()
    forecaster = rung.make(seed).fit(train, valid)
    score = forecaster.predict(test)
    if np.shape(score) != test.observed.shape:
        raise InputError(
            f"predict of {rung.name!r} must return an array of shape {test.observed.shape}, found {np.shape(score)}"
        )
    prediction, slope = (score, 1.0) if forecaster.units == "return" else calibrate(forecaster, train, valid, score)
    table = _table(test, rung.name, fold.number, seed, score, prediction)
    Forecasts(table, test.target.horizon, test.target.delay, 0, test.panel.periods_per_year)  # refuses NaN scores
    if place is not None:
        record = {
            "fold": fold.number, "model": rung.name, "seed": seed, "seconds": round(time.perf_counter() - began, 3),
            "calibration_slope": slope, "chosen": getattr(forecaster, "chosen", {}),
        }  # fmt: skip
        with atomic_folder(place) as temporary:
            table.to_parquet(temporary / "forecasts.parquet", index=False)
            (temporary / "fit.json").write_text(json.dumps(record, default=float) + "\n", encoding="utf-8")
            if hasattr(forecaster, "save"):
                forecaster.save(temporary)
    return table


def calibrate(forecaster: Forecaster, train: Blocks, valid: Blocks, score: np.ndarray) -> tuple[np.ndarray, float]:
    """Turn scores (p, n) into returns: m + c (score − mean score of the date).

    m is the mean forward return over training and validation dates. The slope c is that of forward returns on scores,
    both in excess of their date's mean, over the *validation* dates: on training dates a flexible model's scores fit
    noise, and the slope would be far too steep. It is shrunk by its own standard error s, c · max(0, 1 − (s/c)²), and
    never negative; s sums errors within a date, and counts overlapping labels by a factor of √horizon.

    Returns
    -------
    predictions (p, n), slope c.
    """
    scores, realised = forecaster.predict(valid), valid.realised
    x, y = demeaned(scores, ~np.isnan(scores * realised)), demeaned(realised, ~np.isnan(scores * realised))
    variance = float((x * x).sum())
    slope = float((x * y).sum()) / variance if variance > 1e-12 else 0.0
    per_date = (x * (y - slope * x)).sum(axis=1)  # errors of one date move together, so they are summed first
    error = float(np.sqrt((per_date**2).sum())) * np.sqrt(valid.target.horizon) / max(variance, 1e-12)
    slope = slope * max(0.0, 1 - (error / slope) ** 2) if slope > 0 else 0.0
    mean = float(np.nanmean(np.concatenate([train.realised, realised])))
    return mean + slope * demeaned(score, ~np.isnan(score)) + np.where(np.isnan(score), np.nan, 0.0), slope


def fit_folder(folder: Path, fold: int, model: str, seed: int) -> Path:
    """Return where one fit's files lie."""
    return folder / str(fold) / f"{model}-{seed}"


def _table(test: Blocks, model: str, fold: int, seed: int, score: np.ndarray, prediction: np.ndarray) -> pd.DataFrame:
    rows, columns = np.nonzero(test.observed)
    realised = forward_returns(test.panel, test.positions, test.target)  # it may know who comes back: nothing is fitted
    return pd.DataFrame(
        {
            "date": test.dates[rows].astype("datetime64[ms]"),
            "firm": test.panel.firms[columns],
            "model": model,
            "fold": np.int32(fold),
            "seed": np.int32(seed),
            "score": score[rows, columns],
            "prediction": prediction[rows, columns],
            "realised": realised[rows, columns],
        }
    )


def fold_spans(panel: Panel, splits: WalkForward) -> list[dict[str, Any]]:
    """Say in days where each fold's windows begin and end, for provenance and pictures."""
    return [
        {"fold": fold.number}
        | {
            f"{name}_{edge}": str(panel.dates[rows[place]])
            for name, rows in (("train", fold.train), ("valid", fold.valid), ("test", fold.test))
            for edge, place in (("start", 0), ("end", -1))
        }
        for fold in splits.split(panel.dates)
    ]


def tuning(folder: Path) -> list[dict[str, Any]]:
    """Read how each fit under `folder` was tuned, by fold, model and seed."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in folder.glob("*/*/fit.json")]
    return sorted(records, key=lambda record: (record["fold"], record["model"], record["seed"]))


def _settings(forecaster: Forecaster) -> str:
    """Write a forecaster's class and its plain attributes, before it is fitted."""
    plain = {name: value for name, value in vars(forecaster).items() if " at 0x" not in repr(value)}
    return f"{type(forecaster).__qualname__} {plain}"


def _copies(forecaster: Forecaster) -> Callable[[int], Forecaster]:
    return lambda seed: copy.deepcopy(forecaster)
