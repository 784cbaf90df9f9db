"""Linear probes find what layers hold, and the control task tells knowing from telling firms apart."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.preprocessing import StandardScaler

from finattn.blocks import Blocks, Scaling
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.explain import probes
from finattn.explain.probes import COLUMNS, probe
from finattn.explain.scene import Corrected
from finattn.look_up import LookUp, LookUpConfig
from finattn.models import PanelTransformer
from finattn.panel import Panel

TRAIN, TEST = np.arange(20, 300), np.arange(310, 400)  # training dates come in two blocks


@pytest.fixture(scope="module")
def halves(panel):
    scaling = Scaling.fit(panel, np.arange(240))
    return tuple(Blocks(panel, rows, scaling, TargetConfig()) for rows in (TRAIN, TEST))


@pytest.fixture(scope="module")
def transformer(halves, small_model):
    torch.manual_seed(0)
    return PanelTransformer(halves[0].scaling.width, ("time", "firm"), small_model).eval()


@pytest.fixture(scope="module")
def look_up(halves):
    torch.manual_seed(1)
    return LookUp(halves[0].scaling.width, LookUpConfig(rank=3, windows=(1, 5))).eval()


def one(table, target, layer, column="value"):
    (found,) = table.loc[(table["target"] == target) & (table["layer"] == layer), column]
    return found


def group(panel):
    return panel.industry // 100


def whole(blocks):
    """Return the block of all rows, and which row and firm each observed firm-date is."""
    (block,) = blocks.at(np.arange(len(blocks.panel))).cut(0, len(blocks.panel))
    place, firm = np.nonzero(blocks.observed)
    return block, blocks.positions[place], firm


def test_layers_are_those_of_the_model(panel, halves, transformer, look_up):
    what = {"industry": group(panel)}
    table = probe(transformer, *halves, what)
    assert list(table.columns) == COLUMNS
    assert table["layer"].tolist() == ["inputs", "embedding", "layer 1", "layer 2"]
    assert probe(look_up, *halves, what)["layer"].tolist() == ["inputs", "queries", "keys"]
    both = probe(Corrected(transformer, look_up, 0.1), *halves, what)
    assert both["layer"].tolist() == [
        "inputs", "base queries", "base keys", "embedding", "layer 1", "layer 2"
    ]  # fmt: skip
    np.testing.assert_allclose(both["value"].iloc[3:], table["value"].iloc[1:], atol=0.02)


def test_the_last_layer_is_what_the_head_reads(halves, transformer):
    (block,) = halves[1].cut(transformer.warmup, 500)
    *_, (name, tokens) = probes._layers(transformer, block)
    assert name == "layer 2" and tokens.shape == (*block.observed.shape, 8)
    with torch.no_grad():
        expected, scores = transformer(block)[block.scored], transformer.score(tokens[block.scored])
    seen = block.observed[block.scored]
    torch.testing.assert_close(scores[seen], expected[seen], atol=1e-5, rtol=1e-4)


def test_keys_and_queries_are_those_that_the_look_up_compares(halves, look_up):
    (block,) = halves[1].cut(look_up.warmup, 500)
    layers = {name: tokens.detach()[block.scored] for name, tokens in probes._layers(look_up, block)}
    query, key = (layers[name].unflatten(-1, (2, 3)).transpose(1, 2) for name in ("queries", "keys"))
    seen = block.observed[block.scored]
    mask = seen[:, None, :] & seen[:, :, None] & ~torch.eye(seen.shape[1], dtype=torch.bool)
    scores = (query @ key.transpose(2, 3) / 3**0.5).masked_fill(~mask[:, None], -torch.inf)
    weights = scores.softmax(-1).nan_to_num()
    torch.testing.assert_close(weights, look_up.attention(block).detach())


def test_numbers_are_read_by_ridge_and_codes_by_logistic_regression(panel, halves, look_up):
    """Written out with scikit-learn's own scores."""
    volatility = 3 + 100 * np.abs(panel.returns)
    table = probe(look_up, *halves, {"volatility": volatility, "group": group(panel)})
    parts = []
    for blocks in halves:
        block, row, firm = whole(blocks)
        parts.append((block.x[row, firm].numpy().astype(float), volatility[row, firm], group(panel)[row, firm]))
    (x, y, codes), (new, truth, true_codes) = parts
    scaler, known, there = StandardScaler(), ~np.isnan(y), ~np.isnan(truth)
    ridge = Ridge().fit(scaler.fit_transform(x[known]), y[known])
    expected = r2_score(truth[there], ridge.predict(scaler.transform(new[there])))
    assert one(table, "volatility", "inputs") == pytest.approx(expected, abs=1e-6)
    assert one(table, "volatility", "inputs", "rows") == there.sum()
    logistic = LogisticRegression(class_weight="balanced", max_iter=1000)
    logistic.fit(scaler.fit_transform(x[codes > 0]), codes[codes > 0])
    guess = logistic.predict(scaler.transform(new[true_codes > 0]))
    expected = balanced_accuracy_score(true_codes[true_codes > 0], guess)
    assert one(table, "group", "inputs") == pytest.approx(expected, abs=1e-6)
    assert one(table, "group", "inputs", "chance") == pytest.approx(1 / one(table, "group", "inputs", "classes"))


