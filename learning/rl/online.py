# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The critics' side of the default recipe: what the learner has beside the flow policy.

A frozen copy of the first policy encodes observations, the present policy plans candidates, an
:class:`~apprentice.learning.rl.base.Algorithm` learns which of them, and which edits, are best. What it finds
weighs the steps by which the flow is consolidated. See docs/learning.md.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.rl.base import make
from apprentice.learning.rl.buffer import ChunkBuffer
from apprentice.learning.rl.choosing import Choosing, pack, steering
from apprentice.learning.rl.consolidation import (
    ConsolidationConfig,
    consolidation_weights,
    episode_advantages,
)
from apprentice.learning.rl.features import FeatureConfig, FrozenEncoder
from apprentice.learning.rl.windows import WindowConfig
from apprentice.policies.checkpoint import Beside
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.settings import SettingsError, at_least, fractions
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnlineConfig:
    """Settings.

    Attributes:
        part: the algorithm, ``package.module:Class``; settings: of its ``Config``.
        batch: transitions of an update, half of them by people.
        updates: of the algorithm, for each gradient step of the flow.
        warm_up: transitions before the first update.
        act_after, judge_after: updates of the algorithm before it chooses what is done, before its values
            weigh the flow's steps; a value that was hardly learned says nothing.
        refresh_every: episodes after which the candidates are planned again by the present policy, and all
            steps are weighed again by the present critics; 0: never.
    """

    part: str = 'apprentice.learning.rl.flow_edit:FlowEdit'
    settings: dict[str, Any] = field(default_factory=dict)
    features: FeatureConfig = field(
        default_factory=lambda: FeatureConfig(kind='tokens', candidates=4, rows=4, potential=False)
    )
    windows: WindowConfig = field(default_factory=lambda: WindowConfig(rows=4))
    consolidation: ConsolidationConfig = field(default_factory=ConsolidationConfig)
    batch: int = 128
    human_share: float = 0.5
    updates: int = 2
    warm_up: int = 200
    act_after: int = 500
    judge_after: int = 1000
    refresh_every: int = 25

    def __post_init__(self) -> None:
        at_least(self, 1, 'batch', 'updates', 'warm_up')
        at_least(self, 0, 'act_after', 'judge_after', 'refresh_every')
        fractions(self, 'human_share')
        if self.features.potential:
            raise SettingsError(
                'features.potential is true, but nobody measures the potential in time for acting; give false'
            )
        if self.features.rows and self.features.rows != self.windows.rows:
            raise SettingsError(
                f'features.rows is {self.features.rows} and windows.rows {self.windows.rows}; give both the '
                'same number'
            )


