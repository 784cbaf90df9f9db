"""Sources that yield a `Panel`."""

from finattn.data.design import Design
from finattn.data.files import load_file
from finattn.data.gu_kelly_xiu import gu_kelly_xiu
from finattn.data.quarterly import Delayed, simulate_quarterly
from finattn.data.sample import sample
from finattn.data.simulate import simulate
from finattn.data.sources import fetch, load
from finattn.data.truth import Planted, Simulated, Truth

__all__ = [
    "Delayed",
    "Design",
    "Planted",
    "Simulated",
    "Truth",
    "fetch",
    "gu_kelly_xiu",
    "load",
    "load_file",
    "sample",
    "simulate",
    "simulate_quarterly",
]
