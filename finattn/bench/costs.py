"""What attention costs, before a transformer is chosen: by formula, beside what is measured here.

Letters: n firm, t day of a block, l lookback, w width of all heads together, d = w / heads. Costs are of one date:
along time the forecasts of n firms, from windows of l days that are encoded again or from one pass in a band; along
firms the attention of n firms to each other, by softmax or in linear time. Only attention itself counts, forward, in
float32; a multiply-add is two operations; bytes are what is held at once, and a band holds a block of t days.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, NamedTuple

import pandas as pd
import torch

from finattn.attention import Packed, attend, attend_packed, linear_attention
from finattn.attention.blocked import Cut
from finattn.errors import InputError

LIMIT_OPERATIONS, LIMIT_BYTES = 1e12, 4 * 2**30  # what would take more is predicted and not measured
QUANTITIES = ("operations", "bytes", "seconds", "peak_bytes")


@dataclass(frozen=True)
class Sizes:
    """What to measure: every number of firms with every lookback, at one width.

    Parameters
    ----------
    firms : numbers n. lookback : numbers of days l, for attention along time.
    width : w, of all heads together. heads : of w / heads each. days : t, of a block that a band passes over at once.

    Raises
    ------
    InputError
        For a size below one, no size, or heads that do not divide the width.

    Examples
    --------
    >>> from finattn.bench import Sizes
    >>> Sizes(firms=[500], lookback=[20, 60]).width
    64
    >>> Sizes(width=30)
    Traceback (most recent call last):
    finattn.errors.InputError: width must be divisible by heads = 4, found 30
    """

    firms: Sequence[int] = (100, 1000, 5000)
    lookback: Sequence[int] = (20, 60, 250)
    width: int = 64
    heads: int = 4
    days: int = 120

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be measured."""
        single = {"width": [self.width], "heads": [self.heads], "days": [self.days]}
        for name, sizes in {"firms": self.firms, "lookback": self.lookback, **single}.items():
            if not sizes or min(sizes) < 1:
                raise InputError(f"{name} must be at least 1, found {', '.join(map(str, sizes)) or 'none'}")
        if self.width % self.heads:
            raise InputError(f"width must be divisible by heads = {self.heads}, found {self.width}")


class Cell(NamedTuple):
    """One kernel at one size; lookback is 0 along firms, and days count along time alone.

    Parameters
    ----------
    kernel : "softmax" or "linear" along firms; "windows" or "band" along time.
    firms, lookback, width, heads, days : as of `Sizes`, one number each.

    Examples
    --------
    What a size costs by formula, with nothing measured:

    >>> from finattn.bench import Cell, Measured, costs
    >>> cell = Cell("softmax", firms=500, lookback=0, width=64, heads=4, days=1)
    >>> costs([cell, cell._replace(firms=1000)], lambda cell: Measured(None, None))[["firms", "operations", "bytes"]]
       firms   operations      bytes
    0    500   64000000.0   512000.0
    1   1000  256000000.0  1024000.0
    """

    kernel: str
    firms: int
    lookback: int
    width: int
    heads: int
    days: int


class Measured(NamedTuple):
    """Median seconds of a date, and the peak of memory over what was held before; None where that is not known.

    Examples
    --------
    >>> from finattn.bench import Cell, measure
    >>> found = measure(Cell("band", firms=3, lookback=5, width=8, heads=2, days=10))
    >>> 0 < found.seconds < 60
    True
    """

    seconds: float | None
    peak_bytes: int | None


# -- formulas ---------------------------------------------------------------


def windows_operations(cell: Cell) -> float:
    """Return 4 n l² w: every day of every window attends to its whole window.

    Examples
    --------
    >>> windows_operations(Cell("windows", firms=2, lookback=3, width=4, heads=1, days=5))
    288.0
    """
    return 4.0 * cell.firms * cell.lookback**2 * cell.width


def windows_bytes(cell: Cell) -> float:
    """Return 4 · 4 n l w: queries, keys, values and output of each window."""
    return 16.0 * cell.firms * cell.lookback * cell.width


