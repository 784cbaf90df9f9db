import math
import warnings

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StationaryBootstrap
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests

from finattn import evaluation, metrics
from finattn.errors import InputError
from finattn.evaluation import tables
from finattn.evaluation.inference import one_sided
from finattn.forecasts import COLUMNS, Forecasts

DATES, FIRMS = 60, 15
METRICS = [
    "ic", "rank_ic", "icir", "r2", "hit_rate", "sign_hit_rate", "sign_hit_excess", "quantile_spread",
    "precision_excess", "calibration_slope", "icir_annual",
]  # fmt: skip


def rows(model: str, seed: int, score: np.ndarray, prediction: np.ndarray, realised: np.ndarray) -> pd.DataFrame:
    dates, firms = score.shape
    days = (np.datetime64("2020-01-06") + 7 * np.arange(dates)).astype("datetime64[s]")
    columns = {
        "date": np.repeat(days, firms),
        "firm": [f"F{i:02d}" for i in range(firms)] * dates,
        "model": model,
        "fold": 0,
        "seed": seed,
        "score": score.ravel(),
        "prediction": prediction.ravel(),
        "realised": realised.ravel(),
    }
    return pd.DataFrame(columns)[list(COLUMNS)]


def make(overlap: int = 0, skill: float = 0.5, unknown: int = 3) -> Forecasts:
    """Four models: zero, a weak one, two seeds of a better one, and that one's order in another unit."""
    rng = np.random.default_rng(3)
    signal, noise = rng.standard_normal((2, DATES, FIRMS))
    realised = 0.02 * (skill * signal + noise)
    realised[-unknown:] = np.nan
    better = [signal + 0.5 * rng.standard_normal(signal.shape) for _ in range(2)]
    weak = signal + 3 * rng.standard_normal(signal.shape)
    zero = np.zeros_like(signal)
    parts = [rows("zero", 0, zero, zero, realised), rows("ridge", 0, weak, 0.003 * weak, realised)]
    parts += [rows("both", k, s, 0.008 * s, realised) for k, s in enumerate(better)]
    parts += [rows("scaled", 0, 0.3 * sum(better), 0.004 * sum(better), realised)]
    return Forecasts(pd.concat(parts, ignore_index=True), 5, 0, overlap, 252)


FORECASTS = make()


def pick(table: pd.DataFrame, model: str, metric: str) -> pd.Series:
    return table[(table["model"] == model) & (table["metric"] == metric)].iloc[0]


# -- inference ---------------------------------------------------------------


@pytest.mark.parametrize(("dates", "overlap", "lag"), [(100, 0, 4), (100, 5, 10), (400, 0, 5), (5000, 0, 9), (1, 0, 1)])
def test_the_hac_lag_follows_its_formula(dates, overlap, lag):
    assert evaluation.hac_lag(dates, overlap) == lag


@pytest.mark.parametrize(("dates", "overlap", "block"), [(27, 0, 3), (28, 0, 4), (1000, 0, 10), (1000, 62, 63)])
def test_the_mean_block_is_at_least_the_overlap_and_one(dates, overlap, block):
    assert evaluation.mean_block(dates, overlap) == block


@pytest.mark.parametrize("overlap", [0, 4])
def test_the_standard_error_equals_newey_and_west_written_out(overlap):
    x = np.random.default_rng(0).standard_normal(80).cumsum()[::2]
    found = evaluation.mean_inference(x, overlap)
    lag, count = evaluation.hac_lag(len(x), overlap), len(x)
    residual = x - x.mean()
    variance = residual @ residual
    for j in range(1, lag + 1):
        variance += 2 * (1 - j / (lag + 1)) * (residual[j:] @ residual[:-j])
    error = math.sqrt(variance / count**2 * count / (count - 1))
    assert found.estimate == pytest.approx(x.mean())
    assert found.standard_error == pytest.approx(error)
    assert found.t == pytest.approx(x.mean() / error)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(found.t), count - 1))
    half = stats.t.ppf(0.975, count - 1) * error
    assert (found.lower, found.upper) == pytest.approx((x.mean() - half, x.mean() + half))


