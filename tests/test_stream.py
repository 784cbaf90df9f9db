"""A stream of days equals the full pass, whatever happens in it, and can be put away and taken up again."""

import dataclasses
import re

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from test_models import make_block, make_model

from finattn.blocks import cut
from finattn.config import ModelConfig
from finattn.errors import InputError
from finattn.stream import Stream, fingerprint

CONFIG = ModelConfig(width=8, heads=2, feed_forward=16, lookback=5, dropout=0.0)
STACKS = [
    ("time",), ("firm",), ("time", "firm"), ("firm", "time", "time"), ("neighbours", "time", "industry"),
    ("time", "reference", "time"),
]  # fmt: skip


def advance(stream, block, day):
    return stream.advance(
        block.x[day], block.observed[day], block.industry[day], block.neighbours, block.reference[day],
        block.reference_observed[day],
    )  # fmt: skip


def full_pass(model, block):
    with torch.no_grad():
        return model(block._replace(decision=torch.ones(len(block.x)) > 0))


def same(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def gappy_block():
    """Firms that are listed late, leave, or are away for longer than the lookback; a day with nobody."""
    block = make_block(days=30, firms=6)
    observed = block.observed.clone()
    observed[:, 5] = True
    observed[:18, 1] = False  # listed on day 18
    observed[9:, 2] = False  # delisted
    observed[8:20, 3] = False  # away
    observed[14] = False  # a day that is missing for all
    return block._replace(observed=observed)


# -- equal to the full pass ------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1, 4, 5, 13, 29])
@pytest.mark.parametrize("axes", STACKS)
def test_a_block_and_then_days_equal_the_full_pass(axes, first):
    block, model = gappy_block(), make_model(axes, CONFIG)
    stream, expected = model.stream(cut(block, slice(0, first))), full_pass(model, block)
    for day in range(first, 30):
        same(advance(stream, block, day), expected[day])
    assert stream.day == 30


@pytest.mark.parametrize("days", [1, 4, 5, 6, 21])
def test_a_new_stream_takes_up_its_first_days_one_by_one_or_at_once(days):
    block, model = gappy_block(), make_model(("time", "firm", "time"), CONFIG)
    at_once, one_by_one = model.stream(cut(block, slice(0, days))), Stream(model)
    for day in range(days):
        advance(one_by_one, block, day)
    for i, cache in at_once.caches.items():
        assert cache.day == one_by_one.caches[i].day == days
        held = cache.observed[:, None, :, None]
        same(cache.keys * held, one_by_one.caches[i].keys * held)
        assert torch.equal(cache.observed, one_by_one.caches[i].observed)
    same(advance(at_once, block, days), advance(one_by_one, block, days))


def test_what_stands_on_an_absent_firms_day_changes_no_bit_of_what_follows():
    block, model = gappy_block(), make_model(("time", "firm", "time"), CONFIG)
    changed = block._replace(x=torch.where(block.observed[..., None], block.x, 1e6))
    streams = [model.stream(cut(part, slice(0, 7))) for part in (block, changed)]
    for day in range(7, 30):
        found, expected = advance(streams[0], block, day), advance(streams[1], changed, day)
        assert torch.equal(found.nan_to_num(), expected.nan_to_num())
        assert torch.equal(found.isnan(), ~block.observed[day])


def test_a_stream_holds_the_lookback_however_many_days_it_takes_up():
    block, model = make_block(days=30), make_model(("time", "time"), CONFIG)
    stream = model.stream(block)
    assert [cache.day for cache in stream.caches.values()] == [30, 30]
    sizes = [(cache.keys.shape, cache.values.shape, cache.observed.shape) for cache in stream.caches.values()]
    assert all(CONFIG.lookback in keys and 30 not in keys for keys, _, _ in sizes)
    for day in range(30):
        advance(stream, block, day)
    assert sizes == [(c.keys.shape, c.values.shape, c.observed.shape) for c in stream.caches.values()]


def test_a_stream_can_begin_with_the_first_day():
    block, model = make_block(), make_model(("time", "firm"), CONFIG)
    stream = model.stream(cut(block, slice(0, 0)))
    assert stream.day == 0
    same(stream.advance(block.x[0], block.observed[0]), full_pass(model, block)[0])


def test_a_stream_forecasts_without_dropout_and_leaves_no_graph():
    block, model = make_block(), make_model(("time", "firm"), dataclasses.replace(CONFIG, dropout=0.5))
    expected = full_pass(model, block)
    stream = model.train().stream(cut(block, slice(0, 9)))
    scores = advance(stream, block, 9)
    same(scores, expected[9])
    assert not model.training and not scores.requires_grad


# -- refused, with nothing lost ------------------------------------------------------------


def test_a_block_after_days_is_refused():
    block, model = make_block(), make_model(("time",), CONFIG)
    stream = model.stream(cut(block, slice(0, 7)))
    message = "a block of days can be taken up by a new stream alone, found one of 7 days"
    with pytest.raises(InputError, match=message):
        stream.take_up(block)
    same(advance(stream, block, 7), full_pass(model, block)[7])


@pytest.mark.parametrize(("inputs", "seen"), [(5, 5), (7, 7), (6, 5), (5, 6)])
def test_a_day_with_another_number_of_firms_is_refused(inputs, seen):
    block, model = make_block(), make_model(("time", "firm"), CONFIG)
    stream = model.stream(cut(block, slice(0, 7)))
    message = f"a day must have x of shape (6, 3) and observed (bool) of (6,), found ({inputs}, 3) and ({seen},)"
    with pytest.raises(InputError, match=re.escape(message)):
        stream.advance(torch.randn(inputs, 3), torch.ones(seen) > 0)
    same(advance(stream, block, 7), full_pass(model, block)[7])


def test_a_day_of_other_inputs_or_of_numbers_for_observed_is_refused():
    stream = make_model(("time",), CONFIG).stream(make_block())
    for x, observed in ((torch.ones(6, 4), torch.ones(6) > 0), (torch.ones(6, 3), torch.ones(6))):
        with pytest.raises(InputError, match="a day must have x of shape"):
            stream.advance(x, observed)
    assert stream.day == 20


def test_inputs_of_double_precision_are_taken():
    block, model = make_block(), make_model(("time", "firm"), CONFIG)
    stream = model.stream(cut(block, slice(0, 19)))
    same(stream.advance(block.x[19].double(), block.observed[19]), full_pass(model, block)[19])


def test_days_are_counted_without_a_block_along_time_too(tmp_path):
    block, model = make_block(), make_model(("firm",), CONFIG)
    stream = model.stream(cut(block, slice(0, 7)))
    advance(stream, block, 7)
    stream.save(tmp_path / "stream.safetensors")
    assert stream.day == Stream.load(tmp_path / "stream.safetensors", model).day == 8


def test_a_stream_begun_in_inference_mode_goes_on_outside_it_and_the_other_way_round():
    block, model = make_block(), make_model(("time", "firm"), CONFIG)
    with torch.inference_mode():
        stream = model.stream(cut(block, slice(0, 7)))
    same(advance(stream, block, 7), full_pass(model, block)[7])
    with torch.inference_mode():
        same(advance(stream, block, 8), full_pass(model, block)[8])


@pytest.mark.parametrize("axes", STACKS)
def test_not_a_number_where_nothing_is_observed_spoils_nothing(axes):
    block, model = gappy_block(), make_model(axes, CONFIG)
    x = block.x.masked_fill(~block.observed[..., None], torch.nan)
    reference = block.reference.masked_fill(~block.reference_observed[..., None], torch.inf)
    spoiled = block._replace(x=x, reference=reference)
    torch.testing.assert_close(full_pass(model, spoiled), full_pass(model, block), rtol=0, atol=0, equal_nan=True)
    streams = [model.stream(cut(one, slice(0, 12))) for one in (block, spoiled)]
    for day in range(12, 30):
        found, expected = advance(streams[1], spoiled, day), advance(streams[0], block, day)
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("industry", "industry_level must be one of the panel's 0 levels, found 0"),
        ("neighbours", "axis 'neighbours' needs a neighbourhood, found a block without one"),
        ("reference", "axis 'reference' needs reference tokens, found a block without them"),
    ],
)
def test_a_day_without_what_the_model_attends_to_is_refused_and_not_taken_up(axis, message):
    block, model = make_block(), make_model(("time", axis, "time"), CONFIG)
    stream = model.stream(cut(block, slice(0, 7)))
    with pytest.raises(InputError, match=message):
        stream.advance(block.x[7], block.observed[7])
    assert [cache.day for cache in stream.caches.values()] == [7, 7]
    same(advance(stream, block, 7), full_pass(model, block)[7])


