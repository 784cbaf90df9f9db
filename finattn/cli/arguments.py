"""From arguments to a configuration, or one line about what is wrong with them."""

import argparse
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from finattn.config import DataConfig, RunConfig, Source
from finattn.config_file import describe_unknown_key, known_keys, read_yaml
from finattn.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

DATA_KEYS = [key for key in known_keys(RunConfig) if key.startswith("data.")]


def is_help(given: Sequence[str]) -> bool:
    """Say whether help is asked for."""
    return bool({"-h", "--help"} & set(given))


def find(path: Path) -> Path:
    """Return the configuration at a path or, failing that, the one of that name which ships with the package."""
    shipped = Path(str(resources.files("finattn") / "configs" / path.name)).with_suffix(".yaml")
    alone = path.parent in (Path("."), Path("configs"))
    return path if path.exists() or not (alone and shipped.exists()) else shipped


def run_parser(verb: str, about: str) -> "ArgumentParser":
    """Return a parser of every key of a run's configuration."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=f"finattn {verb} [CONFIG]", description=about, exit_on_error=False)
    parser.add_argument("--config", action="config", help="the same as CONFIG, by default configs/sp500.yaml")
    parser.add_argument("--force", action="store_true", help="start over, also where the run is finished")
    parser.add_class_arguments(RunConfig)
    return parser


def data_parser(usage: str, about: str) -> "ArgumentParser":
    """Return a parser of the keys that say where a panel comes from."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=f"finattn data {usage}", description=about, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config", help=argparse.SUPPRESS)  # how `_source` gives a file's keys
    parser.add_class_arguments(DataConfig, "data")
    return parser


def first(given: list[str], what: str, verb: str) -> list[str]:
    """Return the arguments, of which the first is no option."""
    if not given or given[0].startswith("-"):
        raise InputError(f"{what} must be given first, found none; see finattn data {verb} --help")
    return given


def source_of(panel: str) -> list[str]:
    """Return the keys that name a source: those of a configuration, a source by its name, a saved panel, or files."""
    if panel.endswith((".yaml", ".yml")):
        content = read_yaml(find(Path(panel))).get("data", {})
        return ["--config", json.dumps({"data": content}, default=str)]  # YAML has dates, JSON has not
    if panel in get_args(Source) and panel not in ("file", "panel"):
        return ["--data.source", panel]
    return ["--data.source", "panel" if (Path(panel) / "panel.json").exists() else "file", "--data.path", panel]


def parse(parser: "ArgumentParser", path: Path, given: list[str]) -> tuple[RunConfig, bool]:
    """Return the configuration of a file with the keys given after it, or one line about what is wrong."""
    content = read_yaml(path)  # refuses unknown keys more clearly than the parser would
    source = ["--config", os.fspath(path)] if content else []  # the parser does not take an empty file
    made = make(parser, [*source, *given])
    values = {name: getattr(made, name) for name in RunConfig.__dataclass_fields__}
    return RunConfig(**values), bool(made.force)


def make(parser: "ArgumentParser", given: list[str], keys: Sequence[str] | None = None) -> Any:
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


class OneLineParser(argparse.ArgumentParser):
    """A parser whose refusals are one line, as all others of finattn."""

    def error(self, message: str) -> NoReturn:
        """Refuse."""
        raise InputError(message)
