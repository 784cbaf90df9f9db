"""The verb that writes a first configuration for data of the user's own."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from finattn.cli.arguments import OneLineParser, data_parser, is_help, make
from finattn.config import RunConfig
from finattn.config_file import read_yaml
from finattn.errors import InputError
from finattn.storage import atomic_file

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_ABOUT = """Write DIR/config.yaml, a commented configuration to start from.

With --data FILE, a CSV or Parquet file with a row for each firm and date (or a folder with a file for each firm), the
columns are guessed from their names and what stands in them, the file is read, and horizon and folds are made to fit
its dates. What is guessed wrongly is told by the same keys as in a configuration, such as
--data.columns '{MYDATE: date, MYID: firm}'. Without --data it is the demonstration's configuration."""
Found = tuple[str, dict[str, Any]]
"""A configuration as text, and what was found, as JSON holds it."""


def new(given: list[str]) -> int:
    """Parse `finattn new DIR [--data FILE] [--data.key value …] [--json]` and write DIR/config.yaml."""
    parser = _parser()
    if is_help(given):
        parser.print_help()
        return 0
    if not given or given[0].startswith("-"):
        raise InputError("a folder must be given first, found none; see finattn new --help")
    folder, rest = Path(given[0]), given[1:]
    file = folder / "config.yaml"
    if file.exists() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"a folder without a config.yaml must be given, found {file if file.exists() else folder}")
    alone = OneLineParser(add_help=False, allow_abbrev=False)
    alone.add_argument("--data")
    alone.add_argument("--data.columns", dest="columns", default="{}")
    known, rest = alone.parse_known_args(rest)
    if known.data is None:
        make(parser, rest)  # refuses what it does not know
        if other := [argument for argument in rest if argument != "--json"]:
            raise InputError(f"keys of the data go with --data FILE, found {other[0]} without it")
        text, facts = _demonstration(folder), dict[str, Any]()
    else:
        text, facts = _own(parser, folder, known.data, _columns(known.columns), rest)
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
        RunConfig(**read_yaml(temporary))
    if "--json" in rest:
        print(json.dumps({"config": str(file), **facts}, indent=2))
        return 0
    print("".join(f"{name:<10}{value}\n" for name, value in _told(facts)), end="")
    named = shlex.quote(str(file))
    print(f"config:   {file}\nnext:     finattn {'data describe' if facts else 'run'} {named}")
    print(f"then:     finattn run {named}\n" if facts else "", end="")
    return 0


def _parser() -> "ArgumentParser":
    parser = data_parser("", _ABOUT)
    parser.prog = "finattn new DIR [--data FILE]"
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    return parser


def _name(folder: Path) -> str:
    """Return what a run is called by its folder."""
    name = re.sub(r"[^\w.-]", "_", folder.resolve().name).lstrip(".-")[:100]
    return name if name not in ("", "ledger") else f"{name}_run"


def _demonstration(folder: Path) -> str:
    text = (resources.files("finattn") / "configs" / "sp500.yaml").read_text(encoding="utf-8")
    return text.replace("name: sp500\n", f"name: {_name(folder)}\n").replace(
        "  source: sample\n",
        "  source: sample\n  # source: file    # or data of your own: `finattn new DIR --data FILE` looks at it\n"
        "  # path: returns.csv\n",
    )


def _own(parser: "ArgumentParser", folder: Path, path: str, given: Mapping[str, str], rest: list[str]) -> Found:
    """Look at a file, and return a configuration for it with what was found."""
    from finattn.cli.guess import guess
    from finattn.cli.plan import rhythm
    from finattn.cli.starting import write
    from finattn.data import load
    from finattn.words import count

    found = guess(path, given)
    content = {"data": found.data | {"path": str(Path(path).resolve())}}
    config = make(parser, ["--config", json.dumps(content), *rest]).data
    if config.industry_scheme != found.data.get("industry_scheme", "sic"):  # the user knows better
        found = replace(found, assumed={role: says for role, says in found.assumed.items() if role != "industry"})
    panel = load(config)
    each = rhythm(panel.dates)
    if not any(argument.startswith("--data.periods_per_year") for argument in rest):
        config = replace(config, periods_per_year=each.per_year)
    facts = {
        "panel": f"{count(len(panel.firms), 'firm')}, {len(panel)} {each.what} dates, {panel.dates[0]} to "
        f"{panel.dates[-1]}",
        "columns": found.roles,
        "features": list(found.features),
        "left_out": found.left,
        "assumed": list(found.assumed.values()),
    }
    return write(_name(folder), config, found, panel), facts


def _columns(text: str) -> dict[str, str]:
    """Read what the user says of columns."""
    try:
        columns = yaml.safe_load(text)
    except yaml.YAMLError:
        columns = text
    if not isinstance(columns, dict) or not all(isinstance(part, str) for pair in columns.items() for part in pair):
        raise InputError(f"data.columns must be a mapping of text to text, found {text!r}")
    return columns


def _told(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was found, a line each."""
    if not facts:
        return
    yield "panel:", facts["panel"]
    yield "columns:", ", ".join(f"{ours} = {theirs}" for ours, theirs in facts["columns"].items())
    yield "features:", ", ".join(facts["features"]) or "none of your own"
    for name, reason in facts["left_out"].items():
        yield "left out:", f"{name} ({reason})"
    for says in facts["assumed"]:
        yield "assumed:", says
