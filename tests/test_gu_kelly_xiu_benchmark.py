"""The table beside Gu, Kelly and Xiu's: what is measured, and that the README says it."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are in the source tree alone")
from benchmarks import gu_kelly_xiu as benchmark  # noqa: E402

ROOT = Path(__file__).parents[1]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(benchmark, "FIRMS", 40)
    monkeypatch.setattr(benchmark, "THIRD", 20)
    monkeypatch.setattr(benchmark, "SEEDS", (0,))


def test_r2_is_zero_for_the_training_mean_and_one_hundred_for_the_returns():
    realised = np.random.default_rng(0).normal(0.01, 0.1, (6, 5))
    assert benchmark.r2(np.full((6, 5), 0.03), realised, 0.03) == pytest.approx(0)
    assert benchmark.r2(realised, realised, 0.03) == pytest.approx(100)
    by_hand = 1 - ((realised - 0.01) ** 2).sum() / ((realised - 0.03) ** 2).sum()
    assert benchmark.r2(np.full((6, 5), 0.01), realised, 0.03) == pytest.approx(100 * by_hand)


def test_least_squares_has_no_intercept_and_finds_what_is_there():
    x = np.random.default_rng(1).uniform(1, 2, (7, 9, 2))
    new = np.ones((3, 4, 2))
    assert np.allclose(benchmark.least_squares(x, x @ [2.0, -0.5], new), 1.5)
    assert np.allclose(benchmark.least_squares(x, x @ [2.0, -0.5], 0 * new), 0)


def test_the_best_slope_of_hindsight_is_beaten_by_no_other():
    random = np.random.default_rng(2)
    score, realised = random.normal(size=(5, 30)) + 7, random.normal(size=(5, 30))
    best = benchmark.best_slope(score, realised)
    assert np.allclose(best.mean(axis=1), 0)
    losses = [((realised - factor * best) ** 2).sum() for factor in (0.9, 1, 1.1)]
    assert losses[1] < min(losses[0], losses[2])
    assert not benchmark.best_slope(np.ones((2, 3)), realised[:2, :3]).any()


@pytest.mark.parametrize("model", ["a", "b"])
def test_the_oracle_beats_ols_and_loses_nothing_without_the_months_means(model):
    found = [benchmark.check(model, 20, seed) for seed in range(5)]
    ols, oracle, truth, within = np.mean([list(one["r2"].values()) for one in found], axis=0)
    assert 3 < oracle < 9 and oracle - ols > (0.2 if model == "a" else 3)  # OLS cannot see what (b) is made of
    assert truth == pytest.approx(within, abs=0.05) and truth > oracle - 0.2
    in_sample = np.mean([list(one["r2_in_sample"].values()) for one in found], axis=0)
    assert in_sample[0] > ols and 3 < in_sample[1] < 9


def test_returns_are_scored_in_the_month_that_they_follow(small):
    panel, train, test = benchmark._simulated("a", 5, 3)
    assert train.realised.shape == test.realised.shape == (20, 40)
    assert np.array_equal(train.realised, panel.returns[1:21])
    assert np.array_equal(test.realised, panel.returns[41:61])
    assert np.array_equal(test.features, panel.features[40:60])
    assert np.allclose(test.terms.sum(axis=2), test.truth)


def test_a_draw_scores_every_method_and_a_second_one_is_the_same(small):
    first, again = (benchmark.draw("a", 4, 5) for _ in range(2))
    assert set(first["r2"]) == set(benchmark.METHODS)
    assert set(first["r2_hindsight"]) == {rung.name for rung in benchmark.rungs()}
    assert first["r2"] == again["r2"]
    assert all(first["r2_hindsight"][name] >= first["r2"][name] - 0.5 for name in first["r2_hindsight"])
    assert all(-20 < value < 30 for value in first["r2"].values())  # scores in place of returns would be far below


def made(value: float, names) -> dict:
    return {"r2": dict.fromkeys(names, value), "r2_hindsight": dict.fromkeys(("ridge",), value + 0.3)}


def test_averages_have_standard_errors_and_the_fewest_panels_are_counted():
    drawn = {"a50": [made(1.0, benchmark.METHODS), made(2.0, benchmark.METHODS)], "b50": [made(4.0, benchmark.METHODS)]}
    names = (*benchmark.CHECKS, "truth", "truth_within")
    figures, details = benchmark.summarise(drawn | {"check-a50": [made(3.0, names)] * 3, "check-b50": []})
    assert figures["ridge_a50"] == 1.5 and figures["ols_a50"] == 3.0
    assert (figures["draws"], figures["checks"]) == (1, 3)
    assert details["a50"]["r2"]["ridge"] == {"mean": 1.5, "error": pytest.approx(0.5)}
    assert details["b50"]["r2"]["ridge"]["error"] is None
    section = benchmark.readme_section(
        {"figures": figures, "details": details, "commit": "c", "date": "d", "command": "python"}
    )
    assert "| ridge | 1.50 ± 0.50 | not drawn | 4.00 | not drawn |" in section
    assert "| *Ridge, as printed in the paper* | *3.89* | *3.39* | *0.34* | *0.23* |" in section
    assert "Table A.1" in section and "costs from 0.30 to 0.30" in section
    assert "they reach, in (a) ridge 100%, boosting 100%" in section


def test_every_method_of_the_paper_that_is_shown_has_four_figures_and_all_are_shown():
    shown = [name for _, beside in (benchmark.CHECKS | benchmark.METHODS).values() for name in beside]
    assert sorted(shown) == sorted(benchmark.PAPER)
    assert {len(row) for row in benchmark.PAPER.values()} == {len(benchmark.COLUMNS)}


def test_the_readme_says_what_the_results_file_says():
    results = json.loads((ROOT / "benchmarks/results/gu_kelly_xiu.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split(benchmark.MARKERS[0])[1].split(benchmark.MARKERS[1])[0]
    assert section.strip() == benchmark.readme_section(results).strip()
    assert results["figures"]["draws"] >= 10 and results["figures"]["checks"] >= 100
