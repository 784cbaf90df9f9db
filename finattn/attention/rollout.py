"""Attention rollout (Abnar and Zuidema 2020) along both axes: how much of each firm's each day a forecast draws on.

Each block keeps a share as its residual, by default half, and gives the rest to attention averaged over heads;
rolling multiplies the blocks from the top down. Letters: i target, t day, n and m firm, l lag.
"""

import torch
from torch import Tensor


def through_firms(rolled: Tensor, weights: Tensor, kept: float = 0.5) -> Tensor:
    """Take shares [i t n] one block down through attention across firms with weights [t n m].

    Parameters
    ----------
    rolled : shares of each target in the firms' days above the block. weights : the block's, averaged over heads.
    kept : share that the residual keeps, from 0 to 1.

    Returns
    -------
    [i t n], of the same sums over t and n.

    Examples
    --------
    >>> through_firms(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])).tolist()
    [[[0.5, 0.5]]]
    """
    moved = torch.einsum("itn,tnm->itm", rolled, _filled(weights, torch.eye(weights.shape[-1])))
    return kept * rolled + (1 - kept) * moved


def through_time(rolled: Tensor, weights: Tensor, kept: float = 0.5) -> Tensor:
    """Take shares [i t n] one block down through attention along time with weights [t n l].

    Parameters
    ----------
    rolled, kept : see `through_firms`. weights : the block's, averaged over heads; lag l = 0 is the day itself.

    Returns
    -------
    [i t n], of the same sums over t and n unless a lag reaches before the first day.

    Examples
    --------
    >>> through_time(torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])).tolist()
    [[[0.5], [0.5]]]
    """
    days, lags = weights.shape[0], weights.shape[2]
    itself = torch.zeros(lags)
    itself[0] = 1.0
    weights = _filled(weights, itself)
    moved = torch.zeros_like(rolled)
    for lag in range(min(lags, days)):
        moved[:, : days - lag] += rolled[:, lag:] * weights[lag:, :, lag]
    return kept * rolled + (1 - kept) * moved


def _filled(weights: Tensor, itself: Tensor) -> Tensor:
    """Let a row with nothing to attend to keep what it has."""
    empty = weights.sum(-1, keepdim=True) <= 0
    return torch.where(empty, itself.to(weights), weights)
