"""Malformed inputs of the data sources: sound tables of five dates and three firms, and what can be wrong with each.

Each function yields `Case`s; those that take `seeds` draw at random, the same for the same seed.
"""

import csv
import io
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.malformed.judge import Case

DAYS = ("2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07", "2020-01-08")
FIRMS = ("A", "B", "C")
LONG = ("date", "firm", "return", "market_cap", "industry", "x")
ROWS = [
    [day, firm, f"0.0{d + n}", f"{10 * d + n + 1}.5", str(2834 + n), f"{d - n}"]
    for d, day in enumerate(DAYS)
    for n, firm in enumerate(FIRMS)
]
MAPPED = {"Day": "date", "Ticker": "firm", "Ret": "return", "ME": "market_cap", "SIC": "industry", "x": "x"}

# What a cell of numbers must not hold: none of them may become a number in silence.
NO_NUMBERS = (
    "x", "5%", "0.5 %", "$5", "€5", "5 USD", "0,5", "1,000", "1.000,5", "1 000", "'5", "(5)", "5-", "--5", "0x1F",
    "1_000",
    "½", "5/7", "True", "false", "yes", "#N/A", "#DIV/0!", "=1+1", "5\0", "\0", "\x1b[31m5", "é", "日本", "a\nb",
    'a"b', "a\u2028b", "\u200b5", "1.5.2", "1e", "e5", "+", "-", "..", "2020-01-02", "16:00", "[1]", "{}", "1+2j",
    "x" * 10_000, "\U0001f4c8", "0b1", "1d5", "1;5", "C", "n/a ", "-", "—", "?", "*", "−5", "5\ufeff",
)  # fmt: skip
NUMBERS = (
    "", " ", "NA", "NaN", "null", "None", ".", "inf", "-inf", "Infinity", "1e400", "-1e400", "1e-400", "1" + "0" * 30,
    str(2**63), str(-(2**63)), str(2**64), "9" * 400, "9" * 5000, "-1", "-1.0001", "-5", "1e308", "-1e308", "+5",
    " 5", "5 ",
    "007", "5.", ".5", "-0", "1E3", "0." + "0" * 300 + "1", "1e25", "4294967296", "0.5", "1.5", "-24", "٣", "１",
    "NaT", "-nan(ind)",
)  # fmt: skip
# What no day is, or could be two.
NO_DAYS = (
    "02/01/2020", "01-02-2020", "2.1.2020", "Jan 2 2020", "2 January 2020", "2020-02-30", "2020-13-01", "2020-00-10",
    "0000-01-01", "-2020-01-02", "10000-01-01", "2020", "2020-01", "20-01-02", "2020-W01-4", "202001", "2020010",
    "today",
    "now", "NaT", "", " ", "NA", "nan", "1577923200", "1577923200000", "1577923200000000000", "43832", "43832.0", "0",
    "-1",
    "2020-01-09T16:00:00", "2020-01-09 09:30", "2020-01-09T00:00:00Z", "2020-01-09T00:00:00+05:00", "9" * 30,
    "9" * 5000,
    "2020-01-0\0", "2020-01-09\0", "2020‑01‑09", "2020-01-09T25:00", "２０２０-０１-０９", "tomorrow", "1e8", "inf",
    "2020-01-09x",
    "2020-01-09,2020-01-10", "2020-01-09\n2020-01-10", "d" * 10_000, "20200230", "é", "Thu", "2020Q1",
    "2020-01-09T00:00 EST",
)  # fmt: skip
SOME_DAYS = (
    "2020-01-09", "20200109", "2020-01-09 00:00:00", "2020-01-09T00:00:00.000", "2020/01/09", "2020.01.09", "2020-1-9",
    "0001-01-01", "9999-12-31", "1677-09-20", "2262-04-12", "2300-01-01", " 2020-01-09", "2020-01-09 ", "20200109.0",
    "2020-01-02", "2020-01-03", "2020-009", "20200109T000000", "2020-01-09T24:00:00", "1900-02-28", "2020-02-29",
)  # fmt: skip
NO_FIRMS = ("", " ", "\t", "\0", "A\0", "a\nb", "a\rb", "\x1b[2J", "a\x7f", "a\u2028b", "x" * 300, "x" * 100_000)
SOME_FIRMS = (
    "NA", "nan", "None", " A", "A ", "a", "é", "日本", "\U0001f4c8", "0001", "1", "1.0", "-1", "1e5", "inf", "A,B",
    'A"B', "A'B",
    "../../etc/passwd", "a/b", "%s", "{0}", "x" * 200, "\u202eA", "A\u0301", "\ufeffA", "True", "2020-01-02", "#", "=A",
)  # fmt: skip


