# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Several robots that one learner learns from: their run folders, and which of them needs more practice."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from apprentice.episodes.join import read_episode
from apprentice.episodes.labels import iter_sealed
from apprentice.learning.rescore import FILE as LEDGER
from apprentice.reward_models.ledger import Ledger
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome


@dataclass(frozen=True)
class FleetConfig:
    """How the weak robot is drawn more often.

    Attributes:
        recent: autonomous episodes of a robot by which it is judged.
        floor: smallest share of a batch for a robot, as a part of an equal share, in [0, 1]; 1: equal shares.
    """

    recent: int = 20
    floor: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1 or self.recent < 1:
            raise ValueError(f'floor {self.floor} must be in [0, 1], recent {self.recent} 1 or more')


@dataclass(frozen=True)
class Member:
    """A robot of the fleet. ``name``: its namespace without slashes; empty: the only robot there is."""

    name: str
    run_dir: Path
    ledger: Ledger = field(compare=False)

    def key(self, episode_id: str) -> str:
        """What tells an episode from every other one: of one robot its id, of several robot and id."""
        return f'{self.name}/{episode_id}' if self.name else episode_id

    def read(self, path: Path, robot: RobotSpec) -> Episode:
        """An episode with the scores made later, under its key. Raises EpisodeFileError."""
        episode = self.ledger.apply(read_episode(path, robot))
        return dataclasses.replace(episode, episode_id=self.key(path.stem))


class Fleet:
    """The robots of a learner, and how the last autonomous episodes of each went.

    Args:
        run_dirs: namespace -> run folder, whose ``episodes`` are read; of a single robot without a name.

    Raises ValueError for two robots with one folder or one name.
    """

    def __init__(self, run_dirs: Mapping[str, str | Path], config: FleetConfig | None = None):
        self.config = config or FleetConfig()
        self.members = [
            Member(name.strip('/'), Path(folder), Ledger(Path(folder) / LEDGER))
            for name, folder in run_dirs.items()
        ]
        names = [member.name for member in self.members]
        folders = {member.run_dir.resolve() for member in self.members}
        if not names or len({*names}) < len(names) or len(folders) < len(names):
            raise ValueError(
                f'robots {names} with run folders {[str(m.run_dir) for m in self.members]}: each robot needs '
                'a name and a run folder of its own'
            )
        if len(names) > 1 and '' in names:
            raise ValueError('of several robots each needs a namespace')
        self._judged: dict[str, dict[str, bool]] = {name: {} for name in names}  # key -> success

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]

    def sealed(self) -> Iterator[tuple[Member, Path]]:
        """Sealed episode files of all robots, in turn, so that none is read last for long."""
        lists = [
            [(member, path) for path in iter_sealed(member.run_dir / 'episodes')] for member in self.members
        ]
        for index in range(max(map(len, lists), default=0)):
            yield from (found[index] for found in lists if index < len(found))

    def refresh(self) -> set[str]:
        """Keys of the episodes that were scored again since the last call."""
        return {member.key(name) for member in self.members for name in member.ledger.refresh()}

    def count(self, member: Member, episode: Episode) -> None:
        """Take note of how an episode went; those with a step by a person and aborted ones say nothing."""
        judged = self._judged[member.name]
        if episode.human_steps or episode.outcome not in (Outcome.SUCCESS, Outcome.FAILURE):
            judged.pop(episode.episode_id, None)
        else:
            judged[episode.episode_id] = episode.outcome == Outcome.SUCCESS

    def failure_rate(self, name: str) -> float:
        """Share of failures in the last autonomous episodes; 0.5 where there was none."""
        judged = self._judged[name]
        last = [judged[key] for key in sorted(judged)][-self.config.recent :]
        return 1.0 - float(np.mean(last)) if last else 0.5

    def shares(self) -> dict[str, float]:
        """Share of a batch for each robot: by failure rate above a floor; they add up to 1."""
        rates = np.array([self.failure_rate(name) for name in self.names])
        return dict(zip(self.names, batch_shares(rates, self.config.floor).tolist()))


def batch_shares(failure_rates: np.ndarray, floor: float) -> np.ndarray:
    """Shares [R] that add up to 1: ``floor`` / R for everyone, the rest in proportion to failures [R]."""
    count, total = len(failure_rates), float(np.sum(failure_rates))
    even = np.full(count, 1.0 / count)
    wanted = failure_rates / total if total > 0 else even
    return floor * even + (1.0 - floor) * wanted


def split_counts(total: int, shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """``total`` samples over shares: the whole parts, and what is left by chance; int [R]."""
    parts = np.asarray(shares, np.float64)
    if not parts.any():  # only robots without a share have something to draw: they are equal
        parts = np.ones(len(parts))
    wanted = total * parts / parts.sum()
    counts = np.floor(wanted).astype(int)
    left = total - int(counts.sum())
    if left:
        rest = wanted - counts
        counts += rng.multinomial(left, rest / rest.sum())
    return counts
