"""What is true of a simulated panel: the oracle's forecasts, their parts, and the weights that were planted."""

from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from finattn.errors import InputError
from finattn.panel import Panel

Floats = np.ndarray
Kind = TypeVar("Kind", bound="Truth")


@dataclass(frozen=True, eq=False, repr=False)
class Truth:
    """What is true of a simulated panel; arrays are read-only.

    Parameters
    ----------
    oracle : (t, n) expectation of the return over (dates[t], dates[t+1]] given what the panel shows up to row t, a
        fraction: the best forecast at horizon 1, delay 0. NaN where the firm is not observed at t.
    parts : the parts (t, n) by name; they add up to the oracle.
    relevant : names of the features that each part depends on.
    r2 : the oracle's R² on this panel, see `oracle_r2`. Nothing is fitted, so it is out of sample.
    clipped : how many returns were raised to the floor that keeps them above −1.

    Examples
    --------
    >>> import finattn as fa
    >>> panel, truth = fa.simulate(firms=60, days=250, r2=0.05)
    >>> list(truth.parts), truth.relevant["peers"][:2]
    (['linear', 'nonlinear', 'lags', 'peers'], ('product_1', 'product_2'))
    >>> from finattn.metrics import rank_information_coefficient
    >>> skill = rank_information_coefficient(truth.oracle[:-1], panel.returns[1:])  # the best to be had
    >>> round(float(skill.mean()), 2), round(truth.r2, 2)
    (0.23, 0.05)
    """

    oracle: Floats
    parts: dict[str, Floats]
    relevant: dict[str, tuple[str, ...]]
    r2: float
    clipped: int

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for value in (*(getattr(self, item.name) for item in fields(self)), *self.parts.values()):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __repr__(self) -> str:
        """Say what it holds."""
        return f"{type(self).__name__}(r2={self.r2:.4f}, parts {list(self.parts)})"


@dataclass(frozen=True, eq=False, repr=False)
class Planted(Truth):
    """The truth of `simulate`, all that `Truth.oracle` follows from.

    With z_i the features (f,) of firm i at t, a missing one 0, and r_i its return at t, 0 where it is not observed:

    - linear = Σ_f linear_weights_f z_if
    - nonlinear = nonlinear_weight (a b + (a² − 1) / √2), a and b the two features so called; (a² − 1) is 0 without a
    - lags = Σ_l lag_weights_l r_i,t−l
    - peers = peer_slope Σ_j A_ij r_j, A_i the softmax over the k highest z_i W_Q W_Kᵀ z_jᵀ among j ≠ i observed at t

    Parameters
    ----------
    linear_weights : (f,). nonlinear_weight, peer_slope : the factors above.
    lag_weights : (l,), entry l for the return l rows back, from 0 (row t itself) to the longest planted lag.
    peers : (t, n, k) columns of a firm's peers, the heaviest first, −1 where there is none.
    peer_weights : (t, n, k) A, 0 where there is none; a row sums to 1, or to 0 where the firm is not observed.
    query_map, key_map : (f, p) W_Q and W_K.
    cross_industry : realised share of the edges that cross two-digit SIC groups.

    Examples
    --------
    >>> import finattn as fa
    >>> panel, truth = fa.simulate(firms=60, days=30)
    >>> panel.firms[truth.peers[3, 0]].tolist(), truth.peer_weights[3, 0].astype(float).round(2).tolist()
    (['S00035', 'S00027', 'S00036', 'S00040', 'S00052'], [0.69, 0.16, 0.14, 0.0, 0.0])
    >>> round(truth.cross_industry, 1)
    0.8
    """

    linear_weights: Floats
    nonlinear_weight: float
    lag_weights: Floats
    peer_slope: float
    peers: Floats
    peer_weights: Floats
    query_map: Floats
    key_map: Floats
    cross_industry: float

    def dense(self, rows: Any) -> Floats:
        """Return A (len(rows), n, n) on some rows (positions or a slice): row i holds the weights of i's peers.

        Examples
        --------
        >>> from finattn.data import simulate
        >>> simulate(firms=60, days=30).truth.dense([3, 7]).shape
        (2, 60, 60)
        """
        peers, weights = self.peers[rows], self.peer_weights[rows]
        if peers.ndim != 3:
            raise InputError(f"rows must be positions or a slice, found {rows!r}")
        result = np.zeros((*peers.shape[:2], peers.shape[1]))
        row, firm, place = np.nonzero(peers >= 0)
        result[row, firm, peers[row, firm, place]] = weights[row, firm, place]
        return result


class Simulated(NamedTuple, Generic[Kind]):
    """A simulated panel and what is true of it.

    Examples
    --------
    >>> import finattn as fa
    >>> panel, truth = fa.simulate(firms=60, days=30)
    >>> panel.shape, truth.oracle.shape, truth
    ((30, 60), (30, 60), Planted(r2=0.0019, parts ['linear', 'nonlinear', 'lags', 'peers']))
    """

    panel: Panel
    truth: Kind


def oracle_r2(oracle: Floats, returns: Floats) -> float:
    """Return 1 − Σ(r_t+1 − oracle_t)² / Σ r_t+1², pooled over firm-dates (t, n) that have both; NaN without any.

    Examples
    --------
    >>> oracle_r2(np.array([[0.5, 0.0], [0.0, 0.0]]), np.array([[9.0, 9.0], [1.0, 2.0]]))
    0.15000000000000002
    """
    both = np.isfinite(oracle[:-1]) & np.isfinite(returns[1:])
    forecast, realised = oracle[:-1][both], returns[1:][both]
    total = (realised**2).sum()
    return float(1 - ((realised - forecast) ** 2).sum() / total) if total else float("nan")
