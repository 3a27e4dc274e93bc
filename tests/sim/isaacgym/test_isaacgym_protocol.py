# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Messages between engine and worker: framing, checks, shared arrays, and the old Pythons' syntax."""

from __future__ import annotations

import ast
import socket
import struct

import numpy as np
import pytest

from apprentice.sim.isaacgym import protocol


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    yield one, other
    one.close()
    other.close()


def test_messages_arrive_in_order_and_the_end_is_seen(ends):
    one, other = ends
    protocol.send(one, {'id': 1, 'text': 'ü' * 1000})
    protocol.send(one, {'id': 2})
    one.close()
    assert protocol.receive(other) == {'id': 1, 'text': 'ü' * 1000}
    assert protocol.receive(other) == {'id': 2}
    assert protocol.receive(other) is None


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (struct.pack('>I', 10) + b'{"id"', 'within a message'),
        (b'\0\0', 'within a message'),
        (struct.pack('>I', 1 << 31), 'bytes is announced'),
        (struct.pack('>I', 3) + b'{x}', 'not JSON'),
        (struct.pack('>I', 2) + b'\xff\xfe', 'not JSON'),
    ],
)
def test_broken_messages_are_refused(ends, data, message):
    one, other = ends
    one.sendall(data)
    one.close()
    with pytest.raises(protocol.ProtocolError, match=message):
        protocol.receive(other)


def test_numbers_that_are_not_finite_are_not_sent(ends):
    with pytest.raises(protocol.ProtocolError, match='cannot send mass'):
        protocol.send(ends[0], {'call': 'mass', 'value': float('nan')})


GOOD = {'sim': 0, 'body': 2, 'colour': [1.0, 0, 0.5]}


@pytest.mark.parametrize(
    ('call', 'arguments', 'message'),
    [
        ('paint', GOOD, 'unknown call'),
        ('colour', {'sim': 0, 'body': 2}, 'has fields'),
        ('colour', GOOD | {'more': 1}, 'has fields'),
        ('colour', GOOD | {'sim': '0'}, 'sim'),
        ('colour', GOOD | {'sim': True}, 'sim'),
        ('colour', GOOD | {'sim': 1.0}, 'sim'),
        ('colour', GOOD | {'colour': 3}, 'expected a list'),
        ('colour', GOOD | {'colour': [1, None]}, 'wrong type'),
        ('colour', GOOD | {'colour': [1, float('inf')]}, 'not finite'),
        ('cameras', {'memory': '', 'arrays': [], 'cameras': [{'name': 'front'}]}, 'camera: has fields'),
    ],
)
def test_requests_are_checked(call, arguments, message):
    protocol.check_request({'id': 1, 'call': 'colour', 'arguments': GOOD})
    with pytest.raises(protocol.ProtocolError, match=message):
        protocol.check_request({'id': 1, 'call': call, 'arguments': arguments})


def test_both_ends_see_one_array(tmp_path):
    arrays = [['a', 'float32', [3, 2]], ['none', 'float32', [4, 0, 13]], ['b', 'uint8', [5]]]
    path = tmp_path / 'memory'
    path.write_bytes(bytes(protocol.memory_size(arrays)))
    mine, theirs = (protocol.map_arrays(str(path), arrays) for _ in range(2))
    mine['a'][1] = 1.5, 2.5
    theirs['b'][:] = 7
    np.testing.assert_array_equal(theirs['a'], [[0, 0], [1.5, 2.5], [0, 0]])
    np.testing.assert_array_equal(mine['b'], np.full(5, 7))
    assert mine['none'].shape == (4, 0, 13)


@pytest.mark.parametrize('name', ['protocol', 'library', 'building', 'simulation', 'cameras', 'worker'])
def test_what_the_worker_runs_is_python_3_6(root, name):
    text = (root / 'sim' / 'isaacgym' / f'{name}.py').read_text()
    tree = ast.parse(text, feature_version=(3, 6))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert '__future__' not in imported  # annotations came with 3.7
    assert not any(str(module).startswith('apprentice.') for module in imported)
    newer = ('removeprefix', 'removesuffix', 'dataclass', 'capture_output', 'math.prod', ' | ')
    assert not [word for word in newer if word in text]
