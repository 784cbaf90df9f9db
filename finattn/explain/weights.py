"""What a model looked at: attention weights as a tidy table."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from finattn.blocks import Block, Blocks
from finattn.errors import InputError
from finattn.explain.explanation import COLUMNS, OTHERS, TOP, Explanation
from finattn.explain.scene import Corrected, Target, asked
from finattn.look_up import LookUp
from finattn.models import PanelTransformer

CELLS = 2**25  # weights held at once
KINDS = {"lag": ("time",), "peer": ("firm", "industry", "neighbours"), "reference": ("reference",)}
"""Along which axes a layer attends to which kind of key."""
_KIND = {axis: kind for kind, axes in KINDS.items() for axis in axes}


def attention(
    models: Sequence[Any],
    blocks: Blocks,
    name: str,
    method: str = "attention",
    targets: Sequence[Target] | None = None,
) -> Explanation:
    """Return what the models looked at for some forecasts, averaged over models (seeds) and layers of one axis.

    Weights are before dropout. They show what the models looked at, not why they decided.

    ============  ==================================================================================================
    "attention"   the weights, averaged over heads
    "value_norm"  weight times what is looked at (Kobayashi et al. 2020): the share of a key in Σ_j ‖Σ_h weight_hj
                  W_O^h W_V^h x_j‖, of a look-up in Σ_j |Σ_h weight_hj b_h · v_j|
    "rollout"     weights multiplied through the layers, half of each the residual (Abnar and Zuidema 2020): peers of
                  peers and days of days; lags are the firm's own, and key "others" is all that is not
    ============  ==================================================================================================

    Parameters
    ----------
    models : fits of one architecture, in evaluation mode: `PanelTransformer`, `LookUp`, or `explain.scene.Corrected`,
        whose base and correction are read as layers of one model, and rolled out side by side.
    blocks : the panel, and without targets the positions to explain, at each of which all firms observed are.
    name : of the model in the table. method : see above. targets : dates and firms whose forecasts are explained.

    Returns
    -------
    Explanation with kinds "lag", "peer" and "reference", of the axes that the model has. The scores of a firm, date and
    kind sum to one, except that only the heaviest 500 peers are kept.

    Raises
    ------
    InputError
        For no models, one that has no attention, an unknown method, and targets that the panel does not have.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([100]), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig()).eval()
    >>> table = attention([model], blocks, "firm").table
    >>> len(table), round(float(table["score"].sum()), 4)
    (400, 20.0)
    """
    if method not in LOOKED:
        raise InputError(f"method must be one of {', '.join(LOOKED)}, found {method!r}")
    if not models:
        raise InputError("models must be at least one, found none")
    forecasts = _forecasts(blocks, targets)
    found: dict[str, list[np.ndarray]] = {}
    for model in models:
        for kind, weights in LOOKED[method](model, forecasts):
            found.setdefault(kind, []).append(weights)
    first = (OTHERS,) if method == "rollout" else ()
    tables = [_tidy(forecasts, kind, _mean(found[kind]), first) for kind in KINDS if kind in found]
    table = pd.concat(tables, ignore_index=True).assign(model=name, method=method)
    return Explanation(table[list(COLUMNS)], {method: {"models": len(models)}})


def by_head(model: Any, blocks: Blocks, targets: Sequence[Target]) -> pd.DataFrame:
    """Return the weights of every layer and head for some forecasts.

    Parameters
    ----------
    model, blocks, targets : as of `attention`.

    Returns
    -------
    Table of date, firm, layer (a base's first), axis, head, kind, key and score; the scores of a firm, date, layer and
    head sum to one, except that only the heaviest 500 peers are kept.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([100]), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("time", "firm"), ModelConfig(heads=2, lookback=20)).eval()
    >>> by_head(model, blocks, [(panel.dates[100], "AAPL")]).groupby(["layer", "axis", "head"]).size().tolist()
    [20, 20, 20, 20]
    """
    forecasts, parts = _forecasts(blocks, targets), []
    for number, layer in enumerate(_layers(model)):
        for head, weights in enumerate(_weights(layer, forecasts).swapaxes(0, 1)):
            table = _tidy(forecasts, layer.kind, weights)
            parts.append(table.assign(layer=number, axis=layer.axis, head=head))
    return pd.concat(parts, ignore_index=True)[["date", "firm", "layer", "axis", "head", "kind", "key", "score"]]


class _Forecasts(NamedTuple):
    """The forecasts explained, by date and then in the order given."""

    blocks: Blocks
    """At their dates."""
    place: np.ndarray
    """Of the date [q] among the blocks' positions."""
    column: np.ndarray
    """Of the firm [q]."""


def _forecasts(blocks: Blocks, targets: Sequence[Target] | None) -> _Forecasts:
    if targets is None:
        return _Forecasts(blocks, *np.nonzero(blocks.observed))
    rows = asked(blocks, targets)
    place = np.repeat(np.arange(len(rows)), [len(columns) for columns in rows.values()])
    return _Forecasts(blocks.at(np.array([*rows])), place, np.concatenate([*rows.values()]))


class _Layer(NamedTuple):
    """One layer of attention."""

    network: Any
    place: int
    axis: str

    @property
    def kind(self) -> str:
        """What its keys are."""
        return _KIND[self.axis]


