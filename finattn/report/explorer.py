"""The peer explorer: one HTML file in which a peer network is looked at, firm by firm and date by date.

Python decides what is shown: which firms, in which order, in which colours, and what is said about them. The page
draws it. Orders and communities of an as-of date rest on the edges of that date alone.
"""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from finattn.data.sic import sic_divisions, sic_industry_groups, sic_major_groups
from finattn.networks import PeerNetwork
from finattn.networks.communities import communities
from finattn.report.page import render
from finattn.storage import atomic_file
from finattn.words import count

FILE = "explorer.html"
SCRIPTS = ("view.js", "pictures.js", "tables.js", "reader.js")
FIRMS, EDGES = 1000, 200_000  # that a page holds, edges of all dates together; of larger networks it shows a part
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")  # the vermilion of `looks` is kept for who asks
SHAPES = 4
_PLAIN = "#7F7F7F"
_DARKEST = 0.99  # of weights are as light as the darkest colour, or lighter
_GROUPS, _TOGETHER = 16, 0.6  # groups that a reader takes in; share of firms that are not alone in theirs
_LEVELS = {
    "sic": ("SIC industry, 4 digits", "SIC industry group, 3 digits", "SIC major group, 2 digits", "SIC division"),
    "gics": ("GICS sub-industry", "GICS industry", "GICS industry group", "GICS sector"),
}
_ATTENTION = "Attention shows what the model looked at, not why it decided"
_MOVED = "These shares say what moves the model's score, not why returns move together"
_CAVEATS = {"attention": _ATTENTION, "rollout": _ATTENTION, "value_norm": _ATTENTION}
_INTERVALS = {
    "given the fit": "Intervals of {level:.0%} are given the fit: over its seeds and dates, not over other fits that "
    "the data allow, so they are too short.",
    "refitted": "Intervals of {level:.0%} are over models that were fitted again.",
    "none": "There are no intervals: one fit, read at one date, says nothing of how sure a weight is.",
}


def caveat(network: PeerNetwork) -> str:
    """Say in one sentence each what the weights are and what kind their intervals are.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> caveat(_example()).split(": ")[0]
    'Attention shows what the model looked at, not why it decided. Intervals of 90% are given the fit'
    """
    made = network.made
    interval = _INTERVALS[made["interval"]].format(level=made["level"] or 0)
    return f"{_CAVEATS.get(made['method'], _MOVED)}. {interval}"


def write(network: PeerNetwork, path: str | Path, title: str = "Peers", findings: Sequence[str] = ()) -> Path:
    """Write the explorer of a network as one file, whole or absent, that needs no network and may fetch nothing.

    All text of the data is escaped, and the page runs no script but its own, which its policy names by a hash. A
    network of more than 1,000 firms is shown by those that are asked most, and of more than 200,000 edges by the
    heaviest of each firm; the page says so.

    Parameters
    ----------
    path : of the file. title : what the page is called. findings : sentences on what the network is worth.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write(_example(), Path(folder) / "explorer.html").read_text(encoding="utf-8")
    >>> "Attention shows what the model looked at" in page, "http://" in page
    (True, False)
    """
    script, style = "\n".join(map(_part, SCRIPTS)), _part("style.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    context = {
        "title": title, "caveat": caveat(network), "findings": findings, "facts": facts(network),
        "style": Markup(style), "script": Markup(script), "digest": digest, "content": content(network),
    }  # fmt: skip
    with atomic_file(path) as temporary:
        temporary.write_text(render("explorer.html.j2", context), encoding="utf-8")
    return Path(path)


def _part(name: str) -> str:
    return resources.files("finattn.report").joinpath("explorer_page", name).read_text(encoding="utf-8")


