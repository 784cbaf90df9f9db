"""Peers by similar characteristics: their average return under a Gaussian kernel with a bandwidth for each."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from finattn.baselines.sic_kernel import ranked_places, slope_on, trailing_returns
from finattn.baselines.tabular import standardised_targets
from finattn.blocks import Blocks
from finattn.errors import InputError
from finattn.metrics import mean_over_dates, rank_information_coefficient

_PAIRS = 4_000_000  # pairs of firms held at once
STEP_PAIRS = 4_000_000  # pairs of firms that a step of training takes dates for
LOOKS = 5  # at validation dates


class KernelRegression:
    """Forecast by the returns of firms alike: slope × Σ_j w_ij r_j(t − k, t] / Σ_j w_ij, over observed firms j ≠ i.

    w_ij = exp(−½ Σ_f (z_if − z_jf)² / h_f²) on characteristics ranked to [-1, 1] at t, a missing one at the middle. A
    large h_f leaves characteristic f out. The kernel is symmetric: i is to j what j is to i, there is no direction, and
    a pair's weight depends on distance alone. That is what a learned look-up, whose queries and keys differ, is
    compared with.

    The bandwidths are learned on training dates: log h_f by Adam on the squared error of standardised forward returns,
    where the slope that fits a step's dates best stands in for the slope. k, and when to stop, are chosen on validation
    rank IC. The slope is then fitted on every horizon-th training date.

    Parameters
    ----------
    windows : values of k in rows. steps : of Adam, with validation looked at five times. dates : in a step, fewer where
        they hold more than `STEP_PAIRS` pairs of firms. rate : of Adam. seed : of the dates drawn.

    Raises
    ------
    InputError
        For no windows or steps, a panel without characteristics, and where no target is observed.

    Examples
    --------
    >>> KernelRegression(windows=(5, 21), steps=100).units
    'score'
    """

    units: Literal["score"] = "score"

    def __init__(
        self,
        windows: Sequence[int] = (1, 5, 21, 63),
        steps: int = 200,
        dates: int = 64,
        rate: float = 0.05,
        seed: int = 0,
    ) -> None:
        if not windows or min(windows) < 1 or steps < 1:
            raise InputError(f"kernel regression needs windows of rows and steps, found {windows} and {steps}")
        self.windows, self.steps, self.dates, self.rate, self.seed = tuple(windows), steps, dates, rate, seed
        self.chosen: dict[str, Any] = {}

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Learn bandwidths for every k on training dates, and keep the best on validation dates."""
        if not train.panel.features.shape[2]:
            raise InputError("kernel regression needs characteristics, found a panel without features")
        apart, best = train.at(train.positions[:: -(-train.target.horizon // train.apart)]), -np.inf
        for window in self.windows:
            for step, bandwidths in self._learn(train, window):
                slope = slope_on(_averages(apart, bandwidths, window), apart.realised)
                score = np.where(valid.observed, slope * _averages(valid, bandwidths, window), np.nan)
                skill = mean_over_dates(rank_information_coefficient(score, valid.realised))
                if skill > best:
                    best, self.bandwidths, self.window, self.slope = skill, bandwidths, window, slope
                    self.chosen = {"window": window, "step": step, "slope": slope, "valid_rank_ic": skill}
        self.chosen["bandwidths"] = dict(zip(train.panel.feature_names, self.bandwidths.tolist(), strict=True))
        return self

    def predict(self, blocks: Blocks) -> np.ndarray:
        """Return slope × peers' average (p, n), NaN where a firm is not observed."""
        return np.where(blocks.observed, self.slope * _averages(blocks, self.bandwidths, self.window), np.nan)

    def _learn(self, train: Blocks, window: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield bandwidths (f,) along the steps of training."""
        random, targets = np.random.default_rng(self.seed), standardised_targets(train)
        usable = np.flatnonzero(~np.isnan(targets).all(axis=1))
        count = min(len(usable), self.dates, max(1, STEP_PAIRS // train.panel.shape[1] ** 2))
        wide = train.panel.features.shape[2]
        # Two ranks are 2/3 apart in square: all kernels begin one standard deviation wide.
        logs = torch.full((wide,), 0.5 * np.log(wide / 3), dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([logs], lr=self.rate)
        for step in range(1, self.steps + 1):
            some = np.sort(random.choice(usable, count, replace=False))
            target = torch.from_numpy(targets[some])
            optimiser.zero_grad()
            _loss(_average(*_sections(train, some, window), logs.exp()), target).backward()
            optimiser.step()
            if step % max(1, self.steps // LOOKS) == 0:
                yield step, logs.detach().exp().numpy()


def _loss(average: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of averages [t n] under the slope that fits them best, both within their date."""
    known = ~target.isnan()
    y = target.masked_fill(~known, 0.0)
    mean = (average * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
    x = (average - mean) * known
    slope = ((x * y).sum() / x.square().sum().clamp(min=1e-12)).detach()  # at the best slope its own gradient is zero
    return (y - slope * x).square().sum() / known.sum()


def _sections(blocks: Blocks, some: np.ndarray | slice, window: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return characteristics [t n f], who is observed [t n] and their compounded returns [t n] at some positions."""
    rows = blocks.positions[some]
    places, here = ranked_places(blocks.panel, rows), blocks.observed[some]
    return (
        torch.from_numpy(places),
        torch.from_numpy(here),
        torch.from_numpy(trailing_returns(blocks.panel, rows, window)),
    )


def _average(places: Tensor, here: Tensor, values: Tensor, bandwidths: Tensor) -> Tensor:
    """Average the others' values [t n] with the kernel's weights; 0 for a firm that is alone."""
    scaled = places / bandwidths
    # −½ ‖u_i − u_j‖² but for −½ ‖u_i‖², which a softmax over j cancels.
    scores = scaled @ scaled.transpose(1, 2) - 0.5 * scaled.square().sum(2)[:, None, :]
    peers = here[:, None, :] & ~torch.eye(here.shape[1], dtype=torch.bool)
    some = peers.any(2, keepdim=True)
    weights = scores.masked_fill(~peers & some, -torch.inf).softmax(2) * some
    return (weights @ values[:, :, None]).squeeze(2)


def _averages(blocks: Blocks, bandwidths: np.ndarray, window: int) -> np.ndarray:
    """Return the average (p, n) at all positions."""
    length = max(1, _PAIRS // blocks.panel.shape[1] ** 2)
    parts = [slice(start, start + length) for start in range(0, len(blocks.positions), length)]
    with torch.no_grad():
        given = torch.from_numpy(bandwidths)
        return torch.cat([_average(*_sections(blocks, part, window), given) for part in parts]).numpy()
