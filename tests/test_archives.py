"""Zip archives of strangers: what is read, and what is refused in one line that names file and member."""

import io
import os
import re
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from finattn.data.archives import open_archive
from finattn.errors import InputError

TEXT = b"".join(b"%d\tline\n" % i for i in range(5000))


def put(folder: Path, members: list, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write (name or ZipInfo, bytes) pairs."""
    with zipfile.ZipFile(folder / "a.zip", "w") as written:
        for name, content in members:
            written.writestr(name, content, method)
    return folder / "a.zip"


def read(path: Path, name: str = "num.txt", limit: int = 10**8) -> bytes:
    with open_archive(path, [name], limit=limit) as archive:
        return archive.read(name)


def patch(path: Path, size: int | None = None, crc: int | None = None, flags: int | None = None) -> Path:
    """Change what the central directory, and the local header, say of the first member."""
    raw = bytearray(path.read_bytes())
    for signature, shift in ((b"PK\x01\x02", 2), (b"PK\x03\x04", 0)):
        at = raw.find(signature)
        for offset, kind, value in ((22, "<I", size), (14, "<I", crc), (6, "<H", flags)):
            if value is not None:
                struct.pack_into(kind, raw, at + offset + shift, value)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_is_read_whole_or_in_blocks_and_others_are_ignored(tmp_path, method):
    path = put(tmp_path, [("readme.htm", b"x"), ("num.txt", TEXT), ("folder/", b"")], method)
    assert read(path) == TEXT
    with open_archive(path, ["num.txt"], limit=len(TEXT)) as archive:
        blocks = list(archive.blocks("num.txt", 1000))
        assert list(archive.members) == ["num.txt"]
    assert b"".join(blocks) == TEXT and max(map(len, blocks)) == 1000
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_an_empty_member_is_empty(tmp_path):
    assert read(put(tmp_path, [("num.txt", b"")])) == b""


@pytest.mark.parametrize(
    "name", ["/num.txt", "../num.txt", "a/../../num.txt", "..", "C:num.txt", "c:/num.txt", "a\\num.txt", "\\\\host\\a"]
)
def test_a_name_that_leads_elsewhere_is_refused_even_where_it_is_not_wanted(tmp_path, name):
    info = zipfile.ZipInfo("x")
    info.filename = name
    path = put(tmp_path, [("num.txt", TEXT), (info, b"evil")])
    with pytest.raises(InputError, match=r"a\.zip: member '.+' must have a plain relative name"):
        read(path)


def test_a_name_cut_by_a_null_byte_is_refused(tmp_path):
    path = put(tmp_path, [("num.txt/evil", TEXT)])
    path.write_bytes(path.read_bytes().replace(b"num.txt/evil", b"num.txt\0evil"))
    with pytest.raises(InputError, match="member 'num.txt.x00evil' must have a plain relative name"):
        read(path)


def test_dots_within_a_name_are_no_traversal(tmp_path):
    assert read(put(tmp_path, [("num..txt", TEXT)]), "num..txt") == TEXT


@pytest.mark.parametrize("kind, found", [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a special file")])
def test_links_and_devices_are_refused(tmp_path, kind, found):
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    with pytest.raises(InputError, match=f"a.zip: member 'link' must be a file, found {found}"):
        read(put(tmp_path, [("num.txt", TEXT), (info, b"/etc/passwd")]))


def test_an_encrypted_member_is_refused(tmp_path):
    with pytest.raises(InputError, match="member 'num.txt' must not be encrypted"):
        read(patch(put(tmp_path, [("num.txt", TEXT)]), flags=1))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="a.zip: members must be unique, found more than one 'num.txt'"):
        read(put(tmp_path, [("num.txt", TEXT), ("num.txt", b"other")]))


def test_a_member_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="a.zip: must have members sub.txt, found no sub.txt"):
        read(put(tmp_path, [("num.txt", TEXT)]), "sub.txt")


def test_too_many_members_are_refused(tmp_path):
    with pytest.raises(InputError, match="at most 1000 members, found 1001"):
        read(put(tmp_path, [(f"{i}.txt", b"") for i in range(1001)]))


def test_a_method_other_than_deflate_is_refused(tmp_path):
    with pytest.raises(InputError, match="member num.txt must be stored or deflated, found method 14"):
        read(put(tmp_path, [("num.txt", TEXT)], zipfile.ZIP_LZMA))


def test_what_declares_more_than_the_limit_is_refused_by_the_sum_of_the_wanted(tmp_path):
    path = put(tmp_path, [("num.txt", TEXT), ("sub.txt", b"x" * 10), ("other.txt", TEXT)])
    with open_archive(path, ["num.txt", "sub.txt"], limit=len(TEXT) + 10):
        pass
    with (
        pytest.raises(InputError, match=f"at most {len(TEXT) + 9} bytes, found {len(TEXT) + 10} .*by member num.txt"),
        open_archive(path, ["num.txt", "sub.txt"], limit=len(TEXT) + 9),
    ):
        pass


def test_a_bomb_is_refused_by_its_ratio_before_it_is_unpacked(tmp_path):
    path = put(tmp_path, [("num.txt", bytes(2**21))])
    with pytest.raises(InputError, match="member num.txt must unpack to at most 100 times its [0-9]+ packed bytes"):
        read(path)


@pytest.mark.parametrize("crc", [None, 0])
def test_a_header_that_declares_too_little_does_not_let_more_through(tmp_path, crc):
    path = patch(put(tmp_path, [("num.txt", TEXT)]), size=100, crc=crc)
    with pytest.raises(InputError, match="num.txt must have the 100 bytes it declares, found more|damaged"):
        read(path)


def test_a_bomb_that_declares_little_stops_at_what_it_declares(tmp_path):
    path = patch(put(tmp_path, [("num.txt", bytes(2**24))]), size=1000)
    given = 0
    with (
        pytest.raises(InputError, match="member num.txt"),
        open_archive(path, ["num.txt"], limit=10**8) as archive,
    ):
        for block in archive.blocks("num.txt", 100):
            given += len(block)
    assert given <= 1001


def test_a_prefix_with_its_own_checksum_does_not_pass_for_the_whole(tmp_path):
    path = patch(put(tmp_path, [("num.txt", TEXT)]), size=1000, crc=zipfile.crc32(TEXT[:1000]))
    with pytest.raises(InputError, match="member num.txt must be whole, found it damaged: Bad CRC"):
        read(path)


def test_a_header_that_declares_too_much_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"the {len(TEXT) + 5} bytes it declares, found {len(TEXT)}"):
        read(patch(put(tmp_path, [("num.txt", TEXT)]), size=len(TEXT) + 5))


def test_a_wrong_checksum_is_refused(tmp_path):
    with pytest.raises(InputError, match="member num.txt must be whole, found it damaged: Bad CRC"):
        read(patch(put(tmp_path, [("num.txt", TEXT)]), crc=1))


def test_every_cut_and_every_flipped_byte_reads_as_before_or_is_refused_in_one_line(tmp_path):
    whole = put(tmp_path, [("num.txt", b"adsh\ttag\n" * 20), ("sub.txt", b"adsh\n")]).read_bytes()
    path = tmp_path / "b.zip"
    changed = [whole[:n] for n in range(len(whole))]
    changed += [whole[:n] + bytes([whole[n] ^ flip]) + whole[n + 1 :] for n in range(len(whole)) for flip in (1, 255)]
    for raw in changed:
        path.write_bytes(raw)
        try:
            assert read(path) == b"adsh\ttag\n" * 20
        except InputError as error:
            assert "\n" not in str(error) and str(path) in str(error)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x05\x06"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip: must be a zip archive"):
        read(tmp_path / "a.zip")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'b.zip'} must be a file, found none")):
        read(tmp_path / "b.zip")


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path, put):
    put(tmp_path / "a.zip")
    with pytest.raises(InputError, match=r"a\.zip must be a file, found something else"):
        read(tmp_path / "a.zip")


def test_an_error_of_the_reader_stays_what_it_is(tmp_path):
    path = put(tmp_path, [("num.txt", TEXT)])
    with pytest.raises(InputError, match="^mine$"), open_archive(path, ["num.txt"], limit=10**8) as archive:
        for _ in archive.blocks("num.txt"):
            raise InputError("mine")
    with pytest.raises(io.UnsupportedOperation), open_archive(path, ["num.txt"], limit=10**8):
        raise io.UnsupportedOperation("mine")
