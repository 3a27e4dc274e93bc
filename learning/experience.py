# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a learner knows: every episode as its parts make use of it, and how far reward models are believed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from apprentice.episodes.files import EpisodeFileError
from apprentice.learning.alarms import Alarms
from apprentice.learning.frame_store import FrameStore
from apprentice.learning.health import Health, Obedience
from apprentice.learning.learner_config import LearnerConfig
from apprentice.learning.preference.online import OnlinePreference
from apprentice.learning.probe_set import ProbeSet
from apprentice.learning.replay import Replay, UnusableEpisode
from apprentice.learning.reward_gate import RewardGate
from apprentice.learning.rl.online import OnlineCritics
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)


class Experience:
    """Replay, critics' transitions, preferences and probes, derived from episodes.

    Args:
        policy: the first one; it encodes and plans for the critics, and is the reference of preferences.
        probe: gets observations.
        alarms: where alarms are kept.
        frames: holds the pictures.
        watching: whether this process sounds alarms; of several the first one does.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        config: LearnerConfig,
        seed: int,
        probe: ProbeSet,
        alarms: Path,
        frames: FrameStore,
        watching: bool,
    ):
        self.config, self._probe, self._frames = config, probe, frames
        self._alarms, self._watching = Alarms(alarms), watching
        pipeline = config.advantage.rewards
        self.pipeline = RewardPipeline.load(pipeline) if pipeline else None
        self._gate = RewardGate(config.force_rewards)
        advantage, online, preference = config.advantage, config.online, config.preference
        self.online = OnlineCritics(policy, online, advantage, self.pipeline, seed) if online else None
        self.preference = OnlinePreference(policy, preference, seed) if preference else None
        self.replay = Replay(
            policy.spec,
            config.human_share,
            config.intervention_share,
            advantage,
            self.pipeline,
            self.online.weigh if self.online else None,
            {n: policy.config.downsample(one).shape[1:3] for n, one in policy.spec.blank_images(1).items()},
        )
        self.obedience = Obedience()

    def show(self, episodes: Iterable[Episode], progress: Callable[[int], None] = lambda n: None) -> int:
        """Add demonstrations; returns how many were usable."""
        usable = list[Episode]()
        whole: list[Episode | None] = []  # a few steps of each, as those will be that are acted on
        episodes, probe = iter(episodes), self.config.probe
        while True:
            try:
                episode = next(episodes, None)
                if episode is None:
                    break
                self.replay.check(episode)
                usable.append(self._frames.keep(episode))
            except (UnusableEpisode, EpisodeFileError, RewardModelError) as error:
                log.warning('demonstration skipped: %s', error)
                continue
            whole.append(self._probe.thinned(episode))
            spare = len(whole) - 1 - probe.held_out
            if spare >= probe.observations:  # each gives one at least
                whole[spare] = None
        if self.online is not None and usable:
            self.online.fit(usable)
        self._look_for_alarms()
        learned = len(usable) - min(probe.held_out, max(len(usable) - 1, 0))
        for episode in usable[learned:]:
            self._probe.hold_out(episode)
        for steps in [*whole[learned:], *whole[:learned]]:
            if steps is not None:
                self._probe.add(steps, demonstration=True)
        for count, episode in enumerate(usable[:learned], 1):
            self._learn_of(episode, demonstration=True)
            progress(count)
        return learned

    def _learn_of(self, episode: Episode, demonstration: bool = False) -> int:
        """Into every part, once it was checked; the number of steps the flow learns of."""
        if self.online is not None:
            self.online.add(episode, demonstration)
        clean = bool(np.isfinite(episode.state).all() and np.isfinite(episode.action).all())
        if self.preference is not None and not demonstration and clean:
            self.preference.add(episode)
        return self.replay.add(episode, demonstration)

    def add(self, episode: Episode) -> bool:
        """Add one episode in memory; False if it cannot be learned from.

        Raises RefusedReward if its steps are weighed by a reward model that a clock or a cosine beats.
        """
        self._gate.check_episode(episode, self.config.advantage, self.pipeline)
        try:
            self.replay.check(episode)
            useful = self._learn_of(self._frames.keep(episode))
            self._probe.add(episode)
        except RewardModelError as error:
            log.warning('%s: %s', episode.episode_id, error)
            return False
        except UnusableEpisode as error:
            log.info('%s', error)
            return False
        finally:
            self._look_for_alarms()
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
            if self.online is not None:
                self.online.believe(advantage)
            self.replay.reweigh(advantage)

    def _models(self) -> set[str]:
        """Reward models that are learned from."""
        if self.pipeline is not None:
            return {model for model in self.obedience.models if self.pipeline.uses(model)}
        return {self.config.advantage.model} if self.config.advantage.model else self.replay.models

    @property
    def stopped(self) -> str:
        """Why a report on a reward model forbids learning; empty: it does not."""
        return self.obedience.stopped(self._models())

    def _look_for_alarms(self) -> None:
        for buffer in (self.replay, self.online.buffer if self.online is not None else None):
            if buffer is not None and buffer.alarm:
                episode_id, reason = buffer.alarm.split(': ', 1)
                if self._watching and self._alarms.sound(episode_id, buffer.alarm):
                    log.error('learning stops: %s: %s', episode_id, reason)
                buffer.alarm = ''

    @property
    def alarm(self) -> str:
        """Why nothing is learned until a person has looked; empty: nothing is wrong."""
        return self._alarms.text

    def clear_alarm(self) -> list[str]:
        """A person has looked: learning goes on; returns the episodes that it was about."""
        return self._alarms.clear()

    def refresh(self, policy: FlowPolicy, breathe: Callable[[], None] = lambda: None) -> None:
        """Plan losing chunks and candidates anew by ``policy``; weigh steps by the critics as they are.

        Args:
            breathe: called between two episodes.
        """
        if self.preference is not None:
            self.preference.refer_to(policy)
        if self.online is not None:
            self.online.refresh(policy, breathe)
        self.replay.reweigh()
