"""A simulated panel as a source."""

from dataclasses import dataclass, field
from typing import Any, Literal

from finattn.config.require import require, require_types

Kind = Literal["daily", "quarterly"]
_MOST = 10**9  # firm-days
_DAYS = 252  # a year
# The kind that a key is for; a key that is not here is for both.
_ONLY_FOR: dict[str, Kind] = {"days": "daily", "design": "daily", "years": "quarterly", "peers_of_peers": "quarterly"}


@dataclass(frozen=True)
class SimulatedConfig:
    """What `finattn.data.simulate` or `finattn.data.simulate_quarterly` is called with.

    Parameters
    ----------
    kind : "daily" forecasts of the next day, or "quarterly" reports and forecasts of the next quarter.
    firms : n. r2 : the oracle's pooled R², of days or of quarters. seed : of all random numbers.
    cross_industry : share of edges (daily) or of sectors (quarterly) that cross industries.
    days : t, daily only. design : everything else, daily only, by the names of `finattn.data.Design`.
    years : calendar years, quarterly only. peers_of_peers : their share of what a firm hears, quarterly only.

    Examples
    --------
    >>> SimulatedConfig(firms=60, design={"peers": 3}).design["peers"]
    3
    """

    kind: Kind = "daily"
    firms: int = 200
    days: int = 2000
    years: int = 20
    r2: float = 0.02
    cross_industry: float = 0.8
    peers_of_peers: float = 0.0
    seed: int = 0
    design: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sizes that are none; what goes together is known where it is simulated."""
        require_types(self, "data.simulated.")
        for name, kind in _ONLY_FOR.items():
            default = {} if name == "design" else getattr(type(self), name)
            fits = self.kind == kind or getattr(self, name) == default
            require(f"data.simulated.{name}", getattr(self, name), fits, f"left out unless kind is {kind!r}")
        for name in ("firms", "days", "years"):
            require(f"data.simulated.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        days = self.days if self.kind == "daily" else self.years * _DAYS
        fits = self.firms * days <= _MOST
        require("data.simulated.firms", self.firms, fits, f"such that firms x days is at most {_MOST}")
