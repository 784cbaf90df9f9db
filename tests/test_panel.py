"""A panel refuses what cannot be true, and is the same after every journey."""

import datetime
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.checks import AXES
from finattn.errors import InputError
from finattn.panel import Panel
from finattn.storage import atomic_folder

few = settings(max_examples=30, deadline=None, derandomize=True)
DATES = np.array(["2020-01-02", "2020-01-03", "2020-01-06"], "datetime64[D]")
RETURNS = np.array([[0.01, 0.02], [-0.03, 0.04], [0.0, np.nan]])
FEATURE = np.zeros((3, 2, 1))


def make(**fields) -> Panel:
    return Panel(**({"dates": DATES, "firms": ["A", "B"], "returns": RETURNS} | fields))


def full(**fields) -> Panel:
    return make(
        listed=[[True, True], [True, False], [True, False]],
        industry=[[2834, 6021], [2834, 0], [2836, 0]],
        features=np.arange(12.0).reshape(3, 2, 2),
        feature_names=("size", "value"),
        market_cap=np.full((3, 2), 1e9),
        price=[[1.0, 2.0], [np.nan, 2.0], [3.0, 0.0]],
        risk_free=[0.0, 1e-4, np.nan],
        factors=[[0.1, 0.2], [0.3, 0.4], [0.5, np.nan]],
        factor_names=("market", "size"),
        names=("Alpha", "Beta, Inc."),
        industry_as_of=True,
        periods_per_year=260,
        source={"name": "toy", "nested": {"a": [1, 2.5, None]}},
    ).replace(**fields)


def changed(array, place, value):
    array = np.array(array, dtype=float)
    array[place] = value
    return array


def assert_same(one: Panel, other: Panel) -> None:
    assert one.fingerprint == other.fingerprint
    assert (one.dates == other.dates).all() and (one.firms == other.firms).all()
    for name in AXES:
        before, after = getattr(one, name), getattr(other, name)
        assert (before is None) == (after is None), name
        if before is not None:
            assert before.dtype == after.dtype, name
            np.testing.assert_array_equal(before, after, err_msg=name)
    for name in ("names", "feature_names", "factor_names", "source", "industry_scheme", "industry_widths"):
        assert getattr(one, name) == getattr(other, name)
    assert (one.periods_per_year, one.industry_as_of) == (other.periods_per_year, other.industry_as_of)


# -- refusals ------------------------------------------------------------

