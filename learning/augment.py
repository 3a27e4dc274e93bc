# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Image augmentation on uint8 batches. What is random is drawn apart from where it is used."""

from __future__ import annotations

import torch


def draw_shift(batch: int, pixels: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Offsets int64 [B, 2, 1] (rows, columns) in [0, 2 * pixels] for :func:`shift`."""
    return torch.randint(0, 2 * pixels + 1, (2, batch, 1), generator=generator).transpose(0, 1)


def shift(images: torch.Tensor, pixels: int, offset: torch.Tensor) -> torch.Tensor:
    """Each image [B, H, W, 3] moved by up to ``pixels``, with replicated borders (DrQ, arXiv 2004.13649)."""
    batch, height, width, _ = images.shape
    rows = offset[:, 0] + torch.arange(height, device=images.device) - pixels
    columns = offset[:, 1] + torch.arange(width, device=images.device) - pixels
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    index = torch.arange(batch, device=images.device)[:, None, None]
    return images[index, rows[:, :, None], columns[:, None, :]]


def draw_light(batch: int, amount: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Factors float32 [B, 1, 1, 1] in [1 - amount, 1 + amount] for :func:`light`."""
    return 1 + amount * (2 * torch.rand(batch, 1, 1, 1, generator=generator) - 1)


def light(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Brightness of each image [B, H, W, 3] scaled by its ``factor``; float32 in [0, 255]."""
    return (images.float() * factor).clamp(0, 255)
