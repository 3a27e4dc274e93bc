# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The guide on a real graph: sealed episodes in, proposals and advice out, nothing lost when it is killed."""

import os
import signal

import numpy as np
import pytest
from apprentice_interfaces.msg import ControlState, EpisodeState, GuidanceState, RewardSample
from rclpy.parameter import Parameter
from std_msgs.msg import String

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.labels import write_label
from apprentice.nodes import convert, qos
from apprentice.nodes.guide import GuideNode
from apprentice.robot.guidance import AdviceKind, Grade
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome, Source

ROBOT = share('robots', 'sim_arm.yaml')
SPEC = RobotSpec.load(ROBOT)
SETTINGS = 'starts: seed\n'


def sealed(run_dir, number, seed, success, human=0, length=10):
    """A sealed episode of ``length`` steps, the last ``human`` of them driven by a person."""
    state = np.tile(SPEC.vector('home'), (length, 1)).astype(np.float32)
    source = np.full(length, int(Source.POLICY), np.uint8)
    source[length - human :] = int(Source.HUMAN)
    episode = Episode(
        episode_id=f'run-{number:05d}', task='pick up the red cube', seed=seed,
        outcome=Outcome.SUCCESS if success else Outcome.FAILURE, end_cause=2, eval_only=False,
        stamps=100.0 * (number + 1) + 0.1 * np.arange(length),
        images={c.name: np.zeros((length, 64, 64, 3), np.uint8) for c in SPEC.cameras},
        state=state, action=state + np.float32(0.0001 * number), source=source,
        takeover_id=(source == int(Source.HUMAN)).astype(np.int64), robot='sim_arm',
    )  # fmt: skip
    return write_episode(run_dir / 'episodes', episode, SPEC)


@pytest.fixture
def run_dir(tmp_path):
    """A run in which the start 7 failed sixteen times and all others succeed."""
    (tmp_path / 'run' / 'episodes').mkdir(parents=True)
    (tmp_path / 'guidance.yaml').write_text(SETTINGS)
    for number in range(36):
        sealed(tmp_path / 'run', number, 7 if number < 16 else 50 + number, number >= 16)
    return tmp_path / 'run'


class Graph:
    """A test node that plays gate, episode node, reward model and recorder."""

    def __init__(self, ros):
        self.ros, make = ros, ros.node.create_publisher
        self.gate = make(ControlState, 'gate/state', qos.STATE)
        self.episodes = make(EpisodeState, 'episode/state', qos.STATE)
        self.samples = make(RewardSample, 'reward/sample', qos.LOG)
        self.sealed = make(String, 'recorder/sealed', qos.LOG)
        self.said: list[GuidanceState] = []
        ros.node.create_subscription(GuidanceState, 'guide/state', self.said.append, qos.STATE)

    def connected(self):
        publishers = (self.gate, self.episodes, self.samples, self.sealed)
        assert self.ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers), 60.0)

    def until(self, holds, timeout=10.0):
        assert self.ros.spin_until(lambda: self.said and holds(self.said[-1]), timeout), self.said[-3:]
        return self.said[-1]

    def phase(self, phase, episode_id='run-00036', seed=7, **more):
        self.episodes.publish(EpisodeState(phase=phase, episode_id=episode_id, seed=seed, **more))

    def mode(self, mode):
        self.gate.publish(ControlState(mode=mode))
        self.ros.spin_until(lambda: False, 0.2)

    def sample(self, stamp, progress, episode_id='run-00036', **more):
        fields = {'model': 'critic', 'valid': True, 'std': float('nan'), **more}
        message = RewardSample(
            episode_id=episode_id, kind=RewardSample.PROGRESS_DELTA, progress=progress, **fields
        )
        message.t0 = message.t1 = message.header.stamp = convert.stamp_of(stamp)
        self.samples.publish(message)


@pytest.fixture
def graph(ros):
    return Graph(ros)


@pytest.fixture
def guide(ros, run_dir):
    values = {'run_dir': str(run_dir), 'guidance': str(run_dir.parent / 'guidance.yaml')}
    node = ros.add(GuideNode(parameter_overrides=[Parameter(name, value=v) for name, v in values.items()]))
    node.start()
    return node


def asks(message):
    return (message.advice, message.start_proposed, message.start_seed, message.grade)


