# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Automatic curricula: practise the starts at the edge of ability, and raise the level with success.

The frontier is the filter of XLand (Open-Ended Learning Team, arXiv 2107.12808): a procedurally generated
start is practised while the present policy solves it sometimes, neither never nor always, and better than
a control policy does. The level in [0, 1] is what Task.start makes of it; it follows the success rate.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.robot.files import write_text
from apprentice.robot.types import Outcome
from apprentice.sim.rollout import Policy, RolloutConfig, Simulations, rollouts
from apprentice.sim.task import Expert

# success of one attempt at each seed, bool [len(seeds)]; a seed that comes twice is attempted twice
Evaluate = Callable[[Sequence[int], float], np.ndarray]
_FORMAT = 1


class CurriculumError(ValueError):
    """A curriculum that cannot be made or read; the message says why and what to do."""


@dataclass(frozen=True)
class CurriculumConfig:
    """How starts are chosen.

    Attributes:
        low, high: a start is at the frontier while its success rate lies within, bounds included.
        attempts: of the policy at each candidate; no fewer than it takes to see a rate within the bounds.
        candidates: fresh starts that a refresh tries.
        capacity: starts kept; the oldest make room.
        fresh: share of draws that are new starts instead of ones from the frontier.
        memory: weight of each new outcome in the running success rate of a start.
        level: of the first starts.
        stride: change of the level at a time; 0 keeps it.
        window: outcomes at fresh starts after which the level may change.
        raise_at, lower_at: success rates over the window at which it rises and falls.
    """

    low: float = 0.2
    high: float = 0.8
    attempts: int = 4
    candidates: int = 16
    capacity: int = 64
    fresh: float = 0.25
    memory: float = 0.2
    level: float = 1.0
    stride: float = 0.1
    window: int = 20
    raise_at: float = 0.7
    lower_at: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise CurriculumError(f'low {self.low} and high {self.high} must be 0 <= low < high <= 1')
        if not any(self.low <= i / self.attempts <= self.high for i in range(1, self.attempts)):
            raise CurriculumError(
                f'{self.attempts} attempts never succeed in [{self.low}, {self.high}] of them; raise attempts'
            )
        if not 0 <= self.lower_at < self.raise_at <= 1:
            raise CurriculumError(
                f'lower_at {self.lower_at} must lie below raise_at {self.raise_at}, in [0, 1]'
            )
        for name in ('fresh', 'memory', 'level', 'stride'):
            if not 0 <= getattr(self, name) <= 1:
                raise CurriculumError(f'{name} is {getattr(self, name)}; give a number within 0 to 1')
        for name in ('candidates', 'capacity', 'window'):
            if getattr(self, name) < 1:
                raise CurriculumError(f'{name} is {getattr(self, name)}; give 1 or more')


@dataclass
class Lesson:
    """One start worth practising and how often it succeeds of late."""

    seed: int
    level: float
    rate: float


