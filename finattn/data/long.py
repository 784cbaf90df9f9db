"""Long files, a row for each firm-date, to the fields of a panel, without ever holding a row's columns together.

The first pass reads dates and firms alone: it finds both axes, and the cell of the panel that each row goes to. The
second puts every batch of every other column straight into its cells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finattn.checks import LEVELS, as_dates
from finattn.data.columns import firm_fault
from finattn.data.prices import NEEDED, PRICED
from finattn.data.table_files import BATCH, TableFile, encode, in_column, located, one_line, origin, stem
from finattn.data.targets import Codes, Flags, Numbers, PerKey, Target
from finattn.errors import InputError
from finattn.frames import as_whole

_SPARSE = 2**27  # cells of a panel that may be as empty as it is
_SPARSEST = 1000  # cells a row of a larger one
_SMALL = np.iinfo(np.int32).max  # cells that the smaller integers can number


def read_long(tables: Sequence[TableFile], values: str, duplicates: str, by_firm: bool) -> dict[str, Any]:
    """Return the fields of a panel from long files with the same columns.

    Parameters
    ----------
    tables : files, in order. values : "returns", "adjusted_prices" or "raw_prices", which says what columns there must
        be; what prices are made of is among the fields.
    duplicates : "refuse", or "last": of several rows of a firm-date the last one is used; `counts` says how many were
        not. by_firm : whether each file is one firm, called as the file.

    Returns
    -------
    Fields of `Panel`, (t, n) arrays of `PRICED`, and counts.

    Raises
    ------
    InputError
        Naming the file, the row and the column.
    """
    _check_columns(tables, values, by_firm)
    rows = Rows(tables, by_firm)
    fields: dict[str, Any] = {"dates": rows.dates, "firms": rows.firms, "listed": _mark(rows)}
    repeated = len(rows) - int(fields["listed"].sum())
    if repeated and duplicates == "refuse":
        with located(origin(tables)):
            _refuse_duplicates(rows, repeated)
    fields["counts"] = {"duplicates": repeated, "empty_files": sum(table.rows == 0 for table in tables)}
    into = _allocate(tables, rows, values, fields)
    for table, start in zip(tables, rows.starts, strict=True):
        with located(table.path):
            _fill(table, into, rows.cells[start:])
    return fields | _per_key(into)


def _check_columns(tables: Sequence[TableFile], values: str, by_firm: bool) -> None:
    """Refuse files that lack what they must have, or do not have the same columns."""
    first = tables[0]
    for table in tables:
        with located(table.path):
            names = ("date", *(() if by_firm else ("firm",)), *NEEDED[values])
            missing = [name for name in names if name not in table.names]
            if missing:
                raise InputError(_without(names, missing, table.names))
            if by_firm and "firm" in table.names:
                raise InputError("layout 'by_firm' takes the firm from the file's name, found a column 'firm' too")
            differs = sorted(set(first.names) ^ set(table.names))
            if differs:
                raise InputError(
                    f"files must have the same columns as {first.path.name}, found {', '.join(differs)} in one of them "
                    "only; data.use can name those that all have"
                )


def _without(names: Sequence[str], missing: Sequence[str], found: Mapping[str, str]) -> str:
    """Say that columns are missing, which ones there are instead, and how to say what they are."""
    others = [theirs for ours, theirs in found.items() if ours not in names]
    shown = f" among {', '.join(others[:8])}" + (f" and {len(others) - 8} more" if len(others) > 8 else "")
    return one_line(
        f"a long file must have columns {', '.join(names)}; found no {', '.join(missing)}{shown if others else ''}: "
        f"name columns that are called otherwise by --data.columns '{{YOURS: {missing[0]}}}'"
    )


# -- the two axes ------------------------------------------------------------


class Labels:
    """Labels of an axis, numbered as they turn up.

    Examples
    --------
    >>> labels = Labels()
    >>> labels.number(["B", "A"], np.array([1, 0, -1])).tolist(), labels.number(["A"], np.array([0])).tolist()
    ([1, 0, -1], [1])
    """

    def __init__(self) -> None:
        self.place: dict[Any, int] = {}
        self.used: set[int] = set()

    def number(self, labels: Sequence[Any], codes: np.ndarray) -> np.ndarray:
        """Return the number of the label of each row, from codes into `labels`; -1 stays -1."""
        numbers = np.array([*(self.place.setdefault(label, len(self.place)) for label in labels), -1], np.int32)
        self.used.update(numbers[np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(labels)))].tolist())
        return numbers[codes]

    def axis(self, in_order: bool) -> tuple[list[Any], np.ndarray]:
        """Return the labels that rows have, sorted or in order of their numbers, and the place of each number."""
        labels = [label for label, number in self.place.items() if number in self.used]
        labels = labels if in_order else sorted(labels)
        places = np.full(len(self.place), -1, np.int64)
        places[[self.place[label] for label in labels]] = np.arange(len(labels))
        return labels, places


class Rows:
    """The axes of a panel, and the cell of it that each row of the files goes to.

    Attributes
    ----------
    dates (t,), firms (n,) : firms are sorted, or in the order of the categories of a single file.
    cells (rows,) : t × n + n, in the order of files and rows.
    starts : the first row of each file.
    """

    def __init__(self, tables: Sequence[TableFile], by_firm: bool) -> None:
        self.tables = tables
        counts = []
        for table in tables:
            with located(table.path):
                counts.append(table.rows)
        self.starts = [0, *np.cumsum(counts).tolist()][:-1]
        if not sum(counts):
            with located(origin(tables)):
                raise InputError("a long file must have at least one row, found none")
        dates, firms = Labels(), Labels()
        day, firm = np.empty(sum(counts), np.int32), np.empty(sum(counts), np.int32)
        for table, start in zip(tables, self.starts, strict=True):
            with located(table.path):
                _read_keys(table, by_firm, (dates, firms), (day[start:], firm[start:]))
        days, date_places = dates.axis(in_order=False)
        ordered = len(tables) == 1 and not by_firm and tables[0].is_categorical("firm")
        names, firm_places = firms.axis(ordered)
        if len(days) * len(names) > max(_SPARSE, _SPARSEST * sum(counts)):
            with located(origin(tables)):
                raise InputError(
                    f"a long file must have rows for one in {_SPARSEST} of its firm-dates, found {sum(counts)} for "
                    f"{len(days)} dates and {len(names)} firms"
                )
        self.dates, self.firms = np.array(days, np.int64).astype("M8[D]"), np.array(names, dtype=str)
        self.cells = self._place(day, firm, date_places, firm_places)

    def _place(self, day: np.ndarray, firm: np.ndarray, dates: np.ndarray, firms: np.ndarray) -> np.ndarray:
        """Return cells, in the memory of `day` where they are small enough."""
        cells = day if self.shape[0] * self.shape[1] <= _SMALL else np.empty(len(day), np.int64)
        for start in range(0, len(day), BATCH):
            part = slice(start, start + BATCH)
            cells[part] = dates[day[part]] * self.shape[1] + firms[firm[part]]
        return cells

    @property
    def shape(self) -> tuple[int, int]:
        """Dates and firms."""
        return len(self.dates), len(self.firms)

    def __len__(self) -> int:
        """Return the rows of all files."""
        return len(self.cells)

    def where(self, row: int) -> str:
        """Name a row by its file, if there are several, and its place there."""
        file = int(np.searchsorted(self.starts, row, "right")) - 1
        place = row - self.starts[file]
        return f"{self.tables[file].path.name} row {place}" if len(self.tables) > 1 else f"row {place}"


def _read_keys(
    table: TableFile, by_firm: bool, labels: tuple[Labels, Labels], into: tuple[np.ndarray, np.ndarray]
) -> None:
    """Write the numbers of the dates and firms of a file's rows."""
    start = 0
    for batch in table.batches(["date"] if by_firm else ["date", "firm"]):
        with in_column(table, "date"):
            days, codes = _days(batch["date"], start)
        part = slice(start, start + len(codes))
        into[0][part] = labels[0].number(days, codes)
        if by_firm and (fault := firm_fault(stem(table.path))):
            raise InputError(f"{fault} in the file's name")
        elif by_firm:
            into[1][part] = labels[1].number([stem(table.path)], np.zeros(len(codes), int))
        else:
            with in_column(table, "firm"):
                into[1][part] = labels[1].number(*_firms(batch["firm"], start))
        start += len(codes)
    if start != table.rows:
        raise InputError(f"must have the {table.rows} rows that it declares, found {start}")


