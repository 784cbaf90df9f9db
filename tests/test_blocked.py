import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.attention import Context, MultiHeadAttention, Packed, attend_band, attend_packed, blocked
from finattn.attention.positions import linear_bias, rotate, turns
from finattn.config import ModelConfig
from finattn.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=60)


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def in_band(x, observed, packed, lookback, skip=0, scale=1.0, turned=False, biased=False):
    """Do what attend_packed does by the fused kernel, or written out where heads are biased."""
    heads, d, e, tied = packed
    both, value = x.split([packed.turned, heads * e], -1)
    both = both.unflatten(-1, (-1, d))
    if turned:
        both = rotate(both.transpose(1, 2), torch.arange(x.shape[1])).transpose(1, 2)
    query, key = both[:, :, :heads], both[:, :, -heads:]
    temperature = d**-0.5 / scale
    values = value.unflatten(-1, (heads, e))
    return attend_band(
        query, key, values, observed, lookback, skip, temperature=temperature, biased=biased
    ).flatten(2)  # fmt: skip


@st.composite
def cases(draw):
    """Draw inputs: sizes, what is observed, how heads lie, positions."""
    firms, days, lookback = draw(st.integers(1, 4)), draw(st.integers(1, 90)), draw(st.integers(1, 40))
    packed = Packed(
        draw(st.integers(1, 3)), 2 * draw(st.integers(1, 3)), 2 * draw(st.integers(1, 3)), draw(st.booleans())
    )
    random = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randn(firms, days, packed.turned + packed.heads * packed.value, generator=random)
    observed = torch.rand(firms, days, generator=random) >= draw(st.sampled_from([0.0, 0.3, 0.9]))
    if draw(st.booleans()):
        observed[0] = False
    settings = {
        "lookback": lookback,
        "skip": draw(st.integers(0, days - 1)),
        "scale": draw(st.sampled_from([0.3, 1.0])),
    }
    return (
        x,
        observed,
        packed,
        settings,
        draw(st.sampled_from(["none", "rotary", "linear_bias"])),
        draw(st.integers(1, 3)),
    )


@PROPERTY
@given(cases())
def test_packed_attention_and_its_gradient_equal_the_fused_kernel(case):
    x, observed, packed, settings, positions, at_once = case
    turn = turns(torch.arange(x.shape[1]), packed.key) if positions == "rotary" else None
    bias = linear_bias(packed.heads, torch.arange(settings["lookback"])) if positions == "linear_bias" else None
    given_x, expected_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    cells, blocked.CELLS = blocked.CELLS, at_once * x.shape[1] * 60  # a few firms at once
    try:
        found = attend_packed(given_x, observed, packed, **settings, turn=turn, bias=bias)
        gradient = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
        found.backward(gradient)
    finally:
        blocked.CELLS = cells
    expected = in_band(
        expected_x, observed, packed, **settings, turned=positions == "rotary", biased=positions == "linear_bias"
    )
    expected.backward(gradient)
    close(found, expected)
    close(given_x.grad, expected_x.grad)
    assert not given_x.grad.isnan().any()


@pytest.mark.parametrize("tied", [False, True])
def test_the_gradient_is_that_of_finite_differences(tied):
    torch.manual_seed(0)
    packed = Packed(2, 2, 4, tied)
    x = torch.randn(2, 27, packed.turned + 8, dtype=torch.float64, requires_grad=True)
    observed = torch.rand(2, 27) < 0.8
    turn = turns(torch.arange(27), 2)
    assert torch.autograd.gradcheck(lambda x: attend_packed(x, observed, packed, 5, 3, 0.5, turn), (x,))


def test_a_firm_never_observed_gets_zeros_and_zero_gradients():
    observed = torch.ones(2, 70) > 0
    observed[1] = False
    x = torch.randn(2, 70, 12, requires_grad=True)
    found = attend_packed(x, observed, Packed(2, 2, 2), lookback=30)
    found.square().sum().backward()
    assert not found[1].any() and not x.grad[1].any()
    assert found[0].any() and x.grad[0].any()


@pytest.mark.parametrize("lookback", [1, 3, 30, 60])
@pytest.mark.parametrize("skip", [0, 29, 59])
def test_later_days_change_no_bit_of_the_earlier_ones(lookback, skip):
    torch.manual_seed(0)
    x, observed = torch.randn(5, 118, 24), torch.ones(5, 118) > 0
    whole = attend_packed(x, observed, Packed(2, 4, 4), lookback, skip)
    for day in (117, 100, 60):
        changed, absent = x.clone(), observed.clone()
        changed[:, day:] *= -3.0
        absent[2, day:] = False
        assert torch.equal(attend_packed(changed, absent, Packed(2, 4, 4), lookback, skip)[:, : day - skip],
                           whole[:, : day - skip])  # fmt: skip


def test_other_firms_change_no_bit():
    torch.manual_seed(0)
    x, observed = torch.randn(3, 50, 12), torch.ones(3, 50) > 0
    whole = attend_packed(x, observed, Packed(2, 2, 2), lookback=20)
    x[0] = 1e20
    assert torch.equal(attend_packed(x, observed, Packed(2, 2, 2), lookback=20)[1:], whole[1:])


