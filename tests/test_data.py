"""Sources: the sample, files with all that can be wrong in them, and industry levels."""

import datetime
import gzip
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finattn.config import DataConfig
from finattn.data import load, load_file, sample
from finattn.data.sic import industry_levels, sic_division, sic_divisions
from finattn.errors import InputError

HEADER = "date,firm,return\n"


@pytest.fixture(scope="module")
def stocks():
    return sample()


# -- the sample ------------------------------------------------------------


def test_the_sample_is_twenty_stocks_with_their_sic_codes(stocks):
    assert stocks.shape == (8312, 20) and stocks.firms[0] == "AAPL"
    assert str(stocks.dates[0]) == "1990-01-03" and str(stocks.dates[-1]) == "2022-12-28"
    codes = dict(zip(stocks.firms.tolist(), stocks.industry[0].tolist(), strict=True))
    assert codes["AAPL"] == 3571 and codes["JPM"] == 6021 and codes["XOM"] == 2911
    assert (stocks.industry == stocks.industry[0]).all() and (sic_division(stocks.industry[0]) > 0).all()
    assert not stocks.industry_as_of and stocks.industry_scheme == "sic"
    assert len(stocks.names) == 20 and stocks.names[0] == "Apple"


def test_the_sample_returns_are_fractions_from_close_to_close(stocks):
    from skfolio.datasets import load_sp500_dataset

    prices = load_sp500_dataset()
    np.testing.assert_allclose(stocks.returns, prices.pct_change().iloc[1:].to_numpy(), atol=1e-12)
    assert stocks.listed.all() and np.isfinite(stocks.returns).all()


def test_the_sample_says_what_it_is(stocks):
    said = " ".join(stocks.source["caveats"])
    assert "survivors" in said and "present-day" in said and "20" in said
    assert stocks.fingerprint == sample().fingerprint


def test_loading_cuts_both_ends_inside():
    panel = load(DataConfig(start="2020-01-02", end="2020-01-31"))
    assert str(panel.dates[0]) == "2020-01-02" and str(panel.dates[-1]) == "2020-01-31"
    assert len(load(DataConfig(start="2022"))) == 249


@pytest.mark.parametrize(
    "fields, message",
    [
        (
            {"start": "2030-01-01"},
            "must hold dates, found none from 2030-01-01 to None in a panel of 1990-01-03 to 2022-12-28",
        ),
        ({"start": "2010-01-01", "end": "2009-01-01"}, "must hold dates, found none from 2010-01-01 to 2009-01-01"),
        ({"start": "soon"}, "a day must read like '2001-05-31'.*found 'soon'"),
        ({"end": ""}, "a day must read like"),
        ({"start": "01/02/1995"}, "a day must read like"),
        ({"source": "panel", "path": "absent"}, "saved panel must have a readable panel.json, found none in absent"),
        ({"source": "file", "path": "absent.csv"}, "data.path must be a file, found none at absent.csv"),
    ],
)
def test_loading_refuses_in_one_line(fields, message):
    with pytest.raises(InputError, match=message) as caught:
        load(DataConfig(**fields))
    assert "\n" not in str(caught.value)


def test_a_year_given_as_a_number_is_a_year_and_no_row():
    assert str(load(DataConfig(start=2020)).dates[0]) == "2020-01-02"


def test_loads_a_saved_panel_and_a_file(stocks, tmp_path):
    stocks[:50].save(tmp_path / "panel")
    assert load(DataConfig("panel", str(tmp_path / "panel"))).fingerprint == stocks[:50].fingerprint
    (tmp_path / "a.csv").write_text(HEADER + "2020-01-31,A,0.1\n2020-02-28,A,0.2\n")
    panel = load(DataConfig("file", str(tmp_path / "a.csv"), end="2020-01", periods_per_year=12, industry_as_of=True))
    assert panel.shape == (1, 1) and panel.periods_per_year == 12 and panel.industry_as_of


# -- files ------------------------------------------------------------


def csv(folder, text, name="returns.csv", **options):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_file(file, **options)


def test_identifiers_and_names_are_text_as_they_stand(tmp_path):
    text = "date,firm,return,name\n2020-01-02,0001,.1,NA\n2020-01-02,NA,.2,007\n2020-01-02,1e5,,\n"
    panel = csv(tmp_path, text)
    assert panel.firms.tolist() == ["0001", "1e5", "NA"]
    assert panel.names == ("NA", "1e5", "007")
    np.testing.assert_array_equal(panel.returns, [[0.1, np.nan, 0.2]])


