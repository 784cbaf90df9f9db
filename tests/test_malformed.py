"""Thousands of malformed inputs: each gives a valid panel or one clear error, and what is sound is read as ever."""

import contextlib
import gzip
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.config import DataConfig, ReportsConfig
from finattn.data import load
from finattn.data.open_table import open_table
from finattn.errors import InputError

pytest.importorskip("benchmarks", reason="the inputs are made by the benchmarks of the source tree")
from benchmarks.malformed import FAMILIES, Case, outcome, unclean_of  # noqa: E402
from benchmarks.malformed.cells import (
    DAYS,
    GOOD,
    LONG,
    NO_DAYS,
    NO_NUMBERS,
    NUMBERS,
    ROWS,
    csv_of,
    parquet_of,
    table_of,
)  # noqa: E402
from benchmarks.malformed.files import damage  # noqa: E402

_tried: dict[str, int] = {}


@pytest.mark.parametrize(
    "family", FAMILIES, ids=lambda family: f"{family.__module__.rpartition('.')[2]}.{family.__name__}"
)
def test_every_malformed_input_gives_a_valid_panel_or_one_clear_error(family):
    _tried[family.__name__ + family.__module__], wrong = unclean_of(family, stride=FAMILIES[family])
    assert not wrong, f"{len(wrong)} unclean:\n" + "\n".join(wrong[:20])


def test_there_are_thousands_of_them():
    assert len(_tried) < len(FAMILIES) or sum(_tried.values()) >= 2000


mutations = st.lists(st.tuples(st.integers(0, len(ROWS) - 1), st.integers(0, len(LONG) - 1),
                               st.sampled_from([*NO_NUMBERS, *NUMBERS, *NO_DAYS])), max_size=3)  # fmt: skip


@settings(max_examples=120, deadline=None, derandomize=True)
@given(mutations, st.lists(st.integers(0, 10**6), max_size=2), st.booleans())
def test_several_things_wrong_at_once_are_no_worse(tmp_path_factory, changes, seeds, as_parquet):
    rows = [list(cells) for cells in ROWS]
    for row, column, value in changes:
        rows[row][column] = value
    columns = {name: [cells[place] for cells in rows] for place, name in enumerate(LONG)}
    content = parquet_of(table_of(columns)) if as_parquet else csv_of(LONG, rows)
    for seed in seeds:
        content = damage(content or b"\0", random.Random(seed))
    name = "a.parquet" if as_parquet else "a.csv"
    assert not outcome(Case("several", {name: content}, {"path": name}), tmp_path_factory.mktemp("several") / "in")


# -- rows and columns of the files are named ---------------------------------------------------------

