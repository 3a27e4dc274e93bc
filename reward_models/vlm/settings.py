# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a vision-language critic's configuration file says, and where its model lies."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import read_json
from apprentice.robot.model_folders import MODELS, search

SETTINGS = 'vlm_critic.json'
_DTYPES = ('', 'float32', 'bfloat16')


@dataclass(frozen=True)
class VlmSettings:
    """Settings of a vision-language critic.

    Attributes:
        model: folder of the model (relative to the settings' file), or its name in the hub's cache.
        wording: 'plain' for any chat model, 'vlac' for the weights of VLAC (arXiv 2509.15937).
        image_size: images are stretched to squares of so many pixels, as VLAC does.
        cameras: views to look at; empty: all that are given, averaged.
        dtype: of the weights; empty: bfloat16 on a GPU, float32 elsewhere.
        batch: sequences that run together.
        frames: frames of an episode that a judge of videos is shown at most.
        prefixes: computed beginnings (instruction and reference) that are kept.
        yes, no, true: the words whose probabilities are read.
        least_mass: a score is valid only if the probability of all accepted answers together is so large;
            a model that wants to say something else gives no number worth reading.
        least_branch: beginnings of a number less probable than this are not followed further.
    """

    model: str = ''
    wording: str = 'plain'
    image_size: int = 448
    cameras: tuple[str, ...] = ()
    dtype: str = ''
    batch: int = 8
    frames: int = 8
    prefixes: int = 16
    yes: str = 'yes'
    no: str = 'no'
    true: str = 'True'
    least_mass: float = 0.1
    least_branch: float = 0.02

    def __post_init__(self) -> None:
        if self.wording not in ('plain', 'vlac'):
            raise RewardModelError(f"wording is {self.wording!r}; use 'plain' or 'vlac'")
        if self.dtype not in _DTYPES:
            raise RewardModelError(f'dtype is {self.dtype!r}; use one of {_DTYPES}')
        for name in ('image_size', 'batch', 'frames', 'prefixes'):
            if getattr(self, name) < 1:
                raise RewardModelError(f'{name} is {getattr(self, name)}; give 1 or more')


def read_settings(weights: str | Path, options: dict[str, Any]) -> tuple[VlmSettings, Path]:
    """Settings, and the folder that may hold reference images.

    Args:
        weights: a folder or file with the settings ({"model": ...}); or the model itself, by folder or name.
        options: override what the file says.

    Raises RewardModelError for a field that does not exist.
    """
    path = Path(str(weights)).expanduser()
    file = path if path.is_file() else path / SETTINGS
    data = read_json(file) if file.is_file() else {'model': str(weights)}
    data = {**data, **{name: value for name, value in options.items() if name != 'alpha'}}
    known = {field.name for field in fields(VlmSettings)}
    if set(data) - known:
        raise RewardModelError(f'{file}: unknown field {sorted(set(data) - known)}; known: {sorted(known)}')
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    try:
        settings = VlmSettings(**given)
    except TypeError as error:
        raise RewardModelError(f'{file}: {error}') from None
    local = file.parent / settings.model
    if file.is_file() and settings.model and local.is_dir():
        settings = replace(settings, model=str(local))
    return settings, file.parent if file.is_file() else path


def find_model(name: str, download: bool = False) -> Path:
    """The folder of a model: a path, a folder below ``APPRENTICE_MODELS``, or in the hub's cache.

    Raises RewardModelError with the places looked at and the remedies; nothing is downloaded unasked.
    """
    if not name:
        raise RewardModelError(
            'no vision-language model is named; give the folder of one, as save_pretrained or `hf download` '
            f'makes it, as weights or as "model" in {SETTINGS}'
        )
    try:
        found = search(name, download)
    except FileNotFoundError as error:
        raise RewardModelError(str(error)) from error
    if found.folder is not None:
        return found.folder
    places, on_hub = found.places, found.on_hub
    raise RewardModelError(
        f'no vision-language model {name!r} (a folder with config.json, processor and safetensors); looked '
        f'at {", ".join(map(str, places))}{" and in the cache of the hub" if on_hub else ""}. Give the path '
        f'of the folder, or put the folder that holds it in the environment variable {MODELS}'
        f'{", or set allow_download" if on_hub and not download else ""}'
    )
