# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""When a parallel gripper holds something, told from positions: the same in every physics engine."""

from __future__ import annotations

import numpy as np

from apprentice.sim.view import View


def grasped(
    view: View, position: np.ndarray, half_width: float | np.ndarray, reach: float = 0.025
) -> np.ndarray:
    """Whether the fingers are closed on an object, bool [N].

    Args:
        position: of the object's centre [N, 3] (m); of a long one's nearest point, see :func:`nearest`.
        half_width: of the object where it is held (m), one or [N]; an empty hand closes further.
        reach: largest distance of that point from the tool point (m).
    """
    near = np.linalg.norm(view.tip - position, axis=1) < reach
    return near & (view.opening > 0.6 * half_width) & (view.opening < 1.3 * half_width)


def nearest(point: np.ndarray, centre: np.ndarray, axis: np.ndarray, half_length: np.ndarray) -> np.ndarray:
    """Points [N, 3] of line segments that are nearest to ``point``: a long thing may be held anywhere.

    Args:
        point: [N, 3] (m).
        centre: of the segments [N, 3] (m).
        axis: their directions [N, 3], of length 1.
        half_length: of the segments [N] (m); 0 gives the centre.
    """
    along = np.clip(np.sum((point - centre) * axis, axis=1), -half_length, half_length)
    return centre + along[:, None] * axis
