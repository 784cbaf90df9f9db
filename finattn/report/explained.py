"""Explained forecasts as text, as JSON, as a page, and as a section of a run's report."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from finattn import looks, plots
from finattn.explain import Explanation
from finattn.plots.explanations import METHODS
from finattn.report.description import print_table, terminal
from finattn.report.page import Figure, embed, render
from finattn.report.sentences import number
from finattn.report.tables import Table
from finattn.storage import atomic_file
from finattn.words import count

FOLDER = "explanations"
CAVEAT = (
    "Attention shows what the model looked at, not why it decided. How far any explanation of this model can be "
    "trusted is said by its audit, and by nothing here."
)
_KINDS = {
    "lag": ("Its own days", "Lag, rows before the decision"),
    "peer": ("Firms, itself included", "Firm"),
    "feature": ("What is known of all firms", "Characteristic"),
}
_MOST = 10
_LONG = 60  # signs of an identifier, or of a model's name, in names of files
_CAPTION = (
    "Orange: what was looked at, shares that sum to one. Blue: what moved the score, hatched where down. The heaviest "
    "keys of each method; methods have units of their own, so that their orders are compared, not their sizes."
)


class Section(NamedTuple):
    """One forecast of a report."""

    title: str
    sentence: str
    figure: Figure
    tables: list[Table]


def sentence(forecast: dict[str, Any]) -> str:
    """Say which forecast it is, and where it stands among those of its date."""
    return (
        f"On {forecast['date']} {looks.label(forecast['model'])} gave {forecast['firm']} the score "
        f"{number(forecast['score'])}, place {forecast['place']} of {count(forecast['firms'], 'firm')}."
    )


def section(found: Explanation, key: str = "0") -> Section:
    """Lay out one explained forecast."""
    forecast = dict(found.made["forecast"])
    title = f"{forecast['firm']}, {forecast['date']}"
    figure = plots.explained_forecast(found.table, _MOST)
    drawn = embed(f"explained-{key}", figure, f"What the forecast of {title} rests on, by method", _CAPTION)
    return Section(title, sentence(forecast), drawn, [*tables(found), made(found)])


def sections(run: Path, most: int = 6) -> list[Section]:
    """Lay out the forecasts of a run that somebody asked about, the newest first."""
    files = sorted((run / FOLDER).glob("*.parquet"), key=lambda file: (-file.stat().st_mtime, file.name))[:most]
    return [section(Explanation.load(file), str(place)) for place, file in enumerate(files)]


def tables(found: Explanation) -> list[Table]:
    """Put the heaviest keys of each kind in rows, the methods beside each other."""
    shown = []
    for kind, (caption, head) in _KINDS.items():
        part = found.table[found.table["kind"] == kind]
        if part.empty:
            continue
        wide = part.pivot_table(index="key", columns="method", values="score", sort=False)
        wide = wide[[method for method in found.methods if method in wide]]
        weight = (wide.abs() / wide.abs().sum()).mean(axis=1)  # each method says as much about the order
        order = weight.nlargest(_MOST).index
        rows = [(str(key), *(number(value, 4) for value in wide.loc[key])) for key in order]
        shown.append(Table(caption, (head, *(METHODS.get(str(method), str(method)) for method in wide)), rows))
    return shown


def made(found: Explanation) -> Table:
    """Say how each method was used."""
    none = "nothing to set"
    rows: list[tuple[str, ...]] = [
        (METHODS.get(method, method), "; ".join(f"{key} {_setting(value)}" for key, value in how.items()) or none)
        for method, how in found.made.items()
        if method != "forecast"
    ]
    return Table("How it was made", ("Method", "settings"), rows, words=True)


def keep(found: Explanation, run: Path) -> Path:
    """Save one explained forecast as a table and as a page in a run's folder `explanations`, and return the page."""
    stem = run / FOLDER / file_name(found.made["forecast"])
    stem.parent.mkdir(exist_ok=True)
    found.save(stem.with_name(f"{stem.name}.parquet"))
    return write(found, stem.with_name(f"{stem.name}.html"))


def file_name(forecast: Mapping[str, Any]) -> str:
    """Name a forecast's files by date, firm and model; where a name had to be changed or cut, with a hash of it.

    Examples
    --------
    >>> file_name({"date": "2020-03-16", "firm": "AAPL", "model": "both"})
    '2020-03-16-AAPL-both'
    >>> file_name({"date": "2020-03-16", "firm": "A|B", "model": "both"})
    '2020-03-16-A_B-both-b4737815'
    """
    whole = "-".join(str(forecast[key]) for key in ("date", "firm", "model"))
    parts = (re.sub(r"[^A-Za-z0-9_.-]", "_", str(forecast[key]))[:_LONG] for key in ("date", "firm", "model"))
    plain = "-".join(parts)
    return plain if plain == whole else f"{plain}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def write(found: Explanation, path: Path) -> Path:
    """Write one explained forecast as a page of its own; all text is escaped."""
    with atomic_file(path) as temporary:
        temporary.write_text(
            render("explained.html.j2", {"section": section(found), "caveat": CAVEAT}), encoding="utf-8"
        )
    return path


def show(found: Explanation, console: Console | None = None) -> None:
    """Print one explained forecast."""
    console = console or terminal()
    console.print(Text(sentence(dict(found.made["forecast"]))), soft_wrap=True)
    for table in [*tables(found), made(found)]:
        print_table(console, table)
    console.print(Text(CAVEAT), soft_wrap=True)


def as_dict(found: Explanation) -> dict[str, Any]:
    """Return everything as JSON can hold it."""
    rows: Sequence[Any] = json.loads(found.table.to_json(orient="records", date_format="iso"))
    return {"made": {name: dict(how) for name, how in found.made.items()}, "caveat": CAVEAT, "scores": rows}


def _setting(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
