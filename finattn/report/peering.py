"""A run's peer network as tables: over time, beside industries, what is new, and whether it holds out of sample."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console

from finattn.networks import PeerNetwork
from finattn.report import explorer
from finattn.report.description import print_table, terminal
from finattn.report.sentences import LEVEL, MISSING, number, p_text, plus_minus
from finattn.report.tables import Table
from finattn.storage import read_table

FOLDER = "peers"
_NEW = 10
_FEWEST = 20  # dates of which something is claimed
_MEASURES = ("density", "reciprocity", "asymmetry", "turnover", "half_life", "modularity")


class Section(NamedTuple):
    """A peer network of a report."""

    caveat: str
    """What the weights are, and what was found of them."""
    explorer: str
    """Path of the explorer from the report, "" where there is none."""
    tables: list[Table]


def read(run: Path) -> Section | None:
    """Lay out the peer network of a run, None where it has none; InputError where a file of it is damaged."""
    folder = run / FOLDER
    if not (folder / "edges.parquet").is_file():
        return None
    found = {
        name: read_table(file, columns, "run finattn peers again")
        for name, columns in _COLUMNS.items()
        if (file := folder / f"{name}.parquet").is_file()
    }
    page = f"{FOLDER}/{explorer.FILE}" if (folder / explorer.FILE).is_file() else ""
    caveat = " ".join([explorer.caveat(PeerNetwork.load(folder)), *findings(found)])
    return Section(caveat, page, tables(found))


def tables(found: Mapping[str, pd.DataFrame]) -> list[Table]:
    """Return the tables of `peers_pipeline.judge` as they are shown."""
    shown = [lay_out(found[name]) for name, lay_out in _TABLES.items() if name in found]
    return [table for table in shown if table.rows]


def findings(found: Mapping[str, pd.DataFrame]) -> list[str]:
    """Say what the tables of `peers_pipeline.judge` show: whether peers lead, move together, and are the industry's.

    Examples
    --------
    >>> numbers = {"estimate": 0.02, "standard_error": 0.02, "p_value": 0.32, "dates": 500}
    >>> findings({"lead": pd.DataFrame([{"regression": "all", "name": "peers", **numbers}])})
    ["These peers were not shown to lead: 0.020 ± 0.020 on 500 dates, p = 0.32, beside the firm's own past return."]
    """
    makers = {"lead": _lead, "comovement": _comovement, "comparison": _overlap}
    said = [] if "lead" in found or not found else ["Whether these peers lead could not be tested."]
    return [*said, *filter(None, (make(found[name]) for name, make in makers.items() if name in found))]


def _lead(found: pd.DataFrame) -> str:
    (row,), group = _rows(found, "all", "peers"), _rows(found, "all", "group")
    says = "These peers led", "Returns ran against the past ones of these peers", "These peers were not shown to lead"
    beside = "past returns of the industry and of the firm itself" if group else "the firm's own past return"
    return f"{_claim(row, *says)}, beside {beside}."


def _comovement(found: pd.DataFrame) -> str:
    group = _rows(found, "both", "group")
    (row,) = _rows(found, "both" if group else "peers", "peers")
    says = "moved with these peers", "moved against these peers", "were not shown to move with these peers"
    beside = f", beside others of their industry, whose coefficient is {_size(group[0])}" if group else ""
    return f"After the as-of dates firms {_claim(row, *says)}{beside}."


def _overlap(found: pd.DataFrame) -> str:
    """Speak of the level that co-movement and lead are held beside, the last but one, at the last date."""
    levels = found["grouping"].unique()
    row = found[found["grouping"] == levels[max(0, len(levels) - 2)]].iloc[-1]
    if math.isnan(row["overlap"]):
        return ""
    where = f"{_level(row['grouping'])} of industries, {row['date']:%Y-%m-%d}"
    return (
        f"{row['overlap']:.0%} of the heaviest peers are of the same industry, {row['chance']:.0%} by chance ({where})."
    )


def _rows(found: pd.DataFrame, regression: str, name: str) -> list[dict[Any, Any]]:
    return found[(found["regression"] == regression) & (found["name"] == name)].to_dict("records")


def _claim(row: Mapping[Any, Any], above: str, below: str, neither: str) -> str:
    """Say something of a coefficient: nothing is claimed of one that is not beyond chance, or of few dates."""
    says = above if row["estimate"] > 0 else below
    says = says if row["p_value"] < LEVEL and row["dates"] >= _FEWEST else neither
    return f"{says}: {_size(row)} on {row['dates']:,.0f} dates, {p_text(row['p_value'])}"


def _size(row: Mapping[Any, Any]) -> str:
    return plus_minus(row["estimate"], row["standard_error"])


def show(found: Mapping[str, pd.DataFrame], console: Console | None = None) -> None:
    """Print them."""
    console = console or terminal()
    for table in tables(found):
        print_table(console, table)


def as_dict(found: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return them as JSON can hold them; NaN becomes null."""
    return {name: json.loads(table.to_json(orient="records", date_format="iso")) for name, table in found.items()}


