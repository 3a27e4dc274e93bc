# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner: sealed episodes in, better weights out. No ROS, no threads; the node drives it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed, read_label
from apprentice.learning import snapshot
from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.health import Health, Obedience
from apprentice.learning.replay import Replay, UnusableEpisode
from apprentice.learning.rescore import FILE as LEDGER
from apprentice.learning.reward_gate import RefusedReward, RewardGate
from apprentice.learning.weighted_flow import WeightedFlow, WeightedFlowConfig
from apprentice.learning.weights import Published, WeightStore
from apprentice.policies import checkpoint
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.ledger import Ledger
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LearnerConfig:
    """How much is learned when.

    Attributes:
        updates_per_episode: gradient steps owed for each ingested episode.
        publish_every: gradient steps between published versions.
        warm_up: episodes before the first update.
        force_rewards: learn also from reward models that a clock or a cosine beats.
    """

    updates_per_episode: int = 20
    publish_every: int = 100
    warm_up: int = 2
    force_rewards: bool = False
    human_share: float = 0.5
    intervention_share: float = 0.5
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    algorithm: WeightedFlowConfig = field(
        default_factory=lambda: WeightedFlowConfig(learning_rate=4e-4, batch=32, ema=0.99)
    )


class Learner:
    """Replay, algorithm and weight store of one run.

    Args:
        robot: robot the episodes were recorded on.
        run_dir: holds ``episodes``, ``weights`` and ``learner`` (the snapshot); an existing run goes on.
        starter: policy folder to start from.
    """

    def __init__(
        self,
        robot: RobotSpec,
        run_dir: str | Path,
        starter: str | Path,
        config: LearnerConfig | None = None,
        seed: int = 0,
    ):
        self.robot, self.run_dir, self.config = robot, Path(run_dir), config or LearnerConfig()
        self._starter = Path(starter)
        policy, _ = checkpoint.load(starter)
        policy.spec.require(robot)
        self.store = WeightStore(self.run_dir / 'weights')
        self.algorithm = WeightedFlow(policy.train(), self.config.algorithm, seed)
        # scores made again later; read only, `rescore_run` writes it
        self.ledger = Ledger(self.run_dir / LEDGER)
        pipeline = self.config.advantage.rewards
        self._pipeline = RewardPipeline.load(pipeline) if pipeline else None
        self._gate = RewardGate(self.config.force_rewards)
        self.replay = Replay(
            policy.spec,
            self.config.human_share,
            self.config.intervention_share,
            self.config.advantage,
            self._pipeline,
        )
        self.obedience = Obedience()
        self._rng = np.random.default_rng(seed)
        self._seen: dict[str, Outcome | None] = {}  # episode -> the later label it was read with
        self._refused: set[str] = set()  # of the snapshot: learned from before, refused now
        self.episodes = 0
        self.owed = 0
        self._published_at = 0
        self._snapshot = self.run_dir / 'learner'
        self._metrics = self.run_dir / 'metrics.jsonl'
        self._resume()

    def _resume(self) -> None:
        state = snapshot.restore(self.algorithm, self._snapshot)
        if state is None:
            return
        # the samples come back from the log; what was owed for them is known
        for path in self._sealed():
            if path.stem in state['episodes']:
                try:
                    self._add(path)
                except RefusedReward:  # said by the next look at the episodes, where a node can report it
                    self._refused.add(path.stem)
        self.owed = int(state['owed'])
        self._published_at = int(state['published_at'])
        self._rng.bit_generator.state = state['rng']
        log.info('resumed at step %d with %d episodes', self.algorithm.steps, self.episodes)

    def _sealed(self) -> list[Path]:
        return list(iter_sealed(self.run_dir / 'episodes'))

    def demonstrate(self, paths: Iterable[Path], progress: Callable[[int], None] = lambda n: None) -> int:
        """Add recorded demonstrations; returns how many were usable."""
        count = 0
        for path in paths:
            try:
                self.replay.add(read_episode(path, self.robot), demonstration=True)
                count += 1
                progress(count)
            except (UnusableEpisode, EpisodeFileError, RewardModelError) as error:
                log.warning('demonstration skipped: %s', error)
        return count

    def ingest(self) -> list[str]:
        """Add every sealed episode not seen yet; returns their ids. Doing it twice changes nothing.

        Raises RefusedReward for an episode that a refused reward model would weigh.
        """
        added = []
        rescored = self.ledger.refresh()
        for path in self._sealed():
            if path.stem not in self._seen:
                if self._add(path):
                    added.append(path.stem)
                    if path.stem not in self._refused:  # else its updates were owed before
                        self.owed += self.config.updates_per_episode
            elif path.stem in rescored or self._label(path) != self._seen[path.stem]:
                # a person judged it after the fact, or a better reward model: its samples are weighted anew
                self._add(path)
        return added

    def _label(self, path: Path) -> Outcome | None:
        try:
            return read_label(path)
        except EpisodeFileError as error:
            log.error('%s', error)
            return self._seen.get(path.stem)

    def _add(self, path: Path) -> bool:
        self._seen[path.stem] = self._label(path)
        try:
            return self.add(self.ledger.apply(read_episode(path, self.robot)))
        except EpisodeFileError as error:
            log.error('%s', error)
            return False
        except RefusedReward:
            del self._seen[path.stem]  # it was not learned from, and is looked at again
            raise

    def add(self, episode: Episode) -> bool:
        """Add one episode in memory; False if it cannot be learned from.

        Raises RefusedReward if its steps are weighed by a reward model that a clock or a cosine beats.
        """
        self._gate.check_episode(episode, self.config.advantage, self._pipeline)
        try:
            useful = self.replay.add(episode)
        except RewardModelError as error:
            log.warning('%s: %s', episode.episode_id, error)
            return False
        except UnusableEpisode as error:
            log.info('%s', error)
            return False
        self.episodes = self.replay.episodes
        self._obey()  # it may bring a reward model that a report has spoken of
        log.info(
            '%s: %d of %d steps useful, %d by a person',
            episode.episode_id,
            useful,
            len(episode),
            episode.human_steps,
        )
        return True

    def hear(self, health: Health) -> None:
        """Take a report on a reward model."""
        self.obedience.hear(health)
        self._obey()

    def _obey(self) -> None:
        advantage = self.obedience.advantage(self.config.advantage, self._models())
        if advantage != self.replay.advantage:
            log.info('reward models count %.2g; everything is weighed anew', advantage.shaping_weight)
            self.replay.reweigh(advantage)

    def _models(self) -> set[str]:
        """Reward models that are learned from."""
        if self._pipeline is not None:
            return {model for model in self.obedience.models if self._pipeline.uses(model)}
        return {self.config.advantage.model} if self.config.advantage.model else self.replay.models

    @property
    def stopped(self) -> str:
        """Why a report on a reward model forbids learning; empty: it does not."""
        return self.obedience.stopped(self._models())

    @property
    def ready(self) -> bool:
        """Whether an update is owed and possible."""
        return self.owed > 0 and self.episodes >= self.config.warm_up and not self.replay.empty

    def update(self) -> dict[str, float]:
        """One gradient step."""
        batch = self.replay.sample(self.config.algorithm.batch, self._rng)
        metrics = self.algorithm.update(batch, rate=min(1.0, (self.algorithm.steps + 1) / 20))
        self.owed -= 1
        return metrics

    @property
    def publish_due(self) -> bool:
        """Enough steps since the last version, or nothing left to do and something new."""
        fresh = self.algorithm.steps - self._published_at
        return fresh >= self.config.publish_every or (fresh > 0 and self.owed <= 0)

    def publish(self, metrics: dict[str, float] | None = None) -> Published:
        """Publish the averaged weights and save a snapshot. Raises OSError when the disk is full."""
        about = {'train_steps': self.algorithm.steps, 'episodes': self.episodes, 'name': 'learned'}
        published = self.store.publish(self.algorithm.averaged, about)
        self._published_at = self.algorithm.steps
        self.save()
        with open(self._metrics, 'a') as file:
            file.write(json.dumps({**about, 'version': published.version, **(metrics or {})}) + '\n')
        return published

    def rollback(self) -> Published:
        """Publish the parent of the newest version again, as a new version, and train on from there.

        Raises ValueError when there is nothing to go back to.
        """
        versions = self.store.versions()
        if not versions:
            raise ValueError('nothing was published yet, so there is nothing to go back to')
        parent = self.store.describe(versions[-1]).parent
        # before the first version comes the starter
        policy, manifest = checkpoint.load(self.store.folder(parent) if parent else self._starter)
        self.algorithm.policy.load_state_dict(policy.state_dict())
        self.algorithm.averaged.load_state_dict(policy.state_dict())
        self.algorithm.optimizer.state.clear()
        # its own parent, so that rolling back again goes further back
        about = {'parent': 0, **manifest['about'], 'name': f'rollback to {parent}'}
        published = self.store.publish(policy, about)
        self._published_at = self.algorithm.steps
        self.save()
        return published

    def save(self) -> None:
        """Write the snapshot."""
        snapshot.save(
            self.algorithm,
            self._snapshot,
            {
                'episodes': sorted({*self._seen, *self._refused}),
                'owed': self.owed,
                'published_at': self._published_at,
                'rng': self._rng.bit_generator.state,
                'config': asdict(self.config),
            },
        )