def test_columns_are_mapped(tmp_path):
    text = "PERMNO,day,RET,SICCD,size\n0001,20010531,0.01,2834,5\n10,20010531,-0.02,6021,\n"
    columns = {"PERMNO": "firm", "day": "date", "RET": "return", "SICCD": "industry"}
    panel = csv(tmp_path, text, columns=columns, industry_as_of=True, periods_per_year=12)
    assert panel.firms.tolist() == ["0001", "10"] and str(panel.dates[0]) == "2001-05-31"
    assert panel.industry.tolist() == [[2834, 6021]] and panel.feature_names == ("size",)
    assert panel.source == {"file": "returns.csv", "rows": 2} and panel.periods_per_year == 12
    assert np.isnan(panel.features[0, 1, 0])


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "N/A", "NULL", "null", "None", "."])
def test_what_stands_for_a_missing_number(tmp_path, missing):
    panel = csv(tmp_path, f"{HEADER}2020-01-02,A,{missing}\n2020-01-02,B,0.5\n")
    np.testing.assert_array_equal(panel.returns, [[np.nan, 0.5]])


def test_a_compressed_file_a_byte_order_mark_and_capitals_are_read(tmp_path):
    text = (HEADER + "2020-01-02,A,0.1\n").encode()
    for name, content in (("a.csv.gz", gzip.compress(text)), ("b.CSV", b"\xef\xbb\xbf" + text)):
        assert csv(tmp_path, content, name).returns.tolist() == [[0.1]]


def test_all_levels_rates_and_factors_are_read(tmp_path):
    text = (
        "date,firm,return,listed,market_cap,risk_free,factor:market,momentum\n"
        "2020-01-02,A,.1,True,1e9,1e-4,.02,1\n2020-01-02,B,.2,False,,1e-4,.02,2\n"
    )
    panel = csv(tmp_path, text)
    assert panel.listed.tolist() == [[True, False]] and panel.factor_names == ("market",)
    assert panel.risk_free.tolist() == [1e-4] and panel.factors.tolist() == [[0.02]]
    assert panel.feature_names == ("momentum",) and panel.market_cap[0, 0] == 1e9


ROWS = "2020-01-02,A,0.1\n2020-01-03,A,0.2\n"
TRUNCATED = gzip.compress((HEADER + ROWS * 99).encode())[:-20]
FILES = {
    "duplicate": (
        HEADER + ROWS + "2020-01-02,A,0.3\n",
        r"firm-dates must be unique, found 1 duplicates: A on 2020-01-02 \(rows 0, 2\)",
    ),
    "percent": (HEADER + "2020-01-02,A,1.5\n2020-01-03,A,-2.5\n", "absolute return of 2: these look like percent"),
    "below -1": (HEADER + ROWS + ROWS.replace("A", "B") + "2020-01-06,B,-1.1\n", "at 2020-01-06, firm B"),
    "code for missing": (HEADER + ROWS + "2020-01-06,A,C\n", "column 'return' must be numeric, found 'C' in row 2"),
    "infinite": (HEADER + ROWS + "2020-01-06,A,inf\n", "must be finite or NaN, found inf at 2020-01-06, firm A"),
    "no columns": ("a;b\n1;2\n", "columns date, firm, return; found no date, firm, return"),
    "semicolons and decimal commas": (HEADER.replace(",", ";") + "2020-01-02;A;0,1\n", "found no date, firm, return"),
    "header only": (HEADER, "at least one row, found none"),
    "empty": ("", "must be a readable CSV or Parquet file, found an empty one"),
    "blank": ("\n\n", "must be a readable CSV or Parquet file"),
    "zeros": (b"\0" * 40, "found"),
    "another encoding": ((HEADER + "2020-01-02,\xe9,0.1\n").encode("latin1"), "'firm' must be UTF-8 .* row 0"),
    "utf-16": ((HEADER + ROWS).encode("utf-16"), "must be UTF-8 text, found UTF-16"),
    "a saved index": (",date,firm,return\n0,2020-01-02,A,0.1\n", "column must have a name of its own, found '', "),
    "a column twice": ("date,firm,return,return\n2020-01-02,A,0.1,0.2\n", "a name of its own, .*'return', 'return'"),
    "too many fields": (HEADER + "2020-01-02,A,0.1,\n2020-01-03,A,0.1,\n", "as many fields as the header's 3"),
    "a ragged row": (HEADER + ROWS + "2020-01-06,A,0.1,9\n", "as many fields as the header's 3, found 4 in row 2"),
    "an open quote": (HEADER + '2020-01-02,"A,0.1\n', "as many fields as the header's 3, found 2 in row 0"),
    "no firm": (HEADER + ROWS + "2020-01-06,,0.1\n", "firm must be given in every row, found none in row 2"),
    "no date": (HEADER + ROWS + ",A,0.1\n", "dates must be whole days .* in row 2"),
    "a word for a date": (HEADER + ROWS + "soon,A,0.1\n", "dates must be whole days .*found 'soon' in row 2"),
    "American dates": (HEADER + "01/02/2020,A,0.1\n", "like '2001-05-31', found '01/02/2020' in row 0"),
    "a code too large": ("date,firm,return,industry\n2020-01-02,A,.1,1e25\n", r"integer codes .*found 1e\+25 at row 0"),
    "listed in words": ("date,firm,return,listed\n2020-01-02,A,.1,Y\n", "true or false, found 'Y' at row 0"),
    "negative price": ("date,firm,return,price\n2020-01-02,A,.1,-5\n", "price must not be negative, found -5.0 at"),
}  # fmt: skip


