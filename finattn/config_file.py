"""Configurations as YAML files with the keys of `RunConfig`; a key that is not there is an error."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from finattn.config import RunConfig
from finattn.config.require import nearest
from finattn.errors import InputError

_MOST_VALUES = 100_000


def to_yaml(config: RunConfig) -> str:
    """Write a configuration as YAML that `finattn run` reads again."""
    return yaml.safe_dump(json.loads(json.dumps(asdict(config))), sort_keys=False)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a configuration file as nested mappings, refusing keys that `RunConfig` does not have.

    Raises
    ------
    InputError
        Naming the file, and the nearest key where one is unknown.
    """
    try:
        content = _Loader(Path(path).read_text(encoding="utf-8")).get_single_data()
    except FileNotFoundError:
        raise InputError(f"the configuration must be a YAML file, found no file {path}") from None
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:  # 2001-13-01 is a ValueError
        message = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: the configuration must be readable YAML: {message}") from None
    if fault := _outsized(content):
        raise InputError(f"{path}: {fault}")
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(f"{path}: the configuration must be a mapping of keys, found {type(content).__name__}")
    for key in unknown_keys(content):
        raise InputError(f"{path}: {describe_unknown_key(key)}")
    for key, expected, value in _misshapen(content, RunConfig):
        raise InputError(f"{path}: {key} must be {expected}, found {value!r}")
    return content


def _outsized(content: Any) -> str:
    """Say what makes content unfit: aliases that unfold without end, or keys that are no text; "" for nothing."""
    waiting, seen = [content], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:
            return f"the configuration must hold at most {_MOST_VALUES} values, aliases unfolded, found more"
        if isinstance(value, dict):
            odd = [key for key in value if not isinstance(key, str)]
            if odd:
                return f"keys must be text, found {odd[0]!r}: put it in quotes"
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    return ""


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in own]
        twice = [key for key in keys if keys.count(key) > 1]
        if twice:
            raise yaml.YAMLError(f"key {twice[0]} is given twice (line {node.start_mark.line + 1} and after)")
        return super().construct_mapping(node, deep)


def _misshapen(content: Mapping[str, Any], kind: type, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield keys that hold no mapping or list where one must be, or nothing where something must be."""
    for item in fields(kind):
        value, inner = content.get(item.name), item.default_factory
        if item.name not in content:
            continue
        if is_dataclass(inner):
            if not isinstance(value, Mapping):
                yield f"{prefix}{item.name}", f"a mapping of {', '.join(part.name for part in fields(inner))}", value
            else:
                yield from _misshapen(value, inner, f"{prefix}{item.name}.")
        elif value is None and "None" not in str(item.type):
            yield f"{prefix}{item.name}", "given, or left out", value
        elif "tuple[" in str(item.type) and "dict" not in str(item.type) and not isinstance(value, list):
            yield f"{prefix}{item.name}", "a list", value


def unknown_keys(content: Mapping[str, Any], kind: type = RunConfig, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of `content` that the dataclass does not have."""
    known = {item.name: item for item in fields(kind)}
    for key, value in content.items():
        if key not in known:
            yield f"{prefix}{key}"
        elif is_dataclass(factory := known[key].default_factory) and isinstance(value, Mapping):
            yield from unknown_keys(value, factory, f"{prefix}{key}.")


def describe_unknown_key(key: str, known: Sequence[str] | None = None) -> str:
    """Say that a key is unknown, and which known one is nearest; by default of those of `RunConfig`."""
    return f"unknown key {key}{nearest(key, list(known_keys(RunConfig)) if known is None else known)}"


def known_keys(kind: type, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that a dataclass has."""
    for item in fields(kind):
        yield f"{prefix}{item.name}"
        if is_dataclass(item.default_factory):
            yield from known_keys(item.default_factory, f"{prefix}{item.name}.")
