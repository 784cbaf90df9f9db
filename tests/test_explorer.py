"""The peer explorer: what its page holds, in which order, and that nothing of the data can act in it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from finattn import looks
from finattn.networks import PeerNetwork
from finattn.report import explorer

MADE = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": "abc", "industry_scheme": "sic"}
DAYS = ("2019-12-31", "2020-12-31")
CODES = {"A": 2834, "B": 6021, "C": 2835, "D": 0, "E": 6022}
EVIL = ("<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "{{ 7 * 7 }}", "a&b'\"\u2028\u202e")


def nodes_of(firms, days=DAYS, codes=CODES, name=str):
    rows = [
        {"date": day, "firm": firm, "name": name(firm), "size": 1.0, "industry_0": codes.get(firm, 0),
         "industry_1": codes.get(firm, 0) // 10, "industry_2": codes.get(firm, 0) // 100}
        for day in days for firm in firms
    ]  # fmt: skip
    return pd.DataFrame(rows)


def edges_of(*pairs, day=DAYS[0], sure=True):
    rows = [
        {"date": day, "firm": firm, "peer": peer, "weight": weight, "lower": 0.9 * weight if sure else np.nan,
         "upper": 1.2 * weight if sure else np.nan, "share": 1.0 if sure else np.nan}
        for firm, peer, weight in pairs
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def network():
    first = edges_of(("A", "C", 0.2), ("A", "B", 0.4), ("B", "E", 0.3), ("C", "A", 0.1), ("E", "B", 0.31))
    second = edges_of(("A", "B", 0.12345678), ("D", "A", 0.2), day=DAYS[1], sure=False)
    nodes = pd.concat([nodes_of("ABCE", DAYS[:1]), nodes_of("ABCDE", DAYS[1:])])
    return PeerNetwork(pd.concat([first, second]), nodes, MADE)


def page_of(network, folder, **given):
    return explorer.write(network, folder / "explorer.html", **given).read_text(encoding="utf-8")


class Page(HTMLParser):
    """A page as a browser would take it apart: its elements, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")
        self.open = tag == "script"

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.scripts[-1] += data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


# -- what it holds ------------------------------------------------------------


def test_edges_lie_firm_by_firm_the_heaviest_first_and_without_an_interval_where_there_is_none(network):
    found = explorer.content(network)
    assert found["firms"] == list("ABCDE") and found["dates"] == list(DAYS)
    first, second = found["edges"]
    assert (first["firm"], first["peer"]) == ([0, 0, 1, 2, 4], [1, 2, 4, 0, 1])
    assert first["weight"] == [0.4, 0.2, 0.3, 0.1, 0.31] and first["lower"][0] == 0.36 and first["upper"][0] == 0.48
    assert second["weight"] == [0.1235, 0.2] and second["lower"] == [None, None] == second["share"]


def test_industries_of_a_date_are_its_own_and_a_firm_that_is_not_listed_has_none(network):
    levels = explorer.content(network)["levels"]
    assert [level["name"] for level in levels[:3]] == list(explorer._LEVELS["sic"][:3])
    fine, group, major = levels
    assert [one["name"] for one in major["groups"]] == [
        "no code", "28 Chemicals and allied products", "60 Depository institutions",
    ]  # fmt: skip
    assert [one["name"] for one in group["groups"]] == ["no code", "283 Drugs", "602 Commercial banks"]
    assert [one["name"] for one in fine["groups"]] == ["no code", "2834", "2835", "6021", "6022"]
    assert major["of"] == [[1, 2, 1, -1, 2], [1, 2, 1, 0, 2]]


def test_firms_are_ordered_by_industry_and_then_by_how_much_they_are_asked(network):
    order = explorer.content(network)["order"]
    assert order["levels"][2][0] == [2, 0, 1, 4]  # drugs: C is asked 0.2, A 0.1; banks: B 0.71, E 0.3
    assert order["levels"][2][1] == [3, 0, 2, 1, 4]  # D has no code; of C and E nothing is asked
    assert order["levels"][0][0] == [0, 2, 1, 4]


def test_communities_hold_those_who_ask_each_other_and_order_them():
    pairs = [("A", "B", 0.3), ("B", "A", 0.2), ("B", "C", 0.2), ("C", "A", 0.2), ("D", "E", 0.5), ("E", "D", 0.4)]
    found = explorer.content(PeerNetwork(edges_of(*pairs), nodes_of("ABCDE", DAYS[:1]), MADE))
    assert found["communities"] == [[1, 1, 1, 2, 2]]
    assert found["order"]["community"] == [[0, 1, 2, 4, 3]]


