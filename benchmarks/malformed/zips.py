"""Malformed quarterly zips of the SEC: archives that would harm or are none, members, and cells of their tables."""

import io
import json
import random
import stat
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.malformed.cells import DAYS
from benchmarks.malformed.files import damage
from benchmarks.malformed.judge import Case
from finattn.config.sec import SecConfig
from finattn.data.sec import attach
from finattn.panel import Panel

SUB = ("adsh", "cik", "name", "sic", "form", "period", "fy", "fp", "filed", "accepted")
SUB_ROWS = [
    ["0000000001-19-000001", "1", "ONE INC", "3571", "10-K", "20190930", "2019", "FY", "20191101",
    "2019-11-01 16:31:00.0"],
    ["0000000002-19-000001", "2", "TWO INC", "", "10-Q", "20190930", "2019", "Q3", "20191105", "2019-11-05 09:01:00.0"],
]  # fmt: skip
NUM = ("adsh", "tag", "version", "ddate", "qtrs", "uom", "segments", "coreg", "value", "footnote")
NUM_ROWS = [
    [filing[0], tag, "us-gaap/2019", "20190930", "0", "USD", "", "", value, ""]
    for filing in SUB_ROWS
    for tag, value in (("Assets", "100.0000"), ("Liabilities", "60.0000"), ("StockholdersEquity", "40.0000"))
]
TAG = ("tag", "version", "custom", "abstract")
TAG_ROWS = [[tag, "us-gaap/2019", "0", "0"] for tag in ("Assets", "Liabilities", "StockholdersEquity")]
ZIP = "sec/2019q4.zip"
VALUES = (
    "", " ", "x", "NA", "nan", "inf", "-inf", "1e400", "-1e400", "1e308", "-1", "0", "1.5", "1,5", "5%", "$5", "0x1F",
    "True",
    str(2**31), str(2**63), str(-(2**63)), str(2**64), "9" * 30, "9" * 5000, "99999999", "20190230", "20191301",
    "00000000",
    "20190931", "00010101", "99991231", "2019-09-30", "2019-09-30 16:00", "2019-11-01 25:00:00",
    "0000-00-00 00:00:00.0",
    "9999-12-31 23:59:59.0", "2019-11-01 16:31:00+05:00", "2019-11-01T16:31:00Z", "0000000001-19-000001", "\0", "é",
    "a\rb",
    '"', '"5', "日本", "\ufeff", "\u2028", "\x1b[2J", "x" * 100_000, "../../x", "10-K/A", "Assets", "-0", "+5", " 5",
    "5 ", "USD",
)  # fmt: skip


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    return "".join("\t".join(cells) + "\n" for cells in (header, *rows)).encode()


def members() -> dict[str, bytes]:
    """Return the members of a sound zip."""
    tables = {"sub.txt": table(SUB, SUB_ROWS), "tag.txt": table(TAG, TAG_ROWS), "num.txt": table(NUM, NUM_ROWS)}
    return tables | {"pre.txt": b"adsh\treport\n", "readme.htm": b"<html>"}


