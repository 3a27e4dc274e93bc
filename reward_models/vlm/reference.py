# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One demonstration in context: images named by how much of the task is done."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.vlm.chat import Picture
from apprentice.robot.files import replacing

FOLDER = 'reference'
MOST = 11  # images VLAC was trained with


def load_reference(folder: Path, size: int) -> list[tuple[int, Picture]]:
    """(percent, picture) of the files ``reference/<percent>.png``, in order; empty without such a folder.

    Raises RewardModelError for a file that is not named by a percentage, and if 0 or 100 is missing.
    """
    found = []
    for path in sorted((folder / FOLDER).glob('*.png')):
        match = re.fullmatch(r'0*(\d{1,3})', path.stem)
        if match is None or int(match[1]) > 100:
            raise RewardModelError(
                f'{path} must be named by the percentage of the task that is done: 040.png'
            )
        with Image.open(path) as image:
            found.append((int(match[1]), Picture(squared(np.asarray(image.convert('RGB')), size))))
    found.sort(key=lambda item: item[0])
    if found and (found[0][0] != 0 or found[-1][0] != 100 or len(found) > MOST):
        raise RewardModelError(
            f'{folder / FOLDER} must hold 2 to {MOST} images from 000.png to 100.png, has '
            f'{[percent for percent, _ in found]}'
        )
    return found


def write_reference(folder: Path, frames: np.ndarray, count: int = 6) -> None:
    """Write ``count`` frames of one successful demonstration uint8 [T, H, W, 3], evenly spaced in time."""
    if not 2 <= count <= MOST or len(frames) < count:
        raise RewardModelError(f'give 2 to {MOST} images of a demonstration at least so long, got {count}')
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for percent, image in evenly(frames, count):
        with replacing(folder / FOLDER / f'{percent:03d}.png') as temporary:
            Image.fromarray(image).save(temporary, format='png')


def evenly(frames: np.ndarray, count: int) -> list[tuple[int, np.ndarray]]:
    """(percent, frame) of at most ``count`` frames of [T, ...], the first and the last among them."""
    count = min(count, len(frames))
    shares = np.linspace(0.0, 1.0, count) if count > 1 else np.ones(1)
    return [(round(100 * share), frames[round(share * (len(frames) - 1))]) for share in shares]


def squared(image: np.ndarray, size: int) -> np.ndarray:
    """The image stretched to size x size."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