def test_what_is_shown_of_a_date_does_not_change_when_later_dates_do(network):
    later = edges_of(("B", "A", 0.9), ("C", "D", 0.8), day=DAYS[1])
    edges = pd.concat([network.edges[network.edges["date"] == DAYS[0]], later])
    before, after = (explorer.content(one) for one in (network, PeerNetwork(edges, network.nodes, MADE)))
    for one in (before, after):
        assert one["edges"][0] == before["edges"][0] and one["communities"][0] == before["communities"][0]
        assert one["order"]["community"][0] == before["order"]["community"][0]
        assert [level[0] for level in one["order"]["levels"]] == [level[0] for level in before["order"]["levels"]]
    assert before["edges"][1] != after["edges"][1]


def test_weights_that_hardly_differ_do_not_look_strong(network):
    even = [(firm, peer, 0.05) for firm in "ABCDE" for peer in "ABCDE" if firm != peer]
    assert explorer.content(PeerNetwork(edges_of(*even), nodes_of("ABCDE", DAYS[:1]), MADE))["scale"] == 0.4
    weights = network.edges["weight"]
    assert explorer.content(network)["scale"] == max(0.4, float(f"{weights.quantile(0.99):.2g}"))
    apart = PeerNetwork(edges_of(("A", "B", 0.9), ("B", "A", 0.8)), nodes_of("ABCDE", DAYS[:1]), MADE)
    assert explorer.content(apart)["scale"] == 0.9


def test_a_network_without_edges_or_industries_is_shown_as_well(tmp_path):
    bare = nodes_of("AB", DAYS[:1])[["date", "firm", "name", "size"]]
    network = PeerNetwork(edges_of(("A", "B", 0.1)).iloc[:0], bare, MADE)
    found = explorer.content(network)
    assert found["levels"][0]["of"] == [[0, 0]] and found["order"]["levels"] == [[[0, 1]]]
    assert "no code" in page_of(network, tmp_path)


