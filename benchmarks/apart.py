"""Measurements in a process of their own, whose peak memory is theirs alone."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]


def apart(module: str, *arguments: Any) -> str:
    """Run a benchmark's module in a process of its own, and return what it prints.

    The calling process must stay small, since a child's peak begins at its parent's.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, check=True, cwd=_ROOT, capture_output=True, text=True).stdout


def peak() -> int:
    """Return the most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
