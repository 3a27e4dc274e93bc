# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""A policy over every task and level of randomisation: held-out starts, intervals, one file a cell.

A cell is one task at one level. Its file is written when the cell is complete, so a suite that was stopped
goes on where it was; a cell made with other settings, another robot or other weights is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from apprentice.learning.statistics import wilson
from apprentice.robot.files import write_text
from apprentice.robot.spec import RobotSpec
from apprentice.robot.types import Episode, Outcome
from apprentice.sim.film import film, write_webp
from apprentice.sim.pool import open_worlds
from apprentice.sim.randomize import Randomization
from apprentice.sim.rollout import Policy, RolloutConfig, rollouts
from apprentice.sim.tasks import load_task
from apprentice.sim.worlds import Worlds

EXPERT = 'expert'


@dataclass(frozen=True)
class SuiteConfig:
    """What is run.

    Attributes:
        policy: name on the page.
        tasks: names of sim/tasks.
        levels: names or files of randomisations.
        trials: held-out starts of each cell.
        first_seed: of the starts; 900000 and up are never learned from.
        seed: of the policy's sampling noise.
        weights: hash of the policy's weights, and whether critics choose; empty for the expert.
        critics: those beside the policy choose what it does.
    """

    policy: str
    tasks: tuple[str, ...]
    levels: tuple[str, ...] = ('none', 'mild', 'strong')
    trials: int = 20
    first_seed: int = 900_000
    seed: int = 0
    weights: str = ''
    critics: bool = False


@dataclass
class Attempt:
    """One trial; ``progress`` is the highest the task's truth said, in [0, 1]."""

    seed: int
    instruction: str
    success: bool
    progress: float
    seconds: float


@dataclass
class Film:
    """A film of one attempt; ``source`` is its path relative to the page."""

    seed: int
    instruction: str
    success: bool
    source: str


@dataclass
class Cell:
    """One task at one level. ``key`` stands for everything that the attempts depend on."""

    task: str
    level: str
    key: str = ''
    attempts: list[Attempt] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f'{self.task}-{Path(self.level).stem}'

    @property
    def successes(self) -> int:
        return sum(attempt.success for attempt in self.attempts)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson(self.successes, len(self.attempts))

    @property
    def progress(self) -> float:
        """Mean of the attempts' highest progress."""
        return sum(attempt.progress for attempt in self.attempts) / max(1, len(self.attempts))

    @property
    def seconds(self) -> float | None:
        """Mean time to success (s of the robot's clock); None without one."""
        times = [attempt.seconds for attempt in self.attempts if attempt.success]
        return sum(times) / len(times) if times else None


def cells(config: SuiteConfig, spec: RobotSpec) -> list[Cell]:
    """The empty cells of a suite, with the key that a finished one must have."""
    robot = asdict(spec)
    robot.pop('folder')
    robot['simulator'].pop('task', None)  # the cell's own takes its place
    policy = config.weights or config.policy
    made = []
    for task in config.tasks:
        for level in config.levels:
            randomization = asdict(Randomization.load(level))
            about = [task, randomization, robot, policy, config.trials, config.first_seed, config.seed]
            key = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:16]
            made.append(Cell(task, level, key))
    return made


def finished(cell: Cell, folder: Path) -> Cell | None:
    """The cell as an earlier run completed it, with the films that are there, or None."""
    try:
        data = json.loads((folder / 'cells' / f'{cell.name}.json').read_text())
        attempts = [Attempt(**attempt) for attempt in data.pop('attempts')]
        films = [Film(**film) for film in data.pop('films')]
        found = Cell(**data, attempts=attempts, films=films)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    found.films = [film for film in found.films if (folder / film.source).exists()]
    return found if found.key == cell.key else None


def keep(cell: Cell, folder: Path) -> None:
    """Write a finished cell, whole."""
    (folder / 'cells').mkdir(parents=True, exist_ok=True)
    write_text(folder / 'cells' / f'{cell.name}.json', json.dumps(asdict(cell), indent=1))


def run_cell(
    cell: Cell,
    spec: RobotSpec,
    act: Policy | None,
    config: SuiteConfig,
    workers: int = 0,
    done: Callable[[Attempt], None] = lambda attempt: None,
) -> None:
    """Fill a cell with ``config.trials`` attempts.

    Args:
        act: the policy; None lets the task's expert drive.
        done: told of every attempt as it ends.
    """
    seeds = range(config.first_seed, config.first_seed + config.trials)
    rollout = RolloutConfig(eval_only=True)
    randomization = Randomization.load(cell.level)
    with open_worlds(spec, config.trials, workers, task=cell.task, randomization=randomization) as worlds:
        expert = worlds.expert() if act is None else None
        for episode in rollouts(worlds, seeds, act, rollout, expert=expert):
            attempt = attempt_of(episode, spec)
            cell.attempts.append(attempt)
            done(attempt)
    cell.attempts.sort(key=lambda attempt: attempt.seed)


def film_cell(
    cell: Cell, spec: RobotSpec, act: Policy | None, config: SuiteConfig, folder: Path, number: int
) -> None:
    """Film those of the first ``number`` starts of a cell that have no film yet.

    They are run once more, in one simulation. A policy computes a little otherwise for one observation than
    for many, so a film can end otherwise than the attempt at the same start, and says so itself.
    """
    task = load_task(cell.task)
    rollout = RolloutConfig(eval_only=True)
    for seed in unfilmed(cell, config, number):
        source = f'films/{cell.name}-{cell.key}-{seed}.webp'
        with contextlib.closing(
            Worlds(spec, 1, task=task, randomization=Randomization.load(cell.level))
        ) as worlds:
            episode, frames = film(worlds, seed, act, rollout)
        write_webp(folder / source, frames, 1 / spec.action_dt)
        attempt = attempt_of(episode, spec)
        cell.films.append(Film(seed, attempt.instruction, attempt.success, source))
    cell.films.sort(key=lambda made: made.seed)


def unfilmed(cell: Cell, config: SuiteConfig, number: int) -> list[int]:
    """Those of the first ``number`` starts of a cell that have no film."""
    filmed = {made.seed for made in cell.films}
    wanted = range(config.first_seed, config.first_seed + min(number, config.trials))
    return [seed for seed in wanted if seed not in filmed]


def attempt_of(episode: Episode, spec: RobotSpec) -> Attempt:
    """The numbers of one episode."""
    return Attempt(
        seed=int(episode.seed),
        instruction=episode.task,
        success=episode.outcome == Outcome.SUCCESS,
        progress=max((reward.progress for reward in episode.rewards), default=0.0),
        seconds=round(len(episode) * spec.action_dt, 3),
    )


def overall(done: Sequence[Cell]) -> Iterator[tuple[str, int, int]]:
    """Per level: its name, successes and trials over all tasks."""
    for level in dict.fromkeys(cell.level for cell in done):
        ran = [cell for cell in done if cell.level == level]
        yield level, sum(cell.successes for cell in ran), sum(len(cell.attempts) for cell in ran)
