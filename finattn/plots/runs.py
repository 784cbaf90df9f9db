"""Pictures of a run: what forecasts are worth, and what attention looked at."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from finattn.errors import InputError
from finattn.looks import INK, LINE, SIGNED, escape, finish, label, legend_above, style_of, weight_scale
from finattn.plots.tables import (
    UNKNOWN,
    attention_of,
    by_model,
    days_of,
    firm_labels,
    group_edges,
    mean_weights,
    require_columns,
    year_ticks,
)

_DECADES = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5)]
_TENTHS = [tenth / 10 for tenth in range(1, 31)]
_SPANS = (
    ("train", "Training", "#56B4E9", ""),
    ("valid", "Validation", "#E69F00", "/"),
    ("test", "Test", "#0072B2", "x"),
)


def cumulated_rank_ic(per_date: pd.DataFrame) -> go.Figure:
    """Draw the sum, from the first decision on, of each model's rank IC per decision date.

    A steady slope is a steady forecast. A date on which a rank IC is undefined adds 0; a model that has none defined
    (all firms tie on every date) is left out.

    Parameters
    ----------
    per_date : columns date, model, rank_ic; one row a decision date and model.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.to_datetime(["2020-01-03", "2020-01-10"]), "model": "ridge",
    ...                       "rank_ic": [0.1, 0.2]})
    >>> [round(float(y), 2) for y in cumulated_rank_ic(table).data[0].y]
    [0.1, 0.3]
    """
    require_columns(per_date, "date", "model", "rank_ic")
    wide = by_model(per_date, "rank_ic").dropna(axis=1, how="all").fillna(0.0).cumsum()
    figure = go.Figure(_lines(wide))
    figure.add_hline(y=0, line={"color": LINE, "width": 1})
    figure.update_xaxes(title_text="Decision date", type="date")
    figure.update_yaxes(title_text="Cumulated rank IC (sum over dates)")
    return finish(figure, 440)


def portfolio_value(daily: pd.DataFrame) -> go.Figure:
    """Draw the value of 1 put into each model's long-short portfolio, before and after costs, on a log scale.

    Parameters
    ----------
    daily : columns date, model, gross, net (returns a day, fractions), of one delay. Values are drawn for the last day
        of each week, compounded from every day; a model that never held anything is left out.

    Raises
    ------
    InputError
        Where a model has a date twice: filter the table to one delay first.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.to_datetime(["2020-01-03", "2020-01-10"]), "model": "ridge",
    ...                       "gross": [0.1, 0.1], "net": [0.0, 0.1]})
    >>> [[round(float(y), 2) for y in trace.y] for trace in portfolio_value(table).data]
    [[1.1, 1.21], [1.0, 1.1]]
    """
    require_columns(daily, "date", "model", "gross", "net")
    figure = make_subplots(
        1, 2, shared_yaxes=True, subplot_titles=("Before costs", "Net of costs"), horizontal_spacing=0.03
    )
    for column, kind in enumerate(("gross", "net"), start=1):
        returns = by_model(daily, kind)
        value = (1.0 + returns.loc[:, (returns != 0).any()]).cumprod()
        weekly = value.groupby(pd.DatetimeIndex(value.index).to_period("W")).tail(1)
        for trace in _lines(weekly):
            figure.add_trace(trace.update(legendgroup=trace.name, showlegend=kind == "net"), 1, column)
    figure.add_hline(y=1, line={"color": LINE, "width": 1})
    figure.update_xaxes(title_text="Date", type="date")
    drawn = [float(value) for trace in figure.data for value in (np.nanmin(trace.y), np.nanmax(trace.y))]
    ticks = _TENTHS if drawn and min(drawn) > 0.4 and max(drawn) < 3 else _DECADES
    figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{value:g}" for value in ticks])
    figure.update_yaxes(title_text="Value of 1 invested (log scale)", col=1)
    figure.update_layout(legend={"orientation": "h", "yref": "container", "y": 0.0, "yanchor": "bottom", "x": 0.0})
    return finish(figure, 500, bottom=110)


def fold_timeline(folds: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw when each fold trains, validates and tests; the gaps between are the purge and the embargo.

    Parameters
    ----------
    folds : mappings with fold and {train, valid, test}_{start, end}, days in ISO form.

    Examples
    --------
    >>> fold = {"fold": 0, "train_start": "1990-01-02", "train_end": "1997-12-31", "valid_start": "1998-01-05",
    ...         "valid_end": "1999-12-31", "test_start": "2000-01-05", "test_end": "2003-12-31"}
    >>> [trace.name for trace in fold_timeline([fold]).data]
    ['Training', 'Validation', 'Test']
    """
    table = pd.DataFrame(list(folds))
    require_columns(table, "fold", *(f"{span}_{edge}" for span, *_ in _SPANS for edge in ("start", "end")))
    figure = go.Figure()
    for span, name, colour, pattern in _SPANS:
        start, end = pd.to_datetime(table[f"{span}_start"]), pd.to_datetime(table[f"{span}_end"])
        figure.add_bar(
            y=[str(fold) for fold in table["fold"]],
            x=((end - start) / pd.Timedelta(milliseconds=1)).to_list(),
            base=days_of(start),
            customdata=np.column_stack([days_of(start), days_of(end)]),
            orientation="h",
            name=name,
            marker={"color": colour, "line": {"color": "white", "width": 0.5},
                    "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": "white", "size": 6}},
            hovertemplate="Fold %{y}: %{customdata[0]} to %{customdata[1]}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="Date", type="date")
    figure.update_yaxes(title_text="Fold", type="category", autorange="reversed", showgrid=False)
    figure.update_layout(barmode="overlay", bargap=0.3, legend=legend_above())
    return finish(figure, 120 + 24 * max(len(table), 3), top=40)


