# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Action-conditioned prediction in a frozen feature space, small enough to train and to rank on a CPU.

The recipe is V-JEPA 2-AC's (arXiv 2506.09985): features of a frame, state and action to features of the next
frame, compared after layer norm, and applied again for longer chunks. Here a step is some rows of a chunk and
the context is one frame. A network sees the frame's leading principal components and predicts how they
change; what they do not span stays as it was. It predicts the state as well, because that is not what was
commanded. The published transformer is in :mod:`.ac_predictor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.world_model.familiarity import Familiarity, familiarity_of
from apprentice.reward_models.world_model.features import layer_normed

SMALLEST_SPREAD = 1e-3  # of a principal component that hardly varies


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes and units of a predictor.

    Attributes:
        views: V.
        tokens: K, of all views together.
        dim: D, of a token.
        relative: per joint, whether its targets are taken relative to the measured position.
        state_mean, state_std: of joint positions (rad, m).
        action_mean, action_std: of targets, relative ones as offsets (rad, m).
        rows: of a chunk that one step takes.
        rank: principal components.
        width, layers: of the hidden layers.
        members: of the ensemble.
    """

    views: int
    tokens: int
    dim: int
    relative: tuple[bool, ...]
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    rows: int = 4
    rank: int = 64
    width: int = 256
    layers: int = 2
    members: int = 3

    @property
    def joints(self) -> int:
        return len(self.relative)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Member(nn.Module):
    """One predictor of an ensemble; all arguments and results are normalised."""

    def __init__(self, config: PredictorConfig):
        super().__init__()
        sizes = [config.rank + config.joints * (config.rows + 1), *[config.width] * config.layers]
        hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.GELU())]
        self.hidden = nn.Sequential(*hidden)
        self.change = nn.Linear(sizes[-1], config.rank)
        self.motion = nn.Linear(sizes[-1], config.joints)
        for last in (self.change, self.motion):  # untrained, nothing moves
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, components: torch.Tensor, state: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Components [N, rank], state [N, d], rows [N, R, d] to changes of components and state."""
        x = self.hidden(torch.cat([components, state, rows.flatten(1)], dim=1))
        return self.change(x), self.motion(x)


class Predictor(nn.Module):
    """An ensemble of :class:`Member`, in the units of one robot."""

    centre: torch.Tensor
    basis: torch.Tensor
    spread: torch.Tensor
    state_mean: torch.Tensor
    state_std: torch.Tensor
    action_mean: torch.Tensor
    action_std: torch.Tensor
    relative: torch.Tensor

    def __init__(self, config: PredictorConfig):
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(Member(config) for _ in range(config.members))
        self.familiar = Familiarity(config.views, config.dim, config.joints)
        size = config.tokens * config.dim
        self.register_buffer('centre', torch.zeros(size))
        self.register_buffer('basis', torch.zeros(size, config.rank))
        self.register_buffer('spread', torch.ones(config.rank))
        for name in ('state_mean', 'state_std', 'action_mean', 'action_std', 'relative'):
            values = torch.tensor(getattr(config, name), dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)  # they live in the configuration, once

    def fit_basis(self, z: torch.Tensor) -> None:
        """Principal components of tokens [N, K, D]; before training. Uses torch's random state.

        Raises RewardModelError for fewer frames than components.
        """
        if len(z) < self.config.rank:
            raise RewardModelError(
                f'{len(z)} frames for {self.config.rank} principal components; record more, or lower rank'
            )
        flat = z.flatten(1)
        self.centre.copy_(flat.mean(0))
        self.basis.copy_(torch.svd_lowrank(flat - self.centre, self.config.rank, niter=2)[2])
        self.spread.copy_(((flat - self.centre) @ self.basis).std(0).clamp_min(SMALLEST_SPREAD))

    def normal_state(self, state: torch.Tensor) -> torch.Tensor:
        """Joint positions [..., d] (rad, m) to the members' unit."""
        return (state - self.state_mean) / self.state_std

    def normal_rows(self, rows: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Joint targets [..., R, d] (rad, m) to offsets from the normalised ``state`` [..., d], z-scored."""
        measured = state * self.state_std + self.state_mean
        offset = rows - measured[..., None, :] * self.relative
        return (offset - self.action_mean) / self.action_std

    def step(
        self, member: int, z: torch.Tensor, state: torch.Tensor, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [N, K, D] and normalised states [N, d] after rows [N, rows, d] (rad, m), by one member."""
        components = (z.flatten(1) - self.centre) @ self.basis / self.spread
        change, motion = self.members[member](components, state, self.normal_rows(rows, state))
        moved = (change * self.spread) @ self.basis.T
        return layer_normed(z + moved.view_as(z)), state + motion

    def deviation(self, chunks: np.ndarray, demonstrated: np.ndarray) -> np.ndarray:
        """Mean |a - a*| [N] over rows and joints, in standard deviations; chunks [N, H, d]."""
        std = np.asarray(self.config.action_std)
        return np.abs((chunks - demonstrated) / std).mean(axis=(-1, -2)).astype(np.float32)

    def ood(self, z: torch.Tensor, state: np.ndarray, chunks: np.ndarray) -> np.ndarray:
        """Distance [N] from the training data, see :class:`.familiarity.Familiarity`."""
        begin = self.normal_state(torch.as_tensor(state, dtype=torch.float32, device=z.device))
        targets = torch.as_tensor(chunks, dtype=torch.float32, device=z.device)
        # later rows are further from the state now than any row in training is from its own
        rows = self.normal_rows(targets[:, : self.config.rows], begin)
        return familiarity_of(self.familiar, z, begin, rows)

    @torch.inference_mode()
    def predict(self, z: torch.Tensor, state: np.ndarray, chunks: np.ndarray) -> torch.Tensor:
        """Tokens [M, N, K, D] after each chunk, by every member.

        Args:
            z: tokens [N, K, D] now.
            state: joint positions [N, d] now (rad, m).
            chunks: joint targets [N, H, d] (rad, m). If H is no multiple of ``rows``, the last row is held.
        """
        check_chunks(chunks, state, self.config.joints)
        rows, device = self.config.rows, z.device
        missing = -chunks.shape[1] % rows
        if missing:
            chunks = np.concatenate([chunks, np.repeat(chunks[:, -1:], missing, axis=1)], axis=1)
        targets = torch.as_tensor(chunks, dtype=torch.float32, device=device)
        begin = self.normal_state(torch.as_tensor(state, dtype=torch.float32, device=device))
        ends = []
        for member in range(len(self.members)):
            tokens, joints = z, begin
            for part in targets.split(rows, dim=1):
                tokens, joints = self.step(member, tokens, joints, part)
            ends.append(tokens)
        return torch.stack(ends)


def check_chunks(chunks: np.ndarray, state: np.ndarray, joints: int) -> None:
    """Raise RewardModelError unless chunks [N, H, d] and state [N, d] fit a robot of ``joints`` joints."""
    if chunks.ndim != 3 or chunks.shape[2] != joints or not chunks.shape[1]:
        raise RewardModelError(f'chunks must be [N, H, {joints}] joint targets, got {chunks.shape}')
    if state.shape != (len(chunks), joints):
        raise RewardModelError(f'state must be {(len(chunks), joints)} joint positions, got {state.shape}')
    if not (np.isfinite(chunks).all() and np.isfinite(state).all()):
        raise RewardModelError('chunks and state must be finite; check the policy and the joint states')


def parameters(modules: Sequence[nn.Module]) -> int:
    """Number of trained values."""
    return sum(p.numel() for module in modules for p in module.parameters())
