import math

import numpy as np
import pandas as pd
import pytest
import waves
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finattn.errors import InputError
from finattn.evaluation.performance import portfolio_summary
from finattn.evaluation.portfolio import COLUMNS as DAILY
from finattn.evaluation.portfolio import backtest, earned, holdings, portfolio
from finattn.evaluation.weights import Scheme, quantile_weights, target_weights
from finattn.forecasts import COLUMNS, Forecasts
from finattn.panel import Panel

ROWS, FIRMS = 40, 12


def make_panel(seed: int = 0, rows: int = ROWS, firms: int = FIRMS, listed=None, scale: float = 0.05) -> Panel:
    rng = np.random.default_rng(seed)
    returns = scale * rng.standard_normal((rows, firms)).clip(-3, 3)
    return Panel(
        dates=np.datetime64("2020-01-01") + np.arange(rows),
        firms=[f"F{i:02d}" for i in range(firms)],
        returns=returns,
        listed=listed,
    )


def make_forecasts(panel: Panel, decisions, score: np.ndarray, horizon: int = 1, model: str = "ridge") -> Forecasts:
    decisions = np.asarray(decisions)
    place = np.argwhere(~np.isnan(score))
    columns = {
        "date": panel.dates[decisions[place[:, 0]]].astype("datetime64[s]"),
        "firm": panel.firms[place[:, 1]].astype(str),
        "model": model,
        "fold": 0,
        "seed": 0,
        "score": score[~np.isnan(score)],
        "prediction": 0.0,
        "realised": np.nan,
    }
    return Forecasts(pd.DataFrame(columns)[list(COLUMNS)], horizon, 0, 0, 252)


def random_case(seed: int, horizon: int, step: int, absent: float = 0.1):
    """Draw a panel with gaps and delistings, and forecasts every `step` rows."""
    rng = np.random.default_rng(seed)
    panel = make_panel(seed)
    returns, listed = panel.returns.copy(), np.ones(panel.shape, bool)
    returns[rng.random(panel.shape) < 0.05] = np.nan
    for firm in (1, 4):
        listed[rng.integers(5, ROWS) :, firm] = False
    panel = panel.replace(returns=returns, listed=listed)
    decisions = np.arange(3, ROWS - 4, step)
    score = rng.standard_normal((len(decisions), FIRMS))
    score[rng.random(score.shape) < absent] = np.nan
    return panel, decisions, score, make_forecasts(panel, decisions, score, horizon)


def in_money(panel: Panel, decisions, score, tranches: int, delay: int, last: int):
    """Account in money instead of weights: an independent way to the same daily returns."""
    book, cash = np.zeros((tranches, panel.shape[1])), 1.0
    found, done = [], 0
    for row in range(decisions[0] + delay, last + 1):
        before = cash + book.sum()
        book = book * (1 + np.nan_to_num(panel.returns[row]))
        after = cash + book.sum()
        cash += book[:, ~panel.listed[row]].sum()
        book[:, ~panel.listed[row]] = 0
        traded = 0.0
        for k in np.flatnonzero(decisions + delay == row):
            target = quantile_weights(score[k : k + 1], 3)[0] / tranches * after * panel.listed[row]
            slot = done % tranches
            traded, done = np.abs(target - book[slot]).sum(), done + 1
            cash += book[slot].sum() - target.sum()
            book[slot] = target
        found.append((after / before - 1, traded / after))
    return np.array(found)


# -- weights -----------------------------------------------------------------


def test_each_side_holds_an_equal_weighted_quantile():
    weights = quantile_weights([np.arange(10.0)], 5)[0]
    np.testing.assert_array_equal(weights, [-0.5, -0.5, 0, 0, 0, 0, 0, 0, 0.5, 0.5])


def test_places_are_rounded_down_and_absent_firms_hold_nothing():
    weights = quantile_weights([[np.nan, 3, 1, 2, np.nan, 4, 5, 6, 7, 8]], 5)[0]
    np.testing.assert_array_equal(weights, [0, 0, -1, 0, 0, 0, 0, 0, 0, 1])


def test_ties_at_the_edge_share_the_places_that_are_left():
    weights = quantile_weights([[0, 1, 1, 1, 5, 9]], 3)[0]
    np.testing.assert_allclose(weights, [-1 / 2, -1 / 6, -1 / 6, -1 / 6, 1 / 2, 1 / 2])


