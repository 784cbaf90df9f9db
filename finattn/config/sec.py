"""The Financial Statement Data Sets of the US Securities and Exchange Commission (SEC)."""

import re
from dataclasses import dataclass
from typing import Literal

from finattn.config.require import require, require_types

# Their formulas are in `finattn.data.sec.figures`.
SEC_ITEMS = (
    "assets", "sales", "book_equity", "shares_outstanding", "leverage", "long_term_debt_to_assets", "rnd_to_sales",
    "rnd_to_assets", "return_on_assets", "profitability", "capital_expenditure_to_assets", "investment",
)  # fmt: skip
SEC_FORMS = ("10-K", "10-K/A", "10-KT", "10-KT/A", "10-Q", "10-Q/A", "10-QT", "10-QT/A")
_QUARTER = re.compile(r"(2009|20[1-9]\d)Q[1-4]")
_EMAIL = re.compile(r"[ -~]*[^\s@]+@[^\s@]+\.[^\s@]+[ -~]*")


@dataclass(frozen=True)
class SecConfig:
    """Which quarters of the data sets to have, and what to make of them.

    Parameters
    ----------
    folder : where the quarterly zips lie, "2015q1.zip" and so on, and company_tickers.json, which is never downloaded
        again once it is there; None for no such data.
    user_agent : your name and your own e-mail, by which the SEC asks every program that downloads to say who runs it.
        Needed to download, not to read.
    first, last : first and last quarter of filings, "2009Q1" being the first there is. Without a last one, the newest
        that was published. Figures of a quarter need the filings of up to two years before it.
    identify : "ticker" where the firms of the panel are tickers, which the SEC's present-day list leads to its own
        numbers of firms (CIK); "cik" where they are CIKs.
    forms : filings to use. Annual reports of foreign firms are "20-F" and "40-F", with figures in USD only.
    items : characteristics that become features.
    stale_after : age of a fiscal period beyond which its figures are missing, "15M"; None for never.

    Raises
    ------
    InputError
        For a quarter, form or item that cannot be, and a user agent without an e-mail.

    Examples
    --------
    >>> SecConfig(folder="sec", user_agent="mail")
    Traceback (most recent call last):
    finattn.errors.InputError: data.sec.user_agent must be a line with your own e-mail, found 'mail'
    """

    folder: str | None = None
    user_agent: str | None = None
    first: str = "2009Q1"
    last: str | None = None
    identify: Literal["ticker", "cik"] = "ticker"
    forms: tuple[str, ...] = SEC_FORMS
    items: tuple[str, ...] = SEC_ITEMS
    stale_after: str | None = "15M"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        require_types(self, "data.sec.")
        agent = self.user_agent
        said = agent is None or (isinstance(agent, str) and _EMAIL.fullmatch(agent))
        require("data.sec.user_agent", agent, said, "a line with your own e-mail")
        for name in ("first", "last"):
            quarter = getattr(self, name)
            fits = (name == "last" and quarter is None) or _QUARTER.fullmatch(str(quarter))
            require(f"data.sec.{name}", quarter, fits, "a quarter from '2009Q1'")
        require("data.sec.last", self.last, self.last is None or self.last >= self.first, f"at least {self.first}")
        for name, known in (("forms", None), ("items", SEC_ITEMS)):
            values = getattr(self, name)
            once = not isinstance(values, str) and 0 < len(values) == len(set(values))
            require(f"data.sec.{name}", values, once, "a list of at least one, each once")
            object.__setattr__(self, name, tuple(values))
            if known:
                require(f"data.sec.{name}", values, set(values) <= set(known), f"among {', '.join(known)}")
        age = self.stale_after is None or re.fullmatch(r"\d{1,5}[DWMY]", str(self.stale_after))
        require("data.sec.stale_after", self.stale_after, age, "an age such as '15M', or none")
