"""Pictures for papers: the numbers in them are the table's, all text is literal, and no one's settings change."""

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from test_plots import CODES, DATES, FIRMS, FOLDS, daily, explanations, metrics, per_date

from finattn import bench, looks
from finattn.bench.costs import KERNELS
from finattn.errors import InputError
from finattn.plots import paper
from finattn.plots.paper import style

NASTY = r"_$\frac{a}$ <b> $x$"
NAN = float("nan")


def small_weights() -> dict[str, pd.DataFrame]:
    names = ["Mon", NASTY, "Wed"]
    causal = np.where(np.tri(3) > 0, np.tri(3) / np.arange(1, 4)[:, None], np.nan)
    return {NASTY: pd.DataFrame(causal, index=names, columns=names), "Even": pd.DataFrame(np.full((2, 3), 1 / 3))}


def history(axis: str) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [[0, 2], [0, 1], [18000, 18001], [0, 1], [0, 1, 2]], names=["epoch", "head", "date", "firm", "key"]
    )
    table = pd.DataFrame({"weight": np.random.default_rng(0).random(len(index))}, index=index).reset_index()
    return table.assign(layer=0, axis=axis)


def costs() -> pd.DataFrame:
    sizes = bench.Sizes(firms=(10, 20), lookback=(5, 10), width=8, heads=2, days=20)
    return bench.costs(bench.cells(sizes), lambda cell: bench.Measured(1e-6 * cell.firms, None))


def curves() -> pd.DataFrame:
    methods = {"attention": 0.1, "saliency": 0.05, "random": 0.15, NASTY: 0.02}
    rows = [
        (kind, method, share, level * (1 - share), -0.1, 0.2)
        for kind in ("peer", "feature")
        for method, level in methods.items()
        for share in (0.0, 0.5, 1.0)
    ]
    return pd.DataFrame(rows, columns=["kind", "method", "share", "rank_ic", "lower", "upper"])


def audited() -> pd.DataFrame:
    rows = [
        ("deletion", "saliency", "peer", "area", 0.1, 0.05, 0.2, 0.0),
        ("deletion", NASTY, "peer", "area", -0.1, NAN, NAN, 0.0),
        ("agreement", "saliency", "peer", "kendall", 0.4, 0.3, 0.5, 0.0),
        ("agreement", "saliency", "peer", "overlap", 0.6, 0.5, 0.7, 0.2),
    ]
    return pd.DataFrame(rows, columns=["check", "method", "kind", "figure", "value", "lower", "upper", "chance"])


def network(planted: bool = False) -> tuple[pd.DataFrame, pd.DataFrame]:
    edges = pd.DataFrame({"firm": ["A", "A", NASTY], "peer": ["B", NASTY, "A"], "weight": [0.1, 0.4, 0.2]})
    nodes = pd.DataFrame({"firm": ["A", NASTY, "B", "C"], "industry_0": [28, 73, 28, 0]})
    return edges.assign(planted=[True, False, True]) if planted else edges, nodes


def bins() -> pd.DataFrame:
    rows = {"predicted": [-0.01, 0.0, 0.02], "realised": [-0.02, 0.001, 0.01], "standard_error": [0.001, 0.002, 0.003]}
    return pd.concat([pd.DataFrame(rows).assign(model=model) for model in ("ridge", NASTY)])


WIDE = pd.DataFrame({"ridge": [1.0, 2.5, 4.0], NASTY: [2.0, NAN, 3.0]}, index=[1, 10, 100])

