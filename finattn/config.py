"""Every number that a run depends on, as frozen dataclasses that refuse what cannot be.

`config_file` reads them from YAML with the same keys.
"""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from finattn.errors import InputError

Axis = Literal["time", "firm", "industry", "neighbours", "reference"]
AXES: tuple[Axis, ...] = get_args(Axis)
Normaliser = Literal["softmax", "sparsemax", "entmax", "sigmoid", "hardmax", "linear", "identity"]
BASELINES = ("zero", "historical_mean", "ridge", "sic_average", "sic_kernel")


_OF_FILES = (
    "layout", "values", "use", "duplicates", "infinite", "longest_gap", "thin_dates", "industries",
    "industries_columns", "industry_levels",
)  # fmt: skip


@dataclass(frozen=True)
class ReportsConfig:
    """A table of reports whose figures become features from the day on which each was known.

    Parameters
    ----------
    path : CSV or Parquet, a row a report; None for no reports.
    columns : the feature that each column of figures becomes: ``{"assets": "total_assets"}``.
    where : rows to use, by the text of a column: ``{"period_focus": "FY"}``. Figures of different kinds, such as flows
        of a quarter and of a year, must not be mixed.
    stale_after : age beyond which a figure is missing, "15M"; None for never.
    rule : which columns say when, and which row wins, by the names of `finattn.data.asof.Rule`.
    """

    path: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    stale_after: str | None = "15M"
    rule: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a table of which nothing is used."""
        given = bool(self.columns) == (self.path is not None)
        _require("data.reports.columns", self.columns, given, "given with data.reports.path and only with it")


@dataclass(frozen=True)
class DataConfig:
    """Where the panel comes from.

    Parameters
    ----------
    source : "sample" (20 S&P 500 stocks, 1990 to 2022), "file" (CSV or Parquet) or "panel" (a folder written by
        `Panel.save`).
    path : the file or folder; the sample needs none. Of source "file" also a folder of files, or a pattern such as
        "prices/*.csv".
    columns : for a file, the panel's name of each column that is called otherwise: ``{"ret": "return"}``; of a wide
        layout, the panel's name of each file.
    start, end : first and last day to use, such as "1995-01-01"; None for all there are.
    periods_per_year : rows a year of a file, 252 for daily data.
    industry_scheme, industry_as_of : what a file's industry codes are, and whether they are as known on each date.
    industry_widths : of the scheme "custom", the digits of each level from the finest to the coarsest.

    The other keys are for source "file" alone:

    layout : "long" (a row for each firm-date), "wide" (a column for each firm and a file for each variable) or
        "by_firm" (a file for each firm, called as the firm).
    values : "returns" (a column return, fractions), "adjusted_prices" (a column adjusted_price, that makes returns
        and nothing else) or "raw_prices" (columns price, split and dividend); see `finattn.data.prices`. With either
        kind of prices, `price` is the raw close and `volume`, in shares, makes dollar_volume with it.
    use : columns by the file's names that are read beside those of date and firm; all where empty.
    duplicates : "refuse" a firm-date that is there twice, or use the "last" one and count the others.
    infinite : "refuse" infinite numbers, or take them as "missing" and count them.
    longest_gap : rows without a price that a return made of prices may bridge; 0 leaves it missing.
    thin_dates : share of the usual number of firms (the median of the 21 dates before) below which a date is left
        out, as holidays on which a few symbols have rows; 0 keeps all.
    industries : a file with firm and, as there are, industry and name; with start and end, a row for each stretch of
        days. industries_columns : our names of its columns. industry_levels : its columns of words, from the coarsest
        level to the finest, that codes of the scheme "custom" are made of.
    reports : figures of reports that become features from the day on which they were known.
    """

    source: Literal["sample", "file", "panel"] = "sample"
    path: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    periods_per_year: int = 252
    industry_scheme: Literal["sic", "gics", "custom"] = "sic"
    industry_as_of: bool = False
    industry_widths: tuple[int, ...] = ()
    layout: Literal["long", "wide", "by_firm"] = "long"
    values: Literal["returns", "adjusted_prices", "raw_prices"] = "returns"
    use: tuple[str, ...] = ()
    duplicates: Literal["refuse", "last"] = "refuse"
    infinite: Literal["refuse", "missing"] = "refuse"
    longest_gap: int = 0
    thin_dates: float = 0.0
    industries: str | None = None
    industries_columns: dict[str, str] = field(default_factory=dict)
    industry_levels: tuple[str, ...] = ()
    reports: ReportsConfig = field(default_factory=ReportsConfig)

    def __post_init__(self) -> None:
        """Refuse a source without its path, and keys that do not go together."""
        if isinstance(self.reports, dict):  # as plain YAML has it
            object.__setattr__(self, "reports", ReportsConfig(**self.reports))
        if (self.path is None) != (self.source == "sample"):
            raise InputError(f"data.path must be given for source 'file' or 'panel' and only then, found {self.path!r}")
        for name, kinds in (("layout", ("long", "wide", "by_firm")), ("duplicates", ("refuse", "last")),
                            ("values", ("returns", "adjusted_prices", "raw_prices")),
                            ("infinite", ("refuse", "missing"))):  # fmt: skip
            _require(f"data.{name}", getattr(self, name), getattr(self, name) in kinds, f"one of {', '.join(kinds)}")
        _require("data.longest_gap", self.longest_gap, self.longest_gap >= 0, "at least 0")
        _require("data.thin_dates", self.thin_dates, 0 <= self.thin_dates < 1, "at least 0 and below 1")
        for item in (item for item in fields(self) if item.name in _OF_FILES and self.source != "file"):
            value, default = getattr(self, item.name), getattr(type(self), item.name, {})  # a factory's is no attribute
            _require(f"data.{item.name}", value, value == default, "left out unless source is 'file'")
        _require("data.use", self.use, not self.use or self.layout != "wide", "left out of the layout 'wide'")
        for name in ("industries_columns", "industry_levels"):
            value = getattr(self, name)
            _require(f"data.{name}", value, self.industries is not None or not value, "left out without industries")
        self._check_scheme()

    def _check_scheme(self) -> None:
        """Refuse widths and levels that do not go with the industry scheme."""
        scheme, widths, levels = self.industry_scheme, self.industry_widths, self.industry_levels
        fits = not levels or (scheme == "custom" and not widths)
        expected = "'custom', without industry_widths, where industry_levels make the codes"
        _require("data.industry_scheme", scheme, fits, expected)
        custom = self.source != "file" or levels or (scheme == "custom") == bool(widths)
        _require("data.industry_widths", widths, custom, "given with industry_scheme 'custom' and only with it")


@dataclass(frozen=True)
class TargetConfig:
    """What is forecast: the compounded return over rows (t + delay, t + delay + horizon].

    Parameters
    ----------
    horizon : rows, at least 1. delay : 0 trades at the decision's close, 1 at the next row's.
    missing_delisting_return : stands in where a firm leaves the list without a return on that row; counted.
    """

    horizon: int = 5
    delay: int = 0
    missing_delisting_return: float = 0.0

    def __post_init__(self) -> None:
        """Refuse horizons and delays that make no target."""
        _require("target.horizon", self.horizon, self.horizon >= 1, "at least 1")
        _require("target.delay", self.delay, self.delay in (0, 1), "0 or 1")
        value = self.missing_delisting_return
        _require("target.missing_delisting_return", value, -1 <= value <= 0, "between -1 and 0")


@dataclass(frozen=True)
class SplitsConfig:
    """Walk-forward folds: train, then valid, then test, each before the next.

    Parameters
    ----------
    first_test : first day of the first test window.
    test, valid, train : lengths, calendar ("4Y", "6M") or a count of rows (500); train None expands from the start.
    embargo : rows added to the gap that the target's horizon and delay need.
    decisions : dates on which forecasts are made and scored; training uses every row.
    """

    first_test: str = "2000-01-01"
    test: str | int = "4Y"
    valid: str | int = "2Y"
    train: str | int | None = None
    embargo: int = 0
    decisions: Literal["daily", "weekly", "month-end", "quarter-end"] = "weekly"

    def __post_init__(self) -> None:
        """Refuse a negative embargo; lengths are read where the dates are known."""
        _require("splits.embargo", self.embargo, self.embargo >= 0, "at least 0")


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
        for name in ("width", "heads", "lookback"):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("key_width", "value_width"):
            given = getattr(self, name)
            _require(f"model.{name}", given, given is None or given >= 1, "at least 1")
        for name in ("feed_forward", "industry_level"):
            _require(f"model.{name}", getattr(self, name), getattr(self, name) >= 0, "at least 0")
        for name, kinds in (("positions", ("rotary", "linear_bias", "none")), ("normaliser", get_args(Normaliser)),
                            ("norm", ("pre", "post", "none")), ("activation", ("gelu", "relu", "gated"))):  # fmt: skip
            _require(f"model.{name}", getattr(self, name), getattr(self, name) in kinds, f"one of {', '.join(kinds)}")
        fits = self.width % self.heads == 0 or None not in (self.key_width, self.value_width)
        _require("model.width", self.width, fits, f"divisible by model.heads = {self.heads}")
        even = self.positions != "rotary" or self.head_width % 2 == 0
        _require("model.width", self.width, even, "even in each head for rotary positions")
        _require("model.temperature", self.temperature, 0 < self.temperature < math.inf, "finite and above 0")
        _require("model.dropout", self.dropout, 0 <= self.dropout < 1, "at least 0 and below 1")
        plain = self.normaliser not in ("linear", "identity") or (
            self.positions != "linear_bias" and self.temperature == 1
        )
        _require("model.normaliser", self.normaliser, plain, "with scores where there are linear_bias or a temperature")

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
    learning_rate, weight_decay : of AdamW. threads : of the processor, set by a run (`finattn run`),
        not by a forecaster of one's own; 0 leaves torch's choice.
    """

    seeds: tuple[int, ...] = (0,)
    epochs: int = 12
    minimum_epochs: int = 4
    patience: int = 3
    smoothing: int = 3
    block: int = 250
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    threads: int = 0

    def __post_init__(self) -> None:
        """Refuse what would not train."""
        for name in ("epochs", "minimum_epochs", "patience", "smoothing", "block"):
            _require(f"training.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        fits = self.minimum_epochs <= self.epochs
        _require("training.minimum_epochs", self.minimum_epochs, fits, f"at most training.epochs = {self.epochs}")
        _require("training.learning_rate", self.learning_rate, 0 < self.learning_rate < math.inf, "finite and above 0")
        _require("training.weight_decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "finite, at least 0")
        _require("training.threads", self.threads, 0 <= self.threads <= 1024, "from 0 to 1024")
        distinct = len(set(self.seeds)) == len(self.seeds) > 0
        _require("training.seeds", self.seeds, distinct and min(self.seeds, default=-1) >= 0, "distinct, none negative")


@dataclass(frozen=True)
class BaselinesConfig:
    """What the baselines choose among, on validation rank IC, in every fold.

    Parameters
    ----------
    ridge_strengths : penalties as multiples of the number of firm-dates; ridge_lookback : rows in its flat window.
    peer_windows : k of a peer's compounded return over (t - k, t]; bandwidths : of the Gaussian kernel, in units of
        characteristics ranked to [-1, 1]. minimum_peers : a SIC level with fewer gives way to the next coarser.
    """

    ridge_strengths: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    ridge_lookback: int = 60
    peer_windows: tuple[int, ...] = (1, 5, 21, 63)
    bandwidths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    minimum_peers: int = 2

    def __post_init__(self) -> None:
        """Refuse empty and non-positive choices."""
        for name in ("ridge_strengths", "peer_windows", "bandwidths"):
            value = getattr(self, name)
            proper = bool(value) and all(0 < choice < math.inf for choice in value)
            _require(f"baselines.{name}", value, proper, "not empty, all finite and above 0")
        for name in ("ridge_lookback", "minimum_peers"):
            _require(f"baselines.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")


@dataclass(frozen=True)
class PortfolioConfig:
    """The long-short portfolio: `quantiles` of firms by score, `cost` a unit traded (0.001 is ten basis points)."""

    quantiles: int = 5
    cost: float = 0.001

    def __post_init__(self) -> None:
        """Refuse fewer than two quantiles and negative costs."""
        _require("portfolio.quantiles", self.quantiles, self.quantiles >= 2, "at least 2")
        _require("portfolio.cost", self.cost, 0 <= self.cost < 1, "at least 0 and below 1")


@dataclass(frozen=True)
class RunConfig:
    """A whole run, from source to report.

    Parameters
    ----------
    name : of the run's folder inside `out`.
    features : characteristics to build, see `finattn.features.CHARACTERISTICS`.
    forecasters : which to run, baselines by name and attention models by their key in `attention`.
    attention : axes of each attention model's blocks, bottom first.
    headline : the attention model and the baseline that the report's first sentence compares.
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

    def __post_init__(self) -> None:
        """Refuse names that lead nowhere."""
        plain = re.fullmatch(r"\w[\w.-]{0,99}", self.name)
        _require("name", self.name, plain, "a plain folder name of letters, digits, _ . and -")
        known = (*BASELINES, *self.attention)
        for name in self.forecasters:
            _require("forecasters", name, name in known, f"among {', '.join(known)}")
        distinct = len(set(self.forecasters)) == len(self.forecasters) > 0
        _require("forecasters", self.forecasters, distinct, "distinct and not empty")
        for name, axes in self.attention.items():
            proper = bool(axes) and set(axes) <= {"time", "firm", "industry"} and name not in BASELINES
            expected = "a list of 'time', 'firm' and 'industry' under a name no baseline has"
            _require(f"attention.{name}", axes, proper, expected)
            _require("attention", name, name.isidentifier(), "named by letters, digits and underscores")
            positions, fits = self.model.positions, "time" not in axes or self.model.relative
            _require("model.positions", positions, fits, "'none' for blocks along time with normaliser 'linear'")

        for pair in ("headline", "primary"):
            for name in getattr(self, pair):
                _require(pair, name, name in known, f"a pair among {', '.join(known)} (give headline and primary both)")
            _require(pair, getattr(self, pair), len(set(getattr(self, pair))) == 2, "two different forecasters")

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


def _require(key: str, value: Any, condition: object, expected: str) -> None:
    if not condition:
        raise InputError(f"{key} must be {expected}, found {value!r}")
