"""The command line as a user has it: real processes, exit codes, one line for what is wrong, nothing left behind."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import make_panel
from markupsafe import escape

from finattn import cli, ledger, pipeline
from finattn.cli import arguments as command_line
from finattn.config import RunConfig
from finattn.config_file import read_yaml
from finattn.data import Design, sample, simulate
from finattn.data.describe import describe
from finattn.panel import Panel

SMALL = {
    "features": ["reversal", "maximum_return"],
    "target": {"horizon": 2},
    "splits": {"first_test": "2002-07-01", "test": "2M", "valid": "1M", "decisions": "weekly"},
    "forecasters": ["zero", "historical_mean", "ridge", "sic_average", "sic_kernel", "time", "both"],
    "attention": {"time": ["time"], "both": ["time", "firm"]},
    "primary": ["both", "sic_kernel"],
    "model": {"width": 8, "heads": 2, "feed_forward": 8, "lookback": 5},
    "training": {"epochs": 2, "minimum_epochs": 1, "block": 60, "threads": 1, "seeds": [0, 1]},
    "baselines": {"ridge_lookback": 5, "ridge_strengths": [0.1, 1.0], "peer_windows": [1, 5], "bandwidths": [1.0]},
    "portfolio": {"quantiles": 3},
}


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A folder with a panel saved in it and a small configuration that uses it."""
    monkeypatch.chdir(tmp_path)
    make_panel(firms=8, days=480).replace(features=np.zeros((480, 8, 0)), feature_names=()).save("panel")
    config = SMALL | {"name": "small", "data": {"source": "panel", "path": "panel"}}
    Path("small.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def finattn(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "finattn", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_run_writes_every_file_and_a_second_one_fits_nothing(work, capsys):
    assert cli.main(["run", "small.yaml"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("Rank IC of attention along time and firms ") and "of ridge" in told[0]
    assert told[-1] == "report: runs/small/report.html"
    assert all(line.startswith("Implausibly good: ") for line in told[1:-1])  # eight firms on a few dates
    run = work / "runs/small"
    written = {path.name for path in run.iterdir()}
    assert written == {
        "config.yaml", "run.json", "panel", "folds", "forecasts.parquet", "metrics.parquet", "portfolio.parquet",
        "restrictions.parquet", "groups.parquet",
        "selection.json", "explanations.parquet", "provenance.json", "report.html",
    }  # fmt: skip
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["counts"]["missing_delisting_returns"] == 1
    warned = [caution.says for caution in describe(Panel.load(run / "panel")).warnings]
    assert len(warned) > 1 and provenance["sample"] == warned
    assert all(str(escape(says)) in (run / "report.html").read_text() for says in warned)
    assert {record["model"] for record in provenance["tuning"]} == set(SMALL["forecasters"])
    before = {path: path.stat().st_mtime_ns for path in run.glob("folds/*/*/*")}
    assert len(before) == len(provenance["folds"]) * (9 * 2 + 4)  # nine fits, four of them with parameters
    first = digest(run / "forecasts.parquet")
    assert cli.main(["run", "small.yaml"]) == 0
    assert {path: path.stat().st_mtime_ns for path in run.glob("folds/*/*/*")} == before
    assert digest(run / "forecasts.parquet") == first


def test_what_a_source_says_of_its_firms_and_codes_is_not_said_twice():
    caveats = sample().source["caveats"]
    said = pipeline.sample_sentences(sample())
    assert said[: len(caveats)] == caveats and len(said) > len(caveats)
    assert not any("ever leaves" in sentence or "not marked" in sentence for sentence in said)
    bare = pipeline.sample_sentences(sample().replace(source={}))
    assert bare[0].startswith("No firm ever leaves") and bare[1].startswith("Industry codes are not marked")
    two = pipeline.sample_sentences(sample().replace(industry=sample().industry // 100))
    assert any(sentence.startswith("All industry codes are below 100.") for sentence in two)


def test_two_runs_elsewhere_and_from_scratch_give_the_same_bytes(work):
    places = [("runs", "one"), ("runs", "two"), ("elsewhere", "one")]
    for out, name in places:
        assert cli.main(["run", "small.yaml", "--out", out, "--name", name]) == 0
    for file in ("forecasts.parquet", "metrics.parquet", "portfolio.parquet", "selection.json", "explanations.parquet"):
        assert len({digest(work / out / name / file) for out, name in places}) == 1, file


def test_every_configuration_that_was_run_counts_in_the_ledger_and_its_head_is_told(work):
    told, options = [], ["--forecasters", "[zero, ridge, sic_average]"]
    for name, changed in (("a", []), ("b", ["--baselines.ridge_strengths", "[9.0]"]), ("c", [])):
        assert cli.main(["run", "small.yaml", "--name", name, *options, *changed]) == 0
        provenance = json.loads((work / "runs" / name / "provenance.json").read_text())
        figures = json.loads((work / "runs" / name / "selection.json").read_text())
        told.append((provenance["ledger"], figures["trials"], figures["undefined"]))
        assert provenance["ledger"]["head"] in (work / "runs" / name / "report.html").read_text()
    counts = [(said["trials"], said["overlapping"], trials, undefined) for said, trials, undefined in told]
    assert counts == [(3, 3, 2, 1), (4, 4, 3, 1), (4, 4, 3, 1)]
    assert told[1][0]["head"] == told[2][0]["head"] != told[0][0]["head"]
    assert ledger.verify(work / "runs/ledger", [said["head"] for said, *_ in told]) == 4


def test_a_broken_ledger_and_a_run_in_its_place_are_refused_before_anything_is_written(work, capsys):
    assert cli.main(["run", "small.yaml", "--name", "ledger"]) == 2
    assert "name must be another: that is the folder of the ledger of all runs, found 'led" in capsys.readouterr().err
    assert not (work / "runs").exists()
    (work / "runs/ledger").mkdir(parents=True)
    (work / "runs/ledger/trials.jsonl").write_text("broken\n")
    assert cli.main(["run", "small.yaml"]) == 2
    assert "runs/ledger/trials.jsonl, line 1: expected a trial as JSON" in capsys.readouterr().err
    assert not (work / "runs/small").exists()


def test_force_starts_over_and_a_changed_configuration_is_refused_without_it(work, capsys):
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero, ridge]"]) == 0
    kept = digest(work / "runs/small/forecasts.parquet")
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero, ridge]", "--target.horizon", "3"]) == 2
    assert "target.horizon (2 there, 3 now); start over with --force" in capsys.readouterr().err
    assert digest(work / "runs/small/forecasts.parquet") == kept
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero, ridge]", "--target.horizon", "3", "--force"]) == 0
    assert digest(work / "runs/small/forecasts.parquet") != kept


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(work):
    """SIGKILL a real process after each of several files has appeared, then let one finish undisturbed."""
    assert finattn("run", "small.yaml", "--name", "whole", cwd=work).returncode == 0
    killed = 0
    for fits in (1, 5, 8, 15):
        command = [sys.executable, "-m", "finattn", "run", "small.yaml", "--name", "killed"]
        process = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        folds = work / "runs/killed/folds"
        while process.poll() is None and len(list(folds.glob("*/*/forecasts.parquet"))) < fits:
            os.sched_yield()
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= 2
    (work / "runs/killed/folds/.partial-left").mkdir()
    shutil.rmtree(next((work / "runs/killed/folds").glob("0/both-1")))  # as if killed in that very fit
    assert finattn("run", "small.yaml", "--name", "killed", cwd=work).returncode == 0
    assert digest(work / "runs/killed/forecasts.parquet") == digest(work / "runs/whole/forecasts.parquet")
    assert not list((work / "runs").rglob(".partial-*"))


def test_a_second_process_on_the_same_run_is_refused_and_the_first_goes_on(work, capsys):
    config = RunConfig(name="small")
    with pipeline.alone(config):
        assert cli.main(["run", "small.yaml"]) == 2
    assert "runs/small is being worked on by another process" in capsys.readouterr().err
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero]"]) == 0


def test_a_run_killed_before_its_first_file_goes_on(work):
    (work / "runs/small/.partial-run.json-abc").mkdir(parents=True)
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero]"]) == 0
    (work / "runs/small/config.yaml").unlink()  # as if killed just after run.json
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero]"]) == 0
    assert not list((work / "runs").rglob(".partial-*"))


