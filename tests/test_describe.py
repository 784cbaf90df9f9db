"""What a description of a panel finds, on small panels whose answer is known by hand, and how it is shown."""

import io
import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import make_panel
from rich.console import Console

from finattn import features
from finattn.data import coverage
from finattn.data.coverage import cover, listings, thin_dates
from finattn.data.describe import FROM_PRICES, TABLES, Description, describe
from finattn.data.suspicions import extreme_returns, stale_prices, suspected_splits
from finattn.errors import InputError
from finattn.panel import Panel
from finattn.report import coverage as drawn
from finattn.report import description

NAN = float("nan")


def small(**fields) -> Panel:
    """Six dates in two years, three firms: A stays, B enters late with a gap, C leaves with a return."""
    values = {
        "dates": ["2019-12-27", "2019-12-30", "2019-12-31", "2020-01-02", "2020-01-03", "2020-01-06"],
        "firms": ["A", "B", "C"],
        "returns": [
            [NAN, NAN, 0.10],
            [0.01, NAN, 0.20],
            [NAN, 0.03, 0.30],
            [0.02, NAN, -0.60],
            [0.03, 0.04, NAN],
            [0.04, 0.05, NAN],
        ],
        "listed": [[1, 0, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 0]],
        "industry": [[2834, 0, 0]] * 6,
    }
    return Panel(**(values | fields))


def column(returns, **fields) -> Panel:
    """One firm, a date for each return."""
    returns = np.asarray(returns, float)[:, None]
    return Panel(np.datetime64("2020-01-01") + np.arange(len(returns)), ["A"], returns, **fields)


def says(found: Description, check: str) -> str:
    return " | ".join(caution.says for caution in found.warnings if caution.check == check)


# -- coverage ------------------------------------------------------------


def test_coverage_by_year_is_as_counted_by_hand():
    years = cover(small(), listings(small())).years
    assert years.to_dict("records") == [
        {"year": 2019, "dates": 3, "firms": 3, "firm_dates": 7, "with_return": 5 / 7, "entered": 1, "left": 1},
        {"year": 2020, "dates": 3, "firms": 2, "firm_dates": 5, "with_return": 1.0, "entered": 0, "left": 0},
    ]


def test_missingness_is_of_listed_firm_dates():
    size = [[5.0, NAN, NAN]] * 3 + [[NAN, 1.0, NAN]] * 3
    panel = small(market_cap=size, features=np.full((6, 3, 1), NAN), feature_names=("x",))
    found = cover(panel, listings(panel))
    assert found.fields["field"].tolist() == ["return", "industry", "market_cap", "x"]
    assert found.fields["missing"].tolist() == [2, 6, 7, 12]
    np.testing.assert_allclose(found.fields["share"], [2 / 12, 6 / 12, 7 / 12, 1])
    assert found.fields["firms_without"].tolist() == [0, 2, 1, 3]
    assert [str(day)[:10] for day in found.fields["first"]] == ["2019-12-27"] * 3 + ["NaT"]
    assert [str(day)[:10] for day in found.fields["last"]] == ["2020-01-06"] * 3 + ["NaT"]
    by_year = found.fields_by_year.pivot(index="field", columns="year", values="share")
    np.testing.assert_allclose(by_year.loc["market_cap"], [4 / 7, 3 / 5])
    assert says(describe(panel), "missing") == "No listed firm ever has a number in x. | " + (
        "Firms that leave and come back: 1. The source has gaps, or has given identifiers to other firms."
    )


def test_listings_are_as_counted_by_hand():
    table = listings(small(names=("Alpha", "Beta", "Gamma")))
    assert table["name"].tolist() == ["Alpha", "Beta", "Gamma"]
    assert table["first"].dt.day.tolist() == [27, 31, 27] and table["last"].dt.day.tolist() == [6, 6, 31]
    assert table["listed"].tolist() == [6, 3, 3] and table["with_return"].tolist() == [4, 3, 3]
    assert table["with_industry"].tolist() == [6, 0, 0] and table["spells"].tolist() == [1, 2, 1]
    assert table["entered"].tolist() == [False, True, False] and table["left"].tolist() == [False, False, True]
    np.testing.assert_array_equal(table["delisting_return"], [NAN, NAN, -0.6])


