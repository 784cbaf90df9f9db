import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import linear_model

from finattn.baselines import HistoricalMean, Ridge, SICKernel, Zero, sic_kernel
from finattn.baselines.sic_kernel import peer_matrix, slope_on, trailing_returns
from finattn.baselines.tabular import Tabular, flat_window
from finattn.blocks import Block, Blocks, Scaling, observed
from finattn.config import TargetConfig
from finattn.data.sic import industry_levels
from finattn.errors import InputError
from finattn.features import rank
from finattn.kernel_model import gaussian_kernel
from finattn.panel import Panel

TRAIN, VALID, TEST = np.arange(30, 250), np.arange(252, 300), np.arange(302, 410)
TARGET = TargetConfig(horizon=2)


def cut(panel, target=TARGET):
    scaling = Scaling.fit(panel, TRAIN)
    return [Blocks(panel, rows, scaling, target) for rows in (TRAIN, VALID, TEST)]


def observed_at(panel, row):
    return panel.listed[row] & np.isfinite(panel.returns[row])


def mean_rank_ic(scores, realised):
    """Mean over dates of Spearman's correlation, date by date."""
    values = []
    for score, outcome in zip(scores, realised, strict=True):
        both = np.isfinite(score) & np.isfinite(outcome)
        if both.sum() > 1 and np.ptp(score[both]) > 0:
            values.append(stats.spearmanr(score[both], outcome[both]).statistic)
    return np.mean(values)


# -- simple ------------------------------------------------------------


def test_zero_is_zero_where_a_firm_is_observed(panel):
    train, valid, test = cut(panel)
    forecast = Zero().fit(train, valid).predict(test)
    assert np.isnan(forecast[~test.observed]).all() and (forecast[test.observed] == 0).all()


@pytest.mark.parametrize("horizon", [1, 5])
def test_the_historical_mean_equals_a_loop(panel, horizon):
    train, valid, test = cut(panel, TargetConfig(horizon))
    forecast = HistoricalMean().fit(train, valid).predict(test)
    for place, firm in itertools.product((0, 40, 107), range(panel.shape[1])):
        row = TEST[place]
        past = [panel.returns[s, firm] for s in range(row + 1) if observed_at(panel, s)[firm]]
        if observed_at(panel, row)[firm]:
            assert forecast[place, firm] == pytest.approx(horizon * np.mean(past), abs=1e-15)
        else:
            assert np.isnan(forecast[place, firm])


def test_the_units_of_forecasts():
    assert (Zero.units, HistoricalMean.units, Ridge.units, SICKernel.units) == ("return", "return", "score", "score")


# -- ridge ------------------------------------------------------------


def window_matrix(blocks, lookback):
    """X [p n f] by its definition, row by row."""
    panel = blocks.panel
    x = blocks.scaling.apply(panel, slice(0, len(panel))).astype(float)
    rows = []
    for row in blocks.positions:
        for firm in range(panel.shape[1]):
            lags = [x[s, firm, channel] if s >= 0 else 0.0
                    for channel in (0, 1) for s in range(row - lookback + 1, row + 1)]  # fmt: skip
            rows.append([*lags, *x[row, firm, 2:]])
    return np.array(rows).reshape(len(blocks.positions), panel.shape[1], -1)


def standardised(blocks):
    """Forward returns of each date in units of their cross-section's standard deviation."""
    target = blocks.realised
    mean, deviation = np.nanmean(target, axis=1, keepdims=True), np.nanstd(target, axis=1, keepdims=True)
    return (target - mean) / deviation


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("lookback", [1, 4])
def test_ridge_equals_scikit_learns_on_the_explicit_matrix(panel, strength, lookback):
    train, valid, test = cut(panel)
    ridge = Ridge([strength], lookback).fit(train, valid)
    x, y = window_matrix(train, lookback), standardised(train)
    known = ~np.isnan(y)
    theirs = linear_model.Ridge(alpha=strength * known.sum(), fit_intercept=False, solver="svd")
    theirs.fit(x[known], y[known])
    scores = np.where(test.observed, theirs.predict(window_matrix(test, lookback).reshape(-1, x.shape[2])).reshape(
        test.observed.shape), np.nan)  # fmt: skip
    np.testing.assert_allclose(ridge.predict(test), scores, atol=1e-6)


