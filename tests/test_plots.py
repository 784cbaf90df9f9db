import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from finattn import looks, plots
from finattn.errors import InputError

DATES = pd.to_datetime(["2019-12-27", "2020-01-03", "2020-01-10", "2020-01-17"])
NASTY = "<img src=x onerror=alert(1)>"
NAN = float("nan")


def per_date() -> pd.DataFrame:
    columns = {"zero": [NAN] * 4, "ridge": [0.1, -0.2, NAN, 0.3], "<b>x</b>": [0.2, 0.2, 0.1, 0.0]}
    return pd.DataFrame(columns, index=DATES).rename_axis("date").melt(
        var_name="model", value_name="rank_ic", ignore_index=False
    ).reset_index()  # fmt: skip


def daily() -> pd.DataFrame:
    days = pd.bdate_range("2020-01-01", periods=8)
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {"date": days, "model": model, "gross": scale * rng.normal(0, 1, 8), "net": scale * rng.normal(0, 1, 8)}
        )
        for model, scale in (("zero", 0.0), ("ridge", 0.01), ("both", 0.02))
    ]
    return pd.concat(parts, ignore_index=True)


def explanations(kind: str, keys: list[str], firms: list[str], models: tuple[str, ...] = ("both",)) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        (date, firm, model, "attention", kind, key, weight)
        for model in models
        for date in DATES
        for firm in firms
        for key, weight in zip(keys, rng.dirichlet(np.ones(len(keys))), strict=True)
    ]
    return pd.DataFrame(rows, columns=["date", "firm", "model", "method", "kind", "key", "score"])


def metrics() -> pd.DataFrame:
    rows = [
        ("ridge", None, "rank_ic", 0.02, 0.0, 0.04, -0.01, 0.05),
        (NASTY, None, "rank_ic", 0.03, 0.01, 0.05, 0.0, 0.06),
        ("zero", None, "rank_ic", NAN, NAN, NAN, NAN, NAN),
        (NASTY, "ridge", "rank_ic", 0.01, -0.01, 0.03, -0.02, 0.04),
        (NASTY, "sic_kernel", "rank_ic", 0.09, 0.0, 0.1, 0.0, 0.1),
        ("ridge", None, "ic", 0.5, 0.4, 0.6, 0.4, 0.6),
    ]
    edges = ["lower", "upper", "bootstrap_lower", "bootstrap_upper"]
    return pd.DataFrame(rows, columns=["model", "against", "metric", "estimate", *edges])


FOLDS = [
    {"fold": k, "train_start": "1990-01-02", "train_end": f"{1997 + k}-12-31", "valid_start": f"{1998 + k}-01-09",
     "valid_end": f"{1998 + k}-12-31", "test_start": f"{1999 + k}-01-08", "test_end": f"{1999 + k}-12-31"}
    for k in range(3)
]  # fmt: skip
FIRMS = ["AAA", NASTY, "CCC", "DDD"]
CODES = [7372, 1311, 0, 1389]

FIGURES: dict[str, Callable[[], go.Figure]] = {
    "cumulated_rank_ic": lambda: plots.cumulated_rank_ic(per_date()),
    "rank_ic_by_year": lambda: plots.rank_ic_by_year(per_date()),
    "portfolio_value": lambda: plots.portfolio_value(daily()),
    "fold_timeline": lambda: plots.fold_timeline(FOLDS),
    "attention_over_lags": lambda: plots.attention_over_lags(
        explanations("lag", ["0", "1", "2"], FIRMS, ("time", NASTY))
    ),
    "peer_heat_map": lambda: plots.peer_heat_map(explanations("peer", FIRMS, FIRMS, ("firm", NASTY)), FIRMS, CODES),
    "rank_ic_intervals": lambda: plots.rank_ic_intervals(metrics()),
}


@pytest.fixture(params=list(FIGURES))
def figure(request: pytest.FixtureRequest) -> go.Figure:
    return FIGURES[request.param]()


# -- the one look ------------------------------------------------------------


