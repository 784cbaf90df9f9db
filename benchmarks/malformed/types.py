"""Malformed Parquet files: every column in every type that Arrow has, and files that are sound but odd."""

import datetime
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.malformed.cells import (
    DAYS,
    LONG,
    REPORT_ROWS,
    REPORTS,
    ROWS,
    SPAN_ROWS,
    SPANS,
    csv_of,
    parquet_of,
    table_of,
)
from benchmarks.malformed.files import COUNT, parquet_case
from benchmarks.malformed.judge import Case


def arrays(count: int) -> dict[str, Any]:
    """Return columns of every type that Arrow has, of values that mean something and of some that mean nothing."""
    ones, days = [1] * count, pd.to_datetime([DAYS[i % 5] for i in range(count)])
    stamps = {
        f"timestamp {unit} {zone}": pa.array(days.tz_localize(zone) if zone else days).cast(pa.timestamp(unit, zone))
        for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "America/New_York", "+05:30")
    }  # fmt: skip
    integers = {str(kind): pa.array(ones).cast(kind) for kind in (
        pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.bool_(),
        pa.float32())}  # fmt: skip
    return stamps | integers | {
        "null": pa.nulls(count), "half": pa.array(np.ones(count, np.float16)), "date32": pa.array(days.date),
        "date64": pa.array(days.date, pa.date64()), "time32": pa.array([datetime.time(1)] * count, pa.time32("s")),
        "time64": pa.array([datetime.time(1)] * count), "duration": pa.array(ones).cast(pa.duration("ns")),
        "decimal": pa.array([Decimal("1.5")] * count), "huge decimal": pa.array([Decimal("1" + "0" * 37)] * count),
        "decimal256": pa.array([Decimal("1" + "0" * 60)] * count, pa.decimal256(76, 2)),
        "bytes": pa.array([b"1"] * count),
        "fixed": pa.array([b"1234"] * count, pa.binary(4)), "list": pa.array([[1]] * count),
        "empty lists": pa.array([[]] * count),
        "list of text": pa.array([["a"]] * count), "struct": pa.array([{"a": 1, "date": 2}] * count),
        "map": pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int64())),
        "nested": pa.array([[{"a": [{"b": 1}]}]] * count),
        "dictionary of text": pa.array(["a"] * count).dictionary_encode(), "numbers in text": pa.array(["1.5"] * count),
        "dictionary of numbers": pa.array([1.5] * count).dictionary_encode(),
        "large text": pa.array(["1"] * count, pa.large_string()),
        "dictionary of days": pa.array(days.date).dictionary_encode(), "words": pa.array(["one"] * count),
        "largest": pa.array([2**63 - 1] * count), "smallest": pa.array([-(2**63)] * count),
        "largest unsigned": pa.array([2**64 - 1] * count, pa.uint64()), "infinite": pa.array([np.inf] * count),
        "1e300": pa.array([1e300] * count), "NaN": pa.array([np.nan] * count),
        "days as integers": pa.array([20200102] * count),
        "days as floats": pa.array([20200102.0] * count), "seconds": pa.array([1577923200] * count),
        "-1": pa.array([-1] * count),
        "nanoseconds": pa.array([1577923200 * 10**9] * count),
        "far days": pa.array([2**31 - 1] * count, pa.int32()).cast(pa.date32()),
        "before all days": pa.array([-(2**31)] * count, pa.int32()).cast(pa.date32()),
        "far seconds": pa.array([2**62] * count).cast(pa.timestamp("s")),
        "early seconds": pa.array([-(2**62)] * count).cast(pa.timestamp("s")),
        "far date64": pa.array([86_400_000 * 2**36] * count).cast(pa.date64()),
        "empty text": pa.array([""] * count), "long text": pa.array(["x" * 70_000] * count),
        "NULs": pa.array(["\0"] * count),
        "fractions": pa.array([1.5] * count), "text view": pa.array(["a"] * count, pa.string_view()),
        "2": pa.array([2] * count),
    }  # fmt: skip


