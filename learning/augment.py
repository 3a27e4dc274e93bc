# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Image augmentation on uint8 batches."""

from __future__ import annotations

import torch
from torch.nn import functional


def random_shift(images: torch.Tensor, pixels: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Shift each image [B, H, W, 3] by up to ``pixels`` with replicated borders (DrQ)."""
    if pixels == 0:
        return images
    batch, height, width, _ = images.shape
    padded = functional.pad(images.permute(0, 3, 1, 2).float(), (pixels,) * 4, mode='replicate').permute(
        0, 2, 3, 1
    )
    offset = torch.randint(0, 2 * pixels + 1, (2, batch, 1), generator=generator)
    rows = offset[0] + torch.arange(height)
    columns = offset[1] + torch.arange(width)
    index = torch.arange(batch)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]


def random_light(
    images: torch.Tensor, amount: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Scale brightness of each image by a factor in [1 - amount, 1 + amount]."""
    if amount == 0:
        return images
    factor = 1 + amount * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
    return (images.float() * factor).clamp(0, 255)
