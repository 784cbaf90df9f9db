"""What is true of every quarterly zip of the Financial Statement Data Sets, and where one is not as it should be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.data.archives import Archive, open_archive
from finattn.data.sec.tables import NUMBER, TEXT, WHOLE, WORD, read_table
from finattn.errors import InputError

MEMBERS = ("sub.txt", "num.txt", "tag.txt")
LARGEST = 2 * 2**30  # bytes unpacked; quarters reach 700 MB
SUB = {
    "adsh": TEXT, "cik": WHOLE, "sic": WHOLE, "form": TEXT, "period": WHOLE, "fy": TEXT, "fp": TEXT, "accepted": TEXT,
}  # fmt: skip
NUM = {
    "adsh": WORD, "tag": WORD, "version": WORD, "ddate": WHOLE, "qtrs": WHOLE, "uom": WORD, "segments": WORD,
    "coreg": WORD, "value": NUMBER,
}  # fmt: skip
TAG = {"tag": TEXT, "version": TEXT}
OPTIONAL = ("segments", "coreg")  # the first since 2025, the second until then in another place
ROUNDED = np.timedelta64(15, "D")  # by which the SEC's end of a period, the nearest end of a month, may be too late
KEY = ("adsh", "tag", "version", "ddate", "qtrs", "uom", "segments", "coreg")


class Fault(NamedTuple):
    """A column, what it must be, and in which rows of a frame it is not."""

    column: str
    expected: str
    rows: np.ndarray


def as_days(numbers: pd.Series) -> pd.Series:
    """Return days of numbers such as 20151231, NaT where there is none.

    Examples
    --------
    >>> as_days(pd.Series([20151231.0, 20150231, None])).isna().tolist()
    [False, True, True]
    """
    whole = numbers.fillna(0).to_numpy().astype(np.int64)
    year, month, day = whole // 10000, whole // 100 % 100, whole % 100
    right = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1)
    first = (np.where(right, (year - 1970) * 12 + month - 1, 0)).astype("M8[M]")
    days = first.astype("M8[D]") + np.where(right, day - 1, 0)
    right &= days.astype("M8[M]") == first
    return pd.Series(np.where(right, days, np.datetime64("NaT")).astype("M8[s]"), index=numbers.index)


def as_moments(text: pd.Series) -> pd.Series:
    """Return dates with times such as "2015-02-27 16:31:00.0", NaT where it is none."""
    shaped = text.str.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
    return pd.to_datetime(text.where(shaped), format="ISO8601", errors="coerce").astype("datetime64[s]")


def sub_faults(sub: pd.DataFrame) -> Iterator[Fault]:
    """Yield what the SEC's own process would not let through in the table of filings."""
    yield Fault("adsh", "an accession number", ~sub["adsh"].str.fullmatch(r"\d{10}-\d{2}-\d{6}").to_numpy(bool))
    yield Fault("adsh", "unique", sub["adsh"].duplicated().to_numpy())
    yield Fault("cik", "a number from 1", ~sub["cik"].between(1, 10**10 - 1).to_numpy())
    yield Fault("sic", "a code of up to four digits or empty", ~sub["sic"].fillna(0).between(0, 9999).to_numpy())
    accepted = as_moments(sub["accepted"])
    yield Fault("accepted", "a date with a time", accepted.isna().to_numpy())
    yield Fault("accepted", "from 1993 to 2099", ~accepted.dt.year.between(1993, 2099).to_numpy())
    given = sub["period"].notna()
    yield Fault("period", "a date such as 20151231", (given & as_days(sub["period"]).isna()).to_numpy())


def filer_faults(sub: pd.DataFrame) -> Iterator[Fault]:
    """Yield what a filer can get wrong in a single filing."""
    period, accepted = as_days(sub["period"]), as_moments(sub["accepted"])
    yield Fault("period", "given", sub["period"].isna().to_numpy())
    early = (accepted.dt.normalize() + ROUNDED < period).to_numpy()
    yield Fault("accepted", "at most 15 days before the period's end", early)


def num_faults(num: pd.DataFrame, filings: pd.Index) -> Iterator[Fault]:
    """Yield what is wrong in a block of the table of numbers; `filings` has each accession number once."""
    yield Fault("adsh", "a filing of sub.txt", _each(num["adsh"], lambda values: filings.get_indexer(values) < 0))
    yield Fault("tag", "given", _each(num["tag"], lambda values: values == ""))
    yield Fault("uom", "given", _each(num["uom"], lambda values: values == ""))
    yield Fault("ddate", "a date such as 20151231", as_days(num["ddate"]).isna().to_numpy())
    yield Fault("qtrs", "a whole number from 0", ~(num["qtrs"] >= 0).to_numpy())
    yield Fault("value", "finite", np.isinf(num["value"].to_numpy()))


