"""A configuration refuses what cannot be, and says what is nearest."""

import dataclasses
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from finattn.config import (
    BaselinesConfig,
    DataConfig,
    LadderConfig,
    ModelConfig,
    PortfolioConfig,
    RunConfig,
    SplitsConfig,
    TargetConfig,
    TrainingConfig,
    standing,
)
from finattn.config_file import describe_unknown_key, read_yaml, to_yaml, unknown_keys
from finattn.errors import InputError

NAN, INF = float("nan"), float("inf")
SECTIONS = {
    "data": DataConfig,
    "target": TargetConfig,
    "splits": SplitsConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "baselines": BaselinesConfig,
    "portfolio": PortfolioConfig,
    "ladder": LadderConfig,
}


@pytest.mark.parametrize(
    "kind, field, values, expected",
    [
        (TargetConfig, "horizon", [0, -1], "at least 1"),
        (TargetConfig, "delay", [2, -1], "0 or 1"),
        (TargetConfig, "missing_delisting_return", [-1.01, 0.01, NAN], "between -1 and 0"),
        (SplitsConfig, "embargo", [-1], "at least 0"),
        (SplitsConfig, "train_every", [0, -5], "at least 1"),
        (DataConfig, "sector_features", [0, 11], "one of 5, 10, 12, 17, 30, 38, 48, 49 or none"),
        (ModelConfig, "width", [0], "at least 1"),
        (ModelConfig, "width", [33], "divisible by model.heads = 2"),
        (ModelConfig, "width", [34], "even in each head for rotary positions"),
        (ModelConfig, "heads", [0], "at least 1"),
        (ModelConfig, "feed_forward", [-1], "at least 0"),
        (ModelConfig, "industry_level", [-1], "at least 0"),
        (ModelConfig, "key_width", [-2], "at least 1"),
        (ModelConfig, "value_width", [-1], "at least 1"),
        (ModelConfig, "temperature", [0.0, -1.0, INF, NAN], "finite and above 0"),
        (ModelConfig, "positions", ["sinusoidal", "learned"], "one of rotary, linear_bias, none"),
        (ModelConfig, "norm", ["batch"], "one of pre, post, none"),
        (ModelConfig, "activation", ["tanh"], "one of gelu, relu, gated"),
        (ModelConfig, "lookback", [0], "at least 1"),
        (ModelConfig, "dropout", [1, -0.1, NAN], "at least 0 and below 1"),
        *((TrainingConfig, name, [0], "at least 1") for name in ("epochs", "minimum_epochs", "patience", "smoothing")),
        (TrainingConfig, "block", [0], "at least 1"),
        (TrainingConfig, "learning_rate", [0.0, -1.0, NAN, INF], "finite and above 0"),
        (TrainingConfig, "weight_decay", [-1e-3, NAN, INF], "finite, at least 0"),
        (TrainingConfig, "threads", [-1, 10**9], "from 0 to 1024"),
        (TrainingConfig, "seeds", [(), (1, 1), (0, -1)], "distinct, none negative"),
        (BaselinesConfig, "ridge_strengths", [(), (0.0,), (1.0, NAN), (INF,)], "not empty, all finite and above 0"),
        (BaselinesConfig, "peer_windows", [(), (0,), (5, -1)], "not empty, all finite and above 0"),
        (BaselinesConfig, "bandwidths", [(), (NAN, 1.0)], "not empty, all finite and above 0"),
        (BaselinesConfig, "ridge_lookback", [0], "at least 1"),
        (BaselinesConfig, "minimum_peers", [0], "at least 1"),
        (PortfolioConfig, "quantiles", [1], "at least 2"),
        (PortfolioConfig, "cost", [-0.1, 1.0, NAN], "at least 0 and below 1"),
    ],
)
def test_refuses_a_value_with_its_key_what_was_expected_and_what_was_found(kind, field, values, expected):
    section = next(name for name, other in SECTIONS.items() if other is kind)
    for value in values:
        with pytest.raises(InputError) as caught:
            kind(**{field: value})
        assert str(caught.value) == f"{section}.{field} must be {expected}, found {value!r}"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TargetConfig(horizon="5"), "target.horizon must be a whole number, found '5'"),
        (lambda: ModelConfig(lookback=2.5), "model.lookback must be a whole number, found 2.5"),
        (lambda: ModelConfig(heads=True), "model.heads must be a whole number, found True"),
        (lambda: ModelConfig(key_width="3"), "model.key_width must be a whole number or none, found '3'"),
        (lambda: TrainingConfig(seeds=0), "training.seeds must be a list of a whole number, found 0"),
        (lambda: TrainingConfig(learning_rate="quick"), "training.learning_rate must be a number, found 'quick'"),
        (lambda: DataConfig(columns={"x": 5}), "data.columns must be a mapping of text to text, found {'x': 5}"),
        (lambda: DataConfig(use=None), "data.use must be a list of text, found None"),
        (lambda: DataConfig(thin_dates="x"), "data.thin_dates must be a number, found 'x'"),
        (lambda: DataConfig(sector_features=12.0), "data.sector_features must be a whole number or none, found 12.0"),
        (lambda: DataConfig(reports=3), "data.reports must be a mapping of its keys, found 3"),
        (lambda: DataConfig(industry_as_of="no"), "data.industry_as_of must be true or false, found 'no'"),
        (lambda: RunConfig(headline=("a",)), r"headline must be a list of text and text, found \('a',\)"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_numbers_of_numpy_and_paths_are_taken():
    assert TargetConfig(horizon=np.int64(5)).horizon == 5 and ModelConfig(dropout=np.float32(0.5)).dropout == 0.5
    assert DataConfig("file", Path("a.csv")).path == "a.csv" and DataConfig(start=2020).start == 2020


def test_without_rotary_positions_a_head_may_be_odd():
    assert ModelConfig(width=34, positions="none").width == 34


def test_the_normaliser_is_one_of_a_list():
    with pytest.raises(InputError, match="model.normaliser must be one of softmax, sparsemax, .* found 'max'"):
        ModelConfig(normaliser="max")


@pytest.mark.parametrize("fields", [{"positions": "linear_bias"}, {"temperature": 0.5}])
@pytest.mark.parametrize("normaliser", ["linear", "identity"])
def test_linear_attention_has_no_scores_to_change(normaliser, fields):
    with pytest.raises(InputError, match=f"must be with scores where there are linear_bias .*, found '{normaliser}'"):
        ModelConfig(normaliser=normaliser, **fields)


def test_a_run_refuses_rotary_positions_under_the_positive_feature_map_along_time():
    with pytest.raises(InputError, match="model.positions must be 'none' for blocks along time .*, found 'rotary'"):
        RunConfig(model=ModelConfig(normaliser="linear"))
    assert RunConfig(model=ModelConfig(normaliser="linear", positions="none")).model.relative
    assert RunConfig(model=ModelConfig(normaliser="identity")).model.relative


def test_a_head_has_the_width_that_it_is_given():
    assert ModelConfig(width=32, heads=2).head_width == 16
    assert ModelConfig(width=10, heads=4, key_width=6, value_width=3).head_width == 6


@pytest.mark.parametrize("fields", [{"source": "file"}, {"source": "panel"}, {"source": "sample", "path": "x"}])
def test_a_path_belongs_to_a_file(fields):
    with pytest.raises(InputError, match="data.path must be given for source 'file' or 'panel' and only then, found"):
        DataConfig(**fields)


@pytest.mark.parametrize(
    "fields, message",
    [
        *(({"name": name}, f"a plain folder name of letters.*found '{name}'") for name in ("", ".", "..", "a/b", "a/")),
        ({"forecasters": ("ridge", "rigde")}, "forecasters must be among zero, .*, both, found 'rigde'"),
        ({"forecasters": ()}, "forecasters must be distinct and not empty"),
        ({"forecasters": ("zero", "zero")}, "forecasters must be distinct"),
        ({"attention": {"time": ()}, "forecasters": ("time",)}, r"attention.time must be a list of 'time', 'firm' and"),
        ({"attention": {"a": ("time", "frim")}, "forecasters": ("a",)}, r"attention.a must be .*'frim'"),
        ({"attention": {"ridge": ("time",)}, "forecasters": ("ridge",)}, "a name no baseline has"),
        ({"attention": {"a-b": ("time",)}, "forecasters": ("a-b",)}, "letters, digits and underscores, found 'a-b'"),
        ({"attention": {"../x": ("time",)}, "forecasters": ("../x",)}, "letters, digits and underscores"),
    ],
)  # fmt: skip
def test_a_run_refuses_names_that_lead_nowhere(fields, message):
    with pytest.raises(InputError, match=message):
        RunConfig(**fields)


def test_configurations_are_frozen():
    for config in (RunConfig(), *(kind() for kind in SECTIONS.values())):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, dataclasses.fields(config)[0].name, None)


