"""Which tables of WRDS make a panel, and what is made of them."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from finattn.config.require import require, require_types
from finattn.errors import InputError

EXCHANGES = ("NYSE", "AMEX", "NASDAQ", "ARCA")
ITEMS = (
    "assets", "sales", "book_equity", "leverage", "investment", "return_on_assets", "rnd_to_sales", "rnd_to_assets",
)  # fmt: skip


@dataclass(frozen=True)
class WrdsConfig:
    """CRSP and Compustat as WRDS has them.

    Parameters
    ----------
    extracts : folder with a file for each table, called as the table (``msf_v2.parquet``, ``funda.csv``), with the
        columns that WRDS has; `finattn.data.wrds.fetch` writes them.
    database : URL of the server that `fetch` reads, ``postgresql://USER@wrds-pgdata.wharton.upenn.edu:9737/wrds``,
        without a password: PGPASSWORD or ~/.pgpass holds it.
    layout : "ciz" (msf_v2 or dsf_v2, and stksecurityinfohist) or "legacy" (msf or dsf, with names and delistings).
    frequency : "monthly" or "daily".
    common_shares : only common shares of firms incorporated in the US: share codes 10 and 11, and what CIZ has in their
        place.
    exchanges : exchanges of which shares are used, when issued too and unless halted; all where empty.
    missing_delisting : a delisting return that is not known stays "missing" (target.missing_delisting_return stands
        in), or of the legacy layout, after a delisting for performance, is taken as -30 % on NYSE and AMEX (Shumway
        1997) and -55 % on NASDAQ (Shumway and Warther 1999): "shumway".
    industries : "french" (Compustat's SIC of the fiscal year that ended in calendar year t-1, else CRSP's of June t,
        from the end of June t to that of June t+1), "crsp" (CRSP's SIC as of each date) or "none".
    compustat : fundamentals of "annual" or "quarterly" reports, or "none". items : which, by the names of
        `finattn.data.wrds.compustat.CHARACTERISTICS`.
    availability : a report is known at the end of the month that is lag_months after that in which its fiscal period
        ends ("lag"), or on the day after Compustat's report date rdq, of annual reports that of the fourth quarter, and
        after the lag where there is none ("rdq").
    stale_after : age, from the end of the fiscal period, beyond which a figure is missing; None for never.
    link_types, link_primary : linktype and linkprim of the links that are used.

    Raises
    ------
    InputError
        For what WRDS does not have, keys that do not go together, and a URL with a password, which is not shown.

    Examples
    --------
    >>> from finattn.config import WrdsConfig
    >>> WrdsConfig("wrds", compustat="annual", items=("book_equity", "leverage")).availability
    'lag'
    >>> WrdsConfig(compustat="annual")
    Traceback (most recent call last):
    finattn.errors.InputError: data.wrds.items must be given with data.wrds.compustat and only with it, found ()
    """

    extracts: str | None = None
    database: str | None = None
    layout: Literal["ciz", "legacy"] = "ciz"
    frequency: Literal["monthly", "daily"] = "monthly"
    common_shares: bool = True
    exchanges: tuple[str, ...] = ("NYSE", "AMEX", "NASDAQ")
    missing_delisting: Literal["missing", "shumway"] = "missing"
    industries: Literal["french", "crsp", "none"] = "french"
    compustat: Literal["none", "annual", "quarterly"] = "none"
    items: tuple[str, ...] = ()
    availability: Literal["lag", "rdq"] = "lag"
    lag_months: int = 6
    stale_after: str | None = "18M"
    link_types: tuple[str, ...] = ("LC", "LU")
    link_primary: tuple[str, ...] = ("P", "C")

    def __post_init__(self) -> None:
        """Refuse what WRDS does not have, and keys that do not go together."""
        require_types(self, "data.wrds.")
        for name, known in (("exchanges", EXCHANGES), ("items", ITEMS)):
            unknown = [value for value in getattr(self, name) if value not in known]
            require(f"data.wrds.{name}", unknown, not unknown, f"among {', '.join(known)}")
        given = bool(self.items) == (self.compustat != "none")
        require("data.wrds.items", self.items, given, "given with data.wrds.compustat and only with it")
        require("data.wrds.lag_months", self.lag_months, self.lag_months >= 1, "at least 1")
        without = self.missing_delisting == "missing" or self.layout == "legacy"
        expected = "'missing' unless the layout is 'legacy', which says why a firm was delisted"
        require("data.wrds.missing_delisting", self.missing_delisting, without, expected)
        for name in ("link_types", "link_primary"):
            require(f"data.wrds.{name}", getattr(self, name), getattr(self, name), "at least one code")
        if self.database is not None:
            self._check_database(self.database)

    def _check_database(self, url: str) -> None:
        """Refuse another kind of server and, without showing it, a password: a configuration is saved with its run."""
        try:
            parts = urlsplit(url)
        except ValueError:  # which would quote it
            raise InputError("data.wrds.database must be a postgresql:// URL, found one that cannot be read") from None
        kind, slashes, _ = url.partition("://")
        fits = slashes and kind.partition("+")[0] == "postgresql"
        require("data.wrds.database", f"{parts.scheme}://…", fits, "a postgresql:// URL")
        hidden = parts.password is None and not any(key.endswith("password") for key in parse_qs(parts.query))
        if not hidden:
            raise InputError(
                "data.wrds.database must be without a password, which PGPASSWORD or ~/.pgpass holds, found one"
            )
