# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reward models of ours with the call that LeRobot makes: ``compute_reward(batch) -> (B,)``.

As in ``lerobot.rewards.pretrained`` (2026). A batch holds ``observation.images.<camera>`` float [B, C, H, W]
in [0, 1], or [B, T, C, H, W], and ``task`` as a list of texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from apprentice.reward_models.base import Calibrator, PairCritic, RewardModel, RewardModelError, ScoreRequest
from apprentice.robot.resize import resize

IMAGE = 'observation.images.'


class ForLeRobot(torch.nn.Module):
    """A reward model of ours with the calls of LeRobot's ``PreTrainedRewardModel``; not trainable there.

    Args:
        model: any of ours. A pair critic compares the first frame of a sequence with the last.
        calibrator: return the potential instead of the raw value; None: raw, in the model's unit.
        cameras: our camera -> LeRobot's feature; others are ``observation.images.<camera>``.
        text: the instruction where a batch holds none.
    """

    def __init__(
        self,
        model: RewardModel,
        calibrator: Calibrator | None = None,
        cameras: Mapping[str, str] | None = None,
        text: str = '',
    ):
        super().__init__()
        if calibrator is not None and isinstance(model, PairCritic):
            raise RewardModelError('the score of a pair is no potential; leave the calibrator out')
        self.model, self.calibrator, self.text = model, calibrator, text
        self.name = model.model
        self._cameras = dict(cameras or {})

    @property
    def is_trainable(self) -> bool:
        return False

    def reset(self) -> None:
        """Nothing is kept between calls."""

    @torch.no_grad()
    def compute_reward(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Float32 (B,), NaN where the score is not valid.

        Raises RewardModelError naming the features a batch lacks.
        """
        names = self.model.needs.cameras or tuple(
            key.removeprefix(IMAGE) for key in sorted(batch) if key.startswith(IMAGE)
        )
        keys = [self._cameras.get(name, f'{IMAGE}{name}') for name in names]
        missing = [key for key in keys if key not in batch]
        if missing or not keys:
            raise RewardModelError(
                f'the batch has no {missing or IMAGE + "<camera>"}; it has {sorted(batch)}; give cameras: '
                'our name -> the feature'
            )
        views = [_frames(batch[key], key) for key in keys]
        height, width = views[0].shape[2:4]
        frames = np.stack([resize(view, (height, width), 'stretch') for view in views], axis=2)
        text = self._texts(batch, len(frames))
        request = ScoreRequest(text=text, frames=frames)
        if isinstance(self.model, PairCritic):
            if frames.shape[1] < 2:
                raise RewardModelError(
                    'a pair critic needs two frames or more: give observations [B, T, C, H, W] '
                    '(delta_timestamps of the dataset)'
                )
            request = ScoreRequest(text=text, frames=frames[:, [0, -1]])
            score = self.model.delta(request)
        else:
            score = self.model.score(request)
        value = score.value if self.calibrator is None else self.calibrator.to_potential(score, text)[0]
        value = np.where(score.valid, value, np.nan)
        device = batch[keys[0]].device if isinstance(batch[keys[0]], torch.Tensor) else 'cpu'
        return torch.as_tensor(value, dtype=torch.float32, device=device)

    def _texts(self, batch: Mapping[str, Any], count: int) -> list[str]:
        task = batch.get('task', self.text)
        texts = [task] * count if isinstance(task, str) else [str(item) for item in task]
        if len(texts) != count or not all(texts):
            raise RewardModelError(f'the batch needs {count} texts under "task", or give text')
        return texts


def _frames(value: Any, key: str) -> np.ndarray:
    """uint8 [B, T, H, W, 3] of a feature float [B, (T,) C, H, W] in [0, 1]."""
    array = value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    array = array[:, None] if array.ndim == 4 else array
    if array.ndim != 5 or array.shape[2] != 3:
        raise RewardModelError(f'{key} must be [B, C, H, W] or [B, T, C, H, W] with C = 3, got {array.shape}')
    if array.dtype != np.uint8:
        if array.size and not (array.min() >= -1e-3 and array.max() <= 1 + 1e-3):
            raise RewardModelError(
                f'{key} lies in [{array.min():.2g}, {array.max():.2g}], not in [0, 1]; call the reward '
                'before the images are normalised'
            )
        array = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(array, 2, -1))
