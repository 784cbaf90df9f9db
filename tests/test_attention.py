import dataclasses
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.attention import (
    Context,
    MultiHeadAttention,
    TimeCache,
    TransformerBlock,
    attend,
    attend_band,
    attention_weights,
    band_weights,
    layers,
)
from finattn.blocks import Block
from finattn.config import AXES, ModelConfig
from finattn.errors import InputError
from finattn.models import PanelTransformer

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


# -- worked numbers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "weights", "output"),
    [
        ((1.0, 1.0), (0.488, 0.488, 0.024), (5.00, 5.00)),
        ((-1.0, -1.0), (0.045, 0.045, 0.909), (5.00, 5.00)),
    ],
)
def test_the_worked_example_of_one_query(query, weights, output):
    query, keys = torch.tensor([query]), torch.tensor([[1.0, 0.0], [0.5, 0.5], [-1.0, -1.0]])
    values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
    found = attention_weights(query, keys, scale=1.0)
    assert found[0].tolist() == pytest.approx(weights, abs=5e-4)
    assert attend(query, keys, values, scale=1.0)[0].tolist() == pytest.approx(output, abs=5e-3)
    assert (found @ values)[0].tolist() == pytest.approx(output, abs=5e-3)


def test_self_attention_with_identity_projections():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    expected = [[0.401, 0.198, 0.401], [0.198, 0.401, 0.401], [0.248, 0.248, 0.504]]
    np.testing.assert_allclose(attention_weights(rows, rows).numpy(), expected, atol=6e-4)


def test_causal_softmax_of_given_scores():
    scores = torch.tensor([[0.5, 1.2, 0.8], [0.3, 0.9, 1.1], [0.2, 0.7, 0.4]])
    weights = attention_weights(scores, torch.eye(3), torch.ones(3, 3).tril() > 0, scale=1.0)
    # exact: e^0.3 / (e^0.3 + e^0.9) = 0.35434; e^0.2, e^0.7, e^0.4 over their sum 4.72698
    expected = [[1, 0, 0], [0.354344, 0.645656, 0], [0.258390, 0.426013, 0.315597]]
    np.testing.assert_allclose(weights.numpy(), expected, atol=1e-5)


def test_the_variance_of_scores_is_their_dimension_and_one_when_scaled():
    random = torch.Generator().manual_seed(0)
    for width in (4, 64):
        query, key = torch.randn(2, 200_000, width, generator=random)
        scores = (query * key).sum(-1)
        assert scores.var().item() == pytest.approx(width, rel=0.02)
        assert (scores * width**-0.5).var().item() == pytest.approx(1, rel=0.02)


# -- the band ------------------------------------------------------------


@pytest.mark.parametrize("attended", [attend, lambda q, k, v, m: attention_weights(q, k, m) @ v])
def test_a_row_with_nothing_to_attend_to_gives_zeros_and_zero_gradients(attended):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 4, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[[False] * 3, [True, False, True], [False] * 3], [[False] * 3] * 3])
    output = attended(query, key, value, mask)
    output.sum().backward()
    assert (output[~mask.any(-1)] == 0).all() and (query.grad[~mask.any(-1)] == 0).all()
    assert all(x.grad.isfinite().all() for x in (query, key, value))
    assert (key.grad[1] == 0).all() and (value.grad[1] == 0).all() and (value.grad[0, 1] == 0).all()


def test_a_firm_never_observed_gets_zeros_from_the_band_and_gives_zero_gradients():
    torch.manual_seed(0)
    parts = [torch.randn(2, 9, 1, 4, requires_grad=True) for _ in range(3)]
    observed = torch.ones(2, 9) > 0
    observed[0], observed[1, :4] = False, False
    output = attend_band(*parts, observed, lookback=3)
    output.square().sum().backward()
    assert (output[0] == 0).all() and (output[1, :4] == 0).all() and (output[1, 4:] != 0).all()
    for part in parts:
        assert part.grad.isfinite().all() and (part.grad[0] == 0).all() and (part.grad[1, :4] == 0).all()