def test_firms_that_tie_at_both_edges_hold_the_difference():
    weights = quantile_weights([[1, 1, 1, 1, 1, 9]], 3)[0]
    np.testing.assert_allclose(weights, [0.5 / 5 - 1 / 5] * 5 + [0.5])


@pytest.mark.parametrize(
    "score",
    [[0.3, 0.3, 0.3, 0.3], [0.1 + 0.2, 0.3, 0.3, 0.3], [1.0, 2.0, np.nan, np.nan], [np.nan] * 4],
    ids=["constant", "constant up to rounding", "fewer firms than quantiles", "no firm"],
)
def test_there_is_no_position_without_an_order(score):
    np.testing.assert_array_equal(quantile_weights([score], 3), np.zeros((1, 4)))


@given(seed=st.integers(0, 10**6), quantiles=st.integers(2, 12))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_weights_are_balanced_bounded_and_follow_the_firms(seed, quantiles):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 6, (4, 17)).astype(float)
    score[rng.random(score.shape) < 0.2] = np.nan
    weights, order = quantile_weights(score, quantiles), rng.permutation(17)
    np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-12)
    assert (np.abs(weights).sum(axis=1) <= 2 + 1e-12).all()
    np.testing.assert_array_equal(quantile_weights(score[:, order], quantiles), weights[:, order])
    np.testing.assert_allclose(quantile_weights(-score, quantiles), -weights, atol=1e-15)
    for values, weight in zip(score, weights, strict=True):
        held = ~np.isnan(values)
        assert (np.diff(weight[held][np.argsort(values[held])]) >= -1e-12).all()


# -- accounting --------------------------------------------------------------


def test_a_book_worked_by_hand():
    returns = np.array([[0.5, 0.5, 0.5], [0.10, 0.0, -0.20], [0.0, 0.3, 0.10], [0.2, 0.0, 0.0], [0.9, 0.9, 0.9]])
    panel = Panel(dates=np.datetime64("2020-01-01") + np.arange(5), firms=["A", "B", "C"], returns=returns)
    forecasts = make_forecasts(panel, [0, 2], np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0]]), horizon=2)
    daily = portfolio(forecasts, panel, quantiles=3, cost=0.01)
    # Row 0: buy 1 of A, sell 1 of C. Row 1: +0.1 + 0.2 = 0.3 on 1. Then A is 1.1/1.3, C -0.8/1.3 of the book.
    # Row 2: -0.08/1.3; the book is 1.22: A 1.1, C -0.88; now A 1, B -1: trade |1 - 1.1/1.22| + 1 + 0.88/1.22.
    # Row 3: +0.2. Row 4 (one period after the last decision): A 1.2/1.2 = 1, B -1/1.2, so 0.9 (1 - 1/1.2).
    np.testing.assert_allclose(
        daily["gross"], [0.0, 0.3, -0.08 / 1.3, 0.2, 0.9 * (1 - 1 / 1.2)], rtol=1e-12, atol=1e-15
    )
    traded = [2.0, 0.0, (1.22 - 1.1) / 1.22 + 1 + 0.88 / 1.22, 0.0, 0.0]
    np.testing.assert_allclose(daily["turnover"], traded, rtol=1e-12)
    np.testing.assert_allclose(daily["net"], daily["gross"] - 0.01 * daily["turnover"], rtol=1e-12)
    assert daily["long_count"].tolist() == [0, 1, 1, 1, 1] == daily["short_count"].tolist()
    assert list(daily) == ["date", "model", "delay", "gross", "net", "turnover", "long_count", "short_count"]
    np.testing.assert_array_equal(daily["date"].to_numpy(), panel.dates)


@given(seed=st.integers(0, 10**6), shape=st.sampled_from([(1, 1), (5, 1), (5, 5), (12, 4)]), delay=st.integers(0, 2))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_accounting_in_weights_equals_accounting_in_money(seed, shape, delay):
    horizon, step = shape
    panel, decisions, score, forecasts = random_case(seed, horizon, step)
    daily = portfolio(forecasts, panel, quantiles=3, delay=delay)
    expected = in_money(
        panel, decisions, score, round(horizon / step), delay, min(decisions[-1] + delay + step, ROWS - 1)
    )
    np.testing.assert_allclose(daily[["gross", "turnover"]], expected, rtol=1e-9, atol=1e-12)
    assert daily.notna().all(axis=None) and (daily["delay"] == delay).all()


