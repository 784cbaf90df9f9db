"""Are peer networks right where the truth is known? Planted peers found, their directions, and intervals that cover.

``python -m benchmarks.peers_truth --panels 4 --draws 50`` writes results/peers_truth.json. What is fitted or drawn is a
file in runs/peers_truth, so that what was killed goes on and more panels and draws add to those that are there.

Planted peers. Panels of 200 firms and 2,000 days, oracle R² 2%, each firm with five directed peers of another SIC
group. One network a panel: `networks.build` over fits of a look-up of one head that differ by their seed, on the first
1,880 days; as-of dates are among the last 90. Training targets are less what the panel's factors explain of them, and
cut; left as they are, precision was 0.89 on two other panels, of four fits each. Settings were fixed on other panels:
epochs near the best validation rank IC, and of weight decays 0.01, 0.1 and 0.3 the greatest within one standard error
of it. The 20 days between, which a fit must have, decide nothing.

precision_at_degree : share of a firm's heaviest peers, as many as it has planted ones, that are planted; mean over
    firms with peers, as-of dates and panels.
direction_right : of pairs planted one way alone, i → j, and found (i or j has the other among its heaviest, as above),
    the share whose weight is greater from i to j than from j to i; mean as above.

Intervals. Panels of 30 firms whose characteristics and planted rule stay while returns are drawn again, so that the
as-of date's firms look alike in all draws. The procedure is the mean of two fits by new seeds on 320 training days. Its
expected weight, what is to be covered, is the mean over independent draws of returns and seeds, others than those
below. Each draw is one network and `networks.refitted` from refits, each the same procedure with new seeds on training
dates drawn by the stationary block bootstrap (`evaluation.mean_block`). All fits of a draw are trained side by side.

interval_coverage_90 : share of ordered pairs of firms whose 90% interval holds the expected weight; mean over draws.
    Details have it for each firm's ten and four heaviest edges, which are chosen because they are heavy; for the
    interval given the fit; and for the weights that were planted, which a network estimates with a bias of its own.
draws : so averaged.

build_20000_peak_gib : of a process that builds the 50 heaviest peers of 20,000 firms on one date.
explorer_load_seconds, explorer_click_ms : see benchmarks.explorer.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import results_file
from benchmarks.apart import apart, peak
from finattn import networks
from finattn.blocks import Block, Blocks, Scaling, standardise
from finattn.config import TargetConfig
from finattn.data import Design, simulate
from finattn.data.truth import Planted
from finattn.evaluation import mean_block
from finattn.evaluation.inference import resamples
from finattn.look_up import LookUp, LookUpConfig
from finattn.metrics import mean_over_dates, rank_information_coefficient
from finattn.networks import Averaging, PeerNetwork
from finattn.panel import Panel
from finattn.storage import atomic_file, atomic_folder
from finattn.training import LOOK_UP_TRAINING, LookUpForecaster

Floats = NDArray[np.float64]

FOLDER = Path("runs/peers_truth")
MARKERS = ("<!-- peers truth: written by python -m benchmarks.peers_truth -->", "<!-- end of peers truth -->")

FIRMS, DAYS, R2, DESIGN = 200, 2000, 0.02, Design(shares={"peers": 1.0})
TRAIN, VALID, AS_OF = np.arange(1880), np.arange(1881, 1901), np.arange(1910, 2000, 10)
SEEDS, LOOK_UP, CUT = 3, LookUpConfig(heads=1), 1.5
FIRST = 11  # panel: others were for trials
TRAINING = replace(
    LOOK_UP_TRAINING, learning_rate=5e-3, weight_decay=0.1, block=20, epochs=13, minimum_epochs=13, cut=CUT,
    without_factors=True,
)  # fmt: skip

SMALL_FIRMS, SMALL_TRAIN, SMALL_R2 = 30, 320, 0.15
SMALL = Design(shares={"peers": 1.0}, peers=4, industries=3, linear_features=1, noise_features=1, factor_share=0.0,
               late_listings=0.0, delistings=0.0, missing_returns=0.0, missing_features=0.0)  # fmt: skip
SMALL_LOOK_UP = LookUpConfig(heads=1, windows=(1,))
EPOCHS, DATES, RATE, DECAY = 9, 40, 3e-2, 1e-2
FITS, REFITS, REFERENCE, LEVEL = 2, 30, 100, 0.9
KINDS = {"all": SMALL_FIRMS - 1, "heaviest_10": 10, "heaviest_4": SMALL.peers}


# -- planted peers ------------------------------------------------------------


def fitted(panel: Panel, folder: Path, seeds: Sequence[int]) -> tuple[list[LookUpForecaster], Blocks]:
    """Return fits, kept in a folder, and what they see; one that found nothing while others did is left out.

    From a random start a look-up of one head finds no peers now and then: its rank IC on the days it was fitted on is
    then below half of the best one's.
    """
    scaling = Scaling.fit(panel, TRAIN)
    train, valid = (Blocks(panel, rows, scaling, TargetConfig(1)) for rows in (TRAIN, VALID))
    fits, worth = [], []
    for seed in seeds:
        forecaster, place = LookUpForecaster(LOOK_UP, TRAINING, seed), folder / f"fit-{seed}"
        if not place.exists():
            forecaster.fit(train, valid)
            with atomic_folder(place) as temporary:
                forecaster.save(temporary)
            print(place, round(forecaster.chosen["valid_rank_ic"], 4), flush=True)
        seen = train.at(TRAIN[-250:])
        worth.append(mean_over_dates(rank_information_coefficient(forecaster.load(place, scaling.width).predict(seen),
                                                                  seen.realised)))  # fmt: skip
        fits.append(forecaster)
    return [fit for fit, value in zip(fits, worth, strict=True) if value >= max(worth) / 2], valid


def found(weights: Floats, planted: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each firm's precision at its degree, and for each pair planted one way and found whether it is right.

    Examples
    --------
    >>> found(np.array([[0, 0.7, 0.2], [0.1, 0, 0.6], [0.3, 0.4, 0]]), np.eye(3, k=1) > 0)
    (array([1., 1.]), array([ True,  True]))
    """
    degree = planted.sum(axis=1)
    rank = np.argsort(np.argsort(-weights, axis=1, kind="stable"), axis=1)
    heavy = rank < degree[:, None]
    some = degree > 0
    pairs = planted & ~planted.T & (heavy | heavy.T)
    return (heavy & planted).sum(axis=1)[some] / degree[some], (weights > weights.T)[pairs]


