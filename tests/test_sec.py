"""The SEC's Financial Statement Data Sets: numbers by hand, what was known when, and what is refused."""

import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sec_zips import NUM, NUM_UNTIL_2024, SUB, TAG, filing, number, table, tags_of, write_quarters, write_zip

from finattn.config.sec import SEC_ITEMS, SecConfig
from finattn.data import sec
from finattn.data.sec.durations import COLUMNS
from finattn.data.sec.quarters import load_quarters, read_quarter
from finattn.data.sec.tags import ITEMS
from finattn.data.sec.tickers import read_tickers
from finattn.errors import InputError
from finattn.panel import Panel

K14 = filing(1, 11, "10-K", "2014-12-31", "2015-02-20 10:00:00")
Q1 = filing(2, 11, "10-Q", "2015-03-31", "2015-05-01 17:30:00")
Q2 = filing(3, 11, "10-Q", "2015-06-30", "2015-08-03 09:00:00", fp="Q2", sic=7372)
Q3 = filing(4, 11, "10-Q", "2015-09-30", "2015-11-02 15:59:59", fp="Q3", sic=7372)
K15 = filing(5, 11, "10-K", "2015-12-31", "2016-02-22 16:00:00", sic=7372)
Q1_16 = filing(6, 11, "10-Q", "2016-03-31", "2016-05-02 12:00:00", sic="")
K15A = filing(7, 11, "10-K/A", "2015-12-31", "2016-06-01 12:00:00", sic=3571)
FILINGS = [K14, Q1, Q2, Q3, K15, Q1_16, K15A]
CAPEX = "PaymentsToAcquirePropertyPlantAndEquipment"
RND = "ResearchAndDevelopmentExpense"


def story() -> list[dict]:
    """Return the numbers of a firm whose year 2014 is restated in the 10-K of 2015, and 2015 in an amendment."""
    told = [
        (K14, "Assets", [("2014-12-31", 0, 200), ("2013-12-31", 0, 160)]),
        (Q1, "Assets", [("2015-03-31", 0, 210), ("2014-12-31", 0, 200)]),
        (Q2, "Assets", [("2015-06-30", 0, 220)]),
        (Q3, "Assets", [("2015-09-30", 0, 230)]),
        (K15, "Assets", [("2015-12-31", 0, 250), ("2014-12-31", 0, 200)]),
        (Q1_16, "Assets", [("2016-03-31", 0, 260)]),
        (K14, "Revenues", [("2014-12-31", 4, 100), ("2013-12-31", 4, 80)]),
        (Q1, "Revenues", [("2015-03-31", 1, 30), ("2014-03-31", 1, 20)]),
        (Q2, "Revenues", [("2015-06-30", 1, 33), ("2015-06-30", 2, 63), ("2014-06-30", 2, 45)]),
        (Q3, "Revenues", [("2015-09-30", 3, 99), ("2014-09-30", 3, 70)]),
        (K15, "Revenues", [("2015-12-31", 4, 140), ("2014-12-31", 4, 90)]),
        (Q1_16, "Revenues", [("2016-03-31", 1, 35), ("2015-03-31", 1, 30)]),
        (K15A, "Revenues", [("2015-12-31", 4, 150)]),
        (K14, CAPEX, [("2014-12-31", 4, 10)]),
        (Q1, CAPEX, [("2015-03-31", 1, 3), ("2014-03-31", 1, 2)]),
        (Q2, CAPEX, [("2015-06-30", 2, 7), ("2014-06-30", 2, 5)]),
        (Q3, CAPEX, [("2015-09-30", 3, 12), ("2014-09-30", 3, 7)]),
        (K15, CAPEX, [("2015-12-31", 4, 20)]),
        (K15, RND, [("2015-12-31", 4, 14)]),
        (K14, "NetIncomeLoss", [("2014-12-31", 4, 20)]),
    ]
    return [number(of, tag, end, qtrs, value) for of, tag, values in told for end, qtrs, value in values]


def config(folder: Path, **keys) -> SecConfig:
    return SecConfig(**({"folder": str(folder), "identify": "cik", "first": "2015Q1"} | keys))


def one_zip(folder: Path, filings: list[dict], numbers: list[dict]) -> SecConfig:
    """Put everything into one quarter: what was known when is a matter of acceptance alone."""
    write_zip(folder / "2015q1.zip", filings, numbers)
    return config(folder)


def months(first: str, last: str, firms=("11",), **fields) -> Panel:
    """Return a panel with a row a day of business."""
    dates = pd.bdate_range(first, last).to_numpy().astype("M8[D]")
    return Panel(dates, list(firms), np.zeros((len(dates), len(firms))), **fields)


def by_filing(frame: pd.DataFrame, column: str, of: dict) -> dict:
    """Return what the rows of a filing say of each period."""
    rows = frame[frame["available"] == pd.Timestamp(of["accepted"])]
    return dict(zip(rows["period_end"].dt.strftime("%Y-%m"), rows[column].tolist(), strict=True))


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> pd.DataFrame:
    return sec.reports(config(write_quarters(tmp_path_factory.mktemp("sec"), FILINGS, story())))


# -- quarters and years ------------------------------------------------------------


def test_quarters_are_differences_of_what_is_filed_to_date(told):
    own = told[~told["revised"] & ~told["amended"]].set_index("period_end")
    assert own["capital_expenditure_q"].iloc[1:5].tolist() == [3, 4, 5, 8]
    assert own["revenues_q"].iloc[1:5].tolist() == [30, 33, 36, 41]
    assert np.isnan(own["revenues_q"].iloc[0])


def test_years_are_filed_or_last_year_and_this_less_the_same_months_of_last(told):
    own = told[~told["revised"] & ~told["amended"]]
    assert own["revenues_ttm"].tolist() == [100, 110, 118, 129, 140, 145]
    assert own["capital_expenditure_ttm"].iloc[:5].tolist() == [10, 11, 12, 15, 20]


