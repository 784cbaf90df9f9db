"""As-of joins hold what was known by then: by hand, against one written out in loops, and with the future deleted."""

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.data import asof
from finattn.data.asof import Rule
from finattn.data.rule import REASONS
from finattn.errors import InputError
from finattn.panel import Panel

some = settings(max_examples=60, deadline=None, derandomize=True)
NAN = float("nan")
DAYS = ["2016-02-26", "2016-03-01", "2016-05-09", "2016-05-10", "2016-08-09", "2017-03-01", "2017-06-30"]


def make_panel(days=DAYS, firms=("ALPHA", "BETA", "DELTA"), **fields) -> Panel:
    listed = np.ones((len(days), len(firms)), bool)
    listed[4:, 2:] = False
    return Panel(**({"dates": days, "firms": firms, "returns": np.zeros(listed.shape), "listed": listed} | fields))


# In no order, with repeats, amendments, late filings, a firm that is delisted and one that the panel does not have.
REPORTS = pd.DataFrame(
    [
        ("ALPHA", "2016-03-31", "2016-05-07", "False", 110.0, 60.0),  # 0 seen on a Saturday
        ("ALPHA", "2015-12-31", "2016-03-01", "False", 100.0, 50.0),  # 1
        ("ALPHA", "2015-12-31", "2016-03-01", "False", 100.0, 50.0),  # 2 repeats row 1
        ("ALPHA", "2015-12-31", "2016-05-10", "True", 95.0, None),  # 3 amends the old year after the new quarter is out
        ("ALPHA", "2016-03-31", "2016-08-09", "True", 111.0, None),  # 4 amends the quarter's assets only
        ("BETA", "2015-12-31", "2016-08-09", "False", 200.0, 80.0),  # 5 files the year half a year late
        ("BETA", "2016-06-30", "2016-08-09", "True", 212.0, 82.0),  # 6 amends, on the day of
        ("BETA", "2016-06-30", "2016-08-09", "False", 210.0, 81.0),  # 7 the report itself
        ("DELTA", "2016-03-31", "2016-05-10", "False", 290.0, 5.0),  # 8
        ("DELTA", "2015-09-30", "2015-11-16", "False", 300.0, 10.0),  # 9 is older than the panel
        ("GAMMA", "2015-12-31", "2016-03-01", "False", 1.0, 1.0),  # 10 is no firm of the panel
        ("ALPHA", "2017-06-30", "2017-08-01", "False", 130.0, 70.0),  # 11 comes after the panel
    ],
    columns=["firm", "period_end", "available", "amend", "assets", "equity"],
)
RULE = Rule(amended="amend")


def look_up(table=REPORTS, columns=("assets", "equity"), stale_after="12M", panel=None, **rule):
    rule = Rule(**({"amended": "amend"} | rule))
    return asof.look_up(panel or make_panel(), table, columns, stale_after=stale_after, rule=rule)


def at(found, firm: str, day: str) -> list[float]:
    return found.values[DAYS.index(day), ["ALPHA", "BETA", "DELTA"].index(firm)].tolist()


# -- by hand ------------------------------------------------------------


@pytest.mark.parametrize(
    "firm, day, assets, equity, row",
    [
        ("ALPHA", "2016-02-26", NAN, NAN, -1),  # nothing is out
        ("ALPHA", "2016-03-01", 100, 50, 2),  # known at the close of the day
        ("ALPHA", "2016-05-09", 110, 60, 0),  # Saturday's report on Monday
        ("ALPHA", "2016-05-10", 110, 60, 0),  # the old year's amendment does not displace the newer quarter
        ("ALPHA", "2016-08-09", 111, NAN, 4),  # the amendment wins, and it has no equity
        ("ALPHA", "2017-03-01", 111, NAN, 4),  # eleven months old
        ("ALPHA", "2017-06-30", NAN, NAN, 4),  # fifteen months old
        ("BETA", "2016-05-10", NAN, NAN, -1),  # late
        ("BETA", "2016-08-09", 212, 82, 6),  # three rows on a day: the newest period, then the amendment
        ("BETA", "2017-06-30", 212, 82, 6),  # twelve months old to the day
        ("DELTA", "2016-02-26", 300, 10, 9),  # known before the panel begins
        ("DELTA", "2016-05-10", 290, 5, 8),
        ("DELTA", "2016-08-09", NAN, NAN, 8),  # delisted
    ],
)
def test_a_firm_date_holds_what_was_known_at_its_close(firm, day, assets, equity, row):
    found = look_up()
    np.testing.assert_array_equal(at(found, firm, day), [assets, equity])
    assert found.row[DAYS.index(day), ["ALPHA", "BETA", "DELTA"].index(firm)] == row


