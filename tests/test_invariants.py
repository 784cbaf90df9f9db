"""The six invariants of the design, over every forecaster."""

import copy
import dataclasses
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_panel
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from finattn import features
from finattn.attention import attend, attend_band, attention_weights
from finattn.attention.normalisers import normalise
from finattn.attention.positions import rotate
from finattn.baselines import HistoricalMean, Ridge, SICKernel, Zero, kernel_regression, sic_kernel, tabular
from finattn.baselines.boosting import Boosting
from finattn.baselines.kernel_regression import KernelRegression
from finattn.baselines.linear import ElasticNet
from finattn.baselines.simple import Momentum
from finattn.baselines.tabular import Tabular
from finattn.blocks import Block, Blocks, Reference, Scaling, cut
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.experiment import Rung, walk_forward
from finattn.look_up import LookUpConfig
from finattn.models import PanelTransformer
from finattn.recurrent import RecurrentForecaster
from finattn.splits import WalkForward
from finattn.stream import Stream
from finattn.training import AttentionForecaster, LookUpForecaster

SMALL = ModelConfig(width=8, heads=2, feed_forward=16, lookback=5)
# Heads of 6 dimensions leave rows unaligned in memory, where a matrix product may round otherwise.
UNALIGNED = ModelConfig(width=12, heads=2, feed_forward=16, lookback=3)
TRAINING = TrainingConfig(epochs=2, minimum_epochs=1, block=60)
TARGET = TargetConfig(horizon=2)
BASELINES = {
    "zero": Zero,
    "historical_mean": HistoricalMean,
    "momentum": lambda: Momentum((1, (5, 21))),
    "ridge": lambda: Ridge(lookback=5),
    "elastic_net": lambda: ElasticNet(lookback=5),
    "lasso": lambda: Tabular(Lasso(0.01), lookback=5, most_rows=1000),
    "boosting": lambda: Boosting((0.1,), (4,), trees=15, leaf_rows=20, most_rows=2000),
    "sic_average": lambda: SICKernel((1, 5), ()),
    "sic_kernel": lambda: SICKernel((1, 5), (0.5, 1.0)),
    "kernel_regression": lambda: KernelRegression((1, 5), steps=10, dates=16),
}
# Models that are trained as attention is, and attention that starts from a baseline.
TRAINED = {
    "lstm": lambda: RecurrentForecaster(SMALL, TRAINING, layers=2),
    "look_up": lambda: LookUpForecaster(LookUpConfig(4, (1, 5)), TRAINING),
    "firm from ridge": lambda: AttentionForecaster(("firm",), SMALL, TRAINING, base=Ridge(lookback=5)),
}
AXES = [("time",), ("firm",), ("time", "firm"), ("firm", "time"), ("time", "time")]
MODELS = {"-".join(axes): lambda axes=axes: AttentionForecaster(axes, SMALL, TRAINING) for axes in AXES}
MODELS["unaligned"] = lambda: AttentionForecaster(("time", "firm"), UNALIGNED, TRAINING)
# The model's other kinds, untrained: every axis, normaliser and position, and what may be left out of a block.
VARIANTS = {
    "industry": (("industry",), {}),
    "neighbours": (("neighbours",), {"own_firm": False, "normaliser": "sparsemax"}),
    "reference": (("reference",), {"key_width": 6, "value_width": 3}),
    "time-industry": (("time", "industry"), {"industry_level": 1, "activation": "relu"}),
    "time-reference": (("time", "reference"), {"normaliser": "entmax"}),
    "neighbours-time-firm": (("neighbours", "time", "firm"), {"norm": "post", "activation": "gated"}),
    "linear bias": (("time", "firm", "time"), {"positions": "linear_bias", "temperature": 0.5, "value_width": 5}),
    "no positions": (("time", "time", "industry"), {"positions": "none", "normaliser": "sigmoid"}),
    "no norm": (("time", "neighbours"), {"norm": "none", "own_firm": False, "feed_forward": 0}),
    "no residual": (("firm", "time"), {"norm": "none", "residual": False, "feed_forward": 0}),
    "tied": (("time", "firm", "industry"), {"tied": True, "own_firm": False}),
    "sparsemax": (("time", "firm"), {"normaliser": "sparsemax"}),
    "entmax": (("firm", "time"), {"normaliser": "entmax", "positions": "linear_bias"}),
    "sigmoid": (("time", "reference", "firm"), {"normaliser": "sigmoid", "temperature": 2.0}),
    "hardmax": (("industry", "time", "firm"), {"normaliser": "hardmax"}),
    "linear": (("time", "firm", "neighbours"), {"normaliser": "linear", "positions": "none"}),
    "identity": (("reference", "time", "firm"), {"normaliser": "identity", "own_firm": False}),
}
ATTENTIVE = (*MODELS, *VARIANTS)
FORECASTERS = (*BASELINES, *TRAINED, *MODELS, *VARIANTS)
FITTED = BASELINES | TRAINED | MODELS
TRAIN, VALID, TEST = np.arange(30, 250), np.arange(252, 300), np.arange(302, 410)
INSIDE = (302, 330, 361, 362, 399, 408)  # the first row, inside a block of 60, either side of its edge, near the end
PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)