def test_a_firm_that_is_never_listed_has_no_dates_and_neither_enters_nor_leaves():
    panel = small(listed=[[1, 0, 1]] * 6)
    row = listings(panel).iloc[1]
    assert pd.isna(row["first"]) and pd.isna(row["last"]) and row["spells"] == 0
    assert not row["entered"] and not row["left"]
    found = describe(panel)
    assert found.facts["never_listed"] == 1 and "Firms that are never listed: 1." in says(found, "missing")
    assert found.unclassified["firm"].tolist() == ["C"]


HOLIDAY = np.array([[1] * 8, [1] * 8, [0] * 7 + [1], [1] * 8, [1] * 8, [1] * 7 + [0], [0] * 7 + [1]], bool)


def holidays() -> Panel:
    """Eight firms on seven dates, the third and the last of which are holidays on which the last firm alone is."""
    returns = np.where(HOLIDAY, 0.0, NAN)
    return Panel(np.datetime64("2020-01-06") + np.arange(7), [f"F{i}" for i in range(8)], returns, listed=HOLIDAY)


def test_holidays_on_which_hardly_any_firm_is_listed_are_found_and_end_no_listing():
    found = describe(holidays(), stale_rows=5)
    assert found.thin["date"].dt.day.tolist() == [8, 12] and found.thin["firms"].tolist() == [1, 1]
    assert found.facts["returned"] == 0 and found.facts["left"] == 0
    said = says(found, "thin")
    assert "usual number of firms is listed: 2, the first 2020-01-08 with 1 of 8. Holidays, perhaps" in said
    assert found.stale["firm"].tolist() == [f"F{i}" for i in range(7)] and set(found.stale["rows"]) == {5}
    assert found.stale["until_last"].all() and found.facts["gap_days"] == 2
    assert len(thin_dates(small())) == 0


# -- extreme returns ------------------------------------------------------------


def test_returns_above_the_threshold_are_found_with_firm_and_date_the_largest_first():
    panel = small(returns=[[0, 0, 1.0], [0, 0, 1.0001], [3.0, 0, 0], [0, 0, -0.9], [0, 0, 3.0], [0, 0, NAN]])
    found = extreme_returns(panel, 1.0)
    assert [str(day)[:10] for day in found["date"]] == ["2019-12-31", "2020-01-03", "2019-12-30"]
    assert found["firm"].tolist() == ["A", "C", "C"] and found["return"].tolist() == [3.0, 3.0, 1.0001]
    assert found["listed"].tolist() == [True, False, True]
    assert len(extreme_returns(panel, 0.8)) == 5 and extreme_returns(panel, 3.0).empty


def test_infinite_returns_that_the_loader_set_aside_are_among_the_extreme_ones():
    aside = [
        {"firm": "B", "date": "2020-01-02", "sign": 1},
        {"firm": "nobody", "date": "2020-01-02", "sign": 1},
        {"firm": "A", "date": "1999-01-01", "sign": 1},
        {"firm": "A", "date": "2020-01-02", "sign": "x"},
        "junk",
    ]
    found = describe(small(source={"infinite_returns": aside}), extreme_return=0.25)
    assert found.extremes["return"].tolist() == [np.inf, -0.6, 0.3]
    assert found.extremes["firm"].tolist() == ["B", "C", "C"]
    assert says(found, "extremes") == (
        "Above 25% in absolute value: 3 returns of 2 firms; 1 infinite, which the loader set aside; the largest -60%, "
        "of C on 2020-01-02."
    )
    assert found.as_dict()["extremes"][0] == {"date": "2020-01-02", "firm": "B", "return": "inf", "listed": False}


