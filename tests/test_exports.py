import numpy as np
import pandas as pd
import pytest
import waves

from finattn.errors import InputError
from finattn.evaluation.exports import price_index, to_alphalens, to_quantstats, to_vectorbt
from finattn.evaluation.portfolio import backtest
from finattn.evaluation.weights import Scheme
from finattn.forecasts import Forecasts
from finattn.panel import Panel

PANEL = waves.panel()


def two_models() -> Forecasts:
    one, two = waves.forecasts(PANEL), waves.forecasts(PANEL, model="other")
    return Forecasts(pd.concat([one.table, two.table]), 5, 0, one.overlap, 252)


# -- prices ------------------------------------------------------------------


def test_changes_of_prices_are_the_returns():
    prices = price_index(PANEL)
    kept = np.delete(np.arange(waves.FIRMS), 3)
    np.testing.assert_allclose(prices.pct_change().iloc[1:, kept], PANEL.returns[1:][:, kept])
    assert prices.index.dtype == "datetime64[ns]" and (prices.iloc[0] == 1.0).all()
    assert prices.columns.tolist() == PANEL.firms.tolist()


def test_a_delisted_firm_keeps_its_value_after_its_last_return():
    price = price_index(PANEL)["F03"].to_numpy()
    assert price[40] / price[39] - 1 == pytest.approx(PANEL.returns[40, 3])
    assert (price[40:] == price[40]).all()


def test_a_missing_delisting_return_is_what_it_is_said_to_be():
    returns = PANEL.returns.copy()
    returns[40:, 3] = np.nan
    price = price_index(PANEL.replace(returns=returns), -0.3)["F03"].to_numpy()
    assert price[-1] / price[39] == pytest.approx(0.7)


def test_there_is_no_price_before_the_first_listed_row():
    listed = np.array([[False], [True], [True]])
    panel = Panel(["2020-01-01", "2020-01-02", "2020-01-03"], ["A"], [[0.5], [0.5], [0.1]], listed=listed)
    np.testing.assert_allclose(price_index(panel)["A"], [np.nan, 1.0, 1.1])


# -- alphalens ---------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 1])
def test_forward_changes_of_the_prices_are_what_was_realised(delay):
    forecasts = waves.forecasts(PANEL, delay=delay)
    factor, prices = to_alphalens(forecasts, PANEL)
    forward = prices.pct_change(5).shift(-5).stack().rename_axis(["date", "asset"])
    realised = forecasts.table.set_index(["date", "firm"])["realised"].rename_axis(["date", "asset"])
    np.testing.assert_allclose(forward.reindex(factor.index), realised.reindex(factor.index), rtol=1e-12, atol=1e-14)


def test_returns_by_quantile_are_those_of_alphalens():
    factor, prices = to_alphalens(waves.forecasts(PANEL), PANEL)
    assert factor.index.names == ["date", "asset"] and factor.index.is_monotonic_increasing
    quantile = factor.groupby(level="date").transform(lambda x: pd.qcut(x, 4, labels=False) + 1)
    forward = pd.DataFrame({h: prices.pct_change(h).shift(-h).stack().reindex(factor.index) for h in (1, 5)})
    # alphalens-reloaded 0.5.1: get_clean_factor_and_forward_returns(factor, prices, quantiles=4, periods=(1, 5)),
    # mean_return_by_quantile(…, demeaned=False)
    expected = {
        1: [-0.000363103604532, -0.000456278300820, 0.001185387298926, 0.000969531441088],
        5: [-0.001001815246346, -0.002488105045514, 0.001489297327174, -0.001773976533945],
    }
    found = forward.groupby([factor.index.get_level_values("date"), quantile.rename("quantile")]).mean()
    found = found.groupby("quantile").mean()
    for horizon, values in expected.items():
        np.testing.assert_allclose(found[horizon], values, rtol=1e-9)


def test_only_firms_and_dates_with_a_score_are_in_the_factor():
    forecasts = waves.forecasts(PANEL)
    factor, prices = to_alphalens(forecasts, PANEL)
    assert len(factor) == len(forecasts.table) and factor.notna().all()
    assert len(prices) == len(PANEL)


def test_one_of_several_models_must_be_named():
    both = two_models()
    with pytest.raises(InputError, match="model must be given, found forecasts of m, other"):
        to_alphalens(both, PANEL)
    assert len(to_alphalens(both, PANEL, "other")[0]) == len(both.table) // 2


# -- quantstats --------------------------------------------------------------


