"""The settings of a simulated panel."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finattn.errors import InputError

PARTS = ("linear", "nonlinear", "lags", "peers")
# Two-digit SIC groups that firms can be in.
GROUPS = (13, 20, 28, 33, 35, 36, 37, 38, 48, 49, 50, 53, 58, 60, 63, 67, 73, 80, 82, 87)
_APART = 1.0  # half the distance of neighbouring industries, in radii of the sphere on which firms lie about each


@dataclass(frozen=True)
class Design:
    """How a panel is simulated, beyond its size and the strength of its signal.

    Parameters
    ----------
    shares : of the signal's variance, by part (linear, nonlinear, lags, peers); relative, and 0 for one left out.
    peers : k, how many peers a firm has. peer_width : numbers that say where a firm lies within its industry, from 2.
    sharpness : how far apart scores are: that of the farthest firm of an industry is 2 × sharpness below the nearest.
    lags : planted lags in rows back, 0 = the last known return. lag_weights : theirs, relative.
    industries : two-digit SIC groups, from 2 to 20.
    linear_features, noise_features : characteristics with a linear effect, and with none.
    persistence : a characteristic's autocorrelation from row to row.
    volatility : standard deviation of a row's return, a fraction. tails : degrees of freedom of Student's t for a
        firm's own noise. factors : how many are common; factor_share : theirs of the noise's variance.
    late_listings, delistings : shares of firms that list within the first half, and that leave for good in the second.
    missing_returns, missing_features : shares of listed firm-days, and of characteristics' values on them.

    Raises
    ------
    InputError
        For a setting out of its range.

    Examples
    --------
    >>> Design(shares={"peers": 1.0}, peers=3).feature_names[-1]
    'noise_4'
    """

    shares: Mapping[str, float] = field(
        default_factory=lambda: {"linear": 0.2, "nonlinear": 0.1, "lags": 0.2, "peers": 0.5}
    )
    peers: int = 5
    peer_width: int = 3
    sharpness: float = 6.0
    lags: tuple[int, ...] = (0, 4, 20)
    lag_weights: tuple[float, ...] = (-1.0, 0.7, 0.5)
    industries: int = 8
    linear_features: int = 2
    noise_features: int = 4
    persistence: float = 0.995
    volatility: float = 0.02
    tails: float = 4.0
    factors: int = 3
    factor_share: float = 0.2
    late_listings: float = 0.1
    delistings: float = 0.1
    missing_returns: float = 0.01
    missing_features: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        for name, least in (("peers", 1), ("peer_width", 2), ("linear_features", 1), ("noise_features", 0),
                            ("factors", 1), ("industries", 2)):  # fmt: skip
            require_whole(name, getattr(self, name), least)
        for name in ("persistence", "factor_share", "missing_returns", "missing_features"):
            require(name, getattr(self, name), 0 <= getattr(self, name) < 1, "at least 0 and below 1")
        for name in ("late_listings", "delistings"):
            require(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "from 0 to 1")
        require("sharpness", self.sharpness, 0 < self.sharpness < math.inf, "finite and above 0")
        require("volatility", self.volatility, 0 < self.volatility <= 0.2, "a fraction above 0 and at most 0.2")
        require("tails", self.tails, 2 < self.tails < math.inf, "finite and above 2")
        require("industries", self.industries, self.industries <= len(GROUPS), f"at most {len(GROUPS)}")
        self._check_parts()

    def _check_parts(self) -> None:
        unknown = [name for name in self.shares if name not in PARTS]
        require("shares", unknown, not unknown, f"those of {', '.join(PARTS)}")
        shares = list(self.shares.values())
        proper = all(0 <= share < math.inf for share in shares) and any(shares)
        require("shares", dict(self.shares), proper, "finite, at least 0 and not all 0")
        require("lags", self.lags, self.lags and sorted(set(self.lags)) == list(self.lags), "increasing, at least one")
        for lag in self.lags:
            require_whole("lags", lag, 0)
        proper = len(self.lag_weights) == len(self.lags) and all(math.isfinite(w) and w for w in self.lag_weights)
        require("lag_weights", self.lag_weights, proper, f"finite, not 0, one for each of {len(self.lags)} lags")

    @property
    def corners(self) -> np.ndarray:
        """Where industries lie (g, d): corners of a cube, of as few dimensions as it takes."""
        bits = (np.arange(self.industries)[:, None] >> np.arange((self.industries - 1).bit_length())) & 1
        return _APART * (2.0 * bits - 1)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the characteristics, by what they do."""
        width = self.corners.shape[1] + self.peer_width
        counts = {"product": width, "exposure": width, "linear": self.linear_features,
                  "nonlinear": 2, "noise": self.noise_features}  # fmt: skip
        return tuple(f"{name}_{place + 1}" for name, count in counts.items() for place in range(count))

    def columns(self, name: str) -> list[int]:
        """Return the places of the characteristics of a kind."""
        return [place for place, other in enumerate(self.feature_names) if other.rsplit("_", 1)[0] == name]


def require(name: str, value: Any, condition: object, expected: str) -> None:
    """Refuse a setting that is not as expected."""
    if not condition:
        raise InputError(f"{name} must be {expected}, found {value!r}")


def require_whole(name: str, value: Any, least: int) -> None:
    """Refuse a setting that is no whole number of at least so much."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(name, value, whole and value >= least, f"a whole number of at least {least}")
