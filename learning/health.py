# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the learner does about reports on its reward models: the strongest one counts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from apprentice.learning.advantage import AdvantageConfig
from apprentice.reward_models.monitor.detector import Level


@dataclass(frozen=True)
class Health:
    """A report on one reward model, as in RewardHealth.msg; ``weight`` is that of the shaping, [0, 1]."""

    model: str
    version: str
    level: Level
    weight: float
    reason: str = ''


class Obedience:
    """Keeps the newest report of every reward model and says how to learn under them."""

    def __init__(self) -> None:
        self._newest: dict[str, Health] = {}
        self._frozen: dict[str, str] = {}

    def hear(self, health: Health) -> None:
        """Take a report. From FREEZE on the version of that moment is kept until the level is lower again."""
        self._newest[health.model] = health
        if health.level >= Level.FREEZE:
            self._frozen.setdefault(health.model, health.version)
        else:
            self._frozen.pop(health.model, None)

    @property
    def models(self) -> set[str]:
        """Reward models that a report was heard on."""
        return set(self._newest)

    def strongest(self, models: Collection[str]) -> Health | None:
        """The report that asks for most, of the models that are learned from; None if there is none."""
        heard = [health for model, health in self._newest.items() if model in models]
        return max(heard, key=lambda health: (health.level, -health.weight), default=None)

    def stopped(self, models: Collection[str]) -> str:
        """Why learning must stop; empty: it need not."""
        health = self.strongest(models)
        if health is None or health.level < Level.STOP:
            return ''
        return (
            f'reward model {health.model}: {health.reason or "STOP"}; see reward/health, reward/acknowledge'
        )

    def advantage(self, config: AdvantageConfig, models: Collection[str]) -> AdvantageConfig:
        """``config`` with the shaping weighted down, and newer versions of a frozen model left out."""
        health = self.strongest(models)
        weight = 1.0 if health is None else 0.0 if health.level >= Level.SPARSE else health.weight
        frozen = tuple(sorted((m, v) for m, v in self._frozen.items() if m in models))
        return replace(config, shaping_weight=weight, frozen=frozen)
