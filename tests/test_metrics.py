import warnings
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finattn import metrics
from finattn.errors import InputError
from finattn.evaluation import quantile_weights

CORRELATIONS = {
    metrics.information_coefficient: stats.pearsonr,
    metrics.rank_information_coefficient: stats.spearmanr,
}
PER_DATE = [*CORRELATIONS, metrics.hit_rate]
IN_PARTS = {
    "squared losses": metrics.squared_losses,
    "sign hit rate": metrics.sign_hit_rate,
    "quantile spread": lambda score, realised: (metrics.quantile_spread(score, realised, 4),),
    "precision at k": lambda score, realised: metrics.precision_at_k(score, realised, 3),
    "calibration": metrics.calibration_sums,
}


def panel(seed: int, dates: int = 6, firms: int = 40, ties: bool = False, absent: float = 0.2):
    """Score and realised with gaps in either, at different places."""
    rng = np.random.default_rng(seed)
    score, realised = rng.standard_normal((2, dates, firms))
    if ties:
        score, realised = np.round(score), np.round(realised)
    for array in (score, realised):
        array[rng.random(array.shape) < absent] = np.nan
    return score, realised


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("metric", CORRELATIONS)
def test_correlations_equal_those_of_scipy_date_by_date(metric, ties):
    score, realised = panel(1, ties=ties)
    for found, s, r in zip(metric(score, realised), score, realised, strict=True):
        both = ~np.isnan(s) & ~np.isnan(r)
        assert found == pytest.approx(CORRELATIONS[metric](s[both], r[both]).statistic, abs=1e-13)


def test_the_hit_rate_is_the_share_on_the_same_side_of_both_medians():
    # medians 2 and 0.02; the firms on them (third by score, fourth by return) are left out; 2 of the other 3 agree
    score = [[0.0, 1.0, 2.0, 3.0, 4.0]]
    realised = [[0.00, 0.03, 0.01, 0.02, 0.05]]
    assert metrics.hit_rate(score, realised)[0] == pytest.approx(2 / 3)


def test_the_hit_rate_equals_a_loop_over_dates():
    score, realised = panel(2, ties=True)
    for found, s, r in zip(metrics.hit_rate(score, realised), score, realised, strict=True):
        both = ~np.isnan(s) & ~np.isnan(r)
        sides = np.sign(s[both] - np.median(s[both])) * np.sign(r[both] - np.median(r[both]))
        assert found == pytest.approx((sides > 0).sum() / (sides != 0).sum())


def test_squared_losses_are_sums_over_the_firms_that_have_both():
    model, zero = metrics.squared_losses(
        [[0.5, 1.0, np.nan], [np.nan, 1.0, 2.0]], [[1.0, 1.0, 9.0], [1.0, np.nan, np.nan]]
    )
    np.testing.assert_array_equal(model, [0.25, np.nan])
    np.testing.assert_array_equal(zero, [2.0, np.nan])


def test_forecasting_zero_has_an_r2_of_zero():
    _, realised = panel(3)
    model, zero = metrics.squared_losses(np.zeros_like(realised), realised)
    np.testing.assert_array_equal(model, zero)


def both(score, realised):
    """Each date's firms that have both, as plain lists."""
    for s, r in zip(score, realised, strict=True):
        known = ~np.isnan(s) & ~np.isnan(r)
        yield s[known], r[known]


def test_the_sign_hit_rate_and_its_base_rate_equal_a_table_of_signs():
    score, realised = panel(6, ties=True)  # rounded: some have no sign
    for rate, expected, (s, r) in zip(*metrics.sign_hit_rate(score, realised), both(score, realised), strict=True):
        signed = (s != 0) & (r != 0)
        table = pd.crosstab(s[signed] > 0, r[signed] > 0).to_numpy()
        shares = stats.contingency.expected_freq(table)
        assert rate == pytest.approx(np.trace(table) / table.sum())
        assert expected == pytest.approx(np.trace(shares) / table.sum())


def test_one_sign_for_all_is_right_as_often_as_the_base_rate_says():
    rate, expected = metrics.sign_hit_rate([[0.01, 0.02, 0.01], [0.0, 0.0, 0.0]], [[0.1, 0.2, -0.1], [0.1, 0.2, -0.1]])
    np.testing.assert_allclose(rate, [2 / 3, np.nan])
    np.testing.assert_allclose(expected, [2 / 3, np.nan])


