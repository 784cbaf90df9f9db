"""From scores to weights: softmax and its sparse, independent and hard relatives.

A normaliser maps scores [... t s] to rows that sum to one. A forbidden score is -inf and gets exactly zero.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from finattn.errors import InputError


def normalise(scores: Tensor, mask: Tensor | None = None, normaliser: str = "softmax") -> Tensor:
    """Turn scores into weights over the keys that the mask allows.

    Parameters
    ----------
    scores : [... t s], scaled already. mask : bool, broadcast to [... t s]; True may be attended to, None allows all.
    normaliser : softmax; sparsemax (Martins and Astudillo 2016); entmax (α = 1.5, Peters et al. 2019); sigmoid (each
        score's sigmoid over the row's sum of them); hardmax (one on the largest score, the first of ties, no gradient).

    Returns
    -------
    [... t s] rows that sum to one, or to zero (with zero gradients) where the mask allows nothing.

    Raises
    ------
    InputError
        For an unknown normaliser.

    Examples
    --------
    >>> scores = torch.tensor([[1.0, 0.5, -1.0]])
    >>> normalise(scores, torch.tensor([True, True, False]), "sparsemax").tolist()
    [[0.75, 0.25, 0.0]]
    """
    if normaliser not in NORMALISERS:
        raise InputError(f"normaliser must be one of {', '.join(NORMALISERS)}, found {normaliser!r}")
    function = NORMALISERS[normaliser]
    if mask is None:
        return function(scores)
    # An empty row would be NaN, in its gradients too: it attends to everything and is then wiped out.
    empty = ~mask.any(-1, keepdim=True)
    return function(scores.masked_fill(~(mask | empty), -torch.inf)).masked_fill(empty, 0.0)


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


def _sigmoid(scores: Tensor) -> Tensor:
    # In logarithms, since a row of very low scores would be zero over zero.
    return F.logsigmoid(scores).softmax(-1)


def _hardmax(scores: Tensor) -> Tensor:
    largest, first = scores.max(-1, keepdim=True)
    return torch.zeros_like(scores).scatter(-1, first, 1.0) + 0.0 * largest  # stays in the graph, with gradient zero


def _sparsemax(scores: Tensor) -> Tensor:
    """Project onto the simplex: p = max(z - τ, 0), τ = (sum of z over the support - 1) / its size."""
    scores = _near_the_top(scores)
    with torch.no_grad():
        ordered, rank = _ordered(scores)
        support = _supported(scores, ordered, rank * ordered > ordered.cumsum(-1) - 1)
    threshold = (scores.where(support, 0.0).sum(-1, keepdim=True) - 1) / support.sum(-1, keepdim=True)
    return (scores - threshold).relu()


def _entmax(scores: Tensor) -> Tensor:
    """Return p = max(z/2 - τ, 0)², where τ makes the row sum to one."""
    scores = _near_the_top(scores / 2)
    with torch.no_grad():
        ordered, rank = _ordered(scores)
        mean = ordered.cumsum(-1) / rank
        spread = (ordered.square().cumsum(-1) / rank - mean.square()) * rank
        support = _supported(scores, ordered, mean - ((1 - spread) / rank).clamp(min=0).sqrt() <= ordered)
    size = support.sum(-1, keepdim=True)
    mean = scores.where(support, 0.0).sum(-1, keepdim=True) / size
    spread = (scores - mean).where(support, 0.0).square().sum(-1, keepdim=True)
    # The mean of √p over the support is at least 1/size, so the root below is that far from zero.
    root = ((1 - spread) / size).clamp(min=0.5 / size.square()).sqrt()
    return (scores - mean + root).relu().square()


def _near_the_top(scores: Tensor) -> Tensor:
    """Shift the largest score to zero and raise those below -2 to it: no support reaches below -1, so nothing changes.

    It keeps -inf out of the arithmetic, and the forbidden entries' weights at exactly zero.
    """
    return (scores - scores.detach().amax(-1, keepdim=True)).clamp(min=-2.0)


def _ordered(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores from the largest down, and their ranks from one."""
    rank = torch.arange(1, scores.shape[-1] + 1, dtype=scores.dtype, device=scores.device)
    return scores.sort(-1, descending=True).values, rank


def _supported(scores: Tensor, ordered: Tensor, inside: Tensor) -> Tensor:
    """Mark the scores not below the last ordered one that is inside."""
    return scores >= ordered.gather(-1, inside.sum(-1, keepdim=True) - 1)


NORMALISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": _softmax,
    "sparsemax": _sparsemax,
    "entmax": _entmax,
    "sigmoid": _sigmoid,
    "hardmax": _hardmax,
}
