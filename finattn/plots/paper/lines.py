"""Lines and bars of any table: what has no picture of its own."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from finattn.config.require import require
from finattn.errors import InputError
from finattn.looks import INK, LINE, label, style_of
from finattn.plots.paper.style import (
    canvas,
    dated,
    legend_below,
    line_of,
    log_sizes,
    log_ticks,
    marker_of,
    nth,
    plain,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LOG = ("", "x", "y", "xy")


@styled
def lines(table: pd.DataFrame, x: str, y: str, log: str = "", height: float = 3.4) -> "Figure":
    """Draw a line for each column of a table over its index; up to thirty points have markers.

    Parameters
    ----------
    table : numbers, over an increasing index of numbers or dates; NaN interrupts a line.
    x, y : what is on the axes, with units. log : which of them are logarithmic: "", "x", "y" or "xy".
    height : of the figure in inches.

    Raises
    ------
    InputError
        For a table without rows or columns, and another `log`.

    Examples
    --------
    >>> figure = lines(pd.DataFrame({"a": [1.0, 2.0]}, index=[10, 20]), "Firms", "Seconds")
    >>> figure.axes[0].get_xlabel()
    'Firms'
    """
    require("log", log, log in _LOG, "one of '', 'x', 'y', 'xy'")
    if table.empty:
        raise InputError(f"a picture of lines needs rows and columns, found a table of shape {table.shape}")
    figure, ((axes,),) = canvas(height)
    few = len(table) <= 30
    for place, column in enumerate(table.columns):
        style = style_of(str(column), place)
        shown = {"marker": marker_of(style), "markersize": 6} if few else {}
        axes.plot(
            table.index, table[column].to_numpy(float), label=plain(label(str(column))), **line_of(style), **shown
        )
    if isinstance(table.index, pd.DatetimeIndex):
        dated(axes, x)
    if "y" in log:
        log_ticks(axes)
    if "x" in log:
        log_sizes(axes, list(table.index))
    if not log and np.equal(np.mod(table.to_numpy(float), 1), 0).all():
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(table.columns) > 1:
        legend_below(figure, axes)
    return figure


@styled
def bars(table: pd.DataFrame, x: str, y: str, height: float = 3.2) -> "Figure":
    """Draw bars side by side, a group for each row of a table and a colour and hatch for each column.

    Parameters
    ----------
    table : numbers; NaN has no bar. x, y : what is on the axes, with units. height : in inches.

    Raises
    ------
    InputError
        For a table without rows or columns.

    Examples
    --------
    >>> figure = bars(pd.DataFrame({"weight": [0.2, 0.8]}, index=["Mon", "Tue"]), "Day", "Weight")
    >>> [round(float(bar.get_height()), 1) for bar in figure.axes[0].patches]
    [0.2, 0.8]
    """
    if table.empty:
        raise InputError(f"a picture of bars needs rows and columns, found a table of shape {table.shape}")
    figure, ((axes,),) = canvas(height)
    places, width = np.arange(len(table)), 0.8 / len(table.columns)
    hatches = ("", "//", "..", "xx", "\\\\", "--", "++", "oo")
    for i, column in enumerate(table.columns):
        shift = (i - (len(table.columns) - 1) / 2) * width
        axes.bar(
            places + shift, table[column].to_numpy(float), width * 0.92, label=plain(label(str(column))),
            color=nth(i + 1).colour, hatch=hatches[i % len(hatches)], edgecolor="white",
        )  # fmt: skip
    axes.axhline(0.0, color=LINE, linewidth=1)
    axes.set_xticks(places, [plain(name) for name in table.index], color=INK)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if len(table.columns) > 1:
        legend_below(figure, axes)
    return figure
