# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Shipped architectures of policies: one YAML file each, read by ``PolicyConfig.from_dict``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml


def presets() -> list[str]:
    """Names of the shipped architectures."""
    files = (file.name for file in resources.files(__package__).iterdir())
    return sorted(name.removesuffix('.yaml') for name in files if name.endswith('.yaml'))


def load_preset(name: str | Path) -> dict[str, Any]:
    """The architecture of a shipped name, such as ``tiny``, or of a YAML file, as plain data.

    Raises FileNotFoundError naming the shipped ones, ValueError for a file that is not a mapping.
    """
    path = Path(name).expanduser()
    if path.suffix in ('.yaml', '.yml') and path.is_file():
        text, source = path.read_text(encoding='utf-8'), str(path)
    elif str(name) in presets():
        source = f'{name}.yaml'
        text = resources.files(__package__).joinpath(source).read_text(encoding='utf-8')
    else:
        raise FileNotFoundError(
            f'no policy {str(name)!r}; give a YAML file that exists, or one of {presets()}'
        )
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f'{source} is not YAML: {error}') from error
    if not isinstance(data, dict):
        raise ValueError(f'{source} holds {data!r}; it must be a mapping with backbone, expert, ...')
    return data
