"""A long CSV or Parquet file, a row for each firm-date."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pyarrow.lib import ArrowException

from finattn.errors import InputError
from finattn.panel import Panel

_CSV = (".csv", ".csv.gz")
_PARQUET = (".parquet", ".pq")
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", ".")


def load_file(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    periods_per_year: int = 252,
    industry_scheme: str = "sic",
    industry_as_of: bool = False,
) -> Panel:
    r"""Read a long file with columns date, firm, return and, as there are, those of `Panel.from_frame`.

    Parameters
    ----------
    path : a file that ends in .csv, .csv.gz, .parquet or .pq.
    columns : the panel's name of each column that is called otherwise, ``{"PERMNO": "firm", "RET": "return"}``.
    periods_per_year, industry_scheme, industry_as_of : fields of the panel that a file cannot hold.

    Raises
    ------
    InputError
        Naming the file, and what `Panel.from_frame` found in it; rows are counted from 0 after the header.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "returns.csv"
    ...     _ = file.write_text("day,ticker,return\n2020-01-02,A,0.01\n2020-01-03,A,-0.02\n")
    ...     load_file(file, columns={"day": "date", "ticker": "firm"}).shape
    (2, 1)
    """
    path = Path(path)
    columns = dict(columns or {})
    frame = _read(path, columns)
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise InputError(f"{path}: data.columns must name columns of the file, found no {', '.join(absent)} in it")
    source = {"file": path.name, "rows": len(frame)}
    try:
        return Panel.from_frame(
            frame.rename(columns=columns),
            periods_per_year=periods_per_year,
            industry_scheme=industry_scheme,
            industry_as_of=industry_as_of,
            source=source,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _read(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read the table, or say in one line why it cannot be read."""
    if not path.is_file():
        raise InputError(f"data.path must be a file, found none at {path}")
    name = path.name.lower()
    if not name.endswith((*_PARQUET, *_CSV)):
        raise InputError(f"data.path must end in {', '.join((*_CSV, *_PARQUET))}, found {path}")
    try:
        return pd.read_parquet(path) if name.endswith(_PARQUET) else _read_csv(path, columns)
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zlib.error, ArrowException) as error:
        message = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: must be a readable CSV or Parquet file: {message}") from None


def _read_csv(path: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read identifiers, names and dates as the text they are: firms '0001' and 'NA' are neither 1 nor missing."""
    # The header as it stands: pandas would call a second `return` "return.1", and one without a name "Unnamed: 0".
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
    if "" in header or len(set(header)) < len(header):
        raise InputError(f"{path}: every column must have a name of its own, found {', '.join(map(repr, header))}")
    text = {name: "str" for name in header if columns.get(name, name) in ("firm", "name", "date")}
    missing = {name: [""] if name in text else list(MISSING) for name in header}
    frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=missing, low_memory=False)
    if not isinstance(frame.index, pd.RangeIndex):  # pandas took the first columns for an index
        raise InputError(f"{path}: rows must have as many fields as the header's {len(header)}, found more")
    return frame
