"""The attention models and how they are trained."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from finattn.config.require import require, require_types

Axis = Literal["time", "firm", "industry", "neighbours", "reference"]
AXES: tuple[Axis, ...] = get_args(Axis)
Normaliser = Literal["softmax", "sparsemax", "entmax", "sigmoid", "hardmax", "linear", "identity"]


@dataclass(frozen=True)
class ModelConfig:
    """The panel transformer's size and kind; which axes its blocks attend along is `RunConfig.attention`.

    Parameters
    ----------
    width : of each token. heads : must divide it. key_width, value_width : of each head, by default width / heads.
    feed_forward : width of the hidden layer after attention; 0 leaves it out.
    lookback : rows that a time block sees, its own included.
    positions : of days within a time block, relative ones: "rotary", "linear_bias" (ALiBi) or "none"; "none" with
        normaliser "linear".
    normaliser : of scores to weights: "softmax", "sparsemax", "entmax" (1.5), "sigmoid", "hardmax"; "linear" (positive
        feature map) and "identity" (linear transformer) need memory proportional to the firms, not to their square.
    temperature : divides the scores. tied : W_Q = W_K, so that scores have no direction.
    own_firm : whether a firm may attend to itself along firms.
    industry_level : of blocks along "industry", 0 the finest.
    norm : before each sublayer ("pre"), after it ("post"), or "none". residual : whether a sublayer adds to its input.
    activation : of the feed-forward layer: "gelu" (exact), "relu", or "gated" (GELU of one half times the other).
    dropout : share of activations dropped in training.

    Examples
    --------
    >>> ModelConfig(width=64, heads=4).head_width
    16
    """

    width: int = 32
    heads: int = 2
    key_width: int | None = None
    value_width: int | None = None
    feed_forward: int = 64
    lookback: int = 60
    positions: Literal["rotary", "linear_bias", "none"] = "rotary"
    normaliser: Normaliser = "softmax"
    temperature: float = 1.0
    tied: bool = False
    own_firm: bool = True
    industry_level: int = 0
    norm: Literal["pre", "post", "none"] = "pre"
    residual: bool = True
    activation: Literal["gelu", "relu", "gated"] = "gelu"
    dropout: float = 0.3

    def __post_init__(self) -> None:
        """Refuse sizes that do not fit together."""
        require_types(self, "model.")
        for name in ("width", "heads", "lookback"):
            require(f"model.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("key_width", "value_width"):
            given = getattr(self, name)
            require(f"model.{name}", given, given is None or given >= 1, "at least 1")
        for name in ("feed_forward", "industry_level"):
            require(f"model.{name}", getattr(self, name), getattr(self, name) >= 0, "at least 0")
        fits = self.width % self.heads == 0 or None not in (self.key_width, self.value_width)
        require("model.width", self.width, fits, f"divisible by model.heads = {self.heads}")
        even = self.positions != "rotary" or self.head_width % 2 == 0
        require("model.width", self.width, even, "even in each head for rotary positions")
        require("model.temperature", self.temperature, 0 < self.temperature < math.inf, "finite and above 0")
        require("model.dropout", self.dropout, 0 <= self.dropout < 1, "at least 0 and below 1")
        plain = self.normaliser not in ("linear", "identity") or (
            self.positions != "linear_bias" and self.temperature == 1
        )
        require("model.normaliser", self.normaliser, plain, "with scores where there are linear_bias or a temperature")

    @property
    def relative(self) -> bool:
        """Whether scores along time depend on the distance of days alone, so that a block may begin anywhere."""
        return (self.normaliser, self.positions) != ("linear", "rotary")

    @property
    def head_width(self) -> int:
        """Width of a head's queries and keys."""
        return self.key_width or self.width // self.heads


@dataclass(frozen=True)
class TrainingConfig:
    """How the attention models are trained.

    Parameters
    ----------
    seeds : one fit each; their forecasts are averaged (a forecaster of one's own has one seed).
    block : scored rows of a training block.
    epochs, minimum_epochs, patience : early stopping on the validation rank IC, averaged over `smoothing` epochs:
        `patience` epochs without a better one, counted from `minimum_epochs` on.
    learning_rate, weight_decay : of AdamW. schedule : of the rate: "constant", or "cosine", which falls to zero over
        all `epochs` along half a cosine (Loshchilov and Hutter 2017): the noise of the last steps goes.
    starts : fits from so many draws of the first parameters, of which the best by validation rank IC stays: a small
        look-up finds nothing from a start now and then.
    cut : deviations of its date at which a training target is cut, by default nowhere: fat tails are noise.
    without_factors : whether training targets are less what the firm's loadings on the panel's factors explain.
        Validation and evaluation take returns as they are.
    threads : of the processor, set by a run (`finattn run`), not by a forecaster of one's own; 0 leaves torch's choice.

    Examples
    --------
    >>> TrainingConfig(epochs=6, schedule="cosine", starts=4).learning_rate
    0.001
    """

    seeds: tuple[int, ...] = (0,)
    epochs: int = 12
    minimum_epochs: int = 4
    patience: int = 3
    smoothing: int = 3
    block: int = 250
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine"] = "constant"
    starts: int = 1
    cut: float | None = None
    without_factors: bool = False
    threads: int = 0

    def __post_init__(self) -> None:
        """Refuse what would not train."""
        require_types(self, "training.")
        for name in ("epochs", "minimum_epochs", "patience", "smoothing", "block", "starts"):
            require(f"training.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        fits = self.minimum_epochs <= self.epochs
        require("training.minimum_epochs", self.minimum_epochs, fits, f"at most training.epochs = {self.epochs}")
        require("training.learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "finite and above 0")
        require("training.weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "finite, at least 0")
        cuts = self.cut is None or 0 < self.cut < math.inf
        require("training.cut", self.cut, cuts, "finite and above 0, or left out")
        require("training.threads", self.threads, 0 <= self.threads <= 1024, "from 0 to 1024")
        distinct = len(set(self.seeds)) == len(self.seeds) > 0
        require("training.seeds", self.seeds, distinct and min(self.seeds, default=-1) >= 0, "distinct, none negative")
