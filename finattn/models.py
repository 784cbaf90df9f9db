"""The one model: attention over a panel along both of its axes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from finattn.attention import MultiHeadAttention, TimeCache, TransformerBlock
from finattn.blocks import Block
from finattn.config import Axis, ModelConfig
from finattn.errors import InputError


class PanelTransformer(nn.Module):
    """An embedding, a stack of transformer blocks that each attend along one axis, and a linear head.

    Along time, position t of a firm sees its observed days among the last `lookback` rows; along firms, at each date,
    all observed firms see each other. One pass over a block gives the forecast of every date in it.

    Parameters
    ----------
    inputs : f, the width of `Block.x`.
    axes : the axis of each block, bottom first: ("time", "firm") attends along time, then along firms.
    config : sizes.

    Raises
    ------
    InputError
        For no axes or an unknown one.

    Examples
    --------
    >>> model = PanelTransformer(inputs=4, axes=("time", "firm"), config=ModelConfig(lookback=20))
    >>> model.warmup
    19
    """

    def __init__(self, inputs: int, axes: Sequence[Axis], config: ModelConfig | None = None) -> None:
        super().__init__()
        if not axes or not set(axes) <= {"time", "firm"}:
            raise InputError(f"axes must be a sequence of 'time' and 'firm', found {axes!r}")
        config = config or ModelConfig()
        self.axes, self.lookback = tuple(axes), config.lookback
        self.embedding = nn.Linear(inputs, config.width)
        self.layers = nn.ModuleList(
            TransformerBlock(
                MultiHeadAttention(axis, config.width, config.heads, config.lookback, config.positions),
                config.width,
                config.feed_forward,
                config.dropout,
            )
            for axis in axes
        )
        self.norm, self.head = nn.LayerNorm(config.width), nn.Linear(config.width, 1)

    @property
    def warmup(self) -> int:
        """Rows of context after which a forecast no longer depends on where its block began."""
        return self.axes.count("time") * (self.lookback - 1)

    def forward(self, block: Block) -> Tensor:
        """Return scores [t n]; NaN outside decision dates after the warm-up and where a firm is not observed."""
        x, observed, rows = self.embedding(block.x), block.observed, block.scored
        # Above the last time block a date is on its own: only the dates that are scored go on.
        above = len(self.axes) - self.axes[::-1].index("time") if "time" in self.axes else 0
        for layer in self.layers[:above]:
            x = layer(x, observed)
        x, observed = x[rows], observed[rows]
        for layer in self.layers[above:]:
            x = layer(x, observed)
        scores = self._score(x).masked_fill(~observed, torch.nan)
        return scores.new_full(block.observed.shape, torch.nan).index_copy(0, rows, scores)

    def attention(self, block: Block, layer: int, rows: Tensor) -> Tensor:
        """Return one layer's weights at some rows [t'] of a block, recomputed without gradients.

        Rows within the warm-up see less of the past than the others. Dropout is left out in evaluation mode.

        Returns
        -------
        [t' n h l] along time, lag 0 the day itself; [t' h n m] along firms. Rows sum to one, or to zero.
        """
        with torch.no_grad():
            x = self.embedding(block.x)
            for below in self.layers[:layer]:
                x = below(x, block.observed)
            return self.layers[layer].weights(x, block.observed, rows)  # type: ignore[operator]

    def stream(self, block: Block) -> "Stream":
        """Return a stream that has taken up the block's days and waits for the next one."""
        stream = Stream(self)
        for x, observed in zip(block.x, block.observed, strict=True):
            stream.advance(x, observed)
        return stream

    def _score(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x)).squeeze(-1)


class Stream:
    """A model that takes one day at a time, in work proportional to the lookback: keys and values are cached."""

    def __init__(self, model: PanelTransformer) -> None:
        self.model = model.eval()
        self._caches = [TimeCache(model.lookback) for _ in model.axes]

    def advance(self, x: Tensor, observed: Tensor) -> Tensor:
        """Take up a day's inputs x [n f] and observed [n]; return scores [n], NaN where a firm is not observed."""
        with torch.no_grad():
            day, seen = self.model.embedding(x[None]), observed[None]
            for layer, cache in zip(self.model.layers, self._caches, strict=True):
                along_time = layer.attention.axis == "time"  # type: ignore[union-attr]
                day = layer.advance(day, seen, cache) if along_time else layer(day, seen)  # type: ignore[operator]
            return self.model._score(day)[0].masked_fill(~observed, torch.nan)