@pytest.mark.parametrize("normaliser", ["softmax", "sparsemax", "linear", "identity"])
def test_values_of_another_width_than_keys(normaliser):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 7, 1, 4), torch.randn(2, 7, 1, 4), torch.randn(2, 7, 1, 9)
    observed = torch.rand(2, 7) < 0.8
    output = attend_band(query, key, value, observed, lookback=3, normaliser=normaliser)
    weights = band_weights(query, key, observed, 3, torch.arange(7), normaliser)  # [t n h l]
    days = (torch.arange(7)[:, None] - torch.arange(3)).clamp(min=0)
    expected = torch.einsum("tnhl,ntlhe->nthe", weights, value[:, days])
    assert output.shape == (2, 7, 1, 9)
    close(output, expected)


@PROPERTY
@given(
    st.integers(0, 99), st.integers(1, 4), st.integers(1, 30), st.integers(1, 9), st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([("softmax", 1.0, False), ("softmax", 0.5, True), ("entmax", 2.0, True), ("linear", 1.0, False)]),
)  # fmt: skip
def test_band_weights_equal_dense_weights_by_lag(seed, firms, length, lookback, absent, kind):
    normaliser, temperature, biased = kind
    random = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, firms, length, 2, 4, generator=random)
    observed = torch.rand(firms, length, generator=random) >= absent
    lag = torch.arange(length)[:, None] - torch.arange(length)
    bias = -torch.tensor([2**-4, 2**-8])[:, None, None] * lag.abs() if biased else None  # the slopes of two heads
    mask = ((lag >= 0) & (lag < lookback)) & observed[:, None, None]
    parts = (query.transpose(1, 2), key.transpose(1, 2), mask, normaliser)
    dense = attention_weights(*parts, temperature=temperature, bias=bias)
    rows = torch.arange(length)[::2]
    found = band_weights(query, key, observed, lookback, rows, normaliser, temperature, biased)
    for place, row in enumerate(rows.tolist()):
        for back in range(lookback):
            expected = dense[:, :, row, row - back] if row >= back else torch.zeros(firms, 2)
            close(found[place, :, :, back], expected)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("skip", [0, 1, 4, 11])
