"""Small quarterly zips in the exact format of the Financial Statement Data Sets, written by hand for tests."""

import io
import zipfile
from pathlib import Path

SUB = (
    "adsh cik name sic countryba stprba cityba zipba bas1 bas2 baph countryma stprma cityma zipma mas1 mas2 countryinc "
    "stprinc ein former changed afs wksi fye form period fy fp filed accepted prevrpt detail instance nciks aciks"
).split()
NUM = "adsh tag version ddate qtrs uom segments coreg value footnote".split()
NUM_UNTIL_2024 = "adsh tag version coreg ddate qtrs uom value footnote".split()
TAG = "tag version custom abstract datatype iord crdr tlabel doc".split()
PRE = "adsh report line stmt inpth rfile tag version plabel negating".split()


def filing(adsh: int, cik: int, form: str, period: str, accepted: str, **more) -> dict:
    """Return a row of sub.txt; `period` is "2015-12-31", `accepted` "2016-02-26 16:31:00"."""
    year, day = period[:4], period.replace("-", "")
    row = dict.fromkeys(SUB, "") | {
        "adsh": f"{adsh:010d}-{accepted[2:4]}-000001", "cik": cik, "name": f"FIRM {cik} & \"SONS\" INC", "sic": 3571,
        "wksi": 0, "fye": "1231", "form": form, "period": day, "fy": year, "fp": "FY" if "K" in form else "Q1",
        "filed": accepted[:10].replace("-", ""), "accepted": f"{accepted}.0", "prevrpt": 0, "detail": 1,
        "instance": f"firm-{day}.xml", "nciks": 1,
    }  # fmt: skip
    return row | more


def number(of: dict, tag: str, end: str, qtrs: int, value: float | str, **more) -> dict:
    """Return a row of num.txt, of a filing; `end` is "2015-12-31"."""
    year = of["accepted"][:4]
    shares = "Shares" in tag
    row = dict.fromkeys(NUM, "") | {
        "adsh": of["adsh"], "tag": tag, "version": f"{'dei' if tag.startswith('Entity') else 'us-gaap'}/{year}",
        "ddate": end.replace("-", ""), "qtrs": qtrs, "uom": "shares" if shares else "USD",
        "value": value if isinstance(value, str) else f"{value:.4f}",
    }  # fmt: skip
    return row | more


def table(columns: list[str], rows: list[dict]) -> bytes:
    """Return rows as the SEC writes them: tab-separated, a header, lines that end in one byte."""
    lines = ["\t".join(columns), *("\t".join(str(row[name]) for name in columns) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode()


def tags_of(numbers: list[dict]) -> list[dict]:
    """Return the rows of tag.txt that numbers need."""
    pairs = sorted({(row["tag"], row["version"]) for row in numbers})
    return [dict.fromkeys(TAG, "") | {"tag": tag, "version": version, "custom": 0} for tag, version in pairs]


def write_zip(path: Path, filings: list[dict], numbers: list[dict], columns: list[str] = NUM, **members: bytes) -> Path:
    """Write a quarterly zip; a member given by the first letters of its name goes in place of the one made of rows."""
    content = {
        "sub": table(SUB, filings), "tag": table(TAG, tags_of(numbers)), "num": table(columns, numbers),
        "pre": table(PRE, []), "readme": b"<html></html>",
    } | members  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as written:
        for name, member in content.items():
            if member is not None:
                written.writestr("readme.htm" if name == "readme" else f"{name}.txt", member)
    path.write_bytes(raw.getvalue())
    return path


def write_quarters(folder: Path, filings: list[dict], numbers: list[dict], columns: list[str] = NUM) -> Path:
    """Write filings into the zips of the quarters in which they were accepted, with empty ones between."""
    place = {row["adsh"]: 4 * int(row["accepted"][:4]) + (int(row["accepted"][5:7]) - 1) // 3 for row in filings}
    for quarter in range(min(place.values()), max(place.values()) + 1):
        own = [row for row in filings if place[row["adsh"]] == quarter]
        told = [row for row in numbers if place[row["adsh"]] == quarter]
        write_zip(folder / f"{quarter // 4}q{quarter % 4 + 1}.zip", own, told, columns)
    return folder
