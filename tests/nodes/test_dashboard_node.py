# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard node as a process of its own on a real ROS graph; the page's side is a websocket."""

import asyncio
import io
import json
import signal
import socket
import struct
import subprocess
import sys
import time

import aiohttp
import numpy as np
import pytest
from apprentice_interfaces.msg import (
    ControlState,
    EpisodeState,
    ExecutedCommand,
    LearnerStatus,
    RewardSample,
    WeightsAck,
)
from apprentice_interfaces.srv import LabelEpisode
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from PIL import Image as Picture
from rclpy.node import Node
from ros_graph import spinning
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from apprentice.nodes import convert, qos
from apprentice.nodes.dashboard_state import Counters, Curves, Rate
from apprentice.robot.parts import share
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome, Reward, RewardKind

ROBOT = str(share('robots', 'sim_arm.yaml'))
SPEC = RobotSpec.load(ROBOT)
COLOURS = ((200, 40, 40), (40, 40, 200))
START = 100.0  # stamp at which the episode began: simulated time
TIMEOUT = 30.0


def episode(phase=EpisodeState.RUNNING, outcome=EpisodeState.UNKNOWN, name='e1', eval_only=False):
    return EpisodeState(
        episode_id=name,
        task='pick up the red cube',
        phase=phase,
        outcome=outcome,
        eval_only=eval_only,
        step=7,
        elapsed_s=0.7,
        intervention_ratio=0.25,
        started=convert.stamp_of(START),
    )


def sample(t, progress, model='critic', episode_id='e1'):
    reward = Reward(t - 0.1, t, RewardKind.PROGRESS_DELTA, 0.1, progress, model=model)
    return convert.reward_msg(reward, episode_id, 'pick up the red cube')


class Graph(Node):
    """Publishes what a running robot publishes, ten times a second; answers some services."""

    def __init__(self, context):
        super().__init__('graph', context=context)
        self.cameras = [self.create_publisher(Image, c.topic, qos.SENSOR_PUBLISHER) for c in SPEC.cameras]
        self.gate = self.create_publisher(ControlState, 'gate/state', qos.STATE)
        self.episode = self.create_publisher(EpisodeState, 'episode/state', qos.STATE)
        self.rewards = self.create_publisher(RewardSample, 'reward/sample', qos.LOG)
        self.executed = self.create_publisher(ExecutedCommand, 'gate/executed', qos.LOG)
        self.learner = self.create_publisher(LearnerStatus, 'learner/status', qos.LOG)
        self.ack = self.create_publisher(WeightsAck, 'policy/weights_ack', qos.STATE)
        self.health = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_service(Trigger, 'gate/stop', self._called('stop'))
        self.create_service(SetBool, 'episode/end', self._called('end'))
        self.create_service(LabelEpisode, 'episode/label', self._called('label'))
        self.create_subscription(String, 'dashboard/url', self._on_url, qos.STATE)
        self.urls, self.calls, self.step = [], [], 0
        self.episode_state, self.alive = episode(), True
        self.create_timer(0.1, self._tick)

    def _on_url(self, message):
        self.urls.append(message.data)

    def _called(self, name):
        def serve(request, response):
            self.calls.append((name, request))
            response.success, response.message = True, f'{name} served'
            return response

        return serve

    def _tick(self):
        self.step += 1
        t = START + 0.1 * self.step
        for publisher, colour in zip(self.cameras, COLOURS):
            image = np.full((64, 64, 3), colour, np.uint8)
            publisher.publish(convert.image_msg(image, t, 'camera'))
        if self.alive:
            self.gate.publish(
                ControlState(
                    mode=ControlState.HUMAN,
                    owner='human',
                    epoch=4,
                    takeover_id=2,
                    since=convert.stamp_of(START + 0.5),
                    reason='a person took over',
                    clamped=[3, 0, 1, 0],
                )
            )
        self.episode.publish(self.episode_state)
        self.rewards.publish(sample(t, min(1.0, 0.01 * self.step)))
        for i in range(2):
            command = ExecutedCommand()
            command.header.stamp = convert.stamp_of(t + 0.05 * i)
            self.executed.publish(command)
        self.learner.publish(LearnerStatus(phase='updating', version=4, loss=float('nan'), transitions=90))
        self.ack.publish(WeightsAck(version=4, active_version=3, ok=True))
        if self.alive:
            status = DiagnosticStatus(level=DiagnosticStatus.WARN, name='reward', message='slow')
            self.health.publish(DiagnosticArray(status=[status]))


@pytest.fixture(scope='module')
def graph():
    with spinning(Graph) as node:
        yield node


def command(*parameters):
    options = [part for parameter in parameters for part in ('-p', parameter)]
    return [sys.executable, '-m', 'apprentice.nodes.dashboard', '--ros-args', *options]


