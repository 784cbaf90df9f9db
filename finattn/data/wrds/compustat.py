"""Compustat's reports as features of securities, from the day on which they were available, inside their links.

The figures are those that Compustat has today: a restatement that replaced what was first reported is not undone.
"""

from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pandas as pd

from finattn.config.wrds import WrdsConfig
from finattn.data.asof import Joined, Rule, look_up
from finattn.data.table_files import located
from finattn.data.wrds.extracts import find, frame
from finattn.data.wrds.link import Links, link
from finattn.data.wrds.sic import last_weekday
from finattn.data.wrds.tables import Table, annual, quarterly
from finattn.errors import InputError
from finattn.panel import Panel

RULE = Rule(firm="gvkey", available="available", period="datadate", unusable="drop")


def book_equity(table: pd.DataFrame) -> pd.Series:
    """Return book equity as Fama and French (1993) have it, in millions of dollars.

    Shareholders' equity (seq, else ceq + pstk, else at - lt), plus deferred taxes and investment tax credit (txditc),
    less preferred stock at its redemption, else liquidating, else par value; the last two are 0 where they are missing.
    Quarterly reports have no liquidating value.

    Examples
    --------
    >>> columns = dict.fromkeys(["ceq", "pstk", "at", "lt", "txditc", "pstkrv", "pstkl"], [np.nan, np.nan])
    >>> table = pd.DataFrame(columns | {"seq": [100.0, np.nan], "at": [0.0, 90.0], "lt": [0.0, 50.0], "pstk": 8.0})
    >>> book_equity(table).tolist()
    [92.0, 32.0]
    """
    equity = table["seq"].fillna(table["ceq"] + table["pstk"]).fillna(table["at"] - table["lt"])
    liquidating = table["pstkl"] if "pstkl" in table else np.nan
    preferred = table["pstkrv"].fillna(pd.Series(liquidating, table.index)).fillna(table["pstk"])
    return equity + table["txditc"].fillna(0.0) - preferred.fillna(0.0)


def _ratio(above: pd.Series, below: pd.Series) -> pd.Series:
    """Return a ratio, missing where what is below is not positive."""
    return above / below.where(below > 0)


# Figures by Compustat's annual names; those of quarterly reports end in q there, and flows are of a quarter. Assets,
# sales and book equity are in millions of dollars. What is missing is missing: R&D that is not reported is not 0.
CHARACTERISTICS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "assets": lambda table: table["at"],
    "sales": lambda table: table["sale"],
    "book_equity": book_equity,
    "leverage": lambda table: _ratio(table["dltt"] + table["dlc"], table["at"]),
    "investment": lambda table: _ratio(table["at"], table["at_a_year_before"]) - 1,  # growth of assets over a year
    "return_on_assets": lambda table: _ratio(table["ib"], table["at"]),  # income before extraordinary items
    "rnd_to_sales": lambda table: _ratio(table["xrd"], table["sale"]),
    "rnd_to_assets": lambda table: _ratio(table["xrd"], table["at"]),
}


