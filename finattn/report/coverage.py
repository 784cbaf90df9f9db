"""A panel's coverage by year, drawn: the tables of a `Description` in, a plotly figure out."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from finattn.looks import LINE, WEIGHTS, escape, finish, legend_above

FIELDS_SHOWN = 40  # rows of a heat map that a screen can show


def firms_by_year(years: pd.DataFrame) -> go.Figure:
    """Draw how many firms are listed on a date, on average over each year, and how many enter and leave, if any do.

    Parameters
    ----------
    years : of `Coverage`: columns year, dates, firm_dates, with_return, entered, left.

    Examples
    --------
    >>> table = pd.DataFrame({"year": [2020], "dates": [2], "firm_dates": [20], "with_return": [0.9], "entered": [1],
    ...                       "left": [3]})
    >>> [trace.y.tolist() for trace in firms_by_year(table).data]
    [[9.0], [1.0], [1], [-3]]
    """
    a_date = (years["firm_dates"] / years["dates"]).to_numpy()
    known = a_date * years["with_return"].fillna(0.0).to_numpy()
    bars = [
        (1, "Listed, with a return", known, "#0072B2", ""),
        (1, "Listed, without", a_date - known, "#E69F00", "/"),
    ]
    if (years[["entered", "left"]] > 0).any(axis=None):
        bars += [
            (2, "Enter", years["entered"].to_numpy(), "#009E73", ""),
            (2, "Leave", -years["left"].to_numpy(), "#D55E00", "x"),
        ]
    rows = bars[-1][0]
    figure = make_subplots(rows, 1, row_heights=[0.68, 0.32][:rows], shared_xaxes=True, vertical_spacing=0.06)
    for row, name, y, colour, pattern in bars:
        shown = "%{customdata:,.0f}" if row == 2 else "%{y:,.1f}"
        figure.add_bar(
            x=years["year"].to_numpy(), y=y, customdata=np.abs(y), name=name, row=row, col=1,
            marker={"color": colour, "line": {"width": 0},
                    "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": "white", "size": 6}},
            hovertemplate=f"%{{x}}: {shown}<extra>{name}</extra>",
        )  # fmt: skip
    _year_axis(figure, len(years))
    figure.update_xaxes(title_text="Year", row=rows)
    figure.update_yaxes(title_text="Firms", zeroline=True, zerolinecolor=LINE)
    figure.update_yaxes(title_text="Firms a date (mean)", row=1)
    figure.update_layout(barmode="relative", bargap=0.25, legend=legend_above())
    return finish(figure, 160 + 140 * rows, top=40)


def missing_by_year(fields_by_year: pd.DataFrame) -> go.Figure:
    """Draw the share of listed firm-dates that lack each field in each year: white is none, dark is all.

    Of more than 40 fields those that lack most are drawn.

    Parameters
    ----------
    fields_by_year : of `Coverage`: columns year, field, share.

    Examples
    --------
    >>> table = pd.DataFrame({"year": [2019, 2020], "field": "price", "share": [1.0, 0.25]})
    >>> missing_by_year(table).data[0].z.tolist()
    [[100.0, 25.0]]
    """
    order = list(dict.fromkeys(fields_by_year["field"]))
    wide = 100 * fields_by_year.pivot(index="field", columns="year", values="share").loc[order]
    worst = wide.mean(axis=1).sort_values(ascending=False, kind="stable").index[:FIELDS_SHOWN]
    wide = wide.loc[[name for name in order if name in set(worst)]]
    z = wide.to_numpy()
    text = [["" if np.isnan(v) else f"{v:.0f}" if v in (0, 100) else f"{v:.1f}" for v in row] for row in z]
    figure = go.Figure(
        go.Heatmap(
            x=[int(year) for year in wide.columns], y=[escape(name) for name in wide.index], z=z,
            text=text, texttemplate="%{text}" if len(wide.columns) <= 16 else None, textfont={"size": 12},
            colorscale=WEIGHTS, zmin=0, zmax=100, xgap=1, ygap=1, hovertemplate="%{y}, %{x}: %{z:.2f}%<extra></extra>",
            colorbar={"title": {"text": "Missing, %", "side": "right"}, "thickness": 14, "outlinewidth": 0.5},
        )
    )  # fmt: skip
    _year_axis(figure, len(wide.columns))
    figure.update_xaxes(title_text="Year", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return finish(figure, 110 + 26 * max(len(wide), 4))


def _year_axis(figure: go.Figure, years: int) -> None:
    """Name whole years, all of them where there is room."""
    figure.update_xaxes(tickformat="d", dtick=1 if years <= 20 else 5 if years <= 60 else 10)
