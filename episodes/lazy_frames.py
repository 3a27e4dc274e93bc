# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Images that are decoded when they are needed, for data that does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class LazyFrames:
    """Like an array uint8 [N, H, W, 3], but every indexing decodes what it returns.

    Args:
        shape: (N, H, W, 3).
        decode: rows int64 [n] -> uint8 [n, H, W, 3].
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, shape: tuple[int, ...], decode: Callable[[np.ndarray], np.ndarray]):
        self.shape, self._decode = tuple(shape), decode

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        """An integer, a slice, a mask or an array of integers along the first axis."""
        rows = np.arange(len(self))[index]
        if np.ndim(rows) == 0:
            return self._decode(rows[None])[0]
        if len(rows) == 0:
            return np.empty((0, *self.shape[1:]), np.uint8)
        return self._decode(rows)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def join_frames(parts: Sequence[Any]) -> Any:
    """Stacks of images [N, H, W, 3] after each other: an array, or lazy if one of them is lazy.

    Raises ValueError for stacks of different sizes.
    """
    if not any(isinstance(part, LazyFrames) for part in parts):
        return np.concatenate(parts)
    sizes = {part.shape[1:] for part in parts}
    if len(sizes) > 1:
        raise ValueError(f'images of different sizes {sorted(sizes)} cannot be joined')
    ends = np.cumsum([len(part) for part in parts])

    def decode(rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), *next(iter(sizes))), np.uint8)
        of = np.searchsorted(ends, rows, side='right')
        for number in np.unique(of):
            here = of == number
            images[here] = parts[number][rows[here] - (ends[number] - len(parts[number]))]
        return images

    return LazyFrames((int(ends[-1]), *next(iter(sizes))), decode)
