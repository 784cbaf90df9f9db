"""Forecasts that were made elsewhere: a CSV or Parquet file with date, firm, prediction."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.blocks import forward_returns
from finattn.checks import some
from finattn.config import TargetConfig
from finattn.data.long import Rows
from finattn.data.open_table import open_table
from finattn.data.table_files import (
    CSV,
    PARQUET,
    TableFile,
    encode,
    existing,
    in_column,
    is_table,
    located,
    series,
    stem,
)
from finattn.errors import InputError
from finattn.forecasts import Forecasts
from finattn.frames import read_numbers
from finattn.panel import Panel
from finattn.splits import label_overlap

__all__ = ["ForecastFile", "read_forecasts"]

NEEDED = ("date", "firm", "prediction")
OPTIONAL = ("score", "model")


class ForecastFile(NamedTuple):
    """Forecasts of a file, and how many of its rows are not among them and why.

    Examples
    --------
    >>> import tempfile
    >>> import finattn as fa
    >>> from finattn.config import TargetConfig
    >>> from finattn.evaluation import read_forecasts
    >>> mine = pd.DataFrame({"date": "2020-03-31", "firm": ["AAPL", "AMD", "ENRN"], "prediction": [0.01, 0.02, 0.03]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mine.to_csv(f"{folder}/mine.csv", index=False)
    ...     found = read_forecasts(f"{folder}/mine.csv", fa.sample()["2020":], TargetConfig(horizon=5), drop=True)
    >>> len(found.forecasts.table), found.dropped["firm not in the panel"]
    (2, 1)
    """

    forecasts: Forecasts
    dropped: dict[str, int]


def read_forecasts(
    path: str | Path,
    panel: Panel,
    target: TargetConfig,
    columns: Mapping[str, str] | None = None,
    drop: bool = False,
) -> ForecastFile:
    r"""Read forecasts that were made elsewhere, and put beside them the returns that the panel says followed.

    Columns are date (days), firm (the panel's identifiers) and prediction (the forecast return over the target's rows,
    a fraction); score, which ranks, is the prediction where there is none, and model the file's name. Other columns are
    not read. Realised returns are `blocks.forward_returns` of the panel, the overlap is counted from the file's dates.

    Parameters
    ----------
    path : a file that ends in .csv, .csv.gz, .parquet or .pq. One that `Forecasts.save` wrote is for `Forecasts.load`.
    panel : Panel
        With the dates and firms that the forecasts are judged and traded on.
    target : TargetConfig
        Horizon and delay of what was forecast, and what stands in for a missing delisting return.
    columns : mapping, optional
        Our name of each column that is called otherwise in the file.
    drop : bool
        Leave out, and count, rows that cannot be used: of a date or a firm that is not in the panel, and without a
        prediction or score. Otherwise the first is refused.

    Returns
    -------
    ForecastFile
        The forecasts, of fold and seed 0, and the dropped rows by reason.

    Raises
    ------
    InputError
        Naming the file, and the row and the column (rows count from 0): what cannot be read, rows that cannot be used
        unless they are dropped, two rows of a date, firm and model, and a file without a row that can be used.

    Examples
    --------
    >>> import tempfile
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.0], [0.1, -0.2]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "mine.csv"
    ...     _ = file.write_text("date,firm,prediction\n2020-01-02,A,0.01\n2020-01-02,B,0.02\n2020-01-02,C,0.03\n")
    ...     found = read_forecasts(file, panel, TargetConfig(horizon=1), drop=True)
    >>> found.forecasts.models, found.forecasts.table["realised"].round(6).tolist()
    (('mine',), [0.1, -0.2])
    >>> found.dropped["firm not in the panel"]
    1
    """
    table = _open(existing(str(path), "forecasts"), dict(columns or {}))
    read = Rows([table], by_firm=False)
    with located(table.path):
        date, firm = np.divmod(read.cells, len(read.firms))
        rows, places = _places(read.dates, panel.dates)[date], _places(read.firms, panel.firms)[firm]
        values = _values(table)
        faults = {
            "date": _Fault("date not in the panel", "a date of the panel", rows < 0, lambda row: read.dates[date[row]]),
            "firm": _Fault(
                "firm not in the panel", "a firm of the panel", places < 0, lambda row: read.firms[firm[row]]
            ),
        }
        for name in ("prediction", "score"):
            faults[name] = _Fault(f"no {name}", "a number", values[name].isna().to_numpy(), lambda row: "none")
        usable, dropped = _judge(table, faults, drop)
        used = values[usable].reset_index(drop=True)
        return ForecastFile(_forecasts(panel, target, rows[usable], places[usable], used), dropped)


class _Fault(NamedTuple):
    """Rows that cannot be used, and what is found in one of them."""

    reason: str
    expected: str
    bad: NDArray[np.bool_]
    found: Callable[[int], object]


def _judge(table: TableFile, faults: Mapping[str, _Fault], drop: bool) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return the rows that have no fault, by column, and count the others by the first that they have."""
    usable, dropped = np.ones(len(faults["date"].bad), bool), {}
    for column, fault in faults.items():
        bad = fault.bad & usable
        dropped[fault.reason] = int(bad.sum())
        if bad.any() and not drop:
            row, others = int(np.argmax(bad)), int(bad.sum()) - 1
            with in_column(table, column):
                raise InputError(
                    f"{column} must be {fault.expected} in every row, found {fault.found(row)} in row {row}, and "
                    f"{others} more such rows; drop leaves them out"
                )
        usable &= ~bad
    if not usable.any():
        raise InputError(f"must have at least one row that can be used, found none: {dropped}")
    return usable, dropped


def _open(path: Path, columns: dict[str, str]) -> TableFile:
    """Open the columns that are needed and those of the optional ones that are there."""
    if not is_table(path):
        raise InputError(f"forecasts must end in {', '.join((*CSV, *PARQUET))}, found {path}")
    found = open_table(path, columns).names
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise InputError(
            f"{path}: forecasts must have columns {', '.join(NEEDED)}; found no {', '.join(missing)} among "
            f"{some(list(found))}"
        )
    use = [found[name] for name in (*NEEDED, *OPTIONAL) if name in found]
    return open_table(
        path, {name: ours for name, ours in columns.items() if name in use}, use, ("firm", "date", "model")
    )


def _values(table: TableFile) -> pd.DataFrame:
    """Read prediction, score and model of every row."""
    names = [name for name in ("prediction", *OPTIONAL) if name in table.names]
    parts: list[dict] = []
    start = 0
    for batch in table.batches(names):
        part = {}
        for name in names:
            with in_column(table, name):
                part[name] = _model(batch[name], start) if name == "model" else _number(name, batch[name], start)
        parts.append(part)
        start += len(part["prediction"])
    read = {name: np.concatenate([part[name] for part in parts]) for name in names}
    return pd.DataFrame({"score": read["prediction"], "model": stem(table.path)} | read)


def _number(name: str, values: object, start: int) -> NDArray[np.float64]:
    numbers = read_numbers(name, series(values), start).astype(np.float64)
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers)))
        raise InputError(f"column {name!r} must be finite, found {numbers[row]} in row {start + row}")
    return numbers


