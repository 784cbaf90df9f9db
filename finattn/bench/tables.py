"""What the costs of attention say: how each kernel grows, and from where on the cheap one of a pair is cheaper."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from finattn.bench.costs import KERNELS, PAIRS, QUANTITIES, Cell


def growth(table: pd.DataFrame) -> pd.DataFrame:
    """Return how each kernel's costs grow: exponents of firms and lookback, slopes of the logarithms by least squares.

    Parameters
    ----------
    table : of `costs`.

    Returns
    -------
    Frame of kernel, by ("firms" or "lookback", where there are at least two of it), and the exponents of operations,
    bytes, seconds and peak_bytes, NaN where too little was measured.

    Examples
    --------
    >>> from finattn.bench import Measured, Sizes, cells, costs
    >>> table = costs(cells(Sizes(firms=[10, 100], lookback=[5])), lambda cell: Measured(None, None))
    >>> growth(table)[["kernel", "by", "operations"]].round(2).to_numpy().tolist()[0]
    ['softmax', 'firms', 2.0]
    """
    rows = []
    for kernel in KERNELS:
        part = table[table["kernel"] == kernel]
        exponents = {quantity: _exponents(part, quantity) for quantity in QUANTITIES}
        rows += [
            {"kernel": kernel, "by": by} | {name: found.get(by, math.nan) for name, found in exponents.items()}
            for by in exponents["operations"]
        ]
    return pd.DataFrame(rows, columns=["kernel", "by", *QUANTITIES])


def _exponents(part: pd.DataFrame, quantity: str) -> dict[str, float]:
    known = part[part[quantity] > 0]
    by = [name for name in ("firms", "lookback") if known[name].nunique() > 1]
    if len(known) <= len(by):  # too few for a slope along each
        return {}
    design = np.column_stack([np.ones(len(known)), *(np.log(known[name].to_numpy(float)) for name in by)])
    slopes = np.linalg.lstsq(design, np.log(known[quantity].to_numpy()), rcond=None)[0][1:]
    return dict(zip(by, slopes.tolist(), strict=True))


def crossing(sizes: Sequence[int], dear: Sequence[float], cheap: Sequence[float]) -> float:
    """Return the size from which `cheap` costs less than `dear`, between increasing sizes on straight log-log lines.

    The smallest size where it always does, infinity where it does not at the largest, NaN where nothing was measured.

    Parameters
    ----------
    sizes : increasing. dear, cheap : what each costs at each size, above 0, in one unit.

    Examples
    --------
    >>> crossing([10, 1000], dear=[1.0, 100.0], cheap=[10.0, 10.0])
    100.0
    """
    if not len(sizes):
        return math.nan
    gain = np.log(np.asarray(dear, float) / np.asarray(cheap, float))
    if gain[-1] <= 0:
        return math.inf
    behind = np.flatnonzero(gain <= 0)
    if not len(behind):
        return float(sizes[0])
    last = int(behind[-1])
    share = -gain[last] / (gain[last + 1] - gain[last])
    return float(round(sizes[last] * (sizes[last + 1] / sizes[last]) ** share, 6))


def crossings(table: pd.DataFrame) -> pd.DataFrame:
    """Return from which size on the cheap kernel of each pair is cheaper: by_formula, and measured in seconds.

    Along firms a row; along time a row for each number of firms, and the size is the lookback. What is measured is
    told in words, since it may lie outside the sizes.

    Parameters
    ----------
    table : of `costs`.

    Returns
    -------
    Frame of cheap and dear (kernels), by ("firms" or "lookback"), firms (NaN along firms), by_formula (the size from
    which the cheap one takes fewer operations; none up to a million: NaN) and measured.

    Examples
    --------
    Made-up seconds, quadratic in firms for softmax and linear for the rest:

    >>> from finattn.bench import Measured, Sizes, cells, costs, crossings
    >>> seconds = lambda cell: cell.firms**2 * 1e-8 if cell.kernel == "softmax" else cell.firms * 1e-6
    >>> table = costs(cells(Sizes(firms=[10, 1000], lookback=[20])), lambda cell: Measured(seconds(cell), None))
    >>> crossings(table)[["cheap", "dear", "firms", "by_formula", "measured"]]
        cheap     dear   firms  by_formula      measured
    0  linear  softmax     NaN          17     about 100
    1    band  windows    10.0           7  not up to 20
    2    band  windows  1000.0           7  not up to 20
    """
    rows = []
    for dear, cheap in PAIRS:
        by = KERNELS[cheap].by
        other = "lookback" if by == "firms" else "firms"
        pair = table[table["kernel"].isin([dear, cheap])]
        for at, part in pair.groupby(other):
            seconds = part.pivot(index=by, columns="kernel", values="seconds").dropna()
            found = crossing(seconds.index.tolist(), seconds[dear].tolist(), seconds[cheap].tolist())
            cell = Cell(*part.iloc[0][list(Cell._fields)])
            words = _words(found, seconds.index.tolist())
            rows.append({"cheap": cheap, "dear": dear, "by": by, "firms": at if other == "firms" else None,
                         "by_formula": _by_formula(cell, dear, cheap, by), "measured": words})  # fmt: skip
    return pd.DataFrame(rows)


def _by_formula(cell: Cell, dear: str, cheap: str, by: str) -> int | None:
    """Return the smallest size at which the cheap kernel takes fewer operations, up to a million."""
    for size in range(1, 1_000_001):
        here = cell._replace(firms=size) if by == "firms" else cell._replace(lookback=size)
        if KERNELS[cheap].operations(here) < KERNELS[dear].operations(here):
            return size
    return None


def _words(found: float, sizes: Sequence[int]) -> str:
    if math.isnan(found):
        return "not measured"
    if math.isinf(found):
        return f"not up to {sizes[-1]:,}"
    return f"{sizes[0]:,} or fewer" if found == sizes[0] else f"about {found:,.0f}"
