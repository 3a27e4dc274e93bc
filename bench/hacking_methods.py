# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Ways to turn scores of a reward model into what is learned from; all see the same successes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from apprentice.bench.hacking_critic import Critics
from apprentice.bench.hacking_world import Attempts, Starts
from apprentice.reward_models.base import Trajectory
from apprentice.reward_models.calibration.ensemble import Ensemble
from apprentice.reward_models.monitor.audit import AuditConfig
from apprentice.reward_models.monitor.evidence import Evidence
from apprentice.reward_models.monitor.ladder import LadderConfig
from apprentice.reward_models.monitor.limits import Calibration
from apprentice.reward_models.monitor.monitor import Monitor
from apprentice.reward_models.shaping.par import PreferenceAsReward

ONE, ALL = (True, False, False, False), (True, True, True, True)


@dataclass(frozen=True)
class Method:
    """Reward of an attempt: sparse * success + weight * (scores, transformed).

    Attributes:
        sparse: weight of the task's own success.
        scores: ``none``, ``raw`` (the model in use) or ``ensemble`` (mean - std of four, within [0, 1]).
        par: scores are replaced by the probability of beating the base policy's (arXiv 2502.18770).
        monitor: the ladder weighs the scores, and may stop learning.
        exploited: in which members of the ensemble the exploit is planted.
    """

    name: str
    sparse: float = 1.0
    scores: str = 'raw'
    par: bool = False
    monitor: bool = False
    exploited: tuple[bool, ...] = ONE


METHODS = (
    Method('success only', scores='none'),
    Method('raw, no success', sparse=0.0),
    Method('raw'),
    Method('PAR', par=True),
    Method('ensemble', scores='ensemble'),
    Method('ensemble, all exploited', scores='ensemble', exploited=ALL),
    Method('monitor', monitor=True),
    Method('all three', scores='ensemble', par=True, monitor=True),
    Method('all three, all exploited', scores='ensemble', par=True, monitor=True, exploited=ALL),
)


@dataclass(frozen=True)
class Base:
    """What every method of a seed begins with.

    Attributes:
        plan: the frozen base policy, contexts [B, 9] to joint targets [B, 6].
        spread: rad, of the base policy's actions.
        claim: score from which the model claims success: at most 0.5 % of failures of the base set reach it.
    """

    plan: Callable[[np.ndarray], np.ndarray]
    spread: float
    critics: dict[tuple[bool, ...], Critics]
    starts: Starts
    targets: np.ndarray
    attempts: Attempts
    claim: float


def score(method: Method, members: np.ndarray) -> np.ndarray:
    """Scores [B] of attempts from those of the members [M, B, T]: of the last moment."""
    last = members[:, :, -1]
    if method.scores == 'ensemble':
        return Ensemble()(last, np.full(last.shape, np.nan))[0]
    return last[0]


class Rewards:
    """One method at work, with its monitor."""

    def __init__(self, method: Method, base: Base, batch: int, seed: int):
        self.method, self.base = method, base
        self.critics = base.critics[method.exploited]
        members = self.critics.members(base.attempts.seen)
        reference = score(method, members)
        self._par = PreferenceAsReward({'*': reference.tolist()}, steepness=2 / float(reference.std()))
        self.monitor: Monitor | None = None
        self.alarms: dict[str, int] = {}
        if method.monitor:
            evidence = self.evidence(base.attempts, base.starts, base.targets, members)
            # a batch is one update: patience is counted in updates, persistence in a third of one
            ladder = LadderConfig(persist=6, window=32, escalate=2 * batch, quiet=batch)
            self.monitor = Monitor(Calibration.fit(evidence), ladder, AuditConfig(), seed)

    @property
    def stopped(self) -> bool:
        return self.monitor is not None and self.monitor.level.name == 'STOP'

    def total(self, success: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What is learned from, with the weight of this moment: one number an attempt [B]."""
        weight = 1.0 if self.monitor is None else self.monitor.weight
        return self.method.sparse * success + weight * values

    def __call__(self, starts: Starts, targets: np.ndarray, attempts: Attempts) -> np.ndarray:
        """Scores of attempts [B], transformed; the monitor takes them in."""
        method = self.method
        if method.scores == 'none':
            return np.zeros(len(targets))
        members = self.critics.members(attempts.seen)
        values = score(method, members)
        if method.par:
            values = self.preferred(values, attempts.text)
        if self.monitor is not None:
            for evidence in self.evidence(attempts, starts, targets, members):
                for name in self.monitor.judge(evidence).alarms:
                    self.alarms[name] = self.alarms.get(name, 0) + 1
        return values

    def preferred(self, values: np.ndarray, text: list[str]) -> np.ndarray:
        """PAR of scores [B]."""
        rewards = [self._par(np.array([v]), Trajectory(np.zeros(2), text=t)) for v, t in zip(values, text)]
        return np.concatenate(rewards)

    def evidence(
        self, attempts: Attempts, starts: Starts, targets: np.ndarray, members: np.ndarray
    ) -> list[Evidence]:
        """What the monitor is told. It sees the ensemble only where the method has one."""
        base, has_ensemble = self.base, self.method.scores == 'ensemble'
        start_joints = starts.context[:, :6]
        usual = base.plan(starts.context)
        return [
            Evidence(
                episode_id=str(seed),
                text=text,
                model='critic',
                version='1',
                stamps=np.arange(attempts.seen.shape[1], dtype=float),
                embeddings=attempts.seen[i],
                potential=members[0, i],
                claims=members[0, i] >= base.claim,
                members=members[:, i] if has_ensemble else None,
                gold=float(attempts.success[i]),
                actions=(targets[i] - start_joints[i])[None],
                base_actions=(usual[i] - start_joints[i])[None],
                base_std=np.full(6, base.spread),
            )
            for i, (seed, text) in enumerate(zip(starts.seeds, starts.text, strict=True))
        ]