FIGURES: dict[str, Callable[[], Figure]] = {
    "weight_maps": lambda: paper.weight_maps(small_weights()),
    "large weight_maps": lambda: paper.weight_maps({"Many": pd.DataFrame(np.full((40, 40), 0.025))}),
    "position_encodings": lambda: paper.position_encodings(pd.DataFrame(np.sin(np.arange(40.0)).reshape(10, 4))),
    "attention_over_lags": lambda: paper.attention_over_lags(
        explanations("lag", ["0", "1", "2"], FIRMS, ("time", NASTY)), marked=(1,)
    ),
    "peer_heat_map": lambda: paper.peer_heat_map(explanations("peer", FIRMS, FIRMS, ("firm", NASTY)), FIRMS, CODES),
    "attention_history": lambda: paper.attention_history(history("time")),
    "attention_costs": lambda: paper.attention_costs(costs()),
    "deletion_curves": lambda: paper.deletion_curves(curves()),
    "audit_figures": lambda: paper.audit_figures({"A": audited(), NASTY: audited()}, "deletion"),
    "lines": lambda: paper.lines(WIDE, "Firms", "Seconds", log="xy"),
    "dated lines": lambda: paper.lines(WIDE.set_index(pd.to_datetime(DATES[:3])), "Date", "Weight (%)"),
    "bars": lambda: paper.bars(WIDE, "Size", "Seconds"),
    "peers": lambda: paper.peers(*network()),
    "planted peers, by forces": lambda: paper.peers(*network(planted=True), layout="force"),
    "calibration": lambda: paper.calibration(bins()),
    "cumulated_rank_ic": lambda: paper.cumulated_rank_ic(per_date()),
    "fold_timeline": lambda: paper.fold_timeline(FOLDS),
    "portfolio_value": lambda: paper.portfolio_value(daily()),
    "rank_ic_intervals": lambda: paper.rank_ic_intervals(metrics()),
}


