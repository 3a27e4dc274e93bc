# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The replay buffer: samples of the ingested episodes, half from people, half from everything (RLPD)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from apprentice.learning.advantage import (
    AdvantageConfig,
    check_shaping,
    progress_models,
    step_weights,
    usual_gain,
    weighed_steps,
)
from apprentice.learning.dataset import Chunks
from apprentice.learning.fleet import split_counts
from apprentice.learning.quarantine import alarm, faulty_rows, sound_rows
from apprentice.learning.reward_aligned import UsualGain
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
    usable: np.ndarray  # bool rows whose chunk is finite and in range


class Replay:
    """Episodes as weighted samples; derived from the log, so it can be rebuilt at any time.

    Args:
        spec: of the policy; episodes of another robot are refused.
        human_share: share of a batch drawn from demonstrations and interventions.
        intervention_share: share of that human part drawn from interventions, once there are any.
        rewards: calibrates and shapes what the reward models measured; None: their progress as it is.
        weigh: an episode -> weight of every step; default: by ``advantage`` and ``rewards``.
        smaller: camera -> (height, width) of downsampled pictures, which are taken as well.

    Attributes:
        shares: robot -> share of what is drawn of the online episodes, whose ids then begin with the robot
            and a slash; empty: uniform.
        alarm: why learning must stop until somebody has looked; whoever reads it empties it.

    Raises RewardModelError for a pipeline whose shaping cannot weigh steps.
    """

    def __init__(
        self,
        spec: PolicySpec,
        human_share: float = 0.5,
        intervention_share: float = 0.5,
        advantage: AdvantageConfig | None = None,
        rewards: RewardPipeline | None = None,
        weigh: Callable[[Episode], np.ndarray] | None = None,
        smaller: Mapping[str, tuple[int, int]] | None = None,
    ):
        if rewards is not None:
            check_shaping(rewards)
        self.spec = spec
        self._human_share, self._intervention_share = human_share, intervention_share
        self.advantage, self._rewards = advantage or AdvantageConfig(), rewards
        self._weigh = weigh or self._step_weights
        self._smaller = smaller or {}
        self.models: set[str] = set()  # whose progress was in the episodes
        self._demonstrations: dict[str, _Entry] = {}
        self._online: dict[str, _Entry] = {}
        self._quarantined: dict[str, int] = {}
        self.shares: dict[str, float] = {}
        self.alarm = ''
        self._usual: UsualGain | None = None  # of all episodes that are held, for RA-BC
        self._unsettled = False  # episodes came that the statistics of all episodes do not know

    def add(self, episode: Episode, demonstration: bool = False) -> int:
        """Add an episode, in place of an earlier one of that id; returns the number of useful samples.

        Raises UnusableEpisode for an evaluation, another robot, a missing camera, or numbers that are not
        finite or far out in more than 1 % of the steps, which also sets :attr:`alarm`. Of fewer the samples
        that hold them are left out and counted.
        """
        usable = self.check(episode)
        weight = self._weigh(episode) * usable
        chunks = Chunks.of(episode, self.spec.horizon, weight)
        human = episode.source == int(Source.HUMAN)
        useful = weight > 0
        entry = _Entry(
            chunks,
            np.flatnonzero(human & useful),
            np.flatnonzero(useful),
            int(human.sum()),
            replace(episode, images={}),
            usable,
        )
        (self._demonstrations if demonstration else self._online)[episode.episode_id] = entry
        self.models |= progress_models(episode)
        self._unsettled = self._shaping_learns or self._aligned
        return len(entry.useful)

    @property
    def _shaping_learns(self) -> bool:
        return self._rewards is not None and self._rewards.shaping.learns

    @property
    def _aligned(self) -> bool:
        return self._weigh == self._step_weights and self.advantage.rule == 'ra_bc'

    def _step_weights(self, episode: Episode) -> np.ndarray:
        return step_weights(episode, self.spec.horizon, self.advantage, self._rewards, self._usual)

    def reweigh(self, advantage: AdvantageConfig | None = None) -> None:
        """Weigh everything anew, e.g. because a reward model is no longer believed."""
        self.advantage = advantage or self.advantage
        self._unsettled = False
        self._learn_shaping()
        self._usual = None
        if self._aligned:
            episodes = (entry.episode for entry in self._entries())
            self._usual = usual_gain(episodes, self.spec.horizon, self.advantage, self._rewards)
        for entry in self._entries():
            try:
                weight = self._weigh(entry.episode)
            except RewardModelError as error:
                log.warning('%s is left out: %s', entry.episode.episode_id, error)
                weight = np.zeros(len(entry.episode), np.float32)
            weight = weight * entry.usable
            entry.chunks.weight = weight.astype(np.float32)
            entry.useful = np.flatnonzero(weight > 0)
            entry.human = np.flatnonzero((entry.episode.source == int(Source.HUMAN)) & (weight > 0))

    def settle(self) -> None:
        """Weigh by the statistics of all episodes, where they are not known yet."""
        if self._unsettled:
            self.reweigh()

    def _learn_shaping(self) -> None:
        """Statistics of the shaping from all episodes that are held: after a restart they are the same."""
        if self._rewards is None or not self._rewards.shaping.learns:
            return
        steps = []
        for entry in self._entries():
            try:
                steps.append(weighed_steps(entry.episode, self._rewards, self.advantage))
            except RewardModelError:  # said where it is weighed
                continue
        self._rewards.shaping.learn(each for each in steps if each is not None)

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
        """Whether there is nothing to learn from, as far as was weighed; see :meth:`settle`."""
        return not any(len(e.useful) for e in self._entries())

    def _entries(self) -> list[_Entry]:
        return [*self._demonstrations.values(), *self._online.values()]

    def check(self, episode: Episode) -> np.ndarray:
        """Samples that are of use, bool [T]. Raises UnusableEpisode for what :meth:`add` would refuse."""
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
            found = episode.images[camera].shape[1:3] if camera in episode.images else None
            if found is None or found not in (size, self._smaller.get(camera)):
                raise UnusableEpisode(f'{name} has no camera {camera!r} of {size}')
        return self._usable(episode)

    def _usable(self, episode: Episode) -> np.ndarray:
        """Which samples are finite and in range, bool [T]; the others are quarantined."""
        fine, name = sound_rows(episode, self.spec), episode.episode_id
        reason = alarm(name, faulty_rows(episode, self.spec))
        if reason:
            self._quarantined[name], self.alarm = len(episode), reason
            raise UnusableEpisode(reason)
        # a chunk reaches over the next steps
        rows = np.minimum(np.arange(len(fine))[:, None] + np.arange(self.spec.horizon), len(fine) - 1)
        usable = fine[rows].all(1)
        self._quarantined[name] = int(np.sum(~usable))
        if not fine.all():
            log.warning('%s: %d of %d samples are quarantined', name, self._quarantined[name], len(usable))
        return usable

    @property
    def quarantined(self) -> int:
        """Samples that are not learned from because they hold numbers that are not finite or far out."""
        return sum(self._quarantined.values())

    def sample(self, batch: int, rng: np.random.Generator) -> Chunks:
        """A batch of samples. Raises ValueError while there is nothing to draw from."""
        self.settle()
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
        parts = [part for entries, n in counts if n and entries for part in self._draw(entries, n, rng)]
        if not parts:
            raise ValueError('the replay buffer is empty: no demonstration and no useful episode yet')
        return Chunks.concatenate(parts)

    def _draw(
        self, entries: list[tuple[_Entry, np.ndarray]], n: int, rng: np.random.Generator
    ) -> list[Chunks]:
        """``n`` samples; of each robot its share, where there are several."""
        groups: dict[str, list[tuple[_Entry, np.ndarray]]] = {}
        for entry, rows in entries:
            groups.setdefault(entry.episode.episode_id.rpartition('/')[0], []).append((entry, rows))
        if not self.shares or not groups.keys() <= self.shares.keys():
            return _draw(entries, n, rng)
        counts = split_counts(n, [self.shares[name] for name in groups], rng)
        drawn = zip(groups.values(), counts)
        return [part for group, count in drawn if count for part in _draw(group, int(count), rng)]


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
