"""Given groupings of firms to hold a peer network against: industries, Fama-French groups, partitions, lists of pairs.

Letters: n firm, s row of returns, e pair.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from finattn.checks import as_dates, some
from finattn.config.require import require
from finattn.data.industries import fama_french
from finattn.errors import InputError
from finattn.networks.communities import communities
from finattn.networks.network import PeerNetwork
from finattn.networks.statistics import Snapshot, snapshots

Given = str | Mapping[Any, Any] | pd.Series | pd.DataFrame
Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_FAMA_FRENCH = "fama_french_"
_MONTHS = 6  # after the end of the year: reports of all its fiscal years are out


@dataclass(frozen=True, eq=False)
class Partition:
    """Firms in groups at one date: codes (n,) at least 0, 0 = unknown."""

    codes: Places

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Firms (n,) whose group is known."""
        return self.codes > 0

    @property
    def labels(self) -> Places:
        """Group of each firm (n,), for measures of partitions."""
        return self.codes

    def inside(self, firm: Places, peer: Places) -> NDArray[np.bool_]:
        """Say which pairs (e,) are of one group."""
        return (self.codes[firm] == self.codes[peer]) & (self.codes[firm] > 0)

    def sizes(self) -> Places:
        """Count the others (n,) in each firm's group."""
        return np.where(self.covered, np.bincount(self.codes)[self.codes] - 1, 0)

    def average(self, values: Floats) -> Floats:
        """Return the mean (s, n) of the others in each firm's group; values (s, n), NaN = unknown and left out."""
        groups = csr_matrix((self.covered.astype(float), (np.arange(len(self.codes)), self.codes)))
        known = np.isfinite(values)
        sums, counts = ((part @ groups)[:, self.codes] - part for part in (np.where(known, values, 0.0), 1.0 * known))
        return _means(sums, counts, self.covered)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Firms in pairs at one date: links (n, n), 1 where the row's firm has the column's as a peer, never itself."""

    links: csr_matrix

    @cached_property
    def covered(self) -> NDArray[np.bool_]:
        """Firms (n,) that are in any pair."""
        return self.sizes() + np.asarray(self.links.sum(axis=0)).ravel() > 0

    @cached_property
    def labels(self) -> Places:
        """Community of each firm (n,), see `communities.communities`."""
        return communities(self.links)

    def inside(self, firm: Places, peer: Places) -> NDArray[np.bool_]:
        """Say which pairs (e,) are in the list."""
        return np.isin(firm * self.links.shape[0] + peer, self._codes)

    @cached_property
    def _codes(self) -> Places:
        row, column = self.links.nonzero()
        return row.astype(np.int64) * self.links.shape[0] + column

    def sizes(self) -> Places:
        """Count each firm's peers (n,)."""
        return np.diff(self.links.indptr).astype(np.int64)

    def average(self, values: Floats) -> Floats:
        """Return the mean (s, n) of each firm's peers; values (s, n), NaN = unknown and left out."""
        return weighted_average(self.links, values)


def weighted_average(weights: csr_matrix, values: Floats) -> Floats:
    """Return Σ_j w_ij v_j / Σ_j w_ij over the peers with a value (s, n); NaN where there is none.

    Examples
    --------
    >>> weighted_average(csr_matrix([[0, 1, 3], [0, 0, 1], [0, 0, 0]]), np.array([[1.0, 2.0, 4.0], [1.0, 2.0, np.nan]]))
    array([[3.5, 4. , nan],
           [2. , nan, nan]])
    """
    known = np.isfinite(values)
    sums, totals = ((weights @ part.T).T for part in (np.where(known, values, 0.0), 1.0 * known))
    return _means(sums, totals, np.ones(values.shape[1], bool))


def _means(sums: Floats, totals: Floats, covered: NDArray[np.bool_]) -> Floats:
    return np.divide(sums, totals, out=np.full(sums.shape, np.nan), where=(totals > 0) & covered)


