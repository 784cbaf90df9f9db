import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import waves

from finattn.errors import InputError
from finattn.evaluation.exposures import alpha, exposures, industry_weights, market_returns
from finattn.evaluation.portfolio import backtest, holdings
from finattn.evaluation.weights import Scheme
from finattn.panel import Panel

DAYS = 400


def simulated(**fields) -> tuple[Panel, pd.DataFrame]:
    """Draw two factors and a portfolio that loads on them; the panel's one firm does not matter."""
    rng = np.random.default_rng(0)
    factors = 0.01 * rng.standard_normal((DAYS, 2))
    dates = pd.bdate_range("2010-01-01", periods=DAYS)
    days = dates.to_numpy().astype("M8[D]")
    given = {"factors": factors, "factor_names": ("market", "size")} | fields
    panel = Panel(days, ["A"], 0.01 * rng.standard_normal((DAYS, 1)), **given)
    noise = 0.005 * rng.standard_normal(DAYS + 1)
    net = 0.0005 + factors @ [0.4, -0.2] + noise[1:] + 0.5 * noise[:-1]
    daily = pd.DataFrame({"date": dates.as_unit("ms"), "model": "m", "delay": 0, "gross": net + 0.001, "net": net})
    return panel, daily


def test_alpha_and_betas_are_those_of_statsmodels():
    panel, daily = simulated()
    found = alpha(daily, panel)
    fit = sm.OLS(daily["net"].to_numpy(), sm.add_constant(panel.factors)).fit(
        cov_type="HAC", cov_kwds={"maxlags": 5, "use_correction": True}, use_t=True
    )
    scale = np.array([252, 1, 1])
    assert found["name"].tolist() == ["alpha", "market", "size"]
    np.testing.assert_allclose(found["estimate"], fit.params * scale)
    np.testing.assert_allclose(found["standard_error"], fit.bse * scale)
    np.testing.assert_allclose(found["t"], fit.tvalues)
    np.testing.assert_allclose(found["p_value"], fit.pvalues)
    assert found["r2"].unique() == pytest.approx([fit.rsquared])
    assert (found["days"] == DAYS).all() and (found["dropped"] == 0).all()


def test_errors_follow_the_formula_of_newey_and_west():
    panel, daily = simulated()
    lag, y = 3, daily["net"].to_numpy()
    x = np.column_stack([np.ones(DAYS), panel.factors])
    scores = x * (y - x @ np.linalg.lstsq(x, y)[0])[:, None]
    meat = scores.T @ scores
    for step in range(1, lag + 1):
        cross = scores[step:].T @ scores[:-step]
        meat += (1 - step / (lag + 1)) * (cross + cross.T)
    bread = np.linalg.inv(x.T @ x)
    errors = np.sqrt(np.diag(bread @ meat @ bread) * DAYS / (DAYS - 3))
    np.testing.assert_allclose(alpha(daily, panel, lag=lag)["standard_error"], errors * [252, 1, 1])


def test_gross_and_net_differ_by_their_costs():
    panel, daily = simulated()
    gross, net = (alpha(daily, panel, side=side)["estimate"] for side in ("gross", "net"))
    np.testing.assert_allclose(gross - net, [0.252, 0, 0], atol=1e-12)


def test_given_factors_are_lined_up_by_date_and_days_without_one_are_dropped():
    panel, daily = simulated()
    factors = pd.DataFrame(panel.factors, index=pd.DatetimeIndex(panel.dates.astype("M8[s]")), columns=["a", "b"])
    factors.iloc[7, 1] = np.nan
    found = alpha(daily, panel, factors.iloc[:-10].sample(frac=1, random_state=0))
    assert (found["days"] == DAYS - 11).all() and (found["dropped"] == 11).all()
    kept = np.delete(np.arange(DAYS - 10), 7)
    expected = np.linalg.lstsq(np.column_stack([np.ones(len(kept)), panel.factors[kept]]), daily["net"].iloc[kept])[0]
    np.testing.assert_allclose(found["estimate"], expected * [252, 1, 1])


def test_what_is_invested_is_measured_against_the_risk_free_rate():
    panel, daily = simulated(risk_free=np.linspace(0.0001, 0.0004, DAYS))
    invested = daily.assign(net_weight=1.0, net=daily["net"] + panel.risk_free)
    np.testing.assert_allclose(alpha(invested, panel)["estimate"], alpha(daily, panel)["estimate"])
    financed = daily.assign(net_weight=0.0)
    np.testing.assert_allclose(alpha(financed, panel)["estimate"], alpha(daily, panel)["estimate"])


def test_every_model_and_delay_is_regressed_on_its_own():
    panel, daily = simulated()
    stacked = pd.concat([daily, daily.assign(delay=1, net=-daily["net"])])
    found = alpha(stacked, panel)
    assert found["delay"].tolist() == [0] * 3 + [1] * 3
    np.testing.assert_allclose(found["estimate"][:3], -found["estimate"][3:])


def test_a_book_that_never_moves_has_no_alpha():
    panel, daily = simulated()
    found = alpha(daily.assign(net=0.0), panel)
    assert found[["estimate", "standard_error", "t", "p_value", "r2"]].isna().all(axis=None)
    assert (found["days"] == DAYS).all()


