"""Softmax attention in a band, on the processor: large batches of small matrix products, which stay in its cache.

The fused kernel knows no band: it forms the scores of every day that a chunk reaches, and forms them again to go
backward. Here chunks are short, those of several firms are one batched product a head, and training keeps the weights.

Letters: n firm, t day, h head, d and e width of keys and values, p of all heads' side by side, b chunk, c query in a
chunk, w day that a chunk reaches. Rows r are the days of some firms, one firm after the other, each filled up to whole
chunks, so that the chunks of all firms lie at equal distances.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from finattn.attention.grouped import refuse_second_derivatives
from finattn.errors import InputError

CELLS = 2**19  # weights of a head formed at once: more leave the cache, fewer are not worth a call


class Packed(NamedTuple):
    """How heads lie in [p]: queries h · d, keys h · d and values h · e wide; tied keys are the queries.

    Parameters
    ----------
    heads : h. key : d. value : e. tied : whether there are no keys beside the queries.

    Examples
    --------
    >>> from finattn.attention import Packed
    >>> Packed(heads=4, key=8, value=16).width, Packed(heads=4, key=8, value=16, tied=True).width
    (128, 96)
    """

    heads: int
    key: int
    value: int
    tied: bool = False

    @property
    def turned(self) -> int:
        """Width of queries and keys, which are rotated."""
        return self.heads * self.key * (1 if self.tied else 2)

    @property
    def width(self) -> int:
        """Width p."""
        return self.turned + self.heads * self.value


class Cut(NamedTuple):
    """How `days` are cut into chunks: the first query, day `skip`, begins one; what lies before is dropped."""

    days: int
    skip: int
    lookback: int

    @property
    def size(self) -> int:
        """Queries in a chunk: about 20, as longer ones reach too many days and shorter ones make slow products."""
        return 16 + -(15 + self.lookback) % 16  # `reach` fills whole registers

    @property
    def reach(self) -> int:
        """Days that a chunk reaches, up to its last query."""
        return self.size + self.lookback - 1

    @property
    def front(self) -> int:
        """Rows before the first day."""
        return -self.skip % self.size

    @property
    def chunks(self) -> int:
        """Number of a firm's chunks."""
        return -(-(self.front + self.days) // self.size)

    @property
    def rows(self) -> int:
        """Rows of a firm."""
        return self.chunks * self.size

    @property
    def back(self) -> int:
        """Rows after the last day."""
        return self.rows - self.front - self.days

    @property
    def firms(self) -> int:
        """Firms that are attended to at once."""
        return max(1, CELLS // (self.rows * self.reach))

    def cover(self, x: Tensor, first: int = 0) -> Tensor:
        """Fill up the days [n t p] from `first` on to whole chunks [n b·c p]."""
        return F.pad(x, (0, 0, self.front + first, self.back))

    def uncover(self, rows: Tensor, first: int = 0) -> Tensor:
        """View the days from `first` on of whole chunks."""
        return rows[:, self.front + first : self.front + self.days]


def attend_packed(
    x: Tensor,
    observed: Tensor,
    packed: Packed,
    lookback: int,
    skip: int = 0,
    scale: float = 1.0,
    turn: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Return `attend_band` with softmax of queries, keys and values that lie side by side, heads merged.

    Parameters
    ----------
    x : [n t p], on the processor. observed : [n t] bool. packed : what lies where in p.
    lookback, skip : see `attend_band`. scale : of the scores.
    turn : [t d/2] complex, see `turns`, by which queries and keys are rotated. bias : [h l] of each head by lag.

    Returns
    -------
    [n t-skip h·e]. Gradients flow to x; there are none of gradients.

    Raises
    ------
    InputError
        For a lookback below one, a skip outside the days, and an x of another width.

    Examples
    --------
    >>> x = torch.stack([torch.ones(5), torch.ones(5), torch.arange(5.0)], -1)[None]  # query, key, value
    >>> attend_packed(x, torch.ones(1, 5) > 0, Packed(1, 1, 1), lookback=2, skip=1).flatten().tolist()
    [0.5, 1.5, 2.5, 3.5]
    """
    days, width = x.shape[1:]
    if lookback < 1 or not 0 <= skip <= days or width != packed.width:
        raise InputError(
            f"x must be {packed.width} wide, lookback at least 1 and skip from 0 to its {days} days, found a width of "
            f"{width}, lookback {lookback} and skip {skip}"
        )
    if not len(x) or skip == days:
        return x.new_zeros(len(x), days - skip, packed.heads * packed.value) + 0.0 * x.sum()
    lookback = min(lookback, days)
    bias = None if bias is None else bias[:, :lookback]
    return _BandSoftmax.apply(x, observed, turn, bias, packed, Cut(days, skip, lookback), scale)


class _BandSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, observed: Tensor, turn: Tensor | None, bias: Tensor | None, packed: Packed, cut: Cut,
        scale: float,
    ) -> Tensor:  # fmt: skip
        if turn is not None:
            turn = turn.to(x.dtype.to_complex()).repeat(1, packed.turned // packed.key)
        band, keep, kept, outputs = _band(bias, cut, x.dtype), ctx.needs_input_grad[0], [turn], []
        for some, seen in zip(x.split(cut.firms), observed.split(cut.firms), strict=True):
            rows, mask, heads = _rows(some, turn, packed, cut), _mask(band, seen, cut), []
            kept += [rows] * keep
            for head in range(packed.heads):
                query, key, value = _of_head(rows, head, packed, cut)
                weights = _weights(query, key, head, mask, scale)
                heads.append((weights @ value).flatten(0, 1))
                kept += [weights] * keep
            outputs.append(cut.uncover(torch.cat(heads, -1).unflatten(0, (len(some), -1)), cut.skip))
        ctx.save_for_backward(*kept)
        ctx.packed, ctx.cut, ctx.scale = packed, cut, scale
        return torch.cat(outputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        refuse_second_derivatives()
        (turn, *kept), packed, cut = ctx.saved_tensors, ctx.packed, ctx.cut
        groups = zip(*[iter(kept)] * (1 + packed.heads), strict=True)  # rows, and weights of each head
        results = []
        with torch.autocast("cpu", enabled=False):
            for some, (rows, *weights) in zip(gradient.split(cut.firms), groups, strict=True):
                given, parts = cut.cover(some, cut.skip).flatten(0, 1), []
                for head, each in enumerate(weights):
                    back = _chunks(given, head * packed.value, packed.value, cut.size, cut)
                    parts.append(_gradients(_of_head(rows, head, packed, cut), each, back, ctx.scale, cut))
                queries, keys, values = zip(*parts, strict=True)
                if packed.tied:
                    queries, keys = tuple(query + key for query, key in zip(queries, keys, strict=True)), ()
                days = cut.uncover(torch.cat([*queries, *keys, *values], -1).unflatten(0, (len(some), -1)))
                if turn is not None:
                    _turn(days, turn.conj(), packed)
                results.append(days)
        return torch.cat(results), *(None,) * 6


def _weights(query: Tensor, key: Tensor, head: int, mask: "Mask", scale: float) -> Tensor:
    """Return one head's weights [b c w]."""
    added = mask.added[head % len(mask.added)]
    weights = torch.baddbmm(added, query, key.transpose(1, 2), alpha=scale)
    torch.softmax(weights, -1, out=weights)
    return weights if mask.empty is None else weights.masked_fill_(mask.empty, 0.0)


def _gradients(
    head: Sequence[Tensor], weights: Tensor, given: Tensor, scale: float, cut: Cut
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of one head's query, key [r d] and value [r e], given that of its output [b c e]."""
    query, key, value = head
    scores = torch._softmax_backward_data(given @ value.transpose(1, 2), weights, -1, weights.dtype)
    to_query = torch.baddbmm(query, scores, key, beta=0, alpha=scale)
    to_key = torch.baddbmm(key, scores.transpose(1, 2), query, beta=0, alpha=scale)
    return to_query.flatten(0, 1), _fold(to_key, cut), _fold(weights.transpose(1, 2) @ given, cut)


def _rows(x: Tensor, turn: Tensor | None, packed: Packed, cut: Cut) -> Tensor:
    """Return days [n t p] as rows [r p], rotated, after as many as the first chunk reaches back."""
    rows = x.new_zeros(cut.lookback - 1 + len(x) * cut.rows, x.shape[-1])
    days = cut.uncover(rows[cut.lookback - 1 :].unflatten(0, (len(x), -1)))
    days.copy_(x)
    if turn is not None:
        _turn(days, turn, packed)
    return rows


def _turn(days: Tensor, turn: Tensor, packed: Packed) -> None:
    """Rotate queries and keys of days [n t p] in place."""
    torch.view_as_complex(days[..., : packed.turned].unflatten(-1, (-1, 2))).mul_(turn)


def _of_head(rows: Tensor, head: int, packed: Packed, cut: Cut) -> tuple[Tensor, Tensor, Tensor]:
    """View one head's queries [b c d], and the keys [b w d] and values [b w e] that chunks reach, in rows [r p]."""
    heads, d, e, _ = packed
    query, key = head * d, packed.turned - (heads - head) * d
    return (
        _chunks(rows[cut.lookback - 1 :], query, d, cut.size, cut),
        _chunks(rows, key, d, cut.reach, cut),
        _chunks(rows, packed.turned + head * e, e, cut.reach, cut),
    )


def _chunks(rows: Tensor, at: int, width: int, length: int, cut: Cut) -> Tensor:
    """View `width` columns of rows [r p] as runs of `length` rows, each `cut.size` after the one before."""
    step = rows.stride(0)
    count = (len(rows) - length) // cut.size + 1
    return rows.as_strided((count, length, width), (cut.size * step, step, 1), rows.storage_offset() + at)


def _fold(x: Tensor, cut: Cut) -> Tensor:
    """Sum what chunks [b w d] give to each row [r d]."""
    count, reach, width = x.shape
    run = cut.size * width
    first, *rest = x.flatten(1).split(run, 1)
    total = F.pad(first, (0, 0, 0, -(-reach // cut.size)))
    for number, some in enumerate(rest, 1):
        total[number : number + count, : some.shape[1]].add_(some)
    return total.flatten()[(cut.lookback - 1) * width :][: count * run].unflatten(0, (-1, width))


def _band(bias: Tensor | None, cut: Cut, dtype: torch.dtype) -> Tensor:
    """Return what a chunk's scores have added [h 1 c w], or [1 1 c w] for all heads: bias, -inf outside the band."""
    lag = torch.arange(cut.size)[:, None] + cut.lookback - 1 - torch.arange(cut.reach)
    outside = (lag < 0) | (lag >= cut.lookback)
    band = torch.zeros(1, *lag.shape) if bias is None else bias[:, lag.clamp(0, cut.lookback - 1)]
    return band.to(dtype).masked_fill(outside, -torch.inf)[:, None]


class Mask(NamedTuple):
    """What scores have added [h b c w], or [1 b c w] for all heads alike; and the rows [b c 1] to be wiped out."""

    added: Tensor
    empty: Tensor | None = None


def _mask(band: Tensor, observed: Tensor, cut: Cut) -> Mask:
    """Add to the band -inf where nothing is observed, or no day is; an empty row attends to all, to be wiped out."""
    if cut.skip >= cut.lookback - 1 and bool(observed.all()):
        return Mask(band.expand(-1, len(observed) * cut.chunks, -1, -1))
    unseen = torch.zeros(observed.shape, dtype=band.dtype).masked_fill_(~observed, -torch.inf)
    unseen = F.pad(unseen, (cut.lookback - 1 + cut.front, cut.back), value=-torch.inf)
    added = band + unseen.unfold(1, cut.reach, cut.size).flatten(0, 1)[:, None]
    seen = observed.cumsum(1)
    empty = F.pad(seen == F.pad(seen, (cut.lookback, 0))[:, : cut.days], (cut.front, cut.back), value=True)
    if not bool(empty.any()):
        return Mask(added)
    empty = empty.view(-1, cut.size, 1)
    return Mask(added.masked_fill_(empty, 0.0), empty)
