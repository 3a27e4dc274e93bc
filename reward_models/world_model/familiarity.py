# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How far an observation and a chunk are from what a world model was trained on."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn

GROUPS = ('features', 'state', 'chunk')
SMALLEST_STD = 1e-3  # of a feature or joint that hardly varies


class Familiarity(nn.Module):
    """Root mean square z-score of pooled tokens, of the state and of the chunk; the largest counts.

    Each group is put on one scale: 0 up to its median on known data, 1 at its 95th percentile. It sees
    strange lighting, another scene, joints or offsets out of range; it does not see a familiar set of
    features in an unfamiliar combination.

    Args:
        views: V.
        dim: D of a token.
        joints: d.
    """

    def __init__(self, views: int, dim: int, joints: int):
        super().__init__()
        self._views = views
        for name, size in zip(GROUPS, (views * dim, joints, joints), strict=True):
            self.register_buffer(f'{name}_mean', torch.zeros(size))
            self.register_buffer(f'{name}_std', torch.ones(size))
            self.register_buffer(f'{name}_scale', torch.tensor([0.0, 1.0]))

    def fit(self, z: torch.Tensor, state: torch.Tensor, rows: torch.Tensor) -> None:
        """From known tokens [N, K, D], normalised state [N, d] and rows [N, R, d]."""
        for name, values in self._groups(z, state, rows).items():
            mean, std = values.mean(dim=(0, 1)), values.std(dim=(0, 1)).clamp_min(SMALLEST_STD)
            self.get_buffer(f'{name}_mean').copy_(mean)
            self.get_buffer(f'{name}_std').copy_(std)
            distance = self._distance(name, values)
            middle, high = torch.quantile(distance, torch.tensor([0.5, 0.95], device=distance.device))
            scale = torch.stack([middle, torch.maximum(high, middle + SMALLEST_STD)])
            self.get_buffer(f'{name}_scale').copy_(scale)

    def forward(self, z: torch.Tensor, state: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """0 inside, 1 at the 95th percentile of known data, more beyond; [N], arguments as in fit."""
        found = []
        for name, values in self._groups(z, state, rows).items():
            middle, high = self.get_buffer(f'{name}_scale')
            found.append((self._distance(name, values) - middle) / (high - middle))
        return torch.stack(found).amax(dim=0).clamp_min(0.0)

    def _groups(self, z: torch.Tensor, state: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = z.unflatten(1, (self._views, -1)).mean(dim=2).flatten(1)
        return {'features': pooled[:, None], 'state': state[:, None], 'chunk': rows}

    def _distance(self, name: str, values: torch.Tensor) -> torch.Tensor:
        z = (values - self.get_buffer(f'{name}_mean')) / self.get_buffer(f'{name}_std')
        return z.pow(2).mean(dim=(1, 2)).sqrt()


def familiarity_of(model: nn.Module, z: torch.Tensor, state: torch.Tensor, rows: torch.Tensor) -> np.ndarray:
    """:class:`Familiarity` as float32 [N]."""
    with torch.inference_mode():
        return cast(torch.Tensor, model(z, state, rows)).cpu().numpy().astype(np.float32)
