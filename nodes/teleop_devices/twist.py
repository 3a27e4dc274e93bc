# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a six-axis mouse and the web page have in common: a twist on one topic, buttons on another."""

from __future__ import annotations

import math
import time

from geometry_msgs.msg import Twist
from rclpy.node import Node
from sensor_msgs.msg import Joy

from apprentice.nodes.runtime import wall_timer
from apprentice.nodes.teleop_devices.device import Deliver, Freshness, TopicWatch, deliver_late, numbered
from apprentice.robot.teleop_mapping import DeviceMapping, Translator

_TWIST_S = 0.15  # so long a twist moves where moving is the dead-man
_MOTIONS = ('x', 'y', 'z', 'roll', 'pitch', 'yaw')


class TwistAndButtons:
    """The newest twist and the newest buttons as one device; either message is a sign of life.

    A mapping names the twist's six numbers ``x``, ``y``, ``z``, ``roll``, ``pitch`` and ``yaw``, and the
    buttons by number. A twist that is older than the timeout of the mapping is no motion; where motion is the
    dead-man, one that is older than 0.15 s.
    """

    def __init__(self, node: Node, mapping: DeviceMapping, deliver: Deliver, *topics: str) -> None:
        self.mapping, self.deliver, self.translator = mapping, deliver, Translator(mapping)
        self.fresh = Freshness(node, mapping)
        self._watch = TopicWatch(node, *topics)
        self._axes: dict[str, float] = {}
        self._buttons: dict[str, bool] = {}
        self._twist_at = self._heard_at = -math.inf
        self.holding = False
        self._alive, self._twist_s = False, mapping.timeout_s
        if 'motion' in mapping.buttons.hold:
            self._twist_s = min(_TWIST_S, mapping.timeout_s)
            wall_timer(node, 0.05, self._expire)

    def on_twist(self, twist: Twist, stamp: float) -> None:
        """A new twist, unitless in [-1, 1]."""
        parts = (twist.linear, twist.angular)
        self._axes = dict(zip(_MOTIONS, [value for part in parts for value in (part.x, part.y, part.z)]))
        self._twist_at = time.monotonic()
        self._send(stamp)

    def on_joy(self, message: Joy, stamp: float) -> None:
        """New buttons."""
        self._buttons = _pressed(message)
        self._send(stamp)

    def on_late(self, message: Joy) -> None:
        """Buttons of a message that is too old: only stop counts, whoever drives."""
        deliver_late(self.translator, {}, _pressed(message), self.deliver)

    def quiet(self) -> None:
        """Forget what was pressed and moved."""
        self._axes, self._buttons, self.holding = {}, {}, False
        self.translator.forget()

    def silence(self) -> float:
        """Seconds since the last message."""
        return time.monotonic() - self._heard_at

    def _send(self, stamp: float) -> None:
        self._heard_at, self._alive = time.monotonic(), True
        self._say(stamp)

    def _say(self, stamp: float) -> None:
        now = time.monotonic()
        moved = now - self._twist_at <= self._twist_s
        command = self.translator.command(self._axes if moved else {}, self._buttons, stamp, now)
        self.holding = command.held
        self.deliver(command)

    def _expire(self) -> None:
        """Motion as the dead-man ends by itself; but only a living driver is spoken for."""
        if self.silence() <= self.mapping.timeout_s:
            if self._alive:
                self._say(0.0)
        elif self._alive:
            self._alive = self.holding = False
            self.deliver(None)

    def status(self) -> str:
        return self._watch.missing()

    def close(self) -> None:
        """Nothing is open."""


def _pressed(message: Joy) -> dict[str, bool]:
    return {name: value > 0 for name, value in numbered(message.buttons, 'button').items()}
