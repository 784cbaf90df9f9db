import dataclasses

import pytest
import torch

from finattn import models
from finattn.blocks import Block, cut
from finattn.config import AXES, ModelConfig
from finattn.errors import InputError
from finattn.models import PanelTransformer

LITTLE = ModelConfig(width=8, heads=2, feed_forward=8, lookback=5, dropout=0.0)
ALL_AXES = [("time",), ("firm",), ("time", "firm"), ("firm", "time"), ("time", "time"), ("time", "firm", "firm")]
ALL_AXES += [("industry",), ("time", "industry"), ("neighbours", "time", "reference")]


def make_block(days=20, firms=6, inputs=3, warmup=0, seed=0):
    random = torch.Generator().manual_seed(seed)
    observed = torch.rand(days, firms, generator=random) < 0.8
    decision = torch.zeros(days, dtype=torch.bool)
    decision[3::4] = True
    empty = torch.zeros(days, firms)
    x = torch.randn(days, firms, inputs, generator=random)
    industry = torch.randint(0, 3, (days, firms, 2), generator=random).int()
    reference, seen = torch.randn(days, 4, 2, generator=random), torch.rand(days, 4, generator=random) < 0.8
    neighbours = torch.rand(firms, firms, generator=random) < 0.6
    return Block(
        x, observed, empty, observed, industry, decision, torch.arange(days), torch.arange(firms), reference, warmup,
        seen, neighbours,
    )  # fmt: skip


def make_model(axes, config, inputs=3):
    torch.manual_seed(0)
    return PanelTransformer(inputs, axes, config, 2 if "reference" in axes else None).eval()


@pytest.mark.parametrize("axes", [(), ("space",), ("time", "firms"), "tf"])
def test_axes_must_be_known_ones(axes):
    known = "'time', 'firm', 'industry', 'neighbours', 'reference'"
    with pytest.raises(InputError, match=rf"axes must be a sequence of {known}, found"):
        PanelTransformer(3, axes)


@pytest.mark.parametrize(("axes", "inputs"), [(("reference",), None), (("time", "firm"), 4)])
def test_a_reference_axis_and_its_inputs_are_given_together(axes, inputs):
    message = f"axis 'reference' and reference_inputs must be given together, found .* and {inputs}"
    with pytest.raises(InputError, match=message):
        PanelTransformer(3, axes, None, inputs)


def test_absolute_positions_are_refused():
    config = ModelConfig(width=8, heads=2)
    object.__setattr__(config, "positions", "sinusoidal")
    with pytest.raises(InputError, match="positions along one pass must be relative, .* found 'sinusoidal'"):
        PanelTransformer(3, ("time",), config)


@pytest.mark.parametrize(
    ("axis", "without", "message"),
    [
        ("industry", {"industry": torch.zeros(20, 6, 0).int()}, "industry_level must be one of the panel's 0 levels"),
        ("neighbours", {"neighbours": None}, "axis 'neighbours' needs a neighbourhood, found a block without one"),
        ("reference", {"reference": None}, "axis 'reference' needs reference tokens, found a block without them"),
    ],
)
def test_a_block_without_what_an_axis_attends_to_is_refused(axis, without, message, small_model):
    with pytest.raises(InputError, match=message):
        make_model((axis,), small_model)(make_block()._replace(**without))


def test_an_industry_level_that_the_panel_does_not_have_is_refused(small_model):
    model = make_model(("industry",), dataclasses.replace(small_model, industry_level=2))
    with pytest.raises(InputError, match="industry_level must be one of the panel's 2 levels, found 2"):
        model(make_block())


def test_the_industry_level_chooses_the_groups(small_model):
    block = make_block()
    for level in (0, 1):
        model = make_model(("industry",), dataclasses.replace(small_model, industry_level=level))
        code = block.industry[7, :, level]
        alike = ((code[:, None] == code) & (code > 0)) | (torch.eye(6) > 0)
        weights = model.attention(block, 0, torch.tensor([7]))[0]
        assert torch.equal(weights > 0, (alike & block.observed[7]).expand(2, -1, -1))


def test_neighbours_of_every_date_may_be_one_matrix_or_one_a_date(small_model):
    block, model = make_block(), make_model(("time", "neighbours"), small_model)
    each = block._replace(neighbours=block.neighbours.expand(20, -1, -1))
    torch.testing.assert_close(model(each), model(block), rtol=0, atol=0, equal_nan=True)
    later = each._replace(neighbours=torch.cat([each.neighbours[:12], ~each.neighbours[12:]]))
    scores, others = model(block), model(later)
    assert torch.equal(others[:12].nan_to_num(), scores[:12].nan_to_num())
    assert not torch.equal(others[12:].nan_to_num(), scores[12:].nan_to_num())


@pytest.mark.parametrize("axes", ALL_AXES)
@pytest.mark.parametrize(("group", "kept", "threads"), [(1, 2**31, 1), (64, 2**31, 2), (64, 0, 2), (2**20, 0, 1)])
def test_groups_threads_and_recomputing_change_nothing(axes, group, kept, threads, small_model, monkeypatch):
    block, model = make_block(), make_model(axes, small_model)

    def values_and_gradients():
        model.zero_grad()
        x = block.x.clone().requires_grad_()
        scores = model(block._replace(x=x))
        scores.nan_to_num().square().sum().backward()
        return [scores.detach().nan_to_num(), x.grad, *(p.grad for p in model.parameters())]

    expected = values_and_gradients()
    monkeypatch.setitem(models.GROUP, "cpu", group)
    monkeypatch.setattr(models, "KEPT", kept)
    torch.set_num_threads(threads)
    try:
        found = values_and_gradients()
    finally:
        torch.set_num_threads(1)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [axes for axes in ALL_AXES if "time" in axes])
