# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Preferences while the robot learns: a person's chunk over the policy's shadow chunk, beside the flow loss.

The gradient goes through the optimizer of the flow: one policy, one average, one step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from apprentice.episodes.lazy_frames import LazyFrames
from apprentice.learning.preference.dpo import DpoConfig
from apprentice.learning.preference.flow_dpo import FlowDpo
from apprentice.learning.preference.interventions import InterventionConfig, InterventionPairs
from apprentice.learning.preference.pairs import Pairs
from apprentice.learning.preference.shadows import Shadows, replayed_shadows
from apprentice.learning.weighted_flow import Losses
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.settings import at_least
from apprentice.robot.types import Episode


@dataclass(frozen=True)
class PreferenceConfig:
    """Settings.

    Attributes:
        every: steps of the flow for one that looks at pairs, too.
        least: pairs there must be before the first.
        weight: of the preference loss beside the flow loss.
        dpo: beta and draws of the loss; its batch are pairs. The flow loss is the anchor.
        pairs: which interventions give pairs.
    """

    every: int = 4
    least: int = 32
    weight: float = 0.1
    dpo: DpoConfig = field(default_factory=lambda: DpoConfig(batch=16, draws=2, beta=50.0, anchor=0.0))
    pairs: InterventionConfig = field(default_factory=lambda: InterventionConfig(every=2))

    def __post_init__(self) -> None:
        at_least(self, 1, 'every', 'least')
        at_least(self, 0, 'weight')


class OnlinePreference:
    """Pairs of all interventions, and the loss on them.

    Args:
        policy: the first policy; a copy is the reference until :meth:`refer_to`.
        shadows: what the policy would have done; None: the reference is asked.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        config: PreferenceConfig | None = None,
        seed: int = 0,
        shadows: Shadows | None = None,
    ):
        self.config = config or PreferenceConfig()
        self._objective = FlowDpo(copy.deepcopy(policy), self.config.dpo, seed)
        self._shadows, self._seed = shadows, seed
        self._episodes: dict[str, Episode] = {}  # in which a person drove, to plan losers again
        self._pairs: dict[str, Pairs] = {}
        self._all: Pairs | None = None
        self._calls = 0
        self._draws = torch.Generator().manual_seed(seed + 3)  # of the pairs

    def __len__(self) -> int:
        """Pairs."""
        return sum(map(len, self._pairs.values()))

    def add(self, episode: Episode) -> int:
        """Pairs of an episode, in place of those before; returns how many."""
        name = episode.episode_id
        if not episode.human_steps and name not in self._episodes:
            return 0
        self._episodes[name] = episode
        self._pairs[name] = self._built(episode)  # in its old place: the order is that of the log
        self._all = None
        return len(self._pairs[name])

    def _built(self, episode: Episode) -> Pairs:
        reference = self._objective.reference
        shadows = self._shadows or replayed_shadows(reference, self._seed, 'flow')
        pairs = InterventionPairs(reference.spec, shadows, self.config.pairs).build([episode])
        # pictures stay where the episode has them, and are looked up when they are drawn
        return replace(pairs, images={n: _at(episode.images[n], pairs.step) for n in pairs.images})

    def refer_to(self, policy: FlowPolicy) -> None:
        """Measure preferences against ``policy`` as it is now; what it would have done is planned again."""
        self._objective.reference.load_state_dict(policy.state_dict())
        if self._shadows is None:
            self._pairs = {name: self._built(episode) for name, episode in self._episodes.items()}
            self._all = None

    def loss(self, policy: FlowPolicy) -> Callable[[], Losses] | None:
        """The loss of ``policy`` on a batch of pairs, for every so many calls; None: not this time."""
        self._calls += 1
        if self._calls % self.config.every or len(self) < self.config.least:
            return None
        if self._all is None:
            self._all = Pairs.concatenate([pairs for pairs in self._pairs.values() if len(pairs)])
        drawn = torch.randperm(len(self._all), generator=self._draws)[: self.config.dpo.batch]
        chosen = self._all.select(drawn.sort().values.numpy())

        def compute() -> Losses:
            loss, metrics = self._objective.loss(chosen, policy)
            return self.config.weight * loss, {f'preference_{name}': value for name, value in metrics.items()}

        return compute

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Reference and random state; the pairs come from the episodes."""
        state = {f'reference.{n}': t for n, t in self._objective.reference.state_dict().items()}
        state |= {'generator': self._objective.generator.get_state(), 'draws': self._draws.get_state()}
        state['calls'] = torch.tensor(self._calls)
        return {name: tensor.detach().to('cpu', copy=True).contiguous() for name, tensor in state.items()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put :meth:`state_dict` back. Raises ValueError for another policy's."""
        prefix = 'reference.'
        try:
            reference = {n[len(prefix) :]: t for n, t in state.items() if n.startswith(prefix)}
            self._objective.reference.load_state_dict(reference)
            self._objective.generator.set_state(state['generator'])
            self._draws.set_state(state['draws'])
            self._calls = int(state['calls'])
        except (KeyError, RuntimeError) as error:
            raise ValueError(f'the snapshot holds no preferences of this policy: {error}') from error


def _at(stack: Any, rows: np.ndarray) -> LazyFrames:
    """Pictures of some rows of an episode."""
    return LazyFrames((len(rows), *stack.shape[1:]), lambda index: np.asarray(stack[rows[index]]))
