# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Judge a reward model against the truth, beside baselines that know nothing about the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.base import PairCritic, RewardModel
from apprentice.reward_models.metrics import roc_auc, spearman, value_order_correlation
from apprentice.reward_models.online import EpisodeScorer


@dataclass
class Truth:
    """One attempt with its ground truth; never used for training.

    Attributes:
        frames: uint8 [T, V, H, W, 3], ``dt`` seconds apart.
        progress: float [T], staged progress in [0, 1].
        solved: bool [T], the success predicate.
        expert: a demonstration, on which the order of time is the order of progress.
    """

    frames: np.ndarray
    text: str
    progress: np.ndarray
    solved: np.ndarray
    expert: bool
    dt: float = 0.1


Curve = Callable[
    [Truth, bool, str], tuple[np.ndarray, np.ndarray]
]  # (truth, reversed, text) -> progress, done


def model_curve(model: RewardModel, stride_s: float = 1.0) -> Curve:
    """Progress and done curves of a model; of a single-frame model the value is the progress."""
    cache: dict[int, np.ndarray] = {}

    def curve(item: Truth, backwards: bool, text: str) -> tuple[np.ndarray, np.ndarray]:
        emb = cache.setdefault(id(item), model.encode(item.frames))
        scorer = EpisodeScorer(model, text, stride_s)
        order = emb[::-1] if backwards else emb
        rewards = [scorer.add(i * item.dt, e) for i, e in enumerate(order)]
        pair = isinstance(model, PairCritic)
        return (
            np.array([r.progress if pair else r.value for r in rewards]),
            np.array([r.done_prob for r in rewards]),
        )

    return curve


def baselines(seed: int = 0) -> dict[str, Curve]:
    """Clock (time alone), constant and random curves: what a model must beat."""
    rng = np.random.default_rng(seed)

    def clock(item: Truth, backwards: bool, text: str) -> tuple[np.ndarray, np.ndarray]:
        # an online clock does not know when the episode will end
        values = np.minimum(1.0, np.arange(len(item.frames)) * item.dt / 3.0)
        return values, values

    def constant(item: Truth, backwards: bool, text: str) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(item.frames), 0.5), np.full(len(item.frames), 0.5)

    def random(item: Truth, backwards: bool, text: str) -> tuple[np.ndarray, np.ndarray]:
        return rng.random(len(item.frames)), rng.random(len(item.frames))

    return {'clock': clock, 'constant': constant, 'random': random}


def evaluate(curve: Curve, items: Sequence[Truth], wrong: Callable[[str], Sequence[str]]) -> dict[str, float]:
    """Numbers of one model on held-out attempts.

    Returns:
        success_auc: of the progress or value, over all frames, against the success predicate.
        done_auc: the same of the done probability.
        end_auc: last value of each attempt against whether it succeeded.
        voc, voc_reversed: mean rank correlation with time on demonstrations, played forward and backward.
        truth: rank correlation with the staged progress over all frames.
        margin: mean of final value(instruction) - best value(wrong instruction) on demonstrations.
        margin_positive: share of demonstrations with a positive margin.
    """
    values, dones, truth, solved, ends, ended = [], [], [], [], [], []
    order, reverse, margins = [], [], []
    for item in items:
        value, done = curve(item, False, item.text)
        values.append(value)
        dones.append(done)
        truth.append(item.progress)
        solved.append(item.solved)
        ends.append(value[-1])
        ended.append(bool(item.solved[-1]))
        if item.expert:
            order.append(value_order_correlation(value))
            reverse.append(value_order_correlation(curve(item, True, item.text)[0]))
            margins.append(value[-1] - max(curve(item, False, text)[0][-1] for text in wrong(item.text)))
    flat = np.concatenate(values)
    return {
        'success_auc': roc_auc(flat, np.concatenate(solved)),
        'done_auc': roc_auc(np.concatenate(dones), np.concatenate(solved)),
        'end_auc': roc_auc(np.array(ends), np.array(ended)),
        'voc': float(np.mean(order)),
        'voc_reversed': float(np.mean(reverse)),
        'truth': spearman(flat, np.concatenate(truth)),
        'margin': float(np.mean(margins)),
        'margin_positive': float(np.mean(np.array(margins) > 0)),
    }
