"""Peer networks: the table, and how it is built from fitted models."""

import importlib

import numpy as np
import pandas as pd
import pytest
import torch

from finattn.blocks import Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.data import Design, simulate
from finattn.errors import InputError
from finattn.explain import How, gradients
from finattn.explain.scene import Corrected
from finattn.look_up import LookUp, LookUpConfig
from finattn.models import PanelTransformer
from finattn.networks import Averaging, PeerNetwork, build, refitted
from finattn.training import LookUpForecaster

building = importlib.import_module("finattn.networks.build")  # which the function hides
reading = importlib.import_module("finattn.networks.reading")

MADE = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": "abc"}
ROW = 400


def edge(firm="A", peer="B", weight=0.5, date="2020-01-31", lower=0.4, upper=0.6, share=1.0):
    return dict(date=date, firm=firm, peer=peer, weight=weight, lower=lower, upper=upper, share=share)


def node(firm="A", date="2020-01-31", name=None, size=1.0, industry_0=2834):
    return dict(date=date, firm=firm, name=firm if name is None else name, size=size, industry_0=industry_0)


def made_of(edges, firms="ABCD", made=MADE, dates=("2020-01-31",)):
    return PeerNetwork(pd.DataFrame(edges), pd.DataFrame([node(f, day) for day in dates for f in firms]), made)


# -- the table ------------------------------------------------------------


def test_columns_come_out_in_order_with_their_types_and_dates_as_days():
    network = made_of([edge()])
    assert network.edges.dtypes.astype(str).tolist() == ["datetime64[ms]", "str", "str", *["float64"] * 4]
    assert network.levels == ("industry_0",) and network.dates.tolist() == [pd.Timestamp("2020-01-31").date()]
    assert repr(network) == "PeerNetwork(1 date, 4 firms, 1 edge by attention)"
    assert network.metadata["as_of"] == ["2020-01-31"] and network.metadata["run"] == "abc"
    assert network.metadata["direction"].startswith("firm asks peer")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"weight": -0.1}, r"edges: weight must be finite and at least 0, found date 2020-01-31, firm 'A', peer 'B'"),
        ({"weight": np.inf}, "weight must be finite"),
        ({"weight": "0.5"}, "edges: weight must hold numbers, found str"),
        ({"peer": "A"}, "edges: a firm must not be its own peer"),
        ({"peer": "Z"}, "edges: firm and peer must be firms of the nodes on that date"),
        ({"date": "2020-02-29"}, "edges: firm and peer must be firms of the nodes on that date"),
        ({"date": "soon"}, "dates must be whole days"),
        ({"firm": ""}, "edges: firm must be text, found ''"),
        ({"firm": 3}, "edges: firm must be text, found 3"),
        ({"firm": ["A"]}, r"edges: firm must be text, found \['A'\]"),
        ({"lower": 0.7}, "edges: lower must be at most upper, or both NaN"),
        ({"upper": np.nan}, "edges: lower must be at most upper, or both NaN"),
        ({"share": 1.1}, "edges: share must be from 0 to 1, or NaN"),
    ],
)
def test_an_edge_that_cannot_be_is_refused_by_one_message(change, message):
    with pytest.raises(InputError, match=message):
        made_of([edge() | change])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"size": -1.0}, "nodes: size must be at least 0, or NaN, found date 2020-01-31, firm 'B'"),
        ({"firm": "A"}, "nodes: there must be one row for each date and firm"),
        ({"name": None}, "nodes: name must be text"),
        ({"industry_0": -1}, "nodes: industry_0 must hold integer codes from 0"),
    ],
)
def test_a_node_that_cannot_be_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        PeerNetwork(pd.DataFrame([edge()])[:0], pd.DataFrame([node(), node("B") | change]), MADE)


@pytest.mark.parametrize(
    "made, message",
    [
        ({"method": "attention"}, "made must have method, interval, level, run, found no interval, level, run"),
        (MADE | {"interval": "sure"}, "made.interval must be one of given the fit, refitted, none, found 'sure'"),
        (MADE | {"level": None}, "made.level must be between 0 and 1, found None"),
        (MADE | {"interval": "none"}, "made.level must be none without an interval, found 0.9"),
        (MADE | {"run": 3}, "made.run must be text, found 3"),
        (MADE | {"more": object()}, "made must hold what JSON can hold"),
    ],
)
def test_how_it_was_made_must_be_said(made, message):
    with pytest.raises(InputError, match=message):
        made_of([edge()], made=made)