def test_the_finest_level_that_can_be_taken_in_is_shown_first(network):
    assert explorer.content(network)["level"] == 1  # at the level before it every firm is alone
    many = [f"F{place:02d}" for place in range(40)]
    codes = {firm: 100 * (place // 2 + 10) for place, firm in enumerate(many)}
    found = explorer.content(PeerNetwork(edges_of(("F00", "F01", 0.1)), nodes_of(many, DAYS[:1], codes), MADE))
    assert found["level"] == 2 and len(found["levels"][0]["groups"]) == 21


@pytest.mark.parametrize(
    "scheme, depth, code, name",
    [("sic", 0, 111, "0111"), ("sic", 1, 283, "283 Drugs"), ("sic", 1, 99, "099"), ("sic", 3, 1, None),
     ("gics", 0, 20101010, "20101010"), (None, 2, 28, "28")],
)  # fmt: skip
def test_groups_are_named_by_code_and_table(scheme, depth, code, name):
    assert explorer._name(scheme, depth, code) == (name or "Agriculture, forestry and fishing")


def test_neighbouring_groups_differ_in_colour_and_twenty_in_colour_or_shape():
    groups = [explorer._look(place) for place in range(20)]
    assert all(one["colour"] != other["colour"] for one, other in zip(groups, groups[1:], strict=False))
    assert len({(one["colour"], one["shape"]) for one in groups}) == 20
    assert set(explorer.COLOURS) < {style.colour for style in looks.STYLES.values()}
    assert "#D55E00" not in explorer.COLOURS  # marks who asks


# -- what it leaves out ------------------------------------------------------------


def test_of_too_many_firms_the_most_asked_are_shown_and_the_page_says_so(network, monkeypatch, tmp_path):
    monkeypatch.setattr(explorer, "FIRMS", 4)
    assert explorer.content(network)["firms"] == ["A", "B", "C", "E"]  # nobody asks D
    assert "shown are the 4 most asked of 5 firms" in explorer.facts(network)
    assert "shown are the 4 most asked of 5 firms" in page_of(network, tmp_path)


def test_of_too_many_edges_the_heaviest_of_each_firm_are_shown(network, monkeypatch):
    monkeypatch.setattr(explorer, "EDGES", 6)
    first = explorer.content(network)["edges"][0]
    assert first["firm"] == [0, 1, 2, 4] and first["weight"] == [0.4, 0.3, 0.1, 0.31]
    assert "6 of 7 links are in this page" in explorer.facts(network)
    monkeypatch.setattr(explorer, "EDGES", 1)  # never fewer than each firm's heaviest
    assert explorer.content(network)["edges"][0] == first


# -- what it says ------------------------------------------------------------


@pytest.mark.parametrize(
    "made, said",
    [
        ({}, ("what the model looked at, not why it decided", "Intervals of 90% are given the fit", "too short")),
        ({"method": "rollout"}, ("what the model looked at, not why",)),
        ({"method": "gradients"}, ("what moves the model's score, not why",)),
        ({"interval": "refitted", "level": 0.5}, ("Intervals of 50% are over models that were fitted again",)),
        ({"interval": "none", "level": None}, ("There are no intervals",)),
    ],
)
def test_the_caveat_says_what_weights_are_and_what_kind_their_intervals_are(network, tmp_path, made, said):
    other = PeerNetwork(network.edges, network.nodes, MADE | made)
    page = page_of(other, tmp_path).replace("&#39;", "'")
    for part in said:
        assert part in explorer.caveat(other) and part in page


def test_the_page_says_how_the_network_was_made(network, tmp_path):
    made = MADE | {"model": "both", "models": 2, "dates_averaged": [13, 1], "industry_as_of": False}
    page = page_of(PeerNetwork(network.edges, network.nodes, made), tmp_path, title="A run")
    for said in (
        "Method attention, model both", "2 fits and 1 to 13 dates", "industry codes may be those of today",
        "<h1>A run: who asks whom</h1>",
    ):  # fmt: skip
        assert said in page
    assert "industry codes may be those of today" not in page_of(network, tmp_path)


def test_one_fit_is_one_fit_and_an_even_weight_is_named(network):
    facts = explorer.facts(PeerNetwork(network.edges, network.nodes, MADE | {"models": 1, "dates_averaged": [1, 1]}))
    assert facts[1] == "weights averaged over 1 fit and 1 date up to each as-of date"
    assert facts[2] == "an even weight, 1 / firms, is 25% to 20%"  # of 4 firms, then 5


def test_what_the_network_is_worth_stands_above_it_as_text(network, tmp_path):
    page = page_of(network, tmp_path, findings=["They led, <b>p < 0.001</b>.", "Not more."])
    said = "They led, &lt;b&gt;p\N{NO-BREAK SPACE}&lt;\N{NO-BREAK SPACE}0.001&lt;/b&gt;. Not more."
    assert f'<p class="findings">{said}</p>' in page and 'class="findings"' not in page_of(network, tmp_path)


@pytest.mark.parametrize(("head", "least"), [("Asked by", 20), ("Strength", 20), ("%", 13), ("Same industry", 18)])
def test_a_head_that_must_be_read_has_room(head, least):
    widths = re.findall(rf'\["{head}", "(\d+)%"\]', explorer._part("tables.js"))
    assert widths and all(int(width) >= least for width in widths)  # shares of 390 pixels on a screen of 1,300


# -- what it is safe from ------------------------------------------------------------


def test_text_of_the_data_stays_text(tmp_path):
    firms = sorted(EVIL)
    made = MADE | {"method": EVIL[0], "model": EVIL[1]}
    network = PeerNetwork(edges_of((firms[0], firms[1], 0.1)), nodes_of(firms, DAYS[:1], name=lambda f: f * 2), made)
    page = Page(page_of(network, tmp_path, title=EVIL[1] + EVIL[0]))
    plain = Page(page_of(PeerNetwork(edges_of(("A", "B", 0.1)), nodes_of("ABCD", DAYS[:1]), MADE), tmp_path))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    held, script = page.scripts
    assert json.loads(held)["firms"] == firms and json.loads(held)["names"] == [firm * 2 for firm in firms]
    assert not set("<>&") & set(held) and script == plain.scripts[1]


def test_the_page_may_run_its_own_script_alone_and_fetch_nothing(network, tmp_path):
    text = page_of(network, tmp_path)
    page = Page(text)
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    links = [value for _, given in page.elements for name, value in given.items() if name in ("src", "href")]
    assert links == ["data:,"] and not re.search(r"https?://|url\(|@import", text)


def test_the_script_writes_no_markup_and_evaluates_nothing():
    script = "".join(map(explorer._part, explorer.SCRIPTS))
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
        assert way not in script


def test_the_page_has_all_that_the_script_looks_for(network, tmp_path):
    page = Page(page_of(network, tmp_path))
    sought = set(re.findall(r'\bby\("([\w-]+)"\)', page.scripts[1]))
    ids = [given["id"] for _, given in page.elements if "id" in given]
    assert len(sought) > 15 and sought <= set(ids) and len(ids) == len(set(ids))


def test_everything_can_be_reached_by_keyboard_and_is_named_for_screen_readers(network, tmp_path):
    page = Page(page_of(network, tmp_path))
    ids = {given["id"]: given for _, given in page.elements if "id" in given}
    labels = {given["for"] for given in page.of("label")}
    assert labels == {given["id"] for tag in ("input", "select") for given in page.of(tag)}
    search = ids["search"]
    assert search["role"] == "combobox" and ids[search["aria-controls"]]["role"] == "listbox"
    assert all(ids[key]["tabindex"] == "0" and ids[key]["aria-describedby"] in ids for key in ("ring", "map"))
    assert ids["readout"]["aria-live"] == "polite" and page.elements[0][0] == "html" and page.of("html")[0]["lang"]


def test_the_same_network_is_the_same_file(network, tmp_path):
    assert page_of(network, tmp_path) == page_of(network, tmp_path)