@pytest.mark.parametrize("delay", [0, 1])
def test_what_comes_later_does_not_change_what_was_earned(delay):
    panel, decisions, score, forecasts = random_case(7, 5, 1)
    daily = portfolio(forecasts, panel, quantiles=3, delay=delay).set_index("date")
    row = 20
    later = score.copy()
    later[decisions >= row - delay] *= -1  # decisions after rows <= row - 1 - delay
    returns, listed = panel.returns.copy(), panel.listed.copy()
    returns[row + 1 :], listed[row + 1 :] = -0.5, False
    other = panel.replace(returns=returns, listed=listed)
    changed = portfolio(make_forecasts(panel, decisions, later, 5), other, quantiles=3, delay=delay).set_index("date")
    until, columns = slice(None, pd.Timestamp(panel.dates[row])), ["gross", "long_count", "short_count"]
    pd.testing.assert_frame_equal(changed.loc[until, columns], daily.loc[until, columns])
    assert not changed["gross"].equals(daily["gross"])


def test_the_first_return_earned_is_that_of_the_row_after_the_trade():
    panel = make_panel()
    score = np.arange(FIRMS, dtype=float)[None]
    for delay in (0, 1, 3):
        daily = portfolio(make_forecasts(panel, [10], score), panel, quantiles=FIRMS, delay=delay)
        first = 10 + delay + 1
        assert daily["gross"].tolist() == pytest.approx([0.0, panel.returns[first, -1] - panel.returns[first, 0]])


def test_the_order_of_firms_in_the_panel_does_not_matter():
    panel, *_, forecasts = random_case(3, 5, 1)
    order = np.random.default_rng(0).permutation(FIRMS)
    expected, found = portfolio(forecasts, panel), portfolio(forecasts, panel[:, order])
    pd.testing.assert_frame_equal(found, expected, rtol=1e-12, atol=1e-14)


def test_overlapping_tranches_build_up_and_hold_the_last_h_decisions():
    panel = make_panel(scale=0.0)
    decisions = np.arange(5, 20)
    score = np.random.default_rng(0).standard_normal((len(decisions), FIRMS))
    daily = portfolio(make_forecasts(panel, decisions, score, horizon=5), panel, quantiles=4)
    target = quantile_weights(score, 4) / 5
    expected = [np.abs(target[k] - (target[k - 5] if k >= 5 else 0)).sum() for k in range(len(target))]
    np.testing.assert_allclose(daily["turnover"], [*expected, 0.0], atol=1e-12)
    np.testing.assert_allclose(daily["turnover"][:5], 0.4)


def test_a_delisted_firm_earns_its_last_return_and_becomes_cash():
    returns = np.zeros((6, 3))
    returns[2, 0], returns[4:, 0] = -0.4, 9.0
    listed = np.ones((6, 3), bool)
    listed[2:, 0] = False
    panel = Panel(
        dates=np.datetime64("2020-01-01") + np.arange(6), firms=["A", "B", "C"], returns=returns, listed=listed
    )
    daily = portfolio(make_forecasts(panel, [0, 5], np.array([[3.0, 2, 1]] * 2)), panel, quantiles=3)
    np.testing.assert_allclose(daily["gross"], [0, 0, -0.4, 0, 0, 0], atol=1e-15)
    assert daily["long_count"].tolist() == [0, 1, 1, 0, 0, 0]
    # At the second decision the firm cannot be bought: only the short side is brought back to its weight.
    assert daily["turnover"].tolist() == pytest.approx([2, 0, 0, 0, 0, 1 / 0.6 - 1])


def test_a_firm_that_is_delisted_between_decision_and_trade_is_not_bought():
    listed = np.ones((ROWS, FIRMS), bool)
    listed[11:, FIRMS - 1] = False
    panel = make_panel(listed=listed)
    forecasts = make_forecasts(panel, [10], np.arange(FIRMS, dtype=float)[None])
    daily = portfolio(forecasts, panel, quantiles=FIRMS, delay=1)
    assert daily["turnover"].iloc[0] == 1.0 and daily["long_count"].tolist() == [0, 0]


def test_a_missing_return_of_a_listed_firm_counts_as_zero():
    panel = make_panel()
    returns = panel.returns.copy()
    returns[11, -1] = np.nan
    forecasts = make_forecasts(panel, [10], np.arange(FIRMS, dtype=float)[None])
    daily = portfolio(forecasts, panel.replace(returns=returns), quantiles=FIRMS)
    assert daily["gross"].iloc[1] == pytest.approx(-returns[11, 0])


