"""Attention: small matrices with their numbers, lags, firms, positions, and how weights form."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from finattn.errors import InputError
from finattn.looks import INK, LINE, label, style_of
from finattn.plots.paper.style import canvas, colours, few, legend_below, nth, plain, styled
from finattn.plots.tables import UNKNOWN, attention_of, group_edges, mean_weights, require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERS = 24  # cells beside each other across the figure, up to which numbers are written into them


@styled
def weight_maps(maps: Mapping[str, pd.DataFrame], rows: str = "Query", columns: str = "Key", most: int = 4) -> "Figure":
    """Draw matrices of weights side by side, on one scale of colours; small ones with their numbers.

    Parameters
    ----------
    maps : by title, a matrix of weights: what asks in its rows, what is looked at in its columns. NaN, such as what a
        mask forbids, is hatched.
    rows, columns : what they are. most : maps in a row of the figure.

    Raises
    ------
    InputError
        For no map, and an empty one.

    Examples
    --------
    >>> figure = weight_maps({"Causal": pd.DataFrame([[1.0, np.nan], [0.3, 0.7]])}, "Day", "Day looked at")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '.30', '.70']
    """
    if not maps or any(table.empty for table in maps.values()):
        raise InputError(f"weight_maps needs matrices with rows and columns, found {len(maps)} maps, or an empty one")
    across, down = min(most, len(maps)), -(-len(maps) // most)
    shape = np.array([table.shape for table in maps.values()]).max(axis=0)
    figure, grid = canvas(down * (0.9 + 6.6 / across * min(1.2, max(0.35, shape[0] / shape[1]))), down, across)
    largest = max(float(np.nanmax(table.to_numpy(float))) for table in maps.values())
    numbers = max(shape) * across <= _NUMBERS
    for axes, (title, table) in zip(grid.flat, maps.items(), strict=False):
        image = _heat(axes, table, largest, numbers)
        axes.set_title(plain(title))
        axes.set_xlabel(columns)
    for spare in grid.flat[len(maps) :]:
        spare.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(rows)
    if not numbers:
        figure.colorbar(image, ax=grid, label="Weight", shrink=0.8, pad=0.015)
    return figure


def _heat(axes: "Axes", table: pd.DataFrame, largest: float, numbers: bool) -> Any:
    """Draw one matrix, the first row on top."""
    values = table.to_numpy(float)
    image = axes.imshow(values, cmap=colours(), vmin=0.0, vmax=largest, aspect="auto", interpolation="nearest")
    axes.grid(visible=False)
    axes.set_facecolor("#F1F3F5")
    down, across = few(len(table)), few(len(table.columns))
    axes.set_yticks(down, [plain(table.index[i]) for i in down])
    axes.set_xticks(across, [plain(table.columns[i]) for i in across])
    axes.spines[["top", "right"]].set_visible(True)
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            _forbidden(axes, i, j)
        elif numbers:
            dark = value > 0.5 * largest
            axes.text(j, i, _short(value), ha="center", va="center", color="white" if dark else INK, fontsize=9.5)
    return image


def _forbidden(axes: "Axes", row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="#F1F3F5", hatch="///", edgecolor="#C3C9D0"))


def _short(value: float) -> str:
    """Write a weight in few signs: .25, and 1 where it is all."""
    return f"{value:.2f}".replace("0.", ".", 1) if value < 0.995 else f"{value:.3g}"


@styled
def position_encodings(encoding: pd.DataFrame, shown: int = 4) -> "Figure":
    """Draw an encoding of positions: all of it as a map, and some dimensions as waves.

    Parameters
    ----------
    encoding : a row a position (days), a column a dimension. shown : dimensions drawn as lines, evenly spaced.

    Raises
    ------
    InputError
        For an empty table.

    Examples
    --------
    >>> figure = position_encodings(pd.DataFrame(np.eye(4)), shown=2)
    >>> len(figure.axes[1].lines)
    2
    """
    if encoding.empty:
        raise InputError("position_encodings needs rows and columns, found none")
    figure, ((left, right),) = canvas(3.5, 1, 2)
    values = encoding.to_numpy(float)
    image = left.imshow(values, cmap=colours(), aspect="auto", interpolation="nearest")
    left.grid(visible=False)
    left.set_xlabel("Dimension")
    left.set_ylabel("Position (days)")
    figure.colorbar(image, ax=left, label="Value", pad=0.02)
    places = np.unique(np.linspace(0, values.shape[1] - 1, shown + 1).astype(int)[:shown])
    for i, place in enumerate(places):
        style = nth(i)
        right.plot(encoding.index, values[:, place], label=f"Dimension {place}", color=style.colour,
                   linestyle=("-", "--", "-.", ":")[i % 4], linewidth=1.8)  # fmt: skip
    right.set_xlabel("Position (days)")
    right.set_ylabel("Value")
    legend_below(figure, right, shown)
    return figure


@styled
def attention_over_lags(explanations: pd.DataFrame, marked: Sequence[int] = ()) -> "Figure":
    """Draw how attention along time spreads over past days, on average over firms: a column for each model.

    Above, the average over all dates, with a dashed line where every lag would weigh the same; below, a row a date.

    Parameters
    ----------
    explanations : as of `finattn.plots.attention_over_lags`. marked : lags to point at, such as planted ones.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.Timestamp("2020-03-31"), "firm": "A", "model": "time", "method": "attention",
    ...                       "kind": "lag", "key": ["0", "1"], "score": [0.75, 0.25]})
    >>> attention_over_lags(table).axes[0].lines[0].get_ydata().tolist()
    [0.75, 0.25]
    """
    weights = attention_of(explanations, "lag")
    models = list(weights["model"].unique())
    wide = {model: _by_lag(weights[weights["model"] == model]) for model in models}
    largest = max(max(float(table.to_numpy().max()), 2.0 / table.shape[1]) for table in wide.values())
    figure, grid = canvas(5.2, 2, len(models), height_ratios=[1, 2.2], sharex="col", sharey="row")
    for place, (model, table) in enumerate(wide.items()):
        top, bottom = grid[:, place]
        top.plot(table.columns, table.mean(), color=style_of(model, place).colour, linewidth=2)
        top.axhline(1 / table.shape[1], color=LINE, linestyle="--", linewidth=1.2)
        top.set_ylim(bottom=0.0)
        for lag in marked:
            top.axvline(lag, color=INK, linestyle=":", linewidth=1)
        top.set_title(plain(label(model)))
        edges = (-0.5, table.shape[1] - 0.5, len(table) - 0.5, -0.5)
        image = bottom.imshow(
            table, cmap=colours(), vmin=0, vmax=largest, aspect="auto", extent=edges, interpolation="nearest"
        )
        bottom.grid(visible=False)
        bottom.set_xlabel("Lag (trading days before the decision)")
        rows = few(len(table), 8)
        bottom.set_yticks(rows, [f"{table.index[row]:%Y-%m-%d}" for row in rows])
    grid[0, 0].set_ylabel("Mean weight")
    grid[1, 0].set_ylabel("Decision date")
    figure.colorbar(image, ax=grid[1, :], label="Weight", pad=0.015)
    return figure


def _by_lag(weights: pd.DataFrame) -> pd.DataFrame:
    """Average over firms: a row a date, a column a lag, whole and increasing."""
    wide = mean_weights(weights, "date")
    wide.columns = pd.Index([int(str(lag)) for lag in wide.columns])
    return wide.sort_index(axis=1)


@styled
def peer_heat_map(explanations: pd.DataFrame, firms: Sequence[str], industry: Sequence[int]) -> "Figure":
    """Draw whom each firm attends to on average over dates, firms sorted by industry; lines part major groups.

    Parameters
    ----------
    explanations : as of `finattn.plots.peer_heat_map`: rows of kind "peer" and method "attention" are drawn.
    firms, industry : firms and their SIC codes, 0 = unknown; those that no weight names are left out.

    Raises
    ------
    InputError
        For another number of codes than firms, and no such rows.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.Timestamp("2020-03-31"), "firm": ["A", "B"], "model": "firm",
    ...                       "method": "attention", "kind": "peer", "key": ["B", "A"], "score": [1.0, 1.0]})
    >>> peer_heat_map(table, ["A", "B"], [7372, 1311]).axes[0].images[0].get_array().tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if len(firms) != len(industry):
        raise InputError(f"peer_heat_map needs a code for each firm, found {len(industry)} for {len(firms)} firms")
    weights = attention_of(explanations, "peer")
    models = list(weights["model"].unique())
    seen = set(weights["firm"]) | set(weights["key"])
    pairs = sorted((int(c) or UNKNOWN, str(firm)) for firm, c in zip(firms, industry, strict=True) if firm in seen)
    order, codes = [firm for _, firm in pairs], [code for code, _ in pairs]
    wide = {
        model: mean_weights(weights[weights["model"] == model], "firm")
        .reindex(index=order, columns=order).fillna(0.0).to_numpy()
        for model in models
    }  # fmt: skip
    largest = max(max(float(table.max()), 2.0 / len(order)) for table in wide.values())
    figure, grid = canvas(0.9 + 6.2 / len(models), 1, len(models), sharey=True)
    ticks = few(len(order), 30 if len(models) == 1 else 20)
    for axes, (model, table) in zip(grid[0], wide.items(), strict=True):
        image = axes.imshow(table, cmap=colours(), vmin=0, vmax=largest, interpolation="nearest")
        axes.grid(visible=False)
        for edge in group_edges(codes):
            axes.axhline(edge - 0.5, color=LINE, linewidth=0.6)
            axes.axvline(edge - 0.5, color=LINE, linewidth=0.6)
        names = [plain(_named(order[i], codes[i])) for i in ticks]
        axes.set_xticks(ticks, names, rotation=90, fontsize=8)
        axes.set_yticks(ticks, names, fontsize=8)
        axes.set_title(plain(label(model)))
        axes.set_xlabel("Peer (SIC code)")
    grid[0, 0].set_ylabel("Firm that asks (SIC code)")
    figure.colorbar(image, ax=grid, label="Mean weight over dates", shrink=0.7, pad=0.015)
    return figure


