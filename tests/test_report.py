import base64
import fcntl
import json
import os
import re
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finattn import evaluation, report
from finattn.config import RunConfig
from finattn.config_file import to_yaml
from finattn.errors import InputError
from finattn.forecasts import Forecasts
from finattn.panel import Panel
from finattn.report import build, sentences, tables
from finattn.report.sentences import Result

NAN = float("nan")
NASTY = "<img src=x onerror=alert(1)>"
SKILL = {
    "zero": 0.0, "historical_mean": 0.05, "ridge": 0.1, "sic_average": 0.02, "sic_kernel": 0.06,
    "time": 0.09, "firm": 0.05, "both": 0.12,
}  # fmt: skip


# -- a small run, made here ------------------------------------------------------------


def make_run(folder: Path, firms: int = 8, start: str = "2015-01-01", end: str = "2018-12-31", lags: int = 10) -> Path:
    """Write a run folder of random numbers with the schemas of a real one; the first firm's id is an attack."""
    rng = np.random.default_rng(7)
    panel = _panel(rng, firms, start, end)
    panel.save(folder / "panel")
    (folder / "config.yaml").write_text(to_yaml(RunConfig(name=folder.name)), encoding="utf-8")
    forecasts = _forecasts(rng, panel)
    forecasts.save(folder / "forecasts.parquet")
    evaluation.evaluate(forecasts).to_parquet(folder / "metrics.parquet")
    _portfolio(rng, panel).to_parquet(folder / "portfolio.parquet")
    _explanations(rng, panel, lags).to_parquet(folder / "explanations.parquet")
    (folder / "provenance.json").write_text(json.dumps(_provenance(panel, forecasts)), encoding="utf-8")
    (folder / "selection.json").write_text(json.dumps(_selection()), encoding="utf-8")
    return folder


def _selection() -> dict[str, Any]:
    models = [
        {"model": "zero", "sharpe": None, "probability": None, "deflated": None},
        {"model": "ridge", "sharpe": 0.9, "probability": 0.99, "deflated": 0.8},
        {"model": "both", "sharpe": 0.4, "probability": 0.9, "deflated": 0.312},
    ]
    return {
        "trials": 24, "undefined": 3, "benchmark": 0.4531, "models": models,
        "portfolio": {"quantiles": 5, "cost": 0.001, "delay": 1},
        "overfitting": {"probability": 0.43, "trials": 20, "dates": 1600},
    }  # fmt: skip


def _panel(rng: np.random.Generator, firms: int, start: str, end: str) -> Panel:
    dates = pd.bdate_range(start, end)
    codes = np.sort(rng.choice([1311, 2834, 2911, 3571, 3674, 6021, 6311, 7372], firms))[rng.permutation(firms)]
    names = [NASTY, *(f"F{i:02d}" for i in range(1, firms))]
    returns = rng.normal(0.0004, 0.015, (len(dates), firms))
    return Panel(dates=dates, firms=names, returns=returns, industry=np.tile(codes, (len(dates), 1)))