REFUSALS = {
    "unsorted dates": (
        {"dates": DATES[[1, 0, 2]]},
        r"strictly increasing, found a step back: 2020-01-03 then 2020-01-02 \(rows 0, 1\)",
    ),
    "duplicate dates": (
        {"dates": DATES[[0, 1, 1]]},
        r"found a duplicate: 2020-01-03 then 2020-01-03 \(rows 1, 2\)",
    ),
    "text that is no date": ({"dates": ["2020-01-02", "x", "2020-01-06"]}, r"dates must be .*found 'x' in row 1"),
    "ambiguous dates": ({"dates": ["01/02/2020"] * 3}, r"like '2001-05-31', found '01/02/2020' in row 0"),
    "time of day": ({"dates": ["2020-01-02 16:00"] * 3}, r"whole days.*found '2020-01-02 16:00' in row 0"),
    "missing date": ({"dates": ["2020-01-02", None, "2020-01-06"]}, r"found 'None' in row 1"),
    "NaT": ({"dates": np.array(["2020-01-02", "NaT", "2020-01-06"], "M8[D]")}, "found NaT in row 1"),
    "empty date": ({"dates": ["2020-01-02", "", "2020-01-06"]}, "found '' in row 1"),
    "small integers as dates": ({"dates": [1, 2, 3]}, "found '1' in row 0"),
    "huge integers as dates": ({"dates": [2**70, 2**71, 2**72]}, f"found '{2**70}' in row 0"),
    "floats as dates": ({"dates": [20200102.0, 20200103.0, 20200106.0]}, "found '20200102.0' in row 0"),
    "time zone": ({"dates": pd.DatetimeIndex(DATES).tz_localize("UTC")}, "without a time zone, found time zone UTC"),
    "mixed time zones": (
        {"dates": ["2020-01-02T00:00+01:00", "2020-01-03T00:00+02:00", "2020-01-06"]},
        "dates must .*found",
    ),
    "a date alone": ({"dates": np.array("2020-01-02", "M8[D]")}, r"at least one date .*found \(\)"),
    "dates in a square": ({"dates": DATES[:, None]}, r"at least one date .*found \(3, 1\)"),
    "no dates": ({"dates": []}, r"at least one date and one firm, found \(0,\) and \(2,\)"),
    "no firms": ({"firms": [], "returns": np.zeros((3, 0))}, r"one firm, found \(3,\) and \(0,\)"),
    "duplicate firms": ({"firms": ["A", "A"]}, r"firms must be unique, found 1 duplicates: A \(columns 0, 1\)"),
    "empty firm": ({"firms": ["A", ""]}, r"identifier, found an empty one \(column 1\)"),
    "no firm": ({"firms": ["A", None]}, r"firms must be text or integers, found None \(column 1\)"),
    "NaN firm": ({"firms": ["A", np.nan]}, r"found nan \(column 1\)"),
    "bytes as firms": ({"firms": [b"A", b"B"]}, r"found b'A' \(column 0\)"),
    "one text as firms": ({"firms": "AB"}, "a sequence of identifiers, found 'AB'"),
    "half a character": ({"firms": ["A", "\ud800"]}, r"valid Unicode, found '\\ud800'"),
    "returns missing": ({"returns": None}, r"returns must have shape \[t n\] = \(3, 2\), found None"),
    "returns turned": ({"returns": RETURNS.T}, r"returns must have shape \[t n\] = \(3, 2\), found \(2, 3\)"),
    "returns ragged": ({"returns": [[1], [1, 2]]}, "returns must be an array of numbers"),
    "returns of text": ({"returns": [["a", "b"]] * 3}, "returns must be an array of numbers, .*'a'"),
    "returns of dates": ({"returns": np.zeros((3, 2), "M8[D]")}, r"returns must be .*numbers, found .*datetime64"),
    "complex returns": ({"returns": RETURNS + 0j}, "returns must be an array of numbers, found one of complex128"),
    "infinite return": (
        {"returns": changed(RETURNS, (1, 0), np.inf)},
        "returns must be finite or NaN, found inf at 2020-01-03, firm A",
    ),
    "return below -1": (
        {"returns": changed(RETURNS, (1, 1), -1.5)},
        "returns must be at least -1, found -1.5 at 2020-01-03, firm B",
    ),
    "percent": ({"returns": RETURNS * 100}, "fractions.*found a median absolute return of 2: .*percent"),
    "listed in words": ({"listed": [["yes", "no"]] * 3}, r"true or false, found 'yes' at \(0, 0\)"),
    "listed twice": ({"listed": np.full((3, 2), 2)}, "true or false, found '2'"),
    "listed unknown": ({"listed": np.full((3, 2), np.nan)}, "true or false, found 'nan'"),
    "listed of another shape": ({"listed": [True, True]}, r"listed must have shape \[t n\] = \(3, 2\), found \(2,\)"),
    "code too large": ({"industry": np.full((3, 2), 2**31)}, r"to 2147483647, found 2147483648 at \(0, 0\)"),
    "unsigned code too large": ({"industry": np.full((3, 2), 2**64 - 1, "u8")}, f"found {2**64 - 1}"),
    "code of any size": ({"industry": np.full((3, 2), 2**70, object)}, f"found {2**70}"),
    "negative code": ({"industry": np.full((3, 2), -1)}, r"from 0 \(unknown\) to \d+, found -1"),
    "negative 32-bit code": ({"industry": np.full((3, 2), -1, np.int32)}, "found -1"),
    "fractional code": ({"industry": np.full((3, 2), 0.5)}, "integer codes.*found 0.5"),
    "missing code": ({"industry": np.full((3, 2), np.nan)}, "integer codes.*found nan"),
    "code in words": ({"industry": [["oil", "gas"]] * 3}, r"integer codes.*found oil at \(0, 0\)"),
    "codes ragged": ({"industry": [[1], [1, 2]]}, "industry must be an array"),
    "features without names": ({"features": FEATURE}, r"features must have shape \[t n f\] = \(3, 2, 0\)"),
    "names without features": ({"feature_names": ["a"]}, r"\(3, 2, 1\), found \(3, 2, 0\)"),
    "feature called return": ({"features": FEATURE, "feature_names": ["return"]}, "panel fields, found 'return'"),
    "feature called factor:x": ({"features": FEATURE, "feature_names": ["factor:x"]}, "panel fields, found 'fac"),
    "feature named by a number": ({"features": FEATURE, "feature_names": [1]}, "feature_names must be text, found 1"),
    "feature names as one text": ({"features": FEATURE, "feature_names": "a"}, "sequence of names, found 'a'"),
    "feature names twice": (
        {"features": np.zeros((3, 2, 2)), "feature_names": ["a", "a"]},
        r"feature_names must be unique, found \['a', 'a'\]",
    ),
    "infinite feature": (
        {"features": changed(FEATURE, (2, 1, 0), -np.inf), "feature_names": ["a"]},
        "features must be finite or NaN, found -inf at 2020-01-06, firm B, feature a",
    ),
    "negative size": ({"market_cap": -np.ones((3, 2))}, "market_cap must not be negative, found -1.0 at 2020-01-02"),
    "infinite price": ({"price": np.full((3, 2), np.inf)}, "price must be finite or NaN, found inf"),
    "risk-free of another shape": ({"risk_free": RETURNS}, r"risk_free must have shape \[t\] = \(3,\)"),
    "infinite risk-free": ({"risk_free": [0, 0, np.inf]}, "risk_free must be finite or NaN, found inf at 2020-01-06"),
    "infinite factor": (
        {"factors": changed(np.zeros((3, 4)), (1, 3), np.inf), "factor_names": list("abcd")},
        "factors must be finite or NaN, found inf at 2020-01-03, factor d",
    ),
    "factor names alone": ({"factor_names": ["a"]}, r"given together, found names \('a',\)"),
    "too few names": ({"names": ["x"]}, "one for each of the 2 firms, found 1"),
    "a firm's name missing": ({"names": ["x", None]}, "names must be text, found None"),
    "unknown scheme": ({"industry_scheme": "naics"}, "one of sic, gics, custom, found 'naics'"),
    "custom without widths": ({"industry_scheme": "custom"}, "industry_widths go with the custom scheme"),
    "widths without custom": ({"industry_widths": (4, 2)}, "industry_widths go with the custom scheme"),
    "widths that rise": ({"industry_scheme": "custom", "industry_widths": (2, 4)}, r"must fall .*found \(2, 4\)"),
    "widths in words": ({"industry_scheme": "custom", "industry_widths": ("4",)}, r"integers, found \('4',\)"),
    "no flag": ({"industry_as_of": "no"}, "industry_as_of must be true or false, found 'no'"),
    "no periods": ({"periods_per_year": 0}, "periods_per_year must be a positive integer, found 0"),
    "half periods": ({"periods_per_year": 252.0}, "positive integer, found 252.0"),
    "source with an object": ({"source": {"a": object()}}, "source must hold what JSON can hold"),
    "source with NaN": ({"source": {"a": np.nan}}, "source must hold what JSON can hold"),
    "no source": ({"source": None}, "source must hold what JSON can hold"),
}


