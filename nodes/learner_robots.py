# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the learner's process exchanges with each robot that it learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from apprentice_interfaces.msg import LearnerStatus, RewardHealth, WeightsAck, WeightsVersion
from rclpy.node import Node
from std_msgs.msg import String

from apprentice.learning.staleness import Acknowledgements
from apprentice.nodes import qos


class Robots:
    """Weights to every robot, acknowledgements and news of episodes from every one.

    Args:
        names: namespaces, relative to the node's own; one empty name for a single robot.
        on_episode: called when a recorder sealed one.
        on_health: called with reports on reward models.
        on_ack: called after an acknowledgement.
    """

    def __init__(
        self,
        node: Node,
        names: Iterable[str],
        on_episode: Callable[[], None],
        on_health: Callable[[RewardHealth], None],
        on_ack: Callable[[], None],
    ):
        names = list(names)
        self.acks = Acknowledgements(names)
        self._on_ack = on_ack
        self._weights, self._status = [], []
        for name in names:
            prefix = f'{name}/' if name else ''
            self._weights.append(node.create_publisher(WeightsVersion, f'{prefix}learner/weights', qos.STATE))
            self._status.append(node.create_publisher(LearnerStatus, f'{prefix}learner/status', qos.LOG))
            hear = partial(self._hear, name)
            node.create_subscription(WeightsAck, f'{prefix}policy/weights_ack', hear, qos.STATE)
            node.create_subscription(
                String, f'{prefix}recorder/sealed', lambda message: on_episode(), qos.LOG
            )
            node.create_subscription(RewardHealth, f'{prefix}reward/health', on_health, qos.HEALTH)
        if '' not in names:  # for whoever watches the learner itself
            self._status.append(node.create_publisher(LearnerStatus, 'learner/status', qos.LOG))

    def offer(self, message: WeightsVersion) -> None:
        """Offer weights to every robot."""
        for publisher in self._weights:
            publisher.publish(message)

    def tell(self, message: LearnerStatus) -> None:
        """Say what the learner does."""
        for publisher in self._status:
            publisher.publish(message)

    def _hear(self, robot: str, message: WeightsAck) -> None:
        self.acks.hear(message.active_version, message.version, message.ok, message.reason, robot)
        self._on_ack()
