"""Returns and prices that may be wrong: extreme returns, prices that do not move, splits that were not adjusted for.

Each function gives a row for each thing found. What is found may be true: a firm can treble in a day.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd

from finattn.data.coverage import days, parts
from finattn.panel import Panel

SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 10.0)
_FEWEST = 20  # returns of a firm, without which one of them cannot be judged by the others


def extreme_returns(panel: Panel, threshold: float) -> pd.DataFrame:
    """Return the returns above a threshold in absolute value, the largest first: columns date, firm, return, listed.

    Returns of all rows are looked at, also of those on which a firm is no longer listed, such as delisting returns.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 1.5], [-0.4, 0.1]])
    >>> extreme_returns(panel, 1.0)[["firm", "return"]].values.tolist()
    [['B', 1.5]]
    """
    found = pd.concat([_extreme(part, threshold) for part in parts(panel)])
    return largest_first(found, found["return"].abs(), "date")


def stale_prices(panel: Panel, least: int, rows: np.ndarray | None = None) -> pd.DataFrame:
    """Return stretches of at least so many listed rows on which a firm's price does not move, the longest first.

    A row does not move where its return is exactly 0 or, where the panel has prices, its price is exactly that of the
    row before. A row with neither a return nor a price ends a stretch.

    Parameters
    ----------
    panel : any. least : rows of a stretch.
    rows : positions of the dates that are looked at, in order; default all. Holidays (`thin_dates`) end a stretch.

    Returns
    -------
    Columns firm, start, end (first and last date of the stretch), rows, until_last: whether it goes on until the last
    row on which the firm is listed, as where a source repeats the last price of a firm that is gone.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03", "2020-01-06"], ["A", "B"], [[0.1, 0.0], [0.0, 0.0], [0.0, 0.1]])
    >>> stale_prices(panel, 2)[["firm", "rows", "until_last"]].values.tolist()
    [['B', 2, False], ['A', 2, True]]
    """
    rows = np.arange(len(panel)) if rows is None else rows
    found = pd.concat([_stale(part, least, rows) for part in parts(panel)])
    return largest_first(found, found["rows"], "start")


def suspected_splits(
    panel: Panel, ratios: Sequence[float] = SPLIT_RATIOS, tolerance: float = 0.05, deviations: float = 10.0
) -> pd.DataFrame:
    """Return one-row returns that look like splits, or reverse splits, that prices were not adjusted for.

    A split of k new shares for one divides an unadjusted price by k, a reverse one multiplies it. A return r is
    suspected where all of these hold, with the moves x = log(1 + r) of the firm's known returns:

    - 1 + r is within `tolerance` of 1/k or k, relatively, for one of the `ratios` k: the market's own move is in it;
    - abs(x) is more than `deviations` times the root mean square of the firm's other moves;
    - neither the next known move nor the one before takes back half of x or more, as after a wrong price.

    It is a suspicion, made for daily returns: a firm may lose half its value in a day, and a split is not seen on a day
    of large moves, nor in a firm whose every day is one. Firms with fewer than 20 other returns are not judged.

    Returns
    -------
    Columns date, firm, return, split ("2:1" is two new shares for one, "1:2" the reverse), deviations (infinite where
    the price never moves else), the most deviations first.

    Examples
    --------
    >>> days = np.arange("2020-01-01", "2020-02-01", dtype="M8[D]")
    >>> returns = np.where(days == np.datetime64("2020-01-20"), -0.51, 0.01)[:, None]
    >>> suspected_splits(Panel(days, ["A"], returns))[["return", "split"]].values.tolist()
    [[-0.51, '2:1']]
    """
    found = pd.concat([_splits(part, ratios, tolerance, deviations) for part in parts(panel)])
    return largest_first(found, found["deviations"], "date")


def largest_first(table: pd.DataFrame, size: pd.Series, day: str) -> pd.DataFrame:
    """Sort by size, the largest first; ties by day, then by firm."""
    table = table.assign(_size=size).sort_values(["_size", day, "firm"], ascending=[False, True, True])
    return table.drop(columns="_size").reset_index(drop=True)


def _extreme(part: Panel, threshold: float) -> pd.DataFrame:
    row, firm = np.nonzero(np.abs(part.returns) > threshold)
    return pd.DataFrame(
        {
            "date": days(part.dates[row]),
            "firm": part.firms[firm],
            "return": part.returns[row, firm],
            "listed": part.listed[row, firm],
        }
    )


def _stale(part: Panel, least: int, rows: np.ndarray) -> pd.DataFrame:
    listed, still = part.listed[rows], part.returns[rows] == 0
    if part.price is not None:
        price = part.price[rows]
        still[1:] |= price[1:] == price[:-1]
    firm, start, stop = _stretches((still & listed).T)
    long = stop - start >= least
    firm, start, stop = firm[long], start[long], stop[long]
    last = len(rows) - listed[::-1].argmax(axis=0)
    return pd.DataFrame(
        {
            "firm": part.firms[firm],
            "start": days(part.dates[rows[start]]),
            "end": days(part.dates[rows[stop - 1]]),
            "rows": stop - start,
            "until_last": stop == last[firm],
        }
    )


def _stretches(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return line, start and stop of every stretch of true values along each line of (n, t)."""
    padded = np.zeros((flags.shape[0], flags.shape[1] + 2), np.int8)
    padded[:, 1:-1] = flags
    change = np.diff(padded, axis=1)
    line, start = np.nonzero(change == 1)
    return line, start, np.nonzero(change == -1)[1]


