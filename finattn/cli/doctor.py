"""The verb that says what of an installation works, and how to mend the rest."""

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata, resources
from pathlib import Path
from typing import Any, NamedTuple

from finattn.cli.arguments import OneLineParser, is_help

_ABOUT = """Say what of the installation works, and how to mend the rest.

Looks at Python, the packages and their versions, torch and GPUs, processors, memory, disk and the present folder, and
fits a small attention model on the sample for one epoch. Exit code 0 where all that finattn needs works, else 1."""
_GIB = 2**30
_MEMORY, _DISK = 2, 2  # GiB that the demonstration has room in


class Check(NamedTuple):
    """One thing that was looked at: what was found, and where it is not "ok", how to mend it.

    `state` is "ok", "missing" (something that may be wanted, and need not be there) or "broken" (finattn needs it).
    """

    what: str
    state: str
    found: str
    mend: str = ""


def doctor(given: list[str]) -> int:
    """Parse `finattn doctor [--json]` and look."""
    parser = OneLineParser(prog="finattn doctor", description=_ABOUT, add_help=False, allow_abbrev=False,
                           formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    if is_help(given):
        parser.print_help()
        return 0
    as_json = parser.parse_args(given).json
    checks = []
    for check in look():
        checks.append(check)
        if not as_json:
            print(f"{check.state:<8} {check.what:<18} {check.found}", flush=True)
            print(f"{'':<8} {'':<18} mend: {check.mend}\n" if check.mend else "", end="", flush=True)
    works = all(check.state != "broken" for check in checks)
    if as_json:
        print(json.dumps({"works": works, "checks": [check._asdict() for check in checks]}, indent=2))
    else:
        print("finattn works here." if works else "finattn does not work here: mend what is broken, then look again.")
    return 0 if works else 1


def look() -> Iterator[Check]:
    """Yield all checks, the quick ones first."""
    try:
        metadata.version("finattn")
    except metadata.PackageNotFoundError:
        yield Check("finattn", "broken", "runs from a folder, and is not installed", "pip install finattn")
        return
    yield python()
    yield from packages()
    yield from extras()
    yield shipped()
    yield folder(Path())
    yield disk(Path())
    yield memory()
    yield from torch_build()
    yield fitting()


def python() -> Check:
    """Check the interpreter against what the package declares."""
    wanted = metadata.metadata("finattn")["Requires-Python"]
    found = f"{platform.python_version()} at {sys.executable}"
    if meets(platform.python_version(), wanted):
        return Check("Python", "ok", found)
    return Check(
        "Python", "broken", f"{found}, needs {wanted}", "make an environment with a newer Python, install again"
    )


def packages() -> Iterator[Check]:
    """Check each package that finattn needs."""
    for name, bounds in needed("").items():
        yield _package(name, bounds, "broken", f"pip install '{name}{bounds}'")


def extras() -> Iterator[Check]:
    """Check, for each extra that users may want, whether its packages are there."""
    for extra in metadata.metadata("finattn").get_all("Provides-Extra") or []:
        if extra == "dev":
            continue
        mend = f"where it is wanted: pip install 'finattn[{extra}]'"
        found = [_package(name, bounds, "missing", mend) for name, bounds in needed(extra).items()]
        worst = next((check for check in found if check.state != "ok"), None)
        listed = ", ".join(f"{check.what} {check.found}" for check in found)
        yield (
            Check(f"extra {extra}", "ok", listed)
            if worst is None
            else worst._replace(what=f"extra {extra}", found=f"{worst.what} {worst.found}")
        )


def _package(name: str, bounds: str, otherwise: str, mend: str) -> Check:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, otherwise, "is not installed", mend)
    if meets(version, bounds):
        return Check(name, "ok", version)
    return Check(name, otherwise, f"{version}, needs {bounds}", mend)


def needed(extra: str) -> dict[str, str]:
    """Return the packages that finattn declares, with the bounds of their versions, for an extra or "" for always."""
    found = {}
    for line in metadata.requires("finattn") or []:
        requirement, _, condition = line.partition(";")
        wanted = re.search(r"extra == ['\"]([\w.-]+)['\"]", condition)
        name, bounds = re.match(r"\s*([\w.-]+)(?:\[[^]]*\])?\s*(.*)", requirement).groups()  # type: ignore[union-attr]
        if (wanted.group(1) if wanted else "") == extra and name != "finattn":
            found[name] = bounds.strip().strip("()")
    return found


