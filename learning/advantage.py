# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How much each executed step is worth imitating: people's help is good, progress is good, failure is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from apprentice.learning.guidance.accounting import BEFORE_TAKEOVER_S, before_takeover
from apprentice.learning.reward_aligned import UsualGain, reward_aligned_weights
from apprentice.reward_models.base import RewardModelError, Trajectory
from apprentice.reward_models.pipeline import RewardPipeline
from apprentice.reward_models.revisions import effective
from apprentice.robot.episode_record import EndCause
from apprentice.robot.settings import at_least, fractions, positive
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source


@dataclass(frozen=True)
class AdvantageConfig:
    """Weights of advantage-weighted imitation.

    Attributes:
        rule: how the policy's own steps of a success weigh: ``exponential``, by the advantage, or ``ra_bc``,
            0 to 1 by the progress over a chunk (see :mod:`.reward_aligned`).
        temperature: of ``exponential``, w = exp(advantage / temperature).
        ceiling: largest weight, also where the outcome alone decides; at 0 people alone are imitated.
        kappa: of ``ra_bc``, a step that gains more weighs 1.
        before_takeover_s: steps so shortly before a takeover count against the policy (weight 0).
        human_failed: weight of a person's steps in an episode that failed.
        model: reward model whose progress is used; empty takes any that reports progress.
        rewards: YAML of a reward pipeline (reward_models/pipeline.py), which then says what is used:
            calibrated potentials, trust and shaping; empty: the progress as it was measured.
        shaping_weight: in [0, 1], how much the reward models count; at 0 outcome and takeovers alone decide.
        frozen: (model, version): of this model only what this version measured counts.
    """

    rule: Literal['exponential', 'ra_bc'] = 'exponential'
    temperature: float = 0.3
    ceiling: float = 3.0
    kappa: float = 0.01
    before_takeover_s: float = BEFORE_TAKEOVER_S
    human_failed: float = 0.5
    model: str = ''
    rewards: str = ''
    shaping_weight: float = 1.0
    frozen: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        positive(self, 'temperature')
        at_least(self, 0, 'ceiling', 'kappa', 'before_takeover_s', 'human_failed')
        fractions(self, 'shaping_weight')

    def counting(self, rewards: list[Reward]) -> list[Reward]:
        """Valid measurements that may be learned from, by time: of each moment the highest revision.

        Labels and the simulator's truth are not among them.
        """
        frozen = dict(self.frozen)
        allowed = [r for r in rewards if frozen.get(r.model, r.version) == r.version]
        return [
            r for r in effective(allowed) if r.valid and r.kind not in (RewardKind.HUMAN, RewardKind.TRUTH)
        ]


def potential(episode: Episode, model: str = '', config: AdvantageConfig | None = None) -> np.ndarray | None:
    """Progress at every step, float64 [T] in [0, 1], linear between the valid samples; None without samples.

    A successful end counts as 1, whatever the model says there.
    """
    samples = sorted(
        (r.t1, progress_of(r)) for r in _with_progress(episode, config) if not model or r.model == model
    )
    if not samples or not len(episode):
        return None
    times, values = np.array(samples).T
    if episode.outcome == Outcome.SUCCESS:
        end = episode.stamps[-1]
        keep = times < end
        times, values = np.append(times[keep], end), np.append(values[keep], 1.0)
    return np.clip(np.interp(episode.stamps, times, values), 0.0, 1.0)


def progress_models(episode: Episode) -> set[str]:
    """Reward models whose progress is in an episode."""
    return {reward.model for reward in _with_progress(episode)}


def _with_progress(episode: Episode, config: AdvantageConfig | None = None) -> list[Reward]:
    return [
        reward
        for reward in (config or AdvantageConfig()).counting(episode.rewards)
        if reward.kind in (RewardKind.PROGRESS_DELTA, RewardKind.ABS_PROGRESS)
        and np.isfinite(progress_of(reward))
    ]


