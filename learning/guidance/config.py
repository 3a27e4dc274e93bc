# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""All thresholds of the graded protocol."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from apprentice.robot.settings import SettingsError, from_dict


def _within(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={'low': low, 'high': high})


@dataclass(frozen=True)
class GuidanceConfig:
    """When a person is asked for which help. Shares are in [0, 1], potentials in [0, 1], times in seconds.

    Raises SettingsError, naming the field, for a number out of range.

    Attributes:
        grades: which help may be asked for, of 2, 3 and 4; leaving some out gives comparisons. How much is
            replayed of what people did (G1) is the learner's ``human_share``, whether 1 is named or not.
        starts: what makes two starts alike: the same ``seed`` (on a robot: the number of a marked place), a
            similar first ``observation``, or the same instruction (``task``).
        start_distance: two first observations so close are the same start again; see clusters.py.
        most_starts: groups of one instruction; later starts join the nearest.
        tries: last tries of a group over which its success is counted.
        low_success: G2 begins below it.
        recovered: G2 and G3 end at it.
        return_share: most episodes that begin at a proposed start.
        share_window: last episodes over which that share is counted.
        demonstrate_after: G3 begins after so many more failed tries of a group.
        demonstrated: an episode is a demonstration when a person drove at least this share of it.
        drop, drop_s: G4, the potential fell by more than ``drop`` within ``drop_s``.
        stall_s, deadband: G4, no gain above ``deadband`` for longer than ``stall_s``.
        uncertain_quantile: G4, the standard deviation is above this quantile of recent episodes.
        uncertain_episodes: those episodes.
        uncertain_samples: fewer measurements of them say nothing.
        smooth_s: the potential is the median of its samples over so long.
        debounce_s: a trigger must hold for so long before it becomes advice.
        withdraw_s: advice ends after so long without a trigger.
        takeover_s: longest takeover; then the person is asked to hand back or to pause.
        hand_back_gain: a takeover that won this much has done its work.
        early_successes: the first successes of a run, which should be the policy's own.
        early_share: largest share of them that a person may finish.
        taper_share, taper_episodes: taper when people drove a smaller share of the last episodes,
        taper_success: and the policy succeeded alone in at least this share of them, and G2 is due nowhere.
    """

    grades: tuple[int, ...] = (2, 3, 4)
    starts: Literal['seed', 'observation', 'task'] = 'observation'
    start_distance: float = _within(0.03, 0, 1e6)
    most_starts: int = _within(8, 1, 10_000)
    tries: int = _within(10, 1, 10_000)
    low_success: float = _within(0.3, 0, 1)
    recovered: float = _within(0.5, 0, 1)
    return_share: float = _within(0.4, 0, 1)
    share_window: int = _within(20, 1, 10_000)
    demonstrate_after: int = _within(6, 1, 10_000)
    demonstrated: float = _within(0.8, 0, 1)
    drop: float = _within(0.2, 0, 1)
    drop_s: float = _within(2.0, 0, 600)
    stall_s: float = _within(4.0, 0, 600)
    deadband: float = _within(0.05, 0, 1)
    uncertain_quantile: float = _within(0.95, 0, 1)
    uncertain_episodes: int = _within(20, 1, 10_000)
    uncertain_samples: int = _within(100, 1, 1_000_000)
    smooth_s: float = _within(1.0, 0, 600)
    debounce_s: float = _within(0.5, 0, 600)
    withdraw_s: float = _within(1.0, 0, 600)
    takeover_s: float = _within(10.0, 0, 600)
    hand_back_gain: float = _within(0.2, 0, 1)
    early_successes: int = _within(20, 1, 10_000)
    early_share: float = _within(0.5, 0, 1)
    taper_share: float = _within(0.05, 0, 1)
    taper_episodes: int = _within(20, 1, 10_000)
    taper_success: float = _within(0.5, 0, 1)

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            if entry.metadata:
                low, high, value = entry.metadata['low'], entry.metadata['high'], getattr(self, entry.name)
                if not low <= value <= high:
                    raise SettingsError(
                        f'guidance.{entry.name} is {value!r}; give a number within {low:g} to {high:g}'
                    )
        if not set(self.grades) <= {1, 2, 3, 4}:
            raise SettingsError(
                f'guidance.grades is {list(self.grades)}; give some of [2, 3, 4], or none (what people did '
                "is replayed by the learner's human_share, which a recipe sets)"
            )
        if self.recovered < self.low_success:
            raise SettingsError(
                f'guidance.recovered ({self.recovered:g}) is below low_success ({self.low_success:g}), so '
                'that returning would end at once; give at least as much'
            )

    @classmethod
    def load(cls, path: str | Path) -> GuidanceConfig:
        """Read a YAML mapping of fields; what is not named keeps its default.

        Raises SettingsError naming file and field, OSError without a file.
        """
        try:
            data = yaml.safe_load(Path(path).read_text()) or {}
        except yaml.YAMLError as error:
            raise SettingsError(f'{path} is not YAML: {error}') from error
        try:
            return from_dict(cls, data, 'guidance')
        except SettingsError as error:
            raise SettingsError(f'{path}: {error}') from None
