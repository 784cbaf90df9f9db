"""The demonstration's peer network as a picture: ``python -m benchmarks.sp500_peers``, after ``make demo``.

Builds the network of runs/sp500 as `finattn peers` does, draws its last date to docs/peers.png, and writes
results/sp500_peers.json and the README's section with the sentence that it deserves.

overlap, overlap_by_chance : share of a firm's heaviest peers in its SIC major group at the last date, and by chance.
lead_estimate, lead_error : coefficient of the next return on peers' past return, beside the group's and the firm's own.
comovement_peers, comovement_group : coefficients of a firm's return on peers' and on the group's, after the as-of date.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks import results_file
from finattn import peers_pipeline
from finattn.explain_pipeline import open_run
from finattn.plots import paper

MARKERS = (
    "<!-- peers of the sample: written by python -m benchmarks.sp500_peers -->",
    "<!-- end of peers of the sample -->",
)
PICTURE = Path("docs/peers.png")
LEVEL = "industry_2"  # major groups


def main() -> None:
    """Build, draw, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/sp500"))
    run = open_run(parser.parse_args().run)
    network = peers_pipeline.build(run)
    tables, lacking = peers_pipeline.judge(network, run.panel)
    last = network.at()
    figure = paper.peers(last.edges, last.nodes, LEVEL, most=60)
    figure.savefig(PICTURE, dpi=110, bbox_inches="tight")
    figures, details = summarise(tables, str(network.dates[-1]), lacking)
    path = results_file.write("sp500_peers", figures, details, "python -m benchmarks.sp500_peers")
    results_file.into_readme(MARKERS, readme_section(json.loads(path.read_text(encoding="utf-8"))))
    print(json.dumps(figures, indent=2))


def summarise(tables: dict[str, Any], date: str, lacking: list[str]) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details of the tables of `peers_pipeline.judge`."""
    beside = tables["comparison"]
    beside = beside[beside["grouping"] == LEVEL].iloc[-1]
    lead = tables["lead"].set_index(["regression", "name"])
    moves = tables["comovement"].set_index(["regression", "name"])
    figures = {
        "overlap": float(beside["overlap"]),
        "overlap_by_chance": float(beside["chance"]),
        "lead_estimate": float(lead.loc[("all", "peers"), "estimate"]),
        "lead_error": float(lead.loc[("all", "peers"), "standard_error"]),
        "comovement_peers": float(moves.loc[("both", "peers"), "estimate"]),
        "comovement_peers_error": float(moves.loc[("both", "peers"), "standard_error"]),
        "comovement_group": float(moves.loc[("both", "group"), "estimate"]),
        "comovement_group_error": float(moves.loc[("both", "group"), "standard_error"]),
    }
    strongest = tables["new_peers"][["firm", "name", "peer", "peer_name", "weight"]].to_dict("records")
    return figures, {"date": date, "strongest_outside": strongest, "lacking": lacking}


def readme_section(results: dict[str, Any]) -> str:
    """Show the picture, and say what it is worth."""
    found, details = results["figures"], results["details"]
    first = details["strongest_outside"][0]
    leads = "lead" if found["lead_estimate"] > 1.645 * found["lead_error"] else "were not shown to lead"
    lead, group, peers = (
        f"{found[name]:.2f} ± {found[f'{name}_error' if name != 'lead_estimate' else 'lead_error']:.2f}"
        for name in ("lead_estimate", "comovement_group", "comovement_peers")
    )
    said = (
        f"Whom the 20 stocks of the sample ask ({details['date']}, the demonstration's model, the 60 heaviest links): "
        f"the strongest is {first['name']} asking {first['peer_name']}, at a weight of {first['weight']:.3f} where an "
        f"even one is 0.050. The sentence that it deserves: these peers {leads} (coefficient {lead} beside the SIC "
        f"group's and the firm's own past return), and after the as-of dates firms move with those of their SIC major "
        f"group ({group}), not with those that they ask ({peers}); {found['overlap']:.0%} of the heaviest peers are of "
        f"the group, {found['overlap_by_chance']:.0%} by chance. Do not read a supply chain into it. Commit "
        f"{results['commit']}, {results['date']}, `{results['command']}`."
    )
    return f"\n![Whom each of the 20 stocks asks, as a circle by industry]({PICTURE})\n\n{said}"


if __name__ == "__main__":
    main()
