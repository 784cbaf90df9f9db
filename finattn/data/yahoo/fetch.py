"""From Yahoo to the cache: ticker by ticker, and again from where it stopped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import as_day
from finattn.config.require import require
from finattn.config.yahoo import YahooConfig
from finattn.data.yahoo.cache import About, Cached, locked, place, read, write
from finattn.data.yahoo.client import Download, DownloadError, Outside, download
from finattn.errors import InputError

STATUSES = ("fetched", "updated", "refetched", "unchanged", "failed")
_OVERLAP = pd.Timedelta(days=14)  # downloaded again before new days, to see whether history is still the same
_TOLERANCE = 1e-5  # relative: Yahoo's adjusted closes move by less from one answer to the next
_GIVE_UP = 3  # tickers in a row that were refused for the rate, after which no more are asked


@dataclass(frozen=True)
class Fetched:
    """What became of each ticker.

    Parameters
    ----------
    table : a row a ticker with ticker, status, rows (in the cache), first, last (days of them), reason (why the status
        is "refetched" or "failed"). A ticker that failed keeps the rows that the cache had.

    Examples
    --------
    A cache that has the one day that is asked for, so that Yahoo is not asked:

    >>> import tempfile
    >>> from finattn.config import YahooConfig
    >>> from finattn.data import yahoo
    >>> from finattn.data.yahoo.cache import About, Cached, place, write
    >>> about = About("A", "America/New_York", "USD", "A", "2024-06-04", "2024-06-04", 990, "2024-06-05T00:00:00Z")
    >>> row = {"close": 50.0, "adjusted_close": 50.0, "volume": 8.0, "split": 1.0, "dividend": 0.0}
    >>> with tempfile.TemporaryDirectory() as cache:
    ...     config = YahooConfig(("A",), cache)
    ...     write(place(config, "A"), Cached(about, pd.DataFrame(row, pd.to_datetime(["2024-06-04"]))))
    ...     found = yahoo.fetch(config, start="2024-06-04", end="2024-06-04")
    >>> found.table[["ticker", "status", "rows", "last"]]
      ticker     status  rows       last
    0      A  unchanged     1 2024-06-04
    >>> found.counts["unchanged"], found.counts["failed"]
    (1, 0)
    """

    table: pd.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Tickers by status."""
        return {status: int((self.table["status"] == status).sum()) for status in STATUSES}


class _Span(NamedTuple):
    """Days wanted, and the time at which they are: `end` None for all up to now."""

    start: pd.Timestamp
    end: pd.Timestamp | None
    now: pd.Timestamp


class _Outcome(NamedTuple):
    ticker: str
    status: str
    cached: Cached | None
    reason: str = ""
    asked: bool = True
    limited: bool = False


