"""The tidy table of predictions: what every evaluation reads, and the last thing a model writes."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from finattn.errors import InputError
from finattn.storage import atomic_file

if TYPE_CHECKING:
    from finattn.evaluation import Scheme, VectorbtFrames
    from finattn.panel import Panel

__all__ = ["COLUMNS", "HEADER", "Forecasts", "Wide"]

_SCHEMA = pa.schema(
    [
        ("date", pa.timestamp("ms")),
        ("firm", pa.string()),
        ("model", pa.string()),
        ("fold", pa.int32()),
        ("seed", pa.int32()),
        ("score", pa.float64()),
        ("prediction", pa.float64()),
        ("realised", pa.float64()),
    ]
)
COLUMNS = tuple(_SCHEMA.names)
_SCALARS = ("horizon", "delay", "overlap", "periods_per_year")
HEADER = b"finattn.forecasts"  # key of the metadata that `save` writes
_VERSION = 1


class Wide(NamedTuple):
    """One model's forecasts as dense arrays, seeds averaged; NaN = no forecast (or, in `realised`, not known).

    The axes are those of the whole table, so that the arrays of two models line up.

    Examples
    --------
    >>> import finattn as fa
    >>> panel = fa.sample()["2018":"2020"]
    >>> splits = fa.WalkForward("2020-01-01", valid="1Y", decisions="weekly")
    >>> forecasts = fa.walk_forward(panel, {"mean": fa.HistoricalMean()}, splits)
    >>> wide = forecasts.wide("mean")
    >>> wide.score.shape, str(wide.dates[0]), wide.firms[:3].tolist(), wide.realised[0, :3].round(4).tolist()
    ((52, 20), '2020-01-03', ['AAPL', 'AMD', 'BAC'], [0.008, -0.0043, -0.0014])
    """

    dates: NDArray[np.datetime64]
    """[t] days, increasing."""
    firms: NDArray[np.str_]
    """[n] sorted."""
    score: NDArray[np.float64]
    """[t n]."""
    prediction: NDArray[np.float64]
    """[t n]."""
    realised: NDArray[np.float64]
    """[t n]."""


class _Codes(NamedTuple):
    """The table's labels as integers, one per row, and what they stand for."""

    dates: NDArray[np.datetime64]
    firms: NDArray[np.str_]
    models: tuple[str, ...]
    seeds: NDArray[np.int32]
    date: NDArray[np.int32]
    firm: NDArray[np.int32]
    model: NDArray[np.int32]
    seed: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Forecasts of any number of models, folds and seeds, checked once, when made.

    Parameters
    ----------
    table : DataFrame
        One row per date, firm, model and seed, in any order (it is kept), with the columns

        - date (datetime64): the close at which the decision is made, at midnight, without time zone;
        - firm, model (strings): permanent id and name of the forecaster;
        - fold, seed (integers that fit 32 bits; seed -1 stands for an average over seeds);
        - score (finite): ranks the firms of a date, in any unit;
        - prediction (finite): the forecast return, a fraction;
        - realised: compounded simple return over rows (t + delay, t + delay + horizon], a fraction of at least -1,
          NaN where it is not known (yet). All models and seeds of a firm-date must agree on it.
    horizon, delay : int
        Rows of the panel: the length of the target, and how long after the decision it begins.
    overlap : int
        Largest number of later decision dates t' with t < t' < t + horizon; 0 where targets do not overlap.
    periods_per_year : float
        Rows of the panel in a year.

    Raises
    ------
    InputError
        Naming what was expected, what was found, and the first offending row.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "date": pd.to_datetime(["2020-01-31"] * 2), "firm": ["A", "B"], "model": "ridge", "fold": 0, "seed": [0, 0],
    ...     "score": [1.0, 2.0], "prediction": [0.01, 0.02], "realised": [0.03, float("nan")]})
    >>> forecasts = Forecasts(table, horizon=21, delay=0, overlap=0, periods_per_year=252)
    >>> forecasts.models, forecasts.seeds("ridge")
    (('ridge',), (0,))
    >>> forecasts.wide("ridge").score
    array([[1., 2.]])
    """

    table: pd.DataFrame
    horizon: int
    delay: int
    overlap: int
    periods_per_year: float

    def __post_init__(self) -> None:
        """Check everything and bring the columns to their types."""
        for name, least in (("horizon", 1), ("delay", 0), ("overlap", 0)):
            object.__setattr__(self, name, _whole(name, getattr(self, name), least))
        object.__setattr__(self, "periods_per_year", _positive("periods_per_year", self.periods_per_year))
        object.__setattr__(self, "table", _typed(self.table))
        _check_numbers(self.table)
        _check_unique(self.table, _keys(self._codes))
        _check_agreement(self.table, self._codes)

    @cached_property
    def _codes(self) -> _Codes:
        """Labels as integers: made once, used by every method."""
        return _encode(self.table)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in order of first appearance."""
        return self._codes.models

    def seeds(self, model: str) -> tuple[int, ...]:
        """Return the model's seeds, increasing.

        Raises
        ------
        InputError
            There is no such model.
        """
        present = np.unique(self._codes.seed[self._codes.model == self._position(model)])
        return tuple(int(seed) for seed in self._codes.seeds[present])

    def average_seeds(self) -> "Forecasts":
        """Average score and prediction over seeds: one row per model, date and firm, in that order, with seed -1.

        A firm-date that some of a model's seeds lack is averaged over those that have it. Does not depend on the
        order of the rows, to the last bit.
        """
        keys, seeds = _keys(self._codes), len(self._codes.seeds)
        order = np.argsort(keys)
        group = keys[order] // seeds
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        counts = np.diff(starts, append=len(order))
        averaged = self.table.iloc[order[starts]].reset_index(drop=True)
        for column in ("score", "prediction"):
            averaged[column] = np.add.reduceat(self.table[column].to_numpy()[order], starts) / counts
        averaged["seed"] = np.int32(-1)
        return Forecasts(averaged, self.horizon, self.delay, self.overlap, self.periods_per_year)

    def wide(self, model: str) -> Wide:
        """Return one model's forecasts as arrays [t n] over all dates and firms of the table, seeds averaged.

        Raises
        ------
        InputError
            There is no such model.
        """
        codes = self._codes
        shape = len(codes.dates), len(codes.firms)
        rows = np.flatnonzero(codes.model == self._position(model))
        cells = codes.date[rows].astype(np.int64) * shape[1] + codes.firm[rows]
        realised = np.full(shape, np.nan)
        realised.flat[cells] = self.table["realised"].to_numpy()[rows]
        seed = codes.seed[rows]
        parts = [(rows[seed == one], cells[seed == one]) for one in np.unique(seed)]
        score, prediction = (_mean(self.table[name].to_numpy(), parts, shape) for name in ("score", "prediction"))
        return Wide(codes.dates, codes.firms, score, prediction, realised)

    def save(self, path: str | Path) -> None:
        """Write one Parquet file, atomically; the same table always gives the same bytes."""
        arrow = pa.Table.from_pandas(self.table, schema=_SCHEMA, preserve_index=False)
        header = {"version": _VERSION} | {name: getattr(self, name) for name in _SCALARS}
        # Only our own header: pandas' would write its version into the file.
        arrow = arrow.replace_schema_metadata({HEADER: json.dumps(header).encode()})
        with atomic_file(path) as temporary:
            pq.write_table(arrow, temporary, compression="zstd")

    def to_alphalens(
        self, panel: "Panel", model: str | None = None, missing_delisting_return: float = 0.0
    ) -> tuple[pd.Series, pd.DataFrame]:
        """Return factor and prices as alphalens takes them, see `finattn.evaluation.to_alphalens`."""
        from finattn.evaluation import to_alphalens

        return to_alphalens(self, panel, model, missing_delisting_return)

    def to_quantstats(
        self, panel: "Panel", scheme: "Scheme | None" = None, missing_delisting_return: float = 0.0
    ) -> dict[str, pd.Series]:
        """Return each model's daily returns after costs as quantstats takes them.

        Traded by `finattn.evaluation.backtest` with the forecasts' delay; see `finattn.evaluation.to_quantstats`.
        """
        from finattn.evaluation import Scheme, backtest, to_quantstats

        return to_quantstats(backtest(self, panel, scheme or Scheme(), self.delay, missing_delisting_return))

    def to_vectorbt(
        self,
        panel: "Panel",
        model: str | None = None,
        scheme: "Scheme | None" = None,
        missing_delisting_return: float = 0.0,
    ) -> "VectorbtFrames":
        """Return weights and signals as frames that vectorbt takes, see `finattn.evaluation.to_vectorbt`."""
        from finattn.evaluation import Scheme, to_vectorbt

        return to_vectorbt(self, panel, model, scheme or Scheme(), self.delay, missing_delisting_return)

    @classmethod
    def load(cls, path: str | Path) -> "Forecasts":
        """Read and check a file that `save` wrote.

        Raises
        ------
        InputError
            The file is absent, is not Parquet, was not written by `save`, or holds forecasts that do not pass.
        """
        if not Path(path).is_file():
            raise InputError(f"expected a file of forecasts at {path}, found none")
        try:
            arrow = pq.read_table(path)
        except pa.ArrowInvalid as error:
            raise InputError(f"expected a Parquet file at {path}, found something else: {error}") from None
        header = json.loads((arrow.schema.metadata or {}).get(HEADER, b"{}"))
        if header.get("version") != _VERSION:
            found = header.get("version", "no header")
            raise InputError(f"expected forecasts of schema version {_VERSION} in {path}, found {found}")
        table = arrow.replace_schema_metadata(None).to_pandas()
        del arrow
        pa.default_memory_pool().release_unused()  # decoding took nearly as much as the table itself
        return cls(table, *(header[name] for name in _SCALARS))

    def _position(self, model: str) -> int:
        """Return the integer that stands for the model."""
        if model not in self.models:
            raise InputError(f"expected one of the models {', '.join(self.models)}, found {model!r}")
        return self.models.index(model)


