# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Where the dashboard listens: the bound socket, and the certificate for https."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path


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


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """What serves https with a PEM file and its private key (empty: in the same file); None without one.

    Raises OSError whose text names the cause and the remedy.
    """
    if not certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(Path(certificate).expanduser(), Path(key).expanduser() if key else None)
    except (OSError, ssl.SSLError) as error:
        raise OSError(
            f'certificate {certificate!r} with key {key or certificate!r} cannot be used ({error}); '
            'pass certificate:=FILE key:=FILE, both PEM'
        ) from None
    return context
