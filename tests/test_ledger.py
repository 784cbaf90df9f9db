"""The ledger: what is appended, what breaks its chain, what counts as the same data, and what a search leaves."""

import dataclasses
import hashlib
import json
import math
import os
import re
import select
import signal
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_panel

from finattn import data, evaluation, ledger
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.evaluation import Trials, deflated_sharpe, portfolio, probability_of_backtest_overfitting
from finattn.forecasts import Forecasts
from finattn.ledger import EMPTY, Setup, chain, head, net_returns, overlapping, read_trials, record, selection, verify
from finattn.panel import Panel
from finattn.splits import WalkForward

TARGET = TargetConfig(horizon=2)
SPLITS = WalkForward("2001-06-01", horizon=2)


def forecasts_of(panel: Panel, seeds: Mapping[str, int | None], rows: slice = slice(100, None, 2)) -> Forecasts:
    """Forecast at random, each model by its own seed; None ties all firms, so that nothing is held."""
    days = panel.dates[rows]
    parts = []
    for model, seed in seeds.items():
        shape = len(days), len(panel.firms)
        score = np.zeros(shape) if seed is None else np.random.default_rng(seed).standard_normal(shape)
        row, column = np.indices(shape).reshape(2, -1)
        parts.append(pd.DataFrame({
            "date": pd.to_datetime(days[row]), "firm": panel.firms[column], "model": model, "fold": 0, "seed": 0,
            "score": score.ravel(), "prediction": 0.0, "realised": np.nan,
        }))  # fmt: skip
    return Forecasts(pd.concat(parts, ignore_index=True), 2, 0, 0, panel.periods_per_year)


def setup_of(*models: str, **changes: str) -> Setup:
    return Setup({model: changes.get(model, f"{model} of old") for model in models}, TARGET, SPLITS)


def tried(folder: Path, panel: Panel, seeds: Mapping[str, int | None]) -> Setup:
    setup = setup_of(*seeds)
    record(folder, panel, forecasts_of(panel, seeds), setup)
    return setup


@pytest.fixture
def folder(tmp_path: Path, panel: Panel) -> Path:
    """A ledger of three trials."""
    tried(tmp_path / "ledger", panel, {"a": 1, "b": 2, "c": 3})
    return tmp_path / "ledger"


def small(firms: list[str], start: str, days: int = 60, source: str = "") -> Panel:
    """A panel for what overlaps: only its firms, days and source matter."""
    dates = np.arange(np.datetime64(start), np.datetime64(start) + days)
    returns = 0.01 * np.random.default_rng(0).standard_normal((days, len(firms)))
    return Panel(dates, firms, returns, source={"name": source} if source else {})


def record_small(folder: Path, panel: Panel) -> None:
    record(folder, panel, forecasts_of(panel, {"a": 1}, slice(10, None)), setup_of("a"))


# -- what is appended ------------------------------------------------------------


def test_a_trial_says_what_was_tried_and_holds_what_it_earned(tmp_path, panel):
    forecasts, setup = forecasts_of(panel, {"a": 1, "b": None}), setup_of("a", "b")
    first, second = record(tmp_path, panel, forecasts, setup)
    assert [first, second] == read_trials(tmp_path) and first.previous == EMPTY and second.previous == first.hash
    assert (first.model, first.settings, first.seeds, first.panel) == ("a", "a of old", [0], panel.fingerprint)
    assert first.target == dataclasses.asdict(TARGET) and first.splits == dataclasses.asdict(SPLITS)
    assert first.portfolio == {"quantiles": 5, "cost": 0.001, "delay": 1} and first.periods_per_year == 252
    assert (first.first, first.last, first.rows) == (str(panel.dates[0]), str(panel.dates[-1]), 420)
    assert first.firm_count == 12 and chain.firms_of(tmp_path, first) == sorted(panel.firms)
    assert first.features == ["reversal", "maximum_return", "idiosyncratic_volatility"]
    daily = portfolio(forecasts, panel, delay=1, missing_delisting_return=TARGET.missing_delisting_return)
    own = daily[daily["model"] == "a"]
    net = net_returns(tmp_path, first)
    np.testing.assert_allclose(net.to_numpy(), own["net"].to_numpy(), rtol=0, atol=1e-12)
    assert list(net.index) == list(own["date"]) and not net_returns(tmp_path, second).any()


