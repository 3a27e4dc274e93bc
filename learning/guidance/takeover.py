# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""G4: advice when to take over, and when to hand back, within one episode. Advice only: the gate decides."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from apprentice.learning.guidance.config import GuidanceConfig
from apprentice.learning.guidance.grades import Advice, AdviceKind

_NONE = Advice()


class TakeoverAdvisor:
    """Watches the potential of one episode. All stamps are the measurements' own, in seconds.

    Args:
        uncertain: standard deviations above it are unusual; infinity: unknown.
        tapered: the policy does well alone: only a drop is worth a word.
    """

    def __init__(self, config: GuidanceConfig, uncertain: float = math.inf, tapered: bool = False):
        self._config, self._uncertain, self._tapered = config, uncertain, tapered
        self.advice = _NONE
        self._samples: deque[tuple[float, float]] = deque()  # raw, as long as the median needs them
        self._past: deque[tuple[float, float]] = deque()  # smoothed, as long as a drop needs them
        self._human: bool | None = False
        self._now = -math.inf
        self._restart()

    def _restart(self) -> None:
        """Somebody else drives: what was before says nothing about them."""
        self._began: float | None = None
        self._best, self._since, self._first = math.nan, math.nan, math.nan
        self._raised: float | None = None
        self._quiet: float | None = None
        self._past.clear()
        self._samples.clear()
        self.advice = _NONE

    def observe(self, now: float, phi: float, std: float = math.nan, human: bool | None = False) -> Advice:
        """Take one measurement and return what is advised now.

        Args:
            now: stamp of the measurement [s]; older ones than the newest are left out.
            phi: potential in [0, 1]; NaN: none was measured.
            std: of an ensemble, in the unit of ``phi`` or of values; NaN: unknown.
            human: a person drives, as the gate says; None: nobody does, the robot holds.
        """
        if 4 not in self._config.grades or now < self._now or not math.isfinite(now):
            return self.advice
        self._now = now
        if human != self._human:
            self._human = human
            self._restart()
        if human is None:
            return self.advice
        if self._began is None:
            self._began = now
        smooth = self._smooth(now, phi)
        if human:
            cause, kind = self._hand_back(now, smooth), AdviceKind.HAND_BACK
        else:
            cause, kind = self._trouble(now, smooth, std), AdviceKind.TAKE_OVER
        self._debounce(now, cause, kind)
        return self.advice

    def _smooth(self, now: float, phi: float) -> float:
        if math.isfinite(phi):
            self._samples.append((now, float(phi)))
        while self._samples and self._samples[0][0] < now - self._config.smooth_s:
            self._samples.popleft()
        return float(np.median([value for _, value in self._samples])) if self._samples else math.nan

    def _trouble(self, now: float, phi: float, std: float) -> str:
        """What speaks for taking over, with the numbers; empty: nothing."""
        config = self._config
        if math.isfinite(phi):
            if not math.isfinite(self._best) or phi > self._best + config.deadband:
                self._best, self._since = phi, now
            while self._past and self._past[0][0] < now - config.drop_s:
                self._past.popleft()
            highest = max((value for _, value in self._past), default=phi)
            self._past.append((now, phi))
            if highest - phi > config.drop:
                return f'the potential fell from {highest:.2f} to {phi:.2f} within {config.drop_s:g} s'
        if self._tapered:
            return ''
        if now - self._since > config.stall_s:
            return f'no progress for {now - self._since:.1f} s, the potential is {phi:.2f}'
        if std > self._uncertain:
            return f'standard deviation {std:.3f}, usual are up to {self._uncertain:.3f}'
        return ''

    def _hand_back(self, now: float, phi: float) -> str:
        """What speaks for handing back; empty: nothing."""
        config = self._config
        assert self._began is not None
        if now - self._began > config.takeover_s:
            return f'the takeover has lasted {now - self._began:.1f} s: hand back, or pause'
        if math.isfinite(phi) and not math.isfinite(self._first):
            self._first = phi
        if phi - self._first >= config.hand_back_gain:
            return f'the potential rose from {self._first:.2f} to {phi:.2f}: the trouble is over'
        return ''

    def _debounce(self, now: float, cause: str, kind: AdviceKind) -> None:
        """Advice begins when a cause has stood for a while, and ends when none has for a while."""
        if cause:
            self._quiet = None
            if self._raised is None:
                self._raised = now
            if now - self._raised >= self._config.debounce_s:
                self.advice = Advice(kind, cause)
            return
        self._quiet = now if self._quiet is None else self._quiet
        if self.advice.kind == AdviceKind.NONE or now - self._quiet >= self._config.withdraw_s:
            self.advice, self._raised = _NONE, None
