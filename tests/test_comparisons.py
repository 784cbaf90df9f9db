import math

import numpy as np
import pytest
from arch.bootstrap import MCS, SPA, MovingBlockBootstrap
from scipy import stats
from statsmodels.regression.linear_model import OLS

from finattn.errors import InputError
from finattn.evaluation import hac_lag, mean_inference
from finattn.evaluation.comparisons import (
    bootstrap_mean,
    clark_west,
    diebold_mariano,
    seed_variance,
)
from finattn.evaluation.fama_macbeth import fama_macbeth
from finattn.evaluation.inference import resamples
from finattn.evaluation.selection import model_confidence_set, superior_predictive_ability


def r_normals(seed: int, count: int) -> np.ndarray:
    """What R gives for set.seed(seed); rnorm(count): Mersenne Twister and inversion, R's defaults."""
    for _ in range(51):
        seed = (69069 * seed + 1) % 2**32
    state = []
    for _ in range(624):
        seed = (69069 * seed + 1) % 2**32
        state.append(seed)
    twister = np.random.RandomState()
    twister.set_state(("MT19937", np.array(state, np.uint32), 624))
    uniform = twister.randint(0, 2**32, 2 * count, dtype=np.uint32) * 2.3283064365386963e-10
    return stats.norm.ppf((np.floor(2**27 * uniform[::2]) + uniform[1::2]) / 2**27)


def r_errors() -> tuple[np.ndarray, np.ndarray]:
    """Errors of two forecasts of a random walk, as an R script draws them after set.seed(123)."""
    normals = r_normals(123, 300)
    actual = np.cumsum(normals[:100])
    last = np.concatenate([[0.0], actual[:-1]])
    return actual - last - 0.5 * normals[100:200], actual - last - 1.5 * normals[200:]


FIRST, SECOND = r_errors()


# -- Diebold-Mariano ---------------------------------------------------------


def test_the_errors_are_those_that_r_draws():
    np.testing.assert_allclose(r_normals(123, 3), [-0.56047565, -0.23017749, 1.55870831], atol=1e-8)
    np.testing.assert_allclose(FIRST[:2], [-0.205272364702562, -0.358619344061545], atol=1e-14)


@pytest.mark.parametrize(
    ("power", "overlap", "statistic", "p_value"),
    [
        (2, 0, -5.19425848151562, 1.10163618973918e-06),
        (1, 0, -5.68608096176618, 1.3175500842911e-07),
        (2, 2, -5.47560424036964, 3.30643651414324e-07),
    ],
)
def test_diebold_mariano_equals_dm_test_of_r(power, overlap, statistic, p_value):
    """Printed by R's forecast::dm.test(e1, e2, h = overlap + 1, power = power)."""
    found = diebold_mariano(np.abs(FIRST) ** power, np.abs(SECOND) ** power, overlap)
    assert found.statistic == pytest.approx(statistic, rel=1e-10)
    assert found.p_value == pytest.approx(p_value, rel=1e-8)
    assert (found.dates, found.undefined, found.kernel) == (100, 0, "rectangular")
    swapped = diebold_mariano(np.abs(SECOND) ** power, np.abs(FIRST) ** power, overlap)
    assert swapped[:3] == (-found.statistic, found.p_value, -found.mean_difference)


def test_a_variance_that_is_not_positive_falls_back_to_bartlett_and_says_so():
    d = np.tile([1.0, -0.8], 10) + 0.1 * np.random.default_rng(0).standard_normal(20)
    found, count = diebold_mariano(d, np.zeros(20), overlap=1), 20
    e = d - d.mean()
    gamma = [e @ e / count, e[1:] @ e[:-1] / count]
    assert gamma[0] + 2 * gamma[1] < 0
    correction = (count + 1 - 4 + 2 / count) / count
    expected = d.mean() / math.sqrt((gamma[0] + gamma[1]) / count) * math.sqrt(correction)
    assert found.kernel == "bartlett" and found.statistic == pytest.approx(expected)


def test_dates_that_one_of_the_two_lacks_are_dropped_and_counted():
    first, second = FIRST**2, SECOND**2
    gaps = first.copy()
    gaps[[3, 50]] = np.nan
    found = diebold_mariano(gaps, np.where(np.arange(100) == 7, np.nan, second), 0)
    kept = np.delete(np.arange(100), [3, 7, 50])
    assert found == diebold_mariano(first[kept], second[kept], 0)._replace(undefined=3)


