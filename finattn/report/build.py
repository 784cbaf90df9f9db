"""Assemble a run's tables, sentences and figures into one self-contained HTML file.

Nothing is trained, downloaded or measured here: every number comes from the run's files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finattn import evaluation, looks, plots
from finattn.config import BASELINES, OTHERS, RunConfig, standing
from finattn.config_file import read_yaml
from finattn.data.sic import four_digits
from finattn.errors import InputError
from finattn.forecasts import Forecasts
from finattn.panel import Panel
from finattn.plots.tables import group_edges
from finattn.report import audited, backtest, explained, peering, sentences, tables
from finattn.report.page import Figure, embed, render
from finattn.storage import atomic_file, check_like, read_json, read_table


@dataclass(frozen=True)
class Run:
    """What a run's folder holds; tables of files that it lacks are None."""

    name: str
    config: Mapping[str, Any]
    config_text: str
    provenance: Mapping[str, Any]
    panel: Panel
    forecasts: Forecasts
    metrics: pd.DataFrame
    portfolio: pd.DataFrame | None
    restrictions: pd.DataFrame | None
    groups: pd.DataFrame | None
    explanations: pd.DataFrame | None
    selection: Mapping[str, Any] | None
    explained: list[explained.Section]
    audit: audited.Section | None
    network: peering.Section | None

    @property
    def headline(self) -> tuple[str, str]:
        """The pair that was declared for the first sentence, or what stands for it."""
        model, against = self.config.get("headline", RunConfig().headline)
        return standing((str(model), str(against)), self.forecasts.models)

    @property
    def primary(self) -> tuple[str, str]:
        """The pair that was declared for the one claim."""
        model, against = self.config.get("primary", RunConfig().primary)
        return str(model), str(against)

    @property
    def attention(self) -> list[str]:
        """The attention models that were run: all that are not baselines."""
        return [model for model in self.forecasts.models if model not in (*BASELINES, *OTHERS)]


def write(run: str | Path) -> Path:
    """Write `report.html` into a run's folder, from the files there, and return its path.

    The file is whole or absent. It holds everything it shows, plotly.js included, and a content security policy that
    lets it fetch nothing. Where the run has no portfolio or no explanations, the report says so in their place.

    Parameters
    ----------
    run : folder with config.yaml, provenance.json, panel/, forecasts.parquet and metrics.parquet; portfolio,
        restrictions, groups and explanations (.parquet), selection.json, explanations/, audit/ and peers/ as there are.

    Raises
    ------
    InputError
        Where a file that every report needs is absent or cannot be read.
    """
    files = read(Path(run))
    page = render("template.html.j2", _context(files))
    path = Path(run) / "report.html"
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def opening(run: str | Path) -> list[str]:
    """Return what a report says first, for a console: its headline, and where a result is implausibly good."""
    files = read(Path(run))
    return _opening(files, None if files.portfolio is None else _portfolio_summary(files))


def read(folder: Path) -> Run:
    """Read a run's folder."""
    for name in ("config.yaml", "provenance.json", "forecasts.parquet", "metrics.parquet"):
        if not (folder / name).is_file():
            raise InputError(f"a report needs {name} in the run's folder, found none in {folder}")
    return Run(
        name=folder.resolve().name,
        config=_config(folder / "config.yaml"),
        config_text=(folder / "config.yaml").read_text(encoding="utf-8"),
        provenance=_provenance(folder / "provenance.json"),
        panel=Panel.load(folder / "panel"),
        forecasts=Forecasts.load(folder / "forecasts.parquet"),
        metrics=read_table(folder / "metrics.parquet", _COLUMNS["metrics"]),
        portfolio=_optional(folder, "portfolio"),
        restrictions=_optional(folder, "restrictions"),
        groups=_optional(folder, "groups"),
        explanations=_optional(folder, "explanations"),
        selection=_selection(folder / "selection.json"),
        explained=explained.sections(folder),
        audit=audited.read(folder),
        network=peering.read(folder),
    )