@pytest.mark.parametrize("text, message", FILES.values(), ids=FILES.keys())
def test_a_csv_file_is_refused_in_one_line_that_names_it(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        csv(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'returns.csv'}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"ret": "return"}, "data.columns must name columns of the file, found no ret in it"),
        ({"x": "return"}, "columns of a long frame must be unique, found more than one 'return'"),
        ({"x": "firm", "return": "firm"}, "more than one 'firm'"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(tmp_path, columns, message):
    with pytest.raises(InputError, match=message):
        csv(tmp_path, "date,firm,return,x\n2020-01-02,A,0.1,0.2\n", columns=columns)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv.gz", TRUNCATED, "a.csv.gz: must be a readable CSV or Parquet file"),
        ("a.csv.gz", b"no gzip", "a.csv.gz: must be a readable CSV or Parquet file: Not a gzipped file"),
        ("a.parquet", b"", "a.parquet: must be a readable CSV or Parquet file"),
        ("a.parquet", b"PAR1 and no more", "a.parquet: must be a readable CSV or Parquet file"),
        ("a.xlsx", b"PK", "must end in .csv, .csv.gz, .parquet, .pq, found .*a.xlsx"),
        ("a.zip", b"PK", "must end in"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message) as caught:
        csv(tmp_path, content, name)
    assert "\n" not in str(caught.value)


def test_a_folder_or_nothing_is_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(InputError, match=f"data.path must be a file, found none at {path}"):
            load_file(path)


# -- Parquet ------------------------------------------------------------

COLUMNS = {"date": ["2020-01-02", "2020-01-02", "2020-01-03"], "firm": ["A", "B", "A"], "return": [0.1, 0.2, 0.3]}


def parquet(folder, **columns):
    file = folder / "returns.parquet"
    pq.write_table(pa.table({name: pa.array(values) for name, values in (COLUMNS | columns).items()}), file)
    return load_file(file)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"date": [20200102, 20200102, 20200103]},
        {"date": [datetime.date(2020, 1, 2)] * 2 + [datetime.date(2020, 1, 3)]},
        {"date": pd.to_datetime(COLUMNS["date"])},
        {"firm": pd.Categorical(COLUMNS["firm"], categories=["A", "B", "unused"])},
        {"return": [Decimal("0.1"), Decimal("0.2"), Decimal("0.3")]},
    ],
)
def test_parquet_files_of_other_types_hold_the_same_panel(tmp_path, columns):
    panel = parquet(tmp_path, **columns)
    assert panel.fingerprint == parquet(tmp_path).fingerprint
    assert panel.dates.astype(str).tolist() == ["2020-01-02", "2020-01-03"] and panel.firms.tolist() == ["A", "B"]
    np.testing.assert_array_equal(panel.returns, [[0.1, 0.2], [0.3, np.nan]])