def matrix(network: PeerNetwork, firms: Sequence[str], column: str = "weight") -> Floats:
    """Return a column of a network's edges of one date as [n m], 0 where there is no edge."""
    wide = network.edges.pivot(index="firm", columns="peer", values=column)
    return wide.reindex(index=firms, columns=firms).fillna(0.0).to_numpy()


def planted_peers(seed: int) -> dict[str, Any]:
    """Simulate a panel, fit, build, and compare with what was planted, by number of fits averaged."""
    panel, truth = simulate(FIRMS, DAYS, seed=seed, r2=R2, cross_industry=1.0, design=DESIGN)
    fits, blocks = fitted(panel, FOLDER / f"panel-{seed}", range(SEEDS))
    planted = truth.dense(AS_OF) > 0
    result: dict[str, Any] = {"seed": seed}
    for count in (1, SEEDS):
        dates = panel.dates[AS_OF]
        network = networks.build(fits[:count], blocks, dates, averaging=Averaging(top_k=FIRMS - 1, draws=0))
        scores = [found(matrix(network.at(date), panel.firms.tolist()), true)
                  for date, true in zip(dates, planted, strict=True)]  # fmt: skip
        precision, right = (float(np.concatenate(parts).mean()) for parts in zip(*scores, strict=True))
        result[f"of_{count}_fits"] = {"precision_at_degree": precision, "direction_right": right}
    return result


# -- intervals ------------------------------------------------------------


def small() -> tuple[Panel, Planted]:
    """Simulate the panel whose characteristics stay: training rows, one for the last target, and the as-of row."""
    return simulate(SMALL_FIRMS, SMALL_TRAIN + 2, seed=0, r2=SMALL_R2, cross_industry=1.0, design=SMALL)