def drawn(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


# -- the one look ------------------------------------------------------------


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_picture_is_drawn_with_words_on_its_axes_and_text_that_can_be_read(name: str) -> None:
    figure = FIGURES[name]()
    assert drawn(figure).startswith(b"\x89PNG")
    assert figure.get_figwidth() == style.WIDTH and figure.get_dpi() == 100
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
    assert shown or name.endswith(("peers", "forces"))
    assert all(axes.get_xlabel() or axes.get_ylabel() or axes.get_title() for axes in shown)
    sizes = [text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]
    assert min(sizes) >= 8
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_a_picture_is_the_same_every_time() -> None:
    assert drawn(FIGURES["planted peers, by forces"]()) == drawn(FIGURES["planted peers, by forces"]())


def test_text_from_data_is_literal_and_never_hidden() -> None:
    for name in ("weight_maps", "cumulated_rank_ic", "deletion_curves", "audit_figures", "lines", "bars", "peers",
                 "calibration"):  # fmt: skip
        figure = FIGURES[name]()
        if name == "cumulated_rank_ic":
            figure = paper.cumulated_rank_ic(per_date().replace("<b>x</b>", NASTY))
        found = [text for text in texts(figure) if "frac" in text]
        assert found, name
        assert all(text.startswith(" ") and text.count(r"\$") == text.count("$") == 4 for text in found), name


def test_settings_of_the_caller_stay_as_they_were() -> None:
    with matplotlib.rc_context({"font.size": 3.0, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        for make in FIGURES.values():
            make()
        assert dict(matplotlib.rcParams) == before


def test_lines_are_told_apart_by_colour_and_without_it() -> None:
    styles = [style.nth(place) for place in range(len(looks.STYLES))]
    lines = [style.line_of(one) for one in styles]
    assert len({line["color"] for line in lines}) == len({repr((x["linestyle"], x["linewidth"])) for x in lines}) == 8
    assert len({style.marker_of(one) for one in styles}) == 8
    assert looks.style_of("ridge", 5) == looks.STYLES["ridge"]
    assert looks.style_of("mine", 1) == style.nth(1)


def test_maps_are_ordered_in_grey_too() -> None:
    grey = style.colours()(np.linspace(0, 1, 50))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(grey) < 0).all()


def test_without_matplotlib_one_sentence_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import pandas as pd\nfrom finattn.errors import InputError\nfrom finattn.plots import paper\n"
        "try:\n    paper.lines(pd.DataFrame({'a': [1.0]}), 'x', 'y')\n"
        "except InputError as error:\n    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "pictures for papers need matplotlib, found none: pip install 'finattn[notebooks]'\n"


# -- the numbers ------------------------------------------------------------


def test_weights_are_written_in_their_cells_and_what_is_forbidden_is_hatched() -> None:
    first, second = FIGURES["weight_maps"]().axes
    assert [text.get_text() for text in first.texts] == ["1", ".50", ".50", ".33", ".33", ".33"]
    assert [(patch.get_x(), patch.get_y()) for patch in first.patches] == [(0.5, -0.5), (1.5, -0.5), (1.5, 0.5)]
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0.0, 1.0)  # one scale of colours
    assert not FIGURES["large weight_maps"]().axes[0].texts


def test_attention_over_lags_averages_over_firms_and_marks_lags() -> None:
    table = explanations("lag", ["10", "2", "0"], ["A", "B"])
    top, bottom, _ = paper.attention_over_lags(table, marked=(2,)).axes
    expected = table.pivot_table(index="date", columns="key", values="score")[["0", "2", "10"]].to_numpy()
    np.testing.assert_allclose(bottom.images[0].get_array(), expected)
    np.testing.assert_allclose(top.lines[0].get_ydata(), expected.mean(axis=0))
    assert list(top.lines[0].get_xdata()) == [0, 2, 10]
    assert top.lines[1].get_ydata()[0] == pytest.approx(1 / 3) and top.lines[2].get_xdata()[0] == 2


def test_peers_are_sorted_by_code_with_unknown_ones_last() -> None:
    table = explanations("peer", FIRMS, FIRMS)
    axes = paper.peer_heat_map(table, [*FIRMS, "ZZZ"], [*CODES, 1000]).axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels[1:] == ["DDD 1389", "AAA 7372", "CCC"] and labels[0].endswith("1311")
    weight = table[(table["firm"] == "AAA") & (table["key"] == "CCC")]["score"].mean()
    assert axes.images[0].get_array()[2, 3] == pytest.approx(weight)
    assert [line.get_ydata()[0] for line in axes.lines[::2]] == [1.5, 2.5]  # two-digit groups change


def test_history_is_by_lag_along_time_and_by_rank_across_firms() -> None:
    table = history("time")
    rows = table[table["head"] == 1]
    expected = rows.pivot_table(index="epoch", columns="key", values="weight").to_numpy()
    np.testing.assert_allclose(paper.attention_history(table).axes[1].images[0].get_array(), expected)
    ranked = -np.sort(-rows["weight"].to_numpy().reshape(2, 4, 3), axis=2)
    found = paper.attention_history(history("firm")).axes[1].images[0].get_array()
    np.testing.assert_allclose(found, ranked.mean(axis=1))
    assert paper.attention_history(history("firm"), most=2).axes[0].images[0].get_array().shape == (2, 2)


def test_costs_are_those_of_the_most_firms_and_use_the_words_of_the_bench() -> None:
    words = {name: kernel.words for name, kernel in KERNELS.items()}
    assert words == paper.costs.KERNELS
    figure, table = FIGURES["attention_costs"](), costs()
    line = figure.axes[1].lines[0]
    expected = table[(table["kernel"] == "windows") & (table["firms"] == 20)]
    np.testing.assert_allclose(line.get_ydata(), expected["operations"])
    assert list(line.get_xdata()) == [5, 10] and line.get_label() == "Windows encoded again"
    assert figure.axes[1].get_title() == "Along time (20 firms)"
    seconds = table[(table["kernel"] == "band") & (table["firms"] == 20)]["seconds"]
    np.testing.assert_allclose(figure.axes[3].lines[1].get_ydata(), 1000 * seconds)


def test_deletion_curves_are_the_table_s_with_a_band_around_random_order() -> None:
    peers, features = FIGURES["deletion_curves"]().axes
    assert peers.get_title() == "Firms" and features.get_title() == "What is known of them"
    lines = {line.get_label(): line for line in peers.lines}
    np.testing.assert_allclose(lines["Saliency"].get_ydata(), [0.05, 0.025, 0.0])
    assert to_hex(lines["Attention"].get_color()).upper() == "#D55E00"
    band = peers.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (-0.1, 0.2) and len(peers.collections) == 1


def test_an_audit_s_figures_have_their_intervals_and_chance() -> None:
    figure = paper.audit_figures({"A": audited()}, "agreement", "overlap")
    axes = figure.axes[0]
    value, chance = axes.lines[0], axes.lines[-1]
    assert list(value.get_xdata()) == [0.6] and list(chance.get_xdata()) == [0.2]
    ends = axes.collections[0].get_segments()[0]
    np.testing.assert_allclose(ends[:, 0], [0.5, 0.7])
    assert axes.get_xlabel() == "Overlap"
    assert paper.audit_figures({"A": audited()}, "agreement").axes[0].get_xlabel() == "Kendall"
    assert paper.audit_figures({"A": audited()}, "agreement", words="Tau").axes[0].get_xlabel() == "Tau"


def test_lines_stop_at_what_is_missing_and_have_whole_ticks_for_whole_numbers() -> None:
    axes = FIGURES["lines"]().axes[0]
    assert np.isnan(axes.lines[1].get_ydata()[1]) and axes.lines[0].get_label() == "Ridge"
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "10", "100"]
    assert paper.lines(WIDE, "a", "b", log="y").axes[0].get_xscale() == "linear"
    near = paper.lines(pd.DataFrame({"a": [14.0, 50.0]}, index=[1, 2]), "a", "b", log="xy")
    near.savefig(io.BytesIO())
    labels = near.axes[0].get_yticklabels()
    assert {"15", "20", "30", "50"} <= {label.get_text() for label in labels}  # a decade has more than one
    counts = paper.lines(pd.DataFrame({"n": [1, 2, 3]}), "Day", "Stocks").axes[0]
    counts.figure.savefig(io.BytesIO())
    assert all(float(tick).is_integer() for tick in counts.get_yticks())


