"""What attention costs: training throughput, share of the machine's peak, memory for 20,000 firms, one new day.

``python -m benchmarks.attention`` measures everything, each part in a process of its own so that peaks of memory and
numbers of threads do not mix, and writes results/attention.json and the README's section; ``--quick`` runs
everything small and writes nothing. What is compared is timed in turn, in one process, over several rounds; medians
are kept beside every raw time.

Letters: w width, f feed-forward, l lookback, n firms. A multiply-add is two operations.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import results_file
from finattn.blocks import Block
from finattn.config import ModelConfig
from finattn.models import PanelTransformer

CORES = os.cpu_count() or 1
INPUTS = 16
HEAD_WIDTH = 16
BATCHES = (32, 64, 128, 256, 512)
BLOCKS = (480, 960)
QUICK = {
    "firms": 48,
    "rows": 24,
    "blocks": (24,),
    "lookback": 6,
    "rounds": 2,
    "square": 128,
    "windows": 64,
}  # upper limits of --quick
TIME = ("time", "time")
MARKERS = ("<!-- attention: written by python -m benchmarks.attention -->", "<!-- end of attention -->")
DIFFERENCE = (
    "Two stacked bands of `lookback` days, causal, see 2 (lookback - 1) days back; the encoder sees its window of "
    "`lookback` days and no more, and inside it each day sees later ones too. Only scored firm-days are counted for "
    "us: the warm-up rows are computed and not counted. The encoder's windows are cut before the clock starts. Each "
    "side has its best size: the encoder's of 32 to 512 windows a step, ours of 480 and 960 scored rows a block (480 "
    "at 1,024 firms)."
)


class WindowEncoder(nn.Module):
    """The usual way: torch's encoder over a window of days [b l f] for each firm-day, read at the last day."""

    def __init__(self, width: int, lookback: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, width // HEAD_WIDTH, 2 * width, 0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.embedding = nn.Linear(INPUTS, width)
        self.position = nn.Parameter(torch.zeros(lookback, width))
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [b]."""
        return self.head(self.encoder(self.embedding(x) + self.position)[:, -1]).squeeze(-1)


# -- what is run ------------------------------------------------------------


def panel_model(axes: tuple[str, ...], width: int, lookback: int) -> PanelTransformer:
    config = ModelConfig(width=width, heads=width // HEAD_WIDTH, feed_forward=2 * width, lookback=lookback, dropout=0.0)
    return PanelTransformer(INPUTS, axes, config)  # type: ignore[arg-type]


def random_block(rows: int, firms: int, scored: int) -> Block:
    """Make a block in which everything is observed and the last `scored` rows are decisions."""
    observed = torch.ones(rows, firms, dtype=torch.bool)
    return Block(
        x=torch.randn(rows, firms, INPUTS),
        observed=observed,
        target=torch.randn(rows, firms),
        target_observed=observed,
        industry=torch.ones(rows, firms, 1, dtype=torch.int32),
        decision=torch.arange(rows) >= rows - scored,
        date=torch.arange(rows),
        firm=torch.arange(firms),
        warmup=rows - scored,
    )


def training_step(model: nn.Module, x: Any, score: Callable[[Tensor], Tensor], target: Tensor) -> Callable[[], None]:
    """Return forward, squared loss, backward and AdamW as one call."""
    optimiser = torch.optim.AdamW(model.parameters())

    def step() -> None:
        loss = (score(model(x)) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def our_step(firms: int, rows: int, width: int, lookback: int) -> Callable[[], None]:
    model = panel_model(TIME, width, lookback)
    block = random_block(model.warmup + rows, firms, rows)
    return training_step(model, block, lambda scores: scores[block.scored], block.target[block.scored])


def window_steps(batch: int, windows: int, width: int, lookback: int) -> Callable[[], None]:
    """Return as many steps of one batch as make up `windows` windows, at least one."""
    x, target = torch.randn(batch, lookback, INPUTS), torch.randn(batch)
    step = training_step(WindowEncoder(width, lookback), x, lambda scores: scores, target)

    def steps() -> None:
        for _ in range(max(1, windows // batch)):
            step()

    return steps


def seconds_in_turn(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each run once a round, one after the other, after a round that is not timed."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def peak_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- formulas ---------------------------------------------------------------


def block_operations(width: int, keys: float) -> float:
    """Operations of one block for one firm-day, forward: projections and feed-forward of 2w, and `keys` attended to.

    2 (3w·w + w·w + 2·w·2w) + 2·2·keys·w.
    """
    return 2 * (3 * width * width + width * width + 2 * width * 2 * width) + 4 * keys * width


def training_operations(width: int, lookback: int) -> float:
    """Operations of a training step for one firm-day, two time blocks: forward, and twice that backward."""
    return 3 * (2 * INPUTS * width + 2 * block_operations(width, lookback))


def ratio_of_operations(axes: tuple[str, ...], firms: int, width: int, lookback: int, rows: int) -> float:
    """Operations of encoding `rows` rows for one forecast, over those of one new day with what came before cached."""
    time_blocks, firm_blocks = axes.count("time"), axes.count("firm")
    across = firm_blocks * block_operations(width, firms)
    embedding = 2 * INPUTS * width
    keys = sum(min(row, lookback) for row in range(1, rows + 1)) / rows
    again = rows * (embedding + time_blocks * block_operations(width, keys)) + across
    return again / (embedding + time_blocks * block_operations(width, lookback) + across)


# -- parts ------------------------------------------------------------------


def throughput(
    firms: int, blocks: Sequence[int], lookback: int, rounds: int, threads: int, windows: int = 1024
) -> dict:
    """Scored firm-days a second in training, one pass against windows encoded again, each at its best size."""
    torch.set_num_threads(threads)
    width = 64
    tuning = {size: seconds_in_turn({"": window_steps(size, size, width, lookback)}, rounds=5)[""] for size in BATCHES}
    batch = max(BATCHES, key=lambda size: size / statistics.median(tuning[size]))
    trials = {rows: seconds_in_turn({"": our_step(firms, rows, width, lookback)}, rounds=3)[""] for rows in blocks}
    rows = max(blocks, key=lambda rows: rows / statistics.median(trials[rows]))
    runs = {"ours": our_step(firms, rows, width, lookback), "windows": window_steps(batch, windows, width, lookback)}
    seconds = seconds_in_turn(runs, rounds)
    ours = firms * rows / statistics.median(seconds["ours"])
    rival = batch * max(1, windows // batch) / statistics.median(seconds["windows"])
    return {
        "ratio": ours / rival,
        "ours_firm_days_per_second": ours,
        "windows_firm_days_per_second": rival,
        "rows": rows,
        "batch": batch,
        "windows_a_turn": batch * max(1, windows // batch),
        "seconds": seconds,
        "tuning_seconds": {str(size): times for size, times in (tuning | trials).items()},
    }


def matmul_share(firms: int, rows: int, width: int, lookback: int, rounds: int, threads: int, square: int) -> dict:
    """Share of the matrix product's speed that useful operations of training steps reach."""
    torch.set_num_threads(threads)
    left, right = torch.randn(square, square), torch.randn(square, square)
    step = our_step(firms, rows, width, lookback)
    seconds = seconds_in_turn({"step": step, "matmul": lambda: torch.mm(left, right)}, rounds)
    useful = training_operations(width, lookback) * firms * rows / statistics.median(seconds["step"])
    peak = 2 * square**3 / statistics.median(seconds["matmul"])
    return {"share": useful / peak, "useful_per_second": useful, "matmul_per_second": peak, "seconds": seconds}


def firms_memory(firms: int) -> dict:
    """Peak memory of forward and backward along firms on one date, over what model and inputs take."""
    torch.set_num_threads(CORES)
    model, block = panel_model(("firm",), 64, 1), random_block(1, firms, 1)
    model(random_block(1, 64, 1)).sum().backward()  # what libraries take at their first use is not the model's
    before = peak_bytes()
    began = time.perf_counter()
    model(block).square().mean().backward()
    return {"peak_gib": (peak_bytes() - before) / 2**30, "seconds": time.perf_counter() - began}


def top_peers_memory(firms: int) -> dict:
    """Peak memory of finding each firm's 20 heaviest peers of all."""
    torch.set_num_threads(CORES)
    model, block, date = panel_model(("firm",), 64, 1).eval(), random_block(1, firms, 1), torch.tensor([0])
    model.attention(random_block(1, 64, 1), 0, date, top_k=20)
    before = peak_bytes()
    model.attention(block, 0, date, top_k=20)
    return {"peak_gib": (peak_bytes() - before) / 2**30}


def top_peers_time(firms: int, rounds: int) -> dict:
    """Time of finding each firm's 20 heaviest peers of all, against the forward pass alone."""
    torch.set_num_threads(CORES)
    model, block, date = panel_model(("firm",), 64, 1).eval(), random_block(1, firms, 1), torch.tensor([0])
    with torch.no_grad():
        runs = {"forward": lambda: model(block), "top": lambda: model.attention(block, 0, date, top_k=20)}
        seconds = seconds_in_turn(runs, rounds)
    return {"ratio": statistics.median(seconds["top"]) / statistics.median(seconds["forward"]), "seconds": seconds}


def stream(axes: tuple[str, ...], firms: int, lookback: int, rounds: int) -> dict:
    """Time of encoding again all rows that a forecast needs, or `lookback` of them, against one day by the cache.

    With time blocks alone also of the usual encoder, over a window of each firm.
    """
    torch.set_num_threads(CORES)
    model = panel_model(axes, 64, lookback).eval()
    stream = model.stream(random_block(2 * lookback, firms, 1))
    day = random_block(1, firms, 1)
    passes = {"lookback": random_block(lookback, firms, 1), "all": random_block(model.warmup + 1, firms, 1)}
    runs: dict[str, Callable[[], Any]] = {name: partial(model, block) for name, block in passes.items()}
    runs["stream"] = lambda: stream.advance(day.x[0], day.observed[0])
    if axes == TIME:
        encoder, batches = WindowEncoder(64, lookback).eval(), torch.randn(firms, lookback, INPUTS).split(256)
        runs["windows"] = lambda: [encoder(batch) for batch in batches]
    with torch.no_grad():
        seconds = seconds_in_turn(runs, rounds)
    result: dict[str, Any] = {}
    for name, block in passes.items():
        measured = statistics.median(seconds[name]) / statistics.median(seconds["stream"])
        formula = ratio_of_operations(axes, firms, 64, lookback, len(block.x))
        result[name] = {"ratio": measured, "operations_ratio": formula, "share_reached": measured / formula}
    if "windows" in runs:
        result["windows"] = {"ratio": statistics.median(seconds["windows"]) / statistics.median(seconds["stream"])}
    return {"ratio": result["all"]["ratio"], **result, "seconds": seconds}  # of equal forecasts


def _parts() -> dict[str, partial]:
    """Name every part with its sizes; threads are the machine's cores where the name says nothing."""
    parts = {}
    for suffix, threads in (("", CORES), ("_one_thread", 1)):
        timed = partial(throughput, lookback=60, threads=threads)
        parts[f"throughput_256{suffix}"] = partial(timed, firms=256, blocks=BLOCKS, rounds=11)
        parts[f"throughput_1024{suffix}"] = partial(timed, firms=1024, blocks=BLOCKS[:1], rounds=7)
        share = partial(matmul_share, rows=480, lookback=60, rounds=7, threads=threads, square=2048)
        parts[f"matmul_share_64{suffix}"] = partial(share, firms=256, width=64)
        parts[f"matmul_share_128{suffix}"] = partial(share, firms=64, width=128)
    for lookback, firms in ((20, 256), (60, 256), (250, 64)):
        curve = partial(throughput, blocks=BLOCKS[1:], rounds=5, threads=CORES)
        parts[f"curve_{lookback}"] = partial(curve, firms=firms, lookback=lookback)
    parts["firms_20000"] = partial(firms_memory, firms=20_000)
    parts["top_peers_20000_memory"] = partial(top_peers_memory, firms=20_000)
    parts["top_peers_20000_time"] = partial(top_peers_time, firms=20_000, rounds=3)
    for name, axes in (("stream_5000", TIME), ("stream_5000_firm", (*TIME, "firm"))):
        parts[name] = partial(stream, axes=axes, firms=5_000, lookback=60, rounds=9)
    return parts


PARTS = _parts()
FIGURES = {
    "throughput_ratio_256": ("throughput_256", "ratio"),
    "throughput_ratio_1024": ("throughput_1024", "ratio"),
    "matmul_peak_share_64": ("matmul_share_64_one_thread", "share"),
    "matmul_peak_share_128": ("matmul_share_128_one_thread", "share"),
    "firms_20000_peak_gib": ("firms_20000", "peak_gib"),
    "top_peers_20000_peak_gib": ("top_peers_20000_memory", "peak_gib"),
    "top_peers_20000_time_ratio": ("top_peers_20000_time", "ratio"),
    "stream_ratio_5000": ("stream_5000", "ratio"),
}


def readme_section(results: dict[str, Any]) -> str:
    """Write the README's costs from a results file's content; no number stands there that is not in the file."""
    parts, figures = results["details"]["parts"], results["figures"]

    def ratio(part: str) -> str:
        return f"{parts[part]['ratio']:.0f}"

    curve = ", ".join(f"{days} at {ratio(f'curve_{days}')}" for days in (20, 60, 250))
    shares = [
        f"{parts[f'matmul_share_{width}{suffix}']['share']:.0%}"
        for width in (64, 128)
        for suffix in ("_one_thread", "")
    ]
    threads = parts["matmul_share_64"]["threads"]
    alone, mixed = parts["stream_5000"], parts["stream_5000_firm"]
    rows = [
        ("training, firm-days a second against windows encoded again, 256 firms",
         f"{ratio('throughput_256')} times ({ratio('throughput_256_one_thread')} in one thread)"),
        ("the same with 1,024 firms",
         f"{ratio('throughput_1024')} times ({ratio('throughput_1024_one_thread')} in one thread)"),
        ("the same by lookback (64 firms at 250)", f"{curve} times"),
        ("share of the matrix product's speed in training, useful operations: width 64",
         f"{shares[0]} in one thread, {shares[1]} in {threads}"),
        ("the same at width 128", f"{shares[2]} in one thread, {shares[3]} in {threads}"),
        ("20,000 firms on one date, forward and backward, peak", f"{figures['firms_20000_peak_gib'] * 1024:.0f} MiB"),
        ("the exact 20 heaviest peers of all 20,000",
         f"{figures['top_peers_20000_peak_gib'] * 1024:.0f} MiB, {parts['top_peers_20000_time']['ratio']:.1f} times "
         "the forward pass"),
        ("one new day of 5,000 firms by stream, against a pass over all rows it needs (over the last 60; windows)",
         f"{alone['all']['ratio']:.0f} times ({alone['lookback']['ratio']:.0f}; {alone['windows']['ratio']:.0f})"),
        ("the same with a block along firms on top; share of the ratio of operations",
         f"{mixed['all']['ratio']:.1f} times, {mixed['all']['share_reached']:.0%} "
         f"({mixed['lookback']['ratio']:.1f}, {mixed['lookback']['share_reached']:.0%})"),
    ]  # fmt: skip
    table = "\n".join(f"| {what} | {found} |" for what, found in rows)
    return (
        f"| what (two time blocks, width 64, 4 heads, lookback 60) | measured |\n|---|---|\n{table}\n\n"
        f"{DIFFERENCE}\n\nMedians, {results['machine']}; commit {results['commit']}, {results['date']}, "
        f"`{results['command']}`."
    )


# -- running them -----------------------------------------------------------


def run_part(name: str, quick: bool) -> dict:
    """Run a part here, and say with what sizes."""
    sizes = dict(PARTS[name].keywords)
    if quick:
        sizes |= {size: min(sizes[size], limit) for size, limit in QUICK.items() if size in sizes}
    torch.manual_seed(0)
    result = PARTS[name].func(**sizes)
    return {"sizes": sizes, "threads": torch.get_num_threads()} | result


def run_apart(name: str, quick: bool) -> dict:
    """Run a part in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.attention", "--part", name, *["--quick"] * quick]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def main() -> None:
    """Measure every part, print the figures, and write them unless they are of small sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="run everything small, and write nothing")
    parser.add_argument("--part", choices=PARTS, help="run one part here and print its result as a line of JSON")
    given = parser.parse_args()
    if given.part:
        print(json.dumps(run_part(given.part, given.quick)))
        return
    parts = {}
    for name in PARTS:
        print(f"measuring {name}", file=sys.stderr, flush=True)
        parts[name] = run_apart(name, given.quick)
    figures = {name: round(parts[part][key], 4) for name, (part, key) in FIGURES.items()}
    for name, value in figures.items():
        print(f"{name:<30}{value:>12.4g}")
    if not given.quick:
        details = {"difference": DIFFERENCE, "torch": torch.__version__, "parts": parts}
        path = results_file.write("attention", figures, details)
        results_file.into_readme(MARKERS, readme_section(json.loads(path.read_text())))
        print(path)


if __name__ == "__main__":
    main()
