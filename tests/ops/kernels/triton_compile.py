"""Compile every Triton kernel to machine code for two generations of GPU."""

from __future__ import annotations

import math
import sys
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from meshops.ops.kernels import integer_triton, neighbors_triton, patches_triton, scores_triton, segment_triton

LONG, DOUBLE = "*i64", "*fp64"


def compiled(kernel: Any, types: list[str], capability: int, **constants: Any) -> None:
    """Compile one kernel; ``types`` of its other arguments in their order."""
    given = iter(types)
    signature = {name: "constexpr" if name in constants else next(given) for name in kernel.arg_names}
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=values)
    result = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert ".entry" in result.asm["ptx"]
    sys.stdout.write(f"compiled {kernel.fn.__name__} {types[0]} for {capability}\n")


for capability in (80, 90, 100):
    for kind in ("*fp16", "*bf16", "*fp32", DOUBLE):
        block = {"HAS_PERM": True, "ROWS": segment_triton.ROWS, "COLS": segment_triton.MOST_COLS}
        wide = tl.float64 if kind == DOUBLE else tl.float32
        compiled(segment_triton._sum_kernel, [kind, LONG, LONG, kind, "i32"], capability, WIDE=wide, **block)
        compiled(segment_triton._spread_kernel, [kind, LONG, LONG, LONG, kind, "i32"], capability, **block)
        types = [kind, LONG, LONG, kind, LONG, "i32"]
        compiled(segment_triton._extreme_kernel, types, capability, LARGEST=True, LEAST=-math.inf, WIDE=wide, **block)
    for kernel in (patches_triton._gather, patches_triton._scatter):
        for kind in ("*fp32", "*bf16"):
            types = [kind, kind, LONG, "*u8", "i32", "i32"]
            compiled(kernel, types, capability, HAS_MASK=True, ROWS=patches_triton.ROWS, COLS=patches_triton.MOST_COLS)
    shape = {"SKIP_SELF": True, "DIM": 3, "LANES": neighbors_triton.LEAF}
    head = ["*fp32", LONG, LONG, "*fp32", LONG, LONG, LONG, LONG, DOUBLE, DOUBLE]
    for periodic in (False, True):
        compiled(
            neighbors_triton._knn_kernel, [*head, LONG, DOUBLE], capability, K=16, WIDE=16, PERIODIC=periodic, **shape
        )
        for fill in (False, True):
            types = [*head, DOUBLE, LONG, LONG, LONG, DOUBLE]
            compiled(neighbors_triton._radius_kernel, types, capability, FILL=fill, PERIODIC=periodic, **shape)
    axes = {"WRAP0": False, "WRAP1": True, "WRAP2": False, "SIZE0": 1, "SIZE1": 2, "SIZE2": 2}
    for masked in (False, True):
        types = ["*fp32", "*fp32", "*u8" if masked else "*fp32", "*fp32", *["i32"] * 7, *["fp32"] * 3]
        compiled(scores_triton._score, types, capability, HAS_MASK=masked, CELLS=scores_triton.CELLS, **axes)
    types = ["*fp32", LONG, "*i32", "*fp32", "*fp32", "*fp32", "*i8", "*fp32", "*fp32", "i32"]
    compiled(integer_triton._quantise, types, capability, ROWS=integer_triton.ROWS, WIDTH=128)
    types = ["*i8", LONG, "*i32", "*i8", "*fp32", "*i32", *["*fp32"] * 4, LONG, "*fp32", LONG, "*fp32", "i32", "i32"]
    blocks = {"ROWS": integer_triton.ROWS, "COLUMNS": integer_triton.COLUMNS, "DEPTH": integer_triton.DEPTH}
    compiled(integer_triton._multiply, types, capability, TABLES=2, CODE=2, **blocks)
