# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a session measures on the graph while episodes run: rewards, frames, rates, weights."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable

from apprentice_interfaces.msg import (
    ActionChunk,
    ControlState,
    EpisodeState,
    ExecutedCommand,
    GuidanceState,
    LearnerStatus,
    RewardSample,
    WeightsAck,
    WeightsVersion,
)
from rclpy.node import Node
from sensor_msgs.msg import Image

from apprentice.episodes.messages import header_stamp
from apprentice.learning.report import Curve, Report
from apprentice.learning.statistics import Sample, agreement
from apprentice.nodes import convert, qos
from apprentice.nodes.recorded_topics import profile
from apprentice.nodes.runtime import simulated_time
from apprentice.robot.spec import RobotSpec

# a deeper queue than a consumer needs: a gap in the stamps should be a lost frame, not a session that was
# busy for a few seconds
_QUEUE = 500


class Frames:
    """Counts one camera's frames; a gap between stamps is frames that were dropped."""

    def __init__(self, rate_hz: float):
        self._rate_hz, self._last = rate_hz, float('nan')
        self.received = self.dropped = 0

    def add(self, stamp: float) -> None:
        self.received += 1
        if stamp > self._last:
            self.dropped += max(0, round((stamp - self._last) * self._rate_hz) - 1)
        self._last = stamp


class Collector:
    """Subscribes for a session. Callbacks run in the executor's thread; readers copy."""

    def __init__(self, node: Node, spec: RobotSpec):
        self._node = node
        self.frames = {camera.name: Frames(camera.rate_hz) for camera in spec.cameras}
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.truth: list[Sample] = []
        self.gate: ControlState | None = None
        self.guidance: GuidanceState | None = None
        self.policy_seen = False
        self.active_version = 0
        self.versions: set[int] = set()
        self.status: LearnerStatus | None = None
        self.status_at = 0.0
        self.loss: list[tuple[float, float]] = []
        self._episode = ''
        self._executed = 0
        self._first = self._last = (float('nan'), 0.0)  # (stamp, wall) of executed commands
        for kind, topic, callback, quality in (
            (ControlState, 'gate/state', self._on_gate, qos.STATE),
            (GuidanceState, 'guide/state', self._on_guidance, qos.STATE),
            (ExecutedCommand, 'gate/executed', self._on_executed, qos.LOG),
            (ActionChunk, 'policy/chunk', self._on_chunk, qos.COMMAND),
            (ActionChunk, 'policy/shadow_chunk', self._on_chunk, qos.LOG),
            (WeightsAck, 'policy/weights_ack', self._on_ack, qos.STATE),
            (WeightsVersion, 'learner/weights', self._on_weights, qos.STATE),
            (LearnerStatus, 'learner/status', self._on_status, qos.LOG),
            (RewardSample, 'reward/sample', self._on_reward, qos.LOG),
            (RewardSample, 'sim/truth', self._on_truth, qos.LOG),
            (EpisodeState, 'episode/state', self._on_episode, qos.STATE),
        ):
            node.create_subscription(kind, topic, callback, quality)
        # in lock-step what is lost is sent again, as to the recorder
        lockstep = simulated_time(node)
        frames = profile(lockstep, False, _QUEUE)
        for camera in spec.cameras:
            # serialised: only the stamp is read, and decoding images would cost a core
            count = self._frame_callback(self.frames[camera.name])
            node.create_subscription(Image, camera.topic, count, frames, raw=True)

    def fill(self, report: Report) -> None:
        """Put everything measured so far into the report."""
        truth = list(self.truth)
        report.agreement = {m: agreement(list(s), truth) for m, s in list(self.samples.items())}
        report.agreement = {m: values for m, values in report.agreement.items() if values['samples']}
        report.frames = {
            name: {'received': f.received, 'dropped': f.dropped} for name, f in self.frames.items()
        }
        robot_s, wall_s = self._last[0] - self._first[0], self._last[1] - self._first[1]
        if robot_s > 0 and wall_s > 0:
            count = self._executed - 1
            report.command = {'per_robot_s': count / robot_s, 'per_wall_s': count / wall_s}
        published = [version for version in self.versions if version > 0]
        steps = int(self.status.train_steps) if self.status is not None else 0
        report.weights = {'published': len(published), 'active': self.active_version, 'train_steps': steps}
        report.loss = list(self.loss)
        report.curves = [c for m, s in self._by_model(truth) for c in _curves(m, s)]

    def _by_model(self, truth: list[Sample]) -> list[tuple[str, list[Sample]]]:
        return [('simulator', truth), *((m, list(s)) for m, s in sorted(self.samples.items()))]

    def _frame_callback(self, frames: Frames) -> Callable[[bytes], None]:
        return lambda data: frames.add((header_stamp('sensor_msgs/msg/Image', data) or 0) / 1e9)

    def _on_gate(self, message: ControlState) -> None:
        self.gate = message

    def _on_guidance(self, message: GuidanceState) -> None:
        self.guidance = message

    def _on_executed(self, message: ExecutedCommand) -> None:
        stamp = convert.seconds(message.header.stamp)
        if stamp <= self._last[0]:
            return  # lock-step repeats a command that got lost
        self._executed += 1
        self._last = (stamp, time.monotonic())
        if self._executed == 1:
            self._first = self._last

    def _on_chunk(self, message: ActionChunk) -> None:
        self.policy_seen = True

    def _on_ack(self, message: WeightsAck) -> None:
        self.policy_seen = True
        self.active_version = int(message.active_version)
        if not message.ok:
            self._node.get_logger().warning(f'weights {message.version} refused: {message.reason}')

    def _on_weights(self, message: WeightsVersion) -> None:
        self.versions.add(int(message.version))

    def _on_status(self, message: LearnerStatus) -> None:
        self.status, self.status_at = message, time.monotonic()
        if not self.loss or self.loss[-1][0] != message.train_steps:
            self.loss.append((float(message.train_steps), float(message.loss)))

    def _on_episode(self, message: EpisodeState) -> None:
        self._episode = message.episode_id if message.phase == EpisodeState.RUNNING else ''

    def _on_reward(self, message: RewardSample) -> None:
        sample = self._sample(message)
        if message.valid and sample.episode_id:
            self.samples[message.model or 'unnamed'].append(sample)

    def _on_truth(self, message: RewardSample) -> None:
        self.truth.append(self._sample(message))

    def _sample(self, message: RewardSample) -> Sample:
        progress, done = float(message.progress), float(message.done_prob)
        if message.kind == RewardSample.TRUTH:
            progress, done = float(message.value), float(message.done)
        elif not math.isfinite(progress) and message.kind != RewardSample.PROGRESS_DELTA:
            progress = float(message.value)
        episode = message.episode_id or self._episode
        return Sample(episode, convert.seconds(message.header.stamp), progress, done)


def _curves(model: str, samples: list[Sample]) -> list[Curve]:
    """Progress per episode, in seconds since the episode's first sample."""
    curves: dict[str, Curve] = {}
    starts: dict[str, float] = {}
    for sample in sorted(samples, key=lambda s: s.stamp):
        if sample.episode_id and math.isfinite(sample.progress):
            curve = curves.setdefault(sample.episode_id, Curve(sample.episode_id, model))
            start = starts.setdefault(sample.episode_id, sample.stamp)
            curve.seconds.append(round(sample.stamp - start, 4))
            curve.values.append(round(sample.progress, 4))
    return list(curves.values())
