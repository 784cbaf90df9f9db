"""A model run with other weights than its own: attention written out, what takes the weights' place, times values."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from finattn.attention import Context, MultiHeadAttention, TransformerBlock, allowed, attention_weights, linear_bias
from finattn.attention.layers import Mask
from finattn.blocks import Block, cut
from finattn.errors import InputError
from finattn.explain.scene import Corrected
from finattn.explain.weights import KINDS
from finattn.look_up import LookUp
from finattn.models import PanelTransformer

ALL = "all"
CELLS = 2**22  # weights held at once
Change = Callable[[Tensor, Tensor], Tensor]
"""From weights [b h q k], and bool of one shape with them for the keys that the mask allows, to other weights."""


def even(weights: Tensor, seen: Tensor) -> Tensor:
    """Give all keys that the mask allows the same weight.

    Examples
    --------
    >>> even(torch.tensor([[0.9, 0.1, 0.0]]), torch.tensor([[True, True, False]])).tolist()
    [[0.5, 0.5, 0.0]]
    """
    return seen.to(weights) / seen.sum(-1, keepdim=True).clamp(min=1)


def permuted(random: torch.Generator) -> Change:
    """Return a change that hands each query's weights out anew, at random, among the keys that the mask allows.

    Examples
    --------
    >>> weights, seen = torch.tensor([[0.9, 0.1, 0.0]]), torch.tensor([[True, True, False]])
    >>> sorted(permuted(torch.Generator().manual_seed(0))(weights, seen)[0].tolist())[0]
    0.0
    """

    def change(weights: Tensor, seen: Tensor) -> Tensor:
        order = torch.rand(weights.shape, generator=random).to(weights.device).masked_fill(~seen, 2.0).argsort(-1)
        places = (~seen).to(torch.uint8).sort(dim=-1, stable=True).indices
        return torch.zeros_like(weights).scatter(-1, order, weights.gather(-1, places))

    return change


def generator(*seed: int) -> torch.Generator:
    """Return random numbers of their own for some whole numbers, each at least 0."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))


class Looked(NamedTuple):
    """What a model made of the rows scored."""

    scores: Tensor
    """[t n], NaN where a firm is not observed."""
    weights: list[Tensor]
    """By layer, a base's first, [t h n k]; with which they were made, in place of its own."""
    counted: list[Tensor]
    """By layer [t n], whether a firm is observed and has two keys or more: one key alone has no choice."""


