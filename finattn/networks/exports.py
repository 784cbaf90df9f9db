"""A peer network as other tools take it, each with its as-of dates, its direction and the hash of its run.

Parquet is what `PeerNetwork.save` writes: `edges.parquet` is the plain edge list. A file that has no place for metadata
has it beside it, in `NAME-metadata.json`, where CSV on the Web looks for it.
"""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import networkx
import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from finattn.errors import InputError
from finattn.networks.network import PeerNetwork
from finattn.storage import atomic_file, write_json


class Sparse(NamedTuple):
    """The weights [n m] of one date: row asks column.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.networks import to_scipy
    >>> nodes = pd.DataFrame({"date": "2020-01-31", "firm": ["A", "B"], "name": ["Alpha", "Beta"], "size": 1.0})
    >>> edge = {"date": "2020-01-31", "firm": "A", "peer": "B", "weight": 0.5, "lower": 0.4, "upper": 0.7, "share": 1.0}
    >>> made = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": ""}
    >>> network = fa.PeerNetwork(pd.DataFrame([edge]), nodes, made)
    >>> sparse = to_scipy(network)
    >>> sparse.firms, sparse.weights.toarray().tolist(), sparse.metadata["as_of"]
    (('A', 'B'), [[0.0, 0.5], [0.0, 0.0]], ['2020-01-31'])
    """

    weights: csr_matrix
    firms: tuple[str, ...]
    """Identifiers of rows and columns."""
    metadata: dict[str, Any]


def write_csv(network: PeerNetwork, path: str | Path) -> Path:
    """Write the edge list as CSV, a line for each edge of each date; firm asks peer. Metadata lies beside it.

    Numbers are written so that they read back exactly. Identifiers are written as they are: one that a spreadsheet
    would take for a formula is text to every reader that is told so.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(write_csv(_example(), Path(folder) / "peers.csv").read_text().splitlines()[1])
    2020-01-31,A,B,0.5,0.4,0.7,1.0
    """
    table = network.edges.assign(date=network.edges["date"].dt.strftime("%Y-%m-%d"))
    return _with_metadata(network, table, Path(path), csv.QUOTE_MINIMAL, ",")


def write_hoberg_phillips(network: PeerNetwork, path: str | Path) -> Path:
    r"""Write the layout of Hoberg and Phillips' network data: tab-separated year, gvkey1, gvkey2 and score.

    gvkey1 asks gvkey2, and the score is the weight: unlike theirs it has a direction, so most pairs come twice or with
    one side alone. The identifiers are the panel's. Of several as-of dates in a year the last one is written; the
    metadata beside the file says which.

    Raises
    ------
    InputError
        For an identifier with a tab, a quote or a line break, which the layout cannot hold.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_hoberg_phillips(_example(), Path(folder) / "peers.txt").read_text()
    'year\tgvkey1\tgvkey2\tscore\n2020\tA\tB\t0.5\n'
    """
    years = network.dates.astype("datetime64[Y]")
    last = network.dates[np.append(years[1:] != years[:-1], True)]
    table = network.edges[network.edges["date"].isin(last)]
    for firm in pd.unique(pd.concat([table["firm"], table["peer"]])):
        if any(sign in firm for sign in '\t\r\n"'):
            raise InputError(f"identifiers must have no tab, quote or line break in this layout, found {firm!r}")
    columns = {
        "year": table["date"].dt.year,
        "gvkey1": table["firm"],
        "gvkey2": table["peer"],
        "score": table["weight"],
    }
    written = {"as_of": [str(day) for day in last]}
    return _with_metadata(network, pd.DataFrame(columns), Path(path), csv.QUOTE_NONE, "\t", written)


def _with_metadata(
    network: PeerNetwork,
    table: pd.DataFrame,
    path: Path,
    quoting: Any,
    separator: str,
    more: dict[str, Any] | None = None,
) -> Path:
    write_json(path.with_name(f"{path.name}-metadata.json"), network.metadata | (more or {}))
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, sep=separator, quoting=quoting, lineterminator="\n", encoding="utf-8")
    return path


def to_networkx(network: PeerNetwork, date: Any = None) -> "networkx.DiGraph[str] | networkx.MultiDiGraph[str]":
    """Return a directed graph: the source asks the target.

    Parameters
    ----------
    date : as of; None gives all dates, and where there are several a `MultiDiGraph` whose edges have the key and the
        attribute `date`, an ISO day.

    Returns
    -------
    Graph with the metadata as its attributes; nodes by identifier with name, size and industries (those of a firm's
    last date; what is not known is left out); edges with weight, lower, upper and share.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> graph = to_networkx(_example())
    >>> graph.edges["A", "B"]["weight"], graph.nodes["B"]["name"], graph.graph["as_of"]
    (0.5, 'Beta', ['2020-01-31'])
    """
    network = network if date is None else network.at(date)
    several = len(network.dates) > 1
    graph: Any = networkx.MultiDiGraph() if several else networkx.DiGraph()
    graph.graph.update(network.metadata)
    for row in network.nodes.drop(columns="date").to_dict("records"):
        graph.add_node(row.pop("firm"), **_known(row))
    days = network.edges["date"].dt.strftime("%Y-%m-%d")
    for row in network.edges.assign(date=days).to_dict("records"):
        key = {"key": row["date"]} if several else {}
        graph.add_edge(row.pop("firm"), row.pop("peer"), **key, **_known(row))
    return graph


