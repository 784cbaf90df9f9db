"""Whether maps agree between methods, seeds and days, and change with what they are about."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from captum.metrics import sensitivity_max
from scipy import stats

from finattn.blocks import Blocks, Scaling
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.evaluation.comparisons import bootstrap_mean
from finattn.explain import join
from finattn.explain.agreement import agreement, maps, stability_over_days, stability_over_seeds
from finattn.explain.explanation import COLUMNS, OTHERS, Explanation
from finattn.explain.randomisation import _cascade, _shaken, explainers, insensitive, randomisation, sensitivity
from finattn.explain.scene import Corrected, scenes
from finattn.look_up import LookUp, LookUpConfig
from finattn.models import PanelTransformer

DAYS = pd.bdate_range("2020-01-01", periods=12)


def explanation(scores, method="attention", kind="peer", dates=DAYS, firm="A"):
    """Explain one forecast a date by an array of scores [t key]."""
    rows = [
        (date, firm, "m", method, kind, f"k{key}", score)
        for date, row in zip(dates, scores, strict=False)
        for key, score in enumerate(row)
    ]
    return Explanation(pd.DataFrame(rows, columns=COLUMNS).astype({"score": float}))


def draw(seed, days=12, keys=20):
    return np.random.default_rng(seed).standard_normal((days, keys))


# -- two methods ------------------------------------------------------------


def test_agreement_is_kendalls_tau_and_the_overlap_of_the_heaviest_without_signs():
    ours = np.array([[0.4, 0.3, 0.1, 0.15, 0.05, 0.0]])
    theirs = np.array([[-9.0, 1.0, 0.5, 8.0, -0.1, 0.2]])
    table = agreement(join([explanation(ours), explanation(theirs, "saliency")]), k=2)
    assert table["kendall"].item() == pytest.approx(stats.kendalltau(ours[0], abs(theirs[0])).statistic)
    assert table["overlap"].item() == 0.5 and table["chance_overlap"].item() == pytest.approx(1 / 3)
    assert table[["model", "method", "kind"]].values.tolist() == [["m", "saliency", "peer"]]
    assert table[["keys", "forecasts", "dates"]].values.tolist() == [[6, 1, 1]]


def test_a_map_agrees_with_itself_and_a_random_one_as_chance_has_it():
    plain = explanation(draw(0, 40), dates=pd.bdate_range("2020-01-01", periods=40))
    same = Explanation(plain.table.assign(method="same", score=-3 * plain.table["score"]))
    other = explanation(draw(1, 40), "random", dates=pd.bdate_range("2020-01-01", periods=40))
    table = agreement(join([plain, same, other])).set_index("method")
    assert table.loc["same", ["kendall", "overlap"]].tolist() == [1, 1]
    random = table.loc["random"]
    assert random["kendall_lower"] < 0 < random["kendall_upper"] and random["chance_overlap"] == 0.25
    assert random["overlap_lower"] < 0.25 < random["overlap_upper"]


def test_forecasts_of_a_date_are_averaged_before_dates_and_intervals_are_over_dates():
    a, b = draw(0), draw(1)
    more = [explanation(draw(seed, 3), method, firm="B") for seed, method in ((2, "attention"), (3, "saliency"))]
    table = agreement(join([explanation(a), explanation(b, "saliency"), *more]))
    taus = np.array([stats.kendalltau(abs(x), abs(y)).statistic for x, y in zip(a, b, strict=True)])
    second = [stats.kendalltau(abs(x), abs(y)).statistic for x, y in zip(draw(2, 3), draw(3, 3), strict=True)]
    taus[:3] = (taus[:3] + second) / 2
    expected = bootstrap_mean(taus, overlap=0)
    found = table[["kendall", "kendall_lower", "kendall_upper"]].iloc[0].tolist()
    assert found == pytest.approx([expected.estimate, expected.lower, expected.upper])
    assert table["forecasts"].item() == 15 and table["dates"].item() == 12


def test_what_neither_map_sees_or_one_does_not_list_is_left_out():
    ours = np.array([[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]])
    theirs = np.array([[3.0, 2.0, 1.0, 0.0, 0.0]])
    pair = join([explanation(ours), explanation(theirs, "saliency")])
    rest = pair.table.iloc[[0, -1]].assign(key=OTHERS, score=99.0)
    table = agreement(Explanation(pd.concat([pair.table, rest], ignore_index=True)))
    assert table["kendall"].item() == -1 and table["keys"].item() == 3 and table["chance_overlap"].item() == 1 / 3
    two = join([explanation(ours[:, :2]), explanation(theirs[:, :2], "saliency")])
    assert agreement(two)[["forecasts", "dates"]].values.tolist() == [[0, 0]]
    flat = join([explanation(ours), explanation(np.ones((1, 6)), "saliency")])
    assert agreement(flat)["kendall"].isna().all()


def test_a_kind_that_the_first_method_lacks_is_not_compared():
    parts = [explanation(draw(0)), explanation(draw(1), "saliency"), explanation(draw(2), "saliency", "lag")]
    assert agreement(join(parts))["kind"].tolist() == ["peer"]
    assert agreement(join(parts[1:]), of="saliency").empty


# -- seeds and days ------------------------------------------------------------


def test_stability_over_seeds_is_the_rank_correlation_of_pairs_of_seeds():
    a, b, c = (draw(seed) for seed in range(3))
    table = stability_over_seeds([explanation(x) for x in (a, b, c)])
    by_hand = [np.mean([stats.spearmanr(x[t], y[t]).statistic for x, y in ((a, b), (a, c), (b, c))]) for t in range(12)]
    expected = bootstrap_mean(by_hand, overlap=0)
    found = table[["rank_correlation", "lower", "upper"]].iloc[0].tolist()
    assert found == pytest.approx([expected.estimate, expected.lower, expected.upper])
    assert table[["chance", "keys", "forecasts", "dates"]].values.tolist() == [[0, 20, 36, 12]]
    assert stability_over_seeds([explanation(a), explanation(-a)])["rank_correlation"].item() == pytest.approx(-1)


def test_stability_over_days_compares_each_decision_with_the_next_alone():
    scores = draw(0, 5)
    decisions = DAYS[:9]
    table = stability_over_days(explanation(scores, dates=decisions[[0, 1, 3, 4, 5]]), decisions)
    pairs = [stats.spearmanr(scores[i], scores[i + 1]).statistic for i in (0, 2, 3)]
    assert table["rank_correlation"].item() == pytest.approx(np.mean(pairs))
    assert table["dates"].item() == 3
    other_firm = explanation(scores[1:2], dates=decisions[[1]], firm="B")
    alone = stability_over_days(join([explanation(scores[:1], dates=decisions[[0]]), other_firm]), decisions)
    assert alone["forecasts"].item() == 0


# -- a model that forgot ------------------------------------------------------------


@pytest.fixture(scope="module")
def blocks(panel):
    return Blocks(panel, np.arange(200, 400), Scaling.fit(panel, np.arange(200)), TargetConfig(1))


@pytest.fixture(scope="module")
def targets(panel):
    return [(panel.dates[row], str(panel.firms[column])) for row in (220, 260, 300, 340) for column in (0, 5)]


@pytest.fixture(scope="module")
def look_up(blocks):
    torch.manual_seed(0)
    model = LookUp(blocks.scaling.width, LookUpConfig(rank=4, windows=(1, 5))).eval()
    torch.nn.init.uniform_(model.slope, -1, 1)
    return model


@pytest.fixture(scope="module")
def both(blocks, small_model):
    torch.manual_seed(1)
    return PanelTransformer(blocks.scaling.width, ("time", "firm"), small_model).eval()


def edges(model, blocks, targets):
    """Explain by the inputs alone, whatever the model."""
    tables = []
    for scene in scenes(model, blocks, targets):
        for column in scene.columns:
            own = scene.block.x[:, column].abs().sum(1).flip(0)
            rows = {"key": [*map(str, range(len(own)))], "score": own.double().numpy()}
            date, firm = pd.Timestamp(blocks.panel.dates[scene.row]), str(blocks.panel.firms[column])
            tables.append(pd.DataFrame(rows).assign(date=date, firm=firm, model="m", method="edges", kind="lag"))
    return Explanation(pd.concat(tables, ignore_index=True)[list(COLUMNS)])


def test_a_method_that_shows_the_inputs_is_named_and_what_depends_on_the_model_is_not(look_up, blocks, targets):
    methods = explainers(["attention", "input_x_gradient"]) | {"edges": edges}
    table = randomisation(look_up, blocks, targets, methods)
    assert insensitive(table) == ("edges (lag)",)
    last = table[table["depth"] == table["depth"].max()].set_index(["method", "kind"])
    assert last.loc[("edges", "lag"), ["rank_correlation", "absolute"]].tolist() == pytest.approx([1, 1])
    assert last.loc[("attention", "peer"), "rank_correlation"] < 0.3
    first = table[(table["depth"] == 1) & (table["method"] == "attention")]
    assert first["rank_correlation"].item() == pytest.approx(1)  # slopes are above what attention reads


def test_a_map_that_turns_its_sign_is_the_same_map(blocks, targets, look_up):
    turn = iter([1] + [1, -1, 1, -1] * 10)

    def turning(model, blocks, targets):
        found, sign = edges(model, blocks, targets).table, next(turn)
        return Explanation(found.assign(score=sign * (found["score"] - found["score"].mean())))

    table = randomisation(look_up, blocks, targets, {"edges": turning}, draws=2)
    last = table.iloc[-1]
    assert abs(last["rank_correlation"]) < 0.5 < 0.99 < last["absolute"] and insensitive(table) == ("edges (lag)",)


@pytest.mark.parametrize("signed, absolute, named", [(-0.9, 0.1, True), (0.1, 0.9, True), (0.4, -0.9, False)])
def test_a_method_is_named_by_the_last_depth_with_or_without_signs(signed, absolute, named):
    rows = {"depth": [1, 2], "method": "m", "kind": "lag", "rank_correlation": [0, signed], "absolute": [0, absolute]}
    assert insensitive(pd.DataFrame(rows)) == (("m (lag)",) if named else ())


def layers(model):
    return [name for name, _ in _cascade(model, 0, 0)]


def test_layers_are_forgotten_from_the_head_down_a_correction_before_its_base(look_up, both):
    assert layers(look_up) == ["slope", "key", "query"]
    names = ["head", "norm", "layers.1", "layers.0", "embedding"]
    assert layers(both) == names
    whole = Corrected(both, look_up, 0.5)
    expected = [*(f"correction.{name}" for name in names), *(f"base.{name}" for name in layers(look_up))]
    assert layers(whole) == expected


def test_what_is_forgotten_stays_forgotten_and_all_else_stays(both):
    before, seen = both.state_dict(), set()
    for name, model in _cascade(both, 0, 0):
        seen.add(name)
        for key, value in model.state_dict().items():
            gone = any(key.startswith(f"{layer}.") for layer in seen) and "norm" not in key
            assert torch.equal(value, before[key]) != gone, (name, key)
            if gone and value.ndim == 2 and value.numel() > 50:
                ratio = value.square().mean() / before[key].square().mean()
                assert 0.5 < ratio < 2 and abs(value.mean()) < 0.5 * value.std()


def test_the_callers_model_and_random_state_are_left_and_the_seed_decides(both, look_up, blocks, targets):
    model = Corrected(both, look_up, 0.5).eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    methods = explainers(["attention", "saliency"])
    table = randomisation(model, blocks, targets[:2], methods, draws=1)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    pd.testing.assert_frame_equal(randomisation(model, blocks, targets[:2], methods, draws=1), table)
    other = randomisation(model, blocks, targets[:2], methods, seed=1, draws=1)
    assert not other["rank_correlation"].equals(table["rank_correlation"])
    assert set(table["method"]) == {"attention", "saliency"} and set(table["kind"]) == {"lag", "peer", "feature"}
    assert table["depth"].max() == 8 and (table["chance"] == 0).all()


# -- inputs that are shaken ------------------------------------------------------------


def test_a_map_that_does_not_look_at_inputs_is_not_moved_and_its_shuffled_self_is(both, blocks, targets):
    def fixed(model, blocks, targets):
        found = edges(model, blocks, targets).table
        return Explanation(found.assign(score=found["key"].astype(float)))

    table = sensitivity(both, blocks, targets, {"fixed": fixed})
    assert table[["sensitivity", "forecasts", "dates"]].values.tolist() == [[0, 8, 4]] and table["chance"].item() > 0.3


def test_sensitivity_is_captums_for_the_same_noise(both, blocks, targets):
    method, key = explainers(["saliency"]), ("model", "saliency", "lag")
    table = sensitivity(both, blocks, targets[:1], method, radius=0.2, draws=4, seed=7)
    shaken = [blocks, *(_shaken(blocks, 0.2, [7, draw]) for draw in range(4))]
    by_place = [maps(method["saliency"](both, one, targets[:1]))[key].to_numpy()[0] for one in shaken]

    def explain(places):
        (places,) = places if isinstance(places, tuple) else (places,)
        return (torch.from_numpy(np.stack([by_place[int(place)] for place in places])),)

    found = sensitivity_max(
        explain,
        torch.zeros(1, 1),
        perturb_func=lambda repeated: torch.arange(1.0, 1.0 + len(repeated))[:, None],
        n_perturb_samples=4,
    )
    ours = table.set_index("kind").loc["lag", "sensitivity"]
    assert ours == pytest.approx(float(found)) and 0.01 < ours < 1


def test_more_noise_moves_maps_further(both, blocks, targets):
    less, more = (sensitivity(both, blocks, targets, explainers(["attention"]), radius) for radius in (0.01, 0.5))
    assert (more["sensitivity"] > 5 * less["sensitivity"]).all()


def test_noise_is_within_the_radius_and_reaches_what_is_known_alone(blocks):
    rows = slice(50, 90)
    plain = blocks.scaling.apply(blocks.panel, rows)
    shaken = _shaken(blocks, 0.25, [0, 1])
    x, count = shaken.at(np.array([60])).scaling.apply(blocks.panel, rows), len(blocks.scaling.mean)
    moved, missing = x - plain, plain[..., count:] > 0
    assert missing.any() and not moved[..., 2:count][missing].any() and not moved[..., count:].any()
    assert 0.2 < np.abs(moved).max() <= 0.25 + 1e-6
    assert np.abs(moved[..., 2:count][~missing]).mean() == pytest.approx(0.125, abs=0.02)
    assert not np.array_equal(x, _shaken(blocks, 0.25, [0, 2]).scaling.apply(blocks.panel, rows))


# -- what is refused ------------------------------------------------------------


def test_what_cannot_be_compared_is_refused(look_up, blocks, targets):
    plain, methods = explanation(draw(0)), explainers(["attention"])
    twice = Explanation(pd.concat([plain.table, plain.table.iloc[:1]], ignore_index=True))
    forget = randomisation
    refused = [
        (lambda: agreement(plain, of="rollout"), "of must be one of attention, found 'rollout'"),
        (lambda: agreement(plain, k=0), "k must be at least 1, found 0"),
        (lambda: agreement(twice), "must list each key once, found 'k0' of A twice"),
        (lambda: stability_over_seeds([plain]), "explanations must be those of at least two seeds, found 1"),
        (lambda: forget(look_up, blocks, targets, methods, draws=0), "draws must be at least 1, found 0"),
        (lambda: forget(look_up, blocks, targets, methods, seed=-1), "seed must be at least 0, found -1"),
        (lambda: forget(torch.nn.Identity(), blocks, targets, {}), "only a model with parameters can forget them"),
        (lambda: sensitivity(look_up, blocks, targets, methods, radius=0.0), "radius must be above 0, found 0.0"),
        (lambda: sensitivity(look_up, blocks, targets, methods, draws=0), "draws must be at least 1, found 0"),
        (lambda: sensitivity(look_up, blocks, targets, methods, seed=-1), "seed must be at least 0, found -1"),
        (lambda: explainers(["edges"])["edges"](look_up, blocks, targets), "method must be one of .*found 'edges'"),
        (lambda: insensitive(pd.DataFrame(), bound=1.0), "bound must be at least 0 and below 1, found 1.0"),
    ]
    for call, message in refused:
        with pytest.raises(InputError, match=message):
            call()
