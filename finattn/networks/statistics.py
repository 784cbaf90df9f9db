"""What a peer network looks like: of each firm at each date, of the network over time, and how long edges last.

An edge of weight 0 counts as none. Letters: n firm that asks, m peer, e edge.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from finattn.config.require import require
from finattn.networks.communities import communities, modularity
from finattn.networks.network import PeerNetwork

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


class Snapshot(NamedTuple):
    """The network of one as-of date, with firms as places in its nodes."""

    date: pd.Timestamp
    nodes: pd.DataFrame
    edges: pd.DataFrame
    """In any order, those of weight 0 left out."""
    firm: Places
    """(e,) who asks."""
    peer: Places
    """(e,) who is asked."""

    @property
    def weight(self) -> Floats:
        """Weights (e,)."""
        return self.edges["weight"].to_numpy()

    @property
    def matrix(self) -> csr_matrix:
        """Weights (n, m): row asks column."""
        return csr_matrix((self.weight, (self.firm, self.peer)), shape=(len(self.nodes),) * 2)


def snapshots(network: PeerNetwork) -> Iterator[Snapshot]:
    """Yield the network date by date, without checking it again."""
    edges = {date: rows for date, rows in network.edges[network.edges["weight"] > 0].groupby("date")}
    for date, nodes in network.nodes.groupby("date"):
        here, firms = edges.get(date, network.edges[:0]), pd.Index(nodes["firm"])
        ends = (firms.get_indexer(here[end]).astype(np.int64) for end in ("firm", "peer"))
        yield Snapshot(nodes["date"].iloc[0], nodes.reset_index(drop=True), here.reset_index(drop=True), *ends)


def node_statistics(network: PeerNetwork, seed: int = 0) -> pd.DataFrame:
    """Describe each firm at each as-of date.

    Parameters
    ----------
    network : PeerNetwork
    seed : int
        Of the search for communities.

    Returns
    -------
    DataFrame
        The columns of `network.nodes` (date, firm, name, size, industries) and

        - in_strength, out_strength: Σ weights of the edges by which others ask it, and by which it asks;
        - in_degree, out_degree: how many those are;
        - asymmetry: (in − out) / (in + out) of the strengths, from −1, it takes only, to 1, it gives only; NaN without
          edges. Out-strength is at most 1, in-strength as large as many others make it;
        - community: of `communities.communities`, from 1, the largest. Dates are searched one by one: the same number
          at another date is another community.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> node_statistics(_example())[["firm", "in_strength", "out_strength", "asymmetry"]]
      firm  in_strength  out_strength  asymmetry
    0    A          0.0           0.5       -1.0
    1    B          0.5           0.0        1.0
    """
    return pd.concat([_of_nodes(snapshot, seed) for snapshot in snapshots(network)], ignore_index=True)


def _of_nodes(snapshot: Snapshot, seed: int) -> pd.DataFrame:
    count, found = len(snapshot.nodes), {}
    for name, ends in (("in", snapshot.peer), ("out", snapshot.firm)):
        found[f"{name}_strength"] = np.bincount(ends, snapshot.weight, minlength=count)
    for name, ends in (("in", snapshot.peer), ("out", snapshot.firm)):
        found[f"{name}_degree"] = np.bincount(ends, minlength=count)
    into, out = found["in_strength"], found["out_strength"]
    found["asymmetry"] = np.divide(into - out, into + out, out=np.full(count, np.nan), where=into + out > 0)
    return snapshot.nodes.assign(**found, community=communities(snapshot.matrix, seed))


def network_statistics(network: PeerNetwork, seed: int = 0) -> pd.DataFrame:
    """Describe the network at each as-of date, and what has become of its edges since the date before.

    Parameters
    ----------
    network : PeerNetwork
    seed : int
        Of the search for communities.

    Returns
    -------
    DataFrame
        A row for each date, with

        - firms, edges; density: edges / (firms (firms − 1));
        - reciprocity: share of the edges i → j with an edge j → i;
        - asymmetry: Σ|w_ij − w_ji| / Σ(w_ij + w_ji) over pairs: 0 where all give what they take, 1 where nobody gives
          back; 1 minus the weighted reciprocity of Squartini, Picciolo, Ruzzenenti and Garlaschelli (2013);
        - turnover: share of the edges of the date before, both ends still listed, that are gone;
        - weight_turnover: ½ Σ|p − p'| of the weights among firms listed at both dates, each date's adding up to one;
        - half_life: calendar days until half of the edges were gone if they went on going at that pace,
          days × ln ½ / ln(1 − turnover); infinite without turnover. `edge_survival` shows whether they do;
        - communities: how many have two firms or more; modularity: of the partition (`communities.modularity`);
        - assortativity of each level of industry, assortativity_industry_0 and so on: Newman's (2003) r with shares of
          weight, (Σ_g e_gg − Σ_g a_g b_g) / (1 − Σ_g a_g b_g), e_gh the share from industry g to h, a and b its sums:
          1 where firms ask their own industry only, 0 where no more than by chance. Edges with an unknown end are left
          out.

        NaN where there is nothing to divide by.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> network_statistics(_example())[["edges", "density", "reciprocity", "asymmetry", "turnover"]].to_dict("records")
    [{'edges': 1, 'density': 0.5, 'reciprocity': 0.0, 'asymmetry': 1.0, 'turnover': nan}]
    """
    rows, before = [], None
    for snapshot in snapshots(network):
        rows.append(_of_network(snapshot, seed) | _since(before, snapshot))
        before = snapshot
    first = ["date", "firms", "edges", "density", "reciprocity", "asymmetry", "turnover", "weight_turnover",
             "half_life", "communities", "modularity"]  # fmt: skip
    return pd.DataFrame(rows, columns=[*first, *(f"assortativity_{level}" for level in network.levels)])


def _of_network(snapshot: Snapshot, seed: int) -> dict[str, Any]:
    count, weights = len(snapshot.nodes), snapshot.matrix
    edges, total = len(snapshot.firm), float(snapshot.weight.sum())
    labels = communities(weights, seed)
    levels = [name for name in snapshot.nodes.columns if name.startswith("industry_")]
    return {
        "date": snapshot.date,
        "firms": count,
        "edges": edges,
        "density": _ratio(edges, count * (count - 1)),
        "reciprocity": _ratio(weights.multiply(weights.T).nnz, edges),
        "asymmetry": _ratio(total - weights.minimum(weights.T).sum(), total),
        "communities": int((np.bincount(labels) > 1).sum()),
        "modularity": modularity(weights, labels),
    } | {f"assortativity_{level}": _assortativity(snapshot, level) for level in levels}


def _assortativity(snapshot: Snapshot, level: str) -> float:
    """Return Newman's r of the industries at a level, by weight."""
    codes = snapshot.nodes[level].to_numpy()
    ends = codes[snapshot.firm], codes[snapshot.peer]
    known = (ends[0] > 0) & (ends[1] > 0)
    _, place = np.unique(np.concatenate([end[known] for end in ends]), return_inverse=True)
    asks, asked = np.split(place, 2)
    weight = snapshot.weight[known] / max(snapshot.weight[known].sum(), np.finfo(float).tiny)
    groups = int(place.max(initial=0)) + 1
    chance = float(np.bincount(asks, weight, minlength=groups) @ np.bincount(asked, weight, minlength=groups))
    return _ratio(float(weight[asks == asked].sum()) - chance, 1 - chance) if known.any() else float("nan")


