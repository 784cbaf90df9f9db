import numpy as np
import pytest
import waves
from skfolio.moments import EmpiricalCovariance
from skfolio.optimization import EqualWeighted, MeanRisk, ObjectiveFunction

from finattn.errors import InputError
from finattn.evaluation.portfolio import backtest
from finattn.evaluation.prior import ForecastPrior, optimised
from finattn.panel import Panel

ROWS, FIRMS, LOOKBACK = 300, 8, 60


def simulated(**fields) -> Panel:
    rng = np.random.default_rng(0)
    returns = 0.01 * rng.standard_normal((ROWS, 1)) + 0.01 * (1 + np.arange(FIRMS) / 4) * rng.standard_normal(
        (ROWS, FIRMS)
    )
    return waves.panel(ROWS, FIRMS, leaves=120).replace(**({"returns": returns} | fields))


PANEL = simulated()
FORECASTS = waves.forecasts(PANEL, step=20, first=100)


def test_the_prior_gives_an_optimiser_the_forecasts_and_the_past_covariance():
    returns, mean = PANEL.returns[:LOOKBACK], np.linspace(-0.001, 0.001, FIRMS)
    prior = ForecastPrior(mean, EmpiricalCovariance()).fit(returns)
    np.testing.assert_array_equal(prior.return_distribution_.mu, mean)
    np.testing.assert_allclose(prior.return_distribution_.covariance, np.cov(returns.T))
    np.testing.assert_array_equal(prior.return_distribution_.returns, returns)
    assert not hasattr(prior.covariance_estimator, "covariance_")


def test_the_prior_refuses_expected_returns_of_other_assets():
    with pytest.raises(InputError, match=r"expected_returns must be one for each of 8 assets, found \(3,\)"):
        ForecastPrior([0.1, 0.2, 0.3]).fit(PANEL.returns)


def test_without_limits_the_weights_are_those_of_the_formula():
    aversion = 50.0
    optimiser = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_aversion=aversion,
        min_weights=None,
        max_weights=None,
    )
    found = optimised(FORECASTS, PANEL, None, optimiser, LOOKBACK, EmpiricalCovariance())
    wide = FORECASTS.wide("m")
    for t, row in enumerate(range(100, ROWS - 10, 20)):
        kept = np.flatnonzero(PANEL.listed[row])
        inverse = np.linalg.inv(np.cov(PANEL.returns[row - LOOKBACK + 1 : row + 1, kept].T))
        mean = wide.prediction[t, kept] / 5
        price = (inverse.sum(axis=0) @ mean - 2 * aversion) / inverse.sum()  # of the budget: weights sum to 1
        np.testing.assert_allclose(found[t, kept], inverse @ (mean - price) / (2 * aversion), atol=2e-4)
        assert row < 120 or found[t, 3] == 0


def test_by_default_a_book_is_long_only_and_whole():
    found = optimised(FORECASTS, PANEL, lookback=LOOKBACK)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert (found >= 0).all() and (found == 0).any()


def test_what_comes_later_changes_no_earlier_weight():
    cut = 180
    returns, listed = PANEL.returns.copy(), PANEL.listed.copy()
    returns[cut + 1 :], listed[cut + 1 :, 0] = 0.5, False
    before, after = (
        optimised(FORECASTS, panel, lookback=LOOKBACK)
        for panel in (PANEL, PANEL.replace(returns=returns, listed=listed))
    )
    earlier = np.arange(100, ROWS - 10, 20) <= cut
    np.testing.assert_array_equal(before[earlier], after[earlier])
    assert not np.array_equal(before, after)


def test_a_firm_without_a_return_in_the_window_is_not_held():
    returns = PANEL.returns.copy()
    returns[95, 0] = np.nan
    found = optimised(FORECASTS, PANEL.replace(returns=returns), lookback=LOOKBACK)
    rows = np.arange(100, ROWS - 10, 20)
    assert (found[rows - LOOKBACK < 95, 0] == 0).all() and found[rows - LOOKBACK >= 95, 0].any()


def test_a_firm_whose_return_never_changed_is_not_held():
    returns = PANEL.returns.copy()
    returns[:150, 0] = 0.0
    found = optimised(FORECASTS, PANEL.replace(returns=returns), lookback=LOOKBACK)
    rows = np.arange(100, ROWS - 10, 20)
    assert (found[rows < 150, 0] == 0).all() and found[rows >= 150, 0].any()


def test_a_date_with_fewer_than_two_firms_holds_nothing():
    listed = np.zeros((ROWS, FIRMS), bool)
    listed[:, 0] = True
    listed[200:, 1:] = True
    panel = simulated(listed=listed)
    found = optimised(FORECASTS, panel, lookback=LOOKBACK)
    held = found.any(axis=1)
    assert held.tolist() == [row >= 200 + LOOKBACK - 1 for row in range(100, ROWS - 10, 20)]


def test_optimised_weights_go_through_the_same_accounting():
    weights = optimised(FORECASTS, PANEL, lookback=LOOKBACK)
    daily = backtest(FORECASTS, PANEL, weights={"m": weights})
    assert daily["turnover"].iloc[0] == pytest.approx(1.0, abs=1e-5)
    assert daily["gross"].iloc[1] == pytest.approx(weights[0] @ PANEL.returns[101])


def test_the_optimiser_that_is_given_stays_as_it_was():
    optimiser = MeanRisk()
    optimised(FORECASTS, PANEL, None, optimiser, LOOKBACK)
    assert optimiser.prior_estimator is None and not hasattr(optimiser, "weights_")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lookback": 1}, "lookback must be at least 2, found 1"),
        ({"lookback": 102}, "lookback must be at most the 101 rows up to the first decision, found 102"),
        (
            {"optimiser": EqualWeighted()},
            "optimiser must be one of skfolio that takes a prior_estimator, found 'EqualWeighted'",
        ),
        (
            {"optimiser": MeanRisk(min_weights=0.5)},
            "optimiser must find weights at every decision, found none on 2020-05-20",
        ),
    ],
)
def test_what_makes_no_book_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        optimised(FORECASTS, PANEL, **({"lookback": LOOKBACK} | changes))