def _each(column: pd.Series, test: Callable[[pd.Index], Any]) -> np.ndarray:
    """Return for each row what a test says of its word, asked once for each word."""
    return np.asarray(test(column.cat.categories), bool)[column.cat.codes]


def refuse(place: str, frame: pd.DataFrame, faults: Iterable[Fault]) -> None:
    """Raise for the first fault that has rows."""
    for sentence in sentences(place, frame, faults):
        raise InputError(sentence)


def hashes(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Return a number for each row, which tells rows apart by some columns."""
    return pd.util.hash_pandas_object(frame[list(columns)], index=False).to_numpy()


def sentences(place: str, frame: pd.DataFrame, faults: Iterable[Fault]) -> Iterator[str]:
    """Yield a sentence for each fault that has rows: what was expected, what was found, and where."""
    for column, expected, rows in faults:
        if rows.any():
            row = int(np.argmax(rows))
            more = f", and {int(rows.sum()) - 1} more" if rows.sum() > 1 else ""
            found = f"found {_show(frame[column].iloc[row])} in row {frame.index[row]}{more}"
            yield f"{place}: {column} must be {expected}, {found}"


def _show(value: object) -> str:
    if isinstance(value, float | np.floating):
        return "none" if np.isnan(value) else f"{value:.15g}"
    return repr(str(value)[:40]) if isinstance(value, str) else str(value)


def check(path: str | Path) -> list[str]:
    r"""Return what is wrong with a quarterly zip, a sentence for each kind of fault; none where it is as it should be.

    Members sub.txt, num.txt and tag.txt with their columns; accession numbers unique in sub.txt and all others known
    there; tags known in tag.txt; the key of num.txt unique; dates, durations, values, codes and moments of acceptance
    that can be read, and no filing accepted more than 15 days before its period's end.

    Parameters
    ----------
    path : such as "sec/2015q1.zip".

    Returns
    -------
    Sentences that name the file, the member, the column, what was found and the first row of it.

    Raises
    ------
    InputError
        Where nothing more can be said: no zip archive, members or columns missing, cells that are no numbers.

    Examples
    --------
    A number of a filing that is not there:

    >>> import tempfile, zipfile
    >>> from finattn.data import sec
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(f"{folder}/2015q1.zip", "w") as quarter:
    ...         quarter.writestr("sub.txt", "adsh\tcik\tsic\tform\tperiod\tfy\tfp\taccepted\n")
    ...         quarter.writestr("tag.txt", "tag\tversion\nA\tB\n")
    ...         number = "7\tA\tB\t20141231\t0\tUSD\t1\n"
    ...         quarter.writestr("num.txt", f"adsh\ttag\tversion\tddate\tqtrs\tuom\tvalue\n{number}")
    ...     faults = sec.check(f"{folder}/2015q1.zip")
    >>> [fault.split(": ", 1)[1] for fault in faults]
    ["num.txt: adsh must be a filing of sub.txt, found '7' in row 0"]
    """
    with open_archive(path, MEMBERS, limit=LARGEST) as archive:
        sub, tag = read_sub(archive), pd.concat(list(read_table(archive, "tag.txt", TAG)))
        found = list(sentences(f"{path}: sub.txt", sub, (*sub_faults(sub), *filer_faults(sub))))
        keys = []
        for num in read_table(archive, "num.txt", NUM, OPTIONAL):
            unknown = ~np.isin(hashes(num, tuple(TAG)), hashes(tag, tuple(TAG)))
            faults = (*num_faults(num, pd.Index(sub["adsh"].unique())), Fault("tag", "a tag of tag.txt", unknown))
            found += sentences(f"{path}: num.txt", num, faults)
            keys.append(hashes(num, KEY))
    twice = pd.Series(np.concatenate(keys)).duplicated()
    if twice.any():
        found.append(f"{path}: num.txt: {', '.join(KEY)} must be unique together, found row {twice.idxmax()} again")
    return found


def read_sub(archive: Archive) -> pd.DataFrame:
    """Return the table of filings."""
    return pd.concat(list(read_table(archive, "sub.txt", SUB)))
