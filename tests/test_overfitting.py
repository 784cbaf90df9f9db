import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from finattn.errors import InputError
from finattn.evaluation.overfitting import (
    Trials,
    _exceeds,
    _spread,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record_length,
    probabilistic_sharpe,
    probability_of_backtest_overfitting,
)

# -- Sharpe ratios -----------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "skewness", "kurtosis", "expected"), [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)]
)
def test_the_deflated_sharpe_ratio_is_that_of_the_paper(number, skewness, kurtosis, expected):
    """Bailey and Lopez de Prado (2014), the worked example: annual SR 2.5 over 1250 days, V = 1/2 a year."""
    benchmark = expected_maximum_sharpe(Trials(number, 0.5 / 250))
    assert number != 100 or round(benchmark, 4) == 0.1132
    assert round(_exceeds(2.5 / math.sqrt(250), benchmark, skewness, kurtosis, 1250), 4) == expected


@pytest.mark.parametrize(("skewness", "kurtosis", "expected"), [(-2.448, 10.164, 0.913), (0, 3, 0.982)])
def test_the_probabilistic_sharpe_ratio_is_that_of_the_paper(skewness, kurtosis, expected):
    """Bailey and Lopez de Prado (2012), the worked example: SR 0.458 a month over 24 months."""
    assert round(_exceeds(0.458, 0.0, skewness, kurtosis, 24), 3) == expected


def drawn() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    returns = 0.001 + 0.01 * rng.standard_t(5, 600) - 0.002 * (rng.random(600) < 0.02) * 10
    return returns, 0.05 * rng.standard_normal(25)


def test_the_deflated_sharpe_ratio_equals_that_of_ffn():
    """calc_deflated_sharpe_ratio and calc_expected_max_sharpe of ffn 1.4.1 on the same draws."""
    returns, trials = drawn()
    assert deflated_sharpe(returns, trials).probability == pytest.approx(0.004081541617834758, rel=1e-9)
    assert expected_maximum_sharpe(Trials(25, 0.05**2)) == pytest.approx(0.09985749437336797, rel=1e-12)


def test_trials_may_be_given_as_their_number_and_variance():
    returns, trials = drawn()
    assert deflated_sharpe(returns, Trials(25, trials.var(ddof=1))) == deflated_sharpe(returns, trials)


def test_the_probability_holds_every_number_that_it_is_made_of():
    returns, _ = drawn()
    found = probabilistic_sharpe(np.append(returns, np.nan), 0.02)
    assert found.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert found.skewness == pytest.approx(stats.skew(returns, bias=False))
    assert found.kurtosis == pytest.approx(stats.kurtosis(returns, bias=False) + 3)
    assert (found.benchmark, found.dates, found.undefined) == (0.02, 600, 1)
    assert probabilistic_sharpe(returns, found.sharpe).probability == pytest.approx(0.5)


def test_a_single_trial_is_not_deflated_and_more_trials_deflate_more():
    returns, _ = drawn()
    single = probabilistic_sharpe(returns)
    assert deflated_sharpe(returns, [0.07]) == deflated_sharpe(returns, Trials(1, 0.3)) == single
    assert deflated_sharpe(returns, [0.07, 0.07]) == single  # one strategy, tried twice
    probabilities = [deflated_sharpe(returns, Trials(number, 0.001)).probability for number in (1, 2, 10, 1000)]
    assert probabilities == sorted(probabilities, reverse=True) and probabilities[-1] < probabilities[0]


