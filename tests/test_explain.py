import numpy as np
import pytest
import torch

from finattn.blocks import Blocks, Reference, Scaling
from finattn.config import ModelConfig, TargetConfig
from finattn.explain import attention, weights
from finattn.models import PanelTransformer

POSITIONS = np.array([70, 150, 151, 400])


@pytest.fixture(scope="module")
def blocks(panel):
    return Blocks(panel, POSITIONS, Scaling.fit(panel, np.arange(200)), TargetConfig())


def make_models(blocks, axes, config, seeds=2):
    models = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        models.append(PanelTransformer(blocks.scaling.width, axes, config).eval())
    return models


@pytest.mark.parametrize("axes", [("time",), ("firm",), ("time", "firm"), ("firm", "time", "time")])
def test_scores_of_a_firm_date_and_kind_sum_to_one(blocks, axes, small_model):
    table = attention(make_models(blocks, axes, small_model), blocks, "name")
    assert list(table.columns) == ["date", "firm", "model", "method", "kind", "key", "score"]
    kinds = set(table["kind"])
    assert kinds == {kind for kind, axis in (("lag", "time"), ("peer", "firm")) if axis in axes}
    assert set(table["model"]) == {"name"} and set(table["method"]) == {"attention"}
    sums = table.groupby(["date", "firm", "kind"])["score"].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    assert len(sums) == blocks.observed.sum() * len(kinds) and table["score"].between(0, 1 + 1e-6).all()


def test_scores_are_means_over_models_layers_and_heads(panel, blocks, small_model):
    models = make_models(blocks, ("time", "firm", "firm"), small_model)
    table = attention(models, blocks, "both").set_index(["date", "firm", "kind", "key"])["score"].sort_index()
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
    table = attention(make_models(blocks, ("firm",), small_model), blocks, "firm")
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
    whole = attention(models, blocks, "both")
    monkeypatch.setattr(weights, "TOP", 3)
    table = attention(models, blocks, "both")
    peers = table[table["kind"] == "peer"].groupby(["date", "firm"])["score"]
    assert (peers.size() == 3).all()
    heaviest = whole[whole["kind"] == "peer"].groupby(["date", "firm"])["score"].apply(lambda x: x.nlargest(3).sum())
    np.testing.assert_allclose(peers.sum(), heaviest)
    assert (table[table["kind"] == "lag"].groupby(["date", "firm"]).size() == 5).all()


def test_keys_are_in_order_and_the_table_is_the_same_twice(blocks, small_model):
    models = make_models(blocks, ("firm", "time"), small_model)
    table = attention(models, blocks, "both")
    assert attention(models, blocks, "both").equals(table)
    one = table[(table["kind"] == "peer") & (table["date"] == table["date"].iloc[0])]
    assert one.groupby("firm")["key"].apply(lambda keys: keys.is_monotonic_increasing).all()


def test_days_before_the_panel_begins_have_no_weight(panel):
    blocks = Blocks(panel, np.array([2]), Scaling.fit(panel, np.arange(200)), TargetConfig())
    config = ModelConfig(width=8, heads=2, feed_forward=16, lookback=6)
    table = attention(make_models(blocks, ("time",), config), blocks, "time")
    assert (table.loc[table["key"].isin(["3", "4", "5"]), "score"] == 0).all()


def test_industry_peers_are_peers_and_reference_firms_are_of_a_kind_of_their_own(panel, small_model):
    scaling = Scaling.fit(panel, np.arange(200))
    universe = panel[:, [0, 2, 5]]
    reference = Reference(universe, Scaling.fit(universe, np.arange(200)))
    blocks = Blocks(panel, POSITIONS, scaling, TargetConfig(), reference)
    torch.manual_seed(0)
    model = PanelTransformer(scaling.width, ("industry", "reference"), small_model, reference.scaling.width).eval()
    table = attention([model], blocks, "name")
    assert set(table["kind"]) == {"peer", "reference"}
    assert set(table.loc[table["kind"] == "reference", "key"]) == set(universe.firms)
    own = panel.industry[150, :]
    peers = table[(table["kind"] == "peer") & (table["score"] > 0) & (table["date"] == panel.dates[150])]
    code = dict(zip(panel.firms, own, strict=True))
    assert all(code[a] == code[b] or a == b for a, b in zip(peers["firm"], peers["key"], strict=True))
