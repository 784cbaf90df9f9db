"""Peer networks as a stage: from a run's folder to whom each firm asks, dated, in files and as a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finattn import looks, networks
from finattn.config.require import require
from finattn.errors import InputError
from finattn.explain_pipeline import Opened, row_of
from finattn.networks import Averaging, PeerNetwork
from finattn.panel import Panel
from finattn.pipeline import write_table
from finattn.report import explorer, peering
from finattn.storage import atomic_folder

FOLDER = peering.FOLDER
AXES = ("firm", "industry")  # along which a model asks peers
WORDS = ("first", "folds", "last")  # that stand for dates
DEFAULT_DATES = ("folds", "last")
DEFAULT_FORMATS = ("html", "parquet")


@dataclass(frozen=True)
class Asked:
    """What to build: of which model, how, when, and over what it is averaged.

    Parameters
    ----------
    model : a trained model of the run that attends to firms; by default `Opened.default_model`.
    method : of `networks.build`.
    dates : days of the panel, and words: "first", the first test date; "folds", the last one of each test window;
        "last", the panel's last date.
    top_k, window, every, level, draws : see `networks.Averaging`. By default 20 links of each firm, in a panel of
        fewer than 80 firms a quarter of them; and as window a quarter of a year, each week of which is read.
    """

    model: str | None = None
    method: str = "attention"
    dates: Sequence[str] = DEFAULT_DATES
    top_k: int | None = None
    window: int | None = None
    every: int | None = None
    level: float = 0.9
    draws: int = 200

    def averaging(self, panel: Panel) -> Averaging:
        """Return what is averaged over, in rows of a panel.

        Examples
        --------
        >>> from finattn.data import sample
        >>> daily = Asked().averaging(sample())
        >>> daily.top_k, daily.window, daily.every
        (5, 63, 5)
        """
        default = min(20, max(1, panel.shape[1] // 4)), panel.periods_per_year / 4, panel.periods_per_year / 52
        given = self.top_k, self.window, self.every
        top_k, window, every = (
            max(1, round(other)) if own is None else own for own, other in zip(given, default, strict=True)
        )
        return Averaging(top_k, window, every, self.draws, self.level)


def build(run: Opened, asked: Asked | None = None) -> PeerNetwork:
    """Build a run's peer network: all fits of a model, seeds averaged, at some dates.

    Each date is read by the fits of the latest fold whose test window has begun, so that no model has seen a date that
    it explains. For the same reason a window stops at the beginning of that test window: `made["dates_averaged"]` says
    how many dates were read for each as-of date.

    Raises
    ------
    InputError
        For a date, model, method or number that there is not, and a date before the first test window.
    """
    asked = asked or Asked()
    model = asked.model or run.default_model(AXES)
    rows = as_of_rows(run, asked.dates)
    averaging = asked.averaging(run.panel)
    parts = [_at(run, row, model, asked.method, averaging) for row in rows]
    made = {
        **parts[0].made, "window": averaging.window, "model": model, "seeds": list(run.config.training.seeds),
        "folds": [run.fold_of(row).number for row in rows],
        "dates_averaged": [count for part in parts for count in part.made["dates_averaged"]],
    }  # fmt: skip
    sure = [part for part in parts if part.made["interval"] != "none"]
    made |= {name: (sure or parts)[0].made[name] for name in ("interval", "level")}
    edges, nodes = ([getattr(part, name) for part in parts] for name in ("edges", "nodes"))
    return PeerNetwork(pd.concat(edges, ignore_index=True), pd.concat(nodes, ignore_index=True), made)


def as_of_rows(run: Opened, dates: Sequence[str]) -> list[int]:
    """Return the rows of days and words, increasing, each once.

    Raises
    ------
    InputError
        For none, and a day that the panel does not have.
    """
    require("dates", list(dates), len(dates) > 0, f"days, or some of {', '.join(WORDS)}")
    words = {
        "first": [int(run.folds[0].test[0])],
        "folds": [int(fold.test[-1]) for fold in run.folds],
        "last": [len(run.panel) - 1],
    }
    return sorted({row for date in dates for row in words.get(date) or [row_of(run.panel, date)]})


def _at(run: Opened, row: int, model: str, method: str, averaging: Averaging) -> PeerNetwork:
    fold = run.fold_of(row)
    blocks = run.blocks(fold, np.array([row]))
    fits = run.networks(fold, model, blocks.scaling.width)
    within = replace(averaging, window=min(averaging.window, row - int(fold.test[0]) + 1))
    day = run.panel.dates[row]
    return networks.build(fits, blocks, [day], method, within, run=run.config.fingerprint)


# -- what it is worth ----------------------------------------------------

TABLES = ("statistics", "comparison", "new_peers", "comovement", "lead")


def judge(network: PeerNetwork, panel: Panel) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Describe a network, and hold it against industries: what is new, and what holds out of sample.

    Returns
    -------
    Tables by name: statistics over time, comparison with each level of industry, and, beside the last level but one
    (major groups of SIC codes), the strongest peers outside it and regressions of co-movement and of lead after the
    as-of dates, without codes on peers alone; and for each that cannot be had a sentence that says why.
    """
    known = [one for one in network.levels if (network.nodes[one] > 0).any()]
    level = known[max(0, len(known) - 2)] if known else ""
    makers: dict[str, Callable[[], pd.DataFrame]] = {
        "statistics": lambda: networks.network_statistics(network),
        "comparison": lambda: pd.concat([networks.compare(network, one) for one in known]),
        "new_peers": lambda: networks.new_peers(network.at(), level, top=10),
        "comovement": lambda: networks.comovement(network, panel, level or None),
        "lead": lambda: networks.lead(network, panel, level or None),
    }
    found, lacking = {}, []
    if not level:
        lacking.append("comparison, new_peers, and the industry beside peers: need industry codes, found none")
        makers = {name: make for name, make in makers.items() if name not in ("comparison", "new_peers")}
    for name, make in makers.items():
        try:
            found[name] = make().reset_index(drop=True)
        except InputError as error:
            lacking.append(f"{name}: {error}")
    return found, lacking