def test_tables_of_other_columns_twice_the_same_edge_and_no_nodes_are_refused():
    nodes = pd.DataFrame([node("A"), node("B")])
    with pytest.raises(InputError, match="there must be one row for each date, firm and peer"):
        made_of([edge(), edge()])
    with pytest.raises(
        InputError, match="edges must have columns date, firm, peer, weight, lower, upper, share, found"
    ):
        PeerNetwork(pd.DataFrame([edge()]).drop(columns="share"), nodes, MADE)
    with pytest.raises(InputError, match=r"nodes must have columns date, firm, name, size, industry_0, …, found .*sic"):
        PeerNetwork(pd.DataFrame([edge()]), nodes.rename(columns={"industry_0": "sic"}), MADE)
    with pytest.raises(InputError, match="nodes must have at least one row"):
        PeerNetwork(pd.DataFrame([edge()])[:0], nodes[:0], MADE)
    with pytest.raises(InputError, match="edges must be a DataFrame, found a list"):
        PeerNetwork([edge()], nodes, MADE)


def test_what_is_saved_is_loaded_and_the_edges_alone_are_a_plain_edge_list(tmp_path):
    network = made_of([edge(), edge("B", "C", lower=np.nan, upper=np.nan, share=np.nan)])
    network.save(tmp_path / "peers")
    again = PeerNetwork.load(tmp_path / "peers")
    pd.testing.assert_frame_equal(again.edges, network.edges)
    pd.testing.assert_frame_equal(again.nodes, network.nodes)
    assert again.metadata == network.metadata
    assert pd.read_parquet(tmp_path / "peers" / "edges.parquet")["peer"].tolist() == ["B", "C"]


def test_a_folder_that_finattn_did_not_save_is_refused(tmp_path):
    with pytest.raises(InputError, match="edges.parquet must be a table of peers that finattn saved"):
        PeerNetwork.load(tmp_path)
    network = made_of([edge()])
    network.save(tmp_path / "one")
    network.edges.to_parquet(tmp_path / "one" / "edges.parquet")
    with pytest.raises(InputError, match="edges.parquet must be a table of peers that finattn saved"):
        PeerNetwork.load(tmp_path / "one")
    network.save(tmp_path / "one")
    made_of([edge()], made=MADE | {"run": "other"}).save(tmp_path / "two")
    (tmp_path / "one" / "nodes.parquet").write_bytes((tmp_path / "two" / "nodes.parquet").read_bytes())
    with pytest.raises(InputError, match="must hold edges and nodes of one network"):
        PeerNetwork.load(tmp_path / "one")


def test_one_date_is_cut_and_rows_of_the_matrix_ask_its_columns():
    days = ("2020-01-31", "2020-02-28")
    network = made_of([edge(), edge("B", "A", 0.3, days[1])], "AB", dates=days)
    assert network.matrix(days[0]).toarray().tolist() == [[0, 0.5], [0, 0]]
    assert network.matrix().toarray().tolist() == [[0, 0], [0.3, 0]]
    with pytest.raises(InputError, match="date must be an as-of date, 2020-01-31 to 2020-02-28, found 2020-02-01"):
        network.at("2020-02-01")


# -- paths ------------------------------------------------------------


def dense_network(count=6, seed=0):
    weights = np.random.default_rng(seed).dirichlet(np.ones(count), count)
    np.fill_diagonal(weights, 0)
    firms = [f"F{i}" for i in range(count)]
    edges = [edge(firms[i], firms[j], weights[i, j]) for i in range(count) for j in range(count) if i != j]
    return made_of(edges, firms), weights


def test_paths_of_two_steps_are_the_entries_of_the_matrix_squared():
    network, weights = dense_network()
    found = network.paths("F2")
    sums = found.groupby("peer_2")["share"].sum()
    for place in (0, 1, 3, 4, 5):
        assert sums[f"F{place}"] == pytest.approx((weights @ weights)[2, place])
    assert found["share"].is_monotonic_decreasing and "F2" not in sums
    first = found.iloc[0]
    assert first["share"] == pytest.approx(first["weight_1"] * first["weight_2"])
    assert first["direct"] == pytest.approx(weights[2, int(first["peer_2"][1])])


