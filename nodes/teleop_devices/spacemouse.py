# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A SpaceMouse through the ``spacenav`` driver: spacenav/twist and spacenav/joy."""

from __future__ import annotations

from dataclasses import dataclass

from geometry_msgs.msg import Twist
from rclpy.node import Node
from sensor_msgs.msg import Joy

from apprentice.nodes import qos
from apprentice.nodes.teleop_devices.device import Deliver, options_of
from apprentice.nodes.teleop_devices.twist import TwistAndButtons
from apprentice.robot.teleop_mapping import DeviceMapping


@dataclass(frozen=True)
class SpaceMouseOptions:
    """Topics of the driver, and the twist's size at full deflection (``scale`` of spacenav)."""

    twist: str = 'spacenav/twist'
    joy: str = 'spacenav/joy'
    full: float = 1.0


class SpaceMouse(TwistAndButtons):
    """The twist carries no stamp, so the time of receipt counts.

    The driver repeats itself at rest: one that was silent comes back as if it had been unplugged.
    """

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver) -> None:
        options = options_of(mapping, SpaceMouseOptions)
        super().__init__(node, mapping, deliver, options.twist, options.joy)
        self._full = options.full or 1.0
        node.create_subscription(Twist, options.twist, self._on_twist, qos.SENSOR)
        node.create_subscription(Joy, options.joy, self._on_joy, qos.SENSOR)

    def _on_twist(self, message: Twist) -> None:
        self._end_silence()
        for part in (message.linear, message.angular):
            part.x, part.y, part.z = part.x / self._full, part.y / self._full, part.z / self._full
        self.on_twist(message, 0.0)

    def _on_joy(self, message: Joy) -> None:
        stamp = self.fresh.stamp(message.header)
        if stamp is None:
            self.on_late(message)
        else:
            self._end_silence()
            self.on_joy(message, stamp)

    def _end_silence(self) -> None:
        if self.silence() > self.mapping.timeout_s:
            self.deliver(None)
