"""Relative positions for the one-pass time axis."""

import torch
from torch import Tensor


def rotate(x: Tensor, position: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotate pairs of dimensions by position · base^(-2i/d) (Su et al. 2021), so that q·k depends on distance alone.

    Parameters
    ----------
    x : [... t d], d even; dimension i is paired with i + d/2.
    position : [t] days.

    Examples
    --------
    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).tolist()
    [[1.0, 0.0]]
    """
    half = x.shape[-1] // 2
    # Angles in double precision on the processor: not every accelerator has it.
    rate = base ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = position.cpu().double()[:, None] * rate
    cosine, sine = angle.cos().to(x), angle.sin().to(x)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