def test_a_second_derivative_is_refused():
    def loss(x):
        return attend_packed(x, torch.ones(2, 40) > 0, Packed(2, 2, 2), lookback=5).square().sum()

    x = torch.randn(2, 40, 12, requires_grad=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(loss(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.functional.hessian(loss, x)


@pytest.mark.parametrize(("firms", "days", "skip"), [(0, 5, 0), (2, 0, 0), (2, 5, 5)])
def test_without_firms_or_queries_nothing_comes_out_and_zero_gradients(firms, days, skip):
    x = torch.randn(firms, days, 12, requires_grad=True)
    found = attend_packed(x, torch.ones(firms, days) > 0, Packed(2, 2, 2), 3, skip)
    found.sum().backward()
    assert found.shape == (firms, days - skip, 4) and not x.grad.any()


def test_a_lookback_beyond_the_days_costs_no_more_than_all_of_them(monkeypatch):
    reached = []
    plain = blocked.Cut
    monkeypatch.setattr(blocked, "Cut", lambda *sizes: reached.append(sizes) or plain(*sizes))
    x, observed, bias = torch.randn(2, 30, 12), torch.ones(2, 30) > 0, linear_bias(2, torch.arange(4000))
    found = attend_packed(x, observed, Packed(2, 2, 2), 4000, bias=bias)
    close(found, attend_packed(x, observed, Packed(2, 2, 2), 30, bias=bias[:, :30]))
    assert reached == [(30, 0, 30)] * 2


def test_what_is_kept_for_the_backward_pass_is_seen_by_hooks_and_let_go_of_after_it():
    kept = []
    x = torch.randn(2, 40, 12, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda part: kept.append(part.numel()) or part, lambda part: part):
        loss = attend_packed(x, torch.ones(2, 40) > 0, Packed(2, 2, 2), lookback=5).sum()
    assert sum(kept) > 2 * 2 * 40 * 20  # the weights of two heads, in chunks that reach 20 days or more
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_backward_pass_under_autocast_is_in_the_precision_of_the_forward_pass():
    x = torch.randn(2, 40, 12, requires_grad=True)
    loss = attend_packed(x, torch.ones(2, 40) > 0, Packed(2, 2, 2), lookback=5).square().sum()
    (expected,) = torch.autograd.grad(loss, x, retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(loss, x)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("width", "lookback", "skip"), [(11, 3, 0), (13, 3, 0), (12, 0, 0), (12, 3, -1), (12, 3, 9)])
def test_sizes_that_do_not_fit_are_refused(width, lookback, skip):
    with pytest.raises(InputError, match="x must be 12 wide, lookback at least 1 and skip from 0 to its 8 days, found"):
        attend_packed(torch.randn(2, 8, width), torch.ones(2, 8) > 0, Packed(2, 2, 2), lookback, skip)


def test_a_graph_that_is_kept_can_go_backward_twice():
    x = torch.randn(2, 40, 12, requires_grad=True)
    loss = attend_packed(x, torch.ones(2, 40) > 0, Packed(2, 2, 2), lookback=5).square().sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x)
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tied": True}, {"positions": "linear_bias"}, {"key_width": 6, "value_width": 4}, {"temperature": 0.5}],
)
def test_the_layer_gives_the_same_by_either_way(changes, monkeypatch):
    torch.manual_seed(0)
    config = dataclasses.replace(ModelConfig(width=16, heads=2, lookback=20, dropout=0.0), **changes)
    layer, x = MultiHeadAttention("time", config), torch.randn(3, 90, 16)
    context = Context(torch.rand(3, 90) < 0.8)
    assert layer._fits_packed(x, 19)
    found = layer(x, context, 19)
    found.square().sum().backward()
    gradients = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    monkeypatch.setattr(MultiHeadAttention, "_fits_packed", lambda *_: False)
    expected = layer(x, context, 19)
    expected.square().sum().backward()
    close(found, expected)
    for gradient, parameter in zip(gradients, layer.parameters(), strict=True):
        close(gradient, parameter.grad, 1e-4)


@pytest.mark.parametrize(
    ("axis", "changes", "days", "fits"),
    [
        ("time", {}, 76, True),
        ("time", {}, 75, False),  # too many days are keys alone
        ("firm", {}, 76, False),
        ("time", {"normaliser": "sparsemax"}, 76, False),
        ("time", {"value_width": 3, "heads": 1}, 76, False),  # rotated in place, which takes pairs throughout
        ("time", {"value_width": 3, "heads": 1, "positions": "none"}, 76, True),
    ],
)
def test_the_layer_says_what_is_packed(axis, changes, days, fits):
    config = dataclasses.replace(ModelConfig(width=16, heads=2, lookback=20), **changes)
    layer = MultiHeadAttention(axis, config)
    assert layer._fits_packed(torch.zeros(1, days, 16), 19) is fits
    assert not layer._fits_packed(torch.zeros(1, days, 16, dtype=torch.bfloat16), 19)
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer._fits_packed(torch.zeros(1, days, 16), 19)
