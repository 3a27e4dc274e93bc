# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings of cloning, merged from defaults, a named policy, a YAML file and ``key=value`` words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apprentice.learning.distributed import Parallel, Precision
from apprentice.learning.settings_file import differences, merged, read_settings, read_words
from apprentice.learning.weighted_flow import WeightedFlowConfig
from apprentice.policies.config import PolicyConfig
from apprentice.policies.presets import load_preset
from apprentice.robot.settings import SettingsError, at_least, from_dict

# what may differ when a killed training goes on: where and how it runs, not what it computes
_PLACE = ('device', 'parallel', 'accumulate', 'cache', 'workers', 'snapshot_every')


@dataclass(frozen=True)
class CloneConfig:
    """Training of a policy from demonstrations.

    Attributes:
        steps: gradient steps; warm-up over the first ``warm_up``, then cosine to zero.
        horizon: rows of a chunk.
        snapshot_every: steps between snapshots, from which a killed run goes on.
        device: auto, cpu, cuda, or one GPU such as cuda:1.
        precision: of the forward pass; weights, gradients and optimizer are float32.
        parallel: with several processes: ddp, or fsdp for what one GPU cannot hold.
        accumulate: parts that each process cuts its share of a batch into, to save memory.
        cache: folder for decoded episodes, mapped into memory; empty: only where they are too large.
        workers: threads that read batches ahead; 0: none.
        validation: share of the episodes held out; their loss is computed every ``validate_every`` steps.
    """

    steps: int = 2000
    horizon: int = 8
    seed: int = 0
    warm_up: int = 100
    snapshot_every: int = 250
    device: str = 'auto'
    precision: Precision = 'fp32'
    parallel: Parallel = 'ddp'
    accumulate: int = 1
    cache: str = ''
    workers: int = 1
    validation: float = 0.0
    validate_every: int = 250
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    algorithm: WeightedFlowConfig = field(
        default_factory=lambda: WeightedFlowConfig(learning_rate=1e-3, state_noise=0.3)
    )

    def __post_init__(self) -> None:
        at_least(self, 1, 'steps', 'horizon', 'warm_up', 'snapshot_every', 'accumulate', 'validate_every')
        at_least(self, 0, 'workers')
        if not 0 <= self.validation < 1:
            raise SettingsError(f'validation is {self.validation}; give a share of the episodes, 0 to 1')

    def to_dict(self) -> dict[str, Any]:
        """As plain data: what :func:`read_config` reads."""
        data = {**dataclasses.asdict(self), 'policy': self.policy.to_dict()}
        return json.loads(json.dumps(data))

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of the settings by which a run is another one than that with the settings ``other``."""
        return differences(self.to_dict(), other, _PLACE)


def read_config(
    words: Sequence[str] = (), file: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> CloneConfig:
    """Settings from defaults < policy named by ``policy=`` < ``file`` < ``flags`` < ``words``.

    Args:
        words: such as ``steps=100``, ``policy=smolvlm`` or ``policy.expert.layers=6``.
        file: YAML with the same keys; ``policy`` there is a name, or a mapping, with ``preset`` as the name
            that it is based on.
        flags: plain data, nested.

    Raises SettingsError, which names what is wrong and what there is; OSError for a file that is missing.
    """
    defaults = {'algorithm': dataclasses.asdict(CloneConfig().algorithm)}
    word, typed = read_words(words, 'policy')
    layers = [read_settings(file), dict(flags or {}), typed]
    names = [*(_take_name(layer) for layer in layers), word]
    named = [name for name in names if name]
    policy = load_preset(named[-1]) if named else {}
    data = merged(defaults, {'policy': policy}, *layers)
    if not isinstance(data.get('policy'), Mapping):
        raise SettingsError(f'policy is {data.get("policy")!r}; give a name or a mapping')
    data['policy'] = PolicyConfig.from_dict(data['policy'])
    return from_dict(CloneConfig, data, 'settings')


def _take_name(layer: dict[str, Any]) -> str:
    """The name of the policy that a layer is based on, taken out of it."""
    policy = layer.get('policy')
    if isinstance(policy, str):
        del layer['policy']
        return policy
    if isinstance(policy, dict) and 'preset' in policy:
        layer['policy'] = {name: value for name, value in policy.items() if name != 'preset'}
        return str(policy['preset'])
    return ''
