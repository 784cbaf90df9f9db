"""Notebooks run, small, from their sources, and what is committed beside a source has its very cells."""

import ast
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import jupytext
import pandas as pd
import pytest
from matplotlib.figure import Figure

HERE = Path(__file__).parents[1] / "notebooks"
SOURCES = sorted(HERE.glob("[0-9]_*.py"))
NAMES = [path.stem for path in SOURCES]
LARGEST = 600_000
ABSOLUTE = re.compile(r"(?<![\w<:./)}])/(?:[\w.-]+/)+[\w.-]+")  # a path of the machine that executed it


def cells(path: Path) -> list[tuple[str, str]]:
    """Kinds and texts of a notebook's cells, of either form."""
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def run(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell and return what its last line is worth, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def test_there_are_seven() -> None:
    assert [name[0] for name in NAMES] == list("1234567")


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_a_source_runs_small_and_shows_three_to_six_pictures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINATTN_SMALL", "1")
    names: dict[str, Any] = {"__name__": "__main__"}
    pictures = 0
    for kind, source in cells(path):
        if kind != "code":
            continue
        shown = run(re.sub(r"^%matplotlib inline$", "", source, flags=re.MULTILINE), names)
        if isinstance(shown, Figure):
            shown.savefig(io.BytesIO(), dpi=50)
            pictures += 1
        elif isinstance(shown, pd.DataFrame):
            assert len(shown) and shown.to_html()
    assert 3 <= pictures <= 6


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_the_committed_notebook_has_the_cells_of_its_source(path: Path) -> None:
    assert cells(path.with_suffix(".ipynb")) == cells(path), f"{path.name} was changed: run make notebooks"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_the_committed_notebook_was_executed_whole_and_is_small(path: Path) -> None:
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert len(text) < LARGEST and "plotly" not in text
    for output in outputs:
        output.get("data", {}).pop("image/png", None)  # letters of a picture may look like anything
    said = json.dumps(notebook)
    assert sys.prefix not in text and not ABSOLUTE.search(said)


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_number_is_typed_into_the_prose_after_a_result(path: Path) -> None:
    """What a model achieved is printed by a cell: prose has no decimal number and no percentage with one."""
    for kind, source in cells(path):
        if kind == "markdown" and not source.startswith("# "):
            prose = re.sub(r"\$[^$]*\$|`[^`]*`", "", source)
            assert not re.search(r"rank IC (of )?[-+−]?0?\.\d|Sharpe ratio of \d|p = 0", prose), source
