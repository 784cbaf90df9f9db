"""Scaled dot-product attention and its relatives, as pure functions.

Letters: h head, t query, s key, d width of queries and keys, e width of values; leading axes are free. A query with
nothing to attend to gives zeros.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from finattn.attention.linear import FEATURE_MAPS, linear_attention, linear_weights
from finattn.attention.normalisers import NORMALISERS, normalise
from finattn.errors import InputError


def attention_weights(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None = None,
    normaliser: str = "softmax",
    scale: float | None = None,
    temperature: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Return the normalised scores, scale · Q Kᵀ / temperature + bias, over the keys that the mask allows.

    Parameters
    ----------
    query : [... t d]. key : [... s d].
    mask : bool, broadcast to [... t s]; True may be attended to. None allows all.
    normaliser : one of those of `normalise`, or "linear" or "identity", see `linear_weights`.
    scale : 1/√d by default (Vaswani et al. 2017).
    temperature : above zero; low is sharp, high is even.
    bias : float, broadcast to [... t s], added to the scores, as in `linear_bias`.

    Returns
    -------
    [... t s] rows that sum to one ("identity" apart), or to zero where the mask allows nothing.

    Raises
    ------
    InputError
        For an unknown normaliser, a temperature not above zero, or scale, temperature or bias with "linear" or
        "identity", which have none.

    Examples
    --------
    >>> query, keys = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5], [-1.0, -1.0]])
    >>> [round(weight, 3) for weight in attention_weights(query, keys, scale=1.0)[0].tolist()]
    [0.488, 0.488, 0.024]
    """
    _check(normaliser, scale, temperature, bias)
    if normaliser in FEATURE_MAPS:
        return linear_weights(query, key, mask, normaliser)
    scores = (query * _scale(query, scale, temperature)) @ key.transpose(-2, -1)
    return normalise(scores if bias is None else scores + bias, mask, normaliser)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    normaliser: str = "softmax",
    scale: float | None = None,
    temperature: float = 1.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Return `attention_weights` times values [... s e], as [... t e].

    Weights are never held by "softmax", which is fused, nor by "linear" and "identity" under a mask of keys alone, one
    with a query axis of size 1. Mask and bias stay as small as they are given, unless both are.

    Parameters
    ----------
    query, key, mask, normaliser, scale, temperature, bias : see `attention_weights`. value : [... s e].

    Returns
    -------
    [... t e]; zero where the mask allows nothing.

    Raises
    ------
    InputError
        As `attention_weights`.

    Examples
    --------
    >>> query, keys = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5], [-1.0, -1.0]])
    >>> values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
    >>> [round(x, 2) for x in attend(query, keys, values, scale=1.0)[0].tolist()]
    [5.0, 5.0]
    """
    _check(normaliser, scale, temperature, bias)
    if normaliser == "softmax":
        return _fused(query, key, value, mask, _scale(query, scale, temperature), bias)
    if normaliser in FEATURE_MAPS and (mask is None or mask.ndim < 2 or mask.shape[-2] == 1):
        observed = mask if mask is None or mask.ndim < 2 else mask.squeeze(-2)
        return linear_attention(query, key, value, observed, normaliser)
    return attention_weights(query, key, mask, normaliser, scale, temperature, bias) @ value


def _fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, bias: Tensor | None) -> Tensor:
    added = None if bias is None else bias.to(query.dtype)
    if mask is None:
        return _kernel(query, key, value, added, scale)
    # An empty row would be NaN, in its gradients too: it attends to everything and is then wiped out.
    empty = ~mask.any(-1, keepdim=True)
    seen = mask | empty
    output = _kernel(query, key, value, seen if added is None else added.masked_fill(~seen, -torch.inf), scale)
    if empty.device.type == "cpu" and not bool(empty.any()):  # spares a pass; elsewhere asking would cost more
        return output
    return output.masked_fill(empty, 0.0)


def _kernel(query: Tensor, key: Tensor, value: Tensor, added: Tensor | None, scale: float) -> Tensor:
    """Call torch in the form for which it has a fused kernel: an axis of heads, values no narrower than queries."""
    width, headless = value.shape[-1], query.ndim == 3
    if width < query.shape[-1]:
        value = F.pad(value, (0, query.shape[-1] - width))
    if added is not None:
        added = _with_axes(added, query.ndim)
    if headless:
        query, key, value = query[:, None], key[:, None], value[:, None]
        added = None if added is None else added[:, None]
    output = F.scaled_dot_product_attention(query, key, value, attn_mask=added, scale=scale)
    return (output[:, 0] if headless else output)[..., :width]


def _with_axes(x: Tensor, axes: int) -> Tensor:
    """Put axes of size 1 in front: the fused kernel takes a mask of as many axes as the queries."""
    return x[(None,) * (axes - x.ndim)]


def _scale(query: Tensor, scale: float | None, temperature: float) -> float:
    return (query.shape[-1] ** -0.5 if scale is None else scale) / temperature


def _check(normaliser: str, scale: float | None, temperature: float, bias: Tensor | None) -> None:
    if normaliser not in NORMALISERS and normaliser not in FEATURE_MAPS:
        known = ", ".join((*NORMALISERS, *FEATURE_MAPS))
        raise InputError(f"normaliser must be one of {known}, found {normaliser!r}")
    if not temperature > 0:
        raise InputError(f"temperature must be above zero, found {temperature}")
    if normaliser in FEATURE_MAPS and (scale is not None or temperature != 1.0 or bias is not None):
        raise InputError(
            f"normaliser {normaliser!r} takes no scale, temperature or bias, "
            f"found scale {scale}, temperature {temperature} and {'no' if bias is None else 'a'} bias"
        )
