"""What the layers of a model know: linear probes, each beside one for labels that mean nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from finattn.blocks import Block, Blocks
from finattn.errors import InputError
from finattn.evaluation.inference import mean_block, resamples
from finattn.explain.scene import Corrected, Explained
from finattn.look_up import LookUp
from finattn.models import PanelTransformer

ROWS = 20_000  # firm-dates that a probe is fitted on, at most
COLUMNS = ["target", "layer", "measure", "value", "lower", "upper", "control", "selectivity", "chance", "classes",
           "rows", "dates"]  # fmt: skip
INPUTS = "inputs"
Floats = NDArray[np.float64]


def probe(
    model: Explained, train: Blocks, test: Blocks, what: Mapping[str, NDArray[Any]], seed: int = 0
) -> pd.DataFrame:
    """Read targets off the outputs of a model's layers by linear probes, fitted on some dates and scored on others.

    A probe for a number is a ridge regression, scored by R², 1 − Σ (y − ŷ)² / Σ (y − ȳ)² over the test firm-dates; one
    for codes a logistic regression with balanced classes, scored by balanced accuracy, the mean over classes of the
    share found. What a probe finds is there; whether the model uses it is another question.

    A firm that looks the same from date to date can be learnt by heart. So each probe has a control task (Hewitt and
    Liang 2019): the same probe for labels that mean nothing, one dealt to each firm for all dates; of codes each class
    as often as the others, of numbers drawn from those fitted on. Selectivity is what the probe scores beyond that:
    near zero, the layer tells firms apart and no more.

    Layers of `PanelTransformer` are "embedding", and "layer 1" and so on as they add to it; of `LookUp` "queries" and
    "keys"; of a corrected model all of both, those of its base with "base " in front. "inputs" are the row's own inputs
    `Block.x`, which a layer along time has more than.

    Parameters
    ----------
    model : a network in evaluation mode. train, test : positions of one panel that share no date.
    what : by name, values [t n] on all rows of the panel: floats, NaN = missing; or integers, codes of which 0 is
        unknown and left out.
    seed : of the labels that mean nothing and of the firm-dates fitted on, where there are more than 20,000.

    Returns
    -------
    A row for each target and layer: `measure` ("r2" or "balanced_accuracy"), `value` with the `lower` and `upper` end
    of its 95% interval by block bootstrap over test dates (NaN for fewer than four), `control`, `selectivity`,
    `chance` (0, or 1 / classes), `classes` (0 for numbers), and the test `rows` and `dates`. Classes that are not in
    the training dates are left out of the test.

    Raises
    ------
    InputError
        For a model of another kind, positions that overlap or are of two panels, and values of another shape or kind,
        that are infinite, or too few to fit.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import simulate
    >>> panel, _ = simulate(firms=60, days=60)
    >>> train, test = (Blocks(panel, rows, Scaling.fit(panel, np.arange(40)), TargetConfig())
    ...                for rows in (np.arange(20, 40), np.arange(40, 50)))
    >>> found = probe(LookUp(train.scaling.width), train, test, {"industry": panel.industry // 100})
    >>> found["layer"].tolist(), found["chance"].tolist(), bool(found["value"].min() > 0.9)
    (['inputs', 'queries', 'keys'], [0.125, 0.125, 0.125], True)
    """
    _check(train, test, what)
    random = np.random.default_rng(seed)
    known, held_out = _sample(model, train, random), _sample(model, test, random)
    rows = []
    for name, values in what.items():
        task = _task(name, np.asarray(values), known, held_out)
        control, classes = _control(task, random), len(task.classes)
        measure, chance = ("balanced_accuracy", 1 / classes) if classes else ("r2", 0.0)
        for layer in known.layers:
            outputs = known.layers[layer], held_out.layers[layer]
            found = _scored(task, *outputs)
            value, nothing = _value(*found), _value(*_scored(control, *outputs))
            figures = (value, *_interval(*found), nothing, value - nothing, chance)
            rows.append((name, layer, measure, *figures, classes, int(task.tested.sum()), len(found[0])))
    return pd.DataFrame(rows, columns=COLUMNS)


def _check(train: Blocks, test: Blocks, what: Mapping[str, NDArray[Any]]) -> None:
    if train.panel is not test.panel:
        raise InputError("train and test must be positions of one panel, found two panels")
    shared = np.intersect1d(train.positions, test.positions)
    if len(shared):
        raise InputError(f"train and test must share no date, found {train.panel.dates[shared[0]]} in both")
    for name, values in what.items():
        values = np.asarray(values)
        if values.shape != train.panel.shape or values.dtype.kind not in "fiu":
            found = f"{values.shape} of {values.dtype}"
            raise InputError(f"what[{name!r}] must be floats or integer codes {train.panel.shape}, found {found}")
        if np.isinf(values).any():
            raise InputError(f"what[{name!r}] must be finite or NaN, found an infinite number")


# -- what layers put out ----------------------------------------------------------------------------------------------


class _Sample(NamedTuple):
    """Firm-dates [r]: rows of the panel and firms, with what each layer puts out for them [r d]."""

    row: NDArray[np.int64]
    firm: NDArray[np.int64]
    layers: dict[str, NDArray[np.float32]]


def _sample(model: Any, blocks: Blocks, random: np.random.Generator) -> _Sample:
    place, firm = np.nonzero(blocks.observed)
    if len(place) > ROWS:
        chosen = np.sort(random.choice(len(place), ROWS, replace=False))
        place, firm = place[chosen], firm[chosen]
    parts: dict[str, list[NDArray[np.float32]]] = {}
    start = 0
    for block in blocks.cut(model.warmup, 250):
        rows = block.scored
        here = (start <= place) & (place < start + len(rows))
        at = rows[place[here] - start], torch.from_numpy(firm[here])
        start += len(rows)
        with torch.no_grad():
            for name, tokens in [(INPUTS, block.x), *_layers(model, block)]:
                parts.setdefault(name, []).append(tokens[at].numpy())
    layers = {name: np.concatenate(some) for name, some in parts.items()}
    return _Sample(blocks.positions[place], firm, layers)


def _layers(model: Any, block: Block) -> Iterator[tuple[str, Tensor]]:
    """Yield the outputs [t n d] of a model's layers, bottom first."""
    if isinstance(model, Corrected):
        yield from ((f"base {name}", tokens) for name, tokens in _layers(model.base, block))
        yield from _layers(model.model, block)
    elif isinstance(model, LookUp):
        sides = model.sides(block, torch.arange(len(block.x)))
        yield from zip(("queries", "keys"), (side.transpose(1, 2).flatten(2) for side in sides), strict=True)
    elif isinstance(model, PanelTransformer):
        x = model.embed(block.x, block.observed)
        yield "embedding", x
        for number, (axis, layer) in enumerate(zip(model.axes, model.layers, strict=True), 1):
            turned = (1, 0) if axis == "time" else (0, 1)  # batch first
            x = layer(x.permute(*turned, 2), model.context(block, axis == "time")).permute(*turned, 2)
            yield f"layer {number}", x
    else:
        raise InputError(f"layers must be those of a PanelTransformer or a LookUp, found a {type(model).__name__}")


# -- what is read off them --------------------------------------------------------------------------------------------


class _Task(NamedTuple):
    """Something to read: values of the firm-dates fitted and tested on, those without one left out."""

    fitted: NDArray[np.bool_]
    """[r] of the firm-dates sampled."""
    tested: NDArray[np.bool_]
    y: NDArray[Any]
    """Of those fitted."""
    truth: NDArray[Any]
    """Of those tested."""
    firms: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Of both."""
    date: NDArray[np.int64]
    """Numbers of test dates from 0."""
    classes: NDArray[Any]
    """Empty for numbers."""


def _task(name: str, values: NDArray[Any], known: _Sample, held_out: _Sample) -> _Task:
    y, truth = (values[one.row, one.firm] for one in (known, held_out))
    numbers = values.dtype.kind == "f"
    fitted = ~np.isnan(y) if numbers else y != 0
    classes = np.unique(y[:0] if numbers else y[fitted])
    tested = ~np.isnan(truth) if numbers else np.isin(truth, classes)
    firms = known.firm[fitted], held_out.firm[tested]
    if len(np.unique(firms[0])) < 2 or not tested.any() or (not numbers and len(classes) < 2):
        least = "two firms with values to fit on, one to test on, and of codes two classes"
        raise InputError(f"what[{name!r}] must have at least {least}, found {fitted.sum()} and {tested.sum()} values")
    date = np.unique(held_out.row[tested], return_inverse=True)[1]
    return _Task(fitted, tested, y[fitted], truth[tested], firms, date, classes)


def _control(task: _Task, random: np.random.Generator) -> _Task:
    """Deal each firm a label that means nothing; test firms that were not fitted on have none."""
    firms, place = np.unique(task.firms[0], return_inverse=True)
    even = np.resize(task.classes, len(firms)) if len(task.classes) else random.choice(task.y, len(firms))
    labels = random.permutation(even)
    met = np.isin(task.firms[1], firms)
    tested = task.tested.copy()
    tested[tested] = met
    truth = labels[np.searchsorted(firms, task.firms[1][met])]
    return task._replace(tested=tested, y=labels[place], truth=truth, date=task.date[met])


def _scored(task: _Task, x: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Fit on one layer's outputs and return what was gained and could be, by test date and class [t c]."""
    codes = len(task.classes) > 0
    model = LogisticRegression(class_weight="balanced", max_iter=1000) if codes else Ridge()
    guess = make_pipeline(StandardScaler(), model).fit(x[task.fitted].astype(float), task.y).predict(other[task.tested])
    if codes:
        worth = (task.truth[:, None] == task.classes).astype(float)
        gain = worth * (guess == task.truth)[:, None]
    else:
        worth = np.square(task.truth - task.truth.mean())[:, None]
        gain = worth - np.square(task.truth - guess)[:, None]
    sums = [pd.DataFrame(part).groupby(task.date).sum().to_numpy(np.float64) for part in (gain, worth)]
    return sums[0], sums[1]


def _value(gain: Floats, worth: Floats) -> float:
    """Return the share gained, averaged over the classes that there are."""
    total = worth.sum(0)
    return float((gain.sum(0)[total > 0] / total[total > 0]).mean()) if total.any() else np.nan


def _interval(gain: Floats, worth: Floats) -> tuple[float, float]:
    """Return the ends of the 95% percentile interval of resampled blocks of dates."""
    count = len(gain)
    block = mean_block(count, 0)
    if count < 2 * block:
        return np.nan, np.nan
    again = [_value(gain[some], worth[some]) for some in resamples(count, block, 0)]
    lower, upper = np.nanquantile(again, [0.025, 0.975])
    return float(lower), float(upper)
