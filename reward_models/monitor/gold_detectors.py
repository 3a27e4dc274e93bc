# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Detectors 1, 8 and 12: the model against somebody else: a person's audit, a predicate, another sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.monitor.detector import Detector, Level
from apprentice.reward_models.monitor.evidence import Evidence, Judged
from apprentice.robot.intervals import wilson

WINDOW = 32  # latest episodes that are compared with the calibration set
CLAIMS = 100  # latest episodes among which claims are looked for: a rate near 1 % needs many
_LEAST = 4  # episodes that must have been audited


@dataclass(frozen=True)
class ProxyGoldGap(Detector):
    """1: the model's scores rise while true success falls: min(z of the scores, -z of the successes).

    Both are differences between the latest episodes and the calibration set in standard errors. Under no
    change the number is above 1.645 in at most 5 % of cases, and rarely if score and success go together.
    """

    name = 'proxy_gold_gap'
    about = 'scores up while success goes down, in standard errors'
    response, strongest = Level.SPARSE, Level.STOP
    fixed, rate = 1.645, 0.05
    mean: float = float('nan')
    deviation: float = float('nan')
    successes: int = 0
    audited: int = 0
    episodes: int = 0

    @classmethod
    def fitted(cls, episodes: Sequence[Evidence]) -> ProxyGoldGap:
        scores = np.array([e.score() for e in episodes if np.isfinite(e.score())])
        gold = [e.gold for e in episodes if np.isfinite(e.gold)]
        if len(scores) < 2:
            return cls()
        won = int(sum(value >= 0.5 for value in gold))
        return cls(float(scores.mean()), float(scores.std(ddof=1)), won, len(gold), len(scores))

    def measure(self, evidence: Evidence) -> float:
        latest = _latest(evidence)
        gold = [judged.gold >= 0.5 for judged in latest if np.isfinite(judged.gold)]
        scores = [judged.proxy for judged in latest if np.isfinite(judged.proxy)]
        if len(gold) < _LEAST or not self.audited or not self.episodes:
            return float('nan')
        error = self.deviation * np.sqrt(1 / len(scores) + 1 / self.episodes)
        up = (np.mean(scores) - self.mean) / max(float(error), 1e-9)
        # one success and one failure more than were seen, so that no rate is certain
        pooled = (self.successes + sum(gold) + 1) / (self.audited + len(gold) + 2)
        error = np.sqrt(pooled * (1 - pooled) * (1 / len(gold) + 1 / self.audited))
        down = (self.successes / self.audited - np.mean(gold)) / float(error)
        return float(min(up, down))


@dataclass(frozen=True)
class PredicateConflict(Detector):
    """8: share of the moments of claimed success in which a necessary condition of it does not hold.

    Such as: the gripper is not empty, the object lies where it should, there is a force.
    """

    name = 'predicate_conflict'
    about = 'success claimed while a necessary condition does not hold'
    response, strongest = Level.SPARSE, Level.STOP
    resolution = 0.05

    def measure(self, evidence: Evidence) -> float:
        if not evidence.conditions:
            return float('nan')
        claims = evidence.claimed()
        if not claims.any():
            return 0.0
        holds = np.ones(len(claims), bool)
        for name, condition in evidence.conditions.items():
            values = np.asarray(condition, bool)
            if values.ndim and len(values) != len(claims):
                raise ValueError(
                    f'condition {name!r} has {len(values)} moments, the claims have {len(claims)}; '
                    'give one truth value for each'
                )
            holds &= values
        return float(np.mean(~holds[claims]))


@dataclass(frozen=True)
class FalseSuccess(Detector):
    """12: share of audited claims of success that were wrong, lower end of its 95 % Wilson interval.

    The limit is the gate's: false success below 1 %. An alarm says that the rate is above it with 97.5 %
    confidence. One wrong claim is no rate yet, and may be the label's fault: it counts as 0. Audits of the
    top tail find false claims sooner than a random sample would.

    Where somebody else judged every episode with a claim, nothing false is left to learn from without the
    model's scores (``SPARSE``); else episodes may have succeeded by its claims, and learning must stop.
    """

    name = 'false_success'
    about = 'wrong claims of success, lower end of the 95 % interval'
    response, strongest = Level.SPARSE, Level.STOP
    fixed, rate = 0.01, 0.025

    def measure(self, evidence: Evidence) -> float:
        claims = [
            judged for judged in _latest(evidence, CLAIMS) if judged.claimed and np.isfinite(judged.gold)
        ]
        if not claims:
            return float('nan')
        wrong = sum(judged.gold < 0.5 for judged in claims)
        return wilson(wrong, len(claims))[0] if wrong > 1 else 0.0

    def at_most(self, evidence: Evidence) -> Level:
        claims = [judged for judged in _latest(evidence, CLAIMS) if judged.claimed]
        audited = all(np.isfinite(judged.gold) for judged in claims)
        return Level.SPARSE if audited else self.strongest


def _latest(evidence: Evidence, count: int = WINDOW) -> list[Judged]:
    """The episodes before and this one."""
    claims = evidence.claimed()
    this = Judged(
        evidence.episode_id, evidence.text, evidence.score(), evidence.gold, bool(len(claims) and claims[-1])
    )
    return [*evidence.history, this][-count:]
