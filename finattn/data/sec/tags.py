"""From the tags of the filers to items: a table of fall-backs, in the order in which they are asked."""

import hashlib
from functools import cache
from importlib import resources
from io import StringIO

import numpy as np
import pandas as pd

FLOWS = (1, 2, 3, 4)  # quarters that a flow is summed over; longer ones make neither a quarter nor a year

FIGURES = {
    "filing": "int32", "item": "int8", "order": "int8", "month": "int32", "qtrs": "int8", "value": "float64",
}  # fmt: skip


def _text() -> str:
    return (resources.files("finattn") / "tables" / "sec_tags.csv").read_text(encoding="utf-8")


@cache
def tag_table() -> pd.DataFrame:
    """Return ``tables/sec_tags.csv``: item, order, taxonomy, tag, kind, unit, note.

    Kinds are "instant" (a level at a period's end), "flow" (summed over quarters) and "cover" (a level of which a
    filing's latest stands for the period that the filing is about).

    Examples
    --------
    >>> table = tag_table()
    >>> table.loc[table["item"] == "rnd", "tag"].iloc[0]
    'ResearchAndDevelopmentExpense'
    """
    return pd.read_csv(StringIO(_text()), keep_default_na=False)


@cache
def tag_hash() -> str:
    """Return a hash of the table, by which what was extracted with another one is told."""
    return hashlib.sha256(_text().encode()).hexdigest()


ITEMS = tuple(tag_table()["item"].unique())


def items_of(kind: str) -> tuple[str, ...]:
    """Return the items of a kind.

    Examples
    --------
    >>> items_of("cover")
    ('shares_outstanding',)
    """
    table = tag_table()
    return tuple(table.loc[table["kind"] == kind, "item"].unique())


def nearest_month(days: pd.Series) -> np.ndarray:
    """Return the month, counted from 1970-01, whose end is nearest to each day, as the SEC rounds periods.

    Examples
    --------
    >>> days = pd.Series(pd.to_datetime(["2016-01-31", "2016-01-02", "2015-12-26"]))
    >>> nearest_month(days).tolist()
    [552, 551, 551]
    """
    return (days.to_numpy().astype("M8[D]") - np.timedelta64(15, "D")).astype("M8[M]").astype(np.int64)


def choose(numbers: pd.DataFrame, period: np.ndarray) -> pd.DataFrame:
    """Return one figure for each filing, item, month, number of quarters and tag.

    Parameters
    ----------
    numbers : filing (a row of `period`), tag, taxonomy, uom, ddate (days), qtrs and value, as filed, consolidated.
    period : month (see `nearest_month`) of the period that each filing is about.

    Returns
    -------
    filing, item (its place in `ITEMS`), order, month, qtrs, value; in the order of filings.
    """
    found = numbers.rename(columns={"uom": "unit"}).merge(tag_table(), on=["taxonomy", "tag", "unit"])
    flow = found["kind"] == "flow"
    found = found[(flow & found["qtrs"].isin(FLOWS)) | (~flow & (found["qtrs"] == 0))]
    own = period[found["filing"].to_numpy()]
    key = ["filing", "item", "month", "qtrs", "order"]
    found = found.assign(
        item=pd.Index(ITEMS).get_indexer(found["item"]),
        month=np.where(found["kind"] == "cover", own, nearest_month(found["ddate"])),
    )
    found = found.sort_values("ddate", ascending=False, kind="stable").sort_values(key, kind="stable")
    return found.drop_duplicates(key)[list(FIGURES)].astype(FIGURES).reset_index(drop=True)