def complete(panel):
    """The panel without a gap: every firm listed and observed on every day, so that one mask serves all."""
    random = np.random.default_rng(5)
    returns = np.where(np.isnan(panel.returns), 0.02 * random.standard_normal(panel.shape), panel.returns)
    return panel.replace(returns=returns, listed=np.ones(panel.shape, bool))


REFERENCE = make_panel(firms=5, seed=1)  # a universe to attend to, with gaps and delistings of its own
NEIGHBOURS = np.random.default_rng(7).random((12, 12)) < 0.5  # directed, some without themselves


def untrained(name, inputs=8, reference_inputs=8):
    """A model of a kind, with parameters drawn at random; norms too, so that each one acts."""
    axes, changes = VARIANTS[name] if name in VARIANTS else (MODELS[name]().axes, {})
    config = dataclasses.replace(UNALIGNED if name == "unaligned" else SMALL, **changes)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = PanelTransformer(inputs, axes, config, reference_inputs if "reference" in axes else None)
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return model.eval()


def forecaster_of(name):
    made = AttentionForecaster(VARIANTS[name][0], SMALL, TRAINING)
    made.model = untrained(name)
    return made


def cuts(panel):
    scaling = Scaling.fit(panel, TRAIN)
    return [Blocks(panel, rows, scaling, TARGET) for rows in (TRAIN, VALID, TEST)]


@pytest.fixture(scope="module", params=["gaps", "complete"])
def history(request, panel):
    return panel if request.param == "gaps" else complete(panel)


@pytest.fixture(scope="module")
def fits(history):
    """Every forecaster fitted once on the early rows of the panel."""
    return fit_all(history)


@pytest.fixture(scope="module")
def predicted(fits, history):
    """What every forecaster predicts from the panel as it is."""
    return {name: forecaster.predict(blocks_of(history, history)) for name, forecaster in fits.items()}


@pytest.fixture(scope="module")
def fits_with_gaps(panel):
    return fit_all(panel)


def fit_all(panel):
    train, valid, _ = cuts(panel)
    fitted = {name: make().fit(train, valid) for name, make in FITTED.items()}
    return fitted | {name: forecaster_of(name) for name in VARIANTS}


def blocks_of(original, changed, positions=TEST, reference=REFERENCE, neighbours=NEIGHBOURS):
    universe = Reference(reference[: len(changed)], Scaling.fit(REFERENCE, TRAIN))
    return Blocks(changed, positions, Scaling.fit(original, TRAIN), TARGET, universe, neighbours)


def changed_after(panel, row, kind, seed=0):
    """Change all rows after `row`: to other values, to nothing, to infinities, or so that firms leave."""
    random = np.random.default_rng(seed)
    returns, listed, industry = panel.returns.copy(), panel.listed.copy(), panel.industry.copy()
    inputs = panel.features.copy()
    after = slice(row + 1, None)
    shape = returns[after].shape
    if kind in ("values", "mixture"):
        returns[after] = np.exp(random.normal(0, 3, shape)) - 1
        inputs[after] = random.normal(0, 100, inputs[after].shape)
        industry[after] = random.choice([0, 100, 2834, 6021, 9999], shape)
    if kind in ("missing", "mixture"):
        gone = random.random(shape) < (1.0 if kind == "missing" else 0.3)
        returns[after][gone], inputs[after][gone] = np.nan, np.nan
    if kind in ("infinite", "mixture"):
        struck = random.random(shape) < (1.0 if kind == "infinite" else 0.2)
        returns[after][struck] = random.choice([np.inf, -np.inf], struck.sum())
        inputs[after][struck] = random.choice([np.inf, -np.inf], (struck.sum(), inputs.shape[2]))
    if kind in ("delisted", "mixture"):
        listed[after] &= random.random(shape[1]) < 0.5
    if kind == "one gap":
        returns[row + 1, 4] = np.nan
    changes = {"returns": returns, "listed": listed, "industry": industry, "features": inputs}
    return panel._unchecked(changes)  # a panel refuses infinities; here they must do no harm


