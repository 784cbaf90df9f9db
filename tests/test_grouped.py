"""A function in groups of rows equals one call: values, gradients, random draws; and what it holds."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.graph import saved_tensors_hooks

from finattn.attention import grouped, in_groups

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def mixed(weight, bias):
    """Mix rows of x with rows of y where they are given; z is not used."""

    def run(x, y, z):
        hidden = torch.tanh(x @ weight + bias)
        return hidden if y is None else hidden * y

    return run


def values_and_gradients(make, inputs, parameters, size, random=False, keep=True):
    """The output of a grouped run, and the gradients of a weighted sum of it; size None is one plain call."""
    inputs = [x if x is None else x.detach().clone().requires_grad_(x.requires_grad) for x in inputs]
    parameters = [p.detach().clone().requires_grad_(p.requires_grad) for p in parameters]
    run = make(*parameters)
    output = run(*inputs) if size is None else in_groups(run, inputs, parameters, size, random, keep)
    (output * normal(*output.shape, seed=9).detach()).sum().backward()
    return [output.detach(), *(None if x is None else x.grad for x in (*inputs, *parameters))]


def assert_close(found, expected, tolerance=1e-5):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 100])
def test_groups_equal_one_call_in_values_and_gradients(size, keep, threads):
    inputs, parameters = [normal(7, 4, 3), normal(7, 1, 5, seed=1), normal(7, seed=2)], [normal(3, 5), normal(5)]
    found = values_and_gradients(mixed, inputs, parameters, size, keep=keep)
    expected = values_and_gradients(mixed, inputs, parameters, None)
    assert_close(found, expected)
    assert found[3] is None  # the input that is not used
    assert torch.get_num_threads() == threads


@PROPERTY
@given(
    st.integers(1, 9), st.integers(1, 10), st.booleans(), st.tuples(*[st.booleans()] * 4), st.booleans(),
    st.sampled_from([1, 2]),
)  # fmt: skip
def test_groups_equal_one_call_whatever_learns_and_whatever_is_given(rows, size, keep, learns, given_too, threads):
    tensors = [normal(rows, 2, 3), normal(rows, 2, 4, seed=1), normal(3, 4, seed=2), normal(4, seed=3)]
    x, y, weight, bias = (part.detach().requires_grad_(learn) for part, learn in zip(tensors, learns, strict=True))
    if not any(part.requires_grad for part in (x, weight, bias)):
        weight.requires_grad_()
    inputs = [x, y if given_too else None, torch.arange(rows)]
    torch.set_num_threads(threads)
    try:
        found = values_and_gradients(mixed, inputs, [weight, bias], size, keep=keep)
    finally:
        torch.set_num_threads(1)
    assert_close(found, values_and_gradients(mixed, inputs, [weight, bias], None))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_one_and_two_threads_agree_to_the_last_bit(size, keep):
    inputs, parameters, found = [normal(11, 4, 3), None, None], [normal(3, 5), normal(5)], []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        found.append(values_and_gradients(mixed, inputs, parameters, size, keep=keep))
    torch.set_num_threads(1)
    assert_equal(found[0], found[1])
    assert_equal(found[1], found[2])


@pytest.mark.parametrize("keep", [True, False])
def test_a_parameter_that_is_not_used_has_no_gradient(keep, threads):
    parameter, unused = normal(3), normal(2)
    output = in_groups(lambda x: x * parameter, [normal(5, 3)], [parameter, unused], 2, False, keep)
    output.sum().backward()
    assert parameter.grad is not None and unused.grad is None


@pytest.mark.parametrize("keep", [True, False])
def test_an_input_used_only_by_some_groups_has_zero_gradient_in_the_others(keep, threads):
    x, y = normal(6, 2), normal(6, 2, seed=1)
    output = in_groups(lambda x, y: x * y if (x[0, 0] > x[1, 0]) else 2 * x, [x, y], [], 2, False, keep)
    output.sum().backward()
    used = (x[::2, 0] > x[1::2, 0]).repeat_interleave(2)[:, None]
    assert 0 < used.sum() < 6
    torch.testing.assert_close(y.grad, (x * used).detach())


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("random", [True, False])
def test_a_second_backward_pass_gives_the_same_gradients(random, keep, threads):
    x, weight = normal(7, 3), normal(3, 4)
    torch.manual_seed(3)
    output = in_groups(lambda x: F.dropout(torch.tanh(x @ weight), 0.5 * random), [x], [weight], 2, random, keep)
    gradient = normal(7, 4, seed=9).detach()
    first = torch.autograd.grad(output, [x, weight], gradient, retain_graph=True)
    second = torch.autograd.grad(output, [x, weight], gradient, retain_graph=True)
    third = torch.autograd.grad(output, [x, weight], gradient)
    assert_close(second, first, 1e-6)
    assert_equal(third, second)


@pytest.mark.parametrize("rows", [2, 7])
def test_dropout_is_drawn_again_as_it_was_when_it_is_computed_again(rows, threads):
    x, weight = normal(rows, 30), normal(30, 30, seed=1)
    found, after = [], []
    for keep in (True, False):
        torch.manual_seed(5)
        run = values_and_gradients(lambda w: lambda x: F.dropout(x @ w, 0.5), [x], [weight], 3, True, keep)
        found.append(run)
        after.append(torch.rand(3))
    assert_equal(*found)
    assert torch.equal(*after)  # drawing again leaves the generator where it was
    kept = found[0][0] != 0
    assert 0.3 < kept.float().mean() < 0.7
    if rows == 7:
        assert not torch.equal(kept[:3], kept[3:6])  # each group draws for itself


@pytest.mark.parametrize("learns", [True, False])
def test_an_error_in_a_group_reaches_the_caller_and_leaves_the_threads_as_they_were(learns, threads):
    x = normal(6, 2).detach()
    x[3] = torch.nan

    def run(x):
        if x.isnan().any():
            raise ValueError("a group found a NaN")
        return 2 * x

    with pytest.raises(ValueError, match="a group found a NaN"):
        in_groups(run, [x.requires_grad_(learns)], [], 1, False, True)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("keep", [True, False])
def test_an_error_in_the_backward_pass_reaches_the_caller_and_leaves_the_threads_as_they_were(keep, threads):
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("no gradient here")

    output = in_groups(Broken.apply, [normal(6, 2)], [], 2, False, keep)
    with pytest.raises(ValueError, match="no gradient here"):
        output.sum().backward()
    assert torch.get_num_threads() == threads


def test_what_is_computed_again_is_computed_in_the_precision_of_the_first_time(threads):
    x, weight = normal(6, 4), normal(4, 4, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        output = in_groups(lambda x: x @ weight, [x], [weight], 2, False, False)
        expected = x @ weight
    assert output.dtype == torch.bfloat16
    gradients = torch.autograd.grad(output.float().sum(), [x, weight])
    assert_close(gradients, torch.autograd.grad(expected.float().sum(), [x, weight]), 1e-2)


def test_a_second_derivative_is_refused(threads):
    x = normal(6, 2)
    output = in_groups(lambda x: x**3, [x], [], 2, False, True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(output.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.functional.hessian(lambda x: in_groups(lambda x: x**3, [x], [], 2, False, True).sum(), x)


@pytest.mark.parametrize("name", ["GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_freed_memory_is_not_kept_where_the_environment_says_how_to_allocate(name, monkeypatch):
    asked = []
    monkeypatch.setattr(grouped.ctypes, "CDLL", asked.append)
    monkeypatch.setenv(name, "1")
    grouped.keep_freed_memory()
    assert not asked


@pytest.mark.parametrize("learns", [True, False])
def test_a_function_without_gradients_runs_in_groups_too(learns, threads):
    sizes = []

    def run(x):
        sizes.append(len(x))
        return x * weight

    x, weight = normal(7, 2).detach(), normal(2).requires_grad_(learns)
    with torch.no_grad():
        output = in_groups(run, [x], [weight], 3, False, False)
    assert sorted(sizes) == [1, 3, 3] and not output.requires_grad
    assert torch.equal(output, (x * weight).detach())


def kept_numbers(keep, rows=8, depth=6):
    """Numbers that a deep function in groups holds for the backward pass, on its way and afterwards."""
    weight, held = normal(4, 4), []

    def run(x):
        for _ in range(depth):
            x = torch.tanh(x @ weight)
        return x

    def pack(x):
        held.append(x.numel())
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        output = in_groups(run, [normal(rows, 50, 4)], [weight], 2, False, keep)
    assert output.requires_grad
    return sum(held)


def test_recomputing_holds_the_inputs_and_no_activations():
    assert kept_numbers(keep=False) == 8 * 50 * 4  # the input alone, whatever the depth
    assert kept_numbers(keep=True) > 6 * 8 * 50 * 4


@pytest.mark.parametrize("keep", [True, False])
def test_groups_run_once_forward_and_are_computed_again_only_where_nothing_is_kept(keep):
    calls, x = [], normal(7, 2)

    def run(x):
        calls.append(len(x))
        return x.sin()

    output = in_groups(run, [x], [], 2, False, keep)
    assert calls == [2, 2, 2, 1]
    output.sum().backward()
    assert calls == [2, 2, 2, 1] * (1 if keep else 2)
    torch.testing.assert_close(x.grad, x.detach().cos())


def test_no_graph_is_made_where_none_is_wanted():
    torch.set_num_threads(2)
    weight, seen = torch.ones(3, requires_grad=True), []

    def run(x):
        seen.append((x * weight).requires_grad)
        return x * weight

    try:
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                output = in_groups(run, [torch.ones(6, 3)], [weight], size=2, random=False, keep=True)
            assert torch.equal(output, torch.ones(6, 3)) and not output.requires_grad
    finally:
        torch.set_num_threads(1)
    assert seen == [False] * 6
