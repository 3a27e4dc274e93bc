# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Simulated people: they watch, take over when the robot is stuck, label and compare; late, wrong or absent.

The comparisons are those of the simulated teachers of B-Pref (Lee et al., arXiv 2111.03026): Bradley-Terry
with a rationality, mistakes, indifference, refusals and short memory.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from apprentice.robot.guidance import AdviceKind
from apprentice.robot.spec import RobotSpec
from apprentice.sim.failures import BEHAVIOURS
from apprentice.sim.task import Expert

MISTAKES = ('miss', 'wander', 'idle')  # failing behaviours that need no view of the progress
_GLANCE_S = 1.0  # a person looks up, or not, once in this time


def _setting(default: float, low: float, high: float, about: str) -> Any:
    return field(default=default, metadata={'low': low, 'high': high, 'about': about})


@dataclass(frozen=True)
class PersonConfig:
    """How a scripted person behaves. Raises ValueError, naming the field, for a number out of range."""

    patience_s: float = _setting(1.5, 0, 600, 'takes over after this long without progress')
    reaction_s: float = _setting(0.4, 0, 600, 'further delay from deciding to pressing, uniform up to this')
    stride: float = _setting(0.04, 0, 1, 'smallest gain of staged progress that counts as progress')
    absent: float = _setting(0.0, 0, 1, 'probability of ignoring an episode altogether')
    attention: float = _setting(1.0, 0, 1, 'share of the seconds in which the person looks')
    follows: float = _setting(0.0, 0, 1, 'probability of doing what is advised, each time it is advised')
    hands_back: float = _setting(0.0, 0, 1, 'probability that a takeover ends when the trouble is over')
    regained: float = _setting(0.2, 0, 1, 'gain of staged progress with which the trouble is over')
    demonstrates: float = _setting(1.0, 0, 1, 'probability of demonstrating an episode when asked')
    leaves: float = _setting(0.0, 0, 1, 'probability of letting go in the middle of a takeover')
    leaves_after: int = _setting(20, 1, 10_000, 'actions of such a takeover, at most')
    wobble: float = _setting(0.004, 0, 1, "standard deviation of the hand's joint noise, rad; no gripper")
    mistakes: float = _setting(0.0, 0, 1, 'probability that a takeover begins with wrong driving')
    mistake_steps: int = _setting(15, 1, 10_000, 'actions until a mistake is noticed')
    missed_success: float = _setting(0.0, 0, 1, 'probability of labelling a success as a failure')
    missed_failure: float = _setting(0.0, 0, 1, 'probability of labelling a failure as a success')
    unlabelled: float = _setting(0.0, 0, 1, 'probability of giving no label')
    rationality: float = _setting(math.inf, 0, math.inf, 'of comparisons, per unit of return; inf: exact')
    wrong_choice: float = _setting(0.0, 0, 1, 'probability of pressing the other button')
    indifference: float = _setting(0.0, 0, math.inf, 'returns closer than this are equal')
    refusal: float = _setting(-math.inf, -math.inf, math.inf, 'no answer when both returns are below this')
    memory: float = _setting(1.0, 0, 1, 'weight of each earlier step against the next when comparing')

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value, about = getattr(self, entry.name), entry.metadata
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            whole = entry.type != 'int' or (number and float(value).is_integer())
            if not (number and whole and about['low'] <= value <= about['high']):
                raise ValueError(
                    f'person: {entry.name} ({about["about"]}) is {value!r}; '
                    f'give {"a whole" if entry.type == "int" else "a"} number '
                    f'within {about["low"]:g} to {about["high"]:g}'
                )

    @classmethod
    def load(cls, path: str | Path) -> PersonConfig:
        """Read a YAML mapping of fields. Raises ValueError naming file and field, OSError without a file."""
        try:
            data = yaml.safe_load(Path(path).read_text()) or {}
        except yaml.YAMLError as error:
            raise ValueError(f'{path} is not YAML: {error}') from error
        known = [entry.name for entry in dataclasses.fields(cls)]
        if not isinstance(data, dict):
            raise ValueError(f'{path} must be a mapping of {known}')
        unknown = [key for key in data if key not in known]
        if unknown:
            raise ValueError(f'{path}: unknown {unknown}; known are {known}')
        try:
            return cls(**data)
        except ValueError as error:
            raise ValueError(f'{path}: {error}') from None