def test_every_parameter_is_documented():
    for kind in (RunConfig, *SECTIONS.values()):
        for item in dataclasses.fields(kind):
            # A section is documented by its own class; name and out by one line of the run's.
            assert item.name in kind.__doc__ or item.name in SECTIONS, f"{kind.__name__}.{item.name}"


def test_the_fingerprint_sees_all_but_name_and_place():
    base = RunConfig()
    assert dataclasses.replace(base, name="other", out="elsewhere").fingerprint == base.fingerprint
    changes = [
        {"target": TargetConfig(horizon=6)},
        {"features": ("momentum",)},
        {"splits": SplitsConfig(train_every=5)},
        {"data": DataConfig(sector_features=12)},
        {"primary": ("both", "ridge")},
        {"training": TrainingConfig(seeds=(1,))},
        {"attention": base.attention | {"deep": ("time",) * 4}},
    ]
    seen = {base.fingerprint, *(dataclasses.replace(base, **change).fingerprint for change in changes)}
    assert len(seen) == len(changes) + 1


@pytest.mark.parametrize(
    "content, keys",
    [
        ({}, []),
        ({"horizon": 5}, ["horizon"]),
        ({"target": {"horzon": 5, "delay": 0}, "x": {"y": 1}}, ["target.horzon", "x"]),
        ({"data": {"columns": {"ret": "return"}}, "attention": {"mine": ["time"]}}, []),
        ({1: 2, None: 3}, ["1", "None"]),
        ({"target": 5}, []),  # a wrong value, not an unknown key
    ],
)
def test_unknown_keys_are_found_at_any_depth(content, keys):
    assert list(unknown_keys(content)) == keys


