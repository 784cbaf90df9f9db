"""Scaled dot-product attention, dense and in a causal band, as pure functions.

Letters: h head, t query, s key, d dimension; leading axes are free. A query with nothing to attend to gives zeros.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from finattn.attention.masks import band_mask


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Return softmax(scale · Q Kᵀ) over the keys that the mask allows.

    Parameters
    ----------
    query : [... t d]. key : [... s d].
    mask : bool, broadcast to [... t s]; True may be attended to. None allows all.
    scale : 1/√d by default (Vaswani et al. 2017).

    Returns
    -------
    [... t s] rows that sum to one, or to zero where the mask allows nothing.

    Examples
    --------
    >>> query, keys = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5], [-1.0, -1.0]])
    >>> [round(weight, 3) for weight in attention_weights(query, keys, scale=1.0)[0].tolist()]
    [0.488, 0.488, 0.024]
    """
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is None:
        return scores.softmax(-1)
    # An empty row would be NaN, in its gradients too: it attends to everything and is then wiped out.
    empty = ~mask.any(-1, keepdim=True)
    return scores.masked_fill(~(mask | empty), -torch.inf).softmax(-1).masked_fill(empty, 0.0)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Return `attention_weights` times values [... s e], fused: the weights are never held.

    Examples
    --------
    >>> query, keys = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5], [-1.0, -1.0]])
    >>> values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
    >>> [round(x, 2) for x in attend(query, keys, values, scale=1.0)[0].tolist()]
    [5.0, 5.0]
    """
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value, scale=scale)
    empty = ~mask.any(-1, keepdim=True)
    output = F.scaled_dot_product_attention(query, key, value, attn_mask=mask | empty, scale=scale)
    return output.masked_fill(empty, 0.0)


def attend_band(query: Tensor, key: Tensor, value: Tensor, observed: Tensor, lookback: int) -> Tensor:
    """Causal attention to the observed days among the last `lookback`, for every day at once.

    Exact by blocked attention: the sequence is cut into chunks of `lookback` days, and each attends to itself and the
    chunk before it, which hold every day that its band reaches.

    Parameters
    ----------
    query, key : [n h t d]. value : [n h t e]. observed : [n t] bool.
    lookback : days in the band, the query's own included.

    Returns
    -------
    [n h t e].
    """
    firms, heads, length, _ = query.shape
    chunk = min(lookback, length)
    band = band_mask(chunk, lookback, query.device)
    keys_seen = _with_previous(_chunks(observed[:, None, :, None], chunk)).squeeze(-1)  # [c n 1 s]
    query, key, value = (_chunks(x, chunk) for x in (query, key, value))  # [c n h t d]
    key, value = _with_previous(key), _with_previous(value)
    # The fused kernel takes four axes. One mask a chunk serves all sequences where every day is observed. Both ways lay
    # the numbers out alike, or a later day's absence would change the last bits of earlier ones.
    if bool(observed.all()):
        mask, join = band & keys_seen[:, :1], (1, 2)
    else:
        mask, join = (band & keys_seen[:, :, :, None]).flatten(0, 1), (0, 1)
    query, key, value = (x.contiguous().flatten(*join) for x in (query, key, value))
    output = attend(query, key, value, mask)
    return output.view(-1, firms, heads, chunk, value.shape[-1]).permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, :length]


def band_weights(query: Tensor, key: Tensor, observed: Tensor, lookback: int, rows: Tensor) -> Tensor:
    """Return the weights of `attend_band` for the queries in `rows`.

    Parameters
    ----------
    query, key : [n h t d]. observed : [n t] bool. rows : [t'] positions.

    Returns
    -------
    [t' n h l], lag l = 0 the query's own day; rows sum to one, or to zero where nothing is observed.
    """
    lags = torch.arange(lookback, device=rows.device)
    days = rows[:, None] - lags
    inside = days >= 0
    days = days.clamp(min=0)
    keys = key[:, :, days].permute(2, 0, 1, 3, 4)  # [t' n h l d]
    queries = query[:, :, rows].permute(2, 0, 1, 3).unsqueeze(-2)
    mask = observed[:, days].permute(1, 0, 2) & inside[:, None]
    return attention_weights(queries, keys, mask[:, :, None, None]).squeeze(-2)


def _chunks(x: Tensor, chunk: int) -> Tensor:
    """Cut [n h t d] into [c n h chunk d], the last padded with zeros (False)."""
    padding = -x.shape[2] % chunk
    if padding:
        x = F.pad(x, (0, 0, 0, padding))
    return x.unflatten(2, (-1, chunk)).permute(2, 0, 1, 3, 4)


def _with_previous(x: Tensor) -> Tensor:
    """Put the chunk before each in front of it: [c n h chunk d] to [c n h 2·chunk d]; before the first lie zeros."""
    before = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    return torch.cat([before, x], dim=3)
