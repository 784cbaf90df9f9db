"""Simulated panels with known truth: planted lags, directed peers and own-firm effects, and the oracle's forecasts."""

import math
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from finattn.data.design import GROUPS, PARTS, Design, require, require_whole
from finattn.data.truth import Floats, Planted, Simulated, oracle_r2
from finattn.panel import Panel

FLOOR = -0.95  # no simulated return is lower
_ROUNDS = 25  # of calibration at most: each simulates all returns again
_ENDINGS = (11, 22, 33)  # the last two digits of made-up SIC codes


class _Firms(NamedTuple):
    """Where each firm is: industry group (n,) and the one it is exposed to; (t, n) listed, observed, return shown."""

    group: Floats
    target: Floats
    listed: Floats
    observed: Floats
    shown: Floats


class _Signal(NamedTuple):
    """Features (t, n, f); own-firm parts (2, t, n) of mean square one; peers and weights (t, n, k); weights of lags."""

    features: Floats
    own: Floats
    peers: Floats
    weights: Floats
    lag_weights: Floats


def simulate(
    firms: int = 200,
    days: int = 2000,
    *,
    r2: float = 0.02,
    cross_industry: float = 0.8,
    seed: int = 0,
    design: Design | None = None,
) -> Simulated[Planted]:
    """Simulate a daily panel in which it is known what drives the next return, and how much of it can be known.

    returns[t+1] = linear[t] + nonlinear[t] + lags[t] + peers[t] + noise[t+1] for a firm observed at t (see `Planted`),
    and noise[t+1] alone for any other. Noise is loadings on common factors (in `panel.factors`) plus a Student t of
    the firm's own. All parts follow from the panel's rows up to t, and no firm has an effect of its own.

    A firm's peers are the k with the highest z_i W_Q W_Kᵀ z_jᵀ. W_K reads the features product_* (what j is), W_Q the
    features exposure_* (what i depends on), so that peers have a direction and move with both. Each industry has its
    place among products; a share `cross_industry` of the firms is exposed to the place of another industry, the rest
    to their own, and all of a firm's peers are there while no characteristic is missing. Codes do not enter the scores:
    all that they tell about peers is that share, and 0.8 is the hard case.

    Parameters
    ----------
    firms, days : n and t. There must be at least peers + 1 firms for each industry.
    r2 : the oracle's pooled R² to expect, from 0 (nothing can be known) to below 0.5; `Truth.r2` is the one that came
        about. Parts are scaled on the panel itself, so that the oracle's mean square is r2 × volatility².
    cross_industry : share of edges that cross two-digit SIC groups, from 0 to 1.
    seed : of all random numbers. The same seed at another r2 keeps characteristics, peers, and noise but for its scale.
    design : everything else.

    Returns
    -------
    Simulated(panel, truth). The first unlisted row of a firm that left holds its delisting return, drawn like any
    other. Returns below −0.95 are raised to it (`Truth.clipped` counts them; the oracle does not know of it).

    Raises
    ------
    InputError
        For a setting out of its range.

    Examples
    --------
    >>> panel, truth = simulate(firms=60, days=250, r2=0.05, seed=1)
    >>> panel.shape, truth.peers.shape, panel.feature_names[0]
    ((250, 60), (250, 60, 5), 'product_1')
    >>> bool(np.allclose(sum(truth.parts.values()), truth.oracle, equal_nan=True))
    True
    """
    design = design or Design()
    _check(firms, days, r2, cross_industry, seed, design)
    random = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(4)]
    there = _firms(random[0], (days, firms), cross_industry, design)
    turns = _turns(random[1], design)
    query_map, key_map = _map(turns["exposure"], "exposure", design), _map(turns["product"], "product", design)
    features = _characteristics(random[2], there, turns, design)
    peers, weights = _find_peers(features, there.observed, query_map, key_map, design.peers)
    lag_weights = np.zeros(design.lags[-1] + 1)
    lag_weights[list(design.lags)] = design.lag_weights
    signal = _Signal(features, _own_parts(features, there.observed, design), peers, weights, lag_weights)
    noise, factors = _noise(random[3], (days, firms), math.sqrt(1 - r2) * design.volatility, design)
    scale, returns, parts = _calibrated(signal, noise, there.observed, r2, design)
    returns = np.where(there.shown, returns, np.nan)
    settings = {"r2": float(r2), "cross_industry": float(cross_industry), "seed": int(seed)}
    panel = _panel(returns, features, factors, there, settings, design)
    oracle = parts.sum(axis=0)
    truth = Planted(
        oracle=oracle,
        parts=dict(zip(PARTS, parts, strict=True)),
        relevant=_relevant(design),
        r2=oracle_r2(oracle, returns),
        clipped=int((returns <= FLOOR).sum()),
        linear_weights=scale[0] * _linear_weights(design),
        nonlinear_weight=float(scale[1]),
        lag_weights=scale[2] * lag_weights,
        peer_slope=float(scale[3]),
        peers=peers,
        peer_weights=weights,
        query_map=query_map,
        key_map=key_map,
        cross_industry=_crossing(peers, there.group),
    )
    return Simulated(panel, truth)


