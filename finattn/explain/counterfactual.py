"""What forecasts become when attention is other than it was: even, permuted, trained to be elsewhere, or frozen even.

Weights explain a forecast only where other weights would have made another one (Jain and Wallace 2019), and only as far
as attention is needed at all (Wiegreffe and Pinter 2019). Two sets of weights are apart by the Jensen-Shannon distance,
from 0 to 1, of each forecast's row of weights: over forecasts with two keys or more, heads and layers, for each date
first and then over dates. Two sets of scores are apart by how far firms move, in standard deviations over the firms of
a date of the first, a shift of all firms alike left out. Ends of 95% intervals are by block bootstrap over dates.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from finattn.blocks import Blocks
from finattn.config import ModelConfig
from finattn.config.require import require
from finattn.errors import InputError
from finattn.evaluation.inference import mean_inference, one_sided
from finattn.explain.apart import compare, require_fits, summary
from finattn.explain.scene import scores
from finattn.explain.steered import Steered, even, generator, permuted
from finattn.look_up import LookUp
from finattn.metrics import rank_information_coefficient
from finattn.splits import label_overlap
from finattn.training import AttentionForecaster, LookUpForecaster, TrainedForecaster

_EVEN = 1e12  # a temperature at which scores are as nothing


# -- other weights, same parameters ------------------------------------------------------------------------------------


def replaced(fits: Sequence[Any], blocks: Blocks, name: str = "model", draws: int = 3, seed: int = 0) -> pd.DataFrame:
    """Put other weights in the place of a model's own, and see how far its forecasts move.

    All parameters stay. A layer's weights become even over the keys that its mask allows, or are permuted among them,
    for each forecast and head anew (Jain and Wallace 2019); layers of one kind of key at a time, and of all at once.

    Parameters
    ----------
    fits : of one model, one a seed, see `explain.network`; they are left as they are.
    blocks : the panel at the dates asked. name : of the model in the table.
    draws : permutations that are averaged over. seed : of them.

    Returns
    -------
    Table of model, kind ("lag", "peer", "reference", "all" where there are several), setting ("uniform", "permuted"),
    `distance` of the weights to the model's own, `change` of the scores (mean |Δ|), `rank_correlation` over firms with
    the model's own, `rank_ic`, `original_rank_ic`, `rank_ic_change` from the one to the other, and dates; with `_lower`
    and `_upper`; fits and draws are averaged for each date. Scores that no longer differ between firms order nothing:
    correlation and rank IC are 0.

    Raises
    ------
    InputError
        For no fits, one without attention or whose weights have a sign, and fewer than one draw.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.arange(60, 80), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("time", "firm"), ModelConfig(width=8, lookback=5)).eval()
    >>> replaced([model], blocks, draws=1)[["kind", "setting"]].values.tolist()[::2]
    [['lag', 'uniform'], ['peer', 'uniform'], ['all', 'uniform']]
    """
    require("draws", draws, draws >= 1, "at least 1")
    require("seed", seed, seed >= 0, "at least 0")
    require_fits(fits)
    parts = []
    for place, fit in enumerate(fits):
        original = Steered(fit)
        changes = [("uniform", even), *(("permuted", permuted(generator(seed, place, draw))) for draw in range(draws))]
        cases = [(kind, setting, change) for kind in original.compared for setting, change in changes]
        others = [Steered(fit, change, kind) for kind, _, change in cases]
        for (kind, setting, _), found in zip(cases, compare(original, others, blocks), strict=True):
            parts.append(found[found["kind"] == kind].assign(setting=setting))
    return summary(pd.concat(parts), name, ["kind", "setting"], blocks)


def between_seeds(fits: Sequence[Any], blocks: Blocks, name: str = "model") -> pd.DataFrame:
    """Measure how far fits of one model that differ by their seed look elsewhere, and forecast something else.

    What an adversary's distance is to be held against: attention that differs as much by chance alone explains little.
    Heads have no order, and are paired, in each layer, as they are closest on average.

    Parameters
    ----------
    fits, blocks, name : as of `replaced`.

    Returns
    -------
    Table as of `replaced`, with setting "seed" and without rank ICs, averaged over pairs of fits; change is in
    deviations of the earlier one's scores.

    Raises
    ------
    InputError
        For fewer than two fits, and fits of different models.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.arange(60, 80), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(width=8)).eval()
    >>> float(between_seeds([model, model], blocks)["distance"].round(6).item())
    0.0
    """
    require_fits(fits, 2)
    seeds = [Steered(fit) for fit in fits]
    parts = [
        table.assign(setting="seed")
        for place, one in enumerate(seeds[:-1])
        for table in compare(one, seeds[place + 1 :], blocks, matched=True)
    ]
    table = summary(pd.concat(parts), name, ["kind", "setting"], blocks)
    return table.drop(columns=[column for column in table if "rank_ic" in str(column)])


# -- frozen even -------------------------------------------------------------------------------------------------------


def uniform_config(config: ModelConfig) -> ModelConfig:
    """Return a model's sizes with weights that are even over the keys that a mask allows, whatever is learnt.

    Examples
    --------
    >>> found = uniform_config(ModelConfig(normaliser="sparsemax", positions="linear_bias"))
    >>> found.temperature, found.normaliser, found.positions
    (1000000000000.0, 'softmax', 'none')
    """
    return replace(config, temperature=_EVEN, normaliser="softmax", positions="none")


class UniformLookUp(LookUpForecaster):
    """A look-up whose weights are frozen even: its scores are 0, since what it takes off are even weights."""

    def _new(self, inputs: int, reference_inputs: int | None) -> LookUp:
        model = super()._new(inputs, reference_inputs)
        for parameter in (model.query.weight, model.query.bias, model.slope):
            torch.nn.init.zeros_(parameter)
        return model

    def fit(self, train: Blocks, valid: Blocks) -> Self:
        """Do nothing: nothing is left to learn."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.model = self._new(train.scaling.width, None).eval()
        self.chosen = {"epoch": 0}
        return self


