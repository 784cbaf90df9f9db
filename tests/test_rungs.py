"""The ladder's rungs that are baselines: momentum, elastic net, any regressor, boosting, kernel regression, LSTM."""

import itertools

import numpy as np
import pytest
import torch
from sklearn import linear_model
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from finattn import recurrent
from finattn.baselines import Ridge
from finattn.baselines.boosting import TRAILING, Boosting
from finattn.baselines.kernel_regression import KernelRegression, _average, _loss
from finattn.baselines.linear import ElasticNet
from finattn.baselines.simple import Momentum
from finattn.baselines.tabular import Tabular, flat_window, windows
from finattn.blocks import Blocks, Scaling, observed
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.errors import InputError
from finattn.experiment import Forecaster, walk_forward
from finattn.features import rank
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.panel import Panel
from finattn.recurrent import LSTM, RecurrentForecaster
from finattn.splits import WalkForward

TRAIN, VALID, TEST = np.arange(30, 200), np.arange(202, 240), np.arange(242, 280)
TARGET = TargetConfig(horizon=2)
SHORT = TrainingConfig(epochs=2, minimum_epochs=1, block=60)
SMALL = ModelConfig(width=8, lookback=5, dropout=0.0)


def cut(panel, target=TARGET):
    scaling = Scaling.fit(panel, TRAIN)
    return [Blocks(panel, rows, scaling, target) for rows in (TRAIN, VALID, TEST)]


def skill(scores, blocks):
    return mean_over_dates(rank_information_coefficient(scores, blocks.realised))


@pytest.fixture(scope="module")
def cuts(panel):
    return cut(panel)


def without_targets(panel):
    """Blocks of training dates on which no forward return is known."""
    returns = panel.returns.copy()
    returns[31:260:2] = np.nan
    return Blocks(panel.replace(returns=returns), TRAIN, Scaling.fit(panel, TRAIN), TARGET)


MAKERS = {
    "momentum": Momentum,
    "elastic_net": lambda: ElasticNet(lookback=3),
    "tabular": lambda: Tabular(linear_model.LinearRegression(), 3),
    "boosting": lambda: Boosting((0.1,), (4,), trees=10),
    "kernel_regression": lambda: KernelRegression((1,), steps=5),
    "lstm": lambda: RecurrentForecaster(SMALL, SHORT),
}


@pytest.mark.parametrize("name", MAKERS)
def test_every_rung_is_a_forecaster_of_scores(name):
    assert isinstance(MAKERS[name](), Forecaster) and MAKERS[name]().units == "score"


@pytest.mark.parametrize("name", ["elastic_net", "tabular", "boosting", "kernel_regression", "lstm"])
def test_training_dates_without_a_target_are_refused(panel, name):
    blocks = without_targets(panel)
    with pytest.raises(InputError, match="must have observed targets to fit on, found none in the training dates"):
        MAKERS[name]().fit(blocks, blocks)


@pytest.mark.parametrize("name", ["momentum", "elastic_net", "boosting", "kernel_regression"])
def test_the_skill_that_is_logged_is_that_of_the_forecasts_on_validation_dates(cuts, name):
    fitted = MAKERS[name]().fit(*cuts[:2])
    assert fitted.chosen["valid_rank_ic"] == pytest.approx(skill(fitted.predict(cuts[1]), cuts[1]), abs=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Momentum(()), r"windows must be rows or pairs \(skip, rows\), 0 <= skip < rows, found \(\)"),
        (lambda: Momentum((5, (21, 21))), r"0 <= skip < rows, found \(5, \(21, 21\)\)"),
        (lambda: Momentum((0,)), r"found \(0,\)"),
        (lambda: ElasticNet(strengths=(0.1, 1.0)), r"strengths must be .* above 0 and .*, found \(0.1, 1.0\)"),
        (lambda: ElasticNet(l1_ratios=(0.0,)), r"l1_ratios must be not empty, above 0 and up to 1, found \(0.0,\)"),
        (lambda: ElasticNet(l1_ratios=()), r"l1_ratios must be not empty, .*, found \(\)"),
        (lambda: Tabular("ridge"), "estimator must be a scikit-learn regressor, found 'ridge'"),
        (lambda: Tabular(linear_model.Ridge), "estimator must be a scikit-learn regressor, found <class"),
        (lambda: Boosting(leaves=()), r"boosting needs rates, leaves and trees, found \(0.03, 0.1\), \(\) and 200"),
        (lambda: Boosting(trees=0), r"boosting needs rates, leaves and trees, found .* and 0"),
        (lambda: KernelRegression(()), r"kernel regression needs windows of rows and steps, found \(\) and 200"),
        (lambda: KernelRegression((0, 5)), r"kernel regression needs windows of rows and steps, found \(0, 5\)"),
        (lambda: LSTM(0), "inputs and layers must be at least 1, found 0 and 1"),
        (lambda: LSTM(3, layers=0), "inputs and layers must be at least 1, found 3 and 0"),
    ],
)
def test_settings_that_make_no_forecaster_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# -- momentum ------------------------------------------------------------


