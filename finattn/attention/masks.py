"""Which key a query may attend to."""

import torch
from torch import Tensor


def band_mask(chunk: int, lookback: int, device: torch.device) -> Tensor:
    """Return [chunk 2·chunk] bool: a query sees itself and the `lookback` - 1 keys before it.

    Keys are those of the chunk before and of the query's own, so query i stands at key chunk + i.

    Examples
    --------
    >>> band_mask(2, 2, torch.device("cpu")).int().tolist()
    [[0, 1, 1, 0], [0, 0, 1, 1]]
    """
    behind = chunk + torch.arange(chunk, device=device)[:, None] - torch.arange(2 * chunk, device=device)
    return (behind >= 0) & (behind < lookback)
