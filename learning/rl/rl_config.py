# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Settings of reinforcement learning in simulation: defaults, a YAML file and ``key=value`` words, merged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apprentice.learning.rl.rollout import RewardConfig
from apprentice.learning.settings_file import differences, merged, read_settings, read_words
from apprentice.robot.parts import load_part
from apprentice.robot.settings import SettingsError, at_least, from_dict

SEEDS = 60_000_000  # of training starts, apart from every other range; held-out starts are below
_OURS = 'apprentice.learning.rl.{}:ALGORITHM'
# what may differ when a killed training goes on: where and how it runs, not what it computes
_PLACE = ('device', 'iterations', 'minutes', 'snapshot_every')


@dataclass(frozen=True)
class RlConfig:
    """Training of a policy by rollouts in simulation.

    Attributes:
        part: class of the algorithm, ``package.module:Class``.
        algorithm: its Config.
        iterations: of rolling out and updating.
        minutes: no further iteration begins after so many; 0: no limit.
        starts: of each iteration, each tried as often as the algorithm needs.
        seed: of networks and noise; ``first_seed`` is that of the first start.
        together: simulations of a worker at once.
        execute_steps: rows of a chunk that are followed before the next is planned.
        max_duration_s: of an episode; 0: the task's.
        sim_task, randomization: of the simulation, see docs/simulation.md; ``task``: instruction.
        snapshot_every: iterations between snapshots and saved policies.
    """

    part: str = _OURS.format('flow_ppo')
    algorithm: Any = None
    rewards: RewardConfig = field(default_factory=RewardConfig)
    iterations: int = 50
    minutes: float = 0.0
    starts: int = 32
    seed: int = 0
    first_seed: int = SEEDS
    together: int = 8
    execute_steps: int = 4
    max_duration_s: float = 0.0
    task: str = ''
    sim_task: str = ''
    randomization: str = 'none'
    snapshot_every: int = 1
    device: str = 'auto'

    def __post_init__(self) -> None:
        at_least(self, 1, 'iterations', 'starts', 'together', 'execute_steps', 'snapshot_every')
        if self.seed < 0 or self.first_seed < 0 or self.minutes < 0:
            raise SettingsError('seed, first_seed and minutes must not be negative')
        if self.algorithm is None:
            object.__setattr__(self, 'algorithm', find_algorithm(self.part).Config())

    def to_dict(self) -> dict[str, Any]:
        """As plain data: what :func:`read_rl_config` reads."""
        data = dataclasses.asdict(self)
        data['algorithm'] = {'part': data.pop('part'), **data['algorithm']}
        return json.loads(json.dumps(data))

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of the settings by which a run is another one than that with the settings ``other``."""
        return differences(self.to_dict(), other, _PLACE)


def algorithm_part(name: str) -> str:
    """``package.module:Class`` of an algorithm; ours go by the name of their file."""
    return name if ':' in name else _OURS.format(name)


def find_algorithm(part: str) -> Any:
    """The class of an algorithm. Raises SettingsError for one that is not there or learns otherwise."""
    try:
        found = load_part(part)
    except ImportError as error:
        ours = sorted(
            path.stem for path in Path(__file__).parent.glob('*.py') if '\nALGORITHM = ' in path.read_text()
        )
        raise SettingsError(
            f'no algorithm {part!r} ({error}); ours are {", ".join(ours)}; others are package.module:Class'
        ) from error
    if not hasattr(found, 'make_actor') or not hasattr(found, 'Config'):
        raise SettingsError(
            f'{part} does not learn from rollouts of its own weights; it is for the learner node'
        )
    return found


def read_rl_config(
    words: Sequence[str] = (), file: str | Path | None = None, flags: Mapping[str, Any] | None = None
) -> RlConfig:
    """Settings from defaults < ``file`` < ``flags`` < ``words``.

    Args:
        words: such as ``iterations=100``, ``algorithm=grpo`` or ``algorithm.clip=0.1``.
        file: YAML with the same keys; the algorithm's name is ``algorithm.part``.
        flags: plain data, nested.

    Raises SettingsError, which names what is wrong and what there is; OSError for a file that is missing.
    """
    named, typed = read_words(words, 'algorithm')
    data = merged(read_settings(file), flags or {}, typed)
    algorithm = data.pop('algorithm', None) or {}
    if not isinstance(algorithm, Mapping):
        algorithm = {'part': str(algorithm)}
    algorithm = dict(algorithm)
    part = algorithm_part(named or str(algorithm.pop('part', 'flow_ppo')))
    algorithm.pop('part', None)
    settings = from_dict(find_algorithm(part).Config, algorithm, 'algorithm')
    return from_dict(RlConfig, {**data, 'part': part, 'algorithm': settings}, 'settings')
