"""Malformed files: headers, shapes, encodings, types, damage, what is no file of its kind, and keys that do not fit."""

import gzip
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.malformed.cells import (
    GOOD,
    LONG,
    ROWS,
    csv_of,
    parquet_of,
    table_of,
    text_of,
)
from benchmarks.malformed.judge import Case

TEXT = csv_of().decode()
COUNT = len(ROWS)


def csv_case(name: str, content: bytes | str, expect: str = "any", **more: Any) -> Case:
    content = content.encode() if isinstance(content, str) else content
    return Case(f"csv, {name}", {"a.csv": content}, expect=expect, good=GOOD if expect == "equal" else None, **more)


def parquet_case(name: str, content: bytes | pa.Table, expect: str = "any", **more: Any) -> Case:
    content = content if isinstance(content, bytes) else parquet_of(content)
    good = GOOD if expect == "equal" else None
    return Case(f"parquet, {name}", {"a.parquet": content}, {"path": "a.parquet"}, expect, good=good, **more)


# -- headers and shapes ------------------------------------------------------------


def headers(seed: int = 0) -> Iterator[Case]:
    """Columns that are not there, are there twice, or are called by what is no name."""
    for place, name in enumerate(LONG):
        needed = "error" if place < 3 else "any"
        fewer = [cells[:place] + cells[place + 1 :] for cells in ROWS]
        lacks = {"expect": needed, "words": (name,)}
        yield csv_case(f"no {name}", csv_of([*LONG[:place], *LONG[place + 1 :]], fewer), **lacks)
        yield parquet_case(f"no {name}", table_of().drop_columns([name]), **lacks)
        for other in (
            "",
            " ",
            name.upper(),
            f" {name}",
            f"{name} ",
            f"\ufeff{name}",
            f"{name}\0",
            "\n",
            "é",
            "x" * 10_000,
        ):
            header = [*LONG[:place], other, *LONG[place + 1 :]]
            yield csv_case(
                f"{name} called {other[:9]!r}", csv_of(header), "error" if place and needed == "error" else "any"
            )
            yield parquet_case(f"{name} called {other[:9]!r}", table_of().rename_columns(header), needed)
        for twin in LONG:
            header = [*LONG[:place], twin, *LONG[place + 1 :]]
            if twin != name:
                yield csv_case(f"{name} called {twin}", csv_of(header), "error", words=(twin,))
        both = table_of().append_column(name, table_of()[name])
        yield parquet_case(f"{name} twice", both, "error", words=(name,))
    yield csv_case("in another order", csv_of(LONG[::-1], [cells[::-1] for cells in ROWS]), "equal")
    yield parquet_case("in another order", table_of().select(list(LONG[::-1])), "equal")
    yield csv_case("all names empty", csv_of([""] * len(LONG)), "error")
    yield csv_case("names that are numbers", csv_of([str(i) for i in range(len(LONG))]), "error")
    yield csv_case("quoted names", text_of(LONG, ROWS).replace("date,firm", '"date","firm"'), "equal")
    yield csv_case(
        "thousands of columns", csv_of([*LONG, *(f"c{i}" for i in range(3000))], [[*c, *["1"] * 3000] for c in ROWS])
    )
    for name in (
        "listed",
        "name",
        "risk_free",
        "price",
        "dollar_volume",
        "factor:",
        "factor:m",
        "returns",
        "dates",
        "features",
    ):
        yield csv_case(f"a column {name}", csv_of([*LONG, name], [[*cells, "1"] for cells in ROWS]))
        yield csv_case(f"a column {name} of words", csv_of([*LONG, name], [[*cells, cells[1] * 2] for cells in ROWS]))


