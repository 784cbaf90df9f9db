"""The SIC kernel baseline as a panel transformer: a Gaussian kernel average is one attention layer with fixed keys."""

from typing import cast

import torch

from finattn.attention import TransformerBlock
from finattn.config import ModelConfig
from finattn.errors import InputError
from finattn.models import PanelTransformer


def kernel_config(characteristics: int) -> ModelConfig:
    """Return the configuration of `gaussian_kernel`: one bare attention layer, no residual, norm or feed-forward."""
    width = characteristics + 2
    return ModelConfig(
        width=width, heads=1, key_width=width - 1, value_width=1, feed_forward=0, lookback=1, positions="none",
        own_firm=False, norm="none", residual=False, dropout=0.0,
    )  # fmt: skip


def gaussian_kernel(characteristics: int, bandwidth: float, slope: float = 1.0) -> PanelTransformer:
    """Return the panel transformer that is a Gaussian kernel average over given neighbours, such as SIC peers.

    Keys are fixed characteristics and their squared norm (z_j, ‖z_j‖²), queries (z_i, -½) / h², values peers' lagged
    returns. Their product is -‖z_i − z_j‖² / 2h² but for a term that all keys of a query share, which the softmax
    cancels: the score is slope × Σ_j w_ij r_j / Σ_j w_ij with w_ij = exp(−‖z_i − z_j‖² / 2h²), j ≠ i.

    Parameters
    ----------
    characteristics : f. Columns of `Block.x` are z (f of them), ‖z‖² and the lagged return; who may be whose peer is
        `Block.neighbours`.
    bandwidth : h, in units of z. slope : of the forecast on the average.

    Raises
    ------
    InputError
        For a bandwidth not above zero.

    Examples
    --------
    >>> model = gaussian_kernel(characteristics=2, bandwidth=0.5)
    >>> model.axes, model.config.residual, model.config.feed_forward
    (('neighbours',), False, 0)
    """
    if not bandwidth > 0:
        raise InputError(f"bandwidth must be above zero, found {bandwidth}")
    model, f = PanelTransformer(characteristics + 2, ("neighbours",), kernel_config(characteristics)), characteristics
    attention = cast(TransformerBlock, model.layers[0]).attention
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embedding.weight.copy_(torch.eye(f + 2))
        project = attention.query_key_value  # rows: query f + 1, key f + 1, value 1
        sharp = (f + 1) ** 0.5 / bandwidth**2  # attention divides by √(f + 1)
        project.weight[:f, :f] = sharp * torch.eye(f)
        project.bias[f] = -sharp / 2
        project.weight[f + 1 : 2 * f + 2, : f + 1] = torch.eye(f + 1)
        project.weight[2 * f + 2, f + 1] = 1.0
        attention.output.weight[0, 0] = 1.0
        model.head.weight[0, 0] = slope
    return model.eval()
