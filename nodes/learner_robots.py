# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the learner's process exchanges with each robot that it learns from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from apprentice_interfaces.msg import LearnerStatus, RewardHealth, WeightsAck, WeightsVersion
from rclpy.node import Node
from std_msgs.msg import String

from apprentice.learning.health import Health
from apprentice.learning.staleness import Acknowledgements
from apprentice.learning.weights import Published
from apprentice.nodes import qos
from apprentice.reward_models.monitor.detector import Level


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
        on_health: Callable[[Health], None],
        on_ack: Callable[[], None],
    ):
        names = list(names)
        self.acks = Acknowledgements(names)
        self._on_health, self._on_ack, self._clock = on_health, on_ack, node.get_clock()
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
            node.create_subscription(RewardHealth, f'{prefix}reward/health', self._hear_health, qos.HEALTH)
        if '' not in names:  # for whoever watches the learner itself
            self._status.append(node.create_publisher(LearnerStatus, 'learner/status', qos.LOG))

    def offer(self, published: Published) -> None:
        """Offer weights to every robot."""
        message = WeightsVersion(
            version=published.version,
            parent=published.parent,
            uri=str(published.folder.resolve()),
            sha256=published.sha256,
            bytes=published.bytes,
            policy_id=str(published.about.get('name', '')),
            train_steps=int(published.about.get('train_steps', 0)),
            episodes=int(published.about.get('episodes', 0)),
        )
        message.header.stamp = self._clock.now().to_msg()
        for publisher in self._weights:
            publisher.publish(message)

    def tell(self, message: LearnerStatus) -> None:
        """Say what the learner does."""
        message.header.stamp = self._clock.now().to_msg()
        for publisher in self._status:
            publisher.publish(message)

    def _hear(self, robot: str, message: WeightsAck) -> None:
        self.acks.hear(message.active_version, message.version, message.ok, message.reason, robot)
        self._on_ack()

    def _hear_health(self, message: RewardHealth) -> None:
        try:
            level = Level(message.level)
        except ValueError:
            level = Level.STOP  # of a newer monitor: whatever it asks for, stopping is safe
        self._on_health(Health(message.model, message.version, level, float(message.weight), message.reason))
