"""Leaks that are planted and pipelines that have none: how many are caught, and how many false alarms there are.

``python -m benchmarks.leaks`` asks `finattn.leaks.look_ahead` about each pipeline of `benchmarks.planted_leaks` and
`benchmarks.clean_pipelines`, and `finattn.leaks.screen` about ready-made panels, several times with other panels and
seeds, and writes results/leaks.json; ``--quick`` does it once and writes nothing.

leaks_planted : different leaks, ready-made panels included. leaks_caught : those caught (or, in a ready-made panel,
suspected) by the check that is meant for them, and traced to what they use, in every draw.
false_alarms : pipelines and panels without a leak of which anything is caught or suspected in any draw.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from benchmarks import results_file
from benchmarks.clean_pipelines import CLEAN, READY
from benchmarks.planted_leaks import HORIZON, PLANTED, raw_panel, raw_reports
from finattn import features
from finattn.data import sample, simulate, simulate_quarterly
from finattn.leaks import Certificate, look_ahead, screen
from finattn.panel import Panel

DRAWS = 5
REAL = ("momentum", "reversal", "volatility", "beta", "idiosyncratic_volatility", "maximum_return", "drawdown")


def planted(draw: int) -> Iterator[tuple[str, bool, Certificate]]:
    """Yield each planted leak, whether it is found for what it is, and the certificate."""
    panel = raw_panel(seed=draw)
    reports = raw_reports(panel, draw)
    for name, leak in PLANTED.items():
        given = reports if leak.reports else None
        found = look_ahead(leak.pipeline, leak.arranged(panel), seed=draw, reports=given)
        caught = found.of("caught")
        yield name, leak.check in caught and any(leak.group in check for check in caught), found
    for name, (make, check) in READY.items():
        found = screen(make(panel), HORIZON)
        yield f"ready-made: {name}", check in found.of("suspect"), found
    found = screen(panel, HORIZON, reports=reports.assign(available=reports["period_end"]))
    yield "ready-made: reports dated by their period", "reports on time" in found.of("suspect"), found


def clean(draw: int) -> Iterator[tuple[str, bool, Certificate]]:
    """Yield each pipeline and panel without a leak, whether nothing is said against it, and the certificate."""
    panel = raw_panel(seed=draw)
    reports = raw_reports(panel, draw)
    for name, pipeline in CLEAN.items():
        given = reports if pipeline.reports else None
        found = look_ahead(pipeline.pipeline, panel, pipeline.dates, draw, reports=given)
        yield name, found.clean, found
    for name, ready, horizon in screened(draw, panel):
        found = screen(ready, horizon)
        yield f"screened: {name}", found.clean, found


def screened(draw: int, panel: Panel) -> Iterator[tuple[str, Panel, int]]:
    """Yield panels on which screens must be silent; the real sample in another stretch of time each draw."""
    yield "the raw panel", panel, HORIZON
    year = 1992 + 5 * draw % 25
    yield "20 real stocks, 6 years", features.build(sample()[str(year) : str(year + 5)], REAL), 5
    yield "simulated, daily", simulate(100, 800, seed=draw)[0], 5
    yield "simulated, quarterly", simulate_quarterly(80, 8, seed=draw)[0], 63


def measure(draws: int = DRAWS) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details: in how many draws each was judged rightly."""
    details: dict[str, Any] = {"draws": draws}
    for kind, each in (("planted", planted), ("clean", clean)):
        right: dict[str, int] = {}
        first: dict[str, str] = {}
        for draw in range(draws):
            for name, ok, found in each(draw):
                right[name] = right.get(name, 0) + ok
                first.setdefault(name, str(found))
        details[kind] = right
        details[f"{kind}_first"] = first
    figures = {
        "leaks_planted": len(details["planted"]),
        "leaks_caught": sum(count == draws for count in details["planted"].values()),
        "pipelines_clean": len(details["clean"]),
        "false_alarms": sum(count < draws for count in details["clean"].values()),
    }
    return figures, details


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS, help="panels and seeds")
    parser.add_argument("--quick", action="store_true", help="one draw, no results file")
    parser.add_argument("--show", action="store_true", help="print the certificates of the first draw")
    given = parser.parse_args()
    figures, details = measure(1 if given.quick else given.draws)
    for kind, verb in (("planted", "caught"), ("clean", "silent")):
        for name, count in details[kind].items():
            print(f"{verb} in {count} of {details['draws']}  {name}")
            if given.show:
                print(details[f"{kind}_first"][name])
    for name, figure in figures.items():
        print(f"{name:<20}{figure}")
    if not given.quick:
        details = {name: value for name, value in details.items() if not name.endswith("_first")}
        print(results_file.write("leaks", figures, details))


if __name__ == "__main__":
    main()
