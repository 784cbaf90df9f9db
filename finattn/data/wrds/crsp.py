"""CRSP's rows to the fields of a panel, in the new layout (CIZ) and in the legacy one.

A firm is listed on the dates on which it has a row that passes the filters, by what its names said on that date. The
first date after these on which it has a row, because it is delisted or leaves the universe, keeps the return, which
its holders earn, and is not listed: what `finattn.blocks.forward_returns` expects. Of a delisting that is

- in CIZ the row with the delisting flag, whose return CRSP has compounded;
- in the legacy layout, monthly: the month of dlstdt, with (1 + ret)(1 + dlret) - 1, or dlret alone where the month has
  no return, or no row;
- in the legacy layout, daily: the date after dlstdt, where CIZ has it too.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import as_codes
from finattn.config.wrds import WrdsConfig
from finattn.data.table_files import located
from finattn.data.wrds.extracts import batches, check_spans, find, frame
from finattn.data.wrds.tables import LAYOUTS
from finattn.errors import InputError

_EXCHANGES = {"NYSE": ("N", 1), "AMEX": ("A", 2), "NASDAQ": ("Q", 3), "ARCA": ("R", 4)}  # CIZ; legacy, + 30 when issued
_COMMON = {
    "sharetype": ("NS",),
    "securitytype": ("EQTY",),
    "securitysubtype": ("COM",),
    "usincflg": ("Y",),
    "issuertype": ("ACOR", "CORP"),
}
_REASONS = ("", "without_information", "other_shares", "other_exchanges")
_UNFLAGGED = ("N", "NA", "")  # of CIZ's delisting flags; all others are delistings
_WITHOUT_RETURN = ("M", "G")  # delistings whose return is not in the month's
# Delisted for performance (Shumway 1997): CRSP's codes, and what stands in for a return that is not known.
_PERFORMANCE = (500, *range(520, 585))
_STAND_IN = {1: -0.30, 2: -0.30, 3: -0.55}


class Names(NamedTuple):
    """What CRSP's names say of securities from a first to a last day: a row each, by permno and first day."""

    table: pd.DataFrame  # permno, start, end, name, sic, exchange
    reason: np.ndarray  # place in _REASONS of why rows with this information are not used, 0 for none

    def latest(self, permno: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Return the place of the last row that starts by each day, -1 where there is none."""
        known = self.table["permno"].to_numpy()
        place = np.searchsorted(_key(known, self.table["start"].to_numpy()), _key(permno, day), "right") - 1
        return np.where((place >= 0) & (known[place] == permno), place, -1)

    def valid(self, permno: np.ndarray, day: np.ndarray) -> np.ndarray:
        """Return the place of the row that is valid on each day, -1 where there is none."""
        place, end = self.latest(permno, day), self.table["end"].to_numpy().astype("M8[D]")
        return np.where((day <= end[place]) | np.isnat(end[place]), place, -1)


def _key(permno: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return numbers in the order of securities, then days."""
    return permno.astype(np.int64) * 2**24 + day.astype("M8[D]").astype(np.int64) + 2**23


def read_names(config: WrdsConfig) -> Names:
    """Read the history of names, and what the filters say of each.

    Raises
    ------
    InputError
        Naming the file, where it holds no row, or days or codes that cannot be.
    """
    layout = LAYOUTS[config.layout, config.frequency]
    table = frame(str(config.extracts), layout.names)
    with located(find(str(config.extracts), layout.names)):
        if table.empty:
            raise InputError("rows must have a first day, found no rows")
        check_spans(table)
        if config.industries != "none":
            as_codes(table["sic"])
    table = table.sort_values(["permno", "start"], kind="stable", ignore_index=True)
    codes = {name: codes for name, codes in _EXCHANGES.items() if name in config.exchanges}
    if config.layout == "ciz":
        common = np.logical_and.reduce([table[name].isin(kinds) for name, kinds in _COMMON.items()])
        listed = table["primaryexch"].isin([letter for letter, _ in codes.values()]) & (
            table["tradingstatusflg"] == "A"
        )
        listed &= table["conditionaltype"].isin(("RW", "NW"))
        table["exchange"] = table["primaryexch"].map({letter: code for letter, code in _EXCHANGES.values()})
    else:
        common = table["shrcd"].isin((10, 11)).to_numpy()
        listed = table["exchcd"].isin([code + issued for _, code in codes.values() for issued in (0, 30)])
        table["exchange"] = table["exchcd"] % 30
    reason = np.select(
        [~common & config.common_shares, ~listed.to_numpy(bool) & bool(config.exchanges)],
        [_REASONS.index("other_shares"), _REASONS.index("other_exchanges")],
    )
    return Names(table, reason)


class Rows(NamedTuple):
    """Rows of the stocks that pass the filters on some date, (r,) each, and the axes that they are on.

    values : return, price, shares and volume; reason, place in _REASONS, and gone, where a delisting is flagged.
    counts : of all rows of the table, by reason.
    """

    dates: np.ndarray
    permnos: np.ndarray
    t: np.ndarray
    n: np.ndarray
    values: dict[str, np.ndarray]
    counts: dict[str, int]


def read_rows(config: WrdsConfig, names: Names, start: str | None, end: str | None) -> Rows:
    """Read the stocks' rows between two days, both inside.

    Raises
    ------
    InputError
        Naming the file, where no row passes the filters, or a security has two rows of a date.
    """
    table = LAYOUTS[config.layout, config.frequency].stocks
    parts = [_part(batch, names) for batch in batches(str(config.extracts), table, start, end)]
    with located(find(str(config.extracts), table)):
        if not sum(len(part["reason"]) for part in parts):
            raise InputError(f"the table must have rows of the days asked for, found none from {start} to {end}")
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        del parts
        counts = {"rows": len(rows["reason"]), "impossible_returns": int(rows.pop("impossible").sum())}
        counts |= {name: int((rows["reason"] == i).sum()) for i, name in enumerate(_REASONS) if i}
        permnos = np.unique(rows["permno"][rows["reason"] == 0])
        if not len(permnos):
            raise InputError(f"rows must pass the filters of data.wrds, found {counts}")
        dates, t = np.unique(rows.pop("date"), return_inverse=True)
        n = np.minimum(np.searchsorted(permnos, rows["permno"]), len(permnos) - 1)
        used = permnos[n] == rows.pop("permno")
        t, n = t[used], n[used]
        _refuse_duplicates(t, n, dates, permnos)
    return Rows(dates, permnos, t, n, {name: values[used] for name, values in rows.items()}, counts)


def _part(batch: dict[str, np.ndarray], names: Names) -> dict[str, np.ndarray]:
    """Return the rows of a batch in few bytes, with the reason against each."""
    place = names.valid(batch["permno"], batch["date"])
    flag = batch.get("delisting", np.full(len(place), "", object)).astype(str)
    price = np.abs(batch["price"])  # a negative one is the middle of bid and ask
    impossible = batch["return"] < -1  # -44 to -99 say why there is none
    unknown = impossible | np.isin(flag, _WITHOUT_RETURN)
    return {
        "permno": batch["permno"].astype(np.int32),
        "date": batch["date"],
        "reason": np.where(place < 0, 1, names.reason[place]).astype(np.int8),
        "gone": ~np.isin(flag, _UNFLAGGED),
        "impossible": impossible,
        "return": np.where(unknown, np.nan, batch["return"]),
        "price": np.where(price > 0, price, np.nan),
        "shares": np.where(batch["shares"] > 0, batch["shares"], np.nan),
        "volume": np.where(batch["volume"] >= 0, batch["volume"], np.nan),
    }


def _refuse_duplicates(t: np.ndarray, n: np.ndarray, dates: np.ndarray, permnos: np.ndarray) -> None:
    seen = np.zeros((len(dates), len(permnos)), bool)
    seen[t, n] = True
    if (again := len(t) - int(seen.sum())) == 0:
        return
    repeated = pd.DataFrame({"t": t, "n": n}).duplicated().to_numpy()
    row = int(np.argmax(repeated))
    raise InputError(
        f"a security must have one row a date, found {again} more, the first of permno {permnos[n[row]]} on "
        f"{dates[t[row]]}"
    )


def panel_fields(config: WrdsConfig, names: Names, rows: Rows) -> tuple[dict[str, Any], dict[str, int]]:
    """Put rows on the grid of dates and firms.

    Returns
    -------
    Fields of a `Panel`, and counts. Rows that are ``listed``, or hold the return of ``leaving`` firms, and of the
    others those ``without_information`` that day, of ``other_shares`` and ``other_exchanges``, and
    ``after_delisting``, add up to ``rows``. Of delistings: those that have a return, or none, where the firm was listed
    before; those ``without_a_row`` are no rows of the table; those ``not_held`` follow no row that is listed.
    """
    layout = LAYOUTS[config.layout, config.frequency]
    shape = (len(rows.dates), len(rows.permnos))
    grid = {name: _scatter(values, rows, shape) for name, values in rows.values.items()}
    present = _scatter(np.ones(len(rows.t), bool), rows, shape)
    counts = dict(rows.counts)
    if layout.delistings is not None:
        table = frame(str(config.extracts), layout.delistings)
        counts |= _delist(config, table, names, rows, grid)
    listed = present & (grid["reason"] == 0) & ~grid["gone"]
    held = np.zeros(shape, bool)
    held[1:] = listed[:-1]
    leaving = (present | grid["gone"]) & ~listed & held
    for code, reason in enumerate(_REASONS):
        if code:
            counts[reason] -= int((present & leaving & (grid["reason"] == code)).sum())
    counts |= {
        "listed": int(listed.sum()),
        "leaving": int((present & leaving).sum()),
        "after_delisting": int((present & grid["gone"] & ~leaving & (grid["reason"] == 0)).sum()),
        "delistings": int((leaving & grid["gone"]).sum()),
        "delistings_without_return": int((leaving & grid["gone"] & np.isnan(grid["return"])).sum()),
        "delistings_without_a_row": int((leaving & ~present).sum()),
        "delistings_not_held": int((grid["gone"] & ~held).sum()),
    }
    shown = {name: np.where(listed, grid[name], np.nan) for name in ("price", "shares", "volume")}
    last = names.latest(rows.permnos, np.full(shape[1], rows.dates[-1]))
    fields = {
        "dates": rows.dates,
        "firms": rows.permnos.astype(str),
        "names": tuple(names.table["name"].iloc[last]),
        "listed": listed,
        "returns": np.where(listed | leaving, grid["return"], np.nan),
        "price": shown["price"],
        "market_cap": shown["price"] * shown["shares"] * 1000,
        "dollar_volume": shown["volume"] * (shown["price"] * layout.volume_unit if layout.volume_unit else 1.0),
    }
    return fields, counts


def _scatter(values: np.ndarray, rows: Rows, shape: tuple[int, int]) -> np.ndarray:
    grid = np.full(shape, np.nan if values.dtype.kind == "f" else 0, values.dtype)
    grid[rows.t, rows.n] = values
    return grid


def _delist(
    config: WrdsConfig, table: pd.DataFrame, names: Names, rows: Rows, grid: dict[str, np.ndarray]
) -> dict[str, int]:
    """Compound the legacy layout's delisting returns into the grid's, in place, and flag them; count stand-ins."""
    n = np.minimum(np.searchsorted(rows.permnos, table["permno"]), len(rows.permnos) - 1)
    day = table["date"].to_numpy().astype("M8[D]")
    if config.frequency == "monthly":
        months = rows.dates.astype("M8[M]")
        t = np.searchsorted(months, day.astype("M8[M]"))
        inside = months[np.minimum(t, len(months) - 1)] == day.astype("M8[M]")
    else:
        t = np.searchsorted(rows.dates, day, "right")
        inside = (t < len(rows.dates)) & (t > 0)
    # Codes from 100 are of securities that are traded still.
    used = inside & (rows.permnos[n] == table["permno"].to_numpy()) & (table["code"] >= 200).to_numpy()
    table, t, n, day = table[used], t[used], n[used], day[used]
    value = table["return"].to_numpy()
    value = np.where(value < -1, np.nan, value)  # codes of why there is none
    stand_in = np.isnan(value) & table["code"].isin(_PERFORMANCE).to_numpy() & (config.missing_delisting == "shumway")
    place = names.latest(table["permno"].to_numpy(), day)
    taken = names.table["exchange"].iloc[place].map(_STAND_IN).to_numpy(float)
    value = np.where(stand_in, taken, value)
    before = grid["return"][t, n]
    grid["return"][t, n] = np.where(np.isnan(before), value, (1 + before) * (1 + value) - 1)
    grid["gone"][t, n] = True
    return {"delisting_stand_ins": int((stand_in & ~np.isnan(taken)).sum())}