def _statistics(found: pd.DataFrame) -> Table:
    rows: list[tuple[str, ...]] = []
    for row in found.to_dict("records"):
        counts = f"{row['date']:%Y-%m-%d}", f"{row['firms']:,}", f"{row['edges']:,}", weight(1 / row["firms"])
        rows.append((*counts, *(number(row[name], 2) for name in _MEASURES)))
    measures = ("Density", "Reciprocity", "Asymmetry", "Turnover", "Half-life, days", "Modularity")
    note = (
        "Even weight: of each firm if a forecast drew on all alike. Turnover: the share of the links of the date "
        "before that are gone. Asymmetry: 0 give and take, 1 one way."
    )
    return Table("The network over time", ("As of", "Firms", "Links", "Even weight", *measures), rows, note)


def _comparison(found: pd.DataFrame) -> Table:
    rows: list[tuple[str, ...]] = []
    for row in found.dropna(subset=["overlap"]).to_dict("records"):
        shares = (number(row[name], 2) for name in ("overlap", "mass_inside", "chance", "enrichment"))
        shared = number(row["adjusted_mutual_information"], 2)
        rows.append((f"{row['date']:%Y-%m-%d}, {_level(row['grouping'])}", *shares, p_text(row["p_value"]), shared))
    header = ("As of, industries", "Overlap", "Weight inside", "By chance", "Enrichment", "p", "Shared information")
    note = (
        "Overlap: share of a firm's heaviest peers in its industry. Enrichment: links inside against networks with the "
        "same degrees, drawn at random; p is one-sided. Shared information: of communities and industries, adjusted."
    )
    return Table("Beside industries", header, rows, note)


def _new_peers(found: pd.DataFrame) -> Table:
    rows: list[tuple[str, ...]] = [
        (_named(row["firm"], row["name"]), _named(row["peer"], row["peer_name"]), weight(row["weight"]), _ends(row))
        for row in found[:_NEW].to_dict("records")
    ]
    header = ("Firm", "asks", "Weight", "Interval")
    return Table("The strongest peers outside the industry", header, rows, words=True)


def _regressions(caption: str, note: str, alone: str) -> Callable[[pd.DataFrame], Table]:
    """Lay out regressions; `alone` is the note of those that know no industry."""

    def lay_out(found: pd.DataFrame) -> Table:
        rows: list[tuple[str, ...]] = [
            (
                f"{row['name']} ({row['regression']})",
                plus_minus(row["estimate"], row["standard_error"], 3),
                number(row["t"], 1),
                p_text(row["p_value"]),
                f"{row['dates']:,}",
            )  # fmt: skip
            for row in found.to_dict("records")
        ]
        said = note if (found["name"] == "group").any() else alone
        return Table(caption, ("Of (regressed on)", "Coefficient ± SE", "t", "p", "Dates"), rows, said)

    return lay_out


def _level(name: str) -> str:
    return name.replace("industry_0", "finest level").replace("industry_", "level ")


def _named(identifier: str, name: str) -> str:
    return identifier if name in ("", identifier) else f"{identifier} {name}"


def _ends(row: Mapping[Any, Any]) -> str:
    return MISSING if pd.isna(row["lower"]) else f"{weight(row['lower'])} to {weight(row['upper'])}"


def weight(value: float) -> str:
    """Write a weight with three significant digits: those of large panels are small, and so are their differences.

    Examples
    --------
    >>> weight(0.0070312), weight(0.5), weight(0.0)
    ('0.00703', '0.500', '0')
    """
    return number(value, max(0, 2 - math.floor(math.log10(value)))) if value > 0 else "0"


_TABLES: dict[str, Callable[[pd.DataFrame], Table]] = {
    "statistics": _statistics,
    "comparison": _comparison,
    "new_peers": _new_peers,
    "comovement": _regressions(
        "Do peers move together after the as-of date?",
        "A firm's return on those of its peers and of its industry on the same rows, the market taken out; errors of "
        "Driscoll and Kraay.",
        "A firm's return on those of its peers on the same rows, the market taken out; errors of Driscoll and Kraay. "
        "Without industry codes: peers of one industry move together anyway.",
    ),
    "lead": _regressions(
        "Do peers' returns lead?",
        "The next return on past ones of peers, of the industry and of the firm itself, averaged over dates with "
        "errors of Newey and West.",
        "The next return on past ones of peers and of the firm itself, averaged over dates with errors of Newey and "
        "West. Without industry codes: what leads may be the industry.",
    ),
}

_REGRESSED = ("regression", "name", "estimate", "standard_error", "t", "p_value", "dates")
_COLUMNS: dict[str, tuple[str, ...]] = {
    "statistics": ("date", "firms", "edges", *_MEASURES),
    "comparison": ("date", "grouping", "overlap", "mass_inside", "chance", "enrichment", "p_value",
                   "adjusted_mutual_information"),
    "new_peers": ("firm", "name", "peer", "peer_name", "weight", "lower", "upper"),
    "comovement": _REGRESSED,
    "lead": _REGRESSED,
}  # fmt: skip
"""What each table must have to be shown."""
