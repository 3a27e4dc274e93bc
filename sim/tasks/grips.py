# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How fingers from above take hold of a thing: turned to its sides, and with room beside it."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np

from apprentice.sim.tasks.hand import Hand
from apprentice.sim.tasks.things import square_yaw

LARGEST_YAW = 1.9  # rad; a hand turned further may meet its joint limits
FINGERS = (0.085, 0.035)  # m along and across the fingers' line: where a neighbour's centre is in their way
CROWDED = 10.0  # rad, what a neighbour in the way counts against a turn of the hand


class TurningHand(Hand):
    """A hand that also turns about the vertical axis."""

    def yaw(self, state: np.ndarray) -> float:
        """How far the fingers are turned (rad) at a joint vector [dim]; 0: they close along y."""
        rotation = self._kinematics.forward(np.delete(state, self._gripper))[1]
        return float(np.arctan2(-rotation[1, 0], -rotation[0, 0]))

    def grip_yaw(
        self, state: np.ndarray, position: np.ndarray, yaws: Iterable[float], others: Iterable[np.ndarray]
    ) -> float:
        """Of the turns of the hand that fit a thing, the one with room for the fingers, then the nearest.

        Args:
            position: of the thing [>= 2] (m).
            yaws: what fits, from :func:`fitting_yaws`.
            others: positions of its neighbours.
        """
        now, beside = self.yaw(state), [np.asarray(other[:2]) - position[:2] for other in others]

        def cost(yaw: float) -> float:
            along = np.array([-np.sin(yaw), np.cos(yaw)])
            across = np.array([np.cos(yaw), np.sin(yaw)])
            crowded = sum(abs(o @ along) < FINGERS[0] and abs(o @ across) < FINGERS[1] for o in beside)
            return CROWDED * crowded + abs(yaw - now)

        return min((yaw for yaw in yaws if abs(yaw) <= LARGEST_YAW), key=cost)


def rotation_matrix(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrix [3, 3] of a quaternion wxyz [4]."""
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, np.float64))
    return matrix.reshape(3, 3)


def fitting_yaws(quaternion: np.ndarray, axis: int | None = None) -> list[float]:
    """Turns of the hand (rad) at which its fingers meet the sides of a thing, within a full turn.

    Args:
        quaternion: orientation of the thing [4], wxyz.
        axis: its long axis, 0 to 2, which the fingers must not span; None for a cube. A thing that stands
            on its end is held like a cube.
    """
    first, period = square_yaw(quaternion), np.pi / 2
    if axis is not None:
        level = rotation_matrix(quaternion)[:2, axis]
        if np.linalg.norm(level) > 0.5:
            first, period = float(np.arctan2(level[1], level[0])), np.pi
    turns = int(np.ceil(2 * np.pi / period))
    return [first + number * period for number in range(-turns, turns + 1)]
