# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Files of reward weights: JSON configurations and half-precision tensors, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apprentice.reward_models.base import RewardModelError
from apprentice.robot.files import replacing

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
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + '\n')


def write_half(module: torch.nn.Module, path: Path) -> None:
    """Write a module's weights as float16 safetensors; the old file stays until the new one is complete."""
    from safetensors.torch import save_file

    half = {name: value.detach().half().contiguous() for name, value in module.state_dict().items()}
    with replacing(path) as temporary:
        save_file(half, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone; an installed package is for all
