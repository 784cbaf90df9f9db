"""Download of the quarterly zips and the list of tickers, by the SEC's rule of fair access; it can be resumed.

The rule (sec.gov/os/accessing-edgar-data): say who you are, and at most ten requests a second.
"""

import email.message
import http.client
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from finattn.config.require import require
from finattn.config.sec import SecConfig
from finattn.data.archives import open_archive, require_file
from finattn.data.sec.invariants import LARGEST, MEMBERS
from finattn.data.sec.quarters import quarters_between, zip_path
from finattn.data.sec.tickers import FILE, read_tickers
from finattn.errors import InputError
from finattn.storage import atomic_file

SITE = "https://www.sec.gov/files/"
_ZIPS = "dera/data/financial-statement-data-sets/"
_PAUSE = 0.12  # seconds between requests
_ATTEMPTS = 7
_LONGEST_WAIT = 600.0
_LARGEST_ZIP = 2**30  # bytes; quarters reach 130 MB
_BLOCK = 2**20
_TIMEOUT = 60


@dataclass
class Fetched:
    """Quarters that were downloaded, those that were there already, and the newest where it is not published yet.

    Examples
    --------
    A folder that has all that is asked for, with an empty quarter, so that nothing is downloaded:

    >>> import tempfile, zipfile
    >>> from finattn.config import SecConfig
    >>> from finattn.data import sec
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "company_tickers.json").write_text('{"0": {"cik_str": 320193, "ticker": "AAPL"}}')
    ...     with zipfile.ZipFile(f"{name}/2015q1.zip", "w") as quarter:
    ...         for member in ("sub.txt", "num.txt", "tag.txt"):
    ...             quarter.writestr(member, "")
    ...     found = sec.fetch(SecConfig(name, "Your Name you@example.org", first="2015Q1", last="2015Q1"))
    >>> found.downloaded, found.present
    ([], ['2015Q1'])
    """

    downloaded: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    unpublished: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Web:
    """What a download needs of the world."""

    agent: str
    site: str
    say: Callable[[str], None]
    open_url: Callable[..., Any]
    sleep: Callable[[float], None]


class _Absent(Exception):
    """The server has no such file."""