@pytest.mark.parametrize("fields, message", REFUSALS.values(), ids=REFUSALS.keys())
def test_refuses_and_says_what_was_expected_found_and_where(fields, message):
    with pytest.raises(InputError, match=message):
        make(**fields)


def test_several_returns_below_minus_one_are_counted():
    returns = np.full((3, 4), 0.01)
    returns[1, :3] = -1.2
    with pytest.raises(InputError, match="found -1.2 at 2020-01-03, firm A and in 2 more places"):
        make(firms=list("ABCD"), returns=returns)


@pytest.mark.parametrize(
    "fields",
    [
        {"returns": np.full((3, 2), np.nan)},  # a listed firm-day with no return is allowed as NaN
        {"returns": np.full((3, 2), -1.0) * [[1, 0], [0, 0], [0, 0]]},
        {"dates": [20200102, 20200103, 20200106]},
        {"dates": pd.Categorical(["2020-01-02", "2020-01-03", "2020-01-06"])},
        {"dates": [datetime.date(2020, 1, 2), datetime.date(2020, 1, 3), datetime.date(2020, 1, 6)]},
        {"dates": ["1066-10-14", "1900-01-01", "2999-01-01"]},
        {"firms": pd.Index(["A", "B"])},
        {"industry": np.asfortranarray(np.full((3, 2), 2834, np.uint16))},
        {"listed": np.ones((3, 2), object)},
        {"features": FEATURE[::-1], "feature_names": np.array(["a"])},
        {"industry_scheme": "custom", "industry_widths": np.array([4, 2]), "industry_as_of": np.True_},
        {"periods_per_year": np.int64(12)},
    ],
)
def test_accepts_other_types_of_the_same_content(fields):
    panel = make(**fields)
    assert panel.dates.dtype == "datetime64[D]" and panel.firms.dtype.kind == "U"
    assert panel.returns.dtype == np.float64 and panel.industry.dtype == np.int32 and panel.listed.dtype == bool
    assert len(panel.fingerprint) == 64


