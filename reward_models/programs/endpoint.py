# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A language model behind any endpoint that speaks the OpenAI chat completions protocol.

A local server (llama.cpp, vLLM, Ollama, LM Studio) or a hosted one. Address, model and key come from
APPRENTICE_LLM_URL, APPRENTICE_LLM_MODEL and APPRENTICE_LLM_KEY. The key is sent and nothing else: it is in
no log, no message, no file and no representation.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

URL, MODEL, KEY = 'APPRENTICE_LLM_URL', 'APPRENTICE_LLM_MODEL', 'APPRENTICE_LLM_KEY'
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_LARGEST_REPLY = 4 * 2**20  # bytes
_log = logging.getLogger(__name__)


class EndpointError(OSError):
    """The language model did not answer; the text names cause and remedy, never the key."""


@dataclass(frozen=True)
class Message:
    """One turn; ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Endpoint:
    """Where the language model is and how it is asked.

    Attributes:
        url: of the API, such as http://127.0.0.1:8080/v1; /chat/completions is added.
        model: name that the server knows.
        timeout_s: of one attempt.
        attempts: in all; between two the wait doubles, from wait_s on, with some chance in it.
        temperature, max_tokens: as in the protocol.
    """

    url: str
    model: str
    key: str = field(default='', repr=False)
    timeout_s: float = 120.0
    attempts: int = 4
    wait_s: float = 1.0
    temperature: float = 0.7
    max_tokens: int = 4096

    @classmethod
    def from_environment(cls, url: str = '', model: str = '', **options: Any) -> Endpoint:
        """The endpoint of the environment; ``url`` and ``model`` win over it. Raises EndpointError."""
        url, model = url or os.environ.get(URL, ''), model or os.environ.get(MODEL, '')
        if not url or not model:
            raise EndpointError(
                f'no language model: set {URL} (such as http://127.0.0.1:8080/v1) and {MODEL}, and {KEY} '
                'where the server wants a key'
            )
        if not url.startswith(('http://', 'https://')):
            raise EndpointError(f'{URL} is {url!r}; it begins with http:// or https://')
        return cls(url, model, os.environ.get(KEY, ''), **options)

    def ask(self, messages: Sequence[Message], temperature: float | None = None) -> str:
        """The reply. Raises EndpointError after the last attempt, or at once where another cannot help."""
        body = json.dumps(
            {
                'model': self.model,
                'messages': [{'role': each.role, 'content': each.content} for each in messages],
                'temperature': self.temperature if temperature is None else temperature,
                'max_tokens': self.max_tokens,
            }
        ).encode()
        why, wait = '', self.wait_s
        for attempt in range(self.attempts):
            if attempt:
                _log.warning('%s: %s; asking again in %.1f s', self.url, why, wait)
                time.sleep(wait)
            again = 0.0
            try:
                return self._reply(self._post(body))
            except urllib.error.HTTPError as error:
                why = self._hidden(f'HTTP {error.code} {error.reason}: {_text_of(error)}')
                if error.code not in _AGAIN:
                    hint = {401: f'; set {KEY}', 403: f'; set {KEY}', 404: f'; is {URL} right?'}
                    raise EndpointError(f'{self.url}: {why}{hint.get(error.code, "")}') from None
                again = _seconds(error.headers.get('Retry-After'))
            except (OSError, http.client.HTTPException) as error:  # not there, silent, cut off
                why = self._hidden(f'{type(error).__name__}: {getattr(error, "reason", error)}')
            except ValueError as error:
                why = self._hidden(f'its answer is not of the protocol: {error}')
            wait = max(again, min(60.0, self.wait_s * 2**attempt * random.uniform(0.8, 1.2)))
        raise EndpointError(
            f'{self.url} did not answer, {self.attempts} attempts: {why}. Is the server running?'
        )

    def _post(self, body: bytes) -> bytes:
        headers = {'Content-Type': 'application/json', 'Accept': 'application/json'}
        if self.key:
            headers['Authorization'] = f'Bearer {self.key}'
        address = f'{self.url.rstrip("/")}/chat/completions'
        request = urllib.request.Request(address, body, headers, method='POST')
        with urllib.request.build_opener(_SameHost).open(request, timeout=self.timeout_s) as response:
            data = response.read(_LARGEST_REPLY + 1)
        if len(data) > _LARGEST_REPLY:
            raise ValueError(f'more than {_LARGEST_REPLY} bytes')
        return data

    def _reply(self, data: bytes) -> str:
        try:
            content = json.loads(data)['choices'][0]['message']['content']
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f'no choices[0].message.content ({type(error).__name__})') from None
        if not isinstance(content, str) or not content.strip():
            raise ValueError('the reply is empty')
        return content

    def _hidden(self, text: str) -> str:
        return text.replace(self.key, '***') if self.key else text


class _SameHost(urllib.request.HTTPRedirectHandler):
    """A redirect would send the key to somebody else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _text_of(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(500).decode(errors='replace').strip()
    except (OSError, http.client.HTTPException):
        return ''


def _seconds(header: str | None) -> float:
    """Of a Retry-After header; at most a minute, 0 if there is none or it is a date."""
    try:
        return min(60.0, max(0.0, float(header or 0)))
    except ValueError:
        return 0.0
