"""From tickers to the SEC's own numbers of firms (CIK), by its list of today."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from finattn.data.archives import require_file
from finattn.errors import InputError

FILE = "company_tickers.json"
LARGEST = 2**26  # bytes; the list has about one million
CAVEAT = (
    "tickers are matched by the SEC's list of today: a ticker that another firm had in the past leads to the wrong "
    "reports, and firms that are no longer listed lead to none"
)


def read_tickers(path: str | Path) -> dict[str, int]:
    """Return the CIK of each ticker, of which classes of shares are told by a dash: "BRK-B".

    Raises
    ------
    InputError
        Naming the file, where it is not the SEC's list.
    """
    path = Path(path)
    require_file(path, "the SEC's list of tickers")
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} must have at most {LARGEST} bytes, found {path.stat().st_size}")
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} must be the SEC's list of tickers, found no readable JSON") from None
    found: dict[str, int] = {}
    for key, row in content.items() if isinstance(content, dict) else [("", None)]:
        cik, ticker = (row.get("cik_str"), row.get("ticker")) if isinstance(row, dict) else (None, None)
        if type(cik) is not int or not 0 < cik < 10**10 or not isinstance(ticker, str) or not plain(ticker):
            raise InputError(
                f"{path} must have a number cik_str and a text ticker in every row, found none in row {key[:40]!r}"
            )
        found.setdefault(plain(ticker), cik)  # the list is by size: the larger firm first
    if not found:
        raise InputError(f"{path} must have tickers, found none")
    return found


def plain(ticker: str) -> str:
    """Return a ticker as the SEC writes it.

    Examples
    --------
    >>> plain("brk.b")
    'BRK-B'
    """
    return ticker.strip().upper().replace(".", "-").replace("/", "-")


def ciks_of(firms: Sequence[str], tickers: dict[str, int] | None) -> dict[str, int]:
    """Return the CIK of each firm that has one; without tickers the firms are CIKs themselves.

    Examples
    --------
    >>> ciks_of(["0000320193", "?"], None), ciks_of(["BRK.A", "BRK.B", "X"], {"BRK-A": 1067983, "BRK-B": 1067983})
    ({'0000320193': 320193}, {'BRK.A': 1067983, 'BRK.B': 1067983})
    """
    if tickers is None:
        return {firm: int(firm) for firm in firms if re.fullmatch("[0-9]{1,10}", firm)}
    return {firm: tickers[plain(firm)] for firm in firms if plain(firm) in tickers}
