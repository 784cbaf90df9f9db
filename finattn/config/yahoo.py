"""Which tickers to ask Yahoo for, how, and where what it says is kept."""

import re
from dataclasses import dataclass

from finattn.config.require import require, require_types


@dataclass(frozen=True)
class YahooConfig:
    """What `finattn data fetch yahoo` downloads and the source "yahoo" reads.

    Yahoo's data is for personal use and may not be redistributed: keep the cache to yourself.

    Parameters
    ----------
    tickers : Yahoo's symbols, such as "BRK-B", "^GSPC" or "7203.T"; they are the panel's firms, in this order.
    cache : folder of what was downloaded; None for finattn/yahoo in the user's folder of caches.
    auto_adjust : make returns of Yahoo's adjusted closes. Otherwise of closes and dividends.
    repair : have yfinance mend prices that are wrong by a factor of 100, missing, or badly adjusted; it asks Yahoo for
        more. What is mended has a cache of its own.
    batch : tickers between two pauses. pause : seconds between batches; by default about 60 tickers a minute.
    attempts : requests for a ticker before it counts as failed.
    first_pause : seconds after the first that was refused or broken; each pause is twice the one before, and up to
        half as long again by chance.
    timeout : seconds to wait for an answer.

    Raises
    ------
    InputError
        For tickers that cannot be, and numbers out of their range.

    Examples
    --------
    >>> YahooConfig(tickers=("AAPL", "BRK-B")).auto_adjust
    False
    """

    tickers: tuple[str, ...] = ()
    cache: str | None = None
    auto_adjust: bool = False
    repair: bool = False
    batch: int = 20
    pause: float = 15.0
    attempts: int = 5
    first_pause: float = 5.0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; tickers are in capitals, as yfinance writes them."""
        require_types(self, "data.yahoo.")
        given = self.tickers
        require("data.yahoo.tickers", given, isinstance(given, list | tuple), "a list")
        for ticker in given:
            symbol = isinstance(ticker, str) and re.fullmatch(r"[!-~]{1,40}", ticker)
            require("data.yahoo.tickers", ticker, symbol, "symbols of at most 40 characters without spaces")
        tickers = tuple(ticker.upper() for ticker in given)
        object.__setattr__(self, "tickers", tickers)
        require("data.yahoo.tickers", given, len(set(tickers)) == len(tickers), "distinct")
        for name in ("auto_adjust", "repair"):
            require(f"data.yahoo.{name}", getattr(self, name), isinstance(getattr(self, name), bool), "true or false")
        for name in ("batch", "attempts"):
            require(f"data.yahoo.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("pause", "first_pause"):
            require(f"data.yahoo.{name}", getattr(self, name), getattr(self, name) >= 0, "at least 0")
        require("data.yahoo.timeout", self.timeout, self.timeout > 0, "above 0")
