# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The policy server: who may ask, in which order they are answered, what it says to rubbish."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import threading
import urllib.request

import aiohttp
import msgpack
import numpy as np
import pytest
import torch
from remote_rig import (
    TOKEN,
    Served,
    Turnstile,
    WrappedPolicy,
    answer,
    make_policy,
    observation,
    serving,
    talk,
)

from apprentice.policies import remote_access as access
from apprentice.policies import remote_protocol as protocol
from apprentice.policies.remote import load
from apprentice.policies.remote_protocol import Act, Actions, Error
from apprentice.policies.server import PolicyServer, ServerConfig, hello_of

POLICY = make_policy()
SEEN = observation(POLICY.spec)


@pytest.fixture(scope='module')
def served():
    with serving(POLICY) as served:
        yield served


def request(number, text='go'):
    return protocol.encode(Act(number, 0.0, SEEN.images, SEEN.state, text, None, None, 0, None))


def test_bytes_that_are_no_request_get_an_error_and_the_next_request_a_chunk(served):
    other_version = msgpack.packb({**msgpack.unpackb(request(1)), 'protocol': 99})
    without_images = protocol.encode(Act(7, 0.0, {}, SEEN.state, 'go', None, None, 0, None))
    noise = protocol.encode(
        Act(8, 0.0, SEEN.images, SEEN.state, 'go', None, None, 0, np.zeros(5056, np.uint8))
    )

    async def work(socket):
        found = []
        for data in (b'\xc1', protocol.encode(Error(1, 'failed', '')), other_version, without_images, noise):
            await socket.send_bytes(data)
            found.append(await answer(socket))
        await socket.send_str('hello')
        found.append(await answer(socket))
        await socket.send_bytes(request(9))
        return found, await answer(socket)

    errors, chunk = asyncio.run(talk(served.address, work))
    kinds = ['malformed', 'malformed', 'version', 'refused', 'refused', 'malformed']
    assert [error.kind for error in errors] == kinds
    assert [error.id for error in errors] == [0, 0, 0, 7, 8, 0]
    assert 'version 99' in errors[2].message
    assert "camera 'front' has no image" in errors[3].message
    assert 'generator' in errors[4].message
    assert isinstance(chunk, Actions)
    assert chunk.id == 9


def test_a_message_that_is_too_large_ends_its_connection_only(connect, served):
    remote = connect(served.address)

    async def work(socket):
        await socket.send_bytes(bytes(protocol.largest_request(POLICY.spec) + 1))
        return await socket.receive(timeout=10)

    ended = asyncio.run(talk(served.address, work))
    assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)
    assert remote.act(SEEN).shape == (8, 7)


# who may ask


@pytest.mark.parametrize('token', ['', 'another-token-of-16'])
def test_a_wrong_token_is_refused(served, tmp_path, monkeypatch, caplog, token):
    monkeypatch.delenv(access.TOKEN_VARIABLE, raising=False)
    file = tmp_path / 'other'
    file.write_text(token)
    with pytest.raises(PermissionError, match='copy the token file'):
        load(served.address, token_file=file if token else '')
    assert 'wrong or missing token' in caplog.text
    assert TOKEN not in caplog.text


def test_the_token_may_be_in_the_environment(served, monkeypatch):
    monkeypatch.setenv(access.TOKEN_VARIABLE, TOKEN)
    load(served.address)[0].close()


def test_a_page_in_a_browser_may_not_ask(served):
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        asyncio.run(talk(served.address, answer, Origin='http://127.0.0.1'))
    assert caught.value.status == 403


def test_there_is_no_server_without_a_token_but_on_loopback():
    for host in ('0.0.0.0', '::', '192.168.1.5', 'gpu.example'):
        with pytest.raises(ValueError, match='there is no token'):
            ServerConfig(host=host)
    for host in ('127.0.0.1', '::1', 'localhost'):
        ServerConfig(host=host)
    with serving(POLICY, token='') as for_everybody:
        load(for_everybody.address)[0].close()


def test_places_are_limited(connect):
    with serving(POLICY, connections=1) as served:
        connect(served.address)
        with pytest.raises(ConnectionError, match='no place left'):
            connect(served.address)


