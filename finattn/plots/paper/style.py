"""The look that all pictures for papers share: that of `finattn.looks`, in matplotlib's words."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np

from finattn.errors import InputError
from finattn.looks import GRID, INK, LINE, STYLES, WEIGHTS, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Given = ParamSpec("Given")
Drawn = TypeVar("Drawn")

WIDTH = 8.0  # inches: a page's text, and a notebook's column at 100 dots an inch
RC = {
    "figure.dpi": 100, "savefig.dpi": 200, "savefig.bbox": "tight", "figure.facecolor": "white",
    "font.size": 10.5, "axes.titlesize": 11, "axes.labelsize": 10.5, "legend.fontsize": 10, "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.edgecolor": LINE, "axes.grid": True, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "legend.handlelength": 2.8,
    "hatch.linewidth": 0.7, "hatch.color": "white", "mathtext.default": "regular",
}  # fmt: skip
_DASHES: dict[str, Any] = {  # in widths of the line
    "solid": "-", "longdash": (0, (4.5, 1.4)), "longdashdot": (0, (5, 1.4, 1, 1.4)), "dash": (0, (3, 1.4)),
    "dashdot": (0, (3, 1.3, 1, 1.3)), "dot": (0, (1, 1.2)), "2px,5px": (0, (1, 2.5)),
}  # fmt: skip
_MARKERS = {
    "circle": "o", "square": "s", "diamond": "D", "x": "X", "triangle-up": "^", "triangle-down": "v", "cross": "P",
    "circle-open": "h",
}  # fmt: skip
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")


def styled(draw: Callable[Given, Drawn]) -> Callable[Given, Drawn]:
    """Draw in the shared look, and leave the caller's settings of matplotlib as they were."""

    @wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Drawn:
        with _matplotlib().rc_context(RC):
            return draw(*args, **kwargs)

    return drawn


def _matplotlib() -> Any:
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError:
        raise InputError("pictures for papers need matplotlib, found none: pip install 'finattn[notebooks]'") from None
    return matplotlib


def canvas(
    height: float, rows: int = 1, columns: int = 1, widths: Sequence[float] | None = None, **shared: Any
) -> tuple["Figure", Any]:
    """Return a figure of a page's width and its axes [rows columns]."""
    figure = _matplotlib().figure.Figure(figsize=(WIDTH, height), layout="constrained")
    ratios = None if widths is None else list(widths)
    return figure, figure.subplots(rows, columns, squeeze=False, width_ratios=ratios, **shared)


def colours(name: str = "weights") -> "Colormap":
    """Return white at zero to dark at the largest: as ordered in grey as in colour."""
    return _matplotlib().colors.LinearSegmentedColormap.from_list(name, list(WEIGHTS))


def plain(text: object) -> str:
    r"""Write text so that matplotlib shows it literally: it would read $…$ as a formula, and hide a leading "_".

    Examples
    --------
    >>> plain("$A$ and _B"), plain("_B")
    ('\\$A\\$ and _B', ' _B')
    """
    shown = str(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def line_of(style: Style) -> dict[str, Any]:
    """Return a model's colour, dash and width as matplotlib has them."""
    return {"color": style.colour, "linestyle": _DASHES[style.dash], "linewidth": style.width}


def marker_of(style: Style) -> str:
    """Return a model's marker."""
    return _MARKERS[style.symbol]


def nth(position: int) -> Style:
    """Return the style of a line that has no name of its own."""
    styles = list(STYLES.values())
    return styles[position % len(styles)]


def dated(axes: "Axes", words: str = "Date") -> None:
    """Write few and short dates along an axis, and what they are."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    formats = ["%Y", "%Y-%m", "%Y-%m-%d", "%H:%M", "%H:%M", "%S"]  # each tick says all of its date
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, None, formats, None, formats, show_offset=False))
    axes.set_xlabel(words)


def log_ticks(axes: "Axes") -> None:
    """Make the vertical axis logarithmic, with values written as people say them where they span few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_minor_formatter(NullFormatter())
    if high / low < 200:
        steps = (1, 1.25, 1.5, 2, 3, 5, 7) if high / low < 8 else (1, 2, 5)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def log_sizes(axes: "Axes", sizes: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic; up to ten sizes are written as they are."""
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    if len(sizes) <= 10:
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())


def legend_below(
    figure: "Figure",
    axes: "Axes",
    columns: int = 4,
    place: Literal["outside lower center", "outside upper right"] = "outside lower center",
) -> None:
    """Put one legend under the whole figure, or elsewhere outside of it."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc=place, ncols=min(columns, max(1, len(labels))))


def few(count: int, most: int = 12) -> np.ndarray:
    """Return at most so many places of `count`, evenly spaced from the first."""
    return np.arange(0, count, max(1, -(-count // most)))
