# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The replay buffer: samples of the ingested episodes, half from people, half from everything (RLPD)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from apprentice.learning.advantage import AdvantageConfig, check_shaping, progress_models, step_weights
from apprentice.learning.dataset import Chunks
from apprentice.policies.spec import PolicySpec
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.types import Episode, Source

log = logging.getLogger(__name__)


class UnusableEpisode(ValueError):
    """The episode cannot be learned from; the message says why."""


@dataclass
class _Entry:
    chunks: Chunks
    human: np.ndarray  # int rows with positive weight that a person drove
    useful: np.ndarray  # int rows with positive weight
    driven: int  # rows a person drove
    episode: Episode  # without its images, to weigh it anew


class Replay:
    """Episodes as weighted samples; derived from the log, so it can be rebuilt at any time.

    Args:
        spec: of the policy; episodes of another robot are refused.
        human_share: share of a batch drawn from demonstrations and interventions.
        intervention_share: share of that human part drawn from interventions, once there are any.
        rewards: calibrates and shapes what the reward models measured; None: their progress as it is.

    Raises RewardModelError for a pipeline whose shaping cannot weigh steps.
    """

    def __init__(
        self,
        spec: PolicySpec,
        human_share: float = 0.5,
        intervention_share: float = 0.5,
        advantage: AdvantageConfig | None = None,
        rewards: RewardPipeline | None = None,
    ):
        if rewards is not None:
            check_shaping(rewards)
        self.spec = spec
        self._human_share, self._intervention_share = human_share, intervention_share
        self.advantage, self._rewards = advantage or AdvantageConfig(), rewards
        self.models: set[str] = set()  # whose progress was in the episodes
        self._demonstrations: dict[str, _Entry] = {}
        self._online: dict[str, _Entry] = {}
        self.quarantined = 0

    def add(self, episode: Episode, demonstration: bool = False) -> int:
        """Add an episode, in place of an earlier one of that id; returns the number of useful samples.

        Raises UnusableEpisode for an evaluation, another robot, a missing camera, or numbers that are
        not finite (which are counted as quarantined).
        """
        self._check(episode)
        weight = step_weights(episode, self.spec.horizon, self.advantage, self._rewards)
        chunks = Chunks.of(episode, self.spec.horizon, weight)
        human = episode.source == int(Source.HUMAN)
        useful = weight > 0
        entry = _Entry(
            chunks,
            np.flatnonzero(human & useful),
            np.flatnonzero(useful),
            int(human.sum()),
            replace(episode, images={}),
        )
        (self._demonstrations if demonstration else self._online)[episode.episode_id] = entry
        self.models |= progress_models(episode)
        return len(entry.useful)

    def reweigh(self, advantage: AdvantageConfig) -> None:
        """Weigh everything anew, e.g. because a reward model is no longer believed."""
        self.advantage = advantage
        for entry in self._entries():
            try:
                weight = step_weights(entry.episode, self.spec.horizon, advantage, self._rewards)
            except RewardModelError as error:
                log.warning('%s is left out: %s', entry.episode.episode_id, error)
                weight = np.zeros(len(entry.episode), np.float32)
            entry.chunks.weight = weight
            entry.useful = np.flatnonzero(weight > 0)
            entry.human = np.flatnonzero((entry.episode.source == int(Source.HUMAN)) & (weight > 0))

    @property
    def episodes(self) -> int:
        """Episodes held, demonstrations not counted."""
        return len(self._online)

    @property
    def transitions(self) -> int:
        return sum(len(e.chunks) for e in self._entries())

    @property
    def human_transitions(self) -> int:
        return sum(e.driven for e in self._entries())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to learn from."""
        return not any(len(e.useful) for e in self._entries())

    def _entries(self) -> list[_Entry]:
        return [*self._demonstrations.values(), *self._online.values()]

    def _check(self, episode: Episode) -> None:
        name = episode.episode_id
        if episode.eval_only:
            raise UnusableEpisode(f'{name} is an evaluation; held-out starts are never learned from')
        if not len(episode):
            raise UnusableEpisode(f'{name} has no steps')
        if episode.robot and episode.robot != self.spec.robot:
            raise UnusableEpisode(
                f'{name} was recorded on {episode.robot!r}, the policy is for {self.spec.robot!r}'
            )
        for camera, size in self.spec.cameras.items():
            if camera not in episode.images or episode.images[camera].shape[1:3] != size:
                raise UnusableEpisode(f'{name} has no camera {camera!r} of {size}')
        if not (np.all(np.isfinite(episode.state)) and np.all(np.isfinite(episode.action))):
            self.quarantined += len(episode)
            raise UnusableEpisode(f'{name} holds states or actions that are not finite; quarantined')

    def sample(self, batch: int, rng: np.random.Generator) -> Chunks:
        """A batch of samples. Raises ValueError while there is nothing to draw from."""
        demonstrated = [(e, e.human) for e in self._demonstrations.values() if len(e.human)]
        corrected = [(e, e.human) for e in self._online.values() if len(e.human)]
        useful = [(e, e.useful) for e in self._online.values() if len(e.useful)]
        from_people = round(batch * self._human_share) if useful else batch
        from_corrections = round(from_people * self._intervention_share) if corrected else 0
        if not demonstrated:
            from_corrections = from_people if corrected else 0
        counts = (
            (demonstrated, from_people - from_corrections if demonstrated else 0),
            (corrected, from_corrections),
            (useful, batch - from_people if (demonstrated or corrected) else batch),
        )
        parts = [part for entries, n in counts if n and entries for part in _draw(entries, n, rng)]
        if not parts:
            raise ValueError('the replay buffer is empty: no demonstration and no useful episode yet')
        return Chunks.concatenate(parts)


def _draw(entries: list[tuple[_Entry, np.ndarray]], n: int, rng: np.random.Generator) -> list[Chunks]:
    """``n`` samples, uniform over all rows of ``entries``."""
    ends = np.cumsum([len(rows) for _, rows in entries])
    picks = np.sort(rng.integers(ends[-1], size=n))
    which = np.searchsorted(ends, picks, side='right')
    parts = []
    for i in np.unique(which):
        entry, rows = entries[i]
        offset = ends[i] - len(rows)
        parts.append(entry.chunks.select(rows[picks[which == i] - offset]))
    return parts
