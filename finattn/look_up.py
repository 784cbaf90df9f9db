"""The learned one-way look-up: peers chosen by what firms look like, their lagged returns averaged, and no more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import overload

import torch
from torch import Tensor, nn

from finattn.attention import TopWeights, attend, attention_weights, top_weights
from finattn.attention.reading import CELLS
from finattn.blocks import Block
from finattn.config.require import require
from finattn.errors import InputError


@dataclass(frozen=True)
class LookUpConfig:
    """How peers are looked up.

    Parameters
    ----------
    rank : d, the width of a head's queries and keys.
    heads : h, look-ups side by side, whose scores add up. From a random start one alone misses peers now and then that
        can be found; of two, one finds them.
    windows : rows k over which a peer's return counts, (t - k, t].
    slope : what each window's slope starts at; its sign says whether peers' returns are first taken to go on or to
        turn, and training seldom changes it.

    Examples
    --------
    >>> LookUpConfig(rank=8).windows
    (1, 5, 21)
    """

    rank: int = 8
    windows: tuple[int, ...] = (1, 5, 21)
    slope: float = 0.1
    heads: int = 2

    def __post_init__(self) -> None:
        """Refuse what is no look-up."""
        for name in ("rank", "heads"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        proper = bool(self.windows) and min(self.windows, default=0) >= 1
        require("windows", self.windows, proper, "at least one number of rows from 1")


class LookUp(nn.Module):
    """score_i = Σ_hk b_hk Σ_j (w_hij − 1/m_i) v_jk, w_hi the softmax of (W_Q z_i + c) · W_K z_j / √d over seen j ≠ i.

    z are a firm's characteristics at t with their indicators (columns 2 and on of `Block.x`), v_jk the sum of j's
    scaled excess returns over the last k rows, by √k. A SIC kernel with learned peers in place of codes: W_Q says what
    a firm looks for, W_K how it presents itself, so that peers have a direction. Values are peers' lagged returns and
    nothing else, and nothing is added for the firm itself: it learns from far less than `PanelTransformer`.

    The mean over all m_i others is taken off because it is the market less the firm itself: across firms it orders them
    by minus their own return, and a reversal of the firm's own would pass for peers.

    Parameters
    ----------
    inputs : f, the width of `Block.x`. config : rank, windows and where slopes start.

    Raises
    ------
    InputError
        For a panel without characteristics.

    Examples
    --------
    >>> LookUp(inputs=6, config=LookUpConfig(windows=(1, 21))).warmup
    20
    """

    axes = ("firm",)

    def __init__(self, inputs: int, config: LookUpConfig | None = None) -> None:
        super().__init__()
        config = config or LookUpConfig()
        if inputs <= 2:
            raise InputError("a look-up needs characteristics to tell firms by, found a panel without features")
        self.config = config
        width = config.heads * config.rank
        self.query, self.key = nn.Linear(inputs - 2, width), nn.Linear(inputs - 2, width, bias=False)
        self.slope = nn.Parameter(torch.full((config.heads, len(config.windows)), float(config.slope)))
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=(inputs - 2) ** -0.5)
        nn.init.zeros_(self.query.bias)

    @property
    def warmup(self) -> int:
        """Rows of context before the first that is scored."""
        return max(self.config.windows) - 1

    def forward(self, block: Block, attending: Callable[..., Tensor] = attend) -> Tensor:
        """Return scores [t n]; NaN outside decision dates after the warm-up and where a firm is not observed.

        `attending` averages the values, called as `attend` is: `explain` puts other weights in their place.
        """
        scores, rows = block.x.new_full(block.observed.shape, torch.nan), block.scored
        query, key, mask = self._looking(block, rows)
        values, here = self._values(block)[rows], block.observed[rows]
        others = (values.sum(1, keepdim=True) - values) / (here.sum(1)[:, None, None] - 1).clamp(min=1)
        averages = attending(query, key, values[:, None].expand(-1, self.config.heads, -1, -1), mask)
        found = torch.einsum("thnk,hk->tn", averages - others[:, None], self.slope)
        return scores.index_copy(0, rows, found.masked_fill(~here, torch.nan))

    @overload
    def attention(
        self, block: Block, layer: int = 0, dates: Tensor | Sequence[int] | None = None, top_k: None = None
    ) -> Tensor: ...

    @overload
    def attention(
        self, block: Block, layer: int = 0, dates: Tensor | Sequence[int] | None = None, *, top_k: int
    ) -> TopWeights: ...

    def attention(
        self,
        block: Block,
        layer: int = 0,
        dates: Tensor | Sequence[int] | None = None,
        top_k: int | None = None,
    ) -> Tensor | TopWeights:
        """Return the weights [t' h n m] at some rows of a block, by default those scored; rows sum to one or zero.

        With `top_k`, the heaviest of each firm alone, `TopWeights` [t' h n k], found in chunks: no dense matrix is
        made. InputError for a `top_k` below one.
        """
        rows = block.scored if dates is None else torch.as_tensor(dates, device=block.x.device)
        with torch.inference_mode(False), torch.no_grad():  # threads write in place, which inference would forbid
            if top_k is None:
                return attention_weights(*self._looking(block, rows))
            require("top_k", top_k, top_k >= 1, "at least 1")
            parts = []
            for row in rows:
                here = block.observed[row]
                query, key = self.sides(block, row[None])
                parts.append(top_weights(query[0], key[0], partial(_others, here), top_k))
            return TopWeights(*(torch.stack(columns) for columns in zip(*parts, strict=True)))

    def by_head(self, block: Block) -> Tensor:
        """Return what each head adds to the scores [t' h n] of the rows scored, in chunks; NaN where not observed."""
        with torch.no_grad():
            parts = []
            for row in block.scored:
                here, (query, key) = block.observed[row], self.sides(block, row[None])
                values = self.slope @ self._values(block)[row].T
                found = -(values.sum(1, keepdim=True) - values) / (here.sum() - 1).clamp(min=1)
                size = max(1, CELLS // (self.config.heads * len(here)))
                for start in range(0, len(here), size):
                    some = slice(start, start + size)
                    weights = attention_weights(query[0, :, some], key[0], _others(here, some))
                    found[:, some] += torch.einsum("hnm,hm->hn", weights, values)
                parts.append(found.masked_fill(~here, torch.nan))
            return torch.stack(parts)

    def value_norms(self, block: Block, layer: int = 0, dates: Tensor | Sequence[int] | None = None) -> Tensor:
        """Return how much of each peer arrives at some rows, |Σ_h w_hij Σ_k b_hk v_jk| [t' n m]."""
        rows = block.scored if dates is None else torch.as_tensor(dates, device=block.x.device)
        with torch.no_grad():
            values = self._values(block)[rows] @ self.slope.T
            return torch.einsum("thnm,tmh->tnm", self.attention(block, layer, rows), values).abs()

    def _looking(self, block: Block, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries and keys [t' h n d], and who may be whose peer [t' 1 n m]."""
        return *self.sides(block, rows), _others(block.observed[rows], slice(None))[:, None]

    def sides(self, block: Block, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return what firms look for and how they present themselves at some rows: queries and keys [t' h n d]."""
        known = block.x[rows][..., 2:].masked_fill(~block.observed[rows][..., None], 0.0)
        query, key = (
            layer(known).unflatten(-1, (self.config.heads, -1)).transpose(1, 2) for layer in (self.query, self.key)
        )
        return query, key

    def _values(self, block: Block) -> Tensor:
        """Return sums of excess returns [t n k] over each window's rows, by its root; 0 where not observed at t."""
        excess = block.x[..., 1].masked_fill(~block.observed, 0.0)
        total = torch.cat([excess.new_zeros(1, excess.shape[1]), excess.cumsum(0)])
        rows = torch.arange(1, len(total), device=excess.device)
        sums = [total[1:] - total[(rows - window).clamp(min=0)] for window in self.config.windows]
        values = torch.stack([x / window**0.5 for x, window in zip(sums, self.config.windows, strict=True)], -1)
        return values.masked_fill(~block.observed[..., None], 0.0)


def _others(here: Tensor, queries: slice) -> Tensor:
    """Say whom some firms may look at [... n' m], of those here [... n]: all others, where they are here themselves."""
    start, stop, _ = queries.indices(here.shape[-1])
    itself = torch.arange(start, stop, device=here.device)[:, None] == torch.arange(here.shape[-1], device=here.device)
    return here[..., None, :] & here[..., queries, None] & ~itself
