"""A backtest as text and as JSON: tables, what cannot be had, and one sentence a model that claims no more."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from finattn.evaluation.assessment import Assessment
from finattn.looks import label
from finattn.report.description import print_table, terminal
from finattn.report.sentences import LEVEL, MISSING, implausible, number, p_text, plus_minus
from finattn.report.tables import Table
from finattn.words import count

TABLES = ("daily", "summary", "restrictions", "exposures", "industries")


def show(found: Assessment, record: Mapping[str, Any], console: Console | None = None) -> None:
    """Print how it was traded, the tables, what must be known beside them, and the sentences.

    Parameters
    ----------
    found : of `finattn.evaluation.assessment.assess`. record : of `finattn.backtest_pipeline.run`.
    """
    console = console or terminal()
    console.print(Text(_terms(record)), soft_wrap=True)
    for table in (performance(found.restrictions), exposures(found), industries(found)):
        if table.rows:
            print_table(console, table)
    console.print()
    for note in record["notes"]:
        console.print(Text(f"! {note}"), soft_wrap=True)
    for sentence in record["sentences"]:
        console.print(Text(sentence), soft_wrap=True)


def as_dict(found: Assessment) -> dict[str, list[dict[str, Any]]]:
    """Return the tables, but for the daily one, as JSON can hold them; NaN becomes null."""
    return {name: json.loads(getattr(found, name).to_json(orient="records")) for name in TABLES[1:]}


def performance(restrictions: pd.DataFrame) -> Table:
    """Lay out what each model earns before and after costs, with all firms and under what restrictions there can be."""
    table = restrictions.dropna(subset=["kept"])
    rows = [
        _earning(own.set_index("side").to_dict("index"))
        for model in _models(table)
        for _, own in table[table["model"] == model].groupby("restriction", sort=False)
    ]
    header = (
        "Model",
        "Firms",
        "Kept, %",
        "Gross, %",
        "Sharpe ± SE",
        "Net, %",
        "Sharpe ± SE",
        "Turnover",
        "Drawdown, %",
    )
    note = (
        "Gross and net of costs, not in excess of a risk-free rate, and turnover are a year; drawdown is net. ± is one "
        "standard error (Mertens 2002). A turnover of 4 replaces a long-short book, one of 2 a long-only one. "
        "Restrictions after Avramov, Cheng and Metzker (2023); kept: the share of forecasts whose firm may be held."
    )
    return Table("Portfolios before and after costs, and under economic restrictions", header, rows, note)


def _earning(sides: Mapping[Any, Mapping[Any, Any]]) -> tuple[str, ...]:
    gross, net = sides["gross"], sides["net"]
    before, after = (
        (_percent(side["annual_return"]), plus_minus(side["sharpe"], side["sharpe_se"], 2)) for side in (gross, net)
    )
    rest = number(net["turnover_per_year"], 1), _percent(net["max_drawdown"])
    return label(net["model"]), net["restriction"], _percent(net["kept"]), *before, *after, *rest


def exposures(found: Assessment) -> Table:
    """Lay out what of each model's return is the market's, or the factors', and what is left."""
    rows = [
        _exposed(own)
        for model in _models(found.exposures)
        for _, own in found.exposures[found.exposures["model"] == model].groupby("against", sort=False)
    ]
    header = ("Model", "Against", "Alpha, % a year ± SE", "p, Holm", "Betas ± SE", "R²", "Days")
    note = (
        "After costs; errors of Newey and West. The market is the panel's, weighted as the portfolio is; p is of the "
        "alpha, two-sided, after Holm's correction over the models."
    )
    return Table("Exposures", header, rows, note)


def _exposed(own: pd.DataFrame) -> tuple[str, ...]:
    alpha, *betas = own.to_dict("records")
    size = plus_minus(100 * alpha["estimate"], 100 * alpha["standard_error"], 1)
    text = ", ".join(f"{row['name']} {plus_minus(row['estimate'], row['standard_error'], 2)}" for row in betas)
    p = number(alpha["p_holm"], 3)
    return label(alpha["model"]), alpha["against"], size, p, text, number(alpha["r2"], 2), f"{alpha['days']:,}"


