# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A scripted expert that takes a square peg, standing or lying, and puts it into a square hole."""

from __future__ import annotations

import mujoco
import numpy as np

from apprentice.sim.kinematics import rotation_error
from apprentice.sim.scene import Scene
from apprentice.sim.task import Expert
from apprentice.sim.tasks.grips import rotation_matrix
from apprentice.sim.tasks.hand import UP, Hand, turned
from apprentice.sim.tasks.things import named_colour


class PosingHand(Hand):
    """A hand that also takes other directions than straight down."""

    def __init__(self, scene: Scene, speed: float = 0.22):
        super().__init__(scene, speed)
        self.action_dt = scene.spec.action_dt

    def pose(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position [3] (m) and rotation matrix [3, 3] of the tool; its third column points to the tip."""
        return self._kinematics.forward(np.delete(state, self._gripper))

    def move_to(
        self, state: np.ndarray, position: np.ndarray, rotation: np.ndarray, width: float
    ) -> np.ndarray:
        """Joint target [dim] one step and one turn closer to a pose: position [3] (m), rotation [3, 3]."""
        tip, frame = self.pose(state)
        step = _limited(position - tip, self._stride)
        turn = _limited(rotation_error(frame, rotation), 2.0 * self.action_dt)
        joints = np.delete(state, self._gripper)
        solved = self._kinematics.inverse(joints, tip + step, turned_about(turn) @ frame)
        return np.insert(solved, self._gripper, width)

    def reached(self, state: np.ndarray, position: np.ndarray, rotation: np.ndarray) -> bool:
        """Whether the tool is at a pose, to 8 mm across the fingers, 14 mm otherwise, and 0.1 rad."""
        tip, frame = self.pose(state)
        away = rotation.T @ (position - tip)
        crooked = float(np.linalg.norm(rotation_error(frame, rotation)))
        return bool(np.all(np.abs(away) < [0.014, 0.008, 0.014]) and crooked < 0.1)


class InsertExpert(Expert):
    """Grasp, lift, turn upright, carry, lower, let go; decides from the state alone.

    What is held is steered by its own pose: the peg moves by a small step and turn towards where it belongs,
    and the hand, wherever it holds the peg, moves along.

    Args:
        half_width, half_length: of the peg (m).
        depth: of the hole (m); stand and other hole are as deep.
        clearance: of the peg in the hole, on every side (m).
    """

    GRIP = 0.02  # m, from the peg's centre towards its upper end
    HOVER = 0.06  # m, above the grip
    CARRY = 0.02  # m, of the peg's lower end above the walls
    LEAN, SHALLOW = 0.96, 0.0065  # rad, m, of the hand that grasps a lying peg
    SPEED, TURN = 0.18, 1.0  # m/s, rad/s, of the held peg

    def __init__(
        self, hand: PosingHand, half_width: float, half_length: float, depth: float, clearance: float
    ):
        self._hand = hand
        self._half_width, self._half_length = half_width, half_length
        self._depth, self._clearance = depth, clearance

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        hand, hole, peg = self._hand, objects[f'{named_colour(task)}_hole'][:3], objects['peg']
        tip, frame = hand.pose(state)
        centre, axes = peg[:3], rotation_matrix(peg[3:])
        axis = self._upper_end(axes[:, 2], centre)
        aside = float(np.linalg.norm((centre - hole)[:2]))
        bottom = centre[2] - self._half_length * axis[2]
        if aside < 2 * self._clearance and axis[2] > 0.97 and bottom < 0.004:
            return hand.move_to(state, tip - 0.05 * frame[:, 2], frame, hand.opened)  # it is in: let go

        along = float(np.clip((tip - centre) @ axis, 0.0, self._half_length - 0.01))
        close = float(np.linalg.norm(centre + along * axis - tip)) < 0.012
        width = hand.width(state)
        if close and 0.6 * self._half_width < width < 1.3 * self._half_width:
            return self._carry(state, centre, axes, axis, hole, hand.closed)
        grip, rotation = self._grip(centre, axes, axis)
        if hand.reached(state, grip, rotation) or (close and width < 0.6 * hand.opened):
            return hand.move_to(state, grip, rotation, hand.closed)
        return hand.move_to(state, hand.above(state, grip, self.HOVER), rotation, hand.opened)

    def _upper_end(self, axis: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """The peg's axis [3] towards its upper end; of a lying peg, towards the end away from the base."""
        if abs(axis[2]) > 0.3:
            return axis * np.sign(axis[2])
        return axis * (1.0 if axis[:2] @ centre[:2] >= 0 else -1.0)

    def _grip(self, centre: np.ndarray, axes: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where and how to hold the peg: tool position [3] and rotation [3, 3].

        A standing peg from above. A lying one with the hand leaning back, so far that the wrist still reaches
        once the peg stands and the hand leans forward.
        """
        point = centre + self.GRIP * axis
        if axis[2] > 0.7:
            yaw = (np.arctan2(axes[1, 0], axes[0, 0]) + np.pi / 4) % (np.pi / 2) - np.pi / 4
            return point, turned(self._hand.DOWN, yaw)
        ahead = axis * (1 - UP) / np.linalg.norm(axis[:2])
        across = np.cross(UP, ahead)
        pointing = -np.sin(self.LEAN) * ahead - np.cos(self.LEAN) * UP
        rotation = np.stack([np.cross(across, pointing), across, pointing], axis=1)
        return point - self.SHALLOW * pointing, rotation

    def _carry(
        self,
        state: np.ndarray,
        centre: np.ndarray,
        axes: np.ndarray,
        axis: np.ndarray,
        hole: np.ndarray,
        width: float,
    ) -> np.ndarray:
        """Joint target that moves the held peg up, over the hole, and in."""
        hand = self._hand
        tip, frame = hand.pose(state)
        sideways = (hole - centre) * (1 - UP)
        aside = float(np.linalg.norm(sideways))
        bottom = centre[2] - self._half_length * axis[2]
        turn = rotation_between(axis, UP)
        turn = turn + self._straight(turn, axes, axis, frame) * UP
        crooked = float(np.linalg.norm(turn))
        high = self._half_length + self._depth + self.CARRY
        inside = aside < 2 * self._clearance and bottom < self._depth
        if inside or (aside < 0.6 * self._clearance and crooked < 0.04):
            goal = hole + (self._half_length - 0.001) * UP
        elif aside > 0.01 and bottom < self._depth + 0.006:
            goal = np.array([centre[0], centre[1], high])  # out of whatever it stands in, straight up
            turn = np.zeros(3) if axis[2] > 0.7 else turn * (centre[2] > self._half_length + 0.02)
        else:
            goal = np.array([hole[0], hole[1], hole[2] + high])
        dt = hand.action_dt
        step = _limited(goal - centre, self.SPEED * dt)
        rotation = turned_about(_limited(turn, self.TURN * dt))
        return hand.move_to(state, centre + step + rotation @ (tip - centre), rotation @ frame, width)

    def _straight(self, turn: np.ndarray, axes: np.ndarray, axis: np.ndarray, frame: np.ndarray) -> float:
        """Turn (rad) about the vertical that then squares the peg with the hole; the peg fits four ways."""
        upright = turned_about(turn)
        side = upright @ axes[:, 0]
        yaw = -np.arctan2(side[1], side[0])
        choices = (yaw + np.arange(4) * np.pi / 2 + np.pi) % (2 * np.pi) - np.pi
        pointing = upright @ frame[:, 2]
        if np.linalg.norm(pointing[:2]) < 0.7:  # a hand from above: the shortest way
            return float(choices[np.argmin(np.abs(choices))])
        heading = np.arctan2(pointing[1], pointing[0])  # a level hand reaches best straight out
        return float(choices[np.argmin(np.abs((heading + choices + np.pi) % (2 * np.pi) - np.pi))])


def rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Rotation vector [3] (rad) of the shortest turn of one unit vector [3] into another."""
    axis = np.cross(start, end)
    sine = float(np.linalg.norm(axis))
    return axis / max(sine, 1e-9) * np.arctan2(sine, float(start @ end))


def turned_about(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix [3, 3] of a rotation vector [3] (rad)."""
    angle = float(np.linalg.norm(vector))
    quaternion = np.empty(4)
    mujoco.mju_axisAngle2Quat(quaternion, vector / max(angle, 1e-9), angle)
    return rotation_matrix(quaternion)


def _limited(vector: np.ndarray, length: float) -> np.ndarray:
    """A vector shortened to at most ``length``."""
    return vector * min(1.0, length / max(float(np.linalg.norm(vector)), 1e-9))
