"""Vectors of eight numbers for compiled code: numba has no type for them, and leaves vectorising to LLVM's judgement.

Written out, the order of additions is the same on every processor, in every layout of X, and wherever arrays lie. Loops
over rows are not unrolled: a processor prefetches by the address of the instruction that reads, and an unrolled loop
reads one stream by many instructions.

numba does not notice when this file is edited; `core` names its checksum for that reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, register_model

intrinsic: Any = extending.intrinsic  # its functions are called without the typing context, which mypy cannot know

WIDTH = 8
_BOOL, _INT32, _FLOAT64 = ir.IntType(1), ir.IntType(32), ir.DoubleType()
_LANES = ir.VectorType(_FLOAT64, WIDTH)
_ZEROS = ir.Constant(_LANES, [0.0] * WIDTH)


class Lanes(types.Type):
    """Eight float64."""

    def __init__(self) -> None:
        super().__init__("lanes")


lanes = Lanes()


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _LANES)


def _constants(numbers: Any) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INT32, WIDTH), list(numbers))


def _place(builder: ir.IRBuilder, pointer: ir.Value, k: ir.Value) -> tuple[ir.Value, ir.VectorType, int]:
    """Return a pointer to eight numbers, their type and the alignment of one."""
    element = pointer.type.pointee
    vector = ir.VectorType(element, WIDTH)
    place = builder.bitcast(builder.gep(pointer, [k]), vector.as_pointer())
    return place, vector, 8 if element == _FLOAT64 else 4


def _widened(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    return value if value.type == _LANES else builder.fpext(value, _LANES)


def _loaded(builder: ir.IRBuilder, pointer: ir.Value, k: ir.Value) -> ir.Value:
    place, _, alignment = _place(builder, pointer, k)
    return _widened(builder, builder.load(place, align=alignment))


def _first_loaded(builder: ir.IRBuilder, pointer: ir.Value, k: ir.Value, count: ir.Value) -> ir.Value:
    place, vector, alignment = _place(builder, pointer, k)
    undefined = ir.Constant(ir.VectorType(_INT32, WIDTH), ir.Undefined)
    counts = builder.insert_element(undefined, builder.trunc(count, _INT32), _INT32(0))
    counts = builder.shuffle_vector(counts, undefined, _constants([0] * WIDTH))
    mask = builder.icmp_signed("<", _constants(range(WIDTH)), counts)
    name = "llvm.masked.load.v8f64.p0" if alignment == 8 else "llvm.masked.load.v8f32.p0"
    function = ir.FunctionType(vector, [place.type, _INT32, mask.type, vector])
    function = cgutils.get_or_insert_function(builder.module, function, name)
    zeros = ir.Constant(vector, [0.0] * WIDTH)
    return _widened(builder, builder.call(function, [place, _INT32(alignment), mask, zeros]))


def _multiplied_and_added(builder: ir.IRBuilder, *operands: ir.Value) -> ir.Value:
    signature = ir.FunctionType(_LANES, [_LANES] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, "llvm.fmuladd.v8f64"), operands)


@intrinsic
def data(typing: Any, array: Any) -> Any:  # noqa: ARG001
    """Return a pointer to an array's first number: unlike arrays, pointers are not reference-counted."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def offset(typing: Any, pointer: Any, k: Any) -> Any:  # noqa: ARG001
    """Return a pointer to the number k further on."""
    return pointer(pointer, types.intp), lambda _, builder, __, arguments: builder.gep(arguments[0], [arguments[1]])


@intrinsic
def bitcast(typing: Any, pointer: Any, other: Any) -> Any:  # noqa: ARG001
    """Return a pointer to the same place, of the other pointer's type."""
    return other(pointer, other), lambda _, builder, __, arguments: builder.bitcast(arguments[0], arguments[1].type)


@intrinsic
def load(typing: Any, pointer: Any, k: Any) -> Any:  # noqa: ARG001
    """Load numbers k to k + 8, float32 or float64, as float64."""
    return lanes(pointer, types.intp), lambda _, builder, __, arguments: _loaded(builder, *arguments)


@intrinsic
def load_first(typing: Any, pointer: Any, k: Any, count: Any) -> Any:  # noqa: ARG001
    """Load numbers k to k + count; the rest of the vector is 0, and its memory is not touched."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return _first_loaded(builder, *arguments)

    return lanes(pointer, types.intp, types.intp), generate


@intrinsic
def store(typing: Any, pointer: Any, k: Any, value: Any) -> Any:  # noqa: ARG001
    """Store to float64 k to k + 8."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        place, _, alignment = _place(builder, *arguments[:2])
        builder.store(arguments[2], place, align=alignment)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, lanes), generate