def band_operations(cell: Cell) -> float:
    """Return 4 n w r (l + c − 1) / t: r rows, in chunks of c queries that reach l + c − 1 days each (`attend_packed`).

    c is 16 to 31, and r is what it takes to fill up the block's l − 1 + t days: nearly 4 n w (l + 20) for a long block.

    Examples
    --------
    >>> cell = Cell("band", firms=1, lookback=60, width=1, heads=1, days=21)  # 4 chunks of 21 that reach 80 days
    >>> band_operations(cell)
    1280.0
    """
    cut = _cut(cell)
    return 4.0 * cell.firms * cell.width * cut.rows * cut.reach / cell.days


def band_bytes(cell: Cell) -> float:
    """Return 4 n w (3 (l − 1 + t) + 2 t) + 4 n' r (3 w + h (l + c − 1)): inputs, output twice, and n' firms at once.

    The output is held in parts and joined; of the firms at once, rows and weights are held.
    """
    cut = _cut(cell)
    firms = min(cell.firms, cut.firms)
    whole = cell.firms * cell.width * (3 * cut.days + 2 * cell.days)
    return 4.0 * (whole + firms * cut.rows * (3 * cell.width + cell.heads * cut.reach))


def softmax_operations(cell: Cell) -> float:
    """Return 4 n² w: scores, and weights times values.

    Examples
    --------
    >>> softmax_operations(Cell("softmax", firms=10, lookback=0, width=4, heads=2, days=1))
    1600.0
    """
    return 4.0 * cell.firms**2 * cell.width


def softmax_bytes(cell: Cell) -> float:
    """Return 4 · 4 n w: queries, keys, values and output; the n² weights are never held."""
    return 16.0 * cell.firms * cell.width


