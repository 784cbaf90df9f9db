"""What forecasts are worth, and when each fold trains and tests."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from finattn.errors import InputError
from finattn.looks import INK, LINE, label, style_of
from finattn.plots.paper.style import (
    canvas,
    dated,
    legend_below,
    line_of,
    log_ticks,
    marker_of,
    plain,
    styled,
)
from finattn.plots.tables import by_model, require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SPANS = (
    ("train", "Training", "#56B4E9", ""),
    ("valid", "Validation", "#E69F00", "///"),
    ("test", "Test", "#0072B2", "xxx"),
)
_EDGES = ("lower", "upper", "bootstrap_lower", "bootstrap_upper")


@styled
def cumulated_rank_ic(per_date: pd.DataFrame) -> "Figure":
    """Draw the sum, from the first decision on, of each model's rank IC per decision date: a steady slope is skill.

    Parameters
    ----------
    per_date : as of `finattn.plots.cumulated_rank_ic`: date, model, rank_ic. An undefined date adds 0; a model that has
        none defined is left out.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.to_datetime(["2020-01-03", "2020-01-10"]), "model": "ridge",
    ...                       "rank_ic": [0.1, 0.2]})
    >>> [round(float(y), 2) for y in cumulated_rank_ic(table).axes[0].lines[1].get_ydata()]
    [0.1, 0.3]
    """
    require_columns(per_date, "date", "model", "rank_ic")
    wide = by_model(per_date, "rank_ic").dropna(axis=1, how="all").fillna(0.0).cumsum()
    figure, ((axes,),) = canvas(3.8)
    axes.axhline(0.0, color=LINE, linewidth=1)
    _models(axes, wide)
    dated(axes, "Decision date")
    axes.set_ylabel("Cumulated rank IC (sum over dates)")
    legend_below(figure, axes)
    return figure


@styled
def portfolio_value(daily: pd.DataFrame) -> "Figure":
    """Draw the value of 1 put into each model's portfolio, before and after costs, on a log scale.

    Parameters
    ----------
    daily : as of `finattn.plots.portfolio_value`: date, model, gross, net (returns of a row, fractions), of one delay.

    Raises
    ------
    InputError
        For missing columns, a date that a model has twice, and models that never held anything.

    Examples
    --------
    >>> table = pd.DataFrame({"date": pd.to_datetime(["2020-01-03", "2020-01-10"]), "model": "ridge",
    ...                       "gross": [0.1, 0.1], "net": [0.0, 0.1]})
    >>> [round(float(y), 2) for y in portfolio_value(table).axes[1].lines[1].get_ydata()]
    [1.0, 1.1]
    """
    require_columns(daily, "date", "model", "gross", "net")
    figure, grid = canvas(4.0, 1, 2, sharey=True)
    for axes, kind, title in zip(grid[0], ("gross", "net"), ("Before costs", "Net of costs"), strict=True):
        returns = by_model(daily, kind)
        value = (1.0 + returns.loc[:, (returns != 0).any()]).cumprod()
        if value.empty:
            raise InputError("portfolio_value needs a portfolio that held something, found none")
        axes.axhline(1.0, color=LINE, linewidth=1)
        _models(axes, value)
        log_ticks(axes)
        axes.set_title(title)
        dated(axes)
    grid[0, 0].set_ylabel("Value of 1 invested (log scale)")
    legend_below(figure, grid[0, 0])
    return figure


def _models(axes: "Axes", wide: pd.DataFrame) -> None:
    """Draw a line for each column, those that end highest first."""
    styles = {model: style_of(str(model), place) for place, model in enumerate(wide.columns)}
    last = wide.ffill().iloc[-1].sort_values(ascending=False, kind="stable")
    for model in last.index:
        axes.plot(wide.index, wide[model].to_numpy(), label=plain(label(str(model))), **line_of(styles[model]))


@styled
def fold_timeline(folds: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draw when each fold trains, validates and tests; the gaps between are the purge and the embargo.

    Parameters
    ----------
    folds : as of `finattn.plots.fold_timeline`: fold and {train, valid, test}_{start, end}, as
        `finattn.experiment.fold_spans` gives them.

    Examples
    --------
    >>> fold = {"fold": 0, "train_start": "1990-01-02", "train_end": "1997-12-31", "valid_start": "1998-01-05",
    ...         "valid_end": "1999-12-31", "test_start": "2000-01-05", "test_end": "2003-12-31"}
    >>> [text.get_text() for text in fold_timeline([fold]).legends[0].get_texts()]
    ['Training', 'Validation', 'Test']
    """
    table = pd.DataFrame(list(folds))
    require_columns(table, "fold", *(f"{span}_{edge}" for span, *_ in _SPANS for edge in ("start", "end")))
    figure, ((axes,),) = canvas(0.9 + 0.3 * max(3, len(table)))
    places = np.arange(len(table))
    for span, name, colour, hatch in _SPANS:
        start, end = (pd.to_datetime(table[f"{span}_{edge}"]).to_numpy() for edge in ("start", "end"))
        axes.barh(
            places, end - start, left=start, height=0.66, color=colour, hatch=hatch, edgecolor="white", label=name
        )
    axes.set_yticks(places, [str(fold) for fold in table["fold"]])
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_ylabel("Fold")
    axes.xaxis_date()
    dated(axes)
    legend_below(figure, axes)
    return figure


