"""How far two runs of a model are apart: in where they look, in what they forecast, and in what that is worth.

Weights are apart by the Jensen-Shannon distance, from 0 to 1, of each forecast's row of weights: over forecasts with
two keys or more, heads and layers, for each date first and then over dates. Scores are apart by how far firms move, in
standard deviations over the firms of a date of the first, a shift of all firms alike left out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from finattn.blocks import Blocks
from finattn.config.require import require
from finattn.errors import InputError
from finattn.evaluation.comparisons import bootstrap_mean
from finattn.explain.agreement import over_dates
from finattn.explain.steered import ALL, Steered
from finattn.metrics import demeaned, rank_information_coefficient
from finattn.splits import label_overlap

Floats = NDArray[np.float64]
MEASURES = ("distance", "change", "rank_correlation", "rank_ic", "original_rank_ic", "rank_ic_change")
_OUTCOMES = MEASURES[3:]
_BARE = ("rank_ic", "original_rank_ic")  # whose intervals say less than that of their difference
_NOISE = 1e-5  # of scores, in deviations over firms: what differs by less is a rounding error
_MOST = 250  # rows at once


def jensen_shannon(first: Tensor, second: Tensor, least: float = 0.0) -> Tensor:
    """Return the Jensen-Shannon distance [...] of shares [... k]: the root of the divergence to base 2, from 0 to 1.

    Parameters
    ----------
    first, second : that sum to one each. least : that the divergence is taken to be.

    Examples
    --------
    >>> jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).item()
    1.0
    """
    divergence = _entropy((first + second) / 2) - (_entropy(first) + _entropy(second)) / 2
    return divergence.clamp(min=least, max=1.0).sqrt()


def _entropy(shares: Tensor) -> Tensor:
    return -(shares * shares.clamp(min=torch.finfo(shares.dtype).tiny).log2()).sum(-1)


def require_fits(fits: Sequence[Any], least: int = 1) -> None:
    """Refuse too few fits."""
    require("fits", len(fits), len(fits) >= least, f"at least {least}")


def compare(first: Steered, others: Sequence[Steered], blocks: Blocks, matched: bool = False) -> list[pd.DataFrame]:
    """Return for each of the others how far it is from the first, a few dates at a time.

    Parameters
    ----------
    matched : pair heads, in each layer, as they are closest on average: they have no order.

    Returns
    -------
    Tables of row (of the panel), kind and `MEASURES`, a row for each date and kind of key and for "all" of several.

    Raises
    ------
    InputError
        For models of other layers or heads than the first.
    """
    reference = blocks.reference.panel.shape[1] if blocks.reference else 0
    scores: list[list[Tensor]] = [[] for _ in range(len(others) + 1)]
    apart: list[list[list[Tensor]]] = [[] for _ in others]
    with torch.no_grad():
        for block in blocks.cut(first.original.warmup, min(_MOST, first.rows(blocks.panel.shape[1], reference))):
            seen = first(block)
            scores[0].append(seen.scores)
            for place, other in enumerate(others):
                now = other(block)
                scores[place + 1].append(now.scores)
                _require_alike(seen.weights, now.weights)
                pairs = zip(seen.weights, now.weights, seen.counted, strict=True)
                apart[place].append([_between(*pair, matched) for pair in pairs])
    own, *moved = (torch.cat(parts).double().numpy() for parts in scores)
    tables = []
    for found, distances in zip(moved, apart, strict=True):
        layers = [_paired(torch.cat(parts)) for parts in zip(*distances, strict=True)]
        measures = pd.DataFrame({"row": blocks.positions, **_moved(own, found, blocks.realised)})
        tables.append(_by_kind(first, layers, measures))
    return tables


def _require_alike(first: Sequence[Tensor], second: Sequence[Tensor]) -> None:
    shapes = [[(weights.shape[1], weights.shape[3]) for weights in some] for some in (first, second)]
    if shapes[0] != shapes[1]:
        raise InputError(f"fits must be of one model, found heads and keys of layers {shapes[0]} and {shapes[1]}")


def _between(first: Tensor, second: Tensor, counted: Tensor, matched: bool) -> Tensor:
    """Return the mean distance [t h h'] of one layer's weights [t h n k] by date, over the forecasts that count [t n].

    It is NaN where none does, and between heads of other numbers unless they are to be matched.
    """
    heads, found = first.shape[1], first.new_full((*first.shape[:2], first.shape[1]), torch.nan, dtype=torch.float64)
    count = counted.sum(1)
    for one in range(heads):
        own = first[:, one].double()
        for other in range(heads) if matched else [one]:
            rows = jensen_shannon(own, second[:, other].double())
            found[:, one, other] = rows.where(counted, 0.0).sum(1) / count.where(count > 0, torch.nan)
    return found


def _paired(distances: Tensor) -> Floats:
    """Return the distance of one layer by date, heads paired as they are closest: [t h h'] to [t]."""
    mean = distances.nanmean(0).nan_to_num(2.0).numpy()  # 2, farther than any, where heads are not to be matched
    return distances[:, *linear_sum_assignment(mean)].mean(1).numpy()


def _moved(own: Floats, found: Floats, realised: Floats) -> dict[str, Floats]:
    """Measure by date how far scores moved and what they are worth."""
    known = ~np.isnan(own)
    centred, count = demeaned(own, known), np.maximum(known.sum(1, keepdims=True), 1)
    deviation = np.sqrt(np.square(centred).sum(1, keepdims=True) / count)
    deviation = np.where(deviation > 0, deviation, np.nan)
    first, second = centred / deviation, demeaned(found, known) / deviation
    second = np.where(np.abs(second).max(1, keepdims=True, initial=0) < _NOISE, 0.0, second)
    change = np.where(known, np.abs(second - first), 0.0).sum(1) / count[:, 0]
    first, second = (np.where(known, x, np.nan) for x in (first, second))
    worth = rank_information_coefficient(first, realised)
    after = np.where(np.isnan(worth), np.nan, np.nan_to_num(rank_information_coefficient(second, realised)))
    alike = np.where(np.isnan(change), np.nan, np.nan_to_num(rank_information_coefficient(second, first)))
    return dict(zip(MEASURES[1:], (change, alike, after, worth, after - worth), strict=True))


def _by_kind(model: Steered, layers: Sequence[Floats], measures: pd.DataFrame) -> pd.DataFrame:
    """Repeat measures of the scores for each kind, beside the mean distance of its layers."""
    parts = []
    for kind in model.compared:
        some = [layer for layer, own in zip(layers, model.kinds, strict=True) if kind in (ALL, own)]
        parts.append(measures.assign(kind=kind, distance=np.mean(some, axis=0)))
    return pd.concat(parts, ignore_index=True)


def summary(table: pd.DataFrame, name: str, by: Sequence[str], blocks: Blocks) -> pd.DataFrame:
    """Average tables of `compare` over fits and draws for each date, then over dates, with 95% intervals."""
    overlap, rows = label_overlap(blocks.positions, blocks.target.horizon), []
    for key, part in table.groupby(list(by), sort=False):
        row = {"model": name, **dict(zip(by, key, strict=True))}
        for measure in MEASURES:
            dates, values = part["row"].to_numpy(), part[measure].to_numpy()
            if measure in _OUTCOMES:
                found = bootstrap_mean(pd.Series(values).groupby(dates).mean().to_numpy(), overlap)
            else:
                found = over_dates(dates, values)
            row[measure] = found.estimate
            if measure not in _BARE:
                row |= {f"{measure}_lower": found.lower, f"{measure}_upper": found.upper}
        rows.append(row | {"dates": part.loc[part["change"].notna(), "row"].nunique()})
    return pd.DataFrame(rows)
