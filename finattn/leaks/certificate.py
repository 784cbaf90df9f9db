"""What was asked of a pipeline or a panel, and what was found: a table, one row a check."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from finattn.checks import some
from finattn.errors import InputError
from finattn.storage import write_json

VERDICTS = ("passed", "caught", "suspect", "undecided", "not run")


class Finding(NamedTuple):
    """One row of a certificate; `worst` is how large it is, in the unit that `found` names, NaN where it has none.

    Examples
    --------
    >>> from finattn.leaks import Certificate, Finding
    >>> own = Finding("repeatable", "caught", "two runs differ by up to 0.2", worst=0.2)
    >>> print(Certificate(pd.DataFrame([own, Finding("order", "passed", "firms may come in any order")])))
    not clean: 1 caught
      caught     repeatable: two runs differ by up to 0.2
      passed     order: firms may come in any order
    """

    check: str
    verdict: str
    found: str
    worst: float = np.nan


COLUMNS = Finding._fields


@dataclass(frozen=True, eq=False)
class Certificate:
    """Findings of `look_ahead` or `screen`.

    Parameters
    ----------
    table : columns check, verdict, found (a sentence), worst (a number, NaN where there is none). Verdicts are
        "passed"; "caught": shown to be so; "suspect": a reason to look, which may be innocent; "undecided": the
        check cannot tell; "not run".
    made : by what it was found: dates, kinds of change, seed, number of runs.

    Raises
    ------
    InputError
        For other columns, or an unknown verdict.

    Examples
    --------
    >>> certificate = Certificate(pd.DataFrame([Finding("repeatable", "passed", "two runs are equal")]))
    >>> print(certificate)
    clean: nothing caught, nothing suspect
      passed     repeatable: two runs are equal
    """

    table: pd.DataFrame
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a table of something else."""
        if tuple(self.table.columns) != COLUMNS:
            raise InputError(f"a certificate must have columns {', '.join(COLUMNS)}, found {list(self.table.columns)}")
        unknown = [verdict for verdict in self.table["verdict"] if verdict not in VERDICTS]
        if unknown:
            raise InputError(f"a verdict must be one of {', '.join(VERDICTS)}, found {some(unknown)}")

    @property
    def clean(self) -> bool:
        """Whether nothing was caught and nothing is suspect."""
        return not self.table["verdict"].isin(["caught", "suspect"]).any()

    def of(self, verdict: str) -> list[str]:
        """Return the checks of a verdict."""
        return self.table["check"][self.table["verdict"] == verdict].tolist()

    def __str__(self) -> str:
        """Write a line or more for each check, the first for all of them."""
        parts = [f"{len(self.of(verdict))} {verdict}" for verdict in ("caught", "suspect") if self.of(verdict)]
        lines = ["clean: nothing caught, nothing suspect" if self.clean else f"not clean: {', '.join(parts)}"]
        for check, verdict, found, _ in self.table.itertuples(index=False):
            lines += textwrap.wrap(f"  {verdict:<10} {check}: {found}", 118, subsequent_indent=" " * 13)
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return the findings and how they were made as JSON; a number that is none is null."""
        return json.dumps(self._plain(), indent=2, allow_nan=False)

    def save(self, path: str | Path) -> None:
        """Write `to_json` to a file, whole or not at all."""
        write_json(path, self._plain())

    def _plain(self) -> dict[str, Any]:
        rows = [
            {**row, "worst": float(row["worst"]) if np.isfinite(row["worst"]) else None}
            for row in self.table.to_dict("records")
        ]
        return {"clean": self.clean, "findings": rows, "made": dict(self.made)}


def certificate_of(findings: list[Finding], made: Mapping[str, Any]) -> Certificate:
    """Put findings under each other.

    Examples
    --------
    >>> certificate_of([Finding("order", "caught", "forecasts follow places", 0.5)], {"seed": 0}).clean
    False
    """
    table = pd.DataFrame(findings, columns=COLUMNS)
    return Certificate(table.astype({"worst": float}), made)
