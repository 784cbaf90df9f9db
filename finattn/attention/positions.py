"""Positions: rotary and linear bias are relative, sinusoidal and learned ones absolute."""

import torch
from torch import Tensor, nn

from finattn.errors import InputError


def rotate(x: Tensor, position: Tensor, base: float = 10_000.0) -> Tensor:
    """Rotate pairs of dimensions by position · base^(-2i/d) (Su et al. 2021), so that q·k depends on distance alone.

    Parameters
    ----------
    x : [... t d], d even; dimensions 2i and 2i + 1 are a pair, the parts of one complex number.
    position : [t] days, whole or not.

    Raises
    ------
    InputError
        For an odd d.

    Examples
    --------
    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.tensor([torch.pi / 2])).round(decimals=3).abs().tolist()
    [[0.0, 1.0]]
    """
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    turn = turns(position, x.shape[-1], base).to(x.device, wide.dtype.to_complex())
    return torch.view_as_real(_as_complex(wide) * turn).flatten(-2).to(x.dtype)


def turns(position: Tensor, width: int, base: float = 10_000.0) -> Tensor:
    """Return the complex numbers [t d/2], double precision, by which `rotate` multiplies.

    Parameters
    ----------
    position : [t]. width : d, even. base : as of `rotate`.

    Raises
    ------
    InputError
        For an odd d.

    Examples
    --------
    >>> turns(torch.tensor([0, 1]), width=2).angle().flatten().tolist()
    [0.0, 1.0]
    """
    if width % 2:
        raise InputError(f"rotary positions need an even width, found {width}")
    # Angles in double precision on the processor: not every accelerator has it.
    rate = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = position.cpu().double()[:, None] * rate
    return torch.polar(torch.ones_like(angle), angle)


def _as_complex(x: Tensor) -> Tensor:
    """View [... t d] as complex [... t d/2], without a copy where the layout holds whole pairs."""
    whole = x.stride(-1) == 1 and x.storage_offset() % 2 == 0 and all(step % 2 == 0 for step in x.stride()[:-1])
    return torch.view_as_complex((x if whole else x.contiguous()).unflatten(-1, (-1, 2)))


def sinusoidal(length: int, width: int) -> Tensor:
    """Return the sinusoidal positions [t d] of Vaswani et al. (2017).

    Dimension 2i holds the sine and 2i + 1 the cosine of position / 10000^(2i/d).

    Parameters
    ----------
    length : t, positions 0 to t - 1. width : d.

    Returns
    -------
    [t d] float32.

    Examples
    --------
    >>> sinusoidal(1, 4).tolist()
    [[0.0, 1.0, 0.0, 1.0]]
    """
    dimension = torch.arange(width)
    rate = 10_000.0 ** (-(dimension - dimension % 2).double() / width)
    angle = torch.arange(length).double()[:, None] * rate
    return torch.where(dimension % 2 == 0, angle.sin(), angle.cos()).float()


class LearnedPositions(nn.Module):
    """Add a learned vector a position to x [... t d].

    Parameters
    ----------
    length : the most positions. width : d.

    Examples
    --------
    >>> LearnedPositions(length=60, width=8)(torch.zeros(3, 20, 8)).shape
    torch.Size([3, 20, 8])
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(length, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map x [... t d] to the same shape; InputError if t is above the length."""
        if x.shape[-2] > len(self.table):
            raise InputError(f"learned positions reach {len(self.table)}, found a sequence of {x.shape[-2]}")
        return x + self.table[: x.shape[-2]]


def linear_bias(heads: int, lag: Tensor) -> Tensor:
    """Return the linear bias of ALiBi (Press et al. 2022), -slope · |lag|, to add to the scores.

    Slopes are 2^(-8(i+1)/h) for heads i = 0 … h-1, for every number of heads. Where that is no power of two the
    authors' code does not use one geometric sequence: it takes the slopes of the power of two below, and for the other
    heads every second slope of the power of two above.

    Parameters
    ----------
    heads : h. lag : [...] whole days between query and key, of any shape.

    Returns
    -------
    [h ...] float32.

    Examples
    --------
    >>> linear_bias(2, torch.tensor([0, 1, 16])).tolist()
    [[-0.0, -0.0625, -1.0], [-0.0, -0.00390625, -0.0625]]
    """
    slope = 2.0 ** (-8.0 * torch.arange(1, heads + 1, device=lag.device) / heads)
    return -slope.view(-1, *[1] * lag.ndim) * lag.abs()
