"""The ledger: every configuration that was walked forward, with its net returns, so that a search can be counted.

A folder: `trials.jsonl` has a line for each trial, `arrays/` its dates, net returns and firms, named by their SHA-256.
Each line holds the hash of the line before it and its own, so that a line that was changed, taken out or moved is found
on every reading. A ledger that was cut off at its end, or written anew, is found where the hash of its head was kept
elsewhere, as a run's provenance and report do: give it to `verify`.

The ledger knows what went through it, and nothing that was tried elsewhere. A trial is one more on a panel's data where
the two have a source of the same name, or share firms and days: other numbers under the same names, a year more or a
few firms less do not start the count again.
"""

from finattn.ledger.chain import EMPTY, Setup, Trial, head, net_returns, read_trials, record, source_of, verify
from finattn.ledger.search import OVERLAP, Selection, latest, overlapping, searched, selection

__all__ = [
    "EMPTY",
    "OVERLAP",
    "Selection",
    "Setup",
    "Trial",
    "head",
    "latest",
    "net_returns",
    "overlapping",
    "read_trials",
    "record",
    "searched",
    "selection",
    "source_of",
    "verify",
]
