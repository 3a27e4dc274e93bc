# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a progress critic looks through: frozen embeddings of images, and what goes with them of a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.critic import thumbnails
from apprentice.reward_models.critic.instructions import SLOTS, hues, parse, wrong_instructions
from apprentice.reward_models.critic.network import EmbeddingTrunk, GridTrunk

_COMMON = {'the', 'a', *(f'colour{i + 1}' for i in range(SLOTS))}  # words that any request has


class Eye(Protocol):
    """Frozen embeddings and the trunk that fits them."""

    device: torch.device

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 [..., H, W, 3] to float32 [..., D]."""
        ...

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [N, E]."""
        ...

    def unsaid(self, text: torch.Tensor) -> torch.Tensor:
        """What is left of :meth:`text` [N, E] of a request in words that nobody knows."""
        ...

    def heard(self, text: torch.Tensor, forget: float, rng: np.random.Generator) -> torch.Tensor:
        """What is left of :meth:`text` [N, E] if this share of the words is not understood."""
        ...

    def negatives(self, text: str) -> list[str]:
        """Wrong instructions to compare with."""
        ...

    def trunk(self, views: int, width: int) -> nn.Module:
        """A fresh trunk for embeddings of ``views`` cameras."""
        ...

    def config(self) -> dict[str, Any]:
        """What :func:`load_eye` needs to make it again."""
        ...


class ThumbnailEye:
    """Small pictures, maps of named colours, and words counted; see :mod:`.thumbnails`.

    Args:
        words: the vocabulary; other words are not read.
        colours: that things may have, for wrong instructions.
    """

    def __init__(self, words: Sequence[str], colours: Sequence[str], device: str = 'cpu'):
        self.words, self.colours, self.device = tuple(words), tuple(colours), torch.device(device)
        self._index = {word: i for i, word in enumerate(self.words)}

    @classmethod
    def of(cls, texts: Sequence[str], device: str = 'cpu') -> ThumbnailEye:
        """With the vocabulary and the colours of some instructions."""
        parsed = [parse(text) for text in texts]
        words = sorted({word for each in parsed for word in each.words})
        return cls(words, sorted({colour for each in parsed for colour in each.colours}), device)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return thumbnails.encode(frames)

    def text(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.zeros((len(texts), len(self.words)), np.float32)
        for row, text in zip(counts, texts, strict=True):
            row[[self._index[word] for word in parse(text).words if word in self._index]] = 1.0
        return np.concatenate([counts, np.stack([hues(text) for text in texts])], axis=1)

    def unsaid(self, text: torch.Tensor) -> torch.Tensor:
        known = torch.tensor([word in _COMMON for word in self.words], device=text.device)
        return torch.cat([text[:, : len(self.words)] * known, text[:, len(self.words) :]], dim=1)

    def heard(self, text: torch.Tensor, forget: float, rng: np.random.Generator) -> torch.Tensor:
        common = np.array([word in _COMMON for word in self.words])
        kept = common | (rng.random((len(text), len(self.words))) >= forget)
        understood = torch.from_numpy(kept).to(text.device)
        return torch.cat([text[:, : len(self.words)] * understood, text[:, len(self.words) :]], dim=1)

    def negatives(self, text: str) -> list[str]:
        return wrong_instructions(text, self.colours)

    def trunk(self, views: int, width: int) -> nn.Module:
        return GridTrunk(views, len(self.words), width)

    def config(self) -> dict[str, Any]:
        return {'eye': 'thumbnails', 'words': list(self.words), 'colours': list(self.colours)}


class ClipEye:
    """Pooled embeddings of any open_clip model.

    Args:
        clip: its weights stay frozen.
        source: where it will be found again: a path relative to the critic's folder, or a name.
    """

    def __init__(self, clip: ClipReward, source: str):
        self.clip, self.source, self.device = clip, source, clip.encoder.device

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.clip.encode(frames)

    def text(self, texts: Sequence[str]) -> np.ndarray:
        return self.clip.encoder.text(list(texts))

    def unsaid(self, text: torch.Tensor) -> torch.Tensor:
        return text  # a text encoder has an embedding for everything

    def heard(self, text: torch.Tensor, forget: float, rng: np.random.Generator) -> torch.Tensor:
        return text

    def negatives(self, text: str) -> list[str]:
        return self.clip.negatives(text)

    def trunk(self, views: int, width: int) -> nn.Module:
        return EmbeddingTrunk(views, self.clip.encoder.dim, width)

    def config(self) -> dict[str, Any]:
        return {'eye': 'clip', 'encoder': self.source, 'encoder_version': self.clip.version}


def load_eye(config: dict[str, Any], folder: Path, device: str, allow_download: bool = False) -> Eye:
    """The eye of a critic's configuration. Raises RewardModelError if the CLIP weights are other ones."""
    if config['eye'] == 'thumbnails':
        return ThumbnailEye(config['words'], config['colours'], device)
    if config['eye'] != 'clip':
        raise RewardModelError(f'{folder}: eye {config["eye"]!r} is unknown; there are thumbnails and clip')
    source = config['encoder']
    local = folder / source
    clip = ClipReward.load(local if local.exists() else source, device, allow_download)
    if clip.version != config['encoder_version']:
        raise RewardModelError(
            f'critic {folder} was trained on CLIP weights {config["encoder_version"]}, but {source} is '
            f'{clip.version}; train it again with `apprentice train critic --clip {source}`'
        )
    return ClipEye(clip, source)