def test_a_restated_year_is_new_knowledge_on_the_day_of_the_later_filing(told):
    assert by_filing(told, "revenues_ttm", K15) == {
        "2015-12": 140, "2014-12": 90, "2015-03": 100, "2015-06": 108, "2015-09": 119,
    }  # fmt: skip
    assert by_filing(told, "revised", K15)["2014-12"] and not by_filing(told, "revised", K15)["2015-12"]
    assert by_filing(told, "revenues_ttm", K14) == {"2014-12": 100}


def test_a_fourth_quarter_is_known_when_the_nine_months_are(told):
    assert np.isnan(by_filing(told, "revenues_q", K14)["2014-12"])
    assert by_filing(told, "revenues_q", Q3) == {"2015-09": 36, "2014-12": 30}
    assert by_filing(told, "revenues_q", K15)["2014-12"] == 20


def test_an_amendment_changes_its_year_and_every_later_year_that_it_is_part_of(told):
    assert by_filing(told, "revenues_ttm", K15A) == {"2015-12": 150, "2016-03": 155}
    assert by_filing(told, "revenues_q", K15A)["2015-12"] == 51
    assert by_filing(told, "assets", K15A) == {"2015-12": 250, "2016-03": 260}
    assert told.loc[told["amended"], "form"].unique().tolist() == ["10-K/A"]


def test_a_quarter_restated_late_changes_the_year_of_the_same_quarter_after_it(tmp_path):
    late = filing(8, 11, "10-Q/A", "2015-03-31", "2016-07-01 12:00:00")
    numbers = [*story(), number(late, "Revenues", "2015-03-31", 1, 25)]
    found = sec.reports(one_zip(tmp_path, [*FILINGS, late], numbers))
    assert by_filing(found, "revenues_ttm", late) == {"2015-03": 95, "2016-03": 160}


def test_of_filings_accepted_at_one_moment_the_amendment_comes_last(tmp_path):
    both = [filing(i, 11, form, "2014-12-31", "2015-02-20 10:00:00") for i, form in ((5, "10-K"), (1, "10-K/A"))]
    numbers = [number(both[0], "Assets", "2014-12-31", 0, 1), number(both[1], "Assets", "2014-12-31", 0, 2)]
    settings = one_zip(tmp_path, both, numbers)
    assert sec.reports(settings)["assets"].tolist() == [1, 2]
    assert sec.attach(months("2015-02-20", "2015-02-23"), settings).features[0, 0, 0] == 2


def test_what_is_not_reported_is_missing_and_not_zero(told):
    assert np.isnan(by_filing(told, "rnd_ttm", K14)["2014-12"])
    assert np.isnan(by_filing(told, "rnd_to_sales", K14)["2014-12"])
    assert by_filing(told, "rnd_to_sales", K15)["2015-12"] == 0.1


def test_characteristics_are_their_formulas(told):
    assert by_filing(told, "investment", K14)["2014-12"] == 200 / 160 - 1
    assert by_filing(told, "investment", K15)["2015-12"] == 250 / 200 - 1
    assert by_filing(told, "return_on_assets", K14)["2014-12"] == 0.1
    assert by_filing(told, "capital_expenditure_to_assets", Q3)["2015-09"] == 15 / 230
    assert np.isnan(by_filing(told, "investment", Q1)["2015-03"])


@pytest.mark.parametrize("shift", [1, 5, 9])
def test_fiscal_years_may_end_in_any_month(told, tmp_path, shift):
    def later(day: str) -> str:
        return (pd.Timestamp(day) + pd.offsets.MonthEnd(shift)).strftime("%Y%m%d")

    filings = [row | {"period": later(row["period"])} for row in FILINGS]
    filings = [
        row | {"accepted": str(pd.Timestamp(row["accepted"]) + pd.DateOffset(months=shift)) + ".0"} for row in filings
    ]
    numbers = [row | {"ddate": later(row["ddate"])} for row in story()]
    found = sec.reports(one_zip(tmp_path, filings, numbers))
    pd.testing.assert_frame_equal(found[list(COLUMNS)], told[list(COLUMNS)])


def test_a_quarter_whose_end_is_rounded_to_the_month_beside_is_found(tmp_path):
    """Twelve weeks after an August year end in mid-February: one year rounds to January, the other to February."""
    year = filing(1, 11, "10-K", "2014-08-31", "2014-10-15 10:00:00")
    first = filing(2, 11, "10-Q", "2014-11-30", "2014-12-17 10:00:00")
    half = filing(3, 11, "10-Q", "2015-01-31", "2015-03-12 10:00:00")
    numbers = [
        number(year, "Revenues", "2014-08-31", 4, 1000),
        number(first, "Revenues", "2014-11-30", 1, 260),
        number(half, "Revenues", "2015-01-31", 2, 530),
        number(half, "Revenues", "2014-02-28", 2, 490),
    ]
    found = sec.reports(one_zip(tmp_path, [year, first, half], numbers))
    assert by_filing(found, "revenues_q", half) == {"2015-01": 270}
    assert by_filing(found, "revenues_ttm", half) == {"2015-01": 1040}


def test_days_that_are_not_rounded_go_to_the_nearest_end_of_a_month(tmp_path):
    of = filing(1, 11, "10-K", "2016-01-02", "2016-02-20 10:00:00")
    found = sec.reports(one_zip(tmp_path, [of], [number(of, "Assets", "2016-01-02", 0, 5)]))
    assert by_filing(found, "assets", of) == {"2015-12": 5}


def test_flows_over_other_lengths_make_nothing(tmp_path):
    numbers = [number(K14, "Revenues", "2014-12-31", qtrs, 100) for qtrs in (0, 5, 12)]
    numbers += [number(K14, "Assets", "2014-12-31", 4, 100)]
    found = sec.reports(one_zip(tmp_path, [K14], numbers))
    assert found[["revenues_ttm", "revenues_q", "assets"]].isna().all(axis=None)


