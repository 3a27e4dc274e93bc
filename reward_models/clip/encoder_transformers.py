# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""CLIP and SigLIP models in the format of transformers, made to look like open_clip's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from apprentice.reward_models.base import RewardModelError

MODEL_TYPES = ('clip', 'siglip', 'siglip2')


def is_transformers_folder(folder: Path) -> bool:
    """Whether a folder holds a CLIP or SigLIP model as transformers saves them."""
    try:
        return json.loads((folder / 'config.json').read_text()).get('model_type') in MODEL_TYPES
    except (OSError, ValueError):
        return False


def load_transformers(folder: Path) -> tuple[nn.Module, Any]:
    """Model and tokenizer as :class:`~.encoder.ClipEncoder` takes them.

    Raises RewardModelError if files are missing, ImportError without transformers.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ImportError("transformers is not installed; run: pip install 'apprentice[vla]'") from error
    try:
        model, report = transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        images = transformers.AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise RewardModelError(f'{folder} does not load as a CLIP model: {error}') from error
    if report['missing_keys']:  # transformers would go on with random numbers
        lost = sorted(report['missing_keys'])
        raise RewardModelError(f'{folder} lacks {len(lost)} weights, such as {lost[0]}; copy it again')
    return _Towers(model, images), _Tokens(tokenizer, model.config.text_config.max_position_embeddings)


class _Tokens:
    def __init__(self, tokenizer: Any, length: int):
        self._tokenizer, self._length = tokenizer, length

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """int64 [N, L], padded to the length the model was trained with."""
        made = self._tokenizer(
            texts, padding='max_length', truncation=True, max_length=self._length, return_tensors='pt'
        )
        return made['input_ids']


class _Image(nn.Module):
    """The image tower with its projection; ``preprocess_cfg`` is what open_clip's transforms need."""

    def __init__(self, model: Any, images: Any):
        super().__init__()
        self.model: Any = model
        size = dict(images.size)
        square = 'height' in size
        crop = getattr(images, 'crop_size', None)
        if crop is not None and getattr(images, 'do_center_crop', False):
            size = dict(crop)
        side = (size['height'], size['width']) if 'height' in size else (size['shortest_edge'],) * 2
        self.image_size = side
        self.preprocess_cfg = {
            'size': side,
            'mode': 'RGB',
            'mean': tuple(images.image_mean),
            'std': tuple(images.image_std),
            'interpolation': 'bicubic',
            'resize_mode': 'squash' if square else 'shortest',
            'fill_color': 0,
        }

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return _features(self.model.get_image_features(pixel_values=pixels))


class _Towers(nn.Module):
    def __init__(self, model: Any, images: Any):
        super().__init__()
        self.visual = _Image(model, images)
        self.model: Any = model

    @property
    def logit_scale(self) -> torch.Tensor:
        return self.model.logit_scale

    def encode_image(self, pixels: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        features = self.visual(pixels)
        return nn.functional.normalize(features, dim=-1) if normalize else features

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        features = _features(self.model.get_text_features(input_ids=tokens))
        return nn.functional.normalize(features, dim=-1) if normalize else features


def _features(out: Any) -> torch.Tensor:
    """Newer versions of transformers return an output object instead of the tensor."""
    return out if isinstance(out, torch.Tensor) else out.pooler_output
