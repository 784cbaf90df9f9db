"""Verbs that keep models, and forecast with them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finattn.cli.arguments import configured, data_parser, is_help, make, run_parser, source_of
from finattn.config import RunConfig
from finattn.config.require import require_known
from finattn.config_file import read_yaml
from finattn.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from finattn.predict_pipeline import Predicted

_TRAIN = """Fit a configuration's models on all that is known at a date, and keep them in runs/NAME-trained.

A run judges models by forecasts of the past; this makes the ones to go on with. Validation is the last splits.valid
before the date. Every key of the configuration can be given as --key value."""
_PREDICT = """Forecast with the models that a run, or finattn train, kept: the newest date, or another.

RUN is a folder, runs/NAME or runs/NAME-trained. The panel is read from the run's own source as it is now, so that a
file that has grown is forecast from its last row; the --data. keys read another. Models are those that were fitted on
what was known by the date."""
_SHOWN = 10  # firms at either end


def train(given: list[str]) -> int:
    """Parse `finattn train [CONFIG] [--until DATE] [--force] [--json] [--key value …]` and fit."""
    parser = run_parser("train", _TRAIN)
    parser.add_argument("--until", type=str, help="fit on what was known at this day's close; by default the last one")
    found = configured(parser, given)
    if found is None:
        return 0
    from finattn import predict_pipeline as pipeline
    from finattn.progress import RunProgress

    config, made = found
    with RunProgress() as progress:
        folder = pipeline.train(config, made.until, made.force, progress)
    print(json.dumps({"models": str(folder)}) if made.json else f"models: {folder}\nnext: finattn predict {folder}")
    return 0


def predict(given: list[str]) -> int:
    """Parse `finattn predict RUN [--date DATE] [--models LIST] [--out FILE] [--json] [--data.key …]` and forecast."""
    parser = _parser()
    if is_help(given):
        parser.print_help()
        return 0
    if not given or given[0].startswith("-"):
        raise InputError("a run's folder must be given first, found none; see finattn predict --help")
    folder, rest = Path(given[0]), given[1:]
    config = folder / "config.yaml"
    if not config.is_file():
        raise InputError(f"a run's folder must hold config.yaml, found none in {folder}")
    made = make(parser, [*source_of(str(config)), *rest])
    require_known("model", made.models or (), RunConfig(**read_yaml(config)).forecasters)  # before torch is loaded
    out = None if made.out is None else Path(made.out)
    if out is not None and (out.is_dir() or not out.name.lower().endswith((".csv", ".parquet"))):
        raise InputError(f"--out must be a file that ends in .csv or .parquet, found {out}")
    from finattn import predict_pipeline as pipeline

    found = pipeline.predict(folder, made.data, made.date, made.models)
    if out is not None:
        pipeline.write(found, out)
    if made.json:
        rows = json.loads(found.table.assign(date=found.facts["date"]).to_json(orient="records"))
        print(json.dumps(found.facts | {"forecasts": rows}, indent=2))
        return 0
    _show(found)
    print("" if out is None else f"forecasts: {out}\n", end="")
    return 0


def _parser() -> "ArgumentParser":
    parser = data_parser("", _PREDICT)
    parser.prog = "finattn predict RUN"
    parser.add_argument("--date", type=str, help="whose close forecasts are made at; by default the panel's last")
    parser.add_argument("--models", type=list[str] | None, help="names, '[ridge, both]'; by default all of the run")
    parser.add_argument(
        "--out", type=str, help="file for all forecasts, .csv or .parquet: date, firm, model, score, prediction"
    )
    parser.add_argument("--json", action="store_true", help="print all forecasts as JSON")
    return parser


def _show(found: "Predicted") -> None:
    """Print the firms at either end by the last model, and what every model says of them."""
    from rich.console import Console
    from rich.table import Table

    from finattn.words import count

    facts, models = found.facts, list(found.table["model"].unique())
    wide = found.table.pivot(index="firm", columns="model", values="prediction")[models]
    judged = found.table[found.table["model"] == models[-1]].sort_values("score", ascending=False, kind="stable")
    order = judged["firm"].tolist()
    shown = [*order[:_SHOWN], *order[_SHOWN:][-_SHOWN:]]
    table = Table(box=None)
    table.add_column(f"firm, by {models[-1]}")
    for name in models:
        table.add_column(name, justify="right")
    for firm in shown:
        table.add_row(firm, *(f"{100 * value:.3f}" for value in wide.loc[firm]))
    print(f"Forecast return, %, of {count(facts['horizon'], 'row')} from the close of {facts['date']} on")
    Console(width=200, markup=False, highlight=False).print(table)
    if len(models) > 1:
        print(f"Sorted by {models[-1]}, the last of the models, whichever ranked best; --models sorts by another.")
    for line in _remarks(facts, len(order) - len(shown), [name for name in models if wide[name].nunique() == 1]):
        print(line)


def _remarks(facts: dict[str, Any], hidden: int, flat: list[str]) -> Iterator[str]:
    """Yield what must stand beside forecasts."""
    from finattn.words import count

    if hidden:
        yield f"{count(hidden, 'firm')} between them {'is' if hidden == 1 else 'are'} not shown: --out FILE writes all."
    if facts["listed_but_unobserved"]:
        yield f"Listed and without a return that day, hence without a forecast: {facts['listed_but_unobserved']}."
    if flat:
        yield f"The same return for all firms: {', '.join(flat)}. On validation dates their scores told nothing of it."
    yield f"Models were fitted on labels known by {facts['labels_known_by']}."
