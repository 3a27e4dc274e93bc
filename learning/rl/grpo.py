# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""GRPO and RLOO on a flow policy: several tries of the same start, each compared with the others; no critic.

Needs starts that can be repeated exactly, so simulation only. The policy gradient is that of Flow-SDE PPO
(Flow-GRPO, arXiv 2505.05470); the advantage of an episode holds for all of its chunks. ``baseline: group`` is
GRPO (2402.03300), ``leave_one_out`` RLOO (2402.14740), unbiased. Starts on which all tries ended alike teach
nothing and are left out (as in DAPO, 2503.14476). Where that leaves a minibatch without any advantage, no
step is made: Adam would go on in the direction of earlier ones.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from apprentice.learning.rl.advantages import group_relative, leave_one_out
from apprentice.learning.rl.episodes import MacroEpisode, Macros
from apprentice.learning.rl.flow_ppo import PART, ChainObjective
from apprentice.learning.rl.flow_sde import divergence, step_of_chain
from apprentice.learning.rl.on_policy import OnPolicy, OnPolicyConfig


@dataclass(frozen=True)
class GrpoConfig(OnPolicyConfig):
    """Beside those of :class:`OnPolicyConfig`.

    Attributes:
        group: tries of each start.
        baseline: what a try is compared with.
        reference_weight: of the exact divergence from the policy that training began with; 0: none.
    """

    group: int = 8
    baseline: Literal['group', 'leave_one_out'] = 'group'
    reference_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group < 2:
            raise ValueError(f'algorithm.group is {self.group}; a try needs another one to be compared with')
        if not self.noise:
            raise ValueError(
                'algorithm.noise is 0: without a stochastic step there is no likelihood; use fpo'
            )


class GroupObjective(ChainObjective):
    """Adds the divergence from a frozen reference."""

    def __init__(self, policy, config, rows):
        super().__init__(policy, config, rows)
        self.reference = None
        if config.reference_weight:
            self.reference = copy.deepcopy(policy.expert).requires_grad_(False)

    def forward(self, macros: Macros) -> dict[str, torch.Tensor]:
        sums = super().forward(macros)
        if self.reference is not None:
            mean, deviation = step_of_chain(
                self.expert, macros.prefix, macros.chain, self.steps, self.config.noise
            )
            with torch.no_grad():
                other, _ = step_of_chain(
                    self.reference, macros.prefix, macros.chain, self.steps, self.config.noise
                )
            sums['from_reference'] = divergence(mean, other, deviation, self.rows).sum()
            sums['loss'] = sums['loss'] + self.config.reference_weight * sums['from_reference']
        return sums


class Grpo(OnPolicy):
    """See the text of this module."""

    Config: type = GrpoConfig

    @property
    def group(self) -> int:  # type: ignore[override]
        return self.config.group

    def objective(self) -> nn.Module:
        return GroupObjective(self.policy, self.config, self.rows)

    def prepare(self, episodes: Sequence[MacroEpisode]) -> tuple[Macros, dict[str, float]]:
        score = torch.tensor([episode.score for episode in episodes])
        start = torch.tensor([episode.seed for episode in episodes])
        compare = group_relative if self.config.baseline == 'group' else leave_one_out
        advantage = compare(score, start)
        # with several processes all must have something to do: one episode stays in any case
        kept = [i for i, value in enumerate(advantage.tolist()) if abs(value) > 1e-9] or [0]
        chosen = [episodes[i] for i in kept]
        macros = Macros.of(chosen, self.ranks.device)
        repeats = torch.tensor([len(episode) for episode in chosen])
        macros.advantage = advantage[kept].repeat_interleave(repeats).to(self.ranks.device)
        with torch.no_grad():
            parts = torch.arange(len(macros)).split(PART)
            macros.old = torch.cat([self.module.log_likelihood(macros.take(rows)) for rows in parts])
        return macros, {'informative': len(kept) / len(episodes)}

    def teaches(self, macros: Macros) -> bool:
        """Whether any macro action of a minibatch has an advantage, in any of the processes."""
        return float(self.ranks.total(macros.advantage.abs().sum())) > 0


ALGORITHM = Grpo