# -- tags ------------------------------------------------------------


def first_item(tmp_path, rows: list[tuple], item: str, end="2014-12-31", of=K14, qtrs=0) -> float:
    numbers = [number(of, tag, end, qtrs, value, **more) for tag, value, more in rows]
    return by_filing(sec.reports(one_zip(tmp_path, [of], numbers)), item, of)["2014-12"]


def test_the_first_tag_that_has_a_value_wins_whatever_the_order_of_rows(tmp_path):
    rows = [("PartnersCapital", 3, {}), ("StockholdersEquity", 1, {}), ("MembersEquity", 4, {})]
    assert first_item(tmp_path, rows, "equity") == 1
    assert first_item(tmp_path, rows[:1] + rows[2:], "equity") == 3
    empty = [("StockholdersEquity", "", {}), ("MembersEquity", 4, {})]
    assert first_item(tmp_path, empty, "equity") == 4


def test_parts_of_a_firm_other_units_and_tags_of_the_filers_own_are_not_used_and_counted(tmp_path):
    other = [{"coreg": "Sub"}, {"segments": "BusinessSegments=A;"}, {"uom": "EUR"}, {"version": K14["adsh"]}]
    rows = [("Assets", 9 + i, more) for i, more in enumerate(other)]
    assert np.isnan(first_item(tmp_path, rows, "assets"))
    counts = read_quarter(tmp_path / "2015q1.zip").counts
    assert (counts["numbers"], counts["numbers_of_parts"], counts["numbers_of_other_units"]) == (4, 2, 1)


def test_international_tags_are_read_in_dollars(tmp_path):
    of = filing(1, 11, "20-F", "2014-12-31", "2015-04-01 10:00:00")
    numbers = [number(of, tag, "2014-12-31", 0, value, version="ifrs-full/2014") for tag, value in
               (("Assets", 10), ("Equity", 4))]  # fmt: skip
    write_zip(tmp_path / "2015q1.zip", [of], numbers)
    assert by_filing(sec.reports(config(tmp_path, forms=("20-F",))), "leverage", of) == {"2014-12": 0.6}


def test_shares_of_the_cover_page_stand_for_the_period_that_the_filing_is_about(tmp_path):
    later = filing(2, 11, "10-Q", "2015-03-31", "2015-05-01 10:00:00")
    numbers = [
        number(K14, "EntityCommonStockSharesOutstanding", "2015-01-31", 0, 70),
        number(K14, "CommonStockSharesOutstanding", "2014-12-31", 0, 60),
        number(later, "CommonStockSharesOutstanding", "2015-03-31", 0, 65),
        number(later, "CommonStockSharesOutstanding", "2014-12-31", 0, 60),
    ]
    found = sec.reports(one_zip(tmp_path, [K14, later], numbers))
    assert by_filing(found, "shares_outstanding", K14) == {"2014-12": 70}
    assert by_filing(found, "shares_outstanding", later) == {"2015-03": 65}


def test_the_latest_filing_with_an_item_for_a_period_counts_whatever_its_tag(tmp_path):
    total = "StockholdersEquityIncludingPortionAttributableToNoncontrollingInterest"
    numbers = [
        number(K14, "StockholdersEquity", "2014-12-31", 0, 70),
        number(K15, "StockholdersEquity", "2015-12-31", 0, 80),
        number(K15, total, "2014-12-31", 0, 75),
        number(K15A, "StockholdersEquity", "2014-12-31", 0, 71),
    ]
    found = sec.reports(one_zip(tmp_path, [K14, K15, K15A], numbers))
    assert by_filing(found, "equity", K15)["2014-12"] == 75
    assert by_filing(found, "total_equity", K15)["2014-12"] == 75
    assert by_filing(found, "equity", K15A)["2014-12"] == 71
    assert by_filing(found, "equity", K14) == {"2014-12": 70}


def test_a_restatement_by_another_tag_is_new_knowledge_and_so_is_one_back(tmp_path):
    first = filing(8, 11, "10-K/A", "2014-12-31", "2015-03-10 10:00:00")
    back = filing(9, 11, "10-K/A", "2014-12-31", "2015-04-10 10:00:00")
    numbers = [
        number(K14, "Revenues", "2014-12-31", 4, 100),
        number(first, "SalesRevenueNet", "2014-12-31", 4, 60),
        number(back, "Revenues", "2014-12-31", 4, 100),
        number(K15, "Revenues", "2014-12-31", 4, 100),
    ]
    settings = one_zip(tmp_path, [K14, first, back], numbers[:3])
    assert sec.reports(settings)["revenues_ttm"].tolist() == [100, 60, 100]
    found = sec.reports(one_zip(tmp_path, [K14, first, K15], [*numbers[:2], numbers[3]]))
    assert by_filing(found, "revenues_ttm", K15)["2014-12"] == 100
    sales = sec.attach(months("2015-03-09", "2015-04-13"), config(tmp_path, items=("sales",))).features[:, 0, 0]
    assert sales[:2].tolist() == [100, 60] and sales[-1] == 60


def test_a_filing_with_several_tags_restates_by_the_first_of_them(tmp_path):
    numbers = [
        number(K14, "Revenues", "2014-12-31", 4, 100),
        number(K15, "SalesRevenueGoodsNet", "2014-12-31", 4, 40),
        number(K15, "SalesRevenueNet", "2014-12-31", 4, 60),
    ]
    found = sec.reports(one_zip(tmp_path, [K14, K15], numbers))
    assert by_filing(found, "revenues_ttm", K15)["2014-12"] == 60


CONTRACTS = "RevenueFromContractWithCustomerExcludingAssessedTax"