def test_infinite_values_that_are_only_counted_are_told():
    found = describe(small(source={"rows": 9, "counts": {"infinite_values": 2}}))
    assert says(found, "extremes") == "The loader set aside 2 infinite values, not counted among the returns below."


# -- prices that do not move ------------------------------------------------------------


@pytest.mark.parametrize(
    "returns, least, expected",
    [
        ([0.1, 0, 0, 0, 0.1], 3, [("2020-01-02", "2020-01-04", 3, False)]),
        ([0.1, 0, 0, 0, 0.1], 4, []),
        ([0, 0, NAN, 0, 0], 2, [("2020-01-01", "2020-01-02", 2, False), ("2020-01-04", "2020-01-05", 2, True)]),
        ([0.1, 0, 0, 0], 2, [("2020-01-02", "2020-01-04", 3, True)]),
        ([0, 0, 1e-9, 0], 2, [("2020-01-01", "2020-01-02", 2, False)]),
    ],
)
def test_stretches_of_zero_returns_are_found(returns, least, expected):
    found = stale_prices(column(returns), least)
    days = found["start"].dt.strftime("%Y-%m-%d"), found["end"].dt.strftime("%Y-%m-%d")
    assert list(zip(*days, found["rows"], found["until_last"], strict=True)) == expected


def test_a_price_that_stands_still_is_stale_whatever_the_return():
    panel = column([NAN, NAN, 0.01, 0.0, 0.2], price=[[5.0], [5.0], [5.0], [5.1], [6.0]])
    assert stale_prices(panel, 3)["rows"].tolist() == [3]
    assert stale_prices(panel.replace(price=None), 2).empty


def test_only_listed_rows_are_stale_and_the_last_one_may_be_before_the_panels():
    panel = column([0.1, 0, 0, 0, 0], listed=[[1], [1], [1], [0], [0]])
    found = describe(panel, stale_rows=2)
    assert found.stale[["rows", "until_last"]].values.tolist() == [[2, True]]
    assert says(found, "stale") == (
        "Prices of 1 firm do not move for 2 rows or more, 1 time; longest A, 2 rows from 2020-01-02. | Prices do not "
        "move until the firm's last row 1 time: the source may repeat the last price of firms that are gone."
    )


# -- splits ------------------------------------------------------------

CALM = np.tile([0.01, -0.01], 15)


def splits(returns, **thresholds) -> list[tuple[int, str]]:
    found = suspected_splits(column(returns), **thresholds)
    return list(zip((found["date"].dt.day - 1).tolist(), found["split"].tolist(), strict=True))


@pytest.mark.parametrize("ratio, name", [(1.5, "3:2"), (2, "2:1"), (3, "3:1"), (4, "4:1"), (5, "5:1"), (10, "10:1")])
@pytest.mark.parametrize("market", [1.0, 0.96, 1.04])
def test_an_unadjusted_split_and_its_reverse_are_suspected_with_the_markets_move_in_them(ratio, name, market):
    returns = CALM.copy()
    returns[20] = market / ratio - 1
    assert splits(returns) == [(20, name)]
    returns[20] = market * ratio - 1
    assert splits(returns) == [(20, ":".join(reversed(name.split(":"))))]


@pytest.mark.parametrize(
    "change, why",
    [
        ({20: -0.43}, "it is near no ratio"),
        ({20: -0.5, 21: 1.0}, "the next move undoes it"),
        ({20: -0.5, 21: NAN, 22: 0.9}, "the next known move undoes it"),
        ({20: 1.0, 21: -0.5}, "a price doubles for a day"),
        ({20: -1.0}, "all is lost"),
        ({20: -0.5, 10: 1.1, 5: -0.45, 15: 0.8}, "such moves are usual"),
    ],
)
def test_what_is_no_split_is_not_suspected(change, why):
    returns = CALM.copy()
    for place, value in change.items():
        returns[place] = value
    assert splits(returns) == [], why


