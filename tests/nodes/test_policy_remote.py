# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Policy node and gate with the policy on a server that is killed, comes back, or is another one."""

from __future__ import annotations

import json
import signal
import urllib.request

import numpy as np
import pytest
from apprentice_interfaces.msg import ActionChunk, EpisodeState
from diagnostic_msgs.msg import DiagnosticStatus
from gate_bench import ROBOT_FILE, SPEC, Bench, Process, until
from remote_rig import TOKEN, ServerProcess, make_policy, make_weights, serving
from ros_graph import spinning
from sensor_msgs.msg import Image

from apprentice.nodes import convert, qos
from apprentice.robot.types import ControlMode


class World(Bench):
    """The bench of the gate with cameras and an episode that runs; the policy is a real node."""

    def __init__(self, context):
        super().__init__(context)
        self.planned: list[ActionChunk] = []
        self.create_subscription(ActionChunk, 'policy/chunk', self.planned.append, qos.LOG)
        self.episode = self.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self.images = {
            c.name: self.create_publisher(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras
        }
        self.create_timer(0.1, self.see)

    def see(self):
        now = convert.now(self)
        for name, publisher in self.images.items():
            publisher.publish(convert.image_msg(np.full((64, 64, 3), 90, np.uint8), now, name))
        running = EpisodeState.RUNNING
        self.episode.publish(EpisodeState(phase=running, task='pick up the red cube', episode_id='e'))

    def report(self):
        """The newest diagnostics of the policy node."""
        found = [s for message in self.diagnostics for s in message.status if s.name == 'policy']
        return found[-1] if found else None


@pytest.fixture
def world():
    with spinning(World) as node:
        yield node


@pytest.fixture
def gate():
    # patient: of all the processes here one may have to wait for the machine
    process = Process(
        'joint_timeout_s:=10.0', 'policy_hold_s:=4.0', 'chunk_max_age_s:=5.0', 'clamp_share:=1.0'
    )
    yield process
    process.end()


def health(server):
    url = server.address.replace('ws', 'http', 1) + '/healthz'
    return json.load(urllib.request.urlopen(url, timeout=10))


def arguments(address, token_file, timeout=10.0):
    values = {
        'robot': ROBOT_FILE,
        'runtime': 'remote',
        'weights': address,
        'remote_token_file': token_file,
        'remote_timeout_s': timeout,
    }
    return [word for name, value in values.items() for word in ('-p', f'{name}:={value}')]


def test_a_server_that_is_killed_while_it_plans_and_comes_back(world, gate, start_node, tmp_path):
    make_weights(tmp_path / 'weights')
    words = [str(tmp_path / 'weights'), '--runtime', 'remote_rig:load_busy', '--port']
    server = ServerProcess(tmp_path / 'server.log', *words, '0')
    again = None
    try:
        node = start_node('policy', *arguments(server.address, tmp_path / 'apprentice' / 'policy_token'))
        until(lambda: world.state and world.executed, 60.0)
        world.armed()
        world.until_mode(ControlMode.POLICY, 60.0)
        until(lambda: len(world.planned) >= 3, 30.0)
        assert world.planned[-1].control_mode == 'joint_position'

        server.busy.touch()  # from now on it computes and computes
        until(lambda: health(server)['requests'] > health(server)['chunks'], 30.0)
        server.end(signal.SIGKILL)
        node.wait_for('is the server alive?')
        planned = len(world.planned)
        world.until_mode(ControlMode.HOLD, 30.0)
        assert 'no fresh chunk' in world.state.reason
        held = world.position.copy()
        until(lambda: (found := world.report()) and found.level == DiagnosticStatus.ERROR)
        assert server.address in world.report().message

        # nobody is there when the person arms again: still no chunk, and the arm stays
        world.armed()
        node.wait_for('start it there (apprentice serve policy WEIGHTS)')
        assert world.mode == ControlMode.PAUSED
        assert len(world.planned) == planned
        np.testing.assert_array_equal(world.position, held)

        server.busy.unlink()
        again = ServerProcess(tmp_path / 'again.log', *words, server.address.rpartition(':')[2])
        world.until_mode(ControlMode.POLICY, 60.0)
        until(lambda: len(world.planned) > planned + 2, 30.0)
        until(lambda: world.report().level == DiagnosticStatus.OK, 30.0)
        assert node.popen.poll() is None
        assert 'Traceback' not in node.output()
        assert again.end() == 0, again.output()
        assert node.stop() == 0, node.output()
    finally:
        for process in (server, again):
            if process is not None:
                process.popen.kill()


@pytest.mark.parametrize('fault', ['token', 'robot'])
def test_a_node_that_cannot_start_says_why(start_node, tmp_path, fault):
    token_file = tmp_path / 'token'
    token_file.write_text('another-token-of-16' if fault == 'token' else TOKEN)
    with serving(make_policy(robot='ur5e' if fault == 'robot' else 'sim_arm')) as served:
        node = start_node('policy', *arguments(served.address, token_file))
        assert node.popen.wait(60) == 2
    wanted = {
        'token': 'does not accept the token; copy the token file',
        'robot': "robot is 'sim_arm', weights are for 'ur5e'",
    }
    assert wanted[fault] in node.output()
    assert 'Traceback' not in node.output()
