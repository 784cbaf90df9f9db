"""From SIC codes to the industry groups of Fama and French, and which firms have no code.

The definitions are those of Kenneth R. French's data library, as the tables `fama_french_*.csv` give them.
"""

import csv
from functools import lru_cache
from importlib import resources
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import some
from finattn.config.data import FAMA_FRENCH_SCHEMES
from finattn.errors import InputError
from finattn.panel import Panel

SCHEMES = FAMA_FRENCH_SCHEMES
_LAST_CODE = 9999
_UNLISTED = ("as defined", "last group", "unknown")
Unlisted = Literal["as defined", "last group", "unknown"]


class Group(NamedTuple):
    """A group of industries: its number, French's short name and name, and its ranges of SIC codes, both ends inside.

    A last group without ranges is the rest: "Other" of 5, 10 and 12 groups, "Almost Nothing" of 38.
    """

    number: int
    short_name: str
    name: str
    ranges: tuple[tuple[int, int], ...]


@lru_cache(maxsize=None, typed=True)  # typed: 48.0 is not 48
def fama_french_groups(scheme: int) -> tuple[Group, ...]:
    """Return the groups of the scheme of 5, 10, 12, 17, 30, 38, 48 or 49 industries, in French's order.

    Raises
    ------
    InputError
        For another number of industries.

    Examples
    --------
    >>> group = fama_french_groups(48)[34]
    >>> group.number, group.short_name, group.name, group.ranges[0]
    (35, 'Comps', 'Computers', (3570, 3579))
    """
    if not isinstance(scheme, int | np.integer) or scheme not in SCHEMES:
        raise InputError(f"a Fama-French scheme must be of {', '.join(map(str, SCHEMES))} groups, found {scheme!r}")
    text = (resources.files("finattn") / "tables" / f"fama_french_{scheme}.csv").read_text(encoding="utf-8")
    names: dict[int, tuple[str, str]] = {}
    ranges: dict[int, list[tuple[int, int]]] = {number: [] for number in range(1, scheme + 1)}
    for row in csv.DictReader(text.splitlines()):
        names[int(row["number"])] = row["short_name"], row["name"]
        if row["first"]:
            ranges[int(row["number"])].append((int(row["first"]), int(row["last"])))
    return tuple(Group(number, *names[number], tuple(ranges[number])) for number in ranges)


def fama_french(codes: np.ndarray, scheme: int, *, unlisted: Unlisted = "as defined") -> np.ndarray:
    """Return the Fama-French group of each SIC code.

    Parameters
    ----------
    codes : integer SIC codes of any shape, from 1 to 9999; 0 = unknown.
    scheme : number of groups: 5, 10, 12, 17, 30, 38, 48 or 49.
    unlisted : group of a code that is in no range. "as defined": the last group of 5, 10, 12 and 38, whose definitions
        give that group no ranges, and none of 17, 30, 48 and 49, whose definitions list its ranges too. "last group":
        the last one in every scheme. "unknown": none in any.

    Returns
    -------
    (*codes.shape) int32 numbers of groups from 1; 0 = unknown.

    Raises
    ------
    InputError
        For codes that are no integers from 0 to 9999, and a scheme or a choice that does not exist.

    Examples
    --------
    >>> fama_french(np.array([3571, 2834, 6021, 9995, 0]), 48).tolist()
    [35, 13, 44, 0, 0]
    >>> fama_french(np.array([3571, 2834, 6021, 9995, 0]), 5).tolist()
    [3, 4, 5, 5, 0]
    """
    codes = np.asarray(codes)
    if codes.dtype.kind not in "iu":
        raise InputError(f"SIC codes must be integers, found {codes.dtype}")
    bad = (codes < 0) | (codes > _LAST_CODE)
    if bad.any():
        raise InputError(
            f"SIC codes must be from 0 (unknown) to {_LAST_CODE}, found {some(np.unique(codes[bad]).tolist())}"
        )
    return _lookup(scheme, unlisted)[codes]


@lru_cache(maxsize=None, typed=True)
def _lookup(scheme: int, unlisted: str) -> np.ndarray:
    """Return the group of every code from 0 to 9999, read-only."""
    if unlisted not in _UNLISTED:
        raise InputError(f"unlisted must be one of {', '.join(_UNLISTED)}, found {unlisted!r}")
    groups = fama_french_groups(scheme)
    rest = unlisted == "last group" or unlisted == "as defined" and not groups[-1].ranges
    table = np.full(_LAST_CODE + 1, scheme if rest else 0, np.int32)
    table[0] = 0
    for group in groups:
        for first, last in group.ranges:
            table[first : last + 1] = group.number
    table.flags.writeable = False
    return table


