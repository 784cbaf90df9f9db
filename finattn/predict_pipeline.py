"""Models that are kept, and what they forecast for the newest date: nothing here sees a return after its decision."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finattn import data, features
from finattn.blocks import Blocks
from finattn.config import DataConfig, RunConfig
from finattn.config.require import require
from finattn.errors import InputError
from finattn.experiment import Forecaster, Rung, calibrate, check_folds, cut_fold, fit_folder, rungs, walk_forward
from finattn.explain_pipeline import Opened, open_run, row_of
from finattn.panel import Panel
from finattn.pipeline import Watch, alone, load_fits, prepare, set_threads, walk_forward_splits
from finattn.splits import Fold
from finattn.storage import atomic_file

COLUMNS = ("date", "firm", "model", "score", "prediction")


@dataclass(frozen=True, eq=False)
class Predicted:
    """Forecasts of one date.

    Parameters
    ----------
    table : columns `COLUMNS`, seeds averaged: score orders firms, prediction is the forecast return over the horizon, a
        fraction. Firms that are not observed on the date have no row.
    facts : date, horizon and delay in rows, the span of labels that models were fitted on, and counts of firms.
    """

    table: pd.DataFrame
    facts: dict[str, Any]


def train(config: RunConfig, until: Any = None, force: bool = False, watch: Watch | None = None) -> Path:
    """Fit a configuration's models on all that was known at a date, and keep them.

    It is a walk-forward of one fold whose only test date is `until`: validation is the last `splits.valid` before it,
    purged by horizon and delay, and training what lies before. A second call goes on where the first one stopped.

    Parameters
    ----------
    config : of a run. until : a date of the panel, by default its last. force : start over. watch : told of progress.

    Returns
    -------
    The folder NAME-trained beside the run's, which `predict` opens as it opens a run's.

    Raises
    ------
    InputError
        For what the source, the features or the folds refuse, and a folder that holds other fits.
    """
    watch = watch or Watch()
    set_threads(config.training.threads)
    watch.on_stage("reading the panel")
    panel = features.build(data.load(config.data), config.features)
    last = len(panel) - 1 if until is None else row_of(panel, until)
    panel = panel[: last + 1]
    splits = dataclasses.replace(config.splits, first_test=str(panel.dates[last]), test=1, decisions="daily")
    kept = dataclasses.replace(config, name=f"{config.name}-trained", splits=splits)
    check_folds(panel, walk_forward_splits(kept), kept.target)
    with alone(kept):
        folder = prepare(kept, panel.fingerprint, force)
        panel.save(folder / "panel")
        watch.on_stage("fitting")
        models = rungs(kept, watch.on_epoch)
        walk_forward(panel, models, walk_forward_splits(kept), kept.target, folder / "folds", watch.on_step)
    return folder


def predict(
    folder: Path, source: DataConfig | None = None, date: Any = None, models: Sequence[str] | None = None
) -> Predicted:
    """Forecast with the models that a run, or `train`, kept.

    For a date those of the last fold are taken whose first test date is not after it: they were fitted on labels that
    were known by then. The panel is cut at the date before anything is computed. Scaling and calibration are the
    fold's own. Models without parameters on disk (ridge, peers by SIC codes) are fitted again on the fold's dates,
    which gives the same to the last bit.

    Parameters
    ----------
    folder : of a finished run, or what `train` returned.
    source : where the panel comes from, by default as the run says: a file that has grown is read as it is now.
    date : a date of that panel, by default its last. models : names, by default all of the run's.

    Raises
    ------
    InputError
        For a folder that is no run's, a date before the first test, a panel with other features, unknown models.
    """
    run = open_run(folder)
    panel = features.build(data.load(source or run.config.data), run.config.features)
    _check(run.panel, panel)
    last = len(panel) - 1 if date is None else row_of(panel, date)
    panel = panel[: last + 1]
    names = run.config.forecasters if models is None else tuple(models)
    for name in names:
        require("model", name, name in run.config.forecasters, f"one of {', '.join(run.config.forecasters)}")
    day = panel.dates[last]
    fold = _fold(run, day)
    train_part, valid, _ = cut = cut_fold(run.panel, fold, run.config.target)
    now = Blocks(panel, np.array([last]), train_part.scaling, run.config.target)
    if not now.observed.any():
        raise InputError(f"a date must have firms with a return, found none on {day}")
    set_threads(run.config.training.threads)
    table = pd.concat([_forecast(run, fold, name, cut, now) for name in names], ignore_index=True)
    listed, seen = int(panel.listed[last].sum()), int(now.observed.sum())
    known = run.panel.dates[valid.positions[-1] + run.config.target.delay + run.config.target.horizon]
    return Predicted(
        table,
        {
            "date": str(day),
            "horizon": run.config.target.horizon,
            "delay": run.config.target.delay,
            "fitted_from": str(train_part.dates[0]),
            "labels_known_by": str(known),
            "firms": seen,
            "listed_but_unobserved": listed - seen,
        },
    )


def write(found: Predicted, path: Path) -> None:
    """Write all forecasts as CSV or Parquet, by the file's ending; `finattn backtest` reads both."""
    with atomic_file(path) as temporary:
        if path.name.lower().endswith(".csv"):
            found.table.to_csv(temporary, index=False)
        else:
            found.table.to_parquet(temporary, index=False)


