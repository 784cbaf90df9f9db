"""Files that are either whole or absent.

Everything finattn writes goes to a temporary name beside its destination first and is renamed into place, so that a
process killed at any moment leaves the old file, the new file, or a temporary one that `sweep` removes. A folder is
replaced by two renames; killed between them, `sweep` does the second.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PREFIX = ".partial-"


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