class _Passing(Exception):
    """A failure that may pass, and the seconds that the server asks to wait."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def fetch(
    config: SecConfig,
    *,
    say: Callable[[str], None] | None = None,
    open_url: Callable[..., Any] = urllib.request.urlopen,
    sleep: Callable[[float], None] = time.sleep,
    site: str = SITE,
    today: date | None = None,
) -> Fetched:
    """Download the quarters that are not in the folder yet, and the list of tickers where there is none.

    A list of tickers that is there is never downloaded again: delete it to have today's.
    A file is written under its name when it is whole and what it should be. Refusals that may pass (403, 429, 5xx) and
    broken connections are tried again, after waits that double, with chance in them. Without `config.last` the newest
    quarter is the last that has ended; one that is not published yet is said, not refused.

    Parameters
    ----------
    config : folder, user agent and quarters.
    say : is told what happens, a line at a time.
    open_url, sleep, site, today : the world, for tests.

    Raises
    ------
    InputError
        Without a folder or a user agent, where the server refuses or fails for good, where what it sends is not such a
        file, and where something else has its name.

    Examples
    --------
    The SEC wants to know who asks:

    >>> from finattn.config import SecConfig
    >>> from finattn.data import sec
    >>> sec.fetch(SecConfig("sec", first="2015Q1"))
    Traceback (most recent call last):
    finattn.errors.InputError: data.sec.user_agent must be your name and own e-mail, to download, found None
    """
    require("data.sec.folder", config.folder, config.folder is not None, "a folder, to download")
    require("data.sec.user_agent", config.user_agent, config.user_agent, "your name and own e-mail, to download")
    web = _Web(str(config.user_agent), site, say or (lambda line: None), open_url, sleep)
    folder, found = Path(str(config.folder)), Fetched()
    quarters = quarters_between(config.first, config.last or _last_ended(today or date.today()))
    for quarter in quarters:
        path = zip_path(folder, quarter)
        if _is_whole(path):
            found.present.append(quarter)
        elif _download(web, _ZIPS + path.name, path, _check_zip):
            found.downloaded.append(quarter)
        elif quarter == quarters[-1]:
            found.unpublished.append(quarter)
            web.say(f"{quarter} is not published yet")
        else:
            raise InputError(f"{quarter} must be published, found none at {site}{_ZIPS}{path.name} (404)")
    if os.path.lexists(folder / FILE):
        try:
            read_tickers(folder / FILE)
        except InputError as error:
            raise InputError(f"{error}: delete it to have today's") from None
    elif not _download(web, FILE, folder / FILE, read_tickers):
        raise InputError(f"the list of tickers must be at {site}{FILE}, found none (404)")
    return found


def _last_ended(today: date) -> str:
    year, quarter = (today.year, (today.month - 1) // 3) if today.month > 3 else (today.year - 1, 4)
    return f"{year}Q{quarter}"


def _is_whole(path: Path) -> bool:
    """Say whether a quarter is there; a file that is there and is no such zip is downloaded again."""
    if os.path.lexists(path):
        require_file(path)
    try:
        _check_zip(path)
    except InputError:
        return False
    return True


def _check_zip(path: Path) -> None:
    with open_archive(path, MEMBERS, limit=LARGEST):
        pass


def _download(web: _Web, name: str, path: Path, check: Callable[[Path], object]) -> bool:
    """Download one file; return False where the server has none."""
    for attempt in range(_ATTEMPTS):
        web.sleep(_PAUSE)
        try:
            with atomic_file(path) as temporary:
                size = _receive(web, name, temporary)
                _confirm(temporary, path.name, web.site + name, check)
            web.say(f"{path.name}: {size} bytes")
            return True
        except _Absent:
            return False
        except _Passing as error:
            if attempt + 1 == _ATTEMPTS:
                raise InputError(f"{web.site}{name} must be there to download, found {error}") from None
            wait = min(max(error.wait, 2**attempt * random.uniform(0.5, 1.5)), _LONGEST_WAIT)
            web.say(f"{path.name}: {error}; again in {wait:.0f} s")
            web.sleep(wait)
    raise AssertionError  # the loop ends by returning or raising


def _confirm(temporary: Path, name: str, url: str, check: Callable[[Path], object]) -> None:
    """Refuse what came, such as a page that says something else, by the name that it was to have."""
    try:
        check(temporary)
    except InputError as error:
        found = str(error).replace(str(temporary), name)
        raise InputError(f"{url} must lead to such a file, found another: {found}") from None


def _receive(web: _Web, name: str, path: Path) -> int:
    """Write what a request brings to a file; return the number of bytes."""
    request = urllib.request.Request(web.site + name, headers={"User-Agent": web.agent})
    try:
        with closing(web.open_url(request, timeout=_TIMEOUT)) as response, path.open("wb") as file:
            size = sum(file.write(block) for block in _blocks(response, web.site + name))
            declared = response.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        with closing(error):
            if error.code == 404:
                raise _Absent from None
            if error.code in (403, 429) or error.code >= 500:
                raise _Passing(f"status {error.code}", _asked_wait(error.headers)) from None
            raise InputError(f"{web.site}{name} must be there to download, found status {error.code}") from None
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Passing(f"a broken connection ({' '.join(str(error).split()) or type(error).__name__})") from None
    if declared is not None and str(size) != declared:
        raise _Passing(f"{size} of {declared} bytes")
    return size


def _blocks(response: Any, url: str) -> Iterator[bytes]:
    size = 0
    while block := response.read(_BLOCK):
        size += len(block)
        if size > _LARGEST_ZIP:
            raise InputError(f"{url} must have at most {_LARGEST_ZIP} bytes, found more")
        yield block


def _asked_wait(headers: email.message.Message) -> float:
    """Return the seconds of a header Retry-After, 0 for none (or a date, which the SEC does not send)."""
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else 0.0
