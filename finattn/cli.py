"""The command line: one verb a stage. Exit codes: 0 done, 1 failed, 2 bad configuration or input.

Heavy imports wait until a verb needs them, so that help answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from finattn import __version__
from finattn.config import RunConfig
from finattn.config_file import describe_unknown_key, read_yaml
from finattn.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_ABOUT = "Attention over a panel of firms, along time and along firms, beside baselines tuned as hard."
_BENCH = """Measure attention along time and along firms, beside operations and memory by formula.

Along time, windows encoded again against one pass in a band; along firms, softmax against linear attention."""
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
    verb, rest = (given[0], given[1:]) if given else ("--help", [])
    if verb in ("-h", "--help"):
        print(_help())
        return 0
    if verb == "--version":
        print(f"finattn {__version__}")
        return 0
    if verb not in VERBS:
        raise InputError(f"the verb must be one of {', '.join(VERBS)}, found {verb!r}; see finattn --help")
    return VERBS[verb][0](rest)


def _help() -> str:
    verbs = "\n".join(f"  {name:<10}{about}" for name, (_, about) in VERBS.items())
    return f"usage: finattn VERB ...\n\n{_ABOUT}\n\nverbs:\n{verbs}\n\nfinattn VERB --help says more; --version."


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


VERBS = {
    "run": (run, "run a configuration from source to report"),
    "report": (report, "write a run's report again"),
    "bench": (bench, "measure what attention costs on this machine, beside formulas"),
}


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
    from jsonargparse import ArgumentError

    content = read_yaml(path)  # refuses unknown keys more clearly than the parser would
    source = ["--config", os.fspath(path)] if content else []  # the parser does not take an empty file
    try:
        parsed = parser.parse_args([*source, *given])
        made = parser.instantiate(parsed)
    except InputError:
        raise
    except (ArgumentError, ValueError, TypeError) as error:
        raise InputError(_plain(error)) from None
    values = {name: getattr(made, name) for name in RunConfig.__dataclass_fields__}
    return RunConfig(**values), bool(parsed.force)


def _plain(error: Exception) -> str:
    """Say in one line what the parser found wrong."""
    text = " ".join(str(error).split())
    marker = "unrecognized arguments: --"
    if marker in text.lower():
        return describe_unknown_key(text.lower().split(marker, 1)[1].split("=")[0].split()[0])
    words = {"<class 'int'>": "whole number", "<class 'float'>": "number", "<class 'str'>": "text", "Parser key": "key"}
    for name, word in words.items():
        text = text.replace(name, word)
    return text
