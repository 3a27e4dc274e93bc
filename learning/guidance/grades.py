# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The five grades of help by a person, and what is planned for the next episode.

G1 to G3 are VLAC's (arXiv 2509.15937), takeover is HIL-SERL's (arXiv 2410.21845). Neither gives triggers;
those of :class:`~apprentice.learning.guidance.config.GuidanceConfig` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from apprentice.robot.guidance import Advice as Advice
from apprentice.robot.guidance import AdviceKind as AdviceKind
from apprentice.robot.guidance import Grade as Grade


@dataclass(frozen=True)
class Plan:
    """Where and how the next learning episode begins.

    Attributes:
        seed: of the reset; on a robot the number of a marked place. None: nobody has a wish.
        grade: the highest grade of help that is planned; ``REPLAY`` where nobody is asked for any, since the
            learner replays what people did in any case.
        proposed: the start was chosen because the policy fails there, not drawn.
        demonstrate: a person should drive the whole episode.
        cluster: name of the group of starts it belongs to; empty where it was drawn.
        success: share of the last tries there that the policy won alone.
        tries: that it is the share of; 0 where it was drawn.
        reason: why, in words and numbers.
    """

    seed: int | None = None
    grade: Grade = Grade.NONE
    proposed: bool = False
    demonstrate: bool = False
    cluster: str = ''
    success: float = 0.0
    tries: int = 0
    reason: str = ''
