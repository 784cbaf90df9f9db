"""Figures of reports from a file, joined to a panel from the day on which they were known."""

from dataclasses import fields

import pandas as pd

from finattn.checks import some
from finattn.config import ReportsConfig
from finattn.data.asof import Rule, join
from finattn.data.open_table import open_table
from finattn.data.table_files import existing, located
from finattn.errors import InputError
from finattn.panel import Panel


def with_reports(panel: Panel, config: ReportsConfig) -> Panel:
    """Return the panel with figures of reports as features; see `finattn.data.asof.join`.

    Parameters
    ----------
    panel : to which firms and dates they are joined. config : the file, its columns and rows, and the rule.

    Raises
    ------
    InputError
        Naming the file, for what cannot be read, for columns and rule keys that do not exist, and for rows that the
        rule refuses.
    """
    path = existing(config.path, "data.reports.path")
    rule = _rule(config)
    keys = [name for name in (rule.firm, rule.available, rule.period, rule.amended) if name is not None]
    use = list(dict.fromkeys([*keys, *config.columns, *config.where]))
    table = open_table(path, {}, (), (*keys, *config.where))
    with located(path):
        missing = [name for name in use if name not in table.names]
        if missing:
            raise InputError(f"the table must have columns {', '.join(use)}; found no {', '.join(missing)}")
        frame = _plain(table.frame()[use]).rename_axis(index="row")  # messages name rows of the file
        for name, value in config.where.items():
            frame = frame[frame[name].astype(str) == str(value)]
            if frame.empty:
                raise InputError(f"data.reports.where must leave rows, found none with {name} {value!r}")
        return join(panel, frame, config.columns, stale_after=config.stale_after, rule=rule)


def _rule(config: ReportsConfig) -> Rule:
    """Return the rule of a configuration, whose keys are those of `Rule`."""
    known = [item.name for item in fields(Rule)]
    unknown = [name for name in config.rule if name not in known]
    if unknown:
        raise InputError(f"data.reports.rule must have keys among {', '.join(known)}, found {some(unknown)}")
    return Rule(**config.rule)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return categories, which a CSV file's text comes in, as text."""
    categories = [name for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(categories, "object"))
