# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Joint limits of the setpoint: finite, position, velocity, distance from the measured position."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from apprentice.robot.spec import RobotSpec

# Values equal ExecutedCommand.msg.
CLAMP_POSITION = 1
CLAMP_VELOCITY = 2
CLAMP_JUMP = 4
CLAMP_NONFINITE = 8
CLAMP_NAMES = {
    CLAMP_POSITION: 'position',
    CLAMP_VELOCITY: 'velocity',
    CLAMP_JUMP: 'jump',
    CLAMP_NONFINITE: 'nonfinite',
}

_EPSILON = 1e-6  # chunks travel as float32: a limit may be exceeded by its rounding without being clamped


class Clamped(NamedTuple):
    """A permitted setpoint, float64 [dim] (rad, gripper m), and why it differs from what was asked."""

    value: np.ndarray
    bits: int


class Limits:
    """Clamps a requested joint target to what the robot file permits within one control period.

    Order: not finite (rejected as a whole: the setpoint stays), position, velocity of the setpoint,
    distance of the setpoint from the measured position (``jump``). Whatever comes in, the result is
    finite, inside the position limits, and at most ``velocity * period`` from the present setpoint;
    where that conflicts with ``jump`` (the arm was pushed away), the setpoint walks back towards the
    arm at the velocity limit.
    """

    def __init__(self, spec: RobotSpec, period: float):
        """``period`` is the control period [s]."""
        self.lower, self.upper = spec.vector('lower'), spec.vector('upper')
        self.step = spec.vector('velocity') * period
        self.jump = spec.vector('jump')

    def inside(self, position: np.ndarray) -> np.ndarray:
        """The nearest position within the position limits, [dim]."""
        return np.clip(position, self.lower, self.upper)

    def clamp(
        self, target: np.ndarray, setpoint: np.ndarray, measured: np.ndarray, scale: float = 1.0
    ) -> Clamped:
        """The setpoint to command instead of ``target``; all arguments are float64 [dim].

        ``setpoint`` is what is commanded now and lies within the position limits; ``measured`` is
        finite. ``scale`` in (0, 1] scales the velocity limit (reduced speed during a reset).
        """
        if target.shape != setpoint.shape or not np.all(np.isfinite(target)):
            return Clamped(setpoint.copy(), CLAMP_NONFINITE)
        step = self.step * scale
        bits = 0
        inside = self.inside(target)
        if np.any(np.abs(inside - target) > _EPSILON):
            bits |= CLAMP_POSITION
        slow = np.clip(inside, setpoint - step, setpoint + step)
        if np.any(np.abs(slow - inside) > _EPSILON):
            bits |= CLAMP_VELOCITY
        near = np.clip(slow, measured - self.jump, measured + self.jump)
        if np.any(np.abs(near - slow) > _EPSILON):
            bits |= CLAMP_JUMP
        # following the measured position must break neither the position nor the velocity limit
        value = np.clip(self.inside(near), setpoint - step, setpoint + step)
        return Clamped(value, bits)

    def far(self, setpoint: np.ndarray, measured: np.ndarray) -> bool:
        """Whether any joint's setpoint is further than ``jump`` from its measured position."""
        return bool(np.any(np.abs(setpoint - measured) > self.jump))

    def excess(self, target: np.ndarray, value: np.ndarray) -> float:
        """How much of a request was cut, largest joint, as a share of that joint's ``jump``."""
        return float(np.max(np.abs(target - value) / self.jump))
