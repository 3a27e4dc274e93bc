# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Sealed episodes of a run's robots into the learner: each once, and again when it was judged anew."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from apprentice.episodes.files import SUFFIX, EpisodeFileError
from apprentice.episodes.labels import read_label
from apprentice.learning.distributed import Ranks, RanksApart
from apprentice.learning.fleet import Fleet, Member
from apprentice.learning.reward_gate import RefusedReward
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome

log = logging.getLogger(__name__)
_TRIES, _PAUSE_S = 20, 0.25  # until all processes have read the same; files of a network come late


class Intake:
    """What of the episode logs was read. Looking twice changes nothing.

    Args:
        add: learns of an episode, says whether it could. May raise RefusedReward: it is looked at again.
        ranks: processes that learn of the same episodes; the first one decides of which.
        told: around each of them, called with robot and episode: what tells the other processes.
    """

    def __init__(
        self,
        fleet: Fleet,
        robot: RobotSpec,
        add: Callable[[Member, Episode], bool],
        ranks: Ranks,
        told: Callable[[str, str], contextlib.AbstractContextManager[None]],
    ):
        self._fleet, self._robot, self._add_episode = fleet, robot, add
        self._ranks, self._told = ranks, told
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
        self._look_again()  # kept until they were read, also if one before them raises
        for member, path in self._fleet.sealed():
            key = member.key(path.stem)
            if key not in self._seen:
                if self._add(member, path):
                    yield key, key not in self._refused
            elif key in self._rescored or self._label(key, path) != self._seen[key]:
                # a person judged it after the fact, or a better reward model: its samples are weighted anew
                self._add(member, path)
            self._rescored.discard(key)

    def follow(self, robot: str, episode_id: str) -> None:
        """Learn of an episode because the first process does."""
        member = next(each for each in self._fleet.members if each.name == robot)
        self._look_again()  # as new as what the first process read
        self._read(member, member.run_dir / 'episodes' / f'{episode_id}{SUFFIX}')

    def _look_again(self) -> None:
        self._rescored |= self._fleet.refresh()

    def _label(self, key: str, path: Path) -> Outcome | None:
        try:
            return read_label(path)
        except EpisodeFileError as error:
            log.error('%s', error)
            return self._seen.get(key)

    def _add(self, member: Member, path: Path) -> bool:
        with self._told(member.name, path.stem):
            return self._read(member, path)

    def _read(self, member: Member, path: Path) -> bool:
        key = member.key(path.stem)
        label = self._label(key, path)
        self._seen.pop(key, None)  # what raises was not learned from, and is looked at again
        try:
            episode = agreed(lambda: member.read(path, self._robot), self._ranks, self._look_again)
            added = self._add_episode(member, episode)
        except EpisodeFileError as error:
            log.error('%s', error)
            added = False
        self._seen[key] = label
        return added


def agreed(
    read: Callable[[], Episode], ranks: Ranks, look_again: Callable[[], object] = lambda: None
) -> Episode:
    """An episode as all processes read it: a label or a score may be written while they do.

    Args:
        look_again: called before it is read again.

    Raises EpisodeFileError if none of them can read it, RanksApart if they do not read the same.
    """
    if ranks.world == 1:
        return read()
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
            look_again()
        episode, failure = None, None
        try:
            episode = read()
        except EpisodeFileError as error:
            failure = error
        if ranks.alike('' if episode is None else _fingerprint(episode)):
            if episode is None:
                assert failure is not None
                raise failure
            return episode
    raise RanksApart(
        f'the processes do not read the same of {episode.episode_id if episode else failure}; all must see '
        'the same run folder'
    )


def _fingerprint(episode: Episode) -> str:
    """Of all but the images, which never change in a sealed file."""
    digest = hashlib.sha256(f'{episode.outcome!r} {episode.eval_only} {episode.rewards!r}'.encode())
    for array in (episode.stamps, episode.state, episode.action, episode.source, episode.takeover_id):
        digest.update(array.tobytes())
    return digest.hexdigest()
