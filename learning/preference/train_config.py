# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings of DPO, merged from defaults, a YAML file and ``key=value`` words."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from apprentice.learning.preference.dpo import DpoConfig
from apprentice.robot.files import replacing
from apprentice.robot.settings import SettingsError, from_dict

TOKEN_BETA = 0.1
_PLACE = ('device', 'snapshot_every')


@dataclass(frozen=True)
class DpoTraining:
    """A training by DPO.

    Attributes:
        head: which head is trained: flow or fast.
        steps: gradient steps; warm-up over the first ``warm_up``, then cosine to zero.
        snapshot_every: steps between snapshots, from which a killed run goes on.
        device: auto, cpu, cuda, or one GPU such as cuda:1.
        validation: share of the episodes whose pairs are held out, measured every ``validate_every`` steps.
    """

    head: Literal['flow', 'fast'] = 'flow'
    steps: int = 300
    warm_up: int = 20
    seed: int = 0
    snapshot_every: int = 50
    device: str = 'auto'
    validation: float = 0.1
    validate_every: int = 50
    algorithm: DpoConfig = field(default_factory=DpoConfig)

    def __post_init__(self) -> None:
        for name in ('steps', 'warm_up', 'snapshot_every', 'validate_every'):
            if getattr(self, name) < 1:
                raise SettingsError(f'{name} is {getattr(self, name)}; give 1 or more')
        if not 0 <= self.validation < 1:
            raise SettingsError(f'validation is {self.validation}; give a share of the episodes, 0 to 1')
        if self.seed < 0:
            raise SettingsError(f'seed is {self.seed}; give 0 or more')

    def to_dict(self) -> dict[str, Any]:
        """As plain data: what :func:`read_training` reads."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of the settings by which a run is another one than that with the settings ``other``."""
        mine, theirs = self.to_dict(), dict(other)
        inner, outer = mine.pop('algorithm'), theirs.pop('algorithm', {})
        names = [n for n in {*mine, *theirs} if mine.get(n) != theirs.get(n) and n not in _PLACE]
        names += [f'algorithm.{n}' for n in {*inner, *outer} if inner.get(n) != outer.get(n)]
        return sorted(names)


def read_training(
    words: Sequence[str] = (), file: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> DpoTraining:
    """Settings from defaults < ``file`` < ``flags`` < ``words``, such as ``steps=100 algorithm.beta=500``.

    beta is 250 for the flow and 0.1 for tokens where nobody says otherwise.

    Raises SettingsError, which names what is wrong and what there is; OSError for a file that is missing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for word in words:
        if not re.fullmatch(r'[A-Za-z_]\w*(\.\w+)*=.*', word):
            raise SettingsError(f'{word!r} is no setting; write key=value, such as steps=100')
    try:
        typed: Any = OmegaConf.to_container(OmegaConf.from_dotlist(list(words)))
        data: Any = OmegaConf.to_container(
            OmegaConf.merge(_read_file(file) if file is not None else {}, dict(flags or {}), typed)
        )
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise SettingsError(f'the settings cannot be merged: {error}') from error
    algorithm = data.get('algorithm') or {}
    if not isinstance(algorithm, Mapping):
        raise SettingsError(
            f'algorithm is {algorithm!r}; give a mapping, or words such as algorithm.beta=500'
        )
    if data.get('head') == 'fast' and 'beta' not in algorithm:
        algorithm = {**algorithm, 'beta': TOKEN_BETA}
    return from_dict(DpoTraining, {**data, 'algorithm': algorithm}, 'settings')


def write_training(config: DpoTraining, path: Path, command: str = '') -> None:
    """Write the settings, with the command that made them as a comment."""
    lines = ''.join(f'# {line}\n' for line in command.splitlines())
    with replacing(path) as temporary:
        temporary.write_text(lines + yaml.safe_dump(config.to_dict(), sort_keys=False), encoding='utf-8')


def _read_file(file: str | Path) -> dict[str, Any]:
    data = yaml.safe_load(Path(file).read_text(encoding='utf-8')) or {}
    if not isinstance(data, dict):
        raise SettingsError(f'{file} holds {data!r}; it must be a mapping of settings')
    return data
