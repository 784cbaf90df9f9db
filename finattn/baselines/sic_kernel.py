"""Peers by industry code: their average return, plain or weighted by a Gaussian kernel on characteristics."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np

from finattn.blocks import Blocks, observed
from finattn.data.sic import industry_levels
from finattn.errors import InputError
from finattn.features import rank
from finattn.metrics import demeaned, mean_over_dates, rank_information_coefficient
from finattn.panel import Panel

_PAIRS = 4_000_000  # pairs of firms, or ranks, held at once


class SICKernel:
    """Forecast by the returns of firms in the same industry: slope × Σ_j w_ij r_j(t − k, t] / Σ_j w_ij, j ≠ i.

    Peers of i are the firms observed at t with its code at the finest level that has at least `minimum_peers` of them:
    SIC 4, 3, 2 digits, division; failing that, the finest level that has any. w_ij is 1, or with bandwidths
    exp(−‖z_i − z_j‖² / 2h²) on characteristics ranked to [-1, 1] at t, a missing one at the middle. A firm without
    peers gets the mean of the others' forecasts. k and h are chosen on validation rank IC, the slope on training dates.

    Parameters
    ----------
    windows : values of k in rows. bandwidths : values of h; empty for the plain average. minimum_peers : at least 1.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import sample
    >>> panel = sample()["2019":"2020"]
    >>> train = Blocks(panel, np.arange(100, 300), Scaling.fit(panel, np.arange(300)), TargetConfig())
    >>> test = train.at(np.arange(420, 440))
    >>> kernel = SICKernel(windows=(5, 21), bandwidths=()).fit(train, train.at(np.arange(310, 410)))
    >>> kernel.predict(test).shape, kernel.chosen["window"] in (5, 21)
    ((20, 20), True)
    """

    units: Literal["score"] = "score"

    def __init__(
        self,
        windows: Sequence[int] = (1, 5, 21, 63),
        bandwidths: Sequence[float] = (0.25, 0.5, 1.0, 2.0),
        minimum_peers: int = 2,
    ) -> None:
        self.windows, self.minimum_peers = tuple(windows), minimum_peers
        self.bandwidths: tuple[float | None, ...] = tuple(bandwidths) or (None,)
        self.chosen: dict[str, Any] = {}

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Try every k and h: the slope from training dates, the choice by validation rank IC."""
        if not (train.panel.industry != 0).any():
            raise InputError("SIC peers need industry codes, found a panel without any (field industry)")
        choices = list(itertools.product(self.windows, self.bandwidths))
        realised, valid_realised = train.realised, valid.realised
        averages, valid_averages = self._averages(train, choices), self._averages(valid, choices)
        slopes = [slope_on(average, realised) for average in averages]
        skill = []
        for slope, average in zip(slopes, valid_averages, strict=True):
            per_date = rank_information_coefficient(slope * average, valid_realised)
            skill.append(mean_over_dates(per_date))
        best = int(np.argmax(skill))
        self.choice, self.slope = choices[best], slopes[best]
        window, bandwidth = self.choice
        self.chosen = {"window": window, "slope": self.slope, "valid_rank_ic": skill[best]}
        self.chosen |= {} if bandwidth is None else {"bandwidth": bandwidth}
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return slope × peers' average (p, n)."""
        (average,) = self._averages(blocks, [self.choice])
        return np.where(blocks.observed, self.slope * average, np.nan)

    def _averages(self, blocks: Blocks, choices: Sequence[tuple[int, float | None]]) -> list[np.ndarray]:
        """Return the peers' average (p, n) of each choice; a weight matrix serves every k."""
        panel, rows, here = blocks.panel, blocks.positions, blocks.observed
        windows = sorted({window for window, _ in choices})
        trailing = {window: trailing_returns(panel, rows, window) for window in windows}
        result = [np.empty((len(rows), panel.shape[1])) for _ in choices]
        chunk, ranked = slice(0, 0), np.empty(0)
        for part, peers in self._peers(panel, rows):
            if self.bandwidths != (None,) and part.stop > chunk.stop:  # ranks are made for many dates at once
                chunk = slice(part.start, max(part.stop, part.start + 1 + _PAIRS // max(panel.features[0].size, 1)))
                ranked = ranked_places(panel, rows[chunk])
            places = ranked[part.start - chunk.start : part.stop - chunk.start]
            for bandwidth in dict.fromkeys(bandwidth for _, bandwidth in choices):
                weights = peers if bandwidth is None else _gaussian(places, peers, bandwidth)
                for average, (window, other) in zip(result, choices, strict=True):
                    if other == bandwidth:
                        average[part] = _fill(_weighted(weights, trailing[window][part]), here[part])
        return result

    def _peers(self, panel: Panel, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield runs of dates with who is whose peer: (run or 1, n, n) floats, one matrix where a run shares it."""
        industry, here = panel.industry[rows], observed(panel, rows)
        changed = (np.diff(industry, axis=0) != 0).any(axis=1) | (here[1:] != here[:-1]).any(axis=1)
        longest = max(1, _PAIRS // panel.shape[1] ** 2)
        starts = [0]
        for row in range(1, len(rows)):
            if changed[row - 1] or row - starts[-1] >= longest:
                starts.append(row)
        for start, stop in itertools.pairwise([*starts, len(rows)]):
            levels = industry_levels(industry[start], panel.industry_scheme, panel.industry_widths)
            yield slice(start, stop), peer_matrix(levels, here[start], self.minimum_peers).astype(float)[None]


def peer_matrix(levels: np.ndarray, here: np.ndarray, minimum_peers: int) -> np.ndarray:
    """Say who is whose peer at one date.

    Parameters
    ----------
    levels : (level, n) codes, the finest first, 0 = unknown. here : (n,) observed firms.
    minimum_peers : a level with fewer gives way to the next coarser; failing all, the finest that has any.

    Returns
    -------
    (n, n) bool, row i the peers of firm i; never i itself.

    Examples
    --------
    >>> peer_matrix(np.array([[11, 12, 12, 20], [1, 1, 1, 2]]), np.ones(4, bool), minimum_peers=2).astype(int).tolist()
    [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    """
    others = here[None, :] & ~np.eye(len(here), dtype=bool)
    result = np.zeros_like(others)
    settled = np.zeros(len(here), bool)
    for enough in (minimum_peers, 1):
        for codes in levels:
            same = (codes[:, None] == codes[None, :]) & (codes != 0)[:, None] & others
            chosen = ~settled & (same.sum(axis=1) >= enough)
            result[chosen], settled = same[chosen], settled | chosen
    return result


def trailing_returns(panel: Panel, rows: np.ndarray, window: int) -> np.ndarray:
    """Compound returns (len(rows), n) over (t - window, t], days not observed left out."""
    growth = np.ones((len(rows), panel.shape[1]))
    for lag in range(window):
        row = np.maximum(rows - lag, 0)
        usable = observed(panel, row) & (rows >= lag)[:, None]
        growth *= np.where(usable, 1 + panel.returns[row], 1.0)
    return growth - 1


def ranked_places(panel: Panel, rows: np.ndarray) -> np.ndarray:
    """Return ranked characteristics (t, n, f), the middle where missing."""
    if not panel.features.shape[2]:
        raise InputError("the SIC kernel needs characteristics, found a panel without features")
    here = observed(panel, rows)
    ranks = [rank(values, here) for values in np.moveaxis(panel.features[rows], 2, 0)]
    return np.nan_to_num(np.stack(ranks, axis=2))


def _gaussian(places: np.ndarray, peers: np.ndarray, bandwidth: float) -> np.ndarray:
    """Weigh peers (t or 1, n, n) by the kernel over that of the nearest peer, so that no row underflows to zero."""
    norm = (places**2).sum(axis=2)
    distance = norm[:, :, None] + norm[:, None, :] - 2 * places @ places.transpose(0, 2, 1)
    distance = np.where(peers > 0, np.maximum(distance, 0), np.inf)
    nearest = distance.min(axis=2, keepdims=True)
    return np.exp((np.where(np.isinf(nearest), 0.0, nearest) - distance) / (2 * bandwidth**2))


def _weighted(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average values (t, n) with weights (t or 1, n, n); NaN where there is no peer."""
    total = weights.sum(axis=2)
    sums = (weights @ values[:, :, None])[:, :, 0]
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=np.broadcast_to(total > 0, sums.shape))


def _fill(average: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Give a firm without peers the mean of the others observed, so that every model forecasts the same firm-dates."""
    known = ~np.isnan(average) & here
    mean = np.where(known, average, 0.0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, average, mean)


def slope_on(average: np.ndarray, realised: np.ndarray) -> float:
    """Regress forward returns on the average, both in excess of their date's mean."""
    known = ~np.isnan(realised)
    x, y = demeaned(average, known), demeaned(realised, known)
    return float((x * y).sum() / max((x * x).sum(), 1e-12))
