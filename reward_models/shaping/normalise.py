# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Rewards in units of their spread, each instruction by itself, with numbers that stand still meanwhile."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError, Trajectory


@dataclass
class Moments:
    """Running count, mean and sum of squared deviations (Welford 1962; merged as in Chan et al. 1983)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: np.ndarray) -> None:
        """Take values [N]; those that are not finite are left out."""
        values = np.asarray(values, np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            return
        total = self.count + len(values)
        delta = float(values.mean()) - self.mean
        self.squares += float(((values - values.mean()) ** 2).sum())
        self.squares += delta * delta * self.count * len(values) / total
        self.mean += delta * len(values) / total
        self.count = total

    @property
    def std(self) -> float:
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else 0.0


@dataclass
class Normalise:
    """(r - mean) / std of the instruction, bounded; never over instructions, whose scales differ.

    :meth:`observe` collects between updates; what is applied changes only in :meth:`refresh`, so that all
    rewards of one update are in the same unit.

    Attributes:
        floor: smallest std, in the unit of the reward: noise of a still scene is not blown up.
        bound: rewards end at +- this many std.
        centre: subtract the mean; false keeps the sign of a reward.
        at_least: rewards of an instruction that must have been seen; before, only the bound applies.
    """

    floor: float = 1e-3
    bound: float = 5.0
    centre: bool = True
    at_least: int = 20
    _seen: dict = field(default_factory=dict, init=False, repr=False)
    _used: dict = field(default_factory=dict, init=False, repr=False)
    _frozen: bool = field(default=False, init=False, repr=False)

    def __post_init__(self):
        if not (self.floor > 0 and self.bound > 0):
            raise RewardModelError(f'floor {self.floor} and bound {self.bound} must be above 0')

    def observe(self, rewards: np.ndarray, trajectory: Trajectory) -> None:
        """Collect the rewards of an episode, once an episode."""
        self._seen.setdefault(trajectory.text, Moments()).add(rewards)

    def forget(self) -> None:
        """Collect from the beginning; what is applied stays until :meth:`refresh`."""
        self._seen = {}

    def refresh(self) -> None:
        """Apply from now on what was collected; refused inside :meth:`frozen`."""
        if self._frozen:
            raise RewardModelError('the normalisation is frozen during an update; refresh it after')
        self._used = {text: Moments(m.count, m.mean, m.squares) for text, m in self._seen.items()}

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """No refresh in here: one update, one unit."""
        self._frozen = True
        try:
            yield
        finally:
            self._frozen = False

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        rewards = np.asarray(rewards, np.float64)
        moments = self._used.get(trajectory.text)
        if moments is not None and moments.count >= self.at_least:
            rewards = (rewards - moments.mean * self.centre) / max(moments.std, self.floor)
        return np.clip(rewards, -self.bound, self.bound)

    def state(self) -> dict[str, Any]:
        """What to keep in a snapshot, as JSON: instruction -> [count, mean, squares]."""
        return {text: [m.count, m.mean, m.squares] for text, m in self._seen.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._seen = {text: Moments(int(c), float(m), float(s)) for text, (c, m, s) in state.items()}
        self.refresh()
