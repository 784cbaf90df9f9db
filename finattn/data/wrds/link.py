"""Links from CRSP's securities to Compustat's companies, by the days on which they are valid."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from finattn.config.wrds import WrdsConfig
from finattn.data.asof import spans
from finattn.data.table_files import located
from finattn.data.wrds.extracts import check_spans, find, frame
from finattn.data.wrds.tables import LINKS
from finattn.errors import InputError
from finattn.panel import Panel


class Links(NamedTuple):
    """The company that each security belongs to.

    gvkey (t, n) int64 : 0 where there is none.
    start (t, n) datetime64[D] : first day since which the two have been linked without a break, NaT where there is
        none: CCM ends a link and begins another of the same pair where no more than its type changes.
    counts : ``listed_without_link`` and ``overlapping_links`` firm-dates; of overlapping ones the later link is used.
    """

    gvkey: np.ndarray
    start: np.ndarray
    counts: dict[str, int]


def read_links(config: WrdsConfig) -> pd.DataFrame:
    """Return the links of the types that a configuration names: gvkey, permno, start, end."""
    table = frame(str(config.extracts), LINKS)
    with located(find(str(config.extracts), LINKS)):
        used = table["linktype"].isin(config.link_types) & table["linkprim"].isin(config.link_primary)
        used &= table["permno"] != 0
        if not used.any():
            kinds = f"{', '.join(config.link_types)} and linkprim {', '.join(config.link_primary)}"
            raise InputError(f"links must have linktype {kinds}, found none among {len(table)}")
        links = table.loc[used, ["gvkey", "permno", "start", "end"]]
        check_spans(links)
        return links.reset_index(drop=True)


def link(panel: Panel, links: pd.DataFrame) -> Links:
    """Return the link that is valid at each firm-date, by `finattn.data.asof.spans`.

    Examples
    --------
    >>> panel = Panel(["2000-12-29", "2001-01-31"], ["10107"], [[0.0], [0.1]])
    >>> links = pd.DataFrame({"gvkey": [12141], "permno": 10107, "start": pd.Timestamp("2001-01-01"), "end": pd.NaT})
    >>> link(panel, links).gvkey.tolist()
    [[0], [12141]]
    """
    found = spans(panel, links.assign(place=np.arange(1, len(links) + 1)), "place", firm="permno", overlap="latest")
    gvkey = np.append(0, links["gvkey"].to_numpy())
    start = np.append(np.datetime64("NaT", "D"), _unbroken_since(links))
    counts = {"listed_without_link": found.counts["uncoded"], "overlapping_links": found.counts["overlaps"]}
    return Links(gvkey[found.codes], start[found.codes], counts)


def _unbroken_since(links: pd.DataFrame) -> np.ndarray:
    """Return for each link the first day of the run of links of the same pair, with no day between them, it is in."""
    days = pd.DataFrame({name: links[name].to_numpy().astype("M8[D]").astype("M8[s]") for name in ("start", "end")})
    days["end"] = days["end"].fillna(pd.Timestamp("9999-12-30"))
    days["pair"] = links.groupby(["permno", "gvkey"]).ngroup().to_numpy()
    days = days.sort_values(["pair", "start"], kind="stable")
    reached = days.groupby("pair")["end"].cummax().shift() + pd.Timedelta(days=1)
    begins = days["pair"].ne(days["pair"].shift()) | (days["start"] > reached)
    since = days["start"].groupby(begins.cumsum()).transform("first")
    return since.sort_index().to_numpy().astype("M8[D]")
