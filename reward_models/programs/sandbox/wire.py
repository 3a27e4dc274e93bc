# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What goes through the pipes: a JSON header and raw float64 numbers. Nothing that can be executed.

message = uint32 length of the header, header (UTF-8 JSON), numbers as the header says
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_COMPONENTS, LONGEST_NAME = 16, 60
LARGEST_HEADER = 64 * 1024
LENGTH = struct.Struct('<I')


def pack(header: Mapping[str, Any], *arrays: np.ndarray) -> bytes:
    """One message."""
    text = json.dumps(header).encode()
    return b''.join(
        (LENGTH.pack(len(text)), text, *(np.ascontiguousarray(a, '<f8').tobytes() for a in arrays))
    )


def numbers(data: bytes, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays of the named shapes, read-only, one after the other in ``data``."""
    flat, first, found = np.frombuffer(data, '<f8'), 0, {}
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=np.int64))
        found[name] = flat[first : first + size].reshape(shape)
        first += size
    return found
