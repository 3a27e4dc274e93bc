# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Driving from the browser: the page's joystick and keys as ``teleop/twist`` and ``teleop/joy``.

The page sends ``{"action": "drive", "held": true, "clock": c, "linear": [x, y, z], "angular": [x, y, z],
"grip": g}`` twenty times a second while the person holds on, every number in [-1, 1], and once with ``held``
false on letting go. This node adds nothing: what it hears it publishes at once, and it publishes nothing by
itself. A lost connection, a hidden page and a finger lifted all end the stream, which is the dead-man of the
teleop node; a page that closes while holding is let go for it.

``clock`` is the newest ``drive.clock`` of the state that the page has received: this node's own clock comes
back, so the clock of the page does not matter. Where it is older than 0.5 s the message, or what the person
saw, was long on its way: the robot is let go, and the page must let go before it is heard again.

``teleop/twist`` (geometry_msgs/TwistStamped): the stick's deflection in [-1, 1] an axis, not m/s; the mapping
``teleop/browser.yaml`` knows the speeds. x forward, y left, z up of the robot's base (REP-103).
``teleop/joy`` (sensor_msgs/Joy): axes [x, y, z, roll, pitch, yaw], buttons [hold, fast, clutch, open, close].
``header.frame_id`` of both names the page. Stamps are wall time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Joy

from apprentice.nodes import qos
from apprentice.nodes.convert import stamp_of
from apprentice.nodes.dashboard_panels import Action, Panel, Press

HELD_S = 0.5  # without a message for so long a page no longer counts as driving
MAX_AGE_S = 0.5  # of the state that a person acts on


class Drive(Panel):
    """Publishes what the person at the controls does with joystick and keys."""

    name = 'drive'

    def __init__(self, node: Node):
        self._twist = node.create_publisher(TwistStamped, 'teleop/twist', qos.SENSOR_PUBLISHER)
        self._joy = node.create_publisher(Joy, 'teleop/joy', qos.SENSOR_PUBLISHER)
        self._client = 0  # page that holds, 0: none
        self._heard = -math.inf
        self._late: set[int] = set()  # pages that have to let go before they are heard again
        self.actions: Mapping[str, Action] = {'drive': Action(self._drive)}

    def _drive(self, press: Press) -> None:
        fields = press.fields
        try:
            linear, angular = _three(fields.get('linear')), _three(fields.get('angular'))
            grip = _one(fields.get('grip', 0.0))
            held = fields.get('held')
            if not isinstance(held, bool):
                raise TypeError('held must be true or false')
            age = _age(fields.get('clock')) if held else 0.0
        except (TypeError, ValueError) as error:
            self.left(press.client)  # a page that sends nonsense holds nothing
            press.reply(False, f'drive was not understood ({error}); reload the page')
            return
        if age > MAX_AGE_S:
            self._lost(press.client)
        if not held:
            self.left(press.client)
        elif press.client in self._late:
            press.reply(False, 'the connection was too slow; let go, then hold again')
        else:
            self._client, self._heard = press.client, time.monotonic()
            fast, clutch = (fields.get(name) is True for name in ('fast', 'clutch'))
            self._publish(press.client, linear, angular, [True, fast, clutch, grip > 0.5, grip < -0.5])

    def left(self, client: int) -> None:
        """Let go for a page that closed, or that asked for it."""
        self._late.discard(client)
        if client == self._client:
            self._client = 0
            self._publish(client, [0.0] * 3, [0.0] * 3, [False] * 5)

    def _lost(self, client: int) -> None:
        """Let go for a page that is too slow; what it holds now counts only when it is held anew."""
        self.left(client)
        self._late.add(client)

    def close(self) -> None:
        self.left(self._client or -1)

    def report(self) -> dict[str, Any]:
        """Which page drives, whether a teleop node listens to it, and the clock that pages send back."""
        if self._client and time.monotonic() - self._heard > HELD_S:
            self._lost(self._client)
        listened = self._joy.get_subscription_count() > 0
        return {'client': self._client or None, 'listened': listened, 'clock': round(time.monotonic(), 3)}

    def _publish(self, page: int, linear: list[float], angular: list[float], buttons: list[bool]) -> None:
        twist, joy = (
            TwistStamped(),
            Joy(axes=[*linear, *angular], buttons=[int(pressed) for pressed in buttons]),
        )
        for header in (twist.header, joy.header):
            header.stamp, header.frame_id = stamp_of(time.time()), f'page {page}'
        twist.twist.linear.x, twist.twist.linear.y, twist.twist.linear.z = linear
        twist.twist.angular.x, twist.twist.angular.y, twist.twist.angular.z = angular
        # the twist first: whoever acts on the button finds a direction
        self._twist.publish(twist)
        self._joy.publish(joy)


def _age(clock: Any) -> float:
    """Seconds since this node said ``clock``."""
    if isinstance(clock, bool) or not isinstance(clock, (int, float)) or not math.isfinite(clock):
        raise ValueError('clock is not a finite number')
    age = time.monotonic() - clock
    if age < -0.01:  # rounding; a later time was never said
        raise ValueError('clock is not of this node')
    return age


def _one(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError('not a finite number')
    return max(-1.0, min(1.0, float(value)))


def _three(value: Any) -> list[float]:
    if value is None:
        return [0.0] * 3
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError('three numbers are needed')
    return [_one(number) for number in value]
