# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Steps and their features from 5 to 12 successful clips without labels (arXiv 1612.06699)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from apprentice.reward_models.base import Episodes, RewardModelError
from apprentice.reward_models.files import write_sealed
from apprentice.reward_models.perceptual.features import FrameFeatures
from apprentice.reward_models.perceptual.reward import CONFIG, WEIGHTS, StepModel
from apprentice.reward_models.perceptual.steps import discover_steps, step_of_frames
from apprentice.robot.files import replacing

ALPHA, CHOSEN = 5.0, 32  # of the paper: weight of the distance between means, and features a step keeps
FLOOR = 0.1  # least deviation, in those of all frames: a feature that never moved must not decide alone


def select_features(
    z: np.ndarray, labels: np.ndarray, count: int, chosen: int = CHOSEN
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The features that tell each step best: alpha |mu+ - mu-| - (sigma+ + sigma-), largest first.

    Args:
        z: standardised features [N, F] of all frames.
        labels: int [N], the step of each.
        count: steps.
        chosen: features to keep for a step.

    Returns:
        (chosen [K, n], mean [K, n], std [K, n]).
    """
    rows, means, stds = [], [], []
    for step in range(count):
        inside, outside = z[labels == step], z[labels != step]
        mean, std = inside.mean(axis=0), inside.std(axis=0)
        apart = np.abs(mean - outside.mean(axis=0)) if len(outside) else np.zeros_like(mean)
        spread = std + (outside.std(axis=0) if len(outside) else 0.0)
        best = np.argsort(-(ALPHA * apart - spread), kind='stable')[:chosen]
        rows.append(best)
        means.append(mean[best])
        stds.append(np.maximum(std[best], FLOOR))
    return np.stack(rows), np.stack(means), np.stack(stds)


def fit_steps(
    videos: list[np.ndarray], count: int, shortest: int = 3, by_length: bool = True, chosen: int = CHOSEN
) -> tuple[StepModel, list[np.ndarray]]:
    """Step model of some videos, features [T, F] each, and the step of every frame.

    Raises RewardModelError without a video, or for one that is too short.
    """
    if not videos:
        raise RewardModelError('no successful clip; a perceptual reward learns from 5 to 12 of them')
    every = np.concatenate(videos).astype(np.float64)
    centre, scale = every.mean(axis=0), np.maximum(every.std(axis=0), 1e-6)
    standard = [(video - centre) / scale for video in videos]
    labels = [step_of_frames(discover_steps(z, count, shortest, by_length), len(z)) for z in standard]
    best, mean, std = select_features(
        np.concatenate(standard), np.concatenate(labels), count, min(chosen, every.shape[1])
    )
    arrays = {'centre': centre, 'scale': scale, 'mean': mean, 'std': std}
    small = {name: value.astype(np.float32) for name, value in arrays.items()}
    model = StepModel({**small, 'chosen': best.astype(np.int64)}, 0.0, 1.0)
    nearest = model.distances(every).min(axis=-1)
    model.typical, model.far = float(np.median(nearest)), float(np.quantile(nearest, 0.95))
    return model, labels


def train_perceptual(
    episodes: Episodes,
    features: FrameFeatures,
    encoder: str,
    folder: Path,
    steps: int = 3,
    shortest: int = 3,
    by_length: bool = True,
) -> dict[str, float]:
    """Learn from the successful episodes and write a folder that :class:`.reward.PerceptualReward` loads.

    Args:
        episodes: of one task; each ends at the moment of success. Failures are left out.
        features: of frames.
        encoder: where the reward finds the encoder again: a path relative to ``folder``, or a name.
        folder: is made; existing files of the same names are replaced.
        by_length: see :func:`discover_steps`; the paper's own is false.
    """
    from safetensors.numpy import save_file

    began = time.monotonic()
    videos = [
        features(frames).reshape(len(frames), -1)
        for frames, success in zip(episodes.frames, episodes.success, strict=True)
        if success
    ]
    model, _ = fit_steps(videos, steps, shortest, by_length)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / WEIGHTS) as temporary:
        save_file({name: np.ascontiguousarray(a) for name, a in model.arrays().items()}, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone
    write_sealed(
        folder / CONFIG,
        {
            'encoder': encoder,
            'encoder_version': features.encoder.version,
            'layer': features.layer,
            'grid': features.grid,
            'cameras': list(episodes.cameras),
            'typical': model.typical,
            'far': model.far,
        },
        folder / WEIGHTS,
    )
    return {
        'seconds': time.monotonic() - began,
        'clips': float(len(videos)),
        'features': float(len(model.centre)),
        'parameters': float(model.chosen.size * 3),
    }
