# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a policy was trained for. Saved with its weights; loading for another robot is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from apprentice.robot.normalize import Statistics, StatisticsError
from apprentice.robot.spec import RobotSpec


class PolicyMismatch(ValueError):
    """The weights do not fit the robot; the message lists every difference."""


@dataclass(frozen=True)
class PolicySpec:
    """The contract between weights and robot.

    Attributes:
        robot: name of the embodiment.
        joints: names, in the order of state and action vectors.
        relative: per joint, whether the action is learned relative to the chunk's own measured state.
        cameras: name -> (height, width) in pixels.
        horizon: rows of a chunk, H.
        action_dt: seconds between rows.
        state, action: statistics of the state and of the (relative) action.
        action_kind: what a column of a chunk is.
        gripper: lower and upper limit of each gripper joint (m, or the robot's unit), so that a gripper of
            another scale or sign is refused. Empty in files that were written before this was kept.
    """

    robot: str
    joints: tuple[str, ...]
    relative: tuple[bool, ...]
    cameras: dict[str, tuple[int, int]]
    horizon: int
    action_dt: float
    state: Statistics
    action: Statistics
    action_kind: str = 'joint_position'
    gripper: tuple[tuple[float, float], ...] = ()

    @property
    def dim(self) -> int:
        return len(self.joints)

    def blank_images(self, count: int) -> dict[str, np.ndarray]:
        """``count`` black pictures of every camera, uint8 [count, H, W, 3]."""
        return {name: np.zeros((count, *size, 3), np.uint8) for name, size in self.cameras.items()}

    def differences(self, robot: RobotSpec) -> list[str]:
        """Every way in which ``robot`` is not what the weights were trained for."""
        found = []
        if robot.name != self.robot:
            found.append(f'robot is {robot.name!r}, weights are for {self.robot!r}')
        if robot.joint_names != self.joints:
            found.append(f'joints are {list(robot.joint_names)}, weights expect {list(self.joints)}')
        elif tuple(not g for g in robot.gripper_mask) != self.relative:
            found.append('another joint is the gripper than in training')
        if self.gripper and gripper_ranges(robot) != self.gripper:
            found.append(f'gripper moves in {gripper_ranges(robot)}, weights expect {self.gripper}')
        if self.action_kind != 'joint_position':
            found.append(f'actions are of kind {self.action_kind!r}, the robot takes joint_position')
        if abs(robot.action_dt - self.action_dt) > 1e-9:
            found.append(f'action_dt is {robot.action_dt} s, weights expect {self.action_dt} s')
        present = {camera.name: (camera.height, camera.width) for camera in robot.cameras}
        for name, size in self.cameras.items():
            if name not in present:
                found.append(f'camera {name!r} is missing')
            elif present[name] != tuple(size):
                found.append(f'camera {name!r} is {present[name]}, weights expect {tuple(size)}')
        return found

    def require(self, robot: RobotSpec) -> None:
        """Raise PolicyMismatch naming every difference between ``robot`` and the weights."""
        found = self.differences(robot)
        if found:
            raise PolicyMismatch(
                'these weights do not fit this robot: '
                + '; '.join(found)
                + '. Pass weights trained for it (apprentice train bc) or correct the robot file'
            )

    def to_dict(self) -> dict[str, Any]:
        data = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        statistics = {'state': self.state.to_dict(), 'action': self.action.to_dict()}
        return {**data, **statistics, 'statistics_sha256': _digest(statistics)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PolicySpec:
        """Read and check. Raises StatisticsError or ValueError for what is missing."""
        missing = [f.name for f in dataclasses.fields(cls) if f.name not in data and f.name != 'gripper']
        if missing:
            raise ValueError(f'policy specification lacks {missing}')
        joints = tuple(data['joints'])
        state = Statistics.from_dict(data['state'], joints, 'state')
        action = Statistics.from_dict(data['action'], joints, 'action')
        recorded = data.get('statistics_sha256')
        if recorded and recorded != _digest({name: data[name] for name in ('state', 'action')}):
            raise StatisticsError(
                'the normalisation statistics were changed since they were computed (sha256 differs); '
                'copy the checkpoint again, or train again'
            )
        return cls(
            robot=data['robot'],
            joints=joints,
            relative=tuple(bool(r) for r in data['relative']),
            cameras={name: (int(size[0]), int(size[1])) for name, size in data['cameras'].items()},
            horizon=int(data['horizon']),
            action_dt=float(data['action_dt']),
            state=state,
            action=action,
            action_kind=data['action_kind'],
            gripper=tuple((float(low), float(high)) for low, high in data.get('gripper', ())),
        )


def gripper_ranges(robot: RobotSpec) -> tuple[tuple[float, float], ...]:
    """Lower and upper limit of each gripper joint of a robot."""
    return tuple((joint.lower, joint.upper) for joint in robot.joints if joint.gripper)


def _digest(statistics: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(statistics, sort_keys=True).encode()).hexdigest()
