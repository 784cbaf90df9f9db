"""The ladder: one budget, tuned once, each rung beside the one below, and an answer in plain words."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import make_panel

from finattn import cli
from finattn.baselines import HistoricalMean, Ridge, Zero
from finattn.config import LadderConfig, ModelConfig, RunConfig, TargetConfig, TrainingConfig
from finattn.data import Design, simulate
from finattn.errors import InputError
from finattn.evaluation import Comparison, Estimate, clark_west, mean_inference, model_confidence_set, primary
from finattn.experiment import cut_fold, walk_forward
from finattn.ladder import (
    PRIMARY,
    QUESTIONS,
    LadderRung,
    Once,
    Question,
    answers,
    climb,
    ladder_table,
    rivals,
    select,
    sentences,
    standard,
)
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.splits import WalkForward

SPLITS = WalkForward("2002-01-01", test="4M", valid="3M", horizon=2, decisions="weekly")
TARGET = TargetConfig(horizon=2)
QUICK = RunConfig(
    model=ModelConfig(width=8, heads=2, feed_forward=8, lookback=3),
    training=TrainingConfig(epochs=1, minimum_epochs=1, patience=1, block=100),
)


def chosen(*names, config=QUICK):
    return [rung for rung in standard(config) if rung.name in names]


@pytest.fixture(scope="module")
def firms():
    return make_panel(firms=10, days=360)


@pytest.fixture(scope="module")
def climbed(firms):
    return climb(firms, chosen("zero", "ridge", "sic_average", "sic_kernel"), SPLITS, TARGET)


# -- the rungs ------------------------------------------------------------


def test_every_rung_has_at_most_four_trials_and_one_below_it_that_comes_before():
    rungs = standard()
    names = [rung.name for rung in rungs]
    assert names == [
        "zero", "historical_mean", "momentum", "ridge", "elastic_net", "boosting", "sic_average", "sic_kernel",
        "kernel_regression", "look_up", "lstm", "firm", "stacked", "linear", "time", "both", "firm_alone",
        "time_alone", "both_alone",
    ]  # fmt: skip
    assert all(1 <= len(rung.trials) <= 4 for rung in rungs)
    assert all(rung.below in names[: names.index(rung.name)] for rung in rungs[1:]) and rungs[0].below is None
    assert [rung.name for rung in rungs if rung.nested] == ["firm", "time"]
    assert {rung.name: rung.bases for rung in rungs if rung.bases} == {
        "firm": ("look_up",), "stacked": ("look_up",), "linear": ("look_up",), "time": ("ridge",), "both": ("ridge",)
    }  # fmt: skip


def test_trials_of_a_rung_differ_and_can_be_written():
    for rung in standard():
        assert len({json.dumps(trial) for trial in rung.trials}) == len(rung.trials)


def test_more_trials_than_others_have_are_refused():
    with pytest.raises(InputError, match="trials of rung 'mine' must be from 1 to 4, found 5"):
        LadderRung("mine", "more", None, lambda settings, seed, base: Zero(), ({},) * 5)
    with pytest.raises(InputError, match="trials of rung 'mine' must be from 1 to 4, found 0"):
        LadderRung("mine", "less", None, lambda settings, seed, base: Zero(), ())


# -- climbing ------------------------------------------------------------


def test_the_trial_with_the_best_validation_rank_ic_of_the_first_fold_is_fixed_for_all(firms, climbed):
    folds = list(SPLITS.split(firms.dates))
    assert len(folds) > 1
    train, valid, _ = cut_fold(firms, folds[0], TARGET)
    rung = chosen("ridge")[0]
    skill = [
        mean_over_dates(
            rank_information_coefficient(Ridge((trial["strength"],)).fit(train, valid).predict(valid), valid.realised)
        )
        for trial in rung.trials
    ]
    told = climbed.trials[climbed.trials["rung"] == "ridge"]
    np.testing.assert_allclose(told["valid_rank_ic"], skill, atol=1e-12)
    best = rung.trials[int(np.argmax(skill))]
    assert json.loads(told.loc[told["chosen"], "settings"].item()) == best
    expected = walk_forward(firms, {"ridge": Ridge((best["strength"],))}, SPLITS, TARGET)
    ours = climbed.forecasts.table.query("model == 'ridge'")["score"].to_numpy()
    np.testing.assert_array_equal(ours, expected.table["score"].to_numpy())


def test_a_rung_with_one_trial_is_not_tuned_and_every_rung_chooses_one(climbed):
    assert climbed.trials.groupby("rung")["chosen"].sum().eq(1).all()
    assert np.isnan(climbed.trials.set_index("rung").loc["zero", "valid_rank_ic"])
    assert climbed.forecasts.models == ("zero", "ridge", "sic_average", "sic_kernel")


def test_a_climb_that_was_killed_goes_on_from_its_trials_and_fits(firms, tmp_path, monkeypatch):
    rungs = chosen("ridge", "sic_average")
    whole = climb(firms, rungs, SPLITS, TARGET, tmp_path / "whole")
    seen = []

    def stop(step):
        seen.append(step)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        climb(firms, rungs, SPLITS, TARGET, tmp_path / "cut", on_step=stop)
    monkeypatch.setattr("finattn.ladder.climbing.rank_information_coefficient", None)  # no trial is fitted again
    again = climb(firms, rungs, SPLITS, TARGET, tmp_path / "cut", on_step=seen.append)
    pd.testing.assert_frame_equal(again.forecasts.table, whole.forecasts.table)
    untimed = [found.trials.drop(columns="seconds") for found in (again, whole)]
    pd.testing.assert_frame_equal(*untimed)
    assert (again.trials["seconds"] > 0).any() and not again.trials.loc[again.trials["rung"] == "zero", "seconds"].any()
    assert sum(step.done for step in seen[3:]) == 2


def test_trials_of_other_settings_in_the_folder_are_refused(firms, tmp_path):
    rung = chosen("ridge")[0]
    climb(firms, [rung], SPLITS, TARGET, tmp_path)
    with pytest.raises(InputError, match=r"ridge.json must hold trials of .*0.5.*, found those of .*0.01"):
        climb(firms, [replace(rung, trials=({"strength": 0.5}, {"strength": 5.0}))], SPLITS, TARGET, tmp_path)


class Counted(HistoricalMean):
    """Counts its fits."""

    fits = 0

    def fit(self, train, valid):
        Counted.fits += 1
        return self


def test_a_base_is_fitted_once_on_the_same_dates_and_shared(firms):
    Counted.fits = 0
    below = LadderRung("below", "a mean", None, lambda settings, seed, base: Counted())
    above = LadderRung("above", "the same", "below", lambda settings, seed, base: base("below", seed), bases=("below",))
    found = climb(firms, [below, above], SPLITS, TARGET)
    assert Counted.fits == len(list(SPLITS.split(firms.dates)))
    one, other = (found.forecasts.table.query(f"model == '{name}'")["score"] for name in ("below", "above"))
    np.testing.assert_array_equal(one, other)


def test_once_fits_again_on_other_blocks_and_says_what_was_chosen(firms):
    folds = list(SPLITS.split(firms.dates))
    cuts = [cut_fold(firms, fold, TARGET) for fold in folds[:2]]
    once = Once(Ridge())
    first = once.fit(*cuts[0][:2]).chosen
    once.fit(*cuts[1][:2])
    assert once.chosen != first and once.units == "score"


def test_attention_starts_from_the_rung_below_it(firms):
    rungs = chosen("ridge", "time")
    found = climb(firms, [replace(rung, trials=rung.trials[:1]) for rung in rungs], SPLITS, TARGET, seeds=(0, 1))
    table = found.forecasts.table
    assert sorted(table.query("model == 'time'")["seed"].unique()) == [0, 1]
    assert table.query("model == 'ridge'")["seed"].eq(0).all()


@pytest.mark.parametrize(
    "names, message",
    [
        ((), "rungs must be unique and at least one, found none"),
        (("zero", "zero"), "rungs must be unique and at least one, found zero, zero"),
        (("firm", "look_up"), "rung 'firm' starts from 'look_up', which must come before it, found it not"),
    ],
)
def test_rungs_that_cannot_be_climbed_are_refused(firms, names, message):
    known = {rung.name: rung for rung in standard(QUICK)}
    with pytest.raises(InputError, match=message):
        climb(firms, [known[name] for name in names], SPLITS, TARGET)


# -- the table ------------------------------------------------------------


def test_the_table_sets_each_rung_beside_the_one_below(climbed):
    rungs = chosen("zero", "ridge", "sic_average", "sic_kernel")
    table = ladder_table(climbed.forecasts, rungs).set_index("rung")
    pair = primary(climbed.forecasts, "sic_kernel", "sic_average")
    assert table.loc["sic_kernel", "difference"] == pair.estimate.estimate
    assert table.loc["sic_kernel", "p_value"] == pair.p_one_sided
    assert math.isnan(table.loc["ridge", "difference"])  # momentum is not there
    assert table["p_holm"].notna().sum() == 2 and (table["p_holm"] >= table["p_value"]).loc[["sic_average"]].all()
    assert table.loc["zero", "rank_ic"] == 0 and table["in_confidence_set"].any()


def test_the_confidence_set_and_the_interval_are_those_of_the_per_date_rank_ic(climbed):
    rungs = chosen("ridge", "sic_average", "sic_kernel")
    table = ladder_table(climbed.forecasts, rungs)
    series = []
    for rung in rungs:
        wide = climbed.forecasts.wide(rung.name)
        per_date = rank_information_coefficient(wide.score, wide.realised)
        series.append(np.nan_to_num(per_date[~np.isnan(wide.realised).all(axis=1)]))
    overlap = climbed.forecasts.overlap
    own = mean_inference(series[0], overlap)
    assert table.loc[0, "rank_ic"] == pytest.approx(own.estimate) and table.loc[0, "upper"] == pytest.approx(own.upper)
    found = model_confidence_set(-np.column_stack(series), overlap)
    np.testing.assert_allclose(table["confidence_set_p"], found.p_values)
    assert table["in_confidence_set"].tolist() == found.included.tolist()


def test_clark_and_west_is_for_nested_pairs_alone(climbed):
    rungs = chosen("zero", "sic_average", "sic_kernel")
    declared = [rungs[0], rungs[1], replace(rungs[2], nested=True)]
    table = ladder_table(climbed.forecasts, declared).set_index("rung")
    large, small = climbed.forecasts.wide("sic_kernel"), climbed.forecasts.wide("sic_average")
    expected = clark_west(large.realised, small.prediction, large.prediction, climbed.forecasts.overlap).p_value
    assert table.loc["sic_kernel", "clark_west_p"] == expected and math.isnan(table.loc["sic_average", "clark_west_p"])


# -- the answers ------------------------------------------------------------


def answer(gain, error, p, claim, pair=PRIMARY):
    nan = math.nan
    estimate = Estimate(gain, error, nan, nan, nan, nan, nan, nan, 50, 0)
    return Question("Better?", *pair), Comparison(*pair, "rank_ic", estimate, p, claim)


@pytest.mark.parametrize(
    "given, expected",
    [
        (answer(0.031, 0.01, 0.001, True), "Better? Yes, as declared beforehand: rank IC 0.031 ± 0.010 higher than"),
        (answer(0.03, 0.02, 0.07, False), "Better? Not beyond luck: rank IC 0.030 ± 0.020 higher than SIC kernel"),
        (answer(-0.03, 0.02, 0.93, False), "Better? Not beyond luck: rank IC 0.030 ± 0.020 lower than SIC kernel"),
        (
            answer(0.03, 0.01, 0.002, True, ("both", "ridge")),
            "Better? It seems so, but this was not the declared comparison: rank IC",
        ),
        (answer(0.0, math.nan, math.nan, False), "Better? They cannot be told apart: both order firms alike."),
    ],
)
def test_an_answer_says_no_more_than_the_test(given, expected):
    (said,) = sentences([given])
    assert said.startswith(expected)


def test_sharpe_ratios_after_costs_are_told_where_they_are_known():
    (said,) = sentences([answer(0.03, 0.01, 0.01, True)], {"firm": (0.51, 0.2), "sic_kernel": (0.4, 0.19)})
    assert said.endswith(" After costs the Sharpe ratio is 0.51 ± 0.20 against 0.40 ± 0.19.")


def test_minus_signs_are_minus_signs():
    (said,) = sentences([answer(-0.03, 0.02, 0.93, False)], {"firm": (-0.51, 0.2), "sic_kernel": (-1.04, 1.08)})
    assert said.endswith(" After costs the Sharpe ratio is −0.51 ± 0.20 against −1.04 ± 1.08.")


def against(name, gain, p=0.5, error=0.01):
    nan = math.nan
    return Comparison("firm", name, "rank_ic", Estimate(gain, error, nan, nan, nan, nan, nan, nan, 50, 0), p, p < 0.05)


def test_a_gain_over_peers_names_those_that_know_no_peers_and_do_as_well():
    claim = answer(0.03, 0.01, 0.001, True)
    (said,) = sentences([claim], as_good={"firm": (against("ridge", -0.002),)})
    assert said.startswith("Better? Yes, as declared beforehand") and said.endswith(
        " But Ridge (−0.002 ± 0.010), which knows no peers, does as well, as far as can be told at 5%: what was gained "
        "need not come from peers. In brackets: the rank IC beyond theirs."
    )
    many = {"firm": [against("ridge", 0.012), against("lstm", 0.0, math.nan, math.nan), against("time", -0.001)]}
    (said,) = sentences([claim], as_good=many)
    names = "Attention, time (−0.001 ± 0.010), LSTM (0.000 ± —) and Ridge (0.012 ± 0.010)"
    assert f" But {names}, which know no peers, do as well, " in said


def test_what_claims_nothing_of_peers_names_nobody():
    as_good = {"firm": [against("ridge", -0.002)], "both": [against("ridge", -0.002)]}
    unclaimed, plain = answer(0.03, 0.02, 0.07, False), answer(0.03, 0.01, 0.01, True, ("both", "boosting"))
    assert not any("no peers" in said for said in sentences([unclaimed, plain], as_good=as_good))
    assert "no peers" not in sentences([answer(0.03, 0.01, 0.001, True)], as_good={"firm": ()})[0]


def test_rivals_are_the_rungs_without_peers_that_are_not_beaten(climbed):
    claim = [answer(0.03, 0.01, 0.001, True, ("sic_kernel", "sic_average"))]
    found = rivals(climbed.forecasts, claim)
    plain = [primary(climbed.forecasts, "sic_kernel", name) for name in ("zero", "ridge")]
    assert found == {"sic_kernel": tuple(one for one in plain if not one.claim)}
    realised = climbed.forecasts.table["realised"]
    seen = climbed.forecasts.table["model"].eq("sic_kernel")
    skilled = replace(
        climbed.forecasts,
        table=climbed.forecasts.table.assign(score=climbed.forecasts.table["score"].mask(seen, realised.fillna(0.0))),
    )
    assert rivals(skilled, claim) == {"sic_kernel": ()}
    assert rivals(skilled, [answer(0.03, 0.02, 0.07, False, ("sic_kernel", "sic_average"))]) == {}
    assert rivals(skilled, [answer(0.03, 0.02, 0.01, True, ("sic_kernel", "ridge"))]) == {}


def test_only_questions_whose_rungs_are_there_are_answered(climbed):
    assert answers(climbed.forecasts) == ()
    (question, found), *rest = answers(climbed.forecasts, [*QUESTIONS, Question("Ridge?", "ridge", "sic_average")])
    assert not rest and question.asks == "Ridge?" and found.model == "ridge"


# -- the stage and its command ------------------------------------------------------------

COMMAND = [
    "ladder", "--name", "small", "--data.source", "panel", "--data.path", "panel", "--features", "[]",
    "--target.horizon", "2", "--splits.first_test", "2002-01-01", "--splits.test", "4M", "--splits.valid", "3M",
    "--ladder.rungs", "[zero, ridge, sic_average, sic_kernel, look_up, firm]", "--model.width", "8",
    "--model.lookback", "2", "--training.epochs", "1", "--training.minimum_epochs", "1",
]  # fmt: skip


def test_the_command_climbs_writes_every_file_and_answers(firms, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    firms.save("panel")
    assert cli.main(COMMAND) == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "runs/small/ladder"
    assert printed.splitlines()[-1] == "ladder: runs/small/ladder/ladder.html"
    assert "Do learned peers beat SIC peers?" in printed and "Kernel" not in printed and "Learned" in printed
    files = {path.name for path in folder.iterdir() if path.is_file()}
    assert files == {
        "answers.json", "forecasts.parquet", "ladder.html", "portfolio.parquet", "provenance.json", "table.parquet",
        "trials.parquet",
    } | ({"key.json"} & files)  # fmt: skip
    table = pd.read_parquet(folder / "table.parquet").set_index("rung")
    assert table.loc["firm", "net_sharpe_error"] > 0 and 0 <= table.loc["firm", "deflated_sharpe"] <= 1
    assert math.isnan(table.loc["zero", "net_sharpe"])  # holds nothing
    page = (folder / "ladder.html").read_text()
    assert "a direction: what a firm looks for" in page and 'src="http' not in page
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        assert len({len(re.findall("<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)}) == 1
    assert re.search(r">SIC kernel</th><td>[^<]* ± [^<]*</td><td>SIC average</td>", page)
    before = {path: path.stat().st_mtime_ns for path in (folder / "folds").rglob("fit.json")}
    assert cli.main([*COMMAND, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in (folder / "folds").rglob("fit.json")} == before
    assert [row["rung"] for row in content["table"]] == [
        "zero",
        "ridge",
        "sic_average",
        "sic_kernel",
        "look_up",
        "firm",
    ]
    assert content["answers"] and len(content["trials"]) == 1 + 3 * 4 + 4 + 4


@pytest.mark.parametrize(
    "more, message",
    [
        (["--ladder.rungs", "[zero, rigde]"], "ladder.rungs must be among zero, .*found 'rigde'"),
        (["--ladder.rungs", "[firm]"], "rung 'firm' starts from 'look_up', which must come before it"),
        (["--ladder.rugs", "[firm]"], r"unknown key ladder.rugs, did you mean ladder.rungs\?"),
    ],
)
def test_the_command_refuses_in_one_line(firms, tmp_path, monkeypatch, capsys, more, message):
    monkeypatch.chdir(tmp_path)
    firms.save("panel")
    assert cli.main([*COMMAND, *more]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1 and not (tmp_path / "runs/small/ladder/folds").exists()


def test_rungs_that_a_panel_does_not_allow_are_left_out_or_refused_where_named(firms):
    bare = firms.replace(features=firms.features[:, :, :0], feature_names=(), industry=np.zeros(firms.shape, int))
    names = [rung.name for rung in select(QUICK, bare)]
    assert names == ["zero", "historical_mean", "momentum", "ridge", "elastic_net", "boosting", "lstm", "time", "both",
                     "firm_alone", "time_alone", "both_alone"]  # fmt: skip
    named = replace(QUICK, ladder=LadderConfig(rungs=("zero", "firm")))
    with pytest.raises(InputError, match="ladder.rungs: firm needs characteristics, found a panel without"):
        select(named, bare)


def test_a_rung_is_compared_with_the_nearest_one_below_that_is_there(firms):
    named = replace(QUICK, ladder=LadderConfig(rungs=("zero", "ridge", "look_up", "firm_alone")))
    assert [rung.below for rung in select(named, firms)] == [None, "zero", "zero", "look_up"]


# -- the truth, in small ------------------------------------------------------------


@pytest.mark.parametrize(
    "r2, better",
    [(0.0, False), (0.1, True)],
)
def test_learned_peers_are_claimed_where_they_are_planted_and_not_where_nothing_is(r2, better):
    panel, _ = simulate(80, 900, r2=r2, cross_industry=1.0, seed=4, design=Design(shares={"peers": 1.0}))
    splits = WalkForward(str(panel.dates[700]), test=200, valid=100, train=600)
    config = RunConfig(
        model=ModelConfig(width=8, heads=2, lookback=1), training=TrainingConfig(epochs=1, minimum_epochs=1)
    )
    rungs = [replace(rung, trials=rung.trials[:1]) for rung in chosen("sic_kernel", "look_up", "firm", config=config)]
    forecasts = climb(panel, rungs, splits, TargetConfig(horizon=1)).forecasts
    assert [primary(forecasts, name, "sic_kernel").claim for name in ("look_up", "firm")] == [better, better]
    table = ladder_table(forecasts, rungs).set_index("rung")
    assert bool(table.loc["sic_kernel", "in_confidence_set"]) != better


def test_the_standard_rungs_all_climb(firms):
    config = replace(QUICK, model=replace(QUICK.model, lookback=2))
    rungs = [replace(rung, trials=rung.trials[:1]) for rung in standard(config)]
    found = climb(firms, rungs, SPLITS, TARGET)
    assert found.forecasts.models == tuple(rung.name for rung in rungs)
    assert ladder_table(found.forecasts, rungs)["rank_ic"].notna().all()