def test_numbered_firms_are_text(tmp_path):
    assert parquet(tmp_path, firm=[7, 10, 7]).firms.tolist() == ["10", "7"]
    assert parquet(tmp_path, firm=[7.0, 10.0, 7.0]).firms.tolist() == ["10", "7"]


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"firm": [b"A", b"\xff", b"A"]}, "column 'firm' must be numeric, or hold text or days, found binary"),
        ({"firm": [1.5, 2.0, 1.5]}, "firms must be text or integers, found 1.5"),
        ({"x": [[1], [2], [3]]}, "column 'x' must be numeric"),
        ({"x": [{"a": 1}] * 3}, "column 'x' must be numeric"),
        ({"date": pd.to_datetime(COLUMNS["date"]) + pd.Timedelta("16h")}, "whole days"),
        ({"date": pd.to_datetime(COLUMNS["date"]).tz_localize("America/New_York")}, "without a time zone"),
        ({"date": [20200102.0, 20200102.0, 20200103.0]}, "whole days .*found '20200102.0' in row 0"),
        ({"firm": ["A", "A", "A"]}, r"A on 2020-01-02 \(rows 0, 1\)"),
    ],
)
def test_a_parquet_file_is_refused_in_one_line_that_names_it(tmp_path, columns, message):
    with pytest.raises(InputError, match=message) as caught:
        parquet(tmp_path, **columns)
    assert str(caught.value).startswith(str(tmp_path / "returns.parquet:")) and "\n" not in str(caught.value)


def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path):
    arrays = [pa.array(values) for values in COLUMNS.values()]
    pq.write_table(pa.Table.from_arrays([*arrays, arrays[-1]], names=[*COLUMNS, "return"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet: .*return"):
        load_file(tmp_path / "a.parquet")


@pytest.mark.parametrize("cut", [10, 200, -50, -4])
def test_a_truncated_parquet_file_is_refused(tmp_path, cut):
    parquet(tmp_path)
    file = tmp_path / "returns.parquet"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InputError, match="returns.parquet: must be a readable CSV or Parquet file"):
        load_file(file)


def test_a_frame_of_a_panel_written_to_parquet_is_the_panel(stocks, tmp_path):
    part = stocks[:30, ["XOM", "AAPL", "JPM"]]
    part.to_frame().to_parquet(tmp_path / "part.parquet")
    panel = load_file(tmp_path / "part.parquet")
    assert panel.replace(source=part.source).fingerprint == part.fingerprint


# -- industry levels ------------------------------------------------------------


@pytest.mark.parametrize(
    "code, division",
    [
        (0, 0), (99, 0), (100, 1), (999, 1), (1000, 2), (1499, 2), (1500, 3), (1799, 3), (1800, 0), (1999, 0),
        (2000, 4), (3999, 4), (4000, 5), (4971, 5), (4999, 5), (5000, 6), (5199, 6), (5200, 7), (5999, 7), (6000, 8),
        (6799, 8), (6800, 0), (6999, 0), (7000, 9), (8999, 9), (9000, 0), (9100, 10), (9729, 10), (10_000, 0),
        (2**31 - 1, 0),
    ],
)  # fmt: skip
def test_divisions_begin_and_end_where_the_manual_says(code, division):
    assert sic_division(np.array([code])).tolist() == [division]


def test_divisions_are_ten_in_order_and_do_not_overlap():
    table = sic_divisions()
    assert [letter for _, _, letter, _ in table] == list("ABCDEFGHIJ")
    edges = [edge for first, last, _, _ in table for edge in (first, last)]
    assert edges == sorted(set(edges))


@pytest.mark.parametrize(
    "code, scheme, widths, levels",
    [
        (2834, "sic", (), [2834, 283, 28, 4]),
        (111, "sic", (), [111, 11, 1, 1]),  # 0111: wheat
        (0, "sic", (), [0, 0, 0, 0]),
        (45102010, "gics", (), [45102010, 451020, 4510, 45]),
        (123456, "custom", (6, 3, 1), [123456, 123, 1]),
        (0, "custom", (4,), [0]),
    ],
)
def test_levels_keep_leading_digits(code, scheme, widths, levels):
    codes = np.full((2, 3), code, np.int32)
    found = industry_levels(codes, scheme, widths)
    assert found.dtype == np.int64 and found.shape == (len(levels), 2, 3)
    assert found[:, 0, 0].tolist() == levels
