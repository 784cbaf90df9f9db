"""Whether forecasts know what came after them: pipelines run again on other futures, ready-made panels screened."""

from finattn.leaks.certificate import Certificate, Finding
from finattn.leaks.certify import look_ahead
from finattn.leaks.changes import KINDS
from finattn.leaks.screens import screen

__all__ = ["KINDS", "Certificate", "Finding", "look_ahead", "screen"]
