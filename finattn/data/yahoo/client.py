"""One ticker from Yahoo through yfinance, again where Yahoo limits the rate or its answer is broken."""

import atexit
import functools
import logging
import random
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import first_line
from finattn.config.yahoo import YahooConfig
from finattn.data.yahoo.cache import COLUMNS

_SETTLE = 30  # minutes after the close until a day's row is final: yfinance waits as long
_END_OF_DAY = 24 * 60


def _now() -> pd.Timestamp:
    return pd.Timestamp.now("UTC")


@dataclass(frozen=True)
class Outside:
    """What a download takes from the outside world, so that a test can give its own.

    Parameters
    ----------
    session : a session of curl_cffi for yfinance, with a proxy perhaps; None for yfinance's own.
    sleep : waits for seconds. random : a number from 0 to 1. now : the time, with a time zone.

    Examples
    --------
    >>> from finattn.config import YahooConfig
    >>> from finattn.data import yahoo
    >>> outside = yahoo.Outside(now=lambda: pd.Timestamp("2024-06-28 20:45", tz="UTC"))
    >>> yahoo.fetch(YahooConfig(("AAPL",)), start="2024-07-01", outside=outside)
    Traceback (most recent call last):
    finattn.errors.InputError: data.start must be in the past, found '2024-07-01'
    """

    session: Any = None
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    now: Callable[[], pd.Timestamp] = _now


class DownloadError(Exception):
    """A ticker that could not be had, and why.

    Parameters
    ----------
    reason : one line. limited : whether Yahoo limited the rate.
    """

    def __init__(self, reason: str, limited: bool = False) -> None:
        super().__init__(reason)
        self.limited = limited


class Download(NamedTuple):
    """What Yahoo says of a ticker.

    table : a row a day, by the exchange's date, with the columns of the cache; today's row may be unfinished.
    timezone, currency, name, final_after : as in `finattn.data.yahoo.cache.About`.
    """

    table: pd.DataFrame
    timezone: str
    currency: str
    name: str
    final_after: int


def download(ticker: str, start: pd.Timestamp, config: YahooConfig, outside: Outside) -> Download:
    """Ask Yahoo for all days of a ticker from `start` to now, up to `config.attempts` times.

    The k-th pause is first_pause · 2^(k-1) · (1 + u/2) seconds, u uniform on [0, 1).

    Raises
    ------
    DownloadError
        Where Yahoo does not know the ticker, or all attempts failed.
    """
    from yfinance.exceptions import YFRateLimitError, YFTickerMissingError

    failure: Exception = RuntimeError("not asked")
    for attempt in range(config.attempts):
        if attempt:
            outside.sleep(config.first_pause * 2 ** (attempt - 1) * (1 + outside.random() / 2))
        try:
            return _ask(ticker, start, config, outside)
        except YFTickerMissingError as error:
            raise DownloadError(first_line(error).removeprefix(f"${ticker}: ")) from None
        except Exception as error:  # yfinance raises many kinds; none may stop the other tickers
            failure = error
    limited = isinstance(failure, YFRateLimitError)
    kind = "" if limited else f"{type(failure).__name__}: "
    raise DownloadError(f"{kind}{first_line(failure)} (in {config.attempts} attempts)", limited) from None


def _ask(ticker: str, start: pd.Timestamp, config: YahooConfig, outside: Outside) -> Download:
    import yfinance
    from yfinance.data import YfData

    _keep_apart()
    YfData.cache_get.cache_clear()  # it would give a broken answer, or an old one, again
    with _plain_errors(yfinance):
        asked = yfinance.Ticker(ticker, session=outside.session)
        # yfinance would spend a request to learn the time zone in which to read start and end; a day more at each end
        # does as well, and the index is in the exchange's time zone either way.
        asked._tz = "UTC"
        frame = asked.history(
            start=(start - pd.Timedelta(days=1)).strftime("%Y-%m-%d"),
            end=(outside.now() + pd.Timedelta(days=2)).strftime("%Y-%m-%d"),
            interval="1d",
            auto_adjust=False,  # closes and adjusted closes both; which makes the returns is said when they are made
            repair=config.repair,
            keepna=True,  # counted where a panel is made
            timeout=config.timeout,
        )
        about = asked.history_metadata
    table, timezone = _table(frame), str(about["exchangeTimezoneName"])
    return Download(
        table=table[table.index >= start],
        timezone=timezone,
        currency=str(about.get("currency") or ""),
        name=str(about.get("longName") or about.get("shortName") or ticker),
        final_after=_final_after(about, timezone),
    )


def _table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a day under our names; the split is 1 where there is none."""
    names = ("Close", "Adj Close", "Volume", "Stock Splits", "Dividends")
    days = pd.DatetimeIndex(frame.index).tz_localize(None).normalize().as_unit("s")
    table = pd.DataFrame(
        {ours: frame[theirs].to_numpy(float) for ours, theirs in zip(COLUMNS, names, strict=True)},
        index=pd.DatetimeIndex(days, name="date"),
    )
    table["split"] = table["split"].where((table["split"] > 0) & np.isfinite(table["split"]), 1.0)
    if "Capital Gains" in frame:  # of funds; Yahoo's dividends hold them already, unless they are too small for it
        gains = frame["Capital Gains"].to_numpy(float)
        table["dividend"] += np.where(table["dividend"] < gains, gains, 0.0)
    return table


def _final_after(about: Any, timezone: str) -> int:
    """Return the minute of the exchange's day from which its row is final: the close, and a little."""
    try:
        end = pd.Timestamp(about["currentTradingPeriod"]["regular"]["end"]).tz_convert(timezone)
    except (KeyError, TypeError):
        return _END_OF_DAY
    return int(end.hour * 60 + end.minute + _SETTLE)


@functools.cache
def _keep_apart() -> None:
    """Point yfinance's own caches to a folder of this process, removed when it ends.

    They hold pickled cookies, which a folder that others can write to must not.
    """
    import yfinance

    own = tempfile.mkdtemp(prefix="finattn-yfinance-")
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    yfinance.set_tz_cache_location(own)


@contextmanager
def _plain_errors(yfinance: Any) -> Iterator[None]:
    """Have yfinance raise what goes wrong, and neither log nor warn."""
    debug, log = yfinance.config.debug, logging.getLogger("yfinance")
    hidden, disabled = debug.hide_exceptions, log.disabled
    debug.hide_exceptions, log.disabled = False, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="yfinance")
            yield
    finally:
        debug.hide_exceptions, log.disabled = hidden, disabled
