"""The command line: one verb a stage. Exit codes: 0 done, 1 failed, 2 bad configuration or input.

Heavy imports wait until a verb needs them, so that help answers at once.
"""

import argparse
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from finattn import __version__
from finattn.config import DataConfig, RunConfig, Source
from finattn.config_file import describe_unknown_key, known_keys, read_yaml
from finattn.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_ABOUT = "Attention over a panel of firms, along time and along firms, beside baselines tuned as hard."
_BENCH = """Measure attention along time and along firms, beside operations and memory by formula.

Along time, windows encoded again against one pass in a band; along firms, softmax against linear attention."""
_DATA = "Get data, and see what there is before anything is fitted to it."
_DESCRIBE = """Say what a panel holds and what in it may be wrong: spans, coverage by year, what is missing, firms that
enter and leave, extreme returns, prices that do not move, suspected unadjusted splits, firms without an industry code.

PANEL is a configuration (.yaml), a folder that Panel.save wrote, a CSV or Parquet file (or a folder or pattern of
them), or the name of a source: sample, simulated, yahoo, wrds. How it is read is said by the same keys as in a
configuration, such as --data.columns '{ret: return}'."""
_FETCH = """Download what a source needs; a second call goes on where the first one stopped.

SOURCE is yahoo (--data.yahoo.tickers '[AAPL, MSFT]' --data.start 2010-01-01), sec (--data.sec.folder sec
--data.sec.user_agent 'your name your@e-mail'), wrds (--data.wrds.database ... --data.wrds.extracts wrds), or a
configuration (.yaml) with these keys. Data of Yahoo is for personal use and may not be redistributed."""
_LOAD = """Make a panel, with all that is joined to it, and save it as a folder that opens at once.

PANEL is what finattn data describe takes."""
_RUN = """Run a configuration from source to report, and write it all to runs/NAME.

A second run goes on where the first one stopped. Every key of the configuration can be given as --key value,
such as --training.seeds '[0, 1]' or --target.horizon 21."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(given)
    except InputError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("stopped; a run goes on from here with the same command", 1)
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or ''}", 1)


def _fail(message: str, code: int) -> int:
    print(f"finattn: {' '.join(message.split())}", file=sys.stderr)
    return code


def _dispatch(given: list[str]) -> int:
    if given[:1] == ["--version"]:
        print(f"finattn {__version__}")
        return 0
    verb, rest = (given[0], given[1:]) if given else ("--help", [])
    if verb in ("-h", "--help"):
        print(f"{_help('finattn', _ABOUT, VERBS)}; --version.")
        return 0
    if verb not in VERBS:
        raise InputError(f"the verb must be one of {', '.join(VERBS)}, found {verb!r}; see finattn --help")
    return VERBS[verb][0](rest)


def _help(command: str, about: str, verbs: "Verbs") -> str:
    listed = "\n".join(f"  {name:<10}{says}" for name, (_, says) in verbs.items())
    return f"usage: {command} VERB ...\n\n{about}\n\nverbs:\n{listed}\n\n{command} VERB --help says more"


def run(given: list[str]) -> int:
    """Parse `finattn run [CONFIG] [--force] [--key value …]` and run it."""
    path = Path(given.pop(0)) if given and not given[0].startswith("-") else Path("configs/sp500.yaml")
    parser = _run_parser()
    if {"-h", "--help"} & set(given):
        parser.print_help()
        return 0
    config, force = _parse(parser, _find(path), given)
    from finattn import pipeline
    from finattn.progress import RunProgress

    with RunProgress() as progress:
        report = pipeline.run(config, force, progress)
    print(f"report: {report}")
    return 0


def report(given: list[str]) -> int:
    """Parse `finattn report RUN` and write its report again from the run's files."""
    if len(given) != 1 or given[0].startswith("-"):
        print("usage: finattn report RUN\n\nWrite report.html again from the files of a run's folder.")
        return 0 if {"-h", "--help"} & set(given) else 2
    from finattn import report as writer

    print(f"report: {writer.write(Path(given[0]))}")
    return 0


def bench(given: list[str]) -> int:
    """Parse `finattn bench attention [--firms N …] …` and measure."""
    parser = _bench_parser()
    if {"-h", "--help"} & set(given):
        parser.print_help()
        return 0
    name, *rest = given or [""]
    if name != "attention":
        raise InputError(f"what to measure must be attention, found {name!r}; see finattn bench --help")
    sizes = vars(parser.parse_args(rest))
    out, as_json = sizes.pop("out"), sizes.pop("json")
    from finattn import bench as measure

    measure.attention(measure.Sizes(**sizes), out, as_json)
    return 0


