# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An approved reward program on a real graph: joints, tool and objects in, costs out."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

import numpy as np
import pytest
from apprentice_interfaces.msg import EpisodeState, RewardSample
from geometry_msgs.msg import PoseStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from visualization_msgs.msg import MarkerArray

from apprentice.nodes import convert, qos, reward_state
from apprentice.nodes.reward import RewardNode
from apprentice.nodes.reward_state import StateFeed
from apprentice.nodes.runtime import StartupError
from apprentice.nodes.sim_poses import object_markers
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.programs import folder as folders
from apprentice.reward_models.programs.admission import Check
from apprentice.reward_models.programs.folder import Written
from apprentice.reward_models.programs.task import POSE, RewardTask, StateName
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
TEXT = 'pick up the red cube'
TERMS = [
    {'residual': 'distance', 'of': ['tip', 'cube_red'], 'norm': 'power'},
    {'residual': 'gripper_opening', 'norm': 'power', 'weight': 10},
]
SIZES = {'tip': (7, POSE), 'cube_red': (7, POSE), 'opening': (1, 'm')}


@pytest.fixture
def weights(tmp_path):
    state = tuple(
        StateName(name, size, unit, '', (-1.0,) * size, (1.0,) * size) for name, (size, unit) in SIZES.items()
    )
    program = Written('terms', json.dumps(TERMS), RewardTask(TEXT, state), (0.0, 100.0))
    folders.write(tmp_path, program)
    folders.write_admission(tmp_path, program, [asdict(Check('by hand', True, ''))], {})
    folders.approve(tmp_path, 'the test')
    return str(tmp_path)


