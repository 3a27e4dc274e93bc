# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The stream of a device that drives: every joint state is answered with a target from where the arm is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from apprentice_interfaces.msg import ExecutedCommand
from rclpy.node import Node
from sensor_msgs.msg import JointState

from apprentice.nodes import convert, qos
from apprentice.nodes.runtime import simulated_time
from apprentice.nodes.teleop_commands import HumanCommands
from apprentice.robot.spec import RobotSpec
from apprentice.robot.teleop import Chain, TeleopCommand
from apprentice.robot.teleop_mapper import ClutchedMapper


class TargetStream:
    """Engaged, it publishes the measured position, and moves from there once it may.

    Args:
        chain: the arm's kinematics; None: driven joint by joint.
        rate_hz: of joint states; targets follow no faster.
        driver: returns the newest command of the device that drives, None if none does, and whether the
            robot may move.
    """

    def __init__(
        self,
        node: Node,
        spec: RobotSpec,
        commands: HumanCommands,
        chain: Chain | None,
        rate_hz: float,
        driver: Callable[[], tuple[TeleopCommand | None, bool]],
    ) -> None:
        self._node, self._spec, self._commands, self._driver = node, spec, commands, driver
        self._logger, self._simulated = node.get_logger(), simulated_time(node)
        self.mapper = ClutchedMapper(spec, chain)
        self.joints: JointState | None = None  # the newest
        self.count = 0  # of targets published
        self._target = spec.vector('home')
        self._executed: ExecutedCommand | None = None
        self._stamp, self._period = -1e9, 1.0 / rate_hz
        node.create_subscription(JointState, spec.joint_states_topic, self.on_joints, qos.SENSOR)
        node.create_subscription(ExecutedCommand, 'gate/executed', self._on_executed, qos.SENSOR)

    def engage(self) -> None:
        """Begin where the arm is measured."""
        measured = self._measured()
        if measured is not None:
            executed = self._executed
            known = executed is not None and len(executed.executed) == self._spec.dim
            setpoint = np.array(executed.executed, np.float64) if executed is not None and known else None
            self._target = self.mapper.engage(measured, setpoint)
            self._stamp = convert.now(self._node)

    def first(self) -> None:
        """Give the gate a target before it is asked to follow this stream.

        Not in lock-step: there a target answers a joint state, and the newest has its answer.
        """
        if not self._simulated:
            self._publish(convert.now(self._node))

    def again(self) -> None:
        """Answer the newest joint state in lock-step, where the next one waits for it.

        The state of the gate that lets the robot move may have been overtaken by that joint state.
        """
        if self._simulated and self.joints is not None:
            self.on_joints(self.joints)

    def on_joints(self, message: JointState) -> None:
        """A joint state."""
        self.joints = message
        command, moves = self._driver()
        if command is None or not self.mapper.engaged:
            return
        stamp = convert.seconds(message.header.stamp)
        now = stamp if self._simulated else convert.now(self._node)
        dt = now - self._stamp
        if not self._simulated and 0 < dt < 0.7 * self._period:
            return  # a driver that is faster than the gate
        measured = self._measured()
        if measured is None:
            return
        if moves:
            self._target = self.mapper.step(command, measured, dt)
            if self.mapper.notice:
                self._logger.warning(self.mapper.notice, throttle_duration_sec=1.0)
        self._publish(now)

    def _on_executed(self, message: ExecutedCommand) -> None:
        self._executed = message

    def _measured(self) -> np.ndarray | None:
        if self.joints is None:
            return None
        try:
            measured = convert.joint_vector(self.joints, self._spec.joint_names)
        except convert.MessageError as error:
            self._logger.error(str(error), throttle_duration_sec=5.0)
            return None
        return measured if np.all(np.isfinite(measured)) else None

    def _publish(self, stamp: float) -> None:
        self._stamp = stamp
        self.count += 1
        self._commands.publish(stamp, self._target)