def test_token_files(tmp_path, caplog):
    file = tmp_path / 'deep' / 'token'
    made = access.make_token(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert access.find_token(file) == made
    assert len(made) >= 32
    assert not caplog.text
    file.chmod(0o644)
    assert access.find_token(file) == made
    assert 'chmod 600' in caplog.text
    for wrong in ('short', 'with spaces within it', 'ünprintable-token-of-text', ''):
        file.write_text(wrong)
        with pytest.raises(access.TokenError, match='openssl rand'):
            access.find_token(file)
    with pytest.raises(OSError, match='copy the one that the server names'):
        access.find_token(tmp_path / 'nowhere')


@pytest.mark.parametrize(
    ('text', 'url'),
    [
        ('ws://gpu:1234', 'ws://gpu:1234/'),
        ('wss://gpu', 'wss://gpu:8770/'),
        ('gpu.local:99', 'ws://gpu.local:99/'),
        ('ws:/127.0.0.1:8770', 'ws://127.0.0.1:8770/'),  # what a path makes of it
        ('ws://[::1]:5/', 'ws://[::1]:5/'),
        ('http://gpu', None),
        ('ws://', None),
        ('ws://gpu:port', None),
        ('ws://gpu/path', None),
        ('ws://user@gpu', None),
        ('runs/policy', None),
    ],
)
def test_addresses(text, url):
    if url:
        assert access.server_address(text) == url
    else:
        with pytest.raises(ValueError, match='give ws://host:port'):
            access.server_address(text)


@pytest.mark.skipif(shutil.which('openssl') is None, reason='openssl makes the certificate')
def test_an_encrypted_connection(tmp_path, connect):
    certificate, key = tmp_path / 'cert.pem', tmp_path / 'key.pem'
    words = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost'
    command = ['openssl', *words.split(), '-addext', 'subjectAltName=IP:127.0.0.1']
    subprocess.run([*command, '-keyout', str(key), '-out', str(certificate)], check=True, capture_output=True)
    with serving(POLICY, tls=access.server_tls(certificate, key)) as served:
        remote = connect(served.address, ca_file=certificate)
        generators = [torch.Generator().manual_seed(1) for _ in range(2)]
        np.testing.assert_array_equal(remote.act(SEEN, generators[0]), POLICY.act(SEEN, generators[1]))
        with pytest.raises(ConnectionError, match='not trusted'):
            connect(served.address)
        with pytest.raises(ConnectionError, match='use wss://'):
            connect(served.address.replace('wss', 'ws'))
    with pytest.raises(ValueError, match='no certificate and its key'):
        access.server_tls(key, key)
    with pytest.raises(ValueError, match='no certificate'):
        access.client_tls(key)


# several requests, several robots


def test_a_newer_request_takes_the_place_of_one_that_waits():
    turnstile = Turnstile()
    with serving(WrappedPolicy(POLICY, turnstile)) as served:

        async def work(socket):
            await socket.send_bytes(request(1, 'first'))
            await asyncio.to_thread(turnstile.begun.acquire, timeout=10)
            for number in (2, 3, 4):
                await socket.send_bytes(request(number, f'number {number}'))
            superseded = [await answer(socket), await answer(socket)]
            for _ in range(2):
                turnstile.go.release()
            return superseded, [await answer(socket), await answer(socket)]

        superseded, chunks = asyncio.run(talk(served.address, work))
        health = json.load(urllib.request.urlopen(f'http://127.0.0.1:{served.port}/healthz', timeout=10))
    assert [(error.id, error.kind) for error in superseded] == [(2, 'superseded'), (3, 'superseded')]
    assert [chunk.id for chunk in chunks] == [1, 4]
    assert chunks[1].queue_ms > 0
    assert turnstile.texts == ['first', 'number 4']
    assert health['infer_ms_p99'] >= health['infer_ms_p50'] > 0
    counts = ('status', 'requests', 'chunks', 'superseded', 'errors')
    assert [health[name] for name in counts] == ['ok', 4, 2, 2, 0]


def test_robots_take_turns():
    turnstile = Turnstile()
    with serving(WrappedPolicy(POLICY, turnstile)) as served:

        async def robot(name):
            async def work(socket):
                for number in (1, 2, 3):
                    await socket.send_bytes(request(number, name))
                    assert (await answer(socket)).id == number

            await talk(served.address, work)

        async def both():
            robots = [asyncio.create_task(robot(name)) for name in ('a', 'b')]
            for asked in range(2, 8):
                while served.server.health()['requests'] < min(asked, 6):  # one computes, the other waits
                    await asyncio.sleep(0.005)
                turnstile.go.release()
            await asyncio.gather(*robots)

        asyncio.run(both())
    assert turnstile.texts in (['a', 'b'] * 3, ['b', 'a'] * 3)


def test_a_robot_that_leaves_takes_its_request_along():
    turnstile = Turnstile()
    with serving(WrappedPolicy(POLICY, turnstile)) as served:

        async def leave(socket):
            await socket.send_bytes(request(1, 'computed'))
            await asyncio.to_thread(turnstile.begun.acquire, timeout=10)
            await socket.send_bytes(request(2, 'waits'))
            while served.server.health()['requests'] < 2:
                await asyncio.sleep(0.005)

        async def stay(socket):
            turnstile.go.release()
            turnstile.go.release()
            await socket.send_bytes(request(5, 'other'))
            return await answer(socket)

        asyncio.run(talk(served.address, leave))
        assert asyncio.run(talk(served.address, stay)).id == 5
    assert turnstile.texts == ['computed', 'other']


# start and end


def test_a_policy_that_cannot_plan_is_not_served():
    with pytest.raises(RuntimeError, match='cannot plan: the policy gave no usable chunk'):
        Served(WrappedPolicy(POLICY, lambda observation: np.full((8, 7), np.inf)))


def test_a_port_that_is_taken(served):
    with pytest.raises(OSError, match=f'127.0.0.1:{served.port}.*give another --port'):
        Served(POLICY, port=served.port)


def test_closing_answers_who_waits_and_ends_the_thread():
    turnstile = Turnstile()
    served = Served(WrappedPolicy(POLICY, turnstile))

    async def work(socket):
        await socket.send_bytes(request(1))
        await asyncio.to_thread(turnstile.begun.acquire, timeout=10)
        await socket.send_bytes(request(2))
        while served.server.health()['requests'] < 2:
            await asyncio.sleep(0.005)
        closing = threading.Thread(target=served.close)
        closing.start()
        last, end = await answer(socket), await socket.receive(timeout=10)
        turnstile.go.release()
        await asyncio.to_thread(closing.join, 10)
        return last, end

    last, end = asyncio.run(talk(served.address, work))
    assert (last.id, last.kind) == (2, 'closing')
    assert (end.type, end.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY)
    assert not served.server._thread.is_alive()


def test_a_server_that_is_closed_before_anybody_came():
    server = PolicyServer(POLICY, hello_of(POLICY, {}, '', 'torch'), ServerConfig(port=0))

    async def life():
        await server.start()
        await server.close()

    asyncio.run(life())
