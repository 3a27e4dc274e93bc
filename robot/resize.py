# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Images of another size than the robot file says, made to fit. Only ever done when a user asks for it."""

from __future__ import annotations

import numpy as np

METHODS = ('', 'stretch', 'pad')


def resize(images: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """Images uint8 [..., H, W, 3] as uint8 [..., *size, 3], bilinear, smoothed when they become smaller.

    Args:
        size: (height, width).
        method: ``stretch`` ignores the aspect ratio, ``pad`` keeps it and fills up with black.

    Raises ValueError for another method.
    """
    if method not in METHODS[1:]:
        raise ValueError(f'resize is {method!r}; use one of {list(METHODS[1:])}')
    height, width = images.shape[-3:-1]
    if (height, width) == tuple(size):
        return images
    inner = size
    if method == 'pad':
        scale = min(size[0] / height, size[1] / width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
    rows, columns = _weights(height, inner[0]), _weights(width, inner[1])
    flat = images.reshape(-1, height, width, 3)
    out = np.zeros((len(flat), *size, 3), np.uint8)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    for image, target in zip(flat, out):
        # [h, H] @ [H, W * 3], then over the width
        tall = (rows @ image.reshape(height, -1).astype(np.float32)).reshape(inner[0], width, 3)
        fitted = np.einsum('wW,hWc->hwc', columns, tall, optimize=True)
        target[top : top + inner[0], left : left + inner[1]] = np.clip(np.rint(fitted), 0, 255)
    return out.reshape(*images.shape[:-3], *size, 3)


def _weights(before: int, after: int) -> np.ndarray:
    """Weights [after, before] of a triangle filter, as wide as a new pixel or an old one."""
    ratio = before / after
    middle = (np.arange(after) + 0.5) * ratio - 0.5
    distance = np.abs(np.arange(before)[None] - middle[:, None]) / max(1.0, ratio)
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
