"""Sources that yield a `Panel`."""

from finattn.data.files import load_file
from finattn.data.sample import sample
from finattn.data.sources import load

__all__ = ["load", "load_file", "sample"]
