# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""An episode cut into windows that can be learned from: rewarded, normalised, and without faulty rows."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import numpy as np
import torch

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.quarantine import LIMIT, alarm, faulty_rows
from apprentice.learning.rl.windows import StepRewards, WindowConfig, Windows, step_rewards, windows
from apprentice.policies.config import PolicyConfig
from apprentice.policies.spec import PolicySpec
from apprentice.policies.units import PolicyUnits
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.robot.types import Episode

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """What can be learned from an episode.

    Attributes:
        found: rewards of its steps.
        windows: W that are sound.
        action: float32 [W, C, A], normalised; rows that are not valid repeat the last one that is.
        valid: bool [W, C].
        bad: windows that were left out.
        alarm: why learning must stop; empty: it need not.
    """

    found: StepRewards
    windows: Windows
    action: torch.Tensor
    valid: torch.Tensor
    bad: int
    alarm: str


class Cutter:
    """Cuts episodes of one policy.

    Args:
        spec: of the policy.
        advantage, rewards: which measurements count, and how; see :func:`.windows.step_rewards`.
        limit: executed actions further out than this, in standard deviations, are left out.
    """

    def __init__(
        self,
        spec: PolicySpec,
        config: WindowConfig,
        advantage: AdvantageConfig | None = None,
        rewards: RewardPipeline | None = None,
        limit: float = LIMIT,
    ):
        self.spec, self.config, self.advantage, self.limit = spec, config, advantage, limit
        self._rewards = rewards
        self._units = PolicyUnits(spec, PolicyConfig())
        self._kinds: set[bool] = set()  # of episodes: with and without measured progress

    def require(self, episode: Episode) -> None:
        """Raise ValueError for an evaluation and for an episode of another robot."""
        name = episode.episode_id
        if episode.eval_only:
            raise ValueError(f'{name} is an evaluation; held-out starts are never learned from')
        if episode.robot and episode.robot != self.spec.robot:
            raise ValueError(
                f'{name} was recorded on {episode.robot!r}, the policy is for {self.spec.robot!r}'
            )

    def cut(self, episode: Episode) -> Cut:
        """Windows whose numbers are finite and in range.

        Raises RewardModelError as :func:`.windows.step_rewards`.
        """
        found = step_rewards(episode, self.config, self.spec, self.advantage, self._rewards)
        every = windows(episode, found, self.config)
        action, valid = self._executed(episode, every)
        fine = (action.abs() <= self.limit).all(-1).all(-1).numpy()  # false for what is no number
        states = np.isfinite(episode.state).all(-1)
        usable = fine & states[every.start] & states[every.following] & np.isfinite(every.reward)
        some = Windows(**{name: value[usable] for name, value in vars(every).items()})
        # whether learning must stop is judged by rows, as in the replay
        faulty = faulty_rows(episode, self.spec, self.limit) | ~np.isfinite(found.reward)
        keep = torch.from_numpy(usable)
        bad, reason = int(np.sum(~usable)), alarm(episode.episode_id, faulty)
        return Cut(found, some, action[keep], valid[keep], bad, reason)

    def _executed(self, episode: Episode, cut: Windows) -> tuple[torch.Tensor, torch.Tensor]:
        offset = np.arange(self.config.rows)
        index = cut.start[:, None] + np.minimum(offset, cut.rows[:, None] - 1)
        actions = torch.from_numpy(np.asarray(episode.action, np.float32)[index])
        state = torch.from_numpy(np.asarray(episode.state, np.float32)[cut.start])
        valid = torch.from_numpy(offset < cut.rows[:, None])
        return self._units.normalize_actions(actions, state), valid

    def compare(self, episode: Episode, measured: bool) -> None:
        """Say once that rewards with and without the potential are mixed: one value stands for both."""
        pipeline = self._rewards is not None
        if not self.config.scale and not pipeline:
            return
        if {measured, *self._kinds} == {True, False} != self._kinds:
            log.warning(
                'progress was measured in some episodes and not in others (%s: %s), so critics learn from '
                'two kinds of rewards; measure the others (apprentice reward score FOLDER), or %s',
                episode.episode_id,
                'measured' if measured else 'not measured',
                'use no reward pipeline' if pipeline else 'set online.windows.scale to 0',
            )
        self._kinds.add(measured)


def reward_digest(episode: Episode) -> str:
    """Digest of what its rewards depend on."""
    rewards = sorted(repr(reward) for reward in episode.rewards)
    return hashlib.sha256(repr((episode.outcome, episode.end_cause, rewards)).encode()).hexdigest()