def linear_operations(cell: Cell) -> float:
    """Return 4 n w d: the sum of keys times values, and queries times that.

    Examples
    --------
    >>> linear_operations(Cell("linear", firms=10, lookback=0, width=4, heads=2, days=1))
    320.0
    """
    return 4.0 * cell.firms * cell.width * (cell.width // cell.heads)


def linear_bytes(cell: Cell) -> float:
    """Return 4 (6 n w + d w): queries and keys before and after the feature map, values, output, and the sum."""
    return 4.0 * cell.width * (6 * cell.firms + cell.width // cell.heads)


def _cut(cell: Cell) -> Cut:
    """Return how a block is cut whose forecasts need the l − 1 days before it."""
    return Cut(days=cell.lookback - 1 + cell.days, skip=cell.lookback - 1, lookback=cell.lookback)


# -- measuring --------------------------------------------------------------


def _windows(cell: Cell) -> Callable[[], torch.Tensor]:
    parts = torch.randn(3, cell.firms, cell.heads, cell.lookback, cell.width // cell.heads)
    return lambda: attend(*parts)


def _band(cell: Cell) -> Callable[[], torch.Tensor]:
    cut, width = _cut(cell), cell.width // cell.heads
    x, observed = torch.randn(cell.firms, cut.days, 3 * cell.width), torch.ones(cell.firms, cut.days, dtype=torch.bool)
    return lambda: attend_packed(x, observed, Packed(cell.heads, width, width), cut.lookback, cut.skip, width**-0.5)


def _softmax(cell: Cell) -> Callable[[], torch.Tensor]:
    parts = torch.randn(3, 1, cell.heads, cell.firms, cell.width // cell.heads)
    return lambda: attend(*parts)


def _linear(cell: Cell) -> Callable[[], torch.Tensor]:
    parts = torch.randn(3, 1, cell.heads, cell.firms, cell.width // cell.heads)
    return lambda: linear_attention(*parts)


class Kernel(NamedTuple):
    """A kernel's words, its axis, the size that it is compared along, its formulas, and what makes its call."""

    words: str
    axis: str
    by: str
    operations: Callable[[Cell], float]
    bytes: Callable[[Cell], float]
    make: Callable[[Cell], Callable[[], torch.Tensor]]


KERNELS = {
    "softmax": Kernel("Softmax", "firm", "firms", softmax_operations, softmax_bytes, _softmax),
    "linear": Kernel("Linear", "firm", "firms", linear_operations, linear_bytes, _linear),
    "windows": Kernel("Windows encoded again", "time", "lookback", windows_operations, windows_bytes, _windows),
    "band": Kernel("One pass in a band", "time", "lookback", band_operations, band_bytes, _band),
}
PAIRS = (("softmax", "linear"), ("windows", "band"))


def measure(cell: Cell) -> Measured:
    """Run a kernel at a size, forward without gradients; the peak is right in a process that has run little else.

    Parameters
    ----------
    cell : what to run, again and again for half a second, three times at least and fifty at most.

    Examples
    --------
    >>> from finattn.bench import Sizes, cells, costs, measure
    >>> table = costs(cells(Sizes(firms=[4], lookback=[3], width=8, heads=2, days=5)), measure)
    >>> table.loc[table["seconds"] > 0, "kernel"].tolist()
    ['softmax', 'linear', 'windows', 'band']
    """
    make = KERNELS[cell.kernel].make
    with torch.no_grad():
        make(cell._replace(firms=2, lookback=min(cell.lookback, 2), days=2))()  # libraries load at their first use
        before = _peak_bytes()
        run = make(cell)
        run()
        after = _peak_bytes()
        seconds = statistics.median(_repeat(run)) / (cell.days if cell.kernel == "band" else 1)
    return Measured(seconds, None if before is None or after is None else after - before)


def measure_apart(cell: Cell) -> Measured:
    """Run `measure` in a fresh process, so that peaks of memory do not mix; one that is killed has measured nothing.

    A script that calls it does so under ``if __name__ == "__main__":``, since the new process imports the script.

    Returns
    -------
    `Measured`, with None for both where the process was killed, as by a system without memory.

    Examples
    --------
    `costs` calls it for what is small enough; a million firms attending to each other are not, and start no process:

    >>> from finattn.bench import Cell, costs, measure_apart
    >>> cell = Cell("softmax", firms=10**6, lookback=0, width=64, heads=4, days=1)
    >>> costs([cell], measure_apart)[["operations", "seconds"]].to_numpy().tolist()
    [[256000000000000.0, nan]]
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, cell).result()
        except BrokenProcessPool:
            return Measured(None, None)


def _repeat(run: Callable[[], Any], least: int = 3, most: int = 50, enough: float = 0.5) -> list[float]:
    """Time a call until the times add up to `enough` seconds."""
    seconds: list[float] = []
    while len(seconds) < least or (sum(seconds) < enough and len(seconds) < most):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds


def _peak_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- tables -----------------------------------------------------------------


def cells(sizes: Sizes) -> list[Cell]:
    """Return every kernel at every size: along time at each lookback too.

    Parameters
    ----------
    sizes : a size that is there twice counts once.

    Returns
    -------
    One `Cell` each, by kernel, lookback and number of firms.

    Examples
    --------
    >>> from finattn.bench import Sizes, cells
    >>> [(cell.kernel, cell.firms, cell.lookback) for cell in cells(Sizes(firms=[500, 100], lookback=[20]))][:5]
    [('softmax', 100, 0), ('softmax', 500, 0), ('linear', 100, 0), ('linear', 500, 0), ('windows', 100, 20)]
    """
    rest = (sizes.width, sizes.heads, sizes.days)
    return [
        Cell(name, firms, lookback, *rest)
        for name, kernel in KERNELS.items()
        for lookback in (sorted(set(sizes.lookback)) if kernel.axis == "time" else [0])
        for firms in sorted(set(sizes.firms))
    ]


def costs(chosen: Iterable[Cell], measured: Callable[[Cell], Measured] = measure_apart) -> pd.DataFrame:
    """Return a row a cell: its sizes, and of one date operations and bytes by formula, seconds and peak_bytes measured.

    What would take more than a trillion operations or 4 GiB is not run, and has NaN for seconds and peak_bytes.

    Parameters
    ----------
    chosen : of `cells`. measured : what measures one of them, `measure` or `measure_apart`.

    Examples
    --------
    >>> table = costs(cells(Sizes(firms=[10], lookback=[5])), lambda cell: Measured(0.5, None))
    >>> table[["kernel", "axis", "operations", "seconds"]].to_numpy().tolist()[0]
    ['softmax', 'firm', 25600.0, 0.5]
    """
    rows = []
    for cell in chosen:
        kernel = KERNELS[cell.kernel]
        operations, held = kernel.operations(cell), kernel.bytes(cell)
        at_once = operations * (cell.days if cell.kernel == "band" else 1)
        fits = at_once <= LIMIT_OPERATIONS and held <= LIMIT_BYTES
        found = measured(cell) if fits else Measured(None, None)
        rows.append(
            {"axis": kernel.axis} | cell._asdict() | {"operations": operations, "bytes": held} | found._asdict()
        )
    return pd.DataFrame(rows).astype(dict.fromkeys(QUANTITIES, float))
