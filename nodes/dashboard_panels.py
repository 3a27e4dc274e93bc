# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How a subject joins the dashboard: pages, HTTP routes, buttons and state of its own.

The dashboard node makes every class of its parameter ``panels`` (``package.module:Class``) as
``Class(node)``; its own subjects are panels too. A panel of another node's subject listens to that node's
topics: nothing but messages is shared between processes.

    class Pairs(Panel):
        name = 'pairs'  # key of report() in the page's state message
        files = {'/preferences': 'preferences.html'}  # in the folder web; its .js and .css are served anyway

        def __init__(self, node):
            self._answers = node.create_publisher(PreferenceAnswer, 'preference/answer', qos.LOG)
            self.actions = {'prefer': Action(self._prefer, shared=True)}

        def _prefer(self, press):  # {"action": "prefer", "answer": 1} from the websocket
            self._answers.publish(...)
            press.reply(True, 'thank you')

Pages of a panel load ``/connection.js`` for the websocket and ``/style.css`` for the looks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Press:
    """What a person did on a page.

    Attributes:
        client: number of the open page.
        person: name by which the others see this person.
        fields: the message of the page, at most 4 KiB of JSON. Nothing in it can be trusted.
        reply: answer that page, with (whether it worked, text); an empty text is not shown.
    """

    client: int
    person: str
    fields: Mapping[str, Any]
    reply: Callable[[bool, str], None]

    def text(self, name: str, limit: int = 200) -> str:
        """A text field, cut to ``limit`` characters; empty where it is missing or no text."""
        value = self.fields.get(name, '')
        return value[:limit].strip() if isinstance(value, str) else ''


@dataclass(frozen=True)
class Action:
    """What a button does. ``run`` is called in the thread of the node's executor.

    Attributes:
        shared: several people may do it at a time; otherwise only the person who has the controls.
        open: also for people who may only watch.
    """

    run: Callable[[Press], None]
    shared: bool = False
    open: bool = False


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Panel:
    """A subject of the dashboard; subclasses fill in what they need.

    Attributes:
        name: key of :meth:`report` in the state that pages receive ten times a second; empty: no state.
        files: URL path -> HTML file in the folder ``web``.
        routes: URL path (aiohttp's form) -> coroutine that answers GET, in the server's thread.
        actions: name -> what it does; names are shared by all panels.
    """

    name: str = ''
    files: Mapping[str, str] = {}
    routes: Mapping[str, Handler] = {}
    actions: Mapping[str, Action] = {}

    def report(self) -> Any:
        """State for the pages as JSON data; called while a page is open, in the executor's thread."""
        return None

    def look(self) -> None:
        """The first page was opened: subscribe to what costs."""

    def rest(self) -> None:
        """The last page is gone: drop what costs."""

    def left(self, client: int) -> None:
        """A page was closed or lost."""

    def close(self) -> None:
        """The node ends."""
