"""One refusal for every setting."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from finattn.errors import InputError

_WORDS = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "none", dict: "a mapping",
    tuple: "a list", list: "a list",
}  # fmt: skip


def require(key: str, value: Any, condition: object, expected: str) -> None:
    """Refuse the value of a key that is not as expected.

    Examples
    --------
    >>> require("target.horizon", 0, False, "at least 1")
    Traceback (most recent call last):
    finattn.errors.InputError: target.horizon must be at least 1, found 0
    """
    if not condition:
        raise InputError(f"{key} must be {expected}, found {value!r}")


def nearest(word: str, known: Sequence[str]) -> str:
    """Ask for the known word that is nearest; "" where none is near.

    Examples
    --------
    >>> nearest("widht", ["width", "heads"]), nearest("zeal", ["width", "heads"])
    (', did you mean width?', '')
    """
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f", did you mean {found[0]}?" if found else ""


def require_known(key: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Refuse words that are not known, with the nearest that is."""
    for word in given:
        if word not in known:
            raise InputError(f"{key} must be one of {', '.join(known)}, found {word!r}{nearest(word, known)}")


def nest(config: Any) -> None:
    """Make the sections of a frozen dataclass that are mappings, as plain YAML has them, what they are.

    Raises
    ------
    InputError
        For a key that a section does not have, naming the nearest.
    """
    for item in fields(config):
        if is_dataclass(item.default_factory) and isinstance(value := getattr(config, item.name), dict):
            known = [part.name for part in fields(item.default_factory)]
            for key in value:
                if key not in known:
                    raise InputError(f"{item.name} must have known keys, found {key!r}{nearest(str(key), known)}")
            object.__setattr__(config, item.name, item.default_factory(**value))


def require_types(config: Any, prefix: str = "", skip: tuple[str, ...] = ()) -> None:
    """Refuse the fields of a dataclass that are not of the kind, or none of the words, that their annotations say.

    A list where there should be a tuple, as plain YAML has it, becomes one.

    Parameters
    ----------
    prefix : of the keys in messages, "data.". skip : fields that are checked elsewhere.

    Examples
    --------
    >>> from finattn.config import TargetConfig
    >>> TargetConfig(horizon="5")
    Traceback (most recent call last):
    finattn.errors.InputError: target.horizon must be a whole number, found '5'
    """
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        require(f"{prefix}{name}", value, name in skip or _fits(value, hint), _say(hint))
        if isinstance(value, list) and get_origin(hint) is tuple:
            object.__setattr__(config, name, tuple(value))


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a value is of a kind."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind is Literal:
        return isinstance(value, str) and value in parts
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if kind is dict:
        whole = isinstance(value, Mapping)
        return whole and all(_fits(key, parts[0]) and _fits(item, parts[1]) for key, item in value.items())
    if kind is tuple:
        if not isinstance(value, tuple | list):
            return False
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return len(kinds) == len(value) and all(map(_fits, value, kinds))
    return isinstance(value, kind)


def _say(hint: Any) -> str:
    """Return a kind in words."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_say(part) for part in parts)
    if kind is Literal:
        return f"one of {', '.join(parts)}"
    if kind is dict and Any not in parts:
        return f"a mapping of {_say(parts[0])} to {_say(parts[1])}"
    if kind is tuple:
        return f"a list of {' and '.join(_say(part) for part in parts if part is not ...)}"
    return _WORDS.get(kind, "a mapping of its keys")