@pytest.fixture(scope='module')
def url(graph):
    """Address of a dashboard process, learnt from its latched topic."""
    process = subprocess.Popen(command(f'robot:={ROBOT}', 'port:=0', 'token:=secret', 'use_sim_time:=true'))
    deadline = time.monotonic() + TIMEOUT
    while not graph.urls:
        assert process.poll() is None, 'the dashboard ended at its start'
        assert time.monotonic() < deadline, 'dashboard/url was not published'
        time.sleep(0.05)
    yield graph.urls[-1]
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0


def talk(url, conversation, path='/ws', headers=None):
    """Run ``conversation(websocket)`` and return its result."""

    async def run():
        session = aiohttp.ClientSession()
        async with session, session.ws_connect(url + path, headers=headers) as websocket:
            return await asyncio.wait_for(conversation(websocket), TIMEOUT)

    return asyncio.run(run())


async def until(websocket, wanted):
    """The first JSON message for which ``wanted`` holds."""
    while True:
        message = await websocket.receive()
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type == aiohttp.WSMsgType.TEXT:
            data = json.loads(message.data)
            if wanted(data):
                return data


def press(url, action, **options):
    async def conversation(websocket):
        await until(websocket, lambda m: m['type'] == 'state' and m['episode'])
        await websocket.send_json({'action': action})
        return await until(websocket, lambda m: m['type'] == 'reply')

    return talk(url, conversation, **options)


def test_the_state_of_every_part_reaches_the_page(graph, url):
    async def conversation(websocket):
        hello = await until(websocket, lambda m: m['type'] == 'hello')
        state = await until(
            websocket,
            lambda m: (
                m['type'] == 'state'
                and m['gate']
                and m['learner']
                and m['command']['hz'] > 0
                and {'dashboard', 'reward'} <= {node['name'] for node in m['nodes']}
                and all(camera['hz'] > 0 for camera in m['cameras'])
            ),
        )
        return hello, state

    hello, state = talk(url, conversation)
    assert hello['robot'] == 'sim_arm'
    assert [camera['name'] for camera in hello['cameras']] == ['front', 'wrist']
    assert hello['control'] is None
    gate = state['gate']
    assert (gate['mode'], gate['owner'], gate['epoch']) == ('HUMAN', 'human', 4)
    assert gate['clamped'] == {'position': 3, 'velocity': 0, 'jump': 1, 'nonfinite': 0}
    assert state['episode']['task'] == 'pick up the red cube'
    assert state['episode']['phase'] == 'RUNNING'
    assert state['counters']['interventions'] == 2
    assert state['weights'] == {'active': 3, 'newest': 4, 'refused': ''}
    assert state['learner']['loss'] is None  # NaN is not JSON
    assert state['command']['hz'] == pytest.approx(20.0, abs=1.0)  # by the robot's clock
    assert all(camera['hz'] == pytest.approx(10.0, abs=0.5) for camera in state['cameras'])
    assert {'name': 'reward', 'level': 'warn', 'message': 'slow'} in state['nodes']


def test_frames_are_jpeg_with_camera_and_stamp(graph, url):
    async def conversation(websocket):
        frames, began = {}, time.monotonic()
        while len(frames) < 2 or time.monotonic() - began < 2.0:
            message = await websocket.receive()
            if message.type == aiohttp.WSMsgType.BINARY:
                index, stamp = struct.unpack_from('<B3xd', message.data)
                frames.setdefault(index, []).append((stamp, message.data[12:]))
        return frames

    frames = talk(url, conversation)
    assert sorted(frames) == [0, 1]
    for index, colour in enumerate(COLOURS):
        stamps = [stamp for stamp, _ in frames[index]]
        assert stamps == sorted(set(stamps)), 'a frame came twice or late'
        assert stamps[0] > START
        assert len(stamps) <= 24, 'more than image_rate_hz'
        picture = Picture.open(io.BytesIO(frames[index][-1][1]))
        assert picture.size == (64, 64)
        assert np.asarray(picture).mean((0, 1)) == pytest.approx(colour, abs=4)


def test_curves_come_whole_once_and_then_in_increments(graph, url):
    async def conversation(websocket):
        messages, points = [], []
        while len(points) < 20:
            message = await until(websocket, lambda m: m['type'] == 'curves')
            messages.append(message)
            points += message['series'].get('critic progress', [])
        return messages, points

    messages, points = talk(url, conversation)
    assert messages[0]['reset']
    assert not any(message['reset'] for message in messages[1:])
    times = [t for t, _ in points]
    assert times == sorted(set(times)), 'a point came twice'
    assert all(0 < t < 1000 for t in times), 'times count from the start of the episode'
    assert messages[0]['spans'] == [[pytest.approx(0.5), None]]