class OnlineCritics:
    """Encoder, buffer and algorithm of one run; every episode that was added is kept, to be looked at again.

    Args:
        policy: the first policy; a copy of it stays as the encoder.

    Raises ValueError for an algorithm that cannot learn from episodes of this policy.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        config: OnlineConfig | None = None,
        advantage: AdvantageConfig | None = None,
        rewards: RewardPipeline | None = None,
        seed: int = 0,
    ):
        self.config = config = config or OnlineConfig()
        _require(policy, config)
        self.encoder = FrozenEncoder(copy.deepcopy(policy).requires_grad_(False), config.features)
        self.buffer = ChunkBuffer(
            self.encoder, config.windows, config.human_share, advantage, rewards, device=policy.device
        )
        self.algorithm = make(config.part, self.buffer.sizes, config.settings, seed, policy.device)
        steering(self.algorithm, policy)  # refused now, not when it acts
        self._generator = torch.Generator().manual_seed(seed + 1)
        self._episodes: dict[str, Episode] = {}
        self._refreshed_at = 0  # episodes there were at the last refresh
        self._outdated = False
        self._waiting: list[tuple[Episode, bool]] = []  # until there are enough to fit the features to
        # what the flow's steps are weighed by, until the critics are asked again; empty: outcome alone
        self._gains: dict[str, np.ndarray] = {}

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return len(self.buffer) >= self.config.warm_up

    @property
    def refresh_due(self) -> bool:
        """Whether :meth:`refresh` is due."""
        return self._outdated or 0 < self.config.refresh_every <= self.buffer.episodes - self._refreshed_at

    def outdate(self) -> None:
        """The policy became another one: :meth:`refresh` is due."""
        self._outdated = True

    def fit(self, episodes: Iterable[Episode]) -> None:
        """Fit the features to demonstrations, once, before anything is added; too few are not enough."""
        self._fitted(list(episodes))

    def add(self, episode: Episode, demonstration: bool = False) -> None:
        """Add an episode, or take over what is new about one that is there.

        Raises ValueError for evaluations and other robots, RewardModelError as :func:`.windows.step_rewards`.
        """
        name = episode.episode_id
        self._waiting = [one for one in self._waiting if one[0].episode_id != name]
        if name in self._episodes:
            if self.buffer.revise(episode):
                self._gains.pop(name, None)
        elif self._fitted([*(each for each, _ in self._waiting), episode]):
            for each, shown in [*self._waiting, (episode, demonstration)]:
                self.buffer.add(each, demonstration=shown)
                self._episodes[each.episode_id] = each
            self._waiting.clear()
            return
        else:
            self._waiting.append((episode, demonstration))
            return
        self._episodes[name] = episode

    @property
    def acts(self) -> bool:
        """Whether the critics can look at an observation already, and have learned enough to choose."""
        return self.fitted and self.algorithm.steps >= self.config.act_after

    @property
    def fitted(self) -> bool:
        """Whether there are features, which observations are seen by."""
        return self.config.features.kind != 'tokens' or bool(self.encoder.state_dict())

    def _fitted(self, episodes: list[Episode]) -> bool:
        """Whether features can be made; without demonstrations they are fitted to the first episodes."""
        if self.fitted:
            return True
        try:
            self.encoder.fit(episodes)
        except ValueError as error:  # too few observations: they wait
            log.info('critics wait for more episodes: %s', error)
            return False
        return True

    def weigh(self, episode: Episode) -> np.ndarray:
        """How much the flow shall learn of every step, float32 [T]; see :mod:`.consolidation`.

        The critics are asked once, and again after :meth:`refresh`, :meth:`believe` or a revision: a learner
        that was restored weighs as before.
        """
        name = episode.episode_id
        gain = self._gains.get(name)
        if gain is None or len(gain) not in (0, len(episode)):
            gain = self._gains[name] = self._judged(episode)
        return consolidation_weights(episode, gain if len(gain) else None, self.config.consolidation)

    def _judged(self, episode: Episode) -> np.ndarray:
        """The critics' advantage of every step [T]; empty while they have hardly learned."""
        critics = getattr(self.algorithm, 'critics', None)
        learned = critics is not None and self.algorithm.steps >= self.config.judge_after
        if not learned or episode.episode_id not in self._episodes:
            return np.zeros(0)
        return episode_advantages(critics, self.buffer, episode)

    def believe(self, advantage: AdvantageConfig) -> None:
        """Count reward models as ``advantage`` says, in what was added as well."""
        self._gains.clear()
        self.buffer.believe(advantage, self._episodes.values())

    def update(self) -> dict[str, float]:
        """The algorithm's updates for one gradient step of the flow; metrics of the last."""
        metrics: dict[str, float] = {}
        if self.ready:
            for _ in range(self.config.updates):
                metrics = self.algorithm.update(self.buffer.sample(self.config.batch, self._generator))
        return metrics

    def refresh(self, policy: FlowPolicy, breathe: Callable[[], None] = lambda: None) -> None:
        """Plan all candidates again with ``policy``, as it is now.

        Args:
            breathe: called between two episodes; :meth:`outdate` and :meth:`state_dict` may be called there.
        """
        self._refreshed_at, self._outdated = self.buffer.episodes, False
        self._gains.clear()
        self.encoder.plan_with(copy.deepcopy(policy).requires_grad_(False))
        for episode in self._episodes.values():
            self.buffer.replan(episode)
            breathe()

    def choosing(self, policy: FlowPolicy) -> Choosing:
        """``policy`` with the present critics: what acts."""
        return Choosing(policy, self.encoder, self.algorithm, self.config.windows.duration_s)

    def beside(self) -> Beside:
        """What :func:`.choosing.load_choosing` reads beside the policy."""
        config = self.config
        duration_s = config.windows.duration_s
        return pack(config.part, config.settings, duration_s, self.encoder, self.algorithm, self.acts)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Everything but the episodes, flat, on the CPU."""
        parts: dict[str, dict[str, torch.Tensor]] = {
            'algorithm': self.algorithm.state_dict(),
            'features': self.encoder.state_dict(),
            'encoder': self.encoder.policy.state_dict(),
            'gain': {name: torch.from_numpy(gain) for name, gain in self._gains.items()},
            'own': {
                'generator': self._generator.get_state(),
                'refreshed_at': torch.tensor(self._refreshed_at),
                'outdated': torch.tensor(self._outdated),
            },
        }
        if self.encoder.planner is not self.encoder.policy:
            parts['planner'] = self.encoder.planner.state_dict()
        return {
            f'{part}.{name}': tensor.detach().to('cpu', copy=True).contiguous()
            for part, state in parts.items()
            for name, tensor in state.items()
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Put :meth:`state_dict` back, before episodes are added. Raises ValueError for other settings."""
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in state.items():
            part, _, rest = name.partition('.')
            parts.setdefault(part, {})[rest] = tensor
        try:
            self.algorithm.load_state_dict(parts['algorithm'])
            encoder = self.encoder.policy
            encoder.load_state_dict(parts['encoder'])
            planner = encoder
            if 'planner' in parts:
                planner = copy.deepcopy(encoder)
                planner.load_state_dict(parts['planner'])
            self.encoder = FrozenEncoder(encoder, self.config.features, planner)
            self.encoder.load_state_dict(parts.get('features', {}))
            self.buffer.encode_with(self.encoder)
            self._gains = {name: gain.numpy() for name, gain in parts.get('gain', {}).items()}
            self._generator.set_state(parts['own']['generator'])
            self._refreshed_at = int(parts['own']['refreshed_at'])
            self._outdated = bool(parts['own'].get('outdated', False))
        except (KeyError, RuntimeError) as error:
            raise ValueError(
                f'the snapshot holds no critics of this kind ({error}): the run began with another '
                'recipe. Give that one (weighted_flow where there were no critics), or another run folder'
            ) from error


def _require(policy: FlowPolicy, config: OnlineConfig) -> None:
    """Raise ValueError for a policy whose chunks these critics cannot judge."""
    rows, horizon = config.windows.rows, policy.spec.horizon
    if rows > horizon:
        raise ValueError(
            f'the critics of this recipe judge {rows} rows, a chunk of this policy has {horizon}; give the '
            f'recipe weighted_flow, which has no critics, or one with windows and features of {horizon} rows'
        )
    if policy.config.head != 'flow':
        raise ValueError(
            f'the head {policy.config.head} of this policy acts, and critics choose among chunks of the head '
            'flow; give the recipe weighted_flow, which has no critics, or a policy with policy.head flow'
        )