def text_of(header: Sequence[str], rows: Sequence[Sequence[str]], separator: str = ",", newline: str = "\n") -> str:
    """Write a table as CSV text."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=separator, lineterminator=newline).writerows([header, *rows])
    return stream.getvalue()


def csv_of(header: Sequence[str] = LONG, rows: Sequence[Sequence[str]] = ROWS) -> bytes:
    return text_of(header, rows).encode()


def table_of(columns: Mapping[str, Any] | None = None) -> pa.Table:
    """Return the sound table in Arrow's types, some columns in others."""
    sound: dict[str, Any] = {name: list(column) for name, column in zip(LONG, zip(*ROWS, strict=True), strict=True)}
    sound |= {name: [float(value) for value in sound[name]] for name in ("return", "market_cap", "x")}
    sound["industry"] = [int(value) for value in sound["industry"]]
    return pa.table(sound | dict(columns or {}))


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


GOOD = Case("sound", {"a.csv": csv_of()})


def with_cell(rows: Sequence[Sequence[str]], row: int, column: int, value: str) -> list[list[str]]:
    """Return rows with one cell replaced."""
    changed = [list(cells) for cells in rows]
    changed[row][column] = value
    return changed


def values_of(kind: str) -> Iterator[tuple[str, str]]:
    """Yield what a cell of a kind of column may hold, and what is expected of it."""
    bad, some = {"date": (NO_DAYS, SOME_DAYS), "firm": (NO_FIRMS, SOME_FIRMS)}.get(kind, (NO_NUMBERS, NUMBERS))
    other = NO_DAYS[:20] if kind == "number" else NO_NUMBERS[::2] if kind == "firm" else ()
    yield from ((value, "error") for value in bad)
    yield from ((value, "any") for value in (*some, *other))


def kind_of(column: str) -> str:
    return column if column in ("date", "firm") else "number"


# -- one cell ------------------------------------------------------------


def long_cells(seed: int = 0) -> Iterator[Case]:
    """One cell of a long CSV file, under our names and under others."""
    draw = random.Random(seed)
    for place, (column, stored) in enumerate(zip(LONG, MAPPED, strict=True)):
        for value, expect in values_of(kind_of(column)):
            row, mapped = draw.randrange(len(ROWS)), draw.random() < 0.5
            header = list(MAPPED) if mapped else LONG
            keys = {"path": "a.csv", "columns": MAPPED if mapped else {}}
            content = csv_of(header, with_cell(ROWS, row, place, value))
            words = () if value in (*DAYS, *FIRMS) or "\r" in value else (stored if mapped else column,)
            name = f"long csv, {header[place]} {value[:20]!r}"
            yield Case(name, {"a.csv": content}, keys, expect, row=row, words=words)


def parquet_cells(seed: int = 0) -> Iterator[Case]:
    """One cell of a column of text in a long Parquet file."""
    draw = random.Random(seed)
    for column in LONG:
        for value, expect in values_of(kind_of(column)):
            row = draw.randrange(len(ROWS))
            cells = [str(cell) for cell in table_of()[column].to_pylist()]
            cells[row] = value
            text: Any = pa.array(cells, draw.choice([pa.string(), pa.large_string()]))
            text = text.dictionary_encode() if draw.random() < 0.3 else text
            files = {"a.parquet": parquet_of(table_of({column: text}), row_group_size=draw.choice([4, 100]))}
            words = () if value in (*DAYS, *FIRMS) or "\r" in value else (column,)
            name = f"long parquet, {column} {value[:20]!r}"
            expect = "any" if value in ("NA", "nan", "NaT", "5 ") else expect
            yield Case(name, files, {"path": "a.parquet"}, expect, row=row, words=words)


def folder_cells(seed: int = 0) -> Iterator[Case]:
    """One cell of one of the files of a folder with a file for each firm."""
    draw = random.Random(seed)
    header = [name for name in LONG if name != "firm"]
    for place, column in enumerate(header):
        for value, expect in values_of(kind_of(column)):
            row, firm = draw.randrange(len(DAYS)), draw.choice(FIRMS)
            files = {}
            for one in FIRMS:
                rows = [[cell for cell in cells if cell != one] for cells in ROWS if cells[1] == one]
                rows = with_cell(rows, row, place, value) if one == firm else rows
                files[f"prices/{one}.csv"] = csv_of(header, rows)
            words = () if value in (*DAYS, *FIRMS) or "\r" in value else (column,)
            name = f"by firm, {column} {value[:20]!r}"
            yield Case(name, files, {"path": "prices", "layout": "by_firm"}, expect, f"{firm}.csv", row, words)


