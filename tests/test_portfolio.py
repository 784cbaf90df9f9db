import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finattn.errors import InputError
from finattn.evaluation import portfolio, portfolio_summary, quantile_weights
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
        ({"quantiles": 1}, "quantiles: expected at least 2, found 1"),
        ({"cost": -0.1}, "a cost and a delay of at least 0, found cost -0.1 and delay 0"),
        ({"cost": math.nan}, "a cost and a delay of at least 0, found cost nan"),
        ({"delay": -1}, "a cost and a delay of at least 0, found cost 0.001 and delay -1"),
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