@pytest.mark.parametrize("text", ['{"config": ', "[]"])
def test_a_damaged_record_of_a_run_is_one_error_that_says_how_to_start_over(work, capsys, text):
    (work / "runs/small").mkdir(parents=True)
    (work / "runs/small/run.json").write_text(text)
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero]"]) == 2
    error = capsys.readouterr().err
    assert "runs/small/run.json must be JSON" in error and "; start over with --force, or choose another" in error
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero]", "--force"]) == 0


def test_an_empty_configuration_has_every_default(work):
    Path("empty.yaml").write_text("")
    assert command_line.parse(command_line.run_parser("run", ""), Path("empty.yaml"), [])[0] == RunConfig()


def test_ctrl_c_in_a_fit_says_how_to_go_on(work):
    command = [
        sys.executable,
        "-m",
        "finattn",
        "run",
        "small.yaml",
        "--training.epochs",
        "4000",
        "--forecasters",
        "[time]",
    ]
    command += ["--training.patience", "4000"]
    process = subprocess.Popen(
        command,
        cwd=work,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job would ignore it
    )
    assert process.stderr is not None
    try:
        while "fold 0" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1 and "finattn: stopped; a run goes on from here" in error
    assert not list((work / "runs/small/folds").glob("*/*/fit.json"))


