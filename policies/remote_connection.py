# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The robot's end of the connection to a policy server: a websocket in a thread of its own. No torch."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import ssl
import threading
import time
from collections.abc import Coroutine
from typing import Any

import aiohttp

from apprentice.policies import remote_protocol as protocol
from apprentice.policies.remote_access import TOKEN_VARIABLE
from apprentice.policies.remote_fields import ProtocolError
from apprentice.policies.remote_protocol import Actions, Error, Hello
from apprentice.policies.spec import PolicyMismatch

logger = logging.getLogger(__name__)
_HEARTBEAT_S = 4.0  # a server that does not answer for so long is gone, even if nobody closed the connection
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0


class Connection:
    """Asks one question at a time and gives the answer to that question or an error, never another answer.

    A broken connection is made again by the next question; after attempts that failed there is a pause, and
    questions within it fail at once.

    Args:
        address: as :func:`.remote_access.server_address` gives it.
        timeout_s: for the first connection.

    Attributes:
        hello: what the server serves. One that comes back with other weights is refused.
    """

    hello: Hello

    def __init__(self, address: str, token: str, timeout_s: float, tls: ssl.SSLContext | None = None):
        self.address = address
        self._headers = {'Authorization': f'Bearer {token}'} if token else {}
        self._tls = tls
        self._socket: aiohttp.ClientWebSocketResponse[bool] | None = None
        self._reader: asyncio.Task | None = None
        self._waiting: tuple[int, asyncio.Future] | None = None
        self._failures, self._retry_at, self._problem = 0, 0.0, ''
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='remote-policy', daemon=True)
        self._thread.start()
        try:
            self._call(self._connect(), timeout_s)
        except BaseException:
            self.close()
            raise

    def ask(self, number: int, request: bytes, timeout_s: float) -> Actions | Error:
        """Send a request and wait for the answer with its number, or for an error that concerns all.

        Raises TimeoutError, ConnectionError, PermissionError, ProtocolError or PolicyMismatch.
        """
        if self._closed:
            raise ConnectionError(f'the connection to {self.address} was closed here; load the policy again')
        return self._call(self._exchange(number, request), timeout_s)

    def close(self) -> None:
        """End the connection and its thread."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):
            self._call(self._disconnect(), 2.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        if not self._thread.is_alive():
            self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        """Run a coroutine in the connection's thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except (concurrent.futures.TimeoutError, TimeoutError):
            future.cancel()
            raise TimeoutError(f'no answer from {self.address} within {timeout_s:g} s') from None

    # in the connection's thread

    async def _exchange(self, number: int, request: bytes) -> Actions | Error:
        socket = self._socket or await self._connect()
        future: asyncio.Future = self._loop.create_future()
        self._waiting = number, future
        try:
            await socket.send_bytes(request)
            return await future
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ConnectionError(
                f'the connection to {self.address} broke ({error}); is the server alive?'
            ) from error
        finally:
            if self._waiting == (number, future):
                self._waiting = None  # an answer that comes later is nobody's

    async def _connect(self) -> aiohttp.ClientWebSocketResponse[bool]:
        pause = self._retry_at - time.monotonic()
        if pause > 0:
            raise ConnectionError(f'{self._problem} (the next attempt is due in {pause:.1f} s)')
        await self._disconnect()
        session = aiohttp.ClientSession()
        secure: dict[str, Any] = {'ssl': self._tls} if self._tls is not None else {}
        try:
            socket = await session.ws_connect(
                self.address,
                headers=self._headers,
                heartbeat=_HEARTBEAT_S,
                max_msg_size=protocol.LARGEST_REPLY,
                **secure,
            )
            self._meet(protocol.decode(_data(await socket.receive())))
        except BaseException as error:
            self._failures = min(self._failures + 1, 10)
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self._failures - 1))
            self._retry_at = time.monotonic() + pause
            self._problem = str(error) or f'{self.address} did not answer'
            await session.close()
            if isinstance(error, (aiohttp.ClientError, OSError)):
                told = _unreachable(error, self.address)
                self._problem = str(told)
                raise told from error
            raise
        if self._failures:
            logger.info('connected to %s again', self.address)
        self._failures, self._retry_at = 0, 0.0
        self._socket = socket
        self._reader = self._loop.create_task(self._read(socket, session))
        return socket

    def _meet(self, hello: protocol.Message) -> None:
        """Remember the first hello; refuse another one later."""
        if not isinstance(hello, Hello):
            raise ProtocolError(f'{self.address} did not say hello; is it a policy server?')
        known = getattr(self, 'hello', hello)
        if (hello.spec, hello.sha256) != (known.spec, known.sha256):
            raise PolicyMismatch(
                f'{self.address} came back with other weights; configure the policy node again to use them, '
                'or serve the earlier ones'
            )
        self.hello = hello

    async def _read(
        self, socket: aiohttp.ClientWebSocketResponse[bool], session: aiohttp.ClientSession
    ) -> None:
        """Give answers to whom they belong, until the connection ends."""
        problem: Exception = ConnectionError('it ended')
        try:
            while True:
                answer = protocol.decode(_data(await socket.receive()))
                if not isinstance(answer, (Actions, Error)):
                    raise ProtocolError(f'{self.address} sent {type(answer).__name__} where a chunk is due')
                number, future = self._waiting or (0, None)
                ours = answer.id == number or (isinstance(answer, Error) and answer.id == 0)
                if ours and future is not None and not future.done():
                    future.set_result(answer)
        except (ConnectionError, ProtocolError) as error:
            problem = error
        finally:
            if self._socket is socket:
                self._socket = None
            if self._waiting is not None and not self._waiting[1].done():
                self._waiting[1].set_exception(problem)
            await session.close()

    async def _disconnect(self) -> None:
        self._socket = None
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait({reader})


def _data(message: Any) -> bytes:
    """The bytes of a websocket message. Raises ConnectionError where it is the end of the connection."""
    if message.type == aiohttp.WSMsgType.BINARY:
        return message.data
    if message.type == aiohttp.WSMsgType.TEXT:
        raise ProtocolError('the server sent text; is it a policy server?')
    if message.type == aiohttp.WSMsgType.ERROR:
        raise ConnectionError(f'{message.data or "no answer to a heartbeat"}')
    if message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
        raise ConnectionError('the server takes no message of this size')
    raise ConnectionError('the server closed it')


def _unreachable(error: Exception, address: str) -> OSError:
    """What to tell the user when there is no connection."""
    status = error.status if isinstance(error, aiohttp.WSServerHandshakeError) else 0
    if status == 401:
        return PermissionError(
            f'{address} does not accept the token; copy the token file that the server names and pass it '
            f'(remote_token_file, or the variable {TOKEN_VARIABLE})'
        )
    if status == 503:
        return ConnectionError(f'{address} has no place left; end a robot there, or serve on another port')
    if status:
        return ConnectionError(f'{address} is no policy server (HTTP {status}); check host and port')
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ConnectionError(
            f'the certificate of {address} is not trusted ({error}); pass the one of its authority '
            '(ca_file; of the policy node runtime_options)'
        )
    return ConnectionError(
        f'no policy server at {address} ({error or type(error).__name__}); start it there (apprentice serve '
        'policy WEIGHTS), check host and port, and use wss:// if and only if it was given a certificate'
    )