@pytest.mark.parametrize(
    ("difference", "overlap", "mean"),
    [
        (np.zeros(50), 0, 0.0),
        (np.full(50, 0.1), 0, 0.1),
        (1e-16 * np.random.default_rng(0).standard_normal(50), 0, 0.0),
        (np.arange(5.0), 4, 2.0),
        (np.full(4, np.nan), 0, np.nan),
        (np.zeros(0), 0, np.nan),
    ],
)
def test_losses_that_do_not_differ_or_are_too_few_have_no_statistic(difference, overlap, mean):
    found = diebold_mariano(1 + difference, np.ones(len(difference)), overlap)
    assert math.isnan(found.statistic) and math.isnan(found.p_value)
    assert found.mean_difference == pytest.approx(mean, nan_ok=True)


@pytest.mark.parametrize("overlap", [0, 4])
def test_diebold_mariano_rejects_at_its_level_under_the_null_and_often_under_an_alternative(overlap):
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((600, 200 + overlap))
    losses = np.apply_along_axis(np.convolve, 1, noise, np.ones(overlap + 1), "valid") / math.sqrt(overlap + 1)
    null = np.mean([diebold_mariano(row, np.zeros(200), overlap).p_value < 0.05 for row in losses])
    other = np.mean([diebold_mariano(row + 0.6, np.zeros(200), overlap).p_value < 0.05 for row in losses])
    assert 0.025 < null < 0.09 and other > 0.85


# -- Clark-West --------------------------------------------------------------


@pytest.mark.parametrize("overlap", [0, 6])
def test_clark_west_equals_a_regression_on_a_constant(overlap):
    """The adjusted differences of the R script (e1 - e2 = r1 - r0), against statsmodels."""
    f = FIRST**2 - (SECOND**2 - (FIRST - SECOND) ** 2)
    found = clark_west(np.zeros(100), -FIRST, -SECOND, overlap)
    settings = {"maxlags": hac_lag(100, overlap), "use_correction": True}
    fit = OLS(f, np.ones(100)).fit(cov_type="HAC", cov_kwds=settings, use_t=True)
    assert found.mean_difference == pytest.approx(f.mean())
    assert found.standard_error == pytest.approx(fit.bse[0])
    assert found.statistic == pytest.approx(fit.tvalues[0])
    assert found.p_value == pytest.approx(stats.t.sf(fit.tvalues[0], 99))
    # Printed by R without lags, without correction and with normal p-values.
    plain = found.mean_difference / (f.std() / 10)
    assert (plain, stats.norm.sf(plain)) == pytest.approx((0.643457422044684, 0.259963667003836), rel=1e-10)


def test_clark_west_averages_over_the_firms_that_a_date_has():
    rng = np.random.default_rng(2)
    realised, restricted, unrestricted = rng.standard_normal((3, 40, 6))
    realised[0, 0] = restricted[0, 1] = unrestricted[1, 2] = np.nan
    realised[2] = np.nan
    found = clark_west(realised, restricted, unrestricted, 0)
    f = (realised - restricted) ** 2 - ((realised - unrestricted) ** 2 - (restricted - unrestricted) ** 2)
    f[2] = 0.0
    means = np.nanmean(f, axis=1)
    means[2] = np.nan
    expected = mean_inference(means, 0)
    assert (found.statistic, found.dates, found.undefined) == (pytest.approx(expected.t), 39, 1)


def test_clark_west_without_any_difference_has_no_statistic():
    forecast = np.random.default_rng(0).standard_normal((30, 5))
    for other in (forecast, forecast * (1 + 1e-15)):
        found = clark_west(forecast + 1, forecast, other, 0)
        assert math.isnan(found.p_value) and found.mean_difference == 0.0 and found.dates == 30
    assert math.isnan(clark_west([], [], [], 0).p_value)


