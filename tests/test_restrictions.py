import numpy as np
import pandas as pd
import pytest
import waves

from finattn.errors import InputError
from finattn.evaluation.performance import portfolio_summary
from finattn.evaluation.portfolio import backtest
from finattn.evaluation.restrictions import RESTRICTIONS, allowed, restricted
from finattn.evaluation.weights import Scheme, positions
from finattn.forecasts import Forecasts
from finattn.panel import Panel

ROWS = 330


def fields(rows: int = ROWS, firms: int = waves.FIRMS) -> dict[str, np.ndarray]:
    """Sizes and prices that wander across their limits."""
    t, n = np.arange(rows)[:, None], np.arange(firms)
    return {
        "market_cap": 1e9 * np.exp(np.sin(t / 50 + 1.3 * n)),
        "price": 7 + 5 * np.sin(t / 40 + 0.9 * n),
    }


PANEL = waves.panel(ROWS, leaves=150, **fields())
FORECASTS = waves.forecasts(PANEL, step=5, first=100)


def made(panel: Panel, forecasts: Forecasts = FORECASTS) -> dict[str, pd.DataFrame]:
    table = restricted(forecasts, panel, Scheme(quantiles=3))
    return {name: part.reset_index(drop=True) for name, part in table.groupby("restriction", sort=False)}


def rows_of(forecasts: Forecasts, panel: Panel) -> np.ndarray:
    return positions(forecasts.wide("m").dates, panel.dates, "date")


def test_every_restriction_stands_beside_the_others_gross_and_net():
    table = restricted(FORECASTS, PANEL, Scheme(quantiles=3))
    assert table["restriction"].unique().tolist() == list(RESTRICTIONS)
    assert table["side"].tolist() == ["gross", "net"] * 5
    assert list(table)[:6] == ["restriction", "rule", "model", "kept", "delay", "side"]
    assert table[["annual_return", "turnover_per_year", "kept"]].notna().all(axis=None)


def test_without_a_restriction_it_is_the_portfolio():
    expected = portfolio_summary(backtest(FORECASTS, PANEL, Scheme(quantiles=3)), 252)
    found = made(PANEL)["all"]
    pd.testing.assert_frame_equal(found[list(expected)], expected)
    assert (found["kept"] == 1).all() and (found["rule"] == "every firm with a forecast").all()


@pytest.mark.parametrize("name", list(RESTRICTIONS)[1:])
def test_a_restriction_is_the_portfolio_of_the_forecasts_that_are_left(name):
    mask, wide = allowed(FORECASTS, PANEL, name), FORECASTS.wide("m")
    date = np.searchsorted(wide.dates, FORECASTS.table["date"].to_numpy().astype("M8[D]"))
    firm = np.searchsorted(wide.firms, FORECASTS.table["firm"].to_numpy(str))
    left = FORECASTS.table[mask[date, firm]]
    assert 0 < len(left) < len(FORECASTS.table)
    found = made(PANEL)[name]
    assert found["kept"].iloc[0] == pytest.approx(len(left) / len(FORECASTS.table))
    if left["date"].nunique() == len(wide.dates):  # else it sits in cash on dates that the table would not have
        daily = backtest(Forecasts(left, 5, 0, 0, 252), PANEL, Scheme(quantiles=3))
        expected = portfolio_summary(daily, 252)
        pd.testing.assert_frame_equal(found[list(expected)], expected, rtol=1e-9)


def test_microcaps_are_the_smallest_fifth_of_the_listed_firms():
    mask = allowed(FORECASTS, PANEL, "without microcaps")
    for row, kept in zip(rows_of(FORECASTS, PANEL), mask, strict=True):
        cap = PANEL.market_cap[row]
        smallest = set(np.argsort(np.where(PANEL.listed[row], cap, np.inf))[:2])  # of 12 or 11 firms
        assert set(np.flatnonzero(PANEL.listed[row] & ~kept)) == smallest


