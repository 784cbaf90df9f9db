"""A description of a panel for people: as text on a terminal, and as one HTML file that needs no network."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from finattn.data.describe import Description
from finattn.report import coverage
from finattn.report.page import Figure, embed, render
from finattn.report.sentences import MISSING
from finattn.report.tables import Table
from finattn.storage import atomic_file
from finattn.words import count

TEXT_ROWS, PAGE_ROWS = 10, 30  # of a table that lists things found
UNRECORDED = "not recorded"


def show(found: Description, name: str, console: Console | None = None) -> None:
    """Print a description: facts, warnings, then tables; of long ones the first rows."""
    console = console or terminal()
    console.print(Text(f"Panel {_printable(name)}", style="bold"))
    facts = RichTable(box=None, show_header=False, padding=(0, 2, 0, 0))
    for key, value in summary(found):
        facts.add_row(Text(key), Text(_printable(value)))
    console.print(facts)
    console.print()
    for caution in found.warnings:
        console.print(Text(f"! {_printable(caution.says)}"), soft_wrap=True)
    for caveat in found.caveats:
        console.print(Text(f"  The source says: {_printable(caveat)}"), soft_wrap=True)
    for table in tables(found, TEXT_ROWS).values():
        print_table(console, table)


def print_table(console: Console, table: Table) -> None:
    """Print a table below its caption, with its note."""
    console.print()
    console.print(Text(table.caption if table.rows else f"{table.caption}: none", style="bold"), soft_wrap=True)
    if table.rows:
        console.print(as_rich(table))
    if table.note:
        console.print(Text(table.note), soft_wrap=True)


def terminal() -> Console:
    """Return the terminal that is printed on, or 120 columns where it is none."""
    return Console(width=None if sys.stdout.isatty() else 120)


def write(found: Description, name: str, path: str | Path) -> Path:
    """Write a description as one HTML file, whole or absent; all text from data is escaped."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(page(found, name).encode("utf-8", "replace"))
    return Path(path)


def page(found: Description, name: str) -> str:
    """Return a description as an HTML page that holds everything it shows."""
    return render(
        "description.html.j2",
        {
            "name": name,
            "facts": summary(found),
            "warnings": [caution.says for caution in found.warnings],
            "caveats": found.caveats,
            "figures": _figures(found),
            "tables": tables(found, PAGE_ROWS),
            "thresholds": json.dumps(found.thresholds, indent=2),
        },
    )


def summary(found: Description) -> list[tuple[str, str]]:
    """List what a reader asks first; what the source does not say is called not recorded."""
    facts = found.facts
    scheme = {"sic": "SIC", "gics": "GICS"}.get(facts["industry_scheme"], "a scheme of its own")
    known = "as known on each date" if facts["industry_as_of"] else "not marked as known on each date"
    coded = f"{_percent(facts['with_industry'], facts['firm_dates'])} ({scheme}, {known})"
    gap = f"{count(facts['gap_days'] or 0, 'day')}, from {facts['gap_from']} to {facts['gap_to']}"
    rows = f"{facts['rows_per_year']:.0f}" if facts["rows_per_year"] else MISSING
    return [
        ("Dates", f"{facts['dates']:,}, from {facts['first']} to {facts['last']}"),
        ("Rows a year", rows),
        ("Longest gap", gap if facts["gap_days"] else MISSING),
        ("Firms", f"{facts['firms']:,}"),
        ("Enter", f"{facts['entered']:,}"),
        ("Leave", f"{facts['left']:,}"),
        ("Leave and come back", f"{facts['returned']:,}"),
        ("Listed firm-dates", f"{facts['firm_dates']:,}"),
        ("With a return", _percent(facts["with_return"], facts["firm_dates"])),
        ("With an industry code", coded if facts["with_industry"] else "none"),
        ("Features", f"{facts['features']:,}"),
        ("Duplicates removed", _recorded(facts["duplicates_removed"])),
        ("Rows dropped", _recorded(facts["rows_dropped"])),
    ]


# -- tables ------------------------------------------------------------


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _decimal(value: float) -> str:
    return f"{value:,.1f}"


def _hundred(share: float) -> str:
    return f"{100 * share:,.2f}"


def _day(value: pd.Timestamp) -> str:
    return f"{value:%Y-%m-%d}"


def _flag(value: bool) -> str:
    return "yes" if value else "no"


