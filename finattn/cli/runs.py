"""Verbs that run a configuration."""

import argparse
import json
from pathlib import Path

from finattn.cli.arguments import OneLineParser, configured, is_help, run_parser
from finattn.errors import InputError

_BENCH = """Measure attention along time and along firms, beside operations and memory by formula.

Along time, windows encoded again against one pass in a band; along firms, softmax against linear attention."""
_LADDER = """Climb the ladder: momentum, ridge, boosting, SIC peers, learned peers, attention along firms and time.

Every rung is tuned with at most four trials on the first fold, then fixed, and set against the one below; the answers
and the table are printed and written to runs/NAME/ladder. A second call goes on where the first one stopped; --json
prints everything as JSON. Every key of the configuration can be given as --key value, such as
--ladder.rungs '[ridge, sic_kernel, look_up, firm]'."""
_REPORT = "Write report.html again from the files of a run's folder."
_RUN = """Run a configuration from source to report, and write it all to runs/NAME.

A second run goes on where the first one stopped. Every key of the configuration can be given as --key value,
such as --training.seeds '[0, 1]' or --target.horizon 21."""


def run(given: list[str]) -> int:
    """Parse `finattn run [CONFIG] [--force] [--json] [--key value …]` and run it."""
    found = configured(run_parser("run", _RUN), given)
    if found is None:
        return 0
    from finattn import pipeline
    from finattn.progress import RunProgress

    config, made = found
    with RunProgress() as progress:
        page = pipeline.run(config, made.force, progress)
    return _tell(page, made.json)


def ladder(given: list[str]) -> int:
    """Parse `finattn ladder [CONFIG] [--force] [--json] [--key value …]` and climb it."""
    found = configured(run_parser("ladder", _LADDER), given)
    if found is None:
        return 0
    from finattn import ladder_pipeline
    from finattn.progress import RunProgress
    from finattn.report import ladder as shown

    config, made = found
    with RunProgress() as progress:
        page = ladder_pipeline.run(config, made.force, progress)
    if made.json:
        print(json.dumps(shown.as_dict(page.parent), indent=2))
        return 0
    shown.show(page.parent)
    print(f"ladder: {page}")
    return 0


def report(given: list[str]) -> int:
    """Parse `finattn report RUN [--json]` and write its report again from the run's files."""
    parser = OneLineParser(prog="finattn report", description=_REPORT, add_help=False, allow_abbrev=False)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run, runs/NAME")
    parser.add_argument("--json", action="store_true", help="print the table of metrics as JSON")
    if is_help(given):
        parser.print_help()
        return 0
    made = parser.parse_args(given)
    if not (made.run / "config.yaml").is_file():  # before torch is loaded, which takes seconds
        raise InputError(f"a report needs config.yaml in the run's folder, found none in {made.run}")
    from finattn import report as writer

    return _tell(writer.write(made.run), made.json)


def _tell(page: Path, as_json: bool) -> int:
    """Print a report's first sentences and where it is, or as JSON where it is with the run's table of metrics."""
    from finattn.report import build
    from finattn.storage import read_table

    if as_json:
        rows = json.loads(read_table(page.parent / "metrics.parquet").to_json(orient="records"))
        print(json.dumps({"report": str(page), "metrics": rows}, indent=2))
        return 0
    print("\n".join([*build.opening(page.parent), f"report: {page}"]))
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
