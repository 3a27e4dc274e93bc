# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A reward node with a reward pipeline: calibrated potentials, being done, vetoes."""

import math

import numpy as np
import pytest
from apprentice_interfaces.msg import EpisodeState, RewardSample
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from apprentice.nodes import convert, qos
from apprentice.nodes.reward import RewardNode
from apprentice.nodes.reward_judging import NodeJudging
from apprentice.nodes.runtime import StartupError
from apprentice.reward_models.base import Needs, Score
from apprentice.reward_models.calibration.calibrate import ScoreCalibrator
from apprentice.robot.types import RewardKind

CAMERAS = ('front', 'wrist')
START = 100.0


class Lamp:
    """A small reward model: a scene is done when it is bright. Masked views are not looked at."""

    kind, model, version = RewardKind.CLIP_SIM, 'lamp', '1'
    needs = Needs(cameras=CAMERAS, each_view=True)

    @classmethod
    def load(cls, weights, **options):
        return cls()

    def encode(self, frames):
        return np.asarray(frames, np.float32).mean(axis=(-3, -2, -1))[..., None] / 255

    def negatives(self, text):
        return ['switch it off']

    def score(self, request):
        b, t, v = request.check()
        mask = np.ones((b, t, v), bool) if request.mask is None else request.mask
        light = np.where(mask, request.emb[..., 0], np.nan)[:, -1]
        value = np.nanmean(light, axis=1).astype(np.float32)
        return Score(
            self.kind, value, np.full(b, 0.01, np.float32), value, np.full(b, 0.25, np.float32),
            np.isfinite(value), self.model, self.version, ood=np.full(b, 0.5, np.float32),
        )  # fmt: skip


class PairLamp(Lamp):
    """The same as a pair critic."""

    kind, model = RewardKind.PROGRESS_DELTA, 'pair'
    needs = Needs(pair=True, cameras=CAMERAS)

    def delta(self, request):
        return self.score(request)


class Graph:
    """The node under test, and the cameras and episode of a robot."""

    def __init__(self, ros, **parameters):
        settings = {'model': 'test_reward_judging:Lamp', 'rate_hz': 10.0, 'lockstep': True, **parameters}
        self.ros = ros
        self.node = ros.add(
            RewardNode(parameter_overrides=[Parameter(k, value=v) for k, v in settings.items()])
        )
        self.node.start()
        make = ros.node.create_publisher
        self.cameras = {n: make(Image, f'camera/{n}/image_raw', qos.SENSOR_PUBLISHER) for n in CAMERAS}
        self.episodes = make(EpisodeState, 'episode/state', qos.STATE)
        self.predicate = make(RewardSample, 'cell/done', qos.LOG)
        self.samples = []
        ros.node.create_subscription(RewardSample, 'reward/sample', self.samples.append, qos.LOG)
        publishers = (*self.cameras.values(), self.episodes)
        assert ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers))
        assert ros.spin_until(lambda: self.node.feeds[0].samples.get_subscription_count() > 0)

    def play(self, lights, said=()):
        """Moments of (front, wrist) brightness in [0, 1]; returns the samples."""
        message = EpisodeState(episode_id='e1', task='switch it on', phase=EpisodeState.RUNNING)
        message.started = convert.stamp_of(START)
        self.episodes.publish(message)
        assert self.ros.spin_until(lambda: self.node.feeds[0].track is not None)
        for i, views in enumerate(lights):
            if said:
                self.say(said[i], START + 0.1 * i)
            self.shine(views, START + 0.1 * i)
        return self.samples

    def say(self, done, stamp):
        """The predicate speaks, and the node has heard it."""
        word = RewardSample(done=done, valid=True)
        word.header.stamp = convert.stamp_of(stamp)
        self.predicate.publish(word)
        heard = self.node._judging['']._veto.__self__
        assert self.ros.spin_until(lambda: heard._newest == (pytest.approx(stamp), done))

    def shine(self, views, stamp):
        """One moment, until its sample is here."""
        count = len(self.samples)
        for name, light in zip(CAMERAS, views):
            image = np.full((64, 64, 3), round(255 * light), np.uint8)
            self.cameras[name].publish(convert.image_msg(image, stamp, name))
        assert self.ros.spin_until(lambda: len(self.samples) > count)