class Grouping(NamedTuple):
    """A grouping with its name, and what it is at each date of a network."""

    name: str
    at: Callable[[Snapshot], Partition | Pairs]


def as_grouping(network: PeerNetwork, given: Given) -> Grouping:
    """Return what `given` says of a network's firms at each of its dates.

    Parameters
    ----------
    network : PeerNetwork
    given : one of

        - "industry_0", "industry_1", …: a level of the nodes' industries, as of each date;
        - "fama_french_48" (5, 10, 12, 17, 30, 38, 48 or 49): groups of the nodes' SIC codes, as of each date;
        - a mapping or Series from identifiers to groups, words or numbers, the same at all dates; missing and 0 are
          unknown, and so are firms that it does not have;
        - a table of pairs with columns firm and peer, where a pair has a direction, and perhaps score, of which only
          those above 0 count, and date: then what holds at an as-of date is the last batch dated on or before it.

    Raises
    ------
    InputError
        For any other thing, a level or scheme that the network does not have, and a grouping without any of its firms.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> grouping = as_grouping(_example(), {"A": "retail", "B": "retail"})
    >>> grouping.at(next(snapshots(_example()))).sizes().tolist()
    [1, 1]
    """
    grouping = _read(network, given)
    if not any(grouping.at(snapshot).covered.any() for snapshot in snapshots(network)):
        firms = some(network.nodes["firm"][:3].tolist())
        raise InputError(
            f"grouping {grouping.name!r} must have firms of the network, such as {firms}, found none of them"
        )
    return grouping


def _read(network: PeerNetwork, given: Given) -> Grouping:
    if isinstance(given, str):
        return _of_name(network, given)
    if isinstance(given, pd.DataFrame):
        return Grouping("pairs", _of_pairs(given))
    if isinstance(given, Mapping | pd.Series):
        named = given.name if isinstance(given, pd.Series) else None
        return Grouping("groups" if named is None else str(named), _of_groups(pd.Series(given, dtype=object)))
    raise InputError(f"a grouping must be a name, a mapping, a Series or a DataFrame, found a {type(given).__name__}")


def _of_name(network: PeerNetwork, name: str) -> Grouping:
    if name in network.levels:
        return Grouping(name, lambda snapshot: Partition(_numbered(snapshot.nodes[name])))
    number = name.removeprefix(_FAMA_FRENCH)
    if number != name and number.isdigit() and network.levels:
        scheme = network.made.get("industry_scheme")
        require("industries for Fama-French groups", scheme, scheme == "sic", "sic")
        fama_french(np.zeros(0, int), int(number))  # which refuses a number that is none
        return Grouping(name, lambda snapshot: Partition(_fama_french(snapshot, int(number))))
    raise InputError(
        f"a grouping must be one of {', '.join([*network.levels, f'{_FAMA_FRENCH}48'])}, a mapping or a table of "
        f"pairs, found {name!r}"
    )


def _fama_french(snapshot: Snapshot, groups: int) -> Places:
    return fama_french(snapshot.nodes["industry_0"].to_numpy(), groups).astype(np.int64)


def _numbered(codes: pd.Series) -> Places:
    """Return numbers without gaps for codes, which may be large; 0 stays 0."""
    return np.unique(np.append(0, codes), return_inverse=True)[1][1:].astype(np.int64)


def _of_groups(groups: pd.Series) -> Callable[[Snapshot], Partition]:
    """Give groups numbers from 1; missing and 0 are unknown."""
    firms = pd.Index(groups.index.map(str))
    twice = firms[firms.duplicated()].tolist()
    if twice:
        raise InputError(f"a grouping must have each firm once, found more than one {some(twice)}")
    unknown = groups.isna() | (groups.astype(object) == 0)
    numbers = np.where(unknown, 0, pd.factorize(groups.astype(str))[0] + 1)
    codes = np.append(numbers, 0).astype(np.int64)  # the last is that of firms which are not there
    return lambda snapshot: Partition(codes[firms.get_indexer(snapshot.nodes["firm"])])


