# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the protocol remembers of an episode, and the counts over many."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.robot.intervals import wilson
from apprentice.robot.types import Episode, Outcome, Reward, RewardKind, Source


@dataclass(frozen=True)
class Try:
    """One episode that may be learned from.

    Attributes:
        key: of the episode and what happened in it: the same log read again has the same key, another try
            under the same name has another.
        judged: it ended as a success or a failure; an abort says nothing about the policy.
        driven, human: steps that the policy or a person drove, and those of them that a person drove.
        finished_by_person: a person drove the last of them.
        feature: of its first observation [D], None where starts are told apart otherwise.
        stds: standard deviations of the progress that was measured while the policy drove.
    """

    key: str
    episode_id: str
    task: str
    seed: int
    judged: bool
    success: bool
    driven: int
    human: int
    finished_by_person: bool
    feature: np.ndarray | None = None
    stds: tuple[float, ...] = ()

    @property
    def won_alone(self) -> bool:
        """The policy ended it with success, and nobody helped."""
        return self.success and not self.human

    def demonstration(self, share: float) -> bool:
        """Whether a person drove at least this share of it."""
        return bool(self.human) and self.human >= share * self.driven


def try_of(episode: Episode, feature: np.ndarray | None = None, model: str = '') -> Try:
    """Sum up an episode. Who drove is what the gate executed, ``episode.source``.

    Args:
        model: the reward model whose standard deviations count; empty: all.
    """
    source = np.asarray(episode.source)
    driven = source[np.isin(source, (int(Source.POLICY), int(Source.HUMAN)))]
    measured = [r for r in episode.rewards if measures_progress(r, model) and np.isfinite(r.std)]
    # a stamp is in nanoseconds in the log, and may come back a little smaller
    steps = np.searchsorted(episode.stamps, [r.t1 + 1e-6 for r in measured], side='right') - 1
    by_policy = [n >= 0 and source[n] == int(Source.POLICY) for n in steps]
    content = np.ascontiguousarray(episode.action).tobytes() + np.ascontiguousarray(episode.stamps).tobytes()
    return Try(
        key=f'{episode.episode_id}:{zlib.crc32(content):08x}',
        episode_id=episode.episode_id,
        task=episode.task,
        seed=episode.seed,
        judged=episode.outcome in (Outcome.SUCCESS, Outcome.FAILURE),
        success=episode.outcome == Outcome.SUCCESS,
        driven=len(driven),
        human=int(np.sum(driven == int(Source.HUMAN))),
        finished_by_person=bool(len(driven)) and driven[-1] == int(Source.HUMAN),
        feature=feature,
        stds=tuple(float(r.std) for r, drove in zip(measured, by_policy, strict=True) if drove),
    )


def measures_progress(reward: Reward, model: str = '') -> bool:
    """Whether it is a valid measurement of progress, as learning uses it; the simulator's truth is not."""
    of_progress = reward.kind in (RewardKind.PROGRESS_DELTA, RewardKind.ABS_PROGRESS)
    return reward.valid and of_progress and model in ('', reward.model)


@dataclass(frozen=True)
class Rate:
    """A success rate over n tries, with its Wilson interval of 95 % [low, high]."""

    successes: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, n: int) -> Rate:
        return cls(successes, n, *wilson(successes, n))


def autonomous(tries: Sequence[Try]) -> Rate:
    """Success of the policy alone: episodes in which a person drove are not among them, whoever won."""
    alone = [each for each in tries if each.judged and not each.human]
    return Rate.of(sum(each.success for each in alone), len(alone))


def intervention_share(tries: Sequence[Try], demonstrated: float) -> float:
    """Share of the driven steps that people drove, in [0, 1]; demonstrations are no interventions."""
    helped = [each for each in tries if not each.demonstration(demonstrated)]
    driven = sum(each.driven for each in helped)
    return sum(each.human for each in helped) / driven if driven else 0.0


def finished_by_people(tries: Sequence[Try], first: int) -> tuple[int, int]:
    """How many of the ``first`` successes a person finished, and how many there are; no demonstrations."""
    won = [each for each in tries if each.judged and each.success and each.driven > each.human][:first]
    return sum(each.finished_by_person for each in won), len(won)
