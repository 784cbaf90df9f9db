"""A run's peer network as tables: over time, beside industries, what is new, and whether it holds out of sample."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console

from finattn.networks import PeerNetwork
from finattn.report import explorer
from finattn.report.description import print_table, terminal
from finattn.report.sentences import MISSING, number, p_text, plus_minus
from finattn.report.tables import Table

FOLDER = "peers"
_NEW = 10


class Section(NamedTuple):
    """A peer network of a report."""

    caveat: str
    explorer: str
    """Path of the explorer from the report, "" where there is none."""
    tables: list[Table]


def read(run: Path) -> Section | None:
    """Lay out the peer network of a run, None where it has none."""
    folder = run / FOLDER
    if not (folder / "edges.parquet").is_file():
        return None
    found = {name: pd.read_parquet(file) for name in _TABLES if (file := folder / f"{name}.parquet").is_file()}
    page = f"{FOLDER}/{explorer.FILE}" if (folder / explorer.FILE).is_file() else ""
    return Section(explorer.caveat(PeerNetwork.load(folder)), page, tables(found))


def tables(found: Mapping[str, pd.DataFrame]) -> list[Table]:
    """Return the tables of `peers_pipeline.judge` as they are shown."""
    return [lay_out(found[name]) for name, lay_out in _TABLES.items() if name in found and len(found[name])]


def show(found: Mapping[str, pd.DataFrame], console: Console | None = None) -> None:
    """Print them."""
    console = console or terminal()
    for table in tables(found):
        print_table(console, table)


def as_dict(found: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return them as JSON can hold them; NaN becomes null."""
    return {name: json.loads(table.to_json(orient="records", date_format="iso")) for name, table in found.items()}


def _statistics(found: pd.DataFrame) -> Table:
    columns = ("density", "reciprocity", "asymmetry", "turnover", "half_life", "modularity")
    rows: list[tuple[str, ...]] = []
    for row in found.to_dict("records"):
        counts = f"{row['date']:%Y-%m-%d}", f"{row['firms']:,}", f"{row['edges']:,}"
        rows.append((*counts, *(number(row[name], 2) for name in columns)))
    measures = ("Density", "Reciprocity", "Asymmetry", "Turnover", "Half-life, days", "Modularity")
    note = "Turnover: the share of the links of the date before that are gone. Asymmetry: 0 give and take, 1 one way."
    return Table("The network over time", ("As of", "Firms", "Links", *measures), rows, note)


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
        (_named(row["firm"], row["name"]), _named(row["peer"], row["peer_name"]), number(row["weight"], 3), _ends(row))
        for row in found[:_NEW].to_dict("records")
    ]
    header = ("Firm", "asks", "Weight", "Interval")
    return Table("The strongest peers outside the industry", header, rows, words=True)


def _regressions(caption: str, note: str) -> Callable[[pd.DataFrame], Table]:
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
        return Table(caption, ("Of (regressed on)", "Coefficient ± SE", "t", "p", "Dates"), rows, note)

    return lay_out


def _level(name: str) -> str:
    return name.replace("industry_0", "finest level").replace("industry_", "level ")


def _named(identifier: str, name: str) -> str:
    return identifier if name in ("", identifier) else f"{identifier} {name}"


def _ends(row: Mapping[Any, Any]) -> str:
    return MISSING if pd.isna(row["lower"]) else f"{number(row['lower'], 3)} to {number(row['upper'], 3)}"


_TABLES: dict[str, Callable[[pd.DataFrame], Table]] = {
    "statistics": _statistics,
    "comparison": _comparison,
    "new_peers": _new_peers,
    "comovement": _regressions(
        "Do peers move together after the as-of date?",
        "A firm's return on those of its peers and of its industry on the same rows, the market taken out; errors of "
        "Driscoll and Kraay.",
    ),
    "lead": _regressions(
        "Do peers' returns lead?",
        "The next return on past ones of peers, of the industry and of the firm itself, averaged over dates with "
        "errors of Newey and West.",
    ),
}