def test_clark_west_credits_a_larger_model_for_the_noise_of_its_parameters():
    """Mean squared errors favour the restricted model under the null; Clark-West does not, and sees a true one."""
    rng = np.random.default_rng(3)
    nulls, powers, naive = [], [], []
    for _ in range(150):
        x, noise = rng.standard_normal((2, 240))
        for slope, found in ((0.0, nulls), (0.25, powers)):
            r = slope * x + noise
            products, squares = np.cumsum(x * r), np.cumsum(x * x)
            forecast = x[40:] * products[39:-1] / squares[39:-1]  # slope fitted on the past only
            found.append(clark_west(r[40:], np.zeros(200), forecast, 0).p_value < 0.05)
            naive.append(np.mean(r[40:] ** 2 - (r[40:] - forecast) ** 2)) if slope == 0 else None
    assert 0.0 < np.mean(nulls) < 0.1 and np.mean(powers) > 0.8 and np.mean(naive) < 0


# -- superior predictive ability ---------------------------------------------


def losses(gains: list[float], dates: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Losses of models that gain this much on the benchmark, and the benchmark's."""
    rng = np.random.default_rng(seed)
    benchmark = 2 + rng.standard_normal(dates)
    return benchmark[:, None] - gains + 0.5 * rng.standard_normal((dates, len(gains))), benchmark


def test_superior_predictive_ability_equals_hansen_written_out():
    models, benchmark = losses([0.0, -0.12, 0.0, 0.02], seed=6)
    found = superior_predictive_ability(models, benchmark, overlap=7, seed=5)
    gain = benchmark[:, None] - models
    means = gain[resamples(120, 8, 5)].mean(axis=1)
    errors = means.std(axis=0)
    observed = gain.mean(axis=0) / errors
    np.testing.assert_allclose(found.statistics, observed)
    # Politis and Romano's variance, for Hansen's threshold of models too bad to matter.
    e, lag = gain - gain.mean(axis=0), np.arange(1, 120)
    weights = (1 - lag / 120) * (7 / 8) ** lag + lag / 120 * (7 / 8) ** (120 - lag)
    variance = (e**2).sum(axis=0) / 120
    variance += sum(2 * w * (e[:-k] * e[k:]).sum(axis=0) / 120 for w, k in zip(weights, lag, strict=True))
    matters = gain.mean(axis=0) >= -np.sqrt(variance / 120 * 2 * math.log(math.log(120)))
    assert matters.tolist() == [True, False, True, True]
    for name, centre in (
        ("lower", np.maximum(gain.mean(axis=0), 0)),
        ("p_value", np.where(matters, gain.mean(axis=0), 0)),
        ("upper", gain.mean(axis=0)),
    ):
        simulated = ((means - centre) / errors).max(axis=1)
        assert getattr(found, name) == pytest.approx((simulated > observed.max()).mean())
    alone = ((means - gain.mean(axis=0)) / errors > observed).mean(axis=0)
    np.testing.assert_allclose(found.p_values, alone)
    assert 0 < found.lower < found.p_value < found.upper < 1 and not found.better.any()


def test_the_p_values_are_those_of_arch_where_models_vary_alike():
    """arch does not divide by the errors, which changes nothing where they are equal: models that are reflections."""
    models, benchmark = losses([0.0])
    gain = benchmark - models[:, 0] - (benchmark - models[:, 0]).mean()
    both = np.stack([benchmark - gain - 0.05, benchmark + gain], axis=1)
    found = superior_predictive_ability(both, benchmark, 0, seed=3)
    test = SPA(benchmark, both, block_size=5, reps=1000, seed=3)
    test.compute()
    assert [found.lower, found.p_value, found.upper] == pytest.approx(test.pvalues.tolist())


def test_a_loud_model_does_not_hide_one_that_is_better():
    models, benchmark = losses([0.15, 0.0])
    loud = np.column_stack([models[:, 0], benchmark + 40 * np.random.default_rng(1).standard_normal(120)])
    found = superior_predictive_ability(loud, benchmark, 0)
    assert found.p_value < 0.02 and found.better.tolist() == [True, False]


def test_a_model_equal_to_the_benchmark_is_left_out_of_the_maximum():
    models, benchmark = losses([0.0, 0.3])
    alone = superior_predictive_ability(models, benchmark, 0)
    found = superior_predictive_ability(np.column_stack([benchmark * (1 + 1e-15), models]), benchmark, 0)
    assert math.isnan(found.statistics[0]) and math.isnan(found.p_values[0]) and not found.better[0]
    np.testing.assert_array_equal(found.p_values[1:], alone.p_values)
    assert found[:3] == alone[:3] and found.better.tolist() == [False, False, True]
    nothing = superior_predictive_ability(benchmark[:, None], benchmark, 0)
    assert math.isnan(nothing.p_value) and not nothing.better.any() and nothing.dates == 120


def test_nothing_speaks_for_models_that_are_all_worse():
    found = superior_predictive_ability(*losses([-0.2, -0.5]), 0)
    assert found[:3] == (1.0, 1.0, 1.0) and (found.statistics < 0).all() and (found.p_values > 0.99).all()


def test_superior_predictive_ability_drops_undefined_dates_and_counts_them():
    models, benchmark = losses([0.0, 0.1])
    gaps, gap = models.copy(), benchmark.copy()
    gaps[4, 1] = gap[60] = np.nan
    found = superior_predictive_ability(gaps, gap, 2)
    kept = np.delete(np.arange(120), [4, 60])
    expected = superior_predictive_ability(models[kept], benchmark[kept], 2)
    assert (found.dates, found.undefined) == (118, 2)
    assert found[:3] == expected[:3]


def test_superior_predictive_ability_holds_its_level_and_has_power():
    null = [superior_predictive_ability(*losses([0.0] * 5, 80, seed), 0).p_value < 0.1 for seed in range(100)]
    other = [superior_predictive_ability(*losses([0.0, 0.0, 0.2], 80, seed), 0).p_value < 0.1 for seed in range(20)]
    assert 0.03 < np.mean(null) < 0.2 and np.mean(other) > 0.8


# -- model confidence set ----------------------------------------------------


def test_the_model_confidence_set_is_that_of_arch_and_keeps_every_p_value_in_its_column():
    models, _ = losses([-0.3, 0.05, -0.1, 0.0])
    found = model_confidence_set(models, overlap=6, size=0.2, seed=4)
    test = MCS(models, 0.2, reps=1000, block_size=7, seed=4)
    test.compute()
    assert np.flatnonzero(found.included).tolist() == test.included
    assert found.p_values.tolist() == [test.pvalues.loc[column, "Pvalue"] for column in range(4)]
    assert not found.included[0] and found.p_values[1] == 1.0


def test_equal_models_enter_once_and_share_their_result():
    models, _ = losses([0.0, -0.1, 0.02])
    plain = model_confidence_set(models, 0)
    twins = model_confidence_set(models[:, [2, 0, 1, 2, 1]] * [1, 1, 1, 1 + 1e-15, 1], 0)
    assert sorted(twins.p_values) == sorted(plain.p_values[[2, 0, 1, 2, 1]])
    assert twins.p_values[0] == twins.p_values[3] and twins.p_values[2] == twins.p_values[4]
    only = model_confidence_set(models[:, [0, 0]], 0)
    assert only.included.all() and only.p_values.tolist() == [1.0, 1.0]


def test_the_model_confidence_set_drops_undefined_dates_and_counts_them():
    models, _ = losses([0.0, -0.1, 0.02])
    gaps = models.copy()
    gaps[7, 2] = np.nan
    found = model_confidence_set(gaps, 0)
    assert found.p_values.tolist() == model_confidence_set(np.delete(models, 7, axis=0), 0).p_values.tolist()
    assert (found.dates, found.undefined) == (119, 1)


def test_the_model_confidence_set_holds_the_best_and_excludes_the_bad():
    sets = [model_confidence_set(losses([0.05, 0.0, -0.5], 100, seed)[0], 0).included for seed in range(60)]
    share = np.mean(sets, axis=0)
    assert share[0] > 0.9 and 0.5 < share[1] < 1 and share[2] == 0


# -- what is refused ---------------------------------------------------------

OK = np.random.default_rng(0).random((30, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diebold_mariano(OK[:, 0], OK[:9, 1], 0), r"one length \[t\], found \(30,\) and \(9,\)"),
        (lambda: diebold_mariano(OK, OK, 0), r"an array \[t\] without infinite numbers, found shape \(30, 2\)"),
        (lambda: clark_west(OK, OK, OK[:, 0], 0), r"one shape \[t n\] or \[t\], found"),
        (lambda: clark_west(OK, OK, OK * np.inf, 0), "must be finite and of one shape"),
        (lambda: superior_predictive_ability(OK, OK[:9, 0], 0), r"one length, found \(30, 2\) and \(9,\)"),
        (lambda: superior_predictive_ability(OK, OK[:, 0] + 1, 0), "column 0 must differ from the benchmark's by more"),
        (lambda: superior_predictive_ability(OK, OK[:, 0] * np.nan, 0), "found 0 dates of 30"),
        (lambda: superior_predictive_ability(OK, OK[:, 1], 15), "at least two blocks of 16 dates .* found 30 dates"),
        (lambda: model_confidence_set(OK[:, :1], 0), "at least two models and a size in .0, 1., found 1 and 0.1"),
        (lambda: model_confidence_set(OK, 0, size=1.0), "found 2 and 1.0"),
        (lambda: model_confidence_set(OK[:, [0, 1, 1]] + [0, 0, 1], 0), "column 2 must differ from those of column 1"),
        (lambda: model_confidence_set(OK, 15), "at least two blocks of 16 dates"),
        (lambda: bootstrap_mean(OK[:, 0], 0, "circular"), "stationary or moving, found 'circular'"),
        (lambda: seed_variance(OK[:, 0], 0), r"an array \[s t\]"),
        (lambda: seed_variance(OK[:0], 0), "at least one seed"),
    ],
)
def test_wrong_input_gets_one_clear_error(call, message):
    with pytest.raises(InputError, match=message):
        call()


