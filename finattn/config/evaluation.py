"""What is forecast and when, against which baselines, and what is made of it."""

import math
from dataclasses import dataclass, fields
from typing import Literal

from finattn.config.require import require, require_types

BASELINES = ("zero", "historical_mean", "ridge", "sic_average", "sic_kernel")
# Forecasters that a run has where it names them; the last two are trained as attention is.
OTHERS = ("momentum", "elastic_net", "boosting", "kernel_regression", "look_up", "lstm")


@dataclass(frozen=True)
class TargetConfig:
    """What is forecast: the compounded return over rows (t + delay, t + delay + horizon].

    Parameters
    ----------
    horizon : rows, at least 1. delay : 0 trades at the decision's close, 1 at the next row's.
    missing_delisting_return : stands in where a firm leaves the list without a return on that row; counted.

    Examples
    --------
    >>> TargetConfig(horizon=21, delay=1)  # decided at a close, bought at the next, held for 21 rows
    TargetConfig(horizon=21, delay=1, missing_delisting_return=0.0)
    """

    horizon: int = 5
    delay: int = 0
    missing_delisting_return: float = 0.0

    def __post_init__(self) -> None:
        """Refuse horizons and delays that make no target."""
        require_types(self, "target.")
        require("target.horizon", self.horizon, self.horizon >= 1, "at least 1")
        require("target.delay", self.delay, self.delay in (0, 1), "0 or 1")
        value = self.missing_delisting_return
        require("target.missing_delisting_return", value, -1 <= value <= 0, "between -1 and 0")


@dataclass(frozen=True)
class SplitsConfig:
    """Walk-forward folds: train, then valid, then test, each before the next.

    Parameters
    ----------
    first_test : first day of the first test window.
    test, valid, train : lengths, calendar ("4Y", "6M") or a count of rows (500); train None expands from the start.
    embargo : rows added to the gap that the target's horizon and delay need.
    decisions : dates on which forecasts are made and scored; training and validation are not bound to them.
    train_every : rows from one that is trained on to the next; validation uses every row. With a target of many rows
        labels overlap: every fifth row costs a fifth and gives up little.

    Raises
    ------
    InputError
        For a negative embargo or a step of no row; for the rest, see `finattn.splits.WalkForward`.

    Examples
    --------
    >>> from dataclasses import asdict
    >>> import numpy as np
    >>> import finattn as fa
    >>> from finattn.config import SplitsConfig
    >>> splits = SplitsConfig("2015-01-01", test="2Y", valid="1Y", decisions="month-end")
    >>> days = np.arange("2010-01-01", "2019-01-01", dtype="datetime64[D]")
    >>> [len(fold.test) for fold in fa.WalkForward(**asdict(splits), horizon=21).split(days)]
    [24, 24]
    """

    first_test: str = "2000-01-01"
    test: str | int = "4Y"
    valid: str | int = "2Y"
    train: str | int | None = None
    embargo: int = 0
    decisions: Literal["daily", "weekly", "month-end", "quarter-end"] = "weekly"
    train_every: int = 1

    def __post_init__(self) -> None:
        """Refuse a negative embargo and steps of no row; lengths are read where the dates are known."""
        require_types(self, "splits.", skip=("first_test",))
        require("splits.embargo", self.embargo, self.embargo >= 0, "at least 0")
        require("splits.train_every", self.train_every, self.train_every >= 1, "at least 1")


@dataclass(frozen=True)
class BaselinesConfig:
    """What the baselines choose among, on validation rank IC, in every fold.

    Parameters
    ----------
    ridge_strengths : penalties as multiples of the number of firm-dates; ridge_lookback : rows in its flat window.
    peer_windows : k of a peer's compounded return over (t - k, t]; look_up_windows : those that the look-up has side by
        side. bandwidths : of the Gaussian kernel, in units of characteristics ranked to [-1, 1]. minimum_peers : a SIC
        level with fewer gives way to the next coarser.
    momentum_windows : k of a firm's own compounded return.
    elastic_net_strengths : shares of the penalty at which all coefficients are zero; elastic_net_ratios : of its
        absolute part.
    boosting_rates, boosting_leaves : learning rates, and leaves of a tree.

    Raises
    ------
    InputError
        For no choice, and one that is not above 0.

    Examples
    --------
    >>> from finattn.config import BaselinesConfig, RunConfig
    >>> from finattn.ladder import standard
    >>> config = RunConfig(baselines=BaselinesConfig(momentum_windows=(21, 252)))
    >>> next(rung.trials for rung in standard(config) if rung.name == "momentum")
    ({'window': 21}, {'window': 252})
    """

    ridge_strengths: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    ridge_lookback: int = 60
    peer_windows: tuple[int, ...] = (1, 5, 21, 63)
    look_up_windows: tuple[int, ...] = (1, 5, 21)
    bandwidths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    minimum_peers: int = 2
    momentum_windows: tuple[int, ...] = (1, 5, 21, 252)
    elastic_net_strengths: tuple[float, ...] = (0.03, 0.3)
    elastic_net_ratios: tuple[float, ...] = (0.1, 0.9)
    boosting_rates: tuple[float, ...] = (0.03, 0.1)
    boosting_leaves: tuple[int, ...] = (4, 16)

    def __post_init__(self) -> None:
        """Refuse empty and non-positive choices."""
        require_types(self, "baselines.")
        for item in fields(self):
            if isinstance(value := getattr(self, item.name), tuple | list):
                proper = bool(value) and all(0 < choice < math.inf for choice in value)
                require(f"baselines.{item.name}", value, proper, "not empty, all finite and above 0")
        for name in ("ridge_lookback", "minimum_peers"):
            require(f"baselines.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")


@dataclass(frozen=True)
class PortfolioConfig:
    """The long-short portfolio of a run, see `finattn.evaluation.portfolio`.

    Parameters
    ----------
    quantiles : of firms by score, of which the highest is bought and the lowest sold; at least 2.
    cost : of a unit traded, a fraction: 0.001 is ten basis points.

    Raises
    ------
    InputError
        For fewer than two quantiles and a cost out of its range.

    Examples
    --------
    >>> from finattn.config import PortfolioConfig
    >>> PortfolioConfig(quantiles=10, cost=0.0005)
    PortfolioConfig(quantiles=10, cost=0.0005)
    >>> PortfolioConfig(cost=5)  # basis points
    Traceback (most recent call last):
    finattn.errors.InputError: portfolio.cost must be at least 0 and below 1, found 5
    """

    quantiles: int = 5
    cost: float = 0.001

    def __post_init__(self) -> None:
        """Refuse fewer than two quantiles and negative costs."""
        require_types(self, "portfolio.")
        require("portfolio.quantiles", self.quantiles, self.quantiles >= 2, "at least 2")
        require("portfolio.cost", self.cost, 0 <= self.cost < 1, "at least 0 and below 1")
