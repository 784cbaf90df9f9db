"""Simulated panels: the truth follows from what the panel shows, is as strong as asked for, and looks at no future."""

import json

import numpy as np
import pytest

import finattn
from finattn import features
from finattn.blocks import Blocks, Scaling, observed
from finattn.config import TargetConfig
from finattn.data import Design, gu_kelly_xiu, simulate
from finattn.data.sic import sic_division
from finattn.data.truth import oracle_r2
from finattn.errors import InputError
from finattn.panel import Panel

SMALL = Design(
    peers=3, industries=4, lags=(1, 3), lag_weights=(1.0, -0.5), late_listings=0.2, delistings=0.2,
    missing_returns=0.1, missing_features=0.05,
)  # fmt: skip


@pytest.fixture(scope="module")
def simulated():
    return simulate(firms=100, days=400, r2=0.05, seed=3)


@pytest.fixture(scope="module")
def small():
    return simulate(firms=28, days=40, r2=0.1, seed=1, design=SMALL)


def everywhere(panel):
    return observed(panel, slice(None))


def next_returns(panel, truth):
    """Return oracle, parts and next return of the firm-dates that have both."""
    following = panel.returns[1:]
    both = np.isfinite(truth.oracle[:-1]) & np.isfinite(following)
    return truth.oracle[:-1][both], [part[:-1][both] for part in truth.parts.values()], following[both]


# -- the panel ------------------------------------------------------------


def test_simulate_is_a_public_name():
    assert finattn.simulate is simulate


def test_the_same_seed_gives_the_same_panel_and_another_seed_another(small):
    again = simulate(firms=28, days=40, r2=0.1, seed=1, design=SMALL)
    assert again.panel.fingerprint == small.panel.fingerprint
    np.testing.assert_array_equal(again.truth.oracle, small.truth.oracle)
    np.testing.assert_array_equal(again.truth.peers, small.truth.peers)
    other = simulate(firms=28, days=40, r2=0.1, seed=2, design=SMALL)
    assert other.panel.fingerprint != small.panel.fingerprint


def test_everything_has_its_shape(simulated):
    panel, truth = simulated
    shape, names = (400, 100), panel.feature_names
    assert panel.shape == shape and panel.features.shape == (*shape, 20) and panel.factors.shape == (400, 3)
    assert all(part.shape == shape for part in (truth.oracle, *truth.parts.values()))
    assert truth.peers.shape == truth.peer_weights.shape == (*shape, 5)
    assert truth.query_map.shape == truth.key_map.shape == (20, 6)
    assert truth.linear_weights.shape == (20,) and truth.lag_weights.shape == (21,)
    assert set(truth.relevant["peers"]) == {name for name in names if name.startswith(("product", "exposure"))}
    assert truth.relevant["linear"] == ("linear_1", "linear_2") and truth.relevant["lags"] == ()
    assert not any(name.startswith("noise") for relevant in truth.relevant.values() for name in relevant)


def test_the_source_says_that_it_is_simulated_and_how(simulated):
    source = simulated.panel.source
    assert json.loads(json.dumps(source)) == source
    assert "Simulated" in source["caveats"][0] and source["name"] == "finattn.data.simulate"
    settings = source["settings"]
    assert (settings["seed"], settings["r2"], settings["design"]["peers"]) == (3, 0.05, 5)
    assert simulate(firms=60, days=30, seed=np.int64(3), r2=np.float64(0.05)).panel.source["settings"] == settings


