"""Exports of peer networks, each read back by the other side."""

import json
import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import networkx
import numpy as np
import pandas as pd
import pytest
import torch

from finattn.errors import InputError
from finattn.networks import (
    PeerNetwork,
    to_networkx,
    to_node_link,
    to_pyg,
    to_scipy,
    to_tensors,
    write_csv,
    write_gexf,
    write_graphml,
    write_hoberg_phillips,
    write_node_link,
)

DAYS = ("2019-06-28", "2019-12-31", "2020-06-30")
HOSTILE = "<img onerror=alert(1)> & \"Söhne\" 'x' ]]>"
MADE = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": "0f3a", "top_k": 2}
# Who asks whom when: the second edge is gone in the middle, the third comes at the end and has no interval.
EDGES = [
    (DAYS[0], "A", "B", 0.1, 0.05, 0.2, 1.0),
    (DAYS[1], "A", "B", 1 / 3, 0.1, 0.4, 0.75),
    (DAYS[2], "A", "B", 0.3, 0.2, 0.4, 1.0),
    (DAYS[0], "B", "C D", 0.4, 0.3, 0.5, 0.5),
    (DAYS[2], "B", "C D", 0.6, 0.5, 0.7, 0.5),
    (DAYS[2], "C D", "A", 0.2, np.nan, np.nan, np.nan),
]


