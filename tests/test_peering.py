"""A run's peer network in the report: tables of what it looks like, what is new, and whether it holds."""

import numpy as np
import pandas as pd
import pytest

from finattn.data import Design, simulate
from finattn.errors import InputError
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


@pytest.fixture(scope="module")
def judged(planted):
    return judge(*planted)


def test_planted_peers_lead_beyond_the_industry_and_none_is_in_it(judged):
    tables, lacking = judged
    assert tuple(tables) == TABLES and not lacking
    led = tables["lead"]
    both = led[led["regression"] == "all"].set_index("name")
    assert both.loc["peers", "t"] > 5 and abs(both.loc["group", "t"]) < 3
    assert (tables["comparison"]["overlap"] < 0.05).all() and (tables["comparison"]["p_value"] > 0.5).all()
    assert len(tables["new_peers"]) == 10


def test_the_section_shows_every_table_with_links_to_the_explorer(planted, judged, tmp_path):
    network, (tables, _) = planted[0], judged
    save(network, tmp_path, ("html",), tables)
    found = peering.read(tmp_path)
    assert found.explorer == "peers/explorer.html" and found.caveat.startswith("Attention shows")
    assert "These peers led: " in found.caveat and "beside past returns of the industry" in found.caveat
    assert '<p class="findings">These peers led: ' in (tmp_path / "peers" / "explorer.html").read_text(encoding="utf-8")
    assert [table.caption for table in found.tables] == [
        "The network over time", "Beside industries", "The strongest peers outside the industry",
        "Do peers move together after the as-of date?", "Do peers' returns lead?",
    ]  # fmt: skip
    assert len(found.tables[0].rows) == 2 and found.tables[0].rows[0][6] != "—"
    listed = network.nodes[network.nodes["date"] == network.dates[0]]
    assert found.tables[0].header[3] == "Even weight" and float(found.tables[0].rows[0][3]) == round(1 / len(listed), 4)


def test_a_run_without_a_network_has_no_section(tmp_path):
    assert peering.read(tmp_path) is None


def test_without_industries_it_is_said_what_cannot_be_had(planted):
    network, panel = planted
    bare = PeerNetwork(network.edges, network.nodes.assign(industry_0=0), network.made)
    tables, lacking = judge(bare, panel)
    assert list(tables) == ["statistics", "comovement", "lead"]
    assert lacking == ["comparison, new_peers, and the industry beside peers: need industry codes, found none"]
    assert set(tables["comovement"]["name"]) == {"peers"} and set(tables["lead"]["name"]) == {"peers", "own"}
    assert tables["lead"].set_index(["regression", "name"]).loc[("all", "peers"), "t"] > 5
    shown = {table.caption: table.note for table in peering.tables(tables)}
    assert "of its industry" not in shown["Do peers move together after the as-of date?"]
    assert all("Without industry codes" in note for caption, note in shown.items() if caption.startswith("Do peers"))
    assert peering.findings(tables)[0].startswith("These peers led: ") and len(peering.findings(tables)) == 2


def regressed(estimate, p, dates=500, name="peers", regression="all"):
    return {"regression": regression, "name": name, "estimate": estimate, "standard_error": 0.01, "t": 0.0,
            "p_value": p, "dates": dates}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (regressed(0.02, 0.3), "These peers were not shown to lead: 0.020 ± 0.010 on 500 dates, p = 0.30"),
        (regressed(0.02, 0.051), "These peers were not shown to lead"),
        (regressed(0.04, 0.01), "These peers led: 0.040 ± 0.010 on 500 dates, p = 0.010"),
        (regressed(-0.04, 0.01), "Returns ran against the past ones of these peers: −0.040"),
        (regressed(0.04, 0.01, dates=19), "These peers were not shown to lead"),
        (regressed(0.04, np.nan), "These peers were not shown to lead"),
    ],
)
def test_no_lead_is_claimed_that_is_not_beyond_chance(row, said):
    alone = pd.DataFrame([row, regressed(0.9, 0.0, regression="peers")])
    assert peering.findings({"lead": alone})[0].startswith(said)
    assert peering.findings({"lead": alone})[0].endswith(", beside the firm's own past return.")
    beside = pd.DataFrame([row, regressed(0.9, 0.0, name="group")])
    assert peering.findings({"lead": beside})[0].endswith(
        ", beside past returns of the industry and of the firm itself."
    )