# Each table: its caption, and of each column the heading, the name and how a value is written.
_LAYOUT: dict[str, tuple[str, tuple[tuple[str, str, Callable[[Any], str]], ...]]] = {
    "years": ("Coverage by year", (
        ("Year", "year", str), ("Dates", "dates", _whole), ("Firms", "firms", _whole),
        ("Firms a date", "a_date", _decimal), ("With return, %", "with_return", _hundred), ("Enter", "entered", _whole),
        ("Leave", "left", _whole))),
    "fields": ("Missing, of listed firm-dates", (
        ("Field", "field", str), ("Missing", "missing", _whole), ("Missing, %", "share", _hundred),
        ("Firms without", "firms_without", _whole), ("First", "first", _day), ("Last", "last", _day))),
    "leavers": ("Firms that leave, the last first", (
        ("Firm", "firm", str), ("First", "first", _day), ("Last", "last", _day),
        ("Delisting return, %", "delisting_return", _hundred))),
    "extremes": ("Extreme returns, the largest first", (
        ("Firm", "firm", str), ("Date", "date", _day), ("Return, %", "return", _hundred), ("Listed", "listed", _flag))),
    "splits": ("Suspected unadjusted splits, the most suspicious first", (
        ("Firm", "firm", str), ("Date", "date", _day), ("Return, %", "return", _hundred), ("Near", "split", str),
        ("Deviations", "deviations", _decimal))),
    "stale": ("Prices that do not move, the longest first", (
        ("Firm", "firm", str), ("From", "start", _day), ("To", "end", _day), ("Rows", "rows", _whole),
        ("Until its last row", "until_last", _flag))),
    "thin": ("Dates on which less than half of the usual number of firms is listed", (
        ("Date", "date", _day), ("Firms", "firms", _whole), ("Usual", "usual", _whole))),
    "unclassified": ("Firms without an industry code", (("Firm", "firm", str), ("Listed rows", "listed", _whole))),
    "recorded": ("Rows, as the source records them", (
        ("Step", "step", str), ("What", "what", str), ("Count", "count", _whole))),
}  # fmt: skip
_FOUND = ("leavers", "extremes", "splits", "stale", "thin", "unclassified")  # the number of rows is a finding


def tables(found: Description, rows: int) -> dict[str, Table]:
    """Return the tables of a description as text; all years, and of what else is long the first rows.

    Where no firm has an industry code, which is one fact, there is no table of all firms without.
    """
    names = [name for name in _LAYOUT if name != "unclassified" or found.facts["with_industry"]]
    return {name: _table(_rows(found, name, rows), name, rows) for name in names}


def _rows(found: Description, name: str, rows: int) -> pd.DataFrame:
    """Return a table of a description, in the order in which it is shown."""
    if name == "leavers":
        return found.firms[found.firms["left"]].sort_values(["last", "firm"], ascending=[False, True])
    if name == "years":
        return found.years.assign(a_date=found.years["firm_dates"] / found.years["dates"])
    table: pd.DataFrame = getattr(found, name)
    if name == "fields" and len(table) > rows:  # those that lack most are shown
        table = table.sort_values("share", ascending=False, kind="stable")
    return table


def _table(table: pd.DataFrame, name: str, rows: int) -> Table:
    caption, columns = _LAYOUT[name]
    shown = table if name == "years" else table.head(rows)
    left = len(table) - len(shown)
    return Table(
        caption=f"{caption} ({len(table):,})" if name in _FOUND and len(table) else caption,
        header=tuple(heading for heading, *_ in columns),
        rows=[tuple(_cell(row[column], words) for _, column, words in columns) for row in shown.to_dict("records")],
        note=f"{left:,} more; finattn data describe --json lists all." if left else "",
    )


def _cell(value: Any, words: Callable[[Any], str]) -> str:
    if value is pd.NaT or isinstance(value, float) and np.isnan(value):
        return MISSING
    return "infinite" if isinstance(value, float) and np.isinf(value) else words(value)


def as_rich(table: Table) -> RichTable:
    """Return a table as a terminal shows it."""
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, heading in enumerate(table.header):
        made.add_column(Text(heading), justify="right" if place else "left")
    for row in table.rows:
        made.add_row(*(Text(_printable(cell)) for cell in row))
    return made


# -- words ------------------------------------------------------------


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}%" if whole else MISSING


def _recorded(number: int | None) -> str:
    return UNRECORDED if number is None else f"{number:,}"


def _printable(text: str) -> str:
    """Replace what would move the cursor or change colours of a terminal; names of firms come from files."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


# -- figures ------------------------------------------------------------


def _figures(found: Description) -> dict[str, Figure]:
    years, fields = coverage.firms_by_year(found.years), coverage.missing_by_year(found.fields_by_year)
    return {
        "firms": embed(
            "firms",
            years,
            "Firms listed on a date, on average over each year, and firms that enter and leave",
            "Above: firms listed on a date, mean of the year. Below: firms listed for the first and for the last time.",
        ),
        "missing": embed(
            "missing",
            fields,
            "Share of listed firm-dates without each field, by year",
            "Per cent of listed firm-dates without the field: white is none, dark is all"
            f"{', of the fields that lack most' if len(found.fields) > coverage.FIELDS_SHOWN else ''}.",
        ),
    }
