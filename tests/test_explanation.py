"""The table of explanations: what it refuses, how it is kept, and how parts are joined."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finattn.errors import InputError
from finattn.explain.explanation import COLUMNS, Explanation, join


def rows(count=3, method="saliency", **changes):
    row = {"date": pd.Timestamp("2020-01-02").as_unit("ms"), "firm": "A", "model": "m", "method": method}
    table = pd.DataFrame({**row, "kind": "lag", "key": [str(lag) for lag in range(count)], "score": 0.5})
    return table.assign(**changes)[list(COLUMNS)]


def test_what_is_saved_is_what_is_loaded(tmp_path):
    found = Explanation(rows(), {"saliency": {"baseline": "median", "lags": [0, 1]}})
    found.save(tmp_path / "explanation.parquet")
    again = Explanation.load(tmp_path / "explanation.parquet")
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.made == found.made and [path.name for path in tmp_path.iterdir()] == ["explanation.parquet"]


def test_nothing_is_left_where_saving_fails(tmp_path):
    with pytest.raises(TypeError):
        Explanation(rows(), {"saliency": {"baseline": object()}}).save(tmp_path / "explanation.parquet")
    assert not list(tmp_path.iterdir())


def test_methods_and_the_rows_of_one_forecast_are_found():
    other = rows(method="attention", date=pd.Timestamp("2020-01-03").as_unit("ms"))
    found = join([Explanation(rows()), Explanation(other), Explanation(rows(firm="B"))])
    assert found.methods == ("saliency", "attention")
    pd.testing.assert_frame_equal(found.of("2020-01-02", "A"), rows())
    assert (
        found.of("2020-01-03", "B").empty and found.of(np.datetime64("2020-01-03"), "A")["method"].eq("attention").all()
    )


@pytest.mark.parametrize(
    "table, message",
    [
        (rows().drop(columns="key"), "an explanation must have columns date, firm, .*, found .*'kind', 'score'"),
        (rows()[[*COLUMNS][::-1]], "an explanation must have columns date"),
        (rows(kind="peers"), "kind must be one of lag, peer, feature, reference, found 'peers'"),
        (rows(score=[0.1, np.nan, 0.2]), r"score must be a finite number, found nan \(row 1\)"),
        (rows(score=[0.1, 0.2, np.inf]), r"score must be a finite number, found inf \(row 2\)"),
        (rows(score="much"), r"score must be a finite number, found much \(row 0\)"),
    ],
)
def test_a_table_that_is_no_explanation_is_refused(table, message):
    with pytest.raises(InputError, match=message):
        Explanation(table)


def test_a_file_that_is_no_explanation_is_refused_by_its_name(tmp_path):
    (tmp_path / "text.parquet").write_text("date, firm")
    pq.write_table(pa.table({"score": [1.0]}), tmp_path / "plain.parquet")
    header = {b"finattn.explanation": b"{}"}
    pq.write_table(pa.table({"score": [1.0]}).replace_schema_metadata(header), tmp_path / "short.parquet")
    for name in ("text", "plain", "short", "absent"):
        with pytest.raises(InputError, match=f"{name}.parquet must be an explanation that finattn saved"):
            Explanation.load(tmp_path / f"{name}.parquet")


def test_joined_explanations_keep_how_each_was_made_and_the_worst_error():
    parts = [
        Explanation(rows(), {"ig": {"steps": 8, "completeness_error": 0.02}}),
        Explanation(rows(), {"shapley": {"samples": 5}}),
        Explanation(rows(), {"ig": {"steps": 8, "completeness_error": 0.01}}),
    ]
    found = join(parts)
    assert found.made == {"ig": {"steps": 8, "completeness_error": 0.02}, "shapley": {"samples": 5}}
    assert len(found.table) == 9 and found.table.index.is_unique
    assert parts[0].made["ig"]["completeness_error"] == 0.02


def test_explanations_made_in_different_ways_are_not_joined():
    parts = [Explanation(rows(), {"ig": {"steps": steps}}) for steps in (8, 16)]
    with pytest.raises(InputError, match="must be made alike, found 'ig' by {'steps': 8} and by {'steps': 16}"):
        join(parts)
    with pytest.raises(InputError, match="explanations to join must be at least one, found none"):
        join([])
