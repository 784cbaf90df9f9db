"""What models looked at: attention weights, rolled out, and times what is looked at."""

import numpy as np
import pandas as pd
import pytest
import torch

from finattn.baselines import Ridge
from finattn.blocks import Blocks, Reference, Scaling
from finattn.config import ModelConfig, TargetConfig
from finattn.errors import InputError
from finattn.explain import weights
from finattn.explain.gradients import gradients
from finattn.explain.scene import Corrected
from finattn.explain.weights import LOOKED, attention, by_head
from finattn.look_up import LookUp, LookUpConfig
from finattn.models import PanelTransformer

POSITIONS = np.array([70, 150, 151, 400])


@pytest.fixture(scope="module")
def blocks(panel):
    return Blocks(panel, POSITIONS, Scaling.fit(panel, np.arange(200)), TargetConfig())


def table_of(*given, **settings):
    return attention(*given, **settings).table


def make_models(blocks, axes, config, seeds=2):
    models = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        models.append(PanelTransformer(blocks.scaling.width, axes, config).eval())
    return models


@pytest.mark.parametrize("axes", [("time",), ("firm",), ("time", "firm"), ("firm", "time", "time")])
def test_scores_of_a_firm_date_and_kind_sum_to_one(blocks, axes, small_model):
    table = table_of(make_models(blocks, axes, small_model), blocks, "name")
    assert list(table.columns) == ["date", "firm", "model", "method", "kind", "key", "score"]
    kinds = set(table["kind"])
    assert kinds == {kind for kind, axis in (("lag", "time"), ("peer", "firm")) if axis in axes}
    assert set(table["model"]) == {"name"} and set(table["method"]) == {"attention"}
    sums = table.groupby(["date", "firm", "kind"])["score"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert len(sums) == blocks.observed.sum() * len(kinds) and table["score"].between(0, 1 + 1e-6).all()


def test_scores_are_means_over_models_layers_and_heads(panel, blocks, small_model):
    models = make_models(blocks, ("time", "firm", "firm"), small_model)
    table = table_of(models, blocks, "both").set_index(["date", "firm", "kind", "key"])["score"].sort_index()
    whole = Blocks(panel, np.arange(len(panel)), blocks.scaling, blocks.target)
    (block,) = whole.cut(0, len(panel))
    row, firm = 150, 4
    lags = np.mean([m.attention(block, 0, torch.tensor([row]))[0, firm].mean(0).numpy() for m in models], axis=0)
    peers = np.mean(
        [
            m.attention(block, layer, torch.tensor([row]))[0, :, firm].mean(0).numpy()
            for m in models
            for layer in (1, 2)
        ],
        axis=0,
    )
    found = table.loc[panel.dates[row], panel.firms[firm]]
    np.testing.assert_allclose(found["lag"][[str(lag) for lag in range(5)]], lags, atol=1e-5)
    np.testing.assert_allclose(found["peer"][panel.firms], peers, atol=1e-5)


def test_absent_firms_are_neither_explained_nor_peers(panel, blocks, small_model):
    table = table_of(make_models(blocks, ("firm",), small_model), blocks, "firm")
    observed = {
        (np.datetime64(date, "D"), firm)
        for date, row in zip(blocks.dates, blocks.observed, strict=True)
        for firm in panel.firms[row]
    }
    days = table["date"].to_numpy().astype("datetime64[D]")
    assert set(zip(days, table["firm"], strict=True)) == observed
    looked_at = table[table["score"] > 0]
    days = looked_at["date"].to_numpy().astype("datetime64[D]")
    assert set(zip(days, looked_at["key"], strict=True)) <= observed


def test_only_the_heaviest_peers_are_kept_and_all_the_lags(blocks, small_model, monkeypatch):
    models = make_models(blocks, ("time", "firm"), small_model)
    whole = table_of(models, blocks, "both")
    monkeypatch.setattr(weights, "TOP", 3)
    table = table_of(models, blocks, "both")
    peers = table[table["kind"] == "peer"].groupby(["date", "firm"])["score"]
    assert (peers.size() == 3).all()
    heaviest = whole[whole["kind"] == "peer"].groupby(["date", "firm"])["score"].apply(lambda x: x.nlargest(3).sum())
    np.testing.assert_allclose(peers.sum(), heaviest)
    assert (table[table["kind"] == "lag"].groupby(["date", "firm"]).size() == 5).all()


def test_keys_are_in_order_and_the_table_is_the_same_twice(blocks, small_model):
    models = make_models(blocks, ("firm", "time"), small_model)
    table = table_of(models, blocks, "both")
    assert table_of(models, blocks, "both").equals(table)
    one = table[(table["kind"] == "peer") & (table["date"] == table["date"].iloc[0])]
    assert one.groupby("firm")["key"].apply(lambda keys: keys.is_monotonic_increasing).all()


def test_days_before_the_panel_begins_have_no_weight(panel):
    blocks = Blocks(panel, np.array([2]), Scaling.fit(panel, np.arange(200)), TargetConfig())
    config = ModelConfig(width=8, heads=2, feed_forward=16, lookback=6)
    table = table_of(make_models(blocks, ("time",), config), blocks, "time")
    assert (table.loc[table["key"].isin(["3", "4", "5"]), "score"] == 0).all()


def test_industry_peers_are_peers_and_reference_firms_are_of_a_kind_of_their_own(panel, small_model):
    scaling = Scaling.fit(panel, np.arange(200))
    universe = panel[:, [0, 2, 5]]
    reference = Reference(universe, Scaling.fit(universe, np.arange(200)))
    blocks = Blocks(panel, POSITIONS, scaling, TargetConfig(), reference)
    torch.manual_seed(0)
    model = PanelTransformer(scaling.width, ("industry", "reference"), small_model, reference.scaling.width).eval()
    table = table_of([model], blocks, "name")
    assert set(table["kind"]) == {"peer", "reference"}
    assert set(table.loc[table["kind"] == "reference", "key"]) == set(universe.firms)
    own = panel.industry[150, :]
    peers = table[(table["kind"] == "peer") & (table["score"] > 0) & (table["date"] == panel.dates[150])]
    code = dict(zip(panel.firms, own, strict=True))
    assert all(code[a] == code[b] or a == b for a, b in zip(peers["firm"], peers["key"], strict=True))


# -- some forecasts, and other models -------------------------------------------------------------------------------


ROW, FIRM = 400, 5


@pytest.fixture(scope="module")
def kinds(blocks, small_model):
    """One model of each kind, with weights that are far from even."""
    torch.manual_seed(3)
    width = blocks.scaling.width
    both = PanelTransformer(width, ("time", "firm"), small_model)
    look_up, correction = (
        LookUp(width, LookUpConfig(rank=3)),
        PanelTransformer(width, ("time",), ModelConfig(lookback=9)),
    )
    torch.nn.init.normal_(look_up.slope)
    with torch.no_grad():
        for parameter in both.parameters():
            parameter.mul_(2)
    return {"both": both.eval(), "look-up": look_up.eval(), "corrected": Corrected(correction, look_up, 0.5).eval()}


def scene_of(panel, blocks, row=ROW):
    """Return the panel up to a row as one block, of which the row alone is scored."""
    (block,) = blocks.at(np.array([row])).cut(row, 1)
    return block


def scores(table, kind, date=None, firm="F05"):
    some = table[(table["kind"] == kind) & (table["firm"] == firm)]
    return some[some["date"] == (date or some["date"].iloc[0])].set_index("key")["score"]


@pytest.mark.parametrize("method", LOOKED)
def test_the_targets_alone_are_explained_and_as_among_all(kinds, panel, blocks, method):
    targets = [(panel.dates[ROW], "F05"), (str(panel.dates[150]), "F00"), (panel.dates[ROW], "F04")]
    for model in kinds.values():
        some = attention([model], blocks.at(np.array([0])), "x", method, targets)
        found = some.table[["date", "firm"]].drop_duplicates()
        assert list(found["firm"]) == ["F00", "F05", "F04"] and found["date"].is_monotonic_increasing
        merged = some.table.merge(
            table_of([model], blocks, "x", method), on=["date", "firm", "kind", "key"], suffixes=("", "_all")
        )
        assert len(merged) == len(some.table) and set(some.table["method"]) == {method}
        np.testing.assert_allclose(merged["score"], merged["score_all"], atol=1e-5)
        np.testing.assert_allclose(some.table.groupby(["date", "firm", "kind"])["score"].sum(), 1, atol=1e-5)
        assert some.made == {method: {"models": 1}}


@pytest.mark.parametrize("method", LOOKED)
def test_keys_are_those_of_gradients(kinds, panel, blocks, method):
    for model in kinds.values():
        looked = attention([model], blocks, "x", method, [(panel.dates[ROW], "F05")]).table
        moved = gradients(model, blocks, [(panel.dates[ROW], "F05")], "saliency").table
        for kind in ("lag", "peer"):
            ours, theirs = (set(table.loc[table["kind"] == kind, "key"]) for table in (looked, moved))
            assert ours - {"others"} <= theirs | set(panel.firms[~panel.listed[ROW]])


def test_firms_that_are_gone_have_no_weight(kinds, panel, blocks):
    gone = panel.firms[~blocks.at(np.array([ROW])).observed[0]]
    for model in kinds.values():
        for method in LOOKED:
            table = table_of([model], blocks, "x", method, targets=[(panel.dates[ROW], "F05")])
            if method == "rollout" and model is kinds["both"]:
                continue  # it goes on to days on which they were there
            assert (scores(table, "peer")[gone] == 0).all() and len(gone)


def test_of_a_look_up_the_weights_are_its_own_and_never_to_itself(kinds, panel, blocks):
    model, block = kinds["look-up"], scene_of(panel, blocks)
    expected = model.attention(block)[0, :, FIRM].mean(0)
    for method in ("attention", "rollout"):
        found = scores(table_of([model], blocks, "x", method, [(panel.dates[ROW], "F05")]), "peer")
        np.testing.assert_allclose(found[panel.firms], expected, atol=1e-6)
        assert found["F05"] == 0


def test_value_norms_of_a_look_up_are_weights_times_what_peers_hold(kinds, panel, blocks):
    model, block = kinds["look-up"], scene_of(panel, blocks)
    weights = model.attention(block)[0, :, FIRM].double().numpy()
    excess = np.where(block.observed, block.x[..., 1], 0.0)
    values = np.stack([excess[-window:].sum(0) / window**0.5 for window in (1, 5, 21)], 1)
    values[~block.observed[-1]] = 0.0
    slope = model.slope.detach().double().numpy()
    norms = np.array(
        [abs(sum(weights[h, j] * (slope[h] @ values[j]) for h in range(2))) for j in range(panel.shape[1])]
    )
    found = scores(table_of([model], blocks, "x", "value_norm", [(panel.dates[ROW], "F05")]), "peer")
    np.testing.assert_allclose(found[panel.firms], norms / norms.sum(), atol=1e-5)
    np.testing.assert_allclose(model.value_norms(block)[0, FIRM], norms, atol=1e-5)


def test_value_norms_are_what_each_key_adds_to_the_attentions_output(kinds, panel, blocks):
    """Kobayashi et al. (2020), written out key by key; what all keys add is the output less its bias."""
    model, block = kinds["both"], scene_of(panel, blocks)
    targets = [(panel.dates[ROW], "F05")]
    table = table_of([model], blocks, "x", "value_norm", targets)
    for layer, kind in ((0, "lag"), (1, "peer")):
        with torch.no_grad():
            x, context = model._below(block, layer)
            attention = model.layers[layer].attention
            value = attention.project(x, context)[2]
            value = value[FIRM].flip(0)[:5] if layer == 0 else value[-1]  # [key h e]
            heads = model.attention(block, layer)[0]
            heads = heads[FIRM] if layer == 0 else heads[:, FIRM]  # [h key]
            projections = attention.output.weight.unflatten(1, (2, -1))  # [d h e]
            added = torch.stack(
                [sum(heads[h, key] * projections[:, h] @ value[key, h] for h in range(2)) for key in range(len(value))]
            )
            output = attention(x, context)
        output = output[FIRM, -1] if layer == 0 else output[-1, FIRM]
        torch.testing.assert_close(added.sum(0) + attention.output.bias, output, rtol=1e-4, atol=1e-5)
        norms = added.norm(dim=1)
        torch.testing.assert_close(model.value_norms(block, layer)[0, FIRM][: len(norms)], norms, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(scores(table, kind), norms / norms.sum(), atol=1e-5)


def test_weights_and_value_norms_part_where_values_are_alike_or_not(kinds, panel, blocks):
    target = [(panel.dates[ROW], "F05")]
    one, two = (
        scores(table_of([kinds["both"]], blocks, "x", method, target), "peer")
        for method in LOOKED
        if method != "rollout"
    )
    assert abs(one - two).max() > 0.01


def test_rollout_is_the_models_and_its_lags_are_the_firms_own(kinds, panel, blocks):
    model, block = kinds["both"], scene_of(panel, blocks)
    rolled = model.rollout(block, len(block.x) - 1, [FIRM])[0].double().numpy()
    table = table_of([model], blocks, "x", "rollout", [(panel.dates[ROW], "F05")])
    lags = scores(table, "lag")
    np.testing.assert_allclose(lags[[str(lag) for lag in range(5)]], rolled[:, FIRM], atol=1e-6)
    assert lags["others"] == pytest.approx(1 - rolled[:, FIRM].sum(), abs=1e-6) and lags["others"] > 0.01
    np.testing.assert_allclose(scores(table, "peer")[panel.firms], rolled.sum(0), atol=1e-6)


def test_rollout_before_the_panel_has_a_whole_window(kinds, panel, blocks):
    table = table_of([kinds["both"]], blocks, "x", "rollout", [(panel.dates[2], "F05"), (panel.dates[ROW], "F05")])
    early = scores(table, "lag", pd.Timestamp(panel.dates[2]))
    assert early[["3", "4"]].eq(0).all() and early.sum() == pytest.approx(1, abs=1e-6)


def test_base_and_correction_are_layers_of_one_model(kinds, panel, blocks):
    model, target = kinds["corrected"], [(panel.dates[ROW], "F05")]
    for method in LOOKED:
        together = table_of([model], blocks, "x", method, target)
        peers = table_of([model.base], blocks, "x", method, target)
        lags = table_of([model.model], blocks, "x", method, target)
        pd.testing.assert_series_equal(scores(together, "peer"), scores(peers, "peer"))
        pd.testing.assert_series_equal(scores(together, "lag"), scores(lags, "lag"))


def test_lags_of_a_base_that_looks_back_less_are_filled_up(blocks, panel, small_model):
    long, short = (
        PanelTransformer(
            blocks.scaling.width, ("time",), ModelConfig(width=8, heads=2, feed_forward=16, lookback=lookback)
        )
        for lookback in (7, 4)
    )
    model, target = Corrected(long, short, 0.5).eval(), [(panel.dates[ROW], "F05")]
    for method in LOOKED:
        one, two, both = (scores(table_of([some], blocks, "x", method, target), "lag") for some in (long, short, model))
        pd.testing.assert_series_equal(both, (one + two.reindex(one.index, fill_value=0.0)) / 2, check_names=False)


def test_by_head_every_layer_and_head_sums_to_one_and_their_mean_is_the_attention(kinds, panel, blocks):
    targets = [(panel.dates[ROW], "F05"), (panel.dates[150], "F00")]
    for model in kinds.values():
        table = by_head(model, blocks, targets)
        assert list(table.columns) == ["date", "firm", "layer", "axis", "head", "kind", "key", "score"]
        np.testing.assert_allclose(table.groupby(["date", "firm", "layer", "head"])["score"].sum(), 1, atol=1e-5)
        mean = table.groupby(["date", "firm", "kind", "key"])["score"].mean()
        whole = table_of([model], blocks, "x", targets=targets).set_index(["date", "firm", "kind", "key"])["score"]
        np.testing.assert_allclose(mean[whole.index], whole, atol=1e-6)
    assert by_head(kinds["corrected"], blocks, targets).groupby("layer")["axis"].first().tolist() == ["firm", "time"]
    heads = by_head(kinds["both"], blocks, targets[:1]).groupby(["layer", "head"])["score"].max()
    assert heads.nunique() == 4


def test_what_is_held_at_once_does_not_matter(kinds, blocks, monkeypatch):
    for method in LOOKED:
        whole = table_of([kinds["both"]], blocks, "x", method)
        with monkeypatch.context() as changed:
            changed.setattr(weights, "CELLS", 1)
            parts = table_of([kinds["both"]], blocks, "x", method)
        np.testing.assert_allclose(parts["score"], whole["score"], atol=1e-6)


def test_value_norms_of_neighbours_in_time_and_reference_firms(panel, small_model):
    scaling = Scaling.fit(panel, np.arange(200))
    universe = panel[:, [0, 4, 5]]
    blocks = Blocks(
        panel, POSITIONS, scaling, TargetConfig(), Reference(universe, Scaling.fit(universe, np.arange(200)))
    )
    torch.manual_seed(0)
    model = PanelTransformer(scaling.width, ("time", "reference"), small_model, blocks.reference.scaling.width).eval()
    table = table_of([model], blocks, "x", "value_norm")
    np.testing.assert_allclose(table.groupby(["date", "firm", "kind"])["score"].sum(), 1, atol=1e-5)
    assert set(table["kind"]) == {"lag", "reference"}
    with pytest.raises(InputError, match="rollout stays within the panel"):
        attention([model], blocks, "x", "rollout")


def test_what_has_no_attention_to_read_is_refused(kinds, panel, blocks):
    with pytest.raises(InputError, match="method must be one of attention, value_norm, rollout, found 'saliency'"):
        attention([kinds["both"]], blocks, "x", "saliency")
    with pytest.raises(InputError, match="attention needs a model that attends, found a Ridge"):
        attention([Ridge()], blocks, "x")
    with pytest.raises(InputError, match="a target's firm must be one of the panel's, found 'IBM'"):
        attention([kinds["both"]], blocks, "x", targets=[(panel.dates[ROW], "IBM")])
    with pytest.raises(InputError, match="targets must be pairs of date and firm, found none"):
        by_head(kinds["both"], blocks, [])
    with pytest.raises(InputError, match="models must be at least one, found none"):
        attention([], blocks, "x")
