# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One reward model on the graph: looks at the cameras while an episode runs and publishes what it measures.

It never commands anything, and ``done`` is advice to the episode node. Inference runs in a worker thread. One
loaded model serves any number of robots of one kind, each in a namespace of its own.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
from apprentice_interfaces.srv import ScorePair

from apprentice.nodes import convert
from apprentice.nodes.reward_feed import LOCKSTEP_QUEUE, Job, RewardFeed
from apprentice.nodes.reward_judging import NodeJudging
from apprentice.nodes.reward_state import MAX_AGE_S, StateFeed
from apprentice.nodes.reward_worker import RewardWorker
from apprentice.nodes.robot_file import load_robot
from apprentice.nodes.runtime import (
    Diagnostics,
    ManagedNode,
    StartupError,
    parameter,
    run,
    simulated_time,
    wall_timer,
)
from apprentice.reward_models.base import PairCritic, RewardModel, ScoreRequest
from apprentice.reward_models.cache.batcher import BatchConfig
from apprentice.reward_models.cache.model import cached
from apprentice.reward_models.cache.still import StillFrames
from apprentice.reward_models.online import EpisodeScorer, invalid_reward
from apprentice.robot.parts import find_weights, load_part
from apprentice.robot.types import Reward

_LIVE_QUEUE = 2


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
        self._judgement = NodeJudging(self)
        self._alpha = parameter(
            self, 'alpha', -1.0, 'goal-baseline strength of CLIP; -1: as the weights say', -1.0, 1.0
        )
        self._device = parameter(self, 'device', 'cpu', 'torch device')
        self._runtime = parameter(
            self, 'runtime', 'torch', 'what runs the image encoder: torch, torch-bf16, onnx or onnx-int8'
        )
        self._cameras = parameter(self, 'cameras', [''], 'cameras to look at; empty: as the weights say')
        self._robots = parameter(
            self, 'robots', [''], "namespaces of the robots to score; empty: the one of the node's own"
        )
        window = parameter(
            self, 'batch_window_ms', 10.0, 'how long a frame waits for those of other robots', 0.0, 100.0
        )
        batch = parameter(self, 'max_batch', 32, 'moments that are encoded in one call', 1, 1024)
        self._still_below = parameter(
            self, 'still_below', 0.0, 'a frame that differs less from the last scored one is not encoded; '
            '0: all are; 0.01 is about the noise of a camera', 0.0, 0.99,
        )  # fmt: skip
        self._state_age = parameter(
            self, 'state_max_age_s', MAX_AGE_S, 'by which a state may be older than the frame', 0.001, 60.0
        )
        self._cache_folder = parameter(
            self, 'cache', '', 'folder of embeddings to keep; empty: in memory only'
        )
        self._download = parameter(self, 'allow_download', False, 'fetch named weights that are not here')
        threads = parameter(self, 'threads', 1, 'threads of the encoder', 1, 64)
        simulated = simulated_time(self)
        self._lockstep = parameter(
            self, 'lockstep', simulated, 'equal stamps, and 64 samples may wait; default: as use_sim_time'
        )
        import torch

        torch.set_num_threads(threads)
        self._period = 1.0 / rate
        self._batches = BatchConfig(
            window_s=window / 1e3,
            max_batch=batch,
            max_waiting=LOCKSTEP_QUEUE if self._lockstep else _LIVE_QUEUE,
            newest_first=not self._lockstep,
        )
        self._model: RewardModel | None = None
        self.feeds: list[RewardFeed] = []
        self._inference = threading.Lock()
        self._worker: RewardWorker | None = None
        self._latency: deque[float] = deque(maxlen=200)
        self._scored = self._invalid = 0
        self._error = ''

    def configure(self) -> None:
        part = load_part(self._part)
        weights = self._find_weights(getattr(part, 'model', ''))
        model = self._load(part, weights)
        if model.needs.action or model.needs.reference:
            what = 'the action' if model.needs.action else 'a demonstration'
            raise StartupError(
                f'{model.model} from {weights} judges {what}, which a reward node does not see; use a model '
                'without it (a reward program: leave its argument action out), or ask this one in Python'
            )
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
        self._model = cached(model, folder=self._cache_folder or None)
        self._names = [camera.name for camera in cameras]
        robots = list(dict.fromkeys(name.strip('/') for name in self._robots)) or ['']
        self._worker = RewardWorker(
            lambda frames: self._model.encode(frames),  # type: ignore[union-attr]
            self._names,
            self._on_embeddings,
            self._batches,
            len(robots),
            StillFrames(self._still_below, cameras=len(robots) * len(cameras)),
            self._inference,
        )
        names_of_state = model.needs.state
        self._states = {
            name: StateFeed(self, self.spec, name, names_of_state, self._lockstep, self._state_age)
            for name in robots
            if names_of_state
        }
        self._judging = {name: self._judgement.judging(self._model, name, len(cameras)) for name in robots}
        self.feeds = [
            RewardFeed(self, name, cameras, self._period, self._lockstep, self._worker.put) for name in robots
        ]
        if isinstance(self._model, PairCritic):
            self.create_service(ScorePair, 'reward/score_pair', self._on_pair)
        wall_timer(self, 0.1, self._check_final)
        Diagnostics(self, self._report, self.spec.name)
        self.get_logger().info(
            f'{model.model} {model.version} from {weights}, cameras {", ".join(self._names)}'
            + (f', robots {", ".join(robots)}' if robots != [''] else '')
        )

    def activate(self) -> None:
        for feed in self.feeds:
            feed.active = True

    def deactivate(self) -> None:
        for feed in self.feeds:
            feed.active, feed.track = False, None

    def cleanup(self) -> None:
        self.close()
        self.feeds, self._model = [], None

    def _load(self, part: Any, weights: str) -> RewardModel:
        options: dict[str, Any] = {} if self._alpha < 0 else {'alpha': self._alpha}
        if self._runtime != 'torch':
            options['runtime'] = self._runtime
        model = part.load(weights, device=self._device, allow_download=self._download, **options)
        if getattr(model, 'runtime', 'torch') != self._runtime:
            raise StartupError(f'{self._part} does not run with runtime {self._runtime!r}; use torch')
        return model

    def _find_weights(self, name: str) -> str:
        wanted = self._weights or name
        if not wanted or ':' in wanted:  # nothing to find, or a name of open_clip
            return wanted
        try:
            return str(find_weights(wanted))
        except FileNotFoundError:
            return wanted  # the model says what is wrong, with the name the user gave

    def _check_final(self) -> None:
        for feed in self.feeds:
            feed.check_final()

    def _on_embeddings(self, job: Job, embeddings: np.ndarray | Exception) -> None:
        """Score and publish; called by the worker."""
        if isinstance(embeddings, Exception):
            reward = self._failed(job.frames.stamp, embeddings)
        else:
            reward = self._score(job, embeddings)
        self._publish(job, reward)

    def _score(self, job: Job, embeddings: np.ndarray) -> Reward:
        assert self._model is not None
        track = job.track
        states = self._states.get(job.feed.namespace)
        state = None if states is None else states.at(job.frames.stamp)  # may wait: not in a callback
        with self._inference:
            if track.scorer is None:
                judge = self._judging[job.feed.namespace].new()
                track.scorer = EpisodeScorer(self._model, track.text, self._stride, judge=judge)
            return track.scorer.add(job.frames.stamp, embeddings, state)

    def _failed(self, stamp: float, error: Exception) -> Reward:
        assert self._model is not None
        return invalid_reward(self._model, stamp, f'{type(error).__name__}: {error}')

    def _publish(self, job: Job, reward: Reward) -> None:
        reward.camera = ','.join(self._names)
        message = convert.reward_msg(reward, job.track.episode_id, job.track.text, job.feed.frame_id)
        message.latency_s = time.monotonic() - job.frames.received
        job.feed.samples.publish(message)
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
        values: dict[str, Any] = {
            'model': self._model.model if self._model else '',
            'scored': self._scored,
            'invalid': self._invalid,
            **(self._worker.report() if self._worker else {}),
            'frame_sets': sum(feed.sets.count for feed in self.feeds),
            'latency_ms_p50': f'{1e3 * np.median(latency):.1f}',
            'latency_ms_p99': f'{1e3 * np.quantile(latency, 0.99):.1f}',
        }
        if self._error:
            return Diagnostics.ERROR, self._error, values
        if values.get('lost'):
            return Diagnostics.ERROR, 'first or last frames of episodes were lost: encoder stuck', values
        for feed in self.feeds:
            missing = feed.sets.missing()
            if missing:
                of = f' of {feed.namespace}' if feed.namespace else ''
                return Diagnostics.WARN, f'no frame from camera {", ".join(missing)}{of}', values
        running = any(feed.track for feed in self.feeds)
        return Diagnostics.OK, 'scoring' if running else 'no episode', values

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()


def main() -> None:
    """Entry point of ``reward_node``."""
    run(RewardNode)


if __name__ == '__main__':
    main()