def _model(values: object, start: int) -> NDArray[np.object_]:
    labels, codes = encode(values)
    if (codes < 0).any():
        raise InputError(
            f"column 'model' must be given in every row, found none in row {start + int(np.argmin(codes))}"
        )
    return labels.astype(str).to_numpy(object)[codes]


def _places(wanted: NDArray, known: NDArray) -> NDArray[np.int64]:
    """Return the place of each label among the panel's, -1 where it is not."""
    place = {label: i for i, label in enumerate(known.tolist())}
    return np.array([place.get(label, -1) for label in wanted.tolist()], np.int64)


def _forecasts(
    panel: Panel, target: TargetConfig, rows: NDArray[np.int64], columns: NDArray[np.int64], values: pd.DataFrame
) -> Forecasts:
    """Lay out forecasts with what followed; the rows keep the file's order."""
    decisions, place = np.unique(rows, return_inverse=True)
    realised = forward_returns(panel, decisions, target)[place, columns]
    table = pd.DataFrame(
        {
            "date": panel.dates[rows].astype("datetime64[ms]"),
            "firm": panel.firms[columns].astype(object),
            "model": values["model"],
            "fold": 0,
            "seed": 0,
            "score": values["score"],
            "prediction": values["prediction"],
            "realised": realised,
        }
    )
    overlap = label_overlap(decisions, target.horizon)
    return Forecasts(table, target.horizon, target.delay, overlap, panel.periods_per_year)
