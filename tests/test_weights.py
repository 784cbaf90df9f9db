import math

import numpy as np
import pytest
import waves
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.errors import InputError
from finattn.evaluation.weights import Scheme, positions, quantile_weights, rank_weights, target_weights, top_weights

NAN = float("nan")
KINDS = [
    Scheme(kind, quantiles=3, k=4, weighting=weighting)
    for kind in ("quantile", "rank", "top_k")
    for weighting in ("equal", "value")
]


def test_value_weights_of_a_quantile_are_in_proportion_to_value():
    weights = quantile_weights([[1, 2, 3, 4, 5, 6]], 3, [[1, 3, 9, 9, 6, 2]])
    np.testing.assert_allclose(weights, [[-0.25, -0.75, 0, 0, 0.75, 0.25]])


def test_a_value_weighted_tie_shares_the_place_and_counts_with_its_value():
    weights = top_weights([[1, 2, 2, 3]], 2, [[5, 10, 30, 20]])
    # One place for F0 and half a one each for F1 and F2: 20, 10 / 2 and 30 / 2.
    np.testing.assert_allclose(weights, [[0, 5 / 40, 15 / 40, 20 / 40]])


def test_ranks_are_weighted_by_their_distance_from_the_middle():
    weights = rank_weights([[10, -3, 7, 8, NAN]])
    np.testing.assert_allclose(weights, [[1.5 / 2, -1.5 / 2, -0.5 / 2, 0.5 / 2, 0]])


def test_value_weighted_ranks_sum_to_one_on_each_side():
    weights = rank_weights([[1, 2, 3, 4]], [[1, 1, 1, 9]])
    np.testing.assert_allclose(weights, [[-0.75, -0.25, 0.5 / 14, 13.5 / 14]])


def test_tied_ranks_are_shared():
    np.testing.assert_allclose(rank_weights([[1, 1, 5, 5, 3]]), [[-0.5, -0.5, 0.5, 0.5, 0]])


def test_top_k_holds_k_firms_and_is_short_nothing():
    np.testing.assert_array_equal(top_weights([[4, NAN, 1, 3, 2]], 2), [[0.5, 0, 0, 0.5, 0]])


def test_fewer_firms_than_k_are_not_held():
    np.testing.assert_array_equal(top_weights([[4, NAN, 1]], 3), [[0, 0, 0]])


@pytest.mark.parametrize("scheme", KINDS, ids=lambda scheme: f"{scheme.kind} {scheme.weighting}")
def test_a_constant_cross_section_holds_nothing(scheme):
    assert not scheme.weights(np.full((1, 9), 0.3), np.arange(1.0, 10.0)[None]).any()


@pytest.mark.parametrize("scheme", KINDS, ids=lambda scheme: f"{scheme.kind} {scheme.weighting}")
@given(seed=st.integers(0, 10**6))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_weights_are_those_of_a_whole_book_and_follow_the_firms(scheme, seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 9, (4, 17)).astype(float)
    score[rng.random(score.shape) < 0.2] = np.nan
    value = np.exp(rng.standard_normal(score.shape))
    value[rng.random(score.shape) < 0.1] = np.nan
    weights, order = scheme.weights(score, value), rng.permutation(17)
    long, short = np.maximum(weights, 0).sum(axis=1), np.maximum(-weights, 0).sum(axis=1)
    np.testing.assert_allclose(weights.sum(axis=1), 1 if scheme.kind == "top_k" else 0, atol=1e-12)
    assert (long <= 1 + 1e-12).all() and (scheme.kind != "top_k" or not short.any())
    np.testing.assert_allclose(scheme.weights(score[:, order], value[:, order]), weights[:, order], atol=1e-15)
    assert not weights[np.isnan(score)].any()
    assert scheme.weighting == "equal" or not weights[np.isnan(value)].any()


@pytest.mark.parametrize("kind", ["quantile", "rank", "top_k"])
def test_equal_values_give_equal_weights(kind):
    score = np.random.default_rng(0).standard_normal((5, 20))
    equal, value = (Scheme(kind, k=4, weighting=w).weights(score, np.full((5, 20), 7.0)) for w in ("equal", "value"))
    np.testing.assert_allclose(value, equal, atol=1e-15)


def test_target_weights_take_the_market_capitalisation_of_the_decision_date():
    cap = np.arange(1.0, 1 + waves.ROWS * waves.FIRMS).reshape(waves.ROWS, waves.FIRMS) % 13 + 1
    panel = waves.panel(market_cap=cap)
    forecasts = waves.forecasts(panel, step=7)
    found = target_weights(forecasts, panel, scheme=Scheme("top_k", k=3, weighting="value"))
    rows = positions(forecasts.wide("m").dates, panel.dates, "date")
    np.testing.assert_allclose(found, top_weights(forecasts.wide("m").score, 3, cap[rows]))


def test_firms_that_are_not_allowed_are_as_if_they_had_no_score():
    panel = waves.panel()
    forecasts = waves.forecasts(panel)
    wide = forecasts.wide("m")
    allowed = np.arange(waves.FIRMS) % 2 == 0
    found = target_weights(forecasts, panel, allowed=np.broadcast_to(allowed, wide.score.shape))
    np.testing.assert_array_equal(found[:, allowed], quantile_weights(wide.score[:, allowed], 5))
    assert not found[:, ~allowed].any()


def test_value_weights_without_a_market_capitalisation_are_refused():
    panel = waves.panel()
    with pytest.raises(InputError, match="value weights need panel.market_cap, found a panel without it"):
        target_weights(waves.forecasts(panel), panel, scheme=Scheme(weighting="value"))


def test_a_mask_of_another_shape_is_refused():
    panel = waves.panel()
    with pytest.raises(InputError, match=r"allowed must have the forecasts' shape \(45, 12\), found \(2, 2\)"):
        target_weights(waves.forecasts(panel), panel, allowed=np.ones((2, 2), bool))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "best"}, "kind must be one of quantile, rank, top_k, found 'best'"),
        ({"weighting": "cap"}, "weighting must be equal or value, found 'cap'"),
        ({"quantiles": 1}, "quantiles must be at least 2, found 1"),
        ({"k": 0}, "k must be at least 1, found 0"),
        ({"cost": -1e-4}, "cost must be at least 0 and finite, found -0.0001"),
        ({"short_fee": math.inf}, "short_fee must be at least 0 and finite, found inf"),
        ({"participation": 0.1}, "participation must be given together with book, found 0.1"),
        ({"book": 1e6}, "participation must be given together with book, found None"),
        ({"participation": 0.0, "book": 1e6}, "participation must be above 0 and finite, found 0.0"),
        ({"participation": 0.1, "book": math.nan}, "book must be above 0 and finite, found nan"),
    ],
)
def test_a_scheme_that_is_none_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Scheme(**settings)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: quantile_weights([[1, 2]], 1), "quantiles must be at least 2, found 1"),
        (lambda: top_weights([[1, 2]], 0), "k must be at least 1, found 0"),
    ],
)
def test_functions_refuse_what_schemes_refuse(made, message):
    with pytest.raises(InputError, match=message):
        made()
