"""A long short-term memory network as a forecaster, by the training loop of the attention models."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from finattn.attention import in_groups
from finattn.blocks import Block
from finattn.config import ModelConfig, TrainingConfig
from finattn.errors import InputError
from finattn.training import Progress, TrainedForecaster

GROUP = {"cpu": 2**9, "other": 2**14}  # windows run at once
KEPT = 2**29  # numbers that training holds, 2 GiB, before it rather computes them again


class LSTM(nn.Module):
    """A firm's last `lookback` rows through an LSTM (Hochreiter and Schmidhuber 1997); its last state gives the score.

    Firms do not see each other. The state is zero before a window's first row, so that a forecast does not depend on
    where its block began; a window is run for each forecast, `lookback` times the work of one pass. A row on which the
    firm is not observed, or that lies before the panel's first, is zeros, and a further input says so.

    Parameters
    ----------
    inputs : f, the width of `Block.x`.
    config : its width (of the state), lookback and dropout (of the last state, and between layers). layers : stacked.

    Raises
    ------
    InputError
        For no inputs or layers.

    Examples
    --------
    >>> LSTM(inputs=4, config=ModelConfig(lookback=20)).warmup
    19
    """

    def __init__(self, inputs: int, config: ModelConfig | None = None, layers: int = 1) -> None:
        super().__init__()
        if inputs < 1 or layers < 1:
            raise InputError(f"inputs and layers must be at least 1, found {inputs} and {layers}")
        config = config or ModelConfig()
        self.config, self.lookback = config, config.lookback
        self.cells = nn.LSTM(inputs + 1, config.width, layers, dropout=config.dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, 1)

    @property
    def warmup(self) -> int:
        """Rows of context after which a forecast no longer depends on where its block began."""
        return self.lookback - 1

    def forward(self, block: Block) -> Tensor:
        """Return scores [t n]; NaN outside decision dates after the warm-up and where a firm is not observed."""
        rows, observed = block.scored, block.observed[..., None]
        scores = block.x.new_full(block.observed.shape, torch.nan)
        if not len(rows):
            return scores
        x = torch.cat([block.x.masked_fill(~observed, 0.0), observed.to(block.x.dtype)], dim=2)
        x = functional.pad(x, (0, 0, 0, 0, self.lookback - 1, 0))  # row t of the block is the last of x[t : t + l]
        days = torch.arange(self.lookback, device=x.device)[:, None]

        def last_states(some: Tensor) -> Tensor:
            windows = x[some + days]  # [l t' n f]
            return self.cells(windows.flatten(1, 2))[1][0][-1].unflatten(0, (len(some), -1))

        firms, random = x.shape[1], self.training and self.cells.dropout > 0
        held = len(rows) * firms * self.lookback * (x.shape[2] + 8 * self.cells.num_layers * self.config.width)
        size = max(1, GROUP["cpu" if x.device.type == "cpu" else "other"] // firms)
        states = in_groups(last_states, [rows], [x, *self.cells.parameters()], size, random, keep=held < KEPT)
        found = self.head(self.dropout(states)).squeeze(2)
        return scores.index_copy(0, rows, found.masked_fill(~block.observed[rows], torch.nan))


class RecurrentForecaster(TrainedForecaster):
    """An LSTM that is fitted and forecasts as the attention models do, by the same loop.

    Parameters
    ----------
    model : its width, lookback and dropout count. layers : of the LSTM.
    training, seed, progress, base : see `TrainedForecaster`.

    Examples
    --------
    >>> RecurrentForecaster(ModelConfig(lookback=20), layers=2).units
    'score'
    """

    def __init__(
        self,
        model: ModelConfig | None = None,
        training: TrainingConfig | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        layers: int = 1,
        base: Any = None,
    ) -> None:
        super().__init__(training, seed, progress, base=base)
        self.model_config, self.layers = model or ModelConfig(), layers

    def _new(self, inputs: int, reference_inputs: int | None) -> LSTM:
        return LSTM(inputs, self.model_config, self.layers)
