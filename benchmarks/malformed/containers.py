"""What is no file of its kind, or lies where none should be, and keys of the configuration that do not fit."""

import gzip
import os
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.malformed.cells import (
    GOOD,
    LONG,
    MAPPED,
    PRICE_ROWS,
    PRICES,
    REPORT_ROWS,
    REPORTS,
    ROWS,
    SPAN_ROWS,
    SPANS,
    csv_of,
    parquet_of,
    table_of,
)
from benchmarks.malformed.judge import Case

# -- what is no file of its kind ------------------------------------------------------------


def bombs() -> Iterator[Case]:
    """Small gzip files that unpack to far more than they may."""
    for kind, line in {"zeros": b"\0", "rows": b"2020-01-02,A,0.01,5,1,1\n", "lines": b"\n", "quotes": b'"'}.items():
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        blocks = [csv_of(), *[line * (2**20 // len(line))] * 100]
        files = {"a.csv.gz": b"".join([*map(packer.compress, blocks), packer.flush()])}
        yield Case(f"a bomb of {kind}", files, {"path": "a.csv.gz"}, "error")
        files["a.csv"] = csv_of(LONG[:4], [cells[:4] for cells in ROWS])
        yield Case(
            f"industries, a bomb of {kind}", files, {"path": "a.csv", "industries": "a.csv.gz"}, "error", "a.csv.gz"
        )


CONTENTS: dict[str, bytes | Callable[[Path], Any]] = {
    "csv": csv_of(), "parquet": parquet_of(table_of()), "gzip": gzip.compress(csv_of()), "nothing": b"",
    "HTML": b"<!DOCTYPE html>\n<p>404",
    "JSON": b'{"date": "2020-01-02"}', "XML": b"<?xml version='1.0'?>", "zip": b"PK\x03\x04" + bytes(30),
    "PDF": b"%PDF-1.7\n",
    "a pickle": b"\x80\x05cos\nsystem\n(S'true'\ntR.", "noise": random.Random(0).randbytes(999),
    "sqlite": b"SQLite format 3\0",
    "Arrow": b"ARROW1\0\0", "encrypted Parquet": b"PARE" + bytes(40) + b"PARE", "magic only": b"PAR1PAR1",
    "xz": b"\xfd7zXZ\0",
    "a huge footer": b"PAR1" + bytes(40) + b"\xff\xff\xff\x7fPAR1",
    "a negative footer": b"PAR1" + bytes(40) + b"\xff\xff\xff\xffPAR1",
    "gzip twice": gzip.compress(gzip.compress(csv_of())), "gzip of nothing": gzip.compress(b""),
    "two gzips": gzip.compress(csv_of()) * 2,
    "gzip and noise": gzip.compress(csv_of()) + b"noise", "npy": b"\x93NUMPY\x01\0", "zeros": bytes(5000),
    "newlines": b"\n" * 5000,
    "a folder": lambda path: path.mkdir(), "a pipe": lambda path: os.mkfifo(path),
    "no target": lambda path: path.symlink_to("nowhere"),
    "itself": lambda path: path.symlink_to(path), "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket's name": lambda path: path.symlink_to("/dev/null"),
}  # fmt: skip


def containers(seed: int = 0) -> Iterator[Case]:
    """Every kind of content under every ending, alone, in a folder, by pattern, and as the tables beside."""
    yield from bombs()
    same = {("csv", "a.csv"), ("csv", "A.CSV"), ("parquet", "a.parquet"), ("parquet", "a.pq"), ("gzip", "a.csv.gz")}
    for kind, content in CONTENTS.items():
        for name in (
            "a.csv",
            "a.csv.gz",
            "a.parquet",
            "a.pq",
            "A.CSV",
            "a.txt",
            "a.xlsx",
            "a",
            "a.csv.bz2",
            ".csv",
            "a.csv.zip",
        ):
            good = (kind, name) in same
            if not callable(content) or name in ("a.csv", "a.csv.gz", "a.parquet"):
                expect = "equal" if good else "error" if (kind, name) != ("csv", ".csv") else "any"
                yield Case(f"{kind} called {name}", {name: content}, {"path": name}, expect, good=GOOD)
        for ending in ("csv", "csv.gz", "parquet"):
            files = {f"f/a.{ending}": content, "f/b.csv": csv_of()}
            named = {"file": "f"} if kind in ("no target", "itself") or callable(content) else {"file": f"a.{ending}"}
            sound = kind in ("csv", "parquet", "gzip") or callable(content)
            yield Case(f"{kind} in a folder, .{ending}", files, {"path": "f"}, "any", **({} if sound else named))
            yield Case(f"{kind} by pattern, .{ending}", files, {"path": "f/a.*"}, "any", file="a.")
            tables = {"a.csv": csv_of(LONG[:4], [cells[:4] for cells in ROWS]), f"t.{ending}": content}
            yield Case(
                f"{kind} for industries, .{ending}",
                tables,
                {"path": "a.csv", "industries": f"t.{ending}"},
                "any",
                f"t.{ending}",
            )
            reports = {"path": f"t.{ending}", "columns": {"assets": "assets"}}
            yield Case(
                f"{kind} for reports, .{ending}", tables, {"path": "a.csv", "reports": reports}, "error", f"t.{ending}"
            )
    for name in (
        "nowhere.csv",
        "*.csv",
        "f/",
        "",
        ".",
        "[",
        "**",
        "a\0b.csv",
        "x" * 300 + ".csv",
        "a\nb.csv",
        "~",
        "http://a.b/c.csv",
        "é.csv",
        "../x.csv",
        "\ud800.csv",
    ):
        yield Case(f"path {name[:12]!r}", {"other.txt": b"x"}, {"path": name}, "error", file="path")
    for name in (
        "a\nb.csv",
        "a b.csv",
        "é.csv",
        "[a].csv",
        "*.csv",
        "a'b.csv",
        "a\tb.csv",
        "x" * 240 + ".csv",
        "\udcff.csv",
    ):
        yield Case(f"sound, called {name[:12]!r}", {name: csv_of()}, {"path": name}, "any", file="csv")
        yield Case(f"malformed, called {name[:12]!r}", {name: csv_of()[:30]}, {"path": name}, "error", file="csv")
        yield Case(
            f"a firm called {name[:12]!r}",
            {f"f/{name}": csv_of(("date", "return"), [["2020-01-02", "0.1"]])},
            {"path": "f", "layout": "by_firm"},
            file="csv",
        )


# -- keys ------------------------------------------------------------


def keys(seed: int = 0) -> Iterator[Case]:
    """Yield configurations that do not fit the file."""
    files = {"a.csv": csv_of(), "codes.csv": csv_of(SPANS, SPAN_ROWS), "r.csv": csv_of(REPORTS, REPORT_ROWS)}
    files |= {"prices.csv": csv_of(PRICES, PRICE_ROWS), "m.csv": csv_of(list(MAPPED))}
    reports = {"path": "r.csv", "columns": {"assets": "assets"}}
    bad: list[dict[str, Any]] = [
        {"use": ["nothing"]}, {"use": ["date"]}, {"use": ["return", "return"]}, {"use": [""]},
        {"columns": {"nothing": "return"}},
        {"columns": {"x": "return"}}, {"columns": {"x": "date", "return": "firm"}},
        {"columns": {"date": "firm", "firm": "date"}},
        {"columns": {"return": "ret"}}, {"columns": {"x": ""}}, {"columns": {"x": "factor:"}},
        {"columns": {"x": "listed"}},
        {"columns": {"x": "name"}}, {"columns": {"firm": "name"}}, {"columns": {"market_cap": "risk_free"}},
        {"columns": {"firm": "x"}},
        {"values": "raw_prices"}, {"values": "adjusted_prices"}, {"layout": "wide"}, {"layout": "by_firm"},
        {"layout": "tall"},
        {"start": "2030-01-01"}, {"end": "1990"}, {"start": "soon"}, {"start": "2020-01-08", "end": "2020-01-02"},
        {"periods_per_year": 0},
        {"industry_scheme": "naics"}, {"industry_scheme": "custom"}, {"industry_widths": (2, 4)}, {"thin_dates": 1.5},
        {"thin_dates": -1},
        {"industries": "codes.csv"}, {"industries": "r.csv"}, {"industries": "nowhere.csv"}, {"industries": "a.csv"},
        {"longest_gap": -1},
        {"reports": reports | {"columns": {"nothing": "x"}}}, {"reports": reports | {"columns": {"assets": "x"}}},
        {"reports": reports | {"columns": {"assets": "return"}}}, {"reports": reports | {"columns": {"firm": "f"}}},
        {"reports": reports | {"rule": {"when": 1}}}, {"reports": reports | {"rule": {"available": "nothing"}}},
        {"reports": reports | {"rule": {"delay_days": -1}}}, {"reports": reports | {"where": {"focus": "X"}}},
        {"reports": reports | {"where": {"nothing": "X"}}}, {"reports": reports | {"stale_after": "soon"}},
        {"reports": reports | {"rule": {"close": "25:00"}}}, {"reports": reports | {"path": "codes.csv"}},
        {"reports": reports | {"columns": {"assets": ""}}},
        {"reports": reports | {"rule": {"period": "available", "available": "amend"}}},
    ]  # fmt: skip
    for one in bad:
        yield Case(f"keys {one}", files, {"path": "a.csv"} | one, "error" if one not in LENIENT else "any", file=" ")
    for one in (
        {"thin_dates": 0.99},
        {"infinite": "missing"},
        {"duplicates": "last"},
        {"use": ["return"]},
        {"use": ["x", "return"]},
    ):
        yield Case(f"keys {one}", files, {"path": "a.csv"} | one)
    for values, column in (
        ("raw_prices", "return"),
        ("adjusted_prices", "split"),
        ("adjusted_prices", "dollar_volume"),
    ):
        yield Case(
            f"{values} with {column}",
            files,
            {"path": "prices.csv", "values": values, "columns": {"firm": "firm", "volume": column}},
        )


LENIENT: list[dict[str, Any]] = [
    {"columns": {"x": "factor:"}}, {"columns": {"x": "listed"}}, {"columns": {"x": "name"}}, {"columns": {"x": ""}},
    {"columns": {"market_cap": "risk_free"}}, {"use": ["return", "return"]},
    {"reports": {"path": "r.csv", "columns": {"assets": ""}}},
]  # fmt: skip