def test_what_moves_together_and_what_is_of_the_industry_is_said_in_words():
    both = [regressed(-0.06, 0.001, regression="both"), regressed(0.36, 0.0, name="group", regression="both")]
    assert peering.findings({"comovement": pd.DataFrame(both)}) == [
        "Whether these peers lead could not be tested.",
        "After the as-of dates firms moved against these peers: −0.060 ± 0.010 on 500 dates, p = 0.001, beside others "
        "of their industry, whose coefficient is 0.360 ± 0.010.",
    ]
    days = pd.to_datetime(["2020-01-31", "2020-02-28"] * 3)
    levels = [f"industry_{level}" for level in (0, 0, 1, 1, 2, 2)]
    table = pd.DataFrame({"date": days, "grouping": levels, "overlap": [0.1, 0.1, 0.2, 0.08, 0.9, 0.9], "chance": 0.07})
    said = "8% of the heaviest peers are of the same industry, 7% by chance (level 1 of industries, 2020-02-28)."
    assert peering.findings({"comparison": table})[1] == said
    assert peering.findings({"comparison": table.assign(overlap=np.nan)}) == peering.findings({"comparison": table})[:1]
    assert peering.findings({}) == []


def test_small_weights_keep_three_digits():
    row = {"firm": "A", "name": "A", "peer": "B", "peer_name": "Beta", "weight": 0.00703, "lower": 0.0069812,
           "upper": 0.00721}  # fmt: skip
    (table,) = peering.tables({"new_peers": pd.DataFrame([row])})
    assert table.rows == [("A", "B Beta", "0.00703", "0.00698 to 0.00721")]
    assert [peering.weight(value) for value in (0.5, 0.0417, 1.0, 0.0, 3e-7)] == [
        "0.500", "0.0417", "1.00", "0", "0.000000300",
    ]  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_one_clear_error(planted, judged, tmp_path, name):
    save(planted[0], tmp_path, ("html",), judged[0])
    file = tmp_path / "peers" / f"{name}.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"{name}.parquet must be a whole Parquet table: .*; run finattn peers again"):
        peering.read(tmp_path)
    pd.DataFrame({"date": [1]}).to_parquet(file)
    with pytest.raises(InputError, match=rf"{name}.parquet must have columns .*, found no "):
        peering.read(tmp_path)


def test_a_table_without_rows_is_left_out(judged):
    table = judged[0]["comparison"].assign(overlap=np.nan)
    assert peering.tables({"comparison": table}) == []


def test_all_formats_are_written_or_none_and_what_was_there_stays(planted, judged, tmp_path):
    network = planted[0]
    quoted = {firm: f'"{firm}"' for firm in network.nodes["firm"].unique()}
    edges = network.edges.assign(**{end: network.edges[end].map(quoted) for end in ("firm", "peer")})
    evil = PeerNetwork(edges, network.nodes.assign(firm=network.nodes["firm"].map(quoted)), network.made)
    save(network, tmp_path, ("html", "json"))
    before = {file.name: file.read_bytes() for file in (tmp_path / "peers").iterdir()}
    with pytest.raises(InputError, match="identifiers must have no tab, quote or line break"):
        save(evil, tmp_path, ("csv", "hoberg-phillips", "gexf"), judged[0])
    assert {file.name: file.read_bytes() for file in (tmp_path / "peers").iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["peers"]
    with pytest.raises(InputError, match="identifiers must have no tab, quote or line break"):
        save(evil, tmp_path / "fresh", ("csv", "hoberg-phillips"))
    assert list((tmp_path / "fresh").iterdir()) == []