def attention_over_lags(explanations: pd.DataFrame) -> go.Figure:
    """Draw how attention along time spreads over past days, on average over firms: a column for each model.

    Above, the average over all dates, with a dashed line where every lag would weigh the same; below, a row a date.

    Parameters
    ----------
    explanations : columns date, firm, model, method, kind, key, score; rows of kind "lag" and method "attention" are
        drawn. key is the lag in trading days before the decision, score a weight in [0, 1].

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.Timestamp("2020-03-31"), "firm": "A", "model": "time", "method": "attention",
    ...                       "kind": "lag", "key": ["0", "1"], "score": [0.75, 0.25]})
    >>> attention_over_lags(table).data[-1].z.tolist()
    [[0.75, 0.25]]
    """
    weights = attention_of(explanations, "lag")
    models = list(weights["model"].unique())
    figure = make_subplots(
        2, len(models), row_heights=[0.27, 0.73], shared_xaxes=True, shared_yaxes=True, vertical_spacing=0.04,
        horizontal_spacing=0.04, subplot_titles=[escape(label(model)) for model in models],
    )  # fmt: skip
    for column, model in enumerate(models, start=1):
        wide = mean_weights(weights[weights["model"] == model], "date")
        wide = wide[sorted(wide.columns, key=lambda lag: int(str(lag)))]
        days, lags = days_of(wide.index), [int(str(lag)) for lag in wide.columns]
        line = {"color": style_of(model, 0).colour, "width": 2}
        hover = "lag %{x}: %{y:.4f}<extra></extra>"
        figure.add_scatter(
            x=lags, y=wide.mean().to_numpy(), line=line, hovertemplate=hover, showlegend=False, row=1, col=column
        )
        equal = {"y": 1 / len(lags), "line": {"color": LINE, "width": 1.5, "dash": "dash"}}
        figure.add_hline(**equal, row=1, col=column)
        hover = "%{y}, lag %{x}: %{z:.4f}<extra></extra>"
        figure.add_heatmap(
            x=lags, y=days, z=wide.to_numpy(), coloraxis="coloraxis", hovertemplate=hover, row=2, col=column
        )
        years = year_ticks(days)
        figure.update_yaxes(
            type="category",
            autorange="reversed",
            tickvals=years,
            ticktext=[day[:4] for day in years],
            row=2,
            col=column,
        )
    figure.update_xaxes(title_text="Lag (trading days before the decision)", row=2)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(title_text="Mean weight", row=1, col=1, rangemode="tozero")
    figure.update_yaxes(title_text="Decision date", row=2, col=1)
    figure.update_layout(coloraxis=weight_scale(figure))
    return finish(figure, 540, top=40)