def test_factors_that_there_are_not_or_that_say_nothing_are_refused():
    panel, daily = simulated()
    bare = Panel(panel.dates, ["A"], panel.returns)
    with pytest.raises(InputError, match="alpha needs factors, found none given and a panel without them"):
        alpha(daily, bare)
    twice = pd.DataFrame({"a": panel.factors[:, 0], "b": 2 * panel.factors[:, 0]}, pd.DatetimeIndex(daily["date"]))
    with pytest.raises(InputError, match="factors must vary, not be collinear, .* found 400 days of a, b"):
        alpha(daily, panel, twice)
    with pytest.raises(InputError, match="at least 5 days in common with the portfolio, found 4 days"):
        alpha(daily.iloc[:4], panel)
    with pytest.raises(InputError, match="factors must have columns and an index of unique dates"):
        alpha(daily, panel, twice.reset_index(drop=True))
    with pytest.raises(InputError, match="factors must be finite or NaN, found an infinite one"):
        alpha(daily, panel, twice * np.inf)
    with pytest.raises(InputError, match="side must be gross or net and a column of daily, found 'nett'"):
        alpha(daily, panel, side="nett")


# -- the market --------------------------------------------------------------


def test_the_market_weights_firms_as_they_were_in_the_row_before():
    listed = np.array([[True, True, False], [True, False, True], [True, False, True]])
    cap = [[3.0, 1.0, np.nan], [1.0, np.nan, 1.0], [1.0, np.nan, 5.0]]
    returns = [[0.0, 0.0, 0.5], [0.1, -0.3, 0.5], [np.nan, 0.9, 0.2]]
    panel = Panel(["2020-01-01", "2020-01-02", "2020-01-03"], list("ABC"), returns, listed=listed, market_cap=cap)
    # A delisting return (B, row 1) counts; a firm that was not listed in the row before (C, row 1) does not.
    np.testing.assert_allclose(market_returns(panel)["market"], [np.nan, -0.1, 0.2])
    np.testing.assert_allclose(market_returns(panel, "value")["market"], [np.nan, (0.3 - 0.3) / 4, 0.2], atol=1e-15)
    rated = panel.replace(risk_free=[0.01, 0.01, 0.01])
    np.testing.assert_allclose(market_returns(rated)["market"], [np.nan, -0.11, 0.19])


def test_a_market_by_value_needs_values():
    with pytest.raises(InputError, match="value weights need panel.market_cap"):
        market_returns(simulated()[0], "value")


def test_a_book_of_every_firm_has_a_beta_of_one():
    panel = waves.panel(firms=4)
    daily = backtest(waves.forecasts(panel), panel, Scheme("top_k", k=3, cost=0.0))
    everything = daily.assign(net=market_returns(panel)["market"].reindex(pd.DatetimeIndex(daily["date"])).to_numpy())
    found = exposures(everything, panel).set_index("name")
    assert found.loc["market", "estimate"] == pytest.approx(1.0)
    assert found.loc["alpha", "estimate"] == pytest.approx(0.0, abs=1e-12)
    assert exposures(daily, panel)["name"].tolist() == ["alpha", "market"]


# -- industries --------------------------------------------------------------


def test_industry_weights_are_sums_over_the_firms_of_each_industry():
    codes = np.resize([2834, 2835, 6021, 0], (waves.ROWS, waves.FIRMS))
    panel = waves.panel(industry=codes)
    held = holdings(waves.forecasts(panel), panel)
    found = industry_weights(held, panel)
    wide = found.pivot(index="date", columns="industry", values="net").fillna(0.0)
    assert set(wide) == {"Manufacturing", "Finance, insurance and real estate", "unknown"}
    np.testing.assert_allclose(wide["Manufacturing"], held.weight[:, codes[0] // 100 == 28].sum(axis=1), atol=1e-15)
    np.testing.assert_allclose(wide["unknown"], held.weight[:, codes[0] == 0].sum(axis=1), atol=1e-15)
    np.testing.assert_allclose(found["long"] - found["short"], found["net"], atol=1e-15)
    np.testing.assert_allclose(found.groupby("date")["short"].sum(), np.maximum(-held.weight, 0).sum(axis=1))
    assert found["industry"].iloc[-1] == "unknown" and len(wide) == len(held.rows)


def test_industries_are_those_of_the_row_of_the_trade():
    codes = np.full((waves.ROWS, waves.FIRMS), 2834)
    codes[20:] = 6021
    panel = waves.panel(industry=codes)
    found = industry_weights(holdings(waves.forecasts(panel), panel), panel, level=2)
    change = pd.Timestamp(panel.dates[20])
    assert (found.loc[found["date"] < change, "industry"] == "28").all()
    assert (found.loc[found["date"] >= change, "industry"] == "60").all()


def test_industries_need_codes():
    panel = waves.panel()
    with pytest.raises(InputError, match="groups by industry need industry codes"):
        industry_weights(holdings(waves.forecasts(panel), panel), panel)