def _of_pairs(table: pd.DataFrame) -> Callable[[Snapshot], Pairs]:
    """Cut a table of pairs by date; without dates it holds always."""
    missing = [name for name in ("firm", "peer") if name not in table.columns]
    if missing:
        raise InputError(
            f"pairs must have columns firm, peer and perhaps score and date, found no {', '.join(missing)}"
        )
    kept = table
    if "score" in table.columns:
        if table["score"].dtype.kind not in "iuf":
            raise InputError(f"scores of pairs must be numbers, found {table['score'].dtype}")
        kept = table[table["score"] > 0]
    dates = as_dates(kept["date"].to_numpy()) if "date" in kept.columns else np.zeros(len(kept), "datetime64[D]")
    ends = kept[["firm", "peer"]].astype(str)
    batches, dated = {date: ends[dates == date] for date in np.unique(dates)}, "date" in kept.columns

    def at(snapshot: Snapshot) -> Pairs:
        known = [date for date in batches if not dated or date <= snapshot.date.to_datetime64()]
        firms = pd.Index(snapshot.nodes["firm"])
        batch = batches[max(known)] if known else ends[:0]
        firm, peer = (firms.get_indexer(batch[end]) for end in ("firm", "peer"))
        here = (firm >= 0) & (peer >= 0) & (firm != peer)
        links = csr_matrix((np.ones(here.sum()), (firm[here], peer[here])), shape=(len(firms),) * 2)
        links.data[:] = 1.0  # a pair that comes twice counts once
        return Pairs(links)

    return at


def read_hoberg_phillips(path: str | Path, months: int = _MONTHS, digits: int = 0) -> pd.DataFrame:
    """Read a file in the layout of Hoberg and Phillips' text-based network data (TNIC), as `as_grouping` takes it.

    Tab-separated year, gvkey1, gvkey2 and score. The year is that in which the fiscal years ended, whose reports come
    out later: a pair is dated some months after the year's end, so that no as-of date sees it before it was known.

    Parameters
    ----------
    path : str or Path
    months : int
        After the end of the year, at least 0.
    digits : int
        Identifiers are filled with zeros from the left to so many, as Compustat's 001690; 0 leaves them.

    Returns
    -------
    DataFrame
        date, firm, peer, score.

    Raises
    ------
    InputError
        Naming the file, for one that cannot be read, and missing columns or years and scores that are no numbers.

    Examples
    --------
    >>> from finattn.networks.exports import _example, write_hoberg_phillips
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = read_hoberg_phillips(write_hoberg_phillips(_example(), Path(folder) / "peers.txt"), digits=3)
    >>> found.astype({"date": str}).to_dict("records")
    [{'date': '2021-06-30', 'firm': '00A', 'peer': '00B', 'score': 0.5}]
    """
    require("months", months, months >= 0, "at least 0")
    types = {"gvkey1": str, "gvkey2": str}
    try:
        table = pd.read_csv(path, sep="\t", dtype=types, keep_default_na=False, quoting=3, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must be a tab-separated file, found another: {error}") from None
    missing = [name for name in ("year", "gvkey1", "gvkey2", "score") if name not in table.columns]
    if missing:
        raise InputError(f"{path} must have columns year, gvkey1, gvkey2 and score, found no {', '.join(missing)}")
    if table["year"].dtype.kind != "i" or table["score"].dtype.kind not in "if":
        raise InputError(
            f"{path} must have whole years and scores that are numbers, "
            f"found {table['year'].dtype} and {table['score'].dtype}"
        )
    ends = {f"{year}": pd.Timestamp(year, 12, 31) + pd.offsets.MonthEnd(months) for year in table["year"].unique()}
    return pd.DataFrame(
        {
            "date": table["year"].astype(str).map(ends),
            "firm": table["gvkey1"].str.zfill(digits),
            "peer": table["gvkey2"].str.zfill(digits),
            "score": table["score"],
        }
    )
