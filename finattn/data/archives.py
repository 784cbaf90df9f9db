"""Zip archives of strangers: what could harm, or is not what it says, is refused, and nothing is extracted to disk.

A member is read in blocks, whole only on request. Its declared size and the ratio at which it is packed are checked
before a byte is unpacked and, since a header can lie, the bytes are counted again while they come.
"""

import copy
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finattn.checks import some
from finattn.errors import InputError

BLOCK = 2**24  # bytes of an unpacked block
LARGEST_RATIO = 100  # unpacked to packed; tables of text reach some 10, a bomb 1000
_SMALL = 2**20  # bytes below which no ratio harms
_MOST_MEMBERS = 1000
_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, OverflowError, NotImplementedError,
           RuntimeError, struct.error)  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """Members of an open archive that were asked for and passed the checks of `open_archive`."""

    path: Path
    members: dict[str, zipfile.ZipInfo]
    opened: zipfile.ZipFile

    def blocks(self, name: str, size: int = BLOCK) -> Iterator[bytes]:
        """Yield a member's bytes in blocks.

        Raises
        ------
        InputError
            Naming file and member, where the bytes are more or fewer than declared, or do not fit their checksum.
        """
        declared = self.members[name].file_size
        info = copy.copy(self.members[name])
        info.file_size = declared + 1  # where zipfile stops; it would cut silently what is longer than declared
        count = 0
        try:
            with self.opened.open(info) as stream:
                while block := stream.read(size):
                    count += len(block)
                    yield block
        except _BROKEN as error:
            raise InputError(f"{self.path}: member {name} must be whole, found it damaged: {_line(error)}") from None
        if count != declared:
            found = "more" if count > declared else count
            raise InputError(f"{self.path}: member {name} must have the {declared} bytes it declares, found {found}")

    def read(self, name: str) -> bytes:
        """Return all bytes of a member; see `blocks`."""
        return b"".join(self.blocks(name))


def require_file(path: Path, expected: str = "a file") -> None:
    """Refuse what is no plain file before it is opened: a pipe would wait for ever, a circle of links leads nowhere."""
    if not os.path.isfile(path):
        found = "something else" if os.path.lexists(path) else "none"
        raise InputError(f"{path} must be {expected}, found {found}")


@contextmanager
def open_archive(path: str | Path, members: Sequence[str], *, limit: int) -> Iterator[Archive]:
    """Open a zip archive to read some of its members; the others are ignored.

    Parameters
    ----------
    path : the file.
    members : names of the members that are wanted, all of which must be there.
    limit : bytes that they may have together when unpacked.

    Raises
    ------
    InputError
        Naming the file, and the member: for what is no zip archive; for any member whose name is absolute, has a drive,
        a backslash or "..", is there twice, that is a link or a device, or that is encrypted; for a wanted one that is
        not there, is packed by another method than deflate, or to less than 1 % of its size; and for too large ones.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.zip"
    ...     with zipfile.ZipFile(file, "w") as written:
    ...         written.writestr("sub.txt", "adsh")
    ...     with open_archive(file, ["sub.txt"], limit=100) as archive:
    ...         archive.read("sub.txt")
    b'adsh'
    """
    path = Path(path)
    require_file(path)
    try:
        opened = zipfile.ZipFile(path)
    except _BROKEN as error:
        raise InputError(f"{path}: must be a zip archive: {_line(error)}") from None
    with opened:
        infos = opened.infolist()
        if len(infos) > _MOST_MEMBERS:
            raise InputError(f"{path}: a zip archive must have at most {_MOST_MEMBERS} members, found {len(infos)}")
        for info in infos:
            _check_member(path, info)
        names = [info.filename for info in infos]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"{path}: members must be unique, found more than one {some(twice)}")
        missing = [name for name in members if name not in names]
        if missing:
            raise InputError(f"{path}: must have members {', '.join(members)}, found no {', '.join(missing)}")
        wanted = {name: opened.getinfo(name) for name in members}
        _check_sizes(path, wanted, limit)
        yield Archive(path, wanted, opened)


def _check_member(path: Path, info: zipfile.ZipInfo) -> None:
    """Refuse a member that no honest archive of tables has, wanted or not."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    place = f"{path}: member {name[:100]!r}"
    if not name or "\0" in name or "\\" in name or re.match(r"/|[A-Za-z]:", name) or ".." in name.split("/"):
        raise InputError(f"{place} must have a plain relative name, found one that leads elsewhere")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{place} must be a file, found a {'link' if kind == stat.S_IFLNK else 'special file'}")
    if info.flag_bits & 1:
        raise InputError(f"{place} must not be encrypted, found it so")


def _check_sizes(path: Path, wanted: dict[str, zipfile.ZipInfo], limit: int) -> None:
    """Refuse members by what their headers say."""
    for name, info in wanted.items():
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{path}: member {name} must be stored or deflated, found method {info.compress_type}")
        if info.file_size > max(_SMALL, LARGEST_RATIO * info.compress_size):
            raise InputError(
                f"{path}: member {name} must unpack to at most {LARGEST_RATIO} times its {info.compress_size} packed "
                f"bytes, found {info.file_size} declared"
            )
    total = sum(info.file_size for info in wanted.values())
    if total > limit:
        largest = max(wanted, key=lambda name: wanted[name].file_size)
        raise InputError(
            f"{path}: members must unpack to at most {limit} bytes, found {total} declared, most by member {largest}"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