# -- saved and loaded ------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    block, model = gappy_block(), make_model(("time", "firm", "time"), CONFIG)
    stream = model.stream(cut(block, slice(0, 13)))
    stream.save(tmp_path / "stream.safetensors")
    return block, model, stream, tmp_path / "stream.safetensors"


@pytest.mark.parametrize("days", [0, 1, 3, 5, 13])
@pytest.mark.parametrize("axes", STACKS)
def test_a_stream_that_was_saved_goes_on_to_the_last_bit(axes, days, tmp_path):
    block, model = gappy_block(), make_model(axes, CONFIG)
    stream = model.stream(cut(block, slice(0, days)))
    stream.save(tmp_path / "stream.safetensors")
    again = Stream.load(tmp_path / "stream.safetensors", make_model(axes, CONFIG))  # an equal model, not the same one
    assert again.day == stream.day
    for day in range(days, 20):
        found, expected = advance(again, block, day), advance(stream, block, day)
        assert torch.equal(found.nan_to_num(), expected.nan_to_num())
        assert torch.equal(found.isnan(), expected.isnan())


def test_saving_does_not_change_a_stream_and_the_file_is_of_that_moment(saved):
    block, model, stream, path = saved
    expected = full_pass(model, block)
    same(advance(stream, block, 13), expected[13])
    for _ in range(2):  # what is taken up again can be taken up once more
        again = Stream.load(path, model)
        same(advance(again, block, 13), expected[13])
        same(advance(again, block, 14), expected[14])


