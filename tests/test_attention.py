import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.attention import MultiHeadAttention, TimeCache, attend, attend_band, attention_weights, band_weights
from finattn.attention.masks import band_mask
from finattn.attention.positions import rotate
from finattn.errors import InputError

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


# -- kernels ------------------------------------------------------------


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


def test_values_of_another_width_than_keys():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 1, 7, 4), torch.randn(2, 1, 7, 4), torch.randn(2, 1, 7, 9)
    observed = torch.rand(2, 7) < 0.8
    output = attend_band(query, key, value, observed, lookback=3)
    weights = band_weights(query, key, observed, 3, torch.arange(7))  # [t n h l]
    days = (torch.arange(7)[:, None] - torch.arange(3)).clamp(min=0)
    expected = torch.einsum("tnhl,nhtle->nhte", weights, value[:, :, days])
    assert output.shape == (2, 1, 7, 9)
    close(output, expected)


@pytest.mark.parametrize(("chunk", "lookback"), [(1, 1), (3, 3), (3, 5), (4, 1)])
def test_the_band_mask_equals_its_definition(chunk, lookback):
    mask = band_mask(chunk, lookback, torch.device("cpu"))
    for query in range(chunk):
        for key in range(2 * chunk):
            assert mask[query, key].item() == (0 <= chunk + query - key < lookback)


@PROPERTY
@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 30), st.integers(1, 9), st.sampled_from([0.0, 0.3, 1.0]))
def test_band_weights_equal_dense_weights_by_lag(seed, firms, length, lookback, absent):
    random = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, firms, 2, length, 4, generator=random)
    observed = torch.rand(firms, length, generator=random) >= absent
    lag = torch.arange(length)[:, None] - torch.arange(length)
    dense = attention_weights(query, key, ((lag >= 0) & (lag < lookback)) & observed[:, None, None])
    rows = torch.arange(length)[::2]
    found = band_weights(query, key, observed, lookback, rows)
    for place, row in enumerate(rows.tolist()):
        for back in range(lookback):
            expected = dense[:, :, row, row - back] if row >= back else torch.zeros(firms, 2)
            close(found[place, :, :, back], expected)