def read_reports(config: WrdsConfig, table: Table) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the reports of the standard form, one a company and fiscal period, and counts of the others."""
    read = frame(str(config.extracts), table)
    with located(find(str(config.extracts), table)):
        standard = np.logical_and.reduce([read[name] == value for name, value in table.where.items()])
        reports = read[standard].drop(columns=list(table.where))
        if reports.empty:
            raise InputError(f"reports must be of {table.where}, found none of {len(read)}")
        repeated = reports.duplicated(["gvkey", "datadate"], keep="last")
    counts = {"of_another_form": int((~standard).sum()), "repeated": int(repeated.sum())}
    return reports[~repeated].reset_index(drop=True), counts


def with_fundamentals(panel: Panel, config: WrdsConfig, links: pd.DataFrame) -> Panel:
    """Return the panel with the items of a configuration as features.

    A figure stands at a firm-date where it is in the newest report, by its fiscal period, that the linked company had
    made available by then, after the two were linked: see `Links.start`.

    Parameters
    ----------
    panel : to which they are joined; firms are permnos.
    config : which reports and items, and when they are available.
    links : see `read_links`.

    Returns
    -------
    Panel whose ``source["as_of_joins"]`` says what was joined, and counts: see `finattn.data.asof.Joined`, where firms
    are companies, and `Links`; ``of_another_form`` and ``repeated`` reports; those ``without_rdq``, to which the lag
    was applied; and listed firm-dates at which the newest report came ``before_the_link``.
    """
    table = annual(config) if config.compustat == "annual" else quarterly(config)
    reports, counts = read_reports(config, table)
    reports["available"], counts["without_rdq"] = _available(config, reports)
    reports["at_a_year_before"] = _year_before(reports)
    reports = reports.assign(**{name: CHARACTERISTICS[name](reports) for name in config.items})
    linked = link(panel, links)
    with located(find(str(config.extracts), table)):
        found, place = _look_up(panel, config, reports, linked)
    available = np.append(reports["available"].to_numpy().astype("M8[D]"), np.datetime64("NaT", "D"))
    row = np.where(place >= 0, np.take_along_axis(found.row, place, axis=1), -1)
    inside = available[row] >= linked.start
    values = np.take_along_axis(found.values, place[:, :, None], axis=1)
    values[~(inside & panel.listed)] = np.nan
    counts["before_the_link"] = int((panel.listed & (row >= 0) & ~inside).sum())
    note = {
        "columns": {name: name for name in config.items},
        "stale_after": config.stale_after,
        "rule": asdict(RULE),
        "counts": found.counts | linked.counts | counts,
        "reports": f"{table.schema}.{table.name}",
        "availability": {"by": config.availability, "lag_months": config.lag_months},
    }
    return panel.replace(
        features=values,
        feature_names=config.items,
        source={**panel.source, "as_of_joins": [note]},
    )


def _look_up(panel: Panel, config: WrdsConfig, reports: pd.DataFrame, linked: Links) -> tuple[Joined, np.ndarray]:
    """Return what each linked company had reported by each date, (t, g, f), and the company (t, n) as a place in g.

    Companies, not securities, are looked up: a security that passes to another company sees that one's reports.
    """
    companies = np.intersect1d(linked.gvkey[linked.gvkey > 0], reports["gvkey"])
    if not len(companies):
        raise InputError("reports must be of companies that are linked to the panel's firms, found none")
    of_companies = Panel(panel.dates, companies.astype(str), np.zeros((len(panel), len(companies))))
    found = look_up(of_companies, reports, config.items, stale_after=config.stale_after, rule=RULE)
    place = np.minimum(np.searchsorted(companies, linked.gvkey), len(companies) - 1)
    return found, np.where(companies[place] == linked.gvkey, place, -1)


def _available(config: WrdsConfig, reports: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Return the day at whose close each report is known, and to how many of them the lag stands in for rdq."""
    lagged = last_weekday(reports["datadate"].to_numpy().astype("M8[M]") + config.lag_months)
    if config.availability == "lag":
        return lagged, 0
    dated = reports
    if config.compustat == "annual":
        fourth, _ = read_reports(config, quarterly(config))
        dated = reports[["gvkey", "datadate"]].merge(fourth, how="left", on=["gvkey", "datadate"])
    reported = dated["rdq"].to_numpy().astype("M8[D]") + np.timedelta64(1, "D")
    without = np.isnat(reported)
    return np.where(without, lagged, reported), int(without.sum())


def _year_before(reports: pd.DataFrame) -> np.ndarray:
    """Return the assets of the fiscal period that ended twelve months before; missing where the fiscal year changed."""
    if "at" not in reports:
        return np.full(len(reports), np.nan)
    month = reports["datadate"].dt.to_period("M")
    keys = pd.DataFrame({"gvkey": reports["gvkey"], "month": month, "at": reports["at"]})
    before = keys.assign(month=month + 12).drop_duplicates(["gvkey", "month"], keep="last")
    return keys[["gvkey", "month"]].merge(before, how="left", on=["gvkey", "month"])["at"].to_numpy()
