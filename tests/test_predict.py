"""Models that are kept forecast what the run forecast, and never know what came after."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import make_panel

from finattn import cli, predict_pipeline, progress
from finattn.config import DataConfig, RunConfig
from finattn.config_file import read_yaml
from finattn.errors import InputError
from finattn.forecasts import Forecasts
from finattn.panel import Panel

MODELS = ["zero", "historical_mean", "ridge", "sic_kernel", "both"]
CONFIG = {
    "name": "small",
    "data": {"source": "panel", "path": "panel"},
    "features": ["reversal", "maximum_return"],
    "target": {"horizon": 2},
    "splits": {"first_test": "2002-07-01", "test": "2M", "valid": "1M", "decisions": "weekly"},
    "forecasters": MODELS,
    "attention": {"both": ["time", "firm"]},
    "primary": ["both", "sic_kernel"],
    "model": {"width": 8, "heads": 2, "feed_forward": 8, "lookback": 5},
    "training": {"epochs": 2, "minimum_epochs": 1, "block": 60, "threads": 1, "seeds": [0, 1]},
    "baselines": {"ridge_lookback": 5, "ridge_strengths": [0.1], "peer_windows": [1, 5], "bandwidths": [1.0]},
    "portfolio": {"quantiles": 3},
}
EMPTY = {"features": np.zeros((480, 8, 0)), "feature_names": ()}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a panel, a configuration, and its finished run."""
    place = tmp_path_factory.mktemp("home")
    make_panel(firms=8, days=480).replace(**EMPTY).save(place / "panel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        Path("small.yaml").write_text(yaml.safe_dump(CONFIG))
        assert cli.main(["run", "small.yaml"]) == 0
    return place


@pytest.fixture
def work(home, monkeypatch) -> Path:
    monkeypatch.chdir(home)
    return home


def of_run(date: str) -> pd.DataFrame:
    table = Forecasts.load("runs/small/forecasts.parquet").average_seeds().table
    return table[table["date"] == date].sort_values(["model", "firm"])


def test_a_decision_date_is_forecast_as_the_run_forecast_it_in_every_fold(work):
    dates = Forecasts.load("runs/small/forecasts.parquet").table.groupby("fold")["date"].max()
    assert len(dates) == 3
    for date in dates:
        found = predict_pipeline.predict(Path("runs/small"), date=date).table.sort_values(["model", "firm"])
        expected = of_run(date)
        assert found["firm"].tolist() == expected["firm"].tolist() and set(found["model"]) == set(MODELS)
        np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["prediction"], expected["prediction"], rtol=1e-4, atol=1e-7)


def test_what_comes_after_a_date_changes_nothing_of_its_forecasts(work):
    panel = Panel.load("panel")
    returns = panel.returns.copy()
    row = int(np.searchsorted(panel.dates, np.datetime64("2002-08-15")))
    returns[row + 1 :] = np.random.default_rng(5).uniform(-0.5, 0.5, returns[row + 1 :].shape)
    panel.replace(returns=returns).save("changed")
    before = predict_pipeline.predict(Path("runs/small"), date="2002-08-15")
    other = DataConfig(source="panel", path="changed")
    pd.testing.assert_frame_equal(predict_pipeline.predict(Path("runs/small"), other, "2002-08-15").table, before.table)
    assert before.facts["labels_known_by"] <= "2002-08-15"
    now = predict_pipeline.predict(Path("runs/small"), other).table
    assert not np.allclose(now["score"], predict_pipeline.predict(Path("runs/small")).table["score"])


def test_a_panel_that_has_grown_is_forecast_from_its_last_row_with_the_firms_it_has(work):
    panel = make_panel(firms=12, days=500).replace(features=np.zeros((500, 12, 0)), feature_names=())
    panel.save("grown")
    found = predict_pipeline.predict(Path("runs/small"), DataConfig(source="panel", path="grown"), models=["both"])
    last = panel.listed[-1] & np.isfinite(panel.returns[-1])
    assert found.table["firm"].tolist() == panel.firms[last].tolist()
    assert found.facts == {
        "date": str(panel.dates[-1]), "horizon": 2, "delay": 0, "fitted_from": "2001-12-19",
        "labels_known_by": "2002-11-01", "firms": int(last.sum()),
        "listed_but_unobserved": int((panel.listed[-1] & ~last).sum()),
    }  # fmt: skip