def test_codes_are_valid_constant_and_known_while_a_firm_is_listed(simulated):
    panel = simulated.panel
    assert panel.industry_scheme == "sic" and panel.industry_as_of
    assert (sic_division(panel.industry[panel.listed]) > 0).all() and not panel.industry[~panel.listed].any()
    assert all(len(set(codes[codes > 0].tolist())) == 1 for codes in panel.industry.T)
    sizes = np.unique(panel.industry.max(axis=0) // 100, return_counts=True)[1]
    assert len(sizes) == 8 and sizes.min() >= 12


def test_firms_list_late_leave_for_good_and_keep_a_delisting_return(simulated):
    panel = simulated.panel
    change = np.diff(panel.listed.astype(int), axis=0)
    assert (change == 1).any(axis=0).sum() == 10 and (change == -1).any(axis=0).sum() == 10
    for firm in np.flatnonzero((change == -1).any(axis=0)):
        gone = int(np.flatnonzero(change[:, firm] == -1)[0]) + 1
        assert not panel.listed[gone:, firm].any()
        assert np.isfinite(panel.returns[gone, firm]) and np.isnan(panel.returns[gone + 1 :, firm]).all()
        assert np.isnan(panel.features[gone:, firm]).all()


def test_as_much_is_missing_as_asked_for():
    design = Design(missing_returns=0.2, missing_features=0.3)
    panel, truth = simulate(firms=60, days=200, design=design)
    assert abs(np.isnan(panel.returns[panel.listed]).mean() - 0.2) < 0.02
    assert abs(np.isnan(panel.features[panel.listed]).mean() - 0.3) < 0.02
    np.testing.assert_array_equal(np.isnan(truth.oracle), ~everywhere(panel))


def test_volatility_is_as_asked_for_and_tails_are_heavy():
    def returns(tails):
        panel = simulate(firms=100, days=400, design=Design(tails=tails, volatility=0.03)).panel
        return panel.returns[np.isfinite(panel.returns)]

    def kurtosis(values):
        return np.mean((values / values.std()) ** 4)

    heavy, light = returns(4.0), returns(100.0)
    assert abs(heavy.std() / 0.03 - 1) < 0.05 and abs(light.std() / 0.03 - 1) < 0.03
    assert kurtosis(heavy) > 5 > 3.5 > kurtosis(light)


def test_no_return_is_below_the_floor_and_those_raised_to_it_are_counted():
    wild = Design(volatility=0.2, tails=2.1, late_listings=0.0, delistings=0.0, missing_returns=0.0)
    panel, truth = simulate(firms=60, days=400, design=wild)
    assert np.nanmin(panel.returns) == -0.95
    assert truth.clipped == (panel.returns == -0.95).sum() > 0


def test_common_factors_are_in_the_returns(simulated):
    panel, truth = simulated
    noise = np.nan_to_num(panel.returns[1:] - truth.oracle[:-1]).mean(axis=1)
    assert np.corrcoef(noise, panel.factors[1:, 0])[0, 1] > 0.8


def test_characteristics_move_slowly_and_spread_across_firms(simulated):
    values = simulated.panel.features
    kept = np.isfinite(values[0]).all(axis=1) & np.isfinite(values[20]).all(axis=1)
    for feature in range(values.shape[2]):
        assert np.corrcoef(values[0, kept, feature], values[20, kept, feature])[0, 1] > 0.6
        assert 0.5 < np.sqrt(np.nanmean(values[:, :, feature] ** 2)) < 1.5


def test_the_panel_goes_through_features_and_blocks(simulated):
    panel = features.build(simulated.panel, ("reversal",))
    blocks = Blocks(panel, np.arange(300, 398), Scaling.fit(panel, np.arange(250)), TargetConfig(horizon=1))
    pooled = oracle_r2(
        np.concatenate([simulated.truth.oracle[300:398], np.zeros((1, 100))]),
        np.concatenate([np.zeros((1, 100)), blocks.realised]),
    )
    assert 0.02 < pooled < 0.08
    assert sum(len(block.scored) for block in blocks.cut(warmup=5, length=50)) == 98


def test_the_panel_can_be_saved(small, tmp_path):
    assert Panel.load(small.panel.save(tmp_path / "panel")).fingerprint == small.panel.fingerprint


# -- the oracle ------------------------------------------------------------


def plain_forecast(panel, truth, firm):
    """Compute the oracle on the last row of a panel from the formulas in `Planted`, one number at a time."""
    here = panel.listed[-1] & np.isfinite(panel.returns[-1])
    if not here[firm]:
        return np.nan
    z = np.nan_to_num(panel.features[-1].astype(float))
    names = panel.feature_names
    first, second = names.index("nonlinear_1"), names.index("nonlinear_2")
    square = 0.0 if np.isnan(panel.features[-1, firm, first]) else (z[firm, first] ** 2 - 1) / np.sqrt(2)
    forecast = z[firm] @ truth.linear_weights
    forecast += truth.nonlinear_weight * (z[firm, first] * z[firm, second] + square)
    for lag, weight in enumerate(truth.lag_weights):
        row = len(panel) - 1 - lag
        if row >= 0 and panel.listed[row, firm] and np.isfinite(panel.returns[row, firm]):
            forecast += weight * panel.returns[row, firm]
    scores = z[firm] @ truth.query_map @ truth.key_map.T @ z.T
    others = [other for other in np.argsort(-scores) if here[other] and other != firm][: truth.peers.shape[2]]
    weights = np.exp(scores[others]) / np.exp(scores[others]).sum()
    return forecast + truth.peer_slope * (weights @ panel.returns[-1, others])


def test_the_oracle_follows_from_the_rows_up_to_its_own(small):
    panel, truth = small
    # What stands where a firm is not listed, the delisting return too, must not matter.
    panel = panel.replace(returns=np.where(panel.listed, panel.returns, 0.7))
    for row in range(len(panel)):
        past = panel[: row + 1]
        expected = [plain_forecast(past, truth, firm) for firm in range(28)]
        np.testing.assert_allclose(truth.oracle[row], expected, rtol=0, atol=1e-8)


def test_the_oracle_is_the_sum_of_its_parts(simulated):
    truth = simulated.truth
    assert list(truth.parts) == ["linear", "nonlinear", "lags", "peers"]
    np.testing.assert_allclose(sum(truth.parts.values()), truth.oracle, rtol=0, atol=1e-15)


def test_next_returns_follow_the_oracle_and_each_part_one_for_one():
    panel, truth = simulate(firms=100, days=1000, r2=0.1, seed=5)
    oracle, parts, following = next_returns(panel, truth)
    assert abs((oracle @ following) / (oracle @ oracle) - 1) < 0.03
    slopes = np.linalg.lstsq(np.column_stack(parts), following, rcond=None)[0]
    np.testing.assert_allclose(slopes, 1, atol=0.1)
    assert abs(np.corrcoef(oracle, following - oracle)[0, 1]) < 0.02


@pytest.mark.parametrize("r2", [0.01, 0.1])
def test_the_oracle_is_as_good_as_asked_for(r2):
    reached = []
    for seed in range(5):
        panel, truth = simulate(firms=80, days=400, r2=r2, seed=seed)
        oracle, _, following = next_returns(panel, truth)
        assert truth.r2 == pytest.approx(1 - ((following - oracle) ** 2).sum() / (following**2).sum())
        reached.append(truth.r2)
    assert abs(np.mean(reached) / r2 - 1) < 0.15


def test_with_no_signal_the_oracle_knows_nothing():
    panel, truth = simulate(firms=60, days=50, r2=0.0)
    assert truth.r2 == 0 and not np.nan_to_num(truth.oracle).any()
    assert truth.peer_slope == 0 and (truth.peers[-1] >= 0).any()


def test_parts_share_the_signal_as_asked_for():
    shares = {"linear": 1.0, "nonlinear": 2.0, "peers": 1.0}
    truth = simulate(firms=60, days=300, r2=0.04, design=Design(shares=shares)).truth
    squares = {name: np.nanmean(part**2) for name, part in truth.parts.items()}
    assert squares["lags"] == 0 and not truth.lag_weights.any()
    assert squares["linear"] == pytest.approx(squares["peers"], rel=1e-2)
    assert squares["nonlinear"] == pytest.approx(2 * squares["peers"], rel=1e-2)
    assert np.nanmean(truth.oracle**2) == pytest.approx(0.04 * 0.02**2, rel=1e-2)


def test_lags_are_where_they_were_planted_with_the_weights_asked_for(simulated):
    weights = simulated.truth.lag_weights
    assert np.flatnonzero(weights).tolist() == [0, 4, 20]
    np.testing.assert_allclose(weights[[0, 4, 20]] / weights[0], [1.0, -0.7, -0.5])


def test_the_same_seed_at_another_strength_keeps_characteristics_and_peers():
    one, other = (simulate(firms=60, days=60, r2=r2, seed=4) for r2 in (0.0, 0.2))
    np.testing.assert_array_equal(one.panel.features, other.panel.features)
    np.testing.assert_array_equal(one.truth.peers, other.truth.peers)
    noise = np.where(np.isfinite(other.truth.oracle[:-1]), other.panel.returns[1:] - other.truth.oracle[:-1], np.nan)
    both = np.isfinite(noise) & np.isfinite(one.panel.returns[1:])
    np.testing.assert_allclose(noise[both] / np.sqrt(0.8), one.panel.returns[1:][both], atol=1e-12)


def test_truth_is_read_only_and_says_what_it_is(small):
    truth = small.truth
    for array in (truth.oracle, truth.parts["peers"], truth.peers, truth.query_map):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert repr(truth) == f"Planted(r2={truth.r2:.4f}, parts ['linear', 'nonlinear', 'lags', 'peers'])"


# -- peers ------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
def test_as_many_edges_cross_industries_as_asked_for(share):
    panel, truth = simulate(firms=100, days=60, cross_industry=share, seed=2)
    group = panel.industry.max(axis=0) // 100
    row, firm, place = np.nonzero(truth.peers >= 0)
    crossing = group[firm] != group[truth.peers[row, firm, place]]
    assert truth.cross_industry == pytest.approx(crossing.mean())
    assert abs(truth.cross_industry - share) < 0.03


def test_peers_are_others_that_are_observed_and_weights_sum_to_one_or_nothing(small):
    panel, truth = small
    here = everywhere(panel)
    there = truth.peers >= 0
    np.testing.assert_array_equal(there.all(axis=2), here)
    np.testing.assert_array_equal(there.any(axis=2), here)
    np.testing.assert_allclose(truth.peer_weights.sum(axis=2), here, atol=1e-6)
    assert (truth.peer_weights[~there] == 0).all() and (np.diff(truth.peer_weights, axis=2) <= 0).all()
    row, firm, place = np.nonzero(there)
    peer = truth.peers[row, firm, place]
    assert (peer != firm).all() and here[row, peer].all()
    assert all(len(set(peers.tolist())) == 3 for peers in truth.peers[here])


def test_dense_weights_are_the_sparse_ones(small):
    panel, truth = small
    dense = truth.dense([5, 39])
    assert dense.shape == (2, 28, 28) and not dense[:, np.arange(28), np.arange(28)].any()
    np.testing.assert_allclose(dense.sum(axis=2), everywhere(panel)[[5, 39]], atol=1e-6)
    part = truth.peer_slope * np.einsum("tnm,tm->tn", dense, np.nan_to_num(panel.returns[[5, 39]]))
    known = everywhere(panel)[[5, 39]]
    np.testing.assert_allclose(part[known], truth.parts["peers"][[5, 39]][known], atol=1e-8)
    np.testing.assert_array_equal(truth.dense(slice(38, None))[1], dense[1])
    with pytest.raises(InputError, match="rows must be positions or a slice, found 5"):
        truth.dense(5)


def test_peers_have_a_direction(simulated):
    truth = simulated.truth
    assert not np.allclose(truth.query_map, truth.key_map)
    edge = truth.dense([200])[0] > 0
    assert (edge & edge.T).sum() < 0.25 * edge.sum()


def test_peers_change_but_slowly(simulated):
    peers = simulated.truth.peers

    def kept(distance):
        both = (peers[100] >= 0).all(axis=1) & (peers[100 + distance] >= 0).all(axis=1)
        pairs = zip(peers[100][both], peers[100 + distance][both], strict=True)
        return np.mean([len(set(one.tolist()) & set(other.tolist())) / 5 for one, other in pairs])

    assert kept(1) > 0.8 > 0.6 > kept(250)


def test_where_few_firms_are_observed_there_are_fewer_peers():
    panel, truth = simulate(firms=24, days=60, design=Design(peers=2, industries=2, missing_returns=0.9))
    count, here = (truth.peers >= 0).sum(axis=2), everywhere(panel)
    others = np.where(here, here.sum(axis=1, keepdims=True) - 1, 0)
    assert {0, 1} <= set(others[here].tolist())
    np.testing.assert_array_equal(count, np.minimum(others, 2))
    np.testing.assert_allclose(truth.peer_weights.sum(axis=2), count > 0, atol=1e-6)


def test_peers_of_many_firms_need_no_matrix_of_them_all():
    design = Design(lags=(0,), lag_weights=(1.0,))
    panel, truth = simulate(firms=3000, days=12, design=design)
    assert truth.peers.nbytes + truth.peer_weights.nbytes < 0.02 * 8 * 12 * 3000**2
    assert abs(truth.cross_industry - 0.8) < 0.02


# -- refusals ------------------------------------------------------------

DESIGNS = {
    "no peers": ({"peers": 0}, "peers must be a whole number of at least 1, found 0"),
    "half a peer": ({"peers": 1.5}, "peers must be a whole number of at least 1, found 1.5"),
    "a line of places": ({"peer_width": 1}, "peer_width must be a whole number of at least 2, found 1"),
    "no linear feature": ({"linear_features": 0}, "linear_features must be a whole number of at least 1"),
    "noise": ({"noise_features": -1}, "noise_features must be a whole number of at least 0, found -1"),
    "no factor": ({"factors": 0}, "factors must be a whole number of at least 1"),
    "one industry": ({"industries": 1}, "industries must be a whole number of at least 2, found 1"),
    "many industries": ({"industries": 21}, "industries must be at most 20, found 21"),
    "a unit root": ({"persistence": 1.0}, "persistence must be at least 0 and below 1, found 1.0"),
    "factors alone": ({"factor_share": 1.0}, "factor_share must be at least 0 and below 1"),
    "all missing": ({"missing_returns": 1.0}, "missing_returns must be at least 0 and below 1"),
    "not a number": ({"missing_features": np.nan}, "missing_features must be at least 0 and below 1, found nan"),
    "late": ({"late_listings": 1.1}, "late_listings must be from 0 to 1, found 1.1"),
    "gone": ({"delistings": -0.1}, "delistings must be from 0 to 1, found -0.1"),
    "blunt": ({"sharpness": 0.0}, "sharpness must be finite and above 0"),
    "percent": ({"volatility": 2.0}, "volatility must be a fraction above 0 and at most 0.2, found 2.0"),
    "no variance": ({"tails": 2.0}, "tails must be finite and above 2, found 2.0"),
    "unknown part": ({"shares": {"peer": 1.0}}, r"shares must be those of linear, .*, peers, found \['peer'\]"),
    "no part": ({"shares": {}}, "shares must be finite, at least 0 and not all 0, found {}"),
    "a negative share": ({"shares": {"lags": -1.0, "peers": 2.0}}, "shares must be finite, at least 0"),
    "no lag": ({"lags": (), "lag_weights": ()}, "lags must be increasing, at least one, found \\(\\)"),
    "lags turned": ({"lags": (2, 1, 0)}, r"lags must be increasing, at least one, found \(2, 1, 0\)"),
    "a lag ahead": ({"lags": (-1, 0, 1)}, "lags must be a whole number of at least 0, found -1"),
    "a lag between": ({"lags": (0, 1.5, 2)}, "lags must be a whole number of at least 0, found 1.5"),
    "weights for other lags": ({"lag_weights": (1.0,)}, "lag_weights must be .* one for each of 3 lags, found"),
    "a weight of nothing": ({"lag_weights": (1.0, 0.0, 1.0)}, "lag_weights must be finite, not 0"),
}
SIMULATIONS = {
    "few firms": ({"firms": 47}, r"firms must be at least industries x \(peers \+ 1\) = 48, found 47"),
    "no whole firm": ({"firms": 60.5}, "firms must be a whole number of at least 2, found 60.5"),
    "few days": ({"firms": 60, "days": 21}, "days must be a whole number of at least 22, found 21"),
    "too strong": ({"r2": 0.5}, "r2 must be at least 0 and below 0.5, found 0.5"),
    "negative": ({"r2": -0.01}, "r2 must be at least 0 and below 0.5, found -0.01"),
    "share in percent": ({"cross_industry": 80}, "cross_industry must be from 0 to 1, found 80"),
    "seed": ({"seed": -1}, "seed must be a whole number of at least 0, found -1"),
    "feedback": (
        {"firms": 60, "days": 300, "r2": 0.49, "design": Design(shares={"peers": 1.0})},
        r"r2 must be lower, or the shares of lags and peers: they feed back \d.\d\d of a return, found 0.49",
    ),
}
MODELS = {
    "model": ({"model": "c"}, "model must be 'a' or 'b', found 'c'"),
    "characteristics": ({"characteristics": 2}, "characteristics must be a whole number of at least 3, found 2"),
    "firms": ({"firms": 1}, "firms must be a whole number of at least 2, found 1"),
    "months": ({"months": 1}, "months must be a whole number of at least 2, found 1"),
    "seed": ({"seed": 0.5}, "seed must be a whole number of at least 0, found 0.5"),
}
REFUSALS = [
    pytest.param(function, *case, id=f"{function.__name__}: {name}")
    for function, cases in ((Design, DESIGNS), (simulate, SIMULATIONS), (gu_kelly_xiu, MODELS))
    for name, case in cases.items()
]


@pytest.mark.parametrize("function, settings, message", REFUSALS)
def test_a_setting_out_of_its_range_is_refused(function, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        function(**settings)
    assert "\n" not in str(caught.value)


# -- Gu, Kelly and Xiu ------------------------------------------------------------


@pytest.fixture(scope="module", params=["a", "b"])
def panels(request):
    return request.param, [gu_kelly_xiu(request.param, characteristics=10, seed=seed) for seed in range(25)]


def test_the_forecast_is_the_formula_of_the_paper(panels):
    model, ((panel, truth), *_) = panels
    c1, c2, c3, x_c3 = (panel.features[:, :, panel.feature_names.index(n)] for n in ("c1", "c2", "c3", "x_c3"))
    expected = {
        "a": 0.02 * c1 + 0.02 * c2 + 0.02 * x_c3,
        "b": 0.04 * c1**2 + 0.03 * c1 * c2 + 0.012 * np.sign(x_c3),
    }[model]
    np.testing.assert_allclose(truth.oracle, expected, atol=1e-6)
    np.testing.assert_allclose(sum(truth.parts.values()), truth.oracle, atol=1e-15)
    assert set().union(*truth.relevant.values()) == {"c1", "c2", "x_c3"}
    ratio = x_c3 / c3
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-4)


def test_characteristics_are_ranks_from_minus_one_to_one_that_last(panels):
    panel = panels[1][0].panel
    ranks = panel.features[:, :, :10]
    expected = 2 * np.arange(1, 201) / 201 - 1
    np.testing.assert_allclose(np.sort(ranks, axis=1), np.broadcast_to(expected[:, None], ranks.shape), atol=1e-6)
    for characteristic in range(10):
        now, later = ranks[:-1, :, characteristic], ranks[1:, :, characteristic]
        assert 0.88 < np.corrcoef(now.ravel(), later.ravel())[0, 1] < 1


def test_next_month_follows_the_forecast_one_for_one(panels):
    products = squares = 0.0
    for panel, truth in panels[1]:
        oracle, _, following = next_returns(panel, truth)
        products, squares = products + oracle @ following, squares + oracle @ oracle
    assert abs(products / squares - 1) < 0.06


def test_moments_are_those_of_the_paper(panels):
    """Predictive R² of 5% (the text), volatility of about 30% a year (a replication's notes)."""
    model, simulations = panels
    predictive, volatility, against_zero = [], [], []
    for panel, truth in simulations:
        oracle, _, following = next_returns(panel, truth)
        deviation = following - following.mean()
        predictive.append(1 - ((following - oracle) ** 2).sum() / (deviation**2).sum())
        volatility.append(panel.returns.std(axis=0).mean() * np.sqrt(12))
        against_zero.append(truth.r2)
    assert abs(np.mean(predictive) - 0.05) < 0.01
    assert 0.27 < np.mean(volatility) < 0.31
    assert abs(np.mean(against_zero) - {"a": 0.053, "b": 0.077}[model]) < 0.008


def test_noise_is_factors_times_characteristics_and_a_student_t_with_five_degrees(panels):
    """Variance of v'c: 3 × 0.05² × E c², of ε: 0.05² × 5/3, kurtosis of ε: 9 in the long run."""
    common, own = [], []
    for panel, truth in panels[1]:
        loadings = panel.features[:-1, :, :3].astype(float)
        common.append(np.einsum("tnk,tk->tn", loadings, panel.factors[1:]))
        own.append(panel.returns[1:] - truth.oracle[:-1] - common[-1])
    common, own = np.stack(common), np.stack(own)
    assert np.mean(common**2) == pytest.approx(0.05**2, rel=0.05)
    assert np.mean(own**2) == pytest.approx(0.05**2 * 5 / 3, rel=0.02)
    assert np.mean(own**4) / np.mean(own**2) ** 2 > 6
    assert abs(np.corrcoef(common.ravel(), own.ravel())[0, 1]) < 0.01


def test_the_paper_has_a_hundred_or_two_hundred_covariates_and_month_ends():
    for characteristics in (50, 100):
        panel, truth = gu_kelly_xiu(characteristics=characteristics, months=24)
        assert panel.shape == (24, 200) and panel.features.shape[2] == 2 * characteristics
    assert panel.periods_per_year == 12 and str(panel.dates[1]) == "2000-02-29"
    assert np.isfinite(panel.returns).all() and np.isfinite(truth.oracle).all() and truth.clipped == 0
    assert gu_kelly_xiu(months=24).panel.fingerprint == gu_kelly_xiu(months=24).panel.fingerprint
    assert gu_kelly_xiu(months=24, seed=1).panel.fingerprint != gu_kelly_xiu(months=24).panel.fingerprint
