"""Wide files, a column for each firm and a file for each variable, to the fields of a panel."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from finattn.checks import LEVELS, as_dates, as_firms, some
from finattn.data.columns import firm_fault
from finattn.data.prices import NEEDED, PRICED
from finattn.data.table_files import TableFile, located, stem
from finattn.data.targets import read_codes
from finattn.errors import InputError
from finattn.frames import read_numbers

_NOT_WIDE = ("date", "firm", "name", "risk_free")


def read_wide(tables: Sequence[TableFile], values: str, duplicates: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a panel from wide files: dates down, firms across, a file for each variable.

    Dates stand in the column called date, else in the index that pandas saved, else in the first column. Dates and
    firms are those of the file that makes returns; what the other files hold beyond them is left out and counted. A
    firm is listed on the dates on which any file holds something for it, unless a file `listed` (0 or 1) says where.

    Parameters
    ----------
    tables : files, each called as its variable: return.csv, market_cap.csv, size.csv; a single file is what `values`
        says, whatever its name. values, duplicates : as for long files, duplicates being dates. names : the panel's
        name of each file that is called otherwise, ``{"mcap": "market_cap"}``.

    Returns
    -------
    Fields of `Panel`, (t, n) arrays that prices are made of, and counts.

    Raises
    ------
    InputError
        Naming the file, and the date or firm.
    """
    files = variables(tables, values, names)
    frames: dict[str, pd.DataFrame] = {}
    counts = {"duplicates": 0, "rows_of_other_dates": 0, "columns_of_other_firms": 0}
    for name, table in sorted(files.items(), key=lambda item: item[0] != NEEDED[values][0]):
        with located(table.path):
            dates, frame = _read(table, name)
            kept = _unique(dates, duplicates)
            counts["duplicates"] += len(dates) - len(kept)
            frame = frame.iloc[kept].set_axis(dates[kept], axis=0)
        if frames:
            first = next(iter(frames.values()))
            counts["rows_of_other_dates"] += int((~frame.index.isin(first.index)).sum())
            counts["columns_of_other_firms"] += int((~frame.columns.isin(first.columns)).sum())
            frame = frame.reindex(index=first.index, columns=first.columns)
        frames[name] = frame
    return _fields(frames, values) | {"counts": counts}


def find_cell(table: TableFile, date: np.datetime64, firm: str) -> str:
    """Name the row, the last one, and the column of a firm-date in a wide file, which is read again."""
    dates = as_dates(table.frame()[_key(table)])
    return f"{table.path.name} row {int(np.flatnonzero(dates == date)[-1])}, column {firm!r}"


def variables(tables: Sequence[TableFile], values: str, names: Mapping[str, str]) -> dict[str, TableFile]:
    """Return the file of each variable."""
    if len(tables) == 1 and len(NEEDED[values]) == 1:
        return {NEEDED[values][0]: tables[0]}
    called = [names.get(stem(table.path), stem(table.path)) for table in tables]
    folder = tables[0].path.parent
    twice = sorted(name for name, count in Counter(called).items() if count > 1)
    if twice:
        raise InputError(
            f"{folder}: wide files must each be a variable of their own, found more than one {some(twice)}"
        )
    missing = [name for name in NEEDED[values] if name not in called]
    if missing:
        raise InputError(
            f"{folder}: wide files must be called {', '.join(NEEDED[values])} (data.columns maps other names), "
            f"found {some(called)}"
        )
    other = [name for name in called if name in _NOT_WIDE or name.startswith("factor:")]
    if other:
        raise InputError(f"{folder}: wide files must hold a value for each firm-date, found {some(other)}")
    return dict(zip(called, tables, strict=True))


def _read(table: TableFile, name: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the dates of a file's rows, and its numbers with firms as columns."""
    frame = table.frame()
    if frame.shape[1] < 2 or not len(frame):
        raise InputError(f"a wide file must have dates and at least one firm and row, found {frame.shape} cells")
    key = _key(table)
    missing = frame[key].isna().to_numpy()
    if missing.any():
        raise InputError(f"dates must be whole days like '2001-05-31', found none in row {int(np.argmax(missing))}")
    dates = as_dates(frame[key])
    values = frame.drop(columns=key)
    for firm in values.columns:
        if fault := firm_fault(firm):
            raise InputError(f"{fault} in the header")
    read = read_codes if name == "industry" else read_numbers
    numbers = {firm: read(str(firm), values[firm]) for firm in values.columns}
    result = pd.DataFrame(numbers, copy=False)
    if name == "listed" and not (result.isna() | result.isin((0.0, 1.0))).all(axis=None):
        raise InputError("listed must hold 0, 1 or nothing, found another number")
    return dates, result.set_axis(as_firms(list(values.columns)).tolist(), axis=1)


def _key(table: TableFile) -> str:
    """Return the column of dates."""
    names = list(table.names)
    return next((name for name in ("date", table.index) if name in names), names[0])


def _unique(dates: np.ndarray, duplicates: str) -> np.ndarray:
    """Return the rows to use, by date: of rows of one date the last one, or a refusal."""
    order = np.argsort(dates, kind="stable")
    last = np.append(dates[order][1:] != dates[order][:-1], True)
    if not last.all() and duplicates == "refuse":
        place = int(np.argmin(last))
        raise InputError(
            f"dates must be unique, found {int((~last).sum())} duplicates: {dates[order[place]]} (rows {order[place]}, "
            f"{order[place + 1]}); data.duplicates 'last' uses the last of them"
        )
    return order[last]


def _fields(frames: Mapping[str, pd.DataFrame], values: str) -> dict[str, Any]:
    """Return the panel's fields, firms sorted."""
    main = next(iter(frames.values()))
    firms = np.array(sorted(main.columns), dtype=str)
    arrays = {name: np.ascontiguousarray(frame[firms.tolist()].to_numpy(np.float64)) for name, frame in frames.items()}
    fields: dict[str, Any] = {"dates": main.index.to_numpy().astype("M8[D]"), "firms": firms}
    if "listed" in arrays:
        fields["listed"] = arrays.pop("listed") == 1
    else:
        fields["listed"] = ~np.logical_and.reduce([np.isnan(v) for name, v in arrays.items() if name != "industry"])
    if "industry" in arrays:
        fields["industry"] = np.nan_to_num(arrays.pop("industry")).astype(np.int32)
    own = {"return": "returns", **{name: name for name in (*LEVELS, *(PRICED if values != "returns" else ()))}}
    fields |= {field: arrays.pop(name) for name, field in own.items() if name in arrays}
    if arrays:
        fields["features"], fields["feature_names"] = np.stack(list(arrays.values()), axis=2), tuple(arrays)
    return fields
