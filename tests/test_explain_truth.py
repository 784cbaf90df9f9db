"""Explanations against what was planted: the truth scores one, a random order what is said of chance."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score

from finattn.blocks import Blocks, Scaling, observed
from finattn.config import TargetConfig
from finattn.data import Design, Truth, simulate
from finattn.errors import InputError
from finattn.explain.explanation import COLUMNS, Explanation
from finattn.explain.gradients import How, gradients
from finattn.explain.truth import MEASURES, score
from finattn.look_up import LookUp, LookUpConfig

ROWS = (60, 61, 62, 90)


@pytest.fixture(scope="module")
def simulated():
    return simulate(firms=60, days=120, r2=0.1, seed=1, design=Design(missing_returns=0.05))


def forecasts(panel, rows=ROWS, firms=4):
    """Return pairs of row and column of some observed firms."""
    return [(row, int(firm)) for row in rows for firm in np.flatnonzero(observed(panel, [row])[0])[:firms]]


def explain(panel, pairs, scores, kind, method="saliency"):
    """Make an explanation: scores(row, column) gives a score by key."""
    rows = [
        {"date": pd.Timestamp(panel.dates[row]), "firm": str(panel.firms[column]), "key": key, "score": value}
        for row, column in pairs
        for key, value in scores(row, column).items()
    ]
    return Explanation(pd.DataFrame(rows).assign(model="m", method=method, kind=kind)[list(COLUMNS)])


def true_peers(simulated):
    """Return the function from a forecast to the weight of each firm."""
    panel, truth = simulated

    def scores(row, column):
        dense = truth.dense([row])[0, column]
        seen = observed(panel, [row])[0]
        return {firm: weight for firm, weight, there in zip(panel.firms, dense, seen, strict=True) if there}

    return scores


def values(table, measure, column="value"):
    (found,) = table.loc[table["measure"] == measure, column]
    return found


@pytest.mark.parametrize("sign", [1, -1])
def test_the_planted_peers_score_one_whatever_their_sign(simulated, sign):
    def signed(row, column):
        return {key: sign * value for key, value in true_peers(simulated)(row, column).items()}

    table = score(
        explain(simulated.panel, forecasts(simulated.panel), signed, "peer"), simulated.truth, simulated.panel
    )
    assert table["measure"].tolist() == list(MEASURES) and table["value"].tolist() == [1.0, 1.0, 1.0]
    assert set(table["planted"]) == {5.0} and set(table["forecasts"]) == {16} and set(table["dates"]) == {4}
    seen = observed(simulated.panel, list(ROWS)).sum(1) - 1
    assert values(table, "precision", "chance") == pytest.approx((5 / seen).mean())
    assert values(table, "recall", "chance") == pytest.approx((5 / seen).mean())


def test_the_planted_lags_and_characteristics_score_one(simulated):
    panel, truth = simulated
    pairs = forecasts(panel)
    lags = explain(panel, pairs, lambda row, column: {str(lag): float(lag in (0, 4, 20)) for lag in range(30)}, "lag")
    wanted = {name for names in truth.relevant.values() for name in names}
    known = ["return", "excess_return", *panel.feature_names]
    features = explain(panel, pairs, lambda row, column: {name: float(name in wanted) for name in known}, "feature")
    for found, planted, keys in ((lags, 3, 30), (features, len(wanted), len(panel.feature_names))):
        table = score(found, truth, panel)
        assert table["value"].tolist() == [1.0, 1.0, 1.0]
        assert table["planted"].tolist() == [planted] * 3 and table["keys"].tolist() == [keys] * 3


def test_a_random_order_scores_what_is_said_of_chance(simulated):
    random = np.random.default_rng(0)
    pairs = forecasts(simulated.panel, rows=range(20, 80), firms=20)
    noise = explain(simulated.panel, pairs, lambda row, column: {str(lag): random.random() for lag in range(25)}, "lag")
    table = score(noise, simulated.truth, simulated.panel, k=2)
    np.testing.assert_allclose(table["value"], table["chance"], atol=0.015)
    assert (table["lower"] < table["chance"]).all() and (table["chance"] < table["upper"]).all()
    assert table["chance"].iloc[:2].tolist() == pytest.approx([3 / 25, 2 / 25])


def test_the_average_precision_of_chance_is_the_mean_over_all_orders(simulated):
    ranks = {str(lag): 1.0 * lag for lag in range(6)}
    one = explain(simulated.panel, forecasts(simulated.panel)[:1], lambda *_: ranks, "lag")
    places = itertools.combinations(range(7), 3)  # of lags 0, 4 and 20, which is not listed and added
    orders = [average_precision_score(np.isin(np.arange(7), three), -np.arange(7)) for three in places]
    table = score(one, *simulated[::-1])
    assert values(table, "average_precision", "chance") == pytest.approx(np.mean(orders))


def test_average_precision_is_that_of_the_ranked_keys(simulated):
    ranks = {"4": 9.0, "1": -8.0, "0": 7.0, "2": 6.0, "3": 5.0, "20": 1.0}
    listed = explain(simulated.panel, forecasts(simulated.panel), lambda *_: ranks | {"others": 99.0}, "lag")
    table = score(listed, *simulated[::-1])
    assert values(table, "average_precision") == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 3)
    assert values(table, "precision") == pytest.approx(2 / 3)  # lags 4, 1 and 0


def test_k_counts_the_heaviest_keys_and_ties_share_the_last_places(simulated):
    ranks = {"4": 3.0, "1": 2.0, "0": 2.0, "2": 1.0, "20": 0.0}
    found = explain(simulated.panel, forecasts(simulated.panel), lambda *_: ranks, "lag")
    by_k = {k: score(found, *simulated[::-1], k=k) for k in (1, 2, 100)}
    assert [values(by_k[k], "precision") for k in by_k] == pytest.approx([1.0, 1.5 / 2, 3 / 5])
    assert [values(by_k[k], "recall") for k in by_k] == pytest.approx([1 / 3, 1.5 / 3, 1.0])
    assert values(by_k[2], "recall", "chance") == pytest.approx(2 / 5)


def test_a_planted_key_that_is_not_listed_ranks_last_and_firms_seen_are_candidates(simulated):
    panel, truth = simulated
    short = explain(panel, forecasts(panel), lambda *_: {"4": 2.0, "0": 1.0, "1": 0.0}, "lag")
    table = score(short, truth, panel)
    assert values(table, "average_precision") == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert values(table, "recall") == pytest.approx(2 / 3)  # behind lag 1, whose score is zero
    assert set(table["keys"]) == {4.0}

    def heaviest(row, column):
        return dict(sorted(true_peers(simulated)(row, column).items(), key=lambda pair: -pair[1])[:3])

    few = score(explain(panel, forecasts(panel), heaviest, "peer"), truth, panel)
    whole = score(explain(panel, forecasts(panel), true_peers(simulated), "peer"), truth, panel)
    assert values(few, "recall", "keys") == values(whole, "recall", "keys")
    assert 3 / 5 <= values(few, "recall") < 0.65  # the two others tie with all firms that are not listed


def test_neither_the_firm_itself_nor_sums_of_the_rest_nor_returns_are_candidates(simulated):
    panel, truth = simulated
    pairs = forecasts(panel)

    def loud(scores, *extra):
        return lambda row, column: (
            scores(row, column) | {key if key is not None else str(panel.firms[column]): 99.0 for key in extra}
        )

    peers = true_peers(simulated)
    assert score(explain(panel, pairs, loud(peers, None, "others"), "peer"), truth, panel)["value"].eq(1).all()
    wanted = {name for names in truth.relevant.values() for name in names}
    features = loud(lambda *_: {name: float(name in wanted) for name in panel.feature_names}, "return", "excess_return")
    assert score(explain(panel, pairs, features, "feature"), truth, panel)["value"].eq(1).all()


def test_a_firm_that_is_gone_but_listed_is_a_candidate(simulated):
    panel, truth = simulated
    row, column = next((r, c) for r, c in forecasts(panel, range(60, 120)) if not observed(panel, [r])[0].all())
    gone = str(panel.firms[~observed(panel, [row])[0]][0])
    scores = true_peers(simulated)(row, column)
    with_it = score(explain(panel, [(row, column)], lambda *_: scores | {gone: 99.0}, "peer"), truth, panel)
    assert values(with_it, "precision") == pytest.approx(4 / 5)
    assert values(with_it, "precision", "keys") == len(scores)
    silent = score(explain(panel, [(row, column)], lambda *_: scores | {gone: 0.0}, "peer"), truth, panel)
    assert values(silent, "precision", "keys") == len(scores) - 1
    unlisted = {firm: 0.0 for firm, weight in scores.items() if weight == 0}
    last = score(explain(panel, [(row, column)], lambda *_: unlisted, "peer"), truth, panel)
    assert values(last, "precision") == 0 and values(last, "precision", "keys") == len(scores) - 1


def test_a_forecast_without_planted_peers_is_left_out(simulated):
    panel, truth = simulated
    pairs = forecasts(panel)
    peers = truth.peers.copy()
    peers[pairs[0]] = -1
    table = score(explain(panel, pairs, true_peers(simulated), "peer"), replace(truth, peers=peers), panel)
    assert table["value"].eq(1).all() and set(table["forecasts"]) == {len(pairs) - 1}


def test_a_group_of_lags_is_planted_where_one_of_them_is(simulated):
    ranks = {"0": 5.0, "1": 0.1, "2 to 4": 4.0, "5 to 9": 0.2, "10 to 20": 3.0, "21 to 59": 0.3}
    table = score(explain(simulated.panel, forecasts(simulated.panel), lambda *_: ranks, "lag"), *simulated[::-1])
    assert table["value"].tolist() == [1.0] * 3 and set(table["keys"]) == {6.0} and set(table["planted"]) == {3.0}


def test_what_is_not_planted_is_left_out_and_said():
    panel, truth = simulate(firms=60, days=60, seed=2, design=Design(shares={"peers": 1.0}))
    pairs = forecasts(panel, rows=(40,))
    parts = [explain(panel, pairs, lambda *_: {"0": 1.0, "1": 0.0}, "lag"),
             explain(panel, pairs, lambda *_: {name: 1.0 for name in panel.feature_names}, "feature"),
             explain(panel, pairs, lambda *_: {"market": 1.0}, "reference")]  # fmt: skip
    table = score(Explanation(pd.concat([part.table for part in parts], ignore_index=True)), truth, panel)
    assert set(table["kind"]) == {"feature"} and set(table["planted"]) == {12.0}  # products and exposures alone
    assert table.attrs["left_out"] == dict.fromkeys(("lag", "reference"), "nothing of this kind is planted")


def test_without_characteristics_that_matter_the_own_row_is_planted_only_as_a_lag():
    design = Design(shares={"lags": 1.0}, lags=(1, 3), lag_weights=(1.0, -0.5))
    panel, truth = simulate(firms=60, days=60, seed=2, design=design)
    ranks = {"1": 3.0, "3": 2.0, "0": 1.0, "2": 0.0}
    table = score(explain(panel, forecasts(panel, rows=(40,)), lambda *_: ranks, "lag"), truth, panel)
    assert table["value"].eq(1).all() and set(table["planted"]) == {2.0}
    both = replace(design, shares={"lags": 0.5, "linear": 0.5})
    panel, truth = simulate(firms=60, days=60, seed=2, design=both)
    table = score(explain(panel, forecasts(panel, rows=(40,)), lambda *_: ranks, "lag"), truth, panel)
    assert set(table["planted"]) == {3.0} and values(table, "average_precision") == 1


def test_forecasts_of_a_date_are_averaged_first_and_methods_stand_apart(simulated):
    panel, truth = simulated
    seen = [np.flatnonzero(observed(panel, [row])[0]) for row in (60, 61)]
    pairs = [(60, int(seen[0][0])), *((61, int(firm)) for firm in seen[1][:3])]
    right, wrong = {"0": 3.0, "4": 2.0, "20": 1.0, "7": 0.0}, {"0": 0.0, "4": 0.0, "20": 0.0, "7": 1.0}
    one = explain(panel, pairs, lambda row, column: right if row == 60 else wrong, "lag")
    other = explain(panel, pairs, lambda *_: right, "lag", "occlusion")
    table = score(Explanation(pd.concat([one.table, other.table], ignore_index=True)), truth, panel)
    by_method = table[table["measure"] == "recall"].set_index("method")["value"]
    assert by_method["occlusion"] == 1 and by_method["saliency"] == pytest.approx((1 + 2 / 3) / 2)
    assert table["lower"].isna().all()  # two dates bound nothing


def test_gradients_of_the_oracle_as_a_look_up_find_its_peers():
    panel, truth = simulate(firms=60, days=120, r2=0.1, seed=3, design=Design(shares={"peers": 1.0}))
    blocks = Blocks(panel, np.array([80]), Scaling.fit(panel, np.arange(80)), TargetConfig())
    model = LookUp(blocks.scaling.width, LookUpConfig(rank=truth.key_map.shape[1], windows=(1,), heads=1))
    names, mean, deviation = panel.feature_names, blocks.scaling.mean[2:], blocks.scaling.deviation[2:]
    with torch.no_grad():
        for layer, planted in ((model.query, truth.query_map), (model.key, truth.key_map)):
            layer.weight.zero_()
            scaled = (deviation[:, None] * planted).T * planted.shape[1] ** 0.25  # a look-up divides by the root of d
            layer.weight[:, : len(names)] = torch.tensor(scaled, dtype=torch.float32)
        model.query.bias[:] = torch.tensor((mean @ truth.query_map) * truth.query_map.shape[1] ** 0.25)
    pairs = [(panel.dates[row], str(panel.firms[column])) for row, column in forecasts(panel, rows=(80,), firms=10)]
    table = score(gradients(model.eval(), blocks, pairs, "saliency", How()), truth, panel)
    found = table[(table["kind"] == "peer") & (table["measure"] == "average_precision")].iloc[0]
    assert found["value"] > 0.9 > 5 * found["chance"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": pd.Timestamp("1990-01-01")}, "date must be one of the panel's, found 1990-01-01"),
        ({"firm": "X"}, "firm must be one of the panel's, found X"),
    ],
)
def test_forecasts_that_the_panel_lacks_are_refused(simulated, change, message):
    panel, truth = simulated
    found = explain(panel, forecasts(panel)[:1], true_peers(simulated), "peer")
    with pytest.raises(InputError, match=message):
        score(Explanation(found.table.assign(**change)), truth, panel)


def test_another_truth_and_no_k_are_refused(simulated):
    panel, truth = simulated
    found = explain(panel, forecasts(panel)[:1], true_peers(simulated), "peer")
    with pytest.raises(InputError, match="k must be at least 1, found 0"):
        score(found, truth, panel, k=0)
    with pytest.raises(InputError, match=r"truth must be that of the panel, \(50, 60\), found one of \(120, 60\)"):
        score(found, truth, panel[:50])
    with pytest.raises(InputError, match=r"truth must be that of finattn\.simulate, found Truth"):
        score(found, Truth(truth.oracle, {}, {}, 0.0, 0), panel)


def test_a_key_that_is_listed_twice_is_refused(simulated):
    panel, truth = simulated
    found = explain(panel, forecasts(panel)[:1], lambda *_: {"0": 1.0}, "lag")
    with pytest.raises(InputError, match="must list each key once, found '0' of S00000 twice"):
        score(Explanation(pd.concat([found.table, found.table], ignore_index=True)), truth, panel)
