"""Plain forecasters, tuned as hard as the model: the same two calls, fit and predict."""

from finattn.baselines.linear import Ridge
from finattn.baselines.sic_kernel import SICKernel
from finattn.baselines.simple import HistoricalMean, Zero

__all__ = ["HistoricalMean", "Ridge", "SICKernel", "Zero"]
