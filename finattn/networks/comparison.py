"""A peer network beside a given grouping: how much of it is known already, whether that is chance, and what is new.

Letters: n firm, e edge, d draw.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score

from finattn.config.require import require
from finattn.networks.communities import communities
from finattn.networks.groupings import Given, Pairs, Partition, as_grouping
from finattn.networks.network import PeerNetwork
from finattn.networks.statistics import Places, Snapshot, snapshots

COLUMNS = ("date", "grouping", "k", "firms", "left_out", "overlap", "mass_inside", "chance", "edges_inside",
           "expected", "enrichment", "z", "p_value", "adjusted_mutual_information")  # fmt: skip

_SETTLING = 20  # rounds of rewiring before the first draw


def compare(network: PeerNetwork, grouping: Given, k: int = 10, draws: int = 300, seed: int = 0) -> pd.DataFrame:
    """Compare a network with a grouping at each as-of date.

    Only firms that the grouping covers enter, and edges between two of them; what it does not know is no disagreement.

    - overlap: the mean over firms of the share of their k heaviest peers that are in the grouping (fewer where a firm
      asks fewer). mass_inside: the mean of the share of their weight that is. chance: both with peers drawn evenly
      from all other firms, the mean of (group − 1) / (firms − 1).
    - edges_inside: share of the edges inside. expected: its mean over networks with the same in- and out-degree of
      every firm, drawn at random, own firm and repeated edges left out (edges swap their peers, see `rewired`).
      enrichment: the ratio of the two; z: the distance in standard deviations of the draws; p_value: one-sided,
      (1 + draws with as many edges inside or more) / (1 + draws), of the null that whom firms ask has nothing to do
      with the grouping beyond how much they ask and are asked. It says nothing of the fits' own error, and dates are
      not independent.
    - adjusted_mutual_information: of the network's communities and the groups (Vinh, Epps and Bailey 2010, means of
      entropies), among covered firms with an edge: 0 by chance, 1 the same. Of a table of pairs the communities.

    Parameters
    ----------
    network : PeerNetwork
    grouping : see `groupings.as_grouping`: a level such as "industry_0", "fama_french_48", a mapping or pairs.
    k : int
        Peers of a firm for the overlap.
    draws : int
        Of rewired networks, at least 1.
    seed : int

    Returns
    -------
    DataFrame
        With `COLUMNS`, a row for each date; firms are those covered that ask any, left_out the share of the network's
        weight with an end that is not covered. NaN where nothing is covered.

    Raises
    ------
    InputError
        k or draws is below 1, or for a grouping that there is not.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> found = compare(_example(), {"A": "retail", "B": "retail"}, draws=10)
    >>> found[["firms", "overlap", "mass_inside", "chance"]].to_dict("records")
    [{'firms': 1, 'overlap': 1.0, 'mass_inside': 1.0, 'chance': 1.0}]
    """
    for name, value in (("k", k), ("draws", draws)):
        require(name, value, value >= 1, "at least 1")
    given = as_grouping(network, grouping)
    rows = []
    for snapshot in snapshots(network):
        groups = given.at(snapshot)
        found = {"date": snapshot.date, "grouping": given.name, "k": k}
        here, firms = covered(snapshot, groups), groups.covered.sum()
        kept, total = snapshot.weight[here.index].sum(), snapshot.weight.sum()
        found |= {"firms": here["firm"].nunique(), "left_out": 1 - kept / total if total else np.nan}
        if len(here):
            chance = float(groups.sizes()[here["firm"].unique()].mean() / (firms - 1))
            found |= _overlap(here, k) | {"chance": chance} | _enrichment(here, groups, draws, seed)
            found["adjusted_mutual_information"] = _shared_information(snapshot, groups, seed)
        rows.append(found)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def covered(snapshot: Snapshot, groups: Partition | Pairs) -> pd.DataFrame:
    """Return the edges between firms that a grouping covers: firm, peer, weight, inside; indexed by their place."""
    known = np.flatnonzero(groups.covered[snapshot.firm] & groups.covered[snapshot.peer])
    firm, peer = snapshot.firm[known], snapshot.peer[known]
    columns = {"firm": firm, "peer": peer, "weight": snapshot.weight[known], "inside": groups.inside(firm, peer)}
    return pd.DataFrame(columns, index=known)


def _overlap(edges: pd.DataFrame, k: int) -> dict[str, float]:
    heaviest = edges.sort_values(["firm", "weight"], ascending=[True, False], kind="stable").groupby("firm").head(k)
    by_firm = edges.assign(within=edges["weight"] * edges["inside"]).groupby("firm")[["within", "weight"]].sum()
    return {
        "overlap": float(heaviest.groupby("firm")["inside"].mean().mean()),
        "mass_inside": float((by_firm["within"] / by_firm["weight"]).mean()),
    }


def _enrichment(edges: pd.DataFrame, groups: Partition | Pairs, draws: int, seed: int) -> dict[str, float]:
    firm, observed = edges["firm"].to_numpy(), int(edges["inside"].sum())
    peers = rewired(firm, edges["peer"].to_numpy(), draws, seed)
    counts = np.array([groups.inside(firm, peer).sum() for peer in peers])
    expected, deviation = float(counts.mean()), float(counts.std(ddof=1)) if draws > 1 else 0.0
    return {
        "edges_inside": observed / len(edges),
        "expected": expected / len(edges),
        "enrichment": observed / expected if expected else np.nan,
        "z": (observed - expected) / deviation if deviation else np.nan,
        "p_value": float(1 + (counts >= observed).sum()) / (1 + draws),
    }


def rewired(firm: Places, peer: Places, draws: int, seed: int = 0) -> Iterator[Places]:
    """Yield the peers (e,) of as many edges of the same firms in networks drawn at random with the same degrees.

    In each round edges are paired at random and a pair swaps its peers, i → j and k → l to i → l and k → j, unless one
    would be an edge of a firm with itself or is among the edges that any other pair has or proposes. Whether a pair
    swaps is the same backwards, so that all networks that can be reached are equally likely (Rao, Jana and
    Bandyopadhyay 1996); a cycle of three that only turns as a whole is never turned. A round replaces nearly every
    edge, and is a draw.

    Parameters
    ----------
    firm, peer : (e,) places, each pair once, none of a firm with itself. draws : how many. seed : of the rounds.

    Examples
    --------
    >>> firm, peer = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])
    >>> all(sorted(drawn) == [0, 1, 2, 3] and (drawn != firm).all() for drawn in rewired(firm, peer, 5))
    True
    """
    random = np.random.default_rng(seed)
    for step in range(_SETTLING + draws):
        peer = _swapped(firm, peer, random)
        if step >= _SETTLING:
            yield peer


def _swapped(firm: Places, peer: Places, random: np.random.Generator) -> Places:
    half = len(firm) // 2
    order = random.permutation(len(firm))
    first, second = order[:half], order[half : 2 * half]
    proposed = peer.copy()
    proposed[first], proposed[second] = peer[second], peer[first]
    count = int(max(firm.max(), peer.max())) + 1
    alone = _alone(np.concatenate([firm * count + peer, firm * count + proposed]))
    fine = alone[: len(firm)] & alone[len(firm) :] & (firm != proposed)
    swap = fine[first] & fine[second]
    result = peer.copy()
    for side in (first[swap], second[swap]):
        result[side] = proposed[side]
    return result


def _alone(codes: Places) -> NDArray[np.bool_]:
    """Say which numbers come once."""
    order = np.argsort(codes)
    twice = np.diff(codes[order]) == 0
    result = np.empty(len(codes), bool)
    result[order] = ~(np.append(twice, False) | np.append(False, twice))
    return result


def _shared_information(snapshot: Snapshot, groups: Partition | Pairs, seed: int) -> float:
    found = communities(snapshot.matrix, seed)
    asks = np.bincount(np.concatenate([snapshot.firm, snapshot.peer]), minlength=len(found)) > 0
    here = asks & groups.covered
    return float(adjusted_mutual_info_score(groups.labels[here], found[here]))


def new_peers(network: PeerNetwork, grouping: Given, top: int = 20, firm: str | None = None) -> pd.DataFrame:
    """Return the heaviest edges that a grouping does not have: whom firms ask outside their industry.

    An edge with an end that the grouping does not cover is left out: it is not known to be new.

    Parameters
    ----------
    network : PeerNetwork
    grouping : see `groupings.as_grouping`.
    top : int
        Rows of each date, at least 1.
    firm : str, optional
        Only the edges by which this firm asks.

    Returns
    -------
    DataFrame
        date, firm, name, peer, peer_name, the industries of both (industry_0, peer_industry_0 and so on), weight,
        lower, upper and share as in `network.edges`; by date, the heaviest first.

    Raises
    ------
    InputError
        top is below 1, the network does not have the firm, or for a grouping that there is not.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> found = new_peers(_example(), {"A": "retail", "B": "banks"})
    >>> found[["firm", "name", "peer", "peer_name", "weight"]].to_dict("records")
    [{'firm': 'A', 'name': 'Alpha', 'peer': 'B', 'peer_name': 'Beta', 'weight': 0.5}]
    """
    require("top", top, top >= 1, "at least 1")
    require("firm", firm, firm is None or firm in set(network.nodes["firm"]), "one of the network's")
    given, tables = as_grouping(network, grouping), []
    for snapshot in snapshots(network):
        here = covered(snapshot, given.at(snapshot))
        places = here.index[~here["inside"]]
        edges = snapshot.edges.loc[places]
        if firm is not None:
            edges = edges[edges["firm"] == firm]
        tables.append(_with_names(snapshot, edges.sort_values("weight", ascending=False, kind="stable")[:top]))
    return pd.concat(tables, ignore_index=True)


def _with_names(snapshot: Snapshot, edges: pd.DataFrame) -> pd.DataFrame:
    given = snapshot.nodes.drop(columns=["date", "size"])
    asks, asked = given, given.add_prefix("peer_").rename(columns={"peer_firm": "peer"})
    table = edges.merge(asks, on="firm", how="left").merge(asked, on="peer", how="left")
    industries = [name for name in table.columns if "industry_" in name]
    return table[["date", "firm", "name", "peer", "peer_name", *industries, "weight", "lower", "upper", "share"]]
