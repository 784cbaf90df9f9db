"""The panel: firms by dates, validated once, read-only afterwards."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from finattn.checks import (
    AXES,
    LEVELS,
    REQUIRED,
    SCALARS,
    SCHEMA_VERSION,
    as_bool,
    as_codes,
    as_dates,
    as_day,
    as_firms,
    as_float,
    as_json,
    as_names,
    as_widths,
    check_axes,
    check_scheme,
    check_shapes,
    check_values,
    map_array,
    read_header,
    some,
)
from finattn.errors import InputError
from finattn.frames import frame_fields
from finattn.storage import atomic_folder

# Each array, in the order in which it is saved, and the types that it can have in a file.
_ARRAYS = {
    "dates": "M8[D]", "firms": "U", "returns": "f8", "listed": "?", "industry": "i4", "features": "f4 f8",
    **dict.fromkeys((*LEVELS, "risk_free", "factors"), "f8"),
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """A panel of firms, in which row t holds only what was known at the close of dates[t].

    Arrays are read-only, and a slice of dates and firms is a view: ``panel["2001":"2010"]``,
    ``panel[250:500, :20]``; a list of firms copies: ``panel[:, ["AAPL", "MSFT"]]``. Arrays given are not copied:
    do not write to them afterwards.

    Parameters
    ----------
    dates : (t,) datetime64[D], strictly increasing.
    firms : (n,) text, permanent identifiers, unique.
    returns : (t, n) simple total return over (dates[t-1], dates[t]], a fraction (0.01 is one percent), at least -1;
        NaN where it is not known.
    listed : (t, n) bool; a firm that is delisted stays in the panel with False. Default: everywhere.
    industry : (t, n) integer codes as known at t, 0 = unknown. Default: unknown.
    features : (t, n, f) floats, NaN = missing.
    feature_names : f names.
    market_cap, dollar_volume, price : (t, n) unadjusted levels, NaN = missing; None where there are none.
    risk_free : (t,) simple return over (dates[t-1], dates[t]]; factors : (t, k) likewise; factor_names : k names.
    industry_scheme : "sic", "gics" or "custom"; the last with `industry_widths`, the number of leading digits of each
        level from the finest to the coarsest.
    industry_as_of : False where only today's codes are known; reports then say so.
    periods_per_year : rows a year, 252 for daily data.
    names : n names of firms to show.
    source : provenance, units, retrieval; anything that JSON can hold.

    Raises
    ------
    InputError
        Naming what was expected, what was found and where.

    Examples
    --------
    >>> panel = Panel(dates=["2020-01-02", "2020-01-03"], firms=["A", "B"], returns=[[0.01, 0.0], [-0.02, 0.03]])
    >>> panel[1:].returns.tolist()
    [[-0.02, 0.03]]
    """

    dates: np.ndarray
    firms: np.ndarray
    returns: np.ndarray
    listed: np.ndarray = None  # type: ignore[assignment]  # filled below
    industry: np.ndarray = None  # type: ignore[assignment]
    features: np.ndarray = None  # type: ignore[assignment]
    feature_names: tuple[str, ...] = ()
    market_cap: np.ndarray | None = None
    dollar_volume: np.ndarray | None = None
    price: np.ndarray | None = None
    risk_free: np.ndarray | None = None
    factors: np.ndarray | None = None
    factor_names: tuple[str, ...] = ()
    industry_scheme: str = "sic"
    industry_widths: tuple[int, ...] = ()
    industry_as_of: bool = False
    periods_per_year: int = 252
    names: tuple[str, ...] | None = None
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring every field to its type, then refuse what cannot be true."""
        dates, firms = as_dates(self.dates), as_firms(self.firms)
        check_axes(dates, firms)
        shape = (len(dates), len(firms))
        fixed: dict[str, Any] = {"dates": dates, "firms": firms}
        fixed["listed"] = np.ones(shape, bool) if self.listed is None else as_bool(self.listed)
        fixed["industry"] = np.zeros(shape, np.int32) if self.industry is None else as_codes(self.industry)
        fixed["features"] = np.zeros((*shape, 0), np.float32) if self.features is None else self.features
        for name in ("returns", *LEVELS, "risk_free", "factors"):
            fixed[name] = as_float(name, getattr(self, name))
        fixed["features"] = as_float("features", fixed["features"], keep_float32=True)
        if not fixed["features"].size:
            fixed["features"] = fixed["features"].astype(np.float32)  # the one type of no features
        for name in ("feature_names", "factor_names"):
            fixed[name] = as_names(name, getattr(self, name))
        fixed["names"] = None if self.names is None else as_names("names", self.names)
        fixed["industry_widths"] = as_widths(self.industry_widths)
        fixed["source"] = as_json(self.source)
        check_shapes(fixed)
        check_values(fixed)
        check_scheme(self.industry_scheme, fixed["industry_widths"], self.industry_as_of, self.periods_per_year)
        fixed["periods_per_year"] = int(self.periods_per_year)
        fixed["industry_as_of"] = bool(self.industry_as_of)
        self._set(fixed)

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value = value.view()
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    # -- slicing ------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """Number of dates and of firms."""
        return self.returns.shape

    def __repr__(self) -> str:
        """Say what it holds."""
        return (
            f"Panel({len(self)} dates from {self.dates[0]} to {self.dates[-1]}, {len(self.firms)} firms, "
            f"features {list(self.feature_names)})"
            if len(self)
            else f"Panel(no dates, {len(self.firms)} firms)"
        )

    def __len__(self) -> int:
        """Return the number of dates."""
        return len(self.dates)

    def __getitem__(self, key: Any) -> "Panel":
        """Cut dates (a slice of positions, or of days with both ends inside) and firms (slice, ids, positions)."""
        date_key, firm_key = key if isinstance(key, tuple) and len(key) == 2 else (key, slice(None))
        rows, columns = self._rows(date_key), self._columns(firm_key)
        cut: dict[str, Any] = {"dates": self.dates[rows], "firms": self.firms[columns]}
        for name, axes in AXES.items():
            value = getattr(self, name)
            if value is not None:
                cut[name] = value[rows] if "n" not in axes.split() else value[rows][:, columns]
        if self.names is not None:
            cut["names"] = tuple(np.array(self.names, dtype=object)[columns])
        return self._unchecked(cut)

    def _rows(self, key: Any) -> slice:
        if not isinstance(key, slice):
            raise InputError(f"dates must be cut by a slice such as '2001':'2010' or 0:250, found {key!r}")
        if _is_of_positions(key):
            if key.step is not None and key.step <= 0:
                raise InputError(f"dates must stay in order, found a slice with step {key.step}")
            return key
        if key.step is not None:
            raise InputError(f"a slice of days has no step, found {key.step!r}")
        first = 0 if key.start is None else np.searchsorted(self.dates, as_day(key.start, last=False))
        last = len(self) if key.stop is None else np.searchsorted(self.dates, as_day(key.stop, last=True), "right")
        return slice(int(first), int(last))

    def _columns(self, key: Any) -> Any:
        if isinstance(key, slice) and _is_of_positions(key) and key.step != 0:
            return key
        keys, count = np.asarray(key), len(self.firms)
        if keys.dtype == bool and keys.shape == (count,):
            keys = np.flatnonzero(keys)
        if keys.dtype.kind in "OU" and keys.ndim == 1:
            place = {firm: i for i, firm in enumerate(self.firms.tolist())}
            unknown = [firm for firm in keys.tolist() if firm not in place]
            if unknown:
                raise InputError(f"firms must be among the panel's {count}, found {some(unknown)}")
            keys = np.array([place[firm] for firm in keys.tolist()], dtype=int)
        inside = keys.ndim == 1 and keys.dtype.kind in "iu" and bool(((keys >= -count) & (keys < count)).all())
        if not (inside and 0 < len(keys) == len(np.unique(keys.astype(int) % count))):
            raise InputError(
                f"firms must be cut by a slice of positions, or by distinct ids or positions of the panel's {count}, "
                f"found {key!r}"
            )
        return keys

    def replace(self, **changes: Any) -> "Panel":  # the one place where keywords mirror the fields
        """Return a panel with some fields changed, validated again."""
        return dataclasses.replace(self, **changes)

    def _unchecked(self, changes: Mapping[str, Any]) -> "Panel":
        """Copy without validating again: what is cut from a valid panel is valid."""
        panel = object.__new__(type(self))
        panel._set({item.name: getattr(self, item.name) for item in dataclasses.fields(self)} | dict(changes))
        return panel

    # -- identity ------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything in the panel; equal content gives an equal fingerprint wherever it lies."""
        digest = hashlib.sha256(json.dumps(self._header(), sort_keys=True).encode())
        for name, value in self._arrays():
            digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
            for start in range(0, len(value), 256):  # in pieces: a memory-mapped panel is never read whole
                digest.update(_plain(value[start : start + 256]).tobytes())
        return digest.hexdigest()

    def _arrays(self) -> Iterator[tuple[str, np.ndarray]]:
        for name in _ARRAYS:
            value = getattr(self, name)
            if value is not None:
                # A view of long names may be wider than its content needs; the fingerprint must not see that.
                yield name, (np.array(value.tolist(), dtype=str) if name == "firms" else value)

    def _header(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SCALARS}

    # -- files ------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write a folder of .npy files and `panel.json`; it is whole or absent, and replaces an earlier one."""
        with atomic_folder(path) as folder:
            for name, value in self._arrays():
                np.save(folder / f"{name}.npy", value, allow_pickle=False)
            header = {"schema_version": SCHEMA_VERSION, "fingerprint": self.fingerprint, **self._header()}
            (folder / "panel.json").write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Open what `save` wrote, memory-mapped; nothing is read until it is used, and nothing is unpickled."""
        values = read_header(Path(path) / "panel.json")
        for name, types in _ARRAYS.items():
            file = Path(path) / f"{name}.npy"
            values[name] = map_array(file, types) if file.exists() else None
            if values[name] is None and name in ("dates", "firms", *REQUIRED):
                raise InputError(f"{path}: a saved panel must have {name}.npy, found none")
        try:
            check_axes(values["dates"], values["firms"])
            check_shapes(values)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        panel = object.__new__(cls)
        panel._set(values)
        return panel

    # -- frames ------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """Return a long frame, a row for each firm-date that is listed or holds anything, ordered by date.

        `from_frame` gives back an equal panel. Fields of the whole panel (scheme, source, …) travel in ``frame.attrs``.
        """
        rows, columns = np.nonzero(self._occupied())
        frame: dict[str, Any] = {
            "date": self.dates[rows].astype("datetime64[s]"),
            "firm": pd.Categorical.from_codes(columns, categories=self.firms.tolist()),
            "return": self.returns[rows, columns],
            "listed": self.listed[rows, columns],
            "industry": self.industry[rows, columns],
        }
        if self.names is not None:
            frame["name"] = np.array(self.names, dtype=object)[columns]
        frame |= {name: v[rows, columns] for name in LEVELS if (v := getattr(self, name)) is not None}
        if self.risk_free is not None:
            frame["risk_free"] = self.risk_free[rows]
        if self.factors is not None:
            frame |= {f"factor:{name}": self.factors[rows, k] for k, name in enumerate(self.factor_names)}
        frame |= {name: self.features[rows, columns, f] for f, name in enumerate(self.feature_names)}
        table = pd.DataFrame(frame)
        table.attrs = {name: getattr(self, name) for name in SCALARS if name not in ("names", "feature_names")}
        return table

    def _occupied(self) -> np.ndarray:
        """Say which firm-dates a long frame must hold; a date or firm that is all empty keeps one row."""
        occupied = self.listed | ~np.isnan(self.returns) | (self.industry != 0)
        for name in LEVELS:
            if (value := getattr(self, name)) is not None:
                occupied |= ~np.isnan(value)
        occupied |= ~np.isnan(self.features).all(axis=2)
        occupied[~occupied.any(axis=1), :1] = True
        occupied[:1, ~occupied.any(axis=0)] = True
        return occupied

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, **fields: Any) -> "Panel":  # keywords mirror the panel's own fields
        """Build a panel from a long frame with columns date, firm, return and, as there are, others.

        Known columns are listed, industry, name, market_cap, dollar_volume, price, risk_free and ``factor:NAME``; every
        other column is a feature and must be numeric. A firm-date without a row is not listed; one with a row is,
        unless a column `listed` says otherwise. Firms keep the order of a categorical column, else they are sorted.

        Parameters
        ----------
        frame : one row a firm-date.
        fields : fields of the whole panel, such as ``periods_per_year=12``; they go before those in ``frame.attrs``.

        Raises
        ------
        InputError
            For missing columns, unreadable dates, empty firms, duplicate firm-dates, and all that `Panel` refuses.

        Examples
        --------
        >>> frame = pd.DataFrame({"date": ["2020-01-02", "2020-01-02"], "firm": ["B", "A"], "return": [0.01, 0.02]})
        >>> Panel.from_frame(frame).returns.tolist()
        [[0.02, 0.01]]
        """
        return cls(**frame_fields(frame) | fields)


def _is_of_positions(key: slice) -> bool:
    return all(edge is None or isinstance(edge, int | np.integer) for edge in (key.start, key.stop, key.step))


def _plain(values: np.ndarray) -> np.ndarray:
    """Give NaN and zero one form each: a NaN with a sign is no other content."""
    return np.where(np.isnan(values), np.nan, values + 0.0) if values.dtype.kind == "f" else np.array(values, order="C")
