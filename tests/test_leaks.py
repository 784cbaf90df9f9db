"""Leaks that are planted are caught for what they are, and pipelines without one pass."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("benchmarks", reason="the benchmarks are in the source tree alone")
from conftest import make_panel  # noqa: E402

from benchmarks import leaks as benchmark  # noqa: E402
from benchmarks.clean_pipelines import CLEAN, READY  # noqa: E402
from benchmarks.planted_leaks import (  # noqa: E402
    FIRST,
    HORIZON,
    PLANTED,
    as_forecasts,
    columns_of,
    forecast,
    honest,
    raw_panel,
    raw_reports,
    rows_repeated_with_labels,
    slopes,
)
from finattn import features  # noqa: E402
from finattn.baselines import Ridge  # noqa: E402
from finattn.blocks import forward_returns, last_listed, observed  # noqa: E402
from finattn.config import TargetConfig  # noqa: E402
from finattn.data import sample, simulate  # noqa: E402
from finattn.errors import InputError  # noqa: E402
from finattn.forecasts import Forecasts  # noqa: E402
from finattn.leaks import KINDS, Certificate, Finding, look_ahead, screen  # noqa: E402
from finattn.leaks.certificate import certificate_of  # noqa: E402
from finattn.leaks.certify import _cases  # noqa: E402
from finattn.leaks.changes import Given, change, groups, mixed, unlisted, wild  # noqa: E402
from finattn.leaks.differences import difference, in_words, reach  # noqa: E402
from finattn.leaks.forecast_arrays import Made, read  # noqa: E402
from finattn.panel import Panel  # noqa: E402
from finattn.splits import WalkForward  # noqa: E402


@pytest.fixture(scope="module")
def raw():
    return raw_panel()


@pytest.fixture(scope="module")
def reports(raw):
    return raw_reports(raw)


def row_of(certificate, check):
    return certificate.table.set_index("check").loc[check]


# -- planted leaks, and pipelines without ------------------------------------------------------------


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_leak_is_caught_and_traced_to_what_it_uses(raw, reports, name):
    leak = PLANTED[name]
    found = look_ahead(leak.pipeline, leak.arranged(raw), 3, reports=reports if leak.reports else None)
    assert not found.clean and leak.check in found.of("caught")
    if leak.group:
        assert f"future of {leak.group}" in found.of("caught")
    else:
        assert "future" not in found.of("caught")


# What nothing but the group named can have caused: all else passes when it alone is changed.
ALONE = {
    "survivors only": "listings",
    "the largest firms of the last day": "market_cap",
    "missing features filled backwards": "feature value",
    "industries as they are today": "industry codes",
    "fundamentals dated by their period": "reports",
    "restated fundamentals from the first day": "reports",
}


@pytest.mark.parametrize("name", ALONE)
def test_nothing_else_is_blamed(raw, reports, name):
    leak = PLANTED[name]
    found = look_ahead(leak.pipeline, raw, 2, reports=reports if leak.reports else None)
    blamed = [check for check in found.of("caught") if check.startswith("future of")]
    assert blamed == [f"future of {ALONE[name]}"]
    assert ALONE[name] not in row_of(found, "future of the rest")["found"]


@pytest.mark.parametrize("name", CLEAN)
def test_a_pipeline_without_a_leak_passes(raw, reports, name):
    pipeline, with_reports, _ = CLEAN[name]
    found = look_ahead(pipeline, raw, 1 if "walk" in name else 3, reports=reports if with_reports else None)
    assert found.clean and "future" in found.of("passed") and "absent firms" in found.of("passed"), str(found)
    # Chance that is drawn by place cannot be told from places that are known: it is said, and is no alarm.
    assert found.of("undecided") == (["order of firms"] if "attention" in name else [])


def test_a_label_that_was_not_purged_shows_at_the_first_date(raw):
    found = look_ahead(PLANTED["labels that reach into the test"].pipeline, raw, dates=1)
    assert f"on {raw.dates[FIRST]} itself" in row_of(found, "future")["found"]
    assert found.made["dates"] == [str(raw.dates[FIRST])]


def test_one_row_too_many_in_training_is_enough(raw):
    last = FIRST - HORIZON
    assert look_ahead(lambda panel: forecast(panel, columns_of(panel), last), raw, 1).clean
    assert not look_ahead(lambda panel: forecast(panel, columns_of(panel), last + 1), raw, 1).clean


def test_it_says_how_far_before_the_change_forecasts_move(raw):
    def averaged(panel):
        return pd.DataFrame(panel.returns).rolling(7, center=True, min_periods=1).mean().to_numpy()

    found = row_of(look_ahead(averaged, raw, 4), "future")
    assert ", 2 rows before the change: a window, a fill or a label reaches ahead" in found["found"]
    assert found["worst"] > 0.01
    whole = row_of(look_ahead(lambda panel: panel.returns - np.nanmean(panel.returns), raw, 4), "future")
    assert "something is fitted, scaled or chosen by what came later" in whole["found"]


def test_a_leak_that_takes_two_changes_together_names_both(raw):
    def pipeline(panel):
        both = panel.price[-1, 0] != raw.price[-1, 0] and panel.market_cap[-1, 0] != raw.market_cap[-1, 0]
        return honest(panel) + both

    found = look_ahead(pipeline, raw, 1)
    assert found.of("caught") == ["future", "future of market_cap and price"]


def test_the_same_seed_gives_the_same_certificate_and_another_seed_other_dates(raw):
    first, again, other = (look_ahead(honest, raw, 4, seed) for seed in (0, 0, 1))
    assert str(first) == str(again) and first.made == again.made
    assert first.made["dates"] != other.made["dates"] and first.made["dates"][0] == other.made["dates"][0]
    assert len(set(first.made["dates"])) == 4 and first.made["dates"] == sorted(first.made["dates"])
    assert first.made["runs"] == 2 + len(KINDS) + 3 + 2


# -- what cannot be judged as it is ------------------------------------------------------------


def test_a_pipeline_that_is_not_deterministic_is_told_to_be_seeded(raw):
    random = np.random.default_rng(0)
    found = look_ahead(lambda panel: honest(panel) + random.standard_normal(panel.shape), raw)
    assert found.of("suspect") == ["repeatable"] and "seed it" in row_of(found, "repeatable")["found"]
    assert "future" not in found.table["check"].tolist()


def test_a_pipeline_that_fails_on_another_future_is_suspect(raw):
    def pipeline(panel):
        if np.nanmax(np.abs(panel.returns)) > 0.5:
            raise RuntimeError("a return\nof half")
        return honest(panel)

    found = look_ahead(pipeline, raw, 1)
    said = row_of(found, "runs")
    assert said["verdict"] == "suspect" and "RuntimeError: a return of half" in said["found"]
    assert "fails in 1 of 5 runs, first with other values after" in said["found"]
    assert "future" in found.of("passed")


def test_what_the_pipeline_raises_on_the_panel_as_it_is_is_raised(raw):
    with pytest.raises(ZeroDivisionError):
        look_ahead(lambda panel: 1 / 0, raw)


def in_sample(panel):
    """Fit once, and forecast the rows that were fitted on too."""
    x = np.nan_to_num(np.stack(columns_of(panel), axis=2))
    return np.where(observed(panel, slice(None)), x @ slopes(panel, x, FIRST - HORIZON, 10.0), np.nan)


def test_forecasts_of_fitted_dates_pass_where_it_is_said_until_when_labels_go(raw):
    assert "say so by fitted_until" in row_of(look_ahead(in_sample, raw, 3), "future")["found"]
    found = look_ahead(in_sample, raw, 3, fitted_until=str(raw.dates[FIRST]))
    assert found.clean and found.made["dates"][0] == str(raw.dates[FIRST])
    assert not look_ahead(in_sample, raw, 1, fitted_until=str(raw.dates[FIRST - 1])).clean


# -- firms ------------------------------------------------------------


def test_where_all_firms_are_listed_some_are_taken_off(raw):
    full = raw.replace(listed=np.ones(raw.shape, bool))

    def all_counted(panel):
        return panel.returns - np.nanmean(panel.returns, axis=1, keepdims=True)

    def listed_counted(panel):
        return all_counted(panel.replace(returns=np.where(panel.listed, panel.returns, np.nan)))

    assert "absent firms" in look_ahead(all_counted, full, 1).of("caught")
    assert "absent firms" in look_ahead(listed_counted, full, 1).of("passed")


def test_a_pipeline_that_needs_every_firm_listed_is_suspect(raw):
    full = raw.replace(listed=np.ones(raw.shape, bool))

    def pipeline(panel):
        if not panel.listed[: FIRST + 1].all():
            raise ValueError("a firm is missing")
        return honest(panel)

    assert (
        "the pipeline fails where firms are not listed"
        in row_of(look_ahead(pipeline, full, 1), "absent firms")["found"]
    )


def test_forecasts_of_the_first_firms_only_depend_on_order(raw):
    found = look_ahead(lambda panel: np.where(np.arange(panel.shape[1]) < 10, honest(panel), np.nan), raw, 1)
    assert "which firms get a forecast depends on their order" in row_of(found, "order of firms")["found"]
    assert found.of("caught") == ["order of firms"]


def test_a_pipeline_that_asks_for_an_order_is_suspect(raw):
    def pipeline(panel):
        if panel.firms.tolist() != raw.firms.tolist():
            raise KeyError("not my firms")
        return honest(panel)

    said = row_of(look_ahead(pipeline, raw, 1), "order of firms")
    assert said["verdict"] == "suspect" and "KeyError" in said["found"]


def test_sums_in_another_order_are_no_finding(raw):
    def single(panel):
        values = np.where(observed(panel, slice(None)), panel.returns, 0.0).astype(np.float32)
        return np.where(observed(panel, slice(None)), values - values.cumsum(axis=1)[:, -1:], np.nan)

    assert not np.array_equal(read(single(raw[:, ::-1]), raw).values[0][:, ::-1], single(raw))
    assert look_ahead(single, raw, 1).clean


def test_forecasts_that_fill_gaps_are_suspect_and_their_labels_caught(raw):
    found = look_ahead(rows_repeated_with_labels, raw, 1)
    made = read(rows_repeated_with_labels(raw), raw)
    filled = made.given & ~observed(raw, slice(None))
    assert row_of(found, "gaps")["worst"] == filled.sum() > 5
    assert found.of("suspect") == ["gaps"] and found.of("caught") == ["realised returns"]


@pytest.mark.parametrize("stand_in", [0.0, -0.3])
def test_a_delisting_return_that_stands_in_is_no_wrong_label(raw, stand_in):
    def pipeline(panel, shift=0):
        label = forward_returns(panel, np.arange(len(panel)), TargetConfig(HORIZON, 0, stand_in))
        rows, firms = np.nonzero(np.isfinite(honest(panel)))
        return as_forecasts(panel, rows, firms, honest(panel), np.roll(label, shift, axis=0))

    leaving = last_listed(raw)[2]
    assert FIRST < leaving < len(raw) - 1 and np.isnan(raw.returns[leaving + 1, 2])
    assert row_of(look_ahead(pipeline, raw, 1), "realised returns")["verdict"] == "passed"
    early = row_of(look_ahead(lambda panel: pipeline(panel, 1), raw, 1), "realised returns")
    assert early["verdict"] == "caught" and early["worst"] > 0.01


# -- other futures ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_another_future_leaves_the_past_and_the_shapes(raw, reports, kind):
    row = 200
    given = Given(raw, reports)
    changed = change(given, row, kind, np.random.default_rng(0))
    assert changed.panel[: row + 1].fingerprint == raw[: row + 1].fingerprint
    assert changed.panel.shape == raw.shape and changed.panel.features.shape == raw.features.shape
    assert not np.array_equal(changed.panel.returns[row + 2], raw.returns[row + 2], equal_nan=True)
    late = reports["available"] > pd.Timestamp(raw.dates[row])
    pd.testing.assert_frame_equal(changed.reports[~late], reports[~late])
    same = (changed.reports["earnings"] == reports["earnings"])[late]
    assert same.mean() < 0.75 and changed.reports.drop(columns="earnings").equals(reports.drop(columns="earnings"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_firm_that_has_left_may_come_back_where_firms_are_exchanged(raw, kind):
    row = 221  # long after firms 2 and 3
    changed = change(Given(raw), row, kind, np.random.default_rng(0)).panel
    assert changed.listed[row + 1 :, 2:4].any() == (kind == "firms exchanged")


@pytest.mark.parametrize("away", [slice(145, 170), slice(150, 250)])
def test_an_interruption_at_the_end_of_training_is_no_false_alarm(raw, away):
    listed = raw.listed.copy()
    listed[away, 6] = False
    panel = raw.replace(listed=listed)
    for pipeline in (honest, CLEAN["refitted every 20 rows"][0]):
        found = look_ahead(pipeline, panel, 2)
        assert found.clean, str(found)
    splits = WalkForward(str(panel.dates[FIRST]), valid=20, horizon=HORIZON)
    assert look_ahead(Ridge(lookback=5), panel, 1, splits=splits).clean


def test_a_firm_that_was_to_come_back_may_stay_away(raw):
    listed = raw.listed.copy()
    listed[195:210, 5:24] = False
    changed = change(Given(raw.replace(listed=listed)), 200, "delistings", np.random.default_rng(0)).panel
    away = ~changed.listed[201:, 5:24].any(axis=0)
    assert 5 <= away.sum() <= 14


def test_delistings_take_half_of_the_firms_and_leave_the_return_of_the_day(raw):
    changed = change(Given(raw), 200, "delistings", np.random.default_rng(0)).panel
    gone = raw.listed[201] & ~changed.listed[201]
    assert gone.sum() == 12 and not changed.listed[201:, gone].any()
    np.testing.assert_array_equal(changed.returns[201], raw.returns[201])
    assert np.isnan(changed.returns[202:, gone]).all() and np.isnan(changed.features[201:, gone]).all()
    assert np.isnan(changed.price[201:, gone]).all() and not np.isnan(changed.price[201, ~gone & raw.listed[201]]).any()


def test_reversed_returns_keep_each_dates_mean(raw):
    changed = change(Given(raw), 200, "returns reversed", np.random.default_rng(0)).panel
    np.testing.assert_allclose(np.nanmean(changed.returns, axis=1), np.nanmean(raw.returns, axis=1), atol=1e-12)
    excess = [panel.returns - np.nanmean(panel.returns, axis=1, keepdims=True) for panel in (raw, changed)]
    np.testing.assert_allclose(excess[0][201:], -excess[1][201:], atol=1e-12)


def test_exchanged_firms_have_each_others_future(raw):
    changed = change(Given(raw), 200, "firms exchanged", np.random.default_rng(0)).panel
    np.testing.assert_array_equal(np.sort(changed.price[210]), np.sort(raw.price[210]))
    here = changed.listed[210]
    assert (changed.price[210, here] != raw.price[210, here]).all()
    np.testing.assert_array_equal(changed.industry[:201], raw.industry[:201])
    owner = [np.flatnonzero(raw.price[210] == price)[0] for price in changed.price[210, here]]
    np.testing.assert_array_equal(changed.features[210, here], raw.features[210, owner])
    np.testing.assert_array_equal(changed.industry[210, here], raw.industry[210, owner])


def test_every_group_is_changed_and_can_be_changed_alone(raw, reports):
    panel = raw.replace(risk_free=np.full(len(raw), 0.001), factors=np.zeros((len(raw), 1)), factor_names=("m",))
    given = Given(panel, reports)
    names = groups(given)
    assert names == ["returns", "listings", "industry codes", "market_cap", "price", "risk_free", "factors",
                     "feature value", "feature quality", "reports"]  # fmt: skip
    random = np.random.default_rng(0)
    changed = {kind: change(given, 200, kind, random) for kind in KINDS}
    assert mixed(given, changed["other values"], names).panel.fingerprint == changed["other values"].panel.fingerprint
    for name in names:
        alone = mixed(given, changed["delistings" if name == "listings" else "other values"], [name])
        assert (alone.reports is not reports) == (name == "reports")
        assert (alone.panel.fingerprint != panel.fingerprint) == (name != "reports")
        value = alone.panel.features[201:, :, 0], panel.features[201:, :, 0]
        assert np.array_equal(*value, equal_nan=True) == (name != "feature value")


def test_wild_values_change_only_what_they_may(raw):
    cells = unlisted(raw)
    other = wild(raw, cells, np.random.default_rng(0))
    for name in ("returns", "price", "market_cap", "industry"):
        before, after = getattr(raw, name), getattr(other, name)
        np.testing.assert_array_equal(before[~cells], after[~cells])
        assert not np.array_equal(before[cells], after[cells], equal_nan=True)
    assert np.isfinite(other.features[cells]).all() and np.isfinite(other.returns[cells]).all()
    # What a firm returns on the day after its last is its delisting return.
    assert not cells[last_listed(raw)[2] + 1, 2] and cells[last_listed(raw)[2] + 2, 2] and cells[0, 1]


def test_whole_numbers_and_text_of_reports_are_exchanged_or_left(raw, reports):
    table = reports.assign(year=np.arange(len(reports)), form="10-Q", amended=False)
    changed = change(Given(raw, table), 150, "other values", np.random.default_rng(0)).reports
    assert sorted(changed["year"]) == sorted(table["year"]) and not changed["year"].equals(table["year"])
    assert changed[["form", "amended", "firm"]].equals(table[["form", "amended", "firm"]])


def test_a_report_available_on_the_day_itself_is_known(raw):
    day = str(raw.dates[200])
    table = pd.DataFrame({"firm": "F00", "available": [day, str(raw.dates[201]), None], "earnings": [1.0, 2.0, 3.0]})
    changed = change(Given(raw, table), 200, "other values", np.random.default_rng(0)).reports
    assert (changed["earnings"] == table["earnings"]).tolist() == [True, False, True]


# -- forms of forecasts ------------------------------------------------------------

SMALL = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.0], [0.1, -0.2]])
VALUES = np.array([[1.0, np.nan], [3.0, 4.0]])


def long_of(**columns):
    base = {"date": ["2020-01-02", "2020-01-03", "2020-01-03"], "firm": ["A", "A", "B"], "score": [1.0, 3.0, 4.0]}
    return pd.DataFrame(base | columns)


@pytest.mark.parametrize(
    "made",
    [
        VALUES,
        VALUES.astype(np.float32),
        long_of(),
        long_of(fold=[0, 1, 1])[::-1],
        long_of().set_index(["date", "firm"])["score"],
        pd.DataFrame(VALUES, SMALL.dates, SMALL.firms)[["B", "A"]],
        pd.DataFrame(VALUES, ["2020-01-02", "2020-01-03"], ["A", "B"]),
    ],
    ids=["array", "single precision", "long", "long, other order", "series", "wide", "wide, text"],
)
def test_all_forms_of_forecasts_are_read_alike(made):
    np.testing.assert_array_equal(read(made, SMALL).values, VALUES[None])


def test_forecasts_of_several_models_and_seeds_are_apart():
    table = pd.concat(
        [long_of(model=m, seed=s, score=[v] * 3) for v, (m, s) in enumerate([("b", 1), ("a", 0), ("b", 0)])]
    )
    made = read(table.assign(realised=[0.1, np.nan, 0.2] * 3), SMALL)
    assert made.labels == ("score of a 0", "score of b 0", "score of b 1")
    assert np.nanmax(made.values, axis=(1, 2)).tolist() == [1.0, 2.0, 0.0]
    np.testing.assert_array_equal(made.realised, [[0.1, np.nan], [np.nan, 0.2]])


def test_the_target_is_read_from_forecasts_of_the_same_periods():
    table = long_of(model="m", fold=0, seed=0, prediction=0.0, realised=0.1)
    table["date"] = pd.to_datetime(table["date"])
    made = read(Forecasts(table, 2, 1, 0, 252), SMALL)
    assert made.target == TargetConfig(2, 1) and made.labels == ("score of m 0", "prediction of m 0")
    assert read(Forecasts(table, 2, 1, 0, 12), SMALL).target is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "a pipeline must return Forecasts, a frame or an array"),
        (["a", "b"], "found list"),
        (VALUES[:1], r"shape \[t n\] = \(2, 2\), found \(1, 2\)"),
        (VALUES * np.inf, "must be finite or NaN"),
        (VALUES * np.nan, "at least one forecast, found none"),
        (long_of(firm=["A", "A", "C"]), "firms must be the panel's, found 'C'"),
        (long_of(date="2020-01-06"), "dates must be the panel's, found '2020-01-06'"),
        (long_of(firm="A"), "one forecast of a firm-date"),
        (long_of().drop(columns="score"), "must have a column of forecasts"),
        (pd.DataFrame(VALUES, ["2020-01-02"] * 2, ["A", "B"]), "dates of a pipeline's wide frame must be unique"),
    ],
)
def test_what_a_pipeline_cannot_return_is_refused(made, message):
    with pytest.raises(InputError, match=message):
        read(made, SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline": 3}, "a function of a panel, a forecaster or a scikit-learn regressor, found 3"),
        ({"pipeline": Ridge}, "found <class"),
        ({"dates": 0}, "dates must be a whole number of at least 1, found 0"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"splits": WalkForward("2001-06-01")}, "splits go with a forecaster"),
        ({"reports": pd.DataFrame({"firm": ["F00"], "x": [1.0]})}, "must have columns firm, available"),
        ({"fitted_until": "2002-12-31"}, "not before fitted_until 2002-12-31, found none"),
        ({"fitted_until": "soon"}, "a day must read like"),
        ({"reports": pd.DataFrame({"firm": ["F00"], "available": ["2001-05-01"]})}, "where there are reports"),
        (
            {"reports": pd.DataFrame({"firm": ["F00"], "available": ["2001-05-01"]}), "pipeline": Ridge()},
            "beside a forec",
        ),
        (
            {"pipeline": lambda panel: np.where(np.arange(260)[:, None] == 259, panel.price, np.nan)},
            "before the panel's",
        ),
    ],
)
def test_what_cannot_be_certified_is_refused(raw, changes, message):
    pipeline = changes.pop("pipeline", honest)
    with pytest.raises(InputError, match=message):
        look_ahead(pipeline, raw, **changes)


def test_forecasts_of_other_models_each_time_are_refused():
    made = [Made((name,), VALUES[None]) for name in "ab"]
    with pytest.raises(InputError, match=r"the same things each time, found \['a'\] and \['b'\]"):
        difference(*made, SMALL, np.ones((2, 2), bool), 0.0)


# -- differences ------------------------------------------------------------


def differs(change, tolerance=0.0, where=True):
    before = Made(("x",), VALUES[None])
    return difference(before, Made(("x",), (VALUES + change)[None]), SMALL, np.full((2, 2), where), tolerance)


def test_the_last_bit_counts_and_a_tolerance_is_of_the_forecast():
    assert differs(0.0) is None
    assert differs(np.spacing(VALUES)).changed == 3
    assert differs(1e-6, 1e-5) is None and differs(1e-4, 1e-5).changed == 3
    assert differs([[1.5e-5, 0], [0, 0]], 1e-5).changed == 1
    assert differs([[0, 0], [0, 3.9e-5]], 1e-5) is None  # of a forecast of 4


def test_forecasts_that_appear_or_vanish_count_and_have_no_size():
    found = differs([[np.nan, 0], [0, 0.5]])
    assert (found.changed, found.appeared, found.total, found.rows.tolist()) == (2, 1, 3, [0, 1])
    assert (found.firm, found.date, found.largest) == ("B", "2020-01-03", 0.5)
    assert "most the x of B on 2020-01-03, by 0.5" in in_words(found) and "1 of these appeared" in in_words(found)
    only = differs([[np.nan, 0], [0, 0]])
    assert np.isnan(only.largest) and (only.firm, only.date) == ("A", "2020-01-02")


def test_what_lies_outside_is_not_compared():
    past = np.array([[True, True], [False, False]])
    made = [Made(("x",), values[None]) for values in (VALUES, VALUES + [[0, 0], [1, 1]])]
    assert difference(*made, SMALL, past, 0.0) is None


def test_reach_counts_rows_back_from_the_change():
    assert reach(differs([[0, 0], [0, 1]]), SMALL, 1) == "on 2020-01-03 itself"
    assert "from 2020-01-02 on, 1 rows before" in reach(differs([[1, 0], [0, 0]]), SMALL, 1)


# -- certificates ------------------------------------------------------------


def test_a_certificate_is_read_as_text_and_as_json(tmp_path):
    rows = [Finding("a", "passed", "well"), Finding("b", "caught", "word " * 40, 0.5), Finding("c", "suspect", "hm")]
    certificate = certificate_of(rows, {"seed": 1})
    lines = str(certificate).splitlines()
    assert lines[0] == "not clean: 1 caught, 1 suspect" and max(map(len, lines)) <= 118 and len(lines) == 5
    certificate.save(tmp_path / "leaks.json")
    kept = json.loads((tmp_path / "leaks.json").read_text())
    assert kept == json.loads(certificate.to_json()) and kept["made"] == {"seed": 1} and kept["clean"] is False
    assert [row["worst"] for row in kept["findings"]] == [None, 0.5, None]
    assert certificate.of("caught") == ["b"]


@pytest.mark.parametrize(
    ("verdict", "clean"),
    [("passed", True), ("undecided", True), ("not run", True), ("suspect", False), ("caught", False)],
)
def test_only_what_is_caught_or_suspect_is_not_clean(verdict, clean):
    assert certificate_of([Finding("a", verdict, "so")], {}).clean is clean


def test_a_table_of_something_else_is_no_certificate():
    with pytest.raises(InputError, match="must have columns check, verdict, found, worst"):
        Certificate(pd.DataFrame({"check": ["a"]}))
    with pytest.raises(InputError, match="a verdict must be one of passed"):
        certificate_of([Finding("a", "good", "so")], {})


# -- screens ------------------------------------------------------------


@pytest.mark.parametrize("name", READY)
def test_a_ready_made_panel_that_bears_a_mark_is_suspect(raw, name):
    make, check = READY[name]
    assert screen(make(raw), HORIZON).of("suspect") == [check]


def test_repeated_rows_matter_where_labels_overlap_and_it_is_said_what_follows_them(raw):
    ready = READY["gaps filled by repeating rows"][0](raw)
    said = row_of(screen(ready, HORIZON), "repeated rows")["found"]
    assert "while labels of 5 rows overlap; the absolute 5-row return after them is 1.9 times" in said
    assert row_of(screen(ready, 1), "repeated rows")["verdict"] == "not run"


def test_reports_dated_by_their_period_are_suspect(raw, reports):
    assert "reports on time" in screen(raw, reports=reports).of("passed")
    on_time = reports.assign(available=reports["period_end"] + pd.Timedelta("2D"))
    assert screen(raw, reports=on_time).of("suspect") == ["reports on time"]


def test_screens_are_silent_on_panels_without_a_mark(raw):
    names = ("momentum", "reversal", "volatility", "beta", "maximum_return", "drawdown")
    built = features.build(sample()["2008":"2012"], names)
    own = built.replace(features=np.stack([features.raw(built, name) for name in names], axis=2))
    for panel, horizon in ((raw, 5), (built, 1), (built, 21), (own, 5), (make_panel(), 5), (simulate(60, 400)[0], 5)):
        assert screen(panel, horizon).clean, str(screen(panel, horizon))


def test_ranks_flags_and_capped_numbers_do_not_look_divided_by_their_maximum():
    random = np.random.default_rng(0)
    x = random.standard_normal((290, 100))
    ranks = features.rank(x, np.ones(x.shape, bool))
    first = (ranks == 1).sum(axis=0)
    assert (first > 0).mean() > 0.9 and np.median(first) <= 3  # most firms are first a few times
    rare = np.argsort(np.argsort(x, axis=0), axis=0) < 2
    low = x - x.min(axis=1, keepdims=True)
    columns = [ranks, low / low.max(axis=1, keepdims=True), x > 1, rare]
    columns += [np.minimum(np.abs(x), 1.0), np.maximum.accumulate(x) == x]
    days = np.busday_offset("2001-01-01", np.arange(290), roll="forward")
    panel = Panel(
        dates=days,
        firms=[f"F{i}" for i in range(100)],
        returns=0.01 * x,
        features=np.stack(columns, 2).astype(float),
        feature_names=("rank", "between the date's least and largest", "flag", "rare flag", "capped", "record"),
    )
    assert "whole-sample maximum" in screen(panel).of("passed")
    level = np.exp(x.cumsum(axis=0) / 50)[:, :, None]
    scaled = panel.replace(features=level, feature_names=("level",))
    assert "whole-sample maximum" in screen(scaled).of("passed")
    over = panel.replace(features=level / level.max(axis=0), feature_names=("level",))
    assert screen(over).of("suspect") == ["whole-sample maximum"]


def test_many_firms_of_few_dates_divided_by_their_maximum_are_suspect():
    random = np.random.default_rng(0)
    level = np.exp(random.normal(0, 0.02, (40, 400)).cumsum(axis=0))
    days = np.busday_offset("2001-01-01", np.arange(40), roll="forward")
    panel = Panel(
        days, [f"F{i}" for i in range(400)], random.normal(0, 0.02, (40, 400)), price=level / level.max(axis=0)
    )
    assert (panel.price == 1).any(axis=1).all()  # a firm of each date is at its maximum, as in ranks
    assert screen(panel).of("suspect") == ["whole-sample maximum"]


def test_prices_that_do_not_move_are_no_repeated_rows(raw):
    still = raw.replace(returns=np.where(np.random.default_rng(0).random(raw.shape) < 0.2, 0.0, raw.returns))
    assert "repeated rows" in screen(still, HORIZON).of("passed")
    twice = raw.returns.copy()
    twice[100:200:10, 5] = twice[99:199:10, 5]
    assert screen(raw.replace(returns=twice), HORIZON).of("suspect") == ["repeated rows"]


def test_scores_standardised_date_by_date_are_not_scaled_by_all_dates(raw):
    value = np.nan_to_num(raw.features[:, :, 1])
    centred = np.where(raw.listed, value - value.mean(axis=1, keepdims=True, where=raw.listed), np.nan)
    scores = centred / np.sqrt(np.nanmean(centred**2, axis=1, keepdims=True))
    panel = raw.replace(features=scores[:, :, None], feature_names=("score",))
    assert abs(np.nanmean(scores)) < 1e-9 and np.nanstd(scores) == pytest.approx(1)
    assert screen(panel).clean


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon must be a whole number of at least 1, found 0"),
        ({"implausible_ic": 0}, "implausible_ic must be above 0 and at most 1, found 0"),
        ({"reports": pd.DataFrame({"available": ["2001-01-31"]})}, "must have columns available, period_end"),
    ],
)
def test_what_cannot_be_screened_is_refused(raw, changes, message):
    with pytest.raises(InputError, match=message):
        screen(raw, **changes)


def test_the_benchmark_counts_what_is_caught_and_what_is_a_false_alarm(monkeypatch):
    good, bad = (certificate_of([Finding("a", verdict, "so")], {}) for verdict in ("passed", "caught"))
    monkeypatch.setattr(benchmark, "planted", lambda draw: iter([("x", True, bad), ("y", draw == 0, bad)]))
    monkeypatch.setattr(benchmark, "clean", lambda draw: iter([("z", True, good), ("w", draw == 0, good)]))
    figures, details = benchmark.measure(2)
    assert figures == {"leaks_planted": 2, "leaks_caught": 1, "pipelines_clean": 2, "false_alarms": 1}
    assert details["planted"] == {"x": 2, "y": 1} and details["clean"] == {"z": 2, "w": 1}


def test_a_future_in_which_every_run_fails_is_no_pass(raw):
    def pipeline(panel):
        if panel.fingerprint != raw.fingerprint:
            raise RuntimeError("another panel")
        return honest(panel)

    found = look_ahead(pipeline, raw, 2)
    assert "future" not in found.table["check"].tolist() and not found.clean
    assert "fails in 6 of 6 runs" in row_of(found, "runs")["found"]


def test_too_few_firms_to_tell_places_from_chance_are_undecided():
    random = np.random.default_rng(0)
    days = np.arange("2020-01-01", "2020-02-10", dtype="M8[D]")
    panel = Panel(days, list("ABC"), random.normal(0, 0.01, (40, 3)))
    assert look_ahead(lambda panel: panel.returns + np.arange(3), panel, 1).of("undecided") == ["order of firms"]
    four = Panel(days, list("ABCD"), random.normal(0, 0.01, (40, 4)))
    assert look_ahead(lambda panel: panel.returns + np.arange(4), four, 1).of("caught") == ["order of firms"]


def test_forecasts_of_absent_firms_themselves_may_change(raw):
    found = look_ahead(lambda panel: panel.features[:, :, 1], raw, 1)
    assert found.of("caught") == [] and "absent firms" in found.of("passed")


def test_the_first_date_is_tried_in_every_way_and_further_ones_in_ways_of_their_own():
    cases = _cases(np.array([10, 20, 30]), np.random.default_rng(0))
    kinds = list(KINDS)
    assert [(case.row, case.kind) for case in cases] == [
        *((10, kind) for kind in kinds),
        (20, kinds[0]),
        (30, kinds[1]),
    ]
    assert len({case.seed for case in cases}) == len(cases)
