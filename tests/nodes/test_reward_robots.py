# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One reward node for several robots: one model, batches over robots, samples in the right namespaces."""

from dataclasses import replace

import numpy as np
import pytest
from apprentice_interfaces.msg import EpisodeState, RewardSample
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from apprentice.nodes import convert, qos
from apprentice.nodes.reward import RewardNode

ROBOTS, CAMERAS = ('left', 'right'), ('front', 'wrist')
START = 100.0
TEXT = {'left': 'pick up the red cube', 'right': 'pick up the blue cube'}


def views(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (2, 8, 8, 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


class Robots:
    """A reward node for two robots, and a test node that plays both."""

    def __init__(self, ros, **parameters):
        settings = {'robots': list(ROBOTS), 'rate_hz': 10.0, 'lockstep': True, **parameters}
        overrides = [Parameter(name, value=value) for name, value in settings.items()]
        self.ros, self.node = ros, ros.add(RewardNode(parameter_overrides=overrides))
        self.node.start()
        make = ros.node.create_publisher
        self.cameras = {
            (robot, camera): make(Image, f'{robot}/camera/{camera}/image_raw', qos.SENSOR_PUBLISHER)
            for robot in ROBOTS
            for camera in CAMERAS
        }
        self.episodes = {robot: make(EpisodeState, f'{robot}/episode/state', qos.STATE) for robot in ROBOTS}
        self.samples = {robot: [] for robot in ROBOTS}
        for robot, samples in self.samples.items():
            ros.node.create_subscription(RewardSample, f'{robot}/reward/sample', samples.append, qos.LOG)
        publishers = (*self.cameras.values(), *self.episodes.values())
        assert ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers))
        feeds = self.node.feeds
        assert ros.spin_until(lambda: all(f.samples.get_subscription_count() for f in feeds))

    def start(self):
        for robot in ROBOTS:
            message = EpisodeState(episode_id=f'{robot} 1', task=TEXT[robot], phase=EpisodeState.RUNNING)
            message.started = convert.stamp_of(START)
            self.episodes[robot].publish(message)
        assert self.ros.spin_until(lambda: all(feed.track for feed in self.node.feeds))

    def moment(self, images, stamp):
        before = [feed.sets.count for feed in self.node.feeds]
        for (robot, camera), publisher in self.cameras.items():
            image = images[robot][CAMERAS.index(camera)]
            publisher.publish(convert.image_msg(image, stamp, f'{camera}_optical_frame'))
        assert self.ros.spin_until(
            lambda: all(feed.sets.count > n for feed, n in zip(self.node.feeds, before))
        )

    def wait(self, count):
        assert self.ros.spin_until(lambda: all(len(s) >= count for s in self.samples.values()))


@pytest.fixture
def robots(ros):
    made = []

    def make(**parameters):
        made.append(Robots(ros, **parameters))
        return made[-1]

    yield make
    for each in made:
        each.node.close()


def test_robots_share_calls_and_get_their_own_samples(robots):
    r = robots(batch_window_ms=100.0, max_batch=2)
    batcher = r.node._worker.batcher
    assert batcher.config.window_s == 0.1
    # on a busy machine the two may arrive further apart than a node may be told to wait
    batcher.config = replace(batcher.config, window_s=1.0)
    calls, encode = [], r.node._model.encode
    r.node._model.encode = lambda frames: (calls.append(len(frames)), encode(frames))[1]
    r.start()
    images = [{robot: views(10 * i + j) for j, robot in enumerate(ROBOTS)} for i in range(4)]
    for i in range(4):
        r.moment(images[i], START + 0.1 * i)
        r.wait(i + 1)
    assert calls == [4] * 4  # two robots of two cameras
    model = r.node._model
    for robot, samples in r.samples.items():
        stamps = [convert.seconds(s.header.stamp) for s in samples]
        assert stamps == pytest.approx([START + 0.1 * i for i in range(4)])
        assert {(s.episode_id, s.instruction, s.valid) for s in samples} == {
            (f'{robot} 1', TEXT[robot], True)
        }
        rewards = [model.reward(encode(moment[robot]), TEXT[robot]).mean() for moment in images]
        assert [s.value for s in samples] == pytest.approx(rewards, abs=2e-3)
    texts = model.inner.encoder.texts.misses
    r.moment(images[0], START + 0.5)
    r.wait(5)
    assert model.inner.encoder.texts.misses == texts  # read once
    assert r.node._report()[2]['batches'] == 5


def test_a_broken_camera_of_one_robot_does_not_spoil_the_other(robots):
    r = robots(batch_window_ms=100.0)
    r.start()
    for (robot, camera), publisher in r.cameras.items():
        message = convert.image_msg(views(1)[0], START, camera)
        if robot == 'left':
            message.encoding = '16UC1'
        publisher.publish(message)
    r.wait(1)
    assert not r.samples['left'][0].valid
    assert r.samples['right'][0].valid


def test_still_frames_are_scored_and_not_encoded(robots):
    r = robots(still_below=0.01)
    calls, encode = [], r.node._model.encode
    r.node._model.encode = lambda frames: (calls.append(len(frames)), encode(frames))[1]
    r.start()
    scene = {robot: views(3) for robot in ROBOTS}
    for i in range(3):
        r.moment({robot: np.clip(v.astype(int) + i, 0, 255).astype(np.uint8) for robot, v in scene.items()},
                 START + 0.1 * i)  # fmt: skip
        r.wait(i + 1)
    assert sum(calls) == 4  # the first moment of two robots
    for samples in r.samples.values():
        assert len({s.value for s in samples}) == 1
    assert r.node._report()[2]['still'] == 8
    r.moment({robot: views(4) for robot in ROBOTS}, START + 0.4)
    r.wait(4)
    assert sum(calls) == 8


def test_a_model_that_has_no_such_runtime_is_refused(start_node):
    process = start_node('reward', '-p', 'runtime:=tensorrt')
    assert process.popen.wait(60) == 2, process.output()
    assert 'torch-bf16' in process.output()


def test_absolute_topics_cannot_belong_to_several_robots(start_node, tmp_path):
    from apprentice.robot.parts import share

    text = share('robots', 'sim_arm.yaml').read_text()
    changed = text.replace('camera/front/image_raw', '/camera/front/image_raw')
    assert changed != text
    (tmp_path / 'robot.yaml').write_text(changed)
    process = start_node('reward', '-p', f'robot:={tmp_path / "robot.yaml"}', '-p', 'robots:=[left, right]')
    assert process.popen.wait(60) == 2, process.output()
    assert 'write it relative' in process.output()