@pytest.mark.parametrize(
    "key, nearest",
    [
        ("target.horzon", "target.horizon"),
        ("horizon", "target.horizon"),
        ("splits.tests", "splits.test"),
        ("trainig.seeds", "training.seeds"),
        ("forecaster", "forecasters"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key, nearest):
    assert describe_unknown_key(key) == f"unknown key {key}, did you mean {nearest}?"


def test_a_key_like_no_other_is_only_named():
    assert describe_unknown_key("zzzzqqq") == "unknown key zzzzqqq"


@pytest.mark.parametrize(
    "text, message",
    [
        (b"target:\n  horzon: 5\n", "unknown key target.horzon, did you mean target.horizon"),
        (b"- a\n", "must be a mapping of keys, found list"),
        (b"5", "must be a mapping of keys, found int"),
        (b"a: [1", "must be readable YAML"),
        (b"a:\n\t- b", "must be readable YAML"),
        (b"splits:\n  first_test: 2001-13-01\n", "must be readable YAML: month must be in 1..12"),
        (b"\xff\xfe\x00", "must be readable YAML"),
        (b"\x00", "must be readable YAML"),
        (b"a: !!python/object/apply:os.getcwd []", "must be readable YAML"),
        (b"{[1]: 2}: 3", "must be readable YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "run.yaml"
    file.write_bytes(text)
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="must be a YAML file, found no file .*absent.yaml"):
        read_yaml(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="must be readable YAML: .*directory"):
        read_yaml(tmp_path)


def test_an_empty_file_is_all_defaults(tmp_path):
    (tmp_path / "run.yaml").write_text("# nothing\n")
    assert read_yaml(tmp_path / "run.yaml") == {}


def rebuilt(content: dict) -> RunConfig:
    """Make a configuration of plain YAML values, lists as tuples."""
    made = {name: kind(**plain(content[name])) for name, kind in SECTIONS.items() if name in content}
    return RunConfig(**plain({k: v for k, v in content.items() if k not in SECTIONS}), **made)


def plain(content: dict) -> dict:
    nested = {k: plain(v) if isinstance(v, dict) else v for k, v in content.items()}
    return {k: tuple(v) if isinstance(v, list) else v for k, v in nested.items()}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.from_regex(r"[a-zA-Z0-9é_][\w.-]{0,20}", fullmatch=True),
    st.lists(st.integers(0, 2**63), min_size=1, unique=True),
    st.floats(1e-12, 1e3),
    st.one_of(st.none(), st.integers(1, 10_000), st.sampled_from(["10Y", "6M", "1"])),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
)
def test_yaml_brings_back_every_configuration(name, seeds, rate, train, columns):
    config = RunConfig(
        name=name,
        data=DataConfig("file", "x.csv", columns, start="1995-01-01"),
        splits=SplitsConfig(train=train, first_test="2000-01-01"),
        training=TrainingConfig(seeds=tuple(seeds), learning_rate=rate),
    )
    read = yaml.safe_load(to_yaml(config))
    assert read == json.loads(json.dumps(dataclasses.asdict(config)))
    assert rebuilt(read).fingerprint == config.fingerprint and not list(unknown_keys(read))


def test_written_configurations_are_read_again(tmp_path):
    (tmp_path / "run.yaml").write_text(to_yaml(RunConfig()), encoding="utf-8")
    assert rebuilt(read_yaml(tmp_path / "run.yaml")) == RunConfig()


@pytest.mark.parametrize(
    "file",
    sorted((resources.files("finattn") / "configs").iterdir(), key=lambda file: file.name),
    ids=lambda file: file.name,
)
def test_shipped_configurations_haveknown_keys_and_sound_values(file):
    content = read_yaml(str(file))
    assert rebuilt(content).name == file.name.removesuffix(".yaml")


# -- YAML that is not meant well ------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text, message",
    [
        (BOMB, "must hold at most 100000 values, aliases unfolded"),
        ("data: &d {source: file, path: a.csv, columns: *d}\n", "must hold at most 100000 values, aliases unfolded"),
        ("data: " + "[" * 5000 + "]" * 5000, "must be readable YAML"),
        (
            "data: {columns: {2020-01-02: x}}\n",
            r"keys must be text, found datetime.date\(2020, 1, 2\): put it in quotes",
        ),
    ],
)
def test_yaml_that_unfolds_without_end_or_has_odd_keys_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(path)
    assert "bad.yaml" in str(caught.value) and len(str(caught.value)) < 500


def test_yaml_may_merge_mappings(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text(
        "target: &t {horizon: 5}\nsplits: {test: 1Y}\nmodel: {width: 16}\ndata: {<<: {start: '2010'}, end: '2012'}\n"
    )
    assert read_yaml(path)["data"] == {"start": "2010", "end": "2012"}


def test_a_simulation_larger_than_any_memory_is_refused():
    with pytest.raises(InputError, match="data.simulated.firms must be such that firms x days is at most 1000000000"):
        DataConfig("simulated", simulated={"firms": 10**7, "days": 10**7})


@pytest.mark.parametrize(
    "run, pair",
    [
        (["ridge", "firm", "both"], ("both", "ridge")),
        (["zero", "sic_kernel", "look_up", "firm"], ("firm", "sic_kernel")),
        (["boosting", "lstm", "look_up"], ("look_up", "boosting")),
        (["ridge", "zero"], ("both", "ridge")),
        (["lstm"], ("lstm", "ridge")),
    ],
)
def test_what_was_not_run_is_stood_for_by_what_was(run, pair):
    assert standing(("both", "ridge"), run) == pair
