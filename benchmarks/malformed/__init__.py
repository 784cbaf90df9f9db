"""Malformed inputs of the data sources, and what may become of them: a valid panel, or one clear error.

Families of inputs are in `cells` (one cell of a sound table), `files` (headers, shapes, encodings, damage), `types` (of
Parquet), `containers` (what is no file of its kind, keys that do not fit) and `zips` (archives of the SEC); `judge`
says what is unclean.
"""

from collections.abc import Callable, Iterator

from benchmarks.malformed import cells, containers, files, types, zips
from benchmarks.malformed.judge import Case, outcome, unclean

__all__ = ["FAMILIES", "Case", "outcome", "unclean", "unclean_of"]

# Families that are drawn by a seed, each with how many of its inputs one is tried of where there is little time.
_DRAWN: dict[Callable[[int], Iterator[Case]], int] = {
    cells.long_cells: 3, cells.parquet_cells: 4, cells.folder_cells: 4, cells.wide_cells: 5, cells.price_cells: 5,
    cells.industry_cells: 5, cells.report_cells: 4, types.types: 6, types.tables: 5, files.damaged: 4,
    zips.cells: 4, zips.archives: 6,
}  # fmt: skip
_FIXED: dict[Callable[[int], Iterator[Case]], int] = {
    files.headers: 1, files.shapes: 2, files.encodings: 1, files.truncated: 2, containers.containers: 3,
    containers.keys: 1, zips.tables: 1, zips.tickers: 1,
}  # fmt: skip
FAMILIES = _DRAWN | _FIXED


def unclean_of(family: Callable[[int], Iterator[Case]], seeds: int = 1, stride: int = 1) -> tuple[int, list[str]]:
    """Try a family of inputs with several seeds; return how many there were, and what is wrong with those not clean."""
    made = (case for seed in range(1 if family in _FIXED else seeds) for case in family(seed))
    return unclean(case for number, case in enumerate(made) if number % stride == 0)
