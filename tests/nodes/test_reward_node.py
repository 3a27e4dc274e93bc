# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The reward node on a real graph: real frames in, stamped measurements out."""

import math
import time

import numpy as np
import pytest
from apprentice_interfaces.msg import EpisodeState, RewardSample
from apprentice_interfaces.srv import ScorePair
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from apprentice.cli.train_rewards import held_out
from apprentice.nodes import convert, qos
from apprentice.nodes.frame_sets import FrameSets
from apprentice.nodes.reward import RewardNode
from apprentice.robot.spec import CameraSpec

CLIP = 'apprentice.reward_models.clip:ClipReward'
CRITIC = 'apprentice.reward_models.critic:ProgressCritic'
CAMERAS = ('front', 'wrist')
START = 100.0


@pytest.fixture(scope='module')
def demonstration():
    return held_out('', 1, offset=60_000)[0]


class Graph:
    """A reward node, and a test node that plays cameras and the episode node."""

    def __init__(self, ros, **parameters):
        self.ros = ros
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = ros.add(RewardNode(parameter_overrides=overrides))
        self.node.start()
        self.cameras = {
            name: ros.node.create_publisher(Image, f'camera/{name}/image_raw', qos.SENSOR_PUBLISHER)
            for name in CAMERAS
        }
        self.episodes = ros.node.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self.samples = []
        ros.node.create_subscription(RewardSample, 'reward/sample', self.samples.append, qos.LOG)
        publishers = (*self.cameras.values(), self.episodes)
        assert ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers))
        # its own publisher: ended nodes of earlier tests linger in the domain for a while
        assert ros.spin_until(lambda: self.node.feeds[0].samples.get_subscription_count() > 0)

    def episode(self, phase, item, name='e1', started=START, ended=0.0):
        message = EpisodeState(episode_id=name, task=item.text, phase=phase)
        message.started, message.ended = convert.stamp_of(started), convert.stamp_of(ended)
        self.episodes.publish(message)

    def frame(self, views, stamp):
        """Publish one moment and wait until the node has it."""
        before = self.node.feeds[0].sets.count
        for name, image in zip(CAMERAS, views):
            self.cameras[name].publish(convert.image_msg(image, stamp, f'{name}_optical_frame'))
        assert self.ros.spin_until(lambda: self.node.feeds[0].sets.count > before)

    def play(self, item, name='e1', start=START):
        """A whole episode; returns the stamp of its last frame."""
        self.episode(EpisodeState.RUNNING, item, name, start)
        for i, views in enumerate(item.frames):
            self.frame(views, start + 0.1 * i)
        end = start + 0.1 * (len(item.frames) - 1)
        self.episode(EpisodeState.ENDED, item, name, start, end)
        return end

    def wait(self, count, timeout=20.0):
        assert self.ros.spin_until(lambda: len(self.samples) >= count, timeout), len(self.samples)

    def close(self):
        self.node.close()


@pytest.fixture
def graph(ros):
    made = []

    def make(**parameters):
        made.append(Graph(ros, **parameters))
        return made[-1]

    yield make
    for item in made:
        item.close()


def expected_stamps(item, end, rate=2.0):
    grid = np.arange(START, end + 1e-6, 1 / rate)
    return [*grid, end] if end - grid[-1] > 1e-6 else list(grid)


def test_critic_scores_an_episode_on_the_grid_and_at_its_end(graph, demonstration):
    g = graph(model=CRITIC, lockstep=True)
    end = g.play(demonstration)
    stamps = expected_stamps(demonstration, end)
    g.wait(len(stamps))
    assert not g.ros.spin_until(lambda: len(g.samples) > len(stamps), 0.5)
    assert [convert.seconds(s.header.stamp) for s in g.samples] == pytest.approx(stamps)
    first, last = g.samples[0], g.samples[-1]
    assert 0.0 <= first.progress < 0.2
    assert first.t0 == first.t1
    assert last.progress > 0.8
    assert last.done
    for sample in g.samples:
        assert sample.valid
        assert (sample.model, sample.episode_id, sample.instruction) == ('critic', 'e1', demonstration.text)
        assert sample.kind == RewardSample.PROGRESS_DELTA
        assert sample.camera == 'front,wrist'
        assert sample.header.frame_id == 'front_optical_frame'
        assert sample.version
        assert 0 < sample.latency_s < 30
        assert all(math.isfinite(v) for v in (sample.std, sample.done_prob, sample.margin))
    assert convert.seconds(g.samples[3].t0) == pytest.approx(START + 0.5)  # one stride before 1.5 s


def test_accumulation_starts_afresh_with_a_new_episode(graph, demonstration):
    g = graph(model=CRITIC, lockstep=True)
    end = g.play(demonstration)
    count = len(expected_stamps(demonstration, end))
    g.wait(count)
    g.play(demonstration, 'e2', START + 50)
    g.wait(2 * count)
    again = g.samples[count:]
    assert {s.episode_id for s in again} == {'e2'}
    assert [s.progress for s in again] == pytest.approx([s.progress for s in g.samples[:count]], abs=1e-5)


def test_clip_measures_similarity(graph, demonstration):
    g = graph(model=CLIP, rate_hz=5.0, lockstep=True)
    g.play(demonstration)
    g.wait(len(expected_stamps(demonstration, START + 0.1 * (len(demonstration.frames) - 1), 5.0)))
    assert {s.kind for s in g.samples} == {RewardSample.CLIP_SIM}
    assert g.samples[-1].value > g.samples[0].value + 0.1
    assert g.samples[-1].margin > 0
    assert all(math.isnan(s.progress) for s in g.samples)


