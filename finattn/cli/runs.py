"""Verbs that run a configuration."""

import argparse
import json
from pathlib import Path

from finattn.cli.arguments import OneLineParser, find, is_help, parse, run_parser
from finattn.config import RunConfig
from finattn.errors import InputError

_BENCH = """Measure attention along time and along firms, beside operations and memory by formula.

Along time, windows encoded again against one pass in a band; along firms, softmax against linear attention."""
_LADDER = """Climb the ladder: momentum, ridge, boosting, SIC peers, learned peers, attention along firms and time.

Every rung is tuned with at most four trials on the first fold, then fixed, and set against the one below; the answers
and the table are printed and written to runs/NAME/ladder. A second call goes on where the first one stopped; --json
prints everything as JSON. Every key of the configuration can be given as --key value, such as
--ladder.rungs '[ridge, sic_kernel, look_up, firm]'."""
_RUN = """Run a configuration from source to report, and write it all to runs/NAME.

A second run goes on where the first one stopped. Every key of the configuration can be given as --key value,
such as --training.seeds '[0, 1]' or --target.horizon 21."""


def _configured(verb: str, about: str, given: list[str]) -> tuple[RunConfig, bool] | None:
    """Return the configuration given first, or the demonstration's, and whether to start over; None for help."""
    path = Path(given.pop(0)) if given and not given[0].startswith("-") else Path("configs/sp500.yaml")
    parser = run_parser(verb, about)
    if is_help(given):
        parser.print_help()
        return None
    return parse(parser, find(path), given)


def run(given: list[str]) -> int:
    """Parse `finattn run [CONFIG] [--force] [--key value …]` and run it."""
    found = _configured("run", _RUN, given)
    if found is None:
        return 0
    from finattn import pipeline
    from finattn.progress import RunProgress

    with RunProgress() as progress:
        report = pipeline.run(*found, progress)
    print(f"report: {report}")
    return 0


def ladder(given: list[str]) -> int:
    """Parse `finattn ladder [CONFIG] [--force] [--json] [--key value …]` and climb it."""
    as_json = "--json" in given
    given = [argument for argument in given if argument != "--json"]
    found = _configured("ladder", _LADDER, given)
    if found is None:
        return 0
    from finattn import ladder_pipeline
    from finattn.progress import RunProgress
    from finattn.report import ladder as shown

    with RunProgress() as progress:
        page = ladder_pipeline.run(*found, progress)
    if as_json:
        print(json.dumps(shown.as_dict(page.parent), indent=2))
        return 0
    shown.show(page.parent)
    print(f"ladder: {page}")
    return 0


def report(given: list[str]) -> int:
    """Parse `finattn report RUN` and write its report again from the run's files."""
    if len(given) != 1 or given[0].startswith("-"):
        print("usage: finattn report RUN\n\nWrite report.html again from the files of a run's folder.")
        return 0 if is_help(given) else 2
    from finattn import report as writer

    print(f"report: {writer.write(Path(given[0]))}")
    return 0


def bench(given: list[str]) -> int:
    """Parse `finattn bench attention [--firms N …] …` and measure."""
    parser = _bench_parser()
    if is_help(given):
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


def _bench_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="finattn bench attention", description=_BENCH, add_help=False, allow_abbrev=False)
    parser.add_argument("--firms", type=int, nargs="+", default=[100, 1000, 5000], help="numbers of firms")
    parser.add_argument("--lookback", type=int, nargs="+", default=[20, 60, 250], help="days that a forecast sees")
    parser.add_argument("--width", type=int, default=64, help="of each token, all heads together")
    parser.add_argument("--heads", type=int, default=4, help="must divide the width")
    parser.add_argument("--days", type=int, default=120, help="in the block that one pass in a band encodes")
    parser.add_argument("--out", type=Path, help="folder for bench_attention.json and bench_attention.html")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return parser