def test_thresholds_of_splits_are_as_they_say():
    returns = CALM.copy()
    returns[20] = -0.56  # 12 percent below a half
    assert splits(returns) == [] and splits(returns, tolerance=0.13) == [(20, "2:1")]
    returns[20] = -0.5
    assert splits(returns, ratios=(3.0,)) == [] and splits(returns, deviations=80.0) == []
    deviations = suspected_splits(column(returns))["deviations"].item()
    others = np.log1p(np.delete(returns, 20))
    assert deviations == pytest.approx(np.log(2) / np.sqrt(np.mean(others**2)))
    assert splits(returns[:15].tolist() + [-0.5]) == []  # too few others to know what is usual


def test_a_firm_that_never_moves_else_is_infinitely_suspicious():
    returns = np.zeros(30)
    returns[20] = -0.5
    found = describe(column(returns))
    assert found.splits["deviations"].tolist() == [np.inf]
    assert found.as_dict()["splits"][0]["deviations"] == "inf"
    assert says(found, "splits").endswith("Most suspicious: A on 2020-01-21, -50.0%, near 2:1.")


# -- the source, industries, survivorship ------------------------------------------------------------


def test_what_the_source_does_not_say_is_not_recorded():
    found = describe(small())
    assert found.facts["duplicates_removed"] is None and found.facts["rows_dropped"] is None
    assert dict(description.summary(found))["Duplicates removed"] == "not recorded"
    assert found.recorded.empty and found.caveats == ()


def test_what_the_loader_and_joins_counted_is_repeated():
    source = {
        "rows": 20,
        "counts": {"duplicates": 3, "rows_on_them": 2, "dropped": 1, "zero_prices": 4, "share": 0.5, "flag": True},
        "industries": {"counts": {"without_industry": 2}},
        "as_of_joins": [{"columns": {"a": "assets"}, "counts": {"duplicates": 7}}],
        "caveats": ["toy"],
    }
    found = describe(small(source=source))
    assert found.facts["duplicates_removed"] == 3 and found.facts["rows_dropped"] == 3
    assert found.recorded.values.tolist() == [
        ["load", "rows", 20], ["load", "duplicates", 3], ["load", "rows_on_them", 2], ["load", "dropped", 1],
        ["load", "zero_prices", 4], ["industries", "without_industry", 2], ["as-of join 1", "duplicates", 7],
    ]  # fmt: skip
    assert found.caveats == ("toy",)
    assert describe(small(source={"rows": 20})).facts["duplicates_removed"] == 0  # a loader leaves out what is 0


@pytest.mark.parametrize(
    "source",
    [
        {"counts": 3, "as_of_joins": {"a": 1}, "caveats": "no list", "infinite_returns": 5, "rows": "many"},
        {"counts": {"duplicates": None}, "as_of_joins": [3, {"columns": ["a"], "counts": []}], "availability": 3},
        {"infinite_returns": [{}, {"firm": 3, "date": [], "sign": {}}], "availability": ["x"]},
    ],
)
def test_a_source_of_any_shape_is_taken_for_what_it_says(source):
    panel = small(source=source, features=np.zeros((6, 3, 1)), feature_names=("x",))
    found = describe(panel)
    assert found.facts["duplicates_removed"] is None and found.extremes.empty
    assert found.facts["availability_unknown"] == ["x"]


def test_features_without_a_day_of_availability_are_named_unless_built_from_prices():
    names = ("reversal", "Close", "assets", "equity")
    panel = small(features=np.zeros((6, 3, 4)), feature_names=names)
    found = describe(panel)
    assert found.facts["availability_unknown"] == ["assets", "equity"]
    assert says(found, "availability").startswith(
        "It is not known since when the numbers of assets, equity were available"
    )
    joined = panel.replace(
        source={"as_of_joins": [{"columns": {"at": "assets"}}], "availability": {"equity": "lag 6M"}}
    )
    assert says(describe(joined), "availability") == ""
    assert says(describe(panel.replace(source={"availability": "all known at t"})), "availability") == ""


def test_every_characteristic_is_known_to_be_built_from_prices():
    assert set(features.CHARACTERISTICS) <= FROM_PRICES


