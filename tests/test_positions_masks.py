import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.attention.masks import allowed
from finattn.attention.positions import LearnedPositions, linear_bias, rotate, sinusoidal
from finattn.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def chance(*shape, seed=0, share=0.6):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share


# -- masks ------------------------------------------------------------


def test_no_condition_is_no_mask():
    assert allowed(3, 4) is None
    assert allowed(3, 4, offset=2) is None


def may_attend(query, key, offset, causal, lookback, observed, listed, group, key_group, itself, neighbours):
    """Return what `allowed` says of one query and one key, in words."""
    position = offset + query
    if causal and key > position:
        return False
    if lookback is not None and position - key >= lookback:
        return False
    if not all(there is None or bool(there[key]) for there in (observed, listed)):
        return False
    if group is not None:
        same = group[query] == key_group[key] and group[query] != 0
        if not (same or key == position):
            return False
    if not itself and key == position:
        return False
    return neighbours is None or bool(neighbours[query, key])


@PROPERTY
@given(
    st.integers(0, 99),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 7),
    st.sampled_from([(False, None), (True, None), (True, 1), (True, 3)]),
    st.sets(st.sampled_from(["observed", "listed", "group", "neighbours"])),
    st.booleans(),
)
def test_the_mask_equals_its_conditions_written_out(seed, queries, keys, offset, time, given_too, itself):
    causal, lookback = time
    codes = torch.randint(0, 3, (queries + keys,), generator=torch.Generator().manual_seed(seed))
    every = {
        "observed": chance(keys, seed=seed),
        "listed": chance(keys, seed=seed + 1),
        "group": codes[:queries],
        "neighbours": chance(queries, keys, seed=seed + 2),
    }
    more = {name: x if name in given_too else None for name, x in every.items()}
    more |= {"key_group": codes[queries:] if "group" in given_too else None}
    more |= {"offset": offset, "causal": causal, "lookback": lookback, "itself": itself}
    mask = allowed(queries, keys, **more)
    if mask is None:
        mask = torch.ones(queries, keys) > 0
    mask = mask.expand(queries, keys)
    for query, key in itertools.product(range(queries), range(keys)):
        assert mask[query, key].item() == may_attend(query, key, **more), (query, key)


@pytest.mark.parametrize(("chunk", "lookback"), [(1, 1), (3, 3), (3, 5), (4, 1)])
def test_the_band_of_a_chunk_and_the_one_before_it(chunk, lookback):
    mask = allowed(chunk, 2 * chunk, offset=chunk, causal=True, lookback=lookback)
    for query, key in itertools.product(range(chunk), range(2 * chunk)):
        assert mask[query, key].item() == (0 <= chunk + query - key < lookback)


def test_conditions_on_keys_alone_keep_a_query_axis_of_size_one():
    observed, listed = chance(6, 1, 9), chance(6, 1, 9, seed=1)
    mask = allowed(9, 9, observed=observed, listed=listed)
    assert mask.shape == (6, 1, 1, 9)
    assert torch.equal(mask, (observed & listed)[:, :, None])


def test_leading_axes_broadcast_over_all_conditions():
    observed, group, neighbours = chance(4, 1, 5), torch.tensor([1, 1, 0, 2, 2]), chance(2, 5, 5)
    mask = allowed(5, 5, observed=observed, group=group, neighbours=neighbours)
    assert mask.shape == (4, 2, 5, 5)
    for day, head in itertools.product(range(4), range(2)):
        one = allowed(5, 5, observed=observed[day, 0], group=group, neighbours=neighbours[head])
        assert torch.equal(mask[day, head], one)


