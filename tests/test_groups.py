import numpy as np
import pandas as pd
import pytest
from scipy import stats

from finattn import evaluation
from finattn.errors import InputError
from finattn.evaluation.groups import COLUMNS, by_group, by_year, decay
from finattn.evaluation.inference import mean_inference
from finattn.forecasts import Forecasts
from finattn.panel import Panel

DATES, FIRMS, DECISIONS = 420, 12, np.arange(20, 400, 5)  # rows of the panel on which forecasts are made
ESTIMATES = [name for name in COLUMNS if name not in ("group", "firms", "unknown")]


def make_panel(**changes) -> Panel:
    """Return a panel whose firms are in no order, move between industries and have gaps in their capitalisation."""
    rng = np.random.default_rng(5)
    shape = DATES, FIRMS + 2  # two firms that are never forecast
    codes = np.tile(np.resize([2834, 6021, 3571, 100], shape[1]), (DATES, 1))
    codes[DATES // 2 :, 4] = 6022
    codes[:, 7] = 0
    cap = np.exp(rng.standard_normal(shape).cumsum(axis=0) / 5)
    cap[rng.random(shape) < 0.05] = np.nan
    listed = np.ones(shape, bool)
    listed[300:, 0] = False
    fields = {
        "dates": np.busday_offset("2020-06-01", np.arange(DATES), roll="forward"),
        "firms": [f"F{i:02d}" for i in rng.permutation(shape[1])],
        "returns": 0.02 * rng.standard_normal(shape),
        "listed": listed,
        "industry": codes,
        "market_cap": cap,
    }
    return Panel(**(fields | changes))


PANEL = make_panel()
ALWAYS_LISTED = make_panel(listed=np.ones(PANEL.shape, bool))


def make(horizon: int = 5, delay: int = 0, panel: Panel = PANEL) -> Forecasts:
    """Two models whose scores know something of the next returns; a few firm-dates have no forecast."""
    rng = np.random.default_rng(1)
    columns = np.sort(np.argsort(panel.firms)[:FIRMS])
    after = np.array([[panel.returns[t + delay + 1 : t + delay + 1 + horizon, n] for n in columns] for t in DECISIONS])
    realised = np.prod(1 + after, axis=2) - 1
    realised[-3:, 2] = np.nan
    forecast = rng.random(realised.shape) > 0.05
    t, n = np.nonzero(forecast & panel.listed[np.ix_(DECISIONS, columns)])
    parts = []
    for model, noise in (("ridge", 0.1), ("both", 0.02)):
        score = np.nan_to_num(realised) + noise * rng.standard_normal(realised.shape)
        cells = {"score": score[t, n], "prediction": 0.3 * score[t, n], "realised": realised[t, n]}
        days, firms = panel.dates[DECISIONS[t]].astype("datetime64[s]"), panel.firms[columns[n]].astype(object)
        parts.append(pd.DataFrame({"date": days, "firm": firms, "model": model, "fold": 0, "seed": 0} | cells))
    return Forecasts(pd.concat(parts), horizon, delay, max(0, -(-horizon // 5) - 1), 252)


FORECASTS = make()


def alone(keep: pd.Series) -> pd.DataFrame:
    """Return what the summary says of some rows of the forecasts."""
    return evaluation.summary(Forecasts(FORECASTS.table[keep.to_numpy()], 5, 0, FORECASTS.overlap, 252))


def lookup(values: np.ndarray) -> np.ndarray:
    """Return the panel's value at each row of the forecasts."""
    row = pd.Index(PANEL.dates.astype("datetime64[s]")).get_indexer(FORECASTS.table["date"])
    return values[row, pd.Index(PANEL.firms).get_indexer(FORECASTS.table["firm"])]


def check_against_alone(found: pd.DataFrame, groups: pd.Series) -> None:
    """Each group's rows are those of a table of its forecasts alone."""
    for group in dict.fromkeys(found["group"]):
        rows = found[found["group"] == group].reset_index(drop=True)
        keep = groups == group
        expected = alone(keep)
        # how many dates a year has is counted over all forecasts, and tested below
        rows, expected = (table[table["metric"] != "icir_annual"] for table in (rows, expected))
        pd.testing.assert_frame_equal(rows[ESTIMATES], expected[ESTIMATES], rtol=1e-9, atol=1e-12)
        given = FORECASTS.table[keep.to_numpy()]
        for model in FORECASTS.models:
            own, counted = given[given["model"] == model], rows[rows["model"] == model]
            per_date = own.dropna().groupby("date").size()
            assert set(counted["unknown"]) == {int(own["realised"].isna().sum())}
            np.testing.assert_allclose(counted["firms"], per_date.mean())


def fixed() -> Forecasts:
    """Six Mondays of ten firms, written as arithmetic so that any package can be given the same numbers."""
    t, i = np.indices((6, 10))
    score, realised = (37 * i + 11 * t * i + 5 * t) % 101 / 100, (53 * i + 29 * t * i * i + 17 * t) % 97 / 1000 - 0.04
    days, firms = np.datetime64("2020-11-30", "s") + 7 * 86400 * t, [f"F{k}" for k in range(10)] * 6
    cells = {"score": score.ravel(), "prediction": score.ravel(), "realised": realised.ravel()}
    return Forecasts(
        pd.DataFrame({"date": days.ravel(), "firm": firms, "model": "ridge", "fold": 0, "seed": 0} | cells),
        5,
        0,
        0,
        252,
    )


def test_rank_ics_by_year_and_group_are_those_of_alphalens():
    # alphalens-reloaded 0.5.1, performance.mean_information_coefficient with by_time="YE" and with by_group=True,
    # where even firms are one group and odd ones another
    forecasts, dates = fixed(), np.unique(fixed().table["date"].to_numpy()).astype("M8[D]")
    industry = np.tile(np.resize([1, 2], 10), (6, 1))
    firms = [f"F{k}" for k in range(10)]
    panel = Panel(dates, firms, np.zeros((6, 10)), industry=industry, industry_scheme="custom", industry_widths=(1,))
    years, groups = by_year(forecasts), by_group(forecasts, panel, "industry")
    for found, names, expected in (
        (years, ["2020", "2021"], [0.07631174078201738, 0.7385489458759963]),
        (groups, ["1", "2"], [0.08333333333333333, 0.15]),
    ):
        rank_ic = found[found["metric"] == "rank_ic"]
        assert rank_ic["group"].tolist() == names
        np.testing.assert_allclose(rank_ic["estimate"], expected, rtol=0, atol=1e-14)


def test_a_year_is_summarised_as_its_forecasts_alone_would_be():
    found = by_year(FORECASTS)
    assert tuple(found.columns) == COLUMNS
    assert list(dict.fromkeys(found["group"])) == ["2020", "2021"]
    assert list(dict.fromkeys(found["model"])) == list(FORECASTS.models)
    check_against_alone(found, FORECASTS.table["date"].dt.year.astype(str))


def test_the_annual_icir_of_a_year_counts_targets_over_all_dates():
    found = by_year(FORECASTS).set_index(["group", "model", "metric"])["estimate"]
    ratio = found["2020", "both", "icir_annual"] / found["2020", "both", "icir"]
    assert ratio == pytest.approx(found["2021", "both", "icir_annual"] / found["2021", "both", "icir"])
    assert ratio == pytest.approx(np.sqrt(252 / 5))


def test_a_year_without_a_known_outcome_is_counted_and_has_no_estimate():
    table = FORECASTS.table.copy()
    table.loc[table["date"].dt.year == 2021, "realised"] = np.nan
    found = by_year(Forecasts(table, 5, 0, 0, 252))
    late = found[found["group"] == "2021"]
    assert late["estimate"].isna().all() and late["firms"].isna().all() and (late["dates"] == 0).all()
    assert set(late["unknown"]) == {int((table["date"].dt.year == 2021).sum() / 2)}
    only = by_year(Forecasts(table[table["date"].dt.year == 2021], 5, 0, 0, 252))
    assert len(only) == len(late) and only["estimate"].isna().all()


def test_industries_are_those_of_the_decision_date_even_where_a_firm_moves():
    division = {2834: "Manufacturing", 3571: "Manufacturing", 6021: "Finance, insurance and real estate"}
    division |= {6022: division[6021], 100: "Agriculture, forestry and fishing", 0: "unknown"}
    found = by_group(FORECASTS, PANEL, "industry")
    assert list(dict.fromkeys(found["group"])) == [division[code] for code in (100, 2834, 6021, 0)]
    check_against_alone(found, pd.Series(lookup(PANEL.industry)).map(division))


@pytest.mark.parametrize(("level", "digits"), [(0, 4), (1, 3), (2, 2), (-2, 2)])
def test_industries_can_be_of_any_level(level, digits):
    found = by_group(FORECASTS, PANEL, "industry", level=level)
    codes = pd.Series(lookup(PANEL.industry) // 10 ** (4 - digits)).astype(str)
    check_against_alone(found, codes.replace("0", "unknown"))
    assert list(dict.fromkeys(found["group"]))[-1] == "unknown"


@pytest.mark.parametrize("count", [2, 3, 5])
def test_sizes_cut_the_listed_firms_of_each_date_into_equal_numbers(count):
    cap = pd.DataFrame(np.where(PANEL.listed, PANEL.market_cap, np.nan))
    names = np.full(cap.shape, "unknown", object)
    for t, row in cap.iterrows():
        order = row.dropna().sort_values().index
        for place, n in enumerate(order):
            names[t, n] = str(1 + int((place + 0.5) * count / len(order)))
    words = {"1": "1 smallest", str(count): f"{count} largest"}
    groups = pd.Series(lookup(names)).replace(words)
    found = by_group(FORECASTS, PANEL, "size", size_groups=count)
    middle = [str(code) for code in range(2, count)]
    assert list(dict.fromkeys(found["group"])) == ["1 smallest", *middle, f"{count} largest", "unknown"]
    check_against_alone(found, groups)


def test_firms_of_one_size_share_a_group():
    cap = np.tile(np.r_[[5.0] * 6, np.arange(6.0, 14.0)], (DATES, 1))
    found = by_group(FORECASTS, ALWAYS_LISTED.replace(market_cap=cap), "size", size_groups=7)
    # six firms tie for places 1 to 6 of 14, whose mean 3.5 lies in the second of seven pairs
    assert list(dict.fromkeys(found["group"]))[:2] == ["2", "4"]


def test_sizes_and_industries_do_not_look_ahead_nor_at_what_no_decision_falls_on():
    later = PANEL.market_cap.copy()
    codes = PANEL.industry.copy()
    others = np.setdiff1d(np.arange(DATES), DECISIONS)
    later[others], codes[others] = later[others][:, ::-1], 9999
    changed = make_panel(market_cap=later, industry=codes)
    for by in ("size", "industry"):
        pd.testing.assert_frame_equal(by_group(FORECASTS, changed, by), by_group(FORECASTS, PANEL, by))


def test_quantiles_and_k_reach_the_groups():
    rows = lambda table: table[table["metric"].isin(["quantile_spread", "precision_excess"])]["estimate"]  # noqa: E731
    for call in (
        lambda *given: by_year(FORECASTS, *given),
        lambda *given: by_group(FORECASTS, PANEL, "size", 2, -1, *given),
    ):
        default, changed = rows(call()), rows(call(2, 3))
        assert not np.isclose(default, changed, equal_nan=True).any()


# -- horizons ------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0, 1])
def test_the_decay_at_the_own_horizon_is_the_rank_ic_of_the_summary(delay):
    given = make(21, delay, ALWAYS_LISTED)
    forecasts = Forecasts(given.table.dropna(), 21, delay, given.overlap, 252)
    found, expected = decay(forecasts, ALWAYS_LISTED, [21]), evaluation.summary(forecasts)
    expected = expected[expected["metric"] == "rank_ic"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[ESTIMATES], expected[ESTIMATES])
    assert set(found["overlap"]) == {forecasts.overlap} == {4}


@pytest.mark.parametrize(("horizon", "overlap"), [(1, 0), (5, 0), (6, 1), (63, 12)])
@pytest.mark.parametrize("delay", [0, 1])
def test_returns_are_compounded_over_each_horizon_after_the_delay(horizon, overlap, delay):
    panel = ALWAYS_LISTED
    forecasts = make(5, delay, panel)
    found = decay(forecasts, panel, (horizon,))
    table = forecasts.table[forecasts.table["model"] == "both"]
    place = {firm: n for n, firm in enumerate(panel.firms.tolist())}
    expected, unknown = [], 0
    for date, group in table.groupby("date"):
        start = int(np.searchsorted(panel.dates, np.datetime64(date, "D"))) + delay + 1
        if start + horizon > DATES:
            unknown += len(group)
            continue
        after = panel.returns[start : start + horizon, [place[firm] for firm in group["firm"]]]
        expected.append(stats.spearmanr(group["score"], np.prod(1 + after, axis=0)).statistic)
    row = found[found["model"] == "both"].iloc[0]
    estimate = mean_inference(expected, overlap)
    assert row[list(estimate._fields)].tolist() == pytest.approx(list(estimate), abs=1e-12)
    assert (row["horizon"], row["overlap"], row["metric"]) == (horizon, overlap, "rank_ic")
    assert row["unknown"] == unknown


def test_what_a_score_knows_of_five_days_is_less_of_the_return_over_more():
    found = decay(FORECASTS, PANEL)
    assert found["horizon"].tolist() == [1, 1, 5, 5, 21, 21, 63, 63]
    own = found[found["model"] == "both"].set_index("horizon")["estimate"]
    assert own[5] > own[21] > own[63] and own[5] > own[1] > 0.1


def test_a_missing_delisting_return_is_the_one_that_is_given():
    returns = PANEL.returns.copy()
    returns[300:, 0] = np.nan
    panel = make_panel(returns=returns, firms=sorted(PANEL.firms.tolist()))
    score = np.array([1.0, 2.0, 3.0])
    day, firms = panel.dates[298:299].astype("datetime64[s]"), panel.firms[:3].astype(object)
    cells = {"score": score, "prediction": 0.0, "realised": 0.0, "model": "ridge", "fold": 0, "seed": 0}
    forecasts = Forecasts(pd.DataFrame({"date": day.repeat(3), "firm": firms} | cells), 1, 0, 0, 252)
    found = {loss: decay(forecasts, panel, [21], loss)["estimate"][0] for loss in (0.0, -1.0)}
    others = np.prod(1 + panel.returns[299:320, 1:3], axis=0) - 1
    for loss, estimate in found.items():
        first = (1 + panel.returns[299, 0]) * (1 + loss) - 1
        assert estimate == pytest.approx(stats.spearmanr(score, [first, *others]).statistic)


# -- refusals ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: by_group(FORECASTS, PANEL, "country"), "by must be size or industry, found 'country'"),
        (
            lambda: by_group(FORECASTS, make_panel(market_cap=None), "size"),
            "by size need panel.market_cap, found a panel without it",
        ),
        (lambda: by_group(FORECASTS, PANEL, "size", 1), "size_groups must be at least 2, found 1"),
        (lambda: by_group(FORECASTS, make_panel(industry=None), "industry"), "need industry codes, found none"),
        (lambda: by_group(FORECASTS, PANEL, "industry", level=4), "level must be one of the 4 of the scheme, found 4"),
        (lambda: by_group(FORECASTS, PANEL[:, :5], "size"), "every firm of the forecasts in the panel, found"),
        (lambda: by_group(FORECASTS, PANEL[:300], "industry"), "every date of the forecasts in the panel, found"),
        (lambda: decay(FORECASTS, PANEL[:300]), "every date of the forecasts in the panel, found"),
        (lambda: decay(FORECASTS, PANEL[:, :5]), "every firm of the forecasts in the panel, found"),
        (lambda: decay(FORECASTS, PANEL, (5, 0)), "target.horizon must be at least 1, found 0"),
        (lambda: decay(FORECASTS, PANEL, (5,), 0.5), "missing_delisting_return must be between -1 and 0, found 0.5"),
        (lambda: by_year(FORECASTS, quantiles=1), "quantiles must be at least 2, found 1"),
    ],
)
def test_wrong_questions_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
