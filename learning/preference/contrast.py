# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs of any builder, with step rewards that a policy gives itself from two opposite instructions.

T-REG, arXiv 2412.02685, with :func:`.guidance.contrastive_steps`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from apprentice.learning.preference.candidates import moment_generator
from apprentice.learning.preference.guidance import contrastive_steps
from apprentice.learning.preference.pairs import PairBuilder, PairError, Pairs
from apprentice.policies.flow import sample_time
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.prefix import Inputs
from apprentice.robot.settings import SettingsError
from apprentice.robot.types import Episode

_BATCH = 16  # pairs that are judged together


@dataclass(frozen=True)
class ContrastConfig:
    """How a policy is asked.

    Attributes:
        better, worse: endings of the instruction.
        sharpness: how fast the reward grows with the difference of the errors.
        draws: noises and times of each moment, which both chunks get.
        seed: of them.
    """

    better: str = ', carefully and correctly'
    worse: str = ', clumsily and wrongly'
    sharpness: float = 1.0
    draws: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.sharpness > 0 and self.draws >= 1 and self.seed >= 0):
            raise SettingsError(
                f'contrast: sharpness {self.sharpness}, draws {self.draws}, seed {self.seed}; give more than '
                '0, 1 or more, 0 or more'
            )


class ContrastivePairs:
    """A :class:`.pairs.PairBuilder`; step rewards of the builder it asks are replaced.

    They mean something only for a policy that understands such words: one that does not gives about 0.

    Args:
        policy: judges; its flow head.
        identity: what tells this policy from another, e.g. the hash of its checkpoint.
    """

    def __init__(
        self,
        builder: PairBuilder,
        policy: FlowPolicy,
        config: ContrastConfig | None = None,
        identity: str = '',
    ):
        self.builder, self.policy, self.config = builder, policy, config or ContrastConfig()
        self.identity = identity

    def settings(self) -> dict[str, object]:
        return {**self.builder.settings(), 'contrast': {'policy': self.identity, **asdict(self.config)}}

    def build(self, episodes: Iterable[Episode]) -> Pairs:
        pairs, found = self.builder.build(episodes), []
        for chunks, seen in ((pairs.winner, pairs.observation), (pairs.loser, pairs.loser_observation)):
            batches = [slice(begin, begin + _BATCH) for begin in range(0, len(pairs), _BATCH)]
            parts = [self._steps(pairs, chunks[some], seen[some]) for some in batches]
            found.append(np.concatenate(parts) if parts else np.zeros(chunks.shape[:2], np.float32))
        return replace(pairs, winner_steps=found[0], loser_steps=found[1])

    def _steps(self, pairs: Pairs, chunks: np.ndarray, seen: np.ndarray) -> np.ndarray:
        config, spec = self.config, self.policy.spec
        images = {name: torch.from_numpy(pairs.images[name][seen]) for name in spec.cameras}
        inputs = Inputs(images, torch.from_numpy(pairs.state[seen]), [pairs.text[o] for o in seen])
        noise, time = [], []
        for o in seen:
            generator = moment_generator(config.seed, pairs.episode[o], int(pairs.step[o]))
            noise.append(torch.randn(config.draws, spec.horizon, spec.dim, generator=generator))
            time.append(sample_time((config.draws, 1), generator, self.policy.config.time_alpha))
        device = self.policy.device
        steps = contrastive_steps(
            self.policy, inputs, torch.from_numpy(chunks), torch.stack(noise).to(device),
            torch.stack(time).to(device), config.better, config.worse, config.sharpness,
        )  # fmt: skip
        found = steps.cpu().numpy().astype(np.float32)
        if not np.isfinite(found).all():
            raise PairError('the policy gave step rewards that are not finite; use another one')
        return found
