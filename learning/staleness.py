# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How old is what acts: versions published, acknowledged, refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class StalenessConfig:
    """Limits.

    Attributes:
        max_behind: versions that the acknowledged one may be behind the newest.
    """

    max_behind: int = 3


class Acknowledgements:
    """What each robot's policy said about the versions it was offered.

    Args:
        robots: names; one without a name for a single robot.
    """

    def __init__(self, robots: Iterable[str] = ('',), config: StalenessConfig | None = None):
        self.config = config or StalenessConfig()
        self._active: dict[str, int | None] = dict.fromkeys(robots)  # None: it never answered
        self._refused: dict[str, tuple[int, str]] = {}

    def hear(self, active_version: int, version: int, ok: bool, reason: str = '', robot: str = '') -> None:
        """An answer: ``version`` was taken or refused for ``reason``; ``active_version`` acts."""
        self._active[robot] = active_version
        if ok:
            self._refused.pop(robot, None)
        else:
            self._refused[robot] = (version, reason)

    def active(self, robot: str = '') -> int | None:
        """Version that acts on a robot; 0: starter weights, None: it never answered."""
        return self._active.get(robot)

    @property
    def acknowledged(self) -> int:
        """The version that all robots act with at least, of those that answered; 0: none."""
        heard = [version for version in self._active.values() if version is not None]
        return min(heard, default=0)

    def problem(self, newest: int) -> str:
        """What a person should know; empty: nothing. ``newest`` is the newest published version."""
        found = []
        for robot, version in self._active.items():
            where = f'{robot}: ' if robot else ''
            refused = self._refused.get(robot)
            if refused is not None:
                found.append(f'{where}the policy refused version {refused[0]}: {refused[1]}')
            if version is not None and newest - version > self.config.max_behind:
                found.append(
                    f'{where}the policy acts with version {version}, {newest - version} behind the newest; '
                    'is its node running, and can it read the weights folder?'
                )
        return '; '.join(found)
