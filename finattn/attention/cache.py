"""Keys and values of the days that a band still reaches, one sequence a firm."""

import torch
from torch import Tensor


class TimeCache:
    """The last `lookback` days' keys [n h l d], values [n h l e] and observed [n l].

    Examples
    --------
    >>> cache = TimeCache(lookback=2)
    >>> for day in range(3):
    ...     keys, values, seen = cache.take(*(torch.full((1, 1, 1, 1), float(day)),) * 2, torch.ones(1, 1) > 0)
    >>> keys.flatten().tolist(), cache.day
    ([1.0, 2.0], 3)
    """

    def __init__(self, lookback: int) -> None:
        self.lookback, self.day = lookback, 0
        self._held: tuple[Tensor, Tensor, Tensor] | None = None

    def take(self, key: Tensor, value: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add the days of key, value and observed [n t]; return all that a query on the last of them may see."""
        new = (key, value, observed)
        if self._held is not None:
            held = zip(self._held, new, (2, 2, 1), strict=True)
            new = tuple(torch.cat([old, more], dim=axis) for old, more, axis in held)  # type: ignore[assignment]
        self.day += observed.shape[1]
        self._held = new[0][:, :, -self.lookback :], new[1][:, :, -self.lookback :], new[2][:, -self.lookback :]
        return self._held
