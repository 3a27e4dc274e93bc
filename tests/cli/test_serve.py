# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""``apprentice serve policy`` as a user starts it: what it prints, who may ask, how it ends."""

from __future__ import annotations

import json
import signal
import urllib.request

import numpy as np
import pytest
import torch
from critics_rig import publish
from remote_rig import TOKEN, ServerProcess, make_policy, make_weights, observation

from apprentice.cli import serve
from apprentice.cli.main import main
from apprentice.policies.remote import load

POLICY = make_policy()


@pytest.fixture
def weights(tmp_path):
    return str(tmp_path / 'weights'), make_weights(tmp_path / 'weights')


def test_serve_ask_and_end(tmp_path, weights):
    folder, digest = weights
    server = ServerProcess(tmp_path / 'log', folder, '--port', '0', '--threads', '1')
    try:
        token_file = tmp_path / 'apprentice' / 'policy_token'  # in XDG_STATE_HOME
        assert token_file.stat().st_mode & 0o777 == 0o600
        words = f'-p robot:=sim_arm.yaml -p runtime:=remote -p weights:={server.address}'
        assert f'policy_node --ros-args {words} -p remote_token_file:={token_file}' in server.output()
        assert token_file.read_text().strip() not in server.output()
        policy, manifest = load(server.address, digest, token_file=token_file, timeout_s=10.0)
        here, there = (torch.Generator().manual_seed(4) for _ in range(2))
        seen = observation(POLICY.spec)
        np.testing.assert_array_equal(policy.act(seen, there), POLICY.act(seen, here))
        assert manifest['about'] == {'name': 'test'}
        policy.close()
        url = server.address.replace('ws', 'http', 1) + '/healthz'
        health = json.load(urllib.request.urlopen(url, timeout=10))
        assert (health['requests'], health['chunks'], health['errors']) == (1, 1, 0)
        assert server.end() == 0, server.output()
        assert 'Traceback' not in server.output()
    finally:
        server.popen.kill()


def test_it_says_that_critics_are_not_served(tmp_path):
    version, _ = publish(tmp_path / 'weights')
    server = ServerProcess(tmp_path / 'log', str(version.folder), '--port', '0', '--threads', '1')
    try:
        assert 'served alone, without its critics' in server.output()
        assert server.end() == 0, server.output()
    finally:
        server.popen.kill()


def test_it_ends_while_it_computes(tmp_path, weights, monkeypatch):
    monkeypatch.setenv('APPRENTICE_POLICY_TOKEN', TOKEN)
    server = ServerProcess(tmp_path / 'log', weights[0], '--port', '0', '--runtime', 'remote_rig:load_busy')
    assert 'token from the variable APPRENTICE_POLICY_TOKEN' in server.output()
    assert TOKEN not in server.output()
    policy, _ = load(server.address, timeout_s=0.2)
    server.busy.touch()
    with pytest.raises(TimeoutError):
        policy.act(observation(POLICY.spec))
    assert server.end(signal.SIGINT) == 130, server.output()
    assert 'Traceback' not in server.output()
    policy.close()


def test_a_token_that_was_made_stays(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    monkeypatch.delenv('APPRENTICE_POLICY_TOKEN', raising=False)
    made = serve.find_or_make_token('')
    assert serve.find_or_make_token('') == made
    assert made[1] == str(tmp_path / 'apprentice' / 'policy_token')
    monkeypatch.setenv('APPRENTICE_POLICY_TOKEN', TOKEN)
    assert serve.find_or_make_token('') == (TOKEN, '')
    assert serve.find_or_make_token(made[1]) == made


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['nowhere/at/all'], 'apprentice train bc'),
        (['WEIGHTS', '--host', '0.0.0.0', '--no-token'], 'can be reached from other machines'),
        (['WEIGHTS', '--token-file', 'TMP/none'], 'cannot be read'),
        (['WEIGHTS', '--no-token', '--token-file', 'x'], 'exclude each other'),
        (['WEIGHTS', '--tls-cert', 'cert.pem'], 'belong together'),
        (['WEIGHTS', '--tls-cert', 'TMP/none', '--tls-key', 'TMP/none'], 'cannot be read'),
        (['WEIGHTS', '--runtime', 'abacus'], 'no runtime'),
        (['WEIGHTS', '--no-token', '--host', '127.0.0.1', '--port', '70000'], 'port is 70000'),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, weights, capsys, monkeypatch, words, message):
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path))
    words = [word.replace('WEIGHTS', weights[0]).replace('TMP', str(tmp_path)) for word in words]
    assert main(['serve', 'policy', *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('apprentice: error: ')
    assert message in error


def test_help_says_what_a_user_must_know(capsys):
    with pytest.raises(SystemExit):
        main(['serve', 'policy', '--help'])
    text = capsys.readouterr().out
    for words in ('gate holds', 'APPRENTICE_POLICY_TOKEN', 'not encrypted', '/healthz', 'exit codes'):
        assert words in text
