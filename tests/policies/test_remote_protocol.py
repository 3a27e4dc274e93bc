# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Messages between robot and policy server: round trips, and bytes that are anything else."""

from __future__ import annotations

import dataclasses
import pickle
import struct
import tracemalloc

import msgpack
import numpy as np
import pytest
from remote_rig import make_policy, observation

from apprentice.policies import remote_protocol as protocol
from apprentice.policies.remote_fields import ProtocolError
from apprentice.policies.remote_protocol import Act, Actions, Error, Hello, Previous, Rtc

rng = np.random.default_rng(0)
ACT = Act(
    id=3,
    stamp=12.5,
    images={'front': rng.integers(0, 255, (4, 6, 3), np.uint8), 'wrist': np.zeros((2, 2, 3), np.uint8)},
    state=rng.normal(size=7),
    text='Würfel',
    previous=Previous(rng.normal(size=(5, 7)), 2),
    rtc=Rtc('soft', 5.0),
    seed=2**63 - 1,
    generator=rng.integers(0, 255, 16, np.uint8),
)
ACTIONS = Actions(3, rng.normal(size=(8, 7)).astype(np.float32), 0.5, 12.25, None)
HELLO = Hello(
    {'joints': ['a', 'b'], 'cameras': {'front': [4, 6]}, 'horizon': 8, 'dt': 0.1}, 'torch', 'ab' * 32,
    {'name': 'x', 'deep': [{'a': [None, True, 1, 0.5]}]}, 2, 'flow',
)  # fmt: skip
MESSAGES = [ACT, dataclasses.replace(ACT, previous=None, rtc=None, generator=None), ACTIONS, HELLO]
MESSAGES += [Error(0, 'malformed', 'why')]


def same(a, b) -> bool:
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize('message', MESSAGES, ids=lambda m: type(m).__name__)
def test_what_is_sent_arrives(message):
    assert same(message, protocol.decode(protocol.encode(message)))


def test_arrays_of_any_layout_arrive_in_order():
    image = rng.integers(0, 255, (6, 4, 3), np.uint8).transpose(1, 0, 2)[::-1]
    actions = np.arange(6, dtype='>f8').reshape(2, 3)
    act = dataclasses.replace(ACT, images={'front': image}, previous=Previous(actions, 0))
    arrived = protocol.decode(protocol.encode(act))
    np.testing.assert_array_equal(arrived.images['front'], image)
    np.testing.assert_array_equal(arrived.previous.actions, actions)


def test_a_policy_specification_arrives():
    spec = make_policy().spec
    hello = protocol.decode(protocol.encode(dataclasses.replace(HELLO, spec=spec.to_dict())))
    assert hello.policy_spec().to_dict() == spec.to_dict()
    for change in (
        {'horizon': -5},
        {'horizon': 'x'},
        {'cameras': {'front': [4]}},
        {'state': {}},
        {'joints': 3},
    ):
        with pytest.raises(ProtocolError, match=r'hello\.spec'):
            dataclasses.replace(hello, spec={**hello.spec, **change}).policy_spec()


def body(message) -> dict:
    return msgpack.unpackb(protocol.encode(message))


def changed(data: dict, path: str, value) -> bytes:
    """The message with another value at ``path``; Ellipsis: without it."""
    *names, last = path.split('.')
    inner = data
    for name in names:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return msgpack.packb(data)


NAN = struct.pack('<d', float('nan'))


