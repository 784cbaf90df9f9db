"""Fixtures that several tests share."""

import numpy as np
import pytest
import torch

from finattn import features
from finattn.config import ModelConfig, TrainingConfig
from finattn.panel import Panel


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small operations lose by a second thread, and a test's result must not depend on how many there are."""
    torch.set_num_threads(1)


def make_panel(firms: int = 12, days: int = 420, seed: int = 0) -> Panel:
    """Simulate a panel with gaps, a late listing and two delistings, and build its features."""
    random = np.random.default_rng(seed)
    dates = np.busday_offset("2001-01-01", np.arange(days), roll="forward")
    returns = 0.01 * random.standard_normal((days, 1)) + 0.02 * random.standard_normal((days, firms))
    listed = np.ones((days, firms), bool)
    listed[:60, 1] = False
    listed[days - 60 :, 2] = False
    listed[days // 2 :, 3] = False
    returns[random.random((days, firms)) < 0.03] = np.nan
    returns[~listed] = np.nan
    returns[days - 60, 2] = -0.4  # a known delisting return; firm 3's is not known
    codes = np.resize([2834, 2834, 2835, 6021, 6021, 6022, 3571, 0], firms)
    panel = Panel(
        dates=dates,
        firms=[f"F{i:02d}" for i in range(firms)],
        returns=returns,
        listed=listed,
        industry=np.broadcast_to(codes, returns.shape),
    )
    return features.build(panel, ("reversal", "maximum_return", "idiosyncratic_volatility"))


@pytest.fixture(scope="session")
def panel() -> Panel:
    return make_panel()


@pytest.fixture(scope="session")
def small_model() -> ModelConfig:
    return ModelConfig(width=8, heads=2, feed_forward=16, lookback=5)


@pytest.fixture(scope="session")
def short_training() -> TrainingConfig:
    return TrainingConfig(epochs=2, minimum_epochs=1, patience=1, block=60)
