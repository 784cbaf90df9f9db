"""The whole ladder on real large caps: ``python -m benchmarks.large_caps --returns FILE --industries FILE``.

FILE are date, firm, return in Parquet, and firm, sector, sub_industry in CSV; they are the user's and stay outside.
Weekly decisions, five-day returns, tested in 2010 to 2016 in blocks of two years and one of a year, one seed. A second
call goes on where the first one was stopped. Writes results/large_caps.json and the table into the README.

ladder_minutes : what all fits and trials took, summed over sessions. decisions : weekly dates.
primary_difference, primary_p : of the comparison that was declared: rank IC of self-attention over firms less that of
    the SIC kernel, one-sided.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import results_file
from finattn import ladder_pipeline
from finattn.config import DataConfig, RunConfig, SplitsConfig, TargetConfig, TrainingConfig
from finattn.evaluation import primary
from finattn.forecasts import Forecasts
from finattn.ladder.table import PRIMARY
from finattn.looks import label
from finattn.progress import RunProgress

MARKERS = ("<!-- large caps: written by python -m benchmarks.large_caps -->", "<!-- end of large caps -->")


def configuration(returns: str, industries: str, out: str) -> RunConfig:
    """Return the run: standard rungs, trained on every fifth row, since labels of five days overlap."""
    return RunConfig(
        name="large_caps",
        out=out,
        data=DataConfig(
            source="file", path=returns, industries=industries, industry_levels=("sector", "sub_industry"),
            industry_scheme="custom",
        ),
        target=TargetConfig(horizon=5),
        splits=SplitsConfig(
            first_test="2010-01-01", test="2Y", valid="1Y", train="2Y", decisions="weekly", train_every=5
        ),
        training=TrainingConfig(threads=1),
    )  # fmt: skip


def summarise(folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Return figures and details of a ladder that was climbed."""
    table = pd.read_parquet(folder / "table.parquet")
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    said = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    details = {"table": json.loads(table.to_json(orient="records")), "answers": said, "folds": provenance["folds"]}
    declared = primary(Forecasts.load(folder / "forecasts.parquet"), *PRIMARY)
    figures = {
        "ladder_minutes": round(provenance["seconds_of_fits"] / 60, 1),
        "decisions": int(table["dates"].max()),
        "primary_difference": declared.estimate.estimate,
        "primary_p": declared.p_one_sided,
    }
    return figures, details


def readme_section(results: dict[str, Any]) -> str:
    """Lay the table out, with the answers."""
    heads = ("rung", "rank IC", "against the rung below", "p, Holm", "in the confidence set", "Sharpe after costs")
    rows = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|---|"]
    for row in results["details"]["table"]:
        gain = "" if row["difference"] is None else f"{row['difference']:+.4f} ± {row['difference_error']:.4f}"
        p = "" if row["p_holm"] is None else f"{row['p_holm']:.2f}"
        sharpe = "" if row["net_sharpe"] is None else f"{row['net_sharpe']:.2f} ± {row['net_sharpe_error']:.2f}"
        kept = "yes" if row["in_confidence_set"] else "no"
        nothing = row["standard_error"] is None  # the same score for all firms
        rank = "orders nothing" if nothing else f"{row['rank_ic']:.4f} ± {row['standard_error']:.4f}"
        rows.append(f"| {label(row['rung'])} | {rank} | {gain} | {p} | {kept} | {sharpe} |")
    figures = results["figures"]
    said = (
        f"431 US large caps that survived to the end (which flatters every rung), {figures['decisions']} weekly dates "
        f"of 2010 to 2016, one seed, {figures['ladder_minutes']:.0f} minutes of fits. Commit {results['commit']}, "
        f"{results['date']}, `{results['command']}`."
    )
    kept = sum(row["in_confidence_set"] for row in results["details"]["table"])
    said = f"{kept} of {len(rows) - 2} rungs are in the model confidence set, and cannot be told apart. {said}"
    return "\n".join(["", *rows, "", *results["details"]["answers"][:1], "", said])


def main() -> None:
    """Climb, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--returns", required=True)
    parser.add_argument("--industries", required=True)
    parser.add_argument("--out", default="runs")
    given = parser.parse_args()
    with RunProgress() as progress:
        page = ladder_pipeline.run(configuration(given.returns, given.industries, given.out), False, progress)
    figures, details = summarise(page.parent)
    print(json.dumps({"figures": figures, "answers": details["answers"]}, indent=2))
    path = results_file.write(
        "large_caps", figures, details, "python -m benchmarks.large_caps --returns … --industries …"
    )
    results_file.into_readme(MARKERS, readme_section(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
