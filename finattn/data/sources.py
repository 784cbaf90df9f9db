"""From a configuration to a panel, and from other people's servers to this machine."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from finattn.config import DataConfig
from finattn.config.require import require
from finattn.data import sec, wrds, yahoo
from finattn.data.design import Design
from finattn.data.files import load_files
from finattn.data.industries import sector_features
from finattn.data.quarterly import simulate_quarterly
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
    if config.sec.folder is not None:
        panel = sec.attach(panel, config.sec)
    if config.reports.path is not None:
        panel = with_reports(panel, config.reports)
    start, end = (None if edge is None else str(edge) for edge in (config.start, config.end))
    cut = panel[start:end]
    if not len(cut):
        raise InputError(
            f"data.start to data.end must hold dates, found none from {config.start} to {config.end} in a panel of "
            f"{panel.dates[0]} to {panel.dates[-1]}"
        )
    if config.sector_features is None:
        return cut
    coded = bool((cut.industry != 0).any())
    require("data.sector_features", config.sector_features, coded, "left out of a panel without industry codes")
    return sector_features(cut, config.sector_features)


def fetch(config: DataConfig, say: Callable[[str], None] | None = None) -> dict[str, dict[str, Any]]:
    """Download what a configuration needs from elsewhere: its source, if that is "yahoo" or "wrds", and `config.sec`.

    What is there already is left alone, so that a call goes on where one that was killed stopped.

    Parameters
    ----------
    config : of which ``start`` is the first day asked of Yahoo and WRDS. say : is given lines of progress.

    Returns
    -------
    What became of each part, as JSON can hold it: of "yahoo" the tickers by status, and why some failed; of "sec" the
    quarters downloaded, present and unpublished; of "wrds" the rows of each table read, and the tables skipped.

    Raises
    ------
    InputError
        Where there is nothing to fetch, and for what each part refuses.

    Examples
    --------
    >>> fetch(DataConfig("sample"))
    Traceback (most recent call last):
    finattn.errors.InputError: data.source must be yahoo or wrds, or data.sec.folder be given, to fetch; found 'sample'
    """
    found: dict[str, dict[str, Any]] = {}
    if config.source == "yahoo":
        if config.start is None:
            raise InputError("data.start must be given to fetch from Yahoo, found none")
        table = yahoo.fetch(config.yahoo, config.start, config.end, say=say).table
        failed = table[table["status"] == "failed"]
        found["yahoo"] = {str(status): part["ticker"].tolist() for status, part in table.groupby("status", sort=False)}
        found["yahoo"]["reasons"] = dict(zip(failed["ticker"], failed["reason"], strict=True))
    if config.source == "wrds":
        copied = wrds.fetch(config.wrds, config.start, config.end, say=say)
        found["wrds"] = {"rows": copied.rows, "skipped": list(copied.skipped)}
    if config.sec.folder is not None:
        found["sec"] = asdict(sec.fetch(config.sec, say=say))
    if not found:
        raise InputError(
            f"data.source must be yahoo or wrds, or data.sec.folder be given, to fetch; found {config.source!r}"
        )
    return found


def _simulated(config: DataConfig) -> Panel:
    """Simulate; the truth is for those who call the same function themselves, with the same numbers."""
    given = config.simulated
    if given.kind == "quarterly":
        return simulate_quarterly(
            given.firms,
            given.years,
            r2=given.r2,
            cross_sector=given.cross_industry,
            peers_of_peers=given.peers_of_peers,
            seed=given.seed,
        ).panel
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
    "yahoo": yahoo.load,
    "wrds": wrds.load,
}
