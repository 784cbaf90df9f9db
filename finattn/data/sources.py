"""From a configuration to a panel."""

from finattn.config import DataConfig
from finattn.data.files import load_files
from finattn.data.report_table import with_reports
from finattn.data.sample import sample
from finattn.errors import InputError
from finattn.panel import Panel


def load(config: DataConfig) -> Panel:
    """Open the source that a configuration names, cut to its days.

    Raises
    ------
    InputError
        Where the source cannot be read, holds what a panel refuses, or has no date between start and end.

    Examples
    --------
    >>> load(DataConfig(start="2020-01-01", end="2020-12-31")).shape
    (253, 20)
    """
    if config.source == "sample":
        panel = sample()
    elif config.source == "panel":
        panel = Panel.load(str(config.path))
    else:
        panel = load_files(config)
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
