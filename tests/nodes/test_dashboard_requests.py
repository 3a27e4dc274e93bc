# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What anybody may ask of the dashboard's server is bounded; the real server with a slow panel."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from test_dashboard_recordings import SPEC, an_episode

from apprentice.episodes.episode_writer import write_episode
from apprentice.episodes.playback import Playback
from apprentice.nodes.dashboard_access import Access
from apprentice.nodes.dashboard_panels import Panel
from apprentice.nodes.dashboard_recordings import Recordings
from apprentice.nodes.dashboard_server import MAX_WORKING, Server
from apprentice.nodes.dashboard_socket import listen
from apprentice.robot.parts import share
from apprentice.robot.types import Outcome


class Slow(Panel):
    def __init__(self):
        self.started, self.go_on = 0, False
        self.routes = {'/api/slow': self._slow, '/api/broken': self._broken}

    async def _slow(self, request):
        self.started += 1
        while not self.go_on:
            await asyncio.sleep(0.01)
        return web.Response(text='done')

    async def _broken(self, request):
        raise web.HTTPNotFound(text='nothing there')


@pytest.fixture
def slow():
    panel, listener = Slow(), listen('127.0.0.1', 0)
    ignore = lambda *_: None  # noqa: E731
    server = Server(listener, share('web'), {'type': 'hello'}, Access(), [panel], ignore, ignore)
    server.start()
    yield f'http://127.0.0.1:{listener.getsockname()[1]}', panel
    panel.go_on = True
    server.close()


def test_too_many_requests_at_a_time_are_told_to_come_again(slow):
    url, panel = slow

    async def run():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def status(path):
                async with session.get(url + path) as answer:
                    return answer.status, answer.headers.get('Retry-After')

            assert {await status('/api/broken') for _ in range(3 * MAX_WORKING)} == {(404, None)}
            waiting = [asyncio.create_task(status('/api/slow')) for _ in range(MAX_WORKING)]
            while panel.started < MAX_WORKING:
                await asyncio.sleep(0.01)
            assert await status('/api/slow') == (503, '1')
            assert (await status('/'))[0] == 200, 'the page itself is always there'
            async with session.ws_connect(url + '/ws') as websocket:
                assert (await websocket.receive_json())['type'] == 'hello'
            # somebody who hangs up leaves the work behind: it counts until it is done
            waiting[0].cancel()
            await asyncio.sleep(0.1)
            assert await status('/api/slow') == (503, '1')
            panel.go_on = True
            assert {await task for task in waiting[1:]} == {(200, None)}
            assert await status('/api/slow') == (200, None)

    asyncio.run(asyncio.wait_for(run(), 30))
    assert panel.started == MAX_WORKING + 1


def test_an_episode_is_read_once(ros, tmp_path):
    file = tmp_path / 's-0.mcap'
    write_episode(file, an_episode('s-0', Outcome.SUCCESS), SPEC)
    panel = Recordings(ros.node, SPEC, tmp_path)
    with Playback(file) as playback:
        details = panel._details(playback)
        assert details['spans']
    with Playback(file) as playback:
        assert panel._details(playback) is details
    panel.close()