def test_paths_of_three_steps_come_by_no_firm_twice():
    found = dense_network()[0].paths("F0", depth=3)
    assert len(found) == 5 * 4 * 3
    assert (found[["peer_1", "peer_2", "peer_3"]].nunique(axis=1) == 3).all()
    assert dense_network()[0].paths("F0", depth=1)["share"].sum() < 1


def test_a_firm_that_asks_nobody_has_no_paths_and_no_direct_edge_is_zero():
    network = made_of([edge(), edge("B", "C", 0.4)])
    assert network.paths("D").empty
    assert network.paths("A")["direct"].tolist() == [0.0]


@pytest.mark.parametrize("depth", [0, 5, 1.5])
def test_paths_of_another_depth_or_firm_are_refused(depth):
    with pytest.raises(InputError, match=f"depth must be a whole number from 1 to 4, found {depth}"):
        made_of([edge()]).paths("A", depth=depth)
    with pytest.raises(InputError, match="firm must be one of the network's on 2020-01-31, found 'Z'"):
        made_of([edge()]).paths("Z")


# -- built from models ------------------------------------------------------------


@pytest.fixture(scope="module")
def blocks(panel):
    return Blocks(panel, np.array([ROW]), Scaling.fit(panel, np.arange(250)), TargetConfig())


