# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""G2 and G3: return to where the policy fails, and demonstrate from there when returning does not help."""

from __future__ import annotations

from collections import deque

from apprentice.learning.guidance.clusters import Start
from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.grades import Grade
from apprentice.learning.guidance.tries import Try


class StartRecord:
    """What happened at one group of starts, and the grade of help it has come to.

    A try counts as a success only if the policy won alone; with help it is a try that failed. Demonstrations
    and aborted episodes are no tries.

    Attributes:
        grade: NONE, RETURN_AND_EXPLORE or GUIDED_EXPLORE.
        failed: failed tries since returning began, or since the last demonstration.
        last_return: number of the last episode that began here while help was due.
    """

    def __init__(self, start: Start, config: GuidanceConfig):
        self.start, self._config = start, config
        self.grade = Grade.NONE
        self.recent: deque[Try] = deque(maxlen=config.tries)
        self.seeds: set[int] = set()
        self.failed = 0
        self.last_return = -1

    @property
    def tries(self) -> int:
        """How many recent tries are known, at most ``config.tries``."""
        return len(self.recent)

    @property
    def success(self) -> float:
        """Share of the recent tries that the policy won alone; 0 without any."""
        return sum(each.won_alone for each in self.recent) / len(self.recent) if self.recent else 0.0

    @property
    def failed_seeds(self) -> list[int]:
        """Starts here at which a recent try failed, oldest first, each as often as it failed."""
        return [each.seed for each in self.recent if not each.won_alone]

    def add(self, tried: Try, number: int) -> bool:
        """Take a try; returns whether it was a return: help was due here, and this start had been tried."""
        returned = self.grade > Grade.NONE and tried.seed in self.seeds
        if returned:
            self.last_return = number
        self.seeds.add(tried.seed)
        if tried.demonstration(self._config.demonstrated):
            if self.grade == Grade.GUIDED_EXPLORE:
                self.grade, self.failed = Grade.RETURN_AND_EXPLORE, 0
        elif tried.judged:
            self.recent.append(tried)
            self._grade(tried)
        return returned

    def _grade(self, tried: Try) -> None:
        config = self._config
        if self.grade == Grade.NONE:
            if len(self.recent) >= config.tries and self.success < config.low_success:
                self.grade, self.failed = Grade.RETURN_AND_EXPLORE, 0
        elif self.success >= config.recovered:
            self.grade = Grade.NONE
        elif not tried.won_alone:
            self.failed += 1
            if self.failed >= config.demonstrate_after:
                self.grade = Grade.GUIDED_EXPLORE

    def reason(self) -> str:
        """Why help is due, in words and numbers."""
        won = sum(each.won_alone for each in self.recent)
        text = f'the policy won {won} of its last {self.tries} tries there alone'
        if self.grade == Grade.GUIDED_EXPLORE:
            text += f', and {self.failed} more failed since it returns there'
        return text