def test_a_repeated_trial_adds_nothing(folder, panel):
    before = head(folder), sorted(folder.rglob("*.npy"))
    tried(folder, panel, {"b": 2, "a": 1})
    assert (head(folder), sorted(folder.rglob("*.npy"))) == before
    tried(folder, panel, {"a": 1, "d": 4})
    assert [trial.model for trial in read_trials(folder)] == ["a", "b", "c", "d"]


def test_firms_are_one_set_in_whatever_order(folder, panel):
    turned = panel[:, ::-1]
    (trial,) = record(folder, turned, forecasts_of(turned, {"d": 4}), setup_of("d"))
    assert trial.firms == read_trials(folder)[0].firms


def test_noise_of_rounding_is_no_other_trial(tmp_path, panel, monkeypatch):
    forecasts, setup = forecasts_of(panel, {"a": 1, "tied": None}), setup_of("a", "tied")  # of which one earns 0
    record(tmp_path, panel, forecasts, setup)
    real = chain.portfolio
    monkeypatch.setattr(chain, "portfolio", lambda *a: (found := real(*a)).assign(net=found["net"] - 1e-18))
    assert record(tmp_path, panel, forecasts, setup) == []
    monkeypatch.setattr(chain, "portfolio", lambda *a: (found := real(*a)).assign(net=found["net"] + 1e-9))
    assert len(record(tmp_path, panel, forecasts, setup)) == 2


