"""What a reader must know before trusting a panel, in plain words."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.words import count

Facts = Mapping[str, Any]
Tables = Mapping[str, pd.DataFrame]


class Caution(NamedTuple):
    """A warning: the check that gave it, and what it says."""

    check: str
    says: str


def cautions(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[Caution]:
    """Yield warnings, those about the whole panel first, then those about single numbers.

    Parameters
    ----------
    facts, tables, thresholds : of a `Description`.

    Examples
    --------
    >>> facts = {"availability_unknown": ["assets"]}
    >>> next(availability(facts, {}, {}))[:66]
    'it is not known since when the numbers of assets were available: t'
    """
    for check in CHECKS:
        for says in check(facts, tables, thresholds):
            yield Caution(check.__name__, says[0].upper() + says[1:])


def survivorship(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn where no firm ever leaves."""
    firms = facts["firms"] - facts["never_listed"]
    if not facts["left"] and firms and facts["dates"] > 1:
        yield (
            f"no firm ever leaves: the listings of all {count(firms, 'firm')} go on until the panel's last date, "
            f"{facts['last']}. These are survivors, chosen in hindsight: firms that failed are not there, and returns "
            "are flattered."
        )


def delistings(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn where what was lost in leaving is not known."""
    if facts["left_without_return"]:
        yield (
            "firms that leave without a delisting return, one on the row after their last: "
            f"{facts['left_without_return']:,} of {facts['left']:,}. What their holders lost or gained is not known."
        )


def availability(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of features whose numbers may have been published later than the row on which they stand."""
    unknown = facts["availability_unknown"]
    if unknown:
        yield (
            f"it is not known since when the numbers of {listed(unknown)} were available: the source names no day of "
            "availability, so figures may stand on days before they were published."
        )


def industry(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of firms without codes, and of codes that have not the digits that their scheme has."""
    without = tables["unclassified"]
    if not facts["with_industry"]:
        yield "no firm has an industry code."
        return
    if len(without):
        named = listed(without["firm"])
        yield f"firms that never have an industry code: {len(without):,} of {facts['firms']:,}: {named}."
    if facts["industry_scheme"] == "sic":
        yield from _digits(facts["two_digit_codes"], facts["with_industry"], facts["largest_code"])


def _digits(two: int, known: int, largest: int) -> Iterator[str]:
    """Warn of SIC codes, `two` of the `known` below 100, that are not of four digits, and say how they are read."""
    read = (
        "read as SIC codes of two digits, 35 as 3500: major groups and their divisions. Fama-French groups need four. "
        "Codes of another scheme need data.industry_scheme: custom and data.industry_widths: [2]."
    )
    if two == known:
        yield f"all industry codes are below 100. They are {read}"
    elif two and largest >= 1000:
        yield f"industry codes below 100, which no SIC code of four digits is: {two:,} of {known:,}. They are {read}"
    elif largest < 1000:
        yield (
            "all industry codes are below 1000: as SIC codes of four digits they are all of agriculture, forestry and "
            "fishing. SIC codes of three digits need data.industry_scheme: custom and data.industry_widths: [3, 2]."
        )


def hindsight(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of industry codes that may not be those known on each date."""
    if facts["with_industry"] and not facts["industry_as_of"]:
        yield "industry codes are not marked as those known on each date: they may be of today, and use hindsight."


def spans(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn where rows are not as many a year as the panel says, and of long stretches without a row."""
    found, expected = facts["rows_per_year"], facts["periods_per_year"]
    if facts["dates"] > expected and not 0.8 < found / expected < 1.25:
        yield f"rows are {found:.0f} a year, where the panel says {expected}: what is annualised will be wrong."
    if facts["gap_days"] and facts["gap_days"] > max(10, 5 * facts["usual_gap_days"]):
        yield f"no row stands between {facts['gap_from']} and {facts['gap_to']}, {facts['gap_days']} days."


def thin(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of dates on which hardly any firm is listed."""
    found = tables["thin"]
    if len(found):
        first = found.iloc[0]
        yield (
            f"dates on which less than half of the usual number of firms is listed: {len(found):,}, the first "
            f"{first['date']:%Y-%m-%d} with {first['firms']:,.0f} of {first['usual']:,.0f}. Holidays, perhaps: all "
            "other firms are not listed on them, and what counts rows counts them."
        )


def missing(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of fields that nobody has, of firms that come back, and of firms that never were."""
    empty = tables["fields"].loc[tables["fields"]["first"].isna() & (tables["fields"]["field"] != "industry"), "field"]
    if len(empty):
        yield f"no listed firm ever has a number in {listed(empty)}."
    if facts["returned"]:
        yield (
            f"firms that leave and come back: {facts['returned']:,}. The source has gaps, or has given identifiers to "
            "other firms."
        )
    if facts["never_listed"]:
        yield f"firms that are never listed: {facts['never_listed']:,}."


def extremes(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of extreme returns, the largest with its firm and date."""
    found = tables["extremes"]
    unplaced = (facts["infinite_values"] or 0) - int(np.isinf(found["return"]).sum())
    if unplaced > 0:
        yield f"the loader set aside {count(unplaced, 'infinite value')}, not counted among the returns below."
    if found.empty:
        return
    infinite = np.isinf(found["return"])
    said = [f"{infinite.sum():,} infinite, which the loader set aside"] if infinite.any() else []
    for row in found[~infinite].head(1).to_dict("records"):
        said.append(f"the largest {100 * row['return']:,.0f}%, of {row['firm']} on {row['date']:%Y-%m-%d}")
    above = f"{100 * thresholds['extreme_return']:g}%"
    whose = count(found["firm"].nunique(), "firm")
    yield f"above {above} in absolute value: {count(len(found), 'return')} of {whose}; {'; '.join(said)}."


def stale(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of prices that do not move, above all of those that never move again."""
    found = tables["stale"]
    if found.empty:
        return
    first, until_last = found.iloc[0], int(found["until_last"].sum())
    longest = f"{first['firm']}, {first['rows']:,} rows from {first['start']:%Y-%m-%d}"
    yield (
        f"prices of {count(found['firm'].nunique(), 'firm')} do not move for {thresholds['stale_rows']} rows or more, "
        f"{count(len(found), 'time')}; longest {longest}."
    )
    if until_last:
        yield (
            f"prices do not move until the firm's last row {count(until_last, 'time')}: the source may repeat the last "
            "price of firms that are gone."
        )


def splits(facts: Facts, tables: Tables, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """Warn of splits that prices may not have been adjusted for."""
    found = tables["splits"]
    if len(found):
        first = found.iloc[0]
        most = f"{first['firm']} on {first['date']:%Y-%m-%d}, {100 * first['return']:+.1f}%, near {first['split']}"
        yield f"returns like those of splits that prices are not adjusted for: {len(found):,}. Most suspicious: {most}."


CHECKS: tuple[Callable[[Facts, Tables, Mapping[str, Any]], Iterator[str]], ...] = (
    survivorship, delistings, availability, industry, hindsight, spans, thin, missing, extremes, stale, splits,
)  # fmt: skip


def listed(names: Any) -> str:
    """List the first five names.

    Examples
    --------
    >>> listed(["a", "b"]), listed("abcdefg")
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
