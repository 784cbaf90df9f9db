"""What became of a malformed input: a valid panel, or one clear error; anything else is unclean.

The inputs are made by `benchmarks.malformed`.
"""

import dataclasses
import os
import re
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finattn.config import DataConfig
from finattn.data import load
from finattn.errors import InputError
from finattn.panel import Panel

_SECONDS = 20  # that one input may take
_LONGEST = 500  # characters of a message
_PLACES = ("industries", "path")  # keys that name files


class Hang(BaseException):
    """An input that takes too long; no error that a library or the package would catch."""


@dataclass(frozen=True)
class Case:
    """An input, and what may become of it.

    Parameters
    ----------
    name : says what is wrong. files : bytes, or a function of the path that makes something else there, by name.
    keys : of the configuration; `path` and others that name files are names within the folder.
    expect : "any" (a valid panel or an error), "error", or "equal": the panel that `good` gives.
    file : name that an error must have, if not that of `path`. row : that it must name. words : that it must hold.
    good : of "equal", a case that is sound. load : instead of `finattn.data.load`, by the folder. gains : name of a
        folder that an input which is sound may gain.
    """

    name: str
    files: Mapping[str, bytes | Callable[[Path], Any]]
    keys: Mapping[str, Any] = field(default_factory=lambda: {"path": "a.csv"})
    expect: str = "any"
    file: str = ""
    row: int | None = None
    words: tuple[str, ...] = ()
    good: "Case | None" = None
    load: Callable[[Path], Any] | None = None
    gains: str = ""


def unclean(cases: Iterable[Case]) -> tuple[int, list[str]]:
    """Try cases, each in a folder of its own; return how many there were, and what is wrong with those not clean."""
    count, found = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for count, case in enumerate(cases, 1):
            place = Path(folder) / str(count)
            fault = outcome(case, place)
            if fault:
                found.append(f"{case.name}: {fault}")
    return count, found


def outcome(case: Case, folder: Path) -> str:
    """Write a case's files to a new folder and load them; return what is wrong with what became of it, "" for nothing.

    Clean is a valid panel, unless an error is expected, or an `InputError` of one line that names the file, and the
    row and column where the case has them; no warning, no change of any file, no file that was not there.
    """
    _write(case, folder)
    before, panel = _listing(folder), None
    try:
        with warnings.catch_warnings(), _limit(), _unraisable() as lost:
            warnings.simplefilter("error")
            panel = _load(case, folder)
            fault = _invalid(panel) or ("" if case.expect != "error" else "no error")
            if case.expect == "equal" and case.good and not fault:
                _write(case.good, folder / "good")
                same = _fingerprint(panel) == _fingerprint(_load(case.good, folder / "good"))
                return "" if same else "another panel than that of the sound input"
    except InputError as error:
        fault = _unclear(case, error)
    except (Exception, Hang) as error:
        fault = f"{type(error).__name__}: {error}"[:200]
    if lost:
        return f"{lost[0].exc_type.__name__} in a callback"
    gains = case.gains if panel is not None else ""
    return fault or ("" if _listing(folder, gains) == before else "files are not what they were")


def _write(case: Case, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            content(folder / name)


def _load(case: Case, folder: Path) -> Any:
    if case.load is not None:
        return case.load(folder)
    keys = dict(case.keys)
    for name in _PLACES:
        if isinstance(keys.get(name), str):
            keys[name] = str(folder / keys[name])
    if "reports" in keys:
        keys["reports"] = keys["reports"] | {"path": str(folder / keys["reports"]["path"])}
    return load(DataConfig(**({"source": "file"} | keys)))


def _listing(folder: Path, but: str = "") -> dict[str, Any]:
    """Return everything below a folder but what is called so, with the content of files."""
    names = {}
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != but]
        for name in (*folders, *files):
            path = Path(root, name)
            names[str(path)] = path.read_bytes() if path.is_file() else None
    return names


def _invalid(panel: Any) -> str:
    """Say what a panel has that none may have."""
    if not isinstance(panel, Panel):
        return f"a {type(panel).__name__} in place of a panel"
    try:
        panel.replace()
    except InputError as error:
        return f"an invalid panel: {error}"
    returns = panel.returns[~np.isnan(panel.returns)]
    sound = bool(np.isfinite(returns).all() and (returns >= -1).all() and (np.diff(panel.dates).astype(int) > 0).all())
    return "" if sound and len(set(panel.firms.tolist())) == len(panel.firms) else "an invalid panel"


def _unclear(case: Case, error: InputError) -> str:
    """Say what a message lacks."""
    text = str(error)
    file = case.file or Path(str(case.keys.get("path", ""))).name
    faults = [
        (case.expect == "equal", "refused"),
        (type(error) is not InputError, f"a {type(error).__name__}"),
        (error.__cause__ is not None or not error.__suppress_context__ and error.__context__ is not None, "a cause"),
        (not text.isprintable() or not text, "more than a line"),
        (len(text) >= _LONGEST, "too long"),
        (file not in text, f"no file {file}"),
        (case.row is not None and not re.search(rf"\brows? (\d+, )*{case.row}\b", text), f"no row {case.row}"),
        (any(word not in text for word in case.words), f"not all of {', '.join(case.words)}"),
    ]
    wrong = [fault for is_so, fault in faults if is_so]
    return f"{' and '.join(wrong)} in {text!r}"[:700] if wrong else ""


def _fingerprint(panel: Panel) -> str:
    return dataclasses.replace(panel, source={}).fingerprint


@contextmanager
def _unraisable() -> Iterator[list[Any]]:
    """Yield a list that gains what Python would print of exceptions that it cannot raise."""
    before, lost = sys.unraisablehook, []
    sys.unraisablehook = lost.append
    try:
        yield lost
    finally:
        sys.unraisablehook = before


@contextmanager
def _limit() -> Iterator[None]:
    """Raise `Hang` in what takes too long, where the system has an alarm."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: Any) -> None:
        raise Hang(f"more than {_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
