"""Files of returns or prices: long, wide, or one a firm, CSV or Parquet.

Configurations that read what lies about, each a `data` section:

A long file of returns, its codes in a table of its own that has words for sectors and industries::

    source: file
    path: us_large_daily_2007_2016.parquet
    industries: us_large_industries.csv
    industry_levels: [sector, sub_industry]
    industry_scheme: custom
    use: [return, dollar_volume]

Adjusted closes beside raw ones and volumes; the calendar has holidays on which a few symbols have rows. These were
adjusted as of the day on which each was fetched, so that some splits are left in them: look at the largest returns.
(The file's own returns: ``use: [return], infinite: missing`` in place of values and columns.) ::

    source: file
    path: us_all_daily_2015_2017.parquet
    values: adjusted_prices
    columns: {close: price, adj_close: adjusted_price}
    use: [close, adj_close, volume]
    thin_dates: 0.5
    reports:
      path: us_all_reports_2015_2017.parquet
      columns: {assets: assets, equity: equity}
      rule: {amended: amend, unusable: drop}

A folder with a file a ticker, raw closes with splits and dividends::

    source: file
    path: prices/
    layout: by_firm
    values: raw_prices
    columns: {Date: date, Close: price, Stock Splits: split, Dividends: dividend, Volume: volume}
    use: [Close, Stock Splits, Dividends, Volume]

A folder of wide files, return.csv and market_cap.csv, dates down and firms across::

    source: file
    path: wide/
    layout: wide
"""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finattn.checks import AXES, CellError
from finattn.config import DataConfig
from finattn.data.industry_table import with_industries
from finattn.data.long import find_row, read_long
from finattn.data.open_table import open_table
from finattn.data.prices import NEEDED, apply_prices
from finattn.data.table_files import (
    CSV,
    PARQUET,
    TEXT,
    TableFile,
    existing,
    is_table,
    located,
    one_line,
    origin,
)
from finattn.data.wide import find_cell, read_wide, variables
from finattn.errors import InputError
from finattn.panel import Panel

_THIN_WINDOW = 21  # dates before, with which a date is compared


def load_file(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    periods_per_year: int = 252,
    industry_scheme: str = "sic",
    industry_as_of: bool = False,
) -> Panel:
    r"""Read a long file with columns date, firm, return and, as there are, those of `Panel.from_frame`.

    `load_files` reads all other layouts, prices, and several files.

    Parameters
    ----------
    path : a file that ends in .csv, .csv.gz, .parquet or .pq.
    columns : the panel's name of each column that is called otherwise, ``{"PERMNO": "firm", "RET": "return"}``.
    periods_per_year, industry_scheme, industry_as_of : fields of the panel that a file cannot hold.

    Raises
    ------
    InputError
        Naming the file, and what was found in it; rows are counted from 0 after the header.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "returns.csv"
    ...     _ = file.write_text("day,ticker,return\n2020-01-02,A,0.01\n2020-01-03,A,-0.02\n")
    ...     load_file(file, columns={"day": "date", "ticker": "firm"}).shape
    (2, 1)
    """
    existing(str(path), "data.path")
    return load_files(
        DataConfig(
            "file",
            glob.escape(str(path)),
            dict(columns or {}),
            periods_per_year=periods_per_year,
            industry_scheme=industry_scheme,  # type: ignore[arg-type]  # the panel refuses another
            industry_as_of=industry_as_of,
        )
    )


def load_files(config: DataConfig) -> Panel:
    r"""Read the files that a configuration names into one panel; see `DataConfig` for what each key means.

    A firm-date without a row is not listed, and one with a row is, unless a column `listed` says otherwise; in wide
    files a firm is listed where any file holds something for it. Rows need no order. Long files are streamed: memory is
    that of the panel, and eight bytes a row. Text is UTF-8; in a CSV file numbers have a point, and every row as many
    fields as the header.

    Refused by its size is a .gz file or a Parquet file that unpacks to more than 64 MiB and more than 100 times its
    own size, and a panel of more than 2**27 firm-dates of which fewer than one in 1000 has a row.

    Parameters
    ----------
    config : with source "file". `start` and `end` are for `finattn.data.load`: all dates are read.

    Returns
    -------
    Panel. ``source`` has the name of the file, or the folder and the number of files, the rows, where returns were
    infinite (``infinite_returns``: firm, date, sign), and `counts` of what is not zero: duplicates not used,
    empty_files, other_files of a folder, infinite_values, zero_prices (which are none), returns_after_gaps that are
    missing, thin_dates left out with rows_on_them and firms_of_thin_dates, and, in wide files, rows_of_other_dates and
    columns_of_other_firms.

    Raises
    ------
    InputError
        Naming the file, the row, counted from 0 after the header, and the column of what cannot be.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for ticker, closes in {"A": (10, 11), "B": (8, 6)}.items():
    ...         text = f"day,close\n2020-01-02,{closes[0]}\n2020-01-03,{closes[1]}\n"
    ...         _ = (Path(folder) / f"{ticker}.csv").write_text(text)
    ...     columns = {"day": "date", "close": "adjusted_price"}
    ...     panel = load_files(DataConfig("file", folder, columns, layout="by_firm", values="adjusted_prices"))
    >>> panel.firms.tolist(), panel.returns[1].round(3).tolist()
    (['A', 'B'], [0.1, -0.25])
    """
    paths, other = find_files(str(config.path))
    wide = config.layout == "wide"
    tables = [
        open_table(path, {} if wide else config.columns, config.use, ("date",) if wide else TEXT) for path in paths
    ]
    if wide:
        fields = read_wide(tables, config.values, config.duplicates, config.columns)
    else:
        fields = read_long(tables, config.values, config.duplicates, config.layout == "by_firm")
    source = _describe(config, paths) | {"rows": sum(table.rows for table in tables)}
    if config.infinite == "missing":
        source |= _drop_infinities(fields)
    with located(origin(tables)):
        try:
            panel = _panel(fields, config, source, {"other_files": other} if len(paths) > 1 else {})
        except CellError as error:
            raise InputError(f"{error} ({_origin(error, tables, fields, config)})") from None
    return panel if config.industries is None else with_industries(panel, config)


