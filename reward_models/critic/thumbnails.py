# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Thumbnails as frozen embeddings: each view shrunk to SIZE x SIZE pixels, and maps of named colours in it.

Nothing here is trained. Where things are is what a progress critic must see, and what the pooled embedding
of a small CLIP has lost. A map is high where a pixel is saturated and has the hue an instruction names, so
that a network that sees maps and brightness only cannot tell one colour from another.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

SIZE = 32
WIDTH = SIZE * SIZE * 3  # of an embedding
MAPS = 4  # brightness, first named colour, second named colour, any other saturated colour
_NEAR = 0.055  # standard deviation of a hue; red to yellow is 0.14
_DULL, _VIVID = 0.15, 0.35  # chroma below which a pixel has no colour (a wooden table), and from which it has


def encode(frames: np.ndarray) -> np.ndarray:
    """uint8 [..., H, W, 3] to float32 [..., WIDTH], values in [0, 1]; whatever H and W are."""
    lead, (height, width) = frames.shape[:-3], frames.shape[-3:-1]
    flat = np.ascontiguousarray(frames, np.uint8).reshape(-1, height, width, 3)
    if height % SIZE == 0 and width % SIZE == 0:
        blocks = flat.reshape(-1, SIZE, height // SIZE, SIZE, width // SIZE, 3)
        small = blocks.mean(axis=(2, 4), dtype=np.float32)
    else:
        shape = (SIZE, SIZE)
        images = (Image.fromarray(image).resize(shape, Image.Resampling.BOX) for image in flat)
        small = np.stack([np.asarray(image, np.float32) for image in images])
    return (small / 255.0).reshape(*lead, WIDTH)


def maps(emb: torch.Tensor, hues: torch.Tensor) -> torch.Tensor:
    """What a network sees.

    Args:
        emb: float [N, WIDTH].
        hues: float [N, SLOTS], NaN where no colour is named.

    Returns:
        float [N, MAPS, SIZE, SIZE] in [0, 1].
    """
    picture = emb.reshape(-1, SIZE, SIZE, 3)
    high, low = picture.amax(dim=3), picture.amin(dim=3)
    chroma = high - low
    vivid = ((chroma - _DULL) / (_VIVID - _DULL)).clamp(0, 1)
    shade = hue_of(picture, high, chroma)
    away = (shade[:, None] - torch.nan_to_num(hues)[:, :, None, None]).abs()
    away = torch.minimum(away, 1 - away)
    named = torch.exp(-0.5 * (away / _NEAR) ** 2) * vivid[:, None]
    named = named * torch.isfinite(hues)[:, :, None, None]
    other = vivid * (1 - named.amax(dim=1))
    brightness = picture.mean(dim=3)
    return torch.cat([brightness[:, None], named, other[:, None]], dim=1)


def hue_of(picture: torch.Tensor, high: torch.Tensor, chroma: torch.Tensor) -> torch.Tensor:
    """Hue in [0, 1) of RGB [..., 3]; 0 where there is none."""
    red, green, blue = picture.unbind(dim=-1)
    room = chroma.clamp_min(1e-6)
    shade = torch.where(
        high == red,
        ((green - blue) / room) % 6,
        torch.where(high == green, (blue - red) / room + 2, (red - green) / room + 4),
    )
    return torch.where(chroma > 1e-6, shade / 6, torch.zeros_like(shade)) % 1.0
