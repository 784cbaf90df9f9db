"""What a model looked at, and why it decided: two questions, answered side by side."""

from finattn.explain.agreement import agreement, stability_over_days, stability_over_seeds
from finattn.explain.explanation import Explanation, join
from finattn.explain.faithfulness import Removal, deletion, infidelity, insertion, sample_targets
from finattn.explain.gradients import METHODS, How, gradients
from finattn.explain.probes import probe
from finattn.explain.randomisation import explainers, insensitive, randomisation, sensitivity
from finattn.explain.scene import network
from finattn.explain.truth import score
from finattn.explain.weights import LOOKED, attention, by_head

__all__ = [
    "LOOKED",
    "METHODS",
    "Explanation",
    "How",
    "Removal",
    "agreement",
    "attention",
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
    "sample_targets",
    "score",
    "sensitivity",
    "stability_over_days",
    "stability_over_seeds",
]
