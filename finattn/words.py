"""Small pieces of sentences."""

from collections.abc import Sequence


def count(number: int, what: str) -> str:
    """Write a number of things.

    Examples
    --------
    >>> count(1, "firm"), count(7072, "firm")
    ('1 firm', '7,072 firms')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def joined(parts: Sequence[str]) -> str:
    """Join parts with commas, the last by "and".

    Examples
    --------
    >>> joined(["ridge"]), joined(["ridge", "LSTM", "boosting"])
    ('ridge', 'ridge, LSTM and boosting')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