def test_a_book_that_loses_everything_stays_in_cash():
    returns = np.zeros((8, 3))
    returns[2, 2] = 4.0
    returns[3:] = 0.1
    panel = Panel(dates=np.datetime64("2020-01-01") + np.arange(8), firms=["A", "B", "C"], returns=returns)
    daily = portfolio(make_forecasts(panel, [1, 3, 5], np.array([[3.0, 2, 1]] * 3)), panel, quantiles=3)
    assert daily["gross"].tolist() == [0, -1, 0, 0, 0, 0, 0]
    assert daily["turnover"].sum() == 2.0


def test_a_model_without_opinion_holds_nothing():
    panel = make_panel()
    zero = make_forecasts(panel, [3, 4, 5], np.zeros((3, FIRMS)), model="zero")
    daily = portfolio(zero, panel)
    assert (daily[["gross", "net", "turnover", "long_count", "short_count"]] == 0).all(axis=None)
    table = portfolio_summary(daily, 252)
    assert table["sharpe"].isna().all() and (table["max_drawdown"] == 0).all()


def test_every_model_is_traded_on_its_own():
    panel, decisions, score, one = random_case(1, 5, 1)
    two = make_forecasts(panel, decisions, -score, 5, model="reversed")
    both = Forecasts(pd.concat([one.table, two.table]), 5, 0, 0, 252)
    daily = portfolio(both, panel)
    assert daily["model"].unique().tolist() == ["ridge", "reversed"]
    for model, alone in (("ridge", one), ("reversed", two)):
        found = daily[daily["model"] == model].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, portfolio(alone, panel))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantiles": 1}, "quantiles must be at least 2, found 1"),
        ({"cost": -0.1}, "cost must be at least 0 and finite, found -0.1"),
        ({"cost": math.nan}, "cost must be at least 0 and finite, found nan"),
        ({"delay": -1}, "delay must be at least 0, found -1"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    panel, *_, forecasts = random_case(0, 1, 1)
    with pytest.raises(InputError, match=message):
        portfolio(forecasts, panel, **changes)


def test_a_panel_that_lacks_dates_or_firms_is_refused():
    panel, *_, forecasts = random_case(0, 1, 1)
    with pytest.raises(InputError, match="every date of the forecasts in the panel, found 23 that are not: 2020-01-14"):
        portfolio(forecasts, panel[:13])
    with pytest.raises(InputError, match="every firm of the forecasts in the panel, found 2 that are not: F10"):
        portfolio(forecasts, panel[:, :10])


def test_a_trade_that_would_fall_after_the_panel_is_not_done():
    panel = make_panel()
    daily = portfolio(make_forecasts(panel, [ROWS - 1], np.arange(FIRMS, dtype=float)[None]), panel, delay=1)
    assert daily.empty


# -- schemes, fees and limits ------------------------------------------------


def test_the_plainest_scheme_is_the_portfolio():
    panel, *_, forecasts = random_case(5, 5, 1)
    daily = backtest(forecasts, panel, Scheme(quantiles=3, cost=0.002), delay=1, missing_delisting_return=-0.3)
    assert list(daily) == list(DAILY)
    pd.testing.assert_frame_equal(daily[list(DAILY[:8])], portfolio(forecasts, panel, 3, 0.002, 1, -0.3))
    assert (daily[["cut", "cut_count"]] == 0).all(axis=None)


def test_a_short_position_worked_by_hand_pays_its_fee_every_row():
    returns = np.array([[0.0, 0.0, 0.0], [0.10, 0.0, -0.20], [0.0, 0.0, 0.0]])
    panel = Panel(dates=np.datetime64("2020-01-01") + np.arange(3), firms=["A", "B", "C"], returns=returns)
    forecasts = make_forecasts(panel, [0, 2], np.array([[3.0, 2.0, 1.0]] * 2))
    daily = backtest(forecasts, panel, Scheme(quantiles=3, cost=0.0, short_fee=0.252))
    # C is short 1 in row 1 and, fallen by a fifth while the book grew by 0.3, 0.8 / 1.3 in row 2.
    np.testing.assert_allclose(daily["short_weight"], [0, 1, 0.8 / 1.3])
    np.testing.assert_allclose(daily["net_weight"], [0, 0, 0.3 / 1.3], atol=1e-15)
    np.testing.assert_allclose(daily["net"], [0, 0.3 - 0.001, -0.001 * 0.8 / 1.3])


def test_a_long_only_book_is_a_hundred_percent_long_and_pays_no_fee():
    panel = make_panel()
    score = np.tile(np.arange(FIRMS, dtype=float), (20, 1))
    forecasts = make_forecasts(panel, np.arange(5, 25), score)
    daily = backtest(forecasts, panel, Scheme("top_k", k=2, cost=0.0, short_fee=0.1))
    held = panel.returns[6 : 6 + len(daily) - 1, -2:].mean(axis=1)
    np.testing.assert_allclose(daily["net"], np.append(0.0, held), atol=1e-15)
    np.testing.assert_allclose(daily["net_weight"][1:], 1.0)
    assert daily["turnover"].iloc[0] == 1.0 and (daily["short_count"] == 0).all()


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["quantile", "rank", "top_k"]))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_net_and_short_weights_are_those_of_the_holdings(seed, kind):
    panel, _, _, forecasts = random_case(seed, 5, 1)
    scheme = Scheme(kind, quantiles=3, k=3)
    daily, held = backtest(forecasts, panel, scheme), holdings(forecasts, panel, scheme=scheme)
    assert held.span == range(3, ROWS - 4 + 1) and len(held.rows) == ROWS - 7
    earning = held.weight * earned(panel, held.rows + 1, held.columns, 0.0)
    np.testing.assert_allclose(earning.sum(axis=1), daily["gross"][1:], atol=1e-15)
    np.testing.assert_allclose(held.weight.sum(axis=1), daily["net_weight"][1:], atol=1e-12)
    np.testing.assert_allclose(np.maximum(-held.weight, 0).sum(axis=1), daily["short_weight"][1:], atol=1e-12)


