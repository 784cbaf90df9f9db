"""What moves a forecast: every method against its definition, against captum, and against the axioms that it claims."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)

from finattn.baselines import Ridge
from finattn.blocks import Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.errors import InputError
from finattn.explain.gradients import COMPLETE, METHODS, How, gradients
from finattn.explain.scene import Corrected, baseline, inputs, network, scenes, view
from finattn.explain.weights import attention
from finattn.look_up import LookUp, LookUpConfig
from finattn.models import PanelTransformer
from finattn.training import AttentionForecaster, LookUpForecaster

TRAIN, VALID, TEST = np.arange(30, 250), np.arange(252, 300), np.arange(302, 410)
ROW = 350
DRAWN = ("smoothgrad", "gradient_shap", "shapley")
FEW = How(steps=6, samples=3, peers=3, lags=(0, 1, 3))


def cut(panel, rows=(TRAIN, VALID, TEST)):
    scaling = Scaling.fit(panel, rows[0])
    return [Blocks(panel, some, scaling, TargetConfig(2)) for some in rows]


@pytest.fixture(scope="module")
def blocks(panel):
    return cut(panel)[2]


@pytest.fixture(scope="module")
def models(panel):
    """Trained for a few epochs, and a correction that is not zero on a base that is trained."""
    cuts, training = cut(panel), TrainingConfig(epochs=3, minimum_epochs=3, block=20, learning_rate=1e-2)
    config = ModelConfig(width=8, heads=2, feed_forward=16, lookback=5)
    transformer = AttentionForecaster(("time", "firm"), config, training).fit(*cuts[:2])
    look_up = LookUpForecaster(training=training).fit(*cuts[:2])
    torch.manual_seed(1)
    correction = PanelTransformer(cuts[0].scaling.width, ("time",), config)
    corrected = Corrected(correction, network(look_up), 0.3).eval()
    return {
        "transformer": network(transformer),
        "look-up": network(look_up),
        "corrected": corrected,
        "corrected twice": Corrected(correction, corrected, 2.0).eval(),
    }


@pytest.fixture(scope="module")
def targets(panel, blocks):
    return [(panel.dates[row], str(panel.firms[column])) for row in (ROW, ROW + 1) for column in seen(blocks, row)[:2]]


def seen(blocks, row):
    return np.flatnonzero(blocks.at(np.array([row])).observed[0])


def scored(explanation, kind, firm, date=None):
    table = explanation.table[(explanation.table["kind"] == kind) & (explanation.table["firm"] == firm)]
    return table[table["date"] == (date or table["date"].iloc[0])].set_index("key")["score"]


def seen_from(model, blocks, target, kind="median"):
    """Return the view of one forecast, and its score as captum wants it: of z [b w n f], one number a row."""
    (scene,) = scenes(model, blocks, [target])
    found = view(model, blocks, scene, kind)
    return found, lambda z: torch.stack([found.scores(one)[0] for one in z])


def summed(found, attributions, kind):
    """Sum attributions [w n f] up by hand."""
    column, numbers = found.scene.columns[0], attributions.detach().double().numpy()
    if kind == "lag":
        own = {str(lag): numbers[-1 - lag, column].sum() for lag in range(len(numbers))}
        return pd.Series(own | {"others": np.delete(numbers, column, axis=1).sum()})
    if kind == "peer":
        return pd.Series({str(found.firms[n]): numbers[:, n].sum() for n in np.flatnonzero(found.scene.seen)})
    parts = {name: numbers[..., found.group.numpy() == place].sum() for place, name in enumerate(found.names)}
    return pd.Series(parts)


def assert_sums_are(explanation, found, attributions, firm, tolerance=1e-5):
    for kind in ("lag", "peer", "feature"):
        expected = summed(found, attributions, kind)
        ours = scored(explanation, kind, firm)
        assert list(ours.index) == list(expected.index)
        np.testing.assert_allclose(ours, expected, atol=tolerance * max(1.0, float(expected.abs().max())))


class Linear:
    """Scores that are linear in all rows and firms, and blind to who is observed."""

    warmup = 3

    def __init__(self, firms, width):
        random = torch.Generator().manual_seed(0)
        self.weight = torch.randn(firms, self.warmup + 1, firms, width, generator=random)

    def __call__(self, block):
        last = torch.einsum("iwnf,wnf->i", self.weight, block.x)
        return torch.cat([last.new_full((len(block.x) - 1, len(last)), torch.nan), last[None]])


# -- against what must come out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["median", "absent", "2001-10-08"])
@pytest.mark.parametrize("method", ["input_x_gradient", "integrated_gradients", "gradient_shap", "feature_ablation"])
def test_of_a_linear_model_an_input_counts_its_weight_times_its_distance_to_the_baseline(panel, blocks, method, kind):
    model, target = Linear(panel.shape[1], blocks.scaling.width), (panel.dates[ROW], "F05")
    how = How(baseline=kind, noise=0.0, samples=2, steps=3)
    found, _ = seen_from(model, blocks, target, kind)
    block = found.scene.block
    distance = (block.x - baseline(blocks, found.scene, kind)).masked_fill(~block.observed[..., None], 0.0)
    assert_sums_are(gradients(model, blocks, [target], method, how), found, model.weight[5] * distance, "F05")


def test_shapley_values_of_a_linear_model_are_the_sums_over_its_groups(panel, blocks):
    model, target = Linear(panel.shape[1], blocks.scaling.width), (panel.dates[ROW], "F05")
    found, _ = seen_from(model, blocks, target)
    explanation = gradients(model, blocks, [target], "shapley", FEW)
    single = model.weight[5] * found.z
    lags, peers = summed(found, single, "lag"), summed(found, single, "peer")
    ours = scored(explanation, "lag", "F05")
    expected = {"0": lags["0"], "1 to 2": lags["1"] + lags["2"], "3": lags["3"], "others": lags["others"]}
    np.testing.assert_allclose(ours[list(expected)], [*expected.values()], atol=1e-4)
    ours = scored(explanation, "peer", "F05")
    largest = peers.drop("F05").abs().nlargest(3).index
    assert list(ours.index) == ["F05", *largest, "others"]
    np.testing.assert_allclose(ours.iloc[:-1], peers[["F05", *largest]], atol=1e-4)
    assert ours["others"] == pytest.approx(peers.drop(["F05", *largest]).sum(), abs=1e-4)
    np.testing.assert_allclose(scored(explanation, "feature", "F05"), summed(found, single, "feature"), atol=1e-4)
    every = scored(gradients(model, blocks, [target], "shapley", How(samples=1, peers=100)), "peer", "F05")
    np.testing.assert_allclose(every[peers.index], peers, atol=1e-4)
    assert set(every.index) == set(peers.index)


@pytest.mark.parametrize("kind", ["median", "absent", "2001-10-08"])
@pytest.mark.parametrize("name", ["transformer", "look-up", "corrected", "corrected twice"])
def test_attributions_with_completeness_add_up_to_the_change_of_the_score(models, blocks, targets, name, kind):
    model = models[name]
    for method, tolerance in (("integrated_gradients", 1e-2), ("shapley", 1e-5)):
        explanation = gradients(model, blocks, targets[1:3], method, How(baseline=kind, samples=2))
        assert explanation.made[method]["completeness_error"] < tolerance
        for date, firm in targets[1:3]:
            found, score = seen_from(model, blocks, (date, firm), kind)
            change = float((score(found.z[None]) - score(torch.zeros_like(found.z)[None])).detach())
            for part in ("lag", "peer", "feature"):
                total = scored(explanation, part, firm, pd.Timestamp(date)).sum()
                assert total == pytest.approx(change, rel=tolerance, abs=1e-5)


def test_too_few_steps_are_told_by_the_error_of_completeness(models, blocks, targets):
    one, many = (
        gradients(models["look-up"], blocks, targets, how=How(steps=steps)).made["integrated_gradients"]
        for steps in (1, 32)
    )
    assert one["completeness_error"] > 10 * many["completeness_error"]


def test_ablation_is_the_score_less_that_without(models, blocks, panel):
    for model in models.values():
        target = (panel.dates[ROW], "F05")
        found, score = seen_from(model, blocks, target)
        explanation = gradients(model, blocks, [target], "feature_ablation")

        def lost(places, found=found, score=score):
            z = found.z.clone()
            z[places] = 0.0
            return float((score(found.z[None]) - score(z[None])).detach())

        everywhere, firms = slice(None), np.arange(panel.shape[1])
        days = len(found.z)
        lags = {str(lag): lost((days - 1 - lag, 5)) for lag in range(days)}
        lags["others"] = lost((everywhere, np.delete(firms, 5)))
        peers = {str(panel.firms[n]): lost((everywhere, n)) for n in np.flatnonzero(found.scene.seen)}
        names = {name: lost((..., found.group == place)) for place, name in enumerate(found.names)}
        for kind, expected in (("lag", lags), ("peer", peers), ("feature", names)):
            ours = scored(explanation, kind, "F05")
            assert list(ours.index) == list(expected)
            np.testing.assert_allclose(ours, [*expected.values()], atol=1e-6)


def test_temporal_rescaling_is_its_two_steps_written_out(models, blocks, panel):
    model, target = models["transformer"], (panel.dates[ROW], "F05")
    found, score = seen_from(model, blocks, target)

    def saliency(z):
        z = z[None].clone().requires_grad_()
        return torch.autograd.grad(score(z)[0], z)[0][0].abs()

    def change(row, place):
        z = found.z.clone()
        z[row, 5, place] = 0.0
        return float((saliency(found.z) - saliency(z)).abs().sum())

    expected = np.zeros((len(found.z), len(found.names)))
    for row in range(len(found.z)):
        of_row = change(row, slice(None))
        for place in range(len(found.names)):
            expected[row, place] = of_row * change(row, found.group == place)
    explanation = gradients(model, blocks, [target], "temporal_rescaling")
    assert expected.max() > 0 and set(explanation.table["kind"]) == {"lag", "feature"}
    np.testing.assert_allclose(scored(explanation, "lag", "F05"), expected.sum(1)[::-1], rtol=1e-4)
    np.testing.assert_allclose(scored(explanation, "feature", "F05"), expected.sum(0), rtol=1e-4)


def test_gradient_shap_is_the_mean_over_its_draws_written_out_and_of_many_the_integral(models, blocks, panel):
    model, target = models["look-up"], (panel.dates[ROW], "F05")
    found, score = seen_from(model, blocks, target)
    random, total = torch.Generator().manual_seed(4), 0.0
    for _ in range(3):
        noisy = found.z + 0.2 * torch.randn(found.z.shape, generator=random)
        point = (torch.rand((), generator=random) * noisy)[None].requires_grad_()
        total = total + noisy * torch.autograd.grad(score(point)[0], point)[0][0] / 3
    how = How(samples=3, noise=0.2, seed=4)
    assert_sums_are(gradients(model, blocks, [target], "gradient_shap", how), found, total, "F05")
    many = gradients(model, blocks, [target], "gradient_shap", How(samples=300, noise=0.0))
    exact = scored(gradients(model, blocks, [target]), "peer", "F05")
    assert (scored(many, "peer", "F05") - exact).abs().max() < 0.1 * exact.abs().max()


# -- against captum, called directly for one forecast ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["transformer", "look-up", "corrected"])
@pytest.mark.parametrize(
    "method, reference, settings",
    [
        ("saliency", Saliency, {}),
        ("input_x_gradient", InputXGradient, {}),
        ("integrated_gradients", IntegratedGradients, {"n_steps": 7}),
    ],
)
def test_gradients_are_captums(models, blocks, panel, name, method, reference, settings):
    target = (panel.dates[ROW], "F05")
    found, score = seen_from(models[name], blocks, target)
    expected = reference(score).attribute(found.z[None].clone().requires_grad_(), **settings)[0]
    explanation = gradients(models[name], blocks, [target], method, How(steps=settings.get("n_steps", 32)))
    assert_sums_are(explanation, found, expected, "F05")
    assert expected.abs().max() > 0


def test_smoothgrad_is_captums_with_the_same_draws(models, blocks, panel):
    target = (panel.dates[ROW], "F05")
    found, score = seen_from(models["transformer"], blocks, target)
    how = How(samples=4, noise=0.3, seed=9)
    with torch.random.fork_rng():
        torch.manual_seed(9)
        tunnel = NoiseTunnel(Saliency(score))
        settings = {"nt_samples": 4, "nt_samples_batch_size": 1, "stdevs": 0.3}
        expected = tunnel.attribute(found.z[None].clone().requires_grad_(), nt_type="smoothgrad", **settings)[0]
    explanation = gradients(models["transformer"], blocks, [target], "smoothgrad", how)
    assert_sums_are(explanation, found, expected, "F05")


@pytest.mark.parametrize("width", [1, 2, 50])
def test_occlusion_is_captums_on_the_firms_own_rows(models, blocks, panel, width):
    found, score = seen_from(models["corrected"], blocks, (panel.dates[ROW], "F05"))

    def own(rows):
        z = found.z.repeat(len(rows), 1, 1, 1)
        z[:, :, 5] = rows
        return score(z)

    with torch.no_grad():
        window = (min(width, len(found.z)), found.z.shape[2])
        expected = Occlusion(own).attribute(found.z[None, :, 5], sliding_window_shapes=window)[0, :, 0].flip(0)
    explanation = gradients(models["corrected"], blocks, [(panel.dates[ROW], "F05")], "occlusion", How(width=width))
    assert set(explanation.table["kind"]) == {"lag"}
    np.testing.assert_allclose(scored(explanation, "lag", "F05"), expected, atol=1e-6)


def test_ablation_and_shapley_values_of_characteristics_are_captums_on_the_inputs(models, blocks, panel):
    target = (panel.dates[ROW], "F05")
    found, score = seen_from(models["transformer"], blocks, target)
    mask, first = found.group.expand(found.z.shape)[None].contiguous(), slice(0, len(found.names))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        played = ShapleyValueSampling(score).attribute(found.z[None], feature_mask=mask, n_samples=5)
        taken = FeatureAblation(score).attribute(found.z[None], feature_mask=mask)
    for method, expected in (("shapley", played), ("feature_ablation", taken)):
        ours = gradients(models["transformer"], blocks, [target], method, How(samples=5, seed=3))
        np.testing.assert_allclose(scored(ours, "feature", "F05"), expected[0, 0, 0, first], atol=1e-5)


def test_the_saliency_of_returns_is_how_far_a_look_ups_weight_lies_from_the_median_firms(blocks, targets):
    model = LookUp(blocks.scaling.width, LookUpConfig(heads=1, windows=(1,), slope=-0.5)).eval()
    found, looked = (
        gradients(model, blocks, targets, "return_saliency"),
        attention([model], blocks, "model", targets=targets),
    )
    for date, firm in targets:
        peers, weights = (
            one.of(date, firm)[lambda rows: rows["kind"] == "peer"].set_index("key")["score"] for one in (found, looked)
        )
        slopes = -0.5 * (weights[peers.index] - 1 / (len(peers) - 1))
        slopes[firm] = 0.0  # its own return is no peer's
        middle = slopes.sort_values().iloc[(len(slopes) - 1) // 2]
        np.testing.assert_allclose(peers, (slopes - middle).abs(), atol=1e-6)


# -- what must not matter -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_many_at_once_are_one_by_one(models, blocks, targets, method, monkeypatch):
    for name in ("corrected", "transformer")[method == "temporal_rescaling" :]:
        model = models[name]
        together = gradients(model, blocks, targets, method, FEW)
        apart = pd.concat([gradients(model, blocks, [target], method, FEW).table for target in targets])
        keys = ["date", "firm", "kind", "key"]
        both = together.table.merge(apart, on=keys, suffixes=("", "_apart"), validate="one_to_one")
        assert len(both) == len(together.table) == len(apart)
        np.testing.assert_allclose(both["score"], both["score_apart"], atol=1e-6, rtol=1e-5)
    monkeypatch.setattr(sys.modules["finattn.explain.gradients"], "CELLS", 1)
    few_held = gradients(model, blocks, targets, method, FEW).table
    np.testing.assert_allclose(few_held["score"], apart["score"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", DRAWN)
def test_draws_depend_on_the_seed_alone_and_leave_the_callers_random_numbers(models, blocks, targets, method):
    np.random.seed(5)
    torch.manual_seed(5)
    numbers, tensors = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = gradients(models["transformer"], blocks, targets[:1], method, FEW)
    assert (np.random.get_state()[1] == numbers).all() and torch.get_rng_state().equal(tensors)
    np.random.seed(6)
    torch.manual_seed(6)
    again = gradients(models["transformer"], blocks, targets[:1], method, FEW)
    pd.testing.assert_frame_equal(first.table, again.table)
    other = gradients(models["transformer"], blocks, targets[:1], method, How(steps=6, samples=3, seed=1))
    assert not np.allclose(scored(first, "feature", targets[0][1]), scored(other, "feature", targets[0][1]))


@pytest.mark.parametrize("name", ["transformer", "look-up", "corrected"])
@pytest.mark.parametrize("method", [method for method in METHODS if method not in DRAWN])
def test_the_order_of_firms_does_not_matter(models, panel, blocks, name, method):
    order = np.random.default_rng(0).permutation(panel.shape[1])
    turned = Blocks(panel[:, order], blocks.positions, blocks.scaling, blocks.target)
    one, two = (
        gradients(models[name], some, [(panel.dates[ROW], "F05")], method, FEW).table.set_index(["kind", "key"])[
            "score"
        ]
        for some in (blocks, turned)
    )
    np.testing.assert_allclose(two[one.index], one, atol=1e-5 * max(1.0, one.abs().max()))


@pytest.mark.parametrize("method", METHODS)
def test_nothing_comes_from_a_day_on_which_a_firm_was_not_observed(panel, method):
    """The model is blind to who is observed, but inputs that are not there are no inputs."""
    blocks = cut(panel)[2]
    model = Linear(panel.shape[1], blocks.scaling.width)
    row = next(
        row for row in TEST if blocks.at(np.array([row - 1])).observed[0, 5] < blocks.at(np.array([row])).observed[0, 5]
    )
    explanation = gradients(model, blocks, [(panel.dates[row], "F05")], method, How(samples=2, steps=2, width=1))
    lags = scored(explanation, "lag", "F05")
    assert lags["1" if "1" in lags else "1 to 1"] == 0
    left = panel.firms[~panel.listed[row - 3 : row + 1].any(0)]
    assert len(left) and not set(left) & set(explanation.table["key"])


# -- what is told ---------------------------------------------------------------------------------------------------


def test_only_the_heaviest_peers_are_listed_and_the_rest_is_one_sum(models, blocks, targets, monkeypatch):
    whole = scored(gradients(models["transformer"], blocks, targets[:1]), "peer", targets[0][1])
    monkeypatch.setattr(sys.modules["finattn.explain.gradients"], "TOP", 3)
    few = scored(gradients(models["transformer"], blocks, targets[:1]), "peer", targets[0][1])
    kept = whole[whole.abs().nlargest(3).index].sort_index()
    pd.testing.assert_series_equal(few.iloc[:-1], kept)
    assert few.index[-1] == "others" and few.sum() == pytest.approx(whole.sum(), abs=1e-9)


def test_how_it_was_made_names_what_a_method_uses_and_nothing_else(models, blocks, targets):
    made = {method: gradients(models["look-up"], blocks, targets[:1], method, FEW).made[method] for method in METHODS}
    assert made["saliency"] == {} and made["smoothgrad"] == {"samples": 3, "noise": 0.1, "seed": 0}
    assert {method for method in METHODS if made[method].get("baseline") == "median"} == set(METHODS) - {
        "saliency",
        "return_saliency",
        "smoothgrad",
    }
    assert made["shapley"]["lags"] == [0, 1, 3] and made["occlusion"]["width"] == 5
    assert {method for method in METHODS if "completeness_error" in made[method]} == set(COMPLETE)
    day = gradients(models["look-up"], blocks, targets[:1], how=How(baseline=pd.Timestamp("2001-10-08"), steps=2))
    assert day.made["integrated_gradients"]["baseline"].startswith("2001-10-08")


def test_targets_come_by_date_then_in_their_order_and_once(models, blocks, panel):
    wanted = [(panel.dates[ROW + 1], "F04"), (str(panel.dates[ROW]), "F05"), (panel.dates[ROW], "F00")]
    table = gradients(models["look-up"], blocks, [*wanted, wanted[0]], "saliency", name="x").table
    found = table[["date", "firm"]].drop_duplicates()
    assert list(found["firm"]) == ["F05", "F00", "F04"] and found["date"].is_monotonic_increasing
    assert not table.duplicated(["date", "firm", "kind", "key"]).any() and set(table["model"]) == {"x"}


DAY = "2002-05-06"


@pytest.mark.parametrize(
    "wanted, settings, message",
    [
        ([(DAY, "F05")], {"method": "deeplift"}, "method must be one of saliency, .*, found 'deeplift'"),
        ([], {}, "targets must be pairs of date and firm, found none"),
        ([("2002-05-05", "F05")], {}, "a target's date must be one of the panel's, found 2002-05-05"),
        ([("soon", "F05")], {}, "a target's date must be one of the panel's, found 'soon'"),
        ([(DAY, "IBM")], {}, "a target's firm must be one of the panel's, found 'IBM'"),
        ([(DAY, "F03")], {}, f"a target must have a forecast, found 'F03' not observed on {DAY}"),
        ([(DAY, "F05")], {"how": How(baseline="mean")}, "baseline must be median, absent or a date .*, found 'mean'"),
        ([(DAY, "F05")], {"how": How(baseline="2001-01-06")}, "baseline must be median, .*, found 2001-01-06"),
        ([(DAY, "F05")], {"how": How(baseline="2001-01-02")}, "with 4 rows before it, found 2001-01-02"),
    ],
)
def test_what_cannot_be_explained_is_refused(models, blocks, wanted, settings, message):
    with pytest.raises(InputError, match=message):
        gradients(models["transformer"], blocks, wanted, **settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"steps": 0}, "steps must be at least 1, found 0"),
        ({"steps": 2.5}, "steps must be a whole number, found 2.5"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"width": 0}, "width must be at least 1"),
        ({"peers": 0}, "peers must be at least 1"),
        ({"seed": -1}, "seed must be at least 0, found -1"),
        ({"noise": -0.1}, "noise must be at least 0 and below 10"),
        ({"lags": (1, 2)}, r"lags must be increasing lags from 0, found \(1, 2\)"),
        ({"lags": (0, 5, 2)}, "lags must be increasing lags from 0"),
        ({"lags": ()}, "lags must be increasing lags from 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        How(**settings)


# -- scenes and baselines -------------------------------------------------------------------------------------------


def test_the_last_row_of_a_scene_scores_as_the_whole_panel_does(models, panel, blocks, targets):
    (whole,) = Blocks(panel, np.arange(len(panel)), blocks.scaling, blocks.target).cut(0, len(panel))
    for model in models.values():
        with torch.no_grad():
            scores = model(whole)
            for scene in scenes(model, blocks, targets):
                found = view(model, blocks, scene)
                expected = scores[scene.row, list(scene.columns)]
                torch.testing.assert_close(found.scores(found.z), expected, rtol=1e-4, atol=1e-5)


def test_the_median_is_over_the_firms_observed_that_have_the_input(models, panel, blocks):
    (scene,) = scenes(models["transformer"], blocks, [(panel.dates[ROW], "F05")])
    x, here, count = scene.block.x.clone(), scene.block.observed, len(panel.feature_names)
    x[:, :4, 2], x[:, :4, 2 + count] = 0.0, 1.0  # a third lacks one, and no return is its median
    found = baseline(blocks, scene._replace(block=scene.block._replace(x=x)), "median")
    for row in range(len(x)):
        for place in range(x.shape[2]):
            values = x[row, here[row], place]
            if 2 <= place < 2 + count:
                values = values[x[row, here[row], place + count] == 0]
            assert (found[row, :, place] == values.sort().values[(len(values) - 1) // 2]).all()


def test_a_characteristic_that_most_lack_is_missing_in_the_median_too(models, panel, blocks):
    (scene,) = scenes(models["transformer"], blocks, [(panel.dates[ROW], "F05")])
    x, count = scene.block.x.clone(), len(panel.feature_names)
    x[:, 1:, 2], x[:, 1:, 2 + count] = 0.0, 1.0
    found = baseline(blocks, scene._replace(block=scene.block._replace(x=x)), "median")
    assert (found[..., 2] == 0).all() and (found[..., 2 + count] == 1).all() and (found[..., 3 + count] == 0).all()


def test_absent_is_every_characteristic_missing_and_a_date_what_the_panel_held_then(models, panel, blocks):
    (scene,) = scenes(models["transformer"], blocks, [(panel.dates[ROW], "F05")])
    absent, count = baseline(blocks, scene, "absent"), len(panel.feature_names)
    assert (absent[..., : 2 + count] == 0).all() and (absent[..., 2 + count :] == 1).all()
    day, days = 200, len(scene.block.x)
    scaled = torch.from_numpy(blocks.scaling.apply(panel, slice(day - days + 1, day + 1)))
    here = torch.from_numpy((panel.listed & np.isfinite(panel.returns))[day - days + 1 : day + 1])
    assert baseline(blocks, scene, panel.dates[day]).equal(scaled.masked_fill(~here[..., None], 0.0))


def test_an_indicator_belongs_to_its_characteristic(blocks):
    names, group = inputs(blocks)
    assert names == ["return", "excess_return", "reversal", "maximum_return", "idiosyncratic_volatility"]
    assert group.tolist() == [0, 1, 2, 3, 4, 2, 3, 4]


@pytest.mark.parametrize("name", ["corrected", "corrected twice"])
def test_at_the_median_a_base_is_no_rounding_error_blown_up(models, panel, blocks, name):
    """Firms that were always there look alike, so that standardising anew would divide nothing by nothing."""
    model = models[name]
    (scene,) = scenes(model, blocks, [(panel.dates[ROW], str(firm)) for firm in panel.firms[seen(blocks, ROW)]])
    found = view(model, blocks, scene)
    with torch.no_grad():
        always = scene.block.observed.all(0)[list(scene.columns)]
        alike, different = found.scores(torch.zeros_like(found.z))[always], found.scores(found.z)
    assert len(alike) > 3 and float(alike.max() - alike.min()) < 1e-4 < float(different.std())


def test_a_network_forecasts_as_its_forecaster_base_included(panel, small_model):
    cuts, training = cut(panel), TrainingConfig(epochs=2, minimum_epochs=1, block=60)
    base = AttentionForecaster(("firm",), small_model, training, base=LookUpForecaster(training=training))
    forecaster = AttentionForecaster(("time",), small_model, training, base=base).fit(*cuts[:2])
    torch.nn.init.normal_(forecaster.model.head.weight)
    model = network(forecaster)
    (block,) = cuts[2].cut(model.warmup, 1000)
    with torch.no_grad():
        np.testing.assert_allclose(model(block)[block.scored], forecaster.predict(cuts[2]), atol=1e-5)
    assert isinstance(model.base, Corrected) and isinstance(model.base.base, LookUp) and not model.training
    found = gradients(model, cuts[2], [(panel.dates[ROW], "F05")])
    assert found.made["integrated_gradients"]["completeness_error"] < 0.01


def test_what_is_no_network_is_refused(panel, small_model):
    cuts = cut(panel)
    with pytest.raises(InputError, match="only a fitted network can be explained, found Ridge without one"):
        network(Ridge().fit(*cuts[:2]))
    with pytest.raises(InputError, match="only a fitted network can be explained, found LookUpForecaster without one"):
        network(LookUpForecaster())
    training = TrainingConfig(epochs=1, minimum_epochs=1, block=60)
    with pytest.raises(InputError, match="only a fitted network can be explained, found Ridge without one"):
        network(AttentionForecaster(("firm",), small_model, training, base=Ridge()).fit(*cuts[:2]))
