import numpy as np
import pandas as pd
import pytest
import waves

from finattn.blocks import forward_returns
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.evaluation.forecast_file import read_forecasts
from finattn.evaluation.portfolio import backtest

PANEL = waves.panel()
FORECASTS = waves.forecasts(PANEL)
TARGET = TargetConfig(horizon=5)


def table() -> pd.DataFrame:
    return FORECASTS.table[["date", "firm", "prediction"]].assign(date=lambda t: t["date"].dt.strftime("%Y-%m-%d"))


def written(folder, frame: pd.DataFrame, name: str = "mine.csv"):
    path = folder / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["mine.csv", "mine.csv.gz", "mine.parquet"])
def test_a_file_of_date_firm_and_prediction_is_forecasts(tmp_path, name):
    found, dropped = read_forecasts(written(tmp_path, table(), name), PANEL, TARGET)
    assert found.models == ("mine",) and not any(dropped.values())
    assert (found.horizon, found.delay, found.overlap, found.periods_per_year) == (5, 0, 4, 252)
    ours, theirs = FORECASTS.wide("m"), found.wide("mine")
    np.testing.assert_allclose(theirs.prediction, ours.prediction, rtol=1e-12)
    np.testing.assert_array_equal(theirs.score, theirs.prediction)
    np.testing.assert_array_equal(theirs.realised, ours.realised)
    pd.testing.assert_frame_equal(
        backtest(found, PANEL).drop(columns="model"), backtest(FORECASTS, PANEL).drop(columns="model")
    )


def test_realised_returns_are_those_of_the_target(tmp_path):
    target = TargetConfig(horizon=3, delay=1, missing_delisting_return=-0.5)
    returns = PANEL.returns.copy()
    returns[40:, 3] = np.nan
    panel = PANEL.replace(returns=returns)
    found = read_forecasts(written(tmp_path, table()), panel, target).forecasts
    expected = forward_returns(panel, np.arange(5, 50), target)
    known = ~np.isnan(FORECASTS.wide("m").score)
    np.testing.assert_array_equal(found.wide("mine").realised[known], expected[known])
    assert (found.horizon, found.delay, found.overlap) == (3, 1, 2)


def test_score_and_model_are_read_where_they_are(tmp_path):
    two = pd.concat([table().assign(score=1.0 * np.arange(530), model=model) for model in ("ridge", "net")])
    found = read_forecasts(written(tmp_path, two), PANEL, TARGET).forecasts
    assert found.models == ("ridge", "net")
    np.testing.assert_array_equal(found.table["score"], np.tile(np.arange(530), 2))


def test_columns_can_be_called_otherwise_and_others_are_not_read(tmp_path):
    other = table().rename(columns={"date": "day", "firm": "permno", "prediction": "alpha"}).assign(note="x")
    columns = {"day": "date", "permno": "firm", "alpha": "prediction"}
    found = read_forecasts(written(tmp_path, other), PANEL, TARGET, columns).forecasts
    assert len(found.table) == 530


def test_rows_that_cannot_be_used_are_dropped_and_counted_by_reason(tmp_path):
    frame = table()
    frame.loc[0, "date"] = "2019-12-31"
    frame.loc[[1, 2], "firm"] = "XYZ"
    frame.loc[3:5, "prediction"] = np.nan
    found, dropped = read_forecasts(written(tmp_path, frame), PANEL, TARGET, drop=True)
    assert dropped == {"date not in the panel": 1, "firm not in the panel": 2, "no prediction": 3, "no score": 0}
    pd.testing.assert_series_equal(
        found.table["firm"].astype(str), frame["firm"].iloc[6:].reset_index(drop=True).astype(str)
    )


def changed(column: str, value, rows=(7,), **more) -> pd.DataFrame:
    frame = table().astype({column: object}).assign(**more)
    frame.loc[list(rows), column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table().drop(columns="prediction"), "must have columns date, firm, prediction; found no prediction among"),
        (
            changed("date", "2019-12-31", (7, 9)),
            "date must be a date of the panel in every row, found 2019-12-31 in row 7, and 1 more",
        ),
        (changed("date", "soon"), "dates must be whole days like '2001-05-31', found 'soon' in row 7"),
        (changed("date", None), "dates must be whole days like '2001-05-31', found none in row 7"),
        (changed("firm", "XYZ"), "firm must be a firm of the panel in every row, found XYZ in row 7, and 0 more"),
        (changed("firm", None), "found an? .*row 7|none in row 7"),
        (changed("prediction", None), "prediction must be a number in every row, found none in row 7"),
        (changed("prediction", "high"), "column 'prediction' must be numeric, found 'high' in row 7"),
        (changed("prediction", np.inf), "column 'prediction' must be finite, found inf in row 7"),
        (table().assign(score=[np.nan] * 2 + [0.0] * 528), "score must be a number in every row, found none in row 0"),
        (
            table().assign(model=["a"] * 529 + [None]),
            "column 'model' must be given in every row, found none in row 529",
        ),
        (
            pd.concat([table(), table().iloc[[7]]]),
            "one row for each date, firm, model and seed, found 1 duplicates: row 530",
        ),
        (table().iloc[:0], "must have at least one row, found none"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path, frame, message):
    path = written(tmp_path, frame)
    with pytest.raises(InputError, match=message) as caught:
        read_forecasts(path, PANEL, TARGET)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_column_that_is_called_otherwise_is_named_as_in_the_file(tmp_path):
    frame = changed("firm", "XYZ").rename(columns={"firm": "permno"})
    with pytest.raises(InputError, match=r"found XYZ in row 7.*\(column 'permno'\)"):
        read_forecasts(written(tmp_path, frame), PANEL, TARGET, {"permno": "firm"})


def test_a_file_without_a_row_that_can_be_used_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="at least one row that can be used, found none: .*'firm not in the panel': 530"
    ):
        read_forecasts(written(tmp_path, table().assign(firm="XYZ")), PANEL, TARGET, drop=True)


def test_a_file_that_there_is_not_and_one_of_another_kind_are_refused(tmp_path):
    with pytest.raises(InputError, match="forecasts must be a file, found none at"):
        read_forecasts(tmp_path / "mine.csv", PANEL, TARGET)
    (tmp_path / "mine.txt").write_text("date,firm,prediction\n")
    with pytest.raises(InputError, match="forecasts must end in .csv, .csv.gz, .parquet, .pq, found"):
        read_forecasts(tmp_path / "mine.txt", PANEL, TARGET)
