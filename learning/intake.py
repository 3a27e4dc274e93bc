# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Sealed episodes of a run's robots into the learner: each once, and again when it was judged anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.labels import read_label
from apprentice.learning.fleet import Fleet, Member
from apprentice.learning.reward_gate import RefusedReward
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome

log = logging.getLogger(__name__)


class Intake:
    """What of the episode logs was read. Looking twice changes nothing.

    Args:
        add: learns of an episode, says whether it could. May raise RefusedReward: it is looked at again.
    """

    def __init__(self, fleet: Fleet, robot: RobotSpec, add: Callable[[Member, Episode], bool]):
        self._fleet, self._robot, self._add_episode = fleet, robot, add
        self._seen: dict[str, Outcome | None] = {}  # episode -> the later label it was read with
        self._rescored: set[str] = set()
        self._refused: set[str] = set()  # of the snapshot: learned from before, refused now

    @property
    def known(self) -> list[str]:
        """Episodes that were learned from, for a snapshot."""
        return sorted({*self._seen, *self._refused})

    def restore(self, known: Collection[str]) -> None:
        """Read again what a snapshot knows: samples come back from the log."""
        for member, path in self._fleet.sealed():
            key = member.key(path.stem)
            if key in known:
                try:
                    self._add(member, path)
                except RefusedReward:  # said by the next look, where a node can report it
                    self._refused.add(key)

    def new(self) -> Iterator[tuple[str, bool]]:
        """Read what is new, yielding id and whether it was never learned from; and what was judged anew.

        Raises RefusedReward for an episode that a refused reward model would weigh.
        """
        self._rescored |= self._fleet.refresh()  # kept until they were read, also if one before them raises
        for member, path in self._fleet.sealed():
            key = member.key(path.stem)
            if key not in self._seen:
                if self._add(member, path):
                    yield key, key not in self._refused
            elif key in self._rescored or self._label(key, path) != self._seen[key]:
                # a person judged it after the fact, or a better reward model: its samples are weighted anew
                self._add(member, path)
            self._rescored.discard(key)

    def _label(self, key: str, path: Path) -> Outcome | None:
        try:
            return read_label(path)
        except EpisodeFileError as error:
            log.error('%s', error)
            return self._seen.get(key)

    def _add(self, member: Member, path: Path) -> bool:
        key = member.key(path.stem)
        label = self._label(key, path)
        self._seen.pop(key, None)  # what raises was not learned from, and is looked at again
        try:
            added = self._add_episode(member, member.read(path, self._robot))
        except EpisodeFileError as error:
            log.error('%s', error)
            added = False
        self._seen[key] = label
        return added
