# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Who may watch and who may control, decided from what a web request says of itself.

- A page is served only under a name of this machine. A foreign name that resolves here (DNS rebinding)
  would let any web page read the cameras through the browser of somebody inside the network.
- A websocket is accepted from the page's own origin only: browsers send cookies and reach localhost for
  every page, and always say which page it was.
- Without a token only this machine controls. With one, control needs the token and a secure origin
  (https, or localhost, which is also what an SSH tunnel is), because the token would be readable on the way.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_TOKEN_BYTES = 1024  # a page's message holds it


@dataclass(frozen=True)
class Asking:
    """A request: peer's address, Host and Origin headers, whether over TLS, whether through a proxy."""

    peer: str
    host: str
    origin: str | None
    secure: bool
    proxied: bool


@dataclass(frozen=True)
class Access:
    """The rules of one dashboard.

    Attributes:
        token: secret for control; empty: only this machine controls.
        names: host names under which the page may be opened, apart from addresses and localhost.
    """

    token: str = ''
    names: frozenset[str] = frozenset()

    @classmethod
    def of_this_machine(cls, token: str, more: list[str]) -> Access:
        """Rules that allow this machine's own names and ``more``. Raises ValueError for a token too long."""
        size = len(token.encode())
        if size > MAX_TOKEN_BYTES:
            raise ValueError(f'the token has {size} bytes; give one of {MAX_TOKEN_BYTES} at most')
        own = socket.gethostname().lower()
        names = {
            own,
            own.split('.')[0],
            f'{own.split(".")[0]}.local',
            *(name.lower() for name in more if name),
        }
        return cls(token, frozenset(names))

    def watch_refusal(self, asking: Asking, websocket: bool) -> str:
        """Why this request may not even see the page, empty if it may."""
        name = _name(asking.host)
        if not (_is_address(name) or name == 'localhost' or name in self.names):
            return (
                f'{name!r} is not a name of this machine; open the page by its address, '
                f'or start the dashboard with names:=[{name}]'
            )
        if websocket and asking.origin is not None and urlsplit(asking.origin).netloc.lower() != asking.host:
            return 'cross-origin websocket refused; open the page from this address'
        return ''

    def control_refusal(self, asking: Asking, token: str) -> str:
        """Why this page may only watch, empty if it may control."""
        here = is_loopback(asking.peer) and not asking.proxied
        if not self.token:
            if here and (_is_address(_name(asking.host)) or _name(asking.host) == 'localhost'):
                return ''
            return 'view only: controls work on the robot computer; for others start it with token_file:=FILE'
        if not self._is_secure(asking, here):
            return 'view only: control needs https, or localhost through an SSH tunnel'
        if not token:
            return 'view only: enter the token to control'
        # bytes, because compare_digest refuses text beyond ASCII
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return 'view only: the token is wrong'
        return ''

    @staticmethod
    def _is_secure(asking: Asking, here: bool) -> bool:
        if asking.secure or (asking.origin or '').startswith('https://'):
            return True
        name = _name(asking.host)
        return here and (name == 'localhost' or is_loopback(name))


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    return _is_address(address) and ipaddress.ip_address(address.split('%')[0]).is_loopback


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.split('%')[0])
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    try:
        return (urlsplit(f'//{host}').hostname or '').lower()
    except ValueError:  # '[': not an address
        return ''