def test_every_row_is_accounted_for():
    counts = look_up().counts
    assert counts == {
        "rows": 12, "of_unknown_firms": 1, "without_availability": 0, "without_period": 0,
        "period_after_availability": 0, "duplicates": 1, "after_the_panel": 1, "never_newest": 3, "newest": 6,
        "unknown_firms": 1, "firms_without_rows": 0, "stale_firm_dates": 1,
    }  # fmt: skip


def test_the_latest_available_wins_where_that_is_asked_for():
    found = look_up(prefer="available")
    np.testing.assert_array_equal(at(found, "ALPHA", "2016-05-10"), [95, NAN])
    np.testing.assert_array_equal(at(found, "BETA", "2016-08-09"), [212, 82])


@pytest.mark.parametrize(
    "rule, firm, day, expected",
    [
        ({"look_back": "period"}, "ALPHA", "2016-08-09", [111, 60]),
        ({"look_back": "any"}, "ALPHA", "2016-08-09", [111, 60]),
        ({"look_back": "any", "prefer": "available"}, "ALPHA", "2016-05-10", [95, 60]),
        ({"look_back": "any"}, "ALPHA", "2017-06-30", [NAN, NAN]),  # what is looked up is stale too
    ],
)
def test_a_missing_number_is_looked_up_in_older_rows_where_that_is_asked_for(rule, firm, day, expected):
    np.testing.assert_array_equal(at(look_up(**rule), firm, day), expected)


def test_looking_back_within_a_period_does_not_reach_an_older_one():
    table = REPORTS.assign(equity=REPORTS["equity"].where(REPORTS["period_end"] == "2015-12-31"))
    np.testing.assert_array_equal(at(look_up(table, look_back="period"), "ALPHA", "2016-08-09"), [111, NAN])
    np.testing.assert_array_equal(at(look_up(table, look_back="any"), "ALPHA", "2016-08-09"), [111, 50])


@pytest.mark.parametrize(
    "rule, day, assets",
    [
        ({"delay_rows": 1}, "2016-03-01", NAN),
        ({"delay_rows": 1}, "2016-05-09", 100),
        ({"delay_rows": 1}, "2016-05-10", 110),
        ({"delay_days": 2}, "2016-05-09", 110),  # Saturday and two days is Monday
        ({"delay_days": 3}, "2016-05-09", 100),
        ({"delay_days": 3}, "2016-05-10", 110),
        ({"delay_days": 3, "delay_rows": 1}, "2016-05-10", 100),
    ],
)
def test_a_delay_is_days_then_rows(rule, day, assets):
    np.testing.assert_array_equal(at(look_up(**rule), "ALPHA", day)[:1], [assets])


@pytest.mark.parametrize(
    "stale_after, stale_from, day, assets",
    [
        (61, "period", "2016-03-01", 100),  # 2015-12-31 and 61 days is 2016-03-01
        (60, "period", "2016-03-01", NAN),
        ("2M", "period", "2016-03-01", NAN),  # 2015-12-31 and 2 months is 2016-02-29
        ("3M", "period", "2016-03-01", 100),
        (0, "available", "2016-03-01", 100),
        ("1W", "available", "2016-05-10", 110),
        ("1D", "available", "2016-05-10", NAN),
        ("1Y", "period", "2017-03-01", 111),
        ("1Y", "period", "2017-06-30", NAN),
        (None, "period", "2017-06-30", 111),
        ("10M", "available", "2017-06-30", NAN),  # 2016-08-09 and 10 months is 2017-06-09
        ("11M", "available", "2017-06-30", 111),
    ],
)
def test_an_old_value_is_missing(stale_after, stale_from, day, assets):
    found = look_up(stale_after=stale_after, stale_from=stale_from)
    np.testing.assert_array_equal(at(found, "ALPHA", day)[:1], [assets])


