"""The operators of :mod:`mmlevelset.experiments.export.ops` as nodes of the ONNX standard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx.parser
import onnx_ir
import torch
from onnxscript import opset18

from mmlevelset.experiments.export import ops  # noqa: F401  registers the operators

op: Any = opset18  # its types do not know the values of a trace


def nms(boxes: Any, scores: Any, iou_threshold: float, score_threshold: float, limit: int) -> Any:
    picked = op.NonMaxSuppression(
        op.Unsqueeze(boxes, op.Constant(value_ints=[0])),
        op.Unsqueeze(scores, op.Constant(value_ints=[0, 1])),
        op.Constant(value_ints=[limit]),
        op.Constant(value_floats=[iou_threshold]),
        op.Constant(value_floats=[score_threshold]),
    )  # rows of image, class, box
    return op.Gather(picked, op.Constant(value_int=2), axis=1)


def roi_align(
    levels: Sequence[Any],
    boxes: Any,
    owners: Any,
    size: int,
    scales: Sequence[float],
    sampling_ratio: int,
) -> Any:
    def align(maps: Any, own: Any, scale: float) -> Any:
        image = op.Expand(op.Constant(value_int=0), op.Shape(own, start=0, end=1))
        return op.RoiAlign(
            maps,
            own,
            image,
            mode="avg",
            output_height=size,
            output_width=size,
            sampling_ratio=sampling_ratio,
            spatial_scale=scale,
            coordinate_transformation_mode="half_pixel",
        )

    if len(levels) == 1:
        return align(levels[0], boxes, scales[0])
    first = op.Constant(value_ints=[0])
    crops, order = [], []
    for level, (maps, scale) in enumerate(zip(levels, scales, strict=True)):
        own = op.Squeeze(op.NonZero(op.Equal(owners, op.Constant(value_int=level))), first)
        crops.append(align(maps, op.Gather(boxes, own, axis=0), scale))
        order.append(own)
    count = op.Shape(boxes, start=0, end=1)
    places = op.Range(op.Constant(value_int=0), op.Squeeze(count, first), op.Constant(value_int=1))
    places = op.ScatterElements(
        places, op.Concat(*order, axis=0), places, axis=0
    )  # the inverse of the order
    return op.Gather(op.Concat(*crops, axis=0), places, axis=0)


# One mask at a time: a map of all masks in float32 would need gigabytes on a photograph.
AXIS = """
    {axis}sides = Slice (box, {side}, {side_end})
    {axis}side = Squeeze ({axis}sides)
    {axis}_centres = Range (half, {axis}side, one)
    {axis}low = Slice (box, {low}, {low_end})
    {axis}high = Slice (box, {high}, {high_end})
    {axis}range = Sub ({axis}high, {axis}low)
    {axis}from_low = Sub ({axis}_centres, {axis}low)
    {axis}share = Div ({axis}from_low, {axis}range)
    {axis}doubled = Mul ({axis}share, two)
    {axis}plain = Sub ({axis}doubled, one)
    {axis}infinite = IsInf ({axis}plain)
    {axis}unit = Where ({axis}infinite, zero, {axis}plain)
    {axis}shape = Shape <start: int = {dimension}, end: int = {dimension_end}> (map)
    {axis}count = Cast <to: int = 1> ({axis}shape)
    {axis}last = Sub ({axis}count, one)
    {axis}shifted = Add ({axis}unit, one)
    {axis}scaled = Mul ({axis}shifted, {axis}count)
    {axis}lowered = Sub ({axis}scaled, one)
    {axis}free = Div ({axis}lowered, two)
    {place}
    {axis}scalar = Squeeze ({axis}shape)
    {axis}integers = Range (izero, {axis}scalar, ione)
    {axis}samples = Cast <to: int = 1> ({axis}integers)
    {axis}column = Unsqueeze ({axis}at, axis_one)
    {axis}distance = Sub ({axis}column, {axis}samples)
    {axis}absolute = Abs ({axis}distance)
    {axis}rest = Sub (one, {axis}absolute)
    {axis}tent = Relu ({axis}rest)
    {axis}validcolumn = Unsqueeze ({axis}valid, axis_one)
    {axis}weights = Where ({axis}validcolumn, {axis}tent, zero)
