# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Chunk transitions of the ingested episodes: half of a batch from people, half from everything (RLPD).

It is derived from the episode log and can be rebuilt at any time. An observation is kept once, whatever
number of windows it begins or ends.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.quarantine import LIMIT
from apprentice.learning.rl.base import ChunkBatch, Sizes
from apprentice.learning.rl.cutting import Cut, Cutter, reward_digest
from apprentice.learning.rl.features import Moments, compose
from apprentice.learning.rl.table import Table
from apprentice.learning.rl.windows import StepRewards, WindowConfig
from apprentice.policies.spec import PolicySpec
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)

Key = tuple[str, str]  # session, episode


class Encodes(Protocol):
    """What the buffer needs of :class:`~apprentice.learning.rl.features.FrozenEncoder`."""

    spec: PolicySpec

    @property
    def size(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def potential(self) -> bool: ...

    def moments(self, episode: Episode, rows: np.ndarray) -> Moments: ...


@dataclass(frozen=True)
class Added:
    """What became of an episode: transitions, those by people, those quarantined. ``known``: it was there."""

    transitions: int = 0
    human: int = 0
    quarantined: int = 0
    known: bool = False


@dataclass
class _Entry:
    demonstration: bool
    moments: slice
    transitions: slice
    rows: np.ndarray  # of the moments
    start: np.ndarray  # of the windows kept
    judged: str  # digest of what rewards depend on


class ChunkBuffer:
    """Transitions as tensors, on any device.

    Args:
        encoder: of the observations.
        human_share: share of a batch drawn from demonstrations and interventions, once there are both parts.
        advantage, rewards: which measurements count, and how; see :func:`.windows.step_rewards`.
        limit: executed actions further out than this, in standard deviations, are quarantined.
    """

    def __init__(
        self,
        encoder: Encodes,
        config: WindowConfig | None = None,
        human_share: float = 0.5,
        advantage: AdvantageConfig | None = None,
        rewards: RewardPipeline | None = None,
        limit: float = LIMIT,
        device: torch.device | str = 'cpu',
    ):
        self.config = config or WindowConfig(rows=encoder.rows)
        if self.config.rows != encoder.rows:
            raise ValueError(
                f'windows of {self.config.rows} rows, candidates of {encoder.rows}; give both the same number'
            )
        self.spec, self._encoder, self.device = encoder.spec, encoder, torch.device(device)
        self.sizes = Sizes(encoder.size, encoder.rows, self.spec.dim)
        self.human_share = human_share
        self._cutter = Cutter(self.spec, self.config, advantage, rewards, limit)
        self._moments, self._transitions = Table(self.device), Table(self.device)
        self._entries: dict[Key, _Entry] = {}
        self._pools: tuple[torch.Tensor, torch.Tensor] | None = None
        self.revised = 0
        self._quarantined: dict[Key, int] = {}
        self._shares: dict[str, float] = {}
        self._robot: torch.Tensor | None = None  # of each transition, its place in the shares; -1: none
        self.alarm = ''  # why learning must stop; cleared by whoever has looked

    def __len__(self) -> int:
        """Transitions that can be drawn."""
        return sum(len(entry.start) for entry in self._entries.values())

    @property
    def episodes(self) -> int:
        """Episodes held, demonstrations not counted."""
        return sum(not entry.demonstration for entry in self._entries.values())

    @property
    def quarantined(self) -> int:
        """Transitions that were left out, each episode as it was read last."""
        return sum(self._quarantined.values())

    @property
    def human_transitions(self) -> int:
        return len(self._pool()[0])

    def add(self, episode: Episode, session: str = '', demonstration: bool = False) -> Added:
        """Add an episode; one that is there already changes nothing, see :meth:`revise`.

        Transitions with numbers that are not finite or far out are left out and counted; more than 1 % of the
        steps of an episode raise :attr:`alarm`. Raises ValueError for evaluations and for another robot's
        episodes, RewardModelError as :func:`.windows.step_rewards`.
        """
        key = (session, episode.episode_id)
        if key in self._entries:
            return Added(known=True)
        self._cutter.require(episode)
        made = self._cutter.cut(episode)
        cut = made.windows
        self._cutter.compare(episode, made.found.measured)
        self._quarantine(key, made)
        if not len(cut):
            # nothing is left of it; it stays known, so that it is not counted twice
            none = slice(0, 0), slice(0, 0)
            empty = np.zeros(0, np.int64)
            self._entries[key] = _Entry(demonstration, *none, empty, empty, reward_digest(episode))
            return Added(quarantined=made.bad)
        rows = cut.moments()
        moments = self._encoder.moments(episode, rows)
        phi, share = self._context(episode, made.found, rows)
        at = self._moments.append(
            feature=moments.feature,
            state=moments.state,
            phi=phi,
            share=share,
            candidates=moments.candidates,
            noise=moments.noise,
        )
        place = np.searchsorted(rows, np.stack([cut.start, cut.following])) + at.start
        human = np.ones(len(cut), bool) if demonstration else cut.human
        taken = self._transitions.append(
            at=torch.from_numpy(place[0]),
            following=torch.from_numpy(place[1]),
            action=made.action,
            valid=made.valid,
            reward=torch.from_numpy(cut.reward).float(),
            discount=torch.from_numpy(cut.discount).float(),
            human=torch.from_numpy(human),
            demonstration=torch.full((len(cut),), demonstration),
            alive=torch.ones(len(cut), dtype=torch.bool),
            version=torch.full((len(cut),), episode.weights_version, dtype=torch.int64),
        )
        self._entries[key] = _Entry(demonstration, at, taken, rows, cut.start, reward_digest(episode))
        self._pools = self._robot = None
        return Added(len(cut), int(human.sum()), made.bad)

    def revise(self, episode: Episode, session: str = '') -> bool:
        """Take over rewards and outcome that came later; the same ones again change nothing.

        Returns whether anything was revised. Raises KeyError for an episode that was never added.
        """
        key = (session, episode.episode_id)
        if key not in self._entries:
            raise KeyError(f'{key} was never added; add it first')
        entry, judged = self._entries[key], reward_digest(episode)
        if judged == entry.judged:
            return False
        made = self._cutter.cut(episode)
        cut, self._quarantined[key] = made.windows, made.bad
        self.revised += 1
        self._pools = self._robot = None
        if not np.array_equal(cut.start, entry.start) or len(np.setdiff1d(cut.moments(), entry.rows)):
            # it ends in another way than was thought, and so do its last windows
            if len(entry.start):
                self._transitions.put(entry.transitions, alive=torch.zeros(len(entry.start)))
            del self._entries[key]
            self.add(episode, session, entry.demonstration)
            return True
        place = np.searchsorted(entry.rows, np.stack([cut.start, cut.following])) + entry.moments.start
        phi, share = self._context(episode, made.found, entry.rows)
        self._moments.put(entry.moments, phi=phi, share=share)
        self._transitions.put(
            entry.transitions,
            following=torch.from_numpy(place[1]),
            action=made.action,
            valid=made.valid,
            reward=torch.from_numpy(cut.reward).float(),
            discount=torch.from_numpy(cut.discount).float(),
        )
        entry.judged = judged
        return True

    def believe(self, advantage: AdvantageConfig, episodes: Iterable[Episode], session: str = '') -> None:
        """Count reward models as ``advantage`` says from now on, and in ``episodes`` that are here."""
        self._cutter.advantage = advantage
        for episode in episodes:
            self._entries[session, episode.episode_id].judged = ''
            self.revise(episode, session)

    def encode_with(self, encoder: Encodes) -> None:
        """Take another encoder of the same sizes, before anything is added. Raises ValueError afterwards."""
        if self._entries:
            raise ValueError('the buffer holds what another encoder made; use an empty one')
        self._encoder = encoder

    def replan(self, episode: Episode, session: str = '') -> None:
        """Plan the candidates of an episode again, after the encoder's planner has changed."""
        entry = self._entries[session, episode.episode_id]
        if len(entry.rows):
            planned = self._encoder.moments(episode, entry.rows)
            self._moments.put(entry.moments, candidates=planned.candidates, noise=planned.noise)

    def _context(
        self, episode: Episode, found: StepRewards, rows: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        over = (episode.stamps[rows] - episode.stamps[0]) / self.config.duration_s
        phi = torch.from_numpy(found.phi[rows] * self._encoder.potential).float()
        return phi, torch.from_numpy(np.clip(over, 0, 1)).float()

    def _quarantine(self, key: Key, made: Cut) -> None:
        """Count windows that are left out."""
        self._quarantined[key], count = made.bad, made.bad + len(made.windows)
        if made.bad:
            text = '%s: %d of %d transitions are not finite or far out; left out'
            log.warning(text, key[1], made.bad, count)
        self.alarm = made.alarm or self.alarm

    def share(self, shares: dict[str, float]) -> None:
        """Draw robots by their shares; episode ids begin with robot and slash. Empty: uniform."""
        self._shares, self._robot = dict(shares), None

    def _drawn(self, pool: torch.Tensor, count: int, generator: torch.Generator | None) -> torch.Tensor:
        """``count`` rows of a pool; of each robot its share."""
        if not self._shares:
            return pool[torch.randint(len(pool), (count,), generator=generator).to(pool.device)]
        if self._robot is None:
            names = [*self._shares]
            self._robot = torch.full((len(self._transitions),), -1, device=self.device)
            for (_, episode_id), entry in self._entries.items():
                name = episode_id.rpartition('/')[0]
                if name in names and not entry.demonstration:
                    self._robot[entry.transitions] = names.index(name)
        weights = shared_weights(self._robot[pool], [*self._shares.values()]).cpu()
        return pool[torch.multinomial(weights, count, replacement=True, generator=generator).to(pool.device)]

    def _pool(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of people, and all rows that are no demonstration."""
        if self._pools is None:
            if not len(self):
                return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
            alive = self._transitions['alive']
            human, shown = self._transitions['human'], self._transitions['demonstration']
            parts = (shown & human & alive, ~shown & human & alive, ~shown & alive)
            demonstrated, corrected, own = (torch.nonzero(part)[:, 0] for part in parts)
            # demonstrations first: a learner that was restored adds them after the episodes
            self._pools = torch.cat([demonstrated, corrected]), own
        return self._pools

    def sample(self, size: int, generator: torch.Generator | None = None) -> ChunkBatch:
        """``size`` transitions, people's first. Raises ValueError while there are none.

        Args:
            generator: on the CPU.
        """
        human, online = self._pool()
        share = round(size * self.human_share) if len(human) and len(online) else size * bool(len(human))
        counts = ((human, share), (online, size - share))
        drawn = [self._drawn(pool, count, generator) for pool, count in counts if count and len(pool)]
        if not drawn:
            raise ValueError('the buffer is empty: no demonstration and no usable episode yet')
        return self.batch(torch.cat(drawn))

    def of(self, episode_id: str, session: str = '') -> tuple[np.ndarray, ChunkBatch]:
        """First rows [W] and transitions of one episode. Raises KeyError for one that is not there."""
        entry = self._entries[session, episode_id]
        where = torch.arange(entry.transitions.start, entry.transitions.stop, device=self.device)
        return entry.start, self.batch(where)

    def batch(self, rows: torch.Tensor) -> ChunkBatch:
        """The transitions at ``rows`` int [B], in the order they were added in."""
        taken, seen = self._transitions.rows(rows), self._moments
        now, then = seen.rows(taken['at']), seen.rows(taken['following'])
        return ChunkBatch(
            feature=compose(now['feature'], now['state'], now['phi'], now['share']),
            action=taken['action'],
            valid=taken['valid'],
            reward=taken['reward'],
            discount=taken['discount'],
            next_feature=compose(then['feature'], then['state'], then['phi'], then['share']),
            candidates=now['candidates'].float(),
            next_candidates=then['candidates'].float(),
            human=taken['human'],
            noise=now['noise'].float(),
            next_noise=then['noise'].float(),
        )


def shared_weights(robot: torch.Tensor, shares: Sequence[float]) -> torch.Tensor:
    """By how much to draw each row, double [N], so that robots are drawn by their ``shares``.

    Args:
        robot: int [N], place in ``shares``; -1 of rows that belong to none, which stay as likely as before.
    """
    weights = torch.ones(len(robot), dtype=torch.float64, device=robot.device)
    counts = torch.bincount(robot[robot >= 0], minlength=len(shares)).tolist()
    total = sum(share for share, count in zip(shares, counts) if count)
    if not total:  # those that have something here have no share: they are equal
        shares, total = [1.0] * len(shares), sum(count > 0 for count in counts)
    for number, (share, count) in enumerate(zip(shares, counts)):
        if count:  # all robots together weigh as much as before
            weights[robot == number] = share / total * sum(counts) / count
    return weights
