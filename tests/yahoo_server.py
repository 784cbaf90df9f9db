"""A server on the loopback that answers as Yahoo's chart service does, and the session that leads yfinance to it.

It holds what was traded: raw closes, splits, dividends. What it answers is made of them as of a day, as Yahoo makes it:
closes, volumes and dividends in shares of that day, adjusted closes for dividends too.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd
from curl_cffi import requests

DELISTED = "No data found, symbol may be delisted"


@dataclass
class Stock:
    """What was traded, a row a day: raw closes and volumes; splits and dividends (raw, of shares before) by day."""

    days: list[str]
    close: list[float | None]
    volume: list[int] | None = None
    splits: dict[str, tuple[int, int]] = field(default_factory=dict)
    dividends: dict[str, float] = field(default_factory=dict)
    timezone: str = "America/New_York"
    currency: str = "USD"
    kind: str = "EQUITY"
    gains: dict[str, float] = field(default_factory=dict)
    session: tuple[str, str] = ("09:30", "16:00")
    changes: Callable[[dict], None] = lambda result: None  # to the answer, before it is sent


@dataclass
class Yahoo:
    """The server's state. `faults` of a ticker are spent one a request: a status, or bytes, or "hang"."""

    stocks: dict[str, Stock]
    today: str = "2024-06-28"
    faults: dict[str, list] = field(default_factory=dict)
    asked: list[tuple[str, pd.Timestamp]] = field(default_factory=list)
    crumb: int = 200
    port: int = 0
    release: threading.Event = field(default_factory=threading.Event)

    def tickers(self) -> list[str]:
        return [ticker for ticker, _ in self.asked]

    def session(self) -> "Loopback":
        return Loopback(self.port)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        """Return a status and a body; b"" with status 0 is no answer at all."""
        if path == "/v1/test/getcrumb":
            return self.crumb, b"crumb"
        if not path.startswith("/v8/finance/chart/"):
            return 404, b"<html></html>"  # the cookie's page and the consent's
        ticker = unquote(path.removeprefix("/v8/finance/chart/"))
        start, end = (pd.Timestamp(int(query[edge][0]), unit="s", tz="UTC") for edge in ("period1", "period2"))
        self.asked.append((ticker, start))
        faults = self.faults.get(ticker, [])
        fault = faults[0] if faults[-1:] == ["for ever"] else faults.pop(0) if faults else None
        if fault == "hang":
            self.release.wait(30)
            return 0, b""
        if isinstance(fault, int):
            return fault, b"Too Many Requests"
        if ticker not in self.stocks:
            error = {"code": "Not Found", "description": DELISTED}
            return 404, json.dumps({"chart": {"result": None, "error": error}}).encode()
        result = chart(ticker, self.stocks[ticker], start, end, self.today)
        body = json.dumps({"chart": {"result": [result], "error": None}}).encode()
        return 200, body if fault is None else fault(body)


def chart(ticker: str, stock: Stock, start: pd.Timestamp, end: pd.Timestamp, today: str) -> dict:
    """Return one result of Yahoo's, of the days from start to end as `today` sees them."""
    opens = [pd.Timestamp(f"{day} {stock.session[0]}", tz=stock.timezone) for day in stock.days]
    there = [day <= today and start <= at < end for day, at in zip(stock.days, opens, strict=True)]
    ratio = {day: up / down for day, (up, down) in stock.splits.items() if day <= today}
    close = np.array(stock.close, float)
    shares = np.array([np.prod([r for day, r in ratio.items() if day > row]) for row in stock.days])  # later splits
    held = np.array([np.prod([r for day, r in ratio.items() if day >= row]) for row in stock.days])
    cash = np.array([stock.dividends.get(day, 0.0) + stock.gains.get(day, 0.0) for day in stock.days])
    split_close = close / shares
    before = pd.Series(split_close).ffill().shift().to_numpy()
    paid = (cash > 0) & (np.array(stock.days) <= today)
    factor = 1 - np.divide(cash / held, before, out=np.zeros(len(cash)), where=paid)
    later = np.append(np.cumprod(factor[::-1])[::-1][1:], 1.0)
    volume = np.array(stock.volume or [1000] * len(stock.days)) * shares
    dates = [int(at.timestamp()) for at in opens]

    def column(values: np.ndarray) -> list[float | None]:
        return [None if np.isnan(v) else float(v) for v, ok in zip(values, there, strict=True) if ok]

    def events(amounts: dict[str, float]) -> dict:
        found = {}
        for row, day in enumerate(stock.days):
            if there[row] and day in amounts:
                found[str(dates[row])] = {"amount": amounts[day] / held[row], "date": dates[row]}
        return found

    times = [date for date, ok in zip(dates, there, strict=True) if ok]
    splits = {
        str(dates[row]): {"date": dates[row], "numerator": up, "denominator": down, "splitRatio": f"{up}:{down}"}
        for row, day in enumerate(stock.days)
        if there[row] and day in stock.splits
        for up, down in [stock.splits[day]]
    }
    edges = [int(pd.Timestamp(f"{today} {at}", tz=stock.timezone).timestamp()) for at in stock.session]
    period = {"timezone": "EST", "start": edges[0], "end": edges[1], "gmtoffset": 0}
    quote = {name: column(split_close) for name in ("open", "high", "low", "close")} | {"volume": column(volume)}
    result = {
        "meta": {
            "currency": stock.currency, "symbol": ticker, "instrumentType": stock.kind, "longName": f"{ticker} Inc.",
            "exchangeTimezoneName": stock.timezone, "regularMarketTime": edges[1], "regularMarketPrice": 1.0,
            "currentTradingPeriod": {name: dict(period) for name in ("pre", "regular", "post")},
            "priceHint": 2, "dataGranularity": "1d", "range": "", "validRanges": ["1d", "max"],
        },
        "timestamp": times,
        "events": {
            "dividends": events(stock.dividends), "splits": splits,
            "capitalGains": events(stock.gains),
        },
        "indicators": {"quote": [quote if times else {}], "adjclose": [{"adjclose": column(split_close * later)}]},
    }  # fmt: skip
    stock.changes(result)
    return result


class Loopback(requests.Session):
    """A session that asks this machine whatever host it is told to ask."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.timeouts = port, []

    def request(self, method, url, *args, **keywords):
        if "/chart/" in url:
            self.timeouts.append(keywords["timeout"])
        return super().request(method, f"http://127.0.0.1:{self.port}{urlsplit(url).path}", *args, **keywords)


@contextmanager
def serving(yahoo: Yahoo) -> Iterator[Yahoo]:
    """Answer on a free port until left."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, body = yahoo.answer(parts.path, parse_qs(parts.query))
            if not status:
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    yahoo.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield yahoo
    finally:
        yahoo.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