def shapes(seed: int = 0) -> Iterator[Case]:
    """Rows that are too short or too long, lines that are none, quotes, and ends of lines."""
    lines = TEXT.splitlines()
    for row in range(COUNT):
        cells = ROWS[row]
        for width in (1, 2, 3, 5, 7, 8, 40):
            ragged = ",".join([*cells, *["1"] * 40][:width])
            content = "\n".join([*lines[: row + 1], ragged, *lines[row + 2 :]])
            yield csv_case(f"{width} fields in row {row}", content, "error", row=row)
        for place in range(len(LONG)):
            for quote in ('"', "'", '""', '"""', '" "'):
                broken = ",".join([*cells[:place], quote + cells[place], *cells[place + 1 :]])
                content = "\n".join([*lines[: row + 1], broken, *lines[row + 2 :]])
                if (row + place) % 3 == 0:
                    yield csv_case(f"{quote} in row {row}, {LONG[place]}", content)
    yield from (csv_case(f"{name} in front", text + TEXT) for name, text in {
        "a title": "Returns of 3 firms\n", "a comment": "# made up\n", "sep": "sep=,\n", "commas": ",,,,,\n",
        "a quote": '"'
    }.items())  # fmt: skip
    yield from (csv_case(f"{name} at the end", TEXT + text, expect) for name, text, expect in (
        ("a sum", "Total,,0.5,,,\n", "error"), ("a note", "Source: us\n", "error"), ("commas", ",,,,,\n", "error"),
        ("a quote", '"', "error"), ("NUL", "\0", "error"), ("DOS", "\x1a", "error"), ("header", TEXT, "error"),
    ))  # fmt: skip
    ends = {"\\r\\n": "\r\n", "\\r": "\r", "empty lines": "\n\n", "\\r\\n\\r\\n": "\r\n\r\n"}
    yield from (csv_case(f"lines end in {name}", TEXT.replace("\n", end), "equal") for name, end in ends.items())
    yield csv_case("no end of the last line", TEXT.rstrip("\n"), "equal")
    yield csv_case("leading empty lines", "\n\n" + TEXT, "equal")
    yield csv_case(
        "every field quoted", "\n".join(",".join(f'"{c}"' for c in line.split(",")) for line in lines), "equal"
    )
    yield csv_case(
        "spaces before numbers", csv_of(LONG, [[c[0], c[1], *(f" {v}" for v in c[2:])] for c in ROWS]), "equal"
    )
    for name, separator in {";": ";", "tab": "\t", "|": "|", ":": ":", "space": " ", "^": "^", ", ": ", "}.items():
        yield csv_case(f"separated by {name}", TEXT.replace(",", separator), "error")
        yield csv_case(f"separated by {name}, decimal commas", TEXT.replace(",", separator).replace(".", ","), "error")
    for name, content in {"header only": lines[0] + "\n", "header without an end": lines[0],
    "no header": "\n".join(lines[1:]),
                          "nothing": "", "an empty line": "\n", "empty lines": "\n" * 99, "spaces": "   \n  \n",
                          "BOM": "\ufeff",
                          "NUL": "\0" * 999, "commas": ",,,\n,,,\n", "one quote": '"', "one word": "x",
                          "one cell": "date\n1\n"}.items():  # fmt: skip
        yield csv_case(name, content, "error")
    yield csv_case("one row", "\n".join(lines[:2]), "any")
    yield csv_case("rows in another order", "\n".join([lines[0], *lines[:0:-1]]), "equal")
    yield csv_case("a row twice", TEXT + lines[1] + "\n", "error", row=0)
    yield csv_case("a row of 40 MB", TEXT + "x" * 40_000_000, "error")
    yield csv_case("a header of 40 MB", "x" * 40_000_000 + "\n" + TEXT, "error")
    scattered = "".join(f"{np.datetime64('1900-01-01') + i},F{i},0.1\n" for i in range(20_000))
    yield csv_case("a firm and a date of its own for each of 20,000 rows", "date,firm,return\n" + scattered, "error")