def test_a_firm_of_unknown_group_sees_itself_alone_or_nothing():
    group = torch.tensor([0, 0, 3])
    assert allowed(3, 3, group=group).int().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert not allowed(3, 3, group=group, itself=False).any()
    assert allowed(2, 3, offset=1, group=group[1:], key_group=group).int().tolist() == [[0, 1, 0], [0, 0, 1]]
    assert allowed(3, 3, offset=3, group=group, key_group=group).int().tolist() == [[0] * 3, [0] * 3, [0, 0, 1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lookback": 3}, "lookback must be causal and at least 1, found 3 with causal=False"),
        ({"lookback": 0, "causal": True}, "at least 1, found 0"),
        ({"observed": torch.ones(3) > 0}, "observed must have 4 entries on its last axis, found 3"),
        ({"listed": torch.ones(5) > 0}, "listed must have 4 entries on its last axis, found 5"),
        ({"neighbours": torch.ones(2, 3) > 0}, "neighbours must have 4 entries on its last axis, found 3"),
        ({"group": torch.ones(2)}, "group without key_group needs as many queries as keys, found 2 and 4"),
        ({"group": torch.ones(3), "key_group": torch.ones(4)}, "group must have 2 entries"),
        ({"group": torch.ones(2), "key_group": torch.ones(2)}, "key_group must have 4 entries"),
        ({"key_group": torch.ones(4)}, "key_group needs group"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        allowed(2, 4, **arguments)


# -- rotary ------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 8, 16])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_rotary_positions_equal_a_rotation_written_out(width, dtype, tolerance):
    x, position = normal(3, 11, width, dtype=dtype), torch.arange(90, 101)
    found = rotate(x, position)
    assert found.dtype == dtype
    for pair in range(width // 2):
        angle = position.double() * 10_000.0 ** (-2 * pair / width)
        cosine, sine = angle.cos().to(dtype), angle.sin().to(dtype)
        first, second = x[..., 2 * pair], x[..., 2 * pair + 1]
        close(found[..., 2 * pair], first * cosine - second * sine, tolerance)
        close(found[..., 2 * pair + 1], first * sine + second * cosine, tolerance)


@pytest.mark.parametrize("days", [0, 3, 10_000])
def test_rotary_scores_depend_on_distance_alone_and_keep_lengths(days):
    query, key = normal(2, 1, 8)

    def score(at, other):
        return (rotate(query, torch.tensor([at])) * rotate(key, torch.tensor([other]))).sum()

    close(score(days + 7, days), score(7, 0), 1e-10)
    assert abs(score(days + 8, days) - score(7, 0)) > 1e-3
    close(rotate(query, torch.tensor([days])).norm(), query.norm(), 1e-12)


def test_rotary_positions_may_lie_between_days_and_turn_back():
    x = normal(2, 3, 8)
    half = torch.tensor([0.5, 7.25, -2.0])
    close(rotate(rotate(x, half), half), rotate(x, 2 * half), 1e-12)
    close(rotate(rotate(x, half), -half), x, 1e-12)


@pytest.mark.parametrize(
    "layout", ["heads in a row", "transposed", "an odd start", "a last axis with gaps", "an odd step"]
)
def test_rotary_positions_take_any_layout(layout):
    view = {
        "heads in a row": normal(5, 7, 3, 4)[:, :, 1],
        "transposed": normal(7, 5, 4).transpose(0, 1),
        "an odd start": normal(5, 7, 6)[..., 1:5],
        "a last axis with gaps": normal(5, 7, 8)[..., ::2],
        "an odd step": normal(5, 7, 5)[..., :4],
    }[layout]
    close(rotate(view, torch.arange(7)), rotate(view.contiguous(), torch.arange(7)), 1e-12)


def test_rotary_positions_work_in_half_precision():
    x = normal(3, 7, 8, dtype=torch.float32)
    found = rotate(x.bfloat16(), torch.arange(7))
    assert found.dtype == torch.bfloat16
    close(found.float(), rotate(x, torch.arange(7)), 0.05)


def test_rotary_positions_have_the_gradients_of_finite_differences():
    x = normal(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotate(x, torch.arange(3)), x)


def test_rotary_positions_refuse_an_odd_width():
    with pytest.raises(InputError, match="even width, found 3"):
        rotate(torch.zeros(2, 3), torch.arange(2))


# -- the other kinds ------------------------------------------------------------


def test_sinusoidal_positions_equal_their_formula():
    found = sinusoidal(50, 6)
    assert found.shape == (50, 6) and found.dtype == torch.float32
    for position, pair in itertools.product(range(50), range(3)):
        angle = position / 10_000 ** (2 * pair / 6)
        assert found[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert found[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_learned_positions_are_added_and_learn():
    torch.manual_seed(0)
    positions = LearnedPositions(length=5, width=4)
    x = normal(3, 2, 4, dtype=torch.float32)
    output = positions(x)
    close(output, x + positions.table[:2])
    output.sum().backward()
    assert positions.table.grad.tolist() == [[3.0] * 4] * 2 + [[0.0] * 4] * 3
    with pytest.raises(InputError, match="learned positions reach 5, found a sequence of 6"):
        positions(torch.zeros(6, 4))


def test_linear_bias_slopes_of_eight_heads_are_those_of_the_paper():
    assert (-linear_bias(8, torch.tensor(1))).tolist() == [2.0**-i for i in range(1, 9)]


def test_linear_bias_falls_with_distance_in_either_direction():
    lag = torch.arange(4)[:, None] - torch.arange(4)
    bias = linear_bias(3, lag)
    assert bias.shape == (3, 4, 4) and bias.dtype == torch.float32
    for head, query, key in itertools.product(range(3), range(4), range(4)):
        expected = -(2 ** (-8 * (head + 1) / 3)) * abs(query - key)
        assert bias[head, query, key].item() == pytest.approx(expected, rel=1e-6)
