"""The six invariants of the design, over every forecaster."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn import features
from finattn.attention import attend, attend_band, attention_weights
from finattn.attention.positions import rotate
from finattn.baselines import HistoricalMean, Ridge, SICKernel, Zero, linear, sic_kernel
from finattn.blocks import Block, Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.experiment import Rung, walk_forward
from finattn.models import PanelTransformer
from finattn.splits import WalkForward
from finattn.training import AttentionForecaster

SMALL = ModelConfig(width=8, heads=2, feed_forward=16, lookback=5)
# Heads of 6 dimensions leave rows unaligned in memory, where a matrix product may round otherwise.
UNALIGNED = ModelConfig(width=12, heads=2, feed_forward=16, lookback=3)
TRAINING = TrainingConfig(epochs=2, minimum_epochs=1, block=60)
TARGET = TargetConfig(horizon=2)
BASELINES = {
    "zero": Zero,
    "historical_mean": HistoricalMean,
    "ridge": lambda: Ridge(lookback=5),
    "sic_average": lambda: SICKernel((1, 5), ()),
    "sic_kernel": lambda: SICKernel((1, 5), (0.5, 1.0)),
}
AXES = [("time",), ("firm",), ("time", "firm"), ("firm", "time"), ("time", "time")]
MODELS = {"-".join(axes): lambda axes=axes: AttentionForecaster(axes, SMALL, TRAINING) for axes in AXES}
MODELS["unaligned"] = lambda: AttentionForecaster(("time", "firm"), UNALIGNED, TRAINING)
FORECASTERS = BASELINES | MODELS
TRAIN, VALID, TEST = np.arange(30, 250), np.arange(252, 300), np.arange(302, 410)
INSIDE = (302, 330, 361, 362, 399, 408)  # the first row, inside a block of 60, either side of its edge, near the end
PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)


def complete(panel):
    """The panel without a gap: every firm listed and observed on every day, so that one mask serves all."""
    random = np.random.default_rng(5)
    returns = np.where(np.isnan(panel.returns), 0.02 * random.standard_normal(panel.shape), panel.returns)
    return panel.replace(returns=returns, listed=np.ones(panel.shape, bool))


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
def fits_with_gaps(panel):
    return fit_all(panel)


def fit_all(panel):
    train, valid, _ = cuts(panel)
    return {name: make().fit(train, valid) for name, make in FORECASTERS.items()}


def blocks_of(original, changed, positions=TEST):
    return Blocks(changed, positions, Scaling.fit(original, TRAIN), TARGET)


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
def test_predictions_do_not_change_when_the_future_does(fits, history, name, kind):
    before = fits[name].predict(blocks_of(history, history))
    for row in INSIDE:
        after = fits[name].predict(blocks_of(history, changed_after(history, row, kind)))
        known = TEST <= row
        np.testing.assert_array_equal(after[known], before[known], err_msg=f"rows up to {row}")


@pytest.mark.parametrize("name", FORECASTERS)
def test_predictions_from_rebuilt_features_do_not_change_when_future_returns_do(fits_with_gaps, panel, name):
    forecaster = fits_with_gaps[name]
    before = forecaster.predict(blocks_of(panel, panel))
    for row in INSIDE[1:4]:
        for kind in ("mixture", "infinite"):
            changed = rebuilt(changed_after(panel, row, kind))
            np.testing.assert_array_equal(changed.features[: row + 1], panel.features[: row + 1])
            known = TEST <= row
            np.testing.assert_array_equal(forecaster.predict(blocks_of(panel, changed))[known], before[known])


def rebuilt(panel):
    observed = panel.listed & np.isfinite(panel.returns)
    with np.errstate(all="ignore"):
        ranks = [features.rank(features.raw(panel, name), observed) for name in panel.feature_names]
    return panel._unchecked({"features": np.stack(ranks, axis=2).astype(np.float32)})


@pytest.mark.parametrize("name", FORECASTERS)
def test_a_fit_does_not_see_what_follows_its_last_label(fits, history, name):
    last_label = VALID[-1] + TARGET.horizon
    for kind in ("mixture", "infinite"):
        train, valid, _ = cuts(changed_after(history, last_label, kind))
        again = FORECASTERS[name]().fit(train, valid)
        test = blocks_of(history, history)
        np.testing.assert_array_equal(again.predict(test), fits[name].predict(test))
        assert getattr(again, "chosen", None) == getattr(fits[name], "chosen", None)


def walked(panel):
    splits = WalkForward(str(panel.dates[320]), test=40, valid=40, horizon=2, start=30)
    names = [*BASELINES, "time-firm", "unaligned"]
    rungs = [Rung(name, lambda seed, make=FORECASTERS[name]: make()) for name in names]
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
    for place in (*range(0, 10), len(positions) - 1):
        alone = fits[name].predict(whole.at(positions[place : place + 1]))[0]
        np.testing.assert_allclose(alone, together[place], rtol=1e-5, atol=1e-5)
    every_fifth = fits[name].predict(whole.at(positions[::5]))
    np.testing.assert_allclose(every_fifth, together[::5], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize("name", MODELS)
def test_predictions_do_not_depend_on_the_length_of_blocks(fits, history, name, length):
    forecaster = MODELS[name]()
    forecaster.model = fits[name].model
    blocks = blocks_of(history, history)
    whole = forecaster.predict(blocks)
    forecaster.training = dataclasses.replace(TRAINING, block=length)
    np.testing.assert_allclose(forecaster.predict(blocks), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_do_not_depend_on_how_much_is_held_at_once(fits, history, name, monkeypatch):
    train, valid, test = cuts(history)
    whole = fits[name].predict(test)
    monkeypatch.setattr(linear, "_CELLS", 1)
    monkeypatch.setattr(sic_kernel, "_PAIRS", 1)
    np.testing.assert_allclose(fits[name].predict(test), whole, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(BASELINES[name]().fit(train, valid).predict(test), whole, rtol=1e-6, atol=1e-9)


# -- 3. firms have no order ------------------------------------------------------------


@pytest.mark.parametrize("name", FORECASTERS)
def test_permuting_firms_permutes_predictions(fits, history, name):
    order = np.random.default_rng(1).permutation(history.shape[1])
    before = fits[name].predict(blocks_of(history, history))
    after = fits[name].predict(blocks_of(history, history[:, order]))
    np.testing.assert_allclose(after, before[:, order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_permuting_firms_does_not_change_a_baselines_fit(fits, history, name):
    order = np.random.default_rng(2).permutation(history.shape[1])
    train, valid, test = cuts(history[:, order])
    again = BASELINES[name]().fit(train, valid).predict(test)
    np.testing.assert_allclose(again, fits[name].predict(blocks_of(history, history))[:, order], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_permuting_firms_permutes_weights(fits, history, name):
    order = np.random.default_rng(3).permutation(history.shape[1])
    model = fits[name].model
    (before,) = blocks_of(history, history).cut(model.warmup, 1000)
    (after,) = blocks_of(history, history[:, order]).cut(model.warmup, 1000)
    for layer, axis in enumerate(model.axes):
        weights, permuted = (model.attention(block, layer, block.scored) for block in (before, after))
        expected = weights[:, order] if axis == "time" else weights[:, :, order][:, :, :, order]
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
    after = fits_with_gaps[name].predict(blocks_of(panel, absent_changed(panel, 1, infinite), positions))
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


def sparse_block(width=3, days=17, firms=5):
    """A block with a date that has nobody, a firm that has no history, and one whose history begins late."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(days, firms, width, generator=random)
    observed = torch.rand(days, firms, generator=random) < 0.7
    observed[8], observed[:, 2], observed[:12, 3] = False, False, False
    observed[15, 3] = True
    target = torch.randn(days, firms, generator=random)
    empty = torch.zeros(days, firms)
    known = observed & (torch.rand(days, firms, generator=random) < 0.9)
    return Block(x, observed, target, known, empty.int(), torch.ones(days) > 0, torch.arange(days), torch.arange(firms))