def _named(firm: str, code: int) -> str:
    return firm if code == UNKNOWN else f"{firm} {code}"


@styled
def attention_history(history: pd.DataFrame, most: int = 30) -> "Figure":
    """Draw how attention forms over training: a panel for each block and head, a row for each epoch that was kept.

    Along time a column is a lag; across firms it is the rank of a peer, from the heaviest of each firm and date on.

    Parameters
    ----------
    history : what `finattn.training.AttentionHistory` wrote: epoch, layer, axis, head, date, firm, key, weight.
    most : lags or ranks shown.

    Raises
    ------
    InputError
        For missing columns, or no rows.

    Examples
    --------
    >>> rows = {"epoch": [0, 0, 3, 3], "layer": 0, "axis": "firm", "head": 0, "date": 18000, "firm": 0,
    ...         "key": [0, 1, 0, 1], "weight": [0.5, 0.5, 0.1, 0.9]}
    >>> attention_history(pd.DataFrame(rows)).axes[0].images[0].get_array().tolist()
    [[0.5, 0.5], [0.9, 0.1]]
    """
    require_columns(history, "epoch", "layer", "axis", "head", "date", "firm", "key", "weight")
    if history.empty:
        raise InputError("attention_history needs rows, found none")
    parts = list(history.groupby(["layer", "axis", "head"], sort=True))
    figure, grid = canvas(3.2, 1, len(parts), sharey=True)
    largest, tables = 0.0, []
    for (layer, axis, head), part in parts:
        table = _formed(part, str(axis)).iloc[:, :most]
        largest = max(largest, float(table.to_numpy().max()))
        tables.append((f"Block {layer} along {axis}, head {head}", str(axis), table))
    for axes, (title, axis, table) in zip(grid[0], tables, strict=True):
        image = axes.imshow(table, cmap=colours(), vmin=0, vmax=largest, aspect="auto", interpolation="nearest")
        axes.grid(visible=False)
        rows = few(len(table), 14)
        axes.set_yticks(rows, [str(table.index[row]) for row in rows])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("Lag (trading days)" if axis == "time" else "Peer, heaviest first")
    grid[0, 0].set_ylabel("Epoch (0 before training)")
    figure.colorbar(image, ax=grid, label="Mean weight", pad=0.015)
    return figure


def _formed(part: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Average over dates and firms: a row an epoch, a column a lag or a rank."""
    if axis != "time":
        rows = part.groupby(["epoch", "date", "firm"])["weight"]
        part = part.assign(key=rows.rank(method="first", ascending=False).astype(int) - 1)
    return part.groupby(["epoch", "key"])["weight"].mean().unstack().fillna(0.0)