def test_a_firm_that_is_not_listed_is_no_part_of_the_cross_section():
    listed = np.ones((ROWS, waves.FIRMS), bool)
    listed[:, [10, 11]] = False
    cap = np.tile(np.append(np.arange(3.0, 13.0), [1.0, 2.0]), (ROWS, 1))
    panel = PANEL.replace(listed=listed, market_cap=cap)
    kept = allowed(waves.forecasts(panel, step=5, first=100), panel, "without microcaps")
    assert kept.tolist() == [[False] * 2 + [True] * 8] * len(kept)  # exactly a fifth of the ten


def test_penny_stocks_cost_less_than_five_dollars():
    mask = allowed(FORECASTS, PANEL, "without penny stocks")
    np.testing.assert_array_equal(mask, PANEL.price[rows_of(FORECASTS, PANEL)] >= 5)


def test_distressed_firms_have_the_lowest_returns_over_a_year():
    mask = allowed(FORECASTS, PANEL, "without distressed")
    for row, kept in zip(rows_of(FORECASTS, PANEL), mask, strict=True):
        if row < 251:
            assert not kept.any()  # too short a history
            continue
        growth = np.prod(1 + PANEL.returns[row - 251 : row + 1], axis=0)
        growth[3] = np.inf  # delisted
        assert np.flatnonzero(~kept).tolist() == sorted([3, int(np.argmin(growth))])


def test_a_firm_with_half_a_year_of_returns_is_judged_and_one_with_less_is_left_out():
    returns = PANEL.returns.copy()
    returns[: ROWS - 150, 5] = np.nan
    returns[: ROWS - 100, 6] = np.nan
    panel = PANEL.replace(returns=returns)
    kept = dict(zip(rows_of(FORECASTS, panel), allowed(FORECASTS, panel, "without distressed"), strict=True))
    last = max(kept)
    assert kept[last][5] and not kept[last][6]


def test_a_firm_whose_size_or_price_is_not_known_is_left_out():
    cap, price = PANEL.market_cap.copy(), PANEL.price.copy()
    cap[:, 0], price[:, 1] = np.nan, np.nan
    panel = PANEL.replace(market_cap=cap, price=price)
    assert not allowed(FORECASTS, panel, "without microcaps")[:, 0].any()
    assert not allowed(FORECASTS, panel, "without penny stocks")[:, 1].any()


def test_what_the_panel_lacks_makes_a_restriction_not_available_and_never_the_same_as_all():
    bare = waves.panel(ROWS, leaves=150)
    found = made(bare)
    for name, needs in (
        ("without microcaps", "panel.market_cap"),
        ("without penny stocks", "panel.price"),
        ("without any of these", "panel.market_cap and panel.price"),
    ):
        assert (found[name]["rule"] == f"not available: needs {needs}").all()
        assert found[name][["kept", "annual_return", "sharpe", "days"]].isna().all(axis=None)
        assert found[name]["side"].tolist() == ["gross", "net"]
    assert found["without distressed"]["annual_return"].notna().all()


def test_a_restriction_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="restriction must be one of all, without microcaps, .*, found 'without luck'"):
        allowed(FORECASTS, PANEL, "without luck")


def test_what_comes_later_changes_no_earlier_judgement():
    rows = rows_of(FORECASTS, PANEL)
    cut = 280
    later = {name: np.concatenate([values[: cut + 1], values[cut + 1 :] * 0.01]) for name, values in fields().items()}
    returns = np.concatenate([PANEL.returns[: cut + 1], np.full((ROWS - cut - 1, waves.FIRMS), -0.5)])
    other = PANEL.replace(returns=returns, **later)
    for name in RESTRICTIONS:
        before, after = allowed(FORECASTS, PANEL, name), allowed(FORECASTS, other, name)
        np.testing.assert_array_equal(before[rows <= cut], after[rows <= cut])
    assert not np.array_equal(
        allowed(FORECASTS, PANEL, "without penny stocks"), allowed(FORECASTS, other, "without penny stocks")
    )