def _forecasts(rng: np.random.Generator, panel: Panel) -> Forecasts:
    days = panel.dates[len(panel) // 3 :: 5]
    outcomes = rng.normal(0, 0.03, (len(days), len(panel.firms)))
    parts = []
    for model, skill in SKILL.items():
        score = skill * outcomes / 0.03 + rng.normal(0, 1, outcomes.shape) if skill else np.zeros(outcomes.shape)
        rows = np.indices(outcomes.shape).reshape(2, -1)
        parts.append(pd.DataFrame({
            "date": pd.to_datetime(days[rows[0]]), "firm": panel.firms[rows[1]], "model": model,
            "fold": (rows[0] * 3 // len(days)), "seed": 0, "score": score.ravel(),
            "prediction": 0.001 * score.ravel(), "realised": outcomes.ravel(),
        }))  # fmt: skip
    return Forecasts(pd.concat(parts, ignore_index=True), horizon=5, delay=0, overlap=0, periods_per_year=252)


def _portfolio(rng: np.random.Generator, panel: Panel) -> pd.DataFrame:
    days = pd.to_datetime(panel.dates[len(panel) // 3 :])
    parts = []
    for model, skill in SKILL.items():
        for delay in (0, 1):
            gross = rng.normal(0.005 * skill / (1 + delay), 0.008, len(days)) if skill else np.zeros(len(days))
            turnover = rng.uniform(0.2, 0.6, len(days)) if skill else np.zeros(len(days))
            parts.append(pd.DataFrame({
                "date": days, "model": model, "delay": delay, "gross": gross, "net": gross - 0.001 * turnover,
                "turnover": turnover, "long_count": 4, "short_count": 4,
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _explanations(rng: np.random.Generator, panel: Panel, lags: int) -> pd.DataFrame:
    days = pd.date_range(pd.Timestamp(panel.dates[len(panel) // 3]), pd.Timestamp(panel.dates[-1]), freq="QE")
    decay = np.exp(-np.arange(lags) / lags)
    kinds = {
        "lag": ([str(lag) for lag in range(lags)], 5 * decay),
        "peer": (list(panel.firms), np.ones(len(panel.firms))),
    }
    rows = []
    for model, kind in (("time", "lag"), ("firm", "peer"), ("both", "lag"), ("both", "peer")):
        keys, shape = kinds[kind]
        for day in days:
            for firm in panel.firms:
                weights = rng.dirichlet(shape + 0.2)
                rows += [(day, firm, model, "attention", kind, key, w) for key, w in zip(keys, weights, strict=True)]
    return pd.DataFrame(rows, columns=["date", "firm", "model", "method", "kind", "key", "score"])


def _provenance(panel: Panel, forecasts: Forecasts) -> dict[str, Any]:
    cuts = [str(day) for day in panel.dates[np.linspace(0, len(panel) - 1, 7).astype(int)]]
    edges = ("train_start", "train_end", "valid_start", "valid_end", "test_start", "test_end")
    folds = [
        {"fold": k}
        | dict(zip(edges, (cuts[0], cuts[1 + k], cuts[1 + k], cuts[2 + k], cuts[2 + k], cuts[3 + k]), strict=True))
        for k in range(4)
    ]
    tuned = {"ridge": {"strength": 0.1}, "sic_kernel": {"peer_window": 5, "bandwidth": 0.5}, "both": {"epoch": 7}}
    return {
        "finattn": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "platform": "Linux", "threads": 2,
        "started": "2025-01-02T03:04:05", "seconds": 123.4, "panel_fingerprint": panel.fingerprint,
        "config_hash": "c" * 64, "seeds": [0, 1], "peak_memory_gib": 1.25, "folds": folds,
        "ledger": {"head": "d" * 64, "trials": 31, "overlapping": 27},
        "counts": {"decision_dates": 140, "firms": len(panel.firms), "forecasts": len(forecasts.table),
                   "listed_but_unobserved": 3, "missing_delisting_returns": 0, "unrealised": 16},
        "sample": ["These are 8 survivors: firms that failed are not among them.", "SIC codes are those of today."],
        "tuning": [{"fold": k, "model": m, "seed": s, "chosen": c, "valid_rank_ic": 0.02 * s, "seconds": 1.5}
                   for m, c in tuned.items() for k in range(3) for s in (0, 1)],
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return report.write(run).read_text(encoding="utf-8")


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("report.html"))


# -- the file ------------------------------------------------------------


class Outline(HTMLParser):
    """What a page is made of: elements with their attributes, ids, headings and visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._silent = "", False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data.replace("\xa0", " ")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def outline(page: str) -> Outline:
    return Outline(page)


def test_the_report_needs_nothing_outside_itself(outline: Outline) -> None:
    links = [value for _, attributes in outline.elements for key, value in attributes.items() if key in ("src", "href")]
    assert all(value.startswith(("#", "data:")) for value in links if value is not None)
    policy = next(meta["content"] for meta in outline.all("meta") if "http-equiv" in meta)
    assert policy is not None and policy.startswith("default-src 'none';")


def test_the_report_is_one_document_that_a_screen_reader_can_follow(outline: Outline) -> None:
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert outline.all("html") == [{"lang": "en"}]
    assert len(outline.all("h1")) == 1
    assert len(outline.all("caption")) == len(outline.all("table")) >= 5
    assert all(div["aria-label"] for div in outline.all("div") if div.get("class") == "plot")
    targets = {link["href"] for link in outline.all("a")}
    assert targets <= {f"#{name}" for name in ids}


def test_the_report_holds_every_part(page: str, outline: Outline) -> None:
    figures = [div["id"] for div in outline.all("div") if div.get("class") == "plot"]
    assert figures == [
        f"figure-{key}" for key in ("intervals", "cumulated", "yearly", "value", "folds", "lags", "peers")
    ]
    for words in (
        "These are 8 survivors", "not why it decided", "strength 0.1", "peer window 5, bandwidth 0.5", "c" * 64,
        "first_test: '2000-01-01'", "peak memory GiB", "listed but unobserved", "Holm", "Rank IC of attention",
    ):  # fmt: skip
        assert words in outline.text
    assert outline.text.count("what the model looked at, not why it decided") == 2


def test_the_report_is_the_same_each_time(run: Path, page: str) -> None:
    assert report.write(run).read_text(encoding="utf-8") == page


def test_text_from_data_is_never_markup(copy: Path) -> None:
    record = json.loads((copy / "provenance.json").read_text())
    record["sample"] = [f"{NASTY} </script><script>alert(2)</script>"]
    (copy / "provenance.json").write_text(json.dumps(record))
    (copy / "config.yaml").write_text(f"# {NASTY} </pre>\n" + (copy / "config.yaml").read_text())
    page = report.write(copy).read_text(encoding="utf-8")
    outline = Outline(page)
    assert outline.all("img") == []
    assert len(outline.all("script")) == 2 + 7
    assert outline.text.count(NASTY) == 2


def test_the_ledger_is_told_with_its_head_and_never_as_markup(copy: Path, outline: Outline) -> None:
    assert "of 24 trials would show without skill: 0.31 for attention along time and firms" in outline.text
    assert outline.text.count("d" * 64) == 2  # in the sentence and in the table of provenance
    found = _selection()
    found["models"] = [found["models"][1] | {"model": f"{NASTY} </p><script>"}]
    (copy / "selection.json").write_text(json.dumps(found))
    record = json.loads((copy / "provenance.json").read_text())
    (copy / "provenance.json").write_text(json.dumps(record | {"ledger": {"head": NASTY}}))
    attacked = Outline(report.write(copy).read_text(encoding="utf-8"))
    assert attacked.all("img") == [] and len(attacked.all("script")) == len(outline.all("script"))
    assert attacked.text.count(NASTY) == 3


def test_figures_hold_the_numbers_of_the_files(run: Path, page: str) -> None:
    text = re.search(r'data-for="figure-intervals">(.*?)</script>', page, re.DOTALL)
    assert text is not None
    figure = json.loads(text[1])
    metrics = pd.read_parquet(run / "metrics.parquet")
    levels = metrics[metrics["against"].isna() & (metrics["metric"] == "rank_ic")]
    packed = figure["data"][1]["x"]
    values = np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"])
    np.testing.assert_array_equal(values, levels["estimate"].to_numpy())


@pytest.mark.parametrize(
    ("file", "words", "figures"),
    [
        ("portfolio.parquet", "This run has no portfolios", {"value"}),
        ("explanations.parquet", "This run holds no weights along time", {"lags", "peers"}),
        ("selection.json", "How many trials there were before is not known", set()),
    ],
)
def test_a_missing_optional_file_is_said(
    copy: Path, outline: Outline, file: str, words: str, figures: set[str]
) -> None:
    (copy / file).unlink()
    without = Outline(report.write(copy).read_text(encoding="utf-8"))
    drawn = {div["id"] for div in without.all("div") if div.get("class") == "plot"}
    assert words in without.text and words not in outline.text
    assert drawn == {div["id"] for div in outline.all("div") if div.get("class") == "plot"} - {
        f"figure-{f}" for f in figures
    }


def test_restrictions_and_groups_are_shown_and_what_the_panel_cannot_tell_is_named(copy: Path) -> None:
    panel, forecasts = Panel.load(copy / "panel"), Forecasts.load(copy / "forecasts.parquet")
    evaluation.restricted(forecasts, panel, delay=1).to_parquet(copy / "restrictions.parquet")
    row = {"by": "horizon", "group": "5 rows", "model": "ridge", "metric": "rank_ic", "estimate": 0.0421}
    groups = pd.DataFrame([row, row | {"by": "size", "group": "1 smallest <b>"}])
    groups.assign(standard_error=0.0117, dates=9).to_parquet(copy / "groups.parquet")
    outline = Outline(report.write(copy).read_text(encoding="utf-8"))
    assert "Portfolios before and after costs, and under economic restrictions" in outline.text
    assert "without microcaps: not available: needs panel.market_cap." in outline.text
    assert "without distressed: " not in outline.text and "without distressed" in outline.text
    assert "Rank IC over other horizons" in outline.text and "0.042 ± 0.012" in outline.text
    assert "1 smallest <b>" in outline.text


class Widths(HTMLParser):
    """How many cells each row of each table of a page has, the header first."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[int]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("th", "td"):
            self.tables[-1][-1] += 1


def test_every_row_of_every_table_stands_under_its_header(copy: Path) -> None:
    panel, forecasts = Panel.load(copy / "panel"), Forecasts.load(copy / "forecasts.parquet")
    evaluation.restricted(forecasts, panel, delay=1).to_parquet(copy / "restrictions.parquet")
    evaluation.by_group(forecasts, panel, "industry").assign(by="industry").to_parquet(copy / "groups.parquet")
    found = Widths(report.write(copy).read_text(encoding="utf-8")).tables
    assert len(found) >= 9 and all(len(rows) > 1 and len(set(rows)) == 1 for rows in found)


def test_a_row_of_another_length_than_the_header_is_refused() -> None:
    for row in (("a",), ("a", "b", "c")):
        with pytest.raises(ValueError, match=f"a row of the table 'Mine' must have 2 cells, found {len(row)}: "):
            tables.Table("Mine", ("Model", "Rank IC"), [("ridge", "0.1"), row])


@pytest.mark.parametrize(
    ("changed", "words", "never"),
    [
        (
            {"industry": None},
            ["sorted by identifier: the panel has no industry codes."],
            ["thin lines", "SIC", "ticker"],
        ),
        ({}, ["sorted by SIC code; thin lines part the two-digit groups: "], ["ticker"]),
        (
            {"industry_scheme": "custom", "industry_widths": (4,)},
            ["sorted by industry code; thin lines part codes that differ before their last two digits: "],
            ["SIC code;", "two-digit groups"],
        ),
        ({"industry_scheme": "gics"}, ["sorted by GICS code; thin lines part codes that"], ["sorted by SIC"]),
    ],
)
def test_the_picture_of_peers_says_what_firms_are_sorted_by(
    copy: Path, changed: dict[str, Any], words: list[str], never: list[str]
) -> None:
    panel = Panel.load(copy / "panel")
    if "industry" in changed:
        changed = {"industry": np.zeros(panel.shape, int)}
    panel.replace(**changed).save(copy / "panel")
    page = report.write(copy).read_text(encoding="utf-8")
    caption = re.findall(r"<figcaption>(.*?)</figcaption>", page)[-1]
    assert all(text in caption for text in words) and not any(text in caption for text in never)
    assert ("Firm asking (identifier and industry code)" in page) == ("industry" not in changed)


def test_firms_of_one_group_are_parted_by_no_line_and_unknown_codes_come_last() -> None:
    says, caption = build._peers_caption([3571, 3572, 0], "sic")
    assert says == "Attention weights between firms sorted by SIC code"
    assert caption.endswith("Firms are sorted by SIC code, those without one last.")


@pytest.mark.parametrize("scheme, last", [("sic", [3500, 3571, 0]), ("custom", [35, 3571, 0])])
def test_codes_of_major_groups_stand_among_the_others_where_they_are_sics(scheme: str, last: list[int]) -> None:
    widths = (2,) if scheme == "custom" else ()
    panel = Panel(["2020-01-02", "2020-01-03"], list("ABC"), np.zeros((2, 3)), industry=[[35, 3571, 0], [0, 3571, 0]],
                  industry_scheme=scheme, industry_widths=widths)  # fmt: skip
    assert build._last_codes(panel) == last


def test_a_run_of_one_axis_shows_that_axis_only(copy: Path) -> None:
    table = pd.read_parquet(copy / "explanations.parquet")
    table[table["kind"] == "peer"].to_parquet(copy / "explanations.parquet")
    page = report.write(copy).read_text(encoding="utf-8")
    assert 'id="figure-peers"' in page and 'id="figure-lags"' not in page


def test_a_bare_provenance_still_makes_a_report(copy: Path) -> None:
    (copy / "provenance.json").write_text("{}")
    text = Outline(report.write(copy).read_text(encoding="utf-8")).text
    assert "Industry codes may be those of today" in text
    assert "lists no folds" in text and "lists no choices" in text


def test_a_run_without_the_baseline_says_so(copy: Path) -> None:
    forecasts = Forecasts.load(copy / "forecasts.parquet")
    only = forecasts.table[forecasts.table["model"].isin(["zero", "time"])]
    short = Forecasts(only, forecasts.horizon, forecasts.delay, forecasts.overlap, forecasts.periods_per_year)
    short.save(copy / "forecasts.parquet")
    evaluation.evaluate(short, against=()).to_parquet(copy / "metrics.parquet")
    text = Outline(report.write(copy).read_text(encoding="utf-8")).text
    assert "Rank IC of attention along time cannot be set against that of the zero forecast: the zero" in text
    assert "holds no differences to Zero" in text


def test_a_run_without_attention_says_so_and_does_not_speak_of_it_in_its_title(copy: Path) -> None:
    forecasts = Forecasts.load(copy / "forecasts.parquet")
    only = forecasts.table[forecasts.table["model"].isin(["zero", "ridge"])]
    short = Forecasts(only, forecasts.horizon, forecasts.delay, forecasts.overlap, forecasts.periods_per_year)
    short.save(copy / "forecasts.parquet")
    evaluation.evaluate(short, against=("ridge",)).to_parquet(copy / "metrics.parquet")
    text = Outline(report.write(copy).read_text(encoding="utf-8")).text
    assert "No attention model was run. The highest rank IC of 1 is that of ridge, a plain model: " in text
    assert "Forecasts beside each other" in text and "Attention along time and firms, against plain" not in text


def test_what_is_implausibly_good_is_said_once_and_not_of_simulated_firms(copy: Path, outline: Outline) -> None:
    assert "mplausibly" not in outline.text
    metrics = pd.read_parquet(copy / "metrics.parquet")
    here = (metrics["model"] == "time") & (metrics["metric"] == "rank_ic") & metrics["against"].isna()
    metrics.assign(estimate=metrics["estimate"].mask(here, 0.31)).to_parquet(copy / "metrics.parquet")
    daily = pd.read_parquet(copy / "portfolio.parquet")
    lucky = daily["model"] == "both"
    daily.assign(net=daily["net"].mask(lucky, daily["net"] + 0.004)).to_parquet(copy / "portfolio.parquet")
    text = Outline(report.write(copy).read_text(encoding="utf-8")).text
    assert text.count("Implausibly good: the net Sharpe ratio of attention along time and firms is ") == 1
    assert ", and the mean rank IC of attention along time is 0.310. Above " in text
    assert "look for a leak with finattn.look_ahead and finattn.screen." in text
    headline, warning = build.opening(copy)
    assert headline.startswith("Rank IC of attention along time and firms ") and warning.startswith("Implausibly good")
    record = json.loads((copy / "provenance.json").read_text())
    simulated = ["Simulated firms: nothing here is a fact about a market."]
    (copy / "provenance.json").write_text(json.dumps(record | {"sample": simulated}))
    assert "mplausibly" not in report.write(copy).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rank_ic", "sharpe", "said"),
    [
        ({"ridge": 0.2}, {"ridge": 4.0}, ""),
        ({"ridge": NAN}, {"ridge": NAN}, ""),
        ({"zero": NAN, "ridge": 0.201}, {}, "the mean rank IC of ridge is 0.201. "),
        ({}, {"ridge": 4.01, "zero": NAN}, "the net Sharpe ratio of ridge is 4.01. "),
        ({}, {"ridge": -9.0}, ""),
    ],
)
def test_only_what_is_beyond_the_literature_is_implausible(
    rank_ic: dict[str, float], sharpe: dict[str, float], said: str
) -> None:
    assert said in "".join(found := sentences.implausible(rank_ic, sharpe)) and bool(found) == bool(said)


@pytest.mark.parametrize("file", ["config.yaml", "provenance.json", "forecasts.parquet", "metrics.parquet"])
def test_a_file_that_every_report_needs_is_named_when_it_is_missing(copy: Path, file: str) -> None:
    (copy / file).unlink()
    with pytest.raises(InputError, match=f"a report needs {re.escape(file)} in the run's folder, found none in .*copy"):
        report.write(copy)
    assert not (copy / "report.html").exists()


DAMAGED = ("metrics", "portfolio", "restrictions", "groups", "explanations")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_table_cut_short_is_one_clear_error_that_says_what_to_do(copy: Path, name: str) -> None:
    file = copy / f"{name}.parquet"
    whole = (copy / "metrics.parquet").read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"copy/{name}.parquet must be a whole Parquet table: .*; delete it and run"):
        report.write(copy)
    file.write_bytes(b"")
    with pytest.raises(InputError, match=rf"copy/{name}.parquet must be a whole Parquet table: .*; delete it and run"):
        report.write(copy)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_table_of_other_columns_is_refused(copy: Path, name: str) -> None:
    pd.DataFrame({"model": ["ridge"]}).to_parquet(copy / f"{name}.parquet")
    with pytest.raises(InputError, match=rf"{name}.parquet must have columns .*, found no .*; delete it and run again"):
        report.write(copy)


@pytest.mark.parametrize(
    ("file", "changed", "message"),
    [
        ("selection.json", {"models": None}, "selection.json: models must be a list, found None; delete it and run"),
        ("selection.json", {"models": [{"model": "ridge"}, 3]}, "models.1 must be a mapping, found 3; delete it"),
        ("selection.json", {"models": [{"sharpe": 1.0}]}, "models.0.model must be str, found None; delete it"),
        ("selection.json", {"trials": "many"}, "selection.json: trials must be int, found 'many'; delete it and run"),
        ("selection.json", {"benchmark": True}, "benchmark must be int . float, found True; delete it"),
        ("selection.json", {"overfitting": {"trials": 2}}, "overfitting.probability must be int . float, found None"),
        ("provenance.json", {"folds": 3}, "provenance.json: folds must be a list, found 3; delete it and run again"),
        ("provenance.json", {"folds": [{"fold": 0}]}, "folds.0.train_start must be str, found None; delete it"),
        ("provenance.json", {"sample": "one"}, "provenance.json: sample must be a list, found 'one'; delete it"),
        ("provenance.json", {"tuning": [None]}, "tuning.0 must be a mapping, found None; delete it and run again"),
        ("provenance.json", {"ledger": []}, "ledger must be a mapping, found .*; delete it and run again"),
        ("provenance.json", {"counts": {"firms": "all"}}, "counts.firms must be int . float, found 'all'; delete it"),
    ],
)
def test_json_edited_by_hand_is_one_clear_error_that_names_the_part(
    copy: Path, file: str, changed: dict[str, Any], message: str
) -> None:
    content = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(content | changed))
    with pytest.raises(InputError, match=message):
        report.write(copy)


def test_a_value_of_the_configuration_that_cannot_be_is_named_with_its_file(copy: Path) -> None:
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("  cost: 0.001\n", "  cost: cheap\n", 1))
    with pytest.raises(InputError, match="copy/config.yaml: portfolio.cost must be a number, found 'cheap'"):
        report.write(copy)


@pytest.mark.parametrize("file", ["provenance.json", "selection.json"])
def test_json_of_a_list_is_refused(copy: Path, file: str) -> None:
    (copy / file).write_text("[1, 2]")
    with pytest.raises(
        InputError, match=rf"{re.escape(file)} must be JSON of a mapping, found list; delete it and run"
    ):
        report.write(copy)


@pytest.mark.parametrize("file", ["provenance.json", "selection.json"])
def test_broken_json_is_refused_and_leaves_the_old_report(copy: Path, file: str) -> None:
    (copy / "report.html").write_text("old")
    (copy / file).write_text("{")
    with pytest.raises(InputError, match=rf"{re.escape(file)} must be JSON"):
        report.write(copy)
    assert (copy / "report.html").read_text() == "old"
    assert not list(copy.glob(".partial-*"))


# -- sentences ------------------------------------------------------------


def metrics_of(*rows: tuple[str, str | None, Result]) -> pd.DataFrame:
    return pd.DataFrame([{"model": m, "against": a, "metric": "rank_ic"} | r._asdict() for m, a, r in rows])


def pair(difference: Result) -> pd.DataFrame:
    both, ridge = Result(0.031, 0.012, lower=0.007, upper=0.055), Result(0.024, 0.011, lower=0.002, upper=0.046)
    return metrics_of(("ridge", None, ridge), ("both", None, both), ("both", "ridge", difference))


OPENING = "Rank IC of attention along time and firms 0.031 ± 0.012 against 0.024 ± 0.011 of ridge: "


@pytest.mark.parametrize(
    ("difference", "end"),
    [
        (Result(0.007, 0.009, 0.41, 0.82),
         "the difference, 0.007 ± 0.009, is not distinguishable from zero (p = 0.41)."),
        (Result(0.02, 0.009, 0.03, 0.21),
         "the difference, 0.020 ± 0.009, is not distinguishable from zero (p = 0.030; 0.21 after Holm)."),
        (Result(0.02, 0.005, 0.0002, 0.0014),
         "attention along time and firms ranks firms better, by 0.020 ± 0.005 (p < 0.001; 0.001 after Holm)."),
        (Result(-0.02, 0.005, 0.004, 0.028),
         "ridge ranks firms better, by 0.020 ± 0.005 (p = 0.004; 0.028 after Holm)."),
        (Result(-0.02, 0.008, 0.02), "ridge ranks firms better, by 0.020 ± 0.008 (p = 0.020)."),
        (Result(NAN, NAN), "the difference between them is undefined."),
        (Result(0.0, NAN), "the difference between them is undefined."),
    ],
)  # fmt: skip
def test_the_headline_claims_what_the_difference_shows(difference: Result, end: str) -> None:
    assert sentences.headline(pair(difference)) == OPENING + end


def test_the_headline_says_when_there_is_nothing_to_compare() -> None:
    table = metrics_of(("ridge", None, Result(0.02, 0.01)), ("both", None, Result(NAN, NAN)))
    assert sentences.headline(table).endswith("attention along time and firms has no defined rank IC.")
    assert sentences.headline(table, "both", "zero").endswith("has no defined rank IC.")
    assert sentences.headline(table, "ridge", "zero").endswith("the zero forecast was not run.")


def test_the_headline_without_a_paired_test_makes_no_claim() -> None:
    assert (
        sentences.headline(pair(Result(0.1, 0.01, 0.001)).iloc[:2])
        == OPENING + "the difference between them is undefined."
    )


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Result(0.004, 0.006, 0.25), "0.004 ± 0.006 (one-sided p = 0.25): no claim that attention along firms ranks"),
        (
            Result(0.02, 0.006, 0.0004),
            "(one-sided p < 0.001): the claim that attention along firms ranks firms better holds",
        ),
        (
            Result(-0.02, 0.006, 0.999),
            "−0.020 ± 0.006 (one-sided p = 1.00): no claim that attention along firms ranks",
        ),
        (Result(0.0, NAN), "undefined on these dates."),
        (None, "one of the two was not run."),
    ],
)
def test_the_primary_comparison_is_reported_whatever_came_of_it(difference: Result | None, words: str) -> None:
    sentence = sentences.primary(difference)
    assert "rimary comparison" in sentence and "attention along firms minus the SIC kernel" in sentence
    assert words in sentence


def ladder(*p_holm: tuple[float, float]) -> pd.DataFrame:
    """A table in which ridge leads and each attention model has the difference and Holm p given."""
    rows = [("ridge", None, Result(0.05, 0.01, 1e-6, lower=0.03, upper=0.07))]
    for model, (difference, p) in zip(("time", "firm", "both"), p_holm, strict=False):
        rows += [(model, None, Result(0.01, 0.02, lower=-0.03, upper=0.05))]
        rows += [(model, "ridge", Result(difference, 0.01, p / 2, p))]
    return metrics_of(*rows)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (ladder((0.1, 0.5), (0.1, 0.2), (0.1, 0.06)),
         "None of 3 attention models beat ridge after Holm's correction. The"),
        (ladder((0.1, 0.01), (0.1, 0.2), (0.1, 0.5)),
         "1 of 3 attention models beats ridge after Holm's correction (attention along time)."),
        (ladder((0.1, 0.01), (0.1, 0.02), (-0.1, 0.01)),
         "2 of 3 attention models beat ridge after Holm's correction (attention along time and attention along firms); "
         "ridge beats 1 of 3 attention models (attention along time and firms)."),
        (ladder((-0.1, 0.01)),
         "No attention model beats ridge after Holm's correction; ridge beats the only attention model"),
        (ladder((NAN, NAN)), "No attention model can be set against ridge."),
    ],
)  # fmt: skip
def test_models_that_beat_ridge_are_counted_after_holm(table: pd.DataFrame, words: str) -> None:
    assert sentences.counts(table, ["time", "firm", "both"]).startswith(words)


def test_the_leader_is_named_when_it_is_a_plain_model() -> None:
    ends = "The highest rank IC of 2 is that of ridge, a plain model: 0.050 ± 0.010."
    assert sentences.counts(ladder((-0.04, 0.9)), ["time"]).endswith(ends)
    weak = metrics_of(("time", None, Result(0.01, 0.02, lower=-0.03)), ("zero", None, Result(NAN, NAN)))
    assert sentences.leader(weak, ["time"]).endswith(
        "an attention model: 0.010 ± 0.020, not above zero by more than the highest of so many would be."
    )
    assert sentences.leader(weak.iloc[1:], []) == "No model has a defined rank IC."


def test_portfolios_are_said_net_of_costs() -> None:
    sharpes = {"both": Result(0.8, 0.2, lower=0.4, upper=1.2), "ridge": Result(-0.9, 0.2, lower=-1.3, upper=-0.5)}
    assert sentences.portfolio(sharpes, 1, 0.001) == (
        "Long-short portfolios net of costs of 10 basis points a unit traded, traded one day after the decision, have "
        "a Sharpe ratio of 0.80 ± 0.20 for attention along time and firms and −0.90 ± 0.20 for ridge; the 95% "
        "interval of attention along time and firms lies above zero; that of ridge below, not adjusted for how many "
        "there are."
    )
    assert "no 95% interval lies above zero" in sentences.portfolio({"both": Result(0.1, 0.2, lower=-0.3)}, 0)
    assert sentences.portfolio({"zero": Result(NAN, NAN)}, 0) == "No portfolio has a defined Sharpe ratio."


def test_a_deflated_sharpe_ratio_is_told_of_the_headline_and_of_the_best() -> None:
    found = _selection()
    opening = "Deflated Sharpe ratio, the probability that the true one is above "
    many = "what the best of 24 trials would show without skill: "
    end = ", whose Sharpe ratio is this run's highest."
    both = "0.31 for attention along time and firms and 0.80 for ridge"
    assert sentences.deflated(found, "both") == opening + many + both + end
    assert sentences.deflated(found, "ridge") == opening + many + "0.80 for ridge" + end
    assert sentences.deflated(found, "zero") == sentences.deflated(found, "ridge")
    alone = found | {"trials": 1, "models": [found["models"][1] | {"deflated": 0.9999}]}
    assert sentences.deflated(alone, "ridge") == opening + "zero: > 0.99 for ridge" + end
    none = found | {"models": found["models"][:1]}
    assert sentences.deflated(none, "zero").startswith("No Sharpe ratio of this run can be set against")


def test_the_ledger_is_told_with_what_it_cannot_know() -> None:
    assert sentences.search(_selection(), "abc") == (
        "The ledger knows 24 trials on data of the same source, or with at least half of the firms and days in common, "
        "this run's among them, and 3 that held nothing. Were the spread of their Sharpe ratios due to luck alone, the "
        "best of so many would be expected to show 0.45; where it comes of skill, that is too high a bar. Correlated "
        "trials count in full. Compared are portfolios of 5 quantiles at 10 basis points, traded one day after the "
        "decision. The probability of backtest overfitting is 0.43 over the 20 trials "
        "with the same 1,600 dates. The ledger knows nothing of what was tried elsewhere. Its head: abc."
    )
    few = _selection() | {"trials": 1, "undefined": 0, "portfolio": None, "overfitting": None}
    text = sentences.search(few, "abc")
    assert (
        "knows 1 trial on data" in text and "this run's among them. Were the spread" in text and "quantiles" not in text
    )
    assert "overfitting is undefined: it needs two trials with the same 32 dates. The ledger" in text


def test_undefined_numbers_are_dashes_with_a_note() -> None:
    empty = {"t": NAN, "bootstrap_lower": NAN, "bootstrap_upper": NAN, "dates": 0, "undefined": 9}
    table = tables.models(metrics_of(("zero", None, Result(NAN, NAN))).assign(**empty))
    assert table.rows == [("Zero", *["—"] * 7, "0", "9")]
    assert "— is undefined" in table.note


# -- Chromium ------------------------------------------------------------

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--window-size=1366,768", "--remote-debugging-pipe",
)  # fmt: skip