def make(firms=("A", "B", "C D"), names=(HOSTILE, "Beta\x07\nline", "Γ"), edges=EDGES):
    columns = ["date", "firm", "peer", "weight", "lower", "upper", "share"]
    nodes = [
        {"date": day, "firm": firm, "name": name, "size": size, "industry_0": code, "industry_1": code // 100}
        for day in DAYS
        for firm, name, size, code in zip(firms, names, (1e9, np.nan, 5.0), (2834, 0, 6021), strict=True)
    ]
    return PeerNetwork(pd.DataFrame(edges, columns=columns), pd.DataFrame(nodes), MADE)


@pytest.fixture(scope="module")
def network():
    return make()


# -- tables ------------------------------------------------------------


def test_csv_reads_back_to_the_last_bit_and_its_metadata_lies_beside_it(network, tmp_path):
    path = write_csv(network, tmp_path / "peers.csv")
    again = pd.read_csv(path, dtype=str)  # whose numbers are Python's to read
    types = {"date": "datetime64[ms]"} | dict.fromkeys(["weight", "lower", "upper", "share"], float)
    pd.testing.assert_frame_equal(again.astype(types), network.edges, check_exact=True)
    beside = json.loads((tmp_path / "peers.csv-metadata.json").read_text())
    assert beside == network.metadata and beside["as_of"] == list(DAYS) and beside["run"] == "0f3a"


def test_csv_quotes_what_needs_it(tmp_path):
    firms = ('A,"B"', "B\nC", "C D")
    edges = [(DAYS[0], firms[0], firms[1], 0.1, 0.05, 0.2, 1.0)]
    path = write_csv(make(firms, edges=edges), tmp_path / "peers.csv")
    assert pd.read_csv(path)[["firm", "peer"]].to_numpy().tolist() == [[firms[0], firms[1]]]


def test_the_layout_of_hoberg_and_phillips_has_the_last_date_of_each_year(network, tmp_path):
    path = write_hoberg_phillips(network, tmp_path / "peers.txt")
    assert path.read_text().splitlines()[0] == "year\tgvkey1\tgvkey2\tscore"
    again = pd.read_csv(path, sep="\t")
    assert again[["year", "gvkey1", "gvkey2"]].to_numpy().tolist() == [
        [2019, "A", "B"],
        [2020, "A", "B"],
        [2020, "B", "C D"],
        [2020, "C D", "A"],
    ]
    assert again["score"].tolist() == pytest.approx([1 / 3, 0.3, 0.6, 0.2])
    beside = json.loads(Path(f"{path}-metadata.json").read_text())
    assert beside["as_of"] == list(DAYS[1:]) and beside["run"] == "0f3a" and beside["direction"].startswith("firm asks")


@pytest.mark.parametrize("firm", ["A\tB", "A\nB", 'A"B'])
def test_an_identifier_that_the_layout_cannot_hold_is_refused_and_nothing_written(firm, tmp_path):
    odd = make((firm, "B", "C D"), edges=[(DAYS[2], firm, "B", 0.1, 0.05, 0.2, 1.0)])
    with pytest.raises(InputError, match="identifiers must have no tab, quote or line break"):
        write_hoberg_phillips(odd, tmp_path / "peers.txt")
    assert not list(tmp_path.iterdir())


# -- networkx and JSON ------------------------------------------------------------


def test_a_graph_of_one_date_has_its_edges_from_who_asks_to_who_is_asked(network):
    graph = to_networkx(network, DAYS[0])
    assert isinstance(graph, networkx.DiGraph) and not graph.is_multigraph()
    assert set(graph.edges) == {("A", "B"), ("B", "C D")}
    assert graph.edges["A", "B"] == {"date": DAYS[0], "weight": 0.1, "lower": 0.05, "upper": 0.2, "share": 1.0}
    assert graph.nodes["A"] == {"name": HOSTILE, "size": 1e9, "industry_0": 2834, "industry_1": 28}
    assert graph.graph["as_of"] == [DAYS[0]] and graph.graph["run"] == "0f3a"


def test_a_graph_of_several_dates_has_parallel_edges_and_leaves_out_what_is_not_known(network):
    graph = to_networkx(network)
    assert graph.number_of_edges("A", "B") == 3 and graph.edges["A", "B", DAYS[1]]["weight"] == 1 / 3
    assert set(graph.edges["C D", "A", DAYS[2]]) == {"date", "weight"} and "size" not in graph.nodes["B"]


@pytest.mark.parametrize("date", [None, DAYS[2]])
def test_node_link_json_reads_back_as_the_same_graph(network, tmp_path, date):
    path = write_node_link(network, tmp_path / "peers.json", date)
    again = networkx.node_link_graph(json.loads(path.read_text(encoding="utf-8")), edges="edges")
    graph = to_networkx(network, date)
    assert networkx.utils.graphs_equal(again, graph) and again.graph == graph.graph
    assert again.is_multigraph() == (date is None) and again.is_directed()
    assert to_node_link(network, date)["graph"]["run"] == "0f3a"


# -- Gephi ------------------------------------------------------------


def test_gexf_reads_back_with_a_spell_for_each_stretch_of_dates(network, tmp_path):
    graph = networkx.read_gexf(write_gexf(network, tmp_path / "peers.gexf"), version="1.3")
    assert graph.is_directed() and set(graph.edges) == {("A", "B"), ("B", "C D"), ("C D", "A")}
    assert graph.edges["A", "B"]["spells"] == [(DAYS[0], DAYS[2])]
    assert graph.edges["B", "C D"]["spells"] == [(DAYS[0], "2019-12-30"), (DAYS[2], DAYS[2])]
    assert graph.edges["A", "B"]["weight_at"] == [
        (0.1, DAYS[0], "2019-12-30"),
        (1 / 3, DAYS[1], "2020-06-29"),
        (0.3, DAYS[2], DAYS[2]),
    ]
    assert graph.edges["A", "B"]["weight"] == pytest.approx((0.1 + 1 / 3 + 0.3) / 3)
    assert graph.edges["A", "B"]["share"][1][0] == 0.75 and "lower" not in graph.edges["C D", "A"]
    assert graph.nodes["A"]["spells"] == [(DAYS[0], DAYS[2])] and graph.nodes["A"]["industry_1"] == 28


def test_gexf_is_dated_directed_xml_that_says_how_it_was_made(network, tmp_path):
    path = write_gexf(network, tmp_path / "peers.gexf")
    root, space = ElementTree.parse(path).getroot(), "{http://gexf.net/1.3}"
    graph = root.find(f"{space}graph")
    assert root.get("version") == "1.3" and graph.get("timeformat") == "date"
    assert graph.get("mode") == "dynamic" and graph.get("defaultedgetype") == "directed"
    meta = root.find(f"{space}meta")
    assert [part.text for part in meta][0] == "finattn" and not meta.attrib  # of no day, so that bytes repeat
    assert json.loads(meta.find(f"{space}description").text) == network.metadata
    assert "http://www.w3.org/2001/XMLSchema-instance" in path.read_text(encoding="utf-8")
    types = {attribute.get("type") for attribute in root.iter(f"{space}attribute")}
    assert types <= {"float", "double", "integer", "long", "string"}
    assert write_gexf(network, tmp_path / "again.gexf").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("write, read, field", [
    (write_gexf, lambda path: networkx.read_gexf(path, version="1.3"), "label"),
    (write_graphml, networkx.read_graphml, "name"),
])  # fmt: skip
def test_names_are_escaped_in_xml_and_what_it_cannot_hold_is_marked(network, tmp_path, write, read, field):
    path = write(network, tmp_path / "peers.xml")
    assert "<img" not in path.read_text(encoding="utf-8")
    names = {firm: given[field] for firm, given in read(path).nodes(data=True)}
    assert names == {"A": HOSTILE, "B": "Beta\ufffd\ufffdline", "C D": "Γ"}


@pytest.mark.parametrize("write", [write_gexf, write_graphml])
@pytest.mark.parametrize("firm", ["A\x00", "A\nB", "A\x85", "A\uffff"])
def test_an_identifier_that_xml_cannot_hold_is_refused_and_nothing_written(tmp_path, write, firm):
    odd = make((firm, "B", "C D"), edges=[(DAYS[0], firm, "B", 0.1, 0.05, 0.2, 1.0)])
    with pytest.raises(InputError, match="identifiers must have no control characters in XML"):
        write(odd, tmp_path / "peers.xml")
    assert not list(tmp_path.iterdir())


def test_graphml_reads_back_with_dates_on_its_edges(network, tmp_path):
    graph = networkx.read_graphml(write_graphml(network, tmp_path / "peers.graphml"))
    found = {(firm, peer, given["date"]): given["weight"] for firm, peer, given in graph.edges(data=True)}
    assert found == {(firm, peer, day): weight for day, firm, peer, weight, *_ in EDGES}
    assert graph.graph["run"] == "0f3a" and json.loads(graph.graph["as_of"]) == list(DAYS)
    one = networkx.read_graphml(write_graphml(network, tmp_path / "one.graphml", DAYS[0]))
    assert set(one.edges()) == {("A", "B"), ("B", "C D")} and one.nodes["A"]["size"] == 1e9
    assert json.loads(one.graph["as_of"]) == [DAYS[0]] and one.graph["direction"].startswith("firm asks peer")


def test_a_network_without_edges_is_exported_too(tmp_path):
    empty = make(edges=EDGES[:0])
    assert len(networkx.read_gexf(write_gexf(empty, tmp_path / "a"), version="1.3")) == 3
    assert len(networkx.read_graphml(write_graphml(empty, tmp_path / "b"))) == 3
    assert pd.read_csv(write_csv(empty, tmp_path / "c")).empty
    assert pd.read_csv(write_hoberg_phillips(empty, tmp_path / "d"), sep="\t").empty
    assert to_tensors(empty)["edge_index"].shape == (2, 0) and to_scipy(empty).weights.nnz == 0


# -- arrays ------------------------------------------------------------


def test_rows_of_the_sparse_matrix_ask_its_columns(network):
    found = to_scipy(network, DAYS[0])
    assert found.firms == ("A", "B", "C D")
    assert found.weights.toarray().tolist() == [[0, 0.1, 0], [0, 0, 0.4], [0, 0, 0]]
    assert found.metadata["as_of"] == [DAYS[0]] and found.metadata["run"] == "0f3a"


def test_tensors_are_what_pytorch_geometric_calls_them(network):
    found = to_tensors(network, DAYS[2])
    assert found["edge_index"].tolist() == [[0, 1, 2], [1, 2, 0]] and found["edge_index"].dtype == torch.int64
    torch.testing.assert_close(found["edge_weight"], torch.tensor([0.3, 0.6, 0.2]))
    torch.testing.assert_close(found["edge_attr"][0], torch.tensor([0.2, 0.4, 1.0]))
    assert found["edge_attr"][2].isnan().all()
    assert found["industry"].tolist() == [[2834, 28], [0, 0], [6021, 60]] and found["num_nodes"] == 3
    assert found["size"][0] == 1e9 and found["size"][1].isnan() and found["firm"] == ["A", "B", "C D"]
    metadata = json.loads(found["metadata"])
    assert metadata["as_of"] == [DAYS[2]] and metadata["run"] == "0f3a"


def test_messages_flow_from_peers_to_who_asks_them(network):
    """What `MessagePassing(flow="target_to_source")` adds up is the matrix times the peers' values."""
    found, values = to_tensors(network, DAYS[2]), torch.tensor([1.0, 10.0, 100.0])
    asks, asked = found["edge_index"]
    messages = torch.zeros(3).index_add(0, asks, found["edge_weight"] * values[asked])
    expected = torch.from_numpy(to_scipy(network, DAYS[2]).weights @ values.numpy()).float()
    torch.testing.assert_close(messages, expected)


def test_without_pytorch_geometric_there_is_the_plain_dict_and_with_it_its_data(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    assert sorted(to_pyg(network)) == sorted(to_tensors(network))
    module = types.ModuleType("torch_geometric.data")
    module.Data = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "torch_geometric", types.ModuleType("torch_geometric"))
    monkeypatch.setitem(sys.modules, "torch_geometric.data", module)
    data = to_pyg(network, DAYS[0])
    assert data.edge_index.tolist() == [[0, 1], [1, 2]] and data.num_nodes == 3
