"""From the tables that pictures are drawn of to what is on their axes; those of plotly and of matplotlib share it."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from finattn.errors import InputError
from finattn.looks import escape

UNKNOWN = 10**9
"""Stands for an industry code that is not known, and sorts last."""


def require_columns(table: pd.DataFrame, *columns: str) -> None:
    """Refuse a table without the columns that a figure needs."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"a figure needs the columns {', '.join(columns)}; found no {', '.join(missing)}")


def by_model(table: pd.DataFrame, values: str) -> pd.DataFrame:
    """Pivot to a row a date and a column a model, models in their order of appearance."""
    if table.duplicated(["date", "model"]).any():
        raise InputError(f"a figure of {values} needs one row for each date and model, found duplicates")
    wide = table.pivot(index="date", columns="model", values=values).sort_index()
    return wide[list(dict.fromkeys(table["model"]))]


def attention_of(explanations: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the rows of explanations that are attention of a kind."""
    require_columns(explanations, "date", "firm", "model", "method", "kind", "key", "score")
    rows = explanations[(explanations["kind"] == kind) & (explanations["method"] == "attention")]
    if rows.empty:
        raise InputError(f"explanations must hold attention of kind {kind!r} to draw it, found none")
    return rows


def mean_weights(weights: pd.DataFrame, rows: str) -> pd.DataFrame:
    """Average weights over all that asked in a row; a key that was not kept counts 0, so that rows still sum to one."""
    total = weights.groupby([rows, "key"])["score"].sum().unstack().fillna(0.0)
    return total.div(weights[["date", "firm"]].drop_duplicates().groupby(rows).size(), axis=0)


def days_of(dates: Iterable[Any]) -> list[str]:
    """Write dates as ISO days."""
    return [pd.Timestamp(day).strftime("%Y-%m-%d") for day in dates]


def year_ticks(days: Sequence[str], most: int = 12) -> list[str]:
    """Pick the first day of every year, or of every k-th where there are many."""
    first = {day[:4]: day for day in reversed(days)}
    days = sorted(first.values())
    return days[:: -(-len(days) // most)]


def firm_labels(order: Sequence[tuple[int, str]], most: int = 14) -> list[str]:
    """Write firm and code; long names are cut to leave room for the figure, unless two would then be the same."""
    coded = any(code != UNKNOWN for code, _ in order)
    codes = [("" if not coded else " ?") if code == UNKNOWN else f" {code}" for code, _ in order]
    names = [firm if len(firm) <= most else f"{firm[: most - 1]}…" for _, firm in order]
    if len(set(zip(names, codes, strict=True))) < len(order):
        names = [firm for _, firm in order]
    return [escape(f"{name}{code}") for name, code in zip(names, codes, strict=True)]


def group_edges(codes: Sequence[int]) -> list[int]:
    """Return the positions at which the two-digit major group changes."""
    return [i for i in range(1, len(codes)) if codes[i] // 100 != codes[i - 1] // 100]