# What is read of each file; a provenance may lack any of its parts.
_NUMBER = int | float
_PROVENANCE: dict[str, Any] = {
    "folds": [{
        "fold": int, "train_start": str, "train_end": str, "valid_start": str, "valid_end": str, "test_start": str,
        "test_end": str,
    }],
    "sample": [str],
    "tuning": [{"fold": int, "model": str, "chosen": dict}],
    "counts": {...: _NUMBER},
    "ledger": dict,
}  # fmt: skip
_SELECTION: dict[str, Any] = {
    "trials": int, "undefined": int, "benchmark": _NUMBER,
    "models": [{"model": str, "sharpe": _NUMBER | None, "deflated": _NUMBER | None}],
    "portfolio": dict | None, "overfitting": dict | None,
}  # fmt: skip
_PARTS = {
    "portfolio": {"quantiles": int, "cost": _NUMBER},
    "overfitting": {"probability": _NUMBER, "trials": int, "dates": int},
}
_COLUMNS = {
    "metrics": (
        "model", "against", "metric", "estimate", "standard_error", "t", "p_value", "p_holm", "lower", "upper",
        "bootstrap_lower", "bootstrap_upper", "dates", "undefined",
    ),
    "portfolio": ("date", "model", "delay", "gross", "net", "turnover"),
    "restrictions": (
        "model", "restriction", "rule", "kept", "side", "annual_return", "sharpe", "sharpe_se", "turnover_per_year",
        "max_drawdown",
    ),
    "groups": ("by", "group", "model", "metric", "estimate", "standard_error"),
    "explanations": ("date", "firm", "model", "method", "kind", "key", "score"),
}  # fmt: skip