def test_trades_beyond_the_limit_are_cut_and_counted():
    volume = np.full((ROWS, 4), 1e6)
    volume[:, 3] = 1e5  # the firm that is bought
    panel = make_panel(firms=4, scale=0.0).replace(dollar_volume=volume)
    forecasts = make_forecasts(panel, [20, 21, 22], np.tile(np.arange(4.0), (3, 1)))
    daily = backtest(forecasts, panel, Scheme(quantiles=4, participation=0.1, book=1e5))
    # A tenth of 1e5 dollars a day is a tenth of the book; a tenth of 1e6 is all of it.
    np.testing.assert_allclose(daily["turnover"], [1.1, 0.1, 0.1, 0.0])
    np.testing.assert_allclose(daily["cut"], [0.9, 0.8, 0.7, 0.0])
    assert daily["cut_count"].tolist() == [1, 1, 1, 0]
    np.testing.assert_allclose(daily["net_weight"], [0, -0.9, -0.8, -0.7])


def test_the_limit_is_the_mean_volume_of_21_rows_up_to_the_decision():
    volume = np.full((ROWS, 4), np.nan)
    volume[9:30, 3] = 210.0  # 21 rows up to row 29
    volume[30:] = 1e9
    volume[9, 3] = np.nan  # a row without volume counts as 0
    panel = make_panel(firms=4).replace(dollar_volume=volume)
    forecasts = make_forecasts(panel, [29], np.arange(4.0)[None])
    daily = backtest(forecasts, panel, Scheme(quantiles=4, participation=0.5, book=1000.0), delay=1)
    assert daily["turnover"].iloc[0] == pytest.approx(0.5 * 200 / 1000)
    assert daily["cut"].iloc[0] == pytest.approx(2 - 0.1) and daily["cut_count"].iloc[0] == 2


def test_a_limit_that_does_not_bind_changes_nothing():
    panel, *_, forecasts = random_case(6, 5, 1)
    free = backtest(forecasts, panel)
    limited = Scheme(participation=0.01, book=1.0)
    pd.testing.assert_frame_equal(
        backtest(forecasts, panel.replace(dollar_volume=np.full(panel.shape, 1e6)), limited), free
    )


def test_limits_without_volumes_are_refused():
    panel, *_, forecasts = random_case(0, 1, 1)
    with pytest.raises(InputError, match="participation limits need panel.dollar_volume, found a panel without it"):
        backtest(forecasts, panel, Scheme(participation=0.01, book=1e6))


