"""A first configuration, written for data of the user's own, runs unedited."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from finattn import cli
from finattn.cli.guess import guess
from finattn.cli.plan import folds, has_characteristics, rhythm
from finattn.config import RunConfig
from finattn.config_file import read_yaml
from finattn.data import load, simulate
from finattn.errors import InputError
from finattn.panel import Panel
from finattn.splits import WalkForward

DAYS = ["2020-01-02", "2020-01-03", "2020-01-06"]


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(columns: dict, path: str = "own.csv") -> str:
    """Write two firms on three days: a column is a list of six, of three (dates) or of two (firms), or one value."""
    sizes = {6: lambda v: v, 3: lambda v: [x for x in v for _ in range(2)], 2: lambda v: list(v) * 3}
    rows = {name: sizes[len(v)](v) if isinstance(v, list) else [v] * 6 for name, v in columns.items()}
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


RETURNS = [0.01, 0.02, -0.01, 0.0, 0.03, -0.02]
PRICES = [10.0, 20.0, 11.0, 19.0, 12.0, 18.0]


@pytest.mark.parametrize(
    "columns, roles",
    [
        ({"PERMNO": [10107, 14593], "caldt": DAYS, "RET": RETURNS, "SICCD": [2834, 6021]},
         {"firm": "PERMNO", "date": "caldt", "return": "RET", "industry": "SICCD"}),
        ({"permno": [1, 2], "date": DAYS, "ret": RETURNS, "retx": RETURNS, "me": PRICES},
         {"firm": "permno", "date": "date", "return": "ret", "market_cap": "me"}),
        ({"gvkey": [1690, 2710], "tic": ["A", "B"], "datadate": DAYS, "ret": RETURNS, "gics": [45202030, 10101010]},
         {"firm": "gvkey", "date": "datadate", "return": "ret", "industry": "gics"}),
        ({"Date": DAYS, "Ticker": ["A", "B"], "Adj Close": PRICES, "Close": PRICES, "Volume": PRICES},
         {"date": "Date", "firm": "Ticker", "adjusted_price": "Adj Close", "price": "Close", "volume": "Volume"}),
        ({"DlyCalDt": DAYS, "PERMNO": [1, 2], "DlyRet": RETURNS, "DlyPrc": PRICES, "DlyCap": PRICES},
         {"date": "DlyCalDt", "firm": "PERMNO", "return": "DlyRet", "price": "DlyPrc", "market_cap": "DlyCap"}),
        ({"Day": DAYS, "Symbol": ["A", "B"], "Total_Return": RETURNS, "MarketCap": PRICES, "Name": ["a", "b"]},
         {"date": "Day", "firm": "Symbol", "return": "Total_Return", "market_cap": "MarketCap", "name": "Name"}),
        ({"when": DAYS, "ISIN": ["US01", "US02"], "return": RETURNS, "rf": [0.1, 0.2, 0.3], "smb": [0.1, 0.2, 0.3]},
         {"date": "when", "firm": "ISIN", "return": "return", "risk_free": "rf", "factor:smb": "smb"}),
        ({"permno": [1, 2], "trade_dt": DAYS, "ret_total": RETURNS, "px": PRICES, "sic2": [35, 60]},
         {"firm": "permno", "date": "trade_dt", "return": "ret_total", "price": "px", "industry": "sic2"}),
        ({"date": DAYS, "id": ["x", "y"], "TotRet": RETURNS, "sic2": [28, 60], "sic3": [283, 602]},
         {"date": "date", "firm": "id", "return": "TotRet", "industry": "sic3"}),
        ({"day": DAYS, "id": ["x", "y"], "close": PRICES}, {"date": "day", "firm": "id", "adjusted_price": "close"}),
        ({"date": DAYS, "firm": ["x", "y"], "close": PRICES, "Stock Splits": 0, "Dividends": [0.0] * 6},
         {"date": "date", "firm": "firm", "price": "close", "split": "Stock Splits", "dividend": "Dividends"}),
    ],
)  # fmt: skip
def test_columns_of_every_plausible_name_find_their_role(columns, roles, work):
    found = guess(write(columns))
    assert found.roles == roles
    kinds = {"adjusted_price": "adjusted_prices", "split": "raw_prices"}
    expected = next((kind for role, kind in kinds.items() if role in roles), None)
    assert found.data.get("values") == expected
    assert found.data["columns"] == {theirs: ours for ours, theirs in roles.items() if theirs != ours}


def test_what_cannot_be_used_is_left_out_with_the_reason_and_the_rest_become_features(work):
    path = write({
        "date": DAYS, "permno": [1, 2], "ticker": ["A", "B"], "ret": RETURNS, "adj_close": PRICES, "exchcd": [1, 2],
        "note": "x", "empty": None, "same": 7, "bm": PRICES, "volume": PRICES, "prc": [-10.0, 1.0], "open": PRICES,
        "retx": RETURNS, "shrout": PRICES, "sector": ["Health", "Banks"], "comnam": ["a", "b", "a", "c", "a", "b"],
    })  # fmt: skip
    found = guess(path)
    assert found.features == ("bm",)
    assert found.data["use"] == ["ret", "bm"]
    assert found.left == {
        "adj_close": "returns are there", "volume": "shares, which only raw prices turn into dollars",
        "ticker": "text", "exchcd": "a label, or a level of prices", "note": "text", "empty": "empty",
        "same": "the same everywhere", "prc": "called as price, and negative",
        "shrout": "a number of shares, whose level says nothing without a price",
        "retx": "another return", "open": "a label, or a level of prices", "sector": "text", "comnam": "text",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name, codes, expected",
    [
        ("sic", [100, 9999], {}),
        ("sic2", [1, 99], {}),
        ("sic3", [11, 999], {"industry_scheme": "custom", "industry_widths": [3, 2]}),
        ("industry", [2834, 6021], {}),
        ("gics", [45202030, 10101010], {"industry_scheme": "gics"}),
        ("gind", [452020, 101010], {"industry_scheme": "custom", "industry_widths": [6, 4, 2]}),
        ("gsector", [45, 10], {"industry_scheme": "custom", "industry_widths": [2]}),
        ("ff48", [3, 48], {"industry_scheme": "custom", "industry_widths": [2]}),
        ("sector", [1, 9], {"industry_scheme": "custom", "industry_widths": [1]}),
        ("industry", [101, 999], {"industry_scheme": "custom", "industry_widths": [3]}),
    ],
)
def test_the_scheme_of_codes_is_read_from_their_name_and_digits(name, codes, expected, work):
    data = guess(write({"date": DAYS, "firm": ["A", "B"], "return": RETURNS, name: codes})).data
    assert {key: value for key, value in data.items() if key.startswith("industry")} == expected


@pytest.mark.parametrize(
    "columns, role, says",
    [
        ({"px": PRICES}, "adjusted_price", "px is adjusted for splits and dividends; if not, returns are wrong at"),
        ({"ret": RETURNS, "sic2": [35, 60]}, "industry", "sic2 holds SIC codes of two digits: major groups and their"),
        ({"ret": RETURNS, "sic3": [357, 602]}, "industry", "sic3 holds SIC codes of three digits: industry groups"),
        ({"ret": RETURNS, "sic": [357, 602]}, "industry", "sic holds SIC codes of four digits, which would all be of"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_said_on_the_console_and_in_the_configuration(columns, role, says, work, capsys):
    dates = [str(day) for day in calendar("month", 30)]
    pd.concat(
        [pd.DataFrame({"date": dates, "id": name} | {column: values[i] for column, values in columns.items()})
         for i, name in enumerate("AB")]
    ).to_csv("own.csv", index=False)  # fmt: skip
    assert cli.main(["new", "mine", "--data", "own.csv"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("assumed:")]
    assert line.startswith(f"assumed:  {says}")
    assert f"  # assumed: {says}" in Path("mine/config.yaml").read_text()
    assert list(guess("own.csv").assumed) == [role]
    assert RunConfig(**read_yaml("mine/config.yaml")).features == ()


def test_what_the_user_says_is_not_assumed(work, capsys):
    path = write({"date": DAYS, "firm": ["A", "B"], "px": PRICES, "adj_close": PRICES, "sic": [2834, 6021]})
    assert guess(path).assumed == guess(path, {"px": "adjusted_price"}).assumed == {}
    frame = pd.DataFrame({"date": [str(day) for day in calendar("month", 30)], "firm": "A", "ret": 0.0, "sic": 7})
    frame.to_csv("own.csv", index=False)
    keys = ["--data.industry_scheme", "custom", "--data.industry_widths", "[1]"]
    assert cli.main(["new", "mine", "--data", "own.csv", *keys]) == 0
    printed = capsys.readouterr().out
    assert "assumed" not in printed and printed.startswith("panel:    1 firm, 30 monthly dates")


def test_a_folder_with_a_file_for_each_firm_takes_its_firms_from_their_names(work):
    Path("prices").mkdir()
    for ticker in ("AAPL", "MSFT"):
        pd.DataFrame({"Date": DAYS, "Close": PRICES[:3]}).to_csv(f"prices/{ticker}.csv", index=False)
    found = guess("prices")
    assert found.data["layout"] == "by_firm" and "firm" not in found.roles


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"firm": ["A", "B"], "return": RETURNS}, "must hold dates, found none that is called so among firm, ret"),
        ({"date": DAYS, "ret": RETURNS}, r"must hold firms, .*--data.columns '\{COLUMN: firm\}'"),
        ({"date": DAYS, "firm": ["A", "B"], "bm": PRICES}, r"must hold returns or prices, .*'\{COLUMN: return\}'"),
    ],
)  # fmt: skip
def test_a_file_without_what_there_must_be_is_refused_with_what_to_give(columns, message, work, capsys):
    assert cli.main(["new", "mine", "--data", write(columns)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    pytest.raises(InputError, guess, "own.csv").match(message)
    assert line.startswith("finattn: own.csv: a column must hold")
    assert not Path("mine").exists()


def test_what_the_user_says_of_columns_goes_first(work):
    path = write({"date": DAYS, "end": ["2020-02-01", "2020-02-02", "2020-02-03"], "firm": ["A", "B"], "ret": RETURNS,
                  "x": RETURNS})  # fmt: skip
    found = guess(path, {"end": "date", "x": "return", "ret": "surprise"})
    assert found.roles == {"date": "end", "return": "x", "surprise": "ret", "firm": "firm"}
    assert found.features == ("surprise",)  # a name that is no field of a panel is a feature's
    with pytest.raises(InputError, match="data.columns must name columns of the file, found no fim, did you mean firm"):
        guess(path, {"fim": "firm"})


def test_a_number_of_a_month_is_no_date_and_a_number_of_a_day_is(work):
    rest = {"firm": ["A", "B"], "ret": RETURNS}
    assert guess(write({"month": [1, 2, 3], "when": DAYS, **rest})).roles["date"] == "when"
    assert guess(write({"when": DAYS, "eom": [20200102, 20200103, 20200106], **rest})).roles["date"] == "eom"


def calendar(step: str, count: int) -> np.ndarray:
    if step == "day":
        return np.busday_offset("2001-01-01", np.arange(count), roll="forward")
    unit, size = {"week": ("W", 1), "month": ("M", 1), "quarter": ("M", 3), "year": ("Y", 1)}[step]
    return (np.arange(count) * size).astype(f"M8[{unit}]").astype("M8[D]")


@pytest.mark.parametrize("step, what", [("day", "daily"), ("week", "weekly"), ("month", "monthly"),
                                        ("quarter", "quarterly"), ("year", "yearly")])  # fmt: skip
@pytest.mark.parametrize("count", [24, 40, 130, 400, 800, 2600])
def test_folds_fit_any_span_and_test_two_fifths_of_it(step, what, count):
    dates = calendar(step, min(count, 200) if step == "year" else count)
    panel = Panel(dates, ["A"], np.zeros((len(dates), 1)))
    each = rhythm(dates)
    assert each.what == what
    first = 252 if has_characteristics(panel, each) else 1
    found = list(WalkForward(**folds(panel, each), horizon=each.horizon, start=first).split(dates))
    assert 1 <= len(found) <= 4
    share = (found[-1].test[-1] - found[0].test[0] + 1) / (len(dates) - first)
    assert (0.34 if count >= 130 else 0) < share < 0.65  # weekly decisions leave out days at either end
    assert all(len(fold.train) >= 5 for fold in found)
    assert all(len(fold.valid) <= 2 * 253 + 30 for fold in found)


def test_a_large_panel_has_two_test_windows_a_long_one_two_years_of_validation_and_a_short_one_is_refused():
    long = Panel(calendar("day", 6000), ["A"], np.zeros((6000, 1)))
    assert folds(long, rhythm(long.dates))["valid"] == "2Y"
    dates = calendar("day", 2000)
    panel = Panel(dates, [f"F{i}" for i in range(501)], np.zeros((2000, 501), np.float32))
    assert len(list(WalkForward(**folds(panel, rhythm(dates)), horizon=5, start=252).split(dates))) == 2
    with pytest.raises(InputError, match="a panel must have at least 24 dates to be cut into folds, found 23"):
        rhythm(dates[:23])


def simulated_csv(path: str, firms: int, days: int) -> None:
    """Write a panel as another program would: other names, and columns that are of no use here."""
    frame = simulate(firms, days, seed=1).panel.to_frame()
    frame = frame[frame["listed"]].rename(
        columns={"date": "caldt", "firm": "tic", "return": "RET", "industry": "siccd"}
    )
    frame["exchange"], frame["mktcap"] = "NYSE", 1e6
    frame["mktcap"] *= 1 + frame.groupby("tic").ngroup()
    names = ["tic", "caldt", "RET", "siccd", "linear_1", 'noise 2: a "b"', "mktcap", "exchange"]
    frame.rename(columns={"noise_2": names[5]})[names].to_csv(path, index=False)


def test_a_file_of_300_firms_gets_a_configuration_that_says_what_was_found(work, capsys):
    simulated_csv("returns.csv", 300, 64)
    assert cli.main(["new", "my study", "--data", "returns.csv"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("panel:    300 firms, 64 daily dates, 2000-01-03 to 2000-03-30\n")
    assert "columns:  date = caldt, firm = tic, return = RET, market_cap = mktcap, industry = siccd\n" in printed
    assert 'features: linear_1, noise 2: a "b"\nleft out: exchange (text)\n' in printed
    file = "my study/config.yaml"
    assert printed.endswith(f"finattn data describe '{file}'\nthen:     finattn run '{file}'\n")
    config = RunConfig(**read_yaml(file))
    assert (config.name, config.target.horizon, config.splits.decisions) == ("my_study", 5, "weekly")
    assert config.data.path == str(work / "returns.csv")
    assert config.features == ("linear_1", 'noise 2: a "b"') and config.primary == ("firm", "sic_kernel")
    assert cli.main(["data", "describe", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["firms"] == 300


def monthly_csv(path: str, months: int) -> None:
    dates = pd.date_range("1990-01-31", periods=months, freq="ME").strftime("%Y%m%d").astype(int)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"yyyymmdd": np.repeat(dates, 6), "cusip": [f"{i}A" for i in range(6)] * months})
    frame = frame.assign(r=0.05 * random.standard_normal(6 * months), bm=random.random(6 * months))
    frame.assign(sich=[2834, 2834, 2834, 6021, 6021, 6021] * months).to_csv(path, index=False)


def test_the_configuration_runs_unedited_to_a_report_and_to_forecasts_of_the_newest_date(work, capsys):
    monthly_csv("own.csv", 30)
    assert cli.main(["new", "mine", "--data", "own.csv"]) == 0
    config = RunConfig(**read_yaml("mine/config.yaml"))
    capsys.readouterr()
    assert cli.main(["run", "mine/config.yaml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == "runs/mine/report.html" and Path(told["report"]).is_file()
    assert {row["model"] for row in told["metrics"]} == set(config.forecasters) >= {"sic_kernel", "both"}
    assert cli.main(["report", "runs/mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told
    assert cli.main(["predict", "runs/mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["date"] == "1992-06-30"


def test_every_line_of_the_configuration_may_be_uncommented_or_says_what_is_left_out(work):
    """A line that is commented out is YAML too: with all of them the file still is a configuration."""
    simulated_csv("returns.csv", 48, 64)
    assert cli.main(["new", "mine", "--data", "returns.csv"]) == 0
    lines = Path("mine/config.yaml").read_text().splitlines()
    keys = [
        line for line in lines if line.lstrip().startswith("# ") and line.split("# ", 1)[1].split(":")[0].isidentifier()
    ]
    assert [line.split("# ", 1)[1].split(":")[0] for line in keys] == ["industry_as_of", "start", "end", "train"]
    text = "\n".join(line.replace("# ", "", 1) if line in keys else line for line in lines)
    Path("all.yaml").write_text(text.replace("2005-01-01", "2000-01-03"))
    changed = RunConfig(**read_yaml("all.yaml"))
    assert changed.data.industry_as_of and changed.splits.train == "10Y"
    assert all(len(line) <= 140 for line in lines)
    unused = [line for line in lines if "YOURS" in line]
    assert [line.split("YOURS: ")[1].split()[0] for line in unused] == ["price", "dollar_volume", "name", "risk_free"]


def test_monthly_data_without_codes_or_features_gets_settings_of_its_own(work):
    monthly_csv("own.csv", 120)
    pd.read_csv("own.csv").drop(columns=["sich", "bm"]).to_csv("own.csv", index=False)
    assert cli.main(["new", "mine", "--data", "own.csv"]) == 0
    config = RunConfig(**read_yaml("mine/config.yaml"))
    assert (config.data.periods_per_year, config.target.horizon, config.splits.decisions) == (12, 1, "month-end")
    assert config.features == () and config.model.lookback == 12
    assert config.forecasters == ("zero", "historical_mean", "ridge", "time", "firm", "both")
    assert config.primary == ("firm", "ridge")
    assert load(config.data).shape == (120, 6)


def test_keys_of_the_data_are_kept_and_an_unknown_one_is_refused(work, capsys):
    simulated_csv("returns.csv", 48, 64)
    keys = ["--data.periods_per_year", "250", "--data.start", "2000-01-10", "--data.columns", "{mktcap: price}"]
    assert cli.main(["new", "mine", "--data", "returns.csv", *keys, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == "mine/config.yaml" and told["columns"]["price"] == "mktcap"
    content = yaml.safe_load(Path("mine/config.yaml").read_text())
    assert content["data"]["periods_per_year"] == 250 and content["data"]["start"] == "2000-01-10"
    for option, message in (("--data.colums", "data.columns"), ("--jsn", "json"), ("--dat", "data")):
        assert cli.main(["new", "other", "--data", "returns.csv", option, "x"]) == 2
        assert f"did you mean {message}?" in capsys.readouterr().err
    assert cli.main(["new", "other", "--data", "returns.csv", "--data.columns", "[a]"]) == 2
    assert "data.columns must be a mapping of text to text, found '[a]'" in capsys.readouterr().err
    assert not Path("other").exists()


def test_nothing_is_overwritten_and_what_the_reader_refuses_is_said_and_leaves_nothing(work, capsys):
    Path("mine").mkdir()
    Path("mine/config.yaml").write_text("precious")
    simulated_csv("returns.csv", 48, 64)
    assert cli.main(["new", "mine", "--data", "returns.csv"]) == 2
    assert "must be given, found mine/config.yaml" in capsys.readouterr().err
    assert Path("mine/config.yaml").read_text() == "precious"
    pd.read_csv("returns.csv").assign(RET=lambda frame: frame["RET"] * 100).to_csv("percent.csv", index=False)
    assert cli.main(["new", "other", "--data", "percent.csv"]) == 2
    assert "percent.csv: returns must be fractions" in capsys.readouterr().err
    for arguments, message in ((["new"], "a folder must be given first"), (["new", "--json"], "a folder must be given"),
                               (["new", "returns.csv"], "found returns.csv"),
                               (["new", "x", "--data.start", "2000"], "with --data FILE, found --data.start without"),
                               (["new", "x", "--data", "no.csv"], "data.path must be a file, found none")):  # fmt: skip
        assert cli.main(arguments) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in work.iterdir()) == ["mine", "percent.csv", "returns.csv"]


def test_without_data_it_is_the_demonstration_under_the_folders_name(work, capsys):
    assert cli.main(["new", "deep/first look"]) == 0
    assert (
        capsys.readouterr().out
        == "config:   deep/first look/config.yaml\nnext:     finattn run 'deep/first look/config.yaml'\n"
    )
    config = RunConfig(**read_yaml("deep/first look/config.yaml"))
    assert (config.name, config.data.source, config.splits.test) == ("first_look", "sample", "4Y")
    assert cli.main(["new", "ledger"]) == 0
    assert RunConfig(**read_yaml("ledger/config.yaml")).name == "ledger_run"