def test_firms_without_an_industry_are_named():
    found = describe(small())
    assert found.unclassified.values.tolist() == [["B", 3], ["C", 3]]
    said = says(found, "industry")
    assert said == "Firms that never have an industry code: 2 of 3: B, C."
    assert says(found, "hindsight").startswith("Industry codes are not marked as those known on each date")
    assert says(describe(small(industry=None)), "industry") == "No firm has an industry code."
    known = describe(small(industry=[[2834, 6021, 100]] * 6, industry_as_of=True))
    assert says(known, "industry") == says(known, "hindsight") == ""


@pytest.mark.parametrize(
    "codes, said",
    [
        ([35, 1, 99], "All industry codes are below 100. They are read as SIC codes of two digits, 35 as 3500: major"),
        ([35, 0, 2834], "Industry codes below 100, which no SIC code of four digits is: 6 of 9. They are read as SIC"),
        ([283, 100, 999], "All industry codes are below 1000: as SIC codes of four digits they are all of agriculture"),
    ],
)
def test_sic_codes_that_are_not_of_four_digits_are_told_with_what_to_do(codes, said):
    panel = small(industry=[codes] * 6, industry_as_of=True)
    found = says(describe(panel), "industry").split(" | ")[-1]
    assert found.startswith(said) and "data.industry_scheme: custom and data.industry_widths: [" in found
    custom = panel.replace(industry_scheme="custom", industry_widths=(4,))
    assert "SIC" not in says(describe(custom), "industry")


def test_survivors_and_unknown_delisting_returns_are_told():
    survivors = small(listed=None)
    assert says(describe(survivors), "survivorship").startswith(
        "No firm ever leaves: the listings of all 3 firms go on until the panel's last date, 2020-01-06."
    )
    assert says(describe(small()), "survivorship") == ""  # C left, and what its holders lost is known
    lost = small().returns.copy()
    lost[3, 2] = NAN
    assert says(describe(small(returns=lost)), "delistings").startswith("Firms that leave without a delisting return")
    assert says(describe(survivors[:1]), "survivorship") == ""  # one date cannot tell


def test_rows_a_year_and_long_gaps_are_told():
    months = np.arange("2010-01", "2014-01", dtype="M8[M]").astype("M8[D]")
    monthly = Panel(months, ["A"], np.full((48, 1), 0.01), periods_per_year=12)
    assert says(describe(monthly), "spans") == ""
    assert describe(monthly).facts["rows_per_year"] == pytest.approx(12, abs=0.1)
    weekly = monthly.replace(periods_per_year=52)
    assert says(describe(weekly), "spans") == ""  # less than a year of rows, as the panel says
    assert says(describe(monthly.replace(periods_per_year=4)), "spans") == (
        "Rows are 12 a year, where the panel says 4: what is annualised will be wrong."
    )
    days = np.concatenate([np.arange("2020-01-01", "2020-02-01", dtype="M8[D]"), [np.datetime64("2020-03-01")]])
    gap = Panel(days, ["A"], np.full((32, 1), 0.01))
    assert says(describe(gap), "spans") == "No row stands between 2020-01-31 and 2020-03-01, 30 days."


# -- the whole ------------------------------------------------------------


def test_the_answer_does_not_depend_on_how_many_firms_are_looked_at_together(monkeypatch, tmp_path):
    panel = make_panel(firms=11, days=300)
    whole = describe(panel, extreme_return=0.05, stale_rows=1, split_tolerance=0.4, split_deviations=1.0)
    assert len(whole.extremes) > 20 and len(whole.splits) > 20 and len(whole.stale) == 0
    monkeypatch.setattr(coverage, "_CELLS", 1000)
    panel.save(tmp_path / "panel")
    mapped = Panel.load(tmp_path / "panel")
    assert len(list(coverage.parts(mapped))) == 11
    again = describe(mapped, extreme_return=0.05, stale_rows=1, split_tolerance=0.4, split_deviations=1.0)
    assert again.facts == whole.facts and again.warnings == whole.warnings
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(whole, name))


