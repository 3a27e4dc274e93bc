# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The predictor of V-JEPA 2-AC (Assran et al. 2025, arXiv 2506.09985), for its published weights.

Written from the public repository (facebookresearch/vjepa2 at c2963a4, MIT), with its names
of weights and its conventions, among them a rotary embedding whose sines repeat in blocks while its pairs are
neighbours.

A frame is grid x grid tokens behind one action and one state token. All tokens of a frame see each other and
all of the frames before. Positions turn three thirds of each head: time, row, column; action and state by
time alone. The output at a frame's tokens is the prediction of the next frame's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import nn

from apprentice.reward_models.base import RewardModelError

CONDITIONS = 2  # action and state, in this order, before the tokens of each frame
EPSILON = 1e-6
_PREFIXES = ('module.', 'backbone.', 'predictor.')


@dataclass(frozen=True)
class AcConfig:
    """Sizes. The defaults are those of the published ViT-g/16 model at 256 x 256.

    Attributes:
        dim: D of the encoder's tokens.
        grid: side of the square of tokens of one frame.
        width, depth, heads: of the predictor.
        action: length of actions and states.
    """

    dim: int = 1408
    grid: int = 16
    width: int = 1024
    depth: int = 24
    heads: int = 16
    action: int = 7

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], grid: int = 16, heads: int = 16) -> AcConfig:
        """Sizes as the weights have them; grid and heads leave no trace there.

        Raises RewardModelError if these are no weights of a V-JEPA 2-AC predictor.
        """
        try:
            width, dim = weights['predictor_embed.weight'].shape
            action = weights['action_encoder.weight'].shape[1]
        except KeyError as error:
            raise RewardModelError(
                f'these are no weights of a V-JEPA 2-AC predictor: {error} is missing; take the part '
                '"predictor" of the published file'
            ) from None
        numbers = {int(name.split('.')[1]) for name in weights if name.startswith('predictor_blocks.')}
        return cls(dim, grid, width, len(numbers), heads, action)

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width // self.heads < 6:
            raise RewardModelError(f'{self.heads} heads do not divide a width of {self.width}; give heads')


def plain_names(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names without the prefixes that training in parallel leaves."""
    found = {}
    for name, value in weights.items():
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        found[name] = value
    return found


def turned(x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x [B, heads, N, C], C even, at ``position`` [N]."""
    half = x.shape[-1] // 2
    frequency = 1.0 / 10000 ** (torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angle = (position[:, None] * frequency).repeat(1, 2)  # in blocks, as the weights were trained
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    crossed = torch.stack((-second, first), dim=-1).flatten(-2)
    return x * angle.cos() + crossed * angle.sin()


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self._heads, self._third = heads, 2 * ((width // heads // 3) // 2)

    def forward(self, x: torch.Tensor, place: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            self._turn(q, place), self._turn(k, place), v, attn_mask=mask
        )
        return self.proj(attended.transpose(1, 2).flatten(2))

    def _turn(self, x: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        third = self._third
        parts = [turned(x[..., i * third : (i + 1) * third], place[:, i]) for i in range(3)]
        return torch.cat([*parts, x[..., 3 * third :]], dim=-1)


class _Mlp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=EPSILON) for _ in range(2))
        self.attn, self.mlp = _Attention(width, heads), _Mlp(width)

    def forward(self, x: torch.Tensor, place: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x), place, mask)
        return x + self.mlp(self.norm2(x))


class AcPredictor(nn.Module):
    """Frames, actions and states to the frames after them."""

    def __init__(self, config: AcConfig):
        super().__init__()
        width = config.width
        self.config = config
        self.predictor_embed = nn.Linear(config.dim, width)
        self.action_encoder = nn.Linear(config.action, width)
        self.state_encoder = nn.Linear(config.action, width)
        # of cameras' poses; in the published file, not used by the published model
        self.extrinsics_encoder = nn.Linear(config.action - 1, width)
        self.predictor_blocks = nn.ModuleList(_Block(width, config.heads) for _ in range(config.depth))
        self.predictor_norm = nn.LayerNorm(width, eps=EPSILON)
        self.predictor_proj = nn.Linear(width, config.dim)

    @classmethod
    def from_weights(
        cls, weights: Mapping[str, torch.Tensor], grid: int = 16, heads: int = 16
    ) -> AcPredictor:
        """A predictor of the sizes of ``weights``. Raises RewardModelError if they do not fit."""
        weights = plain_names(weights)
        predictor = cls(AcConfig.of(weights, grid, heads))
        try:
            predictor.load_state_dict({name: value.float() for name, value in weights.items()})
        except RuntimeError as error:
            raise RewardModelError(f'these weights do not fit a V-JEPA 2-AC predictor: {error}') from error
        return predictor.eval().requires_grad_(False)

    def forward(self, tokens: torch.Tensor, actions: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Tokens [B, T, grid * grid, D] of T frames, actions and states [B, T, 7], to the next."""
        frames = tokens.shape[1]
        conditions = torch.stack([self.action_encoder(actions), self.state_encoder(states)], dim=2)
        x = torch.cat([conditions, self.predictor_embed(tokens)], dim=2)
        block = x.shape[2]
        x = x.flatten(1, 2)
        place, mask = self._places(frames, x), self._mask(frames, block, x.device)
        for layer in self.predictor_blocks:
            x = layer(x, place, mask)
        x = x.unflatten(1, (frames, block))[:, :, CONDITIONS:]
        return self.predictor_proj(self.predictor_norm(x))

    def _places(self, frames: int, like: torch.Tensor) -> torch.Tensor:
        """Time, row and column [N, 3] of every token; 0 where a token has none."""
        grid = self.config.grid
        side = torch.arange(grid, dtype=like.dtype, device=like.device)
        cells = torch.stack([side.repeat_interleave(grid), side.repeat(grid)], dim=1)
        one = torch.cat([cells.new_zeros(CONDITIONS, 2), cells])
        times = torch.arange(frames, dtype=like.dtype, device=like.device).repeat_interleave(len(one))
        return torch.cat([times[:, None], one.repeat(frames, 1)], dim=1)

    @staticmethod
    def _mask(frames: int, block: int, device: torch.device) -> torch.Tensor:
        """bool [N, N]: a token sees its own frame and those before."""
        time = torch.arange(frames, device=device).repeat_interleave(block)
        return time[None, :] <= time[:, None]
