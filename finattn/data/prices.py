"""From prices to returns: adjusted prices, or raw ones with their splits and dividends.

Adjusted prices make returns and nothing else: size, price and dollar volume are raw.
"""

from typing import Any

import numpy as np

from finattn.checks import bad_cell
from finattn.errors import InputError

# What each kind of values makes returns of.
NEEDED = {
    "returns": ("return",),
    "adjusted_prices": ("adjusted_price",),
    "raw_prices": ("price", "split", "dividend"),
}
# Columns that mean something where values are prices, and are features where they are returns.
PRICED = ("adjusted_price", "split", "dividend", "volume")


def price_returns(
    price: np.ndarray, split: np.ndarray | None = None, dividend: np.ndarray | None = None, longest_gap: int = 0
) -> np.ndarray:
    r"""Return simple total returns: r_t = (p_t · split_t + dividend_t) / p_{t-1} − 1, NaN where that is not known.

    Adjusted prices have neither splits nor dividends: r_t = p_t / p_{t-1} − 1. The price before is that of the row
    before and of no other: a return that fills a gap is none over (dates[t-1], dates[t]]. With `longest_gap` > 0 the
    first price after a gap of at most so many rows takes the return since the last price before it, with all splits
    and dividends on the way; it stands on the row of that first price.

    Parameters
    ----------
    price : (t, n) positive closes; NaN where there is none.
    split : (t, n) shares after for each share before, 2 for two to one, on the first day without (ex-date); NaN or 0
        where there is none. Default: none.
    dividend : (t, n) cash for each share held at the close before, that is before a split of the same day, on the
        ex-date; NaN where there is none. Default: none.
    longest_gap : rows without a price that a return may bridge.

    Returns
    -------
    (t, n) fractions; the first row is NaN.

    Examples
    --------
    >>> price_returns(np.array([[100.0], [51.0]]), np.array([[1.0], [2.0]]), np.array([[0.0], [1.0]])).round(4).tolist()
    [[nan], [0.03]]
    >>> gap = np.array([[100.0], [np.nan], [110.0]])
    >>> price_returns(gap)[:, 0].tolist(), price_returns(gap, longest_gap=1)[:, 0].round(4).tolist()
    ([nan, nan, nan], [nan, nan, 0.1])
    """
    returns = np.full(price.shape, np.nan)
    shares = cash = None  # at t, of one share held at the close of row t - lag
    for lag in range(1, min(longest_gap + 2, len(price))):
        inner = slice(1, len(price) - lag + 1)  # the row after that close
        if split is not None:
            ratio = np.where(split[inner] > 0, split[inner], 1.0)
            cash = None if cash is None else ratio * cash[1:]
            shares = ratio if shares is None else ratio * shares[1:]
        if dividend is not None:
            paid = np.nan_to_num(dividend[inner], nan=0.0)
            cash = paid if cash is None else paid + (cash if split is not None else cash[1:])
        with np.errstate(over="ignore"):  # a panel refuses infinite returns by date and firm
            value = price[lag:] if shares is None else price[lag:] * shares
            grown = (value if cash is None else value + cash) / price[:-lag] - 1
        np.copyto(returns[lag:], grown, where=np.isnan(returns[lag:]) & _unpriced(price, lag))
    return returns


def _unpriced(price: np.ndarray, lag: int) -> np.ndarray:
    """Say where no row strictly between t - lag and t has a price: (t - lag, n)."""
    free = np.ones((len(price) - lag, price.shape[1]), bool)
    for step in range(1, lag):
        free &= np.isnan(price[lag - step : len(price) - step])
    return free


def apply_prices(fields: dict[str, Any], kind: str, longest_gap: int) -> None:
    """Turn prices among a panel's fields into returns, price and dollar volume, in place; count what was left out.

    Parameters
    ----------
    fields : (t, n) arrays `price` (raw close), `adjusted_price`, `split`, `dividend` and `volume` (shares), of which
        `returns`, `price` and `dollar_volume` = volume × price are made; `counts` gains zero_prices, which are no
        prices, and returns_after_gaps, first prices after a gap that got no return.
    kind : "adjusted_prices" or "raw_prices". longest_gap : see `price_returns`.

    Raises
    ------
    InputError
        For negative prices, splits or dividends, and for volume without a raw price.
    """
    if "returns" in fields:
        raise InputError(
            f"data.values {kind!r} makes returns from prices, found a column 'return' too: leave it out by data.use"
        )
    if "volume" in fields and ("price" not in fields or "dollar_volume" in fields):
        raise InputError(
            "volume must go with price, the raw close, and without dollar_volume, of which it makes one; otherwise "
            "leave it out by data.use, or give it another name by data.columns to have it as a feature"
        )
    for name in ("adjusted_price", "price", "split", "dividend"):
        if name in fields:
            _check(fields, name)
    other = [name for name in PRICED[:3] if name in fields and name not in NEEDED[kind]]
    if other:
        raise InputError(
            f"data.values {kind!r} makes returns of {', '.join(NEEDED[kind])}, found columns {', '.join(other)} too: "
            "leave them out by data.use"
        )
    priced = [fields[name] for name in ("adjusted_price", "price") if name in fields]
    counts = fields["counts"]
    counts["zero_prices"] = int(np.logical_or.reduce([price == 0 for price in priced]).sum())
    for price in priced:
        price[price == 0] = np.nan
    if kind == "adjusted_prices":
        price = fields.pop("adjusted_price")
        fields["returns"] = price_returns(price, longest_gap=longest_gap)
    else:
        price = fields["price"]
        fields["returns"] = price_returns(price, fields.pop("split"), fields.pop("dividend"), longest_gap)
    known = ~np.isnan(price)
    later = known[1:] & np.logical_or.accumulate(known, axis=0)[:-1]
    counts["returns_after_gaps"] = int((later & np.isnan(fields["returns"][1:])).sum())
    if "volume" in fields:
        with np.errstate(over="ignore"):
            fields["dollar_volume"] = fields.pop("volume") * fields["price"]


def _check(fields: dict[str, Any], name: str) -> None:
    bad = (fields[name] < 0) | np.isinf(fields[name])
    if bad.any():
        raise bad_cell(f"{name} must be finite and not negative", bad, name, fields)
