"""A CSV or Parquet file, by the ending of its name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from finattn.data.csv_file import CsvFile
from finattn.data.parquet_file import ParquetFile
from finattn.data.table_files import CSV, PARQUET, TEXT, TableFile, is_table, located
from finattn.errors import InputError


def open_table(
    path: Path, columns: Mapping[str, str], use: Sequence[str] = (), text: Sequence[str] = TEXT
) -> TableFile:
    """Open a file by the ending of its name, and check its columns.

    Raises
    ------
    InputError
        Naming the file, for another ending, for what cannot be read, and for columns that are not there.
    """
    if not is_table(path):
        raise InputError(f"data.path must end in {', '.join((*CSV, *PARQUET))}, found {path}")
    kind: Callable[..., TableFile] = ParquetFile if path.name.lower().endswith(PARQUET) else CsvFile
    with located(path):
        return kind(path, columns, use, text).check()