@pytest.mark.parametrize("axes", AXES)
def test_rows_of_weights_sum_to_one_or_to_zero(axes):
    torch.manual_seed(0)
    block, model = sparse_block(), PanelTransformer(3, axes, SMALL).eval()
    for layer, axis in enumerate(axes):
        weights = model.attention(block, layer, torch.arange(17))
        assert weights.isfinite().all() and (weights >= 0).all()
        seen = block.observed
        if axis == "time":
            band = F.pad(seen, (0, 0, 4, 0)).unfold(0, 5, 1).flip(2)  # [t n l]
            allowed = band[:, :, None].expand_as(weights)
        else:
            allowed = seen[:, None, None].expand_as(weights)
        assert (weights[~allowed] == 0).all()
        torch.testing.assert_close(weights.sum(-1), allowed.any(-1).float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", AXES)
def test_gradients_are_finite_and_absent_firm_days_have_none(axes):
    torch.manual_seed(0)
    block, model = sparse_block(), PanelTransformer(3, axes, SMALL)
    x = block.x.clone().requires_grad_()
    mask = block.observed & block.target_observed
    (model(block._replace(x=x)) - block.target)[mask].square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert x.grad.isfinite().all() and (x.grad[block.observed].abs().sum() > 0)
    assert (x.grad[~block.observed] == 0).all()


# -- 5. fast equals plain ------------------------------------------------------------


def plain_attention(query, key, value, mask):
    """softmax(Q Kᵀ / √d) V with the sum written out; rows without a key are zero."""
    scores = torch.einsum("...td,...sd->...ts", query, key) / query.shape[-1] ** 0.5
    highest = scores.masked_fill(~mask, -1e30).amax(-1, keepdim=True).detach()
    weights = (scores - highest).clamp(max=0).exp() * mask
    weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)
    return torch.einsum("...ts,...se->...te", weights, value)


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
    query, key, value = torch.randn(3, firms, heads, length, width, generator=random)
    observed = torch.rand(firms, length, generator=random) >= absent
    lag = torch.arange(length)[:, None] - torch.arange(length)
    mask = ((lag >= 0) & (lag < lookback)) & observed[:, None, None]
    plain = values_and_gradients(lambda q, k, v: plain_attention(q, k, v, mask), query, key, value)
    banded = values_and_gradients(lambda q, k, v: attend_band(q, k, v, observed, lookback), query, key, value)
    assert_all_close(banded, plain)


