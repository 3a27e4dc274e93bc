# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Recipes: how the learner learns, as YAML files. What a file names replaces that setting, whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from apprentice.learning.learner import LearnerConfig
from apprentice.learning.rl.base import find
from apprentice.robot.parts import share
from apprentice.robot.settings import SettingsError, from_dict


def find_recipe(name: str) -> Path:
    """A recipe as the user gave it: a path, or the name of one in ``share('recipes')``, without ``.yaml``.

    Raises FileNotFoundError naming those that are shipped.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = share('recipes')
    shipped = folder / f'{name.removesuffix(".yaml")}.yaml'
    if path.name != name or not shipped.is_file():
        known = ', '.join(sorted(file.stem for file in folder.glob('*.yaml')))
        raise FileNotFoundError(f'no recipe {name!r}; give a file, or one of {known}')
    return shipped


def load_recipe(name: str, config: LearnerConfig | None = None) -> LearnerConfig:
    """``config`` with what the recipe says; without a name, as it is.

    Raises FileNotFoundError for an unknown name, SettingsError naming file and field, also of the
    algorithm's own settings.
    """
    config = config or LearnerConfig()
    if not name:
        return config
    path = find_recipe(name)
    try:
        data = yaml.safe_load(path.read_text()) or {}
        said = from_dict(LearnerConfig, data)
        if said.online is not None:
            find(said.online.part, said.online.settings)
    except (yaml.YAMLError, SettingsError, ValueError) as error:
        raise SettingsError(f'{path}: {error}') from None
    return replace(config, **{key: getattr(said, key) for key in data})