def test_bars_stand_beside_each_other() -> None:
    bars = FIGURES["bars"]().axes[0].patches
    heights = [bar.get_height() for bar in bars]
    np.testing.assert_allclose(heights, [1.0, 2.5, 4.0, 2.0, NAN, 3.0])
    assert bars[0].get_x() + bars[0].get_width() < bars[3].get_x() + 0.01 and bars[0].get_hatch() != bars[3].get_hatch()


def test_arrows_run_from_who_asks_to_who_is_asked_and_are_as_wide_as_they_are_heavy() -> None:
    axes = FIGURES["peers"]().axes[0]
    places = paper.network._circle(network()[1].sort_values(["industry_0", "firm"]))
    heaviest, lightest = axes.patches[-1], axes.patches[0]  # drawn last, on top
    assert heaviest._posA_posB == [places["A"], places[NASTY]] and lightest._posA_posB == [places["A"], places["B"]]
    assert heaviest.get_linewidth() > lightest.get_linewidth()
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["28", "73", "other or unknown"]


def test_arrows_bend_towards_the_middle_and_those_that_run_back_bend_more() -> None:
    start, end = (0.0, 1.0), (1.0, 0.0)
    bends = [paper.network._bend(start, end), paper.network._bend(end, start)]
    for bend, (x1, y1), (x2, y2) in zip(bends, (start, end), (end, start), strict=True):
        control = np.array([(x1 + x2) / 2 + bend * (y2 - y1), (y1 + y2) / 2 - bend * (x2 - x1)])  # as arc3 has it
        assert np.linalg.norm(control) < np.sqrt(0.5)
    assert abs(bends[0]) != abs(bends[1])


def test_only_the_heaviest_edges_are_drawn_and_the_title_says_so() -> None:
    edges, nodes = network(planted=True)
    axes = paper.peers(edges, nodes, most=2).axes[0]
    assert len(axes.patches) == 2
    assert axes.get_title().startswith("The 2 heaviest of 3 edges.") and "Dark: planted." in axes.get_title()
    colours = [to_hex(patch.get_edgecolor()).upper() for patch in axes.patches]
    assert colours == [looks.INK.upper(), "#D55E00"]  # the planted one of weight 0.2, then the other of 0.4


def test_calibration_is_in_percent_with_two_standard_errors() -> None:
    axes = FIGURES["calibration"]().axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [-2.0, 2.0])
    ends = axes.collections[0].get_segments()
    np.testing.assert_allclose(ends[2], [[2.0, 0.4], [2.0, 1.6]])


def test_cumulated_rank_ic_adds_up_and_lists_the_highest_end_first() -> None:
    lines = FIGURES["cumulated_rank_ic"]().axes[0].lines[1:]
    assert [line.get_label() for line in lines] == ["<b>x</b>", "Ridge"]
    np.testing.assert_allclose(lines[1].get_ydata(), [0.1, -0.1, -0.1, 0.2])


