"""What the columns of a user's own file are, by how they are called and by what stands in them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import RESERVED
from finattn.config.require import nearest
from finattn.data.files import find_files
from finattn.data.open_table import open_table
from finattn.data.prices import PRICED
from finattn.data.sic import TWO_DIGITS
from finattn.data.table_files import TableFile, located, series
from finattn.errors import InputError

# What columns are called elsewhere, letters and digits alone, the best first: permanent identifiers before tickers,
# which change hands, and total returns before those without dividends.
CALLED = {
    "date": "date dlycaldt mthcaldt caldt tradedate tradingdate tradingday pricedate datadate asof asofdate day ymd "
    "yyyymmdd datetime timestamp dt time month monthend eom eomdate quarter",
    "firm": "firm firmid permno lpermno gvkey permco cik isin cusip cusip9 ncusip figi sedol ric secid securityid "
    "assetid companyid stockid issuerid asset security entity instrument instrumentid stock company id ticker "
    "tickersymbol tic tsymbol symbol sym code",
    "return": "return returns totalreturn totalreturns returntotal totalret rettotal totret rettot ret retadj adjret "
    "dlyret mthret retd retm dailyreturn dailyret monthlyreturn monthlyret simplereturn simpleret r retx dlyretx "
    "mthretx",
    "adjusted_price": "adjustedprice adjclose adjustedclose closeadj adjprice adjprc prcadj priceadj adjusted",
    "price": "price close prc dlyprc mthprc prccd prccm prccq closeprice closingprice px pxlast last lastprice "
    "unadjustedclose",
    "split": "split splits stocksplit stocksplits splitratio splitfactor",
    "dividend": "dividend dividends div divs cashdividend divamt dlydivamt",
    "volume": "volume vol dlyvol mthvol shrvol cshtrd cshtrm sharevolume tradingvolume",
    "dollar_volume": "dollarvolume dollarvol dvol dolvol valuetraded tradedvalue turnoverusd amount",
    "market_cap": "marketcap mktcap marketcapitalization marketcapitalisation mcap me marketvalue mktval mkvalt "
    "mktvalue marketequity dlycap mthcap cap capitalization capitalisation",
    "industry": "industry industrycode sic sic4 siccd sich hsiccd siccode dlysic sic3 sic2 naicsh gsubind gics "
    "gicscode gicssubind gicssubindustry gind ggroup gicsindustry gicssector gsector sector sectorcode industryid "
    "ff48 ff49",
    "name": "name companyname firmname conm conml comnam issuernm issuername securityname securitynm longname",
    "risk_free": "riskfree riskfreerate rf tbill",
}  # fmt: skip
SHARES = "shrout dlyshrout mthshrout csho cshoq sharesoutstanding shsout shares".split()
FACTORS = "mktrf mkt smb hml rmw cma umd".split()  # the same for all firms of a date
# Numbers that are no characteristic: labels, and prices, whose level says nothing.
LABELS = (
    "permno lpermno permco gvkey cik iid lpermco exchcd shrcd primexch siccd sic sich hsiccd naics hexcd issuno hsicmg "
    "hsicig cusip ncusip index year quarter fyear fqtr fyr month day open high low bid ask bidlo askhi openprc vwap "
    "cfacpr cfacshr adjfactor adj dlret dlstcd dlretx nwperm nextdt"
).split()


class Column(NamedTuple):
    """What stands in a column: whether all of it is numbers, whole ones, from where to where; and its first value."""

    numeric: bool
    whole: bool
    low: float
    high: float
    first: Any


@dataclass(frozen=True)
class Guess:
    """What is made of a file's columns.

    Parameters
    ----------
    data : keys of `DataConfig`. roles : the file's name of each column of the panel.
    features : the columns that become features. left : those that are left out, with the reason.
    assumed : of a role, what neither name nor contents of its column can tell.
    """

    data: dict[str, Any]
    roles: dict[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    assumed: dict[str, str] = field(default_factory=dict)


def guess(path: str, given: Mapping[str, str] | None = None) -> Guess:
    r"""Guess what the columns of a long file, or of a folder with a file for each firm, are.

    Parameters
    ----------
    path : a file, a folder or a pattern, of which the first file is read once. given : our names of columns, where
        they are known: a column that is called so is not guessed.

    Raises
    ------
    InputError
        Where there is no date, no firm, or neither returns nor prices.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "crsp.csv"
    ...     _ = file.write_text("PERMNO,caldt,RET,SICCD,bm\n1,2020-01-31,0.01,2834,0.5\n2,2020-01-31,0.02,6021,0.7\n")
    ...     found = guess(str(file))
    >>> found.data["columns"], found.features
    ({'caldt': 'date', 'PERMNO': 'firm', 'RET': 'return', 'SICCD': 'industry'}, ('bm',))
    """
    paths, _ = find_files(path)
    table = open_table(paths[0], {}, (), ("firm",))
    with located(paths[0]):
        found = dict(_columns(table))
        for name in given or {}:
            if name not in found:
                raise InputError(
                    f"data.columns must name columns of the file, found no {name}{nearest(name, list(found))}"
                )
        roles = _roles(found, dict(given or {}))
        for role in [role for role in roles if role in ("name", "risk_free") or role.startswith("factor:")]:
            key = roles.get("firm" if role == "name" else "date")
            if key is None or not _is_one_each(table, key, roles[role]):
                del roles[role]
        by_firm = "firm" not in roles and (len(paths) > 1 or Path(path).is_dir())
        _check(roles, list(found), by_firm)
        return _settle(path, found, roles, by_firm)


def plain(name: str) -> str:
    """Return the letters and digits of a name, in small letters.

    Examples
    --------
    >>> plain("Adj_Close")
    'adjclose'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _columns(table: TableFile) -> Iterator[tuple[str, Column]]:
    """Yield what stands in each column, over all rows, a batch at a time."""
    parts: dict[str, list[Column]] = {name: [] for name in table.names}
    for batch in table.batches(list(table.names)):
        for name, values in batch.items():
            parts[name].append(_column(series(values)))
    for name, found in parts.items():
        low = min((part.low for part in found), default=np.inf)
        high = max((part.high for part in found), default=-np.inf)
        first = next((part.first for part in found if part.first is not None), None)
        yield name, Column(all(part.numeric for part in found), all(part.whole for part in found), low, high, first)