# -- files ------------------------------------------------------------

_Write = Callable[[PeerNetwork, Path], Any]
_WRITERS: dict[str, tuple[str, _Write]] = {
    "csv": ("peers.csv", networks.write_csv),
    "hoberg-phillips": ("peers.txt", networks.write_hoberg_phillips),
    "gexf": ("peers.gexf", networks.write_gexf),
    "graphml": ("peers.graphml", networks.write_graphml),
    "json": ("peers.json", networks.write_node_link),
}
FORMATS = ("html", "parquet", *_WRITERS)


def save(
    network: PeerNetwork,
    run: Path,
    formats: Sequence[str] = DEFAULT_FORMATS,
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> list[Path]:
    """Write a network into a run's folder `peers`, in place of what was there, and return the files.

    The Parquet files are always written: they are what the others can be made from again, and so are the tables of
    `judge` where they are given.

    Raises
    ------
    InputError
        For a format that there is not, and a firm whose identifier a format cannot hold; then nothing is written, and
        what was there stays.
    """
    for name in formats:
        require("format", name, name in FORMATS, f"one of {', '.join(FORMATS)}")
    tables, names = tables or {}, ["edges.parquet", "nodes.parquet"]
    with atomic_folder(run / FOLDER) as folder:
        network.save(folder)
        for name, table in tables.items():
            names.append(f"{name}.parquet")
            write_table(table, folder / names[-1])
        for name in (name for name in _WRITERS if name in formats):
            file, write = _WRITERS[name]
            write(network, folder / file)
            names.append(file)
        if "html" in formats:
            model = network.made.get("model")
            title = f"{run.resolve().name}, {looks.label(model)}" if model else "Peers"
            explorer.write(network, folder / explorer.FILE, title, peering.findings(tables))
            names.append(explorer.FILE)
    return [run / FOLDER / name for name in names]


def summary(network: PeerNetwork, files: Sequence[Path]) -> dict[str, Any]:
    """Return what was made as JSON can hold it: how, the caveat, the files, and by date the firms and edges."""
    by_date = [
        {
            "date": str(day),
            "firms": len(one.nodes),
            "edges": len(one.edges),
            "weight_kept": float(one.edges["weight"].sum()) / max(1, one.edges["firm"].nunique()),
            "even_weight": 1 / len(one.nodes),
            "heaviest": float(one.edges["weight"].max()) if len(one.edges) else None,
        }
        for day in network.dates
        for one in (network.at(day),)
    ]
    return {"made": network.metadata, "caveat": explorer.caveat(network), "files": [str(file) for file in files],
            "dates": by_date}  # fmt: skip