def fetch(
    config: YahooConfig,
    start: str,
    end: str | None = None,
    *,
    say: Callable[[str], None] | None = None,
    outside: Outside | None = None,
) -> Fetched:
    """Bring the cache of each ticker up to date; what fails is reported, and the rest goes on.

    A ticker whose cache covers the span is left alone, so that a second call goes on where a killed one stopped. An
    older one is asked for the last 14 days and what came since: where closes, adjusted closes, splits or dividends of
    these days are no longer the same, as after every later split or dividend, the whole ticker is fetched anew. Rows
    are kept up to the last day that is over at the exchange, also after `end`: Yahoo's closes are in today's shares,
    and only later splits say what was paid then; of a day that is not over, its split and dividend alone. After three
    tickers in a row that Yahoo refused for the rate, it is not asked for the others; call again later.

    Parameters
    ----------
    config : with tickers. start : first day, "1990-01-01". end : last day that is needed; None for the last there is.
    say : is given a line a batch. outside : see `Outside`.

    Raises
    ------
    InputError
        Without tickers, or for days that cannot be.

    Examples
    --------
    >>> fetch(YahooConfig(), "2020-01-01")
    Traceback (most recent call last):
    finattn.errors.InputError: data.yahoo.tickers must be given, found ()
    """
    require("data.yahoo.tickers", config.tickers, config.tickers, "given")
    outside = outside or Outside()
    first = pd.Timestamp(as_day(start, last=False))
    final = None if end is None else pd.Timestamp(as_day(end, last=True))
    require("data.end", end, final is None or final >= first, f"on or after data.start, {start}")
    require("data.start", start, first <= outside.now().tz_localize(None), "in the past")
    say = say or (lambda line: None)
    outcomes: list[_Outcome] = []
    stream = _outcomes(config, first, final, outside)
    batches = -(-len(config.tickers) // config.batch)
    for number in range(1, batches + 1):
        batch = list(islice(stream, config.batch))
        outcomes += batch
        say(f"batch {number} of {batches}: {_summary(batch)}")
        if number < batches and any(outcome.asked for outcome in batch):
            outside.sleep(config.pause)
    return Fetched(pd.DataFrame([_row(outcome) for outcome in outcomes]))


def _outcomes(
    config: YahooConfig, start: pd.Timestamp, end: pd.Timestamp | None, outside: Outside
) -> Iterator[_Outcome]:
    limited = 0  # tickers in a row
    for ticker in config.tickers:
        path = place(config, ticker)
        with locked(path):
            outcome = _bring(ticker, path, _Span(start, end, outside.now()), config, outside, limited < _GIVE_UP)
        if outcome.asked:
            limited = limited + 1 if outcome.limited else 0
        yield outcome


def _bring(ticker: str, path: Path, span: _Span, config: YahooConfig, outside: Outside, may_ask: bool) -> _Outcome:
    """Leave a ticker's file alone, or ask Yahoo and write it."""
    damage = ""
    try:
        cached = read(path)
    except InputError:
        cached, damage = None, "the cache's file was damaged"
    if cached and _covers(cached.about, span):
        return _Outcome(ticker, "unchanged", cached, asked=False)
    if not may_ask:
        reason = f"not asked: Yahoo refused {_GIVE_UP} tickers in a row for the rate; fetch again later"
        return _Outcome(ticker, "failed", cached, reason, asked=False)
    try:
        if cached and pd.Timestamp(cached.about.start) <= span.start:
            fresh, status, reason = _update(ticker, cached, span, config, outside)
        else:
            fresh, status, reason = _whole(ticker, cached, span, config, outside, damage)
    except DownloadError as error:
        reason = f"{damage}; {error}" if damage else str(error)
        return _Outcome(ticker, "failed", cached, reason, limited=error.limited)
    write(path, fresh)
    return _Outcome(ticker, status, fresh, reason)


def _update(ticker: str, cached: Cached, span: _Span, config: YahooConfig, outside: Outside) -> tuple[Cached, str, str]:
    """Add what came since, or fetch all anew where the days before it are no longer the same."""
    last = cached.final.index[-1]
    since = last - _OVERLAP
    fresh = _cached(ticker, cached.about.start, download(ticker, since, config, outside), span.now)
    change = _change(cached.final[since:], fresh.table[:last])
    if change:
        return _whole(ticker, cached, span, config, outside, change)
    table = pd.concat([cached.table[cached.table.index < since], fresh.table])
    updated = Cached(fresh.about, table)
    return updated, "unchanged" if len(updated.final) == len(cached.final) else "updated", ""


def _whole(
    ticker: str, cached: Cached | None, span: _Span, config: YahooConfig, outside: Outside, reason: str
) -> tuple[Cached, str, str]:
    """Fetch all days of a ticker, from the cache's first day where that is earlier."""
    start = span.start
    if cached and not reason:
        reason = f"days before {cached.about.start} are wanted"
    if cached:
        start = min(start, pd.Timestamp(cached.about.start))
    fresh = _cached(ticker, str(start.date()), download(ticker, start, config, outside), span.now)
    if not (fresh.final["close"] > 0).any():
        raise DownloadError(f"no close from {start.date()} to {fresh.about.through}")
    return fresh, "refetched" if reason else "fetched", reason


def _cached(ticker: str, start: str, found: Download, now: pd.Timestamp) -> Cached:
    """Leave out a day that is not over, whose last price is no close, but for its split and dividend.

    Yahoo's closes before it are adjusted for that split already.
    """
    through = _last_day(now, found.timezone, found.final_after)
    table, over = found.table.copy(), found.table.index <= through
    table.loc[~over, ["close", "adjusted_close", "volume"]] = np.nan
    kept = over | (table["split"] != 1) | (table["dividend"] > 0)
    about = About(
        ticker=ticker,
        timezone=found.timezone,
        currency=found.currency,
        name=found.name,
        start=start,
        through=str(through.date()),
        final_after=found.final_after,
        retrieved=now.tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return Cached(about, table[kept])


def _last_day(now: pd.Timestamp, timezone: str, final_after: int) -> pd.Timestamp:
    """Return the last day that is over at an exchange, a trading day or not."""
    local = now.tz_convert(timezone)
    over = local.hour * 60 + local.minute >= final_after
    return local.tz_localize(None).normalize() - pd.Timedelta(days=0 if over else 1)


def _covers(about: About, span: _Span) -> bool:
    needed = _last_day(span.now, about.timezone, about.final_after)
    if span.end is not None:
        needed = min(needed, span.end)
    return pd.Timestamp(about.start) <= span.start and pd.Timestamp(about.through) >= needed


def _change(old: pd.DataFrame, new: pd.DataFrame) -> str:
    """Say what in the days that two answers share is not the same; nothing where all is."""
    if not old.index.equals(new.index):
        day = old.index.symmetric_difference(new.index)[0]
        return f"{day.date()} {'came to' if day in new.index else 'went from'} the history"
    for name in ("close", "adjusted_close", "split", "dividend"):
        before, after = old[name].to_numpy(), new[name].to_numpy()
        differs = ~np.isclose(before, after, rtol=_TOLERANCE, atol=0, equal_nan=True)
        if differs.any():
            row = int(np.argmax(differs))
            return f"{name} of {old.index[row].date()} was {before[row]:.6g} and is {after[row]:.6g}"
    return ""


def _summary(batch: list[_Outcome]) -> str:
    counts = {status: sum(outcome.status == status for outcome in batch) for status in STATUSES}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    failed = [f"{outcome.ticker}: {outcome.reason}" for outcome in batch if outcome.status == "failed"]
    return "; ".join([said, *failed[:3], *([f"and {len(failed) - 3} more"] if len(failed) > 3 else [])])


def _row(outcome: _Outcome) -> dict[str, object]:
    days = outcome.cached.final.index if outcome.cached else pd.DatetimeIndex([pd.NaT]).as_unit("s")
    return {
        "ticker": outcome.ticker,
        "status": outcome.status,
        "rows": len(days) if outcome.cached else 0,
        "first": days[0],
        "last": days[-1],
        "reason": outcome.reason,
    }
