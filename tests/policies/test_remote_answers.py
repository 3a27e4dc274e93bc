# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Servers that answer what no server of ours would: the robot gets an error that says so, never a chunk."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
import torch
from remote_rig import TOKEN, make_policy, observation, serving, strange

from apprentice.policies import remote_protocol as protocol
from apprentice.policies.remote_connection import Connection
from apprentice.policies.remote_fields import ProtocolError
from apprentice.policies.remote_protocol import Actions, Error

POLICY = make_policy()
SEEN = observation(POLICY.spec)


async def nan(connection, fields):
    fields['actions']['data'] = b'\xff' * 448
    await connection.send_bytes(msgpack.packb(fields))


async def rubbish(connection, fields):
    await connection.send_bytes(b'\x00rubbish')


async def text(connection, fields):
    await connection.send_str('{}')


async def silent(connection, fields):
    pass


async def stale(connection, fields):
    for number in (fields['id'] - 1, fields['id'] + 1):
        await connection.send_bytes(msgpack.packb({**fields, 'id': number}))


async def hello_again(connection, fields):
    hello = {'type': 'hello', 'protocol': 1, 'spec': {}, 'runtime': '', 'sha256': '', 'about': {}}
    await connection.send_bytes(msgpack.packb({**hello, 'max_delay': None, 'head': ''}))


async def other_noise(connection, fields):
    generator = None if fields['generator'] else {'dtype': 'uint8', 'shape': [1], 'data': b'0'}
    await connection.send_bytes(msgpack.packb({**fields, 'generator': generator}))


async def goodbye(connection, fields):
    await connection.close()


async def enormous(connection, fields):
    await connection.send_bytes(bytes(protocol.LARGEST_REPLY + 1))


@pytest.mark.parametrize(
    ('change', 'kind', 'message'),
    [
        (nan, ProtocolError, 'actions.actions holds numbers that are not finite'),
        (rubbish, ProtocolError, 'not a message of this protocol'),
        (text, ProtocolError, 'sent text'),
        (silent, TimeoutError, r'within 0\.3 s'),
        (stale, TimeoutError, r'within 0\.3 s'),
        (hello_again, ProtocolError, 'sent Hello where a chunk is due'),
        (other_noise, ProtocolError, 'due are'),
        (goodbye, ConnectionError, 'is the server alive'),
        (enormous, ConnectionError, 'size'),
    ],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_an_answer_that_is_none(connect, change, kind, message):
    async def reply(connection, data):
        act = protocol.decode(data)
        good = protocol.encode(Actions(act.id, np.zeros((8, 7)), 0.0, 1.0, act.generator))
        await change(connection, msgpack.unpackb(good))

    with strange(POLICY, reply) as address:
        remote = connect(address, timeout_s=0.3)
        for generator in (None, torch.Generator()):  # and again, after connecting again
            remote.timeout_s = 0.3
            with pytest.raises(kind, match=message):
                remote.act(SEEN, generator)


@pytest.mark.parametrize(
    ('hello', 'kind', 'message'),
    [
        (
            msgpack.packb({'type': 'hello', 'protocol': 2, 'new': 1}),
            protocol.VersionError,
            'speaks version 2',
        ),
        (protocol.encode(Error(0, 'closing', '')), ProtocolError, 'did not say hello'),
        (b'SSH-2.0', ProtocolError, 'not a message'),
    ],
)
def test_another_greeting(connect, hello, kind, message):
    with strange(POLICY, silent, hello) as address, pytest.raises(kind, match=message):
        connect(address)


def test_no_server_and_another_server(connect):
    with pytest.raises(ConnectionError, match='apprentice serve policy WEIGHTS'):
        connect('ws://127.0.0.1:1')
    with serving(POLICY) as served, pytest.raises(ConnectionError, match='no policy server'):
        Connection(f'{served.address}/healthz', TOKEN, 5.0)
