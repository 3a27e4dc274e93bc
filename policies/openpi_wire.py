# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The wire of openpi's policy server: msgpack maps in websocket messages.

After the connection the server sends a map of metadata; then each binary message is answered by one, or by a
text that says what went wrong. An array is a map of ``__ndarray__``, ``data``, ``dtype`` and ``shape``, all
keys as bytes (openpi-client 0.1, msgpack_numpy).
"""

from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import numpy as np

_LARGEST = 64 << 20  # bytes of a message


class OpenpiError(ValueError):
    """The server cannot be reached, failed or answered something else; the text says what to do."""


class OpenpiConnection:
    """One connection, made anew when the server has dropped it. One thread at a time.

    Args:
        address: ``ws://host:port``.
        timeout_s: for the connection and for each answer.
        api_key: sent as ``Authorization: Api-Key``, if there is one.

    Raises OpenpiError if nobody answers, ImportError without websockets.
    """

    def __init__(self, address: str, timeout_s: float, api_key: str = ''):
        self.address, self._timeout = address, timeout_s
        self._headers = {'Authorization': f'Api-Key {api_key}'} if api_key else {}
        try:
            import websockets.exceptions
            import websockets.sync.client
        except ImportError:
            raise ImportError("openpi needs websockets: pip install 'apprentice[openpi]'") from None
        self._connect, self._errors = websockets.sync.client.connect, websockets.exceptions
        self._stack = contextlib.ExitStack()
        self._socket: Any = None
        self.metadata = self._open()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a map of arrays, numbers and texts."""
        packed = msgpack.packb(request, default=pack_array)
        if self._socket is None:  # closed after an answer that did not come in time
            self._open()
        try:
            return self._exchange(packed)
        except self._errors.ConnectionClosed:
            self._open()
        try:
            return self._exchange(packed)
        except self._errors.ConnectionClosed as error:
            raise OpenpiError(f'{self.address} closed the connection; see the log of the server') from error

    def close(self) -> None:
        """End the connection."""
        self._stack.close()
        self._socket = None

    def _open(self) -> dict[str, Any]:
        self.close()
        try:
            connection = self._connect(
                self.address,
                compression=None,
                max_size=_LARGEST,
                additional_headers=self._headers,
                open_timeout=self._timeout,
            )
            self._socket = self._stack.enter_context(connection)
            return self._receive()
        except (OSError, self._errors.WebSocketException) as error:
            raise OpenpiError(
                f'{self.address} does not answer ({error}); is serve_policy.py running there, and the port '
                'reachable?'
            ) from error

    def _exchange(self, packed: bytes) -> dict[str, Any]:
        self._socket.send(packed)
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        try:
            answer = self._socket.recv(timeout=self._timeout)
        except TimeoutError:
            self.close()  # what comes later must not be taken for the next answer
            raise OpenpiError(
                f'{self.address} gave no answer within {self._timeout:g} s; give it longer with timeout_s'
            ) from None
        if isinstance(answer, str):
            lines = answer.strip().splitlines() or ['no reason given']
            raise OpenpiError(f'{self.address} failed: {lines[-1][:300]}; see the log of the server')
        try:
            found = msgpack.unpackb(answer, object_hook=unpack_array)
        except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
            raise OpenpiError(f'{self.address} speaks another protocol ({error})') from error
        if not isinstance(found, dict):
            raise OpenpiError(f'{self.address} speaks another protocol: no map')
        return found


def pack_array(value: Any) -> Any:
    """For msgpack: an array as openpi writes it."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f'{type(value).__name__} cannot be sent')
    data = np.ascontiguousarray(value).tobytes()
    return {b'__ndarray__': True, b'data': data, b'dtype': value.dtype.str, b'shape': value.shape}


def unpack_array(value: dict[Any, Any]) -> Any:
    """For msgpack: bytes can become nothing but an array of numbers."""
    if not {b'__ndarray__', b'__npgeneric__'} & set(value):
        return value
    dtype = np.dtype(value[b'dtype'])
    if dtype.kind not in 'fiub':
        raise ValueError(f'an array of {dtype}')
    if b'__npgeneric__' in value:
        return dtype.type(value[b'data'])
    return np.frombuffer(value[b'data'], dtype).reshape(value[b'shape'])