PRICES = {"values": "adjusted_prices"}
PLACES = {
    "a return below -1": ("ret", "-1.5", {}, "found -1.5 at 2020-01-06, firm B (row 7, column 'ret')"),
    "an infinite return": ("ret", "inf", {}, "found inf at 2020-01-06, firm B (row 7, column 'ret')"),
    "a negative level": ("cap", "-2", {}, "found -2.0 at 2020-01-06, firm B (row 7, column 'cap')"),
    "an infinite feature": ("size", "1e999", {}, "firm B, feature x (row 7, column 'size')"),
    "words": ("ret", "C", {}, "column 'return' must be numeric, found 'C' in row 7 (column 'ret')"),
    "a fraction of a code": ("sic", "1.5", {}, " at row 7 (column 'sic')"),
    "a month": ("day", "2020-01", {}, "found '2020-01' in row 7 (column 'day')"),
    "a year that is none": ("day", "0000-01-02", {}, "found '0000-01-02' in row 7 (column 'day')"),
    "a word that means today": ("day", "now", {}, "found 'now' in row 7 (column 'day')"),
    "a zone": ("day", "2020-01-06T00:00Z", {}, "without a time zone, found time zone UTC in row 7 (column 'day')"),
    "a firm of blanks": ("id", "  ", {}, "found an empty one in row 7 (column 'id')"),
    "a long firm": ("id", "x" * 257, {}, "at most 256 characters, found 'xxxxxxxxxxxxxxxxxxxx' and more in row 7"),
    "a negative price": ("ret", "-1", PRICES, "found -1.0 at 2020-01-06, firm B (row 7, column 'ret')"),
    "a huge price": ("ret", "1e308", PRICES | {"longest_gap": 1}, "(row 7, column 'ret')"),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("column, value, keys, message", PLACES.values(), ids=PLACES.keys())
def test_what_cannot_be_is_named_by_the_row_and_column_of_its_file(tmp_path, column, value, keys, message, ending):
    header = ["day", "id", "ret", "cap", "sic", "size"]
    rows = [cells[:2] + [cells[2] if not keys else "1e-300" if value == "1e308" else "9"] + cells[3:] for cells in ROWS]
    rows[7][header.index(column)] = value
    content = csv_of(header, rows)
    if ending == "parquet":
        content = parquet_of(pa.table(dict(zip(header, zip(*rows, strict=True), strict=True))))
    (tmp_path / f"a.{ending}").write_bytes(content)
    meaning = "return" if not keys else "adjusted_price"
    columns = dict(zip(header, ["date", "firm", meaning, "market_cap", "industry", "x"], strict=True))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load(DataConfig("file", str(tmp_path / f"a.{ending}"), columns, **keys))
    assert str(caught.value).startswith(f"{tmp_path / f'a.{ending}'}: ")


def test_several_files_are_named_one_by_one(tmp_path):
    for firm, value in (("A", "0.1"), ("B", "-3")):
        (tmp_path / f"{firm}.csv").write_text(f"date,return,factor:m\n2020-01-02,0.1,0.1\n2020-01-03,{value},0.1\n")
    with pytest.raises(InputError, match=r"found -3.0 at 2020-01-03, firm B \(B.csv row 1, column 'return'\)"):
        load(DataConfig("file", str(tmp_path), layout="by_firm"))
    for firm in "AB":
        (tmp_path / f"{firm}.csv").write_text("date,return,factor:m\n2020-01-02,0.1,0.1\n2020-01-03,0.1,inf\n")
    with pytest.raises(InputError, match=r"found inf at 2020-01-03, factor m \(A.csv row 1, column 'factor:m'\)"):
        load(DataConfig("file", str(tmp_path), layout="by_firm"))
    for name, value in (("return", "0.1"), ("market_cap", "-5")):
        (tmp_path / f"w/{name}.csv").parent.mkdir(exist_ok=True)
        (tmp_path / f"w/{name}.csv").write_text(f"d,A,B\n2020-01-03,0.1,{value}\n2020-01-02,0.1,0.1\n")
    with pytest.raises(InputError, match=r"found -5.0 at 2020-01-03, firm B \(market_cap.csv row 0, column 'B'\)"):
        load(DataConfig("file", str(tmp_path / "w"), layout="wide"))


def test_rows_of_reports_are_those_of_the_file_where_only_some_are_used(tmp_path):
    (tmp_path / "a.csv").write_bytes(csv_of())
    reports = "firm,available,period_end,kind,assets\nA,2020-01-02,2019-12-31,Q,1\nA,2020-01-03,2019-12-31,Y,{}\n"
    config = ReportsConfig(str(tmp_path / "r.csv"), {"assets": "assets"}, {"kind": "Y"})
    for cells, message in (("x", "found 'x' in row 1"), ("5\nA,,2019-12-31,Y,5", "found none in 1 rows, .*row 2")):
        (tmp_path / "r.csv").write_text(reports.format(cells))
        with pytest.raises(InputError, match=rf"r.csv: .*{message}"):
            load(DataConfig("file", str(tmp_path / "a.csv"), reports=config))
    (tmp_path / "r.csv").write_text(reports.format(5).replace("2020-01-03", "2020-01-03T17:00"))
    with pytest.raises(InputError, match="r.csv: available must be whole days .* in row 1"):
        load(DataConfig("file", str(tmp_path / "a.csv"), reports=config))


# -- CSV in blocks, and sizes ------------------------------------------------------------


@pytest.mark.parametrize("layout", ["long", "wide"])
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_a_csv_file_that_is_read_in_many_blocks_is_the_same_and_counts_rows_from_its_start(
    tmp_path, ending, layout, monkeypatch
):
    rows = ROWS if layout == "long" else [[day, str(0.01 * n), ""] for n, day in enumerate(DAYS)]
    header, path = LONG if layout == "long" else ["date", "A", "B"], tmp_path / f"a.{ending}"
    write = gzip.compress if ending == "csv.gz" else bytes
    path.write_bytes(write(csv_of(header, rows)))
    whole = load(DataConfig("file", str(path), layout=layout))
    monkeypatch.setattr("finattn.data.csv_file._BLOCK", 16 * 64 if layout == "long" else 64)
    assert load(DataConfig("file", str(path), layout=layout)).fingerprint == whole.fingerprint
    path.write_bytes(write(csv_of(header, [*rows[:-1], [rows[-1][0], *rows[-1][1:-1], "x"]])))
    with pytest.raises(InputError, match=f"found 'x' in row {len(rows) - 1}"):
        load(DataConfig("file", str(path), layout=layout))
    path.write_bytes(write(csv_of(header, rows)[:-1] + b"\xff\n"))
    with pytest.raises(InputError, match=f"must be UTF-8 text, found .* in row {len(rows) - 1}"):
        load(DataConfig("file", str(path), layout=layout))
    path.write_bytes(write(csv_of(header, rows) + b"x\n"))
    with pytest.raises(InputError, match=f"as many fields as the header's {len(header)}, found 1 in row {len(rows)}"):
        load(DataConfig("file", str(path), layout=layout))
    path.write_bytes(write(csv_of(header, rows) + b"x" * 5000 + b"\n"))
    with pytest.raises(InputError, match="a row must have at most 64 bytes, found a longer one"):
        load(DataConfig("file", str(path), layout=layout))


def test_a_long_csv_file_is_never_in_memory_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("finattn.data.csv_file._BLOCK", 16 * 2**15)
    lines = [f"{np.datetime64('1950-01-01') + i // 50},F{i % 50:03d},0.01,{'9' * 50}\n" for i in range(250_000)]
    (tmp_path / "a.csv").write_text("date,firm,return,x\n" + "".join(lines))
    pool, before = pa.default_memory_pool(), pa.total_allocated_bytes()
    del lines
    peaks = []
    table = open_table(tmp_path / "a.csv", {})
    for batch in table.batches(["date", "x"]):
        peaks.append(pool.bytes_allocated() - before)
        del batch
    assert len(peaks) > 500 and max(peaks) < (tmp_path / "a.csv").stat().st_size / 2


@pytest.mark.parametrize("kind", ["gz", "parquet", "sparse"])
def test_what_unpacks_to_far_more_than_tables_do_is_refused_by_its_size(tmp_path, kind, monkeypatch):
    monkeypatch.setattr("finattn.data.table_files.SMALL", 10_000)
    monkeypatch.setattr("finattn.data.long._SPARSE", 1000)
    if kind == "gz":
        name, content = "a.csv.gz", gzip.compress(csv_of(LONG, ROWS * 9999))
        message = "a .gz file must unpack to at most [0-9]+ bytes .100 times its size, or [0-9]+., found more"
    elif kind == "parquet":
        name, content = (
            "a.parquet",
            parquet_of(pa.table({name: pa.nulls(10**6) for name in ("date", "firm", "return")})),
        )
        message = "a Parquet file must unpack to at most [0-9]+ bytes .* found 1000000 rows and 8000000 bytes"
    else:
        name = "a.csv"
        content = csv_of(LONG[:3], [[str(np.datetime64("2000-01-01") + i), f"F{i}", "0"] for i in range(1500)])
        message = "rows for one in 1000 of its firm-dates, found 1500 for 1500 dates and 1500 firms"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        load(DataConfig("file", str(tmp_path / name)))


def test_a_file_that_holds_other_rows_than_it_declares_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_bytes(csv_of())
    for rows in (14, 16):
        monkeypatch.setattr("finattn.data.csv_file.CsvFile.rows", rows)
        with pytest.raises(InputError, match="a.csv: must"):
            load(DataConfig("file", str(tmp_path / "a.csv")))


def test_a_header_of_another_encoding_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("date,firm,return,gr\xf6\xdfe\n2020-01-02,A,0.1,1\n".encode("latin-1"))
    with pytest.raises(InputError, match="a.csv: names of columns must be UTF-8 text, found 'date', 'firm', 'return'"):
        load(DataConfig("file", str(tmp_path / "a.csv")))


def test_dollar_volume_that_overflows_is_named_by_its_volume(tmp_path):
    text = "date,firm,adjusted_price,price,volume\n2020-01-02,A,1,100,5\n2020-01-03,A,1,100,1e308\n"
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=r"dollar_volume must be finite .*firm A \(row 1, column 'volume'\)"):
        load(DataConfig("file", str(tmp_path / "a.csv"), values="adjusted_prices"))


