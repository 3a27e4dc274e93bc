# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A person's joint targets on human/command, with the name of the sender: the gate follows one at a time."""

from __future__ import annotations

import math
import time
import uuid

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from apprentice.nodes import convert, qos
from apprentice.nodes.runtime import other_publishers
from apprentice.robot.spec import RobotSpec

_TOPIC = 'human/command'
_RECENT_S = 0.5


class HumanCommands:
    """Publishes joint targets; ``header.frame_id`` names the node and the process.

    Args:
        drives: False for a node that has neither devices nor a scripted person: it publishes nothing, and
            nobody has to ask whether it drives.
    """

    def __init__(self, node: Node, spec: RobotSpec, drives: bool = True) -> None:
        self._node, self._joints = node, spec.joint_names
        # two nodes may have the same name
        self._sender = f'{node.get_fully_qualified_name()} {uuid.uuid4().hex[:6]}'
        self._sent_at = -math.inf
        self._publisher = node.create_publisher(JointState, _TOPIC, qos.SENSOR_PUBLISHER) if drives else None

    def publish(self, stamp: float, target: np.ndarray) -> None:
        """A target [dim] (rad, gripper m) for the time ``stamp`` [s]."""
        if self._publisher is None:
            raise RuntimeError('made with drives=False')
        self._sent_at = time.monotonic()
        self._publisher.publish(convert.joint_state_msg(stamp, self._joints, target, frame_id=self._sender))

    def driven_elsewhere(self) -> str:
        """Which other nodes may be the ones that drive now; '' when it is this one, or no other is there."""
        if self._publisher is None or time.monotonic() - self._sent_at <= _RECENT_S:
            return ''
        return other_publishers(self._node, self._publisher.topic_name)
