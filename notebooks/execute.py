"""Execute the notebooks: each source `N_name.py` becomes `N_name.ipynb` beside it, with its outputs.

``python notebooks/execute.py`` does all of them, ``python notebooks/execute.py 1 5`` those that begin so. A source is
in jupytext's percent format and is what one edits. A notebook that fails, that writes to standard error, or that is
larger than 600 KB is not written.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from finattn.storage import atomic_file

HERE = Path(__file__).parent
LARGEST = 600_000  # bytes


def sources(*beginnings: str) -> list[Path]:
    """Return the sources in order, or those of which the name begins so."""
    found = sorted(HERE.glob("[0-9]_*.py"))
    return [path for path in found if not beginnings or path.stem.startswith(tuple(beginnings))]


def read(path: Path) -> nbformat.NotebookNode:
    """Read a source as a notebook without outputs, with the same identifiers every time."""
    notebook = jupytext.read(path, fmt="py:percent")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for place, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{place}", nbformat.from_dict({})
    return notebook


def execute(path: Path) -> Path:
    """Execute a source and write its notebook, whole or not at all."""
    notebook = read(path)
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(HERE)}}, record_timing=False)
    try:
        client.execute()
    except CellExecutionError as error:
        sys.exit(f"{path.name}: {error.ename}: {error.evalue}\n{str(error).split('------------------')[1]}")
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of who executed it
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                sys.exit(f"{path.name}: wrote to standard error: {output['text'][:500]}")
    text = nbformat.writes(notebook)
    if len(text) > LARGEST:
        sys.exit(f"{path.name}: would be {len(text):,} bytes, more than {LARGEST:,}")
    target = path.with_suffix(".ipynb")
    with atomic_file(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def main() -> None:
    """Execute what was asked for."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # small models: more threads would wait for each other
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")  # tqdm asks for widgets that nobody needs
    if sys.platform == "win32":  # the event loop that the kernel's sockets need
        asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
    for path in sources(*sys.argv[1:]):
        began = time.perf_counter()
        target = execute(path)
        print(f"{target.name}: {time.perf_counter() - began:.0f} s, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
