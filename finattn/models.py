"""The one model: attention over a panel along both of its axes.

Importing this calls `keep_freed_memory`, which holds for the whole process.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast, overload

import torch
from torch import Tensor, nn

from finattn.attention import (
    Context,
    MultiHeadAttention,
    Summary,
    TopWeights,
    TransformerBlock,
    heaviest,
    in_groups,
    keep_freed_memory,
    summarise,
    through_firms,
    through_time,
    top_weights,
)
from finattn.blocks import Block, cut, not_finite
from finattn.config import AXES, Axis, ModelConfig
from finattn.errors import InputError
from finattn.stream import Stream

keep_freed_memory()

SPARSE = 2  # times the rows of a block: bands of scored rows that take up less are attended from one by one
GROUP = {"cpu": 2**19, "other": 2**26}  # numbers in a group's tokens: small enough for a cache, or for a GPU's memory


def _memory() -> int:
    """Return the bytes of this machine's memory; 8 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return 2**33


KEPT = min(2**33, _memory() // 4)  # bytes of activations that training holds before it rather computes them again


class PanelTransformer(nn.Module):
    """An embedding, a stack of transformer blocks that each attend along one axis, and a linear head.

    Along time, position t of a firm sees its observed days among the last `lookback` rows. Across firms, at each date,
    a firm sees all observed firms ("firm"), those of its industry ("industry"), those given in `Block.neighbours`
    ("neighbours"), or a reference universe in place of the panel ("reference"), whose tokens are an embedding of
    `Block.reference`. One pass over a block gives the forecast of every date in it.

    Parameters
    ----------
    inputs : f, the width of `Block.x`.
    axes : the axis of each block, bottom first: ("time", "firm") attends along time, then across firms.
    config : sizes and kinds.
    reference_inputs : width of `Block.reference`, for axes with "reference".

    Raises
    ------
    InputError
        For no axes or an unknown one, and where "reference" and `reference_inputs` are not given together.

    Examples
    --------
    >>> model = PanelTransformer(inputs=4, axes=("time", "firm"), config=ModelConfig(lookback=20))
    >>> model.warmup
    19
    """

    def __init__(
        self, inputs: int, axes: Sequence[Axis], config: ModelConfig | None = None, reference_inputs: int | None = None
    ) -> None:
        super().__init__()
        if inputs < 1:
            raise InputError(f"inputs must be at least 1, found {inputs}")
        if not axes or not set(axes) <= set(AXES):
            raise InputError(f"axes must be a sequence of {', '.join(map(repr, AXES))}, found {axes!r}")
        if ("reference" in axes) != (reference_inputs is not None):
            raise InputError(
                f"axis 'reference' and reference_inputs must be given together, found {axes!r} and {reference_inputs}"
            )
        config = config or ModelConfig()
        self.axes, self.config, self.lookback = tuple(axes), config, config.lookback
        self.embedding = nn.Linear(inputs, config.width)
        if reference_inputs is not None:
            self.reference_embedding = nn.Linear(reference_inputs, config.width)
        self.layers = nn.ModuleList(TransformerBlock(axis, config) for axis in axes)
        self.norm = nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()
        self.head = nn.Linear(config.width, 1)

    @property
    def warmup(self) -> int:
        """Rows of context after which a forecast no longer depends on where its block began."""
        return self.axes.count("time") * (self.lookback - 1)

    def forward(self, block: Block) -> Tensor:
        """Return scores [t n]; NaN outside decision dates after the warm-up and where a firm is not observed.

        InputError for inputs of another width or type than the model's, and for one observed that is not finite.
        """
        self._check(block)
        rows, scores = block.scored, block.x.new_full(block.observed.shape, torch.nan)
        if not len(rows):
            return scores
        starts = self._starts(int(rows[0]))
        span = slice(starts[0], int(rows[-1]) + 1)  # rows that no forecast draws on are left out
        x, block, rows = block.x[span], cut(block, span), rows - span.start
        starts = [start - span.start for start in starts]
        # Above the last time block a date is on its own: only the dates that are scored go on.
        above = max((i + 1 for i, axis in enumerate(self.axes) if axis == "time"), default=0)
        few = above > 0 and len(rows) * self.lookback < SPARSE * (len(x) - starts[above - 1])
        for first, stop in self._runs(0, above):
            skips = [after - before for before, after in itertools.pairwise(starts[first : stop + 1])]
            last = rows - starts[above - 1] if few and stop == above else None
            x = self._run(x, cut(block, slice(starts[first], None)), first, stop, skips, last, scored=True)
        x, block = x if few else _some(x, rows - starts[above]), cut(block, rows)
        for first, stop in self._runs(above, len(self.axes)):
            x = self._run(x, block, first, stop, [0] * (stop - first), scored=True)
        found = x.masked_fill(~block.observed, torch.nan)
        return scores.index_copy(0, rows + span.start, found.to(scores.dtype))

    @overload
    def attention(
        self, block: Block, layer: int, dates: Tensor | Sequence[int] | None = None, top_k: None = None
    ) -> Tensor: ...

    @overload
    def attention(
        self, block: Block, layer: int, dates: Tensor | Sequence[int] | None = None, *, top_k: int
    ) -> TopWeights: ...

    def attention(
        self, block: Block, layer: int, dates: Tensor | Sequence[int] | None = None, top_k: int | None = None
    ) -> Tensor | TopWeights:
        """Return one block's attention weights at some dates, recomputed without gradients, before dropout.

        Parameters
        ----------
        block : dates within its warm-up see less of the past than the others.
        layer : which of `axes`. dates : rows [t'] of the block, by default those scored.
        top_k : the heaviest keys of each query alone, found in chunks: no dense matrix is made.

        Returns
        -------
        Dense [t' n h l] along time, lag 0 the day itself, or [t' h n m] across firms; rows sum to one, or to zero
        (with normaliser "identity", which has a sign, to anything). With `top_k`, `TopWeights` of shapes [t' n h k] or
        [t' h n k], k at most the number of keys, whose keys are lags or firms; the logarithm of the sum of exponentials
        is given across firms.

        Raises
        ------
        InputError
            For a layer, dates or `top_k` outside their range, and `top_k` with weights that have a sign.
        """
        if top_k is not None:
            self._check_shares()
            if top_k < 1:
                raise InputError(f"top_k must be at least 1, found {top_k}")
        axis, dates = self._axis(layer), self._dates(block, dates)
        with self._reading():
            x, context = self._below(block, layer)
            attention = self._attention(layer)
            if axis == "time" or top_k is None:
                weights = attention.weights(x, context, dates)
                return weights if top_k is None else heaviest(weights, top_k)
            parts = []
            for row in dates:
                query, key, mask = attention.scored(x, context, row[None])
                one = top_weights(query[0], key[0], _of(mask), top_k, self.config.normaliser, self.config.temperature)
                parts.append(one)
            return TopWeights(*(torch.stack(columns) for columns in zip(*parts, strict=True)))

    def summary(self, block: Block, layer: int, dates: Tensor | Sequence[int] | None = None) -> Summary:
        """Return what one block's weights across firms add up to, exact without the dense matrix.

        Returns
        -------
        `Summary` of shapes [t' h n], with mass on the own industry at each level of `Block.industry` [t' g h n].
        For blocks along time see `lags`.
        """
        axis, dates = self._axis(layer), self._dates(block, dates)
        if axis == "time":
            raise InputError(f"a summary across firms needs such a block, found layer {layer} along time; see lags")
        self._check_shares()
        with self._reading():
            x, context = self._below(block, layer)
            attention, itself = self._attention(layer), axis != "reference"
            parts = []
            for row in dates:
                query, key, mask = attention.scored(x, context, row[None])
                groups = block.industry[row] if itself else block.industry[row][:, :0]
                key_groups = groups if itself else groups.new_zeros(key.shape[2], 0)
                kind = (self.config.normaliser, self.config.temperature, itself)
                parts.append(summarise(query[0], key[0], _of(mask), groups, key_groups, *kind))
            return Summary(*(torch.stack(columns) for columns in zip(*parts, strict=True)))

    def lags(self, block: Block, layer: int, dates: Tensor | Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean lag [t' n h] in rows, NaN where nothing is seen, and the mass by lag [t' h l].

        The mass is averaged over the firms that see anything; a few dates are held at a time.
        """
        axis, dates = self._axis(layer), self._dates(block, dates)
        if axis != "time":
            raise InputError(f"lags need a block along time, found layer {layer} along {axis!r}")
        self._check_shares()
        means, masses = [], []
        with self._reading():
            x, context = self._below(block, layer)
            for some in dates.split(8):
                weights = self._attention(layer).weights(x, context, some)
                seen = weights.sum(-1)
                days = torch.arange(weights.shape[-1], device=x.device, dtype=x.dtype)
                means.append((weights @ days / seen).masked_fill(seen == 0, torch.nan))
                masses.append(weights.sum(1) / (seen > 0).sum(1)[..., None].clamp(min=1))
        return torch.cat(means), torch.cat(masses)

    def value_norms(self, block: Block, layer: int, dates: Tensor | Sequence[int] | None = None) -> Tensor:
        """Return how much of each key one block takes up (Kobayashi et al. 2020): ‖Σ_h weight_h W_O^h (W_V^h x_j + b)‖.

        Returns
        -------
        [t' n l] along time, or [t' n m] across firms, in units of the block's tokens; arguments as of `attention`.
        """
        axis, dates = self._axis(layer), self._dates(block, dates)
        with self._reading():
            x, context = self._below(block, layer)
            attention = self._attention(layer)
            weights = attention.weights(x, context, dates).double()
            if axis == "time":
                days = (dates[:, None] - torch.arange(weights.shape[-1], device=x.device)).clamp(min=0)
                products = _value_products(attention, x, context)[:, days]
                squares = torch.einsum("tnhl,tngl,ntlhg->tnl", weights, weights, products)
            else:
                here = Context._make(None if part is None else part[dates] for part in context)
                products = _value_products(attention, x[dates], here)
                squares = torch.einsum("thnm,tgnm,tmhg->tnm", weights, weights, products)
        return squares.clamp(min=0).sqrt().to(x.dtype)

    def rollout(self, block: Block, date: int, firms: Sequence[int] | Tensor) -> Tensor:
        """Roll attention out through the stack (Abnar and Zuidema 2020): peers of peers, and days of days.

        Parameters
        ----------
        date : row of the block. firms : target columns i, one or several; memory grows with i · rows reached · n.

        Returns
        -------
        Shares [i l m]: of target i's forecast at `date`, on firm m, l rows back; they sum to one. Heads are averaged,
        and each block counts half as residual, where it has one; sums over l give peers, over m days.
        """
        self._check_shares()
        if "reference" in self.axes:
            raise InputError("rollout stays within the panel, found a block along 'reference'")
        days, count = block.observed.shape
        targets = torch.as_tensor(firms, dtype=torch.long, device=block.x.device).reshape(-1)
        kept = 0.5 if self.config.residual else 0.0
        if not 0 <= date < days or (len(targets) and not (0 <= targets.min() and targets.max() < count)):
            raise InputError(
                f"rollout needs a row of {days} and columns of {count}, found {date} and {targets.tolist()}"
            )
        span = slice(max(0, date - self.warmup), date + 1)
        block = cut(block, span)
        days, count = block.observed.shape
        rolled = block.x.new_zeros(len(targets), days, count)
        rolled[torch.arange(len(targets)), -1, targets] = 1.0
        for layer in reversed(range(len(self.axes))):
            reached = int(rolled.abs().sum((0, 2)).nonzero()[0]) if len(targets) else days - 1
            along_time = self.axes[layer] == "time"
            rows = torch.arange(0 if along_time else reached, days, device=block.x.device)
            weights = self.attention(block, layer, rows)
            if along_time:
                rolled = through_time(rolled, weights.mean(2), kept)
            else:
                rolled[:, reached:] = through_firms(rolled[:, reached:], weights.mean(1), kept)
        return rolled.flip(1)

    def stream(self, block: Block) -> Stream:
        """Return a stream that has taken up the block's days and waits for the next one."""
        return Stream(self).take_up(block)

    def embed(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return the tokens [... d] of inputs [... f]; what stands where nothing is observed is not looked at."""
        return self.embedding(_known(x, observed))

    def score(self, x: Tensor) -> Tensor:
        """Return the scores [...] of tokens [... d] that have passed all blocks."""
        return self.head(self.norm(x)).squeeze(-1)

    def context(self, block: Block, along_time: bool) -> Context:
        """Gather what attention along an axis may see, batch first."""
        if along_time:
            return Context(block.observed.T)
        group = None
        if "industry" in self.axes:
            level = self.config.industry_level
            if level >= block.industry.shape[-1]:
                raise InputError(
                    f"industry_level must be one of the panel's {block.industry.shape[-1]} levels, found {level}"
                )
            group = block.industry[..., level]
        neighbours = block.neighbours
        if neighbours is not None and neighbours.ndim == 2:
            neighbours = neighbours.expand(len(block.x), -1, -1)
        reference = block.reference if "reference" in self.axes else None
        if reference is not None:
            if block.reference_observed is not None:
                reference = _known(reference, block.reference_observed)
            reference = self.reference_embedding(reference)
        return Context(block.observed, group, neighbours, reference, block.reference_observed)

    def _check(self, block: Block) -> None:
        """Refuse inputs that are not the model's; one that is not finite would reach other firms."""
        width, kind = self.embedding.in_features, self.embedding.weight.dtype
        if block.x.ndim != 3 or block.x.shape[-1] != width or block.x.dtype != kind:
            raise InputError(
                f"x must be dates by firms by {width} inputs of {kind}, found {tuple(block.x.shape)} of {block.x.dtype}"
            )
        if block.observed.shape != block.x.shape[:2] or block.observed.dtype != torch.bool:
            found = f"{tuple(block.observed.shape)} of {block.observed.dtype}"
            raise InputError(f"observed must be boolean, for each date and firm of x, found {found}")
        places = not_finite(block.x, block.observed)
        if len(places):
            row, firm = places[0].tolist()
            raise InputError(f"x must be finite where observed, found another number at row {row}, firm {firm}")

    def _starts(self, first: int) -> list[int]:
        """Return the first row that each block must see, and last the first row scored."""
        starts = [first]
        for axis in reversed(self.axes):
            starts.append(max(0, starts[-1] - (self.lookback - 1)) if axis == "time" else starts[-1])
        return starts[::-1]

    def _runs(self, first: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield runs of blocks, from `first` until `stop`, that all attend along time or all across firms."""
        for _, run in itertools.groupby(range(first, stop), lambda i: self.axes[i] == "time"):
            places = list(run)
            yield places[0], places[-1] + 1

    def _run(
        self,
        x: Tensor,
        block: Block,
        first: int,
        stop: int,
        skips: Sequence[int],
        rows: Tensor | None = None,
        scored: bool = False,
    ) -> Tensor:
        """Take x [t n d], or the inputs [t n f] below the first block, through a run of blocks.

        Returns tokens [t n d], of some rows of what the last block sees where they are given, or, if `scored` and these
        are the model's last blocks, their scores [t n].
        """
        along_time = self.axes[first] == "time"
        layers = [self._block(i) for i in range(first, stop)]
        context = self.context(block, along_time)
        below, above = first == 0, scored and stop == len(self.axes)
        run = _through(self.embed if below else None, layers, skips, rows, self.score if above else None)
        x = x.transpose(0, 1) if along_time else x
        modules = [*layers, *[self.embedding] * below, *[self.norm, self.head] * above]
        parameters = [parameter for module in modules for parameter in module.parameters()]
        tokens = max(1, x.shape[1] * self.config.width)
        size = max(1, GROUP["cpu" if x.device.type == "cpu" else "other"] // tokens)
        random = self.training and self.config.dropout > 0
        held = x.shape[0] * x.shape[1] * x.element_size() * sum(self._held(i, context) for i in range(first, stop))
        x = in_groups(run, [x, *context], parameters, size, random, keep=held < KEPT)
        return x.transpose(0, 1) if along_time else x

    def _held(self, layer: int, context: Context) -> int:
        """Return about how many numbers a token of a block's backward pass needs."""
        config, axis, attention = self.config, self.axes[layer], self._attention(layer)
        sequence = context.observed.shape[1]
        others = sequence if context.reference is None or axis != "reference" else context.reference.shape[1]
        keys = min(self.lookback, sequence) + 20 if axis == "time" else others  # 20 more days that a chunk reaches
        weights = 0
        if config.normaliser == "softmax":
            weights = keys * config.heads if axis == "time" else keys // 4 * (axis in ("industry", "neighbours"))
        elif axis == "time" or config.normaliser not in ("linear", "identity"):  # scores, and what is made of them
            weights = keys * config.heads * (8 if axis == "time" else 5)
        inner = config.feed_forward * (4 if config.activation == "gated" else 2)
        return 7 * config.width + sum(attention.parts) + inner + weights

    def _check_shares(self) -> None:
        if self.config.normaliser == "identity":
            raise InputError("summaries need weights that are shares, found normaliser 'identity', whose have a sign")

    def _axis(self, layer: int) -> Axis:
        if not 0 <= layer < len(self.axes):
            raise InputError(f"layer must be from 0 to {len(self.axes) - 1}, found {layer}")
        return self.axes[layer]

    def _dates(self, block: Block, dates: Tensor | Sequence[int] | None) -> Tensor:
        """Return the rows to read, by default those scored."""
        rows = block.scored if dates is None else torch.as_tensor(dates, device=block.x.device)
        days = len(block.x)
        if rows.ndim != 1 or not len(rows) or rows.dtype not in (torch.int32, torch.int64):
            raise InputError(f"dates must be at least one row number of the block, found {rows.tolist()}")
        if rows.min() < 0 or rows.max() >= days:
            raise InputError(f"dates must be rows of the block's {days}, found {rows.min()} to {rows.max()}")
        return rows

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Read without gradients and without dropout, also where the caller trains or is in inference mode."""
        training = self.training
        self.eval()
        try:
            with torch.inference_mode(False), torch.no_grad():  # threads write in place, which inference would forbid
                yield
        finally:
            self.train(training)

    def _block(self, layer: int) -> TransformerBlock:
        return cast(TransformerBlock, self.layers[layer])

    def _attention(self, layer: int) -> MultiHeadAttention:
        return self._block(layer).attention

    def _below(self, block: Block, layer: int) -> tuple[Tensor, Context]:
        """Return all rows of a block as the attention of one layer sees them, batch first, and their context."""
        x = block.x
        for first, stop in self._runs(0, layer):
            x = self._run(x, block, first, stop, [0] * (stop - first))
        if layer == 0:
            x = self.embed(x, block.observed)
        along_time = self.axes[layer] == "time"
        x = self._block(layer).before(x.transpose(0, 1) if along_time else x)
        return x, self.context(block, along_time)


def _known(x: Tensor, observed: Tensor) -> Tensor:
    """Put zero where nothing is observed: a NaN there would pass through every product that it is masked out of."""
    return x.masked_fill(~observed[..., None], 0.0)


def _value_products(attention: MultiHeadAttention, x: Tensor, context: Context) -> Tensor:
    """Return products [b s h h] between the heads of what each token x [b s d] hands on, in double."""
    value, heads = attention.project(x, context)[2], attention.output.weight.unflatten(1, (attention.heads, -1))
    passed = torch.einsum("bshe,dhe->bshd", value, heads).double()
    return passed @ passed.transpose(-2, -1)


def _through(
    embed: Callable[[Tensor, Tensor], Tensor] | None,
    layers: Sequence[TransformerBlock],
    skips: Sequence[int],
    rows: Tensor | None,
    score: Callable[[Tensor], Tensor] | None,
) -> Callable[..., Tensor]:
    """Return the function that takes a group of rows through some blocks of one axis; of the last, to some rows."""

    def run(x: Tensor, *context: Tensor | None) -> Tensor:
        here = Context(*context)  # type: ignore[arg-type]
        x = x if embed is None else embed(x, here.observed)
        for layer, skip in zip(layers, skips, strict=True):
            x = layer(x, here, skip, rows if layer is layers[-1] else None)
            if skip:
                here = here._replace(observed=here.observed[:, skip:])
        return x if score is None else score(x)

    return run


def _some(x: Tensor, rows: Tensor) -> Tensor:
    """Return some rows, without a copy where they are all."""
    return x if len(rows) == len(x) else x[rows]


def _of(mask: Callable[[slice], Tensor | None]) -> Callable[[slice], Tensor | None]:
    """Leave out the batch of one date."""

    def one(queries: slice) -> Tensor | None:
        found = mask(queries)
        return None if found is None else found[0]

    return one
