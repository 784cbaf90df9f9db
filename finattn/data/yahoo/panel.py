"""From the cache to a panel in which each row holds what was known on its date."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from finattn.checks import as_day, some
from finattn.config import DataConfig
from finattn.config.yahoo import YahooConfig
from finattn.data.industry_table import with_industries
from finattn.data.prices import apply_prices
from finattn.data.yahoo.cache import Cached, folder, place, read
from finattn.errors import InputError
from finattn.panel import Panel

_FETCH = "run finattn data fetch yahoo"
_CAVEATS = (
    "Yahoo's data is for personal use and may not be redistributed: neither may this panel.",
    "Yahoo lists what trades today, and tickers are chosen today: firms that failed or were bought are missing, so "
    "that returns of every strategy and of the market are flattered.",
    "Yahoo mends its history without saying so; a later retrieval may differ.",
)


def load(config: DataConfig) -> Panel:
    """Read what `finattn data fetch yahoo` brought, with the industries of a table of one's own.

    Parameters
    ----------
    config : of which `yahoo`, start, longest_gap, periods_per_year and the keys of industries are used.

    Returns
    -------
    Panel, see `read_panel`.

    Raises
    ------
    InputError
        As `read_panel`, and for the table of industries.

    Examples
    --------
    >>> from finattn.config import DataConfig, YahooConfig
    >>> from finattn.data import yahoo
    >>> yahoo.load(DataConfig("yahoo", yahoo=YahooConfig(("A",), cache="data")))  # before `yahoo.fetch`
    Traceback (most recent call last):
    finattn.errors.InputError: data.yahoo.tickers must be in the cache data, found no 'A': run finattn data fetch yahoo
    """
    panel = read_panel(config.yahoo, config.start, config.longest_gap, config.periods_per_year)
    return panel if config.industries is None else with_industries(panel, config)


def read_panel(
    config: YahooConfig, start: str | None = None, longest_gap: int = 0, periods_per_year: int = 252
) -> Panel:
    """Read the cached tickers into one panel; nothing is downloaded.

    Yahoo's closes, volumes and dividends are in shares of the day of retrieval: adjusted for all later splits, and
    closes not for dividends. With S_t the product of a ticker's splits after t, the panel has what was known at t:
    price = close · S_t and dollar_volume = volume / S_t · price, in the currency of the exchange. Splits after the day
    of retrieval are in neither. Returns are (close_t + dividend_t) / close_{t-1} − 1 (`finattn.data.prices`), or, with
    `config.auto_adjust`, ratios of Yahoo's adjusted closes, for which it takes a dividend off the close before; the two
    differ by about the price's change times the dividend's yield.

    Dates are the exchanges' own, and the calendar has every date on which a ticker has a close. Where exchanges differ
    in holidays, a firm's return after one of its own is missing unless `longest_gap` bridges it.

    A firm is listed on the dates on which it has a close, and on no other, so that nothing depends on what came later.
    A gap is thus an interruption, for which `finattn.blocks.forward_returns` gives no target, and the date after the
    last close is that on which the firm left; Yahoo gives no delisting return for it.

    Parameters
    ----------
    config : tickers, which become firms, and the cache. start : first day that the cache must cover.
    longest_gap : dates without a close that a return may bridge. periods_per_year : of the panel.

    Returns
    -------
    Panel (t, n). ``source`` says when Yahoo was asked, through which day the cache reaches and for which tickers it
    ends earlier, currencies, caveats, and `counts` of what was left out: rows_without_close, infinite_values,
    zero_prices, returns_after_gaps.

    Raises
    ------
    InputError
        Naming tickers that are not in the cache or do not reach back to `start`, and a damaged file.

    Examples
    --------
    A cache of two days, with a split two for one on the second: Yahoo halves the close before it.

    >>> import tempfile
    >>> from finattn.data.yahoo.cache import About, write
    >>> about = About("A", "America/New_York", "USD", "A", "2024-06-03", "2024-06-04", 990, "2024-06-05T00:00:00Z")
    >>> rows = {"close": [50.0, 51.0], "adjusted_close": [50.0, 51.0], "volume": [8.0, 9.0]}
    >>> rows |= {"split": [1.0, 2.0], "dividend": [0.0, 0.0]}
    >>> with tempfile.TemporaryDirectory() as cache:
    ...     config = YahooConfig(("A",), cache)
    ...     write(place(config, "A"), Cached(about, pd.DataFrame(rows, pd.to_datetime(["2024-06-03", "2024-06-04"]))))
    ...     panel = read_panel(config)
    >>> panel.price[:, 0].tolist(), panel.returns[1, 0].round(3).tolist()
    ([100.0, 51.0], 0.02)
    """
    cached = _read_all(config, start)
    counts = {"rows_without_close": 0, "infinite_values": 0}
    tables = [_clean(item, counts) for item in cached]
    # A day without any close is one on which no exchange traded; a split or dividend on it stays once it is over.
    over = [table[: item.about.through].index.to_numpy() for table, item in zip(tables, cached, strict=True)]
    calendar = pd.DatetimeIndex(np.unique(np.concatenate(over)))
    fields: dict[str, Any] = {
        "dates": calendar.to_numpy().astype("M8[D]"),
        "firms": np.array(config.tickers, str),
        "names": tuple(item.about.name for item in cached),
        "counts": counts,
    }
    columns = _as_traded(tables, config.auto_adjust)
    fields |= {name: _wide(calendar, [column[name] for column in columns]) for name in columns[0]}
    fields["listed"] = fields["price"] > 0
    apply_prices(fields, "adjusted_prices" if config.auto_adjust else "raw_prices", longest_gap)
    del fields["counts"]
    source = _source(cached, config, longest_gap)
    source["counts"] = {name: count for name, count in counts.items() if count}
    return Panel(**fields, periods_per_year=periods_per_year, source=source)


def _read_all(config: YahooConfig, start: str | None) -> list[Cached]:
    if not config.tickers:
        raise InputError("data.yahoo.tickers must be given, found ()")
    found = {ticker: read(place(config, ticker)) for ticker in config.tickers}
    cached = [item for item in found.values() if item is not None]
    missing = [ticker for ticker, item in found.items() if item is None]
    where = f"the cache {folder(config)}"
    if missing:
        raise InputError(f"data.yahoo.tickers must be in {where}, found no {some(missing)}: {_FETCH}")
    if start is not None:
        day = str(as_day(start, last=False))
        late = [item.about.ticker for item in cached if item.about.start > day]
        if late:
            raise InputError(f"data.start must be covered by {where}, found later starts of {some(late)}: {_FETCH}")
    return cached


def _clean(cached: Cached, counts: dict[str, int]) -> pd.DataFrame:
    """Make infinities missing and leave out days on which nothing happened, and add to the counts of them."""
    infinite = np.isinf(cached.table.to_numpy())
    table = cached.table.mask(infinite)
    empty = table["close"].isna() & (table["split"] == 1) & ~(table["dividend"] > 0)
    counts["infinite_values"] += int(infinite.sum())
    counts["rows_without_close"] += int(table[: cached.about.through]["close"].isna().sum())
    return table[~empty]


def _as_traded(tables: Sequence[pd.DataFrame], auto_adjust: bool) -> list[dict[str, pd.Series]]:
    """Undo the adjustment for later splits."""
    columns = []
    for table in tables:
        held = table["split"][::-1].cumprod()[::-1]  # shares today of one held at the close before
        shares = held / table["split"]  # of one at this close
        column = {"price": table["close"] * shares, "volume": table["volume"] / shares}
        if auto_adjust:
            column["adjusted_price"] = table["adjusted_close"]
        else:
            column |= {"split": table["split"], "dividend": table["dividend"] * held}
        columns.append(column)
    return columns


def _wide(calendar: pd.DatetimeIndex, columns: Sequence[pd.Series]) -> np.ndarray:
    """Place a series a firm on the calendar (t, n); what is on a day that is not over has no place there."""
    wide = np.full((len(calendar), len(columns)), np.nan)
    for n, column in enumerate(columns):
        wide[:, n] = column.reindex(calendar).to_numpy()
    return wide


def _source(cached: Sequence[Cached], config: YahooConfig, longest_gap: int) -> dict[str, Any]:
    abouts = [item.about for item in cached]
    retrieved, through = ([getattr(about, name) for about in abouts] for name in ("retrieved", "through"))
    currencies = pd.Series([about.currency for about in abouts]).value_counts().to_dict()
    mixed = ["price and dollar_volume are in several currencies: compare them within one."] * (len(currencies) > 1)
    earlier = {about.ticker: about.through for about in abouts if about.through < max(through)}
    how = "Yahoo's adjusted closes" if config.auto_adjust else "closes and dividends"
    return {
        "name": "Yahoo Finance, through yfinance",
        "retrieved": {"first": min(retrieved), "last": max(retrieved)},
        "cached_through": {"all": max(through)} | ({"but": earlier} if earlier else {}),
        "returns": f"simple, close to close, from {how}",
        "price": "close as traded, before later splits; dollar_volume is shares as traded times it",
        "currencies": currencies,
        "repair": config.repair,
        "longest_gap": longest_gap,
        "caveats": [*_CAVEATS, *mixed],
    }
