"""From extracts of WRDS to a panel."""

import numpy as np

from finattn.config import DataConfig
from finattn.config.require import require
from finattn.config.wrds import WrdsConfig
from finattn.data.table_files import located
from finattn.data.wrds.compustat import read_reports, with_fundamentals
from finattn.data.wrds.crsp import panel_fields, read_names, read_rows
from finattn.data.wrds.extracts import find
from finattn.data.wrds.link import read_links
from finattn.data.wrds.sic import crsp_codes, french_codes
from finattn.data.wrds.tables import annual, needed
from finattn.panel import Panel


def load(config: DataConfig) -> Panel:
    """Return the panel of a configuration with source "wrds", between its start and end; see `load_wrds`.

    Parameters
    ----------
    config : of which `wrds`, start and end are used.

    Raises
    ------
    InputError
        As `load_wrds`.

    Examples
    --------
    >>> from finattn.config import DataConfig, WrdsConfig
    >>> from finattn.data import wrds
    >>> wrds.load(DataConfig("wrds", start="1990-01-01", wrds=WrdsConfig("extracts")))  # before `wrds.fetch`
    Traceback (most recent call last):
    finattn.errors.InputError: data.wrds.extracts must be a folder, found none at extracts
    """
    return load_wrds(config.wrds, config.start, config.end)


def load_wrds(config: WrdsConfig, start: str | None = None, end: str | None = None) -> Panel:
    """Return CRSP's securities as a panel, with SIC codes and Compustat's fundamentals, from extracts.

    Firms are permnos. Returns are total ones with the delisting return, `price` is the absolute value of CRSP's,
    `market_cap` that of the share class, and it and `dollar_volume` are dollars.

    Parameters
    ----------
    config : which extracts, filters, codes and fundamentals.
    start, end : first and last day; None for all there are.

    Returns
    -------
    Panel, on the dates on which the stocks' table has rows. ``source["counts"]`` are those of `panel_fields`.

    Raises
    ------
    InputError
        For extracts that are not there, lack columns, or hold what cannot be.

    Examples
    --------
    Extracts of two months of one made-up share:

    >>> import tempfile
    >>> import pandas as pd
    >>> from finattn.config import WrdsConfig
    >>> from finattn.data.wrds import load_wrds
    >>> stocks = pd.DataFrame({
    ...     "permno": 10001, "mthcaldt": ["2020-01-31", "2020-02-28"], "mthret": [0.1, -0.05], "mthprc": [10.0, 9.5],
    ...     "shrout": 1000, "mthprcvol": 5e4, "mthdelflg": "N"})
    >>> names = pd.DataFrame({
    ...     "permno": [10001], "secinfostartdt": "1990-01-01", "secinfoenddt": "2024-12-31", "issuernm": "ACME",
    ...     "siccd": 2834, "sharetype": "NS", "securitytype": "EQTY", "securitysubtype": "COM", "usincflg": "Y",
    ...     "issuertype": "CORP", "primaryexch": "N", "conditionaltype": "RW", "tradingstatusflg": "A"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stocks.to_csv(f"{folder}/msf_v2.csv", index=False)
    ...     names.to_csv(f"{folder}/stksecurityinfohist.csv", index=False)
    ...     panel = load_wrds(WrdsConfig(folder, industries="crsp"))
    >>> panel.names, panel.returns[:, 0].tolist(), panel.market_cap[:, 0].tolist(), panel.industry[:, 0].tolist()
    (('ACME',), [0.1, -0.05], [10000000.0, 9500000.0], [2834, 2834])
    """
    require("data.wrds.extracts", config.extracts, config.extracts is not None, "given, a folder with a file a table")
    tables = needed(config)
    for table in tables:
        find(str(config.extracts), table)
    names = read_names(config)
    rows = read_rows(config, names, start, end)
    with np.errstate(over="ignore"):  # a panel refuses what is not finite
        fields, counts = panel_fields(config, names, rows)
    del rows
    source = {
        "wrds": {
            "layout": config.layout,
            "frequency": config.frequency,
            "tables": [f"{table.schema}.{table.name}" for table in tables],
            "common_shares": config.common_shares,
            "exchanges": list(config.exchanges),
            "missing_delisting": config.missing_delisting,
            "industries": config.industries,
        },
        "rows": counts.pop("rows"),
        "counts": {name: count for name, count in counts.items() if count},
    }
    with located(find(str(config.extracts), tables[0])):
        panel = Panel(**fields, periods_per_year={"monthly": 12, "daily": 252}[config.frequency], source=source)
    if config.industries == "french":
        reports, _ = read_reports(config, annual(config))
        codes = french_codes(panel, names.table, read_links(config), reports)
        panel = panel.replace(industry=codes, industry_as_of=True)
    elif config.industries == "crsp":
        panel = panel.replace(industry=crsp_codes(panel, names.table), industry_as_of=True)
    return panel if config.compustat == "none" else with_fundamentals(panel, config, read_links(config))
