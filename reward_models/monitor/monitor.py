# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The monitor of one reward model: evidence of an episode in, report and response out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from apprentice.reward_models.monitor.audit import (
    AuditConfig,
    AuditPlan,
    FalseSuccessRate,
    false_success_rate,
)
from apprentice.reward_models.monitor.detector import Level
from apprentice.reward_models.monitor.drift_detectors import GROUP
from apprentice.reward_models.monitor.evidence import Evidence, Judged
from apprentice.reward_models.monitor.ladder import Ladder, LadderConfig
from apprentice.reward_models.monitor.limits import Calibration, Limit

_KEPT = 500  # episodes remembered


@dataclass(frozen=True)
class Finding:
    """One detector in one episode; NaN where it was not measured, a NaN limit where it has none."""

    name: str
    value: float
    limit: float
    alarm: bool


@dataclass(frozen=True)
class Report:
    """What is known after an episode, and what is asked for.

    Attributes:
        weight: of the shaping reward, [0, 1].
        audit: why a person should look at this episode; empty: no need.
        reason: what raised the level, in words.
    """

    episode_id: str
    model: str
    version: str
    level: Level
    weight: float
    findings: tuple[Finding, ...]
    reason: str
    audit: str

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names of the detectors that alarm in this episode."""
        return tuple(finding.name for finding in self.findings if finding.alarm)


class Monitor:
    """Judges episode after episode; keeps what it needs of the earlier ones.

    Args:
        calibration: what is normal, of the version of the model that is judged.
        seed: of the audit plan.
    """

    def __init__(
        self,
        calibration: Calibration,
        ladder: LadderConfig | None = None,
        audit: AuditConfig | None = None,
        seed: int = 0,
    ):
        self.ladder = Ladder(ladder)
        self.audits = AuditPlan(audit, seed)
        self._judged: deque[Judged] = deque(maxlen=_KEPT)
        self.recalibrate(calibration)

    def recalibrate(self, calibration: Calibration) -> None:
        """Compare with another calibration of the same version from now on; level and episodes stay."""
        self.calibration = calibration
        self._detectors = {detector.name: detector for detector in calibration.detectors}
        self._rates = {
            name: limit.rate
            for name, limit in calibration.limits.items()
            if name in self._detectors and self._detectors[name].fixed is None
        }

    @property
    def level(self) -> Level:
        return self.ladder.level

    @property
    def weight(self) -> float:
        """Of the shaping reward, [0, 1]."""
        return self.ladder.weight

    def judge(self, evidence: Evidence) -> Report:
        """Measure, compare, decide; the episode counts from here on.

        Scores of another version than the calibrated one are not compared: they are flagged, and the level
        stays. Raises ValueError for evidence that does not fit together.
        """
        judged, why = self._judge(evidence)
        known = self.calibration
        if evidence.version != known.version or evidence.model != known.model:
            found: tuple[Finding, ...] = ()
            level = max(self.level, Level.FLAG)
            reason = (
                f'scored by {evidence.model} {evidence.version}, but calibrated for {known.model} '
                f'{known.version}: fit a new calibration'
            )
        else:
            complete = self._with_history(evidence)
            found = self._findings(complete)
            alarms = {f.name: f.alarm for f in found if np.isfinite(f.value) and np.isfinite(f.limit)}
            at_most = {name: self._detectors[name].at_most(complete) for name in alarms}
            level = self.ladder.step(alarms, self._detectors, self._rates, at_most)
            reason = self._reason(found)
        self._judged.append(judged)
        return Report(
            evidence.episode_id, evidence.model, evidence.version, level, self.weight, found, reason, why
        )

    def audit(self, episode_id: str, success: bool) -> bool:
        """A person's verdict on an earlier episode; False if it is not remembered."""
        for index, judged in enumerate(self._judged):
            if judged.episode_id == episode_id:
                self._judged[index] = replace(judged, gold=float(success))
                return True
        return False

    def acknowledge(self, who: str) -> None:
        """Let the level fall step by step while it stays quiet; see :class:`.Ladder`."""
        self.ladder.acknowledge(who)

    def false_success_rate(self) -> FalseSuccessRate:
        """From episodes audited because all are, or drawn at random."""
        return false_success_rate(list(self._judged))

    def waiting_for_audit(self) -> list[Judged]:
        """Proposed and not yet audited, oldest first."""
        return [j for j in self._judged if j.sampled and not np.isfinite(j.gold)]

    def _judge(self, evidence: Evidence) -> tuple[Judged, str]:
        score, claims = evidence.score(), evidence.claimed()
        known = np.isfinite(evidence.gold)
        why = self.audits.propose(score)
        claimed = bool(len(claims) and claims[-1])
        sampled = 'all' if known else why
        judged = Judged(evidence.episode_id, evidence.text, score, evidence.gold, claimed, sampled)
        return judged, '' if known else why

    def inspect(self, evidence: Evidence) -> tuple[Finding, ...]:
        """What every detector says of an episode, which is not counted: e.g. of a candidate."""
        return self._findings(self._with_history(evidence))

    def _findings(self, complete: Evidence) -> tuple[Finding, ...]:
        found = []
        for detector in self.calibration.detectors:
            value = detector.measure(complete)
            limit = self.calibration.limits.get(detector.name, Limit())
            found.append(Finding(detector.name, value, limit.value, limit.exceeded(value, detector.high)))
        return tuple(found)

    def _with_history(self, evidence: Evidence) -> Evidence:
        history, group = tuple(self._judged), evidence.group
        if not len(group):
            same = [j.proxy for j in history if j.text == evidence.text] + [evidence.score()]
            group = same[-GROUP:]
        return replace(evidence, history=history, group=group)

    def _reason(self, found: tuple[Finding, ...]) -> str:
        alarms = [
            f'{f.name} {f.value:.3g} (limit {f.limit:.3g}: {self._detectors[f.name].about})'
            for f in found
            if f.alarm
        ]
        now = '; '.join(alarms)
        if self.level == Level.OK:
            return now
        raised = (
            f'{self.level.name}, raised by {self.ladder.reason}' if self.ladder.reason else self.level.name
        )
        if self.level > Level.FLAG and not self.ladder.acknowledged:
            raised += ', not acknowledged'
        return f'{raised}. {now}' if now else raised