class Robot:
    """Plays a robot whose tool is above the red cube."""

    def __init__(self, ros, node):
        self.ros, self.node, self.samples = ros, node, []
        make = ros.node.create_publisher
        self.images = {c.name: make(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras}
        self.joints = make(JointState, SPEC.joint_states_topic, qos.SENSOR_PUBLISHER)
        self.tip = make(PoseStamped, 'ee_pose', qos.SENSOR_PUBLISHER)
        self.objects = make(MarkerArray, 'sim/object_poses', qos.SENSOR_PUBLISHER)
        self.episodes = make(EpisodeState, 'episode/state', qos.STATE)
        ros.node.create_subscription(RewardSample, 'reward/sample', self.samples.append, qos.LOG)
        every = (*self.images.values(), self.joints, self.tip, self.objects, self.episodes)
        assert ros.spin_until(lambda: all(p.get_subscription_count() for p in every))
        assert ros.spin_until(lambda: node.feeds[0].samples.get_subscription_count() > 0)

    def start(self):
        message = EpisodeState(episode_id='e1', task=TEXT, phase=EpisodeState.RUNNING)
        message.started = convert.stamp_of(100.0)
        self.episodes.publish(message)
        assert self.ros.spin_until(lambda: self.node.feeds[0].track is not None)

    def moment(self, stamp, height, objects=True):
        """Frames first, then the state of the same moment, as the simulator publishes."""
        before = len(self.samples)
        for name, publisher in self.images.items():
            publisher.publish(convert.image_msg(np.zeros((64, 64, 3), np.uint8), stamp, name))
        cube = np.array([0.3, 0.0, 0.02, 1, 0, 0, 0])
        if objects:
            self.objects.publish(object_markers({'cube_red': cube}, stamp, SPEC.base_frame))
        pose = PoseStamped()
        pose.header.stamp = convert.stamp_of(stamp)
        pose.pose.position.x, pose.pose.position.z = 0.3, 0.02 + height
        self.tip.publish(pose)
        names = [joint.name for joint in SPEC.joints]
        self.joints.publish(convert.joint_state_msg(stamp, names, np.full(SPEC.dim, 0.03)))
        assert self.ros.spin_until(lambda: len(self.samples) > before, 30.0)
        return self.samples[-1]


def test_a_program_scores_the_state_of_the_frame(ros, weights, monkeypatch):
    parameters = {'model': 'apprentice.reward_models.programs.model:TermsReward', 'weights': weights}
    overrides = [Parameter(name, value=value) for name, value in {**parameters, 'lockstep': True}.items()]
    node = ros.add(RewardNode(parameter_overrides=overrides))
    node.start()
    robot = Robot(ros, node)
    robot.start()
    monkeypatch.setattr(reward_state, '_WAIT_S', 20.0)  # as long as a busy machine needs
    try:
        for number, height in enumerate((0.2, 0.1, 0.4)):
            sample = robot.moment(100.0 + 0.5 * number, height)
            assert sample.valid, sample.reason
            assert sample.kind == RewardSample.COST
            assert sample.value == pytest.approx(height + 10 * 0.03, abs=1e-5)
            assert sample.model == 'program_terms'
        monkeypatch.setattr(reward_state, '_WAIT_S', 1.5)
        sample = robot.moment(101.5, 0.2, objects=False)
        assert not sample.valid
        assert 'needs sim/object_poses, which is 0.5 s old; is it published?' in sample.reason
        monkeypatch.setattr(reward_state, '_WAIT_S', 20.0)
        sample = robot.moment(102.0, 200.0)
        assert not sample.valid, 'a height in millimetres'
    finally:
        node.close()


EVERY = {'joint_states': 'joints', 'ee_pose': 'tip', 'sim/object_poses': 'cube_red'}


def state_feed(ros, stamp, topics=tuple(EVERY), **more):
    feed = StateFeed(ros.node, SPEC, 'left', list(EVERY.values()), **more)
    for topic in topics:
        feed._keep(topic, stamp, {EVERY[topic]: np.full(7, stamp)})
    return feed


def seconds(feed, stamp, error=''):
    """Wall time of asking for the state; with an error it must be refused."""
    started = time.monotonic()
    if error:
        with pytest.raises(RewardModelError, match=error):
            feed.at(stamp)
    else:
        assert list(feed.at(stamp)) == list(EVERY.values())
    return time.monotonic() - started


@pytest.fixture
def long_wait(monkeypatch):
    """Whoever waits is told from a machine that is busy."""
    monkeypatch.setattr(reward_state, '_WAIT_S', 20.0)


def test_a_recent_state_is_not_waited_for(ros, long_wait):
    assert seconds(state_feed(ros, 100.0), 100.15) < 5.0


def test_in_lockstep_the_state_of_the_moment_is_waited_for_with_one_deadline_for_all(ros, monkeypatch):
    monkeypatch.setattr(reward_state, '_WAIT_S', 1.0)
    exact = state_feed(ros, 100.0, lockstep=True)
    assert 0.99 < seconds(exact, 100.15) < 2.9


def test_a_silent_topic_holds_nobody_up(ros, long_wait):
    feed = state_feed(ros, 100.0, ('joint_states', 'ee_pose'))
    for stamp in (100.1, 100.2):
        assert seconds(feed, stamp, 'sim/object_poses, which is missing') < 5.0
    assert seconds(feed, 100.6, 'joint_states, which is 0.6 s old.*state_max_age_s') < 5.0
    for topic, name in EVERY.items():
        feed._keep(topic, 100.7, {name: np.zeros(7)})
    assert seconds(feed, 100.8) < 5.0


def test_a_slow_topic_is_used_as_it_is_within_the_age_that_was_given(ros, long_wait):
    """A pose estimator at 2 Hz beside joints at 100 Hz: every frame has a state, and none is waited for."""
    feed = state_feed(ros, 100.0, max_age_s=0.6)
    waited = 0.0
    for tick in range(1, 21):
        stamp = 100.0 + 0.1 * tick
        for topic in ('joint_states', 'ee_pose'):
            feed._keep(topic, stamp, {EVERY[topic]: np.full(7, stamp)})
        waited += seconds(feed, stamp)
        if tick % 5 == 0:
            feed._keep('sim/object_poses', stamp, {'cube_red': np.full(7, stamp)})
    assert waited < 5.0
    found = feed.at(102.05)
    assert (found['tip'][0], found['cube_red'][0]) == (102.0, 102.0)
    assert seconds(feed, 102.7, 'sim|joint') < 5.0


def test_a_program_that_judges_the_action_is_refused_at_the_start(ros, tmp_path, capfd):
    state = (StateName('tip', 7, POSE, '', (-1.0,) * 7, (1.0,) * 7),)
    source = "def reward(state, action):\n    return state['tip'][:, 0] - np.abs(action).sum(axis=1)\n"
    program = Written('python', source, RewardTask(TEXT, state), (-10.0, 10.0))
    folders.write(tmp_path, program)
    folders.write_admission(tmp_path, program, [asdict(Check('by hand', True, ''))], {})
    folders.approve(tmp_path, 'the test')
    parameters = {'model': 'apprentice.reward_models.programs.model:CodeReward', 'weights': str(tmp_path)}
    node = ros.add(RewardNode(parameter_overrides=[Parameter(k, value=v) for k, v in parameters.items()]))
    with pytest.raises(StartupError, match='failed to configure'):
        node.start()
    assert 'judges the action, which a reward node does not see' in capfd.readouterr().err
    node.close()
