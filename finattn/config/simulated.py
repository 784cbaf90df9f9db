"""A simulated panel as a source."""

from dataclasses import dataclass, field
from typing import Any

from finattn.config.require import require, require_types

_MOST = 10**9  # firm-days


@dataclass(frozen=True)
class SimulatedConfig:
    """What `finattn.data.simulate` is called with.

    Parameters
    ----------
    firms, days : n and t. r2 : the oracle's pooled R². cross_industry : share of edges that cross industries.
    seed : of all random numbers. design : everything else, by the names of `finattn.data.Design`.

    Examples
    --------
    >>> SimulatedConfig(firms=60, design={"peers": 3}).design["peers"]
    3
    """

    firms: int = 200
    days: int = 2000
    r2: float = 0.02
    cross_industry: float = 0.8
    seed: int = 0
    design: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sizes that are none; what goes together is known where it is simulated."""
        require_types(self, "data.simulated.")
        for name in ("firms", "days"):
            require(f"data.simulated.{name}", getattr(self, name), getattr(self, name) >= 1, "at least 1")
        fits = self.firms * self.days <= _MOST
        require("data.simulated.firms", self.firms, fits, f"such that firms x days is at most {_MOST}")
