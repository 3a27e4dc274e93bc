# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The client of openpi's policy server, against a server that speaks openpi's wire format."""

from __future__ import annotations

import logging
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
import yaml

from apprentice.policies import openpi_policy
from apprentice.policies.openpi_policy import load
from apprentice.policies.openpi_wire import OpenpiError
from apprentice.policies.rtc import PreviousChunk
from apprentice.policies.runtime import load_policy
from apprentice.policies.spec import PolicyMismatch
from apprentice.robot.parts import share
from apprentice.robot.settings import SettingsError, from_dict
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Observation

websockets = pytest.importorskip('websockets.sync.server', reason="needs pip install 'apprentice[openpi]'")

ROBOT = RobotSpec.load(share('robots', 'sim_arm.yaml'))
SETTINGS = {
    'robot': 'sim_arm',
    'horizon': 3,
    'images': {'front': 'observation/image', 'wrist': 'images.hand'},
    'state': {'observation/joint_position': list(ROBOT.joint_names[:6]), 'grip': ['gripper']},
    'actions': ['gripper', *ROBOT.joint_names[:6]],
    'scale': {'joint1': 'degrees', 'gripper': -0.04},
    'offset': {'gripper': 0.04},
}


def pack(value: Any) -> bytes:
    """As the server of openpi packs: keys are bytes, the shape is a list."""

    def array(item: Any) -> Any:
        if isinstance(item, np.ndarray):
            kind = {b'dtype': item.dtype.str, b'shape': list(item.shape)}
            return {b'__ndarray__': True, b'data': item.tobytes(), **kind}
        return {b'__npgeneric__': True, b'data': item.item(), b'dtype': item.dtype.str}

    return msgpack.packb(value, default=array)


def unpack(data: bytes) -> Any:
    def array(item: dict) -> Any:
        if b'__ndarray__' not in item:
            return item
        return np.ndarray(buffer=item[b'data'], dtype=np.dtype(item[b'dtype']), shape=item[b'shape'])

    return msgpack.unpackb(data, object_hook=array)