# -- bootstrap of a mean -----------------------------------------------------


def test_the_stationary_interval_is_that_of_the_tables_and_the_moving_one_that_of_arch():
    series = np.random.default_rng(4).standard_normal(90)
    beside, found = mean_inference(series, 5, seed=2), bootstrap_mean(series, 5, seed=2)
    assert (found.lower, found.upper) == pytest.approx((beside.bootstrap_lower, beside.bootstrap_upper))
    moving = bootstrap_mean(np.append(series, np.nan), 5, "moving", seed=2)
    bootstrap = MovingBlockBootstrap(6, series, seed=2)
    means = bootstrap.apply(np.mean, 1000)
    assert moving.standard_error == pytest.approx(means.std())
    assert (moving.lower, moving.upper) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert (moving.block, moving.dates, moving.undefined) == (6, 90, 1)


@pytest.mark.parametrize("kind", ["stationary", "moving"])
def test_both_kinds_see_overlap_and_neither_invents_an_error(kind):
    noise = np.random.default_rng(5).standard_normal(2020)
    found = bootstrap_mean(np.convolve(noise, np.ones(21), "valid"), 20, kind)
    assert 0.6 < found.standard_error / (21 / math.sqrt(2000)) < 1.1
    for series in (np.ones(50), noise[:41], []):
        degenerate = bootstrap_mean(series, 20, kind)
        assert math.isnan(degenerate.standard_error) and math.isnan(degenerate.lower)


