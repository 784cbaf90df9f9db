"""Forecasts under other attention: even, permuted, adversarial, frozen; and how far apart two runs of a model are."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import jensenshannon

from finattn.attention import attend
from finattn.blocks import Blocks, Reference, Scaling
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.data import Design, simulate
from finattn.errors import InputError
from finattn.evaluation.comparisons import bootstrap_mean
from finattn.evaluation.inference import mean_inference, one_sided
from finattn.explain import network
from finattn.explain.adversaries import Adversary, _batches, _loss, _trained, adversaries
from finattn.explain.apart import compare, jensen_shannon
from finattn.explain.counterfactual import (
    UniformLookUp,
    against_uniform,
    between_seeds,
    replaced,
    uniform_config,
    uniform_twin,
)
from finattn.explain.scene import Corrected
from finattn.explain.steered import Steered, even, generator, permuted
from finattn.look_up import LookUp, LookUpConfig
from finattn.metrics import rank_information_coefficient
from finattn.models import PanelTransformer
from finattn.recurrent import RecurrentForecaster
from finattn.training import AttentionForecaster, LookUpForecaster

QUICK = Adversary((0.1,), dates=8, batch=4, steps=3)


@pytest.fixture(scope="module")
def planted():
    """A panel of peers alone, and the oracle as a look-up."""
    panel, truth = simulate(firms=60, days=200, r2=0.2, seed=3, design=Design(shares={"peers": 1.0}))
    scaling = Scaling.fit(panel, np.arange(90))
    model = LookUp(scaling.width, LookUpConfig(rank=truth.key_map.shape[1], windows=(1,), heads=1))
    names, mean, deviation = panel.feature_names, scaling.mean[2:], scaling.deviation[2:]
    with torch.no_grad():
        for layer, maps in ((model.query, truth.query_map), (model.key, truth.key_map)):
            layer.weight.zero_()
            scaled = (deviation[:, None] * maps).T * maps.shape[1] ** 0.25  # a look-up divides by the root of d
            layer.weight[:, : len(names)] = torch.tensor(scaled, dtype=torch.float32)
        model.query.bias[:] = torch.tensor((mean @ truth.query_map) * truth.query_map.shape[1] ** 0.25)
    train = Blocks(panel, np.arange(40, 90), scaling, TargetConfig(horizon=1))
    return model.eval(), train, train.at(np.arange(100, 180, 2))


@pytest.fixture(scope="module")
def cuts(panel):
    """Training and test positions of the shared panel, with neighbours and a reference."""
    scaling = Scaling.fit(panel, np.arange(200))
    neighbours = np.random.default_rng(0).random((12, 12)) < 0.5
    blocks = Blocks(panel, np.arange(60, 200), scaling, TargetConfig(horizon=5), Reference(panel, scaling), neighbours)
    return blocks, blocks.at(np.arange(210, 330, 5))


def transformer(blocks, axes=("time", "firm"), seed=0, **given):
    torch.manual_seed(seed)
    config = ModelConfig(**{"width": 8, "heads": 2, "feed_forward": 16, "lookback": 5, **given})
    reference = blocks.reference.scaling.width if "reference" in axes else None
    return PanelTransformer(blocks.scaling.width, axes, config, reference).eval()


def look_up(blocks, seed=0, **given):
    torch.manual_seed(seed)
    return LookUp(blocks.scaling.width, LookUpConfig(**{"rank": 3, "windows": (1, 5), **given})).eval()


MODELS = {
    "time and firm": lambda b: transformer(b),
    "firms below time, biased": lambda b: transformer(b, ("firm", "time", "industry"), positions="linear_bias"),
    "sparse": lambda b: transformer(b, ("time", "time", "firm"), normaliser="sparsemax", own_firm=False),
    "linear": lambda b: transformer(b, ("time", "firm"), normaliser="linear", positions="none"),
    "neighbours and reference": lambda b: transformer(b, ("neighbours", "reference"), temperature=0.1),
    "look-up": look_up,
    "corrected": lambda b: Corrected(transformer(b), Corrected(look_up(b), transformer(b, ("firm",)), 0.2), 0.5),
}


def scores(model, blocks, length=7):
    with torch.no_grad():
        return torch.cat([model(block)[block.scored] for block in blocks.cut(model.warmup, length)])


def steered(model, blocks, change=None, kind="all", length=7):
    run = Steered(model, change, kind)
    with torch.no_grad():
        return [run(block) for block in blocks.cut(model.warmup, length)]


# -- running with other weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_written_out_a_model_forecasts_and_looks_as_it_does(cuts, name):
    model, test = MODELS[name](cuts[1]), cuts[1]
    for length in (3, 200):
        looked = steered(model, test, length=length)
        found = torch.cat([one.scores for one in looked])
        torch.testing.assert_close(found, scores(model, test), equal_nan=True, rtol=0, atol=2e-6)
    if isinstance(model, Corrected):
        return
    (block,) = test.cut(model.warmup, 200)
    for place, axis in enumerate(model.axes):
        own, written = model.attention(block, place), looked[0].weights[place]
        if axis == "time":  # lag 0 stands at the last day that a query sees
            days = (block.scored - block.scored[0])[:, None, None, None].expand(-1, *written.shape[1:3], 1)
            offset = written.shape[-1] - int(block.scored[-1] - block.scored[0]) - 1
            own, written = own.transpose(1, 2)[..., 0], written.gather(-1, days + offset)[..., 0]
        torch.testing.assert_close(own, written, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["time and firm", "firms below time, biased", "sparse", "linear", "corrected"])
def test_even_weights_are_those_of_a_model_without_scores(cuts, name):
    model, test = MODELS[name](cuts[1]), cuts[1]
    twin = copy.deepcopy(model)
    for part in twin.modules():
        if isinstance(part, PanelTransformer):  # the same parameters at a temperature without end
            frozen = PanelTransformer(part.embedding.in_features, part.axes, uniform_config(part.config))
            frozen.load_state_dict(part.state_dict())
            part.config, part.layers = frozen.config, frozen.eval().layers
    found = torch.cat([one.scores for one in steered(model, test, even)])
    if isinstance(model, Corrected):  # the base by the mean and deviation that it had
        own, (inner, base) = scores(model.base, test), (twin.base.model, twin.base.base)
        plain = scores(model.base.base, test)
        z = (scores(base, test) - plain.nanmean(1, True)) / spread(plain)
        known = ~own.isnan()
        held = (torch.where(known, 0.0, torch.nan) + 0.2 * z - own.nanmean(1, True)) / spread(own)
        assert scores(inner, test).nanmean().abs() < 1 and torch.isfinite(held[known]).all()
        expected = scores(twin.model, test) + 0.5 * held
    else:
        expected = scores(twin, test)
    torch.testing.assert_close(found, expected, equal_nan=True, rtol=0, atol=5e-6)


def spread(values):
    centred = values - values.nanmean(1, True)
    return centred.square().nanmean(1, True).sqrt()


def test_one_kind_is_changed_and_the_others_stay(cuts):
    model, test = transformer(cuts[1], ("time", "firm")), cuts[1]
    own, lag, peer = (steered(model, test, even if kind else None, kind or "all")[0] for kind in ("", "lag", "peer"))
    assert torch.equal(own.weights[0], peer.weights[0]) and not torch.equal(own.weights[1], peer.weights[1])
    assert not torch.equal(own.weights[0], lag.weights[0])
    assert (lag.weights[1] > 0).any() and lag.weights[1][0, 0, 0].unique().numel() > 2
    assert len({str(x.scores[0].tolist()) for x in (own, lag, peer)}) == 3


def test_each_kind_has_the_distance_of_its_own_layers(cuts):
    model = transformer(cuts[1], ("time", "firm", "reference"))
    (table,) = compare(Steered(model), [Steered(model, even, "reference")], cuts[1])
    lag, peer, reference, every = (table.loc[table["kind"] == kind, "distance"] for kind in table["kind"].unique())
    assert lag.max() < 1e-6 and peer.max() < 1e-6 and reference.min() > 0.01
    np.testing.assert_allclose(every, reference.to_numpy() / 3, atol=1e-6)
    assert table["kind"].unique().tolist() == ["lag", "peer", "reference", "all"]


def test_figures_do_not_depend_on_how_many_dates_are_held_at_a_time(cuts, monkeypatch):
    few = cuts[1].at(cuts[1].positions[:6])
    models = [transformer(few, ("firm", "time", "firm"), seed) for seed in (0, 1)]
    whole = between_seeds(models, few)
    assert Steered(models[0]).rows(10, 40) == 2**22 // (10 * 40 * 2) and Steered(models[0]).rows(4) == 2**22 // 80
    monkeypatch.setattr("finattn.explain.steered.CELLS", 1)
    assert Steered(models[0]).rows(12) == 1
    pd.testing.assert_frame_equal(between_seeds(models, few), whole, rtol=1e-4, atol=1e-6)


def test_permuted_weights_are_the_same_ones_on_other_keys_that_the_mask_allows():
    random = np.random.default_rng(0)
    seen = torch.from_numpy(random.random((3, 2, 5, 9)) < 0.6)
    weights = torch.from_numpy(random.random(seen.shape)).masked_fill(~seen, 0.0)
    found = permuted(generator(0))(weights, seen)
    assert (found[~seen] == 0).all() and torch.equal(found.sort(-1).values, weights.sort(-1).values)
    assert not torch.equal(found[0, 0], weights[0, 0]) and not torch.equal(found[0, 0], found[1, 0])
    counts = torch.zeros(3)
    few = torch.tensor([[1.0, 0.0, 0.0, 9.0]]).expand(600, -1)
    hands = permuted(generator(1))(few, torch.tensor([True, True, True, False]).expand(600, -1))
    counts = (hands == 1.0).sum(0)
    assert counts[3] == 0 and counts[:3].min() > 150


def test_even_weights_are_even_over_what_is_seen_and_nothing_where_nothing_is():
    seen = torch.tensor([[True, False, True], [False, False, False]])
    assert even(torch.rand(2, 3), seen).tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


def test_a_look_up_attends_as_before_to_the_last_bit(cuts):
    model = look_up(cuts[1])
    (block,) = cuts[1].cut(model.warmup, 200)
    torch.testing.assert_close(model(block), model(block, attend), rtol=0, atol=0, equal_nan=True)


# -- distances ------------------------------------------------------------------------------------------------------


def test_the_jensen_shannon_distance_is_scipys():
    random = np.random.default_rng(0)
    first, second = random.dirichlet(np.full(7, 0.3), 50), random.dirichlet(np.full(7, 0.3), 50)
    first[:10, :3] = 0.0
    first /= first.sum(1, keepdims=True)
    expected = jensenshannon(first, second, base=2, axis=1)
    found = jensen_shannon(torch.from_numpy(first), torch.from_numpy(second))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert jensen_shannon(torch.eye(3), torch.eye(3).flip(0)).tolist() == [1.0, 0.0, 1.0]
    same = torch.from_numpy(first).requires_grad_()
    jensen_shannon(same, same.detach(), 1e-8).sum().backward()
    assert torch.isfinite(same.grad).all()


def test_distances_are_means_over_forecasts_with_a_choice_then_heads_layers_and_dates(cuts):
    test = cuts[1]
    first, second = (transformer(test, ("firm", "industry"), seed) for seed in (0, 1))
    (table,) = compare(Steered(first), [Steered(second)], test)
    (block,) = test.cut(0, 200)
    here, codes = block.observed[block.scored].numpy(), block.industry[block.scored][..., 0].numpy()
    expected = []
    for layer in (0, 1):
        a, b = (model.attention(block, layer).double().numpy() for model in (first, second))
        alike = (codes[:, :, None] == codes[:, None, :]) & (codes > 0)[:, :, None] | np.eye(12, dtype=bool)
        keys = here[:, None, :] & (alike if layer else True)
        counted = here & (keys.sum(2) >= 2)
        with np.errstate(invalid="ignore"):  # rows of zeros
            found = jensenshannon(a, b, base=2, axis=3)  # [t h n]
        expected.append([np.nanmean(day[:, some]) for day, some in zip(found, counted, strict=True)])
        assert not counted[here].all() or layer == 0
    np.testing.assert_allclose(table["distance"], np.mean(expected, axis=0), atol=1e-6)
    assert table["kind"].unique().tolist() == ["peer"] and table["row"].tolist() == test.positions.tolist()


def test_heads_have_no_order_between_fits(cuts):
    model = look_up(cuts[1], windows=(1,))
    swapped = copy.deepcopy(model)
    with torch.no_grad():
        for layer in (swapped.query, swapped.key):
            layer.weight.copy_(layer.weight.unflatten(0, (2, -1)).flip(0).flatten(0, 1))
        swapped.query.bias.copy_(swapped.query.bias.unflatten(0, (2, -1)).flip(0).flatten())
    table = between_seeds([model, swapped], cuts[1])
    assert table["distance"].item() < 1e-6 and table["change"].item() < 1e-5
    (plain,) = compare(Steered(model), [Steered(swapped)], cuts[1])
    assert plain["distance"].min() > 0.05


def test_change_is_in_deviations_of_the_scores_and_a_shift_of_all_is_none(cuts):
    test = cuts[1]
    model = transformer(test, ("firm",))
    moved, shifted = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        shifted.head.bias += 3.0
        moved.head.weight *= -0.5
    one, other = compare(Steered(model), [Steered(moved), Steered(shifted)], test)
    own = scores(model, test).double().numpy()
    z = (own - np.nanmean(own, 1, keepdims=True)) / np.nanstd(own, 1, keepdims=True)
    np.testing.assert_allclose(one["change"], 1.5 * np.nanmean(np.abs(z), 1), rtol=1e-4)
    np.testing.assert_allclose(one["rank_correlation"], -1, atol=1e-9)
    np.testing.assert_allclose(other["change"], 0, atol=1e-5)
    worth = rank_information_coefficient(own, test.realised)
    np.testing.assert_allclose(one["original_rank_ic"], worth)
    np.testing.assert_allclose(one["rank_ic_change"], -2 * worth, atol=1e-12)


# -- replaced -------------------------------------------------------------------------------------------------------


def test_uniform_weights_change_nothing_where_they_are_uniform_already(cuts):
    test = cuts[1]
    frozen = transformer(test, ("time", "firm"), temperature=1e12)
    table = replaced([frozen], test, draws=1)
    assert table["distance"].max() < 1e-5 and table["change"].max() < 1e-4
    assert table["rank_correlation"].min() > 0.999
    assert table[["kind", "setting"]].values.tolist() == [
        [kind, setting] for kind in ("lag", "peer", "all") for setting in ("uniform", "permuted")
    ]


def test_nothing_changes_where_values_are_the_same_for_all(cuts):
    table = replaced([constant(cuts[1])], cuts[1], draws=1)
    assert table["distance"].min() > 0.05 and table["change"].max() < 1e-4


def constant(blocks):
    """Return a model whose attention hands on the same from all keys."""
    model = transformer(blocks, ("time", "firm"))
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.query_key_value.weight[16:] = 0.0
            layer.attention.query_key_value.weight[:16] *= 6.0
    return model


def test_uniform_and_permuted_weights_hurt_where_peers_are_planted(planted):
    model, _, test = planted
    table = replaced([model], test).set_index("setting")
    assert table["original_rank_ic"].tolist() == [table["original_rank_ic"].iloc[0]] * 2
    assert table.loc["uniform", "original_rank_ic"] > 0.2
    assert (table["rank_ic_change_upper"] < -0.1).all()
    # A look-up takes off the even average, so that nothing is left: rounding errors are no forecast.
    assert table.loc["uniform", ["rank_ic", "rank_correlation"]].tolist() == [0, 0]
    assert table.loc["permuted", "distance"] > table.loc["uniform", "distance"] > 0.3
    assert set(table["dates"]) == {40}


def test_permutations_differ_by_seed_and_draws_are_averaged(planted):
    model, _, test = planted
    one, same, other = (replaced([model], test, draws=1, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same)
    assert one["change"].iloc[0] == other["change"].iloc[0] and one["change"].iloc[1] != other["change"].iloc[1]
    parts = [compare(Steered(model), [Steered(model, permuted(generator(0, 0, draw)))], test)[0] for draw in range(2)]
    expected = bootstrap_mean((parts[0]["change"] + parts[1]["change"]).to_numpy() / 2, 0)
    found = replaced([model], test, draws=2).iloc[1]
    assert found[["change", "change_lower", "change_upper"]].tolist() == pytest.approx(
        [expected.estimate, expected.lower, expected.upper]
    )


def test_fits_are_averaged_by_date(cuts):
    test = cuts[1]
    fits = [transformer(test, ("firm",), seed) for seed in (0, 1)]
    both, first, second = (replaced(some, test, "m", draws=1).iloc[0] for some in (fits, fits[:1], fits[1:]))
    for measure in ("distance", "change", "rank_ic", "original_rank_ic", "rank_ic_change"):
        assert both[measure] == pytest.approx((first[measure] + second[measure]) / 2)
    assert both["model"] == "m" and both["dates"] == len(test.positions)


def test_the_callers_model_and_random_numbers_are_left_as_they_are(cuts, planted):
    train, test = cuts
    for model in (MODELS["corrected"](test), look_up(test)):
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        types = [type(part) for part in model.modules()]
        model.requires_grad_(False)
        replaced([model], test, draws=1)
        adversaries([model], train, test, how=QUICK)
        uniform_twin(LookUpForecaster()).fit(train, train)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert [type(part) for part in model.modules()] == types
        assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
        assert torch.equal(torch.get_rng_state(), state)


# -- adversaries ----------------------------------------------------------------------------------------------------


def test_an_adversary_moves_freely_where_attention_does_not_matter(cuts):
    train, test = cuts
    how = Adversary((0.1,), dates=16, batch=4, steps=40, learning_rate=2e-2)
    table = adversaries([constant(test)], train, test, how=how).set_index("kind")
    assert table.loc["peer", "distance"] > 0.6 and table.loc["lag", "distance"] > 0.3
    assert table["change"].max() < 0.2 and table["rank_correlation"].min() > 0.95
    assert table["distance"]["all"] == pytest.approx((table["distance"]["peer"] + table["distance"]["lag"]) / 2)
    assert table.loc["all", "rank_ic"] == pytest.approx(
        table.loc["all", "original_rank_ic"] + table.loc["all", "rank_ic_change"]
    )


def test_a_stronger_adversary_looks_farther_away_and_pays_for_it_where_values_differ(planted):
    model, train, test = planted
    how = Adversary((0.01, 3.0), dates=16, batch=4, steps=40, learning_rate=3e-2)
    weak, strong = (row for _, row in adversaries([model], train, test, how=how).iterrows())
    assert [weak["strength"], strong["strength"]] == [0.01, 3.0] and weak["setting"] == "adversary"
    assert strong["distance"] > 1.5 * weak["distance"]
    assert strong["change"] > 2 * weak["change"] and strong["rank_correlation"] < weak["rank_correlation"]


def test_an_adversary_sees_training_dates_alone_and_no_outcomes(cuts):
    train, test = cuts
    model = transformer(test)
    row = int(train.positions[-1]) + 1
    returns = train.panel.returns.copy()
    returns[row:] = np.random.default_rng(0).uniform(-0.5, 0.5, returns[row:].shape)
    later = Blocks(train.panel.replace(returns=returns), train.positions, *rest(train))
    torch.testing.assert_close(copies(model, later), copies(model, train), rtol=0, atol=0)
    other = Blocks(train.panel, train.positions, train.scaling, TargetConfig(horizon=21), *rest(train)[2:])
    torch.testing.assert_close(copies(model, other), copies(model, train), rtol=0, atol=0)
    assert not torch.equal(copies(model, train, seed=1), copies(model, train))


def rest(blocks):
    return blocks.scaling, blocks.target, blocks.reference, blocks.neighbours


def copies(model, train, seed=0):
    """Return the parameters of an adversary."""
    (found,) = _trained(model, train, replace(QUICK, seed=seed))
    return torch.cat([part.flatten() for part in found.model.state_dict().values()])


def test_figures_without_outcomes_do_not_look_ahead(planted):
    model, _, test = planted
    last = int(test.positions[-1]) + 1
    returns = test.panel.returns.copy()
    returns[last:] *= -0.5
    changed = Blocks(test.panel.replace(returns=returns), test.positions, test.scaling, test.target)
    columns = ["distance", "change", "rank_correlation"]
    pd.testing.assert_frame_equal(
        replaced([model], changed, draws=1)[columns], replaced([model], test, draws=1)[columns]
    )


def test_the_loss_is_the_mean_squared_change_less_the_distance(cuts):
    test = cuts[1]
    model, other = (transformer(test, ("firm",), seed) for seed in (0, 1))
    with torch.no_grad():
        other.head.bias += 2.0  # a shift of all firms alike is no change
    (block,) = test.cut(0, 200)
    with torch.no_grad():
        loss = _loss(Steered(model)(block), Steered(other)(block), 0.5)
    own, now = (scores(one, test).double() for one in (model, other))
    first, second = ((x - x.nanmean(1, True)) / spread(own) for x in (own, now))
    (table,) = compare(Steered(model), [Steered(other)], test)
    counts = torch.from_numpy(test.observed.sum(1))
    distance = np.average(table["distance"], weights=counts)
    assert float(loss) == pytest.approx(float((second - first).square().nanmean()) - 0.5 * distance, rel=1e-4)


def test_dates_come_round_in_an_order_that_the_seed_draws(cuts):
    train = cuts[0]
    rows = [row for batch in _batches(train, replace(QUICK, steps=4)) for row in batch]
    assert len(set(rows[:8])) == 8 and sorted(rows[:8]) == sorted(rows[8:]) != rows[8:]
    assert (min(rows), max(rows)) == (train.positions[0], train.positions[-1])
    assert rows != [row for batch in _batches(train, replace(QUICK, steps=4, seed=1)) for row in batch]
    assert [len(batch) for batch in _batches(train, replace(QUICK, dates=3, batch=8))] == [3, 3, 3]


# -- frozen ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"positions": "linear_bias"}, {"normaliser": "linear", "positions": "none"}, {}])
def test_a_uniform_configuration_gives_uniform_weights(cuts, given):
    test = cuts[1]
    config = uniform_config(ModelConfig(width=8, heads=2, lookback=5, own_firm=False, **given))
    model = PanelTransformer(test.scaling.width, ("time", "firm"), config).eval()
    (block,) = test.cut(model.warmup, 200)
    for layer in (0, 1):
        weights = model.attention(block, layer)
        seen, here = weights > 0, block.observed[block.scored]
        torch.testing.assert_close(weights, seen / seen.sum(-1, keepdim=True).clamp(min=1))
        most = seen.sum(-1).amax(1 if layer else 2).masked_fill(~here, 0).amax(1)
        assert most.tolist() == ([5] * len(here) if layer == 0 else (here.sum(1) - 1).tolist())


def test_twins_differ_in_their_attention_alone(cuts, short_training):
    train, test = cuts
    base = LookUpForecaster(LookUpConfig(rank=2, windows=(1,)), TrainingConfig(block=20, epochs=1, minimum_epochs=1))
    config = ModelConfig(width=8, heads=2, lookback=5)
    full = AttentionForecaster(("firm",), config, short_training, seed=4, base=base)
    twin = uniform_twin(full)
    assert (twin.seed, twin.training, twin.axes) == (4, short_training, ("firm",))
    assert twin.model_config == uniform_config(config) and isinstance(twin.base, UniformLookUp)
    assert twin.base.look_up == base.look_up and base.base is None and full.base is base
    twin.fit(train, train)
    assert not np.nan_to_num(twin.base.predict(test)).any()
    assert replaced([network(twin)], test, draws=1)["change"].max() < 1e-3
    other = RecurrentForecaster()
    kept = uniform_twin(AttentionForecaster(("firm",), config, base=other)).base
    assert isinstance(kept, RecurrentForecaster) and kept is not other


def test_a_model_that_needs_its_attention_beats_its_twin(planted):
    model, train, test = planted
    twin = uniform_twin(LookUpForecaster(model.config)).fit(train, train)
    row = against_uniform([model], [twin], test, "look-up").iloc[0]
    per_date = rank_information_coefficient(scores(model, test).numpy(), test.realised)
    expected = mean_inference(per_date, 0)
    assert row["model"] == "look-up" and row["uniform_rank_ic"] == 0 and row["dates"] == 40
    assert row["rank_ic"] == row["difference"] == pytest.approx(expected.estimate)
    assert row[["lower", "upper"]].tolist() == pytest.approx([expected.bootstrap_lower, expected.bootstrap_upper])
    assert row["p_one_sided"] == pytest.approx(one_sided(expected)) and row["p_one_sided"] < 1e-6


def test_fits_are_held_against_twins_in_the_mean_and_dates_without_outcomes_are_left_out(cuts):
    train, test = cuts
    fits = [transformer(test, ("firm",), seed) for seed in range(4)]
    late = test.at(np.arange(380, 420, 5))  # the last has no outcome
    row = against_uniform(fits[:2], fits[2:], late).iloc[0]
    realised = late.realised
    by_fit = []
    for fit in fits:
        some = [~np.isnan(x) & ~np.isnan(y) for x, y in zip(scores(fit, late).numpy(), realised, strict=True)]
        own = scores(fit, late).numpy()
        by_fit.append([stats.spearmanr(own[t, m], realised[t, m]).statistic for t, m in enumerate(some) if m.any()])
    a, b = np.mean(by_fit[:2], axis=0), np.mean(by_fit[2:], axis=0)
    assert row["rank_ic"] == pytest.approx(a.mean()) and row["uniform_rank_ic"] == pytest.approx(b.mean())
    assert row["difference"] == pytest.approx((a - b).mean()) and row["undefined"] == len(late.positions) - len(a) > 0


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, a, b: replaced([], b), "fits must be at least 1, found 0"),
        (lambda m, a, b: replaced([m], b, draws=0), "draws must be at least 1, found 0"),
        (lambda m, a, b: replaced([m], b, seed=-1), "seed must be at least 0, found -1"),
        (lambda m, a, b: replaced([torch.nn.Linear(2, 2)], b), "in a model that attends, found a Linear"),
        (
            lambda m, a, b: replaced([transformer(b, ("firm",), normaliser="identity")], b),
            "must be shares, found normaliser 'identity', whose have a sign",
        ),
        (lambda m, a, b: between_seeds([m], b), "fits must be at least 2, found 1"),
        (
            lambda m, a, b: between_seeds([m, transformer(b, ("firm",))], b),
            "fits must be of one model, found heads and",
        ),
        (lambda m, a, b: adversaries([m], b, a), "test must be after the last training date 2002-.*, found '2001-"),
        (lambda m, a, b: against_uniform([m], [], b), "uniform_fits must be at least 1, found 0"),
        (lambda m, a, b: uniform_twin(RecurrentForecaster()), "only what attends has a twin .* found RecurrentFore"),
        (lambda m, a, b: Adversary(()), r"strengths must be different ones above 0, found \(\)"),
        (lambda m, a, b: Adversary((0.1, 0.1)), "strengths must be different ones above 0"),
        (lambda m, a, b: Adversary(steps=0), "steps must be at least 1, found 0"),
        (lambda m, a, b: Adversary(noise=0.0), "noise must be finite and above 0, found 0.0"),
        (lambda m, a, b: Adversary(seed=-1), "seed must be at least 0, found -1"),
    ],
)
def test_what_cannot_be_done_is_refused(cuts, call, message):
    train, test = cuts
    with pytest.raises(InputError, match=message):
        call(transformer(test), train, test)
