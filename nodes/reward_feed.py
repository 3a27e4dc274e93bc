# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One robot as a reward node sees it: its cameras, its episode, and which moments are to be scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from apprentice_interfaces.msg import EpisodeState, RewardSample
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from apprentice.nodes import convert, qos
from apprentice.nodes.frame_sets import FrameSet, FrameSets
from apprentice.nodes.runtime import StartupError
from apprentice.reward_models.online import EpisodeScorer
from apprentice.robot.spec import CameraSpec

LOCKSTEP_QUEUE = 64
_FINAL_WAIT_S = 0.5  # wall time for the last frame of an episode to arrive after the news of its end


@dataclass
class Track:
    """One episode: its sampling grid, and (worker only) its scorer."""

    episode_id: str
    text: str
    due: float
    last: float = -1.0
    ended: float | None = None
    deadline: float = 0.0
    scorer: EpisodeScorer | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Job:
    """A moment to score. ``first``: of its episode."""

    feed: RewardFeed
    track: Track
    frames: FrameSet
    first: bool


class RewardFeed:
    """Samples complete frame sets of one robot while its episode runs.

    Args:
        node: makes the subscriptions and the publisher.
        namespace: of the robot, below the node's own; empty: the node's own.
        cameras: to look at.
        period_s: between samples, of the robot's time.
        lockstep: equal stamps, and no image lost.
        put: takes what is to be scored, and whether it must not be dropped.
    """

    def __init__(
        self,
        node: Node,
        namespace: str,
        cameras: Sequence[CameraSpec],
        period_s: float,
        lockstep: bool,
        put: Callable[[Job, bool], None],
    ):
        self.namespace, self.period_s, self.active = namespace, period_s, False
        self.frame_id = cameras[0].frame_id
        self.sets = FrameSets(cameras, lockstep)
        self.track: Track | None = None
        self._put = put
        prefix = f'{namespace}/' if namespace else ''
        absolute = [camera.topic for camera in cameras if camera.topic.startswith('/')]
        if prefix and absolute:
            raise StartupError(
                f'camera topic {absolute[0]} is absolute: it cannot belong to several robots; write it '
                'relative in the robot file'
            )
        self.samples = node.create_publisher(RewardSample, f'{prefix}reward/sample', qos.LOG)
        profile = qos.SENSOR
        if lockstep:
            profile = QoSProfile(
                history=HistoryPolicy.KEEP_LAST, depth=LOCKSTEP_QUEUE, reliability=ReliabilityPolicy.RELIABLE
            )
        for camera in cameras:
            on_image = partial(self._on_image, camera.name)
            node.create_subscription(Image, f'{prefix}{camera.topic}', on_image, profile)
        node.create_subscription(EpisodeState, f'{prefix}episode/state', self._on_episode, qos.STATE)

    def check_final(self) -> None:
        """Hand on the last set of an ended episode once it is here, or once waiting for it is pointless."""
        track = self.track
        if track is None or track.ended is None:
            return
        before = [s for s in self.sets.recent if s.stamp <= track.ended + 1e-6]
        newest = self.sets.recent[-1].stamp if self.sets.recent else -1.0
        if newest < track.ended - 1e-6 and time.monotonic() < track.deadline:
            return
        self.track = None
        if before and before[-1].stamp > track.last and self.active:
            self._hand_on(track, before[-1], True)

    def _on_image(self, name: str, message: Image) -> None:
        stamp = convert.seconds(message.header.stamp)
        for frames in self.sets.add(name, stamp, message, time.monotonic()):
            self._offer(frames)

    def _offer(self, frames: FrameSet) -> None:
        """Hand a set on if the running episode is due for a sample."""
        track = self.track
        if track is None or not self.active:
            return
        if track.ended is not None:
            self.check_final()
            return
        if frames.stamp < track.due - 1e-6 or frames.stamp <= track.last:
            return
        while track.due <= frames.stamp + 1e-6:
            track.due += self.period_s
        self._hand_on(track, frames, False)

    def _hand_on(self, track: Track, frames: FrameSet, final: bool) -> None:
        first = track.last < 0
        track.last = frames.stamp
        self._put(Job(self, track, frames, first), first or final)

    def _on_episode(self, message: EpisodeState) -> None:
        track = self.track
        if message.phase == EpisodeState.RUNNING:
            if track is not None and track.episode_id == message.episode_id:
                return
            started = convert.seconds(message.started)
            self.track = Track(message.episode_id, message.task, started)
            for frames in list(self.sets.recent):  # frames can overtake the news of the start
                self._offer(frames)
            return
        if track is None or track.episode_id != message.episode_id or track.ended is not None:
            return
        if message.phase == EpisodeState.ENDED:
            track.ended = convert.seconds(message.ended) or float('inf')
            track.deadline = time.monotonic() + _FINAL_WAIT_S
            self.check_final()
