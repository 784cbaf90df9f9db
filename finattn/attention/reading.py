"""Attention weights across a set, read without holding the dense matrix: the heaviest ones, and summaries.

Letters: h head, n query, m key, k kept, g grouping. Everything is before dropout and without gradients.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from finattn.attention.functional import attention_weights
from finattn.attention.grouped import workers

CELLS = 2**22  # scores held at once
_BLOCK = 64  # keys whose highest score stands for them all

MaskOf = Callable[[slice], Tensor | None]
"""Gives the mask, broadcast to [h n' m], of a run of queries."""


class TopWeights(NamedTuple):
    """The k heaviest weights [... k] of each query, their keys [... k], and the log of the sum of exponentials [...].

    A place that nothing stands on, where fewer than k keys are allowed, has weight 0 and key -1. The logarithm is NaN
    for a normaliser without one.

    Examples
    --------
    With the logarithm any score s becomes its weight, exp(s − log_sum_exp), of a key that was not kept too:

    >>> from finattn.attention import top_weights
    >>> keys = torch.tensor([[[0.0], [2.0], [1.0]]])
    >>> top = top_weights(torch.ones(1, 1, 1), keys, lambda rows: None, k=1)
    >>> top.keys.tolist(), round(top.weights.item(), 3), round((0.0 - top.log_sum_exp).exp().item(), 3)
    ([[[1]]], 0.665, 0.09)
    """

    weights: Tensor
    keys: Tensor
    log_sum_exp: Tensor


class Summary(NamedTuple):
    """What the weights of each query [h n] add up to, exact whatever the number of keys.

    entropy : −Σ w log w, nats. effective : exp(entropy), the number of keys that would give it evenly.
    own : mass on the query itself. same : [g h n] mass on other keys of its group, by grouping. outside : [g h n] the
    rest: keys of another group, and those whose group (or whose own) is unknown.

    Examples
    --------
    Two firms of group 28, one of group 60, in a head that weighs all alike:

    >>> from finattn.attention import summarise
    >>> alike, codes = torch.zeros(1, 3, 2), torch.tensor([[28], [28], [60]])
    >>> found = summarise(alike, alike, lambda rows: None, codes, codes)
    >>> found.effective.round().tolist(), found.outside[0].numpy().round(2)
    ([[3.0, 3.0, 3.0]], array([[0.33, 0.33, 0.67]], dtype=float32))
    """

    entropy: Tensor
    effective: Tensor
    own: Tensor
    same: Tensor
    outside: Tensor


@torch.no_grad()
def top_weights(
    query: Tensor, key: Tensor, mask: MaskOf, k: int, normaliser: str = "softmax", temperature: float = 1.0
) -> TopWeights:
    """Return the k heaviest weights of each query [h n d] over the keys [h m d], some queries at a time.

    Parameters
    ----------
    query : [h n d]. key : [h m d].
    mask : gives the mask of a run of queries, see `MaskOf`; None of it allows all.
    k : weights to keep; all m where there are no more.
    normaliser, temperature : see `attention_weights`.

    Returns
    -------
    `TopWeights` [h n k].

    Examples
    --------
    >>> query, keys = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[1.0, 0.0], [-1.0, -1.0], [9.0, 9.0]]])
    >>> top = top_weights(query, keys, lambda rows: torch.tensor([True, True, False]), k=3)
    >>> top.keys.tolist(), [round(weight, 3) for weight in top.weights.flatten().tolist()]
    ([[[0, 1, -1]]], [0.893, 0.107, 0.0])
    """
    k = min(k, key.shape[1])
    heads, queries, _ = query.shape
    # Written in place: small results kept beside each large buffer would pin the memory of them all.
    result = TopWeights(
        query.new_empty(heads, queries, k), query.new_empty(heads, queries, k, dtype=torch.long),
        query.new_empty(heads, queries),
    )  # fmt: skip

    @torch.no_grad()
    def read(rows: slice) -> None:
        if normaliser == "softmax":
            part = _top_softmax(query[:, rows], key, mask(rows), k, temperature)
        else:
            part = heaviest(attention_weights(query[:, rows], key, mask(rows), normaliser, temperature=temperature), k)
        for whole, found in zip(result, part, strict=True):
            whole[:, rows] = found

    _each(read, query, key)
    return result


@torch.no_grad()
def summarise(
    query: Tensor,
    key: Tensor,
    mask: MaskOf,
    groups: Tensor,
    key_groups: Tensor,
    normaliser: str = "softmax",
    temperature: float = 1.0,
    itself: bool = True,
) -> Summary:
    """Return what the weights of queries [h n d] over keys [h m d] add up to, some queries at a time.

    Parameters
    ----------
    query, key, mask, normaliser, temperature : see `top_weights`.
    groups, key_groups : [n g] and [m g] codes, 0 = unknown. itself : whether query i and key i are the same one.

    Returns
    -------
    `Summary`; own, same and outside of a grouping add up to one, or to zero where the mask allows nothing.

    Examples
    --------
    Four firms that are weighed alike, two of one group and one whose group is not known:

    >>> from finattn.attention import summarise
    >>> alike, codes = torch.zeros(1, 4, 2), torch.tensor([[28], [28], [60], [0]])
    >>> found = summarise(alike, alike, lambda rows: None, codes, codes)
    >>> found.own[0].tolist(), found.same[0, 0].tolist(), found.outside[0, 0].tolist()
    ([0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.0, 0.0], [0.5, 0.5, 0.75, 0.75])
    """
    heads, queries, _ = query.shape
    levels = groups.shape[1]
    shapes = [(heads, queries)] * 3 + [(levels, heads, queries)] * 2
    result = Summary(*(query.new_empty(shape) for shape in shapes))  # in place, as in top_weights

    @torch.no_grad()
    def read(rows: slice) -> None:
        weights = attention_weights(query[:, rows], key, mask(rows), normaliser, temperature=temperature)
        result.entropy[:, rows] = torch.special.entr(weights).sum(-1)
        result.own[:, rows] = weights.diagonal(rows.start, 1, 2) if itself else 0.0
        total = weights.sum(-1)
        result.effective[:, rows] = result.entropy[:, rows].exp() * (total > 0)
        for level in range(levels):
            code = groups[rows, level]
            alike = (code[:, None] == key_groups[:, level]) & (code != 0)[:, None]
            same = (weights * alike).sum(-1) - result.own[:, rows] * (code != 0)
            result.same[level, :, rows] = same
            result.outside[level, :, rows] = total - result.own[:, rows] - same

    _each(read, query, key)
    return result


def heaviest(weights: Tensor, k: int) -> TopWeights:
    """Return the k heaviest of dense weights [... m].

    Parameters
    ----------
    weights : at least 0. k : weights to keep; all m where there are no more.

    Returns
    -------
    `TopWeights` [... k], the heaviest first, without the logarithm.

    Examples
    --------
    >>> from finattn.attention import heaviest
    >>> top = heaviest(torch.tensor([0.25, 0.0, 0.75]), k=3)
    >>> top.keys.tolist(), top.weights.tolist()
    ([2, 0, -1], [0.75, 0.25, 0.0])
    """
    highest, keys = weights.topk(min(k, weights.shape[-1]))
    return TopWeights(highest, keys.masked_fill(highest == 0, -1), highest.new_full(highest.shape[:-1], torch.nan))


def _each(read: Callable[[slice], None], query: Tensor, key: Tensor) -> None:
    """Read some queries at a time, side by side in threads."""
    heads, queries, _ = query.shape
    size = max(1, CELLS // (heads * key.shape[1]))
    runs = [slice(start, min(start + size, queries)) for start in range(0, queries, size)]
    with workers(len(runs)) as each:
        for _ in each(read, runs):
            pass


def _top_softmax(query: Tensor, key: Tensor, mask: Tensor | None, k: int, temperature: float) -> TopWeights:
    """Find the highest scores; the exponentials' sum makes weights of them."""
    scores = (query * (query.shape[-1] ** -0.5 / temperature)) @ key.transpose(1, 2)
    if mask is not None and not bool(mask.all()):
        scores.masked_fill_(~mask, -torch.inf)
    highest, keys = _top(scores, k)
    most = highest[..., :1].nan_to_num(neginf=0.0)  # a row without keys is -inf throughout
    total = most.squeeze(-1) + scores.sub_(most).exp_().sum(-1).log()
    weights = (highest - total[..., None]).exp().nan_to_num(0.0)
    return TopWeights(weights, keys.masked_fill(highest == -torch.inf, -1), total)


def _top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest scores and their keys: they lie in the k blocks with the highest maxima.

    A score among the k highest lies in a block whose maximum is at least as high; were the maxima of k other blocks
    higher, it would not be among them. So k blocks are searched, and the rest are passed over once.
    """
    keys = scores.shape[-1]
    whole = keys - keys % _BLOCK
    if whole <= 2 * k * _BLOCK:
        return scores.topk(k)
    blocks = scores[..., :whole].unflatten(-1, (-1, _BLOCK))
    chosen = blocks.amax(-1).topk(k).indices
    few = blocks.gather(-2, chosen[..., None].expand(*chosen.shape, _BLOCK)).flatten(-2)
    places = (chosen[..., None] * _BLOCK + torch.arange(_BLOCK, device=scores.device)).flatten(-2)
    rest = torch.arange(whole, keys, device=scores.device).expand(*places.shape[:-1], -1)
    highest, at = torch.cat([few, scores[..., whole:]], -1).topk(k)
    return highest, torch.cat([places, rest], -1).gather(-1, at)