def test_the_expected_maximum_is_that_of_normal_draws():
    largest = np.random.default_rng(0).standard_normal((20000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(Trials(50, 1.0)) == pytest.approx(largest, rel=0.02)


@pytest.mark.parametrize("returns", [np.zeros(50), np.full(50, 0.1), [0.01, 0.02, 0.0], [], [np.nan] * 9])
def test_returns_that_do_not_vary_or_are_too_few_have_no_probability(returns):
    found = probabilistic_sharpe(returns)
    assert math.isnan(found.probability) and math.isnan(found.sharpe)
    assert found.dates + found.undefined == len(returns)
    assert math.isnan(deflated_sharpe(returns, [0.1, 0.2]).probability)
    assert math.isnan(minimum_track_record_length(returns))


def test_the_probability_is_uniform_at_the_true_sharpe_ratio():
    rng = np.random.default_rng(1)
    draws = 0.1 + rng.standard_normal((400, 150))
    above = [probabilistic_sharpe(row, 0.1).probability > 0.95 for row in draws]
    assert 0.02 < np.mean(above) < 0.09
    assert np.mean([probabilistic_sharpe(row + 0.2, 0.1).probability > 0.95 for row in draws[:100]]) > 0.6


def test_the_minimum_track_record_is_where_the_probability_reaches_its_level():
    returns, _ = drawn()
    returns = returns + 0.001
    rows = minimum_track_record_length(returns, 0.01, level=0.9)
    found = probabilistic_sharpe(returns, 0.01)
    z = (found.sharpe - 0.01) * math.sqrt((rows - 1) / _spread(found.sharpe, found.skewness, found.kurtosis))
    assert stats.norm.cdf(z) == pytest.approx(0.9)
    assert minimum_track_record_length(returns, found.sharpe) == math.inf


# -- probability of backtest overfitting --------------------------------------


def test_the_probability_of_overfitting_equals_that_of_ffn():
    """calc_prob_backtest_overfitting of ffn 1.4.1 on the same draws, eight blocks."""
    rng = np.random.default_rng(8)
    returns = 0.01 * rng.standard_normal((96, 7)) + 0.0012 * np.arange(7) / 3
    found = probability_of_backtest_overfitting(returns, blocks=8)
    assert found.probability == pytest.approx(0.44285714285714284) and len(found.logits) == 70
    assert found.logits.mean() == pytest.approx(0.5546406915080256)
    assert found.logits[:3] == pytest.approx([1.0986122886681098, 1.0986122886681098, 1.9459101490553132])


def test_every_split_is_that_of_the_definition():
    returns = 0.01 + 0.02 * np.random.default_rng(2).standard_normal((26, 4))
    returns[3, 2] = np.nan
    found = probability_of_backtest_overfitting(returns, blocks=6)
    used = np.delete(returns, 3, axis=0)[1:].reshape(6, 4, 4)  # 25 dates are left, the oldest does not fit
    for split, half in enumerate(combinations(range(6), 3)):
        inside = np.concatenate([used[b] for b in half])
        outside = np.concatenate([used[b] for b in range(6) if b not in half])
        first, second = (part.mean(axis=0) / part.std(axis=0, ddof=1) for part in (inside, outside))
        winner = first.argmax()
        share = stats.rankdata(second)[winner] / 5
        assert found.in_sample[split] == pytest.approx(first[winner])
        assert found.out_of_sample[split] == pytest.approx(second[winner])
        assert found.logits[split] == pytest.approx(math.log(share / (1 - share)))
    assert found.probability == np.mean(found.logits <= 1e-12)
    assert found.probability_of_loss == np.mean(found.out_of_sample < 0)
    assert (found.dates, found.dropped) == (24, 2)


def test_noise_overfits_about_half_of_the_time_and_a_true_trial_hardly_ever():
    rng = np.random.default_rng(3)
    noise = [probability_of_backtest_overfitting(rng.standard_normal((320, 20)), 10).probability for _ in range(40)]
    assert 0.42 < np.mean(noise) < 0.58
    better = rng.standard_normal((320, 20))
    better[:, 4] += 0.4
    found = probability_of_backtest_overfitting(better, 10)
    assert found.probability < 0.02 and found.probability_of_loss == 0


def test_the_scale_and_level_of_a_trial_do_not_cost_digits():
    returns = np.random.default_rng(4).standard_normal((64, 5))
    plain = probability_of_backtest_overfitting(returns, 8)
    scaled = probability_of_backtest_overfitting(returns * [1e-14, 1, 1e6, 1e-3, 7], 8)
    np.testing.assert_allclose(scaled.in_sample, plain.in_sample, rtol=1e-9)
    near = probability_of_backtest_overfitting(np.column_stack([returns[:, 0] + 1e4, returns[:, 0] + 2e4]), 8)
    halves = [np.isin(np.arange(64) // 8, half) for half in combinations(range(8), 4)]
    expected = [(returns[half, 0] + 2e4).mean() / returns[half, 0].std(ddof=1) for half in halves]
    np.testing.assert_allclose(near.in_sample, expected, rtol=1e-7)


def test_a_trial_that_does_not_trade_counts_as_without_skill():
    rng = np.random.default_rng(5)
    returns = -0.5 + rng.standard_normal((80, 4))
    returns[:, 1] = 0.0
    flat = probability_of_backtest_overfitting(returns, 8)
    assert (flat.in_sample == 0).all() and (flat.out_of_sample == 0).all() and flat.probability == 0
    returns[:, 1] = np.where(np.arange(80) % 3, 0.3, 0.1 + 0.2)  # constant up to noise: no Sharpe ratio either
    assert (probability_of_backtest_overfitting(returns, 8).in_sample == 0).all()
    late = 0.3 + rng.standard_normal((800, 3))
    late[:400, 2] = 0.01  # trades from the middle on
    found = probability_of_backtest_overfitting(late, 8)
    assert np.isfinite(found.in_sample).all() and np.abs(found.in_sample).max() < 2


def test_equal_trials_share_their_rank():
    returns = np.tile(np.random.default_rng(6).standard_normal((40, 1)), (1, 3))
    found = probability_of_backtest_overfitting(returns, 4)
    assert (found.logits == 0).all() and found.probability == 1


def test_all_splits_of_sixteen_blocks_fit_a_small_memory():
    returns = np.random.default_rng(7).standard_normal((640, 60))
    tracemalloc.start()
    found = probability_of_backtest_overfitting(returns)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.logits) == 12870 and peak < 16 * 2**20


# -- what is refused ---------------------------------------------------------

OK = np.random.default_rng(0).standard_normal((40, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probabilistic_sharpe(OK), r"returns must be \[t\] and finite, found shape \(40, 3\)"),
        (lambda: probabilistic_sharpe([0.1, np.inf]), "and finite"),
        (lambda: probabilistic_sharpe(OK[:, 0], np.nan), "a finite Sharpe ratio, found nan"),
        (lambda: deflated_sharpe(OK[:, 0], []), "at least one finite Sharpe ratio"),
        (lambda: deflated_sharpe(OK[:, 0], [0.1, np.nan]), "at least one finite Sharpe ratio .m., found"),
        (lambda: deflated_sharpe(OK[:, 0], Trials(0, 1.0)), "at least one trial and a variance of at least 0"),
        (lambda: deflated_sharpe(OK[:, 0], Trials(5, -1.0)), "found Trials.number=5, variance=-1.0"),
        (lambda: minimum_track_record_length(OK[:, 0], level=0.4), "between 0.5 and 1, found 0.4"),
        (lambda: probability_of_backtest_overfitting(OK[:, 0]), r"returns must be \[t m\] and finite"),
        (lambda: probability_of_backtest_overfitting(OK[:, :1], 4), "at least two trials and 8 dates, found 1 and 40"),
        (lambda: probability_of_backtest_overfitting(OK, 22), "even number from 2 to 20, found 22"),
        (lambda: probability_of_backtest_overfitting(OK, 5), "even number from 2 to 20, found 5"),
        (lambda: probability_of_backtest_overfitting(OK[:31]), "at least two trials and 32 dates, found 3 and 31"),
    ],
)
def test_wrong_input_gets_one_clear_error(call, message):
    with pytest.raises(InputError, match=message):
        call()