def types(seed: int = 0) -> Iterator[Case]:
    """Every column in every type, all of it or with one value that is missing."""
    draw = random.Random(seed)
    for name in (*LONG, "listed", "name", "risk_free", "factor:m"):
        for kind, column in arrays(COUNT).items():
            for hole in (False, True):
                gone = draw.randrange(COUNT) if hole else -1
                try:
                    column = (
                        column.take(pa.array([None if row == gone else row for row in range(COUNT)]))
                        if hole
                        else column
                    )
                    yield parquet_case(f"{name} of {kind}{' with a hole' * hole}", table_of({name: column}))
                except (pa.ArrowException, TypeError, ValueError):
                    pass  # Parquet does not have this type
    table = table_of()
    for name, schema in {
        "zstd": {"compression": "zstd"}, "gzip": {"compression": "gzip"}, "brotli": {"compression": "brotli"},
        "lz4": {"compression": "lz4"}, "no compression": {"compression": "none"},
        "pages of version 2": {"data_page_version": "2.0"},
        "no dictionaries": {"use_dictionary": False}, "row groups of one": {"row_group_size": 1},
        "version 1": {"version": "1.0"},
        "checksums": {"write_page_checksum": True},
        "split streams": {"use_dictionary": False, "use_byte_stream_split": ["x"]},
    }.items():  # fmt: skip
        yield parquet_case(name, parquet_of(table, **schema), "equal")
    yield parquet_case("no rows", table.slice(0, 0), "error")
    yield parquet_case("no columns", pa.table({}), "error")
    yield parquet_case("categories", table_of({"firm": table["firm"].combine_chunks().dictionary_encode()}), "equal")
    yield parquet_case("metadata that is none", table.replace_schema_metadata({"pandas": "{"}))
    yield parquet_case("metadata of lists", table.replace_schema_metadata({"pandas": '{"index_columns": [[1], {}]}'}))
    yield parquet_case(
        "wrong metadata", table.replace_schema_metadata({"pandas": '{"index_columns": 7, "columns": "x"}'})
    )
    rows = pa.table(
        {
            "date": pa.array(["2020-01-02"] * 2_000_000).dictionary_encode(),
            "firm": pa.nulls(2_000_000),
            "return": pa.nulls(2_000_000),
        }
    )
    yield parquet_case("constants", rows, "error")
    bomb = pa.table({name: pa.nulls(20_000_000) for name in ("date", "firm", "return")})
    yield parquet_case("20 million rows of nothing", bomb, "error")


def tables(seed: int = 0) -> Iterator[Case]:
    """Yield wide files, industries and reports with every column in every type."""
    draw = random.Random(seed)
    wide = {"date": DAYS, "A": [0.1] * 5, "B": [0.2] * 5}
    spans = dict(zip(SPANS, zip(*SPAN_ROWS, strict=True), strict=True)) | {"industry": [1, 2, 3, 4]}
    reports = dict(zip(REPORTS, zip(*REPORT_ROWS, strict=True), strict=True)) | {"assets": [1.0, 2.0, 3.0, 4.0]}
    beside = {"a.csv": csv_of(LONG[:4], [cells[:4] for cells in ROWS])}
    asked = {"path": "t.parquet", "columns": {"assets": "assets"}, "rule": {"amended": "amend", "unusable": "drop"}}
    for what, columns, keys in (
        ("wide", wide, {"path": "t.parquet", "layout": "wide"}),
        ("industries", spans, {"path": "a.csv", "industries": "t.parquet"}),
        ("reports", reports, {"path": "a.csv", "reports": asked}),
        ("some reports", reports, {"path": "a.csv", "reports": asked | {"where": {"focus": "FY"}}}),
    ):
        count = len(next(iter(columns.values())))
        for name in columns:
            for kind, column in arrays(count).items():
                gone = draw.choice([-1, *range(count)])
                try:
                    if gone >= 0:
                        column = column.take(pa.array([None if row == gone else row for row in range(count)]))
                    content = parquet_of(pa.table(columns | {name: column}))
                except (pa.ArrowException, TypeError, ValueError):
                    continue  # Parquet does not have this type
                yield Case(f"{what}, {name} of {kind}", beside | {"t.parquet": content}, keys, file="t.parquet")