@pytest.mark.parametrize("normaliser", ["softmax", "sparsemax"])
def test_few_rows_far_apart_are_scored_as_in_one_pass_over_all_and_so_are_slopes(axes, normaliser, monkeypatch):
    found = {}
    for sparse in (0, 100):
        monkeypatch.setattr(models, "SPARSE", sparse)
        model = make_model(axes, dataclasses.replace(LITTLE, normaliser=normaliser))
        block = make_block(days=40)
        block = block._replace(decision=torch.zeros(40, dtype=torch.bool))
        block.decision[[2, 9, 21, 22, 39]] = True
        scores = model(block)
        scores.nan_to_num().square().sum().backward()
        slopes = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        found[sparse] = scores.detach(), slopes
    torch.testing.assert_close(found[0][0], found[100][0], equal_nan=True)
    assert found[0][0].isnan().any(1).any() and len(found[0][1]) == len(found[100][1]) > 10
    torch.testing.assert_close(found[0][1], found[100][1], rtol=1e-4, atol=1e-5)


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
    everyone = torch.ones(30, 6) > 0  # each is its own neighbour, so that none is cut off
    block = block._replace(decision=torch.arange(30) == 25, observed=everyone, neighbours=everyone[:6])
    x = block.x.clone().requires_grad_()
    model(block._replace(x=x))[25].sum().backward()
    reached = (x.grad.abs().sum(dim=(1, 2)) > 0).nonzero().squeeze(1)
    assert reached.tolist() == list(range(25 - model.warmup, 26))


@pytest.mark.parametrize("axes", ALL_AXES)
def test_a_firm_sees_the_others_only_along_firms(axes, small_model):
    block, model = make_block(), make_model(axes, small_model)
    everyone = torch.ones(20, 6) > 0
    block = block._replace(decision=torch.arange(20) == 19, observed=everyone, neighbours=everyone[:6])
    block = block._replace(industry=torch.ones(20, 6, 2).int())
    x = block.x.clone().requires_grad_()
    model(block._replace(x=x))[19, 2].backward()
    others = x.grad[:, [0, 1, 3, 4, 5]].abs().sum().item()
    assert (others > 0) == (not {"firm", "industry", "neighbours"}.isdisjoint(axes))


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


@pytest.mark.parametrize("axes", ALL_AXES)
def test_a_model_in_a_block_of_one_day_and_one_firm(axes, small_model):
    block, model = cut(make_block(days=1, firms=1), slice(None)), make_model(axes, small_model)
    block = block._replace(observed=torch.ones(1, 1) > 0, decision=torch.ones(1) > 0)
    assert model(block).isfinite().all()


@pytest.mark.parametrize("axis", AXES)
def test_a_block_in_which_nobody_is_there_gives_no_scores_and_finite_gradients(axis, small_model):
    block, model = make_block(), make_model((axis,), small_model)
    block = block._replace(observed=torch.zeros(20, 6) > 0, reference_observed=torch.zeros(20, 4) > 0)
    scores = model(block)
    assert scores.isnan().all()
    scores.nan_to_num().sum().backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in model.parameters())


def test_a_block_without_decision_dates_gives_no_scores(small_model):
    block, model = make_block(), make_model(("time", "firm"), small_model)
    assert model(block._replace(decision=torch.zeros(20) > 0)).isnan().all()


# -- inputs that are not the model's ------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b._replace(x=b.x[..., :2]), "x must be dates by firms by 3 inputs of torch.float32, found"),
        (lambda b: b._replace(x=b.x.double()), "found .* of torch.float64"),
        (lambda b: b._replace(observed=b.observed.float()), "observed must be boolean, for each date and firm of x"),
        (lambda b: b._replace(observed=b.observed[1:]), "observed must be boolean, for each date and firm of x"),
    ],
)
def test_a_block_that_is_not_the_models_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        make_model(("time", "firm"), LITTLE)(change(make_block()))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_input_that_is_observed_and_not_finite_is_refused_for_it_would_reach_other_firms(value):
    block, model = make_block(), make_model(("time",), LITTLE)
    row, firm = block.observed.nonzero()[-1].tolist()
    block.x[row, firm, 1] = value
    with pytest.raises(InputError, match=f"x must be finite where observed, .* at row {row}, firm {firm}"):
        model(block)
    stream = model.stream(make_block(days=3))
    with pytest.raises(InputError, match=f"x must be finite where observed, found another number of firm {firm}"):
        stream.advance(block.x[row], block.observed[row])
    assert stream.day == 3


def test_a_model_has_inputs_and_no_firms_give_no_scores():
    with pytest.raises(InputError, match="inputs must be at least 1, found 0"):
        PanelTransformer(0, ("time",))
    for axes in (("time",), ("firm",), ("time", "firm")):
        assert make_model(axes, LITTLE)(make_block(firms=0)).shape == (20, 0)


def test_what_a_backward_pass_holds_grows_with_the_firms_where_weights_are_written_out():
    def held(axes, firms, **changes):
        model = make_model(axes, dataclasses.replace(LITTLE, **changes))
        return model._held(0, model.context(make_block(firms=firms), axes[0] == "time"))

    assert held(("firm",), 50) == held(("firm",), 400)  # fused
    assert held(("firm",), 400, normaliser="linear") == held(("firm",), 50, normaliser="linear")
    assert held(("firm",), 400, normaliser="entmax") > 4 * held(("firm",), 50, normaliser="entmax")
    assert held(("industry",), 400) > held(("industry",), 50)
    assert held(("time",), 400) == held(("time",), 50)
    assert held(("time",), 50, normaliser="entmax") > held(("time",), 50) > held(("firm",), 50)