def transformer(blocks, axes=("time", "firm", "industry"), seed=0, **config):
    torch.manual_seed(seed)
    settings = {"width": 8, "heads": 2, "feed_forward": 16, "lookback": 5} | config
    model = PanelTransformer(blocks.scaling.width, axes, ModelConfig(**settings)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def look_up(blocks, seed=0, **config):
    torch.manual_seed(seed)
    model = LookUp(blocks.scaling.width, LookUpConfig(**config))
    torch.nn.init.normal_(model.slope)
    return model


def weights_at(model, blocks, row, layer):
    """One layer's dense weights (n, n) at a row, averaged over heads evenly."""
    (block,) = blocks.at(np.array([row])).cut(model.warmup, 1)
    return model.attention(block, layer)[0].mean(0).double().numpy()


def matrix(network, panel):
    """The network's weights (n, n), firms in the panel's order."""
    firms = pd.Index(panel.firms)
    found = np.zeros((len(firms),) * 2)
    last = network.at().edges
    found[firms.get_indexer(last["firm"]), firms.get_indexer(last["peer"])] = last["weight"]
    return found


def test_weights_are_the_mean_over_fits_layers_heads_and_the_windows_dates(panel, blocks):
    fits = [transformer(blocks, seed=seed) for seed in range(2)]
    network = build(fits, blocks, [panel.dates[ROW]], averaging=Averaging(top_k=12, window=31, every=5, draws=20))
    total, asks = np.zeros(panel.shape[1:] * 2), np.zeros(panel.shape[1])
    for row in range(370, 401, 5):
        seen = panel.listed[row] & np.isfinite(panel.returns[row])
        asks += seen
        for model in fits:
            total += seen[:, None] * sum(weights_at(model, blocks, row, layer) for layer in (1, 2)) / 4
    expected = total / np.maximum(asks, 1)[:, None]
    np.fill_diagonal(expected, 0)
    expected[~panel.listed[ROW]] = expected[:, ~panel.listed[ROW]] = 0
    np.testing.assert_allclose(matrix(network, panel), expected, atol=1e-6)
    assert network.made["exact"] and network.made["dates_averaged"] == [7] and network.made["models"] == 2
    assert (asks[panel.listed[ROW]] < 7).any()  # some are not observed on some dates


def test_firms_that_are_not_listed_are_neither_nodes_nor_ends_of_edges(panel, blocks):
    network = build([look_up(blocks)], blocks, [panel.dates[ROW]], averaging=Averaging(window=80, every=10))
    gone = set(panel.firms[~panel.listed[ROW]])
    assert gone and panel.listed[ROW - 70, panel.firms == "F02"].all()  # F02 left within the window
    assert not gone & {*network.nodes["firm"], *network.edges["firm"], *network.edges["peer"]}


def test_the_heaviest_are_kept_the_heaviest_first(panel, blocks):
    whole = build([look_up(blocks)], blocks, [panel.dates[ROW]], averaging=Averaging(top_k=11))
    few = build([look_up(blocks)], blocks, [panel.dates[ROW]], averaging=Averaging(top_k=3))
    for firm, edges in few.edges.groupby("firm"):
        of_all = whole.edges[whole.edges["firm"] == firm]["weight"].to_numpy()
        np.testing.assert_allclose(edges["weight"], of_all[:3])
        assert edges["weight"].is_monotonic_decreasing


def test_what_falls_out_of_the_heaviest_counts_as_zero_so_that_weights_are_lower_bounds(panel, blocks, monkeypatch):
    settings = {"averaging": Averaging(top_k=2, window=10)}
    exact = build([look_up(blocks)], blocks, [panel.dates[ROW]], **settings)
    monkeypatch.setattr(building, "_LEAST", 1)
    bound = build([look_up(blocks)], blocks, [panel.dates[ROW]], **settings)
    assert bound.made["kept"] == 4 and not bound.made["exact"]
    both = exact.edges.merge(bound.edges, on=["firm", "peer"], suffixes=("", "_bound"))
    assert len(both) > 0.8 * len(exact.edges)
    assert (both["weight_bound"] <= both["weight"] + 1e-7).all() and (
        both["weight_bound"] < both["weight"] - 1e-4
    ).any()


@pytest.mark.parametrize("module, name, size", [(reading, "CELLS", 40), (reading, "_READ", 1), (building, "_HELD", 1)])
def test_the_size_of_chunks_changes_nothing(panel, blocks, monkeypatch, module, name, size):
    fits, days = [transformer(blocks, seed=seed) for seed in range(2)], panel.dates[[390, 395, ROW]]
    settings = {"averaging": Averaging(top_k=4, window=8, draws=30)}
    plain = build(fits, blocks, days, **settings)
    monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(building, "CELLS", reading.CELLS)
    again = build(fits, blocks, days, **settings)
    pd.testing.assert_frame_equal(again.edges, plain.edges, rtol=1e-4, atol=1e-6)


def test_each_as_of_date_is_what_it_is_alone(panel, blocks):
    days = panel.dates[[390, ROW]]
    settings = {"averaging": Averaging(top_k=4, window=15, every=5, draws=30)}
    both = build([transformer(blocks)], blocks, days, **settings)
    for day in days:
        one = build([transformer(blocks)], blocks, [day], **settings)
        pd.testing.assert_frame_equal(both.at(day).edges, one.edges, rtol=1e-4, atol=1e-6)


def test_the_network_does_not_change_when_the_future_does(panel, blocks):
    later = np.arange(len(panel))[:, None] > ROW
    other = panel.replace(
        returns=np.where(later, 0.1, panel.returns), features=np.where(later[..., None], 9.0, panel.features)
    )
    models, days = [transformer(blocks), look_up(blocks)], [panel.dates[ROW]]
    for model in models:
        first, second = (
            build(
                [model],
                Blocks(one, blocks.positions, blocks.scaling, blocks.target),
                days,
                averaging=Averaging(window=5),
            )
            for one in (panel, other)
        )
        pd.testing.assert_frame_equal(first.edges, second.edges)


def test_firms_have_no_order(panel, blocks):
    order = np.random.default_rng(0).permutation(panel.shape[1])
    mixed = Blocks(panel[:, order], blocks.positions, blocks.scaling, blocks.target)
    model, keys = transformer(blocks), ["firm", "peer"]
    one, two = (
        build([model], some, [panel.dates[ROW]], averaging=Averaging(window=5)).edges.sort_values(
            keys, ignore_index=True
        )
        for some in (blocks, mixed)
    )
    pd.testing.assert_frame_equal(one, two, rtol=1e-4, atol=1e-6)


def test_nodes_have_names_sizes_and_industries_as_of_the_date(panel, blocks):
    cap = np.arange(panel.returns.size, dtype=float).reshape(panel.shape)
    named = panel.replace(market_cap=cap, names=[f"Firm {firm}" for firm in panel.firms])
    some = Blocks(named, blocks.positions, blocks.scaling, blocks.target)
    nodes = build([look_up(blocks)], some, [panel.dates[ROW]]).nodes.set_index("firm")
    assert nodes.loc["F00", "name"] == "Firm F00" and nodes.loc["F00", "size"] == cap[ROW, 0]
    assert nodes.loc["F00", ["industry_0", "industry_1", "industry_2", "industry_3"]].tolist() == [2834, 283, 28, 4]
    assert build([look_up(blocks)], blocks, [panel.dates[ROW]]).nodes["size"].isna().all()


# -- the models ------------------------------------------------------------


def test_the_heaviest_weights_of_a_look_up_are_the_dense_ones(panel, blocks, monkeypatch):
    model = look_up(blocks)
    (block,) = blocks.at(np.array([395, ROW])).cut(model.warmup, 10)
    monkeypatch.setattr(importlib.import_module("finattn.attention.reading"), "CELLS", 50)
    dense, top = model.attention(block), model.attention(block, top_k=4)
    weights, keys = dense.topk(4, dim=3)
    torch.testing.assert_close(top.weights, weights)
    assert (top.keys == keys.masked_fill(weights == 0, -1)).all()
    with pytest.raises(InputError, match="top_k must be at least 1, found 0"):
        model.attention(block, top_k=0)


def test_what_the_heads_of_a_look_up_add_is_its_score(blocks, monkeypatch):
    model = look_up(blocks, heads=3)
    (block,) = blocks.at(np.array([395, ROW])).cut(model.warmup, 10)
    monkeypatch.setattr(importlib.import_module("finattn.look_up"), "CELLS", 50)
    with torch.no_grad():
        scores = model(block)[block.scored]
    torch.testing.assert_close(model.by_head(block).sum(1), scores, equal_nan=True)


def test_heads_of_a_look_up_count_as_much_as_they_move_the_score(panel, blocks):
    model = look_up(blocks, heads=2)
    (block,) = blocks.cut(model.warmup, 1)
    size = np.nanstd(model.by_head(block)[0].numpy(), axis=1)
    expected = np.tensordot(size / size.sum(), model.attention(block)[0].numpy(), 1)
    expected[:, ~panel.listed[ROW]] = 0
    np.testing.assert_allclose(matrix(build([model], blocks, [panel.dates[ROW]]), panel), expected, atol=1e-6)
    with torch.no_grad():
        model.slope[0] = 0.0  # a head that says nothing
    expected = model.attention(block)[0, 1].numpy() * panel.listed[ROW]
    np.testing.assert_allclose(matrix(build([model], blocks, [panel.dates[ROW]]), panel), expected, atol=1e-6)


def test_a_look_up_without_slopes_counts_its_heads_evenly(panel, blocks):
    model = look_up(blocks)
    torch.nn.init.zeros_(model.slope)
    (block,) = blocks.cut(model.warmup, 1)
    expected = model.attention(block)[0].mean(0).numpy() * panel.listed[ROW]
    np.testing.assert_allclose(matrix(build([model], blocks, [panel.dates[ROW]]), panel), expected, atol=1e-6)


def test_a_base_and_its_correction_count_as_much_as_each_moves_the_score(panel, blocks):
    base, model = look_up(blocks), transformer(blocks, ("firm",))
    of = lambda net: matrix(build([net], blocks, [panel.dates[ROW]]), panel)  # noqa: E731
    (block,) = blocks.cut(base.warmup, 1)
    with torch.no_grad():
        moved = float(np.nanstd(model(block)[-1].numpy()))
    expected = (0.2 * of(base) + moved * of(model)) / (0.2 + moved)
    np.testing.assert_allclose(of(Corrected(model, base, 0.2)), expected, atol=1e-6)
    torch.nn.init.zeros_(model.head.weight)
    np.testing.assert_allclose(of(Corrected(model, base, 0.2)), of(base), atol=1e-7)


def test_a_part_that_does_not_look_at_firms_is_left_out(panel, blocks):
    base, alone = look_up(blocks), transformer(blocks, ("time",))
    found = build([Corrected(alone, base, 0.1)], blocks, [panel.dates[ROW]])
    np.testing.assert_allclose(
        matrix(found, panel), matrix(build([base], blocks, [panel.dates[ROW]]), panel), atol=1e-7
    )


@pytest.mark.parametrize("method", ["rollout", "value_norm"])
def test_other_ways_to_look_are_those_of_explanations(panel, blocks, method):
    model = transformer(blocks, ("firm", "firm"))
    found = matrix(build([model], blocks, [panel.dates[ROW]], method), panel)
    from finattn.explain import attention

    table = attention([model], blocks, "", method).table
    expected = table[table["kind"] == "peer"].pivot(index="firm", columns="key", values="score")
    expected = expected.reindex(index=panel.firms, columns=panel.firms).fillna(0.0).to_numpy().copy()
    np.fill_diagonal(expected, 0)
    expected[:, ~panel.listed[ROW]] = 0
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("method, of", [("gradients", "integrated_gradients"), ("shapley", "shapley")])
def test_what_moves_the_score_counts_whatever_its_sign(panel, blocks, method, of):
    model, how = look_up(blocks), How(steps=4, samples=2, peers=3)
    network = build([model], blocks, [panel.dates[ROW]], method, Averaging(top_k=5), how)
    table = gradients(model, blocks, [(panel.dates[ROW], "F05")], of, how).table
    scores = table[table["kind"] == "peer"].set_index("key")["score"].abs()
    expected = (scores / scores.sum()).drop("F05")
    found = network.edges[network.edges["firm"] == "F05"].set_index("peer")["weight"]
    shared = found.index[:2]
    if method == "gradients":  # Shapley values are drawn
        np.testing.assert_allclose(found[shared], expected[shared], rtol=1e-4)
    assert 0 < found.sum() <= 1 + 1e-6 and "others" not in found and network.made["how"]["steps"] == 4


def test_a_base_and_its_correction_are_rolled_out_side_by_side(panel, blocks):
    base, model = look_up(blocks), transformer(blocks, ("firm", "firm"))
    of = lambda net: matrix(build([net], blocks, [panel.dates[ROW]], "rollout"), panel)  # noqa: E731
    (block,) = blocks.cut(base.warmup, 1)
    with torch.no_grad():
        moved = float(np.nanstd(model(block)[-1].numpy()))
    expected = (0.2 * of(base) + moved * of(model)) / (0.2 + moved)
    np.testing.assert_allclose(of(Corrected(model, base, 0.2)), expected, atol=1e-6)


# -- how sure ------------------------------------------------------------


def test_one_fit_on_one_date_has_no_interval(panel, blocks):
    network = build([look_up(blocks)], blocks, [panel.dates[ROW]])
    assert network.made["interval"] == "none" and network.made["level"] is None
    assert network.edges[["lower", "upper", "share"]].isna().all(axis=None)


def test_fits_that_agree_on_one_date_leave_no_doubt(panel, blocks):
    network = build([look_up(blocks)] * 3, blocks, [panel.dates[ROW]], averaging=Averaging(top_k=3))
    edges = network.edges
    np.testing.assert_allclose(edges[["lower", "upper"]], edges[["weight", "weight"]], atol=1e-9)
    assert (edges["share"] == 1).all() and network.made["interval"] == "given the fit"


def test_intervals_hold_the_weight_grow_with_the_level_and_repeat_with_the_seed(panel, blocks):
    fits, day = [look_up(blocks, seed) for seed in range(3)], [panel.dates[ROW]]
    make = lambda **settings: build(fits, blocks, day, averaging=Averaging(window=12, **settings)).edges  # noqa: E731
    narrow, wide, again, other = make(level=0.5), make(), make(), make(seed=1)
    assert ((wide["lower"] <= wide["weight"]) & (wide["weight"] <= wide["upper"])).mean() > 0.95
    assert ((wide["upper"] - wide["lower"]) >= (narrow["upper"] - narrow["lower"])).all()
    pd.testing.assert_frame_equal(wide, again)
    assert not np.allclose(wide["lower"], other["lower"])


def test_the_share_is_how_often_an_edge_is_among_the_heaviest():
    cells = np.array([[[0.6, 0.4, 0.1]], [[0.6, 0.1, 0.4]]])  # two pieces of a firm with three peers
    counts = np.array([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [1.0, 1.0]])
    lower, upper, share = building._spread(cells, np.ones((2, 1)), building._Drawn(counts, 0.5), top_k=2)
    assert share.tolist() == [[1.0, 0.75, 0.5]]  # a tie counts for both
    np.testing.assert_allclose(
        lower, np.quantile([[[0.6, 0.4, 0.1]], [[0.6, 0.1, 0.4]], [[0.6, 0.4, 0.1]], [[0.6, 0.25, 0.25]]], 0.25, axis=0)
    )
    np.testing.assert_allclose(upper[0, 0], 0.6)


def test_a_draw_without_a_firms_only_date_repeats_its_average():
    cells, asks = np.array([[[0.5]], [[0.0]]]), np.array([[1.0], [0.0]])
    lower, upper, share = building._spread(cells, asks, building._Drawn(np.array([[0.0, 2.0], [2.0, 0.0]]), 0.9), 1)
    assert lower.item() == upper.item() == 0.5 and share.item() == 1.0


def test_refitted_draws_give_percentiles_and_an_absent_edge_counts_as_zero():
    draws = [made_of([edge(weight=w)]) for w in (0.1, 0.2, 0.3)] + [made_of([edge("B", "A")])]
    found = refitted(made_of([edge(weight=0.9)]), draws, level=0.5)
    row = found.edges.iloc[0]
    assert row["weight"] == 0.9 and row["share"] == 0.75
    assert [row["lower"], row["upper"]] == pytest.approx(np.quantile([0, 0.1, 0.2, 0.3], [0.25, 0.75]))
    assert found.made["interval"] == "refitted" and found.made["draws"] == 4 and found.made["level"] == 0.5


def test_draws_of_another_kind_are_refused():
    network = made_of([edge()])
    with pytest.raises(InputError, match="draws must be at least 2 networks, found 1"):
        refitted(network, [network])
    with pytest.raises(InputError, match="draws must be networks like .* by the same method on the same dates"):
        refitted(network, [network, made_of([edge()], made=MADE | {"method": "rollout"})])
    with pytest.raises(InputError, match="level must be between 0 and 1, found 1"):
        refitted(network, [network, network], level=1)


# -- what is refused ------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda b, d: build([], b, d), r"models must be at least one, found \[\]"),
        (
            lambda b, d: build([transformer(b, ("time",))], b, d),
            r"model that attends to other firms, found axes \('time',\)",
        ),
        (lambda b, d: build([object()], b, d), "only a fitted network can be explained, found object"),
        (
            lambda b, d: build([look_up(b)], b, d, "magic"),
            "method must be one of attention, rollout, value_norm, gradients",
        ),
        (lambda b, d: build([look_up(b)], b, []), "dates must be at least one, found 0"),
        (
            lambda b, d: build([look_up(b)], b, ["2001-01-06"]),
            "dates must be the panel's, 2001-01-01 to .* found 2001-01-06",
        ),
        (lambda b, d: build([look_up(b)], b, [d[0], d[0]]), "dates must be increasing"),
        (
            lambda b, d: build([look_up(b)], b, d, averaging=Averaging(window=500)),
            "window must lie within the panel, at most 401 rows at .*, found 500",
        ),
        (lambda b, d: Averaging(top_k=0), "top_k must be at least 1, found 0"),
        (lambda b, d: Averaging(draws=1001), "draws must be from 0 to 1000, found 1001"),
        (lambda b, d: Averaging(level=1.0), "level must be between 0 and 1"),
        (lambda b, d: Averaging(seed=-1), "seed must be at least 0"),
    ],
)
def test_what_cannot_be_built_is_refused(panel, blocks, make, message):
    with pytest.raises(InputError, match=message):
        make(blocks, [panel.dates[ROW]])