@intrinsic
def splat(typing: Any, x: Any) -> Any:  # noqa: ARG001
    """Return a vector of eight times the same number."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_LANES, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], _INT32(0))
        return builder.shuffle_vector(first, undefined, _constants([0] * WIDTH))

    return lanes(types.float64), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """Return a + b."""
    return lanes(lanes, lanes), lambda _, builder, __, arguments: builder.fadd(*arguments)


@intrinsic
def subtract(typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """Return a − b."""
    return lanes(lanes, lanes), lambda _, builder, __, arguments: builder.fsub(*arguments)


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> Any:  # noqa: ARG001
    """Return a times b."""
    return lanes(lanes, lanes), lambda _, builder, __, arguments: builder.fmul(*arguments)


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:  # noqa: ARG001
    """Return a b + c, rounded once where the processor can."""
    return lanes(lanes, lanes, lanes), lambda _, builder, __, arguments: _multiplied_and_added(builder, *arguments)


@intrinsic
def product_error(typing: Any, a: Any, b: Any, product: Any) -> Any:  # noqa: ARG001
    """Return a b − product, rounded once on every processor: the rounding error of a product."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        a, b, product = arguments
        signature = ir.FunctionType(_LANES, [_LANES] * 3)
        fma = cgutils.get_or_insert_function(builder.module, signature, "llvm.fma.v8f64")
        return builder.call(fma, [a, b, builder.fsub(ir.Constant(_LANES, [-0.0] * WIDTH), product)])

    return lanes(lanes, lanes, lanes), generate


# How two vectors are mixed, so that three rounds of it transpose eight by eight numbers.
_MIXES = (
    ([0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]),
    ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
    ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
)


@intrinsic
def horizontal_sum(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:  # noqa: ARG001
    """Return the sums of eight vectors as one vector."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        values = list(arguments)
        for mixes in _MIXES:
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [builder.fadd(*(builder.shuffle_vector(*p, _constants(m)) for m in mixes)) for p in pairs]
        return values[0]

    return lanes(*[lanes] * WIDTH), generate


@intrinsic
def transpose8(typing: Any, source: Any, k: Any, stride: Any, target: Any, to: Any, row: Any, further: Any) -> Any:  # noqa: ARG001
    """Copy eight columns, ``stride`` numbers from one to the next, into rows of float64, ``row`` from one to the next.

    Eight numbers of each are taken: the first column begins at ``source[k]`` and the first row at ``target[to]``. What
    lies ``further`` on in the columns, and is wanted next, is prefetched, because a processor by itself follows few of
    so many streams.
    """

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        source, k, stride, target, to, row, further = arguments
        at = [builder.add(k, builder.mul(stride, stride.type(c))) for c in range(WIDTH)]
        pointer = builder.gep(source, [k]).type
        signature = ir.FunctionType(ir.VoidType(), [pointer, _INT32, _INT32, _INT32])
        prefetch = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        for place in at:
            line = builder.gep(source, [builder.add(place, further)])
            builder.call(prefetch, [line, _INT32(0), _INT32(3), _INT32(1)])
        values = [_loaded(builder, source, place) for place in at]
        for distance, mixes in zip((1, 2, 4), _MIXES, strict=True):
            mixed = list(values)
            for i in (i for i in range(WIDTH) if not i & distance):
                pair = values[i], values[i + distance]
                for j, mix in zip((i, i + distance), mixes, strict=True):
                    mixed[j] = builder.shuffle_vector(*pair, _constants(mix))
            values = mixed
        for r, value in enumerate(values):
            place, _, alignment = _place(builder, target, builder.add(to, builder.mul(row, row.type(r))))
            builder.store(value, place, align=alignment)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp, types.intp), generate


_STREAMS = 4
"""Vectors added up side by side, because one addition waits for the one before."""


@intrinsic
def row_dots(typing: Any, x: Any, size: Any, rows: Any, coef: Any, target: Any) -> Any:  # noqa: ARG001
    """Write eight partial sums of the product with coef for each of some rows, ``size`` numbers each."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        x, size, rows, coef, target = arguments
        integer = size.type
        totals = [cgutils.alloca_once(builder, _LANES) for _ in range(_STREAMS)]
        most = builder.and_(size, integer(-WIDTH * _STREAMS))
        whole = builder.and_(size, integer(-WIDTH))
        rest = builder.sub(size, whole)
        with _rolled(builder, integer(0), rows, integer(1)) as i:
            row = builder.gep(x, [builder.mul(i, size)])
            for total in totals:
                builder.store(_ZEROS, total)

            def add_product(factor: ir.Value, k: ir.Value, total: ir.Value) -> None:
                builder.store(
                    _multiplied_and_added(builder, factor, _loaded(builder, coef, k), builder.load(total)), total
                )

            for start, stop, streams in ((integer(0), most, _STREAMS), (most, whole, 1)):
                with _rolled(builder, start, stop, integer(WIDTH * streams)) as j:
                    for s in range(streams):
                        k = builder.add(j, integer(WIDTH * s))
                        add_product(_loaded(builder, row, k), k, totals[s])
            with builder.if_then(builder.icmp_signed(">", rest, integer(0))):
                add_product(_first_loaded(builder, row, whole, rest), whole, totals[1])
            a, b, c, d = map(builder.load, totals)
            place, _, alignment = _place(builder, target, builder.mul(i, integer(WIDTH)))
            builder.store(builder.fadd(builder.fadd(a, b), builder.fadd(c, d)), place, align=alignment)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, coef, target), generate


@contextmanager
def _rolled(builder: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: ir.Value) -> Iterator[ir.Value]:
    """Generate a loop that LLVM does not unroll: the closing branch refers to a metadata node that refers to itself."""
    with cgutils.for_range_slice(builder, start, stop, step, intp=start.type) as (index, _):
        yield index
        body = builder.basic_block
    module = builder.module
    order = module.add_metadata(["llvm.loop.unroll.disable"])
    loop = module.add_metadata([order, _INT32(len(module.metadata))])  # the number makes the node unique
    loop.operands = (loop, order)
    body.terminator.set_metadata("llvm.loop", loop)
