"""Made-up tables with the names and columns that WRDS has: a few firms in both layouts of CRSP, and Compustat."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa

MONTHS = pd.bdate_range("2000-01-01", "2002-12-31", freq="BME")
DAYS = pd.bdate_range("2001-05-01", "2001-07-31")
_EXCHANGE = {1: "N", 2: "A", 3: "Q", 4: "R"}
_FOREVER = "2002-12-31"


@dataclass(frozen=True)
class Firm:
    """A security: the spells of its names, and how it ends.

    spells : first day, last day, exchange code, share code, SIC.
    delisted : day, code, delisting return, and the return of the month until then, None where the month has no row.
    """

    permno: int
    spells: tuple[tuple[str, str, int, int, int], ...]
    delisted: tuple[str, int, float | None, float | None] | None = None
    named: bool = True


FIRMS = (
    Firm(10001, (("1990-01-01", "2000-05-31", 1, 11, 2834), ("2000-06-01", _FOREVER, 1, 11, 2836))),
    Firm(10002, (("1995-01-01", "2001-06-15", 3, 11, 6021),), ("2001-06-15", 574, -0.5, 0.1)),
    Firm(10003, (("1990-01-01", "2001-06-10", 1, 10, 3571), ("2001-06-11", _FOREVER, 4, 10, 3571))),
    Firm(10004, (("1990-01-01", _FOREVER, 1, 31, 1311),)),
    Firm(10005, (("1990-01-01", _FOREVER, 1, 11, 1311),), named=False),
    Firm(10006, (("2000-09-01", "2001-07-10", 2, 11, 7372),), ("2001-07-10", 241, 0.25, None)),
    Firm(10007, (("1990-01-01", "2001-07-20", 3, 11, 7370),), ("2001-07-20", 580, None, -0.2)),
    Firm(10008, (("1990-01-01", "2001-06-20", 1, 11, 7370), ("2001-06-21", _FOREVER, 1, 14, 7370))),
)


def crsp(layout: str, frequency: str) -> dict[str, pd.DataFrame]:
    """Return the tables of CRSP."""
    dates = MONTHS if frequency == "monthly" else DAYS
    rows = pd.concat([_rows(firm, dates, frequency) for firm in FIRMS], ignore_index=True)
    letter = frequency[0]
    if layout == "legacy":
        stocks = rows[~rows["appended"]].drop(columns="ret").rename(columns={"plain": "ret"})
        stocks = stocks.assign(prc=np.where(stocks.index % 3 == 0, -stocks["prc"], stocks["prc"]))
        stocks = stocks.assign(vol=stocks["vol"] / (100 if letter == "m" else 1))
        return {
            f"{letter}sf": stocks[["permno", "date", "ret", "prc", "shrout", "vol"]],
            f"{letter}senames": _legacy_names(),
            f"{letter}sedelist": _delistings(),
        }
    prefix = {"m": "mth", "d": "dly"}[letter]
    rows = rows.assign(prcvol=rows["prc"] * rows["vol"], delflg=np.where(rows["gone"], "Y", "N"))
    columns = {"date": "caldt", "ret": "ret", "prc": "prc", "prcvol": "prcvol", "delflg": "delflg"}
    stocks = rows.rename(columns={ours: prefix + name for ours, name in columns.items()})
    return {
        f"{letter}sf_v2": stocks[["permno", *(prefix + name for name in columns.values()), "shrout"]],
        "stksecurityinfohist": _ciz_names(),
    }


def _rows(firm: Firm, dates: pd.DatetimeIndex, frequency: str) -> pd.DataFrame:
    """Return rows: ret with the delisting return, plain without it; appended are those that legacy does not have."""
    random = np.random.default_rng(firm.permno)
    first, last = (pd.Timestamp(day) for day in (firm.spells[0][0], firm.spells[-1][1]))
    day = dates[(dates >= first) & (dates <= last)]
    table = pd.DataFrame({"permno": firm.permno, "date": day, "ret": 0.05 * random.standard_normal(len(day)).round(4)})
    table = table.assign(prc=20 + np.arange(len(day)), shrout=1000.0, vol=5e4, gone=False, appended=False)
    table["plain"] = table["ret"]
    if firm.delisted is not None:
        at, _, delisting, until_then = firm.delisted
        following = dates[dates >= at] if frequency == "monthly" else dates[dates > at]
        before = until_then if frequency == "monthly" else None
        end = {"permno": firm.permno, "date": following[0], "plain": before, "gone": True, "appended": before is None}
        value = np.nan if delisting is None else (1 + (before or 0.0)) * (1 + delisting) - 1
        table = pd.concat([table, pd.DataFrame([end | {"ret": value, "shrout": 1000.0}])], ignore_index=True)
    return table.astype({"gone": bool, "appended": bool, "plain": float})


def _legacy_names() -> pd.DataFrame:
    rows = [
        (firm.permno, start, end, f"FIRM {firm.permno} {i}", share, exchange, sic)
        for firm in FIRMS
        for i, (start, end, exchange, share, sic) in enumerate(firm.spells)
        if firm.named
    ]
    return _dated(rows, ["permno", "namedt", "nameendt", "comnam", "shrcd", "exchcd", "siccd"])


def _ciz_names() -> pd.DataFrame:
    """Return names as CIZ has them; on the day after its last a security has a row that says nothing."""
    names = _legacy_names().rename(
        columns={"namedt": "secinfostartdt", "nameendt": "secinfoenddt", "comnam": "issuernm"}
    )
    gone = names[names["secinfoenddt"] < _FOREVER].drop_duplicates("permno", keep="last")
    gone = gone[gone["permno"].isin([firm.permno for firm in FIRMS if firm.delisted])]
    after = gone["secinfoenddt"] + pd.Timedelta(days=1)
    gone = gone.assign(secinfostartdt=after, secinfoenddt=after, exchcd=0, shrcd=0, siccd=0)
    names = pd.concat([names, gone], ignore_index=True)
    common, adr = names["shrcd"].isin((10, 11)), names["shrcd"] == 31
    return names.assign(
        sharetype=np.select([adr, names["shrcd"] == 0], ["AD", "N/A"], "NS"),
        securitytype=np.where(names["shrcd"] == 0, "N/A", np.where(names["shrcd"] == 14, "FUND", "EQTY")),
        securitysubtype=np.where(common | adr, "COM", "UNK"),
        usincflg=np.where(common, "Y", "N"),
        issuertype=np.where(names["permno"] % 2 == 0, "CORP", "ACOR"),
        primaryexch=names["exchcd"].map(_EXCHANGE).fillna("X"),
        conditionaltype="RW",
        tradingstatusflg=np.where(names["shrcd"] == 0, "X", "A"),
    ).drop(columns=["shrcd", "exchcd"])


def _delistings() -> pd.DataFrame:
    rows = [
        (firm.permno, *firm.delisted[:3]) if firm.delisted else (firm.permno, _FOREVER, 100, None) for firm in FIRMS
    ]
    return _dated(rows, ["permno", "dlstdt", "dlstcd", "dlret"])


def compustat() -> dict[str, pd.DataFrame]:
    """Return Compustat: company 1001 passes from security 10001 to 10003 on 2001-10-01, where 1009 follows it."""
    links = [
        ("001001", 10001, "LC", "P", "1990-01-01", "2001-09-30"),
        ("001001", 10003, "LU", "C", "2001-10-01", None),
        ("001009", 10001, "LC", "P", "2001-10-01", None),
        ("001002", 10002, "LU", "P", "1995-01-01", None),
        ("001006", 10006, "LC", "P", "2000-09-01", None),
        ("001005", 10007, "LC", "P", "1990-01-01", None),  # a company without reports
        ("009999", 10001, "LN", "P", "1991-01-01", None),  # of a type that is not used
        ("009999", 10001, "LC", "J", "1991-01-01", None),  # not the company's primary security
        ("009999", None, "NR", "N", "1980-01-01", None),
    ]
    return {
        "ccmxpf_lnkhist": _dated(links, ["gvkey", "lpermno", "linktype", "linkprim", "linkdt", "linkenddt"]),
        "funda": _reports(_ANNUAL, ["gvkey", "datadate", "at", "seq", "sale", "xrd", "sich"], ""),
        "fundq": _reports(_QUARTERLY, ["gvkey", "datadate", "at", "seq", "sale", "rdq"], "q"),
    }


# Assets, shareholders' equity, sales, R&D, and the SIC code of the fiscal year.
_ANNUAL = [
    ("001001", "1998-12-31", 80.0, 40.0, 40.0, None, 2810),
    ("001001", "1999-12-31", 100.0, 50.0, 50.0, 5.0, 2820),
    ("001001", "2000-12-31", 120.0, 60.0, 60.0, None, None),
    ("001001", "2001-12-31", 150.0, 70.0, 0.0, 7.0, 2830),
    ("001009", "2000-12-31", 900.0, 300.0, 90.0, 9.0, 3711),
    ("001009", "2001-12-31", 990.0, 330.0, 99.0, 9.0, 3714),
    ("001002", "2000-06-30", 500.0, -20.0, 10.0, None, 6022),
    ("001006", "2000-12-31", 30.0, 10.0, 5.0, 1.0, 7373),
]
_QUARTERLY = [
    ("001001", "1999-12-31", 100.0, 50.0, 13.0, "2000-02-28"),
    ("001001", "2000-12-31", 120.0, 60.0, 15.0, "2001-02-15"),
    ("001001", "2001-03-31", 123.0, 61.0, 16.0, "2001-04-30"),
    ("001001", "2001-06-30", 126.0, 62.0, 17.0, None),
    ("001002", "2001-03-31", 510.0, -30.0, 11.0, "2001-02-01"),  # reported before it ended, which cannot be
]
_FIGURES = ("at", "lt", "seq", "ceq", "pstk", "pstkrv", "pstkl", "txditc", "dltt", "dlc", "sale", "xrd", "ib")


def _reports(rows: list, columns: list[str], letter: str) -> pd.DataFrame:
    """Return reports of the standard form, and each again in another form with other figures."""
    table = _dated(rows, columns)
    table = table.assign(**{name: np.nan for name in _FIGURES if name not in columns})
    table = table.assign(dltt=table["at"] / 4, dlc=table["at"] / 20, ib=table["sale"] / 10)
    quarterly = {name: {"pstkrv": "pstkrq"}.get(name, f"{name}q") for name in _FIGURES}
    table = table.rename(columns=quarterly if letter else {})
    form = {"indfmt": "INDL", "datafmt": "STD", "popsrc": "D", "consol": "C", f"curcd{letter}": "USD"}
    other = table.assign(**(form | {"indfmt": "FS"}), **{f"at{letter}": 1.0})
    return pd.concat([table.assign(**form), other], ignore_index=True)


def _dated(rows: list, columns: list[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=columns)
    days = [name for name in columns if name.endswith("dt") or name in ("datadate", "rdq")]
    return table.assign(**{name: pd.to_datetime(table[name]) for name in days})


def write_extracts(folder: Path, tables: dict[str, pd.DataFrame], ending: str = "parquet") -> Path:
    """Write a file for each table; CSV files as WRDS's web pages do, in upper case, with letters for reasons."""
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        if ending == "parquet":
            table.to_parquet(folder / f"{name}.parquet", index=False)
            continue
        table = table.rename(columns=str.upper)
        for column, letter in (("RET", "C"), ("MTHRET", "C"), ("DLYRET", "C"), ("DLRET", "S"), ("LINKENDDT", "E")):
            if column in table:
                text = table[column].dt.strftime("%Y-%m-%d") if column == "LINKENDDT" else table[column]
                table[column] = text.astype(object).where(table[column].notna(), letter)
        table.to_csv(folder / f"{name}.{ending}", index=False, date_format="%Y-%m-%d")
    return folder


def write_database(engine: sa.Engine, tables: dict[str, pd.DataFrame]) -> None:
    """Write tables into the schemas that WRDS has them in, with the types of columns that it has."""
    for name, table in tables.items():
        schema = "comp" if name in ("funda", "fundq") else "crsp"
        columns = [sa.Column(column, _type(column, table[column])) for column in table]
        target = sa.Table(name, sa.MetaData(), *columns, schema=schema)
        plain = table.astype(object).where(table.notna(), None)
        rows = [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
            target.drop(connection, checkfirst=True)
            target.create(connection)
            connection.execute(target.insert(), rows)


def _type(name: str, column: pd.Series) -> sa.types.TypeEngine:
    if column.dtype.kind == "M":
        return sa.Date()
    if column.dtype.kind in "iuf":
        return sa.Double() if name.endswith(("permno", "ret")) else sa.Numeric(22, 8)
    return sa.String(80)
