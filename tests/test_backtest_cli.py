"""`finattn backtest` as a user has it: files of strangers, finattn's own, a run's folder; what is said and written."""

import json
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Literal, get_origin, get_type_hints

import numpy as np
import pandas as pd
import pytest
import waves

from finattn import cli
from finattn.backtest_pipeline import Settings, open_forecasts
from finattn.cli.backtest import OPTIONS
from finattn.config import RunConfig
from finattn.config_file import to_yaml
from finattn.errors import InputError
from finattn.evaluation import (
    RESTRICTIONS,
    Scheme,
    alpha,
    backtest,
    holdings,
    holm,
    industry_weights,
    market_returns,
    mean_inference,
    portfolio_summary,
)
from finattn.evaluation.assessment import Assessment, assess
from finattn.forecasts import Forecasts
from finattn.report.backtest import performance, sentences

ROWS = 330
CODES = np.resize([2834, 6021, 5311], waves.FIRMS)


def full_panel():
    """A panel that has all that a backtest can use."""
    t, n = np.arange(ROWS)[:, None], np.arange(waves.FIRMS)
    return waves.panel(
        ROWS,
        leaves=150,
        market_cap=1e9 * np.exp(np.sin(t / 50 + 1.3 * n)),
        price=7 + 5 * np.sin(t / 40 + 0.9 * n),
        industry=np.broadcast_to(CODES, (ROWS, waves.FIRMS)),
        factors=0.01 * np.sin(np.arange(2 * ROWS) ** 1.3).reshape(ROWS, 2),
        factor_names=("size", "value"),
    )


FULL, BARE = full_panel(), waves.panel(ROWS, leaves=150)
FORECASTS = waves.forecasts(FULL, step=5, first=100)