def encodings(seed: int = 0) -> Iterator[Case]:
    """Text in other encodings, and bytes that are none."""
    words = TEXT.replace(",A,", ",Ä,").replace(",B,", ",日,")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7",
    "latin-1", "cp1252",
                     "shift_jis", "gb18030", "big5", "euc_kr", "koi8-r", "cp037", "cp500", "mac_roman", "hz",
                     "punycode"):  # fmt: skip
        yield csv_case(f"in {encoding}", TEXT.encode(encoding), "equal" if encoding == "utf-8-sig" else "any")
        yield csv_case(f"words in {encoding}", words.encode(encoding, "replace"))
    yield csv_case(
        "two encodings",
        TEXT.replace(",A,", ",Ä,").encode() + "2020-01-09,Ä,0,1,1,1\n".encode("latin-1"),
        "error",
        row=COUNT,
    )
    for encoding in ("latin-1", "cp1252", "shift_jis", "koi8-r"):
        header = TEXT.replace("return", "ret\u00e9\u043f", 1).encode(encoding, "ignore")
        yield csv_case(f"a header in {encoding}", header, "error")
        yield csv_case(f"a feature in {encoding}", TEXT.replace(",x", ",\u00e9\u043f", 1).encode(encoding, "ignore"))
    lines = TEXT.encode().splitlines(keepends=True)
    for row in range(COUNT):
        for place, name in enumerate(LONG):
            for bad in (
                b"\xff",
                b"\xc3",
                b"\xed\xa0\x80",
                b"\xf5\x80\x80\x80",
                b"\xc0\xaf",
                b"\xfe\xff",
                b"\0",
                b"\x1a",
                b"\x80",
            ):
                if (row + place + bad[0]) % 4:
                    continue
                cells = lines[row + 1].strip().split(b",")
                cells[place] = cells[place][:1] + bad + cells[place][1:]
                content = b"".join([*lines[: row + 1], b",".join(cells) + b"\n", *lines[row + 2 :]])
                yield csv_case(f"{bad!r} in row {row}, {name}", content, "error", row=row, words=(name,))


# -- damage ------------------------------------------------------------


def damage(content: bytes, draw: random.Random) -> bytes:
    """Cut, flip, blank, double, insert or swap bytes, or write a huge number over some."""
    data, place = bytearray(content), draw.randrange(len(content))
    size = min(draw.choice([1, 1, 2, 4, 8, 64]), len(data) - place)
    what = draw.randrange(9)
    if what == 0:
        return bytes(data[:place])
    if what == 1:
        return bytes(data[place:])
    if what in (2, 3):
        for _ in range(draw.choice([1, 1, 2, 8, 32])):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif what == 4:
        data[place : place + size] = bytes(size)
    elif what == 5:
        data[place : place + size] = data[place : place + size] * 2
    elif what == 6:
        data[place:place] = draw.randbytes(size)
    elif what == 7:
        other = draw.randrange(len(data))
        data[place], data[other] = data[other], data[place]
    else:
        data[place : place + 4] = b"\xff\xff\xff\x7f"
    return bytes(data)


def damaged(seed: int = 0, count: int = 400) -> Iterator[Case]:
    """Files of every kind with random damage, near the end too, where Parquet says what is where."""
    draw = random.Random(seed)
    dictionary = table_of({"firm": table_of()["firm"].combine_chunks().dictionary_encode()})
    parquets = [
        parquet_of(table_of()), parquet_of(dictionary, row_group_size=4), parquet_of(table_of(), compression="none"),
        parquet_of(table_of(), use_dictionary=False, data_page_version="2.0", compression="zstd"),
        parquet_of(table_of(), compression="gzip", write_page_checksum=True),
        parquet_of(table_of(), write_statistics=False, store_schema=False, compression="none"),
    ]  # fmt: skip
    for number in range(count):
        content = draw.choice(parquets)
        for _ in range(draw.choice([1, 1, 1, 3])):
            tail = draw.choice([0, len(content) * 2 // 3]) if len(content) > 30 else 0
            content = content[:tail] + damage(content[tail:] or b"\0", draw)
        yield parquet_case(f"damage {seed}.{number}", content)
        content = csv_of()
        for _ in range(draw.choice([1, 1, 2, 5])):
            content = damage(content or b"\0", draw)
        yield csv_case(f"damage {seed}.{number}", content)
        if number % 4 == 0:
            packed = damage(gzip.compress(csv_of(), mtime=0), draw)
            yield Case(f"gzip, damage {seed}.{number}", {"a.csv.gz": packed}, {"path": "a.csv.gz"})


def truncated(seed: int = 0) -> Iterator[Case]:
    """Files that end too early, or begin too late."""
    content, packed = parquet_of(table_of(), row_group_size=5), gzip.compress(csv_of())
    for size in sorted({*range(0, 16), *range(16, len(content), 29), *range(len(content) - 12, len(content))}):
        yield parquet_case(f"cut at {size}", content[:size], "error")
        yield parquet_case(f"from {size}", content[size:], "error" if size else "equal")
    for size in range(0, len(packed), 9):
        yield Case(f"gzip, cut at {size}", {"a.csv.gz": packed[:size]}, {"path": "a.csv.gz"}, "error")
    for size in range(0, len(TEXT), 13):
        yield csv_case(f"cut at {size}", TEXT[:size])
