# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Talking to a language model over HTTP: retries, errors, and a key that appears nowhere."""

from __future__ import annotations

import logging
import socket
import time

import pytest
from scripted_llm import KEY, ScriptedServer

from apprentice.reward_models.programs import endpoint as module
from apprentice.reward_models.programs.endpoint import Endpoint, EndpointError, Message
from apprentice.reward_models.programs.journal import Journal

HELLO = [Message('user', 'hello')]


def test_a_reply_and_what_was_sent():
    with ScriptedServer('good day') as server:
        assert server.endpoint().ask(HELLO) == 'good day'
        assert server.asked == [[{'role': 'user', 'content': 'hello'}]]
        assert server.keys == [f'Bearer {KEY}']


def test_a_busy_server_is_asked_again(caplog):
    busy = (503, f'overloaded, your key is {KEY}', {})
    with caplog.at_level(logging.WARNING), ScriptedServer(busy, (429, '', {}), 'at last') as server:
        assert server.endpoint().ask(HELLO) == 'at last'
        assert len(server.asked) == 3
    assert 'HTTP 503' in caplog.text
    assert KEY not in caplog.text


def test_retry_after_is_kept():
    with ScriptedServer((429, '', {'Retry-After': '0.4'}), 'at last') as server:
        started = time.monotonic()
        server.endpoint().ask(HELLO)
        assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize(
    ('reply', 'attempts', 'told'),
    [
        ((401, f'bad key {KEY}', {}), 1, r'HTTP 401.*bad key \*\*\*; set APPRENTICE_LLM_KEY'),
        ((400, 'no such model', {}), 1, 'HTTP 400.*no such model'),
        ((500, 'boom', {}), 3, '3 attempts: HTTP 500.*boom'),
        ((302, '', {'Location': 'http://127.0.0.1:1/elsewhere'}), 1, 'HTTP 302'),
        ((200, 'not json', {}), 3, 'not of the protocol'),
        ((200, '{"choices": []}', {}), 3, 'no choices'),
        ('  ', 3, 'the reply is empty'),
    ],
)
def test_what_cannot_be_helped_is_told_once(reply, attempts, told):
    with ScriptedServer(reply) as server:
        with pytest.raises(EndpointError, match=told) as caught:
            server.endpoint(attempts=3).ask(HELLO)
        assert len(server.asked) == attempts
    assert KEY not in str(caught.value)
    assert KEY not in repr(server.endpoint())


def test_nobody_there_and_a_silent_server():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        port = listener.getsockname()[1]
        nobody = Endpoint(f'http://127.0.0.1:{port}/v1', 'm', attempts=2, wait_s=0.01)
        with pytest.raises(
            EndpointError, match=r'did not answer, 2 attempts.*refused.*Is the server running'
        ):
            nobody.ask(HELLO)
        listener.listen()
        silent = Endpoint(f'http://127.0.0.1:{port}/v1', 'm', attempts=1, timeout_s=0.2)
        with pytest.raises(EndpointError, match='timed out'):
            silent.ask(HELLO)


def test_the_environment_names_the_endpoint(monkeypatch):
    for name in (module.URL, module.MODEL, module.KEY):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(EndpointError, match=r'set APPRENTICE_LLM_URL \(such as http://127.0.0.1:8080/v1\)'):
        Endpoint.from_environment()
    monkeypatch.setenv(module.URL, 'file:///etc/passwd')
    with pytest.raises(EndpointError, match='begins with http'):
        Endpoint.from_environment(model='m')
    monkeypatch.setenv(module.KEY, KEY)
    found = Endpoint.from_environment('http://127.0.0.1:1/v1', 'm', timeout_s=3.0)
    assert (found.url, found.model, found.key, found.timeout_s) == ('http://127.0.0.1:1/v1', 'm', KEY, 3.0)


def test_a_journal_answers_what_was_asked_before(tmp_path):
    with ScriptedServer('first', 'second') as server:
        journal = Journal(tmp_path)
        assert journal.ask('one', server.endpoint(), HELLO) == 'first'
        again = Journal(tmp_path)
        assert again.ask('one', server.endpoint(), HELLO) == 'first'
        assert (again.asked, again.reused) == (0, 1)
        assert again.ask('one', server.endpoint(), [Message('user', 'something else')]) == 'second'
        assert len(server.asked) == 2
    assert all(KEY not in path.read_text() for path in tmp_path.iterdir())
