"""What a forecast loses when some of its inputs are taken away, to the baseline: captum's algorithms on gates.

A gate stands for a group of inputs: 1 leaves them as they are, 0 puts them at the baseline. Its scores as a function of
gates, z · gate, are all that captum sees.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from captum.attr import FeatureAblation, Occlusion, ShapleyValueSampling
from torch import Tensor

from finattn.explain.explanation import OTHERS
from finattn.explain.scene import View

Sums = dict[str, list[pd.Series]]
"""By kind, for each of the firms explained: scores by key."""


def ablation(view: View) -> Sums:
    """Take away one lag, one firm or one characteristic at a time."""
    days, seen = len(view.z), np.flatnonzero(view.scene.seen.numpy())
    keys = [*map(str, range(days)), OTHERS]
    lags = [_taken(alone, _lags(view, column, range(days)), len(keys))[0] for column, alone in view.alone()]
    firms = _taken(view, _firms(view, seen), len(seen) + 1)[:, :-1]
    return {
        "lag": [pd.Series(one, keys) for one in lags],
        "peer": [pd.Series(one, view.firms[seen]) for one in firms],
        "feature": [pd.Series(one, view.names) for one in _taken(view, view.group, len(view.names))],
    }


def occlusion(view: View, width: int) -> Sums:
    """Take away `width` consecutive own rows, and give each row the mean over the windows that it is in."""
    days, rows = len(view.z), []
    for column, alone in view.alone():
        scores = _gated(alone, _lags(view, column, range(days)))

        def own(gates: Tensor, scores: Callable[[Tensor], Tensor] = scores) -> Tensor:
            return scores(torch.cat([gates, torch.ones(len(gates), 1)], 1))  # peers stay

        with torch.no_grad():
            found = Occlusion(own).attribute(torch.ones(1, days), sliding_window_shapes=(min(width, days),))
        rows.append(pd.Series(found[0].double().numpy(), [*map(str, range(days))]))
    return {"lag": rows}


def shapley(view: View, samples: int, seed: int, most: int, first: Sequence[int]) -> Sums:
    """Play a game a kind: groups of own lags against all peers, the `most` largest peers, characteristics.

    `first` are the first lags of the groups. The largest peers are those whose inputs times gradients are.
    """
    days, seen = len(view.z), view.scene.seen
    first = [lag for lag in first if lag < days]
    spans = [*map(_span, first, [*first[1:], days]), OTHERS]
    sizes = (view.z * view.gradients(view.z)).sum((1, 3)).abs().masked_fill(~seen, -1.0)
    listed = min(most + 1, int(seen.sum()))
    lags, peers = [], []
    for (column, alone), size in zip(view.alone(), sizes, strict=True):
        size[column] = torch.inf
        chosen = size.argsort(descending=True, stable=True)[:listed].numpy()
        played = _played(alone, _firms(view, chosen), listed + 1, samples, seed)[0]
        lags.append(pd.Series(_played(alone, _lags(view, column, first), len(spans), samples, seed)[0], spans))
        shares = pd.Series(played, [*view.firms[chosen], OTHERS])
        peers.append(shares if listed < seen.sum() else shares[:-1])
    features = _played(view, view.group, len(view.names), samples, seed)
    return {"lag": lags, "peer": peers, "feature": [pd.Series(one, view.names) for one in features]}


def _gated(view: View, mask: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the scores [b i] as a function of gates [b g], of the groups in a mask that z [w n f] broadcasts with."""
    return lambda gates: torch.stack([view.scores(view.z * gate[mask]) for gate in gates]).double()


def _taken(view: View, mask: Tensor, groups: int) -> np.ndarray:
    """Return what each firm's score loses with each group of a mask [i g]."""
    with torch.no_grad():
        return FeatureAblation(_gated(view, mask)).attribute(torch.ones(1, groups)).numpy()


def _played(view: View, mask: Tensor, groups: int, samples: int, seed: int) -> np.ndarray:
    """Return the Shapley values [i g] of the groups of a mask, from the same permutations for every game of a size."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        found = ShapleyValueSampling(_gated(view, mask)).attribute(torch.ones(1, groups), n_samples=samples)
    return found[0].double().numpy()


def _span(first: int, after: int) -> str:
    return str(first) if after == first + 1 else f"{first} to {after - 1}"


def _lags(view: View, column: int, first: Sequence[int]) -> Tensor:
    """Return a mask [w n 1] of a firm's own rows, in groups of lags that begin with `first`; the last is all peers."""
    days, firms = view.z.shape[:2]
    place = np.searchsorted(np.asarray(first), np.arange(days)[::-1], side="right") - 1
    mask = torch.full((days, firms, 1), len(first))
    mask[:, column, 0] = torch.from_numpy(place)
    return mask


def _firms(view: View, chosen: np.ndarray) -> Tensor:
    """Return a mask [n 1] of firms, those chosen first and the others as one."""
    place = torch.full((view.z.shape[1], 1), len(chosen))
    place[chosen, 0] = torch.arange(len(chosen))
    return place
