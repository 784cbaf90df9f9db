"""The one form of a results file."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finattn.storage import atomic_file, write_json

FOLDER = Path(__file__).parent / "results"


def write(name: str, figures: dict[str, float], details: Any, command: str = "") -> Path:
    """Write results/NAME.json: what was measured, by which command, at which commit, on which machine, when.

    `command` stands for the one given, where that holds places of this machine.
    """
    path = FOLDER / f"{name}.json"
    write_json(
        path,
        {
            "name": name,
            "command": command or f"python -m benchmarks.{name} {' '.join(sys.argv[1:])}".strip(),
            "commit": commit(),
            "machine": machine(),
            "date": datetime.now(UTC).date().isoformat(),
            "figures": figures,
            "details": details,
        },
    )
    return path


def details(name: str) -> Any:
    """Return the details of results/NAME.json, {} where there is none."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["details"] if path.exists() else {}


def commit() -> str:
    """Return the commit that is checked out."""
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def into_readme(markers: tuple[str, str], section: str) -> None:
    """Put a section between its markers in README.md."""
    path = FOLDER.parents[1] / "README.md"
    before, rest = path.read_text(encoding="utf-8").split(markers[0])
    after = rest.split(markers[1])[1]
    with atomic_file(path) as temporary:
        temporary.write_text(f"{before}{markers[0]}\n{section}\n{markers[1]}{after}", encoding="utf-8")


def machine() -> str:
    """Describe the machine: cores, memory, processor, Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    processor = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {processor}, Python {platform.python_version()}"