def test_prices_with_columns_of_the_other_kind_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("date,firm,adjusted_price,split\n2020-01-02,A,1,1\n")
    with pytest.raises(InputError, match="makes returns of adjusted_price, found columns split too: leave them out by"):
        load(DataConfig("file", str(tmp_path / "a.csv"), values="adjusted_prices"))


def test_truth_is_no_firm(tmp_path):
    pq.write_table(pa.table({"date": DAYS[:2], "firm": [True, False], "return": [0.1, 0.2]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="a.parquet: firms must be text or integers, found True in row 0"):
        load(DataConfig("file", str(tmp_path / "a.parquet")))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(0, 20))
def test_a_damaged_file_of_a_saved_panel_is_refused_or_opens(tmp_path_factory, seed, file):
    folder = tmp_path_factory.mktemp("saved")
    (folder / "a.csv").write_bytes(csv_of())
    load(DataConfig("file", str(folder / "a.csv"))).save(folder / "panel")
    damaged = sorted((folder / "panel").iterdir())[file % 7]
    damaged.write_bytes(damage(damaged.read_bytes(), random.Random(seed)))
    with contextlib.suppress(InputError):
        assert load(DataConfig("panel", str(folder / "panel"))).fingerprint


@pytest.mark.parametrize(
    "rule, message",
    [
        ({"firm": None}, "firm must be text, found None"),
        ({"available": None}, "available must be text, found None"),
        ({"delay_days": 10**30}, "delay_days must be a whole number from 0, found 10+ .at most 100000."),
    ],
)
def test_a_rule_of_reports_that_cannot_be_is_refused(tmp_path, rule, message):
    (tmp_path / "a.csv").write_bytes(csv_of())
    (tmp_path / "r.csv").write_text("firm,available,period_end,assets\nA,2020-01-02,2019-12-31,5\n")
    config = ReportsConfig(str(tmp_path / "r.csv"), {"assets": "assets"}, rule=rule)
    with pytest.raises(InputError, match=message):
        load(DataConfig("file", str(tmp_path / "a.csv"), reports=config))


@pytest.mark.parametrize("value", [float("inf"), 1e300, 20200102.5])
def test_a_number_that_is_no_day_is_named_by_its_row(tmp_path, value):
    (tmp_path / "a.csv").write_bytes(csv_of(LONG[:4], [cells[:4] for cells in ROWS]))
    spans = {"firm": ["A", "B"], "industry": [1, 2], "start": [20190101.0, value], "end": [20200201.0, None]}
    pq.write_table(pa.table(spans), tmp_path / "codes.parquet")
    with pytest.raises(InputError, match="codes.parquet: start must read like '2001-05-31', found .* in row"):
        load(
            DataConfig("file", str(tmp_path / "a.csv"), industries=str(tmp_path / "codes.parquet"), industry_as_of=True)
        )


# -- the judge ------------------------------------------------------------


def refusing(message: str, **keys):
    def load(folder: Path):
        raise InputError(message) from None

    return Case("made up", {}, load=load, **keys)


@pytest.mark.parametrize(
    "case, fault",
    [
        (refusing("a.csv: column 'x' must be, found 5 in row 3", row=3, words=("x",)), ""),
        (refusing("a.csv: dates must be unique (rows 1, 3)", row=3), ""),
        (refusing("b.csv: no"), "no file a.csv"),
        (refusing("a.csv: no\nmore"), "more than a line"),
        (refusing("a.csv: " + "x" * 500), "too long"),
        (refusing("a.csv: found 3 in row 13", row=3), "no row 3"),
        (refusing("a.csv: no", words=("return",)), "not all of return"),
        (refusing("a.csv: no", expect="equal", good=GOOD), "refused"),
        (Case("made up", {}, load=lambda folder: {}["x"]), "KeyError"),
        (Case("made up", {}, load=lambda folder: (folder / "left").mkdir()), "a NoneType in place of a panel"),
        (Case("made up", {"a.csv": csv_of()}, expect="error"), "no error"),
        (Case("made up", {"a.csv": csv_of(LONG, ROWS[:-1])}, expect="equal", good=GOOD), "another panel"),
    ],
)
def test_what_is_not_clean_is_said_to_be_so(tmp_path, case, fault):
    found = outcome(case, tmp_path / "case")
    assert (fault in found) if fault else not found


def test_a_library_behind_an_error_and_a_changed_file_are_unclean(tmp_path):
    def chained(folder: Path):
        try:
            int("x")
        except ValueError:
            raise InputError("a.csv: no")  # noqa: B904

    def changed(folder: Path):
        (folder / "half").write_text("x")
        raise InputError("a.csv: no") from None

    assert "a cause" in outcome(Case("made up", {}, load=chained), tmp_path / "1")
    assert "files are not what they were" in outcome(Case("made up", {}, load=changed), tmp_path / "2")


def test_a_hang_is_unclean(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.malformed.judge._SECONDS", 0.05)

    def forever(folder: Path):
        while True:
            pass

    assert "Hang: more than" in outcome(Case("made up", {}, load=forever), tmp_path / "case")
