"""What is handed out has all that is read at run time; `make package` tries it in an empty environment."""

import re
import shutil
import subprocess
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest

import finattn
from finattn.cli.arguments import find
from finattn.config import RunConfig
from finattn.config_file import read_yaml

ROOT = Path(__file__).parents[1]
needs_repository = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="needs the repository")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_the_same_everywhere():
    assert finattn.__version__ == PROJECT["project"]["version"] == metadata.version("finattn")
    cited = re.search(r"^version: *['\"]?([\w.]+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert cited is None or cited.group(1) == finattn.__version__


def test_configurations_and_tables_live_in_the_package_and_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = sorted(resources.files("finattn").joinpath("configs").iterdir(), key=lambda file: file.name)
    assert len(shipped) >= 3
    for file in shipped:
        name = file.name.removesuffix(".yaml")
        for asked in (name, file.name, f"configs/{file.name}"):
            config = RunConfig(**read_yaml(find(Path(asked))))
            assert config.name == name


@needs_repository
def test_configurations_and_tables_have_one_home_and_the_repository_links_to_it():
    for link, home in (("configs", "configs"), ("data", "tables")):
        assert (ROOT / link).resolve() == (ROOT / "finattn" / home).resolve()


def test_nothing_that_the_package_reads_is_ignored_or_left_out_of_the_wheel():
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["finattn"]}
    kept = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    assert {"finattn", "tests"} <= set(kept) and all((ROOT / name).exists() for name in kept)
    others = [file for file in (ROOT / "finattn").rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc")]
    assert {file.suffix for file in others} >= {".yaml", ".csv", ".j2", ".typed"}
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return  # only the repository says what is ignored
    command = ["git", "-C", str(ROOT), "check-ignore", *map(str, others)]
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""


@needs_repository
def test_the_check_of_the_package_is_run_by_ci():
    assert "make package" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert ".ci/package" in (ROOT / "Makefile").read_text(encoding="utf-8")
    if shutil.which("bash"):
        subprocess.run(["bash", "-n", str(ROOT / ".ci/package")], check=True)
    compile((ROOT / ".ci/installed.py").read_text(encoding="utf-8"), "installed.py", "exec")