def write_csv(path: Path, scale: float = 1.0, duplicate: bool = False) -> None:
    frame = make_panel(firms=4, days=60).to_frame()[["date", "firm", "return", "industry"]].dropna()
    frame["return"] *= scale
    if duplicate:
        frame = pd.concat([frame, frame.iloc[[5]]])
    frame.to_csv(path, index=False)


BAD = {
    "an unknown key": (["run", "key.yaml"], r"key.yaml: unknown key model.widht, did you mean model.width\?"),
    "an unknown option": (["run", "small.yaml", "--model.widht", "3"], r"unknown key model.widht, did you mean"),
    "a wrong type": (["run", "small.yaml", "--model.width", "wide"], r"model.width.*whole number.*wide"),
    "a key given twice": (["run", "twice.yaml"], "key name is given twice"),
    "nothing where something must be": (["run", "null.yaml"], r"null.yaml: features must be given, or left out"),
    "no mapping": (["run", "flat.yaml"], "flat.yaml: target must be a mapping of horizon, delay, .*found 5"),
    "no list": (["run", "word.yaml"], "word.yaml: forecasters must be a list, found 'zero'"),
    "an output that is no folder": (["run", "small.yaml", "--out", "small.yaml"], "out must be a folder to write to"),
    "industry peers without codes": (
        [
            "run",
            "csv.yaml",
            "--data.path",
            "plain.csv",
            "--forecasters",
            "[zero, sic]",
            "--attention",
            "{sic: [time, industry]}",
            "--headline",
            "[sic, zero]",
            "--primary",
            "[sic, zero]",
        ],
        "sic need industry codes, found none",
    ),
    "a missing configuration": (["run", "absent.yaml"], "found no file absent.yaml"),
    "a broken configuration": (["run", "broken.yaml"], "broken.yaml: the configuration must be readable YAML"),
    "a missing file": (["run", "csv.yaml", "--data.path", "no.csv"], "data.path must be a file, found none at no.csv"),
    "a duplicate firm-date": (["run", "csv.yaml", "--data.path", "twice.csv"], r"twice.csv: .*1 duplicates: F\d\d on"),
    "percent returns": (["run", "csv.yaml", "--data.path", "percent.csv"], "percent.csv: returns must be fractions"),
    "an empty test window": (
        ["run", "small.yaml", "--splits.first_test", "2050-01-01"],
        "test window must not be empty",
    ),
    "a horizon too long": (["run", "small.yaml", "--target.horizon", "9999"], "target.horizon must leave dates"),
    "no industry codes": (["run", "csv.yaml", "--data.path", "plain.csv"], "need industry codes, found none"),
    "an unknown verb": (
        ["walk"],
        r"the verb must be one of .*\brun, .*\bdata, .*found 'walk'",
    ),
    "a folder of something else": (
        ["run", "small.yaml", "--out", ".", "--name", "panel"],
        "must be absent, empty or a",
    ),
    "a report of nothing": (["report", "nowhere"], "nowhere"),
    "an unknown thing to do with data": (
        ["data", "steal"],
        "what to do with data must be one of describe, load, fetch, found 'steal'; see finattn data --help",
    ),
    "no panel": (["data", "describe"], "a panel must be given first, found none; see finattn data describe --help"),
    "an option before the panel": (["data", "describe", "--json", "panel"], "a panel must be given first, found none"),
    "two panels": (["data", "describe", "panel", "built"], "unrecognized arguments: built"),
    "a panel that is not there": (["data", "describe", "no.csv"], "data.path must be a file, found none at no.csv"),
    "a folder without a panel": (["data", "describe", "empty"], "data.path must be a file, found none at empty"),
    "a file with a duplicate": (["data", "describe", "twice.csv"], r"twice.csv: .*1 duplicates: F\d\d on"),
    "an unknown column": (
        ["data", "describe", "plain.csv", "--data.columns", "{ret: return}"],
        "data.columns must name columns of the file, found no ret in it",
    ),
    "a layout of a saved panel": (
        ["data", "describe", "panel", "--data.layout", "wide"],
        "data.layout must be left out unless source is 'file'",
    ),
    "no date between": (
        ["data", "describe", "panel", "--data.start", "2050"],
        "data.start to data.end must hold dates",
    ),
    "an unknown threshold": (
        ["data", "describe", "panel", "--stale_row", "3"],
        r"unknown key stale_row, did you mean stale_rows\?",
    ),
    "an unknown key of data": (
        ["data", "describe", "panel", "--data.colums", "{}"],
        r"unknown key data.colums, did you mean data.columns\?",
    ),
    "a threshold of text": (["data", "describe", "panel", "--stale_rows", "few"], "stale_rows.*whole number.*few"),
    "a threshold below what can be meant": (
        ["data", "describe", "panel", "--extreme_return", "-1"],
        "extreme_return must be a number above 0, such as 1.0 for 100%, found -1.0",
    ),
    "one ratio of splits": (["data", "describe", "panel", "--split_ratios", "2"], "split_ratios.*list.*2"),
    "a page that is a folder": (
        ["data", "describe", "panel", "--html", "panel"],
        "html must be a file to write to, found a folder at panel",
    ),
    "a panel without a place": (["data", "load", "panel"], "--out must be a folder to write to, found none"),
    "a panel over another": (["data", "load", "built", "--out", "panel"], "or a saved panel with --force, found panel"),
    "a panel over files": (["data", "load", "built", "--out", ".", "--force"], "absent or empty, or a saved panel"),
    "a panel of a configuration that is not there": (
        ["data", "load", "no.yaml", "--out", "x"],
        "found no file no.yaml",
    ),
    "an unknown key of a source": (
        ["data", "load", "simulated", "--out", "x", "--data.simulated.firmz", "3"],
        r"unknown key data.simulated.firmz, did you mean data.simulated.firms\?",
    ),
    "a simulation of too little": (
        ["data", "load", "simulated", "--out", "x", "--data.simulated.firms", "3"],
        "firms must be at least industries x .* found 3",
    ),
    "a simulation by unknown rules": (
        ["data", "load", "simulated", "--out", "x", "--data.simulated.design", "{peerz: 3}"],
        "data.simulated.design must have keys among shares, peers, .* found peerz",
    ),
    "a simulation by words": (
        ["data", "load", "simulated", "--out", "x", "--data.simulated.design", "{volatility: high}"],
        "data.simulated.design must hold numbers, lists and mappings.*high",
    ),
    "nothing to fetch from": (["data", "fetch"], "a source must be given first, found none; see finattn data fetch"),
    "nothing to fetch": (["data", "fetch", "panel"], "data.source must be yahoo or wrds, or data.sec.folder"),
    "no tickers to fetch": (["data", "fetch", "yahoo", "--data.start", "2020"], "data.yahoo.tickers must be given"),
    "no day to fetch from": (
        ["data", "fetch", "yahoo", "--data.yahoo.tickers", "[A]"],
        "data.start must be given to fetch from Yahoo, found none",
    ),
    "nobody who fetches": (
        ["data", "fetch", "sec", "--data.sec.folder", "sec"],
        "user_agent must be your name and own",
    ),
    "no server to fetch from": (["data", "fetch", "wrds"], "data.wrds.database must be given, the URL of a server"),
    "a ticker that was never fetched": (
        ["data", "describe", "yahoo", "--data.yahoo.tickers", "[A]", "--data.yahoo.cache", "cache"],
        "data.yahoo.tickers must be in the cache cache, found no 'A': run finattn data fetch yahoo",
    ),
    "a page over the data": (
        ["data", "describe", "plain.csv", "--html", "plain.csv"],
        "html must be a file that ends in .html, found plain.csv",
    ),
    "a page without a name": (["data", "describe", "panel", "--html"], "--html: expected one argument"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_line_with_exit_code_2_and_leaves_nothing(case, work, capsys):
    arguments, message = BAD[case]
    Path("key.yaml").write_text("model: {widht: 3}\n")
    Path("broken.yaml").write_text("model: {width: 3\n")
    Path("twice.yaml").write_text("name: a\nname: b\n")
    Path("null.yaml").write_text("features: null\n")
    Path("flat.yaml").write_text("target: 5\n")
    Path("word.yaml").write_text("forecasters: zero\n")
    make_panel(firms=4, days=60).save("built")
    Path("empty").mkdir()
    Path("csv.yaml").write_text("data: {source: file, path: x.csv}\nsplits: {first_test: '2001-03-01', test: 1M}\n")
    write_csv(Path("twice.csv"), duplicate=True)
    write_csv(Path("percent.csv"), scale=100)
    pd.read_csv("percent.csv").drop(columns="industry").assign(**{"return": 0.01}).to_csv("plain.csv", index=False)
    if case == "no industry codes":
        arguments = [*arguments, "--splits.valid", "5", "--splits.first_test", "2001-03-20", "--features", "[]"]
    before = sorted(work.rglob("*"))
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("finattn: ")
    assert "Traceback" not in printed.err and printed.out == ""
    assert re.search(message, lines[0]), lines[0]
    assert sorted(work.rglob("*")) == before


def test_data_describe_says_what_a_panel_holds_and_is_quiet_when_piped(work):
    result = finattn("data", "describe", "panel", cwd=work)
    assert result.returncode == 0 and result.stderr == "" and "\x1b" not in result.stdout
    assert result.stdout.startswith("Panel panel\nDates") and "480, from 2001-01-01" in result.stdout
    assert "! Firms that leave without a delisting return, one on the row after their last: 1 of 2." in result.stdout
    assert "Coverage by year" in result.stdout and "Extreme returns, the largest first: none" in result.stdout


def test_data_describe_reads_a_file_by_the_keys_of_a_configuration_and_prints_json(work, capsys):
    write_csv(Path("returns.csv"))
    frame = pd.read_csv("returns.csv").rename(columns={"return": "ret"})
    frame.loc[frame.index[7], "ret"] = 1.75
    frame.assign(ret=frame["ret"]).to_csv("other.csv", index=False)
    options = ["--data.columns", "{ret: return}", "--data.periods_per_year", "250", "--extreme_return", "1.5"]
    assert cli.main(["data", "describe", "other.csv", *options, "--split_ratios", "[2, 3]", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["panel"] == "other.csv" and content["facts"]["periods_per_year"] == 250
    row = frame.iloc[7]
    assert content["extremes"] == [{"date": row["date"], "firm": row["firm"], "return": 1.75, "listed": True}]
    assert content["thresholds"]["split_ratios"] == [2.0, 3.0] and content["thresholds"]["extreme_return"] == 1.5


def test_data_describe_writes_one_page_and_nothing_else(work, capsys):
    before = set(work.rglob("*"))
    assert cli.main(["data", "describe", "panel", "--html", "pages/panel.html"]) == 0
    assert capsys.readouterr().out.endswith("\nhtml: pages/panel.html\n")
    assert set(work.rglob("*")) - before == {work / "pages", work / "pages/panel.html"}
    assert "What the panel holds" in (work / "pages/panel.html").read_text()
    assert cli.main(["data", "describe", "panel", "--html", "pages/panel.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["firms"] == 8


def test_data_describe_takes_the_sample_by_its_name(work, capsys):
    assert cli.main(["data", "describe", "sample", "--data.start", "2020"]) == 0
    text = capsys.readouterr().out
    assert (
        "! No firm ever leaves: the listings of all 20 firms" in text and "The source says: 20 large US stocks" in text
    )


def test_data_load_makes_the_panel_of_a_configuration_and_saves_it(work, capsys):
    Path("made.yaml").write_text(
        "data:\n  source: simulated\n  start: 2000-02-01\n  simulated: {firms: 20, days: 60, "
        "design: {peers: 2, industries: 4, lags: [0, 3], lag_weights: [1.0, -1.0]}}\n"
    )
    assert cli.main(["data", "load", "made.yaml", "--out", "made", "--data.simulated.seed", "3"]) == 0
    assert capsys.readouterr().out == "panel: made, 39 dates from 2000-02-01 to 2000-03-24, 20 firms\n"
    design = Design(peers=2, industries=4, lags=(0, 3), lag_weights=(1.0, -1.0))
    expected = simulate(20, 60, seed=3, design=design).panel["2000-02-01":]
    assert Panel.load("made").fingerprint == expected.fingerprint
    assert cli.main(["data", "load", "panel", "--out", "made", "--force"]) == 0
    assert Panel.load("made").fingerprint == Panel.load("panel").fingerprint


def test_data_load_never_removes_what_is_not_a_panels(work, capsys):
    assert cli.main(["data", "load", "panel", "--out", "mine"]) == 0
    (work / "mine" / "notes.txt").write_text("precious")
    assert cli.main(["data", "load", "panel", "--out", "mine", "--force"]) == 2
    assert "must be absent or empty, or a saved panel with --force" in capsys.readouterr().err
    assert (work / "mine" / "notes.txt").read_text() == "precious"


def test_the_verbs_of_data_say_what_they_do(work, capsys):
    for arguments in (["data"], ["data", "-h"]):
        assert cli.main(arguments) == 0
        assert "usage: finattn data VERB" in capsys.readouterr().out
    assert cli.main(["data", "describe", "--help"]) == 0
    text = capsys.readouterr().out
    for name in ("PANEL", "--json", "--html", "--stale_rows", "--data.columns"):
        assert name in text


def test_a_failure_that_is_no_input_error_is_exit_code_1(work, capsys, monkeypatch):
    monkeypatch.setattr(
        "finattn.pipeline.data.load", lambda config: (_ for _ in ()).throw(OSError(28, "disk full", "x"))
    )
    assert cli.main(["run", "small.yaml"]) == 1
    assert "finattn: disk full: x" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["--help"], ["data", "describe", "panel", "--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_left_is_no_error_to_tell(unbuffered, verb, work):
    unread, pipe = os.pipe()
    os.close(unread)
    command, env = [sys.executable, "-m", "finattn", *verb], os.environ | {"PYTHONUNBUFFERED": unbuffered}
    result = subprocess.run(command, cwd=work, env=env, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=300)
    os.close(pipe)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize(
    "wrds",
    [
        ["--data.wrds.database", "postgresql://me:hush@host/db"],
        ["--data.wrds.database", "postgresql://me:hush@host\u2100/db"],
        ["--data.wrds.database", "mysql://me:hush@host/db"],
        ["--data.wrds", "{database: ['postgresql://me:hush@host/db']}"],
        ["--data", "{wrds: {database: 'postgresql://me@host/db?password=hush', lag_months: x}}"],
        ["--data", "{wrds: {database: 'postgresql://me:hu/sh@host/db', lag_months: x}}"],
    ],
)
def test_no_message_quotes_a_password(wrds, work, capsys):
    assert cli.main(["data", "fetch", "wrds", *wrds]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("finattn: ") and "hush" not in line and "hu/sh" not in line


def test_a_shipped_configuration_is_found_by_name_from_anywhere(work):
    assert command_line.find(Path("sp500")).name == "sp500.yaml"
    assert command_line.find(Path("configs/sp500_full.yaml")).exists()
    assert command_line.find(Path("small.yaml")) == Path("small.yaml")


def test_the_written_configuration_reads_back_to_the_same_run(work):
    assert cli.main(["run", "small.yaml", "--forecasters", "[zero]"]) == 0
    parser = command_line.run_parser("run", "")
    again, _ = command_line.parse(parser, work / "runs/small/config.yaml", [])
    assert read_yaml(work / "runs/small/config.yaml")["model"]["width"] == 8
    assert json.loads((work / "runs/small/run.json").read_text())["config"] == again.content
    assert again.fingerprint != RunConfig().fingerprint


def test_help_and_version_answer_without_torch_or_pandas():
    code = (
        "import sys; from finattn.cli import main; main(['--help']); main(['--version']); main(['data', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'numpy')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and "usage: finattn" in result.stdout and "finattn 0." in result.stdout
    assert "\n  completion  print what" in result.stdout


@pytest.mark.parametrize("verb", cli.VERBS)
def test_each_verb_says_what_it_does(verb, capsys):
    assert cli.main([verb, "--help"]) == 0
    assert f"finattn {verb}" in capsys.readouterr().out