def test_quantstats_gets_a_series_of_daily_returns_for_each_model():
    daily = backtest(two_models(), PANEL)
    series = to_quantstats(daily)
    assert list(series) == ["m", "other"]
    part = daily[daily["model"] == "other"]
    np.testing.assert_array_equal(series["other"], part["net"])
    np.testing.assert_array_equal(to_quantstats(daily, "gross")["other"], part["gross"])
    assert isinstance(series["m"].index, pd.DatetimeIndex) and series["m"].index.tz is None
    assert series["m"].index.dtype == "datetime64[ns]" and series["m"].name == "m"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (backtest(waves.forecasts(PANEL), PANEL), "turnover"),
            "side must be gross or net and a column of daily, found 'turn",
        ),
        (
            (pd.concat([backtest(waves.forecasts(PANEL), PANEL, delay=delay) for delay in (0, 1)]),),
            "daily must be of one delay, found 0, 1",
        ),
    ],
)
def test_what_is_no_series_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        to_quantstats(*arguments)


# -- vectorbt ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "total"),
    # vectorbt 1.2.0: Portfolio.from_orders(close, size=weights, size_type="targetpercent", group_by=True,
    # cash_sharing=True, call_seq="auto", fees=0).total_return()
    [(Scheme(quantiles=4), -0.060016271225074046), (Scheme("top_k", k=3), -0.028159823726037272)],
    ids=["long-short", "long only"],
)
def test_the_frames_trade_to_the_return_that_vectorbt_finds(scheme, total):
    forecasts = waves.forecasts(PANEL, step=5)
    daily = backtest(forecasts, PANEL, scheme)
    assert (1 + daily["gross"]).prod() - 1 == pytest.approx(total, rel=1e-12)
    frames = to_vectorbt(forecasts, PANEL, scheme=scheme)
    close, weights = frames.close.to_numpy(), frames.weights.to_numpy()
    assert len(close) == len(daily) and frames.close.index[0] == daily["date"].iloc[0]
    value, shares = 1.0, np.zeros(close.shape[1])
    cash = value
    for price, weight in zip(close, weights, strict=True):  # orders as vectorbt's: shares for a percentage of the value
        value = cash + shares @ price
        if not np.isnan(weight).any():
            shares = weight * value / price
            cash = value - shares @ price
    assert value - 1 == pytest.approx(total, rel=1e-12)


def test_weights_stand_in_rows_of_trades_only():
    frames = to_vectorbt(waves.forecasts(PANEL, step=5), PANEL, delay=1)
    traded = frames.weights.notna().all(axis=1).to_numpy()
    assert np.flatnonzero(traded).tolist() == list(range(0, len(traded) - 1, 5))
    assert frames.weights[~traded].isna().all(axis=None)
    assert frames.close.index[0] == pd.Timestamp(PANEL.dates[6])


def test_signals_say_where_a_position_begins_and_ends():
    frames = to_vectorbt(waves.forecasts(PANEL, step=5), PANEL)
    held = frames.weights.ffill()
    open_long = frames.entries.astype(int).cumsum() - frames.exits.astype(int).cumsum()
    open_short = frames.short_entries.astype(int).cumsum() - frames.short_exits.astype(int).cumsum()
    np.testing.assert_array_equal(open_long, held > 1e-12)
    np.testing.assert_array_equal(open_short, held < -1e-12)
    assert frames.exits.any(axis=None) and frames.short_exits.any(axis=None)
    assert not (frames.entries & frames.exits).any(axis=None)


def test_a_book_that_is_never_traded_is_refused():
    panel = PANEL[:5]
    table = pd.DataFrame(
        {"date": panel.dates[[4, 4]].astype("M8[s]"), "firm": ["F00", "F01"], "model": "m", "fold": 0, "seed": 0,
         "score": [1.0, 2.0], "prediction": 0.0, "realised": np.nan}
    )  # fmt: skip
    with pytest.raises(InputError, match="a trade must fall into the panel, found none"):
        to_vectorbt(Forecasts(table, 1, 0, 0, 252), panel, delay=1)


# -- as methods ------------------------------------------------------------------


def test_forecasts_have_the_same_frames_as_methods():
    forecasts, scheme = waves.forecasts(PANEL, delay=1), Scheme("top_k", k=2)
    for ours, theirs in zip(forecasts.to_alphalens(PANEL), to_alphalens(forecasts, PANEL), strict=True):
        assert ours.equals(theirs)
    (model,) = forecasts.models
    net = to_quantstats(backtest(forecasts, PANEL, scheme, delay=1))[model]
    assert forecasts.to_quantstats(PANEL, scheme)[model].equals(net)
    ours, theirs = forecasts.to_vectorbt(PANEL, scheme=scheme), to_vectorbt(forecasts, PANEL, None, scheme, delay=1)
    assert all(a.equals(b) for a, b in zip(ours, theirs, strict=True))