def test_integer_identifiers_become_text():
    assert make(firms=[10001, np.int64(7)]).firms.tolist() == ["10001", "7"]


def test_masked_entries_are_missing():
    panel = make(returns=np.ma.masked_array(RETURNS, np.eye(3, 2, dtype=bool)))
    assert np.isnan(panel.returns[0, 0]) and panel.returns[0, 1] == 0.02


def test_features_stay_float32():
    assert make(features=FEATURE.astype(np.float32), feature_names=["a"]).features.dtype == np.float32
    assert make(features=FEATURE.astype(np.float16), feature_names=["a"]).features.dtype == np.float64


# -- slices ------------------------------------------------------------


def test_arrays_are_read_only_and_fields_are_frozen():
    panel = full()
    for name in ("dates", "firms", *AXES):
        value = getattr(panel, name)
        if value is not None:
            with pytest.raises(ValueError, match="read-only"):
                value[0] = value[0]
    with pytest.raises(AttributeError):
        panel.returns = RETURNS


def test_slices_of_dates_and_firms_are_views():
    panel = full()
    for cut in (panel[1:], panel["2020-01-03":], panel[:, 1:], panel[1:, ::-1], panel[::2]):
        for name in AXES:
            if getattr(panel, name) is not None:
                assert np.shares_memory(getattr(cut, name), getattr(panel, name)), name
                assert not getattr(cut, name).flags.writeable


def test_a_slice_equals_a_panel_built_of_the_part():
    part = full()[1:, ["B"]]
    whole = full()
    fields = {name: getattr(whole, name) for name in AXES if getattr(whole, name) is not None}
    cut = {k: v[1:] if k in ("risk_free", "factors") else v[1:, 1:] for k, v in fields.items()}
    assert_same(part, whole.replace(dates=whole.dates[1:], firms=["B"], names=("Beta, Inc.",), **cut))


@pytest.mark.parametrize(
    "key, days",
    [
        (slice("2020-01-03", None), 2),
        (slice(None, "2020-01-03"), 2),
        (slice("2020-01-03", "2020-01-05"), 1),
        (slice("2020", "2020"), 3),
        (slice("2019", "2020-01"), 3),
        (slice("20200106", None), 1),
        (slice(datetime.date(2020, 1, 3), pd.Timestamp("2020-01-06 10:00")), 2),
        (slice(np.datetime64("2020-01-06"), None), 1),
        (slice("2021", None), 0),
        (slice("2020-01-06", "2020-01-02"), 0),
        (slice(np.int64(1), None), 2),
        (slice(-1, None), 1),
    ],
)
def test_days_cut_with_both_ends_inside(key, days):
    assert len(make()[key]) == days


@pytest.mark.parametrize(
    "key", [0, [0], slice(None, None, -1), slice("2020", None, 2), slice("x", None), slice("", None)]
)
def test_refuses_what_does_not_cut_dates(key):
    with pytest.raises(InputError, match="found"):
        make()[key]


