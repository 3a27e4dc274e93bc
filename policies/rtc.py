# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: the next chunk continues what the robot is doing while that chunk is being planned.

While a policy plans, the robot follows the chunk before. The first ``delay`` rows of the new chunk will be
past when it arrives; they, and with falling weight the rows after them, are held to the previous chunk, so
that the motion goes on without a jump (arXiv 2506.07339). Guidance treats the velocity as a constant when it
is differentiated (identity Jacobian): no backward pass, and an element-wise formula that exports to ONNX.
Policies trained with clean leading rows (arXiv 2512.05964) are given those rows instead of being steered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # what plans needs torch, what executes does not
    import torch

Mode = Literal['none', 'hard', 'soft', 'trained']
MODES: tuple[Mode, ...] = ('none', 'hard', 'soft', 'trained')


@dataclass(frozen=True)
class RtcConfig:
    """How a chunk continues the one before.

    Attributes:
        mode: ``none``; ``hard`` steers the rows that will be past, ``soft`` the following ones too, with
            falling weight; ``trained`` gives the rows that will be past as they are, to a policy that was
            trained for it (``PolicyConfig.max_delay``).
        max_weight: limit of the guidance weight (beta of the paper).
    """

    mode: Mode = 'soft'
    max_weight: float = 5.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f'no real-time chunking mode {self.mode!r}; use one of {list(MODES)}')
        if not (math.isfinite(self.max_weight) and self.max_weight > 0):
            raise ValueError(f'max_weight is {self.max_weight}; give a positive number')


@dataclass(frozen=True)
class PreviousChunk:
    """What the robot follows while the next chunk is planned.

    Attributes:
        actions: [overlap, A] raw units: the rows of the active chunk from the new observation's stamp on.
            Row i is the target at stamp + (i + 1) * dt, as in the new chunk.
        delay: rows that are expected to be past when the new chunk arrives, 0 to overlap.
    """

    actions: np.ndarray
    delay: int

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or not np.all(np.isfinite(self.actions)):
            raise ValueError(
                f'previous actions are {self.actions.shape} or not finite; give finite [rows, A]'
            )
        if not 0 <= self.delay <= len(self.actions):
            raise ValueError(
                f'a delay of {self.delay} rows with {len(self.actions)} rows of the previous chunk'
            )


def row_weights(mode: Mode, delay: int, overlap: int, horizon: int) -> np.ndarray:
    """Weights [horizon] with which rows are held to the previous chunk (equation 5 of arXiv 2506.07339).

    1 for rows that will be past, then falling exponentially to 0 at the end of the overlap.
    """
    row, delay = np.arange(horizon), min(delay, overlap)
    weights = (row < delay).astype(np.float64)
    if mode == 'soft':
        share = (overlap - row) / (overlap - delay + 1)
        weights = np.where((row >= delay) & (row < overlap), share * np.expm1(share) / math.expm1(1), weights)
    return weights


@dataclass
class Guidance:
    """What steers the integration of a batch of chunks; all tensors in the expert's space.

    Attributes:
        target: [B, H, A], where the rows are held; anything where weight is 0 and ``fixed`` is false.
        weights: [B, H] of the steering.
        fixed: bool [B, H], rows given clean, at time 0.
        max_weight: see RtcConfig.
    """

    target: torch.Tensor
    weights: torch.Tensor
    fixed: torch.Tensor
    max_weight: float = 5.0

    @classmethod
    def of(cls, target: torch.Tensor, delay: int, overlap: int, config: RtcConfig) -> Guidance:
        """Guidance towards ``target`` [B, H, A], of which ``overlap`` rows are of the previous chunk."""
        batch, horizon = target.shape[:2]
        trained = config.mode == 'trained'
        rows = 0 if trained or config.mode == 'none' else overlap
        weights = row_weights(config.mode, delay if rows else 0, rows, horizon)
        fixed = np.arange(horizon) < (delay if trained else 0)
        return cls(
            target,
            target.new_tensor(weights).expand(batch, horizon),
            target.new_tensor(fixed).bool().expand(batch, horizon),
            config.max_weight,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Guidance]) -> Guidance:
        """One batch of several; the largest ``max_weight`` is that of all."""
        import torch

        target, weights, fixed = (
            torch.cat([getattr(part, name) for part in parts]) for name in ('target', 'weights', 'fixed')
        )
        return cls(target, weights, fixed, max(part.max_weight for part in parts))

    def repeat(self, n: int) -> Guidance:
        """Each chunk ``n`` times in a row: [B] becomes [B * n]."""
        target, weights, fixed = (x.repeat_interleave(n, 0) for x in (self.target, self.weights, self.fixed))
        return Guidance(target, weights, fixed, self.max_weight)

    def hold(self, x: torch.Tensor, time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Chunks [B, H, A] and per-row times [B, H] with the fixed rows clean."""
        return x.where(~self.fixed[..., None], self.target), time.masked_fill(self.fixed, 0.0)

    def steer(self, velocity: torch.Tensor, x: torch.Tensor, t: float) -> torch.Tensor:
        """The velocity [B, H, A] at time ``t``, corrected towards the target."""
        # (1 - tau) / (tau * r^2) of the paper, with tau = 1 - t
        strength = self.max_weight if t >= 1 else min(self.max_weight, ((1 - t) ** 2 + t**2) / (t * (1 - t)))
        error = (self.target - (x - t * velocity)) * self.weights[..., None]
        return velocity - strength * error
