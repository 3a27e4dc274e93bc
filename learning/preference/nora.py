# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""NORA-1.5's pairs (arXiv 2511.14659): candidates at demonstrated states, ranked by where a world model says
they lead and by their distance from the demonstrated chunk.

    R = R_g + R_a,   R_g = -|z_goal - W(o, a)|,   R_a = -|a* - a|

The weights are those of the world model's folder. Unlike the released code the ranking knows its own doubt:
pairs within two standard deviations of the ensemble are left out.
"""

from __future__ import annotations

import numpy as np

from apprentice.learning.preference.candidates import CandidateConfig, CandidatePairs, Ranked, relative_steps
from apprentice.learning.preference.pairs import PairError
from apprentice.policies.policy import FlowPolicy
from apprentice.reward_models.world_model.reward import WorldModelReward
from apprentice.robot.types import Episode


class DeviationRanker:
    """R_a alone: minus the mean distance from the demonstrated chunk, in standard deviations of ``policy``'s
    actions, over the rows that were demonstrated. It is exact, its standard deviation is 0."""

    def __init__(self, policy: FlowPolicy):
        self._scale = policy.spec.action.std.astype(np.float64)

    def settings(self) -> dict[str, object]:
        return {'ranker': 'deviation', 'scale': [float(value) for value in self._scale]}

    def rank(self, episode: Episode, step: int, chunks: np.ndarray, valid: np.ndarray) -> Ranked:
        demonstrated = demonstrated_chunk(episode, step, chunks.shape[1])
        apart = (np.abs(chunks - demonstrated) / self._scale).mean(-1)  # [n, H]
        reward = -apart[:, valid].mean(1)
        return Ranked(reward, np.zeros_like(reward), relative_steps(apart))


class NoraRanker:
    """R_g + R_a by a world model; each episode is encoded once.

    Args:
        model: its cameras must be among those of the episodes.
        sub, end: compare with the demonstrated frame a chunk later, with the last one.
        deviation: R_a counts.
    """

    def __init__(self, model: WorldModelReward, sub: bool = True, end: bool = True, deviation: bool = True):
        if not (sub or end or deviation):
            raise PairError('nothing to rank by: use sub, end or deviation')
        self._model, self._terms = model, (sub, end, deviation)
        self._known: tuple[str, int, np.ndarray] | None = None  # the last episode's embeddings

    def settings(self) -> dict[str, object]:
        sub, end, deviation = self._terms
        model = {'model': self._model.model, 'version': self._model.version}
        return {'ranker': 'nora', **model, 'sub': sub, 'end': end, 'deviation': deviation}

    def rank(self, episode: Episode, step: int, chunks: np.ndarray, valid: np.ndarray) -> Ranked:
        emb = self._encoded(episode)
        sub, end, deviation = self._terms
        last, horizon = len(episode) - 1, chunks.shape[1]
        demonstrated = demonstrated_chunk(episode, step, horizon)
        ranking = self._model.candidates(
            emb[step],
            episode.state[step],
            chunks,
            end=emb[last] if end else None,
            sub=emb[min(step + horizon, last)] if sub else None,
            demonstrated=demonstrated if deviation else None,
        )
        steps = relative_steps(np.abs(chunks - demonstrated).mean(-1)) if deviation else None
        # one member has no doubt of its own
        std = np.nan_to_num(ranking.std, nan=0.0)
        return Ranked(ranking.reward, std, steps)

    def _encoded(self, episode: Episode) -> np.ndarray:
        """float32 [T, V, E]."""
        key = episode.episode_id, len(episode)
        if self._known is None or self._known[:2] != key:
            missing = [name for name in self._model.needs.cameras if name not in episode.images]
            if missing:
                raise PairError(
                    f'{episode.episode_id} has no camera {missing}, which the world model looks through; '
                    'train one for this robot: apprentice train world-model'
                )
            views = np.stack([np.asarray(episode.images[n]) for n in self._model.needs.cameras], axis=1)
            emb = np.concatenate([self._model.encode(views[i : i + 32]) for i in range(0, len(views), 32)])
            self._known = (*key, emb)
        return self._known[2]


class NoraPairs(CandidatePairs):
    """NORA-1.5's pair builder; ``model`` None ranks by the deviation alone ("GTA" there)."""

    def __init__(
        self,
        policy: FlowPolicy,
        model: WorldModelReward | None = None,
        config: CandidateConfig | None = None,
        identity: str = '',
    ):
        ranker = DeviationRanker(policy) if model is None else NoraRanker(model)
        super().__init__(policy, ranker, config, identity, 'deviation' if model is None else 'nora')


def demonstrated_chunk(episode: Episode, step: int, horizon: int) -> np.ndarray:
    """What was executed from row ``step`` on, float32 [H, A]; past the end the last row again."""
    rows = np.minimum(step + np.arange(horizon), len(episode) - 1)
    return episode.action[rows].astype(np.float32)