def test_every_figure_is_svg_on_white_with_large_enough_text(figure: go.Figure) -> None:
    assert {trace.type for trace in figure.data} <= {"scatter", "bar", "heatmap"}
    assert figure.layout.paper_bgcolor == figure.layout.plot_bgcolor == "white"
    assert all(size >= 12 for size in sizes(figure.to_plotly_json()))


def sizes(part: object) -> list[float]:
    """All font sizes anywhere in a figure."""
    if isinstance(part, dict):
        fonts = [value["size"] for key, value in part.items() if key.endswith("font") and "size" in value]
        return fonts + [size for value in part.values() for size in sizes(value)]
    if isinstance(part, list | tuple):
        return [size for value in part for size in sizes(value)]
    return []


def test_every_figure_names_its_axes(figure: go.Figure) -> None:
    axes = [axis for name, axis in figure.to_plotly_json()["layout"].items() if name.startswith(("xaxis", "yaxis"))]
    titles = [axis["title"].get("text") for axis in axes]
    assert any(titles)
    assert figure.layout.xaxis.title.text or figure.layout.xaxis.matches


def test_no_figure_holds_markup_from_data(figure: go.Figure) -> None:
    text = figure.to_json().replace("\\u003c", "<").replace("\\u003e", ">").replace("\\u002f", "/")
    assert "<img" not in text and "<b>" not in text


def test_names_from_data_are_shown_escaped() -> None:
    assert [trace.name for trace in FIGURES["cumulated_rank_ic"]().data] == ["&lt;b&gt;x&lt;/b&gt;", "Ridge"]
    assert "&lt;img src=x on… 1311" in FIGURES["peer_heat_map"]().data[0].x
    titles = [note.text for note in FIGURES["attention_over_lags"]().layout.annotations]
    assert titles == ["Attention, time", looks.escape(NASTY)]
    assert FIGURES["rank_ic_intervals"]().data[1].y[1] == looks.escape(NASTY)
    assert plots.rank_ic_intervals(metrics(), NASTY).layout.annotations[1].text.endswith(looks.escape(NASTY))


def test_models_differ_in_colour_and_also_without_it() -> None:
    styles = looks.STYLES.values()
    assert set(looks.STYLES) <= set(looks.LABELS)  # others take one by their place
    assert len({style.colour for style in styles}) == len(styles)
    assert len({(style.dash, style.width) for style in styles}) == len(styles)
    assert len({style.symbol for style in styles}) == len(styles)


def test_a_model_looks_the_same_wherever_it_is_drawn() -> None:
    lines = {trace.name: trace.line for trace in FIGURES["portfolio_value"]().data}
    ridge = next(trace for trace in FIGURES["cumulated_rank_ic"]().data if trace.name == "Ridge")
    assert (lines["Ridge"].color, lines["Ridge"].dash) == (ridge.line.color, ridge.line.dash)


# -- the numbers ------------------------------------------------------------


def test_cumulated_rank_ic_adds_up_and_counts_undefined_as_nothing() -> None:
    figure = plots.cumulated_rank_ic(per_date())
    ridge = next(trace for trace in figure.data if trace.name == "Ridge")
    assert list(ridge.x) == ["2019-12-27", "2020-01-03", "2020-01-10", "2020-01-17"]
    np.testing.assert_allclose(ridge.y, [0.1, -0.1, -0.1, 0.2])
    assert "Zero" not in [trace.name for trace in figure.data]


def test_lines_are_listed_from_the_highest_end_down() -> None:
    ends = [trace.y[-1] for trace in plots.cumulated_rank_ic(per_date()).data]
    assert ends == sorted(ends, reverse=True)


def test_rank_ic_by_year_is_the_mean_of_each_year() -> None:
    heat = plots.rank_ic_by_year(per_date()).data[0]
    assert list(heat.x) == ["2019", "2020"]
    np.testing.assert_allclose(heat.z, [[0.1, 0.05], [0.2, 0.1]])
    assert [list(row) for row in heat.text] == [[".10", ".05"], [".20", ".10"]]