def _check(firms: int, days: int, r2: float, cross_industry: float, seed: int, design: Design) -> None:
    require_whole("firms", firms, 2)
    least = design.industries * (design.peers + 1)
    require("firms", firms, firms >= least, f"at least industries x (peers + 1) = {least}")
    require_whole("days", days, max(10, design.lags[-1] + 2))
    require("r2", r2, 0 <= r2 < 0.5, "at least 0 and below 0.5")
    require("cross_industry", cross_industry, 0 <= cross_industry <= 1, "from 0 to 1")
    require_whole("seed", seed, 0)


def _firms(random: np.random.Generator, shape: tuple[int, int], cross_industry: float, design: Design) -> _Firms:
    """Draw industries of equal size, whom firms are exposed to, when they are listed and where they are observed."""
    days, firms = shape
    group = random.permutation(np.arange(firms) % design.industries)
    away = np.zeros(firms, int)
    crossing = random.permutation(firms)[: round(cross_industry * firms)]
    away[crossing] = random.integers(1, design.industries, len(crossing))
    late = random.permutation(firms)[: round(design.late_listings * firms)]
    leaving = random.permutation(firms)[: round(design.delistings * firms)]
    first, last = np.zeros(firms, int), np.full(firms, days - 1)
    first[late] = random.integers(1, days // 2, len(late))
    last[leaving] = random.integers(days // 2, days - 1, len(leaving))  # there is a row for the delisting return
    row = np.arange(days)[:, None]
    listed = (first <= row) & (row <= last)
    observed = listed & (random.random(shape) >= design.missing_returns)
    return _Firms(group, (group + away) % design.industries, listed, observed, observed | (row == last + 1))


def _turns(random: np.random.Generator, design: Design) -> dict[str, Floats]:
    """Draw the matrices (p, p) that turn places into characteristics of mean square one, products and exposures."""
    width = len(design.columns("product"))
    length = math.sqrt(1 + (design.corners[0] ** 2).sum())
    draws = {name: random.standard_normal((width, width)) for name in ("product", "exposure")}
    return {name: np.linalg.qr(draw)[0] * math.sqrt(width) / length for name, draw in draws.items()}


def _map(turn: Floats, name: str, design: Design) -> Floats:
    """Return W_Q or W_K (f, p), which turns characteristics back into places, for scores as sharp as asked for."""
    mapping = np.zeros((len(design.feature_names), len(turn)))
    mapping[design.columns(name)] = math.sqrt(design.sharpness) * np.linalg.inv(turn)
    return mapping


def _characteristics(random: np.random.Generator, there: _Firms, turns: dict[str, Floats], design: Design) -> Floats:
    """Draw autoregressive characteristics (t, n, f) of mean square one, NaN where missing.

    Products and exposures are places: an industry's corner beside a point that moves on the unit sphere.
    """
    shape = (*there.listed.shape, len(design.feature_names))
    features = random.standard_normal(shape, dtype=np.float32)
    features[1:] *= math.sqrt(1 - design.persistence**2)
    for row in range(1, len(features)):
        features[row] += design.persistence * features[row - 1]
    for name, group in (("product", there.group), ("exposure", there.target)):
        columns, corners = design.columns(name), design.corners[group]
        for values in features[:, :, columns[0] : columns[-1] + 1]:  # date by date, in place
            point = values[:, corners.shape[1] :]
            point = point / np.linalg.norm(point, axis=1, keepdims=True)
            values[:] = np.concatenate([corners, point], axis=1) @ turns[name]
    features[random.random(shape, dtype=np.float32) < design.missing_features] = np.nan
    features[~there.listed] = np.nan
    return features


def _find_peers(
    features: Floats, observed: Floats, query_map: Floats, key_map: Floats, most: int
) -> tuple[Floats, Floats]:
    """Return peers (t, n, k) and their weights, date by date, among the firms observed."""
    peers = np.full((*observed.shape, most), -1, np.int32)
    weights = np.zeros(peers.shape, np.float32)
    for row, here in enumerate(map(np.flatnonzero, observed)):
        if len(here) > 1:
            values = np.nan_to_num(features[row, here].astype(float))
            found, given = _heaviest(values @ query_map, values @ key_map, min(most, len(here) - 1))
            peers[row][here, : found.shape[1]], weights[row][here, : found.shape[1]] = here[found], given
    return peers, weights


def _heaviest(queries: Floats, keys: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the keys (n, count) of the highest inner products, own left out, and the softmax over them.

    With one more coordinate that gives all keys the same length, the nearest key has the highest product: a tree
    finds it without the matrix of scores.
    """
    from scipy.spatial import cKDTree  # takes a while to import

    square = (keys**2).sum(axis=1)
    tree = cKDTree(np.column_stack([keys, np.sqrt(square.max() - square)]))
    near = tree.query(np.column_stack([queries, np.zeros(len(queries))]), k=count + 1)[1]
    own = near == np.arange(len(near))[:, None]
    near = np.take_along_axis(near, np.argsort(own, axis=1, kind="stable")[:, :count], axis=1)
    scores = np.einsum("nd,nkd->nk", queries, keys[near])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return near, weights / weights.sum(axis=1, keepdims=True)


def _linear_weights(design: Design) -> Floats:
    """Return weights (f,) of length one and alternating sign."""
    weights, columns = np.zeros(len(design.feature_names)), design.columns("linear")
    weights[columns] = (-1.0) ** np.arange(len(columns)) / math.sqrt(len(columns))
    return weights


def _own_parts(features: Floats, observed: Floats, design: Design) -> Floats:
    """Return the linear and the nonlinear part (2, t, n) before scaling, 0 where not observed."""
    linear = np.zeros(observed.shape)
    for column in design.columns("linear"):
        linear += _linear_weights(design)[column] * np.nan_to_num(features[:, :, column])
    first, second = (np.nan_to_num(features[:, :, column].astype(float)) for column in design.columns("nonlinear"))
    square = np.where(np.isnan(features[:, :, design.columns("nonlinear")[0]]), 0.0, first**2 - 1)
    return np.stack([linear, first * second + square / math.sqrt(2)]) * observed


def _noise(
    random: np.random.Generator, shape: tuple[int, int], deviation: float, design: Design
) -> tuple[Floats, Floats]:
    """Return noise (t, n) and the common factors (t, k) in it; the first factor moves all firms alike."""
    days, firms = shape
    loadings = random.standard_normal((firms, design.factors))
    loadings[:, 0] = 1 + 0.3 * loadings[:, 0]
    loadings /= np.sqrt((loadings**2).sum(axis=1).mean())
    factors = math.sqrt(design.factor_share) * deviation * random.standard_normal((days, design.factors))
    own = random.standard_t(design.tails, shape) * math.sqrt((design.tails - 2) / design.tails)
    return factors @ loadings.T + math.sqrt(1 - design.factor_share) * deviation * own, factors


def _calibrated(
    signal: _Signal, noise: Floats, observed: Floats, r2: float, design: Design
) -> tuple[Floats, Floats, Floats]:
    """Return the scale (4,) of each part that gives the shares and r2 asked for, with returns and parts (4, t, n)."""
    shares = np.array([design.shares.get(name, 0.0) for name in PARTS])
    wanted = shares / shares.sum() * r2 * design.volatility**2
    # Lags and peers depend on returns, which depend a little on the scale: begin with noise as large as returns.
    units = _run(signal, noise / math.sqrt(1 - r2), observed, np.zeros(len(PARTS)))[1]
    better = _scale(units, wanted, observed.sum())
    for _ in range(_ROUNDS):
        scale = better
        reach = float(scale[3] + scale[2] * abs(signal.lag_weights).sum())
        require("r2", r2, reach < 1, f"lower, or the shares of lags and peers: they feed back {reach:.2f} of a return")
        returns, units = _run(signal, noise, observed, scale)
        better = _scale(units, wanted, observed.sum())
        if np.allclose(better, scale, rtol=1e-3, atol=0):
            break
    return scale, returns, np.where(observed, scale[:, None, None] * units, np.nan)


def _scale(units: Floats, wanted: Floats, count: int) -> Floats:
    """Return the factors (4,) that give each part the mean square wanted, up to one that gives it to their sum."""
    present = np.array([np.vdot(unit, unit) for unit in units]) / max(count, 1)
    scale = np.sqrt(np.divide(wanted, present, out=np.zeros(len(wanted)), where=present > 0))
    together = float((np.tensordot(scale, units, 1) ** 2).sum()) / max(count, 1)
    return scale * math.sqrt(wanted.sum() / together) if together else scale


def _run(signal: _Signal, noise: Floats, observed: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Simulate returns (t, n) forward in time, and return them with all parts (4, t, n) before scaling."""
    returns, seen = np.maximum(noise, FLOOR), np.zeros(noise.shape)
    units = np.concatenate([signal.own, np.zeros_like(signal.own)])
    for row in range(len(returns)):
        seen[row] = returns[row] * observed[row]
        past = seen[max(row + 1 - len(signal.lag_weights), 0) : row + 1][::-1]
        units[2, row] = signal.lag_weights[: len(past)] @ past * observed[row]
        units[3, row] = (signal.weights[row] * seen[row][signal.peers[row]]).sum(axis=1)
        if row + 1 < len(returns):
            returns[row + 1] = np.maximum(scale @ units[:, row] + noise[row + 1], FLOOR)
    return returns, units


def _panel(
    returns: Floats, features: Floats, factors: Floats, there: _Firms, settings: dict[str, float], design: Design
) -> Panel:
    days, firms = returns.shape
    codes = np.array(GROUPS)[there.group] * 100 + np.array(_ENDINGS)[np.arange(firms) % len(_ENDINGS)]
    return Panel(
        dates=np.busday_offset("2000-01-03", np.arange(days), roll="forward"),
        firms=np.array([f"S{firm:05d}" for firm in range(firms)]),
        returns=returns,
        listed=there.listed,
        industry=np.where(there.listed, codes, 0).astype(np.int32),
        features=features,
        feature_names=design.feature_names,
        factors=factors,
        factor_names=tuple(f"factor_{place + 1}" for place in range(design.factors)),
        industry_as_of=True,
        source={
            "name": "finattn.data.simulate",
            "availability": "known at t",
            "returns": "simulated, simple",
            "industry": "made-up SIC codes, constant while a firm is listed",
            "settings": settings | {"design": asdict(design)},
            "caveats": ["Simulated firms: nothing here is a fact about a market."],
        },
    )


def _relevant(design: Design) -> dict[str, tuple[str, ...]]:
    names = {kind: tuple(design.feature_names[column] for column in design.columns(kind))
             for kind in ("product", "exposure", "linear", "nonlinear")}  # fmt: skip
    return {"linear": names["linear"], "nonlinear": names["nonlinear"], "lags": (),
            "peers": names["product"] + names["exposure"]}  # fmt: skip


def _crossing(peers: Floats, group: Floats) -> float:
    """Return the share of edges between firms of different groups, NaN without any edge."""
    there = peers >= 0
    crossing = (group[peers] != group[:, None]) & there
    return float(crossing.sum() / there.sum()) if there.any() else float("nan")
