"""What a fitted network draws on at one date, as a list of pairs of firms: never a dense matrix for attention.

Letters: t' scored row, h head, n firm that asks, k kept. A pair's code is firm · n + peer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from finattn.blocks import Block, Blocks, observed
from finattn.errors import InputError
from finattn.explain import How, attention, gradients
from finattn.explain.scene import Corrected
from finattn.look_up import LookUp
from finattn.models import PanelTransformer

CELLS = 2**19  # numbers held at once: small enough that sorting them costs little memory
_READ = 2**22  # heaviest weights of a head read in one pass
_PEERS = ("firm", "industry", "neighbours")


class Piece(NamedTuple):
    """What one fit draws on at one date: the heaviest weights of each firm."""

    pairs: NDArray[np.int64]
    """Codes, increasing."""
    weights: NDArray[np.float32]
    asks: NDArray[np.bool_]
    """Which firms (n,) have a forecast."""


@dataclass(frozen=True)
class Reading:
    """What is read of each fit: the method, how many peers of a firm are kept, and settings of gradient methods."""

    method: str
    kept: int
    how: How


def read(model: Any, blocks: Blocks, rows: Sequence[int], reading: Reading) -> Iterator[Piece]:
    """Yield a piece for each of some rows, which increase."""
    if reading.method == "attention":
        yield from _attended(model, blocks, rows, reading.kept)
        return
    explain = _EXPLAINED[reading.method]
    for row in rows:
        here = blocks.at(np.array([row]))
        yield _piece([(1.0, *explain(model, here, reading))], here.observed[0], reading.kept)


# -- pairs ------------------------------------------------------------


def added(pairs: NDArray[np.int64], weights: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return each pair once, increasing, and the sum of its weights.

    Examples
    --------
    >>> added(np.array([5, 2, 5]), np.array([0.1, 0.2, 0.3]))
    (array([2, 5]), array([0.2, 0.4]))
    """
    if not len(pairs):
        return pairs, np.zeros(0)
    order = np.argsort(pairs, kind="stable")
    ordered = pairs[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[starts], np.add.reduceat(weights[order].astype(np.float64), starts)


def heaviest(firm: NDArray[np.int64], weights: NDArray[Any], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of each firm's `count` heaviest weights, firm by firm and the heaviest first, and their ranks.

    Of equal weights the first in the list comes first.

    Examples
    --------
    >>> heaviest(np.array([0, 0, 0, 1]), np.array([0.1, 0.3, 0.2, 0.5]), 2)
    (array([1, 2, 3]), array([0, 1, 0]))
    """
    order = np.lexsort((np.arange(len(firm)), -weights, firm))
    starts = np.flatnonzero(np.diff(firm[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return order[rank < count], rank[rank < count]


_Part = tuple[float, NDArray[np.int64], NDArray[np.float32]]
"""A share, peers [n k] with -1 for none, and their weights [n k]."""


def _piece(parts: Sequence[_Part], asks: NDArray[np.bool_], kept: int) -> Piece:
    """Add parts up, leave firms' own weights and firms without a forecast out, and keep the heaviest.

    Some firms at a time.
    """
    count = len(asks)
    size = max(1, CELLS // sum(peers.shape[1] for _, peers, _ in parts))
    found = []
    for start in range(0, count, size):
        firm = np.arange(start, min(start + size, count))[:, None]
        rows = slice(start, start + size)
        theirs = asks[rows, None]
        there = [theirs & (peers[rows] >= 0) & (peers[rows] != firm) & (x[rows] > 0) for _, peers, x in parts]
        pairs = [(firm * count + peers[rows])[some] for (_, peers, _), some in zip(parts, there, strict=True)]
        values = [share * weights[rows][some] for (share, _, weights), some in zip(parts, there, strict=True)]
        codes, sums = added(np.concatenate(pairs), np.concatenate(values))
        places = np.sort(heaviest(codes // count, sums, kept)[0])
        found.append((codes[places], sums[places].astype(np.float32)))
    return Piece(np.concatenate([codes for codes, _ in found]), np.concatenate([sums for _, sums in found]), asks)


# -- attention, in chunks ------------------------------------------------------------


def _attended(model: Any, blocks: Blocks, rows: Sequence[int], kept: int) -> Iterator[Piece]:
    """Average the heaviest weights of each layer and head."""
    firms, start = blocks.panel.shape[1], 0
    length = max(1, _READ // (firms * kept))
    seen = observed(blocks.panel, np.asarray(rows))
    for block in blocks.at(np.asarray(rows)).cut(model.warmup, length):
        parts: list[list[_Part]] = [[] for _ in block.scored]
        for leaf, shares in looking(model, block):
            layers = [place for place, axis in enumerate(leaf.axes) if axis in _PEERS]
            each = shares[:, None] * _heads(leaf, block) / len(layers)
            for layer in layers:
                top = leaf.attention(block, layer, top_k=min(kept, firms))
                for place, of_heads in enumerate(each.tolist()):
                    peers, weights = top.keys[place].numpy(), top.weights[place].numpy()
                    parts[place] += zip(of_heads, peers, weights, strict=True)
        for part in parts:
            yield _piece(part, seen[start], kept)
            start += 1


def _heads(leaf: PanelTransformer | LookUp, block: Block) -> Tensor:
    """Return what heads count [t' h]: of a look-up in proportion to the deviation of what each adds to the score.

    By |slope| a head that looks at everyone, and so adds nothing, would count as much as one that found peers.
    """
    even = torch.full((len(block.scored), leaf.config.heads), 1 / leaf.config.heads)
    return _shared(_deviation(leaf.by_head(block))) if isinstance(leaf, LookUp) else even


def looking(model: Any, block: Block) -> list[tuple[PanelTransformer | LookUp, Tensor]]:
    """Return the networks of a model that attend to firms, and their shares [t'] at the rows scored.

    A base and its correction count in proportion to the deviation across firms of what each adds to the score.

    Raises
    ------
    InputError
        Where none attends to firms.
    """
    parts = [
        (leaf, share)
        for leaf, share in _leaves(model, block, torch.ones(len(block.scored)))
        if set(getattr(leaf, "axes", ())) & {*_PEERS} and isinstance(leaf, PanelTransformer | LookUp)
    ]
    if not parts:
        axes = getattr(model, "axes", None)
        found = f"axes {axes}" if axes else f"a {type(model).__name__}"
        raise InputError(f"a peer network needs a model that attends to other firms, found {found}")
    shares = _shared(torch.stack([share for _, share in parts], 1))
    return [(leaf, share) for (leaf, _), share in zip(parts, shares.unbind(1), strict=True)]


def _leaves(model: Any, block: Block, share: Tensor) -> Iterator[tuple[Any, Tensor]]:
    if not isinstance(model, Corrected):
        yield model, share
        return
    with torch.no_grad():
        scores = model.model(block)[block.scored]
    added = _deviation(scores)
    base, correction = _shared(torch.stack([torch.full_like(added, model.weight), added], 1)).unbind(1)
    yield from _leaves(model.base, block, share * base)  # its scores are standardised: they deviate by their weight
    yield from _leaves(model.model, block, share * correction)


def _deviation(scores: Tensor) -> Tensor:
    """Return the deviation of scores [... n] across firms, NaN left out."""
    known = ~scores.isnan()
    count = known.sum(-1, keepdim=True).clamp(min=1)
    mean = scores.nan_to_num().sum(-1, keepdim=True) / count
    return ((scores - mean).masked_fill(~known, 0.0).square().sum(-1) / count[..., 0]).sqrt()


def _shared(sizes: Tensor) -> Tensor:
    """Return sizes [t' i] as shares that add up to one, equal ones where all are zero."""
    total = sizes.sum(1, keepdim=True)
    return torch.where(total > 0, sizes / total.clamp(min=torch.finfo(sizes.dtype).tiny), 1 / sizes.shape[1])


# -- explanations, for small panels ------------------------------------------------------------


_Explain = Callable[[Any, Blocks, Reading], tuple[NDArray[np.int64], NDArray[np.float32]]]


def _looked(model: Any, here: Blocks, reading: Reading) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Read rollout or value norms of each network that attends to firms."""
    (block,) = here.cut(model.warmup, 1)
    tables = []
    for leaf, share in looking(model, block):
        table = _shares(attention([leaf], here, "", reading.method).table)
        tables.append(table.assign(share=table["share"] * float(share[0])))
    return _wide(pd.concat(tables).groupby(["firm", "key"], sort=False)["share"].sum().reset_index(), here)


def _moved(model: Any, here: Blocks, reading: Reading) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Read what moves the score: integrated gradients, or Shapley values with as many peers for players as are kept."""
    targets = [(here.dates[0], firm) for firm in here.panel.firms[here.observed[0]]]
    method = {"gradients": "integrated_gradients"}.get(reading.method, reading.method)
    return _wide(_shares(gradients(model, here, targets, method, reading.how).table), here)


def _shares(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each firm, the own one included, in the sum of absolute scores of a firm's peers."""
    peers = table[table["kind"] == "peer"]
    size = peers["score"].abs()
    total = size.groupby(peers["firm"]).transform("sum")
    return peers.assign(share=(size / total.where(total > 0)).fillna(0.0))[["firm", "key", "share"]]


def _wide(table: pd.DataFrame, here: Blocks) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Turn a list into peers and weights [n k]."""
    firms = pd.Index(here.panel.firms)
    firm, peer = firms.get_indexer(table["firm"]), firms.get_indexer(table["key"])
    share = table["share"].to_numpy()
    places, rank = heaviest(firm, share, len(firms) + 1)  # one more: what is added up as others
    width = int(rank.max(initial=0)) + 1
    peers, weights = np.full((len(firms), width), -1), np.zeros((len(firms), width), np.float32)
    peers[firm[places], rank], weights[firm[places], rank] = peer[places], share[places]
    return peers, weights


_EXPLAINED: dict[str, _Explain] = {"rollout": _looked, "value_norm": _looked, "gradients": _moved, "shapley": _moved}
METHODS = ("attention", *_EXPLAINED)