def _config(path: Path) -> dict[str, Any]:
    found = read_yaml(path)
    try:
        RunConfig(**found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return found


def _provenance(path: Path) -> dict[str, Any]:
    found = read_json(path)
    check_like(found, {key: like for key, like in _PROVENANCE.items() if key in found}, path)
    return found


def _selection(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found = read_json(path)
    check_like(found, _SELECTION, path)
    check_like(found, {key: like for key, like in _PARTS.items() if found[key]}, path)
    return found


def _optional(folder: Path, name: str) -> pd.DataFrame | None:
    path = folder / f"{name}.parquet"
    return read_table(path, _COLUMNS[name]) if path.is_file() else None


def _context(run: Run) -> dict[str, Any]:
    """Collect everything that the template shows."""
    per_date = evaluation.per_date(run.forecasts)
    folds = run.provenance.get("folds", [])
    summary = None if run.portfolio is None else _portfolio_summary(run)
    return {
        "name": run.name,
        "attends": bool(run.attention),
        "facts": _facts(run),
        "findings": _findings(run, summary),
        "caveats": _caveats(run),
        "models": tables.models(run.metrics),
        "differences": tables.differences(run.metrics, run.headline[1]),
        "everything": tables.everything(run.metrics),
        "ranking": _ranking_figures(run, per_date),
        "portfolio": None if summary is None else tables.portfolio(summary),
        "restrictions": None if run.restrictions is None else _restrictions(run.restrictions),
        "groups": [] if run.groups is None else tables.groups(run.groups),
        "search": None if run.selection is None else sentences.search(run.selection, _head(run)),
        "value": None if run.portfolio is None else _value_figure(run.portfolio),
        "folds": embed("folds", plots.fold_timeline(folds), *FOLDS) if folds else None,
        **_attention_figures(run),
        "explained": run.explained,
        "audit": run.audit,
        "network": run.network,
        "audit_caveat": audited.CAVEAT,
        "caveat": explained.CAVEAT,
        "tuning": tables.tuning(run.provenance.get("tuning", [])),
        "provenance": tables.provenance(run.provenance),
        "config": run.config_text,
        "reference": looks.label(run.headline[1]),
    }


def _restrictions(found: pd.DataFrame) -> tables.Table:
    """Lay portfolios out under the restrictions that there can be, and name the others below."""
    shown = backtest.performance(found)
    absent = found[found["kept"].isna()].drop_duplicates("restriction").to_dict("records")
    return replace(shown, note=shown.note + "".join(f" {row['restriction']}: {row['rule']}." for row in absent))


# -- sentences ------------------------------------------------------------


def _findings(run: Run, summary: pd.DataFrame | None) -> list[str]:
    model, against = run.headline
    said = [*_opening(run, summary), sentences.primary(_primary(run), *run.primary)]
    said.append(sentences.counts(run.metrics, run.attention, against))
    if summary is not None:
        delay = int(summary["delay"].max())
        sharpes = {name: _sharpe(summary, name, delay) for name in (model, against, *run.primary)}
        cost = run.config.get("portfolio", {}).get("cost")
        said.append(sentences.portfolio({k: v for k, v in sharpes.items() if v is not None}, delay, cost))
    if run.selection is not None:
        said.append(sentences.deflated(run.selection, model))
    return said


def _opening(run: Run, summary: pd.DataFrame | None) -> list[str]:
    return [sentences.headline(run.metrics, *run.headline), *_too_good(run, summary)]


def _too_good(run: Run, summary: pd.DataFrame | None) -> tuple[str, ...]:
    """Warn of what no market is known to give; a Sharpe ratio without an error, of few days, counts for nothing."""
    levels = run.metrics[run.metrics["against"].isna() & (run.metrics["metric"] == "rank_ic")]
    rank_ic = dict(zip(levels["model"], levels["estimate"], strict=True))
    sharpe: dict[str, float] = {}
    if summary is not None:
        net = summary[(summary["side"] == "net") & (summary["delay"] == summary["delay"].max())]
        net = net[net["sharpe_se"].notna()]
        sharpe = dict(zip(net["model"], net["sharpe"], strict=True))
    return sentences.implausible(rank_ic, sharpe, run.provenance.get("sample", []))


def _head(run: Run) -> str:
    return str(run.provenance.get("ledger", {}).get("head", sentences.MISSING))


def _primary(run: Run) -> sentences.Result | None:
    if not set(run.primary) <= set(run.forecasts.models):
        return None
    found = evaluation.primary(run.forecasts, *run.primary)
    return sentences.result_of(found.estimate._asdict() | {"p_value": found.p_one_sided})


def _caveats(run: Run) -> list[str]:
    """Say what the sample is; today's industry codes are mentioned even where the run forgot to."""
    said = [str(sentence) for sentence in run.provenance.get("sample", [])]
    coded = bool((run.panel.industry != 0).any())
    if coded and not run.panel.industry_as_of and not any("code" in sentence.lower() for sentence in said):
        said.append("Industry codes may be those of today, not those known on each date.")
    dates, overlap = run.forecasts.table["date"].nunique(), run.forecasts.overlap
    if overlap and dates < 20 * (overlap + 1):
        said.append(
            f"Targets of {overlap + 1} decisions overlap, on only {dates} dates: standard errors are too small here "
            "and p-values too low."
        )
    return said


def _facts(run: Run) -> list[tuple[str, str]]:
    """List what a reader asks first: how long, how many, how far ahead."""
    dates = run.forecasts.table["date"]
    firms = run.forecasts.table["firm"].nunique()
    known = run.forecasts.table.loc[run.forecasts.table["realised"].notna(), "date"].nunique()
    horizon, delay = run.forecasts.horizon, run.forecasts.delay
    unit = "day" if run.panel.periods_per_year > 100 else "period"
    return [
        ("Test dates", f"{dates.min():%b %Y} to {dates.max():%b %Y}"),
        ("Decisions with a known outcome", f"{known:,}"),
        ("Firms", f"{firms:,}"),
        ("Folds", f"{run.forecasts.table['fold'].nunique():,}"),
        (
            "Forecast",
            f"return over {horizon} {unit}{'s' * (horizon != 1)}" + (f", from the next {unit}" if delay else ""),
        ),
    ]


# -- portfolios ------------------------------------------------------------


def _portfolio_summary(run: Run) -> pd.DataFrame:
    assert run.portfolio is not None
    return evaluation.portfolio_summary(run.portfolio, run.panel.periods_per_year)


def _sharpe(summary: pd.DataFrame, model: str, delay: int) -> sentences.Result | None:
    rows = summary[(summary["model"] == model) & (summary["delay"] == delay) & (summary["side"] == "net")]
    if rows.empty:
        return None
    row = rows.iloc[0].to_dict()
    return sentences.result_of(row | {"estimate": row["sharpe"], "standard_error": row["sharpe_se"]})


# -- figures ------------------------------------------------------------

FOLDS = (
    "Timeline of the walk-forward folds",
    "When each fold trains, validates and tests. The gaps keep a target's days out of the window that follows.",
)
ATTENTION = (
    "Weights average over heads, seeds and firms; each row sums to one. Dashed: every lag weighs the same. "
    "Dates are a sample."
)
READABLE = 500  # firms in a heat map; beyond that cells are finer than a screen's
PEERS = "Weights average over heads, seeds and dates; each row sums to one."
SCHEMES = {"sic": "SIC code", "gics": "GICS code"}


def _ranking_figures(run: Run, per_date: pd.DataFrame) -> dict[str, Figure]:
    reference = run.headline[1]
    made = {
        "intervals": (
            plots.rank_ic_intervals(run.metrics, reference),
            "Mean rank IC of every model, and its difference to the reference, with 95% intervals",
            "Line: 95% interval by HAC standard errors. Grey band: block bootstrap. No dot: undefined.",
        ),
        "cumulated": (
            plots.cumulated_rank_ic(per_date),
            "Cumulated rank IC of every model over the decision dates",
            "A steady slope is a steady forecast; a flat stretch is none. An undefined rank IC adds 0.",
        ),
        "yearly": (
            plots.rank_ic_by_year(per_date),
            "Mean rank IC of every model in every calendar year",
            "Blue is above zero, orange below. A year's mean is noisy: compare rows before cells.",
        ),
    }
    return {key: embed(key, *parts) for key, parts in made.items()}


def _value_figure(daily: pd.DataFrame) -> Figure:
    delay = int(daily["delay"].max())
    traded = "one day after the decision" if delay else "at the decision's close"
    caption = f"Traded {traded}. Log scale: equal slopes are equal growth. Values at the end of each week."
    figure = plots.portfolio_value(daily[daily["delay"] == delay])
    return embed("value", figure, "Value of every model's long-short portfolio, before and after costs", caption)


def _attention_figures(run: Run) -> dict[str, Figure | None]:
    """Draw what there is: a run without explanations, or of models with one axis only, has fewer pictures."""
    found: dict[str, Figure | None] = {"lags": None, "peers": None}
    table = run.explanations
    if table is None:
        return found
    kinds = set(table.loc[table["method"] == "attention", "kind"])
    if "lag" in kinds:
        found["lags"] = embed("lags", plots.attention_over_lags(table), "Attention weights by lag and date", ATTENTION)
    if "peer" in kinds and run.panel.shape[1] <= READABLE:
        codes = _last_codes(run.panel)
        figure = plots.peer_heat_map(table, [str(firm) for firm in run.panel.firms], codes)
        found["peers"] = embed("peers", figure, *_peers_caption(codes, run.panel.industry_scheme))
    return found


def _peers_caption(codes: Sequence[int], scheme: str) -> tuple[str, str]:
    """Say by what firms are sorted, and what parts them, as `plots.peer_heat_map` draws them."""
    code, known = SCHEMES.get(scheme, "industry code"), sorted(code for code in codes if code)
    by = code if known else "identifier"
    said = f"{PEERS} Firms are sorted by {by}{'' if known else ': the panel has no industry codes'}"
    said += ", those without one last" if 0 < len(known) < len(codes) else ""
    if group_edges(known):
        parted = "the two-digit groups" if scheme == "sic" else "codes that differ before their last two digits"
        said += f"; thin lines part {parted}: attention that follows industries is dark in blocks on the diagonal"
    return f"Attention weights between firms sorted by {by}", f"{said}."


def _last_codes(panel: Panel) -> Sequence[int]:
    """Return each firm's last known industry code, 0 where none ever was; SIC codes with four digits."""
    known = np.asarray(panel.industry) != 0
    last = len(panel) - 1 - np.argmax(known[::-1], axis=0)
    codes = np.asarray(panel.industry[last, np.arange(panel.shape[1])])
    return [int(code) for code in (four_digits(codes) if panel.industry_scheme == "sic" else codes)]
