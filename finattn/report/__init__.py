"""Reports: one HTML file that opens from disk, needs no network and can be sent to a colleague.

`write` makes that of a run; `finattn.report.description` shows what a panel holds, and needs no torch for it.
"""

from pathlib import Path


def write(run: str | Path) -> Path:
    """Write the report of a run, see `finattn.report.build.write`."""
    from finattn.report import build  # torch is slow to import

    return build.write(run)


__all__ = ["write"]