def peer_heat_map(explanations: pd.DataFrame, firms: Sequence[str], industry: Sequence[int]) -> go.Figure:
    """Draw whom each firm looks at, on average over dates: rows ask, columns are asked, each row sums to one.

    Firms are sorted by code, unknown ones last; thin lines part codes that differ before their last two digits, which
    are the major groups of SIC.

    Parameters
    ----------
    explanations : columns date, firm, model, method, kind, key, score; rows of kind "peer" and method "attention" are
        drawn, a panel for each model.
    firms : (n,) identifiers to show.
    industry : (n,) code of each, 0 = unknown.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.Timestamp("2020-03-31"), "firm": ["A", "B"], "model": "firm",
    ...                       "method": "attention", "kind": "peer", "key": ["B", "A"], "score": [1.0, 1.0]})
    >>> peer_heat_map(table, ["A", "B"], [3571, 2834]).data[0].x
    ('B 2834', 'A 3571')
    """
    if len(firms) != len(industry):
        raise InputError(f"peer_heat_map needs a code for each firm, found {len(industry)} for {len(firms)} firms")
    weights = attention_of(explanations, "peer")
    shown = set(weights["firm"]) | set(weights["key"])
    order = sorted(
        (int(code) or UNKNOWN, str(firm)) for firm, code in zip(firms, industry, strict=True) if firm in shown
    )
    ids = [firm for _, firm in order]
    ticks = firm_labels(order)
    models = list(weights["model"].unique())
    titles = [escape(label(model)) for model in models]
    figure = make_subplots(1, len(models), shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles)
    for column, model in enumerate(models, start=1):
        wide = mean_weights(weights[weights["model"] == model], "firm")
        z = wide.reindex(index=ids, columns=ids, fill_value=0.0).to_numpy()
        hover = "%{y} looks at %{x}: %{z:.3f}<extra></extra>"
        figure.add_heatmap(x=ticks, y=ticks, z=z, coloraxis="coloraxis", hovertemplate=hover, row=1, col=column)
    for edge in group_edges([code for code, _ in order]):
        for add in (figure.add_hline, figure.add_vline):
            add(edge - 0.5, line={"color": LINE, "width": 0.8}, row="all", col="all")
    shared = {"type": "category", "showgrid": False}
    figure.update_xaxes(shared, title_text="Firm asked", tickangle=-90)
    figure.update_yaxes(shared, autorange="reversed")
    figure.update_yaxes(title_text=f"Firm asking{' (identifier and industry code)' if any(industry) else ''}", col=1)
    figure.update_layout(coloraxis=weight_scale(figure))
    return finish(figure, 260 + min(18 * max(len(ids), 8), 720), top=40)


def rank_ic_intervals(metrics: pd.DataFrame, reference: str = "ridge") -> go.Figure:
    """Draw each model's mean rank IC, and its difference to `reference`, with 95% intervals.

    The line is the interval by HAC standard errors, the grey band behind it that of the block bootstrap. A model whose
    rank IC is undefined keeps its row and shows no point.

    Parameters
    ----------
    metrics : columns model, against (null for a level), metric, estimate, lower, upper, bootstrap_lower,
        bootstrap_upper; rows of metric "rank_ic" are drawn.
    reference : the model that the right-hand panel subtracts.

    Examples
    --------
    >>> table = pd.DataFrame({"model": ["ridge"], "against": [None], "metric": ["rank_ic"], "estimate": [0.02],
    ...     "lower": [0.0], "upper": [0.04], "bootstrap_lower": [0.0], "bootstrap_upper": [0.05]})
    >>> rank_ic_intervals(table).data[1].x.tolist()
    [0.02]
    """
    edges = ("lower", "upper", "bootstrap_lower", "bootstrap_upper")
    require_columns(metrics, "model", "against", "metric", "estimate", *edges)
    table = metrics[metrics["metric"] == "rank_ic"]
    levels, differences = table[table["against"].isna()], table[table["against"] == reference]
    titles = ("Rank IC", f"Rank IC minus that of {escape(label(reference))}")
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04, subplot_titles=titles)
    for column, part in enumerate((levels, differences), start=1):
        figure.add_trace(_whiskers(part, "bootstrap_lower", "bootstrap_upper"), 1, column)
        figure.add_trace(_whiskers(part, "lower", "upper"), 1, column)
        figure.add_vline(0, line={"color": INK, "width": 1}, row=1, col=column)
    figure.update_xaxes(title_text="Mean over dates, 95% interval")
    names = [escape(label(model)) for model in levels["model"]]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=names, autorange="reversed")
    return finish(figure, 110 + 34 * max(len(names), 3), top=40)


