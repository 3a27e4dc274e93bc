# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Joint targets that move the tool as a person asks: differential inverse kinematics by damped least squares.

Damping sets in where the arm is nearly singular, for the directions it is singular in (Nakamura and
Hanafusa 1986; Chiaverini 1997). The position goes first, the orientation gets what is left
(task priority, Nakamura 1987), so an arm of five joints still goes where it is sent.
"""

from __future__ import annotations

import numpy as np

from apprentice.robot.teleop import Chain, rotation_matrix, rotation_vector, shortened

_ITERATIONS = 8
_POSITION = (0.06, 0.06)  # singular value (m/rad) below which is damped, largest damping
_ROTATION = (0.15, 0.15)  # likewise, rad/rad
_REACHED_M, _REACHED_RAD = 1e-3, 5e-3  # a pose this near is reached


class ToolTracker:
    """Follows a pose that a person's speeds move, and goes nowhere else.

    Where the arm cannot go on (a joint at its limit, the end of its reach, a singularity) the wanted pose
    stays, so that the tool stops instead of sliding away, and the way back begins at once. If only the
    translation or only the rotation is possible, that is made. An arm of less than six joints keeps the
    position and turns as it has to.

    Args:
        chain: kinematics of the arm.
        lower, upper: joint limits [n].
        lead_m, lead_rad: largest distance of the wanted pose from the measured one.
    """

    def __init__(
        self, chain: Chain, lower: np.ndarray, upper: np.ndarray, lead_m: float, lead_rad: float
    ) -> None:
        self._chain, self._lower, self._upper = chain, lower, upper
        self._lead_m, self._lead_rad = lead_m, lead_rad
        self._free_to_turn = len(lower) < 6
        self._position, self._rotation = np.zeros(3), np.eye(3)

    def engage(self, joints: np.ndarray) -> None:
        """Begin at joint positions [n]: the wanted pose is where the tool is."""
        self._position, self._rotation = self._chain.forward(joints)

    def step(
        self,
        joints: np.ndarray,
        linear: np.ndarray,
        angular: np.ndarray,
        frame: str,
        measured: np.ndarray,
        dt: float,
        step: np.ndarray,
    ) -> np.ndarray:
        """The next joint target [n].

        Args:
            joints: the joint target before, within the limits [n].
            linear, angular: speed of the tool [3] m/s and rad/s in ``frame`` (``base`` or ``tool``).
            measured: joint positions [n].
            dt: seconds since the last step.
            step: largest change of each joint in this step [n]; all slow down together.
        """
        if frame == 'tool':
            linear, angular = self._rotation @ linear, self._rotation @ angular
        at, turned = self._chain.forward(measured)
        self._position = at + shortened(self._position - at, self._lead_m)
        lead = shortened(rotation_vector(self._rotation @ turned.T), self._lead_rad)
        self._rotation = rotation_matrix(lead) @ turned
        wanted = self._advance(joints, linear * dt, angular * dt, step)
        way = (joints if wanted is None else wanted) - joints
        return joints + way / max(1.0, float(np.max(np.abs(way) / step)))

    def _advance(
        self, joints: np.ndarray, shift: np.ndarray, turn: np.ndarray, step: np.ndarray
    ) -> np.ndarray | None:
        """Move the wanted pose as far as the arm can follow; the joints [n] that reach it, if any do."""
        still = np.zeros(3)
        tries = [(shift, turn)] if shift.any() or turn.any() else []
        tries += [(shift, still), (still, turn)] if shift.any() and turn.any() else []
        for shift, turn in [*tries, (still, still)]:
            share = 1.0
            for _ in range(2):  # the second time slower, so that no joint exceeds its speed
                position = self._position + share * shift
                rotation = rotation_matrix(share * turn) @ self._rotation
                found = self._solve(joints, position, rotation)
                if found is None:
                    break
                excess = float(np.max(np.abs(found - joints) / step))
                if excess <= 1.0 or share < 1.0:
                    self._position, self._rotation = position, rotation
                    if self._free_to_turn:
                        self._rotation = self._chain.forward(found)[1]
                    return found
                share = 0.95 / excess
        return None

    def _solve(self, joints: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> np.ndarray | None:
        """Joint positions [n] that reach a pose from near it; None if it cannot be reached from here."""
        before = np.inf
        for _ in range(_ITERATIONS):
            at, turned = self._chain.forward(joints)
            error = np.concatenate([position - at, rotation_vector(rotation @ turned.T)])
            off, turn = float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))
            left = off / _REACHED_M + (0.0 if self._free_to_turn else turn / _REACHED_RAD)
            if left < 0.05 or left > 0.8 * before:
                break
            before = left
            way = self._way(self._chain.jacobian(joints), joints, error)
            joints = np.clip(joints + np.clip(way, -0.3, 0.3), self._lower, self._upper)
        reached = off <= _REACHED_M and (self._free_to_turn or turn <= _REACHED_RAD)
        return joints if reached else None

    def _way(self, jacobian: np.ndarray, joints: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Change of the joints [n] towards the pose; those at a limit that would pass it stay."""
        free = np.ones(len(joints), bool)
        way = np.zeros(len(joints))
        for _ in range(3):
            place, turn = jacobian[:3] * free, jacobian[3:] * free
            inverse = damped_inverse(place, *_POSITION)
            way = inverse @ error[:3]
            left = turn - turn @ inverse @ place  # what turns the tool on the spot
            way = way + damped_inverse(left, *_ROTATION) @ (error[3:] - turn @ way)
            stuck = (joints >= self._upper - 1e-9) & (way > 0) | (joints <= self._lower + 1e-9) & (way < 0)
            if not np.any(stuck & free):
                break
            free &= ~stuck
        return way * free


def damped_inverse(matrix: np.ndarray, threshold: float, damping: float) -> np.ndarray:
    """Pseudo-inverse of a matrix [m, n] as [n, m], in which singular values below ``threshold`` are damped.

    No entry of its singular values exceeds about 1 / ``threshold``, and each goes to 0 with the singular
    value it belongs to: a direction in which the arm cannot move is left alone.
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    square = np.where(values < threshold, (1 - (values / threshold) ** 2) * damping**2, 0.0)
    inverse = np.divide(values, values**2 + square, out=np.zeros_like(values), where=values > 1e-12)
    return (right.T * inverse) @ left.T
