"""What a model looked at, and why it decided: two questions, answered side by side."""

from finattn.explain.adversaries import Adversary, adversaries
from finattn.explain.agreement import agreement, stability_over_days, stability_over_seeds
from finattn.explain.audit import Audit, Checks, audit
from finattn.explain.counterfactual import against_uniform, between_seeds, replaced, uniform_twin
from finattn.explain.explanation import Explanation, join
from finattn.explain.faithfulness import Removal, deletion, infidelity, insertion, sample_targets
from finattn.explain.gradients import METHODS, How, gradients
from finattn.explain.probes import probe
from finattn.explain.randomisation import explainers, insensitive, randomisation, sensitivity
from finattn.explain.scene import network
from finattn.explain.truth import score
from finattn.explain.verdict import Verdict
from finattn.explain.weights import LOOKED, attention, by_head

__all__ = [
    "LOOKED",
    "METHODS",
    "Adversary",
    "Audit",
    "Checks",
    "Explanation",
    "How",
    "Removal",
    "Verdict",
    "adversaries",
    "against_uniform",
    "agreement",
    "attention",
    "audit",
    "between_seeds",
    "by_head",
    "deletion",
    "explainers",
    "gradients",
    "infidelity",
    "insensitive",
    "insertion",
    "join",
    "network",
    "probe",
    "randomisation",
    "replaced",
    "sample_targets",
    "score",
    "sensitivity",
    "stability_over_days",
    "stability_over_seeds",
    "uniform_twin",
]