def uniform_twin(forecaster: Any) -> TrainedForecaster:
    """Return a forecaster, yet to be fitted, that differs from a given one in that its attention is frozen even.

    It has the same seed and the same training. A base that attends has its twin for a base, any other itself anew.

    Raises
    ------
    InputError
        For a forecaster that does not attend.

    Examples
    --------
    >>> uniform_twin(AttentionForecaster(("firm",), seed=3)).seed
    3
    """
    forecaster = getattr(forecaster, "forecaster", forecaster)  # the ladder's, fitted once for all that start from it
    if isinstance(forecaster, LookUpForecaster):
        return UniformLookUp(forecaster.look_up, forecaster.training, forecaster.seed)
    if not isinstance(forecaster, AttentionForecaster):
        raise InputError(f"only what attends has a twin with even attention, found {type(forecaster).__name__}")
    config, base = uniform_config(forecaster.model_config), getattr(forecaster.base, "forecaster", forecaster.base)
    attends = isinstance(base, AttentionForecaster | LookUpForecaster)
    twin = uniform_twin(base) if attends else copy.deepcopy(base)
    return AttentionForecaster(forecaster.axes, config, forecaster.training, forecaster.seed, base=twin)


def against_uniform(
    fits: Sequence[Any], uniform_fits: Sequence[Any], blocks: Blocks, name: str = "model"
) -> pd.DataFrame:
    """Test whether a model forecasts better than one fitted with its attention frozen even.

    If it does not, there is no attention to explain (Wiegreffe and Pinter 2019).

    Parameters
    ----------
    fits, uniform_fits : fitted forecasters or networks; the latter of `uniform_twin`, with the same seeds.
    blocks : the panel at test positions. name : of the model.

    Returns
    -------
    Table of model, `rank_ic` and `uniform_rank_ic`, averaged over fits; their `difference` by date, with `lower` and
    `upper` (95%, block bootstrap), `standard_error` (HAC) and `p_one_sided`, of the null that it is at most 0; dates
    and those left out as `undefined`. Scores that do not differ between firms have rank IC 0.

    Raises
    ------
    InputError
        For no fits of either.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.arange(60, 80), Scaling.fit(panel, np.arange(50)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(width=8)).eval()
    >>> against_uniform([model], [model], blocks)["difference"].tolist()
    [0.0]
    """
    both = []
    for some, label in ((fits, "fits"), (uniform_fits, "uniform_fits")):
        require(label, len(some), len(some) >= 1, "at least 1")
        both.append(np.stack([rank_information_coefficient(_predicted(fit, blocks), blocks.realised) for fit in some]))
    undefined = np.isnan(np.concatenate(both)).all(axis=0)
    own, frozen = (np.where(undefined, np.nan, np.nan_to_num(found).mean(axis=0)) for found in both)
    found = mean_inference(own - frozen, label_overlap(blocks.positions, blocks.target.horizon))
    row = {
        "model": name, "rank_ic": np.nan_to_num(own).sum() / max(1, found.dates),
        "uniform_rank_ic": np.nan_to_num(frozen).sum() / max(1, found.dates), "difference": found.estimate,
        "lower": found.bootstrap_lower, "upper": found.bootstrap_upper, "standard_error": found.standard_error,
        "p_one_sided": one_sided(found), "dates": found.dates, "undefined": found.undefined,
    }  # fmt: skip
    return pd.DataFrame([row])


def _predicted(fit: Any, blocks: Blocks) -> NDArray[np.float64]:
    """Return the scores (p, n) of a forecaster or a network."""
    if hasattr(fit, "predict"):
        return np.asarray(fit.predict(blocks), np.float64)
    return scores(fit, blocks)
