# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Scoring an episode frame by frame, as it happens or again from the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from apprentice.reward_models.accumulate import ProgressAccumulator
from apprentice.reward_models.base import PairCritic, RewardModel, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.judge import Judge, threshold_only
from apprentice.robot.types import Reward


class EpisodeScorer:
    """Turns embeddings of one episode into rewards, in order of their stamps.

    A pair critic compares each frame with the one ``stride_s`` before and with the first one, and
    accumulates, from what it takes the progress of the first frame to be (``Score.per_frame`` of a pair; 0
    where it does not say); other models score each frame, after as many before it as they need.
    ``progress`` of a pair critic is what it accumulated; of other models it is the calibrated potential,
    where the judge has a calibration.

    Args:
        model: any reward model.
        text: the instruction.
        stride_s: seconds between the two frames of a pair.
        done_threshold: done probability from which a frame counts as done, without a judge.
        judge: decides whether it is done, and calibrates; for this episode alone.
        reference: embeddings [R, V, D] of a demonstration to have in context, oldest first.
    """

    def __init__(
        self,
        model: RewardModel,
        text: str,
        stride_s: float = 1.0,
        done_threshold: float = 0.9,
        judge: Judge | None = None,
        reference: np.ndarray | None = None,
    ):
        self._model, self._text = model, text
        self._judge = judge or Judge(threshold_only(done_threshold))
        self._critic: PairCritic | None = model if isinstance(model, PairCritic) else None
        self._wrong = model.negatives(text)
        self._reference = reference
        self._accumulator = ProgressAccumulator(stride_s)
        self._seen: list[tuple[float, np.ndarray]] = []
        self._states: list[Mapping[str, np.ndarray]] = []

    def add(self, stamp: float, emb: np.ndarray, state: Mapping[str, np.ndarray] | None = None) -> Reward:
        """Score the frames whose embeddings [V, D] were captured at ``stamp`` [s].

        ``state`` is that of the moment (name -> [d]), for models that need it.

        Stamps must increase (ValueError). A score that is not finite, or that the calibration is not for,
        comes back with ``valid`` false.
        """
        if self._seen and stamp <= self._seen[-1][0]:
            raise ValueError(f'stamps must increase: {stamp} after {self._seen[-1][0]}')
        if not np.all(np.isfinite(emb)):
            return self._invalid(stamp, 'the embedding of the images is not finite')
        return self._pair(stamp, emb) if self._critic else self._single(stamp, emb, state or {})

    def _single(self, stamp: float, emb: np.ndarray, state: Mapping[str, np.ndarray]) -> Reward:
        window = max(1, self._model.needs.window)
        self._states = [*(self._states or [state] * (window - 1)), state][-window:]
        self._seen = [*(self._seen or [(stamp, emb)] * (window - 1)), (stamp, emb)][-window:]
        frames = np.stack([e for _, e in self._seen])[None]
        request = single_request(self._model, [self._text], [self._wrong], frames, self._reference)
        request.state = {
            name: np.stack([np.asarray(each[name], np.float32) for each in self._states])[None]
            for name in self._model.needs.state
            if all(name in each for each in self._states)
        }
        score = self._model.score(request)
        progress = float('nan')
        if self._judge.calibrator is not None:
            try:
                progress = float(self._judge.calibrator.to_potential(score, [self._text])[0][0])
            except RewardModelError as error:
                return self._invalid(stamp, str(error))
        return self._reward(stamp, stamp, score, progress, self._views(score, frames, progress))

    def _views(self, score: Score, frames: np.ndarray, potential: float) -> dict[str, float]:
        """View -> done probability: all together, or each by itself where the judge wants them to agree.

        Args:
            frames: embeddings [1, T, V, D].
            potential: of the score, NaN without a calibration.
        """
        if not self._judge.each_view or self._model.needs.state:
            return {'all': self._judge.probability(score, potential)}
        count, window = frames.shape[2], frames.shape[1]
        request = single_request(
            self._model,
            [self._text] * count,
            [self._wrong] * count,
            np.repeat(frames, count, axis=0),
            self._reference,
        )
        request.mask = np.repeat(np.eye(count, dtype=bool)[:, None], window, axis=1)
        alone = self._model.score(request)
        seen = np.where(alone.valid, alone.done_prob, np.nan)
        return {str(i): float(probability) for i, probability in enumerate(seen)}

    def _pair(self, stamp: float, emb: np.ndarray) -> Reward:
        assert self._critic is not None
        begins = not self._seen
        if begins:
            self._accumulator.start(stamp)
            self._seen = [(stamp, emb)]
        base = self._accumulator.base(stamp)
        first, before = self._seen[0][1], next(e for s, e in self._seen if s == base)
        pairs = np.stack([np.stack([before, emb]), np.stack([first, emb])])
        score = self._critic.delta(pair_request([self._text] * 2, [self._wrong, []], pairs, self._reference))
        delta, anchor = float(score.value[0]), float(anchors(score)[1])
        if not (math.isfinite(delta) and math.isfinite(anchor)):
            self._seen = [] if begins else self._seen
            return self._invalid(stamp, 'the score is not finite')
        progress = max(0.0, anchor)
        if begins:
            self._accumulator.start(stamp, progress)
        else:
            progress = self._accumulator.add(stamp, delta, anchor)
            recent = [item for item in self._seen[1:] if item[0] > stamp - 3 * self._accumulator.stride_s]
            self._seen = [self._seen[0], *recent, (stamp, emb)]
        assert base is not None
        return self._reward(base, stamp, score, progress, {'all': float(score.done_prob[0])})

    def _reward(self, t0: float, t1: float, score: Score, progress: float, views: dict[str, float]) -> Reward:
        return Reward(
            t0=t0,
            t1=t1,
            kind=score.kind,
            value=float(score.value[0]),
            progress=progress,
            done_prob=float(score.done_prob[0]),
            valid=bool(score.valid[0]),
            model=score.model,
            version=score.version,
            std=float(score.std[0]),
            margin=float(score.margin[0]),
            ood=float('nan') if score.ood is None else float(score.ood[0]),
            done=self._judge.done(t1, views),
            reason='' if score.valid[0] else 'the score is not finite',
        )

    def _invalid(self, stamp: float, reason: str) -> Reward:
        self._judge.done(stamp, {})  # a moment at which nothing agreed
        return invalid_reward(self._model, stamp, reason)


