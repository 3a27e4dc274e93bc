# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Warp, MuJoCo Warp, and the few kernels of our own that physics and rendering need."""
# mypy: disable-error-code="valid-type, misc"

try:
    import mujoco_warp as mjw
    import warp as wp
except ImportError as error:
    raise ImportError(f"MuJoCo Warp is missing ({error}); pip install 'apprentice[warp]'") from error

__all__ = ['find_unsound', 'mjw', 'put_back', 'unpack', 'wp']

_LARGEST = wp.constant(1e10)  # mjMAXVAL: beyond it MuJoCo calls a position or velocity bad


@wp.kernel(enable_backward=False)
def find_unsound(
    held: wp.array(dtype=wp.int32),
    qpos: wp.array2d(dtype=float),
    qvel: wp.array2d(dtype=float),
    unsound: wp.array(dtype=wp.int32),
):
    world = wp.tid()
    if held[world] != 0:
        return
    for i in range(qpos.shape[1]):
        if not wp.abs(qpos[world, i]) < _LARGEST:  # so written, it is true of NaN too
            unsound[world] = 1
    for i in range(qvel.shape[1]):
        if not wp.abs(qvel[world, i]) < _LARGEST:
            unsound[world] = 1


@wp.kernel(enable_backward=False)
def put_back(
    held: wp.array(dtype=wp.int32),
    unsound: wp.array(dtype=wp.int32),
    source: wp.array2d(dtype=float),
    target: wp.array2d(dtype=float),
):
    world, i = wp.tid()
    if held[world] != 0 or unsound[world] != 0:
        target[world, i] = source[world % source.shape[0], i]


@wp.kernel(enable_backward=False)
def unpack(packed: wp.array2d(dtype=wp.uint32), first: int, width: int, rgb: wp.array4d(dtype=wp.uint8)):
    """0xAARRGGBB, one word a pixel, to three bytes."""
    world, row, column = wp.tid()
    word = packed[world, first + row * width + column]
    rgb[world, row, column, 0] = wp.uint8((word >> wp.uint32(16)) & wp.uint32(255))
    rgb[world, row, column, 1] = wp.uint8((word >> wp.uint32(8)) & wp.uint32(255))
    rgb[world, row, column, 2] = wp.uint8(word & wp.uint32(255))
