# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frozen feature spaces a world model predicts in: a few tokens per view, each layer-normed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as functional

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.clip.encoder import BATCH, ClipEncoder
from apprentice.robot.parts import load_part


class Features(Protocol):
    """A frozen encoder of single views.

    Attributes:
        tokens: P of one view.
        dim: D of one token.
        version: changes when the weights do.
    """

    tokens: int
    dim: int
    version: str

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] RGB to float32 [..., P, D]; every token has mean 0 and variance 1."""
        ...


def layer_normed(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens [..., D] with mean 0 and variance 1, without learned scale, as the targets of V-JEPA 2-AC."""
    return functional.layer_norm(tokens, tokens.shape[-1:])


class ClipMap:
    """The spatial feature map of an open_clip image tower, before it is pooled.

    Where things are is lost in a pooled embedding, and where things are is what an action changes.

    Args:
        encoder: any open_clip model whose image tower gives intermediate maps (ResNet, ViT, timm).
        layer: which one, counted as open_clip does; negative from the end.
        grid: side of the map after averaging; 0 keeps the map's own.
    """

    def __init__(self, encoder: ClipEncoder, layer: int = 4, grid: int = 0):
        self._encoder, self._layer, self._grid = encoder, layer, grid
        self.version = f'{encoder.version}-{layer}-{grid}'
        probe = self.encode(np.zeros((1, *encoder.size, 3), np.uint8))
        self.tokens, self.dim = probe.shape[1:]

    @classmethod
    def load(
        cls, source: str | Path, device: str = 'cpu', allow_download: bool = False, **options: Any
    ) -> ClipMap:
        """``source`` as in :meth:`ClipEncoder.load`. Raises RewardModelError with the remedy."""
        return cls(ClipEncoder.load(source, device, allow_download), **options)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        flat = _flat(frames)
        visual = self._encoder.network.visual
        if not hasattr(visual, 'forward_intermediates'):
            raise RewardModelError(
                f'the image tower of {self._encoder.name!r} gives no intermediate maps; use Pooled instead'
            )
        parts = []
        with torch.inference_mode():
            for start in range(0, len(flat), BATCH):
                images = self._encoder.prepare(flat[start : start + BATCH])
                found = visual.forward_intermediates(
                    images, indices=[self._layer], stop_early=True, intermediates_only=True
                )['image_intermediates'][0]
                if self._grid:
                    found = functional.adaptive_avg_pool2d(found, self._grid)
                parts.append(layer_normed(found.flatten(2).transpose(1, 2).float()).cpu().numpy())
        return np.concatenate(parts).reshape(*frames.shape[:-3], *parts[0].shape[1:])


class Pooled:
    """One token a view, from anything with ``encode(frames) -> [..., D]`` and a ``version``."""

    tokens = 1

    def __init__(self, encoder: Any):
        self._encoder, self.version = encoder, f'{encoder.version}-pooled'
        self.dim = encoder.encode(np.zeros((1, 64, 64, 3), np.uint8)).shape[-1]

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str = 'cpu',
        allow_download: bool = False,
        part: str = 'apprentice.reward_models.clip:ClipReward',
    ) -> Pooled:
        """``part`` names a reward model (``package.module:Class``), ``source`` its weights."""
        return cls(load_part(part).load(source, device, allow_download=allow_download))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        _flat(frames)
        embedding = torch.from_numpy(np.asarray(self._encoder.encode(frames), np.float32))
        return layer_normed(embedding).numpy()[..., None, :]


def load_features(config: dict[str, Any], folder: Path, device: str, allow_download: bool) -> Features:
    """The feature space a world model was trained in, from its configuration.

    Raises RewardModelError if it is another one now.
    """
    source = config['source']
    local = folder / source
    features = load_part(config['part']).load(
        local if local.exists() else source, device, allow_download=allow_download, **config['options']
    )
    if features.version != config['version']:
        raise RewardModelError(
            f'world model {folder} was trained on features {config["version"]}, but {source} gives '
            f'{features.version}; train it again with `apprentice train world-model`'
        )
    return features


def _flat(frames: np.ndarray) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
        raise RewardModelError(f'frames must be uint8 [..., H, W, 3], got {frames.dtype} {frames.shape}')
    return frames.reshape(-1, *frames.shape[-3:])
