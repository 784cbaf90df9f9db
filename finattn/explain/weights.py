"""Attention weights of fitted models as a tidy table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from finattn.blocks import Blocks
from finattn.models import PanelTransformer

TOP = 500  # peers kept for each firm and date, the heaviest
KINDS = {"lag": ("time",), "peer": ("firm", "industry", "neighbours"), "reference": ("reference",)}


def attention(models: Sequence[PanelTransformer], blocks: Blocks, name: str) -> pd.DataFrame:
    """Return attention weights at the blocks' positions, averaged over models (seeds), heads and layers of one axis.

    Weights are before dropout. They show what the models looked at, not why they decided.

    Parameters
    ----------
    models : fits of one architecture, in evaluation mode.
    blocks : positions to explain.
    name : of the model in the table.

    Returns
    -------
    Table of date, firm, model, method ("attention"), kind ("lag", "peer" or "reference"), key (rows back, or the
    identifier of the peer or of the reference firm) and score; the scores of a firm, date and kind sum to one, except
    that only the heaviest 500 peers are kept.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([100]), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig()).eval()
    >>> table = attention([model], blocks, "firm")
    >>> len(table), round(float(table["score"].sum()), 4)
    (400, 20.0)
    """
    tables = []
    for kind, axes in KINDS.items():
        layers = [i for i, axis in enumerate(models[0].axes) if axis in axes]
        if layers:
            weights = np.mean([_weights(model, blocks, layer) for model in models for layer in layers], axis=0)
            keys = _keys(kind, blocks, weights.shape[2])
            most = len(keys) if kind == "lag" else TOP
            tables.append(_tidy(weights, blocks, keys, most).assign(kind=kind))
    table = pd.concat(tables, ignore_index=True).assign(model=name, method="attention")
    return table[["date", "firm", "model", "method", "kind", "key", "score"]]


def _weights(model: PanelTransformer, blocks: Blocks, layer: int) -> np.ndarray:
    """Return one layer's weights (p, n, key), averaged over heads."""
    parts = []
    for block in blocks.cut(model.warmup, 250):
        weights = model.attention(block, layer, block.scored)
        parts.append(weights.mean(dim=2 if model.axes[layer] == "time" else 1))
    return torch.cat(parts).double().numpy()


def _keys(kind: str, blocks: Blocks, lags: int) -> np.ndarray:
    if kind == "lag":
        return np.arange(lags).astype(str)
    return blocks.reference.panel.firms if kind == "reference" and blocks.reference else blocks.panel.firms


def _tidy(weights: np.ndarray, blocks: Blocks, keys: np.ndarray, most: int) -> pd.DataFrame:
    """List the weights of observed firms, the heaviest `most` of each, in the order of date, firm and key."""
    kept = min(most, len(keys))
    chosen = np.sort(np.argsort(-weights, axis=2, kind="stable")[:, :, :kept], axis=2)
    rows, columns = np.nonzero(blocks.observed)
    return pd.DataFrame(
        {
            "date": blocks.dates[rows].astype("datetime64[ms]").repeat(kept),
            "firm": blocks.panel.firms[columns].repeat(kept),
            "key": keys[chosen[rows, columns]].ravel(),
            "score": np.take_along_axis(weights, chosen, axis=2)[rows, columns].ravel(),
        }
    )
