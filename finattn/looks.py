"""The one look that all figures share, and the words that stand for models.

White ground, Okabe and Ito's colours (told apart by readers with any colour vision), a dash or marker of its own for
each model (told apart in grey), text of 12 px or more, and SVG, so that figures print.
"""

import html
import math
import re
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go


class Style(NamedTuple):
    """How a model looks in every figure."""

    colour: str
    dash: str
    symbol: str
    width: float = 1.8


LABELS = {
    "zero": "Zero",
    "historical_mean": "Historical mean",
    "ridge": "Ridge",
    "sic_average": "SIC average",
    "sic_kernel": "SIC kernel",
    "time": "Attention, time",
    "firm": "Attention, firms",
    "both": "Attention, both",
    "momentum": "Momentum",
    "elastic_net": "Elastic net",
    "boosting": "Boosting",
    "lstm": "LSTM",
    "kernel_regression": "Kernel regression",
    "look_up": "Learned look-up",
    "stacked": "Attention, stacked",
    "linear": "Attention, linear",
    "firm_alone": "Attention, firms, alone",
    "time_alone": "Attention, time, alone",
    "both_alone": "Attention, both, alone",
    "oracle": "Oracle",
}
STYLES = {
    "both": Style("#D55E00", "solid", "circle", 2.8),
    "firm": Style("#0072B2", "longdash", "square", 2.4),
    "time": Style("#009E73", "longdashdot", "diamond", 2.4),
    "ridge": Style("#000000", "solid", "x"),
    "sic_kernel": Style("#CC79A7", "dash", "triangle-up"),
    "sic_average": Style("#E69F00", "dashdot", "triangle-down"),
    "historical_mean": Style("#56B4E9", "dot", "cross"),
    "zero": Style("#7F7F7F", "2px,5px", "circle-open"),
}
"""Of the models that most figures show; a model without a style takes the one of its position."""
_OTHERS = {
    "look_up": Style("#D55E00", "longdash", "diamond", 2.2),
    "kernel_regression": Style("#56B4E9", "dashdot", "triangle-down"),
    "stacked": Style("#0072B2", "dot", "triangle-up", 2.2),
    "firm_alone": Style("#009E73", "dash", "cross"),
    "oracle": Style("#7F7F7F", "solid", "circle-open"),
}
WEIGHTS = ((0.0, "#FFFFFF"), (0.25, "#C6DBEF"), (0.6, "#0072B2"), (1.0, "#08264D"))
SIGNED = ((0.0, "#D55E00"), (0.5, "#FFFFFF"), (1.0, "#0072B2"))
GRID, LINE, INK = "#E3E6EA", "#8A929C", "#1B1F24"
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # signs that change the direction of text
FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
MISSING = "—"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with a true minus sign and a dash where it is undefined.

    Examples
    --------
    >>> number(-0.01234), number(float("nan")), number(1234.5, 1), number(-0.0001)
    ('−0.012', '—', '1,234.5', '0.000')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:,.{digits}f}"
    return text.replace("-", "−" if float(text.replace(",", "")) else "")


def label(model: str) -> str:
    """Return the words that stand for a model, as plain text: escape it where it is drawn.

    Examples
    --------
    >>> label("sic_kernel"), label("mine")
    ('SIC kernel', 'mine')
    """
    return LABELS.get(model, model)


def escape(text: object) -> str:
    r"""Write `text` so that plotly shows it literally: it reads tags, entities and $…$, but not quotes.

    Signs that change the direction of text, and would turn what stands beside it too, are written as their codes.

    Examples
    --------
    >>> print(escape("AT&T <b>"), escape("A" + chr(0x202E)))
    AT&amp;T &lt;b&gt; A\u202e
    """
    literal = html.escape(str(text), quote=False).replace("$", "&#36;")
    return _TURNING.sub(lambda sign: f"\\u{ord(sign[0]):04x}", literal)


def style_of(model: str, position: int) -> Style:
    """Return a model's own style; one that is not known takes that of its position."""
    return (STYLES | _OTHERS).get(model) or list(STYLES.values())[position % len(STYLES)]


def weight_scale(figure: go.Figure) -> dict[str, Any]:
    """Return the colours of weights, from white at zero to dark at the largest."""
    maps = [trace.z for trace in figure.data if trace.type == "heatmap"]
    # At least twice an equal share: weights that hardly differ must not look strong.
    largest = max(max(float(np.max(z)), 2.0 / z.shape[1]) for z in maps)
    bar = {"title": {"text": "Weight", "side": "right", "font": {"size": 13}}, "thickness": 14, "outlinewidth": 0.5}
    return {"colorscale": WEIGHTS, "cmin": 0.0, "cmax": largest, "colorbar": bar}


def legend_above() -> dict[str, Any]:
    """Return a legend in one row above the figure."""
    return {"orientation": "h", "x": 0.0, "y": 1.0, "yanchor": "bottom", "traceorder": "normal"}


def finish(figure: go.Figure, height: int, top: int = 16, bottom: int = 56) -> go.Figure:
    """Give a figure the look that all of them share."""
    axis = {"gridcolor": GRID, "linecolor": LINE, "showline": True, "ticks": "outside", "tickcolor": LINE,
            "zeroline": False, "automargin": True, "title_standoff": 10, "title_font_size": 13}  # fmt: skip
    figure.update_xaxes(axis)
    figure.update_yaxes(axis)
    figure.update_annotations(font={"size": 14})
    return figure.update_layout(
        template="none", height=height, margin={"l": 64, "r": 16, "t": top, "b": bottom}, hovermode="closest",
        paper_bgcolor="white", plot_bgcolor="white", font={"family": FONT, "size": 13, "color": INK},
        legend_font_size=13,
    )  # fmt: skip