def change_of_tag(*more: tuple) -> tuple[list[dict], list[dict]]:
    """Return nine months by two tags, a year by the second alone, and a first quarter by both."""
    nine = filing(1, 11, "10-Q", "2019-09-30", "2019-11-01 10:00:00")
    year = filing(2, 11, "10-K", "2019-12-31", "2020-02-20 10:00:00")
    first = filing(3, 11, "10-Q", "2020-03-31", "2020-05-01 10:00:00")
    told = [
        (0, "Revenues", "2019-09-30", 3, 300), (0, CONTRACTS, "2019-09-30", 3, 150),
        (1, CONTRACTS, "2019-12-31", 4, 200),
        (2, "Revenues", "2020-03-31", 1, 110), (2, CONTRACTS, "2020-03-31", 1, 100),
        (2, "Revenues", "2019-03-31", 1, 95), *more,
    ]  # fmt: skip
    filings = [nine, year, first]
    return filings, [number(filings[of], *rest) for of, *rest in told]


def test_a_quarter_is_a_difference_of_flows_of_one_tag(tmp_path):
    filings, numbers = change_of_tag()
    found = sec.reports(one_zip(tmp_path, filings, numbers))
    assert by_filing(found, "revenues_q", filings[1]) == {"2019-12": 50}
    found = sec.reports(one_zip(tmp_path, filings, [numbers[0], *numbers[2:]]))
    assert np.isnan(by_filing(found, "revenues_q", filings[1])["2019-12"])


def test_a_trailing_year_is_a_sum_of_flows_of_one_tag_or_missing(tmp_path):
    filings, numbers = change_of_tag()
    found = sec.reports(one_zip(tmp_path, filings, numbers))
    assert np.isnan(by_filing(found, "revenues_ttm", filings[2])["2020-03"])
    assert by_filing(found, "revenues_q", filings[2])["2020-03"] == 110
    filings, numbers = change_of_tag((2, CONTRACTS, "2019-03-31", 1, 40))
    found = sec.reports(one_zip(tmp_path, filings, numbers))
    assert by_filing(found, "revenues_ttm", filings[2])["2020-03"] == 200 + 100 - 40


def test_of_two_tags_by_which_a_quarter_is_known_the_first_counts(tmp_path):
    filings, numbers = change_of_tag((1, "Revenues", "2019-12-31", 4, 420))
    found = sec.reports(one_zip(tmp_path, filings, numbers))
    assert by_filing(found, "revenues_q", filings[1]) == {"2019-12": 120}
    assert by_filing(found, "revenues_ttm", filings[2])["2020-03"] == 420 + 110 - 95


def test_liabilities_and_book_equity_fall_back(tmp_path):
    rows = [("Assets", 100, {}), ("StockholdersEquity", 40, {}), ("PreferredStockValue", 5, {})]
    assert first_item(tmp_path, rows, "leverage") == 0.6
    assert first_item(tmp_path, rows, "book_equity") == 35
    assert first_item(tmp_path, [("Assets", 100, {}), ("Liabilities", 70, {})], "book_equity") == 30
    assert first_item(tmp_path, [*rows, ("DeferredTaxLiabilitiesNoncurrent", 2, {})], "book_equity") == 37


@pytest.mark.parametrize("below", [0, -5])
def test_a_denominator_that_is_not_positive_leaves_a_ratio_missing_and_is_counted(tmp_path, below):
    numbers = [number(K14, "Revenues", "2014-12-31", 4, below), number(K14, RND, "2014-12-31", 4, 3)]
    found = sec.reports(one_zip(tmp_path, [K14], numbers))
    assert found["rnd_to_sales"].isna().all()
    assert found.attrs["counts"]["not_positive_below_rnd_to_sales"] == 1


def test_the_table_of_tags_is_in_order_and_has_every_item_of_the_formulas():
    tags = sec.tag_table()
    assert (tags.groupby("item", sort=False)["order"].diff().dropna() == 1).all()
    assert not tags.duplicated(["item", "taxonomy", "tag"]).any()
    assert tags["kind"].isin(["instant", "flow", "cover"]).all() and tags["unit"].isin(["USD", "shares"]).all()
    assert (tags.groupby("item")[["kind", "unit"]].nunique() == 1).all(axis=None)
    assert tuple(sec.CHARACTERISTICS) == SEC_ITEMS and len(ITEMS) == tags["item"].nunique()


# -- known at the close ------------------------------------------------------------


def test_features_appear_at_the_first_close_after_acceptance(tmp_path):
    folder = write_quarters(tmp_path, FILINGS, story())
    panel = sec.attach(months("2015-02-16", "2016-06-03"), config(folder, items=("sales", "assets")))
    assert panel.feature_names == ("sales", "assets")
    sales = pd.Series(panel.features[:, 0, 0], index=panel.dates)
    changes = sales[sales.ne(sales.shift()) & sales.notna()]
    assert {str(day)[:10]: value for day, value in changes.items()} == {
        "2015-02-20": 100, "2015-05-04": 110, "2015-08-03": 118, "2015-11-02": 129, "2016-02-23": 140,
        "2016-05-02": 145, "2016-06-01": 155,
    }  # fmt: skip
    assert panel.source["sec"]["counts"]["revisions"] == 6
    assert panel.source["as_of_joins"][0]["rule"]["close"] == "16:00"


def test_stale_figures_are_missing(tmp_path):
    settings = one_zip(tmp_path, [K14], story()[:2])
    found = sec.attach(months("2016-03-28", "2016-04-04"), settings).features[:, 0, 0]
    assert found[:4].tolist() == [200] * 4 and np.isnan(found[4:]).all()


def test_codes_are_those_of_the_last_filing_known_at_the_close(tmp_path):
    panel = sec.attach(months("2015-02-16", "2016-06-03"), one_zip(tmp_path, FILINGS, story()))
    assert panel.industry_as_of and panel.industry_scheme == "sic"
    codes = pd.Series(panel.industry[:, 0], index=panel.dates)
    changes = codes[codes.ne(codes.shift())]
    assert {str(day)[:10]: code for day, code in changes.items()} == {
        "2015-02-16": 0, "2015-02-20": 3571, "2015-08-03": 7372, "2016-06-01": 3571,
    }  # fmt: skip