def _days(values: Any, start: int) -> tuple[list[int], np.ndarray]:
    """Return the days of a batch since 1970, and which of them each row has."""
    labels, codes = encode(values)
    if (codes < 0).any():
        raise InputError(f"dates must be whole days like '2001-05-31', found none in row {start + np.argmin(codes)}")
    used, codes = np.unique(codes, return_inverse=True)
    labels = labels.iloc[used]
    try:
        return as_dates(labels).astype(np.int64).tolist(), codes
    except InputError:
        for place, label in enumerate(labels):
            fault = _date_fault(label)
            if fault:
                raise InputError(f"{fault} in row {start + np.argmax(codes == place)}") from None
        raise


def _date_fault(label: Any) -> str:
    """Say what is wrong with a date, "" for nothing."""
    try:
        as_dates(np.array([label], dtype=None if isinstance(label, float | int) else object))
    except InputError as error:
        return str(error).removesuffix(" in row 0")
    return ""


def _firms(values: Any, start: int) -> tuple[list[str], np.ndarray]:
    """Return the firms of a batch, and which of them each row has."""
    labels, codes = encode(values)
    if (codes < 0).any():
        raise InputError(f"firm must be given in every row, found none in row {start + np.argmin(codes)}")
    firms = as_whole(labels).tolist()
    for place, firm in enumerate(firms):
        fault = firm_fault(firm)
        if fault and (codes == place).any():
            raise InputError(f"{fault} in row {start + np.argmax(codes == place)}")
    return [str(firm) for firm in firms], codes


