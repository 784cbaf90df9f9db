"""Plain forecasters, tuned as hard as the model: the same two calls, fit and predict."""

from finattn.baselines.boosting import Boosting
from finattn.baselines.kernel_regression import KernelRegression
from finattn.baselines.linear import ElasticNet, Ridge
from finattn.baselines.sic_kernel import SICKernel
from finattn.baselines.simple import HistoricalMean, Momentum, Zero
from finattn.baselines.tabular import FlatWindow, Tabular, flat_window

__all__ = [
    "Boosting",
    "ElasticNet",
    "FlatWindow",
    "HistoricalMean",
    "KernelRegression",
    "Momentum",
    "Ridge",
    "SICKernel",
    "Tabular",
    "Zero",
    "flat_window",
]
