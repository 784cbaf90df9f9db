"""What the README reports: the demonstration's time and memory, and the results of configs/sp500_full.yaml.

``python -m benchmarks.sp500`` runs the demonstration afresh several times, finishes runs/sp500_full (which goes on
where it stopped; `make full` does the same), writes results/sp500.json and puts its figures into README.md.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import results_file
from finattn.evaluation import portfolio_summary, primary
from finattn.forecasts import Forecasts

ROOT = Path(__file__).parents[1]
MARKERS = ("<!-- results: written by python -m benchmarks.sp500 -->", "<!-- end of results -->")


def demo(runs: int) -> dict[str, float]:
    """Time whole processes of the demonstration: median seconds, largest memory of any process."""
    seconds = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            command = [sys.executable, "-m", "finattn", "run", "configs/sp500.yaml", "--out", folder]
            subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 2**30
    return {"demo_seconds": round(statistics.median(seconds), 1), "demo_peak_gib": round(peak, 2)}


def full() -> dict[str, Any]:
    """Finish the full run and return its results."""
    subprocess.run([sys.executable, "-m", "finattn", "run", "configs/sp500_full.yaml"], check=True, cwd=ROOT)
    run = ROOT / "runs" / "sp500_full"
    metrics = pd.read_parquet(run / "metrics.parquet")
    forecasts = Forecasts.load(run / "forecasts.parquet")
    provenance = json.loads((run / "provenance.json").read_text())
    daily = portfolio_summary(pd.read_parquet(run / "portfolio.parquet"), forecasts.periods_per_year)
    declared = primary(forecasts, "firm", "sic_kernel")
    return {
        "models": list(forecasts.models),
        "metrics": json.loads(metrics.to_json(orient="records")),
        "portfolio": json.loads(daily.to_json(orient="records")),
        "primary": {"estimate": declared.estimate.estimate, "standard_error": declared.estimate.standard_error}
        | {"p_one_sided": declared.p_one_sided, "claim": bool(declared.claim)},
        "folds": len(provenance["folds"]),
        "seeds": provenance["seeds"],
        "decision_dates": provenance["counts"]["decision_dates"],
        "test": [provenance["folds"][0]["test_start"], provenance["folds"][-1]["test_end"]],
        "fit_seconds": round(sum(fit["seconds"] for fit in provenance["tuning"])),
        "panel_fingerprint": provenance["panel_fingerprint"],
        "config_hash": provenance["config_hash"],
    }


def readme_section(results: dict[str, Any]) -> str:
    """Write the README's results from a results file's content; no number stands there that is not in the file."""
    figures, details = results["figures"], results["details"]
    rows = [_row(details, model) for model in details["models"]]
    declared = details["primary"]
    verdict = "this is a claim" if declared["claim"] else "no claim"
    sample = (
        f"`configs/sp500_full.yaml`: 20 stocks that survived to 2022, {details['decision_dates']:,} weekly decisions "
        f"from {details['test'][0]} to {details['test'][1]}, return of the next 5 days, {details['folds']} yearly "
        f"refits, {len(details['seeds'])} seeds averaged; ± is one HAC standard error, of Mertens for Sharpe "
        "ratios; net of 10 basis points a unit traded, a day after the decision."
    )
    primary = (
        "Primary comparison, declared before the run: attention along firms minus the SIC kernel, rank IC "
        f"{_pm(declared, 3)}, one-sided p = {declared['p_one_sided']:.3f}: {verdict}."
    )
    cost = (
        f"The demonstration (`make demo`: refits every four years, one seed) takes {figures['demo_seconds']:.0f} s "
        f"after installation and {figures['demo_peak_gib']:.2f} GiB; all fits of the full run took "
        f"{details['fit_seconds'] / 60:.0f} minutes. Median of runs on {results['machine']}; commit "
        f"{results['commit']}, {results['date']}, `{results['command']}`."
    )
    header = "| model | rank IC | minus ridge (p, Holm) | R² oos, % | hit rate, % | net Sharpe ratio |"
    return "\n".join([sample, "", header, "|---|---|---|---|---|---|", *rows, "", primary, "", cost])


def _row(details: dict[str, Any], model: str) -> str:
    levels = {row["metric"]: row for row in details["metrics"] if row["model"] == model and row["against"] is None}
    paired = [
        row
        for row in details["metrics"]
        if row["model"] == model and row["against"] == "ridge" and row["metric"] == "rank_ic"
    ]
    net = next(row for row in details["portfolio"] if (row["model"], row["delay"], row["side"]) == (model, 1, "net"))
    against = f"{_pm(paired[0], 3)} ({paired[0]['p_holm']:.2f})" if paired else "—"
    sharpe = {"estimate": net["sharpe"], "standard_error": net["sharpe_se"]}
    cells = [
        _pm(levels["rank_ic"], 3),
        against,
        _pm(levels["r2"], 2, 100),
        _pm(levels["hit_rate"], 1, 100),
        _pm(sharpe, 2),
    ]
    return f"| {model} | {' | '.join(cells)} |"


def _pm(row: dict[str, Any], digits: int, scale: float = 1.0) -> str:
    if row["estimate"] is None:
        return "—"
    estimate = f"{row['estimate'] * scale:.{digits}f}".replace("-", "−")
    return estimate if row["standard_error"] is None else f"{estimate} ± {row['standard_error'] * scale:.{digits}f}"


def main() -> None:
    """Measure, write, and print the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of the demonstration")
    runs = parser.parse_args().runs
    path = results_file.write("sp500", demo(runs), full())
    results = json.loads(path.read_text())
    results_file.into_readme(MARKERS, readme_section(results))
    print(readme_section(results))


if __name__ == "__main__":
    main()
