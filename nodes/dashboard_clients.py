# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The open pages of the dashboard and what waits to be sent to each.

Every page has one slot per kind of message. A newer message replaces an unsent older one, so a slow page
sees fewer frames and never old ones, and no page waits for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator

from aiohttp import web

from apprentice.nodes.dashboard_access import Asking
from apprentice.nodes.dashboard_lease import Bucket

MAX_SLOTS = 64
NOT_SENT_BYTES = 65536  # what the kernel may hold of a slow page: a frame or two, not seconds of them


class Client:
    """One open page: its connection, its person, what it may do and what is waiting to be sent to it."""

    def __init__(self, number: int, connection: web.WebSocketResponse, asking: Asking):
        self.number, self.connection, self.asking = number, connection, asking
        self.refusal = ''  # why it may not control, empty if it may
        self.token = ''  # that was judged so
        self.key = ''  # secret of the browser tab: a reloaded page is known by it
        self.name = f'person {number}'
        self.slots: dict[str, str | bytes] = {}
        self.ready = asyncio.Event()
        self.behind = True  # lacks curve increments: needs the whole curve
        # thirty times a second while driving, the rest is fingers
        self.messages, self.urgent = Bucket(60.0, 90.0), Bucket(5.0, 10.0)
        self.warned = Bucket(0.5, 1.0)

    def put(self, key: str, payload: str | bytes) -> None:
        """Fill a slot, replacing what was not sent yet."""
        if key in self.slots or len(self.slots) < MAX_SLOTS:
            self.slots[key] = payload
            self.ready.set()

    async def send(self) -> None:
        """Send what is in the slots until the connection ends."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.ready.wait()
                self.ready.clear()
                while self.slots:
                    payload = self.slots.pop(next(iter(self.slots)))
                    if isinstance(payload, bytes):
                        await self.connection.send_bytes(payload)
                    else:
                        await self.connection.send_str(payload)


class Clients:
    """All open pages. Filled in the server's thread; counting and ``wants`` may be asked from any."""

    def __init__(self) -> None:
        self._clients: dict[int, Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def __contains__(self, number: int) -> bool:
        return number in self._clients

    def add(self, client: Client) -> None:
        self._clients[client.number] = client

    def remove(self, client: Client) -> None:
        del self._clients[client.number]

    @property
    def behind(self) -> bool:
        """True if a page needs the whole curve, and has room for it."""
        return any(client.behind and 'curves' not in client.slots for client in list(self._clients.values()))

    def wants(self, key: str) -> bool:
        """True if a page has room for a message of this kind: only then is it worth making."""
        return any(key not in client.slots for client in list(self._clients.values()))

    def deliver(self, key: str, payload: str | bytes) -> None:
        for client in self._clients.values():
            client.put(key, payload)

    def deliver_curves(self, payload: str, full: bool, restart: bool) -> None:
        """An increment to the pages that are up to date, or the whole curve to those behind (or to all)."""
        for client in self._clients.values():
            if full:
                if restart or client.behind:
                    client.behind = False
                    client.put('curves', payload)
            elif 'curves' in client.slots:
                client.behind = True  # an increment must not replace another
            elif not client.behind:
                client.put('curves', payload)

    def reply(self, number: int, action: str, ok: bool, message: str) -> None:
        """Answer one page; a newer answer to the same action replaces one that was not sent yet."""
        client = self._clients.get(number)
        if client is not None:
            text = json.dumps({'type': 'reply', 'action': action, 'ok': ok, 'message': message})
            client.put(f'reply {action}', text)


def keep_fresh(request: web.Request) -> None:
    """Let a connection hold little that is not sent: a slow page gets new frames, not a queue of old."""
    transport = request.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=NOT_SENT_BYTES)
    connection = transport.get_extra_info('socket')
    option = getattr(socket, 'TCP_NOTSENT_LOWAT', None)
    if connection is not None and option is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, NOT_SENT_BYTES)