def test_a_stream_is_saved_over_an_older_one(saved):
    block, model, stream, path = saved
    advance(stream, block, 13)
    stream.save(path)
    same(advance(Stream.load(path, model), block, 14), full_pass(model, block)[14])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_file_holds_plain_tensors_and_no_pickle(saved):
    _, model, stream, path = saved
    with safe_open(path, "pt") as file:  # the format has no code in it
        assert sorted(file.keys()) == [f"{i}.{name}" for i in (0, 2) for name in ("keys", "observed", "values")]
        assert file.metadata() == {"model": fingerprint(model), "day": "13"}
    assert not path.read_bytes().startswith((b"PK", b"\x80"))


def another_model(change):
    if change == "parameters":
        model = make_model(("time", "firm", "time"), CONFIG)
        with torch.no_grad():
            model.head.bias += 1e-6
    elif change == "axes":
        model = make_model(("time", "industry", "time"), CONFIG)
    else:
        model = make_model(("time", "firm", "time"), dataclasses.replace(CONFIG, **change))
    return model


@pytest.mark.parametrize("change", ["parameters", "axes", {"temperature": 2.0}, {"lookback": 6}, {"own_firm": False}])
def test_the_stream_of_another_model_is_refused(saved, change):
    *_, path = saved
    with pytest.raises(InputError, match="must hold a stream of this very model, saved: "):
        Stream.load(path, another_model(change))


def spoiled(kind, path):
    """Damage a saved stream."""
    content = path.read_bytes()
    with safe_open(path, "pt") as file:
        tensors, notes = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    if kind == "missing":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut short":
        path.write_bytes(content[:-10])
    elif kind == "cut in its header":
        path.write_bytes(content[:20])
    elif kind == "of another format":
        path.write_bytes(b"PK\x03\x04" + content)
    elif kind == "without a tensor":
        del tensors["2.values"]
        safetensors.torch.save_file(tensors, path, notes)
    elif kind == "without its day":
        del notes["day"]
        safetensors.torch.save_file(tensors, path, notes)
    elif kind == "with a day that is no number":
        safetensors.torch.save_file(tensors, path, notes | {"day": "Monday"})
    elif kind == "with a negative day":
        safetensors.torch.save_file(tensors, path, notes | {"day": "-1"})
    elif kind == "with a tensor of another shape":
        safetensors.torch.save_file(tensors | {"0.keys": tensors["0.keys"][:, :, :3].contiguous()}, path, notes)


DAMAGES = [
    "missing", "empty", "cut short", "cut in its header", "of another format", "without a tensor", "without its day",
    "with a day that is no number", "with a negative day", "with a tensor of another shape",
]  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_refused_with_one_error_and_the_stream_goes_on(saved, kind):
    block, model, stream, path = saved
    spoiled(kind, path)
    with pytest.raises(
        InputError, match=r"stream\.safetensors: must hold a stream of this very model, saved: "
    ) as caught:
        Stream.load(path, model)
    assert "\n" not in str(caught.value)
    same(advance(stream, block, 13), full_pass(model, block)[13])
    stream.save(path)
    assert Stream.load(path, model).day == 14


def test_a_file_of_other_tensors_is_refused(saved):
    _, model, _, path = saved
    safetensors.torch.save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(InputError, match="must hold a stream of this very model, saved: "):
        Stream.load(path, model)


def test_an_error_while_saving_leaves_the_older_file(saved, monkeypatch):
    block, model, stream, path = saved
    before = path.read_bytes()
    advance(stream, block, 13)

    def full(tensors, temporary, notes):
        temporary.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("finattn.stream.save_file", full)
    with pytest.raises(OSError, match="no space left"):
        stream.save(path)
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [path.name]
