"""From a configuration to a panel."""

from collections.abc import Callable, Mapping
from typing import Any

from finattn.config import DataConfig
from finattn.data.design import Design
from finattn.data.files import load_files
from finattn.data.report_table import with_reports
from finattn.data.sample import sample
from finattn.data.simulate import simulate
from finattn.errors import InputError
from finattn.panel import Panel


def load(config: DataConfig) -> Panel:
    """Open the source that a configuration names, join what it names beside it, and cut it to its days.

    Raises
    ------
    InputError
        Where the source cannot be read, holds what a panel refuses, or has no date between start and end.

    Examples
    --------
    >>> load(DataConfig(start="2020-01-01", end="2020-12-31")).shape
    (253, 20)
    """
    panel = _SOURCES[config.source](config)
    if config.reports.path is not None:
        panel = with_reports(panel, config.reports)
    start, end = (None if edge is None else str(edge) for edge in (config.start, config.end))
    cut = panel[start:end]
    if not len(cut):
        raise InputError(
            f"data.start to data.end must hold dates, found none from {config.start} to {config.end} in a panel of "
            f"{panel.dates[0]} to {panel.dates[-1]}"
        )
    return cut


def _simulated(config: DataConfig) -> Panel:
    """Simulate; the truth is for those who call `simulate` themselves, with the same numbers."""
    given = config.simulated
    unknown = [name for name in given.design if name not in Design.__dataclass_fields__]
    if unknown:
        known = ", ".join(Design.__dataclass_fields__)
        raise InputError(f"data.simulated.design must have keys among {known}, found {', '.join(map(str, unknown))}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.design.items()
    }
    try:
        design = Design(**values)
    except (TypeError, AttributeError):
        raise InputError(
            f"data.simulated.design must hold numbers, lists and mappings as `finattn.data.Design` does, found {values}"
        ) from None
    return simulate(
        given.firms,
        given.days,
        r2=given.r2,
        cross_industry=given.cross_industry,
        seed=given.seed,
        design=design,
    ).panel


_SOURCES: Mapping[str, Callable[[DataConfig], Panel]] = {
    "sample": lambda config: sample(),
    "simulated": _simulated,
    "file": load_files,
    "panel": lambda config: Panel.load(str(config.path)),
}