class Steered:
    """A copy of a model whose layers of some kinds attend with changed weights.

    Rows of context are seen with changed weights too. Of a model that corrects a base, the mean and deviation over
    firms by which the base is standardised are held at the original's: a base that no longer tells firms apart is
    then 0, not its rounding errors blown up.

    Parameters
    ----------
    model : `PanelTransformer`, `LookUp`, or `explain.scene.Corrected`; it is left as it is.
    change : of the weights; None leaves them. kind : "lag", "peer" or "reference", whose layers are changed, or "all".

    Raises
    ------
    InputError
        For a model without attention, or one whose weights are no shares.
    """

    def __init__(self, model: Any, change: Change | None = None, kind: str = ALL) -> None:
        self.original, self.model = model, copy.deepcopy(model).eval()
        self.attending: dict[nn.Module, list[_Attending]] = {}
        self.kinds: list[str] = []
        """Of each layer, a base's first."""
        self.networks: list[Any] = [*_networks(self.model)]
        for network in self.networks:
            here = [one for axis in network.axes for one, axes in KINDS.items() if axis in axes]
            self.attending[network] = [_Attending(change if kind in (ALL, one) else None) for one in here]
            self.kinds += here
            if isinstance(network, PanelTransformer):
                for layer, attending in zip(network.layers, self.attending[network], strict=True):
                    layer.attention = _Written(cast(TransformerBlock, layer).attention, attending)

    @property
    def compared(self) -> list[str]:
        """Kinds that the layers have, the last "all" where they are several."""
        kinds = [kind for kind in KINDS if kind in self.kinds]
        return kinds if len(kinds) == 1 else [*kinds, ALL]

    def __call__(self, block: Block) -> Looked:
        """Return scores and weights of the rows scored."""
        looked = Looked(torch.empty(0), [], [])
        return looked._replace(scores=self._scores(self.model, self.original, block, looked))

    def rows(self, firms: int, reference: int = 0) -> int:
        """Return how many rows of a panel can be scored at once, so that some million weights are held."""
        cells = 1
        for network in self.networks:
            keys = [2 * network.lookback if axis == "time" else max(firms, reference) for axis in network.axes]
            cells = max(cells, firms * max(keys) * network.config.heads)
        return max(1, CELLS // cells)

    def _scores(self, model: Any, original: Any, block: Block, looked: Looked) -> Tensor:
        """Return scores [t n] of the rows scored, and put what was looked at where it belongs."""
        if isinstance(model, Corrected):
            base = self._scores(model.base, original.base, block, looked)
            with torch.no_grad():
                spread = original.base(block)[block.scored]
            return self._scores(model.model, original.model, block, looked) + model.weight * _held(base, spread)
        run = _look_up if isinstance(model, LookUp) else _transform
        return run(model, block, self.attending[model], looked)


def _networks(model: Any) -> Iterator[PanelTransformer | LookUp]:
    """Yield the networks that a model is made of, a base first."""
    if isinstance(model, Corrected):
        yield from _networks(model.base)
        yield from _networks(model.model)
    elif not isinstance(model, PanelTransformer | LookUp):
        raise InputError(f"attention can be changed in a model that attends, found a {type(model).__name__}")
    elif isinstance(model, PanelTransformer) and model.config.normaliser == "identity":
        raise InputError("attention that is changed must be shares, found normaliser 'identity', whose have a sign")
    else:
        yield model


def _held(scores: Tensor, original: Tensor) -> Tensor:
    """Standardise scores [t n] by the mean and deviation of the original's, 0 where those do not vary."""
    known = ~original.isnan()
    count = known.sum(1, keepdim=True).clamp(min=1)
    mean = original.nansum(1, keepdim=True) / count
    deviation = ((original - mean).square().nansum(1, keepdim=True) / count).sqrt()
    return (scores - mean) / deviation.where(deviation > 1e-8, torch.inf)


class _Attending:
    """Attention written out, called as `attention.attend` is; holds what it last did."""

    def __init__(self, change: Change | None) -> None:
        self.change, self.last = change, (torch.empty(0), torch.empty(0))

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        normaliser: str = "softmax",
        temperature: float = 1.0,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Return weights [b h q k], or what takes their place, times values."""
        weights = attention_weights(query, key, mask, normaliser, temperature=temperature, bias=bias)
        seen = torch.ones((), dtype=torch.bool, device=weights.device) if mask is None else mask
        seen = seen.expand(weights.shape)
        weights = weights if self.change is None else self.change(weights, seen)
        self.last = weights, seen[:, 0].sum(-1) > 1
        return weights @ value

    def taken(self) -> tuple[Tensor, Tensor]:
        """Return the weights [b h q k] and whether a query has two keys or more [b q], and let go of them."""
        last, self.last = self.last, (torch.empty(0), torch.empty(0))
        return last


class _Written(nn.Module):
    """A layer of attention, written out."""

    def __init__(self, layer: MultiHeadAttention, attending: _Attending) -> None:
        super().__init__()
        self.layer, self.attending = layer, attending

    def forward(self, x: Tensor, context: Context, skip: int = 0, rows: None = None) -> Tensor:
        layer, config = self.layer, self.layer.config
        query, key, value = (part.transpose(1, 2) for part in layer.project(x, context))
        query, bias, days = query[:, :, skip:], None, x.shape[1]
        if layer.axis == "time":
            here = context.observed[:, None]
            mask = allowed(days - skip, days, offset=skip, causal=True, lookback=config.lookback, observed=here)
            if layer.biased:
                lags = torch.arange(skip, days, device=x.device)[:, None] - torch.arange(days, device=x.device)
                bias = linear_bias(layer.heads, lags).to(x)
        else:
            mask = Mask(layer.axis, config.own_firm, context)(slice(None))
        found = self.attending(query, key, value, mask, config.normaliser, config.temperature, bias)
        return layer.output(found.transpose(1, 2).flatten(2))


def _look_up(model: LookUp, block: Block, attending: Sequence[_Attending], looked: Looked) -> Tensor:
    rows = block.scored
    scores = model(block, attending[0])[rows]
    _add(looked, *attending[0].taken(), block.observed[rows])
    return scores


def _transform(model: PanelTransformer, block: Block, attending: Sequence[_Attending], looked: Looked) -> Tensor:
    """Run a transformer layer by layer, each on the rows that those above it draw on."""
    rows = block.scored
    start = max(0, int(rows[0]) - model.warmup)
    block, rows = cut(block, slice(start, None)), rows - start
    x = model.embed(block.x, block.observed)
    for place, (axis, layer) in enumerate(zip(model.axes, model.layers, strict=True)):
        if axis == "time":
            skip = max(0, int(rows[0]) - model.axes[place + 1 :].count("time") * (model.lookback - 1))
            x = layer(x.transpose(0, 1), model.context(block, True), skip).transpose(0, 1)
            block, rows = cut(block, slice(skip, None)), rows - skip
            weights, several = attending[place].taken()
            _add(looked, weights[:, :, rows].permute(2, 1, 0, 3), several[:, rows].T, block.observed[rows])
        else:
            first, size = int(rows[0]), max(1, CELLS // x.shape[1] ** 2)
            pieces = [*torch.arange(first).split(size)] * (first > 0) + [torch.arange(first, len(x))]
            x = torch.cat([layer(x[some], model.context(cut(block, some), False)) for some in pieces])
            weights, several = (part[rows - first] for part in attending[place].taken())
            _add(looked, weights, several, block.observed[rows])
    return model.score(x[rows]).masked_fill(~block.observed[rows], torch.nan)


def _add(looked: Looked, weights: Tensor, several: Tensor, here: Tensor) -> None:
    """Note a layer's weights [t h n k] and which firms [t n] count."""
    looked.weights.append(weights)
    looked.counted.append(several & here)
