# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which episodes a person should look at, and what those looks say about claims of success."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.monitor.evidence import Judged
from apprentice.robot.intervals import wilson

RANDOM, TAIL = 'random', 'top tail'


@dataclass(frozen=True)
class AuditConfig:
    """How much is looked at.

    Attributes:
        random_share: of all episodes, drawn blindly: what rates are estimated from.
        tail_share: the best scored of the latest ``window`` episodes: where hacks are found first.
        least: episodes before there is a tail.
    """

    random_share: float = 0.1
    tail_share: float = 0.1
    window: int = 50
    least: int = 10

    def __post_init__(self) -> None:
        for name in ('random_share', 'tail_share'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} is {getattr(self, name)}; give a share between 0 and 1')


@dataclass(frozen=True)
class FalseSuccessRate:
    """Wrong claims among audited claims of success, with the 95 % Wilson interval."""

    wrong: int
    claims: int
    low: float
    high: float


class AuditPlan:
    """Proposes episodes as they come; the same seed proposes the same ones."""

    def __init__(self, config: AuditConfig | None = None, seed: int = 0):
        self.config = config or AuditConfig()
        self._rng = np.random.default_rng(seed)
        self._scores: deque[float] = deque(maxlen=self.config.window)

    def propose(self, score: float) -> str:
        """Why the next episode should be audited: ``random``, ``top tail``, or empty: it need not be."""
        drawn = bool(self._rng.random() < self.config.random_share)  # first, so the draw depends on nothing
        tail = False
        if np.isfinite(score):
            if len(self._scores) >= self.config.least and self.config.tail_share > 0:
                tail = score > np.quantile(np.array(self._scores), 1 - self.config.tail_share)
            self._scores.append(float(score))
        return RANDOM if drawn else TAIL if tail else ''


def false_success_rate(judged: list[Judged], sampled: tuple[str, ...] = ('all', RANDOM)) -> FalseSuccessRate:
    """Of the audited episodes in which the model claimed success; the top tail is no fair sample of them."""
    claims = [j for j in judged if j.claimed and np.isfinite(j.gold) and j.sampled in sampled]
    wrong = sum(j.gold < 0.5 for j in claims)
    return FalseSuccessRate(wrong, len(claims), *wilson(wrong, len(claims)))