def rank_ic_by_year(per_date: pd.DataFrame) -> go.Figure:
    """Draw the mean rank IC of each model in each calendar year, as a table of signed colours with the numbers in it.

    Parameters
    ----------
    per_date : columns date, model, rank_ic; one row a decision date and model.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.to_datetime(["2020-01-03", "2021-01-08"]), "model": "ridge",
    ...                       "rank_ic": [0.1, -0.2]})
    >>> rank_ic_by_year(table).data[0].z.tolist()
    [[0.1, -0.2]]
    """
    require_columns(per_date, "date", "model", "rank_ic")
    wide = by_model(per_date, "rank_ic").dropna(axis=1, how="all")
    yearly = wide.groupby(pd.DatetimeIndex(wide.index).year).mean().T
    z = yearly.to_numpy()
    text = [
        ["" if np.isnan(v) else f"{round(v, 2) + 0.0:.2f}".replace("-", "−").replace("0.", ".") for v in row]
        for row in z
    ]
    figure = go.Figure(go.Heatmap(
        x=[str(year) for year in yearly.columns], y=[escape(label(model)) for model in yearly.index], z=z, text=text,
        texttemplate="%{text}", textfont={"size": 12}, colorscale=SIGNED, zmid=0.0, xgap=1, ygap=1, showscale=False,
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
    ))  # fmt: skip
    figure.update_xaxes(title_text="Year of the decision (mean rank IC in the cell)", type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return finish(figure, 110 + 32 * max(len(yearly), 3))


# -- marks ------------------------------------------------------------


def _lines(wide: pd.DataFrame) -> list[go.Scatter]:
    """Return a line for each column, those that end highest first, as the eye meets them in the legend."""
    styles = {model: style_of(model, i) for i, model in enumerate(wide.columns)}
    last = wide.ffill().iloc[-1].sort_values(ascending=False, kind="stable") if len(wide) else pd.Series(dtype=float)
    days = days_of(wide.index)
    return [
        go.Scatter(
            x=days, y=wide[model].to_numpy(), mode="lines", name=escape(label(model)),
            line={"color": styles[model].colour, "dash": styles[model].dash, "width": styles[model].width},
            hovertemplate="%{x}: %{y:.3f}",
        )
        for model in last.index
    ]  # fmt: skip


def _whiskers(part: pd.DataFrame, lower: str, upper: str) -> go.Scatter:
    band = lower.startswith("bootstrap")
    styles = [style_of(model, i) for i, model in enumerate(part["model"])]
    estimate = part["estimate"].to_numpy(float)
    return go.Scatter(
        x=estimate,
        y=[escape(label(model)) for model in part["model"]],
        mode="markers",
        marker={"size": 1 if band else 10, "color": [s.colour for s in styles], "symbol": [s.symbol for s in styles]},
        error_x={
            "type": "data", "symmetric": False, "width": 0 if band else 5, "thickness": 9 if band else 1.8,
            "color": "#D5DAE0" if band else INK,
            "array": part[upper].to_numpy(float) - estimate, "arrayminus": estimate - part[lower].to_numpy(float),
        },
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
        hoverinfo="skip" if band else None,
        showlegend=False,
    )  # fmt: skip
