"""What evaluating costs: 10 million forecasts of one model, 2,500 dates of 4,000 firms, from file to table of metrics.

``python -m benchmarks.evaluation`` writes made-up forecasts to a temporary folder, loads and evaluates them several
times, each in a process of its own, and writes results/evaluation.json; ``--quick`` does it once on small sizes and
writes nothing.

forecasts_10m_seconds : median wall time of `Forecasts.load` and `evaluate` together, imports left out.
forecasts_10m_peak_gib : largest peak memory of the whole process, the table and the interpreter in it.
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

from benchmarks import results_file
from benchmarks.apart import apart, peak
from finattn.evaluation import evaluate
from finattn.forecasts import Forecasts

SIZES = {"firms": 4000, "dates": 2500}
QUICK = {"firms": 100, "dates": 200}
BUDGET = {"forecasts_10m_seconds": 20.0, "forecasts_10m_peak_gib": 3.0}


def write_forecasts(path: Path, firms: int, dates: int) -> None:
    """Write one model's forecasts of every firm on every date; one outcome in fifty is not known."""
    random, rows = np.random.default_rng(0), firms * dates
    days = np.busday_offset("2010-01-01", np.arange(dates), roll="forward").astype("M8[ms]")
    score = random.standard_normal(rows)
    realised = 0.02 * (0.03 * score + random.standard_normal(rows)).clip(-10, 10)
    realised[random.random(rows) < 0.02] = np.nan
    names = [f"F{i:05d}" for i in range(firms)]
    labels = {
        "date": np.repeat(days, firms),
        "firm": pd.Categorical.from_codes(np.tile(np.arange(firms), dates), names),
        "model": pd.Categorical.from_codes(np.zeros(rows, np.int8), ["ridge"]),
        "fold": (np.arange(rows, dtype=np.int32) // firms) // 250,
        "seed": np.int32(0),
    }
    table = pd.DataFrame(labels | {"score": score, "prediction": 0.0006 * score, "realised": realised})
    Forecasts(table, horizon=1, delay=0, overlap=0, periods_per_year=252).save(path)


def measure_evaluation(path: Path) -> dict[str, float]:
    """Load and evaluate a file in this process, which has done nothing before."""
    began, used = time.perf_counter(), time.process_time()
    forecasts = Forecasts.load(path)
    loaded = time.perf_counter()
    table = evaluate(forecasts)
    ended, processor = time.perf_counter(), time.process_time() - used
    rank_ic = float(table.loc[table["metric"] == "rank_ic", "estimate"].iloc[0])
    # Processor time says how much of the wall time other work on the machine took.
    seconds = {"load_seconds": loaded - began, "evaluate_seconds": ended - loaded, "processor_seconds": processor}
    return seconds | {"peak_bytes": peak(), "forecasts": len(forecasts.table), "rank_ic": rank_ic}


def measure(sizes: dict[str, int], runs: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forecasts.parquet"
        apart("benchmarks.evaluation", "--write", path, "--firms", sizes["firms"], "--dates", sizes["dates"])
        found = [json.loads(apart("benchmarks.evaluation", "--evaluate", path)) for _ in range(runs)]
        file_bytes = path.stat().st_size
    figures = {
        "forecasts_10m_seconds": round(statistics.median(r["load_seconds"] + r["evaluate_seconds"] for r in found), 2),
        "forecasts_10m_peak_gib": round(max(run["peak_bytes"] for run in found) / 2**30, 2),
    }
    return figures, {"sizes": sizes, "file_bytes": file_bytes, "runs": found}


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="of the measurement")
    parser.add_argument("--quick", action="store_true", help="small sizes, once, no results file")
    parser.add_argument("--dry", action="store_true", help="no results file")
    for name in ("--write", "--evaluate"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    for name in ("--firms", "--dates"):
        parser.add_argument(name, type=int, default=SIZES[name[2:]], help=f"{name[2:]} of the forecasts")
    given = parser.parse_args()
    if given.write:
        write_forecasts(given.write, given.firms, given.dates)
    elif given.evaluate:
        print(json.dumps(measure_evaluation(given.evaluate)))
    else:
        sizes = QUICK if given.quick else {"firms": given.firms, "dates": given.dates}
        figures, details = measure(sizes, 1 if given.quick else given.runs)
        for name, figure in figures.items():
            print(f"{name:<28}{figure:<10}at most {BUDGET[name]:g}")
        for run in details["runs"]:
            wall = f"load {run['load_seconds']:.2f} s, evaluate {run['evaluate_seconds']:.2f} s"
            parts = f"{wall}, processor {run['processor_seconds']:.2f} s, peak {run['peak_bytes'] / 2**30:.2f} GiB"
            print(f"  {run['forecasts']:,} forecasts: {parts}")
        if not (given.quick or given.dry):
            print(results_file.write("evaluation", figures, details))


if __name__ == "__main__":
    main()
