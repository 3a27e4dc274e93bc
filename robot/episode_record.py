# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The vocabulary of an episode: phases, causes of its end, limits, and what is recorded of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import IntEnum

from apprentice.robot.types import Outcome


class Phase(IntEnum):
    """Where the episode is. Values equal EpisodeState.msg."""

    IDLE = 0
    RESETTING = 1
    READY = 2
    RUNNING = 3
    ENDED = 4


class EndCause(IntEnum):
    """Why the episode ended. Values equal EpisodeState.msg."""

    NONE = 0
    HUMAN = 1
    PREDICATE = 2
    TIMEOUT = 3
    SAFETY = 4
    FAULT = 5


@dataclass(frozen=True)
class EpisodeSettings:
    """Limits of an episode. All times in seconds.

    Attributes:
        max_duration_s: on the robot's clock; FAILURE by TIMEOUT after it.
        simulator: reset the world by service; otherwise a person prepares the scene and confirms.
        auto_arm: arm a disarmed or holding gate. For simulation only.
        success_samples: consecutive success samples that end the episode.
        call_limit_s: wall time a service may be missing or refuse.
        home_limit_s: wall time of a reset.
        plan_limit_s: wall time the policy may take to plan after the reset.
        silence_s: wall time after which a silent gate or robot counts as gone.
        safety_s: wall time in HOLD, FAULT, STOP or DISARMED that ends the episode.
        home_samples: consecutive joint states where the reset ends.
    """

    max_duration_s: float = 10.0
    simulator: bool = True
    auto_arm: bool = False
    success_samples: int = 3
    call_limit_s: float = 15.0
    home_limit_s: float = 60.0
    plan_limit_s: float = 30.0
    silence_s: float = 5.0
    safety_s: float = 1.0
    home_samples: int = 3


@dataclass
class EpisodeRecord:
    """What is known of one episode; the fields of EpisodeState.msg and the counts behind them.

    ``started`` and ``ended`` are seconds of the robot's clock, 0 while unknown.
    """

    session_id: str = ''
    episode_id: str = ''
    task: str = ''
    seed: int = 0
    eval_only: bool = False
    phase: Phase = Phase.IDLE
    outcome: Outcome = Outcome.UNKNOWN
    end_cause: EndCause = EndCause.NONE
    started: float = 0.0
    ended: float = 0.0
    steps: int = 0
    human_steps: int = 0
    takeovers: set[int] = field(default_factory=set)
    message: str = ''

    @property
    def intervention_ratio(self) -> float:
        """Share of control steps driven by a person."""
        return self.human_steps / self.steps if self.steps else 0.0

    def snapshot(self) -> EpisodeRecord:
        """A copy that later events do not change."""
        return dataclasses.replace(self, takeovers=set(self.takeovers))
