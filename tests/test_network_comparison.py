"""Peer networks beside given groupings, and out of sample: planted networks, known numbers, nothing from noise."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import adjusted_mutual_info_score

from finattn.config import TargetConfig
from finattn.data import Design, simulate
from finattn.data.industries import fama_french
from finattn.errors import InputError
from finattn.evaluation import fama_macbeth, hac_lag
from finattn.networks import PeerNetwork, write_hoberg_phillips
from finattn.networks.comparison import compare, new_peers, rewired
from finattn.networks.groupings import as_grouping, read_hoberg_phillips
from finattn.networks.statistics import node_statistics, snapshots
from finattn.networks.validation import comovement, lead
from finattn.panel import Panel

DAYS = ("2020-01-31", "2020-03-31")
MADE = {"method": "planted", "interval": "none", "level": None, "run": "", "industry_scheme": "sic"}
EDGES = [
    (DAYS[0], "A", "B", 0.5), (DAYS[0], "A", "C", 0.3), (DAYS[0], "A", "D", 0.2), (DAYS[0], "B", "A", 0.4),
    (DAYS[0], "C", "D", 0.1), (DAYS[0], "C", "A", 0.3), (DAYS[0], "E", "A", 0.9),
]  # fmt: skip
SIC = {"A": 2834, "B": 2834, "C": 2836, "D": 6021, "E": 0}


def network_of(edges, listed, industry=SIC, made=MADE):
    """Edges (date, firm, peer, weight); by date, the firms listed."""
    nodes = [
        {"date": day, "firm": firm, "name": f"Firm {firm}", "size": np.nan, "industry_0": industry.get(firm, 0),
         "industry_1": industry.get(firm, 0) // 100}
        for day, firms in listed.items() for firm in firms
    ]  # fmt: skip
    columns = ["date", "firm", "peer", "weight", "lower", "upper", "share"]
    table = pd.DataFrame([(*edge, edge[3] / 2, edge[3] * 2, 0.75) for edge in edges], columns=columns)
    return PeerNetwork(table, pd.DataFrame(nodes), made | {"interval": "given the fit", "level": 0.9})


def planted(panel, rows, peers, weights):
    """The network of peers (t n k) and their weights on some rows."""
    tables, nodes = [], []
    for row in rows:
        firm, place = np.nonzero((peers[row] >= 0) & panel.listed[row][:, None])
        peer = peers[row][firm, place]
        kept = panel.listed[row][peer]
        ends = {"date": panel.dates[row], "firm": panel.firms[firm], "peer": panel.firms[peer]}
        tables.append(pd.DataFrame(ends | {"weight": weights[row][firm, place]})[kept])
        here = np.flatnonzero(panel.listed[row])
        firms = panel.firms[here]
        codes = {"industry_0": panel.industry[row, here], "industry_1": panel.industry[row, here] // 100}
        nodes.append(pd.DataFrame({"date": panel.dates[row], "firm": firms, "name": firms, "size": np.nan} | codes))
    edges = pd.concat(tables).assign(lower=np.nan, upper=np.nan, share=np.nan)
    text = dict.fromkeys(["firm", "peer"], "str")
    return PeerNetwork(edges.astype(text), pd.concat(nodes).astype({"firm": "str", "name": "str"}), MADE)


def drawn(panel, rows, peers=5, seed=0):
    """A network that knows nothing: peers drawn at random, others at each date."""
    rng, (_, firms) = np.random.default_rng(seed), panel.shape
    found = np.full((len(panel), firms, peers), -1)
    for row in rows:
        found[row] = [rng.choice(np.delete(np.arange(firms), firm), peers, replace=False) for firm in range(firms)]
    return planted(panel, rows, found, rng.random(found.shape) + 0.1)


@pytest.fixture(scope="module")
def small():
    return network_of(EDGES, {DAYS[0]: "ABCDE"})


@pytest.fixture(scope="module")
def inside():
    """Firms ask within their own two-digit group only."""
    design = Design(shares={"peers": 1.0}, missing_features=0.0)
    panel, truth = simulate(96, 60, cross_industry=0.0, r2=0.1, seed=1, design=design)
    return planted(panel, [40, 50], truth.peers, truth.peer_weights)


@pytest.fixture(scope="module")
def across():
    """Firms ask firms of other groups only, and their returns follow; a network every ten rows."""
    panel, truth = simulate(96, 400, cross_industry=1.0, r2=0.05, seed=2, design=Design(shares={"peers": 1.0}))
    return panel, truth, planted(panel, range(20, 400, 10), truth.peers, truth.peer_weights)


# -- groupings ------------------------------------------------------------


def at(network, given, date=0):
    return as_grouping(network, given).at(list(snapshots(network))[date])


def test_a_level_a_scheme_and_a_mapping_say_who_is_in_a_group(small):
    firm, peer = np.array([0, 0, 0, 4]), np.array([1, 2, 3, 4])
    assert at(small, "industry_0").inside(firm, peer).tolist() == [True, False, False, False]
    assert at(small, "industry_1").inside(firm, peer).tolist() == [True, True, False, False]
    groups = at(small, "fama_french_48")
    assert groups.labels.tolist() == fama_french(np.array([2834, 2834, 2836, 6021, 0]), 48).tolist()
    mapped = at(small, {"A": "x", "D": "x", "B": None, "C": 0, "Z": "x"})
    assert mapped.inside(firm, peer).tolist() == [False, False, True, False]
    assert mapped.covered.tolist() == [True, False, False, True, False] and mapped.sizes().tolist() == [1, 0, 0, 1, 0]


def test_large_codes_cost_no_memory():
    network = network_of(EDGES, {DAYS[0]: "ABCDE"}, {"A": 2**40, "B": 2**40, "C": 7})
    groups = at(network, "industry_0")
    assert groups.labels.tolist() == [2, 2, 1, 0, 0] and groups.sizes().tolist() == [1, 1, 0, 0, 0]


def test_pairs_have_a_direction_and_only_scores_above_zero_count(small):
    pairs = pd.DataFrame({"firm": ["A", "A", "C", "A", "Z", "A"], "peer": ["B", "B", "A", "A", "A", "D"],
                          "score": [0.1, 0.2, 0.3, 1.0, 1.0, 0.0]})  # fmt: skip
    groups = at(small, pairs)
    assert groups.inside(np.array([0, 1, 2, 0]), np.array([1, 0, 0, 3])).tolist() == [True, False, True, False]
    assert groups.sizes().tolist() == [1, 0, 1, 0, 0] and groups.covered.tolist() == [True, True, True, False, False]
    np.testing.assert_array_equal(groups.links.data, [1, 1])


def test_pairs_hold_from_their_date_on_until_the_next_batch():
    network = network_of([], dict.fromkeys(DAYS, "ABC"))
    pairs = pd.DataFrame({"date": ["2020-03-31", "2020-01-31", "2019-01-01", "2020-04-01"], "firm": list("ABCC"),
                          "peer": list("BCAB")})  # fmt: skip
    assert at(network, pairs, 0).links.nonzero() == (1, 2) and at(network, pairs, 1).links.nonzero() == (0, 1)
    late = pairs.assign(date="2020-03-31")
    assert not at(network, late, 0).covered.any() and at(network, late, 1).covered.all()


def test_the_average_of_a_group_leaves_out_the_firm_and_what_is_not_known(small):
    values = np.array([[1.0, 2.0, 4.0, 8.0, 9.0], [np.nan, 2.0, 4.0, 8.0, 9.0], [1.0, np.nan, np.nan, 1.0, 1.0]])
    expected = [[3.0, 2.5, 1.5, np.nan, np.nan], [3.0, 4.0, 2.0, np.nan, np.nan], [np.nan, 1.0, 1.0, np.nan, np.nan]]
    np.testing.assert_allclose(at(small, "industry_1").average(values), expected)
    pairs = pd.DataFrame({"firm": list("ABACB"), "peer": list("BACAC")})  # the same, but that C has A alone
    expected[0][2], expected[1][2] = 1.0, np.nan
    np.testing.assert_allclose(at(small, pairs).average(values), expected)


def test_a_file_of_hoberg_and_phillips_is_known_half_a_year_after_its_year(small, tmp_path):
    path = write_hoberg_phillips(small, tmp_path / "tnic.txt")
    assert read_hoberg_phillips(path)["date"].unique().tolist() == [pd.Timestamp("2021-06-30")]
    found = read_hoberg_phillips(path, months=0, digits=2)
    assert found["date"].iloc[0] == pd.Timestamp("2020-12-31") and found["firm"].iloc[0] == "0A"
    assert found["score"].tolist() == small.edges["weight"].tolist()
    (tmp_path / "numbers.txt").write_text("year\tgvkey1\tgvkey2\tscore\n1999\t001690\tNA\t0.5\n")
    assert read_hoberg_phillips(tmp_path / "numbers.txt")[["firm", "peer"]].to_numpy().tolist() == [["001690", "NA"]]


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "nowhere.txt must be a tab-separated file, found another"),
        (
            "year,gvkey1\n1999,1\n",
            "must have columns year, gvkey1, gvkey2 and score, found no year, gvkey1, gv",
        ),
        (
            "year\tgvkey1\tgvkey2\tscore\nold\t1\t2\t0.5\n",
            "must have whole years and scores that are numbers, found str",
        ),
        ("year\tgvkey1\tgvkey2\tscore\n1999\t1\t2\thigh\n", "must have whole years and scores that are numbers"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    path = tmp_path / "nowhere.txt"
    if text:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_hoberg_phillips(path)


@pytest.mark.parametrize(
    "given, message",
    [
        (
            "industry_7",
            "a grouping must be one of industry_0, industry_1, fama_french_48, a mapping or a tab",
        ),
        ("fama_french_x", "a grouping must be one of .* found 'fama_french_x'"),
        ("fama_french_4", "a Fama-French scheme must be of 5, 10, 12, .* found 4"),
        ({"Z": 1}, "grouping 'groups' must have firms of the network, such as 'A', 'B', 'C', found none"),
        (pd.Series({"A": 0}, name="mine"), "grouping 'mine' must have firms"),
        (pd.Series(["x", "y"], index=["A", "A"]), "a grouping must have each firm once, found more than one 'A'"),
        (pd.DataFrame({"firm": ["A"]}), "pairs must have columns firm, peer and perhaps score and date, found no peer"),
        (pd.DataFrame({"firm": ["A"], "peer": ["B"], "score": ["x"]}), "scores of pairs must be numbers, found str"),
        (pd.DataFrame({"firm": ["A"], "peer": ["B"], "date": ["soon"]}), "dates must be whole days"),
        (7, "a grouping must be a name, a mapping, a Series or a DataFrame, found a int"),
    ],
)
def test_a_grouping_that_there_is_not_is_refused(small, given, message):
    with pytest.raises(InputError, match=message):
        compare(small, given, draws=1)


def test_fama_french_groups_need_sic_codes():
    network = network_of(EDGES, {DAYS[0]: "ABCDE"}, made=MADE | {"industry_scheme": "gics"})
    with pytest.raises(InputError, match="industries for Fama-French groups must be sic, found 'gics'"):
        compare(network, "fama_french_48")


# -- beside a grouping ------------------------------------------------------------


def test_overlap_mass_and_chance_worked_by_hand(small):
    found = compare(small, "industry_1", k=2, draws=5).iloc[0]
    # Covered are A, B, C, D; A, B, C are of one group. A asks B, C, D; B asks A; C asks A and D.
    assert found["overlap"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert found["mass_inside"] == pytest.approx((0.8 + 1 + 0.75) / 3)
    assert found["chance"] == pytest.approx(2 / 3) and found["edges_inside"] == pytest.approx(4 / 6)
    assert found["firms"] == 3 and found["left_out"] == pytest.approx(0.9 / 2.7)  # E's industry is not known
    one = compare(small, "industry_1", k=1, draws=5).iloc[0]
    assert one["overlap"] == 1.0 and one["k"] == 1 and one["grouping"] == "industry_1"


def test_equal_weights_on_all_firms_stay_inside_as_by_chance():
    firms = "ABCDEF"
    edges = [(DAYS[0], firm, peer, 0.2) for firm, peer in itertools.permutations(firms, 2)]
    found = compare(network_of(edges, {DAYS[0]: firms}), dict(zip(firms, "xxxyyz", strict=True)), draws=5).iloc[0]
    assert found["mass_inside"] == pytest.approx(found["chance"]) and found["overlap"] == pytest.approx(found["chance"])
    assert found["p_value"] == 1 and found["enrichment"] == 1 and np.isnan(found["z"])  # it is the only one


def test_mutual_information_is_that_of_scikit_learn_among_firms_with_edges(inside):
    found = compare(inside, "industry_1", draws=1, seed=3)
    table = node_statistics(inside, seed=3)
    for (_, nodes), value in zip(table.groupby("date"), found["adjusted_mutual_information"], strict=True):
        nodes = nodes[nodes["in_degree"] + nodes["out_degree"] > 0]
        assert value == pytest.approx(adjusted_mutual_info_score(nodes["industry_1"], nodes["community"]))


def test_a_network_within_industries_is_enriched_at_every_date(inside):
    found = compare(inside, "industry_1", draws=99)
    assert (found["overlap"] == 1).all() and (found["mass_inside"] == 1).all() and (found["edges_inside"] == 1).all()
    assert (found["p_value"] == 0.01).all() and (found["z"] > 20).all() and (found["enrichment"] > 6).all()
    assert (found["adjusted_mutual_information"] > 0.9).all() and found["date"].is_monotonic_increasing
    assert found["chance"].between(0.1, 0.13).all()


def test_a_network_across_industries_is_not(across):
    found = compare(across[2].at(), "industry_1", draws=99).iloc[0]
    assert found["overlap"] == 0 and found["mass_inside"] == 0 and found["edges_inside"] == 0
    assert found["p_value"] == 1 and found["z"] < 0 and found["enrichment"] == 0


def test_a_network_drawn_at_random_is_neither(across):
    found = compare(drawn(across[0], range(20, 400, 20)), "industry_1", draws=99)
    assert abs(found["enrichment"].mean() - 1) < 0.05 and abs(found["overlap"] - found["chance"]).mean() < 0.03
    assert stats.kstest(found["p_value"], "uniform").pvalue > 0.01
    assert abs(found["z"].mean()) < 0.7 and abs(found["z"].std() - 1) < 0.4
    assert abs(found["adjusted_mutual_information"].mean()) < 0.05


def test_hubs_alone_are_no_enrichment():
    """All ask the firms of one industry, whatever their own: the degrees explain it."""
    rng, firms = np.random.default_rng(0), [f"F{place:02d}" for place in range(60)]
    edges = [
        (DAYS[0], firm, peer, 1.0)
        for firm in firms
        for peer in rng.choice([hub for hub in firms[:20] if hub != firm], 5, replace=False)
    ]
    groups = {firm: "x" if place < 30 else "y" for place, firm in enumerate(firms)}
    found = compare(network_of(edges, {DAYS[0]: firms}), groups, draws=199).iloc[0]
    assert found["edges_inside"] == pytest.approx(found["expected"]) == pytest.approx(0.5)
    assert found["overlap"] == pytest.approx(found["chance"], abs=0.02) and found["p_value"] == 1


def test_a_grouping_that_is_the_network_is_all_of_it(inside):
    pairs = inside.edges[["firm", "peer", "date"]]
    found = compare(inside, pairs, draws=19)
    assert (found["overlap"] == 1).all() and (found["grouping"] == "pairs").all() and (found["p_value"] == 0.05).all()
    assert (found["adjusted_mutual_information"] > 0.9).all()


def test_a_date_that_a_grouping_does_not_cover_has_no_numbers():
    network = network_of(EDGES + [(DAYS[1], *edge[1:]) for edge in EDGES], dict.fromkeys(DAYS, "ABCDE"))
    pairs = pd.DataFrame({"date": DAYS[1], "firm": ["A", "B"], "peer": ["B", "A"]})
    found = compare(network, pairs, draws=5)
    assert found["firms"].tolist() == [0, 2] and found["left_out"].tolist() == pytest.approx([1, 1.8 / 2.7])
    assert found.loc[0, ["overlap", "chance", "p_value"]].isna().all() and found["overlap"][1] == 1


def test_the_same_seed_gives_the_same_table(inside):
    one = inside.at()
    halves = {firm: place % 2 + 1 for place, firm in enumerate(one.nodes["firm"])}
    first, again, other = (compare(one, halves, draws=20, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert first["expected"][0] != other["expected"][0]


@pytest.mark.parametrize("name", ["k", "draws"])
def test_counts_of_none_are_refused(small, name):
    with pytest.raises(InputError, match=f"{name} must be at least 1, found 0"):
        compare(small, "industry_0", **{name: 0})


# -- the null ------------------------------------------------------------


def test_rewired_networks_keep_all_degrees_and_have_no_loops_or_repeated_edges():
    rng = np.random.default_rng(0)
    edges = np.array([(i, j) for i in range(30) for j in rng.choice(30, 6, replace=False) if i != j])
    firm, peer = edges.T
    for found in rewired(firm, peer, 20):
        assert (np.bincount(found, minlength=30) == np.bincount(peer, minlength=30)).all() and (found != firm).all()
        assert len(np.unique(firm * 30 + found)) == len(firm) and (found != peer).mean() > 0.5


def test_rewired_networks_are_equally_likely():
    firm, peer = np.array([0, 0, 1, 2, 2, 3, 4, 4]), np.array([1, 2, 2, 3, 4, 0, 1, 3])
    possible = {
        frozenset(zip(firm.tolist(), others, strict=True))
        for others in set(itertools.permutations(peer.tolist()))
        if all(i != j for i, j in zip(firm, others, strict=True)) and len(set(zip(firm, others, strict=True))) == 8
    }
    draws = [frozenset(zip(firm.tolist(), found.tolist(), strict=True)) for found in rewired(firm, peer, 30_000)]
    counts = Counter(draws[::10])  # far enough apart to be nearly independent
    assert set(counts) == possible and len(possible) > 20
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


# -- what is new ------------------------------------------------------------


def test_new_peers_are_the_heaviest_outside_with_names_and_intervals(small):
    found = new_peers(small, "industry_0")
    assert found[["firm", "peer", "weight"]].to_numpy().tolist() == [
        ["A", "C", 0.3], ["C", "A", 0.3], ["A", "D", 0.2], ["C", "D", 0.1],
    ]  # fmt: skip
    assert found.columns.tolist() == [
        "date", "firm", "name", "peer", "peer_name", "industry_0", "industry_1", "peer_industry_0", "peer_industry_1",
        "weight", "lower", "upper", "share",
    ]  # fmt: skip
    first = found.iloc[0]
    assert (first["name"], first["peer_name"], first["peer_industry_0"]) == ("Firm A", "Firm C", 2836)
    assert first[["lower", "upper", "share"]].tolist() == [0.15, 0.6, 0.75]
    assert new_peers(small, "industry_1")["peer"].tolist() == ["D", "D"]


def test_new_peers_are_cut_at_each_date_and_by_firm():
    network = network_of(EDGES + [(DAYS[1], *edge[1:]) for edge in EDGES], dict.fromkeys(DAYS, "ABCDE"))
    assert new_peers(network, "industry_0", top=1)["date"].astype(str).tolist() == list(DAYS)
    found = new_peers(network, "industry_0", top=1, firm="C")
    assert found["firm"].tolist() == ["C", "C"] and found["weight"].tolist() == [0.3, 0.3]
    with pytest.raises(InputError, match="firm must be one of the network's, found 'Z'"):
        new_peers(network, "industry_0", firm="Z")
    with pytest.raises(InputError, match="top must be at least 1, found 0"):
        new_peers(network, "industry_0", top=0)


def test_nothing_new_is_an_empty_table(small):
    assert new_peers(small, dict.fromkeys("ABCDE", 1)).empty


# -- out of sample: moving together ------------------------------------------------------------


def panel_of(returns, industry=None, first="2020-01-01", **fields):
    rows, firms = returns.shape
    names = np.array([f"F{place:03d}" for place in range(firms)])
    codes = np.ones(firms, int) if industry is None else industry
    return Panel(np.datetime64(first) + np.arange(rows), names, returns, industry=np.tile(codes, (rows, 1)), **fields)


def ring(firms, step=1):
    """Each firm has the one `step` before it as its peer: (n, 1)."""
    return np.roll(np.arange(firms), step)[:, None]


def always(panel, peers, rows=(0,)):
    """The same peers (n, k), evenly weighted, on some rows."""
    shape = (len(panel), *peers.shape)
    return planted(panel, rows, np.broadcast_to(peers, shape), np.ones(shape))


def moving(by_peer, by_group, rows=250, firms=60, groups=6, seed=0):
    """Returns that share what the firm before has (in another industry), and what the industry has; and a market."""
    rng = np.random.default_rng(seed)
    own, market = 0.01 * rng.standard_normal((rows, firms)), 0.01 * rng.standard_normal((rows, 1))
    shared = 0.01 * rng.standard_normal((rows, groups))[:, np.arange(firms) % groups]
    returns = own + market + by_group * shared + by_peer * np.roll(own, 1, axis=1)
    return panel_of(returns, 100 * (1 + np.arange(firms) % groups))


def coefficients(found, regression):
    rows = found[found["regression"] == regression].set_index("name")
    return rows["estimate"].to_dict(), rows["t"].to_dict()


@pytest.mark.parametrize("by_peer, by_group", [(0.5, 0.0), (0.0, 0.7), (0.5, 0.7), (0.0, 0.0)])
def test_what_moves_firms_together_survives_and_what_does_not_vanishes(by_peer, by_group):
    panel = moving(by_peer, by_group)
    _, t = coefficients(comovement(always(panel, ring(60)), panel), "both")
    for name, planted_there in (("peers", by_peer), ("group", by_group)):
        assert t[name] > 8 if planted_there else abs(t[name]) < 2.6, name


def test_a_network_within_the_industries_adds_nothing_to_them():
    panel = moving(0.0, 0.7)
    found = comovement(always(panel, ring(60, step=6)), panel)  # the firm six before is of the same industry
    (alone, t), (both, _) = coefficients(found, "peers"), coefficients(found, "both")
    assert t["peers"] > 8 and 0 < both["peers"] < alone["peers"] / 2 and both["group"] > 0.3
    r2 = found.drop_duplicates("regression").set_index("regression")["r2"]
    assert r2["both"] >= r2["group"] > r2["peers"] > 0


def test_a_network_that_knows_nothing_finds_nothing_together():
    """The mean of a date holds the firm itself, and would make the coefficient negative: about -k / n."""
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        returns = 0.01 * rng.standard_normal((200, 40)) + 0.02 * rng.standard_normal((200, 1))
        panel = panel_of(returns, 100 * (1 + np.arange(40) % 4))
        t = comovement(drawn(panel, [0, 100], seed=seed), panel).set_index(["regression", "name"])["t"]
        found.append(t)
    t = pd.concat(found, axis=1)
    assert (t.mean(axis=1).abs() < 0.9).all() and (t.abs() > 2.6).mean().mean() < 0.06


def test_the_pooled_regression_is_that_of_linearmodels_with_the_errors_of_driscoll_and_kraay():
    from linearmodels.panel import PooledOLS

    panel = moving(0.3, 0.5, rows=60, firms=20, groups=4)
    returns = panel.returns.copy()
    returns[10, 3] = returns[20:25, 7] = np.nan
    panel = panel.replace(returns=returns)
    found = comovement(always(panel, ring(20)), panel)
    values = panel.returns[1:]
    others = np.array([[np.nanmean(np.delete(row, firm)) for firm in range(20)] for row in values])
    peers = np.roll(values, 1, axis=1) - others
    group = np.array(
        [[np.nanmean(row[[m for m in range(20) if m % 4 == n % 4 and m != n]]) for n in range(20)] for row in values]
    )
    index = pd.MultiIndex.from_product([range(20), range(59)])
    columns = {"own": values - others, "peers": peers, "group": group - others}
    table = pd.DataFrame({name: column.T.ravel() for name, column in columns.items()}, index=index).dropna()
    for regression, names in {"peers": ["peers"], "group": ["group"], "both": ["peers", "group"]}.items():
        fit = PooledOLS(table["own"], table[names]).fit(
            cov_type="kernel", kernel="bartlett", bandwidth=hac_lag(59, 0), debiased=False
        )
        rows = found[found["regression"] == regression].set_index("name")
        np.testing.assert_allclose(rows["estimate"], fit.params, rtol=1e-9)
        np.testing.assert_allclose(rows["standard_error"], fit.std_errors * np.sqrt(59 / 58), rtol=1e-9)
        np.testing.assert_allclose(rows["p_value"], 2 * stats.t.sf(abs(rows["t"]), 58))
        assert rows["r2"].iloc[0] == pytest.approx(1 - fit.resids.pow(2).sum() / (table["own"] ** 2).sum())
    assert (found["dates"] == 59).all() and found["firms"].iloc[0] == pytest.approx(len(table) / 59)


def test_returns_up_to_the_as_of_date_do_not_enter():
    panel = moving(0.5, 0.3, rows=80)
    network = always(panel, ring(60), rows=[30])
    wild = panel.replace(returns=np.where(np.arange(80)[:, None] <= 30, 0.5, panel.returns))
    pd.testing.assert_frame_equal(comovement(network, panel), comovement(network, wild))
    assert (comovement(network, panel)["dates"] == 49).all()


def test_the_horizon_ends_the_use_of_a_network_and_so_does_the_next_one():
    panel = moving(0.5, 0.3, rows=150)
    both = always(panel, ring(60), rows=[100, 120])
    assert (comovement(both, panel, horizon=12)["dates"] == 24).all()
    assert (comovement(both, panel, horizon=25)["dates"] == 45).all()
    wild = panel.replace(returns=np.where(np.arange(150)[:, None] > 132, 0.5, panel.returns))
    pd.testing.assert_frame_equal(comovement(both, panel, horizon=12), comovement(both, wild, horizon=12))


def with_betas(rows=300, firms=40, seed=0):
    """Firms differ in their betas and share nothing else; the one before each has nearly the same beta."""
    rng = np.random.default_rng(seed)
    beta = np.where(np.arange(firms) < firms // 2, 0.5, 1.5)
    returns = 0.01 * rng.standard_normal((rows, firms)) + 0.01 * beta * rng.standard_normal((rows, 1))
    returns[50, 3] = np.nan
    return panel_of(returns, 100 * (1 + np.arange(firms) % 4))


def test_firms_of_like_betas_do_not_move_together_once_betas_are_taken_out():
    panel = with_betas()
    network = always(panel, ring(40), rows=[150])
    _, out = coefficients(comovement(network, panel), "both")
    _, left_in = coefficients(comovement(network, panel, beta_window=0), "both")
    assert abs(out["peers"]) < 2.6 and left_in["peers"] > 6


def test_betas_are_those_of_the_window_up_to_the_as_of_date():
    panel = with_betas()
    network = always(panel, ring(40), rows=[150])
    mean, returns = np.nanmean(panel.returns, axis=1), panel.returns.copy()
    for firm in range(40):
        rows = [row for row in range(31, 151) if np.isfinite(panel.returns[row, firm])]
        returns[:, firm] -= np.polyfit(mean[rows], panel.returns[rows, firm], 1)[0] * mean
    expected = comovement(network, panel.replace(returns=np.maximum(returns, -1)), beta_window=0)
    pd.testing.assert_frame_equal(comovement(network, panel, beta_window=120), expected)
    early = comovement(network, panel, beta_window=59)  # too few returns: 1 for all
    pd.testing.assert_frame_equal(early, comovement(network, panel, beta_window=0))


def test_the_network_in_force_is_the_latest():
    panel = moving(0.5, 0.0, rows=200)
    wrong, right = ring(60, step=2), ring(60)
    peers = np.stack([right if row < 100 else wrong for row in range(200)])
    found = comovement(planted(panel, [0, 100], peers, np.ones(peers.shape)), panel)
    first = comovement(planted(panel, [0, 100], peers[:, :, :], np.ones(peers.shape)), panel[:101])
    assert coefficients(first, "peers")[0]["peers"] > 1.7 * coefficients(found, "peers")[0]["peers"] > 0


# -- out of sample: leading ------------------------------------------------------------


def test_planted_peers_lead_and_their_industries_do_not(across):
    panel, truth, network = across
    found = lead(network, panel, every=3)
    estimate, t = coefficients(found, "all")
    assert t["peers"] > 5 and abs(t["group"]) < 2.6 and abs(t["own"]) < 2.6
    # Networks are up to ten rows old, so that a part of the slope is lost.
    assert 0.6 * truth.peer_slope < estimate["peers"] < 1.1 * truth.peer_slope
    assert (found["dates"] == 127).all() and found["regression"].tolist() == ["peers", "group", "own", *["all"] * 3]


def test_a_network_that_knows_nothing_does_not_lead(across):
    panel = across[0]
    for seed in range(2):
        _, t = coefficients(lead(drawn(panel, range(20, 400, 20), seed=seed), panel, every=4), "all")
        assert abs(t["peers"]) < 2.6


def test_peers_of_the_wrong_direction_do_not_lead():
    rng = np.random.default_rng(1)
    own = 0.01 * rng.standard_normal((120, 30))
    returns = own.copy()
    returns[1:] += 0.4 * np.roll(own, 1, axis=1)[:-1]
    panel = panel_of(returns, 100 * (1 + np.arange(30) % 3))
    (_, right), (_, wrong) = (coefficients(lead(always(panel, ring(30, step)), panel), "all") for step in (1, -1))
    assert right["peers"] > 8 and abs(wrong["peers"]) < 2.6


def test_a_lead_is_a_fama_macbeth_regression_of_forward_on_past_returns():
    panel = moving(0.4, 0.4, rows=70, firms=24, groups=4, seed=5)
    found = lead(always(panel, ring(24), rows=[11]), panel, target=TargetConfig(7, 1), window=2, every=2)
    growth = np.log1p(panel.returns)
    rows = np.arange(11, 69, 2)
    past = np.expm1(growth[rows] + growth[rows - 1])
    future = np.full(past.shape, np.nan)
    for place, row in enumerate(rows):
        if row + 8 < 70:
            future[place] = np.expm1(growth[row + 2 : row + 9].sum(axis=0))
    group = (past.reshape(-1, 6, 4).sum(axis=1)[:, np.arange(24) % 4] - past) / 5
    inputs = np.stack([np.roll(past, 1, axis=1), group, past], axis=2)
    expected = fama_macbeth(future, inputs, ["peers", "group", "own"], overlap=3).summary[1:]
    rows = found[found["regression"] == "all"]
    columns = ["estimate", "standard_error", "t", "p_value"]
    np.testing.assert_allclose(rows[columns], expected[columns], rtol=1e-8)
    assert (found["dates"] == 26).all() and (found["firms"] == 24).all()


def test_without_a_grouping_peers_are_regressed_on_alone_and_beside_the_firm_itself():
    panel = moving(0.4, 0.4, rows=70, firms=24, groups=4, seed=5)
    network, uncoded = always(panel, ring(24), rows=[11]), panel.replace(industry=np.zeros_like(panel.industry))
    found = comovement(network, uncoded, None)
    coded = comovement(network, panel)
    pd.testing.assert_frame_equal(found, coded[coded["regression"] == "peers"].reset_index(drop=True))
    led = lead(network, uncoded, None)
    assert led["regression"].tolist() == ["peers", "own", "all", "all"]
    single = lead(network, panel).query("regression in ('peers', 'own')")
    pd.testing.assert_frame_equal(led[:2], single.reset_index(drop=True))
    past, future = panel.returns[11:69], panel.returns[12:]
    inputs = np.stack([np.roll(past, 1, axis=1), past], axis=2)
    expected = fama_macbeth(future, inputs, ["peers", "own"], overlap=0).summary[1:]
    np.testing.assert_allclose(led[2:]["estimate"], expected["estimate"], rtol=1e-8)
    np.testing.assert_allclose(led[2:]["standard_error"], expected["standard_error"], rtol=1e-8)


def test_all_regressions_are_of_the_same_firms():
    panel = moving(0.3, 0.3, rows=40, firms=20, groups=4)
    network, groups = always(panel, ring(20)), {firm: place % 4 + 1 for place, firm in enumerate(panel.firms[:-1])}
    for found in (lead(network, panel, groups), comovement(network, panel, groups)):
        assert (found["firms"] == 19).all()  # the last has no group


def test_past_returns_of_firms_not_observed_do_not_lead():
    panel = moving(0.0, 0.0, rows=60, firms=20, groups=4)
    returns = panel.returns.copy()
    returns[30, 4] = np.nan
    found = lead(always(panel, ring(20)), panel.replace(returns=returns), window=2)
    # On one date firm 4 is not there and firm 5 has no peer; on the one before, firm 4's target is not known.
    assert found["firms"].iloc[0] == pytest.approx((58 * 20 - 3) / 58)
    assert (found["dates"] == 58).all()  # the first row has no window


def test_the_past_before_the_network_may_be_used_and_the_future_of_a_decision_not():
    panel = moving(0.3, 0.3, rows=80)
    network = always(panel, ring(60), rows=[30])
    one = lead(network, panel, window=5)
    early = panel.replace(returns=np.where(np.arange(80)[:, None] <= 25, 0.5, panel.returns))
    pd.testing.assert_frame_equal(one, lead(network, early, window=5))
    known = panel.replace(returns=np.where(np.arange(80)[:, None] == 26, 0.5 * panel.returns, panel.returns))
    assert not one.equals(lead(network, known, window=5))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda n, p: comovement(n, p, horizon=0), "horizon must be at least 1, found 0"),
        (lambda n, p: comovement(n, p, beta_window=-1), "beta_window must be at least 0, found -1"),
        (lambda n, p: comovement(n, p[:, :30]), "firms of the network must be the panel's, found 'F030'"),
        (lambda n, p: lead(n, p["2020-01-02":]), "as-of dates must be the panel's, found '2020-01-01'"),
        (lambda n, p: comovement(n, p[:8]), "dates with peers' and groups' returns must be at least 10, found 7"),
        (lambda n, p: comovement(n, p, pairs(n)), "peers and groups must differ and vary, found returns of theirs"),
        (lambda n, p: lead(n, p, window=0), "window must be at least 1, found 0"),
        (lambda n, p: lead(n, p, every=0), "every must be at least 1, found 0"),
        (lambda n, p: lead(n, p[:4]), "expected at least 5 dates"),
    ],
)
def test_what_cannot_be_validated_is_refused(make, message):
    panel = moving(0.1, 0.1, rows=30)
    with pytest.raises(InputError, match=message):
        make(always(panel, ring(60)), panel)


def pairs(network):
    return network.edges[["firm", "peer"]]