def redrawn(panel: Panel, truth: Planted, seed: int) -> Panel:
    """Draw the noise of a panel's returns again; characteristics and the planted rule stay."""
    deviation = math.sqrt((1 - SMALL_R2) * (SMALL.tails - 2) / SMALL.tails) * SMALL.volatility
    returns = np.random.default_rng([seed, 1]).standard_t(SMALL.tails, panel.shape) * deviation
    for row in range(len(returns) - 1):
        heard = (truth.peer_weights[row] * returns[row][truth.peers[row]]).sum(axis=1)
        returns[row + 1] += truth.peer_slope * heard
    return panel.replace(returns=np.maximum(returns, -0.95))


def scores(parameters: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the scores [s t n] of look-ups, each on inputs of its own [s t n f]; all firms are observed.

    Parameters are those of `LookUp` of one head and the window of one row, stacked: what it does, for many at once.
    """
    firms = x.shape[2]
    values, known = x[..., 1], x[..., 2:].flatten(1, 2)
    query = torch.baddbmm(parameters["query.bias"][:, None], known, parameters["query.weight"].mT)
    key = torch.bmm(known, parameters["key.weight"].mT)
    query, key = (side.unflatten(1, (-1, firms)).flatten(0, 1) for side in (query, key))
    alone = torch.zeros(firms, firms).fill_diagonal_(-torch.inf)
    weights = torch.softmax(query @ key.mT / SMALL_LOOK_UP.rank**0.5 + alone, -1)
    averages = (weights @ values.flatten(0, 1)[..., None]).view_as(values)
    return (averages - (values.sum(2, keepdim=True) - values) / (firms - 1)) * parameters["slope"]


def side_by_side(block: Block, rows: NDArray[Any], seeds: NDArray[Any]) -> list[LookUp]:
    """Fit a look-up for each of some rows [s t] and seeds [s], by AdamW on standardised targets, without stopping."""
    models = []
    for seed in seeds.tolist():
        torch.manual_seed(seed)
        models.append(LookUp(block.x.shape[2], SMALL_LOOK_UP))
    named = [dict(model.named_parameters()) for model in models]
    parameters = {name: torch.stack([one[name].detach() for one in named]).requires_grad_() for name in named[0]}
    optimiser = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=DECAY)
    target = standardise(block.target, block.target_observed)
    orders = np.random.default_rng(seeds)
    for _ in range(EPOCHS):
        for some in np.split(orders.permuted(rows, axis=1), range(DATES, rows.shape[1], DATES), axis=1):
            error = scores(parameters, block.x[some]) - target[some]
            optimiser.zero_grad()
            error.square().mean(dim=(1, 2)).sum().backward()
            optimiser.step()
    for place, model in enumerate(models):
        model.load_state_dict({name: values[place].detach() for name, values in parameters.items()})
    return models


def procedure(panel: Panel, refits: int, seed: int) -> list[PeerNetwork]:
    """Return the network of a panel and those of refits, each of fits of its own."""
    blocks = Blocks(panel, np.arange(SMALL_TRAIN), Scaling.fit(panel, np.arange(SMALL_TRAIN)), TargetConfig(1))
    (block,) = blocks.cut(0, SMALL_TRAIN)
    rows = np.arange(SMALL_TRAIN)[None]
    if refits:
        rows = np.concatenate([rows, resamples(SMALL_TRAIN, mean_block(SMALL_TRAIN, 0), seed)[:refits]])
    rows = np.repeat(rows, FITS, axis=0)
    models = side_by_side(block, rows, np.random.default_rng([seed, 2]).integers(2**31, size=len(rows)))
    every = Averaging(top_k=SMALL_FIRMS - 1, level=LEVEL)
    return [
        networks.build(models[start : start + FITS], blocks, [panel.dates[-1]],
                       averaging=replace(every, draws=0 if start else every.draws))
        for start in range(0, len(models), FITS)
    ]  # fmt: skip


def draw(panel: Panel, truth: Planted, seed: int, refits: int) -> dict[str, Floats]:
    """Return weights [n m] of a network on a new draw, and the ends of its intervals where there are refits."""
    network, *others = procedure(redrawn(panel, truth, seed), refits, seed)
    firms = panel.firms.tolist()
    tables = {"weight": matrix(network, firms)}
    known = {"given": network, "refitted": networks.refitted(network, others, LEVEL)} if others else {}
    for name, one in known.items():
        tables |= {f"{name}_{end}": matrix(one, firms, end) for end in ("lower", "upper")}
    return tables


def kept(path: Path, *given: Any) -> dict[str, Floats]:
    """Return the draw kept in a file, drawn first where there is none."""
    if not path.exists():
        tables = draw(*given)
        with atomic_file(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **tables)
        print(path, flush=True)
    with np.load(path) as stored:
        return dict(stored)


def covered(one: dict[str, Floats], aim: Floats, name: str = "refitted") -> dict[str, float]:
    """Return the share of intervals that hold what they aim at [n m], of all pairs and of firms' heaviest edges."""
    inside = (one[f"{name}_lower"] <= aim) & (aim <= one[f"{name}_upper"])
    off = np.where(np.eye(len(aim), dtype=bool), -1.0, one["weight"])
    rank = np.argsort(np.argsort(-off, axis=1, kind="stable"), axis=1)
    return {kind: float(inside[rank < count].mean()) for kind, count in KINDS.items()}


def averaged(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return means over draws with their standard errors."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        name: {"mean": float(column.mean()), "error": float(column.std(ddof=1) / math.sqrt(len(column)))}
        for name, column in columns.items()
    }


def intervals(draws: Sequence[dict[str, Floats]], expected: Floats, planted: Floats) -> dict[str, Any]:
    """Return coverage of expected weights, refitted and given the fit, and of the planted weights of planted pairs."""
    true = planted > 0
    inside = [{"planted_pairs": float(((one["refitted_lower"] <= planted) & (planted <= one["refitted_upper"]))[true]
                                      .mean())} for one in draws]  # fmt: skip
    return {
        "refitted": averaged([covered(one, expected) for one in draws]),
        "given_the_fit": averaged([covered(one, expected, "given") for one in draws]),
        "planted_weights": averaged(inside),
        "planted_weight": float(planted[true].mean()),
        "expected_weight_of_planted_pairs": float(expected[true].mean()),
        "width_of_planted_pairs": float(np.mean([(one["refitted_upper"] - one["refitted_lower"])[true].mean()
                                                 for one in draws])),
        "draws": len(draws), "reference_draws": REFERENCE, "refits": REFITS, "fits": FITS,
    }  # fmt: skip


# -- memory ------------------------------------------------------------


def build_many(firms: int) -> float:
    """Build the 50 heaviest peers of each firm on one date, and return the most GiB that this process held."""
    random = np.random.default_rng(0)
    dates = np.busday_offset("2020-01-01", np.arange(25), roll="forward")
    panel = Panel(
        dates,
        [f"F{firm:05d}" for firm in range(firms)],
        0.02 * random.standard_normal((len(dates), firms)),
        features=random.standard_normal((len(dates), firms, 10), dtype=np.float32),
        feature_names=[f"f{place}" for place in range(10)],
    )
    blocks = Blocks(panel, np.array([24]), Scaling.fit(panel, np.arange(24)), TargetConfig(1))
    torch.manual_seed(0)
    network = networks.build([LookUp(blocks.scaling.width)], blocks, dates[-1:], averaging=Averaging(top_k=50))
    if len(network.edges) != 50 * firms:
        raise RuntimeError(f"a network of {50 * firms} edges was expected, found {len(network.edges)}")
    return round(peak() / 2**30, 2)


# -- what is written ------------------------------------------------------------


def summarise(
    peers: Sequence[dict[str, Any]], coverage: dict[str, Any] | None
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details of panels and draws."""
    figures: dict[str, float] = {}
    details: dict[str, Any] = {"panels": list(peers), "coverage": coverage}
    if peers:
        for name in ("precision_at_degree", "direction_right"):
            details[name] = averaged([{count: one[count][name] for count in one if count != "seed"} for one in peers])
            figures[name] = round(details[name][f"of_{SEEDS}_fits"]["mean"], 3)
    if coverage:
        figures["interval_coverage_90"] = round(coverage["refitted"]["all"]["mean"], 3)
        figures["draws"] = coverage["draws"]
    return figures, details


def readme_section(results: dict[str, Any]) -> str:
    """Lay out what was found beside what was promised."""
    figures, details = results["figures"], results["details"]
    coverage, panels = details["coverage"], len(details["panels"])
    share = lambda found: f"{100 * found['mean']:.1f}% ± {100 * found['error']:.1f}"  # noqa: E731
    precision, right = (details[name][f"of_{SEEDS}_fits"] for name in ("precision_at_degree", "direction_right"))
    alone = details["precision_at_degree"]["of_1_fits"]
    refits, given = coverage["refitted"], coverage["given_the_fit"]
    rows = [
        "| planted peers and intervals | found | to reach |", "|---|---|---|",
        f"| planted among a firm's heaviest peers, as many as planted | {share(precision)} | 90% |",
        f"| the same of one fit | {share(alone)} | |",
        f"| directions right | {share(right)} | 90% |",
        f"| 90% intervals, refitted, hold the expected weight | {share(refits['all'])} | 85 to 95% |",
        f"| the same of each firm's ten, and four, heaviest edges | {share(refits['heaviest_10'])}, "
        f"{share(refits['heaviest_4'])} | |",
        f"| 90% intervals given the fit hold the expected weight | {share(given['all'])} | |",
        f"| 90% intervals, refitted, hold the planted weight of planted pairs | "
        f"{share(coverage['planted_weights']['planted_pairs'])} | not promised |",
        f"| peak memory of the 50 heaviest peers of 20,000 firms | {figures['build_20000_peak_gib']:.2f} GiB | |",
    ]  # fmt: skip
    if "explorer_load_seconds" in figures:
        rows.append(f"| explorer: opened, a click answered | {figures['explorer_load_seconds']:.2f} s, "
                    f"{figures['explorer_click_ms']:.0f} ms | |")  # fmt: skip
    said = (
        f"Peers: {panels} panels of {FIRMS} firms and {DAYS:,} days, oracle R² 2%, {SEEDS} fits averaged, training "
        f"targets less the factors' part and cut at {CUT} standard deviations; ± standard errors over panels. "
        f"Intervals: {coverage['draws']} draws of {SMALL_FIRMS} firms and {SMALL_TRAIN} training days, "
        f"{coverage['refits']} refits each; the expected weight is of the same procedure, over "
        f"{coverage['reference_draws']} independent draws. Planted weights average {coverage['planted_weight']:.2f}, "
        f"and what this procedure gives such pairs {coverage['expected_weight_of_planted_pairs']:.2f}. "
        f"Commit {results['commit']}, {results['date']}, `{results['command']}`."
    )
    return "\n".join(["", *rows, "", said])


def measure_explorer() -> dict[str, float]:
    """Return the explorer's figures."""
    from benchmarks.explorer import measure  # needs a browser

    measured = measure()
    return {name: measured[name] for name in ("explorer_load_seconds", "explorer_click_ms")}


def measure_coverage(draws: int) -> dict[str, Any]:
    """Draw what is missing, and summarise."""
    panel, truth = small()
    own = [kept(FOLDER / f"draw-{seed}.npz", panel, truth, seed, REFITS) for seed in range(1, draws + 1)]
    others = [kept(FOLDER / f"reference-{seed}.npz", panel, truth, 10_000 + seed, 0) for seed in range(REFERENCE)]
    expected = np.mean([one["weight"] for one in others], axis=0)
    return intervals(own, expected, truth.dense([len(panel) - 1])[0])


def main() -> None:
    """Fit and draw what is missing, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--panels", type=int, default=4, help="with planted peers; 0 leaves them out")
    parser.add_argument("--draws", type=int, default=50, help="of intervals; 0 leaves them out")
    parser.add_argument("--no-explorer", action="store_true", help="for a machine without a browser")
    parser.add_argument("--build", type=int, help="only build a network of so many firms, and print its peak of memory")
    parser.add_argument("--dry", action="store_true", help="no results file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)
    if given.build:
        print(build_many(given.build))
        return
    memory = float(apart("benchmarks.peers_truth", "--build", 20_000))
    coverage = measure_coverage(given.draws) if given.draws else None
    figures, details = summarise([planted_peers(FIRST + place) for place in range(given.panels)], coverage)
    figures["build_20000_peak_gib"] = memory
    figures |= {} if given.no_explorer else measure_explorer()
    print(json.dumps({"figures": figures, "details": details}, indent=2))
    if not given.dry:
        path = results_file.write("peers_truth", figures, details)
        results_file.into_readme(MARKERS, readme_section(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