def _check(fitted: Panel, panel: Panel) -> None:
    """Refuse a panel that models fitted on another cannot read."""
    for name in ("feature_names", "periods_per_year", "industry_scheme", "industry_widths"):
        before, now = getattr(fitted, name), getattr(panel, name)
        require(name, now, before == now, f"those of the panel that models were fitted on, {before!r}")


def _fold(run: Opened, day: np.datetime64) -> Fold:
    """Return the last fold whose tests have begun by a day."""
    begun = [fold for fold in run.folds if run.panel.dates[fold.test[0]] <= day]
    if not begun:
        first = run.panel.dates[run.folds[0].test[0]]
        raise InputError(f"date must lie in the test windows, from {first} on, found {day}: models saw what came after")
    return begun[-1]


def _forecast(run: Opened, fold: Fold, name: str, cut: tuple[Blocks, Blocks, Blocks], now: Blocks) -> pd.DataFrame:
    """Return one model's forecasts of one date, seeds averaged."""
    (rung,) = rungs(dataclasses.replace(run.config, forecasters=(name,)))
    train_part, valid, _ = cut
    scores, predictions = [], []
    for fit in _fits(run, fold, rung, cut):
        score = fit.predict(now)
        calibrated = score if fit.units == "return" else calibrate(fit, train_part, valid, score)[0]
        scores.append(score[0])
        predictions.append(calibrated[0])
    firms = np.flatnonzero(now.observed[0])
    return pd.DataFrame(
        {
            "date": now.dates.astype("M8[ms]").repeat(len(firms)),
            "firm": now.panel.firms[firms],
            "model": name,
            "score": np.mean(scores, axis=0)[firms],
            "prediction": np.mean(predictions, axis=0)[firms],
        }
    )


def _fits(run: Opened, fold: Fold, rung: Rung, cut: tuple[Blocks, Blocks, Blocks]) -> list[Forecaster]:
    """Take up a fold's fits of a model, one a seed, or fit it again where it keeps no parameters."""
    places = [fit_folder(run.folder / "folds", fold.number, rung.name, seed) for seed in rung.seeds]
    for place in places:
        if not (place / "fit.json").is_file():
            raise InputError(f"a run must have its fits, found none of {rung.name} in {place}: let it finish first")
    if all((place / "model.safetensors").is_file() for place in places):
        width = cut[0].scaling.width
        return list(load_fits(run.config, run.folder / "folds", fold.number, rung.name, width))
    return [rung.make(seed).fit(cut[0], cut[1]) for seed in rung.seeds]