# -- seeds -------------------------------------------------------------------


def test_the_error_of_a_mean_is_split_by_its_formulas():
    rng = np.random.default_rng(6)
    x = 0.1 * rng.standard_normal((4, 1)) + rng.standard_normal(150) + 0.1 * rng.standard_normal((4, 150))
    x[2, 9] = np.nan
    found = seed_variance(x, 3)
    kept = np.delete(x, 9, axis=1)
    assert found.estimate == pytest.approx(kept.mean())
    assert found.sampling_error == pytest.approx(mean_inference(kept.mean(axis=0), 3).standard_error)
    assert found.seed_deviation == pytest.approx(kept.mean(axis=1).std(ddof=1))
    assert found.seed_error == pytest.approx(found.seed_deviation / 2)
    assert found.standard_error == pytest.approx(math.sqrt(found.sampling_error**2 + found.seed_error**2))
    assert (found.seeds, found.dates, found.undefined) == (4, 149, 1)


def test_one_seed_shows_nothing_of_what_seeds_bring():
    found = seed_variance([[0.1, 0.3, 0.2, 0.4]], 0)
    assert found.sampling_error > 0
    assert all(math.isnan(value) for value in (found.seed_deviation, found.seed_error, found.standard_error))
    assert math.isnan(seed_variance(np.full((2, 5), np.nan), 0).standard_error)


