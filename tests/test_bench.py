"""What attention costs: formulas counted by hand, made-up measurements, output, refusals; no time is asserted."""

import json
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn import bench, cli
from finattn.bench import Cell, Measured, Sizes, costs
from finattn.bench.costs import KERNELS, LIMIT_BYTES
from finattn.errors import InputError


def cell(kernel, firms=1, lookback=1, width=1, heads=1, days=1) -> Cell:
    return Cell(kernel, firms, lookback, width, heads, days)


def made_up(cell: Cell) -> Measured:
    """Quadratic against linear along firms, equal at 100; a band that costs as much as windows of 20 days."""
    seconds = {
        "softmax": cell.firms**2 * 1e-6,
        "linear": cell.firms * 1e-4,
        "windows": cell.firms * cell.lookback**2 * 1e-6,
        "band": cell.firms * cell.lookback * 2e-5,
    }
    return Measured(seconds[cell.kernel], 1024 * cell.firms)


@pytest.fixture
def table():
    return costs(bench.cells(Sizes(firms=(10, 1000), lookback=(5, 50))), made_up)


@pytest.fixture
def measured_at_once(monkeypatch):
    """Measure nothing, in no process."""
    monkeypatch.setattr("finattn.bench.show.measure_apart", made_up)


SMALL = ["--firms", "8", "16", "--lookback", "3", "5", "--width", "8", "--heads", "2", "--days", "7"]


# -- formulas ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("counted", "operations"),
    [
        (cell("softmax", firms=3, width=4), 3 * 3 * 4 * 2 * 2),  # a score and a share of the output for each pair
        (cell("linear", firms=3, width=4, heads=2), 3 * 2 * (2 * 2) * 2 * 2),  # two heads of 2 by 2, made and read
        (cell("windows", firms=2, lookback=3, width=4), 2 * (3 * 3) * 4 * 2 * 2),
        # 30 queries reach 32 days; 28 rows are put before the 2 days before, so that a chunk begins after them
        (cell("band", firms=2, lookback=3, width=4, days=3), 2 * (2 * 30 * 32) * 4 * 2 * 2 / 3),
        (cell("band", firms=1, lookback=60, width=1, days=21), (4 * 21 * 80) * 2 * 2 / 21),  # 4 + 59 + 21 rows
    ],
)
def test_operations_are_those_counted_by_hand(counted, operations):
    assert KERNELS[counted.kernel].operations(counted) == operations


@pytest.mark.parametrize(
    ("counted", "floats"),
    [
        (cell("softmax", firms=3, width=4), 4 * 12),
        (cell("linear", firms=3, width=4, heads=2), 6 * 12 + 2 * (2 * 2)),
        (cell("windows", firms=2, lookback=3, width=4), 4 * 24),
        (cell("band", firms=2, lookback=3, width=4, days=3), 3 * (2 * 5 * 4) + 2 * (2 * 3 * 4) + 2 * 60 * (3 * 4 + 32)),
    ],
)
def test_bytes_are_those_counted_by_hand(counted, floats):
    assert KERNELS[counted.kernel].bytes(counted) == 4 * floats


@settings(derandomize=True, deadline=None, max_examples=30)
@given(lookback=st.integers(1, 300), days=st.integers(1, 600))
def test_a_bands_operations_beyond_the_useful_ones_are_the_chunks_overhang(lookback, days):
    band = KERNELS["band"].operations(cell("band", lookback=lookback, days=days))
    assert 4 * lookback <= band <= 4 * (lookback + 30) * (lookback - 1 + days + 60) / days
    if lookback >= 60 and days >= 3 * lookback:
        assert band < KERNELS["windows"].operations(cell("windows", lookback=lookback)) / 20


# -- tables -----------------------------------------------------------------


def test_the_table_has_a_row_for_every_kernel_and_size(table):
    assert list(table.columns) == [
        "axis", "kernel", "firms", "lookback", "width", "heads", "days", "operations", "bytes", "seconds", "peak_bytes",
    ]  # fmt: skip
    assert table.groupby("kernel").size().to_dict() == {"softmax": 2, "linear": 2, "windows": 4, "band": 4}
    assert set(table.loc[table["axis"] == "firm", "lookback"]) == {0}


