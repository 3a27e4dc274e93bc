# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Being done: k of the last n samples, seen by several views, and no predicate objects.

The single frame is what a reward model is fooled with most easily: VLAC's tools ask for several samples in a
row (arXiv 2509.15937), and a predicate of another source may veto.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.base import RewardModelError


@dataclass(frozen=True)
class DoneConfig:
    """When the instruction counts as fulfilled.

    Attributes:
        k, n: in k of the last n samples...
        threshold: ...the done probability is at least this...
        views: ...in at least so many views of the same moment (cameras, or models). A model that looks at
            all cameras at once is one view.
    """

    k: int = 3
    n: int = 4
    threshold: float = 0.9
    views: int = 2

    def __post_init__(self):
        if not 1 <= self.k <= self.n:
            raise RewardModelError(f'done: k {self.k} of n {self.n}; give 1 <= k <= n')
        if self.views < 1:
            raise RewardModelError(f'done.views is {self.views}; give 1 or more')
        if not 0 <= self.threshold <= 1:
            raise RewardModelError(f'done.threshold is {self.threshold}; give a probability')


class KOfN:
    """See :class:`~apprentice.reward_models.base.DoneDetector`; for one episode at a time."""

    def __init__(self, config: DoneConfig | None = None):
        self.config = config or DoneConfig()
        self._agreed: deque[bool] = deque(maxlen=self.config.n)
        self._stamp = -np.inf

    def reset(self) -> None:
        self._agreed.clear()
        self._stamp = -np.inf

    def add(self, stamp: float, views: Mapping[str, float], veto: bool = False) -> bool:
        """Take one moment [s]: view -> done probability (NaN: did not look). True: done.

        A veto counts as a moment at which nothing agreed, and it is not done then whatever came before.
        Raises ValueError for a stamp that does not increase.
        """
        if stamp <= self._stamp:
            raise ValueError(f'stamps must increase: {stamp} after {self._stamp}; reset() begins an episode')
        self._stamp = stamp
        agreeing = sum(bool(p >= self.config.threshold) for p in views.values())
        self._agreed.append(agreeing >= self.config.views and not veto)
        return not veto and sum(self._agreed) >= self.config.k
