"""A whole run."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from finattn.config.data import DataConfig
from finattn.config.evaluation import BASELINES, OTHERS, BaselinesConfig, PortfolioConfig, SplitsConfig, TargetConfig
from finattn.config.ladder import LadderConfig
from finattn.config.model import Axis, ModelConfig, TrainingConfig
from finattn.config.require import nest, require, require_types


def standing(pair: tuple[str, str], run: Sequence[str]) -> tuple[str, str]:
    """Return a model and what it is set against, each replaced, where it was not run, by one that was, by kind alone.

    The first attention model, else the look-up or the LSTM, stands for the one; ridge, else the last baseline for the
    other. Where there is none the name stays.

    Examples
    --------
    >>> standing(("both", "ridge"), ["zero", "sic_kernel", "look_up", "firm"])
    ('firm', 'sic_kernel')
    """
    model, against = pair
    if model not in run:
        attend = [name for name in run if name not in (*BASELINES, *OTHERS)]
        model = next(iter([*attend, *(name for name in OTHERS[-2:] if name in run)]), model)
    if against not in run:
        plain = [name for name in ("ridge", *BASELINES[::-1], *OTHERS) if name in run and name != model]
        against = next(iter(plain), against)
    return model, against


@dataclass(frozen=True)
class RunConfig:
    """A whole run, from source to report.

    Parameters
    ----------
    name : of the run's folder inside `out`.
    features : characteristics to build, see `finattn.features.CHARACTERISTICS`, or columns of the panel to rank.
    forecasters : which to run, baselines by name and attention models by their key in `attention`.
    attention : axes of each attention model's blocks, bottom first.
    headline : the attention model and the baseline that the report's first sentence compares; see `standing` where one
        of them is not run.
    primary : the one comparison that can be called a claim: the first one's per-date rank IC minus the second's,
        one-sided. Both pairs are declared before the run.

    Examples
    --------
    >>> RunConfig(target=TargetConfig(horizon=21)).target.horizon
    21
    """

    name: str = "sp500"
    out: str = "runs"
    data: DataConfig = field(default_factory=DataConfig)
    features: tuple[str, ...] = (
        "momentum", "reversal", "volatility", "beta", "idiosyncratic_volatility", "maximum_return", "drawdown",
    )  # fmt: skip
    target: TargetConfig = field(default_factory=TargetConfig)
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    forecasters: tuple[str, ...] = (*BASELINES, "time", "firm", "both")
    attention: dict[str, tuple[Axis, ...]] = field(
        default_factory=lambda: {"time": ("time", "time"), "firm": ("firm", "firm"), "both": ("time", "firm")}
    )
    headline: tuple[str, str] = ("both", "ridge")
    primary: tuple[str, str] = ("firm", "sic_kernel")
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    baselines: BaselinesConfig = field(default_factory=BaselinesConfig)
    portfolio: PortfolioConfig = field(default_factory=PortfolioConfig)
    ladder: LadderConfig = field(default_factory=LadderConfig)

    def __post_init__(self) -> None:
        """Refuse names that lead nowhere."""
        nest(self)
        require_types(self, skip=("attention",))  # fewer axes than a model of one's own can have
        require("attention", self.attention, isinstance(self.attention, dict), "a mapping of names to lists of axes")
        plain = re.fullmatch(r"\w[\w.-]{0,99}", self.name)
        require("name", self.name, plain, "a plain folder name of letters, digits, _ . and -")
        require("name", self.name, self.name != "ledger", "another: that is the folder of the ledger of all runs")
        known = (*BASELINES, *OTHERS, *self.attention)
        for name in self.forecasters:
            require("forecasters", name, name in known, f"among {', '.join(known)}")
        distinct = len(set(self.forecasters)) == len(self.forecasters) > 0
        require("forecasters", self.forecasters, distinct, "distinct and not empty")
        for name, axes in self.attention.items():
            listed = isinstance(axes, list | tuple) and bool(axes)
            proper = listed and set(axes) <= {"time", "firm", "industry"} and name not in (*BASELINES, *OTHERS)
            expected = "a list of 'time', 'firm' and 'industry' under a name no baseline has"
            require(f"attention.{name}", axes, proper, expected)
            require("attention", name, name.isidentifier(), "named by letters, digits and underscores")
            positions, fits = self.model.positions, "time" not in axes or self.model.relative
            require("model.positions", positions, fits, "'none' for blocks along time with normaliser 'linear'")

        for pair in ("headline", "primary"):
            for name in getattr(self, pair):
                require(pair, name, name in known, f"a pair among {', '.join(known)} (give headline and primary both)")
            require(pair, getattr(self, pair), len(set(getattr(self, pair))) == 2, "two different forecasters")

    @property
    def folder(self) -> Path:
        """Where the run's files lie."""
        return Path(self.out) / self.name

    @property
    def content(self) -> dict[str, Any]:
        """All that changes results, as JSON holds it: everything but the run's name and place."""
        return json.loads(json.dumps({k: v for k, v in asdict(self).items() if k not in ("name", "out")}))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()