def foreign(forecasts: Forecasts = FORECASTS, **columns: object) -> pd.DataFrame:
    table = forecasts.table[["date", "firm", "prediction", "model"]]
    return table.assign(date=table["date"].dt.strftime("%Y-%m-%d"), **columns)


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A folder with panels, a file made elsewhere, and one of finattn."""
    monkeypatch.chdir(tmp_path)
    FULL.save("full")
    BARE.save("bare")
    foreign().to_csv("mine.csv", index=False)
    FORECASTS.save("own.parquet")
    return tmp_path


def told(capsys, *given: str) -> dict:
    assert cli.main(["backtest", *given, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *given: str) -> str:
    assert cli.main(["backtest", *given]) == 2
    out, error = capsys.readouterr()
    assert not out and error.startswith("finattn: ") and error.count("\n") == 1
    return error


def expected(scheme: Scheme = Scheme(), delay: int = 1, forecasts: Forecasts = FORECASTS) -> pd.DataFrame:  # noqa: B008
    return portfolio_summary(backtest(forecasts, FULL, scheme, delay), 252)


def same(found: list[dict], summary: pd.DataFrame) -> None:
    columns = ["annual_return", "sharpe", "sharpe_se", "turnover_per_year", "max_drawdown", "days"]
    np.testing.assert_allclose(pd.DataFrame(found)[columns], summary[columns], rtol=1e-6, atol=1e-9)


# -- what is traded ----------------------------------------------------------------------------------------------------


def test_a_file_made_elsewhere_is_traded_as_the_forecasts_that_it_holds(work, capsys):
    found = told(capsys, "mine.csv", "--panel", "full")
    same(found["summary"], expected())
    assert (found["models"], found["decisions"], found["horizon"], found["delay"]) == (["m"], 44, 5, 1)
    assert (found["first"], found["last"]) == (str(FULL.dates[100]), str(FULL.dates[315]))


def test_the_options_are_those_of_the_scheme_and_the_settings():
    kinds = {name: (kind, default) for name, kind, default, _ in OPTIONS}
    for holder, prefix in ((Scheme, "scheme."), (Settings, "")):
        hints = get_type_hints(holder)
        known = {
            f"{prefix}{item.name}": (
                str if get_origin(hints[item.name]) is Literal else hints[item.name],
                item.default if item.default is not MISSING else {},
            )
            for item in fields(holder)
            if item.name != "scheme"
        }
        assert known == {name: kinds.pop(name) for name in list(kinds) if name in known}
    assert not kinds


def test_every_option_reaches_the_portfolio(work, capsys):
    scheme = Scheme("top_k", k=3, weighting="value", cost=0.002, short_fee=0.01)
    given = ["--scheme.kind", "top_k", "--scheme.k", "3", "--scheme.weighting", "value", "--scheme.cost", "0.002"]
    found = told(capsys, "mine.csv", "--panel=full", *given, "--scheme.short_fee=0.01", "--delay", "0")
    same(found["summary"], expected(scheme, delay=0))
    assert found["scheme"]["k"] == 3 and found["scheme"]["short_fee"] == 0.01


def test_a_horizon_that_is_not_given_is_the_distance_between_decisions(work, capsys):
    assert "horizon not given: 5 rows, the usual distance" in told(capsys, "mine.csv", "--panel", "full")["notes"][0]
    longer = told(capsys, "mine.csv", "--panel", "full", "--horizon", "15")
    assert longer["horizon"] == 15 and not any("horizon not given" in note for note in longer["notes"])
    same(longer["summary"], expected(forecasts=replace(FORECASTS, horizon=15)))


def test_columns_can_be_called_otherwise_and_unusable_rows_are_counted(work, capsys):
    odd = pd.concat([foreign(), foreign().head(3).assign(firm="GONE"), foreign().tail(2).assign(date="2050-01-03")])
    odd.rename(columns={"prediction": "alpha"}).to_csv("odd.csv", index=False)
    given = ["odd.csv", "--panel", "full", "--columns", "{alpha: prediction}"]
    assert "date must be a date of the panel in every row, found 2050-01-03" in refused(capsys, *given)
    found = told(capsys, *given, "--drop", "true")
    same(found["summary"], expected())
    assert "2 rows left out: date not in the panel" in found["notes"]
    assert "3 rows left out: firm not in the panel" in found["notes"]


def test_what_finattn_wrote_keeps_its_horizon_and_settings_that_contradict_it_are_refused(work, capsys):
    daily = waves.forecasts(FULL, horizon=10, step=5, first=100, delay=1)
    daily.save("own.parquet")
    found = told(capsys, "own.parquet", "--panel", "full", "--horizon", "10")
    assert found["horizon"] == 10
    same(found["summary"], expected(forecasts=daily))
    for given, message in (
        (["--horizon", "5"], "horizon must be 10, as own.parquet says, found 5"),
        (["--delay", "0"], "delay must be at least 1, as own.parquet says, found 0"),
        (["--columns", "{a: prediction}"], "columns must be left out of forecasts that finattn wrote"),
        (["--drop", "true"], "drop must be left out of forecasts that finattn wrote"),
    ):
        assert message in refused(capsys, "own.parquet", "--panel", "full", *given)


def test_returns_that_are_judged_begin_where_the_trade_does(work):
    for delay, begins in ((0, 0), (1, 1), (3, 1)):
        found, _ = open_forecasts(Path("mine.csv"), FULL, Settings(delay=delay, horizon=5))
        assert found.delay == begins
        if not delay:
            np.testing.assert_array_equal(found.table["realised"], FORECASTS.table["realised"])


def test_what_stands_in_for_a_missing_delisting_return_is_earned(work, capsys):
    returns = FULL.returns.copy()
    returns[150, 3] = np.nan
    panel = FULL.replace(returns=returns)
    panel.save("gap")
    kind, lost = told(capsys, "mine.csv", "--panel", "gap"), ["--missing_delisting_return", "-0.5"]
    harsh = told(capsys, "mine.csv", "--panel", "gap", *lost, "--scheme.kind", "rank")
    same(kind["summary"], portfolio_summary(backtest(FORECASTS, panel, delay=1), 252))
    same(harsh["summary"], portfolio_summary(backtest(FORECASTS, panel, Scheme("rank"), 1, -0.5), 252))
    assert harsh["restrictions"][0]["annual_return"] == harsh["summary"][0]["annual_return"]


# -- a run's folder ----------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(work) -> Path:
    """A run's folder, with a ladder in it, as far as a backtest reads it."""
    settings = {"portfolio": {"quantiles": 3, "cost": 0.002}, "target": {"missing_delisting_return": -0.3}}
    config = RunConfig(name="mine", data={"source": "panel", "path": "bare"}, **settings)
    folder = work / "runs/mine"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    FULL.save(folder / "panel")
    FORECASTS.save(folder / "forecasts.parquet")
    FORECASTS.save(folder / "ladder/forecasts.parquet")
    return folder