def facts(network: PeerNetwork) -> list[str]:
    """Say how the network was made, and what of it the page leaves out."""
    made, shown = network.made, reduced(network)
    said = [f"Method {made['method']}, model {made['model']}" if "model" in made else f"Method {made['method']}"]
    if made.get("dates_averaged"):
        counts = sorted(set(made["dates_averaged"]))
        dates = count(counts[0], "date") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} dates"
        said.append(f"weights averaged over {count(made.get('models', 1), 'fit')} and {dates} up to each as-of date")
    even = [f"{100 / len(network.at(day).nodes):.3g}%" for day in network.dates[[0, -1]]]
    said.append(f"an even weight, 1 / firms, is {' to '.join(dict.fromkeys(even))}")
    firms, all_firms = (one.nodes["firm"].nunique() for one in (shown, network))
    if firms < all_firms:
        said.append(f"shown are the {firms:,} most asked of {all_firms:,} firms")
    if len(shown.edges) < len(network.edges):
        said.append(f"{len(shown.edges):,} of {len(network.edges):,} links are in this page")
    if made.get("industry_as_of") is False:
        said.append("industry codes may be those of today, not as known on each date")
    return said


def content(network: PeerNetwork) -> dict[str, Any]:
    """Return all that the page draws, as JSON can hold it.

    Returns
    -------
    `made`; `scale`, the weight that is drawn darkest; `dates`; `firms` and `names`, those of all dates, sorted by
    identifier; `levels` of industry, each with its `name`, its `groups` (name, colour, shape; group 0 is "no code") and
    `of`, the group of each firm on each date, -1 where it is not listed; `level`, the one shown first; `order`, the
    listed firms of each date by level and by community; `communities` of each date; and `edges` of each date by column,
    firm by firm and the heaviest first.

    Examples
    --------
    >>> from finattn.networks.exports import _example
    >>> found = content(_example())
    >>> found["firms"], found["edges"][0]["firm"], found["edges"][0]["weight"], found["levels"][0]["of"]
    (['A', 'B'], [0], [0.5], [[0, 0]])
    """
    shown = reduced(network)
    firms = pd.Index(sorted(shown.nodes["firm"].unique()))
    names = shown.nodes.drop_duplicates("firm", keep="last").set_index("firm")["name"].reindex(firms)
    parts = [_Day(shown.at(day), firms) for day in shown.dates]
    levels = [_level(shown, parts, name) for name in (shown.levels or ("",))]
    asked = [part.asked for part in parts]
    members = [part.communities() for part in parts]
    by_level = [[_order(of, a) for of, a in zip(level["of"], asked, strict=True)] for level in levels]
    made = {name: network.made[name] for name in ("method", "interval", "level", "top_k") if name in network.made}
    return {
        "made": made, "scale": _scale(shown), "dates": [str(day) for day in shown.dates],
        "firms": firms.tolist(), "names": names.tolist(),
        "levels": levels, "level": _first(levels), "communities": [found.tolist() for found in members],
        "order": {"levels": by_level, "community": [_order(m, a) for m, a in zip(members, asked, strict=True)]},
        "edges": [part.columns() for part in parts],
    }  # fmt: skip


def reduced(network: PeerNetwork) -> PeerNetwork:
    """Return what a page can hold: the most asked firms, and the heaviest edges of each."""
    edges, nodes = network.edges, network.nodes
    if nodes["firm"].nunique() > FIRMS:
        asked = edges.groupby("peer")["weight"].sum().reindex(nodes["firm"].unique(), fill_value=0.0)
        kept = set(asked.sort_values(ascending=False, kind="stable").index[:FIRMS])
        edges, nodes = edges[edges["firm"].isin(kept) & edges["peer"].isin(kept)], nodes[nodes["firm"].isin(kept)]
    if len(edges) > EDGES:
        rank = edges.groupby(["date", "firm"])["weight"].rank(method="first", ascending=False)
        within = np.bincount(rank.astype(int)).cumsum()
        edges = edges[rank <= max(1, np.searchsorted(within, EDGES, side="right") - 1)]
    return network if len(edges) == len(network.edges) else PeerNetwork(edges, nodes, network.made)


# -- one date ------------------------------------------------------------


