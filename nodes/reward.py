# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One reward model on the graph: looks at the cameras while an episode runs and publishes what it measures.

It never commands anything, and ``done`` is advice to the episode node. Inference runs in a worker thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from apprentice_interfaces.msg import EpisodeState, RewardSample
from apprentice_interfaces.srv import ScorePair
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from apprentice.nodes import convert, qos
from apprentice.nodes.frame_sets import FrameSet, FrameSets
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import Diagnostics, ManagedNode, StartupError, parameter, run, wall_timer
from apprentice.reward_models.base import PairCritic, RewardModel, ScoreRequest, stack_views
from apprentice.reward_models.online import EpisodeScorer, invalid_reward
from apprentice.robot.parts import find_weights, load_part
from apprentice.robot.types import Reward

_LIVE_QUEUE, _LOCKSTEP_QUEUE = 2, 64
_FINAL_WAIT_S = 0.5  # wall time for the last frame of an episode to arrive after the news of its end


@dataclass
class _Track:
    """One episode: its sampling grid, and (worker only) its scorer."""

    episode_id: str
    text: str
    due: float
    last: float = -1.0
    ended: float | None = None
    deadline: float = 0.0
    scorer: EpisodeScorer | None = field(default=None, repr=False)


class RewardNode(ManagedNode):
    """Samples complete frame sets at ``rate_hz`` of the robot's time and publishes ``reward/sample``."""

    def __init__(self, **kwargs) -> None:
        super().__init__('reward', **kwargs)
        self.spec = load_robot(self)
        self._part = parameter(
            self, 'model', 'apprentice.reward_models.clip:ClipReward', 'reward model as package.module:Class'
        )
        self._weights = parameter(
            self, 'weights', '', "folder, file, open_clip 'name:tag', or a name in share/apprentice/weights"
        )
        rate = parameter(self, 'rate_hz', 2.0, 'samples per second of the robot time', 0.01, 100.0)
        self._stride = parameter(self, 'stride_s', 1.0, 'seconds between the frames of a pair', 0.01, 600.0)
        self._done = parameter(self, 'done_threshold', 0.9, 'done probability that counts as done', 0.0, 1.0)
        self._alpha = parameter(
            self, 'alpha', -1.0, 'goal-baseline strength of CLIP; -1: as the weights say', -1.0, 1.0
        )
        self._device = parameter(self, 'device', 'cpu', 'torch device')
        self._cameras = parameter(self, 'cameras', [''], 'cameras to look at; empty: as the weights say')
        self._download = parameter(self, 'allow_download', False, 'fetch named weights that are not here')
        threads = parameter(self, 'threads', 1, 'threads of torch', 1, 64)
        simulated = bool(self.get_parameter('use_sim_time').value)
        self._lockstep = parameter(
            self, 'lockstep', simulated, 'equal stamps, and no sample dropped; default: as use_sim_time'
        )
        import torch

        torch.set_num_threads(threads)
        self._period = 1.0 / rate
        self._model: RewardModel | None = None
        self._track: _Track | None = None
        self._jobs: deque[tuple[_Track, FrameSet, bool]] = deque()
        self._wake, self._inference = threading.Condition(), threading.Lock()
        self._closing = False
        self._worker: threading.Thread | None = None
        self._latency: deque[float] = deque(maxlen=200)
        self._scored = self._dropped = self._invalid = 0
        self._error = ''

    def configure(self) -> None:
        part = load_part(self._part)
        weights = self._find_weights(getattr(part, 'model', ''))
        options = {} if self._alpha < 0 else {'alpha': self._alpha}
        model = part.load(weights, device=self._device, allow_download=self._download, **options)
        names = [name for name in self._cameras if name] or list(model.needs.cameras)
        if model.needs.cameras and len(names) != len(model.needs.cameras):
            raise StartupError(
                f'{weights} looks through {len(model.needs.cameras)} cameras {model.needs.cameras}; '
                f'cameras names {len(names)}'
            )
        cameras = [self.spec.camera(name) for name in names] if names else list(self.spec.cameras)
        if not cameras:
            raise StartupError(f'robot {self.spec.name!r} has no camera; a reward model needs one')
        size = (cameras[0].height, cameras[0].width)
        # the first inference is slow; also finds a model that does not run before an episode does
        model.encode(np.zeros((len(cameras), *size, 3), np.uint8))
        self._model, self._names = model, [camera.name for camera in cameras]
        self._sets = FrameSets(cameras, self._lockstep)
        self._samples = self.create_publisher(RewardSample, 'reward/sample', qos.LOG)
        self._frame_id = cameras[0].frame_id
        profile = qos.SENSOR
        if self._lockstep:
            profile = QoSProfile(
                history=HistoryPolicy.KEEP_LAST, depth=_LOCKSTEP_QUEUE, reliability=ReliabilityPolicy.RELIABLE
            )
        for camera in cameras:
            self.create_subscription(
                Image, camera.topic, lambda m, name=camera.name: self._on_image(name, m), profile
            )
        self.create_subscription(EpisodeState, 'episode/state', self._on_episode, qos.STATE)
        if isinstance(model, PairCritic):
            self.create_service(ScorePair, 'reward/score_pair', self._on_pair)
        wall_timer(self, 0.1, self._check_final)
        Diagnostics(self, self._report, self.spec.name)
        self._closing = False
        self._worker = threading.Thread(target=self._work, name='scorer', daemon=True)
        self._worker.start()
        self.get_logger().info(
            f'{model.model} {model.version} from {weights}, cameras {", ".join(self._names)}'
        )

    def deactivate(self) -> None:
        self._track = None

    def cleanup(self) -> None:
        self.close()
        self._track, self._model = None, None

    def _find_weights(self, name: str) -> str:
        wanted = self._weights or name
        if not wanted or ':' in wanted:  # nothing to find, or a name of open_clip
            return wanted
        try:
            return str(find_weights(wanted))
        except FileNotFoundError:
            return wanted  # the model says what is wrong, with the name the user gave

    def _on_image(self, name: str, message: Image) -> None:
        stamp = convert.seconds(message.header.stamp)
        for frames in self._sets.add(name, stamp, message, time.monotonic()):
            self._offer(frames)

    def _offer(self, frames: FrameSet) -> None:
        """Queue a set if the running episode is due for a sample."""
        track = self._track
        if track is None or not self.active:
            return
        if track.ended is not None:
            self._check_final()
            return
        if frames.stamp < track.due - 1e-6 or frames.stamp <= track.last:
            return
        while track.due <= frames.stamp + 1e-6:
            track.due += self._period
        self._queue(track, frames, False)

    def _queue(self, track: _Track, frames: FrameSet, final: bool) -> None:
        keep = track.last < 0 or final  # the first and the last frame are never dropped
        track.last = frames.stamp
        with self._wake:
            limit = _LOCKSTEP_QUEUE if self._lockstep else _LIVE_QUEUE
            waiting = [job for job in self._jobs if not job[2]]
            if len(waiting) >= limit:
                # behind: what is new matters more than what is old
                self._jobs.remove(waiting[0])
                self._dropped += 1
            self._jobs.append((track, frames, keep))
            self._wake.notify()

    def _on_episode(self, message: EpisodeState) -> None:
        track = self._track
        if message.phase == EpisodeState.RUNNING:
            if track is not None and track.episode_id == message.episode_id:
                return
            started = convert.seconds(message.started)
            self._track = _Track(message.episode_id, message.task, started)
            for frames in list(self._sets.recent):  # frames can overtake the news of the start
                self._offer(frames)
            return
        if track is None or track.episode_id != message.episode_id or track.ended is not None:
            return
        if message.phase == EpisodeState.ENDED:
            track.ended = convert.seconds(message.ended) or float('inf')
            track.deadline = time.monotonic() + _FINAL_WAIT_S
            self._check_final()

    def _check_final(self) -> None:
        """Queue the last set of an ended episode once it is here, or once waiting for it is pointless."""
        track = self._track
        if track is None or track.ended is None:
            return
        before = [s for s in self._sets.recent if s.stamp <= track.ended + 1e-6]
        newest = self._sets.recent[-1].stamp if self._sets.recent else -1.0
        if newest < track.ended - 1e-6 and time.monotonic() < track.deadline:
            return
        self._track = None
        if before and before[-1].stamp > track.last and self.active:
            self._queue(track, before[-1], True)

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._jobs or self._closing)
                if self._closing:
                    return
                track, frames, _ = self._jobs.popleft()
            try:
                reward = self._score(track, frames)
            except Exception as error:  # a failing model must neither end the thread nor stay unseen
                reward = self._failed(frames.stamp, error)
            self._publish(track, frames, reward)

    def _score(self, track: _Track, frames: FrameSet) -> Reward:
        assert self._model is not None
        views = stack_views({n: convert.image_array(m) for n, m in frames.images.items()}, self._names)
        with self._inference:
            if track.scorer is None:
                track.scorer = EpisodeScorer(self._model, track.text, self._stride, self._done)
            return track.scorer.add(frames.stamp, self._model.encode(views))

    def _failed(self, stamp: float, error: Exception) -> Reward:
        assert self._model is not None
        return invalid_reward(self._model, stamp, f'{type(error).__name__}: {error}')

    def _publish(self, track: _Track, frames: FrameSet, reward: Reward) -> None:
        reward.camera = ','.join(self._names)
        message = convert.reward_msg(reward, track.episode_id, track.text, self._frame_id)
        message.latency_s = time.monotonic() - frames.received
        self._samples.publish(message)
        self._latency.append(message.latency_s)
        self._scored += 1
        self._error = reward.reason
        if not reward.valid:
            self._invalid += 1
            self.get_logger().error(f'sample not valid: {reward.reason}', throttle_duration_sec=1.0)

    def _on_pair(self, request: ScorePair.Request, response: ScorePair.Response) -> ScorePair.Response:
        """Score two images; the views of several cameras stand side by side in one image, left to right."""
        critic = self._model
        assert isinstance(critic, PairCritic)
        try:
            pair = []
            for message in (request.before, request.after):
                image, count = convert.image_array(message), len(self._names)
                if image.shape[1] % count:
                    raise ValueError(
                        f'an image must hold the {count} views {self._names} side by side, equally wide'
                    )
                pair.append(np.stack(np.split(image, count, axis=1)))
            if pair[0].shape != pair[1].shape:
                raise ValueError('before and after must have the same size')
            with self._inference:
                score = critic.delta(ScoreRequest(text=[request.instruction], frames=np.stack(pair)[None]))
        except (ValueError, RuntimeError) as error:
            response.message = str(error)
            return response
        response.success = bool(score.valid[0])
        response.message = '' if response.success else 'the score is not finite'
        response.delta, response.done_prob = float(score.value[0]), float(score.done_prob[0])
        return response

    def _report(self) -> tuple[bytes, str, dict]:
        latency = np.array(list(self._latency)) if self._latency else np.zeros(1)
        values = {
            'model': self._model.model if self._model else '',
            'scored': self._scored,
            'invalid': self._invalid,
            'dropped': self._dropped,
            'queued': len(self._jobs),
            'frame_sets': self._sets.count if self._model else 0,
            'latency_ms_p50': f'{1e3 * np.median(latency):.1f}',
            'latency_ms_p99': f'{1e3 * np.quantile(latency, 0.99):.1f}',
        }
        if self._error:
            return Diagnostics.ERROR, self._error, values
        missing = self._sets.missing() if self._model else []
        if missing:
            return Diagnostics.WARN, f'no frame from camera {", ".join(missing)}', values
        return Diagnostics.OK, 'scoring' if self._track else 'no episode', values

    def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._worker is not None:
            self._worker.join(2.0)


def main() -> None:
    """Entry point of ``reward_node``."""
    run(RewardNode)


if __name__ == '__main__':
    main()
