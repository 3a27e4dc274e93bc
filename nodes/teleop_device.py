# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A leader arm with a dead-man button: the person's joints become human/command while the button is held."""

from __future__ import annotations

import time

import numpy as np
from sensor_msgs.msg import JointState, Joy
from std_srvs.srv import SetBool

from apprentice.nodes import convert, qos
from apprentice.nodes.runtime import parameter, wall_timer
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import ControlMode

_JOY_TIMEOUT_S = 0.5  # a joy driver repeats or changes; one that died must not keep the dead-man pressed


class LeaderArm:
    """Relays ``leader/joint_states`` (any leader arm's driver) while a button of ``joy`` is held.

    Pressing the button asks the gate for control, releasing it gives control back. The leader must be
    aligned with the follower before it is followed: further than ``align`` away in any joint, the
    command stays where the robot is and a warning names the joint.
    """

    def __init__(self, node, spec: RobotSpec, publisher):
        self._node, self._spec, self._publisher = node, spec, publisher
        self._button = parameter(node, 'deadman_button', 4, 'index of the Joy button that is held', 0, 31)
        self._align = parameter(
            node, 'align', 0.3, 'largest offset from the leader at takeover, rad', 0.0, 3.2
        )
        self._held, self._aligned = False, False
        self._heard = 0.0  # monotonic time of the last Joy message
        wall_timer(node, 0.05, self._watch)
        self._measured: np.ndarray | None = None
        self._control = node.create_client(SetBool, 'gate/request_control')
        node.create_subscription(Joy, 'joy', self._on_joy, qos.SENSOR)
        node.create_subscription(JointState, 'leader/joint_states', self._on_leader, qos.SENSOR)
        node.create_subscription(JointState, spec.joint_states_topic, self._on_joints, qos.SENSOR)

    def _on_joints(self, message: JointState) -> None:
        try:
            self._measured = convert.joint_vector(message, self._spec.joint_names)
        except convert.MessageError as error:
            self._node.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _watch(self) -> None:
        if self._held and time.monotonic() - self._heard > _JOY_TIMEOUT_S:
            self._node.get_logger().error('joy went silent while the button was held: releasing control')
            self._hold(False)

    def _on_joy(self, message: Joy) -> None:
        self._heard = time.monotonic()
        self._hold(self._button < len(message.buttons) and bool(message.buttons[self._button]))

    def _hold(self, held: bool) -> None:
        if held != self._held:
            self._held, self._aligned = held, False
            if self._control.service_is_ready():
                self._control.call_async(SetBool.Request(data=held))
            else:
                self._node.get_logger().error('gate/request_control is not there; is the gate running?')

    def _on_leader(self, message: JointState) -> None:
        if not self._held or self._node.mode != ControlMode.HUMAN or self._measured is None:
            return
        try:
            target = convert.joint_vector(message, self._spec.joint_names)
        except convert.MessageError as error:
            self._node.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        if not self._aligned:
            offset = np.abs(target - self._measured) * ~self._spec.gripper_mask
            worst = int(np.argmax(offset))
            if offset[worst] > self._align:
                self._node.get_logger().warning(
                    f'leader {self._spec.joint_names[worst]} is {offset[worst]:.2f} rad off; move it closer',
                    throttle_duration_sec=1.0,
                )
                target = self._measured
            else:
                self._aligned = True
        stamp = convert.now(self._node)
        self._publisher.publish(convert.joint_state_msg(stamp, self._spec.joint_names, target))
