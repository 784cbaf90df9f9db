"""What a panel holds and what in it may be wrong: tables, and warnings in plain words. Nothing is drawn or printed.

A panel's source says what its loader did, and `describe` repeats it: ``source["rows"]`` is the number of rows read,
``source["counts"]`` maps words to whole numbers ("duplicates": 3; what was counted as 0 may be left out where there are
``rows``), ``source["infinite_returns"]`` lists firm, date and sign of returns that no panel can hold,
``source["as_of_joins"]`` is written by `asof.join`, and ``source["availability"]`` says, of all features or of each by
name, since when its numbers were known. What the source does not say is not known, and is said not to be.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from finattn.data.cautions import Caution, cautions
from finattn.data.coverage import cover, days, listings, parts, thin_dates
from finattn.data.sic import TWO_DIGITS
from finattn.data.suspicions import SPLIT_RATIOS, extreme_returns, largest_first, stale_prices, suspected_splits
from finattn.errors import InputError
from finattn.panel import Panel

TABLES = (
    "years", "fields", "fields_by_year", "thin", "firms", "extremes", "stale", "splits", "unclassified", "recorded",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Description:
    """What `describe` found.

    Parameters
    ----------
    facts : numbers and words about the whole panel; days are ISO text, None is not known or not recorded.
    thresholds : what `describe` was asked with.
    warnings : what a reader must know before trusting the panel, in plain words.
    caveats : what the panel's source says of itself.
    years, fields, fields_by_year : coverage, see `Coverage`.
    thin : see `thin_dates`; they are left aside where listings, gaps and stale prices are told.
    firms : a row a firm, see `listings`.
    extremes : see `extreme_returns`; infinite ones, which the loader set aside, are among them.
    stale : see `stale_prices`. splits : see `suspected_splits`.
    unclassified : listed firms that never have an industry code, columns firm, listed (rows).
    recorded : what the source says of its rows, columns step, what, count.
    """

    facts: dict[str, Any]
    thresholds: dict[str, Any]
    warnings: tuple[Caution, ...]
    caveats: tuple[str, ...]
    years: pd.DataFrame
    fields: pd.DataFrame
    fields_by_year: pd.DataFrame
    thin: pd.DataFrame
    firms: pd.DataFrame
    extremes: pd.DataFrame
    stale: pd.DataFrame
    splits: pd.DataFrame
    unclassified: pd.DataFrame
    recorded: pd.DataFrame

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it: tables as lists of rows, NaN as None, infinite numbers as "inf"."""
        return {
            "facts": self.facts,
            "thresholds": {name: _plain(value) for name, value in self.thresholds.items()},
            "warnings": [caution._asdict() for caution in self.warnings],
            "caveats": list(self.caveats),
            **{name: _records(getattr(self, name)) for name in TABLES},
        }


def describe(
    panel: Panel,
    *,
    extreme_return: float = 1.0,
    stale_rows: int = 10,
    split_ratios: Sequence[float] = SPLIT_RATIOS,
    split_tolerance: float = 0.05,
    split_deviations: float = 10.0,
) -> Description:
    """Say what a panel holds and what in it may be wrong.

    Parameters
    ----------
    panel : any; it is read some firms at a time, so a memory-mapped one need not fit in memory.
    extreme_return : returns above this in absolute value are extreme, a fraction: 1.0 is 100%.
    stale_rows : a price that does not move for this many rows in a row, or more, is stale.
    split_ratios, split_tolerance, split_deviations : see `suspected_splits`; meant for daily returns.

    Raises
    ------
    InputError
        For a threshold that cannot be meant, and a panel without dates or firms.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 1.5], [0.1, 0.0]])
    >>> found = describe(panel)
    >>> found.facts["dates"], found.extremes[["firm", "return"]].values.tolist(), found.warnings[0].check
    (2, [['B', 1.5]], 'survivorship')
    """
    thresholds: dict[str, Any] = {
        "extreme_return": extreme_return,
        "stale_rows": stale_rows,
        "split_ratios": list(split_ratios) if isinstance(split_ratios, Sequence | np.ndarray) else split_ratios,
        "split_tolerance": split_tolerance,
        "split_deviations": split_deviations,
    }
    _check(panel, thresholds)
    thresholds["split_ratios"] = ratios = [float(ratio) for ratio in split_ratios]
    thin = thin_dates(panel)
    rows = np.flatnonzero(~np.isin(panel.dates, thin["date"].to_numpy().astype("M8[D]")))
    firms = listings(panel, rows)
    extremes = pd.concat([_infinite(panel), extreme_returns(panel, extreme_return)])
    tables = cover(panel, firms)._asdict() | {
        "thin": thin,
        "firms": firms,
        "extremes": largest_first(extremes, extremes["return"].abs(), "date"),
        "stale": stale_prices(panel, stale_rows, rows),
        "splits": suspected_splits(panel, ratios, split_tolerance, split_deviations),
        "unclassified": _unclassified(firms),
        "recorded": _recorded(panel.source),
    }
    facts = _facts(panel, tables) | _codes(panel) | _spans(panel.dates[rows], panel.periods_per_year)
    caveats = panel.source.get("caveats", [])
    return Description(
        facts=facts,
        thresholds=thresholds,
        warnings=tuple(cautions(facts, tables, thresholds)),
        caveats=tuple(str(caveat) for caveat in caveats) if isinstance(caveats, list) else (),
        **tables,
    )