def progress_of(reward: Reward) -> float:
    """The accumulated progress of a sample; a single-frame progress model reports it as its value."""
    if reward.kind == RewardKind.ABS_PROGRESS and not np.isfinite(reward.progress):
        return reward.value
    return reward.progress


def without_future(episode: Episode) -> bool:
    """Whether it ended in a state after which nothing can be earned: success, however late it was seen, or a
    failure that is more than that the time was over."""
    failed = episode.outcome == Outcome.FAILURE and episode.end_cause != EndCause.TIMEOUT
    return episode.outcome == Outcome.SUCCESS or failed


def check_shaping(pipeline: RewardPipeline) -> None:
    """Raise RewardModelError for shaping that steps cannot be weighed by.

    A weight looks at the reward of the next few steps. Scores of single steps only mean something as the sum
    to the end of the episode.
    """
    refused = pipeline.shaping.needs_returns()
    if refused or pipeline.shaping.of_scores:
        names = refused or [type(transform).__name__ for transform in pipeline.shaping.transforms]
        raise RewardModelError(
            f'the learner weighs steps by the potential and cannot use the shaping {names}; begin shaping.'
            'transforms with apprentice.reward_models.shaping.potential:PotentialShaping and leave out '
            'transforms of scores (PreferenceAsReward, ReNorm, Clip, Delta)'
        )


def trajectory(
    episode: Episode, pipeline: RewardPipeline, config: AdvantageConfig | None = None
) -> Trajectory | None:
    """What shaping looks at, from the calibrated potential; None where its models measured nothing.

    The scores of single steps are the potentials that the steps lead to, for shaping that acts on scores. A
    time-out without success is no terminal: the potential stays there, and whoever bootstraps may. Raises
    RewardModelError for a calibration that is not for these scores or this instruction.
    """
    if not len(episode):
        return None
    rewards = (config or AdvantageConfig()).counting(episode.rewards)
    measured = pipeline.potential(rewards, episode.task, episode.stamps)
    if measured is None:
        return None
    judged = episode.outcome in (Outcome.SUCCESS, Outcome.FAILURE)
    phi = np.append(measured.phi, measured.phi[-1])
    return Trajectory(
        potential=phi,
        process=phi[1:] if pipeline.shaping.of_scores else None,
        terminal=without_future(episode),
        outcome=float(episode.outcome == Outcome.SUCCESS) if judged else float('nan'),
        discount=pipeline.config.shaping.discount,
        trust=measured.trust,
        text=episode.task,
    )


def weighed_steps(
    episode: Episode, pipeline: RewardPipeline, config: AdvantageConfig | None = None
) -> Trajectory | None:
    """What steps are weighed by, which is also what ``Normalise`` learns its statistics from; None without
    trust or measurements.

    It says which steps were better, not whether it succeeded: a successful end counts as 1, and is not paid
    on top. Raises RewardModelError as :func:`trajectory`.
    """
    steps = trajectory(episode, pipeline, config)
    if steps is None or steps.trust <= 0:
        return None
    end = 1.0 if episode.outcome == Outcome.SUCCESS else steps.potential[-1]
    return replace(
        steps, potential=np.append(steps.potential[:-1], end), terminal=False, sparse=np.zeros(len(episode))
    )


def _gain(
    episode: Episode, horizon: int, config: AdvantageConfig, pipeline: RewardPipeline | None
) -> np.ndarray | None:
    """What is gained over ``horizon`` steps from each step on, float64 [T]; None: nothing was measured."""
    length = len(episode)
    if pipeline is None:
        found = progress_ahead(episode, horizon, config)
        return None if found is None else found[0]
    check_shaping(pipeline)
    steps = weighed_steps(episode, pipeline, config)
    if steps is None:
        return None
    rewards = np.append(pipeline.shaping(steps), np.zeros(horizon))
    gain = np.zeros(length)
    for k in range(horizon):
        gain += steps.discount**k * rewards[k : k + length]
    return gain