def plain_forward(model, block):
    """The whole model with dense masks, from its parameters."""
    x, seen = model.embedding(block.x), block.observed
    days = torch.arange(len(x))
    lag = days[:, None] - days
    for layer in model.layers:
        attention, time = layer.attention, layer.attention.axis == "time"
        inputs = F.layer_norm(x, x.shape[-1:], layer.attention_norm.weight, layer.attention_norm.bias)
        parts = inputs @ attention.query_key_value.weight.T + attention.query_key_value.bias
        query, key, value = (part.unflatten(-1, (attention.heads, -1)) for part in parts.chunk(3, dim=-1))  # [t n h d]
        if time:
            query, key, value = (part.permute(1, 2, 0, 3) for part in (query, key, value))
            query, key = rotate(query, days), rotate(key, days)
            mask = ((lag >= 0) & (lag < model.lookback)) & seen.T[:, None, None]
            attended = plain_attention(query, key, value, mask).permute(2, 0, 1, 3)
        else:
            query, key, value = (part.transpose(1, 2) for part in (query, key, value))
            attended = plain_attention(query, key, value, seen[:, None, None]).transpose(1, 2)
        x = x + attended.flatten(2) @ attention.output.weight.T + attention.output.bias
        hidden = F.layer_norm(x, x.shape[-1:], layer.feed_forward_norm.weight, layer.feed_forward_norm.bias)
        x = x + layer.narrow(F.gelu(layer.widen(hidden)))
    return model.head(model.norm(x)).squeeze(-1).masked_fill(~seen, torch.nan)


@pytest.mark.parametrize("axes", [*AXES, ("time", "firm", "time", "firm")])
def test_the_model_equals_its_plain_forward_and_so_do_its_gradients(axes):
    torch.manual_seed(1)
    block, model = sparse_block(), PanelTransformer(3, axes, SMALL).eval()
    mask, gradients = block.observed, []
    for scores in (model(block), plain_forward(model, block)):
        assert torch.equal(scores.isnan(), ~mask)
        model.zero_grad()
        scores[mask].square().sum().backward()
        gradients.append([scores.detach()[mask], *(parameter.grad.clone() for parameter in model.parameters())])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# -- 6. stream equals batch ------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_of_days_equals_the_full_pass(fits, history, name):
    missing_day = np.isin(np.arange(len(history)), (100, 340))[:, None]
    panel = history._unchecked({"returns": np.where(missing_day, np.nan, history.returns)})
    blocks = blocks_of(history, panel, np.arange(len(panel)))
    (block,) = blocks.cut(0, len(panel))
    stream = fits[name].model.stream(block._replace(x=block.x[:290], observed=block.observed[:290]))
    days = [stream.advance(x, seen) for x, seen in zip(block.x[290:], block.observed[290:], strict=True)]
    expected = fits[name].predict(blocks)[290:]
    np.testing.assert_allclose(torch.stack(days).double().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FORECASTERS)
def test_the_last_date_of_a_panel_cut_short_is_predicted_as_in_the_whole(fits, history, name):
    whole = fits[name].predict(blocks_of(history, history))
    for row in INSIDE:
        cut = fits[name].predict(blocks_of(history, history[: row + 1], np.array([row])))[0]
        np.testing.assert_allclose(cut, whole[row - TEST[0]], rtol=1e-5, atol=1e-5)
