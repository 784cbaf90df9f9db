import pytest
import torch

from finattn.blocks import Block
from finattn.config import ModelConfig
from finattn.errors import InputError
from finattn.models import PanelTransformer

ALL_AXES = [("time",), ("firm",), ("time", "firm"), ("firm", "time"), ("time", "time"), ("time", "firm", "firm")]


def make_block(days=20, firms=6, inputs=3, warmup=0, seed=0):
    random = torch.Generator().manual_seed(seed)
    observed = torch.rand(days, firms, generator=random) < 0.8
    decision = torch.zeros(days, dtype=torch.bool)
    decision[3::4] = True
    empty = torch.zeros(days, firms)
    x = torch.randn(days, firms, inputs, generator=random)
    return Block(
        x, observed, empty, observed, empty.int(), decision, torch.arange(days), torch.arange(firms), None, warmup
    )


def make_model(axes, config, inputs=3):
    torch.manual_seed(0)
    return PanelTransformer(inputs, axes, config).eval()


@pytest.mark.parametrize("axes", [(), ("space",), ("time", "firms"), "tf"])
def test_axes_must_be_time_and_firm(axes):
    with pytest.raises(InputError, match=r"axes must be a sequence of 'time' and 'firm', found"):
        PanelTransformer(3, axes)


def test_absolute_positions_are_refused(small_model):
    config = ModelConfig(width=8, heads=2)
    object.__setattr__(config, "positions", "sinusoidal")
    with pytest.raises(InputError, match="positions along one pass must be relative, .* found 'sinusoidal'"):
        PanelTransformer(3, ("time",), config)


@pytest.mark.parametrize(("axes", "warmup"), [(("firm",), 0), (("time",), 4), (("time", "firm", "time"), 8)])
def test_the_warm_up_grows_with_the_time_blocks(axes, warmup, small_model):
    assert PanelTransformer(3, axes, small_model).warmup == warmup


@pytest.mark.parametrize("axes", ALL_AXES)
def test_scores_stand_on_decision_dates_after_the_warm_up_where_firms_are_observed(axes, small_model):
    block = make_block(warmup=6)
    scores = make_model(axes, small_model)(block)
    expected = block.observed & block.decision[:, None]
    expected[:6] = False
    assert torch.equal(scores.isfinite(), expected) and torch.equal(scores.isnan(), ~expected)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_leaving_out_dates_that_are_not_scored_changes_no_score(axes, small_model):
    block, model = make_block(), make_model(axes, small_model)
    every = model(block._replace(decision=torch.ones(20) > 0))
    scored = block.scored
    torch.testing.assert_close(model(block)[scored], every[scored], rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("axes", ALL_AXES)
def test_a_forecast_depends_on_the_warm_up_and_on_nothing_before_it(axes, small_model):
    block, model = make_block(days=30), make_model(axes, small_model)
    block = block._replace(decision=torch.arange(30) == 25, observed=torch.ones(30, 6) > 0)
    x = block.x.clone().requires_grad_()
    model(block._replace(x=x))[25].sum().backward()
    reached = (x.grad.abs().sum(dim=(1, 2)) > 0).nonzero().squeeze(1)
    assert reached.tolist() == list(range(25 - model.warmup, 26))


@pytest.mark.parametrize("axes", ALL_AXES)
def test_a_firm_sees_the_others_only_along_firms(axes, small_model):
    block, model = make_block(), make_model(axes, small_model)
    block = block._replace(decision=torch.arange(20) == 19, observed=torch.ones(20, 6) > 0)
    x = block.x.clone().requires_grad_()
    model(block._replace(x=x))[19, 2].backward()
    others = x.grad[:, [0, 1, 3, 4, 5]].abs().sum().item()
    assert (others > 0) == ("firm" in axes)


def test_weights_are_those_of_evaluation_and_leave_no_graph(small_model):
    block, model = make_block(), make_model(("time", "firm"), small_model)
    rows = torch.tensor([7, 19])
    time, firm = (model.attention(block, layer, rows) for layer in (0, 1))
    assert time.shape == (2, 6, 2, 5) and firm.shape == (2, 2, 6, 6)
    assert not time.requires_grad and not firm.requires_grad
    assert torch.equal(model.attention(block, 1, rows), firm)


def test_weights_of_a_row_are_those_of_the_row_alone(small_model):
    block, model = make_block(), make_model(("firm", "time", "firm"), small_model)
    for layer in range(3):
        together = model.attention(block, layer, torch.arange(20))
        for row in (0, 4, 19):
            alone = model.attention(block, layer, torch.tensor([row]))[0]
            torch.testing.assert_close(alone, together[row], rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_alone(small_model):
    block, model = make_block(), make_model(("time", "firm"), small_model)
    rows = block.scored
    assert torch.equal(model(block)[rows].nan_to_num(), model(block)[rows].nan_to_num())
    model.train()
    assert not torch.equal(model(block)[rows].nan_to_num(), model(block)[rows].nan_to_num())


def test_positions_tell_days_apart(small_model):
    block = make_block(days=5)._replace(decision=torch.arange(5) == 4, observed=torch.ones(5, 6) > 0)
    shuffled = block._replace(x=block.x[[2, 0, 3, 1, 4]])
    for positions, differs in (("rotary", True), ("none", False)):
        config = ModelConfig(width=8, heads=2, feed_forward=16, lookback=5, positions=positions)
        model = make_model(("time",), config)
        assert (not torch.allclose(model(block)[4], model(shuffled)[4], atol=1e-6)) == differs


def test_a_stream_takes_up_days_in_bounded_memory(small_model):
    block, model = make_block(days=30), make_model(("time", "time"), small_model)
    stream = model.stream(block)
    assert [cache.day for cache in stream._caches] == [30, 30]
    assert all(cache._held[0].shape[2] == small_model.lookback for cache in stream._caches)


def test_a_stream_can_begin_with_the_first_day(small_model):
    block, model = make_block(), make_model(("time", "firm"), small_model)
    stream = model.stream(block._replace(x=block.x[:0], observed=block.observed[:0]))
    first = stream.advance(block.x[0], block.observed[0])
    whole = model(block._replace(decision=torch.ones(20) > 0))
    torch.testing.assert_close(first, whole[0], rtol=1e-5, atol=1e-6, equal_nan=True)
