# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The web page's joystick and keys: teleop/twist (TwistStamped) and teleop/joy (Joy), sent by the dashboard.

``header.frame_id`` names the page. Of several pages the first whose dead-man is pressed is heard, until it
lets go or falls silent.
"""

from __future__ import annotations

from dataclasses import dataclass

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Joy

from apprentice.nodes import qos
from apprentice.nodes.teleop_devices.device import Deliver, options_of
from apprentice.nodes.teleop_devices.twist import TwistAndButtons
from apprentice.robot.teleop import TeleopCommand
from apprentice.robot.teleop_mapping import DeviceMapping


@dataclass(frozen=True)
class BrowserOptions:
    """Topics on which the dashboard publishes."""

    twist: str = 'teleop/twist'
    joy: str = 'teleop/joy'


class Browser(TwistAndButtons):
    """A page; see above."""

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver) -> None:
        options = options_of(mapping, BrowserOptions)
        super().__init__(node, mapping, deliver, options.twist, options.joy)
        self._page: str | None = None
        node.create_subscription(TwistStamped, options.twist, self._on_twist, qos.SENSOR)
        node.create_subscription(Joy, options.joy, self._on_joy, qos.SENSOR)

    def _on_twist(self, message: TwistStamped) -> None:
        stamp = self.fresh.stamp(message.header)
        if stamp is not None and self._admits(message.header.frame_id):
            self.on_twist(message.twist, stamp)

    def _on_joy(self, message: Joy) -> None:
        stamp = self.fresh.stamp(message.header)
        if stamp is None:
            self.on_late(message)
        elif self._admits(message.header.frame_id):
            self.on_joy(message, stamp)

    def _admits(self, page: str) -> bool:
        if page != self._page:
            if self.holding and self.silence() <= self.mapping.timeout_s:
                return False
            # nothing that the page before held is held any more
            self.quiet()
            self._page = page
            self.deliver(TeleopCommand(0.0, held=False))
        return True
