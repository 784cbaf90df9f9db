"""The source of Yahoo's prices: the real yfinance against a local server that answers, and fails, as Yahoo does."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yfinance
from yahoo_server import DELISTED, Stock, Yahoo, serving
from yfinance.data import YfData

from finattn import data
from finattn.blocks import forward_returns
from finattn.config import DataConfig, TargetConfig
from finattn.config.yahoo import YahooConfig
from finattn.data.prices import price_returns
from finattn.data.yahoo import Fetched, Outside, fetch, load, read_panel
from finattn.data.yahoo.cache import place
from finattn.errors import InputError

DAYS = [str(day.date()) for day in pd.bdate_range("2024-04-01", "2024-06-28")]
JUNE = [day for day in DAYS if day >= "2024-06-01"]
EVENING = "2024-06-28 20:45"  # UTC: New York closed at 20:00


def plain(days=None, first: float = 100.0, **keys) -> Stock:
    """Return a stock that gains one a day."""
    days = days or JUNE
    return Stock(days, [first + row for row in range(len(days))], **keys)


def eventful(seed: int = 0) -> Stock:
    """Return a stock with splits, a reverse split and dividends, two of them on one day."""
    random = np.random.default_rng(seed)
    splits = {DAYS[20]: (3, 1), DAYS[31]: (1, 8), DAYS[50]: (3, 2)}
    ratio = np.cumprod([splits.get(day, (1, 1))[0] / splits.get(day, (1, 1))[1] for day in DAYS])
    close = 240 * np.exp(np.cumsum(0.02 * random.standard_normal(len(DAYS)))) / ratio
    volume = random.integers(1_000, 9_000, len(DAYS)) * 48  # whole numbers after the splits too
    return Stock(DAYS, close.tolist(), volume.tolist(), splits, {DAYS[9]: 2.0, DAYS[20]: 1.5, DAYS[44]: 0.4})


class World:
    """A server, a cache and what a fetch takes from outside; pauses are noted, not waited for."""

    def __init__(self, yahoo: Yahoo, folder: Path) -> None:
        self.yahoo, self.folder, self.pauses, self.said = yahoo, folder, [], []
        self.now = EVENING
        self.session = yahoo.session()

    def config(self, *tickers: str, **keys) -> YahooConfig:
        return YahooConfig(tickers or tuple(self.yahoo.stocks), str(self.folder), **{"timeout": 5.0, **keys})

    def outside(self) -> Outside:
        now = pd.Timestamp(self.now, tz="UTC")
        return Outside(self.session, self.pauses.append, lambda: 0.5, lambda: now)

    def fetch(self, *tickers: str, start="2024-04-01", end=None, **keys) -> Fetched:
        self.yahoo.asked.clear()
        return fetch(self.config(*tickers, **keys), start, end, say=self.said.append, outside=self.outside())

    def panel(self, *tickers: str, longest_gap: int = 0, **keys):
        return read_panel(self.config(*tickers, **keys), longest_gap=longest_gap)


@pytest.fixture
def world(tmp_path):
    type(YfData)._instances.clear()  # yfinance's one session, with the last test's cookies and failures
    with serving(Yahoo({"A": plain(), "B": plain(first=50.0), "C": plain(first=20.0)})) as yahoo:
        yield World(yahoo, tmp_path / "cache")


def status(fetched: Fetched) -> dict[str, str]:
    return dict(zip(fetched.table["ticker"], fetched.table["status"], strict=True))


def reason(fetched: Fetched, ticker: str) -> str:
    return fetched.table.set_index("ticker").loc[ticker, "reason"]


# -- configuration ------------------------------------------------------------


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"tickers": "AAPL"}, "data.yahoo.tickers must be a list of text, found 'AAPL'"),
        ({"tickers": ("A B",)}, "symbols of at most 40 characters without spaces, found 'A B'"),
        ({"tickers": (7,)}, "data.yahoo.tickers must be a list of text, found .*7"),
        ({"tickers": ("aapl", "AAPL")}, "data.yahoo.tickers must be distinct"),
        ({"repair": "yes"}, "data.yahoo.repair must be true or false"),
        ({"batch": 0}, "data.yahoo.batch must be at least 1"),
        ({"attempts": 0}, "data.yahoo.attempts must be at least 1"),
        ({"first_pause": -1.0}, "data.yahoo.first_pause must be at least 0"),
        ({"timeout": 0}, "data.yahoo.timeout must be above 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(keys, message):
    with pytest.raises(InputError, match=message):
        YahooConfig(**keys)


def test_tickers_are_in_capitals():
    assert YahooConfig(["brk-b", "^gspc"]).tickers == ("BRK-B", "^GSPC")


@pytest.mark.parametrize(
    "start, end, message",
    [
        ("soon", None, "a day must read like"),
        ("2024-06-03", "2024-06-02", "data.end must be on or after data.start"),
        ("2024-07-03", None, "data.start must be in the past"),
    ],
)
def test_days_that_cannot_be_are_refused(world, start, end, message):
    with pytest.raises(InputError, match=message):
        world.fetch(start=start, end=end)


# -- what comes of it ------------------------------------------------------------


def test_tickers_are_fetched_and_become_a_panel(world):
    fetched = world.fetch(batch=2, pause=7.0)
    assert fetched.counts == {"fetched": 3, "updated": 0, "refetched": 0, "unchanged": 0, "failed": 0}
    row = fetched.table.iloc[0]
    assert (row["rows"], str(row["first"].date()), str(row["last"].date())) == (len(JUNE), JUNE[0], JUNE[-1])
    assert world.said == ["batch 1 of 2: 2 fetched", "batch 2 of 2: 1 fetched"] and world.pauses == [7.0]
    panel = world.panel("C", "A")
    assert panel.firms.tolist() == ["C", "A"] and panel.names == ("C Inc.", "A Inc.")
    assert panel.dates.astype(str).tolist() == JUNE and panel.listed.all()
    assert panel.price[:2].tolist() == [[20.0, 100.0], [21.0, 101.0]]
    np.testing.assert_allclose(panel.returns[1:3], [[1 / 20, 1 / 100], [1 / 21, 1 / 101]])
    assert panel.dollar_volume[1].tolist() == [21_000.0, 101_000.0]


def test_a_split_in_mid_span_leaves_the_price_as_it_was_traded(world):
    closes = [100.0, 102.0, 104.0, 53.0, 54.0]
    world.yahoo.stocks["A"] = Stock(JUNE[:5], closes, [10, 20, 30, 40, 50], {JUNE[3]: (2, 1)})
    world.fetch("A")
    panel = world.panel("A")
    np.testing.assert_allclose(panel.price[:, 0], closes)
    np.testing.assert_allclose(panel.dollar_volume[:, 0], [1000, 2040, 3120, 2120, 2700])
    np.testing.assert_allclose(panel.returns[1:, 0], [0.02, 2 / 102, 2 / 104, 1 / 53])


@pytest.mark.parametrize("seed", range(3))
def test_what_was_traded_is_found_again_under_yahoos_adjustments(world, seed):
    stock = world.yahoo.stocks["A"] = eventful(seed)
    world.fetch("A")
    panel = world.panel("A")
    close = np.array(stock.close)[:, None]
    split = np.array([[stock.splits.get(day, (1, 1))[0] / stock.splits.get(day, (1, 1))[1]] for day in DAYS])
    cash = np.array([[stock.dividends.get(day, 0.0)] for day in DAYS])
    np.testing.assert_allclose(panel.price, close)
    np.testing.assert_allclose(panel.returns, price_returns(close, split, cash))
    np.testing.assert_allclose(panel.dollar_volume, close * np.array(stock.volume)[:, None])


def test_adjusted_closes_make_returns_and_nothing_else(world):
    world.yahoo.stocks["A"] = eventful()
    world.fetch("A")
    plain_returns, panel = world.panel("A"), world.panel("A", auto_adjust=True)
    np.testing.assert_allclose(panel.price, plain_returns.price)
    np.testing.assert_allclose(panel.dollar_volume, plain_returns.dollar_volume)
    before = panel.price[8, 0]
    np.testing.assert_allclose(panel.returns[9, 0], panel.price[9, 0] / (before - 2.0) - 1)
    np.testing.assert_allclose(panel.returns[1:9], plain_returns.returns[1:9])
    assert "adjusted closes" in panel.source["returns"]


def test_a_panel_does_not_change_with_splits_and_dividends_that_came_later(world):
    world.yahoo.stocks["A"] = eventful()
    world.fetch("A")
    late = world.panel("A")
    world.folder, world.yahoo.today, world.now = world.folder / "early", DAYS[40], f"{DAYS[40]} 21:00"
    world.fetch("A")
    early = world.panel("A")
    assert len(early) == 41
    for name in ("returns", "price", "dollar_volume"):
        np.testing.assert_allclose(getattr(late, name)[:41], getattr(early, name), rtol=1e-12)


@pytest.mark.parametrize("hour", ["21:00", "15:00"])  # the day is over, or not
@pytest.mark.parametrize("auto_adjust", [False, True])
@pytest.mark.parametrize("row", [20, 31, 33, 34, 36, 44, 50, 55])
def test_deleting_all_that_came_later_changes_nothing_until_then(world, row, auto_adjust, hour):
    """What Yahoo would have said then: its closes are not adjusted for splits and dividends that came later."""
    gap, left = eventful(1), eventful(2)
    gap.close[33:36] = [None] * 3
    left.days, left.close, left.volume = left.days[:45], left.close[:45], left.volume[:45]
    del left.splits[DAYS[50]]
    world.yahoo.stocks = {"A": eventful(), "GAP": gap, "LEFT": left, "NEW": plain(DAYS[35:])}
    tickers, keys = ("A", "GAP", "LEFT"), {"longest_gap": 4, "auto_adjust": auto_adjust}
    tickers += ("NEW",) if row > 36 else ()
    world.fetch(*tickers)
    late = world.panel(*tickers, **keys)
    world.folder, world.yahoo.today, world.now = world.folder / "early", DAYS[row], f"{DAYS[row]} {hour}"
    assert world.fetch(*tickers).counts["fetched"] == len(tickers)
    early = world.panel(*tickers, **keys)
    rows = row + (hour == "21:00")
    assert early.dates.astype(str).tolist() == DAYS[:rows]
    for name in ("returns", "price", "dollar_volume", "listed"):
        np.testing.assert_allclose(getattr(early, name), getattr(late, name)[:rows], rtol=1e-9, err_msg=name)


def test_a_firm_is_listed_where_it_has_a_close_so_that_a_gap_has_no_target(world):
    world.yahoo.stocks["A"].close[5] = None
    world.yahoo.stocks["B"] = plain(JUNE[:8])
    world.fetch()
    panel = world.panel(longest_gap=1)
    assert np.flatnonzero(~panel.listed[:, 0]).tolist() == [5] and panel.listed[:, 1].sum() == 8
    target = TargetConfig(horizon=1, delay=0, missing_delisting_return=-0.3)
    realised = forward_returns(panel, np.array([3, 4, 6, 7]), target)
    assert np.isfinite(realised[:, 0]).tolist() == [True, False, True, True]
    assert realised[3, 1] == pytest.approx(-0.3)


def test_the_split_of_a_day_that_is_not_over_is_known_and_its_price_is_not(world):
    closes, volume = [100.0, 102.0, 104.0, 53.0, 54.0], [10, 20, 30, 40, 50]
    for ticker in "AB":
        world.yahoo.stocks[ticker] = Stock(JUNE[:5], closes, volume, {JUNE[3]: (2, 1)}, {JUNE[3]: 1.0})
    world.yahoo.today, world.now = JUNE[3], f"{JUNE[3]} 15:00"
    row = world.fetch("A").table.iloc[0]
    assert (row["rows"], str(row["last"].date())) == (3, JUNE[2])
    for auto_adjust in (False, True):
        panel = world.panel("A", auto_adjust=auto_adjust)
        assert panel.price[:, 0].tolist() == closes[:3] and "counts" in panel.source and not panel.source["counts"]
        np.testing.assert_allclose(panel.dollar_volume[:, 0], [1000, 2040, 3120])
    world.now = f"{JUNE[3]} 15:30"
    assert status(world.fetch("A")) == {"A": "unchanged"} and not world.yahoo.asked
    world.now = f"{JUNE[3]} 21:00"
    world.fetch("B")
    both = world.panel("A", "B")  # which was over for B alone
    assert both.listed.tolist() == [[True, True]] * 3 + [[False, True]] and np.isnan(both.price[3, 0])
    assert status(world.fetch("A")) == {"A": "updated"} and len(world.yahoo.asked) == 1
    assert world.panel("A").price[:, 0].tolist() == closes[:4]
    assert world.panel("A").returns[3, 0] == pytest.approx(2 * 53 / 104 + 1 / 104 - 1)
    world.yahoo.today, world.now = JUNE[4], f"{JUNE[4]} 21:00"
    assert status(world.fetch("A")) == {"A": "updated"}
    assert world.panel("A").price[:, 0].tolist() == closes


def test_splits_after_the_last_day_wanted_are_known(world):
    world.yahoo.stocks["A"] = eventful()
    world.fetch("A", end=DAYS[25])
    np.testing.assert_allclose(world.panel("A").price[:26, 0], world.yahoo.stocks["A"].close[:26])


def test_a_funds_capital_gains_count_where_its_dividends_cannot_hold_them(world):
    days, closes = JUNE[:4], [100.0, 100.0, 100.0, 100.0]
    stock = Stock(days, closes, dividends={days[1]: 5.0, days[2]: 1.0}, gains={days[1]: 3.0, days[2]: 3.0}, kind="ETF")
    world.yahoo.stocks["A"] = stock
    world.fetch("A")
    np.testing.assert_allclose(world.panel("A").returns[1:, 0], [0.05, 0.04, 0.0])


def test_a_source_of_a_configuration_has_industries_of_a_table(world, tmp_path):
    world.fetch(start="2024-06-01")
    (tmp_path / "codes.csv").write_text("firm,industry,name\nA,2834,Alpha\nB,6021,Beta\n")
    keys = {"start": "2024-06-03", "longest_gap": 2, "periods_per_year": 250}
    panel = load(DataConfig("yahoo", yahoo=world.config(), **keys))
    assert panel.periods_per_year == 250 and panel.source["longest_gap"] == 2 and not panel.industry.any()
    keys["industries"] = str(tmp_path / "codes.csv")
    panel = load(DataConfig("yahoo", yahoo=world.config(), **keys))
    assert panel.industry[0].tolist() == [2834, 6021, 0] and panel.names[:2] == ("Alpha", "Beta")
    assert data.load(DataConfig("yahoo", start="2024-06-10", yahoo=world.config())).dates[0].astype(str) == "2024-06-10"
    with pytest.raises(InputError, match="data.start must be covered"):
        load(DataConfig("yahoo", start="2024-05-01", yahoo=world.config()))


def test_the_source_says_where_the_panel_is_from(world):
    world.yahoo.stocks["B"].currency = "GBp"
    world.fetch()
    world.now, world.yahoo.today = "2024-07-01 21:00", "2024-07-01"
    del world.yahoo.stocks["C"]
    world.fetch("A", "B", "C")
    source = world.panel("A", "B", "C").source
    assert source["retrieved"] == {"first": "2024-06-28T20:45:00Z", "last": "2024-07-01T21:00:00Z"}
    assert source["cached_through"] == {"all": "2024-07-01", "but": {"C": "2024-06-28"}}
    assert source["currencies"] == {"USD": 2, "GBp": 1}
    caveats = " ".join(source["caveats"])
    assert "personal use" in caveats and "trades today" in caveats and "several currencies" in caveats


def test_rows_without_a_close_and_zero_prices_are_counted(world):
    closes = [100.0, None, 102.0, 0.0, 104.0, 105.0]
    world.yahoo.stocks["A"] = Stock(JUNE[:6], closes)
    world.yahoo.stocks["B"] = Stock(JUNE[:6], [5.0] * 6)
    world.fetch("A", "B")
    panel = world.panel("A", "B")
    assert panel.source["counts"] == {"rows_without_close": 1, "zero_prices": 1, "returns_after_gaps": 2}
    assert np.isnan(panel.returns[:, 0]).tolist() == [True, True, True, True, True, False]
    assert np.isnan(panel.price[:, 0]).tolist() == [False, True, False, True, False, False]
    assert (panel.listed == ~np.isnan(panel.price)).all()
    np.testing.assert_allclose(world.panel("A", "B", longest_gap=1).returns[2, 0], 0.02)


def test_a_day_on_which_no_ticker_has_a_close_is_no_date(world):
    world.yahoo.stocks["A"] = Stock(JUNE[:4], [100.0, None, 102.0, 103.0])
    world.fetch("A")
    panel = world.panel("A")
    assert len(panel) == 3 and panel.returns[1, 0] == pytest.approx(0.02)


def test_a_split_on_a_day_without_a_close_is_not_lost(world):
    stock = world.yahoo.stocks["A"] = Stock(JUNE[:4], [100.0, None, 51.0, 52.0], splits={JUNE[1]: (2, 1)})
    world.fetch("A")
    panel = world.panel("A", longest_gap=1)
    np.testing.assert_allclose(panel.price[:, 0], np.array(stock.close, float))
    np.testing.assert_allclose(panel.returns[2, 0], 0.02)


def test_infinite_numbers_are_missing_and_counted(world):
    def spoil(result):
        result["indicators"]["adjclose"][0]["adjclose"][2] = float("inf")

    world.yahoo.stocks["A"].changes = spoil
    world.fetch("A")
    panel = world.panel("A", auto_adjust=True)
    assert panel.source["counts"]["infinite_values"] == 1 and np.isnan(panel.returns[2:4, 0]).all()


def test_a_row_that_is_there_twice_is_there_once(world):
    def double(result):
        quote = result["indicators"]["quote"][0]
        for column in (result["timestamp"], *quote.values(), result["indicators"]["adjclose"][0]["adjclose"]):
            column.insert(3, column[3])

    world.yahoo.stocks["A"].changes = double
    world.fetch("A")
    assert world.panel("A").dates.astype(str).tolist() == JUNE


# -- exchanges and their days ------------------------------------------------------------


def test_dates_are_those_of_the_exchange(world):
    """Sydney opens at 23:00 or 00:00 UTC, on the other side of midnight from summer to winter."""
    days = [str(day.date()) for day in pd.bdate_range("2024-04-01", "2024-04-12")]  # the clocks go back on the 7th
    sydney = plain(days, timezone="Australia/Sydney", session=("10:00", "16:00"))
    tokyo = plain(days, timezone="Asia/Tokyo", session=("09:00", "15:00"))
    world.yahoo.stocks = {"S.AX": sydney, "7203.T": tokyo, "N": plain(days)}
    world.fetch(start=days[0])
    panel = world.panel()
    assert panel.dates.astype(str).tolist() == days and (panel.price == panel.price[:, :1]).all()


def test_exchanges_with_other_holidays_share_a_calendar(world):
    world.yahoo.stocks["B"] = plain([day for day in JUNE if day != "2024-06-19"])
    world.yahoo.stocks["C"] = plain(JUNE[2:-2])
    world.fetch()
    panel = world.panel()
    row = JUNE.index("2024-06-19")
    assert panel.dates.astype(str).tolist() == JUNE
    assert np.flatnonzero(~panel.listed[:, 1]).tolist() == [row]
    assert np.isnan(panel.price[row, 1]) and np.isnan(panel.returns[row : row + 2, 1]).all()
    assert not np.isnan(world.panel(longest_gap=1).returns[row + 1, 1])
    assert panel.listed[:, 2].tolist() == [False] * 2 + [True] * (len(JUNE) - 4) + [False] * 2


def test_a_day_that_is_not_over_has_no_close_yet(world):
    world.now = "2024-06-28 20:15"  # closed, but not settled
    assert str(world.fetch("A").table["last"][0].date()) == JUNE[-2]
    world.now = EVENING
    assert status(world.fetch("A")) == {"A": "updated"} and len(world.panel("A")) == len(JUNE)


def test_a_session_that_yahoo_does_not_tell_ends_with_the_day(world):
    world.yahoo.stocks["A"].changes = lambda result: result["meta"].pop("currentTradingPeriod")
    assert str(world.fetch("A").table["last"][0].date()) == JUNE[-2]
    world.now = "2024-06-29 04:00"  # midnight in New York
    assert status(world.fetch("A")) == {"A": "updated"}


# -- again, and on ------------------------------------------------------------


def test_what_the_cache_covers_is_not_asked_for_again(world):
    world.fetch()
    assert world.fetch(batch=1, pause=9.0).counts["unchanged"] == 3
    assert world.yahoo.asked == [] and world.pauses == []
    assert world.fetch(start="2024-06-10").counts["unchanged"] == 3
    world.now = "2024-08-30 21:00"
    assert world.fetch(end="2024-06-20").counts["unchanged"] == 3 and world.yahoo.asked == []


def test_an_update_asks_for_the_last_days_only(world):
    world.yahoo.stocks["A"] = plain(DAYS)
    world.yahoo.today, world.now = "2024-06-20", "2024-06-20 21:00"
    world.fetch("A")
    world.yahoo.today, world.now = "2024-06-28", EVENING
    fetched = world.fetch("A")
    assert status(fetched) == {"A": "updated"} and fetched.table["rows"][0] == len(DAYS)
    assert [str(start.date()) for _, start in world.yahoo.asked] == ["2024-06-05"]
    assert world.panel("A").price[:, 0].tolist() == world.yahoo.stocks["A"].close
    world.now = "2024-06-29 21:00"  # a Saturday
    assert status(world.fetch("A")) == {"A": "unchanged"} and len(world.yahoo.asked) == 1
    assert world.panel("A").source["cached_through"] == {"all": "2024-06-29"}


def test_a_row_without_a_close_is_the_same_row_later(world):
    world.yahoo.stocks["A"].close[-3] = None
    world.fetch("A")
    world.now = "2024-06-29 21:00"
    assert status(world.fetch("A")) == {"A": "unchanged"} and len(world.yahoo.asked) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda stock: stock.splits.update({JUNE[-1]: (2, 1)}), "close of 2024-06-06 was 103 and is 51.5"),
        (lambda stock: stock.dividends.update({JUNE[-1]: 1.0}), "adjusted_close of 2024-06-06 was 103 and is 102"),
        (lambda stock: stock.close.__setitem__(8, 100.5), "close of 2024-06-13 was 108 and is 100.5"),
        (lambda stock: stock.close.__setitem__(8, None), "close of 2024-06-13 was 108 and is nan"),
        (lambda stock: (stock.days.pop(8), stock.close.pop(8)), "2024-06-13 went from the history"),
    ],
)
def test_history_that_changed_is_fetched_anew(world, change, message):
    world.yahoo.today, world.now = "2024-06-20", "2024-06-20 21:00"
    world.fetch("A", start="2024-06-01")
    change(world.yahoo.stocks["A"])
    world.yahoo.today, world.now = "2024-06-28", EVENING
    fetched = world.fetch("A", start="2024-06-10")
    assert status(fetched) == {"A": "refetched"} and message in reason(fetched, "A")
    assert [str(start.date()) for _, start in world.yahoo.asked] == ["2024-06-05", "2024-05-31"]
    panel, world.folder = world.panel("A"), world.folder / "fresh"
    world.fetch("A", start="2024-06-01")
    assert panel.fingerprint == world.panel("A").fingerprint


def test_a_day_that_came_to_the_history_is_seen(world):
    day, close = world.yahoo.stocks["A"].days.pop(-5), world.yahoo.stocks["A"].close.pop(-5)
    world.fetch("A")
    world.yahoo.stocks["A"].days.insert(len(JUNE) - 5, day)
    world.yahoo.stocks["A"].close.insert(len(JUNE) - 5, close)
    world.now = "2024-06-29 21:00"
    assert f"{day} came to the history" in reason(world.fetch("A"), "A")


def test_an_earlier_start_fetches_all(world):
    world.fetch("A", start="2024-06-10")
    with pytest.raises(InputError, match="data.start must be covered by the cache .*, found later starts of 'A': run"):
        read_panel(world.config("A"), "2024-06-03")
    fetched = world.fetch("A", start="2024-06-03")
    assert status(fetched) == {"A": "refetched"} and reason(fetched, "A") == "days before 2024-06-10 are wanted"
    assert len(read_panel(world.config("A"), "2024-06-03")) == len(JUNE)


def test_a_fetch_that_was_stopped_goes_on_where_it_stopped(world):
    def stop(seconds):
        raise KeyboardInterrupt

    outside = Outside(world.session, stop, lambda: 0.5, world.outside().now)
    with pytest.raises(KeyboardInterrupt):
        fetch(world.config(batch=1), "2024-06-01", outside=outside)
    assert world.yahoo.tickers() == ["A"]
    assert status(world.fetch(start="2024-06-01")) == {"A": "unchanged", "B": "fetched", "C": "fetched"}
    assert world.yahoo.tickers() == ["B", "C"]


def test_what_is_repaired_has_a_cache_of_its_own(world):
    stock = world.yahoo.stocks["A"] = plain(DAYS)
    stock.close[40] *= 100  # pence among pounds
    world.fetch("A")
    assert status(world.fetch("A", repair=True)) == {"A": "fetched"}
    panel = world.panel("A", repair=True)
    np.testing.assert_allclose(panel.price[39:42, 0], [139.0, 140.0, 141.0])
    assert world.panel("A").price[40, 0] == 14_000.0 and panel.source["repair"] is True


# -- faults ------------------------------------------------------------


def test_pauses_grow_while_yahoo_limits_the_rate(world):
    world.yahoo.faults["B"] = [429] * 7  # yfinance asks twice an attempt
    fetched = world.fetch(first_pause=3.0)
    assert fetched.counts["fetched"] == 3 and world.pauses == [3.75, 7.5, 15.0]
    assert len(world.panel()) == len(JUNE)


def test_the_rest_goes_on_where_one_is_refused_for_ever(world):
    world.yahoo.faults["B"] = [429, "for ever"]
    fetched = world.fetch(attempts=3, first_pause=3.0)
    assert status(fetched) == {"A": "fetched", "B": "failed", "C": "fetched"}
    assert reason(fetched, "B") == "Too Many Requests. Rate limited. Try after a while. (in 3 attempts)"
    assert world.pauses == [3.75, 7.5]
    assert world.said == [f"batch 1 of 1: 2 fetched, 1 failed; B: {reason(fetched, 'B')}"]
    del world.yahoo.faults["B"]
    assert status(world.fetch()) == {"A": "unchanged", "B": "fetched", "C": "unchanged"}


def test_yahoo_is_left_in_peace_after_three_refusals_in_a_row(world):
    world.fetch("E")  # is not known
    world.yahoo.stocks |= {name: plain() for name in "DEF"}
    world.fetch("F")
    world.yahoo.faults = {name: [429, "for ever"] for name in "ABCDE"}
    fetched = world.fetch(*"ABCDEF", attempts=1)
    assert status(fetched) == dict.fromkeys("ABCDE", "failed") | {"F": "unchanged"}
    assert set(world.yahoo.tickers()) == {"A", "B", "C"}
    assert reason(fetched, "D") == "not asked: Yahoo refused 3 tickers in a row for the rate; fetch again later"
    del world.yahoo.faults["B"]
    assert status(world.fetch(*"ABCDE", attempts=1)) == dict.fromkeys("ACDE", "failed") | {"B": "fetched"}
    assert set(world.yahoo.tickers()) == {"A", "B", "C", "D", "E"}


@pytest.mark.parametrize(
    "fault", [lambda body: b"", lambda body: body[: len(body) // 2], lambda body: b"<html>busy</html>", 500]
)
def test_a_broken_answer_is_asked_for_again(world, fault):
    world.yahoo.faults["B"] = [fault, fault]
    assert world.fetch().counts["fetched"] == 3
    world.folder = world.folder / "again"
    world.yahoo.faults["B"] = [fault, "for ever"]
    fetched = world.fetch(attempts=2)
    assert status(fetched) == {"A": "fetched", "B": "failed", "C": "fetched"}
    assert "(in 2 attempts)" in reason(fetched, "B") and "\n" not in reason(fetched, "B")


def test_a_delisted_ticker_is_reported_once(world):
    fetched = world.fetch("A", "GONE", "C")
    assert status(fetched) == {"A": "fetched", "GONE": "failed", "C": "fetched"}
    assert reason(fetched, "GONE") == DELISTED and world.pauses == []
    assert fetched.table["rows"].tolist() == [len(JUNE), 0, len(JUNE)] and fetched.table["last"].isna().sum() == 1


def test_a_ticker_that_is_delisted_later_keeps_its_days(world):
    world.yahoo.today, world.now = "2024-06-20", "2024-06-20 21:00"
    world.fetch()
    del world.yahoo.stocks["B"]
    world.yahoo.today, world.now = "2024-06-28", EVENING
    fetched = world.fetch("A", "B")
    assert status(fetched) == {"A": "updated", "B": "failed"} and reason(fetched, "B") == DELISTED
    panel = world.panel("A", "B")
    assert fetched.table["rows"][1] == panel.listed[:, 1].sum() == JUNE.index("2024-06-20") + 1


def test_a_ticker_without_a_close_has_failed(world):
    world.yahoo.stocks["A"] = Stock(JUNE, [None] * len(JUNE))
    world.yahoo.stocks["B"] = plain(["2023-01-04"])
    fetched = world.fetch("A", "B")
    assert reason(fetched, "A") == "no close from 2024-04-01 to 2024-06-28"
    assert "no price data found" in reason(fetched, "B")


def test_the_rest_goes_on_where_one_hangs(world):
    world.yahoo.faults["B"] = ["hang"]
    fetched = world.fetch(attempts=1, timeout=0.3)
    assert status(fetched) == {"A": "fetched", "B": "failed", "C": "fetched"}
    assert "timed out" in reason(fetched, "B").lower() and set(world.session.timeouts) == {0.3}


def test_yfinance_is_quiet_and_left_as_it_was(world, capfd, caplog):
    world.yahoo.crumb = 429  # of which yfinance warns
    world.yahoo.faults["B"] = [429, "for ever"]
    world.fetch("A", "B", "GONE", attempts=1)
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert yfinance.config.debug.hide_exceptions is True and not logging.getLogger("yfinance").disabled
    assert Path(yfinance.cache._CookieDBManager.get_location()).name.startswith("finattn-yfinance-")
    assert sorted(path.suffix for path in world.folder.rglob("*.*") if path.is_file() and path.name != ".lock") == [
        ".parquet"
    ]


# -- the cache's files ------------------------------------------------------------


def test_files_of_odd_tickers_stay_in_the_cache(tmp_path):
    odd = ("BRK-B", "^GSPC", "../X", "..", "CON", "CON.DE", "A/B", "A%2FB", "C:\\X", "-", "7203.T", "EURUSD=X")
    config = YahooConfig(odd, str(tmp_path / "cache"))
    files = [place(config, ticker) for ticker in odd]
    assert len({str(file).lower() for file in files}) == len(odd)
    for file in files:
        assert file.resolve().parent.parent == (tmp_path / "cache").resolve()
        assert file.parent.name.split(".")[0] not in ("CON", "") and not set('<>:"/\\|?*') & set(file.parent.name)


def test_odd_tickers_are_fetched(world):
    world.yahoo.stocks = {"BRK-B": plain(), "^GSPC": plain(), "CON": plain()}
    assert world.fetch("BRK-B", "^GSPC", "CON", "../X").counts == {
        "fetched": 3, "updated": 0, "refetched": 0, "unchanged": 0, "failed": 1,
    }  # fmt: skip
    assert not (world.folder.parent / "X").exists()
    assert world.panel().firms.tolist() == ["BRK-B", "^GSPC", "CON"]


def test_the_cache_is_the_users_unless_said(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert place(YahooConfig(), "A") == tmp_path / "finattn" / "yahoo" / "A-1d" / "prices.parquet"


def _other_columns(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["split"]), file)


def _about(**keys):
    def change(file: Path) -> None:
        table = pq.read_table(file)
        ((key, text),) = table.schema.metadata.items()
        pq.write_table(table.replace_schema_metadata({key: json.dumps(json.loads(text) | keys)}), file)

    return change


def _digit(file: Path) -> None:
    """Change a bit that only the checksum shows."""
    whole, table = file.read_bytes(), pq.read_table(file)
    for at in range(40, len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = pq.read_table(file)
        except (OSError, ValueError):
            continue
        if found.schema.equals(table.schema) and found["date"] == table["date"] and found != table:
            return
    raise AssertionError("no such bit")


DAMAGE = {
    "a digit": _digit,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("date,close\n"),
    "a byte": lambda file: file.write_bytes(file.read_bytes()[:40] + b"\xff\xff" + file.read_bytes()[42:]),
    "other columns": _other_columns,
    "no rows": lambda file: pq.write_table(pq.read_table(file)[:0], file),
    "no words": lambda file: pq.write_table(pq.read_table(file).replace_schema_metadata(None), file),
    "unknown words": _about(more=1),
    "no time zone": _about(timezone="Mars/Base"),
    "no day": _about(through="never"),
    "rows twice": lambda file: pq.write_table(pq.read_table(file).take([0, 0, 1]), file),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_said_and_fetched_anew(world, damage):
    world.fetch()
    DAMAGE[damage](place(world.config(), "B"))
    with pytest.raises(InputError, match=r"B-1d.prices\.parquet: .*must be"):
        world.panel()
    fetched = world.fetch()
    assert status(fetched) == {"A": "unchanged", "B": "refetched", "C": "unchanged"}
    assert reason(fetched, "B") == "the cache's file was damaged"
    assert world.panel().shape == (len(JUNE), 3)


def test_a_damaged_file_that_cannot_be_fetched_anew_is_said(world):
    world.fetch("A")
    DAMAGE["cut"](place(world.config(), "A"))
    world.yahoo.faults["A"] = [404, 404]
    assert reason(world.fetch("A", attempts=1), "A").startswith("the cache's file was damaged; ")


def test_tickers_that_are_not_in_the_cache_are_named(world):
    world.fetch("A")
    with pytest.raises(InputError, match="found no 'B', 'C': run finattn data fetch yahoo"):
        world.panel()
    with pytest.raises(InputError, match="data.yahoo.tickers must be given"):
        read_panel(YahooConfig())


# -- other processes ------------------------------------------------------------

_CHILD = """
import json, os, signal, sys
import pandas as pd
import yfinance
from yahoo_server import Loopback
from finattn.config.yahoo import YahooConfig
from finattn.data.yahoo import Outside, cache, fetch