def test_a_report_after_the_close_is_known_on_the_next_date():
    times = ["2016-05-09 15:59:59", "2016-05-09 16:00", "2016-05-09 20:15", "2016-05-10"]
    table = pd.DataFrame({"firm": "ALPHA", "available": times, "period_end": "2016-03-31", "assets": [1.0, 2, 3, 4]})
    found = asof.look_up(make_panel(), table.iloc[:3], ["assets"], stale_after=None, rule=Rule(close="16:00"))
    assert found.values[2:4, 0, 0].tolist() == [1, 3]
    found = asof.look_up(make_panel(), table, ["assets"], stale_after=None, rule=Rule(close="16:00"))
    assert found.values[2:4, 0, 0].tolist() == [1, 4]
    with pytest.raises(InputError, match=r"available must be whole days unless Rule\(close=.*2016-05-09 15:59:59 in"):
        asof.look_up(make_panel(), table, ["assets"], stale_after=None)


def test_rows_that_cannot_be_placed_are_refused_or_dropped_and_counted():
    table = REPORTS.copy()
    table.loc[1, "available"], table.loc[2, "period_end"], table.loc[4, "period_end"] = None, "", "2016-12-31"
    found = look_up(table, unusable="drop")
    names = ("without_availability", "without_period", "period_after_availability", "duplicates")
    assert [found.counts[name] for name in names] == [1, 1, 1, 0]
    np.testing.assert_array_equal(found.values[:4, 0, 0], [NAN, NAN, 110, 110])
    assert sum(found.counts[name] for name in REASONS) == found.counts["rows"] == 12


def test_daily_values_are_joined_on_their_own_day():
    table = pd.DataFrame({"date": ["2016-03-01", "2016-05-08", "2016-05-09"], "firm": "ALPHA", "price": [1.0, 2, 3]})
    rule = Rule(available="date", period=None)
    for stale_after, expected in ((0, [NAN, 1, 3, NAN]), (1, [NAN, 1, 3, 3])):
        found = asof.look_up(make_panel(), table, ["price"], stale_after=stale_after, rule=rule)
        np.testing.assert_array_equal(found.values[:4, 0, 0], expected)


def test_a_table_of_no_usable_row_gives_nothing():
    table = REPORTS.iloc[[11]]
    for look_back in ("none", "period", "any"):
        found = look_up(table, look_back=look_back)
        assert np.isnan(found.values).all() and (found.row == -1).all() and found.counts["after_the_panel"] == 1
        found = look_up(table.assign(available=None), unusable="drop", look_back=look_back)
        assert np.isnan(found.values).all() and found.counts["firms_without_rows"] == 3


@pytest.mark.parametrize(
    "column",
    [
        pd.to_datetime(REPORTS["available"]),
        [datetime.date.fromisoformat(day) for day in REPORTS["available"]],
        [int(day.replace("-", "")) for day in REPORTS["available"]],
        [float(day.replace("-", "")) for day in REPORTS["available"]],
        [day.replace("-", "") for day in REPORTS["available"]],
    ],
)
def test_days_are_read_from_other_types(column):
    np.testing.assert_array_equal(look_up(REPORTS.assign(available=column)).values, look_up().values)


def test_firms_and_flags_are_read_from_other_types():
    panel = make_panel(firms=("10", "7", "3"))
    number = REPORTS["firm"].map({"ALPHA": 10, "BETA": 7, "DELTA": 3, "GAMMA": 5})
    flags = REPORTS["amend"] == "True"
    for firm in (number, number.astype(float), number.astype(str), number.astype("category")):
        for amend in (flags, flags.astype(int), flags.astype(float), flags.where(flags, None), flags.astype("boolean")):
            found = look_up(REPORTS.assign(firm=firm, amend=amend), panel=panel)
            np.testing.assert_array_equal(found.values, look_up().values)


# -- into a panel ------------------------------------------------------------


def test_a_join_appends_features_and_says_what_it_did(tmp_path):
    panel = make_panel(features=np.ones((7, 3, 1), np.float32), feature_names=["momentum"], source={"name": "toy"})
    joined = asof.join(panel, REPORTS, {"assets": "book_assets"}, stale_after="12M", rule=RULE)
    assert joined.feature_names == ("momentum", "book_assets") and joined.features.dtype == np.float32
    np.testing.assert_array_equal(joined.features[..., 1], look_up(columns=["assets"]).values[..., 0])
    assert (joined.features[..., 0] == 1).all() and joined.source["name"] == "toy"
    again = asof.join(joined, REPORTS, ["equity"], stale_after=np.int64(365), rule=Rule(delay_rows=np.int64(1)))
    notes = again.source["as_of_joins"]
    assert [note["columns"] for note in notes] == [{"assets": "book_assets"}, {"equity": "equity"}]
    assert [note["stale_after"] for note in notes] == ["12M", 365] and notes[1]["rule"]["delay_rows"] == 1
    assert notes[0]["counts"] == look_up(columns=["assets"]).counts
    assert Panel.load(again.save(tmp_path / "panel")).fingerprint == again.fingerprint


