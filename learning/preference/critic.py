# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Pairs by any critic: a function of observation and chunks, such as the critics of the learner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from apprentice.learning.preference.candidates import CandidateConfig, CandidatePairs, Ranked
from apprentice.learning.preference.pairs import PairError
from apprentice.learning.rl.choosing import Choosing, load_choosing
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.policies.spec import PolicyMismatch
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Observation

Judge = Callable[[Observation, np.ndarray, float], np.ndarray]


class CriticRanker:
    """Ranks by ``judge(observation, chunks [n, H, A], elapsed_s) -> [n] or [members, n]``, higher is better.

    With members of an ensemble their mean is the reward. The doubt is their standard deviation, without what
    a member says of all chunks of the moment alike: that does not tell which one is better. ``elapsed_s`` is
    the time since the episode began.

    Args:
        identity: what tells this critic from another, e.g. the hash of its weights.
        rows: leading rows of a chunk that it judges, which are those that pairs count; 0: all.
    """

    def __init__(self, judge: Judge, identity: str, rows: int = 0):
        if not identity:
            raise PairError('a critic needs an identity, so that its pairs are not mixed with others')
        self._judge, self._identity, self._rows = judge, identity, rows

    def settings(self) -> dict[str, object]:
        return {'ranker': 'critic', 'critic': self._identity, 'rows': self._rows}

    def rank(self, episode: Episode, step: int, chunks: np.ndarray, valid: np.ndarray) -> Ranked:
        images = {name: np.asarray(stack[step]) for name, stack in episode.images.items()}
        state = episode.state[step].astype(np.float64)
        observation = Observation(float(episode.stamps[step]), images, state, episode.task)
        elapsed = float(episode.stamps[step] - episode.stamps[0])
        values = np.atleast_2d(np.asarray(self._judge(observation, chunks, elapsed), np.float64))
        if values.shape[-1:] != (len(chunks),) or values.ndim != 2:
            raise PairError(
                f'the critic {self._identity} gave {values.shape} for {len(chunks)} chunks; it must give [n] '
                'or [members, n]'
            )
        doubt = (values - values.mean(1, keepdims=True)).std(0)
        return Ranked(values.mean(0), doubt, rows=self._rows)


class CriticPairs(CandidatePairs):
    """Candidates of the policy ranked by a critic; failed episodes have moments, too."""

    def __init__(
        self,
        policy: FlowPolicy,
        judge: Judge,
        critic: str,
        config: CandidateConfig | None = None,
        identity: str = '',
        rows: int = 0,
    ):
        config = config or CandidateConfig(successes=False)
        super().__init__(policy, CriticRanker(judge, critic, rows), config, identity, 'critic')


def published_critics(folder: str | Path, robot: RobotSpec, policy: FlowPolicy) -> tuple[Choosing, str]:
    """The critics beside a version that a learner published, and its hash.

    Args:
        policy: whose chunks they are to judge.

    Raises CheckpointError for a folder that is damaged, PairError where there are no critics, or those of
    another robot or of longer chunks.
    """
    loaded, manifest = checkpoint.load(folder)
    try:
        loaded.spec.require(robot)
    except PolicyMismatch as error:
        raise PairError(f'{folder}: {error}') from None
    choosing = load_choosing(folder, loaded, manifest)
    if not isinstance(choosing, Choosing):
        raise PairError(
            f'{folder} holds a policy without critics; give a version that a learner with a recipe such as '
            'flow_edit published once its critics acted, e.g. runs/robot/weights/v000012'
        )
    if choosing.rows > policy.spec.horizon:
        raise PairError(
            f'{folder}: its critics judge {choosing.rows} rows, but a chunk of the policy has '
            f'{policy.spec.horizon}; give critics of this policy'
        )
    return choosing, checkpoint.sha256(Path(folder) / checkpoint.MANIFEST)