def test_a_code_accepted_after_the_close_starts_on_the_next_day(tmp_path):
    found = sec.industries(one_zip(tmp_path, [K14 | {"sic": 1000}, Q1, K15], story()[:0]))
    assert found["firm"].tolist() == ["11"] * 3
    assert found["industry"].tolist() == [1000, 3571, 7372]
    assert found["start"].astype(str).tolist() == ["2015-02-20", "2015-05-02", "2016-02-23"]
    assert found["end"].iloc[:2].astype(str).tolist() == ["2015-05-01", "2016-02-22"] and pd.isna(found["end"].iloc[2])


def test_of_codes_known_at_one_close_the_last_counts(tmp_path):
    again = filing(8, 11, "10-K/A", "2014-12-31", "2015-02-20 11:00:00", sic=2000)
    found = sec.industries(one_zip(tmp_path, [again, K14, Q1 | {"sic": 2000}], []))
    assert found["industry"].tolist() == [2000] and found["start"].astype(str).tolist() == ["2015-02-20"]


def test_codes_that_a_panel_has_are_kept(tmp_path):
    panel = months("2015-02-16", "2015-03-31", industry=np.full((32, 1), 6021))
    assert (sec.attach(panel, one_zip(tmp_path, FILINGS, story())).industry == 6021).all()


def test_filings_without_codes_leave_a_panel_without(tmp_path):
    panel = sec.attach(months("2015-02-16", "2015-03-31"), one_zip(tmp_path, [K14 | {"sic": ""}], story()[:2]))
    assert not panel.industry.any() and not panel.industry_as_of
    assert panel.source["sec"]["quarters"] == ["2015Q1", "2015Q1"]


def made_up(seed: int) -> tuple[list[dict], list[dict]]:
    """Return filings of three firms in random order of acceptance, with restatements, amendments and gaps."""
    draw = random.Random(seed)
    filings, numbers = [], []
    for cik in (11, 12, 13):
        for step in range(10):
            end = pd.Timestamp("2013-03-31") + pd.offsets.MonthEnd(3 * step)
            part = step % 4 + 1
            for version in range(1 + (draw.random() < 0.3)):
                form = ("10-K" if part == 4 else "10-Q") + ("/A" if version else "")
                late = pd.Timedelta(days=draw.randint(10, 60 + 200 * version), hours=draw.choice([9, 15, 16, 17]))
                of = filing(len(filings), cik, form, str(end)[:10], str(end + late), sic=draw.choice([1000, 2000, ""]))
                filings.append(of)
                for back in (0, 12):
                    sales = draw.choice(["Revenues", "SalesRevenueNet"])
                    for tag, lengths in (("Assets", [0]), (sales, {1, part}), (CAPEX, [part]), (RND, [part])):
                        for qtrs in lengths:
                            day = str(end - pd.offsets.MonthEnd(back))[:10]
                            if draw.random() < 0.9:
                                numbers.append(number(of, tag, day, qtrs, draw.choice([10, 20, 30]) + qtrs))
    return filings, numbers


@pytest.mark.parametrize("seed", [0, 1])
def test_deleting_what_is_accepted_later_changes_nothing_at_or_before_any_date(tmp_path, seed):
    filings, numbers = made_up(seed)
    panel = months("2013-05-01", "2015-12-31", ("11", "12", "13"))[::5]
    whole_rows = sec.reports(one_zip(tmp_path / "whole", filings, numbers))
    whole = sec.attach(panel, config(tmp_path / "whole"))
    assert np.isfinite(whole.features).any(axis=(0, 1))[[0, 1, 6, 7, 10, 11]].all()
    for cut in range(20, len(panel), 23):
        close = f"{panel.dates[cut]} 16:00:00"
        early = [row for row in filings if row["accepted"] < close]
        known = {row["adsh"] for row in early}
        settings = one_zip(tmp_path / str(cut), early, [row for row in numbers if row["adsh"] in known])
        found = sec.attach(panel, settings)
        np.testing.assert_array_equal(found.features[: cut + 1], whole.features[: cut + 1])
        np.testing.assert_array_equal(found.industry[: cut + 1], whole.industry[: cut + 1])
        rows = whole_rows[whole_rows["available"] < pd.Timestamp(close)].reset_index(drop=True)
        pd.testing.assert_frame_equal(sec.reports(settings), rows, check_flags=False)


# -- firms ------------------------------------------------------------


def put_tickers(folder: Path, rows: list) -> Path:
    content = {str(i): {"cik_str": cik, "ticker": ticker, "title": "X"} for i, (cik, ticker) in enumerate(rows)}
    (folder / "company_tickers.json").write_text(json.dumps(content))
    return folder / "company_tickers.json"


def test_classes_of_shares_have_the_figures_of_their_firm_and_today_s_tickers_are_a_caveat(tmp_path):
    one_zip(tmp_path, FILINGS, story())
    put_tickers(tmp_path, [(11, "BRK-A"), (11, "BRK-B"), (12, "Z")])
    panel = months("2015-02-16", "2015-03-02", ("BRK.A", "brk/b", "NONE"))
    found = sec.attach(panel, config(tmp_path, identify="ticker"))
    assert found.features[-1, :, 0].tolist()[:2] == [200, 200] and np.isnan(found.features[:, 2]).all()
    assert found.industry[-1].tolist() == [3571, 3571, 0]
    note = found.source["sec"]
    assert "list of today" in note["caveat"] and note["counts"]["firms_without_cik"] == 1
    everything = sec.reports(config(tmp_path, identify="ticker"))
    assert everything["firm"].unique().tolist() == ["BRK-A", "BRK-B"]