def _known(row: dict[Any, Any]) -> dict[str, Any]:
    """Leave out numbers that are not known: most formats have no word for them."""
    return {name: value for name, value in row.items() if value == value}


def to_node_link(network: PeerNetwork, date: Any = None) -> dict[str, Any]:
    """Return the node-link form of `to_networkx`, which JSON can hold; edges lie under "edges".

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> found = to_node_link(_example())
    >>> found["edges"][0]["source"], found["edges"][0]["target"], found["graph"]["run"]
    ('A', 'B', 'hash')
    """
    return networkx.node_link_data(to_networkx(network, date), edges="edges")


def write_node_link(network: PeerNetwork, path: str | Path, date: Any = None) -> Path:
    """Write `to_node_link` as JSON; `networkx.node_link_graph(..., edges="edges")` and D3 read it.

    Parameters
    ----------
    network, date : as of `to_networkx`. path : the file, which is replaced whole.

    Returns
    -------
    The path.

    Examples
    --------
    >>> import json, tempfile
    >>> import finattn as fa
    >>> from finattn.networks import write_node_link
    >>> nodes = pd.DataFrame({"date": "2020-01-31", "firm": ["A", "B"], "name": ["Alpha", "Beta"], "size": 1.0})
    >>> edge = {"date": "2020-01-31", "firm": "A", "peer": "B", "weight": 0.5, "lower": 0.4, "upper": 0.7, "share": 1.0}
    >>> made = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": ""}
    >>> network = fa.PeerNetwork(pd.DataFrame([edge]), nodes, made)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = json.loads(write_node_link(network, f"{folder}/peers.json").read_text())
    >>> found["directed"], [(edge["source"], edge["target"], edge["weight"]) for edge in found["edges"]]
    (True, [('A', 'B', 0.5)])
    """
    write_json(path, to_node_link(network, date))
    return Path(path)


def to_scipy(network: PeerNetwork, date: Any = None) -> Sparse:
    """Return the weights of one date, by default the last, as a sparse matrix: row asks column.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> to_scipy(_example()).weights.toarray().tolist()
    [[0.0, 0.5], [0.0, 0.0]]
    """
    one = network.at(date)
    return Sparse(one.matrix(), tuple(one.nodes["firm"]), one.metadata)


def to_tensors(network: PeerNetwork, date: Any = None) -> dict[str, Any]:
    """Return one date, by default the last, as the tensors of PyTorch Geometric's `Data`.

    Returns
    -------
    edge_index [2 e], the first row asks the second; so a message from peers to who asks them flows from target to
    source, ``MessagePassing(flow="target_to_source")``. edge_weight [e] float32, edge_attr [e 3] (lower, upper, share;
    NaN where there are none), industry [n level], size [n], num_nodes; firm, the identifiers, and the metadata under
    `metadata`, as JSON.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> found = to_tensors(_example())
    >>> found["edge_index"].tolist(), found["edge_weight"].tolist()
    ([[0], [1]], [0.5])
    """
    import torch

    one = network.at(date)
    firms = pd.Index(one.nodes["firm"])
    ends = np.stack([firms.get_indexer(one.edges[end]) for end in ("firm", "peer")])
    numbers = torch.from_numpy(one.edges[["weight", "lower", "upper", "share"]].to_numpy(np.float32))
    return {
        "edge_index": torch.from_numpy(ends.astype(np.int64)),
        "edge_weight": numbers[:, 0].clone(),
        "edge_attr": numbers[:, 1:].clone(),
        "industry": torch.from_numpy(one.nodes[list(one.levels)].to_numpy(np.int64).copy()),
        "size": torch.from_numpy(one.nodes["size"].to_numpy(np.float32).copy()),
        "num_nodes": len(firms),
        "firm": firms.tolist(),
        "metadata": json.dumps(one.metadata),
    }


def to_pyg(network: PeerNetwork, date: Any = None) -> Any:
    """Return `to_tensors` as `torch_geometric.data.Data`; the plain dict where PyTorch Geometric is not installed.

    Parameters
    ----------
    network : PeerNetwork. date : as of, by default the last.

    Returns
    -------
    Either, with the names of `to_tensors` as keys.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.networks import to_pyg
    >>> nodes = pd.DataFrame({"date": "2020-01-31", "firm": ["A", "B"], "name": ["Alpha", "Beta"], "size": 1.0})
    >>> edge = {"date": "2020-01-31", "firm": "A", "peer": "B", "weight": 0.5, "lower": 0.4, "upper": 0.7, "share": 1.0}
    >>> made = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": ""}
    >>> network = fa.PeerNetwork(pd.DataFrame([edge]), nodes, made)
    >>> found = to_pyg(network)
    >>> found["edge_index"].tolist(), found["num_nodes"], found["firm"]
    ([[0], [1]], 2, ['A', 'B'])
    """
    tensors = to_tensors(network, date)
    try:
        from torch_geometric.data import Data
    except ImportError:
        return tensors
    return Data(**tensors)


def _example() -> PeerNetwork:
    """Return the network of the examples: A asks B."""
    nodes = pd.DataFrame({"date": "2020-01-31", "firm": ["A", "B"], "name": ["Alpha", "Beta"], "size": [2.0, np.nan]})
    edge = {"date": "2020-01-31", "firm": "A", "peer": "B", "weight": 0.5, "lower": 0.4, "upper": 0.7, "share": 1.0}
    made = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": "hash"}
    return PeerNetwork(pd.DataFrame([edge]), nodes, made)