def test_tiny_and_huge_numbers_have_signs():
    rate, _ = metrics.sign_hit_rate([[1e-200, -1e-200, 1e200]], [[1e-200, 1e-200, 1e200]])
    assert rate[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("quantiles", [2, 5])
def test_the_quantile_spread_is_the_return_of_the_weights_of_the_portfolio(ties, quantiles):
    score, realised = panel(7, ties=ties)
    known = np.where(np.isnan(realised), np.nan, score)
    expected = (quantile_weights(known, quantiles) * np.nan_to_num(realised)).sum(axis=1)
    np.testing.assert_allclose(metrics.quantile_spread(score, realised, quantiles), expected, rtol=1e-12)


def test_the_quantile_spread_is_undefined_only_where_there_are_no_quantiles():
    score = [[1.0, 2.0, 3.0, np.nan], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]
    realised = [[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], [0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.5]]
    np.testing.assert_allclose(metrics.quantile_spread(score, realised, 4), [np.nan, np.nan, 0.0, 0.4])


@pytest.mark.parametrize("k", [1, 5, 20])
def test_precision_at_k_equals_that_of_sets(k):
    score, realised = panel(8)
    found = metrics.precision_at_k(score, realised, k)
    for precision, base_rate, (s, r) in zip(*found, both(score, realised), strict=True):
        shared = set(np.argsort(s)[-k:]) & set(np.argsort(r)[-k:])
        assert precision == pytest.approx(len(shared) / k)
        assert base_rate == pytest.approx(k / len(s))


def test_ties_at_the_edge_of_k_count_what_breaking_them_at_random_gives():
    score, realised = [1.0, 1.0, 1.0, 2.0, 0.0], [0.3, 0.1, 0.1, 0.2, 0.1]
    orders = [np.lexsort((order, values)) for values in (score, realised) for order in permutations(range(5))]
    tops = [set(order[-3:].tolist()) for order in orders]
    expected = np.mean([len(a & b) / 3 for a, b in product(tops[:120], tops[120:])])
    assert metrics.precision_at_k([score], [realised], 3)[0] == pytest.approx([expected])


def test_k_can_differ_by_date_and_must_fit_it():
    score = realised = np.tile([1.0, 2.0, 3.0, np.nan], (4, 1))
    precision, base_rate = metrics.precision_at_k(score, realised, np.array([0, 1, 3, 4]))
    np.testing.assert_allclose(precision, [np.nan, 1.0, 1.0, np.nan])
    np.testing.assert_allclose(base_rate, [np.nan, 1 / 3, 1.0, np.nan])


def test_precision_needs_scores_and_returns_that_vary():
    varied, level = [0.01, -0.02, 0.03], [0.01, 0.01, 0.01]
    assert np.isnan(metrics.precision_at_k([level, varied], [varied, level], 1)).all()


def test_the_pooled_calibration_slope_is_that_of_a_regression_with_an_intercept_for_every_date():
    prediction, realised = panel(9)
    cross, square = metrics.calibration_sums(prediction, realised)
    pairs = list(both(prediction, realised))
    date = np.repeat(np.arange(len(pairs)), [len(p) for p, _ in pairs])
    design = np.column_stack([np.concatenate([p for p, _ in pairs]), date[:, None] == np.arange(len(pairs))])
    slope = np.linalg.lstsq(design, np.concatenate([r for _, r in pairs]), rcond=None)[0][0]
    assert cross.sum() / square.sum() == pytest.approx(slope, rel=1e-10)


def test_constant_predictions_have_no_calibration_and_constant_returns_a_slope_of_zero():
    varied, level = [0.01, -0.02, 0.03], [0.01, 0.01, 0.01]
    cross, square = metrics.calibration_sums([level, varied], [varied, level])
    np.testing.assert_allclose(cross, [np.nan, 0.0], atol=1e-18)
    assert np.isnan(square[0]) and square[1] > 0


CONSTANTS = {
    "equal": [0.3, 0.3, 0.3],
    "equal up to rounding": [0.1 + 0.2, 0.3, 0.3],
    "equal up to rounding at a large level": [1e8, 1e8 + 1e-7, 1e8],
    "zero": [0.0, 0.0, -0.0],
    "one firm": [0.3, np.nan, np.nan],
    "no firm": [np.nan, np.nan, np.nan],
}


@pytest.mark.parametrize("metric", PER_DATE)
@pytest.mark.parametrize("values", CONSTANTS.values(), ids=CONSTANTS.keys())
def test_a_constant_cross_section_is_undefined_on_either_side(metric, values):
    varied = [0.01, -0.02, 0.03]
    assert metrics.constant([values]).all()
    assert np.isnan(metric([values], [varied])).all()
    assert np.isnan(metric([varied], [values])).all()


def test_small_differences_above_rounding_are_a_score_like_any_other():
    score = 1.0 + 1e-9 * np.array([[1.0, 2.0, 3.0, 5.0]])
    realised = np.array([[1.0, 2.0, 3.0, 5.0]])
    for metric in CORRELATIONS:
        assert metric(score, realised)[0] == pytest.approx(1.0, abs=1e-6)
    noise = np.random.default_rng(0).standard_normal((5, 30))
    score = 1.0 + 1e-9 * noise
    exact = metrics.information_coefficient(score - 1.0, noise)  # that subtraction loses nothing
    np.testing.assert_allclose(metrics.information_coefficient(score, noise), exact, rtol=1e-14)
    score, realised = score[:1], score[:1]
    assert metrics.hit_rate(score, realised)[0] == 1.0


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_unit_of_a_score_does_not_matter_even_where_its_square_overflows(scale):
    score, realised = panel(4)
    for metric in PER_DATE:
        np.testing.assert_allclose(metric(score * scale, realised), metric(score, realised), atol=1e-12)


@given(seed=st.integers(0, 10**6), ties=st.booleans(), level=st.sampled_from([0.0, 1.0, 1e6]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_firms_have_no_order(seed, ties, level):
    score, realised = panel(seed, dates=3, firms=15, ties=ties)
    score += level
    order = np.random.default_rng(seed).permutation(15)
    for metric in [*PER_DATE, *IN_PARTS.values()]:
        scaled = score / (1 + level)
        np.testing.assert_allclose(
            metric(scaled[:, order], realised[:, order]), metric(scaled, realised), rtol=1e-12, atol=1e-12
        )


@given(seed=st.integers(0, 10**6))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_ranks_see_only_the_order_and_absent_firms_change_nothing(seed):
    score, realised = panel(seed, dates=3, firms=12)
    expected = metrics.rank_information_coefficient(score, realised)
    np.testing.assert_allclose(metrics.rank_information_coefficient(np.exp(score), realised), expected, atol=1e-12)
    np.testing.assert_allclose(metrics.rank_information_coefficient(-score, realised), -expected, atol=1e-12)
    more = np.full((3, 5), np.nan)
    wider = np.hstack([score, more]), np.hstack([realised, more + 1])
    for metric in [*PER_DATE, *IN_PARTS.values()]:
        np.testing.assert_allclose(metric(*wider), metric(score, realised), atol=1e-12)


def test_inputs_are_not_changed():
    score, realised = panel(5)
    before = score.copy(), realised.copy()
    for metric in [*PER_DATE, *IN_PARTS.values()]:
        metric(score, realised)
    np.testing.assert_array_equal(score, before[0])
    np.testing.assert_array_equal(realised, before[1])


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_empty_panels_are_undefined_without_a_warning(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in [*PER_DATE, *IN_PARTS.values()]:
            found = np.atleast_2d(metric(np.zeros(shape), np.zeros(shape)))
            np.testing.assert_array_equal(found, np.full((len(found), shape[0]), np.nan))


@pytest.mark.parametrize(
    ("score", "realised", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), r"one shape \[t n\], found \(2, 3\) and \(3, 2\)"),
        (np.zeros(3), np.zeros(3), r"one shape \[t n\], found \(3,\) and \(3,\)"),
        ([[0.0, np.inf]], [[0.0, 0.0]], r"finite numbers or NaN, found inf at \[0, 1\]"),
    ],
)
def test_wrong_input_is_refused(score, realised, message):
    for metric in [*PER_DATE, *IN_PARTS.values()]:
        with pytest.raises(InputError, match=message):
            metric(score, realised)


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match="quantiles must be at least 2, found 1"):
        metrics.quantile_spread([[1.0]], [[1.0]], 1)
    for k in (-1, 2.0):
        with pytest.raises(InputError, match=f"k must be a whole number of at least 0, found {k}"):
            metrics.precision_at_k([[1.0]], [[1.0]], k)