def _origin(error: CellError, tables: Sequence[TableFile], fields: Mapping[str, Any], config: DataConfig) -> str:
    """Name the row and column of the files that a value of the panel comes from."""
    made = NEEDED[config.values][0] if error.name == "returns" else error.name
    if made == "features":
        made = fields["feature_names"][error.place[2]]
    elif made == "factors":
        made = f"factor:{fields['factor_names'][error.place[1]]}"
    elif made == "dollar_volume" and config.values != "returns":
        made = "volume" if "dollar_volume" not in tables[0].names else made
    date = fields["dates"][error.place[0]]
    firm = fields["firms"][error.place[1]] if made != "risk_free" and error.name != "factors" else None
    if config.layout == "wide":
        files = variables(tables, config.values, config.columns)
        return find_cell(files[made], date, str(firm))
    row = find_row(tables, config.layout == "by_firm", date, firm)
    return f"{row}, column {tables[0].names[made]!r}"


def _drop_infinities(fields: dict[str, Any]) -> dict[str, Any]:
    """Make infinite numbers missing, in place, and count them; return for the source where returns were infinite."""
    count, noted = 0, []
    for name, value in fields.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            infinite = np.isinf(value)
            count += int(infinite.sum())
            if name == "returns":
                for t, n in np.argwhere(infinite):
                    sign = 1 if value[t, n] > 0 else -1
                    noted.append({"firm": str(fields["firms"][n]), "date": str(fields["dates"][t]), "sign": sign})
            value[infinite] = np.nan
    fields["counts"]["infinite_values"] = count
    return {"infinite_returns": noted} if noted else {}


def find_files(path: str) -> tuple[list[Path], int]:
    """Return the files of a path, by name, and how many others a folder has.

    Parameters
    ----------
    path : a file; a folder, of which the CSV and Parquet files are meant, hidden ones and those that begin with "_"
        left out; or a pattern such as "prices/*.csv" ("**" for folders within folders).

    Raises
    ------
    InputError
        Where there is none.
    """
    try:
        paths, other = _find(path)
    except (OSError, ValueError):  # a name that none can have
        paths, other = [], 0
    if not paths:
        kinds = ", ".join((*CSV, *PARQUET))
        raise InputError(
            one_line("data.path must be a file, found none at ", path, f" (nor a folder or pattern of {kinds})")
        )
    return paths, other


def _find(path: str) -> tuple[list[Path], int]:
    place = Path(path)
    if place.is_file():
        return [place], 0
    if not place.is_dir():
        return sorted(file for name in glob.glob(path, recursive=True) if (file := Path(name)).is_file()), 0
    shown = [file for file in sorted(place.iterdir()) if file.is_file() and not file.name.startswith((".", "_"))]
    paths = [file for file in shown if is_table(file)]
    return paths, len(shown) - len(paths)


def _describe(config: DataConfig, paths: list[Path]) -> dict[str, Any]:
    """Say for the panel's source where it comes from, and what was made of what."""
    place: dict[str, Any] = {"file": paths[0].name}
    if len(paths) > 1:
        place = {"files": len(paths), "folder": paths[0].parent.name}
    if config.values != "returns":
        place |= {"values": config.values, "longest_gap": config.longest_gap}
    return place


def _panel(fields: dict[str, Any], config: DataConfig, source: dict[str, Any], counts: dict[str, int]) -> Panel:
    """Leave out thin dates, make returns of prices, and validate."""
    counts |= fields["counts"]
    fields["counts"] = counts
    if config.thin_dates:
        _drop_thin_dates(fields, config.thin_dates)
    if config.values != "returns":
        apply_prices(fields, config.values, config.longest_gap)
    del fields["counts"]
    noted = {name: count for name, count in counts.items() if count}
    return Panel(
        **fields,
        periods_per_year=config.periods_per_year,
        **({} if config.industries else _industry_fields(config)),
        source=source | ({"counts": noted} if noted else {}),
    )


def _industry_fields(config: DataConfig) -> dict[str, Any]:
    names = ("industry_scheme", "industry_widths", "industry_as_of")
    return {name: getattr(config, name) for name in names}


def _drop_thin_dates(fields: dict[str, Any], share: float) -> None:
    """Leave out dates with few firms, and firms that were there on no other date, in place."""
    listed = fields["listed"]
    firms = pd.Series(listed.sum(axis=1))
    usual = firms.shift().rolling(_THIN_WINDOW, min_periods=1).median()
    dates = ~(firms < share * usual).to_numpy()  # the first date is compared with nothing, and stays
    fields["counts"]["thin_dates"] = int((~dates).sum())
    fields["counts"]["rows_on_them"] = int(listed[~dates].sum())
    stay = listed[dates].any(axis=0) | ~listed.any(axis=0)
    fields["counts"]["firms_of_thin_dates"] = int((~stay).sum())
    if dates.all():
        return
    for name, value in list(fields.items()):
        axes = {"dates": "t", "firms": "n", "names": "n"}.get(name, AXES.get(name, "t n")).split()
        if isinstance(value, np.ndarray):
            value = value[dates] if axes[0] == "t" else value
            fields[name] = np.compress(stay, value, axis=axes.index("n")) if "n" in axes else value
    if fields.get("names") is not None:
        fields["names"] = tuple(name for name, kept in zip(fields["names"], stay, strict=True) if kept)