class Chromium:
    """A page in headless Chromium, driven over the pipe of its DevTools protocol; keeps every event."""

    def __init__(self, program: str, profile: Path, deadline: float = 120.0) -> None:
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # Duplicated above 9 first: Chromium reads from descriptor 3 and writes to 4, which may be these very pipes.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (commands, answers)]
        actions = [(os.POSIX_SPAWN_DUP2, high[0], 3), (os.POSIX_SPAWN_DUP2, high[1], 4)]
        actions += [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (1, 2)]
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(program, command, os.environ | {"HOME": str(profile)}, file_actions=actions)
        for end in (commands, answers, *high):
            os.close(end)
        self.events: list[dict[str, Any]] = []
        self._buffer, self._number, self._session = b"", 0, None
        self._end = time.monotonic() + deadline
        pages = [target for target in self.ask("Target.getTargets")["targetInfos"] if target["type"] == "page"]
        attached = self.ask("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Network", "Log", "Runtime", "Page"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def open(self, url: str) -> None:
        """Load a page and wait for its load event."""
        self.ask("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript, waiting for it where it is a promise."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self) -> None:
        """Ask Chromium to leave, and see that it does."""
        self._session = None
        try:
            self.ask("Browser.close")
        finally:
            os.close(self._write)
            os.close(self._read)
            os.waitpid(self._process, 0)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, self._end - time.monotonic()))
            part = os.read(self._read, 1 << 20) if ready else b""
            if not part:
                os.kill(self._process, signal.SIGKILL)
                raise TimeoutError("Chromium did not answer" if not ready else "Chromium ended early")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


