"""One run, from source to report: each stage writes a file that the next reads, and a killed run goes on."""

import dataclasses
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from finattn import data, features
from finattn.blocks import Blocks, Scaling, count_missing_delisting_returns, observed
from finattn.config import RunConfig, standing
from finattn.config_file import to_yaml
from finattn.data.describe import describe
from finattn.errors import InputError
from finattn.evaluation import Scheme, by_group, decay, evaluate, portfolio, restricted
from finattn.experiment import Step, check_folds, fit_folder, fold_spans, rungs, tuning, walk_forward
from finattn.forecasts import Forecasts
from finattn.ledger import Setup, read_trials, selection
from finattn.panel import Panel
from finattn.splits import WalkForward, decision_mask
from finattn.storage import atomic_file, discard, is_partial, read_json, sweep, write_json
from finattn.words import count

if TYPE_CHECKING:
    from finattn.training import TrainedForecaster

EXPLAINED_CELLS = 2_000_000  # weights kept for the report; a large panel is explained on fewer dates


class Watch:
    """What a run tells of its progress; `finattn.progress` shows it."""

    def on_stage(self, stage: str) -> None:
        """Hear that a stage begins."""

    def on_part(self, part: str, done: int, parts: int) -> None:
        """Hear that one of a stage's parts ended, so many of all."""

    def on_step(self, step: Step) -> None:
        """Hear that a fit begins, or was found done."""

    def on_epoch(self, epoch: int, epochs: int, valid_rank_ic: float) -> None:
        """Hear that an epoch ended."""


def run(config: RunConfig, force: bool = False, watch: Watch | None = None) -> Path:
    """Run a configuration to its report, going on where an earlier run of the same one stopped.

    Everything that can be wrong with the input is found before anything is written.

    Parameters
    ----------
    config : the whole run. force : start over. watch : told of progress.

    Returns
    -------
    Path of the report.

    Raises
    ------
    InputError
        For what the source, the features, the folds or the run's folder refuse.
    """
    watch = watch or Watch()
    set_threads(config.training.threads)
    watch.on_stage("reading the panel")
    panel = features.build(data.load(config.data), config.features)
    _check(config, panel)
    check_folds(panel, walk_forward_splits(config), config.target)
    with alone(config):
        folder = prepare(config, panel.fingerprint, force)
        panel.save(folder / "panel")
        return _stages(config, panel, folder, watch)


def _stages(config: RunConfig, panel: Panel, folder: Path, watch: Watch) -> Path:
    """Fit, evaluate, explain and report, each from the files of the one before."""
    splits = walk_forward_splits(config)
    started, began = datetime.now(UTC), time.perf_counter()
    watch.on_stage("fitting and forecasting")
    models = rungs(config, watch.on_epoch)
    ledger, setup = ledger_folder(config), Setup({rung.name: rung.settings for rung in models}, config.target, splits)
    forecasts = walk_forward(panel, models, splits, config.target, folder / "folds", watch.on_step, ledger=ledger)
    forecasts.save(folder / "forecasts.parquet")
    watch.on_stage("evaluating")
    compared = standing(config.headline, forecasts.models)[1], config.primary[1]
    against = [name for name in dict.fromkeys(compared) if name in forecasts.models]
    write_table(evaluate(forecasts, against), folder / "metrics.parquet")
    write_table(_portfolios(config, forecasts, panel), folder / "portfolio.parquet")
    write_table(_restricted(config, forecasts, panel), folder / "restrictions.parquet")
    write_table(_groups(config, forecasts, panel), folder / "groups.parquet")
    searched = selection(ledger, panel, setup)
    write_json(folder / "selection.json", searched.figures)
    explained = list(_explanations(config, panel, splits, folder / "folds"))
    if explained:
        write_table(pd.concat(explained, ignore_index=True), folder / "explanations.parquet")
    facts = {
        "last_session_started": started.isoformat(timespec="seconds"),
        "last_session_seconds": round(time.perf_counter() - began, 1),
        "folds": fold_spans(panel, splits),
        "counts": _counts(panel, forecasts, splits),
        "ledger": searched.ledger,
        "tuning": tuning(folder / "folds"),
    }
    write_json(folder / "provenance.json", provenance(config, panel) | facts)
    watch.on_stage("writing the report")
    from finattn import report  # plotly is slow to import

    return report.write(folder)


