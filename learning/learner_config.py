# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The settings of the learner."""

from __future__ import annotations

from dataclasses import dataclass, field

from apprentice.learning.advantage import AdvantageConfig
from apprentice.learning.fleet import FleetConfig
from apprentice.learning.preference.online import PreferenceConfig
from apprentice.learning.probe_set import ProbeConfig
from apprentice.learning.rl.online import OnlineConfig
from apprentice.learning.weighted_flow import WeightedFlowConfig
from apprentice.robot.settings import at_least, fractions


@dataclass(frozen=True)
class LearnerConfig:
    """How much is learned when.

    Attributes:
        updates_per_episode: gradient steps owed for each ingested episode.
        publish_every: gradient steps between published versions.
        warm_up: episodes before the first update.
        force_rewards: learn also from reward models that a clock or a cosine beats.
        online: critics that choose among chunks and weigh the steps; None: the policy alone, its steps
            weighed by the progress that reward models measured.
        preference: what a person did is preferred over what the policy would have done; None: not.
        probe: what a candidate must pass before it is published.
        fleet: how the weak one of several robots is drawn more often.
    """

    updates_per_episode: int = 50
    publish_every: int = 100
    warm_up: int = 2
    force_rewards: bool = False
    human_share: float = 0.5
    intervention_share: float = 0.5
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    algorithm: WeightedFlowConfig = field(
        default_factory=lambda: WeightedFlowConfig(learning_rate=4e-4, batch=32, ema=0.99)
    )
    online: OnlineConfig | None = None
    preference: PreferenceConfig | None = None
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    fleet: FleetConfig = field(default_factory=FleetConfig)

    def __post_init__(self) -> None:
        at_least(self, 1, 'publish_every')
        at_least(self, 0, 'updates_per_episode', 'warm_up')
        fractions(self, 'human_share', 'intervention_share')