@pytest.fixture
def graph(ros):
    made = []

    def make(**parameters):
        made.append(Graph(ros, **parameters))
        return made[-1]

    yield make
    for item in made:
        item.node.close()


@pytest.fixture
def pipeline(tmp_path):
    """A pipeline file; brightness x of the lamp means done with probability x squared."""
    x = np.linspace(0, 1, 2000)
    ScoreCalibrator('lamp', '1', RewardKind.CLIP_SIM).fit(x, x**2).save(tmp_path)
    path = tmp_path / 'rewards.yaml'
    path.write_text('models: [{model: lamp, calibration: .}]\ndone: {k: 2, n: 3, threshold: 0.8, views: 2}\n')
    return path


def test_a_sample_holds_raw_value_potential_std_margin_and_ood(graph, pipeline):
    (sample,) = graph(pipeline=str(pipeline)).play([(0.5, 0.5)])
    assert sample.valid
    assert sample.value == pytest.approx(0.5, abs=0.01)
    assert sample.progress == pytest.approx(0.25, abs=0.02)
    assert (sample.std, sample.margin, sample.ood) == pytest.approx((0.01, 0.25, 0.5))


def test_done_needs_several_moments_and_both_views(graph, pipeline):
    lights = [(1, 1), (0, 0), (1, 0.7), (1, 1), (1, 1), (1, 1)]
    done = [s.done for s in graph(pipeline=str(pipeline)).play(lights)]
    assert done == [False, False, False, False, True, True]


def test_without_a_pipeline_the_threshold_alone_decides(graph):
    samples = graph(done_threshold=0.8).play([(0, 0), (1, 0.7), (0, 0)])
    assert [s.done for s in samples] == [False, True, False]
    assert all(math.isnan(s.progress) for s in samples)


def test_a_model_may_have_a_done_detector_of_its_own(graph, pipeline):
    text = pipeline.read_text().replace('calibration: .', 'calibration: ., done: {k: 1, n: 1, views: 1}')
    pipeline.write_text(text)
    assert [s.done for s in graph(pipeline=str(pipeline)).play([(1, 0.7), (1, 1)])] == [False, True]


def test_another_source_vetoes(graph, pipeline):
    g = graph(pipeline=str(pipeline), veto_topic='cell/done')
    done = [s.done for s in g.play([(1, 1)] * 5, said=[False, False, True, True, False])]
    assert done == [False, False, False, True, False]


def test_a_source_that_is_silent_vetoes(graph, pipeline):
    assert not any(s.done for s in graph(pipeline=str(pipeline), veto_topic='cell/done').play([(1, 1)] * 4))


@pytest.mark.parametrize(
    ('text', 'model', 'words'),
    [
        ('models: [{model: lamp}]', 'test_reward_judging:Lamp', 'uncalibrated: true'),
        ('models: [{model: critic, uncalibrated: true}]', 'test_reward_judging:Lamp', "no model 'lamp'"),
        (
            'models: [{model: pair, uncalibrated: true}]',
            'test_reward_judging:PairLamp',
            'all cameras as one view',
        ),
        (
            'models: [{model: lamp, uncalibrated: true}]\ndone: {views: 2}',
            'test_reward_judging:Lamp',
            'calibrate the model',
        ),
    ],
)
def test_no_reward_before_there_is_a_calibration(ros, tmp_path, capfd, text, model, words):
    path = tmp_path / 'rewards.yaml'
    path.write_text(text)
    overrides = [Parameter('pipeline', value=str(path)), Parameter('model', value=model)]
    node = ros.add(RewardNode(parameter_overrides=overrides))
    with pytest.raises(StartupError, match='failed to configure'):
        node.start()
    assert words in capfd.readouterr().err


@pytest.mark.parametrize(('topic', 'heard'), [('cell/done', '/left/cell/done'), ('/cell/done', '/cell/done')])
def test_an_absolute_veto_topic_is_one_for_all_robots(ros, topic, heard):
    node = ros.add(Node('judge', parameter_overrides=[Parameter('veto_topic', value=topic)]))
    assert NodeJudging(node)._veto('left') is not None
    assert heard in {subscription.topic_name for subscription in node.subscriptions}