@styled
def rank_ic_intervals(metrics: pd.DataFrame, reference: str = "ridge") -> "Figure":
    """Draw each model's mean rank IC, and its difference to `reference`, with 95% intervals.

    The line is the interval by HAC standard errors, the grey band behind it that of the block bootstrap.

    Parameters
    ----------
    metrics : as of `finattn.plots.rank_ic_intervals`, such as `finattn.evaluate` returns.
    reference : the model that the right-hand panel subtracts.

    Examples
    --------
    >>> table = pd.DataFrame({"model": ["ridge"], "against": [None], "metric": ["rank_ic"], "estimate": [0.02],
    ...     "lower": [0.0], "upper": [0.04], "bootstrap_lower": [0.0], "bootstrap_upper": [0.05]})
    >>> rank_ic_intervals(table).axes[0].get_yticklabels()[0].get_text()
    'Ridge'
    """
    require_columns(metrics, "model", "against", "metric", "estimate", *_EDGES)
    table = metrics[metrics["metric"] == "rank_ic"]
    levels, differences = table[table["against"].isna()], table[table["against"] == reference]
    names = list(levels["model"])
    titles = ("Rank IC", f"Rank IC minus that of {plain(label(reference))}")
    figure, grid = canvas(1.0 + 0.34 * max(3, len(names)), 1, 2, sharey=True)
    for axes, part, title in zip(grid[0], (levels, differences), titles, strict=True):
        axes.axvline(0.0, color=INK, linewidth=1)
        for row in part.to_dict("records"):
            _whiskers(axes, {str(key): value for key, value in row.items()}, names.index(row["model"]))
        axes.xaxis.get_major_locator().set_params(nbins=5)
        axes.set_title(title)
        axes.set_xlabel("Mean over dates, 95% interval")
    grid[0, 0].set_yticks(range(len(names)), [plain(label(str(model))) for model in names])
    grid[0, 0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _whiskers(axes: "Axes", row: Mapping[str, Any], place: int) -> None:
    style = style_of(row["model"], place)
    axes.plot([row["bootstrap_lower"], row["bootstrap_upper"]], [place] * 2, color="#D5DAE0", linewidth=8,
              solid_capstyle="butt")  # fmt: skip
    axes.plot([row["lower"], row["upper"]], [place] * 2, color=INK, linewidth=1.5, marker="|", markersize=7)
    axes.plot([row["estimate"]], [place], color=style.colour, marker=marker_of(style), markersize=8)


@styled
def calibration(bins: pd.DataFrame) -> "Figure":
    """Draw what followed against what was forecast, both in excess of their date's mean; on the line they are equal.

    Parameters
    ----------
    bins : a row a model and bin of its forecasts: model, predicted and realised (mean returns, fractions), and the
        standard_error of realised, drawn twice either way.

    Raises
    ------
    InputError
        For missing columns, or no rows.

    Examples
    --------
    >>> rows = {"model": "ridge", "predicted": [-0.01, 0.01], "realised": [-0.004, 0.006], "standard_error": 0.002}
    >>> figure = calibration(pd.DataFrame(rows))
    >>> figure.axes[0].get_xlabel()
    'Forecast return in excess of the date’s mean (%)'
    """
    require_columns(bins, "model", "predicted", "realised", "standard_error")
    if bins.empty:
        raise InputError("calibration needs bins, found none")
    figure, ((axes,),) = canvas(4.0)
    edge = 100 * float(bins["predicted"].abs().max())
    axes.plot([-edge, edge], [-edge, edge], color=LINE, linewidth=1.2, linestyle="--", label="Forecast = outcome")
    axes.axhline(0.0, color=LINE, linewidth=1)
    for place, (model, part) in enumerate(bins.groupby("model", sort=False)):
        style = style_of(str(model), place)
        axes.errorbar(
            100 * part["predicted"], 100 * part["realised"], yerr=200 * part["standard_error"], capsize=3,
            marker=marker_of(style), markersize=6, label=plain(label(str(model))), **line_of(style),
        )  # fmt: skip
    axes.set_xlabel("Forecast return in excess of the date’s mean (%)")
    axes.set_ylabel("Realised, ± 2 standard errors (%)")
    legend_below(figure, axes)
    return figure
