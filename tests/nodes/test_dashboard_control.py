# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What people may do through the dashboard: buttons, driving, one person at a time, nonsense and floods."""

import asyncio
import time

import aiohttp
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
    ended = lambda m: m['type'] == 'state' and m['episode']['phase'] == 'ENDED'  # noqa: E731
    try:
        talk(url, lambda websocket: until(websocket, ended))
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


def test_a_right_token_after_wrong_ones_is_not_punished_and_guessing_is_slow(url):
    async def tries(websocket, count):
        return [(await identify(websocket, f'guess {number}'))['control'] for number in range(count)]

    async def conversation(websocket):
        assert 'is wrong' in (await tries(websocket, 1))[0]
        assert (await identify(websocket))['control'] is None
        # forty presses within a second or two: the page is as good as any
        for _ in range(40):
            await websocket.send_json({'action': 'beat'})
        await websocket.send_json({'action': 'success'})
        reply = await until(websocket, lambda m: m['type'] == 'reply')
        await websocket.send_json({'action': 'give'})
        return reply

    assert talk(url, conversation)['ok']

    async def guess(websocket):
        return await tries(websocket, 5)

    # a new connection is no new chance
    refusals = talk(url, guess) + talk(url, guess)
    assert 'too many wrong tokens' in refusals[4]
    assert sum('is wrong' in refusal for refusal in refusals) <= 5
    assert 'too many wrong tokens' in refusals[9]
    time.sleep(1.1)
    assert talk(url, identify)['control'] is None

    async def guessed_beside(websocket):
        first = await identify(websocket)
        async with aiohttp.ClientSession() as session, session.ws_connect(url + '/ws') as other:
            guesses = await tries(other, 6)
        again = await identify(websocket, name='Anna')
        mistyped = await identify(websocket, 'guess')
        await asyncio.sleep(1.1)
        return first, guesses, again, mistyped, await identify(websocket)

    first, guesses, again, mistyped, right = talk(url, guessed_beside)
    assert 'too many wrong tokens' in guesses[-1]
    assert (first['control'], again['control'], again['name']) == (None, None, 'Anna')
    assert 'too many wrong tokens' in mistyped['control']
    assert right['control'] is None


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


async def hold(websocket, enough, **move):
    """Hold as a page does until ``enough(seconds)``; returns the node's clock at the press.

    A busy machine may be late, and the node lets go for it: then pressed anew.
    """
    pressed = clock = None
    while pressed is None or not enough(clock - pressed):
        message = await until(websocket, lambda m: m['type'] in ('state', 'reply'))
        if message['type'] == 'reply':
            await websocket.send_json({'action': 'drive', 'held': False})
            pressed = None
            continue
        clock = message['drive']['clock']
        pressed = pressed or clock
        await websocket.send_json({'action': 'drive', 'held': True, 'clock': clock, **move})
    return pressed


def test_driving_is_published_while_held_and_let_go_when_the_page_is_lost(graph, url):
    graph.joys.clear()
    graph.twists.clear()
    held = lambda: [joy for joy in graph.joys if joy.buttons[0]]  # noqa: E731

    async def conversation(websocket):
        await identify(websocket)
        enough = lambda _: len(held()) >= 5 and graph.joys[-1].buttons[0]  # noqa: E731
        await hold(websocket, enough, linear=[0.5, 7, -0.25], grip=-1)

    talk(url, conversation)  # the connection ends while the stick is held
    deadline = time.monotonic() + TIMEOUT
    while graph.joys[-1].buttons[0]:
        assert time.monotonic() < deadline, 'nobody let go for the lost page'
        time.sleep(0.05)
    joy, twist = held()[0], graph.twists[0]
    assert list(joy.axes) == pytest.approx([0.5, 1.0, -0.25, 0, 0, 0])
    assert list(joy.buttons) == [1, 0, 0, 0, 1], 'closes'
    assert list(graph.joys[-1].axes) == [0.0] * 6
    assert (twist.twist.linear.x, twist.header.frame_id) == (0.5, joy.header.frame_id)


def test_what_was_long_on_its_way_drives_nothing_until_it_is_let_go(graph, url):
    graph.joys.clear()

    def held():
        return bool(graph.joys and graph.joys[-1].buttons[0])

    async def conversation(websocket):
        await identify(websocket)
        # a page that was lost in a test before has the controls for some seconds more
        taken = {'ok': False}
        while not taken['ok']:
            await asyncio.sleep(0.2)
            await websocket.send_json({'action': 'take'})
            taken = await until(websocket, lambda m: m['type'] == 'reply')

        async def drive(clock, on=True):
            await websocket.send_json({'action': 'drive', 'held': on, 'clock': clock})

        async def refused():
            reply = await until(websocket, lambda m: m['type'] == 'reply')
            assert not reply['ok']
            assert 'let go, then hold again' in reply['message']
            while held():
                await asyncio.sleep(0.02)

        old = await hold(websocket, lambda seconds: seconds > 0.6 and held())
        await drive(old)
        await refused()
        # what follows is fresh, but of the same hold
        state = await until(websocket, lambda m: m['type'] == 'state')
        await drive(state['drive']['clock'])
        await refused()
        await drive(None, on=False)  # letting go counts whatever its age
        pressed = await hold(websocket, lambda _: held())
        # a pause of the page is no different: it has to press anew
        later = lambda m: m['type'] == 'state' and m['drive']['clock'] > pressed + 0.5  # noqa: E731
        state = await until(websocket, lambda m: later(m) and m['drive']['client'] is None)
        await drive(state['drive']['clock'])
        await refused()
        await websocket.send_json({'action': 'give'})

    talk(url, conversation)
    assert not held()


@pytest.mark.parametrize(
    'fields',
    [
        {'held': True},  # a page of an older version
        {'held': True, 'clock': 1e12},
        {'held': True, 'clock': True},
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
        began = time.monotonic()
        for _ in range(400):
            await websocket.send_json({'action': 'dance'})
        await websocket.send_json({'action': 'stop'})
        answers = []
        while True:
            reply = await until(websocket, lambda m: m['type'] == 'reply')
            answers.append(reply['message'])
            if reply['action'] == 'stop':
                return reply, answers, time.monotonic() - began

    reply, answers, seconds = talk(url, conversation)
    assert reply['ok']
    assert len(answers) < 110 + 60 * seconds, '90 at once, and 60 a second'
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
            frames = 0
            while frames < 40:
                kind = (await busy.receive()).type
                assert kind in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
                frames += kind == aiohttp.WSMsgType.BINARY
            await lazy.close()

    asyncio.run(asyncio.wait_for(run(), TIMEOUT))