def test_a_demonstration_is_asked_for_given_and_counted(graph, guide, run_dir):
    graph.connected()
    said = graph.until(lambda m: m.start_proposed)
    assert asks(said) == (AdviceKind.DEMONSTRATE, True, 7, Grade.GUIDED_EXPLORE)
    assert (said.tries, said.success, said.start_cluster) == (10, 0.0, 'pick up the red cube: seed 7')
    assert 'won 0 of its last 10 tries there alone, and 6 more failed' in said.reason

    graph.phase(EpisodeState.RUNNING)
    said = graph.until(lambda m: m.episode_id == 'run-00036')
    assert (said.advice, said.grade) == (AdviceKind.DEMONSTRATE, Grade.GUIDED_EXPLORE)
    graph.mode(ControlState.HUMAN)
    graph.phase(EpisodeState.ENDED)
    # until it is known how it went, another one is not asked for
    assert graph.until(lambda m: not m.episode_id).advice != AdviceKind.DEMONSTRATE

    sealed(run_dir, 36, 7, True, human=10)
    graph.sealed.publish(String(data='run-00036'))
    said = graph.until(lambda m: guide.guide.starts[0].failed == 0)
    assert asks(said) == (AdviceKind.NONE, True, 7, Grade.RETURN_AND_EXPLORE)


def test_advice_within_an_episode(graph, guide):
    graph.connected()
    graph.until(lambda m: m.start_proposed)
    graph.mode(ControlState.POLICY)
    graph.phase(EpisodeState.RUNNING, seed=3)
    assert graph.until(lambda m: m.episode_id).grade == Grade.REPLAY
    for i in range(12):
        graph.sample(1000 + 0.5 * i, 0.3)
        graph.sample(1000 + 0.5 * i, 0.05 * i, model='other')  # another model is not mixed in
        graph.sample(1000 + 0.5 * i, 0.1 * i, valid=False)
        graph.sample(2000 + 0.5 * i, 0.9, episode_id='of-another')
    said = graph.until(lambda m: m.advice == AdviceKind.TAKE_OVER)
    assert said.grade == Grade.TAKEOVER
    assert said.reason.startswith('no progress for')

    graph.mode(ControlState.HUMAN)
    graph.sample(1006.5, 0.3)
    said = graph.until(lambda m: m.advice == AdviceKind.NONE)
    assert said.grade == Grade.TAKEOVER  # a person drives
    for i in range(24):
        graph.sample(1007 + 0.5 * i, 0.3)
    assert 'has lasted' in graph.until(lambda m: m.advice == AdviceKind.HAND_BACK).reason

    graph.mode(ControlState.PAUSED)
    for i in range(24):
        graph.sample(1020 + 0.5 * i, 0.3)
    assert graph.until(lambda m: m.advice == AdviceKind.NONE).grade == Grade.REPLAY  # nobody drives


def test_evaluations_are_left_alone(graph, guide):
    graph.connected()
    graph.until(lambda m: m.start_proposed)
    graph.mode(ControlState.POLICY)
    graph.phase(EpisodeState.RUNNING, eval_only=True)  # even from the start that is proposed
    graph.until(lambda m: m.episode_id)
    for i in range(24):
        graph.sample(1000 + 0.5 * i, 0.3)
    graph.ros.spin_until(lambda: False, 0.5)
    assert (graph.said[-1].advice, graph.said[-1].grade) == (AdviceKind.NONE, Grade.REPLAY)


def test_a_broken_file_is_left_out_and_a_later_label_counts(graph, guide, run_dir):
    graph.connected()
    graph.until(lambda m: m.start_proposed)
    (run_dir / 'episodes' / 'run-00040.mcap').write_bytes(b'nothing of the kind')
    for number in range(11, 16):
        write_label(run_dir / 'episodes' / f'run-{number:05d}.mcap', Outcome.SUCCESS, 'test')
    graph.sealed.publish(String(data='run-00040'))
    graph.until(lambda m: not m.start_proposed)  # five of the last ten tries: it has recovered
    values = guide._report()[2]
    assert 'run-00040.mcap is not an MCAP file' in values['refused']
    assert (values['episodes'], values['waiting']) == (36, 0)


def test_killed_at_any_moment_it_knows_the_same_again(graph, start_node, run_dir):
    options = ['-p', f'robot:={ROBOT}', '-p', f'run_dir:={run_dir}']
    options += ['-p', f'guidance:={run_dir.parent / "guidance.yaml"}']
    process = start_node('guide', *options)
    first = graph.until(lambda m: m.start_proposed, 60.0)
    os.killpg(process.popen.pid, signal.SIGKILL)
    process.popen.wait(5.0)
    graph.said.clear()
    again = start_node('guide', *options)
    second = graph.until(lambda m: m.start_proposed, 60.0)
    second.header = first.header
    assert second == first
    assert again.stop() == 0


def test_wrong_settings_end_it_with_the_reason(start_node, tmp_path):
    (tmp_path / 'guidance.yaml').write_text('stall: 3\n')
    process = start_node('guide', '-p', f'robot:={ROBOT}', '-p', f'guidance:={tmp_path / "guidance.yaml"}')
    assert process.popen.wait(60) == 2
    assert "guidance has no ['stall']" in process.output()