def test_a_run_is_traded_on_its_own_panel_as_it_was_configured(finished, capsys):
    found = told(capsys, "runs/mine")
    assert found["panel"]["fingerprint"] == FULL.fingerprint
    assert (found["scheme"]["quantiles"], found["missing_delisting_return"]) == (3, -0.3)
    same(found["summary"], portfolio_summary(backtest(FORECASTS, FULL, Scheme(quantiles=3, cost=0.002), 1, -0.3), 252))
    again = told(capsys, "runs/mine", "--scheme.quantiles", "4")
    assert (again["scheme"]["quantiles"], again["scheme"]["cost"]) == (4, 0.002)
    assert told(capsys, "runs/mine", "--panel", "bare")["panel"]["fingerprint"] == BARE.fingerprint


def test_a_ladder_and_a_run_without_its_panel_take_the_source_of_the_configuration(finished, capsys):
    assert told(capsys, "runs/mine/ladder")["panel"]["fingerprint"] == FULL.fingerprint
    (finished / "panel").rename("elsewhere")
    assert told(capsys, "runs/mine/ladder")["panel"]["fingerprint"] == BARE.fingerprint
    assert told(capsys, "runs/mine")["panel"]["path"] == "bare"


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, message",
    [
        ([], "forecasts must be given first, found none; see finattn backtest --help"),
        (["--panel", "full"], "forecasts must be given first, found none"),
        (["runs/gone"], "forecasts must be a file or a run's folder, found none at runs/gone"),
        (["mine.csv"], "--panel must be given for a file of forecasts, found none"),
        (["."], "a folder of forecasts must be a run's, with forecasts.parquet, found none in ."),
        (["mine.csv", "--panel"], "argument --panel: expected one argument"),
        (["gone.csv", "--panel", "full"], "forecasts must be a file or a run's folder, found none at gone.csv"),
        (["mine.csv", "--panel", "gone"], "data.path must be a file, found none at gone"),
        (["mine.csv", "--panel", "full", "--scheme.kind", "best"], "scheme.kind must be one of quantile, rank, top_k"),
        (["mine.csv", "--panel", "full", "--scheme.q", "3"], "unknown key scheme.q, did you mean scheme."),
        (["mine.csv", "--panel", "full", "--delay", "-1"], "delay must be at least 0, found -1"),
        (["mine.csv", "--panel", "full", "--delay", "x"], 'key "delay": Expected a whole number'),
        (["mine.csv", "--panel", "full", "--horizon", "0"], "horizon must be at least 1, found 0"),
        (["mine.csv", "--panel", "full", "--missing_delisting_return", "1"], "must be between -1 and 0, found 1.0"),
        (["mine.csv", "--panel", "bare", "--scheme.weighting", "value"], "value weights need panel.market_cap"),
        (["mine.csv", "--panel", "full", "--out", "full"], "--out must be absent or empty, or an earlier backtest"),
        (["mine.csv", "--panel", "full", "--out", "mine.csv", "--force"], "--out must be absent or empty"),
        (["mine.csv", "--panel", "full", "--data.end", "2020-12-01"], "date must be a date of the panel in every row"),
        (["own.parquet", "--panel", "full", "--data.end", "2020-12-01"], "expected every date of the forecasts in the"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(work, capsys, given, message):
    before = sorted(work.rglob("*"))
    assert message in refused(capsys, *given)
    assert sorted(work.rglob("*")) == before


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("bad.csv", b"date,firm\n2020-05-20,F00\n", "found no prediction among 'date', 'firm'"),
        ("bad.csv", b"date,firm,prediction\n2020-05-20,F00,much\n", "bad.csv"),
        ("bad.csv", b"date,firm,prediction,model\n2020-05-20,F00,1,\x1b[2Jx\n", "model must be a name that can be pr"),
        ("bad.csv", b"", "bad.csv"),
        ("bad.parquet", b"PAR1 and no more", "bad.parquet: must be a readable CSV or Parquet file"),
        ("bad.txt", b"date,firm,prediction\n", "forecasts must end in .csv"),
    ],
)
def test_a_file_that_holds_no_forecasts_is_one_line(work, capsys, name, content, message):
    Path(name).write_bytes(content)
    assert message in refused(capsys, name, "--panel", "full")


