"""What integrated gradients cost beside the passes that they cannot do without.

``python -m benchmarks.explain_cost`` explains 10 forecasts of one date by `explain.gradients`, 32 steps, and does the
bare passes on the same model and date: at each step one forward, and for each forecast one backward to the inputs. Both
are timed in turn, in processor time of one thread, over several rounds; ``--rounds`` says how many.

batch_cost_ratio : median over rounds of what explaining took, from targets to table, by what the bare passes took.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.apart import peak
from finattn.blocks import Blocks, Scaling
from finattn.config import ModelConfig, TargetConfig
from finattn.data import simulate
from finattn.explain.gradients import How, gradients
from finattn.models import PanelTransformer

FIRMS, TARGETS, BUDGET = 256, 10, 1.5
MODEL = ModelConfig(width=32, lookback=60)
HOW = How(steps=32)


def bare(model: PanelTransformer, blocks: Blocks, columns: list[int]) -> None:
    """Go forward once a step, and backward once for each forecast and step."""
    (block,) = blocks.cut(model.warmup, 1)
    for step in range(HOW.steps):
        point = (block.x * (step + 0.5) / HOW.steps).requires_grad_()
        scores = model(block._replace(x=point))[-1]
        for place, column in enumerate(columns):
            torch.autograd.grad(scores[column], point, retain_graph=place + 1 < len(columns))


def measure(rounds: int = 5) -> dict[str, Any]:
    """Return the figure and what it is made of."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    panel, row = simulate(FIRMS, 150, seed=0).panel, np.array([140])
    blocks = Blocks(panel, row, Scaling.fit(panel, np.arange(100)), TargetConfig())
    model = PanelTransformer(blocks.scaling.width, ("time", "firm"), MODEL).eval()
    columns = np.flatnonzero(blocks.observed[0])[:TARGETS].tolist()
    targets = [(panel.dates[row[0]], str(panel.firms[column])) for column in columns]

    ours, passes = [], []
    for _ in range(rounds + 1):
        ours.append(_seconds(lambda: gradients(model, blocks, targets, "integrated_gradients", HOW)))
        passes.append(_seconds(lambda: bare(model, blocks, columns)))
    ratios = [one / other for one, other in zip(ours[1:], passes[1:], strict=True)]  # the first round warms up
    return {
        "batch_cost_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "explain_seconds": round(statistics.median(ours[1:]), 3),
        "bare_seconds": round(statistics.median(passes[1:]), 3),
        "peak_gib": round(peak() / 2**30, 2),
        "targets": len(targets),
        "firms": FIRMS,
        "steps": HOW.steps,
        "lookback": MODEL.lookback,
    }


def _seconds(run: Callable[[], Any]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="that are timed")
    found = measure(parser.parse_args().rounds)
    print(f"batch_cost_ratio {found['batch_cost_ratio']:.3f}, at most {BUDGET:g}")
    for name, value in found.items():
        print(f"  {name}: {value}")


if __name__ == "__main__":
    main()
