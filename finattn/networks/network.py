"""The peer network: edges and firms as two tidy tables, checked once, read-only by convention."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from finattn.checks import as_dates
from finattn.config.require import require
from finattn.errors import InputError
from finattn.storage import atomic_folder

DIRECTION = "firm asks peer: what is forecast for the firm draws on the peer; rows and sources ask columns and targets"
EDGES = ("date", "firm", "peer", "weight", "lower", "upper", "share")
NODES = ("date", "firm", "name", "size")
INTERVALS = ("given the fit", "refitted", "none")
_REQUIRED = ("method", "interval", "level", "run")
_HEADER, _VERSION = b"finattn.peers", 1
_MOST_STEPS = 4


@dataclass(frozen=True, eq=False, repr=False)
class PeerNetwork:
    """Directed, dated, weighted edges between firms. An edge's firm asks, its peer is asked.

    Parameters
    ----------
    edges : one row for each date, firm and peer, in any order (it is kept):

        - date : the as-of date, at whose close all of it was known; firm, peer : identifiers, never the same one;
        - weight : at least 0, the share of what the firm's forecast draws on. What is missing to one lies on the firm
          itself, on firms that are not listed at the date, and on peers too light to be kept;
        - lower, upper : ends of its interval, at `made["level"]`; both NaN where there is none;
        - share : of draws in which the peer is among the firm's heaviest, as many as are kept; NaN without draws.

    nodes : one row for each date and firm listed on it: date, firm, name, size (market capitalisation, NaN where it is
        not known), and `industry_0` (the finest level), `industry_1` and so on, integer codes with 0 = unknown.
    made : how it was made, as JSON can hold it. It must have `method`; `interval`, "given the fit" (of one fit's dates
        and seeds), "refitted" (of models fitted again) or "none"; `level` of the interval, None without; and `run`, the
        hash of the run, "" without one.

    Raises
    ------
    InputError
        Naming what was expected, what was found, and the first offending row.

    Examples
    --------
    >>> nodes = pd.DataFrame({"date": "2020-01-31", "firm": ["A", "B"], "name": ["Alpha", "Beta"], "size": 1.0})
    >>> edge = {"date": "2020-01-31", "firm": "A", "peer": "B", "weight": 0.5, "lower": 0.4, "upper": 0.7, "share": 1.0}
    >>> made = {"method": "attention", "interval": "given the fit", "level": 0.9, "run": ""}
    >>> network = PeerNetwork(pd.DataFrame([edge]), nodes, made)
    >>> network.matrix().toarray().tolist()  # A asks B; B asks nobody
    [[0.0, 0.5], [0.0, 0.0]]
    """

    edges: pd.DataFrame
    nodes: pd.DataFrame
    made: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Bring every column to its type, then refuse what cannot be true."""
        object.__setattr__(self, "made", _checked_made(self.made))
        object.__setattr__(self, "nodes", _typed("nodes", self.nodes, NODES))
        object.__setattr__(self, "edges", _typed("edges", self.edges, EDGES))
        _check_nodes(self.nodes)
        _check_edges(self.edges, self.nodes)

    def __repr__(self) -> str:
        """Say what it holds."""
        numbers = {"date": len(self.dates), "firm": self.nodes["firm"].nunique(), "edge": len(self.edges)}
        said = ", ".join(f"{number} {what}{'s' * (number != 1)}" for what, number in numbers.items())
        return f"PeerNetwork({said} by {self.made['method']})"

    @property
    def dates(self) -> np.ndarray:
        """As-of dates (t,), increasing, datetime64[D]."""
        return np.unique(self.nodes["date"].to_numpy().astype("datetime64[D]"))

    @property
    def metadata(self) -> dict[str, Any]:
        """What every export carries: `direction`, `as_of` (dates as text), and all of `made`, the run's hash in it."""
        return {"direction": DIRECTION, "as_of": [str(day) for day in self.dates], **self.made}

    @property
    def levels(self) -> tuple[str, ...]:
        """Columns of the nodes that hold industries, the finest first."""
        return tuple(name for name in self.nodes.columns if name not in NODES)

    def at(self, date: Any = None) -> "PeerNetwork":
        """Return the network of one as-of date, by default the last; InputError for a date that it does not have."""
        day = self.dates[-1] if date is None else as_dates([date])[0]
        if day not in self.dates:
            raise InputError(f"date must be an as-of date, {self.dates[0]} to {self.dates[-1]}, found {day}")
        edges, nodes = (table[table["date"] == day].reset_index(drop=True) for table in (self.edges, self.nodes))
        return PeerNetwork(edges, nodes, self.made)

    def matrix(self, date: Any = None) -> csr_matrix:
        """Return the weights [n m] of one date, by default the last: row asks column, firms as in `at(date).nodes`."""
        one = self.at(date)
        firms = pd.Index(one.nodes["firm"])
        places = firms.get_indexer(one.edges["firm"]), firms.get_indexer(one.edges["peer"])
        return csr_matrix((one.edges["weight"].to_numpy(), places), shape=(len(firms),) * 2)

    def paths(self, firm: str, date: Any = None, depth: int = 2) -> pd.DataFrame:
        """Return whom a firm asks through others: i asks j, who asks k.

        Rollout without a residual: a path carries the product of the weights of its steps, so that summed over
        what lies between they are the entries of the matrix's power. Paths do not come by a firm twice. Only kept edges
        are followed: shares are lower bounds.

        Parameters
        ----------
        firm : that asks. date : as of; by default the last. depth : steps, from 1 to 4.

        Returns
        -------
        Table of peer_1 … peer_depth, weight_1 … weight_depth (of each step), share (their product), and `direct`, the
        weight of the firm's own edge to the last peer, 0 where it has none; the largest share first.

        Raises
        ------
        InputError
            For a firm or date that the network does not have, and a depth out of its range.

        Examples
        --------
        >>> nodes = pd.DataFrame({"date": "2020-01-31", "firm": list("ABC"), "name": list("ABC"), "size": 1.0})
        >>> pairs = pd.DataFrame({"firm": ["A", "B"], "peer": ["B", "C"], "weight": [0.5, 0.4]})
        >>> edges = pairs.assign(date="2020-01-31", lower=float("nan"), upper=float("nan"), share=float("nan"))
        >>> made = {"method": "attention", "interval": "none", "level": None, "run": ""}
        >>> PeerNetwork(edges[list(EDGES)], nodes, made).paths("A").to_dict("records")
        [{'peer_1': 'B', 'peer_2': 'C', 'weight_1': 0.5, 'weight_2': 0.4, 'share': 0.2, 'direct': 0.0}]
        """
        require("depth", depth, depth in range(1, _MOST_STEPS + 1), f"a whole number from 1 to {_MOST_STEPS}")
        one = self.at(date)
        if firm not in set(one.nodes["firm"]):
            raise InputError(f"firm must be one of the network's on {one.dates[0]}, found {firm!r}")
        steps = one.edges[["firm", "peer", "weight"]]
        found = pd.DataFrame({"peer_0": [firm]})
        for step in range(1, depth + 1):
            named = steps.set_axis([f"peer_{step - 1}", f"peer_{step}", f"weight_{step}"], axis=1)
            found = found.merge(named, on=f"peer_{step - 1}")
            fresh = [found[f"peer_{step}"] != found[f"peer_{before}"] for before in range(step)]
            found = found[np.logical_and.reduce(fresh)]
        weights = [f"weight_{step}" for step in range(1, depth + 1)]
        own = steps[steps["firm"] == firm].set_index("peer")["weight"]
        found["share"] = found[weights].prod(axis=1)
        found["direct"] = found[f"peer_{depth}"].map(own).fillna(0.0).astype(float)
        found = found[[*(f"peer_{step}" for step in range(1, depth + 1)), *weights, "share", "direct"]]
        return found.sort_values("share", ascending=False, kind="stable", ignore_index=True)

    def save(self, path: str | Path) -> Path:
        """Write a folder of `edges.parquet`, the plain edge list, and `nodes.parquet`, each with `metadata`.

        It is whole or absent, and replaces an earlier one.
        """
        header = {_HEADER: json.dumps({"version": _VERSION, **self.metadata}).encode()}
        with atomic_folder(path) as folder:
            for name, table in (("edges", self.edges), ("nodes", self.nodes)):
                arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(header)
                pq.write_table(arrow, folder / f"{name}.parquet", compression="zstd")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read and check what `save` wrote; InputError for anything else."""
        tables, headers = {}, []
        for name in ("edges", "nodes"):
            file = Path(path) / f"{name}.parquet"
            try:
                arrow = pq.read_table(file)
                headers.append(json.loads((arrow.schema.metadata or {})[_HEADER]))
            except (OSError, pa.ArrowException, KeyError, ValueError) as error:
                found = " ".join(str(error).split())[:200]
                raise InputError(
                    f"{file} must be a table of peers that finattn saved, found another: {found}"
                ) from None
            tables[name] = arrow.replace_schema_metadata(None).to_pandas()
        made = headers[0]
        if headers[1] != made or made.pop("version", None) != _VERSION:
            raise InputError(f"{path} must hold edges and nodes of one network, version {_VERSION}, found others")
        try:
            return cls(
                tables["edges"], tables["nodes"], {k: v for k, v in made.items() if k not in ("direction", "as_of")}
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


# -- checks ------------------------------------------------------------


def _checked_made(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that JSON can hold, with what every network must say."""
    try:
        copy = json.loads(json.dumps(dict(made), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"made must hold what JSON can hold, found something else: {error}") from None
    missing = [name for name in _REQUIRED if name not in copy]
    if missing:
        raise InputError(f"made must have {', '.join(_REQUIRED)}, found no {', '.join(missing)}")
    for name in ("method", "run"):
        require(f"made.{name}", copy[name], isinstance(copy[name], str), "text")
    require("made.interval", copy["interval"], copy["interval"] in INTERVALS, f"one of {', '.join(INTERVALS)}")
    level, none = copy["level"], copy["interval"] == "none"
    fits = level is None if none else isinstance(level, float) and 0 < level < 1
    require("made.level", level, fits, "none without an interval" if none else "between 0 and 1")
    return copy


def _typed(what: str, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the columns in order with their types; nodes may have levels of industry beside them."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"{what} must be a DataFrame, found a {type(table).__name__}")
    more = [f"industry_{level}" for level in range(len(table.columns) - len(columns))] if what == "nodes" else []
    if sorted(map(str, table.columns)) != sorted([*columns, *more]):
        expected = ", ".join([*columns, *(["industry_0, …"] if what == "nodes" else [])])
        raise InputError(f"{what} must have columns {expected}, found {', '.join(map(str, table.columns))}")
    typed = {name: _column(what, table[name]) for name in [*columns, *more]}
    return pd.DataFrame({name: getattr(column, "array", column) for name, column in typed.items()}, copy=False)


def _column(what: str, column: pd.Series) -> Any:
    name = str(column.name)
    if name == "date":
        return as_dates(column.to_numpy()).astype("datetime64[ms]")
    if name in ("firm", "peer", "name"):
        return _text(what, column)
    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else ""
    if name.startswith("industry_"):
        if kind not in "iu" or (column < 0).any():
            raise InputError(f"{what}: {name} must hold integer codes from 0 (unknown), found {column.dtype}")
        return column.astype(np.int64)
    if kind not in ("f", "i", "u") and len(column):
        raise InputError(f"{what}: {name} must hold numbers, found {column.dtype}")
    return column.astype(np.float64)


def _text(what: str, column: pd.Series) -> pd.Series:
    """Return text; only a name may be empty."""
    for value in column.unique().tolist() if isinstance(column.dtype, pd.StringDtype) else column.tolist():
        if not (isinstance(value, str) and (value or column.name == "name") and _encodes(value)):
            raise InputError(f"{what}: {column.name} must be text, found {value!r}")
    return column.astype("str")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_nodes(nodes: pd.DataFrame) -> None:
    if nodes.empty:
        raise InputError("nodes must have at least one row, found none")
    size = nodes["size"].to_numpy()
    _refuse("nodes", nodes, np.isinf(size) | (size < 0), "size must be at least 0, or NaN")
    twice = nodes.duplicated(["date", "firm"]).to_numpy()
    _refuse("nodes", nodes, twice, "there must be one row for each date and firm")


def _check_edges(edges: pd.DataFrame, nodes: pd.DataFrame) -> None:
    weight, lower, upper, share = (edges[name].to_numpy() for name in EDGES[3:])
    places = pd.MultiIndex.from_frame(nodes[["date", "firm"]])
    ends = [places.get_indexer(pd.MultiIndex.from_arrays([edges["date"], edges[end]])) for end in ("firm", "peer")]
    pairs = pd.Series(ends[0].astype(np.int64) * len(nodes) + ends[1])
    refusals = {
        "firm and peer must be firms of the nodes on that date": (ends[0] < 0) | (ends[1] < 0),
        "a firm must not be its own peer": ends[0] == ends[1],
        "there must be one row for each date, firm and peer": pairs.duplicated().to_numpy(),
        "weight must be finite and at least 0": ~(np.isfinite(weight) & (weight >= 0)),
        "lower must be at most upper, or both NaN": ~((lower <= upper) | (np.isnan(lower) & np.isnan(upper))),
        "share must be from 0 to 1, or NaN": ~((share >= 0) & (share <= 1) | np.isnan(share)),
    }
    for expected, bad in refusals.items():
        _refuse("edges", edges, bad, expected)


def _refuse(what: str, table: pd.DataFrame, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        found = ", ".join(
            f"{name} {_say(table[name].iloc[row])}" for name in table.columns[: 7 if what == "edges" else 4]
        )
        raise InputError(f"{what}: {expected}, found {found} (row {row})")


def _say(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d}"
    return repr(value) if isinstance(value, str) else f"{value:g}"
