"""The simulation design of Gu, Kelly and Xiu (2020)."""

import math
from typing import Literal, get_args

import numpy as np

from finattn.data.design import require, require_whole
from finattn.data.truth import Floats, Simulated, Truth, oracle_r2
from finattn.panel import Panel

FLOOR = -0.99  # no simulated return is lower
Model = Literal["a", "b"]
_WEIGHTS = {"a": (0.02, 0.02, 0.02), "b": (0.04, 0.03, 0.012)}
# The terms of g, and the features that each depends on.
_TERMS: dict[str, dict[str, tuple[str, ...]]] = {
    "a": {"c1": ("c1",), "c2": ("c2",), "c3 x": ("x_c3",)},
    "b": {"c1 squared": ("c1",), "c1 c2": ("c1", "c2"), "sign of c3 x": ("x_c3",)},
}


def gu_kelly_xiu(
    model: Model = "a", characteristics: int = 50, firms: int = 200, months: int = 180, seed: int = 0
) -> Simulated[Truth]:
    """Simulate a monthly panel after Gu, Kelly and Xiu (2020, RFS 33(5), internet appendix, "Monte Carlo Simulations").

    r_i,t+1 = g(z_i,t) + c_i,t v_t+1 + ε_i,t+1, with z = (1, x)' ⊗ c, c_i,t = (c_i1, c_i2, c_i3) as loadings, and

    - (a) g = 0.02 c1 + 0.02 c2 + 0.02 c3 x
    - (b) g = 0.04 c1² + 0.03 c1 c2 + 0.012 sgn(c3 x)
    - c_ij,t = 2 / (n + 1) rank(c̄_ij,t) − 1 across firms, c̄_ij,t = ρ_j c̄_ij,t−1 + N(0, 1 − ρ_j²), ρ_j ~ U[0.9, 1]
    - x_t = 0.95 x_t−1 + u_t, u ~ N(0, 1 − 0.95²), v ~ N(0, 0.05² I_3), ε ~ 0.05 t_5

    *From the appendix's text*: the formulas above with 0.95 and the distributions of u, v and ε, 200 firms, 180 months,
    50 and 100 characteristics; θ such that "the cross-sectional R² is 50%, and the predictive R² is 5%"; training,
    validation and testing on consecutive thirds. *From the authors' own code* (`DGP.m`): 0.05 is the scale of ε, not
    its standard deviation, and x and c̄ begin in their stationary distributions, as here. *Not known*: what the
    cross-sectional R² is of.

    Over seeds, (a) and (b) have a volatility of 29% a year and an oracle's R² of 5% in excess of the mean return, which
    is zero in (a); in (b) it is not, and the R² against zero, `Truth.r2`, is 8%. With standard deviation 0.05 these
    would be 25%, 7% and 10%. Average g explains 66% and 48% of the variance across firms of average returns.

    Parameters
    ----------
    model : "a" or "b". characteristics : j, at least 3. firms, months : n and t. seed : of all random numbers.

    Returns
    -------
    Simulated(panel, truth): features are z, c1 to cj and then x_c1 to x_cj, all 2j of them, to be used as they are (a
    rank across firms would lose the size of x); factors are v. Row t's return is that of month t, and
    `truth.oracle[t]` forecasts row t + 1. Returns below −0.99 are raised to it; about one panel in ten has one.

    Raises
    ------
    InputError
        For an unknown model, and for numbers too small.

    Examples
    --------
    >>> panel, truth = gu_kelly_xiu("b", firms=20, months=24)
    >>> panel.shape, len(panel.feature_names), list(truth.parts)
    ((24, 20), 100, ['c1 squared', 'c1 c2', 'sign of c3 x'])
    """
    require("model", model, model in get_args(Model), "'a' or 'b'")
    for name, value, least in (("characteristics", characteristics, 3), ("firms", firms, 2), ("months", months, 2),
                               ("seed", seed, 0)):  # fmt: skip
        require_whole(name, value, least)
    random = np.random.default_rng(seed)
    ranks, macro = _ranks(random, months + 1, firms, characteristics), _macro(random, months + 1)
    parts = _parts(model, ranks, macro)
    factors = 0.05 * random.standard_normal((months, 3))
    noise = np.einsum("tnk,tk->tn", ranks[:-1, :, :3], factors) + 0.05 * random.standard_t(5, (months, firms))
    returns = np.maximum(sum(part[:-1] for part in parts.values()) + noise, FLOOR)
    # One month more than asked for: the first gives the first row's return its forecast, and is cut off.
    parts = {name: part[1:].copy() for name, part in parts.items()}
    oracle = sum(parts.values(), np.zeros((months, firms)))
    settings: dict[str, str | int] = {"model": model, "characteristics": characteristics, "firms": firms}
    settings |= {"months": months, "seed": seed}
    panel = _panel(returns, ranks[1:], macro[1:], factors, settings)
    truth = Truth(oracle, parts, dict(_TERMS[model]), oracle_r2(oracle, panel.returns), int((returns <= FLOOR).sum()))
    return Simulated(panel, truth)


def _ranks(random: np.random.Generator, months: int, firms: int, characteristics: int) -> Floats:
    """Return characteristics (t, n, j), each date's ranks across firms, in (−1, 1)."""
    persistence = random.uniform(0.9, 1, characteristics)
    latent = random.standard_normal((months, firms, characteristics))
    latent[1:] *= np.sqrt(1 - persistence**2)
    for row in range(1, months):
        latent[row] += persistence * latent[row - 1]
    return 2 / (firms + 1) * (latent.argsort(axis=1).argsort(axis=1) + 1) - 1


def _macro(random: np.random.Generator, months: int) -> Floats:
    """Return the state x (t,) of the economy."""
    state = random.standard_normal(months)
    state[1:] *= math.sqrt(1 - 0.95**2)
    for row in range(1, months):
        state[row] += 0.95 * state[row - 1]
    return state


def _parts(model: Model, ranks: Floats, macro: Floats) -> dict[str, Floats]:
    """Return the three terms (t, n) of g, weighted."""
    first, second, third = np.moveaxis(ranks[:, :, :3], 2, 0)
    third = third * macro[:, None]
    terms = (first, second, third) if model == "a" else (first**2, first * second, np.sign(third))
    return {name: weight * term for name, weight, term in zip(_TERMS[model], _WEIGHTS[model], terms, strict=True)}


def _panel(returns: Floats, ranks: Floats, macro: Floats, factors: Floats, settings: dict[str, str | int]) -> Panel:
    months, firms = returns.shape
    names = [f"c{place + 1}" for place in range(ranks.shape[2])]
    first = np.datetime64("2000-01", "M")
    return Panel(
        dates=(first + np.arange(1, months + 1)).astype("datetime64[D]") - np.timedelta64(1, "D"),
        firms=np.array([f"S{firm:05d}" for firm in range(firms)]),
        returns=returns,
        features=np.concatenate([ranks, ranks * macro[:, None, None]], axis=2, dtype=np.float32),
        feature_names=(*names, *(f"x_{name}" for name in names)),
        factors=factors,
        factor_names=("v1", "v2", "v3"),
        periods_per_year=12,
        source={
            "name": "finattn.data.gu_kelly_xiu",
            "availability": "known at t",
            "returns": "simulated, in excess of the risk-free rate",
            "settings": settings,
            "caveats": ["Simulated firms: nothing here is a fact about a market."],
        },
    )