def _since(before: Snapshot | None, now: Snapshot) -> dict[str, float]:
    """Return what has become of the edges of the date before."""
    if before is None:
        return {}
    earlier, later = _shared(before, now)
    kept = earlier.index.isin(later.index)
    turnover = _ratio(float((~kept).sum()), len(earlier))
    shares = [weights / weights.sum() for weights in (earlier, later)]
    moved = float(shares[0].sub(shares[1], fill_value=0.0).abs().sum() / 2) if len(earlier) and len(later) else np.nan
    with np.errstate(divide="ignore"):
        half_life = (now.date - before.date).days * np.divide(np.log(0.5), np.log1p(-turnover))
    return {"turnover": turnover, "weight_turnover": moved, "half_life": abs(float(half_life))}


def _shared(earlier: Snapshot, later: Snapshot) -> tuple[pd.Series, pd.Series]:
    """Return the weights of both dates among firms listed at both, by pair."""
    firms = pd.Index(earlier.nodes["firm"]).union(later.nodes["firm"])
    listed = [firms.isin(snapshot.nodes["firm"]) for snapshot in (earlier, later)]
    both, weights = listed[0] & listed[1], []
    for snapshot in (earlier, later):
        places = firms.get_indexer(snapshot.nodes["firm"])
        firm, peer = places[snapshot.firm], places[snapshot.peer]
        here = both[firm] & both[peer]
        weights.append(pd.Series(snapshot.weight[here], index=firm[here] * len(firms) + peer[here]))
    return weights[0], weights[1]


def edge_survival(network: PeerNetwork) -> pd.DataFrame:
    """Say how many edges are there again one as-of date later, two, and so on.

    Unlike `half_life` it supposes no pace: where edges are of two kinds, some that stay and some that are noise, the
    share falls at once and then hardly any more.

    Returns
    -------
    DataFrame
        lag (as-of dates apart, from 1), days (calendar days, the mean), edges (pairs of an edge and a later date, both
        ends listed then) and surviving (share of them with the edge at the later date).

    Raises
    ------
    InputError
        For a network of one date.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> one = _example()
    >>> later = {name: getattr(one, name).assign(date="2020-03-01") for name in ("edges", "nodes")}
    >>> tables = (pd.concat([getattr(one, name), later[name]]) for name in ("edges", "nodes"))
    >>> edge_survival(PeerNetwork(*tables, one.made)).to_dict("records")
    [{'lag': 1, 'days': 30.0, 'edges': 1, 'surviving': 1.0}]
    """
    dates = list(snapshots(network))
    require("network", network, len(dates) > 1, "one of at least two dates")
    rows = []
    for lag in range(1, len(dates)):
        pairs = [(dates[place], dates[place + lag]) for place in range(len(dates) - lag)]
        shared = [_shared(*pair) for pair in pairs]
        edges = sum(len(earlier) for earlier, _ in shared)
        kept = sum(int(earlier.index.isin(later.index).sum()) for earlier, later in shared)
        days = float(np.mean([(later.date - earlier.date).days for earlier, later in pairs]))
        rows.append({"lag": lag, "days": days, "edges": edges, "surviving": _ratio(kept, edges)})
    return pd.DataFrame(rows)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
