# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Takes out of an exported image tower what computes nothing; onnxruntime's own optimiser leaves it in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def simplify(path: Path) -> None:
    """Rewrite a graph without pools over one pixel, and with the scale of the pixels in the first weights.

    CLIP's ResNets (arXiv 2103.00020) have such a pool where a stage keeps the resolution. Both are whole
    passes over large maps, a tenth of the time of a small tower; the results are equal up to rounding.
    """
    import onnx

    model = onnx.load(str(path))
    for node in list(model.graph.node):
        if node.op_type == 'AveragePool' and _of_one_pixel(node):
            _bypass(model.graph, node, node.input[0])
        elif node.op_type == 'Mul':
            _into_convolution(model.graph, node)
    onnx.save(model, str(path))


def _of_one_pixel(node: Any) -> bool:
    """Kernel and stride 1, no padding."""
    given = {a.name: list(a.ints) for a in node.attribute if a.ints}
    ones = set(given.get('kernel_shape', [0])) | set(given.get('strides', [1]))
    return ones == {1} and not any(given.get('pads', [0]))


def _bypass(graph: Any, node: Any, source: str) -> None:
    for other in graph.node:
        for i, name in enumerate(other.input):
            if name == node.output[0]:
                other.input[i] = source
    graph.node.remove(node)


def _into_convolution(graph: Any, node: Any) -> None:
    """Multiply a convolution's weights by the factors of its input channels, where they are constants."""
    from onnx import numpy_helper

    constants = {each.name: each for each in graph.initializer}
    factors = [name for name in node.input if name in constants]
    users = [each for each in graph.node if node.output[0] in each.input]
    if len(factors) != 1 or len(users) != 1 or users[0].op_type != 'Conv':
        return
    factor, weights = numpy_helper.to_array(constants[factors[0]]), constants.get(users[0].input[1])
    shared = sum(users[0].input[1] in each.input for each in graph.node) > 1
    channels = factor.size
    if weights is None or shared or factor.shape != (1, channels, 1, 1):
        return
    array = numpy_helper.to_array(weights)
    if array.shape[1] != channels:  # a grouped convolution
        return
    scaled = (array * factor.reshape(1, channels, 1, 1)).astype(np.float32)
    weights.CopyFrom(numpy_helper.from_array(scaled, weights.name))
    _bypass(graph, node, next(name for name in node.input if name != factors[0]))