def _splits(part: Panel, ratios: Sequence[float], tolerance: float, deviations: float) -> pd.DataFrame:
    splits = [Fraction(ratio).limit_denominator(100) for ratio in ratios]
    names = [f"{k.numerator}:{k.denominator}" for k in splits] + [f"{k.denominator}:{k.numerator}" for k in splits]
    factors = np.array([*(1 / ratio for ratio in ratios), *ratios])  # of the price
    least = min(ratios) * (1 - tolerance)
    firms = np.flatnonzero(((part.returns >= least - 1) | (part.returns <= 1 / least - 1)).any(axis=0))
    each = [_firm_splits(part.returns[:, firm], factors, tolerance, deviations) for firm in firms]
    numbers = np.concatenate([np.empty((0, 3)), *each])
    row, kind = numbers[:, :2].astype(int).T
    firm = np.repeat(firms, [len(found) for found in each])
    return pd.DataFrame(
        {
            "date": days(part.dates[row]),
            "firm": part.firms[firm],
            "return": part.returns[row, firm],
            "split": np.array(names)[kind],
            "deviations": numbers[:, 2],
        }
    )


def _firm_splits(returns: np.ndarray, factors: np.ndarray, tolerance: float, deviations: float) -> np.ndarray:
    """Return row, place in `factors` and deviations of each suspected split of a firm, as (found, 3)."""
    rows = np.flatnonzero(returns > -1)  # a total loss has no logarithm
    moves = np.log1p(returns[rows])
    if len(moves) <= _FEWEST:
        return np.empty((0, 3))
    size, squares = np.abs(moves), moves**2
    usual = np.sqrt(np.maximum(squares.sum() - squares, 0) / (len(moves) - 1))
    neighbours = np.stack([np.append(moves[1:], 0), np.append(0, moves[:-1])])
    undone = (-np.sign(moves) * neighbours).max(axis=0) >= size / 2
    place = np.flatnonzero((size > deviations * usual) & ~undone)
    distance = np.abs(np.exp(moves[place])[:, None] / factors - 1)
    near = distance.min(axis=1, initial=np.inf) <= tolerance
    place, kind = place[near], distance.argmin(axis=1)[near]
    with np.errstate(divide="ignore"):
        return np.column_stack([rows[place], kind, size[place] / usual[place]])