@pytest.mark.parametrize("lookback", [1, 4])
def test_the_flat_window_holds_what_it_says_by_date_and_firm(panel, lookback):
    train, _, _ = cut(panel)
    x, y = window_matrix(train, lookback), standardised(train)
    known = ~np.isnan(y)
    table = flat_window(train, lookback)
    np.testing.assert_array_equal(table.x, x[known])
    np.testing.assert_allclose(table.y, y[known], atol=1e-12)
    rows, columns = np.nonzero(known)
    assert (table.dates == train.dates[rows]).all() and (table.firms == panel.firms[columns]).all()


def test_the_flat_window_of_some_dates_is_the_rows_of_these_dates(panel):
    train, _, _ = cut(panel)
    whole, some = flat_window(train, 4), flat_window(train.at(TRAIN[::5]), 4)
    there = np.isin(whole.dates, some.dates)
    np.testing.assert_array_equal(some.x, whole.x[there])
    np.testing.assert_array_equal(some.y, whole.y[there])


@pytest.mark.parametrize("most_rows", [None, 300])
def test_the_flat_window_does_not_know_the_order_of_firms(panel, most_rows):
    order = np.random.default_rng(0).permutation(panel.shape[1])
    one, other = (flat_window(cut(some)[0], 4, most_rows) for some in (panel, panel[:, order]))
    assert (one.firms == other.firms).all() and (one.dates == other.dates).all()
    np.testing.assert_allclose(one.x, other.x, atol=1e-6)


def test_rows_beyond_the_most_are_drawn_by_seed(panel):
    train, _, _ = cut(panel)
    whole, drawn = flat_window(train, 4), flat_window(train, 4, most_rows=300, seed=1)
    names = [[*zip(table.dates, table.firms, strict=True)] for table in (whole, drawn)]
    places = [names[0].index(name) for name in names[1]]
    assert len(places) == 300 and places == sorted(set(places)) and max(places) > 2000 > 300 > min(places)
    np.testing.assert_array_equal(drawn.x, whole.x[places])
    np.testing.assert_array_equal(drawn.y, whole.y[places])
    np.testing.assert_array_equal(flat_window(train, 4, 300, seed=1).x, drawn.x)
    assert (flat_window(train, 4, 300, seed=2).y != drawn.y).any()
    assert len(flat_window(train, 4, len(whole.y)).y) == len(whole.y)


@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_ridge_equals_scikit_learns_as_a_rung_of_its_own(panel, strength):
    train, valid, test = cut(panel)
    count = len(flat_window(train, 5).y)
    theirs = Tabular(linear_model.Ridge(alpha=strength * count, fit_intercept=False), lookback=5).fit(train, valid)
    np.testing.assert_allclose(theirs.predict(test), Ridge([strength], 5).fit(train, valid).predict(test), atol=1e-9)


def test_ridge_sees_nothing_before_the_panels_first_row(panel):
    train, valid, _ = cut(panel)
    ridge, early = Ridge([0.1], 4).fit(train, valid), train.at(np.arange(6))
    expected = window_matrix(early, 4) @ ridge.coefficients
    np.testing.assert_allclose(ridge.predict(early)[early.observed], expected[early.observed], atol=1e-9)


def test_ridge_chooses_by_the_validation_rank_ic(panel):
    train, valid, _ = cut(panel)
    strengths = (1e-3, 1e-1, 1.0, 100.0)
    chosen = Ridge(strengths, 5).fit(train, valid).chosen
    skill = [mean_rank_ic(Ridge([s], 5).fit(train, valid).predict(valid), valid.realised) for s in strengths]
    assert chosen["strength"] == strengths[int(np.argmax(skill))]
    assert chosen["valid_rank_ic"] == pytest.approx(max(skill), abs=1e-9)