class Curriculum:
    """Draws starts to practise; deterministic for its seed, the outcomes told, and its saved state."""

    def __init__(self, config: CurriculumConfig | None = None, seed: int = 0):
        self.config = config or CurriculumConfig()
        self.level = self.config.level
        self.frontier: list[Lesson] = []
        self.tried = self.kept = 0  # candidates, over all refreshes
        self._rng = np.random.default_rng(seed)
        self._recent: deque[bool] = deque(maxlen=self.config.window)

    def refresh(self, evaluate: Evaluate, control: Evaluate | None = None) -> list[Lesson]:
        """Try fresh starts and keep those at the frontier; returns them.

        Args:
            evaluate: the present policy. One that always does the same at a seed has nothing in between:
                sample its actions, or randomise the simulation.
            control: a policy that must do worse, else a start is luck; None: none is asked.
        """
        config = self.config
        seeds = [self._seed() for _ in range(config.candidates)]
        rates = self._rates(evaluate, seeds)
        good = (config.low <= rates) & (rates <= config.high)
        if control is not None and good.any():
            chosen = np.flatnonzero(good)
            good[chosen] = rates[chosen] > self._rates(control, [seeds[i] for i in chosen])
        found = [Lesson(seeds[i], self.level, float(rates[i])) for i in np.flatnonzero(good)]
        self.tried, self.kept = self.tried + len(seeds), self.kept + len(found)
        self.frontier = (self.frontier + found)[-config.capacity :]
        return found

    def _rates(self, evaluate: Evaluate, seeds: list[int]) -> np.ndarray:
        attempts = self.config.attempts
        solved = np.asarray(evaluate([seed for seed in seeds for _ in range(attempts)], self.level), float)
        if solved.shape != (len(seeds) * attempts,):
            raise CurriculumError(
                f'evaluate returned shape {solved.shape} for {len(seeds) * attempts} attempts; '
                'return one success for each seed, in order'
            )
        return solved.reshape(len(seeds), attempts).mean(1)

    def draw(self, count: int) -> list[Lesson]:
        """Starts to practise: mostly from the frontier, some fresh (of unknown rate, NaN)."""
        lessons = []
        for _ in range(count):
            fresh, pick = self._rng.random() < self.config.fresh, self._rng.random()
            if fresh or not self.frontier:
                lessons.append(Lesson(self._seed(), self.level, float('nan')))
            else:
                lessons.append(self.frontier[int(pick * len(self.frontier))])
        return lessons

    def record(self, lesson: Lesson, success: bool) -> None:
        """Tell how a drawn start went. One that left the bounds leaves the frontier."""
        if np.isnan(lesson.rate):
            self._schedule(success)
            return
        lesson.rate += self.config.memory * (float(success) - lesson.rate)
        if not self.config.low <= lesson.rate <= self.config.high:
            self.frontier = [each for each in self.frontier if each is not lesson]

    def _schedule(self, success: bool) -> None:
        """The level follows the success at fresh starts, the only ones that nobody has picked."""
        config = self.config
        self._recent.append(success)
        if len(self._recent) < config.window:
            return
        rate = float(np.mean(self._recent))
        change = config.stride * ((rate >= config.raise_at) - (rate <= config.lower_at))
        level = float(np.clip(self.level + change, 0.0, 1.0))
        if level != self.level:
            self.level = round(level, 9)  # steps of 0.1 add up to 1
            self._recent.clear()

    def _seed(self) -> int:
        return int(self._rng.integers(2**31))

    # state

    def save(self, path: str | Path) -> None:
        """Write everything to a JSON file; :meth:`load` goes on as if nothing had happened."""
        state = {
            'format': _FORMAT,
            'config': asdict(self.config),
            'level': self.level,
            'frontier': [asdict(lesson) for lesson in self.frontier],
            'recent': list(self._recent),
            'tried': self.tried,
            'kept': self.kept,
            'rng': self._rng.bit_generator.state,
        }
        write_text(Path(path), json.dumps(state, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Curriculum:
        """Raises CurriculumError for a file that is not a curriculum's."""
        try:
            state: dict[str, Any] = json.loads(Path(path).read_text())
            if state['format'] != _FORMAT:
                raise CurriculumError(f'{path} has format {state["format"]}; this version reads {_FORMAT}')
            made = cls(CurriculumConfig(**state['config']))
            made.level = float(state['level'])
            made.frontier = [Lesson(**lesson) for lesson in state['frontier']]
            made._recent.extend(bool(success) for success in state['recent'])
            made.tried, made.kept = int(state['tried']), int(state['kept'])
            made._rng.bit_generator.state = state['rng']
        except CurriculumError:
            raise
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CurriculumError(
                f'{path} is not a saved curriculum ({error!r}); delete it to start anew'
            ) from error
        return made


def evaluator(
    sims: Simulations,
    act: Policy | None,
    config: RolloutConfig | None = None,
    expert: Expert | None = None,
) -> Evaluate:
    """An :data:`Evaluate` by rollouts in ``sims``; policy and expert as for rollouts.

    The level is set on the simulations. Raises CurriculumError for those of a Gymnasium environment, whose
    starts have none, when another than 1 is asked for.
    """

    def evaluate(seeds: Sequence[int], level: float) -> np.ndarray:
        if getattr(sims, 'level', 1.0) != level:
            if not hasattr(sims, 'level'):
                raise CurriculumError(
                    f"the starts of robot {sims.spec.name!r} are its environment's and have no level "
                    f'{level}; use stride 0'
                )
            sims.level = level
        outcomes: dict[int, list[bool]] = {}
        for episode in rollouts(sims, seeds, act, config, expert=expert):
            outcomes.setdefault(episode.seed, []).append(episode.outcome == Outcome.SUCCESS)
        return np.array([outcomes[seed].pop() for seed in seeds])

    return evaluate
