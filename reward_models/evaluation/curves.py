# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The curves of a whole episode in one request; :class:`~.online.EpisodeScorer` draws them as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from apprentice.reward_models.accumulate import ProgressAccumulator
from apprentice.reward_models.base import PairCritic, RewardModel, RewardModelError
from apprentice.reward_models.online import anchors, pair_request, single_request
from apprentice.robot.types import RewardKind


def curve(
    model: RewardModel,
    emb: np.ndarray,
    stamps: Sequence[float] | np.ndarray,
    text: str,
    stride_s: float = 1.0,
    reference: np.ndarray | None = None,
    state: Mapping[str, np.ndarray] | None = None,
    action: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Progress and done probability [T] (NaN where the model has none). Without a pair critic the progress is
    the value, whatever its kind, and of costs and seconds to go its negative; a sample that is not valid
    repeats the one before. NaN where no sample of the episode is valid.

    Args:
        emb: embeddings [T, V, D] of all frames.
        stamps: [T] s, increasing.
        reference: embeddings [R, V, D] of a demonstration.
        state: name -> [T, d]; action: [T, H, A] from each frame on; for models that need them.

    Raises RewardModelError for a model that needs what is not given.
    """
    if isinstance(model, PairCritic):
        return _pair_curve(model, emb, np.asarray(stamps, float), text, stride_s, reference)
    count, window = len(emb), max(1, model.needs.window)
    rows = np.maximum(0, np.arange(count)[:, None] + np.arange(1 - window, 1))
    request = single_request(model, [text] * count, [model.negatives(text)] * count, emb[rows], reference)
    missing = [name for name in model.needs.state if name not in (state or {})]
    if missing or (model.needs.action and action is None):
        missing += ['action'] if model.needs.action and action is None else []
        raise RewardModelError(
            f'{model.model} needs {", ".join(missing)}, which these attempts do not have; judge it on '
            'attempts of the simulator'
        )
    if model.needs.state:
        request.state = {name: np.asarray(values)[rows] for name, values in (state or {}).items()}
    if model.needs.action:
        request.action = action
    score = model.score(request)
    sign = -1.0 if score.kind in (RewardKind.COST, RewardKind.SECONDS_TO_GO) else 1.0
    return _held(np.where(score.valid, sign * score.value, np.nan)), np.asarray(score.done_prob, float)


def _pair_curve(
    model: PairCritic,
    emb: np.ndarray,
    stamps: np.ndarray,
    text: str,
    stride_s: float,
    reference: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    later = np.arange(len(emb))
    before = [np.flatnonzero(stamps[:i] <= stamps[i] - stride_s + 1e-6) for i in later]
    base = np.array([rows[-1] if len(rows) else 0 for rows in before])
    pairs = np.concatenate([np.stack([emb[base], emb], 1), np.stack([emb[0 * later], emb], 1)])
    score = model.delta(pair_request([text] * len(pairs), [], pairs, reference))
    delta, anchor = np.asarray(score.value[: len(emb)], float), anchors(score)[len(emb) :]
    accumulator, progress = ProgressAccumulator(stride_s), np.full(len(emb), np.nan)
    progress[0] = max(0.0, anchor[0]) if np.isfinite(anchor[0]) else 0.0
    accumulator.start(stamps[0], progress[0])
    for i in later[1:]:
        if np.isfinite(delta[i]) and np.isfinite(anchor[i]):
            progress[i] = accumulator.add(stamps[i], float(delta[i]), float(anchor[i]))
    return _held(progress), np.asarray(score.done_prob[: len(emb)], float)


def _held(values: np.ndarray) -> np.ndarray:
    """Values [T] in which what is not finite repeats what was before; 0 before the first.

    Nothing finite at all stays so: of a cost, 0 would be the best there is.
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    if not finite.any():
        return values
    last = np.maximum.accumulate(np.where(finite, np.arange(len(values)), -1))
    return np.where(last >= 0, values[np.maximum(last, 0)], 0.0)