def own_return(panel, row, firm, skip, window):
    rows = range(max(row - window + 1, 0), row - skip + 1)
    known = [panel.returns[s, firm] for s in rows if panel.listed[s, firm] and np.isfinite(panel.returns[s, firm])]
    return np.prod([1 + r for r in known]) - 1


@pytest.mark.parametrize("pair", [(0, 1), (0, 5), (5, 21), (1, 252)])
def test_momentum_is_the_slope_times_a_firms_own_return(panel, cuts, pair):
    fitted = Momentum((pair,)).fit(*cuts[:2])
    forecast = fitted.predict(cuts[2])
    for place, firm in itertools.product((0, 17, 37), range(panel.shape[1])):
        expected = fitted.slope * own_return(panel, TEST[place], firm, *pair)
        expected = expected if cuts[2].observed[place, firm] else np.nan
        np.testing.assert_allclose(forecast[place, firm], expected, atol=1e-15)


def test_a_window_without_a_skip_is_its_rows(cuts):
    one, other = (Momentum((window,)).fit(*cuts[:2]).predict(cuts[2]) for window in (5, (0, 5)))
    np.testing.assert_array_equal(one, other)


def autocorrelated(share, seed=0):
    """Returns that go on, or turn, by a share of the day before."""
    random = np.random.default_rng(seed)
    returns = 0.01 * random.standard_normal((300, 12))
    for row in range(1, 300):
        returns[row] += share * returns[row - 1]
    return Panel(np.busday_offset("2001-01-01", np.arange(300), roll="forward"), [f"F{i}" for i in range(12)], returns)


@pytest.mark.parametrize("share", [0.5, -0.5])
def test_returns_that_go_on_have_a_slope_above_zero_and_those_that_turn_one_below(share):
    train, valid, test = cut(autocorrelated(share), TargetConfig(1))
    fitted = Momentum().fit(train, valid)
    assert fitted.chosen["window"] == 1 and fitted.slope == pytest.approx(share, abs=0.1)
    assert skill(fitted.predict(test), test) > 0.3


def test_the_window_is_chosen_by_the_validation_rank_ic(cuts):
    pairs = [(0, 1), (0, 5), (5, 21), (0, 63)]
    alone = {pair: skill(Momentum((pair,)).fit(*cuts[:2]).predict(cuts[1]), cuts[1]) for pair in pairs}
    for given in (pairs, pairs[::-1]):
        chosen = Momentum(given).fit(*cuts[:2]).chosen
        assert (chosen["skip"], chosen["window"]) == max(alone, key=alone.get)


# -- elastic net ------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("strength", [0.003, 0.1, 0.9])
def test_the_elastic_net_equals_scikit_learns_on_the_explicit_matrix(cuts, strength, ratio):
    fitted = ElasticNet((strength,), (ratio,), lookback=4).fit(*cuts[:2])
    table = flat_window(cuts[0], 4)
    alpha = strength * np.abs(table.x.T @ table.y).max() / len(table.y) / ratio
    theirs = linear_model.ElasticNet(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-10, max_iter=100_000)
    np.testing.assert_allclose(fitted.coefficients, theirs.fit(table.x, table.y).coef_, atol=1e-6)
    # One that the solver has not quite brought to zero may count on one side and not on the other.
    assert 0 < (np.abs(theirs.coef_) > 1e-5).sum() <= fitted.chosen["inputs"] + 1
    assert abs(fitted.chosen["inputs"] - (theirs.coef_ != 0).sum()) <= 1


def test_a_share_near_one_leaves_a_single_input(cuts):
    assert ElasticNet((0.999,), (1.0,), lookback=4).fit(*cuts[:2]).chosen["inputs"] == 1


