# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The graph live in Foxglove: every topic the recorder knows, over a websocket, as the raw bytes of ROS.

Needs foxglove-sdk (``pip install 'apprentice[foxglove]'``); where foxglove_bridge is installed that does the
same. It only sends: nobody can command anything through it.
"""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node

from apprentice.episodes.messages import definition, header_stamp
from apprentice.nodes.recorded_topics import RecordedTopic, recorded_topics
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, StartupError, parameter, run


class FoxgloveNode(Node):
    """Forwards topics to Foxglove at ws://host:port."""

    def __init__(self) -> None:
        super().__init__('foxglove')
        spec = load_robot(self)
        host = parameter(
            self, 'host', '127.0.0.1', 'address to listen on; others than 127.0.0.1 are open to the net'
        )
        port = parameter(self, 'port', 8766, 'TCP port; 0 takes a free one', 0, 65535)
        rate = parameter(self, 'camera_rate_hz', 15.0, 'pictures of a camera a second, at most', 0.1, 1000.0)
        try:
            import foxglove
            from foxglove import Channel, Schema
        except ImportError:
            raise StartupError("the foxglove node needs pip install 'apprentice[foxglove]'") from None
        self._period_s = 1 / rate
        self._due: dict[str, float] = {}
        self.sent = 0
        self._server = foxglove.start_server(name=spec.name, host=host, port=port)
        for topic in recorded_topics(spec):
            schema = Schema(
                name=topic.type_name, encoding='ros2msg', data=definition(topic.type_name).encode()
            )
            resolved = self.resolve_topic_name(topic.name)
            channel = Channel(resolved, schema=schema, message_encoding='cdr')
            self.create_subscription(
                topic.message, topic.name, self._forward(topic, channel), topic.qos, raw=True
            )
        Diagnostics(self, self._report, spec.name)
        self.port = int(self._server.port)
        self.get_logger().info(f'in Foxglove: Open connection, ws://{host}:{self.port}')

    def close(self) -> None:
        """End the server and its connections."""
        self._server.stop()

    def _forward(self, topic: RecordedTopic, channel: Any):
        def forward(data: bytes) -> None:
            if topic.period_ns:  # a camera
                now = time.monotonic()
                if now < self._due.get(topic.name, 0.0):
                    return
                self._due[topic.name] = now + self._period_s
            stamp = header_stamp(topic.type_name, data) or self.get_clock().now().nanoseconds
            channel.log(data, log_time=stamp)
            self.sent += 1

        return forward

    def _report(self) -> tuple[bytes, str, dict[str, Any]]:
        return Diagnostics.OK, f'port {self.port}', {'messages': self.sent}


def main() -> None:
    """Entry point of ``foxglove_node``."""
    run(FoxgloveNode)


if __name__ == '__main__':
    main()
