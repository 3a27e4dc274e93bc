# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the throughput bench of reward models needs: random towers, frames, and a reward node at full load."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.bench.measure import Stopwatch, numbers, use_free_ros_domain
from apprentice.robot.parts import share

TEXT = 'pick up the red cube'
CAMERAS = ('front', 'wrist')
_WAITING = 2  # batches that are under way
_START = 100.0


def random_vit(folder: Path) -> Path:
    """A folder with open_clip's ViT-B/32 as image tower, random weights, and the small shipped text tower."""
    import open_clip
    import torch

    from apprentice.reward_models.clip.encoder import CONFIG, VOCABULARY, WEIGHTS
    from apprentice.reward_models.files import write_half

    shipped = share('weights', 'clip')
    folder.mkdir(parents=True)
    for name in (VOCABULARY, 'reward.json'):
        shutil.copy(shipped / name, folder / name)
    small = json.loads((shipped / CONFIG).read_text())
    stock = open_clip.get_model_config('ViT-B-32')
    model = {**stock, 'text_cfg': small['model_cfg']['text_cfg']}
    looks = {
        'size': 224,
        'mean': open_clip.OPENAI_DATASET_MEAN,
        'std': open_clip.OPENAI_DATASET_STD,
        'interpolation': 'bicubic',
        'resize_mode': 'shortest',
    }
    (folder / CONFIG).write_text(json.dumps({'model_cfg': model, 'preprocess_cfg': looks}))
    torch.manual_seed(0)
    write_half(open_clip.create_model(f'local-dir:{folder}', load_weights=False), folder / WEIGHTS)
    return folder


def frames_for(towers: Mapping[str, Path], count: int, onnx: bool) -> dict[str, Path]:
    """A file a tower: simulator frames of its size and the rewards torch gives them; with ``onnx`` also the
    ONNX files, beside the weights."""
    from apprentice.cli.export_clip import simulated
    from apprentice.reward_models.clip import onnx_export
    from apprentice.reward_models.clip.reward import ClipReward

    pictures, found = simulated(count), {}
    for name, weights in towers.items():
        model = ClipReward.load(weights)
        frames = model.encoder.resize(pictures)
        found[name] = weights / 'frames.npz'
        np.savez(found[name], frames=frames, rewards=rewards_of(model, frames))
        if onnx:
            onnx_export.export(model.encoder, weights / 'onnx', int8=True)
    return found


def rewards_of(model: Any, frames: np.ndarray) -> np.ndarray:
    """Rewards [instructions, N] under the instruction of the demo and those that are wrong for it."""
    embeddings = model.encode(frames)
    return np.stack([model.reward(embeddings, text) for text in (TEXT, *model.negatives(TEXT))])


def node(folder: str, frames: str, robots: int, threads: int, seconds: float) -> dict[str, Any]:
    """Frames per second of a reward node that is never without work, from image messages to samples."""
    use_free_ros_domain()
    import rclpy
    from rclpy.parameter import Parameter

    from apprentice.nodes.reward import RewardNode
    from apprentice.nodes.runtime import make_executor

    names = [f'robot{i}' for i in range(robots)]
    settings = {
        'weights': folder,
        'robots': names,
        'rate_hz': 100.0,
        'lockstep': True,  # nothing is dropped
        'max_batch': robots,
        'batch_window_ms': 20.0,
        'threads': threads,
    }
    rclpy.init()
    under_load = RewardNode(parameter_overrides=[Parameter(k, value=v) for k, v in settings.items()])
    under_load.start()
    load = _Load(rclpy.create_node('load'), names, np.load(frames)['frames'])
    executor = make_executor()  # as the node's own process
    for each in (under_load, load.node):
        executor.add_node(each)

    def spin_until(count: int) -> None:
        limit = time.monotonic() + 120
        while load.scored < count:
            if load.sent - load.scored <= (_WAITING - 1) * robots:
                load.send()
            executor.spin_once(timeout_sec=0.1)  # a message wakes it
            if time.monotonic() > limit:
                raise RuntimeError(f'{load.scored} samples of {load.sent} moments in 120 s')

    load.connect(lambda: executor.spin_once(timeout_sec=0.05))
    spin_until(3 * robots)  # the first calls allocate
    watch, before, began = Stopwatch(), load.scored, time.monotonic()
    with watch.section():
        while time.monotonic() - began < seconds:
            spin_until(load.scored + robots)
    done = (load.scored - before) * len(CAMERAS)
    report = under_load._report()[2]
    texts = under_load._model.inner.encoder.texts  # type: ignore[union-attr]
    also = {
        'frames a call': load.scored * len(CAMERAS) / max(1, report['batches']),
        'texts encoded': float(texts.misses),
        'texts asked for': float(texts.hits + texts.misses),
        'not valid': float(report['invalid'] + load.invalid),
    }
    while load.scored < load.sent:  # a thread inside of torch must not meet the end of the process
        executor.spin_once(timeout_sec=0.05)
    under_load.close()
    measured = {'value': done / watch.wall_s, 'count': done, 'wall_s': watch.wall_s, 'cpu_s': watch.cpu_s}
    return numbers(measured, 'torch', 'open_clip_torch', 'ros-jazzy-rclpy', **also)


class _Load:
    """Cameras and episodes of several robots; every frame is different, so that no cache can answer."""

    def __init__(self, node: Any, robots: list[str], frames: np.ndarray):
        from apprentice_interfaces.msg import EpisodeState, RewardSample
        from sensor_msgs.msg import Image

        from apprentice.nodes import qos

        self.node, self.sent, self.scored, self.invalid = node, 0, 0, 0
        self._robots, self._frames, self._rounds = robots, frames, 0
        self._images = {
            (robot, camera): node.create_publisher(
                Image, f'{robot}/camera/{camera}/image_raw', qos.SENSOR_PUBLISHER
            )
            for robot in robots
            for camera in CAMERAS
        }
        self._episodes = [
            node.create_publisher(EpisodeState, f'{robot}/episode/state', qos.STATE) for robot in robots
        ]
        for robot in robots:
            node.create_subscription(RewardSample, f'{robot}/reward/sample', self._on_sample, qos.LOG)

    def connect(self, spin: Any) -> None:
        """Wait until the node listens, and start the episodes."""
        from apprentice_interfaces.msg import EpisodeState

        from apprentice.nodes import convert

        publishers = [*self._images.values(), *self._episodes]
        limit = time.monotonic() + 30
        while not all(publisher.get_subscription_count() for publisher in publishers):
            spin()
            if time.monotonic() > limit:
                raise RuntimeError('the reward node does not subscribe')
        for robot, publisher in zip(self._robots, self._episodes, strict=True):
            message = EpisodeState(episode_id=f'{robot} 1', task=TEXT, phase=EpisodeState.RUNNING)
            message.started = convert.stamp_of(_START)
            publisher.publish(message)
        for _ in range(20):
            spin()

    def send(self) -> None:
        """One moment of every robot."""
        from apprentice.nodes import convert

        self._rounds += 1
        for i, (robot, camera) in enumerate(self._images):
            frame = self._frames[(self._rounds * len(self._images) + i) % len(self._frames)].copy()
            frame[0, 0] = np.frombuffer(np.uint32(self._rounds * 64 + i).tobytes()[:3], np.uint8)
            message = convert.image_msg(frame, _START + 0.01 * self._rounds, camera)
            self._images[robot, camera].publish(message)
        self.sent += len(self._robots)

    def _on_sample(self, message: Any) -> None:
        self.scored += 1
        self.invalid += not message.valid
