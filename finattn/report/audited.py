"""A run's audit as text, as JSON, and as a section of the run's report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich.console import Console
from rich.text import Text

from finattn import plots
from finattn.explain import Audit
from finattn.looks import label
from finattn.plots.explanations import METHODS
from finattn.report.description import print_table, terminal
from finattn.report.page import Figure, embed
from finattn.report.sentences import MISSING, number
from finattn.report.tables import Table

FOLDER = "audit"
CAVEAT = (
    "Attention shows what a model looked at, not why it decided; this says how far its explanations may be believed, "
    "on the dates that were audited and by the methods named."
)
_KINDS = {
    "lag": "its own days", "peer": "peers", "feature": "characteristics", "reference": "reference firms", "all": "all",
}  # fmt: skip
_CAPTION = (
    "Rank IC as the keys that a method calls heaviest are taken away first, and as keys are in random order (grey, "
    "with its 95% interval). A line below the grey one found what matters; differences are in the table."
)
_SETTINGS = {"uniform": "made even", "permuted": "permuted", "seed": "of fits with another seed"}


class Section(NamedTuple):
    """An audit, laid out."""

    headline: str
    sentences: tuple[str, ...]
    trusted: bool
    figure: Figure | None
    tables: list[Table]


def section(found: Audit) -> Section:
    """Lay an audit out."""
    curves = found.details.get("deletion_curves")
    drawn = None
    if curves is not None and len(curves):
        figure = plots.deletion_curves(curves)
        drawn = embed("audit", figure, "What rank IC remains as important keys are taken away", _CAPTION)
    verdict = found.verdict
    return Section(verdict.headline, (which(found), *verdict.sentences), verdict.trusted, drawn, tables(found))


def which(found: Audit) -> str:
    """Say which model was audited, and on which forecasts."""
    made = found.made
    fits = f"{made['fits']} fit" + "s" * (made["fits"] != 1)
    said = f"Audited: {label(made['model'])}, {fits}"
    if "fold" not in made:
        return f"{said}."
    return f"{said} of fold {made['fold']}, on {made['decisions']} dates from {made['first']} to {made['last']}."


def read(run: Path) -> Section | None:
    """Lay out the audit of a run, None where it has none."""
    folder = run / FOLDER
    return section(Audit.load(folder)) if folder.is_dir() else None


# -- tables -----------------------------------------------------------------------------------------------------------

_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("deletion", "area", "Deletion, rank IC beyond random"),
    ("infidelity", "infidelity", "Infidelity / by chance"),
    ("agreement", "kendall", "Agreement with attention, τ"),
    ("randomisation", "absolute", "Likeness once all is forgotten"),
    ("seeds", "rank_correlation", "Likeness over seeds"),
    ("days", "rank_correlation", "Likeness over days"),
    ("sensitivity", "sensitivity", "Moved by shaken inputs / by chance"),
)


def tables(found: Audit, intervals: bool = True) -> list[Table]:
    """Return what was found of each method and kind, and of attention that is other than it was."""
    write = _with_interval if intervals else _plain
    return [one for one in (_methods(found, write), _attention(found, write)) if one.rows]


def _methods(found: Audit, write: Callable[[pd.Series], str]) -> Table:
    believed = {**dict.fromkeys(found.verdict.doubted, "no"), **found.verdict.believed}
    by = found.table.set_index(["check", "figure", "method", "kind"]).sort_index()
    rows = []
    for kind, method in sorted((name.removesuffix(")").split(" (")[::-1] for name in believed), key=_place):
        cells = [_cell(by, (check, figure, method, kind), write) for check, figure, _ in _COLUMNS]
        says = believed[f"{method} ({kind})"]
        rows.append((f"{METHODS.get(method, method)}, {_KINDS.get(kind, kind)}", says, *cells))
    header = ("Method, kind of key", "Believed", *(head for *_, head in _COLUMNS))
    note = (
        "In brackets the 95% interval, each for itself: of many figures one in forty is beyond chance by chance. After "
        "a stroke what a map that knows nothing gives, where that is not 0."
    )
    return Table("What was found of each method", header, rows, note)


def _place(name: list[str]) -> tuple[int, int]:
    """Return where a kind and a method stand: kinds in their order, attention first."""
    kind, method = name
    return list(_KINDS).index(kind), list(METHODS).index(method)


def _cell(by: pd.DataFrame, key: tuple[str, str, str, str], write: Callable[[pd.Series], str]) -> str:
    if key not in by.index:
        return MISSING
    row = by.loc[[key]].iloc[0]
    return write(row) + (f" / {row['chance']:.2f}" if row["chance"] else "")


def _with_interval(row: pd.Series) -> str:
    ends = "" if pd.isna(row["lower"]) else f" ({number(row['lower'])} to {number(row['upper'])})"
    return _plain(row) + ends


def _plain(row: pd.Series) -> str:
    return number(row["value"])


def _attention(found: Audit, write: Callable[[pd.Series], str]) -> Table:
    part = found.table[found.table["check"].isin(["replaced", "apart", "adversary"])]
    rows = []
    for (method, kind), some in part.groupby(["method", "kind"], sort=False):
        by = some.set_index("figure")
        cells = (write(by.loc[[name]].iloc[0]) if name in by.index else MISSING for name in _MOVED)
        what = _SETTINGS.get(str(method), f"trained to be elsewhere, {str(method).removeprefix('adversary ')}")
        rows.append((f"{what}, {_KINDS.get(str(kind), str(kind))}", *cells))
    header = ("Attention", "Distance of weights", "Rank correlation of scores", "Change of rank IC")
    note = "Distances are Jensen-Shannon, from 0 to 1. The number after a comma is the weight of being elsewhere."
    return Table("When attention is other than it was", header, rows, note)


_MOVED = ("distance", "rank_correlation", "rank_ic_change")

# -- as text, as JSON -------------------------------------------------------------------------------------------------


def show(found: Audit, console: Console | None = None) -> None:
    """Print an audit; intervals are in the report and in the JSON."""
    console = console or terminal()
    console.print(Text(f"{which(found)}\n{found.verdict}"), soft_wrap=True)
    for table in tables(found, intervals=False):
        print_table(console, table)
    console.print(Text(CAVEAT), soft_wrap=True)


def as_dict(found: Audit) -> dict[str, Any]:
    """Return everything as JSON can hold it."""
    rows = json.loads(found.table.to_json(orient="records"))  # what is undefined becomes null
    verdict = found.verdict
    said = {"trusted": verdict.trusted, "headline": verdict.headline, "sentences": list(verdict.sentences)}
    kept = {"believed": dict(verdict.believed), "doubted": dict(verdict.doubted)}
    return {"verdict": {**said, **kept}, "made": dict(found.made), "caveat": CAVEAT, "figures": rows}
