"""Products of small integers in registers, for Numba functions: the two instructions that compilers do not find.

    ``vpmaddwd``    16 products of signed 16-bit integers, neighbours added to 8 sums of 32 bits: always exact
    ``vpmaddubsw``  32 products of unsigned and signed 8-bit integers, neighbours added to 16 sums of 16 bits

Each step takes 4 bytes of every row (2 or 4 numbers along k) and 64 bytes of the packed weights: for each of 16
outputs the same 4 bytes of its column. Needs a CPU with AVX2.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

ROWS, COLUMNS = 4, 16
"""Rows and outputs of one block of sums: 8 of the 16 registers."""
INT, LONG = ir.IntType(32), ir.IntType(64)
SUMS = ir.VectorType(INT, 8)
SHORTS, BYTES = ir.VectorType(ir.IntType(16), 16), ir.VectorType(ir.IntType(8), 32)


def _block(wide: bool) -> Any:
    """Code generator of one block; ``wide``: 16-bit factors."""
    factors, partial = (SHORTS, SUMS) if wide else (BYTES, SHORTS)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, row_bytes, weights, steps, out, add = arguments
        module = builder.module
        madd = module.declare_intrinsic("llvm.x86.avx2.pmadd.wd", (), ir.FunctionType(SUMS, [SHORTS] * 2))
        multiply = madd if wide else module.declare_intrinsic(
            "llvm.x86.avx2.pmadd.ub.sw", (), ir.FunctionType(SHORTS, [BYTES] * 2)
        )  # fmt: skip

        def at(address: Any, offset: Any) -> Any:
            return builder.add(address, offset)

        def load(address: Any, kind: Any) -> Any:
            value = builder.load(builder.inttoptr(address, kind.as_pointer()))
            value.align = 1
            return value

        before, body, after = builder.block, builder.append_basic_block("along_k"), builder.append_basic_block("sums")
        builder.branch(body)
        builder.position_at_end(body)
        step = builder.phi(LONG)
        step.add_incoming(LONG(0), before)
        sums = [builder.phi(partial) for _ in range(2 * ROWS)]
        for value in sums:
            value.add_incoming(ir.Constant(partial, None), before)
        place = at(weights, builder.mul(step, LONG(64)))
        columns = [load(at(place, LONG(32 * half)), factors) for half in range(2)]
        after_step = []
        for row in range(ROWS):
            four = load(at(at(rows, builder.mul(row_bytes, LONG(row))), builder.mul(step, LONG(4))), INT)
            spread = builder.insert_element(ir.Constant(SUMS, ir.Undefined), four, INT(0))
            spread = builder.shuffle_vector(spread, ir.Constant(SUMS, ir.Undefined), ir.Constant(SUMS, [0] * 8))
            spread = builder.bitcast(spread, factors)
            for half in range(2):
                product = builder.call(multiply, [spread, columns[half]])
                after_step.append(builder.add(sums[2 * row + half], product))
        following = builder.add(step, LONG(1))
        step.add_incoming(following, body)
        for value, new in zip(sums, after_step, strict=True):
            value.add_incoming(new, body)
        builder.cbranch(builder.icmp_signed("<", following, steps), body, after)
        builder.position_at_end(after)
        keep = builder.icmp_signed("!=", add, LONG(0))
        for place, total in enumerate(after_step):
            if not wide:
                total = builder.call(madd, [total, ir.Constant(SHORTS, [1] * 16)])
            address = at(out, LONG(32 * place))  # row-major [ROWS, COLUMNS] int32
            old = builder.select(keep, load(address, SUMS), ir.Constant(SUMS, None))
            stored = builder.store(builder.add(total, old), builder.inttoptr(address, SUMS.as_pointer()))
            stored.align = 1
        return context.get_dummy_value()

    return generate


@intrinsic  # type: ignore[untyped-decorator]
def block_16(context, rows, row_bytes, weights, steps, out, add):  # type: ignore[no-untyped-def]
    """``out [4, 16] int32`` = (or with ``add`` +=) rows [4, 2 steps] int16 times packed weights int16; addresses."""
    del context, rows, row_bytes, weights, steps, out, add
    return types.void(*[types.int64] * 6), _block(True)


@intrinsic  # type: ignore[untyped-decorator]
def block_8(context, rows, row_bytes, weights, steps, out, add):  # type: ignore[no-untyped-def]
    """The same for rows uint8 and weights int8, 4 numbers a step; sums of a call must fit 16 bits."""
    del context, rows, row_bytes, weights, steps, out, add
    return types.void(*[types.int64] * 6), _block(False)


@intrinsic  # type: ignore[untyped-decorator]
def power_of_two(context, exponent):  # type: ignore[no-untyped-def]
    """2^n as float32 for a whole float32 n in -126..127."""
    del context, exponent

    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], INT), INT(127))
        return builder.bitcast(builder.shl(biased, INT(23)), ir.FloatType())

    return types.float32(types.float32), generate