def test_sizes_given_twice_or_out_of_order_are_measured_once_in_order():
    chosen = bench.cells(Sizes(firms=(20, 10, 20), lookback=(5, 5)))
    assert [c.firms for c in chosen if c.kernel == "band"] == [10, 20]


def test_what_is_too_large_is_predicted_and_not_run():
    too_large = cell("windows", firms=LIMIT_BYTES, lookback=2)
    found = costs([too_large, cell("softmax", firms=10)], made_up).iloc[0]
    assert found["operations"] == 16.0 * LIMIT_BYTES
    assert math.isnan(found["seconds"]) and math.isnan(found["peak_bytes"])


def test_exponents_are_those_of_the_formulas(table):
    exponents = bench.growth(table).set_index(["kernel", "by"])
    assert exponents["seconds"].to_dict() == pytest.approx({
        ("softmax", "firms"): 2, ("linear", "firms"): 1, ("windows", "firms"): 1, ("windows", "lookback"): 2,
        ("band", "firms"): 1, ("band", "lookback"): 1,
    })  # fmt: skip
    assert exponents.loc[("softmax", "firms"), "operations"] == pytest.approx(2)
    assert exponents.loc[("windows", "lookback"), "bytes"] == pytest.approx(1)


def test_one_size_has_no_growth():
    single = costs(bench.cells(Sizes(firms=(10,), lookback=(5,))), made_up)
    assert bench.growth(single).empty


def test_crossings_are_found_by_formula_and_as_measured(table):
    found = bench.crossings(table).set_index(["cheap", "firms"])
    assert list(found.index.get_level_values("cheap")) == ["linear", "band", "band"]
    linear, band = found.iloc[0], found.loc[("band", 1000)]
    assert (linear["by"], linear["by_formula"], linear["measured"]) == ("firms", 17, "about 100")  # heads of 16
    assert (band["by"], band["by_formula"], band["measured"]) == ("lookback", 7, "about 20")  # 6 · 26 · 32 < 120 · 7²


@pytest.mark.parametrize(
    ("dear", "cheap", "expected"),
    [
        ([1, 10, 100], [10, 10, 10], 100),
        ([1, 4, 100], [2, 2, 200], math.inf),  # cheaper once, and not from there on
        ([3, 1, 100], [1, 10, 10], 10**2.5),
        ([2, 2, 2], [1, 1, 1], 10),
        ([1, 1, 1], [2, 2, 2], math.inf),
    ],
)
def test_a_crossing_lies_where_the_cheap_one_stays_cheaper(dear, cheap, expected):
    assert bench.crossing([10, 100, 1000], dear, cheap) == pytest.approx(expected)


def test_a_crossing_of_nothing_measured_is_unknown():
    assert math.isnan(bench.crossing([], [], []))
    unmeasured = costs(bench.cells(Sizes(firms=(10,), lookback=(5,))), lambda cell: Measured(None, None))
    assert set(bench.crossings(unmeasured)["measured"]) == {"not measured"}


def test_sizes_all_on_one_side_of_a_crossing_are_told_as_bounds():
    def always(cell: Cell) -> Measured:
        return Measured({"linear": 1.0, "softmax": 2.0, "band": 2.0, "windows": 1.0}[cell.kernel], None)

    found = bench.crossings(costs(bench.cells(Sizes(firms=(10, 2000), lookback=(5, 50))), always))
    assert found["measured"].tolist() == ["10 or fewer", "not up to 50", "not up to 50"]


# -- measuring --------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_runs_and_is_measured(kernel):
    found = bench.measure(cell(kernel, firms=8, lookback=3, width=4, heads=2, days=7))
    assert found.seconds > 0
    assert found.peak_bytes is None or found.peak_bytes >= 0


@pytest.mark.parametrize(
    ("kernel", "shape"), [("windows", (8, 2, 3, 2)), ("band", (8, 7, 4)), ("softmax", (1, 2, 8, 2))]
)
def test_kernels_give_an_output_for_every_firm_and_day(kernel, shape):
    assert KERNELS[kernel].make(cell(kernel, firms=8, lookback=3, width=4, heads=2, days=7))().shape == shape