def _mark(rows: Rows) -> np.ndarray:
    """Say which firm-dates have a row."""
    listed = np.zeros(rows.shape, bool)
    flat = listed.reshape(-1)
    for start in range(0, len(rows), BATCH):
        flat[rows.cells[start : start + BATCH]] = True
    return listed


def find_row(tables: Sequence[TableFile], by_firm: bool, date: np.datetime64, firm: str | None) -> str:
    """Name the row, the last one, of a firm-date, or the first one of a date; keys are read again."""
    rows = Rows(tables, by_firm)
    t = int(np.searchsorted(rows.dates, date))
    if firm is None:
        return rows.where(int(np.argmax(rows.cells // len(rows.firms) == t)))
    found = rows.cells[::-1] == t * len(rows.firms) + rows.firms.tolist().index(firm)
    return rows.where(len(rows) - 1 - int(np.argmax(found)))


def _refuse_duplicates(rows: Rows, repeated: int) -> None:
    order = np.argsort(rows.cells, kind="stable")
    again = int(np.argmax(rows.cells[order][1:] == rows.cells[order][:-1]))
    first, second = int(order[again]), int(order[again + 1])
    t, n = divmod(int(rows.cells[first]), rows.shape[1])
    places = f"{rows.where(first)}, {rows.where(second)}"
    places = places if len(rows.tables) > 1 else places.replace("row", "rows", 1).replace(" row", "")
    raise InputError(
        f"firm-dates must be unique, found {repeated} duplicates: {rows.firms[n]!s} on {rows.dates[t]} "
        f"({places}); data.duplicates 'last' uses the last of them"
    )


# -- the cells ------------------------------------------------------------


def _allocate(tables: Sequence[TableFile], rows: Rows, values: str, fields: dict[str, Any]) -> dict[str, Target]:
    """Make the arrays that columns go to, in `fields`, and return where each column goes."""
    names = [name for name in tables[0].names if name not in ("date", "firm")]
    levels = {"return": "returns", **{name: name for name in (*LEVELS, *(PRICED if values != "returns" else ()))}}
    features = [name for name in names if name not in (*levels, "listed", "industry", "name", "risk_free")]
    factors = [name for name in features if name.startswith("factor:")]
    features = [name for name in features if name not in factors]
    into: dict[str, Target] = {}
    for name in names:
        if name in levels:
            fields[levels[name]] = np.full(rows.shape, np.nan)
            into[name] = Numbers(name, fields[levels[name]].reshape(-1))
        elif name in ("name", "risk_free") or name in factors:
            into[name] = PerKey(name, rows.firms if name == "name" else rows.dates, len(rows.firms))
    if "listed" in names:
        fields["listed"][:] = False
        into["listed"] = Flags("listed", fields["listed"].reshape(-1))
    if "industry" in names:
        fields["industry"] = np.zeros(rows.shape, np.int32)
        into["industry"] = Codes("industry", fields["industry"].reshape(-1))
    if features:
        single = all(table.is_float32(name) for table in tables for name in features)
        fields["features"] = np.full((*rows.shape, len(features)), np.nan, np.float32 if single else np.float64)
        fields["feature_names"] = tuple(features)
        flat = fields["features"].reshape(-1, len(features))
        into |= {name: Numbers(name, flat[:, f]) for f, name in enumerate(features)}
    return into


def _fill(table: TableFile, into: Mapping[str, Target], cells: np.ndarray) -> None:
    """Put every batch of a file into its cells."""
    start = 0
    for batch in table.batches(list(into)) if into else ():
        length = len(next(iter(batch.values())))
        for name, target in into.items():
            with in_column(table, name):
                target.put(batch[name], cells[start : start + length], start)
        start += length


def _per_key(into: Mapping[str, Target]) -> dict[str, Any]:
    """Return the fields that have one value a date or a firm."""
    found = {name: target.result() for name, target in into.items() if isinstance(target, PerKey)}
    factors = {name: found.pop(name) for name in list(found) if name.startswith("factor:")}
    fields = {"names" if name == "name" else name: value for name, value in found.items()}
    if factors:
        fields["factors"] = np.column_stack(list(factors.values()))
        fields["factor_names"] = tuple(name.removeprefix("factor:") for name in factors)
    return fields