def zip_of(content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return stream.getvalue()


def read(folder: Path) -> Panel:
    panel = Panel(DAYS, ["1", "2"], [[0.01, 0.02]] * len(DAYS))
    return attach(panel, SecConfig(str(folder / "sec"), first="2019Q4", last="2019Q4", identify="cik"))


def case(name: str, content: bytes, expect: str = "any", **more: Any) -> Case:
    return Case(f"zip, {name}", {ZIP: content}, {}, expect, "2019q4.zip", load=read, gains="extracts", **more)


def cells(seed: int = 0) -> Iterator[Case]:
    """One cell of the filings or the numbers, of values drawn."""
    draw = random.Random(seed)
    for member, header, rows in (("sub.txt", SUB, SUB_ROWS), ("num.txt", NUM, NUM_ROWS)):
        for place, column in enumerate(header):
            for value in draw.sample(VALUES, len(VALUES) // 4):
                row = draw.randrange(len(rows))
                changed = [list(cells) for cells in rows]
                changed[row][place] = value
                yield case(f"{member}, {column} {value[:20]!r}", zip_of(members() | {member: table(header, changed)}))


def tables(seed: int = 0) -> Iterator[Case]:
    """Members that are not there, are empty, or are no tables."""
    for member in ("sub.txt", "tag.txt", "num.txt"):
        sound = members()[member]
        lines = sound.splitlines(keepends=True)
        yield case(
            f"no {member}", zip_of({k: v for k, v in members().items() if k != member}), "error", words=(member,)
        )
        yield case(
            f"{member} called otherwise",
            zip_of({k.upper() if k == member else k: v for k, v in members().items()}),
            "error",
        )
        for name, content in {
            "empty": b"", "header": lines[0], "no header": b"".join(lines[1:]), "zeros": bytes(999), "a newline": b"\n",
            "UTF-16": sound.decode().encode("utf-16"), "BOM": b"\xef\xbb\xbf" + sound,
            "latin-1": sound.replace(b"ONE", b"\xc9\xff"),
            "commas": sound.replace(b"\t", b","), "CRLF": sound.replace(b"\n", b"\r\n"),
            "CR": sound.replace(b"\n", b"\r"),
            "too few": sound + b"x\ty\n", "too many": sound + b"x\t" * 40 + b"\n", "bytes": sound + b"\xff\xfe\t\xff\n",
            "twice": sound * 2, "cut": sound[:-9],
            "a column twice": sound.replace(lines[0].split(b"\t")[1], lines[0].split(b"\t")[0], 1),
            "no first column": b"".join(line.split(b"\t", 1)[1] for line in lines), "one long line": b"x" * 20_000_000,
            "empty lines": sound + b"\n\n", "rows twice": sound + lines[1], "HTML": b"<html>", "a quote": sound + b'"',
        }.items():  # fmt: skip
            yield case(f"{member} {name}", zip_of(members() | {member: content}))


def archives(seed: int = 0, count: int = 150) -> Iterator[Case]:
    """Yield archives that lead elsewhere, unpack to too much, lie, or are damaged."""
    sound = zip_of(members())
    draw = random.Random(seed)
    for name in (
        "../evil.txt", "../../../../tmp/evil", "/etc/passwd", "C:\\evil.txt", "C:/evil", "..\\evil.txt",
        "a/../../evil", "a/..", "..",
        "\\\\host\\share", "sub.txt/../../x", "./../x", "a\\..\\b",
    ):  # fmt: skip
        yield case(f"a member {name}", zip_of(members() | {name: b"evil"}), "error")
        yield case(f"only a member {name}", zip_of({name: b"evil"}), "error")
    for name in (
        "a/b.txt",
        " ",
        "con.txt",
        "é.txt",
        "x" * 300,
        "sub.txt ",
        "./sub.txt",
        "sub.txt/",
        "a\0b",
        "a\nb",
        "a//b",
    ):
        yield case(f"a member {name[:9]!r}", zip_of(members() | {name: b""}))
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK):
        stream = io.BytesIO(sound)
        with zipfile.ZipFile(stream, "a") as archive:
            info = zipfile.ZipInfo("link")
            info.external_attr = (kind | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        yield case(f"a member of type {kind:o}", stream.getvalue(), "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = io.BytesIO(sound)
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr("sub.txt", b"another")
    yield case("a member twice", stream.getvalue(), "error")
    for name, piece in {"zeros": b"\0", "tabs": b"\t", "rows": table(NUM, NUM_ROWS[:1])}.items():
        content = zip_of(members() | {"num.txt": piece * (2**25 // len(piece))})
        yield case(f"a bomb of {name}", content, "error", words=("num.txt",))
    yield case("a bomb beside", zip_of(members() | {"pre.txt": bytes(2**25)}))
    yield case("many members", zip_of(members() | {f"{i}": b"" for i in range(70_000)}), "error")
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield case(f"method {method}", zip_of(members(), method), "any" if method == zipfile.ZIP_STORED else "error")
    yield case("an archive in an archive", zip_of({"2019q4.zip": sound}), "error")
    for name, content in {"nothing": b"", "an end only": b"PK\x05\x06" + bytes(18), "text": b"hello",
    "noise": draw.randbytes(999),
                          "in front": b"#!/bin/sh\n" + sound, "behind": sound + b"more", "twice": sound * 2,
                          "gzip": b"\x1f\x8b" + bytes(9)}.items():  # fmt: skip
        yield case(name, content)
    for place in [i for i in range(len(sound)) if sound.startswith((b"PK\x01\x02", b"PK\x03\x04"), i)]:
        for offset, width in (
            (6, "H"),
            (8, "H"),
            (10, "H"),
            (14, "I"),
            (18, "I"),
            (20, "I"),
            (22, "I"),
            (24, "I"),
            (28, "H"),
            (42, "I"),
        ):
            for value in (0, 1, 2**31 - 1, 2**32 - 1):
                data = bytearray(sound)
                struct.pack_into(
                    f"<{width}",
                    data,
                    min(place + offset, len(data) - 4),
                    value & (2 ** (16 if width == "H" else 32) - 1),
                )
                yield case(f"{value} at {offset} of header {place}", bytes(data))
    for size in range(0, len(sound), 31):
        yield case(f"cut at {size}", sound[:size], "error")
        yield case(f"from {size}", sound[size:])
    for number in range(count):
        content = sound
        for _ in range(draw.choice([1, 1, 3])):
            content = damage(content or b"\0", draw)
        yield case(f"damage {seed}.{number}", content)


def tickers(seed: int = 0) -> Iterator[Case]:
    """Yield lists of tickers that are none."""
    row = {"cik_str": 1, "ticker": "A", "title": "ONE"}
    lists: dict[str, Any] = {
        "empty": {}, "a list": [row], "text": "x", "a number": 1, "none": None, "no ticker": {"0": {"cik_str": 1}},
        "a deep one": 0,
        "cik in text": {"0": row | {"cik_str": "1"}}, "cik of truth": {"0": row | {"cik_str": True}},
        "negative": {"0": row | {"cik_str": -1}},
        "huge": {"0": row | {"cik_str": 10**30}}, "fraction": {"0": row | {"cik_str": 1.5}},
        "ticker of numbers": {"0": row | {"ticker": 5}},
    }  # fmt: skip
    contents = {name: json.dumps(content).encode() for name, content in lists.items()}
    contents |= {
        "a deep one": b"[" * 100_000,
        "bytes": b"\xff\xfe",
        "nothing": b"",
        "HTML": b"<html>",
        "NaN": b'{"0": NaN}',
        "digits": b"9" * 5000,
    }
    for name, content in contents.items():
        files = {ZIP: zip_of(members()), "sec/company_tickers.json": content}
        yield Case(
            f"tickers, {name}", files, {}, "error", "company_tickers.json", load=read_by_ticker, gains="extracts"
        )


def read_by_ticker(folder: Path) -> Panel:
    panel = Panel(DAYS, ["A"], [[0.01]] * len(DAYS))
    return attach(panel, SecConfig(str(folder / "sec"), first="2019Q4", last="2019Q4"))
