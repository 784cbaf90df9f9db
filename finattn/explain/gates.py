"""One forecast's score as a function of which keys are there; the others are put at the baseline.

The keys of kind "lag" are the firm's own rows, those of "peer" the other firms seen (the firm itself is none: its own
rows are keys already), those of "feature" what is known of all by a characteristic.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from finattn.blocks import Block, Blocks, cut
from finattn.errors import InputError
from finattn.explain.explanation import OTHERS, Explanation
from finattn.explain.scene import Explained, Scene, View, scenes, view

Floats = NDArray[np.float64]
KINDS = ("lag", "peer", "feature")
NUMBERS = 2**22  # inputs of one forward pass, at most


class Gates(NamedTuple):
    """One forecast, its keys, and what methods say about them."""

    view: View
    place: Tensor
    """[w n f] which key an input belongs to, −1 for none."""
    column: int
    given: dict[str, Floats]
    """By method, the scores of the keys [key]."""
    keys: int
    """How many."""

    def scores(self, there: Tensor) -> Floats:
        """Return the scores [b] with some keys [b key] there and the others at the baseline."""
        z, found = self.view.z, []
        with torch.no_grad():
            for some in there.to(z.dtype).split(max(1, NUMBERS // z.numel())):
                gate = torch.cat([some, some.new_ones(len(some), 1)], 1)[:, self.place]
                scores = self.view.model(_stacked(self.view.scene.block, self.view.start + z * gate))
                found.append(scores[len(z) - 1 :: len(z), self.column])
        return torch.cat(found).double().numpy()


def kinds(explanation: Explanation) -> list[str]:
    """Return the explanation's kinds of key that can be taken away."""
    return [kind for kind in KINDS if (explanation.table["kind"] == kind).any()]


def forecasts(
    model: Explained, blocks: Blocks, explanation: Explanation, kind: str, baseline: Any = "median"
) -> Iterator[tuple[Scene, list[Gates]]]:
    """Yield the forecasts of an explanation date by date; InputError where a method explains but some of them."""
    table = explanation.table[explanation.table["kind"] == kind]
    if kind not in KINDS or not len(table):
        raise InputError(f"kind must be one of the explanation's {', '.join(kinds(explanation))}, found {kind!r}")
    if table["model"].nunique() > 1:
        raise InputError(f"an explanation must be of one model, found {', '.join(table['model'].unique())}")
    methods = tuple(table["method"].unique())
    parts = dict(list(table.groupby(["date", "firm", "method"], observed=True)))
    targets = list(table[["date", "firm"]].drop_duplicates().itertuples(index=False, name=None))
    for scene in scenes(model, blocks, targets):
        scene = scene._replace(block=_lengthened(scene.block, model.warmup + 1))
        seen = view(model, blocks, scene, baseline)
        date, found = pd.Timestamp(blocks.panel.dates[scene.row]), []
        for column in scene.columns:
            place, keys = _keys(seen, kind, column)
            of_firm = [(date, str(seen.firms[column]), method) for method in methods]
            if missing := [key for key in of_firm if key not in parts]:
                raise InputError(f"methods must explain the same forecasts, found none of {missing[0][1:]} on {date}")
            given = {key[2]: spread(parts[key], keys, kind) for key in of_firm}
            found.append(Gates(seen, place, column, given, len(keys)))
        yield scene, found


def _stacked(block: Block, x: Tensor) -> Block:
    """Put variants [b w n f] of a block's inputs one after another: each is as long as what a forecast draws on."""
    rows = torch.arange(len(block.x)).repeat(len(x))
    return cut(block, rows)._replace(x=x.flatten(0, 1))


def _lengthened(block: Block, days: int) -> Block:
    """Put rows on which nobody is observed before a block that begins with the panel."""
    before = days - len(block.x)
    rows = (torch.arange(days) - before).clamp(min=0)
    longer = cut(block, rows)
    there = torch.arange(days) >= before
    return longer._replace(observed=longer.observed & there[:, None], decision=longer.decision & there)


def _keys(view: View, kind: str, column: int) -> tuple[Tensor, list[str]]:
    """Return which key each input belongs to [w n f], −1 for none, and the keys."""
    days, firms, _ = view.z.shape
    if kind == "feature":
        return view.group.expand(view.z.shape), view.names
    place = torch.full((days, firms, 1), -1)
    if kind == "lag":
        place[:, column, 0] = torch.arange(days).flip(0)
        return place.expand(view.z.shape), [*map(str, range(days))]
    others = view.scene.seen.clone()
    others[column] = False
    columns = others.nonzero().squeeze(1)
    place[:, columns, 0] = torch.arange(len(columns))
    return place.expand(view.z.shape), [*map(str, view.firms[columns.numpy()])]


def spread(part: pd.DataFrame, keys: list[str], kind: str) -> Floats:
    """Return the scores of keys [key]: a group's is spread evenly over its own, and 0 stands for what is not listed."""
    place, rest = {key: index for index, key in enumerate(keys)}, 0.0
    found = np.full(len(keys), np.nan)
    for key, score in zip(part["key"], part["score"], strict=True):
        if key == OTHERS:
            rest = score if kind == "peer" else 0.0  # of lags, the others are the peers
            continue
        first, _, last = key.partition(" to ") if kind == "lag" else (key, "", "")
        members = [place[one] for one in map(str, range(int(first), int(last) + 1))] if last else [place.get(key)]
        found[[one for one in members if one is not None]] = score / len(members)
    unlisted = np.isnan(found)
    found[unlisted] = rest / max(1, unlisted.sum())
    return found
