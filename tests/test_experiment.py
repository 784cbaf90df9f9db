import dataclasses
import json
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from finattn import ledger
from finattn.baselines import HistoricalMean, Ridge, SICKernel, Zero
from finattn.blocks import Blocks, Scaling, factor_panel
from finattn.config import BASELINES, OTHERS, BaselinesConfig, RunConfig, TargetConfig, TrainingConfig
from finattn.errors import InputError
from finattn.evaluation import portfolio
from finattn.experiment import (
    Forecaster,
    Rung,
    Step,
    calibrate,
    fit_folder,
    fold_spans,
    rungs,
    tuning,
    walk_forward,
)
from finattn.splits import WalkForward
from finattn.training import AttentionForecaster

TARGET = TargetConfig(horizon=2)


class Momentum:
    """A user's forecaster: last return times a constant; counts the fits of all its copies."""

    units: Literal["score"] = "score"
    fits = 0

    def __init__(self, constant=1.0):
        self.constant, self.seen, self.chosen = constant, [], {}

    def fit(self, train, valid):
        type(self).fits += 1
        self.seen.append(len(train.positions))
        self.chosen = {"rows": np.int64(len(train.positions))}
        return self

    def predict(self, blocks):
        return np.where(blocks.observed, self.constant * blocks.panel.returns[blocks.positions], np.nan)


@pytest.fixture
def splits(panel):
    return WalkForward(str(panel.dates[300]), test=40, valid=40, horizon=2, decisions="weekly", start=30)


@pytest.fixture(autouse=True)
def no_fits_yet():
    Momentum.fits = 0


def frame(forecasts):
    return forecasts.table


# -- walk forward ------------------------------------------------------------


def test_forecasts_are_of_every_observed_firm_on_every_decision_date(panel, splits):
    forecasts = walk_forward(panel, {"zero": Zero(), "momentum": Momentum()}, splits, TARGET)
    folds = list(splits.split(panel.dates))
    expected = [
        (date, firm, name, fold.number)
        for fold in folds
        for name in ("zero", "momentum")
        for row, date in zip(fold.test, panel.dates[fold.test], strict=True)
        for firm in panel.firms[panel.listed[row] & np.isfinite(panel.returns[row])]
    ]
    table = frame(forecasts)
    days = table["date"].to_numpy().astype("datetime64[D]")
    assert list(zip(days, table["firm"], table["model"], table["fold"], strict=True)) == expected
    assert len(folds) == 3 and forecasts.models == ("zero", "momentum")
    assert (forecasts.horizon, forecasts.delay, forecasts.overlap, forecasts.periods_per_year) == (2, 0, 0, 252)


def test_realised_is_the_forward_return_and_score_is_what_was_predicted(panel, splits):
    table = frame(walk_forward(panel, {"momentum": Momentum(3.0)}, splits, TARGET))
    place = {day: row for row, day in enumerate(panel.dates)}
    column = {firm: i for i, firm in enumerate(panel.firms)}
    for line in table.iloc[[0, 25, 100, len(table) - 40]].itertuples():
        row, firm = place[np.datetime64(line.date, "D")], column[line.firm]
        assert line.score == 3 * panel.returns[row, firm]
        if panel.listed[row : row + 3, firm].all():
            growth = (1 + panel.returns[row + 1, firm]) * (1 + panel.returns[row + 2, firm])
            np.testing.assert_allclose(line.realised, growth - 1)


def test_a_firm_that_is_interrupted_at_the_end_of_a_fold_has_no_realised_return(panel, splits):
    last = next(splits.split(panel.dates)).test[-1]
    firm = int(np.argmax(panel.listed[last : last + 8].all(axis=0)))
    listed = panel.listed.copy()
    listed[last + 1 : last + 6, firm] = False  # it comes back after the fold's last label
    table = frame(walk_forward(panel.replace(listed=listed), {"zero": Zero()}, splits, TARGET))
    at_end = table["date"].to_numpy().astype("datetime64[D]") == panel.dates[last]
    assert table[at_end & (table["firm"] == panel.firms[firm])]["realised"].isna().tolist() == [True]


