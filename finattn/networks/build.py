"""From fitted models to a peer network: averaged over fits, layers, heads and dates, each edge with an interval."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.blocks import Blocks
from finattn.checks import as_dates
from finattn.config.require import require
from finattn.data.sic import industry_levels
from finattn.errors import InputError
from finattn.evaluation import mean_block
from finattn.evaluation.inference import resamples
from finattn.explain import How, network
from finattn.networks.network import PeerNetwork
from finattn.networks.reading import CELLS, METHODS, Piece, Reading, added, heaviest, read
from finattn.panel import Panel

_SPARE = 2  # times as many peers are kept of each reading as of the average
_LEAST = 100  # and never fewer than these: a small panel is averaged exactly
_HELD = 2**28  # bytes of pieces held at once, unless one date needs more
_DRAWS = 1000  # that the block bootstrap has
_LEFT_OUT = (
    "of each head, layer, fit and date the `kept` heaviest weights count; one below them counts as 0 in averages"
)


@dataclass(frozen=True)
class Averaging:
    """Over what weights are averaged, and how sure one is of the average.

    Parameters
    ----------
    top_k : edges of a firm that are kept, the heaviest.
    window : rows (t − window, t] of the panel that are averaged for as-of date t. every : of them each so manyth is
        read, counted back from t.
    draws : of fits and dates, for the interval and the share; at most 1000, 0 for none.
    level : of the interval. seed : of the draws.

    Raises
    ------
    InputError
        For numbers out of their range.

    Examples
    --------
    >>> Averaging(window=63, every=5).rows(100).tolist()
    [40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100]
    """

    top_k: int = 20
    window: int = 1
    every: int = 1
    draws: int = 200
    level: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        for name in ("top_k", "window", "every"):
            require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        require("draws", self.draws, 0 <= self.draws <= _DRAWS, f"from 0 to {_DRAWS}")
        require("level", self.level, 0 < self.level < 1, "between 0 and 1")
        require("seed", self.seed, self.seed >= 0, "at least 0")

    @property
    def kept(self) -> int:
        """Peers of a firm that each reading keeps."""
        return max(_SPARE * self.top_k, _LEAST)

    def rows(self, row: int) -> NDArray[np.int64]:
        """Return the rows that an as-of row is averaged over, increasing."""
        return np.arange(row, row - self.window, -self.every)[::-1]


def build(
    models: Sequence[Any],
    blocks: Blocks,
    dates: Sequence[Any],
    method: str = "attention",
    averaging: Averaging | None = None,
    how: How | None = None,
    run: str = "",
) -> PeerNetwork:
    """Return whom each firm asks at some dates, averaged over fits and the dates of a trailing window.

    The weight of edge i → j is the mean, over fits and over the window's dates on which i has a forecast, of the share
    of what i's forecast draws on that lies on j:

    =============  ================================================================================================
    "attention"    attention weights, averaged over layers across firms and over heads. Heads of a look-up, and a base
                   and what corrects it, count in proportion to the deviation across firms of what each adds to the
                   score on the date; signs are left out, so two that undo each other both count. Read in chunks,
                   never dense.
    "rollout"      attention multiplied through the layers (Abnar and Zuidema 2020)
    "value_norm"   attention times the size of what is looked at (Kobayashi et al. 2020)
    "gradients"    |integrated gradients| of j's inputs; absolute, since its sign follows that of the inputs
    "shapley"      |Shapley values| of the `How.peers` largest peers
    =============  ================================================================================================

    All but the first are read from `finattn.explain`: dense, and a pass for each firm with the last two. Own weights
    count in the shares and are no edges. So does a peer that is not observed on a date, with 0, and one not listed at
    the as-of date, without an edge. Attention shows what models looked at, not why they decided.

    Memory does not hold n²: of each head, layer, fit and date the max(2 · top_k, 100) heaviest weights count, and one
    below them counts as 0, so that weights are lower bounds, and exact in panels of no more firms than that.

    The interval is "given the fit": percentiles over draws of fits, with replacement, and of the window's dates by the
    stationary block bootstrap (`evaluation.mean_block`). It does not know how else the fits could have come out: with
    few fits and dates it is too short, and with one of each there is none. See `refitted`.

    Parameters
    ----------
    models : fits of one model, one a seed: forecasters or networks, see `explain.network`.
    blocks : the panel and how it is scaled for these fits; its positions do not matter.
    dates : as-of dates of the panel, increasing; row t holds what was known at the close of dates[t] by models fitted
        before it, which is the caller's to see to.
    method : see above. averaging : window, peers kept and draws. how : settings of "gradients" and "shapley".
    run : the hash of the run that the models are of, for the metadata.

    Raises
    ------
    InputError
        For no models, one that does not attend to firms, an unknown method, dates that the panel does not have, and a
        window that begins before the panel.

    Examples
    --------
    >>> from finattn.blocks import Scaling
    >>> from finattn.config import ModelConfig, TargetConfig
    >>> from finattn.data import sample
    >>> from finattn.models import PanelTransformer
    >>> panel = sample()["2020":"2020"]
    >>> blocks = Blocks(panel, np.array([200]), Scaling.fit(panel, np.arange(150)), TargetConfig())
    >>> model = PanelTransformer(2, ("firm",), ModelConfig(own_firm=False)).eval()
    >>> network = build([model], blocks, [panel.dates[200]], averaging=Averaging(top_k=19, window=5))
    >>> network.made["interval"], round(float(network.edges["weight"].sum()), 4)  # each firm's weights add up to one
    ('given the fit', 20.0)
    """
    averaging, how = averaging or Averaging(), how or How()
    require("method", method, method in METHODS, f"one of {', '.join(METHODS)}")
    require("models", models, len(models) > 0, "at least one")
    nets, rows = [network(model) for model in models], _rows_of(blocks.panel, dates, averaging)
    reading = Reading(method, averaging.kept, how)
    edges, counts = [], []
    for row, pieces in _windows(nets, blocks, rows, averaging, reading):
        counts.append(len(pieces[0]))
        edges.append(_edges(blocks.panel, row, pieces, averaging))
    varies = averaging.draws > 0 and (len(nets) > 1 or max(counts) > 1)
    made = {
        **asdict(averaging), "method": method, "run": run, "models": len(nets), "dates_averaged": counts,
        "interval": "given the fit" if varies else "none", "level": averaging.level if varies else None,
        "kept": averaging.kept, "exact": blocks.panel.shape[1] <= averaging.kept, "left_out": _LEFT_OUT,
        "industry_scheme": blocks.panel.industry_scheme, "industry_as_of": blocks.panel.industry_as_of,
    }  # fmt: skip
    if method in ("gradients", "shapley"):
        made["how"] = asdict(how)
    return PeerNetwork(pd.concat(edges, ignore_index=True), _nodes(blocks.panel, rows), made)


def refitted(network: PeerNetwork, draws: Sequence[PeerNetwork], level: float = 0.9) -> PeerNetwork:
    """Return a network with intervals and shares from networks of models that were fitted again.

    Percentiles over the draws of an edge's weight, 0 in a draw that does not have it, and the share of draws that do.
    What they are intervals of depends on how the draws came about: with independent samples and seeds, of the weight
    that this procedure gives; with training dates drawn by a block bootstrap, an approximation of that.

    Parameters
    ----------
    network : whose edges and weights stay. draws : at least two, with its as-of dates, built in the same way.
    level : of the interval.

    Raises
    ------
    InputError
        For fewer than two draws, other dates or another method, and a level that is none.

    Examples
    --------
    >>> nodes = pd.DataFrame({"date": "2020-01-31", "firm": ["A", "B"], "name": ["A", "B"], "size": 1.0})
    >>> made = {"method": "attention", "interval": "none", "level": None, "run": ""}
    >>> edge = {"date": "2020-01-31", "firm": "A", "peer": "B", "lower": np.nan, "upper": np.nan, "share": np.nan}
    >>> of = lambda weight: PeerNetwork(pd.DataFrame([edge | {"weight": weight}]), nodes, made)
    >>> found = refitted(of(0.3), [of(0.1), of(0.2), of(0.4)], level=0.5)
    >>> found.edges[["weight", "lower", "upper", "share"]].round(2).to_dict("records"), found.made["interval"]
    ([{'weight': 0.3, 'lower': 0.15, 'upper': 0.3, 'share': 1.0}], 'refitted')
    """
    require("draws", len(draws), len(draws) >= 2, "at least 2 networks")
    require("level", level, 0 < level < 1, "between 0 and 1")
    for draw in draws:
        same = np.array_equal(draw.dates, network.dates) and draw.made["method"] == network.made["method"]
        require("draws", draw, same, f"networks like {network!r}, by the same method on the same dates")
    keys = ["date", "firm", "peer"]
    wanted = pd.MultiIndex.from_frame(network.edges[keys])
    weights = np.stack([draw.edges.set_index(keys)["weight"].reindex(wanted).to_numpy() for draw in draws])
    lower, upper = np.quantile(np.nan_to_num(weights), [(1 - level) / 2, (1 + level) / 2], axis=0)
    edges = network.edges.assign(lower=lower, upper=upper, share=(~np.isnan(weights)).mean(axis=0))
    made = {**network.made, "interval": "refitted", "level": level, "draws": len(draws)}
    return PeerNetwork(edges, network.nodes, made)


def _rows_of(panel: Panel, dates: Sequence[Any], averaging: Averaging) -> list[int]:
    days = as_dates(list(dates))
    require("dates", len(days), len(days) > 0, "at least one")
    if (np.diff(days).astype(int) <= 0).any():
        raise InputError(f"dates must be increasing, found {', '.join(map(str, days[:5]))}")
    rows = np.searchsorted(panel.dates, days)
    absent = panel.dates[np.minimum(rows, len(panel) - 1)] != days
    if absent.any():
        raise InputError(f"dates must be the panel's, {panel.dates[0]} to {panel.dates[-1]}, found {days[absent][0]}")
    if rows[0] < averaging.window - 1:
        raise InputError(
            f"window must lie within the panel, at most {rows[0] + 1} rows at {days[0]}, found {averaging.window}"
        )
    return rows.tolist()


# -- one as-of date after the other ------------------------------------------------------------


def _windows(
    nets: Sequence[Any], blocks: Blocks, rows: Sequence[int], averaging: Averaging, reading: Reading
) -> Iterator[tuple[int, list[list[Piece]]]]:
    """Yield each as-of row with the pieces of its window, by fit and date; windows share what fits into memory."""
    most = max(1, _HELD // (12 * blocks.panel.shape[1] * averaging.kept * len(nets)))
    batch: list[int] = []
    for place, row in enumerate(rows):
        batch.append(row)
        more = rows[place + 1 : place + 2]
        if more and len(_union([*batch, *more], averaging)) <= most:
            continue
        needed = _union(batch, averaging)
        pieces = [dict(zip(needed, read(net, blocks, needed, reading), strict=True)) for net in nets]
        for one in batch:
            yield one, [[of_fit[day] for day in averaging.rows(one).tolist()] for of_fit in pieces]
        batch = []


def _union(rows: Sequence[int], averaging: Averaging) -> list[int]:
    return np.unique(np.concatenate([averaging.rows(row) for row in rows])).tolist()


class _Drawn(NamedTuple):
    """Draws [b p] of pieces: how often each counts."""

    counts: NDArray[np.float64]
    level: float


def _drawn(fits: int, dates: int, averaging: Averaging) -> _Drawn | None:
    if fits * dates == 1 or not averaging.draws:
        return None
    draws, random = averaging.draws, np.random.default_rng(averaging.seed)
    of_fits = _counted(random.integers(fits, size=(draws, fits)), fits)
    of_dates = np.ones((draws, 1))
    if dates > 1:
        of_dates = _counted(resamples(dates, mean_block(dates, 0), averaging.seed)[:draws], dates)
    return _Drawn(np.einsum("bs,bt->bst", of_fits, of_dates).reshape(draws, -1), averaging.level)


def _counted(drawn: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Return how often each of `count` was drawn [b count]."""
    return np.stack([np.bincount(one, minlength=count) for one in drawn]).astype(float)


