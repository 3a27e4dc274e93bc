# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which of several scores of one moment counts."""

from __future__ import annotations

from collections.abc import Iterable

from apprentice.robot.types import Reward, RewardKind

_LABELS = (RewardKind.HUMAN, RewardKind.TRUTH)


def moment(stamp: float) -> int:
    """A stamp [s] in microseconds: float64 seconds hold no more at today's epoch, so equal means this."""
    return round(stamp * 1e6)


def effective(rewards: Iterable[Reward]) -> list[Reward]:
    """What counts: of equal model and t1 the highest revision, of equal revisions the later one; by time.

    Labels are kept beside scores of the same name.
    """
    newest: dict[tuple[str, bool, int], Reward] = {}
    for reward in rewards:
        key = (reward.model, reward.kind in _LABELS, moment(reward.t1))
        if key not in newest or reward.revision >= newest[key].revision:
            newest[key] = reward
    return sorted(newest.values(), key=lambda reward: reward.t1)
