# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Whether and how a recorded episode ended: the one rule for everything that reads the states of a log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.messages import nanoseconds
from apprentice.robot.episode_record import EndCause, Phase
from apprentice.robot.types import Outcome


@dataclass(frozen=True)
class FinalState:
    """The newest EpisodeState that counts: of the end, or of the running phase where there is no end."""

    state: Any
    ended: bool

    @property
    def episode_id(self) -> str:
        return str(self.state.episode_id)

    @property
    def outcome(self) -> Outcome:
        """As recorded, without a later label; ABORT without an end."""
        return Outcome(self.state.outcome) if self.ended else Outcome.ABORT

    @property
    def cause(self) -> EndCause:
        """FAULT without an end."""
        return EndCause(self.state.end_cause) if self.ended else EndCause.FAULT

    @property
    def started_ns(self) -> int:
        """Start on the robot's clock."""
        return nanoseconds(self.state.started) or nanoseconds(self.state.header.stamp)

    @property
    def ended_ns(self) -> int:
        """End on the robot's clock; of an episode without one the newest moment that is known."""
        return nanoseconds(self.state.ended) or nanoseconds(self.state.header.stamp)

    @property
    def seconds(self) -> float:
        """From the start to the end."""
        return max(0.0, (self.ended_ns - self.started_ns) * 1e-9)


def is_over(state: Any) -> bool:
    """Whether a state tells of the end.

    A state of phase ENDED may be replaced by the next phase of the same episode before it is delivered; the
    outcome stays.
    """
    return state.phase == Phase.ENDED or state.outcome != Outcome.UNKNOWN


def final_state(newest_first: Iterable[Any], path: Path, wanted: str = '') -> FinalState:
    """How the episode of a log ended.

    Args:
        newest_first: EpisodeStates, from the end of the log; no more are taken than needed.
        path: of the log, for the message of an error.
        wanted: id of the episode; empty: the one that ran last.

    Raises EpisodeFileError where no episode ran.
    """
    over: dict[str, Any] = {}
    for state in newest_first:
        if wanted and state.episode_id != wanted:
            continue
        if is_over(state):
            over.setdefault(state.episode_id, state)
        if state.phase == Phase.RUNNING:
            end = over.get(state.episode_id)
            return FinalState(state if end is None else end, end is not None)
    raise EpisodeFileError(
        f'{path} holds no running episode (topic episode/state); it was not recorded by the recorder node '
        'or nothing of the episode was saved'
    )
