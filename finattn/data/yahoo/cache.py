"""What Yahoo said, on disk: one Parquet file a ticker, which holds the span that it covers beside its rows.

A file is written whole, under a lock that dies with its process, and its pages have checksums. It holds what Yahoo
gave, rows without a close included, in shares of the day on which it was retrieved: `finattn.data.yahoo.panel` makes of
it what was known on each date.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from finattn.config.yahoo import YahooConfig
from finattn.data.table_files import located
from finattn.errors import InputError
from finattn.storage import atomic_file, sweep

COLUMNS = ("close", "adjusted_close", "volume", "split", "dividend")
_SCHEMA = pa.schema([("date", pa.date32()), *((name, pa.float64()) for name in COLUMNS)])
_KEY = b"finattn.yahoo.1"  # the number is that of this layout: a file of another one is fetched anew


@dataclass(frozen=True)
class About:
    """What a ticker's rows are and which days they cover.

    Parameters
    ----------
    ticker : Yahoo's symbol. timezone : of its exchange. currency : of its prices, "GBp" for pence. name : of the firm.
    start : first day that was asked for. through : last day that was over when Yahoo was asked last.
    final_after : minute of the exchange's day from which that day's row is final.
    retrieved : when Yahoo was asked last, UTC.
    """

    ticker: str
    timezone: str
    currency: str
    name: str
    start: str
    through: str
    final_after: int
    retrieved: str


class Cached(NamedTuple):
    """A ticker's file: `table` has a row a day, by the exchange's date, and columns `COLUMNS`.

    A row after `about.through` is of a day that was not over: it has a split or a dividend, by which Yahoo had adjusted
    the closes before already, and nothing else.
    """

    about: About
    table: pd.DataFrame

    @property
    def final(self) -> pd.DataFrame:
        """Rows of days that are over."""
        return self.table[: self.about.through]


def place(config: YahooConfig, ticker: str) -> Path:
    """Return the file of a ticker; whatever the ticker, it lies in the cache and has a name that every system allows.

    Examples
    --------
    >>> [place(YahooConfig(cache="c"), ticker).as_posix() for ticker in ("BRK-B", "../X")]
    ['c/BRK-B-1d/prices.parquet', 'c/%2E%2E%2FX-1d/prices.parquet']
    """
    name = re.sub(r"[^A-Z0-9_-]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), ticker)
    # The ending keeps CON and other names of Windows's devices from being the whole name.
    return folder(config) / f"{name}-1d" / ("repaired.parquet" if config.repair else "prices.parquet")


def folder(config: YahooConfig) -> Path:
    """Return the cache's folder."""
    if config.cache is not None:
        return Path(config.cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finattn" / "yahoo"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process works on a ticker, and remove what a killed one left half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):
        sweep(path.parent)
        yield


def write(path: Path, cached: Cached) -> None:
    """Write a ticker's file; it is whole, or the old one stays."""
    days = cached.table.index.to_numpy().astype("M8[D]")
    arrays = [pa.array(days), *(pa.array(cached.table[name].to_numpy(float)) for name in COLUMNS)]
    table = pa.Table.from_arrays(arrays, schema=_SCHEMA.with_metadata({_KEY: json.dumps(asdict(cached.about))}))
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)


def read(path: Path) -> Cached | None:
    """Read a ticker's file; None where there is none.

    Raises
    ------
    InputError
        Naming the file, for one that is damaged or was not written by `write`.
    """
    if not path.is_file():
        return None
    with located(path):
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        about = _about((table.schema.metadata or {}).get(_KEY))
        if about is None or not table.schema.equals(_SCHEMA) or not len(table):
            raise InputError("must be a file of finattn's Yahoo cache, found another")
        days = table["date"].to_numpy().astype("M8[s]")
        if not (np.diff(days).astype(int) > 0).all():
            raise InputError("days must be strictly increasing, found others")
    columns = {name: table[name].to_numpy() for name in COLUMNS}
    return Cached(about, pd.DataFrame(columns, index=pd.DatetimeIndex(days, name="date")))


def _about(text: bytes | None) -> About | None:
    """Read what a file says of itself; None where that is not what `write` says."""
    try:
        about = About(**json.loads(text or b""))
        pd.Timestamp(about.start, tz=about.timezone)
        pd.Timestamp(about.through)
    except (KeyError, TypeError, ValueError):
        return None
    return about
