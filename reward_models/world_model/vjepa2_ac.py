# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""V-JEPA 2-AC as the dynamics of the world-model reward: rank chunks of a robot that was never trained on.

A folder holds ``encoder/`` (VJEPA2Model of transformers) and ``predictor.safetensors``. The published file is
a pickle, which can run code when it is read; convert its part ``predictor`` once, on a machine that may::

    weights = torch.load('vjepa2-ac-vitg.pt', map_location='cpu', weights_only=True)['predictor']
    safetensors.torch.save_file({k: v.contiguous() for k, v in weights.items()}, 'predictor.safetensors')

The encoder is its ViT-g at 256 x 256. Poses are x, y, z (m), Euler angles about fixed x, y, z (rad)
and how far the gripper is closed, 0 to 1; actions are differences of poses, about 0.25 s apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.world_model.ac_predictor import AcPredictor
from apprentice.reward_models.world_model.energy import EnergySettings
from apprentice.reward_models.world_model.features import layer_normed
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.reward_models.world_model.vjepa2 import VJepa2Features
from apprentice.robot.parts import load_part

POSE = 7
ENCODER, PREDICTOR = 'encoder', 'predictor.safetensors'

PoseOf = Callable[[np.ndarray], np.ndarray]


class VJepa2Dynamics:
    """Chunks of joint targets as pose differences, predicted one after the other for every view by itself.

    Args:
        predictor: see :class:`AcPredictor`.
        pose_of: joint positions [..., d] to poses [..., 7]; forward kinematics of the robot.
        rows: of a chunk to one action of the model; 0.25 s divided by the robot's ``action_dt``, rounded.
    """

    def __init__(self, predictor: AcPredictor, pose_of: PoseOf, rows: int):
        if rows < 1:
            raise RewardModelError(f'rows is {rows}; give 0.25 s divided by action_dt, at least 1')
        self.predictor, self._pose_of, self._rows = predictor, pose_of, rows

    def poses(self, state: np.ndarray, chunks: np.ndarray) -> np.ndarray:
        """[N, 1 + steps, 7] from states [N, d] and chunks [N, H, d]; the last row is held to fill a step."""
        missing = -chunks.shape[1] % self._rows
        chunks = np.concatenate([chunks, np.repeat(chunks[:, -1:], missing, axis=1)], axis=1)
        ends = np.concatenate([state[:, None], chunks[:, self._rows - 1 :: self._rows]], axis=1)
        poses = np.asarray(self._pose_of(ends), np.float64)
        if poses.shape != (*ends.shape[:2], POSE):
            raise RewardModelError(
                f'pose_of must give {(*ends.shape[:2], POSE)}: x, y, z, Euler angles, gripper; '
                f'got {poses.shape}'
            )
        return poses

    @torch.inference_mode()
    def predict(self, z: torch.Tensor, state: np.ndarray, chunks: np.ndarray) -> torch.Tensor:
        """Tokens [1, N, V * P, D] after chunks [N, H, d] (rad, m), from layer-normed tokens [N, V * P, D]."""
        poses = self.poses(state, chunks)
        actions = torch.as_tensor(pose_differences(poses), dtype=z.dtype, device=z.device)
        states = torch.as_tensor(poses[:, :-1], dtype=z.dtype, device=z.device)
        cells = self.predictor.config.grid**2
        if z.shape[1] % cells:
            raise RewardModelError(f'{z.shape[1]} tokens are no whole views of {cells}; another encoder?')
        frames = z.unflatten(1, (-1, cells)).flatten(0, 1)[:, None]  # [N * V, 1, P, D]
        views = len(frames) // len(z)
        actions, states = (each.repeat_interleave(views, dim=0) for each in (actions, states))
        for step in range(1, actions.shape[1] + 1):
            after = self.predictor(frames, actions[:, :step], states[:, :step])[:, -1:]
            frames = torch.cat([frames, layer_normed(after)], dim=1)
        return frames[:, -1].unflatten(0, (len(z), views)).flatten(1, 2)[None]

    def deviation(self, chunks: np.ndarray, demonstrated: np.ndarray) -> np.ndarray:
        """Mean |a - a*| [N] over rows and joints, in rad and m: there are no statistics to divide by."""
        return np.abs(chunks - demonstrated).mean(axis=(1, 2)).astype(np.float32)

    def ood(self, z: torch.Tensor, state: np.ndarray, chunks: np.ndarray) -> np.ndarray:
        """NaN [N]: what it was trained on is not known here."""
        return np.full(len(z), np.nan, np.float32)


def pose_differences(poses: np.ndarray) -> np.ndarray:
    """Actions [N, T, 7] between poses [N, T + 1, 7]: offsets, Euler angles of R_next R_now^T, closing."""
    turn = Rotation.from_euler('xyz', poses[..., 3:6].reshape(-1, 3)).as_matrix()
    turn = turn.reshape(*poses.shape[:2], 3, 3)
    between = turn[:, 1:] @ np.swapaxes(turn[:, :-1], -1, -2)
    angles = Rotation.from_matrix(between.reshape(-1, 3, 3)).as_euler('xyz')
    offsets = np.diff(poses, axis=1)
    offsets[..., 3:6] = angles.reshape(offsets[..., 3:6].shape)
    return offsets


def cartesian(positions: np.ndarray) -> np.ndarray:
    """``pose_of`` of robots whose state is the pose already, as in DROID."""
    return positions


def load_vjepa2_ac(
    weights: str | Path,
    cameras: tuple[str, ...],
    pose_of: PoseOf | str,
    rows: int,
    device: str = 'cpu',
    heads: int = 16,
    settings: EnergySettings | None = None,
) -> WorldModelReward:
    """The reward of NORA-1.5 with V-JEPA 2-AC, from a folder.

    Args:
        pose_of: see :class:`VJepa2Dynamics`, or its name ``package.module:function``.
        heads: of the predictor, which leave no trace in the weights; 16 as published.
        settings: weights and scales of the energies. Without scales of your own the energies are added raw.

    Raises RewardModelError, which names what is missing or does not fit.
    """
    from safetensors.torch import load_file

    folder = Path(str(weights)).expanduser()
    file = folder / PREDICTOR
    if not file.is_file() or not (folder / ENCODER).is_dir():
        raise RewardModelError(
            f'{folder} lacks {ENCODER}/ (a VJEPA2Model of transformers) or {PREDICTOR} (converted once, see '
            'apprentice.reward_models.world_model.vjepa2_ac)'
        )
    features = VJepa2Features.load(folder / ENCODER, device)
    try:
        found: dict[str, Any] = load_file(file)
    except Exception as error:  # safetensors raises its own kinds
        raise RewardModelError(f'{file} is not readable: {error}') from error
    predictor = AcPredictor.from_weights(found, features.grid, heads).to(device)
    if predictor.config.dim != features.dim:
        raise RewardModelError(
            f'{file} predicts features of {predictor.config.dim}, the encoder gives {features.dim}; '
            'they are not of one model'
        )
    if predictor.config.action != POSE:
        raise RewardModelError(f'{file} takes actions of {predictor.config.action}, not of {POSE}')
    called = load_part(pose_of) if isinstance(pose_of, str) else pose_of
    dynamics = VJepa2Dynamics(predictor, called, rows)
    return WorldModelReward(
        features, dynamics, settings or EnergySettings(), cameras, features.version, device
    )
