# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy on another machine, used as one in this process; the other end is :mod:`.server`.

Imports no torch. The state of a ``torch.Generator`` travels there and back, so chunk after chunk is what the
same weights give in this process from the same generator, up to the rounding of other hardware.
"""

from __future__ import annotations

import itertools
import logging
import math
import secrets
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from apprentice.policies import remote_protocol as protocol
from apprentice.policies.remote_access import client_tls, find_token, is_loopback, server_address
from apprentice.policies.remote_connection import Connection
from apprentice.policies.remote_fields import ProtocolError
from apprentice.policies.remote_protocol import Act, Error
from apprentice.policies.spec import PolicyMismatch
from apprentice.robot.types import Observation

if TYPE_CHECKING:
    from apprentice.policies.rtc import PreviousChunk, RtcConfig

logger = logging.getLogger(__name__)


class RemoteError(RuntimeError):
    """The policy broke on the server; its log has the traceback."""


@dataclass(frozen=True)
class Timing:
    """Of one chunk [ms]: the way there and back, and of it waiting and computing on the server."""

    round_trip_ms: float
    queue_ms: float
    infer_ms: float


@dataclass(frozen=True)
class RemoteConfig:
    """What is known here of the policy's ``PolicyConfig``."""

    max_delay: int | None
    head: str


class RemotePolicy:
    """A ChunkPolicy whose ``act`` asks a server. Call it from one thread at a time.

    Attributes:
        spec: what the weights of the server were trained for.
        config: what they can be asked for.
        timings: of the last 200 chunks.
    """

    def __init__(self, connection: Connection, timeout_s: float = 0.5):
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ValueError(f'timeout_s is {timeout_s}; give a positive number of seconds')
        self._connection, self.timeout_s = connection, timeout_s
        self.spec = connection.hello.policy_spec()
        self.config = RemoteConfig(connection.hello.max_delay, connection.hello.head)
        self.timings: deque[Timing] = deque(maxlen=200)
        self._numbers = itertools.count(1)

    def act(
        self,
        observation: Observation,
        generator: Any = None,
        previous: PreviousChunk | None = None,
        rtc: RtcConfig | None = None,
    ) -> np.ndarray:
        """One chunk [H, A] in raw units, of this observation and no other.

        After an error the next call connects again, at the earliest after a pause that grows to 2 s.

        Args:
            generator: a torch.Generator of the CPU, advanced as by a policy in this process; or a
                numpy.random.Generator, from which a seed is drawn; None: a random seed.

        Raises ValueError for bad input; ProtocolError, PolicyMismatch or PermissionError for a server that is
        not what it was; TimeoutError or ConnectionError for one that is slow or away; RemoteError.
        """
        protocol.check_fits(observation, self.spec)
        seed, state = _noise(generator)
        act = Act(
            id=next(self._numbers),
            stamp=float(observation.stamp),
            images={name: observation.images[name] for name in self.spec.cameras},
            state=np.asarray(observation.state, np.float64),
            text=observation.text,
            previous=protocol.Previous(previous.actions, previous.delay) if previous is not None else None,
            rtc=protocol.Rtc(rtc.mode, rtc.max_weight) if rtc is not None else None,
            seed=seed,
            generator=state,
        )
        began = time.perf_counter()
        try:
            answer = self._connection.ask(act.id, protocol.encode(act), self.timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f'{error}{self._usual()}') from None
        if isinstance(answer, Error):
            raise _exception(answer, self._connection.address)
        found, wanted = answer.actions.shape, (self.spec.horizon, self.spec.dim)
        sizes = [None if each is None else each.size for each in (answer.generator, state)]
        if found != wanted or sizes[0] != sizes[1]:
            raise ProtocolError(
                f'{self._connection.address} sent a chunk of {found} and {sizes[0]} bytes of noise, due are '
                f'{wanted} and {sizes[1]}'
            )
        if answer.generator is not None:
            _set_state(generator, answer.generator)
        self.timings.append(Timing(1e3 * (time.perf_counter() - began), answer.queue_ms, answer.infer_ms))
        return answer.actions.astype(np.float64)

    def close(self) -> None:
        """End the connection; ``act`` raises ConnectionError from now on."""
        self._connection.close()

    def _usual(self) -> str:
        remedy = 'check server and network, or allow more time (remote_timeout_s)'
        if not self.timings:
            return f'; {remedy}'
        last = self.timings[-1]
        return (
            f'; the last chunk took {last.round_trip_ms:.0f} ms, {last.infer_ms:.0f} of them to compute and '
            f'{last.queue_ms:.0f} behind other robots: {remedy}'
        )


def load(
    address: str | Path,
    expected_sha256: str = '',
    token_file: str | Path = '',
    timeout_s: float = 0.5,
    connect_timeout_s: float = 5.0,
    ca_file: str | Path = '',
) -> tuple[RemotePolicy, dict[str, Any]]:
    """The policy that a server serves, and what it tells of the manifest.

    Args:
        address: ``ws://host:port``, or ``wss://host:port`` for an encrypted connection.
        expected_sha256: of the manifest of the weights; empty: any.
        token_file: holds the server's token; empty: the variable APPRENTICE_POLICY_TOKEN, or none.
        timeout_s: for a chunk, a new connection included.
        connect_timeout_s: for the first connection.
        ca_file: PEM file of the certificates to trust instead of the system's, for ``wss``.

    Raises ValueError (ProtocolError, PolicyMismatch, TokenError) or OSError (ConnectionError, TimeoutError,
    PermissionError), with the remedy.
    """
    url = server_address(str(address))
    parts, token = urlsplit(url), find_token(token_file)
    if token and parts.scheme == 'ws' and not is_loopback(parts.hostname or ''):
        logger.warning('token and pictures go to %s unencrypted; use wss:// or a tunnel', url)
    tls = client_tls(ca_file) if parts.scheme == 'wss' else None
    connection = Connection(url, token, connect_timeout_s, tls)
    try:
        policy, hello = RemotePolicy(connection, timeout_s), connection.hello
        if expected_sha256 and hello.sha256 != expected_sha256:
            raise PolicyMismatch(
                f'{url} serves weights with the sha256 {hello.sha256 or "unknown"}, announced is '
                f'{expected_sha256}; serve those'
            )
    except BaseException:
        connection.close()
        raise
    manifest = {'spec': hello.spec, 'about': hello.about, 'runtime': hello.runtime, 'sha256': hello.sha256}
    return policy, manifest


def _exception(answer: Error, address: str) -> Exception:
    if answer.kind == 'refused':
        return ValueError(answer.message)  # what the policy would have raised in this process
    kinds = {'version': ProtocolError, 'malformed': ProtocolError, 'failed': RemoteError}
    return kinds.get(answer.kind, ConnectionError)(f'{address}: {answer.message}')


def _noise(generator: Any) -> tuple[int, np.ndarray | None]:
    """A seed, or the state of a torch.Generator."""
    if generator is None:
        return secrets.randbits(63), None
    if isinstance(generator, np.random.Generator):
        return int(generator.integers(2**63)), None
    return 0, generator.get_state().numpy()


def _set_state(generator: Any, state: np.ndarray) -> None:
    tensor = generator.get_state()  # a copy, and a way to make a tensor without importing torch
    tensor.numpy()[:] = state
    generator.set_state(tensor)