def test_strength_and_ratio_are_chosen_by_the_validation_rank_ic(cuts):
    strengths, ratios = (0.05, 0.5), (0.2, 1.0)
    chosen = ElasticNet(strengths, ratios, 4).fit(*cuts[:2]).chosen
    alone = {
        pair: skill(ElasticNet((pair[0],), (pair[1],), 4).fit(*cuts[:2]).predict(cuts[1]), cuts[1])
        for pair in itertools.product(strengths, ratios)
    }
    assert (chosen["strength"], chosen["l1_ratio"]) == max(alone, key=alone.get)


def test_the_elastic_net_has_four_trials_by_default():
    made = ElasticNet()
    assert len(made.strengths) * len(made.l1_ratios) == 4


# -- any regressor ------------------------------------------------------------


def test_a_pipeline_is_a_rung(cuts):
    train, valid, test = cuts
    pipeline = Pipeline([("scale", StandardScaler()), ("lasso", linear_model.Lasso(alpha=0.01))])
    fitted = Tabular(pipeline, lookback=4).fit(train, valid)
    table, x = flat_window(train, 4), np.concatenate([part for _, part in windows(test, 4)])
    expected = pipeline.fit(table.x, table.y).predict(x[test.observed])
    np.testing.assert_allclose(fitted.predict(test)[test.observed], expected, atol=1e-12)
    assert np.isnan(fitted.predict(test)[~test.observed]).all() and fitted.chosen == {"rows": len(table.y)}


def test_the_estimator_given_stays_as_it_is(cuts):
    estimator = linear_model.Ridge()
    Tabular(estimator, lookback=2).fit(*cuts[:2])
    assert not hasattr(estimator, "coef_")


def test_chance_that_is_left_open_is_the_seeds(cuts):
    def forecast(seed, **settings):
        forest = Pipeline([("forest", RandomForestRegressor(3, max_depth=2, max_features=0.5, **settings))])
        return Tabular(forest, 2, seed=seed).fit(*cuts[:2]).predict(cuts[2])

    np.testing.assert_array_equal(forecast(1), forecast(1))
    np.testing.assert_array_equal(forecast(1, random_state=7), forecast(2, random_state=7))
    assert np.nanmax(np.abs(forecast(1) - forecast(2))) > 1e-3


def test_no_more_rows_are_held_than_said(cuts):
    assert Tabular(linear_model.Ridge(), 2, most_rows=500).fit(*cuts[:2]).chosen == {"rows": 500}


def test_new_rungs_walk_forward(panel):
    splits = WalkForward(str(panel.dates[300]), test=60, valid=60, horizon=2, start=30)
    forecasts = walk_forward(panel, {name: MAKERS[name]() for name in ("momentum", "tabular", "boosting")}, splits)
    assert forecasts.models == ("momentum", "tabular", "boosting") and np.isfinite(forecasts.table["score"]).all()


# -- boosting ------------------------------------------------------------


def boosting_table(blocks, lookback):
    """X [p n f] of boosting by its definition."""
    panel, x = blocks.panel, np.concatenate([part for _, part in windows(blocks, lookback)])
    past = np.array(
        [
            [[own_return(panel, row, i, 0, k) for k in TRAILING] for i in range(panel.shape[1])]
            for row in blocks.positions
        ]
    )
    ranks = [rank(past[:, :, k], blocks.observed) for k in range(len(TRAILING))]
    return np.concatenate([x, np.nan_to_num(np.stack(ranks, axis=2))], axis=2)


def test_boosting_is_scikit_learns_with_the_trees_and_rates_best_on_validation_dates(cuts):
    train, valid, test = (blocks.at(blocks.positions[::3]) for blocks in cuts)
    tables = [boosting_table(blocks, 2) for blocks in (train, valid, test)]
    fitted = Boosting((0.05, 0.3), (3, 6), trees=25, leaf_rows=15, lookback=2).fit(train, valid)
    known = ~np.isnan(train.realised)
    found = {}
    for rate, leaves, trees in itertools.product((0.05, 0.3), (3, 6), (10, 20, 25)):
        theirs = HistGradientBoostingRegressor(
            learning_rate=rate, max_leaf_nodes=leaves, max_iter=trees, min_samples_leaf=15, early_stopping=False
        ).fit(tables[0][known], flat_window(train, 2).y)
        scores = [theirs.predict(x.reshape(-1, x.shape[2])).reshape(x.shape[:2]) for x in tables[1:]]
        skilled = skill(np.where(valid.observed, scores[0], np.nan), valid)
        found[rate, leaves, trees] = skilled, np.where(test.observed, scores[1], np.nan)
    best = max(found, key=lambda choice: found[choice][0])
    assert (fitted.chosen["learning_rate"], fitted.chosen["leaves"], fitted.chosen["trees"]) == best
    assert fitted.chosen["valid_rank_ic"] == pytest.approx(found[best][0]) and fitted.chosen["rows"] == known.sum()
    np.testing.assert_allclose(fitted.predict(test), found[best][1], atol=1e-9)


