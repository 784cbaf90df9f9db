"""finattn beside Table A.1 of Gu, Kelly and Xiu (2020): out-of-sample R² on panels of their own simulation.

``python -m benchmarks.gu_kelly_xiu --draws 20`` simulates models (a) and (b) with 50 and 100 characteristics, 200 firms
and 180 months of forecasts, a third each for training, validation and testing, and writes results/gu_kelly_xiu.json and
the README's table. Each draw is a file in runs/gu_kelly_xiu, so that what was killed goes on and more draws add to those
that are there.

R² is pooled over the test months and relative to the mean return of the training months, as in the appendix ("Both IS
and OOS R² are relative to the estimator based on the IS average") and in the authors' code
(https://github.com/xiubooth/ML_Codes, Simu_Matlab/MC_Reg.m); the paper's own R², of real returns, is relative to zero.

NAME_MODELn : percent, the average over draws; ols and oracle are computed as the authors compute them and so say whether
    the simulation is theirs. draws : the fewest of any column.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import results_file
from finattn.baselines import Boosting, Ridge
from finattn.config import ModelConfig, TrainingConfig
from finattn.data import gu_kelly_xiu
from finattn.data.gu_kelly_xiu import Model
from finattn.experiment import Rung, walk_forward
from finattn.metrics import demeaned, squared_losses
from finattn.splits import WalkForward
from finattn.storage import write_json
from finattn.training import AttentionForecaster

FOLDER = Path("runs/gu_kelly_xiu")
MARKERS = ("<!-- Gu-Kelly-Xiu: written by python -m benchmarks.gu_kelly_xiu -->", "<!-- end of Gu-Kelly-Xiu -->")
FIRMS, THIRD = 200, 60
SEEDS = (0, 1, 2)  # of the transformer, averaged
COLUMNS: tuple[tuple[Model, int], ...] = (("a", 50), ("a", 100), ("b", 50), ("b", 100))
# Out-of-sample R² in percent, in the order of COLUMNS, and where they stand.
SOURCE = (
    "Gu, Kelly and Xiu (2020), Empirical Asset Pricing via Machine Learning, RFS 33(5), "
    "[doi:10.1093/rfs/hhaa009](https://doi.org/10.1093/rfs/hhaa009), Internet Appendix A, Table A.1, columns OOS"
)
PAPER = {
    "OLS": (1.14, -1.35, -4.72, -7.75),
    "Ridge": (3.89, 3.39, 0.34, 0.23),
    "GBRT": (3.35, 3.33, 2.76, 2.84),
    "GBRT+H": (3.45, 3.37, 3.12, 3.22),
    "NN1": (4.37, 4.28, 2.78, 2.59),
    "NN2": (4.42, 4.26, 3.13, 2.91),
    "NN3": (4.34, 4.27, 2.96, 2.68),
    "NN4": (4.31, 4.24, 2.81, 2.51),
    "NN5": (4.27, 4.14, 2.72, 2.20),
    "Oracle": (5.52, 5.52, 5.40, 5.40),
}
# What is measured: its name in the table, and the paper's methods that stand below it.
METHODS = {
    "ols": ("OLS on all characteristics", ("OLS",)),
    "ridge": ("ridge", ("Ridge",)),
    "boosting": ("boosting", ("GBRT", "GBRT+H")),
    "transformer": ("transformer", ()),
    "transformer_on_ridge": ("transformer that corrects ridge", ("NN1", "NN2", "NN3", "NN4", "NN5")),
    "oracle": ("oracle: OLS on the three true terms", ("Oracle",)),
    "truth": ("the true g", ()),
}


class Months(NamedTuple):
    """Forecast months (t, n): features [t n f], the true terms [t n 3], their sum, and the returns that followed."""

    features: np.ndarray
    terms: np.ndarray
    truth: np.ndarray
    realised: np.ndarray


def rungs() -> list[Rung]:
    """Return the forecasters; nothing in the design is found in other months, so they look at one alone."""

    def attention(seed: int, base: Any = None) -> AttentionForecaster:
        training = TrainingConfig(block=5, epochs=20, patience=5)
        return AttentionForecaster(("firm",), ModelConfig(lookback=1), training, seed, base=base)

    return [
        Rung("ridge", lambda seed: Ridge(lookback=1)),
        Rung("boosting", lambda seed: Boosting(lookback=1, seed=seed)),
        Rung("transformer", attention, SEEDS),
        Rung("transformer_on_ridge", lambda seed: attention(seed, Ridge(lookback=1)), SEEDS),
    ]


def draw(model: Model, characteristics: int, seed: int) -> dict[str, Any]:
    """Simulate a panel, forecast, and say how well, in percent."""
    began = time.perf_counter()
    panel, truth = gu_kelly_xiu(model, characteristics, FIRMS, 3 * THIRD + 1, seed)
    # The last row's return is that of the last forecast month: no forecast of it can be scored.
    terms = np.stack(list(truth.parts.values()), axis=2)
    every = Months(panel.features[:-1].astype(float), terms[:-1], truth.oracle[:-1], panel.returns[1:])
    train, test = (Months(*(x[part] for x in every)) for part in (slice(THIRD), slice(2 * THIRD, None)))
    mean = float(train.realised.mean())
    splits = WalkForward(str(panel.dates[2 * THIRD]), test=THIRD + 1, valid=THIRD, train=THIRD)
    forecasts = walk_forward(panel, rungs(), splits)
    wide = {name: forecasts.wide(name) for name in forecasts.models}
    predicted = {name: found.prediction[:THIRD] for name, found in wide.items()} | {
        "ols": mean + least_squares(train.features, train.realised - mean, test.features),
        "oracle": least_squares(train.terms, train.realised, test.terms),
        "truth": test.truth,
        "truth_within": mean + demeaned(test.truth, np.ones(test.truth.shape, bool)),
    }
    hindsight = {name: mean + best_slope(found.score[:THIRD], test.realised) for name, found in wide.items()}
    return {
        "model": model, "characteristics": characteristics, "seed": seed,
        "r2": {name: r2(values, test.realised, mean) for name, values in predicted.items()},
        "r2_hindsight": {name: r2(values, test.realised, mean) for name, values in hindsight.items()},
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def least_squares(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Fit y (t, n) on x [t n f] without an intercept, all firm-months alike, and forecast for `new`."""
    return new @ np.linalg.lstsq(x.reshape(-1, x.shape[2]), y.ravel(), rcond=None)[0]