@pytest.mark.parametrize(
    "edge", ["01/02/2020", "2020-13-01", "2020-02-30", "99999", pd.NaT, np.datetime64("NaT"), 1.5, "2020Q1", "2020-1-2"]
)
def test_refuses_days_that_could_be_read_in_two_ways(edge):
    with pytest.raises(InputError, match="a day must read like '2001-05-31'.*found"):
        make()[edge:]
    with pytest.raises(InputError, match="a day must read like"):
        make()["2020":5]


@pytest.mark.parametrize(
    "key, firms",
    [
        (["B", "A"], "BA"),
        (np.array(["B"], object), "B"),
        (pd.Index(["B"]), "B"),
        ([1, 0], "BA"),
        ([-1], "B"),
        ([True, False], "A"),
        (slice(None, None, -1), "BA"),
        (np.array([1], np.uint8), "B"),
    ],
)
def test_cuts_firms(key, firms):
    panel = full()[:, key]
    assert panel.firms.tolist() == list(firms)
    assert panel.names == tuple({"A": "Alpha", "B": "Beta, Inc."}[firm] for firm in firms)
    assert panel.features.shape == (3, len(firms), 2)


@pytest.mark.parametrize(
    "key",
    [
        "A",
        0,
        ["A", "A"],
        [0, 0],
        [1, -1],
        [],
        [5],
        [0.5],
        [True],
        None,
        [[0, 1]],
        slice("A", "B"),
        slice(None, None, 0),
    ],
)
def test_refuses_what_does_not_cut_firms(key):
    with pytest.raises(InputError, match="firms must be cut by .*the panel's 2, found"):
        make()[:, key]


def test_refuses_firms_that_are_not_there():
    with pytest.raises(InputError, match="among the panel's 2, found 'C', 'D'"):
        make()[:, ["A", "C", "D"]]


def test_replace_validates_again():
    with pytest.raises(InputError, match="at least -1"):
        make().replace(returns=changed(RETURNS, (1, 1), -1.5))


# -- fingerprint ------------------------------------------------------------

CHANGES = [
    {"returns": changed(RETURNS, (0, 0), 0.011)},
    {"returns": changed(RETURNS, (2, 1), 0.0)},
    {"dates": DATES + 1},
    {"firms": ["A", "C"]},
    {"listed": np.zeros((3, 2), bool)},
    {"industry": np.full((3, 2), 1)},
    {"names": ("Alpha", "Gamma")},
    {"names": None},
    {"source": {}},
    {"price": None},
    {"industry_as_of": False},
    {"periods_per_year": 252},
    {"feature_names": ("value", "size")},
    {"factors": None, "factor_names": ()},
]


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_changes_with_any_content(change):
    assert full().replace(**change).fingerprint != full().fingerprint


def test_fingerprint_depends_on_content_only():
    panel = full()
    scattered = panel.replace(returns=np.asfortranarray(np.repeat(panel.returns, 2, axis=1)[:, ::2]))
    assert scattered.fingerprint == panel.fingerprint
    assert panel[:2].fingerprint == panel[:2].replace().fingerprint
    long = make(firms=["A", "a much longer identifier"])[:, ["A"]]
    assert long.fingerprint == make(firms=["A", "B"])[:, ["A"]].fingerprint


def test_the_sign_of_nan_and_of_zero_is_no_content():
    other = np.where(np.isnan(RETURNS), -np.float64(np.nan), np.where(RETURNS == 0, -0.0, RETURNS))
    assert other.tobytes() != RETURNS.tobytes()
    assert make(returns=other).fingerprint == make().fingerprint


# -- journeys ------------------------------------------------------------

identifiers = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)


