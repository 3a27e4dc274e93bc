# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What people may do through the dashboard: buttons, driving, one person at a time, nonsense and floods."""

import asyncio
import time

import aiohttp
import numpy as np
import pytest
from apprentice_interfaces.msg import (
    EpisodeState,
)
from dashboard_graph import (
    TIMEOUT,
    Graph,
    episode,
    identify,
    press,
    serving,
    talk,
    until,
)
from ros_graph import spinning


@pytest.fixture(scope='module')
def graph():
    with spinning(Graph) as node:
        yield node


@pytest.fixture(scope='module')
def url(graph):
    yield from serving(graph)


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


def test_a_foreign_name_for_this_machine_does_not_even_watch(graph, url):
    # DNS rebinding: the peer is this machine and origin equals host, yet the page is a stranger's
    async def conversation(websocket):
        return await until(websocket, lambda m: m['type'] == 'hello')

    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        talk(url, conversation, headers={'Host': 'evil.example', 'Origin': 'http://evil.example'})
    assert refusal.value.status == 403


def test_without_the_token_one_watches_and_stops(graph, url):
    before = len(graph.calls)
    for token in ('', 'wrong'):
        reply = press(url, 'success', token=token)
        assert not reply['ok']
        assert 'token' in reply['message']
    assert len(graph.calls) == before, 'a service was called without the token'
    assert press(url, 'stop', token='')['ok'], 'stop needs no token'
    assert graph.calls[-1][0] == 'stop'


def test_the_controls_belong_to_one_page_and_the_other_may_stop(graph, url):
    async def run():
        async with aiohttp.ClientSession() as session:
            anna = await session.ws_connect(url + '/ws')
            ben = await session.ws_connect(url + '/ws')
            await identify(anna, name='Anna', key='a')
            await identify(ben, name='Ben', key='b')

            async def ask(websocket, action, **fields):
                await websocket.send_json({'action': action, **fields})
                return await until(websocket, lambda m: m['type'] == 'reply' and m['action'] == action)

            assert (await ask(anna, 'take'))['ok']
            told = await until(ben, lambda m: m['type'] == 'controls' and m['client'] is not None)
            assert told['name'] == 'Anna'
            before = len(graph.calls)
            refused = await ask(ben, 'success')
            assert not refused['ok']
            assert 'Anna has the controls' in refused['message']
            assert not (await ask(ben, 'drive', held=True))['ok']
            assert len(graph.calls) == before
            assert (await ask(ben, 'stop'))['ok']
            await anna.send_json({'action': 'give'})
            await until(ben, lambda m: m['type'] == 'controls' and m['client'] is None)
            assert (await ask(ben, 'success'))['ok'], 'free controls are taken by using them'
            await anna.close()
            await ben.send_json({'action': 'give'})
            await ben.close()

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))


def test_driving_is_published_while_held_and_let_go_when_the_page_is_lost(graph, url):
    graph.joys.clear()

    async def conversation(websocket):
        await identify(websocket)
        for _ in range(5):
            await websocket.send_json(
                {'action': 'drive', 'held': True, 'linear': [0.5, 7, -0.25], 'grip': -1}
            )
            await asyncio.sleep(0.05)
        await until(websocket, lambda m: m['type'] == 'state' and m['drive']['client'])

    talk(url, conversation)  # the connection ends while the stick is held
    deadline = time.monotonic() + TIMEOUT
    while not (graph.joys and not graph.joys[-1].buttons[0]):
        assert time.monotonic() < deadline, 'nobody let go for the lost page'
        time.sleep(0.05)
    held = [joy for joy in graph.joys if joy.buttons[0]]
    assert len(held) == 5
    assert list(held[0].axes) == pytest.approx([0.5, 1.0, -0.25, 0, 0, 0])
    assert list(held[0].buttons) == [1, 0, 0, 0, 1], 'closes'
    assert list(graph.joys[-1].axes) == [0.0] * 6
    twist = graph.twists[0]
    assert (twist.twist.linear.x, twist.header.frame_id) == (0.5, held[0].header.frame_id)


@pytest.mark.parametrize(
    'fields',
    [
        {'held': True, 'linear': ['a', 0, 0]},
        {'held': True, 'linear': [0, 0]},
        {'held': True, 'angular': {'x': 1}},
        {'held': 1},
        {},
    ],
)
def test_nonsense_drives_nothing(graph, url, fields):
    graph.joys.clear()
    reply = press(url, 'drive', **fields)
    assert not reply['ok']
    assert not any(joy.buttons[0] for joy in graph.joys)


@pytest.mark.parametrize('text', ['', '[]', '{"action": 3}', '"stop"', '[' * 2000, 'NaN', '{"task": "x"}'])
def test_what_is_not_understood_is_answered(url, text):
    async def conversation(websocket):
        await websocket.send_str(text)
        reply = await until(websocket, lambda m: m['type'] == 'reply')
        return reply, await until(websocket, lambda m: m['type'] == 'state')

    reply, _ = talk(url, conversation)
    assert not reply['ok']


def test_a_flood_is_cut_and_stop_comes_through_it(graph, url):
    async def conversation(websocket):
        await identify(websocket)
        for _ in range(400):
            await websocket.send_json({'action': 'dance'})
        await websocket.send_json({'action': 'stop'})
        answers = []
        while True:
            reply = await until(websocket, lambda m: m['type'] == 'reply')
            answers.append(reply['message'])
            if reply['action'] == 'stop':
                return reply, answers

    reply, answers = talk(url, conversation)
    assert reply['ok']
    assert len(answers) < 150
    assert any('too many messages' in answer for answer in answers)


def test_too_long_messages_end_the_connection_only(url):
    async def conversation(websocket):
        await until(websocket, lambda m: m['type'] == 'hello')
        await websocket.send_str('x' * 10_000)
        while (await websocket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            pass

    talk(url, conversation)
    assert talk(url, lambda websocket: until(websocket, lambda m: m['type'] == 'state'))


def test_a_page_that_does_not_read_makes_nobody_wait(graph, url):
    async def run():
        async with aiohttp.ClientSession() as session:
            lazy = await session.ws_connect(url + '/ws')  # never read
            busy = await session.ws_connect(url + '/ws')
            ages, began = [], time.monotonic()
            while time.monotonic() - began < 3.0:
                message = await busy.receive()
                if message.type == aiohttp.WSMsgType.BINARY:
                    ages.append(time.monotonic())
            await lazy.close()
            return np.diff(ages)

    gaps = asyncio.run(asyncio.wait_for(run(), TIMEOUT))
    assert len(gaps) > 30, '2 cameras at 10 Hz for 3 s'
