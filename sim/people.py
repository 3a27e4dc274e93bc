# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Simulated people who watch the robot, take over when it is stuck, and hand back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice.sim.task import Expert


@dataclass(frozen=True)
class PersonConfig:
    """How a scripted person behaves.

    Attributes:
        patience_s: takes over after this long without progress.
        reaction_s: further delay between deciding and pressing, uniform in [0, reaction_s].
        stride: smallest gain of staged progress that counts as progress.
        absent: probability of ignoring an episode altogether.
        wobble: standard deviation of the hand's joint noise, rad.
    """

    patience_s: float = 1.5
    reaction_s: float = 0.4
    stride: float = 0.04
    absent: float = 0.0
    wobble: float = 0.004


class ScriptedPerson:
    """Takes over after a stall and drives the task's expert until the episode ends.

    Knows the simulator's truth, as a person in the room would; nothing of it reaches policy or reward.
    """

    def __init__(self, expert: Expert, config: PersonConfig | None = None, seed: int = 0):
        self._expert, self.config = expert, config or PersonConfig()
        self._rng = np.random.default_rng(seed)
        self.reset(0.0)

    def reset(self, now: float) -> None:
        """A new episode begins at ``now`` [s]."""
        self._best, self._since = 0.0, now
        self._absent = bool(self._rng.random() < self.config.absent)
        self._delay = float(self._rng.uniform(0, self.config.reaction_s))

    def wants_control(self, now: float, progress: float) -> bool:
        """Whether the person would press takeover now, given the task's true progress in [0, 1]."""
        if progress > self._best + self.config.stride:
            self._best, self._since = progress, now
        return not self._absent and now - self._since > self.config.patience_s + self._delay

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        """Joint target [dim] for ``action_dt`` later; see :class:`~apprentice.sim.task.Expert`."""
        target = self._expert.act(state, objects, task)
        noise = self._rng.normal(0, self.config.wobble, len(target) - 1)
        return target + np.append(noise, 0.0)