def test_nothing_is_scored_without_an_episode(graph, demonstration):
    g = graph(model=CLIP)
    for i in range(8):
        g.frame(demonstration.frames[i], START + 0.1 * i)
    assert not g.ros.spin_until(lambda: g.samples, 0.3)
    # the frames of the start are still there when the news of the start comes late
    g.episode(EpisodeState.RUNNING, demonstration, started=START + 0.2)
    g.wait(2)
    assert convert.seconds(g.samples[0].header.stamp) == pytest.approx(START + 0.2)


@pytest.mark.parametrize('lockstep', [False, True])
def test_a_slow_model_drops_the_old_live_and_nothing_in_lockstep(graph, demonstration, lockstep):
    g = graph(model=CLIP, rate_hz=10.0, lockstep=lockstep)
    encode = g.node._model.encode
    g.node._model.encode = lambda views: (time.sleep(0.1), encode(views))[1]
    end = g.play(demonstration)
    if lockstep:
        g.wait(len(demonstration.frames))
        assert g.node._worker.batcher.counts.dropped == 0
    else:
        assert g.ros.spin_until(
            lambda: g.samples and convert.seconds(g.samples[-1].header.stamp) > end - 1e-6
        )
        assert g.node._worker.batcher.counts.dropped > 0
        assert len(g.samples) + g.node._worker.batcher.counts.dropped == len(demonstration.frames)
        assert convert.seconds(g.samples[0].header.stamp) == pytest.approx(START)


def test_failed_inference_gives_an_invalid_sample_and_goes_on(graph, demonstration):
    g = graph(model=CLIP, rate_hz=10.0, lockstep=True)
    encode = g.node._model.encode
    g.episode(EpisodeState.RUNNING, demonstration)
    g.frame(demonstration.frames[0], START)
    g.wait(1)

    def broken(views):
        raise RuntimeError('out of memory')

    for number, wrong in enumerate((broken, lambda views: encode(views) * np.nan)):
        g.node._model.encode = wrong
        g.frame(demonstration.frames[1], START + 0.1 * (number + 1))
        g.wait(number + 2)
    g.node._model.encode = encode
    g.frame(demonstration.frames[3], START + 0.3)
    g.wait(4)
    assert [s.valid for s in g.samples] == [True, False, False, True]
    assert 'out of memory' in g.samples[1].reason
    assert 'not finite' in g.samples[2].reason
    assert g.node._report()[2]['invalid'] == 2


def test_an_image_that_is_not_rgb_is_an_invalid_sample(graph, demonstration):
    g = graph(model=CLIP, lockstep=True)
    g.episode(EpisodeState.RUNNING, demonstration)
    for name in CAMERAS:
        message = convert.image_msg(demonstration.frames[0, 0], START, name)
        message.encoding = '16UC1'
        g.cameras[name].publish(message)
    g.wait(1)
    assert not g.samples[0].valid
    assert 'publish rgb8' in g.samples[0].reason


def test_score_pair_service(graph, ros, demonstration):
    graph(model=CRITIC)
    client = ros.node.create_client(ScorePair, 'reward/score_pair')

    def image(index):
        return convert.image_msg(np.concatenate(list(demonstration.frames[index]), axis=1), 0.0, '')

    def ask(before, after):
        return ros.call(client, ScorePair.Request(before=before, after=after, instruction=demonstration.text))

    up, down, still = ask(image(0), image(-1)), ask(image(-1), image(0)), ask(image(5), image(5))
    assert up.success
    assert up.delta > 0.5 > -0.5 > down.delta
    assert up.done_prob > 0.5 > down.done_prob
    assert still.delta == pytest.approx(0.0, abs=1e-6)
    narrow = image(0)
    narrow.width, narrow.step = 63, 63 * 3
    refused = ask(narrow, image(1))
    assert not refused.success
    assert 'side by side' in refused.message


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('-p', 'weights:=/no/such/folder'), 'apprentice train clip'),
        (('-p', f'model:={CRITIC}', '-p', 'weights:=/no/such/folder'), 'apprentice train critic'),
        (('-p', 'model:=apprentice.reward_models.clip.reward:Nothing'), "has no 'Nothing'"),
        (('-p', 'cameras:=[front,top]'), "no camera 'top'"),
    ],
)
def test_what_is_missing_is_named_and_the_node_ends(start_node, arguments, words):
    process = start_node('reward', *arguments)
    assert process.popen.wait(60) == 2, process.output()
    assert words in process.output()
    assert 'Traceback' not in process.output()


def test_frame_sets_join_by_stamp():
    cameras = [CameraSpec(name, name, 4, 4, 10.0) for name in 'ab']
    sets = FrameSets(cameras, exact=True)
    image = Image()
    assert sets.add('a', 1.0, image, 0.0) == []
    assert sets.add('a', 1.1, image, 0.0) == []
    assert [s.stamp for s in sets.add('b', 1.0, image, 0.0)] == [1.0]
    assert [s.stamp for s in sets.add('b', 1.1, image, 0.0)] == [1.1]
    assert sets.add('b', 1.1, image, 0.0) == []  # delivered twice by the network
    live = FrameSets(cameras, exact=False)
    live.add('a', 1.0, image, 0.0)
    assert live.missing() == ['b']
    assert [s.stamp for s in live.add('b', 1.03, image, 0.0)] == [1.0]
    for i in range(1, 6):
        assert live.add('a', 1.0 + 0.1 * i, image, 0.0) == []
    assert live.missing() == ['b']
