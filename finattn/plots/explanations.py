"""Pictures of explanations."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from finattn.errors import InputError
from finattn.looks import INK, LINE, escape, finish

METHODS = {
    "attention": "Attention",
    "rollout": "Attention, rolled out",
    "value_norm": "Attention × value",
    "saliency": "Saliency",
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
    figure = make_subplots(
        len(kinds), len(methods), horizontal_spacing=0.12 / len(methods), vertical_spacing=0.34 / (len(kinds) + 2),
        column_titles=[METHODS.get(method, escape(method)) for method in methods],
    )  # fmt: skip
    for row, kind in enumerate(kinds, 1):
        for column, method in enumerate(methods, 1):
            part = table[(table["kind"] == kind) & (table["method"] == method)]
            if len(part):
                _bars(figure, part, kind, most, row, column)
        figure.update_yaxes(title_text=_TITLES[kind], row=row, col=1)
    return finish(figure, 60 + 260 * len(kinds), top=40)


def _bars(figure: go.Figure, part: pd.DataFrame, kind: str, most: int, row: int, column: int) -> None:
    """Draw the heaviest keys of one method and kind."""
    method, upright = part["method"].iloc[0], kind == "lag"
    if upright:
        part = part[part["key"] != "others"]
    else:
        part = part.reindex(part["score"].abs().nlargest(most).index)[::-1]
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
        figure.update_yaxes(type="category", tickmode="linear", row=row, col=column)
