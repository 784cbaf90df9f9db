"""Layers around the kernels: multi-head attention along one axis, and the transformer block."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from finattn.attention.cache import TimeCache
from finattn.attention.functional import attend, attend_band, attention_weights, band_weights
from finattn.attention.positions import rotate
from finattn.errors import InputError


class MultiHeadAttention(nn.Module):
    """Multi-head self-attention along one axis of x [t n d]: "time" (banded, causal) or "firm" (all observed firms).

    W_Q, W_K and W_V are separate, so weights are directed: what i looks for in j is not what j looks for in i.

    Parameters
    ----------
    axis : "time" or "firm". width : d, divisible by heads. heads : h.
    lookback : days in the band of the time axis. positions : "rotary" or "none"; firms have no order, so no positions.

    Raises
    ------
    InputError
        For a width not divisible by heads, odd heads under rotary positions, an unknown axis or kind of positions.
    """

    def __init__(
        self, axis: Literal["time", "firm"], width: int, heads: int, lookback: int, positions: str = "rotary"
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width must be divisible by heads, found width {width} and {heads} heads")
        if axis not in ("time", "firm"):
            raise InputError(f"axis must be 'time' or 'firm', found {axis!r}")
        if positions not in ("rotary", "none"):  # an absolute kind would depend on where a block was cut
            raise InputError(f"positions along one pass must be relative, 'rotary' or 'none', found {positions!r}")
        self.axis, self.heads, self.lookback = axis, heads, lookback
        self.rotary = axis == "time" and positions == "rotary"
        if self.rotary and width // heads % 2:
            raise InputError(f"rotary positions need heads of even width, found width {width} and {heads} heads")
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        """Attend: x [t n d], observed [t n] bool, to [t n d]."""
        query, key, value = self.project(x)
        if self.axis == "firm":
            return self._merge(attend(query, key, value, observed[:, None, None, :]))
        return self._merge(attend_band(query, key, value, observed.T, self.lookback))

    def weights(self, x: Tensor, observed: Tensor, rows: Tensor) -> Tensor:
        """Return weights of the queries in `rows` [t']: [t' n h l] along time, [t' h n m] along firms."""
        if self.axis == "firm":
            query, key, _ = self.project(x[rows])
            return attention_weights(query, key, observed[rows][:, None, None, :])
        query, key, _ = self.project(x)
        return band_weights(query, key, observed.T, self.lookback, rows)

    def advance(self, x: Tensor, observed: Tensor, cache: TimeCache) -> Tensor:
        """Attend from one new day x [1 n d] to the cache, which takes the day up."""
        query, key, value = self.project(x, cache.day)
        keys, values, seen = cache.take(key, value, observed.T)
        return self._merge(attend(query, keys, values, seen[:, None, None, :]))

    def project(self, x: Tensor, first_day: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value: [n h t d] along time, [t h n d] along firms."""
        if self.axis == "time":
            x = x.transpose(0, 1)
        parts = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        if self.rotary:
            days = first_day + torch.arange(query.shape[-2], device=x.device)
            query, key = rotate(query, days), rotate(key, days)
        return query, key, value

    def _merge(self, heads: Tensor) -> Tensor:
        output = self.output(heads.transpose(1, 2).flatten(2))
        return output.transpose(0, 1) if self.axis == "time" else output


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + feed-forward(norm(x)) with an exact GELU."""

    def __init__(self, attention: MultiHeadAttention, width: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        """Map x [t n d] with observed [t n] to [t n d]."""
        return self._feed_forward(x + self.dropout(self.attention(self.attention_norm(x), observed)))

    def weights(self, x: Tensor, observed: Tensor, rows: Tensor) -> Tensor:
        """Return the attention weights of this block's input x, see `MultiHeadAttention.weights`."""
        return self.attention.weights(self.attention_norm(x), observed, rows)

    def advance(self, x: Tensor, observed: Tensor, cache: TimeCache) -> Tensor:
        """Map one new day x [1 n d] with the cache of the days before."""
        return self._feed_forward(x + self.attention.advance(self.attention_norm(x), observed, cache))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.narrow(F.gelu(self.widen(self.feed_forward_norm(x)))))
