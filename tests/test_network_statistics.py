"""Statistics of peer networks, held against networkx and numbers worked by hand."""

import tracemalloc

import networkx
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import adjusted_mutual_info_score

from finattn.errors import InputError
from finattn.networks import PeerNetwork, to_networkx
from finattn.networks.communities import _best, _strengths, communities, modularity
from finattn.networks.statistics import edge_survival, network_statistics, node_statistics

DAYS = ("2020-01-31", "2020-02-10", "2020-03-31")
MADE = {"method": "planted", "interval": "none", "level": None, "run": ""}


def network_of(edges, listed, industry=None):
    """Edges (date, firm, peer, weight) and, by date, the firms that are listed; two levels of industry."""
    nodes = [
        {"date": day, "firm": firm, "name": f"Firm {firm}", "size": 1.0, "industry_0": code, "industry_1": code // 10}
        for day, firms in listed.items()
        for firm in firms
        for code in [(industry or {}).get(firm, 11)]
    ]
    columns = ["date", "firm", "peer", "weight", "lower", "upper", "share"]
    return PeerNetwork(
        pd.DataFrame([(*edge, *[np.nan] * 3) for edge in edges], columns=columns), pd.DataFrame(nodes), MADE
    )


def random_network(firms=40, peers=4, seed=0, equal=False):
    rng, names = np.random.default_rng(seed), [f"F{place:02d}" for place in range(firms)]
    codes = dict(zip(names, rng.choice([11, 12, 21, 22, 31], firms).tolist(), strict=True))
    edges = [
        (DAYS[0], firm, peer, 1.0 if equal else rng.random())
        for firm in names
        for peer in rng.choice([name for name in names if name != firm], peers, replace=False)
    ]
    return network_of(edges, {DAYS[0]: names}, codes)


def blocks(firms, groups, peers, inside, seed=0):
    """Weights (n, n) of a random network with planted groups."""
    rng = np.random.default_rng(seed)
    group = np.arange(firms) % groups
    firm, peer = np.repeat(np.arange(firms), peers), rng.integers(firms, size=firms * peers)
    own = rng.random(len(firm)) < inside
    peer[own] = (rng.integers(firms // groups, size=own.sum()) * groups + group[firm[own]]) % firms
    kept = firm != peer
    weights = rng.random(kept.sum()) + 0.1
    return csr_matrix((weights, (firm[kept], peer[kept])), shape=(firms, firms)), group


# -- firms ------------------------------------------------------------


def test_strengths_and_degrees_are_those_of_networkx():
    network = random_network()
    graph, found = to_networkx(network), node_statistics(network).set_index("firm")
    for name, of in (
        ("in_strength", graph.in_degree(weight="weight")), ("out_strength", graph.out_degree(weight="weight")),
        ("in_degree", graph.in_degree()), ("out_degree", graph.out_degree()),
    ):  # fmt: skip
        assert found[name].to_dict() == pytest.approx(dict(of)), name
    assert found["name"]["F00"] == "Firm F00" and found.loc["F00", ["size", "industry_1"]].tolist() == [
        1.0, network.nodes["industry_1"][0]
    ]  # fmt: skip


def test_a_firm_that_is_only_asked_gives_and_one_without_edges_does_neither():
    edges = [(DAYS[0], "A", "B", 0.3), (DAYS[0], "B", "A", 0.1), (DAYS[0], "A", "C", 0.2)]
    found = node_statistics(network_of(edges, {DAYS[0]: "ABCD"})).set_index("firm")["asymmetry"]
    assert found["A"] == pytest.approx((0.1 - 0.5) / 0.6) and found["B"] == pytest.approx(0.5) and found["C"] == 1
    assert np.isnan(found["D"])


def test_an_edge_of_weight_zero_is_none():
    network = network_of([(DAYS[0], "A", "B", 0.0), (DAYS[0], "B", "A", 1.0)], {DAYS[0]: "ABC"})
    assert node_statistics(network)["out_degree"].tolist() == [0, 1, 0]
    assert network_statistics(network).loc[0, ["edges", "reciprocity"]].tolist() == [1, 0.0]


# -- the network ------------------------------------------------------------


def test_density_and_reciprocity_are_those_of_networkx():
    network = random_network(seed=3)
    graph, (found,) = to_networkx(network), network_statistics(network).to_dict("records")
    assert found["density"] == pytest.approx(networkx.density(graph))
    assert found["reciprocity"] == pytest.approx(networkx.overall_reciprocity(graph)) and found["reciprocity"] > 0
    assert (found["firms"], found["edges"]) == (graph.number_of_nodes(), graph.number_of_edges())


@pytest.mark.parametrize("level", ["industry_0", "industry_1"])
def test_assortativity_with_equal_weights_is_that_of_networkx(level):
    network = random_network(equal=True, seed=5)
    expected = networkx.attribute_assortativity_coefficient(to_networkx(network), level)
    assert network_statistics(network)[f"assortativity_{level}"][0] == pytest.approx(expected)


def test_assortativity_counts_weights_and_leaves_out_what_is_not_known():
    edges = [("A", "B", 3.0), ("B", "C", 1.0), ("C", "A", 2.0), ("D", "A", 9.0)]
    industry = {"A": 11, "B": 11, "C": 22, "D": 0}
    network = network_of([(DAYS[0], *edge) for edge in edges], {DAYS[0]: "ABCD"}, industry)
    # Of 6: 3 within 11, 1 from 11 to 22, 2 from 22 to 11; they ask 4 and 2, are asked 5 and 1.
    chance = (4 * 5 + 2 * 1) / 36
    assert network_statistics(network)["assortativity_industry_0"][0] == pytest.approx((3 / 6 - chance) / (1 - chance))


def test_one_industry_alone_has_no_assortativity():
    network = network_of([(DAYS[0], "A", "B", 1.0)], {DAYS[0]: "AB"})
    assert np.isnan(network_statistics(network)["assortativity_industry_0"][0])


def test_asymmetry_is_zero_where_all_give_what_they_take_and_one_where_nobody_gives_back():
    for back, expected in ((0.4, 0.0), (0.1, 0.3 / 0.5), (0.0, 1.0)):
        network = network_of([(DAYS[0], "A", "B", 0.4), (DAYS[0], "B", "A", back)], {DAYS[0]: "AB"})
        assert network_statistics(network)["asymmetry"][0] == pytest.approx(expected)


def test_a_date_without_edges_has_no_shares():
    found = network_statistics(network_of([(DAYS[1], "A", "B", 1.0)], {DAYS[0]: "AB", DAYS[1]: "AB"}))
    assert found["edges"].tolist() == [0, 1] and found["density"].tolist() == [0.0, 0.5]
    assert found.loc[0, ["reciprocity", "asymmetry", "modularity"]].isna().all() and np.isnan(found["turnover"][1])


# -- time ------------------------------------------------------------

KEPT = [
    (DAYS[0], "A", "B", 0.5), (DAYS[0], "B", "A", 0.3), (DAYS[0], "B", "C", 0.2), (DAYS[0], "A", "D", 0.9),
    (DAYS[1], "A", "B", 0.2), (DAYS[1], "C", "A", 0.2), (DAYS[1], "B", "E", 0.7),
    (DAYS[2], "A", "B", 0.2), (DAYS[2], "B", "C", 0.2),
]  # fmt: skip
LISTED = {DAYS[0]: "ABCD", DAYS[1]: "ABCE", DAYS[2]: "EABC"}


def test_turnover_counts_edges_that_are_gone_and_not_firms_that_are():
    found = network_statistics(network_of(KEPT, LISTED))
    assert np.isnan(found["turnover"][0]) and np.isnan(found["half_life"][0])
    assert found["turnover"][1:].tolist() == pytest.approx([2 / 3, 2 / 3])  # D left with A's edge to it
    # Of weight among A, B, C: 0.5, 0.3, 0.2, then 0.5 (A to B) and 0.5 (C to A).
    assert found["weight_turnover"][1] == pytest.approx((0.3 + 0.2 + 0.5) / 2)


def test_half_life_is_in_days_at_the_pace_of_the_turnover():
    found = network_statistics(network_of(KEPT, LISTED))
    assert (1 - found["turnover"][1]) ** (found["half_life"][1] / 10) == pytest.approx(0.5)
    assert (1 - found["turnover"][2]) ** (found["half_life"][2] / 50) == pytest.approx(0.5)


@pytest.mark.parametrize("later, expected", [("B", np.inf), ("C", 0.0)])
def test_edges_that_all_stay_or_all_go_have_no_half_life_or_none_at_all(later, expected):
    edges = [(DAYS[0], "A", "B", 1.0), (DAYS[1], "A", later, 1.0)]
    assert network_statistics(network_of(edges, dict.fromkeys(DAYS[:2], "ABC")))["half_life"][1] == expected


def test_edges_that_come_again_have_survived():
    found = edge_survival(network_of(KEPT, LISTED))
    # One date on: A-B of three, then A-B of three (A-B, C-A, B-E). Two dates on: A-B and B-C of three.
    assert found["edges"].tolist() == [6, 3] and found["surviving"].tolist() == pytest.approx([2 / 6, 2 / 3])
    assert found["lag"].tolist() == [1, 2] and found["days"].tolist() == [30.0, 60.0]


def test_edges_of_one_date_cannot_survive():
    with pytest.raises(InputError, match="network must be one of at least two dates, found PeerNetwork"):
        edge_survival(random_network())


# -- communities ------------------------------------------------------------


def test_modularity_is_that_of_networkx():
    weights, group = blocks(60, 4, 5, 0.5)
    graph = networkx.from_scipy_sparse_array(weights, create_using=networkx.DiGraph)
    sets = [set(np.flatnonzero(group == number).tolist()) for number in range(4)]
    assert modularity(weights, group) == pytest.approx(networkx.community.modularity(graph, sets))


@pytest.mark.parametrize("firms, groups, peers, inside", [(200, 8, 8, 0.7), (600, 20, 12, 0.6)])
def test_planted_groups_are_found(firms, groups, peers, inside):
    weights, group = blocks(firms, groups, peers, inside)
    assert adjusted_mutual_info_score(group, communities(weights)) > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_a_firm_moves_where_modularity_gains_most(seed):
    weights, _ = blocks(12, 3, 6, 0.4, seed)
    weights = csr_matrix(weights + csr_matrix((np.full(12, 0.3), (np.arange(12),) * 2)))  # as merged networks have
    labels = np.random.default_rng(seed).integers(4, size=12)
    both = (weights + weights.T).tocsr()
    chosen = _best(both, _strengths(weights), labels, np.arange(12))
    for firm in range(12):
        values = [modularity(weights, np.where(np.arange(12) == firm, to, labels)) for to in range(4)]
        linked = np.unique(np.append(labels[both[firm].indices], labels[firm]))
        assert values[chosen[firm]] == pytest.approx(max(values[to] for to in linked))


@pytest.mark.parametrize("inside", [0.0, 0.3, 0.6])
def test_communities_are_as_good_as_those_of_networkx(inside):
    weights, _ = blocks(150, 6, 5, inside, seed=2)
    graph = networkx.from_scipy_sparse_array(weights, create_using=networkx.DiGraph)
    best = max(
        networkx.community.modularity(graph, networkx.community.louvain_communities(graph, seed=seed))
        for seed in range(3)
    )
    assert modularity(weights, communities(weights)) > 0.97 * best


def test_communities_are_the_same_again_numbered_by_size_and_a_lonely_firm_is_alone():
    weights, _ = blocks(60, 3, 6, 0.9)
    weights = csr_matrix((weights.data, weights.indices, np.append(weights.indptr, weights.indptr[-1])), (61, 61))
    found = communities(weights, seed=4)
    np.testing.assert_array_equal(found, communities(weights, seed=4))
    sizes = np.bincount(found)[1:]
    assert (np.diff(sizes) <= 0).all() and sizes.sum() == 61 and (found == found[-1]).sum() == 1
    assert communities(csr_matrix((3, 3))).tolist() == [1, 2, 3]


def test_the_seed_reaches_the_tables():
    network = random_network(seed=1)
    one, two = (node_statistics(network, seed)["community"] for seed in (0, 1))
    assert not one.equals(two) and one.equals(node_statistics(network)["community"])
    labels = one.to_numpy()
    found = network_statistics(network).iloc[0]
    assert found["modularity"] == pytest.approx(modularity(network.matrix(), labels))
    assert found["communities"] == (np.bincount(labels) > 1).sum()


def test_labels_must_be_one_for_each_firm():
    with pytest.raises(InputError, match="labels must be one for each of 3 firms, found"):
        modularity(csr_matrix((3, 3)), np.ones(2, int))


def test_nothing_of_the_size_of_all_pairs_is_held():
    firms = 3000
    weights, _ = blocks(firms, 30, 4, 0.6)
    pairs = weights.tocoo()
    names = np.array([f"F{place:04d}" for place in range(firms)], dtype=object)
    unknown = dict.fromkeys(["lower", "upper", "share"], np.nan)
    edges = pd.DataFrame(
        {"date": DAYS[0], "firm": names[pairs.row], "peer": names[pairs.col], "weight": pairs.data} | unknown
    )
    network = PeerNetwork(edges, pd.DataFrame({"date": DAYS[0], "firm": names, "name": names, "size": 1.0}), MADE)
    tracemalloc.start()
    node_statistics(network)
    network_statistics(network)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < firms**2  # a byte a pair
