# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings of a training as a user gives them: a YAML file and ``key=value`` words, merged and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from apprentice.robot.files import write_text
from apprentice.robot.settings import SettingsError


class Plain(Protocol):
    """Settings that can be written down."""

    def to_dict(self) -> dict[str, Any]: ...


def read_words(words: Sequence[str], named: str = '') -> tuple[str, dict[str, Any]]:
    """The last value of the key ``named`` in ``words`` (empty: none), and the other words, nested.

    Raises SettingsError for a word that is no ``key=value``.
    """
    from omegaconf import OmegaConf

    name, rest = '', []
    for word in words:
        key, equals, value = word.partition('=')
        if not equals or not re.fullmatch(r'[A-Za-z_]\w*(\.\w+)*', key):
            raise SettingsError(f'{word!r} is no setting; write key=value, such as seed=1')
        if key == named:
            name = value
        else:
            rest.append(word)
    try:
        nested: Any = OmegaConf.to_container(OmegaConf.from_dotlist(rest))
    except yaml.YAMLError as error:
        raise _unmerged(error) from error
    return name, nested


def read_settings(file: str | Path | None) -> dict[str, Any]:
    """What a YAML file says; nothing without a file.

    Raises SettingsError for what is no mapping, OSError for a file that is missing.
    """
    if file is None:
        return {}
    try:
        data = yaml.safe_load(Path(file).read_text(encoding='utf-8')) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f'{file} is not YAML: {error}') from error
    if not isinstance(data, dict):
        raise SettingsError(f'{file} holds {data!r}; it must be a mapping of settings')
    return data


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers over earlier ones, key by key. Raises SettingsError for those that cannot be merged."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        data: Any = OmegaConf.to_container(OmegaConf.merge(*map(dict, layers)), resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise _unmerged(error) from error
    return data


def _unmerged(error: Exception) -> SettingsError:
    return SettingsError(f'the settings cannot be merged: {error}')


def write_settings(config: Plain, path: Path, command: str = '') -> None:
    """Write the settings, with the command that made them as a comment."""
    lines = ''.join(f'# {line}\n' for line in command.splitlines())
    write_text(path, lines + yaml.safe_dump(config.to_dict(), sort_keys=False))


# what runs did that were begun before there was a setting
# (pictures of up to 128 pixels are the same either way; of others the data differs)
_BEFORE = {'algorithm.state_noise': 0.0, 'policy.backbone.max_side': 128}


def differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], but: Sequence[str] = ()) -> list[str]:
    """Dotted names of settings that differ, sorted, without those in ``but``."""
    mine = flat(mine)
    theirs = {**{name: value for name, value in _BEFORE.items() if name in mine}, **flat(theirs)}
    names = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
    return [name for name in names if name not in but]


def flat(data: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Nested settings as one mapping with dotted names."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        found |= flat(value, f'{prefix}{name}.') if isinstance(value, Mapping) else {f'{prefix}{name}': value}
    return found
