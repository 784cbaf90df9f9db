"""Does the ladder tell the truth where the truth is known? Draws of simulated panels, each climbed by four rungs.

``python -m benchmarks.ladder_truth --draws 40`` simulates panels of 200 firms and 2,000 days with an oracle R² of 2%,
climbs ridge, SIC kernel, look-up and self-attention (which starts from the look-up) over one fold of 1,000 training,
400 validation and 595 test days, one seed, and writes results/ladder_truth.json. Each draw is a file in
runs/ladder_truth, so that what was killed goes on and more draws add to those that are there. Ridge and SIC kernel have
their four trials, the look-up the first two of its four and attention the first: a handicap, to save hours. Scenarios:

nothing    the oracle R² is 0: no forecast is worth anything
sic        a firm's peers are all firms of its two-digit SIC group, alike
directed   five directed peers, all of them of another SIC group
unseen     a lag of 300 days, beyond the reach of every rung and feature
own        effects of the firm's own characteristics alone; told in the details: a rung that sees them is right to beat
           SIC peers, and so is one whose peers are firms with like characteristics

false_claim_rate_no_peers, false_claim_rate_sic_peers, power_directed_peers : share of draws of "nothing", "sic" and
    "directed" in which self-attention is claimed better than the SIC kernel (one-sided p < 0.05).
oracle_ic_share_directed : mean over draws of self-attention's rank IC over the oracle's.
draws : the fewest of any scenario.
"""

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from threadpoolctl import threadpool_limits

from benchmarks import results_file
from finattn.config import ModelConfig, RunConfig, TargetConfig
from finattn.data import Design, simulate
from finattn.evaluation import model_confidence_set, per_date, primary
from finattn.evaluation.tables import contributions
from finattn.ladder import climb, standard
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.splits import WalkForward
from finattn.storage import write_json

FOLDER = Path("runs/ladder_truth")
MARKERS = ("<!-- ladder truth: written by python -m benchmarks.ladder_truth -->", "<!-- end of ladder truth -->")
SAYS = {"nothing": "nothing to find", "sic": "peers are the SIC group", "directed": "directed peers across SIC groups",
        "unseen": "a lag beyond reach", "own": "own characteristics alone"}  # fmt: skip
FIRMS, DAYS, R2 = 200, 2000, 0.02
PEERS = {"peers": 1.0}
SCENARIOS: dict[str, dict[str, Any]] = {
    "nothing": {"r2": 0.0},
    "sic": {"r2": R2, "cross_industry": 0.0, "design": Design(shares=PEERS, peers=24, sharpness=0.01)},
    "directed": {"r2": R2, "cross_industry": 1.0, "design": Design(shares=PEERS)},
    "unseen": {"r2": R2, "design": Design(shares={"lags": 1.0}, lags=(300,), lag_weights=(1.0,))},
    "own": {"r2": R2, "design": Design(shares={"linear": 0.5, "lags": 0.5})},
}
TRIALS = {"ridge": 4, "sic_kernel": 4, "look_up": 2, "firm": 1}


def rungs() -> list[Any]:
    """Return the rungs climbed, each with as many of its trials as `TRIALS` lets it have."""
    known = {rung.name: rung for rung in standard(RunConfig(model=ModelConfig(lookback=1)))}
    return [replace(known[name], trials=known[name].trials[:count]) for name, count in TRIALS.items()]


def draw(scenario: str, seed: int) -> dict[str, Any]:
    """Simulate a panel, climb, and say what was found."""
    began = time.perf_counter()
    panel, truth = simulate(FIRMS, DAYS, seed=seed, **SCENARIOS[scenario])
    splits = WalkForward(str(panel.dates[1405]), test=595, valid=400, train=1000)
    forecasts = climb(panel, rungs(), splits, TargetConfig(horizon=1)).forecasts
    table = per_date(forecasts)
    worth = {name: contributions(table[table["model"] == name], "rank_ic") for name in forecasts.models}
    wide = forecasts.wide("firm")
    rows = np.searchsorted(panel.dates, wide.dates)
    columns = np.searchsorted(panel.firms, wide.firms)
    oracle = np.where(np.isnan(wide.score), np.nan, truth.oracle[np.ix_(rows, columns)])
    kept = model_confidence_set(-np.column_stack(list(worth.values())), forecasts.overlap)
    pairs = {name: primary(forecasts, name, "sic_kernel") for name in ("firm", "look_up")}
    return {
        "scenario": scenario, "seed": seed, "rank_ic": {name: float(series.mean()) for name, series in worth.items()},
        "oracle_rank_ic": mean_over_dates(rank_information_coefficient(oracle, wide.realised)),
        "p": {name: pair.p_one_sided for name, pair in pairs.items()},
        "claim": {name: bool(pair.claim) for name, pair in pairs.items()},
        "in_confidence_set": dict(zip(worth, map(bool, kept.included), strict=True)),
        "seconds": round(time.perf_counter() - began, 1), "commit": results_file.commit(),
    }  # fmt: skip


