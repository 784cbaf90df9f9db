"""What attention costs, by formula and as measured."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from finattn.plots.paper.style import canvas, line_of, log_ticks, marker_of, nth, plain, styled
from finattn.plots.tables import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KERNELS = {
    "softmax": "Softmax",
    "linear": "Linear",
    "windows": "Windows encoded again",
    "band": "One pass in a band",
}
"""The words for the kernels of `finattn.bench`, each with a style of its own by its place."""
_SIDES = (("firm", "firms", "lookback", "Firms"), ("time", "lookback", "firms", "Lookback (days)"))


@styled
def attention_costs(table: pd.DataFrame) -> "Figure":
    """Draw operations and milliseconds of a date on log-log axes: against firms, and against the lookback.

    Along time the most firms of the table are shown.

    Parameters
    ----------
    table : of `finattn.bench.costs`: axis, kernel, firms, lookback, operations (by formula) and seconds (measured, NaN
        where not run).

    Examples
    --------
    >>> rows = {"axis": "firm", "kernel": "softmax", "firms": [10, 20], "lookback": 0, "operations": [1.0, 4.0],
    ...         "seconds": [0.1, 0.2]}
    >>> attention_costs(pd.DataFrame(rows)).axes[0].get_ylabel()
    'Operations a date (formula)'
    """
    require_columns(table, "axis", "kernel", "firms", "lookback", "operations", "seconds")
    sides = [side for side in _SIDES if (table["axis"] == side[0]).any()]
    figure, grid = canvas(5.4, 2, len(sides), sharex="col")
    for column, (axis, by, other, words) in enumerate(sides):
        part = table[table["axis"] == axis]
        part = part[part[other] == part[other].max()]
        at = f" ({part[other].iloc[0]:,} firms)" if other == "firms" else ""
        for row, quantity in enumerate(("operations", "seconds")):
            _curves(grid[row, column], part, by, quantity)
        grid[0, column].set_title(f"Along {'firms' if axis == 'firm' else 'time'}{at}")
        grid[1, column].set_xlabel(words)
        grid[1, column].legend(loc="upper left", fontsize=9)
    grid[0, 0].set_ylabel("Operations a date (formula)")
    grid[1, 0].set_ylabel("Milliseconds a date (measured)")
    return figure


def _curves(axes: "Axes", part: pd.DataFrame, by: str, quantity: str) -> None:
    names = list(KERNELS)
    for kernel, line in part.groupby("kernel", sort=False):
        known = line[line[quantity] > 0].sort_values(by)
        style = nth(names.index(str(kernel)) if kernel in names else len(names))
        words = plain(KERNELS.get(str(kernel), str(kernel)))
        marked: dict[str, Any] = {"marker": marker_of(style), "markersize": 5} if quantity == "seconds" else {}
        axes.plot(
            known[by], known[quantity] * (1000 if quantity == "seconds" else 1), label=words, **line_of(style), **marked
        )
    axes.set_xscale("log")
    log_ticks(axes)
