"""The tables and columns of WRDS that are read, as data: what each column is called there, here, and what it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from finattn.config.wrds import WrdsConfig

Kind = Literal["key", "whole", "number", "text", "date"]  # a key is a whole number that is there in every row
Columns = Mapping[str, tuple[str, Kind]]


@dataclass(frozen=True)
class Table:
    """A table of WRDS.

    Parameters
    ----------
    schema, name : where it is; its extract is called `name`.
    columns : our name of each column that is read, and what it holds.
    date : column by which the table is cut to a span of days; None for a table that is read whole.
    where : rows that are read, by the text of a column.
    """

    schema: str
    name: str
    columns: Columns
    date: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)


class Layout(NamedTuple):
    """The tables of a layout of CRSP at a frequency, and the shares in a unit of its volume (0: dollars)."""

    stocks: Table
    names: Table
    delistings: Table | None
    volume_unit: int


def _ciz_stocks(name: str, prefix: str) -> Table:
    columns: Columns = {
        "permno": ("permno", "key"),
        f"{prefix}caldt": ("date", "date"),
        f"{prefix}ret": ("return", "number"),
        f"{prefix}prc": ("price", "number"),
        "shrout": ("shares", "number"),
        f"{prefix}prcvol": ("volume", "number"),
        f"{prefix}delflg": ("delisting", "text"),
    }
    return Table("crsp", name, columns, f"{prefix}caldt")


_CIZ_NAMES = Table(
    "crsp",
    "stksecurityinfohist",
    {
        "permno": ("permno", "key"),
        "secinfostartdt": ("start", "date"),
        "secinfoenddt": ("end", "date"),
        "issuernm": ("name", "text"),
        "siccd": ("sic", "whole"),
        **{
            name: (name, "text")
            for name in (
                "sharetype", "securitytype", "securitysubtype", "usincflg", "issuertype", "primaryexch",
                "conditionaltype", "tradingstatusflg",
            )
        },
    },
)  # fmt: skip


def _legacy(letter: str, volume_unit: int) -> Layout:
    stocks: Columns = {
        "permno": ("permno", "key"),
        "date": ("date", "date"),
        "ret": ("return", "number"),
        "prc": ("price", "number"),
        "shrout": ("shares", "number"),
        "vol": ("volume", "number"),
    }
    names: Columns = {
        "permno": ("permno", "key"),
        "namedt": ("start", "date"),
        "nameendt": ("end", "date"),
        "comnam": ("name", "text"),
        "siccd": ("sic", "whole"),
        "shrcd": ("shrcd", "whole"),
        "exchcd": ("exchcd", "whole"),
    }
    delistings: Columns = {
        "permno": ("permno", "key"),
        "dlstdt": ("date", "date"),
        "dlstcd": ("code", "whole"),
        "dlret": ("return", "number"),
    }
    return Layout(
        Table("crsp", f"{letter}sf", stocks, "date"),
        Table("crsp", f"{letter}senames", names),
        Table("crsp", f"{letter}sedelist", delistings),
        volume_unit,
    )


LAYOUTS = {
    ("ciz", "monthly"): Layout(_ciz_stocks("msf_v2", "mth"), _CIZ_NAMES, None, 0),
    ("ciz", "daily"): Layout(_ciz_stocks("dsf_v2", "dly"), _CIZ_NAMES, None, 0),
    ("legacy", "monthly"): _legacy("m", 100),  # monthly volume is in hundreds of shares
    ("legacy", "daily"): _legacy("d", 1),
}
LINKS = Table(
    "crsp",
    "ccmxpf_lnkhist",
    {
        "gvkey": ("gvkey", "key"),
        "lpermno": ("permno", "whole"),
        "linktype": ("linktype", "text"),
        "linkprim": ("linkprim", "text"),
        "linkdt": ("start", "date"),
        "linkenddt": ("end", "date"),
    },
)
# Consolidated reports of domestic industrial firms in Compustat's standard form, in US dollars.
_STANDARD = {"indfmt": "INDL", "datafmt": "STD", "popsrc": "D", "consol": "C"}
_FIGURES = ("at", "lt", "seq", "ceq", "pstk", "pstkrv", "pstkl", "txditc", "dltt", "dlc", "sale", "xrd", "ib")
_QUARTERLY = {name: f"{name}q" for name in _FIGURES} | {"pstkrv": "pstkrq"}  # liquidating values are annual alone
del _QUARTERLY["pstkl"]


def annual(config: WrdsConfig) -> Table:
    """Return Compustat's annual reports with the columns that a configuration needs."""
    figures = _FIGURES if config.compustat == "annual" else ()
    extra: Columns = {"sich": ("sich", "whole")} if config.industries == "french" else {}
    return _reports("funda", {name: name for name in figures}, "curcd", extra)


def quarterly(config: WrdsConfig) -> Table:
    """Return Compustat's quarterly reports likewise."""
    figures = _QUARTERLY if config.compustat == "quarterly" else {}
    extra: Columns = {"rdq": ("rdq", "date")} if config.availability == "rdq" else {}
    return _reports("fundq", figures, "curcdq", extra)


def _reports(name: str, figures: Mapping[str, str], currency: str, extra: Columns) -> Table:
    where = _STANDARD | {currency: "USD"}
    columns: dict[str, tuple[str, Kind]] = {"gvkey": ("gvkey", "key"), "datadate": ("datadate", "date")}
    columns |= {stored: (ours, "number") for ours, stored in figures.items()}
    columns |= {stored: (stored, "text") for stored in where}
    return Table("comp", name, columns | dict(extra), where=where)


def needed(config: WrdsConfig) -> list[Table]:
    """Return the tables that a configuration needs.

    Examples
    --------
    >>> [table.name for table in needed(WrdsConfig(industries="crsp"))]
    ['msf_v2', 'stksecurityinfohist']
    >>> [table.name for table in needed(WrdsConfig(layout="legacy", frequency="daily"))]
    ['dsf', 'dsenames', 'dsedelist', 'ccmxpf_lnkhist', 'funda']
    """
    layout = LAYOUTS[config.layout, config.frequency]
    wanted = [(layout.stocks, True), (layout.names, True), (layout.delistings, True)]
    wanted += [
        (LINKS, config.industries == "french" or config.compustat != "none"),
        (annual(config), config.industries == "french" or config.compustat == "annual"),
        (quarterly(config), needs_quarterly(config)),
    ]
    return [table for table, is_needed in wanted if table is not None and is_needed]


def needs_quarterly(config: WrdsConfig) -> bool:
    """Say whether quarterly reports are needed, be it for their report dates alone."""
    return config.compustat == "quarterly" or (config.compustat == "annual" and config.availability == "rdq")