def _column(values: pd.Series) -> Column:
    known = values[values.notna()]
    first = known.iloc[0] if len(known) else None
    if len(known) and known.dtype.kind not in "iuf":
        return Column(False, False, np.inf, -np.inf, first)
    numbers = known.to_numpy(float)
    whole = bool((numbers == np.floor(numbers)).all())
    return Column(True, whole, numbers.min(initial=np.inf), numbers.max(initial=-np.inf), first)


def _roles(found: Mapping[str, Column], given: dict[str, str]) -> dict[str, str]:
    """Return the column of each role, by name; those given go first."""
    roles = {ours: theirs for theirs, ours in given.items()}
    called = {plain(name): name for name in reversed(list(found))}
    for role, names in CALLED.items():
        free = [called[name] for name in names.split() if name in called and called[name] not in roles.values()]
        fitting = next((column for column in free if _suits(role, found[column])), None)
        if role not in roles and fitting is not None:
            roles[role] = fitting
    if "date" not in roles and (column := _dated(found)) is not None:
        roles["date"] = column
    factors = {f"factor:{name}": called[name] for name in FACTORS if name in called}
    return roles | {role: column for role, column in factors.items() if column not in roles.values()}


def _is_one_each(table: TableFile, key: str, name: str) -> bool:
    """Say whether a column has one value for each firm, or each date."""
    parts = (pd.DataFrame({part: series(batch[part]) for part in (key, name)}) for batch in table.batches([key, name]))
    pairs = pd.concat([part.dropna().drop_duplicates() for part in parts]).drop_duplicates()
    return not pairs[key].duplicated().any()


def _suits(role: str, column: Column) -> bool:
    """Say whether what stands in a column can be what it is called."""
    if role == "industry":
        return column.numeric and column.whole and 0 <= column.low <= column.high < 2**31
    if role == "date":
        return not column.numeric or column.low > 10**7  # 20010531, and no number of a month
    if role in ("firm", "return"):
        return True  # what is wrong in these is said by row where the file is read
    if role == "name":
        return not column.numeric
    return column.numeric and column.low >= 0 if role != "risk_free" else column.numeric


def _dated(found: Mapping[str, Column]) -> str | None:
    """Return the first column whose first value reads like a day."""
    for name, column in found.items():
        if re.match(r"(19|20)\d\d-\d\d-\d\d", str(column.first)):
            return name
    return None


def _check(roles: Mapping[str, str], names: list[str], by_firm: bool) -> None:
    """Refuse a file without what there must be."""
    wanted = {"date": "dates", "firm": "firms", "return": "returns or prices"}
    for role, what in wanted.items():
        there = role in roles or role == "return" and {"adjusted_price", "price"} & roles.keys()
        if not there and not (role == "firm" and by_firm):
            shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
            raise InputError(
                f"a column must hold {what}, found none that is called so among {shown}: name it by "
                f"--data.columns '{{COLUMN: {role}}}'"
            )


