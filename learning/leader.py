# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The learner in the first of several processes: it decides and writes, the others do what it does.

Each process holds everything and computes the gradients of its rows of a batch. What changes what is learned
(an episode, an update, a report on a reward model, going back) is told to the others before it is done here;
they run :func:`.follower.follow`. Publishing, snapshots, alarms and the probe set are of this process alone.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from apprentice.learning.distributed import Ranks, RanksApart
from apprentice.learning.health import Health
from apprentice.learning.learner import Learner
from apprentice.learning.learner_config import LearnerConfig
from apprentice.policies import checkpoint
from apprentice.policies.policy import FlowPolicy
from apprentice.robot.settings import from_dict
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode

PATIENCE = datetime.timedelta(minutes=30)  # of those who follow; call `beat` more often
_REMEDY = 'start the learner again: it goes on from its snapshot'


class LeadingLearner(Learner):
    """A :class:`.learner.Learner` of several processes; the others must run :func:`.follower.follow`.

    Its calls must not overlap. When another process has ended, or did not do the same, every further call
    raises RanksApart and nothing more is written: what was learned since the last snapshot is done again.

    Raises ValueError for settings that so many processes cannot share.
    """

    def __init__(
        self,
        robot: RobotSpec,
        run_dir: str | Path,
        starter: str | Path,
        config: LearnerConfig | None = None,
        seed: int = 0,
        robots: Mapping[str, str | Path] | None = None,
        ranks: Ranks | None = None,
    ):
        config, ranks = config or LearnerConfig(), ranks or Ranks()
        if config.online is not None and config.online.batch % ranks.world:
            raise ValueError(
                f'online.batch is {config.online.batch}, which {ranks.world} processes cannot share evenly; '
                'give another number of processes, or a recipe whose online.batch is a multiple of it'
            )
        begin = {
            'robot': asdict(robot),
            'run_dir': str(Path(run_dir).resolve()),
            'starter': str(Path(starter).resolve()),
            'config': asdict(config),
            'seed': seed,
            'robots': robots and {name: str(Path(folder).resolve()) for name, folder in robots.items()},
            'threads': torch.get_num_threads(),
            'nice': os.nice(0),
        }
        if from_dict(LearnerConfig, json.loads(json.dumps(begin['config']))) != config:
            raise ValueError(
                'a setting of the learner is no plain data, so other processes cannot be told it'
            )
        self._apart = ''
        ranks.tell(begin)
        super().__init__(robot, run_dir, starter, config, seed, robots, ranks)

    @contextlib.contextmanager
    def _told(self, what: str, *arguments: Any) -> Iterator[None]:
        """Tell the others to do what is done within, and see whether they could. Raises RanksApart."""
        self._together()
        try:
            self.ranks.tell([what, *arguments])
            failure: Exception | None = None
            try:
                yield
            except Exception as error:
                failure = error
                if what == 'update':  # the others may stand in the middle of an exchange
                    raise RanksApart(f'an update failed: {error}') from error
                raise
            finally:
                if what != 'update' and not isinstance(failure, RanksApart):
                    self._compare(failure)
        except RanksApart as error:
            self._apart = self._apart or f'{error}; {_REMEDY}'
            raise RanksApart(self._apart) from error

    def _together(self) -> None:
        if self._apart:
            raise RanksApart(self._apart)

    def _compare(self, failure: Exception | None) -> None:
        """Whether the others failed where, and only where, this process did."""
        mine, *theirs = self.ranks.say(said(failure))
        # a full disk is a matter of this process alone: it does the same again later
        alone = isinstance(failure, OSError)
        for rank, text in enumerate(theirs, 1):
            if text.partition(':')[0] != mine.partition(':')[0] and (text or not alone):
                raise RanksApart(
                    f'process {rank} says {text or "nothing"!r}, the first {mine or "nothing"!r}'
                )

    def ingest(self) -> list[str]:
        """As :meth:`.Learner.ingest`, in all processes."""
        self._together()
        return super().ingest()

    def update(self) -> dict[str, float]:
        """As :meth:`.Learner.update`, in all processes."""
        with self._told('update'):
            return super().update()

    def hear(self, health: Health) -> None:
        """As :meth:`.Learner.hear`, in all processes."""
        with self._told('hear', {**asdict(health), 'level': int(health.level)}):
            super().hear(health)

    def demonstrate(self, paths: Iterable[Path], progress: Callable[[int], None] = lambda n: None) -> int:
        """As :meth:`.Learner.demonstrate`, in all processes."""
        paths = [Path(os.path.abspath(path)) for path in paths]  # links are kept: scores lie beside them
        with self._told('demonstrate', list(map(str, paths))):
            return super().demonstrate(paths, progress)

    def train_from(self, folder: Path) -> tuple[FlowPolicy, dict[str, Any], checkpoint.Beside | None]:
        """As :meth:`.Learner.train_from`, in all processes."""
        with self._told('train_from', str(folder.resolve())):
            return super().train_from(folder)

    def take(self, episode: Episode) -> bool:
        """Raises ValueError: the other processes read episodes from the log."""
        raise ValueError('several processes learn only of episodes in a log; use ingest')

    def save(self) -> None:
        """As :meth:`.Learner.save`. Raises RanksApart when an update may be half done."""
        self._together()
        super().save()

    def beat(self) -> None:
        """Let those who follow know, while nothing happens, that this process is there. Raises RanksApart."""
        self._together()
        try:
            self.ranks.tell(['wait'])
        except RanksApart as error:
            self._apart = f'{error}; {_REMEDY}'
            raise RanksApart(self._apart) from error

    def stop(self) -> None:
        """End :func:`.follower.follow` in the other processes."""
        if not self._apart:
            self.ranks.tell(['stop'])


def said(failure: Exception | None) -> str:
    """How a call ended, for the other processes; empty: as it should."""
    return '' if failure is None else f'{type(failure).__name__}: {failure}'