def test_portfolio_value_compounds_and_leaves_out_who_held_nothing() -> None:
    figure, table = FIGURES["portfolio_value"](), daily()
    for axes, side in zip(figure.axes, ("gross", "net"), strict=True):
        line = next(line for line in axes.lines if line.get_label() == "Ridge")
        np.testing.assert_allclose(line.get_ydata(), np.cumprod(1 + table.loc[table["model"] == "ridge", side]))
        assert axes.get_yscale() == "log"
        assert "Zero" not in [line.get_label() for line in axes.lines]


def test_folds_lie_where_they_are() -> None:
    axes = FIGURES["fold_timeline"]().axes[0]
    first = axes.patches[0]
    start, end = (matplotlib.dates.date2num(pd.Timestamp(FOLDS[0][f"train_{edge}"])) for edge in ("start", "end"))
    assert first.get_x() == pytest.approx(start) and first.get_width() == pytest.approx(end - start)
    assert axes.get_ylim() == (2.5, -0.5)  # the first fold on top
    assert len({patch.get_hatch() for patch in axes.patches}) == 3


def test_intervals_are_the_table_s_and_the_difference_is_to_the_reference() -> None:
    figure = paper.rank_ic_intervals(metrics())
    levels, differences = figure.axes
    ridge = [list(line.get_xdata()) for line in levels.lines[1:4]]
    assert ridge == [[-0.01, 0.05], [0.0, 0.04], [0.02]]
    assert [list(line.get_xdata()) for line in differences.lines[1:4]] == [[-0.02, 0.04], [-0.01, 0.03], [0.01]]
    assert differences.get_title() == "Rank IC minus that of Ridge"
    assert list(differences.lines[3].get_ydata()) == [1]  # in the row of its model


# -- refusals ------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paper.weight_maps({}), "weight_maps needs matrices with rows and columns, found 0 maps"),
        (lambda: paper.position_encodings(pd.DataFrame()), "position_encodings needs rows and columns, found none"),
        (lambda: paper.attention_history(history("time").iloc[:0]), "attention_history needs rows, found none"),
        (lambda: paper.attention_history(pd.DataFrame({"epoch": [0]})), "found no layer, axis, head"),
        (lambda: paper.peer_heat_map(explanations("peer", FIRMS, FIRMS), FIRMS, [1]), "a code for each firm, found 1"),
        (lambda: paper.attention_over_lags(explanations("peer", FIRMS, FIRMS)), "attention of kind 'lag'"),
        (lambda: paper.deletion_curves(curves().iloc[:0]), "deletion_curves needs curves, found none"),
        (lambda: paper.audit_figures({}, "deletion"), "needs at least one audit's table, found none"),
        (lambda: paper.audit_figures({"A": audited()}, "skill"), "among deletion, agreement, found 'skill'"),
        (lambda: paper.audit_figures({"A": audited()}, "deletion", "x"), "found 'deletion' x"),
        (lambda: paper.lines(WIDE, "x", "y", log="z"), "log must be one of '', 'x', 'y', 'xy', found 'z'"),
        (lambda: paper.lines(pd.DataFrame(), "x", "y"), "needs rows and columns, found a table of shape"),
        (lambda: paper.bars(pd.DataFrame(), "x", "y"), "needs rows and columns, found a table of shape"),
        (lambda: paper.calibration(bins().iloc[:0]), "calibration needs bins, found none"),
        (lambda: paper.calibration(pd.DataFrame({"model": ["a"]})), "found no predicted, realised, standard_error"),
        (lambda: paper.peers(network()[0], network()[1].iloc[:1]), "between firms of the nodes, found 'B'|found B"),
        (lambda: paper.peers(network()[0].iloc[:0], network()[1].iloc[:0]), "firms of the nodes, found no nodes"),
        (lambda: paper.peers(*network(), layout="square"), "layout must be one of circle, force, found 'square'"),
        (lambda: paper.peers(*network(), most=0), "most must be at least 1, found 0"),
        (lambda: paper.peers(*network(), industry="industry_9"), "found no industry_9"),
        (lambda: paper.portfolio_value(daily().query("model == 'zero'")), "held something, found none"),
        (lambda: paper.cumulated_rank_ic(pd.concat([per_date()] * 2)), "one row for each date and model"),
        (lambda: paper.fold_timeline([]), "found no fold"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