def test_portfolio_value_compounds_every_day_and_shows_each_week_s_end() -> None:
    table = daily()
    figure = plots.portfolio_value(table)
    for side, axis in (("gross", "x"), ("net", "x2")):
        trace = next(trace for trace in figure.data if trace.xaxis == axis and trace.name == "Ridge")
        value = np.cumprod(1 + table.loc[table["model"] == "ridge", side].to_numpy())
        assert list(trace.x) == ["2020-01-03", "2020-01-10"]
        np.testing.assert_allclose(trace.y, value[[2, 7]])
    assert {trace.name for trace in figure.data} == {"Ridge", "Attention, both"}
    assert figure.layout.yaxis.type == "log"


def test_fold_timeline_draws_the_windows_where_they_are() -> None:
    bars = plots.fold_timeline(FOLDS).data
    assert [bar.name for bar in bars] == ["Training", "Validation", "Test"]
    for bar, span in zip(bars, ("train", "valid", "test"), strict=True):
        assert list(bar.base) == [fold[f"{span}_start"] for fold in FOLDS]
        ends = pd.to_datetime(list(bar.base)) + pd.to_timedelta(list(bar.x), unit="ms")
        assert [f"{end:%Y-%m-%d}" for end in ends] == [fold[f"{span}_end"] for fold in FOLDS]
    assert len({bar.marker.pattern.shape for bar in bars}) == 3


def test_attention_over_lags_averages_over_firms_with_lags_in_order() -> None:
    keys = [str(lag) for lag in (10, 2, 0, 1, 9)]
    table = explanations("lag", keys, ["A", "B"])
    figure = plots.attention_over_lags(table)
    profile, heat = figure.data
    assert list(heat.x) == [0, 1, 2, 9, 10]
    expected = table.pivot_table(index="date", columns="key", values="score")[["0", "1", "2", "9", "10"]].to_numpy()
    np.testing.assert_allclose(heat.z, expected)
    np.testing.assert_allclose(profile.y, expected.mean(axis=0))
    np.testing.assert_allclose(heat.z.sum(axis=1), 1.0)


def test_peers_are_sorted_by_sic_with_unknown_codes_last() -> None:
    heat = plots.peer_heat_map(explanations("peer", FIRMS, FIRMS), FIRMS, CODES).data[0]
    assert list(heat.x) == list(heat.y) == ["&lt;img src=x on… 1311", "DDD 1389", "AAA 7372", "CCC ?"]


def test_rows_of_the_peer_map_are_the_asking_firms_and_sum_to_one() -> None:
    table = explanations("peer", FIRMS, FIRMS)
    table = table[~((table["date"] == DATES[0]) & (table["firm"] == "AAA"))]  # listed later: fewer dates to average
    heat = plots.peer_heat_map(table, FIRMS, CODES).data[0]
    np.testing.assert_allclose(heat.z.sum(axis=1), 1.0)
    asked = table[(table["firm"] == "AAA") & (table["key"] == "DDD")]["score"].mean()
    assert heat.z[2, 1] == pytest.approx(asked)


