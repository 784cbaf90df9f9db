"""Reports: one HTML file that opens from disk, needs no network and can be sent to a colleague.

`write` makes that of a run; `finattn.report.description` shows what a panel holds, and needs no torch for it.
"""

from pathlib import Path


def write(run: str | Path) -> Path:
    """Write `report.html` into a run's folder and return its path; see `finattn.report.build.write`.

    `finattn run` writes it at its end; `finattn explain`, `audit`, `peers` and `report` write it again.

    Parameters
    ----------
    run : folder of a run.

    Raises
    ------
    InputError
        Where a file that every report needs is absent or cannot be read.

    Examples
    --------
    >>> from finattn import report
    >>> report.write("nowhere")  # "runs/sp500" after `finattn run`
    Traceback (most recent call last):
    finattn.errors.InputError: a report needs config.yaml in the run's folder, found none in nowhere
    """
    from finattn.report import build  # torch is slow to import

    return build.write(run)


__all__ = ["write"]
