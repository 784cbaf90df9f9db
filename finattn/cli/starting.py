"""The text of a first configuration: what was found in a file, what fits its dates, and what could be chosen."""

from collections.abc import Iterator
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any

import yaml

from finattn.cli.plan import Rhythm, folds, has_characteristics, rhythm
from finattn.config import DataConfig, RunConfig
from finattn.data.table_files import one_line

if TYPE_CHECKING:
    from finattn.cli.guess import Guess
    from finattn.panel import Panel

_COMMENT = 44  # the column at which comments begin
_FEW = 50  # firms, below which operations are so small that a second thread costs more than it brings
_SAYS = {
    "source": "a CSV or Parquet file",
    "layout": "a file for each firm",
    "values": "what returns are made of",
    "use": "columns that are read beside dates and firms; the others are left out",
    "industry_scheme": "what the codes are; industry_widths: digits of each level, the finest first",
    "industry_widths": "",
}
# Columns that a panel can do without, and what each is for.
_OPTIONAL = {
    "industry": "codes, SIC unless industry_scheme says otherwise: industry peers need them",
    "market_cap": "for tables by size, and portfolios weighted by value",
    "price": "the raw close: backtests can then leave out penny stocks",
    "dollar_volume": "backtests then know what a day's trading can bear",
    "name": "of a firm, to show in place of its identifier",
    "risk_free": "return over the period, the same for all firms of a date",
}
Line = tuple[str, str]
"""A line of YAML, and its comment."""


def write(name: str, config: DataConfig, found: "Guess", panel: "Panel") -> str:
    """Return a configuration for a panel that was read from a file, a comment on each line that may need one."""
    each = rhythm(panel.dates)
    lines = [
        ("# Written by `finattn new`. What is left out has its default: see `finattn run --help`.", ""),
        (f"name: {_plain(name)}", "the run's folder in runs/"),
        *_data(config, found),
        *_features(found, panel, each),
        *_when(panel, each),
        *_models(panel, each),
    ]
    return "".join(map(_written, lines))


def _written(line: Line) -> str:
    """Return a line with its comment behind it, or before it where it is long."""
    text, says = line
    if len(text) > _COMMENT and says:
        return f"{' ' * (len(text) - len(text.lstrip()))}# {says}\n{text}\n"
    return f"{text:<{_COMMENT - 2}}  # {says}\n" if says else f"{text}\n"


def _plain(value: Any) -> str:
    """Return a value as YAML on one line."""
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9).strip()[1:-1]


def _data(config: DataConfig, found: "Guess") -> Iterator[Line]:
    yield "data:", ""
    changed = {
        item.name: value
        for item in fields(DataConfig)
        if (value := getattr(config, item.name))
        != (item.default if item.default_factory is MISSING else item.default_factory())
    }
    plain = {key: value for key, value in asdict(config).items() if key in changed and key != "columns"}
    for key, value in plain.items():
        value = list(value) if isinstance(value, tuple) else value
        yield f"  {key}: {_plain(value)}", _SAYS.get(key, "")
        if key == "path":
            yield from _columns(config, found)
    if "periods_per_year" not in plain:
        yield f"  periods_per_year: {config.periods_per_year}", ""
    if "industry" in found.roles:
        yield "  # industry_as_of: true", "where codes are as they were on each date, not today's"
    yield "  # start: 2005-01-01", "first and last day to use"
    yield "  # end: 2020-12-31", ""


def _columns(config: DataConfig, found: "Guess") -> Iterator[Line]:
    yield ("  columns:" if config.columns else "  # columns:"), "yours: the panel's name of it"
    for theirs, ours in config.columns.items():
        yield f"    {_plain(theirs)}: {_plain(ours)}", ""
    for ours, says in _OPTIONAL.items():
        if ours not in found.roles:
            yield f"  #   YOURS: {ours}", says
    for says in found.assumed.values():
        yield one_line(f"  # assumed: {says}"), ""
    for name, reason in found.left.items():
        yield one_line(f"  # left out: {name}"), reason


def _features(found: "Guess", panel: "Panel", each: Rhythm) -> Iterator[Line]:
    own = [name for name in panel.feature_names if name in found.features]
    built = list(RunConfig().features) if has_characteristics(panel, each) else []
    yield "features:" if own + built else "features: []", "ranked across firms on each date"
    for name in own:
        yield f"  - {_plain(name)}", "yours"
    for name in built:
        yield f"  - {name}", "made of past returns" if name == built[0] else ""
    if not built:
        why = (
            f"{each.what} data has none of its own" if each.what != "daily" else "they look back a year, and need three"
        )
        yield f"# characteristics such as momentum are made of daily returns: {why}", ""


def _when(panel: "Panel", each: Rhythm) -> Iterator[Line]:
    split = folds(panel, each)
    yield "target:", ""
    yield f"  horizon: {each.horizon}", f"rows of {each.what} data: the return that is forecast"
    yield "  delay: 0", "1 trades a row after the decision"
    yield "splits:", f"the panel has {panel.dates[0]} to {panel.dates[-1]}"
    yield f"  first_test: {_plain(split['first_test'])}", "all that is reported comes from here on"
    yield f"  test: {split['test']}", "models are fitted again so often"
    yield f"  valid: {split['valid']}", "before each test window: chooses strengths, bandwidths and epochs"
    yield "  # train: 10Y", "before that; all there is unless given"
    yield f"  decisions: {split['decisions']}", "when forecasts are made and scored"


def _models(panel: "Panel", each: Rhythm) -> Iterator[Line]:
    coded = bool((panel.industry != 0).any())
    characteristics = bool(panel.feature_names) or has_characteristics(panel, each)
    peers = [*(["sic_average"] if coded else []), *(["sic_kernel"] if coded and characteristics else [])]
    names = ["zero", "historical_mean", "ridge", *peers, "time", "firm", "both"]
    yield f"forecasters: {_plain(names)}", ""
    if not coded:
        yield "# sic_average and sic_kernel, peers by industry, need industry codes", ""
    yield (
        f"primary: {_plain(['firm', (peers or ['ridge'])[-1]])}",
        "the one comparison that can be a claim",
    )
    yield "model:", ""
    yield f"  lookback: {each.lookback}", "rows that attention along time sees"
    yield "baselines:", ""
    yield f"  ridge_lookback: {each.lookback}", ""
    yield f"  peer_windows: {_plain(list(each.windows))}", "rows of peers' returns, chosen on validation"
    yield "training:", ""
    yield f"  threads: {int(panel.shape[1] <= _FEW)}", "0 is torch's choice; few firms lose by a second thread"
    yield "  epochs: 8", "at most"
    yield "  minimum_epochs: 4", "and at least"
    yield "  seeds: [0]", "several are averaged: [0, 1, 2]"
