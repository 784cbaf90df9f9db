"""Quarterly zips of the Financial Statement Data Sets, each read once and then kept as a small extract beside it."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pyarrow.lib import ArrowException

from finattn.config.sec import SecConfig
from finattn.data.archives import open_archive, require_file
from finattn.data.sec import invariants
from finattn.data.sec.invariants import as_days, as_moments, filer_faults, refuse
from finattn.data.sec.tables import read_table
from finattn.data.sec.tags import FIGURES, choose, nearest_month, tag_hash, tag_table
from finattn.errors import InputError
from finattn.storage import atomic_folder

_VERSION = 2  # of the extracts
_FILINGS = [*(name for name in invariants.SUB if name != "period"), "month"]


class Quarter(NamedTuple):
    """What is used of one or more quarterly zips.

    filings : adsh, cik, sic (NaN for none), form, fy, fp, accepted (day and time, Eastern), month of its period's end.
    figures : see `finattn.data.sec.tags.choose`; filing is a row of `filings`.
    counts : rows by what became of them.
    """

    filings: pd.DataFrame
    figures: pd.DataFrame
    counts: dict[str, int]


def quarters_between(first: str, last: str) -> list[str]:
    """Return the quarters from the first to the last, both inside.

    Examples
    --------
    >>> quarters_between("2015Q4", "2016Q2")
    ['2015Q4', '2016Q1', '2016Q2']
    """
    start, stop = (4 * int(name[:4]) + int(name[5]) - 1 for name in (first, last))
    return [f"{place // 4}Q{place % 4 + 1}" for place in range(start, stop + 1)]


def zip_path(folder: str | Path, quarter: str) -> Path:
    """Return where the zip of a quarter lies."""
    return Path(folder) / f"{quarter.lower()}.zip"


def read_quarter(path: str | Path) -> Quarter:
    """Read one quarterly zip, checking on the way all that `finattn.data.sec.check` does but tag.txt.

    Filings without a period, or accepted more than 15 days before its end (the SEC rounds it to the end of a month),
    are filers' mistakes: they are left out and counted, and so are numbers that are there again, of which the first
    counts.

    Raises
    ------
    InputError
        Naming file, member, row and column.
    """
    with open_archive(path, invariants.MEMBERS, limit=invariants.LARGEST) as archive:
        sub = invariants.read_sub(archive)
        refuse(f"{path}: sub.txt", sub, invariants.sub_faults(sub))
        filings = pd.Index(sub["adsh"])
        counts = {"filings": len(sub), "numbers": 0, "numbers_of_parts": 0, "numbers_of_other_units": 0}
        kept = []
        for num in read_table(archive, "num.txt", invariants.NUM, invariants.OPTIONAL):
            refuse(f"{path}: num.txt", num, invariants.num_faults(num, filings))
            kept.append(_wanted(num, counts))
    numbers = pd.concat(kept)
    twice = pd.Series(invariants.hashes(numbers, invariants.KEY)).duplicated().to_numpy()
    counts["numbers_repeated"], numbers = int(twice.sum()), numbers[~twice]
    for fault, name in zip(filer_faults(sub), ("filings_without_period", "filings_before_their_period"), strict=True):
        counts[name] = int(fault.rows.sum())
    sub = sub[~np.any([fault.rows for fault in filer_faults(sub)], axis=0)].reset_index(drop=True)
    month = nearest_month(as_days(sub["period"]))
    numbers = numbers.assign(filing=pd.Index(sub["adsh"]).get_indexer(numbers["adsh"]), ddate=as_days(numbers["ddate"]))
    figures = choose(numbers[numbers["filing"] >= 0], month)
    sub = sub.assign(accepted=as_moments(sub["accepted"]), month=month).drop(columns="period")
    return Quarter(sub, figures, counts)


def _wanted(num: pd.DataFrame, counts: dict[str, int]) -> pd.DataFrame:
    """Return the rows of a block that are used, and count the others that have a tag of the table."""
    counts["numbers"] += len(num)
    num = num[num["tag"].isin(tag_table()["tag"].unique()).to_numpy() & num["value"].notna().to_numpy()]
    num = num.astype(dict.fromkeys(("adsh", "tag", "version", "uom", "segments", "coreg"), "object"))
    num = num.assign(taxonomy=num["version"].str.replace(r"/.*", "", regex=True))
    num = num[num["taxonomy"].isin(tag_table()["taxonomy"].unique())]
    whole = (num["segments"] == "") & (num["coreg"] == "")
    unit = num["uom"].isin(tag_table()["unit"].unique())
    counts["numbers_of_parts"] += int((~whole).sum())
    counts["numbers_of_other_units"] += int((whole & ~unit).sum())
    return num[whole & unit]


# -- extracts ------------------------------------------------------------


def extract(path: Path) -> Quarter:
    """Return what `read_quarter` does, from the extract beside the zip where there is one of the same zip and table."""
    require_file(path)
    stat = path.stat()
    key = hashlib.sha256(f"{_VERSION} {stat.st_size} {stat.st_mtime_ns} {tag_hash()}".encode()).hexdigest()
    folder = path.parent / "extracts" / path.stem
    try:
        note = json.loads((folder / "note.json").read_text(encoding="utf-8"))
        if note["key"] == key:
            filings, figures = (pd.read_parquet(folder / f"{name}.parquet") for name in ("filings", "figures"))
            filings = filings[_FILINGS].astype({"accepted": "datetime64[s]"})
            return Quarter(filings, figures[list(FIGURES)].astype(FIGURES), note["counts"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ArrowException):
        pass  # none there, or a damaged one: it is made again
    quarter = read_quarter(path)
    try:
        with atomic_folder(folder) as fresh:
            quarter.filings.to_parquet(fresh / "filings.parquet")
            quarter.figures.to_parquet(fresh / "figures.parquet")
            (fresh / "note.json").write_text(json.dumps({"key": key, "counts": quarter.counts}), encoding="utf-8")
    except OSError:
        pass  # what lies in a folder that cannot be written is read all the same
    return quarter


def load_quarters(config: SecConfig, ciks: Collection[int] | None = None) -> Quarter:
    """Return the filings of the quarters, forms and firms asked for, by firm and acceptance, with their numbers.

    Raises
    ------
    InputError
        Where a quarter between the first and the last is not in the folder, and where a zip is not as it should be.
    """
    filings, figures = [], []
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for name in present(config):
        quarter = extract(zip_path(str(config.folder), name))
        used = quarter.filings["form"].isin(config.forms)
        counts.update(quarter.counts, filings_of_other_forms=int((~used).sum()))
        if ciks is not None:
            used &= quarter.filings["cik"].isin(ciks)
        used &= ~quarter.filings["adsh"].isin(seen)  # a filing of the last evening of a quarter may be in two
        rows = len(seen)
        seen.update(quarter.filings["adsh"][used])
        filings.append(quarter.filings[used])
        told = quarter.figures[used.to_numpy()[quarter.figures["filing"]]]
        figures.append(told.assign(filing=(rows - 1 + used.cumsum()).to_numpy()[told["filing"]]))
    counts["filings_used"] = len(seen)
    return _in_order(pd.concat(filings, ignore_index=True), pd.concat(figures), dict(counts))


def _in_order(filings: pd.DataFrame, figures: pd.DataFrame, counts: dict[str, int]) -> Quarter:
    """Put filings in the order of firms and acceptance, an amendment last, and figures in that of filings."""
    order = filings.sort_values(["cik", "accepted", "form", "adsh"], kind="stable").index.to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    figures = figures.assign(filing=place[figures["filing"]])
    figures = figures.sort_values("filing", kind="stable", ignore_index=True)
    return Quarter(filings.iloc[order].reset_index(drop=True), figures, counts)


def present(config: SecConfig) -> list[str]:
    """Return the quarters to read, of which none between the first and the last may lack."""
    if config.folder is None:
        raise InputError("data.sec.folder must be the folder of the quarterly zips, found none")
    there = {file.stem.upper() for file in Path(config.folder).glob("*.zip") if re.fullmatch(r"\d{4}q[1-4]", file.stem)}
    there = {name for name in there if name >= config.first and (config.last is None or name <= config.last)}
    if not there:
        raise InputError(f"data.sec.folder must hold quarterly zips from {config.first}, found none in {config.folder}")
    wanted = quarters_between(config.first, config.last or max(there))
    missing = [name for name in wanted if name not in there]
    if missing:
        raise InputError(
            f"data.sec.folder must hold every quarter from {wanted[0]} to {wanted[-1]}, found no "
            f"{zip_path('', missing[0])} in {config.folder}"
        )
    return wanted
