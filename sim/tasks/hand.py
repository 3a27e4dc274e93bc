# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A hand with a parallel gripper as scripted experts move it: straight steps, above things when far."""

from __future__ import annotations

import numpy as np

from apprentice.sim.scene import Scene

UP = np.array([0.0, 0.0, 1.0])


class Hand:
    """Tool motion of one robot.

    Args:
        scene: of the robot; it must have a gripper.
        speed: largest tool speed asked for [m/s].

    Attributes:
        opened, closed: gripper joint positions of the open and the closed hand (m).
    """

    DOWN = np.array([[-1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])  # tool z points down, fingers along y

    def __init__(self, scene: Scene, speed: float = 0.22):
        if scene.gripper is None:
            raise ValueError(f'robot {scene.spec.name!r} has no gripper; this task needs one')
        self._kinematics, self._stride = scene.kinematics(), speed * scene.spec.action_dt
        self._gripper = scene.gripper
        joint = scene.spec.joints[scene.gripper]
        self.opened, self.closed = joint.upper, joint.lower

    def tip(self, state: np.ndarray) -> np.ndarray:
        """Tool position [3] (m) at a joint vector [dim]."""
        return self._kinematics.forward(np.delete(state, self._gripper))[0]

    def width(self, state: np.ndarray) -> float:
        """Gripper joint position in a joint vector [dim]."""
        return float(state[self._gripper])

    def move(self, state: np.ndarray, goal: np.ndarray, width: float, yaw: float = 0.0) -> np.ndarray:
        """Joint target [dim] one step closer to ``goal`` [3], tool down.

        Args:
            width: gripper position asked for.
            yaw: of the fingers about the vertical axis (rad).
        """
        joints = np.delete(state, self._gripper)
        tip, _ = self._kinematics.forward(joints)
        step = goal - tip
        target = tip + step * min(1.0, self._stride / max(float(np.linalg.norm(step)), 1e-9))
        solved = self._kinematics.inverse(joints, target, turned(self.DOWN, yaw))
        return np.insert(solved, self._gripper, width)

    def above(self, state: np.ndarray, goal: np.ndarray, height: float, aligned: float = 0.008) -> np.ndarray:
        """Next point [3] of an approach that stays ``height`` above ``goal`` until it is over it.

        Rises first when far aside and low, so that neighbours are not swept away; descends once the
        horizontal error is below ``aligned``, and goes on descending within twice that.
        """
        tip = self.tip(state)
        sideways = float(np.linalg.norm((goal - tip)[:2]))
        descending = sideways < 2.0 * aligned and tip[2] < goal[2] + height / 2
        if sideways <= aligned or descending:
            return goal
        over = goal + height * UP
        if sideways > 0.03 and tip[2] < over[2] - 0.015:
            return np.array([tip[0], tip[1], over[2]])
        return over


def turned(rotation: np.ndarray, yaw: float) -> np.ndarray:
    """A rotation matrix [3, 3] turned about the vertical axis by ``yaw`` (rad)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]]) @ rotation