def with_fama_french(panel: Panel, scheme: int, *, unlisted: Unlisted = "as defined") -> Panel:
    """Return the panel with Fama-French groups in the place of its SIC codes, as known at t where those were.

    The groups are a custom scheme of one level: peers, neighbours and averages by industry are then by group.

    Parameters
    ----------
    panel : whose industry holds SIC codes.
    scheme, unlisted : see `fama_french`.

    Raises
    ------
    InputError
        Where the panel's industries are no SIC codes; see also `fama_french`.

    Examples
    --------
    >>> panel = Panel(["2020-01-02"], ["A", "B"], [[0.0, 0.1]], industry=[[3571, 6021]])
    >>> grouped = with_fama_french(panel, 12)
    >>> grouped.industry.tolist(), grouped.industry_scheme, grouped.source["industry_groups"]
    ([[6, 11]], 'custom', '12 groups of Fama and French')
    """
    return panel.replace(
        industry=_groups(panel, scheme, unlisted),
        industry_scheme="custom",
        industry_widths=(len(str(scheme)),),
        source={**panel.source, "industry_groups": f"{scheme} groups of Fama and French"},
    )


def sector_features(panel: Panel, groups: int = 12) -> Panel:
    """Return the panel with a feature for each Fama-French group: 1 for the firms inside it and 0 for others.

    Attention and look-ups see features only: with these they can tell peers by sector. A scheme has the same features
    whatever codes occur, and row t has groups of the codes of row t, known at t where those were.

    Parameters
    ----------
    panel : whose industry holds SIC codes.
    groups : 5, 10, 12, 17, 30, 38, 48 or 49.

    Returns
    -------
    Panel with features ``sector_NAME``, NAME French's short name, after those it has. All of them are 0 where the code
    is unknown or in no group; ``source["sector_features"]`` counts such dates of listed firms.

    Raises
    ------
    InputError
        Where the panel's industries are no SIC codes, and for a scheme that does not exist.

    Examples
    --------
    >>> panel = Panel(["2020-01-02"], ["A", "B", "C"], [[0.0, 0.1, 0.0]], industry=[[3571, 6021, 0]])
    >>> found = sector_features(panel, groups=5)
    >>> found.feature_names
    ('sector_Cnsmr', 'sector_Manuf', 'sector_HiTec', 'sector_Hlth', 'sector_Other')
    >>> found.features[0].astype(int).tolist()
    [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    """
    found = _groups(panel, groups)
    inside = found[:, :, None] == np.arange(1, groups + 1)
    names = tuple(f"sector_{group.short_name}" for group in fama_french_groups(groups))
    note = {"groups": f"{groups} of Fama and French", "listed_without_group": int((panel.listed & (found == 0)).sum())}
    return panel.replace(
        features=np.concatenate([panel.features, inside], axis=2, dtype=panel.features.dtype),
        feature_names=(*panel.feature_names, *names),
        source={**panel.source, "sector_features": note},
    )


def _groups(panel: Panel, scheme: int, unlisted: Unlisted = "as defined") -> np.ndarray:
    """Return the groups (t, n) of a panel's SIC codes."""
    if panel.industry_scheme != "sic":
        raise InputError(f"industry_scheme must be sic to be grouped, found {panel.industry_scheme!r}")
    return fama_french(panel.industry, scheme, unlisted=unlisted)


def unclassified(panel: Panel) -> pd.DataFrame:
    """Return the firms that have no industry on some date on which they are listed.

    Returns
    -------
    Columns firm, name, listed (dates), without_code (of those), share; the largest share first, firms in the panel's
    order within a share. A firm that is never listed is not in it.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.1]] * 2, industry=[[0, 6021], [3571, 6021]])
    >>> unclassified(panel).to_dict("records")
    [{'firm': 'A', 'name': 'A', 'listed': 2, 'without_code': 1, 'share': 0.5}]
    """
    listed, without = panel.listed.sum(axis=0), (panel.listed & (panel.industry == 0)).sum(axis=0)
    some_without = np.flatnonzero(without)
    table = pd.DataFrame(
        {
            "firm": panel.firms[some_without],
            "name": np.array(panel.names if panel.names is not None else panel.firms)[some_without],
            "listed": listed[some_without],
            "without_code": without[some_without],
            "share": without[some_without] / listed[some_without],
        }
    )
    return table.sort_values("share", ascending=False, kind="stable", ignore_index=True)
