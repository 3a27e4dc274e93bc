# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Folders of world models: configuration, weights, and a hash that ties them together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import open_sealed, read_json, version_of, write_half, write_sealed
from apprentice.reward_models.world_model.energy import EnergySettings
from apprentice.reward_models.world_model.features import load_features
from apprentice.reward_models.world_model.predictor import Predictor, PredictorConfig
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.settings import SettingsError, from_dict

CONFIG = 'world_model.json'
WEIGHTS = 'world_model.safetensors'


def save(
    folder: Path,
    predictor: Predictor,
    settings: EnergySettings,
    features: dict[str, Any],
    cameras: tuple[str, ...],
    about: dict[str, Any],
) -> str:
    """Write a folder that :meth:`WorldModelReward.load` takes; old files stay until new ones are complete.

    Args:
        features: ``part``, ``source`` (a path relative to ``folder``, or a name), ``options``, ``version``.
        about: kept beside, not read.

    Returns the version, see :func:`~apprentice.reward_models.files.read_sealed`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_half(predictor, folder / WEIGHTS)
    config = {
        'features': features,
        'cameras': list(cameras),
        'predictor': predictor.config.to_dict(),
        'energy': asdict(settings),
        'about': about,
    }
    write_sealed(folder / CONFIG, config, folder / WEIGHTS)
    return version_of(read_json(folder / CONFIG))


def load(
    weights: str | Path,
    device: str = 'cpu',
    allow_download: bool = False,
    ahead: int | None = None,
    energy_weights: dict[str, float] | None = None,
    **unknown: Any,
) -> WorldModelReward:
    """Load a folder.

    Args:
        ahead: rows from now to the subgoal, instead of the folder's.
        energy_weights: of the terms, instead of the folder's.

    Raises RewardModelError if files are missing, damaged or of another feature space.
    """
    from safetensors.torch import load_file

    if unknown:
        raise RewardModelError(f'world model: unknown {sorted(unknown)}; known: ahead, energy_weights')
    folder, config, _ = open_sealed(weights, CONFIG, WEIGHTS, 'world model', 'apprentice train world-model')
    try:
        energy = dict(config['energy'])
        if energy_weights is not None:
            energy['weights'] = energy_weights
        if ahead is not None:
            energy['ahead'] = ahead
        settings = from_dict(EnergySettings, energy, 'energy')
        version = version_of({**config, 'energy': energy})  # other options make other scores
        predictor = Predictor(from_dict(PredictorConfig, config['predictor'], 'predictor'))
        cameras = tuple(config['cameras'])
        described = config['features']
    except (KeyError, TypeError, SettingsError) as error:
        raise RewardModelError(f'{folder / CONFIG}: missing or wrong {error}') from None
    features = load_features(described, folder, device, allow_download)
    try:
        state = load_file(folder / WEIGHTS)
        predictor.load_state_dict({name: value.float() for name, value in state.items()})
    except Exception as error:  # safetensors and torch raise their own kinds
        raise RewardModelError(f'{folder / WEIGHTS} does not fit {CONFIG}: {error}') from error
    predictor.eval().requires_grad_(False).to(device)
    return WorldModelReward(features, predictor, settings, cameras, version, device)