def test_features_of_a_panel_without_any_are_exact():
    joined = asof.join(make_panel(), REPORTS.assign(assets=2**40 + 1.0), ["assets"], stale_after=None)
    assert joined.features.dtype == np.float64 and joined.features[2, 0, 0] == 2**40 + 1


def test_a_name_that_the_panel_has_is_refused():
    panel = asof.join(make_panel(), REPORTS, ["assets"], stale_after=None)
    with pytest.raises(InputError, match="feature_names must be unique"):
        asof.join(panel, REPORTS, ["assets"], stale_after=None)
    with pytest.raises(InputError, match="must not be names of panel fields, found 'price'"):
        asof.join(panel, REPORTS, {"assets": "price"}, stale_after=None)


# -- against loops, and with the future deleted ------------------------------------------------------------

BEGIN = np.datetime64("2020-01-01")
FIRMS = ("A", "B", "C")


@st.composite
def situations(draw):
    """Draw a panel, a table of reports in no order, and a rule."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dates = BEGIN + np.sort(random.choice(120, draw(st.integers(1, 8)), replace=False))
    listed = random.random((len(dates), 3)) < draw(st.sampled_from([0.7, 1.0]))
    panel = Panel(dates=dates, firms=FIRMS, returns=np.zeros(listed.shape), listed=listed)
    count = draw(st.integers(0, 30))
    day = BEGIN + random.integers(-40, 130, count)
    close = draw(st.sampled_from([None, "16:00"]))
    stamp = pd.Series(day.astype("M8[s]") + (random.integers(0, 24, count) * 3600 if close else 0))
    table = pd.DataFrame(
        {
            "firm": random.choice([*FIRMS, "Z"], count),
            "available": stamp.mask(random.random(count) < 0.05),
            "period_end": pd.Series((day - random.choice([-5, 0, 20, 50, 80], count)).astype("M8[s]")),
            "amend": random.random(count) < 0.3,
            "x": np.where(random.random(count) < 0.3, np.nan, random.integers(0, 4, count)),
            "y": random.standard_normal(count),
        }
    )
    past = {"available": pd.Timestamp("1990-05-01"), "period_end": pd.Timestamp("1990-03-31")}
    past |= {"firm": ["A"], "amend": False, "x": 9.0, "y": 9.0}  # a row is left when the future is deleted
    table = pd.concat([table, pd.DataFrame(past)])
    prefer = draw(st.sampled_from(["period", "available"]))
    rule = Rule(
        amended="amend",
        prefer=prefer,
        look_back=draw(st.sampled_from(["none", "any", "period" if prefer == "period" else "none"])),
        stale_from=draw(st.sampled_from(["period", "available"])),
        unusable="drop",
        close=close,
        delay_days=draw(st.sampled_from([0, 0, 3])),
        delay_rows=draw(st.sampled_from([0, 0, 2])),
    )
    return panel, table.reset_index(drop=True), rule, draw(st.sampled_from([None, 0, 30, 90]))


def join(panel, table, rule, stale_after):
    return asof.look_up(panel, table, ["x", "y"], stale_after=stale_after, rule=rule).values


def written_out(panel, table, rule, stale_after):
    """Join in loops, a firm-date and a column at a time."""
    values = np.full((*panel.shape, 2), np.nan)
    for t, n in np.argwhere(panel.listed):
        known = []
        for place, row in enumerate(table.itertuples()):
            if row.firm != FIRMS[n] or pd.isna(row.available) or row.period_end > row.available.normalize():
                continue
            day = row.available.normalize() + pd.Timedelta(days=rule.delay_days)
            day += pd.Timedelta(days=int(rule.close is not None and row.available.hour >= 16))
            first = next((i for i, date in enumerate(panel.dates) if date >= day), len(panel))
            if first + rule.delay_rows <= t:
                pair = (row.period_end, row.available)
                known.append((*(pair if rule.prefer == "period" else pair[::-1]), row.amend, place))
        for f, name in enumerate("xy"):
            places = [key[-1] for key in sorted(known)]
            if rule.look_back == "period" and places:
                newest = table["period_end"][places[-1]]
                places = [place for place in places if table["period_end"][place] == newest]
            if rule.look_back != "none":
                places = [place for place in places if not np.isnan(table[name][place])]
            if places:
                place = places[-1]
                basis = table["period_end" if rule.stale_from == "period" else "available"][place].normalize()
                if stale_after is None or (pd.Timestamp(panel.dates[t]) - basis).days <= stale_after:
                    values[t, n, f] = table[name][place]
    return values


@some
@given(situations())
def test_a_join_equals_one_written_out_in_loops(situation):
    np.testing.assert_array_equal(join(*situation), written_out(*situation))


@some
@given(situations())
def test_deleting_everything_after_t_changes_nothing_at_or_before_t(situation):
    panel, table, rule, stale_after = situation
    whole = join(panel, table, rule, stale_after)
    for t, date in enumerate(panel.dates):
        past = table[table["available"] < pd.Timestamp(date) + pd.Timedelta(days=1)]
        np.testing.assert_array_equal(join(panel[: t + 1], past, rule, stale_after), whole[: t + 1])


@some
@given(situations(), st.integers(0, 2**32 - 1))
def test_changing_everything_after_t_changes_nothing_at_or_before_t(situation, seed):
    panel, table, rule, stale_after = situation
    whole, random = join(panel, table, rule, stale_after), np.random.default_rng(seed)
    for t, date in enumerate(panel.dates):
        other, later = table.copy(), (table["available"] >= pd.Timestamp(date) + pd.Timedelta(days=1)).to_numpy()
        other.loc[later, "x"] = random.standard_normal(later.sum())
        other.loc[later, "period_end"] = other.loc[later, "available"].dt.normalize()
        other.loc[later, "firm"] = random.choice(FIRMS, later.sum())
        listed = panel.listed & (np.arange(len(panel)) <= t)[:, None]
        changed = join(panel.replace(listed=listed), other, rule, stale_after)
        np.testing.assert_array_equal(changed[: t + 1], whole[: t + 1])


@some
@given(situations(), st.integers(0, 2**32 - 1))
def test_rows_come_in_any_order_where_no_two_are_equal_in_rank(situation, seed):
    panel, table, rule, stale_after = situation
    table = table.drop_duplicates(["firm", "available", "period_end", "amend"])
    other = table.sample(frac=1, random_state=np.random.default_rng(seed))
    np.testing.assert_array_equal(join(panel, table, rule, stale_after), join(panel, other, rule, stale_after))


# -- industries ------------------------------------------------------------

CODES = pd.DataFrame(
    [
        ("BETA", 2834, "2016-05-10", None),
        ("ALPHA", 3571, "2010-01-01", "2016-05-09"),
        ("ALPHA", 7372, "2016-05-10", "2017-03-01"),
        ("DELTA", 6021, "2000-01-01", "9999-12-31"),
        ("DELTA", None, "1990-01-01", "1999-12-31"),
        ("GAMMA", 1311, "2000-01-01", None),
        ("BETA", 1000, "2014-01-01", "2015-12-31"),
    ],
    columns=["firm", "sic", "start", "end"],
)


def test_codes_change_over_time_and_are_those_of_the_date():
    found = asof.spans(make_panel(), CODES)
    assert found.codes[:, 0].tolist() == [3571, 3571, 3571, 7372, 7372, 7372, 0]
    assert found.codes[:, 1].tolist() == [0, 0, 0, 2834, 2834, 2834, 2834]
    assert found.codes[:, 2].tolist() == [6021] * 4 + [0] * 3  # 0 once it is delisted
    assert found.codes.dtype == np.int32
    assert found.counts == {
        "rows": 7, "of_unknown_firms": 1, "without_code": 1, "outside_the_panel": 1, "used": 4, "unknown_firms": 1,
        "overlaps": 0, "uncoded": 4,
    }  # fmt: skip


def test_two_codes_at_a_time_are_refused_or_the_later_wins():
    table = pd.concat([CODES, pd.DataFrame([("ALPHA", 7370, "2016-03-01", "2016-05-09")], columns=CODES.columns)])
    message = r"one code at a time, found 3571 and 7370 for ALPHA on 2016-03-01 \(row 7\); overlap='latest'"
    with pytest.raises(InputError, match=message):
        asof.spans(make_panel(), table)
    found = asof.spans(make_panel(), table, overlap="latest")
    assert found.codes[:, 0].tolist() == [3571, 7370, 7370, 7372, 7372, 7372, 0] and found.counts["overlaps"] == 2


@pytest.mark.parametrize("end", [None, np.nan, 99991231, "99991231", "9999-12-31", datetime.date(9999, 12, 31)])
def test_a_code_without_an_end_is_valid_until_today(end):
    table = CODES.assign(end=CODES["end"].astype(object).where(CODES["firm"] != "DELTA", end)).iloc[[0, 3, 5]]
    np.testing.assert_array_equal(asof.spans(make_panel(), table).codes[:4, 2], 6021)
    table = pd.DataFrame({"firm": ["DELTA", "BETA"], "sic": 6021, "start": 20000101, "end": [end, end]})
    np.testing.assert_array_equal(asof.spans(make_panel(), table).codes[:, 1], 6021)


def test_two_stretches_of_one_code_are_no_conflict():
    table = pd.concat([CODES, CODES.iloc[[1]].assign(start="2016-03-01")])
    np.testing.assert_array_equal(asof.spans(make_panel(), table).codes, asof.spans(make_panel(), CODES).codes)


@some
@given(st.integers(0, 2**32 - 1))
def test_codes_equal_those_found_in_loops_and_do_not_change_when_the_future_is_deleted(seed):
    random = np.random.default_rng(seed)
    dates = BEGIN + np.sort(random.choice(120, 6, replace=False))
    panel = Panel(dates=dates, firms=FIRMS, returns=np.zeros((6, 3)))
    first = BEGIN + random.integers(-30, 120, 9)
    last = pd.Series((first + random.integers(0, 60, 9)).astype("M8[s]")).mask(random.random(9) < 0.2)
    table = pd.DataFrame({"firm": random.choice(FIRMS, 9), "sic": random.integers(0, 4, 9), "end": last})
    table["start"] = pd.Series(first.astype("M8[s]"))
    codes = asof.spans(panel, table, overlap="latest").codes
    for t, day in enumerate(pd.DatetimeIndex(dates)):
        valid = table[(table["start"] <= day) & ~(table["end"] < day) & (table["sic"] != 0)]
        valid = valid.sort_values("start", kind="stable").groupby("firm")["sic"].last()
        assert codes[t].tolist() == [valid.get(firm, 0) for firm in FIRMS]
        past = table[table["start"] <= day]
        past = past.assign(end=past["end"].mask(past["end"] > day))
        if len(past):
            np.testing.assert_array_equal(asof.spans(panel[: t + 1], past, overlap="latest").codes, codes[: t + 1])


# -- refusals ------------------------------------------------------------


def changed(row, **values):
    table = REPORTS.astype(object)
    for name, value in values.items():
        table.loc[row, name] = value
    return table


REFUSALS = {
    "no column": (
        lambda: look_up(columns=["assets", "sales"]),
        "must have columns firm, available, .*; found no sales",
    ),
    "no availability": (lambda: look_up(REPORTS.drop(columns="available")), "found no available"),
    "text for columns": (lambda: look_up(columns="assets"), "sequence of at least one name, each once, found 'assets'"),
    "no columns": (lambda: look_up(columns=[]), "at least one name, each once, found"),
    "a column twice": (lambda: look_up(columns=["assets", "assets"]), "at least one name, each once"),
    "columns of one name": (
        lambda: look_up(pd.concat([REPORTS, REPORTS[["assets"]]], axis=1)),
        "unique, found more than one 'assets'",
    ),
    "no rows": (lambda: look_up(REPORTS.iloc[:0]), "at least one row, found none"),
    "no firm": (lambda: look_up(changed(3, firm=None)), "firm must be given in every row, found none in row 3"),
    "other firms": (
        lambda: look_up(REPORTS.iloc[[10]]),
        "firm must hold firms of the panel, such as 'ALPHA', found only others: 'GAMMA'",
    ),
    "not available": (
        lambda: look_up(changed(5, available=None)),
        r"available must be given in every row, found none in 1 rows, the first of firm BETA \(row 5\); Rule\(unusable",
    ),
    "no period": (
        lambda: look_up(changed(5, period_end=None)),
        r"period_end must be given in every row, found none in 1 rows, the first of firm BETA \(row 5\)",
    ),
    "period in the future": (
        lambda: look_up(changed([8, 9], period_end="2018-01-01")),
        r"period_end must not be after available, found a later one in 2 rows, the first of firm DELTA \(row 8\)",
    ),
    "no day": (
        lambda: look_up(changed(2, available="soon")),
        "available must read like '2001-05-31', found 'soon' in r",
    ),
    "a month": (lambda: look_up(changed(2, period_end="2015-12")), "period_end must read like .*'2015-12' in row 2"),
    "American": (lambda: look_up(changed(2, available="03/01/2016")), "found '03/01/2016' in row 2"),
    "a number": (lambda: look_up(REPORTS.assign(available=1_456_790_400)), "found '1456790400' in row 0"),
    "a zone": (
        lambda: look_up(REPORTS.assign(available=pd.to_datetime(REPORTS["available"], utc=True))),
        "exchange time without a time zone, found time zone UTC",
    ),
    "zones": (
        lambda: look_up(changed([1, 2], available=["2016-03-01T00:00+01:00", "2016-03-01T00:00+02:00"])),
        "available must",
    ),
    "text": (lambda: look_up(changed(6, assets="n/a")), "column 'assets' must hold finite numbers .*'n/a' in row 6"),
    "infinite": (lambda: look_up(changed(6, assets=np.inf)), "must hold finite numbers or none, found inf in row 6"),
    "dates for numbers": (
        lambda: look_up(REPORTS.assign(assets=pd.Timestamp("2016"))),
        "must be numeric, found datetime",
    ),
    "flag": (lambda: look_up(changed(4, amend="perhaps")), "amend must be true or false, found 'perhaps' in row 4"),
    "stale unit": (lambda: look_up(stale_after="15 months"), "stale_after must be days, or text .* found '15 months'"),
    "stale before": (lambda: look_up(stale_after=-1), "stale_after must be days, .* found -1"),
    "stale flag": (lambda: look_up(stale_after=True), "stale_after must be days, .* found True"),
    "prefer": (lambda: Rule(prefer="newest"), "prefer must be one of period, available, found 'newest'"),
    "look back": (lambda: Rule(look_back="all"), "look_back must be one of none, period, any, found 'all'"),
    "look back in nothing": (lambda: Rule(look_back="period", period=None), "must go with a column of periods"),
    "unusable": (lambda: Rule(unusable="keep"), "unusable must be one of refuse, drop, found 'keep'"),
    "delay": (lambda: Rule(delay_rows=-1), "delay_rows must be a whole number from 0, found -1"),
    "half a day": (lambda: Rule(delay_days=0.5), "delay_days must be a whole number, found 0.5"),
    "close": (lambda: Rule(close="4 pm"), "close must be a time such as '16:00', found '4 pm'"),
    "overlap": (lambda: asof.spans(make_panel(), CODES, overlap="first"), "one of refuse, latest, found 'first'"),
    "no start": (
        lambda: asof.spans(make_panel(), CODES.assign(start=CODES["start"].where(CODES["firm"] != "BETA"))),
        r"start must be given in every row, found none in 2 rows, the first of firm BETA \(row 0\)",
    ),
    "backwards": (
        lambda: asof.spans(make_panel(), CODES.assign(end="2009-12-31")),
        r"end must not be before start, found an earlier day in 4 rows, the first of firm BETA \(row 0\)",
    ),
    "a code of letters": (lambda: asof.spans(make_panel(), CODES.assign(sic="J")), "must hold integer codes"),
    "no code": (lambda: asof.spans(make_panel(), CODES, "naics"), "must have columns .*; found no naics"),
}


@pytest.mark.filterwarnings("ignore:.*mixed time zones:FutureWarning")  # of pandas before 3
@pytest.mark.parametrize("call, message", REFUSALS.values(), ids=REFUSALS.keys())
def test_what_cannot_be_joined_is_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keys", [{"period": ["x"]}, {"period": {}}, {"amended": [1]}, {"firm": None}])
def test_a_rule_of_another_kind_is_refused(keys):
    with pytest.raises(InputError, match=f"{next(iter(keys))} must be text"):
        Rule(**keys)
