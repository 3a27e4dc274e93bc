# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A small backbone trained in simulation: language-modulated convolutions, then a transformer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from apprentice.policies import text as words
from apprentice.policies.layers import feed_forward, merge_heads, split_heads
from apprentice.policies.prefix import Prefix
from apprentice.robot.settings import at_least

_AT_A_TIME = 32  # pictures that are downsampled together


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of :class:`TinyBackbone`.

    Attributes:
        channels: the stages of the image stem: patches of 4 x 4 pixels, then convolutions of stride 2.
        max_side: pixels of the longer side of a picture; a larger one is downsampled by a whole number first.
            A token is 16 x 16 pixels of what is left, and all tokens attend to all. 0: never, as in policies
            that were stored before this was a setting.
    """

    part: ClassVar[str] = 'apprentice.policies.backbones.tiny:TinyBackbone'
    width: int = 128
    layers: int = 2
    heads: int = 4
    channels: tuple[int, ...] = (48, 64, 96)
    max_side: int = 128

    def __post_init__(self) -> None:
        at_least(self, 0, 'max_side')

    def shrink(self, height: int, width: int) -> int:
        """How many pixels one way become one."""
        return -(-max(height, width) // self.max_side) if self.max_side else 1

    @torch.no_grad()
    def downsample(self, images: np.ndarray) -> np.ndarray:
        """See :class:`~apprentice.policies.prefix.Backbone`; pictures that are small enough stay so."""
        count, height, width, _ = images.shape
        factor = self.shrink(height, width)
        if factor == 1:
            return images
        small = np.empty((count, height // factor, width // factor, 3), np.uint8)
        for first in range(0, count, _AT_A_TIME):
            part = torch.from_numpy(np.array(images[first : first + _AT_A_TIME])).permute(0, 3, 1, 2)
            mean = functional.avg_pool2d(part.float(), factor).round().to(torch.uint8)
            small[first : first + _AT_A_TIME] = mean.permute(0, 2, 3, 1).numpy()
        return small

    def cells(self, height: int, width: int) -> int:
        """Tokens of a picture."""
        factor, tokens = self.shrink(height, width), 1
        for pixels in (height, width):
            count = pixels // factor // 4
            for _ in self.channels[1:]:
                count = -(-count // 2)
            tokens *= count
        return tokens


class Stem(nn.Module):
    """Image to a grid of tokens. The instruction scales and shifts each stage (FiLM, as in RT-1), so that
    'the red one' is picked out before tokens are formed. [B, 3, h, w] to [B, cells, width].
    """

    def __init__(self, channels: tuple[int, ...], width: int, text_width: int):
        super().__init__()
        sizes = (3, *channels)
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=4) if i == 0 else nn.Conv2d(a, b, 3, stride=2, padding=1)
            for i, (a, b) in enumerate(itertools.pairwise(sizes))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8, c) for c in channels)
        self.films = nn.ModuleList(nn.Linear(text_width, 2 * c) for c in channels)
        self.out = nn.Linear(channels[-1], width)

    def forward(self, image: torch.Tensor, instruction: torch.Tensor) -> torch.Tensor:
        x = image
        for stage, norm, film in zip(self.stages, self.norms, self.films):
            scale, shift = film(instruction)[:, :, None, None].chunk(2, 1)
            x = functional.gelu(norm(stage(x)) * (1 + scale) + shift)
        return self.out(x.flatten(2).transpose(1, 2))


class Block(nn.Module):
    """Pre-norm transformer layer that also returns its keys and values for the expert."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = feed_forward(width, 2)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        q, k, v = (split_heads(p, self.heads) for p in self.qkv(self.norm_attention(x)).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self.out(merge_heads(mixed))
        return x + self.mlp(self.norm_mlp(x)), k, v


class TinyBackbone(nn.Module):
    """Tokens: one per word, one for the state, a grid per camera.

    Args:
        cameras: name -> (height, width); of what is no multiple of 4 the rest is cut off.
        state_dim: size of the state vector.

    Raises ValueError for a camera of which fewer than 4 pixels are left one way.
    """

    Config = TinyConfig

    def __init__(self, cameras: dict[str, tuple[int, int]], state_dim: int, config: TinyConfig):
        super().__init__()
        self.config, self.cameras = config, cameras
        width = config.width
        for name, size in cameras.items():
            if min(size) // config.shrink(*size) < 4:
                raise ValueError(
                    f'camera {name!r} has pictures of {size} pixels, of which fewer than 4 are left one way; '
                    f'give policy.backbone.max_side more than {config.max_side}, or larger pictures'
                )
        self.words = nn.Embedding(words.BUCKETS, width, padding_idx=0)
        self.word_position = nn.Parameter(torch.randn(words.LENGTH, width) * 0.02)
        self.state = nn.Sequential(nn.Linear(state_dim, width), nn.GELU(), nn.Linear(width, width))
        self.stems = nn.ModuleDict({name: Stem(config.channels, width, width) for name in cameras})
        self.place = nn.ParameterDict(
            {
                name: nn.Parameter(torch.randn(config.cells(*size), width) * 0.02)
                for name, size in cameras.items()
            }
        )
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    @property
    def layout(self) -> tuple[int, int, int]:
        return self.config.layers, self.config.heads, self.config.width // self.config.heads

    def encode(self, images: dict[str, torch.Tensor], state: torch.Tensor, text: Sequence[str]) -> Prefix:
        """See :class:`~apprentice.policies.prefix.Backbone`. Raises KeyError for a missing camera."""
        return self.encode_tokens(images, state, self.tokenize(text).to(state.device))

    @staticmethod
    def tokenize(text: Sequence[str]) -> torch.Tensor:
        """Token ids, int64 [B, T]."""
        return words.tokenize(text)

    def encode_tokens(
        self, images: dict[str, torch.Tensor], state: torch.Tensor, ids: torch.Tensor
    ) -> Prefix:
        """As :meth:`encode`, from token ids; this much of it can be exported."""
        known = ids > 0
        embedded = self.words(ids)
        instruction = (embedded * known[..., None]).sum(1) / known.sum(1, keepdim=True).clamp(min=1)
        tokens = [embedded + self.word_position, self.state(state)[:, None]]
        for name, stem in self.stems.items():
            image = images[name].permute(0, 3, 1, 2).to(state.dtype)
            factor = self.config.shrink(*image.shape[2:])
            if factor > 1:
                image = functional.avg_pool2d(image, factor)
            image = image / 127.5 - 1.0
            tokens.append(stem(image.contiguous(), instruction) + self.place[name])
        x = torch.cat(tokens, 1)
        mask = torch.cat([known, known.new_ones(x.shape[0], x.shape[1] - known.shape[1])], 1)
        keys, values = [], []
        for block in self.blocks:
            x, k, v = block(x, mask)
            keys.append(k)
            values.append(v)
        weight = mask[..., None].to(x.dtype)
        pooled = (self.norm(x) * weight).sum(1) / weight.sum(1)
        return Prefix(torch.stack(keys), torch.stack(values), mask, pooled)