def share(hits: list[bool]) -> dict[str, float]:
    """Return a share with its exact 95% binomial interval (Clopper and Pearson 1934)."""
    count, total = sum(hits), len(hits)
    found = stats.binomtest(count, total).proportion_ci()
    return {"share": count / total, "lower": float(found.low), "upper": float(found.high), "draws": total}


def summarise(drawn: list[dict[str, Any]], before: dict[str, Any]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details of all draws; of a scenario without draws here the details before stay."""
    details: dict[str, Any] = {}
    for scenario in SCENARIOS:
        own = [one for one in drawn if one["scenario"] == scenario]
        if not own:
            details |= {scenario: before[scenario]} if scenario in before else {}
            continue
        details[scenario] = {
            "rank_ic": {name: float(np.mean([one["rank_ic"][name] for one in own])) for name in TRIALS},
            "oracle_rank_ic": float(np.mean([one["oracle_rank_ic"] for one in own])),
            "claims": {name: share([one["claim"][name] for one in own]) for name in ("firm", "look_up")},
            "in_confidence_set": {name: share([one["in_confidence_set"][name] for one in own]) for name in TRIALS},
            "seconds": float(np.median([one["seconds"] for one in own])),
            "commit": ", ".join(sorted({one["commit"] for one in own})),
        }  # fmt: skip
    ratios = [one["rank_ic"]["firm"] / one["oracle_rank_ic"] for one in drawn if one["scenario"] == "directed"]
    if ratios:
        error = float(np.std(ratios, ddof=1) / math.sqrt(len(ratios))) if len(ratios) > 1 else None
        details["directed"] |= {"oracle_ic_share": float(np.mean(ratios)), "oracle_ic_share_error": error}
    claims = {name: details[name]["claims"]["firm"]["share"] for name in details}
    names = {"nothing": "false_claim_rate_no_peers", "sic": "false_claim_rate_sic_peers",
             "directed": "power_directed_peers", "unseen": "false_claim_rate_unseen"}  # fmt: skip
    figures = {names[name]: round(value, 3) for name, value in claims.items() if name in names}
    if "directed" in details:
        figures["oracle_ic_share_directed"] = round(details["directed"]["oracle_ic_share"], 3)
    counts = [own["claims"]["firm"]["draws"] for own in details.values()]
    return figures | {"draws": min(counts, default=0)}, details


def readme_section(results: dict[str, Any]) -> str:
    """Lay out what was found, scenario by scenario."""
    heads = ("planted", "draws", "commit", "claimed better than the SIC kernel: look-up, attention",
             "SIC kernel in the confidence set", "rank IC: SIC kernel, attention, oracle")  # fmt: skip
    rows = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    for name, own in results["details"].items():
        claims = ", ".join(_share(own["claims"][rung]) for rung in ("look_up", "firm"))
        ranks = ", ".join(f"{value:.3f}" for value in (own["rank_ic"]["sic_kernel"], own["rank_ic"]["firm"],
                                                       own["oracle_rank_ic"]))  # fmt: skip
        draws, kept = own["claims"]["firm"]["draws"], _share(own["in_confidence_set"]["sic_kernel"])
        rows.append(f"| {SAYS[name]} | {draws} | {own['commit']} | {claims} | {kept} | {ranks} |")
    said = (
        f"Simulated panels of {FIRMS} firms and {DAYS:,} days, oracle R² 2%, one fold; shares with 95% intervals. "
        f"{results['date']}, `{results['command']}`."
    )
    return "\n".join(["", *rows, "", said])


def _share(found: dict[str, float]) -> str:
    return f"{100 * found['share']:.0f}% ({100 * found['lower']:.0f} to {100 * found['upper']:.0f})"


def main() -> None:
    """Draw what is missing, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40, help="of each scenario")
    parser.add_argument("--scenarios", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--backwards", action="store_true", help="begin with the last draw: for a second process")
    parser.add_argument("--summarise", action="store_true", help="draw nothing: write what the draws so far say")
    parser.add_argument("--dry", action="store_true", help="no results file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # products this small lose by a second thread
    wanted = [(name, seed) for seed in range(1, given.draws + 1) for name in given.scenarios]
    for name, seed in () if given.summarise else wanted[::-1] if given.backwards else wanted:
        path = FOLDER / f"{name}-{seed}.json"
        if not path.exists():
            found = draw(name, seed)
            write_json(path, found)
            print(name, seed, {key: round(value, 4) for key, value in found["rank_ic"].items()}, found["claim"],
                  f"oracle {found['oracle_rank_ic']:.4f}, {found['seconds']} s", flush=True)  # fmt: skip
    drawn = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*-*.json"))]
    figures, details = summarise(drawn, results_file.details("ladder_truth"))
    print(json.dumps({"figures": figures, "details": details}, indent=2))
    if not given.dry:
        path = results_file.write("ladder_truth", figures, details)
        results_file.into_readme(MARKERS, readme_section(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