def test_days_skipped_are_keys_and_no_queries(skip, biased):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 12, 2, 4)
    observed = torch.rand(2, 12) < 0.7
    whole = attend_band(query, key, value, observed, 4, biased=biased)
    found = attend_band(query, key, value, observed, 4, skip, biased=biased)
    assert found.shape == (2, 12 - skip, 2, 4)
    close(found, whole[:, skip:])


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("lookback", [1, 3, 5, 60])
def test_a_later_days_absence_does_not_change_a_bit_of_the_earlier_ones(lookback, width, contiguous, biased):
    # With every day observed one mask serves all firms; the outputs must be those of the other way.
    torch.manual_seed(0)
    for firms, heads, length in ((12, 2, 118), (5, 3, 56), (2, 1, 53)):
        parts = torch.randn(firms, length, 3, heads, width).permute(2, 0, 1, 3, 4)
        query, key, value = parts.contiguous() if contiguous else parts
        observed = torch.ones(firms, length) > 0
        whole = attend_band(query, key, value, observed, lookback, biased=biased)
        observed[firms // 2, length - 1] = False
        assert torch.equal(attend_band(query, key, value, observed, lookback, biased=biased)[:, :-1], whole[:, :-1])


# -- layers ------------------------------------------------------------

LITTLE = ModelConfig(width=12, heads=3, lookback=4, positions="none", feed_forward=16, dropout=0.0)


def layer_of(axis, **changes):
    torch.manual_seed(0)
    return MultiHeadAttention(axis, dataclasses.replace(LITTLE, **changes))


def torch_attention(layer):
    """The layer's parameters in torch's own attention."""
    theirs = torch.nn.MultiheadAttention(layer.config.width, layer.heads, batch_first=True)
    if layer.axis == "reference":
        parts = [layer.query, layer.key_value]
    else:
        parts = [layer.query_key_value]
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(layer.output.weight)
        theirs.out_proj.bias.copy_(layer.output.bias)
    return theirs


def test_attention_along_firms_equals_torchs_with_the_same_parameters():
    layer = layer_of("firm")
    x, observed = torch.randn(5, 7, 12), torch.rand(5, 7) < 0.6
    observed[:, 0] = True  # torch's own gives NaN where nobody is there
    output, weights = torch_attention(layer)(x, x, x, key_padding_mask=~observed, average_attn_weights=False)
    close(layer(x, Context(observed)), output)
    close(layer.weights(x, Context(observed), torch.tensor([3, 1])), weights[[3, 1]])


@pytest.mark.parametrize("axis", ["industry", "neighbours"])
@pytest.mark.parametrize("own", [False, True])
def test_attention_among_some_firms_equals_torchs_with_a_mask_and_the_same_parameters(axis, own):
    layer = layer_of(axis, own_firm=own)
    x, group, neighbours = torch.randn(5, 7, 12), torch.tensor([1, 2, 1, 1, 2, 1, 2]), torch.rand(5, 7, 7) < 0.6
    neighbours |= torch.roll(torch.eye(7), 1, 0) > 0  # torch's own gives NaN where nobody is there
    seen = (group[:, None] == group).expand(5, -1, -1) if axis == "industry" else neighbours
    hidden = ~seen if own else ~seen | (torch.eye(7) > 0)
    theirs = torch_attention(layer)
    output, weights = theirs(x, x, x, attn_mask=hidden.repeat_interleave(3, 0), average_attn_weights=False)
    context = Context(torch.ones(5, 7) > 0, group.expand(5, -1), neighbours)
    close(layer(x, context), output)
    close(layer.weights(x, context, torch.arange(5)), weights)


def test_a_mask_made_for_some_firms_at_a_time_changes_nothing(monkeypatch):
    layer, x = layer_of("neighbours", own_firm=False), torch.randn(5, 7, 12, requires_grad=True)
    context = Context(torch.rand(5, 7) < 0.7, None, torch.rand(5, 7, 7) < 0.5)
    found = []
    for cells in (layers.CELLS, 70):  # 70 entries: two firms of five dates
        monkeypatch.setattr(layers, "CELLS", cells)
        layer.zero_grad()
        output = layer(x, context)
        output.square().sum().backward()
        found.append([output.detach(), x.grad.clone(), *(p.grad.clone() for p in layer.parameters())])
        x.grad = None
    for some, whole in zip(*found, strict=True):
        close(some, whole)


def test_attention_along_time_equals_torchs_with_a_band_and_the_same_parameters():
    layer = layer_of("time")
    x, context = torch.randn(6, 15, 12), Context(torch.ones(6, 15) > 0)
    lag = torch.arange(15)[:, None] - torch.arange(15)
    outside = (lag < 0) | (lag >= 4)
    output, weights = torch_attention(layer)(x, x, x, attn_mask=outside, average_attn_weights=False)
    close(layer(x, context), output)
    close(layer(x, context, skip=5), output[:, 5:])
    found = layer.weights(x, context, torch.tensor([9]))[0]  # [n h l]
    close(found, weights[:, :, 9, 6:10].flip(-1))


def test_attention_to_a_reference_universe_equals_torchs_cross_attention_with_the_same_parameters():
    layer = layer_of("reference")
    x, reference, seen = torch.randn(5, 7, 12), torch.randn(5, 4, 12), torch.rand(5, 4) < 0.6
    seen[:, 1] = True
    theirs = torch_attention(layer)
    output, weights = theirs(x, reference, reference, key_padding_mask=~seen, average_attn_weights=False)
    context = Context(torch.ones(5, 7) > 0, reference=reference, reference_observed=seen)
    close(layer(x, context), output)
    close(layer.weights(x, context, torch.tensor([3, 1])), weights[[3, 1]])
    close(layer(x, context._replace(reference_observed=None)), theirs(x, reference, reference)[0])


def test_weights_are_directed():
    layer = layer_of("firm", width=8, heads=1)
    weights = layer.weights(torch.randn(1, 4, 8), Context(torch.ones(1, 4) > 0), torch.tensor([0]))[0, 0]
    assert (weights - weights.T).abs().max() > 1e-3


@pytest.mark.parametrize("axis", ["firm", "time"])
def test_tied_projections_make_scores_without_a_direction(axis):
    x, context = torch.randn(2, 6, 12), Context(torch.ones(2, 6) > 0)
    for tied in (True, False):
        query, key, _ = layer_of(axis, tied=tied).project(x, context)
        scores = torch.einsum("bshd,bmhd->bhsm", query, key)
        assert torch.allclose(scores, scores.transpose(2, 3), atol=1e-5) == tied
    fewer = sum(p.numel() for p in layer_of(axis, tied=True).parameters())
    assert fewer == sum(p.numel() for p in layer_of(axis).parameters()) - 12 * 13  # one W and one bias less


@pytest.mark.parametrize("axis", AXES)
def test_heads_with_values_of_another_width_than_keys(axis):
    layer = layer_of(axis, heads=2, key_width=3, value_width=5, width=7)
    x, reference, everyone = torch.randn(4, 6, 7), torch.randn(4, 6, 7), torch.ones(4, 6) > 0
    context = Context(everyone, everyone.int(), torch.ones(4, 6, 6) > 0, reference, everyone)
    query, key, value = layer.project(x, context)
    assert query.shape == key.shape == (4, 6, 2, 3) and value.shape == (4, 6, 2, 5)
    assert layer.output.weight.shape == (7, 10)
    output = layer(x, context)
    assert output.shape == (4, 6, 7)
    if axis != "time":
        mixed = layer.weights(x, context, torch.arange(4)) @ value.transpose(1, 2)
        close(output, layer.output(mixed.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize(
    ("axis", "missing", "message"),
    [
        ("industry", "group", "axis 'industry' needs industry codes, found a block without them"),
        ("neighbours", "neighbours", "axis 'neighbours' needs a neighbourhood, found a block without one"),
        ("reference", "reference", "axis 'reference' needs reference tokens, found a block without them"),
    ],
)
def test_an_axis_without_what_it_attends_to_is_refused(axis, missing, message):
    everyone = torch.ones(1, 3) > 0
    with pytest.raises(InputError, match=message):
        layer_of(axis)(torch.randn(1, 3, 12), Context(everyone)._replace(**{missing: None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 10, "heads": 4}, "model.width must be divisible by model.heads = 4, found 10"),
        ({"width": 9, "heads": 3}, "model.width must be even in each head for rotary positions, found 9"),
        ({"key_width": 3}, "model.width must be even in each head for rotary positions, found 8"),
        ({"key_width": 0}, "model.key_width must be at least 1, found 0"),
        ({"value_width": -1}, "model.value_width must be at least 1, found -1"),
        ({"heads": 0}, "model.heads must be at least 1, found 0"),
        ({"lookback": 0}, "model.lookback must be at least 1, found 0"),
        ({"feed_forward": -1}, "model.feed_forward must be at least 0, found -1"),
        ({"industry_level": -1}, "model.industry_level must be at least 0, found -1"),
        ({"positions": "learned"}, "model.positions must be one of rotary, linear_bias, none, found 'learned'"),
        ({"normaliser": "max"}, "model.normaliser must be one of softmax, .*, identity, found 'max'"),
        ({"norm": "batch"}, "model.norm must be one of pre, post, none, found 'batch'"),
        ({"activation": "tanh"}, "model.activation must be one of gelu, relu, gated, found 'tanh'"),
        ({"temperature": 0.0}, "model.temperature must be finite and above 0, found 0.0"),
        ({"temperature": float("nan")}, "model.temperature must be finite and above 0, found nan"),
        ({"dropout": 1.0}, "model.dropout must be at least 0 and below 1, found 1.0"),
        (
            {"normaliser": "linear", "temperature": 2.0, "positions": "none"},
            "model.normaliser must be with scores where there are linear_bias or a temperature, found 'linear'",
        ),
        (
            {"normaliser": "identity", "positions": "linear_bias"},
            "model.normaliser must be with scores where there are linear_bias or a temperature, found 'identity'",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        ModelConfig(**{"width": 8, "heads": 2} | changes)


def test_layers_refuse_an_unknown_axis_absolute_positions_and_tied_cross_attention():
    with pytest.raises(InputError, match=re.escape(f"axis must be one of {', '.join(AXES)}, found 'firms'")):
        MultiHeadAttention("firms", LITTLE)
    absolute = dataclasses.replace(LITTLE)
    object.__setattr__(absolute, "positions", "learned")
    message = "positions along one pass must be relative, 'rotary', 'linear_bias' or 'none', found 'learned'"
    with pytest.raises(InputError, match=message):
        MultiHeadAttention("time", absolute)
    with pytest.raises(InputError, match="tied projections need one set of tokens, found axis 'reference'"):
        layer_of("reference", tied=True)


def test_heads_of_odd_width_are_fine_without_rotary_positions():
    x, context = torch.randn(4, 3, 9), Context(torch.ones(4, 3) > 0)
    config = ModelConfig(width=9, heads=3, lookback=2, positions="none")
    for axis in ("time", "firm"):
        assert MultiHeadAttention(axis, config)(x, context).shape == x.shape


# -- blocks ------------------------------------------------------------


@pytest.mark.parametrize("activation", ["gelu", "relu", "gated"])
@pytest.mark.parametrize("norm", ["pre", "post", "none"])
@pytest.mark.parametrize("residual", [True, False])
def test_a_block_equals_its_formula(norm, activation, residual):
    torch.manual_seed(0)
    block = TransformerBlock("time", dataclasses.replace(LITTLE, norm=norm, activation=activation, residual=residual))
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)  # norms too
    x, context = torch.randn(3, 9, 12), Context(torch.rand(3, 9) < 0.8)
    first, second = block.attention_norm, block.feed_forward_norm

    def feed_forward(x):
        wide = x @ block.widen.weight.T + block.widen.bias
        if activation == "gated":
            wide = F.gelu(wide[..., :16]) * wide[..., 16:]
        else:
            wide = F.gelu(wide) if activation == "gelu" else wide.clamp(min=0)
        return wide @ block.narrow.weight.T + block.narrow.bias

    kept = float(residual)
    if norm == "pre":
        middle = kept * x + block.attention(first(x), context)
        expected = kept * middle + feed_forward(second(middle))
    elif norm == "post":
        middle = first(kept * x + block.attention(x, context))
        expected = second(kept * middle + feed_forward(middle))
    else:
        assert not list(first.parameters()) and not list(second.parameters())
        middle = kept * x + block.attention(x, context)
        expected = kept * middle + feed_forward(middle)
    close(block(x, context), expected)
    close(block(x, context, skip=4), expected[:, 4:])


def test_a_block_without_a_feed_forward_layer_is_attention_alone():
    config = dataclasses.replace(LITTLE, norm="none", residual=False, feed_forward=0)
    block, x, context = TransformerBlock("firm", config), torch.randn(2, 5, 12), Context(torch.ones(2, 5) > 0)
    assert torch.equal(block(x, context), block.attention(x, context))
    assert sum(1 for _ in block.parameters()) == 4


def test_a_hundred_blocks_train_and_their_gradient_does_not_vanish():
    torch.manual_seed(0)
    days, firms = 4, 5
    everyone, x = torch.ones(days, firms) > 0, torch.randn(days, firms, 3)
    block = Block(
        x, everyone, x[..., 0] - x[..., 1], everyone, torch.zeros(days, firms, 0).int(), everyone[:, 0],
        torch.arange(days), torch.arange(firms),
    )  # fmt: skip
    model = PanelTransformer(3, ("firm",) * 100, ModelConfig(width=8, heads=2, feed_forward=8, dropout=0.0))
    optimiser, losses = torch.optim.AdamW(model.parameters(), lr=1e-3), []
    for _ in range(8):
        loss = (model(block) - block.target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        if not losses:
            norms = [
                torch.cat([p.grad.flatten() for p in layer.parameters()]).norm().item()
                for layer in (model.layers[0], model.layers[-1])
            ]
            assert norms[0] >= 1e-2 * norms[1] > 0
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# -- cache ------------------------------------------------------------


def by_age(cache):
    """What the cache holds, the oldest day first."""
    order = cache.lags().argsort(descending=True)
    return cache.keys[:, :, order], cache.values[:, :, order], cache.observed[:, order]


def test_the_cache_holds_the_last_lookback_days_and_no_more():
    cache, observed = TimeCache(lookback=3), torch.ones(2, 1) > 0
    for day in range(7):
        cache.add(torch.full((2, 1, 1, 4), float(day)), torch.full((2, 1, 1, 5), -float(day)), observed)
    keys, values, seen = by_age(cache)  # [n h l d], [n h l e], [n l]
    assert keys[0, 0, :, 0].tolist() == [4, 5, 6] and values[1, 0, :, 4].tolist() == [-4, -5, -6]
    assert seen.shape == (2, 3) and cache.day == 7


@pytest.mark.parametrize("pieces", [[1] * 7, [7], [2, 5], [1, 6], [3, 3, 1]])
def test_days_may_be_cached_several_at_once(pieces):
    torch.manual_seed(0)
    days, observed = torch.randn(2, 7, 1, 4), torch.rand(2, 7) < 0.5
    cache, first = TimeCache(4), 0
    for length in pieces:
        part = slice(first, first + length)
        cache.add(days[:, part], -days[:, part], observed[:, part])
        first += length
    keys, values, seen = by_age(cache)  # [n h l d], [n h l e], [n l]
    expected = days[:, 3:].transpose(1, 2)
    assert torch.equal(keys, expected) and torch.equal(values, -expected) and torch.equal(seen, observed[:, 3:])


def test_a_day_is_written_over_the_one_that_left_and_nothing_else_moves():
    cache, everyone = TimeCache(3), torch.ones(1, 1) > 0
    for day in range(8):
        before = cache.keys.clone()
        cache.add(*(torch.full((1, 1, 1, 1), float(day)),) * 2, everyone)
        if day > 2:
            assert (cache.keys != before).flatten().nonzero().flatten().tolist() == [day % 3]
        assert cache.lags()[day % 3] == 0


def test_days_that_were_never_written_are_not_observed():
    cache = TimeCache(5)
    cache.add(torch.ones(2, 2, 1, 4), torch.ones(2, 2, 1, 4), torch.ones(2, 2) > 0)
    assert cache.observed[:, cache.lags() < 2].all() and not cache.observed[:, cache.lags() >= 2].any()


@pytest.mark.parametrize("positions", ["rotary", "linear_bias", "none"])
@pytest.mark.parametrize("kind", [{}, {"tied": True}, {"normaliser": "sparsemax"}, {"value_width": 3}])
def test_attention_a_day_at_a_time_equals_attention_to_all_days(positions, kind):
    layer = layer_of("time", positions=positions, **kind)
    x, observed = torch.randn(3, 11, 12), torch.rand(3, 11) < 0.7
    whole, cache = layer(x, Context(observed)), TimeCache(4)
    for first, stop in ((0, 2), (2, 3), (3, 4), (4, 10), (10, 11)):
        close(layer.advance(x[:, first:stop], observed[:, first:stop], cache)[:, 0], whole[:, stop - 1])


def test_rotary_positions_with_the_positive_feature_map_are_refused():
    # φ of rotated keys would depend on where a block was cut, not on distance alone
    with pytest.raises(InputError, match="normaliser 'linear' along time needs positions 'none', found 'rotary'"):
        layer_of("time", positions="rotary", normaliser="linear")
    assert layer_of("firm", positions="rotary", normaliser="linear").axis == "firm"