class _Day:
    """The network of one as-of date, its firms by their places among those of all dates."""

    def __init__(self, network: PeerNetwork, firms: pd.Index) -> None:
        """Find the places."""
        self.network, self.nodes, self.count = network, network.nodes, len(firms)
        self.listed = firms.get_indexer(pd.Index(network.nodes["firm"]))
        ends = {end: firms.get_indexer(pd.Index(network.edges[end])) for end in ("firm", "peer")}
        edges = network.edges.assign(**ends)
        self.edges = edges.sort_values(["firm", "weight"], ascending=[True, False], kind="stable")

    @property
    def asked(self) -> NDArray[np.float64]:
        """How much of other firms' forecasts lies on each firm."""
        return np.bincount(self.edges["peer"], self.edges["weight"], self.count).astype(float)

    def columns(self) -> dict[str, list[Any]]:
        """Return the edges by column, numbers with four digits and None where there is none."""
        columns = {end: self.edges[end].tolist() for end in ("firm", "peer")}
        numbers = ("weight", "lower", "upper", "share")
        return columns | {name: [_short(value) for value in self.edges[name].tolist()] for name in numbers}

    def codes(self, level: str) -> NDArray[np.int64]:
        """Return each firm's code at a level, 0 for none and -1 where the firm is not listed."""
        codes = np.full(self.count, -1)
        codes[self.listed] = self.nodes[level] if level else 0
        return codes

    def communities(self) -> NDArray[np.int64]:
        """Return each firm's community, from 1, the largest first; -1 where the firm is not listed."""
        members = np.full(self.count, -1)
        members[self.listed] = communities(self.network.matrix())
        return members


def _order(groups: NDArray[np.int64] | Sequence[int], asked: NDArray[np.float64]) -> list[int]:
    """Return the places of listed firms, group by group and the most asked first."""
    groups = np.asarray(groups)
    order = np.lexsort((-asked, groups))
    return order[groups[order] >= 0].tolist()


def _scale(network: PeerNetwork) -> float:
    """Return the weight that is drawn darkest, at least twice an equal share: what hardly differs must not look it."""
    weights, firms = network.edges["weight"], len(network.at().nodes)
    return float(f"{max(weights.quantile(_DARKEST) if len(weights) else 0.0, 2 / firms):.2g}")


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if value == value else None


# -- industries ------------------------------------------------------------


def _level(network: PeerNetwork, parts: Sequence[_Day], level: str) -> dict[str, Any]:
    """Return a level's groups in the order of their codes, and each firm's."""
    codes = [part.codes(level) for part in parts]
    known = sorted({code for day in codes for code in day.tolist()} - {-1, 0})
    place = {-1: -1, 0: 0} | {code: number + 1 for number, code in enumerate(known)}
    depth = network.levels.index(level) if level else 0
    scheme = network.made.get("industry_scheme")
    groups = [{"name": "no code", "colour": _PLAIN, "shape": 0}]
    groups += [{"name": _name(scheme, depth, code), **_look(place)} for place, code in enumerate(known)]
    named = _LEVELS.get(str(scheme), ())
    name = named[depth] if depth < len(named) else f"Industry, level {depth + 1}"
    return {"name": name, "groups": groups, "of": [[place[code] for code in day.tolist()] for day in codes]}


def _look(place: int) -> dict[str, Any]:
    """Return colour and shape: neighbours differ in colour, and 20 groups in one or the other."""
    return {"colour": COLOURS[place % len(COLOURS)], "shape": place // len(COLOURS) % SHAPES}


def _name(scheme: Any, depth: int, code: int) -> str:
    """Return a group's code and, where the scheme's tables have one, its name.

    Examples
    --------
    >>> _name("sic", 2, 28), _name("sic", 3, 4), _name("custom", 0, 7)
    ('28 Chemicals and allied products', 'Manufacturing', '7')
    """
    if scheme != "sic" or depth > 3:
        return str(code)
    if depth == 3:
        return sic_divisions()[code - 1][3]
    names: dict[int, str] = ({}, sic_industry_groups(), sic_major_groups())[depth]
    return f"{code:0{4 - depth}d} {names.get(code, '')}".strip()


def _first(levels: Sequence[dict[str, Any]]) -> int:
    """Return the finest level that a reader can take in, and at which most firms have others beside them."""
    for place, level in enumerate(levels):
        last = np.array(level["of"][-1])
        members = np.bincount(last[last > 0], minlength=1)
        if len(level["groups"]) <= _GROUPS + 1 and members[members > 1].sum() >= _TOGETHER * (last >= 0).sum():
            return place
    return len(levels) - 1
