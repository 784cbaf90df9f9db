"""The ladder as a stage: from a configuration to a table, answers in plain words, and a page."""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from finattn import data, features
from finattn.config import RunConfig
from finattn.evaluation import deflated_sharpe, portfolio, portfolio_summary
from finattn.experiment import check_folds, fold_spans, tuning
from finattn.forecasts import Forecasts
from finattn.ladder import LadderRung, answers, climb, ladder_table, rivals, select, sentences
from finattn.ledger import head, read_trials, searched
from finattn.panel import Panel
from finattn.pipeline import (
    Watch,
    alone,
    ledger_folder,
    prepare,
    provenance,
    sample_sentences,
    set_threads,
    walk_forward_splits,
    write_table,
)
from finattn.report import ladder as page
from finattn.report.sentences import implausible
from finattn.storage import write_json


def run(config: RunConfig, force: bool = False, watch: Watch | None = None) -> Path:
    """Climb the ladder of a configuration, going on where an earlier call stopped.

    Files lie in the run's folder, in ``ladder/``: trials.parquet (what each rung was tuned over), forecasts.parquet,
    table.parquet (see `finattn.ladder.ladder_table`, with Sharpe ratios after costs), portfolio.parquet, answers.json,
    provenance.json and ladder.html.

    Parameters
    ----------
    config : the whole run; `forecasters`, `attention` and `headline` are not used. force : start over, which removes
        all of the run's folder. watch : told of progress.

    Returns
    -------
    Path of the page.

    Raises
    ------
    InputError
        For what the source, the features, the folds, the rungs or the run's folder refuse.
    """
    watch = watch or Watch()
    set_threads(config.training.threads)
    watch.on_stage("reading the panel")
    panel = features.build(data.load(config.data), config.features)
    rungs, splits = select(config, panel), walk_forward_splits(config)
    check_folds(panel, splits, config.target)
    read_trials(ledger_folder(config))  # refuses one that is broken, before anything is fitted
    with alone(config):
        folder = prepare(config, panel.fingerprint, force) / "ladder"
        started, began = datetime.now(UTC), time.perf_counter()
        watch.on_stage("tuning, fitting and forecasting")
        found = climb(
            panel,
            rungs,
            splits,
            config.target,
            folder,
            seeds=config.training.seeds,
            on_step=watch.on_step,
            ledger=ledger_folder(config),
        )
        found.forecasts.save(folder / "forecasts.parquet")
        write_table(found.trials, folder / "trials.parquet")
        watch.on_stage("evaluating")
        facts = {
            "last_session_started": started.isoformat(timespec="seconds"),
            "last_session_seconds": round(time.perf_counter() - began, 1),
            "seconds_of_fits": float(found.trials["seconds"].sum())
            + sum(fit["seconds"] for fit in tuning(folder / "folds")),
            "folds": fold_spans(panel, splits),
            "ledger": {"head": head(ledger_folder(config))},
        }
        write_json(folder / "provenance.json", provenance(config, panel) | facts)
        _evaluate(config, panel, found.forecasts, rungs, folder)
        return page.write(folder)


def _evaluate(
    config: RunConfig, panel: Panel, forecasts: Forecasts, rungs: tuple[LadderRung, ...], folder: Path
) -> None:
    """Write the table, the daily portfolios, and the answers."""
    chosen, missing = config.portfolio, config.target.missing_delisting_return
    daily = portfolio(forecasts, panel, chosen.quantiles, chosen.cost, config.target.delay, missing)
    write_table(daily, folder / "portfolio.parquet")
    table = ladder_table(forecasts, rungs).merge(_after_costs(daily, config, panel), how="left", on="rung")
    write_table(table, folder / "table.parquet")
    sharpe = {row["rung"]: (row["net_sharpe"], row["net_sharpe_error"]) for row in table.to_dict("records")}
    found = answers(forecasts)
    known = {name: pair for name, pair in sharpe.items() if pair[0] == pair[0]}
    rank_ic = dict(zip(table["rung"], table["rank_ic"], strict=True))
    too_good = implausible(rank_ic, {name: pair[0] for name, pair in known.items()}, sample_sentences(panel))
    said = (*too_good, *sentences(found, known, rivals(forecasts, found)))
    write_json(folder / "answers.json", list(said))


def _after_costs(daily: pd.DataFrame, config: RunConfig, panel: Panel) -> pd.DataFrame:
    """Return each rung's Sharpe ratio after costs, and the chance that it is no product of the search.

    Counted are all trials on the panel's data that the ledger knows, these rungs and earlier runs.
    """
    summary = portfolio_summary(daily, panel.periods_per_year)
    net = summary[summary["side"] == "net"].set_index("model")
    count = searched(ledger_folder(config), panel)
    deflated = {
        model: deflated_sharpe(own["net"].to_numpy(), count).probability
        for model, own in daily.groupby("model", sort=False)
        if np.isfinite(net["sharpe"].get(model, np.nan))
    }
    columns = {"sharpe": "net_sharpe", "sharpe_se": "net_sharpe_error"}
    found = net[list(columns)].rename(columns=columns).assign(deflated_sharpe=pd.Series(deflated, dtype=float))
    return found.rename_axis("rung").reset_index()
