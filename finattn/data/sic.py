"""Levels of industry codes: from a code to the groups that it belongs to."""

import csv
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np

# Digits that a level keeps: SIC 4, 3, 2 (then divisions by range); GICS sub-industry, industry, group, sector.
_WIDTHS = {"sic": (4, 3, 2), "gics": (8, 6, 4, 2)}
TWO_DIGITS = 100  # SIC codes below it are major groups, see `four_digits`


def industry_levels(codes: np.ndarray, scheme: str, widths: Sequence[int] = ()) -> np.ndarray:
    """Return the group of each code at each level, the finest first.

    The levels of SIC are the industry (4 digits), the industry group (3), the major group (2) and the division. Codes
    of two digits, see `four_digits`, tell only the last two of these apart.

    Parameters
    ----------
    codes : integer codes of any shape, 0 = unknown.
    scheme : "sic" (4, 3, 2 digits, division), "gics" (8, 6, 4, 2 digits) or "custom" with `widths`, the leading
        digits that each level keeps, the first of which is a whole code.

    Returns
    -------
    (level, *codes.shape) int64 groups; 0 where the code is unknown or, at the division level, in no division.

    Examples
    --------
    >>> industry_levels(np.array([2834, 6021, 0]), "sic").tolist()
    [[2834, 6021, 0], [283, 602, 0], [28, 60, 0], [4, 8, 0]]
    >>> industry_levels(np.array([28, 60, 0]), "sic")[2:].tolist()
    [[28, 60, 0], [4, 8, 0]]
    """
    codes = four_digits(codes) if scheme == "sic" else codes
    kept = _WIDTHS.get(scheme, tuple(widths))
    levels = [codes.astype(np.int64) // 10 ** (kept[0] - width) for width in kept]
    return np.stack([*levels, sic_division(codes)] if scheme == "sic" else levels)


def four_digits(codes: np.ndarray) -> np.ndarray:
    """Return SIC codes with those of two digits, which are major groups, as four; 0 = unknown stays.

    No SIC code of four digits is below 100, the first of major group 01, so that one that is can only be of two.

    Examples
    --------
    >>> four_digits(np.array([28, 2834, 1, 0])).tolist()
    [2800, 2834, 100, 0]
    """
    return np.where(codes < TWO_DIGITS, 100 * codes.astype(np.int64), codes)


def sic_division(codes: np.ndarray) -> np.ndarray:
    """Return the division of each 4-digit SIC code: 1 (A, agriculture) to 10 (J, public administration), else 0."""
    first, last = np.array([(row[0], row[1]) for row in sic_divisions()]).T
    place = np.searchsorted(first, codes, side="right") - 1
    return np.where((place >= 0) & (codes <= last[place]), place + 1, 0)


@cache
def sic_divisions() -> tuple[tuple[int, int, str, str], ...]:
    """Read the table of divisions: first and last code, letter, name."""
    rows = _rows("sic_divisions")
    return tuple((int(row["first"]), int(row["last"]), row["division"], row["name"]) for row in rows)


@cache
def sic_major_groups() -> dict[int, str]:
    """Read the table of major groups: the first two digits of a code, and the group's name.

    Examples
    --------
    >>> sic_major_groups()[2834 // 100]
    'Chemicals and allied products'
    """
    return {int(row["code"]): row["name"] for row in _rows("sic_major_groups")}


@cache
def sic_industry_groups() -> dict[int, str]:
    """Read the table of industry groups: the first three digits of a code, and the group's name.

    The name is empty where no copy of the Manual that we could compare has it whole (`finattn/tables/README.md`).

    Examples
    --------
    >>> sic_industry_groups()[2834 // 10]
    'Drugs'
    """
    return {int(row["code"]): row["name"] for row in _rows("sic_industry_groups")}


def sic_names(code: int) -> tuple[str, str, str]:
    """Return the names of a SIC code's industry group, major group and division.

    They are the levels of `industry_levels` after the code itself. A name is empty at a level that the Manual of 1987
    does not have for the code, as for some codes of the SEC's own, and where the table has none.

    Examples
    --------
    >>> sic_names(2834)
    ('Drugs', 'Chemicals and allied products', 'Manufacturing')
    >>> sic_names(6189)  # the SEC's asset-backed securities
    ('', 'Non-depository credit institutions', 'Finance, insurance and real estate')
    """
    code = int(four_digits(np.array(code)))
    division = int(sic_division(np.array(code)))
    return (
        sic_industry_groups().get(code // 10, ""),
        sic_major_groups().get(code // 100, ""),
        sic_divisions()[division - 1][3] if division else "",
    )


def _rows(table: str) -> csv.DictReader:
    text = (resources.files("finattn") / "tables" / f"{table}.csv").read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())
