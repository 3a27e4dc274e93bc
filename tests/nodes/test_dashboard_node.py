# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the dashboard shows, as a process of its own on a real ROS graph; the page's side is a websocket."""

import io
import socket
import struct
import subprocess
import time

import aiohttp
import numpy as np
import pytest
from dashboard_graph import COLOURS, ROBOT, START, Graph, command, serving, talk, until
from PIL import Image as Picture
from ros_graph import spinning


@pytest.fixture(scope='module')
def graph():
    with spinning(Graph) as node:
        yield node


@pytest.fixture(scope='module')
def url(graph):
    yield from serving(graph)


def test_the_state_of_every_part_reaches_the_page(graph, url):
    async def conversation(websocket):
        hello = await until(websocket, lambda m: m['type'] == 'hello')
        state = await until(
            websocket,
            lambda m: (
                m['type'] == 'state'
                and m['gate']
                and m['learning']['learner']
                and m['command']['hz'] > 0
                and all(camera['hz'] > 0 for camera in m['cameras'])
            ),
        )
        nodes = await until(
            websocket,
            lambda m: (
                m['type'] == 'nodes' and {'dashboard', 'reward'} <= {node['name'] for node in m['nodes']}
            ),
        )
        return hello, state, nodes['nodes']

    hello, state, nodes = talk(url, conversation)
    assert hello['robot'] == 'sim_arm'
    assert [camera['name'] for camera in hello['cameras']] == ['front', 'wrist']
    assert 'token' in hello['control'], 'with a token set nobody controls without it'
    gate = state['gate']
    assert (gate['mode'], gate['owner'], gate['epoch']) == ('HUMAN', 'human', 4)
    assert gate['clamped'] == {'position': 3, 'velocity': 0, 'jump': 1, 'nonfinite': 0}
    assert state['episode']['task'] == 'pick up the red cube'
    assert state['episode']['phase'] == 'RUNNING'
    assert state['counters']['interventions'] == 2
    assert state['learning']['weights'] == {'active': 3, 'newest': 4, 'refused': ''}
    assert state['learning']['learner']['loss'] is None  # NaN is not JSON
    assert state['command']['hz'] == pytest.approx(20.0, abs=1.0)  # by the robot's clock
    assert all(camera['hz'] == pytest.approx(10.0, abs=0.5) for camera in state['cameras'])
    reward = next(node for node in nodes if node['name'] == 'reward')
    assert (reward['level'], reward['message'], reward['values']) == ('warn', 'slow', [['queue', '7']])


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
        assert len(stamps) <= 34, 'more than image_rate_hz'
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


def test_silent_nodes_and_a_silent_gate_are_shown_as_gone(graph, url):
    graph.alive = False
    try:

        async def conversation(websocket):
            await until(websocket, lambda m: m['type'] == 'state' and m['gate'] is None)
            return await until(
                websocket,
                lambda m: (
                    m['type'] == 'nodes'
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


def test_a_token_that_is_too_long_is_an_error_with_a_remedy():
    ended = subprocess.run(
        command(f'robot:={ROBOT}', 'port:=0', f'token:={"x" * 1025}'),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert 'give one of 1024 at most' in ended.stderr.strip().splitlines()[-1]
