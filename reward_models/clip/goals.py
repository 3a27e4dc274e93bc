# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Two more readings of CLIP embeddings: a softmax over goals, and how far the start is left behind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.clip.reward import ClipReward
from apprentice.robot.types import RewardKind


class SoftmaxGoals:
    """Probability of the goal among goals, 1 or 0 at a threshold (Baumli et al. 2023, arXiv 2312.09187) ::

        p = softmax(cos(s, g_j) / temperature)[goal],   value = 1[p > threshold]   or p without a threshold

    The other goals are the wrong instructions of the request, those the prompts know, and the prompts'
    baselines and contrasts. Unlike a cosine it falls when another goal fits better.

    Args:
        clip: encoder and prompts.
        temperature: of the softmax; 0.07 is CLIP's own at the start of its training.
        threshold: in (0, 1), or None.
    """

    kind = RewardKind.SUCCESS_PROB
    model = 'clip-softmax'

    def __init__(self, clip: ClipReward, temperature: float = 0.07, threshold: float | None = 0.5):
        if not temperature > 0 or not (threshold is None or 0 < threshold < 1):
            raise RewardModelError(
                f'temperature must be positive and threshold in (0, 1), got {temperature} and {threshold}'
            )
        self.clip, self.temperature, self.threshold = clip, temperature, threshold
        self.version, self.needs = clip.version, clip.needs

    @classmethod
    def load(
        cls,
        weights: str | Path,
        device: str = 'cpu',
        temperature: float = 0.07,
        threshold: float | None = 0.5,
        **options: Any,
    ) -> SoftmaxGoals:
        """See :meth:`ClipReward.load`."""
        return cls(ClipReward.load(weights, device, **options), temperature, threshold)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.clip.encode(frames)

    def negatives(self, text: str) -> list[str]:
        return self.clip.negatives(text)

    def score(self, request: ScoreRequest) -> Score:
        """``done_prob`` is p of the last frame, ``margin`` p minus that of the best wrong instruction."""
        began = time.perf_counter()
        s, mask = _seen(self.clip, request)
        per_frame = np.full(s.shape[:2], np.nan, np.float32)
        margin = np.full(len(s), np.nan, np.float32)
        for i, text in enumerate(request.text):
            asked = list(request.neg_text[i]) if request.neg_text else []
            wrong = list(dict.fromkeys([*asked, *self.negatives(text)]))
            p = self._probabilities(s[i], text, wrong)
            per_frame[i] = _mean(p[..., 0], mask[i])
            if wrong:
                others = [_mean(p[-1:, :, j], mask[i, -1:])[0] for j in range(1, 1 + len(wrong))]
                margin[i] = per_frame[i, -1] - max(others)
        p = per_frame[:, -1]
        value = p.copy() if self.threshold is None else (p > self.threshold).astype(np.float32)
        value[~np.isfinite(p)] = np.nan
        return _score(self, value, per_frame, p.copy(), margin, np.isfinite(p), began)

    def _probabilities(self, s: np.ndarray, text: str, wrong: Sequence[str]) -> np.ndarray:
        """Of the goal, the wrong goals and the contrasts, [..., K] of embeddings [..., D]."""
        prompts, encoder = self.clip.prompts, self.clip.encoder
        goals = [encoder.mean_text(prompts.goals(item)) for item in (text, *wrong)]
        vectors = np.stack([*goals, *encoder.text(prompts.contrasts(text))])
        logits = (s @ vectors.T) / self.temperature
        logits = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return logits / logits.sum(axis=-1, keepdims=True)


class StartSimilarity:
    """Nearness to the goal's words minus nearness to the first image (Reward-Zero, arXiv 2603.09331) ::

        potential = cos(s, goal) - cos(s, start)

    Needs no baseline prompt: what all frames of an attempt share cancels. Items hold the first frame of the
    attempt first; a single frame is its own start, where the potential is least. The value is raw; a
    calibration makes it a potential in [0, 1].

    Args:
        clip: encoder and prompts.
        window: moments that are kept; in a longer attempt the start is what was seen so long ago.
    """

    kind = RewardKind.CLIP_SIM
    model = 'clip-start'

    def __init__(self, clip: ClipReward, window: int = 120):
        self.clip, self.version = clip, clip.version
        self.needs = Needs(cameras=clip.needs.cameras, window=window)

    @classmethod
    def load(
        cls, weights: str | Path, device: str = 'cpu', window: int = 120, **options: Any
    ) -> StartSimilarity:
        """See :meth:`ClipReward.load`."""
        return cls(ClipReward.load(weights, device, **options), window)

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.clip.encode(frames)

    def negatives(self, text: str) -> list[str]:
        return self.clip.negatives(text)

    def score(self, request: ScoreRequest) -> Score:
        """Potential of every frame against the first one of its item."""
        began = time.perf_counter()
        s, mask = _seen(self.clip, request)
        away = np.einsum('btvd,bvd->btv', s, s[:, 0])
        both = mask & mask[:, :1]
        per_frame = np.stack(
            [_mean(self._near(s[i], text) - away[i], both[i]) for i, text in enumerate(request.text)]
        ).astype(np.float32)
        margin = np.full(len(s), np.nan, np.float32)
        for i in range(len(s) if request.neg_text else 0):
            # the start cancels in the difference
            wrong = [
                _mean(self._near(s[i, -1:], text) - away[i, -1:], both[i, -1:])[0]
                for text in request.neg_text[i]
            ]
            if wrong:
                margin[i] = per_frame[i, -1] - max(wrong)
        value = per_frame[:, -1].copy()
        unknown = np.full(len(s), np.nan, np.float32)
        return _score(self, value, per_frame, unknown, margin, np.isfinite(value), began)

    def _near(self, s: np.ndarray, text: str) -> np.ndarray:
        return s @ self.clip.encoder.mean_text(self.clip.prompts.goals(text))


def _seen(clip: ClipReward, request: ScoreRequest) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings [B, T, V, D] and mask [B, T, V]."""
    shape = request.check()
    s = request.emb if request.emb is not None else clip.encode(request.frames)  # type: ignore[arg-type]
    return s, np.ones(shape, bool) if request.mask is None else request.mask


def _mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean over the views [..., V] that are present; NaN where none is."""
    count = mask.sum(axis=-1)
    total = np.where(mask, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _score(
    model: SoftmaxGoals | StartSimilarity,
    value: np.ndarray,
    per_frame: np.ndarray,
    done: np.ndarray,
    margin: np.ndarray,
    valid: np.ndarray,
    began: float,
) -> Score:
    return Score(
        kind=model.kind,
        value=value.astype(np.float32),
        std=np.full(len(value), np.nan, np.float32),
        done_prob=done,
        margin=margin,
        valid=valid,
        model=model.model,
        version=model.version,
        per_frame=per_frame,
        latency_ms=(time.perf_counter() - began) * 1e3,
    )
