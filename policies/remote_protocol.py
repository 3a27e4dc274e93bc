# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a robot and a policy server say to each other: msgpack in websocket messages, every field checked.

The server says :class:`Hello` to each connection; then each :class:`Act` is answered by :class:`Actions` or
:class:`Error` with its id. A message is a map of ``protocol`` (VERSION), ``type`` and the fields of its
class, no more. No pickle, no extension types: bytes can become nothing but the classes below. Both ends
apply the same checks, before sending and after receiving. Imports no torch: a robot can do without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgpack
import numpy as np

from apprentice.policies.remote_fields import (
    LARGEST_SIDE,
    Check,
    ProtocolError,
    array,
    brief,
    by_name,
    exactly,
    integer,
    number,
    optional,
    plain,
    text,
    to_wire,
)
from apprentice.policies.spec import PolicySpec
from apprentice.robot.types import Observation

VERSION = 1
# why there is no chunk: not understood (version, malformed); the policy refused the input; it broke; a newer
# request of the same connection came first; the server ends
ERROR_KINDS = ('version', 'malformed', 'refused', 'failed', 'superseded', 'closing')
LARGEST_REPLY = 4 << 20  # bytes; hello and chunks are far smaller
LONGEST_TEXT = 1 << 14  # characters
_LONGEST_PREVIOUS = 1024  # rows
_OVERHEAD = 1 << 17  # bytes of a request beside its images and its previous chunk

Kind = TypeVar('Kind')


class VersionError(ProtocolError):
    """The other end speaks another version of the protocol."""


@dataclass(frozen=True)
class Hello:
    """What the server serves.

    Attributes:
        spec: ``PolicySpec.to_dict()``.
        runtime: what runs the policy there, see :mod:`.runtime`.
        sha256: hash of the manifest of the weights, hexadecimal.
        about: what the manifest tells about the weights.
        max_delay, head: of its ``PolicyConfig``; None and empty where it has none.
    """

    spec: dict[str, Any]
    runtime: str
    sha256: str
    about: dict[str, Any]
    max_delay: int | None
    head: str

    def policy_spec(self) -> PolicySpec:
        """Raises ProtocolError for a specification that is incomplete or unusable."""
        try:
            spec = PolicySpec.from_dict(self.spec)
        except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f'hello.spec cannot be used ({error!r}); update the server') from error
        sides = [side for size in spec.cameras.values() for side in size]
        if not all(1 <= n <= LARGEST_SIDE for n in (*sides, spec.horizon, spec.dim)):
            raise ProtocolError(f'hello.spec has sizes outside 1 to {LARGEST_SIDE}; update the server')
        return spec


@dataclass(frozen=True)
class Previous:
    """As :class:`.rtc.PreviousChunk`: the rows [n, A] that the robot follows, and how many will be past."""

    actions: np.ndarray
    delay: int


@dataclass(frozen=True)
class Rtc:
    """As :class:`.rtc.RtcConfig`."""

    mode: str
    max_weight: float


@dataclass(frozen=True)
class Act:
    """A request for one chunk.

    Attributes:
        id: of the answer too; growing within a connection.
        stamp, images, state, text: the observation; images are uint8 [H, W, 3].
        seed: of the sampling noise, used where there is no ``generator``.
        generator: state of a torch.Generator, uint8 [n]; the answer then holds the state after it.
    """

    id: int
    stamp: float
    images: dict[str, np.ndarray]
    state: np.ndarray
    text: str
    previous: Previous | None
    rtc: Rtc | None
    seed: int
    generator: np.ndarray | None

    @property
    def observation(self) -> Observation:
        return Observation(self.stamp, self.images, self.state, self.text)


@dataclass(frozen=True)
class Actions:
    """A chunk [H, A] in raw units, and how long it waited and was computed."""

    id: int
    actions: np.ndarray
    queue_ms: float
    infer_ms: float
    generator: np.ndarray | None


@dataclass(frozen=True)
class Error:
    """Why there is no chunk. ``id`` 0: not about one request."""

    id: int
    kind: str
    message: str


Message = Hello | Act | Actions | Error


