"""The ladder as a page and as text: what each rung is worth and adds, and an answer to each question."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from finattn.looks import label
from finattn.report.description import as_rich, terminal
from finattn.report.page import render
from finattn.report.sentences import MISSING, number, plus_minus
from finattn.report.tables import Table, settings
from finattn.storage import atomic_file

_NOTE = (
    "± is one HAC standard error; p is one-sided, that the rung is no better than the one below, and Holm's adjusts it "
    "over all rungs. In the set: the model confidence set at 10%, which holds the best rung in nine samples of ten. "
    "The Sharpe ratio is after costs, a year; beside it the probability that it is above what the best of as many "
    "trials without skill would show, of all that the ledger knows on these data (deflated Sharpe ratio, Bailey and "
    "López de Prado 2014)."
)


def write(folder: Path) -> Path:
    """Write ladder.html from the files of a ladder's folder; all text is escaped."""
    table, trials = (pd.read_parquet(folder / f"{name}.parquet") for name in ("table", "trials"))
    context = {
        "answers": read_answers(folder),
        "rungs": rungs(table),
        "adds": additions(table),
        "trials": tuning(trials),
        "facts": json.loads((folder / "provenance.json").read_text(encoding="utf-8")),
    }
    with atomic_file(folder / "ladder.html") as temporary:
        temporary.write_text(render("ladder.html.j2", context), encoding="utf-8")
    return folder / "ladder.html"


def show(folder: Path, console: Console | None = None) -> None:
    """Print the answers and the table of a ladder's folder."""
    console = console or terminal()
    console.print(as_rich(rungs(pd.read_parquet(folder / "table.parquet"))))
    for sentence in read_answers(folder):
        console.print(Text(sentence), soft_wrap=True)


def as_dict(folder: Path) -> dict[str, Any]:
    """Return the answers, the table and the trials of a ladder's folder as JSON can hold them."""
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("table", "trials")}
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
    return {"answers": read_answers(folder), **rows}


def read_answers(folder: Path) -> list[str]:
    """Read the answers of a ladder's folder."""
    return list(json.loads((folder / "answers.json").read_text(encoding="utf-8")))


def rungs(table: pd.DataFrame) -> Table:
    """Lay out `finattn.ladder.ladder_table` as text."""
    cells = [_cells(row) for row in table.to_dict("records")]
    return Table("The ladder", tuple(cells[0]), [tuple(row.values()) for row in cells], _NOTE)


def _cells(row: Mapping[Any, Any]) -> dict[str, str]:
    below = row["below"]
    return {
        "Rung": label(row["rung"]),
        "Rank IC ± SE": plus_minus(row["rank_ic"], row["standard_error"], 3),
        "to": label(below) if isinstance(below, str) else MISSING,
        "difference ± SE": plus_minus(row["difference"], row["difference_error"], 3),
        "p": number(row["p_value"], 3),
        "Holm": number(row["p_holm"], 3),
        "in the set": "yes" if row["in_confidence_set"] else "no",
        "net Sharpe ± SE": plus_minus(row["net_sharpe"], row["net_sharpe_error"], 2),
        "deflated": number(row["deflated_sharpe"], 2),
    }


def additions(table: pd.DataFrame) -> Table:
    """Lay out what each rung adds to the one that it is compared with."""
    rows: list[tuple[str, ...]] = [(label(row["rung"]), str(row["adds"])) for row in table.to_dict("records")]
    return Table("What each rung adds to the one that it is compared with", ("Rung", "adds"), rows, words=True)


def tuning(trials: pd.DataFrame) -> Table:
    """Lay out what each rung was tuned over."""
    rows: list[tuple[str, ...]] = [
        (
            label(row["rung"]),
            settings(json.loads(row["settings"])),
            number(row["valid_rank_ic"], 3),
            "yes" if row["chosen"] else "",
        )
        for row in trials.to_dict("records")
        if row["settings"] != "{}"
    ]
    header = ("Rung", "settings", "rank IC on the first fold's validation dates", "chosen")
    return Table("What each rung was tuned over", header, rows, words=True)
