"""Files of every layout: what they become, what is counted, and what is refused in one line."""

import datetime
import gzip
import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.config import DataConfig, ReportsConfig
from finattn.config_file import unknown_keys
from finattn.data import files, load
from finattn.data.describe import describe
from finattn.data.files import find_files
from finattn.data.prices import price_returns
from finattn.data.table_files import BATCH
from finattn.errors import InputError
from finattn.panel import Panel

NAN = float("nan")


def put(folder: Path, contents: dict) -> Path:
    """Write CSV text, or columns as Parquet, under their names."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if isinstance(content, dict):
            pq.write_table(pa.table(content), folder / name)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(path: Path, columns=None, **keys) -> Panel:
    return load(DataConfig("file", str(path), columns or {}, **keys))


def made_up(firms: int = 7, days: int = 40, seed: int = 0) -> pd.DataFrame:
    """Return a long frame with gaps, rows in no order."""
    random = np.random.default_rng(seed)
    dates = np.busday_offset("2001-01-01", np.arange(days), roll="forward").astype("M8[s]")
    frame = pd.DataFrame(
        {
            "date": np.repeat(dates, firms),
            "firm": np.tile([f"F{i}" for i in range(firms)], days),
            "return": 0.02 * random.standard_normal(firms * days),
            "market_cap": np.exp(random.standard_normal(firms * days)),
            "size": random.standard_normal(firms * days),
            "industry": np.tile(random.integers(100, 9999, firms), days),
        }
    )
    frame.loc[random.random(len(frame)) < 0.1, "return"] = np.nan
    frame = frame[random.random(len(frame)) < 0.9]
    return frame.sample(frac=1, random_state=seed, ignore_index=True)


def same(panel: Panel, other: Panel) -> bool:
    return panel.replace(source={}).fingerprint == other.replace(source={}).fingerprint


# -- long files ------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 100, 10_000])
def test_row_groups_of_any_size_hold_the_same_panel(tmp_path, rows):
    frame = made_up()
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=rows)
    assert same(read(tmp_path / "a.parquet"), Panel.from_frame(frame))


@pytest.mark.parametrize("rows", [3, 50])
def test_a_file_that_is_read_in_many_batches_is_the_same(tmp_path, rows, monkeypatch):
    monkeypatch.setattr("finattn.data.parquet_file.BATCH", rows)
    monkeypatch.setattr("finattn.data.long.BATCH", rows)
    frame = made_up()
    frame["name"], frame["risk_free"] = "firm " + frame["firm"], frame["date"].dt.day / 1e4
    frame["factor:market"], frame["listed"] = frame["risk_free"] * 2, frame["size"] > -1
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=64)
    assert same(read(tmp_path / "a.parquet"), Panel.from_frame(frame))


def test_single_precision_stays_where_all_features_have_it(tmp_path):
    frame = made_up().astype({"size": np.float32, "market_cap": np.float32})
    frame.to_parquet(tmp_path / "a.parquet")
    panel = read(tmp_path / "a.parquet")
    assert panel.features.dtype == np.float32 and panel.market_cap.dtype == np.float64
    assert same(panel, Panel.from_frame(frame))
    frame.assign(value=frame["size"].astype(float)).to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").features.dtype == np.float64


def test_columns_have_no_order(tmp_path):
    frame = made_up()
    frame.to_parquet(tmp_path / "a.parquet")
    frame[frame.columns[::-1]].to_parquet(tmp_path / "b.parquet")
    assert same(read(tmp_path / "a.parquet"), read(tmp_path / "b.parquet"))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int16(), pa.string())])
def test_firms_of_any_encoding_are_the_same(tmp_path, kind):
    frame = made_up().sort_values("firm")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.set_column(1, "firm", table["firm"].cast(pa.string()).cast(kind))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=31)
    assert same(read(tmp_path / "a.parquet"), Panel.from_frame(frame))


def test_categories_keep_their_order_over_row_groups(tmp_path):
    frame = made_up()
    order = ["F6", "F2", "F0", "F5", "F1", "F4", "F3", "never"]
    frame["firm"] = pd.Categorical(frame["firm"], categories=order)
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=5)
    assert read(tmp_path / "a.parquet").firms.tolist() == order[:-1]


DAYS = ["2001-01-02", "2001-01-03", "2001-01-04"]


@pytest.mark.parametrize(
    "dates",
    [
        [20010102, 20010103, 20010104],
        ["20010102", "20010103", "20010104"],
        [datetime.date(2001, 1, day) for day in (2, 3, 4)],
        pa.array(DAYS).cast(pa.timestamp("ns")),
        pa.array(DAYS).cast(pa.timestamp("s")),
        pa.array(DAYS).dictionary_encode(),
    ],
)
def test_days_of_any_kind_are_days(tmp_path, dates):
    put(tmp_path, {"a.parquet": {"date": dates, "firm": ["A"] * 3, "return": [0.1, 0.2, 0.3]}})
    assert read(tmp_path / "a.parquet").dates.astype(str).tolist() == DAYS


def test_an_index_that_pandas_saved_is_no_feature_and_one_with_a_name_is_a_column(tmp_path):
    frame = made_up()
    frame[frame["firm"] > "F1"].to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").feature_names == ("size",)
    frame.set_index(["date", "firm"]).to_parquet(tmp_path / "b.parquet")
    assert same(read(tmp_path / "b.parquet"), Panel.from_frame(frame))


def test_only_the_columns_named_are_read(tmp_path):
    text = "Date,Ticker,ret,exchange,x,y\n2001-01-02,A,0.1,NYSE,1,2\n"
    columns = {"Date": "date", "Ticker": "firm", "ret": "return", "y": "value"}
    panel = read(put(tmp_path, {"a.csv": text}) / "a.csv", columns, use=("ret", "y"))
    assert panel.feature_names == ("value",) and panel.features.tolist() == [[[2.0]]]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_the_last_of_duplicates_is_used_where_asked_and_the_others_are_counted(tmp_path, ending):
    frame = made_up()
    again = frame.iloc[:5].assign(**{"return": [0.5, NAN, 0.4, 0.3, 0.2]})
    both = pd.concat([frame, again])
    write = both.to_parquet if ending == "parquet" else both.to_csv
    write(tmp_path / f"a.{ending}", index=False)
    panel = read(tmp_path / f"a.{ending}", duplicates="last")
    assert panel.source["counts"] == {"duplicates": 5} and panel.source["rows"] == len(both)
    expected = Panel.from_frame(both.drop_duplicates(["date", "firm"], keep="last"))
    np.testing.assert_allclose(panel.returns, expected.returns, rtol=1e-12)
    np.testing.assert_allclose(panel.features, expected.features, rtol=1e-12)


def test_infinite_numbers_are_missing_where_asked_and_counted(tmp_path):
    put(tmp_path, {"a.csv": "date,firm,return,x\n2001-01-02,A,inf,1\n2001-01-03,A,.1,-inf\n2001-01-04,A,.1,3\n"})
    panel = read(tmp_path / "a.csv", infinite="missing")
    np.testing.assert_array_equal(panel.returns[:, 0], [NAN, 0.1, 0.1])
    np.testing.assert_array_equal(panel.features[:, 0, 0], [1, NAN, 3])
    assert panel.source["counts"] == {"infinite_values": 2}
    assert panel.source["infinite_returns"] == [{"firm": "A", "date": "2001-01-02", "sign": 1}]
    assert np.isposinf(describe(panel).extremes["return"][0])
    with pytest.raises(InputError, match="returns must be finite or NaN, found inf at 2001-01-02, firm A"):
        read(tmp_path / "a.csv")


def test_thin_dates_are_left_out_with_firms_that_have_no_other(tmp_path):
    dates = np.busday_offset("2001-01-01", np.arange(30), roll="forward").astype(str)
    lines = [f"{date},F{i},{i / 1000}" for d, date in enumerate(dates) for i in range(10) if d != 12 or i < 2]
    put(tmp_path, {"a.csv": "\n".join(["date,firm,return", *lines, f"{dates[12]},OTC,0.1"])})
    panel = read(tmp_path / "a.csv", thin_dates=0.5)
    assert panel.shape == (29, 10) and np.datetime64(dates[12]) not in panel.dates
    assert panel.source["counts"] == {"thin_dates": 1, "rows_on_them": 3, "firms_of_thin_dates": 1}
    assert read(tmp_path / "a.csv").shape == (30, 11)


def test_a_panel_that_shrinks_for_good_keeps_its_later_dates(tmp_path):
    dates = np.busday_offset("2001-01-01", np.arange(60), roll="forward").astype(str)
    lines = [f"{date},F{i},{i / 1000}" for d, date in enumerate(dates) for i in range(10 if d < 20 else 3)]
    put(tmp_path, {"a.csv": "\n".join(["date,firm,return", *lines])})
    panel = read(tmp_path / "a.csv", thin_dates=0.5)
    assert panel.source["counts"]["thin_dates"] <= 11 and panel.dates[-1] == np.datetime64(dates[-1])


# -- several files ------------------------------------------------------------


def test_a_folder_and_a_pattern_are_the_one_file(tmp_path):
    frame = made_up()
    for year, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        (tmp_path / "folder").mkdir(exist_ok=True)
        frame.iloc[part].to_parquet(tmp_path / "folder" / f"{year}.parquet")
        frame.iloc[part].to_csv(tmp_path / "folder" / f"{year}.csv", index=False)
    put(tmp_path, {"folder/README.txt": "notes", "folder/_SUCCESS": "", "folder/.hidden.csv": "x"})
    panel = read(tmp_path / "folder" / "*.parquet")
    assert same(panel, Panel.from_frame(frame)) and panel.source["files"] == 3
    assert find_files(str(tmp_path / "folder"))[1] == 1
    doubled = read(tmp_path / "folder", duplicates="last")
    assert doubled.source["counts"] == {"duplicates": len(frame), "other_files": 1}
    np.testing.assert_allclose(doubled.returns, panel.returns)


def test_duplicates_over_files_are_named_with_both(tmp_path):
    text = "date,firm,return\n2001-01-02,A,0.1\n2001-01-03,A,0.1\n"
    put(tmp_path, {"a.csv": text, "b.csv": text.replace("-02", "-05")})
    with pytest.raises(InputError, match=r"A on 2001-01-03 \(a.csv row 1, b.csv row 1\)") as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_file_a_ticker_takes_its_firm_from_the_name(tmp_path, ending):
    frame = made_up()
    for firm, part in frame.groupby("firm"):
        part = part.drop(columns="firm")
        write = part.to_parquet if ending == "parquet" else part.to_csv
        write(tmp_path / f"{firm}.{ending}", index=False)
    panel = read(tmp_path, layout="by_firm")
    expected = Panel.from_frame(frame)
    assert panel.firms.tolist() == expected.firms.tolist()
    np.testing.assert_allclose(panel.returns, expected.returns, rtol=1e-12)
    assert (panel.listed == expected.listed).all() and (panel.industry == expected.industry).all()


def test_an_empty_file_among_others_is_counted(tmp_path):
    put(tmp_path, {"A.csv": "date,return\n2001-01-02,0.1\n", "B.csv": "date,return\n"})
    panel = read(tmp_path, layout="by_firm")
    assert panel.firms.tolist() == ["A"] and panel.source["counts"] == {"empty_files": 1}


LONG = "date,firm,return\n2001-01-02,A,0.1\n"
SEVERAL = {
    "other columns": (
        {"a.csv": LONG, "b.csv": LONG.replace("return\n", "return,x\n").replace("0.1", "0.1,1")},
        {},
        "b.csv: files must have the same columns as a.csv, found x in one of them only",
    ),
    "one damaged": ({"a.csv": LONG, "b.parquet": b"PAR1"}, {}, "b.parquet: must be a readable CSV or Parquet"),
    "a bad row in the second": (
        {"a.csv": LONG, "b.csv": LONG.replace("A,0.1", "B,x")},
        {},
        "b.csv: column 'return' must be numeric, found 'x' in row 0",
    ),
    "all empty": ({"a.csv": LONG[:17], "b.csv": LONG[:17]}, {}, "must have at least one row, found none"),
    "no tables": ({"a.txt": "x"}, {}, r"data.path must be a file, found none at .* \(nor a folder or pattern"),
    "a firm column by firm": ({"A.csv": LONG}, {"layout": "by_firm"}, "A.csv: layout 'by_firm' takes the firm from"),
    "no firm column": (
        {"A.csv": LONG.replace("firm", "x")},
        {},
        "A.csv: a long file must .* found no firm among "
        r"x: name columns that are called otherwise by --data.columns '\{YOURS: firm\}'",
    ),
    "many other columns": (
        {"A.csv": "date,a,b,c,d,e,f,g,h,i\n"},
        {},
        "no firm, return among a, b, .*, h and 1 more: name",
    ),
    "one is told already": (
        {"A.csv": "day,id,ret\n"},
        {"columns": {"day": "date"}},
        "found no firm, return among id, ret: name",
    ),
    "one firm twice": (
        {"A.csv": "date,return\n2001-01-02,.1\n", "A.csv.gz": gzip.compress(b"date,return\n2001-01-02,.1\n")},
        {"layout": "by_firm"},
        "1 duplicates: A on 2001-01-02",
    ),
}


@pytest.mark.parametrize("files, keys, message", SEVERAL.values(), ids=SEVERAL.keys())
def test_several_files_are_refused_in_one_line_that_names_the_one(tmp_path, files, keys, message):
    with pytest.raises(InputError, match=message) as caught:
        read(put(tmp_path, files), **keys)
    assert "\n" not in str(caught.value)


# -- bad rows of Parquet ------------------------------------------------------------

GOOD = {"date": DAYS, "firm": ["A", "A", "A"], "return": [0.1, 0.2, 0.3]}
BAD = {
    "no date": ({"date": [DAYS[0], None, DAYS[2]]}, "dates must be whole days .*found none in row 1"),
    "a word": ({"date": [*DAYS[:2], "soon"]}, "found 'soon' in row 2"),
    "a month": ({"date": [1, 200101, 20010103]}, "found '1' in row 0"),
    "a huge day": ({"date": [20010102, 2**62, 20010103]}, f"found '{2**62}' in row 1"),
    "a time": (
        {"date": [*pd.to_datetime(DAYS[:2]), pd.Timestamp("2001-01-04 16:00")]},
        "found '2001-01-04 16:00:00' in row 2",
    ),
    "a zone": ({"date": pd.to_datetime(DAYS).tz_localize("UTC")}, "without a time zone, found time zone UTC"),
    "a zone in text": ({"date": [*DAYS[:2], "2001-01-04T00:00:00+01:00"]}, "dates must"),
    "truth for days": ({"date": [True, False, True]}, "dates must"),
    "no firm": ({"firm": ["A", None, "A"]}, "firm must be given in every row, found none in row 1"),
    "an empty firm": ({"firm": ["A", "", "A"]}, "firms must have an identifier, found an empty one"),
    "no number for a firm": ({"firm": [1.0, NAN, 1.0]}, "firm must be given in every row, found none in row 1"),
    "lists for firms": ({"firm": [[1], [2], [3]]}, "column 'firm' must be numeric, or hold text or days, found list"),
    "text": ({"return": ["0.1", "0.2", "C"]}, "column 'return' must be numeric, found 'C' in row 2"),
    "days": ({"x": pd.to_datetime(DAYS)}, "column 'x' must be numeric, found datetime64"),
    "times": ({"x": [datetime.time(1)] * 3}, "column 'x' must be numeric"),
    "bytes": ({"x": [b"1", b"2", b"\xff"]}, "column 'x' must be numeric"),
    "a code": ({"industry": [1.5, 2, 3]}, "industry must hold integer codes .* found 1.5 at row 0"),
    "a code in words": ({"industry": ["1", "2", "oil"]}, "industry must hold integer codes .* found 'oil' at row 2"),
    "a negative code": ({"industry": [1, -24, 3]}, "found -24 at row 1"),
    "listed": ({"listed": [1, 0, 2]}, "listed must be true or false, found 2 at row 2"),
    "listed missing": ({"listed": [True, None, True]}, "listed must be true or false, found None at row 1"),
    "two names": (
        {"name": ["a", "b", "a"]},
        r"name must be the same in all rows of a firm, found a and b for A \(row 1",
    ),
    "two rates": (
        {"date": [DAYS[0]] * 2 + DAYS[2:], "firm": ["A", "B", "A"], "risk_free": [0.1, 0.2, 0.1]},
        r"risk_free must be the same in all rows of a date, found 0.1 and 0.2 for 2001-01-02 \(row 1\)",
    ),
    "percent": ({"return": [1.5, -2.5, 0.7]}, "these look like percent"),
    "negative": ({"market_cap": [1.0, -2.0, 3.0]}, "market_cap must not be negative, found -2.0 at 2001-01-03"),
}  # fmt: skip


@pytest.mark.parametrize("columns, message", BAD.values(), ids=BAD.keys())
def test_a_bad_row_is_refused_with_its_file_and_row(tmp_path, columns, message):
    put(tmp_path, {"a.parquet": GOOD | columns})
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / "a.parquet")
    assert str(caught.value).startswith(f"{tmp_path / 'a.parquet'}: ") and "\n" not in str(caught.value)


def test_the_row_of_a_later_batch_is_counted_from_the_start_of_the_file(tmp_path):
    rows = BATCH + 10
    dates = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(DAYS))
    industry = np.ones(rows)
    industry[BATCH + 3] = -1
    put(
        tmp_path,
        {"a.parquet": {"date": dates, "firm": np.arange(rows), "return": np.zeros(rows), "industry": industry}},
    )
    with pytest.raises(InputError, match=f"found -1.0 at row {BATCH + 3}"):
        read(tmp_path / "a.parquet")


def test_huge_integers_are_numbers_and_identifiers(tmp_path):
    put(tmp_path, {"a.parquet": GOOD | {"firm": [2**62, 2**62 + 1, 5], "x": [2**63 - 1, 0, -(2**63)]}})
    panel = read(tmp_path / "a.parquet")
    assert panel.firms.tolist() == sorted(["5", str(2**62), str(2**62 + 1)])
    assert np.nanmax(panel.features) == 2.0**63


# -- prices ------------------------------------------------------------


def priced(folder, text, columns=None, **keys):
    return read(put(folder, {"a.csv": text}) / "a.csv", columns, **keys)


def test_adjusted_prices_make_returns_and_nothing_else(tmp_path):
    text = (
        "date,firm,adj_close,close,volume\n2001-01-02,A,50,100,10\n2001-01-03,A,55,110,20\n2001-01-04,A,44,44,30\n"
        "2001-01-03,B,8,9,1\n2001-01-04,B,6,7,2\n"
    )
    columns = {"adj_close": "adjusted_price", "close": "price"}
    panel = priced(tmp_path, text, columns, values="adjusted_prices")
    np.testing.assert_allclose(panel.returns, [[NAN, NAN], [0.1, NAN], [-0.2, -0.25]], rtol=1e-12)
    np.testing.assert_array_equal(panel.price[:, 0], [100, 110, 44])
    np.testing.assert_array_equal(panel.dollar_volume, [[1000, NAN], [2200, 9], [1320, 14]])
    assert panel.feature_names == () and panel.market_cap is None
    assert panel.source["values"] == "adjusted_prices" and "counts" not in panel.source


def test_raw_prices_with_splits_and_dividends_make_total_returns(tmp_path):
    # 100 → 52 after two for one: (52 × 2 + 0) / 100 − 1; then (50 + 1.04) / 52 − 1; then a split and a dividend of 2 on
    # each share held before: (26 × 2 + 2) / 50 − 1; then one for ten: (275 × 0.1 + 0) / 26 − 1.
    text = (
        "date,firm,price,split,dividend\n2001-01-02,A,100,1,5\n2001-01-03,A,52,2,0\n2001-01-04,A,50,0,1.04\n"
        "2001-01-05,A,26,2,2\n2001-01-08,A,275,.1,\n"
    )
    panel = priced(tmp_path, text, values="raw_prices")
    expected = [NAN, 0.04, 51.04 / 52 - 1, 0.08, 27.5 / 26 - 1]
    np.testing.assert_allclose(panel.returns[:, 0], expected, rtol=1e-12)
    np.testing.assert_array_equal(panel.price[:, 0], [100, 52, 50, 26, 275])
    assert panel.feature_names == ()


def test_a_return_after_a_gap_is_missing_and_counted_unless_the_gap_is_short_enough(tmp_path):
    text = "date,firm,adjusted_price\n" + "".join(
        f"2001-01-0{day},{firm},{price}\n"
        for firm, prices in {"A": (10, 11, 12, 13, 14), "B": (10, "", 12, 0, 6), "C": (10, None, None, 20, 10)}.items()
        for day, price in enumerate(prices, 1)
        if price is not None
    )
    panel = priced(tmp_path, text, values="adjusted_prices")
    np.testing.assert_allclose(panel.returns[:, 1], [NAN] * 5)
    np.testing.assert_allclose(panel.returns[:, 2], [NAN, NAN, NAN, NAN, -0.5])
    assert panel.source["counts"] == {"zero_prices": 1, "returns_after_gaps": 3}
    one = priced(tmp_path, text, values="adjusted_prices", longest_gap=1)
    np.testing.assert_allclose(one.returns[:, 1], [NAN, NAN, 0.2, NAN, -0.5])
    np.testing.assert_allclose(one.returns[:, 2], [NAN, NAN, NAN, NAN, -0.5])
    two = priced(tmp_path, text, values="adjusted_prices", longest_gap=2)
    np.testing.assert_allclose(two.returns[:, 2], [NAN, NAN, NAN, 1.0, -0.5])
    assert two.listed[:, 2].tolist() == [True, False, False, True, True]


def test_a_gap_is_bridged_with_the_splits_and_dividends_on_the_way():
    # A share at 100; in the gap 1 of cash, then two for one, then 3 a share; at the end two shares at 60, with a
    # dividend of 2 a share on that day: (120 + 1 + 6 + 4) / 100 − 1.
    price = np.array([[100.0], [NAN], [NAN], [NAN], [60.0]])
    split, dividend = np.array([[1.0], [1], [2], [NAN], [1]]), np.array([[9.0], [1], [0], [3], [2]])
    assert price_returns(price, split, dividend, longest_gap=3)[4, 0] == pytest.approx(0.31)
    assert np.isnan(price_returns(price, split, dividend, longest_gap=2)).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(0, 4))
def test_returns_over_gaps_compound_to_the_price_relative(seed, longest):
    """One total return index, asked through raw prices, splits and dividends, and through adjusted prices."""
    random = np.random.default_rng(seed)
    growth = np.exp(0.1 * random.standard_normal((12, 3)))
    split = np.where(random.random((12, 3)) < 0.2, random.choice([2.0, 0.5, 3.0]), 1.0)
    index, price = np.cumprod(growth, axis=0), np.cumprod(growth / split, axis=0)
    index[random.random((12, 3)) < 0.4] = NAN
    price[np.isnan(index)] = NAN
    np.testing.assert_allclose(price_returns(price, split, None, longest), price_returns(index, longest_gap=longest))


PRICES = "date,firm,adjusted_price,price,split,dividend\n2001-01-02,A,1,2,1,0\n2001-01-03,A,1,2,1,0\n"
BAD_PRICES = {
    "negative": (PRICES.replace("A,1,2", "A,-1,2"), "adjusted_prices", "adjusted_price must be finite and not neg"),
    "negative raw": (PRICES.replace("2,1,0", "-2,1,0"), "raw_prices", "price must .*found -2.0 at 2001-01-02, firm A"),
    "negative split": (PRICES.replace("2,1,0", "2,-1,0"), "raw_prices", "split must be finite and not negative"),
    "infinite dividend": (PRICES.replace("1,0\n", "1,inf\n"), "raw_prices", "dividend must be finite"),
    "returns too": (PRICES.replace("dividend", "return"), "adjusted_prices", "found a column 'return' too"),
    "volume alone": (
        PRICES.replace("price,split", "x,volume"),
        "adjusted_prices",
        "volume must go with price, the raw close",
    ),
    "no splits": (PRICES.replace("split", "x"), "raw_prices", "firm, price, split, dividend; found no split"),
    "no adjusted": (PRICES.replace("adjusted_", ""), "adjusted_prices", "name of its own"),
}  # fmt: skip


@pytest.mark.parametrize("text, values, message", BAD_PRICES.values(), ids=BAD_PRICES.keys())
def test_prices_that_make_no_returns_are_refused(tmp_path, text, values, message):
    with pytest.raises(InputError, match=message) as caught:
        priced(tmp_path, text, values=values)
    assert str(caught.value).startswith(f"{tmp_path / 'a.csv'}: ") and "\n" not in str(caught.value)


# -- wide files ------------------------------------------------------------


def wide_of(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.pivot(index="date", columns="firm", values=column)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("index", ["date", "Date", None])
def test_wide_files_hold_the_panel_of_the_long_one(tmp_path, ending, index):
    frame = made_up()
    for name in ("return", "market_cap", "size", "industry"):
        wide = wide_of(frame, name).rename_axis(index=index, columns=None)
        (wide.to_parquet if ending == "parquet" else wide.to_csv)(tmp_path / f"{name}.{ending}")
    panel, expected = read(tmp_path, layout="wide"), Panel.from_frame(frame)
    assert panel.firms.tolist() == expected.firms.tolist() and (panel.dates == expected.dates).all()
    np.testing.assert_allclose(panel.returns, expected.returns, rtol=1e-12)
    np.testing.assert_allclose(panel.market_cap, expected.market_cap, rtol=1e-12)
    np.testing.assert_allclose(panel.features, expected.features, rtol=1e-12)
    assert (panel.listed == expected.listed).all() and (panel.industry == expected.industry).all()


def test_a_single_wide_file_of_prices_with_rows_in_any_order(tmp_path):
    put(tmp_path, {"sp.csv": "Date,B,0001\n2001-01-03,11,\n2001-01-02,10,5\n"})
    panel = read(tmp_path / "sp.csv", layout="wide", values="adjusted_prices")
    assert panel.firms.tolist() == ["0001", "B"]
    np.testing.assert_allclose(panel.returns, [[NAN, NAN], [NAN, 0.1]])
    assert panel.listed.tolist() == [[True, True], [False, True]]


def test_wide_files_are_mapped_aligned_and_what_lies_outside_is_counted(tmp_path):
    put(
        tmp_path,
        {
            "ret.csv": "d,A,B\n2001-01-02,.1,.2\n2001-01-03,.3,\n",
            "mcap.csv": "d,B,C\n2001-01-03,5,6\n2001-01-31,7,8\n",
            "listed.csv": "d,A,B\n2001-01-02,1,\n2001-01-03,1,0\n",
        },
    )
    panel = read(tmp_path, {"ret": "return", "mcap": "market_cap"}, layout="wide")
    np.testing.assert_array_equal(panel.market_cap, [[NAN, NAN], [NAN, 5]])
    assert panel.listed.tolist() == [[True, False], [True, False]]
    assert panel.source["counts"] == {"rows_of_other_dates": 1, "columns_of_other_firms": 1}


def test_the_last_of_two_rows_of_a_wide_file_is_used_where_asked(tmp_path):
    put(tmp_path, {"a.csv": "d,A\n2001-01-02,.1\n2001-01-03,.2\n2001-01-02,.3\n"})
    panel = read(tmp_path / "a.csv", layout="wide", duplicates="last")
    assert panel.returns.tolist() == [[0.3], [0.2]] and panel.source["counts"] == {"duplicates": 1}


WIDE = {
    "twice a date": ({"a.csv": "d,A\n2001-01-02,1\n2001-01-02,2\n"}, r"a.csv: dates .*2001-01-02 \(rows 0, 1\)"),
    "no date": ({"a.csv": "d,A\n2001-01-02,1\n,2\n"}, "a.csv: dates .*found none in row 1"),
    "a word": ({"a.csv": "d,A\n2001-01-02,.1\n2001-01-03,x\n"}, "a.csv: column 'A' must be numeric, found 'x' in"),
    "a firm twice": ({"a.csv": "d,A,A\n2001-01-02,1,2\n"}, "a.csv: every column must have a name of its own"),
    "no firms": ({"a.csv": "d\n2001-01-02\n"}, "a.csv: a wide file must have dates and at least one firm"),
    "header only": ({"a.csv": "d,A\n"}, "a.csv: a wide file must have dates and at least one firm and row"),
    "no returns": ({"size.csv": "d,A\n", "x.csv": "d,A\n"}, "must be called return .*found 'size', 'x'"),
    "two returns": ({"return.csv": "d,A\n", "return.csv.gz": b""}, "more than one 'return'"),
    "names": ({"return.csv": "d,A\n2001-01-02,1\n", "name.csv": "d,A\n"}, "a value for each firm-date, found 'name'"),
    "a flag": (
        {"return.csv": "d,A\n2001-01-02,.1\n", "listed.csv": "d,A\n2001-01-02,2\n"},
        "listed.csv: listed must hold 0, 1 or nothing",
    ),
    "a code": (
        {"return.csv": "d,A\n2001-01-02,.1\n", "industry.csv": "d,A\n2001-01-02,-2\n"},
        "industry.csv: A must hold integer codes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("files, message", WIDE.values(), ids=WIDE.keys())
def test_wide_files_are_refused_in_one_line(tmp_path, files, message):
    put(tmp_path, files)
    if len(files) > 1:
        for file in tmp_path.glob("*.gz"):
            file.write_bytes(gzip.compress(b"d,A\n"))
    path = tmp_path if len(files) > 1 else tmp_path / next(iter(files))
    with pytest.raises(InputError, match=message) as caught:
        read(path, layout="wide")
    assert "\n" not in str(caught.value)


# -- industries ------------------------------------------------------------


def with_table(folder, table, returns=LONG + "2001-01-03,A,0.1\n2001-01-03,B,0.2\n", **keys):
    put(folder, {"a.csv": returns, "codes.csv": table})
    return read(folder / "a.csv", industries=str(folder / "codes.csv"), **keys)


def test_a_table_gives_names_and_codes_where_a_firm_is_listed(tmp_path):
    table = "ticker,name,sic,cik\nB,Bank,6021,1\nA,,2834,2\nX,Other,1000,3\n"
    panel = with_table(tmp_path, table, industries_columns={"ticker": "firm", "sic": "industry"})
    assert panel.industry.tolist() == [[2834, 0], [2834, 6021]] and panel.names == ("A", "Bank")
    assert panel.source["industries"]["counts"] == {"rows": 3, "of_unknown_firms": 1, "without_industry": 0}


def test_levels_of_words_become_codes_that_the_source_spells_out(tmp_path):
    table = "firm,sector,kind\nA,Oil,Wells\nB,,\nX,Banks,Banks\n"
    panel = with_table(tmp_path, table, industry_levels=("sector", "kind"), industry_scheme="custom")
    assert panel.industry.tolist() == [[21, 0], [21, 0]] and panel.industry_widths == (2, 1)
    assert panel.source["industry_levels"] == {"11": "Banks / Banks", "21": "Oil / Wells"}
    assert panel.source["industries"]["counts"]["without_industry"] == 1


def test_codes_of_stretches_of_days_are_those_of_the_date(tmp_path):
    table = "firm,industry,start,end\nA,2834,2000-01-01,2001-01-02\nA,6021,2001-01-03,\n"
    panel = with_table(tmp_path, table, industry_as_of=True)
    assert panel.industry.tolist() == [[2834, 0], [6021, 0]] and panel.industry_as_of


TABLES = {
    "twice a firm": ("firm,industry\nA,1\nA,2\n", {}, "codes.csv: firms must be unique .*'A'"),
    "no codes": ("firm,sic\nA,1\n", {}, "codes.csv: a table of industries must have columns, found no industry"),
    "negative": ("firm,industry\nB,1\nA,-24\n", {}, "codes.csv: industry must hold .* found -24 at row 1"),
    "present-day codes as of": ("firm,industry\nA,1\n", {"industry_as_of": True}, "industry_as_of must be false"),
    "no end": ("firm,industry,start\nA,1,2000-01-01\n", {}, "must have a column end"),
    "others only": ("firm,industry\nX,1\n", {}, "codes.csv: firm must hold firms of the panel"),
    "unmapped": ("firm,industry\nA,1\n", {"industries_columns": {"t": "firm"}}, "codes.csv: .*found no t in it"),
    "empty": ("", {}, "codes.csv: must be a readable CSV"),
    "widths": ("firm,industry\nA,1\n", {"industry_scheme": "custom", "industry_widths": (2, 4)}, "widths must fall"),
    "in both": (
        "firm,industry\nA,1\n",
        {"returns": LONG.replace("return\n", "return,industry\n").replace("0.1", "0.1,7")},
        "industries must come from one place",
    ),
}  # fmt: skip


@pytest.mark.parametrize("table, keys, message", TABLES.values(), ids=TABLES.keys())
def test_a_table_of_industries_is_refused_in_one_line(tmp_path, table, keys, message):
    with pytest.raises(InputError, match=message) as caught:
        with_table(tmp_path, table, **keys)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path):
    put(tmp_path, {"a.csv": LONG})
    with pytest.raises(InputError, match="data.industries must be a file, found none at nowhere.csv"):
        read(tmp_path / "a.csv", industries="nowhere.csv")


# -- reports ------------------------------------------------------------

REPORTS = "firm,available,period_end,focus,assets\nA,2001-01-03,2000-12-31,FY,7\nA,2001-01-02,2000-12-31,Q4,5\n"
REPORTED = {"columns": {"assets": "total_assets"}}


def with_reports(folder, table=REPORTS, **keys):
    put(folder, {"a.csv": LONG + "2001-01-03,A,0.1\n", "reports.csv": table})
    return read(folder / "a.csv", reports=ReportsConfig(**({"path": str(folder / "reports.csv")} | REPORTED | keys)))


def test_figures_of_reports_are_features_from_the_day_they_were_known(tmp_path):
    panel = with_reports(tmp_path)
    assert panel.feature_names == ("total_assets",) and panel.features[:, 0, 0].tolist() == [5, 7]
    panel = with_reports(tmp_path, where={"focus": "FY"}, rule={"delay_rows": 0})
    np.testing.assert_array_equal(panel.features[:, 0, 0], [NAN, 7])
    assert panel.source["as_of_joins"][0]["counts"]["rows"] == 1


@pytest.mark.parametrize(
    "table, keys, message",
    [
        (REPORTS, {"path": "nowhere.csv"}, "data.reports.path must be a file, found none at nowhere.csv"),
        (REPORTS, {"rule": {"delay": 1}}, "data.reports.rule must have keys among firm, .*, found 'delay'"),
        (REPORTS, {"columns": {"debt": "debt"}}, "reports.csv: the table must have columns .*; found no debt"),
        (REPORTS, {"where": {"focus": "Q1"}}, "reports.csv: data.reports.where must leave rows, found none with focus"),
        (REPORTS.replace("2001-01-03", "soon"), {}, "reports.csv: available must read like .*found 'soon' in row 0"),
        (REPORTS.replace("7", "x"), {}, "reports.csv: column 'assets' must .*found 'x' in row 0"),
        ("", {}, "reports.csv: must be a readable CSV"),
    ],
)
def test_reports_are_refused_in_one_line(tmp_path, table, keys, message):
    with pytest.raises(InputError, match=message) as caught:
        with_reports(tmp_path, table, **keys)
    assert "\n" not in str(caught.value)


def test_reports_without_figures_are_refused():
    with pytest.raises(InputError, match="data.reports.columns must be given with data.reports.path and only with it"):
        ReportsConfig(path="x")


# -- the configuration ------------------------------------------------------------


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"layout": "tall"}, "data.layout must be one of long, wide, by_firm, found 'tall'"),
        ({"values": "prices"}, "data.values must be one of returns, adjusted_prices, raw_prices, found 'prices'"),
        ({"duplicates": "first"}, "data.duplicates must be one of refuse, last, found 'first'"),
        ({"infinite": "zero"}, "data.infinite must be one of refuse, missing, found 'zero'"),
        ({"longest_gap": -1}, "data.longest_gap must be at least 0, found -1"),
        ({"thin_dates": 1.0}, "data.thin_dates must be at least 0 and below 1, found 1.0"),
        ({"thin_dates": NAN}, "data.thin_dates must be at least 0"),
        ({"layout": "wide", "use": ("x",)}, "data.use must be left out of the layout 'wide'"),
        ({"industry_levels": ("a",)}, "data.industry_levels must be left out without industries"),
        ({"industries_columns": {"a": "b"}}, "data.industries_columns must be left out without industries"),
        ({"industries": "x", "industry_levels": ("a",)}, "data.industry_scheme must be 'custom', without"),
        ({"industry_scheme": "custom"}, "data.industry_widths must be given with industry_scheme 'custom'"),
        ({"industry_widths": (4, 2)}, "data.industry_widths must be given with industry_scheme 'custom'"),
        ({"source": "panel", "layout": "wide"}, "data.layout must be left out unless source is 'file', found 'wide'"),
        ({"source": "panel", "industries": "x"}, "data.industries must be left out unless source is 'file'"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys, message):
    with pytest.raises(InputError, match=message):
        DataConfig(**({"source": "file", "path": "x"} | keys))


def test_a_configuration_reaches_every_key_from_the_command_line(tmp_path):
    from finattn.cli.arguments import parse, run_parser

    (tmp_path / "run.yaml").write_text(
        "data: {source: file, path: x, layout: by_firm, industries: y, industry_levels: [a, b],"
        "  industry_scheme: custom}"
    )
    given_keys = ["--data.values", "raw_prices", "--data.use", "[x, y]", "--data.thin_dates", "0.5"]
    given_keys += ["--data.reports.path", "r.csv", "--data.reports.columns", "{assets: size}"]
    config, _ = parse(run_parser("run", ""), tmp_path / "run.yaml", given_keys)
    assert config.data.layout == "by_firm" and config.data.industry_levels == ("a", "b")
    assert config.data.values == "raw_prices" and config.data.use == ("x", "y") and config.data.thin_dates == 0.5
    assert config.data.reports == ReportsConfig("r.csv", {"assets": "size"})


def test_the_configurations_in_the_documentation_have_known_keys_and_sound_values():
    blocks = re.findall(r"::\n\n((?:    .*\n)+)", files.__doc__)
    assert len(blocks) == 4
    for block in blocks:
        content = yaml.safe_load(textwrap.dedent(block))
        assert not list(unknown_keys({"data": content}))
        assert DataConfig(**{key: tuple(v) if isinstance(v, list) else v for key, v in content.items()})


# -- against Panel.from_frame ------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 12), st.integers(0, 10**6), st.integers(1, 20), st.booleans())
def test_a_streamed_file_is_the_panel_of_the_frame(tmp_path_factory, firms, days, seed, rows, single):
    frame = made_up(firms, days, seed)
    if not len(frame):
        return
    if single:
        frame["size"] = frame["size"].astype(np.float32)
    file = tmp_path_factory.mktemp("random") / "a.parquet"
    frame.to_parquet(file, row_group_size=rows)
    panel = read(file)
    assert same(panel, Panel.from_frame(frame))
    assert panel.fingerprint == read(file).fingerprint
    assert json.dumps(panel.source)
