# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Is a camera's picture still of the kind it was? Exposure, cover, and whether the camera was moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

DARK, BRIGHT = 8, 247  # grey levels at which nothing more can be told
CELLS, CELL = 16, 4  # a picture is looked at in 16 x 16 cells of 4 x 4 pixels
BLANK = 1.5  # grey levels; a cell that varies less shows nothing


@dataclass(frozen=True)
class CameraStatistics:
    """One camera in one episode.

    Attributes:
        dark, bright: shares of pixels that are clipped.
        blank: share of cells without any structure: covered, or out of order.
        view: float [CELLS * CELLS], the first picture's edges, of zero mean and unit length; it changes when
            the camera moves.
    """

    dark: float
    bright: float
    blank: float
    view: np.ndarray


def camera_statistics(frames: np.ndarray) -> CameraStatistics:
    """Statistics of one camera's frames uint8 [T, H, W, 3], oldest first. Raises ValueError without any."""
    if frames.ndim != 4 or not len(frames) or frames.dtype != np.uint8:
        raise ValueError(
            f'frames must be uint8 [T, H, W, 3] with T at least 1, got {frames.dtype} {frames.shape}'
        )
    small = np.stack([shrunk(frame, CELLS * CELL) for frame in frames])
    cells = small.reshape(len(small), CELLS, CELL, CELLS, CELL).transpose(0, 1, 3, 2, 4)
    cells = cells.reshape(len(small), CELLS, CELLS, CELL * CELL)
    return CameraStatistics(
        dark=float(np.mean(small <= DARK)),
        bright=float(np.mean(small >= BRIGHT)),
        blank=float(np.mean(cells.std(-1) < BLANK)),
        view=_edges(small[0]),
    )


def shrunk(frame: np.ndarray, size: int) -> np.ndarray:
    """float32 [size, size], grey levels 0 to 255, of a frame uint8 [H, W, 3]."""
    picture = Image.fromarray(frame).convert('L').resize((size, size), Image.Resampling.BOX)
    return np.asarray(picture, np.float32)


def _edges(picture: np.ndarray) -> np.ndarray:
    down, right = np.gradient(picture)
    strength = np.hypot(down, right).reshape(CELLS, CELL, CELLS, CELL).mean((1, 3)).reshape(-1)
    strength = strength - strength.mean()
    length = float(np.linalg.norm(strength))
    return strength / length if length > 1e-6 else np.zeros_like(strength)
