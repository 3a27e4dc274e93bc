# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A leader arm: the joint states of a second arm, whatever its driver; another device is its dead-man."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from apprentice.nodes import qos
from apprentice.nodes.runtime import StartupError
from apprentice.nodes.teleop_devices.device import Deliver, Freshness, TopicWatch, options_of
from apprentice.robot.parts import load_part
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.spec import RobotSpec
from apprentice.robot.teleop import TeleopCommand
from apprentice.robot.teleop_mapping import DeviceMapping, MappingError


@dataclass(frozen=True)
class LeaderJoint:
    """How a joint of the robot follows: ``scale`` * leader + ``offset``; a scale of -1 turns the sign round.

    ``leader``: name in the leader's joint states; '' for the same name. ``closed`` and ``opened``, for a
    gripper: the leader's positions that close and open it, instead of scale and offset.
    """

    leader: str = ''
    scale: float = 1.0
    offset: float = 0.0
    closed: float | None = None
    opened: float | None = None


@dataclass(frozen=True)
class LeaderOptions:
    """Options of a leader's mapping.

    Attributes:
        topic: the leader's joint states.
        buttons: mapping of the device that has the dead-man and the buttons; its motions are not used.
        align: largest distance of any joint at which the leader is followed as it stands (rad); until then
            the robot holds. null: the robot follows the leader's movements from wherever both are.
        joints: joint of the robot file -> :class:`LeaderJoint`; those that are missing have the same name.
    """

    topic: str = 'leader/joint_states'
    buttons: str = 'joy'
    align: float | None = 0.3
    joints: Any = None


class JointTable:
    """From a leader's joint states to positions of the robot. Raises StartupError naming the mapping."""

    def __init__(self, spec: RobotSpec, joints: Any, where: str) -> None:
        if not isinstance(joints or {}, dict):
            raise StartupError(f'{where}: options.joints maps joints of the robot, got {joints!r}')
        given = joints or {}
        unknown = sorted(set(given) - set(spec.joint_names))
        if unknown:
            raise StartupError(
                f'{where}: robot {spec.name!r} has no joint {unknown}; it has: {list(spec.joint_names)}'
            )
        self._rules = []
        for joint in spec.joints:
            try:
                rule = from_dict(LeaderJoint, given.get(joint.name, {}), f'options.joints.{joint.name}')
            except SettingsError as error:
                raise StartupError(f'{where}: {error}') from None
            scale, offset = rule.scale, rule.offset
            if rule.closed is not None and rule.opened is not None:
                if rule.closed == rule.opened:
                    raise StartupError(
                        f'{where}: options.joints.{joint.name}: closed and opened are the same'
                    )
                scale = (joint.upper - joint.lower) / (rule.opened - rule.closed)
                offset = joint.lower - scale * rule.closed
            self._rules.append((rule.leader or joint.name, scale, offset))

    def positions(self, message: JointState) -> np.ndarray:
        """float64 [dim] in the units of the robot file; NaN for a joint that the leader does not have."""
        at = dict(zip(message.name, message.position))
        return np.array([scale * at.get(name, np.nan) + offset for name, scale, offset in self._rules])


class LeaderArm:
    """The person moves the leader while the dead-man is held.

    A leader that falls silent is let go of like any other device: what counts is the older of the two, the
    leader's last message and the buttons' last.
    """

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver) -> None:
        self._options = options_of(mapping, LeaderOptions)
        self._mapping, self._deliver, self._logger = mapping, deliver, node.get_logger()
        where = f'mapping {mapping.name}'
        self._table = JointTable(node.spec, self._options.joints, where)  # type: ignore[attr-defined]
        try:
            buttons = DeviceMapping.load(self._options.buttons)
        except MappingError as error:
            raise StartupError(f'{where}: options.buttons: {error}') from None
        self._fresh, self._watch = Freshness(node, mapping), TopicWatch(node, self._options.topic)
        self._joints: np.ndarray | None = None
        self._heard_at = -1e9
        self._buttons = load_part(buttons.device)(node, buttons, self._on_buttons)
        node.create_subscription(JointState, self._options.topic, self._on_leader, qos.SENSOR)

    def _on_leader(self, message: JointState) -> None:
        if self._fresh.stamp(message.header) is not None and len(message.position) >= len(message.name):
            self._joints, self._heard_at = self._table.positions(message), time.monotonic()

    def _on_buttons(self, command: TeleopCommand | None) -> None:
        # a held dead-man counts only with a leader that lives
        silent = time.monotonic() - self._heard_at > self._mapping.timeout_s
        if command is None or (command.held and silent):
            if command is not None:
                self._logger.warning(
                    f'{self._mapping.name}: nothing is heard on {self._options.topic}; start its driver, '
                    'then let the dead-man go and press it again',
                    throttle_duration_sec=2.0,
                )
            self._deliver(None)
            return
        self._deliver(
            TeleopCommand(
                stamp=command.stamp,
                held=command.held,
                clutch=command.clutch,
                joints=self._joints,
                align=self._options.align,
                events=command.events,
            )
        )

    def status(self) -> str:
        return self._watch.missing() or self._buttons.status()

    def close(self) -> None:
        self._buttons.close()
