"""`finattn peers`: a run's peer network, from its fits to files, and that no model explains a date before its own."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from finattn import networks, peers_pipeline
from finattn.cli import main
from finattn.cli.peers import FORMATS, METHODS, peers
from finattn.errors import InputError
from finattn.explain_pipeline import open_run
from finattn.networks import Averaging, PeerNetwork
from finattn.peers_pipeline import Asked, as_of_rows, build

SMALL = (
    "--features", "[reversal]", "--forecasters", "[ridge, firm]", "--splits.first_test", "2018-01-01",
    "--splits.test", "1Y", "--splits.valid", "1Y", "--splits.train", "2Y", "--splits.decisions", "month-end",
    "--model.lookback", "4", "--model.width", "8", "--model.heads", "2", "--training.epochs", "1",
    "--training.minimum_epochs", "1", "--training.block", "100", "--training.seeds", "[0, 1]",
    "--training.threads", "1", "--data.start", "2013-01-01", "--data.end", "2019-12-31",
    "--headline", "[firm, ridge]", "--primary", "[firm, ridge]",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("peers")
    assert main(["run", "--name", "small", "--out", str(out), *SMALL]) == 0
    return out / "small"


@pytest.fixture(scope="module")
def run(folder):
    return open_run(folder)


@pytest.fixture(scope="module")
def network(run):
    return build(run, Asked(draws=20))


def same(one, other):
    pd.testing.assert_frame_equal(one.edges.reset_index(drop=True), other.edges.reset_index(drop=True))


# -- dates and models ------------------------------------------------------------


def test_by_default_the_last_date_of_each_test_window_and_the_panels_are_read(run, network):
    ends = [run.panel.dates[fold.test[-1]] for fold in run.folds]
    assert len(run.folds) == 2 and sorted({*ends, run.panel.dates[-1]}) == network.dates.tolist()
    assert network.made["folds"] == [fold.number for fold in run.folds] + [run.folds[-1].number] * (
        len(network.dates) - 2
    )
    assert network.made["model"] == "firm" and network.made["models"] == 2 and network.made["seeds"] == [0, 1]
    assert network.made["run"] == run.config.fingerprint and network.made["interval"] == "given the fit"
    counts = network.edges.groupby(["date", "firm"]).size()
    assert (counts == 5).all()  # a quarter of 20


def test_each_date_is_read_by_the_fits_of_its_own_fold(run, network):
    for fold in run.folds:
        row = int(fold.test[-1])
        blocks = run.blocks(fold, np.array([row]))
        fits = run.networks(fold, "firm", blocks.scaling.width)
        averaging = Averaging(top_k=5, window=63, every=5, draws=20)
        same(
            network.at(run.panel.dates[row]),
            networks.build(fits, blocks, [run.panel.dates[row]], "attention", averaging),
        )


def test_a_window_stops_where_the_test_window_begins(run):
    first = run.folds[1].test[0]
    days = [str(run.panel.dates[row]) for row in (first, first + 7)]
    found = build(run, Asked(dates=days, window=63, every=5, draws=20))
    assert found.made["dates_averaged"] == [1, 2] and found.made["window"] == 63
    alone = build(run, Asked(dates=days[:1], window=1, every=1, draws=20))
    same(found.at(days[0]), alone)


def test_a_network_does_not_change_when_the_future_does(run):
    row = int(run.folds[0].test[-1])
    returns, features = run.panel.returns.copy(), run.panel.features.copy()
    returns[row + 1 :] *= -0.5
    features[row + 1 :] = np.random.default_rng(0).standard_normal(features[row + 1 :].shape)
    other = dataclasses.replace(run, panel=dataclasses.replace(run.panel, returns=returns, features=features))
    asked = Asked(dates=[str(run.panel.dates[row])], draws=20)
    same(build(run, asked), build(other, asked))
    later = Asked(dates=[str(run.panel.dates[row + 1])], window=1, draws=0)
    assert not build(run, later).edges.equals(build(other, later).edges)


def test_words_and_days_are_dates_each_once_and_in_order(run):
    last = str(run.panel.dates[-1])
    rows = as_of_rows(run, [last, "last", "first", str(run.panel.dates[int(run.folds[0].test[0]) + 1])])
    start = int(run.folds[0].test[0])
    assert rows == [start, start + 1, len(run.panel) - 1]
    assert as_of_rows(run, ["folds"]) == [int(fold.test[-1]) for fold in run.folds]


def test_defaults_follow_the_panel(run):
    assert Asked().averaging(run.panel) == Averaging(top_k=5, window=63, every=5, draws=200, level=0.9)
    monthly = dataclasses.replace(run.panel, periods_per_year=12)
    assert Asked(top_k=7).averaging(monthly) == Averaging(top_k=7, window=3, every=1)
    assert Asked(window=2, every=2, level=0.5, draws=3).averaging(monthly) == Averaging(5, 2, 2, 3, 0.5)


def test_with_one_fit_and_date_there_is_no_interval_and_with_more_on_another_date_there_is_one(run):
    one = dataclasses.replace(
        run, config=dataclasses.replace(run.config, training=dataclasses.replace(run.config.training, seeds=(0,)))
    )
    start = run.folds[0].test[0]
    days = [str(run.panel.dates[row]) for row in (start, start + 10)]
    bare = build(one, Asked(dates=days[:1], draws=20))
    assert bare.made["interval"] == "none" and bare.made["level"] is None and bare.edges["lower"].isna().all()
    both = build(one, Asked(dates=days, draws=20))
    assert both.made["interval"] == "given the fit" and both.made["level"] == 0.9
    assert both.at(days[0]).edges["lower"].isna().all() and both.at(days[1]).edges["lower"].notna().all()


# -- the verb ------------------------------------------------------------


def test_the_verb_saves_the_network_and_the_explorer(folder, network, capsys):
    assert peers([str(folder), "--draws", "20"]) == 0
    said = capsys.readouterr().out
    assert "what the model looked at, not why it decided" in said and "given the fit" in said
    assert "20 firms, 100 links; on average a firm's links hold " in said and "explorer.html" in said
    assert "an even one would be 0.0500" in said and "on on" not in said
    heaviest = network.at().edges["weight"].max()
    assert f"the heaviest is {heaviest:.3f}"[:20] in said
    assert any(
        start in said for start in ("These peers led", "These peers were not shown to lead", "Returns ran against")
    )
    same(PeerNetwork.load(folder / "peers"), network)
    page = (folder / "peers" / "explorer.html").read_text(encoding="utf-8")
    assert "small, Attention, firms: who asks whom" in page and '"AAPL"' in page
    tables = {f"{name}.parquet" for name in peers_pipeline.TABLES}
    written = {file.name for file in (folder / "peers").iterdir()}
    assert written == {"edges.parquet", "nodes.parquet", "explorer.html", *tables}
    assert "Do peers' returns lead?" in said
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "The peer network" in report and 'href="peers/explorer.html"' in report


def test_all_formats_are_written_and_listed_as_json(folder, capsys):
    given = ["--format", *peers_pipeline.FORMATS, "--dates", "first", "last", "--top-k", "3", "--window", "10",
             "--every", "2", "--level", "0.8", "--draws", "10", "--json"]  # fmt: skip
    assert peers([str(folder), *given]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [file.rsplit("/", 1)[1] for file in found["files"]]
    tables = [f"{name}.parquet" for name in peers_pipeline.TABLES]
    assert names == ["edges.parquet", "nodes.parquet", *tables, "peers.csv", "peers.txt", "peers.gexf", "peers.graphml",
                     "peers.json", "explorer.html"]  # fmt: skip
    assert all((folder / "peers" / name).stat().st_size > 100 for name in names)
    made = found["made"]
    assert (made["top_k"], made["window"], made["every"], made["level"], made["draws"]) == (3, 10, 2, 0.8, 10)
    assert [date["edges"] for date in found["dates"]] == [60, 60] and found["caveat"].startswith("Attention shows")
    network = PeerNetwork.load(folder / "peers")
    kept = network.at().edges.groupby("firm")["weight"].sum().mean()
    assert found["dates"][1]["weight_kept"] == pytest.approx(kept) and made["as_of"] == [
        d["date"] for d in found["dates"]
    ]
    sheet = pd.read_csv(folder / "peers" / "peers.csv")
    assert len(sheet) == 120 and sheet["weight"].tolist() == network.edges["weight"].tolist()


def test_other_files_of_an_earlier_network_do_not_stay_beside_a_new_one(folder, capsys):
    assert peers([str(folder), "--format", "csv", "--dates", "first", "--draws", "0"]) == 0
    assert (folder / "peers" / "peers.csv").exists()
    assert peers([str(folder), "--format", "parquet", "--dates", "first", "--draws", "0"]) == 0
    left = {file.name for file in (folder / "peers").iterdir()}
    assert not left & {"peers.csv", "explorer.html"} and "edges.parquet" in left


def test_weights_by_what_moves_the_score_are_built_too(folder, capsys):
    given = ["--method", "gradients", "--dates", "last", "--window", "1", "--format", "html"]
    assert peers([str(folder), *given]) == 0
    assert "what moves the model's score, not why" in capsys.readouterr().out
    assert PeerNetwork.load(folder / "peers").made["how"]["steps"] == 32


@pytest.mark.parametrize(
    "given, message",
    [
        (("--model", "ridge"), "model must be one of firm, found 'ridge'"),
        (
            ("--method", "magic"),
            "method must be one of attention, rollout, value_norm, gradients, shapley, found 'magic'",
        ),
        (("--dates", "soon"), "date must be a day such as 2020-03-16, found 'soon'"),
        (("--dates", "2019-03-31"), "date must be one of the panel's, found 2019-03-31"),
        (("--dates", "2014-01-02"), "date must lie in the test windows, from 2018-01-31 on, found 2014-01-02"),
        (("--format", "xlsx"), "format must be one of html, parquet, csv, hoberg-phillips, gexf, graphml, json"),
        (("--window", "0"), "window must be at least 1, found 0"),
        (("--top-k", "0"), "top_k must be at least 1, found 0"),
        (("--level", "2"), "level must be between 0 and 1, found 2"),
        (("--magic",), "magic"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(folder, given, message):
    with pytest.raises(InputError) as refused:
        peers([str(folder), *given])
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_folder_that_is_no_run_is_refused_and_so_are_no_dates(run, tmp_path):
    with pytest.raises(InputError, match="a run's folder must hold config.yaml, found none in"):
        peers([str(tmp_path)])
    with pytest.raises(InputError, match="dates must be days, or some of first, folds, last"):
        build(run, Asked(dates=()))


def test_help_answers_without_the_heavy_imports():
    code = (
        "import sys; from finattn.cli.peers import peers; assert peers(['--help']) == 0; "
        "assert not {'torch', 'pandas', 'plotly'} & set(sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--format" in said and "RUN/peers" in said


def test_words_are_checked_before_anything_heavy_is_loaded():
    code = (
        "import sys; from finattn.cli import main; assert main(['peers', 'RUN', *sys.argv[1:]]) == 2; "
        "assert not {'torch', 'pandas'} & set(sys.modules)"
    )
    for given, message in (
        (("--format", "html", "pdf"), "'pdf'"),
        (("--method", "atention"), "did you mean attention?"),
    ):
        said = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=True).stderr
        assert said.endswith(f"{message}\n") and said.count("\n") == 1
    assert (FORMATS, METHODS) == (peers_pipeline.FORMATS, networks.METHODS)


def test_what_was_built_is_printed_also_where_the_report_cannot_be_written(folder, capsys):
    (folder / "explanations").mkdir()
    damaged = folder / "explanations" / "old.parquet"
    damaged.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"old.parquet must be an explanation that finattn saved"):
        peers([str(folder), "--dates", "last", "--draws", "0", "--window", "1"])
    assert "Attention shows what the model looked at" in capsys.readouterr().out
    damaged.unlink()
