"""From arguments to a configuration, or one line about what is wrong with them."""

import argparse
import json
import os
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from finattn.config import DataConfig, RunConfig, Source
from finattn.config.require import nearest
from finattn.config_file import describe_unknown_key, read_yaml
from finattn.errors import InputError

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_WORDS = {
    "<class 'int'>": "whole number", "<class 'float'>": "number", "<class 'str'>": "text", "Parser key": "key",
    "<class 'dict'>": "mapping", "<class 'collections.abc.Sequence'>": "list",
}  # fmt: skip
_CHOICE = re.compile(r'key "([\w.]+)": Expected a typing.Literal\[([^]]*)\]. Got value: (.*)')
_USAGE = "%(prog)s [--key value ...]"
_GROUP = re.compile(r"Group '([\w.]+)' does not accept option '([\w.]+)'")


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

    parser = ArgumentParser(prog=f"finattn {verb} [CONFIG]", usage=_USAGE, description=about, exit_on_error=False)
    parser.add_argument("--config", action="config", help="the same as CONFIG, by default configs/sp500.yaml")
    parser.add_argument("--force", action="store_true", help="start over, also where the run is finished")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text and tables")
    parser.add_class_arguments(RunConfig)
    _explain(parser, RunConfig)
    return parser


def data_parser(usage: str, about: str) -> "ArgumentParser":
    """Return a parser of the keys that say where a panel comes from."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog=f"finattn data {usage}", usage=_USAGE, description=about, exit_on_error=False,
                            allow_abbrev=False)  # fmt: skip
    parser.add_argument("--config", action="config", help=argparse.SUPPRESS)  # how `_source` gives a file's keys
    parser.add_class_arguments(DataConfig, "data")
    _explain(parser, DataConfig, "data.")
    return parser


def meanings(kind: type) -> dict[str, str]:
    """Return what the fields of a dataclass mean, by the `name : meaning` and `name, name : meaning` of its docstring.

    Examples
    --------
    >>> from finattn.config import TargetConfig
    >>> meanings(TargetConfig)["delay"]
    "0 trades at the decision's close, 1 at the next row's"
    """
    about = re.split(r"-{5,}\n|\n +(?:Raises|Examples)\n", kind.__doc__ or "")
    name = f"(?:{'|'.join(item.name for item in fields(kind))})"
    parts = re.split(rf"(?:^|\s)((?:{name}, )*{name}) : ", about[1] if len(about) > 1 else "")
    found: dict[str, str] = {}
    for names, text in zip(parts[1::2], parts[2::2], strict=True):
        says = " ".join(text.split("\n\n")[0].split()).rstrip(".;")
        found |= dict.fromkeys(names.split(", "), f"{names}: {says}" if ", " in names else says)
    return found


def _explain(parser: "ArgumentParser", kind: type, prefix: str = "") -> None:
    """Put the docstrings of a configuration into the help of its keys, `prefix` before each."""
    said = meanings(kind)
    for group in parser._action_groups:
        if group.title == str(kind):
            group.title = (kind.__doc__ or "").splitlines()[0].rstrip(".")
    for item in fields(kind):
        if is_dataclass(section := item.default_factory):
            _explain(parser, section, f"{prefix}{item.name}.")
        elif item.name in said:
            action = parser._option_string_actions[f"--{prefix}{item.name}"]
            action.help = said[item.name].replace("`", "")


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


def configured(parser: "ArgumentParser", given: list[str]) -> tuple[RunConfig, Any] | None:
    """Return the configuration given first, or the demonstration's, with all else that was given; None for help."""
    path = Path(given.pop(0)) if given and not given[0].startswith("-") else Path("configs/sp500.yaml")
    if is_help(given):
        parser.print_help()
        return None
    return parse(parser, find(path), given)


def parse(parser: "ArgumentParser", path: Path, given: list[str]) -> tuple[RunConfig, Any]:
    """Return the configuration of a file with the keys given after it, and all that was given."""
    content = read_yaml(path)  # refuses unknown keys more clearly than the parser would
    source = ["--config", os.fspath(path)] if content else []  # the parser does not take an empty file
    made = make(parser, [*source, *given])
    values = {name: getattr(made, name) for name in RunConfig.__dataclass_fields__}
    return RunConfig(**values), made


def make(parser: "ArgumentParser", given: list[str]) -> Any:
    """Return what the arguments make, or one line about what is wrong."""
    from jsonargparse import ArgumentError

    try:
        return parser.instantiate(parser.parse_args(given))
    except InputError:
        raise
    except (ArgumentError, ValueError, TypeError) as error:
        raise InputError(_plain(" ".join(str(error).split()), options(parser))) from None


def options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the long options that a parser knows, without their dashes."""
    return [name[2:] for name in parser._option_string_actions if name.startswith("--")]


def _plain(text: str, known: Sequence[str]) -> str:
    """Say in our words what the parser found wrong."""
    marker = "unrecognized arguments: --"
    if marker in text.lower():
        return describe_unknown_key(text.lower().split(marker, 1)[1].split("=")[0].split()[0], known)
    if group := _GROUP.search(text):
        return describe_unknown_key(".".join(group.groups()), known)
    if choice := _CHOICE.search(text):
        key, listed, found = choice.groups()
        choices = [word.strip().strip("'") for word in listed.split(",")]
        return f"{key} must be one of {', '.join(choices)}, found {found!r}{nearest(found, choices)}"
    for name, word in _WORDS.items():
        text = text.replace(name, word)
    return text


class OneLineParser(argparse.ArgumentParser):
    """A parser whose refusals are one line, as all others of finattn."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, refusing an unknown option before one that is missing: it may be that one, misspelt."""
        names = [argument.split("=")[0] for argument in args or () if argument[:2] == "--" != argument]
        for name in names:
            if name not in self._option_string_actions:
                raise InputError(describe_unknown_key(name[2:], options(self)))
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Refuse."""
        raise InputError(message)


def folder_parser(verb: str, about: str) -> OneLineParser:
    """Return a parser whose first argument is the folder of a finished run."""
    parser = OneLineParser(prog=f"finattn {verb}", description=about, add_help=False, allow_abbrev=False,
                           formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run, runs/NAME")
    return parser