@st.composite
def panels(draw) -> Panel:
    firms = draw(st.lists(identifiers, min_size=1, max_size=4, unique=True))
    days = draw(st.lists(st.integers(-40_000, 60_000), min_size=1, max_size=5, unique=True))
    shape = (len(days), len(firms))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def level(*more: int) -> np.ndarray:
        values = np.abs(random.standard_normal((*shape, *more)))
        values[random.random(values.shape) < draw(st.sampled_from([0.0, 0.5, 1.0]))] = np.nan
        return values

    def maybe(value):
        return value if draw(st.booleans()) else None

    features = draw(st.lists(identifiers.map("f-".__add__), max_size=3, unique=True))
    factors = draw(st.lists(identifiers, max_size=2, unique=True))
    return Panel(
        dates=np.sort(np.array(days, "datetime64[D]")),
        firms=firms,
        returns=level() * 0.1 - 0.05,
        listed=random.random(shape) < draw(st.sampled_from([0.0, 0.5, 1.0])),
        industry=maybe(random.integers(0, 2**31, shape) * (random.random(shape) < 0.5)),
        features=level(len(features)).astype(draw(st.sampled_from([np.float32, np.float64]))),
        feature_names=features,
        market_cap=maybe(level()),
        dollar_volume=maybe(level()),
        price=maybe(level()),
        risk_free=maybe(random.standard_normal(shape[0])),
        factors=random.standard_normal((shape[0], len(factors))) if factors else None,
        factor_names=factors,
        names=maybe([draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)) for _ in firms]),
        industry_scheme="custom" if (custom := draw(st.booleans())) else "gics",
        industry_widths=(6, 3) if custom else (),
        industry_as_of=draw(st.booleans()),
        periods_per_year=draw(st.integers(1, 400)),
        source=draw(st.dictionaries(st.text(max_size=3), st.lists(st.none() | st.booleans() | st.text(max_size=3)))),
    )


@few
@given(panels())
def test_a_frame_brings_back_the_panel(panel):
    assert_same(Panel.from_frame(panel.to_frame()), panel)


@few
@given(panels(), st.randoms())
def test_rows_may_come_in_any_order(panel, random):
    frame = panel.to_frame()
    order = list(range(len(frame)))
    random.shuffle(order)
    assert_same(Panel.from_frame(frame.iloc[order]), panel)


@few
@given(panels())
def test_saved_files_bring_back_the_panel(panel):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = panel.save(f"{folder}/panel")
        assert_same(Panel.load(path), panel)
        assert json.loads((path / "panel.json").read_text())["fingerprint"] == panel.fingerprint


def test_a_cut_of_nothing_has_a_frame_of_no_rows():
    assert full()[:0].to_frame().empty


def test_a_loaded_panel_is_memory_mapped_read_only_and_saves_over_itself(tmp_path):
    panel = Panel.load(full().save(tmp_path / "panel"))
    for name in AXES:
        value = getattr(panel, name)
        if value is not None:
            assert isinstance(value, np.memmap) and not value.flags.writeable
    panel[1:].save(tmp_path / "panel")
    assert_same(Panel.load(tmp_path / "panel"), full()[1:])
    assert [file.name for file in tmp_path.iterdir()] == ["panel"]


def test_save_replaces_all_of_an_earlier_panel(tmp_path):
    full().save(tmp_path / "panel")
    make().save(tmp_path / "panel")
    assert_same(Panel.load(tmp_path / "panel"), make())
    assert not (tmp_path / "panel" / "price.npy").exists()


def test_a_save_that_fails_leaves_the_old_panel(tmp_path, monkeypatch):
    full().save(tmp_path / "panel")
    calls = []

    def fail(file, value, **options):
        calls.append(file)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        make().save(tmp_path / "panel")
    assert_same(Panel.load(tmp_path / "panel"), full())
    assert [file.name for file in tmp_path.iterdir()] == ["panel"]


def test_a_half_written_folder_is_no_panel(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "panel") as folder:
        np.save(folder / "returns.npy", RETURNS)
        raise RuntimeError
    with pytest.raises(InputError, match="readable panel.json, found none"):
        Panel.load(tmp_path / "panel")


def header(**changes):
    def change(folder):
        file = folder / "panel.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def truncate(folder):
    file = folder / "returns.npy"
    file.write_bytes(file.read_bytes()[:-8])


