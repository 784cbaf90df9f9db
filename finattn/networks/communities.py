"""Communities of a directed, weighted network: groups of firms that ask each other more than their strengths explain.

Letters: n firm, c community. Nothing of size n² is ever held: a round costs as much as the network has edges.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from finattn.config.require import require

Floats = NDArray[np.float64]

_ROUNDS = 100  # of moves at one level, at most
_PATIENCE = 3  # rounds that gain next to nothing before a level ends
_LEAST_GAIN = 1e-4  # of modularity
_MOVERS = 0.5  # share of the firms that may move in a round: the others hold still, so that moves do not cross


def communities(weights: csr_matrix, seed: int = 0) -> NDArray[np.int64]:
    """Return each firm's community: groups of high modularity, found by the method of Louvain.

    The method (Blondel, Guillaume, Lambiotte and Lefebvre 2008) moves firms to the community that gains most, merges
    communities into firms of a smaller network, and so on; at the end single firms move once more. Here a random half
    of the firms decide at once instead of one after the other, and a round that loses is taken back. It finds a good
    partition, not the best one: how many communities there are depends on the network's size, since modularity does
    not see small ones in a large network (Fortunato and Barthelemy 2007).

    Parameters
    ----------
    weights : (n, n) at least 0, row asks column. seed : of who decides when.

    Returns
    -------
    (n,) numbers from 1, the largest community first; a firm without edges is alone.

    Examples
    --------
    >>> pairs = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (0, 3)]
    >>> communities(csr_matrix((np.ones(7), tuple(zip(*pairs))), shape=(6, 6))).tolist()
    [1, 1, 1, 2, 2, 2]
    """
    random, network = np.random.default_rng(seed), csr_matrix(weights, dtype=np.float64)
    labels = np.arange(network.shape[0])
    if network.sum() == 0:
        return labels + 1
    merged = network
    while True:
        of_merged = _moved(merged, np.arange(merged.shape[0]), random)
        count = int(of_merged.max()) + 1
        labels = of_merged[labels]
        if count == merged.shape[0]:
            break
        merged = _merged(merged, of_merged, count)
    return _by_size(_moved(network, labels, random))


def modularity(weights: csr_matrix, labels: NDArray[np.int64]) -> float:
    """Return Q = Σ_c [W_c / W − out_c in_c / W²]: the share of weight within communities beyond what strengths explain.

    W_c is the weight within c, out_c and in_c the weights of its firms' edges out and in (Leicht and Newman 2008).

    Parameters
    ----------
    weights : (n, n) at least 0, row asks column. labels : (n,) numbers of communities, at least 0.

    Returns
    -------
    From -1 to below 1; NaN without edges.

    Examples
    --------
    >>> two = csr_matrix(np.kron(np.eye(2), np.ones((3, 3)) - np.eye(3)))
    >>> modularity(two, np.array([1, 1, 1, 2, 2, 2])), modularity(two, np.ones(6, int))
    (0.5, 0.0)
    """
    require("labels", labels.shape, labels.shape == weights.shape[:1], f"one for each of {weights.shape[0]} firms")
    total = float(weights.sum())
    if total == 0:
        return float("nan")
    pairs = weights.tocoo()
    within = pairs.data[labels[pairs.row] == labels[pairs.col]].sum()
    out, into = (np.bincount(labels, strength) for strength in _strengths(weights))
    return float(within / total - out @ into / total**2)


def _strengths(weights: csr_matrix) -> tuple[Floats, Floats]:
    """Return weights out and in of each firm."""
    out, into = (np.asarray(weights.sum(axis=axis), np.float64).ravel() for axis in (1, 0))
    return out, into


def _moved(weights: csr_matrix, labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Let firms move as long as modularity rises; labels come out from 0 without gaps."""
    both = (weights + weights.T).tocsr()
    value, idle = modularity(weights, labels), 0
    for _ in range(_ROUNDS):
        movers = np.flatnonzero(random.random(len(labels)) < _MOVERS)
        proposed = labels.copy()
        proposed[movers] = _best(both, _strengths(weights), labels, movers)
        gain = modularity(weights, proposed) - value
        if gain > 0:
            labels, value = proposed, value + gain
        idle = 0 if gain > _LEAST_GAIN else idle + 1
        if idle == _PATIENCE:
            break
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _best(
    both: csr_matrix, strengths: tuple[Floats, Floats], labels: NDArray[np.int64], movers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the community that each mover gains most by being in, its own where none is better.

    In community c, without the mover itself, firm i has the links w_ic + w_ci less what strengths explain,
    (out_i in_c + in_i out_c) / W.
    """
    (out, into), count = strengths, len(labels)
    out_of, into_of = (np.bincount(labels, strength, minlength=count) for strength in strengths)
    members = csr_matrix((np.ones(count), labels, np.arange(count + 1)), shape=(count, count))
    links = (both[movers] @ members).tocsr()
    row, target, total = np.repeat(np.arange(len(movers)), np.diff(links.indptr)), links.indices, out.sum()
    firm, own = movers[row], both.diagonal()[movers]
    stays = target == labels[firm]
    linked = links.data - np.where(stays, own[row], 0.0)
    explained = out[firm] * (into_of[target] - into[firm] * stays) + into[firm] * (out_of[target] - out[firm] * stays)
    gain = linked - explained / total
    alone = -(out * (into_of[labels] - into) + into * (out_of[labels] - out))[movers] / total  # without a link to it
    best, choice = alone, labels[movers]
    best[row[stays]] = gain[stays]
    np.maximum.at(best, row, gain - 1e-12 * total * ~stays)
    wins = ~stays & (gain - 1e-12 * total == best[row])
    choice[row[wins]] = target[wins]
    return choice


def _merged(weights: csr_matrix, labels: NDArray[np.int64], count: int) -> csr_matrix:
    """Return the network (c, c) whose firms are communities; what lies within one asks itself."""
    pairs = weights.tocoo()
    return csr_matrix((pairs.data, (labels[pairs.row], labels[pairs.col])), shape=(count, count))


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return numbers of communities from 1, the largest first, and of equal ones that of the first firm."""
    _, first, place, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(size), np.int64)
    rank[np.lexsort((first, -size))] = np.arange(1, len(size) + 1)
    return rank[place]
