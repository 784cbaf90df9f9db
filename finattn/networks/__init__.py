"""Peer networks: whom each firm asks, dated, with an interval for every edge, in files that other tools read.

Examples
--------
>>> import numpy as np
>>> from finattn import networks
>>> from finattn.blocks import Blocks, Scaling
>>> from finattn.config import ModelConfig, TargetConfig
>>> from finattn.data import sample
>>> from finattn.models import PanelTransformer
>>> panel = sample()["2020":"2020"]
>>> blocks = Blocks(panel, np.array([200]), Scaling.fit(panel, np.arange(150)), TargetConfig())
>>> fits = [PanelTransformer(2, ("firm",), ModelConfig()).eval() for _ in range(2)]  # of a run: one a seed
>>> network = networks.build(fits, blocks, [panel.dates[200]], averaging=networks.Averaging(top_k=3, window=21))
>>> network
PeerNetwork(1 date, 20 firms, 60 edges by attention)
>>> network.edges.columns.tolist()
['date', 'firm', 'peer', 'weight', 'lower', 'upper', 'share']
>>> network.paths("AAPL", depth=2).columns.tolist()
['peer_1', 'peer_2', 'weight_1', 'weight_2', 'share', 'direct']
>>> networks.to_scipy(network).weights.shape
(20, 20)

``network.save("peers")`` keeps it; `write_csv`, `write_hoberg_phillips`, `write_gexf`, `write_graphml` and
`write_node_link` write files for other tools, each with the as-of dates and the hash of the run.
"""

from finattn.networks.build import Averaging, build, refitted
from finattn.networks.comparison import compare, new_peers
from finattn.networks.exports import (
    Sparse,
    to_networkx,
    to_node_link,
    to_pyg,
    to_scipy,
    to_tensors,
    write_csv,
    write_hoberg_phillips,
    write_node_link,
)
from finattn.networks.gephi import write_gexf, write_graphml
from finattn.networks.groupings import read_hoberg_phillips
from finattn.networks.network import DIRECTION, PeerNetwork
from finattn.networks.reading import METHODS
from finattn.networks.statistics import edge_survival, network_statistics, node_statistics
from finattn.networks.validation import comovement, lead

__all__ = [
    "DIRECTION",
    "METHODS",
    "Averaging",
    "PeerNetwork",
    "Sparse",
    "build",
    "comovement",
    "compare",
    "edge_survival",
    "lead",
    "network_statistics",
    "new_peers",
    "node_statistics",
    "read_hoberg_phillips",
    "refitted",
    "to_networkx",
    "to_node_link",
    "to_pyg",
    "to_scipy",
    "to_tensors",
    "write_csv",
    "write_gexf",
    "write_graphml",
    "write_hoberg_phillips",
    "write_node_link",
]