def known_panel(firms=40, days=160):
    """Make firms whose "badge" never changes and says nothing, and whose "mood" changes from day to day."""
    random = np.random.default_rng(0)
    badge = np.broadcast_to(random.standard_normal((firms, 12)), (days, firms, 12))
    mood = random.standard_normal((days, firms, 1))
    return Panel(
        dates=np.busday_offset("2001-01-01", np.arange(days), roll="forward"),
        firms=[f"F{i:02d}" for i in range(firms)],
        returns=0.02 * random.standard_normal((days, firms)), features=np.concatenate([badge, mood], 2),
        feature_names=[*(f"badge_{place}" for place in range(12)), "mood"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def known():
    panel = known_panel()
    blocks = [Blocks(panel, rows, Scaling.fit(panel, np.arange(100)), TargetConfig()) for rows in
              (np.arange(100), np.arange(100, 160))]  # fmt: skip
    torch.manual_seed(0)
    return panel, blocks, LookUp(blocks[0].scaling.width, LookUpConfig(rank=16, heads=1))


def test_what_firms_are_told_apart_by_is_not_selective_and_what_is_known_is(known):
    panel, blocks, model = known
    random = np.random.default_rng(3)
    dealt = np.broadcast_to(random.integers(1, 4, panel.shape[1]), panel.shape)
    mood = 1 + (panel.features[:, :, -1] > 0)
    found = probe(model, *blocks, {"dealt": dealt, "mood": mood, "noise": random.standard_normal(panel.shape)})
    for layer in ("inputs", "keys"):
        assert one(found, "dealt", layer) > 0.5 and one(found, "dealt", layer, "selectivity") < 0.2
        assert one(found, "mood", layer) > 0.85
        assert one(found, "noise", layer) == pytest.approx(0, abs=0.05)
    assert (found["selectivity"] == found["value"] - found["control"]).all()
    # A constant label per firm is learnt by heart from its badge: the control says so.
    assert one(found, "dealt", "inputs", "control") > 0.5


def test_the_control_deals_each_firm_one_label():
    firms = np.repeat(np.arange(6), 5)
    task = probes._Task(
        np.ones(30, bool), np.ones(40, bool), np.resize([3, 7], 30), np.resize([3, 7], 40),
        (firms, np.repeat(np.arange(8), 5)), np.tile(np.arange(5), 8), np.array([3, 7]),
    )  # fmt: skip
    control = probes._control(task, np.random.default_rng(0))
    per_firm = [set(control.y[firms == firm]) for firm in range(6)]
    assert all(len(labels) == 1 for labels in per_firm)
    assert sorted(label for labels in per_firm for label in labels) == [3, 3, 3, 7, 7, 7]
    assert control.tested.sum() == 30 and len(control.date) == 30  # firms 6 and 7 were not met
    assert [set(control.truth[task.firms[1][:30] == firm]) for firm in range(6)] == per_firm
    again = [probes._control(task, np.random.default_rng(seed)).y.tolist() for seed in range(5)]
    assert len(set(map(tuple, again))) > 1


def test_the_control_of_numbers_draws_them_from_those_fitted_on():
    y = np.arange(30.0)
    task = probes._Task(
        np.ones(30, bool), np.ones(30, bool), y, y, (np.repeat(np.arange(6), 5),) * 2, np.tile(np.arange(5), 6), y[:0]
    )
    drawn = [probes._control(task, np.random.default_rng(seed)) for seed in range(5)]
    assert all(set(one.y) <= set(y) and (one.y == one.truth).all() for one in drawn)
    assert all(len(set(one.y[:5])) == 1 for one in drawn) and max(one.y.max() for one in drawn) > 5


def test_missing_numbers_and_unknown_codes_are_left_out(panel, halves, look_up):
    plain = {"group": group(panel), "size": np.asarray(panel.features[:, :, 0], float)}
    less = {name: values.copy() for name, values in plain.items()}
    less["group"][:, 4], less["size"][TEST[:10]] = 0, np.nan
    before, after = probe(look_up, *halves, plain), probe(look_up, *halves, less)
    seen = halves[1].observed
    assert one(before, "group", "keys", "rows") - one(after, "group", "keys", "rows") == seen[:, 4].sum()
    assert one(before, "size", "keys", "dates") - one(after, "size", "keys", "dates") == 10


def test_a_class_that_was_not_fitted_is_left_out_of_the_test(panel, halves, look_up):
    codes = group(panel).copy()
    codes[TEST, 5] = 99
    table = probe(look_up, *halves, {"group": codes})
    assert one(table, "group", "keys", "classes") == 3  # 28, 60 and 35
    assert one(table, "group", "keys", "rows") < (codes[TEST][halves[1].observed] > 0).sum()


def test_the_same_seed_gives_the_same_table_also_where_rows_are_drawn(panel, halves, look_up, monkeypatch):
    what = {"group": group(panel), "size": np.asarray(panel.features[:, :, 0], float)}
    first, again = probe(look_up, *halves, what), probe(look_up, *halves, what)
    assert first.equals(again)
    monkeypatch.setattr(probes, "ROWS", 300)
    drawn = probe(look_up, *halves, what, seed=1)
    assert drawn.equals(probe(look_up, *halves, what, seed=1))
    assert drawn["rows"].max() <= 300 and not drawn["value"].equals(probe(look_up, *halves, what, seed=2)["value"])


def test_intervals_hold_the_value_and_few_dates_have_none(panel, halves, look_up):
    what = {"size": np.asarray(panel.features[:, :, 0], float)}
    table = probe(look_up, *halves, what)
    assert ((table["lower"] < table["value"]) & (table["value"] < table["upper"])).all()
    few = probe(look_up, halves[0], halves[1].at(TEST[:3]), what)
    assert few["lower"].isna().all() and few["dates"].eq(3).all()


def test_the_interval_of_shares_is_that_of_resampled_dates():
    random = np.random.default_rng(0)
    worth = np.ones((400, 1))
    hits = random.random((400, 1))
    lower, upper = probes._interval(hits, worth)
    assert upper - lower == pytest.approx(2 * 1.96 * hits.std() / 20, rel=0.2)
    assert probes._value(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[2.0, 0.0], [2.0, 0.0]])) == 0.5