def best_slope(score: np.ndarray, realised: np.ndarray) -> np.ndarray:
    """Scale scores (t, n) in excess of their month's mean as fits best afterwards: what calibration can reach."""
    within = demeaned(score, np.ones(score.shape, bool))
    return within * (within * realised).sum() / max((within**2).sum(), 1e-300)


def r2(forecast: np.ndarray, realised: np.ndarray, mean: float) -> float:
    """Return 100 (1 − Σ(r − forecast)² / Σ(r − mean)²)."""
    error, total = squared_losses(forecast - mean, realised - mean)
    return float(100 * (1 - error.sum() / total.sum()))


def summarise(drawn: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details: averages over draws with their standard errors."""
    details: dict[str, Any] = {}
    for model, characteristics in COLUMNS:
        own = [one for one in drawn if (one["model"], one["characteristics"]) == (model, characteristics)]
        if own:
            details[f"{model}{characteristics}"] = {
                kind: {name: _average([one[kind][name] for one in own]) for name in own[0][kind]}
                for kind in ("r2", "r2_hindsight")
            } | {"draws": len(own), "seconds": float(np.median([one["seconds"] for one in own]))}
    figures = {
        f"{name}_{column}": round(found["r2"][name]["mean"], 2) for column, found in details.items() for name in METHODS
    }
    fewest = min((found["draws"] for found in details.values()), default=0)
    return figures | {"draws": fewest}, details | {"paper": PAPER, "source": SOURCE}


def _average(values: list[float]) -> dict[str, float | None]:
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "error": error}


def readme_section(results: dict[str, Any]) -> str:
    """Lay out finattn's figures with the paper's below them."""
    found = {key: value for key, value in results["details"].items() if key not in ("paper", "source")}
    order = [f"{model}{count}" for model, count in COLUMNS]
    rows = ["| R² out of sample, % | (a), 50 | (a), 100 | (b), 50 | (b), 100 |", "|---|---|---|---|---|"]
    for name, (label, beside) in METHODS.items():
        rows.append(f"| {label} | {' | '.join(_cell(found.get(column), name) for column in order)} |")
        for method in beside:
            printed = " | ".join(f"*{value:.2f}*" for value in results["details"]["paper"][method])
            rows.append(f"| *{method}, as printed in the paper* | {printed} |")
    return "\n".join(["", *rows, "", *_notes(results, found)])


def _cell(column: dict[str, Any] | None, name: str) -> str:
    if column is None:
        return "not drawn"
    value = column["r2"][name]
    return f"{value['mean']:.2f}" if value["error"] is None else f"{value['mean']:.2f} ± {value['error']:.2f}"


def _notes(results: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Say in words what the figures are, and how finattn's differ from the paper's."""
    fewest = results["figures"]["draws"]
    within = max((abs(_mean(one, "truth") - _mean(one, "truth_within")) for one in found.values()), default=0.0)
    lost = [
        max(one["r2_hindsight"][name]["mean"] - _mean(one, name) for one in found.values())
        for name in ("ridge", "boosting", "transformer", "transformer_on_ridge")
        if found
    ]
    return [
        f"Simulated by `finattn.data.gu_kelly_xiu`: {FIRMS} firms, models (a) and (b) with 50 and 100 characteristics, "
        f"{THIRD} months each for training, validation and testing; averages over at least {fewest} draws ± standard "
        f"error. R² is pooled and relative to the mean return of the training months. *In italics: {SOURCE}, averages "
        "over 100 draws.* Ours and theirs are different draws, and the spread from draw to draw is wide.",
        "",
        "OLS and the oracle are computed as the authors do, and tell whether the simulation and the R² are theirs. The "
        "others are not the paper's methods but finattn's: fitted to returns standardised across the firms of a month, "
        "tuned on validation rank IC, and turned into returns by the mean return and a slope found on validation "
        "months. They say nothing of a month's mean; in this design there is next to nothing to say, and the true g "
        f"without its month's mean has an R² that differs by {within:.2f} at most. The slope costs up to "
        f"{max(lost, default=0.0):.2f} of R² against the one that fits best in hindsight. The transformer attends to "
        "the other firms of the month (`axes = (\"firm\",)`, no look back, three seeds), but g depends on a firm's own "
        "characteristics of the month alone: attention has nothing to find here, along firms or along time, and what "
        "counts is what a layer makes of 100 or 200 inputs in 12,000 firm-months. The paper's networks have an L1 "
        "penalty, which suits three true terms, and ten seeds. "
        f"Commit {results['commit']}, {results['date']}, `{results['command']}`.",
    ]  # fmt: skip


def _mean(column: dict[str, Any], name: str) -> float:
    return float(column["r2"][name]["mean"])


def main() -> None:
    """Draw what is missing, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20, help="of each model and number of characteristics")
    parser.add_argument("--summarise", action="store_true", help="draw nothing: write what the draws so far say")
    parser.add_argument("--dry", action="store_true", help="no results file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # products this small lose by a second thread
    wanted = [(*column, seed) for seed in range(1, given.draws + 1) for column in COLUMNS]
    for model, characteristics, seed in () if given.summarise else wanted:
        path = FOLDER / f"{model}{characteristics}-{seed}.json"
        if not path.exists():
            found = draw(model, characteristics, seed)
            write_json(path, found)
            rounded = {name: round(value, 2) for name, value in found["r2"].items()}
            print(model, characteristics, seed, rounded, f"{found['seconds']} s", flush=True)
    drawn = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*-*.json"))]
    figures, details = summarise(drawn)
    print(json.dumps({"figures": figures, "details": details}, indent=2))
    if not given.dry:
        path = results_file.write("gu_kelly_xiu", figures, details)
        results_file.into_readme(MARKERS, readme_section(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