def test_given_weights_are_traded_in_place_of_the_schemes():
    panel, decisions, score, forecasts = random_case(8, 5, 1)
    weights = {"ridge": target_weights(forecasts, panel, scheme=Scheme("rank"))}
    pd.testing.assert_frame_equal(
        backtest(forecasts, panel, weights=weights), backtest(forecasts, panel, Scheme("rank"))
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"lasso": np.zeros((1, 1))}, "weights must be of the models ridge, found lasso"),
        ({"ridge": np.zeros((1, 1))}, r"weights must be finite and of the forecasts' shape \(33, 12\), found \(1, 1\)"),
        ({"ridge": np.full((33, 12), np.nan)}, "and 396 numbers that are not finite"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    panel, *_, forecasts = random_case(0, 1, 1)
    with pytest.raises(InputError, match=message):
        backtest(forecasts, panel, weights=weights)


def test_holdings_of_several_models_need_a_name():
    panel, decisions, score, one = random_case(1, 5, 1)
    two = make_forecasts(panel, decisions, -score, 5, model="reversed")
    both = Forecasts(pd.concat([one.table, two.table]), 5, 0, 0, 252)
    with pytest.raises(InputError, match="model must be given, found forecasts of ridge, reversed"):
        holdings(both, panel)
    np.testing.assert_array_equal(holdings(both, panel, "reversed").weight, holdings(two, panel).weight)


# -- summary -----------------------------------------------------------------


def test_the_summary_follows_its_formulas():
    panel, *_, forecasts = random_case(2, 5, 1)
    daily = pd.concat([portfolio(forecasts, panel, delay=delay) for delay in (0, 1)], ignore_index=True)
    table = portfolio_summary(daily, 252)
    assert table[["delay", "side"]].to_numpy().tolist() == [[0, "gross"], [0, "net"], [1, "gross"], [1, "net"]]
    row, part = table.iloc[1], daily[daily["delay"] == 0]
    r, count = part["net"], len(part)
    assert row["annual_return"] == pytest.approx(252 * r.mean())
    assert row["annual_volatility"] == pytest.approx(math.sqrt(252) * r.std())
    ratio = r.mean() / r.std()
    assert row["sharpe"] == pytest.approx(math.sqrt(252) * ratio)
    variance = 1 + ratio**2 / 2 - stats.skew(r) * ratio + (stats.kurtosis(r, fisher=False) - 3) / 4 * ratio**2
    assert row["sharpe_se"] == pytest.approx(math.sqrt(252 * variance / count))
    assert row["upper"] - row["lower"] == pytest.approx(2 * 1.959964 * row["sharpe_se"])
    assert row["turnover_per_year"] == pytest.approx(252 * part["turnover"].mean())
    value = np.concatenate([[1], (1 + r).cumprod()])
    assert row["max_drawdown"] == pytest.approx(max(1 - value[j] / value[: j + 1].max() for j in range(len(value))))
    assert row["days"] == count


def test_the_error_of_the_sharpe_ratio_is_that_seen_in_repetitions():
    returns = stats.skewnorm(6, loc=-0.005, scale=0.03).rvs((2000, 250), random_state=0)
    ratios = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    daily = pd.DataFrame({"model": "m", "delay": 0, "gross": returns[:40].ravel(), "net": 0.0, "turnover": 0.0})
    error = portfolio_summary(daily, 1)["sharpe_se"].iloc[0] * math.sqrt(40)
    assert error == pytest.approx(ratios.std(), rel=0.05)


def test_a_missing_delisting_return_is_what_it_is_said_to_be_and_an_interruption_is_none():
    panel = make_panel(rows=6, firms=4)
    listed, returns = np.ones((6, 4), bool), np.zeros((6, 4))
    listed[2:, 3] = False  # leaves for good
    listed[2, 0] = False  # comes back
    returns[2:, 3] = returns[2, 0] = np.nan
    panel = panel.replace(returns=returns, listed=listed)
    forecasts = make_forecasts(panel, [0, 4], np.tile(np.arange(4.0), (2, 1)))
    daily = portfolio(forecasts, panel, quantiles=4, cost=0, missing_delisting_return=-0.3)
    np.testing.assert_allclose(daily["gross"].iloc[:4], [0, 0, -0.3, 0])
    assert (portfolio(forecasts, panel, quantiles=4, cost=0)["gross"] == 0).all()


def test_figures_are_those_of_quantstats_and_ffn():
    panel = waves.panel()
    daily = backtest(waves.forecasts(panel), panel, Scheme(quantiles=4))
    row = portfolio_summary(daily, 252).iloc[1]
    # quantstats 0.0.86: sharpe, volatility, max_drawdown; ffn 1.4.1: calc_sharpe, calc_max_drawdown the same.
    assert row["sharpe"] == pytest.approx(-5.275275940739219, rel=1e-9)
    assert row["annual_volatility"] == pytest.approx(0.053081296585471324, rel=1e-9)
    assert row["max_drawdown"] == pytest.approx(0.05256471035145582, rel=1e-9)
