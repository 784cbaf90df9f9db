"""What a model looked at, and why it decided: two questions, answered side by side."""

from finattn.explain.explanation import Explanation, join
from finattn.explain.gradients import METHODS, How, gradients
from finattn.explain.scene import network
from finattn.explain.weights import LOOKED, attention, by_head

__all__ = ["LOOKED", "METHODS", "Explanation", "How", "attention", "by_head", "gradients", "join", "network"]
