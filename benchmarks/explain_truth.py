"""Which explanation finds what was planted? Draws of simulated panels, each learnt, explained, and held against truth.

``python -m benchmarks.explain_truth --draws 10`` simulates panels of 200 firms and 2,000 days with an oracle R² of 2%,
half of it from five directed peers a firm and half from lags 0, 4 and 20 of the firm's own return. A look-up along
firms, the best of four starts by validation, corrected by one attention block along time, is fitted on days 60 to 1,600
and stopped on the next 250. It is explained on test days by every method, and `explain.score` says how much of the
truth is among the heaviest keys. Whatever was tried was tried on panels of other seeds (101 and on); on those that are
reported nothing is chosen by the truth. Each draw is a file in runs/explain_truth, so that what was killed goes on and
more draws add to those that are there.

The look-up has one head and one window, and its learning rate falls to zero along half a cosine: at a constant rate the
noise of the last steps hides which of two near firms is the peer. "return_saliency" is saliency over the return and the
excess return alone, which is what a planted weight multiplies, less the median firm's. Saliency over all inputs also
asks what happens as a peer's characteristics change, which is as large as that peer's return of the day happens to be:
where the model is the truth itself (tried on panel 101) it ranks peers with an average precision of 0.93. Paths
have 8 steps and draws are 5 (noise, permutations). Methods that take inputs away are dear and explain 4 forecasts a
panel in place of 60; "temporal_rescaling" is dearer still and left out.

auprc_KIND_best_gradient : area under precision-recall, that is average precision per forecast, averaged over draws, of
    the gradient method that is best on that average; auprc_KIND_attention, auprc_peers_rollout : of those.
leaks_planted, leaks_caught, false_alarms : of `benchmarks.leaks`.
batch_cost_ratio : of `benchmarks.explain_cost`.
draws : how many panels.
"""

import argparse
import importlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from threadpoolctl import threadpool_limits
from torch import nn

from benchmarks import results_file
from finattn.blocks import Block, Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig, TrainingConfig
from finattn.data import Design, simulate
from finattn.data.truth import Planted
from finattn.errors import InputError
from finattn.explain import LOOKED, Explanation, How, attention, gradients, join, network, sample_targets, score
from finattn.explain.scene import Averaged, scores
from finattn.ladder.climbing import Once
from finattn.look_up import LookUpConfig
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.panel import Panel
from finattn.storage import write_json
from finattn.training import LOOK_UP_TRAINING, AttentionForecaster, LookUpForecaster

FOLDER = Path("runs/explain_truth")
MARKERS = ("<!-- explain truth: written by python -m benchmarks.explain_truth -->", "<!-- end of explain truth -->")
FIRMS, DAYS, R2 = 200, 2000, 0.02
DESIGN = Design(shares={"lags": 0.5, "peers": 0.5})
RETURNS = "return_saliency"
GRADIENTS = (RETURNS, "saliency", "input_x_gradient", "integrated_gradients", "smoothgrad", "gradient_shap")
TAKEN = ("feature_ablation", "occlusion", "shapley")
SAYS = {
    RETURNS: "saliency of returns alone", "saliency": "saliency", "input_x_gradient": "input × gradient",
    "integrated_gradients": "integrated gradients", "smoothgrad": "SmoothGrad", "gradient_shap": "GradientSHAP",
    "attention": "attention", "value_norm": "attention × norms of values", "rollout": "attention rollout",
    "feature_ablation": "ablation", "occlusion": "occlusion", "shapley": "Shapley values, 5 permutations",
}  # fmt: skip
KINDS = {"peer": "peers", "lag": "lags", "feature": "characteristics"}


@dataclass(frozen=True)
class Plan:
    """How a panel is learnt and how many forecasts are explained.

    Rows from `first` to `train` are trained on and those to `valid` stop the training; the rest is explained, `firms`
    on each of `dates`, by the methods in `TAKEN` `few` on each of two dates.
    """

    first: int = 60
    train: int = 1600
    valid: int = 1850
    dates: int = 6
    firms: int = 10
    few: int = 2
    fits: int = 1
    how: How = How(steps=8, samples=5)
    look_up: LookUpConfig = LookUpConfig(heads=1, windows=(1,), slope=0.3)
    peers: TrainingConfig = replace(
        LOOK_UP_TRAINING, learning_rate=2e-2, weight_decay=0.03, epochs=7, minimum_epochs=6, schedule="cosine", starts=4
    )
    days: ModelConfig = ModelConfig(heads=4, lookback=30, norm="none", feed_forward=0, dropout=0.0)
    lags: TrainingConfig = TrainingConfig(block=20, learning_rate=1e-2, epochs=7)


# -- what is learnt -------------------------------------------------------------------------------------------------


class Shuffled(Blocks):
    """Blocks whose targets are those of other firms of the date: there is nothing to learn."""

    def _block(self, first: int, start: int, stop: int, inside: np.ndarray) -> Block:
        block = super()._block(first, start, stop, inside)
        target, random = block.target.clone(), torch.Generator().manual_seed(start)
        for row in block.scored:
            there = block.target_observed[row].nonzero().squeeze(1)
            target[row, there] = target[row, there[torch.randperm(len(there), generator=random)]]
        return block._replace(target=target)