class ScriptedPerson:
    """Takes over after a stall, or when advised, and drives the task's expert.

    The takeover ends with the episode, or when the trouble is over (``hands_back``), or when that is advised.
    Knows the simulator's truth, as a person in the room would; nothing of it reaches policy or reward.

    Args:
        expert: how the person drives.
        spec: of the robot; without it every joint trembles, the gripper too, and mistakes are not possible.
    """

    def __init__(
        self,
        expert: Expert,
        config: PersonConfig | None = None,
        seed: int = 0,
        spec: RobotSpec | None = None,
    ):
        self._expert, self.config, self._spec = expert, config or PersonConfig(), spec
        if self.config.mistakes and spec is None:
            raise ValueError('a person who makes mistakes must know the robot: pass spec')
        self._rng = np.random.default_rng(seed)
        self._hands = np.random.default_rng((seed, 1))  # drawing at the controls leaves the decisions alone
        self._judge = np.random.default_rng((seed, 2))
        self._listener = np.random.default_rng((seed, 3))
        self.reset(0.0)

    def reset(self, now: float) -> None:
        """A new episode begins at ``now`` [s]."""
        self._best, self._since, self._start = 0.0, now, now
        self._absent = bool(self._rng.random() < self.config.absent)
        self._delay = float(self._rng.uniform(0, self.config.reaction_s))
        self._glances = np.random.default_rng(self._rng.integers(2**63))
        self._looked: list[bool] = []
        self._driving = self.gone = False
        self._heard = AdviceKind.NONE
        self._presses = math.inf  # when a followed advice is acted on
        self._demonstrating = self._hands_back = self._patient = False
        self._low = math.nan

    def advised(self, now: float, kind: AdviceKind) -> None:
        """Hear what is advised; whether and when it is done is decided once, when it is new.

        Advice to demonstrate is followed at once, or not at all in this episode; who follows advice to taper
        takes over on advice only, until the episode ends.
        """
        if kind == self._heard:
            return
        self._heard, self._presses = kind, math.inf
        config, rng = self.config, self._listener
        chance, delay = rng.random(), rng.uniform(0, config.reaction_s)
        if self._absent or self.gone:
            return
        if kind == AdviceKind.DEMONSTRATE:
            self._demonstrating = self._demonstrating or bool(chance < config.demonstrates)
        elif kind == AdviceKind.TAPER:
            self._patient = self._patient or bool(chance < config.follows)
        elif kind in (AdviceKind.TAKE_OVER, AdviceKind.HAND_BACK) and chance < config.follows:
            self._presses = now + float(delay)

    def _looks(self, now: float) -> bool:
        second = max(0, int((now - self._start) / _GLANCE_S))
        while len(self._looked) <= second:
            self._looked.append(bool(self._glances.random() < self.config.attention))
        return self._looked[second]

    def wants_control(self, now: float, progress: float) -> bool:
        """Whether the person would press takeover now, given the task's true progress in [0, 1]."""
        self._driving = False
        if self._absent or self.gone or not self._looks(now):
            return False
        if progress > self._best + self.config.stride:
            self._best, self._since = progress, now
        if self._demonstrating:
            return True
        if self._heard == AdviceKind.TAKE_OVER and now >= self._presses:
            return True
        return not self._patient and now - self._since > self.config.patience_s + self._delay

    def lets_go(self, now: float, progress: float) -> bool:
        """Whether the person who drives would hand back now, given the task's true progress in [0, 1].

        Who demonstrates drives to the end. Afterwards the patience begins anew.
        """
        if not self._driving or self._demonstrating:
            return False
        self._low = progress if math.isnan(self._low) else min(self._low, progress)
        over = self._hands_back and progress >= self._low + self.config.regained
        if not over and not (self._heard == AdviceKind.HAND_BACK and now >= self._presses):
            return False
        self._best, self._since, self._presses = progress, now, math.inf
        self._driving = False
        return True

    def act(self, state: np.ndarray, objects: dict[str, np.ndarray], task: str) -> np.ndarray:
        """Joint target [dim] for ``action_dt`` later; see :class:`~apprentice.sim.task.Expert`.

        Who has left (``gone``) holds still.
        """
        if not self._driving:
            self._take(state)
        self._steps += 1
        if self._steps > self._stays:
            self.gone = True
        if self.gone:
            return state.copy()
        driver = self._wrong if self._wrong is not None and self._steps <= self.config.mistake_steps else None
        target = (driver or self._expert).act(state, objects, task)
        noise = self._hands.normal(0, self.config.wobble, len(target))
        if self._spec is not None:
            noise *= ~self._spec.gripper_mask
        return target + noise

    def _take(self, state: np.ndarray) -> None:
        """Draw how a takeover goes."""
        config, rng = self.config, self._hands
        self._driving, self._steps, self._low = True, 0, math.nan
        self._hands_back = bool(self._listener.random() < config.hands_back)
        lets_go, mistaken, which = rng.random() < config.leaves, rng.random() < config.mistakes, rng.random()
        steps = int(rng.integers(1, config.leaves_after + 1))
        self._stays = steps if lets_go else math.inf
        self._wrong: Expert | None = None
        if mistaken and self._spec is not None:
            kind = BEHAVIOURS[MISTAKES[int(which * len(MISTAKES))]]
            self._wrong = kind(self._expert, self._spec, rng, lambda: 0.0)

    def label(self, success: bool) -> bool | None:
        """What the person says of an episode that truly succeeded or not; None: nothing."""
        config = self.config
        silent, error = self._judge.random() < config.unlabelled, self._judge.random()
        if silent or self._absent:
            return None
        return bool(success) != bool(error < (config.missed_success if success else config.missed_failure))

    def prefer(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two stretches by their true rewards [T], or returns: 1 first, 0 second, 0.5 equal, None.

        P(first) = sigmoid(rationality * (return of first - return of second)), where the reward of a step
        weighs ``memory`` times that of the next.
        """
        config = self.config
        draw, slip = self._judge.random(), self._judge.random() < config.wrong_choice
        a, b = (self._remembered(rewards) for rewards in (first, second))
        if max(a, b) < config.refusal:
            return None
        if abs(a - b) < config.indifference or a == b:
            return 0.5
        exponent = config.rationality * (a - b) if config.rationality else 0.0
        chance = 1 / (1 + math.exp(-min(max(exponent, -700.0), 700.0)))
        return float((draw < chance) != slip)

    def _remembered(self, rewards: np.ndarray) -> float:
        rewards = np.atleast_1d(np.asarray(rewards, np.float64))
        return float(np.sum(rewards * self.config.memory ** np.arange(len(rewards))[::-1]))
