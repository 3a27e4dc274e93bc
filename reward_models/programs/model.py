# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reward programs as reward models: TermsReward (a cost from terms) and CodeReward (a reward from Python)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from apprentice.reward_models.base import Needs, RewardModelError, Score, ScoreRequest
from apprentice.reward_models.programs import folder as folders
from apprentice.reward_models.programs.folder import Written
from apprentice.reward_models.programs.forms import Form, make_form
from apprentice.reward_models.programs.sandbox.process import Limits
from apprentice.robot.types import RewardKind

SMALLEST_SPAN = 0.05  # m, rad: a range that was hardly moved in is taken to be this wide
FARTHEST = 1.0  # spans outside the ranges the program was tested in, from which it is not used


class RewardProgram:
    """A program as a RewardModel; looks at the state, not at images.

    ``valid`` is false, and the value NaN, for an item whose value is not finite or out of the declared
    bounds, whose instruction is not the program's, or whose state is farther than one span outside the
    ranges it was tested in (a wrong unit, most often). ``ood`` is that distance in spans.

    Args:
        program: what was written. ``load`` takes only approved ones; tests make their own.
    """

    form = ''  # of a subclass that takes one form only

    def __init__(self, program: Written, limits: Limits | None = None):
        if self.form and program.form != self.form:
            raise RewardModelError(
                f'{type(self).__name__} takes {self.form!r} programs, this is {program.form!r}'
            )
        task = program.task
        self.program = program
        self.evaluator: Form = make_form(program.form, program.source, task.sizes, task.residuals, limits)
        self.kind: RewardKind = self.evaluator.kind
        uses = self.evaluator.uses
        self.needs = Needs(
            state=self.evaluator.reads, action='action' in uses, window=2 if 'previous' in uses else 1
        )
        self.model, self.version = f'program_{program.form}', program.sha256[:12]
        self._ranges = {
            each.name: (np.array(each.low), np.array(each.high)) for each in task.state if each.low
        }

    @classmethod
    def load(cls, weights: str | Path, device: str = 'cpu', **options) -> RewardProgram:
        """Load the folder of a tested and approved program. Raises RewardModelError with what is missing."""
        return cls(folders.read_approved(Path(weights))[0], options.get('limits'))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Zeros [..., 1]: nothing is seen in images."""
        return np.zeros((*frames.shape[:-3], 1), np.float32)

    def negatives(self, text: str) -> list[str]:
        """None: a program knows one instruction."""
        return []

    def score(self, request: ScoreRequest) -> Score:
        """Values of all states of the request; ``value`` is that of the last.

        Raises RewardModelError if a name of the state is missing, ProgramError if the program was stopped.
        """
        started = time.perf_counter()
        state, b, t = self._state(request.state)
        flat = {name: values.reshape(b * t, -1) for name, values in state.items()}
        order = np.maximum(np.arange(t) - 1, 0)
        before = {name: values[:, order].reshape(b * t, -1) for name, values in state.items()}
        value, _ = self.evaluator.evaluate(flat, before, self._action(request, b, t))
        low, high = self.program.bounds
        far = self._distance(flat)
        asked = np.array([_same(text, self.program.task.instruction) for text in request.text])
        if len(asked) != b:
            raise RewardModelError(f'{b} items need {b} instructions, got {len(asked)}')
        sound = (
            np.isfinite(value) & (value >= low) & (value <= high) & (far <= FARTHEST) & np.repeat(asked, t)
        )
        value = np.where(sound, value, np.nan).astype(np.float32).reshape(b, t)
        unknown = np.full(b, np.nan, np.float32)
        return Score(
            kind=self.kind,
            value=value[:, -1],
            std=unknown,
            done_prob=unknown.copy(),
            margin=unknown.copy(),
            valid=sound.reshape(b, t)[:, -1],
            model=self.model,
            version=self.version,
            per_frame=value,
            latency_ms=1e3 * (time.perf_counter() - started),
            ood=far.astype(np.float32).reshape(b, t)[:, -1],
        )

    def close(self) -> None:
        """End the program's process."""
        self.evaluator.close()

    def _state(self, given: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int, int]:
        missing = [name for name in self.needs.state if name not in given]
        if missing:
            raise RewardModelError(f'the program needs {missing} in the state; there is: {sorted(given)}')
        sizes = self.program.task.sizes
        state = {name: np.asarray(given[name], np.float64) for name in self.needs.state}
        b, t = next(iter(state.values())).shape[:2]
        for name, values in state.items():
            if values.shape != (b, t, sizes[name]):
                raise RewardModelError(f'state {name!r} must be {(b, t, sizes[name])}, got {values.shape}')
        return state, b, t

    def _action(self, request: ScoreRequest, b: int, t: int) -> np.ndarray | None:
        if not self.needs.action:
            return None
        if request.action is None:
            raise RewardModelError('the program needs the action; give ScoreRequest.action')
        return np.repeat(request.action[:, 0].astype(np.float64), t, axis=0)

    def _distance(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """How far [N] states are outside the tested ranges, in spans; not a number counts as far."""
        farthest = np.zeros(len(next(iter(state.values()))))
        for name, values in state.items():
            if name in self._ranges:
                low, high = self._ranges[name]
                outside = np.maximum(np.maximum(low - values, values - high), 0.0)
                share = outside / np.maximum(high - low, SMALLEST_SPAN)
                share = np.where(share < 1e-5, 0.0, np.nan_to_num(share, nan=np.inf))  # float32 of a bound
                farthest = np.maximum(farthest, share.max(axis=1))
        return farthest


class TermsReward(RewardProgram):
    """A cost (kind COST, small is good) from terms in JSON; nothing is executed."""

    form = 'terms'


class CodeReward(RewardProgram):
    """A reward (kind REWARD) from Python in a locked-down process."""

    form = 'python'


def _same(text: str, instruction: str) -> bool:
    return text.strip().rstrip('.').lower() == instruction.strip().rstrip('.').lower()
