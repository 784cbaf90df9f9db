"""The one Lightning module and data module, and the forecaster that they make of a panel transformer."""

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from lightning_fabric.utilities.warnings import PossibleUserWarning
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from finattn.blocks import Block, Blocks, standardise, without_factors
from finattn.config import Axis, ModelConfig, TrainingConfig
from finattn.errors import InputError
from finattn.look_up import LookUp, LookUpConfig
from finattn.metrics import information_coefficient, mean_over_dates, rank_information_coefficient
from finattn.models import PanelTransformer
from finattn.storage import atomic_file

Batch = tuple[Block, torch.Tensor]
Progress = Callable[[int, int, float], None]
"""Called after each epoch with the epoch, the most epochs there can be, and the validation rank IC."""

LOOK_UP_TRAINING = TrainingConfig(
    block=10, epochs=15, minimum_epochs=4, patience=5, learning_rate=1e-2, weight_decay=1e-2
)
_SHARED = ("schedule", "starts", "cut", "without_factors")  # of a run's settings, with its look-up
_LEAST_WEIGHT = 1e-3  # of a base in its correction: it orders firms as the base does, whatever the base is worth


def look_up_training(training: TrainingConfig) -> TrainingConfig:
    """Return how a run's look-up is trained: by its own rates and epochs, and the run's schedule, starts and targets.

    Examples
    --------
    >>> found = look_up_training(TrainingConfig(epochs=5, starts=4))
    >>> found.starts, found.epochs
    (4, 15)
    """
    return replace(LOOK_UP_TRAINING, **{name: getattr(training, name) for name in _SHARED})


class PanelModule(lightning.LightningModule):
    """Squared loss on forward returns standardised across the firms of each date; keeps the best epoch's parameters.

    With `TrainingConfig.cut` they are cut at so many deviations, and standardised again.

    The best epoch is the one with the highest validation rank IC averaged over the last `smoothing` epochs: one epoch's
    best is noise in a small cross-section. Epochs before `minimum_epochs` are no candidates; from there on, training
    stops after `patience` epochs without a better one. Where the model corrects a base, what it corrects is epoch 0 and
    stays unless an epoch is better than `base_skill`, the base's own rank IC.

    A batch is a block and what is added to the model's scores [t n], zeros without a base.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: TrainingConfig,
        progress: Progress | None = None,
        base_skill: float = -np.inf,
    ) -> None:
        super().__init__()
        self.model, self.config, self.progress = model, config, progress
        self.history: list[float] = []
        self.best_epoch, self.best_smoothed, self.best_state = 0, base_skill, copy.deepcopy(model.state_dict())
        self._valid: list[tuple[np.ndarray, np.ndarray]] = []

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """Return the block's mean squared error."""
        block, added = batch
        mask, cut = _known(block), self.config.cut
        target = standardise(block.target, mask)
        if cut is not None:
            target = standardise(target.clamp(-cut, cut), mask)
        return (self.model(block) + added - target)[mask].square().mean()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Keep the block's scores and targets."""
        block, added = batch
        scores, rows = self.model(block) + added, block.scored
        realised = block.target.masked_fill(~block.target_observed, torch.nan)
        self._valid.append((scores[rows].cpu().double().numpy(), realised[rows].cpu().double().numpy()))

    def on_validation_epoch_end(self) -> None:
        """Keep the parameters with the best smoothed rank IC over all validation dates, and know when to stop."""
        scores, realised = (np.concatenate(parts) for parts in zip(*self._valid, strict=True))
        self._valid.clear()
        per_date = rank_information_coefficient(scores, realised)
        self.history.append(mean_over_dates(per_date))
        epoch, smoothed = len(self.history), float(np.mean(self.history[-self.config.smoothing :]))
        if epoch >= self.config.minimum_epochs and smoothed > self.best_smoothed:
            self.best_epoch, self.best_smoothed = epoch, smoothed
            self.best_state = copy.deepcopy(self.model.state_dict())
        waited = epoch - max(self.best_epoch, self.config.minimum_epochs)
        self.trainer.should_stop = waited >= self.config.patience
        if self.progress:
            self.progress(len(self.history), self.config.epochs, self.history[-1])

    def configure_optimizers(self) -> Any:
        """Return AdamW with the configured rate and decay, and the rate's schedule."""
        rate, decay = self.config.learning_rate, self.config.weight_decay
        optimizer = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=decay)
        if self.config.schedule == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        falling = LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * min(step / steps, 1))) / 2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}


