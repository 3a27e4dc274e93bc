# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Files of reward weights: JSON configurations and half-precision tensors, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apprentice.reward_models.base import RewardModelError
from apprentice.robot.files import replacing, sha256, write_text

if TYPE_CHECKING:
    import torch


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises RewardModelError naming the file."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise RewardModelError(f'{path} does not exist') from None
    except (OSError, ValueError) as error:
        raise RewardModelError(f'{path} is not readable JSON: {error}') from None
    if not isinstance(data, dict):
        raise RewardModelError(f'{path} must hold a JSON object')
    return data


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON object; the old file stays until the new one is complete."""
    write_text(path, json.dumps(data, indent=2) + '\n')


def write_sealed(path: Path, config: dict[str, Any], weights: Path) -> None:
    """Write the configuration of weights that are written already, with their hash: last, so that after a
    crash the two are known not to belong together.
    """
    write_json(path, {**config, 'sha256': sha256(weights)})


def open_sealed(
    folder: str | Path, config: str, weights: str, what: str, command: str
) -> tuple[Path, dict[str, Any], str]:
    """The folder of a trained model, its configuration and its version, see :func:`read_sealed`.

    Args:
        config, weights: names of the two files.
        what: kind of model, for messages.
        command: that makes one.

    Raises RewardModelError if a file is missing or the two do not belong together.
    """
    place = Path(str(folder)).expanduser()
    missing = [name for name in (config, weights) if not (place / name).is_file()]
    if missing:
        raise RewardModelError(
            f'{what} {place} does not exist or lacks {" and ".join(missing)}; give the folder of a trained '
            f'one, or make it with `{command}`'
        )
    return place, *read_sealed(place / config, place / weights, f'`{command}`')


def read_sealed(path: Path, weights: Path, remedy: str) -> tuple[dict[str, Any], str]:
    """A configuration that :func:`write_sealed` wrote, and the version of it and its weights.

    The version is 12 hex digits of a sha256 over both: other weights or another setting is another version.
    Where an encoder lies (``encoder``, ``source``) and what is for people (``about``) is left out; which
    encoder it is counts.

    Args:
        remedy: how such weights are made.

    Raises RewardModelError if the weights are not those the configuration was written for.
    """
    config = read_json(path)
    if config.get('sha256') != sha256(weights):
        raise RewardModelError(
            f'{weights} is not the file {path.name} was written for (sha256 differs, or is missing because '
            f'an older version wrote it); copy the folder again, or make it again with {remedy}'
        )
    return config, version_of(config)


def version_of(config: dict[str, Any]) -> str:
    """The version of a configuration with the hash of its weights; see :func:`read_sealed`."""
    canonical = json.dumps(_counting(config), sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _counting(value: Any) -> Any:
    """A configuration without what changes no score."""
    if not isinstance(value, dict):
        return value
    left_out = ('encoder', 'source', 'about')
    return {name: _counting(inner) for name, inner in value.items() if name not in left_out}


def write_half(module: torch.nn.Module, path: Path) -> None:
    """Write a module's weights as float16 safetensors; the old file stays until the new one is complete."""
    from safetensors.torch import save_file

    half = {name: value.detach().cpu().half().contiguous() for name, value in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(half, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone; an installed package is for all