def test_forecasters_by_name_are_fitted_anew_in_each_fold(panel, splits):
    mine = Momentum()
    walk_forward(panel, {"momentum": mine}, splits, TARGET)
    assert Momentum.fits == 3 and mine.seen == [] and mine.chosen == {}


def test_rungs_are_made_for_every_fold_and_seed(panel, splits):
    made = []
    rung = Rung("momentum", lambda seed: made.append(seed) or Momentum(1.0 + seed), seeds=(0, 4))
    table = frame(walk_forward(panel, [rung], splits, TARGET))
    assert made == [0, 4] * 3 and set(table["seed"]) == {0, 4}
    one, other = (table.loc[table["seed"] == seed, "score"].to_numpy() for seed in (0, 4))
    np.testing.assert_allclose(other, 5 * one)


def test_units_of_return_are_taken_as_they_are(panel, splits):
    table = frame(walk_forward(panel, {"mean": HistoricalMean()}, splits, TARGET))
    assert (table["prediction"] == table["score"]).all()


def test_progress_is_told_before_each_fit(panel, splits, tmp_path):
    steps = []
    walk_forward(panel, {"zero": Zero(), "m": Momentum()}, splits, TARGET, tmp_path, steps.append)
    expected = [Step(2 * k + i, 6, k, name, 0, False) for k in range(3) for i, name in enumerate(("zero", "m"))]
    assert steps == expected
    again = []
    walk_forward(panel, {"zero": Zero(), "m": Momentum()}, splits, TARGET, tmp_path, again.append)
    assert again == [step._replace(done=True) for step in expected]


def test_the_baselines_and_the_model_are_forecasters():
    for forecaster in (Zero(), HistoricalMean(), Ridge(), SICKernel(), AttentionForecaster(("time",)), Momentum()):
        assert isinstance(forecaster, Forecaster)
    assert not isinstance(object(), Forecaster)


# -- files ------------------------------------------------------------


def everything(tmp_path):
    return {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file() and path.name != "key.json"
    }


def test_with_and_without_a_folder_the_forecasts_are_equal(panel, splits, tmp_path, small_model, short_training):
    forecasters = {
        "ridge": Ridge(lookback=3),
        "sic": SICKernel((1, 5), (0.5,)),
        "both": AttentionForecaster(("time", "firm"), small_model, short_training),
    }
    without = walk_forward(panel, forecasters, splits, TARGET)
    within = walk_forward(panel, forecasters, splits, TARGET, tmp_path / "folds")
    resumed = walk_forward(panel, forecasters, splits, TARGET, tmp_path / "folds")
    pd.testing.assert_frame_equal(frame(within), frame(without), check_exact=True)
    pd.testing.assert_frame_equal(frame(resumed), frame(without), check_exact=True)
    for name, forecasts in (("a", without), ("b", resumed)):
        forecasts.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    fits = {f"folds/{k}/{name}-0/{file}" for k in range(3) for name in forecasters
            for file in ("forecasts.parquet", "fit.json")}  # fmt: skip
    assert everything(tmp_path / ".") == fits | {f"folds/{k}/both-0/model.safetensors" for k in range(3)} | {"a", "b"}


def test_a_second_run_fits_only_what_is_missing(panel, splits, tmp_path):
    whole = walk_forward(panel, {"momentum": Momentum()}, splits, TARGET, tmp_path)
    assert Momentum.fits == 3
    place = fit_folder(tmp_path, 1, "momentum", 0)
    assert place == tmp_path / "1" / "momentum-0"
    for file in place.iterdir():
        file.unlink()
    again = walk_forward(panel, {"momentum": Momentum()}, splits, TARGET, tmp_path)
    assert Momentum.fits == 4
    pd.testing.assert_frame_equal(frame(again), frame(whole), check_exact=True)


class Fails(Momentum):
    """Fails in the second fold."""

    def fit(self, train, valid):
        if len(train.positions) > 240:
            raise RuntimeError("power cut")
        return super().fit(train, valid)


