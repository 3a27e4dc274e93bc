# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a rollout brings to on-policy learning: episodes of macro actions, one for each chunk followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from apprentice.learning.rl.flow_sde import Chain
from apprentice.policies.prefix import Prefix


@dataclass
class MacroEpisode:
    """One episode of T chunks; tensors on the CPU.

    Attributes:
        seed, repeat: of the start, and which try of it this was.
        success: what the simulator's predicate said.
        progress: the highest the task's truth said, in [0, 1].
        prefix: [T], what the frozen backbone saw at the beginning of each chunk.
        feature: [T, F], for value functions: summary of the prefix, normalised state, share of the time.
        action: [T, H, A], the chunks, normalised.
        chain: their stochastic steps, [T].
        rows: int64 [T], rows that were followed.
        reward: [T], discounted sum over these rows.
        discount: [T], gamma to their number; 0 for the last.
        human: bool [T], whether a person drove.
    """

    seed: int
    repeat: int
    success: bool
    progress: float
    prefix: Prefix
    feature: torch.Tensor
    action: torch.Tensor
    chain: Chain
    rows: torch.Tensor
    reward: torch.Tensor
    discount: torch.Tensor
    human: torch.Tensor

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def score(self) -> float:
        """The discounted return from the start: a success counts more the sooner it comes."""
        return float(self.returns()[0])

    def returns(self) -> torch.Tensor:
        """Discounted returns [T]."""
        found, ahead = torch.empty_like(self.reward), 0.0
        for k in range(len(self) - 1, -1, -1):
            ahead = float(self.reward[k]) + float(self.discount[k]) * ahead
            found[k] = ahead
        return found


def take(prefix: Prefix, rows: torch.Tensor | slice) -> Prefix:
    """Some items of a prefix."""
    return Prefix(prefix.keys[:, rows], prefix.values[:, rows], prefix.mask[rows], prefix.pooled[rows])


def join_prefixes(parts: Sequence[Prefix]) -> Prefix:
    """Prefixes one after the other; their numbers of tokens must be equal."""
    return Prefix(
        torch.cat([part.keys for part in parts], 1),
        torch.cat([part.values for part in parts], 1),
        torch.cat([part.mask for part in parts]),
        torch.cat([part.pooled for part in parts]),
    )


@dataclass
class Macros:
    """The B macro actions of several episodes, as a gradient step reads them.

    Attributes:
        prefix, feature, action, chain, rows: as in :class:`MacroEpisode`.
        advantage: [B].
        target: [B], of the value function.
        old: [B, ...], what the weights before the update say: log-likelihoods, or losses (FPO).
        noise, time: [B, N, H, A] and [B, N, 1], the draws of FPO; empty otherwise.
    """

    prefix: Prefix
    feature: torch.Tensor
    action: torch.Tensor
    chain: Chain
    rows: torch.Tensor
    advantage: torch.Tensor
    target: torch.Tensor
    old: torch.Tensor
    noise: torch.Tensor
    time: torch.Tensor

    def __len__(self) -> int:
        return len(self.advantage)

    @classmethod
    def of(cls, episodes: Sequence[MacroEpisode], device: torch.device) -> Macros:
        """Of ``episodes``, in their order; advantages, targets and what is old are zero."""

        def all_of(name: str) -> torch.Tensor:
            return torch.cat([getattr(episode, name) for episode in episodes]).to(device)

        prefix = join_prefixes([episode.prefix for episode in episodes])
        chain = [
            torch.cat([getattr(episode.chain, name) for episode in episodes]).to(device)
            for name in ('before', 'after', 'step')
        ]
        size = sum(len(episode) for episode in episodes)
        zeros = torch.zeros(size, device=device)
        return cls(
            Prefix(
                *(tensor.to(device) for tensor in (prefix.keys, prefix.values, prefix.mask, prefix.pooled))
            ),
            all_of('feature'),
            all_of('action'),
            Chain(*chain),
            all_of('rows'),
            zeros,
            zeros.clone(),
            zeros.clone(),
            torch.zeros(size, 0, device=device),
            torch.zeros(size, 0, device=device),
        )

    def take(self, rows: torch.Tensor | slice) -> Macros:
        """Some of them."""
        chain = Chain(self.chain.before[rows], self.chain.after[rows], self.chain.step[rows])
        rest = [getattr(self, name)[rows] for name in ('rows', 'advantage', 'target', 'old', 'noise', 'time')]
        return Macros(take(self.prefix, rows), self.feature[rows], self.action[rows], chain, *rest)
