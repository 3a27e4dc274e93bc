# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From what a person's device says to joint targets that the gate need not cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice.robot.spec import RobotSpec
from apprentice.robot.teleop import LARGEST_SPEED, Chain, TeleopCommand, shortened
from apprentice.robot.teleop_cartesian import ToolTracker

_LONGEST_STEP_S = 0.1  # a pause between two steps must not become a leap


@dataclass(frozen=True)
class MapperLimits:
    """What a person may ask of the robot, within the limits of the robot file.

    Attributes:
        speed_share: largest joint speed, as a share of ``velocity``. Below one half two commands that the
            gate hears within one control step still pass it uncut.
        jump_share: largest distance of a target from the measured joints, as a share of ``jump``.
        margin: distance kept from the position limits, rad; nothing at a gripper.
        linear, angular: largest speed of the tool, m/s and rad/s.
        lead_m, lead_rad: largest distance of the wanted tool pose from the measured one.
        smoothing_s: time constant that rounds off speeds; letting go of the dead-man stops at once.
    """

    speed_share: float = 0.5
    jump_share: float = 0.8
    margin: float = 0.02
    linear: float = LARGEST_SPEED
    angular: float = 1.5
    lead_m: float = 0.05
    lead_rad: float = 0.3
    smoothing_s: float = 0.05