def test_the_bootstrap_equals_that_of_arch():
    x = np.random.default_rng(4).standard_normal(50)
    found = evaluation.mean_inference(x, 6, seed=11)
    bootstrap = StationaryBootstrap(7, x, seed=11)
    expected = bootstrap.conf_int(lambda sample: sample.mean(keepdims=True), 1000, "percentile")[:, 0]
    assert (found.bootstrap_lower, found.bootstrap_upper) == pytest.approx(tuple(expected))


def test_the_bootstrap_is_seeded_and_near_the_plain_interval_for_independent_dates():
    x = np.random.default_rng(1).standard_normal(2000)
    one, two, other = (evaluation.mean_inference(x, 0, seed) for seed in (0, 0, 1))
    assert one == two and one.bootstrap_lower != other.bootstrap_lower
    half = 1.96 / math.sqrt(2000)
    assert one.bootstrap_upper - one.bootstrap_lower == pytest.approx(2 * half, rel=0.15)
    assert one.bootstrap_lower < one.estimate < one.bootstrap_upper


def test_overlapping_targets_widen_both_intervals():
    noise = np.random.default_rng(2).standard_normal(1020)
    x = np.convolve(noise, np.ones(21), "valid")
    naive, found = evaluation.mean_inference(x, 0), evaluation.mean_inference(x, 20)
    assert found.standard_error > 1.3 * naive.standard_error
    assert found.bootstrap_upper - found.bootstrap_lower > naive.bootstrap_upper - naive.bootstrap_lower


@pytest.mark.parametrize(
    ("series", "estimate", "dates", "undefined"),
    [
        ([0.1] * 50, 0.1, 50, 0),
        ([0.1 + 0.2, 0.3, 0.3, 0.3], 0.3, 4, 0),
        ([0.0, 0.0, 0.0, np.nan], 0.0, 3, 1),
        ([0.1, 0.3], 0.2, 2, 0),
        ([0.1], 0.1, 1, 0),
        ([np.nan, np.nan], np.nan, 0, 2),
        ([], np.nan, 0, 0),
    ],
)
def test_a_series_too_short_or_constant_has_a_mean_and_no_errors(series, estimate, dates, undefined):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluation.mean_inference(series, 3)
    assert found.estimate == pytest.approx(estimate, nan_ok=True)
    assert all(math.isnan(value) for value in found[1:8])
    assert (found.dates, found.undefined) == (dates, undefined)


def test_the_lag_is_at_most_that_of_the_last_date():
    x = np.array([0.1, 0.3, 0.4, 0.1])
    e = x - x.mean()
    variance = e @ e + 2 * sum((1 - j / 4) * (e[j:] @ e[:-j]) for j in (1, 2, 3))
    assert evaluation.mean_inference(x, 60).standard_error == pytest.approx(math.sqrt(variance / 16 * 4 / 3))


@pytest.mark.parametrize("series", [[[0.1, 0.2]], [0.1, np.inf]])
def test_a_series_with_two_axes_or_infinities_is_refused(series):
    with pytest.raises(InputError, match="a series .t. without infinite numbers, found shape"):
        evaluation.mean_inference(series, 0)


@pytest.mark.parametrize("seed", range(20))
def test_holm_equals_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(1 + seed % 12) ** 3, 2)  # small ones, and ties
    np.testing.assert_allclose(evaluation.holm(p), multipletests(p, method="holm")[1], atol=1e-15)


