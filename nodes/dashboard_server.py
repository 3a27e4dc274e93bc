# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's web side: three static files and a websocket, in a thread of its own.

Every page has one slot per kind of message. A newer message replaces an unsent older one, so a slow
page sees fewer frames and never old ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hmac
import ipaddress
import itertools
import json
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

FILES = {'/': 'index.html', '/app.js': 'app.js', '/style.css': 'style.css'}
HEADERS = {
    'Cache-Control': 'no-cache',
    'Content-Security-Policy': "default-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws: wss:;"
    " frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
}
MAX_CLIENTS = 16
MAX_SLOTS = 64


class Client:
    """One open page: its connection, what it may do and what is waiting to be sent to it."""

    def __init__(self, number: int, connection: web.WebSocketResponse, refusal: str):
        self.number = number
        self.connection = connection
        self.refusal = refusal  # why it may not control, empty if it may
        self.slots: dict[str, str | bytes] = {}
        self.ready = asyncio.Event()
        self.behind = True  # lacks curve increments: needs the whole curve

    def put(self, key: str, payload: str | bytes) -> None:
        """Fill a slot, replacing what was not sent yet."""
        if key in self.slots or len(self.slots) < MAX_SLOTS:
            self.slots[key] = payload
            self.ready.set()


class Server:
    """HTTP and websocket on a listening socket.

    Args:
        listener: bound socket, see :func:`listen`.
        folder: holds index.html, app.js and style.css.
        hello: first message of every connection.
        token: pages of other machines may control only with it; empty: they never may.
        on_change: called in the server's thread when pages come or go.
        on_control: called in the server's thread with (client number, action, instruction typed).

    ``publish*``, ``wants``, ``behind`` and ``reply`` may be called from any thread.
    """

    def __init__(
        self,
        listener: socket.socket,
        folder: Path,
        hello: dict[str, Any],
        token: str,
        on_change: Callable[[], None],
        on_control: Callable[[int, str, str], None],
    ):
        self._listener, self._hello, self._token = listener, hello, token
        self._on_change, self._on_control = on_change, on_control
        self._pages = {path: (folder / name).read_text(encoding='utf-8') for path, name in FILES.items()}
        self._clients: dict[int, Client] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name='dashboard-web', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Close every page's connection and end the thread."""
        self._call(self._stopped.set)
        self._thread.join(timeout=5.0)
        self._listener.close()

    @property
    def clients(self) -> int:
        """Number of open pages."""
        return len(self._clients)

    @property
    def behind(self) -> bool:
        """True if a page needs the whole curve."""
        return any(client.behind for client in list(self._clients.values()))

    def wants(self, key: str) -> bool:
        """True if a page has room for a message of this kind: only then is it worth making."""
        return any(key not in client.slots for client in list(self._clients.values()))

    def publish(self, key: str, payload: str | bytes) -> None:
        """Send the newest message of a kind to every page."""
        self._call(self._deliver, key, payload)

    def publish_curves(self, payload: str, full: bool, restart: bool = False) -> None:
        """Send an increment to the pages that are up to date, or the whole curve to those behind.

        With ``restart`` the whole curve goes to every page.
        """
        self._call(self._deliver_curves, payload, full, restart)

    def reply(self, number: int, action: str, ok: bool, message: str) -> None:
        """Answer a control message."""
        text = json.dumps({'type': 'reply', 'action': action, 'ok': ok, 'message': message})
        self._call(self._deliver_reply, number, text)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, key: str, payload: str | bytes) -> None:
        for client in self._clients.values():
            client.put(key, payload)

    def _deliver_curves(self, payload: str, full: bool, restart: bool) -> None:
        for client in self._clients.values():
            if full:
                if restart or client.behind:
                    client.behind = False
                    client.put('curves', payload)
            elif 'curves' in client.slots:
                client.behind = True  # an increment must not replace another
            elif not client.behind:
                client.put('curves', payload)

    def _deliver_reply(self, number: int, text: str) -> None:
        if number in self._clients:
            self._clients[number].put(f'reply {next(self._numbers)}', text)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        # malformed requests of strangers are not worth a traceback on the robot's console
        logging.getLogger('aiohttp.server').setLevel(logging.CRITICAL)
        application = web.Application()
        for path in FILES:
            application.router.add_get(path, self._page)
        application.router.add_get('/ws', self._websocket)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, self._listener).start()
        await self._stopped.wait()
        for client in list(self._clients.values()):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.connection.close(code=1001), 0.5)
        await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        kinds = {'.js': 'text/javascript', '.css': 'text/css'}
        kind = kinds.get(Path(request.path).suffix, 'text/html')
        return web.Response(text=self._pages[request.path], content_type=kind, headers=HEADERS)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get('Origin')
        if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
            raise web.HTTPForbidden(text='cross-origin websocket refused; open the page from this address')
        if len(self._clients) >= MAX_CLIENTS:
            raise web.HTTPServiceUnavailable(text=f'{MAX_CLIENTS} pages are open already; close one')
        connection = web.WebSocketResponse(heartbeat=5.0, compress=False, max_msg_size=4096)
        await connection.prepare(request)
        client = Client(next(self._numbers), connection, self._refusal(request))
        client.put('hello', json.dumps({**self._hello, 'control': client.refusal or None}))
        self._clients[client.number] = client
        self._on_change()
        sender = asyncio.create_task(self._send(client))
        try:
            async for message in connection:
                if message.type == WSMsgType.TEXT:
                    self._receive(client, message.data)
        finally:
            del self._clients[client.number]
            sender.cancel()
            self._on_change()
        return connection

    async def _send(self, client: Client) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await client.ready.wait()
                client.ready.clear()
                while client.slots:
                    payload = client.slots.pop(next(iter(client.slots)))
                    if isinstance(payload, bytes):
                        await client.connection.send_bytes(payload)
                    else:
                        await client.connection.send_str(payload)

    def _receive(self, client: Client, text: str) -> None:
        try:
            message = json.loads(text)
            action, task = str(message['action']), str(message.get('task', ''))[:200]
        except (ValueError, KeyError, TypeError):
            self.reply(client.number, '', False, 'not understood: send {"action": "<name>"}')
            return
        if client.refusal:
            self.reply(client.number, action, False, client.refusal)
        else:
            self._on_control(client.number, action, task)

    def _refusal(self, request: web.Request) -> str:
        """Why this page may not control the robot, empty if it may."""
        given = request.query.get('token', '')
        if self._token and hmac.compare_digest(given.encode(), self._token.encode()):
            return ''
        proxied = 'Forwarded' in request.headers or 'X-Forwarded-For' in request.headers
        # a foreign name that resolves to this machine (DNS rebinding) passes the origin check: numbers only
        if _is_loopback(request.remote or '') and _is_local_name(request.host) and not proxied:
            return ''
        if self._token:
            return 'view only: open the page with ?token=<the token of the dashboard node>'
        return 'view only: controls work on the robot computer; for others start with token:=<secret>'


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.split('%')[0]).is_loopback
    except ValueError:
        return False


def _is_local_name(host: str) -> bool:
    name = urlsplit(f'//{host}').hostname or ''
    if name == 'localhost':
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to host and port. Raises OSError whose text names the cause and the remedy."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise OSError(
            f'host {host!r} is not an address of this machine ({error.strerror}); '
            'pass host:=127.0.0.1 or host:=0.0.0.0'
        ) from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(32)
    except OSError as error:
        listener.close()
        remedies = {
            errno.EADDRINUSE: f'port {port} is already in use; pass port:=<other>, or port:=0 for a free one',
            errno.EACCES: f'port {port} needs privileges; pass port:=<number above 1023>',
        }
        text = remedies.get(error.errno or 0)
        text = text or f'cannot listen on {host}:{port} ({error.strerror}); pass host:=127.0.0.1'
        raise OSError(text) from None
    return listener