# -- what is said ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_had_is_a_line_each_and_no_error_nor_a_file(work, capsys):
    pd.concat([foreign(), foreign(model="twin")]).to_csv("two.csv", index=False)
    assert cli.main(["backtest", "two.csv", "--panel", "bare", "--out", "made"]) == 0
    assert not Path("made/industries.parquet").exists() and Path("made/exposures.parquet").exists()
    out = capsys.readouterr().out
    for line in (
        "! without microcaps: not available: needs panel.market_cap",
        "! without penny stocks: not available: needs panel.price",
        "! factors: alpha needs factors, found none given and a panel without them",
        "! industries: groups by industry need industry codes",
    ):
        assert out.count(line) == 1
    assert "\x1b" not in out and "Industries\n" not in out and "without distressed" in out


def test_the_text_holds_gross_and_net_restrictions_exposures_and_ends_with_a_sentence(work, capsys):
    assert cli.main(["backtest", "mine.csv", "--panel", "full", "--out", "made"]) == 0
    out = capsys.readouterr().out
    for words in (
        "top against bottom of 5 quantiles, equal weights, traded 1 row after the decision, at 10 basis points",
        "without any of these", "Gross, %", "Net, %", "market", "size", "Manufacturing", "Finance",
    ):  # fmt: skip
        assert words in out
    assert "not available" not in out and "needs" not in out
    *_, sentence, place = out.splitlines()
    assert place == "backtest: made"
    net = expected().iloc[1]
    assert sentence.startswith(f"m: {100 * net['annual_return']:.1f}% a year after costs".replace("-", "−"))


def test_a_limit_on_trading_is_said(work, capsys):
    FULL.replace(dollar_volume=np.full(FULL.shape[:2], 1e6)).save("liquid")
    limit = ["--scheme.participation", "0.05", "--scheme.book", "1e6"]
    assert cli.main(["backtest", "mine.csv", "--panel", "liquid", *limit]) == 0
    assert "1 row after the decision, at most 5.00% of a firm's dollar volume, at 10" in capsys.readouterr().out