"""
WITHIN = """
    {axis}above = Max ({axis}free, zero)
    {axis}at = Min ({axis}above, {axis}last)
    {axis}after = GreaterOrEqual ({axis}_centres, {axis}low)
    {axis}before = Less ({axis}_centres, {axis}high)
    {axis}valid = And ({axis}after, {axis}before)
"""
"""Pixels whose centres lie in the box; beyond the last sample the map has its value."""
BEYOND = """
    {axis}at = Identity ({axis}free)
    {axis}floor = Floor ({axis}low)
    {axis}start = Sub ({axis}floor, half)
    {axis}ceil = Ceil ({axis}high)
    {axis}end = Add ({axis}ceil, one)
    {axis}after = Greater ({axis}_centres, {axis}start)
    {axis}before = Less ({axis}_centres, {axis}end)
    {axis}valid = And ({axis}after, {axis}before)
"""
"""Pixels up to one beyond the box; beyond the last sample the map falls to zero."""
BODY = """
paste (float[h,w] map, float[6] box) => (bool[H,W] mask) {{
    zero = Constant <value = float {{0.0}}> ()
    half = Constant <value = float {{0.5}}> ()
    one = Constant <value = float {{1.0}}> ()
    two = Constant <value = float {{2.0}}> ()
    threshold = Constant <value = float {{{threshold}}}> ()
    izero = Constant <value = int64 {{0}}> ()
    ione = Constant <value = int64 {{1}}> ()
    axis_one = Constant <value = int64[1] {{1}}> ()
    i0 = Constant <value = int64[1] {{0}}> ()
    i1 = Constant <value = int64[1] {{1}}> ()
    i2 = Constant <value = int64[1] {{2}}> ()
    i3 = Constant <value = int64[1] {{3}}> ()
    i4 = Constant <value = int64[1] {{4}}> ()
    i5 = Constant <value = int64[1] {{5}}> ()
    i6 = Constant <value = int64[1] {{6}}> ()
    {y}
    {x}
    transposed = Transpose (xweights)
    rows = MatMul (yweights, map)
    values = MatMul (rows, transposed)
    mask = {compare} (values, threshold)
}}
"""


def paste_body(threshold: float, border: bool) -> Any:
    """Return the graph that pastes one map, for Scan."""
    place = WITHIN if border else BEYOND
    axes = {}
    for axis, low, dimension in (("x", 0, 1), ("y", 1, 0)):
        axes[axis] = AXIS.format(
            axis=axis,
            low=f"i{low}",
            low_end=f"i{low + 1}",
            high=f"i{low + 2}",
            high_end=f"i{low + 3}",
            side=f"i{low + 4}",
            side_end=f"i{low + 5}",
            dimension=dimension,
            dimension_end=dimension + 1,
            place=place.format(axis=axis),
        )
    compare = "Greater" if border else "GreaterOrEqual"
    text = BODY.format(threshold=repr(float(threshold)), compare=compare, **axes)
    return onnx_ir.from_proto(onnx.parser.parse_graph(text))


def paste(maps: Any, boxes: Any, height: Any, width: Any, threshold: float, border: bool) -> Any:
    one, zero = op.Constant(value_ints=[1]), op.Constant(value_ints=[0])
    # A Scan over nothing fails in onnxruntime: a map of zeros is pasted last and taken off.
    spare = op.ConstantOfShape(op.Concat(one, op.Shape(maps, start=1), axis=0))
    maps = op.Concat(maps, spare, axis=0)
    corners = op.Reshape(
        op.Constant(value_floats=[0.0, 0.0, 1.0, 1.0]), op.Constant(value_ints=[1, 4])
    )
    boxes = op.Concat(boxes, corners, axis=0)
    sides = [op.Reshape(op.Cast(side, to=onnx.TensorProto.FLOAT), one) for side in (width, height)]
    count = op.Concat(op.Shape(boxes, start=0, end=1), one, axis=0)
    windows = op.Concat(boxes, op.Expand(op.Concat(*sides, axis=0), count), axis=1)
    masks = op.Scan(maps, windows, num_scan_inputs=2, body=paste_body(threshold, border))
    return op.Slice(masks, zero, op.Constant(value_ints=[-1]), zero)


def translations() -> dict[Callable, Callable]:
    """Return the ONNX translation of each operator, for ``torch.onnx.export``."""
    own = torch.ops.mmlevelset
    return {own.nms.default: nms, own.roi_align.default: roi_align, own.paste.default: paste}
