# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Clips cut from simulator attempts, and a simulated person who compares them and errs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apprentice.reward_models.clip.reward import ClipReward
from apprentice.reward_models.preferences.choosing import choose_pairs
from apprentice.reward_models.preferences.comparisons import Comparison
from apprentice.reward_models.preferences.reward import clip_features
from apprentice.sim.captions import Attempt

SHARP, EQUAL, SLIPS = 12.0, 0.03, 0.05  # of the simulated person, see compare
FRAMES = 6  # of a clip


def compare(progress: np.ndarray, pairs: np.ndarray, rng: np.random.Generator) -> list[Comparison]:
    """Answers of somebody who sees the mean true progress of clips [N].

    Gaps below EQUAL are called equal, others right with probability sigmoid(SHARP * gap); the share SLIPS of
    these answers is then turned round.
    """
    made = []
    for a, b in pairs.tolist():
        gap = progress[a] - progress[b]
        if abs(gap) < EQUAL:
            made.append(Comparison(a, b, 'equal'))
            continue
        left = rng.random() < 1 / (1 + np.exp(-SHARP * gap))
        if rng.random() < SLIPS:
            left = not left
        made.append(Comparison(a, b, 'left' if left else 'right'))
    return made


def true_comparisons(
    progress: np.ndarray, groups: np.ndarray, count: int, rng: np.random.Generator
) -> list[Comparison]:
    """Right answers to at most ``count`` random pairs whose gap a person could see."""
    pairs = choose_pairs(None, count, rng, 'random', len(progress), groups, most=count)
    return [
        Comparison(a, b, 'left' if progress[a] > progress[b] else 'right')
        for a, b in pairs.tolist()
        if abs(progress[a] - progress[b]) > EQUAL
    ]


def cut_clips(clip: ClipReward, attempts: Sequence[Attempt]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [N, T, F], mean true progress [N] and number of the instruction [N] of clips."""
    frames, texts, progress = [], [], []
    for attempt in attempts:
        for start in range(0, len(attempt.frames) - FRAMES + 1, FRAMES):
            frames.append(attempt.frames[start : start + FRAMES])
            texts.append(attempt.text)
            progress.append(attempt.truth[start : start + FRAMES].mean())
    names = sorted(set(texts))
    return clip_features(clip, frames, texts), np.array(progress), np.array([names.index(t) for t in texts])
