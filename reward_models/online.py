# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Scoring an episode frame by frame, as it happens or again from the log."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from apprentice.reward_models.accumulate import ProgressAccumulator
from apprentice.reward_models.base import PairCritic, RewardModel, Score, ScoreRequest
from apprentice.robot.types import Reward


class EpisodeScorer:
    """Turns embeddings of one episode into rewards, in order of their stamps.

    A pair critic compares each frame with the one ``stride_s`` before and with the first one, and
    accumulates; other models score each frame by itself.

    Args:
        model: any reward model.
        text: the instruction.
        stride_s: seconds between the two frames of a pair.
        done_threshold: done probability from which a frame counts as done.
    """

    def __init__(self, model: RewardModel, text: str, stride_s: float = 1.0, done_threshold: float = 0.9):
        self._model, self._text, self._threshold = model, text, done_threshold
        self._critic: PairCritic | None = model if isinstance(model, PairCritic) else None
        self._wrong = model.negatives(text)
        self._accumulator = ProgressAccumulator(stride_s)
        self._seen: list[tuple[float, np.ndarray]] = []

    def add(self, stamp: float, emb: np.ndarray) -> Reward:
        """Score the frames whose embeddings [V, D] were captured at ``stamp`` [s].

        Stamps must increase (ValueError). A score that is not finite comes back with ``valid`` false.
        """
        if self._seen and stamp <= self._seen[-1][0]:
            raise ValueError(f'stamps must increase: {stamp} after {self._seen[-1][0]}')
        if not np.all(np.isfinite(emb)):
            return invalid_reward(self._model, stamp, 'the embedding of the images is not finite')
        return self._pair(stamp, emb) if self._critic else self._single(stamp, emb)

    def _single(self, stamp: float, emb: np.ndarray) -> Reward:
        request = ScoreRequest(text=[self._text], neg_text=[self._wrong], emb=emb[None, None])
        score = self._model.score(request)
        self._seen = [(stamp, emb)]
        return self._reward(stamp, stamp, score, float('nan'))

    def _pair(self, stamp: float, emb: np.ndarray) -> Reward:
        assert self._critic is not None
        if not self._seen:
            self._accumulator.start(stamp)
            self._seen = [(stamp, emb)]
        base = self._accumulator.base(stamp)
        first, before = self._seen[0][1], next(e for s, e in self._seen if s == base)
        request = ScoreRequest(
            text=[self._text] * 2,
            neg_text=[self._wrong, []],
            emb=np.stack([np.stack([before, emb]), np.stack([first, emb])]),
        )
        score = self._critic.delta(request)
        delta, anchor = (float(value) for value in score.value)
        if not (math.isfinite(delta) and math.isfinite(anchor)):
            return invalid_reward(self._model, stamp, 'the score is not finite')
        progress = 0.0
        if stamp > self._seen[0][0]:
            progress = self._accumulator.add(stamp, delta, anchor)
            recent = [item for item in self._seen[1:] if item[0] > stamp - 3 * self._accumulator.stride_s]
            self._seen = [self._seen[0], *recent, (stamp, emb)]
        assert base is not None
        return self._reward(base, stamp, score, progress)

    def _reward(self, t0: float, t1: float, score: Score, progress: float) -> Reward:
        done = float(score.done_prob[0])
        return Reward(
            t0=t0,
            t1=t1,
            kind=score.kind,
            value=float(score.value[0]),
            progress=progress,
            done_prob=done,
            valid=bool(score.valid[0]),
            model=score.model,
            version=score.version,
            std=float(score.std[0]),
            margin=float(score.margin[0]),
            done=done >= self._threshold,
            reason='' if score.valid[0] else 'the score is not finite',
        )


def invalid_reward(model: RewardModel, stamp: float, reason: str) -> Reward:
    """A measurement at ``stamp`` [s] that failed: says why, and the learner must not use it."""
    return Reward(
        t0=stamp,
        t1=stamp,
        kind=model.kind,
        value=float('nan'),
        valid=False,
        model=model.model,
        version=model.version,
        reason=reason,
    )


def score_episode(
    model: RewardModel, frames: np.ndarray, stamps: Sequence[float], text: str, stride_s: float = 1.0
) -> list[Reward]:
    """Rewards of all frames uint8 [T, V, H, W, 3] of an episode, e.g. to score a log again."""
    scorer = EpisodeScorer(model, text, stride_s)
    return [scorer.add(stamp, emb) for stamp, emb in zip(stamps, model.encode(frames), strict=True)]
