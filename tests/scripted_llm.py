# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A local server that speaks the chat completions protocol and says what the test told it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from apprentice.reward_models.programs.endpoint import Endpoint

KEY = 'sk-very-secret-123'


class ScriptedServer:
    """Answers with ``replies`` in turn, the last one for ever.

    A reply is a text, (status, body, headers), or a function of the messages that gives a text.

    Attributes:
        asked: messages of each request.
        keys: Authorization header of each request.
    """

    def __init__(self, *replies: str | tuple | Callable[[list], str]):
        self.replies, self.asked, self.keys = list(replies), [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                outer.keys.append(self.headers.get('Authorization', ''))
                if self.path != '/v1/chat/completions':
                    return self.answer(404, b'no such path', {})
                outer.asked.append(body['messages'])
                reply = outer.replies.pop(0) if len(outer.replies) > 1 else outer.replies[0]
                if callable(reply):
                    reply = reply(body['messages'])
                if isinstance(reply, tuple):
                    status, text, headers = reply
                    return self.answer(status, text.encode(), headers)
                data = {'choices': [{'message': {'role': 'assistant', 'content': reply}}]}
                self.answer(200, json.dumps(data).encode(), {})

            def answer(self, status: int, data: bytes, headers: dict) -> None:
                self.send_response(status)
                for name, value in {'Content-Length': str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._server.server_port}/v1'

    def endpoint(self, **options) -> Endpoint:
        return Endpoint(self.url, 'scripted', KEY, **{'wait_s': 0.01, 'timeout_s': 5.0, **options})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fenced(
    language: str, text: str, before: str = 'The hand moves to the cube, closes, and lifts it.'
) -> str:
    """A reply as language models give it."""
    return f'{before}\n\n```{language}\n{text}\n```\nThat is all.'


def last(messages: Sequence[dict]) -> str:
    return messages[-1]['content']
