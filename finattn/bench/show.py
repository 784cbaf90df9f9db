"""The costs of attention as tables on a terminal, as JSON, and as a figure."""

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from finattn.bench.costs import KERNELS, Sizes, cells, costs, measure_apart
from finattn.bench.tables import crossings, growth
from finattn.looks import STYLES, finish
from finattn.report.description import terminal
from finattn.storage import atomic_file, write_json

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_COLOURS = dict(zip(KERNELS, (style.colour for style in STYLES.values()), strict=False))
_SHOWN = ("operations", "seconds", "memory", "peak measured")
_ROWS = ((1, "operations"), (2, "seconds"), (3, "bytes"), (3, "peak_bytes"))


def attention(sizes: Sizes, out: str | Path | None = None, as_json: bool = False) -> None:
    """Measure, print tables (or JSON), and write bench_attention.json and .html into a folder where one is given.

    Each size runs in a fresh process, see `measure_apart`: some seconds for each, of which most go to its start.

    Parameters
    ----------
    sizes : what to measure. out : folder for the two files. as_json : print what bench_attention.json holds.

    Examples
    --------
    A billion firms are too many to be run: what is printed is by formula alone.

    >>> import contextlib, io
    >>> from finattn.bench import Sizes, attention
    >>> with contextlib.redirect_stdout(io.StringIO()) as printed:
    ...     attention(Sizes(firms=[10**9], lookback=[10**4]), as_json=True)
    >>> [(row["cheap"], row["by"], row["by_formula"]) for row in json.loads(printed.getvalue())["crossings"]]
    [('linear', 'firms', 17), ('band', 'lookback', 7)]
    """
    aside = Console(stderr=True)
    chosen = track(cells(sizes), "measuring", console=aside, transient=True, disable=not aside.is_terminal)
    table = costs(chosen, measure_apart)
    content = {
        "bench": "attention",
        "sizes": asdict(sizes),
        "threads": torch.get_num_threads(),
        "unit": "one date, forward, float32",
        "costs": _records(table),
        "growth": _records(growth(table)),
        "crossings": _records(crossings(table)),
    }
    if as_json:
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        show(table, terminal())
    if out is not None:
        write_json(Path(out) / "bench_attention.json", content)
        with atomic_file(Path(out) / "bench_attention.html") as temporary:
            page = attention_costs(table).to_html(include_plotlyjs=True, div_id="attention_costs")
            temporary.write_text(page, encoding="utf-8")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(table.to_json(orient="records"))  # NaN becomes null


def show(table: pd.DataFrame, console: Console) -> None:
    """Print costs, how they grow, and from where on the cheap kernels are cheaper."""
    first = table.iloc[0]
    title = f"Attention of one date: width {first.width}, {first.heads} heads; bands in blocks of {first.days} days"
    named: tuple[str, ...] = ("attention", "firms", "lookback", *_SHOWN)
    console.print(_rich(title, named, map(_cost, table.to_dict("records"))))
    console.print("Operations and memory are by formula. A peak of a few MiB is noise; — was too large to be run.\n")
    named = ("attention", "by", *_SHOWN)
    console.print(_rich("Exponents of growth", named, map(_exponent, growth(table).to_dict("records"))))
    for row in crossings(table).to_dict("records"):
        at = "" if pd.isna(row["firms"]) else f" at {row['firms']:,.0f} firms"
        formula = "never" if pd.isna(row["by_formula"]) else f"from {row['by_formula']:,.0f}"
        words = f"{KERNELS[row['cheap']].words} cheaper than {KERNELS[row['dear']].words.lower()}{at}"
        console.print(f"{words}: {row['by']} {formula} by operations, {row['measured']} as measured.", soft_wrap=True)


def _cost(row: dict[Any, Any]) -> list[str]:
    units = (("operations", 1e9, "G"), ("seconds", 1e-3, "ms"), ("bytes", 2**20, "MiB"), ("peak_bytes", 2**20, "MiB"))
    sizes = [f"{row['firms']:,}", f"{row['lookback'] or ''}"]
    return [KERNELS[row["kernel"]].words, *sizes, *(_number(row[name], unit, words) for name, unit, words in units)]


def _exponent(row: dict[Any, Any]) -> list[str]:
    quantities = ("operations", "seconds", "bytes", "peak_bytes")
    return [KERNELS[row["kernel"]].words, row["by"], *(_number(row[name]) for name in quantities)]


def _rich(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for name in names:
        table.add_column(name, justify="left" if name in ("attention", "by") else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _number(value: float, unit: float = 1.0, name: str = "") -> str:
    return "—" if math.isnan(value) else f"{value / unit:,.3g} {name}".strip()


def attention_costs(table: pd.DataFrame) -> go.Figure:
    """Draw operations, seconds and memory of a date on log-log axes: against firms, and against the lookback.

    Thin lines without markers are by formula, the others measured; along time the dash tells the number of firms.

    Parameters
    ----------
    table : of `costs`.

    Examples
    --------
    >>> from finattn.bench import Measured
    >>> table = costs(cells(Sizes(firms=[10, 20], lookback=[5])), lambda cell: Measured(0.5, None))
    >>> attention_costs(table).layout.xaxis5.title.text
    'Firms'
    """
    titles = ("Along firms", "Along time")
    figure = make_subplots(3, 2, subplot_titles=titles, shared_xaxes=True, vertical_spacing=0.05)
    for column, (axis, by, other) in enumerate((("firm", "firms", "lookback"), ("time", "lookback", "firms")), 1):
        part = table[table["axis"] == axis]
        dashes = dict(zip(part[other].unique(), itertools.cycle(_DASHES), strict=False))
        for at, kernel in part[[other, "kernel"]].drop_duplicates().itertuples(index=False):
            line = part[(part[other] == at) & (part["kernel"] == kernel)]
            for row, quantity in _ROWS:
                figure.add_trace(_curve(line, by, quantity, int(at), dashes[at]), row, column)
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log", exponentformat="power")
    figure.update_xaxes(title_text="Firms", row=3, col=1)
    figure.update_xaxes(title_text="Lookback (days)", row=3, col=2)
    for row, words in enumerate(("Operations a date", "Seconds a date (measured)", "Memory (MiB)"), 1):
        figure.update_yaxes(title_text=words, row=row, col=1)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.0, "yanchor": "bottom", "x": 0.0})
    return finish(figure, 1000, top=40, bottom=150)


def _curve(line: pd.DataFrame, by: str, quantity: str, at: int, dash: str) -> go.Scatter:
    kernel = line["kernel"].iloc[0]
    measured = quantity in ("seconds", "peak_bytes")
    words = KERNELS[kernel].words + (f", {at:,} firms" if by == "lookback" else "")
    shown = line[line[quantity] > 0]  # a logarithm has no zero
    return go.Scatter(
        x=shown[by].to_numpy(),
        y=shown[quantity].to_numpy() / (2**20 if "bytes" in quantity else 1),
        name=words,
        legendgroup=words,
        showlegend=quantity == "seconds",
        mode="lines+markers" if measured else "lines",
        line={"color": _COLOURS[kernel], "dash": dash, "width": 2 if measured else 1},
        hovertemplate=f"%{{x}}: %{{y:.3g}}<extra>{words}, {'measured' if measured else 'by formula'}</extra>",
    )
