# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the recorder records: topics, types, quality of service, and the recent past of each topic."""

from __future__ import annotations

import importlib
from collections import deque
from dataclasses import dataclass, field

from apprentice_interfaces.msg import (
    ActionChunk,
    ControlState,
    EpisodeState,
    ExecutedCommand,
    GuidanceState,
    LearnerStatus,
    PreferenceAnswer,
    RewardHealth,
    RewardSample,
    WeightsAck,
    WeightsVersion,
)
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from apprentice.episodes.log_writer import qos_text
from apprentice.episodes.messages import definition
from apprentice.nodes.runtime import StartupError
from apprentice.robot.spec import RobotSpec

_RING_NS = 1_000_000_000
_RING_MIN = 2  # messages of a topic kept however old


def profile(reliable: bool, latched: bool, depth: int) -> QoSProfile:
    """Quality of service for recording: like the topic's own, with a deeper queue."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


@dataclass
class RecordedTopic:
    """One recorded topic and its last second of messages.

    Attributes:
        name: as in the robot file or the graph's table, relative.
        lasting: a message is valid until the next one, so an episode starts with the one before it.
        period_ns: of a camera; 0 for other topics.
        ring: (stamp [ns], CDR) of recent messages.
        newest, count, dropped: of the episode being recorded; frames dropped by gaps between stamps.
    """

    name: str
    message: type
    qos: QoSProfile
    lasting: bool = False
    period_ns: float = 0.0
    resolved: str = ''
    ring: deque[tuple[int, bytes]] = field(default_factory=deque)
    newest: int = 0
    count: int = 0
    dropped: int = 0
    type_name: str = field(init=False)
    qos_text: str = field(init=False)

    def __post_init__(self) -> None:
        module = self.message.__module__.split('.')
        self.type_name = f'{module[0]}/{module[1]}/{self.message.__name__}'
        definition(self.type_name)  # fails at the start rather than in the middle of an episode
        latched = self.qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        # sensors are offered reliably too, see nodes/qos.py
        self.qos_text = qos_text(
            'reliable', 'transient_local' if latched else 'volatile', 1 if latched else 10
        )

    def remember(self, stamp: int, data: bytes) -> None:
        """Keep a message for an episode that begins soon."""
        ring = self.ring
        if ring and stamp < ring[-1][0] - _RING_NS:
            ring.clear()  # time was set back: a simulator started anew
        ring.append((stamp, data))
        while len(ring) > _RING_MIN and ring[0][0] < stamp - _RING_NS:
            ring.popleft()

    def since(self, begin: int) -> list[tuple[int, bytes]]:
        """Remembered messages from ``begin`` [ns] on, with the one before it if it lasts."""
        earlier = [entry for entry in self.ring if entry[0] < begin][-1:] if self.lasting else []
        return earlier + [entry for entry in self.ring if entry[0] >= begin]

    def begin(self) -> None:
        """Reset the counters for a new episode."""
        self.count = self.dropped = self.newest = 0

    def counted(self, stamp: int) -> None:
        """Count a recorded message, and frames missing before it."""
        self.count += 1
        if self.period_ns and stamp > self.newest:
            periods = (stamp - self.newest) / self.period_ns
            if self.newest and periods > 1.5:
                self.dropped += round(periods) - 1
            self.newest = stamp


def recorded_topics(spec: RobotSpec, lockstep: bool = False) -> list[RecordedTopic]:
    """Every topic of the graph that an episode needs, for one robot.

    Args:
        lockstep: what is lost is sent again: the simulator waits for commands, not for a recorder.
    """
    # else best effort as REP-2003 asks of consumers of sensors, deep enough for bursts faster than real time
    sensor, deep_sensor = profile(lockstep, False, 30), profile(lockstep, False, 100)
    log, state = profile(True, False, 500), profile(True, True, 50)
    command = JointTrajectory if spec.command.type == 'joint_trajectory' else Float64MultiArray
    cameras = [
        # small frames may wait longer: lock-step makes seconds of them in one
        RecordedTopic(
            c.topic, Image, deep_sensor if c.width * c.height < 65_536 else sensor, True, 1e9 / c.rate_hz
        )
        for c in spec.cameras
    ]
    return [
        *cameras,
        RecordedTopic(spec.joint_states_topic, JointState, deep_sensor, True),
        RecordedTopic(spec.command.topic, command, log),
        RecordedTopic('policy/chunk', ActionChunk, log, True),
        RecordedTopic('policy/shadow_chunk', ActionChunk, log),
        RecordedTopic('gate/executed', ExecutedCommand, log),
        RecordedTopic('gate/state', ControlState, state, True),
        RecordedTopic('human/command', JointState, profile(False, False, 100)),
        RecordedTopic('reward/sample', RewardSample, log),
        RecordedTopic('reward/health', RewardHealth, state, True),
        RecordedTopic('sim/truth', RewardSample, log),
        RecordedTopic('episode/state', EpisodeState, state, True),
        RecordedTopic('learner/weights', WeightsVersion, state, True),
        RecordedTopic('policy/weights_ack', WeightsAck, state, True),
        RecordedTopic('learner/status', LearnerStatus, log),
        RecordedTopic('preferences/answer', PreferenceAnswer, log),
        RecordedTopic('guide/state', GuidanceState, state, True),
    ]


def message_type(type_name: str) -> type:
    """The class of ``package/msg/Name``. Raises StartupError naming the remedy."""
    try:
        package, kind, name = type_name.split('/')
        return getattr(importlib.import_module(f'{package}.{kind}'), name)
    except (ValueError, ImportError, AttributeError) as error:
        raise StartupError(
            f'message type {type_name!r} is not available ({error}); '
            'write package/msg/Name and install the package'
        ) from None