# -- what it finds ------------------------------------------------------------


def test_it_finds_planted_peers_in_the_planted_direction():
    panel, truth = simulate(80, 900, r2=0.08, seed=1, design=Design(shares={"peers": 1.0}))
    scaling = Scaling.fit(panel, np.arange(600))
    train, valid = (Blocks(panel, rows, scaling, TargetConfig(1)) for rows in (np.arange(600), np.arange(602, 750)))
    training = TrainingConfig(block=10, epochs=8, minimum_epochs=4, learning_rate=1e-2)
    fits = [LookUpForecaster(training=training, seed=seed).fit(train, valid) for seed in range(2)]
    row = 850
    network = build(fits, valid, [panel.dates[row]], averaging=Averaging(top_k=truth.peers.shape[2]))
    column = {firm: place for place, firm in enumerate(panel.firms)}
    ends = [
        (column[firm], column[peer]) for firm, peer in zip(network.edges["firm"], network.edges["peer"], strict=True)
    ]
    hits = [j in truth.peers[row, i] for i, j in ends]
    backwards = [i in truth.peers[row, j] and j not in truth.peers[row, i] for i, j in ends]
    assert np.mean(hits) > 0.6 and np.mean(backwards) < 0.05
    sure = network.edges["share"] == 1
    assert np.mean(np.array(hits)[sure]) > np.mean(np.array(hits)[~sure]) + 0.2
