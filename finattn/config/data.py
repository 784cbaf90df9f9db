"""Where a panel comes from."""

import os
from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

from finattn.config.require import nest, require, require_types
from finattn.config.sec import SecConfig
from finattn.config.simulated import SimulatedConfig
from finattn.config.wrds import WrdsConfig
from finattn.config.yahoo import YahooConfig

Source = Literal["sample", "simulated", "file", "panel", "yahoo", "wrds"]
FAMA_FRENCH_SCHEMES = (5, 10, 12, 17, 30, 38, 48, 49)

# The sources that a key is for; a key that is not here is for all.
_ONLY_FOR: dict[str, tuple[Source, ...]] = {
    "path": ("file", "panel"),
    **dict.fromkeys(("layout", "values", "use", "duplicates", "infinite", "thin_dates"), ("file",)),
    **dict.fromkeys(("longest_gap", "industries", "industries_columns", "industry_levels"), ("file", "yahoo")),
    "simulated": ("simulated",),
    "wrds": ("wrds",),
    "yahoo": ("yahoo",),
}


@dataclass(frozen=True)
class ReportsConfig:
    """A table of reports whose figures become features from the day on which each was known.

    Parameters
    ----------
    path : CSV or Parquet, a row a report; None for no reports.
    columns : the feature that each column of figures becomes: ``{"assets": "total_assets"}``.
    where : rows to use, by the text of a column: ``{"period_focus": "FY"}``. Figures of different kinds, such as flows
        of a quarter and of a year, must not be mixed.
    stale_after : age beyond which a figure is missing, "15M"; None for never.
    rule : which columns say when, and which row wins, by the names of `finattn.data.asof.Rule`.

    Raises
    ------
    InputError
        For a path without columns, or columns without a path.

    Examples
    --------
    >>> from finattn.config import DataConfig, ReportsConfig
    >>> reports = ReportsConfig("reports.csv", {"assets": "total_assets"}, where={"period_focus": "FY"})
    >>> DataConfig("file", path="prices.csv", reports=reports).reports.stale_after
    '15M'
    >>> ReportsConfig("reports.csv")
    Traceback (most recent call last):
    finattn.errors.InputError: data.reports.columns must be given with data.reports.path and only with it, found {}
    """

    path: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    stale_after: str | None = "15M"
    rule: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a table of which nothing is used."""
        require_types(self, "data.reports.")
        given = bool(self.columns) == (self.path is not None)
        require("data.reports.columns", self.columns, given, "given with data.reports.path and only with it")


@dataclass(frozen=True)
class DataConfig:
    """Where the panel comes from.

    Parameters
    ----------
    source : "sample" (20 S&P 500 stocks, 1990 to 2022), "simulated" (truth known), "file" (CSV or Parquet), "panel" (a
        folder written by `Panel.save`), "yahoo" or "wrds" (what `finattn data fetch` brought).
    path : of source "file" a file, a folder of files, or a pattern such as "prices/*.csv"; of "panel" the folder.
    columns : for a file, the panel's name of each column that is called otherwise: ``{"ret": "return"}``; of a wide
        layout, the panel's name of each file.
    start, end : first and last day to use, such as "1995-01-01"; None for all there are.
    periods_per_year : rows a year of a file, 252 for daily data.
    industry_scheme, industry_as_of : what a file's industry codes are, and whether they are as known on each date; SIC
        codes below 100 are major groups.
    industry_widths : of the scheme "custom", the digits of each level from the finest to the coarsest.

    simulated, yahoo, wrds : settings of these sources.
    sec : fundamentals and SIC codes from the SEC's data sets, for any source whose firms are US tickers or CIKs.
    reports : figures of reports from a file, that become features from the day on which they were known.
    sector_features : 12, or another number of Fama-French groups: SIC codes become a feature a group, 1 inside it and 0
        outside, so that peers can be told by sector; None for no such features. See
        `finattn.data.industries.sector_features`.

    The other keys are for source "file" alone, but for longest_gap and industries, which "yahoo" has too:

    layout : "long" (a row for each firm-date), "wide" (a column for each firm and a file for each variable) or
        "by_firm" (a file for each firm, called as the firm).
    values : "returns" (a column return, fractions), "adjusted_prices" (a column adjusted_price, that makes returns
        and nothing else) or "raw_prices" (columns price, split and dividend); see `finattn.data.prices`. With either
        kind of prices, `price` is the raw close and `volume`, in shares, makes dollar_volume with it.
    use : columns by the file's names that are read beside those of date and firm; all where empty.
    duplicates : "refuse" a firm-date that is there twice, or use the "last" one and count the others.
    infinite : "refuse" infinite numbers, or take them as "missing" and count them.
    longest_gap : rows without a price that a return made of prices may bridge; 0 leaves it missing.
    thin_dates : share of the usual number of firms (the median of the 21 dates before) below which a date is left
        out, as holidays on which a few symbols have rows; 0 keeps all.
    industries : a file with firm and, as there are, industry and name; with start and end, a row for each stretch of
        days. industries_columns : our names of its columns. industry_levels : its columns of words, from the coarsest
        level to the finest, that codes of the scheme "custom" are made of.

    Raises
    ------
    InputError
        For an unknown source, one without its path, and keys that do not go together.

    Examples
    --------
    >>> import finattn as fa
    >>> from finattn.config import DataConfig, SimulatedConfig
    >>> fa.load(DataConfig("simulated", end="2000-01-31", simulated=SimulatedConfig(firms=60, days=40))).shape
    (21, 60)
    >>> DataConfig("file")
    Traceback (most recent call last):
    finattn.errors.InputError: data.path must be given for source 'file' or 'panel' and only then, found None
    """

    source: Source = "sample"
    path: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None
    periods_per_year: int = 252
    industry_scheme: Literal["sic", "gics", "custom"] = "sic"
    industry_as_of: bool = False
    industry_widths: tuple[int, ...] = ()
    layout: Literal["long", "wide", "by_firm"] = "long"
    values: Literal["returns", "adjusted_prices", "raw_prices"] = "returns"
    use: tuple[str, ...] = ()
    duplicates: Literal["refuse", "last"] = "refuse"
    infinite: Literal["refuse", "missing"] = "refuse"
    longest_gap: int = 0
    thin_dates: float = 0.0
    industries: str | None = None
    industries_columns: dict[str, str] = field(default_factory=dict)
    industry_levels: tuple[str, ...] = ()
    reports: ReportsConfig = field(default_factory=ReportsConfig)
    sector_features: int | None = None
    sec: SecConfig = field(default_factory=SecConfig)
    simulated: SimulatedConfig = field(default_factory=SimulatedConfig)
    wrds: WrdsConfig = field(default_factory=WrdsConfig)
    yahoo: YahooConfig = field(default_factory=YahooConfig)

    def __post_init__(self) -> None:
        """Refuse a source without its path, and keys that do not go together."""
        nest(self)
        for name in ("path", "industries"):
            if isinstance(value := getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(value))
        require_types(self, "data.", skip=("start", "end"))  # days may be dates or years too
        needs = (self.path is None) != (self.source in _ONLY_FOR["path"])
        require("data.path", self.path, self.path != "", "a file or folder")
        require("data.path", self.path, needs, "given for source 'file' or 'panel' and only then")
        require("data.longest_gap", self.longest_gap, self.longest_gap >= 0, "at least 0")
        require("data.thin_dates", self.thin_dates, 0 <= self.thin_dates < 1, "at least 0 and below 1")
        groups, known = self.sector_features, ", ".join(map(str, FAMA_FRENCH_SCHEMES))
        require("data.sector_features", groups, groups in (None, *FAMA_FRENCH_SCHEMES), f"one of {known} or none")
        for name, sources in _ONLY_FOR.items():
            value, words = getattr(self, name), " or ".join(map(repr, sources))
            fits = self.source in sources or value == _default(name)
            require(f"data.{name}", value, fits, f"left out unless source is {words}")
        require("data.use", self.use, not self.use or self.layout != "wide", "left out of the layout 'wide'")
        for name in ("industries_columns", "industry_levels"):
            value = getattr(self, name)
            require(f"data.{name}", value, self.industries is not None or not value, "left out without industries")
        self._check_scheme()

    def _check_scheme(self) -> None:
        """Refuse widths and levels that do not go with the industry scheme."""
        scheme, widths, levels = self.industry_scheme, self.industry_widths, self.industry_levels
        fits = not levels or (scheme == "custom" and not widths)
        expected = "'custom', without industry_widths, where industry_levels make the codes"
        require("data.industry_scheme", scheme, fits, expected)
        custom = self.source not in _ONLY_FOR["industries"] or levels or (scheme == "custom") == bool(widths)
        require("data.industry_widths", widths, custom, "given with industry_scheme 'custom' and only with it")


def _default(name: str) -> Any:
    item = DataConfig.__dataclass_fields__[name]
    return item.default if item.default_factory is MISSING else item.default_factory()