def test_firms_may_be_ciks_with_zeros_before(tmp_path):
    one_zip(tmp_path, FILINGS, story())
    found = sec.attach(months("2015-02-16", "2015-03-02", ("0000000011",)), config(tmp_path))
    assert found.features[-1, 0, 0] == 200 and "caveat" not in found.source["sec"]


def test_a_panel_none_of_whose_firms_filed_is_refused(tmp_path):
    one_zip(tmp_path, FILINGS, story())
    with pytest.raises(InputError, match=f"firms must be CIKs with filings in {tmp_path}, found none of 2"):
        sec.attach(months("2015-02-16", "2015-03-02", ("12", "9" * 30)), config(tmp_path))


@pytest.mark.parametrize(
    "text, message",
    [
        ("<html>", "found no readable JSON"),
        ("[" * 100000, "found no readable JSON"),
        ("\xff", "found no readable JSON"),
        ("[1]", "in every row, found none in row ''"),
        ("{}", "must have tickers, found none"),
        ('{"7": {"cik_str": "1", "ticker": "A"}}', "a number cik_str and a text ticker in every row, .* row '7'"),
        ('{"7": {"cik_str": 1}}', "row '7'"),
        ('{"7": {"cik_str": 1, "ticker": " "}}', "row '7'"),
        ('{"' + "7" * 1000 + '": {}}', "row '7{40}'$"),
    ],
)
def test_what_is_no_list_of_tickers_is_refused(tmp_path, text, message):
    (tmp_path / "t.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=rf"t\.json .*{message}"):
        read_tickers(tmp_path / "t.json")


def test_a_ticker_that_is_there_twice_leads_to_the_first(tmp_path):
    assert read_tickers(put_tickers(tmp_path, [(1, "A"), (2, "A")])) == {"A": 1}
    with pytest.raises(InputError, match="must be the SEC's list of tickers, found none"):
        read_tickers(tmp_path / "none.json")


# -- the format ------------------------------------------------------------


def test_zips_in_the_exact_format_are_as_they_should_be(tmp_path):
    for columns in (NUM, NUM_UNTIL_2024, NUM[::-1]):
        path = write_zip(tmp_path / "a.zip", FILINGS, story(), columns)
        assert sec.check(path) == []
    assert sec.check(write_zip(tmp_path / "2009q1.zip", [], [])) == []
    assert len(read_quarter(tmp_path / "2009q1.zip").filings) == 0


@pytest.mark.parametrize("columns", [NUM_UNTIL_2024, NUM[::-1]])
def test_columns_are_found_by_name(told, tmp_path, columns):
    write_zip(tmp_path / "2015q1.zip", FILINGS, story(), columns)
    found = sec.reports(config(tmp_path))
    pd.testing.assert_frame_equal(found, told, check_flags=False)


def change(rows: list[dict], row: int, **more) -> list[dict]:
    return [*rows[:row], rows[row] | more, *rows[row + 1 :]]


# Where, and what is found there; the row is that of the table, from 0 after the header.
FAULTS = [
    ("sub", 1, {"adsh": "1"}, "sub.txt: adsh must be an accession number, found '1' in row 1"),
    ("sub", 1, {"adsh": K14["adsh"]}, "sub.txt: adsh must be unique, found '0000000001-15-000001' in row 1"),
    ("sub", 2, {"cik": -4}, "sub.txt: cik must be a number from 1, found -4 in row 2"),
    ("sub", 2, {"cik": ""}, "sub.txt: cik must be a number from 1, found none in row 2"),
    ("sub", 2, {"cik": "X"}, "sub.txt: cik must be a whole number, found 'X' in row 2"),
    ("sub", 2, {"sic": 12345}, "sub.txt: sic must be a code of up to four digits or empty, found 12345 in row 2"),
    ("sub", 3, {"accepted": "2015-02-30 10:00:00"}, "accepted must be a date with a time, found '2015-02-30 .*row 3"),
    ("sub", 3, {"accepted": "20150302"}, "sub.txt: accepted must be a date with a time, found '20150302' in row 3"),
    ("sub", 3, {"period": 20150231}, "sub.txt: period must be a date such as 20151231, found 20150231 in row 3"),
    ("num", 4, {"adsh": "0"}, "num.txt: adsh must be a filing of sub.txt, found '0' in row 4"),
    ("num", 4, {"tag": ""}, "num.txt: tag must be given, found '' in row 4"),
    ("num", 4, {"uom": ""}, "num.txt: uom must be given, found '' in row 4"),
    ("num", 4, {"ddate": 20151331}, "num.txt: ddate must be a date such as 20151231, found 20151331 in row 4"),
    ("num", 4, {"ddate": ""}, "num.txt: ddate must be a date such as 20151231, found none in row 4"),
    ("num", 4, {"ddate": "2015-12-31"}, "num.txt: ddate must be a whole number, found '2015-12-31' in row 4"),
    ("num", 4, {"qtrs": -1}, "num.txt: qtrs must be a whole number from 0, found -1 in row 4"),
    ("num", 4, {"qtrs": 1.5}, "num.txt: qtrs must be a whole number, found '1.5' in row 4"),
    ("num", 4, {"value": "1,000"}, "num.txt: value must be a number, found '1,000' in row 4"),
    ("num", 4, {"value": "inf"}, "num.txt: value must be finite, found inf in row 4"),
]  # fmt: skip


@pytest.mark.parametrize("member, row, more, message", FAULTS)
def test_a_fault_is_named_with_its_file_member_row_and_column(tmp_path, member, row, more, message):
    filings = change(FILINGS, row, **more) if member == "sub" else FILINGS
    numbers = change(story(), row, **more) if member == "num" else story()
    path = write_zip(tmp_path / "2015q1.zip", filings, numbers, tag=table(TAG, tags_of(story() + numbers)))
    with pytest.raises(InputError, match=rf"2015q1\.zip: {message if ': ' in message else f'sub.txt: {message}'}"):
        sec.reports(config(tmp_path))
    try:
        found = sec.check(path)
    except InputError as error:
        found = [str(error)]
    assert any(re.search(message, sentence) for sentence in found)
    assert not (tmp_path / "extracts").exists()


def test_the_checker_tells_all_kinds_of_faults_at_once_and_how_many(tmp_path):
    filings = [row | {"sic": 99999} for row in FILINGS[:2]] + [FILINGS[2] | {"period": 20991231}] + FILINGS[3:]
    path = write_zip(tmp_path / "a.zip", filings, story(), tag=table(TAG, tags_of(story()[:6])))
    found = sec.check(path)
    assert [sentence.partition(" must ")[0].partition("zip: ")[2] for sentence in found] == [
        "sub.txt: sic", "sub.txt: accepted", "num.txt: tag",
    ]  # fmt: skip
    assert "found 99999 in row 0, and 1 more" in found[0]
    assert "at most 15 days before the period's end, found '2015-08-03 09:00:00.0' in row 2" in found[1]
    assert "a tag of tag.txt, found 'Assets' in row 6" in found[2]


def test_a_number_that_is_there_again_does_not_count_and_the_checker_tells_of_it(told, tmp_path):
    again = story()[0] | {"value": 10**12}
    path = write_zip(tmp_path / "2015q1.zip", FILINGS, [*story(), again])
    found = sec.reports(config(tmp_path))
    assert found.attrs["counts"]["numbers_repeated"] == 1
    pd.testing.assert_frame_equal(found, told, check_flags=False)
    assert re.search("num.txt: .*unique together, found row", *sec.check(path))


def test_mistakes_of_single_filers_are_left_out_and_counted(tmp_path):
    filings = [FILINGS[0] | {"period": ""}, FILINGS[1] | {"period": 20991231}, *FILINGS[2:]]
    found = sec.reports(one_zip(tmp_path, filings, story()))
    counts = found.attrs["counts"]
    assert (counts["filings_without_period"], counts["filings_before_their_period"]) == (1, 1)
    assert found["available"].min() == pd.Timestamp(Q2["accepted"])


@pytest.mark.parametrize("accepted, end", [("2015-01-16", "2015-01-16"), ("2015-01-30", "2015-01-30"),
                                           ("2015-02-02", "2015-01-31")])  # fmt: skip
def test_a_period_rounded_to_after_acceptance_ends_on_that_day_and_is_known_from_it_on(tmp_path, accepted, end):
    of = filing(1, 11, "10-Q", "2015-01-31", f"{accepted} 10:00:00")
    settings = one_zip(tmp_path, [of], [number(of, "Assets", "2015-01-31", 0, 5)])
    assert sec.check(tmp_path / "2015q1.zip") == []
    assert sec.reports(settings)["period_end"].astype(str).tolist() == [end]
    panel = sec.attach(months("2015-01-12", "2015-02-06"), settings)
    known = panel.dates[np.isfinite(panel.features[:, 0, 0])]
    assert str(known[0]) == accepted and known[-1] == panel.dates[-1]
    assert panel.source["as_of_joins"][0]["counts"]["period_after_availability"] == 0


def test_a_period_that_ends_16_days_after_acceptance_is_a_mistake(tmp_path):
    early = filing(1, 11, "10-Q", "2015-01-31", "2015-01-15 23:00:00")
    found = sec.reports(one_zip(tmp_path, [early, Q1], [number(early, "Assets", "2015-01-31", 0, 5)]))
    assert found.attrs["counts"]["filings_before_their_period"] == 1 and len(found) == 1
    assert "at most 15 days before the period's end" in sec.check(tmp_path / "2015q1.zip")[0]


def test_a_day_that_is_rounded_to_an_end_of_month_after_acceptance_is_used(tmp_path):
    of = filing(1, 11, "10-Q", "2015-01-17", "2015-01-25 10:00:00")
    settings = one_zip(tmp_path, [of], [number(of, "Assets", "2015-01-17", 0, 5)])
    assert sec.attach(months("2015-01-26", "2015-01-27"), settings).features[:, 0, 0].tolist() == [5, 5]


@pytest.mark.parametrize(
    "member, content, message",
    [
        ("sub", None, "must have members sub.txt, num.txt, tag.txt, found no sub.txt"),
        ("tag", None, "found no tag.txt"),
        ("num", b"", "num.txt must begin with a line of column names, found nothing"),
        ("num", b"\xff\xfe\n", "num.txt must begin with a line of column names, found no text"),
        ("num", b"adsh\ttag\n", "num.txt must have columns adsh, tag, version, .*found no version"),
        ("num", "\t".join([*NUM, "tag"]).encode() + b"\n", "columns must be unique, found more than one 'tag'"),
        ("num", table(NUM, story()) + b"a\tb\n", f"must have 10 columns in every row, found 2 in row {len(story())}"),
        ("sub", table(SUB, FILINGS).replace(b"10-Q", b"10\xff", 1), "sub.txt must be UTF-8 text"),
        ("num", b"x" * (2**25 + 10), "must have lines, found none that ends|at most 100 times"),
    ],
)
def test_a_broken_member_is_named(tmp_path, member, content, message):
    path = write_zip(tmp_path / "2015q1.zip", FILINGS, story(), **{member: content})
    for read in (read_quarter, sec.check):
        with pytest.raises(InputError, match=rf"2015q1\.zip: .*({message})"):
            read(path)


def test_quotes_spaces_and_letters_of_other_languages_are_text(tmp_path):
    odd = [row | {"name": 'A "quoted', "cityba": "São Paulo, Ñuñoa", "bas1": "1' 'x"} for row in FILINGS]
    numbers = [row | {"footnote": '"'} for row in story()]
    found = sec.reports(one_zip(tmp_path, odd, numbers))
    assert len(found) == 13


def test_rows_are_counted_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("finattn.data.archives.Archive.blocks.__defaults__", (300,), raising=False)
    path = write_zip(tmp_path / "2015q1.zip", FILINGS, change(story(), 15, qtrs=-2))
    with pytest.raises(InputError, match="qtrs must be a whole number from 0, found -2 in row 15$"):
        read_quarter(path)


# -- the folder ------------------------------------------------------------


def test_an_extract_is_used_until_the_zip_or_the_table_of_tags_changes(tmp_path, monkeypatch):
    settings = one_zip(tmp_path, FILINGS, story())
    first = sec.reports(settings)
    reads = []
    real = read_quarter
    monkeypatch.setattr("finattn.data.sec.quarters.read_quarter", lambda path: (reads.append(path), real(path))[1])
    again = sec.reports(settings)
    assert not reads and again.attrs == first.attrs
    pd.testing.assert_frame_equal(again, first)
    os.utime(tmp_path / "2015q1.zip", (1, 1))
    pd.testing.assert_frame_equal(sec.reports(settings), first)
    assert len(reads) == 1
    (tmp_path / "extracts" / "2015q1" / "figures.parquet").write_bytes(b"damaged")
    pd.testing.assert_frame_equal(sec.reports(settings), first)
    assert len(reads) == 2
    monkeypatch.setattr("finattn.data.sec.quarters.tag_hash", lambda: "other")
    sec.reports(settings)
    assert len(reads) == 3


def spoil_columns(folder: Path, name: str) -> None:
    path = folder / f"{name}.parquet"
    pd.read_parquet(path).rename(columns={"month": "other"}).to_parquet(path)


def spoil_values(folder: Path) -> None:
    path = folder / "figures.parquet"
    pd.read_parquet(path).assign(value="much").to_parquet(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: spoil_columns(folder, "figures"),
        lambda folder: spoil_columns(folder, "filings"),
        spoil_values,
        lambda folder: (folder / "note.json").write_text("[" * 100_000),
        lambda folder: (folder / "note.json").write_text("[]"),
    ],
)
def test_an_extract_that_is_not_what_was_written_is_made_again(tmp_path, spoil):
    settings = one_zip(tmp_path, FILINGS, story())
    first = sec.reports(settings)
    folder = tmp_path / "extracts" / "2015q1"
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    spoil(folder)
    pd.testing.assert_frame_equal(sec.reports(settings), first)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, put):
    put(tmp_path / "2015q1.zip")
    with pytest.raises(InputError, match=r"2015q1\.zip must be a file, found something else$"):
        sec.reports(config(tmp_path))
    put(tmp_path / "company_tickers.json")
    with pytest.raises(InputError, match=r"tickers\.json must be the SEC's list of tickers, found something else$"):
        read_tickers(tmp_path / "company_tickers.json")


