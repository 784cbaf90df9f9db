"""Explanations against what was planted: how panels are learnt, what is scored, and that the README says it."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

pytest.importorskip("benchmarks", reason="the benchmarks are in the source tree alone")
from benchmarks import explain_truth as benchmark  # noqa: E402
from finattn.blocks import Blocks  # noqa: E402
from finattn.data import Design, simulate  # noqa: E402
from finattn.errors import InputError  # noqa: E402
from finattn.explain import How, attention, gradients, join, sample_targets, score  # noqa: E402
from finattn.look_up import LookUp, LookUpConfig  # noqa: E402
from finattn.metrics import rank_information_coefficient  # noqa: E402

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/explain_truth.json"
PLAN = benchmark.Plan(first=0, train=90, valid=110, dates=2, firms=3, few=1, fits=2, how=How(steps=3, samples=2))
PLAN = replace(PLAN, peers=replace(PLAN.peers, epochs=1, minimum_epochs=1, starts=1), lags=replace(PLAN.lags, epochs=4))
PLAN = replace(PLAN, days=replace(PLAN.days, lookback=8))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(benchmark, "FIRMS", 60)
    monkeypatch.setattr(benchmark, "DAYS", 150)
    monkeypatch.setattr(
        benchmark, "DESIGN", Design(shares={"lags": 0.5, "peers": 0.5}, lags=(0, 4), lag_weights=(1, 1))
    )


@pytest.fixture(scope="module")
def panel():
    return simulate(60, 150, seed=3, design=Design(missing_returns=0.05)).panel


# -- what is learnt -------------------------------------------------------------------------------------------------


def test_every_target_is_the_next_return_and_known_before_the_next_stretch_begins(panel):
    train, valid, test = benchmark.cut(panel, PLAN)
    assert [(some.positions[0], some.positions[-1]) for some in (train, valid, test)] == [
        (0, 89),
        (91, 109),
        (111, 148),
    ]
    for some in (train, valid, test):
        known = some.observed & np.isfinite(some.realised)
        assert np.allclose(some.realised[known], panel.returns[some.positions + 1][known])
    assert np.array_equal(train.scaling.mean, benchmark.Scaling.fit(panel, np.arange(90)).mean)


def test_shuffled_targets_are_those_of_other_firms_of_the_same_date(panel):
    plain, shuffled = (benchmark.cut(panel, PLAN, kind) for kind in (Blocks, benchmark.Shuffled))
    assert type(shuffled[2]) is Blocks  # what is explained is told the truth
    for one, other in zip(plain[:2], shuffled[:2], strict=True):
        (block,), (mixed,), (again,) = (some.cut(5, 200) for some in (one, other, other))
        there = block.target_observed
        assert torch.equal(mixed.target, again.target) and torch.equal(mixed.target_observed, there)
        assert torch.equal(mixed.target[~there], block.target[~there]) and torch.equal(mixed.x, block.x)
        for row in block.scored:
            before, after = block.target[row, there[row]], mixed.target[row, there[row]]
            assert torch.equal(before.sort().values, after.sort().values)
        assert float((mixed.target == block.target)[there].float().mean()) < 0.1
        moved = [torch.corrcoef(torch.stack([block.target[row], mixed.target[row]]))[0, 1] for row in block.scored]
        assert abs(float(torch.stack(moved).mean())) < 0.1


def test_a_planted_peer_is_found_and_where_targets_are_shuffled_it_is_not():
    found = {}
    for shuffled in (False, True):
        learnt = benchmark.one_peer(shuffled=shuffled, starts=1)
        targets = sample_targets(learnt.test, 4, 10)
        looked = attention(learnt.fits, learnt.test, "model", "attention", targets)
        found[shuffled] = benchmark.areas(looked, learnt)["peer"]["attention"]
        assert learnt.truth.peers.shape[2] == 1 and len(learnt.fits) == 1
    assert found[False]["value"] > 0.6 > 0.2 > found[True]["value"]


# -- what is found --------------------------------------------------------------------------------------------------


def test_the_saliency_of_returns_is_how_far_the_look_ups_weight_is_from_the_median_firms(panel):
    test = benchmark.cut(panel, PLAN)[2]
    torch.manual_seed(0)
    model = LookUp(test.scaling.width, LookUpConfig(heads=1, windows=(1,), slope=-0.5)).eval()
    targets = sample_targets(test, 2, 3)
    table = gradients(model, test, targets, benchmark.RETURNS).table
    looked = attention([model], test, "model", "attention", targets).table
    for date, firm in targets:
        of_one = [one[(one["date"] == date) & (one["firm"] == firm)] for one in (table, looked)]
        peers, weights = (one[one["kind"] == "peer"].set_index("key")["score"] for one in of_one)
        slopes = -0.5 * (weights[peers.index] - 1 / (len(peers) - 1))
        slopes[firm] = 0.0  # its own return is no peer's
        middle = slopes.sort_values().iloc[(len(slopes) - 1) // 2]
        assert np.allclose(peers, (slopes - middle).abs(), atol=1e-6)
        lags = of_one[0][of_one[0]["kind"] == "lag"]
        assert lags["key"].tolist() == ["0"] and peers[firm] == lags["score"].sum() > 0


def test_own_lags_are_counted_back_from_the_decision(panel):
    class Third(torch.nn.Module):
        warmup = 4

        def forward(self, block):
            return block.x[..., 0].roll(3, 0) * 2 - 3 * block.x[..., 1].roll(3, 0) + block.x[..., 4]

    test = benchmark.cut(panel, PLAN)[2]
    seen = test.panel.listed & np.isfinite(test.panel.returns)
    column = int(np.flatnonzero(seen[116:121].all(0))[0])
    firm = str(panel.firms[column])
    table = gradients(Third(), test, [(panel.dates[120], firm)], benchmark.RETURNS).table
    lags = table[table["kind"] == "lag"]
    assert dict(zip(lags["key"], lags["score"], strict=True)) == {"0": 0, "1": 0, "2": 0, "3": 5, "4": 0}
    peers = table[table["kind"] == "peer"].set_index("key")["score"]
    assert peers[firm] == 5 and peers.drop(firm).eq(0).all()
    assert set(peers.index) == set(panel.firms[seen[116:121].any(0)])


def test_areas_are_the_average_precision_of_each_kind_and_what_chance_gives():
    panel, truth = simulate(60, 150, seed=3)
    train, _, test = benchmark.cut(panel, PLAN)
    model = LookUp(test.scaling.width, LookUpConfig(heads=1)).eval()
    learnt = benchmark.Learnt([model], train, test, truth)
    looked = attention([model], test, "model", "attention", sample_targets(test, 8, 3))
    moved = gradients(model, test, sample_targets(test, 8, 3), benchmark.RETURNS)
    found = benchmark.areas(join([looked, moved]), learnt)
    assert {kind: list(of_kind) for kind, of_kind in found.items()} == {
        "peer": ["attention", benchmark.RETURNS], "lag": [benchmark.RETURNS]
    }  # fmt: skip
    table = score(looked, truth, panel)
    (row,) = table[(table["measure"] == "average_precision")].itertuples()
    assert found["peer"]["attention"] == {"value": row.value, "chance": row.chance} and row.value != row.chance


def test_a_draw_scores_every_method_and_a_second_one_is_the_same(small):
    first, again = (benchmark.draw(5, PLAN) for _ in range(2))
    found = first["average_precision"]
    assert found == again["average_precision"] and first["rank_ic"] == again["rank_ic"]
    alone = {"occlusion", "rollout", "attention", "value_norm", benchmark.RETURNS}
    assert set(found["lag"]) == set(benchmark.SAYS)
    assert set(found["peer"]) == set(benchmark.SAYS) - {"occlusion"}
    assert set(found["feature"]) == set(benchmark.SAYS) - alone
    values = [one for kind in found.values() for one in kind.values()]
    assert all(0 < one["value"] <= 1 and 0 < one["chance"] < 0.7 for one in values)
    assert found["peer"]["saliency"]["chance"] == pytest.approx(0.12, abs=0.05)  # five of fifty-odd
    panel, truth = simulate(60, 150, r2=0.02, seed=5, design=benchmark.DESIGN)
    test = benchmark.cut(panel, PLAN)[2]
    by_date = rank_information_coefficient(truth.oracle[test.positions], test.realised)
    assert first["rank_ic"]["oracle"] == pytest.approx(np.nanmean(by_date)) and first["oracle_r2"] == truth.r2
    assert first["rank_ic"]["oracle"] > first["rank_ic"]["model"] and first["oracle_r2"] == pytest.approx(
        0.02, abs=0.02
    )


def test_what_is_explained_corrects_the_look_ups_along_time(small):
    learnt = benchmark.learn(5, PLAN)
    assert len(learnt.fits) == 2 and [one.model.axes for one in learnt.fits] == [("time",)] * 2
    train, valid, _ = benchmark.cut(learnt.panel, PLAN)
    for one, base in zip(learnt.fits, benchmark.look_ups(train, valid, PLAN), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.base.parameters(), base.model.parameters(), strict=True))


# -- what it comes to -----------------------------------------------------------------------------------------------


def drawn(seed: int, peers: dict[str, float], lags: dict[str, float]) -> dict:
    def of_kind(values):
        return {name: {"value": value, "chance": 0.1} for name, value in values.items()}

    gradients = dict.fromkeys(benchmark.GRADIENTS, 0.3)
    base = {"attention": 0.4, "value_norm": 0.2, "rollout": 0.5}
    return {
        "seed": seed, "rank_ic": {"model": 0.1, "oracle": 0.12}, "oracle_r2": 0.02, "processor_seconds": 1.0,
        "average_precision": {"peer": of_kind(gradients | base | peers),
                              "lag": of_kind(gradients | base | {"shapley": 0.6} | lags),
                              "feature": of_kind({"saliency": 0.6, "shapley": 0.7})},
    }  # fmt: skip


def test_figures_are_means_over_draws_and_the_best_gradient_method_is_best_on_average():
    several = [
        drawn(1, {"saliency": 0.9, "smoothgrad": 0.7}, {"integrated_gradients": 0.8}),
        drawn(2, {"saliency": 0.5, "smoothgrad": 0.8}, {"attention": 0.6}),
        drawn(3, {"shapley": 1.0}, {"rollout": 1.0}),
    ]
    for one in several:
        one["average_precision"]["peer"].setdefault("shapley", {"value": 1.0, "chance": 0.1})
    figures, details = benchmark.summarise(several)
    assert details["best_gradient"] == {"peer": "smoothgrad", "lag": "integrated_gradients", "feature": "saliency"}
    assert figures["auprc_peers_best_gradient"] == pytest.approx(0.6)
    assert figures["auprc_lags_best_gradient"] == pytest.approx(1.4 / 3, abs=1e-3)
    assert figures["auprc_peers_attention"] == 0.4 and figures["auprc_lags_attention"] == pytest.approx(
        1.4 / 3, abs=1e-3
    )
    assert figures["auprc_peers_rollout"] == 0.5 and figures["draws"] == 3
    assert details["average_precision"]["peer"]["smoothgrad"]["least"] == 0.3


def test_intervals_are_students():
    found = benchmark.interval([0.8, 0.9, 1.0])
    lower, upper = stats.ttest_1samp([0.8, 0.9, 1.0], 0).confidence_interval()
    assert found["mean"] == pytest.approx(0.9) and found["half"] == pytest.approx((upper - lower) / 2)
    assert benchmark.interval([0.5]) == {"mean": 0.5, "half": None, "least": 0.5}


def test_without_draws_there_is_nothing_to_summarise():
    with pytest.raises(InputError, match="must hold draws, found none: run python -m benchmarks.explain_truth"):
        benchmark.summarise([])


def test_figures_of_other_benchmarks_are_read_off_what_they_measure(monkeypatch):
    leaks = {"leaks_planted": 9, "leaks_caught": 9, "false_alarms": 0, "pipelines_clean": 5}
    monkeypatch.setitem(sys.modules, "benchmarks.leaks", SimpleNamespace(measure=lambda: (leaks, {})))
    cost = SimpleNamespace(measure=lambda: {"batch_cost_ratio": 1.2, "ratios": []})
    monkeypatch.setitem(sys.modules, "benchmarks.explain_cost", cost)
    wanted = {"leaks_planted": 9, "leaks_caught": 9, "false_alarms": 0, "batch_cost_ratio": 1.2}
    assert benchmark.others() == wanted
    monkeypatch.setitem(sys.modules, "benchmarks.leaks", None)
    with pytest.raises(
        InputError, match="benchmarks.leaks must measure leaks_planted, leaks_caught, false_alarms, found"
    ):
        benchmark.others()


def test_the_readme_section_has_a_row_a_method_and_says_what_attention_reaches():
    figures, details = benchmark.summarise([drawn(1, {"saliency": 0.9}, {}), drawn(2, {"saliency": 0.7}, {})])
    results = {"figures": figures, "details": details, "commit": "c", "date": "d", "command": "python"}
    section = benchmark.readme_section(results)
    assert "| saliency | 0.80 ± 1.27 | 0.30 ± 0.00 | 0.60 ± 0.00 |" in section
    assert "| attention | 0.40 ± 0.00 | 0.40 ± 0.00 |  |" in section and "| occlusion |  |  |  |" in section
    assert "| *chance* | *0.10* | *0.10* | *0.10* |" in section
    assert "groups of lags, where chance is 0.10" in section
    assert (
        "Peers are found best by saliency (0.80; attention 0.40; of gradients by all inputs at best saliency, 0.80)"
        in section
        and "over 2 simulated panels" in section
    )
    assert [row.split("|")[1].strip() for row in section.split("\n")[3:-3]] == list(benchmark.SAYS.values())


@pytest.mark.skipif(not RESULTS.exists(), reason="not measured yet")
def test_the_readme_says_what_the_results_file_says():
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split(benchmark.MARKERS[0])[1].split(benchmark.MARKERS[1])[0]
    assert section.strip() == benchmark.readme_section(results).strip()
    assert results["figures"]["draws"] >= 5
    assert pd.Series(results["figures"]).notna().all()
