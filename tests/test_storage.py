"""Files are whole or absent, whenever the process dies."""

import json
import os
import re
import stat

import numpy as np
import pandas as pd
import pytest

from finattn.errors import InputError
from finattn.storage import atomic_file, atomic_folder, check_like, read_json, read_table, sweep, write_json


def names(folder) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_appears_whole(tmp_path):
    with atomic_file(tmp_path / "deep" / "note.txt") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "deep" / "note.txt").exists()
        assert temporary.parent == tmp_path / "deep"  # on the same disk, or the rename would copy
    assert (tmp_path / "deep" / "note.txt").read_text() == "half"
    assert names(tmp_path / "deep") == ["note.txt"]


def test_an_error_leaves_the_old_file(tmp_path):
    (tmp_path / "note.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "note.txt") as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    assert (tmp_path / "note.txt").read_text() == "old"
    assert names(tmp_path) == ["note.txt"]


def test_a_finished_file_is_as_readable_as_any_other(tmp_path):
    with atomic_file(tmp_path / "ours"):
        pass
    (tmp_path / "other").write_text("")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_writer_may_replace_the_temporary_file(tmp_path):
    with atomic_file(tmp_path / "array.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, np.arange(3))
    assert np.load(tmp_path / "array.npy").tolist() == [0, 1, 2]


def test_a_folder_replaces_all_of_an_earlier_one(tmp_path):
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "run") as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / text).write_text(text)
    assert names(tmp_path) == ["run"] and names(tmp_path / "run" / "inner") == ["new"]


def test_an_error_leaves_the_old_folder(tmp_path):
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "run") as folder:
        (folder / "a").write_text("new")
        raise RuntimeError
    assert names(tmp_path) == ["run"] and (tmp_path / "run" / "a").read_text() == "old"


def fail_at(monkeypatch, call: int):
    """Let the given call of os.replace fail, as on a full disk."""
    replace, calls = os.replace, []

    def failing(source, destination):
        calls.append(source)
        if len(calls) == call:
            raise OSError("no space")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", failing)


@pytest.mark.parametrize("call", [1, 2])
def test_a_failing_rename_leaves_the_old_folder(tmp_path, monkeypatch, call):
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "a").write_text("old")
    fail_at(monkeypatch, call)
    with pytest.raises(OSError, match="no space"), atomic_folder(tmp_path / "run") as folder:
        (folder / "a").write_text("new")
    assert names(tmp_path) == ["run"] and (tmp_path / "run" / "a").read_text() == "old"


def test_sweep_finishes_a_replacement_that_was_killed_between_its_renames(tmp_path):
    # What SIGKILL leaves there: the old folder has left its name, the new one, whole, has not come to it.
    holder = tmp_path / "runs" / ".partial-my-panel-x1y2z3_4"
    for name in ("old", "new"):
        (holder / name).mkdir(parents=True)
        (holder / name / "a").write_text(name)
    sweep(tmp_path)
    assert names(tmp_path / "runs") == ["my-panel"] and (tmp_path / "runs" / "my-panel" / "a").read_text() == "new"


def test_sweep_removes_what_was_half_written_and_nothing_else(tmp_path):
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / ".partial-a.txt-x").write_text("half")
    (tmp_path / ".partial-panel-y" / "new").mkdir(parents=True)
    (tmp_path / ".partial-panel-y" / "new" / "half").write_text("")
    (tmp_path / "folds" / "a.txt").write_text("whole")
    sweep(tmp_path)
    assert names(tmp_path) == ["folds"] and names(tmp_path / "folds") == ["a.txt"]
    sweep(tmp_path / "absent")


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, 2.5, None]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, 2.5, None]}
    assert names(tmp_path) == ["a.json"]


def test_a_damaged_file_is_one_error_that_names_it_and_says_what_to_do(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"a": ')
    with pytest.raises(InputError, match=r"a.json must be JSON: Expecting value.*; start over$"):
        read_json(file, "start over")
    file.write_text("3")
    with pytest.raises(InputError, match=r"a.json must be JSON of a mapping, found int; delete it and run again$"):
        read_json(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"a.json must be JSON: .*codec can't decode"):
        read_json(file)
    pd.DataFrame({"a": np.arange(999)}).to_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    assert read_table(tmp_path / "a.parquet", ("a",))["a"].tolist() == list(range(999))
    for part in (whole[:-9], whole[:99], whole[:4] + bytes(999) + whole[1003:], b""):
        (tmp_path / "a.parquet").write_bytes(part)
        with pytest.raises(InputError, match=r"a.parquet must be a whole Parquet table: .*; delete it and run again$"):
            read_table(tmp_path / "a.parquet")
    with pytest.raises(FileNotFoundError):  # of the disk's faults the message is another's
        read_table(tmp_path / "absent.parquet")


@pytest.mark.parametrize(
    ("content", "like", "fault"),
    [
        ({"a": 1, "more": None}, {"a": int}, None),
        ({"a": [{"b": 1.5}, {"b": 2}]}, {"a": [{"b": int | float}]}, None),
        ({"a": [{"b": 1.5}, {"b": "2"}]}, {"a": [{"b": int | float}]}, "a.1.b must be int | float, found '2'"),
        ({}, {"a": int}, "a must be int, found None"),
        ({"a": True}, {"a": int}, "a must be int, found True"),
        ({"a": {"x": 1, "y": "two"}}, {"a": {...: int}}, "a.y must be int, found 'two'"),
        ({"a": 3}, {"a": {...: int}}, "a must be a mapping, found 3"),
        ([], {"a": int}, "it must be a mapping, found []"),
        ({"a": "x" * 99}, {"a": list}, f"a must be a list, found '{'x' * 59}"),
    ],
)
def test_content_of_another_shape_is_refused_by_its_first_part(content, like, fault):
    if fault is None:
        check_like(content, like, "a.json")
        return
    with pytest.raises(InputError, match=f"^{re.escape(f'a.json: {fault}; delete it and run again')}$"):
        check_like(content, like, "a.json")
