# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A monitor that outlives a restart: its set is the first episodes, its level is kept in a file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import read_json, write_json
from apprentice.reward_models.monitor.audit import AuditConfig
from apprentice.reward_models.monitor.detector import Level
from apprentice.reward_models.monitor.evidence import Evidence
from apprentice.reward_models.monitor.ladder import Ladder, LadderConfig
from apprentice.reward_models.monitor.limits import LEAST, Calibration
from apprentice.reward_models.monitor.monitor import Monitor, Report


class Watch:
    """Judges the episodes of one reward model.

    Where ``folder`` has no calibration for the version that scores, one is fitted on the first episodes that
    do not contradict the model: learning has hardly begun, so they are what the base policy does. Better is
    a calibration fitted beforehand on episodes that people have looked at, and put there. From DOWN_WEIGHT on
    that is demanded: alarms lasted, so what scores now does not say what is normal.

    Args:
        folder: holds ``<model>-<version>.json`` (calibration) and ``<model>.level.json``.
        episodes: of the calibration set.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        episodes: int = 20,
        false_alarm: float = 0.01,
        ladder: LadderConfig | None = None,
        audit: AuditConfig | None = None,
        seed: int = 0,
    ):
        if episodes < LEAST:
            raise RewardModelError(f'a calibration set has {LEAST} episodes or more, not {episodes}')
        self.folder, self.model, self.episodes = folder, model, episodes
        self._false_alarm, self._audit, self._seed = false_alarm, audit, seed
        self._set: list[Evidence] = []
        self._fitted: list[Evidence] = []  # what the calibration in use was fitted on, by this process
        self._ladder = Ladder(ladder)
        self.monitor: Monitor | None = None
        self._level_file = folder / f'{_safe(model)}.level.json'
        if self._level_file.exists():
            kept = read_json(self._level_file)
            try:
                self._ladder.level, self._ladder.reason = Level(int(kept['level'])), str(kept['reason'])
            except (KeyError, TypeError, ValueError):
                raise RewardModelError(
                    f'{self._level_file} does not name a level; delete it to start at OK'
                ) from None

    @property
    def level(self) -> Level:
        return self._ladder.level

    def calibration_file(self, version: str) -> Path:
        """Where the calibration of a version lies, or will."""
        return self.folder / f'{_safe(self.model)}-{_safe(version)}.json'

    def judge(self, evidence: Evidence) -> Report:
        """The report of an episode; while the calibration set is being collected it has no findings."""
        version, doubted = evidence.version, self.level >= Level.DOWN_WEIGHT
        known = self.monitor is not None and self.monitor.calibration.version == version
        if not known and (not doubted or self.calibration_file(version).exists()):
            self._begin(version)
        elif not known:
            return self._demand(evidence)
        before = self.level
        report = self.monitor.judge(evidence) if self.monitor else self._collect(evidence)
        if self.level != before:
            self._keep()
        return report

    def audit(self, episode_id: str, success: bool) -> bool:
        """A person's verdict on an earlier episode; False if it is not remembered.

        One of the calibration set leaves it if it claims a success that was none; where the set was full
        already, the calibration is fitted again without it, or collected on if too few are left.
        """
        if _audited(self._set, episode_id, success):
            return True
        before = len(self._fitted)
        if _audited(self._fitted, episode_id, success):
            if len(self._fitted) < before:
                self._fit_again()
            return True
        return self.monitor is not None and self.monitor.audit(episode_id, success)

    def _fit_again(self) -> None:
        assert self.monitor is not None
        version = self.monitor.calibration.version
        if len(self._fitted) >= LEAST:
            calibration = Calibration.fit(self._fitted, self._false_alarm)
            calibration.save(self.calibration_file(version))
            self.monitor.recalibrate(calibration)
        else:
            self.calibration_file(version).unlink(missing_ok=True)
            self.monitor, self._set, self._fitted = None, self._fitted, []

    def acknowledge(self, who: str) -> None:
        """Let the level fall step by step while it stays quiet."""
        self._ladder.acknowledge(who)

    def _begin(self, version: str) -> None:
        path = self.calibration_file(version)
        self.monitor = None
        self._set = [evidence for evidence in self._set if evidence.version == version]
        self._fitted = []
        if path.exists():
            self._use(Calibration.load(path))

    def _use(self, calibration: Calibration) -> None:
        self.monitor = Monitor(calibration, self._ladder.config, self._audit, self._seed)
        self.monitor.ladder = self._ladder

    def _collect(self, evidence: Evidence) -> Report:
        contradicted = _contradicted(evidence)
        if np.isfinite(evidence.score()) and not contradicted:
            self._set.append(evidence)
        reason = f'calibrating: {len(self._set)} of {self.episodes} episodes'
        if contradicted:
            reason += '; this one claims a success that was none and is left out'
        if len(self._set) >= self.episodes:
            calibration = Calibration.fit(self._set, self._false_alarm)
            calibration.save(self.calibration_file(evidence.version))
            self._use(calibration)
            self._set, self._fitted = [], self._set
            reason = (
                f'calibrated on {calibration.episodes} episodes, false alarms in at most '
                f'{calibration.family_rate:.0%} of such'
            )
        level, weight = self.level, self._ladder.weight
        if level > Level.OK:
            reason = f'{level.name}, raised by {self._ladder.reason}. {reason}'
        return Report(evidence.episode_id, self.model, evidence.version, level, weight, (), reason, '')

    def _demand(self, evidence: Evidence) -> Report:
        """From DOWN_WEIGHT on, of a version without a calibration: nothing is compared, the level stays."""
        reason = (
            f'{self.level.name}, raised by {self._ladder.reason or "an earlier run"}. Version '
            f'{evidence.version} has no calibration, and from DOWN_WEIGHT on none is made of what scores '
            'now: fit one on episodes that people have looked at '
            f'(Calibration.fit) and save it as {self.calibration_file(evidence.version)}'
        )
        weight = self._ladder.weight
        return Report(evidence.episode_id, self.model, evidence.version, self.level, weight, (), reason, '')

    def _keep(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._level_file, {'level': int(self.level), 'reason': self._ladder.reason})


def _audited(episodes: list[Evidence], episode_id: str, success: bool) -> bool:
    """Whether the episode is among these; it gets the verdict, and leaves if that contradicts its claim."""
    for index, evidence in enumerate(episodes):
        if evidence.episode_id == episode_id:
            audited = replace(evidence, gold=float(success))
            episodes[index : index + 1] = [] if _contradicted(audited) else [audited]
            return True
    return False


def _contradicted(evidence: Evidence) -> bool:
    """Whether it claims a success that was none."""
    claims = evidence.claimed()
    return evidence.gold < 0.5 and len(claims) > 0 and bool(claims[-1])


def _safe(name: str) -> str:
    return re.sub(r'[^\w.-]+', '_', name) or 'unnamed'
