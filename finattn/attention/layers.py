"""Layers around the kernels: multi-head attention along one axis, and the transformer block.

Letters: b batch, s sequence. Along time b is the firm and s the day; along firms b is the date and s the firm.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from finattn.attention.band import attend_band, attend_rows, band_weights
from finattn.attention.blocked import Packed, attend_packed
from finattn.attention.cache import TimeCache
from finattn.attention.functional import attend, attention_weights
from finattn.attention.masks import allowed
from finattn.attention.positions import linear_bias, rotate, turns
from finattn.config import AXES, Axis, ModelConfig
from finattn.errors import InputError

CELLS = 2**24  # entries of a mask or of weights held at once
FIRMS = 1000  # of a new day at once: their weights stay in the processor's cache


class Context(NamedTuple):
    """What attention may see, beside the tokens themselves.

    observed : [b s] bool, who is there. group : [b s] codes, for attention within a group; 0 belongs to none.
    neighbours : [b s s] bool, whom each may attend to. reference : [b m d], tokens that are attended to in place of
    the sequence itself. reference_observed : [b m] bool.

    Examples
    --------
    Of three firms the first and the last share an industry, and the last is not observed:

    >>> from finattn.attention import Context, MultiHeadAttention
    >>> from finattn.config import ModelConfig
    >>> context = Context(observed=torch.tensor([[True, True, False]]), group=torch.tensor([[7, 8, 7]]))
    >>> layer = MultiHeadAttention("industry", ModelConfig(width=8, heads=2))
    >>> layer.weights(torch.zeros(1, 3, 8), context, rows=torch.tensor([0]))[0, 0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """

    observed: Tensor
    group: Tensor | None = None
    neighbours: Tensor | None = None
    reference: Tensor | None = None
    reference_observed: Tensor | None = None


class MultiHeadAttention(nn.Module):
    """Multi-head attention along one axis of x [b s d].

    Along "time" it is causal, in a band of `config.lookback` days. Across firms there is no order: "firm" attends to
    all that are observed, "industry" to those of its group, "neighbours" to those given, "reference" to other tokens.
    W_Q, W_K and W_V are separate unless `config.tied`, so weights are directed: what i looks for in j is not what j
    looks for in i.

    Parameters
    ----------
    axis : see above.
    config : width, heads, key_width, value_width, lookback, positions (along time alone), normaliser, temperature,
        tied, own_firm.

    Raises
    ------
    InputError
        For an unknown axis, or positions that are not relative; `ModelConfig` refuses widths that do not fit.

    Examples
    --------
    >>> layer = MultiHeadAttention("firm", ModelConfig(width=8, heads=2))
    >>> layer(torch.randn(3, 5, 8), Context(torch.ones(3, 5) > 0)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, axis: Axis, config: ModelConfig) -> None:
        super().__init__()
        if axis not in AXES:
            raise InputError(f"axis must be one of {', '.join(AXES)}, found {axis!r}")
        if config.positions not in ("rotary", "linear_bias", "none"):  # an absolute kind depends on a block's cut
            expected = "relative, 'rotary', 'linear_bias' or 'none'"
            raise InputError(f"positions along one pass must be {expected}, found {config.positions!r}")
        if axis == "time" and not config.relative:
            raise InputError(
                "normaliser 'linear' along time needs positions 'none', found 'rotary': its feature map of rotated "
                "keys depends on more than distance"
            )
        self.axis, self.config, self.heads = axis, config, config.heads
        self.key_width, self.value_width = config.head_width, config.value_width or config.width // config.heads
        keys, values = self.heads * self.key_width, self.heads * self.value_width
        self.parts = [keys, values] if config.tied else [keys, keys, values]
        if axis == "reference":
            self.query = nn.Linear(config.width, keys)
            self.key_value = nn.Linear(config.width, keys + values)
            if config.tied:
                raise InputError("tied projections need one set of tokens, found axis 'reference'")
        else:
            self.query_key_value = nn.Linear(config.width, sum(self.parts))
        self.output = nn.Linear(values, config.width)
        self.rotary = axis == "time" and config.positions == "rotary"
        self.biased = axis == "time" and config.positions == "linear_bias"

    def forward(self, x: Tensor, context: Context, skip: int = 0, rows: Tensor | None = None) -> Tensor:
        """Attend: x [b s d] to [b s-skip d]; the first `skip` days are keys only, or, along time, all but some rows."""
        kind = (self.config.normaliser, self.config.temperature, self.biased)
        if rows is not None:
            return self._merge(
                attend_rows(*self.project(x, context), context.observed, self.config.lookback, rows, *kind)
            )
        if self._fits_packed(x, skip):
            return self.output(self._attend_packed(x, context.observed, skip))
        query, key, value = self.project(x, context)
        if self.axis == "time":
            return self._merge(attend_band(query, key, value, context.observed, self.config.lookback, skip, *kind))
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        return self._merge(self._attend(query, key, value, context).transpose(1, 2))

    def weights(self, x: Tensor, context: Context, rows: Tensor) -> Tensor:
        """Return weights of some days: [t' n h l] along time (rows of s), [t' h n m] across firms (rows of b)."""
        if self.axis == "time":
            query, key, _ = self.project(x, context)
            kind = (self.config.normaliser, self.config.temperature, self.biased)
            return band_weights(query, key, context.observed, self.config.lookback, rows, *kind)
        query, key, mask = self.scored(x, context, rows)
        return attention_weights(query, key, mask(slice(None)), **self._kind)

    def scored(self, x: Tensor, context: Context, rows: Tensor) -> tuple[Tensor, Tensor, "Mask"]:
        """Return query [t' h n d], key [t' h m d] and the mask of some queries, across firms, for some dates."""
        here = Context._make(None if part is None else part[rows] for part in context)
        query, key, _ = self.project(x[rows], here)
        return query.transpose(1, 2), key.transpose(1, 2), Mask(self.axis, self.config.own_firm, here)

    def advance(self, x: Tensor, observed: Tensor, cache: TimeCache) -> Tensor:
        """Attend from new days x [n t d] with observed [n t] to the cache, which takes them up; output of the last."""
        query, key, value = self.project(x, Context(observed), cache.day)
        cache.add(key, value, observed)
        bias = linear_bias(self.heads, cache.lags()).to(x)[:, None] if self.biased else None
        complete, outputs = bool(cache.observed.all()), []
        parts = (query[:, -1:].transpose(1, 2), cache.keys, cache.values, cache.observed[:, None, None])
        for last, keys, values, seen in zip(*(part.split(FIRMS) for part in parts), strict=True):
            weights = attention_weights(last, keys, None if complete else seen, **self._kind, bias=bias)
            outputs.append(weights @ values)
        return self._merge(torch.cat(outputs).transpose(1, 2))

    def project(self, x: Tensor, context: Context, first_day: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key [b s h d] and value [b s h e], rotated along time; of reference tokens key [b m h d]."""
        if self.axis == "reference":
            if context.reference is None:
                raise InputError(
                    "axis 'reference' needs reference tokens, found a block without them; see walk_forward(reference=)"
                )
            query = self.query(x)
            key, value = self.key_value(context.reference).split(self.parts[1:], -1)
        elif self.config.tied:
            query, value = self.query_key_value(x).split(self.parts, -1)
            key = query
        else:
            both, value = self.query_key_value(x).split([sum(self.parts[:2]), self.parts[2]], -1)
            both = both.unflatten(-1, (2 * self.heads, -1))
            if self.rotary:  # both at once: one pass through memory
                both = self._rotate(both, first_day)
            query, key = both.unflatten(2, (2, self.heads)).unbind(2)
            return query, key, value.unflatten(-1, (self.heads, -1))
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in (query, key, value))
        if self.rotary:
            query = key = self._rotate(query, first_day)
        return query, key, value

    def _fits_packed(self, x: Tensor, skip: int) -> bool:
        """Say whether `attend_packed` can do this, and does it faster: where few days of x [n t d] are keys alone."""
        whole = not self.rotary or sum(self.parts) % 2 == 0  # pairs of dimensions are rotated in place
        plain = x.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
        here = self.axis == "time" and x.device.type == "cpu" and x.shape[1] >= 4 * skip
        return here and plain and whole and self.config.normaliser == "softmax"

    def _attend_packed(self, x: Tensor, observed: Tensor, skip: int) -> Tensor:
        """Attend along time from x [n t d] to the heads' outputs side by side [n t-skip h·e]."""
        packed = Packed(self.heads, self.key_width, self.value_width, self.config.tied)
        lookback, scale = self.config.lookback, self.key_width**-0.5 / self.config.temperature
        turn = turns(torch.arange(x.shape[1]), self.key_width) if self.rotary else None
        bias = linear_bias(self.heads, torch.arange(lookback)) if self.biased else None
        return attend_packed(self.query_key_value(x), observed, packed, lookback, skip, scale, turn, bias)

    def _rotate(self, x: Tensor, first_day: int) -> Tensor:
        days = first_day + torch.arange(x.shape[1], device=x.device)
        return rotate(x.transpose(1, 2), days).transpose(1, 2)

    @property
    def _kind(self) -> dict:
        return {"normaliser": self.config.normaliser, "temperature": self.config.temperature}

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        """Attend across firms [b h s d]; a mask that differs between queries is made for some of them at a time."""
        mask = Mask(self.axis, self.config.own_firm, context)
        if mask.of_keys:
            return attend(query, key, value, mask(slice(None)), **self._kind)
        firms = query.shape[2]
        size = max(1, CELLS // (query.shape[0] * key.shape[2]))
        if size >= firms:
            return attend(query, key, value, mask(slice(None)), **self._kind)

        def some(query: Tensor, key: Tensor, value: Tensor, start: int) -> Tensor:
            return attend(query, key, value, mask(slice(start, start + size)), **self._kind)

        parts = [(query[:, :, start : start + size], key, value, start) for start in range(0, firms, size)]
        return torch.cat([checkpoint(some, *part, use_reentrant=False) for part in parts], 2)

    def _merge(self, heads: Tensor) -> Tensor:
        return self.output(heads.flatten(2))


class Mask:
    """Who may attend to whom across firms, made for some queries at a time: [b 1 s' m], or [b 1 1 m] for all alike."""

    def __init__(self, axis: Axis, own: bool, context: Context) -> None:
        self.axis, self.own, self.context = axis, own, context
        self.of_keys = axis == "reference" or (axis == "firm" and own)

    def __call__(self, queries: slice) -> Tensor | None:
        """Return the mask of a run of queries."""
        context = self.context
        firms = context.observed.shape[1]
        if self.axis == "reference":
            seen = context.reference_observed
            return None if seen is None else seen[:, None, None, :]
        if self.of_keys:
            return context.observed[:, None, None, :]
        start, stop, _ = queries.indices(firms)
        group = key_group = neighbours = None
        if self.axis == "industry":
            if context.group is None:
                raise InputError("axis 'industry' needs industry codes, found a block without them")
            group, key_group = context.group[:, None, queries], context.group[:, None]
        elif self.axis == "neighbours":
            if context.neighbours is None:
                raise InputError("axis 'neighbours' needs a neighbourhood, found a block without one")
            neighbours = context.neighbours[:, None, queries]
        return allowed(
            stop - start, firms, offset=start, observed=context.observed[:, None], itself=self.own, group=group,
            key_group=key_group, neighbours=neighbours, device=context.observed.device,
        )  # fmt: skip


class TransformerBlock(nn.Module):
    """Attention and feed-forward layer, each with a residual and a norm before (or after) it.

    Pre-norm (Xiong et al. 2020): x + attention(norm(x)), then x + feed-forward(norm(x)). Post-norm (Vaswani et al.
    2017): norm(x + attention(x)), then norm(x + feed-forward(x)).

    Parameters
    ----------
    axis, config : of the attention, see `MultiHeadAttention`; and norm, residual, feed_forward, activation, dropout.

    Raises
    ------
    InputError
        As `MultiHeadAttention`.

    Examples
    --------
    The first three days are keys alone: the other seven come out.

    >>> from finattn.attention import Context, TransformerBlock
    >>> from finattn.config import ModelConfig
    >>> block = TransformerBlock("time", ModelConfig(width=8, heads=2, lookback=4))
    >>> block(torch.randn(5, 10, 8), Context(torch.ones(5, 10) > 0), skip=3).shape
    torch.Size([5, 7, 8])
    """

    def __init__(self, axis: Axis, config: ModelConfig) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(axis, config)
        self.pre, self.residual, self.activation = config.norm == "pre", config.residual, config.activation
        plain = config.norm == "none"
        width, hidden = config.width, config.feed_forward
        self.attention_norm = nn.Identity() if plain else nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.wide = hidden > 0
        if self.wide:
            self.feed_forward_norm = nn.Identity() if plain else nn.LayerNorm(width)
            self.widen = nn.Linear(width, hidden * (2 if config.activation == "gated" else 1))
            self.narrow = nn.Linear(hidden, width)

    def forward(self, x: Tensor, context: Context, skip: int = 0, rows: Tensor | None = None) -> Tensor:
        """Map x [b s d] to [b s-skip d]; the first `skip` days are keys only, or, along time, all but some rows."""
        attended, own = self.attention(self.before(x), context, skip, rows), x[:, skip:] if rows is None else x[:, rows]
        return self._feed_forward(self._join(own, attended, self.attention_norm))

    def before(self, x: Tensor) -> Tensor:
        """Return what the attention of this block sees of its input x."""
        return self.attention_norm(x) if self.pre else x

    def advance(self, x: Tensor, observed: Tensor, cache: TimeCache) -> Tensor:
        """Map new days x [n t d] with the cache of the days before; return the last one [n 1 d]."""
        attended = self.attention.advance(self.before(x), observed, cache)
        return self._feed_forward(self._join(x[:, -1:], attended, self.attention_norm))

    def _feed_forward(self, x: Tensor) -> Tensor:
        if not self.wide:
            return x
        hidden = self.widen(self.feed_forward_norm(x) if self.pre else x)
        if self.activation == "gated":  # Shazeer 2020
            first, second = hidden.chunk(2, -1)
            hidden = F.gelu(first) * second
        else:
            hidden = F.gelu(hidden) if self.activation == "gelu" else F.relu(hidden)
        return self._join(x, self.narrow(hidden), self.feed_forward_norm)

    def _join(self, x: Tensor, change: Tensor, norm: nn.Module) -> Tensor:
        joined = x + self.dropout(change) if self.residual else self.dropout(change)
        return joined if self.pre else norm(joined)
