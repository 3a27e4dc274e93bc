# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The watch over reward models on a real graph: episodes in, one report each out."""

import json

import numpy as np
import pytest
from apprentice_interfaces.msg import EpisodeState, ExecutedCommand, RewardHealth, RewardSample
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from apprentice.nodes import convert, qos
from apprentice.nodes.reward_health import RewardHealthNode
from apprentice.nodes.runtime import StartupError
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec

SPEC = RobotSpec.load(share('robots', 'sim_arm.yaml'))
SCENE = np.random.default_rng(0).integers(40, 200, (64, 64, 3)).astype(np.uint8)


class Graph:
    """The node, and a test node that plays cameras, reward model, gate and episode node."""

    def __init__(self, ros, run_dir, **parameters):
        parameters = {'run_dir': str(run_dir), 'calibration_episodes': 10, **parameters}
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.ros = ros
        self.node = ros.add(RewardHealthNode(parameter_overrides=overrides))
        make = ros.node.create_publisher
        self.cameras = {c.name: make(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras}
        self.samples = make(RewardSample, 'reward/sample', qos.LOG)
        self.executed = make(ExecutedCommand, 'gate/executed', qos.LOG)
        self.episodes = make(EpisodeState, 'episode/state', qos.STATE)
        self.reports = []
        self.listener = ros.node.create_subscription(
            RewardHealth, 'reward/health', self.reports.append, qos.HEALTH
        )
        self.acknowledge = ros.node.create_client(Trigger, 'reward/acknowledge')
        publishers = (*self.cameras.values(), self.samples, self.executed, self.episodes)
        assert ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers))
        assert ros.spin_until(lambda: self.node._health.get_subscription_count() > 0)

    def say(self, number, phase, outcome=0, cause=0, ended=0.0):
        start = 100.0 * (number + 1)
        message = EpisodeState(
            episode_id=f'e{number}', task='pick', phase=phase, outcome=outcome, end_cause=cause,
            started=convert.stamp_of(start), ended=convert.stamp_of(ended),
        )  # fmt: skip
        self.episodes.publish(message)
        return start

    def episode(self, number, outcome=EpisodeState.SUCCESS, cause=EpisodeState.CAUSE_HUMAN, dark=False,
                progress=1.0):  # fmt: skip
        """One episode of 3 s; returns its report."""
        start = self.say(number, EpisodeState.RUNNING)
        track = self.node
        assert self.ros.spin_until(lambda: track._track and track._track.episode_id == f'e{number}')
        rng = np.random.default_rng(number)
        for step in range(7):
            stamp = start + 0.5 * step
            frame = np.clip(SCENE // (50 if dark else 1) + 4 * step + rng.integers(0, 3, SCENE.shape), 0, 255)
            for camera in SPEC.cameras:
                image = convert.image_msg(frame.astype(np.uint8), stamp, camera.frame_id)
                self.cameras[camera.name].publish(image)
            phi = progress * step / 6
            sample = RewardSample(
                episode_id=f'e{number}', kind=RewardSample.ABS_PROGRESS, value=phi, progress=phi,
                done_prob=phi, valid=True, model='critic', version='v1', margin=0.5,
                std=float('nan'), ood=float('nan'),
            )  # fmt: skip
            sample.t0 = sample.t1 = sample.header.stamp = convert.stamp_of(stamp)
            self.samples.publish(sample)
            command = ExecutedCommand(
                episode_id=f'e{number}', source=ExecutedCommand.SOURCE_POLICY,
                executed=[float(v) for v in SPEC.vector('home')],
            )  # fmt: skip
            command.header.stamp = convert.stamp_of(stamp)
            self.executed.publish(command)
            # one moment after the other: sensors are best effort
            assert self.ros.spin_until(
                lambda step=step: (
                    step < len(track._track.stamps)
                    and step < len(track._track.rewards.get('critic', ()))
                    and step < len(track._track.commands)
                )
            )
        before = len(self.reports)
        self.say(number, EpisodeState.ENDED, outcome, cause, start + 3.0)
        assert self.ros.spin_until(lambda: len(self.reports) > before)
        return self.reports[-1]


def test_calibrate_alarm_acknowledge_audit(ros, tmp_path):
    graph = Graph(ros, tmp_path, success_topic='sim/truth')
    for number in range(10):
        report = graph.episode(number)
        assert (report.level, report.weight) == (RewardHealth.OK, 1.0)
        assert not report.detectors
    assert 'calibrated on 10' in report.reason
    assert json.loads((tmp_path / 'reward_health' / 'critic-v1.json').read_text())['episodes'] == 10

    report = graph.episode(10)
    assert (report.level, report.model, report.version) == (RewardHealth.OK, 'critic', 'v1')
    assert len(report.detectors) == len(report.values) == len(report.limits) == len(report.alarms) == 12
    known = dict(zip(report.detectors, report.values))
    assert np.isfinite([known[n] for n in ('camera_health', 'instruction_margin', 'embedding_ood')]).all()
    assert np.isnan(known['reversal_asymmetry'])  # nobody measured it
    assert report.header.stamp == convert.stamp_of(1103.0)

    for number in range(11, 16):  # 5 of 8: limits of 10 episodes are not that sure
        report = graph.episode(number, dark=True)
        assert report.level == (RewardHealth.FLAG if number < 15 else RewardHealth.DOWN_WEIGHT)
    assert report.level == RewardHealth.DOWN_WEIGHT
    assert 0 < report.weight < 1
    assert dict(zip(report.detectors, report.alarms))['camera_health']
    assert 'camera_health' in report.reason
    answer = ros.call(graph.acknowledge, Trigger.Request())
    assert (answer.success, answer.message) == (True, 'critic')

    def look_again(number: int, so) -> None:
        graph.say(number, EpisodeState.ENDED, EpisodeState.FAILURE, EpisodeState.CAUSE_HUMAN, 1.0)
        assert ros.spin_until(so)

    # a person looks again at a claimed success: it was none
    watch = graph.node._watches['critic']
    gold = lambda: {j.episode_id: j.gold for j in watch.monitor._judged}['e10']  # noqa: E731
    assert gold() == 1.0
    look_again(10, lambda: gold() == 0.0)
    report = graph.episode(16, EpisodeState.FAILURE)
    assert dict(zip(report.detectors, report.alarms))['false_success']
    report = graph.episode(17, EpisodeState.FAILURE)
    assert (report.level, report.weight) == (RewardHealth.SPARSE, 0.0)
    # one of the calibration set is taken out of it: nine are left, and another is collected
    look_again(9, lambda: watch.monitor is None)


def test_what_ends_by_the_reward_model_is_no_verdict(ros, tmp_path):
    graph = Graph(ros, tmp_path, success_topic='reward/sample')
    ended = EpisodeState(phase=EpisodeState.ENDED, outcome=EpisodeState.SUCCESS)
    ended.end_cause = EpisodeState.CAUSE_PREDICATE
    assert np.isnan(graph.node._verdict(ended))
    ended.end_cause = EpisodeState.CAUSE_HUMAN
    assert graph.node._verdict(ended) == 1.0
    report = graph.episode(0)
    assert 'calibrating: 1 of 10' in report.reason
    # an episode that was given up is not judged
    graph.say(1, EpisodeState.RUNNING)
    assert ros.spin_until(lambda: graph.node._track is not None)
    graph.say(1, EpisodeState.ENDED, EpisodeState.ABORT, EpisodeState.CAUSE_FAULT, 201.0)
    assert ros.spin_until(lambda: graph.node._track is None)
    assert len(graph.reports) == 1


def test_a_wrong_condition_names_the_joints(ros, tmp_path):
    with pytest.raises(StartupError, match='gripper'):
        Graph(ros, tmp_path, success_joints=['claw:0:1'])


def test_a_bad_image_is_named_and_the_watch_goes_on(ros, tmp_path):
    graph = Graph(ros, tmp_path)
    graph.say(0, EpisodeState.RUNNING)
    assert ros.spin_until(lambda: graph.node._track is not None)
    for camera in SPEC.cameras:
        image = convert.image_msg(SCENE, 100.0, camera.frame_id)
        if camera is SPEC.cameras[-1]:
            image.encoding = 'mono16'
        graph.cameras[camera.name].publish(image)
    assert ros.spin_until(lambda: 'cannot be read' in graph.node._problem)
    assert SPEC.cameras[-1].name in graph.node._problem
    assert not graph.node._track.stamps
    assert not graph.node._track.frames
    assert 'calibrating: 1 of 10' in graph.episode(1).reason