CORRUPTIONS = {
    "objects": (lambda f: np.save(f / "returns.npy", np.full((3, 2), None)), "returns.npy: must be a whole .npy file"),
    "pickle": (lambda f: (f / "price.npy").write_bytes(pickle.dumps([1])), "price.npy: must be a whole .npy file"),
    "truncated": (truncate, "returns.npy: must be a whole .npy file"),
    "empty": (lambda f: (f / "listed.npy").write_bytes(b""), "listed.npy: must be a whole .npy file"),
    "no array": (lambda f: (f / "returns.npy").unlink(), "must have returns.npy, found none"),
    "folder": (lambda f: ((f / "price.npy").unlink(), (f / "price.npy").mkdir()), "price.npy: must be a whole"),
    "another type": (lambda f: np.save(f / "returns.npy", RETURNS.astype("f4")), "must hold f8, found float32"),
    "firms as numbers": (lambda f: np.save(f / "firms.npy", np.arange(2)), "firms.npy: must hold U, found int64"),
    "another shape": (lambda f: np.save(f / "returns.npy", RETURNS[1:]), r"\(3, 2\), found \(2, 2\)"),
    "dates back": (lambda f: np.save(f / "dates.npy", DATES[::-1]), "strictly increasing"),
    "no header": (lambda f: (f / "panel.json").unlink(), "readable panel.json, found none"),
    "half a header": (lambda f: (f / "panel.json").write_text('{"schema'), "readable panel.json, found none"),
    "a list": (lambda f: (f / "panel.json").write_text("[1]"), "schema_version must be 1, found None"),
    "of the future": (header(schema_version=2), "panel.json: schema_version must be 1, found 2"),
    "few keys": (lambda f: (f / "panel.json").write_text('{"schema_version": 1}'), "found no feature_names"),
    "names no list": (header(names=5), "panel.json: names must be a sequence of names, found 5"),
    "fewer names": (header(names=["x"]), "one for each of the 2 firms, found 1"),
    "feature lost": (header(feature_names=["a"]), r"\(3, 2, 1\), found \(3, 2, 2\)"),
    "unknown scheme": (header(industry_scheme="x"), "panel.json: industry_scheme must be one of"),
}  # fmt: skip


@pytest.mark.parametrize("damage, message", CORRUPTIONS.values(), ids=CORRUPTIONS.keys())
def test_a_damaged_folder_is_refused(tmp_path, damage, message):
    damage(full().save(tmp_path / "panel"))
    with pytest.raises(InputError, match=message) as caught:
        Panel.load(tmp_path / "panel")
    assert str(tmp_path) in str(caught.value)


# -- long frames ------------------------------------------------------------


def long(**columns) -> pd.DataFrame:
    day = ["2020-01-02", "2020-01-02", "2020-01-03"]
    return pd.DataFrame({"date": day, "firm": ["B", "A", "B"], "return": [0.01, 0.02, 0.03]} | columns)


def test_an_empty_industry_is_the_unknown_code():
    assert Panel.from_frame(long(industry=[1, None, 2])).industry.tolist() == [[0, 1], [0, 2]]


def test_a_firm_date_without_a_row_is_not_listed():
    panel = Panel.from_frame(long())
    assert panel.listed.tolist() == [[True, True], [False, True]]
    assert np.isnan(panel.returns[1, 0]) and panel.firms.tolist() == ["A", "B"]


def test_a_categorical_gives_the_order_of_firms_and_unused_categories_are_no_firms():
    firm = pd.Categorical(["B", "A", "B"], categories=["Z", "B", "A"])
    assert Panel.from_frame(long(firm=firm)).firms.tolist() == ["B", "A"]


def test_whole_numbers_held_as_floats_are_identifiers_without_a_point():
    assert Panel.from_frame(long(firm=[10001.0, 7.0, 10001.0])).firms.tolist() == ["10001", "7"]


def test_fields_that_a_lost_attrs_held_have_their_defaults_and_keywords_go_before_attrs():
    frame = full().to_frame()
    assert Panel.from_frame(frame, periods_per_year=12).periods_per_year == 12
    frame.attrs = {}
    panel = Panel.from_frame(frame)
    assert (panel.periods_per_year, panel.source, panel.factor_names) == (252, {}, ("market", "size"))


