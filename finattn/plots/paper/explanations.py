"""Pictures of explanations: what is lost without what they point at, and what an audit found."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from finattn.errors import InputError
from finattn.looks import INK, LINE
from finattn.plots.explanations import _TITLES, METHODS
from finattn.plots.paper.style import MARKERS, canvas, legend_below, plain, styled
from finattn.plots.tables import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RANDOM = "random"
_LOOKED = {"attention": "#D55E00", "rollout": "#E69F00", "value_norm": "#CC79A7"}  # looked at; the others moved a score
_SETTINGS = {"uniform": "Attention made even", "permuted": "Attention shuffled"}
_MOVED = (("#0072B2", "-"), ("#009E73", "--"), ("#56B4E9", "-."), ("#000000", ":"))


@styled
def deletion_curves(curves: pd.DataFrame) -> "Figure":
    """Draw what rank IC remains as keys are taken away, a panel for each kind of key and a line for each method.

    Parameters
    ----------
    curves : as of `finattn.plots.deletion_curves`: kind, method ("random" among them, whose interval is a band), share,
        rank_ic, lower and upper.

    Raises
    ------
    InputError
        For missing columns, or no rows.

    Examples
    --------
    >>> row = {"kind": "peer", "method": "random", "share": [0.0, 1.0], "rank_ic": [0.1, 0.0]}
    >>> figure = deletion_curves(pd.DataFrame(row).assign(lower=0.0, upper=0.2))
    >>> figure.axes[0].lines[1].get_label()
    'Random order'
    """
    require_columns(curves, "kind", "method", "share", "rank_ic", "lower", "upper")
    if curves.empty:
        raise InputError("deletion_curves needs curves, found none")
    kinds = [kind for kind in _TITLES if kind in set(curves["kind"])]
    methods = list(curves["method"].unique())
    figure, grid = canvas(3.8, 1, len(kinds), sharey=True)
    for axes, kind in zip(grid[0], kinds, strict=True):
        axes.axhline(0.0, color=LINE, linewidth=1)
        for method in methods:
            part = curves[(curves["kind"] == kind) & (curves["method"] == method)]
            if len(part):
                _curve(axes, part, str(method), methods)
        axes.set_title(_TITLES[kind])
        axes.set_xlabel("Share of keys taken away")
        axes.xaxis.set_major_formatter("{x:.0%}")
    grid[0, 0].set_ylabel("Rank IC")
    legend_below(figure, grid[0, 0])
    return figure


def _curve(axes: "Axes", part: pd.DataFrame, method: str, methods: list[str]) -> None:
    if method == _RANDOM:
        axes.fill_between(part["share"], part["lower"], part["upper"], color=LINE, alpha=0.25, linewidth=0)
        axes.plot(part["share"], part["rank_ic"], color=INK, linestyle=(0, (1, 1.5)), label="Random order")
        return
    others = [one for one in methods if one not in _LOOKED and one != _RANDOM]
    colour, dash = (_LOOKED[method], "-") if method in _LOOKED else _MOVED[others.index(method) % len(_MOVED)]
    axes.plot(
        part["share"], part["rank_ic"], color=colour, linestyle=dash, linewidth=2, markersize=5,
        marker=MARKERS[methods.index(method) % len(MARKERS)], label=plain(METHODS.get(method, method)),
    )  # fmt: skip


@styled
def audit_figures(tables: dict[str, pd.DataFrame], check: str, figure: str = "", words: str = "") -> "Figure":
    """Draw the figures of one check of an audit, with 95% intervals and what chance would give, for several models.

    Parameters
    ----------
    tables : by model, the `table` of an audit: check, method, kind, figure, value, lower, upper, chance.
    check : which rows, such as "deletion". figure : which of its figures, by default the first.
    words : what is on the axis, by default the figure's own name.

    Raises
    ------
    InputError
        For no table, missing columns, and a check that a table does not have.

    Examples
    --------
    >>> row = {"check": "deletion", "method": "saliency", "kind": "peer", "figure": "area", "value": 0.1, "lower": 0.0,
    ...        "upper": 0.2, "chance": 0.0}
    >>> audit_figures({"Model": pd.DataFrame([row])}, "deletion").axes[0].get_yticklabels()[0].get_text()
    'Saliency (peer)'
    """
    found = {name: _rows(table, check, figure) for name, table in tables.items()}
    if not found:
        raise InputError("audit_figures needs at least one audit's table, found none")
    names = list(dict.fromkeys(name for rows in found.values() for name in rows["name"]))
    canvas_, grid = canvas(0.9 + 0.36 * max(3, len(names)), 1, len(found), sharex=True, sharey=True)
    for axes, (model, rows) in zip(grid[0], found.items(), strict=True):
        places = [names.index(name) for name in rows["name"]]
        ends = np.nan_to_num(np.abs(rows[["lower", "upper"]].to_numpy(float).T - rows["value"].to_numpy(float)))
        axes.errorbar(rows["value"], places, xerr=ends, fmt="o", color="#0072B2", ecolor=INK, capsize=3, markersize=6)
        axes.plot(rows["chance"], places, linestyle="none", marker="|", markersize=16, markeredgewidth=2,
                  color="#D55E00", label="Chance, or no change")  # fmt: skip
        axes.xaxis.get_major_locator().set_params(nbins=6)
        axes.set_title(plain(model))
    said = words or plain(rows["figure"].iloc[0].replace("_", " ").capitalize())
    for axes in grid[0]:
        axes.set_xlabel(textwrap.fill(said, 68 // len(found)))  # one under all would lie on the legend
    grid[0, 0].set_yticks(range(len(names)), [plain(name) for name in names])
    grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
    legend_below(canvas_, grid[0, 0], place="outside upper right")
    return canvas_


def _rows(table: pd.DataFrame, check: str, figure: str) -> pd.DataFrame:
    """Return the rows of one check and figure, with what each is of."""
    require_columns(table, "check", "method", "kind", "figure", "value", "lower", "upper", "chance")
    rows = table[table["check"] == check]
    rows = rows[rows["figure"] == (figure or (rows["figure"].iloc[0] if len(rows) else ""))]
    if rows.empty:
        raise InputError(f"check must be among {', '.join(table['check'].unique())}, found {check!r} {figure}".rstrip())
    methods = rows["method"].map(lambda method: _SETTINGS.get(method) or METHODS.get(method, method))
    return rows.assign(name=[f"{m} ({k})" if k else m for m, k in zip(methods, rows["kind"], strict=True)])