def test_a_process_of_its_own_measures_too():
    assert bench.measure_apart(cell("softmax", firms=8, width=4)).seconds > 0


# -- output -----------------------------------------------------------------


def test_tables_are_plain_text_where_nobody_looks(measured_at_once, capsys):
    assert cli.main(["bench", "attention", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "One pass in a band" in shown
    assert "Linear cheaper than softmax: firms from 5 by operations, not up to 16 as measured." in shown


def test_json_is_the_table(measured_at_once, capsys):
    assert cli.main(["bench", "attention", *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sizes"] == {"firms": [8, 16], "lookback": [3, 5], "width": 8, "heads": 2, "days": 7}
    assert found["threads"] == torch.get_num_threads()
    assert len(found["costs"]) == 12
    assert found["costs"][0] | {"seconds": None} == {
        "axis": "firm", "kernel": "softmax", "firms": 8, "lookback": 0, "width": 8, "heads": 2, "days": 7,
        "operations": 2048.0, "bytes": 1024.0, "seconds": None, "peak_bytes": 8192.0,
    }  # fmt: skip
    assert {row["kernel"] for row in found["growth"]} == set(KERNELS)


def test_a_folder_gets_the_json_and_one_self_contained_page(measured_at_once, tmp_path, capsys):
    for _ in range(2):  # the second replaces the first
        assert cli.main(["bench", "attention", *SMALL, "--json", "--out", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"bench_attention.json", "bench_attention.html"}
    printed = json.loads((tmp_path / "new/bench_attention.json").read_text())
    assert capsys.readouterr().out == 2 * (json.dumps(printed, indent=2, ensure_ascii=False) + "\n")
    page = (tmp_path / "new/bench_attention.html").read_text()
    assert "Seconds a date (measured)" in page
    assert "<script src=" not in page


def test_the_figure_has_a_curve_for_each_kernel_and_number_of_firms(table):
    figure = bench.attention_costs(table)
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == [
        "Softmax", "Linear", "Windows encoded again, 10 firms", "Windows encoded again, 1,000 firms",
        "One pass in a band, 10 firms", "One pass in a band, 1,000 firms",
    ]  # fmt: skip
    assert {axis.type for axis in (figure.layout.xaxis, figure.layout.yaxis6)} == {"log"}
    assert list(figure.data[1].x) == [10, 1000]
    assert list(figure.data[1].y) == pytest.approx([1e-4, 1.0])


# -- refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"firms": (0, 10)}, r"firms must be at least 1, found 0, 10"),
        ({"lookback": (-1,)}, r"lookback must be at least 1, found -1"),
        ({"firms": ()}, r"firms must be at least 1, found none"),
        ({"days": 0}, r"days must be at least 1, found 0"),
        ({"heads": 0}, r"heads must be at least 1, found 0"),
        ({"width": 64, "heads": 3}, r"width must be divisible by heads = 3, found 64"),
    ],
)
def test_sizes_that_cannot_be_measured_are_refused(sizes, message):
    with pytest.raises(InputError, match=message):
        Sizes(**sizes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["attention", "--firms", "0"], "firms must be at least 1, found 0"),
        (["attention", "--width", "64", "--heads", "3"], "width must be divisible by heads = 3, found 64"),
        (["attention", "--firms", "many"], "argument --firms: invalid int value: 'many'"),
        (["attention", "--firm", "3"], "unknown key firm, did you mean firms?"),
        (["memory"], "what to measure must be attention, found 'memory'; see finattn bench --help"),
        ([], "what to measure must be attention, found ''; see finattn bench --help"),
    ],
)
def test_the_command_line_refuses_in_one_line(given, message, capsys):
    assert cli.main(["bench", *given]) == 2
    assert capsys.readouterr().err == f"finattn: {message}\n"


def test_help_of_bench_answers_without_torch():
    code = "import sys; from finattn import cli; cli.main(['bench', '--help']); sys.exit('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0
    assert "usage: finattn bench attention" in found.stdout
