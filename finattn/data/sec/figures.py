"""Characteristics of firms from the figures of their reports: one table of formulas.

Levels are of the period's end, flows of the four quarters up to it, in USD of the report; ratios are fractions. What a
ratio needs and is missing leaves it missing, and so does a denominator that is not positive. Sources: Fama and French
(1993) for book equity, Cooper, Gulen and Schill (2008) for investment, Novy-Marx (2013) for profitability, Chan,
Lakonishok and Sougiannis (2001) for R&D.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd


class Characteristic(NamedTuple):
    """A formula in words, its unit, the function for it, and the column that must be positive, if it is a ratio."""

    formula: str
    unit: str
    numerator: Callable[[pd.DataFrame], pd.Series]
    denominator: str | None = None


def _column(name: str) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda table: table[name]


def _liabilities(table: pd.DataFrame) -> pd.Series:
    return table["liabilities"].fillna(table["assets"] - table["total_equity"])


def _book_equity(table: pd.DataFrame) -> pd.Series:
    equity = table["equity"].fillna(table["assets"] - table["liabilities"])
    return equity + table["deferred_taxes"].fillna(0) - table["preferred_stock"].fillna(0)


CHARACTERISTICS = {
    "assets": Characteristic("assets", "USD", _column("assets")),
    "sales": Characteristic("revenues of four quarters", "USD", _column("revenues_ttm")),
    "book_equity": Characteristic(
        "equity (else assets - liabilities) + deferred taxes - preferred stock, these two 0 where not reported",
        "USD", _book_equity,
    ),
    "shares_outstanding": Characteristic(
        "common shares of the cover page, not adjusted for splits", "shares", _column("shares_outstanding")
    ),
    "leverage": Characteristic(
        "liabilities (else assets - total equity) / assets", "fraction", _liabilities, "assets"
    ),
    "long_term_debt_to_assets": Characteristic(
        "long-term debt / assets", "fraction", _column("long_term_debt"), "assets"
    ),
    "rnd_to_sales": Characteristic("R&D / revenues, of four quarters", "fraction", _column("rnd_ttm"), "revenues_ttm"),
    "rnd_to_assets": Characteristic("R&D of four quarters / assets", "fraction", _column("rnd_ttm"), "assets"),
    "return_on_assets": Characteristic(
        "net income of four quarters / assets", "fraction", _column("net_income_ttm"), "assets"
    ),
    "profitability": Characteristic(
        "(revenues - cost of revenue) of four quarters / assets", "fraction",
        lambda table: table["revenues_ttm"] - table["cost_of_revenue_ttm"], "assets",
    ),
    "capital_expenditure_to_assets": Characteristic(
        "payments for property, plant and equipment of four quarters / assets", "fraction",
        _column("capital_expenditure_ttm"), "assets",
    ),
    "investment": Characteristic(
        "assets / assets four quarters before - 1", "fraction",
        lambda table: table["assets"] - table["assets_year_before"], "assets_year_before",
    ),
}  # fmt: skip


def characteristics(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return all characteristics of a table with the columns of `finattn.data.sec.durations.COLUMNS`.

    Returns
    -------
    A column for each of `CHARACTERISTICS`, and how many rows of each are missing by a denominator that is not positive.

    Examples
    --------
    >>> from finattn.data.sec.durations import COLUMNS
    >>> table = pd.DataFrame([[np.nan] * len(COLUMNS)] * 2, columns=COLUMNS)
    >>> table["assets"], table["rnd_ttm"] = [50.0, 0.0], 5.0
    >>> found, counts = characteristics(table)
    >>> found["rnd_to_assets"].tolist(), counts["rnd_to_assets"]
    ([0.1, nan], 1)
    """
    found, counts = {}, {}
    for name, item in CHARACTERISTICS.items():
        values = item.numerator(table).to_numpy(float)
        if item.denominator is not None:
            below = table[item.denominator].to_numpy(float)
            counts[name] = int((~np.isnan(values) & (below <= 0)).sum())
            with np.errstate(over="ignore"):
                values = values / np.where(below > 0, below, np.nan)
        found[name] = np.where(np.isfinite(values), values, np.nan)
    return pd.DataFrame(found, index=table.index), {name: count for name, count in counts.items() if count}
