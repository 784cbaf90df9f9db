"""Pictures of explanations."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from finattn.errors import InputError
from finattn.looks import INK, LINE, escape, finish, legend_above

METHODS = {
    "attention": "Attention",
    "rollout": "Attention, rolled out",
    "value_norm": "Attention × value",
    "saliency": "Saliency",
    "return_saliency": "Saliency of returns",
    "input_x_gradient": "Input × gradient",
    "integrated_gradients": "Integrated gradients",
    "smoothgrad": "SmoothGrad",
    "gradient_shap": "GradientSHAP",
    "temporal_rescaling": "Temporal rescaling",
    "feature_ablation": "Ablation",
    "occlusion": "Occlusion",
    "shapley": "Shapley values",
}
_TITLES = {"lag": "Its own days, by lag", "peer": "Firms", "feature": "What is known of them"}
_LONGEST = 20  # signs of a name beside its bar; the rest is seen when one points at it
_SIGN, _TICK, _WIDTH = 7.5, 30, 800  # pixels: of a sign, of what stands between names and bars, and of the columns
_COLOURS = {"attention": "#E69F00", "rollout": "#E69F00", "value_norm": "#E69F00"}


def explained_forecast(table: pd.DataFrame, most: int = 10) -> go.Figure:
    """Draw what one forecast rests on: a column a method, a row a kind of key, and the `most` heaviest keys of each.

    Attention, which says what was looked at, is orange; what moved the score is blue, hatched where it moved it down.
    Lags are all shown, in their order.

    Parameters
    ----------
    table : rows of one date and firm of an `Explanation`.
    most : peers and characteristics shown.

    Raises
    ------
    InputError
        For rows of more than one forecast, or none.

    Examples
    --------
    >>> rows = {"date": pd.Timestamp("2020-03-16"), "firm": "A", "model": "m", "method": "saliency", "kind": "peer",
    ...         "key": ["B", "C"], "score": [0.2, 0.5]}
    >>> explained_forecast(pd.DataFrame(rows)).data[0].y
    ('B', 'C')
    """
    count = len(table[["date", "firm"]].drop_duplicates())
    if count != 1:
        raise InputError(f"explained_forecast needs the rows of one forecast, found those of {count}")
    methods = list(table["method"].unique())
    kinds = [kind for kind in _TITLES if kind in set(table["kind"])]
    cells = {}
    for row, kind in enumerate(kinds, 1):
        for column, method in enumerate(methods, 1):
            part = table[(table["kind"] == kind) & (table["method"] == method)]
            if len(part):
                cells[row, column] = part if kind == "lag" else _heaviest(part, most)
    beside = [str(key) for (row, column), part in cells.items() if column > 1 for key in part["key"]]
    figure = make_subplots(
        len(kinds), len(methods), horizontal_spacing=_gap(beside, len(methods)),
        vertical_spacing=0.34 / (len(kinds) + 2),
        column_titles=[METHODS.get(method, escape(method)) for method in methods],
        row_titles=[_TITLES[kind] for kind in kinds],
    )  # fmt: skip
    for (row, column), part in cells.items():
        _bars(figure, part, row, column)
    return finish(figure, 60 + 260 * len(kinds), top=40).update_layout(margin_r=48)


def _heaviest(part: pd.DataFrame, most: int) -> pd.DataFrame:
    return part.reindex(part["score"].abs().nlargest(most).index)[::-1]


def _gap(names: Sequence[str], columns: int) -> float:
    """Return the share of the width between two columns, so that the right one's names end before the left one's bars.

    Examples
    --------
    >>> round(_gap(["AAPL", "MSFT"], 2), 3), _gap(["idiosyncratic_volatility"] * 3, 9)
    (0.075, 0.0625)
    """
    longest = max([4, *(len(_cut(name)) for name in names)])  # scores of lags take as much as 4 signs
    return min((_SIGN * longest + _TICK) / _WIDTH, 0.5 / max(1, columns - 1))


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _bars(figure: go.Figure, part: pd.DataFrame, row: int, column: int) -> None:
    """Draw keys of one method and kind."""
    method, upright = part["method"].iloc[0], part["kind"].iloc[0] == "lag"
    if upright:
        part = part[part["key"] != "others"]
    keys = part["key"].map(str) if upright else part["key"].map(escape)
    down = ["/" if score < 0 else "" for score in part["score"]]
    marker = {
        "color": _COLOURS.get(method, "#0072B2"), "pattern": {"shape": down, "fgcolor": INK, "size": 5},
        "line": {"color": LINE, "width": 0.5},
    }  # fmt: skip
    axes = {"x": list(keys), "y": part["score"]} if upright else {"x": part["score"], "y": tuple(keys)}
    hover = "%{x}: %{y:.4g}<extra></extra>" if upright else "%{y}: %{x:.4g}<extra></extra>"
    figure.add_bar(
        **axes, orientation="v" if upright else "h", marker=marker, hovertemplate=hover, showlegend=False,
        row=row, col=column,
    )  # fmt: skip
    if upright:
        figure.update_xaxes(type="category", nticks=8, row=row, col=column)
    else:
        words = [escape(_cut(str(key))) for key in part["key"]]  # what two names share once cut, their bars do not
        figure.update_yaxes(type="category", tickvals=list(keys), ticktext=words, row=row, col=column)


def deletion_curves(curves: pd.DataFrame) -> go.Figure:
    """Draw what rank IC remains as keys are taken away, a panel for each kind of key and a line for each method.

    Attention is orange, other methods are blue to black, each with a dash of its own, and random order is grey, with
    its interval as a band.

    Parameters
    ----------
    curves : kind, method ("random" among them), share, rank_ic, lower and upper.

    Raises
    ------
    InputError
        For no rows.

    Examples
    --------
    >>> row = {"kind": "peer", "method": "random", "share": [0.0, 1.0], "rank_ic": [0.1, 0.0]}
    >>> deletion_curves(pd.DataFrame(row).assign(lower=0.0, upper=0.2)).data[1].name
    'Random order'
    """
    if curves.empty:
        raise InputError("deletion_curves needs curves, found none")
    kinds = [kind for kind in _TITLES if kind in set(curves["kind"])]
    figure = make_subplots(1, len(kinds), column_titles=[_TITLES[kind] for kind in kinds], shared_yaxes=True)
    methods = list(curves["method"].unique())
    for column, kind in enumerate(kinds, 1):
        for method, part in curves[curves["kind"] == kind].groupby("method", sort=False):
            name, (colour, dash) = str(method), _line(str(method), methods)
            shown = {"legendgroup": name, "row": 1, "col": column}
            if name == "random" and len(part := part.dropna()):  # bands of all would hide each other
                ends = {"x": [*part["share"], *part["share"][::-1]], "y": [*part["upper"], *part["lower"][::-1]]}
                band = {"fill": "toself", "fillcolor": colour, "opacity": 0.2, "line_width": 0, "mode": "lines"}
                figure.add_scatter(**ends, **shown, **band, showlegend=False, hoverinfo="skip")
            figure.add_scatter(
                x=part["share"], y=part["rank_ic"], name=_NAMES.get(name) or escape(name), mode="lines",
                line={"color": colour, "dash": dash, "width": 2}, **shown, hovertemplate="%{x:.0%}: %{y:.3f}",
                showlegend=not any(trace.legendgroup == name and trace.showlegend for trace in figure.data),
            )  # fmt: skip
        figure.update_xaxes(title_text="Share of keys taken away", tickformat=".0%", row=1, col=column)
    figure.update_yaxes(title_text="Rank IC", row=1, col=1)
    finish(figure, 420, top=80)
    return figure.update_layout(legend=legend_above() | {"y": 1.1})


_NAMES = METHODS | {"random": "Random order"}
_LINES = (
    ("#0072B2", "solid"),
    ("#009E73", "dash"),
    ("#CC79A7", "dot"),
    ("#56B4E9", "dashdot"),
    ("#000000", "longdash"),
)


def _line(method: str, methods: list[str]) -> tuple[str, str]:
    """Return a method's colour and dash."""
    if method == "random":
        return LINE, "solid"
    if method in _COLOURS:
        return _COLOURS[method], "solid"
    others = [one for one in methods if one != "random" and one not in _COLOURS]
    return _LINES[others.index(method) % len(_LINES)]