@pytest.mark.parametrize("rows", [1, 2])
def test_the_smallest_panels_are_described(rows):
    panel = small()[:rows]
    assert describe(panel).facts["dates"] == rows
    assert describe(panel).facts["rows_per_year"] is None or rows == 2
    nothing = Panel(["2020-01-02"], ["A"], [[NAN]], listed=[[False]])
    found = describe(nothing)
    assert found.facts["firm_dates"] == 0 and np.isnan(found.years["with_return"]).all()
    assert dict(description.summary(found))["With a return"] == "—" and description.page(found, "nothing")


def test_json_holds_everything_and_reads_back_to_the_same():
    panel = make_panel(firms=6, days=100)
    found = describe(panel, extreme_return=0.04)
    content = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert content == found.as_dict()
    assert content["facts"]["firms"] == 6 and content["thresholds"]["extreme_return"] == 0.04
    assert [caution["check"] for caution in content["warnings"]] == [caution.check for caution in found.warnings]
    for name in TABLES:
        table = getattr(found, name)
        assert len(content[name]) == len(table)
    back = pd.DataFrame(content["extremes"]).astype({"date": found.extremes["date"].dtype})
    pd.testing.assert_frame_equal(back, found.extremes)
    assert content["firms"][0]["delisting_return"] is None
    assert describe(panel, stale_rows=np.int64(3), split_ratios=np.array([2, 3])).as_dict()["thresholds"] == {
        "extreme_return": 1.0, "stale_rows": 3, "split_ratios": [2.0, 3.0], "split_tolerance": 0.05,
        "split_deviations": 10.0,
    }  # fmt: skip


BAD = {
    "no extreme": ({"extreme_return": 0}, "extreme_return must be a number above 0, such as 1.0 for 100%, found 0"),
    "an extreme of text": ({"extreme_return": "1"}, "extreme_return must be a number above 0.*found '1'"),
    "an extreme of NaN": ({"extreme_return": NAN}, "extreme_return must be a number above 0.*found nan"),
    "no rows": ({"stale_rows": 0}, "stale_rows must be a whole number from 1, found 0"),
    "half a row": ({"stale_rows": 2.5}, "stale_rows must be a whole number from 1, found 2.5"),
    "a flag": ({"stale_rows": True}, "stale_rows must be a whole number from 1, found True"),
    "no ratios": ({"split_ratios": []}, r"split_ratios must be a list of numbers above 1, to 100, found \[\]"),
    "a ratio of one": ({"split_ratios": [1.0]}, r"split_ratios must be a list of numbers above 1.*found \[1.0\]"),
    "a ratio of text": ({"split_ratios": "2:1"}, "split_ratios must be a list of numbers"),
    "one ratio": ({"split_ratios": 2.0}, "split_ratios must be a list of numbers above 1, to 100, found 2.0"),
    "a wide tolerance": ({"split_tolerance": 0.5}, "split_tolerance must be a number above 0 and below 0.5, found 0.5"),
    "no deviations": ({"split_deviations": -1}, "split_deviations must be a number above 0, found -1"),
}


@pytest.mark.parametrize("case", BAD)
def test_thresholds_that_cannot_be_meant_are_refused(case):
    thresholds, message = BAD[case]
    with pytest.raises(InputError, match=message):
        describe(small(), **thresholds)


def test_a_panel_of_nothing_is_refused():
    with pytest.raises(InputError, match="a panel to describe must have dates and firms, found 0 and 3"):
        describe(small()["2050":])


# -- as text and as a page ------------------------------------------------------------

EVIL = "<img src=x onerror=alert(1)>"


