"""SIC codes by the rule of Kenneth French's data library.

"At the end of June of year t" a firm's code is Compustat's of the fiscal year that ended in calendar year t-1 or, where
there is none, CRSP's of June t; it stands until the end of June of t+1. A firm that neither has at the end of June, as
one that is listed later, has CRSP's code as of each date until then. Nothing else is used: Compustat's header code, as
of today, is not. That Compustat's code of a fiscal year that ended by December is known by the end of June is the
rule's assumption.
"""

import numpy as np
import pandas as pd

from finattn.data.asof import spans
from finattn.data.wrds.link import link
from finattn.panel import Panel


def last_weekday(months: np.ndarray) -> np.ndarray:
    """Return the last weekday, datetime64[D], of each month; that of June is never a holiday.

    Examples
    --------
    >>> last_weekday(np.array(["2001-06", "2002-06"], "M8[M]")).astype(str).tolist()
    ['2001-06-29', '2002-06-28']
    """
    return np.busday_offset((months + 1).astype("M8[D]"), -1, roll="forward")


def crsp_codes(panel: Panel, names: pd.DataFrame) -> np.ndarray:
    """Return CRSP's SIC codes (t, n) as of each date, 0 where there is none or the firm is not listed."""
    return spans(panel, names, firm="permno", overlap="latest").codes


def french_codes(panel: Panel, names: pd.DataFrame, links: pd.DataFrame, reports: pd.DataFrame) -> np.ndarray:
    """Return SIC codes (t, n) by French's rule, 0 where there is none or the firm is not listed.

    Parameters
    ----------
    panel : gives dates and firms.
    names : CRSP's permno, sic, start and end.
    links : see `read_links`.
    reports : Compustat's gvkey, datadate and sich of annual reports.

    Examples
    --------
    >>> day = pd.Timestamp
    >>> panel = Panel(["2001-05-31", "2001-06-29", "2002-06-28"], ["10107"], [[0.0]] * 3)
    >>> names = pd.DataFrame({"permno": [10107], "sic": 7370, "start": day("1986-03-13"), "end": day("2002-12-31")})
    >>> links = pd.DataFrame({"gvkey": [12141], "permno": 10107, "start": day("1986-03-13"), "end": pd.NaT})
    >>> reports = pd.DataFrame({"gvkey": [12141], "datadate": day("2000-06-30"), "sich": 7372})
    >>> french_codes(panel, names, links, reports).tolist()
    [[7370], [7372], [7370]]
    """
    first, last = (int(panel.dates[edge].astype("M8[Y]").astype(int)) + 1970 for edge in (0, -1))
    years = np.arange(first - 1, last + 1)
    junes = last_weekday((years - 1970).astype("M8[Y]").astype("M8[M]") + 5)
    june = Panel(junes, panel.firms, np.zeros((len(years), len(panel.firms))))
    given = reports[reports["sich"] > 0].sort_values("datadate", kind="stable")
    code = dict(zip(zip(given["gvkey"], given["datadate"].dt.year, strict=True), given["sich"], strict=True))
    gvkey = link(june, links).gvkey
    compustat = np.array(
        [[code.get((key, year - 1), 0) for key in row] for row, year in zip(gvkey, years, strict=True)]
    )
    at_june = np.where(compustat > 0, compustat, crsp_codes(june, names))
    codes = at_june[np.searchsorted(june.dates, panel.dates, "right") - 1]
    return np.where(panel.listed, np.where(codes > 0, codes, crsp_codes(panel, names)), 0)