KINDS = ["values", "missing", "infinite", "delisted", "mixture", "one gap"]


# -- 1. no look-ahead ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORECASTERS)
def test_predictions_do_not_change_when_the_future_does(fits, history, predicted, name, kind):
    for row in INSIDE if name in FITTED else INSIDE[2:3]:
        changed = [changed_after(part, row, kind) for part in (history, REFERENCE)]
        after = fits[name].predict(blocks_of(history, changed[0], reference=changed[1]))
        known = TEST <= row
        np.testing.assert_array_equal(after[known], predicted[name][known], err_msg=f"rows up to {row}")


@pytest.fixture(scope="module")
def rebuilt_panels(panel):
    """The panel with another future, and its features built again from its returns, by row and kind."""
    pairs = itertools.product(INSIDE[1:4], ("mixture", "infinite"))
    return {pair: rebuilt(changed_after(panel, *pair)) for pair in pairs}


@pytest.mark.parametrize("name", FORECASTERS)
def test_predictions_from_rebuilt_features_do_not_change_when_future_returns_do(
    fits_with_gaps, panel, rebuilt_panels, name
):
    forecaster = fits_with_gaps[name]
    before = forecaster.predict(blocks_of(panel, panel))
    for (row, _), changed in rebuilt_panels.items():
        np.testing.assert_array_equal(changed.features[: row + 1], panel.features[: row + 1])
        known = TEST <= row
        np.testing.assert_array_equal(forecaster.predict(blocks_of(panel, changed))[known], before[known])


def rebuilt(panel):
    observed = panel.listed & np.isfinite(panel.returns)
    with np.errstate(all="ignore"):
        ranks = [features.rank(features.raw(panel, name), observed) for name in panel.feature_names]
    return panel._unchecked({"features": np.stack(ranks, axis=2).astype(np.float32)})


@pytest.mark.parametrize("name", FITTED)
def test_a_fit_does_not_see_what_follows_its_last_label(fits, history, name):
    last_label = VALID[-1] + TARGET.horizon
    for kind in ("mixture", "infinite"):
        train, valid, _ = cuts(changed_after(history, last_label, kind))
        again = FITTED[name]().fit(train, valid)
        test = blocks_of(history, history)
        np.testing.assert_array_equal(again.predict(test), fits[name].predict(test))
        assert getattr(again, "chosen", None) == getattr(fits[name], "chosen", None)


def walked(panel):
    splits = WalkForward(str(panel.dates[320]), test=40, valid=40, horizon=2, start=30)
    names = [*BASELINES, *TRAINED, "time-firm", "unaligned"]
    rungs = [Rung(name, lambda seed, make=FITTED[name]: make()) for name in names]
    return walk_forward(panel, rungs, splits, TARGET).table


@pytest.fixture(scope="module")
def walked_before(panel):
    return walked(panel)


@pytest.mark.parametrize("row", [338, 365])  # inside the first fold's test dates, inside the second's
def test_a_walk_forward_up_to_a_date_does_not_change_when_the_future_does(panel, walked_before, row):
    tables = (walked_before, walked(changed_after(panel, row, "values")))
    known = [table[table["date"] <= panel.dates[row]].reset_index(drop=True) for table in tables]
    columns = ["date", "firm", "model", "fold", "seed", "score", "prediction"]
    assert len(known[0]) > 0 and known[0][columns].equals(known[1][columns])


# -- 2. no block edge ------------------------------------------------------------


