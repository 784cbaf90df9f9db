"""Every number that a run depends on, as frozen dataclasses that refuse what cannot be.

`finattn.config_file` reads them from YAML with the same keys.
"""

from finattn.config.data import DataConfig, ReportsConfig, Source
from finattn.config.evaluation import BASELINES, OTHERS, BaselinesConfig, PortfolioConfig, SplitsConfig, TargetConfig
from finattn.config.ladder import LadderConfig
from finattn.config.model import AXES, Axis, ModelConfig, Normaliser, TrainingConfig
from finattn.config.run import RunConfig, standing
from finattn.config.sec import SecConfig
from finattn.config.simulated import SimulatedConfig
from finattn.config.wrds import WrdsConfig
from finattn.config.yahoo import YahooConfig

__all__ = [
    "AXES",
    "BASELINES",
    "OTHERS",
    "Axis",
    "BaselinesConfig",
    "DataConfig",
    "LadderConfig",
    "ModelConfig",
    "Normaliser",
    "PortfolioConfig",
    "ReportsConfig",
    "RunConfig",
    "SecConfig",
    "SimulatedConfig",
    "Source",
    "SplitsConfig",
    "TargetConfig",
    "TrainingConfig",
    "WrdsConfig",
    "YahooConfig",
    "standing",
]
