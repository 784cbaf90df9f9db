"""The verb that builds a run's peer network."""

import argparse
import json
from typing import Any

from finattn.cli.arguments import folder_parser, is_help
from finattn.config.require import require_known

_ABOUT = """Say whom each firm of a run asks, as of some dates, with an interval for every link.

All fits of a model that attends to firms are averaged, over seeds and over the dates of a trailing window; a date is
read only by models that were fitted before it. Files are written to RUN/peers, explorer.html among them: a page in
which firms are searched, dates compared, and learned peers held beside those of the same industry."""
METHODS = ("attention", "rollout", "value_norm", "gradients", "shapley")
FORMATS = ("html", "parquet", "csv", "hoberg-phillips", "gexf", "graphml", "json")
_METHODS = "attention, rollout, value_norm (what was looked at); gradients, shapley (what moved the score; slow)"
_FORMATS = "html (the explorer), parquet (always), csv, hoberg-phillips, gexf, graphml, json (node-link)"
_DATES = "days of the panel, or words: first (test date), folds (last date of each test window), last (of the panel)"


def peers(given: list[str]) -> int:
    """Parse `finattn peers RUN …` and build its peer network."""
    parser = _parser()
    if is_help(given):
        parser.print_help()
        return 0
    read = parser.parse_args(given)
    require_known("format", read.format, FORMATS)
    require_known("method", [read.method], METHODS)
    from finattn import peers_pipeline as pipeline
    from finattn import report
    from finattn.explain_pipeline import open_run
    from finattn.report import peering

    options = ("model", "method", "dates", "top_k", "window", "every", "level", "draws")
    asked = pipeline.Asked(**{name: getattr(read, name) for name in options})
    run = open_run(read.run)
    network = pipeline.build(run, asked)
    tables, lacking = pipeline.judge(network, run.panel)
    files = pipeline.save(network, run.folder, read.format, tables)
    said = {"tables": peering.as_dict(tables), "findings": peering.findings(tables), "lacking": lacking}
    found = pipeline.summary(network, files) | said
    if read.json:
        print(json.dumps(found, indent=2, allow_nan=False), flush=True)
    else:
        _show(found)
        peering.show(tables)
        for line in [*lacking, found["caveat"], *found["findings"], *(f"file: {file}" for file in found["files"])]:
            print(line, flush=True)
    report.write(run.folder)  # last: where it cannot be written, what was asked for is there
    return 0


def _show(found: dict[str, Any]) -> None:
    """Print a line for each date."""
    from finattn.report.peering import weight
    from finattn.words import count

    for date in found["dates"]:
        said = f"{date['date']}: {count(date['firms'], 'firm')}, {count(date['edges'], 'link')}"
        if date["heaviest"] is not None:
            said += f"; on average a firm's links hold {date['weight_kept']:.0%} of what its forecast draws on; the "
            said += f"heaviest is {weight(date['heaviest'])}, an even one would be {weight(date['even_weight'])}"
        print(said)


def _parser() -> argparse.ArgumentParser:
    parser = folder_parser("peers", _ABOUT)
    parser.add_argument("--format", nargs="+", default=["html", "parquet"], metavar="FORMAT", help=_FORMATS)
    parser.add_argument("--model", help="a trained model of the run that attends to firms; by default the headline's")
    parser.add_argument("--method", default="attention", help=_METHODS)
    parser.add_argument("--dates", nargs="+", default=["folds", "last"], metavar="DATE", help=_DATES)
    parser.add_argument("--top-k", type=int, help="heaviest links of each firm; by default 20, of few firms fewer")
    parser.add_argument("--window", type=int, help="rows up to each date that are averaged; by default a quarter year")
    parser.add_argument("--every", type=int, help="of them each so manyth is read; by default one a week")
    parser.add_argument("--level", type=float, default=0.9, help="of the intervals")
    parser.add_argument("--draws", type=int, default=200, help="of seeds and dates, for the intervals; 0 for none")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    return parser
