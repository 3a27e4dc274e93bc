# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Following an action chunk at the control rate: shared by the gate and the in-process rollouts."""

from __future__ import annotations

import math

import numpy as np

from apprentice.robot.types import ActionChunk

_EPSILON = 1e-6  # stamps are sums of floats; a row that is due within a microsecond is due


def row_at(chunk: ActionChunk, now: float) -> int | None:
    """Index of the row being approached at time ``now`` [s], or None once the chunk is over.

    Row ``i`` is the target at ``chunk.stamp + (i + 1) * dt`` and is approached during the ``dt`` before.
    Rows that were due while the chunk was being planned are skipped, which is how inference delay is
    compensated.
    """
    row = max(0, math.floor((now - chunk.stamp) / chunk.dt + _EPSILON))
    return row if row < chunk.horizon else None


def next_setpoint(
    chunk: ActionChunk, setpoint: np.ndarray, now: float, period: float
) -> tuple[np.ndarray, int] | None:
    """The setpoint to command at ``now`` so that the chunk's row is reached on its time.

    Linear interpolation from the present ``setpoint`` [dim], whatever produced it: chunks merge without
    a jump of their own. ``period`` is the control period [s]. Returns (setpoint [dim], row index), or
    None once the chunk is over.
    """
    row = row_at(chunk, now)
    if row is None:
        return None
    remaining = chunk.stamp + (row + 1) * chunk.dt - now
    share = min(1.0, period / max(remaining, _EPSILON))
    if share > 1.0 - _EPSILON:
        share = 1.0
    return setpoint + (chunk.actions[row] - setpoint) * share, row
