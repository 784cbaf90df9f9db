"""Attention over a panel of firms, along time and along firms, beside baselines tuned as hard.

Names are imported when they are first used, so that ``import finattn`` is quick and torch is
loaded only by what needs it.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AttentionForecaster": "finattn.training",
    "Blocks": "finattn.blocks",
    "Forecasts": "finattn.forecasts",
    "HistoricalMean": "finattn.baselines",
    "LookUpForecaster": "finattn.training",
    "InputError": "finattn.errors",
    "Panel": "finattn.panel",
    "PanelTransformer": "finattn.models",
    "Ridge": "finattn.baselines",
    "SICKernel": "finattn.baselines",
    "WalkForward": "finattn.splits",
    "Zero": "finattn.baselines",
    "climb": "finattn.ladder",
    "evaluate": "finattn.evaluation",
    "load": "finattn.data",
    "load_file": "finattn.data",
    "portfolio": "finattn.evaluation",
    "portfolio_summary": "finattn.evaluation",
    "sample": "finattn.data",
    "simulate": "finattn.data",
    "walk_forward": "finattn.experiment",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'finattn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return [*__all__, "__version__"]
