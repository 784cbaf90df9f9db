"""Files that are either whole or absent.

Everything finattn writes goes to a temporary name beside its destination first and is renamed into place, so that a
process killed at any moment leaves the old file, the new file, or a temporary one that `sweep` removes. A folder is
replaced by two renames; killed between them, `sweep` does the second.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finattn.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_PREFIX = ".partial-"
_MEND = "delete it and run again"


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; on leaving without an error it becomes `path`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder) / "note.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "note.txt").read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{_PREFIX}{path.name}-", dir=path.parent)
    os.close(handle)
    os.chmod(name, 0o666 & ~_umask())
    try:
        yield Path(name)
        _sync(Path(name))
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; on leaving without an error it becomes `path`, in place of any that was there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{path.name}-", dir=path.parent))
    fresh, old = holder / "new", holder / "old"
    fresh.mkdir()
    try:
        yield fresh
        for file in fresh.rglob("*"):
            if file.is_file():
                _sync(file)
        if path.exists():
            os.replace(path, old)
        os.replace(fresh, path)
    finally:
        if old.exists() and not path.exists():  # the second rename failed
            os.replace(old, path)
        shutil.rmtree(holder, ignore_errors=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically; NaN and infinities are refused, since JSON has none."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path, mend: str = _MEND) -> dict[str, Any]:
    """Read a mapping that `write_json` wrote.

    Parameters
    ----------
    path : of the file. mend : what the reader is told to do about a damaged one.

    Raises
    ------
    InputError
        For what is no JSON, or no mapping.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(f"{folder}/note.json", {"seeds": [0, 1]})
    ...     read_json(f"{folder}/note.json")
    {'seeds': [0, 1]}
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} must be JSON: {_told(error)}; {mend}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must be JSON of a mapping, found {type(content).__name__}; {mend}")
    return content


def read_table(path: str | Path, columns: Iterable[str] = (), mend: str = _MEND) -> "pd.DataFrame":
    """Read a Parquet table.

    Parameters
    ----------
    path : of the file. columns : that it must have. mend : what the reader is told to do about a damaged one.

    Raises
    ------
    InputError
        For what is no Parquet file, or a part of one, and where a column is missing.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pd.DataFrame({"firm": ["A", "B"]}).to_parquet(f"{folder}/firms.parquet")
    ...     read_table(f"{folder}/firms.parquet")["firm"].tolist()
    ['A', 'B']
    """
    import pandas as pd
    import pyarrow as pa

    with Path(path).open("rb") as stream:  # a file that cannot be opened is no damaged one
        try:
            table = pd.read_parquet(stream)
        except (ValueError, pa.ArrowException, OSError) as error:
            raise InputError(f"{path} must be a whole Parquet table: {_told(error)}; {mend}") from None
    if missing := [name for name in columns if name not in table]:
        raise InputError(f"{path} must have columns {', '.join(columns)}, found no {', '.join(missing)}; {mend}")
    return table


def check_like(content: Any, like: Any, path: str | Path, mend: str = _MEND) -> None:
    """Refuse what was read from JSON and is not shaped as it was written.

    Parameters
    ----------
    content : what was read.
    like : its shape: a type; a list with the shape of every item; a mapping with the shapes of keys that must be there,
        beside any others, or with that of all under `...`.
    path : of the file. mend : as of `read_json`.

    Raises
    ------
    InputError
        Naming the first part that is otherwise.

    Examples
    --------
    >>> check_like({"folds": [{"fold": 0}, {"fold": "one"}]}, {"folds": [{"fold": int}]}, "note.json")
    Traceback (most recent call last):
    finattn.errors.InputError: note.json: folds.1.fold must be int, found 'one'; delete it and run again
    """
    if fault := next(_faults(content, like, ()), ""):
        raise InputError(f"{path}: {fault}; {mend}")


def _faults(found: Any, like: Any, place: tuple[Any, ...]) -> Iterator[str]:
    kind: Any = type(like) if isinstance(like, dict | list) else like
    if not isinstance(found, kind) or isinstance(found, bool):
        words = {dict: "a mapping", list: "a list"}.get(kind, getattr(kind, "__name__", str(kind)))
        yield f"{'.'.join(map(str, place)) or 'it'} must be {words}, found {str(repr(found))[:60]}"
    elif isinstance(like, dict):
        shapes = dict.fromkeys(found, like[...]) if ... in like else like
        for key, inner in shapes.items():
            yield from _faults(dict(found).get(key), inner, (*place, key))
    elif isinstance(like, list):
        for number, item in enumerate(found):
            yield from _faults(item, like[0], (*place, number))


def _told(error: Exception) -> str:
    """Return another library's message on one line, without a name of its own for what it read."""
    return " ".join(str(error).split()).rpartition("'<Buffer>': ")[2][:200].rstrip(".") or type(error).__name__


def sweep(folder: str | Path) -> None:
    """Remove what a killed process left half-written anywhere under `folder`."""
    for leftover in list(Path(folder).rglob(f"{_PREFIX}*")):
        if leftover.is_dir():
            _rescue(leftover)
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Remove a folder at once, under a name that `is_partial`: a kill in the middle leaves no half of it behind."""
    holder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}discarded-", dir=folder.parent))
    os.replace(folder, holder / "discarded")
    shutil.rmtree(holder)


def is_partial(path: Path) -> bool:
    """Say whether a path is something half-written, or half-removed, that a killed process left."""
    return path.name.startswith(_PREFIX)


def _rescue(holder: Path) -> None:
    """Finish `atomic_folder` where it was killed between its two renames: the new folder is whole by then."""
    destination = holder.parent / holder.name.removeprefix(_PREFIX).rpartition("-")[0]
    if (holder / "old").exists() and (holder / "new").exists() and not destination.exists():
        os.replace(holder / "new", destination)


def _sync(path: Path) -> None:
    """Flush the file's bytes to disk before its name says that it is whole."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    """Return the process's umask: temporary files are private, finished ones are as any other file."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