def test_dropped_columns_take_their_names_with_them():
    frame = full().to_frame().drop(columns=["factor:market", "factor:size", "name", "size"])
    panel = Panel.from_frame(frame)
    assert (panel.factors, panel.names, panel.feature_names) == (None, None, ("value",))


def test_a_firm_without_a_name_is_called_by_its_identifier():
    assert Panel.from_frame(long(name=["Beta", None, "Beta"])).names == ("A", "Beta")


def test_nullable_and_categorical_columns_are_read():
    frame = long(
        **{"return": pd.array([0.1, None, 0.2], "Float64")},
        listed=pd.array([True, True, False], "boolean"),
        industry=pd.Categorical(["2834", "1", "2"]),
        size=np.array([1, 2, 3], np.uint8),
    )
    panel = Panel.from_frame(frame)
    assert np.isnan(panel.returns[0, 0]) and panel.industry[0].tolist() == [1, 2834] and not panel.listed[1, 1]
    assert panel.features[:, 1, 0].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("columns, dtype", [({"a": "f4"}, "f4"), ({"a": "f4", "b": "f8"}, "f8"), ({"a": "i4"}, "f8")])
def test_features_are_float32_where_all_columns_are(columns, dtype):
    frame = long(**{name: np.ones(3, kind) for name, kind in columns.items()})
    assert Panel.from_frame(frame).features.dtype == dtype


FRAMES = {
    "no rows": (long().iloc[:0], "at least one row, found none"),
    "no return": (long().drop(columns="return"), "found no return"),
    "duplicate column": (pd.concat([long(), long()[["return"]]], axis=1), "unique, found more than one 'return'"),
    "two levels": (pd.concat({"x": long()}, axis=1), "named by text, found .'x', 'date'."),
    "numbered column": (long(x=1.0).rename(columns={"x": 5}), "named by text, found 5"),
    "duplicate": (
        long(firm=["A", "A", "A"]),
        r"firm-dates must be unique, found 1 duplicates: A on 2020-01-02 \(rows 0, 1\)",
    ),
    "no firm": (long(firm=["A", None, "A"]), "firm must be given in every row, found none in row 1"),
    "empty firm": (long(firm=["A", "", "A"]), "found an empty one"),
    "bytes": (long(firm=[b"A", b"B", b"A"]), "firms must be text or integers, found b'A'"),
    "clashing categories": (long(firm=pd.Categorical([1, "1", 2])), "firms must be unique, found 1 duplicates: 1"),
    "half a character": (long(firm=pd.Series(["A", "\ud800", "A"], dtype=object)), "valid Unicode"),
    "text": (long(**{"return": [0.1, "C", 0.2]}), "column 'return' must be numeric, found 'C' in row 1"),
    "dates": (long(**{"return": pd.to_datetime(["2020"] * 3)}), "column 'return' must be numeric, found datetime64"),
    "complex": (long(**{"return": [1j, 0, 0]}), "column 'return' must be numeric, found complex128"),
    "lists": (long(x=[[1], [2], [3]]), r"column 'x' must be numeric, found \[1\] in row 0"),
    "a text feature": (long(ticker=["x", "y", "z"]), "column 'ticker' must be numeric, found 'x' in row 0"),
    "listed unknown": (long(listed=pd.array([True, None, True], "boolean")), "found '<NA>' at row 1"),
    "two names": (long(name=["x", "y", "z"]), r"same in all rows of a firm, found x and z for B \(row 0\)"),
    "two rates": (long(risk_free=[0.1, 0.2, 0.1]), r"same in all rows of a date, found 0.1 and 0.2 for 2020-01-02"),
    "half a rate": (long(risk_free=[0.1, None, 0.1]), "risk_free must be the same"),
    "percent": (long(**{"return": [1.0, 2.0, 3.0]}), "look like percent"),
    "time zone": (long(date=pd.to_datetime(long()["date"]).dt.tz_localize("UTC")), "without a time zone"),
}


@pytest.mark.parametrize("frame, message", FRAMES.values(), ids=FRAMES.keys())
def test_a_long_frame_is_refused(frame, message):
    with pytest.raises(InputError, match=message):
        Panel.from_frame(frame)