def _networks(model: Any) -> Iterator[PanelTransformer | LookUp]:
    """Yield the networks that a model is made of, a base first."""
    if isinstance(model, Corrected):
        yield from _networks(model.base)
        yield from _networks(model.model)
    elif isinstance(model, PanelTransformer | LookUp):
        yield model
    else:
        raise InputError(f"attention needs a model that attends, found a {type(model).__name__}")


def _layers(model: Any) -> Iterator[_Layer]:
    for network in _networks(model):
        for place, axis in enumerate(network.axes):
            yield _Layer(network, place, axis)


# -- by method: kinds, and weights [q key] --------------------------------------------------------------------------


Looked = Iterator[tuple[str, np.ndarray]]


def _attended(model: Any, forecasts: _Forecasts) -> Looked:
    for layer in _layers(model):
        yield layer.kind, _weights(layer, forecasts).mean(1)


def _value_norms(model: Any, forecasts: _Forecasts) -> Looked:
    for layer in _layers(model):
        norms = _read(layer, forecasts, partial(layer.network.value_norms, layer=layer.place))
        yield layer.kind, norms / norms.sum(1, keepdims=True).clip(np.finfo(float).tiny)


def _rolled(model: Any, forecasts: _Forecasts) -> Looked:
    for network in _networks(model):
        if isinstance(network, LookUp):  # one layer and no residual: its weights
            yield from _attended(network, forecasts)
            continue
        parts = [_rolled_row(network, forecasts, place) for place in range(len(forecasts.blocks.positions))]
        kinds = {_KIND[axis] for axis in network.axes}
        for kind, found in zip(("lag", "peer"), zip(*parts, strict=True), strict=True):
            if kind in kinds:
                yield kind, np.concatenate(_padded(found))


LOOKED: dict[str, Callable[[Any, _Forecasts], Looked]] = {
    "attention": _attended,
    "value_norm": _value_norms,
    "rollout": _rolled,
}


def _rolled_row(network: PanelTransformer, forecasts: _Forecasts, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of all that is not own and of own lags [i 1+l], and of firms [i m], in a date's forecasts."""
    blocks, columns = forecasts.blocks, torch.from_numpy(forecasts.column[forecasts.place == place])
    (block,) = blocks.at(blocks.positions[[place]]).cut(network.warmup, 1)
    lags, peers = [], []
    for some in columns.split(max(1, CELLS // block.observed.numel())):
        rolled = network.rollout(block, len(block.x) - 1, some).double()
        own = rolled[torch.arange(len(some)), :, some]
        lags.append(torch.cat([1 - own.sum(1, keepdim=True), own], 1))
        peers.append(rolled.sum(1))
    return torch.cat(lags).numpy(), torch.cat(peers).numpy()


def _weights(layer: _Layer, forecasts: _Forecasts) -> np.ndarray:
    """Return one layer's weights [q h key]."""

    def of_firms(block: Block) -> Tensor:
        weights = layer.network.attention(block, layer.place)
        return weights if layer.axis == "time" else weights.transpose(1, 2)

    return _read(layer, forecasts, of_firms)


def _read(layer: _Layer, forecasts: _Forecasts, read: Callable[[Block], Tensor]) -> np.ndarray:
    """Return what a reading [t n ...] of the rows scored says of the forecasts [q ...]."""
    blocks, network, start, parts = forecasts.blocks, layer.network, 0, []
    cells = blocks.panel.shape[1] * network.config.heads * _count(layer, blocks)
    for block in blocks.cut(network.warmup, min(250, max(1, CELLS // cells))):
        stop = start + len(block.scored)
        inside = (start <= forecasts.place) & (forecasts.place < stop)
        parts.append(read(block)[forecasts.place[inside] - start, forecasts.column[inside]])
        start = stop
    return torch.cat(parts).double().numpy()


def _count(layer: _Layer, blocks: Blocks) -> int:
    """Return the number of keys."""
    return layer.network.lookback if layer.axis == "time" else len(_keys(layer.kind, blocks, 0))


def _keys(kind: str, blocks: Blocks, count: int, first: Sequence[str] = ()) -> np.ndarray:
    """Return the keys of a kind, of lags so many with others before them."""
    if kind == "lag":
        return np.array([*first, *map(str, range(count - len(first)))])
    return blocks.reference.panel.firms if kind == "reference" and blocks.reference else blocks.panel.firms


def _padded(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Make arrays [q key] as wide as the widest: lags that one does not reach have no weight."""
    width = max(part.shape[1] for part in parts)
    return [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]


def _mean(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(_padded(parts), axis=0)


def _tidy(forecasts: _Forecasts, kind: str, weights: np.ndarray, first: Sequence[str] = ()) -> pd.DataFrame:
    """List weights [q key], the heaviest `TOP` peers of each, in the order of date, firm and key."""
    keys = _keys(kind, forecasts.blocks, weights.shape[1], first)
    kept = len(keys) if kind == "lag" else min(TOP, len(keys))
    chosen = np.sort(np.argsort(-weights, axis=1, kind="stable")[:, :kept], axis=1)
    return pd.DataFrame(
        {
            "date": forecasts.blocks.dates[forecasts.place].astype("datetime64[ms]").repeat(kept),
            "firm": forecasts.blocks.panel.firms[forecasts.column].repeat(kept),
            "kind": kind,
            "key": keys[chosen].ravel(),
            "score": np.take_along_axis(weights, chosen, axis=1).ravel(),
        }
    )
