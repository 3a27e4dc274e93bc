# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is known of one episode when the reward model is judged. Everything but the id may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from apprentice.reward_models.monitor.cameras import CameraStatistics
from apprentice.robot.types import Reward

CLAIM = 0.9  # done probability, or progress, from which a model claims success


@dataclass(frozen=True)
class Judged:
    """One earlier episode: what the model thought of it, and what a separate source said.

    Attributes:
        proxy: the model's score of the episode.
        gold: 1 success, 0 failure, NaN where nobody else looked.
        claimed: whether the model claimed success.
        sampled: why it was audited: ``all``, ``random``, ``top tail``; empty: it was not.
    """

    episode_id: str
    text: str
    proxy: float
    gold: float = float('nan')
    claimed: bool = False
    sampled: str = ''


@dataclass(frozen=True)
class Evidence:
    """One episode. What is None or empty is not measured, and detectors that need it say NaN.

    Measure the same things in the calibration set as later: a number is compared with its like only.

    Attributes:
        rewards: raw measurements of one model, in order of time.
        stamps: float64 [T], times of ``embeddings``, ``members`` and ``views`` [s].
        embeddings: float [T, D], of what the model saw (or a small picture of it).
        potential: float [T], progress at ``stamps``; None: from ``rewards``.
        credit: float [T - 1], reward that the learner was given between the stamps; None: the gain of
            ``potential``.
        forward, backward: float [P], pair scores c(a, b) and c(b, a) of the same pairs.
        curve_reversed: float [T], progress of the video played backwards.
        members: float [M, T], the same measurement by the members of an ensemble.
        views: float [V, T], the same measurement through single cameras.
        conditions: name -> whether a necessary condition of success holds, bool [T].
        claims: bool [T], where the model claims success; None: from ``rewards``.
        proxy: the model's score of the whole episode; NaN: the last progress, else the last value.
        gold: 1 success, 0 failure, from a source other than the model; NaN unknown.
        actions, base_actions: float [S, A], what the policy did, and what the frozen base policy would
            have done from the same observations.
        base_std: float [A], spread of the base policy's actions.
        lower, upper: float [A], limits of the actions.
        cameras: name -> statistics of its frames.
        group: float [G], proxies of attempts at the same start (best-of-n); empty: the monitor takes the
            latest episodes with the same instruction.
        history: earlier episodes, oldest first; the monitor fills it in.
    """

    episode_id: str
    text: str = ''
    model: str = ''
    version: str = ''
    rewards: Sequence[Reward] = ()
    stamps: np.ndarray | None = None
    embeddings: np.ndarray | None = None
    potential: np.ndarray | None = None
    credit: np.ndarray | None = None
    forward: np.ndarray | None = None
    backward: np.ndarray | None = None
    curve_reversed: np.ndarray | None = None
    members: np.ndarray | None = None
    views: np.ndarray | None = None
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)
    claims: np.ndarray | None = None
    proxy: float = float('nan')
    gold: float = float('nan')
    actions: np.ndarray | None = None
    base_actions: np.ndarray | None = None
    base_std: np.ndarray | None = None
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    cameras: Mapping[str, CameraStatistics] = field(default_factory=dict)
    group: Sequence[float] = ()
    history: Sequence[Judged] = ()

    @property
    def valid(self) -> list[Reward]:
        """Measurements that may be used."""
        return [reward for reward in self.rewards if reward.valid]

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Stamps [T] and progress [T]: ``potential``, else of the samples, at ``stamps`` where there are.

        Both empty where no progress was measured.
        """
        if self.potential is not None:
            values = np.asarray(self.potential, float)
            times = np.arange(len(values), dtype=float) if self.stamps is None else np.asarray(self.stamps)
            return times, values
        points = [(reward.t1, progress_of(reward)) for reward in self.valid]
        points = [point for point in points if np.isfinite(point[1])]
        if not points:
            return np.zeros(0), np.zeros(0)
        times, values = np.array(points, float).T
        if self.stamps is not None:
            return np.asarray(self.stamps, float), np.interp(self.stamps, times, values)
        return times, values

    def claimed(self) -> np.ndarray:
        """bool [T], where the model claims success; empty where it never speaks of it."""
        if self.claims is not None:
            return np.asarray(self.claims, bool)
        done = [reward.done_prob for reward in self.valid if np.isfinite(reward.done_prob)]
        if done:
            return np.array(done) >= CLAIM
        return self.curve()[1] >= CLAIM

    def score(self) -> float:
        """The model's score of the episode; NaN without any."""
        if np.isfinite(self.proxy):
            return float(self.proxy)
        progress = self.curve()[1]
        if len(progress):
            return float(progress[-1])
        values = [reward.value for reward in self.valid if np.isfinite(reward.value)]
        return float(values[-1]) if values else float('nan')


def progress_of(reward: Reward) -> float:
    """Accumulated progress of a sample; single-frame progress models report it as their value."""
    if np.isfinite(reward.progress):
        return reward.progress
    return reward.value if reward.kind.name == 'ABS_PROGRESS' else float('nan')