class PanelData(lightning.LightningDataModule):
    """Batches of training and validation dates, one block each, training blocks in an order drawn each epoch."""

    def __init__(self, train: Sequence[Batch], valid: Sequence[Batch]) -> None:
        super().__init__()
        self.train, self.valid = train, valid

    def train_dataloader(self) -> DataLoader:
        """Return training blocks, shuffled by torch's seed."""
        return DataLoader(self.train, batch_size=None, shuffle=True)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader:
        """Return validation blocks in order."""
        return DataLoader(self.valid, batch_size=None)  # type: ignore[arg-type]


class AttentionHistory(lightning.Callback):
    """Keeps the attention weights of one block as training goes on, to see how patterns form.

    Parameters
    ----------
    block : fixed; its scored dates are kept. Choose few: weights are dense.
    path : Parquet file of epoch (0 before training), layer, axis, head, date (days since 1970), firm (column), key (lag
        or column) and weight; written anew, whole, at every epoch kept, and by
        every fit: it serves one fit, and of `walk_forward` the last fold stays.
    epochs : to keep; None keeps all.
    """

    def __init__(self, block: Block, path: str | Path, epochs: Sequence[int] | None = None) -> None:
        self.block, self.path, self.epochs = block, Path(path), epochs
        self._tables: list[pd.DataFrame] = []

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the weights before training."""
        self._tables.clear()
        self._keep(0, _transformer(pl_module))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the weights after an epoch."""
        self._keep(trainer.current_epoch + 1, _transformer(pl_module))

    def _keep(self, epoch: int, model: PanelTransformer) -> None:
        if self.epochs is not None and epoch not in self.epochs:
            return
        device = next(model.parameters()).device
        block = Block._make(x.to(device) if isinstance(x, torch.Tensor) else x for x in self.block)
        for layer, axis in enumerate(model.axes):
            weights = model.attention(block, layer).cpu()
            names = ("date", "firm", "head", "key") if axis == "time" else ("date", "head", "firm", "key")
            places = dict(zip(names, np.indices(weights.shape).reshape(4, -1), strict=True))
            places["date"] = block.date[block.scored].cpu().numpy()[places["date"]]
            table = pd.DataFrame({"epoch": epoch, "layer": layer, "axis": axis} | places)
            self._tables.append(table.assign(weight=weights.numpy().ravel()))
        with atomic_file(self.path) as temporary:
            pd.concat(self._tables, ignore_index=True).to_parquet(temporary, index=False)


