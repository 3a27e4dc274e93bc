# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs by any critic: a function of observation and chunks, such as the Q ensemble of the learner."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apprentice.learning.preference.candidates import CandidateConfig, CandidatePairs, Ranked
from apprentice.learning.preference.pairs import PairError
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.types import Episode, Observation

Judge = Callable[[Observation, np.ndarray], np.ndarray]


class CriticRanker:
    """Ranks by ``judge(observation, chunks [n, H, A]) -> [n] or [members, n]``, higher is better.

    With members of an ensemble their mean is the reward and their standard deviation the doubt.

    Args:
        identity: what tells this critic from another, e.g. the hash of its weights.
    """

    def __init__(self, judge: Judge, identity: str):
        if not identity:
            raise PairError('a critic needs an identity, so that its pairs are not mixed with others')
        self._judge, self._identity = judge, identity

    def settings(self) -> dict[str, object]:
        return {'ranker': 'critic', 'critic': self._identity}

    def rank(self, episode: Episode, step: int, chunks: np.ndarray, valid: np.ndarray) -> Ranked:
        images = {name: np.asarray(stack[step]) for name, stack in episode.images.items()}
        state = episode.state[step].astype(np.float64)
        observation = Observation(float(episode.stamps[step]), images, state, episode.task)
        values = np.atleast_2d(np.asarray(self._judge(observation, chunks), np.float64))
        if values.shape[-1:] != (len(chunks),) or values.ndim != 2:
            raise PairError(
                f'the critic {self._identity} gave {values.shape} for {len(chunks)} chunks; it must give [n] '
                'or [members, n]'
            )
        return Ranked(values.mean(0), values.std(0))


class CriticPairs(CandidatePairs):
    """Candidates of the policy ranked by a critic; failed episodes have moments, too."""

    def __init__(
        self,
        policy: FlowPolicy,
        judge: Judge,
        critic: str,
        config: CandidateConfig | None = None,
        identity: str = '',
    ):
        config = config or CandidateConfig(successes=False)
        super().__init__(policy, CriticRanker(judge, critic), config, identity, 'critic')
