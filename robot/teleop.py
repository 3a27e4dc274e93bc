# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a person's device says, whatever the device: clutched, relative, stamped, dead-man held.

A device (gamepad, keyboard, leader arm, web page) gives :class:`TeleopCommand` s. Nothing moves unless the
dead-man is held; what moves is a speed or a difference, never a place in the room; a command that is old is
no command. :class:`~apprentice.robot.teleop_mapper.ClutchedMapper` turns commands into joint targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

# m/s of the tool driven by speeds, where its kinematics are known; ISO 10218 allows no more with a person
# beside the robot. A leader arm and driving joint by joint are bound by the speeds of the joints only.
LARGEST_SPEED = 0.25
# what a press of a button means beside motion; a command carries the presses since the one before
EVENTS = ('success', 'failure', 'discard', 'record', 'stop', 'toggle_gripper')


def _zeros() -> np.ndarray:
    return np.zeros(3)


@dataclass(frozen=True)
class TeleopCommand:
    """One state of a device.

    Attributes:
        stamp: when the device was in this state [s], on the wall clock; 0: the device does not say.
        held: the dead-man is held. Everything else counts only while it is, but for ``events``.
        clutch: the device is decoupled: the robot holds, and the person may reposition the device.
        linear: speed of the tool, float64 [3], m/s.
        angular: its angular velocity, float64 [3], rad/s.
        frame: what these two refer to: ``base`` (the robot's base frame) or ``tool``.
        joint_velocity: float64 [6], rad/s of the first joints of the arm, for a robot that is driven joint
            by joint; None: the device cannot.
        joints: positions of a leader in the units and the order of the robot file, float64 [dim], NaN where
            the leader has no such joint; None: no leader. They take the place of speeds.
        align: with ``joints``: the leader's positions are followed as they are, once no joint is further away
            than this (rad); None: only their changes since the dead-man was pressed are followed.
        gripper: speed of the gripper as a share of its limit, in [-1, 1]; positive opens.
        events: names out of :data:`EVENTS` that were pressed since the last command.
    """

    stamp: float
    held: bool
    clutch: bool = False
    linear: np.ndarray = field(default_factory=_zeros)
    angular: np.ndarray = field(default_factory=_zeros)
    frame: str = 'base'
    joint_velocity: np.ndarray | None = None
    joints: np.ndarray | None = None
    align: float | None = None
    gripper: float = 0.0
    events: frozenset[str] = frozenset()


class Chain(Protocol):
    """The kinematics of an arm, gripper excluded, in its base frame."""

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position [3] (m) and rotation matrix [3, 3] of the tool at joint positions [n] (rad)."""
        ...

    def jacobian(self, joints: np.ndarray) -> np.ndarray:
        """d(position, rotation vector) of the tool / d(joints), float64 [6, n]."""
        ...


def shaped(value: float, dead_zone: float, expo: float) -> float:
    """A stick's deflection in [-1, 1] with a dead zone and a curve: fine near the middle, full at the end.

    Args:
        dead_zone: deflections up to this are 0; beyond it the range is stretched to reach 1 again.
        expo: 0 is a straight line, 1 a cubic.

    A value that is not finite is 0.
    """
    if not np.isfinite(value):
        return 0.0
    size = min(abs(value), 1.0)
    if size <= dead_zone:
        return 0.0
    size = (size - dead_zone) / (1.0 - dead_zone)
    return float(np.copysign((1.0 - expo) * size + expo * size**3, value))


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix [3, 3] of a rotation vector [3] (rad), by Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def rotation_vector(matrix: np.ndarray) -> np.ndarray:
    """Rotation vector [3] (rad, at most pi long) of a rotation matrix [3, 3]."""
    axis = np.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    sine, cosine = float(np.linalg.norm(axis)) / 2, (float(np.trace(matrix)) - 1) / 2
    angle = float(np.arctan2(sine, cosine))
    if sine > 1e-6:
        return axis * (angle / (2 * sine))
    if cosine > 0:
        return axis / 2
    # half a turn: the axis is the column of (R + 1) / 2 that is longest
    square = (matrix + np.eye(3)) / 2
    column = square[:, int(np.argmax(np.diag(square)))]
    return angle * column / np.linalg.norm(column)


def shortened(vector: np.ndarray, length: float) -> np.ndarray:
    """The vector, no longer than ``length``."""
    norm = float(np.linalg.norm(vector))
    return vector if norm <= length else vector * (length / norm)