port, folder, now, tickers, kill = sys.argv[1:]
write = cache.pq.write_table

def killed(table, path, **keys):
    write(table, path, **keys)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)

if kill == "kill":
    cache.pq.write_table = killed
print("ready", flush=True)
sys.stdin.readline()
outside = Outside(Loopback(int(port)), now=lambda: pd.Timestamp(now, tz="UTC"))
print(json.dumps(fetch(YahooConfig(tickers.split(), folder), "2024-04-01", outside=outside).counts))
"""


def child(world: World, tickers: str, kill: str = "") -> subprocess.Popen:
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(world.yahoo.port), str(world.folder), world.now, tickers, kill],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_kill_in_mid_write_leaves_the_old_file(world):
    world.yahoo.today, world.now = "2024-06-20", "2024-06-20 21:00"
    world.fetch("A")
    old = world.panel("A").fingerprint
    world.yahoo.today, world.now = "2024-06-28", EVENING
    process = child(world, "A", "kill")
    process.communicate("go\n", timeout=60)
    assert process.returncode == -9
    left = [path for path in world.folder.rglob(".partial-*")]
    assert len(left) == 1 and world.panel("A").fingerprint == old
    assert status(world.fetch("A")) == {"A": "updated"} and len(world.panel("A")) == len(JUNE)
    assert not left[0].exists()


def test_two_processes_at_once_share_the_work(world):
    tickers = [f"T{number}" for number in range(8)]
    world.yahoo.stocks = {ticker: plain(DAYS) for ticker in tickers}
    processes = [child(world, " ".join(tickers)) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(count["fetched"] for count in counts) == sum(count["unchanged"] for count in counts) == 8
    assert sorted(world.yahoo.tickers()) == tickers
    assert world.panel(*tickers).shape == (len(DAYS), 8)


def test_yfinance_is_imported_by_a_fetch_and_by_nothing_else(world):
    world.fetch("A")
    code = (
        "import sys; from finattn.config.yahoo import YahooConfig; from finattn.data.yahoo import read_panel\n"
        f"read_panel(YahooConfig(('A',), {str(world.folder)!r})); print('yfinance' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