def without_returns(panel, rows):
    returns = panel.returns.copy()
    returns[rows] = np.nan
    return panel.replace(returns=returns)


def test_ridge_refuses_training_dates_without_targets(panel):
    scaling = Scaling.fit(panel, TRAIN)
    empty = Blocks(without_returns(panel, np.arange(31, 260, 2)), TRAIN, scaling, TARGET)
    with pytest.raises(InputError, match="a forecaster must have observed targets to fit on, found none"):
        Ridge(lookback=2).fit(empty, empty)


@pytest.mark.parametrize("make", [lambda: Ridge(lookback=5), lambda: SICKernel((1, 5), (0.5, 2.0))])
def test_the_choice_does_not_see_test_outcomes(panel, make):
    train, valid, _ = cut(panel)
    returns = panel.returns.copy()
    returns[VALID[-1] + TARGET.horizon + 1 :] *= -0.9
    changed_train, changed_valid, _ = cut(panel.replace(returns=returns))
    assert make().fit(train, valid).chosen == make().fit(changed_train, changed_valid).chosen


# -- industry peers ------------------------------------------------------------


def brute_peers(panel, row, firm, minimum):
    """Positions of a firm's peers, from the text of the rule."""
    codes, here = panel.industry[row], observed_at(panel, row)
    divisions = ((100, 999), (1000, 1499), (1500, 1799), (2000, 3999), (4000, 4999), (5000, 5199), (5200, 5999),
                 (6000, 6799), (7000, 8999), (9100, 9999))  # fmt: skip

    def group(code, level):
        if level < 3:
            return code // 10**level
        return next((place for place, (a, b) in enumerate(divisions, 1) if a <= code <= b), 0)

    for enough in (minimum, 1):
        for level in range(4):
            own = group(codes[firm], level)
            found = [j for j in range(len(codes)) if j != firm and here[j] and own and group(codes[j], level) == own]
            if len(found) >= enough:
                return found
    return []


def brute_trailing(panel, row, firm, window):
    days = [s for s in range(max(row - window + 1, 0), row + 1) if observed_at(panel, s)[firm]]
    return np.prod([1 + panel.returns[s, firm] for s in days]) - 1


def brute_average(panel, row, window, bandwidth, minimum):
    """Each observed firm's peers' weighted mean return at one date; firms without peers get the others' mean."""
    here = observed_at(panel, row)
    places = np.nan_to_num(
        np.stack([rank(panel.features[[row], :, f], here[None])[0] for f in range(panel.features.shape[2])], axis=1)
    )
    result = np.full(panel.shape[1], np.nan)
    for firm in np.flatnonzero(here):
        peers = brute_peers(panel, row, firm, minimum)
        if peers:
            distance = [((places[firm] - places[j]) ** 2).sum() for j in peers]
            weights = [1.0 if bandwidth is None else np.exp(-d / (2 * bandwidth**2)) for d in distance]
            result[firm] = np.average([brute_trailing(panel, row, j, window) for j in peers], weights=weights)
    result[here & np.isnan(result)] = np.nanmean(result) if (~np.isnan(result)).any() else 0.0
    return result


def varied(panel):
    """The panel with codes that need every level, change in time, and are unknown for some."""
    codes = np.array([2834, 2834, 2834, 2835, 2836, 2890, 3571, 6021, 6022, 7370, 0, 9995])
    industry = np.tile(codes, (len(panel), 1))
    industry[330:, 0], industry[350:, 9], industry[360:, 3] = 6021, 0, 2834
    return panel.replace(industry=industry)


@pytest.mark.parametrize("minimum", [1, 2, 3])
@pytest.mark.parametrize("bandwidth", [None, 0.25, 1.0])
@pytest.mark.parametrize("window", [1, 5])
def test_peers_averages_equal_loops_over_firms(panel, window, bandwidth, minimum):
    varied_panel = varied(panel)
    train, valid, test = cut(varied_panel)
    baseline = SICKernel([window], [] if bandwidth is None else [bandwidth], minimum).fit(train, valid)
    forecast = baseline.predict(test)
    for row in (302, 329, 330, 345, 359, 360, 409):
        expected = baseline.slope * brute_average(varied_panel, row, window, bandwidth, minimum)
        np.testing.assert_allclose(forecast[row - TEST[0]], expected, atol=1e-12)


