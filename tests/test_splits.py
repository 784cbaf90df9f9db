"""One splitter: purged, embargoed, and never a forecast before its labels were known."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.errors import InputError
from finattn.splits import WalkForward, decision_mask, label_overlap

few = settings(max_examples=30, deadline=None, derandomize=True)
DAYS = np.arange("2000-01-01", "2004-01-01", dtype="datetime64[D]")
TRADED = DAYS[np.is_busday(DAYS, holidays=["2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2002-12-31"])]
WINDOWS = st.one_of(st.integers(40, 300), st.sampled_from(["3M", "20W", "1Y", "100D"]))
SCHEDULES = ["daily", "weekly", "month-end", "quarter-end"]


@few
@given(
    test=WINDOWS,
    valid=WINDOWS,
    train=st.none() | WINDOWS,
    horizon=st.integers(1, 21),
    delay=st.integers(0, 1),
    embargo=st.integers(0, 10),
    start=st.integers(0, 60),
    decisions=st.sampled_from(SCHEDULES),
    every=st.integers(1, 9),
)
def test_every_label_is_known_before_the_first_forecast_it_serves(
    test, valid, train, horizon, delay, embargo, start, decisions, every
):
    splitter = WalkForward("2002-03-03", test, valid, train, horizon, delay, embargo, decisions, start, every)
    gap = horizon + delay + embargo
    folds = list(splitter.split(TRADED))
    first = np.searchsorted(TRADED, np.datetime64("2002-03-03"))
    edges = [first]
    for number, fold in enumerate(folds):
        assert fold.number == number
        assert fold.train[-1] + gap <= fold.valid[0] and fold.valid[-1] + gap <= fold.test[0]
        assert (np.diff(fold.train) == every).all() and (np.diff(fold.valid) == 1).all()
        assert fold.train[0] >= start
        edges.append(fold.test[-1])
    # Test windows hold every decision date from the first on, once, in order.
    expected = np.flatnonzero(decision_mask(TRADED, decisions) & (np.arange(len(TRADED)) >= first))
    np.testing.assert_array_equal(np.concatenate([fold.test for fold in folds]), expected)


@pytest.mark.parametrize("gap", [{"horizon": 5}, {"horizon": 4, "delay": 1}, {"horizon": 2, "embargo": 3}])
def test_nothing_is_purged_that_need_not_be(gap):
    for fold in WalkForward("2002-01-01", 250, 100, 300, **gap).split(TRADED):
        first = fold.test[0]
        assert fold.valid[-1] == first - 5 and fold.valid[0] == first - 100
        assert fold.train[-1] == first - 105 and fold.train[0] == first - 400


@pytest.mark.parametrize("every", [2, 5, 7, 10_000])
@pytest.mark.parametrize("train", [None, "1Y", 301])
def test_every_kth_row_is_trained_on_counted_back_from_the_last(every, train):
    given = {"first_test": "2002-01-01", "test": "6M", "valid": "3M", "train": train, "horizon": 5, "start": 17}
    whole, thinned = (list(WalkForward(**given, train_every=k).split(TRADED)) for k in (1, every))
    assert len(whole) == len(thinned) == 4
    for one, other in zip(whole, thinned, strict=True):
        np.testing.assert_array_equal(other.train, one.train[::-1][::every][::-1])
        assert other.train[-1] == one.train[-1] and other.train[0] - one.train[0] < every
        np.testing.assert_array_equal(other.valid, one.valid)
        np.testing.assert_array_equal(other.test, one.test)


def test_an_expanding_window_begins_at_the_start_and_a_rolling_one_moves():
    expanding = list(WalkForward("2002-01-01", "6M", "3M", start=17).split(TRADED))
    rolling = list(WalkForward("2002-01-01", "6M", "3M", "1Y").split(TRADED))
    assert len(expanding) == len(rolling) == 4
    assert [fold.train[0] for fold in expanding] == [17] * 4
    begins = [TRADED[fold.train[0]].astype(str) for fold in rolling]
    assert begins == ["2000-10-02", "2001-04-02", "2001-10-01", "2002-04-01"]
    for one, other in zip(expanding, rolling, strict=True):
        np.testing.assert_array_equal(one.test, other.test)
        np.testing.assert_array_equal(one.valid, other.valid)
        assert one.train[-1] == other.train[-1]


def test_calendar_windows_are_counted_from_the_first_test_day():
    folds = list(WalkForward("2001-01-31", "1M", "2M").split(DAYS))
    firsts = [DAYS[fold.test[0]].astype(str) for fold in folds[:4]]
    assert firsts == ["2001-01-31", "2001-02-28", "2001-03-31", "2001-04-30"]
    assert DAYS[folds[1].valid[0]].astype(str) == "2000-12-28"


def test_a_count_of_rows_counts_rows():
    folds = list(WalkForward("2003-01-01", 100, "50", 200).split(TRADED))
    assert [len(fold.test) for fold in folds][:-1] == [100] * (len(folds) - 1)
    assert folds[0].test[0] - folds[0].valid[0] == 50


def test_a_stub_without_a_decision_is_no_fold():
    folds = list(WalkForward("2002-01-01", "3M", "6M", decisions="quarter-end").split(TRADED[:-3]))
    assert [len(fold.test) for fold in folds] == [1] * 7  # the last quarter's end lies after the panel's
    assert [fold.number for fold in folds] == list(range(7))


def test_split_does_not_look_at_what_comes_later():
    whole = WalkForward("2002-01-01", "6M", "3M", "1Y", horizon=5)
    short = list(whole.split(TRADED[:800]))
    for one, other in zip(short[:-1], whole.split(TRADED), strict=False):
        for rows in ("train", "valid", "test"):
            np.testing.assert_array_equal(getattr(one, rows), getattr(other, rows))


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"first_test": "2030-01-01"}, "must not be empty, found splits.first_test 2030-01-01 after .*2003"),
        ({"first_test": "soon"}, "splits.first_test must be a day such as '2000-01-01', found 'soon'"),
        ({"first_test": ""}, "splits.first_test must be a day"),
        ({"first_test": "1990-01-01"}, "must not lie before the first date 2000-01-03, found 1990-01-01"),
        ({"first_test": "2000-06-01", "valid": "2Y"}, "must have train dates, found none for fold 0"),
        ({"valid": 5, "horizon": 10}, "must have valid dates, found none for fold 0.*gaps of 10 rows"),
        ({"train": 5, "horizon": 10}, "must have train dates"),
        ({"start": 500}, "must have train dates.*500 rows of warm-up"),
        ({"horizon": 5000}, r"target.horizon must leave dates .*= 5000 rows on a panel of 1038"),
        ({"decisions": "yearly"}, "splits.decisions must be daily, weekly, month-end, quarter-end, found 'yearly'"),
        ({"first_test": "2003-12-30", "decisions": "quarter-end", "test": 1}, "no quarter-end decision from 2003"),
        ({"test": 0}, "a window must be at least one row long, found 0"),
        ({"test": "0Y"}, "a window must be at least one row long, found '0Y'"),
        ({"test": ""}, "a window must be a count of rows or read like '4Y'.*found ''"),
        ({"test": "4X"}, "found '4X'"),
        ({"test": "Y"}, "found 'Y'"),
        ({"valid": "-1Y"}, "found '-1Y'"),
        ({"valid": 2.5}, "found 2.5"),
        ({"train": "1.5Y"}, "found '1.5Y'"),
        ({"train": "\N{SUPERSCRIPT TWO}"}, "found"),
        ({"test": "9999Y"}, "must end in a year from 1 to 9999"),
        ({"train": "9999Y"}, "must end in a year from 1 to 9999"),
        ({"test": "9" * 30 + "Y"}, "must be at most 99999 long"),
    ],
)  # fmt: skip
def test_refuses_windows_that_hold_nothing(fields, message):
    dates = TRADED[:-1] if "quarter-end" in str(fields) else TRADED
    with pytest.raises(InputError, match=message):
        list(WalkForward(**({"first_test": "2002-01-01", "test": "6M", "valid": "6M"} | fields)).split(dates))


@pytest.mark.parametrize(
    "field, value", [("horizon", 0), ("delay", -1), ("embargo", -5), ("start", -1), ("train_every", 0)]
)
def test_refuses_gaps_that_would_leak(field, value):
    with pytest.raises(InputError, match=f"{field} must be at least .* rows, found {value}"):
        WalkForward("2002-01-01", **{field: value})


def test_no_dates_have_no_folds():
    with pytest.raises(InputError, match="panel of 0"):
        list(WalkForward("2002-01-01").split(TRADED[:0]))


# -- decisions ------------------------------------------------------------


def test_a_week_with_a_holiday_is_decided_on_its_last_traded_day():
    decided = TRADED[decision_mask(TRADED, "weekly")].astype(str)
    assert "2001-09-10" in decided  # the exchange stayed shut until Monday the 17th
    assert len({pd.Period(day, "W") for day in decided}) == len(decided)


def test_months_and_quarters_end_on_their_last_traded_day():
    months = TRADED[decision_mask(TRADED, "month-end")]
    expected = pd.Series(TRADED).groupby(pd.DatetimeIndex(TRADED).to_period("M")).max().to_numpy("datetime64[D]")
    np.testing.assert_array_equal(months, expected)
    assert "2002-12-30" in months.astype(str)
    quarters = TRADED[decision_mask(TRADED, "quarter-end")]
    np.testing.assert_array_equal(quarters, expected[2::3])


@pytest.mark.parametrize(
    "last, weekly, monthly",
    [
        ("2021-12-29", False, False),
        ("2021-12-30", False, False),
        ("2021-12-31", True, True),  # a Friday
        ("2022-01-03", False, False),
        ("2022-04-29", True, True),  # the 30th is a Saturday: no later weekday in April
        ("2022-04-28", False, False),
    ],
)
def test_the_last_row_is_judged_by_the_calendar(last, weekly, monthly):
    dates = np.arange(np.datetime64(last) - 9, np.datetime64(last) + 1)
    dates = dates[np.is_busday(dates)]
    assert decision_mask(dates, "weekly")[-1] == weekly
    assert decision_mask(dates, "month-end")[-1] == monthly
    assert decision_mask(dates, "daily").all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_decision_is_the_same_when_the_panel_goes_on_over_weekdays(schedule):
    dates = DAYS[np.is_busday(DAYS)][:400]
    whole = decision_mask(dates, schedule)
    for last in range(300, 400):
        np.testing.assert_array_equal(decision_mask(dates[:last], schedule), whole[:last])


@few
@given(st.lists(st.integers(0, 200), unique=True, max_size=60).map(sorted), st.integers(1, 40))
def test_overlap_counts_later_decisions_inside_a_label(rows, horizon):
    expected = max((sum(t < other < t + horizon for other in rows) for t in rows), default=0)
    assert label_overlap(np.array(rows, dtype=int), horizon) == expected


def test_weekly_labels_of_five_days_overlap_only_over_holidays():
    rows = np.flatnonzero(decision_mask(TRADED, "weekly"))
    assert label_overlap(rows, 1) == 0
    assert label_overlap(np.arange(50), 5) == 4
    assert label_overlap(rows, 21) == max(sum(1 for b in rows if a < b < a + 21) for a, _ in itertools.pairwise(rows))
