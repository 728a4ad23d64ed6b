"""Speed and memory of operations and partitioners, beside those of the packages that do the same."""

from meshops.bench.measure import Case, Contender, Result, measure
from meshops.bench.operations import operation_cases
from meshops.bench.partitions import partition_cases
from meshops.bench.scaling import draw_scaling, measure_scaling

__all__ = [
    "Case",
    "Contender",
    "Result",
    "draw_scaling",
    "measure",
    "measure_scaling",
    "operation_cases",
    "partition_cases",
]
