# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's fast topics, read in batches.

A callback of rclpy costs about half a millisecond of executor. A page needs ten looks a second, not
hundreds of callbacks: these subscriptions stay out of the executor and are emptied by a timer.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from apprentice.episodes.messages import MessageError, decode_image
from apprentice.episodes.pictures import jpeg
from apprentice.nodes.dashboard_state import Rate, finite

# as deep as a simulator that runs many times faster than real time fills it between two looks
CAMERA = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
SIMULATED_BEFORE = 1e9  # stamps below this are simulated time: no robot's wall clock says 2001
# one byte camera index, three bytes of padding, stamp [s]; a JPEG follows
FRAME_HEADER = struct.Struct('<B3xd')


class Polled(CallbackGroup):
    """Subscriptions of this group are never run by an executor; see :meth:`Feed.poll`."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


class Feed:
    """One subscription, emptied by :meth:`poll` in the thread of the node's executor."""

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        raw: bool,
    ):
        self._node, self._callback = node, callback
        self._subscription = node.create_subscription(
            kind, topic, callback, profile, callback_group=Polled(), raw=raw
        )

    def poll(self) -> None:
        """Hand every waiting message to the callback, oldest first."""
        subscription = self._subscription
        with subscription.handle:
            for _ in range(500):
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
                if taken is None:
                    return
                self._callback(taken[0])

    def close(self) -> None:
        self._node.destroy_subscription(self._subscription)


class CameraFeed:
    """One camera: its rate and age, and its newest frame as JPEG, at most every ``period`` seconds."""

    def __init__(self, node: Node, topic: str, index: int, period: float):
        self._index, self._period = index, period
        self._rate = Rate()
        self._due = 0.0
        self._newest: bytes | None = None
        self._stamp = -math.inf
        self._error = ''
        self._feed = Feed(node, Image, topic, self._receive, CAMERA, raw=True)
        self.close = self._feed.close

    def _receive(self, data: bytes) -> None:
        self._newest, self._stamp = data, stamp_of_raw(data)
        self._rate.add(self._stamp)

    def frame(self, wanted: bool) -> bytes | None:
        """Header and JPEG of the newest frame, None if there is no new one, none wanted or none due."""
        self._feed.poll()
        now = time.monotonic()
        # somewhat early is on time: a camera of just this rate must not lose frames to its own jitter
        if self._newest is None or not wanted or now < self._due - 0.4 * self._period:
            return None
        self._due = max(self._due + self._period, now)
        data, self._newest = self._newest, None
        try:
            picture = jpeg(decode_image(data))
        except MessageError as error:
            self._error = str(error)
            return None
        self._error = ''
        return FRAME_HEADER.pack(self._index, self._stamp) + picture

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = {**self._rate.report(), 'error': self._error}
        if self._stamp > SIMULATED_BEFORE:
            # age since capture, driver and transport included
            report['age'] = finite(max(0.0, time.time() - self._stamp), 3)
        return report


def stamp_of_raw(data: bytes) -> float:
    """The header stamp [s] of a serialised (CDR) message that begins with a std_msgs/Header."""
    sec, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return sec + nanosec * 1e-9