@pytest.mark.parametrize("contiguous", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("lookback", [1, 3, 5, 60])
def test_a_later_days_absence_does_not_change_a_bit_of_the_earlier_ones(lookback, width, contiguous):
    # With every day observed one mask serves all firms; the outputs must be those of the other way.
    torch.manual_seed(0)
    for firms, heads, length in ((12, 2, 118), (5, 3, 56), (2, 1, 53)):
        parts = torch.randn(firms, length, 3, heads, width).permute(2, 0, 3, 1, 4)
        query, key, value = parts.contiguous() if contiguous else parts
        observed = torch.ones(firms, length) > 0
        whole = attend_band(query, key, value, observed, lookback)
        observed[firms // 2, length - 1] = False
        assert torch.equal(attend_band(query, key, value, observed, lookback)[:, :, :-1], whole[:, :, :-1])


# -- positions ------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 8, 16])
def test_rotary_positions_equal_a_product_of_complex_numbers(width):
    torch.manual_seed(0)
    x, position = torch.randn(3, 11, width, dtype=torch.float64), torch.arange(90, 101)
    half = width // 2
    rate = torch.tensor([10_000.0 ** (-2 * i / width) for i in range(half)], dtype=torch.float64)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.exp(1j * position[:, None] * rate)
    close(rotate(x, position), torch.cat([turned.real, turned.imag], dim=-1), 1e-12)


def test_rotary_scores_depend_on_distance_alone_and_keep_lengths():
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 8, dtype=torch.float64)
    score = [
        (rotate(query, torch.tensor([day + 7])) * rotate(key, torch.tensor([day]))).sum() for day in (0, 3, 10_000)
    ]
    close(torch.stack(score), score[0].expand(3), 1e-10)
    other = (rotate(query, torch.tensor([8])) * rotate(key, torch.tensor([0]))).sum()
    assert abs(other - score[0]) > 1e-3
    close(rotate(query, torch.tensor([123])).norm(), query.norm(), 1e-12)


# -- layers ------------------------------------------------------------


def torch_attention(layer, width, heads):
    """The layer's parameters in torch's own attention."""
    theirs = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(layer.query_key_value.weight)
        theirs.in_proj_bias.copy_(layer.query_key_value.bias)
        theirs.out_proj.weight.copy_(layer.output.weight)
        theirs.out_proj.bias.copy_(layer.output.bias)
    return theirs


def test_attention_along_firms_equals_torchs_with_the_same_parameters():
    torch.manual_seed(0)
    layer = MultiHeadAttention("firm", width=12, heads=3, lookback=1)
    x, observed = torch.randn(5, 7, 12), torch.rand(5, 7) < 0.6
    observed[:, 0] = True  # torch's own gives NaN where nobody is there
    output, weights = torch_attention(layer, 12, 3)(x, x, x, key_padding_mask=~observed, average_attn_weights=False)
    close(layer(x, observed), output)
    close(layer.weights(x, observed, torch.tensor([3, 1])), weights[[3, 1]])


def test_attention_along_time_equals_torchs_with_a_band_and_the_same_parameters():
    torch.manual_seed(0)
    layer = MultiHeadAttention("time", width=12, heads=3, lookback=4, positions="none")
    x, observed = torch.randn(15, 6, 12), torch.ones(15, 6) > 0
    lag = torch.arange(15)[:, None] - torch.arange(15)
    outside = (lag < 0) | (lag >= 4)
    series = x.transpose(0, 1)
    output, weights = torch_attention(layer, 12, 3)(
        series, series, series, attn_mask=outside, average_attn_weights=False
    )
    close(layer(x, observed), output.transpose(0, 1))
    found = layer.weights(x, observed, torch.tensor([9]))[0]  # [n h l]
    close(found, weights[:, :, 9, 6:10].flip(-1))


def test_weights_are_directed():
    torch.manual_seed(0)
    layer = MultiHeadAttention("firm", width=8, heads=1, lookback=1)
    weights = layer.weights(torch.randn(1, 4, 8), torch.ones(1, 4) > 0, torch.tensor([0]))[0, 0]
    assert (weights - weights.T).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 10, "heads": 4}, "width must be divisible by heads, found width 10 and 4 heads"),
        ({"axis": "firms"}, "axis must be 'time' or 'firm', found 'firms'"),
        ({"positions": "learned"}, "positions along one pass must be relative, 'rotary' or 'none', found 'learned'"),
        ({"width": 9, "heads": 3}, "rotary positions need heads of even width, found width 9 and 3 heads"),
    ],
)
def test_layers_refuse_what_does_not_fit(changes, message):
    with pytest.raises(InputError, match=message):
        MultiHeadAttention(**{"axis": "time", "width": 8, "heads": 2, "lookback": 3} | changes)


def test_heads_of_odd_width_are_fine_without_rotary_positions():
    x, observed = torch.randn(4, 3, 9), torch.ones(4, 3) > 0
    assert MultiHeadAttention("time", 9, 3, 2, positions="none")(x, observed).shape == x.shape
    assert MultiHeadAttention("firm", 9, 3, 2)(x, observed).shape == x.shape


# -- cache ------------------------------------------------------------


def test_the_cache_holds_the_last_lookback_days_and_no_more():
    cache, observed = TimeCache(lookback=3), torch.ones(2, 1) > 0
    for day in range(7):
        held = cache.take(torch.full((2, 1, 1, 4), float(day)), torch.full((2, 1, 1, 5), -float(day)), observed)
    assert held[0][0, 0, :, 0].tolist() == [4, 5, 6] and held[1][1, 0, :, 4].tolist() == [-4, -5, -6]
    assert held[2].shape == (2, 3) and cache.day == 7


def test_days_may_be_cached_several_at_once():
    days, observed = torch.randn(2, 1, 6, 4), torch.rand(2, 6) < 0.5
    one, many = TimeCache(4), TimeCache(4)
    for day in range(6):
        singly = one.take(days[:, :, day : day + 1], days[:, :, day : day + 1], observed[:, day : day + 1])
    for found, expected in zip(many.take(days, days, observed), singly, strict=True):
        assert torch.equal(found, expected)
