"""Attention over a panel of firms, along time and along firms, beside baselines tuned as hard.

Names are imported when they are first used, so that ``import finattn`` is quick and torch is
loaded only by what needs it.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "assess": "finattn.evaluation",
    "AttentionForecaster": "finattn.training",
    "audit": "finattn.explain",
    "Audit": "finattn.explain",
    "Blocks": "finattn.blocks",
    "climb": "finattn.ladder",
    "evaluate": "finattn.evaluation",
    "Explanation": "finattn.explain",
    "Forecasts": "finattn.forecasts",
    "HistoricalMean": "finattn.baselines",
    "InputError": "finattn.errors",
    "load": "finattn.data",
    "load_file": "finattn.data",
    "look_ahead": "finattn.leaks",
    "LookUpForecaster": "finattn.training",
    "ModelConfig": "finattn.config",
    "Panel": "finattn.panel",
    "PanelTransformer": "finattn.models",
    "PeerNetwork": "finattn.networks",
    "peers": "finattn.networks:build",
    "portfolio": "finattn.evaluation",
    "portfolio_summary": "finattn.evaluation",
    "Ridge": "finattn.baselines",
    "sample": "finattn.data",
    "Scaling": "finattn.blocks",
    "screen": "finattn.leaks",
    "SICKernel": "finattn.baselines",
    "TargetConfig": "finattn.config",
    "TrainingConfig": "finattn.config",
    "simulate": "finattn.data",
    "simulate_quarterly": "finattn.data",
    "walk_forward": "finattn.experiment",
    "WalkForward": "finattn.splits",
    "Zero": "finattn.baselines",
}
_PARTS = ("attention", "data", "evaluation", "explain", "features", "ladder", "leaks", "ledger", "networks", "plots")
"""Packages and modules that are reached as attributes, `fa.networks`, without importing them first."""
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name in _PARTS:
        return import_module(f"finattn.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'finattn' has no attribute {name!r}")
    home, _, there = _HOMES[name].partition(":")
    return getattr(import_module(home), there or name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return [*__all__, *_PARTS, "__version__"]