@pytest.mark.parametrize("name", FORECASTERS)
@pytest.mark.parametrize("positions", [TEST, np.arange(20)], ids=["late", "from the first row"])
def test_each_date_alone_is_predicted_as_among_others(fits, history, name, positions):
    whole = blocks_of(history, history, positions)
    together = fits[name].predict(whole)
    for place in (*range(10 if name in FITTED else 3), len(positions) - 1):
        alone = fits[name].predict(whole.at(positions[place : place + 1]))[0]
        np.testing.assert_allclose(alone, together[place], rtol=1e-5, atol=1e-5)
    every_fifth = fits[name].predict(whole.at(positions[::5]))
    np.testing.assert_allclose(every_fifth, together[::5], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "length"),
    [*itertools.product((*MODELS, *TRAINED), (1, 3, 7, 64, 1000)), *itertools.product(VARIANTS, (7,))],
)
def test_predictions_do_not_depend_on_the_length_of_blocks(fits, history, predicted, name, length):
    forecaster = copy.copy(fits[name])
    forecaster.training = dataclasses.replace(TRAINING, block=length)
    again = forecaster.predict(blocks_of(history, history))
    np.testing.assert_allclose(again, predicted[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_do_not_depend_on_how_much_is_held_at_once(fits, history, name, monkeypatch):
    train, valid, test = cuts(history)
    whole = fits[name].predict(test)
    monkeypatch.setattr(tabular, "_CELLS", 1)
    for module in (sic_kernel, kernel_regression):
        monkeypatch.setattr(module, "_PAIRS", 1)
    np.testing.assert_allclose(fits[name].predict(test), whole, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(BASELINES[name]().fit(train, valid).predict(test), whole, rtol=1e-6, atol=1e-9)


# -- 3. firms have no order ------------------------------------------------------------


@pytest.mark.parametrize("name", FORECASTERS)
def test_permuting_firms_permutes_predictions(fits, history, predicted, name):
    order = np.random.default_rng(1).permutation(history.shape[1])
    neighbours = NEIGHBOURS[order][:, order]
    after = fits[name].predict(blocks_of(history, history[:, order], neighbours=neighbours))
    np.testing.assert_allclose(after, predicted[name][:, order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_permuting_firms_does_not_change_a_baselines_fit(fits, history, name):
    order = np.random.default_rng(2).permutation(history.shape[1])
    train, valid, test = cuts(history[:, order])
    again = BASELINES[name]().fit(train, valid).predict(test)
    np.testing.assert_allclose(again, fits[name].predict(blocks_of(history, history))[:, order], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ATTENTIVE)
def test_permuting_firms_permutes_weights(fits, history, name):
    order = np.random.default_rng(3).permutation(history.shape[1])
    model = fits[name].model
    (before,) = blocks_of(history, history).cut(model.warmup, 1000)
    permuted = blocks_of(history, history[:, order], neighbours=NEIGHBOURS[order][:, order])
    (after,) = permuted.cut(model.warmup, 1000)
    for layer, axis in enumerate(model.axes):
        weights, permuted = (model.attention(block, layer, block.scored) for block in (before, after))
        expected = weights[:, order] if axis == "time" else weights[:, :, order]
        if axis not in ("time", "reference"):
            expected = expected[:, :, :, order]
        torch.testing.assert_close(permuted, expected, rtol=1e-5, atol=1e-5)


# -- 4. absent means absent ------------------------------------------------------------


def absent_changed(panel, seed, infinite):
    """Put anything where a firm is not listed or not observed; it stays unobserved."""
    random = np.random.default_rng(seed)
    returns, inputs, industry = panel.returns.copy(), panel.features.copy(), panel.industry.copy()
    absent = ~(panel.listed & np.isfinite(panel.returns))
    returns[~panel.listed] = random.choice([np.nan, 5.0, -1.0, 1e30], (~panel.listed).sum())
    inputs[absent] = random.choice([np.nan, 1e9, -3.0, 0.1], (absent.sum(), inputs.shape[2]))
    industry[absent] = random.choice([0, 100, 2834, 6022], absent.sum())
    if infinite:
        returns[absent] = random.choice([np.inf, -np.inf, np.nan], absent.sum())
        inputs[absent] = random.choice([np.inf, -np.inf, np.nan], (absent.sum(), inputs.shape[2]))
    return panel._unchecked({"returns": returns, "features": inputs, "industry": industry})


@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("positions", [TEST, np.arange(55, 140)], ids=["delistings", "a late listing"])
@pytest.mark.parametrize("name", FORECASTERS)
def test_what_stands_on_absent_firm_days_changes_nothing(fits_with_gaps, panel, name, positions, infinite):
    before = fits_with_gaps[name].predict(blocks_of(panel, panel, positions))
    changed = [absent_changed(part, 1, infinite) for part in (panel, REFERENCE)]
    after = fits_with_gaps[name].predict(blocks_of(panel, changed[0], positions, changed[1]))
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("name", FORECASTERS)
def test_there_is_a_forecast_exactly_where_a_firm_is_observed(fits, history, name):
    emptied = history._unchecked(
        {"returns": np.where(np.arange(len(history))[:, None] == 350, np.nan, history.returns)}
    )
    blocks = blocks_of(history, emptied)
    predictions = fits[name].predict(blocks)
    assert predictions.shape == (len(TEST), history.shape[1]) and not blocks.observed[350 - TEST[0]].any()
    np.testing.assert_array_equal(np.isfinite(predictions), blocks.observed)


def sparse_block(width=3, days=17, firms=5, peers=4, seed=0):
    """A block with gaps; of 17 days and 5 firms, one day has nobody, one firm no history, and one begins late."""
    random = torch.Generator().manual_seed(seed)

    def chance(share, *shape):
        return torch.rand(shape, generator=random) < share

    x, target = torch.randn(days, firms, width, generator=random), torch.randn(days, firms, generator=random)
    observed = chance(0.7, days, firms)
    if (days, firms) == (17, 5):
        observed[8], observed[:, 2], observed[:12, 3] = False, False, False
        observed[15, 3] = True
    reference, seen = torch.randn(days, peers, 2, generator=random), chance(0.8, days, peers)
    seen[days // 2] = False
    return Block(
        x, observed, target, observed & chance(0.9, days, firms),
        torch.randint(0, 3, (days, firms, 2), generator=random).int(), torch.ones(days) > 0, torch.arange(days),
        torch.arange(firms), reference, 0, seen, chance(0.5, days, firms, firms),
    )  # fmt: skip


@pytest.mark.parametrize("name", ATTENTIVE)
def test_rows_of_weights_sum_to_one_or_to_zero(name):
    block, model = sparse_block(), untrained(name, 3, 2)
    for layer, axis in enumerate(model.axes):
        weights, mask = model.attention(block, layer, torch.arange(17)), plain_mask(axis, model.config, block)
        if axis == "time":  # from [n t s] to lags [t n l]
            lags = F.pad(mask, (4, 0)).unfold(2, model.lookback, 1)[:, :, -17:]
            mask = lags.diagonal(0, 1, 2).permute(2, 0, 1).flip(2)[:, :, None]
        else:
            mask = mask[:, None]
        allowed = mask.expand_as(weights)
        assert weights.isfinite().all() and (weights[~allowed] == 0).all()
        if model.config.normaliser != "identity":
            assert (weights >= 0).all()
            torch.testing.assert_close(weights.sum(-1), allowed.any(-1).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ATTENTIVE)
def test_gradients_are_finite_and_what_is_absent_has_none(name):
    block, model = sparse_block(), untrained(name, 3, 2).train()
    x, reference = block.x.clone().requires_grad_(), block.reference.clone().requires_grad_()
    mask = block.observed & block.target_observed
    (model(block._replace(x=x, reference=reference)) - block.target)[mask].square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert x.grad.isfinite().all() and x.grad[block.observed].abs().sum() > 0
    assert (x.grad[~block.observed] == 0).all()
    if "reference" in model.axes:
        assert reference.grad.isfinite().all() and reference.grad[block.reference_observed].abs().sum() > 0
        assert (reference.grad[~block.reference_observed] == 0).all()


# -- 5. fast equals plain ------------------------------------------------------------


def plain_softmax(scores, mask):
    """The softmax with its sum written out; rows without a key are zero."""
    highest = scores.masked_fill(~mask, -1e30).amax(-1, keepdim=True).detach()
    weights = (scores - highest).clamp(max=0).exp() * mask
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)


def plain_attention(query, key, value, mask):
    """softmax(Q Kᵀ / √d) V."""
    scores = torch.einsum("...td,...sd->...ts", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("...ts,...se->...te", plain_softmax(scores, mask), value)


def values_and_gradients(function, *inputs):
    inputs = [x.clone().requires_grad_() for x in inputs]
    output = function(*inputs)
    torch.manual_seed(9)
    (output * torch.randn(output.shape)).sum().backward()
    return [output.detach(), *(x.grad for x in inputs)]


def assert_all_close(found, expected):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@PROPERTY
@given(
    st.integers(0, 99), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(1, 8), st.integers(1, 8),
    st.sampled_from([0.0, 0.3, 0.7, 1.0]),
)  # fmt: skip
def test_fused_attention_equals_the_formula(seed, heads, queries, keys, width, values, absent):
    random = torch.Generator().manual_seed(seed)
    query, key, value = (
        torch.randn(3, heads, *shape, generator=random) for shape in ((queries, width), (keys, width), (keys, values))
    )
    mask = torch.rand(3, 1, queries, keys, generator=random) >= absent
    plain = values_and_gradients(lambda q, k, v: plain_attention(q, k, v, mask), query, key, value)
    fused = values_and_gradients(lambda q, k, v: attend(q, k, v, mask), query, key, value)
    weights = values_and_gradients(lambda q, k, v: attention_weights(q, k, mask) @ v, query, key, value)
    assert_all_close(fused, plain)
    assert_all_close(weights, plain)


@PROPERTY
@given(
    st.integers(0, 99), st.integers(1, 4), st.integers(1, 3), st.integers(1, 40), st.integers(1, 12),
    st.integers(1, 6), st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)  # fmt: skip
def test_the_band_in_chunks_equals_a_dense_band(seed, firms, heads, length, lookback, width, absent):
    random = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, firms, length, heads, width, generator=random)
    observed = torch.rand(firms, length, generator=random) >= absent
    lag = torch.arange(length)[:, None] - torch.arange(length)
    mask = ((lag >= 0) & (lag < lookback)) & observed[:, None, None]

    def plain(*parts):
        return plain_attention(*(part.transpose(1, 2) for part in parts), mask).transpose(1, 2)

    skip = seed % length
    expected = values_and_gradients(lambda *parts: plain(*parts)[:, skip:], query, key, value)
    banded = values_and_gradients(lambda *parts: attend_band(*parts, observed, lookback, skip), query, key, value)
    assert_all_close(banded, expected)


def plain_mask(axis, config, block):
    """Who may attend to whom, dense: [n t s] along time, [t n m] across firms."""
    seen = block.observed
    days, firms = seen.shape
    if axis == "time":
        lag = torch.arange(days)[:, None] - torch.arange(days)
        return ((lag >= 0) & (lag < config.lookback)) & seen.T[:, None]
    if axis == "reference":
        return block.reference_observed[:, None].expand(-1, firms, -1)
    mask, itself = seen[:, None].expand(-1, firms, -1), torch.eye(firms) > 0
    if axis == "industry":
        code = block.industry[..., config.industry_level]
        mask = mask & (((code[:, :, None] == code[:, None]) & (code > 0)[:, None]) | itself)
    if axis == "neighbours":
        mask = mask & block.neighbours
    return mask if config.own_firm else mask & ~itself


def plain_weights(attention, query, key, mask):
    """Weights [... h t s] from their formulas."""
    config, product = attention.config, query @ key.transpose(-2, -1)
    width, lag = query.shape[-1], torch.arange(query.shape[-2])[:, None] - torch.arange(key.shape[-2])
    if config.normaliser == "identity":
        return product * mask / mask.sum(-1, keepdim=True).clamp(min=1) / width**0.5
    if config.normaliser == "linear":
        positive = (F.elu(query) + 1) @ (F.elu(key) + 1).transpose(-2, -1) * mask
        return positive / positive.sum(-1, keepdim=True).clamp(min=1e-30)
    scores = product / width**0.5 / config.temperature
    if attention.axis == "time" and config.positions == "linear_bias":
        slopes = torch.tensor([2 ** (-8 * (i + 1) / config.heads) for i in range(config.heads)])
        scores = scores - slopes[:, None, None] * lag.abs()
    if config.normaliser == "softmax":
        return plain_softmax(scores, mask)
    return normalise(scores, mask, config.normaliser)


def plain_projections(attention, x, reference):
    """Query, key and value [b h s d] of inputs x [b s d] and reference tokens [b m d]."""
    heads, keys = attention.heads, attention.heads * attention.key_width
    if attention.axis == "reference":
        projected = reference @ attention.key_value.weight.T + attention.key_value.bias
        query = x @ attention.query.weight.T + attention.query.bias
        key, value = projected[..., :keys], projected[..., keys:]
    else:
        projected = x @ attention.query_key_value.weight.T + attention.query_key_value.bias
        query, value = projected[..., :keys], projected[..., -heads * attention.value_width :]
        key = query if attention.config.tied else projected[..., keys : 2 * keys]
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    if attention.axis == "time" and attention.config.positions == "rotary":
        days = torch.arange(x.shape[1])
        query, key = rotate(query, days), rotate(key, days)
    return query, key, value


def plain_forward(model, block):
    """The whole model with dense masks, from its parameters."""
    x, config = model.embedding(block.x), model.config
    reference = model.reference_embedding(block.reference) if "reference" in model.axes else None
    for axis, layer in zip(model.axes, model.layers, strict=True):
        attention, mask = layer.attention, plain_mask(axis, config, block)[:, None]
        inputs = layer.attention_norm(x) if config.norm == "pre" else x
        inputs = inputs.transpose(0, 1) if axis == "time" else inputs
        query, key, value = plain_projections(attention, inputs, reference)
        attended = (plain_weights(attention, query, key, mask) @ value).transpose(1, 2).flatten(2)
        attended = attended.transpose(0, 1) if axis == "time" else attended
        change = attended @ attention.output.weight.T + attention.output.bias
        x = x + change if config.residual else change
        x = layer.attention_norm(x) if config.norm == "post" else x
        if config.feed_forward:
            hidden = layer.widen(layer.feed_forward_norm(x) if config.norm == "pre" else x)
            gates, linear = hidden.chunk(2, -1) if config.activation == "gated" else (hidden, 1.0)
            hidden = (F.relu(gates) if config.activation == "relu" else F.gelu(gates)) * linear
            x = x + layer.narrow(hidden) if config.residual else layer.narrow(hidden)
            x = layer.feed_forward_norm(x) if config.norm == "post" else x
    return model.head(model.norm(x)).squeeze(-1).masked_fill(~block.observed, torch.nan)


@pytest.mark.parametrize("name", ATTENTIVE)
def test_the_model_equals_its_plain_forward_and_so_do_its_gradients(name):
    block, model = sparse_block(), untrained(name, 3, 2)
    mask, gradients = block.observed, []
    for scores in (model(block), plain_forward(model, block)):
        assert torch.equal(scores.isnan(), ~mask)
        model.zero_grad()
        scores[mask].square().sum().backward()
        gradients.append([scores.detach()[mask], *(parameter.grad.clone() for parameter in model.parameters())])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# -- 6. stream equals batch ------------------------------------------------------------


def taken_up(stream, block, day):
    """Take up one day of a block with all that a model may attend to."""
    neighbours = block.neighbours if block.neighbours is None or block.neighbours.ndim == 2 else block.neighbours[day]
    return stream.advance(
        block.x[day], block.observed[day], block.industry[day], neighbours, block.reference[day],
        block.reference_observed[day],
    )  # fmt: skip


@pytest.mark.parametrize("name", ATTENTIVE)
def test_a_stream_of_days_equals_the_full_pass(fits, history, name, tmp_path):
    missing_day = np.isin(np.arange(len(history)), (100, 340))[:, None]
    panel = history._unchecked({"returns": np.where(missing_day, np.nan, history.returns)})
    blocks, model = blocks_of(history, panel, np.arange(len(panel))), fits[name].model
    (block,) = blocks.cut(0, len(panel))
    first, last = (290, len(panel)) if name in MODELS else (330, 355)
    stream = model.stream(cut(block, slice(0, first)))
    days = [taken_up(stream, block, day) for day in range(first, 345)]
    stream.save(tmp_path / "stream.safetensors")
    stream = Stream.load(tmp_path / "stream.safetensors", model)
    days += [taken_up(stream, block, day) for day in range(345, last)]
    expected = fits[name].predict(blocks)[first:last]
    np.testing.assert_allclose(torch.stack(days).double().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_last_date_of_a_panel_cut_short_is_predicted_as_in_the_whole(fits, history, predicted, name):
    for row in INSIDE:
        cut_short = fits[name].predict(blocks_of(history, history[: row + 1], np.array([row])))[0]
        np.testing.assert_allclose(cut_short, predicted[name][row - TEST[0]], rtol=1e-5, atol=1e-5)


# -- all of them, over shapes and gaps ------------------------------------------------------------


@st.composite
def cases(draw):
    """A model of a few kinds with another lookback, and a block of any shape with any share of absences."""
    name = draw(st.sampled_from(["time-industry", "neighbours-time-firm", "linear bias", "sigmoid", "linear", "tied"]))
    days, firms, peers = draw(st.integers(1, 25)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    block, model = sparse_block(3, days, firms, peers, draw(st.integers(0, 99))), untrained(name, 3, 2)
    random = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    share = draw(st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    block = block._replace(observed=torch.rand(days, firms, generator=random) < share)
    config = dataclasses.replace(model.config, lookback=draw(st.integers(1, 9)))
    other = PanelTransformer(3, model.axes, config, 2 if "reference" in model.axes else None).eval()
    other.load_state_dict(model.state_dict())
    return other, block


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def replaced(block, rows, absent_alone=False):
    """Other values on some rows of a block: on all of them, or on what is absent."""
    other = sparse_block(3, *block.observed.shape, block.reference.shape[1], seed=123)
    where = ~block.observed if absent_alone else torch.ones_like(block.observed)
    where = where & rows[:, None]
    gone = (~block.reference_observed if absent_alone else torch.ones_like(block.reference_observed)) & rows[:, None]
    return block._replace(
        x=torch.where(where[..., None], 1e3 * other.x, block.x),
        observed=block.observed if absent_alone else torch.where(where, other.observed, block.observed),
        industry=torch.where(where[..., None], other.industry, block.industry),
        neighbours=torch.where(where[:, None] | where[..., None], other.neighbours, block.neighbours),
        reference=torch.where(gone[..., None], 1e3 * other.reference, block.reference),
        reference_observed=torch.where(
            gone & (not absent_alone), other.reference_observed, block.reference_observed
        ),
    )  # fmt: skip


@PROPERTY
@given(cases(), st.integers(0, 24))
def test_no_bit_of_the_past_changes_with_the_future_of_any_block(case, row):
    model, block = case
    row %= len(block.x)
    changed = replaced(block, torch.arange(len(block.x)) > row)
    with torch.no_grad():
        before, after = model(block)[: row + 1], model(changed)[: row + 1]
    assert torch.equal(before.isnan(), after.isnan()) and torch.equal(before.nan_to_num(), after.nan_to_num())


@PROPERTY
@given(cases(), st.integers(0, 24))
def test_no_block_edge_is_seen_in_any_block(case, row):
    model, block = case
    row %= len(block.x)
    start = max(0, row - model.warmup)
    with torch.no_grad():
        same(model(cut(block, slice(start, row + 1)))[-1], model(block)[row])


@PROPERTY
@given(cases(), st.randoms(use_true_random=False))
def test_permuting_firms_permutes_the_scores_of_any_block(case, random):
    model, block = case
    order = list(range(block.observed.shape[1]))
    random.shuffle(order)
    moved = block._replace(
        x=block.x[:, order], observed=block.observed[:, order], industry=block.industry[:, order],
        neighbours=block.neighbours[:, order][:, :, order],
    )  # fmt: skip
    with torch.no_grad():
        same(model(moved), model(block)[:, order])


@PROPERTY
@given(cases())
def test_what_is_absent_changes_no_bit_of_any_block(case):
    model, block = case
    with torch.no_grad():
        before, after = model(block), model(replaced(block, torch.ones(len(block.x)) > 0, absent_alone=True))
    assert torch.equal(before.isnan(), ~block.observed) and torch.equal(before.nan_to_num(), after.nan_to_num())


@PROPERTY
@given(cases())
def test_any_block_equals_its_plain_forward(case):
    model, block = case
    with torch.no_grad():
        same(model(block), plain_forward(model, block))


@PROPERTY
@given(cases(), st.integers(0, 24), st.integers(0, 24))
def test_a_stream_saved_and_taken_up_again_equals_any_block(case, first, saved):
    model, block = case
    with torch.no_grad():
        whole = model(block)
    first, saved = first % (len(block.x) + 1), saved % (len(block.x) + 1)
    stream = model.stream(cut(block, slice(0, first)))
    with tempfile.TemporaryDirectory() as folder:
        for day in range(first, len(block.x)):
            if day == saved:
                stream.save(Path(folder) / "stream.safetensors")
                stream = Stream.load(Path(folder) / "stream.safetensors", model)
            same(taken_up(stream, block, day), whole[day])