def test_train_fits_on_all_that_was_known_at_a_date_and_predict_goes_on_with_it(work, capsys):
    assert cli.main(["train", "small.yaml", "--until", "2002-09-02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"models": "runs/small-trained"}
    kept = RunConfig(**read_yaml("runs/small-trained/config.yaml"))
    assert kept.splits.first_test == "2002-09-02" and kept.name == "small-trained"
    assert Panel.load("runs/small-trained/panel").dates[-1] == np.datetime64("2002-09-02")
    facts = predict_pipeline.predict(Path("runs/small-trained"), date="2002-10-01").facts
    assert facts["labels_known_by"] == "2002-09-02" and facts["date"] == "2002-10-01"
    with pytest.raises(InputError, match="from 2002-09-02 on, found 2002-08-30: models saw what came after"):
        predict_pipeline.predict(Path("runs/small-trained"), date="2002-08-30")
    before = {path: path.stat().st_mtime_ns for path in Path("runs/small-trained").glob("folds/*/*/*")}
    assert cli.main(["train", "small.yaml", "--until", "2002-09-02"]) == 0
    assert capsys.readouterr().out == "models: runs/small-trained\nnext: finattn predict runs/small-trained\n"
    assert {path: path.stat().st_mtime_ns for path in Path("runs/small-trained").glob("folds/*/*/*")} == before
    assert cli.main(["train", "small.yaml"]) == 2
    assert "start over with --force" in capsys.readouterr().err
    assert cli.main(["train", "small.yaml", "--force", "--forecasters", "[zero]"]) == 0
    config = dataclasses.replace(kept, name="other", splits=dataclasses.replace(kept.splits, decisions="weekly"))
    with progress.RunProgress() as watch:
        folder = predict_pipeline.train(dataclasses.replace(config, forecasters=("zero",)), watch=watch)
    assert folder == Path("runs/other-trained")
    assert not Path("runs/small/ledger").exists()


def test_forecasts_are_printed_written_and_traded(work, capsys):
    assert cli.main(["predict", "runs/small", "--out", "now.csv", "--date", "2002-10-25"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Forecast return, %, of 2 rows from the close of 2002-10-25 on\n")
    assert "firm, by both" in text and "forecasts: now.csv" in text
    assert "Sorted by both, the last of the models, whichever ranked best; --models sorts by another." in text
    assert "The same return for all firms: zero" in text and "Models were fitted on labels known by 2002-0" in text
    table = pd.read_csv("now.csv")
    assert list(table.columns) == list(predict_pipeline.COLUMNS) and len(table) == table["firm"].nunique() * len(MODELS)
    assert cli.main(["predict", "runs/small", "--out", "now.parquet", "--models", "[ridge]", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert cli.main(["predict", "runs/small", "--models", "[ridge]"]) == 0
    assert "Sorted by" not in capsys.readouterr().out
    assert {row["model"] for row in told["forecasts"]} == {"ridge"} and told["date"] == "2002-11-01"
    assert len(pd.read_parquet("now.parquet")) == len(told["forecasts"])
    files = ["backtest", "now.csv", "--panel", "panel", "--horizon", "2", "--json"]
    assert cli.main(files) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "a run's folder must be given first, found none; see finattn predict --help"),
        (["nowhere"], "a run's folder must hold config.yaml, found none in nowhere"),
        (["runs/small", "--models", "[bth]"], "model must be one of zero, historical_mean, ridge, sic_kernel, both"),
        (["runs/small", "--date", "2002-06-03"], "date must lie in the test windows, from 2002-07-05 on"),
        (["runs/small", "--date", "2002-08-17"], "date must be one of the panel's, found 2002-08-17"),
        (["runs/small", "--out", "now.txt"], "--out must be a file that ends in .csv or .parquet, found now.txt"),
        (["runs/small", "--modles", "[zero]"], "unknown key modles, did you mean models?"),
        (["runs/small", "--data.path", "featured"], "feature_names must be those of the panel that models were fitted"),
        (["half"], "a run must have its fits, found none of zero"),
    ],
)  # fmt: skip
def test_what_cannot_be_forecast_is_refused_in_one_line(arguments, message, work, capsys):
    if not Path("featured").exists():
        make_panel(firms=8, days=480).replace(feature_names=("a", "b", "c")).save("featured")
        Path("half/folds").mkdir(parents=True)
        Path("half/config.yaml").write_text(Path("runs/small/config.yaml").read_text())
        Panel.load("runs/small/panel").save("half/panel")
    assert cli.main(["predict", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("finattn: ") and message in line
    assert not Path("now.txt").exists()


def test_misspelt_models_and_folders_are_refused_before_torch_is_loaded(work):
    code = (
        "import sys; from finattn.cli import main; "
        "codes = [main(['predict', 'runs/small', '--models', '[bth]']), main(['predict', 'no'])]; "
        "codes.append(main(['report', 'no'])); "
        "sys.exit(codes != [2, 2, 2] or 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0 and "found 'bth', did you mean both?" in found.stderr