def meets(version: str, bounds: str) -> bool:
    """Say whether a version lies within bounds such as ">=2.2,<4"; what is no such bound is not judged.

    Examples
    --------
    >>> meets("2.13.0+cpu", ">=2.6"), meets("4.0", ">=2.2,<4"), meets("2.2", ">=2.2.1")
    (True, False, False)
    """
    for sign, limit in re.findall(r"(>=|<=|==|!=|<|>)\s*([\d.]+)", bounds):
        here, there = _release(version), _release(limit)
        held = {">=": here >= there, "<=": here <= there, "==": here == there, "!=": here != there, "<": here < there}
        if not held.get(sign, here > there):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a release, without zeros at the end, so that 2 and 2.0 are the same."""
    numbers = [int(part) for part in (re.match(r"\d+(\.\d+)*", version) or [""])[0].split(".") if part]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def shipped() -> Check:
    """Check that configurations and tables came with the package."""
    root = resources.files("finattn")
    parts = ("configs/sp500.yaml", "tables/sic_divisions.csv", "report/template.html.j2")
    absent = [part for part in parts if not root.joinpath(part).is_file()]
    if absent:
        return Check("finattn's files", "broken", f"no {', '.join(absent)}", "pip install --force-reinstall finattn")
    return Check("finattn's files", "ok", f"version {metadata.version('finattn')} in {root}")


def folder(place: Path) -> Check:
    """Check that runs can be written to a folder."""
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check("this folder", "ok", f"{place.resolve()} can be written to")
    except OSError as error:
        mend = "go to a folder of yours, or give --out"
        return Check("this folder", "missing", f"{place.resolve()} cannot be written to: {error.strerror}", mend)


def disk(place: Path) -> Check:
    """Check the room for runs."""
    free = shutil.disk_usage(place).free / _GIB
    mend = "" if free >= _DISK else "make room, or give --out on another disk"
    return Check("disk", "missing" if mend else "ok", f"{free:.1f} GiB free", mend)


def memory() -> Check:
    """Check the memory that can be had."""
    try:
        free = _available() / _GIB
    except (OSError, ValueError, AttributeError):
        return Check("memory", "ok", "how much is free is not told by this system")
    mend = "" if free >= _MEMORY else "close other programs; use fewer firms or a shorter span of dates"
    return Check("memory", "missing" if mend else "ok", f"{free:.1f} GiB available", mend)


def _available() -> int:
    """Return the bytes that a process can still have."""
    info = Path("/proc/meminfo")
    if info.exists():
        return 1024 * int(re.search(r"MemAvailable:\s+(\d+)", info.read_text()).group(1))  # type: ignore[union-attr]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def torch_build() -> Iterator[Check]:
    """Check torch, whether it sees a GPU, and its threads."""
    try:
        torch = importlib.import_module("torch")
    except Exception as error:  # a broken library fails in many ways
        yield Check("torch's build", "broken", _line(error), "pip install --force-reinstall torch")
        return
    cuda = torch.version.cuda
    build = f"{torch.__version__}, for CUDA {cuda}" if cuda else f"{torch.__version__}, for processors"
    yield Check("torch's build", "ok", build)
    yield _gpu(torch)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    told = f", OMP_NUM_THREADS={limit}" if (limit := os.environ.get("OMP_NUM_THREADS")) else ""
    yield Check("threads", "ok", f"{torch.get_num_threads()} of torch on {processors} processors{told}")


def _gpu(torch: Any) -> Check:
    """Say which GPU there is: models are trained on it, or on the processor."""
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        found = ", ".join(f"{each.name} with {each.total_memory / _GIB:.0f} GiB" for each in names)
        return Check("GPU", "ok", found)
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        return Check("GPU", "ok", "Apple's, by Metal")
    if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi"):
        mend = "install a build of torch for CUDA (https://pytorch.org), or a newer driver"
        return Check("GPU", "missing", "there is a driver of NVIDIA's, and torch sees no GPU", mend)
    return Check("GPU", "ok", "none, and none is needed: models are trained on the processor")


def fitting(fit: Callable[[], int] | None = None) -> Check:
    """Fit an attention model on the sample for one epoch and forecast with it."""
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            count = (fit or _fit)()
    except Exception as error:  # whatever it is, that is what must be told
        return Check("a small fit", "broken", _line(error), "see above; if all else is well, tell us with this output")
    found = f"one epoch on the sample, {count} forecasts, {time.perf_counter() - began:.1f} s with imports"
    return Check("a small fit", "ok", found)


def _fit() -> int:
    """Return how many forecasts a small fit made, all finite."""
    import numpy as np

    from finattn.config import ModelConfig, TargetConfig, TrainingConfig
    from finattn.data import sample
    from finattn.experiment import walk_forward
    from finattn.splits import WalkForward
    from finattn.training import AttentionForecaster

    training = TrainingConfig(epochs=1, minimum_epochs=1)
    model = AttentionForecaster(("time", "firm"), ModelConfig(width=8, feed_forward=8, lookback=10), training)
    splits = WalkForward("2022-07-01", test="6M", valid="6M", train="1Y", horizon=5, decisions="weekly")
    table = walk_forward(sample()["2021":], {"attention": model}, splits, TargetConfig(5)).table
    if not np.isfinite(table["score"]).all():
        raise ValueError("forecasts must be finite, found others")
    return len(table)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
