# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A simulated person who answers about stretches by the simulator's truth (:mod:`apprentice.sim.people`)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from apprentice.episodes.answers import Choice, Stretch
from apprentice.robot.types import Episode, RewardKind
from apprentice.sim.people import PersonConfig, ScriptedPerson

_SAID: dict[float | None, Choice] = {1.0: 'left', 0.0: 'right', 0.5: 'equal', None: 'cannot tell'}


class Teacher:
    """Compares and judges as ``config`` says, the same for a seed."""

    def __init__(self, config: PersonConfig | None = None, seed: int = 0):
        # who only watches needs no hands
        self._person = ScriptedPerson(cast(Any, None), config, seed)

    def compare(self, left: float, right: float) -> Choice:
        """Which stretch is better, by their mean true progress."""
        return _SAID[self._person.prefer(np.array([left]), np.array([right]))]

    def judge(self, success: bool) -> bool | None:
        """What is said of an episode that truly succeeded or not; None: nothing."""
        return self._person.label(success)


def true_progress(episode: Episode, stretch: Stretch) -> float:
    """Mean of the simulator's progress over a stretch. Raises ValueError where the log has no truth."""
    zero = episode.stamps[0] - episode.lead_s
    values = [
        reward.progress
        for reward in episode.rewards
        if reward.kind == RewardKind.TRUTH and stretch.begin <= reward.t1 - zero <= stretch.end
    ]
    if not values:
        raise ValueError(
            f'{episode.episode_id} holds no truth of a simulator from {stretch.begin} to {stretch.end} s; a '
            'simulated person can only judge simulated episodes'
        )
    return float(np.mean(values))
