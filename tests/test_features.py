"""Characteristics against their textbook definitions, written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn import features
from finattn.errors import InputError
from finattn.features import CHARACTERISTICS, build, rank, raw
from finattn.panel import Panel

NAMES = tuple(CHARACTERISTICS)
CELLS = [(299, 0), (310, 3), (329, 5)]
few = settings(max_examples=20, deadline=None, derandomize=True)


def make(days: int = 330, firms: int = 6, gaps: float = 0.02, seed: int = 0) -> Panel:
    random = np.random.default_rng(seed)
    returns = 0.01 * random.standard_normal((days, 1)) + 0.02 * random.standard_normal((days, firms))
    returns[random.random((days, firms)) < gaps] = np.nan
    listed = np.ones((days, firms), bool)
    listed[250:, 1] = False
    listed[:40, 2] = False
    dates = np.busday_offset("2001-01-01", np.arange(days), roll="forward")
    return Panel(dates, [f"F{i}" for i in range(firms)], returns, listed=listed)


@pytest.fixture(scope="module")
def toy() -> Panel:
    return make()


def window(panel: Panel, t: int, n: int, first: int, last: int = 0) -> np.ndarray:
    """Return the firm's known returns of rows t - first + 1 to t - last."""
    values = panel.returns[t - first + 1 : t - last + 1, n]
    return values[~np.isnan(values)]