def test_rows_drawn_for_boosting_are_the_seeds(cuts):
    def fitted(seed):
        return Boosting((0.1,), (4,), trees=10, most_rows=800, seed=seed).fit(*cuts[:2])

    one = fitted(0)
    assert one.chosen["rows"] == 800
    np.testing.assert_array_equal(one.predict(cuts[2]), fitted(0).predict(cuts[2]))
    assert np.nanmax(np.abs(one.predict(cuts[2]) - fitted(1).predict(cuts[2]))) > 1e-6


def test_boosting_has_four_trials_by_default():
    made = Boosting()
    assert len(made.learning_rates) * len(made.leaves) == 4


def planted(returns_of, features):
    """A panel whose returns of the next day come from its features [t n f]."""
    days, firms, wide = features.shape
    returns = np.zeros((days, firms))
    for row in range(days):
        past = (features[row - 1], returns[row - 1]) if row else (features[0], np.zeros(firms))
        returns[row] = returns_of(*past)
    dates = np.busday_offset("2001-01-01", np.arange(days), roll="forward")
    names = [f"x{f}" for f in range(wide)]
    return Panel(dates, [f"F{i:02d}" for i in range(firms)], returns, features=features, feature_names=names)


def test_boosting_finds_a_curve_that_no_line_follows():
    random = np.random.default_rng(0)
    features = random.standard_normal((300, 12, 2)).astype(np.float32)
    panel = planted(lambda x, past: 0.01 * x[:, 0] ** 2 + 0.01 * random.standard_normal(len(x)), features)
    train, valid, test = cut(panel, TargetConfig(1))
    curve = Boosting((0.1,), (4,), trees=40, leaf_rows=20).fit(train, valid).predict(test)
    line = Ridge(lookback=5).fit(train, valid).predict(test)
    assert skill(curve, test) > 0.4 > 0.15 > skill(line, test)


# -- kernel regression ------------------------------------------------------------


def brute_average(panel, row, bandwidths, window):
    """Each observed firm's kernel average of the others' returns, pair by pair."""
    here = observed(panel, row)
    places = np.nan_to_num(
        np.stack([rank(values, here[None])[0] for values in np.moveaxis(panel.features[[row]], 2, 0)])
    )
    result = np.full(len(here), np.nan)
    for i in np.flatnonzero(here):
        others = [j for j in np.flatnonzero(here) if j != i]
        weights = [np.exp(-0.5 * (((places[:, i] - places[:, j]) / bandwidths) ** 2).sum()) for j in others]
        result[i] = np.average([own_return(panel, row, j, 0, window) for j in others], weights=weights)
    return result


@pytest.mark.parametrize("window", [1, 5])
def test_kernel_regression_equals_loops_over_pairs_of_firms(panel, cuts, window):
    fitted = KernelRegression((window,), steps=5).fit(*cuts[:2])
    forecast, bandwidths = fitted.predict(cuts[2]), np.array(list(fitted.chosen["bandwidths"].values()))
    assert tuple(fitted.chosen["bandwidths"]) == panel.feature_names and np.ptp(bandwidths) > 0.01
    for place in (0, 20, 37):
        expected = fitted.slope * brute_average(panel, TEST[place], bandwidths, window)
        np.testing.assert_allclose(forecast[place], expected, atol=1e-14)


def test_the_slope_of_kernel_regression_is_fitted_a_horizon_apart(panel, cuts):
    fitted = KernelRegression((5,), steps=5).fit(*cuts[:2])
    bandwidths = np.array(list(fitted.chosen["bandwidths"].values()))
    x = np.stack([brute_average(panel, row, bandwidths, 5) for row in TRAIN[::2]])
    y = cuts[0].realised[::2]
    x = np.where(np.isnan(y), np.nan, x)
    x, y = (values - np.nanmean(values, axis=1, keepdims=True) for values in (x, y))
    assert fitted.slope == pytest.approx(np.nansum(x * y) / np.nansum(x * x), rel=1e-9)