def industries(found: Assessment) -> Table:
    """Lay out the industries in which each model's book is most long and most short, on average."""
    rows: list[tuple[str, ...]] = []
    for model in _models(found.industries):
        own = found.industries[found.industries["model"] == model]
        rows.append((label(model), *_most(own, 1), *_most(own, -1)))
    header = ("Model", "Most net long", "% of the book", "Most net short", "% of the book")
    note = "Mean of the net weights after trades, of industries at the coarsest level."
    return Table("Industries", header, rows, note)


def _most(own: pd.DataFrame, sign: int) -> tuple[str, str]:
    """Name the industry that is held most on a side, and its weight."""
    row = own.iloc[(sign * own["net"]).argmax()]
    return (str(row["industry"]), _percent(row["net"])) if sign * row["net"] > 0 else (MISSING, MISSING)


def _models(table: pd.DataFrame) -> list[str]:
    return [] if table.empty else list(table["model"].unique())


def sentences(found: Assessment, long_only: bool = False, sample: Sequence[str] = ()) -> Iterator[str]:
    """Say of each model what it earns after costs, whether that can be told from zero, and where it is too good.

    Parameters
    ----------
    found : of `finattn.evaluation.assessment.assess`.
    long_only : a book without short positions earns the market's return too, so what is beyond it is said as well.
    sample : what is said of the panel.
    """
    net = found.summary[found.summary["side"] == "net"]
    alphas = _alphas(found.exposures) if long_only else net.head(0)
    for row in net.to_dict("records"):
        text = f"{row['model']}: {_earned(row, net)}"
        for beyond in alphas[alphas["model"] == row["model"]].to_dict("records"):
            text += f"; beyond the panel's market {_size(beyond['estimate'], beyond['standard_error'])}: "
            text += _verdict(beyond["estimate"], beyond["p_holm"], alphas)
        yield f"{text}."
    judged = net[net["sharpe_se"].notna()]
    yield from implausible({}, dict(zip(judged["model"], judged["sharpe"], strict=True)), sample)


def _earned(row: Mapping[Any, Any], family: pd.DataFrame) -> str:
    if row["turnover_per_year"] == 0:
        return "never holds anything"
    if row["max_drawdown"] >= 1:
        return "loses all that it has"
    earned = _size(row["annual_return"], row["return_se"], " after costs")
    sharpe = plus_minus(row["sharpe"], row["sharpe_se"], 2)
    return f"{earned}, Sharpe {sharpe}: {_verdict(row['annual_return'], row['p_holm'], family)}"


def _verdict(estimate: float, p: float, family: pd.DataFrame) -> str:
    """Say whether something can be told from zero, by its p-value after Holm's correction over its family."""
    if not math.isfinite(p):
        return "too few days to tell it from zero"
    side = "not distinguishable from" if p >= LEVEL else "above" if estimate > 0 else "below"
    models = int(family["p_holm"].notna().sum())
    return f"{side} zero ({p_text(p)}{f' after Holm over {models} models' if models > 1 else ''})"


def _alphas(exposed: pd.DataFrame) -> pd.DataFrame:
    """Return the alphas against the market, one a model whose book ever moved."""
    if exposed.empty:
        return pd.DataFrame(columns=["model"])
    return exposed[(exposed["against"] == "market") & (exposed["name"] == "alpha")].dropna(subset=["estimate"])


def _size(fraction: float, error: float, when: str = "") -> str:
    known = f" (standard error {_percent(error)}%)" if math.isfinite(error) else ""
    return f"{_percent(fraction)}% a year{when}{known}"


def _percent(fraction: float) -> str:
    return number(100 * fraction, 1)


def _terms(record: Mapping[str, Any]) -> str:
    """Say in a line what was traded and how."""
    scheme = record["scheme"]
    held = {
        "quantile": f"top against bottom of {scheme['quantiles']} quantiles",
        "rank": "all firms by rank",
        "top_k": f"the {scheme['k']} highest scores",
    }[scheme["kind"]]
    when = f"{count(record['delay'], 'row')} after the decision" if record["delay"] else "at the decision's close"
    limit = f", at most {scheme['participation']:.2%} of a firm's dollar volume" if scheme["participation"] else ""
    return (
        f"{record['forecasts']}: {record['decisions']:,} decisions from {record['first']} to {record['last']}, horizon "
        f"{count(record['horizon'], 'row')}. Held: {held}, {scheme['weighting']} weights, traded {when}{limit}, at "
        f"{scheme['cost'] * 1e4:g} basis points a unit traded and {scheme['short_fee']:.2%} a year on shorts."
    )
