"""Weights read without the dense matrix equal those read from it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_models import make_block, make_model

from finattn.attention import attention_weights, heaviest, reading, summarise, through_firms, through_time, top_weights
from finattn.attention.normalisers import NORMALISERS
from finattn.config import ModelConfig
from finattn.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)
ALL = (*NORMALISERS, "linear", "identity")
CONFIG = ModelConfig(width=8, heads=2, feed_forward=16, lookback=4)


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def make_parts(seed, queries, keys, share, heads=2, width=4, ties=False):
    """Queries, keys and a mask, some of whose rows are empty; whole numbers, so that scores tie, if asked."""
    random = torch.Generator().manual_seed(seed)
    query = torch.randn(heads, queries, width, generator=random)
    key = torch.randn(heads, keys, width, generator=random)
    mask = torch.rand(queries, keys, generator=random) < share
    mask[queries // 2] = False
    return (query.round(), key.round(), mask) if ties else (query, key, mask)


def assert_heaviest(top, dense, mask, k):
    """The weights are the k largest, and each key is one that has its weight; ties may fall to either."""
    close(top.weights, dense.topk(min(k, dense.shape[-1])).values)
    found = top.keys >= 0
    close(dense.gather(-1, top.keys.clamp(min=0))[found], top.weights[found])
    assert (top.weights[~found] == 0).all()
    assert mask.expand_as(dense).gather(-1, top.keys.clamp(min=0))[found].all()
    for keys in top.keys.flatten(0, -2):
        known = keys[keys >= 0].tolist()
        assert len(set(known)) == len(known)


# -- the heaviest weights ------------------------------------------------------------


@PROPERTY
@given(
    st.integers(0, 99), st.integers(1, 9),
    st.sampled_from([1, 2, 63, 64, 65, 127, 128, 129, 130, 191, 192, 193, 300, 400]), st.sampled_from([1, 2, 3, 5, 70]),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]), st.booleans(), st.sampled_from([0.5, 1.0]),
)  # fmt: skip
def test_top_weights_equal_the_largest_of_the_dense_softmax(seed, queries, keys, k, share, ties, temperature):
    query, key, mask = make_parts(seed, queries, keys, share, ties=ties)
    top = top_weights(query, key, lambda rows: mask[rows], k, temperature=temperature)
    dense = attention_weights(query, key, mask, temperature=temperature)
    assert top.weights.shape == top.keys.shape == (2, queries, min(k, keys))
    assert_heaviest(top, dense, mask, k)
    scores = (query @ key.transpose(1, 2) / 2 / temperature).masked_fill(~mask, -torch.inf)
    close(top.log_sum_exp, scores.logsumexp(-1))


def test_both_ways_to_the_highest_scores_are_taken():
    # With 64 keys a block, 2 kept ones are sought in blocks beyond 256 keys, and among all of them before.
    random = torch.Generator().manual_seed(0)
    for keys, searched in ((256, 256), (319, 319), (320, 128), (383, 191), (4096, 128)):
        scores, sizes = torch.randn(1, 3, keys, generator=random), []
        original = torch.Tensor.topk

        def noted(x, k, sizes=sizes, original=original):
            sizes.append(x.shape[-1])
            return original(x, k)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "topk", noted)
            highest, at = reading._top(scores, 2)
        assert sizes[-1] == searched
        expected = scores.topk(2)
        assert torch.equal(highest, expected.values) and torch.equal(at, expected.indices)


@pytest.mark.parametrize("normaliser", ALL)
def test_top_weights_of_every_normaliser_equal_the_largest_dense_ones(normaliser):
    query, key, mask = make_parts(3, 7, 150, 0.3)
    top = top_weights(query, key, lambda rows: mask[rows], 4, normaliser)
    dense = attention_weights(query, key, mask, normaliser)
    close(top.weights, dense.topk(4).values)
    assert (normaliser == "softmax") == bool(top.log_sum_exp.isfinite().any())
    assert (top.weights[:, 3] == 0).all() and (top.keys[:, 3] == -1).all()  # the empty row


@pytest.mark.parametrize("cells", [1, 100, 1000, 2**23])
@pytest.mark.parametrize("normaliser", ["softmax", "sparsemax"])
def test_how_much_is_held_at_once_changes_nothing(cells, normaliser, monkeypatch):
    query, key, mask = make_parts(5, 9, 140, 0.5)
    expected = top_weights(query, key, lambda rows: mask[rows], 3, normaliser)
    codes = torch.randint(0, 3, (9, 2), generator=torch.Generator().manual_seed(0))
    key, mask = key[:, :9], mask[:, :9]
    summary = summarise(query, key, lambda rows: mask[rows], codes, codes, normaliser)
    monkeypatch.setattr(reading, "CELLS", cells)
    again = summarise(query, key, lambda rows: mask[rows], codes, codes, normaliser)
    for found, whole in zip(again, summary, strict=True):
        close(found, whole)
    query, key, mask = make_parts(5, 9, 140, 0.5)
    found = top_weights(query, key, lambda rows: mask[rows], 3, normaliser)
    close(found.weights, expected.weights)
    close(found.log_sum_exp, expected.log_sum_exp)
    assert torch.equal(found.keys, expected.keys)


def test_without_a_mask_all_keys_are_allowed():
    query, key, _ = make_parts(2, 5, 70, 1.0)
    top = top_weights(query, key, lambda rows: None, 3)
    close(top.weights, attention_weights(query, key).topk(3).values)


def test_the_heaviest_of_dense_weights_name_no_key_without_weight():
    top = heaviest(torch.tensor([[0.0, 0.75, 0.25], [0.0, 0.0, 0.0]]), 5)
    assert top.weights.tolist() == [[0.75, 0.25, 0.0], [0.0, 0.0, 0.0]]
    assert top.keys.tolist() == [[1, 2, -1], [-1, -1, -1]] and top.log_sum_exp.isnan().all()


# -- summaries ------------------------------------------------------------


def dense_summary(weights, codes, key_codes, itself=True):
    """Entropy, effective number, own, same and outside, a query at a time."""
    heads, queries, keys = weights.shape
    entropy, own = torch.zeros(heads, queries), torch.zeros(heads, queries)
    same, outside = torch.zeros(2, codes.shape[1], heads, queries)
    for h in range(heads):
        for i in range(queries):
            row = weights[h, i].tolist()
            entropy[h, i] = -sum(w * torch.tensor(w).log().item() for w in row if w > 0)
            for j, w in enumerate(row):
                if itself and i == j:
                    own[h, i] += w
                for g in range(codes.shape[1]):
                    alike = codes[i, g] == key_codes[j, g] and codes[i, g] != 0
                    if not (itself and i == j):
                        (same if alike else outside)[g, h, i] += w
    return entropy, entropy.exp() * (weights.sum(-1) > 0), own, same, outside


@PROPERTY
@given(
    st.integers(0, 99), st.integers(1, 8), st.integers(0, 2), st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from(["softmax", "sparsemax", "hardmax", "linear"]), st.booleans(),
)  # fmt: skip
def test_summaries_equal_those_of_dense_weights(seed, firms, levels, share, normaliser, itself):
    keys = firms if itself else firms + 3
    query, key, mask = make_parts(seed, firms, keys, share)
    random = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 3, (firms, levels), generator=random)
    key_codes = codes if itself else torch.randint(0, 3, (keys, levels), generator=random)
    found = summarise(query, key, lambda rows: mask[rows], codes, key_codes, normaliser, itself=itself)
    weights = attention_weights(query, key, mask, normaliser)
    for part, expected in zip(found, dense_summary(weights, codes, key_codes, itself), strict=True):
        close(part, expected)


def test_the_effective_number_of_an_even_row_is_its_number_of_keys():
    zeros, mask = torch.zeros(1, 3, 2), torch.tensor([[True] * 3, [True, False, True], [False] * 3])
    groups = torch.tensor([[1], [1], [0]])
    found = summarise(zeros, zeros, lambda rows: mask[rows], groups, groups)
    close(found.effective, torch.tensor([[3.0, 2.0, 0.0]]))
    close(found.own, torch.tensor([[1 / 3, 0.0, 0.0]]))
    close(found.same, torch.tensor([[[1 / 3, 0.5, 0.0]]]))
    close(found.outside, torch.tensor([[[1 / 3, 0.5, 0.0]]]))


# -- the model's readings ------------------------------------------------------------

STACKS = [("firm",), ("time", "industry"), ("neighbours", "time", "reference"), ("time", "firm", "time", "neighbours")]


@pytest.mark.parametrize("axes", STACKS)
@pytest.mark.parametrize("own", [True, False])
def test_the_models_heaviest_weights_are_those_of_its_dense_ones(axes, own):
    block, model = make_block(), make_model(axes, ModelConfig(**{**vars(CONFIG), "own_firm": own}))
    for layer, axis in enumerate(axes):
        dense = model.attention(block, layer)
        top = model.attention(block, layer, top_k=3)
        assert top.weights.shape == (*dense.shape[:-1], 3) and len(dense) == len(block.scored)
        assert_heaviest(top, dense, dense > 0, 3)
        assert bool(top.log_sum_exp.isnan().all()) == (axis == "time")


def test_the_models_log_sum_of_exponentials_is_that_of_its_masked_scores():
    block, model = make_block(), make_model(("firm",), CONFIG)
    found = model.attention(block, 0, torch.tensor([11]), top_k=2).log_sum_exp[0]
    attention, x = model.layers[0].attention, model.layers[0].attention_norm(model.embedding(block.x[11]))
    query, key, _ = attention.query_key_value(x).split(8, -1)
    query, key = (part.unflatten(-1, (2, 4)).transpose(0, 1) for part in (query, key))
    scores = (query @ key.transpose(1, 2) / 2).masked_fill(~block.observed[11], -torch.inf)
    there = block.observed[11]  # what stands on an absent firm is not looked at
    close(found[:, there], scores.logsumexp(-1)[:, there].detach())


@pytest.mark.parametrize("axes", STACKS)
def test_the_models_summary_is_that_of_its_dense_weights(axes):
    block, model = make_block(), make_model(axes, CONFIG)
    rows = torch.tensor([3, 12, 19])
    for layer, axis in enumerate(axes):
        if axis == "time":
            with pytest.raises(InputError, match=rf"needs such a block, found layer {layer} along time; see lags"):
                model.summary(block, layer, rows)
            continue
        summary, dense = model.summary(block, layer, rows), model.attention(block, layer, rows)
        for place, row in enumerate(rows):
            codes = block.industry[row] if axis != "reference" else block.industry[row][:, :0]
            keys = codes if axis != "reference" else codes.new_zeros(4, 0)
            expected = dense_summary(dense[place], codes, keys, axis != "reference")
            for part, other in zip(summary, expected, strict=True):
                close(part[place], other)


def test_lags_are_those_of_the_dense_weights():
    block, model = make_block(days=30), make_model(("firm", "time"), CONFIG)
    rows = torch.arange(30)[::2]
    mean, mass = model.lags(block, 1, rows)
    dense = model.attention(block, 1, rows)  # [t n h l]
    total = dense.sum(-1)
    close(mean, (dense * torch.arange(4)).sum(-1) / total)
    close(mass, dense.sum(1) / (total > 0).sum(1)[..., None])
    assert mean.shape == (15, 6, 2) and mass.shape == (15, 2, 4)
    close(mass.sum(-1), torch.ones(15, 2))
    with pytest.raises(InputError, match="lags need a block along time, found layer 0 along 'firm'"):
        model.lags(block, 0)


def test_lags_where_nothing_is_seen_are_unknown_and_weigh_nothing():
    block, model = make_block(), make_model(("time",), CONFIG)
    block = block._replace(observed=block.observed & (torch.arange(20) != 0)[:, None] & (torch.arange(6) != 2))
    mean, mass = model.lags(block, 0, torch.tensor([0, 9]))
    assert mean[0].isnan().all() and (mass[0] == 0).all()
    assert mean[1, 2].isnan().all() and mean[1, [0, 1, 3, 4, 5]].isfinite().all()


@pytest.mark.parametrize("layer", [-1, 2])
def test_a_layer_that_the_model_does_not_have_is_refused(layer):
    with pytest.raises(InputError, match=f"layer must be from 0 to 1, found {layer}"):
        make_model(("time", "firm"), CONFIG).attention(make_block(), layer)
    for read in ("summary", "lags"):
        with pytest.raises(InputError, match=f"layer must be from 0 to 1, found {layer}"):
            getattr(make_model(("time", "firm"), CONFIG), read)(make_block(), layer)


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ([20], "rows of the block's 20, found 20 to 20"),
        ([3, -1], "rows of the block's 20, found -1 to 3"),
        ([], "at least one row number of the block, found \\[\\]"),
        ([True, False], "at least one row number of the block, found \\[True, False\\]"),
        ([[3]], "at least one row number of the block, found \\[\\[3\\]\\]"),
    ],
)
def test_dates_that_the_block_does_not_have_are_refused(dates, message):
    model, block = make_model(("time", "firm"), CONFIG), make_block()
    reads = (lambda d: model.attention(block, 1, d), lambda d: model.summary(block, 1, d))
    for read in (*reads, lambda d: model.lags(block, 0, d)):
        with pytest.raises(InputError, match=f"dates must be {message}"):
            read(dates)


def test_dates_may_be_a_list():
    model, block = make_model(("time", "firm"), CONFIG), make_block()
    assert torch.equal(model.attention(block, 1, [3, 5]), model.attention(block, 1, torch.tensor([3, 5])))


def test_no_heaviest_weight_is_refused():
    with pytest.raises(InputError, match="top_k must be at least 1, found 0"):
        make_model(("firm",), CONFIG).attention(make_block(), 0, top_k=0)


def test_a_model_in_training_is_read_without_dropout_and_goes_on_training():
    model, block = make_model(("time", "firm"), ModelConfig(**{**vars(CONFIG), "dropout": 0.5})), make_block()
    expected = model.attention(block, 1), model.lags(block, 0)[0]
    model.train()
    close(model.attention(block, 1), expected[0], 0)
    close(model.lags(block, 0)[0], expected[1], 0)
    assert model.training and model.layers[0].training


def test_weights_can_be_read_in_inference_mode(monkeypatch):
    monkeypatch.setattr("finattn.attention.reading.CELLS", 1)
    torch.set_num_threads(2)
    model, block = make_model(("time", "firm"), CONFIG), make_block()
    reads = (lambda: model.attention(block, 1, top_k=2), lambda: model.summary(block, 1), lambda: model.lags(block, 0))
    try:
        for read in reads:
            expected = read()
            with torch.inference_mode():
                found = read()
            for one, other in zip(found, expected, strict=True):
                close(one, other, 0)
    finally:
        torch.set_num_threads(1)


# -- rollout ------------------------------------------------------------


def dense_rollout(model, block, date, firms):
    """The product of (I + A) / 2 (A without residual) of all blocks, over all days and firms as one set of states."""
    days, count = block.observed.shape
    product = torch.eye(days * count, dtype=torch.float64)
    for layer, axis in enumerate(model.axes):
        weights = model.attention(block, layer, torch.arange(days)).double()
        step = torch.zeros(days, count, days, count, dtype=torch.float64)
        for day in range(days):
            for firm in range(count):
                row = weights[day, firm].mean(0) if axis == "time" else weights[day, :, firm].mean(0)
                if row.sum() == 0:
                    step[day, firm, day, firm] = 1.0
                elif axis == "time":
                    for lag in range(min(len(row), day + 1)):
                        step[day, firm, day - lag, firm] = row[lag]
                else:
                    step[day, firm, day] = row
        flat = step.reshape(days * count, -1)
        product = ((torch.eye(days * count) + flat) / 2 if model.config.residual else flat) @ product
    return product.reshape(days, count, days, count)[date, firms].flip(1)[:, days - 1 - date :].float()


@pytest.mark.parametrize(
    "axes", [("time",), ("firm",), ("time", "firm"), ("neighbours", "time", "industry"), ("time", "firm", "time")]
)
@pytest.mark.parametrize("date", [0, 2, 9])
@pytest.mark.parametrize(("normaliser", "residual"), [("softmax", True), ("sparsemax", True), ("softmax", False)])
def test_rollout_equals_the_product_over_all_days_and_firms(axes, date, normaliser, residual):
    block = make_block(days=10, firms=4)
    model = make_model(
        axes, ModelConfig(**{**vars(CONFIG), "lookback": 3, "normaliser": normaliser, "residual": residual})
    )
    found, firms = model.rollout(block, date, [2, 0]), [2, 0]
    expected = dense_rollout(model, block, date, firms)
    reached = found.shape[1]
    assert reached == min(date, model.warmup) + 1
    close(found, expected[:, :reached])
    assert (expected[:, reached:] == 0).all()
    close(found.sum((1, 2)), torch.ones(2))
    close(model.rollout(block, date, 2), found[:1])


def test_rollout_of_no_firm_is_empty_and_stays_within_the_panel():
    block = make_block()
    assert make_model(("time", "firm"), CONFIG).rollout(block, 9, torch.arange(0)).shape[0] == 0
    with pytest.raises(InputError, match="rollout stays within the panel, found a block along 'reference'"):
        make_model(("reference",), CONFIG).rollout(block, 9, [0])


@pytest.mark.parametrize(("date", "firms"), [(20, [0]), (-1, [0]), (9, [6]), (9, [-1])])
def test_rollout_refuses_what_is_not_in_the_block(date, firms):
    with pytest.raises(InputError, match="rollout needs a row of 20 and columns of 6, found"):
        make_model(("time", "firm"), CONFIG).rollout(make_block(), date, firms)


def test_weights_with_a_sign_are_no_shares():
    model, block = make_model(("time", "firm"), ModelConfig(**{**vars(CONFIG), "normaliser": "identity"})), make_block()
    summaries = lambda: model.summary(block, 1), lambda: model.lags(block, 0)  # noqa: E731
    for read in (*summaries, lambda: model.rollout(block, 9, [0]), lambda: model.attention(block, 1, top_k=2)):
        with pytest.raises(InputError, match="weights that are shares, found normaliser 'identity', whose have a sign"):
            read()


def test_a_row_without_a_key_keeps_what_it_has():
    empty = torch.zeros(1, 2, 2)
    shares = torch.tensor([[[0.25, 0.75]]])
    assert torch.equal(through_firms(shares, empty), shares)
    assert torch.equal(through_time(shares, torch.zeros(1, 2, 3)), shares)
