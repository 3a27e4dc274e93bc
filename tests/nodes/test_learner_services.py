# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner's node while its thread is in a long step, and how it learns what the launch knows."""

import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger
from test_learner_node import ROBOT, SPEC, make_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.learning.dataset import policy_spec
from apprentice.learning.health import Health
from apprentice.nodes import learner as learner_node
from apprentice.nodes.learner_settings import learner_config
from apprentice.nodes.robot_file import load_simulated
from apprentice.policies import checkpoint
from apprentice.policies.backbones.tiny import TinyConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.monitor.detector import Level


@pytest.fixture
def make_node():
    made = []

    def make(kind, *parameters: str) -> Node:
        words = [word for parameter in parameters for word in ('-p', parameter)]
        rclpy.init(args=['--ros-args', *words])
        made.append(kind())
        return made[-1]

    yield make
    for node in made:
        node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def starter(tmp_path):
    config = PolicyConfig(backbone=TinyConfig(width=32, layers=1, heads=2, channels=(8, 8, 16)))
    spec = policy_spec([make_episode(i) for i in range(4)], SPEC, 8)
    checkpoint.save(FlowPolicy(spec, config), tmp_path / 'starter')
    return tmp_path / 'starter'


def test_a_long_step_blocks_nobody(make_node, starter, tmp_path, monkeypatch):
    """As planning all candidates anew: status goes out meanwhile, and pausing counts at once."""
    monkeypatch.setattr(learner_node, '_PATIENCE_S', 0.1)
    folders = f'weights:={starter}', f'run_dir:={tmp_path / "run"}'
    node = make_node(learner_node.LearnerNode, f'robot:={ROBOT}', *folders, 'nice:=0')
    try:
        until = time.monotonic() + 20
        while node._loading and time.monotonic() < until:  # then its thread has nothing to do here
            time.sleep(0.01)
        with node._lock:
            pressed = node._on_rollback(Trigger.Request(), Trigger.Response())
            assert (pressed.success, 'long step' in pressed.message) == (False, True)
            node._on_health(Health('critic', '1', Level.STOP, 0.0, 'false_success'))
            resumed = node._on_pause(SetBool.Request(data=False), SetBool.Response())
            assert (resumed.success, 'learning goes on' in resumed.message) == (True, True)
            paused = node._on_pause(SetBool.Request(data=True), SetBool.Response())
            assert (paused.success, 'no weights are published' in paused.message) == (True, True)
        node._turn()
        assert node.learner.obedience.models == {'critic'}
        answers = []

        def press():
            answers.append(node._on_rollback(Trigger.Request(), Trigger.Response()).message)

        # longer than any machine needs to wake the one who waits; whom nothing lets in is refused in the end
        monkeypatch.setattr(learner_node, '_PATIENCE_S', 10.0)
        with node._lock:  # the thread's long step, which makes way between two episodes
            waiting = threading.Thread(target=press)
            waiting.start()
            until = time.monotonic() + 30
            while not answers and time.monotonic() < until:
                node.learner.breathe()
            assert answers, 'nobody was let in'
        waiting.join()
        assert 'nothing was published' in answers[0]
    finally:
        node.close()


def test_without_its_demonstrations_nothing_is_learned(make_node, starter, tmp_path):
    parameters = [f'robot:={ROBOT}', f'weights:={starter}', f'run_dir:={tmp_path / "run"}', 'nice:=0']
    node = make_node(learner_node.LearnerNode, *parameters, f'demonstrations:={tmp_path / "none"}')
    try:
        until = time.monotonic() + 20
        while not node._unfit and time.monotonic() < until:
            time.sleep(0.01)
        write_episode(tmp_path / 'run' / 'episodes', make_episode(0), SPEC)
        assert not node._turn()
        assert (node._phase, node.learner.episodes) == ('error', 0)
        assert 'no demonstrations in' in node._problem()
    finally:
        node.close()


@pytest.mark.parametrize(
    ('parameters', 'seconds'),
    [((), 10.0), (('max_duration_s:=60.0',), 60.0), (('sim_task:=drawer',), 12.0), (('robot:=so101',), 10.0)],
)
def test_critics_can_tell_the_time_in_long_episodes(make_node, parameters, seconds):
    node = make_node(lambda: Node('learner'), *parameters)
    assert np.isclose(learner_config(node, load_simulated(node)).online.windows.duration_s, seconds)
