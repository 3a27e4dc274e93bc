# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Publishes an episode file on the graph, message by message, with the original spacing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import rclpy
import yaml
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from apprentice.episodes.log_reader import LogMessage, LogReader
from apprentice.nodes.recorded_topics import message_type

_DEPTH = 100


def replay(
    reader: LogReader,
    names: Collection[str] | None = None,
    exclude: Collection[str] = (),
    rate: float = 1.0,
    progress: Callable[[LogMessage], None] = lambda message: None,
    discovery_s: float = 1.0,
) -> int:
    """Publish the messages of ``reader`` on their recorded topics; returns how many.

    Args:
        names: only these topics (recorded or robot file name); None for all.
        exclude: names left out.
        rate: 2.0 is twice as fast as recorded.
        progress: called with every message after it was published.
        discovery_s: wall seconds subscribers get to find the publishers before the first message.

    Raises KeyboardInterrupt through; StartupError when a message type is not installed.
    """
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('replay')
    try:
        publishers: dict[str, Publisher] = {}
        for message in reader.messages():
            if message.topic not in publishers and _wanted(message, names, exclude):
                publishers[message.topic] = _publisher(node, message)
        time.sleep(discovery_s)
        count, first, begin = 0, 0, time.monotonic()
        for message in reader.messages(ordered=True):
            if message.topic not in publishers:
                continue
            first = first or message.log_time
            wait = begin + (message.log_time - first) * 1e-9 / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            publishers[message.topic].publish(message.data)
            progress(message)
            count += 1
        # reliable subscribers may still be fetching the last messages
        time.sleep(0.2)
        return count
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _wanted(message: LogMessage, names: Collection[str] | None, exclude: Collection[str]) -> bool:
    if names is not None:
        return message.topic in names or message.name in names
    return message.name not in exclude


def _publisher(node: Node, message: LogMessage) -> Publisher:
    profiles = yaml.safe_load(message.channel_metadata.get('offered_qos_profiles', '')) or [{}]
    qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
    if profiles[0].get('durability') == 'transient_local':
        qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        qos.depth = int(profiles[0].get('depth', 1))
    return node.create_publisher(message_type(message.type), message.topic, qos)