def test_a_button_calls_its_service_and_the_answer_comes_back(graph, url):
    reply = press(url, 'stop')
    assert (reply['action'], reply['ok'], reply['message']) == ('stop', True, 'stop served')
    assert graph.calls[-1][0] == 'stop'


def test_success_ends_a_running_episode_and_labels_an_ended_one(graph, url):
    assert press(url, 'success')['ok']
    name, request = graph.calls[-1]
    assert (name, request.data) == ('end', True)
    graph.episode_state = episode(EpisodeState.ENDED, EpisodeState.SUCCESS)
    try:
        time.sleep(0.5)
        assert press(url, 'failure')['ok']
        name, request = graph.calls[-1]
        assert (name, request.episode_id, request.outcome) == ('label', 'e1', EpisodeState.FAILURE)
    finally:
        graph.episode_state = episode()


def test_a_missing_node_is_named(graph, url):
    reply = press(url, 'clear')
    assert not reply['ok']
    assert 'gate node is not running' in reply['message']
    assert 'unknown' in press(url, 'dance')['message']


def test_other_origins_are_refused(graph, url):
    async def conversation(websocket):
        return await until(websocket, lambda m: m['type'] == 'hello')

    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        talk(url, conversation, headers={'Origin': 'http://evil.example'})
    assert refusal.value.status == 403
    assert talk(url, conversation, headers={'Origin': url})['type'] == 'hello'


def test_a_foreign_name_for_this_machine_may_watch_but_needs_the_token_to_control(graph, url):
    # DNS rebinding: the peer is this machine and origin equals host, yet the page is a stranger's
    headers = {'Host': 'evil.example', 'Origin': 'http://evil.example'}
    before = len(graph.calls)
    reply = press(url, 'stop', headers=headers)
    assert not reply['ok']
    assert 'token' in reply['message']
    assert len(graph.calls) == before
    assert not press(url, 'stop', headers=headers, path='/ws?token=wrong')['ok']
    assert press(url, 'stop', headers=headers, path='/ws?token=secret')['ok']


def test_silent_nodes_and_a_silent_gate_are_shown_as_gone(graph, url):
    graph.alive = False
    try:

        async def conversation(websocket):
            return await until(
                websocket,
                lambda m: (
                    m['type'] == 'state'
                    and m['gate'] is None
                    and {'name': 'reward', 'level': 'gone'}.items()
                    <= next((n for n in m['nodes'] if n['name'] == 'reward'), {}).items()
                ),
            )

        assert talk(url, conversation)
    finally:
        graph.alive = True


def test_a_busy_port_is_an_error_with_a_remedy():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            command(f'robot:={ROBOT}', f'port:={port}'), capture_output=True, text=True, timeout=60
        )
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert f'port {port} is already in use' in last
    assert 'port:=' in last
    assert 'Traceback' not in ended.stderr


def test_a_missing_robot_file_is_an_error_with_a_remedy():
    ended = subprocess.run(command('robot:=no_arm', 'port:=0'), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert 'no_arm' in last
    assert 'robot:=' in last


def test_counters_separate_evaluation_and_let_a_label_replace_an_outcome():
    counters = Counters()
    counters.episode(episode(EpisodeState.ENDED, EpisodeState.FAILURE, 'a'))
    counters.episode(episode(EpisodeState.ENDED, EpisodeState.SUCCESS, 'b', eval_only=True))
    counters.episode(episode(EpisodeState.ENDED, EpisodeState.ABORT, 'c'))
    report = counters.report()
    assert (report['learning']['failures'], report['learning']['discarded']) == (1, 1)
    assert report['evaluation']['rate'] == 1.0
    counters.episode(episode(EpisodeState.ENDED, int(Outcome.SUCCESS), 'a'))
    assert counters.report()['learning']['rate'] == 1.0
    for takeover_id in (1, 2, 1):  # the gate was restarted after the second
        counters.control(ControlState(takeover_id=takeover_id))
    assert counters.report()['interventions'] == 3


def test_curves_keep_samples_that_overtake_their_episode():
    curves = Curves()
    curves.episode(episode(name='old'))
    curves.sample(sample(START + 1.0, 0.1, episode_id='old'))
    curves.sample(sample(START + 0.2, 0.3, episode_id='new'))
    curves.episode(episode(name='new'))
    assert curves.full()['series']['critic progress'] == [(pytest.approx(0.2), pytest.approx(0.3))]
    assert curves.increment()['reset']
    assert curves.increment() is None


def test_rate_counts_by_stamp_and_survives_a_clock_set_back():
    rate = Rate()
    for i in range(11):
        rate.add(5.0 + 0.05 * i)
        rate.add(5.0 + 0.05 * i)  # repeated in lock-step
    assert rate.report()['hz'] == pytest.approx(20.0)
    rate.add(0.0)
    assert rate.report()['hz'] == 0.0