@dataclass(frozen=True)
class Learnt:
    """Fits of one model to a simulated panel, its training and test dates, and the truth."""

    fits: list[nn.Module]
    training: Blocks
    test: Blocks
    truth: Planted

    @property
    def panel(self) -> Panel:
        """The panel."""
        return self.test.panel


def cut(panel: Panel, plan: Plan, kind: type[Blocks] = Blocks) -> tuple[Blocks, Blocks, Blocks]:
    """Return training and validation dates, of a kind, and test dates; a target reaches one row on."""
    scaling, target = Scaling.fit(panel, np.arange(plan.train)), TargetConfig(horizon=1)
    train, valid = np.arange(plan.first, plan.train), np.arange(plan.train + 1, plan.valid)
    test = Blocks(panel, np.arange(plan.valid + 1, len(panel) - 1), scaling, target)
    return kind(panel, train, scaling, target), kind(panel, valid, scaling, target), test


def look_ups(train: Blocks, valid: Blocks, plan: Plan) -> list[LookUpForecaster]:
    """Fit look-ups that differ by their seed."""
    return [LookUpForecaster(plan.look_up, plan.peers, seed).fit(train, valid) for seed in range(plan.fits)]


def learn(seed: int, plan: Plan) -> Learnt:
    """Simulate a panel with planted peers and lags, and fit look-ups that are corrected along time."""
    panel, truth = simulate(FIRMS, DAYS, r2=R2, seed=seed, design=DESIGN)
    train, valid, test = cut(panel, plan)
    bases = [Once(one, train) for one in look_ups(train, valid, plan)]
    made = [AttentionForecaster(("time",), plan.days, plan.lags, fit, base=base) for fit, base in enumerate(bases)]
    return Learnt([network(one.fit(train, valid)) for one in made], train, test, truth)


def one_peer(seed: int = 0, shuffled: bool = False, starts: int = 4) -> Learnt:
    """Fit a look-up to a small panel in which each firm has one planted peer; or to the same with shuffled targets.

    The oracle's R² is 30%: with one peer among sixty firms the model should find it, and so should each method.
    """
    panel, truth = simulate(60, 1200, r2=0.3, seed=seed, design=Design(shares={"peers": 1.0}, peers=1))
    plan = Plan(first=0, train=900, valid=1050)
    plan = replace(plan, peers=replace(plan.peers, epochs=6, minimum_epochs=5, starts=starts))
    train, valid, test = cut(panel, plan, Shuffled if shuffled else Blocks)
    return Learnt([network(one) for one in look_ups(train, valid, plan)], train, test, truth)


# -- what is found --------------------------------------------------------------------------------------------------


def explain(learnt: Learnt, plan: Plan, taken: bool = True) -> Explanation:
    """Explain the mean of the fits on some test dates by every method."""
    model, blocks = Averaged(learnt.fits).eval(), learnt.test
    many, few = sample_targets(blocks, plan.dates, plan.firms), sample_targets(blocks, 2, plan.few)
    parts = [attention(learnt.fits, blocks, "model", method, many) for method in LOOKED]
    parts += [gradients(model, blocks, many, method, plan.how) for method in GRADIENTS]
    parts += [gradients(model, blocks, few, method, plan.how) for method in TAKEN if taken]
    return join(parts)


def areas(explanation: Explanation, learnt: Learnt) -> dict[str, dict[str, dict[str, float]]]:
    """Return the average precision and what chance gives, by kind and method."""
    table = score(explanation, learnt.truth, learnt.panel)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in table[table["measure"] == "average_precision"].itertuples():
        found.setdefault(row.kind, {})[row.method] = {"value": float(row.value), "chance": float(row.chance)}
    return found


def draw(seed: int, plan: Plan) -> dict[str, Any]:
    """Simulate a panel, learn it, explain it, and say what was found."""
    began = time.process_time()
    learnt = learn(seed, plan)
    test, oracle = learnt.test, learnt.truth.oracle[learnt.test.positions]
    found = scores(Averaged(learnt.fits).eval(), test)
    ranks = {name: mean_over_dates(rank_information_coefficient(one, test.realised))
             for name, one in (("model", found), ("oracle", oracle))}  # fmt: skip
    return {
        "seed": seed, "average_precision": areas(explain(learnt, plan), learnt), "rank_ic": ranks,
        "oracle_r2": learnt.truth.r2, "processor_seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


# -- what it comes to -----------------------------------------------------------------------------------------------


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean over draws and half of its 95% interval, by Student's t; None for fewer than two."""
    half = None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "half": half, "least": float(np.min(values))}


