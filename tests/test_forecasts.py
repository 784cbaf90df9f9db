import dataclasses
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.errors import InputError
from finattn.forecasts import COLUMNS, Forecasts

SCALARS = {"horizon": 21, "delay": 1, "overlap": 0, "periods_per_year": 252.0}


def make_table(models=("zero", "ridge", "both"), seeds=(0, 1, 2), dates=4, firms=("C", "A", "B")) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-31", periods=dates, freq="ME").astype("datetime64[s]")
    realised = {(day, firm): 0.1 * rng.standard_normal() for day in days for firm in firms}
    rows = [
        (day, firm, model, 7, seed, rng.standard_normal(), 0.01 * rng.standard_normal(), realised[day, firm])
        for model in models
        for seed in (seeds if model == "both" else (0,))
        for day in days
        for firm in firms
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def make(table: pd.DataFrame | None = None, **changes) -> Forecasts:
    return Forecasts(make_table() if table is None else table, **(SCALARS | changes))


def test_columns_get_their_order_and_types_whatever_the_units():
    table = make_table()[list(COLUMNS)[::-1]].astype({"seed": "int64", "fold": "int8", "score": "float32"})
    found = make(table).table
    assert tuple(found.columns) == COLUMNS
    expected = ["datetime64[ms]", "int32", "int32", "float64", "float64", "float64"]
    assert [str(found[name].dtype) for name in COLUMNS if name not in ("firm", "model")] == expected


def test_models_come_in_order_of_appearance_and_seeds_in_order():
    forecasts = make(make_table(seeds=(5, 1, 3)))
    assert forecasts.models == ("zero", "ridge", "both")
    assert forecasts.seeds("both") == (1, 3, 5)
    assert forecasts.seeds("ridge") == (0,)


@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_any_kind_of_string_column_gives_the_same_forecasts(dtype):
    forecasts = make(make_table().astype({"firm": dtype, "model": dtype}))
    plain = make()
    assert forecasts.models == plain.models
    np.testing.assert_array_equal(forecasts.wide("both").score, plain.wide("both").score)


def test_the_table_given_is_not_changed():
    table = make_table().astype({"seed": "int64"})
    before = table.copy()
    make(table).average_seeds()
    pd.testing.assert_frame_equal(table, before)


def test_save_and_load_round_trip_and_equal_tables_give_equal_bytes(tmp_path):
    table = make_table()
    table.loc[table["date"] == table["date"].max(), "realised"] = np.nan
    forecasts = make(table)
    forecasts.save(tmp_path / "a.parquet")
    loaded = Forecasts.load(tmp_path / "a.parquet")
    loaded.save(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(loaded.table, forecasts.table)
    assert {name: getattr(loaded, name) for name in SCALARS} == SCALARS
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == len(table)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


@pytest.mark.parametrize("content", ["absent", "text", "foreign", "newer"])
def test_a_file_that_is_not_ours_is_refused(tmp_path, content):
    path = tmp_path / "f.parquet"
    if content == "text":
        path.write_text("date,firm\n")
    if content == "foreign":
        make_table().to_parquet(path)
    if content == "newer":
        header = {b"finattn.forecasts": json.dumps({"version": 99}).encode()}
        pq.write_table(pa.table({"date": [1]}).replace_schema_metadata(header), path)
    message = {
        "absent": "file of forecasts at .*f.parquet, found none",
        "text": "Parquet file at .*f.parquet",
        "foreign": "schema version 1 in .*found no header",
        "newer": "schema version 1 in .*found 99",
    }[content]
    with pytest.raises(InputError, match=message):
        Forecasts.load(path)


def test_averaging_seeds_gives_means_with_seed_minus_one():
    table = make_table()
    averaged = make(table).average_seeds()
    expected = table.groupby(["model", "date", "firm"])[["score", "prediction", "realised"]].mean()
    found = averaged.table.set_index(["model", "date", "firm"])[["score", "prediction", "realised"]].sort_index()
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-15)
    assert set(averaged.table["seed"]) == {-1} and set(averaged.table["fold"]) == {7}
    assert averaged.models == ("zero", "ridge", "both")
    again = averaged.average_seeds()
    pd.testing.assert_frame_equal(again.table, averaged.table)


def test_averaging_takes_the_seeds_that_a_firm_date_has():
    table = make_table(models=("both",), seeds=(0, 1))
    forecasts = make(table.drop(index=0))
    assert forecasts.average_seeds().table["score"].isin(table["score"]).sum() == 1
    first = table.iloc[0]
    other = table[(table["date"] == first["date"]) & (table["firm"] == first["firm"]) & (table["seed"] == 1)]
    assert forecasts.wide("both").score[0, 2] == other["score"].item()


@given(seed=st.integers(0, 10**6))
@settings(derandomize=True, deadline=None, max_examples=10)
def test_the_order_of_rows_does_not_matter_to_the_last_bit(seed):
    table = make_table()
    shuffled = table.sample(frac=1.0, random_state=seed)
    one, two = make(table), make(shuffled)
    for model in one.models:
        for a, b in zip(one.wide(model), two.wide(model), strict=True):
            np.testing.assert_array_equal(a, b)
    keys = ["model", "date", "firm"]
    pd.testing.assert_frame_equal(
        one.average_seeds().table.sort_values(keys, ignore_index=True),
        two.average_seeds().table.sort_values(keys, ignore_index=True),
    )


def test_wide_arrays_have_sorted_axes_common_to_all_models():
    table = make_table(models=("zero", "both"))
    lacking = table[(table["model"] == "zero") | (table["firm"] != "B")]
    forecasts = make(lacking)
    wide, other = forecasts.wide("both"), forecasts.wide("zero")
    assert wide.firms.tolist() == ["A", "B", "C"] == other.firms.tolist()
    assert wide.dates.dtype == "datetime64[D]" and (np.diff(wide.dates) > np.timedelta64(0)).all()
    for name in ("score", "prediction"):
        expected = lacking[lacking["model"] == "both"].pivot_table(index="date", columns="firm", values=name)
        np.testing.assert_allclose(getattr(wide, name)[:, [0, 2]], expected.to_numpy(), rtol=1e-15)
    assert np.isnan(wide.score[:, 1]).all() and np.isnan(wide.realised[:, 1]).all()
    assert not np.isnan(other.realised).any()


def test_an_unknown_model_is_refused():
    for call in (make().seeds, make().wide):
        with pytest.raises(InputError, match="one of the models zero, ridge, both, found 'lstm'"):
            call("lstm")


def test_fields_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().horizon = 5


FIRST = r"row 2, date 2020-01-31, firm 'B', model 'zero', seed 0"


def set_cell(column, value):
    def change(table):
        table = table.astype({column: object}) if isinstance(value, str | int) or value is None else table
        table.loc[2, column] = value
        return table

    return change


REFUSED = {
    "a list": (lambda t: [1], "expected a DataFrame, found list"),
    "missing column": (lambda t: t.drop(columns=["fold", "score"]), r"missing \['fold', 'score'\], unknown \[\]"),
    "unknown column": (lambda t: t.assign(sic=1), r"missing \[\], unknown \['sic'\]"),
    "repeated column": (lambda t: pd.concat([t, t["fold"]], axis=1), "expected the columns date, firm, .* found"),
    "no rows": (lambda t: t.iloc[:0], "at least one row, found none"),
    "date as text": (lambda t: t.assign(date=t["date"].astype(str)), "date as datetime64 without time zone, found"),
    "time zone": (lambda t: t.assign(date=t["date"].dt.tz_localize("UTC")), "without time zone, found .*UTC"),
    "missing date": (set_cell("date", pd.NaT), "every date, found one missing: row 2, date NaT, firm 'B'"),
    "time of day": (
        lambda t: t.assign(date=t["date"] + pd.Timedelta("16h")),
        "a date at midnight, found .*: row 0, date 2020-01-31",
    ),
    "firm as number": (lambda t: t.assign(firm=1), "firm as strings, found int64"),
    "one firm a number": (set_cell("firm", 10107), "firm as strings, found 10107: row 2"),
    "missing firm": (set_cell("firm", None), "every firm, found one missing: row 2, date 2020-01-31"),
    "missing model": (set_cell("model", None), "every model, found one missing: row 2"),
    "fractional fold": (lambda t: t.assign(fold=0.5), "fold as integers that fit 32 bits, found float64"),
    "long seed": (lambda t: t.assign(seed=2**40), "seed as integers that fit 32 bits"),
    "score as text": (lambda t: t.assign(score="high"), "score as float64, found"),
    "no score": (set_cell("score", np.nan), f"a finite score, found nan: {FIRST}"),
    "infinite prediction": (set_cell("prediction", -np.inf), f"a finite prediction, found -inf: {FIRST}"),
    "infinite outcome": (set_cell("realised", np.inf), f"at least -1 or NaN, found inf: {FIRST}"),
    "outcome below -1": (set_cell("realised", -1.5), f"at least -1 or NaN, found -1.5: {FIRST}"),
    "duplicates": (
        lambda t: pd.concat([t, t.iloc[[2]].assign(fold=8)], ignore_index=True),
        r"one row for each date, firm, model and seed, found 1 duplicates: row 60, date 2020-01-31, firm 'B'",
    ),
    "two outcomes": (set_cell("realised", 0.5), f"one realised return for a firm-date .* found 0.5 and .*: {FIRST}"),
    "an outcome known to one": (set_cell("realised", np.nan), "found nan and .*"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_tables_are_refused_saying_what_and_where(change, message):
    with pytest.raises(InputError, match=message):
        make(change(make_table()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 0}, "horizon: expected a whole number of at least 1, found 0"),
        ({"horizon": 5.0}, "horizon: expected a whole number"),
        ({"delay": -1}, "delay: expected a whole number of at least 0, found -1"),
        ({"overlap": True}, "overlap: expected a whole number"),
        ({"periods_per_year": 0}, "periods_per_year: expected a positive finite number, found 0"),
        ({"periods_per_year": float("nan")}, "periods_per_year: expected a positive finite number, found nan"),
    ],
)
def test_wrong_scalars_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        make(**change)
