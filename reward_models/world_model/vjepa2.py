# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The encoder of V-JEPA 2 through transformers: every view as the tokens of one tubelet, layer-normed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.world_model.features import layer_normed

BATCH = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VJepa2Features:
    """A frozen ``VJEPA2Model``; a frame is doubled to fill a tubelet, as V-JEPA 2-AC does.

    Args:
        model: of transformers, with random or loaded weights.
        version: of the weights.
    """

    def __init__(self, model: Any, version: str, device: str = 'cpu'):
        config = model.config
        self.device, self.version = torch.device(device), version
        self.network = model.to(self.device).eval().requires_grad_(False)
        self.size, self._tubelet = int(config.crop_size), int(config.tubelet_size)
        self.grid = self.size // int(config.patch_size)
        self.tokens, self.dim = self.grid**2, int(config.hidden_size)
        self._mean = torch.tensor(MEAN, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(STD, device=self.device).view(1, 3, 1, 1)

    @classmethod
    def load(
        cls, source: str | Path, device: str = 'cpu', allow_download: bool = False, **_: Any
    ) -> VJepa2Features:
        """A folder of transformers (``config.json``, safetensors), or the name of a model on a hub.

        Raises RewardModelError if it is not here and may not be fetched, or is another kind of model;
        ImportError without transformers.
        """
        try:
            from transformers import VJEPA2Model
        except ImportError as error:
            raise ImportError(
                f"V-JEPA 2 needs transformers ({error}); pip install 'apprentice[vla]'"
            ) from error
        path = Path(str(source)).expanduser()
        if not path.is_dir() and not allow_download:
            raise RewardModelError(
                f'V-JEPA 2 weights {source} are no folder of this machine and nothing is downloaded unasked; '
                'set allow_download, or give a folder with config.json and model.safetensors'
            )
        try:
            model = VJEPA2Model.from_pretrained(
                str(path if path.is_dir() else source),
                local_files_only=not allow_download,
                use_safetensors=True,
                dtype=torch.float32,
            )
        except Exception as error:  # transformers raises whatever its parts raise
            raise RewardModelError(f'V-JEPA 2 model {str(source)!r} cannot be loaded: {error}') from error
        return cls(model, _version(path, source), device)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] to float32 [..., grid * grid, D]; frames are resized to a square."""
        if frames.dtype != np.uint8 or frames.ndim < 3 or frames.shape[-1] != 3:
            raise RewardModelError(f'frames must be uint8 [..., H, W, 3], got {frames.dtype} {frames.shape}')
        flat = frames.reshape(-1, *frames.shape[-3:])
        parts = []
        with torch.inference_mode():
            for start in range(0, len(flat), BATCH):
                images = torch.from_numpy(np.ascontiguousarray(flat[start : start + BATCH])).to(self.device)
                images = images.permute(0, 3, 1, 2).float().div_(255.0)
                if images.shape[-2:] != (self.size, self.size):
                    images = torch.nn.functional.interpolate(
                        images, (self.size, self.size), mode='bilinear', antialias=True
                    )
                clip = ((images - self._mean) / self._std)[:, None].repeat(1, self._tubelet, 1, 1, 1)
                found = self.network(pixel_values_videos=clip, skip_predictor=True).last_hidden_state
                parts.append(layer_normed(found.float()).cpu().numpy())
        return np.concatenate(parts).reshape(*frames.shape[:-3], *parts[0].shape[1:])


def _version(path: Path, source: str | Path) -> str:
    """Hash over names, sizes and headers of the weights: a giant is not read twice."""
    digest = hashlib.sha256()
    files = sorted(path.glob('*.safetensors')) if path.is_dir() else []
    for file in files:
        digest.update(f'{file.name} {file.stat().st_size}'.encode())
        with file.open('rb') as stream:
            digest.update(stream.read(1 << 20))
    if not files:
        digest.update(str(source).encode())
    return digest.hexdigest()[:12]