def test_kernel_regression_is_symmetric_and_leaves_the_firm_itself_out():
    random = torch.Generator().manual_seed(0)
    places, here = torch.rand(1, 3, 2, generator=random, dtype=torch.float64), torch.ones(1, 3) > 0
    values = torch.eye(3, dtype=torch.float64)[:, None]  # each firm's return in turn: gives the weights
    weights = torch.stack([_average(places, here, value, torch.tensor([0.5, 2.0]).double())[0] for value in values], 1)
    assert (weights.diagonal() == 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(3).double())
    odds = [weights[i, j] / weights[i, k] for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1))]
    assert float(np.prod(odds)) == pytest.approx(1.0)  # of symmetric kernels alone: k01 k12 k20 = k02 k10 k21


def test_a_firm_alone_has_no_average_and_no_gradient_is_lost():
    here = torch.tensor([[True, False], [False, False], [True, True]])
    bandwidth = torch.ones(1, dtype=torch.float64, requires_grad=True)
    found = _average(torch.rand(3, 2, 1).double(), here, torch.ones(3, 2).double(), bandwidth)
    assert found[0, 0] == 0 and (found[1] == 0).all() and (found[2] == 1).all()
    found.sum().backward()
    assert bandwidth.grad.isfinite().all()


def test_the_loss_is_that_of_the_best_slope_and_so_is_its_gradient():
    random = np.random.default_rng(0)
    target = np.where(random.random((6, 5)) < 0.2, np.nan, random.standard_normal((6, 5)))
    target -= np.nanmean(target, axis=1, keepdims=True)
    average = torch.from_numpy(random.standard_normal((6, 5))).requires_grad_()
    known = ~np.isnan(target)
    x = np.where(known, average.detach().numpy(), np.nan)
    x = (x - np.nanmean(x, axis=1, keepdims=True))[known]
    residual = np.linalg.lstsq(x[:, None], target[known], rcond=None)[1][0]
    assert float(_loss(average, torch.from_numpy(target)).detach()) == pytest.approx(residual / known.sum())
    assert torch.autograd.gradcheck(lambda given: _loss(given, torch.from_numpy(target)), average)


def test_the_bandwidth_is_small_for_the_characteristic_that_peers_share():
    random = np.random.default_rng(1)
    group = np.repeat([-1.0, 0.0, 1.0], 4)
    features = np.stack([np.tile(group, (300, 1)), random.standard_normal((300, 12))], axis=2).astype(np.float32)
    same = (group[:, None] == group) & ~np.eye(12, dtype=bool)

    def following(x, past):  # a firm's return is that of its peers the day before
        return 0.8 * same @ past / 3 + 0.01 * random.standard_normal(12)

    train, valid, test = cut(planted(following, features), TargetConfig(1))
    fitted = KernelRegression((1, 5), steps=60, rate=0.1).fit(train, valid)
    shared, noise = fitted.chosen["bandwidths"].values()
    assert fitted.chosen["window"] == 1 and fitted.slope > 0 and shared < 0.7 < 1.5 < noise
    assert skill(fitted.predict(test), test) > 0.3