def pair_request(
    text: Sequence[str], wrong: Sequence[Sequence[str]], pairs: np.ndarray, reference: np.ndarray | None
) -> ScoreRequest:
    """A request for pairs of embeddings [B, 2, V, D], all with the same demonstration [R, V, D] or none."""
    return ScoreRequest(text=text, neg_text=wrong, emb=pairs, reference=_repeated(reference, len(text)))


def single_request(
    model: RewardModel,
    text: Sequence[str],
    wrong: Sequence[Sequence[str]],
    emb: np.ndarray,
    reference: np.ndarray | None,
) -> ScoreRequest:
    """A request for the last of the frames with embeddings [B, T, V, D], with a demonstration [R, V, D].

    The demonstration's last frame is the goal of a model that wants one. Raises RewardModelError for a model
    that wants a demonstration and is given none.
    """
    if model.needs.reference and reference is None:
        raise RewardModelError(f'{model.model} needs a demonstration in context; give it a reference')
    goal = _repeated(reference[-1], len(text)) if model.needs.goal and reference is not None else None
    return ScoreRequest(
        text=text, neg_text=wrong, emb=emb, goal=goal, reference=_repeated(reference, len(text))
    )


def anchors(score: Score) -> np.ndarray:
    """Absolute progress of the later frame of each pair [B]; where it is not known, what was gained."""
    return np.asarray(score.value if score.per_frame is None else score.per_frame[:, 1], float)


def _repeated(values: np.ndarray | None, count: int) -> np.ndarray | None:
    return None if values is None else np.repeat(values[None], count, axis=0)


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
