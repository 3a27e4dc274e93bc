# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the processes of a :class:`~apprentice.sim.pool.WorldPool` share: arrays in one block of memory."""

from __future__ import annotations

from multiprocessing.shared_memory import SharedMemory

import numpy as np

from apprentice.robot.spec import RobotSpec


def layout(spec: RobotSpec, count: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Arrays in the shared memory: name -> (shape, dtype)."""
    arrays: dict[str, tuple[tuple[int, ...], str]] = {
        'targets': ((count, spec.dim), 'f8'),
        'joints': ((count, spec.dim), 'f8'),
        'velocities': ((count, spec.dim), 'f8'),
        'progress': ((count,), 'f8'),
        'success': ((count,), '?'),
        'failed': ((count,), '?'),
    }
    for camera in spec.cameras:
        arrays[f'frames/{camera.name}'] = ((count, camera.height, camera.width, 3), 'u1')
    return arrays


def map_arrays(memory: SharedMemory, spec: RobotSpec, count: int) -> dict[str, np.ndarray]:
    """The arrays of :func:`layout` in a block of shared memory."""
    arrays, offset = {}, 0
    for name, (shape, kind) in layout(spec, count).items():
        arrays[name] = np.ndarray(shape, kind, memory.buf, offset)
        offset += -(-arrays[name].nbytes // 64) * 64
    return arrays


def size_of(spec: RobotSpec, count: int) -> int:
    """Bytes of shared memory for :func:`map_arrays`."""
    sizes = (int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in layout(spec, count).values())
    return sum(-(-size // 64) * 64 for size in sizes)
