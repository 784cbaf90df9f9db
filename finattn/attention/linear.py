"""Attention in linear time and memory: sums over keys are formed once and serve all queries.

Letters: t query, s key, d width of queries and keys, e width of values; leading axes are free.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from finattn.errors import InputError


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    observed: Tensor | None = None,
    feature_map: str = "linear",
    causal: bool = False,
    chunk: int = 64,
) -> Tensor:
    """Attend without a softmax, in memory that grows with t + s.

    "linear" (Katharopoulos et al. 2020): φ(q)·Σ φ(k) vᵀ over φ(q)·Σ φ(k), with φ(x) = elu(x) + 1 > 0.
    "identity": (1/√d) Σ (q·k) v over the number of allowed keys, after the linear transformer of Kelly, Kuznetsov,
    Malamud and Xu (2025, "Artificial Intelligence Asset Pricing Models"). Both divisions are ours: with them the
    output's scale grows neither with the width nor with the number of firms.

    Parameters
    ----------
    query : [... t d]. key : [... s d]. value : [... s e].
    observed : bool, broadcast to [... s]; keys that may be attended to. None allows all.
    feature_map : "linear" or "identity".
    causal : a query sees the keys up to its own; needs t = s.
    chunk : queries whose scores are formed at once, if causal.

    Returns
    -------
    [... t e], zeros (with zero gradients) where no key is allowed.

    Raises
    ------
    InputError
        For an unknown feature map, a chunk below one, or causal attention with t other than s.

    Examples
    --------
    >>> query, keys = torch.ones(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0], [-1.0, -1.0, -1.0, -1.0]])
    >>> linear_attention(query, keys, torch.tensor([[3.0], [1.0]]), feature_map="identity").tolist()
    [[-0.25]]
    """
    mapped = _feature_map(feature_map)
    length = key.shape[-2]
    if causal and query.shape[-2] != length:
        raise InputError(f"causal attention needs as many queries as keys, found {query.shape[-2]} and {length}")
    if chunk < 1:
        raise InputError(f"chunk must be at least 1, found {chunk}")
    query, key = mapped(query), mapped(key)
    if observed is not None:
        observed = observed.expand(*observed.shape[:-1], length)
        key = key.masked_fill(~observed[..., None], 0.0)
    if feature_map == "identity":
        total = _keys_seen(observed, key, causal) * query.shape[-1] ** 0.5
    else:
        total = (query * (key.cumsum(-2) if causal else key.sum(-2, keepdim=True))).sum(-1, keepdim=True)
    output = _causal_sums(query, key, value, chunk) if causal else query @ (key.transpose(-2, -1) @ value)
    return output / total.masked_fill(total == 0, 1.0)


def linear_weights(query: Tensor, key: Tensor, mask: Tensor | None = None, feature_map: str = "linear") -> Tensor:
    """Return the weights of `linear_attention`, written out.

    Parameters
    ----------
    query : [... t d]. key : [... s d].
    mask : bool, broadcast to [... t s]; True may be attended to. None allows all.
    feature_map : "linear" or "identity".

    Returns
    -------
    [... t s]. "linear": rows that sum to one, or to zero where the mask allows nothing. "identity": scores q·k / √d
    over the number of allowed keys, of either sign, which do not sum to one.

    Raises
    ------
    InputError
        For an unknown feature map.

    Examples
    --------
    >>> query, keys = torch.ones(1, 4), torch.tensor([[1.0, 0.0, 0.0, 0.0], [-1.0, -1.0, -1.0, -1.0]])
    >>> linear_weights(query, keys, feature_map="identity").tolist()
    [[0.25, -1.0]]
    """
    mapped = _feature_map(feature_map)
    scores = mapped(query) @ mapped(key).transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, 0.0)
    if feature_map == "linear":
        total = scores.sum(-1, keepdim=True)
    else:
        seen = torch.ones_like(scores[..., :1, :]) if mask is None else mask.expand(*mask.shape[:-1], key.shape[-2])
        total = seen.sum(-1, keepdim=True) * query.shape[-1] ** 0.5
    return scores / total.masked_fill(total == 0, 1.0)


def _positive(x: Tensor) -> Tensor:
    # elu(x) + 1, without rounding to zero where x is far below it
    return x.clamp(max=0.0).exp() + x.relu()


def _identity(x: Tensor) -> Tensor:
    return x


FEATURE_MAPS: dict[str, Callable[[Tensor], Tensor]] = {"linear": _positive, "identity": _identity}


def _feature_map(name: str) -> Callable[[Tensor], Tensor]:
    if name not in FEATURE_MAPS:
        raise InputError(f"feature_map must be one of {', '.join(FEATURE_MAPS)}, found {name!r}")
    return FEATURE_MAPS[name]


def _keys_seen(observed: Tensor | None, key: Tensor, causal: bool) -> Tensor:
    """Return the number of keys that a query may attend to, [... t 1] if causal, else [... 1 1]."""
    if observed is None:
        observed = torch.ones(key.shape[-2], dtype=torch.bool, device=key.device)
    seen = observed.cumsum(-1) if causal else observed.sum(-1, keepdim=True)
    return seen[..., None].to(key.dtype)


def _causal_sums(query: Tensor, key: Tensor, value: Tensor, chunk: int) -> Tensor:
    """Return the sum of (q·k) v over the keys up to each query's own [... t e].

    Scores [chunk chunk] inside a chunk; what came before it is in its state, the sum of k vᵀ [d e].
    """
    length = query.shape[-2]
    chunk = min(chunk, max(length, 1))
    query, key, value = (F.pad(x, (0, 0, 0, -length % chunk)).unflatten(-2, (-1, chunk)) for x in (query, key, value))
    states = (key.transpose(-2, -1) @ value).cumsum(-3)
    before = torch.cat([torch.zeros_like(states[..., :1, :, :]), states[..., :-1, :, :]], dim=-3)
    output = (query @ key.transpose(-2, -1)).tril() @ value + query @ before  # [... c chunk e]
    return output.flatten(-3, -2)[..., :length, :]
