"""The verb that trades forecasts, whoever made them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finattn.cli.arguments import OneLineParser, data_parser, is_help, make, source_of
from finattn.config_file import read_yaml
from finattn.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from finattn.evaluation import Scheme

_ABOUT = """Trade forecasts on a panel: what they earn before and after costs, with errors, beside the same under the
restrictions of Avramov, Cheng and Metzker; what they are exposed to; and one sentence a model that claims no more.

FORECASTS is a forecasts.parquet of finattn, a CSV or Parquet file made elsewhere with the columns date, firm and
prediction (as there are, score and model), or a run's folder, which has its panel and settings too. PANEL is what
finattn data describe takes, with the same --data. keys."""
# Beside the panel's: name, type, default, help. Those of `scheme.` are the fields of `finattn.evaluation.Scheme`, and
# the first five of `finattn.backtest_pipeline.Settings`: importing them would make help wait for torch.
OPTIONS: tuple[tuple[str, Any, Any, str], ...] = (
    ("delay", int, 1, "rows between decision and trade"),
    ("horizon", int | None, None, "rows that a forecast is for; of a file made elsewhere, else the usual number of "
     "rows from one decision to the next"),
    ("missing_delisting_return", float, 0.0, "stands in where a firm leaves the panel without a return"),
    ("columns", dict[str, str], {}, "of a file made elsewhere, our name of each column: '{alpha: prediction}'"),
    ("drop", bool, False, "true leaves out, and counts, rows that cannot be used: other dates and firms, no number"),
    ("scheme.kind", str, "quantile", "quantile (long the top one, short the bottom one), rank (every firm by its "
     "rank) or top_k (long the k highest scores)"),
    ("scheme.quantiles", int, 5, "of kind quantile, how many there are"),
    ("scheme.k", int, 50, "of kind top_k, how many firms are held"),
    ("scheme.weighting", str, "equal", "equal, or value by market capitalisation"),
    ("scheme.cost", float, 0.001, "of trading one unit of value, one way, a fraction"),
    ("scheme.short_fee", float, 0.0, "a year, a fraction of the value held short"),
    ("scheme.participation", float | None, None, "largest share of a firm's dollar volume that a day may trade"),
    ("scheme.book", float | None, None, "dollars in the book, which participation needs"),
)  # fmt: skip


def backtest(given: list[str]) -> int:
    """Parse `finattn backtest FORECASTS [--panel PANEL] [--scheme.key value …] [--out FOLDER] [--json]` and trade."""
    parser = _parser()
    if is_help(given):
        parser.print_help()
        return 0
    if not given or given[0].startswith("-"):
        raise InputError("forecasts must be given first, found none; see finattn backtest --help")
    name, *rest = given
    alone = OneLineParser(add_help=False, allow_abbrev=False)
    alone.add_argument("--panel")
    known, rest = alone.parse_known_args(rest)
    file, settings = _found(Path(name), known.panel)
    keys = [option for option, *_ in OPTIONS]
    made = make(parser, [*settings, *rest])
    from finattn import backtest_pipeline as pipeline
    from finattn.report import backtest as shown

    chosen = {key: getattr(made, key) for key in keys if "." not in key}
    chosen["scheme"] = _scheme(vars(made.scheme))
    out = None if made.out is None else Path(made.out)
    done = pipeline.run(file, made.data, pipeline.Settings(**chosen), out, made.force)
    if made.json:
        print(json.dumps(done.record | shown.as_dict(done.found), indent=2, allow_nan=False))
        return 0
    shown.show(done.found, done.record)
    print("" if out is None else f"backtest: {out}\n", end="")
    return 0


def _parser() -> "ArgumentParser":
    parser = data_parser("", _ABOUT)
    parser.prog = "finattn backtest FORECASTS"
    parser.add_argument("--panel", type=str, help="PANEL; may be left out where FORECASTS is a run's folder")
    for name, kind, default, says in OPTIONS:
        parser.add_argument(f"--{name}", type=kind, default=default, help=says)
    parser.add_argument("--out", type=str, help="folder for backtest.json and all tables as Parquet")
    parser.add_argument("--force", action="store_true", help="replace an earlier backtest in that folder")
    parser.add_argument("--json", action="store_true", help="print everything but the daily returns as JSON")
    return parser


def _scheme(values: dict[str, Any]) -> "Scheme":
    from finattn.evaluation import Scheme

    try:
        return Scheme(**values)
    except InputError as error:
        raise InputError(f"scheme.{error}") from None


def _found(forecasts: Path, panel: str | None) -> tuple[Path, list[str]]:
    """Return the file of forecasts, and the keys that say on which panel and, of a run, how they are traded."""
    if not forecasts.exists():
        raise InputError(f"forecasts must be a file or a run's folder, found none at {forecasts}")
    if not forecasts.is_dir():
        if panel is None:
            raise InputError("--panel must be given for a file of forecasts, found none; see finattn backtest --help")
        return forecasts, source_of(panel)
    file = forecasts / "forecasts.parquet"
    if not file.is_file():
        raise InputError(f"a folder of forecasts must be a run's, with forecasts.parquet, found none in {forecasts}")
    home = forecasts.parent if forecasts.name == "ladder" else forecasts
    content = read_yaml(home / "config.yaml") if (home / "config.yaml").is_file() else {}
    if panel is None and not content:
        raise InputError(f"--panel must be given for forecasts without a config.yaml beside them, found {forecasts}")
    saved = home / "panel"
    panel = panel or str(saved if (saved / "panel.json").is_file() else home / "config.yaml")
    return file, [*_traded(content), *source_of(panel)]


def _traded(content: dict[str, Any]) -> list[str]:
    """Return a run's settings of portfolio and target as keys."""
    missing = content.get("target", {}).get("missing_delisting_return", 0.0)
    return ["--config", json.dumps({"scheme": content.get("portfolio", {}), "missing_delisting_return": missing})]