def test_levels_fall_back_until_there_are_peers_enough():
    codes = np.array([2834, 2834, 2834, 2835, 2836, 2890, 3571, 6021, 6022, 7370, 0])
    peers = peer_matrix(industry_levels(codes, "sic"), np.ones(11, bool), minimum_peers=2)
    assert [np.flatnonzero(row).tolist() for row in peers] == [
        [1, 2], [0, 2], [0, 1],  # four digits
        [0, 1, 2, 4], [0, 1, 2, 3],  # three
        [0, 1, 2, 3, 4],  # two
        [0, 1, 2, 3, 4, 5],  # the division, manufacturing
        [8], [7],  # never two: the finest level with any
        [], [],  # alone in its division; unknown
    ]  # fmt: skip


def test_a_slope_fits_forward_returns_on_averages_within_dates(panel):
    train, valid, _ = cut(panel)
    baseline = SICKernel([5], []).fit(train, valid)
    x = np.stack([brute_average(panel, row, 5, None, 2) for row in TRAIN])
    y = train.realised
    known = ~np.isnan(x * y)
    dates = np.repeat(np.arange(len(TRAIN)), known.sum(axis=1))
    centre = [v[known] - (np.bincount(dates, v[known]) / np.bincount(dates))[dates] for v in (x, y)]
    assert baseline.slope == pytest.approx(np.polyfit(*centre, 1)[0], rel=1e-9)


def test_the_slope_by_hand():
    average, realised = np.array([[1.0, 2.0, 3.0], [0.0, 9.0, 2.0]]), np.array([[0.2, 0.4, 0.6], [0.1, np.nan, 0.5]])
    assert slope_on(average, realised) == pytest.approx((0.4 + 0.4) / (2 + 2))
    assert slope_on(np.ones((2, 3)), realised) == 0


def test_window_and_bandwidth_are_chosen_by_the_validation_rank_ic(panel):
    train, valid, _ = cut(panel)
    windows, bandwidths = (1, 5, 21), (0.25, 1.0)
    chosen = SICKernel(windows, bandwidths).fit(train, valid).chosen
    skill = {
        (k, h): mean_rank_ic(SICKernel([k], [h]).fit(train, valid).predict(valid), valid.realised)
        for k in windows
        for h in bandwidths
    }
    assert (chosen["window"], chosen["bandwidth"]) == max(skill, key=skill.get)
    assert chosen["valid_rank_ic"] == pytest.approx(max(skill.values()), abs=1e-9)
    assert "bandwidth" not in SICKernel(windows, ()).fit(train, valid).chosen


def test_a_date_on_which_nobody_has_peers_is_forecast_zero(panel):
    everyone_unknown = np.where(np.arange(len(panel))[:, None] < 300, panel.industry, 0)
    train, valid, test = cut(panel.replace(industry=everyone_unknown))
    forecast = SICKernel([1]).fit(train, valid).predict(test)
    assert (forecast[test.observed] == 0).all()


def test_trailing_returns_compound_the_observed_days():
    returns = np.array([[0.1, 0.5], [0.2, 0.5], [np.nan, 0.1], [0.5, 0.2]])
    listed = np.array([[True, False], [True, False], [True, True], [True, True]])
    panel = Panel(np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]"), ["A", "B"], returns, listed)
    found = trailing_returns(panel, np.array([0, 1, 3]), 3)
    np.testing.assert_allclose(found, [[0.1, 0.0], [1.1 * 1.2 - 1, 0.0], [1.2 * 1.5 - 1, 1.1 * 1.2 - 1]])
    np.testing.assert_allclose(trailing_returns(panel, np.array([3]), 1), [[0.5, 0.2]])


