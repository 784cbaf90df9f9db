"""Keys and values of the days that a band still reaches, one sequence a firm."""

import torch
from torch import Tensor


class TimeCache:
    """The last `lookback` days' keys [n h l d], values [n h l e] and observed [n l], written round and round.

    Day number `day` lies at slot day mod lookback: a new day is written over the one that has left the band, and
    nothing else moves.

    Examples
    --------
    >>> cache = TimeCache(lookback=2)
    >>> for day in range(3):
    ...     cache.add(*(torch.full((1, 1, 1, 1), float(day)),) * 2, torch.ones(1, 1) > 0)
    >>> cache.keys.flatten().tolist(), cache.lags().tolist(), cache.day
    ([2.0, 1.0], [0, 1], 3)
    """

    def __init__(self, lookback: int) -> None:
        self.lookback, self.day = lookback, 0
        self.keys = self.values = torch.empty(0)
        self.observed = torch.empty(0, dtype=torch.bool)

    def add(self, key: Tensor, value: Tensor, observed: Tensor) -> None:
        """Take up the days of key, value [n t h d] and observed [n t]."""
        if not self.keys.numel():
            firms, _, heads, width = key.shape
            self.keys = key.new_zeros(firms, heads, self.lookback, width)
            self.values = value.new_zeros(firms, heads, self.lookback, value.shape[-1])
            self.observed = observed.new_zeros(firms, self.lookback)
        days = observed.shape[1]
        for back in range(min(days, self.lookback), 0, -1):  # earlier days have left the band already
            slot = (self.day + days - back) % self.lookback
            self.keys[:, :, slot], self.values[:, :, slot] = key[:, -back], value[:, -back]
            self.observed[:, slot] = observed[:, -back]
        self.day += days

    def lags(self) -> Tensor:
        """Return how many days back each slot lies [l] from the last day; what was never written is not observed."""
        return (self.day - 1 - torch.arange(self.lookback)) % self.lookback
