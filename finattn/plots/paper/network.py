"""A peer network as a picture: firms coloured by industry, arrows from who asks to who is asked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from finattn.config.require import require
from finattn.errors import InputError
from finattn.looks import INK, LINE
from finattn.plots.paper.style import COLOURS, MARKERS, canvas, plain, styled
from finattn.plots.tables import require_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OTHER = 10**9  # stands for industries without a colour of their own, and sorts last
LAYOUTS = ("circle", "force")
_NAMED = 60  # firms up to which each has its name beside it
Places = Mapping[str, tuple[float, float]]


@styled
def peers(
    edges: pd.DataFrame,
    nodes: pd.DataFrame,
    industry: str = "industry_0",
    layout: str = "circle",
    most: int = 80,
    height: float = 6.4,
) -> "Figure":
    """Draw whom firms ask: an arrow runs from the firm to its peer, the wider the heavier.

    Colour and marker tell industries, the eight largest; the others are white. Where edges say whether they were
    planted, those that were are dark and solid, and those that were not are orange and dashed.

    Parameters
    ----------
    edges : firm, peer, weight, and planted (bool) where it is known; of one date, such as `PeerNetwork.at(date).edges`.
    nodes : firm, and the industry's column, integer codes with 0 = unknown.
    industry : that column. layout : firms on a "circle" by industry, or where forces draw them ("force").
    most : edges shown, the heaviest. height : of the figure in inches.

    Raises
    ------
    InputError
        For missing columns, no firms, an edge whose ends are not among the nodes, or an unknown layout.

    Examples
    --------
    >>> edges = pd.DataFrame({"firm": ["A"], "peer": ["B"], "weight": [0.5]})
    >>> figure = peers(edges, pd.DataFrame({"firm": ["A", "B"], "industry_0": [7372, 0]}))
    >>> len(figure.axes[0].patches)
    1
    """
    require_columns(edges, "firm", "peer", "weight")
    require_columns(nodes, "firm", industry)
    require("layout", layout, layout in LAYOUTS, f"one of {', '.join(LAYOUTS)}")
    require("most", most, most >= 1, "at least 1")
    nodes = nodes.drop_duplicates("firm").sort_values([industry, "firm"], kind="stable")
    strangers = sorted((set(edges["firm"]) | set(edges["peer"])) - set(nodes["firm"]))
    if nodes.empty or strangers:
        raise InputError(f"edges must be between firms of the nodes, found {strangers[0] if strangers else 'no nodes'}")
    shown = edges.nlargest(most, "weight")
    places = _circle(nodes) if layout == "circle" else _force(edges, nodes)
    figure, ((axes,),) = canvas(height)
    axes.set_axis_off()
    axes.set_aspect("equal")
    _arrows(axes, shown, places)
    _firms(axes, nodes, industry, places, layout == "circle")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="Industry")
    many = "" if len(shown) == len(edges) else f"The {len(shown)} heaviest of {len(edges):,} edges. "
    known = " Dark: planted. Orange, dashed: not planted." if "planted" in edges else ""
    axes.set_title(f"{many}Arrows run from the firm that asks to the one asked.{known}", fontsize=10)
    return figure


def _circle(nodes: pd.DataFrame) -> Places:
    angle = 2 * np.pi * np.arange(len(nodes)) / len(nodes)
    return {firm: (np.sin(a), np.cos(a)) for firm, a in zip(nodes["firm"], angle, strict=True)}


def _force(edges: pd.DataFrame, nodes: pd.DataFrame) -> Places:
    import networkx

    graph: Any = networkx.Graph()
    graph.add_nodes_from(nodes["firm"])
    for firm, peer, weight in edges[["firm", "peer", "weight"]].itertuples(index=False):
        before = graph.get_edge_data(firm, peer, {"weight": 0.0})["weight"]
        graph.add_edge(firm, peer, weight=before + weight)
    start = {firm: np.array(place) for firm, place in _circle(nodes).items()}
    found = networkx.spring_layout(graph, pos=start, k=1.6 / np.sqrt(len(nodes)), iterations=80, seed=0)
    return {firm: (float(place[0]), float(place[1])) for firm, place in found.items()}


def _arrows(axes: "Axes", shown: pd.DataFrame, places: Places) -> None:
    from matplotlib.patches import FancyArrowPatch

    largest = float(shown["weight"].max()) if len(shown) else 1.0
    known = "planted" in shown.columns
    for row in shown.iloc[::-1].to_dict("records"):  # the heaviest on top
        share = row["weight"] / max(largest, 1e-12)
        ends = places[row["firm"]], places[row["peer"]]
        colour, dash = (LINE, "-") if not known else (INK, "-") if row["planted"] else ("#D55E00", "--")
        axes.add_patch(
            FancyArrowPatch(
                *ends,
                connectionstyle=f"arc3,rad={_bend(*ends)}",
                arrowstyle="-|>",
                mutation_scale=9,
                shrinkA=6,
                shrinkB=7,
                linewidth=0.5 + 2.2 * share,
                alpha=0.35 + 0.6 * share,
                color=colour,
                linestyle=dash,
                zorder=1,
            )  # fmt: skip
        )


def _bend(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Bend an arrow towards the middle, and the one that runs back more, so that both are seen."""
    outward = (start[0] + end[0]) * (end[1] - start[1]) - (start[1] + end[1]) * (end[0] - start[0])
    return (-1 if outward > 0 else 1) * (0.1 if start < end else 0.24)


def _firms(axes: "Axes", nodes: pd.DataFrame, industry: str, places: Places, around: bool) -> None:
    sizes = nodes.loc[nodes[industry] != 0, industry].value_counts(sort=True)
    named = sorted(sizes.index[: len(COLOURS)])
    for code, part in nodes.groupby(nodes[industry].where(nodes[industry].isin(named), _OTHER), sort=True):
        i = named.index(code) if code in named else None
        look: dict[str, Any] = (
            {"color": "white", "edgecolor": INK} if i is None else {"color": COLOURS[i], "edgecolor": "white"}
        )
        x, y = np.array([places[firm] for firm in part["firm"]]).T
        words = "other or unknown" if i is None else plain(code)
        axes.scatter(x, y, s=64, marker=MARKERS[i or 0], linewidth=0.7, label=words, zorder=2, **look)
    if len(nodes) <= _NAMED:
        lift = 0.035 * float(np.ptp([place[1] for place in places.values()]))
        for firm, (x, y) in places.items():
            up, right = (1.09 * y, 1.09 * x) if around else (y + lift, x)
            turn = _upright(np.degrees(np.arctan2(y, x))) if around else 0.0
            axes.text(right, up, plain(firm), ha="center", va="center", fontsize=8, rotation=turn, color=INK)
    axes.margins(0.07)


def _upright(turn: float) -> float:
    """Turn text by half a circle where it would stand on its head."""
    return turn - 180 if turn > 90 else turn + 180 if turn < -90 else turn