def _settle(path: str, found: Mapping[str, Column], roles: dict[str, str], by_firm: bool) -> Guess:
    """Decide what returns are made of, and which columns are used."""
    data: dict[str, Any] = {"source": "file", "path": path}
    if by_firm:
        data["layout"] = "by_firm"
    raw = roles.get("price", "")
    values, left = _values(roles)
    assumed = {}
    if raw and roles.get("adjusted_price") == raw:
        assumed["adjusted_price"] = (
            f"{raw} is adjusted for splits and dividends; if not, returns are wrong at each of them"
        )
    if values != "returns":
        data["values"] = values
    for theirs in left:
        roles.pop(next(role for role, column in roles.items() if column == theirs))
    taken = set(roles.values())
    known = (*RESERVED, *PRICED)
    features = [role for role in roles if role not in known and not role.startswith("factor:")]  # as the user says
    for name, column in found.items():
        if name in taken or name in left:
            continue
        if reason := _unfit(name, column):
            left[name] = reason
        else:
            features.append(name)
    data["columns"] = {theirs: ours for ours, theirs in roles.items() if theirs != ours}
    if left:
        ours = {theirs: role for role, theirs in roles.items()}
        data["use"] = [
            name for name in found if ours.get(name) not in ("date", "firm") and (name in ours or name in features)
        ]
    if "industry" in roles:
        data |= _scheme(roles["industry"], found[roles["industry"]])
        if says := _digits(data, roles["industry"], found[roles["industry"]]):
            assumed["industry"] = says
    return Guess(data, roles, tuple(features), left, assumed)


def _values(roles: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return what returns are made of, and the columns that are not needed then, with the reason."""
    if "return" in roles:
        values, left = "returns", dict.fromkeys(("adjusted_price", "split", "dividend"), "returns are there")
    elif "adjusted_price" in roles:
        values, left = "adjusted_prices", dict.fromkeys(("split", "dividend"), "adjusted prices make returns")
    elif {"split", "dividend"} <= roles.keys():
        values, left = "raw_prices", {}
    else:
        roles["adjusted_price"] = roles.pop("price")
        values, left = "adjusted_prices", dict.fromkeys(("split", "dividend"), "one without the other")
    if values == "returns" or "price" not in roles or "dollar_volume" in roles:
        left["volume"] = "shares, which only raw prices turn into dollars"
    return values, {roles[role]: reason for role, reason in left.items() if role in roles}


def _unfit(name: str, column: Column) -> str:
    """Say why a column is no feature; "" where it can be one."""
    if column.first is None:
        return "empty"
    if not column.numeric:
        return "text"
    if called := next((role for role, names in CALLED.items() if plain(name) in names.split()), ""):
        below = column.low < 0 and called not in ("return", "risk_free")
        return f"called as {called}, and negative" if below else f"another {called}"
    if plain(name) in LABELS or not plain(name):
        return "a label, or a level of prices"
    if plain(name) in SHARES:
        return "a number of shares, whose level says nothing without a price"
    return "the same everywhere" if column.low == column.high else ""


def _scheme(name: str, column: Column) -> dict[str, Any]:
    """Return what codes of industries are, by name and number of digits; nothing for SIC codes, the default."""
    digits = len(str(int(column.high)))
    if plain(name) == "sic3" and digits == 3:
        return {"industry_scheme": "custom", "industry_widths": [3, 2]}
    if "sic" in plain(name).replace("gics", "") or plain(name)[:8] == "industry" and digits == 4:
        return {}
    if digits == 8:
        return {"industry_scheme": "gics"}
    levels = [width for width in (4, 2) if width < digits and digits % 2 == 0]
    return {"industry_scheme": "custom", "industry_widths": [digits, *levels]}


def _digits(data: Mapping[str, Any], name: str, column: Column) -> str:
    """Say how SIC codes that have not four digits are read; "" for all others."""
    if "industry_scheme" in data:
        three = plain(name) == "sic3"
        return f"{name} holds SIC codes of three digits: industry groups and their major groups" if three else ""
    if column.high < TWO_DIGITS:
        return f"{name} holds SIC codes of two digits: major groups and their divisions, 35 as 3500"
    agriculture = f"{name} holds SIC codes of four digits, which would all be of agriculture, forestry and fishing"
    return agriculture if column.high < 1000 else ""
