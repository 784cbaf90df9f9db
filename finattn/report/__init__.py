"""The report of a run: one HTML file that opens from disk, needs no network and can be sent to a colleague."""

from finattn.report.build import write

__all__ = ["write"]
