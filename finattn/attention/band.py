"""Causal attention in a band of days, for every day of a sequence at once.

Letters: n sequence, t query, s key, h head, d and e dimension, l lag.
"""

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
    chunk before it, which hold every day that its band reaches. Work and memory grow with t · lookback.

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
    sizes = [skip] * bool(skip) + [min(lookback, length - start) for start in range(skip, length, lookback)]
    queries, keys, values, seen = (x.split(sizes, 1) for x in (query, key, value, observed))
    complete = bool(observed.all())  # then one mask serves all sequences
    outputs = []
    for place in range(bool(skip), len(sizes)):
        reach = slice(max(0, place - 1), place + 1)  # keys: this chunk and the one before
        parts = (queries[place], torch.cat(keys[reach], 1), torch.cat(values[reach], 1))
        offset = parts[1].shape[1] - sizes[place]
        here = None if complete else torch.cat(seen[reach], 1)[:, None]
        mask = allowed(
            sizes[place], offset + sizes[place], offset=offset, causal=True, lookback=lookback, observed=here,
            device=query.device,
        )  # fmt: skip
        bias = _bias(heads, sizes[place], offset, query) if biased else None
        outputs.append(_attend(*parts, mask, normaliser, temperature, bias))
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
    query, key : [n t h d]. observed : [n t] bool. rows : [t'] positions.

    Returns
    -------
    [t' n h l], lag l = 0 the query's own day; rows sum to one, or to zero where nothing is observed.
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