def test_no_firm_is_its_own_peer_and_absent_firms_are_nobodys():
    levels, here = np.array([[5, 5, 5, 6], [1, 1, 1, 1]]), np.array([True, True, False, True])
    peers = peer_matrix(levels, here, minimum_peers=2)
    assert not peers.diagonal().any() and not peers[:, 2].any()
    assert peers[0].tolist() == [False, True, False, True]  # one at the fine level is too few: the coarse one
    assert peer_matrix(levels, here, minimum_peers=1)[0].tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("changes", "bandwidths", "message"),
    [
        ({"industry": None}, (), "SIC peers need industry codes, found a panel without any"),
        (
            {"features": None, "feature_names": ()},
            (0.5,),
            "the SIC kernel needs characteristics, found a panel without",
        ),
    ],
)
def test_panels_without_what_peers_need_are_refused(panel, changes, bandwidths, message):
    train, valid, _ = cut(panel.replace(**changes))
    with pytest.raises(InputError, match=message):
        SICKernel((1,), bandwidths).fit(train, valid)


def test_gics_codes_have_their_own_levels(panel):
    codes = np.resize([45102010, 45102020, 45103010, 20101010], panel.shape[1])
    gics = panel.replace(industry=np.tile(codes, (len(panel), 1)), industry_scheme="gics")
    train, valid, test = cut(gics)
    forecast = SICKernel([1], (), minimum_peers=6).fit(train, valid)
    row, here = 310, observed_at(gics, 310)
    peers = [j for j in np.flatnonzero(here) if j != 4 and codes[j] // 10**4 == 4510]  # the industry group
    expected = forecast.slope * gics.returns[row, peers].mean()
    assert len(peers) >= 6 > (codes[peers] // 100 == codes[4] // 100).sum()
    assert forecast.predict(test)[row - 302, 4] == pytest.approx(expected)


# -- the SIC kernel is attention ------------------------------------------------------------


@pytest.mark.parametrize(("window", "bandwidth"), [(1, 0.25), (5, 0.5), (21, 2.0)])
def test_the_sic_kernel_is_attention_with_fixed_characteristics_as_keys(panel, window, bandwidth):
    rows = np.arange(80, 260, 3)
    kernel = SICKernel((window,), (bandwidth,), minimum_peers=2)
    blocks = Blocks(panel, rows, Scaling.fit(panel, rows), TargetConfig())
    kernel.choice, kernel.slope = (window, bandwidth), -0.7
    here, places = observed(panel, rows), sic_kernel.ranked_places(panel, rows)
    levels = [industry_levels(panel.industry[row], "sic") for row in rows]
    peers = np.stack([sic_kernel.peer_matrix(*pair, 2) for pair in zip(levels, here, strict=True)])
    lagged = sic_kernel.trailing_returns(panel, rows, window)
    x = np.concatenate([places, (places**2).sum(2, keepdims=True), lagged[:, :, None]], axis=2)
    empty, every = torch.zeros(here.shape), torch.ones(len(rows)) > 0
    block = Block(
        torch.from_numpy(x), torch.from_numpy(here), empty, empty > 0, empty[..., None].int(), every,
        torch.from_numpy(rows), torch.arange(here.shape[1]), neighbours=torch.from_numpy(peers),
    )  # fmt: skip
    model = gaussian_kernel(places.shape[2], bandwidth, slope=-0.7).double()
    assert len(model.layers) == 1 and not model.config.residual and not model.config.feed_forward
    with torch.no_grad():
        found = model(block).numpy()
    alone = here & ~peers.any(axis=2)  # the baseline gives them the mean of the others
    expected = np.where(alone, 0.0, kernel.predict(blocks))
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-6)
    assert alone.any() and np.nanstd(found) > 1e-4


def test_a_bandwidth_must_be_above_zero():
    with pytest.raises(InputError, match="bandwidth must be above zero, found 0.0"):
        gaussian_kernel(2, bandwidth=0.0)