def test_kernel_regression_looks_at_validation_five_times_a_window(cuts):
    fitted = KernelRegression((1,), steps=10)
    assert [step for step, _ in fitted._learn(cuts[0], 1)] == [2, 4, 6, 8, 10]
    found = fitted.fit(*cuts[:2]).chosen
    assert found["step"] in (2, 4, 6, 8, 10)
    ways = [bandwidths for _, bandwidths in fitted._learn(cuts[0], 1)]
    np.testing.assert_array_equal(ways[found["step"] // 2 - 1], list(found["bandwidths"].values()))


def test_the_dates_of_a_step_are_the_seeds(cuts):
    def way(seed):
        return np.array([x for _, x in KernelRegression((1,), steps=5, dates=20, seed=seed)._learn(cuts[0], 1)])

    np.testing.assert_array_equal(way(0), way(0))
    assert np.abs(way(0) - way(1)).max() > 1e-3


def test_kernel_regression_refuses_a_panel_without_characteristics(panel):
    train, valid, _ = cut(panel.replace(features=None, feature_names=()))
    with pytest.raises(InputError, match="kernel regression needs characteristics, found a panel without features"):
        KernelRegression((1,)).fit(train, valid)


# -- LSTM ------------------------------------------------------------


@pytest.fixture(scope="module")
def lstm(cuts):
    torch.manual_seed(0)
    return LSTM(cuts[0].scaling.width, SMALL).eval()


def written_out(model, block, row, firm):
    """A score from the gates' equations, over the rows of the window that the block has and zeros before."""
    weights, states, bias, bias_too = (p.detach() for p in model.cells.parameters())
    hidden, cell = torch.zeros(SMALL.width), torch.zeros(SMALL.width)
    for day in range(row - SMALL.lookback + 1, row + 1):
        x = torch.zeros(block.x.shape[2] + 1)
        if day >= 0 and block.observed[day, firm]:
            x = torch.cat([block.x[day, firm], torch.ones(1)])
        entry, forget, change, exit_ = (weights @ x + bias + states @ hidden + bias_too).chunk(4)
        cell = forget.sigmoid() * cell + entry.sigmoid() * change.tanh()
        hidden = exit_.sigmoid() * cell.tanh()
    return model.head(hidden).item()


def test_the_lstms_score_is_its_equations_over_the_window(cuts, lstm):
    block = next(cuts[0].at(np.arange(40)).cut(lstm.warmup, 40))
    assert block.warmup == 0 and not block.observed[:, 1].any()  # the panel's first rows; firm 1 is listed later
    scores = lstm(block).detach()
    for row, firm in itertools.product((0, 2, 20, 39), (0, 3, 7)):
        if block.observed[row, firm]:
            assert scores[row, firm].item() == pytest.approx(written_out(lstm, block, row, firm), abs=1e-6)
    assert scores[:, 1].isnan().all()


def test_the_score_of_a_stack_is_its_last_layers(cuts):
    stack, block = LSTM(cuts[0].scaling.width, SMALL, layers=2), next(cuts[0].cut(4, 20))
    stack(block).nansum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in stack.cells.parameters())


def test_the_lstm_scores_decision_dates_after_the_warm_up_alone(cuts, lstm):
    block = next(cuts[2].at(TEST[::3]).cut(lstm.warmup, 1000))
    scores = lstm(block).detach()
    assert lstm.warmup == block.warmup == 4
    rows = torch.nonzero(~scores.isnan().all(1)).squeeze(1)
    assert torch.equal(rows, block.scored)
    nothing = block._replace(decision=torch.zeros_like(block.decision))
    assert lstm(nothing).isnan().all()


@pytest.mark.parametrize("kept", [0, 10**9], ids=["computed again", "held"])
def test_groups_of_dates_change_neither_scores_nor_gradients(cuts, lstm, monkeypatch, kept):
    block, found = next(cuts[0].cut(lstm.warmup, 20)), []
    for windows_at_once in (10**6, 1):
        monkeypatch.setitem(recurrent.GROUP, "cpu", windows_at_once)
        monkeypatch.setattr(recurrent, "KEPT", kept)
        lstm.zero_grad()
        x = block.x.clone().requires_grad_()
        scores = lstm(block._replace(x=x))
        scores[block.observed & block.decision[:, None]].square().sum().backward()
        found.append([scores.detach(), x.grad, *(parameter.grad.clone() for parameter in lstm.parameters())])
    assert found[0][1].abs().sum() > 0 and not found[0][1][~block.observed].any()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True, rtol=1e-4, atol=1e-6)


def test_an_lstm_learns_that_returns_turn():
    train, valid, test = cut(autocorrelated(-0.6), TargetConfig(1))
    training = TrainingConfig(epochs=4, minimum_epochs=1, block=20, learning_rate=0.02)
    fitted = RecurrentForecaster(SMALL, training).fit(train, valid)
    assert skill(fitted.predict(test), test) > 0.3 and len(fitted.chosen["history"]) == 4


def test_an_lstm_is_the_seeds_and_can_be_kept(cuts, tmp_path):
    one, other = (RecurrentForecaster(SMALL, SHORT, seed=seed, layers=2).fit(*cuts[:2]) for seed in (0, 1))
    assert np.nanmax(np.abs(one.predict(cuts[2]) - other.predict(cuts[2]))) > 1e-4
    one.save(tmp_path)
    again = RecurrentForecaster(SMALL, SHORT, layers=2).load(tmp_path, cuts[0].scaling.width)
    np.testing.assert_array_equal(again.predict(cuts[2]), one.predict(cuts[2]))


def test_an_lstm_can_start_from_a_base(cuts):
    fitted = RecurrentForecaster(SMALL, SHORT, base=Ridge(lookback=3)).fit(*cuts[:2])
    assert "base_rank_ic" in fitted.chosen and np.isfinite(fitted.predict(cuts[2])[cuts[2].observed]).all()
