# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""ROS messages without ROS: definitions, CDR encoding and decoding, and stamps read from raw bytes.

Types are named as in ROS 2, ``sensor_msgs/msg/Image``. Definitions are the ``.msg`` files that every ROS
prefix installs, found through AMENT_PREFIX_PATH and ``sys.prefix``.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# the public writer of mcap_ros2 encodes only while writing to a file of its own layout
from mcap_ros2._dynamic import serialize_dynamic

_CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
_PRIMITIVES = frozenset(
    {'bool', 'byte', 'char', 'float32', 'float64', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32'}
    | {'int64', 'uint64', 'string', 'wstring'}
)
# constants have upper case names and do not match
_FIELD = re.compile(r'^\s*(?P<type>[A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[a-z]\w*', re.MULTILINE)
_SEPARATOR = '=' * 80


class MessageError(ValueError):
    """A message or its type cannot be used; the text names cause and remedy."""


@cache
def definition(type_name: str) -> str:
    """The full definition of a type in the ``ros2msg`` format: its text, then those of all types in it.

    Raises MessageError when a type is not installed.
    """
    parts = [_definition_file(type_name)]
    seen = {type_name}
    queue = _dependencies(type_name, parts[0])
    while queue:
        dependency = queue.pop(0)
        if dependency in seen:
            continue
        seen.add(dependency)
        text = _definition_file(dependency)
        package, _, name = dependency.split('/')
        parts.append(f'{_SEPARATOR}\nMSG: {package}/{name}\n{text}')
        queue += _dependencies(dependency, text)
    return '\n'.join(parts)


def _definition_file(type_name: str) -> str:
    try:
        package, kind, name = type_name.split('/')
    except ValueError:
        raise MessageError(f'{type_name!r} is not a message type; write it as package/msg/Name') from None
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    for prefix in [*prefixes, sys.prefix]:
        path = Path(prefix, 'share', package, kind, f'{name}.msg')
        if path.is_file():
            return path.read_text()
    raise MessageError(
        f'message type {type_name} is not installed (looked in {", ".join([*prefixes, sys.prefix])}); '
        f'install the package {package} or source the workspace that has it'
    )


def _dependencies(type_name: str, text: str) -> list[str]:
    package = type_name.split('/')[0]
    found = []
    for match in _FIELD.finditer(_without_comments(text)):
        kind = match['type']
        if kind in _PRIMITIVES:
            continue
        parts = kind.split('/')
        found.append(f'{parts[0] if len(parts) > 1 else package}/msg/{parts[-1]}')
    return found


def _without_comments(text: str) -> str:
    return '\n'.join(line.split('#', 1)[0] for line in text.splitlines())


@cache
def _encoder(type_name: str) -> Callable[[Any], bytes]:
    return serialize_dynamic(type_name, definition(type_name))[type_name]


def encode(type_name: str, fields: dict[str, Any]) -> bytes:
    """CDR bytes (little endian, with encapsulation) of a message given as nested dictionaries.

    Fields left out get their defaults; numeric arrays are lists, ``uint8[]`` may be bytes.
    """
    return _encoder(type_name)(fields)


def time_fields(nanoseconds: int) -> dict[str, int]:
    """A builtin_interfaces/Time as fields for :func:`encode`."""
    return {'sec': nanoseconds // 1_000_000_000, 'nanosec': nanoseconds % 1_000_000_000}


def nanoseconds(stamp: Any) -> int:
    """A decoded builtin_interfaces/Time (or Duration) in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


@cache
def _stamp_offset(type_name: str) -> int | None:
    """Offset of the header stamp in the CDR of a type, None where it has none at a fixed place."""
    if type_name == 'visualization_msgs/msg/MarkerArray':
        return 8  # after the length of the sequence: the header of the first marker
    fields = (m for m in _FIELD.finditer(_without_comments(definition(type_name))))
    first = next(fields, None)
    return 4 if first is not None and first['type'] in ('std_msgs/Header', 'Header') else None


def header_stamp(type_name: str, data: bytes) -> int | None:
    """Capture time [ns] of a raw message, without decoding it; None where it carries none or zero."""
    offset = _stamp_offset(type_name)
    if offset is None or len(data) < offset + 8:
        return None
    seconds, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, offset)
    stamp = seconds * 1_000_000_000 + nanosec
    return stamp if stamp > 0 else None


def decode_image(data: bytes) -> np.ndarray:
    """uint8 [H, W, 3] RGB of a raw sensor_msgs/Image, read directly from its CDR.

    Layout after the 4 bytes of encapsulation (offsets count from there, integers aligned to their size):
    stamp (int32, uint32), frame_id (uint32 length with the final NUL, bytes), uint32 height, uint32 width,
    encoding (string), uint8 is_bigendian, uint32 step, uint8[] data (uint32 length, bytes).
    Several times faster than a general decoder, and the pixels are copied once. Raises MessageError for
    encodings other than 8-bit RGB, BGR (with or without alpha) and mono, and for short data.
    """
    order = '<' if data[1] & 1 else '>'

    def uint32(offset: int) -> tuple[int, int]:
        offset += -offset % 4  # 4 bytes of encapsulation keep the alignment of the body
        return struct.unpack_from(order + 'I', data, offset)[0], offset + 4

    def string(offset: int) -> tuple[bytes, int]:
        length, offset = uint32(offset)
        return data[offset : offset + max(0, length - 1)], offset + length

    try:
        _, offset = string(12)
        height, offset = uint32(offset)
        width, offset = uint32(offset)
        encoding, offset = string(offset)
        step, offset = uint32(offset + 1)
        size, offset = uint32(offset)
    except struct.error:
        raise MessageError('image message is cut off; the file is damaged') from None
    name = encoding.decode(errors='replace')
    return rgb(memoryview(data)[offset : offset + size], height, width, step, name)


def rgb(data: Any, height: int, width: int, step: int, encoding: str) -> np.ndarray:
    """The pixels of an image message as RGB, uint8 [H, W, 3]; where possible a view of ``data``.

    Args:
        data: buffer of ``height`` rows of ``step`` bytes.

    Raises MessageError as :func:`decode_image`.
    """
    channels = _CHANNELS.get(encoding)
    if channels is None:
        raise MessageError(f'image encoding {encoding!r} is not RGB; publish rgb8 or bgr8')
    if step < width * channels or len(data) < height * step:
        raise MessageError('image data is shorter than height * step; the driver or the file is damaged')
    rows = np.frombuffer(data, np.uint8, height * step).reshape(height, step)
    image = rows[:, : width * channels].reshape(height, width, channels)
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    if encoding.startswith('bgr'):
        return image[:, :, 2::-1]
    return image[:, :, :3]
