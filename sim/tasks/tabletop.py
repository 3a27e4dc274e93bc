# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Where a start puts what is moved, the place it belongs to, and a place like it that is not meant."""

from __future__ import annotations

import numpy as np

Corners = tuple[tuple[float, float], tuple[float, float]]


def apart(
    rng: np.random.Generator, area: Corners, level: float, room: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places [2] (m) of a thing, of its goal, and of another goal.

    Args:
        area: two corners (m).
        level: difficulty in [0, 1]; the goal is further away the higher it is.
        room: smallest distance (m) of the other goal from both.
    """
    low, high = np.array(area)
    while True:
        thing, goal, other = rng.uniform(low, high, (3, 2))
        way = np.linalg.norm(thing - goal)
        beside = min(np.linalg.norm(thing - other), np.linalg.norm(goal - other))
        if 0.095 < way < 0.11 + 0.2 * level and beside > room:
            return thing, goal, other