def encode(message: Message) -> bytes:
    """The bytes of a message. Raises ProtocolError for one that the other end would refuse."""
    name = _NAMES[type(message)]
    body = to_wire(message, name)
    _record(type(message))(body, name)
    return msgpack.packb({'protocol': VERSION, 'type': name, **body})


def decode(data: bytes) -> Message:
    """The message in ``data``; its arrays are read-only views. Raises ProtocolError, VersionError."""
    try:
        body = msgpack.unpackb(
            data, ext_hook=_no_extension, max_ext_len=0, max_str_len=4 * LONGEST_TEXT,
            max_array_len=1024, max_map_len=1024,
        )  # fmt: skip
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f'not a message of this protocol: {error or "cut off"}') from error
    if not isinstance(body, dict) or not isinstance(body.get('type'), str):
        raise ProtocolError('not a message of this protocol: it has no type')
    version = body.pop('protocol', None)
    if version != VERSION or isinstance(version, bool):
        raise VersionError(
            f'the other end speaks version {brief(version)} of the policy protocol, this end {VERSION}; '
            'install the same version of apprentice on the robot and on the server'
        )
    name = body.pop('type')
    kind = next((kind for kind, known in _NAMES.items() if known == name), None)
    if kind is None:
        raise ProtocolError(f'no message is of type {brief(name)}; use one of {list(_NAMES.values())}')
    return _record(kind)(body, name)


def check_fits(observation: Observation, spec: PolicySpec) -> None:
    """Raise ValueError, as the policy itself would, if an observation is not what it was trained for."""
    for name, size in spec.cameras.items():
        image = observation.images.get(name)
        if image is None:
            raise ValueError(f'camera {name!r} has no image; is its driver running?')
        if image.shape != (*size, 3):
            raise ValueError(f'camera {name!r} gives {image.shape}, the policy was trained on {(*size, 3)}')
    if np.shape(observation.state) != (spec.dim,):
        raise ValueError(f'the joint state is {np.shape(observation.state)}, the policy expects {spec.dim}')
    if not np.all(np.isfinite(observation.state)):
        raise ValueError('the measured joint state is not finite')


def largest_request(spec: PolicySpec) -> int:
    """Bytes that no request for this policy exceeds."""
    images = sum(3 * height * width for height, width in spec.cameras.values())
    return images + 8 * _LONGEST_PREVIOUS * spec.dim + _OVERHEAD


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f'extension type {code}')


def _record(kind: type[Kind]) -> Callable[[Any, str], Kind]:
    return lambda value, where: kind(**exactly(value, _CHECKS[kind], where))


_NUMBERS = ('float32', 'float64')
_ID = integer(0, 2**63 - 1)
_MILLISECONDS = number(0, 1e9)
_GENERATOR = optional(array(('uint8',), 1))
_NAMES: dict[type, str] = {Hello: 'hello', Act: 'act', Actions: 'actions', Error: 'error'}
_CHECKS: dict[type, dict[str, Check]] = {
    Hello: {
        'spec': by_name(plain),
        'runtime': text(200),
        'sha256': text(64),
        'about': by_name(plain),
        'max_delay': optional(integer(0, LARGEST_SIDE)),
        'head': text(20),
    },
    Previous: {'actions': array(_NUMBERS, 2), 'delay': integer(0, _LONGEST_PREVIOUS)},
    Rtc: {'mode': text(20), 'max_weight': number(0, 1e6)},
    Act: {
        'id': _ID,
        'stamp': number(-1e12, 1e12),
        'images': by_name(array(('uint8',), 3)),
        'state': array(_NUMBERS, 1),
        'text': text(LONGEST_TEXT),
        'previous': optional(_record(Previous)),
        'rtc': optional(_record(Rtc)),
        'seed': integer(0, 2**63 - 1),
        'generator': _GENERATOR,
    },
    Actions: {
        'id': _ID,
        'actions': array(_NUMBERS, 2),
        'queue_ms': _MILLISECONDS,
        'infer_ms': _MILLISECONDS,
        'generator': _GENERATOR,
    },
    Error: {'id': _ID, 'kind': text(20, ERROR_KINDS), 'message': text(LONGEST_TEXT)},
}
