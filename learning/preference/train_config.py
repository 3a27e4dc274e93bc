# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings of DPO, merged from defaults, a YAML file and ``key=value`` words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from apprentice.learning.preference.dpo import DpoConfig
from apprentice.learning.settings_file import differences, merged, read_settings, read_words
from apprentice.robot.settings import SettingsError, at_least, from_dict

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
        at_least(self, 1, 'steps', 'warm_up', 'snapshot_every', 'validate_every')
        if not 0 <= self.validation < 1:
            raise SettingsError(f'validation is {self.validation}; give a share of the episodes, 0 to 1')
        at_least(self, 0, 'seed')

    def to_dict(self) -> dict[str, Any]:
        """As plain data: what :func:`read_training` reads."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of the settings by which a run is another one than that with the settings ``other``."""
        return differences(self.to_dict(), other, _PLACE)


def read_training(
    words: Sequence[str] = (), file: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> DpoTraining:
    """Settings from defaults < ``file`` < ``flags`` < ``words``, such as ``steps=100 algorithm.beta=500``.

    beta is 250 for the flow and 0.1 for tokens where nobody says otherwise.

    Raises SettingsError, which names what is wrong and what there is; OSError for a file that is missing.
    """
    data = merged(read_settings(file), flags or {}, read_words(words)[1])
    algorithm = data.get('algorithm') or {}
    if not isinstance(algorithm, Mapping):
        raise SettingsError(
            f'algorithm is {algorithm!r}; give a mapping, or words such as algorithm.beta=500'
        )
    if data.get('head') == 'fast' and 'beta' not in algorithm:
        algorithm = {**algorithm, 'beta': TOKEN_BETA}
    return from_dict(DpoTraining, {**data, 'algorithm': algorithm}, 'settings')