class ClutchedMapper:
    """Turns commands into joint targets, relative to where the arm is measured when the dead-man is pressed.

    Whatever comes in, a target is finite, within the position limits, and no further from the one before than
    the velocity of the robot file allows. It goes no further from the measured joints than ``jump_share`` of
    the file's jump; an arm that was pushed further away than that jump is followed to where it is.

    Attributes:
        notice: why the arm does not follow, with what to do; '' when it does.
    """

    def __init__(self, spec: RobotSpec, chain: Chain | None, limits: MapperLimits | None = None) -> None:
        """``chain``: kinematics of the arm; None: speeds of the six axes drive the first six joints."""
        self.spec, self.limits = spec, limits or MapperLimits()
        self.notice = ''
        self.engaged = False
        self._arm = np.flatnonzero(~spec.gripper_mask)
        self._gripper = spec.gripper_mask
        lower, upper = spec.vector('lower'), spec.vector('upper')
        margin = np.where(self._gripper, 0.0, np.minimum(self.limits.margin, (upper - lower) / 4))
        self._lower, self._upper = lower + margin, upper - margin
        self._velocity, self._jump = spec.vector('velocity'), spec.vector('jump') * self.limits.jump_share
        self._tracker: ToolTracker | None = None
        if chain is not None and len(self._arm):
            self._tracker = ToolTracker(
                chain,
                self._lower[self._arm],
                self._upper[self._arm],
                self.limits.lead_m,
                self.limits.lead_rad,
            )
        self._target = spec.vector('home')
        self._smooth = np.zeros(12)  # linear, angular, six joints
        self._leader: np.ndarray | None = None  # where the leader was when it was coupled
        self._coupled = np.zeros(spec.dim)  # and the target then
        self._following = False
        self._goal: np.ndarray | None = None  # of the gripper, after a toggle

    @property
    def cartesian(self) -> bool:
        """Whether speeds move the tool; else they move joints."""
        return self._tracker is not None

    def engage(self, measured: np.ndarray, setpoint: np.ndarray | None = None) -> np.ndarray:
        """Begin at the measured joints [dim]; returns them as the first target.

        ``setpoint``: what was commanded last. A gripper begins there: one that holds something is measured
        wider than it was told, and told what is measured it would let go.
        """
        start = np.array(measured, np.float64)
        if setpoint is not None and np.all(np.isfinite(setpoint)):
            near = np.abs(setpoint - start) <= self._jump
            start = np.where(self._gripper & near, setpoint, start)
        self._target = np.clip(start, self._lower, self._upper)
        self.engaged, self._goal = True, None
        self._recouple()
        return self._target.copy()

    def disengage(self) -> None:
        """The dead-man was let go."""
        self.engaged, self.notice = False, ''

    def toggle_gripper(self) -> None:
        """Send the gripper to its other end; a speed takes over from this."""
        middle = (self._lower + self._upper) / 2
        self._goal = np.where(self._target > middle, self._lower, self._upper) if self.engaged else None

    def step(self, command: TeleopCommand, measured: np.ndarray, dt: float) -> np.ndarray:
        """The next target [dim] (rad, gripper m).

        Args:
            measured: joint positions [dim], finite.
            dt: seconds since the last step.
        """
        if not self.engaged:
            self.engage(measured)
        dt = float(np.clip(dt, 0.0, _LONGEST_STEP_S)) if np.isfinite(dt) else 0.0
        if np.any((np.abs(self._target - measured) > self.spec.vector('jump')) & ~self._gripper):
            self._target = np.clip(measured, self._lower, self._upper)
            self._recouple()
        step = self._velocity * self.limits.speed_share * dt
        before = self._target.copy()
        if command.clutch:
            self._recouple()
        elif command.joints is not None:
            self._follow(command, step)
        else:
            self._move(command, measured, dt, step)
        self._target = np.clip(self._target, measured - self._jump, measured + self._jump)
        self._target = np.clip(self._target, before - self._velocity * dt, before + self._velocity * dt)
        self._target = np.clip(self._target, self._lower, self._upper)
        return self._target.copy()

    def _recouple(self) -> None:
        """What comes next is relative to here."""
        self._leader, self._following = None, False
        self._smooth[:] = 0.0
        self._coupled = self._target.copy()
        if self._tracker is not None:
            self._tracker.engage(self._target[self._arm])

    def _move(self, command: TeleopCommand, measured: np.ndarray, dt: float, step: np.ndarray) -> None:
        """By speeds: of the tool where its kinematics are known, of joints where they are not."""
        joints = np.zeros(6) if command.joint_velocity is None else command.joint_velocity
        asked = np.concatenate([command.linear, command.angular, joints, [command.gripper]])
        asked = np.clip(np.where(np.isfinite(asked), asked, 0.0), -10.0, 10.0)
        asked[:3] = shortened(asked[:3], self.limits.linear)
        asked[3:6] = shortened(asked[3:6], self.limits.angular)
        share = dt / (dt + self.limits.smoothing_s) if dt else 0.0
        self._smooth += share * (asked[:12] - self._smooth)
        speeds = self._smooth
        if self._tracker is not None:
            self._target[self._arm] = self._tracker.step(
                self._target[self._arm],
                speeds[:3],
                speeds[3:6],
                command.frame,
                measured[self._arm],
                dt,
                step[self._arm] + 1e-12,
            )
        else:
            driven = self._arm[:6]
            way = np.clip(speeds[6:][: len(driven)] * dt, -step[driven], step[driven])
            self._target[driven] += way
        reach = 0.9 * self._velocity * dt
        if asked[12] != 0.0:
            self._goal = None
        way = np.clip(asked[12], -1, 1) * reach
        if self._goal is not None:
            way = np.clip(self._goal - self._target, -reach, reach)
        self._target = np.where(self._gripper, self._target + way, self._target)
        self.notice = ''

    def _follow(self, command: TeleopCommand, step: np.ndarray) -> None:
        """By a leader's joints."""
        given = np.asarray(command.joints, np.float64)
        known = np.isfinite(given) if given.shape == (self.spec.dim,) else np.zeros(self.spec.dim, bool)
        if not np.any(known):
            self.notice = 'the leader gives no joint of this robot: check the joint names in its mapping'
            return
        given = np.where(known, given, self._target)
        if command.align is None:
            if self._leader is None:
                self._leader, self._coupled = given.copy(), self._target.copy()
            wanted = self._coupled + (given - self._leader)
            wanted = np.where(self._gripper, given, wanted)  # a trigger has no place to be relative to
        else:
            away = np.abs(given - self._target) * known * ~self._gripper
            worst = int(np.argmax(away))
            if not self._following and away[worst] > command.align:
                name = self.spec.joint_names[worst]
                self.notice = f'leader {name} is {away[worst]:.2f} rad off; move it closer'
                return
            self._following = True
            wanted = given
        wanted = np.clip(wanted, self._lower, self._upper)
        self.notice = ''
        way = np.where(known, wanted - self._target, 0.0)
        reach = np.where(self._gripper, 0.9 * step / self.limits.speed_share, step)
        self._target = self._target + np.clip(way, -reach, reach)
