"""What the README says is so."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_is_fifteen_lines_and_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert len(example.strip().splitlines()) <= 15
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "rank" not in printed and "attention" in printed and "sic_kernel" in printed


@pytest.mark.parametrize("name", ["sp500", "attention", "ladder_truth", "gu_kelly_xiu"])
def test_every_result_comes_from_the_results_file(name):
    benchmark = pytest.importorskip(f"benchmarks.{name}")
    results = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text())
    section = README.split(benchmark.MARKERS[0])[1].split(benchmark.MARKERS[1])[0].strip()
    assert section == benchmark.readme_section(results).strip()


def test_the_file_tree_names_every_module_and_nothing_else():
    (tree,) = re.findall(r"## What is where\n\n```\n(.*?)```", README, flags=re.S)
    modules = {path.name for path in (ROOT / "finattn").glob("*.py") if not path.name.startswith("_")}
    assert modules <= set(re.findall(r"\w+\.py", tree))
    folders = {path.name for path in (ROOT / "finattn").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(re.findall(r"^  (\w+)/", tree, flags=re.M))
    for name in re.findall(r"\w+\.py", tree):
        assert list((ROOT / "finattn").rglob(name)) or (ROOT / "tests" / name).exists(), name


def test_every_public_name_is_there_and_torch_waits_until_it_is_needed():
    import subprocess
    import sys

    import finattn

    for name in finattn.__all__:
        assert getattr(finattn, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Pannel'"):
        finattn.Pannel  # noqa: B018
    code = "import sys, finattn; sys.exit(any(n in sys.modules for n in ('torch', 'pandas', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert set(finattn.__all__) < set(dir(finattn))