def _edges(panel: Panel, row: int, by_fit: Sequence[Sequence[Piece]], averaging: Averaging) -> pd.DataFrame:
    """Average the pieces of one as-of row, some firms at a time."""
    pieces, listed = [piece for of_fit in by_fit for piece in of_fit], panel.listed[row]
    drawn = _drawn(len(by_fit), len(by_fit[0]), averaging)
    size = max(1, CELLS // (averaging.kept * max(len(pieces), averaging.draws if drawn else 1)))
    columns = [
        _averaged(pieces, listed, range(start, min(start + size, len(listed))), drawn, averaging)
        for start in range(0, len(listed), size)
    ]
    firm, peer, *numbers = (np.concatenate(column) for column in zip(*columns, strict=True))
    day = panel.dates[row].astype("datetime64[ms]")
    firms = pd.Series(panel.firms.tolist(), dtype="str").array
    table = {"date": np.full(len(firm), day), "firm": firms.take(firm), "peer": firms.take(peer)}
    return pd.DataFrame(table | dict(zip(("weight", "lower", "upper", "share"), numbers, strict=True)))


def _averaged(
    pieces: Sequence[Piece], listed: NDArray[Any], firms: range, drawn: _Drawn | None, averaging: Averaging
) -> tuple[NDArray[Any], ...]:
    """Return firm, peer, weight, lower, upper and share of some firms' edges, firm by firm, the heaviest first."""
    count = len(listed)
    parts = [_cut(piece, firms, count) for piece in pieces]
    pairs, sums = added(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    here = listed[pairs // count] & listed[pairs % count]
    pairs, sums = pairs[here], sums[here]
    places, rank = heaviest(pairs // count, sums, averaging.kept)
    pairs, sums, local = pairs[places], sums[places], pairs[places] // count - firms.start
    asks = np.stack([piece.asks[firms.start : firms.stop] for piece in pieces]).astype(float)
    weight = sums / asks.sum(0)[local]
    lower, upper, share = (np.full(len(pairs), np.nan) for _ in range(3))
    if drawn is not None and len(pairs):
        cells = np.zeros((len(pieces), len(firms), int(rank.max()) + 1))
        for cell, (codes, weights) in zip(cells, parts, strict=True):
            cell[local, rank] = _found(codes, weights, pairs)
        lower, upper, share = (part[local, rank] for part in _spread(cells, asks, drawn, averaging.top_k))
    kept = rank < averaging.top_k
    return tuple(column[kept] for column in (pairs // count, pairs % count, weight, lower, upper, share))


def _spread(
    cells: NDArray[Any], asks: NDArray[Any], drawn: _Drawn, top_k: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return lower, upper and share [c k] of weights [p c k]; a draw without any date of a firm repeats its average."""
    times = drawn.counts @ asks
    weights = np.tensordot(drawn.counts, cells, 1) / np.maximum(times, 1)[:, :, None]
    average = cells.sum(0) / np.maximum(asks.sum(0), 1)[:, None]
    weights = np.where(times[:, :, None] > 0, weights, average)
    lower, upper = np.quantile(weights, [(1 - drawn.level) / 2, (1 + drawn.level) / 2], axis=0)
    least = np.zeros((*weights.shape[:2], 1))
    if weights.shape[2] > top_k:
        least = np.partition(weights, -top_k, axis=2)[:, :, [-top_k]]
    return lower, upper, ((weights >= least) & (weights > 0)).mean(axis=0)


def _cut(piece: Piece, firms: range, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    first, last = np.searchsorted(piece.pairs, [firms.start * count, firms.stop * count])
    return piece.pairs[first:last], piece.weights[first:last]


def _found(codes: NDArray[np.int64], weights: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weights of some pairs, 0 where they are not in the list."""
    if not len(codes):
        return np.zeros(len(pairs))
    place = np.minimum(np.searchsorted(codes, pairs), len(codes) - 1)
    return np.where(codes[place] == pairs, weights[place], 0.0)


def _nodes(panel: Panel, rows: Sequence[int]) -> pd.DataFrame:
    """List the firms that are listed at some rows."""
    row, firm = np.nonzero(panel.listed[rows])
    levels = industry_levels(panel.industry[rows], panel.industry_scheme, panel.industry_widths)
    names = panel.firms.astype(object) if panel.names is None else np.array(panel.names, dtype=object)
    size = np.full(len(row), np.nan) if panel.market_cap is None else panel.market_cap[rows][row, firm]
    table = {
        "date": panel.dates[rows][row].astype("datetime64[ms]"), "firm": panel.firms[firm].astype(object),
        "name": names[firm], "size": size,
    }  # fmt: skip
    return pd.DataFrame(table | {f"industry_{level}": codes[row, firm] for level, codes in enumerate(levels)})
