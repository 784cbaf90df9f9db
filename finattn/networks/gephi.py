"""GEXF with time and GraphML, as Gephi reads them.

XML cannot hold most control characters, and attributes not all white space: in names each of them becomes U+FFFD, and
an identifier that has one is refused. All else, `<img onerror=…>` as well, is escaped and reads back as it was.
"""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import SubElement

import networkx
import numpy as np
import pandas as pd
from networkx.readwrite.gexf import GEXFWriter

from finattn.errors import InputError
from finattn.networks.exports import to_networkx
from finattn.networks.network import PeerNetwork
from finattn.storage import atomic_file

_ILLEGAL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_MEASURES = ("weight", "lower", "upper", "share")


def write_gexf(network: PeerNetwork, path: str | Path) -> Path:
    """Write GEXF 1.3, the source asks the target, with a spell for each stretch of as-of dates.

    What is known as of a date holds from then until the day before the next as-of date, both days included; of the last
    date, that day. Nodes and edges have such spells, edges besides the dynamic attributes `weight_at`, `lower`, `upper`
    and `share` for each of them, and as their fixed weight the mean over the dates that they are there. A firm's
    industries and size are those of its last date. The description holds the metadata as JSON.

    Raises
    ------
    InputError
        For an identifier that XML cannot hold.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     graph = networkx.read_gexf(write_gexf(_example(), Path(folder) / "peers.gexf"), version="1.3")
    >>> graph.edges["A", "B"]["spells"]
    [('2020-01-31', '2020-01-31')]
    """
    days = network.dates
    last = np.append(days[1:] - 1, days[-1:])
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    attributes = network.nodes.drop(columns="date").drop_duplicates("firm", keep="last").set_index("firm")
    for firm, rows in network.nodes.groupby("firm", sort=False):
        given = _legal_node(str(firm), attributes.loc[firm].to_dict())
        label = given.pop("name")
        graph.add_node(firm, label=label, **given, spells=_spells(_places(rows, days), days, last))
    for pair, rows in network.edges.sort_values("date").groupby(["firm", "peer"], sort=False):
        places = _places(rows, days)
        spans = [(str(days[place]), str(last[place])) for place in places]
        moving = {
            "weight_at" if name == "weight" else name: [
                (value, *span) for value, span in zip(rows[name].tolist(), spans, strict=True) if value == value
            ]
            for name in _MEASURES
        }
        known = {name: values for name, values in moving.items() if values}
        graph.add_edge(*pair, weight=float(rows["weight"].mean()), spells=_spells(places, days, last), **known)
    writer = GEXFWriter(graph, version="1.3")
    _describe(writer, network)
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        writer.write(stream)
    return Path(path)


def _places(rows: pd.DataFrame, days: np.ndarray) -> np.ndarray:
    return np.searchsorted(days, np.sort(rows["date"].to_numpy().astype("datetime64[D]")))


def _spells(places: np.ndarray, days: np.ndarray, last: np.ndarray) -> list[tuple[str, str]]:
    """Return the first and last day of each run of places.

    Examples
    --------
    >>> days = np.array(["2020-01-31", "2020-02-28", "2020-03-31"], "datetime64[D]")
    >>> _spells(np.array([0, 2]), days, np.append(days[1:] - 1, days[-1:]))
    [('2020-01-31', '2020-02-27'), ('2020-03-31', '2020-03-31')]
    """
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [(str(days[run[0]]), str(last[run[-1]])) for run in runs]


def _describe(writer: GEXFWriter, network: PeerNetwork) -> None:
    """Say who made it, what it is and nothing of today, so that the same network is the same file."""
    writer.xml.set("xmlns:xsi", _SCHEMA_INSTANCE)  # networkx 3.6 leaves out www
    meta = writer.xml.find("meta")
    assert meta is not None  # networkx writes one
    meta.clear()
    SubElement(meta, "creator").text = "finattn"
    SubElement(meta, "description").text = json.dumps(network.metadata)


def write_graphml(network: PeerNetwork, path: str | Path, date: Any = None) -> Path:
    """Write GraphML, the source asks the target; GraphML has no time: edges have the attribute `date`, an ISO day.

    Parameters
    ----------
    date : as of; by default all, parallel edges for each date. The metadata are attributes of the graph; `as_of` and
        whatever else is a list is JSON.

    Raises
    ------
    InputError
        For an identifier that XML cannot hold.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     graph = networkx.read_graphml(write_graphml(_example(), Path(folder) / "peers.graphml"))
    >>> graph.edges["A", "B"]["date"], graph.graph["run"]
    ('2020-01-31', 'hash')
    """
    graph = to_networkx(network, date)
    graph.graph = {
        name: value if isinstance(value, str | bool | int | float) else json.dumps(value)
        for name, value in graph.graph.items()
    }
    for firm, given in graph.nodes(data=True):
        given.update(_legal_node(firm, given))
    for number, (*_, given) in enumerate(graph.edges(data=True)):
        given["id"] = f"e{number}"
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        networkx.write_graphml(graph, stream, edge_id_from_attribute="id")
    return Path(path)


def _legal_node(firm: str, given: dict[Any, Any]) -> dict[str, Any]:
    """Return a node's attributes as XML can hold them, what is not known left out."""
    if _ILLEGAL.search(firm):
        raise InputError(f"identifiers must have no control characters in XML, found {firm!r}")
    known = {name: _plain(value) for name, value in given.items() if value == value}
    return known | {"name": _ILLEGAL.sub("\ufffd", known["name"])}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
