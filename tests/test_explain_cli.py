"""`finattn explain`: one forecast of a run, as text, JSON, a page, and a section of the report."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from finattn.cli import main
from finattn.cli.explanations import METHODS
from finattn.errors import InputError
from finattn.explain import LOOKED, Explanation
from finattn.explain import METHODS as GRADIENTS
from finattn.explain_pipeline import open_run
from finattn.report import explained

SMALL = (
    "--features", "[reversal]", "--forecasters", "[ridge, sic_kernel, both]", "--splits.first_test", "2018-01-01",
    "--splits.test", "2Y", "--splits.valid", "1Y", "--splits.train", "2Y", "--splits.decisions", "month-end",
    "--model.lookback", "4", "--model.width", "8", "--model.heads", "2", "--training.epochs", "1",
    "--training.minimum_epochs", "1", "--training.block", "100", "--training.seeds", "[0, 1]",
    "--training.threads", "1", "--data.start", "2013-01-01", "--data.end", "2019-12-31",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("explain")
    assert main(["run", "--name", "small", "--out", str(out), *SMALL]) == 0
    return out / "small"


def asked(run, *more, firm="AAPL", date="2019-03-29"):
    return main(["explain", str(run), "--firm", firm, "--date", date, *more])


def test_a_forecast_is_explained_as_tables_a_page_and_a_section_of_the_report(run, capsys):
    assert "Explained forecasts" not in (run / "report.html").read_text(encoding="utf-8")
    assert asked(run) == 0
    said = capsys.readouterr().out
    assert "On 2019-03-29 Attention, both gave AAPL the score" in said and "not why it decided" in said
    name = "2019-03-29-AAPL-both"
    page = (run / "explanations" / f"{name}.html").read_text(encoding="utf-8")
    report = (run / "report.html").read_text(encoding="utf-8")
    for text in (page, report):
        assert "Attention shows what the model looked at, not why it decided" in text and "AAPL, 2019-03-29" in text
    found = Explanation.load(run / "explanations" / f"{name}.parquet")
    assert found.methods == ("attention", "integrated_gradients") and found.made["forecast"]["firms"] == 20


def test_seeds_are_averaged_and_kinds_add_up_to_one_change(run, capsys):
    assert asked(run, "--methods", "integrated_gradients", "shapley", "--samples", "3", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    table = pd.DataFrame(said["scores"])
    sums = table.groupby(["method", "kind"])["score"].sum()
    assert (sums - sums.iloc[0]).abs().max() < 0.01 * abs(sums.iloc[0]) + 1e-5
    assert said["made"]["forecast"]["place"] in range(1, 21)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"firm": "ZZZ"}, "firm must be one of the panel's, found 'ZZZ'"),
        ({"firm": "APPL"}, "firm must be one of the panel's, found 'APPL', did you mean AAPL?"),
        (
            {"date": "2019-03-31"},
            "date must be one of the panel's, found 2019-03-31: the nearest before it is 2019-03-29",
        ),
        ({"date": "soon"}, "date must be a day such as 2020-03-16, found 'soon'"),
        ({"date": "2014-01-02"}, "date must lie in the test windows, from 2018-01-31 on, found 2014-01-02"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_line(run, capsys, more, message):
    assert asked(run, **more) == 2
    assert capsys.readouterr().err.strip() == f"finattn: {message}"


def test_models_methods_and_folders_that_there_are_not_are_refused(run, capsys, tmp_path):
    assert asked(run, "--model", "ridge") == 2
    assert "model must be one of both, found 'ridge'" in capsys.readouterr().err
    assert asked(run, "--model", "bothe") == 2
    assert "found 'bothe', did you mean both?" in capsys.readouterr().err
    assert asked(run, "--methods", "magic") == 2
    assert "method must be one of attention, rollout, value_norm, saliency" in capsys.readouterr().err
    assert asked(tmp_path) == 2
    assert "a run's folder must hold config.yaml, found none in" in capsys.readouterr().err


def test_words_are_checked_before_anything_heavy_is_loaded():
    code = (
        "import sys; from finattn.cli import main; "
        "given = ['explain', 'RUN', '--firm', 'A', '--date', '2020-01-02', '--methods', 'shaply']; "
        "assert main(given) == 2; assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said.endswith("found 'shaply', did you mean shapley?\n")
    assert sorted(METHODS) == sorted([*LOOKED, *GRADIENTS])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return a run of which the headline's model is none, and whose first trained one does not attend."""
    out = tmp_path_factory.mktemp("plain")
    assert main(["run", "--name", "plain", "--out", str(out), *SMALL, "--forecasters", "[ridge, lstm, look_up]"]) == 0
    return out / "plain"


def test_without_the_headlines_model_what_stands_for_it_is_explained_and_attention_where_a_model_attends(plain, capsys):
    run = open_run(plain)
    assert run.config.headline[0] == "both"
    assert (run.default_model(), run.default_model(("firm", "industry"))) == ("look_up", "look_up")
    other = replace(run, config=replace(run.config, headline=("lstm", "ridge")))
    assert other.default_model() == "lstm" and other.default_model(("firm",)) == "look_up"
    assert other.axes("look_up") == ("firm",) and other.axes("lstm") == ()
    assert asked(plain, "--model", "lstm", "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["made"]) == ["forecast", "integrated_gradients"]
    assert asked(plain, "--json") == 0
    assert list(json.loads(capsys.readouterr().out)["made"]) == ["forecast", "attention", "integrated_gradients"]


def test_peers_without_the_headlines_model_are_those_of_the_first_that_asks_firms(plain, capsys):
    assert main(["peers", str(plain), "--dates", "last", "--draws", "0", "--window", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"]["model"] == "look_up"


def test_a_run_without_trained_models_says_so(plain, tmp_path):
    for name in ("config.yaml", "panel"):
        (shutil.copytree if name == "panel" else shutil.copy)(plain / name, tmp_path / name)
    (tmp_path / "folds").mkdir()
    with pytest.raises(InputError, match="a run must have a trained model, found none in"):
        open_run(tmp_path).default_model()


def test_what_was_explained_is_printed_also_where_the_report_cannot_be_written(plain, capsys, tmp_path):
    shutil.copytree(plain, tmp_path / "hurt")
    (tmp_path / "hurt" / "explanations").mkdir(exist_ok=True)
    (tmp_path / "hurt" / "explanations" / "old.parquet").write_bytes(b"PAR1")
    assert asked(tmp_path / "hurt") == 2
    said = capsys.readouterr()
    assert "gave AAPL the score" in said.out and "page: " in said.out
    assert "old.parquet must be an explanation that finattn saved" in said.err and said.err.count("\n") == 1


def test_errors_of_completeness_have_two_digits(plain, capsys):
    assert asked(plain) == 0
    assert re.search(
        r"completeness_error \d(\.\d)?(e-\d\d)?$|completeness_error 0\.0+\d\d?$", capsys.readouterr().out, re.M
    )


@pytest.mark.parametrize("firm", ["A|B", "A/B", "É" * 200, "x" * 240, "x" * 241, "../../x", "\u202ex", "A B", "."])
def test_names_of_files_are_short_plain_and_never_shared(firm, tmp_path):
    name = explained.file_name({"date": "2020-03-16", "firm": firm, "model": "both"})
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,120}", name) and name.startswith("2020-03-16-") and "-both" in name
    (tmp_path / f"{name}.parquet").touch()
    for other in ("A_B", "A:B", "É" * 201, "x" * 60, "x" * 242, ".._.._x", "_x"):
        assert explained.file_name({"date": "2020-03-16", "firm": other, "model": "both"}) != name
