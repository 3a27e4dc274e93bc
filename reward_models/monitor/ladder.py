# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is done about alarms: a ladder climbed at once and left slowly, and not without a person."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

from apprentice.reward_models.monitor.detector import Detector, Level


@dataclass(frozen=True)
class LadderConfig:
    """How patient the monitor is. Numbers are episodes.

    Attributes:
        persist, window: so many alarms of one detector among the latest in which it was measured, at least,
            raise the level to the detector's response; a single alarm is flagged.
        chance: more than ``persist`` are needed where so many would come by chance more often than this, by
            the detector's rate of false alarms. For 8 episodes: 3 at a rate of 1 %, 4 at 5 %, 5 at 9 %.
        escalate: after so many further alarms the level rises by one, up to the detector's strongest.
        quiet: so many episodes in a row without alarm let the level fall by one, where a person agreed.
        weight: of the shaping reward at DOWN_WEIGHT and FREEZE.
    """

    persist: int = 2
    window: int = 8
    chance: float = 1e-3
    escalate: int = 4
    quiet: int = 10
    weight: float = 0.3

    def __post_init__(self) -> None:
        if not 1 <= self.persist <= self.window or self.escalate < 1 or self.quiet < 1:
            raise ValueError('1 <= persist <= window, escalate >= 1 and quiet >= 1 are needed')
        if not 0 < self.chance <= 1:
            raise ValueError(f'chance is {self.chance}; give a number above 0, at most 1')
        if not 0 <= self.weight <= 1:
            raise ValueError(f'weight is {self.weight}; give a number between 0 and 1')

    def needed(self, rate: float) -> int:
        """Alarms among ``window`` that are no chance at this rate of false ones; ``persist`` at NaN."""
        for count in range(self.persist, self.window):
            several = range(count, self.window + 1)
            chances = (comb(self.window, k) * rate**k * (1 - rate) ** (self.window - k) for k in several)
            if not sum(chances) > self.chance:
                return count
        return self.window


class Ladder:
    """The present level. FLAG falls by itself; from all others the way down needs :meth:`acknowledge`."""

    def __init__(self, config: LadderConfig | None = None):
        self.config = config or LadderConfig()
        self.level = Level.OK
        self.reason = ''
        self.acknowledged = ''
        self._alarms: dict[str, deque[bool]] = {}
        self._further = 0
        self._quiet = 0

    @property
    def weight(self) -> float:
        """Of the shaping reward, [0, 1]. It changes between episodes only, so potentials stay potentials."""
        if self.level <= Level.FLAG:
            return 1.0
        return self.config.weight if self.level <= Level.FREEZE else 0.0

    def step(
        self,
        alarms: Mapping[str, bool],
        detectors: Mapping[str, Detector],
        rates: Mapping[str, float] | None = None,
        at_most: Mapping[str, Level] | None = None,
    ) -> Level:
        """Take one episode. Returns the level.

        Args:
            alarms: which detectors alarmed, of those that measured.
            rates: of false alarms in an episode. Not for detectors that look at many episodes at once: their
                alarms follow each other anyway.
            at_most: strongest responses in the situation of this episode; default: the detectors'.
        """
        rates, at_most = rates or {}, at_most or {}
        for name, alarm in alarms.items():
            self._alarms.setdefault(name, deque(maxlen=self.config.window)).append(alarm)
        now = [name for name, alarm in alarms.items() if alarm]
        needed = {name: self.config.needed(rates.get(name, float('nan'))) for name in now}
        lasting = [name for name in now if sum(self._alarms[name]) >= needed[name]]
        if not now:
            self._calm()
            return self.level
        self._quiet = 0
        wanted = max([Level.FLAG, *(detectors[name].response for name in lasting)])
        limits = (at_most.get(name, detectors[name].strongest) for name in lasting)
        strongest = max([Level.FLAG, *limits])
        if wanted > self.level:
            self._rise(wanted, lasting or now)
        elif lasting and self.level < strongest:
            self._further += 1
            if self._further >= self.config.escalate:
                self._rise(Level(self.level + 1), lasting)
        return self.level

    def acknowledge(self, who: str) -> None:
        """A person has seen the reason and lets the level fall step by step, while it stays quiet."""
        if not who:
            raise ValueError('say who acknowledges')
        self.acknowledged = who

    def _rise(self, level: Level, names: list[str]) -> None:
        self.level, self._further, self.acknowledged = level, 0, ''
        self.reason = ', '.join(names)

    def _calm(self) -> None:
        self._quiet += 1
        if self._quiet < self.config.quiet or self.level == Level.OK:
            return
        if self.level > Level.FLAG and not self.acknowledged:
            return
        self.level, self._quiet, self._further = Level(self.level - 1), 0, 0
        if self.level == Level.OK:
            self.reason = self.acknowledged = ''
