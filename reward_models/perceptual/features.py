# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Features of frames: an encoder's embedding, or the map of an inner layer, averaged over a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.clip.encoder import ClipEncoder

_BATCH = 64


class FrameFeatures:
    """Features of images by one encoder.

    The paper takes the activations of all layers of Inception from the first "mixed" one on; here it is one
    layer by name, such as ``visual.layer3`` of a ResNet tower or ``visual.transformer`` of a ViT, which keeps
    where in the image something is.

    Args:
        encoder: any open_clip model.
        layer: dotted name of a module of the encoder's network; empty: the embedding.
        grid: a map is averaged over grid x grid cells.
    """

    def __init__(self, encoder: ClipEncoder, layer: str = '', grid: int = 4):
        self.encoder, self.layer, self.grid = encoder, layer, grid
        if grid < 1:
            raise RewardModelError(f'grid is {grid}; give 1 or more')
        self._module = None
        if layer:
            modules = dict(encoder.network.named_modules())
            if layer not in modules:
                known = ', '.join(n for n in modules if n.count('.') == 1 and n.startswith('visual.'))
                raise RewardModelError(f'{encoder.name} has no layer {layer!r}; for example: {known}')
            self._module = modules[layer]

    @classmethod
    def load(
        cls, source: str | Path, device: str, allow_download: bool, layer: str, grid: int
    ) -> FrameFeatures:
        """See :meth:`ClipEncoder.load`."""
        return cls(ClipEncoder.load(source, device, allow_download), layer, grid)

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] to float32 [..., D]."""
        if self._module is None:
            return self.encoder.images(frames)
        flat = np.asarray(frames).reshape(-1, *frames.shape[-3:])
        parts = [self._map(flat[i : i + _BATCH]) for i in range(0, len(flat), _BATCH)]
        return np.concatenate(parts).reshape(*frames.shape[:-3], -1)

    def _map(self, images: np.ndarray) -> np.ndarray:
        seen: list[torch.Tensor] = []

        def keep(module: object, inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
            seen.append(output[0] if isinstance(output, tuple) else output)

        assert self._module is not None
        handle = self._module.register_forward_hook(keep)
        try:
            self.encoder.images(images)
        finally:
            handle.remove()
        cells = _as_map(seen[-1].float(), len(images), self.layer)
        return functional.adaptive_avg_pool2d(cells, self.grid).flatten(1).cpu().numpy()


def _as_map(output: torch.Tensor, count: int, layer: str) -> torch.Tensor:
    """[N, C, h, w] of a convolution's map, or of tokens [N, L, C] with or without a class token."""
    if output.ndim == 4 and len(output) == count:
        return output
    if output.ndim == 3 and len(output) == count:
        side = int(output.shape[1] ** 0.5)
        tokens = output[:, output.shape[1] - side * side :]
        return tokens.transpose(1, 2).unflatten(2, (side, side))
    raise RewardModelError(
        f'layer {layer!r} gives shape {tuple(output.shape)}; name one that gives a map [N, C, h, w] or '
        'tokens [N, L, C]'
    )