def prepare(config: RunConfig, panel_fingerprint: str, force: bool) -> Path:
    """Open the run's folder: a new one, or one that the same configuration, panel and version began.

    Raises
    ------
    InputError
        Where the folder holds another run, naming what differs.
    """
    folder, key = config.folder, config.folder / "run.json"
    if force and folder.exists():
        discard(folder)
    state = {"config": config.content, "panel": panel_fingerprint, "finattn": metadata.version("finattn")}
    earlier = read_json(key, "start over with --force, or choose another --name") if key.exists() else state
    if differs := describe_changes(earlier, state):
        changed = ", ".join(change.removeprefix("config.") for change in differs)
        raise InputError(
            f"{folder} holds a run with another {changed}; start over with --force, or choose another --name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    write_json(key, state)
    with atomic_file(folder / "config.yaml") as temporary:
        temporary.write_text(to_yaml(config), encoding="utf-8")
    return folder


@contextmanager
def alone(config: RunConfig) -> Iterator[None]:
    """Keep a second process from working on the same run; the lock ends with the process, however that ends.

    Raises
    ------
    InputError
        Where another process holds it.
    """
    lock = FileLock(config.folder.parent / f".{config.name}.lock")
    try:
        config.folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"{config.folder} is being worked on by another process; wait, or choose another --name"
        ) from None
    except OSError as error:
        raise InputError(f"out must be a folder to write to, found {config.out}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def ledger_folder(config: RunConfig) -> Path:
    """Return where the trials of a run are recorded, with those of all others that write to the same place."""
    return config.folder.parent / "ledger"


def walk_forward_splits(config: RunConfig) -> WalkForward:
    """Return the splitter of a configuration; rows before a characteristic's longest window are not trained on."""
    split = dataclasses.asdict(config.splits)
    warmup = 1 if features.CHARACTERISTICS.keys().isdisjoint(config.features) else features.YEAR
    return WalkForward(**split, horizon=config.target.horizon, delay=config.target.delay, start=warmup)


def _check(config: RunConfig, panel: Panel) -> None:
    """Refuse before anything is written what a forecaster would refuse later."""
    folder = config.folder
    read_trials(ledger_folder(config))  # refuses one that is broken
    begun = (folder / "run.json").exists() or not folder.exists()
    if not begun and not all(is_partial(item) for item in folder.iterdir()):
        raise InputError(f"{folder} must be absent, empty or a run's folder, found other files; choose another --name")
    if config.training.without_factors and panel.factors is None:
        raise InputError("training.without_factors needs a panel with factors, found one without them")
    peers = [
        name for name in config.forecasters if name.startswith("sic_") or "industry" in config.attention.get(name, ())
    ]
    if peers and not (panel.industry != 0).any():
        raise InputError(
            f"{' and '.join(peers)} need industry codes, found none in the panel: add a column 'industry', or leave "
            "them out of forecasters"
        )
    if "sic_kernel" in config.forecasters and not panel.feature_names:
        raise InputError("sic_kernel needs characteristics, found none: name some in features")


def set_threads(threads: int) -> None:
    """Let torch use so many threads; 0 leaves its choice."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_file(path) as temporary:
        table.to_parquet(temporary, index=False)


def _portfolios(config: RunConfig, forecasts: Forecasts, panel: Panel) -> pd.DataFrame:
    """Trade at the decision's close and at the next row's, side by side."""
    quantiles, cost, missing = config.portfolio.quantiles, config.portfolio.cost, config.target.missing_delisting_return
    delays = sorted({config.target.delay, 1})
    return pd.concat(
        [portfolio(forecasts, panel, quantiles, cost, delay, missing) for delay in delays], ignore_index=True
    )


def _restricted(config: RunConfig, forecasts: Forecasts, panel: Panel) -> pd.DataFrame:
    """Trade at the next row's close, with all firms and under each restriction."""
    scheme = Scheme(quantiles=config.portfolio.quantiles, cost=config.portfolio.cost)
    return restricted(forecasts, panel, scheme, max(1, config.target.delay), config.target.missing_delisting_return)


def _groups(config: RunConfig, forecasts: Forecasts, panel: Panel) -> pd.DataFrame:
    """Judge forecasts within size groups and industries, where the panel has them, and over other horizons."""
    tables = [decay(forecasts, panel, missing_delisting_return=config.target.missing_delisting_return)]
    tables[0] = tables[0].assign(by="horizon", group=tables[0]["horizon"].map(lambda rows: count(rows, "row")))
    if panel.market_cap is not None:
        tables.append(by_group(forecasts, panel, "size").assign(by="size"))
    if (panel.industry[np.isin(panel.dates, forecasts.table["date"].to_numpy().astype("M8[D]"))] != 0).any():
        tables.append(by_group(forecasts, panel, "industry").assign(by="industry"))
    columns = ["by", "group", "model", "metric", "estimate", "standard_error", "dates"]
    table = pd.concat([one[columns] for one in tables], ignore_index=True)
    return table[table["metric"] == "rank_ic"].astype({"group": str})


def _explanations(config: RunConfig, panel: Panel, splits: WalkForward, folder: Path) -> Iterator[pd.DataFrame]:
    """Yield each attention model's weights at quarter ends of each fold's test dates, seeds averaged."""
    from finattn.explain import attention

    quarter_ends = decision_mask(panel.dates, "quarter-end")
    cells = panel.shape[1] * (min(panel.shape[1], 500) + config.model.lookback)
    for fold in splits.split(panel.dates):
        rows = np.arange(fold.test[0], fold.test[-1] + 1)
        rows = rows[quarter_ends[rows]] if quarter_ends[rows].any() else rows[-1:]
        most = max(1, EXPLAINED_CELLS // cells)
        rows = rows[:: -(-len(rows) // most)]
        blocks = Blocks(panel, rows, Scaling.fit(panel, fold.train), config.target)
        for name in config.forecasters:
            if name in config.attention:
                fits = load_fits(config, folder, fold.number, name, blocks.scaling.width)
                yield attention([fit.model for fit in fits], blocks, name).table


def load_fits(config: RunConfig, folder: Path, fold: int, model: str, inputs: int) -> list["TrainedForecaster"]:
    """Take up what a run saved of a fold's fits of a trained model, one a seed, for `inputs` columns of `Block.x`."""
    (rung,) = rungs(dataclasses.replace(config, forecasters=(model,)))
    return [
        cast("TrainedForecaster", rung.make(seed)).load(fit_folder(folder, fold, model, seed), inputs)
        for seed in rung.seeds
    ]


def _counts(panel: Panel, forecasts: Forecasts, splits: WalkForward) -> dict[str, int]:
    """Count what was forecast, and what was left out and why."""
    rows = np.concatenate([fold.test for fold in splits.split(panel.dates)])
    one = forecasts.table[forecasts.table["model"] == forecasts.models[0]]
    return {
        "decision_dates": len(rows),
        "firms": panel.shape[1],
        "forecasts": len(forecasts.table),
        "listed_but_unobserved": int((panel.listed[rows] & ~observed(panel, rows)).sum()),
        "missing_delisting_returns": count_missing_delisting_returns(panel),
        "unrealised": int(one["realised"].isna().sum()),
    }


def provenance(config: RunConfig, panel: Panel) -> dict[str, Any]:
    """Gather what a reader needs, beside the configuration, to make the run again."""
    import torch

    versions = {name: metadata.version(name) for name in ("finattn", "torch", "pytorch-lightning", "numpy", "pandas")}
    return {
        **versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "last_session_peak_memory_gib": round(_peak_bytes() / 2**30, 3),
        "panel_fingerprint": panel.fingerprint,
        "config_hash": config.fingerprint,
        "seeds": list(config.training.seeds),
        "sample": sample_sentences(panel),
    }


def sample_sentences(panel: Panel) -> list[str]:
    """Say about the panel what must stand beside its results: what its source says of itself, and all warnings.

    A source with caveats says itself how its firms were chosen, and how its codes.
    """
    found = describe(panel)
    told = ("survivorship", "hindsight") if found.caveats else ()
    return [*found.caveats, *(caution.says for caution in found.warnings if caution.check not in told)]


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def describe_changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name the dotted keys in which two configurations differ, with both values."""
    changes = []
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            changes += describe_changes(before, after, f"{prefix}{key}.")
        elif before != after:
            changes.append(f"{prefix}{key} ({before!r} there, {after!r} now)")
    return changes