def test_quarters_are_those_asked_for_and_all_of_them_must_be_there(tmp_path):
    write_quarters(tmp_path, FILINGS, story())
    (tmp_path / "notes.zip").write_bytes(b"")
    assert len(load_quarters(config(tmp_path, last="2015Q2")).filings) == 2
    assert len(load_quarters(config(tmp_path, first="2015Q2")).filings) == 6
    (tmp_path / "2015q3.zip").unlink()
    with pytest.raises(InputError, match="hold every quarter from 2015Q1 to 2016Q2, found no 2015q3.zip in"):
        load_quarters(config(tmp_path))
    with pytest.raises(InputError, match="must hold quarterly zips from 2017Q1, found none"):
        load_quarters(config(tmp_path, first="2017Q1"))
    with pytest.raises(InputError, match="data.sec.folder must be the folder of the quarterly zips, found none"):
        sec.reports(SecConfig())


def test_a_filing_that_is_in_two_quarters_counts_once(tmp_path):
    write_zip(tmp_path / "2015q1.zip", [K14, Q1], story()[:2])
    write_zip(tmp_path / "2015q2.zip", [Q1], [row for row in story() if row["adsh"] == Q1["adsh"]])
    found = load_quarters(config(tmp_path))
    assert found.filings["adsh"].tolist() == [K14["adsh"], Q1["adsh"]]
    assert found.figures["filing"].tolist() == [0, 0] and found.counts["filings_used"] == 2


