# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Staged reward of a few successful videos (Unsupervised Perceptual Rewards, arXiv 1612.06699).

For each step k the few features that tell its frames from all others are taken as Gaussian. The paper prints
sum((a - mu)^2 / sigma) and calls it a log-probability; it is a distance, and sigma is not squared. Here ::

    R_k = exp(-mean((a - mu_k)^2 / sigma_k^2) / 2)          in [0, 1]
    progress = sum_{k >= 2} 2^(k - 1) R_k / sum_{k >= 2} 2^(k - 1)

so that a later step is worth more than all before it together, as in the journal version's weights.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.files import open_sealed
from apprentice.reward_models.perceptual.features import FrameFeatures
from apprentice.robot.types import RewardKind

CONFIG = 'perceptual.json'
WEIGHTS = 'perceptual.safetensors'
NAMES = ('centre', 'scale', 'chosen', 'mean', 'std')


class StepModel:
    """Which features tell each step, and how they are distributed in it.

    Attributes:
        centre, scale: float32 [F], of all training frames.
        chosen: int64 [K, n], the features of each step.
        mean, std: float32 [K, n], of the standardised features within the step.
        typical, far: median and 95th percentile of the training frames' distance to their nearest step.
    """

    def __init__(self, arrays: dict[str, np.ndarray], typical: float, far: float):
        self.centre, self.scale, self.chosen, self.mean, self.std = (arrays[name] for name in NAMES)
        self.typical, self.far = typical, far

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in NAMES}

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Mean squared deviation from each step, in its own standard deviations: [..., F] to [..., K]."""
        z = (features - self.centre) / self.scale
        near = (z[..., self.chosen] - self.mean) / self.std
        return np.mean(near * near, axis=-1)

    def step_rewards(self, features: np.ndarray) -> np.ndarray:
        """R_k in [0, 1], [..., F] to [..., K]."""
        return np.exp(-0.5 * self.distances(features))

    def progress(self, features: np.ndarray) -> np.ndarray:
        """[..., F] to [...], in [0, 1]."""
        rewards = self.step_rewards(features)[..., 1:]
        weight = 2.0 ** np.arange(1, rewards.shape[-1] + 1)
        return rewards @ (weight / weight.sum())

    def likely_step(self, features: np.ndarray) -> np.ndarray:
        """Number of the step a frame looks most like, [..., F] to int [...]."""
        return np.argmin(self.distances(features), axis=-1)


class PerceptualReward:
    """Progress by steps that were found in a few videos; knows no instruction, only what it was shown.

    Trained by `apprentice train perceptual`. ``done_prob`` is the last step's reward, not calibrated.
    """

    kind = RewardKind.ABS_PROGRESS
    model = 'perceptual'

    def __init__(
        self, features: FrameFeatures, steps: StepModel, cameras: tuple[str, ...], version: str = ''
    ):
        self.features, self.steps, self.version = features, steps, version
        self.needs = Needs(text=False, cameras=cameras)

    @classmethod
    def load(
        cls, weights: str | Path, device: str = 'cpu', allow_download: bool = False, **_: Any
    ) -> PerceptualReward:
        """Load a folder that :func:`.train.train_perceptual` wrote.

        Raises RewardModelError if files are missing or do not belong together, or if the encoder is not the
        one it was trained with.
        """
        from safetensors.numpy import load_file

        folder, config, version = open_sealed(
            weights, CONFIG, WEIGHTS, 'perceptual reward', 'apprentice train perceptual'
        )
        try:
            source, encoder_version = config['encoder'], config['encoder_version']
            cameras, grid, layer = tuple(config['cameras']), int(config['grid']), str(config['layer'])
            typical, far = float(config['typical']), float(config['far'])
            local = folder / source
            features = FrameFeatures.load(
                local if local.exists() else source, device, allow_download, layer, grid
            )
            arrays = load_file(folder / WEIGHTS)
            steps = StepModel({name: arrays[name] for name in NAMES}, typical, far)
        except (KeyError, TypeError) as error:
            raise RewardModelError(f'{folder / CONFIG}: missing or wrong {error}') from None
        if features.encoder.version != encoder_version:
            raise RewardModelError(
                f'perceptual reward {folder} was trained on the encoder {encoder_version}, but {source} is '
                f'{features.encoder.version}; train it again with `apprentice train perceptual`'
            )
        return cls(features, steps, cameras, version)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.features(frames)

    def negatives(self, text: str) -> list[str]:
        return []

    def score(self, request: ScoreRequest) -> Score:
        """Progress of every frame; all of the trained views must be there."""
        began = time.perf_counter()
        b, t, v = request.check()
        if v != len(self.needs.cameras):
            raise RewardModelError(f'this reward needs the views {self.needs.cameras}, got {v}')
        emb = request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]
        flat = emb.reshape(b, t, -1)
        if flat.shape[-1] != len(self.steps.centre):
            raise RewardModelError(
                f'features have {flat.shape[-1]} numbers a moment, this reward was trained on '
                f'{len(self.steps.centre)}; make them with its own encode'
            )
        per_frame = self.steps.progress(flat).astype(np.float32)
        nearest = self.steps.distances(flat[:, -1]).min(axis=-1)
        ood = np.maximum(nearest - self.steps.typical, 0.0) / max(self.steps.far - self.steps.typical, 1e-9)
        present = np.ones(b, bool) if request.mask is None else request.mask[:, -1].all(axis=-1)
        unknown = np.full(b, np.nan, np.float32)
        return Score(
            kind=self.kind,
            value=per_frame[:, -1].copy(),
            std=unknown,
            done_prob=self.steps.step_rewards(flat[:, -1])[:, -1].astype(np.float32),
            margin=unknown,
            valid=np.isfinite(per_frame[:, -1]) & present,
            model=self.model,
            version=self.version,
            per_frame=per_frame,
            latency_ms=(time.perf_counter() - began) * 1e3,
            ood=ood.astype(np.float32),
        )
