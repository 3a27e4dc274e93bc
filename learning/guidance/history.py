# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The sealed episodes of a run, told to a guide one by one: what it knows can always be read again."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

from apprentice.episodes.files import EpisodeFileError
from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed, read_label
from apprentice.learning.guidance.guide import Guide
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Outcome

log = logging.getLogger(__name__)


class History:
    """Reads the episodes of a folder in the order of their names, new ones and later labels included.

    Args:
        folder: of sealed episodes; one that is not there yet holds none.
        robot: that recorded them; other robots' episodes are left out.

    Attributes:
        refused: files that could not be read, and why.
    """

    def __init__(self, folder: str | Path, robot: RobotSpec, guide: Guide):
        self._folder, self._robot, self._guide = Path(folder), robot, guide
        self._read: dict[Path, Outcome | None] = {}  # with the label it had
        self._waiting: deque[Path] = deque()
        self.refused: dict[str, str] = {}

    @property
    def waiting(self) -> int:
        """Files that were found and not read yet."""
        return len(self._waiting)

    def look(self) -> int:
        """Find what is new or was labelled since; returns how many files are waiting."""
        queued = set(self._waiting)
        for path in iter_sealed(self._folder):
            if path in queued or path.name in self.refused:
                continue
            try:
                label = read_label(path)
            except EpisodeFileError as error:  # it counts as it was recorded until the label can be read
                log.warning('%s', error)
                label = self._read.get(path)
            if path not in self._read or self._read[path] != label:
                self._read[path] = label
                self._waiting.append(path)
        return len(self._waiting)

    def take(self) -> str:
        """Read one file that is waiting and tell the guide; returns its name, empty when none was."""
        if not self._waiting:
            return ''
        path = self._waiting.popleft()
        try:
            self._guide.ended(read_episode(path, self._robot))
        except EpisodeFileError as error:
            self.refused[path.name] = str(error)
            log.warning('not counted: %s', error)
        return path.name
