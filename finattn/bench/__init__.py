"""What a part of finattn costs on this machine, measured beside formulas: `finattn bench`."""

from finattn.bench.costs import Cell, Measured, Sizes, cells, costs, measure, measure_apart
from finattn.bench.show import attention, attention_costs
from finattn.bench.tables import crossing, crossings, growth

__all__ = [
    "Cell",
    "Measured",
    "Sizes",
    "attention",
    "attention_costs",
    "cells",
    "costs",
    "crossing",
    "crossings",
    "growth",
    "measure",
    "measure_apart",
]
