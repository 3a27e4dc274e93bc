# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner: sealed episodes in, better weights out. No ROS, no threads; the node drives it."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.episodes.join import read_episode
from apprentice.learning import snapshot
from apprentice.learning.admission import Admission
from apprentice.learning.distributed import Ranks, RanksApart
from apprentice.learning.experience import Experience
from apprentice.learning.fleet import Fleet, Member
from apprentice.learning.frame_store import FrameStore
from apprentice.learning.health import Health
from apprentice.learning.intake import Intake, agreed
from apprentice.learning.learner_config import LearnerConfig as LearnerConfig
from apprentice.learning.preference.online import OnlinePreference
from apprentice.learning.rescore import ledger_path
from apprentice.learning.rl.choosing import NAME as CRITICS
from apprentice.learning.rl.choosing import Choosing
from apprentice.learning.rl.online import OnlineCritics
from apprentice.learning.weighted_flow import WeightedFlow
from apprentice.learning.weights import Published, WeightStore
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.ledger import Ledger
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)


class Learner:
    """Replay, algorithm and weight store of one run.

    Args:
        robot: robot the episodes were recorded on.
        run_dir: holds ``episodes``, ``weights`` and ``learner`` (the snapshot); an existing run goes on.
        starter: policy folder to start from.
        robots: namespace -> run folder, of several robots whose ``episodes`` are learned from; default: the
            one of ``run_dir``.
        ranks: where it computes, and with which processes: each of them makes the same calls. The first one
            alone decides and writes; see :mod:`.leader`.
    """

    def __init__(
        self,
        robot: RobotSpec,
        run_dir: str | Path,
        starter: str | Path,
        config: LearnerConfig | None = None,
        seed: int = 0,
        robots: Mapping[str, str | Path] | None = None,
        ranks: Ranks | None = None,
    ):
        self.ranks = ranks or Ranks()
        self.robot, self.run_dir, self.config = robot, Path(run_dir), config or LearnerConfig()
        self._starter = Path(starter)
        policy, _ = checkpoint.load(starter)
        policy.spec.require(robot)
        policy.to(self.ranks.device)
        self.store = WeightStore(self.run_dir / 'weights')
        self.algorithm = WeightedFlow(policy.train(), self.config.algorithm, seed)
        self.algorithm.ranks = self.ranks
        self.fleet = Fleet(robots or {'': self.run_dir}, self.config.fleet)
        self.admission = Admission(self.store, self._starter, self.algorithm, self.config.probe)
        alarms, probe = self.run_dir / 'alarms.jsonl', self.admission.probe
        frames = FrameStore(self.run_dir, policy.config.downsample, self.ranks.world)
        self.experience = Experience(policy, self.config, seed, probe, alarms, frames, self.ranks.first)
        self.replay, self.online = self.experience.replay, self.experience.online
        self.preference, self.obedience = self.experience.preference, self.experience.obedience
        if self.online is not None and self.ranks.world > 1:  # an algorithm of somebody else may not know it
            self.online.algorithm.join(self.ranks)
        # called where a long step may be interrupted by a rollback or a snapshot; of a single process alone
        self.breathe: Callable[[], None] = lambda: None
        self._rng = np.random.default_rng(seed)
        told = functools.partial(self._told, 'learn')
        self._intake = Intake(self.fleet, robot, self._add_of, self.ranks, told)
        self.episodes = 0
        self.owed = 0
        self._published_at = 0
        self._critics_alone = 0  # updates since the last version in which there was nothing for the flow
        self._snapshot = self.run_dir / 'learner'
        self._metrics = self.run_dir / 'metrics.jsonl'
        self._resume()

    def _resume(self) -> None:
        found = snapshot.newest(self._snapshot)
        of = f'{json.dumps(found and found[1])} {checkpoint.sha256(self._starter / checkpoint.MANIFEST)}'
        if not self.ranks.alike(of):
            raise RanksApart(
                'the processes see different starters or snapshots; all need the same run folder'
            )
        if found is None:
            return
        tensors, state, place = found
        snapshot.put(self.algorithm, tensors, state, place)
        for part, prefix in self._parts():
            part.load_state_dict(snapshot.below(tensors, prefix))
        if self.ranks.first:
            self._intake.restore(state['episodes'])  # what was owed for them is known
        self.owed = int(state['owed'])
        self._published_at = int(state['published_at'])
        self._critics_alone = int(state.get('critics_alone', 0))
        self._rng.bit_generator.state = state['rng']
        log.info('resumed at step %d with %d episodes', self.algorithm.steps, self.episodes)

    def _parts(self) -> list[tuple[OnlineCritics | OnlinePreference, str]]:
        parts = [(self.online, 'online'), (self.preference, 'preference')]
        return [(part, name) for part, name in parts if part is not None]

    def _told(self, what: str, *arguments: Any) -> contextlib.AbstractContextManager[None]:
        """Around what other processes must do, too."""
        return contextlib.nullcontext()

    def demonstrate(self, paths: Iterable[Path], progress: Callable[[int], None] = lambda n: None) -> int:
        """Add recorded demonstrations with the scores made later; returns how many were usable.

        Raises RewardModelError for damaged scores: without them critics would learn from another reward.
        """
        paths = list(paths)
        ledgers = {folder: Ledger(ledger_path(folder)) for folder in {path.parent for path in paths}}

        def read(path: Path) -> Episode:
            ledger = ledgers[path.parent]
            return agreed(lambda: ledger.apply(read_episode(path, self.robot)), self.ranks, ledger.refresh)

        return self.show(map(read, paths), progress)  # goes on after one that cannot be read

    def show(self, episodes: Iterable[Episode], progress: Callable[[int], None] = lambda n: None) -> int:
        """Add demonstrations; returns how many were usable."""
        return self.experience.show(episodes, progress)

    def ingest(self) -> list[str]:
        """Add every sealed episode not seen yet; returns their ids. Doing it twice changes nothing.

        Raises RefusedReward for an episode that a refused reward model would weigh.
        """
        added = []
        for key, fresh in self._intake.new():
            added.append(key)
            if fresh:  # else its updates were owed before
                self.owed += self.config.updates_per_episode
        return added

    def follow(self, robot: str, episode_id: str) -> None:
        """Learn of an episode because the first process does."""
        self._intake.follow(robot, episode_id)

    def take(self, episode: Episode) -> bool:
        """:meth:`add` an episode that is in no log, and owe the updates for it."""
        added = self.add(episode)
        if added:
            self.owed += self.config.updates_per_episode
        return added

    def _add_of(self, member: Member, episode: Episode) -> bool:
        added = self.add(episode)
        if added and len(self.fleet.members) > 1:
            self.fleet.count(member, episode)
            self.replay.shares = self.fleet.shares()
            if self.online is not None:
                self.online.buffer.share(self.replay.shares)
        return added

    def add(self, episode: Episode) -> bool:
        """Add one episode in memory; False if it cannot be learned from.

        Raises RefusedReward if its steps are weighed by a reward model that a clock or a cosine beats.
        """
        added = self.experience.add(episode)
        self.episodes = self.replay.episodes
        return added

    def hear(self, health: Health) -> None:
        """Take a report on a reward model."""
        self.experience.hear(health)

    @property
    def stopped(self) -> str:
        """Why a report on a reward model forbids learning; empty: it does not."""
        return self.experience.stopped

    @property
    def alarm(self) -> str:
        """Why nothing is learned until a person has looked; empty: nothing is wrong."""
        return self.experience.alarm

    def clear_alarm(self) -> list[str]:
        """A person has looked: learning goes on; returns the episodes that it was about."""
        return self.experience.clear_alarm()

    @property
    def ready(self) -> bool:
        """Whether an update is owed and possible."""
        critics = self.online is not None and self.online.ready
        enough = self.episodes >= self.config.warm_up and (critics or not self.replay.empty)
        return self.owed > 0 and enough and not self.alarm

    def update(self) -> dict[str, float]:
        """One gradient step of the flow, and those of the critics that belong to it.

        Nothing but critics may be learned until they find what the flow should imitate: without people and
        demonstrations.
        """
        metrics: dict[str, float] = {}
        if self.online is not None:
            if self.online.refresh_due:
                self.experience.refresh(self.algorithm.averaged, self.breathe)
            metrics |= self.online.update()
        self.replay.settle()  # in all processes here, where all have the same episodes
        if self.replay.empty:
            self.owed -= 1
            self._critics_alone += 1
            return {'loss': float('nan'), 'skipped': 0.0, **metrics}
        batch = self.replay.sample(self.config.algorithm.batch, self._rng)
        preferred = self.preference.loss(self.algorithm.policy) if self.preference else None
        metrics |= self.algorithm.update(batch, min(1.0, (self.algorithm.steps + 1) / 20), preferred)
        self.owed -= 1
        return metrics

    def acting(self) -> FlowPolicy | Choosing:
        """What acts now: the averaged policy, with critics if there are any."""
        averaged, online = self.algorithm.averaged, self.online
        return online.choosing(averaged) if online is not None and online.acts else averaged

    @property
    def publish_due(self) -> bool:
        """Enough steps since the last version, or nothing left to do and something new."""
        fresh = self.algorithm.steps - self._published_at
        if self.online is not None and self.online.acts:  # they choose also where the flow learned nothing
            fresh += self._critics_alone
        return fresh >= self.config.publish_every or (fresh > 0 and self.owed <= 0)

    def publish(self, metrics: dict[str, float] | None = None) -> Published | None:
        """Publish the averaged weights and save a snapshot; None for a candidate that failed the probe set.

        After several failures in a row training goes back to the newest version. Raises OSError when the disk
        is full.
        """
        about: dict[str, Any] = {'train_steps': self.algorithm.steps, 'episodes': self.episodes}
        found = self.admission.examine(self.algorithm.averaged, self.acting())
        if not found.passed:
            self._count_anew()  # the next candidate is as many updates away
            if self.admission.exhausted:
                log.error('training goes back to the newest version')
                self.train_from(self.admission.last_good())
            self._note({**about, 'refused': found.reason})
            return None
        beside = self.online.beside() if self.online is not None and self.online.fitted else None
        published = self.store.publish(self.algorithm.averaged, {**about, 'name': 'learned'}, beside)
        self.admission.probe.accept(published.version)
        self._count_anew()
        self.save()
        self._note({**about, 'name': 'learned', 'version': published.version, **(metrics or {})})
        return published

    def _count_anew(self) -> None:
        """Updates since a version, from now on."""
        self._published_at, self._critics_alone = self.algorithm.steps, 0

    def _note(self, line: dict[str, Any]) -> None:
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with open(self._metrics, 'a') as file:
            file.write(json.dumps(line) + '\n')

    def train_from(self, folder: Path) -> tuple[FlowPolicy, dict[str, Any], checkpoint.Beside | None]:
        """Go on from a published version, its critics too; what was read of it.

        The starter has no critics: those of now stay.
        """
        policy, manifest = checkpoint.load(folder)
        beside = checkpoint.load_beside(folder, manifest, CRITICS)
        self.algorithm.policy.load_state_dict(policy.state_dict())
        self.algorithm.averaged.load_state_dict(policy.state_dict())
        self.algorithm.optimizer.state.clear()
        if self.online is not None:
            if beside is not None:
                self.online.algorithm.load_state_dict(snapshot.below(beside[2], 'algorithm'))
            self.online.outdate()  # planned anew before the next update: who goes back does not wait for it
        return policy, manifest, beside

    def rollback(self) -> Published:
        """Publish the parent of the newest version again, as a new version, and train on from there.

        Raises ValueError when there is nothing to go back to.
        """
        versions = self.store.versions()
        if not versions:
            raise ValueError('nothing was published yet, so there is nothing to go back to')
        parent = self.store.describe(versions[-1]).parent
        # before the first version comes the starter
        policy, manifest, beside = self.train_from(self.store.folder(parent) if parent else self._starter)
        self.admission.begin_again()
        # its own parent, so that rolling back again goes further back
        about = {'parent': 0, **manifest['about'], 'name': f'rollback to {parent}'}
        published = self.store.publish(policy, about, beside)
        self._count_anew()
        self.save()
        return published

    def save(self) -> None:
        """Write the snapshot."""
        tensors = snapshot.tensors_of(self.algorithm)
        for part, prefix in self._parts():
            tensors |= {f'{prefix}.{name}': tensor for name, tensor in part.state_dict().items()}
        snapshot.write(
            tensors,
            self._snapshot,
            {
                'steps': self.algorithm.steps,
                'episodes': self._intake.known,
                'owed': self.owed,
                'published_at': self._published_at,
                'critics_alone': self._critics_alone,
                'rng': self._rng.bit_generator.state,
                'config': asdict(self.config),
            },
        )