def _whole(name: str, value: object, least: int) -> int:
    """Return the value as an int of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, found {value!r}")
    return int(value)


def _positive(name: str, value: object) -> float:
    """Return the value as a positive finite float."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise InputError(f"{name}: expected a positive finite number, found {value!r}")
    return float(value)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in order with their types; refuse what could only be converted by guessing."""
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"forecasts: expected a DataFrame, found {type(table).__name__}")
    missing = [name for name in COLUMNS if name not in table]
    unknown = [str(name) for name in table if name not in COLUMNS]
    if missing or unknown or len(table.columns) != len(COLUMNS):
        found = f"missing {missing}, unknown {unknown}" if missing or unknown else f"{list(table.columns)}"
        raise InputError(f"forecasts: expected the columns {', '.join(COLUMNS)}, found {found}")
    if table.empty:
        raise InputError("forecasts: expected at least one row, found none")
    typed = {name: _column(table[name]) for name in COLUMNS}
    return pd.DataFrame({name: column.array for name, column in typed.items()}, copy=False)


def _column(column: pd.Series) -> pd.Series:
    """Bring one column to its type."""
    dtype, name = column.dtype, str(column.name)
    kind = dtype.kind if isinstance(dtype, np.dtype) else ""
    if name == "date":
        if kind != "M":
            raise InputError(f"forecasts: expected date as datetime64 without time zone, found {dtype}")
        return column.astype("datetime64[ms]")
    if name in ("firm", "model"):
        if isinstance(dtype, pd.CategoricalDtype):
            return column.astype(dtype.categories.dtype)
        if kind != "O" and not isinstance(dtype, pd.StringDtype):
            raise InputError(f"forecasts: expected {name} as strings, found {dtype}")
        return column
    if name in ("fold", "seed"):
        limits = np.iinfo(np.int32)
        if kind not in ("i", "u") or column.min() < limits.min or column.max() > limits.max:
            raise InputError(f"forecasts: expected {name} as integers that fit 32 bits, found {dtype}")
        return column.astype(np.int32)
    if kind not in ("f", "i", "u"):
        raise InputError(f"forecasts: expected {name} as float64, found {dtype}")
    return column.astype(np.float64)


def _encode(table: pd.DataFrame) -> _Codes:
    """Give each row the integers of its date, firm, model and seed; dates, firms and seeds are numbered in order."""
    date, days = pd.factorize(table["date"])
    firm, firms = pd.factorize(table["firm"])
    model, models = pd.factorize(table["model"])
    seed, seeds = pd.factorize(table["seed"], sort=True)
    for name, codes, labels in (("date", date, days), ("firm", firm, firms), ("model", model, models)):
        _check_labels(table, name, codes, list(labels))
    date_codes, dates = _in_order(date, days.to_numpy().astype("datetime64[D]"))
    firm_codes, names = _in_order(firm, np.array(list(firms), dtype=str))
    model_codes, seed_codes = model.astype(np.int32), seed.astype(np.int32)
    return _Codes(dates, names, tuple(models), seeds.to_numpy(), date_codes, firm_codes, model_codes, seed_codes)


def _in_order(codes: NDArray, labels: NDArray) -> tuple[NDArray[np.int32], NDArray]:
    """Renumber codes so that their labels increase."""
    order = np.argsort(labels)
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[codes], labels[order]


def _check_labels(table: pd.DataFrame, name: str, codes: NDArray, labels: list) -> None:
    """Refuse missing labels, firms and models that are not strings, and times within the day."""
    if (missing := codes < 0).any():
        raise InputError(f"forecasts: expected every {name}, found one missing: {_row(table, missing)}")
    expected = "a date at midnight" if name == "date" else f"{name} as strings"
    for code, label in enumerate(labels):
        if not (label == label.normalize() if name == "date" else isinstance(label, str)):
            raise InputError(f"forecasts: expected {expected}, found {label!r}: {_row(table, codes == code)}")


def _check_numbers(table: pd.DataFrame) -> None:
    """Refuse scores and predictions that are not finite, and returns that no asset can have."""
    for name in ("score", "prediction"):
        values = table[name].to_numpy()
        if not (finite := np.isfinite(values)).all():
            value = values[~finite][0]
            raise InputError(f"forecasts: expected a finite {name}, found {value}: {_row(table, ~finite)}")
    realised = table["realised"].to_numpy()
    wrong = np.isinf(realised) | (realised < -1)
    if wrong.any():
        raise InputError(
            "forecasts: expected realised as a finite return of at least -1 or NaN, "
            f"found {realised[wrong][0]}: {_row(table, wrong)}"
        )


def _keys(codes: _Codes) -> NDArray[np.int64]:
    """One integer per row that orders by model, date, firm and then seed."""
    keys = codes.model.astype(np.int64)
    for labels, code in ((codes.dates, codes.date), (codes.firms, codes.firm), (codes.seeds, codes.seed)):
        keys *= len(labels)
        keys += code
    return keys


def _check_unique(table: pd.DataFrame, keys: NDArray[np.int64]) -> None:
    """Refuse a second forecast of one date, firm, model and seed, whatever its fold."""
    if (np.diff(keys) > 0).all():  # the usual case: a table that was written in order
        return
    ordered = np.sort(keys)
    if (ordered[1:] == ordered[:-1]).any():
        again = pd.Series(keys).duplicated().to_numpy()
        raise InputError(
            "forecasts: expected one row for each date, firm, model and seed, "
            f"found {again.sum()} duplicates: {_row(table, again)}"
        )


def _check_agreement(table: pd.DataFrame, codes: _Codes) -> None:
    """Refuse two realised returns for one firm-date: then models would not be judged on the same outcome."""
    realised = table["realised"].to_numpy()
    cells = codes.date.astype(np.int64) * len(codes.firms) + codes.firm
    outcome = np.full(len(codes.dates) * len(codes.firms), np.nan)
    outcome[cells] = realised
    other = outcome[cells]
    differs = (other != realised) & ~(np.isnan(other) & np.isnan(realised))
    if differs.any():
        raise InputError(
            "forecasts: expected one realised return for a firm-date in all models and seeds, "
            f"found {realised[differs][0]} and {other[differs][0]}: {_row(table, differs)}"
        )


def _row(table: pd.DataFrame, where: NDArray[np.bool_]) -> str:
    """Say which row is the first that is marked."""
    position = int(np.flatnonzero(where)[0])
    row = table.iloc[position]
    day = "NaT" if pd.isna(row["date"]) else f"{row['date']:%Y-%m-%d}"
    return f"row {position}, date {day}, firm {row['firm']!r}, model {row['model']!r}, seed {row['seed']}"


def _mean(
    values: NDArray[np.float64], parts: list[tuple[NDArray, NDArray]], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Average rows that fall into one cell; each part holds at most one row a cell (a seed). NaN without any."""
    total, count = np.zeros(math.prod(shape)), np.zeros(math.prod(shape), np.int32)
    for rows, cells in parts:
        total[cells] += values[rows]
        count[cells] += 1
    total[count == 0] = np.nan
    np.divide(total, count, out=total, where=count > 1)
    return total.reshape(shape)