CHANGES: dict[str, Callable[[Panel, Setup], tuple[Panel, int, Setup]]] = {
    "settings": lambda panel, setup: (panel, 1, setup_of("a", a="new")),
    "target": lambda panel, setup: (panel, 1, dataclasses.replace(setup, target=TargetConfig(2, 1))),
    "splits": lambda panel, setup: (panel, 1, dataclasses.replace(setup, splits=WalkForward("2001-07-01"))),
    "what is beside the panel": lambda panel, setup: (panel, 1, dataclasses.replace(setup, beside={"reference": "x"})),
    "the panel": lambda panel, setup: (panel.replace(source={"name": "other"}), 1, setup),
    "the forecasts of the same settings": lambda panel, setup: (panel, 2, setup),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_another_trial(change, folder, panel):
    changed, seed, setup = CHANGES[change](panel, setup_of("a"))
    assert len(record(folder, changed, forecasts_of(changed, {"a": seed}), setup)) == 1
    assert verify(folder) == 4


def test_other_seeds_are_another_trial(folder, panel):
    forecasts = forecasts_of(panel, {"a": 1})
    other = Forecasts(forecasts.table.assign(seed=5), 2, 0, 0, 252)
    assert record(folder, panel, other, setup_of("a"))[0].seeds == [5]


def test_an_empty_ledger_has_a_stated_head_and_reading_makes_no_folder(tmp_path):
    assert head(tmp_path / "none") == EMPTY == "0" * 64 and read_trials(tmp_path / "none") == []
    assert verify(tmp_path / "none", [EMPTY]) == 0 and not (tmp_path / "none").exists()


# -- what breaks the chain ------------------------------------------------------------


def _forged(line: str, **changes: object) -> str:
    """Change fields and give the entry the hash that it should then have."""
    entry = json.loads(line) | changes
    del entry["hash"]
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return json.dumps(entry | {"hash": hashlib.sha256(text.encode()).hexdigest()})


BREAKS = "the chain breaks: (hash|previous) must be [0-9a-f]{64}, found [0-9a-f]{64}"
NO_JSON = "expected a trial as JSON, found another"
TAMPERED: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "a changed number": (lambda t: [t[0], t[1].replace('"rows":420', '"rows":421'), t[2]], f"2: {BREAKS}"),
    "a changed setting": (lambda t: [t[0].replace("of old", "of new"), *t[1:]], f"1: {BREAKS}"),
    "a changed number with its hash": (lambda t: [_forged(t[0], rows=421), *t[1:]], f"2: {BREAKS}"),
    "a line taken out": (lambda t: [t[0], t[2]], f"2: {BREAKS}"),
    "the first taken out": (lambda t: t[1:], "1: the chain breaks: previous must be 0{64}, found"),
    "lines in another order": (lambda t: [t[0], t[2], t[1]], f"2: {BREAKS}"),
    "a line twice": (lambda t: [t[0], t[0], t[1]], f"2: {BREAKS}"),
    "a line cut off": (lambda t: [t[0], t[1], t[2][:50]], f"3: {NO_JSON}"),
    "an empty line": (lambda t: [t[0], "", t[1]], f"2: {NO_JSON}"),
    "a deep list": (lambda t: ["[" * 100_000], f"1: {NO_JSON}"),
    "no number": (lambda t: [t[0].replace('"cost":0.001', '"cost":NaN')], f"1: {NO_JSON}"),
    "a list": (lambda t: [t[0], "[1]"], "2: expected a trial with time, model, .*, found other fields"),
    "another field": (lambda t: [_forged(t[0], more=1)], "1: expected a trial with"),
    "a word for a number": (lambda t: [_forged(t[0], rows="x")], "1: rows must be what .* writes there, found 'x'"),
    "a path for a hash": (lambda t: [_forged(t[0], net="../../secret")], "1: net must be .* found '../../secret'"),
    "a word for a day": (lambda t: [_forged(t[0], first="long ago")], "1: first must be .* found 'long ago'"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_ledger_that_was_tampered_with_is_refused_by_its_line(case, folder, panel):
    change, message = TAMPERED[case]
    file = folder / "trials.jsonl"
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")
    before = file.read_bytes()
    for act in (read_trials, head, verify, lambda path: tried(path, panel, {"d": 4})):
        with pytest.raises(InputError, match=f"trials.jsonl, line {message}.*; restore the ledger, or move .* away"):
            act(folder)
    assert file.read_bytes() == before


def test_bytes_that_are_no_text_are_refused(folder):
    (folder / "trials.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match="line 1: expected a trial as JSON, found another: 'utf-8' codec"):
        read_trials(folder)


def test_a_last_line_without_its_end_is_read_and_one_cut_short_refused(folder):
    file = folder / "trials.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert len(read_trials(folder)) == 3
    file.write_bytes(whole[:-9])
    with pytest.raises(InputError, match="line 3: expected a trial as JSON"):
        read_trials(folder)


def test_a_ledger_that_was_cut_or_rewritten_is_found_by_a_head_kept_elsewhere(folder, panel, tmp_path):
    heads = [trial.hash for trial in read_trials(folder)]
    assert verify(folder, heads) == 3
    lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
    (folder / "trials.jsonl").write_text("".join(lines[:2]))
    assert verify(folder, heads[:2]) == 2  # the chain alone cannot tell
    with pytest.raises(InputError, match=f"must hold the trial {heads[2]}, once its head, found none"):
        verify(folder, heads)
    (folder / "trials.jsonl").write_text("\n".join([_forged(lines[0], model="b")]) + "\n")
    with pytest.raises(InputError, match="it was cut or rewritten"):
        verify(folder, heads[:1])


@pytest.mark.parametrize("which", ["net", "dates", "firms"])
def test_an_array_that_was_changed_or_lost_is_found(which, folder):
    trial = read_trials(folder)[1]
    file = folder / "arrays" / f"{getattr(trial, which)}.npy"
    array = np.load(file)
    array[3] = array[4]
    np.save(file, array)
    with pytest.raises(InputError, match=f"{file.name}: must hold what its name is the SHA-256 of, found another"):
        verify(folder)
    file.unlink()
    with pytest.raises(InputError, match=f"{file.name}: must be a whole .npy file.*No such file"):
        verify(folder)


def test_nothing_is_unpickled(folder):
    trial = read_trials(folder)[0]
    np.save(folder / "arrays" / f"{trial.net}.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="must be a whole .npy file of f8, found another"):
        net_returns(folder, trial)


def test_returns_that_do_not_go_with_their_dates_are_refused(folder):
    trial = read_trials(folder)[0]
    short = chain._store(folder, np.array([0.1]))
    with pytest.raises(InputError, match="must have a finite return a date"):
        net_returns(folder, dataclasses.replace(trial, net=short))


def test_a_file_in_the_place_of_the_ledger_is_refused(tmp_path, panel):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="ledger must be a folder, found a file at .*file"):
        read_trials(tmp_path / "file")
    for place in (tmp_path / "file", tmp_path / "file" / "ledger"):
        with pytest.raises(InputError, match="ledger must be a folder to write to, found .*file"):
            tried(place, panel, {"a": 1})


# -- processes ------------------------------------------------------------


def in_another_process(act: Callable[[], object]) -> int:
    """Run something in a copy of this process and return its id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that it does not use
        process = os.fork()
    if process == 0:
        try:
            act()
        finally:
            os._exit(0)
    return process


def test_two_processes_append_one_after_the_other(tmp_path, panel):
    panel.fingerprint  # noqa: B018  # computed once, for all of them
    made = {name: (forecasts_of(panel, {name: seed}), setup_of(name)) for seed, name in enumerate("abcdefgh")}

    def append(names: str) -> None:
        for name in names:
            record(tmp_path, panel, *made[name])

    for process in [in_another_process(lambda names=names: append(names)) for names in ("abcdef", "fedcgh")]:
        os.waitpid(process, 0)
    assert verify(tmp_path) == 8 and {trial.model for trial in read_trials(tmp_path)} == set("abcdefgh")


def test_an_append_waits_for_one_that_has_begun(folder, panel, monkeypatch):
    begun, other = os.pipe(), os.pipe()
    real = chain.read_trials

    def read_slowly(path: Path) -> list[ledger.Trial]:
        found = real(path)
        os.write(begun[1], b"x")
        select.select([other[0]], [], [], 0.5)  # until the other one is done, which it cannot be as long as this holds
        return found

    def append() -> None:
        monkeypatch.setattr(chain, "read_trials", read_slowly)
        tried(folder, panel, {"d": 4})

    process = in_another_process(append)
    os.read(begun[0], 1)
    tried(folder, panel, {"e": 5})
    os.write(other[1], b"x")
    os.waitpid(process, 0)
    assert verify(folder) == 5


@pytest.mark.parametrize("renames", [0, 1, 2], ids=["at the first array", "at the second", "at the trials"])
def test_a_killed_append_leaves_the_ledger_valid(renames, folder, panel, monkeypatch):
    before, real, done = head(folder), os.replace, []

    def replace(source: Path, destination: Path) -> None:
        if len(done) == renames:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(destination)
        real(source, destination)

    def append() -> None:
        monkeypatch.setattr(os, "replace", replace)
        tried(folder, panel, {"d": 4, "e": 5})

    _, status = os.waitpid(in_another_process(append), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL and list(folder.rglob(".partial-*"))
    assert head(folder) == before and verify(folder) == 3
    tried(folder, panel, {"d": 4, "e": 5})
    assert verify(folder, [before]) == 5 and not list(folder.rglob(".partial-*"))


# -- the same data ------------------------------------------------------------


def test_the_same_source_is_the_same_data_whatever_its_firms_and_days(tmp_path):
    record_small(tmp_path, small(["A", "B"], "2001-01-01", source="vendor"))
    assert len(overlapping(tmp_path, small(["X", "Y"], "2020-01-01", source="vendor"))) == 1
    assert not overlapping(tmp_path, small(["X", "Y"], "2020-01-01", source="another"))
    record_small(tmp_path, small(["A", "B"], "2001-01-01"))
    assert not overlapping(tmp_path, small(["X", "Y"], "2020-01-01"))  # nameless sources are not one source


FIRMS = ["A", "B", "C", "D"]


@pytest.mark.parametrize(
    ("firms", "start", "days", "same"),
    [
        (FIRMS, "2001-01-01", 60, True),
        (["A", "B", "X", "Y"], "2001-01-01", 60, True),
        (["A", "X", "Y", "Z"], "2001-01-01", 60, False),
        (["A", "X"], "2001-01-01", 60, True),  # half of the smaller set
        ([*FIRMS, *"EFGHIJKLMNOP"], "2000-01-01", 600, True),  # all of the smaller
        (FIRMS, "2001-01-31", 60, True),
        (FIRMS, "2001-02-01", 60, False),
        (FIRMS, "2001-02-01", 40, True),  # 29 of 40 days
        (FIRMS, "2003-01-01", 60, False),
        (["W", "X", "Y", "Z"], "2001-01-01", 60, False),
    ],
)
def test_other_sources_are_the_same_data_where_half_of_firms_and_days_are(firms, start, days, same, tmp_path):
    record_small(tmp_path, small(FIRMS, "2001-01-01"))
    assert bool(overlapping(tmp_path, small(firms, start, days, "elsewhere"))) is same


def test_changed_numbers_are_still_the_same_data(folder, panel):
    other = panel.replace(returns=np.where(np.isnan(panel.returns), np.nan, 0.5 * panel.returns))
    assert other.fingerprint != panel.fingerprint and len(overlapping(folder, other)) == 3
    assert len(overlapping(folder, other[:, 2:])) == 3


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({}, ""),
        ({"retrieved": "2024-06-05", "counts": {"rows": 3}}, ""),
        ({"name": "Yahoo Finance", "retrieved": {"first": "2024"}}, "name Yahoo Finance"),
        ({"file": "returns.csv", "rows": 9}, "file returns.csv"),
        ({"files": 3, "folder": "months", "rows": 9}, "folder months"),
        ({"wrds": {"layout": "ciz"}, "rows": 9}, "wrds"),
        ({"name": 5}, ""),
    ],
)  # fmt: skip
def test_a_source_is_named_by_what_stays_when_it_is_read_again(source, name):
    assert ledger.source_of(small(["A"], "2001-01-01").replace(source=source)) == name


def test_the_sample_has_a_named_source():
    assert ledger.source_of(data.sample()) == "name skfolio.datasets.load_sp500_dataset"


# -- what a search leaves ------------------------------------------------------------


def test_figures_equal_their_formulas_over_all_trials(folder, panel):
    setup = tried(folder, panel, {"d": 4, "tied": None})
    found = selection(folder, panel, setup)
    trials = read_trials(folder)
    net = [net_returns(folder, trial).to_numpy() for trial in trials]
    ratios = [returns.mean() / returns.std(ddof=1) for returns in net[:4]]
    assert found.ledger == {"head": trials[-1].hash, "trials": 5, "overlapping": 5}
    assert (found.figures["trials"], found.figures["undefined"]) == (4, 1)
    own, tied = found.figures["models"]
    expected = deflated_sharpe(net[3], ratios)
    assert own["model"] == "d" and math.isclose(own["deflated"], expected.probability)
    assert math.isclose(own["sharpe"], expected.sharpe * math.sqrt(252))
    assert math.isclose(own["probability"], evaluation.probabilistic_sharpe(net[3]).probability)
    assert math.isclose(found.figures["benchmark"], expected.benchmark * math.sqrt(252))
    assert tied == {"model": "tied", "sharpe": None, "probability": None, "deflated": None}
    overfitting = probability_of_backtest_overfitting(np.stack(net[:4], axis=1))
    assert found.figures["overfitting"] == {
        "probability": overfitting.probability, "trials": 4, "dates": overfitting.dates,
    }  # fmt: skip
    assert json.loads(json.dumps(found.figures, allow_nan=False)) == found.figures


def test_a_deflated_sharpe_ratio_falls_with_the_number_of_trials(tmp_path, panel):
    setup = tried(tmp_path, panel, {f"first{i}": 1 + i % 2 for i in range(8)})  # of two kinds: the spread stays
    probability, deflated = [], []
    for batch in range(3):
        own = selection(tmp_path, panel, setup).figures["models"][0]
        probability.append(own["probability"])
        deflated.append(own["deflated"])
        tried(tmp_path, panel, {f"{batch} {i}": 1 + i % 2 for i in range(8)})
    assert len(set(probability)) == 1 and deflated[0] > deflated[1] > deflated[2] > 0


def test_a_single_trial_was_not_chosen(tmp_path, panel):
    setup = tried(tmp_path, panel, {"a": 1})
    figures = selection(tmp_path, panel, setup).figures
    assert figures["benchmark"] == 0 and figures["models"][0]["deflated"] == figures["models"][0]["probability"]
    assert figures["overfitting"] is None


def test_nothing_recorded_has_no_figures(tmp_path, panel):
    found = selection(tmp_path, panel, setup_of("a"))
    assert found.figures == {
        "trials": 0, "undefined": 0, "benchmark": 0, "portfolio": None, "models": [], "overfitting": None,
    }  # fmt: skip
    assert found.ledger == {"head": EMPTY, "trials": 0, "overlapping": 0}


def test_overfitting_is_judged_over_trials_with_the_same_dates(folder, panel):
    late = forecasts_of(panel, {"d": 4, "e": 5}, slice(200, None, 2))
    record(folder, panel, late, setup_of("d", "e"))
    early, later = (selection(folder, panel, setup_of(*names)).figures["overfitting"] for names in ("abc", "de"))
    assert (early["trials"], later["trials"]) == (3, 2) and early["dates"] > later["dates"]
    record(folder, panel, forecasts_of(panel, {"f": 6}, slice(300, None, 2)), setup_of("f"))
    assert selection(folder, panel, setup_of("f")).figures["overfitting"] is None
    short = forecasts_of(panel, {"g": 7, "h": 8}, slice(390, None, 2))  # fewer than 32 dates
    record(folder, panel, short, setup_of("g", "h"))
    assert selection(folder, panel, setup_of("g", "h")).figures["overfitting"] is None


def test_trials_of_another_frequency_are_compared_by_the_year(tmp_path, panel):
    monthly = panel.replace(periods_per_year=12)
    for each, name, seed in ((panel, "a", 1), (monthly, "b", 2)):
        tried(tmp_path, each, {name: seed})
    net = [net_returns(tmp_path, trial).to_numpy() for trial in read_trials(tmp_path)]
    yearly = [returns.mean() / returns.std(ddof=1) * year**0.5 for returns, year in zip(net, (252, 12), strict=True)]
    expected = deflated_sharpe(net[0], Trials(2, float(np.var(yearly, ddof=1)) / 252)).probability
    assert math.isclose(selection(tmp_path, panel, setup_of("a")).figures["models"][0]["deflated"], expected)


def test_the_newest_trial_of_this_very_setup_is_judged(folder, panel):
    record(folder, panel, forecasts_of(panel, {"a": 9}), setup_of("a"))  # the code of a changed, its settings did not
    record(folder, panel, forecasts_of(panel, {"a": 10}), setup_of("a", a="others"))
    record(folder, make_panel(seed=5), forecasts_of(make_panel(seed=5), {"a": 11}), setup_of("a"))
    trials = read_trials(folder)
    assert ledger.latest(trials, panel, setup_of("b", "a", "unknown")) == [trials[1], trials[3]]
    assert ledger.latest(trials, panel, dataclasses.replace(setup_of("a"), beside={"reference": "x"})) == []


def test_a_line_can_be_checked_by_hand(folder):
    """What another program needs to know: SHA-256 of the entry as sorted, compact JSON without its hash."""
    line = (folder / "trials.jsonl").read_text().splitlines()[-1]
    text = re.sub(r'"hash":"[0-9a-f]{64}",', "", line)
    assert hashlib.sha256(text.encode()).hexdigest() == json.loads(line)["hash"] == head(folder)
