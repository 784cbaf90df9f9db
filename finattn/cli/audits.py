"""The verb that audits the explanations of a run's model."""

import argparse
import json

from finattn.cli.arguments import folder_parser, is_help

_AUDIT = """Say how far explanations of a run's model may be believed.

Attention is set against gradients, replaced by other weights and frozen even; what methods call important is taken
away; the model is made to forget; seeds and days are compared. The verdict and one table are printed and kept in
RUN/audit, and the run's report shows them from then on."""


def audit(given: list[str]) -> int:
    """Parse `finattn audit RUN …` and audit one model."""
    parser = _parser()
    if is_help(given):
        parser.print_help()
        return 0
    asked = parser.parse_args(given)
    from finattn import explain_pipeline as pipeline
    from finattn import report
    from finattn.explain import Checks
    from finattn.progress import RunProgress
    from finattn.report import audited

    run = pipeline.open_run(asked.run)
    checks = Checks(tuple(asked.methods), asked.dates, asked.firms, draws=asked.draws, seed=asked.seed)
    with RunProgress() as progress:
        found = pipeline.audit(run, asked.model, asked.fold, checks, asked.refit, progress)
    found.save(run.folder / audited.FOLDER)
    report.write(run.folder)
    if asked.json:
        print(json.dumps(audited.as_dict(found), indent=2, allow_nan=False))
        return 0
    audited.show(found)
    print(f"report: {run.folder / 'report.html'}#audit")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = folder_parser("audit", _AUDIT)
    parser.add_argument("--model", help="a trained model of the run; by default the headline's")
    parser.add_argument("--fold", type=int, help="whose test window is audited; by default the last")
    default = ["attention", "saliency", "input_x_gradient", "integrated_gradients"]
    parser.add_argument("--methods", nargs="+", default=default, metavar="METHOD", help="as of finattn explain")
    parser.add_argument("--dates", type=int, default=16, help="on which forecasts are explained")
    parser.add_argument("--firms", type=int, default=6, help="explained on each date")
    parser.add_argument("--draws", type=int, default=3, help="of what is random")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--no-refit", dest="refit", action="store_false", help="without fits of frozen attention")
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return parser
