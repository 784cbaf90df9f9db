"""Verbs that get data and look at it."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finattn.cli.arguments import data_parser, first, is_help, make, source_of
from finattn.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

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
# The keywords of `finattn.data.describe.describe`: importing it would make help wait for pandas.
THRESHOLDS: tuple[tuple[str, Any, Any, str], ...] = (
    ("extreme_return", float, 1.0, "returns above this in absolute value are extreme, a fraction: 1.0 is 100%"),
    ("stale_rows", int, 10, "a price that does not move for this many rows in a row, or more, is stale"),
    (
        "split_ratios",
        Sequence[float],
        (1.5, 2.0, 3.0, 4.0, 5.0, 10.0),
        "of splits that are suspected, new shares for one",
    ),
    ("split_tolerance", float, 0.05, "how near to such a ratio a return must be, relative"),
    ("split_deviations", float, 10.0, "how large it must be beside the firm's usual returns"),
)


def describe_data(given: list[str]) -> int:
    """Parse `finattn data describe PANEL [--json] [--html FILE] [--key value …]` and describe."""
    parser, thresholds = _describe_parser(), [name for name, *_ in THRESHOLDS]
    if is_help(given):
        parser.print_help()
        return 0
    name, *rest = first(given, "a panel", "describe")
    made = make(parser, [*source_of(name), *rest])
    if made.html is not None and Path(made.html).is_dir():
        raise InputError(f"html must be a file to write to, found a folder at {made.html}")
    if made.html is not None and not made.html.lower().endswith((".html", ".htm")):  # it might be the user's data
        raise InputError(f"html must be a file that ends in .html, found {made.html}")
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
    """Parse `finattn data load PANEL --out FOLDER [--force] [--json] [--key value …]`, make the panel and save it."""
    parser = data_parser("load PANEL", _LOAD)
    parser.add_argument("--out", type=str, help="folder to write")
    parser.add_argument("--force", action="store_true", help="replace a panel that is there")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    if is_help(given):
        parser.print_help()
        return 0
    name, *rest = first(given, "a panel", "load")
    made = make(parser, [*source_of(name), *rest])
    if made.out is None:
        raise InputError("--out must be a folder to write to, found none")
    place = Path(made.out)
    there = {file.name for file in place.iterdir()} if place.is_dir() else set()
    saved = "panel.json" in there and all(name == "panel.json" or name.endswith(".npy") for name in there)
    if (place.exists() and not place.is_dir()) or (there and not (saved and made.force)):
        raise InputError(f"--out must be absent or empty, or a saved panel with --force, found {place}")
    from finattn.data import load

    panel = load(made.data)
    panel.save(place)
    if made.json:
        facts = {
            "dates": len(panel),
            "from": str(panel.dates[0]),
            "to": str(panel.dates[-1]),
            "firms": len(panel.firms),
        }
        print(json.dumps({"panel": str(place), **facts}, indent=2))
        return 0
    from finattn.words import count

    dates, firms = count(len(panel), "date"), count(len(panel.firms), "firm")
    print(f"panel: {place}, {dates} from {panel.dates[0]} to {panel.dates[-1]}, {firms}")
    return 0


def fetch_data(given: list[str]) -> int:
    """Parse `finattn data fetch SOURCE [--json] [--key value …]` and download."""
    parser = data_parser("fetch SOURCE", _FETCH)
    parser.add_argument("--json", action="store_true", help="print what became of everything as JSON")
    if is_help(given):
        parser.print_help()
        return 0
    name, *rest = first(given, "a source", "fetch")
    source = [] if name == "sec" else source_of(name)  # fundamentals for panels of other sources
    made = make(parser, [*source, *rest])
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


def _describe_parser() -> "ArgumentParser":
    parser = data_parser("describe PANEL", _DESCRIBE)
    parser.add_argument("--json", action="store_true", help="print everything as JSON in place of tables")
    parser.add_argument("--html", type=str, help="file to write, one that needs no network")
    for name, kind, default, says in THRESHOLDS:
        parser.add_argument(f"--{name}", type=kind, default=default, help=says)
    return parser
