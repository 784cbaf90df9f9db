"""What a pipeline returns, whatever its form, as arrays over the panel's dates and firms."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finattn.checks import as_dates, as_firms, some
from finattn.config import TargetConfig
from finattn.errors import InputError
from finattn.forecasts import Forecasts
from finattn.panel import Panel

Floats = NDArray[np.float64]
_KEYS = ("date", "firm", "model", "seed")
_NOT_COMPARED = ("fold", "realised")  # realised returns rightly change with the future


class Made(NamedTuple):
    """What a pipeline made of a panel; NaN = no forecast.

    labels : k names of what is forecast. values : [k t n], NaN where there is none.
    realised : [t n] as the pipeline says it, or None; target : of what, where the pipeline says so.
    """

    labels: tuple[str, ...]
    values: Floats
    realised: Floats | None = None
    target: TargetConfig | None = None

    @property
    def given(self) -> NDArray[np.bool_]:
        """Say which firm-dates [t n] have a forecast."""
        return np.any(~np.isnan(self.values), axis=0)

    @property
    def deviation(self) -> float:
        """Standard deviation of the forecasts, the unit in which differences are told."""
        spread = [float(np.nanstd(part)) for part in self.values if not np.isnan(part).all()]
        return max(spread, default=0.0)


def read(made: Any, panel: Panel) -> Made:
    """Bring what a pipeline returned to one form.

    Parameters
    ----------
    made : `Forecasts`; an array [t n] over the panel's dates and firms; a series with (date, firm) as its index; a long
        frame with columns date, firm, optionally model and seed, and one or more numbers; or a wide one with dates as
        its index and firms as its columns.

    Raises
    ------
    InputError
        For another form or shape, dates or firms that are not the panel's, an infinite forecast, two forecasts of one
        firm-date, or none at all.

    Examples
    --------
    >>> panel = Panel(["2020-01-02", "2020-01-03"], ["A", "B"], [[0.0, 0.0], [0.1, -0.2]])
    >>> read(pd.DataFrame({"date": ["2020-01-03"], "firm": ["B"], "score": [0.5]}), panel).values.tolist()
    [[[nan, nan], [nan, 0.5]]]
    """
    if isinstance(made, Forecasts):
        same = made.periods_per_year == panel.periods_per_year  # else its horizon counts other rows
        target = TargetConfig(made.horizon, made.delay) if made.delay in (0, 1) and same else None
        found = _long(made.table, panel)._replace(target=target)
    elif isinstance(made, pd.Series):
        found = _long(made.rename("forecast").rename_axis(["date", "firm"]).reset_index(), panel)
    elif isinstance(made, pd.DataFrame):
        found = _long(made, panel) if {"date", "firm"} <= set(made.columns) else _wide(made, panel)
    else:
        found = Made(("forecast",), _array(made, panel)[None])
    if np.isinf(found.values).any():
        raise InputError("a pipeline's forecasts must be finite or NaN, found an infinite one")
    if not found.given.any():
        raise InputError("a pipeline must make at least one forecast, found none")
    return found


def _array(made: Any, panel: Panel) -> Floats:
    try:
        values = np.asarray(made, np.float64)
    except (TypeError, ValueError):
        values = np.empty(())
    if values.ndim != 2:
        raise InputError(f"a pipeline must return Forecasts, a frame or an array [t n], found {type(made).__name__}")
    if values.shape != panel.shape:
        raise InputError(f"a pipeline's array must have shape [t n] = {panel.shape}, found {values.shape}")
    return values


def _wide(frame: pd.DataFrame, panel: Panel) -> Made:
    rows, columns = _rows(frame.index, panel), _columns(frame.columns, panel)
    for name, places in (("dates", rows), ("firms", columns)):
        if len(np.unique(places)) < len(places):
            raise InputError(f"{name} of a pipeline's wide frame must be unique, found one twice")
    values = np.full(panel.shape, np.nan)
    values[np.ix_(rows, columns)] = frame.to_numpy(np.float64)
    return Made(("forecast",), values[None])


def _long(frame: pd.DataFrame, panel: Panel) -> Made:
    """Spread a long frame; one label for each column of numbers, model and seed."""
    numbers = [
        name
        for name in frame.columns
        if name not in (*_KEYS, *_NOT_COMPARED) and pd.api.types.is_numeric_dtype(frame[name])
    ]
    if not numbers:
        raise InputError(f"a pipeline's long frame must have a column of forecasts, found {list(frame.columns)}")
    rows, columns = _rows(frame["date"], panel), _columns(frame["firm"], panel)
    apart = [name for name in ("model", "seed") if name in frame.columns]
    code = frame.groupby(apart, sort=True).ngroup().to_numpy() if apart else np.zeros(len(frame), int)
    if len(np.unique(np.stack([code, rows, columns]), axis=1).T) < len(frame):
        raise InputError("a pipeline must make one forecast of a firm-date (and model and seed), found two")
    first = frame[apart].take(np.unique(code, return_index=True)[1].tolist()).astype(str)
    names = [" ".join(row) for row in first.itertuples(index=False)]
    labels, values = [], np.full((code.max(initial=-1) + 1, len(numbers), *panel.shape), np.nan)
    for k in range(len(values)):
        part = code == k
        labels += [f"{name} of {names[k]}" if apart else name for name in numbers]
        for j, name in enumerate(numbers):
            values[k, j, rows[part], columns[part]] = frame[name].to_numpy(np.float64, na_value=np.nan)[part]
    realised = None
    if "realised" in frame.columns:
        realised = np.full(panel.shape, np.nan)
        realised[rows, columns] = frame["realised"].to_numpy(np.float64, na_value=np.nan)
    return Made(tuple(labels), values.reshape(-1, *panel.shape), realised)


def _rows(dates: Any, panel: Panel) -> NDArray[np.intp]:
    days = as_dates(pd.Series(dates).to_numpy())
    rows = np.minimum(np.searchsorted(panel.dates, days), len(panel) - 1)
    if (bad := panel.dates[rows] != days).any():
        raise InputError(f"a pipeline's dates must be the panel's, found {some([str(day) for day in days[bad]])}")
    return rows


def _columns(firms: Any, panel: Panel) -> NDArray[np.intp]:
    names = as_firms(pd.Series(firms).astype(object).to_list())
    columns = pd.Index(panel.firms).get_indexer(pd.Index(names))
    if (bad := columns < 0).any():
        raise InputError(f"a pipeline's firms must be the panel's, found {some(names[bad].tolist())}")
    return columns
