# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Who may talk to a policy server: tokens, certificates, addresses. For both ends; imports no torch."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import secrets
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from apprentice.robot.files import replacing

logger = logging.getLogger(__name__)
TOKEN_VARIABLE = 'APPRENTICE_POLICY_TOKEN'
PORT = 8770
_SHORTEST = 16  # characters


class TokenError(ValueError):
    """There is no token where one should be, or it is not usable."""


def find_token(file: str | Path = '') -> str:
    """The token in a file, else in the environment variable TOKEN_VARIABLE, else ''.

    Raises OSError for a file that cannot be read, TokenError for a token that is too short or not printable.
    """
    if not file:
        token = os.environ.get(TOKEN_VARIABLE, '').strip()
        return _checked(token, f'the variable {TOKEN_VARIABLE}') if token else ''
    path = Path(file).expanduser()
    try:
        token = path.read_text(errors='replace').strip()
        if path.stat().st_mode & 0o077:
            logger.warning('%s can be read by others; chmod 600 it', path)
    except OSError as error:
        raise OSError(
            f'token file {path} cannot be read ({error.strerror}); copy the one that the server names'
        ) from error
    return _checked(token, str(path))


def make_token(path: Path) -> str:
    """Write a new token to a file that only its owner can read, and return it."""
    token = secrets.token_urlsafe(32)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.chmod(0o600)
        temporary.write_text(token + '\n')
    return token


def own_token_file() -> Path:
    """Where a server keeps the token that it made: in the user's state folder (XDG_STATE_HOME)."""
    state = os.environ.get('XDG_STATE_HOME') or Path.home() / '.local' / 'state'
    return Path(state) / 'apprentice' / 'policy_token'


def server_tls(certificate: str | Path, key: str | Path) -> ssl.SSLContext:
    """Raises OSError or ValueError for files that are missing or do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ValueError(
            f'{certificate} and {key} are no certificate and its key in PEM ({error})'
        ) from error
    except OSError as error:
        raise OSError(f'{certificate} or {key} cannot be read ({error.strerror})') from error
    return context


def client_tls(authority: str | Path = '') -> ssl.SSLContext:
    """What trusts the system's certificate authorities, or the certificates in one PEM file only."""
    try:
        return ssl.create_default_context(cafile=str(authority) if authority else None)
    except ssl.SSLError as error:
        raise ValueError(f'{authority} holds no certificate in PEM ({error})') from error
    except OSError as error:
        raise OSError(f'{authority} cannot be read ({error.strerror})') from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == 'localhost' or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_address(text: str) -> str:
    """``host``, ``host:port`` or a URL as ``ws://host:port/`` or ``wss://host:port/``.

    Raises ValueError for anything else. A ``ws:/host``, what a path makes of a URL, is understood.
    """
    url = re.sub(r'^(wss?):/+', r'\1://', text.strip())
    url = url if '://' in url else f'ws://{url}'
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, 0
    rest = bool(host) and (parts.path.strip('/') or parts.query or parts.fragment or parts.username)
    if not host or rest or parts.scheme not in ('ws', 'wss') or not re.fullmatch(r'[\w.:%-]+', host):
        raise ValueError(
            f'{text!r} is not the address of a policy server; give ws://host:port or wss://host:port'
        )
    return f'{parts.scheme}://{f"[{host}]" if ":" in host else host}:{port}/'


def _checked(token: str, where: str) -> str:
    if len(token) < _SHORTEST or not re.fullmatch(r'[!-~]+', token):
        raise TokenError(
            f'the token in {where} is shorter than {_SHORTEST} characters or not plain printable text; '
            'copy the one of the server, or make one: openssl rand -hex 32'
        )
    return token