def test_help_needs_neither_torch_nor_pandas():
    code = (
        "import sys; from finattn.cli import main; main(['backtest', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pandas', 'numpy', 'scipy')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0
    for name in ("FORECASTS", "--panel", "--scheme.kind", "--delay", "--horizon", "--out", "--json", "--data.columns"):
        assert name in result.stdout


# -- what is written ---------------------------------------------------------------------------------------------------


def test_out_holds_the_tables_and_the_settings_and_is_replaced_only_with_force(work, capsys):
    given = ["mine.csv", "--panel", "full", "--out", "made"]
    found = told(capsys, *given)
    tables = {path.stem: pd.read_parquet(path) for path in Path("made").glob("*.parquet")}
    assert set(tables) == {"daily", "summary", "restrictions", "exposures", "industries"}
    pd.testing.assert_frame_equal(tables["daily"], backtest(FORECASTS, FULL, delay=1))
    same(found["summary"], tables["summary"])
    record = json.loads(Path("made/backtest.json").read_text())
    assert record == {key: value for key, value in found.items() if key not in tables}
    assert record["scheme"]["quantiles"] == 5 and record["sentences"][0].startswith("m: ")
    before = {path: path.read_bytes() for path in Path("made").iterdir()}
    assert "an earlier backtest with --force, found made" in refused(capsys, *given)
    told(capsys, *given, "--force")
    assert {path: path.read_bytes() for path in Path("made").iterdir()} == before
    Path("made/notes.txt").write_text("precious")
    assert "--out must be absent or empty" in refused(capsys, *given, "--force")


def test_a_disk_that_is_full_leaves_the_earlier_backtest_whole(work, capsys, monkeypatch):
    given = ["mine.csv", "--panel", "full", "--out", "made", "--force"]
    told(capsys, *given)
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("finattn.backtest_pipeline.write_json", full)
    assert cli.main(["backtest", *given, "--scheme.cost", "0.01"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


# -- what is assessed --------------------------------------------------------------------------------------------------


def two_models(start: int = 100) -> Forecasts:
    """The forecasts, and the same turned round from a row on."""
    other = FORECASTS.table.assign(model="other", score=-FORECASTS.table["score"])
    other = other[other["date"] >= pd.Timestamp(FULL.dates[start])]
    return replace(FORECASTS, table=pd.concat([FORECASTS.table, other], ignore_index=True))


def test_errors_are_of_the_rows_returns_and_corrected_over_the_models_of_a_side():
    found = assess(two_models(), FULL).summary
    daily = backtest(two_models(), FULL, delay=1)
    for side in ("gross", "net"):
        rows = found[found["side"] == side]
        own = [mean_inference(daily.loc[daily["model"] == model, side], 0) for model in rows["model"]]
        np.testing.assert_allclose(rows["return_se"], [252 * estimate.standard_error for estimate in own])
        np.testing.assert_allclose(rows["p_value"], [estimate.p_value for estimate in own])
        np.testing.assert_allclose(rows["p_holm"], holm([estimate.p_value for estimate in own]))


def test_industries_are_means_over_trades_and_exposures_are_after_costs():
    found = assess(two_models(), FULL)
    held = holdings(FORECASTS, FULL, delay=1)
    for name, group in industry_weights(held, FULL).groupby("industry"):
        row = found.industries[(found.industries["model"] == "m") & (found.industries["industry"] == name)]
        for column in ("net", "long", "short"):
            assert row[column].item() == pytest.approx(group[column].sum() / len(held.rows))
    kinds = found.exposures.groupby(["model", "against"], sort=False)["name"].agg(list)
    assert kinds["m", "market"] == ["alpha", "market"] and kinds["other", "factors"] == ["alpha", "size", "value"]
    assert (found.exposures["side"] == "net").all()
    alphas = found.exposures[found.exposures["name"] == "alpha"]
    for _, family in alphas.groupby("against"):
        np.testing.assert_allclose(family["p_holm"], holm(family["p_value"]))
    assert found.exposures.loc[found.exposures["name"] != "alpha", "p_holm"].isna().all()


def test_the_market_is_weighted_as_the_portfolio_is():
    scheme = Scheme(weighting="value")
    found = assess(FORECASTS, FULL, scheme).exposures
    by_hand = alpha(backtest(FORECASTS, FULL, scheme, 1), FULL, market_returns(FULL, "value"))
    pd.testing.assert_frame_equal(found[found["against"] == "market"][list(by_hand)], by_hand)


def test_gross_stands_before_net_and_each_model_under_each_restriction():
    found = assess(two_models(), FULL)
    shown = performance(found.restrictions)
    assert [row[:2] for row in shown.rows] == [(model, name) for model in ("m", "other") for name in RESTRICTIONS]
    gross, net = (f"{100 * value:.1f}".replace("-", "−") for value in found.summary["annual_return"][:2])
    assert (shown.rows[0][3], shown.rows[0][5]) == (gross, net) and gross != net


def test_a_model_that_can_never_trade_is_named_and_the_others_are_traded():
    short = FULL[: FULL.dates[316]]
    late = two_models(start=315)
    found = assess(late, short, delay=2)
    assert "other: the panel ends before its first trade" in found.lacking
    assert found.summary["model"].tolist() == ["m", "m"]
    only = replace(late, table=late.table[late.table["model"] == "other"].reset_index(drop=True))
    with pytest.raises(InputError, match="must go on until the first trade, 2 rows after the decision on 2021-0"):
        assess(only, short, delay=2)


def test_too_few_days_for_a_regression_are_a_line():
    one = FORECASTS.table[FORECASTS.table["date"] == FORECASTS.table["date"].max()].reset_index(drop=True)
    found = assess(replace(FORECASTS, table=one), FULL)
    assert found.exposures.empty and found.summary["days"].tolist() == [2, 2]
    assert sum(line.startswith("market: factors must vary") for line in found.lacking) == 1
    (said,) = sentences(found)  # nor is a Sharpe ratio of two days held to be too good
    assert said.endswith(": too few days to tell it from zero.") and "error" not in said and "—%" not in said


# -- sentences ---------------------------------------------------------------------------------------------------------


def assessed(*nets: dict, exposures: list[dict] | None = None) -> Assessment:
    base = {"side": "net", "annual_return": 0.031, "return_se": 0.042, "sharpe": 0.4, "sharpe_se": 0.3, "p_holm": 0.46,
            "turnover_per_year": 10.0, "max_drawdown": 0.2}  # fmt: skip
    summary = pd.DataFrame([base | {"model": f"m{i}"} | net for i, net in enumerate(nets)])
    empty = pd.DataFrame()
    return Assessment(empty, summary, empty, pd.DataFrame(exposures or []), empty, ())


@pytest.mark.parametrize(
    "net, sentence",
    [
        ({}, "m0: 3.1% a year after costs (standard error 4.2%), Sharpe 0.40 ± 0.30: not distinguishable from zero "
             "(p = 0.46)."),
        ({"p_holm": 0.05}, "not distinguishable from zero (p = 0.050)."),
        ({"p_holm": 0.049}, "above zero (p = 0.049)."),
        ({"p_holm": 0.001, "annual_return": -0.031}, "below zero (p = 0.001)."),
        ({"p_holm": np.nan}, "too few days to tell it from zero."),
        ({"turnover_per_year": 0.0, "annual_return": 0.0}, "m0: never holds anything."),
        ({"max_drawdown": 1.0, "p_holm": 0.001}, "m0: loses all that it has."),
    ],
)  # fmt: skip
def test_a_sentence_claims_no_more_than_its_p_value(net, sentence):
    (said,) = sentences(assessed(net))
    assert said.endswith(sentence)


def test_with_several_models_the_p_value_says_over_how_many_it_is_corrected():
    never = {"p_holm": np.nan, "turnover_per_year": 0.0}
    first, second, _ = sentences(assessed({}, {"p_holm": 0.01}, never))
    assert first.endswith("(p = 0.46 after Holm over 2 models).")
    assert second.startswith("m1: ") and second.endswith("above zero (p = 0.010 after Holm over 2 models).")


def test_what_is_too_good_for_a_market_is_said_once_and_not_of_simulated_firms():
    found = assessed({"sharpe": 4.2}, {"sharpe": 5.126, "p_holm": 0.01}, {"sharpe": 9.0, "sharpe_se": np.nan})
    *each, last = sentences(found)
    assert len(each) == 3 and last.startswith("Implausibly good: the net Sharpe ratio of m1 is 5.13. Above ")
    assert last.endswith("look for a leak with finattn.look_ahead and finattn.screen.")
    assert list(sentences(found, sample=["Simulated firms: nothing here is a fact about a market."])) == each
    assert list(sentences(found, sample=["Industry codes are those of today."])) == [*each, last]


def test_a_long_only_book_is_also_set_against_the_market():
    beyond = {"model": "m0", "name": "alpha", "estimate": 0.01, "standard_error": 0.02, "p_holm": 0.6}
    others = [beyond | {"against": "factors", "estimate": 9.0}, beyond | {"against": "market", "name": "market"}]
    found = assessed({"p_holm": 0.01}, exposures=[beyond | {"against": "market"}, *others])
    (said,) = sentences(found, long_only=True)
    assert said.endswith(
        "above zero (p = 0.010); beyond the panel's market 1.0% a year (standard error 2.0%): not distinguishable from "
        "zero (p = 0.60)."
    )
    unmoved = assessed({"turnover_per_year": 0.0}, exposures=[beyond | {"against": "market", "estimate": np.nan}])
    assert next(sentences(unmoved, long_only=True)) == "m0: never holds anything."
    assert "market" not in next(sentences(found)) and "market" not in next(sentences(assessed({}), long_only=True))
