"""A run's peer network in the report: tables of what it looks like, what is new, and whether it holds."""

import numpy as np
import pandas as pd
import pytest

from finattn.data import Design, simulate
from finattn.networks import PeerNetwork
from finattn.peers_pipeline import TABLES, judge, save
from finattn.report import peering


@pytest.fixture(scope="module")
def planted():
    """Return the network that was planted at two dates, each firm asking its peers alike, and its panel."""
    panel, truth = simulate(60, 300, r2=0.1, cross_industry=1.0, seed=2, design=Design(shares={"peers": 1.0}))
    dates, edges, nodes = panel.dates[[100, 200]], [], []
    for row, date in zip((100, 200), dates, strict=True):
        firm, place = np.nonzero(truth.peers[row] >= 0)
        peer = truth.peers[row][firm, place]
        listed = panel.listed[row]
        table = {"date": date, "firm": panel.firms[firm], "peer": panel.firms[peer], "weight": 0.1}
        edges.append(pd.DataFrame(table)[listed[firm] & listed[peer]])
        at = {"date": date, "firm": panel.firms[listed], "name": panel.firms[listed], "size": np.nan}
        nodes.append(pd.DataFrame(at).assign(industry_0=panel.industry[row][listed] // 100))
    unknown = {"lower": np.nan, "upper": np.nan, "share": np.nan}
    made = {"method": "attention", "interval": "none", "level": None, "run": ""}
    return PeerNetwork(pd.concat(edges).assign(**unknown), pd.concat(nodes), made), panel


def test_planted_peers_lead_beyond_the_industry_and_none_is_in_it(planted):
    tables, lacking = judge(*planted)
    assert tuple(tables) == TABLES and not lacking
    led = tables["lead"]
    both = led[led["regression"] == "all"].set_index("name")
    assert both.loc["peers", "t"] > 5 and abs(both.loc["group", "t"]) < 3
    assert (tables["comparison"]["overlap"] < 0.05).all() and (tables["comparison"]["p_value"] > 0.5).all()
    assert len(tables["new_peers"]) == 10


def test_the_section_shows_every_table_with_links_to_the_explorer(planted, tmp_path):
    network, panel = planted
    tables, _ = judge(network, panel)
    save(network, tmp_path, ("html",), tables)
    found = peering.read(tmp_path)
    assert found.explorer == "peers/explorer.html" and found.caveat.startswith("Attention shows")
    assert [table.caption for table in found.tables] == [
        "The network over time", "Beside industries", "The strongest peers outside the industry",
        "Do peers move together after the as-of date?", "Do peers' returns lead?",
    ]  # fmt: skip
    assert len(found.tables[0].rows) == 2 and found.tables[0].rows[0][5] != "—"


def test_a_run_without_a_network_has_no_section(tmp_path):
    assert peering.read(tmp_path) is None


def test_without_industries_it_is_said_what_cannot_be_had(planted):
    network, panel = planted
    bare = PeerNetwork(network.edges, network.nodes.assign(industry_0=0), network.made)
    tables, lacking = judge(bare, panel)
    assert list(tables) == ["statistics"]
    assert lacking == [f"{name}: needs industry codes, found none" for name in TABLES[1:]]