# -- facts ------------------------------------------------------------

# Characteristics of `features`, and what files of prices usually hold, in small letters: known when the price is.
FROM_PRICES = frozenset(
    "momentum reversal volatility beta idiosyncratic_volatility maximum_return drawdown open high low close adj_close "
    "adjusted_close volume adj_volume vwap bid ask last prc vol ret retx".split()
)


def _facts(panel: Panel, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    firms, recorded = tables["firms"], tables["recorded"]
    left = firms["left"]
    return {
        "first": str(panel.dates[0]),
        "last": str(panel.dates[-1]),
        "dates": len(panel),
        "firms": len(firms),
        "firm_dates": int(firms["listed"].sum()),
        "with_return": int(firms["with_return"].sum()),
        "with_industry": int(firms["with_industry"].sum()),
        "entered": int(firms["entered"].sum()),
        "left": int(left.sum()),
        "left_without_return": int((left & firms["delisting_return"].isna()).sum()),
        "returned": int((firms["spells"] > 1).sum()),
        "never_listed": int((firms["listed"] == 0).sum()),
        "industry_scheme": panel.industry_scheme,
        "industry_as_of": panel.industry_as_of,
        "features": len(panel.feature_names),
        "availability_unknown": _without_availability(panel),
        "duplicates_removed": _sum(recorded, "duplicate"),
        "rows_dropped": _sum(recorded, "^rows_|dropped"),
        "infinite_values": _sum(recorded, "infinite"),
    }


def _codes(panel: Panel) -> dict[str, int]:
    """Return the largest code of a listed firm-date, and how many are SIC codes of two digits."""
    two = largest = 0
    for part in parts(panel):
        codes = part.industry[part.listed]
        two += int(((codes > 0) & (codes < TWO_DIGITS)).sum())
        largest = max(largest, int(codes.max(initial=0)))
    return {"two_digit_codes": two if panel.industry_scheme == "sic" else 0, "largest_code": largest}


def _spans(dates: np.ndarray, periods_per_year: int) -> dict[str, Any]:
    """Say how many rows a year there are, and where the longest stretch of days without a row is."""
    gaps = np.diff(dates).astype(int)
    longest = int(gaps.argmax()) if len(gaps) else 0
    return {
        "periods_per_year": periods_per_year,
        "rows_per_year": float(len(gaps) / gaps.sum() * 365.25) if len(gaps) else None,
        "usual_gap_days": float(np.median(gaps)) if len(gaps) else None,
        "gap_days": int(gaps[longest]) if len(gaps) else None,
        "gap_from": str(dates[longest]) if len(gaps) else None,
        "gap_to": str(dates[longest + 1]) if len(gaps) else None,
    }


def _without_availability(panel: Panel) -> list[str]:
    """Return features that are not built from prices and of which the source does not say since when they are known."""
    said = panel.source.get("availability", {})
    known = set(panel.feature_names if isinstance(said, str) and said else said if isinstance(said, Mapping) else ())
    for join in _mappings(panel.source.get("as_of_joins")):
        columns = join.get("columns")
        known |= {str(name) for name in columns.values()} if isinstance(columns, Mapping) else set()
    return [name for name in panel.feature_names if name not in known and name.lower() not in FROM_PRICES]


# -- tables ------------------------------------------------------------


def _infinite(panel: Panel) -> pd.DataFrame:
    """Return infinite returns that the loader set aside, as rows of `extreme_returns`."""
    row = {str(date): place for place, date in enumerate(panel.dates)}
    column = {firm: place for place, firm in enumerate(panel.firms.tolist())}
    told = [
        (row.get(str(item.get("date"))), column.get(str(item.get("firm"))), item.get("sign"))
        for item in _mappings(panel.source.get("infinite_returns"))
    ]
    found = [(t, n, sign * np.inf) for t, n, sign in told if t is not None and n is not None and sign in (1, -1)]
    place = np.array([item[:2] for item in found], int).reshape(-1, 2).T
    return pd.DataFrame(
        {
            "date": days(panel.dates[place[0]]),
            "firm": panel.firms[place[1]],
            "return": np.array([item[2] for item in found], float),
            "listed": panel.listed[place[0], place[1]],
        }
    )


def _unclassified(firms: pd.DataFrame) -> pd.DataFrame:
    without = (firms["with_industry"] == 0) & (firms["listed"] > 0)
    return firms.loc[without, ["firm", "listed"]].reset_index(drop=True)


def _recorded(source: Mapping[str, Any]) -> pd.DataFrame:
    """Return the counts that a panel's source tells: of the loader, of other steps, then of each join."""
    steps = [("load", {"rows": source.get("rows")}), ("load", source.get("counts"))]
    steps += [(str(name), value.get("counts")) for name, value in source.items() if isinstance(value, Mapping)]
    steps += [(f"as-of join {i}", join.get("counts")) for i, join in enumerate(_mappings(source.get("as_of_joins")), 1)]
    rows = [(step, name, count) for step, counts in steps for name, count in _counts(counts).items()]
    return pd.DataFrame(rows, columns=["step", "what", "count"])


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _counts(value: Any) -> dict[str, int]:
    """Return the whole numbers of a mapping; a source may hold anything."""
    content = value.items() if isinstance(value, Mapping) else ()
    return {str(name): count for name, count in content if isinstance(count, int) and not isinstance(count, bool)}


def _sum(recorded: pd.DataFrame, pattern: str) -> int | None:
    """Add what the loader counted under names with a pattern in them, None where it did not count."""
    loaded = recorded[recorded["step"] == "load"]
    rows = loaded[loaded["what"].str.contains(pattern)]
    return int(rows["count"].sum()) if len(rows) or "rows" in set(loaded["what"]) else None


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d")
    if value is pd.NaT or isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(float(value))
    return value.item() if isinstance(value, np.generic) else value


def _check(panel: Panel, thresholds: Mapping[str, Any]) -> None:
    """Refuse thresholds that cannot be meant, and a panel of nothing."""
    if not all(panel.shape):
        raise InputError(f"a panel to describe must have dates and firms, found {panel.shape[0]} and {panel.shape[1]}")
    positive = (lambda value: _number(value) and value > 0), "a number above 0"
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "extreme_return": (positive[0], f"{positive[1]}, such as 1.0 for 100%"),
        "stale_rows": (lambda value: _number(value) and value == int(value) >= 1, "a whole number from 1"),
        "split_ratios": (_are_ratios, "a list of numbers above 1, to 100"),
        "split_tolerance": (lambda value: _number(value) and 0 < value < 0.5, "a number above 0 and below 0.5"),
        "split_deviations": positive,
    }
    for name, (good, expected) in checks.items():
        if not good(thresholds[name]):
            raise InputError(f"{name} must be {expected}, found {thresholds[name]!r}")


def _are_ratios(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_number(ratio) and 1 < ratio <= 100 for ratio in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
