# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy behind a server: the same chunks as in this process; slow, gone and changed servers."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from remote_rig import ROBOT, Served, Turnstile, WrappedPolicy, make_policy, observation, serving

from apprentice.policies import remote_connection
from apprentice.policies.remote import RemoteError, load
from apprentice.policies.remote_fields import ProtocolError
from apprentice.policies.rtc import PreviousChunk, RtcConfig
from apprentice.policies.runtime import load_policy
from apprentice.policies.server import WARM_UP, hello_of
from apprentice.policies.spec import PolicyMismatch

POLICY = make_policy(max_delay=2)
SPEC = POLICY.spec
SEEN = observation(SPEC)


@pytest.fixture(scope='module')
def served():
    with serving(POLICY) as served:
        yield served


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_chunk_after_chunk_is_that_of_the_policy_in_this_process(connect, served):
    remote, here, there = connect(served.address), seeded(5), seeded(5)
    previous = None
    for turn in range(3):
        seen = observation(SPEC, turn)
        for rtc in (None, RtcConfig('hard', 2.0), RtcConfig('trained')):
            expected = POLICY.act(seen, here, previous, rtc)
            found = remote.act(seen, there, previous, rtc)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == np.float64
            assert found.flags.writeable
        previous = PreviousChunk(expected[2:], 2)
    assert torch.equal(here.get_state(), there.get_state())
    assert len(remote.timings) == 9
    timing = remote.timings[-1]
    assert timing.round_trip_ms > timing.queue_ms + timing.infer_ms > 0


def test_without_a_torch_generator_a_seed_travels(connect, served):
    remote = connect(served.address)
    first, again, other = (remote.act(SEEN, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4
    seed = int(np.random.default_rng(1).integers(2**63))
    np.testing.assert_array_equal(first, POLICY.act(SEEN, seeded(seed)))
    assert np.abs(remote.act(SEEN) - remote.act(SEEN)).max() > 1e-4


def test_it_is_loaded_as_every_runtime_and_tells_what_is_served(served, token_file):
    remote, manifest = load_policy(
        served.address, runtime='remote', token_file=str(token_file), timeout_s=2.0
    )
    with contextlib.closing(remote):
        assert remote.spec.to_dict() == SPEC.to_dict()
        remote.spec.require(ROBOT)
        assert (remote.config.max_delay, remote.config.head) == (2, 'flow')
        assert manifest['about'] == {'name': 'test'}
        assert manifest['runtime'] == 'torch'
    with pytest.raises(ConnectionError, match='closed here'):
        remote.act(SEEN)
    assert 'remote-policy' not in {thread.name for thread in threading.enumerate()}


NO_TORCH = """
import sys
sys.modules['torch'] = None
import numpy as np
from apprentice.policies.remote import load
from apprentice.robot.types import Observation
policy, _ = load(sys.argv[1], token_file=sys.argv[2], timeout_s=10.0)
images = {name: np.zeros((*size, 3), np.uint8) for name, size in policy.spec.cameras.items()}
print(policy.act(Observation(0.0, images, np.zeros(7), 'go'), np.random.default_rng(0)).tolist())
policy.close()
"""


def test_a_robot_needs_no_torch(served, token_file):
    command = [sys.executable, '-c', NO_TORCH, served.address, str(token_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert np.shape(json.loads(done.stdout)) == (8, 7)


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'state': np.full(7, np.nan)}, 'joint state is not finite'),
        ({'state': np.zeros(6)}, r'joint state is \(6,\), the policy expects 7'),
        ({'images': {'front': SEEN.images['front']}}, "camera 'wrist' has no image"),
        ({'images': {**SEEN.images, 'wrist': np.zeros((32, 64, 3), np.uint8)}}, r'gives \(32, 64, 3\)'),
        ({'images': {**SEEN.images, 'wrist': np.zeros((64, 64, 3))}}, r"wrist.*use one of \['uint8'\]"),
    ],
)
def test_input_that_does_not_fit_is_refused_on_the_robot(connect, served, change, text):
    requests = served.server.health()['requests']
    with pytest.raises(ValueError, match=text):
        connect(served.address).act(dataclasses.replace(SEEN, **change))
    assert served.server.health()['requests'] == requests


def test_what_the_policy_refuses_is_said_as_in_this_process(connect, served):
    previous, rtc = PreviousChunk(np.zeros((8, 7)), 3), RtcConfig('trained')
    remote = connect(served.address)
    for policy in (POLICY, remote):
        with pytest.raises(ValueError, match='trained with at most 2'):
            policy.act(SEEN, seeded(0), previous, rtc)
    assert remote.act(SEEN).shape == (8, 7)


