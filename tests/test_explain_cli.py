"""`finattn explain`: one forecast of a run, as text, JSON, a page, and a section of the report."""

import json

import pandas as pd
import pytest

from finattn.cli import main
from finattn.explain import Explanation

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
        ({"firm": "ZZZ"}, "a target's firm must be one of the panel's, found 'ZZZ'"),
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
    assert asked(run, "--methods", "magic") == 2
    assert "method must be one of saliency" in capsys.readouterr().err
    assert asked(tmp_path) == 2
    assert "a run's folder must hold config.yaml, found none in" in capsys.readouterr().err
