"""Peer networks where the truth is known: what is measured, and that the README says it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("benchmarks", reason="the benchmarks are in the source tree alone")
from benchmarks import peers_truth as benchmark  # noqa: E402
from finattn.blocks import Blocks, Scaling  # noqa: E402
from finattn.config import TargetConfig  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path)
    monkeypatch.setattr(benchmark, "EPOCHS", 1)
    monkeypatch.setattr(benchmark, "REFERENCE", 2)
    monkeypatch.setattr(benchmark, "REFITS", 3)
    return tmp_path


@pytest.fixture(scope="module")
def small():
    return benchmark.small()


@pytest.fixture(scope="module")
def block(small):
    rows = np.arange(benchmark.SMALL_TRAIN)
    blocks = Blocks(small[0], rows, Scaling.fit(small[0], rows), TargetConfig(1))
    return next(iter(blocks.cut(0, len(rows))))


def stacked(models):
    return {
        name: torch.stack([dict(model.named_parameters())[name].detach() for model in models])
        for name, _ in models[0].named_parameters()
    }


# -- planted peers ------------------------------------------------------------


def test_precision_is_the_share_of_the_heaviest_that_are_planted_and_firms_without_peers_are_left_out():
    planted = np.zeros((4, 4), bool)
    planted[0, [1, 2]] = planted[1, 3] = True
    weights = np.array([[0, 0.5, 0.1, 0.4], [0.1, 0, 0.2, 0.7], [0.9, 0, 0, 0.1], [0.3, 0.3, 0.4, 0]])
    precision, right = benchmark.found(weights, planted)
    assert precision.tolist() == [0.5, 1.0]  # firm 0 finds 1 and not 2; 2 and 3 have no peers
    assert right.tolist() == [True, True]  # 0 → 1 and 1 → 3; 0 → 2 is not found


def test_directions_count_for_pairs_planted_one_way_that_either_firm_found():
    planted = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]], bool)  # 0 and 1 ask each other, 1 asks 2
    weights = np.array([[0, 0.6, 0.4], [0.5, 0, 0.3], [0.1, 0.9, 0]])
    assert benchmark.found(weights, planted)[1].tolist() == [False]
    planted[2, 0] = True  # and 2 asks 0, but does not find it
    assert benchmark.found(weights, planted)[1].tolist() == [False]
    weights[2] = [0.95, 0.05, 0]
    assert benchmark.found(weights, planted)[1].tolist() == [True, True]


def test_a_panel_of_planted_peers_is_fitted_once_and_scored_for_one_fit_and_for_all(quick, monkeypatch):
    for name, value in {
        "FIRMS": 48, "DAYS": 140, "SEEDS": 2, "TRAIN": np.arange(100), "VALID": np.arange(101, 111),
        "AS_OF": np.array([120, 130]), "TRAINING": benchmark.replace(benchmark.TRAINING, epochs=1, minimum_epochs=1),
    }.items():  # fmt: skip
        monkeypatch.setattr(benchmark, name, value)
    first = benchmark.planted_peers(3)
    assert set(first) == {"seed", "of_1_fits", "of_2_fits"}
    assert 0 < first["of_2_fits"]["precision_at_degree"] < 1
    monkeypatch.setattr(benchmark.LookUpForecaster, "fit", None)  # what is kept is not fitted again
    assert benchmark.planted_peers(3) == first


def test_a_fit_that_found_nothing_is_left_out_and_kept_out(quick, monkeypatch):
    monkeypatch.setattr(benchmark, "TRAIN", np.arange(300))
    monkeypatch.setattr(benchmark, "VALID", np.arange(301, 321))
    panel, _ = benchmark.simulate(48, 340, seed=2, r2=0.1, cross_industry=1.0, design=benchmark.DESIGN)
    training = benchmark.replace(benchmark.TRAINING, learning_rate=2e-2, epochs=8, minimum_epochs=8)
    monkeypatch.setattr(benchmark, "TRAINING", training)
    assert len(benchmark.fitted(panel, quick, [0])[0]) == 1
    monkeypatch.setattr(benchmark, "TRAINING", benchmark.replace(training, learning_rate=1e-9))
    for _ in range(2):
        assert [fit.seed for fit in benchmark.fitted(panel, quick, [0, 1])[0]] == [0]


# -- intervals ------------------------------------------------------------


def test_returns_are_drawn_again_by_the_planted_rule_and_characteristics_stay(small):
    panel, truth = small
    first, second = (benchmark.redrawn(panel, truth, seed) for seed in (1, 2))
    assert np.array_equal(first.features, panel.features) and not np.allclose(first.returns, second.returns)
    assert np.array_equal(first.returns, benchmark.redrawn(panel, truth, 1).returns)
    heard = np.einsum("tnm,tm->tn", truth.dense(slice(None)), first.returns) * truth.peer_slope
    noise = first.returns[1:] - heard[:-1]
    assert 1 - noise.var() / first.returns[1:].var() == pytest.approx(benchmark.SMALL_R2, abs=0.05)
    assert noise.std() == pytest.approx(benchmark.SMALL.volatility * (1 - benchmark.SMALL_R2) ** 0.5, rel=0.1)
    assert abs(np.corrcoef(noise.ravel(), heard[:-1].ravel())[0, 1]) < 0.05


def test_many_look_ups_side_by_side_score_as_each_alone(block):
    models = [benchmark.LookUp(block.x.shape[2], benchmark.SMALL_LOOK_UP) for _ in range(3)]
    for model in models:
        torch.nn.init.normal_(model.query.bias)
        torch.nn.init.normal_(model.slope)
    found = benchmark.scores(stacked(models), block.x.expand(3, -1, -1, -1))
    for place, model in enumerate(models):
        torch.testing.assert_close(found[place], model(block))


def test_fits_side_by_side_learn_from_their_own_rows_alone_and_repeat(block, quick):
    rows, seeds = np.tile(np.arange(200), (2, 1)), np.array([1, 2])
    first, again = (benchmark.side_by_side(block, rows, seeds) for _ in range(2))
    other = benchmark.side_by_side(block, np.stack([rows[0], rows[1] + 100]), seeds)
    of = lambda model: model.query.weight  # noqa: E731
    assert torch.equal(of(first[0]), of(again[0])) and torch.equal(of(first[0]), of(other[0]))
    assert not torch.equal(of(first[1]), of(other[1])) and not torch.equal(of(first[0]), of(first[1]))


def test_fits_side_by_side_find_what_is_planted(small, block):
    panel, truth = small
    (model,) = benchmark.side_by_side(block, np.arange(benchmark.SMALL_TRAIN)[None], np.array([5]))
    planted = truth.dense([benchmark.SMALL_TRAIN - 1])[0] > 0
    weights = model.attention(block, dates=[benchmark.SMALL_TRAIN - 1])[0, 0].numpy()
    assert benchmark.found(weights, planted)[0].mean() > 0.6 and float(model.slope.detach()) > 0.15


def test_a_draw_has_a_network_two_kinds_of_intervals_and_is_kept(small, quick, monkeypatch):
    path = quick / "draw.npz"
    first = benchmark.kept(path, *small, 1, 3)
    assert set(first) == {"weight", "given_lower", "given_upper", "refitted_lower", "refitted_upper"}
    assert (first["refitted_lower"] <= first["refitted_upper"]).all() and (np.diag(first["weight"]) == 0).all()
    assert np.allclose(first["weight"].sum(axis=1), 1, atol=1e-5)
    monkeypatch.setattr(benchmark, "draw", None)  # what is kept is not drawn again
    assert np.array_equal(benchmark.kept(path, *small, 1, 3)["weight"], first["weight"])


def test_refits_are_of_new_seeds_on_training_dates_drawn_in_stretches(small, quick, monkeypatch):
    asked, fit = [], benchmark.side_by_side

    def keep(block, rows, seeds):
        asked.append((rows, seeds))
        return fit(block, rows, seeds)

    monkeypatch.setattr(benchmark, "side_by_side", keep)
    network, *others = benchmark.procedure(benchmark.redrawn(*small, 1), 2, 1)
    ((rows, seeds),) = asked
    plain, first, second = rows[:: benchmark.FITS]
    assert np.array_equal(rows, np.repeat([plain, first, second], benchmark.FITS, axis=0))
    assert np.array_equal(plain, np.arange(benchmark.SMALL_TRAIN)) and not np.array_equal(first, second)
    assert 0.5 < len(np.unique(first)) / len(plain) < 0.75  # 1 − 1/e, as dates drawn again are
    assert 0.8 < (np.diff(first) == 1).mean() < 0.95  # in blocks of seven on average
    assert len(set(seeds.tolist())) == 3 * benchmark.FITS
    tables = [benchmark.matrix(one, small[0].firms.tolist()) for one in (network, *others)]
    assert all(not np.allclose(tables[i], tables[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert network.made["models"] == benchmark.FITS and network.dates[0] == small[0].dates[-1]


def test_draws_and_references_are_drawn_from_different_seeds(small, quick, monkeypatch):
    asked = []

    def kept(path, panel, truth, seed, refits):
        asked.append((path.name, seed, refits))
        return {"weight": np.full(panel.shape[1:] * 2, float(seed))}

    monkeypatch.setattr(benchmark, "small", lambda: small)
    monkeypatch.setattr(benchmark, "kept", kept)
    monkeypatch.setattr(benchmark, "intervals", lambda own, expected, true: (len(own), expected[0, 0], true.shape))
    assert benchmark.measure_coverage(2) == (2, 10_000.5, (benchmark.SMALL_FIRMS,) * 2)
    assert asked == [("draw-1.npz", 1, 3), ("draw-2.npz", 2, 3), ("reference-0.npz", 10_000, 0),
                     ("reference-1.npz", 10_001, 0)]  # fmt: skip


def test_coverage_counts_pairs_whose_interval_holds_the_aim_of_all_and_of_the_heaviest(monkeypatch):
    monkeypatch.setattr(benchmark, "KINDS", {"all": 2, "heaviest_1": 1})
    weight = np.array([[0, 0.6, 0.3], [0.2, 0, 0.7], [0.5, 0.4, 0]])
    one = {"weight": weight, "refitted_lower": weight - 0.1, "refitted_upper": weight + 0.1}
    aim = weight.copy()
    aim[0, 1] += 0.2  # the heaviest of firm 0
    aim[1, 0] -= 0.2  # a light one of firm 1
    np.fill_diagonal(aim, 5.0)  # own weights do not count
    assert benchmark.covered(one, aim) == {"all": pytest.approx(4 / 6), "heaviest_1": pytest.approx(2 / 3)}


def test_coverage_is_averaged_over_draws_with_its_standard_error():
    found = benchmark.averaged([{"a": 0.8}, {"a": 0.9}, {"a": 1.0}])
    assert found["a"] == {"mean": pytest.approx(0.9), "error": pytest.approx(0.1 / 3**0.5)}


# -- what is written ------------------------------------------------------------


def test_the_heaviest_peers_of_many_firms_are_built_in_so_much_memory():
    assert 0.1 < benchmark.build_many(60) < 8


def made(kind="of_4_fits"):
    weight = np.full((benchmark.SMALL_FIRMS,) * 2, 0.2)
    np.fill_diagonal(weight, 0)
    planted = np.where(np.arange(benchmark.SMALL_FIRMS)[:, None] == np.arange(benchmark.SMALL_FIRMS) - 1, 0.4, 0.0)
    one = {"weight": weight, "refitted_lower": weight - 0.1, "refitted_upper": weight + 0.1}
    one |= {"given_lower": weight, "given_upper": weight}
    peers = [{"seed": seed, "of_1_fits": {"precision_at_degree": 0.8, "direction_right": 0.99},
              kind: {"precision_at_degree": 0.9 + seed / 100, "direction_right": 1.0}} for seed in (1, 2)]  # fmt: skip
    return peers, benchmark.intervals([one, one], weight + 0.05, planted)


def test_figures_are_means_over_panels_and_draws_and_the_section_says_them():
    figures, details = benchmark.summarise(*made(f"of_{benchmark.SEEDS}_fits"))
    assert figures == {"precision_at_degree": 0.915, "direction_right": 1.0, "interval_coverage_90": 1.0, "draws": 2}
    assert details["coverage"]["given_the_fit"]["all"]["mean"] == 0
    assert details["coverage"]["planted_weights"]["planted_pairs"]["mean"] == 0
    section = benchmark.readme_section(
        {"figures": figures | {"build_20000_peak_gib": 0.8}, "details": details, "commit": "c", "date": "d",
         "command": "python"}
    )  # fmt: skip
    assert "| planted among a firm's heaviest peers, as many as planted | 91.5% ± 0.5 | 90% |" in section
    assert "hold the expected weight | 100.0% ± 0.0 | 85 to 95% |" in section and "0.80 GiB" in section
    assert "Planted weights average 0.40" in section and "explorer" not in section


def test_the_readme_says_what_the_results_file_says():
    results = json.loads((ROOT / "benchmarks/results/peers_truth.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split(benchmark.MARKERS[0])[1].split(benchmark.MARKERS[1])[0]
    assert section.strip() == benchmark.readme_section(results).strip()
    assert results["figures"]["draws"] >= 50
