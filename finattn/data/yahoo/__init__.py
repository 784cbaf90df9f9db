"""Daily prices of Yahoo Finance: `fetch` brings them to a cache on disk, `load` makes a panel of it.

Yahoo's data is for personal use and may not be redistributed.
"""

from finattn.data.yahoo.client import Outside
from finattn.data.yahoo.fetch import Fetched, fetch
from finattn.data.yahoo.panel import load, read_panel

__all__ = ["Fetched", "Outside", "fetch", "load", "read_panel"]