def test_what_does_not_fit_is_refused(panel, halves, look_up):
    size = np.asarray(panel.features[:, :, 0], float)
    with pytest.raises(
        InputError, match=r"what\['size'\] must be floats or integer codes \(420, 12\), found \(9, 12\)"
    ):
        probe(look_up, *halves, {"size": size[:9]})
    with pytest.raises(InputError, match="found .* of bool"):
        probe(look_up, *halves, {"size": size > 0})
    with pytest.raises(InputError, match="must be finite or NaN, found an infinite number"):
        probe(look_up, *halves, {"size": np.where(size > 0, np.inf, size)})
    with pytest.raises(InputError, match=r"what\['size'\] must have at least two firms .*, found 0 and 0 values"):
        probe(look_up, *halves, {"size": np.full(panel.shape, np.nan)})
    with pytest.raises(InputError, match="of codes two classes, found"):
        probe(look_up, *halves, {"size": np.ones(panel.shape, int)})
    with pytest.raises(InputError, match="must share no date, found"):
        probe(look_up, halves[0], halves[0], {"size": size})
    other = Blocks(panel[:400], TEST, halves[1].scaling, TargetConfig())
    with pytest.raises(InputError, match="must be positions of one panel"):
        probe(look_up, halves[0], other, {"size": size})


def test_a_model_of_another_kind_is_refused(panel, halves):
    class Other(torch.nn.Module):
        warmup = 0

    with pytest.raises(InputError, match="layers must be those of a PanelTransformer or a LookUp, found a Other"):
        probe(Other(), *halves, {"group": group(panel)})
