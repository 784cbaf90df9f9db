"""Tables of what filings said, and features of a panel from the moment at which each was known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from finattn.config.sec import SecConfig
from finattn.data.asof import Rule, join, spans
from finattn.data.sec.durations import COLUMNS, untangle
from finattn.data.sec.figures import CHARACTERISTICS, characteristics
from finattn.data.sec.quarters import Quarter, load_quarters, present
from finattn.data.sec.tickers import CAVEAT, FILE, ciks_of, read_tickers
from finattn.errors import InputError
from finattn.panel import Panel

RULE = Rule(close="16:00", unusable="drop")  # of rows at one moment the last one knows the most


def reports(config: SecConfig, firms: Sequence[str] | None = None) -> pd.DataFrame:
    r"""Return what filings said of each fiscal period, in rows that are each known from a moment on.

    A row holds all that was known of the period that ends at `period_end` when a filing was accepted: figures of that
    filing, and of those before it where they give a quarter, a year, or what an amendment does not repeat. A filing
    has a row for the period that it is about, and one for each period of earlier filings of which it changes a figure,
    by restating it or by giving what was missing, such as the nine months that make a fourth quarter of the year.
    Of several versions of a figure, and of several tags, `finattn.data.sec.durations` says which counts.

    Parameters
    ----------
    config : folder, quarters and forms.
    firms : firms wanted, tickers or CIKs as `config.identify` says; all where None.

    Returns
    -------
    Frame, by cik and available: firm, cik, `available` (the moment of acceptance, Eastern time), `period_end` (the end
    of the month nearest to it, at most the day of acceptance), `amended`, `revised` (about another period than the
    filing is), form, fiscal_year, fiscal_period, sic (0 for none); levels of items (`assets`, …), flows of the quarter
    (`rnd_q`) and of four quarters (`rnd_ttm`), and every characteristic of `finattn.data.sec.figures.CHARACTERISTICS`.
    ``attrs["counts"]`` has what was left out.

    Raises
    ------
    InputError
        Naming the file, and the member, row and column, of what cannot be.

    Examples
    --------
    A quarter with one made-up filing:

    >>> import tempfile, zipfile
    >>> from finattn.config import SecConfig
    >>> from finattn.data import sec
    >>> members = {
    ...     "sub.txt": "adsh,cik,sic,form,period,fy,fp,accepted\n"
    ...                "0000000011-15-000001,11,3571,10-K,20141231,2014,FY,2015-02-20 16:31:00.0\n",
    ...     "num.txt": "adsh,tag,version,ddate,qtrs,uom,value\n"
    ...                "0000000011-15-000001,Assets,us-gaap/2014,20141231,0,USD,7\n",
    ...     "tag.txt": "tag,version\nAssets,us-gaap/2014\n",
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/2015q1.zip", "w") as quarter:
    ...         for member, text in members.items():
    ...             quarter.writestr(member, text.replace(",", "\t"))
    ...     table = sec.reports(SecConfig(folder, first="2015Q1", identify="cik"))
    >>> table[["firm", "available", "period_end", "assets"]]
      firm           available period_end  assets
    0   11 2015-02-20 16:31:00 2014-12-31     7.0
    """
    return _reports(*_read(config, firms))


def industries(config: SecConfig, firms: Sequence[str] | None = None) -> pd.DataFrame:
    r"""Return the SIC code that each firm had, from the close at which a filing with it was known to the next change.

    Parameters
    ----------
    config, firms : as of `reports`.

    Returns
    -------
    Frame of firm, industry, start and end (days, both inside; NaT where the code stands), for
    `finattn.data.asof.spans`. A filing accepted at 16:00 or later counts from the next day. Filings without a code say
    nothing.

    Raises
    ------
    InputError
        As `reports`.

    Examples
    --------
    A quarter with one made-up filing, accepted after the close:

    >>> import tempfile, zipfile
    >>> from finattn.config import SecConfig
    >>> from finattn.data import sec
    >>> members = {
    ...     "sub.txt": "adsh,cik,sic,form,period,fy,fp,accepted\n"
    ...                "0000000011-15-000001,11,3571,10-K,20141231,2014,FY,2015-02-20 16:31:00.0\n",
    ...     "num.txt": "adsh,tag,version,ddate,qtrs,uom,value\n",
    ...     "tag.txt": "tag,version\n",
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/2015q1.zip", "w") as quarter:
    ...         for member, text in members.items():
    ...             quarter.writestr(member, text.replace(",", "\t"))
    ...     sec.industries(SecConfig(folder, first="2015Q1", identify="cik"))
      firm  industry      start end
    0   11      3571 2015-02-21 NaT
    """
    return _industries(*_read(config, firms))


def attach(panel: Panel, config: SecConfig) -> Panel:
    r"""Return the panel with the characteristics of `config.items` as features and, where it has no codes, with SIC.

    Row t has what filings said that were accepted before 16:00 Eastern time of dates[t], also on the few days on which
    the exchange closes earlier: what was accepted between that close and 16:00 then counts some hours too early.

    Parameters
    ----------
    panel : whose firms are tickers or CIKs, as `config.identify` says.
    config : folder, quarters, forms, items and the age beyond which they are missing.

    Returns
    -------
    Panel whose ``source["sec"]`` says how firms were matched, and counts filings and numbers by what became of them.

    Raises
    ------
    InputError
        As `reports`; also where no firm of the panel has a filing.

    Examples
    --------
    A quarter with one made-up filing, accepted after the close of the first date:

    >>> import finattn as fa
    >>> import tempfile, zipfile
    >>> from finattn.config import SecConfig
    >>> from finattn.data import sec
    >>> members = {
    ...     "sub.txt": "adsh,cik,sic,form,period,fy,fp,accepted\n"
    ...                "0000000011-15-000001,11,3571,10-K,20141231,2014,FY,2015-02-20 16:31:00.0\n",
    ...     "num.txt": "adsh,tag,version,ddate,qtrs,uom,value\n"
    ...                "0000000011-15-000001,Assets,us-gaap/2014,20141231,0,USD,7\n",
    ...     "tag.txt": "tag,version\nAssets,us-gaap/2014\n",
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/2015q1.zip", "w") as quarter:
    ...         for member, text in members.items():
    ...             quarter.writestr(member, text.replace(",", "\t"))
    ...     panel = fa.Panel(["2015-02-20", "2015-02-23"], ["11"], [[0.0], [0.01]])
    ...     panel = sec.attach(panel, SecConfig(folder, first="2015Q1", identify="cik", items=("assets",)))
    >>> panel.features[:, 0, 0].tolist(), panel.industry[:, 0].tolist()
    ([nan, 7.0], [0, 3571])
    """
    quarter, ciks = _read(config, panel.firms.tolist())
    table = _reports(quarter, ciks)
    if table.empty:
        kind = "tickers" if config.identify == "ticker" else "CIKs"
        raise InputError(f"firms must be {kind} with filings in {config.folder}, found none of {len(panel.firms)}")
    counts = {**table.attrs.pop("counts"), "firms_without_cik": len(panel.firms) - len(ciks)}
    panel = join(panel, table, config.items, stale_after=config.stale_after, rule=RULE)
    names, codes = present(config), _industries(quarter, ciks)
    note = {
        "quarters": [names[0], names[-1]], "forms": list(config.forms), "counts": counts,
        "formulas": {name: CHARACTERISTICS[name].formula for name in config.items},
    }  # fmt: skip
    if config.identify == "ticker":
        note["caveat"] = CAVEAT
    changes: dict[str, object] = {}
    if not (panel.industry != 0).any() and not codes.empty:
        found = spans(panel, codes, "industry")
        note["industries"] = found.counts
        changes = {
            "industry": found.codes, "industry_scheme": "sic", "industry_widths": (), "industry_as_of": True
        }  # fmt: skip
    return panel.replace(**changes, source={**panel.source, "sec": note})


def _read(config: SecConfig, firms: Sequence[str] | None) -> tuple[Quarter, dict[str, int]]:
    """Return the filings of firms, and the firms' CIKs."""
    if config.folder is None:
        raise InputError("data.sec.folder must be the folder of the quarterly zips, found none")
    tickers = read_tickers(Path(config.folder) / FILE) if config.identify == "ticker" else None
    if firms is not None:
        ciks = ciks_of(firms, tickers)
        return load_quarters(config, set(ciks.values())), ciks
    quarter = load_quarters(config)
    return quarter, tickers or {str(cik): cik for cik in quarter.filings["cik"].unique().tolist()}


def _reports(quarter: Quarter, ciks: dict[str, int]) -> pd.DataFrame:
    filings = quarter.filings
    found = untangle(filings, quarter.figures)
    filing = filings.iloc[found.filing].reset_index(drop=True)
    table = pd.DataFrame(found.values, columns=list(COLUMNS))
    extra, divisions = characteristics(table)
    own = found.month == filing["month"].to_numpy()
    head = pd.DataFrame(
        {
            "cik": filing["cik"],
            "available": filing["accepted"],
            "period_end": np.minimum(_month_end(found.month), filing["accepted"].to_numpy().astype("M8[D]")),
            "amended": filing["form"].str.endswith("/A"),
            "revised": ~own,
            "form": filing["form"],
            "fiscal_year": pd.to_numeric(filing["fy"].where(own), errors="coerce").astype(float),
            "fiscal_period": filing["fp"].where(own, ""),
            "sic": filing["sic"].fillna(0).astype(int),
        }
    )
    table = pd.concat([head, table, extra[[name for name in extra if name not in table]]], axis=1)
    result = _with_firms(table, ciks)
    result.attrs["counts"] = quarter.counts | {
        "rows": len(table),
        "revisions": int((~own).sum()),
        "rows_without_firm": int((~table["cik"].isin(ciks.values())).sum()),
        **{f"not_positive_below_{name}": count for name, count in divisions.items()},
    }
    return result


def _industries(quarter: Quarter, ciks: dict[str, int]) -> pd.DataFrame:
    filings = quarter.filings[quarter.filings["sic"].fillna(0) > 0]
    accepted = filings["accepted"]
    start = accepted.dt.normalize() + pd.to_timedelta((accepted.dt.hour >= 16).astype(int), unit="D")
    table = pd.DataFrame({"cik": filings["cik"], "industry": filings["sic"].astype(int), "start": start})
    table = table.drop_duplicates(["cik", "start"], keep="last")  # of filings known at one close the last one counts
    table = table[(table["cik"] != table["cik"].shift()) | (table["industry"] != table["industry"].shift())]
    following = table["start"].shift(-1).where(table["cik"] == table["cik"].shift(-1))
    table["end"] = following - pd.Timedelta(days=1)
    return _with_firms(table, ciks)[["firm", "industry", "start", "end"]]


def _with_firms(table: pd.DataFrame, ciks: dict[str, int]) -> pd.DataFrame:
    """Return the rows of firms, once for each firm: two classes of shares have one CIK."""
    firms = pd.DataFrame({"firm": list(ciks), "cik": list(ciks.values())}).astype({"firm": object, "cik": np.int64})
    return firms.merge(table, on="cik").sort_values(["cik", "firm"], kind="stable", ignore_index=True)


def _month_end(months: np.ndarray) -> np.ndarray:
    return (months + 1).astype("M8[M]").astype("M8[D]") - np.timedelta64(1, "D")