def test_a_policy_that_breaks_does_not_end_the_server(connect, caplog):
    faults = iter([RuntimeError('out of memory'), np.full((8, 7), np.nan), np.zeros((3, 7)), None])

    def first(observation):
        fault = None if observation.text == WARM_UP else next(faults)
        if isinstance(fault, Exception):
            raise fault
        return fault

    with serving(WrappedPolicy(POLICY, first)) as served:
        remote = connect(served.address)
        with pytest.raises(RemoteError, match='RuntimeError: out of memory'):
            remote.act(SEEN)
        assert 'Traceback' in caplog.text
        with pytest.raises(RemoteError, match='not finite'):
            remote.act(SEEN)
        with pytest.raises(ProtocolError, match=r'chunk of \(3, 7\).*due are \(8, 7\)'):
            remote.act(SEEN)
        np.testing.assert_array_equal(remote.act(SEEN, seeded(0)), POLICY.act(SEEN, seeded(0)))


def test_a_slow_server_times_out_and_its_late_answer_is_nobodys(connect):
    turnstile = Turnstile()
    with serving(WrappedPolicy(POLICY, turnstile)) as served:
        remote, generator = connect(served.address, timeout_s=0.3), seeded(1)
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r'within 0\.3 s.*remote_timeout_s'):
            remote.act(SEEN, generator)
        assert 0.25 < time.monotonic() - began < 2.0
        assert torch.equal(generator.get_state(), seeded(1).get_state())  # as if it had not been asked
        for _ in range(2):
            turnstile.go.release()
        remote.timeout_s = 5.0
        other = observation(SPEC, 1)
        np.testing.assert_array_equal(remote.act(other, generator), POLICY.act(other, seeded(1)))


def until_no_connection_error(act):
    deadline = time.monotonic() + 10
    while True:
        try:
            return act()
        except ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_server_that_ends_and_comes_back(connect):
    turnstile = Turnstile()
    first = Served(WrappedPolicy(POLICY, turnstile))
    remote = connect(first.address)
    closer = threading.Thread(target=lambda: (turnstile.begun.acquire(timeout=10), first.close()))
    closer.start()
    with pytest.raises(ConnectionError, match='is the server alive'):
        remote.act(SEEN)  # it ends while it computes
    turnstile.go.release()
    closer.join(10)
    with pytest.raises(ConnectionError, match='apprentice serve policy'):
        remote.act(SEEN)
    with pytest.raises(ConnectionError, match=r'serve policy.*next attempt is due'):
        remote.act(SEEN)
    with serving(POLICY, hello=first.hello, port=first.port):
        chunk = until_no_connection_error(lambda: remote.act(SEEN, seeded(3)))
        np.testing.assert_array_equal(chunk, POLICY.act(SEEN, seeded(3)))
    other = dataclasses.replace(first.hello, sha256='b' * 64)
    mismatch = pytest.raises(PolicyMismatch, match='came back with other weights')
    with serving(make_policy(1), hello=other, port=first.port), mismatch:
        until_no_connection_error(lambda: remote.act(SEEN))


def test_only_the_announced_weights_and_the_right_robot(connect):
    foreign = make_policy(robot='ur5e')
    hello = dataclasses.replace(hello_of(foreign, {}, '', 'torch'), sha256='aa11')
    with serving(foreign, hello=hello) as served:
        remote = connect(served.address, expected_sha256='aa11')
        with pytest.raises(PolicyMismatch, match="robot is 'sim_arm', weights are for 'ur5e'"):
            remote.spec.require(ROBOT)
        with pytest.raises(PolicyMismatch, match='the sha256 aa11, announced is bb22'):
            connect(served.address, expected_sha256='bb22')


@pytest.mark.parametrize('timeout', [0.0, -1.0, float('nan')])
def test_a_time_out_is_positive(served, token_file, timeout):
    with pytest.raises(ValueError, match='positive number of seconds'):
        load(served.address, token_file=token_file, timeout_s=timeout)


def test_a_frozen_server_is_noticed_before_the_time_is_up(connect, served, monkeypatch):
    monkeypatch.setattr(remote_connection, '_HEARTBEAT_S', 0.2)
    remote = connect(served.address)
    served.loop.loop.call_soon_threadsafe(time.sleep, 1.5)
    began = time.monotonic()
    with pytest.raises(ConnectionError, match='is the server alive'):
        remote.act(SEEN)
    assert time.monotonic() - began < 1.2
    chunk = until_no_connection_error(lambda: remote.act(SEEN, seeded(3)))
    np.testing.assert_array_equal(chunk, POLICY.act(SEEN, seeded(3)))
