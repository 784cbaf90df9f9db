"""Verbs that explain what a run's models forecast, and audit the explanations."""

import argparse
import json

from finattn.cli.arguments import folder_parser, is_help
from finattn.config.require import require_known

_EXPLAIN = """Explain one forecast of a run: which of the firm's own days, which firms and which characteristics.

Attention, which says what was looked at, stands beside methods that say what moved the score. Tables are printed, a
page with a picture is written to RUN/explanations, and the run's report shows it from then on."""
METHODS = (
    "attention", "rollout", "value_norm", "saliency", "return_saliency", "input_x_gradient", "integrated_gradients",
    "smoothgrad", "gradient_shap", "temporal_rescaling", "feature_ablation", "occlusion", "shapley",
)  # fmt: skip
"""Those of `explain`, known before torch is loaded."""


def explain(given: list[str]) -> int:
    """Parse `finattn explain RUN --firm FIRM --date DATE …` and explain one forecast."""
    parser = _explain_parser()
    if is_help(given):
        parser.print_help()
        return 0
    asked = parser.parse_args(given)
    require_known("method", asked.methods or (), METHODS)
    from finattn import explain_pipeline as pipeline
    from finattn import report
    from finattn.explain import How
    from finattn.report import explained

    run = pipeline.open_run(asked.run)
    how = How(baseline=asked.baseline, steps=asked.steps, samples=asked.samples, seed=asked.seed)
    found = pipeline.explain(run, asked.date, asked.firm, asked.model, asked.methods, how)
    page = explained.keep(found, run.folder)
    if asked.json:
        print(json.dumps(explained.as_dict(found), indent=2, allow_nan=False))
    else:
        explained.show(found)
        print(f"page: {page}", flush=True)
    report.write(run.folder)  # last: where it cannot be written, what was asked for is there
    return 0


def _explain_parser() -> argparse.ArgumentParser:
    parser = folder_parser("explain", _EXPLAIN)
    parser.add_argument("--firm", required=True, help="identifier in the panel")
    parser.add_argument("--date", required=True, help="a day of the panel in the test windows, 2020-03-16")
    parser.add_argument("--model", help="a trained model of the run; by default the headline's")
    methods = f"{', '.join(METHODS)}; by default attention, of a model that attends, and integrated_gradients"
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help=methods)
    baseline = "what stands for nothing to see: median of the date's firms, absent, or a date"
    parser.add_argument("--baseline", default="median", help=baseline)
    parser.add_argument("--steps", type=int, default=32, help="of integrated gradients")
    parser.add_argument("--samples", type=int, default=25, help="of methods that draw")
    parser.add_argument("--seed", type=int, default=0, help="of their draws")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return parser