def test_the_whole_error_is_that_of_repeated_experiments():
    rng = np.random.default_rng(7)
    level, dates = 0.1 * rng.standard_normal((300, 5, 1)), rng.standard_normal((300, 1, 100))
    runs = level + dates + 0.3 * rng.standard_normal((300, 5, 100))
    true = runs.mean(axis=(1, 2)).std()
    found = [seed_variance(run, 0) for run in runs[:60]]
    assert np.mean([one.standard_error for one in found]) == pytest.approx(true, rel=0.15)
    assert np.mean([one.seed_deviation for one in found]) == pytest.approx(math.hypot(0.1, 0.03), rel=0.15)


# -- Fama-MacBeth ------------------------------------------------------------


def panel(dates: int = 50, firms: int = 25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    x = rng.standard_normal((dates, firms, 2))
    slopes = np.array([0.02, 0.0]) + 0.02 * rng.standard_normal((dates, 2))
    returns = 0.01 + (x * slopes[:, None]).sum(axis=2) + 0.05 * rng.standard_normal((dates, firms))
    returns[3, :5] = np.nan
    x[7, 4, 1] = np.nan
    return returns, x


@pytest.mark.parametrize("overlap", [0, 5, 60])
def test_coefficients_are_least_squares_date_by_date_and_errors_newey_and_west(overlap):
    returns, x = panel()
    found = fama_macbeth(returns, x, ["size", "value"], overlap)
    assert found.coefficients.columns.tolist() == found.summary["name"].tolist() == ["const", "size", "value"]
    for t in range(50):
        known = ~(np.isnan(returns[t]) | np.isnan(x[t]).any(axis=1))
        design = np.column_stack([np.ones(known.sum()), x[t, known]])
        expected = np.linalg.lstsq(design, returns[t, known])[0]
        np.testing.assert_allclose(found.coefficients.loc[t], expected, atol=1e-12)
    for row in found.summary.itertuples():
        one = mean_inference(found.coefficients[row.name], overlap)
        assert row[2:] == pytest.approx((one.estimate, one.standard_error, one.t, one.p_value))
    assert found.firms[[0, 3, 7]].tolist() == [25, 20, 24] and found.dropped == 0
    assert overlap or found.summary["p_value"].lt(0.05).tolist() == [True, True, False]


def test_dates_that_cannot_be_regressed_are_dropped_and_counted():
    returns, x = panel()
    x[1, :, 1] = 0.5  # does not vary
    x[2, :, 1] = 0.1 + 0.2 * (1 + 1e-16 * x[2, :, 0])  # nor does this
    x[5, :, 1] = 1e6 * x[5, :, 0] - 2  # collinear
    x[6, :, 1] *= 1e-12  # small, and sound
    returns[8, 3:] = np.nan
    found = fama_macbeth(returns, x, ["size", "value"], 0)
    assert found.dropped == 4 and sorted(set(range(50)) - set(found.coefficients.index)) == [1, 2, 5, 8]
    more = fama_macbeth(returns, x, ["size", "value"], 0, least_firms=21)
    assert more.dropped == 5 and 3 not in more.coefficients.index


def test_the_units_of_characteristics_do_not_matter():
    returns, x = panel()
    plain = fama_macbeth(returns, x, ["size", "value"], 0)
    found = fama_macbeth(returns, x * [1e12, 1e-6], ["size", "value"], 0)
    np.testing.assert_allclose(found.coefficients * [1, 1e12, 1e-6], plain.coefficients, rtol=1e-9)
    np.testing.assert_allclose(found.summary["standard_error"] * [1, 1e12, 1e-6], plain.summary["standard_error"])
    np.testing.assert_allclose(found.summary["t"], plain.summary["t"], rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["size"]}, r"for 1 names, found \(50, 25\) and \(50, 25, 2\)"),
        ({"names": ["size", "size"]}, "unique and other than 'const', found"),
        ({"names": ["const", "size"]}, "unique and other than 'const', found"),
        ({"least_firms": 26}, "at least 4 dates with 26 firms or more .* found 0 of 50"),
        ({"returns": np.full((50, 25), np.inf)}, "must be finite or NaN"),
        ({"returns": np.zeros(50)}, r"returns .t n. and characteristics .t n k."),
    ],
)
def test_a_regression_that_cannot_be_run_is_refused(change, message):
    returns, x = panel()
    given = {"returns": returns, "characteristics": x, "names": ["size", "value"], "overlap": 0} | change
    with pytest.raises(InputError, match=message):
        fama_macbeth(**given)