def wide_cells(seed: int = 0) -> Iterator[Case]:
    """One cell of one of the wide files of a folder."""
    draw = random.Random(seed)
    header = ["date", *FIRMS]
    for variable, column in (("return", 2), ("market_cap", 3), ("x", 5), ("industry", 4)):
        wide = [[day, *(cells[column] for cells in ROWS if cells[0] == day)] for day in DAYS]
        for kind in ("date", "number") if variable in ("return", "x") else ("number",):
            for value, expect in values_of(kind):
                row, place = draw.randrange(len(DAYS)), 0 if kind == "date" else draw.randrange(1, 4)
                returns = [[day, *(cells[2] for cells in ROWS if cells[0] == day)] for day in DAYS]
                files = {"w/return.csv": csv_of(header, returns)}
                files[f"w/{variable}.csv"] = csv_of(header, with_cell(wide, row, place, value))
                name = f"wide {variable}, {header[place]} {value[:20]!r}"
                words = () if value in (*DAYS, *FIRMS) or "\r" in value else (header[place],)
                yield Case(name, files, {"path": "w", "layout": "wide"}, expect, f"{variable}.csv", row, words)


# -- prices, industries, reports ------------------------------------------------------------

PRICES = ("date", "firm", "price", "split", "dividend", "volume", "adjusted_price")
PRICE_ROWS = [
    [day, firm, f"{20 + d + n}.5", "1", "0", f"{100 + n}", f"{10 + d}.25"]
    for d, day in enumerate(DAYS)
    for n, firm in enumerate(FIRMS)
]
SPANS = ("firm", "industry", "start", "end", "name")
SPAN_ROWS = [
    ["A", "2834", "2019-01-01", "2020-01-03", "Alpha"], ["A", "3571", "2020-01-06", "", "Alpha"],
    ["B", "6021", "2019-01-01", "", "Beta"], ["C", "6021", "2019-01-01", "9999-12-31", "Gamma"],
]  # fmt: skip
REPORTS = ("firm", "available", "period_end", "amend", "focus", "assets")
REPORT_ROWS = [
    ["A", "2020-01-03", "2019-12-31", "False", "FY", "7"], ["A", "2020-01-07", "2019-12-31", "True", "FY", "8"],
    ["B", "2020-01-02", "2019-09-30", "False", "Q3", "5"], ["C", "2020-01-06", "2019-12-31", "False", "FY", "9.5"],
]  # fmt: skip


def price_cells(seed: int = 0) -> Iterator[Case]:
    """One cell of adjusted or raw prices."""
    draw = random.Random(seed)
    for values, columns in (("raw_prices", PRICES[2:6]), ("adjusted_prices", ("adjusted_price", "price", "volume"))):
        for column in columns:
            for value, expect in values_of("number"):
                row, place = draw.randrange(len(ROWS)), PRICES.index(column)
                use = [name for name in PRICES if name in columns]
                files = {"a.csv": csv_of(PRICES, with_cell(PRICE_ROWS, row, place, value))}
                keys = {"path": "a.csv", "values": values, "use": use, "longest_gap": draw.choice([0, 2])}
                yield Case(f"{values}, {column} {value[:20]!r}", files, keys, expect, row=None)


def industry_cells(seed: int = 0) -> Iterator[Case]:
    """One cell of a table of industries, with and without the days on which codes are valid."""
    draw = random.Random(seed)
    for dated in (True, False):
        rows = SPAN_ROWS if dated else [row for row in SPAN_ROWS[1:]]
        header = SPANS if dated else ("firm", "industry", "name")
        rows = [[row[SPANS.index(name)] for name in header] for row in rows]
        for place, column in enumerate(header):
            kind = {"firm": "firm", "industry": "number"}.get(column, "date" if dated and place in (2, 3) else "firm")
            for value, expect in values_of(kind):
                row = draw.randrange(len(rows))
                if column in ("firm", "name", "end") or value in ("-", "—"):
                    expect = "any"
                files = {"a.csv": csv_of(LONG[:4], [cells[:4] for cells in ROWS])}
                files["codes.csv"] = csv_of(header, with_cell(rows, row, place, value))
                keys = {"path": "a.csv", "industries": "codes.csv", "industry_as_of": dated}
                name = f"industries, {column} {value[:20]!r}"
                yield Case(name, files, keys, expect, "codes.csv")


def report_cells(seed: int = 0) -> Iterator[Case]:
    """One cell of a table of reports, all of it or the rows of one kind."""
    draw = random.Random(seed)
    for place, column in enumerate(REPORTS):
        kind = "date" if place in (1, 2) else {"assets": "number"}.get(column, "firm")
        for value, expect in values_of(kind):
            where, row = draw.choice([{}, {"focus": "FY"}]), draw.choice([0, 1, 3])
            files = {"a.csv": csv_of(), "reports.csv": csv_of(REPORTS, with_cell(REPORT_ROWS, row, place, value))}
            reports = {"path": "reports.csv", "columns": {"assets": "assets"}, "where": where}
            keys = {"path": "a.csv", "reports": reports | {"rule": {"amended": "amend"}}}
            known = kind == "number" or kind == "date" and value.strip() not in ("", "NA", "nan", "NaT")
            words = (column,) if kind != "firm" else ()
            yield Case(
                f"reports, {column} {value[:20]!r}", files, keys,
                expect if kind != "firm" else "any", "reports.csv", row if known else None, words,
            )  # fmt: skip
