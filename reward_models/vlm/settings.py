# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a vision-language critic's configuration file says, and where its model lies."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import read_json

SETTINGS = 'vlm_critic.json'
MODELS = 'APPRENTICE_MODELS'  # folders in which models are looked for by the last part of their name
INSTALL = "'apprentice[vla]'"
_WANTED = ['*.json', '*.safetensors', '*.txt', '*.model', '*.jinja']  # of a hub repository; no pickles
_BLOCKS, _BLOCK = 32, 1 << 16
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


def require(module: str) -> Any:
    """An optional module. Raises ImportError that says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f'{module} is not installed; run: pip install {INSTALL}') from error


def find_model(name: str, download: bool = False) -> Path:
    """The folder of a model: a path, a folder below ``APPRENTICE_MODELS``, or in the hub's cache.

    Raises RewardModelError with the places looked at and the remedies; nothing is downloaded unasked.
    """
    if not name:
        raise RewardModelError(
            'no vision-language model is named; give the folder of one, as save_pretrained or `hf download` '
            f'makes it, as weights or as "model" in {SETTINGS}'
        )
    path = Path(name).expanduser()
    roots = [Path(root).expanduser() for root in os.environ.get(MODELS, '').split(os.pathsep) if root]
    places = [path, *(root / path.name for root in roots)]
    for place in places:
        if (place / 'config.json').is_file():
            return place
    on_hub = re.fullmatch(r'\w[\w.-]*/\w[\w.-]*', name) is not None
    found = _from_hub(name, download) if on_hub else None
    if found is not None:
        return found
    raise RewardModelError(
        f'no vision-language model {name!r} (a folder with config.json, processor and safetensors); looked '
        f'at {", ".join(map(str, places))}{" and in the cache of the hub" if on_hub else ""}. Give the path '
        f'of the folder, or put the folder that holds it in the environment variable {MODELS}'
        f'{", or set allow_download" if on_hub and not download else ""}'
    )


def _from_hub(name: str, download: bool) -> Path | None:
    hub = require('huggingface_hub')
    try:
        folder = Path(hub.snapshot_download(name, local_files_only=not download, allow_patterns=_WANTED))
    except (OSError, ValueError) as error:
        if download:
            raise RewardModelError(f'cannot download {name!r} from the hub: {error}') from error
        return None
    return folder if (folder / 'config.json').is_file() else None


def fingerprint(folder: Path) -> str:
    """Which weights a folder holds, 12 hex digits: sha256 over config.json and samples of each weight file.

    Reading all of a large model takes long; 32 blocks of 64 KiB spread over each file tell two trained models
    apart, but not a change on purpose between them.
    """
    digest = hashlib.sha256((folder / 'config.json').read_bytes())
    for path in sorted(folder.glob('*.safetensors')):
        size = path.stat().st_size
        digest.update(f'{path.name} {size}\n'.encode())
        with open(path, 'rb') as file:
            for i in range(_BLOCKS):
                file.seek(max(0, size - _BLOCK) * i // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:12]
