"""One refusal for every setting."""

from typing import Any

from finattn.errors import InputError


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
