"""What reading costs, 10 million rows of Parquet into a panel, reports joined as of each date; and malformed inputs.

``python -m benchmarks.data`` writes a made-up Parquet file to a temporary folder, loads it several times, each in a
process of its own, tries `benchmarks.malformed`, and writes results/data.json; ``--quick`` does it once on small sizes
and few inputs, and writes nothing.

parquet_10m_seconds : median wall time of `finattn.data.load`, imports left out.
parquet_10m_memory_ratio : largest (peak memory − memory before loading) / bytes of the panel's arrays.
asof_reports_seconds : median wall time of `finattn.data.asof.join` of four columns.
fuzz_inputs : malformed inputs tried; fuzz_unclean : those that gave neither a valid panel nor one clear error.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import results_file
from benchmarks.apart import apart, peak
from benchmarks.malformed import FAMILIES, unclean_of
from finattn.checks import AXES
from finattn.config import DataConfig
from finattn.data import load
from finattn.data.asof import join
from finattn.panel import Panel

SIZES = {"firms": 4000, "dates": 2500, "report_firms": 4540, "reports": 65_045, "panel_firms": 7072, "panel_dates": 513}
QUICK = {"firms": 100, "dates": 200, "report_firms": 50, "reports": 500, "panel_firms": 80, "panel_dates": 100}
REPORTED = ("assets", "equity", "net_income", "revenues")


def days(count: int) -> np.ndarray:
    return np.busday_offset("2010-01-01", np.arange(count), roll="forward").astype("M8[D]")


def write_long(path: Path, firms: int, dates: int) -> None:
    """Write date, firm, return, market_cap and two features, by date, a row group for each 250 dates."""
    random = np.random.default_rng(0)
    names, calendar = np.array([f"F{i:05d}" for i in range(firms)]), days(dates).astype("M8[us]")
    writer = None
    for start in range(0, dates, 250):
        chunk = calendar[start : start + 250]
        rows = len(chunk) * firms
        columns = {"date": np.repeat(chunk, firms), "firm": pa.array(np.tile(names, len(chunk)))}
        columns["return"] = 0.02 * random.standard_normal(rows).clip(-10, 10)
        columns |= {name: np.exp(random.standard_normal(rows)) for name in ("market_cap", "size", "value")}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def measure_load(path: Path) -> dict[str, float]:
    """Load a file in this process, which has loaded nothing before."""
    before, began = peak(), time.perf_counter()
    panel = load(DataConfig("file", str(path)))
    seconds = time.perf_counter() - began
    arrays = sum(getattr(panel, name).nbytes for name in AXES if getattr(panel, name) is not None)
    return {"seconds": seconds, "array_bytes": arrays, "peak_bytes": peak() - before, "firm_dates": panel.returns.size}


def measure_join(sizes: dict[str, int]) -> float:
    """Time a join of made-up reports to a made-up panel."""
    random = np.random.default_rng(0)
    shape = sizes["panel_dates"], sizes["panel_firms"]
    panel = Panel(
        days(shape[0]), [f"F{i:05d}" for i in range(shape[1])], 0.02 * random.standard_normal(shape).clip(-9, 9)
    )
    period = random.integers(0, shape[0], sizes["reports"])
    available = days(2 * shape[0])[period + random.integers(20, 90, sizes["reports"])]
    firm = random.integers(0, sizes["report_firms"], sizes["reports"])
    table = pd.DataFrame({"firm": panel.firms[firm], "period_end": panel.dates[period], "available": available})
    table = table.assign(**{name: random.standard_normal(len(table)) for name in REPORTED})
    began = time.perf_counter()
    join(panel, table, REPORTED, stale_after="15M")
    return time.perf_counter() - began


def measure_fuzz(seeds: int, quick: bool) -> tuple[dict[str, float], dict[str, Any]]:
    """Try every family of malformed inputs; return figures and details, with the first of what is unclean."""
    found = {}
    for family, stride in FAMILIES.items():
        name = f"{family.__module__.rpartition('.')[2]}.{family.__name__}"
        found[name] = unclean_of(family, seeds, 10 * stride if quick else 1)
    figures = {"fuzz_inputs": sum(count for count, _ in found.values())}
    figures["fuzz_unclean"] = sum(len(wrong) for _, wrong in found.values())
    inputs = {name: count for name, (count, _) in found.items()}
    return figures, {
        "seeds": seeds,
        "inputs": inputs,
        "unclean": [line for _, wrong in found.values() for line in wrong][:20],
    }


def measure(sizes: dict[str, int], runs: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.parquet"
        apart("benchmarks.data", "--write", path, "--firms", sizes["firms"], "--dates", sizes["dates"])
        loads = [json.loads(apart("benchmarks.data", "--load", path)) for _ in range(runs)]
        file_bytes = path.stat().st_size
    joins = [measure_join(sizes) for _ in range(runs)]
    ratio = max(one["peak_bytes"] / one["array_bytes"] for one in loads)
    figures = {
        "parquet_10m_seconds": round(statistics.median(one["seconds"] for one in loads), 2),
        "parquet_10m_memory_ratio": round(ratio, 2),
        "asof_reports_seconds": round(statistics.median(joins), 2),
    }
    return figures, {"sizes": sizes, "file_bytes": file_bytes, "loads": loads, "joins": joins}


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of each measurement")
    parser.add_argument("--seeds", type=int, default=1, help="with which malformed inputs are drawn")
    parser.add_argument("--quick", action="store_true", help="small sizes, once, no results file")
    parser.add_argument("--dry", action="store_true", help="no results file")
    for name in ("--write", "--load"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    for name in ("--firms", "--dates"):
        parser.add_argument(name, type=int, default=SIZES[name[2:]], help=f"{name[2:]} of the Parquet file")
    given = parser.parse_args()
    if given.write:
        write_long(given.write, given.firms, given.dates)
    elif given.load:
        print(json.dumps(measure_load(given.load)))
    else:
        sizes = QUICK if given.quick else SIZES | {"firms": given.firms, "dates": given.dates}
        figures, details = measure(sizes, 1 if given.quick else given.runs)
        fuzz, details["fuzz"] = measure_fuzz(given.seeds, given.quick)
        figures |= fuzz
        for name, figure in figures.items():
            print(f"{name:<28}{figure}")
        if not (given.quick or given.dry):
            print(results_file.write("data", figures, details))


if __name__ == "__main__":
    main()
