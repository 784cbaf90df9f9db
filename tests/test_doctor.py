"""What of an installation works is said, and how to mend the rest."""

import json
import sys
from collections import namedtuple
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from finattn import cli

doctor = import_module("finattn.cli.doctor")  # which the verb hides


def test_all_is_well_where_the_tests_run_and_a_small_fit_is_tried(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is True
    states = {check["what"]: check["state"] for check in told["checks"]}
    assert {"Python", "torch", "pandas", "extra wrds", "finattn's files", "this folder", "GPU", "threads"} <= set(
        states
    )
    assert "broken" not in states.values()
    assert "one epoch on the sample, 520 forecasts" in told["checks"][-1]["found"]


def test_what_is_declared_is_what_is_looked_at():
    extras = metadata.metadata("finattn").get_all("Provides-Extra")
    declared = [Requirement(line) for line in metadata.requires("finattn")]
    for extra in ["", *extras]:
        wanted = {
            each.name: each.specifier
            for each in declared
            if (each.marker is None) == (extra == "") and each.name != "finattn"
            and (each.marker is None or each.marker.evaluate({"extra": extra}))
        }  # fmt: skip
        found = doctor.needed(extra)
        assert {name: SpecifierSet(bounds) for name, bounds in found.items()} == wanted


@pytest.mark.parametrize("version", ["2.13.0+cpu", "2.2", "2.2.0", "2.2.1", "2.1.9", "3.0", "4", "4.0.1", "10.0"])
@pytest.mark.parametrize("bounds", [">=2.2", ">=2.2,<4", "<=3", ">2.2", "==2.2.0", "!=3.0", "<4", ""])
def test_bounds_of_versions_are_read_as_packaging_reads_them(version, bounds):
    plain = version.split("+")[0]
    assert doctor.meets(version, bounds) == SpecifierSet(bounds).contains(plain)


def test_a_missing_and_an_old_package_are_broken_and_an_absent_extra_is_not(monkeypatch, capsys):
    versions = {"pandas": "2.1.0", "scipy": None, "sqlalchemy": None}

    def version(name: str, real=metadata.version) -> str:
        if name in versions and versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return versions.get(name) or real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setattr(doctor, "fitting", lambda: doctor.Check("a small fit", "ok", "not tried"))
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "broken   pandas             2.1.0, needs >=2.2,<4" in [
        line.replace("<4,>=2.2", ">=2.2,<4") for line in lines
    ]
    assert any(line.endswith("mend: pip install 'scipy>=1.13'") for line in lines)
    assert any(line.startswith("missing  extra wrds         sqlalchemy is not installed") for line in lines)
    assert lines[-1] == "finattn does not work here: mend what is broken, then look again."
    del versions["pandas"], versions["scipy"]
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("finattn works here.\n")


def test_a_package_that_was_never_installed_says_so(monkeypatch):
    def nothing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", nothing)
    (check,) = doctor.look()
    assert (check.state, check.mend) == ("broken", "pip install finattn")


def test_an_old_python_and_a_fit_that_fails_are_broken(monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.4")
    assert doctor.python().state == "broken" and "3.10.4" in doctor.python().found
    check = doctor.fitting(lambda: 1 // 0)
    assert (check.state, check.found) == ("broken", "ZeroDivisionError: integer division or modulo by zero")
    assert doctor.fitting(lambda: 7).found.startswith("one epoch on the sample, 7 forecasts")


def test_a_torch_that_does_not_load_is_broken_and_nothing_more_is_asked_of_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (check,) = doctor.torch_build()
    assert check.state == "broken" and check.mend == "pip install --force-reinstall torch"


def card(count: int, metal: bool = False) -> SimpleNamespace:
    """A torch that sees so many cards."""
    properties = SimpleNamespace(name="Card", total_memory=80 * 2**30)
    cuda = SimpleNamespace(
        is_available=lambda: count > 0, device_count=lambda: count, get_device_properties=lambda i: properties
    )
    return SimpleNamespace(cuda=cuda, backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: metal)))


def test_gpus_are_named_and_a_driver_that_torch_does_not_see_is_told(monkeypatch):
    assert doctor._gpu(card(2)).found == "Card with 80 GiB, Card with 80 GiB"
    assert doctor._gpu(card(0, metal=True)).found == "Apple's, by Metal"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert doctor._gpu(card(0)).state == "missing" and "build of torch for CUDA" in doctor._gpu(card(0)).mend


def test_little_room_and_a_folder_that_cannot_be_written_to_are_told(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: usage(0, 0, 2**30))
    assert doctor.disk(tmp_path).state == "missing" and doctor.disk(tmp_path).found == "1.0 GiB free"
    monkeypatch.setattr(doctor, "_available", lambda: 2**29)
    assert doctor.memory().state == "missing" and doctor.memory().found == "0.5 GiB available"
    assert doctor.folder(tmp_path).state == "ok"
    assert doctor.folder(tmp_path / "absent").state == "missing"


def test_files_that_did_not_come_with_the_package_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.resources, "files", lambda name: Path(tmp_path))
    assert doctor.shipped().state == "broken" and "no configs/sp500.yaml" in doctor.shipped().found