def progress_ahead(
    episode: Episode, horizon: int, config: AdvantageConfig, pipeline: RewardPipeline | None = None
) -> tuple[np.ndarray, float] | None:
    """Phi_{t + horizon} - Phi_t, float64 [T], and the trust in it; None without trust or measurements.

    After the end the potential stays. Raises RewardModelError as :func:`trajectory`.
    """
    if pipeline is None:
        phi, trust = potential(episode, config.model, config), 1.0
    else:
        steps = weighed_steps(episode, pipeline, config)
        phi, trust = (None, 0.0) if steps is None else (steps.potential, steps.trust)
    if phi is None:
        return None
    rows = np.arange(len(episode))
    return phi[np.minimum(rows + horizon, len(phi) - 1)] - phi[rows], trust


def usual_gain(
    episodes: Iterable[Episode],
    horizon: int,
    config: AdvantageConfig,
    pipeline: RewardPipeline | None = None,
) -> UsualGain | None:
    """Of the steps that somebody drove in ``episodes``; None where nothing was measured."""
    gains = []
    for episode in episodes:
        try:
            found = progress_ahead(episode, horizon, config, pipeline)
        except RewardModelError:  # said where it is weighed
            continue
        if found is not None:
            gains.append(found[0][np.isin(episode.source, (int(Source.POLICY), int(Source.HUMAN)))])
    return UsualGain.of(gains)


def _by_advantage(
    episode: Episode, horizon: int, config: AdvantageConfig, pipeline: RewardPipeline | None
) -> np.ndarray:
    gain = _gain(episode, horizon, config, pipeline)
    advantage = np.zeros(len(episode))
    driven = episode.source == int(Source.POLICY)
    if gain is not None and np.any(driven):
        advantage = config.shaping_weight * (gain - gain[driven].mean())
    return np.exp(advantage / config.temperature)


def _by_progress(
    episode: Episode,
    horizon: int,
    config: AdvantageConfig,
    pipeline: RewardPipeline | None,
    usual: UsualGain | None,
) -> np.ndarray:
    found = progress_ahead(episode, horizon, config, pipeline)
    usual = usual or usual_gain([episode], horizon, config, pipeline)
    if found is None or usual is None:
        return np.ones(len(episode))
    gain, trust = found
    # as far as the measurement does not count, the outcome does
    return 1 + config.shaping_weight * trust * (reward_aligned_weights(gain, usual, config.kappa) - 1)


def step_weights(
    episode: Episode,
    horizon: int,
    config: AdvantageConfig | None = None,
    pipeline: RewardPipeline | None = None,
    usual: UsualGain | None = None,
) -> np.ndarray:
    """Imitation weight of every step, float32 [T].

    The advantage of a step is the progress (with a pipeline: the shaped reward) over the following
    ``horizon`` steps less its mean over the policy's steps of the episode. Without a progress measurement
    or trust it is 0, so outcome and takeovers decide. The success signal is no part of it: the outcome
    already says whether an episode is imitated.

    With the rule ``ra_bc`` the policy's steps of a success weigh :func:`.reward_aligned_weights` of the
    progress over the following ``horizon`` steps (of the calibrated potential, before shaping), and 1
    without one.

    Args:
        pipeline: made from ``config.rewards``.
        usual: of ``ra_bc``: what is gained in other episodes, too; None: this one alone is known.

    Raises RewardModelError for a pipeline that cannot calibrate these scores or weigh steps (check_shaping).
    """
    config = config or AdvantageConfig()
    human = episode.source == int(Source.HUMAN)
    success = episode.outcome == Outcome.SUCCESS
    weight = np.full(len(episode), float(success))
    if success and config.shaping_weight > 0:
        if config.rule == 'ra_bc':
            weight = _by_progress(episode, horizon, config, pipeline, usual)
        else:
            weight = _by_advantage(episode, horizon, config, pipeline)
    weight = np.minimum(weight, config.ceiling)
    weight[before_takeover(episode.stamps, episode.source, config.before_takeover_s)] = 0.0
    weight[human] = 1.0 if success else config.human_failed
    # holding and resetting are nobody's intention
    somebody = human | (episode.source == int(Source.POLICY))
    return (weight * somebody).astype(np.float32)
