# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A whole session on a real ROS graph: the real episode and session nodes, stand-ins for the rest."""

import json
import time

import pytest
import rclpy
from apprentice_interfaces.msg import EpisodeState
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from standins import CamerasPolicyAndLearner, GateAndRobot

from apprentice.episodes.messages import header_stamp
from apprentice.nodes.convert import stamp_of
from apprentice.nodes.episode import EpisodeNode
from apprentice.nodes.runtime import ManagedNode, StartupError
from apprentice.nodes.session import SessionNode
from apprentice.nodes.session_collector import Frames


class Session:
    def __init__(self, run_dir, world=True, **parameters):
        parameters = {'run_dir': str(run_dir), 'max_duration_s': 0.4, 'ready_limit_s': 20.0, **parameters}
        arguments = ['--ros-args', '-p', 'auto_arm:=true', '-p', 'success_topic:=sim/truth']
        arguments += [word for k, v in parameters.items() for word in ('-p', f'session:{k}:={v}')]
        arguments += ['-p', f'episode:run_dir:={run_dir}', '-p', 'episode:session_id:=s']
        rclpy.init(args=arguments)
        self.executor = SingleThreadedExecutor()
        self.nodes = []
        self.episode: EpisodeNode | None = None
        self.session = SessionNode()
        self.nodes.append(self.session)
        if world:
            self.world = GateAndRobot()
            self.rest = CamerasPolicyAndLearner(self.world, drop_every=10)
            self.episode = EpisodeNode()
            self.nodes += [self.world, self.rest, self.episode]
        for node in self.nodes:
            self.executor.add_node(node)
        if self.episode is not None:
            self.episode.start()

    def spin(self, until=lambda: False, seconds=60.0):
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.session.close()
        self.executor.shutdown()  # holds entities, and with them latched messages, alive
        self.session._action.destroy()
        if self.episode is not None:
            self.episode.cleanup()  # the action server
        for node in self.nodes:
            node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def make():
    made = []

    def factory(*args, **kwargs):
        made.append(Session(*args, **kwargs))
        return made[-1]

    yield factory
    for session in made:
        session.close()


def test_evaluate_learn_evaluate(make, tmp_path, capfd):
    session = make(tmp_path, trials=2, episodes=2, seed=1, eval_seed0=50, max_duration_s=1.5)
    better = False

    def watch():  # the arm succeeds once it has learned
        nonlocal better
        better = better or session.rest.version > 0
        running = session.world.states and session.world.states[-1].phase == EpisodeState.RUNNING
        session.world.done = bool(better and running)
        return False

    with pytest.raises(ExternalShutdownException):
        session.spin(watch)
    data = json.loads((tmp_path / 'report' / 'result.json').read_text())
    assert data['finished']
    assert (data['success_before']['successes'], data['success_after']['successes']) == (0, 2)
    assert [t['seed'] for t in data['before']] == [t['seed'] for t in data['after']] == [50, 51]
    assert [t['seed'] for t in data['learning']] == [2000, 2001]
    assert data['paired']['only_after'] == 2
    assert [t['weights_version'] for t in data['before'] + data['after']] == [0, 0, 1, 1]
    assert session.rest.pauses == [True, False, True]
    assert data['weights'] == {'published': 1, 'active': 1, 'train_steps': 10}
    assert data['agreement']['clip']['samples'] > 20
    assert data['frames']['front']['dropped'] >= 1
    assert data['command']['per_wall_s'] > 10
    assert (tmp_path / 'report' / 'plot.png').exists()
    captured = capfd.readouterr()
    assert 'evaluate 2/2: success 0, failure 2' in captured.err
    assert 'learn 2/2' in captured.err
    assert 'held-out success after learning' in captured.out
    evaluation = {s.episode_id: s.eval_only for s in session.world.states if s.episode_id}
    assert list(evaluation.values()) == [True, True, False, False, True, True]


def test_missing_nodes_are_named(make, tmp_path):
    session = make(tmp_path, world=False, ready_limit_s=0.5)
    with pytest.raises(StartupError) as error:
        session.spin()
    for node in ('episode', 'gate', 'policy', 'recorder', 'learner', 'front, wrist'):
        assert node in str(error.value)


def test_interrupted_leaves_a_partial_report_and_a_paused_robot(make, tmp_path):
    session = make(tmp_path, trials=3, episodes=0, max_duration_s=60.0)
    session.spin(lambda: session.world.states and session.world.states[-1].phase == EpisodeState.RUNNING)
    session.session.close()
    session.session._timer.cancel()  # which would end the process now
    session.spin(lambda: ('pause', True) in session.world.calls)
    assert not json.loads((tmp_path / 'report' / 'result.json').read_text())['finished']
    assert 'partial' in (tmp_path / 'report' / 'table.txt').read_text()


def test_no_episode_begins_before_every_reward_node_acts(make, tmp_path):
    names = '["reward_early","reward_late"]'
    session = make(tmp_path, trials=1, episodes=0, reward_nodes=names, reward_wait_s=40.0)
    early, late = (ManagedNode(name, namespace='') for name in ('reward_early', 'reward_late'))
    for node in (early, late):
        session.nodes.append(node)
        session.executor.add_node(node)

    def begun():
        return any(state.phase == EpisodeState.RUNNING for state in session.world.states)

    def stays_quiet(seconds):
        end = time.monotonic() + seconds
        session.spin(lambda: begun() or time.monotonic() > end)
        return not begun()

    early.start()
    late.trigger_configure()  # publishes nothing yet, but exists
    assert stays_quiet(4.0)
    late.trigger_activate()
    session.spin(begun)
    assert session.session.report.notes == []


@pytest.mark.parametrize(
    ('wait_s', 'told'),
    [(0.5, ['waiting for reward models, at most 0.5 s (reward_wait_s:=0 where none runs)']), (0.0, [])],
)
def test_a_reward_node_that_never_acts_is_named(make, tmp_path, capfd, wait_s, told):
    session = make(tmp_path, trials=1, episodes=0, reward_nodes='["reward_gone"]', reward_wait_s=wait_s)
    session.spin(lambda: session.session.report.notes)
    assert session.session.report.notes == ['not active: reward_gone']
    assert [line for line in capfd.readouterr().err.splitlines() if 'reward models' in line] == told


def test_held_out_starts_are_never_learned_from(tmp_path):
    rclpy.init(args=['--ros-args', '-p', 'eval_seed0:=1010', '-p', f'run_dir:={tmp_path}'])
    try:
        with pytest.raises(StartupError, match='overlap'):
            SessionNode()
    finally:
        rclpy.shutdown()


def test_stamp_of_a_serialised_image_and_gaps():
    image = Image(height=1, width=1, encoding='rgb8', step=3, data=[1, 2, 3])
    image.header.stamp = stamp_of(12.25)
    image.header.frame_id = 'front'
    assert header_stamp('sensor_msgs/msg/Image', serialize_message(image)) / 1e9 == 12.25
    frames = Frames(10.0)
    for stamp in (0.1, 0.2, 0.4, 0.41, 0.8, 0.8):
        frames.add(stamp)
    assert (frames.received, frames.dropped) == (6, 4)