def summarise(drawn: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details of all draws."""
    if not drawn:
        raise InputError(f"{FOLDER} must hold draws, found none: run python -m benchmarks.explain_truth --draws 1")
    found: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        of_kind = [one["average_precision"][kind] for one in drawn]
        found[kind] = {
            method: interval([one[method]["value"] for one in of_kind])
            | {"chance": float(np.mean([one[method]["chance"] for one in of_kind]))}
            for method in of_kind[0]
        }
    best = {kind: max((name for name in GRADIENTS if name in found[kind]), key=lambda name: found[kind][name]["mean"])
            for kind in KINDS}  # fmt: skip
    figures = {f"auprc_{KINDS[kind]}_best_gradient": found[kind][best[kind]]["mean"] for kind in ("peer", "lag")}
    figures |= {f"auprc_{KINDS[kind]}_attention": found[kind]["attention"]["mean"] for kind in ("peer", "lag")}
    figures["auprc_peers_rollout"] = found["peer"]["rollout"]["mean"]
    details = {
        "average_precision": found, "best_gradient": best,
        "rank_ic": {name: interval([one["rank_ic"][name] for one in drawn]) for name in ("model", "oracle")},
        "oracle_r2": interval([one["oracle_r2"] for one in drawn]),
        "processor_seconds": float(np.median([one["processor_seconds"] for one in drawn])), "draws": drawn,
    }  # fmt: skip
    return {name: round(value, 3) for name, value in figures.items()} | {"draws": len(drawn)}, details


def others() -> dict[str, Any]:
    """Return what the benchmarks of leaks and of cost measure; InputError where one of them is not there."""
    found: dict[str, Any] = {}
    for name, wanted in (("leaks", ("leaks_planted", "leaks_caught", "false_alarms")),
                         ("explain_cost", ("batch_cost_ratio",))):  # fmt: skip
        try:
            measured = importlib.import_module(f"benchmarks.{name}").measure()
            figures = measured[0] if isinstance(measured, tuple) else measured  # some give details beside them
            found |= {key: figures[key] for key in wanted}
        except (ImportError, AttributeError, KeyError) as error:
            raise InputError(f"benchmarks.{name} must measure {', '.join(wanted)}, found: {error}") from None
    return found


def readme_section(results: dict[str, Any]) -> str:
    """Lay out what was found, method by method."""
    details, figures = results["details"], results["figures"]
    found, best = details["average_precision"], details["best_gradient"]
    rows = [f"| method | {' | '.join(KINDS.values())} |", f"|---|{'---|' * len(KINDS)}"]
    for method, words in SAYS.items():
        rows.append(f"| {words} | {' | '.join(_cell(found[kind].get(method)) for kind in KINDS)} |")
    inside = max((name for name in GRADIENTS if name != RETURNS), key=lambda name: found["peer"][name]["mean"])
    chances = (f"{found[kind]['attention' if kind != 'feature' else 'saliency']['chance']:.2f}" for kind in KINDS)
    rows.append(f"| *chance* | {' | '.join(f'*{chance}*' for chance in chances)} |")
    said = (
        f"Average precision (area under precision-recall) over {figures['draws']} simulated panels of {FIRMS} firms "
        f"and {DAYS:,} days with five planted peers a firm and three planted lags, oracle R² "
        f"{100 * details['oracle_r2']['mean']:.1f}%, with 95% intervals. Peers are found best by "
        f"{SAYS[best['peer']]} ({figures['auprc_peers_best_gradient']:.2f}; attention "
        f"{figures['auprc_peers_attention']:.2f}; of gradients by all inputs at best {SAYS[inside]}, "
        f"{found['peer'][inside]['mean']:.2f}), lags by {SAYS[best['lag']]} "
        f"({figures['auprc_lags_best_gradient']:.2f}; attention {figures['auprc_lags_attention']:.2f}). Of a look-up "
        "with one head, attention and the saliency of returns say the same about peers. Shapley values play with "
        f"groups of lags, where chance is {found['lag']['shapley']['chance']:.2f}. The models "
        f"that are explained reach a rank IC of {details['rank_ic']['model']['mean']:.3f}, the oracle "
        f"{details['rank_ic']['oracle']['mean']:.3f}. Commit {results['commit']}, {results['date']}, "
        f"`{results['command']}`."
    )
    return "\n".join(["", *rows, "", said])


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:.2f}" + ("" if found["half"] is None else f" ± {found['half']:.2f}")


def main() -> None:
    """Draw what is missing, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10, help="panels")
    parser.add_argument("--summarise", action="store_true", help="draw nothing: write what the draws so far say")
    parser.add_argument("--dry", action="store_true", help="no results file, and no other benchmark is run")
    given = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    for seed in () if given.summarise else range(1, given.draws + 1):
        path = FOLDER / f"draw-{seed}.json"
        if not path.exists():
            found = draw(seed, Plan())
            write_json(path, found)
            peers = {name: round(one["value"], 3) for name, one in found["average_precision"]["peer"].items()}
            print(seed, peers, found["processor_seconds"], "s", flush=True)
    drawn = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("draw-*.json"))]
    figures, details = summarise(drawn)
    if not given.dry:
        figures |= others()
        path = results_file.write("explain_truth", figures, details)
        results_file.into_readme(MARKERS, readme_section(json.loads(path.read_text(encoding="utf-8"))))
    print(json.dumps({"figures": figures, "details": details}, indent=2))


if __name__ == "__main__":
    main()