def find_chromium() -> str:
    """Return Chromium's path; without one the tests are skipped, or fail where the environment asks for it."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None and os.environ.get("FINATTN_REQUIRE_CHROMIUM") == "1":
        pytest.fail("FINATTN_REQUIRE_CHROMIUM=1, but no chromium, chromium-browser or google-chrome is installed")
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return found


@contextmanager
def chromium() -> Iterator[Chromium]:
    program = find_chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Chromium(program, Path(profile))
        try:
            yield browser
        finally:
            browser.close()


def test_chromium_draws_the_report_without_a_request_or_a_complaint(run: Path, page: str) -> None:
    url = (run / "report.html").resolve().as_uri()
    with chromium() as browser:
        browser.open(url)
        drawn = browser.value("window.figuresDrawn")
        nodes = browser.value("document.querySelectorAll('.js-plotly-plot .main-svg:first-child').length")
        images = browser.value("document.images.length")
        texts = browser.value("Array.from(document.querySelectorAll('.plot text'), t => t.textContent).join('|')")
        width = browser.value("document.documentElement.scrollWidth")
        sizes = browser.value(
            "Array.from(document.querySelectorAll('.plot text'), t => parseFloat(getComputedStyle(t).fontSize))"
        )
        browser.value("window.dispatchEvent(new Event('beforeprint'))")
        closed = browser.value("document.querySelectorAll('details:not([open])').length")
        paper = browser.value("Math.max(...Array.from(document.querySelectorAll('.main-svg'), s => s.clientWidth))")
        browser.value("window.dispatchEvent(new Event('afterprint'))")
        again = browser.value("Math.min(...Array.from(document.querySelectorAll('.main-svg'), s => s.clientWidth))")
    assert drawn == nodes == page.count('class="plot"') == 7
    assert images == 0 and "<img src=x" in texts
    assert width <= 1366 and min(sizes) >= 12
    assert (closed, paper) == (0, 690) and again > 900
    assert [event for event in browser.events if complains(event, url)] == []


def complains(event: dict[str, Any], url: str) -> bool:
    """Whether an event is a request that leaves the file, or an error or warning in the console."""
    method, parameters = event["method"], event.get("params", {})
    if method == "Network.requestWillBeSent":
        return parameters["request"]["url"] != url and not parameters["request"]["url"].startswith(("data:", "blob:"))
    if method == "Log.entryAdded":
        return parameters["entry"]["level"] in ("error", "warning")
    if method == "Runtime.consoleAPICalled":
        return parameters["type"] in ("error", "warning", "assert")
    return method in ("Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Network.webSocketCreated")


def test_the_browser_check_notices_requests_and_errors(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<img src='other.png'><script>console.warn('w'); fetch('http://localhost:1/').catch(() => 0); x.y</script>"
    )
    with chromium() as browser:
        browser.open(bad.as_uri())
        browser.value("1")
    methods = {event["method"] for event in browser.events if complains(event, bad.as_uri())}
    assert {"Network.requestWillBeSent", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"} <= methods


def test_without_chromium_the_check_is_skipped_or_fails_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("FINATTN_REQUIRE_CHROMIUM", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium is installed"):
        find_chromium()
    monkeypatch.setenv("FINATTN_REQUIRE_CHROMIUM", "1")
    with pytest.raises(pytest.fail.Exception, match="FINATTN_REQUIRE_CHROMIUM=1, but no chromium"):
        find_chromium()