def data(given: list[str]) -> int:
    """Parse `finattn data VERB …`."""
    verb, rest = (given[0], given[1:]) if given else ("--help", [])
    if verb in ("-h", "--help"):
        print(f"{_help('finattn data', _DATA, DATA_VERBS)}.")
        return 0
    if verb not in DATA_VERBS:
        known = ", ".join(DATA_VERBS)
        raise InputError(f"what to do with data must be one of {known}, found {verb!r}; see finattn data --help")
    return DATA_VERBS[verb][0](rest)


def describe_data(given: list[str]) -> int:
    """Parse `finattn data describe PANEL [--json] [--html FILE] [--key value …]` and describe."""
    parser, thresholds = _describe_parser()
    if {"-h", "--help"} & set(given):
        parser.print_help()
        return 0
    name, *rest = _first(given, "a panel", "describe")
    made = _make(parser, [*_source(name), *rest], [*_DATA_KEYS, *thresholds])
    if made.html is not None and Path(made.html).is_dir():
        raise InputError(f"html must be a file to write to, found a folder at {made.html}")
    from finattn.data import load
    from finattn.data.describe import describe
    from finattn.report import description

    found = describe(load(made.data), **{key: getattr(made, key) for key in thresholds})
    page = None if made.html is None else description.write(found, name, made.html)
    if made.json:
        print(json.dumps({"panel": name, **found.as_dict()}, indent=2, allow_nan=False))
        return 0
    description.show(found, name)
    print("" if page is None else f"\nhtml: {page}\n", end="")
    return 0


