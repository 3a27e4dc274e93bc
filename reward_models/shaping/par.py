# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Preference as reward: bounded, centred on what a reference policy scores (PAR, arXiv 2502.18770).

r = 1/M sum_m sigmoid(k (r - r_ref_m)): the probability of being preferred to the reference. Steep near it and
flat far above, so a score that an exploit drives to the sky buys next to nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar

import numpy as np

from apprentice.reward_models.base import RewardModelError, Trajectory


@dataclass(frozen=True)
class PreferenceAsReward:
    """Replaces every score by its mean probability of beating the reference scores.

    Attributes:
        references: pattern of instructions -> scores of a frozen policy in the same scene; the longest
            pattern that fits counts. Never mixed over instructions, whose scales differ.
        steepness: k, per unit of the score.
    """

    references: dict = field(default_factory=dict)
    steepness: float = 1.0
    of_scores: ClassVar[bool] = True

    def __post_init__(self):
        if not self.steepness > 0:
            raise RewardModelError(f'steepness is {self.steepness}; give a value above 0')
        for pattern, scores in self.references.items():
            if not len(scores) or not np.all(np.isfinite(np.asarray(scores, np.float64))):
                raise RewardModelError(f'references of {pattern!r} are empty or not finite')

    def reference(self, text: str) -> Sequence[float]:
        """Scores of the reference. Raises RewardModelError if there are none for this instruction."""
        fitting = [pattern for pattern in self.references if fnmatchcase(text, pattern)]
        if not fitting:
            raise RewardModelError(
                f'there are no reference scores for {text!r}; score some runs of the starting policy with '
                'this instruction and give them as references'
            )
        return self.references[max(fitting, key=len)]

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        reference = np.asarray(self.reference(trajectory.text), np.float64)
        z = self.steepness * (np.asarray(rewards, np.float64)[:, None] - reference)
        return np.mean(0.5 * (1.0 + np.tanh(0.5 * z)), axis=1)
