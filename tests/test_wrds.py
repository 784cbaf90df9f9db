"""WRDS: made-up tables become the panel worked out by hand, in both layouts, from files and from a server."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
import wrds_tables

from finattn.blocks import count_missing_delisting_returns, forward_returns
from finattn.config import TargetConfig
from finattn.config.wrds import ITEMS, WrdsConfig
from finattn.data.wrds import fetch, load_wrds
from finattn.data.wrds.compustat import CHARACTERISTICS
from finattn.data.wrds.tables import annual, needed, quarterly
from finattn.errors import InputError
from finattn.panel import Panel

NAN = float("nan")
KINDS = [(layout, frequency) for layout in ("ciz", "legacy") for frequency in ("monthly", "daily")]


@cache
def made(layout: str, frequency: str) -> dict[str, pd.DataFrame]:
    return wrds_tables.crsp(layout, frequency) | wrds_tables.compustat()


def tables(layout: str = "legacy", frequency: str = "monthly") -> dict[str, pd.DataFrame]:
    """Return made-up tables, to be changed at will."""
    return {name: table.copy() for name, table in made(layout, frequency).items()}


def read(folder: Path, changed: dict[str, pd.DataFrame] | None = None, start=None, end=None, **keys) -> Panel:
    """Load made-up tables, some of them changed."""
    config = WrdsConfig(**({"layout": "legacy", "industries": "none"} | keys))
    folder = wrds_tables.write_extracts(folder / "extracts", made(config.layout, config.frequency) | (changed or {}))
    return load_wrds(replace(config, extracts=str(folder)), start, end)


def at(panel: Panel, firm: int, month: str, name: str = "returns"):
    """Return a field, or a feature, of a firm in a month (or on a day)."""
    rows = np.flatnonzero(np.char.startswith(panel.dates.astype(str), month))
    assert len(rows) == 1
    place = rows[0], panel.firms.tolist().index(str(firm))
    if name in panel.feature_names:
        return panel.features[place][panel.feature_names.index(name)]
    return getattr(panel, name)[place]


def same(panel: Panel, other: Panel) -> bool:
    return panel.replace(source={}).fingerprint == other.replace(source={}).fingerprint


# -- CRSP ------------------------------------------------------------


@pytest.mark.parametrize("layout", ["ciz", "legacy"])
def test_a_delisting_return_is_compounded_into_its_month_in_which_the_firm_is_not_listed(tmp_path, layout):
    panel = read(tmp_path, layout=layout)
    assert at(panel, 10002, "2001-06") == pytest.approx(1.1 * 0.5 - 1)  # (1 + ret)(1 + dlret) - 1
    assert at(panel, 10006, "2001-07") == 0.25  # the month has no row, or no return, of its own
    assert [at(panel, 10002, month, "listed") for month in ("2001-05", "2001-06", "2001-07")] == [True, False, False]
    assert np.isnan(at(panel, 10002, "2001-06", "price")) and np.isnan(at(panel, 10002, "2001-07"))
    assert np.isnan(at(panel, 10007, "2001-07")) and count_missing_delisting_returns(panel) == 1
    assert panel.source["counts"]["delistings"] == 3 and panel.source["counts"]["delistings_without_return"] == 1


@pytest.mark.parametrize("layout", ["ciz", "legacy"])
def test_daily_delisting_returns_stand_on_the_date_after_the_last(tmp_path, layout):
    panel = read(tmp_path, layout=layout, frequency="daily")
    assert at(panel, 10002, "2001-06-15", "listed") and at(panel, 10002, "2001-06-18") == -0.5
    assert not at(panel, 10002, "2001-06-18", "listed") and panel.periods_per_year == 252


def test_holders_earn_the_delisting_return_then_hold_cash(tmp_path):
    panel = read(tmp_path)
    may = np.flatnonzero(panel.dates.astype("M8[M]") == np.datetime64("2001-05"))
    realised = forward_returns(panel, may, TargetConfig(horizon=3))[0]
    assert realised[panel.firms.tolist().index("10002")] == pytest.approx(-0.45)


@pytest.mark.parametrize("frequency", ["monthly", "daily"])
@pytest.mark.parametrize("keys", [{}, {"exchanges": ()}, {"common_shares": False}, {"exchanges": ("NYSE", "ARCA")}])
def test_both_layouts_of_the_same_firms_are_the_same_panel(tmp_path, frequency, keys):
    keys = keys | {"frequency": frequency, "industries": "french"}
    for layout in ("ciz", "legacy"):
        (tmp_path / layout).mkdir()
    ciz, legacy = (read(tmp_path / layout, layout=layout, **keys) for layout in ("ciz", "legacy"))
    assert same(ciz, legacy)


def test_levels_are_in_dollars_and_a_negative_price_is_the_middle_of_bid_and_ask(tmp_path):
    assert (tables()["msf"]["prc"] < 0).any()
    panel = read(tmp_path)
    assert (at(panel, 10001, "2000-01", "price"), at(panel, 10001, "2000-02", "price")) == (20.0, 21.0)
    assert at(panel, 10001, "2000-02", "market_cap") == 21.0 * 1000 * 1000  # shrout is in thousands
    assert at(panel, 10001, "2000-02", "dollar_volume") == 21.0 * 50_000  # monthly vol is in hundreds


def test_codes_in_place_of_returns_and_prices_of_zero_are_missing(tmp_path):
    stocks = tables()["msf"]
    stocks.loc[0, ["ret", "prc", "vol"]] = [-66.0, 0.0, -99.0]
    delistings = tables()["msedelist"]
    delistings.loc[delistings["permno"] == 10002, "dlret"] = -5.5
    panel = read(tmp_path, {"msf": stocks, "msedelist": delistings})
    assert np.isnan(at(panel, 10002, "2001-06"))
    assert at(panel, 10001, "2000-01", "listed")
    assert np.isnan([at(panel, 10001, "2000-01", name) for name in ("returns", "price", "dollar_volume")]).all()
    assert panel.source["counts"]["impossible_returns"] == 1


@pytest.mark.parametrize("layout", ["ciz", "legacy"])
def test_a_firm_that_leaves_the_exchanges_is_listed_until_then_and_its_next_return_is_kept(tmp_path, layout):
    panel = read(tmp_path, layout=layout)
    assert at(panel, 10003, "2001-05", "listed") and not at(panel, 10003, "2001-06", "listed")
    stays = read(tmp_path, layout=layout, exchanges=())
    assert at(panel, 10003, "2001-06") == at(stays, 10003, "2001-06") and np.isnan(at(panel, 10003, "2001-07"))
    assert at(stays, 10003, "2002-12", "listed")


def test_filters_are_of_share_classes_and_exchanges_as_of_each_date(tmp_path):
    panel = read(tmp_path)
    assert panel.firms.tolist() == ["10001", "10002", "10003", "10006", "10007", "10008"]
    assert at(panel, 10008, "2001-05", "listed") and not at(panel, 10008, "2001-06", "listed")  # becomes a fund
    assert "10004" in read(tmp_path, common_shares=False).firms
    assert read(tmp_path, exchanges=("NASDAQ",)).firms.tolist() == ["10002", "10007"]
    assert panel.names[0] == "FIRM 10001 1"


def test_shares_when_issued_are_listed_and_halted_ones_are_not(tmp_path):
    legacy, ciz = tables()["msenames"], tables("ciz")["stksecurityinfohist"]
    issued, halted = legacy["permno"] == 10001, legacy["permno"] == 10007
    legacy["exchcd"] = np.select([issued, halted], [31, -2], legacy["exchcd"])
    ciz.loc[ciz["permno"] == 10001, "conditionaltype"] = "NW"
    ciz.loc[ciz["permno"] == 10007, "tradingstatusflg"] = "H"
    for panel in (read(tmp_path, {"msenames": legacy}), read(tmp_path, {"stksecurityinfohist": ciz}, layout="ciz")):
        assert at(panel, 10001, "2000-01", "listed") and "10007" not in panel.firms


@pytest.mark.parametrize("layout, frequency", KINDS)
def test_every_row_of_the_table_is_counted_once(tmp_path, layout, frequency):
    panel = read(tmp_path, layout=layout, frequency=frequency)
    counts = panel.source["counts"]
    rows = ["listed", "leaving", "without_information", "other_shares", "other_exchanges", "after_delisting"]
    assert sum(counts.get(name, 0) for name in rows) == panel.source["rows"]
    assert counts["listed"] == panel.listed.sum()
    assert counts["without_information"] >= len(panel)  # firm 10005 has no names at all


@pytest.mark.parametrize("code, stand_in", [(580, -0.55), (500, -0.55), (241, NAN), (585, NAN)])
def test_a_missing_delisting_return_for_performance_is_shumways_where_asked(tmp_path, code, stand_in):
    delistings = tables()["msedelist"]
    delistings.loc[delistings["permno"] == 10007, "dlstcd"] = code
    panel = read(tmp_path, {"msedelist": delistings}, missing_delisting="shumway")
    assert at(panel, 10007, "2001-07") == pytest.approx(0.8 * (1 + stand_in) - 1, nan_ok=True)
    assert panel.source["counts"].get("delisting_stand_ins", 0) == int(not np.isnan(stand_in))


def test_shumways_return_is_minus_thirty_percent_on_the_nyse(tmp_path):
    delistings, names = tables()["msedelist"], tables()["msenames"]
    names.loc[names["permno"] == 10007, "exchcd"] = 1
    panel = read(tmp_path, {"msedelist": delistings, "msenames": names}, missing_delisting="shumway")
    assert at(panel, 10007, "2001-07") == pytest.approx(0.8 * 0.7 - 1)


def test_a_month_of_ciz_without_its_delisting_return_has_no_return(tmp_path):
    stocks = tables("ciz")["msf_v2"]
    gone = (stocks["permno"] == 10002) & (stocks["mthdelflg"] == "Y")
    stocks.loc[gone, "mthdelflg"] = "M"
    panel = read(tmp_path, {"msf_v2": stocks}, layout="ciz")
    assert np.isnan(at(panel, 10002, "2001-06")) and panel.source["counts"]["delistings_without_return"] == 2


def test_a_delisting_on_a_day_on_which_names_still_pass_is_no_listing(tmp_path):
    stocks = tables("ciz")["msf_v2"]
    row = (stocks["permno"] == 10001) & (stocks["mthcaldt"] == "2001-08-31")
    stocks.loc[row, "mthdelflg"] = "Y"
    panel = read(
        tmp_path, {"msf_v2": stocks[~((stocks["permno"] == 10001) & (stocks["mthcaldt"] > "2001-08-31"))]}, layout="ciz"
    )
    assert not at(panel, 10001, "2001-08", "listed") and at(panel, 10001, "2001-08") == stocks.loc[row, "mthret"].item()


def test_a_delisting_that_follows_no_listed_row_is_counted_and_not_used(tmp_path):
    stocks = tables()["msf"]
    gap = (stocks["permno"] == 10006) & (stocks["date"] == "2001-06-29")
    panel = read(tmp_path, {"msf": stocks[~gap]})
    assert np.isnan(at(panel, 10006, "2001-07")) and panel.source["counts"]["delistings_not_held"] == 1
    assert not (panel.source["counts"].get("after_delisting"))


def test_there_may_be_no_delistings(tmp_path):
    panel = read(tmp_path, {"msedelist": tables()["msedelist"][:0]})
    assert at(panel, 10002, "2001-06") == 0.1 and "delistings" not in panel.source["counts"]


def test_a_span_of_days_is_cut_inside_its_edges(tmp_path):
    panel = read(tmp_path, start="2001-02-28", end="2001-06")
    assert panel.dates[[0, -1]].astype(str).tolist() == ["2001-02-28", "2001-06-29"]
    whole = read(tmp_path)["2001-02":"2001-06"]
    firms = panel.firms.tolist()
    np.testing.assert_array_equal(panel.returns, whole[:, firms].returns)


# -- industries ------------------------------------------------------------


def test_crsp_codes_are_those_of_each_date(tmp_path):
    panel = read(tmp_path, industries="crsp")
    assert [at(panel, 10001, month, "industry") for month in ("2000-05", "2000-06")] == [2834, 2836]
    assert panel.industry_as_of and panel.industry_scheme == "sic"
    assert not read(tmp_path).industry.any() and not read(tmp_path).industry_as_of


@pytest.mark.parametrize(
    "firm, month, code",
    [
        (10001, "2000-05", 2810),  # of June 1999: Compustat's of fiscal 1998
        (10001, "2000-06", 2820),  # from the end of June: Compustat's of fiscal 1999
        (10001, "2001-05", 2820),
        (10001, "2001-06", 2836),  # Compustat has no code of fiscal 2000: CRSP's of June 2001
        (10001, "2002-05", 2836),
        (10001, "2002-06", 3714),  # 10001 belongs to company 1009 by June 2002: its fiscal 2001
        (10003, "2000-06", 3571),  # not linked: CRSP's
        (10002, "2000-12", 6021),  # the fiscal year that ended in June 2000 is for June 2001
        (10006, "2001-05", 7372),  # listed after June 2000: CRSP's until its first June
        (10006, "2001-06", 7373),  # then Compustat's of fiscal 2000
    ],
)
def test_sic_codes_follow_french(tmp_path, firm, month, code):
    assert at(read(tmp_path, industries="french"), firm, month, "industry") == code


def test_the_new_code_stands_from_the_last_weekday_of_june_also_where_the_panel_ends_there(tmp_path):
    panel = read(tmp_path, industries="french", frequency="daily", end="2001-06-29")
    assert [at(panel, 10001, day, "industry") for day in ("2001-06-28", "2001-06-29")] == [2820, 2836]
    panel = read(tmp_path, industries="french", frequency="daily", end="2001-06-15")
    assert at(panel, 10001, "2001-06-15", "industry") == 2820


# -- Compustat ------------------------------------------------------------


def test_every_item_of_the_configuration_has_its_formula():
    assert tuple(CHARACTERISTICS) == ITEMS


@pytest.mark.parametrize(
    "firm, month, assets",
    [
        (10001, "2000-05", 80.0),  # fiscal 1998 is seventeen months old
        (10001, "2000-06", 100.0),  # fiscal 1999 is known six months after December
        (10001, "2001-05", 100.0),
        (10001, "2001-06", 120.0),
        (10001, "2001-09", 120.0),  # the last date of its link
        (10001, "2001-10", NAN),  # then it is company 1009's, whose report of fiscal 2000 came before the link
        (10001, "2002-06", 990.0),
        (10003, "2001-05", NAN),  # not linked yet
        (10003, "2000-06", NAN),
        (10007, "2001-05", NAN),  # its company has no reports
        (10008, "2001-05", NAN),  # never linked
        (10002, "2000-11", NAN),
        (10002, "2000-12", 500.0),
        (10002, "2001-06", NAN),  # delisted
    ],
)
def test_annual_figures_stand_from_their_lag_inside_their_links(tmp_path, firm, month, assets):
    panel = read(tmp_path, compustat="annual", items=("assets",))
    assert at(panel, firm, month, "assets") == pytest.approx(assets, nan_ok=True)


def test_a_company_that_passes_to_another_security_takes_its_reports_along(tmp_path):
    panel = read(tmp_path, compustat="annual", items=("assets",), exchanges=())
    assert [at(panel, 10003, month, "assets") for month in ("2001-09", "2002-06")] == pytest.approx(
        [NAN, 150.0], nan_ok=True
    )
    counts = panel.source["as_of_joins"][0]["counts"]
    assert counts["before_the_link"] > 0 and counts["of_another_form"] == 8 and counts["listed_without_link"] > 0


def test_of_links_that_overlap_the_later_is_used_and_counted(tmp_path):
    links = tables()["ccmxpf_lnkhist"]
    links.loc[0, "linkenddt"] = pd.NaT
    panel = read(tmp_path, {"ccmxpf_lnkhist": links}, compustat="annual", items=("assets",))
    assert at(panel, 10001, "2002-06", "assets") == 990.0
    assert panel.source["as_of_joins"][0]["counts"]["overlapping_links"] == 15


@pytest.mark.parametrize(
    "change, is_known",
    [
        ({"linktype": "LU"}, True),
        ({"linkprim": "C"}, True),
        ({"linkdt": "2000-09-15"}, True),  # the two overlap
        ({"linkdt": "2000-10-02"}, False),  # a day between them, on which the link was broken
        ({"linktype": "LN"}, False),  # is not used
        ({"gvkey": "001009"}, False),
    ],
)
def test_a_link_that_is_split_in_two_rows_is_one_link(tmp_path, change, is_known):
    """The report of fiscal 1999 was available before the second row begins."""
    links = tables()["ccmxpf_lnkhist"][:1].astype({"linkdt": object, "linkenddt": object})
    first = links.assign(linkenddt=pd.Timestamp("2000-09-30"))
    change = {name: pd.Timestamp(value) if name == "linkdt" else value for name, value in change.items()}
    second = links.assign(**({"linkdt": pd.Timestamp("2000-10-01")} | change))
    for rows in ([first, second], [second, first]):
        split = pd.concat(rows).astype({"linkdt": "M8[s]", "linkenddt": "M8[s]"})
        panel = read(tmp_path, {"ccmxpf_lnkhist": split}, compustat="annual", items=("assets",))
        assert at(panel, 10001, "2000-09", "assets") == 100.0
        assert at(panel, 10001, "2000-12", "assets") == pytest.approx(100.0 if is_known else NAN, nan_ok=True)


def test_a_link_without_an_end_reaches_every_later_one_of_its_pair(tmp_path):
    links = tables()["ccmxpf_lnkhist"][:1]
    inside = links.assign(linkdt=pd.Timestamp("1995-01-01"), linkenddt=pd.Timestamp("1996-12-31"))
    later = links.assign(linkdt=pd.Timestamp("2000-10-01"))
    links = pd.concat([links.assign(linkenddt=pd.NaT), inside, later])
    panel = read(tmp_path, {"ccmxpf_lnkhist": links}, compustat="annual", items=("assets",))
    assert at(panel, 10001, "2000-12", "assets") == 100.0


@pytest.mark.parametrize(
    "day, assets",
    [
        ("2001-04-30", 120.0),  # reported on the day: known on the day after
        ("2001-05-31", 123.0),
        ("2001-09-28", 123.0),  # the second quarter has no report date: four months after its end
        ("2001-10-31", NAN),  # the end of its link
    ],
)
def test_quarterly_figures_stand_from_the_day_after_they_were_reported(tmp_path, day, assets):
    links = tables()["ccmxpf_lnkhist"]
    keys = {"compustat": "quarterly", "items": ("assets", "sales"), "availability": "rdq", "lag_months": 4}
    panel = read(tmp_path, {"ccmxpf_lnkhist": links}, **keys)
    assert at(panel, 10001, day, "assets") == pytest.approx(assets, nan_ok=True)
    counts = panel.source["as_of_joins"][0]["counts"]
    assert counts["without_rdq"] == 1 and counts["period_after_availability"] == 1


def test_the_lag_takes_the_place_of_a_missing_report_date(tmp_path):
    links = tables()["ccmxpf_lnkhist"].assign(linkenddt=pd.NaT)
    keys = {"compustat": "quarterly", "items": ("assets",), "availability": "rdq", "lag_months": 4}
    panel = read(tmp_path, {"ccmxpf_lnkhist": links[:1]}, **keys)
    assert [at(panel, 10001, day, "assets") for day in ("2001-09-28", "2001-10-31")] == [123.0, 126.0]


def test_annual_reports_take_the_report_date_of_their_fourth_quarter(tmp_path):
    keys = {"compustat": "annual", "items": ("assets",), "availability": "rdq"}
    panel = read(tmp_path, **keys)
    assert [at(panel, 10001, day, "assets") for day in ("2001-01-31", "2001-02-28")] == [100.0, 120.0]
    assert at(panel, 10002, "2000-12", "assets") == 500.0  # no fourth quarter: the lag
    assert panel.source["as_of_joins"][0]["counts"]["without_rdq"] == 6


def test_a_figure_is_missing_when_it_is_too_old(tmp_path):
    links = tables()["ccmxpf_lnkhist"].assign(linkenddt=pd.NaT)
    keys = {"compustat": "annual", "items": ("assets",)}
    reports = tables()["funda"]
    changed = {"ccmxpf_lnkhist": links[:1], "funda": reports[reports["datadate"] < "2000-01-01"]}
    aged = read(tmp_path, changed, stale_after="18M", **keys)
    assert [at(aged, 10001, day, "assets") for day in ("2001-06-29", "2001-07-31")] == pytest.approx(
        [100.0, NAN], nan_ok=True
    )
    assert at(read(tmp_path, changed, stale_after=None, **keys), 10001, "2002-12", "assets") == 100.0


@pytest.mark.parametrize(
    "item, before, after",
    [
        ("assets", 100.0, 120.0),
        ("sales", 50.0, 60.0),
        ("book_equity", 50.0, 60.0),
        ("leverage", 0.3, 0.3),
        ("investment", 0.25, 0.2),
        ("return_on_assets", 0.05, 0.05),
        ("rnd_to_sales", 0.1, NAN),  # what is not reported is missing, not 0
        ("rnd_to_assets", 0.05, NAN),
    ],
)
def test_items_by_hand(tmp_path, item, before, after):
    panel = read(tmp_path, compustat="annual", items=ITEMS)
    assert panel.feature_names == ITEMS
    found = [at(panel, 10001, month, item) for month in ("2001-05", "2001-06")]
    assert found == pytest.approx([before, after], nan_ok=True)


def test_a_ratio_to_what_is_not_positive_is_missing(tmp_path):
    links = tables()["ccmxpf_lnkhist"].assign(linkenddt=pd.NaT)
    panel = read(tmp_path, {"ccmxpf_lnkhist": links[:1]}, compustat="annual", items=("rnd_to_sales", "rnd_to_assets"))
    found = [at(panel, 10001, "2002-06", item) for item in panel.feature_names]
    assert found == pytest.approx([NAN, 7 / 150], nan_ok=True)


def test_growth_over_a_fiscal_year_that_changed_is_missing(tmp_path):
    reports = tables()["funda"]
    reports.loc[(reports["gvkey"] == "001001") & (reports["datadate"] == "1999-12-31"), "datadate"] = pd.Timestamp(
        "1999-09-30"
    )
    panel = read(tmp_path, {"funda": reports}, compustat="annual", items=("investment",))
    assert np.isnan(at(panel, 10001, "2001-06", "investment"))


# -- nothing looks ahead ------------------------------------------------------------

DATED = {
    "msf": "date", "dsf": "date", "msf_v2": "mthcaldt", "dsf_v2": "dlycaldt", "msenames": "namedt",
    "dsenames": "namedt", "stksecurityinfohist": "secinfostartdt", "msedelist": "dlstdt", "dsedelist": "dlstdt",
    "ccmxpf_lnkhist": "linkdt", "funda": "datadate", "fundq": "datadate",
}  # fmt: skip


@pytest.mark.parametrize("layout, frequency", KINDS)
@pytest.mark.parametrize("place", [0.3, 0.5, 0.62])
def test_rows_dated_after_a_date_change_nothing_until_then(tmp_path, layout, frequency, place):
    keys = {"layout": layout, "frequency": frequency, "industries": "french", "compustat": "annual"}
    keys |= {"items": ("assets", "investment"), "availability": "rdq", "missing_delisting": "missing"}
    whole = read(tmp_path, **keys)
    day = whole.dates[int(place * len(whole))]
    past = {name: table[~(table[DATED[name]] > str(day))] for name, table in tables(layout, frequency).items()}
    before, until = read(tmp_path, past, **keys), whole[: str(day)]
    until = until[:, before.firms.tolist()]
    for name in ("dates", "returns", "listed", "industry", "price", "market_cap", "dollar_volume", "features"):
        np.testing.assert_array_equal(getattr(before, name), getattr(until, name), err_msg=name)


# -- extracts ------------------------------------------------------------


@pytest.mark.parametrize("layout, frequency", KINDS)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv_extracts_with_letters_for_reasons_are_the_same(tmp_path, layout, frequency, ending):
    config = WrdsConfig(layout=layout, frequency=frequency, compustat="annual", items=("rnd_to_sales",))
    panels = []
    for kind in ("parquet", ending):
        folder = wrds_tables.write_extracts(tmp_path / kind, tables(layout, frequency), kind)
        panels.append(load_wrds(replace(config, extracts=str(folder)), "2000-06-01", "2001-12-31"))
    assert same(*panels)


@pytest.mark.parametrize("kind", ["text", "number", "date32", "nanoseconds"])
def test_days_of_any_kind_are_days(tmp_path, kind):
    convert = {
        "text": lambda days: days.dt.strftime("%Y-%m-%d"),
        "number": lambda days: days.dt.strftime("%Y%m%d").astype(int),
        "date32": lambda days: days.dt.date,
        "nanoseconds": lambda days: days.astype("M8[ns]"),
    }[kind]
    stocks, names = tables()["msf"], tables()["msenames"]
    stocks["date"], names["nameendt"] = convert(stocks["date"]), convert(names["nameendt"])
    panel = read(tmp_path, {"msf": stocks, "msenames": names}, start="2000-03-31", end="2001-08-31")
    assert same(panel, read(tmp_path, start="2000-03-31", end="2001-08-31"))


def test_links_that_end_in_the_year_9999_are_valid(tmp_path):
    links = tables()["ccmxpf_lnkhist"]
    text = links["linkenddt"].dt.strftime("%Y-%m-%d").astype(object)
    links["linkenddt"] = text.where(links["linkenddt"].notna(), "9999-12-31")
    keys = {"compustat": "annual", "items": ("assets",)}
    assert same(read(tmp_path, {"ccmxpf_lnkhist": links}, **keys), read(tmp_path, **keys))


def test_many_batches_are_one_table(tmp_path, monkeypatch):
    whole = read(tmp_path)
    monkeypatch.setattr("finattn.data.wrds.extracts.BATCH", 7)
    assert same(read(tmp_path), whole)


def _without(column):
    return lambda table: table.drop(columns=column)


def _set(column, value):
    return lambda table: table.assign(**{column: value})


def _cell(column, row, value):
    def change(table):
        values = table[column].tolist()
        values[row] = value
        return table.assign(**{column: values})

    return change


def _text_cell(column, row, value):
    """Write days as text, each many times, and another value in one row."""
    return lambda table: _cell(column, row, value)(table.assign(**{column: table[column].dt.strftime("%Y-%m-%d")}))


def _zoned(column):
    return lambda table: table.assign(**{column: table[column].dt.tz_localize("UTC")})


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("msf", _without("ret"), "msf.parquet: crsp.msf must have columns, found no ret"),
        ("msf", _set("date", pd.NaT), "msf.parquet: date must be given in every row, found none"),
        ("msf", _set("date", "soon"), "msf.parquet: date must .*'2001-05-31', found .*soon"),
        ("msf", _set("permno", 10001.5), "permno must hold whole numbers of at most 2147483647, found 10001.5 in row"),
        ("msf", _set("prc", "high"), "column 'prc' must be numeric, found 'high'"),
        ("msf", lambda table: table[:0], "msf.parquet: the table must have rows of the days asked for, found none"),
        ("msf", lambda table: pd.concat([table, table[5:7]]), "one row a date, found 2 more, .* permno 10001"),
        ("msf", _cell("permno", 7, 1.5), "msf.parquet: permno must hold whole numbers .*, found 1.5 in row 7$"),
        ("msf", _cell("permno", 7, np.inf), "msf.parquet: permno must hold finite numbers .*, found inf in row 7$"),
        ("msf", _cell("permno", 7, 1e300), r"msf.parquet: permno must hold whole numbers .*, found 1e\+300 in row 7$"),
        ("msf", _cell("permno", 7, None), "msf.parquet: permno must be given in every row, found none in row 7$"),
        ("msf", _set("permno", True), "msf.parquet: column 'permno' must be numeric, found truth values$"),
        ("msf", _cell("ret", 7, np.inf), "msf.parquet: ret must hold finite numbers or none, found inf in row 7$"),
        ("msf", _set("prc", 1e308), "msf.parquet: market_cap must be finite"),
        ("msedelist", _cell("dlret", 1, 1.7e308), "msf.parquet: returns must be finite.*10002"),
        ("msf", _zoned("date"), "msf.parquet: date must be .*without a time zone, found .*UTC$"),
        ("msf", _text_cell("date", 7, "soon"), "msf.parquet: date must read like '2001-05-31', found 'soon' in row 7$"),
        ("msf", _text_cell("date", 7, "2001-05-31T16:00Z"), "msf.parquet: date must have no time zone, .* in row 7$"),
        ("msenames", _zoned("namedt"), "msenames.parquet: namedt must be .*without a time zone, found .*UTC$"),
        ("msenames", _cell("namedt", 2, None), "msenames.parquet: rows must have a first day, found none in row 2$"),
        ("msenames", _cell("siccd", 2, -3), "msenames.parquet: industry must hold integer codes from 0 .*found -3"),
        ("msenames", _cell("siccd", 2, 1e10), "msenames.parquet: siccd must hold whole numbers .*in row 2$"),
        ("ccmxpf_lnkhist", _zoned("linkdt"), "lnkhist.parquet: linkdt must be .*without a time zone, found .*UTC$"),
        ("ccmxpf_lnkhist", _cell("gvkey", 2, "1e300"), r"lnkhist.parquet: gvkey must hold whole .*1e\+300 in row 2$"),
        ("ccmxpf_lnkhist", _cell("linkenddt", 3, pd.Timestamp("1990-01-01")), "hist.parquet: rows must end .*row 3$"),
        ("funda", _zoned("datadate"), "funda.parquet: datadate must be .*without a time zone, found .*UTC$"),
        ("funda", _cell("sich", 2, 1e300), r"funda.parquet: sich must hold whole numbers .*1e\+300 in row 2$"),
        ("funda", _cell("gvkey", 2, None), "funda.parquet: gvkey must be given in every row, found none in row 2$"),
        ("msenames", lambda table: table[:0], "msenames.parquet: rows must have a first day, found no rows"),
        ("msenames", _set("shrcd", 31), "msf.parquet: rows must pass the filters of data.wrds, found"),
        ("ccmxpf_lnkhist", _set("linktype", "NU"), "links must have linktype LC, LU and linkprim P, C, found none"),
        ("ccmxpf_lnkhist", _set("gvkey", "77"), "funda.parquet: reports must be of companies that are linked"),
        ("funda", _set("indfmt", "FS"), "funda.parquet: reports must be of .*INDL.*, found none of 16"),
    ],
)  # fmt: skip
def test_what_a_table_cannot_hold_is_refused_with_its_file(tmp_path, name, change, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, {name: change(tables()[name])}, compustat="annual", items=("assets",), industries="french")
    assert str(error.value).count(".parquet") == 1


@pytest.mark.parametrize(
    "name, change",
    [("funda", _without("at")), ("ccmxpf_lnkhist", _without("linkdt")), ("msedelist", _set("dlret", np.inf))],
)
def test_a_message_names_the_file_once(tmp_path, name, change):
    with pytest.raises(InputError, match=f"{name}.parquet: ") as error:
        read(tmp_path, {name: change(tables()[name])}, compustat="annual", items=("assets",))
    assert str(error.value).count(name + ".parquet") == 1


def test_extracts_that_are_absent_or_there_twice_are_refused(tmp_path):
    with pytest.raises(InputError, match="data.wrds.extracts must be given"):
        load_wrds(WrdsConfig())
    with pytest.raises(InputError, match="data.wrds.extracts must be a folder, found none at"):
        load_wrds(WrdsConfig(extracts=str(tmp_path / "none")))
    with pytest.raises(InputError, match=r"one file of crsp.msf_v2, called msf_v2 \(.parquet, .*found none in"):
        load_wrds(WrdsConfig(extracts=str(tmp_path)))
    for ending in ("csv", "parquet"):
        wrds_tables.write_extracts(tmp_path, tables("ciz"), ending)
    with pytest.raises(InputError, match="found msf_v2.csv, msf_v2.parquet in"):
        load_wrds(WrdsConfig(extracts=str(tmp_path)))


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    folder = wrds_tables.write_extracts(tmp_path / "extracts", tables("ciz"))
    file = folder / "msf_v2.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="msf_v2.parquet: must be a readable CSV or Parquet file") as error:
        load_wrds(WrdsConfig(extracts=str(folder)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"layout": "new"}, "data.wrds.layout must be one of ciz, legacy, found 'new'"),
        ({"exchanges": ("NYSE", "LSE")}, r"data.wrds.exchanges must be among NYSE, AMEX, NASDAQ, ARCA, found .*LSE"),
        ({"compustat": "annual"}, "data.wrds.items must be given with data.wrds.compustat and only with it"),
        ({"items": ("assets",)}, "data.wrds.items must be given with data.wrds.compustat and only with it"),
        ({"compustat": "annual", "items": ("roe",)}, "data.wrds.items must be among assets"),
        ({"lag_months": 0}, "data.wrds.lag_months must be at least 1, found 0"),
        ({"missing_delisting": "shumway"}, "data.wrds.missing_delisting must be 'missing' unless"),
        ({"link_types": ()}, "data.wrds.link_types must be at least one code"),
        ({"database": "mysql://me@host/db"}, "data.wrds.database must be a postgresql:// URL, found 'mysql://"),
        ({"database": "postgresql://me:hush@host/db"}, "data.wrds.database must be without a password"),
        ({"database": "postgresql"}, "data.wrds.database must be a postgresql:// URL"),
        ({"database": "postgresql:me:hush@host/db"}, "data.wrds.database must be a postgresql:// URL"),
        ({"database": "postgresql://me:hush@host\u2100/db"}, "must be a postgresql:// URL, found one that cannot be"),
        ({"database": "postgresql://me@host/db?password=hush"}, "data.wrds.database must be without a password"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused(keys, message):
    with pytest.raises(InputError, match=message) as error:
        WrdsConfig(**keys)
    assert "hush" not in str(error.value)


def test_only_the_columns_that_are_needed_are_asked_for():
    config = WrdsConfig(compustat="quarterly", items=("assets",), availability="rdq", industries="crsp")
    assert "rdq" in quarterly(config).columns and "atq" in quarterly(config).columns
    assert "sich" not in annual(config).columns
    assert "funda" not in [table.name for table in needed(config)]
    assert "at" not in annual(WrdsConfig()).columns and "sich" in annual(WrdsConfig()).columns


# -- PostgreSQL ------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    """A database of its own on the server that FINATTN_TEST_POSTGRES names, dropped at the end."""
    url = os.environ.get("FINATTN_TEST_POSTGRES")
    if not url:
        pytest.skip("FINATTN_TEST_POSTGRES names no PostgreSQL server, as .ci/run does")
    name = f"finattn_test_{os.getpid()}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.schema.DDL(f"CREATE DATABASE {name}"))
    own = sa.create_engine(sa.make_url(url).set(database=name), poolclass=sa.NullPool)
    for layout, frequency in KINDS:
        wrds_tables.write_database(own, tables(layout, frequency))
    yield own
    with engine.connect() as connection:
        connection.execute(sa.schema.DDL(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def of(server: sa.Engine, folder: Path, **keys) -> WrdsConfig:
    url = server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    keys = {"compustat": "annual", "items": ("assets", "rnd_to_sales"), "availability": "rdq"} | keys
    return WrdsConfig(database=url, extracts=str(folder), **keys)


@pytest.mark.parametrize("layout, frequency", KINDS)
@pytest.mark.parametrize("chunk", [7, 100_000])
def test_what_is_fetched_from_a_server_is_the_panel_of_extracts(
    server, tmp_path, layout, frequency, chunk, monkeypatch
):
    monkeypatch.setattr("finattn.data.wrds.database.CHUNK", chunk)
    config = of(server, tmp_path / "fetched", layout=layout, frequency=frequency)
    lines = []
    done = fetch(config, "2000-06-30", "2001-12-31", say=lines.append)
    assert not done.skipped and list(done.rows) == [table.name for table in needed(config)]
    folder = wrds_tables.write_extracts(tmp_path / "extracts", tables(layout, frequency))
    expected = load_wrds(replace(config, extracts=str(folder)), "2000-06-30", "2001-12-31")
    assert same(load_wrds(config), expected)
    assert lines[:2] == [f"{needed(config)[0].name}: reading crsp.{needed(config)[0].name}", lines[1]]


def test_a_table_that_is_there_already_is_not_read_again(server, tmp_path):
    config = of(server, tmp_path)
    first = fetch(config, "2000-01-01", None)
    (tmp_path / "funda.parquet").unlink()
    lines = []
    again = fetch(config, "2000-01-01", None, say=lines.append)
    assert list(again.rows) == ["funda"] and again.rows["funda"] == first.rows["funda"] == 8  # of the standard form
    assert set(again.skipped) == set(first.rows) - {"funda"} and "msf_v2: there already" in lines
    other = fetch(config, "2001-01-01", None)
    assert list(other.rows) == ["msf_v2"] and other.rows["msf_v2"] < first.rows["msf_v2"]
    assert not fetch(replace(config, database="postgresql://nobody@/none?host=/nowhere"), "2001-01-01", None).rows


def test_a_file_that_fetch_did_not_write_is_not_replaced(server, tmp_path):
    wrds_tables.write_extracts(tmp_path, {"funda": tables()["funda"]})
    before = (tmp_path / "funda.parquet").read_bytes()
    with pytest.raises(InputError, match="funda.parquet: data.wrds.extracts must not hold other files of funda"):
        fetch(of(server, tmp_path), None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["funda.parquet"]
    assert (tmp_path / "funda.parquet").read_bytes() == before


@pytest.mark.parametrize(
    "statement, undo, message",
    [
        ("ALTER TABLE crsp.msf_v2 RENAME TO gone", "ALTER TABLE crsp.gone RENAME TO msf_v2", "does not exist"),
        ("ALTER TABLE crsp.msf_v2 RENAME mthret TO gone", "ALTER TABLE crsp.msf_v2 RENAME gone TO mthret", "mthret"),
        ("SET ROLE nobody", "SELECT 1", "permission denied"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_clear_error(server, tmp_path, statement, undo, message):
    config = of(server, tmp_path)
    role = "nobody" in statement
    with server.begin() as connection:
        if role:
            connection.execute(sa.text("CREATE ROLE nobody LOGIN"))
            config = replace(config, database=config.database.replace("finattn@", "nobody@"))
        else:
            connection.execute(sa.text(statement))
    try:
        expected = f"must have the table crsp.msf_v2 with columns permno, .*, and let us read it, found: .*{message}"
        with pytest.raises(InputError, match=expected) as error:
            fetch(config, None, None)
        assert "\n" not in str(error.value) and not list(tmp_path.iterdir())
    finally:
        with server.begin() as connection:
            connection.execute(sa.text("DROP ROLE nobody" if role else undo))


def test_a_connection_that_breaks_leaves_no_half_of_a_table(server, tmp_path, monkeypatch):
    monkeypatch.setattr("finattn.data.wrds.database.CHUNK", 5)
    write, written = pq.ParquetWriter.write_table, []

    def end_the_connection(self, *arguments):
        written.append(write(self, *arguments))
        with server.begin() as connection:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", end_the_connection)
    with pytest.raises(InputError, match="must have the table crsp.msf_v2 .* found: .*terminat"):
        fetch(of(server, tmp_path), None, None)
    assert len(written) == 1 and not list(tmp_path.iterdir())


def test_a_server_that_does_not_answer_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hush")
    config = WrdsConfig(database="postgresql://me@127.0.0.1:1/wrds", extracts=str(tmp_path))
    with pytest.raises(
        InputError, match="must be a server that lets us in, found postgresql://me@127.0.0.1:1/wrds"
    ) as error:
        fetch(config, None, None)
    assert "hush" not in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_fetch_did_not_write_is_named_once(tmp_path):
    wrds_tables.write_extracts(tmp_path, {"funda": tables()["funda"]})
    with pytest.raises(InputError, match="funda.parquet: data.wrds.extracts must not hold other files") as error:
        fetch(WrdsConfig(database="postgresql://me@127.0.0.1:1/wrds", extracts=str(tmp_path)), None, None)
    assert str(error.value).count("funda.parquet") == 1


def test_fetch_needs_a_server_and_a_folder():
    with pytest.raises(InputError, match="data.wrds.database must be given"):
        fetch(WrdsConfig(extracts="here"), None, None)
    with pytest.raises(InputError, match="data.wrds.extracts must be given"):
        fetch(WrdsConfig(database="postgresql://me@host/wrds"), None, None)