def load_data(given: list[str]) -> int:
    """Parse `finattn data load PANEL --out FOLDER [--force] [--key value …]`, make the panel and save it."""
    parser = _data_parser("load PANEL", _LOAD)
    parser.add_argument("--out", type=str, help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace a panel that is there")
    if {"-h", "--help"} & set(given):
        parser.print_help()
        return 0
    name, *rest = _first(given, "a panel", "load")
    made = _make(parser, [*_source(name), *rest], _DATA_KEYS)
    if made.out is None:
        raise InputError("--out must be a folder to write to, found none")
    place = Path(made.out)
    free = not place.exists() or place.is_dir() and (not any(place.iterdir()) or (place / "panel.json").exists())
    if not free or ((place / "panel.json").exists() and not made.force):
        raise InputError(f"--out must be absent or empty, or a saved panel with --force, found {place}")
    from finattn.data import load

    panel = load(made.data)
    panel.save(place)
    print(f"panel: {place}, {len(panel)} dates from {panel.dates[0]} to {panel.dates[-1]}, {len(panel.firms)} firms")
    return 0


def fetch_data(given: list[str]) -> int:
    """Parse `finattn data fetch SOURCE [--json] [--key value …]` and download."""
    parser = _data_parser("fetch SOURCE", _FETCH)
    parser.add_argument("--json", action="store_true", help="print what became of everything as JSON")
    if {"-h", "--help"} & set(given):
        parser.print_help()
        return 0
    name, *rest = _first(given, "a source", "fetch")
    source = [] if name == "sec" else _source(name)  # fundamentals for panels of other sources
    made = _make(parser, [*source, *rest], _DATA_KEYS)
    from finattn.data import fetch

    found = fetch(made.data, say=lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(found, indent=2) if made.json else "\n".join(_told(found)))
    return 1 if found.get("yahoo", {}).get("failed") else 0


def _told(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each part that was fetched, and one for each ticker that failed."""
    for part, items in found.items():
        counts = [f"{name} {sum(value.values()) if name == 'rows' else len(value)}" for name, value in items.items()]
        yield f"{part}: {', '.join(item for item in counts if not item.startswith('reasons'))}"
        yield from (f"  {ticker}: {reason}" for ticker, reason in items.get("reasons", {}).items())


Verbs = Mapping[str, tuple[Callable[[list[str]], int], str]]
VERBS: Verbs = {
    "run": (run, "run a configuration from source to report"),
    "report": (report, "write a run's report again"),
    "data": (data, "fetch, make and describe panels"),
    "bench": (bench, "measure what attention costs on this machine, beside formulas"),
}
DATA_VERBS: Verbs = {
    "describe": (describe_data, "say what a panel holds and what in it may be wrong"),
    "load": (load_data, "make a panel and save it"),
    "fetch": (fetch_data, "download from Yahoo, the SEC or WRDS"),
}
_DATA_KEYS = [key for key in known_keys(RunConfig) if key.startswith("data.")]


def _find(path: Path) -> Path:
    """Return the configuration at a path or, failing that, the one of that name which ships with the package."""
    shipped = Path(str(resources.files("finattn") / "configs" / path.name)).with_suffix(".yaml")
    alone = path.parent in (Path("."), Path("configs"))
    return path if path.exists() or not (alone and shipped.exists()) else shipped


def _run_parser() -> "ArgumentParser":
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog="finattn run [CONFIG]", description=_RUN, exit_on_error=False)
    parser.add_argument("--config", action="config", help="the same as CONFIG, by default configs/sp500.yaml")
    parser.add_argument("--force", action="store_true", help="start over, also where the run is finished")
    parser.add_class_arguments(RunConfig)
    return parser


def _data_parser(usage: str, about: str) -> "ArgumentParser":
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=f"finattn data {usage}", description=about, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help=argparse.SUPPRESS)  # how `_source` gives a file's keys
    parser.add_class_arguments(DataConfig, "data")
    return parser


def _describe_parser() -> tuple["ArgumentParser", list[str]]:
    """Return the parser, and the names of the thresholds, which `describe` itself declares."""
    from finattn.data.describe import describe

    parser = _data_parser("describe PANEL", _DESCRIBE)
    parser.add_argument("--json", action="store_true", help="print everything as JSON in place of tables")
    parser.add_argument("--html", type=str, help="file to write, one that needs no network")
    parser.add_function_arguments(describe, skip={"panel"})
    return parser, list(inspect.signature(describe).parameters)[1:]


def _first(given: list[str], what: str, verb: str) -> list[str]:
    """Return the arguments, of which the first is no option."""
    if not given or given[0].startswith("-"):
        raise InputError(f"{what} must be given first, found none; see finattn data {verb} --help")
    return given


def _source(panel: str) -> list[str]:
    """Return the keys that name a source: those of a configuration, a source by its name, a saved panel, or files."""
    if panel.endswith((".yaml", ".yml")):
        content = read_yaml(_find(Path(panel))).get("data", {})
        return ["--config", json.dumps({"data": content}, default=str)]  # YAML has dates, JSON has not
    if panel in get_args(Source) and panel not in ("file", "panel"):
        return ["--data.source", panel]
    return ["--data.source", "panel" if (Path(panel) / "panel.json").exists() else "file", "--data.path", panel]


def _bench_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="finattn bench attention", description=_BENCH, add_help=False, allow_abbrev=False)
    parser.add_argument("--firms", type=int, nargs="+", default=[100, 1000, 5000], help="numbers of firms")
    parser.add_argument("--lookback", type=int, nargs="+", default=[20, 60, 250], help="days that a forecast sees")
    parser.add_argument("--width", type=int, default=64, help="of each token, all heads together")
    parser.add_argument("--heads", type=int, default=4, help="must divide the width")
    parser.add_argument("--days", type=int, default=120, help="in the block that one pass in a band encodes")
    parser.add_argument("--out", type=Path, help="folder for bench_attention.json and bench_attention.html")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are one line, as all others of finattn."""

    def error(self, message: str) -> NoReturn:
        """Refuse."""
        raise InputError(message)


def _parse(parser: "ArgumentParser", path: Path, given: list[str]) -> tuple[RunConfig, bool]:
    """Return the configuration of a file with the keys given after it, or one line about what is wrong."""
    content = read_yaml(path)  # refuses unknown keys more clearly than the parser would
    source = ["--config", os.fspath(path)] if content else []  # the parser does not take an empty file
    made = _make(parser, [*source, *given])
    values = {name: getattr(made, name) for name in RunConfig.__dataclass_fields__}
    return RunConfig(**values), bool(made.force)


def _make(parser: "ArgumentParser", given: list[str], keys: Sequence[str] | None = None) -> Any:
    """Return what the arguments make, or one line about what is wrong; `keys` are those that there are."""
    from jsonargparse import ArgumentError

    try:
        return parser.instantiate(parser.parse_args(given))
    except InputError:
        raise
    except (ArgumentError, ValueError, TypeError) as error:
        raise InputError(_plain(error, keys)) from None


def _plain(error: Exception, keys: Sequence[str] | None) -> str:
    """Say in one line what the parser found wrong."""
    text = " ".join(str(error).split())
    marker = "unrecognized arguments: --"
    if marker in text.lower():
        return describe_unknown_key(text.lower().split(marker, 1)[1].split("=")[0].split()[0], keys)
    words = {"<class 'int'>": "whole number", "<class 'float'>": "number", "<class 'str'>": "text", "Parser key": "key",
             "<class 'dict'>": "mapping", "<class 'collections.abc.Sequence'>": "list"}  # fmt: skip
    for name, word in words.items():
        text = text.replace(name, word)
    return text