class TrainedForecaster:
    """What a model that is trained and a baseline have in common: fit and predict on `Blocks`. `_new` makes the model.

    With a `base`, the model is a correction: it forecasts κ · z + correction, where z is the base's score standardised
    across the firms of a date and κ the base's mean IC over validation dates, at least 0.001. The correction's head
    starts at zero, so that epoch 0 orders firms as the base does; it is kept unless an epoch's validation rank IC is
    higher. The base is fitted on the same training dates as the correction, which therefore sees its errors there
    somewhat smaller than they are.

    Parameters
    ----------
    training : how to fit (seeds and threads are a run's).
    seed : of the parameters, the dropout and the order of blocks. Two fits with one seed on one processor are equal to
        the last bit. progress : called after each epoch. history : keeps attention weights as training goes on.
    base : a forecaster that the model starts from.
    """

    units: Literal["score"] = "score"

    def __init__(
        self,
        training: TrainingConfig | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        history: AttentionHistory | None = None,
        base: Any = None,
    ) -> None:
        self.training, self.seed, self.progress = training or TrainingConfig(), seed, progress
        self.history, self.base, self.base_weight = history, base, 0.0
        self.chosen: dict[str, Any] = {}

    def _new(self, inputs: int, reference_inputs: int | None) -> Any:
        raise NotImplementedError

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Train on one panel's dates and stop by another's; blocks without an observed target are left out."""
        if self.history is not None and self.training.starts > 1:
            raise InputError(f"a history keeps one fit, and needs training.starts 1, found {self.training.starts}")
        skill = -np.inf if self.base is None else self._fit_base(train, valid)
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(self.seed)
            fits = [self._fit_from(start, train, valid, skill) for start in range(self.training.starts)]
        module = max(fits, key=lambda fit: fit.best_smoothed)
        module.model.load_state_dict(module.best_state)
        self.model = module.model.cpu().eval()
        self.chosen = {
            "epoch": module.best_epoch, "valid_rank_ic": module.best_smoothed, "epochs": len(module.history),
            "history": module.history,
        }  # fmt: skip
        if len(fits) > 1:
            self.chosen["starts"] = [fit.best_smoothed for fit in fits]
        if self.base is not None:
            self.chosen |= {"base_rank_ic": skill, "base_weight": self.base_weight}
            self.chosen["base"] = getattr(self.base, "chosen", {})
        return self

    def _fit_from(self, start: int, train: Blocks, valid: Blocks, skill: float) -> PanelModule:
        """Fit from parameters that are drawn now."""
        model = self._new(train.scaling.width, train.reference.scaling.width if train.reference else None)
        if self.base is not None:
            torch.nn.init.zeros_(model.head.weight)
            torch.nn.init.zeros_(model.head.bias)
        module = PanelModule(model, self.training, self._progress(start), skill)
        length = self.training.block * train.apart  # rows that hold so many scored ones
        targets = torch.from_numpy(without_factors(train)).float() if self.training.without_factors else None
        batches = list(self._batches(train, model, length, targets))
        batches = [batch for batch in batches if bool(_known(batch[0]).any())]
        if not batches:
            raise InputError("a model must have observed targets to fit on, found none in the training dates")
        try:
            self._trainer().fit(module, PanelData(batches, list(self._batches(valid, model))))
        except SystemExit:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from None
        return module

    def _progress(self, start: int) -> Progress | None:
        """Count epochs over all starts."""
        told, starts = self.progress, self.training.starts
        if told is None or starts == 1:
            return told
        return lambda epoch, most, skill: told(start * most + epoch, starts * most, skill)

    def _fit_base(self, train: Blocks, valid: Blocks) -> float:
        """Fit the base and weigh it; return its validation rank IC."""
        scores, realised = self.base.fit(train, valid).predict(valid), valid.realised
        self.base_weight = max(mean_over_dates(information_coefficient(scores, realised)), _LEAST_WEIGHT)
        return mean_over_dates(rank_information_coefficient(scores, realised))

    def _added(self, blocks: Blocks) -> torch.Tensor:
        """Return what is added to the model's scores (p, n): zeros without a base."""
        if self.base is None:
            return torch.zeros(blocks.observed.shape)
        scores = torch.from_numpy(self.base.predict(blocks))
        known = ~scores.isnan()
        return (self.base_weight * standardise(scores.nan_to_num(), known)).float()

    def _batches(
        self, blocks: Blocks, model: Any, length: int | None = None, targets: torch.Tensor | None = None
    ) -> Iterator[Batch]:
        """Yield blocks of so many rows, by default `TrainingConfig.block`, each with what is added to its scores.

        Targets [p n], where given, stand in for the blocks' own, NaN for none.
        """
        added, start = self._added(blocks), 0
        for block in blocks.cut(model.warmup, length or self.training.block):
            rows, here = block.scored, slice(start, start + len(block.scored))
            part = torch.zeros(block.observed.shape)
            part[rows] = added[here]
            start = here.stop
            if targets is not None:
                known = block.target_observed.index_copy(0, rows, ~targets[here].isnan())
                block = block._replace(
                    target=block.target.index_copy(0, rows, targets[here].nan_to_num()), target_observed=known
                )
            yield block, part

    def _trainer(self) -> lightning.Trainer:
        return lightning.Trainer(
            max_epochs=self.training.epochs,
            devices=1,  # several would start this very program again
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            callbacks=[self.history] if self.history else [],
        )

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return scores (p, n), NaN where a firm is not observed."""
        if not hasattr(self, "model"):
            raise InputError("a forecaster must be fitted before it forecasts, found one that is not")
        with torch.no_grad():
            parts = [(self.model(block) + added)[block.scored] for block, added in self._batches(blocks, self.model)]
        return torch.cat(parts).double().numpy()

    def save(self, folder: str | Path) -> None:
        """Write the fitted parameters as `model.safetensors`."""
        save_file(self.model.state_dict(), Path(folder) / "model.safetensors")

    def load(self, folder: str | Path, inputs: int, reference_inputs: int | None = None) -> Self:
        """Take up parameters that `save` wrote, for `inputs` columns of `Block.x` (and of `Block.reference`)."""
        self.model = self._new(inputs, reference_inputs)
        try:
            self.model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise InputError(f"{folder}: must hold parameters of this model: {' '.join(str(error).split())}") from None
        self.model.eval()
        return self


class AttentionForecaster(TrainedForecaster):
    """A panel transformer that is fitted and forecasts as the baselines do.

    Parameters
    ----------
    axes : of the model's blocks, bottom first. model : its sizes.
    training, seed, progress, history, base : see `TrainedForecaster`.

    Examples
    --------
    >>> import numpy as np
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import simulate
    >>> panel, _ = simulate(60, 200)
    >>> train = Blocks(panel, np.arange(120), Scaling.fit(panel, np.arange(120)), TargetConfig())
    >>> small = ModelConfig(width=8, heads=2, lookback=5), TrainingConfig(epochs=2, minimum_epochs=1)
    >>> model = AttentionForecaster(("time", "firm"), *small).fit(train, train.at(np.arange(122, 150)))
    >>> model.predict(train.at(np.arange(152, 190))).shape
    (38, 60)
    """

    def __init__(
        self,
        axes: Sequence[Axis],
        model: ModelConfig | None = None,
        training: TrainingConfig | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        history: AttentionHistory | None = None,
        base: Any = None,
    ) -> None:
        super().__init__(training, seed, progress, history, base)
        self.axes, self.model_config = tuple(axes), model or ModelConfig()

    def _new(self, inputs: int, reference_inputs: int | None) -> PanelTransformer:
        used = reference_inputs if "reference" in self.axes else None
        return PanelTransformer(inputs, self.axes, self.model_config, used)


class LookUpForecaster(TrainedForecaster):
    """The learned one-way look-up, fitted and forecasting as the baselines do.

    Parameters
    ----------
    look_up : rank, windows and where slopes start.
    training, seed, progress : see `TrainedForecaster`; by default short blocks and a high rate, since the model is
        small and what it must find is found step by step: as attention sharpens, its own signal grows.

    Examples
    --------
    >>> import numpy as np
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import simulate
    >>> panel, _ = simulate(60, 200)
    >>> train = Blocks(panel, np.arange(120), Scaling.fit(panel, np.arange(120)), TargetConfig())
    >>> short = TrainingConfig(epochs=2, minimum_epochs=1, learning_rate=1e-2)
    >>> model = LookUpForecaster(training=short).fit(train, train.at(np.arange(122, 150)))
    >>> model.predict(train.at(np.arange(152, 190))).shape
    (38, 60)
    """

    def __init__(
        self,
        look_up: LookUpConfig | None = None,
        training: TrainingConfig | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(training or LOOK_UP_TRAINING, seed, progress)
        self.look_up = look_up or LookUpConfig()

    def _new(self, inputs: int, reference_inputs: int | None) -> LookUp:
        return LookUp(inputs, self.look_up)


def _transformer(module: lightning.LightningModule) -> PanelTransformer:
    return cast(PanelTransformer, cast(PanelModule, module).model)


def _known(block: Block) -> torch.Tensor:
    """Say where [t n] a forecast is made whose target is observed."""
    return block.observed & block.target_observed & block.decision[:, None]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice on loaders, which blocks in memory do not need, and its use of an old torch name."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)  # its banner
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PossibleUserWarning)
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        yield
    logger.setLevel(level)
