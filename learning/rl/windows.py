# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Overlapping windows of an episode and the rewards of its steps: what chunk transitions are made of.

A step's reward is success + scale * (gamma Phi' - Phi) through :mod:`apprentice.reward_models.shaping`, so
those of a window add up to success + scale * (gamma^m Phi' - Phi): moving to and fro earns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from apprentice.learning.advantage import AdvantageConfig, potential, trajectory, without_future
from apprentice.learning.guidance.accounting import takeovers
from apprentice.policies.spec import PolicySpec
from apprentice.reward_models.base import Trajectory
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.reward_models.shaping.pipeline import PartConfig, Shaping, ShapingConfig
from apprentice.robot.settings import SettingsError, at_least, positive
from apprentice.robot.types import Episode, Outcome, Source

_POTENTIAL = 'apprentice.reward_models.shaping.potential:PotentialShaping'


@dataclass(frozen=True)
class WindowConfig:
    """How transitions are cut from episodes.

    Attributes:
        rows: C, most rows of a window.
        stride: rows from one window to the next.
        discount: gamma of one row.
        scale: of the potential's differences, where no reward pipeline says otherwise.
        toggle_penalty: for every time a gripper's target crosses the middle of its range.
        takeover_penalty: for the step at which a person takes over from the policy.
        raw_differences: pay scale * (Phi' - Phi) and keep the potential at the end, instead of the discounted
            form, which alone leaves what is best unchanged; to compare.
        duration_s: longest episode; the share of it that is over is part of a feature.
    """

    rows: int = 8
    stride: int = 2
    discount: float = 0.98
    scale: float = 0.5
    toggle_penalty: float = 0.02
    takeover_penalty: float = 0.0
    raw_differences: bool = False
    duration_s: float = 10.0

    def __post_init__(self) -> None:
        at_least(self, 1, 'rows', 'stride')
        at_least(self, 0, 'scale', 'toggle_penalty', 'takeover_penalty')
        positive(self, 'duration_s')
        if not 0 < self.discount <= 1:
            raise SettingsError(f'discount is {self.discount}; give a discount in (0, 1]')


@dataclass
class StepRewards:
    """Rewards of an episode of T steps.

    Attributes:
        reward: float64 [T].
        phi: float64 [T] in [0, 1], the potential; 0 where nothing was measured.
        terminal: whether it ended in a state without a future.
        measured: whether a reward model said anything, so that the potential is part of the reward.
    """

    reward: np.ndarray
    phi: np.ndarray
    terminal: bool
    measured: bool = True


@dataclass
class Windows:
    """W windows of one episode.

    Attributes:
        start: int [W], first row.
        rows: int [W], rows that count.
        following: int [W], row of the observation after them; the start again where ``discount`` is 0.
        reward: float64 [W], discounted sum.
        discount: float64 [W], gamma to the number of rows; 0 after a terminal.
        human: bool [W], a person drove most of the rows.
    """

    start: np.ndarray
    rows: np.ndarray
    following: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    human: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def moments(self) -> np.ndarray:
        """Rows whose observations are needed, sorted."""
        return np.unique(np.concatenate([self.start, self.following]))


def step_rewards(
    episode: Episode,
    config: WindowConfig,
    spec: PolicySpec | None = None,
    advantage: AdvantageConfig | None = None,
    pipeline: RewardPipeline | None = None,
) -> StepRewards:
    """Rewards and potential of every step.

    Args:
        spec: of the policy, for the ranges of the grippers; None: toggling costs nothing.
        advantage: which measurements count, and how much.
        pipeline: calibrates and shapes; None: progress as it was measured, with ``config.scale``.

    Raises RewardModelError for measurements that the pipeline cannot calibrate or shape.
    """
    advantage = advantage or AdvantageConfig()
    if pipeline is not None:
        steps, shaping = trajectory(episode, pipeline, advantage), pipeline.shaping
    else:
        phi = potential(episode, advantage.model, advantage)
        steps = None if phi is None else _trajectory(episode, phi)
        part = PartConfig(_POTENTIAL, {'scale': config.scale})
        shaping = Shaping(ShapingConfig(transforms=(part,)))
    measured = steps is not None
    if steps is None:  # nothing was measured: success alone
        steps = replace(_trajectory(episode, np.zeros(len(episode))), trust=0.0)
    steps = replace(steps, discount=config.discount)
    success = shaping.config.sparse * steps.success_signal()
    reward = success + advantage.shaping_weight * (shaping(steps) - success)
    if config.raw_differences:
        reward = success + config.scale * advantage.shaping_weight * np.diff(steps.potential)
    reward = reward - config.toggle_penalty * _toggles(episode, spec)
    reward = reward - config.takeover_penalty * _takeovers(episode)
    return StepRewards(reward, np.asarray(steps.potential, np.float64)[:-1], steps.terminal, measured)


def _trajectory(episode: Episode, phi: np.ndarray) -> Trajectory:
    judged = episode.outcome in (Outcome.SUCCESS, Outcome.FAILURE)
    return Trajectory(
        potential=np.append(phi, phi[-1:]),
        terminal=without_future(episode),
        outcome=float(episode.outcome == Outcome.SUCCESS) if judged else float('nan'),
    )


def _toggles(episode: Episode, spec: PolicySpec | None) -> np.ndarray:
    """Grippers that cross the middle of their range, float64 [T]."""
    count = np.zeros(len(episode))
    if spec is None or not spec.gripper:
        return count
    columns = np.flatnonzero(~np.asarray(spec.relative))
    for column, (low, high) in zip(columns, spec.gripper, strict=True):
        upper = episode.action[:, column] > (low + high) / 2
        count[1:] += upper[1:] != upper[:-1]
    return count


def _takeovers(episode: Episode) -> np.ndarray:
    """1 at the first step of every takeover from the policy, float64 [T]."""
    return takeovers(episode.source).astype(float)


def windows(episode: Episode, rewards: StepRewards, config: WindowConfig) -> Windows:
    """Windows of what the policy or a person drove; holding and resetting are nobody's intention.

    A window is shorter where driving or the episode ends. The last observation of a time-out without success
    is bootstrapped from; what happens after its step was not recorded.
    """
    human = episode.source == int(Source.HUMAN)
    driven = human | (episode.source == int(Source.POLICY))
    reward, gamma = rewards.reward.copy(), config.discount
    length = int(np.flatnonzero(driven)[-1]) + 1 if driven.any() else 0
    if length:  # what was earned while nobody drove any more belongs to the last step somebody did
        rest = reward[length:]
        reward[length - 1] += float(rest @ gamma ** np.arange(1, len(rest) + 1))
    ends = rewards.terminal or len(episode) > length
    end = length if ends else length - 1
    stops = np.append(np.flatnonzero(~driven[:length]), length)
    start = np.arange(0, max(end, 0), config.stride)
    start = start[driven[start]]
    rows = np.minimum(np.minimum(config.rows, end - start), stops[np.searchsorted(stops, start)] - start)
    powers = gamma ** np.arange(config.rows)
    padded = np.append(reward[:length], np.zeros(config.rows))
    index = start[:, None] + np.arange(config.rows)
    valid = np.arange(config.rows) < rows[:, None]
    over = rewards.terminal & (start + rows == length)
    return Windows(
        start=start,
        rows=rows,
        following=np.where(over, start, start + rows),
        reward=(np.where(valid, padded[index], 0.0) * powers).sum(1),
        discount=np.where(over, 0.0, gamma**rows),
        human=2 * (valid & np.append(human, np.zeros(config.rows, bool))[index]).sum(1) > rows,
    )