class Server:
    """Says its metadata, then answers by ``answer(request)``: bytes, a text, or None to hang up."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.headers: list[Any] = []
        self.answer: Callable[[Any], bytes | str | None] = lambda request: None
        self._server = websockets.serve(self._serve, '127.0.0.1', 0, compression=None, max_size=None)
        self.address = f'ws://127.0.0.1:{self._server.socket.getsockname()[1]}'
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _serve(self, connection: Any) -> None:
        self.headers.append(connection.request.headers)
        connection.send(pack({'server': 'test', 'reset_pose': np.float32(0.5)}))
        for data in connection:
            self.requests.append(unpack(data))
            reply = self.answer(self.requests[-1])
            if reply is None:
                return
            connection.send(reply)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5.0)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def observation(**changes) -> Observation:
    rng = np.random.default_rng(0)
    images = {name: rng.integers(0, 255, (64, 64, 3), np.uint8) for name in ('front', 'wrist')}
    state = np.array([0.5, 0.1, 0.2, 0.3, 0.4, 0.6, 0.01])
    return Observation(**{'stamp': 1.0, 'images': images, 'state': state, 'text': 'pick it up', **changes})


CHUNK = np.arange(21, dtype=np.float32).reshape(3, 7)


def good(request: Any) -> bytes:
    return pack({'actions': CHUNK, 'server_timing': {'infer_ms': 1.0}})


def test_names_and_units_of_both_directions(server, caplog, tmp_path):
    server.answer = good
    (tmp_path / 'key').write_text('secret\n')
    options = {'settings': SETTINGS, 'api_key_file': str(tmp_path / 'key')}
    policy, manifest = load_policy(server.address, runtime='openpi', **options)
    assert manifest['about']['metadata'] == {'server': 'test', 'reset_pose': 0.5}
    assert server.headers[0]['Authorization'] == 'Api-Key secret'
    policy.spec.require(ROBOT)
    seen = observation()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            actions = policy.act(seen, previous=PreviousChunk(np.zeros((2, 7)), 1))
    assert len(caplog.records) == 1
    assert 'cannot continue a chunk' in caplog.text
    np.testing.assert_allclose(actions[:, 0], np.deg2rad(CHUNK[:, 1]))
    np.testing.assert_allclose(actions[:, 1:6], CHUNK[:, 2:])
    np.testing.assert_allclose(actions[:, 6], 0.04 * (1 - CHUNK[:, 0]))
    (request, again) = server.requests
    assert sorted(request) == ['grip', 'images', 'observation/image', 'observation/joint_position', 'prompt']
    assert request['prompt'] == 'pick it up'
    np.testing.assert_array_equal(request['observation/image'], seen.images['front'])
    np.testing.assert_array_equal(again['images']['hand'], seen.images['wrist'])
    np.testing.assert_allclose(request['grip'], [0.75])
    np.testing.assert_allclose(
        request['observation/joint_position'], [np.rad2deg(0.5), 0.1, 0.2, 0.3, 0.4, 0.6], rtol=1e-6
    )
    assert request['grip'].dtype == np.float32
    policy.close()


def test_images_with_channels_first_and_no_prompt(server, tmp_path):
    server.answer = good
    (tmp_path / 'arm.yaml').write_text(share('robots', 'sim_arm.yaml').read_text())
    file = tmp_path / 'settings.yaml'
    changed = {'robot': 'arm.yaml', 'channels_first': True, 'prompt': '', 'images': {'front': 'images.front'}}
    file.write_text(yaml.safe_dump({**SETTINGS, **changed}))
    policy, _ = load(server.address, settings=file)
    assert list(policy.spec.cameras) == ['front']
    policy.act(observation())
    assert server.requests[0]['images']['front'].shape == (3, 64, 64)
    assert 'prompt' not in server.requests[0]
    policy.close()


def test_a_server_that_hung_up_is_called_again(server):
    replies = [good, lambda request: None, good, good]
    server.answer = lambda request: replies.pop(0)(request)
    policy, _ = load(server.address, settings=SETTINGS)
    for _ in range(3):  # the second time the connection is lost and made anew
        assert policy.act(observation()).shape == (3, 7)
    assert len(server.headers) == 2
    assert len(server.requests) == 4
    server.answer = lambda request: None
    with pytest.raises(OpenpiError, match='closed the connection'):
        policy.act(observation())
    policy.close()


@pytest.mark.parametrize(
    ('reply', 'message'),
    [
        ('Traceback ...\nKeyError: observation/image\n', 'failed: KeyError: observation/image'),
        (pack({'actions': CHUNK[:2]}), r'gave \(2, 7\), not actions of \(3, 7\)'),
        (pack({'state': CHUNK}), r"gave \['state'\]"),
        (pack({'actions': np.full((3, 7), np.nan)}), 'not finite'),
        (b'\xc1', 'another protocol'),
        (pack([1]), 'another protocol'),
        (
            msgpack.packb({'actions': {b'__ndarray__': True, b'data': b'', b'dtype': '|O', b'shape': [0]}}),
            'object',
        ),
        (
            msgpack.packb(
                {'actions': {b'__ndarray__': True, b'data': b'12', b'dtype': '<f4', b'shape': [1]}}
            ),
            'protocol',
        ),
    ],
)
def test_what_is_no_chunk_is_refused(server, reply, message):
    server.answer = lambda request: reply
    policy, _ = load(server.address, settings=SETTINGS)
    with pytest.raises(OpenpiError, match=message):
        policy.act(observation())
    server.answer = good  # and it goes on after that
    assert policy.act(observation()).shape == (3, 7)
    policy.close()


def test_a_late_answer_is_not_taken_for_the_next(server):
    late = threading.Event()

    def slow(request: Any) -> bytes:
        late.wait(5.0)
        return pack({'actions': CHUNK + 100})

    server.answer = slow
    policy, _ = load(server.address, settings=SETTINGS, timeout_s=0.3)
    with pytest.raises(OpenpiError, match=r'no answer within 0\.3 s'):
        policy.act(observation())
    server.answer = good
    late.set()
    np.testing.assert_allclose(policy.act(observation())[:, 1:6], CHUNK[:, 2:])
    policy.close()


def test_bad_input_is_not_sent(server):
    server.answer = good
    policy, _ = load(server.address, settings=SETTINGS)
    for changes, message in (
        ({'images': {}}, 'front'),
        ({'state': np.full(7, np.nan)}, 'not finite'),
    ):
        with pytest.raises(ValueError, match=message):
            policy.act(observation(**changes))
    assert not server.requests
    policy.close()


def test_the_settings_that_the_docstring_shows():
    shown = textwrap.dedent(openpi_policy.__doc__.split('::\n')[1].split('\n\nThe columns')[0])
    settings = from_dict(openpi_policy.OpenpiSettings, yaml.safe_load(shown))
    assert settings.state['observation/gripper_position'] == ['gripper']


def test_settings_are_checked_before_anybody_is_called():
    wrong = {
        'images': {'top': 'a'},
        'state': {'s': ['joint9']},
        'actions': [*ROBOT.joint_names, 'x'],
        'scale': {'y': 2.0},
    }
    with pytest.raises(PolicyMismatch) as caught:
        load('ws://127.0.0.1:9', settings={**SETTINGS, **wrong})
    for part in ("'top'", "'joint9'", "['x']", "['y']"):
        assert part in str(caught.value)
    with pytest.raises(SettingsError, match='robot'):
        load('ws://127.0.0.1:9', settings={})
    with pytest.raises(SettingsError, match=r'lacks .*horizon.*images.*state.*actions'):
        load('ws://127.0.0.1:9', settings={'robot': 'sim_arm'})
    with pytest.raises(SettingsError, match=r'docs/policies\.md'):
        load('ws://127.0.0.1:9', settings='nowhere.yaml')
    with pytest.raises(OpenpiError, match='hash'):
        load('ws://127.0.0.1:9', '00', settings=SETTINGS)
    with pytest.raises(OpenpiError, match=r'serve_policy\.py'):
        load('ws://127.0.0.1:9', settings=SETTINGS)