def test_forms_that_are_not_asked_for_are_not_used(tmp_path):
    write_quarters(tmp_path, [*FILINGS, filing(9, 11, "S-1", "2015-12-31", "2016-03-01 10:00:00", sic=1)], story())
    found = sec.reports(config(tmp_path, forms=("10-K",)))
    assert found["form"].unique().tolist() == ["10-K"]
    assert found.attrs["counts"]["filings_of_other_forms"] == 6 and found.attrs["counts"]["filings_used"] == 2


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"first": "2008Q4"}, "data.sec.first must be a quarter from '2009Q1', found '2008Q4'"),
        ({"last": "2015q1"}, "data.sec.last must be a quarter"),
        ({"first": "2015Q2", "last": "2015Q1"}, "data.sec.last must be at least 2015Q2, found '2015Q1'"),
        ({"identify": "permno"}, "data.sec.identify must be one of ticker, cik"),
        ({"items": ("assets", "size")}, "data.sec.items must be among assets, .*found .*'size'"),
        ({"items": ()}, "data.sec.items must be a list of at least one"),
        ({"forms": "10-K"}, "data.sec.forms must be a list of text, found '10-K'"),
        ({"user_agent": "me"}, "data.sec.user_agent must be a line with your own e-mail, found 'me'"),
        ({"user_agent": "me m@x.org\nHost: y"}, "data.sec.user_agent must be a line"),
        ({"stale_after": "15"}, "data.sec.stale_after must be an age such as '15M'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(keys, message):
    with pytest.raises(InputError, match=message):
        SecConfig(**keys)


def test_lists_of_plain_yaml_become_tuples():
    assert SecConfig(items=["assets"]).items == ("assets",) and SecConfig(user_agent="A B a@b.org").forms[0] == "10-K"