def evil() -> Description:
    returns = np.where(np.arange(40)[:, None] == 20, [[-0.5, 2.0]], np.tile([[0.0, 0.01]], (40, 1)))
    returns[30, 0] = NAN  # EVIL leaves, and what its holders lost is not known
    panel = Panel(
        np.datetime64("2020-01-01") + np.arange(40), [EVIL, "[red]B\x1b[2J"], returns, industry=[[0, 1]] * 40,
        listed=np.arange(40)[:, None] < [[30, 40]], features=np.zeros((40, 2, 1)), feature_names=(f"{EVIL}</script>",),
        source={"caveats": [EVIL], "counts": {EVIL: 3}},
    )  # fmt: skip
    return describe(panel)


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_text_from_data_stays_text_on_the_page_which_needs_no_network():
    found = evil()
    checks = {caution.check for caution in found.warnings}
    assert {"delistings", "availability", "industry", "extremes", "stale", "splits"} <= checks
    page = description.page(found, EVIL)
    elements = Elements()
    elements.feed(page)
    assert not [tag for tag, _ in elements.found if tag == "img"]
    assert not [attrs for _, attrs in elements.found if any(name.startswith("on") for name in attrs)]
    assert not [attrs for tag, attrs in elements.found if tag in ("script", "link") and "src" in attrs]
    assert EVIL not in page and page.count("&lt;img src=x onerror=alert(1)&gt;") >= 8
    assert "default-src 'none'" in page and page.count("</script>") == 4
    for script in ('data-for="figure-firms">', 'data-for="figure-missing">'):
        json.loads(page.split(script)[1].split("</script>")[0])


def test_a_page_is_whole_or_absent(tmp_path, monkeypatch):
    found = describe(small())
    path = description.write(found, "small", tmp_path / "deep" / "small.html")
    before = path.read_bytes()
    monkeypatch.setattr(description, "page", lambda found, name: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        description.write(found, "small", path)
    assert path.read_bytes() == before and [item.name for item in path.parent.iterdir()] == ["small.html"]


def shown(found: Description, name: str = "small") -> str:
    stream = io.StringIO()
    description.show(found, name, Console(file=stream, width=120))
    return stream.getvalue()


def test_text_shows_tables_and_says_none_where_nothing_was_found():
    text = shown(describe(small()))
    assert text.startswith("Panel small\nDates") and "6, from 2019-12-27 to 2020-01-06" in text
    assert "! Firms that never have an industry code: 2 of 3: B, C." in text
    assert "Firms that leave, the last first (1)" in text and "-60.00" in text
    assert "Extreme returns, the largest first: none" in text
    assert "2019       3       3            2.3            71.43       1       1" in text
    assert "Firms without an industry code (2)" in text
    assert "Firms without an industry code" not in shown(describe(small(industry=None)))


def test_text_of_data_neither_colours_the_terminal_nor_is_taken_for_markup():
    text = shown(evil(), "\x1b[31mred")
    assert "\x1b" not in text and "[red]B\N{REPLACEMENT CHARACTER}[2J" in text and EVIL in text


def test_long_tables_are_cut_and_say_so():
    found = describe(column(np.full(400, 0.3)), extreme_return=0.2)
    text = shown(found)
    assert "Extreme returns, the largest first (400)" in text
    assert "390 more; finattn data describe --json lists all." in text
    names = tuple(f"x{i}" for i in range(60))
    many = small(features=np.where(np.arange(60) == 59, NAN, np.zeros((6, 3, 60))), feature_names=names)
    assert description.tables(describe(many), 10)["fields"].rows[0][0] == "x59"
    heat = drawn.missing_by_year(describe(many).fields_by_year).data[0]
    assert len(heat.y) == drawn.FIELDS_SHOWN and "x59" in heat.y and "x58" not in heat.y


def test_the_picture_shows_firms_and_moves_only_where_there_are_some():
    figure = drawn.firms_by_year(describe(small()).years)
    known, unknown, enter, leave = (trace.y.tolist() for trace in figure.data)
    np.testing.assert_allclose(known, [5 / 3, 5 / 3])
    np.testing.assert_allclose(unknown, [2 / 3, 0], atol=1e-12)
    assert enter == [1, 0] and leave == [-1, 0]
    assert len(drawn.firms_by_year(describe(small(listed=None)).years).data) == 2
