# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The dashboard's web side, in a thread of its own: files, the routes of its panels and a websocket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from apprentice.nodes.dashboard_access import Access, Asking, is_loopback
from apprentice.nodes.dashboard_clients import Client, Clients, keep_fresh
from apprentice.nodes.dashboard_lease import Bucket, Lease
from apprentice.nodes.dashboard_panels import Action, Handler, Panel, Press

KINDS = {'.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html'}
HEADERS = {
    'Cache-Control': 'no-cache',
    'Content-Security-Policy': "default-src 'self'; img-src 'self' data: blob:; connect-src 'self' ws: wss:;"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
}
MAX_PAGES = 16  # of other machines; as many again of this one, so that strangers cannot lock it out
MAX_MESSAGE_BYTES = 4096
MAX_WORKING = 8  # requests that cost, at a time: anybody may ask
LEASE_LOOK_S = 0.5


class Server:
    """HTTP and websocket on a listening socket.

    Args:
        listener: bound socket, see ``dashboard_socket.listen``.
        folder: holds index.html, every .js and .css, and the files of panels.
        hello: first message of every connection.
        access: who may watch and control.
        panels: what they add is served and their actions are offered.
        on_change: called in the server's thread when a page came (True) or went, with its number.
        on_press: called in the server's thread with what a person did and may do.
        tls: certificate for https, None for http.

    ``pages`` may be asked from any thread, and so may ``publish*`` and ``reply`` be called.
    """

    def __init__(
        self,
        listener: socket.socket,
        folder: Path,
        hello: dict[str, Any],
        access: Access,
        panels: Sequence[Panel],
        on_change: Callable[[bool, int], None],
        on_press: Callable[[Action, Press], None],
        tls: ssl.SSLContext | None = None,
    ):
        self._listener, self._hello, self._access, self._tls = listener, hello, access, tls
        self._on_change, self._on_press = on_change, on_press
        names = {f'/{path.name}': path.name for path in folder.iterdir() if path.suffix in ('.js', '.css')}
        self._routes: dict[str, Any] = {}
        self._actions: dict[str, Action] = {}
        names['/'] = 'index.html'
        for panel in panels:
            names.update(panel.files)
            self._routes.update(panel.routes)
            self._actions.update(panel.actions)
        self._files = {path: (folder / name).read_bytes() for path, name in names.items()}
        self._kinds = {path: KINDS[Path(name).suffix] for path, name in names.items()}
        self.pages = Clients()
        self._lease = Lease()
        self._told: tuple[int, str] | None = None
        self._requests: dict[str, Bucket] = {}
        self._guesses: dict[str, Bucket] = {}  # wrong tokens; by peer: connecting anew does not help
        self._working = 0
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

    def publish(self, key: str, payload: str | bytes) -> None:
        """Send the newest message of a kind to every page."""
        self._call(self.pages.deliver, key, payload)

    def publish_curves(self, payload: str, full: bool, restart: bool = False) -> None:
        """Send an increment of the curves, see :meth:`Clients.deliver_curves`."""
        self._call(self.pages.deliver_curves, payload, full, restart)

    def reply(self, number: int, action: str, ok: bool, message: str) -> None:
        """Answer what a page asked for."""
        self._call(self.pages.reply, number, action, ok, message)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        # malformed requests of strangers are not worth a traceback on the robot's console
        logging.getLogger('aiohttp.server').setLevel(logging.CRITICAL)
        application = web.Application(middlewares=[self._admit], client_max_size=MAX_MESSAGE_BYTES)
        for path in self._files:
            application.router.add_get(path, self._file)
        for path, handler in self._routes.items():
            application.router.add_get(path, partial(self._work, handler))
        application.router.add_get('/ws', self._websocket)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, self._listener, ssl_context=self._tls).start()
        watching = asyncio.create_task(self._watch_lease())
        await self._stopped.wait()
        watching.cancel()
        for client in self.pages:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.connection.close(code=1001), 0.5)
        await runner.cleanup()

    # What every request passes.

    @web.middleware
    async def _admit(self, request: web.Request, handler: Any) -> web.StreamResponse:
        asking, websocket = _asking(request), request.path == '/ws'
        refusal = self._access.watch_refusal(asking, websocket)
        if refusal:
            raise web.HTTPForbidden(text=refusal)
        if not _bucket(self._requests, asking.peer, 60.0, 120.0).take():
            raise web.HTTPTooManyRequests(text='too many requests; wait a second')
        response = await handler(request)
        if not response.prepared:
            response.headers.update({k: v for k, v in HEADERS.items() if k not in response.headers})
        return response

    async def _file(self, request: web.Request) -> web.Response:
        kind = self._kinds[request.path]
        return web.Response(body=self._files[request.path], content_type=kind, charset='utf-8')

    async def _work(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        """A panel's route, unless too many are being answered."""
        if self._working >= MAX_WORKING:
            raise web.HTTPServiceUnavailable(text='busy; ask again in a second', headers={'Retry-After': '1'})
        self._working += 1
        try:
            return await handler(request)
        finally:
            self._working -= 1

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        asking = _asking(request)
        here = is_loopback(asking.peer)
        if sum(is_loopback(client.asking.peer) == here for client in self.pages) >= MAX_PAGES:
            raise web.HTTPServiceUnavailable(text=f'{MAX_PAGES} pages are open already; close one')
        connection = web.WebSocketResponse(heartbeat=5.0, compress=False, max_msg_size=MAX_MESSAGE_BYTES)
        await connection.prepare(request)
        keep_fresh(request)
        client = Client(next(self._numbers), connection, asking)
        client.refusal = self._access.control_refusal(asking, '')
        client.put('hello', json.dumps({**self._hello, **self._about(client)}))
        client.put('controls', self._controls())
        self.pages.add(client)
        self._on_change(True, client.number)
        sender = asyncio.create_task(client.send())
        try:
            async for message in connection:
                if message.type == WSMsgType.TEXT:
                    self._receive(client, message.data)
        finally:
            self.pages.remove(client)
            sender.cancel()
            self._on_change(False, client.number)
        return connection

    # What a page says.

    def _receive(self, client: Client, text: str) -> None:
        reply = partial(self.pages.reply, client.number)
        try:
            fields = json.loads(text)
            name = fields.pop('action')
            if not isinstance(name, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if client.messages.take():
                reply('', False, 'not understood: send {"action": "<name>"}')
            return
        action = self._actions.get(name)
        bucket = client.urgent if action and action.open else client.messages
        if not bucket.take():
            if client.warned.take():
                reply('', False, 'too many messages; some were not heard')
            return
        match name:
            case 'identify':
                self._identify(client, fields)
            case 'beat':
                self._lease.beat(client.number)
            case 'take':
                refusal = client.refusal or self._take(client)
                reply(name, not refusal, refusal)
            case 'give':
                self._lease.give_back(client.number)
                self._tell()
            case _ if action is None:
                reply(name, False, f'unknown action {name!r}')
            case _:
                refusal = '' if action.open else client.refusal
                if not refusal and not action.open and not action.shared:
                    refusal = self._take(client)
                if refusal:
                    reply(name, False, refusal)
                    return
                answer = partial(self.reply, client.number, name)
                self._on_press(action, Press(client.number, client.name, fields, answer))

    def _identify(self, client: Client, fields: Mapping[str, Any]) -> None:
        """A page says whose it is, and its token. After a few wrong tokens each costs its peer a second."""
        token, key, name = (str(fields.get(name) or '').strip() for name in ('token', 'key', 'name'))
        client.key, client.name = key[:100], name[:40] or client.name
        guesses = _bucket(self._guesses, client.asking.peer, 1.0, 3.0)
        if token and token == client.token:
            pass  # judged before; guesses of others at the same address must not lock this person out
        elif token and guesses.empty:
            client.refusal = 'view only: too many wrong tokens; wait a few seconds, then enter it again'
            client.token = ''
        else:
            client.refusal, client.token = self._access.control_refusal(client.asking, token), token
            if client.refusal and token:
                guesses.take()
        client.put('you', json.dumps({'type': 'you', **self._about(client)}))
        holder = self._lease.holder
        if holder and holder.client == client.number:
            holder.name = client.name
            self._tell()
        elif holder and holder.key == client.key != '' and holder.client not in self.pages:
            self._take(client)

    def _about(self, client: Client) -> dict[str, Any]:
        return {'client': client.number, 'name': client.name, 'control': client.refusal or None}

    def _take(self, client: Client) -> str:
        refusal = self._lease.take(client.number, client.key, client.name, self.pages.__contains__)
        self._tell()
        return refusal

    def _controls(self) -> str:
        holder = self._lease.holder
        return json.dumps(
            {
                'type': 'controls',
                'client': holder.client if holder else None,
                'name': holder.name if holder else None,
            }
        )

    def _tell(self) -> None:
        """Tell every page who has the controls, if that changed."""
        holder = self._lease.holder
        now = (holder.client, holder.name) if holder else None
        if now != self._told:
            self._told = now
            self.pages.deliver('controls', self._controls())

    async def _watch_lease(self) -> None:
        while True:
            await asyncio.sleep(LEASE_LOOK_S)
            self._tell()


def _bucket(buckets: dict[str, Bucket], peer: str, rate: float, burst: float) -> Bucket:
    """The bucket of a peer; those of all are forgotten before they become many."""
    if len(buckets) > 256:
        buckets.clear()
    return buckets.setdefault(peer, Bucket(rate, burst))


def _asking(request: web.Request) -> Asking:
    return Asking(
        peer=(request.remote or '').removeprefix('::ffff:'),
        host=request.host.lower(),
        origin=request.headers.get('Origin'),
        secure=request.secure,
        proxied='Forwarded' in request.headers or 'X-Forwarded-For' in request.headers,
    )
