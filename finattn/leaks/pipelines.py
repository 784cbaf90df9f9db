"""What can be certified: a function from panel to forecasts, or a forecaster or estimator that is walked forward."""

import inspect
from collections.abc import Callable
from typing import Any

import pandas as pd

from finattn.baselines.tabular import Tabular
from finattn.errors import InputError
from finattn.experiment import Forecaster, walk_forward
from finattn.leaks.forecast_arrays import Made, read
from finattn.panel import Panel
from finattn.splits import WalkForward

Pipeline = Callable[[Panel, pd.DataFrame | None], Made]


def pipeline_of(given: Any, panel: Panel, with_reports: bool, splits: WalkForward | None) -> Pipeline:
    """Return a function from panel and reports to what is compared.

    A scikit-learn regressor (or a pipeline that ends in one) becomes a `Tabular` on the characteristics of a date and
    is walked forward as any other `Forecaster`: fitted on pooled firm-dates before each test window, purged, from there
    on forecasting.

    Raises
    ------
    InputError
        For what is none of these, for splits beside a function, and for reports beside a forecaster.
    """
    fitted = hasattr(given, "fit") and hasattr(given, "predict") and not isinstance(given, type)
    if not fitted and not callable(given) or isinstance(given, type):
        raise InputError(
            f"a pipeline must be a function of a panel, a forecaster or a scikit-learn regressor, found {given!r}"
        )
    if not fitted:
        if splits is not None:
            raise InputError("splits go with a forecaster or an estimator, found them beside a function")
        if with_reports and not _takes_two(given):
            raise InputError(
                "a pipeline must take (panel, reports) where there are reports, found one of a panel alone"
            )
        return lambda panel, reports: read(given(panel, reports) if with_reports else given(panel), panel)
    if with_reports:
        raise InputError("reports go with a function of (panel, reports), found them beside a forecaster")
    forecaster, folds = (
        given if isinstance(given, Forecaster) else Tabular(given, lookback=1),
        splits or last_third(panel),
    )
    return lambda panel, _: read(walk_forward(panel, {"pipeline": forecaster}, folds), panel)


def last_third(panel: Panel) -> WalkForward:
    """Return one fold that tests the last third of the dates, after a sixth for validation.

    Examples
    --------
    >>> days = pd.date_range("2020-01-01", periods=30)
    >>> last_third(Panel(days, ["A"], [[0.0]] * 30)).first_test
    '2020-01-21'
    """
    rows = len(panel)
    return WalkForward(str(panel.dates[2 * rows // 3]), test=rows, valid=max(rows // 6, 1))


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a builtin has no signature to ask
        pass
    return True
