# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A gamepad through a joystick driver: sensor_msgs/Joy of ``joy_node`` or ``game_controller_node``."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from rclpy.node import Node
from sensor_msgs.msg import Joy

from apprentice.nodes import qos
from apprentice.nodes.teleop_devices.device import (
    Deliver,
    Freshness,
    TopicWatch,
    deliver_late,
    numbered,
    options_of,
)
from apprentice.robot.teleop_mapping import DeviceMapping, Translator


@dataclass(frozen=True)
class JoyOptions:
    """``topic``: where the driver publishes."""

    topic: str = 'joy'


class JoyPad:
    """Axes and buttons by number, as ``ros2 topic echo joy`` shows them; ``axis5`` where a button is 5 too.

    The driver must repeat itself while nothing changes (``autorepeat_rate`` of joy_node, 20 Hz by default):
    one that falls silent for ``timeout_s`` counts as released, and comes back as if it had been unplugged.
    Of a message that is too old only the press of stop is heard.
    """

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver) -> None:
        options = options_of(mapping, JoyOptions)
        self._deliver, self._translator = deliver, Translator(mapping)
        self._timeout_s, self._heard_at = mapping.timeout_s, -math.inf
        self._fresh, self._watch = Freshness(node, mapping), TopicWatch(node, options.topic)
        node.create_subscription(Joy, options.topic, self._on_joy, qos.SENSOR)

    def _on_joy(self, message: Joy) -> None:
        stamp = self._fresh.stamp(message.header)
        axes, buttons = numbered(message.axes, 'axis'), numbered(message.buttons, 'button')
        pressed = {name: value > 0 for name, value in buttons.items()}
        if stamp is None:
            deliver_late(self._translator, axes, pressed, self._deliver)
            return
        now = time.monotonic()
        if now - self._heard_at > self._timeout_s:
            self._deliver(None)
        self._heard_at = now
        self._deliver(self._translator.command(axes, pressed, stamp, now))

    def status(self) -> str:
        return self._watch.missing()

    def close(self) -> None:
        """Nothing is open."""