def test_holm_does_not_count_what_was_not_tested():
    np.testing.assert_array_equal(evaluation.holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
    assert np.isnan(evaluation.holm([np.nan])).all()
    with pytest.raises(InputError, match="p-values between 0 and 1"):
        evaluation.holm([1.2])


# -- tables ------------------------------------------------------------------


def test_per_date_holds_the_metrics_of_seed_averages_where_outcomes_are_known():
    table = evaluation.per_date(FORECASTS)
    wide = FORECASTS.wide("both")
    both = table[table["model"] == "both"]
    assert len(both) == DATES - 3 and set(table["firms"]) == {FIRMS}
    known = slice(0, DATES - 3)
    np.testing.assert_array_equal(both["date"].to_numpy(), wide.dates[known])
    expected = [stats.spearmanr(s, r).statistic for s, r in zip(wide.score[known], wide.realised[known], strict=True)]
    np.testing.assert_allclose(both["rank_ic"], expected, atol=1e-13)
    losses = metrics.squared_losses(wide.prediction[known], wide.realised[known])
    np.testing.assert_array_equal(both[["loss_model", "loss_zero"]].to_numpy().T, losses)
    assert table[table["model"] == "zero"][["ic", "rank_ic", "hit_rate"]].isna().all(axis=None)
    undefined = ["sign_hit_rate", "sign_hit_excess", "quantile_spread", "precision_excess", "cross", "square"]
    assert table[table["model"] == "zero"][undefined].isna().all(axis=None)


def test_per_date_equals_pandas_and_scipy_where_forecasts_and_outcomes_have_gaps():
    rng = np.random.default_rng(8)
    score, realised = np.round(rng.standard_normal((2, 20, 30)), 1)
    realised = np.where(rng.random(realised.shape) < 0.2, np.nan, realised / 10)
    table = rows("ridge", 0, score, score, realised)
    table = table[rng.random(len(table)) < 0.9]
    found = evaluation.per_date(Forecasts(table.sample(frac=1.0, random_state=0), 1, 0, 0, 252)).set_index("date")
    known = table.dropna()
    by_date = {date: (group["score"], group["realised"]) for date, group in known.groupby("date")}
    for metric, reference in (("ic", stats.pearsonr), ("rank_ic", stats.spearmanr)):
        expected = [reference(*pair).statistic for pair in by_date.values()]
        np.testing.assert_allclose(found[metric], expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(found["firms"], known.groupby("date").size())
    np.testing.assert_array_equal(found["firms"] + found["unknown"], table.groupby("date").size())


def fixed() -> Forecasts:
    """Six Mondays of ten firms, written as arithmetic so that any package can be given the same numbers."""
    t, i = np.indices((6, 10))
    score, realised = (37 * i + 11 * t * i + 5 * t) % 101 / 100, (53 * i + 29 * t * i * i + 17 * t) % 97 / 1000 - 0.04
    table = rows("ridge", 0, score, score, realised)
    days = np.datetime64("2020-11-30") + 7 * t
    return Forecasts(table.assign(date=days.ravel().astype("datetime64[s]")), 5, 0, 0, 252)


def test_rank_ics_and_quantile_spreads_are_those_of_alphalens():
    # alphalens-reloaded 0.5.1: performance.factor_information_coefficient, and compute_mean_returns_spread(5, 1) of
    # mean_return_by_quantile(by_date=True, demeaned=False), which is half the difference of the two means
    rank_ic = [0.16363636363636364, -0.2121212121212121, 0.35757575757575755, -0.042683720332337284,
               0.11515151515151514, 0.7385489458759963]  # fmt: skip
    spread = [0.01125, -0.00675, 0.02375, 0.005, 0.0055, 0.002]
    found = evaluation.per_date(fixed())
    np.testing.assert_allclose(found["rank_ic"], rank_ic, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found["quantile_spread"] / 2, spread, rtol=0, atol=1e-14)
    assert pick(evaluation.summary(fixed()), "ridge", "rank_ic")["estimate"] == pytest.approx(0.18668460829768052)


@pytest.mark.parametrize("piece", [1, 2 * FIRMS, 7 * FIRMS + 3])
def test_metrics_do_not_depend_on_the_pieces_in_which_dates_are_gone_through(monkeypatch, piece):
    whole = evaluation.per_date(FORECASTS)
    monkeypatch.setattr(tables, "_PIECE", piece)
    pd.testing.assert_frame_equal(evaluation.per_date(FORECASTS), whole, rtol=1e-12)


def test_quantiles_and_k_reach_the_metrics():
    wide, plain = FORECASTS.wide("both"), evaluation.per_date(FORECASTS)
    changed = evaluation.per_date(FORECASTS, quantiles=3, k=2)
    known = slice(0, DATES - 3)
    score, realised = wide.score[known], wide.realised[known]
    for table, quantiles, k in ((plain, 5, FIRMS // 5), (changed, 3, 2)):
        both = table[table["model"] == "both"]
        np.testing.assert_allclose(both["quantile_spread"], metrics.quantile_spread(score, realised, quantiles))
        precision, base_rate = metrics.precision_at_k(score, realised, k)
        np.testing.assert_allclose(both["precision_excess"], precision - base_rate)
    same = ["ic", "rank_ic", "hit_rate", "sign_hit_rate", "cross", "loss_model"]
    pd.testing.assert_frame_equal(plain[same], changed[same])
    for table in (evaluation.summary(FORECASTS, 3, 2), evaluation.evaluate(FORECASTS, (), quantiles=3, k=2)):
        expected = changed.groupby("model")["precision_excess"].mean()["both"]
        assert pick(table, "both", "precision_excess")["estimate"] == pytest.approx(expected)
    with pytest.raises(InputError, match="quantiles must be at least 2, found 0"):
        evaluation.per_date(FORECASTS, quantiles=0)


def test_the_summary_has_the_schema_of_the_metrics_file():
    table = evaluation.summary(FORECASTS)
    assert tuple(table.columns) == evaluation.COLUMNS
    assert table["against"].isna().all() and table["p_holm"].isna().all()
    assert table.groupby("model", sort=False).size().to_dict() == dict.fromkeys(FORECASTS.models, len(METRICS))
    assert table["metric"].tolist() == METRICS * len(FORECASTS.models)


def test_summaries_are_means_over_dates_and_r2_is_pooled():
    table, dates = evaluation.summary(FORECASTS), evaluation.per_date(FORECASTS)
    one = dates[dates["model"] == "both"]
    for metric in ("ic", "rank_ic", "hit_rate"):
        assert pick(table, "both", metric)["estimate"] == pytest.approx(one[metric].mean())
    assert pick(table, "both", "icir")["estimate"] == pytest.approx(one["rank_ic"].mean() / one["rank_ic"].std())
    pooled = 1 - one["loss_model"].sum() / one["loss_zero"].sum()
    assert pick(table, "both", "r2")["estimate"] == pytest.approx(pooled)
    ic = pick(table, "both", "rank_ic")
    settings_ = {"maxlags": evaluation.hac_lag(len(one), 0), "use_correction": True}
    fit = OLS(one["rank_ic"].to_numpy(), np.ones(len(one))).fit(cov_type="HAC", cov_kwds=settings_)
    assert ic["standard_error"] == pytest.approx(fit.bse[0])
    assert ic["dates"] == DATES - 3 and ic["undefined"] == 0


def test_the_hit_rate_is_tested_against_chance():
    hit = pick(evaluation.summary(FORECASTS), "both", "hit_rate")
    assert hit["t"] == pytest.approx((hit["estimate"] - 0.5) / hit["standard_error"])
    assert hit["lower"] < hit["estimate"] < hit["upper"]
    assert hit["bootstrap_lower"] < hit["estimate"] < hit["bootstrap_upper"]


def test_the_error_of_icir_is_that_of_the_delta_method_for_independent_normal_dates():
    rank_ic = 0.05 + 0.1 * np.random.default_rng(5).standard_normal(4000)
    from finattn.evaluation.tables import _icir

    found = _icir(pd.DataFrame({"rank_ic": rank_ic}), 0)
    ratio = rank_ic.mean() / rank_ic.std(ddof=1)
    assert found.estimate == pytest.approx(ratio)
    assert found.standard_error == pytest.approx(math.sqrt((1 + ratio**2 / 2) / 4000), rel=0.1)


@pytest.mark.parametrize(
    ("horizon", "step", "a_year"),
    [(5, 7, 252 / 5), (1, 7, 365.25 / 7), (21, 7, 12.0), (5, 28, 365.25 / 28)],
)
def test_icir_is_annualised_by_the_targets_in_a_year_that_share_no_row(horizon, step, a_year):
    table = FORECASTS.table.copy()
    table["date"] = table["date"].min() + (table["date"] - table["date"].min()) / 7 * step
    found = evaluation.summary(Forecasts(table, horizon, 0, 0, 252))
    icir, annual = (pick(found, "both", metric) for metric in ("icir", "icir_annual"))
    scaled = ["estimate", "standard_error", "lower", "upper", "bootstrap_lower", "bootstrap_upper"]
    np.testing.assert_allclose(annual[scaled].astype(float), math.sqrt(a_year) * icir[scaled].astype(float))
    assert annual[["t", "p_value", "dates"]].tolist() == icir[["t", "p_value", "dates"]].tolist()


@pytest.mark.parametrize("overlap", [0, 6])
def test_the_calibration_slope_and_its_error_are_those_of_driscoll_and_kraay(overlap):
    found = pick(evaluation.summary(make(overlap)), "ridge", "calibration_slope")
    wide = FORECASTS.wide("ridge")
    count = DATES - 3
    x, y = (a[:count] - a[:count].mean(axis=1, keepdims=True) for a in (wide.prediction, wide.realised))
    lags = {"time": np.repeat(np.arange(count), FIRMS), "maxlags": evaluation.hac_lag(count, overlap)}
    fit = OLS(y.ravel(), x.ravel()).fit(cov_type="hac-groupsum", cov_kwds=lags | {"use_correction": False})
    assert found["estimate"] == pytest.approx(fit.params[0], rel=1e-10)
    assert found["standard_error"] == pytest.approx(fit.bse[0] * math.sqrt(count / (count - 1)), rel=1e-10)
    assert found["t"] == pytest.approx((found["estimate"] - 1) / found["standard_error"])
    assert found["lower"] < found["estimate"] < found["upper"]


def test_predictions_that_are_right_on_average_are_calibrated_and_doubled_ones_have_half_the_slope():
    rng = np.random.default_rng(2)
    prediction = 0.02 * rng.standard_normal((200, FIRMS)) + 0.01 * rng.standard_normal((200, 1))
    realised = prediction + 0.02 * rng.standard_normal(prediction.shape) + 0.05 * rng.standard_normal((200, 1))
    parts = [rows(name, 0, prediction, k * prediction, realised) for name, k in (("right", 1), ("double", 2))]
    found = evaluation.summary(Forecasts(pd.concat(parts), 1, 0, 0, 252))
    right, double = (pick(found, model, "calibration_slope") for model in ("right", "double"))
    assert abs(right["estimate"] - 1) < 3 * right["standard_error"] < 0.1 and right["p_value"] > 0.01
    assert double["estimate"] == pytest.approx(right["estimate"] / 2) and double["p_value"] < 1e-6


def test_the_sign_hit_rate_is_judged_against_a_half_and_its_excess_against_the_base_rates():
    table, found = evaluation.per_date(FORECASTS), evaluation.summary(FORECASTS)
    both = table[table["model"] == "both"]
    rate, excess = pick(found, "both", "sign_hit_rate"), pick(found, "both", "sign_hit_excess")
    assert rate["estimate"] == pytest.approx(both["sign_hit_rate"].mean())
    assert rate["t"] == pytest.approx((rate["estimate"] - 0.5) / rate["standard_error"])
    assert excess["t"] == pytest.approx(both["sign_hit_excess"].mean() / excess["standard_error"])
    wide = FORECASTS.wide("both")
    p, q = (np.mean(a[: DATES - 3] > 0, axis=1) for a in (wide.prediction, wide.realised))
    np.testing.assert_allclose(both["sign_hit_rate"] - both["sign_hit_excess"], p * q + (1 - p) * (1 - q))


def test_forecasts_whose_outcome_is_not_known_are_counted():
    table = FORECASTS.table.copy()
    table.loc[(table["firm"] < "F04") & (table["date"] == table["date"].min()), "realised"] = np.nan
    found = evaluation.per_date(Forecasts(table, 5, 0, 0, 252))
    first = found[found["date"] == found["date"].min()]
    assert set(first["unknown"]) == {4} and set(first["firms"]) == {FIRMS - 4}
    assert (found.loc[found["date"] > found["date"].min(), "unknown"] == 0).all()


def test_the_zero_model_has_no_ic_and_an_r2_of_zero():
    table = evaluation.summary(FORECASTS)
    for metric in ("ic", "rank_ic", "icir", "hit_rate"):
        row = pick(table, "zero", metric)
        assert math.isnan(row["estimate"]) and row["dates"] == 0 and row["undefined"] == DATES - 3
    r2 = pick(table, "zero", "r2")
    assert r2["estimate"] == 0.0 and math.isnan(r2["p_value"]) and r2["undefined"] == 0


def test_differences_are_paired_by_date_and_adjusted_over_the_other_models():
    found = evaluation.differences(FORECASTS, "ridge")
    assert found["model"].tolist() == ["zero", "both", "scaled"] and set(found["against"]) == {"ridge"}
    dates = evaluation.per_date(FORECASTS).pivot(index="date", columns="model", values="rank_ic")
    expected = evaluation.mean_inference(dates["both"] - dates["ridge"], 0)
    row = pick(found, "both", "rank_ic")
    assert row[["estimate", "standard_error", "p_value"]].tolist() == pytest.approx(
        list(expected[:2]) + [expected.p_value]
    )
    np.testing.assert_allclose(found["p_holm"], multipletests(found["p_value"], method="holm")[1])


@pytest.mark.parametrize(("metric", "worth"), [("ic", 0.0), ("rank_ic", 0.0), ("hit_rate", 0.5)])
def test_an_undefined_date_counts_as_a_forecast_without_content(metric, worth):
    row = pick(evaluation.differences(FORECASTS, "zero", metric), "ridge", metric)
    level = pick(evaluation.summary(FORECASTS), "ridge", metric)
    assert row["estimate"] == pytest.approx(level["estimate"] - worth)
    assert row["dates"] == row["undefined"] == DATES - 3


def test_the_difference_of_r2_is_the_difference_of_the_levels():
    row, levels = pick(evaluation.differences(FORECASTS, "ridge", "r2"), "both", "r2"), evaluation.summary(FORECASTS)
    expected = pick(levels, "both", "r2")["estimate"] - pick(levels, "ridge", "r2")["estimate"]
    assert row["estimate"] == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["ic", "rank_ic", "hit_rate", "r2"])
def test_models_that_say_the_same_in_another_unit_do_not_differ(metric):
    row = pick(evaluation.differences(FORECASTS, "both", metric), "scaled", metric)
    assert row["estimate"] == 0.0 and math.isnan(row["p_value"]) and math.isnan(row["p_holm"])


def test_the_primary_comparison_is_one_sided():
    better, worse = evaluation.primary(FORECASTS, "both", "ridge"), evaluation.primary(FORECASTS, "ridge", "both")
    assert better.estimate.estimate == -worse.estimate.estimate > 0
    assert better.p_one_sided == pytest.approx(better.estimate.p_value / 2)
    assert better.p_one_sided + worse.p_one_sided == pytest.approx(1)
    assert better.claim and not worse.claim
    nothing = evaluation.primary(FORECASTS, "both", "scaled")
    assert math.isnan(nothing.p_one_sided) and not nothing.claim
    assert math.isnan(one_sided(evaluation.mean_inference([], 0)))


def test_evaluate_stacks_levels_and_differences():
    table = evaluation.evaluate(FORECASTS, against=("ridge", "zero"))
    assert tuple(table.columns) == evaluation.COLUMNS
    assert len(table) == 4 * len(METRICS) + 2 * 4 * 3
    levels = table[table["against"].isna()].reset_index(drop=True)
    pd.testing.assert_frame_equal(levels, evaluation.summary(FORECASTS))
    some = table[(table["against"] == "zero") & (table["metric"] == "r2")].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, evaluation.differences(FORECASTS, "zero", "r2"))


def test_overlap_reaches_the_errors():
    plain, overlapping = evaluation.summary(FORECASTS), evaluation.summary(make(overlap=10))
    row = pick(overlapping, "both", "rank_ic")
    assert row["estimate"] == pick(plain, "both", "rank_ic")["estimate"]
    assert row["standard_error"] != pick(plain, "both", "rank_ic")["standard_error"]


def test_outcomes_that_are_all_zero_leave_r2_undefined():
    zero = np.zeros((5, FIRMS))
    table = evaluation.summary(Forecasts(rows("ridge", 0, zero, zero, zero), 1, 0, 0, 12))
    assert table["estimate"].isna().all() and (table["undefined"] == 5).all()


def test_forecasts_without_any_known_outcome_give_empty_tables():
    nothing = np.zeros((5, FIRMS))
    forecasts = Forecasts(rows("ridge", 0, nothing, nothing, nothing * np.nan), 1, 0, 0, 12)
    assert evaluation.per_date(forecasts).empty
    assert evaluation.summary(forecasts).empty


def test_a_single_model_can_be_evaluated_against_itself():
    varied = np.tile(np.arange(FIRMS, dtype=float), (5, 1))
    forecasts = Forecasts(rows("ridge", 0, varied, varied, varied), 1, 0, 0, 12)
    table = evaluation.evaluate(forecasts, against=("ridge",))
    assert table["against"].isna().all() and len(table) == len(METRICS)
    assert table.dtypes.equals(evaluation.evaluate(FORECASTS, against=("ridge",)).dtypes)


def test_wrong_questions_are_refused():
    with pytest.raises(InputError, match="one of the metrics ic, rank_ic, hit_rate, r2, found 'sharpe'"):
        evaluation.differences(FORECASTS, "ridge", "sharpe")
    with pytest.raises(
        InputError, match="one of the models zero, ridge, both, scaled with known outcomes, found 'lstm'"
    ):
        evaluation.evaluate(FORECASTS, against=("lstm",))


def test_models_judged_on_different_firms_are_not_compared():
    table = FORECASTS.table
    fewer = table[(table["model"] != "ridge") | (table["firm"] != "F03") | (table["date"] > "2020-01-20")]
    forecasts = Forecasts(fewer, 5, 0, 0, 252)
    message = "found 15 firms of 'both' and 14 of 'ridge' on 2020-01-06 and 2 other dates that differ"
    with pytest.raises(InputError, match=message):
        evaluation.primary(forecasts, "both", "ridge")
    absent = table[(table["model"] != "ridge") | (table["date"] > "2020-01-06")]
    with pytest.raises(InputError, match="found 15 firms of 'both' and 0 of 'ridge' on 2020-01-06"):
        evaluation.primary(Forecasts(absent, 5, 0, 0, 252), "both", "ridge")