def test_a_run_that_failed_goes_on_after_the_last_fit_that_ended(panel, splits, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        walk_forward(panel, [Rung("momentum", lambda seed: Fails())], splits, TARGET, tmp_path)
    assert everything(tmp_path) == {"0/momentum-0/forecasts.parquet", "0/momentum-0/fit.json"}
    Momentum.fits = 0
    resumed = walk_forward(panel, [Rung("momentum", lambda seed: Momentum())], splits, TARGET, tmp_path)
    assert Momentum.fits == 2
    fresh = walk_forward(panel, {"momentum": Momentum()}, splits, TARGET)
    pd.testing.assert_frame_equal(frame(resumed), frame(fresh), check_exact=True)


def test_what_a_killed_process_left_half_written_is_swept(panel, splits, tmp_path):
    half = tmp_path / "1" / ".partial-momentum-0-x1y2"
    (half / "new").mkdir(parents=True)
    (half / "new" / "forecasts.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / ".partial-file").write_bytes(b"")
    forecasts = walk_forward(panel, {"momentum": Momentum()}, splits, TARGET, tmp_path)
    assert not list(tmp_path.rglob(".partial-*"))
    pd.testing.assert_frame_equal(
        frame(forecasts), frame(walk_forward(panel, {"momentum": Momentum()}, splits, TARGET)), check_exact=True
    )


def test_how_each_fit_was_tuned_is_written_and_read(panel, splits, tmp_path):
    walk_forward(panel, {"zero": Zero(), "momentum": Momentum()}, splits, TARGET, tmp_path)
    records = tuning(tmp_path)
    assert [(r["fold"], r["model"], r["seed"]) for r in records] == [
        (k, name, 0) for k in range(3) for name in ("momentum", "zero")
    ]
    assert records[0]["chosen"] == {"rows": len(next(splits.split(panel.dates)).train)}
    assert records[1]["chosen"] == {} and records[1]["calibration_slope"] == 1.0
    assert all(record["seconds"] >= 0 for record in records)
    assert json.loads((tmp_path / "0" / "zero-0" / "fit.json").read_text()) == records[1]


# -- refusals ------------------------------------------------------------


@pytest.mark.parametrize("target", [TargetConfig(horizon=5), TargetConfig(horizon=2, delay=1)])
def test_splits_that_purge_for_another_target_are_refused(panel, splits, target, tmp_path):
    message = f"splits must purge by the target's horizon {target.horizon} and delay {target.delay}, found 2 and 0"
    with pytest.raises(InputError, match=message):
        walk_forward(panel, {"zero": Zero()}, splits, target, tmp_path / "folds")
    assert not (tmp_path / "folds").exists()


@pytest.mark.parametrize(("name", "rows"), [("train", slice(31, 262, 2)), ("valid", slice(262, 302, 2))])
def test_a_fold_without_observed_targets_is_refused(panel, splits, name, rows):
    returns = panel.returns.copy()
    returns[rows] = np.nan
    with pytest.raises(InputError, match=f"observed targets, found none in the {name} dates of fold 0, 2001-|2002-"):
        walk_forward(panel.replace(returns=returns), {"zero": Zero()}, splits, TARGET)


def test_a_target_is_by_default_that_of_the_splits(panel, splits):
    table = frame(walk_forward(panel, {"zero": Zero()}, splits))
    pd.testing.assert_frame_equal(table, frame(walk_forward(panel, {"zero": Zero()}, splits, TARGET)))


def test_a_forecaster_that_leaves_out_an_observed_firm_is_refused(panel, splits):
    class Silent(Momentum):
        def predict(self, blocks):
            return np.full(blocks.observed.shape, np.nan)

    with pytest.raises(InputError, match="expected a finite score, found nan"):
        walk_forward(panel, {"silent": Silent()}, splits, TARGET)


# -- calibration ------------------------------------------------------------


class Given:
    """Predicts numbers that are given."""

    units: Literal["score"] = "score"

    def __init__(self, scores):
        self.scores = scores

    def predict(self, blocks):
        return self.scores


def calibration_cuts(panel):
    scaling = Scaling.fit(panel, np.arange(100, 200))
    return [Blocks(panel, rows, scaling, TARGET) for rows in (np.arange(100, 200), np.arange(210, 250))]


def test_calibration_equals_its_formula_written_out(panel):
    train, valid = calibration_cuts(panel)
    random, realised = np.random.default_rng(0), valid.realised
    scores = np.where(valid.observed, 40 * np.nan_to_num(realised) + random.standard_normal(realised.shape), np.nan)
    score = random.standard_normal((3, panel.shape[1]))
    score[1, 4] = np.nan
    prediction, slope = calibrate(Given(scores), train, valid, score)
    above = below = squares = 0.0
    pairs = []
    for s, r in zip(scores, realised, strict=True):
        both = np.isfinite(s) & np.isfinite(r)
        x, y = s[both] - s[both].mean(), r[both] - r[both].mean()
        above, below = above + x @ y, below + x @ x
        pairs.append((x, y))
    plain = above / below
    squares = sum((x @ (y - plain * x)) ** 2 for x, y in pairs)
    error = np.sqrt(squares) * np.sqrt(2) / below  # labels overlap by the horizon
    assert slope == pytest.approx(plain * max(0, 1 - (error / plain) ** 2), rel=1e-9) and 0 < slope < plain
    mean = np.nanmean(np.concatenate([train.realised, realised]))
    expected = mean + slope * (score - np.nanmean(score, axis=1, keepdims=True))
    np.testing.assert_allclose(prediction, expected, atol=1e-15)


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_a_slope_is_never_negative(panel, sign):
    train, valid = calibration_cuts(panel)
    scores = np.where(valid.observed, sign * np.nan_to_num(valid.realised), np.nan)
    prediction, slope = calibrate(Given(scores), train, valid, scores)
    mean = np.nanmean(np.concatenate([train.realised, valid.realised]))
    assert slope == 0
    np.testing.assert_allclose(prediction[valid.observed], mean)
    assert np.isnan(prediction[~valid.observed]).all()


def test_noise_is_shrunk_and_perfect_scores_are_not(panel):
    train, valid = calibration_cuts(panel)
    perfect = np.where(valid.observed, 10 * np.nan_to_num(valid.realised), np.nan)
    assert calibrate(Given(perfect), train, valid, perfect)[1] == pytest.approx(0.1, rel=0.02)
    noise = np.where(valid.observed, np.random.default_rng(2).standard_normal(perfect.shape), np.nan)
    assert 0 <= calibrate(Given(noise), train, valid, noise)[1] < 1e-3


# -- ledger ------------------------------------------------------------


def test_a_walk_forward_appends_its_forecasters_once(panel, splits, tmp_path):
    place, fits = tmp_path / "ledger", tmp_path / "fits"
    forecasts = walk_forward(panel, {"zero": Zero(), "mine": Momentum(2.0)}, splits, TARGET, fits, ledger=place)
    first, second = ledger.read_trials(place)
    assert (first.model, second.model, second.panel) == ("zero", "mine", panel.fingerprint)
    assert second.settings == json.loads((fits / "key.json").read_text())["forecasters"]["mine"]
    expected = portfolio(forecasts, panel, delay=1)
    own = expected.loc[expected["model"] == "mine", "net"]
    np.testing.assert_allclose(ledger.net_returns(place, second), own, rtol=0, atol=1e-12)
    walk_forward(panel, {"zero": Zero(), "mine": Momentum(2.0)}, splits, TARGET, fits, ledger=str(place))  # found
    walk_forward(panel, {"mine": Momentum(2.0)}, splits, TARGET, ledger=place)  # fitted again
    assert ledger.verify(place, [second.hash]) == 2
    walk_forward(panel, {"mine": Momentum(-2.0)}, splits, TARGET, ledger=place)
    assert ledger.verify(place, [second.hash]) == 3


def test_without_a_ledger_nothing_is_written(panel, splits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    walk_forward(panel, {"zero": Zero()}, splits, TARGET)
    assert not list(tmp_path.iterdir())


def test_a_broken_ledger_is_refused_before_anything_is_fitted(panel, splits, tmp_path):
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger/trials.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match="trials.jsonl, line 1: expected a trial"):
        walk_forward(panel, {"mine": Momentum()}, splits, TARGET, tmp_path / "fits", ledger=tmp_path / "ledger")
    assert Momentum.fits == 0 and not (tmp_path / "fits").exists()


def test_a_trial_holds_what_was_given_beside_the_panel(panel, splits, tmp_path):
    peers = panel.industry[0][:, None] == panel.industry[0]
    for neighbours in (None, peers):
        walk_forward(panel, {"mine": Momentum()}, splits, TARGET, ledger=tmp_path, neighbours=neighbours)
    first, second = ledger.read_trials(tmp_path)
    assert first.beside == {} and list(second.beside) == ["neighbours"] and first.net == second.net


# -- configuration ------------------------------------------------------------


def test_the_settings_of_rungs_tell_configurations_apart_and_nothing_else():
    names = (*BASELINES, *OTHERS, "both")
    config = RunConfig(forecasters=names)
    settings = {rung.name: rung.settings for rung in rungs(config)}
    assert all("NoneType" not in text and " at 0x" not in text for text in settings.values())
    training = TrainingConfig(seeds=(3, 4), threads=2)
    again = rungs(dataclasses.replace(config, training=training), on_epoch=lambda *told: None)
    assert {rung.name: rung.settings for rung in again} == settings
    changes = {
        "ridge": {"baselines": BaselinesConfig(ridge_strengths=(0.5,))},
        "sic_kernel": {"baselines": BaselinesConfig(bandwidths=(0.3,))},
        "both": {"model": dataclasses.replace(config.model, width=8)},
        "lstm": {"training": TrainingConfig(epochs=99)},
    }
    for name, change in changes.items():
        other = {rung.name: rung.settings for rung in rungs(dataclasses.replace(config, **change))}
        assert other[name] != settings[name] and other["zero"] == settings["zero"], name


def test_rungs_follow_the_configuration():
    config = RunConfig(
        forecasters=("both", "ridge", "sic_kernel", "sic_average", "historical_mean", "zero"),
        training=TrainingConfig(seeds=(3, 5)),
        baselines=BaselinesConfig(ridge_strengths=(0.5,), ridge_lookback=7, bandwidths=(0.3,), minimum_peers=4),
    )
    found = rungs(config)
    assert [rung.name for rung in found] == list(config.forecasters)
    assert [rung.seeds for rung in found] == [(3, 5)] + [(0,)] * 5
    both, ridge, kernel, average, mean, zero = (rung.make(5) for rung in found)
    assert (both.axes, both.seed, both.model_config) == (("time", "firm"), 5, config.model)
    assert (ridge.strengths, ridge.lookback) == ((0.5,), 7)
    assert (kernel.bandwidths, kernel.minimum_peers, average.bandwidths) == ((0.3,), 4, (None,))
    assert isinstance(mean, HistoricalMean) and isinstance(zero, Zero)


def test_the_spans_of_folds_are_days(panel, splits):
    spans, folds = fold_spans(panel, splits), list(splits.split(panel.dates))
    assert [span["fold"] for span in spans] == [0, 1, 2]
    assert spans[1]["train_start"] == str(panel.dates[30])
    assert spans[1]["test_end"] == str(panel.dates[folds[1].test[-1]])


def test_a_folder_of_other_fits_is_refused(panel, tmp_path):
    splits = WalkForward(str(panel.dates[300]), test=40, valid=40, horizon=2, start=30)
    walk_forward(panel, {"mean": HistoricalMean()}, splits, folder=str(tmp_path))
    again = walk_forward(panel, {"mean": HistoricalMean()}, splits, folder=tmp_path)
    assert len(again.table)
    longer = dataclasses.replace(splits, horizon=3)
    for change, word in (
        (lambda: walk_forward(panel, {"mean": Zero()}, splits, folder=tmp_path), "forecasters"),
        (lambda: walk_forward(panel, {"mean": HistoricalMean()}, longer, folder=tmp_path), "target, splits"),
        (lambda: walk_forward(panel[:400], {"mean": HistoricalMean()}, splits, folder=tmp_path), "panel"),
    ):
        with pytest.raises(InputError, match=f"must hold fits of one panel.*found another {word}"):
            change()
    with pytest.raises(InputError, match="at least one forecaster"):
        walk_forward(panel, {}, splits)


# -- a reference universe ------------------------------------------------------------


@pytest.fixture(scope="module")
def universe(panel):
    random = np.random.default_rng(4)
    factors = 0.01 * random.standard_normal((len(panel), 2))
    return factor_panel(panel.replace(factors=factors, factor_names=["market", "size"]))


def test_firms_can_query_a_reference_universe_fold_by_fold(panel, splits, universe, small_model, tmp_path):
    training = TrainingConfig(epochs=1, minimum_epochs=1)
    models = {"risk": AttentionForecaster(("time", "reference"), small_model, training)}
    forecasts = walk_forward(panel, models, splits, TARGET, tmp_path, reference=universe)
    assert forecasts.models == ("risk",)
    again = walk_forward(panel, models, splits, TARGET, tmp_path, reference=universe)
    assert frame(again).equals(frame(forecasts))
    other = universe.replace(returns=universe.returns + 0.001)
    for reference in (other, None):
        with pytest.raises(InputError, match="must hold fits of one panel.*found another reference"):
            walk_forward(panel, models, splits, TARGET, tmp_path, reference=reference)


def test_a_model_of_a_reference_needs_one(panel, splits, small_model):
    with pytest.raises(InputError, match="axis 'reference' and reference_inputs must be given together"):
        walk_forward(panel, {"risk": AttentionForecaster(("reference",), small_model)}, splits, TARGET)


# -- neighbours ------------------------------------------------------------


def test_firms_can_attend_to_given_neighbours_fold_by_fold(panel, splits, small_model, tmp_path):
    codes = panel.industry[0]
    peers = (codes[:, None] == codes) | np.eye(panel.shape[1], dtype=bool)
    models = {"graph": AttentionForecaster(("neighbours",), small_model, TrainingConfig(epochs=1, minimum_epochs=1))}
    forecasts = walk_forward(panel, models, splits, TARGET, tmp_path, neighbours=peers)
    assert walk_forward(panel, models, splits, TARGET, tmp_path, neighbours=peers).table.equals(forecasts.table)
    dated = np.broadcast_to(peers, (len(panel), *peers.shape))
    assert walk_forward(panel, models, splits, TARGET, neighbours=dated).table.equals(forecasts.table)
    others = ~peers | np.eye(len(codes), dtype=bool)
    assert not walk_forward(panel, models, splits, TARGET, neighbours=others).table.equals(forecasts.table)
    for neighbours in (others, None):
        with pytest.raises(InputError, match="must hold fits of one panel.*found another neighbours"):
            walk_forward(panel, models, splits, TARGET, tmp_path, neighbours=neighbours)


@pytest.mark.parametrize("neighbours", [np.ones((2, 3), bool), np.ones((12, 12))])
def test_neighbours_of_another_shape_or_type_are_refused(panel, splits, small_model, neighbours, tmp_path):
    models = {"graph": AttentionForecaster(("neighbours",), small_model)}
    with pytest.raises(InputError, match="neighbours must"):
        walk_forward(panel, models, splits, TARGET, tmp_path / "fits", neighbours=neighbours)
    assert not (tmp_path / "fits").exists()


def test_a_folder_without_a_fit_belongs_to_nothing_yet(panel, splits, small_model, tmp_path):
    models = {"graph": AttentionForecaster(("neighbours",), small_model, TrainingConfig(epochs=1, minimum_epochs=1))}
    with pytest.raises(InputError, match="axis 'neighbours' needs a neighbourhood"):
        walk_forward(panel, models, splits, TARGET, tmp_path)
    peers = np.ones((panel.shape[1],) * 2, bool)
    assert len(walk_forward(panel, models, splits, TARGET, tmp_path, neighbours=peers).table)
