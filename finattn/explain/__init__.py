"""What a model looked at; why it decided is another question."""

from finattn.explain.weights import attention

__all__ = ["attention"]
