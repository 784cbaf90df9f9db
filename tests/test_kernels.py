import math

import entmax
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel

from finattn.attention.functional import attend, attention_weights
from finattn.attention.linear import FEATURE_MAPS, linear_attention, linear_weights
from finattn.attention.normalisers import NORMALISERS, normalise
from finattn.attention.positions import linear_bias
from finattn.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)
LINEAR = tuple(FEATURE_MAPS)
ORACLES = {"sparsemax": entmax.sparsemax, "entmax": entmax.entmax15}


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def chance(*shape, seed=0, share=0.6):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def with_gradients(function, *inputs):
    """Return the function's value and the gradients of a fixed weighted sum of it."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    output = function(*leaves)
    (output * normal(*output.shape, seed=99).to(output)).sum().backward()
    return [output.detach(), *(leaf.grad for leaf in leaves)]


def all_close(found, expected, tolerance=1e-5):
    for one, other in zip(found, expected, strict=True):
        close(one, other, tolerance)


# -- normalisers ------------------------------------------------------------


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("spread", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("masked", [False, True])
def test_sparse_weights_and_their_gradients_equal_the_entmax_package(name, spread, masked):
    scores = spread * normal(5, 4, 37, dtype=torch.float64)
    mask = chance(5, 4, 37) if masked else torch.ones(5, 4, 37) > 0
    expected = with_gradients(lambda z: ORACLES[name](z.masked_fill(~mask, -1e9), dim=-1), scores)
    found = with_gradients(lambda z: normalise(z, mask if masked else None, name), scores)
    all_close(found, expected, 1e-10)
    assert (found[0][~mask] == 0).all() and (found[1][~mask] == 0).all()


@pytest.mark.parametrize("name", ORACLES)
def test_sparse_weights_of_ties_and_of_a_single_key(name):
    assert normalise(torch.tensor([[3.0]]), None, name).tolist() == [[1.0]]
    close(normalise(torch.zeros(1, 4), None, name), torch.full((1, 4), 0.25))
    close(normalise(torch.tensor([[5.0, 5.0, -5.0]]), None, name), torch.tensor([[0.5, 0.5, 0.0]]))
    close(normalise(torch.tensor([[7.0, 5.0, 5.0]]), None, name), torch.tensor([[1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("name", ORACLES)
def test_sparse_weights_have_the_gradients_of_finite_differences(name):
    scores, mask = normal(3, 6, dtype=torch.float64).requires_grad_(), chance(3, 6, seed=1, share=0.8)
    assert torch.autograd.gradcheck(lambda z: normalise(z, mask, name), scores)
    assert torch.autograd.gradgradcheck(lambda z: normalise(z, mask, name), scores)


def test_sparsemax_by_hand():
    # support {1, 0.5}: τ = (1.5 - 1) / 2
    assert normalise(torch.tensor([[1.0, 0.5, -1.0]]), None, "sparsemax").tolist() == [[0.75, 0.25, 0.0]]


def test_sigmoid_weights_by_hand():
    scores = torch.tensor([0.0, math.log(3), -math.inf])  # sigmoids 1/2, 3/4 and 0
    close(normalise(scores[None], None, "sigmoid")[0], torch.tensor([0.4, 0.6, 0.0]))


def test_sigmoid_weights_of_very_low_scores_are_not_zero_over_zero():
    close(normalise(torch.full((1, 4), -500.0), None, "sigmoid"), torch.full((1, 4), 0.25))


def test_hardmax_takes_the_first_of_ties_and_has_no_gradient():
    scores = torch.tensor([[1.0, 3.0, 3.0], [9.0, 1.0, 2.0]])
    mask = torch.tensor([True, True, True]), torch.tensor([False, True, True])
    weights, gradient = with_gradients(lambda z: normalise(z, torch.stack(mask), "hardmax"), scores)
    assert weights.tolist() == [[0, 1, 0], [0, 0, 1]]
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", NORMALISERS)
@PROPERTY
@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 9), st.sampled_from([0.0, 0.3, 0.7, 1.0]))
def test_rows_sum_to_one_or_to_zero_and_what_is_forbidden_has_no_gradient(name, seed, queries, keys, share):
    scores, mask = 3 * normal(2, queries, keys, seed=seed), chance(2, queries, keys, seed=seed, share=share)
    weights, gradient = with_gradients(lambda z: normalise(z, mask, name), scores)
    close(weights.sum(-1), mask.any(-1).float())
    assert (weights >= 0).all() and gradient.isfinite().all()
    assert (weights[~mask] == 0).all() and (gradient[~mask] == 0).all()


@pytest.mark.parametrize("name", NORMALISERS)
def test_a_constant_added_to_a_row_changes_no_weight_unless_each_key_stands_alone(name):
    scores = normal(3, 8)
    same = torch.allclose(normalise(scores + 2, None, name), normalise(scores, None, name), atol=1e-6)
    assert same == (name != "sigmoid")


def test_an_unknown_normaliser_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="one of softmax, sparsemax, entmax, sigmoid, hardmax, found 'relu'"):
        normalise(torch.zeros(1, 2), None, "relu")
    for function in (attention_weights, lambda q, k, **more: attend(q, k, k, **more)):
        with pytest.raises(InputError, match="hardmax, linear, identity, found 'relu'"):
            function(torch.zeros(1, 2), torch.zeros(1, 2), normaliser="relu")


# -- weights ------------------------------------------------------------


def test_scale_temperature_and_bias_make_the_scores():
    query, key, bias = normal(3, 4), normal(5, 4, seed=1), normal(3, 5, seed=2)
    expected = (0.3 * query @ key.T / 2.0 + bias).softmax(-1)
    close(attention_weights(query, key, scale=0.3, temperature=2.0, bias=bias), expected)
    close(attention_weights(query, key), (query @ key.T / 2).softmax(-1))


@pytest.mark.parametrize("name", ["softmax", "sparsemax", "entmax"])
def test_a_low_temperature_takes_the_largest_and_a_high_one_is_even(name):
    query, key = normal(6, 4), normal(5, 4, seed=1)
    close(attention_weights(query, key, None, name, temperature=1e-4), attention_weights(query, key, None, "hardmax"))
    close(attention_weights(query, key, None, name, temperature=1e7), torch.full((6, 5), 0.2))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_not_above_zero_is_refused(temperature):
    query = torch.zeros(1, 2)
    with pytest.raises(InputError, match=f"temperature must be above zero, found {temperature}"):
        attention_weights(query, query, temperature=temperature)
    with pytest.raises(InputError, match="temperature must be above zero"):
        attend(query, query, query, temperature=temperature)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("more", [{"scale": 1.0}, {"temperature": 2.0}, {"bias": torch.zeros(1, 1)}])
def test_what_does_not_act_on_linear_attention_is_refused(name, more):
    query = torch.zeros(1, 2)
    with pytest.raises(InputError, match=f"'{name}' takes no scale, temperature or bias, found "):
        attention_weights(query, query, None, name, **more)
    with pytest.raises(InputError, match="takes no scale, temperature or bias"):
        attend(query, query, query, None, name, **more)


# -- attend equals weights times values ----------------------------------------


@pytest.mark.parametrize("name", [*NORMALISERS, *LINEAR])
@pytest.mark.parametrize("leading", [(), (2,), (3, 2), (2, 3, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_attend_equals_weights_times_values_with_any_leading_axes(name, leading, masked):
    query, key, value = normal(*leading, 7, 4), normal(*leading, 5, 4, seed=1), normal(*leading, 5, 3, seed=2)
    mask = chance(*leading, 7, 5, share=0.3) if masked else None
    found = with_gradients(lambda q, k, v: attend(q, k, v, mask, name), query, key, value)
    expected = with_gradients(lambda q, k, v: attention_weights(q, k, mask, name) @ v, query, key, value)
    assert found[0].shape == (*leading, 7, 3)
    all_close(found, expected)


@pytest.mark.parametrize("name", ["softmax", "sparsemax", *LINEAR])
@pytest.mark.parametrize(
    "shape",
    [(), (1,), (5,), (7, 5), (1, 5), (7, 1), (1, 1), (2, 7, 5), (1, 1, 5), (3, 1, 1, 5), (3, 1, 7, 5), (1, 2, 7, 1),
     (3, 2, 7, 5), (3, 2, 1, 1)],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_a_mask_of_any_shape_that_broadcasts_equals_the_mask_written_out(name, shape, seed):
    query, key, value = normal(3, 2, 7, 4), normal(3, 2, 5, 4, seed=1), normal(3, 2, 5, 3, seed=2)
    mask = chance(*shape, seed=seed)
    whole = mask.expand(3, 2, 7, 5)
    found = with_gradients(lambda q, k, v: attend(q, k, v, mask, name), query, key, value)
    expected = with_gradients(lambda q, k, v: attention_weights(q, k, whole, name) @ v, query, key, value)
    all_close(found, expected)
    close(attention_weights(query, key, mask, name), attention_weights(query, key, whole, name))


@pytest.mark.parametrize("mask", [None, (7, 5), (3, 1, 1, 5), (3, 1, 7, 5)])
@pytest.mark.parametrize("bias", [(7, 5), (2, 7, 5), (2, 1, 1), (3, 2, 7, 5)])
def test_the_fused_path_with_a_bias_equals_the_plain_one(mask, bias):
    query, key, value = normal(3, 2, 7, 4), normal(3, 2, 5, 4, seed=1), normal(3, 2, 5, 3, seed=2)
    mask = mask and chance(*mask, share=0.4)
    inputs = query, key, value, normal(*bias, seed=3)
    more = {"scale": 0.8, "temperature": 0.5}
    found = with_gradients(lambda q, k, v, b: attend(q, k, v, mask, bias=b, **more), *inputs)
    expected = with_gradients(lambda q, k, v, b: attention_weights(q, k, mask, bias=b, **more) @ v, *inputs)
    all_close(found, expected)


def test_the_linear_bias_of_each_head_acts_through_the_fused_path():
    query, key, value = normal(3, 2, 7, 4), normal(3, 2, 7, 4, seed=1), normal(3, 2, 7, 4, seed=2)
    lag = torch.arange(7)[:, None] - torch.arange(7)
    found = attend(query, key, value, lag >= 0, bias=linear_bias(2, lag))
    close(found, attention_weights(query, key, lag >= 0, bias=linear_bias(2, lag)) @ value)


@pytest.mark.parametrize("name", [*NORMALISERS, *LINEAR])
@pytest.mark.parametrize("keys_only", [False, True])
def test_a_query_with_no_allowed_key_gives_zeros_and_zero_gradients(name, keys_only):
    query, key, value = (normal(2, 1, 3, 4, seed=seed) for seed in range(3))
    mask = torch.tensor([[[[True, False, True]]], [[[False] * 3]]])
    if not keys_only:
        mask = mask & torch.tensor([[True], [False], [True]])
    for function in (
        lambda q, k, v: attend(q, k, v, mask, name),
        lambda q, k, v: attention_weights(q, k, mask, name) @ v,
    ):
        output, *gradients = with_gradients(function, query, key, value)
        empty = ~mask.any(-1).expand(2, 1, 3)
        assert (output[empty] == 0).all() and (gradients[0][empty] == 0).all()
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert all((gradient[1] == 0).all() and (gradient[0, 0, 1] == 0).all() for gradient in gradients[1:])


def test_a_mask_of_keys_reaches_the_fused_kernel_as_small_as_it_is(monkeypatch):
    seen = []
    fused = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *args, **more: seen.append(more["attn_mask"]) or fused(*args, **more)
    )
    query, mask = normal(3, 2, 7, 4), chance(3, 1, 1, 7)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # refused if the mask were not one that this kernel takes
        attend(query, query, query, mask)
        attend(query, query, query, chance(7, 7))
        attend(query, query, query, bias=normal(2, 7, 7))
    assert [tuple(x.shape) for x in seen] == [(3, 1, 1, 7), (1, 1, 7, 7), (1, 2, 7, 7)]


# -- linear attention ------------------------------------------------------------


def test_linear_weights_by_hand():
    query, keys = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0], [2.0, -math.log(2)]])
    # φ(q) = (1, 2), φ(k) = (1, 1) and (3, 1/2): scores 3 and 4
    close(linear_weights(query, keys), torch.tensor([[3 / 7, 4 / 7]]))
    # q·k = 0 and -log 2, over √2 and two keys
    close(linear_weights(query, keys, feature_map="identity"), torch.tensor([[0.0, -math.log(2) / 8**0.5]]))


@pytest.mark.parametrize("name", LINEAR)
@PROPERTY
@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 0.6, 1.0]))
def test_linear_attention_equals_its_quadratic_form(name, seed, queries, keys, share):
    query, key, value = normal(3, 2, queries, 4, seed=seed), normal(3, 2, keys, 4), normal(3, 2, keys, 5, seed=1)
    observed = chance(3, 1, keys, seed=seed, share=share)
    found = with_gradients(lambda q, k, v: linear_attention(q, k, v, observed, name), query, key, value)
    mask = observed[..., None, :]
    expected = with_gradients(lambda q, k, v: linear_weights(q, k, mask, name) @ v, query, key, value)
    all_close(found, expected)
    assert (found[2][~observed.expand(3, 2, keys)] == 0).all()


@pytest.mark.parametrize("name", LINEAR)
@PROPERTY
@given(st.integers(0, 99), st.integers(1, 30), st.integers(1, 12), st.sampled_from([None, 0.0, 0.6]))
def test_causal_linear_attention_equals_its_quadratic_form_for_any_chunk(name, seed, length, chunk, share):
    query, key, value = normal(2, length, 4, seed=seed), normal(2, length, 4), normal(2, length, 5, seed=1)
    observed = None if share is None else chance(2, length, seed=seed, share=share)
    mask = torch.ones(length, length).tril() > 0
    mask = mask if observed is None else mask & observed[:, None]
    found = with_gradients(lambda q, k, v: linear_attention(q, k, v, observed, name, True, chunk), query, key, value)
    expected = with_gradients(lambda q, k, v: linear_weights(q, k, mask, name) @ v, query, key, value)
    all_close(found, expected, 2e-5)


@pytest.mark.parametrize("name", LINEAR)
def test_causal_linear_attention_does_not_change_a_bit_when_the_future_does(name):
    query, key, value = normal(2, 50, 4), normal(2, 50, 4, seed=1), normal(2, 50, 4, seed=2)
    before = linear_attention(query, key, value, None, name, True, 16)
    for x in (query, key, value):
        x[:, 37:] = 1e4
    assert torch.equal(linear_attention(query, key, value, None, name, True, 16)[:, :37], before[:, :37])


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("causal", [False, True])
def test_linear_attention_holds_nothing_that_grows_with_the_square(name, causal):
    length, width = 512, 8
    query, key, value = (normal(1, length, width, seed=seed).requires_grad_() for seed in range(3))
    held = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: held.append(x.numel()) or x, lambda x: x):
        linear_attention(query, key, value, chance(1, length), name, causal, 16)
    assert max(held) <= length * 16 < min(length * length, length * width * width)


def test_the_positive_feature_map_is_elu_plus_one_and_stays_above_zero():
    x = torch.linspace(-60, 5, 200)
    close(FEATURE_MAPS["linear"](x), F.elu(x) + 1)
    assert (FEATURE_MAPS["linear"](x) > 0).all()
    close(linear_weights(torch.full((1, 2), -30.0), torch.zeros(4, 2)), torch.full((1, 4), 0.25))


def test_linear_attention_refuses_what_it_cannot_do():
    query, key = torch.zeros(3, 2), torch.zeros(4, 2)
    with pytest.raises(InputError, match="as many queries as keys, found 3 and 4"):
        linear_attention(query, key, key, causal=True)
    with pytest.raises(InputError, match="chunk must be at least 1, found 0"):
        linear_attention(key, key, key, causal=True, chunk=0)
    with pytest.raises(InputError, match="feature_map must be one of linear, identity, found 'relu'"):
        linear_attention(query, key, key, feature_map="relu")
    with pytest.raises(InputError, match="feature_map must be one of linear, identity, found 'relu'"):
        linear_weights(query, key, feature_map="relu")
