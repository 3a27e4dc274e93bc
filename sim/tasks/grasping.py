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
        position: of the object's centre [N, 3] (m).
        half_width: of the object where it is held (m), one or [N]; an empty hand closes further.
        reach: largest distance of the object's centre from the tool point (m).
    """
    near = np.linalg.norm(view.tip - position, axis=1) < reach
    return near & (view.opening > 0.6 * half_width) & (view.opening < 1.3 * half_width)
