# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Log-ratio of two kernel densities: how much more a moment looks like successes than like failures.

The idea of HiRE on frozen embeddings: buffers of own successes and failures that grow as the robot tries, no
gradient step. With unit embeddings, bandwidth h and N samples in a buffer ::

    log p(z) = logsumexp_i(-|z - z_i|^2 / (2 h^2)) - log N
    value    = log p_success(z) - log p_failure(z)
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from apprentice.reward_models.base import Needs, RewardModel, RewardModelError, Score, ScoreRequest
from apprentice.robot.types import RewardKind


class OutcomeBuffers:
    """Log-ratio reward over another model's embeddings.

    Args:
        encoder: any reward model; only its ``encode`` is used.
        capacity: moments a buffer keeps, the newest.
        bandwidth: of the kernel; None: the median distance between successes and failures, divided by 3.
    """

    kind = RewardKind.LOG_PROB
    model = 'outcome-buffers'

    def __init__(self, encoder: RewardModel, capacity: int = 2000, bandwidth: float | None = None):
        self.encoder, self.capacity, self._bandwidth = encoder, capacity, bandwidth
        self.needs = Needs(text=False, cameras=encoder.needs.cameras)
        self._moments: dict[bool, np.ndarray] = {}
        self._revision = 0

    @property
    def version(self) -> str:
        """Changes with every moment that is added: a score is only comparable within one version."""
        return f'{self.encoder.version}-{self._revision}'

    def add(self, emb: np.ndarray, success: bool) -> None:
        """Moments float32 [N, V, D]: the last ones of a success, or any of a failure."""
        flat = np.asarray(emb, np.float32).reshape(len(emb), -1)
        if not np.isfinite(flat).all():
            raise RewardModelError('embeddings must be finite; drop the frames that could not be encoded')
        old = self._moments.get(success)
        self._moments[success] = (flat if old is None else np.concatenate([old, flat]))[-self.capacity :]
        self._revision += 1

    def encode(self, frames: np.ndarray) -> np.ndarray:
        return self.encoder.encode(frames)

    def negatives(self, text: str) -> list[str]:
        return []

    def log_ratio(self, emb: np.ndarray) -> np.ndarray:
        """[N, V, D] to [N], nats. Raises RewardModelError before both buffers hold something."""
        if len(self._moments) < 2:
            raise RewardModelError('both successes and failures are needed; add some of each first')
        flat = np.asarray(emb, np.float32).reshape(len(emb), -1)
        good, bad = (_squared(flat, self._moments[kind]) for kind in (True, False))
        h = self._bandwidth or self._median()
        return _log_density(good, h) - _log_density(bad, h)

    def score(self, request: ScoreRequest) -> Score:
        """Log-ratio of every frame."""
        began = time.perf_counter()
        b, t, _ = request.check()
        emb = request.emb if request.emb is not None else self.encode(request.frames)  # type: ignore[arg-type]
        per_frame = self.log_ratio(emb.reshape(b * t, *emb.shape[2:])).reshape(b, t).astype(np.float32)
        present = np.ones(b, bool) if request.mask is None else request.mask[:, -1].all(axis=-1)
        unknown: Any = np.full(b, np.nan, np.float32)
        return Score(
            kind=self.kind,
            value=per_frame[:, -1].copy(),
            std=unknown,
            done_prob=1.0 / (1.0 + np.exp(-np.clip(per_frame[:, -1], -50, 50))),
            margin=unknown,
            valid=np.isfinite(per_frame[:, -1]) & present,
            model=self.model,
            version=self.version,
            per_frame=per_frame,
            latency_ms=(time.perf_counter() - began) * 1e3,
        )

    def _median(self) -> float:
        some = [self._moments[kind][-200:] for kind in (True, False)]
        return max(float(np.sqrt(np.median(_squared(*some)))) / 3.0, 1e-6)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances [N, M]."""
    cross = a @ b.T
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2.0 * cross, 0.0)


def _log_density(squared: np.ndarray, h: float) -> np.ndarray:
    exponent = -squared / (2.0 * h * h)
    top = exponent.max(axis=1, keepdims=True)
    return top[:, 0] + np.log(np.exp(exponent - top).mean(axis=1))