def market(panel: Panel, t: int, n: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the firm's and the equal-weighted market's returns where the firm's is known."""
    rows = slice(t - length + 1, t + 1)
    mean = np.nanmean(np.where(panel.listed[rows], panel.returns[rows], np.nan), axis=1)
    known = ~np.isnan(panel.returns[rows, n])
    return panel.returns[rows, n][known], mean[known]


def written_out(panel: Panel, name: str, t: int, n: int) -> float:
    year = window(panel, t, n, 252)
    month = window(panel, t, n, 21)
    if name == "momentum":  # months t-12 to t-2: 252 rows less the last 21
        return np.prod(1 + window(panel, t, n, 252, 21)) - 1
    if name == "reversal":
        return np.prod(1 + month) - 1
    if name == "volatility":
        return np.sqrt(252 * np.mean(year**2))
    if name == "maximum_return":
        return month.max()
    if name == "drawdown":  # from the highest of the year's closes, of which the earliest is row t - 251's
        closes = np.cumprod(1 + year)
        return closes[-1] / closes.max() - 1
    firm, index = market(panel, t, n, 252 if name == "beta" else 21)
    slope, constant = np.polyfit(index, firm, 1)
    return slope if name == "beta" else (firm - constant - slope * index).std()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("t, n", CELLS)
def test_characteristics_are_their_textbook_definitions(toy, name, t, n):
    n += int(np.isnan(toy.returns[t, n]))  # a firm whose close is known
    assert raw(toy, name)[t, n] == pytest.approx(written_out(toy, name, t, n), rel=1e-9, abs=1e-13)


def test_beta_to_the_market_of_a_firm_that_is_the_market_is_one():
    returns = np.random.default_rng(0).normal(0, 0.01, (260, 1)) * [[1, 1, 1]]
    panel = make(260, 3, 0).replace(returns=returns, listed=np.ones((260, 3), bool))
    assert raw(panel, "beta")[-1] == pytest.approx([1, 1, 1])
    assert raw(panel, "idiosyncratic_volatility")[-1] == pytest.approx([0, 0, 0], abs=1e-8)


def test_a_constant_market_has_no_beta():
    panel = make(260, 3, 0).replace(returns=np.full((260, 3), 0.01), listed=None)
    assert np.isnan(raw(panel, "beta")).all()
    assert raw(panel, "drawdown")[-1] == pytest.approx([0, 0, 0], abs=0)


@pytest.mark.parametrize(
    "name, first",
    [
        ("momentum", 21 + 154 - 1),
        ("reversal", 13),
        ("volatility", 167),
        ("beta", 167),
        ("idiosyncratic_volatility", 13),
        ("maximum_return", 13),
        ("drawdown", 167),
    ],
)
def test_a_characteristic_begins_with_two_thirds_of_its_window(name, first):
    values = raw(make(200, 4, 0).replace(listed=None), name)
    assert np.isnan(values[:first]).all() and np.isfinite(values[first:]).all()


def test_a_total_loss_is_a_return_of_minus_one_while_its_window_holds_it():
    returns = np.full((330, 2), 0.001)
    returns[260, 0] = -1
    panel = make(330, 3, 0)[:, :2].replace(returns=returns, listed=np.ones((330, 2), bool))
    reversal, momentum, drawdown = (raw(panel, name)[:, 0] for name in ("reversal", "momentum", "drawdown"))
    assert (reversal[260:281] == -1).all() and reversal[281] == pytest.approx(1.001**21 - 1)
    assert (momentum[281:] == -1).all() and momentum[280] > 0
    assert (drawdown[260:] == -1).all() and drawdown[259] == 0
    assert (raw(panel, "reversal")[20:, 1] > 0).all()


FUTURES = {
    "noise": lambda later: np.random.default_rng(5).normal(0, 0.2, later.shape).clip(-1),
    "missing": lambda later: np.full_like(later, np.nan),
    "total losses": lambda later: np.full_like(later, -1.0),
    "enormous": lambda later: np.where(np.arange(later.size).reshape(later.shape) % 2, 1e300, 0.0) * 1e-4,
}


@pytest.mark.parametrize("future", FUTURES.values(), ids=FUTURES.keys())
@pytest.mark.parametrize("t", [200, 280, 328])
def test_characteristics_do_not_change_when_the_future_does(toy, future, t):
    returns, listed = np.array(toy.returns), np.array(toy.listed)
    returns[t + 1 :] = future(returns[t + 1 :])
    listed[t + 1 :] = ~listed[t + 1 :]
    # The percent check looks at the whole panel, so enormous returns go in without it.
    other = toy._unchecked({"returns": returns, "listed": listed})
    with np.errstate(all="ignore"):
        for name in NAMES:
            before, after = raw(toy, name)[: t + 1], raw(other, name)[: t + 1]
            assert before.tobytes() == after.tobytes(), name


def test_built_features_do_not_change_when_the_future_is_cut_off(toy):
    whole = build(toy, NAMES).features
    assert build(toy[:281], NAMES).features.tobytes() == whole[:281].tobytes()


def test_returns_of_days_on_which_a_firm_is_not_listed_change_nothing(toy):
    returns = np.where(toy.listed, toy.returns, 0.5)
    np.testing.assert_array_equal(build(toy.replace(returns=returns), NAMES).features, build(toy, NAMES).features)


def test_missing_stays_missing(toy):
    built = build(toy, NAMES)
    assert np.isnan(built.features[:, :, 0][:174]).all()
    assert np.isnan(built.features[~toy.listed]).all()
    for f, name in enumerate(NAMES):
        expected = np.isfinite(raw(toy, name)) & toy.listed & np.isfinite(toy.returns)
        np.testing.assert_array_equal(np.isfinite(built.features[:, :, f]), expected)
    returns = np.array(toy.returns)
    returns[:, 4] = np.nan
    assert np.isnan(build(toy.replace(returns=returns), NAMES).features[:, 4]).all()


def test_ranks_span_minus_one_to_one_and_are_centred(toy):
    values = build(toy, NAMES).features
    assert np.nanmin(values) == -1 and np.nanmax(values) == 1
    assert np.abs(np.nansum(values, axis=1)).max() < 1e-5


@pytest.mark.parametrize(
    "row, expected",
    [
        ([3, 1, np.nan, 2], [1, -1, np.nan, 0]),
        ([5, 5, 5, 5], [0, 0, 0, 0]),
        ([1, 2, 2, 3], [-1, 0, 0, 1]),
        ([1, 1, 2, 2], [-2 / 3, -2 / 3, 2 / 3, 2 / 3]),
        ([7, np.nan, np.nan, np.nan], [0, np.nan, np.nan, np.nan]),
        ([np.nan] * 4, [np.nan] * 4),
        ([-0.0, 0.0, 1e-300, -1e-300], [0, 0, 1, -1]),
    ],
)
def test_ties_share_the_mean_of_their_ranks(row, expected):
    ranked = rank(np.array([row], float), np.ones((1, 4), bool))[0]
    np.testing.assert_allclose(ranked, expected, atol=1e-15)


def test_firms_that_are_not_listed_do_not_move_the_ranks_of_others():
    values, listed = np.array([[1.0, 2.0, 3.0, 99.0]]), np.array([[True, True, True, False]])
    np.testing.assert_array_equal(rank(values, listed), [[-1, 0, 1, np.nan]])


@few
@given(st.permutations(range(6)), st.integers(0, 5))
def test_permuting_firms_permutes_ranks(order, seed):
    random = np.random.default_rng(seed)
    values = random.integers(0, 4, (20, 6)).astype(float)
    values[random.random((20, 6)) < 0.2] = np.nan
    listed = random.random((20, 6)) < 0.8
    np.testing.assert_array_equal(rank(values[:, order], listed[:, order]), rank(values, listed)[:, order])


def test_permuting_firms_permutes_features(toy):
    order = [3, 1, 5, 0, 2, 4]
    ours, theirs = build(toy, NAMES).features[:, order], build(toy[:, order], NAMES).features
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_rank_is_kept_by_any_rising_function():
    values = np.random.default_rng(0).standard_normal((5, 7))
    np.testing.assert_array_equal(rank(np.exp(values), values < 9), rank(values, values < 9))


def test_new_features_follow_the_old_which_stay_as_they_are(toy):
    size = np.random.default_rng(0).standard_normal((330, 6, 1)) * 1e200  # no float32 holds it
    panel = build(toy.replace(features=size, feature_names=("size",)), ("reversal", "beta"))
    assert panel.feature_names == ("size", "reversal", "beta")
    np.testing.assert_array_equal(panel.features[:, :, :1], size)
    again = build(build(toy, ("reversal",)), ("beta",))
    np.testing.assert_array_equal(again.features, build(toy, ("reversal", "beta")).features)
    assert again.features.dtype == np.float32


def test_no_characteristics_change_nothing(toy):
    assert build(toy, ()).fingerprint == toy.fingerprint


# -- features that the panel has ------------------------------------------------------------


def with_columns(panel: Panel, *names: str, seed: int = 3) -> Panel:
    """Return the panel with features in units of their own, missing here and there."""
    random = np.random.default_rng(seed)
    values = 10.0 ** random.uniform(3, 9, (*panel.shape, len(names)))
    values[random.random(values.shape) < 0.1] = np.nan
    return panel.replace(features=values, feature_names=names)


def test_a_feature_that_is_named_is_ranked_in_its_place_and_the_others_stay(toy):
    panel = with_columns(toy, "assets", "sales", "debt")
    before = with_columns(toy, "assets", "sales", "debt").fingerprint
    built = build(panel, ("reversal", "debt", "assets"))
    assert built.feature_names == ("assets", "sales", "debt", "reversal")
    observed = panel.listed & np.isfinite(panel.returns)
    for place in (0, 2):
        expected = rank(panel.features[:, :, place], observed)
        np.testing.assert_array_equal(built.features[:, :, place], expected)
        assert np.nanmax(expected) == 1 and np.isnan(expected[~observed]).all()
    np.testing.assert_array_equal(built.features[:, :, 1], panel.features[:, :, 1])
    np.testing.assert_array_equal(built.features[:, :, 3], build(toy, ("reversal",)).features[:, :, 0])
    assert panel.fingerprint == before


def test_a_feature_goes_before_a_characteristic_of_its_name_and_ranks_are_their_own_ranks(toy):
    panel = with_columns(toy, "reversal")
    built = build(panel, ("reversal",))
    assert built.feature_names == ("reversal",)
    np.testing.assert_array_equal(built.features[:, :, 0], rank(panel.features[:, :, 0], np.isfinite(toy.returns)
                                                                & toy.listed))  # fmt: skip
    twice = build(built, ("reversal",))
    assert twice.fingerprint == built.fingerprint
    once = build(toy, NAMES)
    assert build(once, NAMES).fingerprint == once.fingerprint


def test_ranks_of_a_feature_do_not_change_when_the_future_does(toy):
    panel = with_columns(toy, "assets")
    values = np.array(panel.features)
    values[281:] = -(values[281:] ** 2)
    other = panel.replace(features=values)
    for changed in (other, panel[:281]):
        np.testing.assert_array_equal(
            build(changed, ("assets",)).features[:281], build(panel, ("assets",)).features[:281]
        )


def test_only_characteristics_need_daily_data(toy):
    monthly = with_columns(toy, "assets").replace(periods_per_year=12)
    assert np.nanmin(build(monthly, ("assets",)).features) == -1
    with pytest.raises(InputError, match="found periods_per_year 12: leave momentum, beta out of features, and give"):
        build(monthly, ("momentum", "assets", "beta"))


@pytest.mark.parametrize(
    "names, message",
    [
        (("momentum", "momentm"), "features must be among momentum, .*, drawdown, assets, found momentm$"),
        (("beta", "beta"), "features must be named once, found beta again"),
        (("assets", "beta", "assets", "beta"), "features must be named once, found assets, beta again"),
        ("assets", "features must be a list of names, found the text 'assets'"),
    ],
)
def test_refuses_names_unknown_or_repeated(toy, names, message):
    with pytest.raises(InputError, match=message):
        build(with_columns(toy, "assets"), names)


def test_every_characteristic_names_its_source():
    for name, function in CHARACTERISTICS.items():
        assert any(year in function.__doc__ for year in ("19", "20")), name
    assert features.YEAR == 12 * features.MONTH