def test_a_peer_that_was_kept_on_some_dates_only_counts_as_nothing_on_the_others() -> None:
    table = explanations("peer", ["AAA"], ["DDD"]).assign(key=["AAA", "CCC", "CCC", "CCC"])
    heat = plots.peer_heat_map(table, FIRMS, CODES).data[0]
    assert heat.z.tolist() == [[0.0, 0.25, 0.75], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


def test_firms_whose_short_labels_would_coincide_keep_their_full_names() -> None:
    firms = [f"a long identifier {i}" for i in range(2)]
    heat = plots.peer_heat_map(explanations("peer", firms, firms), firms, [1311, 1311]).data[0]
    assert list(heat.x) == ["a long identifier 0 1311", "a long identifier 1 1311"]


def test_weights_that_hardly_differ_do_not_look_strong() -> None:
    firms = [f"F{i}" for i in range(10)]
    table = explanations("peer", firms, firms).assign(score=0.1)
    assert plots.peer_heat_map(table, firms, [1311] * 10).layout.coloraxis.cmax == 0.2


def test_intervals_are_those_of_the_table() -> None:
    figure = plots.rank_ic_intervals(metrics())
    band, level, _, difference = figure.data
    np.testing.assert_array_equal(level.x, [0.02, 0.03, NAN])
    np.testing.assert_allclose(level.error_x.array, [0.02, 0.02, NAN])
    np.testing.assert_allclose(level.error_x.arrayminus, [0.02, 0.02, NAN])
    np.testing.assert_allclose(band.error_x.array, [0.03, 0.03, NAN])
    np.testing.assert_allclose(difference.x, [0.01])
    assert figure.layout.yaxis.categoryarray == ("Ridge", looks.escape(NASTY), "Zero")


# -- refusals and edges ------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.cumulated_rank_ic(per_date()[["date", "model"]]), "model, rank_ic; found no rank_ic"),
        (lambda: plots.portfolio_value(pd.concat([daily(), daily()])), "each date and model, found duplicates"),
        (lambda: plots.fold_timeline([{"fold": 0}]), "found no train_start, train_end, valid_start"),
        (lambda: plots.attention_over_lags(explanations("peer", ["A"], ["A"])), "attention of kind 'lag' to draw it"),
        (lambda: plots.peer_heat_map(explanations("peer", ["A"], ["A"]), ["A"], []), "found 0 for 1 firms"),
        (lambda: plots.rank_ic_intervals(per_date()), "found no against, metric, estimate"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_drawn_is_refused(draw: Callable[[], go.Figure], message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw()


@pytest.mark.parametrize("draw", [plots.cumulated_rank_ic, plots.rank_ic_by_year])
def test_a_run_in_which_nothing_is_defined_gives_an_empty_figure(draw: Callable[[pd.DataFrame], go.Figure]) -> None:
    table = per_date()
    figure = draw(table[table["model"] == "zero"])
    assert all(np.size(trace.y) == 0 for trace in figure.data)


def test_importing_finattn_does_not_import_plotly() -> None:
    code = "import finattn, sys; sys.exit('plotly' in sys.modules or 'finattn.plots' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def explained(keys, methods, kind="peer"):
    rows = [
        {"date": pd.Timestamp("2020-01-31"), "firm": "A", "model": "m", "method": method, "kind": kind, "key": key,
         "score": 1.0 + place}
        for method in methods for place, key in enumerate(keys)
    ]  # fmt: skip
    return plots.explained_forecast(pd.DataFrame(rows))


def test_names_beside_the_right_bars_have_room_and_long_ones_are_cut_but_keep_their_bars() -> None:
    long = [f"{'N' * 30}{place}" for place in range(2)]
    for keys, methods, least in ((["AAPL"], 2, 59), (["idiosyncratic"], 2, 120), (long, 2, 170), (long, 4, 130)):
        figure = explained(keys, ["attention", "saliency", "shapley", "occlusion"][:methods])
        axes = [figure.layout.xaxis.domain, figure.layout.xaxis2.domain]
        assert 800 * (axes[1][0] - axes[0][1]) >= least
        assert all(figure.layout[f"xaxis{place or ''}"].domain[0] >= 0 for place in (0, 2))
    assert figure.layout.yaxis2.ticktext == ("N" * 19 + "…",) * 2 and figure.data[1].y == tuple(long)
    assert figure.layout.yaxis2.tickvals == tuple(long)
    assert explained(long, ["saliency"]).layout.xaxis.domain == (0.0, 0.98)  # what kind it is stands at the right
    assert explained(["0", "1"], ["saliency"], "lag").layout.annotations[1].text == "Its own days, by lag"


def test_signs_that_turn_text_are_written_as_their_codes() -> None:
    names = [f"A{chr(code)}B" for code in (0x202E, 0x2067, 0x200F, 0x061C)]
    assert [looks.escape(name) for name in names] == ["A\\u202eB", "A\\u2067B", "A\\u200fB", "A\\u061cB"]
    heat = plots.peer_heat_map(explanations("peer", names, names), names, [1311] * 4).data[0]
    assert "A\\u202eB 1311" in heat.x and not set("".join(map(chr, (0x202E, 0x2067)))) & set("".join(heat.x))
    assert looks.escape("\u05d0\u05d1") == "\u05d0\u05d1"
