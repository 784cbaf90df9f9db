"""Causal attention in a band of days, for every day of a sequence at once.

Letters: n sequence, t query, s key, h head, d and e dimension, l lag.
"""

from typing import Any

import torch
from torch import Tensor

from finattn.attention.functional import attend, attention_weights
from finattn.attention.masks import allowed
from finattn.attention.positions import linear_bias


def attend_band(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    observed: Tensor,
    lookback: int,
    skip: int = 0,
    normaliser: str = "softmax",
    temperature: float = 1.0,
    biased: bool = False,
) -> Tensor:
    """Attend from each day to the observed days among the last `lookback`, its own included.

    Exact by blocked attention: the sequence is cut into chunks of `lookback` days, and each attends to itself and the
    days before it that its band reaches. Work and memory grow with t · lookback.

    Parameters
    ----------
    query, key : [n t h d]. value : [n t h e]. observed : [n t] bool.
    lookback : days in the band, the query's own included.
    skip : the first days are keys only: no output is made for them.
    normaliser, temperature : see `attend`. biased : with the linear bias of each head (ALiBi).

    Returns
    -------
    [n t-skip h e]; zero where nothing is observed.

    Examples
    --------
    >>> ones = torch.ones(1, 5, 1, 2)
    >>> days = torch.arange(5.0)[None, :, None, None]
    >>> attend_band(ones, ones, days, torch.ones(1, 5) > 0, lookback=2, skip=1).flatten().tolist()
    [0.5, 1.5, 2.5, 3.5]
    """
    length, heads = query.shape[1], query.shape[2]
    starts = range(skip, length, lookback)
    sizes = [min(lookback, length - start) for start in starts]
    spans = [(max(0, start - lookback + 1), start + size) for start, size in zip(starts, sizes, strict=True)]
    queries = query[:, skip:].split(sizes, 1)
    keys, values = _Windows.apply(key, spans), _Windows.apply(value, spans)
    complete = bool(observed.all())  # then one mask serves all sequences
    outputs = []
    for part, key, value, size, span in zip(queries, keys, values, sizes, spans, strict=True):
        reach = span[1] - span[0]
        here = None if complete else observed[:, None, span[0] : span[1]]
        mask = allowed(
            size, reach, offset=reach - size, causal=True, lookback=lookback, observed=here, device=query.device
        )
        bias = _bias(heads, size, reach - size, query) if biased else None
        outputs.append(_attend(part, key, value, mask, normaliser, temperature, bias))
    return torch.cat(outputs, 1)


def band_weights(
    query: Tensor,
    key: Tensor,
    observed: Tensor,
    lookback: int,
    rows: Tensor,
    normaliser: str = "softmax",
    temperature: float = 1.0,
    biased: bool = False,
) -> Tensor:
    """Return the weights of `attend_band` for the queries in `rows`.

    Parameters
    ----------
    query, key : [n t h d]. observed : [n t] bool.
    lookback, normaliser, temperature, biased : see `attend_band`.
    rows : [t'] positions of the queries, counted from the first day.

    Returns
    -------
    [t' n h l], lag l = 0 the query's own day; rows sum to one, or to zero where nothing is observed.

    Examples
    --------
    One firm whose days all score alike, the second of them not observed:

    >>> from finattn.attention import band_weights
    >>> alike, seen = torch.ones(1, 4, 1, 2), torch.tensor([[True, False, True, True]])
    >>> band_weights(alike, alike, seen, lookback=3, rows=torch.tensor([0, 3])).squeeze().tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    lags = torch.arange(lookback, device=rows.device)
    days = rows[:, None] - lags
    inside = days >= 0
    days = days.clamp(min=0)
    keys = key[:, days].permute(1, 0, 3, 2, 4)  # [t' n h l d]
    queries = query[:, rows].transpose(0, 1).unsqueeze(-2)
    mask = (observed[:, days].transpose(0, 1) & inside[:, None])[:, :, None, None]
    bias = linear_bias(query.shape[2], lags).to(query)[:, None] if biased else None
    return attention_weights(queries, keys, mask, normaliser, temperature=temperature, bias=bias).squeeze(-2)


def attend_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    observed: Tensor,
    lookback: int,
    rows: Tensor,
    *kind: Any,
) -> Tensor:
    """Return what `attend_band` does for the queries in `rows` [t'] alone: [n t' h e].

    Each has its own copy of its band: it is for few rows that lie far apart. Parameters are as of `band_weights`.

    Examples
    --------
    >>> ones, days = torch.ones(1, 5, 1, 2), torch.arange(5.0)[None, :, None, None]
    >>> attend_rows(ones, ones, days, torch.ones(1, 5) > 0, 2, torch.tensor([0, 4])).flatten().tolist()
    [0.0, 3.5]
    """
    weights = band_weights(query, key, observed, lookback, rows, *kind)
    days = (rows[:, None] - torch.arange(lookback, device=rows.device)).clamp(min=0)
    values = value[:, days].permute(1, 0, 3, 2, 4)  # [t' n h l e]
    return (weights.unsqueeze(-2) @ values).squeeze(-2).transpose(0, 1)


class _Windows(torch.autograd.Function):
    """Views of overlapping spans of days; their gradients are summed in one pass, where slices would make one each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, spans: list[tuple[int, int]]) -> tuple[Tensor, ...]:
        ctx.spans, ctx.shape = spans, x.shape
        return tuple(x[:, start:stop] for start, stop in spans)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total, done = gradients[0].new_empty(ctx.shape), ctx.spans[0][0]
        total[:, :done] = 0.0
        for (start, stop), gradient in zip(ctx.spans, gradients, strict=True):
            total[:, start:done] += gradient[:, : done - start]
            total[:, done:stop] = gradient[:, done - start :]
            done = stop
        return total, None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *options: object) -> Tensor:
    """Attend with time before heads [n t h d], as the projections lie in memory."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    normaliser, temperature, bias = options
    output = attend(query, key, value, mask, normaliser, temperature=temperature, bias=bias)  # type: ignore[arg-type]
    return output.transpose(1, 2)


def _bias(heads: int, queries: int, offset: int, like: Tensor) -> Tensor:
    """Return the linear bias [h t s] of queries that stand at keys offset and after."""
    lag = offset + torch.arange(queries)[:, None] - torch.arange(offset + queries)
    return linear_bias(heads, lag).to(like)