@pytest.mark.parametrize(
    ('message', 'path', 'value', 'text'),
    [
        (ACT, 'id', ..., "lacks 'id'"),
        (ACT, 'id', -1, 'act.id is -1'),
        (ACT, 'id', True, 'act.id is True'),
        (ACT, 'id', 2**64 - 1, 'whole number'),
        (ACT, 'extra', 1, "unknown 'extra'"),
        (ACT, 'stamp', float('nan'), 'act.stamp is nan'),
        (ACT, 'stamp', '1', "act.stamp is '1'"),
        (ACT, 'images', [], 'map of names'),
        (ACT, 'images', {3: None}, 'not a message'),
        (ACT, 'images', {b'front': None}, 'map of names'),
        (ACT, 'images.front', None, 'act.images.'),
        (ACT, 'images.front.dtype', 'float64', "use one of ['uint8']"),
        (ACT, 'images.front.dtype', 'object', 'dtype'),
        (ACT, 'images.front.shape', [4, 6], 'give 3 sizes'),
        (ACT, 'images.front.shape', [4, 6, 4], 'has 72 bytes, but [4, 6, 4] of uint8 need 96'),
        (ACT, 'images.front.shape', [16384, 16384, 16384], '4398046511104'),
        (ACT, 'images.front.shape', [-4, -6, 3], 'shape is -4'),
        (ACT, 'images.front.shape', [4.0, 6, 3], 'shape is 4.0'),
        (ACT, 'images.front.data', 'text', 'give bytes'),
        (ACT, 'state.data', NAN * 7, 'act.state holds numbers that are not finite'),
        (ACT, 'state', [0.0] * 7, 'act.state is list of 7'),
        (ACT, 'text', 'x' * 20_000, 'at most 16384 characters'),
        (ACT, 'text', b'x', 'act.text is bytes of 1'),
        (ACT, 'previous', 5, 'act.previous is 5'),
        (ACT, 'previous.delay', 1025, '0 to 1024'),
        (ACT, 'previous.actions.data', NAN * 35, 'not finite'),
        (ACT, 'rtc.max_weight', float('inf'), 'rtc.max_weight is inf'),
        (ACT, 'seed', 1.0, 'act.seed is 1.0'),
        (ACT, 'type', 'eval', "no message is of type 'eval'"),
        (ACT, 'type', 7, 'it has no type'),
        (ACT, 'protocol', 2, 'speaks version 2 of the policy protocol, this end 1'),
        (ACT, 'protocol', ..., 'speaks version None'),
        (ACT, 'protocol', True, 'speaks version True'),
        (ACTIONS, 'actions.data', struct.pack('<f', float('inf')) * 56, 'not finite'),
        (ACTIONS, 'infer_ms', -1, 'infer_ms is -1'),
        (HELLO, 'spec', [], 'map of names'),
        (HELLO, 'about', {'a': b'x'}, 'give texts and numbers'),
        (HELLO, 'about', {'a': [[[[[[[[[0]]]]]]]]]}, 'levels deep'),
        (Error(1, 'failed', ''), 'kind', 'other', "use one of ['version'"),
    ],
)  # fmt: skip
def test_every_field_is_checked(message, path, value, text):
    with pytest.raises(ProtocolError) as caught:
        protocol.decode(changed(body(message), path, value))
    assert text in str(caught.value)
    assert len(str(caught.value)) < 300  # a stranger's bytes are not quoted


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (b'', 'not a message'),
        (b'{"type": "act"}', 'not a message'),
        (pickle.dumps({'type': 'act'}), 'not a message'),
        (msgpack.packb([1, 2]), 'no type'),
        (msgpack.packb({'type': msgpack.ExtType(5, b'x')}), 'not a message'),
        (msgpack.packb({'type': msgpack.Timestamp(1)}), 'not a message'),
        (b'\xdd\xff\xff\xff\xff', 'not a message'),  # a list of 2^32 - 1
        (b'\xdf\xff\xff\xff\xff', 'not a message'),  # a map
        (b'\xc6\xff\xff\xff\xff', 'not a message'),  # bytes
        (b'\xdb\xff\xff\xff\xff', 'not a message'),  # a text
        (b'\x91' * 100_000, 'not a message'),  # lists in lists
        (b'\xdc\x04\x00' * 100_000, 'not a message'),  # of 1024 each
        (protocol.encode(ACT) + b'\x00', 'not a message'),
    ],
    ids=range(13),
)
def test_other_bytes_are_refused_without_making_much(data, text):
    tracemalloc.start()
    with pytest.raises(ProtocolError, match=text):
        protocol.decode(data)
    assert tracemalloc.get_traced_memory()[1] < 15e6  # most: 1024 open lists of 1024
    tracemalloc.stop()


@pytest.mark.parametrize('message', MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_that_is_cut_off_is_refused(message):
    data = protocol.encode(message)
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            protocol.decode(data[:end])


@pytest.mark.parametrize('message', MESSAGES, ids=lambda m: type(m).__name__)
def test_flipped_bits_give_a_checked_message_or_a_protocol_error(message):
    data, random = protocol.encode(message), np.random.default_rng(1)
    refused = 0
    tracemalloc.start()
    for _ in range(1500):
        flipped = bytearray(data)
        for bit in random.integers(0, 8 * len(data), random.integers(1, 4)):
            flipped[bit // 8] ^= 1 << (bit % 8)
        try:
            arrived = protocol.decode(bytes(flipped))
        except ProtocolError:
            refused += 1
        else:
            protocol.encode(arrived)  # what passes is fit to be sent
    assert refused > 300
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'state': np.array([0.0, np.nan])}, 'act.state holds numbers that are not finite'),
        ({'state': np.zeros(7, np.float16)}, 'array of float16'),
        ({'state': np.array([object()])}, 'array of object'),
        ({'images': {'front': np.zeros((4, 6, 3))}}, "use one of ['uint8']"),
        ({'images': {'front': np.zeros((4, 6), np.uint8)}}, 'give 3 sizes'),
        ({'text': None}, 'act.text is None'),
        ({'seed': -1}, 'act.seed is -1'),
    ],
)
def test_what_would_be_refused_is_not_sent(change, text):
    with pytest.raises(ProtocolError) as caught:
        protocol.encode(dataclasses.replace(ACT, **change))
    assert text in str(caught.value)


def test_a_request_of_a_policy_stays_below_its_limit():
    spec = make_policy().spec
    seen = observation(spec)
    act = Act(1, 0.0, seen.images, seen.state, '\U0001f916' * protocol.LONGEST_TEXT,
              Previous(np.zeros((1024, 7)), 0), None, 0, np.zeros(5056, np.uint8))  # fmt: skip
    assert len(protocol.encode(act)) < protocol.largest_request(spec)
